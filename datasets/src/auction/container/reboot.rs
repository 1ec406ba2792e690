//! The microreboot: a component's new life, whether or not the old one agrees.
//!
//! The order is crash first: the old life is over before the new one begins, so that two lives
//! never write to the store at once, and the state is loaded again from the store by the same code
//! that starts the process. There is no other way to start or to stop a component.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::life::Life;
use super::{Container, Slot, lock};
use crate::auction::owner_of;

/// Actions remembered for their key. Whoever asks about an older one is told that it isn't known.
const REMEMBERED_ACTIONS: usize = 256;

/// A microreboot that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebooted {
    /// The component.
    pub component: String,
    /// The generation of its new life.
    pub generation: u64,
    /// From the end of the old life until the new one was ready.
    pub downtime_ms: u64,
    /// Lives of this process that are over while a thread of theirs still runs.
    pub abandoned_lives: usize,
}

/// A microreboot that was not done, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RebootError {
    #[error("there is no component {component}")]
    NoComponent { component: String },
    #[error("generation {wanted} of {component} is over; it is at {current}")]
    Stale {
        component: String,
        wanted: u64,
        current: u64,
    },
    #[error("too many abandoned threads ({lives} lives): restart the process")]
    TooManyAbandoned { lives: usize },
    #[error("{component} did not start within {limit:?}; it is down")]
    StartTooLong { component: String, limit: Duration },
    #[error("{component} can't start: {reason}; it is down")]
    StartFailed { component: String, reason: String },
}

type Outcome = Result<Rebooted, RebootError>;

/// What became of recent actions, by their key.
#[derive(Default)]
pub(super) struct Actions {
    recent: VecDeque<(String, String, watch::Receiver<Option<Outcome>>)>,
}

impl Container {
    /// Starts every component, all at once, as the process begins.
    pub(crate) async fn start_all(self: &Arc<Self>) {
        let mut starting = tokio::task::JoinSet::new();
        for name in self.slots.keys().copied() {
            let container = Arc::clone(self);
            starting.spawn(async move {
                let Some(slot) = container.slots.get(name) else {
                    return;
                };
                let _rebooting = slot.rebooting.lock().await;
                // Nobody waits for the answer, and giving up leaves a process that is never ready: how long
                // that may take is for whoever started it to say.
                if let Err(error) = container.begin_life(slot, 0, Duration::MAX).await {
                    tracing::error!(component = name, %error, "a component did not start");
                }
            });
        }
        while starting.join_next().await.is_some() {}
    }

