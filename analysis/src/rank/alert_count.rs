//! The count of alerts: how many of a service's operations (per request type) moved by three standard
//! deviations or more.
//!
//! What a person does who looks at a wall of alerts.

use super::evidence::Tally;
use super::input::Input;
use super::plain::{SIGMAS, per_service};
use super::spectrum_formula::by_score;
use crate::Suspect;

/// Ranks services by it.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let scores = per_service(
        input,
        |plain| f64::from(u8::from(plain.z.abs() >= SIGMAS)),
        |a, b| a + b,
    );
    by_score(input, tally, scores)
}
