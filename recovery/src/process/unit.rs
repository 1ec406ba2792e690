//! What does one supervised unit do, from order to order?
//!
//! One task per unit owns its row and its process group, takes orders one after the other and
//! watches the child in between. The task may be dropped at any await, which is to it what `kill
//! -9` is to the engine: the row on disk always names the effects that may have happened.

mod beginning;
mod ending;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

use super::group::{Group, Owner};
use super::launch;
use super::phase::{ChildIdentity, Ending, Phase, PhaseEvent};
use super::report::{ChildEvent, Reports};
use super::resume::Resume;
use super::table::{Row, Table};
use super::{ProcessUnit, SuperviseError};
use crate::executor::{ActionId, Effect, ExecuteError, Executed, Life, Permit};
use crate::probe::Probes;
use crate::{Stop, UnitName};

/// How often is looked at a child's log, and at the ports that it waits for. At a hundred megabytes a second, which is as much as most disks
/// take, it outgrows its bound by a few hundred.
const LOG_LOOK: Duration = Duration::from_secs(5);
/// The time to end, and to start, of a unit that is no longer configured.
const DEFAULT_TIME: Duration = Duration::from_secs(10);

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
    /// How long its log was when its present life began or was adopted; 0 where it had ended before this engine began.
    log_before: u64,
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
            log_before: 0,
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
                if let Phase::Exited {
                    generation,
                    how,
                    lived,
                } = self.row.phase.clone()
                    && self.row.wanted
                {
                    self.tell_exited(generation, how, lived);
                }
            }
            Resume::Adopt(child) => {
                if self.adopt(child) {
                    self.tell_adopted(child.pid);
                } else {
                    self.ended(Ending::Unseen, None).await;
                }
            }
            Resume::TakeIn(generation, child) => {
                self.step(PhaseEvent::Spawned(*generation, child.clone()));
                self.save_or_log().await;
                if self.adopt(child) {
                    self.tell_adopted(child.pid);
                } else {
                    self.ended(Ending::Unseen, None).await;
                }
            }
            Resume::Ended(how) => self.ended(how.clone(), None).await,
            Resume::FinishStop | Resume::Start(_) => {}
        }
        self.publish();
    }

    /// Takes orders until there is nobody left to give any.
    pub(super) async fn run(mut self, resume: Resume, mut orders: mpsc::Receiver<Order>) {
        self.finish(resume).await;
        let mut look = tokio::time::interval(LOG_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                () = child_ended(self.watched.as_ref()) => {
                    self.child_ended().await;
                }
                _ = look.tick() => {
                    self.bound_log().await;
                    self.begin_late().await;
                }
            }
        }
    }

    /// Puts a log that has grown too long aside.
    async fn bound_log(&self) {
        let (name, logs) = (self.name.clone(), self.shared.logs.clone());
        let bounded = tokio::task::spawn_blocking(move || launch::bound_log(&name, &logs)).await;
        if let Err(error) = bounded.map_err(std::io::Error::other).flatten() {
            tracing::warn!(unit = %self.name, %error, "its log is too long, and can't be put aside");
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
        let stop = self.stop_within(permit.deadline() / 2);
        let not_ready = |reason: String| ExecuteError::NotReady {
            unit: unit.clone(),
            deadline: permit.deadline(),
            reason,
        };
        // What can't be ended serves nobody, and a unit that contains it may be able to end it.
        let ended = self
            .end_life(stop)
            .await
            .map_err(|error| not_ready(error.to_string()))?;
        let down = began.elapsed();
        self.step(PhaseEvent::Gone);
        self.save_or_log().await;
        self.begin(generation, began + permit.deadline(), false)
            .await
            .map_err(|error| not_ready(error.reason()))?;
        Ok(Executed {
            stopped_at,
            ready_at: SystemTime::now(),
            began: Life {
                process: Some(generation),
                part: None,
            },
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

    /// As [`Self::watch`], of a life that another engine began.
    fn adopt(&mut self, child: &ChildIdentity) -> bool {
        // Which part of its log is this life's isn't known; what it writes from now on is.
        self.log_before = launch::log_bytes(&self.name, &self.shared.logs);
        self.watch(child)
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

    /// How its life is ended, within this time at most.
    fn stop_within(&self, most: Duration) -> Stop {
        match self.spec.as_ref().map(|spec| spec.process.stop) {
            Some(Stop::Kill) => Stop::Kill,
            Some(Stop::Term(grace)) => Stop::Term(grace.min(most)),
            None => Stop::Term(DEFAULT_TIME.min(most)),
        }
    }

    fn start_deadline(&self) -> Duration {
        self.spec
            .as_ref()
            .map_or(DEFAULT_TIME, |spec| spec.start_deadline)
    }

    /// What the present life last wrote, for whoever asks why it isn't there.
    fn last_line(&self) -> Option<String> {
        launch::last_line(&self.name, &self.shared.logs, self.log_before)
    }

    fn tell_exited(&self, generation: u64, how: Ending, lived: Option<Duration>) {
        self.shared.reports.tell(ChildEvent::Exited {
            unit: self.name.clone(),
            generation,
            how,
            lived,
            last_line: self.last_line(),
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
