//! How much does each explain, where failures of one request began in several?
//!
//! Expectation maximization of a mixture: a request is shared among those in which failures began, more to those that
//! explain more of the others, round by round until nothing moves. Two that began in exactly the same requests are
//! told apart by none of them: they stay as they began, and only there does it matter that what fails below makes what
//! is above fail, seldom the other way round.

use std::collections::{BTreeMap, BTreeSet};

use super::{Choices, began_in, lift};
use crate::rank::evidence::Tally;
use crate::rank::input::{Case, Input};

/// Rounds until nothing moves, at most. Where one in a hundred requests tells two apart, each round moves a hundredth.
const ROUNDS: usize = 1_000;
/// A ranking is made every second, so there are no more rounds than look at so many shares: a hundredth of one.
const SHARES_LOOKED_AT: usize = 100_000;
/// But so many rounds there are: most of what tells two apart shows by then.
const LEAST_ROUNDS: usize = 10;
/// Nothing moves any more when it's less than this share of all requests: a hundredth of what is shown, a percent.
const STILL: f64 = 1e-4;
/// At first, who lies above another one of the same request is half as likely.
const ABOVE: f64 = 0.5;
/// What is news to nine tenths is news: round by round, the tenth that chance makes must not decide.
const NEWS: f64 = 0.9;

/// How the failed requests are shared among the services and dependencies in which they began.
pub(crate) struct Shares {
    /// Per service or dependency: the failed requests that it explains.
    pub(crate) explained: BTreeMap<usize, f64>,
    /// Per case of the window (by index): who explains how much of one request.
    pub(crate) by_case: BTreeMap<usize, Vec<(usize, f64)>>,
    /// Failed requests in which nothing failed inside.
    pub(crate) unexplained: f64,
}

impl Shares {
    pub(super) fn of(input: &Input, tally: &Tally, choices: Choices) -> Self {
        let mut unexplained = 0.0;
        let mut cases: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut requests: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
        let mut weights: BTreeMap<usize, f64> = BTreeMap::new();
        let mut calls = None;
        for (index, case) in input.window.iter().enumerate() {
            if !case.is_failure() {
                continue;
            }
            let families: Vec<usize> = began_in(input, case).map(|touch| touch.subject).collect();
            let count = case.count as f64 * tally.weight_of(case);
            if families.is_empty() {
                unexplained += count;
                continue;
            }
            let several = families.len() > 1;
            let calls = several.then(|| &*calls.get_or_insert_with(|| Calls::of(input, tally)));
            for family in &families {
                let above = calls.is_some_and(|calls| calls.is_above_any(input, case, *family));
                let likely = if above { ABOVE } else { 1.0 };
                *weights.entry(*family).or_default() += likely * count;
            }
            *requests.entry(families.clone()).or_default() += count;
            cases.push((index, families));
        }
        let news: BTreeMap<usize, f64> = weights
            .keys()
            .map(|family| (*family, lift(tally, *family, choices)))
            .map(|(family, lift)| (family, if lift >= NEWS { 1.0 } else { lift }))
            .collect();
        let parts = settled(&requests, &mut weights, &news);
        let by_case = cases.into_iter().map(|(index, families)| {
            let parts = parts[&families].clone();
            (index, families.into_iter().zip(parts).collect())
        });
        Self {
            by_case: by_case.collect(),
            explained: weights,
            unexplained,
        }
    }
}

/// Shares out so many requests of each set round by round, beginning with these weights, which become the requests that
/// each explains. Says how each set's are shared.
fn settled(
    requests: &BTreeMap<Vec<usize>, f64>,
    weights: &mut BTreeMap<usize, f64>,
    news: &BTreeMap<usize, f64>,
) -> BTreeMap<Vec<usize>, Vec<f64>> {
    let all: f64 = requests.values().sum();
    let shares: usize = requests.keys().map(Vec::len).sum();
    let rounds = (SHARES_LOOKED_AT / shares.max(1)).clamp(LEAST_ROUNDS, ROUNDS);
    let mut parts = BTreeMap::new();
    for _ in 0..rounds {
        let before = std::mem::take(weights);
        for (families, count) in requests {
            let weighed = families.iter().map(|family| before[family] * news[family]);
            let weighed: Vec<f64> = weighed.collect();
            let sum: f64 = weighed.iter().sum();
            let part = |weight: f64| match sum > 0.0 {
                true => weight / sum,
                false => 1.0 / families.len() as f64,
            };
            let of_set: Vec<f64> = weighed.into_iter().map(part).collect();
            for (family, part) in families.iter().zip(&of_set) {
                *weights.entry(*family).or_default() += part * count;
            }
            parts.insert(families.clone(), of_set);
        }
        let moved = |(family, weight): (&usize, &f64)| (weight - before[family]).abs();
        if weights.iter().map(moved).fold(0.0, f64::max) <= STILL * all {
            break;
        }
    }
    parts
}

/// Which services and dependencies are asked by which, directly or by others.
struct Calls(BTreeMap<usize, BTreeSet<usize>>);

impl Calls {
    fn of(input: &Input, tally: &Tally) -> Self {
        let family = &tally.families;
        let mut asked: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for shaped in input.shaped.iter() {
            let callees = shaped.asked.iter().map(|id| family[*id]);
            asked
                .entry(family[shaped.subject])
                .or_default()
                .extend(callees);
        }
        Self(asked)
    }

    /// Whether another one in which this request's failures began lies below this one.
    fn is_above_any(&self, input: &Input, case: &Case, of: usize) -> bool {
        let others: BTreeSet<usize> = began_in(input, case)
            .map(|touch| touch.subject)
            .filter(|other| *other != of)
            .collect();
        let (mut seen, mut next) = (BTreeSet::from([of]), vec![of]);
        while let Some(at) = next.pop() {
            for callee in self.0.get(&at).into_iter().flatten() {
                if others.contains(callee) {
                    return true;
                }
                if seen.insert(*callee) {
                    next.push(*callee);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_tell_two_apart_decide_whatever_was_likely_at_first() {
        // (in both, in the first alone, in the second alone; how much the first explains at last)
        for (both, first, second, expected) in [
            (1_000.0, 10.0, 0.0, 1.0),
            (1_000.0, 0.0, 10.0, 0.0),
            (1_000.0, 0.0, 0.0, 1.0 / 3.0),
            (100.0, 50.0, 50.0, 0.5),
        ] {
            let sets = [(vec![0, 1], both), (vec![0], first), (vec![1], second)];
            let requests = sets.into_iter().filter(|(_, count)| *count > 0.0).collect();
            // The first lies above the second.
            let mut weights = BTreeMap::from([(0, ABOVE * both + first), (1, both + second)]);
            let news = BTreeMap::from([(0, 1.0), (1, 1.0)]);
            settled(&requests, &mut weights, &news);
            let explains = weights[&0] / (both + first + second);
            assert!(
                (explains - expected).abs() < 0.02,
                "{explains}, not {expected}"
            );
        }
    }
}
