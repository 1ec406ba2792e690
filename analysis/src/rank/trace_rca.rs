//! TraceRCA's score: in how many abnormal requests was it, and how abnormal are requests with it?
//!
//! Li, Chen, Jiao, Zhao, Wang, Zhang, Wu, Jiang, Yan, Wang, Chen, Zhang, Zhang, Wang, Sui and Pei
//! (2021), *Practical root cause localization for microservice systems via trace analysis*, IWQoS:
//! for a set of services that occur together, *support* is the share of abnormal traces that contain
//! it, *confidence* the share of traces with it that are abnormal; sets are ranked by the Jaccard-like
//! 2·support·confidence / (support + confidence). Here sets are single services, which is where the
//! paper's ranking of services ends, and abnormal requests are those that failed or were too slow; the
//! paper's own anomaly detection per invocation is left to the methods that are made for it.

use super::evidence::Tally;
use super::input::Input;
use super::spectrum_formula::by_score;
use crate::{Level, Suspect};

/// The score from support and confidence.
pub fn score(support: f64, confidence: f64) -> f64 {
    if support + confidence <= 0.0 {
        return 0.0;
    }
    2.0 * support * confidence / (support + confidence)
}

/// Ranks services and dependencies by it.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let services = (0..input.subjects.len()).filter(|at| {
        let level = input.subjects[*at].component.level;
        matches!(level, Level::Service | Level::Dependency)
    });
    let scores: Vec<(usize, f64)> = services
        .map(|at| {
            let failed = tally.failed_touching[at] as f64;
            let touching = failed + tally.ok_touching[at] as f64;
            let support = failed / (tally.failed as f64).max(1.0);
            (at, score(support, failed / touching.max(1.0)))
        })
        .collect();
    by_score(input, tally, scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert!((score(0.8, 0.4) - 0.64 / 1.2).abs() < 1e-12);
        assert!((score(1.0, 1.0) - 1.0).abs() < 1e-12);
        assert!(score(0.0, 0.0).abs() < 1e-12);
    }
}
