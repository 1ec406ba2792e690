//! What does one supervised unit do, from order to order?
//!
//! One task per unit owns its row and its process group, takes orders one after the other and
//! watches the child in between. The task may be dropped at any await, which is to it what `kill
//! -9` is to the engine: the row on disk always names the effects that may have happened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

use super::group::{EndedGroup, Group, Owner, StillAlive, sweep};
use super::launch;
use super::phase::{ChildIdentity, Ending, Phase, PhaseEvent};
use super::report::{ChildEvent, Reports};
use super::resume::Resume;
use super::table::{Row, Table};
use super::{ProcessUnit, SuperviseError};
use crate::UnitName;
use crate::executor::{ActionId, Effect, ExecuteError, Executed, Permit};
use crate::probe::Probes;

/// A child without a probe counts as ready if it lives this long: long enough for a program to
/// find that its arguments are wrong, short against any start-up.
const ALIVE_WITHOUT_PROBE: Duration = Duration::from_millis(100);
/// The grace of a unit that is no longer configured.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What a unit can be told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Have a first life.
    Start(oneshot::Sender<Result<(), SuperviseError>>),
    /// Have another life.
    Restart(Permit, oneshot::Sender<Result<Executed, ExecuteError>>),
    /// Say what became of an action.
    Inquire(ActionId, oneshot::Sender<Effect>),
    /// End, and stay down.
    Stop(oneshot::Sender<Result<(), SuperviseError>>),
}

/// What all units of a supervisor share.
#[derive(Debug)]
pub(super) struct Shared {
    pub table: Table,
    pub boot_id: String,
    pub logs: PathBuf,
    pub probes: Probes,
    pub reports: Reports,
    /// Whether all units are being stopped, so that nobody waits for readiness any more.
    pub stopping: watch::Sender<bool>,
}

/// One unit.
#[derive(Debug)]
pub(super) struct Unit {
    pub name: UnitName,
    /// `None` if it is no longer configured, but its child lives.
    pub spec: Option<ProcessUnit>,
    pub row: Row,
    pub shared: Arc<Shared>,
    /// All that was ever seen of the child and may still live.
    group: Option<Group>,
    /// The child's pidfd while it lives.
    watched: Option<AsyncFd<Arc<OwnedFd>>>,
}

