//! What recovery is told about a fault: which units may be at fault, how likely each is, and who
//! says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{RestartTree, UnitName};

/// What else goes on: what can make a restart a mistake though the suspect is the right one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Circumstances {
    /// How many requests arrive; `None` where it isn't known what is usual.
    pub load: Option<Load>,
    /// The likeliest suspect that belongs to no unit, such as a database that nobody here can restart.
    pub outside: Option<Outside>,
    /// Units whose software or number of instances somebody else changed lately.
    pub changes: BTreeMap<UnitName, Changed>,
    /// The last change that somebody told of to something that no unit is known to be: it may be any of them.
    pub unplaced: Option<Changed>,
    /// Whether successes are thrown away before they are told (a sampler that keeps failures): then the
    /// share that fails is unknown.
    pub sampled: bool,
    /// For how long the process had lived that ended by itself, where that is the fault and was seen.
    pub lived: Option<Duration>,
    /// By suspect: whose failures are known to make it fail (see [`crate::tree::failure_map`]). What shows in
    /// it may sit there.
    pub sources: BTreeMap<UnitName, Vec<Source>>,
    /// The units that other open incidents surely accuse, and that fell sick at about the same time, without either being known
    /// to make the other fail: see [`sick_together`]. Recovery fills this in itself, whatever it is told.
    pub sick_too: BTreeSet<UnitName>,
}

/// A unit whose failures make another fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// It.
    pub unit: UnitName,
    /// How often the other fails when it does, in `[0, 1]`.
    pub share: f64,
}

/// How many of the failing requests' types arrive, whatever becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Per second, now.
    pub now: f64,
    /// Per second, before the incident.
    pub usual: f64,
}

/// A suspect that no unit owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// Its name.
    pub name: String,
    /// How likely the fault lies in it, in `[0, 1]`.
    pub probability: f64,
}

/// Somebody else changed a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// When that was first seen.
    pub at: SystemTime,
    /// What was seen, for people: `version 1.3 of catalog appeared`.
    pub what: String,
    /// Whether it is other software than before, so that what was learned of the old is worth less.
    pub is_version: bool,
    /// How many changes came before this one within the same stretch: what renews itself again and again
    /// is no rollout.
    #[serde(default)]
    pub renewals: u32,
    /// Whether it was still under way then, as whoever makes it says.
    #[serde(default)]
    pub goes_on: bool,
}

/// The key under which cures are remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FaultSignature {
    /// The request types that fail, sorted.
    pub request_types: Vec<String>,
    /// The error's type where the suspect raised one; empty where it said nothing.
    pub error_type: String,
    /// The shape of the evidence: `raised`, `unanswered`, `slow`, `wrong_answer`, `exited`, `out_of_bounds`.
    pub shape: String,
}

impl FaultSignature {
    /// Whether somebody saw the fault beside users' requests, which need not show it: the operating system,
    /// a question with a known answer, or a unit's own figures.
    pub(crate) fn is_seen_directly(&self) -> bool {
        self.is_of_its_own() || self.shape == "wrong_answer"
    }

    /// Whether the fault is the unit's own whatever else fails: its process ended, or its figures are out of
    /// bounds. A wrong answer may be another's, which was asked for it.
    pub fn is_of_its_own(&self) -> bool {
        matches!(self.shape.as_str(), EXITED | OUT_OF_BOUNDS)
    }
}

/// The shape of what the operating system says has ended.
pub(crate) const EXITED: &str = "exited";

/// The shape of a fault that a unit's own figures told of ([`crate::watch`]).
pub(crate) const OUT_OF_BOUNDS: &str = "out_of_bounds";

/// One unit under suspicion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuspectUnit {
    /// The most specific unit that the suspected component belongs to.
    pub unit: UnitName,
    /// How likely the fault lies in it, in `[0, 1]`; over all suspects at most 1.
    pub probability: f64,
    /// Whether two independent sources say so (two callers, or a caller and a probe, or the
    /// operating system). An unattended restart needs it.
    pub two_sided: bool,
    /// Why, in a sentence for people.
    pub reason: String,
}

