//! What to restart first?
//!
//! Every suspect's unit and all that contain it are candidates, and so are waiting and calling a
//! person. Each is priced in failed user requests: those in flight when the unit is killed, those
//! that come while it is away, those that fail until it is clear that it didn't help, and what the
//! best of the rest then costs. The cheapest wins; [`ladder`] finds it exactly. Now and then something
//! else is tried to learn ([`explore`]).
//!
//! Pure: the same evidence, beliefs, costs and time give the same plan, with the same words.

mod candidates;
mod explore;
mod ladder;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use self::candidates::candidates;
use self::ladder::{Action, Hypothesis};
use crate::belief::{Beliefs, Trial};
use crate::cost::{Costs, Price};
use crate::evidence::EXITED;
use crate::policy::Policy;
use crate::tree::{Cover, Covers};
use crate::{Evidence, RestartTree, UnitName};

/// A plan's number in the ledger: what a person approves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PlanId(pub u64);

impl std::fmt::Display for PlanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// What can be done next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Restart this unit, and with it all below it.
    Restart(UnitName),
    /// Nothing yet: it may go by itself.
    Wait,
    /// Nothing: call a person.
    Human,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Restart(unit) => write!(f, "restart {unit}"),
            Self::Wait => f.write_str("wait"),
            Self::Human => f.write_str("call a person"),
        }
    }
}

/// One thing that could have been done first, and what it would have come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What.
    pub choice: Choice,
    /// Whether it is what the plan does first.
    pub chosen: bool,
    /// How likely it ends the failures, in `[0, 1]`.
    pub probability: f64,
    /// How long it takes.
    pub takes: Duration,
    /// What it costs by itself, in failed user requests.
    pub cost: f64,
    /// Between what that lies nine times of ten, of a restart.
    #[serde(default)]
    pub cost_usually: Option<(f64, f64)>,
    /// What confirming costs if it doesn't help, in failed user requests.
    pub confirming: f64,
    /// What it comes to if the best follows, in failed user requests.
    pub expected_total: f64,
    /// The best that follows while nothing helps, itself first.
    pub ladder: Vec<Choice>,
    /// Why it was taken, or not.
    pub reason: String,
}

/// What recovery would do about an incident, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its number; 0 until the ledger has given one.
    pub id: PlanId,
    /// The incident; `None` for a restart that a person ordered.
    pub incident: Option<u64>,
    /// When it was made.
    pub at: SystemTime,
    /// When its evidence was established.
    pub evidence_at: SystemTime,
    /// What is done first.
    pub choice: Choice,
    /// The units whose executors are called for it, in this order.
    pub restarts: Vec<UnitName>,
    /// What is done as long as nothing helps, [`Self::choice`] first.
    pub ladder: Vec<Choice>,
    /// What the ladder is expected to come to, in failed user requests.
    pub expected_total: f64,
    /// Everything that was considered: what is done, then the cheapest first.
    pub candidates: Vec<Candidate>,
    /// The plan in a sentence.
    pub sentence: String,
}

impl Plan {
    /// What the first step costs by itself, in failed user requests.
    pub fn cost(&self) -> f64 {
        let first = self.candidates.first();
        first.map_or(0.0, |candidate| candidate.cost)
    }

    /// Keeps to another choice than the cheapest, if that is not cheaper by more than this part.
    pub fn stay_with(&mut self, choice: &Choice, part: f64, tree: &RestartTree) {
        let best = self.expected_total;
        let Some(at) = self.candidates.iter().position(|candidate| {
            candidate.choice == *choice && candidate.expected_total <= best * (1.0 + part)
        }) else {
            return;
        };
        if at == 0 {
            return;
        }
        self.candidates[..=at].rotate_right(1);
        for (place, candidate) in self.candidates.iter_mut().enumerate() {
            candidate.chosen = place == 0;
            let reason = match place {
                0 => format!(
                    "kept to, since nothing is much cheaper: {}",
                    candidate.reason
                ),
                _ if place <= at => format!(
                    "{}; not so much that a change of mind pays",
                    candidate.reason
                ),
                _ => continue,
            };
            candidate.reason = reason;
        }
        let candidate = &self.candidates[0];
        self.choice = candidate.choice.clone();
        self.restarts = restarts(tree, choice);
        self.ladder.clone_from(&candidate.ladder);
        self.expected_total = candidate.expected_total;
        self.sentence = sentence(candidate, false);
    }
}

/// The units whose executors are called for a choice.
fn restarts(tree: &RestartTree, choice: &Choice) -> Vec<UnitName> {
    match choice {
        Choice::Restart(unit) => tree.restarts(unit).into_iter().cloned().collect(),
        Choice::Wait | Choice::Human => Vec::new(),
    }
}

