//! How good rankings are: was the true component among the first k?
//!
//! Suspects that no request can tell apart come as one group. A group of three in first place is
//! not a right answer in first place: whoever must act has three to choose from. So the true one
//! counts as found where the *last* of its group stands, and a method can't win by lumping.

/// Rankings of which the truth is known, scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// Where the truth stood in each, from 1; `None` where it wasn't found.
    ranks: Vec<Option<usize>>,
}

/// Where the truth stands in a ranking of groups, from 1: behind all others of its own group.
/// `None` when it isn't there.
pub fn rank_of<T: PartialEq>(truth: &T, ranking: &[Vec<T>]) -> Option<usize> {
    let mut before = 0;
    for group in ranking {
        before += group.len();
        if group.contains(truth) {
            return Some(before);
        }
    }
    None
}

impl Scores {
    /// Adds a ranking.
    pub fn add<T: PartialEq>(&mut self, truth: &T, ranking: &[Vec<T>]) {
        self.ranks.push(rank_of(truth, ranking));
    }

    /// How many rankings there are.
    pub fn cases(&self) -> usize {
        self.ranks.len()
    }

    /// How many have the truth among the first `k`.
    pub fn hits(&self, k: usize) -> usize {
        let ranks = self.ranks.iter().flatten();
        ranks.filter(|&&rank| rank <= k).count()
    }

    /// AC@k: the share of rankings with the truth among the first `k`; `None` without rankings.
    pub fn accuracy(&self, k: usize) -> Option<f64> {
        (self.cases() > 0).then(|| self.hits(k) as f64 / self.cases() as f64)
    }

    /// The mean of 1/rank, 0 where the truth wasn't found; `None` without rankings.
    pub fn mean_reciprocal_rank(&self) -> Option<f64> {
        let reciprocals = self.ranks.iter().flatten().map(|&rank| 1.0 / rank as f64);
        (self.cases() > 0).then(|| reciprocals.sum::<f64>() / self.cases() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_where_its_last_member_stands() {
        let ranking = vec![vec!["a"], vec!["b", "c"], vec!["d"]];
        let expected = [
            ("a", Some(1)),
            ("b", Some(3)),
            ("c", Some(3)),
            ("d", Some(4)),
            ("e", None),
        ];
        for (truth, rank) in expected {
            assert_eq!(rank_of(&truth, &ranking), rank, "{truth}");
        }
    }

    #[test]
    fn shares_are_of_all_cases() {
        let mut scores = Scores::default();
        assert_eq!(scores.accuracy(1), None);
        scores.add(&"a", &[vec!["a"], vec!["b"]]);
        scores.add(&"b", &[vec!["a"], vec!["b"]]);
        scores.add(&"c", &[vec!["a"], vec!["b"]]);
        scores.add(&"a", &[vec!["a"]]);
        assert_eq!((scores.hits(1), scores.hits(2), scores.cases()), (2, 3, 4));
        assert!((scores.accuracy(2).expect("cases") - 0.75).abs() < 1e-12);
        let reciprocal = scores.mean_reciprocal_rank().expect("cases");
        assert!((reciprocal - 0.625).abs() < 1e-12, "{reciprocal}");
    }
}
