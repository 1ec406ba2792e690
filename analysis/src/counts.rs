//! What was not used, and why: every span, trace and report that counts for nobody is counted here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// A trace of a health check.
    HealthCheck,
    /// A trace that no user began.
    Background,
    /// A trace whose entry span did not come.
    NoEntry,
    /// A trace that was counted before, or part of one.
    Repeated,
    /// A trace older than the window.
    OutsideWindow,
    /// A request that overlaps an intervention on what it touches.
    Fenced,
    /// A request that came after a restart and touched the life before it.
    OldLife,
    /// A request whose type was in an earlier incident then: no example of what is usual. Told of a ranking only.
    InIncident,
    /// A request type beyond those that are told apart.
    OtherRequestType,
    /// A component beyond those that are told apart.
    ComponentOverflow,
    /// A row of observations beyond those that are told apart.
    RowOverflow,
    /// A request no longer remembered one by one.
    RecordOverflow,
    /// An outcome report whose trace is not remembered any more, or was never seen.
    ReportWithoutTrace,
    /// An outcome report that found no room to wait.
    ReportOverflow,
    /// An address that found no room.
    AddressOverflow,
    /// An intervention that found no room.
    InterventionOverflow,
    /// An example trace that made room for a newer one.
    ExampleOverflow,
}

impl LeftOut {
    /// What was left out, for people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::HealthCheck => "health checks",
            Self::Background => "traces that no user began",
            Self::NoEntry => "traces whose entry span did not come",
            Self::Repeated => "traces that were counted before",
            Self::OutsideWindow => "traces from outside the window",
            Self::Fenced => "requests during an intervention on what they touch",
            Self::OldLife => "requests to a life that was over",
            Self::InIncident => "requests from earlier incidents of their types",
            Self::OtherRequestType => "requests of types beyond those that are told apart",
            Self::ComponentOverflow => "mentions of components beyond those that are told apart",
            Self::RowOverflow => "observations beyond those that are told apart",
            Self::RecordOverflow => "requests not remembered one by one",
            Self::ReportWithoutTrace => "outcome reports without their trace",
            Self::ReportOverflow => "outcome reports without room to wait",
            Self::AddressOverflow => "addresses without room",
            Self::InterventionOverflow => "interventions without room",
            Self::ExampleOverflow => "example traces that made room for newer ones",
        }
    }
}

/// How much was left out, per reason. Only reasons that occurred are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<LeftOut, u64>);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, reason: LeftOut) {
        self.add_many(reason, 1);
    }

    /// Counts `n` more; zero leaves no trace.
    pub fn add_many(&mut self, reason: LeftOut, n: u64) {
        if n > 0 {
            *self.0.entry(reason).or_default() += n;
        }
    }

    /// The same with so many for this reason.
    pub(crate) fn with(mut self, reason: LeftOut, n: u64) -> Self {
        self.ignore(reason);
        self.add_many(reason, n);
        self
    }

    /// Counts nothing for this reason: it is of no concern.
    pub(crate) fn ignore(&mut self, reason: LeftOut) {
        self.0.remove(&reason);
    }

    /// How many were left out for this reason.
    pub fn get(&self, reason: LeftOut) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// All reasons that occurred, in order.
    pub fn iter(&self) -> impl Iterator<Item = (LeftOut, u64)> + '_ {
        self.0.iter().map(|(reason, n)| (*reason, *n))
    }
}
