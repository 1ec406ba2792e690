//! How Rekindle itself is: what it listens on, what came in, what was dropped, what is broken.

use std::collections::BTreeMap;

use rekindle_recovery::Mode;
use serde::{Deserialize, Serialize};

use super::UtcTime;

/// Rekindle's own state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Its version.
    pub version: String,
    /// When this process began.
    pub started: UtcTime,
    /// How long ago that was.
    pub uptime_ms: u64,
    /// The directory that holds journal and ledger.
    pub state_dir: String,
    /// The furthest that any subtree may go.
    pub mode: Mode,
    /// Set while nothing may be restarted unattended.
    pub paused: Option<PausedView>,
    /// Where it can be reached.
    pub listening: ListeningView,
    /// Spans accepted since the start.
    pub spans: u64,
    /// Spans per second over the last seconds.
    pub spans_per_s: f64,
    /// Traces put together since the start.
    pub traces: u64,
    /// Requests whose outcome was counted since the start.
    pub requests: u64,
    /// What was not used, per reason.
    pub dropped: BTreeMap<String, u64>,
    /// Resident memory, where the system says.
    pub memory_bytes: Option<u64>,
    /// Incidents that are open now.
    pub incidents_open: u64,
    /// Whether what comes in is kept.
    pub journal: HealthView,
    /// Whether what is kept goes to the span store, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<HealthView>,
    /// Whether what is done is written down.
    pub ledger: HealthView,
}

/// Where Rekindle listens, as `address:port`; empty while it doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningView {
    /// OTLP over gRPC.
    pub grpc: String,
    /// OTLP over HTTP.
    pub http: String,
    /// The API and the pages.
    pub api: String,
}

/// A pause: plans are made and shown, nothing is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedView {
    /// Since when.
    pub since: UtcTime,
    /// Until when; `None` until someone resumes.
    pub until: Option<UtcTime>,
    /// Why.
    pub reason: String,
    /// Who said so; empty where that isn't known.
    pub by: String,
}

/// Whether a part works. Not known is not well, hence the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// Whether it works.
    pub ok: bool,
    /// What is worth telling people: what is wrong, or how full it is.
    pub note: String,
}
