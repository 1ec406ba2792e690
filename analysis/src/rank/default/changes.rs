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

use rekindle_stats::{Calls, LogHistogram, Moments};

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

/// What comparisons found.
#[derive(Debug, Default)]
struct Found {
    changes: Vec<Change>,
    /// Of each comparison that isn't a change: how many chance shows that are as surprising.
    others: Vec<f64>,
}

impl Found {
    fn extend(&mut self, more: Self) {
        self.changes.extend(more.changes);
        self.others.extend(more.others);
    }
}

/// Weighs each change by how probable it is that it's no chance. Of those that are at least as surprising,
/// chance makes `by_chance`; that over their number is the false discovery rate q (Benjamini and Hochberg
/// 1995, JRSS B 57:289–300), and a change counts 1/(1 + q). A rare operation's jitter is large, but there are
/// hundreds of them; a true change shows in many comparisons at once.
///
/// `others` are those of the comparisons that aren't changes, which were looked at as well: what is no more surprising
/// than they are is one of many, and q is never much more than 1.
fn weigh(found: &mut [Change], others: &[f64]) {
    let of_changes = found.iter().map(|change| change.by_chance);
    let mut surprises: Vec<f64> = of_changes.chain(others.iter().copied()).collect();
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
        found.extend(stops.found);
    }
    weigh(&mut found.changes, &found.others);
    let mut best: BTreeMap<usize, Change> = BTreeMap::new();
    for change in found.changes {
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

/// A part of the work in one group of requests, before and now.
pub(super) struct Both<'a> {
    pub(super) part: Part,
    /// The request type, counted from 1; 0 is all of them.
    pub(super) group: usize,
    pub(super) before: Calls,
    pub(super) now: Calls,
    /// Of the calls before and of those now, how many weren't measured.
    unmeasured: [u64; 2],
    /// Which are compared, one per request type.
    timed: &'a [Timed],
    period: Period,
}

impl Both<'_> {
    /// Durations before and now, put together: only for the few that are looked at closely.
    pub(super) fn durations(&self) -> [LogHistogram; 2] {
        let mut both = [LogHistogram::default(), LogHistogram::default()];
        for timed in self.timed {
            let [earlier, later] = timed.lasted.baseline();
            both[0].merge(earlier);
            match self.period {
                Period::Fault => {
                    both[0].merge(later);
                    both[1].merge(timed.lasted.window());
                }
                Period::Calm => both[1].merge(later),
            }
        }
        both
    }

    /// Which share of the calls before was measured, and of those now, in `[0, 1]`.
    pub(super) fn measured(&self) -> [f64; 2] {
        let share = |calls: Calls, unmeasured: u64| {
            1.0 - unmeasured as f64 / calls.durations.count().max(1.0)
        };
        let [before, now] = self.unmeasured;
        [share(self.before, before), share(self.now, now)]
    }

    fn add(&mut self, timed: &Timed, (requests_before, requests_now): (u64, u64)) {
        let [earlier, later, window] = timed.lasted.moments();
        let [of_earlier, of_later, of_window] = timed.lasted.unmeasured();
        // Each half has its part of the requests.
        let calls = (earlier.count() + later.count()).max(1.0);
        let share = |half: Moments| (requests_before as f64 * (half.count() / calls)).ceil() as u64;
        self.add_before(earlier, of_earlier, share(earlier));
        match self.period {
            Period::Fault => {
                self.add_before(later, of_later, share(later));
                self.add_now(window, of_window, requests_now);
            }
            Period::Calm => self.add_now(later, of_later, share(later)),
        }
    }

    /// Adds calls, so many of which weren't measured.
    fn add_before(&mut self, calls: Moments, unmeasured: u64, requests: u64) {
        add(&mut self.before, calls, unmeasured, requests);
        self.unmeasured[0] += unmeasured;
    }

    fn add_now(&mut self, calls: Moments, unmeasured: u64, requests: u64) {
        add(&mut self.now, calls, unmeasured, requests);
        self.unmeasured[1] += unmeasured;
    }
}

fn add(to: &mut Calls, calls: Moments, unmeasured: u64, requests: u64) {
    to.durations = to.durations.plus(calls);
    to.requests += measured_requests(requests, calls.count() as u64, unmeasured);
}

/// How many of these requests were measured: of requests of one type the same share as of their calls.
fn measured_requests(requests: u64, calls: u64, unmeasured: u64) -> u64 {
    let measured = calls.saturating_sub(unmeasured);
    // Each of them has at least one call.
    let made = requests.min(calls);
    let part = u128::from(made) * u128::from(measured) / u128::from(calls.max(1));
    // Less than one was measured as well.
    (part as u64).max(u64::from(made > 0 && measured > 0))
}

/// What is compared in groups of one kind, sorted by part and group.
pub(super) struct Group<'a> {
    list: Vec<Both<'a>>,
}

impl<'a> Group<'a> {
    pub(super) fn get(&self, part: Part, group: usize) -> Option<&Both<'a>> {
        let key = (part, group);
        let found = self
            .list
            .binary_search_by_key(&key, |it| (it.part, it.group));
        found.ok().map(|at| &self.list[at])
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Both<'a>> {
        self.list.iter()
    }
}

/// All durations that are compared, put together once.
pub(super) struct Compared<'a> {
    /// Over all request types, each with the group 0.
    pub(super) all: Group<'a>,
    /// Per request type, counted from 1.
    pub(super) by_type: Group<'a>,
    pub(super) requests: Requests<'a>,
}

