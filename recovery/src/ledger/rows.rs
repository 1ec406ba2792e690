//! What is written to the ledger, and what is read back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::belief::{Key, NewVersion, Row};
use crate::clock::Shift;
use crate::cost::{CostKey, Measured};
use crate::executor::{ActionId, Life};
use crate::guard::{Guard, Pause};
use crate::judge::{Relief, Verdict};
use crate::lifecycle::{Event, State};
use crate::plan::{Plan, PlanId};
use crate::service::RecoveryId;
use crate::{Evidence, UnitName};

/// What a recovery was held off for. Outlives the engine, so that nobody is told twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The guards that people were told of.
    pub told: BTreeSet<Guard>,
    /// The unit for whose sake a storm held it off. It counts as sick for the others of that storm until this is over,
    /// whatever is told of it meanwhile: what isn't seen for a while isn't well.
    pub in_storm: Option<UnitName>,
}

/// What happened to a recovery since it was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The recovery; written for the first time when it isn't known yet.
    pub recovery: RecoveryId,
    /// The incident; `None` for a restart that a person ordered.
    pub incident: Option<u64>,
    /// When it began.
    pub opened_at: SystemTime,
    /// `auto`, or the person who ordered it.
    pub by: String,
    /// Why, for an order.
    pub reason: String,
    /// What a person said about its plan; `None` leaves what is written.
    pub decided: Option<String>,
    /// Why it was given up to a person.
    pub given_up: Option<String>,
    /// The latest evidence.
    pub evidence: Option<Evidence>,
    /// What it was held off for.
    pub held: Held,
    /// What happened, in order.
    pub events: Vec<(SystemTime, Event)>,
    /// What is written in the same transaction.
    pub also: Vec<Also>,
}

/// What is going to be done: all that must survive a crash between the intent and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The attempt's number in its recovery, from 1.
    pub attempt: u32,
    /// The unit that was decided on.
    pub target: UnitName,
    /// The units whose executors will be called, in order.
    pub restarts: Vec<IntendedRestart>,
    /// `auto`, or the person who approved or ordered.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The plan, where there is one.
    pub plan: Option<PlanId>,
    /// What it is expected to cost, in failed user requests: charged until it is measured.
    pub expected_cost: f64,
    /// Requests that should have come by then, and had not, by type: those that hang, which the restart fails.
    pub hanging: BTreeMap<String, u64>,
    /// When.
    pub at: SystemTime,
}

/// One executor's part of an [`Intent`].
#[derive(Clone, Debug, PartialEq)]
pub struct IntendedRestart {
    /// The unit.
    pub unit: UnitName,
    /// How long it may take.
    pub deadline: Duration,
    /// All units that begin a new life with it, itself included.
    pub raises: Vec<UnitName>,
}

/// What came of an executor's call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was restarted and is ready.
    Done {
        /// When the old life began to end.
        stopped_at: SystemTime,
        /// When the new one was ready.
        ready_at: SystemTime,
        /// The life that began, as far as its telemetry will tell.
        #[serde(default)]
        began: Life,
        /// What is worth telling.
        note: String,
    },
    /// Nothing was done.
    Refused {
        /// In whose words.
        reason: String,
        /// Whether users felt it all the same, since the unit was announced as away or put its state in safety before.
        #[serde(default)]
        is_felt: bool,
    },
    /// The old life has ended, and the new one isn't ready.
    NotReady {
        /// What was last seen of it.
        reason: String,
    },
    /// It can't be told.
    Unknown {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// The outcome in words.
    pub fn words(&self) -> String {
        match self {
            Self::Done { note, .. } if note.is_empty() => "restarted".to_owned(),
            Self::Done { note, .. } => format!("restarted: {note}"),
            Self::Refused { reason, .. } => format!("refused: {reason}"),
            Self::NotReady { reason } => format!("not ready: {reason}"),
            Self::Unknown { reason } => format!("unknown: {reason}"),
        }
    }
}

/// What was said about an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The attempt's number in its recovery.
    pub attempt: u32,
    /// When.
    pub at: SystemTime,
    /// The verdict.
    pub verdict: Verdict,
    /// How much it helped.
    pub relief: Option<Relief>,
    /// Users' requests that failed from the kill to the end of the warm-up, where known.
    pub failed_requests: Option<f64>,
    /// Why.
    pub words: String,
}

