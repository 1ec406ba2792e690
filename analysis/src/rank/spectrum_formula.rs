//! What the spectrum formulas share: a score from four counts, and nothing else.
//!
//! They know which components a request touched and how it ended; not what a component did in it.
//! The formula is second-order (Abreu et al. 2007); their weakness is that whatever lies above the
//! culprit on every path scores as high as the culprit.

use crate::Suspect;

use super::evidence::{Charge, Notes, Tally, dress};
use super::input::Input;

/// The counts of one component: `f` of failed, `p` of passed requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Failed requests that touched it.
    pub ef: f64,
    /// Passed requests that touched it.
    pub ep: f64,
    /// Failed requests.
    pub f: f64,
    /// Passed requests.
    pub p: f64,
}

/// Ranks by a formula.
pub(crate) fn by_formula(
    input: &Input,
    tally: &Tally,
    formula: impl Fn(Counted) -> f64,
) -> Vec<Suspect> {
    let scores: Vec<(usize, f64)> = (0..input.subjects.len())
        .map(|subject| {
            let counted = Counted {
                ef: tally.failed_touching[subject] as f64,
                ep: tally.ok_touching[subject] as f64,
                f: tally.failed as f64,
                p: tally.ok as f64,
            };
            (subject, formula(counted))
        })
        .collect();
    by_score(input, tally, scores)
}

/// Ranks by scores that are larger than 0. The confidence is the score's part in the sum of all scores
/// and one more: no such score comes with a probability.
pub(crate) fn by_score(
    input: &Input,
    tally: &Tally,
    scores: impl IntoIterator<Item = (usize, f64)>,
) -> Vec<Suspect> {
    let scores = scores.into_iter();
    by_scores(
        input,
        tally,
        scores.map(|(subject, score)| (vec![subject], score)),
    )
}

/// The same of subjects, each with those of its level that the method can't tell from it.
pub(crate) fn by_scores(
    input: &Input,
    tally: &Tally,
    scores: impl IntoIterator<Item = (Vec<usize>, f64)>,
) -> Vec<Suspect> {
    let scores: Vec<(Vec<usize>, f64)> = scores
        .into_iter()
        .filter(|(_, score)| score.is_finite() && *score > 0.0)
        .collect();
    let sum: f64 = 1.0 + scores.iter().map(|(_, score)| score).sum::<f64>();
    let charges = scores
        .into_iter()
        .map(|(subjects, score)| Charge {
            subjects,
            score,
            confidence: score / sum,
            shape: None,
            notes: Notes::default(),
        })
        .collect();
    dress(input, tally, charges)
}
