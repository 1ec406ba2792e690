//! What is expected of a figure that was measured a few times, and how far off may the next time be?
//!
//! A figure (seconds away, a share of requests) is taken as gamma-distributed with a mean that nobody knows. The
//! mean's conjugate prior, an inverse gamma, weighs as much as one measurement; so the expected figure is the
//! weighted mean of prior and measurements. How far off the next one may be has two parts: the figure's own
//! scatter, and what isn't known of its mean; after many measurements only the first is left.

use std::time::{Duration, SystemTime};

use rekindle_stats::{Probability, normal_quantile};
use serde::{Deserialize, Serialize};

/// What the prior weighs, in measurements.
pub(super) const STRENGTH_OF_PRIOR: f64 = 1.0;
/// Prior: a figure scatters by half of itself (its coefficient of variation). Published restarts of one
/// component scatter by less, those of processes that load data by about so much.
const PRIOR_SCATTER: f64 = 0.5;
/// What that weighs, in measurements: to know a scatter takes more of them than to know a mean.
const STRENGTH_OF_SCATTER: f64 = 4.0;
/// A scatter is never believed to be smaller than this …
const LEAST_SCATTER: f64 = 0.02;
/// … or larger: beyond it the conjugate model has no variance.
const MOST_SCATTER: f64 = 0.7;
/// No mean rests on more than so many measurements, so that it follows a unit that gets slower.
pub const MAX_WEIGHT: f64 = 20.0;

/// What is of no date is of this one, which hasn't come: nothing fades before its time.
const NEVER: Duration = Duration::from_secs(1 << 40);

/// What is expected of a figure's next value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Its mean.
    pub mean: f64,
    /// Its variance: scatter, and what isn't known of the mean.
    pub variance: f64,
    /// How many measurements of this very figure, faded, it rests on; 0 where it is a prior's.
    pub weight: f64,
}

impl Estimate {
    /// A figure that is known.
    pub const fn certain(mean: f64) -> Self {
        Self {
            mean,
            variance: 0.0,
            weight: f64::INFINITY,
        }
    }

    /// As many as that on average, each by chance (Poisson).
    pub const fn counted(self) -> Self {
        Self {
            variance: self.variance + self.mean,
            ..self
        }
    }

    /// One after the other. It rests on as much as the lesser known does.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            mean: self.mean + other.mean,
            variance: self.variance + other.variance,
            weight: self.weight.min(other.weight),
        }
    }

    /// The product with a figure that has nothing to do with it.
    pub const fn times(self, other: Self) -> Self {
        let (a, b) = (self.mean * self.mean, other.mean * other.mean);
        Self {
            mean: self.mean * other.mean,
            variance: (a + self.variance) * (b + other.variance) - a * b,
            weight: self.weight.min(other.weight),
        }
    }

    /// So many times it.
    pub const fn scaled(self, factor: f64) -> Self {
        Self {
            mean: factor * self.mean,
            variance: factor * factor * self.variance,
            weight: self.weight,
        }
    }

    /// What the next value stays below with this probability, as a log-normal of this mean and variance has it: the
    /// figures are positive, and now and then much larger than usual.
    pub fn below(&self, probability: Probability) -> f64 {
        if self.mean <= 0.0 || self.variance <= 0.0 {
            return self.mean.max(0.0);
        }
        let squared = (self.variance / (self.mean * self.mean)).ln_1p();
        let centre = self.mean.ln() - squared / 2.0;
        (centre + normal_quantile(probability) * squared.sqrt()).exp()
    }

    /// Between what nine values of ten lie.
    pub fn usual(&self) -> (f64, f64) {
        let below = |share| self.below(Probability::clamped(share));
        (below(0.05), below(0.95))
    }

    /// As [`Self::usual`], of a figure in seconds.
    pub fn usual_durations(&self) -> (Duration, Duration) {
        let (low, high) = self.usual();
        let of = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        (of(low), of(high))
    }

    /// The mean of a figure in seconds.
    pub fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.mean).unwrap_or_default()
    }

    /// How long nine of ten take at most, of a figure in seconds.
    pub fn duration_mostly(&self) -> Duration {
        let longest = self.below(Probability::clamped(0.9));
        // Where it scatters much, the mean is beyond.
        Duration::try_from_secs_f64(longest.max(self.mean)).unwrap_or_default()
    }
}

