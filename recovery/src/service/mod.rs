//! The task that owns every recovery: what goes in, what comes out.
//!
//! One task, one owner of all state. What can wake it is one closed enum (`engine::Input`); it calls
//! executors and probes on tasks that it joins, and everything that it decides goes through the pure
//! parts: [`crate::plan`], [`crate::guard`], [`crate::judge`], and [`crate::lifecycle::next`].
//!
//! ```text
//!  evidence ─▶ consider: plan ─▶ guards ─▶ propose ─▶ approved ─┐
//!                 ▲                └──────────────────────────┬─┘
//!                 │                                           ▼
//!  climb ◀── judge ◀── settle ◀── result durable ◀── act ◀── intent durable
//! ```

mod act;
mod case;
mod command;
mod consider;
mod engine;
mod grow;
mod held;
mod objections;
mod order;
mod prevent;
mod resume;
mod standing;
mod status;
mod verdict;
mod view;

pub use command::{
    ActionView, BeliefView, Command, CommandError, CostView, DryRun, Reply, UnitExplained,
};
pub use prevent::PREVENTION;
pub use status::{
    BudgetView, JudgingView, Proposal, RecoveryId, RecoveryStatus, RecoveryView, Tried, UnitState,
    UnitStatus,
};

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use self::engine::{Engine, Input};
use crate::belief::Learned;
use crate::clock::{BootClock, Reading, Shift};
use crate::crash::{CrashHook, Passing};
use crate::executor::{ActionId, Executor, Life};
use crate::ledger::{Ledger, LedgerError, Memory, Store, StoredAction, Threading};
use crate::policy::Policy;
use crate::ports::{Clock, Notifier, Prober};
use crate::template::Grown;
use crate::tree::Inferred;
use crate::{Cohort, Evidence, LiveTree, UnitName};

/// Evidence and commands that wait for the task. It is busy for some milliseconds at a time, when it
/// writes to the ledger; whoever finds this full waits.
const INPUTS: usize = 64;
/// Shadows that wait to be read: some for each unit that can be in flight at once.
const SHADOWS: usize = 256;

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
    /// What was learned elsewhere.
    pub seeds: Learned,
    /// Called at every crash point; `None` in production.
    pub crash: Option<CrashHook>,
    /// The wall's time; [`system_clock`] in the daemon.
    pub clock: Clock,
    /// What tells, from one engine to the next, whether the wall's clock was set; [`boot_clock`](crate::clock::boot_clock)
    /// in the daemon.
    pub boot: BootClock,
}

/// The clock of the system.
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

/// A restart's shadow over requests, for whoever analyses them. Each new one with the same action and
/// unit replaces the last; one that is before all requests takes it back. The restart of a unit that
/// matches nothing itself has one for each unit below it that does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// The action.
    pub action: ActionId,
    /// The unit that was restarted.
    pub unit: UnitName,
    /// The attributes of what was restarted; never empty.
    pub selector: BTreeMap<String, String>,
    /// The life that began, once it has; as far as its telemetry will tell.
    pub began: Life,
    /// When the old life began to end.
    pub from: SystemTime,
    /// When the new life was warm; `None` while it isn't.
    pub until: Option<SystemTime>,
}

/// Why the service can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger can't be opened or read.
    #[error("recovery can't start without its ledger")]
    Ledger(#[from] LedgerError),
}

/// Shadows of restarts, as they begin and end.
pub type RecoveryEvents = mpsc::Receiver<Shadow>;

/// A handle on the service. When the last one is dropped, the service ends; what is in flight then
/// is found by the next start.
#[derive(Clone, Debug)]
pub struct Recovery {
    inputs: mpsc::Sender<Input>,
    status: watch::Receiver<Arc<RecoveryStatus>>,
    former: Arc<Mutex<Vec<ActionView>>>,
}

/// Actions of former lives of the engine that are read at its start, newest first: what shows only in many recoveries is
/// found in these.
const MAX_FORMER: usize = 1000;

