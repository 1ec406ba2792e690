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

use std::collections::BTreeMap;

use rekindle_model::UnixNanos;
use rekindle_stats::{DetectorState, Probability, Share, ShareRise};

use crate::AnalysisConfig;

/// Slices younger than this stay open for late spans. Exporters batch for up to 5 s and retry; a
/// time-out of half a minute makes its request's span that late.
pub(crate) const OPEN_SECONDS: u64 = 60;

/// History counts at most so many requests, then old ones weigh half: a week's habits shouldn't
/// outvote today's for another week.
const HISTORY_FADES_AT: u64 = 200_000;

/// While history is short, the configured share weighs like so many requests.
const COLD_START_WEIGHT: f64 = 100.0;

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    ok: u64,
    bad: u64,
    first_bad: Option<UnixNanos>,
    after: DetectorState,
}

/// Watches one request type.
#[derive(Debug)]
pub(crate) struct TypeDetector {
    settled: DetectorState,
    open: BTreeMap<u64, Slice>,
    history_ok: u64,
    history_bad: u64,
    rise: ShareRise,
}

impl TypeDetector {
    pub(crate) fn new(config: &AnalysisConfig) -> Self {
        let baseline = config
            .cold_start_failure_share
            .max(config.tolerated_failure_share);
        Self {
            settled: DetectorState::default(),
            open: BTreeMap::new(),
            history_ok: 0,
            history_bad: 0,
            rise: ShareRise::above(Probability::clamped(baseline)),
        }
    }

    /// The share of failures that is usual, in `[0, 1]`.
    pub(crate) fn baseline(&self) -> f64 {
        self.rise.baseline()
    }

    /// What history says, without the caution that the detector adds; `None` without history.
    pub(crate) fn usual(&self) -> Option<f64> {
        Share::of(self.history_bad, self.history_ok).value()
    }

    /// Counts one request that began in this slice.
    pub(crate) fn add(&mut self, slice: u64, start: UnixNanos, bad: bool) {
        self.change(slice, |counted| {
            if bad {
                counted.bad += 1;
                counted.first_bad = Some(counted.first_bad.map_or(start, |at| at.min(start)));
            } else {
                counted.ok += 1;
            }
        });
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

    fn change(&mut self, slice: u64, how: impl FnOnce(&mut Slice)) {
        how(self.open.entry(slice).or_default());
        let mut state = self
            .open
            .range(..slice)
            .next_back()
            .map_or(self.settled, |(_, before)| before.after);
        for (_, later) in self.open.range_mut(slice..) {
            state = self.rise.step(state, later.bad, later.ok);
            later.after = state;
        }
    }

    /// The evidence for a rise, in requests: an alarm is due when it reaches the wanted number of
    /// requests between false alarms.
    pub(crate) fn evidence(&self) -> f64 {
        self.open
            .values()
            .next_back()
            .map_or(self.settled, |slice| slice.after)
            .value()
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

    /// Closes slices before this one. They become history, unless an incident or an intervention
    /// makes them no example.
    pub(crate) fn settle(&mut self, before: u64, exemplary: bool, config: &AnalysisConfig) {
        let open = self.open.split_off(&before);
        let settled = std::mem::replace(&mut self.open, open);
        let Some(last) = settled.values().next_back() else {
            return;
        };
        self.settled = last.after;
        if !exemplary {
            return;
        }
        for slice in settled.values() {
            self.history_ok += slice.ok;
            self.history_bad += slice.bad;
        }
        if self.history_ok + self.history_bad > HISTORY_FADES_AT {
            self.history_ok /= 2;
            self.history_bad /= 2;
        }
        self.rise = ShareRise::above(Probability::clamped(self.careful_baseline(config)));
    }

    /// Begins anew after an incident: what was bet on is over.
    pub(crate) fn reset(&mut self) {
        self.settled = DetectorState::default();
        self.open.clear();
    }

    fn careful_baseline(&self, config: &AnalysisConfig) -> f64 {
        let history = Share::of(self.history_bad, self.history_ok);
        if history.total() >= config.enough_history {
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
}
