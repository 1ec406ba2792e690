//! The restart tree as it is written: nested units, read into a flat list. Whether they make a tree
//! is recovery's to say; what it says is told with the place of the unit that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rekindle_recovery::template::Template;
use rekindle_recovery::tree::{RestartTree, TreeError};
use rekindle_recovery::{
    CommandSpec, DockerSpec, ExecutorSpec, HttpSpec, Kinds, KubernetesRestart, KubernetesSpec,
    Mode, ProbeSpec, ProcessSpec, Stop, SystemdSpec, UnitName, UnitSpec, WorkloadKind,
};

use super::around;
use super::document::{Node, Place};
use super::guards;
use super::its::Its;
use super::probe;
use super::reader::{Read, Reader, Section};
use super::settings::MODES;
use super::template::{clashes, replicas, template};
use super::watch;

/// The longest time to ready when nobody says so. Process starts are slower than most people think.
const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(30);

/// How long a process or container may take to end after it was told to when nobody says so: less than Kubernetes' 30 s,
/// because a sick process often doesn't end at all, and users wait. Services and pods have times of their own.
const DEFAULT_STOP: Stop = Stop::Term(Duration::from_secs(5));

/// Whether it is killed at once.
const STOPS: [(&str, bool); 2] = [("term", false), ("kill", true)];

/// How long a microreboot endpoint may take to answer when nobody says so.
const DEFAULT_HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a restart command may take when nobody says so.
const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The socket where Docker has it, and podman's stand-in, too.
const DEFAULT_DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where systemd's bus is.
const DEFAULT_SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Units may be nested so deep. A restart tree is as deep as there are kinds of restart: host,
/// container, process, component; more is a mistake, and the reader recurses.
const MAX_DEPTH: usize = 32;

/// Bytes of a name that is written down: who writes a longer one means it for a description.
const MAX_NAME: usize = 100;

/// What is written about the restart tree.
pub(super) struct Tree {
    /// The units, parents before children, each replica of a process by itself.
    pub(super) specs: Vec<UnitSpec>,
    /// What grows among them.
    pub(super) templates: Vec<Template>,
    /// What units are of a kind, whether they grow or were written.
    pub(super) kinds: Kinds,
}

/// The tree of the list under the key. `mode` is for units at the top that don't say.
pub(super) fn tree(section: &Section<'_>, key: &'static str, mode: Mode) -> Tree {
    let mut units = Units::default();
    read_units(section, key, None, 0, &mut units);
    let Units {
        mut specs,
        templates,
        replicated,
        replicas,
        places,
        unclear,
    } = units;
    let grown = templates.iter().map(|it| &it.unit);
    let grown = grown.map(|it| (it.name.clone(), it.parent.clone()));
    let of_each: Vec<_> = grown.chain(replicated.iter().cloned()).collect();
    let kinds: Kinds = of_each
        .iter()
        .filter_map(|(kind, parent)| Some((kind.clone(), parent.clone()?)))
        .collect();
    for spec in specs.iter_mut().filter(|spec| spec.parent.is_none()) {
        spec.mode = spec.mode.or(Some(mode));
    }
    if specs.is_empty() {
        return Tree {
            specs,
            templates,
            kinds,
        };
    }
    let subject = format!("`{}`", section.path_of(key));
    let complain = |place: Option<Place>, wrong: &str| {
        section.reader.complain(subject.clone(), place, wrong);
    };
    let singly = specs.iter().filter(|spec| !replicas.contains(&spec.name));
    let singly: Vec<&UnitSpec> = singly.collect();
    let names: Vec<UnitName> = of_each.into_iter().map(|(kind, _)| kind).collect();
    for wrong in clashes(&names, &singly) {
        complain(Some(section.at()), &wrong);
    }
    for (at, wrong) in shared_ports(&specs) {
        complain(places.get(at).copied(), &wrong);
    }
    // With one of each kind: what is wrong with that would be wrong with all of them. One at the top was complained of.
    let below = templates.iter().filter(|it| it.unit.parent.is_some());
    let examples = below.map(Template::example);
    let tree = RestartTree::growing(
        specs.iter().cloned().chain(examples).collect(),
        kinds.clone(),
    );
    let errors = tree.err().unwrap_or_default();
    for error in errors.iter().filter(|error| is_sure(error, &unclear)) {
        let (unit, wrong) = told(error);
        let place = unit.and_then(|unit| {
            let at = specs.iter().rposition(|spec| spec.name == *unit)?;
            places.get(at).copied()
        });
        complain(place, &wrong);
    }
    Tree {
        specs,
        templates,
        kinds,
    }
}

