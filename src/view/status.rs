//! How Rekindle itself is: what it listens on, what came in, what was dropped, what is broken.

use std::collections::BTreeMap;

use rekindle_recovery::Mode;
use serde::{Deserialize, Serialize};

use super::{InterventionView, UtcTime};

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
    /// Who has been heard of, and who no longer is.
    #[serde(default)]
    pub heard: HeardView,
    /// Whose telemetry is refused at present, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedView>,
    /// What grows in the tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growing: Vec<GrowingView>,
    /// What was done to the system, as far back as the analysis remembers, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<InterventionView>,
    /// What was not used, per reason.
    pub dropped: BTreeMap<String, u64>,
    /// Resident memory, where the system says.
    pub memory_bytes: Option<u64>,
    /// Incidents that are open now, but for those whose failures no user sees.
    pub incidents_open: u64,
    /// Whether what comes in is kept.
    pub journal: HealthView,
    /// Whether what is kept goes to the span store, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<HealthView>,
    /// Whether what is done is written down.
    pub ledger: HealthView,
}

/// How it stands with a template, from which units grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowingView {
    /// Its name, which begins that of each unit.
    pub template: String,
    /// What it lists: `containers`, `services` or `pods`.
    pub of: String,
    /// How many units grew from it.
    pub units: usize,
    /// How many on its list are no units.
    #[serde(default)]
    pub left_out: usize,
    /// Why the list can't be had, or why something on it is no unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Who has been heard of, and who no longer is. What isn't heard isn't known to be healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardView {
    /// When anything came last; `None` while nothing ever did.
    pub last: Option<UtcTime>,
    /// Since when nothing comes at all, though it used to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nothing_since: Option<UtcTime>,
    /// Who used to be heard of and isn't any more, the latest first. All of them where nothing comes at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<SilentView>,
    /// How many gave way to others, because more came than are remembered.
    #[serde(default)]
    pub given_way: u64,
}

/// A service that isn't heard of any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentView {
    /// Its name.
    pub service: String,
    /// When it was heard of last.
    pub since: UtcTime,
    /// Whether it was heard of too seldom to be missed.
    #[serde(default)]
    pub seldom: bool,
}

/// Somebody whose telemetry is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// Where it comes from.
    pub who: String,
    /// Why.
    pub why: String,
    /// What would have it taken.
    pub to_do: String,
    /// How many of its requests were refused.
    pub requests: u64,
    /// Since when.
    pub since: UtcTime,
    /// When it was refused last.
    pub last: UtcTime,
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