/// What was measured of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Measurements, faded.
    pub(super) weight: f64,
    /// Their mean.
    pub(super) mean: f64,
    /// Their variance; `None` of those that were kept without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) variance: Option<f64>,
    pub(super) at: SystemTime,
}

impl Moments {
    /// What was measured elsewhere, or is known to a person: then it is of no date, and doesn't fade.
    pub fn seeded(mean: f64, weight: f64, variance: Option<f64>, at: Option<SystemTime>) -> Self {
        Self {
            weight: weight.min(MAX_WEIGHT),
            mean,
            variance,
            at: at.unwrap_or(SystemTime::UNIX_EPOCH + NEVER),
        }
    }

    /// Their mean.
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// How many there were, faded until [`Self::at`].
    pub const fn weight(&self) -> f64 {
        self.weight
    }

    /// Their variance; `None` where it wasn't kept.
    pub const fn variance(&self) -> Option<f64> {
        self.variance
    }

    /// Whether it is of a date, and fades.
    pub fn is_dated(&self) -> bool {
        self.at < SystemTime::UNIX_EPOCH + NEVER
    }

    /// As of when.
    pub const fn at(&self) -> SystemTime {
        self.at
    }

    /// Both, as they weigh now.
    pub(super) fn and(self, other: Self, half_life: Duration, now: SystemTime) -> Self {
        let (mine, theirs) = (
            self.weight_at(half_life, now),
            other.weight_at(half_life, now),
        );
        let weight = mine + theirs;
        if weight <= 0.0 {
            return self;
        }
        let mean = (mine * self.mean + theirs * other.mean) / weight;
        let squares =
            |it: &Self, weight: f64| weight * (it.variance_or_usual() + (it.mean - mean).powi(2));
        Self {
            weight: weight.min(MAX_WEIGHT),
            mean,
            variance: Some((squares(&self, mine) + squares(&other, theirs)) / weight),
            at: now,
        }
    }

    pub(super) fn weight_at(&self, half_life: Duration, now: SystemTime) -> f64 {
        let age = now.duration_since(self.at).unwrap_or_default();
        self.weight * 0.5f64.powf(age.as_secs_f64() / half_life.as_secs_f64())
    }

    /// With one more that weighs so much.
    pub(super) fn with(
        before: Option<Self>,
        value: f64,
        weighs: f64,
        half_life: Duration,
        now: SystemTime,
    ) -> Self {
        let Some(before) = before else {
            return Self {
                weight: weighs,
                mean: value,
                variance: Some(0.0),
                at: now,
            };
        };
        let had = before.weight_at(half_life, now);
        let all = had + weighs;
        if all <= 0.0 {
            return before;
        }
        let mean = (had * before.mean + weighs * value) / all;
        // West's update of a weighted variance (1979).
        let variance =
            before.variance_or_usual() * had + weighs * (value - before.mean) * (value - mean);
        Self {
            weight: all.min(MAX_WEIGHT),
            mean,
            variance: Some((variance / all).max(0.0)),
            at: now.max(before.at),
        }
    }

    fn variance_or_usual(&self) -> f64 {
        self.variance.unwrap_or((PRIOR_SCATTER * self.mean).powi(2))
    }
}

