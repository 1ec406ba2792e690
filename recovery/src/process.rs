//! How does Rekindle run processes so that it may itself die at any moment?
//!
//! It starts them in process groups of their own, writes down in `children.sqlite` what it is
//! about to do before it does it, and marks their environment, so that whoever opens the state
//! directory next knows or finds every child. Children outlive the engine; nothing is restarted
//! because the engine was.
//!
//! # What happens when the engine dies, and what the next start does
//!
//! A restart of generation *n* to *n+1*, with the phase that is on disk:
//!
//! | the engine dies | on disk | what lives | the next start |
//! |---|---|---|---|
//! | before the order is recorded | running *n* | *n* | adopts *n*; the action was not done |
//! | after it, before TERM | stopping *n*, next *n+1* | *n* | ends *n*, starts *n+1* |
//! | between TERM and the end of the group | stopping *n*, next *n+1* | some of *n* | ends the rest, starts *n+1* |
//! | after the end, before that is recorded | stopping *n*, next *n+1* | nothing | finds nothing left, starts *n+1* |
//! | after that is recorded | stopped *n*, next *n+1* | nothing | starts *n+1* |
//! | after the start is announced, before spawn | starting *n+1* | nothing | finds no process with its marks, starts *n+1* |
//! | after spawn, before the pid is recorded | starting *n+1* | *n+1* | finds it by its marks in `/proc/*/environ`, adopts it |
//! | after spawn, with a disk that took no writes | stopping or stopped *n*, next *n+1* | *n+1* | the same |
//! | after spawn, and the child died at once | starting *n+1* | nothing, or its remains | kills the remains, starts *n+1* |
//! | after the pid is recorded, before it is ready | running *n+1* | *n+1* | adopts it; readiness is not asked again |
//!
//! And outside a restart:
//!
//! | while the engine is away | the next start |
//! |---|---|
//! | nothing happens | adopts: boot id, pid and start time are those recorded |
//! | the child dies | tells that it exited (how, nobody saw); doesn't restart it |
//! | the child dies and its pid goes to another | the start time differs: as above; the other is left alone |
//! | somebody takes its port, and it is to be started | stopped, with the life to begin as next (after `starting` *n+1* that is *n+2*); begins that once nobody listens there |
//! | the host restarts | tells so; [`Supervisor::start_missing`] starts it, since that is no failure of the child |
//! | during [`Supervisor::stop_all`] | finishes the stop, starts nothing |
//! | the unit is taken out of the configuration | watches its child as long as it lives, and can only stop it |
//!
//! Each row is a case in `resume`'s tests, and most are played with real processes in this
//! module's.
//!
//! # When is a life over?
//!
//! When no process of its group lives, nor any that carries its marks, whatever group that one
//! moved to. Linux only: pidfds, `/proc` and boot ids are its own.

mod figures;
mod group;
mod launch;
mod phase;
mod ports;
pub(crate) mod procfs;
mod report;
mod resume;
mod supervisor;
mod table;
#[cfg(test)]
mod tests;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

pub use figures::ProcessFigures;
pub(crate) use figures::group_figures;
pub(crate) use group::end_own_group;
pub use launch::{GENERATION_ATTRIBUTE, INSTANCE_ATTRIBUTE, RESOURCE_VARIABLE};
pub(crate) use launch::{explain, log_end, log_path};
pub use phase::{ChildIdentity, Ending, IllegalTransition, Phase, PhaseEvent};
pub use ports::listener_on;
pub(crate) use procfs::group_memory;
pub use procfs::{GENERATION_VARIABLE, STATE_VARIABLE, UNIT_VARIABLE};
pub use report::{ChildEvent, ChildStatus, with_last_line};
pub use supervisor::Supervisor;
pub use table::TableError;

use crate::{ExecutorSpec, ProbeSpec, ProcessSpec, UnitName, UnitSpec};

/// A unit that the supervisor runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUnit {
    /// Its name.
    pub name: UnitName,
    /// What to run.
    pub process: ProcessSpec,
    /// How to ask whether it is ready after a start; without, it is when it lives for a moment.
    pub ready: Option<ProbeSpec>,
    /// How long a start may take that isn't ordered by an action, which has its own deadline.
    pub start_deadline: Duration,
}

impl ProcessUnit {
    /// Those of the configured units that are processes.
    pub fn among(units: &[UnitSpec]) -> Vec<Self> {
        units
            .iter()
            .filter_map(|unit| match &unit.executor {
                Some(ExecutorSpec::Process(process)) => Some(Self {
                    name: unit.name.clone(),
                    process: process.clone(),
                    ready: unit.ready.clone(),
                    start_deadline: unit.start_deadline,
                }),
                _ => None,
            })
            .collect()
    }
}

/// Why a state directory's children can't be taken over.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder in it can't be made or opened.
    #[error("failed to open {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another engine runs on it.
    #[error("another engine supervises the children of {}", .0.display())]
    InUse(PathBuf),
    /// What is written there can't be used.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Why a child was not started or not ended.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// Nothing was done, since it could not be written down.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The unit is not, or no longer, a configured process.
    #[error("{0} is not a configured process")]
    NotConfigured(UnitName),
    /// It could not be spawned.
    #[error("{unit} was not started: {reason}")]
    NotStarted {
        /// The unit.
        unit: UnitName,
        /// Why.
        reason: String,
    },
    /// It was spawned and didn't become ready.
    #[error("{unit} did not become ready: {reason}")]
    NotReady {
        /// The unit.
        unit: UnitName,
        /// What was last seen of it.
        reason: String,
    },
    /// It lives on.
    #[error("{unit} was not ended: {reason}")]
    NotEnded {
        /// The unit.
        unit: UnitName,
        /// Why.
        reason: String,
    },
    /// The supervisor was closed before it got there.
    #[error("the supervisor of {0} was closed")]
    Closed(UnitName),
}

impl SuperviseError {
    /// The reason without the unit's name, for errors that name it themselves.
    fn reason(&self) -> String {
        match self {
            Self::NotStarted { reason, .. }
            | Self::NotReady { reason, .. }
            | Self::NotEnded { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }
}
