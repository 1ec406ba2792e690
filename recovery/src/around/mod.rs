//! What surrounds a restart: what happens between its intent and its first effect?
//!
//! The intent is on disk, and the unit still lives. Three things may be done now, all at the same time,
//! each within a bound of its own, and none can prevent the restart:
//!
//! | what | why | its bound |
//! |---|---|---|
//! | the unit is announced as away | callers that ask wait instead of failing their users | [`Around::drain`] |
//! | the unit is asked to `prepare` | what it keeps in memory can be put in safety | the call's time-out |
//! | what a post-mortem needs is saved | a restart destroys the evidence of its cause | the command's time-out |
//!
//! So a restart begins at the latest after the longest of the three ([`Around::longest`]), whatever the
//! unit does: a unit that is to be restarted is sick, and must not be able to keep itself alive. All of it
//! belongs to the executor, which takes a permit, and none of it to the plan: what isn't committed
//! announces nothing, and asks nobody to prepare.

mod cabinet;
mod executor;
mod post_mortem;
mod prepare;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::cabinet::{Cabinet, Keeping, Kept};
pub(crate) use self::executor::AroundExecutor;
pub(crate) use self::post_mortem::Saver;
pub use self::post_mortem::{CommandSaid, NoWitness, PostMortem, Witness};
use crate::{CommandSpec, HttpSpec};

/// What is done around a unit's restarts. By default, figures and traces are saved, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// How long before its end the unit is announced as away; zero for not at all.
    pub drain: Duration,
    /// How it is told to put its state in safety.
    pub prepare: Option<PrepareSpec>,
    /// A command whose output is saved for the post-mortem; no shell reads it.
    pub post_mortem: Option<CommandSpec>,
}

impl Around {
    /// The longest time until the restart itself begins.
    pub fn longest(&self) -> Duration {
        let prepare = self.prepare.as_ref().map(PrepareSpec::timeout);
        let command = self.post_mortem.as_ref().map(|command| command.timeout);
        let saving = command.map_or(post_mortem::LOOK, |timeout| timeout.max(post_mortem::LOOK));
        self.drain.max(prepare.unwrap_or_default()).max(saving)
    }
}

/// How a unit is told to put its state in safety.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrepareSpec {
    /// A POST with the action's id as `Idempotency-Key`, the generation of the next life as
    /// `Rekindle-Generation`, and the time until the restart as `Rekindle-Restart-In-Ms`.
    Http(HttpSpec),
    /// A command, told the same in `REKINDLE_ACTION`, `REKINDLE_GENERATION` and `REKINDLE_RESTART_IN_MS`.
    Command(CommandSpec),
}

impl PrepareSpec {
    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Http(spec) => spec.timeout,
            Self::Command(spec) => spec.timeout,
        }
    }
}
