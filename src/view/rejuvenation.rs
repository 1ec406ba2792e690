//! Preventive restarts: how each rule stands.

use rekindle_recovery::rejuvenate::{RuleState, RuleStatus};
use serde::{Deserialize, Serialize};

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejuvenationView {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: RuleState,
    /// The unit that is being restarted, or didn't come back; empty where none is meant.
    pub unit: String,
    /// What is going on, in a sentence.
    pub words: String,
    /// What the gauge last said; empty where there is none, or it can't be read.
    pub reading: String,
    /// From where on units are restarted; empty for ages and chance.
    pub alarm: String,
    /// Until where they are.
    pub sufficient: String,
    /// The units in the order in which they would be restarted now.
    pub order: Vec<TurnView>,
}

/// A unit's place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnView {
    /// The unit.
    pub unit: String,
    /// What its restarts gave back on average; empty where none was tried.
    pub gave: String,
}

impl From<&RuleStatus> for RejuvenationView {
    fn from(status: &RuleStatus) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            name: status.name.clone(),
            state: status.state,
            unit: status
                .unit
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            words: status.words.clone(),
            reading: text(&status.reading),
            alarm: text(&status.alarm),
            sufficient: text(&status.sufficient),
            order: status
                .order
                .iter()
                .map(|(unit, gave)| TurnView {
                    unit: unit.to_string(),
                    gave: text(gave),
                })
                .collect(),
        }
    }
}
