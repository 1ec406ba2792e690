//! Are these values larger than those? The rank-sum test of Mann and Whitney, and its effect size.
//!
//! Ranks, because latencies have no distribution that one could name. Exact while both samples are
//! small and no two values are equal (so that it holds for four calls), else the normal
//! approximation with correction for ties and continuity. Mann and Whitney (1947), Annals of
//! Mathematical Statistics 18:50–60. O(n log n).

use crate::Sample;
use crate::normal::normal_upper_tail;

/// Both samples at most this large are compared exactly; beyond it the approximation is good to
/// three digits.
const EXACT_UP_TO: usize = 20;

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankSum {
    /// How often a value of the first sample exceeds one of the second, ties counting half; out of
    /// n·m pairs.
    pub u: f64,
    /// The probability that a value of the first exceeds one of the second, in `[0, 1]`: the effect
    /// size (Vargha and Delaney's A). ½ is no effect.
    pub effect: f64,
    /// The probability of a `u` at least as large if both came from one distribution.
    pub p_greater: f64,
}

/// Compares `first` with `second`.
pub fn rank_sum(first: &Sample, second: &Sample) -> RankSum {
    let (n, m) = (first.sorted().len(), second.sorted().len());
    let pairs = n as f64 * m as f64;
    let (u, tie_term) = u_and_ties(first.sorted(), second.sorted());
    let exact = tie_term < 0.5 && n <= EXACT_UP_TO && m <= EXACT_UP_TO;
    let p_greater = if exact {
        exact_upper_tail(n, m, u)
    } else {
        let total = (n + m) as f64;
        let variance = pairs / 12.0 * (total + 1.0 - tie_term / (total * (total - 1.0)));
        if variance <= 0.0 {
            1.0
        } else {
            normal_upper_tail((u - pairs / 2.0 - 0.5) / variance.sqrt())
        }
    };
    RankSum {
        u,
        effect: u / pairs,
        p_greater,
    }
}

/// The statistic, and Σ(t³ − t) over groups of t equal values. One merge of the sorted samples.
fn u_and_ties(first: &[f64], second: &[f64]) -> (f64, f64) {
    let (mut i, mut j) = (0, 0);
    let (mut u, mut ties) = (0.0, 0.0);
    while i < first.len() || j < second.len() {
        let value = match (first.get(i), second.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(a), None) => *a,
            (None, Some(b)) => *b,
            (None, None) => break,
        };
        let in_first = first[i..].iter().take_while(|x| **x <= value).count();
        let in_second = second[j..].iter().take_while(|x| **x <= value).count();
        u += in_first as f64 * (j as f64 + in_second as f64 / 2.0);
        let tied = (in_first + in_second) as f64;
        ties += tied * tied * tied - tied;
        i += in_first;
        j += in_second;
    }
    (u, ties)
}

/// P(U ≥ u) by counting arrangements: the number of ways to get U = k with n and m values obeys
/// N(k; n, m) = N(k − m; n − 1, m) + N(k; n, m − 1).
fn exact_upper_tail(n: usize, m: usize, u: f64) -> f64 {
    // Distribution of U over m for each n, as probabilities: the largest value is of the first
    // sample with probability n / (n + m), and then beats all m.
    let most = n * m;
    let mut table: Vec<Vec<f64>> = vec![vec![0.0; most + 1]; m + 1];
    for row in &mut table {
        row[0] = 1.0;
    }
    for i in 1..=n {
        let mut next: Vec<Vec<f64>> = vec![vec![0.0; most + 1]; m + 1];
        next[0][0] = 1.0;
        for j in 1..=m {
            let from_first = i as f64 / (i + j) as f64;
            for k in 0..=i * j {
                let beats_all = if k >= j { table[j][k - j] } else { 0.0 };
                next[j][k] = from_first * beats_all + (1.0 - from_first) * next[j - 1][k];
            }
        }
        table = next;
    }
    let at_least = u.ceil().max(0.0) as usize;
    table[m][at_least.min(most + 1)..]
        .iter()
        .sum::<f64>()
        .min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_clear_calls_suffice() {
        let slow = Sample::new(vec![233.0, 240.0, 251.0, 229.0]).expect("a sample");
        let usual = Sample::new(vec![4.0, 5.0, 3.0, 6.0, 4.5]).expect("a sample");
        let found = rank_sum(&slow, &usual);
        assert!((found.effect - 1.0).abs() < 1e-12);
        // One arrangement of C(9, 4) = 126.
        assert!((found.p_greater - 1.0 / 126.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn all_equal_says_nothing() {
        let flat = Sample::new(vec![1.0; 30]).expect("a sample");
        let found = rank_sum(&flat, &flat);
        assert!((found.effect - 0.5).abs() < 1e-12);
        assert!(found.p_greater > 0.4, "{found:?}");
    }

    proptest! {
        #[test]
        fn every_pair_is_counted(
            a in prop::collection::vec(0u8..20, 2..30), b in prop::collection::vec(0u8..20, 2..30),
        ) {
            let slowly: f64 = a.iter().flat_map(|x| b.iter().map(move |y| match x.cmp(y) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })).sum();
            let sample = |v: &[u8]| Sample::new(v.iter().map(|x| f64::from(*x)).collect()).expect("a sample");
            let found = rank_sum(&sample(&a), &sample(&b));
            prop_assert!((found.u - slowly).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&found.p_greater));
        }
    }
}
