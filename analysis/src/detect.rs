//! Does this request type fail more than it used to?
//!
//! Entry spans alone say how requests end, so detection waits for no assembly. Counts per slice go
//! into an e-detector (`rekindle_stats::ShareRise`) with a stated number of requests between false
//! alarms. Spans come late and out of order: recent slices stay open, and when one of them changes,
//! the bets are taken up again from there.
//!
//! The baseline is what the type's history says, less what belongs to incidents and interventions:
//! the upper end of its interval, so that little history makes a careful detector, not a nervous
//! one. While there is hardly any, a configured share stands in, mixed with what was seen.
//!
//! How bursty failures are is learned too, by the minute. A hiccup that was over within a minute,
//! with nothing done about it, belongs to the habits even though it opened an incident: otherwise
//! a type that hiccups daily would raise an alarm every day for ever. A history of less than a day can't say
//! what happens daily: in ten minutes of it, half a minute of failures would be a twentieth of all, and the next
//! fault would look usual.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_model::UnixNanos;
use rekindle_stats::{DetectorState, Dispersion, Probability, Share, ShareRise};

use crate::AnalysisConfig;

/// Slices younger than this stay open for late spans. Exporters batch for up to 5 s and retry; a
/// time-out of half a minute makes its request's span that late.
pub(crate) const OPEN_SECONDS: u64 = 60;

/// History counts at most so many requests, then old ones weigh half: a week's habits shouldn't
/// outvote today's for another week.
const HISTORY_FADES_AT: u64 = 200_000;

/// Failures are counted in blocks of so many slices to learn how bursty they are: as long as slices
/// stay open, so that one hiccup is in one block or two.
const BLOCK: u64 = OPEN_SECONDS;

/// Burstier than so, and even a total failure would need more than some thirty requests until it is
/// seen. A type with such hiccups rather raises an alarm too many.
const BURSTIEST: f64 = 10.0;

/// So long a history must be before hiccups belong to it.
const HABITS_TAKE: Duration = Duration::from_secs(24 * 3600);

/// Slices that wait for the end of an incident, at most: a longer one was no hiccup.
const MAX_HELD: usize = 2 * OPEN_SECONDS as usize;

/// While history is short, the configured share weighs like so many requests.
const COLD_START_WEIGHT: f64 = 100.0;

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    ok: u64,
    bad: u64,
    first_bad: Option<UnixNanos>,
    after: DetectorState,
}

/// What is usual.
#[derive(Clone, Debug, Default)]
struct History {
    ok: u64,
    bad: u64,
    /// Over so many slices.
    slices: u64,
    dispersion: Dispersion,
    /// The block that is being filled: its number, failed, others.
    block: (u64, u64, u64),
}

impl History {
    fn add(&mut self, slice: u64, bad: u64, ok: u64) {
        self.ok += ok;
        self.bad += bad;
        if self.block.0 != slice / BLOCK {
            self.dispersion.add(self.block.1, self.block.2);
            self.block = (slice / BLOCK, 0, 0);
        }
        self.block.1 += bad;
        self.block.2 += ok;
    }

    fn fade(&mut self) {
        if self.ok + self.bad > HISTORY_FADES_AT {
            self.ok /= 2;
            self.bad /= 2;
            self.slices /= 2;
            self.dispersion.fade();
        }
    }

    /// How bursty failures are, from 1.
    fn burstiness(&self) -> f64 {
        self.dispersion.habit().min(BURSTIEST)
    }

    /// The share of failures. Bursts of φ say about it as much as one failure does.
    fn share(&self) -> Share {
        let weigh = |count: u64| (count as f64 / self.burstiness()).round() as u64;
        Share::of(weigh(self.bad), weigh(self.ok))
    }
}

/// Slices of an incident that may turn out to have been a hiccup.
#[derive(Clone, Debug, Default)]
struct Held {
    slices: Vec<(u64, u64, u64)>,
    is_too_long: bool,
}

impl Held {
    fn add(&mut self, slice: u64, bad: u64, ok: u64) {
        if self.slices.len() < MAX_HELD {
            self.slices.push((slice, bad, ok));
        } else {
            self.is_too_long = true;
        }
    }

    /// The slices, if all failures are within a block's length.
    fn hiccup(self) -> Option<Vec<(u64, u64, u64)>> {
        let failing = |(_, bad, _): &&(u64, u64, u64)| *bad > 0;
        let first = self.slices.iter().find(failing)?.0;
        let last = self.slices.iter().rfind(failing)?.0;
        (!self.is_too_long && last - first < BLOCK).then_some(self.slices)
    }
}

