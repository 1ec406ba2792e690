//! `rekindle tree derive|lint|propose`: a first tree from what was observed, what is wrong with one, and what
//! past recoveries say about its shape. Everything is printed for a person to review; nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_analysis::AnalysisConfig;
use rekindle_ingest::KeepAttributes;
use rekindle_model::{Span, Trace};
use rekindle_recovery::tree::edit::apply;
use rekindle_recovery::tree::failure_map::{Edge, FailureMap};
use rekindle_recovery::tree::propose::{self, Attempt, Episode, Nameless, Proposal, Step, propose};
use rekindle_recovery::{Mode, RestartTree, UnitName, UnitSpec};
use serde::Serialize;

use super::recorded::recorded;
use super::terminal::{Terminal, Tone};
use super::{Failure, check};
use crate::api::Reply;
use crate::client::Client;
use crate::config::{Overrides, show_duration};
use crate::daemon::{keep_attributes, tree_of};
use crate::engine::mapping::{component_of, level_view};
use crate::exit::Exit;
use crate::propagation::Pairs;
use crate::view::{ActionView, ComponentView, IncidentView, Level, UnitView, VerdictView, View};

/// Services and components that a tree is derived from: telemetry is written by strangers, and a person
/// reviews no more than this.
const MAX_COMPONENTS: usize = 2000;

/// So many instances of a service are counted: beyond that, how many they are changes nothing.
const MAX_INSTANCES: usize = 100;

/// A component as it was seen: its service, and its code component where it has one.
type Seat = (String, Option<String>);

/// What was seen in traces.
#[derive(Default)]
struct Observed {
    /// From what, for people.
    from: String,
    seats: Vec<Seat>,
    /// The instances of each service.
    instances: BTreeMap<String, BTreeSet<String>>,
    /// Traces that touched each, where that was counted.
    touched: Vec<u64>,
    map: FailureMap,
    /// Who fails when another does, of units that there are already.
    known: Vec<String>,
    left_out: u64,
}

/// Prints a first tree.
pub(super) fn derive(
    terminal: &mut Terminal,
    client: &Client,
    inputs: &[PathBuf],
) -> Result<Exit, Failure> {
    let observed = if inputs.is_empty() {
        of_daemon(
            &client.get::<Vec<ComponentView>>("/components")?,
            &client.get("/view")?,
        )
    } else {
        let routes = AnalysisConfig::default().health_routes;
        let keep = KeepAttributes::default().with_routes(routes);
        observe(&recorded(inputs, &keep)?.traces)
    };
    if observed.seats.is_empty() {
        return Err(Failure::Usage(format!(
            "there is nothing to make a tree of: no component is in {}; send traces first, or name files with some",
            observed.from
        )));
    }
    let yaml = yaml(&observed);
    terminal.answer(&Derived::of(&observed, &yaml), |terminal, _| {
        yaml.lines().try_for_each(|line| terminal.line(line))
    })?;
    Ok(Exit::Ok)
}

/// A derived tree for programs.
#[derive(Debug, Serialize)]
struct Derived {
    /// A configuration that can be loaded as it is.
    configuration: serde_json::Value,
    /// What the configuration has no words for.
    notes: Vec<String>,
}

impl Derived {
    fn of(observed: &Observed, yaml: &str) -> Self {
        let fails = observed.map.edges.iter().map(|edge| {
            format!(
                "when {} fails, {}",
                label(&observed.seats[edge.source]),
                observed.follows(edge)
            )
        });
        Self {
            // It was made here, and a test reads it back.
            configuration: serde_saphyr::from_str(yaml).unwrap_or_default(),
            notes: observed.notes().into_iter().chain(fails).collect(),
        }
    }
}

fn seat(span: &Span) -> Seat {
    let component = span.attribute("code.namespace").map(str::to_owned);
    (span.resource.service.to_string(), component)
}

/// What a daemon has seen since it runs.
fn of_daemon(components: &[ComponentView], view: &View) -> Observed {
    let seats: BTreeSet<Seat> = components
        .iter()
        .filter_map(|component| {
            let service = component.service.clone();
            match component.level {
                Level::Service => Some((service, None)),
                Level::CodeComponent => Some((service, Some(component.name.clone()))),
                _ => None,
            }
        })
        .collect();
    let known = view.tree.iter().flat_map(UnitView::why_it_fails);
    let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = components.iter().take(MAX_COMPONENTS);
    for component in all.filter(|it| it.level == Level::Instance) {
        let of_service = instances.entry(component.service.clone()).or_default();
        of_service.insert(component.name.clone());
    }
    Observed {
        instances,
        from: format!("{} requests that the daemon saw", view.status.requests),
        left_out: seats.len().saturating_sub(MAX_COMPONENTS) as u64,
        seats: seats.into_iter().take(MAX_COMPONENTS).collect(),
        known: known.collect(),
        ..Observed::default()
    }
}

