//! What people ask of recovery, and what they are told.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::belief::{Learned, Origin};
use crate::executor::{ActionId, Recall};
use crate::guard::{Pause, Refusal};
use crate::judge::{Relief, Verdict};
use crate::ledger::Outcome;
use crate::lifecycle::State;
use crate::plan::PlanId;
use crate::service::RecoveryId;
use crate::spec::Mode;
use crate::{FaultSignature, UnitName};

/// What a person, or a program in a person's name, wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Carry out a waiting plan, if the guards still allow it.
    Approve {
        /// The plan.
        plan: PlanId,
        /// Who says so.
        by: String,
    },
    /// Drop a plan that waits for approval, or is held off, and do nothing more about its incident.
    Reject {
        /// The plan.
        plan: PlanId,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Restart a unit now. Budgets are charged, but don't refuse; overlap and the ledger do.
    Restart {
        /// The unit.
        unit: UnitName,
        /// Only say what would happen.
        dry_run: bool,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Restart a unit before it fails. All guards are asked, but for those about evidence; where only its
    /// mode stands against it, a person is.
    Prevent {
        /// The unit.
        unit: UnitName,
        /// Why.
        reason: String,
    },
    /// Let nothing happen unattended.
    Pause {
        /// Who says so.
        #[serde(default)]
        by: String,
        /// Why.
        reason: String,
        /// For how long; `None` until resumed.
        #[serde(rename = "for")]
        duration: Option<Duration>,
    },
    /// End a pause.
    Resume,
    /// Say what is known about a unit.
    ExplainUnit(UnitName),
    /// Say all that was learned.
    Learned,
    /// List past actions, newest first.
    History {
        /// At most so many; more than 1000 are never given.
        limit: usize,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is under way in this recovery: follow it in the status.
    Started {
        /// The recovery.
        recovery: RecoveryId,
        /// The plan of it that waited for a person, or was held off, and is dropped for this.
        #[serde(default)]
        instead_of: Option<PlanId>,
        /// What would have kept a plan from it, approved or not, and doesn't keep a person.
        #[serde(default)]
        overrules: Vec<Refusal>,
    },
    /// It waits for a person's approval in this recovery.
    Proposed {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// The plan was dropped.
    Rejected,
    /// What a restart would do.
    DryRun(Box<DryRun>),
    /// Nothing happens unattended any more.
    Paused {
        /// The pause.
        pause: Pause,
        /// The one that it takes the place of.
        instead_of: Option<Pause>,
    },
    /// The pause is over, or there was none.
    Resumed,
    /// What is known about the unit.
    Unit(Box<UnitExplained>),
    /// All that was learned, of units that there are.
    Learned(Box<Learned>),
    /// Past actions, newest first.
    History(Vec<ActionView>),
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CommandError {
    /// No unit is called so.
    #[error("there is no unit {unit}; the tree has {}", join(known))]
    NoSuchUnit {
        /// The name that was given.
        unit: UnitName,
        /// The names that there are.
        known: Vec<UnitName>,
    },
    /// No plan of this number is waiting, or held off.
    #[error(
        "no plan {plan} is waiting: it was replaced by a newer one, decided on, or its incident is over"
    )]
    NoSuchPlan {
        /// The number that was given.
        plan: PlanId,
    },
    /// Guards refused.
    #[error("refused: {}", join(refusals))]
    Refused {
        /// All that said no.
        refusals: Vec<Refusal>,
    },
    /// The ledger can't be read or written.
    #[error("the ledger failed: {reason}")]
    Ledger {
        /// What it said.
        reason: String,
    },
    /// The service has ended, or is too busy to take commands.
    #[error("recovery takes no commands now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

fn join<T: std::fmt::Display>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// What a restart would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// The unit that was asked for.
    pub unit: UnitName,
    /// The units whose executors would be called, in this order.
    pub restarts: Vec<UnitName>,
    /// All units that would lose their state.
    pub affected: Vec<UnitName>,
    /// How long it is expected to take.
    pub expected_downtime: Duration,
    /// What it is expected to cost, in failed user requests, at the traffic last told.
    pub expected_cost: f64,
    /// Between what that lies nine times of ten.
    pub expected_cost_usually: (f64, f64),
    /// The guards that would refuse a person.
    pub refusals: Vec<Refusal>,
    /// The guards that would refuse an unattended restart.
    pub unattended_refusals: Vec<Refusal>,
}

/// One restart of one unit, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionView {
    /// Its number.
    pub action: ActionId,
    /// The recovery it is part of.
    pub recovery: RecoveryId,
    /// The incident; `None` for a restart that a person ordered.
    pub incident: Option<u64>,
    /// The unit that was restarted.
    pub unit: UnitName,
    /// The unit that was decided on, of which `unit` is itself or a part.
    pub target: UnitName,
    /// The fault; `None` for a restart that a person ordered.
    pub signature: Option<FaultSignature>,
    /// Who decided: `auto`, or a person's name.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The generation of the new life.
    pub generation: u64,
    /// When what it was meant to end began, by the evidence of that time; `None` for a restart that a person ordered.
    #[serde(default)]
    pub began: Option<SystemTime>,
    /// When the intent was written.
    pub intended_at: SystemTime,
    /// When the old life began to end, where known.
    pub stopped_at: Option<SystemTime>,
    /// When the new life was ready, where known.
    pub ready_at: Option<SystemTime>,
    /// What came of the executor's call; `None` while it hasn't answered.
    pub outcome: Option<Outcome>,
    /// The verdict; `None` while there is none.
    pub verdict: Option<Verdict>,
    /// How much it helped, where that could be told.
    pub relief: Option<Relief>,
    /// Users' requests that failed from the kill to the end of the warm-up, where known.
    pub failed_requests: Option<f64>,
    /// The verdict's reasons.
    pub judged: Option<String>,
    /// When it was judged.
    pub judged_at: Option<SystemTime>,
    /// The plan it is part of.
    pub plan: Option<PlanId>,
}

/// What is believed about one kind of fault in a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeliefView {
    /// The fault; `None` for one that was never seen here.
    pub signature: Option<FaultSignature>,
    /// How likely each is the smallest that cures: `by itself`, the units from this one up to the
    /// root, `none`. Adds up to 1.
    pub levels: Vec<(String, f64)>,
    /// How many recoveries, aged, this rests on.
    pub weight: f64,
    /// Which these are.
    pub origin: Origin,
}

