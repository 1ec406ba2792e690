//! Where in its life is a supervised child, and what may happen to it next?
//!
//! One enum and one transition function, used while working and while picking up the pieces after
//! a crash alike. A phase is on disk before the effect that it announces, so that the phase found
//! after a crash names every effect that may have happened: [`Phase::Starting`] means that a
//! child may have been spawned, [`Phase::Stopping`] that one may have been killed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which process a child is, for certain: a pid alone may have been given to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildIdentity {
    /// Its process id, and that of its process group.
    pub pid: i32,
    /// When it was started, in clock ticks since the host's boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// The boot it was started in (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

/// How a child's life ended without our doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone, and nobody who could know its exit code was there.
    Unseen,
    /// The host was restarted under it.
    HostRestarted,
    /// It could not be started, in the operating system's words.
    NotSpawned(String),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unseen => f.write_str("ended while nobody was there to see how"),
            Self::HostRestarted => f.write_str("ended with a restart of the host"),
            Self::NotSpawned(reason) => write!(f, "could not be started: {reason}"),
        }
    }
}

/// Where a child is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It never had a life.
    Never,
    /// It is about to be spawned, or has been, and that wasn't written down yet.
    Starting {
        /// The life that begins.
        generation: u64,
    },
    /// It was spawned. Whether it is ready is not a phase: nothing needs to be picked up there.
    Running {
        /// Its life.
        generation: u64,
        /// Which process it is.
        child: ChildIdentity,
    },
    /// It is being ended.
    Stopping {
        /// The life that ends.
        generation: u64,
        /// Which process it is; `None` if it had ended before and only its remains are swept.
        child: Option<ChildIdentity>,
        /// The life to begin after it; `None` if it shall stay down.
        next: Option<u64>,
    },
    /// Nothing is left of it.
    Stopped {
        /// The life that ended.
        generation: u64,
        /// The life to begin; `None` if it shall stay down.
        next: Option<u64>,
    },
    /// It ended by itself, and shall be restarted only if somebody decides so.
    Exited {
        /// The life that ended.
        generation: u64,
        /// How.
        how: Ending,
        /// How long it had lived since it was spawned, where its end was seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lived: Option<Duration>,
    },
}

/// What happens to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhaseEvent {
    /// It shall be spawned, with this generation.
    Start(u64),
    /// It was spawned, or found to have been spawned with this generation before a crash.
    Spawned(u64, ChildIdentity),
    /// Spawning failed.
    NotSpawned(String),
    /// It shall end, and begin again with this generation if there is one.
    Stop(Option<u64>),
    /// Nothing is left of it.
    Gone,
    /// It ended by itself, after so long.
    Ended(Ending, Option<Duration>),
}

/// An event that can't happen in this phase: a mistake in this program, or a table that was
/// written by something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} can't happen to a child in phase {phase:?}")]
pub struct IllegalTransition {
    /// The phase.
    pub phase: Phase,
    /// The event.
    pub event: PhaseEvent,
}