impl<'a> Compared<'a> {
    fn of(input: &'a Input, period: Period) -> Self {
        let mut all: Vec<Both<'a>> = Vec::new();
        let mut by_type: Vec<Both<'a>> = Vec::with_capacity(input.timed.len());
        let requests = Requests::all(input);
        let nothing = |timed: &'a [Timed], group| Both {
            part: timed[0].part,
            group,
            before: Calls::default(),
            now: Calls::default(),
            unmeasured: [0; 2],
            timed,
            period,
        };
        for of_part in input.timed.chunk_by(|a, b| a.part == b.part) {
            let mut sum = nothing(of_part, 0);
            for one in of_part.chunks(1) {
                let (Part::Whole(id) | Part::Own(id) | Part::Gap(_, id) | Part::There(_, id)) =
                    one[0].part;
                let requests = requests.of(id, one[0].request_type);
                let mut alone = nothing(one, one[0].request_type + 1);
                alone.add(&one[0], requests);
                by_type.push(alone);
                sum.add(&one[0], requests);
            }
            all.push(sum);
        }
        Self {
            all: Group { list: all },
            by_type: Group { list: by_type },
            requests,
        }
    }
}

/// How many requests touched operations and dependencies, found by subject.
pub(super) struct Requests<'a> {
    touched: &'a [Touched],
    /// Where each subject's begin, and the last one's end.
    begins: Vec<usize>,
}

impl<'a> Requests<'a> {
    fn all(input: &'a Input) -> Self {
        let touched = &input.touched;
        let mut begins = Vec::with_capacity(input.subjects.len() + 1);
        for (at, touched) in touched.iter().enumerate() {
            while begins.len() <= touched.subject {
                begins.push(at);
            }
        }
        begins.resize(input.subjects.len() + 1, touched.len());
        Self { touched, begins }
    }

    /// The requests of one type that touched this operation or dependency, before the window and in it.
    pub(super) fn of(&self, subject: usize, request_type: usize) -> (u64, u64) {
        let of_subject = &self.touched[self.begins[subject]..self.begins[subject + 1]];
        let found = of_subject.binary_search_by_key(&request_type, |it| it.request_type);
        // Where rows overflowed, there is no telling: each call may be a request's only one.
        found.map_or((u64::MAX, u64::MAX), |at| {
            (of_subject[at].baseline, of_subject[at].window)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};
    use crate::{AnalysisConfig, Analyzer};
    use std::time::Duration;

    fn change(by_chance: f64) -> Change {
        Change {
            family: 0,
            score: 1.0,
            by_chance,
            shape: Shape::Slow,
            causes: Vec::new(),
        }
    }

    #[test]
    fn what_is_dropped_makes_others_no_less_sure() {
        // Of 300 comparisons, so probable by chance where nothing changed:
        let comparisons: Vec<f64> = (0..300u32)
            .map(|n| match n {
                0 => 1e-6,
                1..=4 => 0.001 * f64::from(n),
                _ => 1.0,
            })
            .collect();
        let by_chance = |p: &f64| p * comparisons.len() as f64;
        let all: Vec<f64> = comparisons.iter().map(by_chance).collect();
        let weighed = |kept: usize| {
            let mut found: Vec<Change> = all[..kept].iter().map(|it| change(*it)).collect();
            weigh(&mut found, &all[kept..]);
            let scores = found.iter().take(10).map(|change| change.score);
            scores.collect::<Vec<f64>>()
        };
        assert_eq!(weighed(10), weighed(300));
        // All are at least as surprising as what chance shows each time: q is 1.
        assert!((weighed(10)[9] - 0.5).abs() < 1e-9, "{:?}", weighed(10));
    }

    #[test]
    fn requests_count_as_far_as_they_were_measured() {
        // (requests, calls, of which unmeasured; measured requests)
        for (requests, calls, unmeasured, measured) in [
            (100, 2_000, 1_920, 4),
            (100, 2_000, 0, 100),
            (100, 100, 90, 10),
            // Where rows overflowed, each call may be a request's only one.
            (u64::MAX, 2_000, 1_920, 80),
            (3, 60, 59, 1),
            (3, 60, 60, 0),
            (0, 0, 0, 0),
        ] {
            assert_eq!(
                measured_requests(requests, calls, unmeasured),
                measured,
                "{requests} requests, {unmeasured} of {calls} calls unmeasured"
            );
        }
    }

    #[test]
    fn calls_of_one_sampled_request_are_no_independent_ones() {
        let config = AnalysisConfig {
            max_measured: 4,
            ..AnalysisConfig::default()
        };
        let mut analyzer = Analyzer::new(config);
        let t = T::default();
        for n in 0..500 {
            let page = Call::server("shop", "GET /").takes(5);
            let page = (0..20).fold(page, |page, call| {
                let row = Call::server("stock", "GET /row").takes(1 + call % 3);
                page.with(Call::client("call").with(row))
            });
            let trace = T { id: n + 1, ..t }.build(page);
            analyzer.trace(&trace, t.start);
        }
        let until = t.start.plus(Duration::from_secs(1));
        let input = analyzer.input_between(&[], t.start, until);
        let compared = Compared::of(&input, Period::Fault);
        // The first ways are measured beside the sample, until they are known.
        let most = 4 + 2;
        let stock = compared.all.iter().find(|both| {
            matches!(both.part, Part::Whole(id) if &*input.subjects[id].component.service == "stock")
        });
        let stock = stock.expect("timed").now;
        assert_eq!(stock.durations.count() as u64, 10_000);
        assert!((1..=most).contains(&stock.requests), "{}", stock.requests);
    }
}