/// Watches one request type.
#[derive(Clone, Debug)]
pub struct TypeDetector {
    settled: DetectorState,
    open: BTreeMap<u64, Slice>,
    /// The bets of this slice and of those behind it are out of date, since something was counted in it.
    stale_from: Option<u64>,
    history: History,
    held: Held,
    /// Slices before this one are settled.
    settled_before: Option<u64>,
    rise: ShareRise,
    /// Whether only what was learned is compared with, and nothing that stands in for it.
    only_jumps: bool,
}

impl TypeDetector {
    /// Knows nothing yet.
    pub fn new(config: &AnalysisConfig) -> Self {
        let baseline = config
            .cold_start_failure_share
            .max(config.tolerated_failure_share);
        Self {
            settled: DetectorState::default(),
            open: BTreeMap::new(),
            stale_from: None,
            history: History::default(),
            held: Held::default(),
            settled_before: None,
            rise: ShareRise::above(Probability::clamped(baseline)),
            only_jumps: false,
        }
    }

    /// One that knows nothing yet, and is silent until it knows what is usual: of what may be a habit of the system from its
    /// first request on.
    pub(crate) fn of_jumps(config: &AnalysisConfig) -> Self {
        Self {
            only_jumps: true,
            ..Self::new(config)
        }
    }

    fn knows_enough(&self, config: &AnalysisConfig) -> bool {
        self.history.ok + self.history.bad >= config.enough_history
    }

    /// The share of failures that is usual, in `[0, 1]`.
    pub fn baseline(&self) -> f64 {
        self.rise.baseline()
    }

    /// What history says, without the caution that the detector adds; `None` without history.
    pub(crate) fn usual(&self) -> Option<f64> {
        Share::of(self.history.bad, self.history.ok).value()
    }

    /// Counts one request that began in this slice.
    pub fn add(&mut self, slice: u64, start: UnixNanos, bad: bool) {
        self.change(slice, |counted| {
            if bad {
                counted.bad += 1;
                counted.first_bad = Some(counted.first_bad.map_or(start, |at| at.min(start)));
            } else {
                counted.ok += 1;
            }
        });
        // Whether there is an alarm will be asked next.
        if bad {
            self.catch_up();
        }
    }

    /// Corrects one that was counted: it was bad and is fine, or the other way round.
    pub(crate) fn correct(&mut self, slice: u64, start: UnixNanos, bad: bool) {
        if !self.open.contains_key(&slice) {
            return;
        }
        self.change(slice, |counted| {
            if bad && counted.ok > 0 {
                counted.ok -= 1;
                counted.bad += 1;
                counted.first_bad = Some(counted.first_bad.map_or(start, |at| at.min(start)));
            } else if !bad && counted.bad > 0 {
                counted.bad -= 1;
                counted.ok += 1;
            }
        });
    }

    /// Takes back one that was counted and is no evidence.
    pub(crate) fn take_back(&mut self, slice: u64, bad: bool) {
        if !self.open.contains_key(&slice) {
            return;
        }
        self.change(slice, |counted| {
            let side = if bad {
                &mut counted.bad
            } else {
                &mut counted.ok
            };
            *side = side.saturating_sub(1);
            if counted.bad == 0 {
                counted.first_bad = None;
            }
        });
    }

    /// Bets are dear, and most requests end well, which nobody asks the detector about: so they are taken up again when
    /// somebody asks.
    fn change(&mut self, slice: u64, how: impl FnOnce(&mut Slice)) {
        how(self.open.entry(slice).or_default());
        self.stale_from = Some(self.stale_from.map_or(slice, |from| from.min(slice)));
    }

    /// The bets before this slice.
    fn before(&self, slice: u64) -> DetectorState {
        let before = self.open.range(..slice).next_back();
        before.map_or(self.settled, |(_, before)| before.after)
    }

    /// Takes up all bets that are out of date.
    fn catch_up(&mut self) {
        let Some(from) = self.stale_from.take() else {
            return;
        };
        let mut state = self.before(from);
        for (_, slice) in self.open.range_mut(from..) {
            state = self.rise.step(state, slice.bad, slice.ok);
            slice.after = state;
        }
    }

    /// The evidence for a rise, in requests: an alarm is due when it reaches the wanted number of
    /// requests between false alarms.
    pub fn evidence(&self) -> f64 {
        let from = self.stale_from.unwrap_or(u64::MAX);
        let stale = self.open.range(from..);
        let state = stale.fold(self.before(from), |state, (_, slice)| {
            self.rise.step(state, slice.bad, slice.ok)
        });
        state.value()
    }

    /// When the failures most likely began.
    pub(crate) fn onset(&self) -> Option<UnixNanos> {
        let counted: Vec<(u64, u64)> = self.open.values().map(|s| (s.bad, s.ok)).collect();
        let at = self.rise.onset(&counted)?;
        self.open
            .values()
            .skip(at)
            .find_map(|slice| slice.first_bad)
    }

