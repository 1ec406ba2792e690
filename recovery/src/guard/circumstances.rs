//! Is something else going on that a restart doesn't help, or makes worse?
//!
//! Overload looks like a sick component, and a cold one serves less. A fault in what a unit depends on
//! looks like its own. A rollout replaces what is being judged. A sampler that keeps failures and throws
//! successes away makes everything look sick. What the driver could tell of these comes as plain
//! evidence ([`crate::Circumstances`]).

use std::time::{Duration, SystemTime};

use super::{Authority, Consequence, Deed, Guard, Refusal, World, no};
use crate::{Changed, Circumstances, Evidence};

/// A load below this many requests per second is no overload of anything, however unusual.
const LEAST_LOAD: f64 = 1.0;

/// What was renewed so often in one stretch may be a crash loop as well as a rollout: waiting for its end
/// might be for ever, so a person is asked.
const MAX_RENEWALS: u32 = 3;

/// What goes on is asked for again after so long at the latest.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Refusals that nothing but time or a person stands in for: who approves can see the rollout.
pub(super) fn check(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    deed.evidence
        .filter(|_| deed.authority != Authority::Approved)
        .and_then(|evidence| rollout(deed, &evidence.circumstances, world, now))
        .into_iter()
        .collect()
}

/// Refusals that a person's approval stands in for.
pub(super) fn doubts(deed: &Deed<'_>, evidence: &Evidence, world: &World<'_>) -> Vec<Refusal> {
    let found = [
        overload(evidence, world),
        downstream(deed, evidence, world),
        sampled(evidence),
    ];
    let ask = |(guard, words)| no(guard, Consequence::Ask, None, words);
    found.into_iter().flatten().map(ask).collect()
}

/// Somebody else restarts it: both would be judged as one, and capacity would be counted twice.
fn rollout(
    deed: &Deed<'_>,
    circumstances: &Circumstances,
    world: &World<'_>,
    now: SystemTime,
) -> Option<Refusal> {
    let quiet = world.policy.rollout_quiet;
    // What goes on is told anew with each look; nobody knows before when it is over.
    let over = |change: &Changed| match change.goes_on {
        true => now.checked_add(quiet.max(LOOKED_AT_EVERY)),
        false => change.at.checked_add(quiet),
    };
    let changes = circumstances.changes.iter();
    let (change, until) = changes
        .filter(|(unit, _)| world.tree.overlap(unit, deed.target))
        .map(|(_, change)| change)
        .chain(&circumstances.unplaced)
        .filter_map(|change| Some((change, over(change)?)))
        .max_by_key(|(_, until)| *until)?;
    if until <= now {
        return None;
    }
    let ago = now.duration_since(change.at).unwrap_or_default().as_secs();
    let what = &change.what;
    if change.renewals >= MAX_RENEWALS {
        let words = format!(
            "{what} {ago} s ago, and not by Rekindle, after {} others in a row: that is a long rollout, or \
             something that crashes again and again",
            change.renewals
        );
        return Some(no(Guard::Rollout, Consequence::Ask, Some(until), words));
    }
    let words = format!(
        "{what} {ago} s ago, and not by Rekindle: a rollout or scaling is under way, which has to end first"
    );
    Some(no(Guard::Rollout, Consequence::Wait, Some(until), words))
}

/// Slow or silent under far more requests than usual: what is left of the capacity is what users need.
/// (What raises an error or gives wrong answers under load is sick all the same.)
fn overload(evidence: &Evidence, world: &World<'_>) -> Option<(Guard, String)> {
    let load = evidence.circumstances.load?;
    let is_shape = matches!(evidence.signature.shape.as_str(), "slow" | "unanswered");
    let limit = world.policy.overload * load.usual;
    if !is_shape || load.now < LEAST_LOAD || load.now <= limit {
        return None;
    }
    let words = format!(
        "{:.0} such requests come per second where {:.0} are usual: that looks like overload, which \
         restarts make worse",
        load.now, load.usual
    );
    Some((Guard::Overload, words))
}

/// The likelier culprit is something that the unit depends on, and that nothing here can restart.
fn downstream(deed: &Deed<'_>, evidence: &Evidence, world: &World<'_>) -> Option<(Guard, String)> {
    let outside = evidence.circumstances.outside.as_ref()?;
    let inside: f64 = evidence
        .suspects
        .iter()
        .filter(|suspect| evidence.accuses(suspect, deed.target, world.tree))
        .map(|suspect| suspect.probability)
        .sum();
    if inside > outside.probability {
        return None;
    }
    let words = format!(
        "{} is as likely at fault ({:.0} %), and no unit of the restart tree owns it",
        outside.name,
        100.0 * outside.probability
    );
    Some((Guard::Downstream, words))
}

/// A share of failures that nobody knows decides nothing; what the operating system or a probe says does.
fn sampled(evidence: &Evidence) -> Option<(Guard, String)> {
    (evidence.circumstances.sampled && !evidence.signature.is_seen_directly()).then(|| {
        let words =
            "successful requests are sampled away before they are told, so the share that fails \
                     is unknown; a probe or a report would say more"
                .to_owned();
        (Guard::Sampled, words)
    })
}
