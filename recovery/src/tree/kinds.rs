//! What grows in a tree, and whom does a unit belong to whose name comes and goes?
//!
//! A unit that grew is called `KIND@INSTANCE`, so its name alone says what it is one of, also when it is long gone:
//! that is all a ledger keeps of it.

use std::collections::BTreeMap;

use crate::UnitName;

/// What stands between a kind and an instance in a name.
pub const OF_KIND: char = '@';

/// The kinds of units that come and go, and below which unit each does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(BTreeMap<UnitName, UnitName>);

impl Kinds {
    /// What the unit is one of; `None` for one that was written.
    pub fn kind_of(&self, unit: &UnitName) -> Option<&UnitName> {
        let (kind, _) = unit.kind_and_instance()?;
        Some(self.0.get_key_value(&UnitName::from(kind))?.0)
    }

    /// The unit below which such a unit grows; `None` for one that was written.
    pub(super) fn parent_of(&self, unit: &UnitName) -> Option<&UnitName> {
        self.0.get(self.kind_of(unit)?)
    }

    /// The unit below which units of this kind grow; `None` where there is no such kind.
    pub(super) fn parent_of_kind(&self, kind: &UnitName) -> Option<&UnitName> {
        self.0.get(kind)
    }

    /// Whether units come and go directly below this one.
    pub(super) fn grow_below(&self, unit: &UnitName) -> bool {
        self.0.values().any(|parent| parent == unit)
    }
}

impl FromIterator<(UnitName, UnitName)> for Kinds {
    /// From each kind and the unit below which it grows.
    fn from_iter<T: IntoIterator<Item = (UnitName, UnitName)>>(kinds: T) -> Self {
        Self(kinds.into_iter().collect())
    }
}
