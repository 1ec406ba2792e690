//! Three sigmas: the share of calls that took longer than the mean before and three standard
//! deviations.
//!
//! A service scores as its worst operation.

use super::evidence::Tally;
use super::input::Input;
use super::plain::per_service;
use super::spectrum_formula::by_score;
use crate::Suspect;

/// Ranks services by it.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let scores = per_service(input, |plain| plain.beyond, f64::max);
    by_score(input, tally, scores)
}