/// What limits a plan besides evidence and beliefs.
#[derive(Clone, Copy, Debug)]
pub struct Constraints<'a> {
    /// Waits and prices.
    pub policy: &'a Policy,
    /// How long restarts take.
    pub costs: &'a Costs,
    /// What was tried in this recovery, and how much it helped.
    pub trials: &'a [Trial],
    /// Whether this recovery has waited already.
    pub waited: bool,
    /// Units that can't be restarted: their executor refused, or is missing. That says nothing
    /// about what their restart would cure.
    pub excluded: &'a BTreeSet<UnitName>,
}

/// An incident that costs (almost) nobody anything is planned for as if it cost one request in ten
/// seconds, or every choice would be as good as any other.
const LEAST_FAILING_PER_SECOND: f64 = 0.1;
/// How many failures it takes to say that an action didn't help: see [`crate::judge`].
const FAILURES_TO_CONFIRM: f64 = 7.0;
/// From this chance on the accused unit itself comes before what contains it: more likely than not it is
/// enough.
const LIKELY: f64 = 0.5;
/// … unless what contains it saves more failed requests than this. Where traffic is thin, all prices are a
/// few requests, most of them supposed: of confirming, which is as long for any restart. Less than it takes
/// to notice that a restart failed is no reason to take healthy units away.
const WORTH_MORE_UNITS: f64 = FAILURES_TO_CONFIRM;

/// Users' requests per second that a unit's absence fails: those that pass through it, and those
/// that fail anyway, which are believed to be among them.
pub fn traffic(evidence: &Evidence, tree: &RestartTree, unit: &UnitName) -> f64 {
    let told = |unit: &UnitName| evidence.traffic.get(unit).copied();
    let parts = || {
        tree.subtree(unit)
            .into_iter()
            .filter_map(told)
            .fold(0.0, f64::max)
    };
    told(unit)
        .unwrap_or_else(parts)
        .max(evidence.failing_per_second)
}

/// What the restart of a unit costs by itself.
pub fn price(
    evidence: &Evidence,
    tree: &RestartTree,
    unit: &UnitName,
    constraints: &Constraints<'_>,
    now: SystemTime,
) -> Price {
    let rate = traffic(evidence, tree, unit).max(LEAST_FAILING_PER_SECOND);
    let in_flight = constraints.policy.in_flight;
    constraints.costs.price(tree, unit, rate, in_flight, now)
}

/// Users' requests per second that the fault fails.
fn failing(evidence: &Evidence) -> f64 {
    let mut failing = evidence.failing_per_second.max(LEAST_FAILING_PER_SECOND);
    // What has exited answers nobody, whether or not anybody has told of it yet.
    if evidence.signature.shape == EXITED {
        for suspect in &evidence.suspects {
            let rate = evidence.traffic.get(&suspect.unit).copied().unwrap_or(0.0);
            failing = failing.max(rate);
        }
    }
    failing
}

/// The candidate to prefer to the first, if any: the accused unit itself, where the fault was seen directly
/// in it and what contains it is hardly cheaper.
fn smallest(candidates: &[Candidate], evidence: &Evidence, tree: &RestartTree) -> Option<usize> {
    let best = candidates.first()?;
    let Choice::Restart(large) = &best.choice else {
        return None;
    };
    // A unit's own word, or its silence, is no proof, but of nobody else either.
    let is_of_the_unit =
        evidence.signature.is_seen_directly() || evidence.signature.shape == "reported";
    if !is_of_the_unit {
        return None;
    }
    candidates.iter().position(|other| {
        let Choice::Restart(small) = &other.choice else {
            return false;
        };
        let mut suspects = evidence.suspects.iter();
        small != large
            && tree.contains(large, small)
            && suspects.any(|suspect| suspect.unit == *small)
            && other.probability >= LIKELY
            && other.expected_total - best.expected_total <= WORTH_MORE_UNITS
    })
}

/// Why the first candidate is the first.
#[derive(Clone, Copy, PartialEq)]
enum Why {
    Cheapest,
    Trial,
    Smallest,
}

