//! How a request ended, from the trace itself or from somebody outside.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Name, TraceId, UnixNanos};

/// How a request ended for its user. Never two-valued: what isn't known is not fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered as it should be.
    Ok,
    /// The user saw a failure.
    Failed,
    /// Answered, but slower than the request type's limit: as bad as failed for detection.
    Slow,
    /// Something inside failed, was retried or replaced, and the user saw nothing of it: not a
    /// user's failure, but evidence.
    Masked,
    /// Too incomplete to say.
    Unknown,
}

impl Outcome {
    /// Whether the user was let down.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Slow)
    }

    /// Whether the outcome says anything about how users fare; `Unknown` counts for neither side.
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Unknown)
    }

    /// The word for it: `ok`, `failed`, `slow`, `masked` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Masked => "masked",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What users ask for: the service that they reach first, and its operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestType {
    /// The entry service.
    pub service: Name,
    /// The entry span's operation, with ids and numbers taken out.
    pub operation: Name,
}

impl fmt::Display for RequestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.operation)
    }
}

/// What a judge outside the traces (a probe, a client) says about one request. It overrules what
/// the spans say: a component that answers wrongly with status OK is found by this alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeReport {
    /// The request, by its trace.
    pub trace_id: TraceId,
    /// How it ended.
    pub outcome: Outcome,
    /// Who says so.
    pub reporter: Name,
    /// When it was said.
    pub at: UnixNanos,
    /// What was wrong, for people.
    #[serde(default)]
    pub detail: Option<Name>,
}
