//! Who owns the children of one state directory?
//!
//! The supervisor: it holds the directory's lock, looks at what lives when it is opened, gives
//! every unit its task and passes orders on. Dropping it leaves all children running.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::phase::{ChildIdentity, Phase};
use super::procfs::{self, Marks, Stat};
use super::report::{ChildEvent, ChildStatus, Reports};
use super::resume::{Resume, Seen, resume};
use super::table::{Row, Table};
use super::unit::{Order, Shared, Unit};
use super::{OpenError, ProcessUnit, SuperviseError};
use crate::UnitName;
use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Permit, Recall,
};
use crate::probe::Probes;

/// Orders that wait for one unit. There is one recovery at a time per unit, so more than a stop
/// and an inquiry beside it is somebody's mistake.
const ORDERS: usize = 8;
/// How long a lock is waited for. An engine that was just killed may have been forking, and what it
/// forked holds the lock until it has become its own program.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Starts, watches, restarts and stops the processes of one state directory. Dropping it ends none
/// of them: the next one opened on the directory adopts them.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) shared: Arc<Shared>,
    orders: BTreeMap<UnitName, mpsc::Sender<Order>>,
    configured: Vec<UnitName>,
    events: Mutex<Option<mpsc::Receiver<ChildEvent>>>,
    tasks: Mutex<JoinSet<()>>,
    /// Held as long as it is open.
    _lock: File,
}

impl Supervisor {
    /// Takes over the children of a state directory, which is made if there is none. Living ones
    /// are adopted before this returns; kills and starts that a crash interrupted are finished in
    /// the background, before any order is taken. Nothing else is started.
    ///
    /// Must be called within a Tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// If the directory can't be used, or another engine uses it.
    pub async fn open(
        directory: &Path,
        units: Vec<ProcessUnit>,
        probes: Probes,
    ) -> Result<Self, OpenError> {
        let lock = lock(directory).await?;
        let logs = directory.join("logs");
        fs::create_dir_all(&logs).map_err(|source| OpenError::Directory {
            path: logs.clone(),
            source,
        })?;
        let fresh_id = format!("{:032x}", rand::rng().random::<u128>());
        let table = Table::open(directory, &fresh_id)?;
        let mut rows: BTreeMap<UnitName, Row> = table.rows()?.into_iter().collect();
        // Whatever an engine before us was spawning is its own program by now, with its marks: until
        // it was, it held the lock.
        let boot_id = procfs::boot_id();
        let marked = procfs::marked(table.state_id());
        let (reports, events) = Reports::new();
        let shared = Arc::new(Shared {
            table,
            boot_id,
            logs,
            probes,
            reports,
            stopping: watch::Sender::new(false),
        });

        let mut supervisor = Self {
            shared,
            orders: BTreeMap::new(),
            configured: units.iter().map(|unit| unit.name.clone()).collect(),
            events: Mutex::new(Some(events)),
            tasks: Mutex::new(JoinSet::new()),
            _lock: lock,
        };
        for spec in units {
            let row = rows.remove(&spec.name).unwrap_or_default();
            supervisor
                .take_over(spec.name.clone(), Some(spec), row, &marked)
                .await;
        }
        // What the configuration no longer knows is watched while it lives, and can be stopped.
        for (name, row) in rows {
            if procfs_lives(&row.phase, &supervisor.shared.boot_id) {
                supervisor.take_over(name, None, row, &marked).await;
            } else if let Err(error) = supervisor.shared.table.forget(&name) {
                tracing::warn!(unit = %name, %error, "a unit that is no longer configured is not forgotten");
            }
        }
        Ok(supervisor)
    }

    async fn take_over(
        &mut self,
        name: UnitName,
        spec: Option<ProcessUnit>,
        row: Row,
        marked: &[(Stat, Marks)],
    ) {
        let boot_id = &self.shared.boot_id;
        let seen = Seen {
            alive: procfs_lives(&row.phase, boot_id),
            other_boot: row
                .phase
                .child()
                .is_some_and(|child| child.boot_id != *boot_id),
            found: find(&name, marked, boot_id),
        };
        let next = resume(&row.phase, &seen);
        if next != Resume::Nothing {
            tracing::info!(unit = %name, phase = row.phase.name(), ?next, "resumed");
        }
        let mut unit = Unit::new(name.clone(), spec, row, Arc::clone(&self.shared));
        unit.settle(&next).await;
        let (sender, receiver) = mpsc::channel(ORDERS);
        self.orders.insert(name, sender);
        self.tasks
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(unit.run(next, receiver));
    }

    /// Starts every configured unit that never had a life, was stopped by [`Supervisor::stop_all`]
    /// or went down with the host, all at once, and waits until they are ready. A unit that ended
    /// by itself is not started: that is a restart, and somebody's decision.
    pub async fn start_missing(&self) -> Vec<(UnitName, Result<(), SuperviseError>)> {
        self.shared.stopping.send_replace(false);
        let configured = self.configured.clone();
        self.order_each(configured, Order::Start).await
    }

