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
    let (hits, n, m) = (first.hits(), first.total(), second.total());
    let all_hits = hits + second.hits();
    let most = all_hits.min(n);
    let log = ln_binomial(n, hits) + ln_binomial(m, second.hits()) - ln_binomial(n + m, all_hits);
    let mut term = log.exp();
    let mut sum = term;
    for more in hits..most {
        // From `more` hits in the first sample to one more.
        let (left_first, left_all) = (n - more, all_hits - more);
        let others = (m - left_all) + 1;
        term *= left_first as f64 * left_all as f64 / ((more + 1) as f64 * others as f64);
        sum += term;
        let falling = (left_first as f64) * (left_all as f64) < (more + 1) as f64 * others as f64;
        if falling && term < NEGLIGIBLE * sum {
            break;
        }
    }
    sum.min(1.0)
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

    proptest! {
        /// So many or more, and fewer: the other way round, fewer hits are more misses.
        #[test]
        fn both_tails_share_only_what_was_seen(
            a in 0u64..60, b in 0u64..60, c in 0u64..60, d in 0u64..60,
        ) {
            let more = fisher_greater(Share::of(a, b), Share::of(c, d));
            let fewer = fisher_greater(Share::of(b, a), Share::of(d, c));
            let seen = (ln_binomial(a + b, a) + ln_binomial(c + d, c)
                - ln_binomial(a + b + c + d, a + c)).exp();
            prop_assert!((more + fewer - 1.0 - seen).abs() < 1e-9, "{more} {fewer} {seen}");
        }
    }
}
