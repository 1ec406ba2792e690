//! Has the share of failures risen above its baseline, and how rarely may that be a mistake?
//!
//! A Shiryaev–Roberts e-detector. Against failures that come with a share of at most p₀, each
//! alternative p₁ > p₀ bets by the likelihood ratio
//! L = (p₁/p₀)^failures · ((1−p₁)/(1−p₀))^others, whose expectation is at most 1; the detector keeps
//! M ← (M + n)·L for each slice of n requests, a bet begun anew with every request. M less the
//! number of requests so far is a supermartingale, so when M first reaches A, the expected number
//! of requests until then is at least A, whatever the true shares below p₀ were: the mean number of
//! requests between false alarms is at least A. Shin, Ramdas and Rinaldo (2023), *E-detectors: a
//! nonparametric framework for sequential change detection*, New England Journal of Statistics in
//! Data Science 2; the SR recursion is from Shiryaev (1963) and Roberts (1966).
//!
//! A mixture over a grid of alternatives is again such a detector, so nobody has to know how bad it
//! will be. Within a slice only the counts matter, not the order: requests of one slice come from
//! many exporters. Looking while a slice is still filling is covered too: an alarm there stops
//! earlier under the alternative than under the baseline, which only lowers the left side of the
//! inequality (and a seeded simulation below measures it).
//!
//! Where failures come in bursts, one of them is not news of its own. [`ShareRise::bursty`] divides
//! log L by the dispersion index φ (quasi-likelihood): for bursts of exactly φ failures that is the
//! likelihood ratio of the bursts, so the promise holds as before; for others it holds nearly.

use serde::{Deserialize, Serialize};

/// Alternatives: how far of the way from p₀ to certain failure. From "one more in a hundred" to "all", in
/// even steps of a factor of two and a half. Each costs all others a little (a bet of one in six is worth
/// ln 6 less evidence), and one that is off by half a step, a factor of 1.6, hardly loses speed.
const RISES: [f64; 6] = [0.01, 0.025, 0.063, 0.158, 0.396, 0.99];

/// M is kept below this; far above any threshold, far below infinity.
const CEILING: f64 = 1e250;

/// The baseline p₀ is kept within these, so that every ratio exists.
const LOWEST_BASELINE: f64 = 1e-6;
const HIGHEST_BASELINE: f64 = 0.98;

/// What the detector watches for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareRise {
    baseline: f64,
    /// Per alternative, what a failure and what another request adds to ln L.
    logs: [(f64, f64); RISES.len()],
}

/// The bets so far, one per alternative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorState {
    bets: [f64; RISES.len()],
}

impl ShareRise {
    /// Watches for a share above `baseline`, which is clamped to where ratios exist
    /// (`[10⁻⁶, 0.98]`).
    pub fn above(baseline: crate::Probability) -> Self {
        let p0 = baseline.get().clamp(LOWEST_BASELINE, HIGHEST_BASELINE);
        Self {
            baseline: p0,
            logs: RISES.map(|rise| {
                let p1 = p0 + (1.0 - p0) * rise;
                ((p1 / p0).ln(), ((1.0 - p1) / (1.0 - p0)).ln())
            }),
        }
    }

    /// The same where counts scatter `dispersion` times as much as a binomial's; below 1 is 1.
    #[must_use]
    pub fn bursty(self, dispersion: f64) -> Self {
        let power = 1.0 / dispersion.max(1.0);
        Self {
            logs: self.logs.map(|(bad, ok)| (bad * power, ok * power)),
            ..self
        }
    }

    /// The baseline p₀.
    pub const fn baseline(self) -> f64 {
        self.baseline
    }

    /// ln L of one slice for the alternative of this place.
    fn log_ratio(self, place: usize, bad: u64, ok: u64) -> f64 {
        let (of_bad, of_ok) = self.logs[place];
        bad as f64 * of_bad + ok as f64 * of_ok
    }

    /// The state after one more slice. A slice without requests changes nothing.
    #[must_use]
    pub fn step(self, state: DetectorState, bad: u64, ok: u64) -> DetectorState {
        if bad + ok == 0 {
            return state;
        }
        let requests = (bad + ok) as f64;
        let mut next = state;
        for (place, bet) in next.bets.iter_mut().enumerate() {
            let ratio = self.log_ratio(place, bad, ok).exp().min(CEILING);
            *bet = ((*bet + requests) * ratio).min(CEILING);
        }
        next
    }

