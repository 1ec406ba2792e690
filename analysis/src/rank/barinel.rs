//! Barinel, for single faults: 1 − ep / (ep + ef).
//!
//! The probability that the component does *not* work when it is touched, at its maximum likelihood.
//! Abreu, Zoeteweij and van Gemund (2009), *Spectrum-based multiple fault localization*, ASE; for
//! single faults the model has this closed form (ef / (ep + ef)).

use super::spectrum_formula::Counted;

/// The formula.
pub fn barinel(counted: Counted) -> f64 {
    let Counted { ef, ep, .. } = counted;
    if ef <= 0.0 {
        return 0.0;
    }
    1.0 - ep / (ep + ef)
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
        let expected = 0.5;
        assert!((barinel(counted) - expected).abs() < 1e-12);
        assert!(barinel(Counted { ef: 0.0, ..counted }).abs() < 1e-12);
    }
}
