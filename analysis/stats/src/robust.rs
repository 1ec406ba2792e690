//! How far does a typical value lie from what was usual, in units of the usual spread?
//!
//! Median and MAD instead of mean and deviation: latencies have tails, and a few outliers in the
//! reference must not hide the next one. Iglewicz and Hoaglin (1993), *How to detect and handle
//! outliers*.

use crate::Sample;

/// 1 / Φ⁻¹(¾): makes the MAD of a normal sample its standard deviation.
const MAD_TO_DEVIATION: f64 = 1.482_602_218_505_602;

/// `value`'s distance from the reference's median in robust deviations. Where the reference doesn't
/// spread at all, 0 for its median and infinite elsewhere.
pub fn robust_z(value: f64, reference: &Sample) -> f64 {
    let distance = value - reference.median();
    if distance.abs() < f64::MIN_POSITIVE {
        return 0.0;
    }
    distance / (MAD_TO_DEVIATION * reference.median_absolute_deviation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_in_the_reference_changes_nothing_much() {
        let calm = Sample::new((1..=99).map(f64::from).collect()).expect("a sample");
        let mut values: Vec<f64> = (1..=99).map(f64::from).collect();
        values.push(1e9);
        let shaken = Sample::new(values).expect("a sample");
        let (before, after) = (robust_z(200.0, &calm), robust_z(200.0, &shaken));
        assert!((before - after).abs() < 0.1, "{before} {after}");
    }

    #[test]
    fn without_spread_only_the_median_is_usual() {
        let flat = Sample::new(vec![5.0; 4]).expect("a sample");
        assert!(robust_z(5.0, &flat).abs() < 1e-12);
        assert!(robust_z(5.1, &flat).is_infinite());
    }
}
