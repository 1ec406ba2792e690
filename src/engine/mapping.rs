//! From suspected components to restart units: the one place where traces and recovery meet.
//!
//! A suspect carries attributes (`service.name`, `code.namespace`, …); a unit says which attributes
//! are its own. What no unit owns stays on the page for people and is left out of the evidence, so
//! that its share of the probability is not handed to somebody who can be restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rekindle_analysis::{
    Analyzer, Caller, Component, Incident, Level, Ranking, Shape, Suspect, Verdict,
};
use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector, UnixNanos};
use rekindle_recovery::service::Shadow;
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
    sources.extend(suspect.callers.iter().map(|caller| match caller {
        Caller::Component(name) => service_of(name),
        Caller::Reporter(name) => name.as_str(),
    }));
    // Our own probe saw with its own eyes that the answer was wrong, and the spans below it say who
    // gave it: the probe is one source, and they are another.
    let probed = suspect
        .callers
        .iter()
        .any(|caller| matches!(caller, Caller::Reporter(name) if name.starts_with(OWN_PROBE)));
    sources.len() >= 2 || probed
}

/// What our own probes report as; what comes over the API is marked as such.
const OWN_PROBE: &str = "probe ";

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
        joined_into: None,
        circumstances: rekindle_recovery::Circumstances::default(),
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
    let mut of_parts: BTreeMap<&UnitName, f64> = BTreeMap::new();
    let units: Vec<_> = tree.units().collect();
    // Parents come before their children, so children are known first this way round. What stands for others has what they
    // have, and adds nothing to what contains it.
    for unit in units
        .iter()
        .rev()
        .filter(|unit| tree.group(&unit.name).is_none())
    {
        let own = tree
            .selector(&unit.name)
            .and_then(component_of)
            .map(|component| analyzer.throughput(&component));
        let parts = of_parts.remove(&unit.name).unwrap_or(0.0);
        // A unit that is gone is touched by nothing, but its parts' callers still are.
        let rate = own.unwrap_or(0.0).max(parts).min(all);
        if let Some(parent) = &unit.parent {
            *of_parts.entry(parent).or_default() += rate;
        }
        traffic.insert(unit.name.clone(), rate);
    }
    for unit in units {
        let members = tree.group(&unit.name).map(|group| &group.members);
        let of_members = members
            .into_iter()
            .flatten()
            .filter_map(|it| traffic.get(it));
        if members.is_some() {
            traffic.insert(unit.name.clone(), of_members.sum::<f64>().min(all));
        }
    }
    traffic
}

