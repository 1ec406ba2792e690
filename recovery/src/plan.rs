//! What to restart first? (types first)

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::UnitName;

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
    /// Everything that was considered, cheapest first.
    pub candidates: Vec<Candidate>,
    /// The plan in a sentence.
    pub sentence: String,
}
