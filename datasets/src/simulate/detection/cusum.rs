//! How fast could anybody be? The CUSUM of somebody who knows both rates.
//!
//! Page (1954), Biometrika 41:100–115; that no procedure with as few false alarms finds the change sooner in
//! the worst case is Moustakides (1986), Annals of Statistics 14:1379–1387. S ← max(0, S + ln p₁(x)/p₀(x)),
//! alarm at h. S falls back to 0 again and again, so the mean number of requests between false alarms is
//! the mean length of such a cycle over the probability that one ends at h; that probability is tiny, so
//! it is measured where the change has happened, weighted by e^{−S} (Wald's likelihood ratio identity).

use rand::RngExt;
use rand::rngs::StdRng;

/// The CUSUM for a rise from one failure share to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cusum {
    before: f64,
    after: f64,
    limit: f64,
}

/// Cycles that a probability is measured with: 20,000 know it to about 2 %, and it enters the limit by
/// its logarithm.
const CYCLES: u32 = 20_000;

impl Cusum {
    fn step(&self, failed: bool) -> f64 {
        if failed {
            (self.after / self.before).ln()
        } else {
            ((1.0 - self.after) / (1.0 - self.before)).ln()
        }
    }

    /// One cycle from 0 at this failure share: how long, and where it ended.
    fn cycle(&self, random: &mut StdRng, share: f64) -> (u64, f64) {
        let (mut sum, mut length) = (0.0, 0);
        loop {
            sum += self.step(random.random::<f64>() < share);
            length += 1;
            if sum <= 0.0 || sum >= self.limit {
                return (length, sum);
            }
        }
    }

    /// The mean number of requests between false alarms.
    fn between_false_alarms(&self, random: &mut StdRng) -> f64 {
        let (mut length, mut crossing) = (0.0, 0.0);
        for _ in 0..CYCLES {
            length += self.cycle(random, self.before).0 as f64;
            let (_, end) = self.cycle(random, self.after);
            crossing += if end >= self.limit { (-end).exp() } else { 0.0 };
        }
        length / crossing
    }

    /// The one with so many requests between false alarms.
    pub(super) fn with_budget(before: f64, after: f64, wanted: f64, random: &mut StdRng) -> Self {
        let (mut low, mut high) = (0.0, wanted.ln());
        let at = |limit| Self {
            before,
            after,
            limit,
        };
        // Ten halvings bring the limit to within a fiftieth of one failure's weight.
        for _ in 0..10 {
            let middle = f64::midpoint(low, high);
            if at(middle).between_false_alarms(random) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        at(high)
    }

    /// Requests from the change to the alarm, when it stood at 0.
    pub(super) fn delay(&self, random: &mut StdRng) -> u64 {
        let (mut sum, mut requests) = (0.0f64, 0);
        while sum < self.limit {
            sum = (sum + self.step(random.random::<f64>() < self.after)).max(0.0);
            requests += 1;
        }
        requests
    }
}