    /// Ends every child, those that are no longer configured included, all at once, and returns
    /// when nothing of them is left or they can't be ended.
    pub async fn stop_all(&self) -> Vec<(UnitName, Result<(), SuperviseError>)> {
        self.shared.stopping.send_replace(true);
        let all: Vec<UnitName> = self.orders.keys().cloned().collect();
        let results = self.order_each(all, Order::Stop).await;
        self.shared.stopping.send_replace(false);
        results
    }

    /// The events, once: there is one reader. Bounded; what the reader is too slow for is counted
    /// in [`Supervisor::events_dropped`].
    pub fn events(&self) -> Option<mpsc::Receiver<ChildEvent>> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// How many events nobody was there to take.
    pub fn events_dropped(&self) -> u64 {
        self.shared.reports.dropped()
    }

    /// How things stand, by unit.
    pub fn children(&self) -> Vec<ChildStatus> {
        self.shared.reports.standing()
    }

    /// Stops supervising and leaves all children running. Like dropping it, but returns only when
    /// the directory can be opened again.
    pub async fn close(self) {
        let mut tasks = self
            .tasks
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        tasks.shutdown().await;
    }

    async fn order_each<T>(
        &self,
        units: Vec<UnitName>,
        order: fn(oneshot::Sender<Result<T, SuperviseError>>) -> Order,
    ) -> Vec<(UnitName, Result<T, SuperviseError>)> {
        let mut replies = Vec::new();
        for unit in units {
            let (sender, reply) = oneshot::channel();
            let sent = self.send(&unit, order(sender)).await;
            replies.push((unit, sent.map(|()| reply)));
        }
        let mut results = Vec::new();
        for (unit, reply) in replies {
            let result = match reply {
                Ok(reply) => reply
                    .await
                    .unwrap_or_else(|_gone| Err(SuperviseError::Closed(unit.clone()))),
                Err(error) => Err(error),
            };
            results.push((unit, result));
        }
        results
    }

    async fn send(&self, unit: &UnitName, order: Order) -> Result<(), SuperviseError> {
        let orders = self
            .orders
            .get(unit)
            .ok_or_else(|| SuperviseError::NotConfigured(unit.clone()))?;
        orders
            .send(order)
            .await
            .map_err(|_closed| SuperviseError::Closed(unit.clone()))
    }
}

impl Executor for Supervisor {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(async move {
            let unit = permit.unit().clone();
            let (sender, reply) = oneshot::channel();
            self.send(&unit, Order::Restart(permit, sender))
                .await
                .map_err(|error| ExecuteError::Refused {
                    unit: unit.clone(),
                    reason: error.reason(),
                })?;
            reply.await.unwrap_or_else(|_gone| {
                Err(ExecuteError::Unknown {
                    unit,
                    reason: "its supervisor was closed".to_owned(),
                })
            })
        })
    }

    /// Answers from what was recorded, once what a crash interrupted is finished. An action that
    /// never reached the record was not carried out, and never will be.
    fn inquire<'a>(
        &'a self,
        action: ActionId,
        unit: &'a UnitName,
        _generation: u64,
    ) -> BoxFuture<'a, Effect> {
        Box::pin(async move {
            let (sender, reply) = oneshot::channel();
            match self.send(unit, Order::Inquire(action, sender)).await {
                Ok(()) => reply.await.unwrap_or(Effect::Unknown),
                Err(_) => Effect::Unknown,
            }
        })
    }

    /// By its table of children.
    fn recall(&self) -> Recall {
        Recall::Fenced
    }
}

/// The directory's lock: two engines on one directory would fight over its children. The kernel
/// gives it back when the engine ends, however it ends; children don't inherit it.
async fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("children.lock");
    let failed = |source| OpenError::Directory {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::InUse(directory.to_owned()));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}

fn procfs_lives(phase: &Phase, boot_id: &str) -> bool {
    phase
        .child()
        .is_some_and(|child| procfs::lives(child, boot_id))
}

/// The unit's child among the marked processes: it leads its group. Something that it forked may
/// lead one too, but began later.
fn find(unit: &UnitName, marked: &[(Stat, Marks)], boot_id: &str) -> Option<(u64, ChildIdentity)> {
    marked
        .iter()
        .filter(|(stat, marks)| marks.unit == unit.as_str() && stat.group == stat.pid)
        .max_by_key(|(stat, marks)| (marks.generation, std::cmp::Reverse(stat.start_ticks)))
        .map(|(stat, marks)| {
            let child = ChildIdentity {
                pid: stat.pid,
                start_ticks: stat.start_ticks,
                boot_id: boot_id.to_owned(),
            };
            (marks.generation, child)
        })
}
