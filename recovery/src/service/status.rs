//! What everybody may see of recovery at any time, without asking its task.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::executor::ActionId;
use crate::guard::{Pause, Refusal};
use crate::judge::{Relief, Verdict};
use crate::lifecycle::State;
use crate::plan::{Plan, PlanId};
use crate::ports::Notice;
use crate::service::ActionView;
use crate::spec::Mode;
use crate::tree::Group;
use crate::{Fared, FaultSignature, SuspectUnit, UnitName};

/// A recovery's number in the ledger.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RecoveryId(pub u64);

impl std::fmt::Display for RecoveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// Recovery at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryStatus {
    /// The moment.
    pub at: SystemTime,
    /// All units, parents before their children.
    pub units: Vec<UnitStatus>,
    /// Recoveries that are not over, oldest first.
    pub recoveries: Vec<RecoveryView>,
    /// Recoveries that planned something and are over, newest first.
    pub finished: Arc<Vec<RecoveryView>>,
    /// Plans that wait for a person, oldest first.
    pub proposals: Vec<Proposal>,
    /// Past actions, newest first, at most `Policy::recent_actions`.
    pub recent: Arc<Vec<ActionView>>,
    /// The pause, if there is one.
    pub paused: Option<Pause>,
    /// What is left of each budget.
    pub budgets: Vec<BudgetView>,
    /// Why nothing can be done at present; `None` when all is well.
    pub disabled: Option<String>,
    /// What a person was last told, newest first, at most 20.
    pub notices: Vec<Notice>,
}

/// How a unit is doing, as far as recovery is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    /// Nothing speaks against it, which is not to say that it is well.
    Quiet,
    /// It is suspected.
    Suspected,
    /// Its restart waits for a person.
    Proposed,
    /// It is being restarted.
    Restarting,
    /// It was restarted, and is being judged.
    Judging,
    /// Its restart is held off for what may pass.
    HeldOff,
    /// A person must look.
    GivenUp,
}

impl RecoveryStatus {
    /// Nothing is known and nothing goes on.
    pub fn nothing(at: SystemTime) -> Self {
        Self {
            at,
            units: Vec::new(),
            recoveries: Vec::new(),
            finished: Arc::default(),
            proposals: Vec::new(),
            recent: Arc::default(),
            paused: None,
            budgets: Vec::new(),
            disabled: None,
            notices: Vec::new(),
        }
    }

    /// The greatest incident number that anything here speaks of; 0 without any.
    pub fn last_incident(&self) -> u64 {
        let actions = self.recent.iter().map(|action| action.incident);
        let over = self.finished.iter().map(|recovery| recovery.incident);
        let going_on = self.recoveries.iter().map(|recovery| recovery.incident);
        let all = actions.chain(over).chain(going_on);
        all.flatten().max().unwrap_or(0)
    }
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// Its name.
    pub unit: UnitName,
    /// The unit that contains it.
    pub parent: Option<UnitName>,
    /// How far below the root: 0 for the root.
    pub depth: usize,
    /// How far recovery may go with it.
    pub mode: Mode,
    /// How it is doing.
    pub state: UnitState,
    /// Its generation: how often it, or something that contains it, was restarted by us.
    pub generation: u64,
    /// How it is restarted: `process`, `http`, `command`, or `parts` when by restarting all below.
    pub executor: String,
    /// What it stands for, where nobody wrote it.
    #[serde(default)]
    pub group: Option<Group>,
    /// What its restart is expected to take.
    pub expected_downtime: Duration,
    /// How long nine of ten of its restarts take at most.
    pub downtime_mostly: Duration,
    /// The last action on it.
    pub last_action: Option<ActionView>,
}

/// What was already tried in a recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The unit.
    pub unit: UnitName,
    /// What it came to.
    pub verdict: Verdict,
    /// How much it helped, where that could be told.
    pub relief: Option<Relief>,
}

/// How judging goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgingView {
    /// How requests fared before.
    pub before: Fared,
    /// How they fared since.
    pub after: Fared,
    /// How much it helped so far.
    pub relief: Option<Relief>,
    /// When the verdict falls at the latest.
    pub deadline: SystemTime,
}

/// One recovery that isn't over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// Its number.
    pub recovery: RecoveryId,
    /// The incident; `None` for a restart that a person ordered.
    pub incident: Option<u64>,
    /// Where it is in its life.
    pub state: State,
    /// When it came there.
    pub since: SystemTime,
    /// The fault; `None` for a restart that a person ordered.
    pub signature: Option<FaultSignature>,
    /// Who is suspected, by the latest evidence.
    pub suspects: Vec<SuspectUnit>,
    /// The unit that is being restarted or was last decided on.
    pub target: Option<UnitName>,
    /// The actions in flight.
    pub actions: Vec<ActionId>,
    /// What it would do, or does.
    pub plan: Option<Plan>,
    /// What a person said about its plan, and who.
    pub decided: Option<String>,
    /// Why it was given up to a person.
    #[serde(default)]
    pub given_up: Option<String>,
    /// Why it doesn't do it now.
    pub refusals: Vec<Refusal>,
    /// What was already tried.
    pub tried: Vec<Tried>,
    /// How judging goes.
    pub judging: Option<JudgingView>,
    /// When the present state ends at the latest.
    pub deadline: Option<SystemTime>,
}

/// A plan that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// What to approve or reject.
    pub plan: PlanId,
    /// The recovery.
    pub recovery: RecoveryId,
    /// The incident.
    pub incident: Option<u64>,
    /// What would be restarted.
    pub unit: UnitName,
    /// Why, in a sentence.
    pub sentence: String,
    /// Why it isn't done without asking.
    pub refusals: Vec<Refusal>,
    /// When it expires.
    pub expires_at: SystemTime,
}

/// What is left of a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetView {
    /// Of what: a unit's name, `all restarts`, `failed requests`, or either `in` a unit that has a budget
    /// of its own.
    pub name: String,
    /// Spent in the period.
    pub spent: f64,
    /// The limit.
    pub limit: f64,
    /// The period.
    pub period: Duration,
}