/// Whether the tree would be wrong in this way even if what couldn't be read of these units were as it should.
fn is_sure(error: &TreeError, unclear: &BTreeSet<UnitName>) -> bool {
    let nobody_is_unclear = |units: &[&UnitName]| units.iter().all(|it| !unclear.contains(it));
    match error {
        // Who isn't known may be the root, restart those above it, or be the one that a rule names.
        TreeError::EmptyName { .. } => false,
        TreeError::NoRoot | TreeError::NotRestartable { .. } => unclear.is_empty(),
        TreeError::UnknownInRule { unit, .. } => {
            nobody_is_unclear(&[unit]) && !unclear.iter().any(|it| it.as_str().is_empty())
        }
        TreeError::DuplicateName { unit, .. } => !unit.as_str().is_empty(),
        TreeError::UnknownParent { unit, parent, .. } => nobody_is_unclear(&[unit, parent]),
        TreeError::SeveralRoots { .. } => true,
        TreeError::Cycle { units } | TreeError::OrderRing { units } => {
            nobody_is_unclear(&units.iter().collect::<Vec<_>>())
        }
        TreeError::Ambiguous { first, second, .. } => nobody_is_unclear(&[first, second]),
        TreeError::Contradiction { unit, ancestor, .. } => nobody_is_unclear(&[unit, ancestor]),
        TreeError::RuleWithin { unit, other, .. } => nobody_is_unclear(&[unit, other]),
    }
}

/// Which processes are said to listen where another one does: neither would ever be seen to have stopped.
fn shared_ports(specs: &[UnitSpec]) -> Vec<(usize, String)> {
    let mut first: BTreeMap<u16, &UnitName> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let Some(ExecutorSpec::Process(process)) = &spec.executor else {
            continue;
        };
        for port in &process.ports {
            let of = first.entry(*port).or_insert(&spec.name);
            if **of != spec.name {
                let words = format!(
                    "{of} and {} both have port {port} among their `ports`, so `ports` can't tell them apart",
                    spec.name
                );
                wrong.push((at, words));
            }
        }
    }
    wrong
}

/// The unit that an error is about, and what is wrong, for people who wrote nested units.
fn told(error: &TreeError) -> (Option<&UnitName>, String) {
    let unit = match error {
        TreeError::EmptyName { .. } | TreeError::NoRoot => None,
        TreeError::DuplicateName { unit, .. }
        | TreeError::UnknownParent { unit, .. }
        | TreeError::NotRestartable { unit }
        | TreeError::UnknownInRule { unit, .. }
        | TreeError::RuleWithin { unit, .. }
        | TreeError::Contradiction { unit, .. } => Some(unit),
        TreeError::Cycle { units } | TreeError::OrderRing { units } => units.first(),
        TreeError::Ambiguous { second, .. } => Some(second),
        TreeError::SeveralRoots { units } => {
            let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            let wrong = format!(
                "{} are all at the top; only one unit may be, so put them below one that contains \
                 them all (`- unit: everything` with `units:`)",
                names.join(", ")
            );
            return (units.get(1), wrong);
        }
    };
    (unit, error.to_string())
}

/// Units as they are read, and where each is written.
#[derive(Default)]
struct Units {
    specs: Vec<UnitSpec>,
    templates: Vec<Template>,
    /// The kinds of those replicas that are among the units, and below what they are.
    replicated: Vec<(UnitName, Option<UnitName>)>,
    replicas: BTreeSet<UnitName>,
    places: Vec<Place>,
    /// Those of which something couldn't be read.
    unclear: BTreeSet<UnitName>,
}