    /// Whether an alarm is due.
    ///
    /// Once the baseline is known, the type may raise a false alarm once in
    /// `time_between_false_alarms` at its own rate. Before, the cold-start share stands in, and the
    /// count of requests does alone: the first thousand then bring an alarm in one case of a
    /// thousand.
    pub fn is_alarmed(&self, config: &AnalysisConfig) -> bool {
        let may_tell = !self.only_jumps || self.knows_enough(config);
        may_tell && self.evidence() >= self.wanted(config)
    }

    fn wanted(&self, config: &AnalysisConfig) -> f64 {
        let requests = self.history.ok + self.history.bad;
        if !self.knows_enough(config) {
            return config.requests_between_false_alarms;
        }
        let seconds = self.history.slices.max(1) as f64 * config.slice.as_secs_f64();
        let rate = requests as f64 / seconds;
        let by_time = rate * config.time_between_false_alarms.as_secs_f64();
        by_time.max(config.requests_between_false_alarms)
    }

    /// Closes slices before this one. They become history, unless an incident or an intervention
    /// makes them no example.
    pub fn settle(&mut self, before: u64, exemplary: bool, config: &AnalysisConfig) {
        // By the baseline that they were counted at.
        self.catch_up();
        let open = self.open.split_off(&before);
        let settled = std::mem::replace(&mut self.open, open);
        let from = self
            .settled_before
            .or_else(|| settled.keys().next().copied());
        if let Some(from) = from {
            self.settled_before = Some(before.max(from));
            if exemplary {
                self.history.slices += before.saturating_sub(from);
            }
        }
        let Some(last) = settled.values().next_back() else {
            return;
        };
        self.settled = last.after;
        let is_learning = self.only_jumps && !self.knows_enough(config);
        for (at, slice) in &settled {
            if exemplary {
                self.history.add(*at, slice.bad, slice.ok);
            } else {
                self.held.add(*at, slice.bad, slice.ok);
            }
        }
        if exemplary {
            self.held = Held::default();
            self.learn(config);
        }
        if is_learning {
            self.bet_anew();
        }
    }

    /// What was bet on while less was known is over; slices that are open are bet on by what is known now.
    fn bet_anew(&mut self) {
        self.settled = DetectorState::default();
        let mut state = self.settled;
        for slice in self.open.values_mut() {
            state = self.rise.step(state, slice.bad, slice.ok);
            slice.after = state;
        }
    }

    fn learn(&mut self, config: &AnalysisConfig) {
        self.history.fade();
        self.rise = ShareRise::above(Probability::clamped(self.careful_baseline(config)))
            .bursty(self.history.burstiness());
    }

    /// Begins anew after an incident: what was bet on is over. If it went away `by_itself`, with
    /// nothing done about it, and quickly, it was a hiccup, and belongs to what is usual, where a day is known.
    pub fn reset(&mut self, by_itself: bool, config: &AnalysisConfig) {
        self.settled = DetectorState::default();
        self.stale_from = None;
        let mut held = std::mem::take(&mut self.held);
        for (at, slice) in std::mem::take(&mut self.open) {
            held.add(at, slice.bad, slice.ok);
        }
        let known_for = self.history.slices as f64 * config.slice.as_secs_f64();
        let is_habit = by_itself && known_for >= HABITS_TAKE.as_secs_f64();
        if let Some(slices) = held.hiccup().filter(|_| is_habit) {
            for (at, bad, ok) in slices {
                self.history.add(at, bad, ok);
            }
            self.learn(config);
        }
    }

