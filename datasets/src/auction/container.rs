//! Holds the components of one process, apart from each other, and restarts any of them alone.
//!
//! A component runs on threads of its own, shares no memory with the others and is reached only by
//! messages with deadlines, through this container. That is what makes a microreboot safe without
//! the component's cooperation: the container ends its life by refusing to listen to it any more.
//! A stuck thread can't be killed in Rust, so it is abandoned ([`reboot`]); a process with too many
//! of those must be restarted as a whole, and says so.
//!
//! One thing is shared by all components on purpose: the process's [`Settings`], read once when the
//! process starts. Damage there survives every microreboot.

mod life;
mod reboot;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use opentelemetry::trace::SpanContext;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) use reboot::RebootError;
pub use reboot::Rebooted;

use super::cache::Cache;
use super::fault::{Ailment, Fault, FaultKind, FaultScope};
use super::leak::Leak;
use super::message::{Arguments, CRASHED, CallError, RESTARTING, TIMEOUT, UNAVAILABLE};
use super::peers::Peers;
use super::table::Damage;
use super::telemetry::{Caller, Tracing};
use super::{ServiceName, owner_of, part_of};
use life::{Envelope, Life};

/// What a caller keeps of its own deadline to tell *its* caller that the callee didn't answer. So
/// the innermost wait ends first, and names the part that is really silent.
pub(crate) const DEADLINE_MARGIN: Duration = Duration::from_millis(100);

/// What a component answers, on its own thread: it needn't be `Send`.
pub(crate) type Answering<'a> = Pin<Box<dyn Future<Output = Result<Value, CallError>> + 'a>>;

/// Why a component can't start.
pub(crate) type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Makes a new life's state from the store.
pub(crate) type Factory = Arc<dyn Fn() -> Result<Arc<dyn Component>, StartError> + Send + Sync>;

/// The code and the volatile state of a component, the latter shared by its two workers.
pub(crate) trait Component: Send + Sync {
    /// Answers one call.
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a>;

    /// Damages its volatile state.
    fn damage(&self, damage: Damage);

    /// What of it can be reset alone.
    fn cache(&self) -> Option<&Cache> {
        None
    }
}

/// The bounds of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Lives that are over while a thread of theirs isn't: at so many, no further microreboot.
    pub(crate) abandoned: usize,
    /// How long a component may take to start when it is microrebooted.
    pub(crate) start: Duration,
}

/// What every component reads from its process at each call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComponentSettings {
    /// Rows in a list.
    pub(crate) page_length: usize,
}

/// The process's settings, by component.
type Settings = RwLock<BTreeMap<&'static str, Option<ComponentSettings>>>;

const SETTINGS: ComponentSettings = ComponentSettings { page_length: 25 };

/// See the module.
pub(crate) struct Container {
    tracing: Tracing,
    peers: Peers,
    settings: Settings,
    limits: Limits,
    slots: BTreeMap<&'static str, Slot>,
    actions: Mutex<reboot::Actions>,
}

/// The place of one component, whoever lives in it.
struct Slot {
    name: &'static str,
    factory: Factory,
    /// Illness in the process's memory: every life of the component meets it.
    ailment: Ailment,
    state: Mutex<SlotState>,
    /// Held during a microreboot.
    rebooting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct SlotState {
    current: Option<Arc<Life>>,
    generation: u64,
    /// The generation of what can be reset alone.
    part_generation: u64,
    /// Microreboots that were begun since the process started.
    reboots: u64,
    /// Lives that are over and may still have a running thread.
    over: Vec<Arc<Life>>,
}

/// What a component knows while it works on a call, and the only way it has to ask others.
pub(crate) struct CallContext {
    container: Arc<Container>,
    life: Arc<Life>,
    caller: Caller,
    span: SpanContext,
    deadline: Instant,
    settings: ComponentSettings,
}

/// A component's state, for `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// Whether a life with running threads is there. A hung one is "up": it can't be told here.
    pub up: bool,
    /// The generation of its life, or of its last one.
    pub generation: u64,
    /// Microreboots that were begun since its process started.
    pub reboots: u64,
    /// Calls waiting in its queues.
    pub queued: usize,
    /// Calls whose caller had given up before work on them began; of the present life.
    pub expired: u64,
    /// Ended lives of which a thread is still running.
    pub abandoned_lives: usize,
    /// Those threads.
    pub abandoned_threads: usize,
    /// What its calls have leaked in this life, in bytes.
    #[serde(default)]
    pub leaked_bytes: usize,
}

