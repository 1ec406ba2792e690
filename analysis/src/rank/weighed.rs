//! What share of requests did something, where each stands for several?
//!
//! Shares are estimated by what requests stand for (Horvitz and Thompson, 1952; Hájek's ratio). How sure one may be
//! follows from how many were seen and how differently they weigh: so many as count are n / deff, with
//! deff = n Σw² / (Σw)² (Kish, 1965). Where nothing was thrown away there is no such table, and counts are all.

//!
//! No request weighs more than a part of 1/√n of all n of its kind. An interval for a ratio rests on the central limit
//! theorem, and that on none of the summands mattering beside the others (Lindeberg's condition, 1922); else the one trace
//! that a sampler kept of a million decides who is at fault. Weights that don't dominate stay as they are.

use std::collections::BTreeMap;

use rekindle_model::Outcome;
use rekindle_stats::Share;

use super::input::{Case, Input};
use crate::StandsFor;

/// Rounds in which the greatest weight is found; each comes closer, and the last ones by nothing.
const ROUNDS: usize = 100;

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    seen: f64,
    weight: f64,
    squares: f64,
}

impl Sum {
    /// Adds so many requests that weigh this much each.
    pub(crate) fn add(&mut self, count: u64, weight: f64) {
        self.seen += count as f64;
        self.weight += count as f64 * weight;
        self.squares += count as f64 * weight * weight;
    }

    /// Of all these, those that had it, which weigh so much together.
    pub(crate) fn share_of(&self, hits: f64) -> Share {
        self.share(self.seen as u64, hits, self.weight).1
    }

    /// Of so many that were seen, with these weights, those that had it: as if so many had been seen as count.
    fn share(&self, seen: u64, hits: f64, weight: f64) -> (f64, Share) {
        if seen == 0 || weight <= 0.0 {
            return (0.0, Share::default());
        }
        let share = (hits / weight).clamp(0.0, 1.0);
        let deff = self.seen * self.squares / (self.weight * self.weight);
        let count = seen as f64 / deff;
        let hits = (share * count).round();
        let others = (count - hits).round().max(0.0);
        (share, Share::of(hits as u64, others as u64))
    }
}

/// The most that one request weighs, where so many of each weight were seen.
fn most(seen: &BTreeMap<StandsFor, u64>) -> f64 {
    let root = (seen.values().sum::<u64>() as f64).sqrt();
    let mut most = f64::INFINITY;
    for _ in 0..ROUNDS {
        let of_all =
            |(weight, count): (&StandsFor, &u64)| *count as f64 * weight.requests().min(most);
        let next = seen.iter().map(of_all).sum::<f64>() / root;
        if next >= most {
            break;
        }
        most = next;
    }
    most
}

/// What the requests of an input stand for: as [`super::Tally`], by weight.
#[derive(Clone, Debug)]
pub(super) struct Weighed {
    failed: Sum,
    ok: Sum,
    window: Sum,
    baseline: Sum,
    failed_touching: Vec<f64>,
    ok_touching: Vec<f64>,
    originated: Vec<f64>,
    touched: [Vec<f64>; 2],
    began: [Vec<f64>; 2],
    /// The most that one weighs: of the window and of the baseline, of those that ended well and badly.
    most: [[f64; 2]; 2],
}

impl Weighed {
    /// `None` where each stands for itself.
    pub(super) fn of(input: &Input) -> Option<Self> {
        let all = || input.window.iter().chain(&input.baseline);
        if all().all(|case| case.stands_for == Default::default()) {
            return None;
        }
        let zeros = || vec![0.0; input.subjects.len()];
        let most = [&input.window, &input.baseline].map(|cases| {
            [false, true].map(|is_bad| {
                let mut seen: BTreeMap<StandsFor, u64> = BTreeMap::new();
                let known = cases.iter().filter(|it| it.outcome != Outcome::Unknown);
                for case in known.filter(|it| it.outcome.is_bad() == is_bad) {
                    *seen.entry(case.stands_for).or_default() += case.count;
                }
                self::most(&seen)
            })
        });
        let mut weighed = Self {
            failed: Sum::default(),
            ok: Sum::default(),
            window: Sum::default(),
            baseline: Sum::default(),
            failed_touching: zeros(),
            ok_touching: zeros(),
            originated: zeros(),
            touched: [zeros(), zeros()],
            began: [zeros(), zeros()],
            most,
        };
        for (at, cases) in [&input.window, &input.baseline].into_iter().enumerate() {
            for case in cases.iter().filter(|it| it.outcome != Outcome::Unknown) {
                weighed.add(input, case, at);
            }
        }
        Some(weighed)
    }

    /// A case of the window, 0, or of the baseline, 1.
    fn add(&mut self, input: &Input, case: &Case, at: usize) {
        let is_failure = at == 0 && case.is_failure();
        let each = self.weight(case, at);
        [&mut self.window, &mut self.baseline][at].add(case.count, each);
        if is_failure {
            self.failed.add(case.count, each);
        } else if case.is_ok() {
            self.ok.add(case.count, each);
        }
        let weight = case.count as f64 * each;
        for touch in &input.rows[case.row].touches {
            let (subject, began) = (touch.subject, touch.state.is_origin());
            self.touched[at][subject] += weight;
            self.began[at][subject] += if began { weight } else { 0.0 };
            if is_failure {
                self.failed_touching[subject] += weight;
                self.originated[subject] += if began { weight } else { 0.0 };
            } else if case.is_ok() && !began {
                self.ok_touching[subject] += weight;
            }
        }
    }

