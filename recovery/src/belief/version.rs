//! What is left of what was learned when the software becomes another?

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Beliefs, Key, Row};
use crate::{Changed, RestartTree, UnitName};

/// What was learned of a unit, and of what contains it as a part of it, is about software that is gone. It keeps a
/// quarter of its weight, since most releases change little.
const KEPT: f64 = 0.25;

/// A unit's software became another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The unit.
    pub unit: UnitName,
    /// What was seen, for people.
    pub what: String,
    /// When that was first seen.
    pub at: SystemTime,
    /// The kinds ([`RestartTree::kind`]) of units that it brought anew.
    pub kinds: BTreeSet<UnitName>,
}

impl NewVersion {
    /// The unit's new version, by what was seen of it.
    pub fn of(unit: &UnitName, change: &Changed, tree: &RestartTree) -> Self {
        let parts = tree.subtree(unit).into_iter();
        Self {
            unit: unit.clone(),
            what: change.what.clone(),
            at: change.at,
            kinds: parts.map(|part| tree.kind(part).clone()).collect(),
        }
    }
}

impl Beliefs {
    /// Lets what was learned of the software before it weigh less. Returns the rows that changed, to be kept.
    pub fn new_version(
        &mut self,
        version: &NewVersion,
        now: SystemTime,
    ) -> Vec<(Key, Option<Row>)> {
        let half_life = self.half_life;
        let mut changed = Vec::new();
        for (key, row) in &mut self.rows {
            let (Key::Exact(_, of) | Key::Shape(_, of)) = key else {
                continue;
            };
            if version.kinds.contains(of) {
                let age = now.duration_since(row.at()).unwrap_or_default();
                let fading = 0.5f64.powf(age.as_secs_f64() / half_life.as_secs_f64());
                row.fade(KEPT * fading, now);
                changed.push((key.clone(), Some(row.clone())));
            }
        }
        self.fade_seeds(version, KEPT);
        changed
    }

    /// With the versions that were seen before: rows were written with what is left of them, seeds are what they were.
    #[must_use]
    pub fn with_versions(mut self, versions: &[NewVersion]) -> Self {
        for version in versions {
            self.fade_seeds(version, KEPT);
        }
        self
    }
}
