//! A system to be cured, and what tells whether it was: the auction site with faults to inject, the
//! users who load it, and questions with known answers.
//!
//! Everything here is real: processes, sockets, threads that hang, exporters that batch. What must
//! be repeatable comes from a seed: the data, the users' choices, the known answers.

pub mod auction;
pub mod deployment;
pub mod load;
pub mod localization;
mod picture;
pub mod probes;
pub mod public;
pub mod score;
pub mod simulate;
mod wire;
