//! Where a test may kill the engine: before and after each write and each effect of a recovery.
//!
//! Starting is recovering only if every one of these places is survived, so the places have names
//! that a command line can say, and the code passes through them in every run, not only in tests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in an action's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPoint {
    /// Decided, and nothing written.
    BeforeIntent,
    /// The intent is on disk, and nothing was done.
    AfterIntent,
    /// The executor is about to be called.
    BeforeEffect,
    /// The unit was looked at for a post-mortem, and may still be announced as away, or preparing.
    AfterLook,
    /// The unit has answered whether it has prepared, or had its time to.
    AfterAsked,
    /// The unit was announced as away for as long as it is to be.
    AfterDrain,
    /// The unit was announced as away, asked to prepare and looked at, and it still lives.
    AfterPrepare,
    /// The unit is restarted, and what was seen of its old life may not be kept yet.
    BeforeKept,
    /// What was seen of its old life is kept, and its restart may be under way.
    AfterKept,
    /// The executor is done, and nobody was told.
    AfterEffect,
    /// The result is known, and not written.
    BeforeResult,
    /// The result is on disk.
    AfterResult,
    /// The verdict is known, and not written.
    BeforeVerdict,
    /// The verdict is on disk.
    AfterVerdict,
    /// The ledger is about to be asked or written, whatever for.
    BeforeWrite,
    /// It has answered, and nobody was told.
    AfterWrite,
}

impl CrashPoint {
    /// All places, in the order in which an action passes them where what surrounds it takes no time.
    pub const ALL: [Self; 14] = [
        Self::BeforeIntent,
        Self::AfterIntent,
        Self::BeforeEffect,
        Self::AfterLook,
        Self::AfterAsked,
        Self::AfterDrain,
        Self::AfterPrepare,
        Self::BeforeKept,
        Self::AfterKept,
        Self::AfterEffect,
        Self::BeforeResult,
        Self::AfterResult,
        Self::BeforeVerdict,
        Self::AfterVerdict,
    ];

    /// The places around whatever the ledger does. They are passed many times in each recovery: a sweep counts.
    pub const OF_LEDGER: [Self; 2] = [Self::BeforeWrite, Self::AfterWrite];

    /// Its name: `before-intent` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeIntent => "before-intent",
            Self::AfterIntent => "after-intent",
            Self::BeforeEffect => "before-effect",
            Self::AfterLook => "after-look",
            Self::AfterAsked => "after-asked",
            Self::AfterDrain => "after-drain",
            Self::AfterPrepare => "after-prepare",
            Self::BeforeKept => "before-kept",
            Self::AfterKept => "after-kept",
            Self::AfterEffect => "after-effect",
            Self::BeforeResult => "before-result",
            Self::AfterResult => "after-result",
            Self::BeforeVerdict => "before-verdict",
            Self::AfterVerdict => "after-verdict",
            Self::BeforeWrite => "before-write",
            Self::AfterWrite => "after-write",
        }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no crash point is called {text:?}; there are {}", names())]
pub struct UnknownCrashPoint {
    text: String,
}

fn all() -> impl Iterator<Item = CrashPoint> {
    CrashPoint::ALL.into_iter().chain(CrashPoint::OF_LEDGER)
}

fn names() -> String {
    let names: Vec<&str> = all().map(CrashPoint::as_str).collect();
    names.join(", ")
}

impl FromStr for CrashPoint {
    type Err = UnknownCrashPoint;

    fn from_str(text: &str) -> Result<Self, UnknownCrashPoint> {
        all()
            .find(|point| point.as_str() == text)
            .ok_or_else(|| UnknownCrashPoint {
                text: text.to_owned(),
            })
    }
}

/// Called at every place that is passed. The daemon kills itself in it when the place is the
/// configured one; in production nothing is called.
pub type CrashHook = Arc<dyn Fn(CrashPoint) + Send + Sync>;

/// Whom to tell of the places that are passed, if anybody.
#[derive(Clone, Default)]
pub(crate) struct Passing(Option<CrashHook>);

impl Passing {
    pub(crate) const fn told_to(hook: Option<CrashHook>) -> Self {
        Self(hook)
    }

    pub(crate) fn at(&self, point: CrashPoint) {
        if let Some(hook) = &self.0 {
            hook(point);
        }
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Passing").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_read_by_its_name() {
        for point in all() {
            assert_eq!(point.as_str().parse(), Ok(point));
            let json = serde_json::to_string(&point).expect("a name");
            assert_eq!(json, format!("\"{point}\""));
        }
        let error = "later".parse::<CrashPoint>().expect_err("no such place");
        assert!(error.to_string().contains("before-intent"), "{error}");
    }
}
