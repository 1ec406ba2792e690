//! Who says that calls to a component fail?
//!
//! A type of its own, because a service chooses its name itself: one that calls itself like one of our
//! probes must not count as one.

use std::fmt;

use rekindle_model::Name;
use serde::{Deserialize, Serialize};

/// Somebody who saw a component fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// A service whose call failed; a part of one is named `part of service`.
    Component(Name),
    /// A judge from outside, by the name that it reported under.
    Reporter(Name),
}

impl Caller {
    /// The name, whatever it is the name of.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Component(name) | Self::Reporter(name) => name,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(name) => f.pad(name),
            Self::Reporter(name) => write!(f, "the reporter {name}"),
        }
    }
}