    /// Reboots a component. The same key does it once and always gets the same answer; the work
    /// goes on when whoever asked for it goes away.
    pub(crate) async fn microreboot(
        self: &Arc<Self>,
        component: &str,
        key: Option<&str>,
        generation: Option<u64>,
    ) -> Outcome {
        let mut outcome = match key {
            None => self.begin_reboot(component, generation),
            Some(key) => {
                let mut actions = lock(&self.actions);
                match actions.find(component, key) {
                    Some(outcome) => outcome,
                    None => {
                        let outcome = self.begin_reboot(component, generation);
                        actions.remember(component, key, outcome.clone());
                        outcome
                    }
                }
            }
        };
        let ended = outcome.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|outcome| outcome.clone())
            .unwrap_or_else(|| {
                Err(RebootError::StartFailed {
                    component: component.to_owned(),
                    reason: "the microreboot was broken off".to_owned(),
                })
            })
    }

    /// Whether the action of this key was carried out. One that is under way is waited for: "not
    /// done" must mean that it never will be.
    pub(crate) async fn is_done(&self, component: &str, key: &str) -> bool {
        let outcome = lock(&self.actions).find(component, key);
        let Some(mut outcome) = outcome else {
            return false;
        };
        let ended = outcome.wait_for(Option::is_some).await;
        ended.is_ok_and(|outcome| matches!(*outcome, Some(Ok(_))))
    }

    fn begin_reboot(
        self: &Arc<Self>,
        component: &str,
        generation: Option<u64>,
    ) -> watch::Receiver<Option<Outcome>> {
        let (done, outcome) = watch::channel(None);
        let container = Arc::clone(self);
        let component = component.to_owned();
        // Bounded by the start limit; its end is what `outcome` waits for.
        tokio::spawn(async move {
            let result = container.reboot(&component, generation).await;
            done.send_replace(Some(result));
        });
        outcome
    }

    async fn reboot(self: &Arc<Self>, component: &str, generation: Option<u64>) -> Outcome {
        if let Some(owner) = owner_of(component) {
            return self.reset_part(owner, component, generation).await;
        }
        let slot = self
            .slots
            .get(component)
            .ok_or_else(|| RebootError::NoComponent {
                component: component.to_owned(),
            })?;
        let _rebooting = slot.rebooting.lock().await;
        let abandoned = self.abandoned_lives();
        if abandoned >= self.limits.abandoned {
            return Err(RebootError::TooManyAbandoned { lives: abandoned });
        }
        let begun = Instant::now();
        let generation = slot.end_life(generation)?;
        self.begin_life(slot, generation, self.limits.start).await?;
        let rebooted = Rebooted {
            component: component.to_owned(),
            generation,
            downtime_ms: begun.elapsed().as_millis() as u64,
            abandoned_lives: self.abandoned_lives(),
        };
        tracing::info!(component, generation, "microrebooted");
        Ok(rebooted)
    }

    /// Resets what of a component can be reset alone: it is as new then, or it isn't and says so.
    async fn reset_part(&self, owner: &str, part: &str, generation: Option<u64>) -> Outcome {
        let Some(slot) = self.slots.get(owner) else {
            return Err(RebootError::NoComponent {
                component: owner.to_owned(),
            });
        };
        let failed = |reason: String| RebootError::StartFailed {
            component: part.to_owned(),
            reason,
        };
        let _rebooting = slot.rebooting.lock().await;
        let begun = Instant::now();
        let (life, generation) = {
            let mut state = lock(&slot.state);
            state.part_generation = next_generation(part, generation, state.part_generation)?;
            (state.current.clone(), state.part_generation)
        };
        // Its locks may be held by a thread that is stuck.
        let reset = tokio::task::spawn_blocking(move || {
            let component = life.as_ref().and_then(|life| life.component());
            match component.and_then(|component| component.cache()) {
                Some(cache) => cache.reset().map_err(|error| error.to_string()),
                None => Err("what it is part of is down".to_owned()),
            }
        });
        match tokio::time::timeout(self.limits.start, reset).await {
            Ok(Ok(done)) => done.map_err(failed)?,
            Ok(Err(_)) => return Err(failed("it died meanwhile".to_owned())),
            Err(_) => {
                return Err(RebootError::StartTooLong {
                    component: part.to_owned(),
                    limit: self.limits.start,
                });
            }
        }
        tracing::info!(part, generation, "reset");
        Ok(Rebooted {
            component: part.to_owned(),
            generation,
            downtime_ms: begun.elapsed().as_millis() as u64,
            abandoned_lives: self.abandoned_lives(),
        })
    }

    /// Starts a life and, once it is ready, lets calls reach it. One that isn't ready within the limit is over.
    async fn begin_life(
        self: &Arc<Self>,
        slot: &Slot,
        generation: u64,
        limit: Duration,
    ) -> Result<(), RebootError> {
        let failed = |reason: String| RebootError::StartFailed {
            component: slot.name.to_owned(),
            reason,
        };
        let (life, started) =
            Life::begin(self, slot.name, generation).map_err(|error| failed(error.to_string()))?;
        let error = match tokio::time::timeout(limit, started).await {
            Ok(Ok(Ok(()))) => {
                lock(&slot.state).current = Some(life);
                return Ok(());
            }
            Ok(Ok(Err(error))) => failed(error.to_string()),
            Ok(Err(_)) => failed("it died while starting".to_owned()),
            Err(_) => RebootError::StartTooLong {
                component: slot.name.to_owned(),
                limit,
            },
        };
        life.end();
        lock(&slot.state).over.push(life);
        Err(error)
    }

    fn abandoned_lives(&self) -> usize {
        let lives = self.slots.values().map(|slot| {
            let mut state = lock(&slot.state);
            state.forget_ended();
            state.over.len()
        });
        lives.sum()
    }
}

impl Slot {
    /// Ends the present life, if there is one, and says which generation comes next.
    fn end_life(&self, wanted: Option<u64>) -> Result<u64, RebootError> {
        let mut state = lock(&self.state);
        let next = next_generation(self.name, wanted, state.generation)?;
        if let Some(life) = state.current.take() {
            life.end();
            state.over.push(life);
        }
        state.generation = next;
        state.reboots += 1;
        Ok(next)
    }
}

/// Which generation comes next, unless one is wanted that is over.
fn next_generation(unit: &str, wanted: Option<u64>, current: u64) -> Result<u64, RebootError> {
    match wanted {
        Some(wanted) if wanted < current => Err(RebootError::Stale {
            component: unit.to_owned(),
            wanted,
            current,
        }),
        Some(wanted) => Ok(wanted),
        None => Ok(current + 1),
    }
}

impl Actions {
    fn find(&self, component: &str, key: &str) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut recent = self.recent.iter();
        let found = recent.find(|(of, known, _)| of == component && known == key)?;
        Some(found.2.clone())
    }

    fn remember(&mut self, component: &str, key: &str, outcome: watch::Receiver<Option<Outcome>>) {
        if self.recent.len() == REMEMBERED_ACTIONS {
            self.recent.pop_front();
        }
        self.recent
            .push_back((component.to_owned(), key.to_owned(), outcome));
    }
}
