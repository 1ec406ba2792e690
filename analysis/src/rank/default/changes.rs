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

mod known_ways;
mod slower;
mod stops;
mod ways;

use std::collections::BTreeMap;

use rekindle_stats::{Calls, LogHistogram};

use super::{Choice, Choices};
use crate::Shape;
use crate::rank::cause::Cause;
use crate::rank::families::families;
use crate::rank::input::{Input, Part, Timed, Touched};

/// Of all the comparisons in calm times, so many may be taken for a change in all: one in twenty.
pub(super) const MISTAKES: f64 = 0.05;

/// A service or dependency that works differently.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Its index among the subjects.
    pub(super) family: usize,
    /// The share of calls affected, times how badly, times how probable it is that it's no chance.
    pub(super) score: f64,
    /// How many such changes chance alone shows where nothing changed, as often as was looked.
    pub(super) by_chance: f64,
    pub(super) shape: Shape,
    /// What changed: the largest of each kind, the largest first.
    pub(super) causes: Vec<Cause>,
}

impl Change {
    /// Whether chance is no explanation, as often as was looked (Bonferroni's correction).
    pub(super) fn is_clear(&self) -> bool {
        self.by_chance <= MISTAKES
    }
}

/// Weighs each change by how probable it is that it's no chance. Of those that are at least as surprising,
/// chance makes `by_chance`; that over their number is the false discovery rate q (Benjamini and Hochberg
/// 1995, JRSS B 57:289–300), and a change counts 1/(1 + q). A rare operation's jitter is large, but there are
/// hundreds of them; a true change shows in many comparisons at once.
fn weigh(found: &mut [Change]) {
    let mut surprises: Vec<f64> = found.iter().map(|change| change.by_chance).collect();
    surprises.sort_unstable_by(f64::total_cmp);
    for change in found {
        let as_surprising = surprises.partition_point(|other| *other <= change.by_chance);
        change.score /= 1.0 + change.by_chance / as_surprising as f64;
    }
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
    let compared = Compared::of(input, period);
    let stops = stops::stops(input, period, &families, &compared);
    let mut found = slower::slower(&compared, &families, choices);
    if choices.has(Choice::LessWork) {
        found.extend(slower::faster(&compared, &families, &stops.changed));
    }
    if choices.has(Choice::Stops) {
        found.extend(stops.changes);
    }
    weigh(&mut found);
    let mut best: BTreeMap<usize, Change> = BTreeMap::new();
    for change in found {
        if change.score < 0.0 {
            continue;
        }
        let Some(known) = best.get_mut(&change.family) else {
            best.insert(change.family, change);
            continue;
        };
        known.by_chance = known.by_chance.min(change.by_chance);
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

/// Durations before and now, and of how many requests at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations {
    pub(super) before: LogHistogram,
    pub(super) now: LogHistogram,
    requests_before: u64,
    requests_now: u64,
    unmeasured_before: u64,
    unmeasured_now: u64,
}

impl Durations {
    pub(super) fn calls_before(&self) -> Calls<'_> {
        Calls {
            durations: &self.before,
            requests: self.requests_before,
        }
    }

    pub(super) fn calls_now(&self) -> Calls<'_> {
        Calls {
            durations: &self.now,
            requests: self.requests_now,
        }
    }

    /// Which share of the calls before was measured, and of those now, in `[0, 1]`.
    pub(super) fn measured(&self) -> [f64; 2] {
        let share = |calls: &LogHistogram, unmeasured: u64| {
            1.0 - unmeasured as f64 / calls.total().max(1) as f64
        };
        [
            share(&self.before, self.unmeasured_before),
            share(&self.now, self.unmeasured_now),
        ]
    }

    /// Adds calls, so many of which weren't measured.
    fn add_before(&mut self, calls: &LogHistogram, unmeasured: u64, requests: u64) {
        self.before.merge(calls);
        self.unmeasured_before += unmeasured;
        self.requests_before += requests.min(calls.total().saturating_sub(unmeasured));
    }

    fn add_now(&mut self, calls: &LogHistogram, unmeasured: u64, requests: u64) {
        self.now.merge(calls);
        self.unmeasured_now += unmeasured;
        self.requests_now += requests.min(calls.total().saturating_sub(unmeasured));
    }
}

/// All durations that are compared, put together once.
pub(super) struct Compared {
    /// Over all request types, each with the group 0.
    pub(super) all: BTreeMap<(Part, usize), Durations>,
    /// Per request type, counted from 1.
    pub(super) by_type: BTreeMap<(Part, usize), Durations>,
}

impl Compared {
    fn of(input: &Input, period: Period) -> Self {
        Self {
            all: durations(input, period, false),
            by_type: durations(input, period, true),
        }
    }
}

/// Durations per span, and per request type (counted from 1) or over all of them (0).
fn durations(input: &Input, period: Period, by_type: bool) -> BTreeMap<(Part, usize), Durations> {
    let mut sums: BTreeMap<(Part, usize), Durations> = BTreeMap::new();
    for timed in &input.timed {
        let group = if by_type { timed.request_type + 1 } else { 0 };
        let sum = sums.entry((timed.part, group)).or_default();
        let Timed {
            baseline: [earlier, later],
            window,
            unmeasured: [of_earlier, of_later, of_window],
            ..
        } = timed;
        let (before, now) = requests(input, timed);
        // Each half has its part of the requests.
        let calls = earlier.total() + later.total();
        let share = |half: &LogHistogram| {
            let share = half.total() as f64 / calls.max(1) as f64;
            (before as f64 * share).ceil() as u64
        };
        sum.add_before(earlier, *of_earlier, share(earlier));
        match period {
            Period::Fault => {
                sum.add_before(later, *of_later, share(later));
                sum.add_now(window, *of_window, now);
            }
            Period::Calm => sum.add_now(later, *of_later, share(later)),
        }
    }
    sums
}

/// The requests that these calls are of, before the window and in it.
fn requests(input: &Input, timed: &Timed) -> (u64, u64) {
    let (Part::Whole(id) | Part::Own(id) | Part::Gap(_, id) | Part::There(_, id)) = timed.part;
    requests_of(input, id, timed.request_type)
}

/// The requests of one type that touched this operation or dependency, before the window and in it.
fn requests_of(input: &Input, subject: usize, request_type: usize) -> (u64, u64) {
    let wanted = (subject, request_type);
    let key = |touched: &Touched| (touched.subject, touched.request_type);
    let found = input.touched.binary_search_by_key(&wanted, key);
    // Where rows overflowed, there is no telling: each call may be a request's only one.
    found.map_or((u64::MAX, u64::MAX), |at| {
        let touched = &input.touched[at];
        (touched.baseline, touched.window)
    })
}
