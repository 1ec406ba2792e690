//! One life of a component: its threads, their queues, and the word that it is over.
//!
//! Each of the two workers has a queue of its own, filled in turn: a stuck worker can't hold a lock
//! that the other needs. A worker runs up to [`CONCURRENT_CALLS`] calls at once, on a runtime of its
//! own, so that waiting for another component costs no thread; code that blocks blocks its worker,
//! as it would anywhere.

use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use opentelemetry::trace::SpanContext;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use super::{CallContext, Component, Container, StartError, lock};
use crate::auction::fault::Ailment;
use crate::auction::leak::Kept;
use crate::auction::message::{Arguments, BUSY, CRASHED, CallError};
use crate::auction::table::Damage;
use crate::auction::telemetry::Caller;

/// Workers of a component. Two, because a deadlock needs two.
const WORKERS: usize = 2;

/// Calls waiting for one worker. At a full queue the callee would answer after its callers' time
/// anyway.
const QUEUE: usize = 64;

/// Calls that one worker has begun and not ended: those wait for others.
const CONCURRENT_CALLS: usize = 64;

/// One question to a component.
pub(super) struct Envelope {
    pub(super) operation: String,
    pub(super) arguments: Arguments,
    pub(super) deadline: Instant,
    pub(super) parent: SpanContext,
    pub(super) reply: oneshot::Sender<Result<Value, CallError>>,
}

/// See the module.
pub(super) struct Life {
    pub(super) generation: u64,
    /// Illness in the component's own memory.
    pub(super) ailment: Ailment,
    /// What its calls have kept.
    pub(super) kept: Kept,
    component_name: &'static str,
    queues: Vec<mpsc::Sender<Envelope>>,
    turn: AtomicUsize,
    over: watch::Sender<bool>,
    component: OnceLock<Arc<dyn Component>>,
    threads: Mutex<Vec<Worker>>,
    expired: AtomicU64,
}

/// How the start-up work went.
pub(super) type StartReport = oneshot::Receiver<Result<(), StartError>>;

struct Worker {
    /// The kernel's number of the thread; 0 until it runs.
    id: Arc<AtomicI32>,
    handle: JoinHandle<()>,
}

impl Life {
    /// Begins a life: its first worker does the start-up work, tells how that went, and serves; the
    /// second is there at once and has nothing to do until then.
    pub(super) fn begin(
        container: &Arc<Container>,
        component_name: &'static str,
        generation: u64,
    ) -> Result<(Arc<Self>, StartReport), std::io::Error> {
        let (queues, mut receivers): (Vec<_>, Vec<_>) =
            (0..WORKERS).map(|_| mpsc::channel(QUEUE)).unzip();
        let life = Arc::new(Self {
            generation,
            ailment: Ailment::none(),
            kept: Kept::default(),
            component_name,
            queues,
            turn: AtomicUsize::new(0),
            over: watch::Sender::new(false),
            component: OnceLock::new(),
            threads: Mutex::default(),
            expired: AtomicU64::new(0),
        });
        let (started, report) = oneshot::channel();
        let (begin_second, second_begins) = oneshot::channel();
        // Taken from the back: worker 1 first.
        let second = receivers.pop();
        let first = receivers.pop();
        if let (Some(first), Some(second)) = (first, second) {
            life.spawn(0, {
                let (life, container) = (Arc::clone(&life), Arc::clone(container));
                move || {
                    let Some(slot) = container.slots.get(component_name) else {
                        return;
                    };
                    match (slot.factory)() {
                        Ok(component) => {
                            let _ = life.component.set(Arc::clone(&component));
                            let _ = started.send(Ok(()));
                            let _ = begin_second.send(Arc::clone(&component));
                            serve(&container, &life, 0, &component, first);
                        }
                        Err(error) => {
                            let _ = started.send(Err(error));
                        }
                    }
                }
            })?;
            life.spawn(1, {
                let (life, container) = (Arc::clone(&life), Arc::clone(container));
                move || {
                    if let Ok(component) = second_begins.blocking_recv() {
                        serve(&container, &life, 1, &component, second);
                    }
                }
            })?;
        }
        Ok((life, report))
    }

    fn spawn(
        &self,
        worker: usize,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), std::io::Error> {
        let id = Arc::new(AtomicI32::new(0));
        let handle = std::thread::Builder::new()
            .name(format!("{}/{worker}", self.component_name))
            .spawn({
                let id = Arc::clone(&id);
                move || {
                    id.store(rustix::thread::gettid().as_raw_pid(), Ordering::SeqCst);
                    work();
                }
            })?;
        lock(&self.threads).push(Worker { id, handle });
        Ok(())
    }

