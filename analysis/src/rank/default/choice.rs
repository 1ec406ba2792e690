//! What does each idea of the default contribute? Its parts, to be left out one at a time.
//!
//! Nothing in the default is fitted, but its ideas were chosen by people who had looked at systems. So the
//! harness leaves each of them out and asks whether the other systems would have kept it (`rekindle bench
//! localization --without all`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An idea that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// What began in a component as often before is not news.
    Baseline,
    /// Who got slower or stops halfway is suspected without any failed request.
    Changes,
    /// Visits that stop where they used to go on.
    Stops,
    /// Work that isn't done any more.
    LessWork,
    /// A longer way may be the caller's fault.
    CallersWays,
    /// How much calm times change is doubt.
    CalmTimes,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Baseline,
        Self::Changes,
        Self::Stops,
        Self::LessWork,
        Self::CallersWays,
        Self::CalmTimes,
    ];

    /// Its name: `baseline`, `less_work` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Changes => "changes",
            Self::Stops => "stops",
            Self::LessWork => "less_work",
            Self::CallersWays => "callers_ways",
            Self::CalmTimes => "calm_times",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The default, or all of it but one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    pub(crate) without: Option<Choice>,
}

impl Choices {
    pub(crate) fn has(self, choice: Choice) -> bool {
        self.without != Some(choice)
    }
}
