//! When is something restarted before it fails?
//!
//! Software ages: memory leaks, tables fill, numbers drift. A restart at a quiet moment of one's own
//! choosing is cheaper than an outage at one of its own. A [`Rule`] says what tells of ageing (a gauge
//! with two levels, an age, or nothing but chance) and who may be restarted for it; [`roll`] decides who
//! is next, one at a time; [`order`] has learned who gives back most. What is wished for goes the same
//! way as every restart: the guards, the ledger's intent, the executor, the verdict. No path leads
//! around them, and none of this looks at a clock or a socket but [`task`] and [`gauge`].

pub mod gauge;
mod memory;
pub mod order;
pub mod roll;
pub mod rule;
pub mod task;
#[cfg(test)]
pub(crate) mod testing;

pub use gauge::{Board, Gauges, Life, Readings};
pub use rule::{Gauge, Level, Levels, Order, Rule, RuleError, Trigger};
pub use task::{RejuvenationConfig, RuleState, RuleStatus, prepare};
