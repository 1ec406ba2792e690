//! Whose past is that of a unit that came a moment ago?
//!
//! A pod that is ended comes back under another name, and nobody says which of those that came is its successor. So
//! what was done to one that has gone counts for every unit of its kind that came after: it may be any of them, and a
//! guard that can't tell says no.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::{Past, World};
use crate::UnitName;

/// What is known of the units that come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comings {
    /// When each came into the tree; one that was there from the start isn't in it, and may be anybody's successor.
    pub came: BTreeMap<UnitName, SystemTime>,
    /// Those that are units still, and no longer on their list.
    pub missing: BTreeSet<UnitName>,
    /// Those on their list that don't run, or aren't ready.
    pub down: BTreeSet<UnitName>,
}

impl World<'_> {
    /// Whether what was done is the unit's own past: done to itself, or to what it stands for now.
    pub(super) fn is_past_of(&self, past: &Past, unit: &UnitName) -> bool {
        past.target == *unit || self.succeeds(unit, past)
    }

    /// Whether the unit may be what came in the place of what was restarted.
    pub(super) fn succeeds(&self, unit: &UnitName, past: &Past) -> bool {
        let (tree, lost) = (self.tree, &past.target);
        let is_gone = tree.spec(lost).is_none() || self.comings.missing.contains(lost);
        let came = self.comings.came.get(unit);
        is_gone
            && lost != unit
            && tree.kind(lost) == tree.kind(unit)
            && came.is_none_or(|came| *came >= past.at)
    }
}
