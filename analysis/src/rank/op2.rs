//! Op2: ef − ep / (P + 1).
//!
//! Failed requests decide, passed ones only break ties: optimal when there is exactly one fault and it
//! is touched by every failure. Naish, Lee and Ramamohanarao (2011), *A model for spectra-based
//! software diagnosis*, ACM Transactions on Software Engineering and Methodology 20:11.

use super::spectrum_formula::Counted;

/// The formula.
pub fn op2(counted: Counted) -> f64 {
    let Counted { ef, ep, p, .. } = counted;
    if ef <= 0.0 {
        return 0.0;
    }
    ef - ep / (p + 1.0)
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
        let expected = 8.0 - 8.0 / 101.0;
        assert!((op2(counted) - expected).abs() < 1e-12);
        assert!(op2(Counted { ef: 0.0, ..counted }).abs() < 1e-12);
    }
}