impl Recovery {
    /// What was done before this engine began, newest first, as far as it is still of interest. Told once: nobody keeps it
    /// for as long as the engine lives.
    pub fn take_former(&self) -> Vec<ActionView> {
        std::mem::take(&mut self.former.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what is known about an incident. Replaces what was said about it before.
    ///
    /// # Errors
    /// When the service has ended.
    pub async fn evidence(&self, evidence: Evidence) -> Result<(), CommandError> {
        let input = Input::Evidence(Box::new(evidence));
        self.inputs.send(input).await.map_err(|_| ended())
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        let (answer, answered) = oneshot::channel();
        let input = Input::Command(Box::new(command), answer);
        self.inputs.send(input).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Goes by this tree from now on. False where a unit that it lacks is still being restarted or judged: then nothing
    /// has changed, and it may be offered again later.
    ///
    /// # Errors
    /// When the service has ended.
    pub async fn grow(&self, grown: Grown) -> Result<bool, CommandError> {
        let (answer, answered) = oneshot::channel();
        let input = Input::Grown(Box::new(grown), answer);
        self.inputs.send(input).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
    }

    /// Says what was inferred of the tree. Replaces what was said before.
    ///
    /// # Errors
    /// When the service has ended.
    pub async fn infer(&self, inferred: Inferred) -> Result<(), CommandError> {
        let input = Input::Inferred(inferred);
        self.inputs.send(input).await.map_err(|_| ended())
    }

    /// Waits until the service's task has ended. It does so by itself only by a panic: as long as this
    /// handle lives, nobody has told it to.
    pub async fn finished(&self) {
        self.inputs.closed().await;
    }

    /// Recovery at this and every later moment.
    pub fn status(&self) -> watch::Receiver<Arc<RecoveryStatus>> {
        self.status.clone()
    }
}

fn ended() -> CommandError {
    CommandError::Unavailable {
        reason: "its task has ended".to_owned(),
    }
}

/// The units of restarts that the last engine left in flight. They are asked about when the service starts, so a tree
/// that grows must have them by then.
///
/// # Errors
/// When the ledger can't be opened or read.
pub fn in_flight(state_dir: &Path) -> Result<BTreeSet<UnitName>, StartError> {
    let mut store = Store::open(&ledger_in(state_dir))?;
    // Nothing of what is over.
    let memory = store.remember(SystemTime::now())?;
    let at_work = memory.unfinished.iter().filter(|it| it.state.holds_lease());
    let actions = at_work.flat_map(|recovery| &recovery.actions);
    let units = actions.flat_map(|action| [&action.target, &action.unit]);
    Ok(units.cloned().collect())
}

/// Makes room for what is opened at a start, where the disk is full: the ledger's reserve is given up. Whether that was
/// needed. Only for who holds the state directory's lock.
pub fn make_room(state_dir: &Path) -> bool {
    crate::ledger::make_room(&ledger_in(state_dir))
}

fn ledger_in(state_dir: &Path) -> PathBuf {
    state_dir.join("ledger.db")
}

/// Opens the ledger and starts the service on the current runtime. The tree is replaced by those that
/// [`Recovery::grow`] brings. What was in flight when the last
/// engine ended is finished or charged first.
///
/// # Errors
/// When the ledger can't be opened or read.
pub fn start(
    config: ServiceConfig,
    tree: impl Into<LiveTree>,
    cohort: Arc<dyn Cohort>,
) -> Result<(Recovery, RecoveryEvents), StartError> {
    let (recovery, events, task) = prepare(config, tree, cohort, Threading::Own)?;
    tokio::spawn(task);
    Ok((recovery, events))
}

/// As [`start`], but leaves it to the caller where the task runs (it needs a Tokio runtime with
/// time), and who runs the ledger's statements.
///
/// # Errors
/// When the ledger can't be opened or read.
pub fn prepare(
    config: ServiceConfig,
    tree: impl Into<LiveTree>,
    cohort: Arc<dyn Cohort>,
    threading: Threading,
) -> Result<
    (
        Recovery,
        RecoveryEvents,
        impl Future<Output = ()> + Send + 'static,
    ),
    StartError,
> {
    let path = ledger_in(&config.state_dir);
    let mut store = Store::open(&path)?;
    let now = (config.clock)();
    let unwritten = mind_the_clocks(&mut store, &config, now)?;
    let mut memory = store.remember(engine::oldest_of_interest(&config.policy, now))?;
    if let Some(shift) = unwritten {
        memory.shift(shift);
    }
    let history = store.history(None, MAX_FORMER.max(config.policy.recent_actions))?;
    let passing = Passing::told_to(config.crash.clone());
    let ledger = Ledger::of(store, &path, threading)?.passing(passing);
    Ok(assemble(
        config,
        tree.into(),
        cohort,
        ledger,
        memory,
        history,
    ))
}

/// What was done by a clock that was set since is counted by the clock as it is now. By how much it was set, where that
/// could not be written.
fn mind_the_clocks(
    store: &mut Store,
    config: &ServiceConfig,
    now: SystemTime,
) -> Result<Option<Shift>, LedgerError> {
    let reading = Reading::now(&config.boot, now);
    let shift = store.clocks()?.and_then(|last| reading.shift_since(&last));
    if let Some(shift) = shift {
        tracing::warn!(by = ?shift.by, forward = shift.forward, "the clock was set while no engine ran");
    }
    let oldest = engine::oldest_of_interest(&config.policy, now);
    match store.set_clocks(&reading, shift, oldest) {
        Ok(()) => Ok(None),
        // The engine tells it as soon as it can, and does nothing before.
        Err(error) => {
            tracing::warn!(%error, "what the clocks say could not be written");
            Ok(shift)
        }
    }
}

/// The service on a ledger that is open and was read.
fn assemble(
    config: ServiceConfig,
    tree: LiveTree,
    cohort: Arc<dyn Cohort>,
    ledger: Ledger,
    memory: Memory,
    history: Vec<(StoredAction, Option<u64>)>,
) -> (
    Recovery,
    RecoveryEvents,
    impl Future<Output = ()> + Send + 'static,
) {
    let (shadow_sender, shadows) = mpsc::channel(SHADOWS);
    let former = history.into_iter();
    let former: Vec<ActionView> = former
        .map(|(action, incident)| view::action(&action, incident))
        .collect();
    let recent = former.iter().take(config.policy.recent_actions).cloned();
    let recent = recent.collect();
    let (mut engine, status) =
        Engine::new(config, tree, cohort, ledger, memory, recent, shadow_sender);
    // Before anybody reads the telemetry of their time anew.
    engine.retell_shadows();
    let (inputs, receiver) = mpsc::channel(INPUTS);
    let recovery = Recovery {
        inputs,
        status,
        former: Arc::new(Mutex::new(former)),
    };
    (recovery, shadows, engine.run(receiver))
}

#[cfg(test)]
mod tests;