/// The component that a selector names, by the most specific attribute that is a level of its own.
pub(crate) fn component_of(selector: &BTreeMap<String, String>) -> Option<Component> {
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

/// What a restart's shadow sets apart; `None` where nothing in telemetry is its unit's.
pub(crate) fn cast(shadow: &Shadow) -> Option<Intervention> {
    if shadow.selector.is_empty() {
        return None;
    }
    let pairs = shadow.selector.iter();
    Some(Intervention {
        kind: InterventionKind::Restart,
        target: Selector(
            pairs
                .map(|(key, value)| (Name::from(key.as_str()), Name::from(value.as_str())))
                .collect(),
        ),
        from: shadow.from.into(),
        until: shadow.until.map(Into::into),
        began: Life {
            process: shadow.began.process,
            // Spans tell the number of their code component, and of nothing else below the process.
            part: shadow
                .began
                .part
                .filter(|_| shadow.selector.contains_key("code.namespace")),
        },
        ended_by: None,
        // An action on a group casts one shadow per part.
        reference: format!("action {} on {}", shadow.action, shadow.unit).into(),
    })
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rekindle_analysis::{Examples, ShareInterval};
    use rekindle_model::RequestType;
    use rekindle_recovery::{ExecutorSpec, HttpSpec, UnitSpec};
    use std::time::Duration;

    pub(crate) fn unit(name: &str, parent: Option<&str>, selector: &[(&str, &str)]) -> UnitSpec {
        UnitSpec {
            name: name.into(),
            parent: parent.map(Into::into),
            selector: selector
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            executor: parent.map(|_| {
                ExecutorSpec::Http(HttpSpec {
                    url: format!("http://127.0.0.1:1/{name}"),
                    timeout: Duration::from_secs(1),
                })
            }),
            start_deadline: Duration::from_secs(1),
            ready: None,
            check: None,
            watches: Vec::new(),
            mode: None,
            expected_downtime: None,
            rules: rekindle_recovery::UnitRules::default(),
            around: rekindle_recovery::Around::default(),
        }
    }

    pub(crate) fn tree() -> RestartTree {
        let search = [("service.name", "catalog"), ("code.namespace", "search")];
        let items = [("service.name", "catalog"), ("code.namespace", "items")];
        RestartTree::build(vec![
            unit("site", None, &[]),
            unit("catalog", Some("site"), &[("service.name", "catalog")]),
            unit("catalog.search", Some("catalog"), &search),
            unit("catalog.items", Some("catalog"), &items),
        ])
        .expect("a tree")
    }

    fn suspect(service: &str, part: Option<&str>, confidence: f64) -> Suspect {
        let nothing = ShareInterval {
            share: 0.0,
            low: 0.0,
            high: 1.0,
        };
        let mut attributes = BTreeMap::from([("service.name".into(), service.into())]);
        attributes.extend(part.map(|part| ("code.namespace".into(), part.into())));
        Suspect {
            components: vec![match part {
                Some(part) => Component::new(Level::CodeComponent, &service.into(), &part.into()),
                None => Component::service(&service.into()),
            }],
            attributes,
            score: confidence,
            confidence,
            shape: Shape::Raised,
            error_type: Some("Corrupt".into()),
            evidence: rekindle_analysis::Evidence {
                failed_touching: 0,
                failed_total: 0,
                ok_touching: 0,
                ok_total: 0,
                originated: 0,
                failed_share: nothing,
                ok_share: nothing,
                baseline_origin_share: 0.0,
            },
            callers: Vec::new(),
            examples: Examples::default(),
            explanation: rekindle_analysis::Explanation::default(),
            sentence: format!("{service} is at fault"),
        }
    }

    fn ranking(suspects: Vec<Suspect>, verdict: Verdict) -> Ranking {
        Ranking {
            incident: 1,
            method: "default".into(),
            at: UnixNanos::from_secs(20),
            cut: 0,
            suspects,
            none_of_these: 0.0,
            verdict,
            weights: rekindle_analysis::Weights::default(),
            left_out: rekindle_analysis::Counts::default(),
        }
    }

    fn incident(closed: bool) -> Incident {
        Incident {
            id: 1,
            request_types: vec![RequestType {
                service: "web".into(),
                operation: "GET /".into(),
            }],
            since: UnixNanos::from_secs(10),
            opened_at: UnixNanos::from_secs(11),
            closed: closed.then_some(rekindle_analysis::Closing {
                at: UnixNanos::from_secs(30),
                reason: rekindle_analysis::ClosingReason::Recovered,
            }),
            ok: 1,
            bad: 9,
            masked: false,
            baseline_failure_share: 0.01,
            missing: 0.0,
            well_since: None,
            failing_per_second: 3.0,
        }
    }

    fn told(incident: &Incident, ranking: Option<&Ranking>) -> Option<Evidence> {
        let nobody = BTreeMap::new();
        evidence(
            1001,
            incident,
            ranking,
            &tree(),
            &nobody,
            wall(UnixNanos::from_secs(25)),
        )
    }

    #[test]
    fn parts_of_one_unit_add_up_and_what_nobody_owns_keeps_its_share() {
        let suspects = vec![
            suspect("catalog", Some("search"), 0.5),
            suspect("catalog", Some("other"), 0.2),
            suspect("catalog", None, 0.1),
            suspect("payments", None, 0.15),
        ];
        let evidence =
            told(&incident(false), Some(&ranking(suspects, Verdict::Enough))).expect("evidence");
        let units: Vec<(&str, f64)> = evidence
            .suspects
            .iter()
            .map(|suspect| (suspect.unit.as_str(), suspect.probability))
            .collect();
        assert_eq!(units.len(), 2, "{units:?}");
        assert_eq!(units[0], ("catalog.search", 0.5));
        assert_eq!(units[1].0, "catalog");
        assert!((units[1].1 - 0.3).abs() < 1e-9, "{units:?}");
        assert_eq!(evidence.signature.request_types, ["web GET /"]);
        assert_eq!(evidence.signature.error_type, "Corrupt");
        assert_eq!(evidence.signature.shape, "raised");
        assert_eq!(evidence.at, wall(UnixNanos::from_secs(20)));
    }

    #[test]
    fn thin_evidence_is_not_told_but_an_end_is() {
        let missing = Verdict::NotEnough {
            missing: "failed requests".to_owned(),
        };
        let thin = ranking(vec![suspect("catalog", None, 0.5)], missing);
        assert_eq!(told(&incident(false), Some(&thin)), None);
        assert_eq!(told(&incident(false), None), None);
        let over = told(&incident(true), Some(&thin)).expect("an end");
        assert!(over.closed && over.suspects.is_empty());
    }

    #[test]
    fn two_sources_are_needed_and_one_process_is_one_source() {
        let caller = |name: &str| Caller::Component(name.into());
        let reporter = |name: &str| Caller::Reporter(name.into());
        for (shape, callers, expected) in [
            (Shape::Raised, vec![], false),
            (Shape::Raised, vec![caller("web")], true),
            // Another part of the same process is the same source.
            (Shape::Raised, vec![caller("dispatch of catalog")], false),
            // Who doesn't answer says nothing.
            (Shape::Unanswered, vec![caller("web")], false),
            (
                Shape::Unanswered,
                vec![caller("web"), caller("bidding")],
                true,
            ),
            (
                Shape::Unanswered,
                vec![caller("dispatch of catalog"), caller("web")],
                true,
            ),
            (Shape::WrongAnswer, vec![reporter("monitor")], false),
            (
                Shape::WrongAnswer,
                vec![reporter("monitor"), caller("web")],
                true,
            ),
            (Shape::WrongAnswer, vec![reporter("probe search")], true),
            // Whoever calls itself like a probe is none.
            (
                Shape::WrongAnswer,
                vec![caller("reporter:probe search")],
                false,
            ),
            (Shape::WrongAnswer, vec![caller("probe search")], false),
            (
                Shape::WrongAnswer,
                vec![reporter("api probe search")],
                false,
            ),
        ] {
            let mut accused = suspect("catalog", Some("search"), 0.9);
            accused.shape = shape;
            accused.callers.clone_from(&callers);
            assert_eq!(two_sided(&accused), expected, "{shape:?} {callers:?}");
        }
    }

    #[test]
    fn a_confidence_that_nobody_knows_is_null() {
        let mut ranking = ranking(vec![suspect("catalog", None, 0.9)], Verdict::Enough);
        let told = |ranking: &Ranking| {
            let view = crate::engine::publish::ranking(7, ranking, &tree());
            let json = serde_json::to_value(view).expect("JSON");
            json["suspects"][0]["confidence"].clone()
        };
        assert_eq!(told(&ranking), serde_json::json!(0.9));
        ranking.weights = rekindle_analysis::Weights::Hidden;
        assert!(told(&ranking).is_null());
    }
}
