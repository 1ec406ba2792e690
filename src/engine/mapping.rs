//! From suspected components to restart units: the one place where traces and recovery meet.
//!
//! A suspect carries attributes (`service.name`, `code.namespace`, …); a unit says which attributes
//! are its own. What no unit owns stays on the page for people and is left out of the evidence, so
//! that its share of the probability is not handed to somebody who can be restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rekindle_analysis::{Analyzer, Component, Incident, Level, Ranking, Shape, Suspect, Verdict};
use rekindle_model::{Name, UnixNanos};
use rekindle_recovery::{Evidence, FaultSignature, RestartTree, SuspectUnit, UnitName};

/// The most specific unit that surely contains the suspect; `None` when no unit does.
pub(crate) fn unit_of(suspect: &Suspect, tree: &RestartTree) -> Option<UnitName> {
    unit_of_attributes(&suspect.attributes, tree)
}

/// As [`unit_of`], for attributes alone.
pub(crate) fn unit_of_attributes(
    attributes: &BTreeMap<Name, Name>,
    tree: &RestartTree,
) -> Option<UnitName> {
    let attributes = attributes
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    tree.resolve(&attributes).map(|resolution| resolution.unit)
}

/// Whether two independent sources accuse the suspect.
///
/// A source is whoever exported accusing spans, or a judge outside: the suspect's own process (it
/// raised an error or took too long, or another part of it got no answer from the suspect) is one,
/// each other service that complains is one, each reporter is one. Who can write one process's
/// telemetry can write all of it, so a process counts once however many of its parts complain.
pub(crate) fn two_sided(suspect: &Suspect) -> bool {
    let Some(component) = suspect.components.first() else {
        return false;
    };
    let own = component.service.as_str();
    let own_word = matches!(suspect.shape, Shape::Raised | Shape::Slow).then_some(own);
    let mut sources: BTreeSet<&str> = own_word.into_iter().collect();
    sources.extend(suspect.callers.iter().map(|caller| service_of(caller)));
    // Our own probe saw with its own eyes that the answer was wrong, and the spans below it say who
    // gave it: the probe is one source, and they are another.
    let probed = suspect
        .callers
        .iter()
        .any(|caller| caller.starts_with(OWN_PROBE));
    sources.len() >= 2 || probed
}

/// How the analysis names a report of one of our own probes.
const OWN_PROBE: &str = "reporter:probe ";

/// The service that a caller is, or is part of: parts are named `component of service`.
fn service_of(caller: &str) -> &str {
    caller
        .rsplit_once(" of ")
        .map_or(caller, |(_, service)| service)
}

/// What recovery is told about an incident. `None` while there is nothing to tell: the evidence
/// does not suffice, and the incident is still open.
pub(crate) fn evidence(
    public_id: u64,
    incident: &Incident,
    ranking: Option<&Ranking>,
    tree: &RestartTree,
    traffic: &BTreeMap<UnitName, f64>,
    now: SystemTime,
) -> Option<Evidence> {
    let closed = !incident.is_open();
    let ranking = ranking.filter(|ranking| ranking.verdict == Verdict::Enough);
    if ranking.is_none() && !closed {
        return None;
    }
    let mut units: BTreeMap<UnitName, SuspectUnit> = BTreeMap::new();
    let mut first: Option<&Suspect> = None;
    for suspect in ranking.iter().flat_map(|ranking| &ranking.suspects) {
        let Some(unit) = unit_of(suspect, tree) else {
            continue;
        };
        first = first.or(Some(suspect));
        let entry = units.entry(unit.clone()).or_insert_with(|| SuspectUnit {
            unit,
            probability: 0.0,
            two_sided: false,
            reason: suspect.sentence.clone(),
        });
        entry.probability = (entry.probability + suspect.confidence).min(1.0);
        entry.two_sided |= two_sided(suspect);
    }
    let mut suspects: Vec<SuspectUnit> = units.into_values().collect();
    suspects.sort_by(|a, b| {
        b.probability
            .total_cmp(&a.probability)
            .then_with(|| a.unit.cmp(&b.unit))
    });
    let mut request_types: Vec<String> = incident
        .request_types
        .iter()
        .map(ToString::to_string)
        .collect();
    request_types.sort();
    Some(Evidence {
        incident: public_id,
        at: ranking.map_or(now, |ranking| wall(ranking.at)),
        since: wall(incident.since),
        signature: FaultSignature {
            request_types,
            error_type: first
                .and_then(|suspect| suspect.error_type.as_ref())
                .map(ToString::to_string)
                .unwrap_or_default(),
            shape: first
                .map_or("", |suspect| suspect.shape.as_str())
                .to_owned(),
        },
        suspects,
        baseline_failure_share: incident.baseline_failure_share,
        failing_per_second: incident.failing_per_second,
        traffic: traffic.clone(),
        closed,
    })
}

/// Requests per second that pass through each unit: what its absence would fail. A unit that only
/// groups others has the traffic of its parts together, and nothing has more than there is at all.
pub(crate) fn traffic(analyzer: &Analyzer, tree: &RestartTree) -> BTreeMap<UnitName, f64> {
    let all: f64 = analyzer
        .request_types()
        .iter()
        .map(|one| one.per_second)
        .sum();
    let mut traffic: BTreeMap<UnitName, f64> = BTreeMap::new();
    let units: Vec<_> = tree.units().collect();
    // Parents come before their children, so children are known first this way round.
    for unit in units.iter().rev() {
        let own = tree
            .selector(&unit.name)
            .and_then(component_of)
            .map(|component| analyzer.throughput(&component));
        let parts: f64 = units
            .iter()
            .filter(|part| part.parent.as_ref() == Some(&unit.name))
            .filter_map(|part| traffic.get(&part.name))
            .sum();
        // A unit that is gone is touched by nothing, but its parts' callers still are.
        traffic.insert(unit.name.clone(), own.unwrap_or(0.0).max(parts).min(all));
    }
    traffic
}

/// The component that a selector names, by the most specific attribute that is a level of its own.
fn component_of(selector: &BTreeMap<String, String>) -> Option<Component> {
    let name = |key: &str| selector.get(key).map(|value| Name::from(value.as_str()));
    let service = name("service.name")?;
    for (key, level) in [
        ("code.namespace", Level::CodeComponent),
        ("service.instance.id", Level::Instance),
        ("service.version", Level::Version),
    ] {
        if let Some(name) = name(key) {
            return Some(Component::new(level, &service, &name));
        }
    }
    Some(Component::service(&service))
}

/// The standard library's form of a time.
pub(crate) fn wall(time: UnixNanos) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(time.0)
}

/// The words for a level that a table has room for.
pub(crate) fn level_view(level: Level) -> crate::view::Level {
    match level {
        Level::Host => crate::view::Level::Host,
        Level::Service => crate::view::Level::Service,
        Level::Version => crate::view::Level::Version,
        Level::Instance => crate::view::Level::Instance,
        Level::CodeComponent => crate::view::Level::CodeComponent,
        Level::Operation => crate::view::Level::Operation,
        Level::Dependency => crate::view::Level::Dependency,
    }
}
