//! Recovery: which unit to restart, whether that is allowed, doing it, and judging what it did.
//!
//! This crate doesn't know what a trace is. Whoever drives it hands in [`Evidence`] about restart
//! units and implements [`Cohort`], through which a verdict asks how users' requests fared.

pub mod around;
pub mod belief;
pub mod clock;
pub mod cohort;
pub mod command;
pub mod cost;
pub mod crash;
pub mod evidence;
pub mod executor;
pub mod executors;
pub mod guard;
pub mod http_call;
pub mod judge;
pub mod ledger;
pub mod lifecycle;
pub mod notify;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod process;
pub mod rejuvenate;
pub mod service;
pub mod spec;
mod steady;
pub mod template;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod watch;

pub use around::{Around, PrepareSpec};
pub use cohort::{Cohort, CohortQuery, Fared};
pub use evidence::{
    Changed, Circumstances, Evidence, FaultSignature, Load, Outside, Source, SuspectUnit,
    sick_together,
};
pub use policy::Policy;
pub use spec::{
    CommandSpec, DockerSpec, ExecutorSpec, HttpSpec, KubernetesRestart, KubernetesSpec, Mode,
    ProbeSpec, ProcessSpec, Stop, SubtreeBudget, SystemdSpec, UnitName, UnitRules, UnitSpec,
    WorkloadKind,
};
pub use tree::{Kinds, LiveTree, Resolution, RestartTree, TreeError};
