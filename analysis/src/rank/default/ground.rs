//! On what does the first suspect stand: failures, a change, or nothing but chance?
//!
//! Whoever looks at hundreds of components finds one that looks worse than before where nothing is wrong,
//! and a restart of it would be a harm done for nothing. So the first suspect is an answer only where
//! more requests failed in it than before (Fisher's exact test, corrected for the number of suspects that
//! were looked at), or where it works differently by more than chance and the drift of calm times
//! explain. Failures as frequent as before the incident, and a change among hundreds, are no ground.

use rekindle_model::Outcome;
use rekindle_stats::{Share, fisher_greater};

use super::began_in;
use super::changes::MISTAKES;
use crate::rank::Ground;
use crate::rank::evidence::{Charge, Tally};
use crate::rank::input::{Case, Input};
use crate::rank::weighed::Sum;

/// What the likeliest of these charges stands on.
pub(super) fn of_most<'a>(
    input: &Input,
    tally: &Tally,
    charges: impl Iterator<Item = &'a Charge>,
) -> Ground {
    let first = charges.max_by(|a, b| a.confidence.total_cmp(&b.confidence));
    first.map_or(Ground::Chance, |first| of_failures(input, tally, first))
}

/// Whether failures stand behind this charge, or chance does.
fn of_failures(input: &Input, tally: &Tally, charge: &Charge) -> Ground {
    let chance = if charge.shape.is_some() {
        // Nothing failed inside: what is compared is how many such requests there are.
        let of_incident = |case: &&Case| case.of_incident;
        let (now, before) = (
            unexplained(input, tally, input.window.iter().filter(of_incident), true),
            unexplained(
                input,
                tally,
                input.baseline.iter().filter(of_incident),
                false,
            ),
        );
        if before.total() == 0 {
            return Ground::Failures;
        }
        fisher_greater(now, before)
    } else {
        let subject = charge.subjects[0];
        // Of a new part of something older, the whole is what there was before.
        let known = [subject, tally.families[subject]]
            .into_iter()
            .find(|subject| tally.baseline[*subject].0 > 0);
        let Some(subject) = known else {
            return Ground::Failures;
        };
        let [now, before] = tally.began(subject);
        let chance = fisher_greater(now, before);
        let level = input.subjects[subject].component.level;
        let looked_at = (0..input.subjects.len()).filter(|other| {
            input.subjects[*other].component.level == level && tally.window[*other].1 > 0
        });
        chance * looked_at.count() as f64
    };
    if chance <= MISTAKES {
        Ground::Failures
    } else {
        Ground::Chance
    }
}

/// Of these requests of the window, or of the time before, those that failed though nothing failed inside: as if so many had
/// been seen as count.
pub(super) fn unexplained<'a>(
    input: &Input,
    tally: &Tally,
    cases: impl Iterator<Item = &'a Case>,
    in_window: bool,
) -> Share {
    let (mut all, mut failed) = (Sum::default(), 0.0);
    for case in cases.filter(|case| case.outcome != Outcome::Unknown) {
        let weight = tally.weight(case, in_window);
        all.add(case.count, weight);
        if case.is_failure() && began_in(input, case).next().is_none() {
            failed += case.count as f64 * weight;
        }
    }
    all.share_of(failed)
}
