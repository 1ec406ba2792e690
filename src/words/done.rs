//! What is said of what was done to the system?

use crate::view::InterventionView;

/// So many are told one by one; of more, how many there are.
const TOLD: usize = 5;

/// What was done and to what, a line each, the latest first.
pub(crate) fn interventions(all: &[InterventionView]) -> Vec<String> {
    let mut lines: Vec<String> = all.iter().take(TOLD).map(line).collect();
    if let Some(more) = all.len().checked_sub(TOLD).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn line(it: &InterventionView) -> String {
    let since = format!(" from {}", it.from.clock());
    let ended = it.ended_by.as_ref();
    let ended = ended.map_or_else(String::new, |by| format!(", ended by {by}"));
    format!("{} ({}{ended})", said(it, &since), it.name())
}

/// To what it is done, and until when.
pub(super) fn to_what(it: &InterventionView) -> String {
    said(it, "")
}

fn said(it: &InterventionView, since: &str) -> String {
    let pairs: Vec<String> = it
        .target
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let of = match pairs.is_empty() {
        true => String::new(),
        false => format!(" of {}", pairs.join(" ")),
    };
    let until = it
        .until
        .map_or_else(String::new, |until| format!(" until {}", until.clock()));
    format!("{}{of}{since}{until}", it.kind.in_words())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rekindle_model::InterventionKind;

    use super::*;
    use crate::view::UtcTime;

    #[test]
    fn it_is_said_what_was_done_to_what_and_when() {
        let at = |seconds: u64| UtcTime::from_millis(36_000_000 + seconds * 1_000);
        let deployment = InterventionView {
            kind: InterventionKind::Deployment,
            target: BTreeMap::from([("service.name".to_owned(), "catalog".to_owned())]),
            from: at(0),
            until: Some(at(90)),
            began: rekindle_model::Life::default(),
            id: None,
            by: None,
            ended_by: None,
            reference: "rollout 7, told by ci".to_owned(),
        };
        let blind = InterventionView {
            kind: InterventionKind::Blind,
            target: BTreeMap::new(),
            from: at(5),
            until: None,
            began: rekindle_model::Life::default(),
            id: None,
            by: None,
            ended_by: None,
            reference: "the engine was down".to_owned(),
        };
        let said = "deployment of service.name=catalog from 10:00:00 until 10:01:30 (rollout 7, told by ci)";
        let unseen = "our own blindness from 10:00:05 (the engine was down)";
        assert_eq!(interventions(&[blind, deployment.clone()]), [unseen, said]);
        let ended = InterventionView {
            ended_by: Some("ann".to_owned()),
            ..deployment.clone()
        };
        assert!(interventions(&[ended])[0].ends_with("(rollout 7, told by ci, ended by ann)"));
        let lines = interventions(&vec![deployment; 8]);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[5], "and 3 more");
    }
}
