//! Path shape: do components ask others in combinations that were rare before?
//!
//! Kıcıman and Fox (2005), *Detecting application-level failures in component-based Internet services*,
//! IEEE Transactions on Neural Networks 16:1027–1041. The paths of one request type are the words of a
//! probabilistic context-free grammar that good requests teach: a component is a non-terminal, the set of
//! those that a visit of it asks is an expansion. Of k distinct expansions of a component, a visit that
//! takes one with probability p adds
//!
//! > max(0, 1/k − p)
//!
//! to the penalty of its path, and a path's score is its mean penalty per visit. A visit of a component that
//! the grammar doesn't know is not charged: its caller's unknown expansion is. They find the culprit by a
//! decision tree over anomalous paths (`decision_tree` is one); here a service answers for the mean penalty
//! of its own visits, less what it was before, since rare expansions are penalized in good times, too.

use std::collections::BTreeMap;

use super::evidence::Tally;
use super::input::{Input, Shaped};
use super::spectrum_formula::by_score;
use crate::Suspect;

/// The penalty of one visit: `k` distinct expansions are known, and this one has the probability `p`.
pub fn penalty(k: usize, p: f64) -> f64 {
    if k == 0 {
        return 0.0;
    }
    (1.0 / k as f64 - p).max(0.0)
}

/// Penalties and visits, before and now.
#[derive(Clone, Copy, Default)]
struct Sums {
    before: (f64, u64),
    now: (f64, u64),
}

/// Ranks services by the penalty of their visits.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let families = &tally.families;
    let mut grammar: BTreeMap<(usize, usize), Vec<&Shaped>> = BTreeMap::new();
    for shaped in input.shaped.iter() {
        let non_terminal = (shaped.subject, shaped.request_type);
        grammar.entry(non_terminal).or_default().push(shaped);
    }
    let mut sums: BTreeMap<usize, Sums> = BTreeMap::new();
    for ((subject, _), visits) in grammar {
        let mut expansions: BTreeMap<&[usize], (u64, u64)> = BTreeMap::new();
        for shaped in visits {
            let counted = expansions.entry(&shaped.asked).or_default();
            counted.0 += shaped.baseline.iter().sum::<u64>();
            counted.1 += shaped.window;
        }
        let all: u64 = expansions.values().map(|(before, _)| before).sum();
        let known = expansions
            .values()
            .filter(|(before, _)| *before > 0)
            .count();
        let sum = sums.entry(families[subject]).or_default();
        for (before, now) in expansions.into_values() {
            let penalty = penalty(known, before as f64 / all.max(1) as f64);
            sum.before.0 += penalty * before as f64;
            sum.before.1 += before;
            sum.now.0 += penalty * now as f64;
            sum.now.1 += now;
        }
    }
    let mean = |(penalty, visits): (f64, u64)| penalty / visits.max(1) as f64;
    let scores = sums
        .into_iter()
        .map(|(family, sum)| (family, mean(sum.now) - mean(sum.before)));
    by_score(input, tally, scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Three expansions: the usual one (0.9) costs nothing, a rare one (0.05) costs 1/3 − 0.05, one
        // that was never seen all of 1/3.
        for (p, expected) in [(0.9, 0.0), (0.05, 0.283_333), (0.0, 0.333_333)] {
            assert!((penalty(3, p) - expected).abs() < 1e-5, "{p}");
        }
        // The only way there is: another one is as wrong as can be.
        assert!((penalty(1, 0.0) - 1.0).abs() < 1e-12);
        assert!(penalty(0, 0.0).abs() < 1e-12, "the caller is charged");
    }
}