    /// Where among these slices (failed, others), oldest first, the rise most likely began: the
    /// index that maximizes the likelihood of "p₀ before, p₁ from here on" over all alternatives.
    /// `None` when nothing speaks for a rise.
    pub fn onset(self, slices: &[(u64, u64)]) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for place in 0..RISES.len() {
            let mut gain = 0.0;
            for (index, (bad, ok)) in slices.iter().enumerate().rev() {
                gain += self.log_ratio(place, *bad, *ok);
                if gain > best.map_or(0.0, |(gain, _)| gain) {
                    best = Some((gain, index));
                }
            }
        }
        best.map(|(_, index)| index)
    }
}

impl DetectorState {
    /// The mixture's value: an alarm is due when it reaches the wanted number of requests between
    /// false alarms.
    pub fn value(&self) -> f64 {
        self.bets.iter().map(|bet| bet / RISES.len() as f64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;
    use proptest::prelude::*;

    /// A small generator with a published reference (Steele, Lea and Flood 2014), so that the
    /// simulation needs no dependency and never changes.
    struct SplitMix(u64);

    impl SplitMix {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Requests until the alarm, looking after every single request though slices hold `per_slice`.
    fn run_length(rng: &mut SplitMix, p: f64, p0: f64, a: f64, per_slice: u64) -> u64 {
        let rise = ShareRise::above(Probability::clamped(p0));
        let mut closed = DetectorState::default();
        let mut requests = 0;
        loop {
            let (mut bad, mut ok) = (0, 0);
            for _ in 0..per_slice {
                requests += 1;
                if rng.uniform() < p {
                    bad += 1
                } else {
                    ok += 1
                }
                if rise.step(closed, bad, ok).value() >= a {
                    return requests;
                }
            }
            closed = rise.step(closed, bad, ok);
        }
    }

    #[test]
    fn false_alarms_are_as_rare_as_promised() {
        const A: f64 = 500.0;
        const RUNS: u32 = 400;
        for (p0, per_slice) in [(0.01, 1), (0.01, 10), (0.1, 1), (0.1, 7)] {
            let mut rng = SplitMix(42);
            let total: u64 = (0..RUNS)
                .map(|_| run_length(&mut rng, p0, p0, A, per_slice))
                .sum();
            let mean = total as f64 / f64::from(RUNS);
            // Run lengths are near geometric, so 400 runs know the mean to about 5 %.
            assert!(mean >= A, "mean run {mean} at p0 {p0}, {per_slice} a slice");
        }
    }

    #[test]
    fn total_failure_is_noticed_within_a_few_requests() {
        let rise = ShareRise::above(Probability::clamped(0.01));
        let mut state = DetectorState::default();
        for _ in 0..1_000 {
            state = rise.step(state, 0, 1);
        }
        let mut failed = 0;
        while state.value() < 1e6 {
            state = rise.step(state, 1, 0);
            failed += 1;
        }
        assert!(failed <= 5, "{failed} failed requests");
    }

    #[test]
    fn a_jump_to_five_percent_is_found_nearly_as_fast_as_can_be() {
        // CUSUM with both rates known needs about 100 requests (ln A / KL, A = 10⁵).
        let mut rng = SplitMix(7);
        let total: u64 = (0..200)
            .map(|_| run_length(&mut rng, 0.05, 0.001, 1e5, 10))
            .sum();
        let mean = total as f64 / 200.0;
        assert!(mean < 160.0, "{mean} requests");
    }

    #[test]
    fn the_onset_is_where_failures_began() {
        let rise = ShareRise::above(Probability::clamped(0.01));
        let mut slices = vec![(0, 10); 20];
        slices.extend([(6, 4); 5]);
        assert_eq!(rise.onset(&slices), Some(20));
        assert_eq!(rise.onset(&[(0, 10); 5]), None);
    }

    #[test]
    fn bursts_count_once() {
        let single = ShareRise::above(Probability::clamped(0.001));
        let bursty = single.bursty(4.0);
        let after = |rise: ShareRise, bad| rise.step(DetectorState::default(), bad, 0).value();
        assert!((after(single, 1) - after(bursty, 4)).abs() < 4.0 * after(single, 1));
        assert!(after(single, 4) > 1e6 * after(bursty, 4));
        assert_eq!(single.bursty(0.5), single);
    }

    proptest! {
        #[test]
        fn more_failures_never_calm(bad in 0u64..50, ok in 1u64..50, before in 0u64..5) {
            let rise = ShareRise::above(Probability::clamped(0.02));
            let state = rise.step(DetectorState::default(), before, 20);
            let less = rise.step(state, bad, ok).value();
            let more = rise.step(state, bad + 1, ok - 1).value();
            prop_assert!(more > less);
            prop_assert!(rise.step(state, u64::MAX / 4, 0).value().is_finite());
        }
    }
}