fn read_units(
    section: &Section<'_>,
    key: &'static str,
    parent: Option<&UnitName>,
    depth: usize,
    units: &mut Units,
) {
    let items = section.items(key);
    if depth >= MAX_DEPTH && !items.is_empty() {
        let wrong = format!("units are nested deeper than {MAX_DEPTH}");
        section.complain(key, section.at(), &wrong);
        return;
    }
    for (path, node) in items {
        let Some(unit) = Section::open(section.reader, &path, "unit", node) else {
            continue;
        };
        let before = section.reader.complaints();
        let name = match unit.has("template") {
            // Its parent is restarted by what grows.
            true => {
                read_template(&unit, parent, units);
                parent.cloned()
            }
            false => Some(read_unit(&unit, parent, units)),
        };
        let below = section.reader.complaints();
        if let (Some(name), false) = (&name, unit.has("template")) {
            read_units(&unit, "units", Some(name), depth + 1, units);
        }
        let own = below - before;
        let below = section.reader.complaints();
        unit.close();
        let is_unclear = own > 0 || section.reader.complaints() > below;
        units.unclear.extend(name.filter(|_| is_unclear));
    }
}

/// What it is called. What is below it isn't read.
fn read_unit(section: &Section<'_>, parent: Option<&UnitName>, units: &mut Units) -> UnitName {
    let name = own_name(section, "unit", "the unit's name");
    let executor = executor(section);
    let spec = unit(section, name.clone(), parent, executor, Its::Nobody);
    units.specs.push(spec);
    units.places.push(section.at());
    name
}

fn read_template(section: &Section<'_>, parent: Option<&UnitName>, units: &mut Units) {
    let name = own_name(section, "template", "the template's name");
    if section.has("processes") {
        let before = section.reader.complaints();
        let replicas = replicas(section, &name, parent);
        if section.reader.complaints() > before {
            units
                .unclear
                .extend(replicas.iter().map(|it| it.name.clone()));
        }
        if replicas.is_empty() {
            // Any of them may be the one that a rule names.
            units.unclear.insert(UnitName(String::new()));
        }
        units.places.extend(replicas.iter().map(|_| section.at()));
        units
            .replicas
            .extend(replicas.iter().map(|it| it.name.clone()));
        units.specs.extend(replicas);
        units.replicated.push((name, parent.cloned()));
        return;
    }
    let reader = section.reader;
    let unit = reader.within(Its::Listed, || {
        unit(section, name, parent, None, Its::Restarted)
    });
    units.templates.extend(template(section, unit));
}

/// What a unit and a template say alike. `after` is whose own words are while what is asked after a restart is read.
pub(super) fn unit(
    section: &Section<'_>,
    name: UnitName,
    parent: Option<&UnitName>,
    executor: Option<ExecutorSpec>,
    after: Its,
) -> UnitSpec {
    let selector = section.pairs("match").into_iter().collect();
    UnitSpec {
        parent: parent.cloned(),
        selector,
        start_deadline: section
            .read("start_deadline", Reader::some_time)
            .unwrap_or(DEFAULT_START_DEADLINE),
        ready: section.reader.within(after, || question(section, "ready")),
        check: question(section, "check"),
        watches: watch::watches(section, &name, executor.as_ref()),
        mode: section.read("mode", |r, n| r.choice(n, &MODES)),
        expected_downtime: section.read("expected_downtime", Reader::duration),
        rules: guards::rules(section),
        around: around::around(section),
        executor,
        name,
    }
}

/// What it is called. Where that is missing, which is complained of, all else is still read, for its own mistakes.
fn own_name(section: &Section<'_>, key: &'static str, what: &str) -> UnitName {
    let name = section.read(key, unit_name);
    let name = section.required(key, name, what);
    name.unwrap_or_else(|| UnitName(String::new()))
}

fn unit_name(reader: &Reader<'_>, node: &Node) -> Read<UnitName> {
    let name = UnitName(reader.filled_text(node)?);
    if !name.is_plain(MAX_NAME) {
        return Err(format!(
            "{:?} is no unit name; use up to {MAX_NAME} letters, digits and . _ - : @",
            name.as_str()
        ));
    }
    Ok(name)
}

fn question(unit: &Section<'_>, key: &'static str) -> Option<ProbeSpec> {
    let section = unit.section(key, "unit.probe")?;
    let probe = probe::probe(&section);
    section.close();
    probe
}

