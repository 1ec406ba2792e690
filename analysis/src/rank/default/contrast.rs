//! What did failed requests touch that good ones did not?
//!
//! The question for failures that nobody inside noticed: a component that answers wrongly with
//! status OK. Nothing began anywhere, so only coverage is left. Good requests of the failing types
//! are no comparison unless somebody judged them: as long as nobody did, they may be as wrong. So
//! the comparison is with requests that were judged good at the same time; while there are too few
//! of these, with good ones of other types too.
//!
//! A component is suspected when failed requests touch it more often than good ones do, by the
//! lower end of Newcombe's interval. How much each is believed is the likelihood of what was seen if
//! touching it were what decides how a request ends (as Abreu, Zoeteweij and van Gemund rank
//! candidates in Barinel, ASE 2009): a process whose other parts answer well is hardly at fault for
//! one part. The same question is asked of requests that stopped coming: what do they touch that those which
//! go on don't? Among those as good as the best, the deepest and most specific comes first: what lies
//! above it on every path is touched whenever it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rekindle_model::Outcome;
use rekindle_stats::{Probability, Share, difference_interval};

use super::{NONE_OF_THESE, Shares};
use crate::rank::evidence::{Charge, Notes, Tally};
use crate::rank::input::{Case, Input};
use crate::rank::weighed::Sum;
use crate::{Level, Shape, Support};

/// Components this close to the best contrast count as equally good: a tenth is less than what the
/// mix of request types shifts from minute to minute.
const AS_GOOD: f64 = 0.9;

/// Judged requests are a comparison by themselves from so many on, and when there are no fewer of
/// them than of failed ones: fewer would decide by chance what good requests touch.
const ENOUGH_JUDGED: u64 = 5;

struct Candidate {
    subjects: Vec<usize>,
    score: f64,
    /// The logarithm of the likelihood of the ends that were seen.
    log_likelihood: f64,
    depth: u8,
}

/// The charges that coverage suggests for the failed requests in which nothing failed inside.
pub(super) fn charges(input: &Input, tally: &Tally, shares: &Shares, all: f64) -> Vec<Charge> {
    if shares.unexplained <= 0.0 {
        return Vec::new();
    }
    let failed: Vec<&Case> = input
        .window
        .iter()
        .enumerate()
        .filter(|(index, case)| case.is_failure() && !shares.by_case.contains_key(index))
        .map(|(_, case)| case)
        .collect();
    let total = |cases: &[&Case]| cases.iter().map(|case| case.count).sum::<u64>();
    let good_ones = |kept: fn(&Case) -> bool| -> Vec<&Case> {
        let good = input.window.iter().filter(|case| case.is_ok());
        good.filter(|case| kept(case)).collect()
    };
    let all_failed = total(&failed);
    let mut good = good_ones(|case| case.judged);
    let are_judged = total(&good) >= all_failed.max(ENOUGH_JUDGED);
    if !are_judged {
        good = good_ones(|case| case.judged || !case.of_incident);
    }
    let in_window = !good.is_empty();
    if !in_window {
        good = input.baseline.iter().filter(|case| case.is_ok()).collect();
    }
    let shape = match failed.iter().all(|case| case.outcome == Outcome::Slow) {
        true => Shape::Slow,
        false => Shape::WrongAnswer,
    };
    let mass = shares.unexplained / all;
    let failed = Side::of(input, tally, &failed, true);
    let good = Side::of(input, tally, &good, in_window);
    told_apart(input, tally, [&failed, &good], are_judged, shape, mass)
}

/// What requests that stopped coming have in common, and those that go on don't touch: it hangs, as far as
/// coverage can tell, since they neither fail nor end.
pub(super) fn missing(input: &Input, tally: &Tally) -> Vec<Charge> {
    let missing: Vec<&Case> = input.missing.iter().collect();
    let good: Vec<&Case> = input.window.iter().filter(|case| case.is_ok()).collect();
    let total = |cases: &[&Case]| cases.iter().map(|case| case.count).sum::<u64>();
    let all = total(&missing);
    let mass = all as f64 / (all as f64 + NONE_OF_THESE);
    let shape = Shape::Unanswered;
    // Those that are missing are estimated from what was there before.
    let sides = [
        Side::of(input, tally, &missing, false),
        Side::of(input, tally, &good, true),
    ];
    let mut charges = told_apart(input, tally, sides.each_ref(), false, shape, mass);
    for charge in &mut charges {
        let touching = |cases: &[&Case]| {
            let touching = cases
                .iter()
                .filter(|case| input.rows[case.row].state_of(charge.subjects[0]).is_some());
            touching.map(|case| case.count).sum()
        };
        charge.notes.support.push(Support::RequestsStopped {
            missing: all,
            touching: touching(&missing),
            going_on: total(&good),
            going_on_touching: touching(&good),
        });
    }
    charges
}

