//! What is compared: before and now, per operation and way, over all request types and within each?
//!
//! A ranking compares tens of thousands of durations each second, so whatever comparisons ask is put together once, in
//! the order in which it is asked, and histograms are only touched for the few that are looked at closely. Ways there
//! (a quarter of all) are asked about only where the whole way got longer.

use std::ops::Range;

use rekindle_stats::{Calls, LogHistogram, Moments};

use super::Period;
use crate::rank::input::{Input, Part, Touched};
use crate::rank::{Timed, Times};

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
    times: &'a Times,
    period: Period,
}

impl<'a> Both<'a> {
    /// Of these rows, which are of one part.
    fn of(rows: Range<usize>, group: usize, drawn: &Drawn<'a>) -> Self {
        let timed = &drawn.timed[rows.clone()];
        let mut both = Self::nothing(timed, group, drawn.times, drawn.period);
        for (one, requests) in timed.iter().zip(&drawn.requests[rows]) {
            both.add(one, *requests);
        }
        both
    }

    /// The same without their counts.
    fn nothing(timed: &'a [Timed], group: usize, times: &'a Times, period: Period) -> Self {
        Self {
            part: timed[0].part,
            group,
            before: Calls::default(),
            now: Calls::default(),
            unmeasured: [0; 2],
            timed,
            times,
            period,
        }
    }

    /// Durations before and now, put together: only for the few that are looked at closely.
    pub(super) fn durations(&self) -> [LogHistogram; 2] {
        let timed = self.timed.iter().map(|it| self.times.lasted(it));
        let now = match self.period {
            Period::Fault => LogHistogram::sum(timed.map(|it| it.window())),
            Period::Calm => LogHistogram::sum(timed.map(|it| it.baseline()[1])),
        };
        [self.durations_before(), now]
    }

    /// Those before.
    pub(super) fn durations_before(&self) -> LogHistogram {
        let timed = self.timed.iter().map(|it| self.times.lasted(it));
        match self.period {
            Period::Fault => LogHistogram::sum(timed.flat_map(|it| it.baseline())),
            Period::Calm => LogHistogram::sum(timed.map(|it| it.baseline()[0])),
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

/// What all comparisons are drawn from.
pub(super) struct Drawn<'a> {
    times: &'a Times,
    /// All but ways there, sorted by part and request type.
    timed: &'a [Timed],
    /// How many requests touched what each of these is of, before the window and in it.
    requests: Vec<(u64, u64)>,
    /// All ways there, likewise. Few are asked for.
    there: &'a [Timed],
    touched: Requests<'a>,
    period: Period,
}

impl<'a> Drawn<'a> {
    pub(super) fn of(input: &'a Input, period: Period) -> Self {
        let is_there = |timed: &Timed| matches!(timed.part, Part::There(..));
        let times = &input.timed;
        let (timed, there) = times.split_at(times.partition_point(|it| !is_there(it)));
        let touched = Requests::all(input);
        Self {
            times,
            timed,
            requests: touched.of_each(timed),
            there,
            touched,
            period,
        }
    }

    /// The requests of one type that touched this operation or dependency, before the window and in it.
    pub(super) fn touching(&self, subject: usize, request_type: usize) -> (u64, u64) {
        self.touched.of(subject, request_type)
    }

    /// A part in requests of all types.
    pub(super) fn in_all(&self, part: Part) -> Option<Both<'a>> {
        let first = self.timed.partition_point(|it| it.part < part);
        let rest = &self.timed[first..];
        let rows = first..first + rest.partition_point(|it| it.part == part);
        (!rows.is_empty()).then(|| Both::of(rows, 0, self))
    }
}

/// What is compared in groups of one kind.
pub(super) struct Group<'a> {
    /// Sorted by part and group. Ways there aren't among them: few are asked for.
    list: Vec<Both<'a>>,
    /// Where own times begin in the list, and where ways do.
    kinds: [usize; 2],
    /// All ways there, sorted by part and request type.
    there: &'a [Timed],
    times: &'a Times,
    is_by_type: bool,
    period: Period,
}

impl<'a> Group<'a> {
    /// Over all request types, each with the group 0.
    pub(super) fn all(drawn: &Drawn<'a>) -> Self {
        let mut list = Vec::new();
        let mut first = 0;
        for of_part in drawn.timed.chunk_by(|a, b| a.part == b.part) {
            let end = first + of_part.len();
            list.push(Both::of(first..end, 0, drawn));
            first = end;
        }
        Self::new(list, drawn, false)
    }

    /// Per request type, counted from 1.
    pub(super) fn by_type(drawn: &Drawn<'a>) -> Self {
        let rows = drawn.timed.iter().enumerate();
        let each = rows.map(|(at, it)| Both::of(at..at + 1, it.request_type + 1, drawn));
        Self::new(each.collect(), drawn, true)
    }

    fn new(list: Vec<Both<'a>>, drawn: &Drawn<'a>, is_by_type: bool) -> Self {
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
            there: drawn.there,
            times: drawn.times,
            is_by_type,
            period: drawn.period,
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
        (!of_it.is_empty()).then(|| Both::nothing(of_it, group, self.times, self.period))
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

/// How many requests touched operations and dependencies, found by subject.
struct Requests<'a> {
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

    fn of(&self, subject: usize, request_type: usize) -> (u64, u64) {
        counted_first(
            from_type(self.of_subject(subject), request_type),
            request_type,
        )
    }

    /// Those that touched what each of these is of, which are sorted by part and request type.
    fn of_each(&self, timed: &[Timed]) -> Vec<(u64, u64)> {
        let mut found = Vec::with_capacity(timed.len());
        for of_part in timed.chunk_by(|a, b| a.part == b.part) {
            let (Part::Whole(id) | Part::Own(id) | Part::Gap(_, id) | Part::There(_, id)) =
                of_part[0].part;
            let mut rest = self.of_subject(id);
            for one in of_part {
                rest = from_type(rest, one.request_type);
                found.push(counted_first(rest, one.request_type));
            }
        }
        found
    }

    fn of_subject(&self, subject: usize) -> &'a [Touched] {
        &self.touched[self.begins[subject]..self.begins[subject + 1]]
    }
}

/// Those of this request type and later ones.
fn from_type(sorted: &[Touched], request_type: usize) -> &[Touched] {
    // Whoever goes from one type to the next mostly finds it at once.
    for at in 0..sorted.len().min(2) {
        if sorted[at].request_type >= request_type {
            return &sorted[at..];
        }
    }
    &sorted[sorted.partition_point(|it| it.request_type < request_type)..]
}

/// The counts of the first one, if it is of this request type. Where rows overflowed, there is no telling: each call may
/// be a request's only one.
fn counted_first(sorted: &[Touched], request_type: usize) -> (u64, u64) {
    let first = sorted.first().filter(|it| it.request_type == request_type);
    first.map_or((u64::MAX, u64::MAX), |it| (it.baseline, it.window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};
    use crate::{AnalysisConfig, Analyzer};
    use std::time::Duration;

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
        let all = Group::all(&Drawn::of(&input, Period::Fault));
        // The first ways are measured beside the sample, until they are known.
        let most = 4 + 2;
        let stock = all.wholes().iter().find(|both| {
            matches!(both.part, Part::Whole(id) if &*input.subjects[id].component.service == "stock")
        });
        let stock = stock.expect("timed").now;
        assert_eq!(stock.durations.count() as u64, 10_000);
        assert!((1..=most).contains(&stock.requests), "{}", stock.requests);
    }
}
