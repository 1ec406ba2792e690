//! Does what was done before speak against doing it again?
//!
//! Three answers. Evidence from before the last restart accuses a life that is over. A fault that is
//! cured again and again has its cause elsewhere, and each cure hides it. A fault that restarts never
//! cured is immune to them: the next one costs users something, and gives them nothing.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{Consequence, Deed, Guard, Past, Refusal, World, no};
use crate::judge::Verdict;
use crate::service::RecoveryId;
use crate::{Evidence, FaultSignature, UnitName};

/// Whether it was against the same fault, as far as a cure is concerned: request types come and go while an
/// incident grows.
fn is_of(past: &Past, fault: &FaultSignature) -> bool {
    let of = past.signature.as_ref();
    of.is_some_and(|of| of.shape == fault.shape && of.error_type == fault.error_type)
}

pub(super) fn check(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let Some(evidence) = deed.evidence else {
        return Vec::new();
    };
    let found = [
        stale(deed, evidence, world, now),
        recurring(deed, evidence, world, now),
        immune(deed, evidence, world, now),
    ];
    found.into_iter().flatten().collect()
}

fn stale(
    deed: &Deed<'_>,
    evidence: &Evidence,
    world: &World<'_>,
    now: SystemTime,
) -> Option<Refusal> {
    let policy = world.policy;
    let wait = |words| Some(no(Guard::StaleEvidence, Consequence::Wait, None, words));
    let age = now.duration_since(evidence.at).unwrap_or_default();
    if age > policy.evidence_expiry {
        return wait(format!("the evidence is {} s old", age.as_secs()));
    }
    // Clocks differ a little; from further ahead nobody knows how old it is.
    let ahead = evidence.at.duration_since(now).unwrap_or_default();
    if ahead > policy.evidence_expiry {
        return wait(format!(
            "the evidence is from {} s in the future, so its age can't be told",
            ahead.as_secs()
        ));
    }
    let after = policy.warm_up + policy.exporter_delay;
    let done = world
        .in_period(policy.budget_period, now)
        .filter(|past| {
            world.tree.overlap(&past.target, deed.target) || world.succeeds(deed.target, past)
        })
        .max_by_key(|past| past.ready_at.unwrap_or(past.at))?;
    let fresh_from = done.ready_at.unwrap_or(done.at).checked_add(after)?;
    if evidence.at < fresh_from {
        return wait(format!(
            "the evidence is from before the restart of {}",
            done.target
        ));
    }
    None
}

impl World<'_> {
    /// How often restarting this unit, or what it stands for now, cured this fault in
    /// [`crate::Policy::recurring_period`].
    pub fn cures(&self, unit: &UnitName, signature: &FaultSignature, now: SystemTime) -> usize {
        self.in_period(self.policy.recurring_period, now)
            .filter(|past| self.is_past_of(past, unit))
            .filter(|past| past.verdict == Some(Verdict::Cured))
            .filter(|past| is_of(past, signature))
            .count()
    }
}

fn recurring(
    deed: &Deed<'_>,
    evidence: &Evidence,
    world: &World<'_>,
    now: SystemTime,
) -> Option<Refusal> {
    let (policy, target) = (world.policy, deed.target);
    let cured = world.cures(target, &evidence.signature, now);
    if cured < policy.recurring_cures as usize {
        return None;
    }
    let minutes = policy.recurring_period.as_secs() / 60;
    let words = format!(
        "restarting {target} cured this {cured} times in {minutes} min, and it came back \
         each time: its cause is elsewhere"
    );
    Some(no(Guard::Recurring, Consequence::GiveUp, None, words))
}

/// Restarts that are told of in a refusal; of more, how many there are.
const SHOWN: usize = 4;

/// Whether this fault, in what would be restarted, was never cured by any restart. A recovery that ended
/// with a cure says nothing against restarts, whatever it tried first: its suspect was the wrong one.
/// What was done before the software changed says nothing either.
fn immune(
    deed: &Deed<'_>,
    evidence: &Evidence,
    world: &World<'_>,
    now: SystemTime,
) -> Option<Refusal> {
    let (policy, target) = (world.policy, deed.target);
    let renewed = evidence
        .circumstances
        .changes
        .iter()
        .filter(|(unit, change)| change.is_version && world.tree.overlap(unit, target))
        .map(|(_, change)| change.at)
        .max();
    let mut recoveries: BTreeMap<RecoveryId, Vec<&Past>> = BTreeMap::new();
    let same = world
        .in_period(policy.immune_period, now)
        .filter(|past| renewed.is_none_or(|renewed| past.at > renewed))
        .filter(|past| is_of(past, &evidence.signature));
    for past in same {
        recoveries.entry(past.recovery).or_default().push(past);
    }
    let helped = |past: &&Past| matches!(past.verdict, Some(Verdict::Cured | Verdict::Helped));
    let mut in_vain: Vec<&Past> = Vec::new();
    for tried in recoveries.values() {
        let cured = tried.iter().find(|past| helped(past));
        match cured {
            // Something here helped: then restarts do.
            Some(past) if speaks_for(past, target, world) => return None,
            Some(_) => {}
            None => in_vain.extend(tried.iter().filter(|past| {
                // A part that didn't cure says nothing against the whole.
                past.verdict == Some(Verdict::NotCured)
                    && (world.tree.contains(&past.target, target) || world.succeeds(target, past))
            })),
        }
    }
    if in_vain.len() < policy.immune_after as usize {
        return None;
    }
    let mut shown: Vec<String> = in_vain
        .iter()
        .rev()
        .take(SHOWN)
        .map(|past| {
            let ago = now.duration_since(past.at).unwrap_or_default();
            format!("{} {} ago", past.target, roughly(ago.as_secs()))
        })
        .collect();
    if in_vain.len() > SHOWN {
        shown.push(format!("{} more before", in_vain.len() - SHOWN));
    }
    let words = format!(
        "restarts have never cured this fault in {target}: not cured {} times ({})",
        in_vain.len(),
        shown.join(", ")
    );
    Some(no(Guard::Immune, Consequence::GiveUp, None, words))
}

/// Whether that this helped says that restarts of the target may. What has gone speaks for what may stand in its place
/// and for what contains that, and not for all that once stood beside it.
fn speaks_for(past: &Past, target: &UnitName, world: &World<'_>) -> bool {
    let tree = world.tree;
    let overlaps = match tree.spec(&past.target) {
        Some(_) => tree.overlap(&past.target, target),
        None => tree
            .grown_below(&past.target)
            .is_some_and(|above| tree.contains(target, above)),
    };
    overlaps || world.succeeds(target, past)
}

fn roughly(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
