//! `rekindle tree derive|lint|propose`: a first tree from what was observed, what is wrong with one, and what
//! past recoveries say about its shape. Everything is printed for a person to review; nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_ingest::KeepAttributes;
use rekindle_model::{Span, Trace};
use rekindle_recovery::tree::edit::apply;
use rekindle_recovery::tree::failure_map::FailureMap;
use rekindle_recovery::tree::propose::{Attempt, Episode, Proposal, propose};
use rekindle_recovery::{Mode, RestartTree, UnitName, UnitSpec};
use serde::Serialize;

use super::store::recorded;
use super::terminal::{Terminal, Tone};
use super::{Failure, check};
use crate::api::Reply;
use crate::client::Client;
use crate::config::{Overrides, show_duration};
use crate::daemon::tree_of;
use crate::exit::Exit;
use crate::propagation::Pairs;
use crate::view::{ActionView, VerdictView, View};

/// Services and components that a tree is derived from: telemetry is written by strangers, and a person
/// reviews no more than this.
const MAX_COMPONENTS: usize = 2000;

/// A component as it was seen: its service, and its code component where it has one.
type Seat = (String, Option<String>);

/// What was seen in traces.
struct Observed {
    seats: Vec<Seat>,
    /// Traces that touched each.
    touched: Vec<u64>,
    map: FailureMap,
    left_out: u64,
}

/// Prints a first tree.
pub(super) fn derive(terminal: &mut Terminal, inputs: &[PathBuf]) -> Result<Exit, Failure> {
    let recorded = recorded(inputs, &KeepAttributes::default())?;
    let observed = observe(&recorded.traces);
    let yaml = yaml(&observed, recorded.traces.len());
    terminal.answer(&yaml, |terminal, yaml| {
        yaml.lines().try_for_each(|line| terminal.line(line))
    })?;
    Ok(Exit::Ok)
}

fn seat(span: &Span) -> Seat {
    let component = span.attribute("code.namespace").map(str::to_owned);
    (span.resource.service.to_string(), component)
}

fn observe(traces: &[Trace]) -> Observed {
    let mut numbers: BTreeMap<Seat, usize> = BTreeMap::new();
    let mut touched: Vec<u64> = Vec::new();
    let mut left_out = 0;
    let mut pairs = Pairs::default();
    for trace in traces {
        let spans = trace.spans();
        let of_span: Vec<Option<usize>> = spans
            .iter()
            .map(|span| {
                let seat = seat(span);
                let next = numbers.len();
                if next >= MAX_COMPONENTS && !numbers.contains_key(&seat) {
                    left_out += 1;
                    return None;
                }
                let number = *numbers.entry(seat).or_insert(next);
                touched.resize(touched.len().max(number + 1), 0);
                Some(number)
            })
            .collect();
        let here: BTreeSet<usize> = of_span.iter().copied().flatten().collect();
        for number in &here {
            touched[*number] += 1;
        }
        pairs.add(trace, &of_span, 1);
    }
    let mut seats = vec![Seat::default(); numbers.len()];
    for (seat, number) in numbers {
        seats[number] = seat;
    }
    Observed {
        seats,
        touched,
        map: pairs.map(),
        left_out,
    }
}

/// A name that a unit may have. Telemetry's names may be anything.
fn unit_name(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text
        .chars()
        .take(60)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

fn label((service, component): &Seat) -> String {
    match component {
        Some(component) => format!("{}/{}", unit_name(service), unit_name(component)),
        None => unit_name(service),
    }
}

fn yaml(observed: &Observed, traces: usize) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!(
        "# A first restart tree, from {traces} traces. Nothing in it can be restarted yet: say how for each"
    ));
    line("# unit (process, http, command, docker, kubernetes, systemd), take out what can't be, and see what".to_owned());
    line("# `rekindle check-config` and `rekindle tree lint` say.".to_owned());
    if observed.left_out > 0 {
        line(format!(
            "# {} spans were left out: more than {MAX_COMPONENTS} components.",
            observed.left_out
        ));
    }
    for group in &observed.map.groups {
        let names: Vec<String> = group.iter().map(|at| label(&observed.seats[*at])).collect();
        line(format!(
            "# They make each other fail, so restart them together: {}",
            names.join(", ")
        ));
    }
    line("restart:\n  mode: observe\n  tree:\n    - unit: everything\n      units:".to_owned());
    let mut services: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (service, _)) in observed.seats.iter().enumerate() {
        services.entry(service).or_default().push(at);
    }
    let mut taken: BTreeSet<String> = BTreeSet::from(["everything".to_owned()]);
    let mut unique = |wanted: String| {
        let mut name = wanted.clone();
        let mut count = 2;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}-{count}");
            count += 1;
        }
        name
    };
    for (service, seats) in services {
        line(format!("        - unit: {}", unique(unit_name(service))));
        line(format!(
            "          match: {}",
            serde_json::json!({ "service.name": service })
        ));
        line("          # command: { run: [program, argument] }".to_owned());
        let parts: Vec<usize> = seats
            .into_iter()
            .filter(|at| observed.seats[*at].1.is_some())
            .collect();
        if !parts.is_empty() {
            line("          units:".to_owned());
        }
        for at in parts {
            let component = observed.seats[at].1.clone().unwrap_or_default();
            let own = unit_name(&component);
            let name = match own.starts_with(&unit_name(service)) {
                true => own,
                false => format!("{}.{own}", unit_name(service)),
            };
            line(format!(
                "            - unit: {}   # in {} traces",
                unique(name),
                observed.touched[at]
            ));
            line(format!(
                "              match: {}",
                serde_json::json!({ "code.namespace": component })
            ));
            line(
                "              # http: { post: \"http://127.0.0.1:PORT/microreboot\" }".to_owned(),
            );
            for edge in observed.map.edges.iter().filter(|edge| edge.source == at) {
                line(format!(
                    "              # when it fails, {} fails, too, {:.0} times in a hundred",
                    label(&observed.seats[edge.target]),
                    100.0 * edge.share
                ));
            }
        }
    }
    text
}

