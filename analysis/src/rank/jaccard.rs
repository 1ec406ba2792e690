//! Jaccard: ef / (F + ep).
//!
//! The share of requests that failed and touched it, among those that did either. Jaccard (1901) for
//! the coefficient; Chen, Kiciman, Fratkin, Fox and Brewer (2002), *Pinpoint: problem determination in
//! large, dynamic Internet services*, DSN, for failures; Abreu, Zoeteweij and van Gemund (2007) for
//! spectra.

use super::spectrum_formula::Counted;

/// The formula.
pub fn jaccard(counted: Counted) -> f64 {
    let Counted { ef, ep, f, .. } = counted;
    if ef <= 0.0 {
        return 0.0;
    }
    ef / (f + ep)
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
        let expected = 8.0 / 24.0;
        assert!((jaccard(counted) - expected).abs() < 1e-12);
        assert!(jaccard(Counted { ef: 0.0, ..counted }).abs() < 1e-12);
    }
}
