//! Which component explains the failures? `rank(method, &Input) -> Ranking`, pure.
//!
//! One file per method, each with its formula and where it comes from. All read the same
//! [`Input`] (failed requests, good ones, and what each touched) and answer in the same form, with
//! the same evidence per suspect, so that they can be compared. The default is [`default`]; the
//! others are there to be measured against.

pub mod default;
mod evidence;
mod explain;
mod input;
pub mod ochiai;
pub mod spectrum_formula;
pub mod tarantula;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Ranking, Suspect, Verdict};

pub use evidence::Tally;
pub use input::{Case, Input, InputRow, InputTouch, Shaped, ShownTrace, Span, Subject, Timed};

/// A way to rank.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Origin of failures, coverage where there is none, and the most specific level.
    #[default]
    Default,
    /// The Ochiai coefficient of the spectrum.
    Ochiai,
    /// Tarantula's suspiciousness of the spectrum.
    Tarantula,
}

impl Method {
    /// Every method there is.
    pub const ALL: [Self; 3] = [Self::Default, Self::Ochiai, Self::Tarantula];

    /// Its name: `default`, `ochiai`, `tarantula`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Ochiai => "ochiai",
            Self::Tarantula => "tarantula",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Ranks the suspects of the input's incident.
pub fn rank(method: Method, input: &Input) -> Ranking {
    let tally = Tally::of(input);
    let (mut suspects, clear_change) = match method {
        Method::Default => default::suspects(input, &tally),
        Method::Ochiai => (ochiai::suspects(input, &tally), false),
        Method::Tarantula => (tarantula::suspects(input, &tally), false),
    };
    suspects.truncate(input.max_suspects);
    let believed: f64 = suspects.iter().map(|suspect| suspect.confidence).sum();
    let verdict = match missing(input, &tally, &suspects, clear_change) {
        Some(missing) => Verdict::NotEnough { missing },
        None => Verdict::Enough,
    };
    Ranking {
        incident: input.incident,
        method: method.as_str().into(),
        at: input.at,
        cut: input.cut,
        suspects,
        none_of_these: (1.0 - believed).clamp(0.0, 1.0),
        verdict,
        left_out: input.left_out.clone(),
    }
}

/// What would be needed to believe the ranking.
fn missing(
    input: &Input,
    tally: &Tally,
    suspects: &[Suspect],
    clear_change: bool,
) -> Option<String> {
    if clear_change {
        return None;
    }
    if tally.failed < input.min_failed {
        return Some(format!(
            "{} of at least {} failed requests with their traces",
            tally.failed, input.min_failed
        ));
    }
    if tally.ok == 0 {
        return Some("good requests to compare the failed ones with".to_owned());
    }
    if suspects.is_empty() {
        return Some("a component that failed requests touch more often than good ones".to_owned());
    }
    None
}
