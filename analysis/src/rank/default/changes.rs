//! Who works differently than before, whether or not a request failed?
//!
//! Not every fault makes failures: a component gets slower, or stops asking whom it used to ask. Both
//! are found by comparing the window with the baseline, per operation and request type, and both are
//! measured in one unit: *the share of calls that are affected, times how badly*. How badly is
//! counted in doublings of the duration; a call that isn't made any more counts as one
//! ([`stops`]), a call that failed as ten (`default.rs`).
//!
//! How much calm times change by themselves is measured the same way, between the two halves of the
//! baseline: what is not above that is no evidence.

mod slower;
mod stops;
mod ways;

use std::collections::BTreeMap;

use rekindle_stats::LogHistogram;

use super::{Choice, Choices};
use crate::Shape;
use crate::rank::cause::Cause;
use crate::rank::families::families;
use crate::rank::input::{Input, Part, Timed};

/// Of all the comparisons in calm times, so many may be taken for a change in all: one in twenty.
const MISTAKES: f64 = 0.05;

/// A service or dependency that works differently.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Its index among the subjects.
    pub(super) family: usize,
    /// The share of calls affected, times how badly.
    pub(super) score: f64,
    /// Whether chance is no explanation, as often as was looked (Bonferroni's correction).
    pub(super) clear: bool,
    pub(super) shape: Shape,
    /// How probable it is where nothing changed, as often as was looked; in `[0, 1]`.
    pub(super) chance: f64,
    /// What changed: the largest of each kind, the largest first.
    pub(super) causes: Vec<Cause>,
}

/// Which two times are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// The window with the baseline.
    Fault,
    /// The later half of the baseline with the earlier one.
    Calm,
}

/// What changed, the most first; each family once, with its largest change.
pub(super) fn changes(input: &Input, period: Period, choices: Choices) -> Vec<Change> {
    let families = Families::of(input);
    let stops = stops::stops(input, period, &families);
    let mut found = slower::slower(input, period, &families, choices);
    if choices.has(Choice::LessWork) {
        found.extend(slower::faster(input, period, &families, &stops.changed));
    }
    if choices.has(Choice::Stops) {
        found.extend(stops.changes);
    }
    let mut best: BTreeMap<usize, Change> = BTreeMap::new();
    for change in found {
        if change.score < 0.0 {
            continue;
        }
        let Some(known) = best.get_mut(&change.family) else {
            best.insert(change.family, change);
            continue;
        };
        known.clear |= change.clear;
        known.chance = known.chance.min(change.chance);
        if change.score > known.score {
            let before = std::mem::replace(&mut known.causes, change.causes);
            known.causes.extend(before);
            (known.score, known.shape) = (change.score, change.shape);
        } else {
            known.causes.extend(change.causes);
        }
        one_of_each_kind(&mut known.causes);
    }
    let mut changes: Vec<Change> = best.into_values().collect();
    changes.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.family.cmp(&b.family))
    });
    changes
}

/// Keeps the first of each kind.
fn one_of_each_kind(causes: &mut Vec<Cause>) {
    if let [first, rest @ ..] = causes.as_slice() {
        let takes = matches!(first, Cause::Takes(_));
        let other = rest
            .iter()
            .find(|cause| matches!(cause, Cause::Takes(_)) != takes);
        *causes = [Some(*first), other.copied()]
            .into_iter()
            .flatten()
            .collect();
    }
}

/// The service of each operation, as a subject where it is one.
pub(super) struct Families {
    of: Vec<usize>,
}

impl Families {
    fn of(input: &Input) -> Self {
        Self {
            of: families(input),
        }
    }

    pub(super) fn get(&self, subject: usize) -> usize {
        self.of[subject]
    }
}

/// Durations before and now.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations {
    pub(super) before: LogHistogram,
    pub(super) now: LogHistogram,
}

/// Durations per span, and per request type (counted from 1) or over all of them (0).
pub(super) fn durations(
    input: &Input,
    period: Period,
    by_type: bool,
) -> BTreeMap<(Part, usize), Durations> {
    let mut sums: BTreeMap<(Part, usize), Durations> = BTreeMap::new();
    for timed in &input.timed {
        let group = if by_type { timed.request_type + 1 } else { 0 };
        let sum = sums.entry((timed.part, group)).or_default();
        let Timed {
            baseline: [earlier, later],
            window,
            ..
        } = timed;
        sum.before.merge(earlier);
        match period {
            Period::Fault => {
                sum.before.merge(later);
                sum.now.merge(window);
            }
            Period::Calm => sum.now.merge(later),
        }
    }
    sums
}
