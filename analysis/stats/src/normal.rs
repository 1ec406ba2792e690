//! The standard normal distribution, as far as the intervals and tests need it.

use std::sync::LazyLock;

use statrs::function::erf::{erfc, erfc_inv};

use crate::Probability;

/// The value below which a standard normal variable falls with this probability; infinite at 0 and
/// 1.
pub fn normal_quantile(probability: Probability) -> f64 {
    -std::f64::consts::SQRT_2 * erfc_inv(2.0 * probability.get())
}

/// The probability that a standard normal variable exceeds `z`.
pub(crate) fn normal_upper_tail(z: f64) -> f64 {
    0.5 * erfc(z / std::f64::consts::SQRT_2)
}

/// The confidences that are asked for by the thousands, in rankings and failure maps, and their z: the root that
/// it takes costs more than everything else of an interval.
static OFTEN: LazyLock<[(Probability, f64); 2]> =
    LazyLock::new(|| [Probability::P95, Probability::P99].map(|often| (often, computed_z(often))));

fn computed_z(confidence: Probability) -> f64 {
    normal_quantile(Probability::clamped(0.5 + confidence.get() / 2.0))
}

/// The z of a two-sided interval of this confidence: 1.96 for 0.95.
pub(crate) fn two_sided_z(confidence: Probability) -> f64 {
    let known = OFTEN.iter().find(|(often, _)| *often == confidence);
    known.map_or_else(|| computed_z(confidence), |(_, z)| *z)
}