impl Container {
    pub(crate) fn new(
        tracing: Tracing,
        peers: Peers,
        limits: Limits,
        components: impl IntoIterator<Item = (&'static str, Factory)>,
    ) -> Arc<Self> {
        let slots: BTreeMap<_, _> = components
            .into_iter()
            .map(|(name, factory)| {
                let slot = Slot {
                    name,
                    factory,
                    ailment: Ailment::none(),
                    state: Mutex::default(),
                    rebooting: tokio::sync::Mutex::new(()),
                };
                (name, slot)
            })
            .collect();
        let settings = slots.keys().map(|name| (*name, Some(SETTINGS))).collect();
        Arc::new(Self {
            tracing,
            peers,
            settings: RwLock::new(settings),
            limits,
            slots,
            actions: Mutex::default(),
        })
    }

    pub(crate) fn tracing(&self) -> &Tracing {
        &self.tracing
    }

    /// Asks a component, and waits until its answer, the deadline, or the end of its life. An
    /// answer that comes after the life's end is not accepted.
    pub(crate) async fn call(
        &self,
        caller: Option<&Caller>,
        parent: &SpanContext,
        (component, operation): (&str, &str),
        arguments: Arguments,
        deadline: Instant,
    ) -> Result<Value, CallError> {
        let mut span = self
            .tracing
            .local_call(caller, parent, component, operation);
        let outcome = self
            .exchange(
                span.context().clone(),
                component,
                operation,
                arguments,
                deadline,
            )
            .await;
        match &outcome {
            Err(error) if let Some(error_type) = error.error_type() => {
                span.fail(error_type, &error.to_string());
            }
            _ => span.succeed(),
        }
        outcome
    }

    async fn exchange(
        &self,
        parent: SpanContext,
        component: &str,
        operation: &str,
        arguments: Arguments,
        deadline: Instant,
    ) -> Result<Value, CallError> {
        let unanswered = |error_type| CallError::Unanswered {
            callee: component.to_owned(),
            error_type,
        };
        let slot = self
            .slots
            .get(component)
            .ok_or_else(|| CallError::NotFound(format!("component {component}")))?;
        let life = lock(&slot.state)
            .current
            .clone()
            .ok_or_else(|| unanswered(UNAVAILABLE))?;
        let mut over = life.subscribe_end();
        let (reply, answer) = oneshot::channel();
        let envelope = Envelope {
            operation: operation.to_owned(),
            arguments,
            deadline,
            parent,
            reply,
        };
        life.send(envelope).map_err(unanswered)?;
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => Err(unanswered(RESTARTING)),
            answer = answer => answer
                .unwrap_or_else(|_| Err(unanswered(CRASHED)))
                .map_err(|error| error.seen_by_caller_of(component)),
            () = tokio::time::sleep_until(deadline.into()) => Err(unanswered(TIMEOUT)),
        }
    }

    /// Makes a component ill.
    ///
    /// # Errors
    /// In words, when there is no such component, it isn't up, or the kind isn't to be had there.
    pub(crate) fn inject(&self, fault: &Fault) -> Result<(), String> {
        if let Some(component) = owner_of(&fault.component) {
            return self.slot(component)?.damage_part(fault);
        }
        let slot = self.slot(&fault.component)?;
        let delay = Duration::from_millis(fault.delay_ms);
        match (fault.scope, fault.kind) {
            (FaultScope::Process, FaultKind::WrongAnswer) => {
                Err("no answer is made from the process's own memory".to_owned())
            }
            (FaultScope::Process, FaultKind::Error) => {
                self.set_settings(slot.name, None);
                Ok(())
            }
            (FaultScope::Process, kind) => {
                slot.ailment.set(kind, delay);
                Ok(())
            }
            (FaultScope::Component, kind) => {
                let life = lock(&slot.state)
                    .current
                    .clone()
                    .ok_or_else(|| format!("component {} is down", slot.name))?;
                match kind {
                    FaultKind::Error => life.damage(Damage::Lost),
                    FaultKind::WrongAnswer => life.damage(Damage::Crossed),
                    kind => life.ailment.set(kind, delay),
                }
                Ok(())
            }
        }
    }

    /// Lets a component leak from now until its next life.
    ///
    /// # Errors
    /// In words, when there is no such component, or it isn't up.
    pub(crate) fn leak(&self, leak: &Leak) -> Result<(), String> {
        let slot = self.slot(&leak.component)?;
        let state = lock(&slot.state);
        let life = state
            .current
            .as_ref()
            .ok_or_else(|| format!("component {} is down", slot.name))?;
        life.kept.open(leak.bytes_per_call);
        Ok(())
    }

    /// Undoes every fault without anybody's restart, as far as that can be: the process's memory is
    /// put right and no further call suffers. Threads that are stuck stay so, and rows that were
    /// damaged are loaded again by their component's next life only.
    pub(crate) fn lift_faults(&self) {
        for slot in self.slots.values() {
            self.set_settings(slot.name, Some(SETTINGS));
            slot.ailment.clear();
            if let Some(life) = &lock(&slot.state).current {
                life.ailment.clear();
            }
        }
    }

    fn set_settings(&self, component: &'static str, settings: Option<ComponentSettings>) {
        let mut all = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        all.insert(component, settings);
    }

    fn settings_of(&self, component: &str) -> Result<ComponentSettings, CallError> {
        let all = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        all.get(component)
            .copied()
            .flatten()
            .ok_or_else(|| CallError::Failed {
                error_type: "settings_lost",
                message: format!("the process has no settings for {component}"),
            })
    }

