//! DStar, with the exponent 2: ef² / (ep + (F − ef)).
//!
//! Rewards failed requests that touched it more than linearly. Wong, Debroy, Gao and Li (2014), *The
//! DStar method for effective software fault localization*, IEEE Transactions on Reliability
//! 63:290–308; 2 is the exponent that they recommend. Where nobody else touched it and no failure
//! passed it by, the formula is infinite; then the denominator is taken as the smallest there is
//! otherwise, one, less a half, so that it ranks first and stays a number.

use super::spectrum_formula::Counted;

/// The formula.
pub fn dstar(counted: Counted) -> f64 {
    let Counted { ef, ep, f, .. } = counted;
    if ef <= 0.0 {
        return 0.0;
    }
    ef * ef / (ep + (f - ef)).max(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let counted = Counted {
            ef: 8.0,
            ep: 8.0,
            f: 16.0,
            p: 100.0,
        };
        let expected = 64.0 / 16.0;
        assert!((dstar(counted) - expected).abs() < 1e-12);
        assert!(dstar(Counted { ef: 0.0, ..counted }).abs() < 1e-12);
    }
}
