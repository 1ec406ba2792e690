//! What was done to the system, whose requests count for nobody.

use std::collections::BTreeMap;

use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector};
use serde::{Deserialize, Serialize};

use super::UtcTime;

/// Something that was done: told, seen in traces, or a restart of ours. What overlaps it and touches its target is set apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterventionView {
    /// What was done.
    pub kind: InterventionKind,
    /// To what has all these telemetry attributes; to everything where there are none.
    #[serde(default)]
    pub target: BTreeMap<String, String>,
    /// Since when.
    pub from: UtcTime,
    /// Until when; `None` while it goes on.
    #[serde(default)]
    pub until: Option<UtcTime>,
    /// What it is known by, and whose word it is.
    #[serde(default)]
    pub reference: String,
}

impl From<&Intervention> for InterventionView {
    fn from(it: &Intervention) -> Self {
        let pairs = it.target.0.iter();
        // What ends within a millisecond ends with it.
        let end = |nanos: u64| UtcTime::from_millis(nanos.div_ceil(1_000_000));
        Self {
            kind: it.kind,
            target: pairs
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            from: it.from.into(),
            until: it.until.map(|until| end(until.0)),
            reference: it.reference.to_string(),
        }
    }
}

impl From<&InterventionView> for Intervention {
    fn from(view: &InterventionView) -> Self {
        let nanos = |time: UtcTime| std::time::SystemTime::from(time).into();
        let pairs = view.target.iter();
        Self {
            kind: view.kind,
            target: Selector(
                pairs
                    .map(|(key, value)| (Name::from(key.as_str()), Name::from(value.as_str())))
                    .collect(),
            ),
            from: nanos(view.from),
            until: view.until.map(nanos),
            began: Life::default(),
            reference: view.reference.as_str().into(),
        }
    }
}
