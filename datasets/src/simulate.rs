//! Would recovery have been right? Worlds in virtual time that really heal or don't, driven by
//! recovery's own planner, beliefs, guards, judge and state machine.
//!
//! Everything comes from a seed: the same options give the same report, byte for byte. Nothing here
//! touches a process or a socket.

mod mercury;
mod parallel;
mod play;
mod policies;
mod random;
mod report;
mod sweeps;
mod world;

use rekindle_recovery::lifecycle::IllegalTransition;

pub use self::report::{Claim, Report, Table};

/// What can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Recovery policies side by side.
    Policies,
    /// Mercury's restart trees I to V beside the published table.
    Mercury,
    /// How many useless microreboots one process restart buys.
    FalsePositives,
    /// How late a microreboot may come.
    DetectionDelay,
}

/// How much, and with which luck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u32,
    /// Recoveries per seed, where a scenario has them.
    pub recoveries: u64,
    /// Steps in all, where a scenario has them.
    pub steps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            // Enough for the interval of a mean to be a tenth of the differences that matter.
            seeds: 100,
            // As many to learn as to be judged by.
            recoveries: 400,
            steps: 1_000_000,
        }
    }
}

/// Why a simulation has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A policy took a recovery where it can't go.
    #[error("a simulated recovery went a way that there isn't")]
    Illegal(#[from] IllegalTransition),
}

/// Simulates.
///
/// # Errors
/// When something happened that must not be able to.
pub fn run(scenario: Scenario, options: &Options) -> Result<Report, SimulateError> {
    match scenario {
        Scenario::Policies => policies::run(options),
        Scenario::Mercury => mercury::run(options),
        Scenario::FalsePositives => sweeps::false_positives(options),
        Scenario::DetectionDelay => sweeps::detection_delay(options),
    }
}

#[cfg(test)]
mod tests;
