//! The default: where did the failures begin, and at which level is that most specific?
//!
//! 1. *Origin.* In each failed request, failures began in some services or dependencies (raised, or
//!    never answered, or slow). Where several did, the request is shared among them, more to those
//!    that explain more of the other requests: expectation maximization of a mixture, which explains
//!    one fault away before it ranks the next (Dempster, Laird and Rubin 1977; `default/shares.rs`).
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
mod shares;
mod specific;
#[cfg(test)]
mod tests;

pub use choice::Choice;
pub(crate) use choice::Choices;
pub(crate) use shares::Shares;

use super::Ground;
use super::evidence::{Charge, Tally, dress};
use super::input::{Case, Input, InputTouch};
use crate::{Level, Suspect};

/// Requests that speak for "none of these" before any is seen.
const NONE_OF_THESE: f64 = 1.0;
/// Suspects below one in a hundred are noise on a page that people act on.
const WORTH_NAMING: f64 = 0.01;

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
    let shares = Shares::of(input, tally, choices);
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
    let now = tally.began_now(subject);
    if now.hits == 0 {
        return 0.0;
    }
    if !choices.has(Choice::Baseline) {
        return 1.0;
    }
    (1.0 - tally.baseline_origin_share(subject) / now.interval.share).max(0.0)
}

/// The services and dependencies in which failures of these requests began.
fn began_in<'a>(input: &'a Input, case: &Case) -> impl Iterator<Item = &'a InputTouch> + 'a {
    let touches = input.rows[case.row].touches.iter();
    touches.filter(|touch| {
        let level = input.subjects[touch.subject].component.level;
        touch.state.is_origin() && matches!(level, Level::Service | Level::Dependency)
    })
}
