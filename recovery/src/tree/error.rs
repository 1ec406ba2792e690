//! What can be wrong with a list of units, in words that say what would be right.

use crate::UnitName;

/// One thing that is wrong. A list may have several; all are told at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TreeError {
    /// A unit without a name.
    #[error("a unit below {parent:?} has an empty name; every unit needs one of its own")]
    EmptyName {
        /// The parent that it names, empty for none.
        parent: String,
    },
    /// Two units with one name.
    #[error("{count} units are called {unit}; every unit needs a name of its own")]
    DuplicateName {
        /// The name.
        unit: UnitName,
        /// How many have it.
        count: usize,
    },
    /// A parent that isn't there.
    #[error("the parent of {unit} is {parent}, which is no unit; {}", nearest(known.as_ref()))]
    UnknownParent {
        /// The unit.
        unit: UnitName,
        /// Whom it names.
        parent: UnitName,
        /// The unit with the most similar name.
        known: Option<UnitName>,
    },
    /// Nothing contains everything.
    #[error("no unit is the root; exactly one must name no parent")]
    NoRoot,
    /// Several units contain everything.
    #[error(
        "{} name no parent; only the root may, so give the others one, or a new root above them all",
        list(units)
    )]
    SeveralRoots {
        /// They.
        units: Vec<UnitName>,
    },
    /// Units that contain each other.
    #[error(
        "{}; a parent must be above, so one of them must name another parent",
        ring(units)
    )]
    Cycle {
        /// They.
        units: Vec<UnitName>,
    },
    /// A unit that nothing can restart.
    #[error(
        "{unit} can't be restarted: it has no executor and no units below it; give it an executor, or units that have one, or leave it in mode observe"
    )]
    NotRestartable {
        /// The unit.
        unit: UnitName,
    },
    /// Two units that claim the same components.
    #[error(
        "{first} and {second} both match a component with {selector}; put one below the other, or let them differ in the value of a key"
    )]
    Ambiguous {
        /// The unit whose selector is the wider, or the first by name.
        first: UnitName,
        /// The other.
        second: UnitName,
        /// What both match, as `key=value`.
        selector: String,
    },
    /// A unit that can match nothing, because something above it matches something else.
    #[error(
        "{unit} wants {key}={value}, but {ancestor} above it wants {key}={other}; nothing can have both, so let them agree"
    )]
    Contradiction {
        /// The lower unit.
        unit: UnitName,
        /// The upper one.
        ancestor: UnitName,
        /// The attribute.
        key: String,
        /// What the lower one wants.
        value: String,
        /// What the upper one wants.
        other: String,
    },
    /// A rule about a unit that isn't there.
    #[error("{unit} is to be restarted {rule} {other}, which is no unit; name one of this tree")]
    UnknownInRule {
        /// The unit that has the rule.
        unit: UnitName,
        /// `before`, `after` or `together`.
        rule: &'static str,
        /// Whom it names.
        other: UnitName,
    },
    /// A rule about a unit and what it is part of.
    #[error(
        "{unit} is to be restarted {rule} {other}, but one of them contains the other, and so they are restarted at once; name a unit beside it"
    )]
    RuleWithin {
        /// The unit that has the rule.
        unit: UnitName,
        /// `before`, `after` or `together`.
        rule: &'static str,
        /// Whom it names.
        other: UnitName,
    },
    /// Orders that contradict each other.
    #[error(
        "each of {} is to be restarted before another of them, which no order can do; take one of the rules away",
        list(units)
    )]
    OrderRing {
        /// They.
        units: Vec<UnitName>,
    },
}

fn list(units: &[UnitName]) -> String {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn ring(units: &[UnitName]) -> String {
    match units {
        [unit] => format!("{unit} is its own parent"),
        _ => format!("{} contain each other", list(units)),
    }
}

fn nearest(known: Option<&UnitName>) -> String {
    match known {
        Some(name) => format!("did you mean {name}?"),
        None => "name a unit of this list".to_owned(),
    }
}
