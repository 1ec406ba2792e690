//! Would recovery have been right? Worlds in virtual time that really heal or don't, driven by
//! recovery's own planner, beliefs, guards, judge and state machine.
//!
//! Everything comes from a seed: the same options give the same report, byte for byte. Nothing here
//! touches a process or a socket. But for the policies beside ours and for [`Scenario::Detection`], which has no restarts, the
//! whole service plays, through the executors' trait; its ledgers are in folders that are removed.

mod course;
mod detection;
mod informed;
mod manner;
mod mercury;
mod parallel;
mod play;
mod plot;
mod policies;
mod random;
mod rejuvenation;
mod report;
mod reserve;
mod safety;
mod service;
mod story;
mod sweeps;
mod ward;
mod world;

use rekindle_recovery::ledger::LedgerError;
use rekindle_recovery::lifecycle::IllegalTransition;
use rekindle_recovery::service::StartError;

pub use self::report::{Claim, Plot, Report, Table};
pub use self::story::{Line, Script, ScriptError, Told};

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
    /// How soon failures are noticed, and how often by mistake.
    Detection,
    /// Preventive restarts: learned order, order as written, dice, whole restarts.
    Rejuvenation,
    /// Lies, overload, flapping, clock jumps: what recovery's guards let through.
    Safety,
}

/// How much, and with which luck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// How many seeds; of [`Scenario::Mercury`], how many failures of each kind.
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
    /// No room for the simulated service's ledger, or no thread for it.
    #[error("the simulated service has nowhere to live")]
    Room(#[from] std::io::Error),
    /// The simulated service can't start.
    #[error("the simulated service can't start")]
    Start(#[from] StartError),
    /// Its ledger can't be read again.
    #[error("the simulated service's ledger can't be read")]
    Ledger(#[from] LedgerError),
    /// The simulated service ended by itself.
    #[error("the simulated service ended: {0}")]
    Ended(String),
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
        Scenario::Detection => detection::run(options),
        Scenario::Rejuvenation => rejuvenation::run(options),
        Scenario::Safety => safety::run(options),
    }
}

#[cfg(test)]
mod tests;
