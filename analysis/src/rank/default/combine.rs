//! Failures and changes, weighed against each other.
//!
//! Both are measured as the share of a component's calls that are affected, times how badly
//! (`default/changes.rs`), so they add up. Who is strongest leads; how much each is believed then is told in
//! `default/believed.rs`.

use std::collections::BTreeMap;

use rekindle_model::Outcome;
use rekindle_stats::{Probability, Share, difference_interval};

use super::believed::{BELIEVED, LEAST_DOUBT, Lead, Weighed};
use super::changes::{Change, Period, changes};
use super::ground::{of_most, unexplained};
use super::{Choice, Choices};
use crate::rank::Ground;
use crate::rank::evidence::{Charge, Notes, Tally};
use crate::rank::input::{Case, Input};
use crate::{Doubt, Level};

/// A failed call is as bad as one that takes a thousand times as long (2¹⁰): nobody waits for that.
const FAILED: f64 = 10.0;
/// Changes below this strength are not named: a tenth of the calls a tenth slower.
const LEAST_CHANGE: f64 = 0.01;

/// The charges of both.
pub(super) struct Combined {
    /// Their confidences add up to at most 1.
    pub(super) charges: Vec<Charge>,
    /// What the first one stands on.
    pub(super) ground: Ground,
}

/// Weighs failures and changes.
pub(super) fn combined(
    input: &Input,
    tally: &Tally,
    failures: Vec<Charge>,
    choices: Choices,
) -> Combined {
    let only = |charges: Vec<Charge>| Combined {
        ground: of_most(input, tally, charges.iter()),
        charges,
    };
    let family_of = |charge: &Charge| tally.families[charge.subjects[0]];
    let level = |charge: &Charge| input.subjects[charge.subjects[0]].component.level;
    if failures.iter().any(|charge| level(charge) == Level::Host) || !choices.has(Choice::Changes) {
        return only(failures);
    }
    let changes: Vec<Change> = changes(input, tally, Period::Fault, choices)
        .into_iter()
        .filter(|change| change.score >= LEAST_CHANGE)
        .collect();
    if changes.is_empty() {
        return only(failures);
    }
    let mut accused: BTreeMap<usize, f64> = BTreeMap::new();
    let mut strengths: BTreeMap<usize, f64> = BTreeMap::new();
    for charge in &failures {
        let family = family_of(charge);
        *accused.entry(family).or_default() += charge.confidence;
        let strength = FAILED * affected(input, tally, charge, family) * charge.confidence;
        *strengths.entry(family).or_default() += strength;
    }
    let failing = strengths.clone();
    for change in &changes {
        *strengths.entry(change.family).or_default() += change.score;
    }
    let first = |by: &BTreeMap<usize, f64>| {
        let most = by
            .iter()
            .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
        most.map_or(usize::MAX, |(family, _)| *family)
    };
    let lead = first(&strengths);
    let failing = failing.get(&lead).copied().unwrap_or(0.0);
    let failures_decide = failing * 2.0 >= strengths[&lead] && first(&accused) == lead;
    let ground_of = |family: usize| {
        let charges = failures.iter();
        let of_it = charges.filter(|charge| family_of(charge) == family);
        of_most(input, tally, of_it)
    };
    let mut ground = ground_of(lead);
    // What raised explains what failed, and what is slow what took too long: each is asked for its own kind first.
    let mut fail_most: Vec<usize> = Vec::new();
    for outcome in [Outcome::Failed, Outcome::Slow] {
        let of_kind = most_of_kind(input, &failures, outcome).map(family_of);
        let fails = of_kind.filter(|family| ground_of(*family) == Ground::Failures);
        fail_most.extend(fails.filter(|family| !fail_most.contains(family)));
    }
    let undecided = !failures_decide || ground == Ground::Chance;
    let in_calm = if undecided && choices.has(Choice::CalmTimes) {
        self::changes(input, tally, Period::Calm, choices)
    } else {
        Vec::new()
    };
    // Whether it changed more than it does in calm times is asked of itself; how much doubt there is, of whoever
    // changes most then: that two short halves of one component agree may be luck.
    let of_itself = in_calm.iter().find(|change| change.family == lead);
    let of_itself = of_itself.map_or(0.0, |change| change.score);
    let calm = in_calm.first().map_or(0.0, |change| change.score);
    let clear = |change: &Change| change.family == lead && change.is_clear();
    if undecided && strengths[&lead] >= of_itself.max(BELIEVED) && changes.iter().any(clear) {
        ground = Ground::Change;
    }
    let lead = Lead {
        family: lead,
        failing,
        calm,
    };
    let weighed = Weighed {
        accused: &accused,
        strengths: &strengths,
        changes: &changes,
        fail_most: &fail_most,
    };
    let believed = match failures_decide {
        true => weighed.by_failures(&lead),
        false => weighed.by_strength(&lead),
    };
    let calm_doubt = (!failures_decide && calm >= LEAST_DOUBT).then_some(calm);
    let mut charges = failures;
    for charge in &mut charges {
        let family = family_of(charge);
        let part = charge.confidence / accused[&family].max(f64::MIN_POSITIVE);
        charge.confidence = part * believed[&family];
    }
    for change in changes {
        let mut doubts = Vec::new();
        doubts.extend(calm_doubt.map(|calm| Doubt::CalmTimesChange {
            calm,
            now: change.score,
        }));
        if !change.is_clear() {
            doubts.push(Doubt::MayBeChance {
                chance: change.by_chance.min(1.0),
            });
        }
        let known = charges
            .iter_mut()
            .find(|charge| family_of(charge) == change.family);
        match known {
            // Failures speak for it as well, so doubts about the change alone say little.
            Some(charge) => charge.notes.causes.extend(change.causes),
            None => charges.push(Charge {
                subjects: vec![change.family],
                score: change.score,
                confidence: believed[&change.family],
                shape: Some(change.shape),
                notes: Notes {
                    causes: change.causes,
                    doubts,
                    ..Notes::default()
                },
            }),
        }
    }
    Combined { charges, ground }
}

