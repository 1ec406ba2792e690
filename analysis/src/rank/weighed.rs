//! What share of requests did something, where each stands for several?
//!
//! Shares are estimated by what requests stand for (Horvitz and Thompson, 1952; Hájek's ratio). How sure one may be
//! follows from how many were seen and how differently they weigh: so many as count are n / deff, with
//! deff = n Σw² / (Σw)² (Kish, 1965). Where nothing was thrown away there is no such table, and counts are all.

use rekindle_model::Outcome;
use rekindle_stats::Share;

use super::input::{Case, Input};

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    seen: f64,
    weight: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, case: &Case) {
        let weight = case.stands_for.requests();
        self.seen += case.count as f64;
        self.weight += case.count as f64 * weight;
        self.squares += case.count as f64 * weight * weight;
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
}

impl Weighed {
    /// `None` where each stands for itself.
    pub(super) fn of(input: &Input) -> Option<Self> {
        let all = || input.window.iter().chain(&input.baseline);
        if all().all(|case| case.stands_for == Default::default()) {
            return None;
        }
        let zeros = || vec![0.0; input.subjects.len()];
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
        [&mut self.window, &mut self.baseline][at].add(case);
        if is_failure {
            self.failed.add(case);
        } else if case.is_ok() {
            self.ok.add(case);
        }
        let weight = case.count as f64 * case.stands_for.requests();
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
        case.stands_for.requests() * self.failed.seen / self.failed.weight
    }
}