fn observe(traces: &[Trace]) -> Observed {
    let mut numbers: BTreeMap<Seat, usize> = BTreeMap::new();
    let mut touched: Vec<u64> = Vec::new();
    let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
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
                if let Some(instance) = &span.resource.instance {
                    let of_service = instances.entry(seat.0.clone()).or_default();
                    if of_service.len() < MAX_INSTANCES && !of_service.contains(&**instance) {
                        of_service.insert(instance.to_string());
                    }
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
        from: format!("{} traces", traces.len()),
        seats,
        instances,
        touched,
        map: pairs.map(&FailureMap::default()),
        left_out,
        ..Observed::default()
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

/// A name for a code component's unit below another.
fn part_name(whole: &str, component: &str) -> String {
    let own = unit_name(component);
    match own.starts_with(whole) {
        true => own,
        false => format!("{whole}.{own}"),
    }
}

fn label((service, component): &Seat) -> String {
    match component {
        Some(component) => format!("{}/{}", unit_name(service), unit_name(component)),
        None => unit_name(service),
    }
}

impl Observed {
    /// What is to be known of the whole.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.left_out > 0 {
            notes.push(format!(
                "{} more were left out: there are more than {MAX_COMPONENTS} components.",
                self.left_out
            ));
        }
        for sentence in &self.known {
            notes.push(format!("Of the units that there are: {sentence}"));
        }
        for group in &self.map.groups {
            let names: Vec<String> = group.iter().map(|at| label(&self.seats[*at])).collect();
            notes.push(format!(
                "They make each other fail, so restart them together: {}",
                names.join(", ")
            ));
        }
        notes
    }

    /// Who fails with another.
    fn follows(&self, edge: &Edge) -> String {
        format!(
            "{} fails, too, {:.0} times in a hundred",
            label(&self.seats[edge.target]),
            100.0 * edge.share
        )
    }
}

fn yaml(observed: &Observed) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    for words in [
        format!("# A first restart tree, from {}. It can be loaded as it is, and only observes:", observed.from),
        "# suspects are told with their unit, and nothing can be restarted. Say for each unit how it is restarted".to_owned(),
        "# (process, http, command, docker, kubernetes, systemd), take out what can't be, then raise the mode to propose.".to_owned(),
        "# `rekindle check-config` and `rekindle tree lint` say what is missing.".to_owned(),
    ] {
        line(words);
    }
    for note in observed.notes() {
        line(format!("# {note}"));
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
        let instances = observed.instances.get(service).map_or(0, BTreeSet::len);
        if instances > 1 {
            line(format!(
                "          # {instances} instances were seen, those before a restart included: replicas are a template's (processes, containers, services or pods)"
            ));
        }
        let parts: Vec<usize> = seats
            .into_iter()
            .filter(|at| observed.seats[*at].1.is_some())
            .collect();
        if !parts.is_empty() {
            line("          units:".to_owned());
        }
        for at in parts {
            let component = observed.seats[at].1.clone().unwrap_or_default();
            let name = part_name(&unit_name(service), &component);
            let touched = observed.touched.get(at);
            let seen = touched.map_or_else(String::new, |count| format!("   # in {count} traces"));
            line(format!("            - unit: {}{seen}", unique(name)));
            line(format!(
                "              match: {}",
                serde_json::json!({ "code.namespace": component })
            ));
            line(
                "              # http: { post: \"http://127.0.0.1:PORT/microreboot\" }".to_owned(),
            );
            for edge in observed.map.edges.iter().filter(|edge| edge.source == at) {
                line(format!(
                    "              # when it fails, {}",
                    observed.follows(edge)
                ));
            }
        }
    }
    text
}

/// What is to be said of a unit that nothing restarts.
const NO_WAY: &str = "can't be restarted, because nobody says how; it is only observed";

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

fn findings(tree: &RestartTree, traces: Option<&[Trace]>, view: Option<&View>) -> Vec<Finding> {
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
fn unseen(tree: &RestartTree, requests: u64, components: &[ComponentView]) -> Vec<Finding> {
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
    use crate::view::{FailsWithView, RankingView, SuspectView};

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

    #[test]
    fn a_daemon_is_asked_for_what_it_saw_and_for_who_fails_with_whom() {
        let component = |level, service: &str, name: &str| ComponentView {
            level,
            service: service.to_owned(),
            name: name.to_owned(),
        };
        let shown = [
            component(Level::CodeComponent, "shop", "shop.cart"),
            component(Level::Service, "shop", "shop"),
            component(Level::Instance, "shop", "shop-7f"),
            component(Level::Instance, "shop", "shop-80"),
            component(Level::Instance, "bank", "bank-1"),
            component(Level::Service, "bank", "bank"),
        ];
        let mut view = View::default();
        view.status.requests = 1234;
        view.tree.push(UnitView {
            name: "cart".to_owned(),
            fails_with: vec![FailsWithView {
                unit: "stock".to_owned(),
                share: 0.87,
            }],
            ..UnitView::default()
        });
        let text = yaml(&of_daemon(&shown, &view));
        for words in [
            "from 1234 requests that the daemon saw",
            "# Of the units that there are: when stock fails, cart fails, too, at least 87 times",
            "            - unit: shop.cart\n",
            "# 2 instances were seen, ",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        assert!(!text.contains("1 instances"), "{text}");
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let derived = Derived::of(&of_daemon(&shown, &view), &text);
        assert_eq!(derived.configuration, read);
        assert_eq!(derived.notes.len(), 1, "{derived:?}");
        // What was derived can be loaded as it is, and what is missing is told.
        let config = crate::config::Config::parse("r", &text, &Overrides::default(), &|_| None);
        let tree = tree_of(&config.expect("a configuration")).expect("a tree");
        assert_eq!(unseen(&tree, 0, &[]), []);
        assert_eq!(unseen(&tree, 1234, &shown), []);
        let without_the_cart = unseen(&tree, 1234, &shown[1..]);
        assert_eq!(without_the_cart.len(), 1, "{without_the_cart:?}");
        assert_eq!(without_the_cart[0].unit, "shop.cart");
        assert!(without_the_cart[0].words.contains("in the 1234 requests"));
        let missing = findings(&tree, None, None);
        let no_way = missing.iter().filter(|finding| finding.words == NO_WAY);
        assert_eq!(no_way.count(), 4, "{missing:?}");
        let units = &read["restart"]["tree"][0]["units"];
        assert_eq!(units[0]["unit"], "bank");
        assert_eq!(units[1]["units"][0]["match"]["code.namespace"], "shop.cart");
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
            ..Observed::default()
        };
        let text = yaml(&observed);
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