    /// Puts a call into the queue of the worker whose turn it is; what `error.type` is when it
    /// can't be had there.
    pub(super) fn send(&self, envelope: Envelope) -> Result<(), &'static str> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let queue = &self.queues[turn % self.queues.len()];
        queue.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BUSY,
            mpsc::error::TrySendError::Closed(_) => CRASHED,
        })
    }

    pub(super) fn subscribe_end(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// What lives it; `None` until it has started.
    pub(super) fn component(&self) -> Option<&Arc<dyn Component>> {
        self.component.get()
    }

    pub(super) const fn name(&self) -> &'static str {
        self.component_name
    }

    pub(super) fn damage(&self, damage: Damage) {
        if let Some(component) = self.component() {
            component.damage(damage);
        }
    }

    /// Ends the life: callers stop waiting, healthy workers stop, stuck ones are made to wait for
    /// everybody else's work.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
        self.kept.end();
        for worker in lock(&self.threads).iter() {
            let id = worker.id.load(Ordering::SeqCst);
            if worker.handle.is_finished() || id == 0 {
                continue;
            }
            // The kernel takes a thread's number here; a thread that ends between the question and
            // the deed makes this fail, which is as good.
            if let Some(thread) = rustix::process::Pid::from_raw(id) {
                let _ = rustix::process::setpriority_process(Some(thread), LOWEST_PRIORITY);
            }
        }
    }

    pub(super) fn running_threads(&self) -> usize {
        let threads = lock(&self.threads);
        let running = threads.iter().filter(|worker| !worker.handle.is_finished());
        running.count()
    }

    /// Whether every worker is there.
    pub(super) fn runs(&self) -> bool {
        self.running_threads() == WORKERS
    }

    pub(super) fn queued(&self) -> usize {
        let lengths = self
            .queues
            .iter()
            .map(|queue| queue.max_capacity() - queue.capacity());
        lengths.sum()
    }

    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }
}

/// Nice 19: an abandoned endless loop gets what nobody else wants.
const LOWEST_PRIORITY: i32 = 19;

/// Serves calls until the life is over. A call that panics takes the thread with it.
fn serve(
    container: &Arc<Container>,
    life: &Arc<Life>,
    worker: usize,
    component: &Arc<dyn Component>,
    mut queue: mpsc::Receiver<Envelope>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(component = life.component_name, %error, "a worker can't start");
            return;
        }
    };
    LocalSet::new().block_on(&runtime, async {
        let mut over = life.subscribe_end();
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => return,
                Some(ended) = calls.join_next(), if !calls.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
                envelope = queue.recv(), if calls.len() < CONCURRENT_CALLS => {
                    let Some(envelope) = envelope else { return };
                    let (container, life) = (Arc::clone(container), Arc::clone(life));
                    let component = Arc::clone(component);
                    calls.spawn_local(answer(container, life, worker, component, envelope));
                }
            }
        }
    });
}

async fn answer(
    container: Arc<Container>,
    life: Arc<Life>,
    worker: usize,
    component: Arc<dyn Component>,
    envelope: Envelope,
) {
    if Instant::now() >= envelope.deadline {
        // Its caller has given up: work on it would only make the others late too.
        life.expired.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let caller = Caller {
        function: format!("{}.{}", life.component_name, envelope.operation),
        generation: life.generation,
    };
    let mut span = container.tracing.work(&caller, &envelope.parent);
    let outcome = async {
        if !life.is_over() {
            life.kept.call();
        }
        life.ailment.suffer(worker).await;
        if let Some(slot) = container.slots.get(life.component_name) {
            slot.ailment.suffer(worker).await;
        }
        let context = CallContext {
            settings: container.settings_of(life.component_name)?,
            container: Arc::clone(&container),
            life: Arc::clone(&life),
            caller,
            span: span.context().clone(),
            deadline: envelope.deadline,
        };
        component
            .call(&envelope.operation, &envelope.arguments, &context)
            .await
    }
    .await;
    match &outcome {
        Err(error) if let Some(error_type) = error.error_type() => {
            span.fail(error_type, &error.to_string());
        }
        _ => span.succeed(),
    }
    drop(span);
    // Nobody may be waiting any more.
    let _ = envelope.reply.send(outcome);
}
