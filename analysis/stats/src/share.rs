//! How large a share of requests did something, and how well is that known?
//!
//! The Wilson score interval, because it is closed, stays within `[0, 1]`, and holds its level for
//! shares near 0, which is where failures live (the textbook's Wald interval says "0 ± 0" after 50
//! good requests). Wilson (1927), JASA 22:209–212; Brown, Cai and DasGupta (2001), Statistical
//! Science 16:101–133, recommend it for small samples.

use serde::{Deserialize, Serialize};

use crate::normal::two_sided_z;

/// A number in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Probability(f64);

impl Probability {
    /// 95 %: the confidence of every interval that is shown to people.
    pub const P95: Self = Self(0.95);

    /// 99 %: where intervals of a hundred things are looked at, of which one in twenty would mislead.
    pub const P99: Self = Self(0.99);

    /// The number, or `None` outside `[0, 1]`.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// The nearest probability; 0 for what is no number.
    pub fn clamped(value: f64) -> Self {
        if value.is_nan() {
            Self(0.0)
        } else {
            Self(value.clamp(0.0, 1.0))
        }
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// `hits` of `total`; never more hits than there are in total. A total of 0 is allowed: nothing was
/// seen, and the interval says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawShare")]
pub struct Share {
    hits: u64,
    total: u64,
}

#[derive(Deserialize)]
struct RawShare {
    hits: u64,
    total: u64,
}

impl TryFrom<RawShare> for Share {
    type Error = ShareError;

    fn try_from(raw: RawShare) -> Result<Self, ShareError> {
        Self::new(raw.hits, raw.total)
    }
}

/// More hits than there are in total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{hits} of {total} is no share")]
pub struct ShareError {
    /// The hits that were claimed.
    pub hits: u64,
    /// The total that was claimed.
    pub total: u64,
}

/// An interval of the real line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end; not below the lower one.
    pub high: f64,
}

impl Share {
    /// `hits` of `total`.
    ///
    /// # Errors
    /// When there are more hits than there are in total.
    pub const fn new(hits: u64, total: u64) -> Result<Self, ShareError> {
        if hits > total {
            return Err(ShareError { hits, total });
        }
        Ok(Self { hits, total })
    }

    /// From the two disjoint parts: those that did, and those that did not.
    pub const fn of(hits: u64, others: u64) -> Self {
        Self {
            hits,
            total: hits.saturating_add(others),
        }
    }

    /// Those that did.
    pub const fn hits(self) -> u64 {
        self.hits
    }

    /// All.
    pub const fn total(self) -> u64 {
        self.total
    }

    /// Both together, of disjoint requests.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits.saturating_add(other.hits),
            total: self.total.saturating_add(other.total),
        }
    }

    /// The share in `[0, 1]`, or `None` of nothing.
    pub fn value(self) -> Option<f64> {
        (self.total > 0).then(|| self.hits as f64 / self.total as f64)
    }

    /// Wilson's interval; `[0, 1]` when nothing was seen.
    pub fn wilson(self, confidence: Probability) -> Interval {
        self.wilson_z(two_sided_z(confidence))
    }

    /// The upper end of the one-sided interval of this confidence: the true share is above it in at
    /// most 1 − confidence of the cases.
    pub fn upper_bound(self, confidence: Probability) -> f64 {
        self.wilson_z(crate::normal_quantile(confidence)).high
    }

    /// The lower end of the one-sided interval of this confidence.
    pub fn lower_bound(self, confidence: Probability) -> f64 {
        self.wilson_z(crate::normal_quantile(confidence)).low
    }

    fn wilson_z(self, z: f64) -> Interval {
        let Some(share) = self.value() else {
            return Interval {
                low: 0.0,
                high: 1.0,
            };
        };
        let n = self.total as f64;
        let z2 = z * z;
        let center = share + z2 / (2.0 * n);
        let half = z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        // The ends are exactly 0 and 1 there, but rounding leaves a speck.
        let low = if self.hits == 0 {
            0.0
        } else {
            ((center - half) / scale).clamp(0.0, 1.0)
        };
        let high = if self.hits == self.total {
            1.0
        } else {
            ((center + half) / scale).clamp(0.0, 1.0)
        };
        Interval { low, high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_seen_is_nothing_known() {
        let interval = Share::of(0, 0).wilson(Probability::P95);
        assert_eq!((interval.low, interval.high), (0.0, 1.0));
        assert_eq!(Share::of(0, 0).value(), None);
    }

    #[test]
    fn more_hits_than_total_are_refused() {
        let error = Share::new(3, 2).expect_err("3 of 2");
        assert_eq!(error.to_string(), "3 of 2 is no share");
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share_and_narrows(hits in 0u64..500, others in 0u64..500, more in 2u64..50) {
            prop_assume!(hits + others > 0);
            let share = Share::of(hits, others);
            let value = share.value().expect("something was seen");
            let interval = share.wilson(Probability::P95);
            prop_assert!(interval.low <= value && value <= interval.high);
            prop_assert!(0.0 <= interval.low && interval.high <= 1.0);
            let larger = Share::of(hits * more, others * more).wilson(Probability::P95);
            prop_assert!(larger.high - larger.low < interval.high - interval.low);
            prop_assert!(share.upper_bound(Probability::P95) <= interval.high);
            prop_assert!(share.lower_bound(Probability::P95) >= interval.low);
        }
    }
}