impl Phase {
    /// The number of the life that is or was last; 0 before the first.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Never => 0,
            Self::Starting { generation }
            | Self::Running { generation, .. }
            | Self::Stopping { generation, .. }
            | Self::Stopped { generation, .. }
            | Self::Exited { generation, .. } => *generation,
        }
    }

    /// The highest generation that was promised to anybody: the next one must be above it.
    pub fn highest_generation(&self) -> u64 {
        match self {
            Self::Stopping {
                generation,
                next: Some(next),
                ..
            }
            | Self::Stopped {
                generation,
                next: Some(next),
            } => *generation.max(next),
            other => other.generation(),
        }
    }

    /// The phase's name, for people and programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::Exited { .. } => "exited",
        }
    }

    /// The process that lives, or may still live.
    pub fn child(&self) -> Option<&ChildIdentity> {
        match self {
            Self::Running { child, .. } => Some(child),
            Self::Stopping { child, .. } => child.as_ref(),
            _ => None,
        }
    }

    /// The phase after an event.
    ///
    /// # Errors
    ///
    /// If the event can't happen in this phase, among them every start with a generation that
    /// isn't above all before it.
    pub fn after(&self, event: PhaseEvent) -> Result<Self, IllegalTransition> {
        let next = match (self, &event) {
            (
                Self::Stopped {
                    next: Some(due), ..
                },
                PhaseEvent::Start(generation),
            ) if due == generation => Some(Self::Starting {
                generation: *generation,
            }),
            (
                Self::Never | Self::Stopped { next: None, .. } | Self::Exited { .. },
                PhaseEvent::Start(generation),
            ) if *generation > self.highest_generation() => Some(Self::Starting {
                generation: *generation,
            }),
            (Self::Starting { generation: due }, PhaseEvent::Spawned(generation, child))
                if due == generation =>
            {
                Some(Self::running(*generation, child))
            }
            // A child that was spawned while the table could not be written, found by its
            // environment.
            (
                Self::Stopping {
                    next: Some(due), ..
                }
                | Self::Stopped {
                    next: Some(due), ..
                },
                PhaseEvent::Spawned(generation, child),
            ) if due == generation => Some(Self::running(*generation, child)),
            (Self::Starting { generation }, PhaseEvent::NotSpawned(reason)) => Some(Self::Exited {
                generation: *generation,
                how: Ending::NotSpawned(reason.clone()),
                lived: None,
            }),
            (
                Self::Running { .. }
                | Self::Stopping { .. }
                | Self::Stopped { .. }
                | Self::Exited { .. }
                | Self::Never
                | Self::Starting { .. },
                PhaseEvent::Stop(next),
            ) if next.is_none_or(|next| next > self.generation()) => Some(Self::Stopping {
                generation: self.generation(),
                child: self.child().cloned(),
                next: *next,
            }),
            (
                Self::Stopping {
                    generation, next, ..
                },
                PhaseEvent::Gone,
            ) => Some(Self::Stopped {
                generation: *generation,
                next: *next,
            }),
            (Self::Running { generation, .. }, PhaseEvent::Ended(how, lived)) => {
                Some(Self::Exited {
                    generation: *generation,
                    how: how.clone(),
                    lived: *lived,
                })
            }
            _ => None,
        };
        next.ok_or_else(|| IllegalTransition {
            phase: self.clone(),
            event,
        })
    }

    fn running(generation: u64, child: &ChildIdentity) -> Self {
        Self::Running {
            generation,
            child: child.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn child(pid: i32) -> ChildIdentity {
        ChildIdentity {
            pid,
            start_ticks: 7,
            boot_id: "boot".to_owned(),
        }
    }

    fn walk(events: &[PhaseEvent]) -> Result<Phase, IllegalTransition> {
        events
            .iter()
            .try_fold(Phase::Never, |phase, event| phase.after(event.clone()))
    }

    #[test]
    fn a_restart_passes_every_phase_in_order() {
        use PhaseEvent::*;
        let mut phase = Phase::Never;
        for (event, name) in [
            (Start(1), "starting"),
            (Spawned(1, child(10)), "running"),
            (Stop(Some(2)), "stopping"),
            (Gone, "stopped"),
            (Start(2), "starting"),
            (Spawned(2, child(11)), "running"),
            (Ended(Ending::Code(3), None), "exited"),
            (Stop(Some(3)), "stopping"),
            (Gone, "stopped"),
            (Start(3), "starting"),
            (NotSpawned("no such file".to_owned()), "exited"),
            (Stop(None), "stopping"),
            (Gone, "stopped"),
            (Start(4), "starting"),
        ] {
            phase = phase.after(event).expect("legal");
            assert_eq!(phase.name(), name);
        }
    }

    #[test]
    fn what_must_not_happen_is_refused() {
        use PhaseEvent::*;
        let running = [Start(1), Spawned(1, child(10))];
        for bad in [
            vec![Start(0)],
            vec![Spawned(1, child(10))],
            vec![Gone],
            vec![Start(1), Spawned(2, child(10))],
            vec![Start(1), Start(2)],
            [&running[..], &[Start(2)]].concat(),
            [&running[..], &[Spawned(2, child(11))]].concat(),
            [&running[..], &[Gone]].concat(),
            [&running[..], &[Stop(Some(1))]].concat(),
            // Not before the old life is gone …
            [&running[..], &[Stop(Some(2)), Start(2)]].concat(),
            // … and not with another generation than the recorded one.
            [&running[..], &[Stop(Some(2)), Gone, Start(3)]].concat(),
            [&running[..], &[Stop(None), Ended(Ending::Unseen, None)]].concat(),
        ] {
            assert!(walk(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_child_that_was_spawned_unrecorded_can_be_taken_in() {
        use PhaseEvent::*;
        let phase = walk(&[
            Start(1),
            Spawned(1, child(10)),
            Stop(Some(2)),
            Spawned(2, child(11)),
        ]);
        assert_eq!(
            phase,
            Ok(Phase::Running {
                generation: 2,
                child: child(11)
            })
        );
    }

    fn any_event() -> impl Strategy<Value = PhaseEvent> {
        let generation = 0_u64..6;
        prop_oneof![
            generation.clone().prop_map(PhaseEvent::Start),
            (generation.clone(), 1..5_i32)
                .prop_map(|(generation, pid)| PhaseEvent::Spawned(generation, child(pid))),
            Just(PhaseEvent::NotSpawned("no".to_owned())),
            prop::option::of(generation).prop_map(PhaseEvent::Stop),
            Just(PhaseEvent::Gone),
            prop::option::of(0..9u64).prop_map(|lived| {
                PhaseEvent::Ended(Ending::Unseen, lived.map(Duration::from_secs))
            }),
        ]
    }

    proptest! {
        #[test]
        fn generations_never_fall_and_lives_never_overlap(events in prop::collection::vec(any_event(), 0..60)) {
            let mut phase = Phase::Never;
            for event in events {
                let Ok(next) = phase.after(event) else { continue };
                prop_assert!(next.generation() >= phase.generation());
                if let (Some(old), Phase::Running { child: new, generation }) = (phase.child(), &next) {
                    // From one process to another only through a recorded stop, to a new life.
                    prop_assert!(matches!(phase, Phase::Stopping { .. }), "{old:?} to {new:?}");
                    prop_assert!(*generation > phase.generation());
                }
                if let Phase::Starting { generation } = next {
                    prop_assert!(generation > phase.generation());
                    prop_assert!(phase.child().is_none());
                }
                phase = next;
            }
        }

        #[test]
        fn a_phase_survives_the_table(events in prop::collection::vec(any_event(), 0..20)) {
            let mut phase = Phase::Never;
            for event in events {
                if let Ok(next) = phase.after(event) { phase = next; }
            }
            let text = serde_json::to_string(&phase).expect("serializes");
            prop_assert_eq!(serde_json::from_str::<Phase>(&text).expect("reads back"), phase);
        }
    }
}
