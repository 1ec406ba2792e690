//! How long does something usually take? A histogram over durations of all magnitudes.
//!
//! Buckets grow by a constant factor, so a quantile is right to within that factor at a microsecond
//! and at a minute alike, and two histograms add bucket by bucket: shards, slices and history merge
//! without loss. Same idea as DDSketch: Masson, Rim and Lee (2019), PVLDB 12:2195–2205.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Sixteen buckets per doubling: neighbours differ by 4 %, quantiles are off by at most half that.
/// Finer would cost memory for no decision; latencies vary more from minute to minute.
const BUCKETS_PER_DOUBLING: f64 = 16.0;

/// The geometric middles of all buckets that values fall into: rankings ask for millions.
static MIDDLES: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let buckets = LogHistogram::bucket_of(u64::MAX);
    (0..=buckets).map(LogHistogram::middle).collect()
});

/// Counts of positive values by magnitude. Values below 1 count as 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHistogram {
    /// (Number, count) of the buckets that hold anything, sorted by number. A list, because rankings
    /// merge many small histograms, and one operation's durations fill a dozen neighbours.
    buckets: Vec<(u16, u64)>,
    total: u64,
}

impl LogHistogram {
    /// Counts one value; nanoseconds, say.
    pub fn add(&mut self, value: u64) {
        self.add_many(Self::bucket_of(value), 1);
    }

    /// The number of the bucket that this value falls into, below 1024: whoever counts one value in
    /// several places asks once.
    pub fn bucket_of(value: u64) -> u16 {
        ((value.max(1) as f64).log2() * BUCKETS_PER_DOUBLING) as u16
    }

    /// The geometric middle of the bucket with this number.
    pub fn middle(bucket: u16) -> f64 {
        ((f64::from(bucket) + 0.5) / BUCKETS_PER_DOUBLING).exp2()
    }

    /// Adds all that the other one counted.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.clone_from(other);
            return;
        }
        other
            .buckets
            .iter()
            .for_each(|(bucket, n)| self.add_many(*bucket, *n));
    }

    /// What all of these counted together: each bucket is looked at once, however many histograms there are.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Self {
        // They lie anywhere in memory, and nothing in this pass waits for what the last one of them said: so all are
        // fetched at the same time.
        let (mut lowest, mut highest) = (u16::MAX, 0);
        for histogram in all.clone() {
            if let [(low, _), ..] = *histogram.buckets {
                lowest = lowest.min(low);
            }
            if let [.., (high, _)] = *histogram.buckets {
                highest = highest.max(high);
            }
        }
        if lowest > highest {
            return Self::default();
        }
        let mut counts = vec![0; usize::from(highest - lowest) + 1];
        let mut total = 0;
        for histogram in all {
            for (bucket, n) in &histogram.buckets {
                counts[usize::from(bucket - lowest)] += n;
            }
            total += histogram.total;
        }
        let mut buckets = Vec::with_capacity(counts.len());
        buckets.extend((lowest..=highest).zip(counts).filter(|(_, n)| *n > 0));
        Self { buckets, total }
    }

    /// Counts `n` values of this bucket, as [`Self::bucket_of`] numbers them.
    pub fn add_many(&mut self, bucket: u16, n: u64) {
        match self
            .buckets
            .binary_search_by_key(&bucket, |(bucket, _)| *bucket)
        {
            Ok(at) => self.buckets[at].1 += n,
            Err(at) => self.buckets.insert(at, (bucket, n)),
        }
        self.total += n;
    }

    /// Takes back `n` values of this bucket, or as many as were counted.
    pub fn remove_many(&mut self, bucket: u16, n: u64) {
        let found = self.buckets.binary_search_by_key(&bucket, |(of, _)| *of);
        let Ok(at) = found else { return };
        let n = n.min(self.buckets[at].1);
        self.buckets[at].1 -= n;
        self.total -= n;
        if self.buckets[at].1 == 0 {
            self.buckets.remove(at);
        }
    }

    /// How many values were counted.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The value that this share of the values does not exceed, to within a bucket (its geometric
    /// middle); `None` of nothing.
    pub fn quantile(&self, share: crate::Probability) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let wanted = ((share.get() * self.total as f64).ceil() as u64).clamp(1, self.total);
        // From the top, because it is mostly the tail that is asked for: the lowest bucket below
        // which fewer than wanted lie.
        let mut below = self.total;
        let mut found = 0;
        for (bucket, n) in self.buckets.iter().rev() {
            if below < wanted {
                break;
            }
            found = *bucket;
            below -= n;
        }
        Some(Self::middle(found) as u64)
    }

    /// (Geometric middle of the bucket, count), smallest first.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let middles: &[f64] = &MIDDLES;
        self.buckets.iter().map(|(bucket, n)| {
            // One that was read from elsewhere may have any number.
            let known = middles.get(usize::from(*bucket)).copied();
            (known.unwrap_or_else(|| Self::middle(*bucket)), *n)
        })
    }

    /// (Number of the bucket, count), smallest first.
    pub fn numbers(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.buckets.iter().copied()
    }

    /// Halves every count: old habits weigh less. Buckets of one are dropped.
    pub fn fade(&mut self) {
        self.buckets.retain_mut(|(_, n)| {
            *n /= 2;
            *n > 0
        });
        self.total = self.buckets.iter().map(|(_, n)| n).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(LogHistogram::default().quantile(Probability::P95), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_a_bucket(mut values in prop::collection::vec(1u64..1_000_000_000_000, 1..200), share in 0.0f64..=1.0) {
            let mut histogram = LogHistogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_unstable();
            let at = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
            let found = histogram.quantile(Probability::clamped(share)).expect("not empty") as f64;
            let truth = values[at] as f64;
            prop_assert!(found <= truth * 1.1 + 1.0 && found >= truth / 1.1 - 1.0, "{} for {}", found, truth);
        }

        #[test]
        fn merging_is_counting_together(a in prop::collection::vec(0u64..1_000_000, 0..50), b in prop::collection::vec(0u64..1_000_000, 0..50)) {
            let count = |values: &[u64]| {
                let mut histogram = LogHistogram::default();
                values.iter().for_each(|value| histogram.add(*value));
                histogram
            };
            let mut merged = count(&a);
            merged.merge(&count(&b));
            prop_assert_eq!(&merged, &count(&[&a[..], &b].concat()));
            prop_assert_eq!(&merged, &LogHistogram::sum([&count(&b), &LogHistogram::default(), &count(&a)].into_iter()));
            b.iter().for_each(|value| merged.remove_many(LogHistogram::bucket_of(*value), 1));
            prop_assert_eq!(merged, count(&a));
        }
    }
}
