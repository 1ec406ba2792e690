//! Of many tests, which may be believed? Benjamini and Hochberg's step-up procedure.
//!
//! Ranking asks the same question of a thousand components; at 5 % each, fifty would look guilty.
//! The adjusted values bound the expected share of wrong accusations instead. Benjamini and
//! Hochberg (1995), JRSS B 57:289–300.

use crate::Probability;

/// The adjusted p-values, in the order given: those at most q make a list of which, on average, at
/// most the share q is wrong.
pub fn benjamini_hochberg(p_values: &[Probability]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*b].get().total_cmp(&p_values[*a].get()));
    let m = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut smallest = 1.0f64;
    for (passed, index) in order.iter().enumerate() {
        let rank = m - passed as f64;
        smallest = smallest.min(p_values[*index].get() * m / rank);
        adjusted[*index] = smallest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn adjusting_only_raises_and_keeps_the_order(raw in prop::collection::vec(0.0f64..=1.0, 0..40)) {
            let p: Vec<Probability> = raw.iter().map(|p| Probability::clamped(*p)).collect();
            let adjusted = benjamini_hochberg(&p);
            for i in 0..raw.len() {
                prop_assert!(adjusted[i] >= raw[i] - 1e-12 && adjusted[i] <= 1.0);
                for j in 0..raw.len() {
                    if raw[i] < raw[j] { prop_assert!(adjusted[i] <= adjusted[j] + 1e-12); }
                }
            }
        }
    }
}
