//! Do failures come by themselves or in bursts?
//!
//! A share of failures says how many, not how they come. If a hiccup takes five requests at a time,
//! counts per minute scatter five times as much as a binomial's, and a test that takes each failure
//! for news of its own raises an alarm at every hiccup. The dispersion index is Pearson's X² of the
//! blocks' counts against one common share, by its degrees of freedom: 1 for binomial counts, and
//! E k²/E k where failures come in bursts of k (McCullagh and Nelder, *Generalized Linear Models*,
//! 1989, section 4.5). Quasi-likelihood divides log-likelihood ratios by it.
//!
//! X² follows from five sums, so nothing is kept per block, and old sums can fade.

/// "Clearly more than binomial": one-sided 1 %, normal. A type that isn't bursty should rarely pay
/// for the caution.
const CLEARLY: f64 = 2.326;
/// So many blocks that scatter most are left out: what happened once is no habit.
const NO_HABIT: usize = 2;

/// Counts of failures in blocks of requests, summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dispersion {
    sums: Sums,
    /// The blocks with the largest b²/n, largest first; they are not in the sums.
    largest: [Sums; NO_HABIT],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    blocks: f64,
    bad: f64,
    requests: f64,
    /// Σ b²/n
    squares: f64,
    /// Σ 1/n
    inverse: f64,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            bad: self.bad + other.bad,
            requests: self.requests + other.requests,
            squares: self.squares + other.squares,
            inverse: self.inverse + other.inverse,
        }
    }

    fn half(self) -> Self {
        Self {
            blocks: self.blocks / 2.0,
            bad: self.bad / 2.0,
            requests: self.requests / 2.0,
            squares: self.squares / 2.0,
            inverse: self.inverse / 2.0,
        }
    }

    /// X²/(K − 1) and its standard error if the counts are binomial; `None` if that says nothing.
    fn index(self) -> Option<(f64, f64)> {
        let share = self.bad / self.requests.max(1.0);
        let spread = share * (1.0 - share);
        if self.blocks < 2.0 || spread <= 0.0 {
            return None;
        }
        // Σ (b − np)²/(npq), multiplied out.
        let square = (self.squares - self.bad * share) / spread;
        // The variance of (b − np)²/(npq) is 2 + (1 − 6pq)/(npq).
        let variance = 2.0 * self.blocks + (1.0 - 6.0 * spread) / spread * self.inverse;
        let freedom = self.blocks - 1.0;
        Some((square / freedom, variance.max(0.0).sqrt() / freedom))
    }
}

impl Dispersion {
    /// Adds a block of requests. One without requests changes nothing.
    pub fn add(&mut self, bad: u64, ok: u64) {
        let requests = (bad + ok) as f64;
        if bad + ok == 0 {
            return;
        }
        let bad = bad as f64;
        let mut block = Sums {
            blocks: 1.0,
            bad,
            requests,
            squares: bad * bad / requests,
            inverse: 1.0 / requests,
        };
        for large in &mut self.largest {
            if block.squares > large.squares {
                std::mem::swap(&mut block, large);
            }
        }
        self.sums = self.sums.plus(block);
    }

    /// Halves what is known, so that new habits outweigh old ones.
    pub fn fade(&mut self) {
        self.sums = self.all().half();
        self.largest = Default::default();
    }

    fn all(&self) -> Sums {
        self.largest
            .iter()
            .fold(self.sums, |sum, large| sum.plus(*large))
    }

    /// X²/(K − 1) over all K blocks: about 1 for binomial counts. `None` before there are two
    /// blocks, and without any failure or success.
    pub fn index(&self) -> Option<f64> {
        self.all().index().map(|(index, _)| index)
    }

    /// The index where it is clearly above 1 even without the most extreme blocks; otherwise 1.
    pub fn habit(&self) -> f64 {
        match self.sums.index() {
            Some((index, error)) if index > 1.0 + CLEARLY * error => index,
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(blocks: impl IntoIterator<Item = (u64, u64)>) -> Dispersion {
        let mut dispersion = Dispersion::default();
        blocks
            .into_iter()
            .for_each(|(bad, ok)| dispersion.add(bad, ok));
        dispersion
    }

    #[test]
    fn bursts_of_five_scatter_five_times_as_much() {
        // In each tenth block five failures at once: E k²/E k = 5, less what blocks exclude (q).
        let bursts = of((0..1000).map(|at| if at % 10 == 0 { (5, 95) } else { (0, 100) }));
        let index = bursts.index().expect("enough");
        assert!((index - 4.5).abs() < 0.2, "{index}");
        assert!((bursts.habit() - index).abs() < 0.2, "{}", bursts.habit());
    }

    #[test]
    fn what_happened_twice_is_no_habit() {
        let mut once = of((0..1000).map(|at| (u64::from(at % 10 == 0), 100)));
        once.add(40, 60);
        once.add(40, 60);
        assert!(once.index().expect("enough") > 10.0);
        assert!((once.habit() - 1.0).abs() < 1e-12, "{}", once.habit());
        for _ in 0..3 {
            once.add(40, 60);
        }
        assert!(once.habit() > 5.0);
    }

    #[test]
    fn too_little_says_nothing() {
        for blocks in [
            vec![],
            vec![(1, 3)],
            vec![(0, 5); 9],
            vec![(5, 0); 9],
            vec![(0, 0); 9],
        ] {
            let dispersion = of(blocks.clone());
            assert_eq!(dispersion.index(), None, "{blocks:?}");
            assert!((dispersion.habit() - 1.0).abs() < 1e-12, "{blocks:?}");
        }
    }

    #[test]
    fn fading_keeps_the_index() {
        let mut dispersion = of((0..1000).map(|at| if at % 10 == 0 { (5, 95) } else { (0, 100) }));
        let before = dispersion.index().expect("enough");
        dispersion.fade();
        let after = dispersion.index().expect("enough");
        assert!((before - after).abs() < 0.01, "{before} {after}");
    }
}
