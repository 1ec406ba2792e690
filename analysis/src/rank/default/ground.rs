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
            unexplained(input, input.window.iter().filter(of_incident)),
            unexplained(input, input.baseline.iter().filter(of_incident)),
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
        let share = |(touched, origin): (u64, u64)| Share::of(origin, touched - origin);
        let chance = fisher_greater(share(tally.window[subject]), share(tally.baseline[subject]));
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

/// Of these requests, those that failed though nothing failed inside.
pub(super) fn unexplained<'a>(input: &Input, cases: impl Iterator<Item = &'a Case>) -> Share {
    let (mut failed, mut others) = (0, 0);
    for case in cases.filter(|case| case.outcome != Outcome::Unknown) {
        if case.is_failure() && began_in(input, case).next().is_none() {
            failed += case.count;
        } else {
            others += case.count;
        }
    }
    Share::of(failed, others)
}
