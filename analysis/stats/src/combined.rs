//! Several independent tests of one thing, each with its chance: what is the chance of them together?
//!
//! Fisher's method (Fisher 1932, *Statistical Methods for Research Workers*, 4th edition): where nothing is the
//! matter, −2·Σ ln p of k tests has a χ² distribution with 2k degrees of freedom. Two that are each hardly
//! surprising are surprising together, as a service is two operations of which took long once each.

/// Chances below this are no more precise than what they were computed from.
const LEAST: f64 = 1e-300;

/// The chance of tests as surprising as these together, from one-sided chances in `[0, 1]`; 1 of none.
pub fn combined(chances: &[f64]) -> f64 {
    let half: f64 = chances.iter().map(|p| -p.clamp(LEAST, 1.0).ln()).sum();
    // Of even degrees of freedom the tail is a sum (Abramowitz and Stegun 26.4.5).
    let (mut term, mut sum) = (1.0, 0.0);
    for at in 0..chances.len() {
        sum += term;
        term *= half / (at + 1) as f64;
    }
    if chances.is_empty() {
        return 1.0;
    }
    ((-half).exp() * sum).min(1.0)
}
