//! The CUSUM that knows both shares: the fewest requests that anybody could need.
//!
//! W ← max(0, W + ln L) raises its alarm at h. A run consists of cycles from 0 back to 0; a cycle
//! reaches h before with a probability so small that it can't be counted under the usual share, but
//! easily under the changed one, with each path weighed by e^(−W) (Siegmund 1985, *Sequential
//! Analysis*, chapter II). Then the mean number of requests between false alarms is the mean length
//! of a cycle by that probability, and h is chosen for the wanted number.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::simulate::random;

/// Paths of each kind: the threshold is then known to about 0.02, the delay to under one in a hundred.
const PATHS: usize = 10_000;
/// No threshold is higher: e^60 requests is longer than anything lasts.
const HIGHEST: f64 = 60.0;
/// Certain failure has no ratio for a success; so many in a billion succeed.
const NEARLY_ALL: f64 = 1.0 - 1e-9;

/// The optimal detector for one change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Optimal {
    /// Mean requests from the change to the alarm, if W stood at 0: the worst case.
    pub(super) delay: f64,
}

impl Optimal {
    /// For a change of the share from `usual` to `changed`, with so many requests between false
    /// alarms on average.
    pub(super) fn new(usual: f64, changed: f64, between_false_alarms: f64, seed: u64) -> Self {
        let changed = changed.min(NEARLY_ALL);
        let walk = Walk::between(usual, changed);
        let mut chance = random::stream(seed, &[3]);
        let threshold = walk.threshold(usual, changed, between_false_alarms, &mut chance);
        Self {
            delay: walk.delay(changed, threshold, &mut chance),
        }
    }
}

/// What a failure and a success add to W.
#[derive(Clone, Copy, Debug)]
struct Walk {
    bad: f64,
    ok: f64,
}

impl Walk {
    fn between(usual: f64, changed: f64) -> Self {
        Self {
            bad: (changed / usual).ln(),
            ok: ((1.0 - changed) / (1.0 - usual)).ln(),
        }
    }

    /// The height at which an alarm is due, for so many requests between false ones.
    fn threshold(
        self,
        usual: f64,
        changed: f64,
        between_false_alarms: f64,
        chance: &mut StdRng,
    ) -> f64 {
        let cycle = self.cycle(usual, chance);
        let climbs: Vec<Vec<f64>> = (0..PATHS).map(|_| self.records(changed, chance)).collect();
        // A cycle that begins with a success is over at once.
        let between = |threshold: f64| {
            let reached = climbs.iter().filter_map(|records| {
                let at = records.iter().find(|record| **record >= threshold)?;
                Some((self.bad - at).exp())
            });
            cycle / (usual * reached.sum::<f64>() / PATHS as f64)
        };
        let (mut low, mut high) = (0.0, HIGHEST);
        while high - low > 1e-6 {
            let middle = (low + high) / 2.0;
            if between(middle) < between_false_alarms {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    fn step(self, share: f64, chance: &mut StdRng) -> f64 {
        if chance.random::<f64>() < share {
            self.bad
        } else {
            self.ok
        }
    }

    /// The mean length of a cycle from 0 back to 0.
    fn cycle(self, usual: f64, chance: &mut StdRng) -> f64 {
        let mut requests = 0.0;
        for _ in 0..PATHS {
            // It begins with a failure here; the many that don't have length 1.
            let (mut height, mut length) = (self.bad, 1.0);
            while height > 0.0 && height < HIGHEST {
                height += self.step(usual, chance);
                length += 1.0;
            }
            requests += length;
        }
        usual * requests / PATHS as f64 + (1.0 - usual)
    }

    /// The heights that a cycle which begins with a failure reaches for the first time.
    fn records(self, changed: f64, chance: &mut StdRng) -> Vec<f64> {
        let mut height = self.bad;
        let mut records = vec![height];
        let mut highest = height;
        while height > 0.0 && height < HIGHEST {
            height += self.step(changed, chance);
            if height > highest {
                highest = height;
                records.push(height);
            }
        }
        records
    }

    fn delay(self, changed: f64, threshold: f64, chance: &mut StdRng) -> f64 {
        let mut requests = 0.0;
        for _ in 0..PATHS {
            let mut height: f64 = 0.0;
            while height < threshold {
                height = (height + self.step(changed, chance)).max(0.0);
                requests += 1.0;
            }
        }
        requests / PATHS as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_needs_what_is_known_of_it() {
        // 97 and 112 requests for one false alarm a week per hundred types, at 1 and 10 a second.
        for (between, expected) in [(6.048e7, 97.0), (6.048e8, 112.0)] {
            let optimal = Optimal::new(0.001, 0.05, between, 1);
            assert!((optimal.delay / expected - 1.0).abs() < 0.03, "{optimal:?}");
        }
    }

    #[test]
    fn false_alarms_come_as_rarely_as_asked_for() {
        // Played out under the usual share, where they are frequent enough to be counted.
        let (usual, changed, between) = (0.02, 0.2, 2_000.0);
        let walk = Walk::between(usual, changed);
        let mut chance = random::stream(7, &[]);
        let threshold = walk.threshold(usual, changed, between, &mut chance);
        let mut requests = 0.0;
        for _ in 0..400 {
            let mut height: f64 = 0.0;
            while height < threshold {
                height = (height + walk.step(usual, &mut chance)).max(0.0);
                requests += 1.0;
            }
        }
        // Four hundred near geometric runs know their mean to 5 %.
        assert!(
            (requests / 400.0 / between - 1.0).abs() < 0.15,
            "{}",
            requests / 400.0
        );
    }
}
