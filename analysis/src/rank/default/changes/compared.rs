//! What is compared: before and now, per operation and way, over all request types and within each?
//!
//! A ranking compares tens of thousands of durations each second, so whatever comparisons ask is put together once, in
//! the order in which it is asked, and histograms are only touched for the few that are looked at closely. Ways there
//! (a quarter of all) are asked about only where the whole way got longer.

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
    /// Of these, which are of one part.
    fn of(timed: &'a [Timed], group: usize, asked: Asked<'a, '_>) -> Self {
        let mut both = Self::nothing(timed, group, asked.times, asked.period);
        let (Part::Whole(id) | Part::Own(id) | Part::Gap(_, id) | Part::There(_, id)) = both.part;
        for one in timed {
            both.add(one, asked.requests.of(id, one.request_type));
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
#[derive(Clone, Copy)]
struct Asked<'a, 'b> {
    times: &'a Times,
    requests: &'b Requests<'a>,
    period: Period,
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
    fn new(asked: Asked<'a, '_>, is_by_type: bool) -> Self {
        let is_there = |timed: &Timed| matches!(timed.part, Part::There(..));
        let times = asked.times;
        let (timed, there) = times.split_at(times.partition_point(|it| !is_there(it)));
        let mut list = Vec::with_capacity(if is_by_type { timed.len() } else { 0 });
        if is_by_type {
            let each = timed.chunks(1);
            list.extend(each.map(|it| Both::of(it, it[0].request_type + 1, asked)));
        } else {
            let each = timed.chunk_by(|a, b| a.part == b.part);
            list.extend(each.map(|it| Both::of(it, 0, asked)));
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
            times,
            is_by_type,
            period: asked.period,
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

/// All durations that are compared, put together once.
pub(super) struct Compared<'a> {
    /// Over all request types, each with the group 0.
    pub(super) all: Group<'a>,
    /// Per request type, counted from 1.
    pub(super) by_type: Group<'a>,
    pub(super) requests: Requests<'a>,
}

impl<'a> Compared<'a> {
    pub(super) fn of(input: &'a Input, period: Period) -> Self {
        let requests = Requests::all(input);
        let asked = Asked {
            times: &input.timed,
            requests: &requests,
            period,
        };
        Self {
            all: Group::new(asked, false),
            by_type: Group::new(asked, true),
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