/// The charge that explains most requests which ended so, if any does.
fn most_of_kind<'a>(input: &Input, failures: &'a [Charge], outcome: Outcome) -> Option<&'a Charge> {
    let of_kind = |case: &&Case| case.is_failure() && case.outcome == outcome;
    let explained = |charge: &Charge| -> u64 {
        let explains = |case: &&Case| {
            let state = input.rows[case.row].state_of(charge.subjects[0]);
            state.is_some_and(|state| state.is_origin() || charge.shape.is_some())
        };
        let cases = input.window.iter().filter(of_kind).filter(explains);
        cases.map(|case| case.count).sum()
    };
    let all = failures.iter().map(|charge| (explained(charge), charge));
    let most = all.max_by(|(a, one), (b, other)| {
        a.cmp(b)
            .then_with(|| one.confidence.total_cmp(&other.confidence))
            .then_with(|| other.subjects.cmp(&one.subjects))
    });
    most.filter(|(explained, _)| *explained > 0)
        .map(|(_, charge)| charge)
}

/// The share of calls that a failure charge is about, at least.
fn affected(input: &Input, tally: &Tally, charge: &Charge, family: usize) -> f64 {
    let (now, before) = if charge.shape.is_some() {
        // Nothing failed inside: of the requests that touched it, those that ended badly or didn't come.
        let touching = |case: &&Case| {
            let row = &input.rows[case.row];
            row.state_of(charge.subjects[0]).is_some()
        };
        let missing = input.missing.iter().filter(touching);
        let missing: u64 = missing.map(|case| case.count).sum();
        let came = unexplained(input, tally, input.window.iter().filter(touching), true);
        (
            Share::of(came.hits() + missing, came.total() - came.hits()),
            unexplained(input, tally, input.baseline.iter().filter(touching), false),
        )
    } else {
        tally.began(family).into()
    };
    difference_interval(now, before, Probability::P95)
        .low
        .max(0.0)
}