/// At most one of the ways in which a unit can be restarted.
fn executor(unit: &Section<'_>) -> Option<ExecutorSpec> {
    let process = unit.section("process", "unit.process").map(|section| {
        let process = process(&section);
        section.close();
        process
    });
    let http = unit.section("http", "unit.http").map(http);
    let command = unit.section("command", "unit.command").map(command);
    let docker = unit.section("docker", "unit.docker").map(docker);
    let kubernetes = unit
        .section("kubernetes", "unit.kubernetes")
        .map(kubernetes);
    let systemd = unit.section("systemd", "unit.systemd").map(systemd);
    let executors = [process, http, command, docker, kubernetes, systemd];
    let mut executors = executors.into_iter().flatten();
    let first = executors.next();
    if executors.next().is_some() {
        unit.complain_about_itself(
            "has several of `process`, `http`, `command`, `docker`, `kubernetes` and `systemd`; a \
             unit is restarted in one way",
        );
    }
    first.flatten()
}

/// A process that Rekindle starts.
pub(super) fn process(section: &Section<'_>) -> Option<ExecutorSpec> {
    let command = section.read("command", Reader::command);
    let command = section.required("command", command, "program and arguments, as a list");
    let environment = section.pairs("env").into_iter().collect();
    let directory = section.read("directory", |r, n| r.filled_text(n).map(PathBuf::from));
    let stop = stop(section).unwrap_or(DEFAULT_STOP);
    let mut ports = Vec::new();
    section.set("ports", &mut ports, Reader::ports);
    Some(ExecutorSpec::Process(ProcessSpec {
        command: command?,
        environment,
        directory,
        stop,
        ports,
    }))
}

fn http(section: Section<'_>) -> Option<ExecutorSpec> {
    let url = section.read("post", Reader::url);
    let url = section.required("post", url, "the URL of the microreboot endpoint");
    let timeout = section
        .read("timeout", Reader::some_time)
        .unwrap_or(DEFAULT_HTTP_TIMEOUT);
    section.close();
    Some(ExecutorSpec::Http(HttpSpec { url: url?, timeout }))
}

fn command(section: Section<'_>) -> Option<ExecutorSpec> {
    let run = section.read("run", Reader::command);
    let run = section.required("run", run, "program and arguments, as a list");
    let timeout = section
        .read("timeout", Reader::some_time)
        .unwrap_or(DEFAULT_COMMAND_TIMEOUT);
    section.close();
    Some(ExecutorSpec::Command(CommandSpec {
        command: run?,
        timeout,
    }))
}

fn docker(section: Section<'_>) -> Option<ExecutorSpec> {
    let container = section.read("container", Reader::filled_text);
    let container = section.required("container", container, "the container's name or id");
    let (socket, stop) = engine(&section);
    section.close();
    Some(ExecutorSpec::Docker(DockerSpec {
        container: container?,
        socket,
        stop,
    }))
}

/// How a Docker-compatible engine is reached, and how its containers are ended.
pub(super) fn engine(section: &Section<'_>) -> (PathBuf, Stop) {
    let socket = section
        .read("socket", |r, n| r.filled_text(n).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DOCKER_SOCKET));
    (socket, stop(section).unwrap_or(DEFAULT_STOP))
}

/// How lives are ended, if that is said: `stop`, or `stop_grace` alone.
pub(super) fn stop(section: &Section<'_>) -> Option<Stop> {
    let is_killed = section.read("stop", |r, n| r.choice(n, &STOPS));
    let grace = section.read("stop_grace", Reader::duration);
    match (is_killed, grace) {
        (Some(true), Some(_)) => {
            let wrong = "is of `stop: term`; what is killed has no time";
            section.complain("stop_grace", section.at(), wrong);
            None
        }
        (Some(true), None) => Some(Stop::Kill),
        (_, grace) => grace.map(Stop::Term),
    }
}

