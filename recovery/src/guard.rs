//! May it be restarted now?
//!
//! Pure questions to everything that could make a restart a mistake. All guards are asked, and all
//! refusals are told, so that a person sees the whole of it. A guard that can't tell says no.
//!
//! What a refusal means depends on who wants the restart. Unattended, everything counts. A person's
//! approval stands in for certainty (evidence, mode, pause), not for safety. A person's order is
//! refused only where it could break something that the person can't know: a restart of an
//! overlapping subtree in flight, or a ledger that couldn't remember it.

mod budget;
pub mod calendar;
pub mod capacity;
mod circumstances;
mod comings;
mod history;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::comings::Comings;
pub use self::standing::Standing;
use crate::clock::Shift;
use crate::judge::Verdict;
use crate::policy::Policy;
use crate::service::RecoveryId;
use crate::{Evidence, FaultSignature, Mode, RestartTree, UnitName};

/// What is unsure may be sure so soon after the first failures: a default exporter's delay, in which more of them comes to be
/// known each moment. A plan that runs unattended a moment after a person was told that it waits teaches people not to come;
/// and a group that is restarted as a whole for its first failures may have had one sick member.
const UNSURE: Duration = Duration::from_secs(5);

/// For how long what is unsure may yet be sure, where exporters are late by so much.
pub(crate) fn unsure_for(policy: &Policy) -> Duration {
    UNSURE.max(policy.exporter_delay)
}

/// The rules that can veto or delay an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The unit's mode doesn't go so far.
    Mode,
    /// A person has paused recovery.
    Pause,
    /// Another recovery holds a subtree that overlaps.
    Overlap,
    /// The unit was restarted too often in the period.
    UnitBudget,
    /// Too many restarts in the period.
    TreeBudget,
    /// Restarts have failed too many users' requests in the period.
    RequestBudget,
    /// The unit was restarted a moment ago.
    Backoff,
    /// The evidence is older than what was last done to the unit, or simply old.
    StaleEvidence,
    /// Only one source accuses the unit.
    OneSided,
    /// No suspect is likely enough.
    ThinEvidence,
    /// Too many units are sick at once.
    Storm,
    /// It was told of a moment ago, and what else is wrong may not have been told yet.
    Untold,
    /// The same fault was cured here again and again.
    Recurring,
    /// Restarts have never cured this fault here.
    Immune,
    /// Too few would be left that serve.
    Capacity,
    /// A unit that contains the target, or goes with it, has spent a budget of its own.
    SubtreeBudget,
    /// It isn't an hour for unattended restarts.
    Window,
    /// Far more requests come than usual.
    Overload,
    /// The likelier culprit is something that no unit owns.
    Downstream,
    /// Somebody else is changing the unit.
    Rollout,
    /// Whoever keeps the unit alive has not said yet what speaks against it.
    Unasked,
    /// Successes are sampled away, so shares of failures are unknown.
    Sampled,
    /// The ledger can't be written.
    Ledger,
    /// No executor can restart it.
    NoExecutor,
    /// Something else is sick or being restarted, and what only prevents can wait.
    Unrest,
}

/// What a refusal means for the recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// Not without a person's approval.
    Ask,
    /// Not yet.
    Wait,
    /// Not as long as this lasts, which may be long: a person is told.
    HoldOff,
    /// Not at all: a person must look.
    GiveUp,
}

