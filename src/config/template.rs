//! Units that come and go by themselves, as they are written: see `rekindle_recovery::template`.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_recovery::process::{INSTANCE_ATTRIBUTE, RESOURCE_VARIABLE};
use rekindle_recovery::template::{ITS, Source, Template, Trait, instance_of};
use rekindle_recovery::{ExecutorSpec, KubernetesRestart, UnitName, UnitSpec};

use super::document::{Node, Value};
use super::its::Its;
use super::reader::{Reader, Section};
use super::units::{bus, engine, kubernetes, process, stop, unit};

/// So many units may grow from one template when nobody says so: more than most services have replicas, and few
/// enough that a wrong label is noticed.
const DEFAULT_MOST: usize = 50;

/// So many replicas of a process may be asked for: more on one machine are a slip of the finger.
const MOST_REPLICAS: u64 = 1000;

/// How long an instance must be off the list to be gone when nobody says so: longer than exporters are late, and than
/// one that is made anew under its name is away.
const DEFAULT_GONE_AFTER: Duration = Duration::from_secs(60);

/// Said of a template with none of them, or several.
const ONE_SOURCE: &str = "needs exactly one of `processes`, `containers`, `services` and `pods`: who starts or lists its units";

/// What the section says, of units that are otherwise like this one.
pub(super) fn template(section: &Section<'_>, unit: UnitSpec) -> Option<Template> {
    let containers = section
        .section("containers", "unit.containers")
        .map(containers);
    let services = section.section("services", "unit.services").map(services);
    let pods = section.section("pods", "unit.kubernetes").map(pods);
    let mut named = [containers, services, pods].into_iter().flatten();
    let source = match (named.next(), named.next()) {
        (Some(source), None) => source,
        _ => {
            section.complain_about_itself(ONE_SOURCE);
            None
        }
    };
    let usual = match &source {
        Some(Source::Pods(_)) => ("k8s.pod.name", Trait::Name),
        // No convention has an attribute for it; `%n` in the service's environment says it.
        Some(Source::Services { .. }) => ("service.instance.id", Trait::Name),
        _ => ("container.id", Trait::Id),
    };
    let mut apart: BTreeMap<String, Trait> = BTreeMap::new();
    for (attribute, word) in section.pairs("told_apart_by") {
        match Trait::of_word(&word) {
            // Another may have it tomorrow, and then it has the spans of both.
            Some(of) if of != Trait::Address => {
                apart.insert(attribute, of);
            }
            _ => {
                let wrong =
                    format!("{word:?} is not known; it must be one of `name`, `id`, `short_id`");
                section.complain("told_apart_by", section.at(), &wrong);
            }
        }
    }
    if apart.is_empty() {
        apart.insert(usual.0.to_owned(), usual.1);
    }
    let mut most = DEFAULT_MOST;
    section.set_number("most", &mut most, 1..=1000);
    let gone_after = section
        .read("gone_after", Reader::duration)
        .unwrap_or(DEFAULT_GONE_AFTER);
    below_a_unit_with_none_below(section, unit.parent.as_ref());
    if matches!(source, Some(Source::Pods(_))) && unit.ready.is_some() {
        let wrong = "is known of no pod: one that is restarted ends, and the cluster says when the next is ready";
        section.complain("ready", section.at(), wrong);
    }
    Some(Template {
        unit,
        source: source?,
        apart,
        most,
        gone_after,
    })
}

/// Where a template stands in the tree.
fn below_a_unit_with_none_below(section: &Section<'_>, parent: Option<&UnitName>) {
    if section.node("units").is_some() {
        section.complain_about_itself(
            "is a template, and nothing can be below the units that grow from one",
        );
    }
    if parent.is_none() {
        section.complain_about_itself("is a template, and must stand below a unit that stays");
    }
}

/// The replicas of a process that we start: each is a unit as if it had been written, since their number is.
pub(super) fn replicas(
    section: &Section<'_>,
    kind: &UnitName,
    parent: Option<&UnitName>,
) -> Vec<UnitSpec> {
    below_a_unit_with_none_below(section, parent);
    let others = ["containers", "services", "pods"].map(|other| section.node(other));
    if others.iter().any(Option::is_some) {
        section.complain_about_itself(ONE_SOURCE);
    }
    let Some(processes) = section.section("processes", "unit.process") else {
        return Vec::new();
    };
    let number = processes.read("replicas", |r, n| r.integer(n, 1..=MOST_REPLICAS));
    let number = processes.required("replicas", number, "how many of them are to run");
    let says_apart = says_its(section.node("match"));
    if !says_apart {
        own_instance(&processes, kind);
    }
    let unit = |number: u64| {
        let its = Its::Replica(number);
        section.reader.within(its, || {
            let name = instance_of(kind, &number.to_string());
            let executor = process(&processes);
            let mut unit = unit(section, name, parent, executor, its);
            if !says_apart {
                let instance = unit.name.to_string();
                unit.selector
                    .insert(INSTANCE_ATTRIBUTE.to_owned(), instance);
            }
            unit
        })
    };
    // All that is said is read, be it of nobody.
    let units: Vec<UnitSpec> = (1..=number.unwrap_or(1)).map(unit).collect();
    processes.close();
    if number.is_none() { Vec::new() } else { units }
}

