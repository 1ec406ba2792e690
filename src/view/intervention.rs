//! What was done to the system, whose requests count for nobody.

use std::collections::BTreeMap;

use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector};
use serde::{Deserialize, Serialize};

use super::UtcTime;

/// Something that was done: told, seen in traces, or a restart of ours. What overlaps it and touches its target is set apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The life that began with it, where it was a restart of ours.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub began: Life,
    /// What its maker knows it by, where somebody told of it: together with its target this is what it is told again by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Who said that it is over, where that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// What it is known by, and whose word it is.
    #[serde(default)]
    pub reference: String,
}

/// What stands between an intervention's id and who told of it; so no id has it.
const TOLD_BY: &str = ", told by ";

/// What stands behind who told of it: of what, and since when where it is told anew.
const BESIDE: [&str; 2] = [", of ", ", since "];

/// The reference of what somebody tells of: another one for each target, as one id may be told of several, even at once.
/// That of our own actions is another, whatever is told.
pub(crate) fn reference_of(id: &str, by: &str, target: &Selector) -> String {
    let target = target.0.iter().map(|(key, value)| format!("{key}={value}"));
    let target: Vec<String> = target.collect();
    format!("{id}{TOLD_BY}{by}{}{}", BESIDE[0], target.join(" "))
}

/// The same of one that is told anew after that of this reference.
pub(crate) fn reference_anew(reference: &str, since: UtcTime) -> String {
    format!("{reference}{}{since}", BESIDE[1])
}

/// The id, and who told of it; nothing of what wasn't told.
pub(crate) fn told_as(reference: &str) -> Option<(&str, &str)> {
    let (id, by) = reference.split_once(TOLD_BY)?;
    let ends = BESIDE.iter().filter_map(|word| by.find(word));
    Some((id, &by[..ends.min().unwrap_or(by.len())]))
}

/// Whether an id could be taken for a reference.
pub(crate) fn is_no_id(id: &str) -> bool {
    id.contains(TOLD_BY)
}

fn is_unknown(life: &Life) -> bool {
    *life == Life::default()
}

impl InterventionView {
    /// What it is called where it is told what it is done to.
    pub(crate) fn name(&self) -> String {
        match (&self.id, &self.by) {
            (Some(id), Some(by)) => format!("{id}{TOLD_BY}{by}"),
            _ => self.reference.clone(),
        }
    }
}

impl From<&Intervention> for InterventionView {
    fn from(it: &Intervention) -> Self {
        let pairs = it.target.0.iter();
        // What ends within a millisecond ends with it.
        let end = |nanos: u64| UtcTime::from_millis(nanos.div_ceil(1_000_000));
        let told = told_as(&it.reference);
        Self {
            kind: it.kind,
            target: pairs
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            from: it.from.into(),
            until: it.until.map(|until| end(until.0)),
            began: it.began,
            id: told.map(|(id, _)| id.to_owned()),
            by: told.map(|(_, by)| by.to_owned()),
            ended_by: it.ended_by.as_ref().map(ToString::to_string),
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
            began: view.began,
            ended_by: view.ended_by.as_deref().map(Name::from),
            reference: view.reference.as_str().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_read_as_it_was_and_a_misspelt_field_is_not() {
        let began = Life {
            process: Some(7),
            part: None,
        };
        let told = Intervention {
            kind: InterventionKind::Restart,
            target: Selector(vec![("service.name".into(), "catalog".into())]),
            from: rekindle_model::UnixNanos::from_secs(100),
            until: None,
            began,
            ended_by: None,
            reference: "action 3 on catalog".into(),
        };
        let text = serde_json::to_string(&InterventionView::from(&told)).expect("JSON");
        let read: InterventionView = serde_json::from_str(&text).expect("what was written");
        assert_eq!(Intervention::from(&read), told);
        let misspelt = text.replace("target", "targt");
        assert!(serde_json::from_str::<InterventionView>(&misspelt).is_err());
    }
}
