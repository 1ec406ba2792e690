//! Did it help? (types first)

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an action did for users. `Unknown` never counts as cured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The failures are gone.
    Cured,
    /// Less, but not gone.
    Helped,
    /// No better.
    NotCured,
    /// It can't be told.
    Unknown,
}

impl Verdict {
    /// The word for it: `cured`, `helped`, `not cured` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cured => "cured",
            Self::Helped => "helped",
            Self::NotCured => "not cured",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much an action helped, with intervals at 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relief {
    /// The drop in the failure share, before minus after, in `[-1, 1]`.
    pub drop: f64,
    /// The drop's lower limit (Newcombe).
    pub drop_low: f64,
    /// The drop's upper limit.
    pub drop_high: f64,
    /// The drop as a share of what there was to gain (before minus baseline), in `[0, 1]`: 1 is
    /// back to normal.
    pub share: f64,
    /// Its lower limit.
    pub share_low: f64,
    /// Its upper limit.
    pub share_high: f64,
}
