//! The default: where did the failures begin, and at which level is that most specific?
//!
//! 1. *Origin.* In each failed request, failures began in some services or dependencies (raised, or
//!    never answered, or slow). Where several did, the request is shared among them, more to those
//!    that explain more of the other requests: expectation maximization of a mixture, which explains
//!    one fault away before it ranks the next (Dempster, Laird and Rubin 1977).
//! 2. *Lift.* What began in a component just as often before the incident is not news: of its share
//!    in the window, only the part above its own baseline counts.
//! 3. *Level.* A service's charge goes to the part of it that explains it (`default/specific.rs`).
//! 4. *Coverage.* Failed requests in which nothing failed inside (somebody outside says that the
//!    answer was wrong) are explained by what they touched and good ones didn't
//!    (`default/contrast.rs`). Likewise requests that stopped coming, while no more fail than usually do.
//!
//! The confidence is the part of the failed requests that a suspect explains, out of all of them
//! and one more: the imagined one that none of these explains. So four requests leave one in five
//! of doubt, and four hundred none to speak of.
//!
//! 5. *Change.* Who got slower or stops halfway is suspected without any failed request
//!    (`default/changes.rs`); where that says more than where failures began (callers gave up on a
//!    component that is merely slow), it goes first (`default/combine.rs`).
//! 6. *Ground.* The first suspect is an answer only where chance doesn't explain what speaks against it
//!    (`default/ground.rs`).

mod believed;
mod changes;
mod choice;
mod combine;
mod contrast;
mod ground;
mod specific;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use choice::Choice;
pub(crate) use choice::Choices;

use super::Ground;
use super::evidence::{Charge, Tally, dress};
use super::input::{Case, Input, InputTouch};
use crate::{Level, Suspect};

/// Requests that speak for "none of these" before any is seen.
const NONE_OF_THESE: f64 = 1.0;
/// Rounds of expectation maximization. It settles geometrically; ten change nothing that is shown.
const ROUNDS: usize = 10;
/// Where failures began in two components of the same requests, the one nearer to the user is half as likely
/// at first: what fails below makes what is above fail, seldom the other way round. It decides only where
/// no request tells them apart.
const NEARER: f64 = 0.5;
/// Suspects below one in a hundred are noise on a page that people act on.
const WORTH_NAMING: f64 = 0.01;

/// How the failed requests are shared among the services and dependencies in which they began.
pub(crate) struct Shares {
    /// Per service or dependency: the failed requests that it explains.
    pub(crate) explained: BTreeMap<usize, f64>,
    /// Per case of the window (by index): who explains how much of one request.
    pub(crate) by_case: BTreeMap<usize, Vec<(usize, f64)>>,
    /// Failed requests in which nothing failed inside.
    pub(crate) unexplained: u64,
}

/// The suspects, most suspicious first, and what the first one stands on.
pub(crate) fn suspects(input: &Input, tally: &Tally, choices: Choices) -> (Vec<Suspect>, Ground) {
    let failures = failure_charges(input, tally, choices);
    let combined = combine::combined(input, tally, failures, choices);
    let mut charges = combined.charges;
    charges.retain(|charge| charge.confidence >= WORTH_NAMING);
    let suspects = dress(input, tally, charges);
    let ground = match combined.ground {
        // The confidence in a change has its chance in it; that in a contrast of what requests touch has not.
        Ground::Chance
            if suspects
                .first()
                .is_some_and(|first| first.explanation.has_changed())
                && Ground::by_confidence(&suspects) == Ground::Change =>
        {
            Ground::Change
        }
        ground => ground,
    };
    (suspects, ground)
}

/// The charges that failed requests make; while these are few or as frequent as ever, those that requests
/// make which stopped coming.
fn failure_charges(input: &Input, tally: &Tally, choices: Choices) -> Vec<Charge> {
    let failed = charges_of_failed(input, tally, choices);
    let are_news = || {
        tally.failed >= input.min_failed
            && ground::of_most(input, tally, failed.iter()) == Ground::Failures
    };
    if input.missing.is_empty() || are_news() {
        return failed;
    }
    contrast::missing(input, tally)
}

fn charges_of_failed(input: &Input, tally: &Tally, choices: Choices) -> Vec<Charge> {
    if tally.failed == 0 {
        return Vec::new();
    }
    let shares = share_out(input, tally, choices);
    let all = tally.failed as f64 + NONE_OF_THESE;
    let mut charges = Vec::new();
    if let Some(host) = specific::common_host(input, tally, &shares) {
        charges.push(Charge {
            confidence: host.score / all,
            ..host
        });
    } else {
        for (family, explained) in &shares.explained {
            let news = explained * lift(tally, *family, choices);
            charges.extend(specific::charges(input, tally, &shares, *family, news, all));
        }
    }
    charges.extend(contrast::charges(input, tally, &shares, all));
    charges.retain(|charge| charge.confidence >= WORTH_NAMING);
    charges
}

/// The part of a component's origins in the window that its baseline doesn't explain, in `[0, 1]`.
fn lift(tally: &Tally, subject: usize, choices: Choices) -> f64 {
    let (touched, origin) = tally.window[subject];
    if origin == 0 {
        return 0.0;
    }
    if !choices.has(Choice::Baseline) {
        return 1.0;
    }
    let now = origin as f64 / touched as f64;
    (1.0 - tally.baseline_origin_share(subject) / now).max(0.0)
}

/// The services and dependencies in which failures of these requests began.
fn began_in<'a>(input: &'a Input, case: &Case) -> impl Iterator<Item = &'a InputTouch> + 'a {
    let touches = input.rows[case.row].touches.iter();
    touches.filter(|touch| {
        let level = input.subjects[touch.subject].component.level;
        touch.state.is_origin() && matches!(level, Level::Service | Level::Dependency)
    })
}

fn share_out(input: &Input, tally: &Tally, choices: Choices) -> Shares {
    let mut unexplained = 0;
    let mut candidates: Vec<(usize, u64, Vec<usize>)> = Vec::new();
    let mut explained: BTreeMap<usize, f64> = BTreeMap::new();
    for (index, case) in input.window.iter().enumerate() {
        if !case.is_failure() {
            continue;
        }
        let families: Vec<usize> = began_in(input, case).map(|touch| touch.subject).collect();
        if families.is_empty() {
            unexplained += case.count;
            continue;
        }
        let deepest = began_in(input, case).map(|touch| touch.depth).max();
        for touch in began_in(input, case) {
            let likely = if Some(touch.depth) == deepest {
                1.0
            } else {
                NEARER
            };
            *explained.entry(touch.subject).or_default() += likely * case.count as f64;
        }
        candidates.push((index, case.count, families));
    }
    let mut by_case = BTreeMap::new();
    for _ in 0..ROUNDS {
        let weights: BTreeMap<usize, f64> = explained
            .iter()
            .map(|(family, weight)| (*family, weight * lift(tally, *family, choices)))
            .collect();
        explained.values_mut().for_each(|weight| *weight = 0.0);
        for (index, count, families) in &candidates {
            let sum: f64 = families.iter().map(|family| weights[family]).sum();
            let parts: Vec<(usize, f64)> = families
                .iter()
                .map(|family| {
                    let part = if sum > 0.0 {
                        weights[family] / sum
                    } else {
                        1.0 / families.len() as f64
                    };
                    (*family, part)
                })
                .collect();
            for (family, part) in &parts {
                *explained.entry(*family).or_default() += part * *count as f64;
            }
            by_case.insert(*index, parts);
        }
    }
    Shares {
        explained,
        by_case,
        unexplained,
    }
}
