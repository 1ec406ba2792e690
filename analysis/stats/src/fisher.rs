//! Did a share rise, or is it chance? Fisher's exact test, for three requests and three million.
//!
//! Given how many of both samples together are hits, the first one's hits are hypergeometric where
//! nothing differs; the answer is the probability of so many or more. Exact for any counts, unlike the
//! normal approximation, which says too much where failures live: a few in thousands. Fisher (1935),
//! *The logic of inductive inference*, JRSS 98:39–82.

use statrs::function::factorial::ln_binomial;

use crate::Share;

/// Terms below this share of their sum end it: beyond the digits of a double.
const NEGLIGIBLE: f64 = 1e-17;

/// How probable it is that the first sample has at least so many hits where both have the same share,
/// in `[0, 1]`; 1 when one of them is of nothing.
pub fn fisher_greater(first: Share, second: Share) -> f64 {
    let tables = Tables {
        n: first.total(),
        m: second.total(),
        all_hits: first.hits() + second.hits(),
    };
    let hits = first.hits();
    let (least, mode) = (tables.least(), tables.mode());
    if hits <= least {
        return 1.0;
    }
    // Summed away from the mode, where the first term is the largest: that of a tail which has the mode in it
    // may be too small for a double, though the tail is nearly all there is.
    let chance = if hits > mode {
        tables.probability(hits) * tables.tail_above(hits)
    } else {
        1.0 - tables.probability(hits - 1) * tables.tail_below(hits - 1)
    };
    chance.clamp(0.0, 1.0)
}

/// All tables with these sums.
struct Tables {
    /// The sizes of the first sample and of the second.
    n: u64,
    m: u64,
    all_hits: u64,
}

impl Tables {
    /// The fewest hits that the first sample can have.
    fn least(&self) -> u64 {
        self.all_hits.saturating_sub(self.m)
    }

    /// The most that it can have.
    fn most(&self) -> u64 {
        self.all_hits.min(self.n)
    }

    /// The most probable number of hits in the first sample.
    fn mode(&self) -> u64 {
        let of = u128::from(self.n + 1) * u128::from(self.all_hits + 1);
        let mode = of / u128::from(self.n + self.m + 2);
        u64::try_from(mode)
            .unwrap_or(u64::MAX)
            .clamp(self.least(), self.most())
    }

    /// How probable exactly so many hits in the first sample are.
    fn probability(&self, hits: u64) -> f64 {
        let log = ln_binomial(self.n, hits) + ln_binomial(self.m, self.all_hits - hits)
            - ln_binomial(self.n + self.m, self.all_hits);
        log.exp()
    }

    /// How many times as probable one more hit in the first sample is.
    fn ratio(&self, hits: u64) -> f64 {
        let left = (self.n - hits) as f64 * (self.all_hits - hits) as f64;
        // Those of the second sample that aren't hits, then.
        let others = (self.m + hits + 1) - self.all_hits;
        left / ((hits + 1) as f64 * others as f64)
    }

    /// So many hits and more, from the mode on, in terms of exactly so many.
    fn tail_above(&self, hits: u64) -> f64 {
        sum_while_it_matters((hits..self.most()).map(|hits| self.ratio(hits)))
    }

    /// So many hits and fewer, up to the mode, in terms of exactly so many.
    fn tail_below(&self, hits: u64) -> f64 {
        sum_while_it_matters(
            (self.least()..hits)
                .rev()
                .map(|hits| self.ratio(hits).recip()),
        )
    }
}

/// 1, and what follows from it by these falling ratios.
fn sum_while_it_matters(ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < NEGLIGIBLE * sum {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_to_compare_with_proves_nothing() {
        for (first, second) in [
            (Share::of(3, 0), Share::of(0, 0)),
            (Share::of(0, 0), Share::of(3, 9)),
            (Share::of(0, 9), Share::of(3, 9)),
        ] {
            let chance = fisher_greater(first, second);
            assert!(
                (chance - 1.0).abs() < 1e-12,
                "{first:?} {second:?}: {chance}"
            );
        }
    }

    /// So many hits or more, so many or fewer, and exactly so many.
    fn tails(a: u64, b: u64, c: u64, d: u64) -> (f64, f64, f64) {
        let more = fisher_greater(Share::of(a, b), Share::of(c, d));
        let fewer = fisher_greater(Share::of(b, a), Share::of(d, c));
        let seen = (ln_binomial(a + b, a) + ln_binomial(c + d, c)
            - ln_binomial(a + b + c + d, a + c))
        .exp();
        (more, fewer, seen)
    }

    proptest! {
        /// So many or more, and fewer: the other way round, fewer hits are more misses.
        #[test]
        fn both_tails_share_only_what_was_seen(
            a in 0u64..60, b in 0u64..60, c in 0u64..60, d in 0u64..60,
        ) {
            let (more, fewer, seen) = tails(a, b, c, d);
            prop_assert!((more + fewer - 1.0 - seen).abs() < 1e-9, "{more} {fewer} {seen}");
        }

        /// Thousands, of whatever shares: logarithms of factorials have fewer digits then.
        #[test]
        fn no_tail_is_lost_however_small_its_terms(
            a in 0u64..9_000, b in 0u64..9_000, c in 0u64..9_000, d in 0u64..9_000,
        ) {
            let (more, fewer, seen) = tails(a, b, c, d);
            prop_assert!((more + fewer - 1.0 - seen).abs() < 1e-6, "{more} {fewer} {seen}");
        }
    }
}