/// What a unit's restart costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostView {
    /// Expected downtime.
    pub downtime: Duration,
    /// Between what nine of ten lie.
    pub downtime_usually: (Duration, Duration),
    /// How many restarts, aged, this rests on; 0 when it is what the configuration says, or others took.
    pub weight: f64,
    /// How many restarts, aged, of units that are restarted in the same way were measured.
    pub pooled: f64,
    /// The share of the requests that would pass through it which fails meanwhile; beyond 1 where its start makes
    /// errors.
    pub failing: f64,
    /// Requests per second that pass through it, where last told.
    pub traffic: Option<f64>,
}

/// What is known about a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitExplained {
    /// The unit.
    pub unit: UnitName,
    /// Its ancestors, nearest first.
    pub ancestors: Vec<UnitName>,
    /// What belongs to it.
    pub selector: BTreeMap<String, String>,
    /// How far recovery may go with it.
    pub mode: Mode,
    /// The units whose executors a restart calls, in order.
    pub restarts: Vec<UnitName>,
    /// What those executors can be asked about a restart after a crash; the least of them.
    pub recall: Recall,
    /// Its generation.
    pub generation: u64,
    /// Where a recovery of it is, if there is one.
    pub state: Option<State>,
    /// What is believed, by kind of fault; the first is of a fault never seen here.
    pub beliefs: Vec<BeliefView>,
    /// What its restart costs.
    pub cost: CostView,
    /// Its past restarts, newest first.
    pub history: Vec<ActionView>,
    /// The guards that would refuse an unattended restart now.
    pub refusals: Vec<Refusal>,
}
