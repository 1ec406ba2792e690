//! The ordered list of suspects, each with its evidence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use rekindle_model::{Name, TraceId, UnixNanos};

use crate::{Caller, Component, Counts, Explanation, Weights};

/// How the suspect lets requests down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// It raises errors.
    Raised,
    /// It doesn't answer.
    Unanswered,
    /// It takes too long.
    Slow,
    /// It answers, and somebody outside says that the answers are wrong.
    WrongAnswer,
}

impl Shape {
    /// The word for it: `raised`, `unanswered`, `slow` or `wrong_answer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Unanswered => "unanswered",
            Self::Slow => "slow",
            Self::WrongAnswer => "wrong_answer",
        }
    }
}

/// A share with its 95 % interval, all in `[0, 1]`. Of nothing the share is 0 and the interval
/// everything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareInterval {
    /// What was seen.
    pub share: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What a suspect's score rests on; counts are requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Failed requests of the incident that touched it.
    pub failed_touching: u64,
    /// Failed requests of the incident.
    pub failed_total: u64,
    /// Good requests that touched it.
    pub ok_touching: u64,
    /// Good requests that they are compared with.
    pub ok_total: u64,
    /// Failed requests whose failure began in it.
    pub originated: u64,
    /// `failed_touching` of `failed_total`, each for as many as it stands for.
    pub failed_share: ShareInterval,
    /// `ok_touching` of `ok_total`, likewise.
    pub ok_share: ShareInterval,
    /// Of the requests that touched it before the incident, the share whose failure began in it.
    pub baseline_origin_share: f64,
}

/// Traces that show the difference, chosen by hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examples {
    /// Failed requests whose failure began in the suspect.
    pub failed: Vec<TraceId>,
    /// Good requests that touched it.
    pub ok: Vec<TraceId>,
}

/// A component, or several that no request can tell apart, with what speaks against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// The component; more than one when no request can tell them apart.
    pub components: Vec<Component>,
    /// What selectors of restart units are matched against: `service.name`, `code.namespace`, and
    /// every resource attribute that all its instances agree on.
    pub attributes: BTreeMap<Name, Name>,
    /// The method's own score; comparable within one ranking only.
    pub score: f64,
    /// How likely it is the cause, in `[0, 1]`; over all suspects at most 1. Where the ranking's weights are hidden, that
    /// is unknown, and this an order among what was kept.
    pub confidence: f64,
    /// How it lets requests down.
    pub shape: Shape,
    /// The most frequent type of the errors that began in it.
    pub error_type: Option<Name>,
    /// The counts behind the score.
    pub evidence: Evidence,
    /// Who complains about it: services and components whose calls to it failed, and reporters
    /// from outside. Sorted.
    pub callers: Vec<Caller>,
    /// Traces to look at.
    pub examples: Examples,
    /// Why it is suspected and what speaks against it, as values.
    pub explanation: Explanation,
    /// The evidence in words.
    pub sentence: String,
}

/// Whether the evidence suffices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Enough,
    /// It doesn't; suspects may be listed all the same, for people.
    NotEnough {
        /// What is missing, in words.
        missing: String,
    },
}

/// The suspects of one incident at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// The incident.
    pub incident: u64,
    /// The method that ranked.
    pub method: Name,
    /// Up to when the evidence reaches.
    pub at: UnixNanos,
    /// The journal position of the last batch that counted.
    pub cut: u64,
    /// Most suspicious first.
    pub suspects: Vec<Suspect>,
    /// How likely it is none of them, in `[0, 1]`.
    pub none_of_these: f64,
    /// Whether the evidence suffices.
    pub verdict: Verdict,
    /// What shares and confidences rest on.
    #[serde(default)]
    pub weights: Weights,
    /// What was not used.
    pub left_out: Counts,
}

impl Ranking {
    /// The traces that it shows; the same one may be there twice.
    pub fn shown(&self) -> impl Iterator<Item = TraceId> {
        self.suspects.iter().flat_map(|suspect| {
            let examples = &suspect.examples;
            examples.failed.iter().chain(&examples.ok).copied()
        })
    }

    /// How likely this suspect of it is the cause, in `[0, 1]`; `None` where nobody knows, because a sampler doesn't say
    /// what it threw away.
    pub fn confidence(&self, suspect: &Suspect) -> Option<f64> {
        (self.weights != Weights::Hidden).then_some(suspect.confidence)
    }
}
