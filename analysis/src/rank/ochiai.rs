//! Ochiai: ef / √(F · (ef + ep)).
//!
//! The cosine between "touched it" and "failed". Ochiai (1957) for the coefficient; Abreu, Zoeteweij
//! and van Gemund (2007), *On the accuracy of spectrum-based fault localization*, for its use on
//! spectra.

use super::spectrum_formula::Counted;

/// The formula.
pub fn ochiai(counted: Counted) -> f64 {
    let Counted { ef, ep, f, .. } = counted;
    if ef <= 0.0 {
        return 0.0;
    }
    ef / (f * (ef + ep)).sqrt()
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
        assert!((ochiai(counted) - 0.5).abs() < 1e-12);
        assert!(ochiai(Counted { ef: 0.0, ..counted }).abs() < 1e-12);
    }
}