/// Something that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    unit: String,
    words: String,
}

/// Says what is wrong with a configuration's tree.
pub(super) fn lint(
    terminal: &mut Terminal,
    client: &Client,
    file: &Path,
    traces: &[PathBuf],
) -> Result<Exit, Failure> {
    let config = check::read(file, &Overrides::default())?;
    let tree = tree_of(&config)?;
    let keep: KeepAttributes = config.matched_attributes().into_iter().collect();
    let recorded = match traces {
        [] => None,
        files => Some(recorded(files, &keep)?.traces),
    };
    // What was measured, where a daemon runs; without one there is nothing to compare with.
    let view: Option<View> = client.get("/view").ok();
    let findings = findings(&tree, recorded.as_deref(), view.as_ref());
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

fn findings(tree: &RestartTree, traces: Option<&[Trace]>, view: Option<&View>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut note = |unit: &UnitName, words: String| {
        let unit = unit.to_string();
        found.push(Finding { unit, words });
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
pub(super) fn suggest(
    terminal: &mut Terminal,
    client: &Client,
    file: &Path,
) -> Result<Exit, Failure> {
    let tree = tree_of(&check::read(file, &Overrides::default())?)?;
    let actions = match client.get("/history?limit=1000")? {
        Reply::History { actions } => actions,
        _ => Vec::new(),
    };
    let told: Vec<Told> = propose(&tree, &episodes(&actions))
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
    let line = |spec: &UnitSpec| match &spec.parent {
        Some(parent) => format!("- unit: {}   # below {parent}", spec.name),
        None => format!("- unit: {}", spec.name),
    };
    let same = |units: &[UnitSpec], spec: &UnitSpec| {
        let mut units = units.iter();
        units.any(|other| other.name == spec.name && other.parent == spec.parent)
    };
    let gone = before.iter().filter(|spec| !same(after, spec));
    let new = after.iter().filter(|spec| !same(before, spec));
    gone.map(|spec| format!("-{}", line(spec)))
        .chain(new.map(|spec| format!("+{}", line(spec))))
        .collect()
}

/// The history's restarts by recovery, oldest first. Preventive ones and orders cure nothing.
fn episodes(actions: &[ActionView]) -> Vec<Episode> {
    let mut by_recovery: BTreeMap<u64, Vec<Attempt>> = BTreeMap::new();
    for action in actions
        .iter()
        .rev()
        .filter(|action| action.incident.is_some())
    {
        let attempts = by_recovery.entry(action.recovery).or_default();
        let unit = UnitName(match action.target.as_str() {
            "" => action.unit.clone(),
            target => target.to_owned(),
        });
        let downtime = action.downtime_ms.map(Duration::from_millis);
        // Each part of a group is an action of its own; together they are one attempt.
        if let Some(last) = attempts
            .last_mut()
            .filter(|last| last.unit == unit && action.unit != action.target)
        {
            last.downtime = last.downtime.zip(downtime).map(|(a, b)| a + b);
            continue;
        }
        attempts.push(Attempt {
            unit,
            at: action.intent_at.into(),
            cured: match action.verdict {
                Some(VerdictView::Cured) => Some(true),
                Some(VerdictView::Helped | VerdictView::NotCured) => Some(false),
                Some(VerdictView::Unknown) | None => None,
            },
            downtime,
            failed_requests: action.failed_meanwhile.map(|failed| failed as f64),
        });
    }
    by_recovery
        .into_values()
        .map(|attempts| Episode { attempts })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let episodes = episodes(&actions);
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
    fn strangers_names_become_unit_names_and_yaml_that_reads() {
        let observed = Observed {
            seats: vec![
                ("shop: }\n".to_owned(), None),
                ("shop: }\n".to_owned(), Some("shop.cart\"#".to_owned())),
                (String::new(), None),
            ],
            touched: vec![3, 2, 1],
            map: FailureMap::default(),
            left_out: 0,
        };
        let text = yaml(&observed, 3);
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let units = &read["restart"]["tree"][0]["units"];
        assert_eq!(units[1]["match"]["service.name"], "shop: }\n");
        assert_eq!(
            units[1]["units"][0]["match"]["code.namespace"],
            "shop.cart\"#"
        );
        assert_eq!(units[0]["unit"], "unnamed");
    }
}
