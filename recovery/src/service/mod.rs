//! The task that owns every recovery: what goes in, what comes out.

mod command;
mod status;

pub use command::{
    ActionView, BeliefView, Command, CommandError, CostView, DryRun, Reply, UnitExplained,
};
pub use status::{
    BudgetView, JudgingView, Proposal, RecoveryId, RecoveryStatus, RecoveryView, Tried, UnitState,
    UnitStatus,
};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::UnitName;
use crate::crash::CrashHook;
use crate::executor::{ActionId, Executor};
use crate::policy::Policy;
use crate::ports::{Clock, Notifier, Prober};

/// What the service is made of.
pub struct ServiceConfig {
    /// How careful it is.
    pub policy: Policy,
    /// The folder that holds `ledger.db`; made where missing.
    pub state_dir: PathBuf,
    /// Who restarts what. A unit that has an executor in its specification and none here can't be
    /// restarted, and a guard says so.
    pub executors: BTreeMap<UnitName, Arc<dyn Executor>>,
    /// Who asks units how they are.
    pub prober: Arc<dyn Prober>,
    /// Who reaches a person.
    pub notifier: Arc<dyn Notifier>,
    /// Called at every crash point; `None` in production.
    pub crash: Option<CrashHook>,
    /// The wall's time; [`system_clock`] in the daemon.
    pub clock: Clock,
}

/// The clock of the system.
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

/// A restart's shadow over requests, for whoever analyses them. Each new one with the same action
/// replaces the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// The action.
    pub action: ActionId,
    /// The unit that was restarted.
    pub unit: UnitName,
    /// The attributes of what was restarted; empty for a unit that groups others, which have
    /// shadows of their own.
    pub selector: BTreeMap<String, String>,
    /// The generation that its new life has.
    pub generation: u64,
    /// When the old life began to end.
    pub from: SystemTime,
    /// When the new life was warm; `None` while it isn't.
    pub until: Option<SystemTime>,
}
