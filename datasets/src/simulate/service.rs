//! How does recovery live in a world that is made up?
//!
//! As it lives anywhere: its own task, its ledger, its guards, called through the executors' trait and the
//! other ports. Only time is virtual, and what units and their users do is the world's. Every simulation
//! that plays the whole service plays it by this.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rekindle_recovery::belief::Learned;
use rekindle_recovery::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit,
};
use rekindle_recovery::ledger::Threading;
use rekindle_recovery::ports::{Notice, Notifier, Prober};
use rekindle_recovery::service::{Command, Recovery, ServiceConfig, prepare};
use rekindle_recovery::{
    Changed, Cohort, CohortQuery, Evidence, Fared, Policy, ProbeSpec, RestartTree, UnitName,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::SimulateError;

/// What the wall's clock says when a simulation begins, in seconds since 1970.
const BEGINNING: u64 = 1_000_000_000;
/// Who is meant where a person says something.
pub(super) const PERSON: &str = "ann";

/// The time that passes, and what the wall's clock makes of it.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    start: Instant,
    /// The wall's clock beside the true time, in seconds.
    offset: Arc<AtomicI64>,
}

impl Clocks {
    pub(super) fn begin() -> Self {
        Self {
            start: Instant::now(),
            offset: Arc::default(),
        }
    }

    /// True seconds since the beginning.
    pub(super) fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// What the wall's clock says.
    pub(super) fn wall(&self) -> SystemTime {
        let offset = self.offset.load(Ordering::Relaxed);
        let by = Duration::from_secs(offset.unsigned_abs());
        let time = UNIX_EPOCH + Duration::from_secs(BEGINNING) + self.start.elapsed();
        if offset < 0 { time - by } else { time + by }
    }

    /// Sets the wall's clock by so many seconds.
    pub(super) fn jump(&self, seconds: i64) {
        self.offset.fetch_add(seconds, Ordering::Relaxed);
    }

    /// What the wall's clock as it is now calls a true time; `None` where that is before all time.
    pub(super) fn wall_of(&self, at: f64) -> Option<SystemTime> {
        let ago = Duration::try_from_secs_f64(self.now() - at).ok()?;
        self.wall().checked_sub(ago)
    }

    /// The true time of what the wall's clock as it is now calls so.
    fn of_wall(&self, at: SystemTime) -> f64 {
        self.now()
            - match self.wall().duration_since(at) {
                Ok(ago) => ago.as_secs_f64(),
                Err(ahead) => -ahead.duration().as_secs_f64(),
            }
    }

    /// As evidence tells of units that somebody else renewed, at these true times.
    pub(super) fn changes(&self, renewed: &BTreeMap<UnitName, f64>) -> BTreeMap<UnitName, Changed> {
        let changes = renewed.iter().filter_map(|(unit, at)| {
            let change = Changed {
                at: self.wall_of(*at)?,
                what: format!("{unit} was renewed"),
                is_version: false,
                renewals: 0,
                goes_on: false,
            };
            Some((unit.clone(), change))
        });
        changes.collect()
    }
}

/// What every world has: its time, what can be restarted, and by which policy.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) clocks: Clocks,
    pub(super) tree: Arc<RestartTree>,
    pub(super) policy: Arc<Policy>,
}

impl Scene {
    /// To be made where time is virtual.
    pub(super) fn begin(tree: RestartTree, policy: Policy) -> Self {
        Self {
            clocks: Clocks::begin(),
            tree: Arc::new(tree),
            policy: Arc::new(policy),
        }
    }
}

/// What is made up.
pub(super) trait Simulated: Clone + Send + Sync + 'static {
    /// How far back it remembers requests, in seconds.
    const REMEMBERS: f64 = 600.0;

    fn scene(&self) -> &Scene;

    /// Restarts the unit, with all that comes of it.
    fn carry_out(&self, permit: Permit) -> impl Future<Output = Result<(), ExecuteError>> + Send;

    /// How many requests of these types ended well between two true times that are over, and how many didn't.
    fn fared(&self, request_types: &[String], from: f64, until: f64) -> (u64, u64);

    /// Asks a unit how it is; it is well where the world has nothing to say to that.
    fn probe(&self, spec: &ProbeSpec) -> impl Future<Output = Result<(), String>> + Send {
        let _ = spec;
        std::future::ready(Ok(()))
    }

    /// Whether the unit's process is running, where it has one.
    fn is_running(&self, unit: &UnitName) -> Option<bool> {
        let _ = unit;
        None
    }

    /// What people are told.
    fn tell(&self, notice: &Notice) {
        let _ = notice;
    }
}

/// A policy with the guards out of the way that what it is compared with doesn't have: the evidence that acting unattended
/// takes, budgets, waits between restarts, and what recurs or is immune.
pub(super) fn unguarded() -> Policy {
    Policy {
        auto_probability: 0.0,
        restarts_per_unit: u32::MAX,
        restarts_per_tree: u32::MAX,
        failed_requests: f64::MAX,
        backoff: Duration::ZERO,
        recurring_cures: u32::MAX,
        immune_after: u32::MAX,
        // What these are counted over, nobody counts; and what is remembered for them alone is looked at all the time.
        recurring_period: Duration::ZERO,
        immune_period: Duration::ZERO,
        ..Policy::default()
    }
}

