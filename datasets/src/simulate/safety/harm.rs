//! What did restarts cost users, and what were they for?

use std::collections::BTreeMap;
use std::fmt;

use super::super::manner::Manner;
use super::super::report::{Table, number};
use super::troubles::Kind;

/// What restarts and troubles cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Harm {
    pub(super) restarts: f64,
    /// Requests that would have gone well, and failed because of a restart.
    pub(super) by_restarts: f64,
    /// Requests that failed for whatever reason.
    pub(super) in_all: f64,
}

/// What a restart was for, as the world knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum For {
    /// Something that is wrong, and that it ends.
    Cure(Kind),
    /// Something that is wrong, and that it doesn't end.
    Nothing(Kind),
    /// Something that was wrong.
    Gone,
    /// What a lie says, while something else is wrong …
    LieMeanwhile,
    /// … or while nothing is.
    Lie,
}

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cure(kind) => write!(f, "{kind}: it cures"),
            Self::Nothing(kind) => write!(f, "{kind}: in vain"),
            Self::Gone => f.write_str("what is gone by then"),
            Self::LieMeanwhile => f.write_str("a lie, while something else is wrong"),
            Self::Lie => f.write_str("a lie, while nothing is wrong"),
        }
    }
}

/// What restarts of one sort came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    restarts: f64,
    approved: f64,
    failed: f64,
    by_processes: f64,
    by_bad_executors: f64,
}

/// What all of them came to.
pub(super) type Sums = BTreeMap<For, Sum>;

/// One restart, once it is over.
pub(super) struct Restart {
    pub(super) of: For,
    pub(super) is_approved: bool,
    pub(super) is_process: bool,
    pub(super) manner: Manner,
    pub(super) failed: f64,
}

/// Adds it.
pub(super) fn add(sums: &mut Sums, restart: &Restart) {
    let sum = sums.entry(restart.of).or_default();
    let part = |holds: bool| if holds { restart.failed } else { 0.0 };
    sum.restarts += 1.0;
    sum.approved += f64::from(u8::from(restart.is_approved));
    sum.failed += restart.failed;
    sum.by_processes += part(restart.is_process);
    sum.by_bad_executors += part(restart.manner != Manner::Works);
}

/// Requests that restarts failed, of all sorts.
pub(super) fn failed(sums: &Sums) -> f64 {
    sums.values().map(|sum| sum.failed).sum()
}

/// All that happened in so many hours, per hour.
pub(super) fn table<'a>(all: impl Iterator<Item = &'a Sums>, hours: f64) -> Table {
    let mut sums = Sums::new();
    for (of, sum) in all.flatten() {
        let known = sums.entry(*of).or_default();
        known.restarts += sum.restarts;
        known.approved += sum.approved;
        known.failed += sum.failed;
        known.by_processes += sum.by_processes;
        known.by_bad_executors += sum.by_bad_executors;
    }
    let mut table = Table::new(
        "What Rekindle's restarts were for, per virtual hour",
        &[
            "for",
            "restarts",
            "approved by a person",
            "requests failed by restarts",
            "by whole processes'",
            "by executors that are ill",
        ],
    );
    for (of, sum) in sums {
        let figures = [
            sum.restarts,
            sum.approved,
            sum.failed,
            sum.by_processes,
            sum.by_bad_executors,
        ];
        let figures = figures.map(|figure| number(figure / hours));
        table.row(std::iter::once(of.to_string()).chain(figures));
    }
    table
}
