//! The statistics that Rekindle decides by: shares with intervals, rank tests, a sequential
//! detector, and the Beta distribution.
//!
//! Arguments are valid by type ([`Share`], [`Sample`], [`Probability`]), so that the formulas needn't
//! check and can't fail. Each formula is cited beside its code, and checked against SciPy and
//! statsmodels (`tests/reference/`, made by `notebooks/reference_statistics.py`).

mod arrivals;
mod beta;
mod chi_squared;
mod combined;
mod detector;
mod difference;
mod dispersion;
mod fdr;
mod fisher;
mod histogram;
mod normal;
mod rank_sum;
mod robust;
mod sample;
mod share;
mod shift;

pub use arrivals::{Arrivals, Silence};
pub use beta::{BetaBelief, BetaError};
pub use chi_squared::chi_squared_quantile;
pub use combined::combined;
pub use detector::{DetectorState, ShareRise};
pub use difference::{DifferenceInterval, difference_interval};
pub use dispersion::Dispersion;
pub use fdr::benjamini_hochberg;
pub use fisher::fisher_greater;
pub use histogram::LogHistogram;
pub use normal::normal_quantile;
pub use rank_sum::{RankSum, rank_sum};
pub use robust::robust_z;
pub use sample::{Sample, SampleError};
pub use share::{Interval, Probability, Share, ShareError};
pub use shift::{
    Calls, Moments, Shift, Usual, shift, slower_share, student_quantile, student_tails,
};
