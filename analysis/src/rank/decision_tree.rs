//! A decision tree over requests: which components, touched together, make requests fail?
//!
//! Chen, Zheng, Lloyd, Jordan and Brewer (2004), *Failure diagnosis using decision trees*, ICAC. Their
//! MinEntropy splits on one component at a time so that the entropy of "failed?" becomes smallest,
//! and follows the branch with the most failures only: what is asked for is the path to the failing
//! leaf, not a classifier. Components on that path are the suspects, by how many failures the leaf
//! explains; the paper's post-processing is kept: a component that says the same as one above it
//! (nothing new is gained) is merged, that is, not split on again.

use super::evidence::Tally;
use super::input::{Case, Input};
use super::spectrum_formula::by_score;
use crate::{Level, Suspect};

/// Paths longer than this explain nothing to anybody.
const DEPTH: usize = 5;
/// Splits that gain less than a hundredth of a bit a request are noise.
const LEAST_GAIN: f64 = 0.01;

/// Failed and good requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ends {
    /// Failed ones.
    pub failed: f64,
    /// Good ones.
    pub ok: f64,
}

impl Ends {
    fn total(self) -> f64 {
        self.failed + self.ok
    }

    /// The entropy of "failed?", in bits.
    pub fn entropy(self) -> f64 {
        let bits = |part: f64| {
            let share = part / self.total();
            if part > 0.0 {
                -share * share.log2()
            } else {
                0.0
            }
        };
        bits(self.failed) + bits(self.ok)
    }
}

/// Bits a request that a split gains.
pub fn gain(all: Ends, with: Ends) -> f64 {
    let without = Ends {
        failed: all.failed - with.failed,
        ok: all.ok - with.ok,
    };
    let part = |ends: Ends| {
        if ends.total() > 0.0 {
            ends.total() / all.total() * ends.entropy()
        } else {
            0.0
        }
    };
    all.entropy() - part(with) - part(without)
}

/// Ranks the components on the path to the most failures.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let mut requests: Vec<&Case> = input
        .window
        .iter()
        .chain(input.baseline.iter().filter(|case| case.is_ok()))
        .filter(|case| case.is_failure() || case.is_ok())
        .collect();
    let mut scores = Vec::new();
    for depth in 0..DEPTH {
        let Some((best, gained)) = best_split(input, &requests) else {
            break;
        };
        if gained < LEAST_GAIN {
            break;
        }
        requests.retain(|case| input.rows[case.row].state_of(best).is_some());
        let failed: u64 = requests
            .iter()
            .filter(|case| case.is_failure())
            .map(|case| case.count)
            .sum();
        scores.push((best, failed as f64 / (depth + 1) as f64));
    }
    by_score(input, tally, scores)
}

/// The component whose presence gains most, and goes with failing.
fn best_split(input: &Input, requests: &[&Case]) -> Option<(usize, f64)> {
    let mut all = Ends::default();
    let mut with = vec![Ends::default(); input.subjects.len()];
    for case in requests {
        let count = case.count as f64;
        let add = |ends: &mut Ends| {
            if case.is_failure() {
                ends.failed += count;
            } else {
                ends.ok += count;
            }
        };
        add(&mut all);
        for touch in &input.rows[case.row].touches {
            add(&mut with[touch.subject]);
        }
    }
    let level = |at: usize| input.subjects[at].component.level;
    with.iter()
        .enumerate()
        .filter(|(at, ends)| {
            !matches!(level(*at), Level::Host | Level::Operation)
                && ends.failed * all.total() > all.failed * ends.total()
        })
        .map(|(at, ends)| (at, gain(all, *ends)))
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_and_gain_by_hand() {
        let all = Ends {
            failed: 9.0,
            ok: 5.0,
        };
        // Quinlan's weather (1986): 0.940 bits, and 0.048 gained by "wind is weak" (6 of 8).
        assert!((all.entropy() - 0.940).abs() < 5e-4);
        let weak = Ends {
            failed: 6.0,
            ok: 2.0,
        };
        assert!((gain(all, weak) - 0.048).abs() < 5e-4);
        assert!(gain(all, Ends::default()).abs() < 1e-12);
    }
}