/// A guard that said no.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    pub guard: Guard,
    /// And so what.
    pub consequence: Consequence,
    /// Why, for people.
    pub words: String,
    /// When it will say otherwise, where it can tell.
    pub until: Option<SystemTime>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// A person's stop to everything unattended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub reason: String,
    /// Who said so; empty where a ledger from before it was asked doesn't say.
    #[serde(default)]
    pub by: String,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None` until somebody resumes.
    pub until: Option<SystemTime>,
}

impl Pause {
    /// Whether it holds.
    pub fn holds(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The wall's clock was set: it goes on for as long as it would have.
    pub(crate) fn shift(&mut self, shift: Shift) {
        shift.apply(&mut self.since);
        self.until.iter_mut().for_each(|at| shift.apply(at));
    }
}

/// Who wants a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Nobody watches.
    Unattended,
    /// Nobody watches, and nothing is wrong yet.
    Preventive,
    /// A person has approved a plan.
    Approved,
    /// A person has ordered it.
    Ordered,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// The recovery that wants it; `None` for one that has no number yet.
    pub recovery: Option<RecoveryId>,
    /// The unit.
    pub target: &'a UnitName,
    /// Who wants it.
    pub authority: Authority,
    /// On what grounds; `None` for an order.
    pub evidence: Option<&'a Evidence>,
    /// When its incident was first told of; `None` where there is none, and where all that is wrong by then is known.
    pub told_at: Option<SystemTime>,
    /// What it is expected to cost, in failed user requests.
    pub expected_cost: f64,
}

/// A subtree that is reserved for a recovery.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Whose it is.
    pub recovery: RecoveryId,
    /// The top of the subtree.
    pub target: UnitName,
    /// Until when, whatever happens: nobody may hold a subtree for ever.
    pub until: SystemTime,
}

/// Something that was done. All actions of the longest period that any guard looks at must be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The recovery.
    pub recovery: RecoveryId,
    /// The unit that was decided on.
    pub target: UnitName,
    /// How many executors were called for it and did not refuse: a refusal is no restart.
    pub restarts: u32,
    /// Whether a person ordered or approved it.
    pub by_person: bool,
    /// When the intent was written.
    pub at: SystemTime,
    /// When the unit was ready again, where known.
    pub ready_at: Option<SystemTime>,
    /// What it cost in failed user requests: measured, or expected as long as it isn't.
    pub failed_requests: f64,
    /// The fault; `None` for an order.
    pub signature: Option<FaultSignature>,
    /// The verdict, if there is one.
    pub verdict: Option<Verdict>,
}

/// A unit that doesn't serve as it should, as far as one incident tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Down {
    /// The unit.
    pub unit: UnitName,
    /// How likely the fault lies in it, 0 to 1.
    pub probability: f64,
    /// When the incident began.
    pub since: SystemTime,
    /// Whether that was seen directly, instead of told by requests that fail.
    pub is_seen: bool,
}

/// The world as far as guards look.
pub struct World<'a> {
    /// The units.
    pub tree: &'a RestartTree,
    /// The limits.
    pub policy: &'a Policy,
    /// A person's stop.
    pub pause: Option<&'a Pause>,
    /// What is reserved.
    pub leases: &'a [Lease],
    /// What was done.
    pub past: &'a [Past],
    /// The units that are sick at present: each open incident's likeliest.
    pub sick: &'a BTreeSet<UnitName>,
    /// Since when so many are sick at once that it is a storm.
    pub storm_since: Option<SystemTime>,
    /// The units that don't serve as they should: [`Self::sick`], and those that were given up on and
    /// whose incident goes on. One for each incident, so a unit may be there several times.
    pub down: &'a [Down],
    /// Why the ledger can't be written.
    pub ledger_failure: Option<&'a str>,
    /// What is known of those that come and go.
    pub comings: &'a Comings,
    /// What those that keep units alive say of them; without an entry there is nobody to ask.
    pub standing: &'a BTreeMap<UnitName, Standing>,
    /// The units that somebody can restart by themselves.
    pub executors: &'a BTreeSet<UnitName>,
}

impl World<'_> {
    /// A recovery that is at work.
    fn at_work(&self, now: SystemTime) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.until > now)
    }

    /// Whether so many are sick at once that a shared cause is likelier than so many faults.
    pub(crate) fn storms(&self) -> bool {
        self.sick_branches() >= self.policy.storm_units
    }

    /// Whether the storm is of the kind that doesn't pass by waiting: those that wait for its end may be what it is made
    /// of. So after as long as a plan waits for an answer, people are asked, and may have each restarted.
    fn storm_lasts(&self, now: SystemTime) -> bool {
        let lasted = self.storm_since.map(|since| now.duration_since(since));
        lasted.is_some_and(|lasted| lasted.is_ok_and(|it| it >= self.policy.approval_expiry))
    }

    /// How many branches below the root are sick, or 1 where one unit other than the root contains
    /// all that is.
    fn sick_branches(&self) -> usize {
        let root = self.tree.root();
        if self.sick.len() < 2 || self.tree.common_ancestor(self.sick) != root {
            return self.sick.len().min(1);
        }
        let branches: BTreeSet<&UnitName> = self
            .sick
            .iter()
            .filter_map(|unit| {
                let chain = self.tree.chain(unit);
                chain.iter().rev().nth(1).or(chain.last()).copied()
            })
            .collect();
        branches.len()
    }
}

/// Asks all guards. Empty means yes.
pub fn check(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = safety(deed, world, now);
    if deed.authority != Authority::Ordered {
        refusals.extend(measure(deed, world, now));
    }
    match deed.authority {
        Authority::Unattended => {
            refusals.extend(leave(deed, world, now));
            refusals.extend(untold(deed, world, now));
            refusals.extend(certainty(deed, world));
        }
        Authority::Preventive => {
            refusals.extend(leave(deed, world, now));
            refusals.extend(unrest(world, now));
        }
        Authority::Approved | Authority::Ordered => {}
    }
    refusals
}

fn no(guard: Guard, consequence: Consequence, until: Option<SystemTime>, words: String) -> Refusal {
    Refusal {
        guard,
        consequence,
        words,
        until,
    }
}

/// What not even a person may overrule.
fn safety(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let target = deed.target;
    for lease in world.leases {
        let ours = Some(lease.recovery) == deed.recovery;
        if !ours && lease.until > now && world.tree.overlap(&lease.target, target) {
            let words = format!(
                "recovery {} is at work on {}, which overlaps {target}",
                lease.recovery, lease.target
            );
            refusals.push(no(
                Guard::Overlap,
                Consequence::Wait,
                Some(lease.until),
                words,
            ));
        }
    }
    if let Some(reason) = world.ledger_failure {
        let words =
            format!("the ledger can't be written, and nothing is done unrecorded: {reason}");
        refusals.push(no(Guard::Ledger, Consequence::Wait, None, words));
    }
    let restarts = world.tree.restarts(target);
    let missing: Vec<&str> = restarts
        .iter()
        .filter(|unit| !world.executors.contains(**unit))
        .map(|unit| unit.as_str())
        .collect();
    if restarts.is_empty() {
        let words = format!("there is nothing that could restart {target}");
        refusals.push(no(Guard::NoExecutor, Consequence::GiveUp, None, words));
    } else if !missing.is_empty() {
        let words = format!("there is no executor for {}", missing.join(", "));
        refusals.push(no(Guard::NoExecutor, Consequence::GiveUp, None, words));
    }
    refusals
}

/// What a person who approves a plan may have missed.
fn measure(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = budget::check(deed, world, now);
    refusals.extend(capacity::check(deed, world, now));
    refusals.extend(history::check(deed, world, now));
    refusals.extend(circumstances::check(deed, world, now));
    refusals.extend(standing::check(deed, world, now));
    if world.storms() && !(world.storm_lasts(now) && deed.authority == Authority::Approved) {
        let names: Vec<&str> = world.sick.iter().map(UnitName::as_str).collect();
        let words = format!(
            "{} parts of the system are sick at once ({}): that looks like a shared cause or overload, which restarts \
             make worse",
            world.sick_branches(),
            names.join(", ")
        );
        // Where some are under cure it passes, and then each of them is what it was: one that may be cured. Where none is,
        // nobody knows that it does, and who can make up incidents could hold up all that is real.
        let consequence = match (world.storm_lasts(now), world.at_work(now).is_some()) {
            (true, _) => Consequence::Ask,
            (false, true) => Consequence::Wait,
            (false, false) => Consequence::HoldOff,
        };
        refusals.push(no(Guard::Storm, consequence, None, words));
    }
    refusals
}

/// Whether people let it happen without them.
fn leave(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let (target, tree) = (deed.target, world.tree);
    // What is below is restarted too, so the strictest mode counts.
    let strictest = tree
        .subtree(target)
        .into_iter()
        .map(|unit| (tree.mode(unit), unit))
        .min_by_key(|(mode, _)| *mode);
    match strictest {
        Some((Mode::Auto, _)) => {}
        Some((Mode::Propose, unit)) => {
            let words = format!("{unit} is in mode propose");
            refusals.push(no(Guard::Mode, Consequence::Ask, None, words));
        }
        Some((Mode::Observe, unit)) => {
            let words = format!("{unit} is in mode observe");
            refusals.push(no(Guard::Mode, Consequence::Wait, None, words));
        }
        None => {
            let words = format!("there is no unit {target}");
            refusals.push(no(Guard::Mode, Consequence::GiveUp, None, words));
        }
    }
    if let Some(pause) = world.pause.filter(|pause| pause.holds(now)) {
        let words = format!("paused: {}", pause.reason);
        // A person may approve meanwhile what would be done.
        refusals.push(no(Guard::Pause, Consequence::Ask, pause.until, words));
    }
    if let Some((words, until)) = world.policy.calendar.refuses(now) {
        refusals.push(no(Guard::Window, Consequence::Ask, until, words));
    }
    refusals
}

/// What falls sick together is told one after the other: the first must not be restarted before the storm brake has heard of
/// the last.
fn untold(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Option<Refusal> {
    let known = deed.told_at?.checked_add(world.policy.gathering)?;
    let words = format!(
        "{} was accused a moment ago, and what fell sick with it may be told next",
        deed.target
    );
    (now < known).then(|| no(Guard::Untold, Consequence::Wait, Some(known), words))
}

/// What only prevents takes no chances: a restart now would cost users more, and hide what is wrong.
fn unrest(world: &World<'_>, now: SystemTime) -> Option<Refusal> {
    let at_work = world.at_work(now);
    let words = match (at_work, world.down.first()) {
        (Some(lease), _) => format!("{} is being restarted", lease.target),
        (None, Some(sick)) if world.sick.contains(&sick.unit) => {
            format!("{} is suspected", sick.unit)
        }
        (None, Some(down)) => format!("{} was given up on, and isn't well yet", down.unit),
        (None, None) => return None,
    };
    let words = format!("{words}, and a preventive restart can wait");
    Some(no(Guard::Unrest, Consequence::Wait, None, words))
}

/// How likely the fault lies in the unit, by all that accuse it, and by what two sources say.
fn accused(evidence: &Evidence, target: &UnitName, tree: &RestartTree) -> (f64, f64) {
    let inside = || {
        evidence
            .suspects
            .iter()
            .filter(|suspect| evidence.accuses(suspect, target, tree))
    };
    let likely = inside().map(|suspect| suspect.probability).sum();
    let two_sided = inside()
        .filter(|suspect| suspect.two_sided)
        .map(|suspect| suspect.probability)
        .sum();
    (likely, two_sided)
}

/// Whether what accuses the unit suffices to restart it without a person, whatever else speaks against that.
pub fn is_certain(
    evidence: &Evidence,
    target: &UnitName,
    tree: &RestartTree,
    policy: &Policy,
) -> bool {
    let (_, two_sided) = accused(evidence, target, tree);
    is_enough(two_sided, policy)
}

/// Whether so likely a fault may be acted on unattended; what is no number may not.
fn is_enough(probability: f64, policy: &Policy) -> bool {
    probability >= policy.auto_probability
}

/// What a person's approval stands in for.
fn certainty(deed: &Deed<'_>, world: &World<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let (target, tree) = (deed.target, world.tree);
    let Some(evidence) = deed.evidence else {
        let words = format!("nothing speaks against {target}");
        refusals.push(no(Guard::ThinEvidence, Consequence::Ask, None, words));
        return refusals;
    };
    let (likely, two_sided) = accused(evidence, target, tree);
    let needed = world.policy.auto_probability;
    let percent = |share: f64| (100.0 * share).round();
    if !is_enough(likely, world.policy) {
        let words = format!(
            "the fault lies in {target} with {} % only; {} % are needed to act unattended",
            percent(likely),
            percent(needed)
        );
        refusals.push(no(Guard::ThinEvidence, Consequence::Ask, None, words));
    } else if !is_enough(two_sided, world.policy) {
        let words = format!(
            "only one source accuses {target}; to act unattended it takes two callers, or a caller \
             and a probe"
        );
        refusals.push(no(Guard::OneSided, Consequence::Ask, None, words));
    }
    refusals.extend(beyond_the_fault(evidence, target, tree));
    refusals.extend(circumstances::doubts(deed, evidence, world));
    refusals
}

/// A unit's own fault (it exits, outgrows its memory, is silent) that fails no request is no reason to restart
/// others: they can't be the fault's cause as far as anybody knows, and so far nobody is harmed.
fn beyond_the_fault(evidence: &Evidence, target: &UnitName, tree: &RestartTree) -> Option<Refusal> {
    let is_accused_itself = evidence.suspects.iter().any(|it| it.unit == *target);
    if is_accused_itself || !evidence.signature.request_types.is_empty() {
        return None;
    }
    let is_accused = |unit: &UnitName| {
        let mut suspects = evidence.suspects.iter();
        suspects.any(|it| tree.overlap(unit, &it.unit) || evidence.accuses(it, unit, tree))
    };
    let restarts = tree.restarts(target);
    let well: Vec<&str> = restarts
        .iter()
        .filter(|unit| !is_accused(unit))
        .map(|unit| unit.as_str())
        .collect();
    let words = format!(
        "no request fails, and nothing is known against {}, which {target} would take along",
        well.join(", ")
    );
    (!well.is_empty()).then(|| no(Guard::ThinEvidence, Consequence::Ask, None, words))
}

#[cfg(test)]
mod tests;
