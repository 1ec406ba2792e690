//! An incident: request types that fail significantly more than they used to, or that stopped coming.

use serde::{Deserialize, Serialize};

use rekindle_model::{RequestType, UnixNanos};

/// Why an incident is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosingReason {
    /// Failures are back at the baseline.
    Recovered,
    /// No request of its types came for a whole window: nobody knows.
    Silent,
    /// Its failures turned out to have the same cause as those of the incident of this number, which goes on with its types.
    Joined(u64),
}

/// The end of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// When it was closed.
    pub at: UnixNanos,
    /// Why.
    pub reason: ClosingReason,
}

/// One or several request types that fail together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number, from 1, never used again.
    pub id: u64,
    /// The types that fail, sorted.
    pub request_types: Vec<RequestType>,
    /// When failures began, as far as can be told: the most likely moment of the change.
    pub since: UnixNanos,
    /// When it was noticed.
    pub opened_at: UnixNanos,
    /// Its end; `None` while it is open.
    pub closed: Option<Closing>,
    /// Requests of its types that ended well, of each since it began to fail.
    pub ok: u64,
    /// Requests of its types that failed or were too slow, of each since it began to.
    pub bad: u64,
    /// Whether no user is let down: `bad` counts requests that ended well though something failed in them, and shares are
    /// of these.
    #[serde(default)]
    pub masked: bool,
    /// The share of failed requests before, in `[0, 1]`, over its types by their traffic.
    pub baseline_failure_share: f64,
    /// Requests of its types that should have come since `since` and did not, at least: an estimate from how
    /// often they came before. Who hangs neither fails nor ends.
    #[serde(default)]
    pub missing: f64,
    /// Since when its requests are well again, on enough of them to tell, while it is open; `None` while they fail, or
    /// nobody can tell.
    #[serde(default)]
    pub well_since: Option<UnixNanos>,
    /// Failing requests per second over the last slices, those that should come and don't included.
    pub failing_per_second: f64,
}

impl Incident {
    /// One of these types, sorted, that failures since then opened; nothing is counted yet.
    pub(crate) const fn opened(
        id: u64,
        request_types: Vec<RequestType>,
        since: UnixNanos,
        opened_at: UnixNanos,
    ) -> Self {
        Self {
            id,
            request_types,
            since,
            opened_at,
            closed: None,
            ok: 0,
            bad: 0,
            masked: false,
            baseline_failure_share: 0.0,
            missing: 0.0,
            well_since: None,
            failing_per_second: 0.0,
        }
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// What became of an incident since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Opened(u64),
    /// Its request types or its evidence changed.
    Updated(u64),
    /// It is over.
    Closed(u64),
}
