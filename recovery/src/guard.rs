//! May it be restarted now? (types first)

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The rules that can veto or delay an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The unit's mode doesn't go so far.
    Mode,
    /// A person has paused recovery.
    Pause,
    /// Another recovery holds a subtree that overlaps.
    Overlap,
    /// The unit was restarted too often in the period.
    UnitBudget,
    /// Too many restarts in the period.
    TreeBudget,
    /// Restarts have failed too many users' requests in the period.
    RequestBudget,
    /// The unit was restarted a moment ago.
    Backoff,
    /// The evidence is older than what was last done to the unit, or simply old.
    StaleEvidence,
    /// Only one source accuses the unit.
    OneSided,
    /// No suspect is likely enough.
    ThinEvidence,
    /// Too many units are sick at once.
    Storm,
    /// The same fault was cured here again and again.
    Recurring,
    /// The ledger can't be written.
    Ledger,
    /// No executor can restart it.
    NoExecutor,
}

/// What a refusal means for the recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// Not without a person's approval.
    Ask,
    /// Not yet.
    Wait,
    /// Not at all: a person must look.
    GiveUp,
}

/// A guard that said no.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    pub guard: Guard,
    /// And so what.
    pub consequence: Consequence,
    /// Why, for people.
    pub words: String,
    /// When it will say otherwise, where it can tell.
    pub until: Option<SystemTime>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// A person's stop to everything unattended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: SystemTime,
    /// Until when; `None` until somebody resumes.
    pub until: Option<SystemTime>,
}
