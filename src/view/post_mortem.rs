//! What was saved before a restart, for people who ask afterwards what went wrong.

use rekindle_recovery::around::{CommandSaid, Kept, PostMortem};
use rekindle_recovery::process::ProcessFigures;
use serde::{Deserialize, Serialize};

use super::{TraceView, UtcTime};

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptView {
    /// The action that it was saved before.
    pub action: u64,
    /// The incident that the action was for.
    pub incident: Option<u64>,
    /// When it was saved.
    pub at: UtcTime,
}

/// What was saved before one restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PostMortemView {
    /// The action.
    pub action: u64,
    /// The incident that it was for.
    pub incident: Option<u64>,
    /// The unit.
    pub unit: String,
    /// The generation of the life that followed.
    pub next_generation: u64,
    /// When it was saved.
    pub at: UtcTime,
    /// How long that took.
    pub took_ms: u64,
    /// What the unit's `post_mortem` command said.
    pub command: Option<CommandSaid>,
    /// The unit's processes, or those of the process that it is a part of.
    pub processes: Vec<ProcessFigures>,
    /// The end of what they printed.
    pub log: String,
    /// Requests that speak about it, failed ones first.
    pub traces: Vec<TraceView>,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

impl From<Kept> for KeptView {
    fn from(kept: Kept) -> Self {
        Self {
            action: kept.action,
            incident: kept.incident,
            at: kept.at.into(),
        }
    }
}

impl From<PostMortem> for PostMortemView {
    fn from(found: PostMortem) -> Self {
        let saved = found.traces.len();
        let traces: Vec<TraceView> = found
            .traces
            .into_iter()
            .filter_map(|trace| serde_json::from_value(trace).ok())
            .collect();
        let mut missing = found.missing;
        if traces.len() < saved {
            let unread = saved - traces.len();
            missing.push(format!(
                "{unread} traces: another version of Rekindle wrote them"
            ));
        }
        Self {
            action: found.action,
            incident: found.incident,
            unit: found.unit.to_string(),
            next_generation: found.next_generation,
            at: found.at.into(),
            took_ms: found.took_ms,
            command: found.command,
            processes: found.processes,
            log: found.log,
            traces,
            missing,
        }
    }
}
