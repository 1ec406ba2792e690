//! Who carries out restarts. Executors are the only side effects of recovery.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::UnitName;
use crate::crash::Passing;

/// An action's number in the ledger.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ActionId(pub u64);

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The leave to restart one unit once. Only the ledger makes it, after the intent is on disk, so
/// that no restart can happen that the ledger doesn't know.
#[derive(Debug)]
pub struct Permit {
    action: ActionId,
    unit: UnitName,
    generation: u64,
    deadline: Duration,
    incident: Option<u64>,
    passing: Passing,
}

impl Permit {
    /// For the ledger alone.
    pub(crate) fn new(
        action: ActionId,
        unit: UnitName,
        generation: u64,
        deadline: Duration,
    ) -> Self {
        Self {
            action,
            unit,
            generation,
            deadline,
            incident: None,
            passing: Passing::default(),
        }
    }

    /// The same, given because of an incident.
    pub(crate) fn because_of(self, incident: Option<u64>) -> Self {
        Self { incident, ..self }
    }

    /// The same, whose restart tells where it passes.
    pub(crate) fn passing(self, passing: Passing) -> Self {
        Self { passing, ..self }
    }

    /// Whom its restart tells where it passes.
    pub(crate) fn passed(&self) -> Passing {
        self.passing.clone()
    }

    /// The action.
    pub fn action(&self) -> ActionId {
        self.action
    }

    /// The unit to restart.
    pub fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// The generation that its next life has.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How long it may take from the order to ready.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The incident that it is for; `None` where a person or a rule ordered the restart.
    pub fn incident(&self) -> Option<u64> {
        self.incident
    }
}

/// What the telemetry of a life says which life it is: the number that the process was told, and the one of a part within
/// that process. Different counters, since a new process's parts count from the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Life {
    /// The process's, where whoever started it could tell it ([`ExecutorSpec::tells_generation`](crate::ExecutorSpec::tells_generation)).
    pub process: Option<u64>,
    /// The part's, where it said that it took the number that it was told.
    pub part: Option<u64>,
}

/// A restart that was carried out: the old life has ended and the new one said that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// When the old life began to end: requests from then on are in the restart's shadow.
    pub stopped_at: SystemTime,
    /// When the new life was ready.
    pub ready_at: SystemTime,
    /// The life that began, as far as its telemetry will tell.
    pub began: Life,
    /// What is worth telling people.
    pub note: String,
}

/// A restart that was not carried out, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// Nothing was done: the endpoint refused, the command doesn't exist.
    #[error("restart of {unit} was refused: {reason}")]
    Refused {
        /// The unit.
        unit: UnitName,
        /// In whose words.
        reason: String,
    },
    /// The old life has ended, but the new one isn't ready.
    #[error("{unit} did not become ready within {deadline:?}: {reason}")]
    NotReady {
        /// The unit.
        unit: UnitName,
        /// How long it had.
        deadline: Duration,
        /// What was last seen of it.
        reason: String,
    },
    /// Whether anything was done can't be told: the connection broke, the command timed out.
    #[error("whether {unit} was restarted is unknown: {reason}")]
    Unknown {
        /// The unit.
        unit: UnitName,
        /// What happened.
        reason: String,
    },
}

/// What an executor can say after a crash about an action that was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was carried out.
    Done,
    /// It was not, and will not be.
    NotDone,
    /// It can't be told.
    Unknown,
}

/// What an executor can be asked about an action after a crash.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Recall {
    /// Nothing: an action that was in flight stays unknown.
    Nothing,
    /// What became of it.
    Effect,
    /// What became of it; and the same action, should it arrive late or twice, acts only once or
    /// only on those whom it was meant for.
    Fenced,
}

/// What the platform that keeps a unit alive has against a restart of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Veto {
    /// It promised somebody that more would serve than the restart leaves. In words for people, like all of these.
    Budget(String),
    /// It promised so much that no wait will ever let the restart happen.
    Never(String),
    /// Somebody's rollout or scaling is under way.
    Rollout(String),
    /// One has come to a halt, and may never end by itself.
    Halted(String),
    /// It couldn't be asked.
    Unclear(String),
}

impl Veto {
    /// For people.
    pub fn words(&self) -> &str {
        match self {
            Self::Budget(words)
            | Self::Never(words)
            | Self::Rollout(words)
            | Self::Halted(words)
            | Self::Unclear(words) => words,
        }
    }
}

/// A boxed future, so that executors can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that can restart units of its kind.
pub trait Executor: Send + Sync {
    /// Restarts the unit and waits until it is ready, the deadline passes or it fails.
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>>;

    /// After a crash: what became of this action.
    fn inquire<'a>(
        &'a self,
        action: ActionId,
        unit: &'a UnitName,
        generation: u64,
    ) -> BoxFuture<'a, Effect>;

    /// What it can be asked about an action after a crash.
    fn recall(&self) -> Recall {
        Recall::Nothing
    }

    /// Asks the platform what it has against a restart now; `None` where there is no platform to ask. That it has nothing
    /// is an empty list.
    fn vetoes(&self) -> Option<BoxFuture<'_, Vec<Veto>>> {
        None
    }

    /// The longest time that passes before it begins to restart anything, beside the permit's deadline:
    /// callers are told to stay away, and the unit may put its state in safety.
    fn beforehand(&self) -> Duration {
        Duration::ZERO
    }
}