/// What is known about one incident at one time. Each new one about the same incident replaces
/// the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The incident, by its maker's number.
    pub incident: u64,
    /// When this was established.
    pub at: SystemTime,
    /// When failures began.
    pub since: SystemTime,
    /// The fault's signature.
    pub signature: FaultSignature,
    /// Suspected units, most likely first.
    pub suspects: Vec<SuspectUnit>,
    /// The failing requests' rate before the incident, as a share in `[0, 1]`: what a cure must
    /// come back to.
    pub baseline_failure_share: f64,
    /// Failing requests per second now.
    pub failing_per_second: f64,
    /// Requests per second that pass through each unit: what its downtime costs.
    pub traffic: BTreeMap<UnitName, f64>,
    /// Whether the incident is over by itself.
    pub closed: bool,
    /// The incident whose cause its failures turned out to have, if it is closed for that: nothing is mended then, and
    /// the other one goes on with its failures.
    #[serde(default)]
    pub joined_into: Option<u64>,
    /// What else goes on.
    #[serde(default)]
    pub circumstances: Circumstances,
}

impl Evidence {
    /// Whether what accuses the suspect accuses the unit: that contains the suspect, or is known to make it
    /// fail by its own failures. The latter counts as much: whoever may restart what contains both may restart
    /// less than that.
    pub(crate) fn accuses(
        &self,
        suspect: &SuspectUnit,
        unit: &UnitName,
        tree: &RestartTree,
    ) -> bool {
        let makes_it_fail = || self.sources_of(&suspect.unit).any(|source| source == unit);
        tree.contains(unit, &suspect.unit) || makes_it_fail()
    }

    /// The units that are known to make this one fail.
    fn sources_of(&self, unit: &UnitName) -> impl Iterator<Item = &UnitName> + use<'_> {
        let sources = self.circumstances.sources.get(unit);
        sources.into_iter().flatten().map(|source| &source.unit)
    }
}

/// What begins within so long falls sick at once: one fault is noticed in different parts at different times, as their
/// requests come.
const AT_ONCE: Duration = Duration::from_secs(60);
/// A suspect is surely one from here on: likelier than all others together.
const SURELY: f64 = 0.5;

/// The suspect that evidence surely accuses: two sides say so, and no other is as likely.
fn accused(evidence: &Evidence) -> Option<&UnitName> {
    let likeliest = evidence.suspects.first()?;
    let is_sure = likeliest.two_sided && likeliest.probability > SURELY;
    (is_sure && !evidence.closed).then_some(&likeliest.unit)
}

/// The units that surely are sick of themselves beside what this evidence is about, by that of other open incidents. Who may
/// be sick for another's sake, as far as anybody knows, isn't among them: not who is suspected here as well, nor whom an
/// accused one makes fail, nor who has a source in common with this one.
pub fn sick_together<'a>(
    evidence: &Evidence,
    others: impl IntoIterator<Item = &'a Evidence>,
) -> BTreeSet<UnitName> {
    let Some(own) = accused(evidence) else {
        return BTreeSet::new();
    };
    let apart = |other: &Evidence| {
        let apart = other.since.duration_since(evidence.since);
        apart.unwrap_or_else(|before| before.duration())
    };
    let others = others.into_iter();
    let others = others.filter(|it| it.incident != evidence.incident && apart(it) <= AT_ONCE);
    let others: Vec<(&'a UnitName, &'a Evidence)> = others
        .filter_map(|it| Some((accused(it)?, it)))
        .filter(|(unit, _)| *unit != own)
        .collect();
    let own_sources: BTreeSet<&UnitName> = evidence.sources_of(own).collect();
    let accused: BTreeSet<&UnitName> = others.iter().map(|(unit, _)| *unit).chain([own]).collect();
    let is_of_itself = |unit: &UnitName, other: &Evidence| {
        let mut suspects = evidence.suspects.iter();
        let mut sources = other.sources_of(unit);
        !suspects.any(|suspect| suspect.unit == *unit)
            && !own_sources.contains(unit)
            && !sources.any(|source| own_sources.contains(source) || accused.contains(source))
    };
    others
        .iter()
        .filter(|(unit, other)| is_of_itself(unit, other))
        .map(|(unit, _)| (*unit).clone())
        .collect()
}