/// Decides.
pub fn plan(
    evidence: &Evidence,
    tree: &RestartTree,
    beliefs: &Beliefs,
    constraints: &Constraints<'_>,
    now: SystemTime,
) -> Plan {
    let policy = constraints.policy;
    let failing = failing(evidence);
    let chains = beliefs.chains(evidence, tree, constraints.trials, now);
    let (places, left_out) = candidates(tree, &chains, constraints);
    let units: Vec<UnitName> = tree.named(&places).cloned().collect();

    let mut choices: Vec<Choice> = units.iter().cloned().map(Choice::Restart).collect();
    let mut takes: Vec<Duration> = Vec::new();
    let mut usually: Vec<Option<(f64, f64)>> = Vec::new();
    let mut actions: Vec<Action> = Vec::new();
    let until_judged = policy.warm_up + policy.exporter_delay;
    let patience = failing * policy.judge_deadline.as_secs_f64();
    let confirming = failing * until_judged.as_secs_f64() + FAILURES_TO_CONFIRM.min(patience);
    for unit in &units {
        let price = price(evidence, tree, unit, constraints, now);
        takes.push(price.takes.duration());
        usually.push(Some(price.requests.usual()));
        let cost = price.requests.mean;
        actions.push(Action { cost, confirming });
    }
    choices.push(Choice::Wait);
    takes.push(policy.wait);
    usually.push(None);
    // What goes goes at any time of the wait, in its middle on average; what doesn't costs all of it.
    let half = failing * policy.wait.as_secs_f64() / 2.0;
    actions.push(Action {
        cost: half,
        confirming: half,
    });
    let giving_up = failing * policy.human_response.as_secs_f64();

    let covers: Vec<Cover> = places.iter().map(|at| tree.cover_at(*at)).collect();
    let covers = Covers::new(&covers);
    let mut hypotheses = Vec::new();
    for chain in &chains {
        hypotheses.extend(chain.beside.iter().map(|beside| Hypothesis {
            weight: beside.weight,
            cured_by: covers.containing(beside.place),
        }));
        for (level, weight) in chain.levels.iter().enumerate() {
            let cured_by = match level {
                // What goes by itself takes the time that waiting gives it, and didn't go if we waited.
                0 if constraints.waited => continue,
                0 => 1 << units.len(),
                level => match chain.places.get(level - 1) {
                    None => 0,
                    Some(smallest) => covers.containing(*smallest),
                },
            };
            hypotheses.push(Hypothesis {
                weight: *weight,
                cured_by,
            });
        }
    }

    let name = |action: Option<usize>| action.map_or(Choice::Human, |at| choices[at].clone());
    let options = ladder::solve(&actions, &hypotheses, giving_up);
    let mut considered: Vec<Candidate> = options
        .iter()
        .map(|option| Candidate {
            choice: name(option.action),
            chosen: false,
            probability: option.probability,
            takes: option.action.map_or(policy.human_response, |at| takes[at]),
            cost: option.action.map_or(giving_up, |at| actions[at].cost),
            cost_usually: option.action.and_then(|at| usually[at]),
            confirming: option.action.map_or(0.0, |at| actions[at].confirming),
            expected_total: option.total,
            ladder: option.ladder.iter().map(|action| name(*action)).collect(),
            reason: String::new(),
        })
        .collect();
    let smallest = smallest(&considered, evidence, tree).map(|at| (at, Why::Smallest));
    let preferred = smallest.or_else(|| {
        let tried = explore::worth_trying(&considered, evidence, tree, beliefs, now);
        tried.map(|at| (at, Why::Trial))
    });
    if let Some((at, _)) = preferred {
        considered[..=at].rotate_right(1);
    }
    let why = preferred.map_or(Why::Cheapest, |(_, why)| why);
    explain(&mut considered, why);
    for candidate in &mut considered {
        if let Choice::Restart(unit) = &candidate.choice
            && let Some(group) = tree.group(unit)
        {
            candidate.reason = format!("{}; inferred: {}", candidate.reason, group.why);
        }
        if let Some(sick) = sick_in(&candidate.choice, evidence, tree) {
            candidate.reason = format!("{}; {sick}", candidate.reason);
        }
    }
    let (choice, ladder, expected_total, sentence) = match considered.first() {
        Some(best) => {
            let sentence = sentence(best, why == Why::Trial);
            (
                best.choice.clone(),
                best.ladder.clone(),
                best.expected_total,
                sentence,
            )
        }
        None => (Choice::Human, vec![Choice::Human], giving_up, String::new()),
    };
    let sentence = match &choice {
        Choice::Restart(unit) => barred_in(unit, tree, constraints.excluded)
            .map_or(sentence.clone(), |barred| {
                format!("{sentence} ({barred} alone could not be restarted)")
            }),
        Choice::Wait | Choice::Human => sentence,
    };
    let sentence = match sick_in(&choice, evidence, tree) {
        Some(sick) => format!("{sentence} ({sick})"),
        None => sentence,
    };
    let sentence = match left_out.words() {
        Some(left_out) => format!("{sentence}; {left_out}"),
        None => sentence,
    };
    let restarts = restarts(tree, &choice);
    Plan {
        id: PlanId(0),
        incident: Some(evidence.incident),
        at: now,
        evidence_at: evidence.at,
        choice,
        restarts,
        ladder,
        expected_total,
        candidates: considered,
        sentence,
    }
}