/// What follows for the next value, where `prior` was expected as firmly as one measurement would make it.
pub(super) fn next_value(prior: f64, measured: Option<(&Moments, f64)>) -> Estimate {
    let (weight, mean, relative) = measured.map_or((0.0, 0.0, 0.0), |(measured, weight)| {
        let square = measured.mean * measured.mean;
        let relative = match square > 0.0 {
            true => measured.variance_or_usual() / square,
            false => PRIOR_SCATTER * PRIOR_SCATTER,
        };
        (weight, measured.mean, relative)
    });
    let all = STRENGTH_OF_PRIOR + weight;
    // About their own mean they scatter with one degree of freedom less than there are.
    let degrees = STRENGTH_OF_SCATTER + (weight - 1.0).max(0.0);
    let squares = STRENGTH_OF_SCATTER * PRIOR_SCATTER * PRIOR_SCATTER + weight * relative;
    let scatter = squares / degrees;
    let scatter = scatter.clamp(LEAST_SCATTER * LEAST_SCATTER, MOST_SCATTER * MOST_SCATTER);
    let shape = 1.0 / scatter;
    let expected = (STRENGTH_OF_PRIOR * prior + weight * mean) / all;
    // The rate is Gamma(alpha, beta), and the next value beta times a beta-prime variable.
    let alpha = 1.0 + shape * all;
    let beta = expected * (alpha - 1.0) / shape;
    let square = beta * beta * shape * (shape + 1.0) / ((alpha - 1.0) * (alpha - 2.0));
    Estimate {
        mean: expected,
        variance: (square - expected * expected).max(0.0),
        weight,
    }
}

/// How much a share of so many requests weighs beside one that was counted in any number: what chance does to
/// the count adds to the figure's own scatter.
pub(super) fn weight_of_share(requests: f64) -> f64 {
    let scatter = PRIOR_SCATTER * PRIOR_SCATTER;
    match requests > 0.0 {
        true => scatter / (scatter + 1.0 / requests),
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn measured(values: &[f64]) -> Moments {
        let mut moments = None;
        for value in values {
            let next = Moments::with(moments, *value, 1.0, Duration::MAX, SystemTime::UNIX_EPOCH);
            moments = Some(next);
        }
        moments.expect("a value")
    }

    #[test]
    fn moments_are_the_textbook_s() {
        let moments = measured(&[1.0, 2.0, 4.0, 5.0]);
        assert!((moments.mean - 3.0).abs() < 1e-12, "{moments:?}");
        assert!(
            (moments.variance.unwrap_or(0.0) - 2.5).abs() < 1e-12,
            "{moments:?}"
        );
    }

    /// Figures are drawn as the model has them: a mean from its prior, then values about it. Nine of ten next values
    /// must lie within what is said, however many were measured before.
    #[test]
    fn nine_of_ten_lie_within() {
        let mut random = StdRng::seed_from_u64(5);
        // Marsaglia and Tsang's way needs a normal; sums of exponentials do for whole shapes.
        let mut gamma = |shape: usize| -> f64 {
            (0..shape)
                .map(|_| -(1.0 - random.random::<f64>()).ln())
                .sum()
        };
        for before in [0, 1, 3, 20] {
            let (mut within, runs) = (0u32, 4000);
            for _ in 0..runs {
                // Shape 4 is a scatter of a half; the prior's rate is Gamma(5, 1), for a mean of 1.
                let rate = gamma(5);
                let mut moments = None;
                for _ in 0..before {
                    let value = gamma(4) / rate;
                    moments = Some(Moments::with(
                        moments,
                        value,
                        1.0,
                        Duration::MAX,
                        SystemTime::UNIX_EPOCH,
                    ));
                }
                let weighed = moments.as_ref().map(|moments| (moments, moments.weight));
                let (low, high) = next_value(1.0, weighed).usual();
                let next = gamma(4) / rate;
                within += u32::from((low..=high).contains(&next));
            }
            let share = f64::from(within) / f64::from(runs);
            // The log-normal is near, not exact; few measurements say little of the scatter.
            assert!((0.85..=0.95).contains(&share), "{before}: {share}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_measured_an_interval_holds_its_mean(
            prior in 0.001f64..1000.0,
            values in proptest::collection::vec(0.0f64..1000.0, 0..30),
        ) {
            let moments = (!values.is_empty()).then(|| measured(&values));
            let weighed = moments.as_ref().map(|moments| (moments, moments.weight));
            let estimate = next_value(prior, weighed);
            let (low, high) = estimate.usual();
            prop_assert!(low > 0.0 && low <= estimate.mean && estimate.mean <= high && high.is_finite());
            prop_assert!(estimate.duration_mostly() >= estimate.duration());
        }
    }
}