/// A world, by recovery's ports.
struct Ports<W>(W);

impl<W: Simulated> Executor for Ports<W> {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(async {
            let clocks = &self.0.scene().clocks;
            let stopped_at = clocks.wall();
            self.0.carry_out(permit).await?;
            // Clocks jump during restarts too, and the service has to bear it.
            Ok(Executed {
                stopped_at,
                ready_at: clocks.wall(),
                began: Life::default(),
                note: String::new(),
            })
        })
    }

    fn inquire<'a>(
        &'a self,
        _action: ActionId,
        _unit: &'a UnitName,
        _generation: u64,
    ) -> BoxFuture<'a, Effect> {
        Box::pin(std::future::ready(Effect::Unknown))
    }
}

impl<W: Simulated> Cohort for Ports<W> {
    fn fared(&self, query: &CohortQuery) -> Fared {
        let clocks = &self.0.scene().clocks;
        let from = clocks.of_wall(query.from);
        let from = from.max(clocks.now() - W::REMEMBERS).max(0.0);
        let until = clocks.of_wall(query.until).min(clocks.now());
        let (ok, bad) = self.0.fared(&query.request_types, from, until);
        Fared::seen(ok, bad, clocks.wall())
    }
}

impl<W: Simulated> Prober for Ports<W> {
    fn probe<'a>(&'a self, spec: &'a ProbeSpec) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.0.probe(spec))
    }

    fn running<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        Box::pin(std::future::ready(self.0.is_running(unit)))
    }
}

impl<W: Simulated> Notifier for Ports<W> {
    fn notify(&self, notice: &Notice) {
        self.0.tell(notice);
    }
}

/// Recovery, as long as nobody kills it.
pub(super) struct Engine {
    pub(super) recovery: Recovery,
    task: JoinHandle<()>,
}

impl Engine {
    /// Begins it, on what the last one left in the folder.
    pub(super) fn begin<W: Simulated>(world: &W, folder: &Path) -> Result<Self, SimulateError> {
        let ports = Arc::new(Ports(world.clone()));
        let Scene {
            clocks,
            tree,
            policy,
        } = world.scene().clone();
        let since = clocks.start;
        let units = tree.units().filter(|spec| spec.executor.is_some());
        let config = ServiceConfig {
            policy: (*policy).clone(),
            state_dir: folder.to_owned(),
            executors: units
                .map(|spec| (spec.name.clone(), ports.clone() as Arc<dyn Executor>))
                .collect(),
            prober: ports.clone(),
            notifier: ports.clone(),
            seeds: Learned::default(),
            crash: None,
            clock: Arc::new(move || clocks.wall()),
            boot: Arc::new(move || ("simulated".to_owned(), since.elapsed())),
        };
        let (recovery, shadows, task) = prepare(config, tree.clone(), ports, Threading::Caller)?;
        // Nobody analyses requests here; the service must not mind.
        drop(shadows);
        Ok(Self {
            recovery,
            task: tokio::spawn(task),
        })
    }

    /// Tells it something.
    pub(super) async fn told(&self, evidence: Evidence) -> Result<(), SimulateError> {
        let told = self.recovery.evidence(evidence).await;
        told.map_err(|error| SimulateError::Ended(error.to_string()))
    }

    /// Orders a unit's restart, in a person's name.
    pub(super) async fn order(&self, unit: UnitName) -> Result<(), SimulateError> {
        let order = Command::Restart {
            unit,
            dry_run: false,
            by: PERSON.to_owned(),
            reason: "to see".to_owned(),
        };
        let ordered = self.recovery.command(order).await;
        let ordered = ordered.map(drop);
        ordered.map_err(|error| SimulateError::Ended(error.to_string()))
    }

    /// Kills it, wherever it is.
    pub(super) async fn kill(self) -> Result<(), SimulateError> {
        self.task.abort();
        match self.task.await {
            Err(ended) if ended.is_panic() => Err(panicked()),
            _ => Ok(()),
        }
    }

    /// Lets it go, as its last owner does.
    pub(super) async fn end(self) -> Result<(), SimulateError> {
        drop(self.recovery);
        self.task.await.map_err(|_| panicked())
    }
}

fn panicked() -> SimulateError {
    SimulateError::Ended("recovery's task panicked".to_owned())
}

/// Plays something in virtual time, with a folder of its own, which is removed afterwards.
pub(super) fn in_virtual_time<T>(
    play: impl AsyncFnOnce(&Path) -> Result<T, SimulateError>,
) -> Result<T, SimulateError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let folder = tempfile::tempdir()?;
    runtime.block_on(play(folder.path()))
}
