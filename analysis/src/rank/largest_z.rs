//! The largest |z|: whose mean own time moved the most standard deviations, up or down.
//!
//! A service scores as its most moved operation. The oldest rule of all, as in Shewhart's control
//! charts (1931).

use super::evidence::Tally;
use super::input::Input;
use super::plain::per_service;
use super::spectrum_formula::by_score;
use crate::Suspect;

/// Ranks services by it.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let scores = per_service(input, |plain| plain.z.abs(), f64::max);
    by_score(input, tally, scores)
}