/// How pods are ended, if that is said, and can be held.
fn stop_of_pods(section: &Section<'_>, restart: Option<&KubernetesRestart>) -> Option<Stop> {
    let stop = stop(section)?;
    let wrong = match restart {
        Some(KubernetesRestart::Rollout { .. }) => {
            "is not for a `rollout`, whose pods end as their own `terminationGracePeriodSeconds` says; use `evict` or `delete`"
        }
        Some(KubernetesRestart::Recreate { .. }) | None => return Some(stop),
        _ if stop.grace().is_zero() => {
            "can't be at once for pods: Kubernetes would forget them before they have ended, and nodes give each a second \
             all the same; write `stop_grace: 1s`"
        }
        _ => return Some(stop),
    };
    let key = match section.has("stop") {
        true => "stop",
        false => "stop_grace",
    };
    section.complain(key, section.at(), wrong);
    None
}

pub(super) fn kubernetes(section: Section<'_>) -> Option<ExecutorSpec> {
    let rollout = section
        .node("rollout")
        .map(|_| section.read("rollout", workload));
    let labels = |key| {
        section.node(key).map(|_| {
            let labels: BTreeMap<String, String> = section.pairs(key).into_iter().collect();
            if labels.is_empty() {
                section.complain(
                    key,
                    section.at(),
                    "names no label, so it would be every pod",
                );
                return None;
            }
            Some(labels)
        })
    };
    let (evict, delete, recreate) = (labels("evict"), labels("delete"), labels("recreate"));
    let container = section.read("container", Reader::filled_text);
    let is_recreate = recreate.is_some();
    if is_recreate != container.is_some() {
        section.complain_about_itself(
            "needs `container`, the container's name, with `recreate`, and only there",
        );
    }
    let ways = [
        rollout
            .map(|workload| workload.map(|(kind, name)| KubernetesRestart::Rollout { kind, name })),
        evict.map(|pods| pods.map(|pods| KubernetesRestart::Evict { pods })),
        delete.map(|pods| pods.map(|pods| KubernetesRestart::Delete { pods })),
        recreate.map(|pods| {
            let (pods, container) = pods.zip(container)?;
            Some(KubernetesRestart::Recreate { pods, container })
        }),
    ];
    let mut ways = ways.into_iter().flatten();
    let restart = ways.next();
    if restart.is_none() || ways.next().is_some() {
        section.complain_about_itself(
            "needs exactly one of `rollout`, `evict`, `delete` and `recreate`",
        );
    }
    let namespace = section.read("namespace", Reader::filled_text);
    let path = |r: &Reader<'_>, n: &Node| r.filled_text(n).map(PathBuf::from);
    let kubeconfig = section.read("kubeconfig", path);
    let context = section.read("context", Reader::filled_text);
    let restart = restart.flatten();
    let stop = stop_of_pods(&section, restart.as_ref());
    section.close();
    Some(ExecutorSpec::Kubernetes(KubernetesSpec {
        restart: restart?,
        namespace,
        kubeconfig,
        context,
        stop,
    }))
}

/// `deployment/NAME` and its like.
fn workload(reader: &Reader<'_>, node: &Node) -> Read<(WorkloadKind, String)> {
    let text = reader.filled_text(node)?;
    let (kind, name) = text.split_once('/').unwrap_or_default();
    let kind = match kind {
        "deployment" => Some(WorkloadKind::Deployment),
        "statefulset" => Some(WorkloadKind::StatefulSet),
        "daemonset" => Some(WorkloadKind::DaemonSet),
        _ => None,
    };
    kind.filter(|_| !name.is_empty())
        .map(|kind| (kind, name.to_owned()))
        .ok_or_else(|| {
            format!(
                "{text:?} is no workload; write deployment/NAME, statefulset/NAME or daemonset/NAME"
            )
        })
}

/// The bus that systemd is on.
pub(super) fn bus(section: &Section<'_>) -> String {
    section
        .read("bus", Reader::filled_text)
        .unwrap_or_else(|| DEFAULT_SYSTEM_BUS.to_owned())
}

fn systemd(section: Section<'_>) -> Option<ExecutorSpec> {
    let service = section.read("service", Reader::filled_text);
    let service = section.required("service", service, "the name of systemd's unit");
    let bus = bus(&section);
    let stop = stop(&section);
    section.close();
    let mut service = service?;
    // As `systemctl` does.
    if !service.contains('.') {
        service.push_str(".service");
    }
    Some(ExecutorSpec::Systemd(SystemdSpec { service, bus, stop }))
}
