//! Tarantula: (ef/F) / (ef/F + ep/P).
//!
//! Jones, Harrold and Stasko (2002), *Visualization of test information to assist fault
//! localization*.

use super::spectrum_formula::Counted;

/// The formula. Without passed requests `ep/P` counts as 0.
pub fn tarantula(counted: Counted) -> f64 {
    let Counted { ef, ep, f, p } = counted;
    if ef <= 0.0 {
        return 0.0;
    }
    let failed = ef / f;
    let passed = if p > 0.0 { ep / p } else { 0.0 };
    failed / (failed + passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let counted = Counted {
            ef: 8.0,
            ep: 25.0,
            f: 16.0,
            p: 100.0,
        };
        assert!((tarantula(counted) - 2.0 / 3.0).abs() < 1e-12);
        assert!((tarantula(Counted { ep: 0.0, ..counted }) - 1.0).abs() < 1e-12);
    }
}
