//! Chance, by purpose: each draw belongs to a seed and a path of numbers, so that a new draw here
//! shifts none there, and every policy meets the same faults with the same luck.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A generator for this seed and purpose.
pub(super) fn stream(seed: u64, path: &[u64]) -> StdRng {
    // SplitMix64's finalizer: neighbouring numbers give unrelated streams.
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let seed = path.iter().fold(mix(seed), |state, part| {
        mix(state
            .wrapping_add(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(mix(*part)))
    });
    StdRng::seed_from_u64(seed)
}

/// Exponential with this mean.
pub(super) fn exponential(random: &mut StdRng, mean: f64) -> f64 {
    -mean * (1.0 - random.random::<f64>()).ln()
}

/// The place of one of these weights, drawn by them; 0 where there is none.
pub(super) fn weighted(random: &mut StdRng, weights: &[f64]) -> usize {
    let all: f64 = weights.iter().sum();
    let mut left = random.random::<f64>() * all;
    for (place, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return place;
        }
    }
    weights.len().saturating_sub(1)
}

/// How many of `count` happen, each with this probability. Counts are small, so one by one.
pub(super) fn binomial(random: &mut StdRng, count: u64, probability: f64) -> u64 {
    let hits = (0..count).filter(|_| random.random::<f64>() < probability);
    hits.count() as u64
}

/// How many arrivals come in an interval that expects so many (Knuth's product method; fine for
/// the few per interval that are asked for).
pub(super) fn poisson(random: &mut StdRng, expected: f64) -> u64 {
    let limit = (-expected.clamp(0.0, 500.0)).exp();
    let mut product = random.random::<f64>();
    let mut count = 0;
    while product > limit {
        product *= random.random::<f64>();
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_their_own() {
        let first = |seed, path: &[u64]| stream(seed, path).random::<u64>();
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        assert_ne!(first(1, &[2, 3]), first(1, &[3, 2]));
        assert_ne!(first(1, &[2]), first(2, &[2]));
    }

    #[test]
    fn draws_have_their_means() {
        let mut random = stream(1, &[0]);
        let mean = |draws: Vec<f64>| draws.iter().sum::<f64>() / draws.len() as f64;
        let poissons = (0..5000)
            .map(|_| poisson(&mut random, 7.0) as f64)
            .collect();
        assert!((mean(poissons) - 7.0).abs() < 0.2);
        let exponentials = (0..5000).map(|_| exponential(&mut random, 3.0)).collect();
        assert!((mean(exponentials) - 3.0).abs() < 0.2);
        let places = (0..5000)
            .map(|_| weighted(&mut random, &[1.0, 3.0]) as f64)
            .collect();
        assert!((mean(places) - 0.75).abs() < 0.03);
    }
}
