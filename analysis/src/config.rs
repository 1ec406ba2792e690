//! What people may change about the analysis, with defaults that need no change.
//!
//! Every bound on memory is here too: what goes over a bound is counted (see [`crate::LeftOut`]),
//! never silently lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest that a request of some types may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowLimit {
    /// The entry service.
    pub service: String,
    /// The operation as the request type names it; `None` for all of the service's.
    pub operation: Option<String>,
    /// Longer is as bad as failed.
    pub limit: Duration,
}

/// All of the analysis' configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisConfig {
    /// The length of a time slice of the spectrum.
    pub slice: Duration,
    /// How far back slices, request records and baselines reach.
    pub window: Duration,
    /// An incident opens by mistake at most once per so many requests of a type, on average.
    pub requests_between_false_alarms: f64,
    /// Once what is usual is known, also at most once in so long, on average.
    pub time_between_false_alarms: Duration,
    /// The share of failed requests that nobody minds, in `[0, 1]`: the lowest baseline.
    pub tolerated_failure_share: f64,
    /// The baseline while there is too little history to know one, in `[0, 1]`.
    pub cold_start_failure_share: f64,
    /// So many requests of a type make enough history.
    pub enough_history: u64,
    /// Failures must be back at their baseline for so long before an incident closes.
    pub close_after: Duration,
    /// Request types that begin to fail within so long of each other are one incident.
    pub group_within: Duration,
    /// Configured limits; types without one learn theirs.
    pub slow_limits: Vec<SlowLimit>,
    /// A learned limit is never below this.
    pub slow_floor: Duration,
    /// Routes that monitoring asks for, not users.
    pub health_routes: Vec<String>,
    /// Whether samplers keep failures and throw successes away without a word: then no share is known.
    pub failures_first: bool,
    /// So many failed requests are the fewest from which a ranking is drawn.
    pub min_failed: u64,
    /// How many suspects a ranking has at most.
    pub max_suspects: usize,
    /// How many request types are told apart; the others share the operation `other`.
    pub max_request_types: usize,
    /// How many components are told apart.
    pub max_components: usize,
    /// How many distinct rows of observations are told apart.
    pub max_rows: usize,
    /// How many requests of a type are measured in a slice (at least 1), each of them for several; `usize::MAX` measures
    /// all. All are counted.
    pub max_measured: usize,
    /// Which requests are measured follows from their ids and this number: one that nobody outside knows, so that nobody
    /// can send ids that are measured instead of others', and the same whenever the same requests are read again.
    pub sampling_seed: u64,
    /// How many recent requests are remembered one by one, for reports and fences that come late.
    pub max_records: usize,
    /// How many outcome reports wait for their trace.
    pub max_waiting_reports: usize,
    /// How many peer addresses are remembered.
    pub max_addresses: usize,
    /// How many interventions are remembered.
    pub max_interventions: usize,
    /// How many incidents are remembered, closed ones included.
    pub max_incidents: usize,
    /// How many spans the store of example traces holds.
    pub max_example_spans: usize,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            // A second is short against any fault that a restart cures, and long enough that a
            // slice of a busy type holds many requests.
            slice: Duration::from_secs(1),
            window: Duration::from_secs(15 * 60),
            requests_between_false_alarms: 1e6,
            // One a week where there are a hundred request types.
            time_between_false_alarms: Duration::from_secs(100 * 7 * 24 * 3600),
            tolerated_failure_share: 0.001,
            cold_start_failure_share: 0.01,
            // With no failure among 1,000 the upper bound of the share is 0.3 %: below the
            // cold-start share, so that history begins to sharpen detection here.
            enough_history: 1_000,
            close_after: Duration::from_secs(30),
            group_within: Duration::from_secs(15),
            slow_limits: Vec::new(),
            // People notice half a second; below it a rise is no user's failure.
            slow_floor: Duration::from_millis(500),
            health_routes: [
                "/health",
                "/healthz",
                "/healthcheck",
                "/ready",
                "/readyz",
                "/live",
                "/livez",
                "/ping",
                "/status",
                "/metrics",
                "/actuator/health",
                "/grpc.health.v1.Health/Check",
                "grpc.health.v1.Health/Check",
            ]
            .map(str::to_owned)
            .to_vec(),
            failures_first: false,
            min_failed: 3,
            max_suspects: 10,
            max_request_types: 200,
            max_components: 20_000,
            max_rows: 20_000,
            // The share below their median is off by 4 %, and in a minute's by 0.6 %: less than calm times differ.
            max_measured: 128,
            sampling_seed: 0,
            max_records: 200_000,
            max_waiting_reports: 10_000,
            max_addresses: 10_000,
            max_interventions: 256,
            max_incidents: 100,
            max_example_spans: 20_000,
        }
    }
}
