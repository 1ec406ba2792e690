//! One request as a waterfall.

use rekindle_model::Outcome;
use serde::{Deserialize, Serialize};

use super::UtcTime;

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceView {
    /// Its trace id.
    pub id: String,
    /// Entry service and operation.
    pub request_type: String,
    /// How it ended for its user.
    pub outcome: Outcome,
    /// When its first span began.
    pub began: UtcTime,
    /// From the first span's begin to the last one's end.
    pub duration_us: u64,
    /// Its spans, each after its parent, siblings by start.
    pub spans: Vec<SpanView>,
    /// Why it was taken as complete, or in which way it isn't.
    pub note: String,
    /// A request of the same type that ended otherwise, for comparison, by trace id.
    pub compare: Option<String>,
}

/// One bar of a waterfall.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanView {
    /// Its span id.
    pub id: String,
    /// How far below its root it is.
    pub depth: usize,
    /// The service.
    pub service: String,
    /// The code component, where it is known.
    pub component: Option<String>,
    /// The instance, where it is known.
    pub instance: Option<String>,
    /// The generation of the part that did it, or of its process, as far as its span says.
    pub generation: Option<u64>,
    /// The operation.
    pub operation: String,
    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub kind: String,
    /// When it began, after the trace did.
    pub offset_us: u64,
    /// How long it took.
    pub duration_us: u64,
    /// Whether it failed.
    pub failed: bool,
    /// The error's type or words.
    pub error: Option<String>,
    /// Whether the failure began here, rather than being passed on.
    pub raised: bool,
    /// Whether its parent is missing.
    pub orphan: bool,
}
