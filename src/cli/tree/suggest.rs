//! What past recoveries say about a tree's shape.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use rekindle_recovery::tree::edit::apply;
use rekindle_recovery::tree::propose::{self, Attempt, Episode, Nameless, Proposal, Step, propose};
use rekindle_recovery::{RestartTree, UnitName, UnitSpec};
use serde::Serialize;

use super::derive::part_name;
use crate::api::Reply;
use crate::cli::terminal::{Terminal, Tone};
use crate::cli::{Failure, check};
use crate::client::Client;
use crate::config::Overrides;
use crate::daemon::tree_of;
use crate::exit::Exit;
use crate::view::{ActionView, IncidentView, VerdictView};

/// A proposal as it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Told {
    edit: String,
    why: String,
    recoveries: usize,
    saved_requests: f64,
    saved_seconds: f64,
    diff: Vec<String>,
}

/// Says what the history speaks for.
pub(in crate::cli) fn suggest(
    terminal: &mut Terminal,
    client: &Client,
    file: &Path,
) -> Result<Exit, Failure> {
    let tree = tree_of(&check::read(file, &Overrides::default())?)?;
    let actions = match client.get("/history?limit=1000")? {
        Reply::History { actions } => actions,
        _ => Vec::new(),
    };
    let incidents: Vec<IncidentView> = client.get("/incidents")?;
    let told: Vec<Told> = propose(&tree, &episodes(&actions, &nameless(&incidents, &tree)))
        .into_iter()
        .map(|proposal| tell(&tree, &proposal))
        .collect();
    terminal.answer(&told, |terminal, told| {
        show_proposals(terminal, told, actions.len())
    })?;
    Ok(Exit::Ok)
}

fn show_proposals(terminal: &mut Terminal, told: &[Told], restarts: usize) -> io::Result<()> {
    if told.is_empty() {
        return terminal.line(format!(
            "The history of {restarts} restarts speaks for no change of the tree."
        ));
    }
    for proposal in told {
        terminal.heading(&proposal.edit, Tone::Plain)?;
        terminal.line(format!(
            "  {}; over these {} recoveries it would have saved about {:.0} failed requests and {:.1} s away",
            proposal.why, proposal.recoveries, proposal.saved_requests, proposal.saved_seconds
        ))?;
        for line in &proposal.diff {
            terminal.line(format!("  {line}"))?;
        }
    }
    Ok(())
}

fn tell(tree: &RestartTree, proposal: &Proposal) -> Told {
    let before: Vec<UnitSpec> = tree.units().cloned().collect();
    let after = apply(tree, &proposal.edit).unwrap_or_default();
    Told {
        edit: proposal.edit.to_string(),
        why: proposal.why.clone(),
        recoveries: proposal.episodes,
        saved_requests: proposal.saved_requests,
        saved_seconds: proposal.saved_seconds,
        diff: diff(&before, &after),
    }
}

/// Units that come, go, or move, as lines of a diff.
fn diff(before: &[UnitSpec], after: &[UnitSpec]) -> Vec<String> {
    let line = |spec: &UnitSpec| {
        let mut fields = vec![format!("unit: {}", spec.name)];
        let is_known = before.iter().any(|known| known.name == spec.name);
        let is_part = !is_known && !spec.selector.is_empty();
        if is_part {
            fields.push(format!("match: {}", serde_json::json!(spec.selector)));
        }
        for (rule, with) in [
            ("together", &spec.rules.together),
            ("after", &spec.rules.after),
        ] {
            if !with.is_empty() {
                let names: Vec<&str> = with.iter().map(UnitName::as_str).collect();
                fields.push(format!("{rule}: [{}]", names.join(", ")));
            }
        }
        let mut text = match &fields[..] {
            [name] => format!("- {name}"),
            // As the configuration may have it in one line.
            fields => format!("- {{{}}}", fields.join(", ")),
        };
        if let Some(parent) = &spec.parent {
            let _ = write!(text, "   # below {parent}");
        }
        if is_part && spec.executor.is_none() {
            // Left in mode observe, it would keep what contains it from being restarted unattended.
            text.push_str("; say how it is restarted, or leave it out");
        }
        text
    };
    let same = |units: &[UnitSpec], spec: &UnitSpec| {
        let mut units = units.iter();
        units.any(|other| {
            (&other.name, &other.parent, &other.rules) == (&spec.name, &spec.parent, &spec.rules)
        })
    };
    let gone = before.iter().filter(|spec| !same(after, spec));
    let new = after.iter().filter(|spec| !same(before, spec));
    gone.map(|spec| format!("-{}", line(spec)))
        .chain(new.map(|spec| format!("+{}", line(spec))))
        .collect()
}

/// Of each incident, what was suspected first, where that is a code component that no unit stands for.
fn nameless(incidents: &[IncidentView], tree: &RestartTree) -> BTreeMap<u64, Nameless> {
    const COMPONENT: &str = "code.namespace";
    let of = |incident: &IncidentView| {
        let first = incident.ranking.as_ref()?.suspects.first()?;
        let unit = UnitName(first.unit.clone()?);
        let component = first.attributes.get(COMPONENT)?;
        let is_named = tree.selector(&unit)?.contains_key(COMPONENT);
        (!is_named).then(|| Nameless {
            name: UnitName(part_name(unit.as_str(), component)),
            selector: BTreeMap::from([(COMPONENT.to_owned(), component.clone())]),
            unit,
        })
    };
    let known = incidents.iter().filter_map(|it| Some((it.id, of(it)?)));
    known.collect()
}

