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
use crate::rank::evidence::Tally;
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
    /// Of the comparisons that aren't changes: how many chance shows that are as surprising, and how many of them.
    others: Vec<(f64, usize)>,
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
fn weigh(found: &mut [Change], others: &[(f64, usize)]) {
    let of_changes = found.iter().map(|change| (change.by_chance, 1));
    let mut surprises: Vec<(f64, usize)> = of_changes.chain(others.iter().copied()).collect();
    surprises.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut so_far = 0;
    for (_, how_many) in &mut surprises {
        so_far += *how_many;
        *how_many = so_far;
    }
    for change in found {
        let as_surprising = surprises.partition_point(|(other, _)| *other <= change.by_chance);
        let how_many = surprises[as_surprising - 1].1;
        change.score /= 1.0 + change.by_chance / how_many as f64;
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
pub(super) fn changes(
    input: &Input,
    tally: &Tally,
    period: Period,
    choices: Choices,
) -> Vec<Change> {
    let families = Families(&tally.families);
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
pub(super) struct Families<'a>(&'a [usize]);

impl Families<'_> {
    pub(super) const fn get(&self, subject: usize) -> usize {
        self.0[subject]
    }

    /// For each subject whether its family is among these.
    pub(super) fn marked(&self, families: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut marked = vec![false; self.0.len()];
        families.for_each(|family| marked[family] = true);
        marked
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

impl<'a> Both<'a> {
    /// Of these, which are of one part.
    fn of(timed: &'a [Timed], group: usize, requests: &Requests<'_>, period: Period) -> Self {
        let mut both = Self::nothing(timed, group, period);
        let (Part::Whole(id) | Part::Own(id) | Part::Gap(_, id) | Part::There(_, id)) = both.part;
        for one in timed {
            both.add(one, requests.of(id, one.request_type));
        }
        both
    }

    /// The same without their counts.
    fn nothing(timed: &'a [Timed], group: usize, period: Period) -> Self {
        Self {
            part: timed[0].part,
            group,
            before: Calls::default(),
            now: Calls::default(),
            unmeasured: [0; 2],
            timed,
            period,
        }
    }

    /// Durations before and now, put together: only for the few that are looked at closely.
    pub(super) fn durations(&self) -> [LogHistogram; 2] {
        let timed = || self.timed.iter().map(|timed| &timed.lasted);
        match self.period {
            Period::Fault => [
                LogHistogram::sum(timed().flat_map(|it| it.baseline())),
                LogHistogram::sum(timed().map(|it| it.window())),
            ],
            Period::Calm => {
                [0, 1].map(|half| LogHistogram::sum(timed().map(|it| it.baseline()[half])))
            }
        }
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
        let [earlier, later, window] = timed.brief.moments;
        let [of_earlier, of_later, of_window] = timed.brief.unmeasured;
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
    if unmeasured == 0 {
        return made;
    }
    let part = u128::from(made) * u128::from(measured) / u128::from(calls.max(1));
    // Less than one was measured as well.
    (part as u64).max(u64::from(made > 0 && measured > 0))
}

/// What is compared in groups of one kind.
pub(super) struct Group<'a> {
    /// Sorted by part and group. Ways there aren't among them: few are asked for.
    list: Vec<Both<'a>>,
    /// Where own times begin in the list, and where ways do.
    kinds: [usize; 2],
    /// All ways there, sorted by part and request type.
    there: &'a [Timed],
    is_by_type: bool,
    period: Period,
}

impl<'a> Group<'a> {
    fn new(timed: &'a [Timed], requests: &Requests<'a>, period: Period, is_by_type: bool) -> Self {
        let is_there = |timed: &Timed| matches!(timed.part, Part::There(..));
        let (timed, there) = timed.split_at(timed.partition_point(|it| !is_there(it)));
        let mut list = Vec::with_capacity(if is_by_type { timed.len() } else { 0 });
        if is_by_type {
            let each = timed.chunks(1);
            list.extend(each.map(|it| Both::of(it, it[0].request_type + 1, requests, period)));
        } else {
            let each = timed.chunk_by(|a, b| a.part == b.part);
            list.extend(each.map(|it| Both::of(it, 0, requests, period)));
        }
        let before = |is_before: fn(Part) -> bool| {
            list.partition_point(|both: &Both<'_>| is_before(both.part))
        };
        let kinds = [
            before(|part| matches!(part, Part::Whole(_))),
            before(|part| matches!(part, Part::Whole(_) | Part::Own(_))),
        ];
        Self {
            list,
            kinds,
            there,
            is_by_type,
            period,
        }
    }

    pub(super) fn get(&self, part: Part, group: usize) -> Option<&Both<'a>> {
        let key = (part, group);
        let found = self
            .list
            .binary_search_by_key(&key, |it| (it.part, it.group));
        found.ok().map(|at| &self.list[at])
    }

    /// The way there between these operations.
    pub(super) fn there(&self, from: usize, to: usize, group: usize) -> Option<Both<'a>> {
        let part = Part::There(from, to);
        let key = |timed: &Timed| match self.is_by_type {
            true => (timed.part, timed.request_type + 1),
            false => (timed.part, 0),
        };
        let first = self.there.partition_point(|it| key(it) < (part, group));
        let rest = &self.there[first..];
        let of_it = &rest[..rest.partition_point(|it| key(it) == (part, group))];
        // How many requests these are isn't asked of it.
        (!of_it.is_empty()).then(|| Both::nothing(of_it, group, self.period))
    }

    /// Own time and ways together, of each operation.
    pub(super) fn wholes(&self) -> &[Both<'a>] {
        &self.list[..self.kinds[0]]
    }

    /// Own times alone.
    pub(super) fn own(&self) -> &[Both<'a>] {
        &self.list[self.kinds[0]..self.kinds[1]]
    }

    /// The ways from one operation to another.
    pub(super) fn gaps(&self) -> &[Both<'a>] {
        &self.list[self.kinds[1]..]
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
        let requests = Requests::all(input);
        Self {
            all: Group::new(&input.timed, &requests, period, false),
            by_type: Group::new(&input.timed, &requests, period, true),
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
            let others: Vec<(f64, usize)> = all[kept..].iter().map(|it| (*it, 1)).collect();
            weigh(&mut found, &others);
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
        let stock = compared.all.wholes().iter().find(|both| {
            matches!(both.part, Part::Whole(id) if &*input.subjects[id].component.service == "stock")
        });
        let stock = stock.expect("timed").now;
        assert_eq!(stock.durations.count() as u64, 10_000);
        assert!((1..=most).contains(&stock.requests), "{}", stock.requests);
    }
}
