//! Measurements on which a test may be run: finite, and at least two.
//!
//! Checked once here, sorted once here; the tests then neither check nor fail. (A library whose
//! rank test compares every pair merely to refuse NaN needs half a second for two samples of
//! 20,000.)

/// At least two finite numbers, sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    sorted: Vec<f64>,
}

/// Why numbers are no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Fewer than two.
    #[error("a sample needs at least two values, this has {0}")]
    TooFew(usize),
    /// One of them is NaN or infinite.
    #[error("value {0} of the sample is not finite")]
    NotFinite(usize),
}

impl Sample {
    /// The sample of these values, in any order.
    ///
    /// # Errors
    /// When there are fewer than two, or one is NaN or infinite.
    pub fn new(mut values: Vec<f64>) -> Result<Self, SampleError> {
        if values.len() < 2 {
            return Err(SampleError::TooFew(values.len()));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(SampleError::NotFinite(at));
        }
        values.sort_unstable_by(f64::total_cmp);
        Ok(Self { sorted: values })
    }

    /// The values, smallest first.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// The middle value, or the mean of the two middle ones.
    pub fn median(&self) -> f64 {
        median_of_sorted(&self.sorted)
    }

    /// The median distance from the median.
    pub fn median_absolute_deviation(&self) -> f64 {
        let median = self.median();
        let mut distances: Vec<f64> = self.sorted.iter().map(|x| (x - median).abs()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        median_of_sorted(&distances)
    }
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sample_is_refused() {
        assert_eq!(Sample::new(vec![1.0]), Err(SampleError::TooFew(1)));
        assert_eq!(
            Sample::new(vec![1.0, f64::NAN]),
            Err(SampleError::NotFinite(1))
        );
    }

    #[test]
    fn medians_of_odd_and_even_samples() {
        let odd = Sample::new(vec![9.0, 1.0, 2.0]).expect("a sample");
        assert_eq!((odd.median(), odd.median_absolute_deviation()), (2.0, 1.0));
        let even = Sample::new(vec![4.0, 1.0]).expect("a sample");
        assert_eq!(
            (even.median(), even.median_absolute_deviation()),
            (2.5, 1.5)
        );
    }
}