/// What is written beside an [`Entry`], in the same transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Also {
    /// The lives of these units that an intent had numbered were not begun after all: it was refused. What was the
    /// number before it.
    NotBegun(Vec<(UnitName, u64)>),
    /// An executor's result.
    Result(ActionId, Outcome),
    /// A verdict.
    Verdict(Judged),
    /// What was learned; a row that is `None` is forgotten.
    Learned(Vec<(Key, Option<Row>)>),
    /// What restarts cost, as measured.
    Measured(Vec<(CostKey, Measured)>),
    /// Software that was seen to be other than before.
    Version(NewVersion),
}

/// One action as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAction {
    /// Its number.
    pub action: ActionId,
    /// Its recovery.
    pub recovery: RecoveryId,
    /// Which of its recovery's attempts it is part of.
    pub attempt: u32,
    /// The unit that was decided on.
    pub target: UnitName,
    /// The unit whose executor was to be called.
    pub unit: UnitName,
    /// The generation of the new life.
    pub generation: u64,
    /// How long it may take.
    pub deadline: Duration,
    /// Who decided.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The evidence at that time.
    pub evidence: Option<Evidence>,
    /// What it was expected to cost; an attempt's cost is with its first action.
    pub expected_cost: f64,
    /// When the intent was written.
    pub intended_at: SystemTime,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// How much it helped.
    pub relief: Option<Relief>,
    /// What it cost, where that is known.
    pub failed_requests: Option<f64>,
    /// The verdict's reasons.
    pub judged: Option<String>,
    /// When it was judged.
    pub judged_at: Option<SystemTime>,
    /// The plan it was part of.
    pub plan: Option<PlanId>,
    /// By how much the wall's clock was set since it was written. Times above are those of their time, as spans have them.
    pub shifted: Shift,
    /// Requests that hung when it was decided on, by type; none where an older engine decided.
    pub hanging: BTreeMap<String, u64>,
}

impl StoredAction {
    /// One of its times by the clock as it is set now.
    pub fn by_now(&self, mut at: SystemTime) -> SystemTime {
        self.shifted.apply(&mut at);
        at
    }

    /// Whether nothing was done, and no life was begun.
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Refused { .. }))
    }
}

/// One recovery as it was written, with its actions.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecovery {
    /// Its number.
    pub recovery: RecoveryId,
    /// The incident; `None` for a restart that a person ordered.
    pub incident: Option<u64>,
    /// When it began.
    pub opened_at: SystemTime,
    /// `auto`, or the person who ordered it.
    pub by: String,
    /// Why, for an order.
    pub reason: String,
    /// The latest evidence.
    pub evidence: Option<Evidence>,
    /// Where it is.
    pub state: State,
    /// When it came there.
    pub since: SystemTime,
    /// What a person said about its plan.
    pub decided: Option<String>,
    /// Why it was given up to a person.
    pub given_up: Option<String>,
    /// What it was held off for.
    pub held: Held,
    /// Its actions, oldest first.
    pub actions: Vec<StoredAction>,
    /// The last plan that was written for it.
    pub plan: Option<Plan>,
}

/// Everything that a starting engine must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Recoveries that aren't over, oldest first.
    pub unfinished: Vec<StoredRecovery>,
    /// Recoveries that ended lately with a no (given up, rejected) or a cure, newest last: their
    /// incidents aren't taken up again while they drain.
    pub settled: Vec<StoredRecovery>,
    /// Recoveries that planned something and ended lately, and those that were left to a person, oldest first: what people
    /// are shown.
    pub finished: Vec<StoredRecovery>,
    /// Actions of the last period, oldest first.
    pub actions: Vec<StoredAction>,
    /// The last recovery's number, 0 when there is none.
    pub last_recovery: u64,
    /// The generation of each unit that was ever restarted.
    pub generations: BTreeMap<UnitName, u64>,
    /// What was learned.
    pub beliefs: Vec<(Key, Row)>,
    /// What was measured.
    pub costs: Vec<(CostKey, Measured)>,
    /// The last versions of each unit, oldest first.
    pub versions: Vec<NewVersion>,
    /// A person's stop.
    pub pause: Option<Pause>,
    /// By how much the wall's clock was set, where the ledger could not be told of it.
    pub unwritten: Option<Shift>,
}

impl Memory {
    /// The wall's clock was set, and the ledger doesn't know: what it says is by the clock as it was.
    pub(crate) fn shift(&mut self, shift: Shift) {
        for action in &mut self.actions {
            action.shifted = action.shifted.and(shift);
        }
        for recovery in self.settled.iter_mut().chain(&mut self.unfinished) {
            shift.apply(&mut recovery.since);
        }
        if let Some(pause) = &mut self.pause {
            pause.shift(shift);
        }
        self.unwritten = Some(shift);
    }
}