/// Complains of an environment that says another instance than the one by which each unit's spans are told.
fn own_instance(processes: &Section<'_>, kind: &UnitName) {
    let Some(Value::Map(entries)) = processes.node("env").map(|node| &node.value) else {
        return;
    };
    for (key, node) in entries {
        let Value::Text(text) = &node.value else {
            continue;
        };
        let name = instance_of(kind, &format!("{ITS}number}}"));
        let mut pairs = text
            .split(',')
            .filter_map(|pair| pair.trim().split_once('='));
        let says_another =
            pairs.any(|(key, value)| key == INSTANCE_ATTRIBUTE && value != name.as_str());
        if key.name == RESOURCE_VARIABLE && says_another {
            let wrong = format!(
                "{RESOURCE_VARIABLE} says another `{INSTANCE_ATTRIBUTE}` than the unit's name, by which its spans are told \
                 from the others': leave it out, or write it into `match` as well"
            );
            processes.complain("env", processes.at(), &wrong);
        }
    }
}

/// Whether something in it differs from unit to unit.
fn says_its(node: Option<&Node>) -> bool {
    let Some(Value::Map(entries)) = node.map(|node| &node.value) else {
        return false;
    };
    let mut values = entries.iter().map(|(_, node)| &node.value);
    values.any(|value| matches!(value, Value::Text(text) if text.contains(ITS)))
}

fn containers(section: Section<'_>) -> Option<Source> {
    let labels: BTreeMap<String, String> = section.pairs("labels").into_iter().collect();
    if labels.is_empty() {
        section.complain_about_itself("names no label, so it would be every container");
    }
    let (socket, stop) = engine(&section);
    section.close();
    Some(Source::Containers {
        labels,
        socket,
        stop,
    })
}

fn services(section: Section<'_>) -> Option<Source> {
    let pattern = section.read("pattern", Reader::filled_text);
    let pattern = section.required("pattern", pattern, "the names of systemd's units");
    let bus = bus(&section);
    let stop = stop(&section);
    if let Some(wrong) = pattern.as_deref().and_then(wrong_pattern) {
        section.complain("pattern", section.at(), &wrong);
    }
    section.close();
    let pattern = pattern?;
    Some(Source::Services { pattern, bus, stop })
}

/// What is wrong with a pattern of services' names.
fn wrong_pattern(pattern: &str) -> Option<String> {
    let stem = pattern.strip_suffix(".service");
    // A class may be any of its letters.
    let mut is_within_class = false;
    let mut names_something = false;
    for letter in stem.unwrap_or(pattern).chars() {
        match letter {
            '[' => is_within_class = true,
            ']' => is_within_class = false,
            _ => names_something |= !is_within_class && letter.is_alphanumeric(),
        }
    }
    let words = match stem {
        _ if !pattern.contains(['*', '?', '[']) => "is one unit's name; write one with `*` in it",
        None => "matches more than services; write one that ends in `.service`",
        Some(_) if !names_something => "would be every service; write a part of their names",
        Some(_) => return None,
    };
    Some(format!("{pattern:?} {words}"))
}

fn pods(section: Section<'_>) -> Option<Source> {
    let at = section.at();
    let (reader, path) = (section.reader, section.path_of(""));
    let Some(ExecutorSpec::Kubernetes(spec)) = kubernetes(section) else {
        return None;
    };
    match spec.restart {
        KubernetesRestart::Evict { .. } | KubernetesRestart::Delete { .. } => {
            Some(Source::Pods(spec))
        }
        _ => {
            let subject = format!("`{}`", path.trim_end_matches('.'));
            reader.complain(
                subject,
                Some(at),
                "needs `evict` or `delete`: pods are restarted one by one",
            );
            None
        }
    }
}

/// What is wrong with the names of templates: units that grow are told from others by them. `units` are those that were
/// written one by one.
pub(super) fn clashes(kinds: &[UnitName], units: &[&UnitSpec]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        if kinds[..at].contains(kind) {
            wrong.push(format!("two templates are called {kind}"));
        }
        let grew_here = |name: &UnitName| {
            let of_kind = name.kind_and_instance();
            of_kind.is_some_and(|(of, _)| of == kind.as_str())
        };
        let mut units = units.iter();
        let clash = units.find(|unit| unit.name == *kind || grew_here(&unit.name));
        if let Some(unit) = clash {
            let words = format!(
                "the unit {} is called as if it grew from the template {kind}",
                unit.name
            );
            wrong.push(words);
        }
        if kind.kind_and_instance().is_some() {
            wrong.push(format!(
                "the template {kind} has an @ in its name, which stands before the instance"
            ));
        }
    }
    wrong
}
