//! An incident, and who is suspected of it with what evidence.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::UtcTime;

/// Whether an incident is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Requests still fail above the baseline.
    #[default]
    Open,
    /// They fare as before again.
    Closed,
}

impl fmt::Display for IncidentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

fn is_no(it: &bool) -> bool {
    !*it
}

/// One or several request types failing significantly above their baseline, or that stopped coming.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its number.
    pub id: u64,
    /// Whether it is over.
    pub state: IncidentState,
    /// When it was noticed.
    pub opened: UtcTime,
    /// When failures began, as far as can be told afterwards.
    pub since: UtcTime,
    /// When it was over.
    pub closed: Option<UtcTime>,
    /// Why it counts as over, where that is not because requests fare as before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ended: String,
    /// The request types that fail.
    pub request_types: Vec<String>,
    /// Whether its failures are masked: something failed inside, a retry or a fallback hid it, and the requests ended well.
    /// `failed` counts these then, and recovery isn't told of it.
    #[serde(default, skip_serializing_if = "is_no")]
    pub masked: bool,
    /// Why nothing is restarted for it without a person's order; empty where recovery works on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub left_alone: String,
    /// Requests that failed in it so far.
    pub failed: u64,
    /// Requests that should have come and did not, at least: an estimate.
    #[serde(default, skip_serializing_if = "is_none")]
    pub missing: u64,
    /// Requests of the same types that ended well in it.
    pub ok: u64,
    /// Since when its requests are well again while it is open: it is over when that lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_since: Option<UtcTime>,
    /// Who is suspected; `None` before the first ranking.
    pub ranking: Option<RankingView>,
    /// Plans made for it, newest first.
    pub plans: Vec<u64>,
    /// Actions carried out for it, newest first.
    pub actions: Vec<u64>,
}

impl IncidentView {
    /// Whether it was seen in requests, instead of in a unit itself.
    pub fn concerns_requests(&self) -> bool {
        !self.request_types.is_empty()
    }
}

/// The suspects of one incident as of one cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankingView {
    /// The incident.
    pub incident: u64,
    /// When it was made.
    pub at: UtcTime,
    /// The journal position up to which spans count.
    pub cut: u64,
    /// Whether the evidence suffices.
    pub verdict: RankingVerdict,
    /// Most suspicious first.
    pub suspects: Vec<SuspectView>,
    /// Requests that were left out, per reason.
    pub left_out: BTreeMap<String, u64>,
}

/// Whether the evidence suffices to suspect anyone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum RankingVerdict {
    /// It does.
    #[default]
    Enough,
    /// It doesn't: an answer too.
    NotEnough {
        /// What is missing, in a sentence.
        missing: String,
    },
}

/// What kind of thing a component is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A machine.
    Host,
    /// A service.
    #[default]
    Service,
    /// One version of a service.
    Version,
    /// One process of a service.
    Instance,
    /// A part of a process that can be told by its code.
    CodeComponent,
    /// One operation of a service.
    Operation,
    /// Something that is called and exports nothing, such as a database.
    Dependency,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Host => "host",
            Self::Service => "service",
            Self::Version => "version",
            Self::Instance => "instance",
            Self::CodeComponent => "code component",
            Self::Operation => "operation",
            Self::Dependency => "dependency",
        })
    }
}

/// In which way a suspect is at fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Failures begin in it.
    #[default]
    Raised,
    /// It doesn't answer its callers.
    Unanswered,
    /// It takes longer than it used to.
    Slow,
    /// It answers, wrongly.
    WrongAnswer,
    /// Its process ended.
    Exited,
    /// Its own figures don't keep within their bounds.
    OutOfBounds,
    /// It says so itself, somebody else does, or it is silent.
    Reported,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raised => "raised",
            Self::Unanswered => "unanswered",
            Self::Slow => "slow",
            Self::WrongAnswer => "wrong answer",
            Self::Exited => "exited",
            Self::OutOfBounds => "out of bounds",
            Self::Reported => "reported",
        })
    }
}

/// One component that can be suspected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentView {
    /// What kind of thing it is.
    pub level: Level,
    /// The service it belongs to, or that calls it.
    pub service: String,
    /// Its name.
    pub name: String,
}

/// `count` of `total`, the share, and where the true share may lie (95 %).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShareView {
    /// How many of them.
    pub count: u64,
    /// Of how many.
    pub total: u64,
    /// `count / total`; 0 where there is none.
    pub share: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// One suspect: a component, or several that no request can tell apart, with the evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuspectView {
    /// Its place in the ranking, from 1.
    pub rank: usize,
    /// The components, of which at least one is meant.
    pub components: Vec<ComponentView>,
    /// The attributes that restart units are matched against.
    pub attributes: BTreeMap<String, String>,
    /// The restart unit that it belongs to; `None` when the tree has none for it.
    pub unit: Option<String>,
    /// The method's score; comparable within one ranking only.
    pub score: f64,
    /// How likely the fault lies here, in `[0, 1]`; over all suspects at most 1. `None` where samplers don't say how many
    /// requests they threw away.
    pub confidence: Option<f64>,
    /// In which way it is at fault.
    pub shape: Shape,
    /// The type of the errors it raises.
    pub error_type: Option<String>,
    /// Of the failed requests, how many touched it.
    pub failed: ShareView,
    /// Of the successful requests, how many touched it.
    pub ok: ShareView,
    /// Failed requests whose failure began in it.
    pub originated: u64,
    /// Who complains about it, independently of one another.
    pub callers: Vec<String>,
    /// Failed requests that touched it, by trace id.
    pub examples_failed: Vec<String>,
    /// Successful requests of the same types, by trace id.
    pub examples_ok: Vec<String>,
    /// The evidence in a sentence.
    pub sentence: String,
    /// The same in full, as a table. Empty where no requests were compared.
    #[serde(default)]
    pub facts: Vec<FactView>,
    /// The same as values, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<rekindle_analysis::Explanation>,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactView {
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
}

impl SuspectView {
    /// The names of its components, joined: how people refer to it.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.components.iter().map(|c| c.name.as_str()).collect();
        names.join(" or ")
    }

    /// Whether `text` means it: by rank or by name.
    pub fn answers_to(&self, text: &str) -> bool {
        text.parse() == Ok(self.rank)
            || self.name() == text
            || self
                .components
                .iter()
                .any(|component| component.name == text)
    }
}
