//! By how much do two shares differ, and how well is that known?
//!
//! Relief is such a difference: failed of all requests before a restart, and after it. Newcombe's
//! hybrid score interval (method 10 of Newcombe (1998), Statistics in Medicine 17:873–890) squares
//! up the distances of the two Wilson intervals: closed, within `[−1, 1]`, and close to the
//! iterative Miettinen–Nurminen interval in coverage, shares of 0 and 1 included.

use serde::{Deserialize, Serialize};

use crate::{Probability, Share};

/// A difference of shares with its interval, all in `[−1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceInterval {
    /// The first share less the second.
    pub difference: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// `first − second` with Newcombe's interval. Where one of them is of nothing its share is taken as
/// ½ and its interval as `[0, 1]`: the answer is then as wide as the other one leaves it.
pub fn difference_interval(
    first: Share,
    second: Share,
    confidence: Probability,
) -> DifferenceInterval {
    let (p1, p2) = (first.value().unwrap_or(0.5), second.value().unwrap_or(0.5));
    let (i1, i2) = (first.wilson(confidence), second.wilson(confidence));
    let difference = p1 - p2;
    DifferenceInterval {
        difference,
        low: (difference - (p1 - i1.low).hypot(i2.high - p2)).max(-1.0),
        high: (difference + (i1.high - p1).hypot(p2 - i2.low)).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_before_or_after_leaves_everything_open() {
        let known = Share::of(0, 1_000);
        let interval = difference_interval(Share::of(0, 0), known, Probability::P95);
        assert!(interval.low < 0.01 && interval.high > 0.99, "{interval:?}");
    }

    proptest! {
        #[test]
        fn turning_the_question_round_turns_the_answer_round(
            a in 0u64..200, b in 0u64..200, c in 0u64..200, d in 0u64..200,
        ) {
            let one = difference_interval(Share::of(a, b), Share::of(c, d), Probability::P95);
            let other = difference_interval(Share::of(c, d), Share::of(a, b), Probability::P95);
            prop_assert!((one.low + other.high).abs() < 1e-12);
            prop_assert!(one.low <= one.difference && one.difference <= one.high);
        }
    }
}
