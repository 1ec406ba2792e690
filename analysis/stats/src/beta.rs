//! What is believed about a share after having seen some: the Beta distribution.
//!
//! The conjugate prior of a share: a belief is two pseudo-counts, and learning is adding to them.
//! On statrs, which checks its functions against SciPy; wrapped so that a belief can't have
//! parameters for which nothing is defined.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use crate::Probability;

/// Beta(a, b): as if `a` hits and `b` others had been seen. Both finite and above 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBelief")]
pub struct BetaBelief {
    a: f64,
    b: f64,
}

#[derive(Deserialize)]
struct RawBelief {
    a: f64,
    b: f64,
}

impl TryFrom<RawBelief> for BetaBelief {
    type Error = BetaError;

    fn try_from(raw: RawBelief) -> Result<Self, BetaError> {
        Self::new(raw.a, raw.b)
    }
}

/// Pseudo-counts that are no belief.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("Beta({a}, {b}) is no distribution: both must be finite and above 0")]
pub struct BetaError {
    /// The hits that were claimed.
    pub a: f64,
    /// The others that were claimed.
    pub b: f64,
}

impl BetaBelief {
    /// Every share is as likely as any other.
    pub const UNIFORM: Self = Self { a: 1.0, b: 1.0 };
    /// Jeffreys' prior: knows least in the sense that its intervals hold their level.
    pub const JEFFREYS: Self = Self { a: 0.5, b: 0.5 };

    /// The belief with these pseudo-counts.
    ///
    /// # Errors
    /// When one of them isn't finite or not above 0.
    pub fn new(a: f64, b: f64) -> Result<Self, BetaError> {
        if a.is_finite() && b.is_finite() && a > 0.0 && b > 0.0 {
            Ok(Self { a, b })
        } else {
            Err(BetaError { a, b })
        }
    }

    /// The belief after seeing more. Weights may be fractions (half sure counts half); what is
    /// negative or no number counts as nothing.
    #[must_use]
    pub fn after(self, hits: f64, others: f64) -> Self {
        let counted = |weight: f64| {
            if weight.is_finite() {
                weight.max(0.0)
            } else {
                0.0
            }
        };
        Self {
            a: self.a + counted(hits),
            b: self.b + counted(others),
        }
    }

    /// Pseudo-count of hits.
    pub const fn a(self) -> f64 {
        self.a
    }

    /// Pseudo-count of others.
    pub const fn b(self) -> f64 {
        self.b
    }

    /// The expected share.
    pub fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// The probability that the share is at most `x`.
    pub fn cdf(self, x: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        if x >= 1.0 {
            return 1.0;
        }
        statrs::function::beta::beta_reg(self.a, self.b, x)
    }

    /// The share that is not exceeded with this probability. Also a sample of the belief, when the
    /// probability is drawn evenly: who owns the generator draws, and the belief stays pure.
    pub fn quantile(self, probability: Probability) -> f64 {
        match Beta::new(self.a, self.b) {
            Ok(beta) => beta.inverse_cdf(probability.get()),
            // Cannot be: the parameters were checked. The mean is the least wrong answer.
            Err(_) => self.mean(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_distribution_no_belief() {
        for (a, b) in [
            (0.0, 1.0),
            (1.0, -1.0),
            (f64::NAN, 1.0),
            (1.0, f64::INFINITY),
        ] {
            assert!(BetaBelief::new(a, b).is_err(), "Beta({a}, {b})");
        }
    }

    proptest! {
        #[test]
        fn quantile_inverts_cdf(a in 0.5f64..200.0, b in 0.5f64..200.0, p in 0.001f64..0.999) {
            let belief = BetaBelief::new(a, b).expect("both above 0");
            let x = belief.quantile(Probability::clamped(p));
            prop_assert!((belief.cdf(x) - p).abs() < 1e-6, "cdf({}) = {}", x, belief.cdf(x));
        }
    }
}