/// The history's restarts by recovery, oldest first. Preventive ones and orders cure nothing, and what was refused
/// is no restart.
fn episodes(actions: &[ActionView], suspects: &BTreeMap<u64, Nameless>) -> Vec<Episode> {
    let incidents: BTreeMap<u64, u64> = actions
        .iter()
        .filter_map(|action| Some((action.recovery, action.incident?)))
        .collect();
    let steps = actions.iter().rev();
    let steps = steps.filter(|action| action.incident.is_some() && !action.is_refused());
    let steps = steps.map(|action| Step {
        recovery: action.recovery,
        unit: UnitName(action.unit.clone()),
        attempt: Attempt {
            unit: UnitName(match action.target.as_str() {
                "" => action.unit.clone(),
                target => target.to_owned(),
            }),
            began: action.began.map(Into::into),
            at: action.intent_at.into(),
            cured: match action.verdict {
                Some(VerdictView::Cured) => Some(true),
                Some(VerdictView::Helped | VerdictView::NotCured) => Some(false),
                Some(VerdictView::Unknown) | None => None,
            },
            downtime: action.downtime_ms.map(Duration::from_millis),
            failed_requests: action.failed_meanwhile.map(|failed| failed as f64),
        },
    });
    let found = propose::episodes(steps).into_iter();
    let with_suspect = found.map(|(recovery, episode)| Episode {
        suspect: incidents
            .get(&recovery)
            .and_then(|incident| suspects.get(incident))
            .cloned(),
        ..episode
    });
    with_suspect.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{RankingView, SuspectView};

    fn action(recovery: u64, unit: &str, target: &str, verdict: VerdictView) -> ActionView {
        ActionView {
            recovery,
            unit: unit.to_owned(),
            target: target.to_owned(),
            incident: Some(recovery),
            downtime_ms: Some(1000),
            failed_meanwhile: Some(5),
            verdict: Some(verdict),
            ..ActionView::default()
        }
    }

    #[test]
    fn the_parts_of_a_group_are_one_attempt_and_orders_are_none() {
        let mut ordered = action(3, "a", "a", VerdictView::Cured);
        ordered.incident = None;
        // Newest first, as the history has them.
        let actions = [
            ordered,
            action(1, "b", "site", VerdictView::Cured),
            action(1, "a", "site", VerdictView::Cured),
            action(1, "a", "a", VerdictView::NotCured),
        ];
        let episodes = episodes(&actions, &BTreeMap::new());
        assert_eq!(episodes.len(), 1);
        let tried: Vec<(&str, Option<bool>)> = episodes[0]
            .attempts
            .iter()
            .map(|attempt| (attempt.unit.as_str(), attempt.cured))
            .collect();
        assert_eq!(tried, [("a", Some(false)), ("site", Some(true))]);
        assert_eq!(
            episodes[0].attempts[1].downtime,
            Some(Duration::from_secs(2))
        );
    }

    /// From what the daemon shows of incidents to a diff that can be written into the tree.
    #[test]
    fn a_component_without_a_unit_is_proposed_as_one() {
        let yaml = "restart:\n  mode: auto\n  tree:\n    - unit: shop\n      match: { service.name: shop }\n      \
                    command: { run: [x] }\n";
        let config = crate::config::Config::parse("r", yaml, &Overrides::default(), &|_| None);
        let tree = tree_of(&config.expect("a configuration")).expect("a tree");
        let suspect = |unit: &str, component: Option<&str>| SuspectView {
            unit: Some(unit.to_owned()),
            attributes: component
                .map(|name| ("code.namespace".to_owned(), name.to_owned()))
                .into_iter()
                .collect(),
            ..SuspectView::default()
        };
        let incident = |id, suspect| IncidentView {
            id,
            ranking: Some(RankingView {
                suspects: vec![suspect],
                ..RankingView::default()
            }),
            ..IncidentView::default()
        };
        let of_parts: Vec<IncidentView> = (1..=3)
            .map(|id| incident(id, suspect("shop", Some("shop.cart"))))
            .collect();
        let of_whole: Vec<IncidentView> = (1..=3)
            .map(|id| incident(id, suspect("shop", None)))
            .collect();
        let actions: Vec<ActionView> = (1..=3)
            .rev()
            .map(|recovery| action(recovery, "shop", "shop", VerdictView::Cured))
            .collect();
        let proposed = |incidents: &[IncidentView]| {
            let episodes = episodes(&actions, &nameless(incidents, &tree));
            let found = propose(&tree, &episodes);
            found.iter().map(|it| tell(&tree, it)).collect::<Vec<_>>()
        };
        assert_eq!(proposed(&of_whole), []);
        let told = proposed(&of_parts);
        assert_eq!(told.len(), 1, "{told:?}");
        let edit = "give parts of shop restarts of their own: shop.cart";
        assert_eq!(told[0].edit, edit);
        assert_eq!(
            told[0].diff,
            [
                "+- {unit: shop.cart, match: {\"code.namespace\":\"shop.cart\"}}   # below shop; say how it is \
                 restarted, or leave it out"
            ]
        );
        assert_eq!(told[0].recoveries, 3);
    }
}