impl Unit {
    pub(super) fn new(
        name: UnitName,
        spec: Option<ProcessUnit>,
        row: Row,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            name,
            spec,
            row,
            shared,
            group: None,
            watched: None,
        }
    }

    /// Does what can be done at once about the phase that was found: adopting and telling. What
    /// takes time is left to [`Unit::run`].
    pub(super) async fn settle(&mut self, resume: &Resume) {
        match resume {
            Resume::Nothing => {
                // Told again at every start until it is restarted: whoever should have heard the
                // first time may have died with it.
                if let Phase::Exited { generation, how } = self.row.phase.clone()
                    && self.row.wanted
                {
                    self.tell_exited(generation, how);
                }
            }
            Resume::Adopt(child) => {
                if self.watch(child) {
                    self.tell_adopted(child.pid);
                } else {
                    self.ended(Ending::Unseen).await;
                }
            }
            Resume::TakeIn(generation, child) => {
                self.step(PhaseEvent::Spawned(*generation, child.clone()));
                self.save_or_log().await;
                if self.watch(child) {
                    self.tell_adopted(child.pid);
                } else {
                    self.ended(Ending::Unseen).await;
                }
            }
            Resume::Ended(how) => self.ended(how.clone()).await,
            Resume::FinishStop | Resume::Start(_) => {}
        }
        self.publish();
    }

    /// Takes orders until there is nobody left to give any.
    pub(super) async fn run(mut self, resume: Resume, mut orders: mpsc::Receiver<Order>) {
        self.finish(resume).await;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                () = child_ended(self.watched.as_ref()) => {
                    self.child_ended().await;
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        // Whoever asked may have gone; the deed is recorded and published all the same.
        match order {
            Order::Start(reply) => drop(reply.send(self.start().await)),
            Order::Restart(permit, reply) => drop(reply.send(self.restart(permit).await)),
            Order::Inquire(action, reply) => drop(reply.send(self.inquire(action))),
            Order::Stop(reply) => drop(reply.send(self.stop().await)),
        }
    }

    /// Finishes what a crash interrupted.
    async fn finish(&mut self, resume: Resume) {
        let deadline = Instant::now() + self.start_deadline();
        let result = match resume {
            Resume::FinishStop => self.finish_stop(deadline).await,
            Resume::Start(generation) if self.spec.is_some() => {
                // A life that may have begun unseen and left things behind is swept first.
                self.begin(generation, deadline, false).await
            }
            _ => return,
        };
        if let Err(error) = result {
            tracing::error!(unit = %self.name, %error, "what a crash interrupted can't be finished");
        }
    }

    async fn finish_stop(&mut self, deadline: Instant) -> Result<(), SuperviseError> {
        if self.group.is_none()
            && let Phase::Stopping {
                child: Some(child), ..
            } = &self.row.phase
        {
            let owner = self.owner();
            self.group =
                Group::of(child, &owner).or_else(|| Some(Group::without_leader(child, &owner)));
        }
        self.end_life(self.grace()).await?;
        self.step(PhaseEvent::Gone);
        self.save_or_log().await;
        match self.row.phase {
            Phase::Stopped {
                next: Some(next), ..
            } if self.spec.is_some() => self.begin(next, deadline, false).await,
            _ => Ok(()),
        }
    }

    async fn start(&mut self) -> Result<(), SuperviseError> {
        if self.spec.is_none() {
            return Err(SuperviseError::NotConfigured(self.name.clone()));
        }
        let missing = match &self.row.phase {
            Phase::Never | Phase::Stopped { .. } => true,
            // A restart of the host is no failure of the child, and what never ran may have been
            // mistyped, and mended since.
            Phase::Exited { how, .. } => {
                matches!(how, Ending::HostRestarted | Ending::NotSpawned(_))
            }
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => false,
        };
        let before = self.row.clone();
        self.row.wanted = true;
        if !missing {
            if before != self.row {
                self.save().await?;
            }
            return Ok(());
        }
        let generation = match self.row.phase {
            Phase::Stopped {
                next: Some(next), ..
            } => next,
            _ => self.row.phase.highest_generation() + 1,
        };
        let deadline = Instant::now() + self.start_deadline();
        self.begin(generation, deadline, true).await
    }

    async fn restart(&mut self, permit: Permit) -> Result<Executed, ExecuteError> {
        let began = Instant::now();
        let stopped_at = SystemTime::now();
        let unit = self.name.clone();
        let refused = |reason: String| ExecuteError::Refused {
            unit: unit.clone(),
            reason,
        };
        let Some(spec) = &self.spec else {
            return Err(refused("it is no longer configured".to_owned()));
        };
        launch::check(&spec.process).map_err(refused)?;
        // The ledger's number, unless this table has seen a higher one.
        let generation = permit
            .generation()
            .max(self.row.phase.highest_generation() + 1);
        let before = self.row.clone();
        self.row.wanted = true;
        self.row.action = Some(permit.action().0);
        self.step(PhaseEvent::Stop(Some(generation)));
        if let Err(error) = self.save().await {
            self.row = before;
            self.publish();
            return Err(refused(error.to_string()));
        }
        // At least half of the time to the deadline is left for the start.
        let grace = self.grace().min(permit.deadline() / 2);
        let ended = self
            .end_life(grace)
            .await
            .map_err(|error| ExecuteError::Unknown {
                unit: unit.clone(),
                reason: error.to_string(),
            })?;
        let down = began.elapsed();
        self.step(PhaseEvent::Gone);
        self.save_or_log().await;
        self.begin(generation, began + permit.deadline(), false)
            .await
            .map_err(|error| ExecuteError::NotReady {
                unit: unit.clone(),
                deadline: permit.deadline(),
                reason: error.reason(),
            })?;
        Ok(Executed {
            stopped_at,
            ready_at: SystemTime::now(),
            note: format!(
                "generation {generation}; old life {} in {down:.0?}, ready after {:.0?}",
                if ended.forced {
                    "killed after the grace period"
                } else {
                    "ended"
                },
                began.elapsed()
            ),
        })
    }

    /// Asked only after what a crash interrupted is finished, since orders wait for that.
    fn inquire(&self, action: ActionId) -> Effect {
        match self.row.action {
            // Recorded before anything was done about it, so what isn't recorded wasn't done.
            None => Effect::NotDone,
            Some(last) if last < action.0 => Effect::NotDone,
            Some(last) if last > action.0 => Effect::Unknown,
            Some(_) => match &self.row.phase {
                Phase::Running { .. } => Effect::Done,
                Phase::Exited {
                    how: Ending::NotSpawned(_),
                    ..
                } => Effect::Unknown,
                Phase::Exited { .. } => Effect::Done,
                Phase::Never
                | Phase::Starting { .. }
                | Phase::Stopping { .. }
                | Phase::Stopped { .. } => Effect::Unknown,
            },
        }
    }

    async fn stop(&mut self) -> Result<(), SuperviseError> {
        self.row.wanted = false;
        if matches!(
            self.row.phase,
            Phase::Never | Phase::Stopped { next: None, .. }
        ) {
            return self.save().await;
        }
        self.step(PhaseEvent::Stop(None));
        // An explicit order to end is carried out on a full disk too.
        self.save_or_log().await;
        self.end_life(self.grace()).await?;
        self.step(PhaseEvent::Gone);
        self.save_or_log().await;
        Ok(())
    }

    /// Spawns a child and waits until it is ready.
    ///
    /// `must_record`: whether to refuse when the intent can't be written. When an old life has
    /// just been ended for it, being down is worse: the child is found by its environment.
    async fn begin(
        &mut self,
        generation: u64,
        deadline: Instant,
        must_record: bool,
    ) -> Result<(), SuperviseError> {
        let Some(spec) = self.spec.clone() else {
            return Err(SuperviseError::NotConfigured(self.name.clone()));
        };
        let before = self.row.clone();
        // Resumed in this very phase, it is recorded already.
        if self.row.phase != (Phase::Starting { generation }) {
            self.step(PhaseEvent::Start(generation));
            if must_record {
                if let Err(error) = self.save().await {
                    self.row = before;
                    self.publish();
                    return Err(error);
                }
            } else {
                self.save_or_log().await;
            }
        }
        self.group = None;
        self.watched = None;
        let (unit, shared, owner) = (self.name.clone(), Arc::clone(&self.shared), self.owner());
        let launched = tokio::task::spawn_blocking(move || {
            match sweep(&owner) {
                Ok(0) => {}
                Ok(count) => tracing::warn!(%unit, count, "remains of an earlier life were killed"),
                Err(alive) => return Err(std::io::Error::other(format!("earlier life: {alive}"))),
            }
            launch::launch(
                &unit,
                &spec.process,
                generation,
                &owner.state_id,
                &shared.logs,
            )
        })
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let child = match launched {
            Ok(child) => child,
            Err(error) => {
                let reason = error.to_string();
                self.step(PhaseEvent::NotSpawned(reason.clone()));
                self.save_or_log().await;
                self.tell_exited(generation, Ending::NotSpawned(reason.clone()));
                return Err(SuperviseError::NotStarted {
                    unit: self.name.clone(),
                    reason,
                });
            }
        };
        self.step(PhaseEvent::Spawned(generation, child.clone()));
        self.save_or_log().await;
        let watched = self.watch(&child);
        self.shared.reports.tell(ChildEvent::Started {
            unit: self.name.clone(),
            generation,
            pid: child.pid,
            at: SystemTime::now(),
        });
        if !watched {
            self.ended(Ending::Unseen).await;
        }
        self.wait_ready(generation, deadline).await
    }

    async fn wait_ready(
        &mut self,
        generation: u64,
        deadline: Instant,
    ) -> Result<(), SuperviseError> {
        let probe = self.spec.as_ref().and_then(|spec| spec.ready.clone());
        let probes = self.shared.probes.clone();
        let mut stopping = self.shared.stopping.subscribe();
        let ready = async {
            if probe.is_none() {
                tokio::time::sleep(ALIVE_WITHOUT_PROBE).await;
            }
            probes.until_ready(probe.as_ref(), deadline).await
        };
        let stopped = async {
            drop(stopping.wait_for(|stopping| *stopping).await);
        };
        let reason = tokio::select! {
            biased;
            () = child_ended(self.watched.as_ref()) => {
                let how = self.child_ended().await;
                format!("it {how} before it was ready")
            }
            () = stopped => "all units are being stopped".to_owned(),
            result = ready => match result {
                Ok(()) => {
                    self.shared.reports.tell(ChildEvent::Ready {
                        unit: self.name.clone(),
                        generation,
                        at: SystemTime::now(),
                    });
                    return Ok(());
                }
                Err(failure) => failure.reason,
            },
        };
        self.shared.reports.tell(ChildEvent::NotReady {
            unit: self.name.clone(),
            generation,
            reason: reason.clone(),
            at: SystemTime::now(),
        });
        Err(SuperviseError::NotReady {
            unit: self.name.clone(),
            reason,
        })
    }

    /// Ends the child's group and all that carries the unit's marks.
    async fn end_life(&mut self, grace: Duration) -> Result<EndedGroup, SuperviseError> {
        let owner = self.owner();
        let group = self.group.take();
        self.watched = None;
        let work = tokio::task::spawn_blocking(move || {
            let mut group = group;
            let ended = group.as_mut().map(|group| group.end(grace));
            let swept = match &ended {
                Some(Err(alive)) => Err(alive.clone()),
                _ => sweep(&owner),
            };
            if let (Ok(_), Some(group)) = (&swept, group.as_mut()) {
                group.reap();
            }
            (group, ended, swept)
        });
        let unit = self.name.clone();
        let failed = |reason: String| SuperviseError::NotEnded { unit, reason };
        let (group, ended, swept) = match work.await {
            Ok(done) => done,
            Err(error) => return Err(failed(error.to_string())),
        };
        let result: Result<usize, StillAlive> = swept;
        match result {
            Ok(strays) => {
                let mut ended = ended.and_then(Result::ok).unwrap_or(EndedGroup {
                    forced: false,
                    took: Duration::ZERO,
                });
                ended.forced |= strays > 0;
                tracing::debug!(unit = %self.name, ?ended, strays, "a life was ended");
                Ok(ended)
            }
            Err(alive) => {
                self.group = group;
                self.shared.reports.tell(ChildEvent::Stuck {
                    unit: self.name.clone(),
                    generation: self.row.phase.generation(),
                    reason: alive.to_string(),
                    at: SystemTime::now(),
                });
                Err(failed(alive.to_string()))
            }
        }
    }

    /// The watched child ended by itself.
    async fn child_ended(&mut self) -> Ending {
        self.watched = None;
        let how = match self.group.as_mut() {
            Some(group) => {
                // What it leaves behind is taken hold of while it still pins its group's number.
                group.look();
                group.reap()
            }
            None => Ending::Unseen,
        };
        self.ended(how.clone()).await;
        how
    }

    async fn ended(&mut self, how: Ending) {
        let generation = self.row.phase.generation();
        self.step(PhaseEvent::Ended(how.clone()));
        self.row.exits += 1;
        self.save_or_log().await;
        self.tell_exited(generation, how);
        self.publish();
    }

    fn watch(&mut self, child: &ChildIdentity) -> bool {
        self.group = Group::of(child, &self.owner());
        let pidfd = self.group.as_ref().and_then(Group::leader);
        self.watched = pidfd.and_then(|pidfd| {
            register(pidfd)
                .inspect_err(|error| tracing::error!(unit = %self.name, %error, "its child can't be watched"))
                .ok()
        });
        self.watched.is_some()
    }

    /// Goes to the next phase. One that isn't legal is a mistake in this program; the phase stays,
    /// which is what the table says too.
    fn step(&mut self, event: PhaseEvent) {
        match self.row.phase.after(event) {
            Ok(phase) => {
                self.row.phase = phase;
                self.row.since_unix_nanos = unix_nanos(SystemTime::now());
            }
            Err(error) => {
                debug_assert!(false, "{error}");
                tracing::error!(unit = %self.name, %error, "a phase was not changed");
            }
        }
        self.publish();
    }

    fn publish(&self) {
        self.shared
            .reports
            .publish(&self.name, &self.row, self.spec.is_some());
    }

    async fn save(&self) -> Result<(), SuperviseError> {
        let (shared, name, row) = (
            Arc::clone(&self.shared),
            self.name.clone(),
            self.row.clone(),
        );
        let saved = tokio::task::spawn_blocking(move || shared.table.save(&name, &row)).await;
        match saved {
            Ok(result) => result.map_err(SuperviseError::from),
            Err(error) => Err(SuperviseError::NotEnded {
                unit: self.name.clone(),
                reason: format!("its row was not written: {error}"),
            }),
        }
    }

    /// For facts, which are true whether or not they can be written. The next write carries them.
    async fn save_or_log(&self) {
        if let Err(error) = self.save().await {
            tracing::error!(unit = %self.name, %error, "its phase is not on disk");
        }
    }

    fn owner(&self) -> Owner {
        Owner {
            state_id: self.shared.table.state_id().to_owned(),
            unit: self.name.to_string(),
        }
    }

    fn grace(&self) -> Duration {
        self.spec
            .as_ref()
            .map_or(DEFAULT_GRACE, |spec| spec.process.stop_grace)
    }

    fn start_deadline(&self) -> Duration {
        self.spec
            .as_ref()
            .map_or(DEFAULT_GRACE, |spec| spec.start_deadline)
    }

    fn tell_exited(&self, generation: u64, how: Ending) {
        self.shared.reports.tell(ChildEvent::Exited {
            unit: self.name.clone(),
            generation,
            how,
            at: SystemTime::now(),
        });
    }

    fn tell_adopted(&self, pid: i32) {
        self.shared.reports.tell(ChildEvent::Adopted {
            unit: self.name.clone(),
            generation: self.row.phase.generation(),
            pid,
            at: SystemTime::now(),
        });
    }
}

/// Resolves when the child ends; never if there is none to watch.
async fn child_ended(watched: Option<&AsyncFd<Arc<OwnedFd>>>) {
    match watched {
        Some(pidfd) => {
            if let Err(error) = pidfd.readable().await {
                // Only when the runtime is shutting down.
                tracing::debug!(%error, "a child is no longer watched");
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for descriptors that may be closed or exchanged while they \
              are registered; an `Arc<OwnedFd>` that is never taken out again can't be"
)]
fn register(pidfd: Arc<OwnedFd>) -> std::io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// Nanoseconds since 1970; 0 before, and the end of time after 2554.
pub(super) fn unix_nanos(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
}
