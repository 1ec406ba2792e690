//! The port through which recovery asks how users' requests fared.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::UnitName;

/// Which requests are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortQuery {
    /// Their types, by the names that [`crate::FaultSignature`] used. Empty means all.
    pub request_types: Vec<String>,
    /// Requests that began at this time or later …
    pub from: SystemTime,
    /// … and before this one.
    pub until: SystemTime,
}

/// How they fared. `Unknown` outcomes count for neither side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fared {
    /// Requests that ended well.
    pub ok: u64,
    /// Requests that failed, or were as slow as failed, or did not come though they should have.
    pub bad: u64,
    /// How many of the bad ones did not come, estimated: they hang, as far as anybody can tell.
    #[serde(default)]
    pub missing: u64,
    /// By how many that may be wrong, either way.
    #[serde(default)]
    pub missing_error: u64,
    /// How many of the types had stopped coming, and needn't have come again yet: of these nothing is known.
    #[serde(default)]
    pub unheard: u64,
    /// Up to here telemetry should have arrived, judged by how late exporters usually are. A
    /// silence before this time is a real one.
    pub complete_until: SystemTime,
}

impl Fared {
    /// Requests of which all that came are known, and none is missed.
    pub const fn seen(ok: u64, bad: u64, complete_until: SystemTime) -> Self {
        Self {
            ok,
            bad,
            missing: 0,
            missing_error: 0,
            unheard: 0,
            complete_until,
        }
    }

    /// Those that came.
    pub const fn came(&self) -> Self {
        Self {
            bad: self.bad.saturating_sub(self.missing),
            missing: 0,
            missing_error: 0,
            ..*self
        }
    }

    /// With as few missing as may be.
    pub fn at_least(&self) -> Self {
        let less = self.missing_error.min(self.missing);
        Self {
            bad: self.bad - less,
            missing: self.missing - less,
            ..*self
        }
    }

    /// With as many missing as may be.
    pub const fn at_most(&self) -> Self {
        Self {
            bad: self.bad + self.missing_error,
            missing: self.missing + self.missing_error,
            ..*self
        }
    }

    /// Requests whose outcome is known.
    pub const fn total(&self) -> u64 {
        self.ok + self.bad
    }
}

/// Somebody who knows how requests fare.
pub trait Cohort: Send + Sync {
    /// How the requests of the query fared, as far as is known now.
    fn fared(&self, query: &CohortQuery) -> Fared;

    /// How many requests of the query failed, whatever was done to them meanwhile.
    fn failed(&self, query: &CohortQuery) -> u64 {
        self.fared(query).bad
    }

    /// As [`Self::fared`], of those requests that passed through this unit; `None` where nobody can tell.
    /// It may be coarser in time, and later.
    fn fared_through(&self, query: &CohortQuery, unit: &UnitName) -> Option<Fared> {
        let _ = (query, unit);
        None
    }

    /// How late telemetry usually comes; zero while nothing is known.
    fn exporter_lag(&self) -> Duration {
        Duration::ZERO
    }
}
