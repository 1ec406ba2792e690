//! What everybody tries first: durations now, in standard deviations of durations before.
//!
//! The plain methods see means and deviations of own times per operation and request type, and know
//! nothing of callers, shares or small samples. They are here as the floor that every other method
//! has to beat.

use std::collections::BTreeMap;

use rekindle_stats::LogHistogram;

use super::input::{Input, Part};
use crate::Level;

/// The rule of thumb that all of them share.
pub(crate) const SIGMAS: f64 = 3.0;

/// Durations of one operation in requests of one type.
pub(crate) struct Plain {
    /// The operation's service, as a subject where it is one.
    pub(crate) service: usize,
    /// The distance of the mean now from the mean before, in deviations of before.
    pub(crate) z: f64,
    /// The share of calls now that lie above the mean before and three deviations.
    pub(crate) beyond: f64,
}

/// Mean and standard deviation, in nanoseconds.
fn mean_and_deviation(histogram: &LogHistogram) -> (f64, f64) {
    let n = histogram.total() as f64;
    let mean = histogram.buckets().map(|(v, k)| v * k as f64).sum::<f64>() / n;
    let squares: f64 = histogram
        .buckets()
        .map(|(v, k)| (v - mean).powi(2) * k as f64)
        .sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// All operations that were called before and now; those that never varied are left out.
pub(crate) fn plain(input: &Input) -> Vec<Plain> {
    let mut services = BTreeMap::new();
    for (at, subject) in input.subjects.iter().enumerate() {
        if subject.component.level == Level::Service {
            services.insert(&subject.component.service, at);
        }
    }
    let mut found = Vec::new();
    for timed in input.timed.iter() {
        let Part::Whole(id) = timed.part else {
            continue;
        };
        let lasted = input.timed.lasted(timed);
        let (before, window) = (lasted.before(), lasted.window());
        if before.total() < 2 || window.total() == 0 {
            continue;
        }
        let (mean, deviation) = mean_and_deviation(&before);
        if deviation <= 0.0 {
            continue;
        }
        let limit = mean + SIGMAS * deviation;
        let above = window.buckets().filter(|(v, _)| *v > limit);
        let service = &input.subjects[id].component.service;
        found.push(Plain {
            service: services.get(service).copied().unwrap_or(id),
            z: (mean_and_deviation(window).0 - mean) / deviation,
            beyond: above.map(|(_, k)| k as f64).sum::<f64>() / window.total() as f64,
        });
    }
    found
}

/// The scores of services, put together from those of their operations.
pub(crate) fn per_service(
    input: &Input,
    score: impl Fn(&Plain) -> f64,
    together: impl Fn(f64, f64) -> f64,
) -> BTreeMap<usize, f64> {
    let mut scores = BTreeMap::new();
    for operation in plain(input) {
        let sum = scores.entry(operation.service).or_insert(0.0);
        *sum = together(*sum, score(&operation));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_by_hand() {
        let mut histogram = LogHistogram::default();
        for nanos in [1u64 << 20, 1 << 20, 1 << 24, 1 << 24] {
            histogram.add(nanos);
        }
        let (mean, deviation) = mean_and_deviation(&histogram);
        let (low, high) = (f64::from(1u32 << 20), f64::from(1u32 << 24));
        assert!((mean / f64::midpoint(low, high) - 1.0).abs() < 0.03);
        let expected = (high - low) / 2.0 * (4.0f64 / 3.0).sqrt();
        assert!((deviation / expected - 1.0).abs() < 0.03);
    }
}