/// Who else in what is restarted is sick, and speaks for its restart.
fn sick_in(choice: &Choice, evidence: &Evidence, tree: &RestartTree) -> Option<String> {
    let Choice::Restart(unit) = choice else {
        return None;
    };
    let too = evidence.circumstances.sick_too.iter();
    let too: Vec<&str> = too
        .filter(|other| tree.contains(unit, other))
        .map(UnitName::as_str)
        .collect();
    match too.len() {
        0 => None,
        1 => Some(format!("{} in it is sick at the same time", too[0])),
        more => Some(format!(
            "{more} others in it are sick at the same time: {}",
            too.join(", ")
        )),
    }
}

/// What in this unit would have been smaller, and can't be restarted; nothing where all can be.
fn barred_in(unit: &UnitName, tree: &RestartTree, excluded: &BTreeSet<UnitName>) -> Option<String> {
    let below = excluded.iter();
    let below = below.filter(|other| *other != unit && tree.contains(unit, other));
    let names: Vec<&str> = below.map(UnitName::as_str).collect();
    (!names.is_empty()).then(|| names.join(" or "))
}

/// A number of requests, or a share in per cent, as people say it.
fn about(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

/// What a candidate costs by itself, and between what that lies.
fn by_itself(candidate: &Candidate) -> String {
    let cost = about(candidate.cost);
    match candidate.cost_usually {
        Some((low, high)) => format!("{cost} ({} to {})", about(low), about(high)),
        None => cost,
    }
}

fn explain(candidates: &mut [Candidate], why: Why) {
    let Some((choice, first)) = candidates
        .first()
        .map(|best| (best.choice.clone(), best.expected_total))
    else {
        return;
    };
    for (place, candidate) in candidates.iter_mut().enumerate() {
        candidate.chosen = place == 0;
        let chance = about(100.0 * candidate.probability);
        let total = about(candidate.expected_total);
        let difference = candidate.expected_total - first;
        candidate.reason = match place {
            0 if why == Why::Smallest => format!(
                "the fault was seen in this very unit, and what contains it is hardly cheaper: {total} \
                 failed requests expected, cures with {chance} %"
            ),
            0 if why == Why::Trial => format!(
                "hardly ever tried, and would be cheaper if it worked: {total} failed requests \
                 expected, cures with {chance} %"
            ),
            0 => format!("cheapest: {total} failed requests expected, cures with {chance} %"),
            _ => {
                let (apart, word) = match difference < 0.0 {
                    true => (-difference, "fewer"),
                    false => (difference, "more"),
                };
                let despite = match (difference < 0.0, why) {
                    (true, Why::Smallest) => match candidate.choice {
                        Choice::Restart(_) => "; hardly fewer, and more units would be away",
                        Choice::Wait | Choice::Human => "; hardly fewer",
                    },
                    (true, Why::Trial) => "; but it is worth finding out whether less is enough",
                    _ => "",
                };
                format!(
                    "{total} failed requests expected, {} {word} than to {choice}; cures with \
                     {chance} %, costs {} by itself{despite}",
                    about(apart),
                    by_itself(candidate)
                )
            }
        };
    }
}

fn sentence(best: &Candidate, is_trial: bool) -> String {
    let chance = about(100.0 * best.probability);
    let total = about(best.expected_total);
    let what = match &best.choice {
        Choice::Restart(unit) => format!(
            "restart {unit}: cures with {chance} %, costs about {} failed requests by itself, \
             {total} with all that may follow",
            by_itself(best)
        ),
        Choice::Wait => format!(
            "wait {:.0} s: gone by itself with {chance} %, {total} failed requests with all that \
             may follow",
            best.takes.as_secs_f64()
        ),
        Choice::Human => return format!("call a person: no restart is worth its {total} requests"),
    };
    let rest: Vec<String> = best
        .ladder
        .iter()
        .skip(1)
        .map(ToString::to_string)
        .collect();
    let what = match is_trial {
        true => format!("to find out whether it is enough, {what}"),
        false => what,
    };
    if rest.is_empty() {
        what
    } else {
        format!("{what}; if that doesn't help: {}", rest.join(", then "))
    }
}

#[cfg(test)]
mod tests;
