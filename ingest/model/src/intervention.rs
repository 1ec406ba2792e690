//! What was done to the system: an input of analysis, like spans.
//!
//! Spans that overlap an intervention on what they touch are fenced: counted neither for nor
//! against anyone, because a restart makes failures of its own.

use serde::{Deserialize, Serialize};

use crate::{Life, Name, UnixNanos};

/// Attribute values that must all be there for a span to be meant: `service.name = catalog` and
/// `code.namespace = catalog.search`, say. Resource and span attributes are asked alike. An empty
/// selector means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector(pub Vec<(Name, Name)>);

impl Selector {
    /// Whether every pair is among the attributes that `get` looks up.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0
            .iter()
            .all(|(key, value)| get(key) == Some(value.as_str()))
    }
}

/// What kind of thing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterventionKind {
    /// A restart, ours or somebody else's, of a process or of a part of it.
    Restart,
    /// A new version was brought in.
    Deployment,
    /// Instances were added or taken away.
    Scaling,
    /// We ourselves could not see: the engine was down, or its receivers were.
    Blind,
}

impl InterventionKind {
    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Deployment => "deployment",
            Self::Scaling => "scaling",
            Self::Blind => "our own blindness",
        }
    }
}

/// Something that was done to the system, and for how long it cast its shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// What was done.
    pub kind: InterventionKind,
    /// To what: spans with these attributes are under its shadow.
    pub target: Selector,
    /// The first instant of the shadow.
    pub from: UnixNanos,
    /// The last instant, or `None` while it is still going on.
    pub until: Option<UnixNanos>,
    /// The life that began with it, as the target's spans tell theirs. What comes later of an older one says nothing of
    /// this one.
    pub began: Life,
    /// Who said that it is over, where that is somebody else than who told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Name>,
    /// The name by which its maker knows it, such as the ledger's action.
    pub reference: Name,
}

impl Intervention {
    /// Whether the interval `[start, end]` touches the shadow.
    pub fn overlaps(&self, start: UnixNanos, end: UnixNanos) -> bool {
        end >= self.from && self.until.is_none_or(|until| start <= until)
    }
}