/// The charges that the contrast of these (failed, good) requests makes. Together they get `mass`, less what
/// nobody explains.
fn told_apart(
    input: &Input,
    tally: &Tally,
    [failed, good]: [&Side<'_>; 2],
    are_judged: bool,
    shape: Shape,
    mass: f64,
) -> Vec<Charge> {
    let all = |side: &Side<'_>| side.share(0.0).total();
    let (all_failed, all_good) = (all(failed), all(good));
    if all_good == 0 {
        return Vec::new();
    }
    let mut candidates: BTreeMap<(Level, Vec<bool>), Candidate> = BTreeMap::new();
    for (subject, (touched, depth)) in &failed.touching {
        if !may_be_named(input, tally, *subject) {
            continue;
        }
        let ok = good.touching.get(subject).map_or(0.0, |(ok, _)| *ok);
        let (touched, ok) = (failed.share(*touched), good.share(ok));
        let difference = difference_interval(touched, ok, Probability::P95);
        if difference.low <= 0.0 {
            continue;
        }
        // Touched by exactly the same rows, and of one level: no request tells them apart.
        let cases = failed.cases.iter().chain(good.cases);
        let rows: Vec<bool> = cases
            .map(|case| input.rows[case.row].state_of(*subject).is_some())
            .collect();
        let level = input.subjects[*subject].component.level;
        let candidate = candidates.entry((level, rows)).or_insert(Candidate {
            subjects: Vec::new(),
            score: difference.low,
            log_likelihood: log_likelihood(touched.hits(), ok.hits())
                + log_likelihood(touched.total() - touched.hits(), ok.total() - ok.hits()),
            depth: 0,
        });
        candidate.subjects.push(*subject);
        candidate.depth = candidate.depth.max(*depth);
    }
    let by_chance = log_likelihood(all_failed, all_good);
    let candidates = candidates.into_values().collect();
    weighed(
        input,
        candidates,
        mass,
        are_judged.then_some(by_chance),
        shape,
    )
}

/// The logarithm of the greatest likelihood of so many failed and good requests that all fail with
/// one chance. Half a request of each kind keeps a chance of 0 or 1 from being certain.
fn log_likelihood(failed: u64, good: u64) -> f64 {
    let (failed, good) = (failed as f64, good as f64);
    let chance = (failed + 0.5) / (failed + good + 1.0);
    failed * chance.ln() + good * (1.0 - chance).ln()
}

/// Orders the candidates and shares the mass among them: by their likelihoods, and half as much for
/// each one that comes before. Against them all stands that what is touched decides nothing: with
/// its likelihood (`by_chance`) where somebody judged the good requests, and else, where they are
/// good of another type, with what the best contrast leaves.
fn weighed(
    input: &Input,
    mut candidates: Vec<Candidate>,
    mass: f64,
    by_chance: Option<f64>,
    shape: Shape,
) -> Vec<Charge> {
    let best = candidates.iter().map(|c| c.score).fold(0.0, f64::max);
    candidates.sort_by(|a, b| {
        let key = |c: &Candidate| {
            let level = input.subjects[c.subjects[0]].component.level;
            (
                c.score < best * AS_GOOD,
                level == Level::Dependency,
                Reverse(c.depth),
                specificity(level),
            )
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| a.subjects.cmp(&b.subjects))
    });
    let likeliest = candidates
        .iter()
        .map(|candidate| candidate.log_likelihood)
        .fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = candidates
        .iter()
        .enumerate()
        .map(|(rank, candidate)| {
            (candidate.log_likelihood - likeliest).exp() * 0.5f64.powi(rank as i32)
        })
        .collect();
    let sum: f64 = weights.iter().sum();
    let believed = match by_chance {
        Some(by_chance) => sum / (sum + (by_chance - likeliest).exp()),
        None => best,
    };
    candidates
        .into_iter()
        .zip(weights)
        .map(|(candidate, weight)| Charge {
            subjects: candidate.subjects,
            score: candidate.score,
            confidence: mass * believed * weight / sum,
            shape: Some(shape),
            notes: Notes::default(),
        })
        .collect()
}

/// Hosts and operations can't answer wrongly by themselves; an instance or a version only beside
/// others.
fn may_be_named(input: &Input, tally: &Tally, subject: usize) -> bool {
    let component = &input.subjects[subject].component;
    match component.level {
        Level::Host | Level::Operation => false,
        Level::Service | Level::CodeComponent | Level::Dependency => true,
        Level::Instance | Level::Version => {
            input.subjects.iter().enumerate().any(|(other, sibling)| {
                other != subject
                    && sibling.component.level == component.level
                    && sibling.component.service == component.service
                    && tally.window[other].0 > 0
            })
        }
    }
}

/// Smaller things to restart first.
fn specificity(level: Level) -> u8 {
    match level {
        Level::CodeComponent => 0,
        Level::Instance => 1,
        Level::Version => 2,
        Level::Service => 3,
        Level::Dependency | Level::Host | Level::Operation => 4,
    }
}

/// Requests of one end, by what they stand for.
struct Side<'a> {
    cases: &'a [&'a Case],
    all: Sum,
    /// Per subject: how much those weigh that touched it, and how deep at most.
    touching: BTreeMap<usize, (f64, u8)>,
}

impl<'a> Side<'a> {
    /// Those of these cases of the window, or of the time before.
    fn of(input: &Input, tally: &Tally, cases: &'a [&'a Case], in_window: bool) -> Self {
        let mut all = Sum::default();
        let mut touching: BTreeMap<usize, (f64, u8)> = BTreeMap::new();
        for case in cases {
            let weight = tally.weight(case, in_window);
            all.add(case.count, weight);
            for touch in &input.rows[case.row].touches {
                let (touched, depth) = touching.entry(touch.subject).or_default();
                *touched += case.count as f64 * weight;
                *depth = (*depth).max(touch.depth);
            }
        }
        Self {
            cases,
            all,
            touching,
        }
    }

    /// Of all of them, those that weigh so much: as if so many had been seen as count.
    fn share(&self, weight: f64) -> Share {
        self.all.share_of(weight)
    }
}
