//! What does the supervisor tell others: events as they happen, and how things stand?
//!
//! Events are for reacting, the standing for showing and for whoever missed an event: the channel
//! is bounded, and what doesn't fit is counted and dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::mpsc;

use super::phase::{Ending, Phase};
use super::table::Row;
use crate::UnitName;

/// Room for every unit of a large tree to be restarted and to crash while the reader is busy.
const EVENT_CAPACITY: usize = 1024;

/// Something that happened to a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ChildEvent {
    /// It was spawned.
    Started {
        /// The unit.
        unit: UnitName,
        /// Its life.
        generation: u64,
        /// Its process.
        pid: i32,
        /// When.
        at: SystemTime,
    },
    /// Its readiness probe was answered rightly after a start.
    Ready {
        /// The unit.
        unit: UnitName,
        /// Its life.
        generation: u64,
        /// When.
        at: SystemTime,
    },
    /// It was not ready by its deadline. It is left running.
    NotReady {
        /// The unit.
        unit: UnitName,
        /// Its life.
        generation: u64,
        /// What was last seen of it.
        reason: String,
        /// When.
        at: SystemTime,
    },
    /// It ended without being told to, or could not be started; nothing restarts it by itself.
    /// Told again at every start of the engine until it is restarted.
    Exited {
        /// The unit.
        unit: UnitName,
        /// The life that ended.
        generation: u64,
        /// How.
        how: Ending,
        /// How long it had lived, where its end was seen.
        lived: Option<Duration>,
        /// The last line of its log, if it wrote any.
        last_line: Option<String>,
        /// When this was seen, which may be long after it happened.
        at: SystemTime,
    },
    /// It was started by an earlier run of the engine and lives; it is watched again.
    Adopted {
        /// The unit.
        unit: UnitName,
        /// Its life.
        generation: u64,
        /// Its process.
        pid: i32,
        /// When.
        at: SystemTime,
    },
    /// It can't be ended, not even by KILL.
    Stuck {
        /// The unit.
        unit: UnitName,
        /// The life that doesn't end.
        generation: u64,
        /// What is left of it.
        reason: String,
        /// When this was given up.
        at: SystemTime,
    },
    /// It isn't started while somebody else listens on its ports, and is once nobody does.
    Blocked {
        /// The unit.
        unit: UnitName,
        /// The life that is to begin.
        generation: u64,
        /// Who listens.
        reason: String,
        /// When this was seen.
        at: SystemTime,
    },
}

/// How things stand with one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildStatus {
    /// The unit.
    pub unit: UnitName,
    /// Its process, while there is one.
    pub pid: Option<i32>,
    /// The life that is or was last; 0 before the first.
    pub generation: u64,
    /// Where it is in its life: `never`, `starting`, `running`, `stopping`, `stopped`, `exited`.
    pub phase: &'static str,
    /// How its last life ended, if by itself.
    pub ending: Option<Ending>,
    /// Since when it is in this phase.
    pub since: SystemTime,
    /// How often it ended by itself.
    pub exits: u64,
    /// Whether it shall run.
    pub wanted: bool,
    /// Whether the configuration still knows it.
    pub configured: bool,
}

impl fmt::Display for ChildEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started {
                unit,
                generation,
                pid,
                ..
            } => write!(
                f,
                "{unit} was started as process {pid}, generation {generation}"
            ),
            Self::Ready {
                unit, generation, ..
            } => write!(f, "{unit} is ready, generation {generation}"),
            Self::NotReady { unit, reason, .. } => {
                write!(
                    f,
                    "{unit} is not ready, and its time for it is over: {reason}"
                )
            }
            Self::Exited {
                unit,
                generation,
                how,
                last_line,
                ..
            } => {
                let words = format!("{unit} ended by itself, generation {generation}: {how}");
                f.write_str(&with_last_line(words, last_line.as_deref()))
            }
            Self::Adopted {
                unit,
                generation,
                pid,
                ..
            } => write!(
                f,
                "{unit} still lives as process {pid}, generation {generation}, and is watched again"
            ),
            Self::Stuck { unit, reason, .. } => write!(f, "{unit} can't be ended: {reason}"),
            Self::Blocked { unit, reason, .. } => {
                write!(
                    f,
                    "{unit} can't be started, and will be when that is over: {reason}"
                )
            }
        }
    }
}

/// What happened to a process, and what it last wrote, if it wrote anything.
pub fn with_last_line(words: String, last_line: Option<&str>) -> String {
    match last_line {
        Some(line) => format!("{words}; its log ends with: {line}"),
        None => words,
    }
}

/// Where reports go.
#[derive(Debug)]
pub(super) struct Reports {
    events: mpsc::Sender<ChildEvent>,
    dropped: AtomicU64,
    standing: Mutex<BTreeMap<UnitName, ChildStatus>>,
}

impl Reports {
    pub(super) fn new() -> (Self, mpsc::Receiver<ChildEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_CAPACITY);
        let reports = Self {
            events,
            dropped: AtomicU64::new(0),
            standing: Mutex::new(BTreeMap::new()),
        };
        (reports, receiver)
    }

    pub(super) fn tell(&self, event: ChildEvent) {
        tracing::info!("{event}");
        if self.events.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn publish(&self, unit: &UnitName, row: &Row, configured: bool) {
        let status = ChildStatus {
            unit: unit.clone(),
            pid: row.phase.child().map(|child| child.pid),
            generation: row.phase.generation(),
            phase: row.phase.name(),
            ending: match &row.phase {
                Phase::Exited { how, .. } => Some(how.clone()),
                _ => None,
            },
            since: SystemTime::UNIX_EPOCH + Duration::from_nanos(row.since_unix_nanos),
            exits: row.exits,
            wanted: row.wanted,
            configured,
        };
        self.lock().insert(unit.clone(), status);
    }

    pub(super) fn standing(&self) -> Vec<ChildStatus> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UnitName, ChildStatus>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