    fn careful_baseline(&self, config: &AnalysisConfig) -> f64 {
        let history = self.history.share();
        if self.knows_enough(config) {
            return history
                .upper_bound(Probability::P95)
                .max(config.tolerated_failure_share);
        }
        let cold = config.cold_start_failure_share;
        let mixed = (history.hits() as f64 + cold * COLD_START_WEIGHT)
            / (history.total() as f64 + COLD_START_WEIGHT);
        mixed.max(cold).max(config.tolerated_failure_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fed(slices: &[(u64, u64)]) -> TypeDetector {
        let mut detector = TypeDetector::new(&AnalysisConfig::default());
        for (slice, (bad, ok)) in slices.iter().enumerate() {
            let slice = slice as u64;
            (0..*ok).for_each(|_| detector.add(slice, UnixNanos::from_secs(slice), false));
            (0..*bad).for_each(|_| detector.add(slice, UnixNanos::from_secs(slice), true));
        }
        detector
    }

    #[test]
    fn the_order_of_arrival_makes_no_difference() {
        let in_order = fed(&[(0, 5), (1, 4), (3, 0)]);
        let mut turned = TypeDetector::new(&AnalysisConfig::default());
        for (slice, bad) in [
            (2, true),
            (1, false),
            (0, false),
            (2, true),
            (1, true),
            (1, false),
        ]
        .into_iter()
        .chain([(0, false); 4])
        .chain([(1, false); 2])
        .chain([(2, true)])
        {
            turned.add(slice, UnixNanos::from_secs(slice), bad);
        }
        assert!((in_order.evidence() - turned.evidence()).abs() < 1e-9 * in_order.evidence());
        assert_eq!(in_order.onset(), turned.onset());
    }

    #[test]
    fn history_sharpens_and_incidents_do_not_count() {
        let config = AnalysisConfig::default();
        let mut detector = fed(&[(0, 3_000)]);
        detector.settle(1, true, &config);
        assert!(detector.baseline() < 0.002, "{}", detector.baseline());
        let mut failing = fed(&[(3_000, 0)]);
        failing.settle(1, false, &config);
        assert!((failing.baseline() - 0.01).abs() < 1e-12);
    }

    /// A type with a request a second, a failure in a thousand, and a day behind it.
    fn calm() -> TypeDetector {
        let config = AnalysisConfig::default();
        let mut detector = TypeDetector::new(&config);
        for slice in 0..86_400 {
            detector.add(slice, UnixNanos::from_secs(slice), slice % 1_000 == 0);
        }
        detector.settle(86_400, true, &config);
        detector
    }

    /// Eight failures one after the other, an hour apart; how many of them raise an alarm.
    fn hiccups(detector: &mut TypeDetector, count: u64, by_itself: bool) -> usize {
        let config = AnalysisConfig::default();
        let mut alarms = 0;
        let mut closes_at = None;
        for hiccup in 0..count {
            let from = 86_400 + hiccup * 3_600;
            for slice in from..from + 3_600 {
                let bad = (60..68).contains(&(slice - from));
                detector.add(slice, UnixNanos::from_secs(slice), bad);
                let exemplary = closes_at.is_none();
                detector.settle((slice + 1).saturating_sub(OPEN_SECONDS), exemplary, &config);
                if exemplary && detector.is_alarmed(&config) {
                    alarms += 1;
                    closes_at = Some(slice + 40);
                } else if closes_at == Some(slice) {
                    detector.reset(by_itself, &config);
                    closes_at = None;
                }
            }
        }
        alarms
    }

    #[test]
    fn hiccups_become_a_habit_unless_something_cured_them() {
        let learned = hiccups(&mut calm(), 20, true);
        assert!((2..12).contains(&learned), "{learned} alarms");
        assert_eq!(hiccups(&mut calm(), 20, false), 20);
    }

    #[test]
    fn what_is_known_for_minutes_has_no_habits() {
        let config = AnalysisConfig::default();
        let mut detector = fed(&[(0, 5); 600]);
        detector.settle(600, true, &config);
        let before = detector.baseline();
        for fault in 0..5 {
            let from = 600 + fault * 100;
            for slice in from..from + 20 {
                (0..5).for_each(|_| detector.add(slice, UnixNanos::from_secs(slice), true));
            }
            assert!(detector.is_alarmed(&config), "fault {fault}");
            detector.reset(true, &config);
            assert!(detector.baseline() <= before, "fault {fault}");
        }
    }

    #[test]
    fn the_bar_follows_the_rate() {
        let config = AnalysisConfig::default();
        let a_second = calm().wanted(&config);
        let expected = config.time_between_false_alarms.as_secs_f64();
        assert!((a_second / expected - 1.0).abs() < 0.01, "{a_second}");
        let new = TypeDetector::new(&config).wanted(&config);
        assert!((new - config.requests_between_false_alarms).abs() < 1e-9);
    }

    #[test]
    fn long_failures_are_no_hiccup() {
        let config = AnalysisConfig::default();
        let mut detector = calm();
        let before = detector.baseline();
        for slice in 86_400..86_500 {
            detector.add(slice, UnixNanos::from_secs(slice), true);
            detector.settle(slice - OPEN_SECONDS, false, &config);
        }
        detector.reset(true, &config);
        assert!((detector.baseline() - before).abs() < 1e-12);
    }

    proptest! {
        /// Bets that are taken up when somebody asks are those that are taken up with each request.
        #[test]
        fn when_bets_are_taken_up_makes_no_difference(
            deeds in prop::collection::vec((0u64..20, any::<bool>(), prop::bool::weighted(0.1)), 1..200),
        ) {
            let config = AnalysisConfig::default();
            let mut asked = TypeDetector::new(&config);
            let mut each = asked.clone();
            for (slice, bad, settles) in deeds {
                for detector in [&mut asked, &mut each] {
                    detector.add(slice, UnixNanos::from_secs(slice), bad);
                }
                each.catch_up();
                prop_assert_eq!(asked.evidence().to_bits(), each.evidence().to_bits());
                if settles {
                    for detector in [&mut asked, &mut each] {
                        detector.settle(slice, true, &config);
                    }
                }
            }
        }
    }
}