    /// Whether this component (or, without a name, every one) has a life with running threads.
    /// `None` when there is no such component.
    pub(crate) fn is_up(&self, component: Option<&str>) -> Option<bool> {
        match component {
            Some(name) => Some(self.slots.get(owner_of(name).unwrap_or(name))?.is_up()),
            None => Some(self.slots.values().all(Slot::is_up)),
        }
    }

    /// Ends every life, as the process is about to.
    pub(crate) fn end_all(&self) {
        for slot in self.slots.values() {
            if let Some(life) = lock(&slot.state).current.take() {
                life.end();
            }
        }
    }

    pub(crate) fn status(&self) -> Vec<ComponentStatus> {
        self.slots.values().map(Slot::status).collect()
    }

    fn slot(&self, component: &str) -> Result<&Slot, String> {
        self.slots
            .get(component)
            .ok_or_else(|| format!("there is no component {component}"))
    }
}

impl Slot {
    fn is_up(&self) -> bool {
        lock(&self.state)
            .current
            .as_ref()
            .is_some_and(|life| life.runs())
    }

    /// Makes what can be reset alone ill: its answers are lost or mixed up.
    fn damage_part(&self, fault: &Fault) -> Result<(), String> {
        let part = &fault.component;
        let damage = match (fault.scope, fault.kind) {
            (FaultScope::Component, FaultKind::Error) => Damage::Lost,
            (FaultScope::Component, FaultKind::WrongAnswer) => Damage::Crossed,
            (_, kind) => {
                return Err(format!(
                    "{part} has no thread and no memory but its answers: there is no {}",
                    kind.as_str()
                ));
            }
        };
        let life = lock(&self.state).current.clone();
        let component = life.as_ref().and_then(|life| life.component());
        let cache = component.and_then(|component| component.cache());
        cache
            .ok_or_else(|| format!("{part} is down"))?
            .damage(damage);
        Ok(())
    }

    fn status(&self) -> ComponentStatus {
        let mut state = lock(&self.state);
        state.forget_ended();
        let current = state.current.as_ref();
        ComponentStatus {
            name: self.name.to_owned(),
            up: current.is_some_and(|life| life.runs()),
            generation: state.generation,
            reboots: state.reboots,
            queued: current.map_or(0, |life| life.queued()),
            expired: current.map_or(0, |life| life.expired()),
            abandoned_lives: state.over.len(),
            abandoned_threads: state.over.iter().map(|life| life.running_threads()).sum(),
            leaked_bytes: current.map_or(0, |life| life.kept.bytes()),
        }
    }
}

impl SlotState {
    /// Drops the lives whose threads have all ended.
    fn forget_ended(&mut self) {
        self.over.retain(|life| life.running_threads() > 0);
    }
}

impl CallContext {
    pub(crate) fn settings(&self) -> ComponentSettings {
        self.settings
    }

    /// Asks another component of this process.
    pub(crate) async fn call(
        &self,
        component: &str,
        operation: &str,
        arguments: Arguments,
    ) -> Result<Value, CallError> {
        let deadline = self.callee_deadline();
        self.container
            .call(
                Some(&self.caller),
                &self.span,
                (component, operation),
                arguments,
                deadline,
            )
            .await
    }

    /// Does something in the part of this component that can be reset alone.
    pub(crate) fn in_part<T>(
        &self,
        operation: &str,
        work: impl FnOnce() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let name = self.life.name();
        let part = part_of(name).unwrap_or(name);
        let slot = self.container.slots.get(name);
        let caller = Caller {
            function: format!("{part}.{operation}"),
            generation: slot.map_or(0, |slot| lock(&slot.state).part_generation),
        };
        let mut span = self.container.tracing.work(&caller, &self.span);
        let outcome = work();
        match &outcome {
            Err(error) if let Some(error_type) = error.error_type() => {
                span.fail(error_type, &error.to_string());
            }
            _ => span.succeed(),
        }
        outcome.map_err(|error| error.seen_by_caller_of(part))
    }

    /// Asks another process; `route` is the path with names in braces, filled from the arguments.
    pub(crate) async fn remote(
        &self,
        service: ServiceName,
        method: http::Method,
        route: &str,
        arguments: Arguments,
    ) -> Result<Value, CallError> {
        let span = (&self.container.tracing, &self.caller, &self.span);
        self.container
            .peers
            .ask(
                span,
                service,
                method,
                route,
                arguments,
                self.callee_deadline(),
            )
            .await
    }

    /// To be asked before anything is written to the store: a life that is over has no say.
    ///
    /// # Errors
    /// When it is over.
    pub(crate) fn still_alive(&self) -> Result<(), CallError> {
        if self.life.is_over() {
            return Err(CallError::Failed {
                error_type: RESTARTING,
                message: format!("generation {} is over", self.life.generation),
            });
        }
        Ok(())
    }

    fn callee_deadline(&self) -> Instant {
        self.deadline
            .checked_sub(DEADLINE_MARGIN)
            .unwrap_or(self.deadline)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