    /// How much one request of this case of the window, 0, or of the baseline, 1, weighs.
    pub(super) fn weight(&self, case: &Case, at: usize) -> f64 {
        let most = self.most[at][usize::from(case.outcome.is_bad())];
        case.stands_for.requests().min(most)
    }

    /// Of so many failed requests, those that touched the subject.
    pub(super) fn failed_touching(&self, subject: usize, seen: u64) -> (f64, Share) {
        let hits = self.failed_touching[subject];
        self.failed.share(seen, hits, self.failed.weight)
    }

    /// Of so many good ones, those that touched it.
    pub(super) fn ok_touching(&self, subject: usize, seen: u64) -> (f64, Share) {
        let hits = self.ok_touching[subject];
        self.ok.share(seen, hits, self.ok.weight)
    }

    /// Of so many failed ones, those that began in it.
    pub(super) fn originated(&self, subject: usize, seen: u64) -> (f64, Share) {
        let hits = self.originated[subject];
        self.failed.share(seen, hits, self.failed.weight)
    }

    /// Of so many of the window that touched it, those in which a failure began in it.
    pub(super) fn began_now(&self, subject: usize, seen: u64) -> (f64, Share) {
        let (began, touched) = (self.began[0][subject], self.touched[0][subject]);
        self.window.share(seen, began, touched)
    }

    /// The same before.
    pub(super) fn began_before(&self, subject: usize, seen: u64) -> (f64, Share) {
        let (began, touched) = (self.began[1][subject], self.touched[1][subject]);
        self.baseline.share(seen, began, touched)
    }

    /// How much one of these failed requests counts, if all that were seen count as many as there are.
    pub(super) fn weight_of(&self, case: &Case) -> f64 {
        self.weight(case, 0) * self.failed.seen / self.failed.weight
    }
}

#[cfg(test)]
mod tests {
    use rekindle_model::Sampling;
    use rekindle_stats::Probability;

    use super::*;

    /// So many requests, each of which stands for so many: a power of two.
    fn seen(counts: &[(u64, u32)]) -> BTreeMap<StandsFor, u64> {
        let of = |(count, octaves): &(u64, u32)| {
            let threshold = Sampling::THRESHOLDS - (Sampling::THRESHOLDS >> octaves);
            (StandsFor::of(Some(Sampling::Threshold(threshold))), *count)
        };
        counts.iter().map(of).collect()
    }

    #[test]
    fn no_request_weighs_more_than_its_part_of_all() {
        for (counts, is_cut) in [
            (&[(100, 0)][..], false),
            (&[(100, 3)], false),
            // A tenth of what came stands for most of what was there: that is what samplers do.
            (&[(9_000, 0), (1_000, 10)], false),
            (&[(99, 0), (1, 20)], true),
            (&[(1, 40), (3, 0)], true),
            (&[(1, 5)], false),
        ] {
            let seen = seen(counts);
            let most = most(&seen);
            let greatest = seen.keys().last().expect("some").requests();
            assert_eq!(most < greatest, is_cut, "{counts:?}: {most}");
            if is_cut {
                let n: u64 = seen.values().sum();
                let weights = seen
                    .iter()
                    .map(|(it, n)| *n as f64 * it.requests().min(most));
                let part = most / weights.sum::<f64>();
                assert!(
                    (part * (n as f64).sqrt() - 1.0).abs() < 1e-6,
                    "{counts:?}: {part}"
                );
            }
        }
    }

    /// Against the formulas of Hájek, Kish and Wilson, worked out elsewhere (Python, statistics.NormalDist) of each request's
    /// weight: for (hits of weight 1, hits of weight 8, others of weight 1, others of weight 8) the share and its interval.
    #[test]
    fn weighted_shares_have_the_intervals_of_as_many_as_count() {
        for ([a, b, c, d], [share, low, high]) in REFERENCE {
            let mut sum = Sum::default();
            sum.add(a + c, 1.0);
            sum.add(b + d, 8.0);
            let hits = a as f64 + 8.0 * b as f64;
            let (found, counted) = sum.share(a + b + c + d, hits, sum.weight);
            assert!((found - share).abs() < 1e-9, "{found}, not {share}");
            let interval = counted.wilson(Probability::P95);
            // Effective counts are whole numbers here.
            let off = 1.0 / counted.total() as f64;
            assert!((interval.low - low).abs() < off, "{interval:?}, not {low}");
            assert!(
                (interval.high - high).abs() < off,
                "{interval:?}, not {high}"
            );
        }
    }

    const REFERENCE: [([u64; 4], [f64; 3]); 4] = [
        ([30, 0, 70, 100], [0.0333333333, 0.0132542873, 0.0813233996]),
        ([0, 50, 200, 50], [0.4000000000, 0.3253978638, 0.4795474795]),
        (
            [10, 10, 400, 200],
            [0.0430622010, 0.0256236452, 0.0714979698],
        ),
        ([100, 0, 0, 300], [0.0400000000, 0.0235007683, 0.0672847205]),
    ];
}
