//! Pinpoint: which components occur in the same requests as failures do?
//!
//! Chen, Kiciman, Fratkin, Fox and Brewer (2002), *Pinpoint: problem determination in large, dynamic
//! Internet services*, DSN. Each component is the set of requests that touched it, and "failed" is one
//! more such set. Sets are clustered by the Jaccard coefficient with the unweighted pair-group method
//! with arithmetic averages (UPGMA), and the diagnosis is the cluster of "failed" where the tree is cut. Where to
//! cut it is the paper's free parameter, which trades accuracy for precision. So suspects are ranked by the
//! similarity at which "failed" and they come together in the tree: the diagnosis of any cut is those that score at least
//! as much, and the harness sweeps it (`localization/cuts.rs` in `rekindle-datasets`). What joins at once, nothing
//! can tell apart: one suspect per level.

use std::collections::BTreeMap;

use super::evidence::Tally;
use super::input::{Case, Input};
use super::spectrum_formula::by_scores;
use crate::{Level, Suspect};

/// Clustering takes cubic time; of more components, those that most failed requests touched are
/// taken.
const MOST: usize = 400;

/// One step of the clustering: two clusters become one.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// The members of the first.
    pub first: Vec<usize>,
    /// The members of the second.
    pub second: Vec<usize>,
    /// Their mean similarity.
    pub similarity: f64,
}

/// UPGMA over a symmetric matrix of similarities: the most similar two clusters are merged, again and
/// again, where clusters are as similar as their members on average. Sokal and Michener (1958).
pub fn upgma(mut similar: Vec<Vec<f64>>) -> Vec<Merge> {
    let mut members: Vec<Option<Vec<usize>>> =
        (0..similar.len()).map(|at| Some(vec![at])).collect();
    let mut merges = Vec::new();
    loop {
        let alive: Vec<usize> = (0..members.len())
            .filter(|at| members[*at].is_some())
            .collect();
        let mut best: Option<(usize, usize)> = None;
        for (at, i) in alive.iter().enumerate() {
            for j in &alive[at + 1..] {
                if best.is_none_or(|(a, b)| similar[*i][*j] > similar[a][b]) {
                    best = Some((*i, *j));
                }
            }
        }
        let Some((i, j)) = best else { return merges };
        let (Some(first), Some(second)) = (members[i].take(), members[j].take()) else {
            return merges;
        };
        let (n, m) = (first.len() as f64, second.len() as f64);
        for k in alive.into_iter().filter(|k| *k != i && *k != j) {
            let mean = (n * similar[i][k] + m * similar[j][k]) / (n + m);
            similar[i][k] = mean;
            similar[k][i] = mean;
        }
        members[i] = Some([&first[..], &second[..]].concat());
        merges.push(Merge {
            similarity: similar[i][j],
            first,
            second,
        });
    }
}

/// What joins the member's cluster, and at which similarity, in that order: cut at a similarity, its cluster is what joined
/// at no smaller one.
pub fn joined(merges: &[Merge], member: usize) -> Vec<(&[usize], f64)> {
    let others = merges.iter().filter_map(|merge| {
        if merge.first.contains(&member) {
            Some((&merge.second[..], merge.similarity))
        } else if merge.second.contains(&member) {
            Some((&merge.first[..], merge.similarity))
        } else {
            None
        }
    });
    others.collect()
}

/// Ranks components by when they come together with "failed".
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    if tally.failed == 0 {
        return Vec::new();
    }
    let level = |at: usize| input.subjects[at].component.level;
    let mut subjects: Vec<usize> = (0..input.subjects.len())
        .filter(|at| !matches!(level(*at), Level::Host | Level::Operation))
        .filter(|at| tally.failed_touching[*at] > 0)
        .collect();
    subjects.sort_by_key(|at| (u64::MAX - tally.failed_touching[*at], *at));
    subjects.truncate(MOST);
    let requests: Vec<&Case> = input
        .window
        .iter()
        .chain(&input.baseline)
        .filter(|case| case.is_failure() || case.is_ok())
        .collect();
    // The last one is "failed".
    let sets: Vec<Vec<u64>> = subjects
        .iter()
        .map(|subject| {
            let touched = |case: &&Case| input.rows[case.row].state_of(*subject).is_some();
            requests
                .iter()
                .map(|case| if touched(case) { case.count } else { 0 })
                .collect()
        })
        .chain([requests
            .iter()
            .map(|case| if case.is_failure() { case.count } else { 0 })
            .collect()])
        .collect();
    let failed = subjects.len();
    let similar: Vec<Vec<f64>> = sets
        .iter()
        .map(|a| sets.iter().map(|b| jaccard(a, b)).collect())
        .collect();
    let mut scores = Vec::new();
    for (members, similarity) in joined(&upgma(similar), failed) {
        let mut levels: BTreeMap<Level, Vec<usize>> = BTreeMap::new();
        for subject in members.iter().map(|at| subjects[*at]) {
            levels.entry(level(subject)).or_default().push(subject);
        }
        for mut alike in levels.into_values() {
            alike.sort_unstable();
            scores.push((alike, similarity));
        }
    }
    by_scores(input, tally, scores)
}

/// The requests in both, of those in either.
fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut both, mut either) = (0, 0);
    for (a, b) in a.iter().zip(b) {
        both += a.min(b);
        either += a.max(b);
    }
    if either == 0 {
        0.0
    } else {
        both as f64 / either as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgma_as_in_the_textbook() {
        // The worked example of Sneath and Sokal's method on 5S rRNA (distances 17, 21, 31, 23, 30,
        // 34, 21, 28, 39, 43), as similarities: a and b merge at 17, e joins at 22, c and d at 28, all
        // at 33.
        let distance = [
            [0.0, 17.0, 21.0, 31.0, 23.0],
            [17.0, 0.0, 30.0, 34.0, 21.0],
            [21.0, 30.0, 0.0, 28.0, 39.0],
            [31.0, 34.0, 28.0, 0.0, 43.0],
            [23.0, 21.0, 39.0, 43.0, 0.0],
        ];
        let similar = distance
            .iter()
            .map(|row| row.iter().map(|d| -d).collect())
            .collect();
        let merges = upgma(similar);
        let found: Vec<f64> = merges.iter().map(|merge| -merge.similarity).collect();
        assert_eq!(merges[0].first, [0]);
        assert_eq!(merges[0].second, [1]);
        for (found, expected) in found.iter().zip([17.0, 22.0, 28.0, 33.0]) {
            assert!((found - expected).abs() < 1e-9, "{merges:?}");
        }
    }

    #[test]
    fn similarity_counts_requests() {
        assert!((jaccard(&[3, 0, 2], &[3, 5, 0]) - 0.3).abs() < 1e-12);
        assert!(jaccard(&[0], &[0]).abs() < 1e-12);
    }
}
