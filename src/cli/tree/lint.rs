//! What is wrong with a tree, as far as its configuration, traces and a daemon tell.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_model::Trace;
use rekindle_recovery::{Mode, RestartTree, UnitName};
use serde::Serialize;

use crate::cli::recorded::recorded;
use crate::cli::terminal::Terminal;
use crate::cli::{Failure, check};
use crate::client::Client;
use crate::config::{Overrides, show_duration};
use crate::daemon::{keep_attributes, tree_of};
use crate::engine::mapping::{component_of, level_view};
use crate::exit::Exit;
use crate::view::{ComponentView, Level, UnitView, View};

/// What is to be said of a unit that nothing restarts.
pub(super) const NO_WAY: &str = "can't be restarted, because nobody says how; it is only observed";

/// Something that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) unit: String,
    pub(super) words: String,
}

/// Says what is wrong with a configuration's tree.
pub(in crate::cli) fn lint(
    terminal: &mut Terminal,
    client: &Client,
    file: &Path,
    traces: &[PathBuf],
) -> Result<Exit, Failure> {
    let config = check::read(file, &Overrides::default())?;
    let tree = tree_of(&config)?;
    let recorded = match traces {
        [] => None,
        files => Some(recorded(files, &keep_attributes(&config))?.traces),
    };
    // What was measured and seen, where a daemon runs; without one there is nothing to compare with.
    let view: Option<View> = client.get("/view").ok();
    let components: Option<Vec<ComponentView>> = client.get("/components").ok();
    let mut findings = findings(&tree, recorded.as_deref(), view.as_ref());
    if let (None, Some(view), Some(components)) = (recorded, view, components) {
        findings.extend(unseen(&tree, view.status.requests, &components));
    }
    terminal.answer(&findings, |terminal, findings| {
        show_findings(terminal, findings)
    })?;
    Ok(if findings.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

fn show_findings(terminal: &mut Terminal, findings: &[Finding]) -> io::Result<()> {
    if findings.is_empty() {
        return terminal.line("Nothing is wrong with the tree, as far as can be told.");
    }
    for finding in findings {
        terminal.line(format!("{}: {}", finding.unit, finding.words))?;
    }
    Ok(())
}

pub(super) fn findings(
    tree: &RestartTree,
    traces: Option<&[Trace]>,
    view: Option<&View>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut note = |unit: &UnitName, words: String| {
        let unit = unit.to_string();
        found.push(Finding { unit, words });
    };
    let mostly = |unit: &UnitName| {
        let measured = view
            .and_then(|view| view.unit(unit.as_str()))
            .filter(|unit| unit.last_action.is_some());
        let mostly = measured.and_then(|unit| unit.downtime_mostly_ms);
        mostly.map(Duration::from_millis)
    };
    // A restart of a whole takes as long as that of any part, so what takes less contradicts it.
    let downtime = |unit: &UnitName| {
        let measured = view
            .and_then(|view| view.unit(unit.as_str()))
            .filter(|unit| unit.last_action.is_some())
            .and_then(|unit| unit.downtime_ms)
            .map(|millis| (Duration::from_millis(millis), "measured"));
        let configured = tree.spec(unit).and_then(|spec| spec.expected_downtime);
        measured.or(configured.map(|downtime| (downtime, "configured")))
    };
    for spec in tree.units() {
        let unit = &spec.name;
        if tree.restarts(unit).is_empty() && !tree.grows_below(unit) {
            note(unit, NO_WAY.to_owned());
        }
        let below = tree.subtree(unit);
        let strictest = below.iter().map(|part| (tree.mode(part), part)).min();
        if let Some((mode, part)) = strictest
            && mode < tree.mode(unit)
        {
            let word = if mode == Mode::Observe {
                "observe"
            } else {
                "propose"
            };
            note(
                unit,
                format!(
                    "can never be restarted unattended, because {part}, which goes with it, is in mode {word}"
                ),
            );
        }
        if let (Some(deadline), Some((takes, how))) = (
            spec.executor.as_ref().map(|_| spec.start_deadline),
            downtime(unit),
        ) && takes >= deadline
        {
            note(
                unit,
                format!(
                    "can never be ready in time: its restart takes {} ({how}), and start_deadline is {}",
                    show_duration(takes),
                    show_duration(deadline)
                ),
            );
        } else if let Some(mostly) = mostly(unit)
            && spec.executor.is_some()
            && mostly >= spec.start_deadline
        {
            note(
                unit,
                format!(
                    "is often not ready in time: one restart of ten takes {} or longer, and start_deadline is {}",
                    show_duration(mostly),
                    show_duration(spec.start_deadline)
                ),
            );
        }
        if let (Some(parent), Some((takes, how))) = (tree.parent(unit), downtime(unit))
            && let Some((whole, whole_how)) = downtime(parent)
            && takes >= whole
        {
            note(
                unit,
                format!(
                    "takes {} to restart ({how}), and {parent}, which contains it, {} ({whole_how}): either a figure is wrong, or {unit} is worth no restart of its own",
                    show_duration(takes),
                    show_duration(whole)
                ),
            );
        }
        if let (Some(traces), false) = (traces, spec.selector.is_empty()) {
            let wanted = tree.selector(unit);
            let spans = traces.iter().flat_map(Trace::spans);
            let is_seen = spans.into_iter().any(|span| {
                wanted.is_some_and(|pairs| {
                    pairs
                        .iter()
                        .all(|(key, value)| span.attribute(key) == Some(value))
                })
            });
            if !is_seen {
                let pairs: Vec<String> = wanted
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                note(
                    unit,
                    format!("no span ever matched it ({})", pairs.join(", ")),
                );
            }
        }
    }
    for (one, other) in view.map(both_ways).unwrap_or_default() {
        if !tree.overlap(&one, &other) {
            note(
                &one,
                format!(
                    "fails when {other} does, and the other way round: a restart of one alone only hands the fault on, so restart them `together`"
                ),
            );
        }
    }
    if let Some(root) = tree.root()
        && tree
            .units()
            .all(|spec| tree.mode(&spec.name) == Mode::Observe)
    {
        note(
            root,
            "nothing may ever be restarted: everything is in mode observe".to_owned(),
        );
    }
    found
}

/// The units of which a daemon that saw so many requests never saw anything, where a component's level can tell.
pub(super) fn unseen(
    tree: &RestartTree,
    requests: u64,
    components: &[ComponentView],
) -> Vec<Finding> {
    if requests == 0 {
        return Vec::new();
    }
    let seen: BTreeSet<(Level, &str, &str)> = components
        .iter()
        .map(|it| (it.level, it.service.as_str(), it.name.as_str()))
        .collect();
    let units = tree.units().filter(|spec| !spec.selector.is_empty());
    let unseen = units.filter_map(|spec| {
        let wanted = component_of(tree.selector(&spec.name)?)?;
        let level = level_view(wanted.level);
        let is_seen = seen.contains(&(level, &*wanted.service, &*wanted.name));
        (!is_seen).then(|| Finding {
            unit: spec.name.to_string(),
            words: format!(
                "nothing of {wanted} was in the {requests} requests that the daemon has seen since it runs"
            ),
        })
    });
    unseen.collect()
}

/// Units that were seen to make each other fail more often than not.
fn both_ways(view: &View) -> Vec<(UnitName, UnitName)> {
    const MOSTLY: f64 = 0.5;
    let fails_with = |unit: &UnitView, other: &str| {
        let mut sources = unit.fails_with.iter();
        sources.any(|source| source.unit == other && source.share > MOSTLY)
    };
    let mut found = Vec::new();
    for unit in &view.tree {
        for source in &unit.fails_with {
            let other = view.unit(&source.unit);
            if unit.name < source.unit
                && fails_with(unit, &source.unit)
                && other.is_some_and(|other| fails_with(other, &unit.name))
            {
                found.push((UnitName(unit.name.clone()), UnitName(source.unit.clone())));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::FailsWithView;

    #[test]
    fn what_is_probably_not_meant_is_told() {
        let yaml = "restart:\n  mode: auto\n  tree:\n    - unit: shop\n      expected_downtime: 2s\n      \
                    units:\n        - { unit: cart, mode: observe, command: { run: [x] }, \
                    expected_downtime: 3s, start_deadline: 1s }\n";
        let config = crate::config::Config::parse("r", yaml, &Overrides::default(), &|_| None);
        let tree = tree_of(&config.expect("a configuration")).expect("a tree");
        let told: Vec<String> = findings(&tree, None, None)
            .into_iter()
            .map(|finding| format!("{}: {}", finding.unit, finding.words))
            .collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].starts_with("shop: can never be restarted unattended, because cart"));
        assert!(told[1].starts_with("cart: can never be ready in time"));
        assert!(told[2].contains("worth no restart of its own"));
        let findings = findings(&tree, Some(&[]), None);
        assert_eq!(
            findings.len(),
            3,
            "what matches nothing itself is not looked for"
        );
    }

    #[test]
    fn who_makes_each_other_fail_should_go_together() {
        let yaml = |rule: &str| {
            format!(
                "restart:\n  tree:\n    - unit: shop\n      units:\n        \
                 - {{ unit: cart, command: {{ run: [x] }}{rule} }}\n        \
                 - {{ unit: stock, command: {{ run: [x] }} }}\n"
            )
        };
        let unit = |name: &str, with: &str, share: f64| UnitView {
            name: name.to_owned(),
            fails_with: vec![FailsWithView {
                unit: with.to_owned(),
                share,
            }],
            ..UnitView::default()
        };
        for (rule, back, expected) in [("", 0.8, 1), ("", 0.3, 0), (", together: [stock]", 0.8, 0)]
        {
            let yaml = yaml(rule);
            let config = crate::config::Config::parse("r", &yaml, &Overrides::default(), &|_| None);
            let tree = tree_of(&config.expect("a configuration")).expect("a tree");
            let view = View {
                tree: vec![unit("cart", "stock", 0.9), unit("stock", "cart", back)],
                ..View::default()
            };
            let found = findings(&tree, None, Some(&view));
            let together = found.iter().filter(|one| one.words.contains("`together`"));
            assert_eq!(together.count(), expected, "{rule} {back}: {found:?}");
        }
    }
}
