//! The auction site's restart tree, as a configuration of Rekindle has it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use rekindle_recovery::Mode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Deployment, Place};
use crate::auction::{ServiceName, part_of};
use crate::probes;

/// How small the smallest restart is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Components are restarted alone, and their process when that doesn't help.
    Component,
    /// Only whole processes are restarted.
    ProcessOnly,
    /// Whole processes are restarted, and what in them can be reset alone is: a process that offers no more than
    /// to empty its caches.
    ProcessAndParts,
}

/// The site ends at once when it is told to, but for sending its last spans.
const STOP_GRACE: &str = "2s";

/// How long a process may take to send its last spans before it is ended: they go to this machine, and
/// users wait meanwhile.
const PREPARE_TIMEOUT: &str = "300ms";

/// The first start makes the data.
const PROCESS_START: &str = "20s";

/// A component's start takes a fraction of a second, and seconds where it is unoptimized and the machine is busy; its
/// process gives up after 12 s.
const COMPONENT_START: &str = "15s";

/// What restarts take, in release, before Rekindle has measured them.
const PROCESS_DOWNTIME: &str = "500ms";
const COMPONENT_DOWNTIME: &str = "100ms";
const PART_DOWNTIME: &str = "10ms";

/// How long a known answer may take: longer than any caller inside the site waits.
const ANSWER_TIMEOUT: &str = "2s";

const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Propose => "propose",
        Mode::Auto => "auto",
    }
}

/// JSON is YAML, so every text is written as JSON writes it: nothing needs further quoting.
pub(super) fn to_yaml(plan: &Deployment, granularity: Granularity, mode: Mode) -> String {
    let mut yaml = String::new();
    let mut line = |indent: usize, text: String| {
        // Writing to a String can't fail.
        let _ = writeln!(yaml, "{:indent$}{text}", "");
    };
    line(0, "restart:".to_owned());
    line(2, format!("mode: {}", mode_word(mode)));
    line(2, "tree:".to_owned());
    line(4, "- unit: auction".to_owned());
    line(6, "units:".to_owned());
    for place in plan.places() {
        let Place {
            service, control, ..
        } = place;
        line(8, format!("- unit: {service}"));
        line(
            10,
            format!("match: {}", json!({ "service.name": service.as_str() })),
        );
        let container = plan.container.as_ref();
        if let Some((_, socket)) = container.filter(|(contained, _)| contained == service) {
            let docker = json!({
                "container": service.as_str(),
                "socket": socket.display().to_string(),
                "stop_grace": STOP_GRACE,
            });
            line(10, format!("docker: {docker}"));
        } else {
            line(10, "process:".to_owned());
            line(12, format!("command: {}", json!(plan.command(*service))));
            line(12, format!("stop_grace: {STOP_GRACE}"));
        }
        let prepare = json!({
            "post": format!("http://{control}/prepare"),
            "timeout": PREPARE_TIMEOUT,
        });
        line(10, format!("prepare: {prepare}"));
        line(10, format!("start_deadline: {PROCESS_START}"));
        line(10, format!("expected_downtime: {PROCESS_DOWNTIME}"));
        line(
            10,
            format!(
                "ready: {}",
                json!({ "http": format!("http://{control}/ready") })
            ),
        );
        if granularity == Granularity::ProcessOnly {
            continue;
        }
        let parts = service.components().iter().filter_map(|one| part_of(one));
        if granularity == Granularity::ProcessAndParts {
            for (place, part) in parts.enumerate() {
                if place == 0 {
                    line(10, "units:".to_owned());
                }
                part_lines(&mut line, 12, (*service, *control), part);
            }
            continue;
        }
        line(10, "units:".to_owned());
        for component in service.components() {
            let selector = json!({
                "service.name": service.as_str(),
                "code.namespace": component,
            });
            let post = format!("http://{control}/microreboot/{component}");
            let http = json!({ "post": post, "timeout": COMPONENT_START });
            let ready = json!({ "http": format!("http://{control}/ready/{component}") });
            line(12, format!("- unit: {component}"));
            line(14, format!("match: {selector}"));
            line(14, format!("http: {http}"));
            line(14, format!("ready: {ready}"));
            line(14, format!("start_deadline: {COMPONENT_START}"));
            line(14, format!("expected_downtime: {COMPONENT_DOWNTIME}"));
            if plan.with_checks
                && let Some(question) = probes::of_component(&plan.world, component)
            {
                let url = format!("http://{}{}", place.public, question.path);
                let check = json!({
                    "http": { "url": url, "contains": question.contains },
                    "timeout": ANSWER_TIMEOUT,
                });
                line(14, format!("check: {check}"));
            }
            if let Some(part) = part_of(component) {
                line(14, "units:".to_owned());
                part_lines(&mut line, 16, (*service, *control), part);
            }
        }
    }
    yaml
}

/// The unit for what of a service's component can be reset alone, at this indent.
fn part_lines(
    line: &mut impl FnMut(usize, String),
    indent: usize,
    (service, control): (ServiceName, SocketAddr),
    part: &str,
) {
    let selector = json!({ "service.name": service.as_str(), "code.namespace": part });
    let post = format!("http://{control}/microreboot/{part}");
    let http = json!({ "post": post, "timeout": COMPONENT_START });
    line(indent, format!("- unit: {part}"));
    line(indent + 2, format!("match: {selector}"));
    line(indent + 2, format!("http: {http}"));
    line(indent + 2, format!("start_deadline: {COMPONENT_START}"));
    line(indent + 2, format!("expected_downtime: {PART_DOWNTIME}"));
}

/// The key `probes`: known answers through the front.
pub(super) fn probes_yaml(plan: &Deployment, every: Duration) -> String {
    let mut yaml = String::from("probes:\n");
    for question in probes::through_front(&plan.world) {
        let probe = json!({
            "name": question.name,
            "every": format!("{}ms", every.as_millis()),
            "timeout": ANSWER_TIMEOUT,
            "http": {
                "url": format!("http://{}{}", plan.web(), question.path),
                "contains": question.contains,
            },
        });
        // Writing to a String can't fail.
        let _ = writeln!(yaml, "  - {probe}");
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Ports;

    #[test]
    fn the_tree_reads_as_yaml_with_a_unit_per_component() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = Deployment::plan(
            folder.path(),
            "http://[::1]:4317",
            None,
            1,
            Ports::From(20_000),
        )
        .expect("a plan")
        .with_program("/bin/a \"site\"".into(), vec!["auction".to_owned()]);
        let yaml = plan.to_yaml(Granularity::Component, Mode::Auto);
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).expect("YAML");
        assert_eq!(read["restart"]["mode"], "auto");
        let services = &read["restart"]["tree"][0]["units"];
        assert_eq!(services.as_array().map(Vec::len), Some(5));
        let catalog = &services[1];
        assert_eq!(catalog["match"]["service.name"], "catalog");
        assert_eq!(catalog["process"]["command"][0], "/bin/a \"site\"");
        assert_eq!(catalog["ready"]["http"], "http://127.0.0.1:20003/ready");
        assert_eq!(catalog["prepare"]["post"], "http://127.0.0.1:20003/prepare");
        let search = &catalog["units"][1];
        assert_eq!(search["match"]["code.namespace"], "catalog.search");
        assert_eq!(
            search["http"]["post"],
            "http://127.0.0.1:20003/microreboot/catalog.search"
        );
        assert!(search["check"].is_null(), "only when asked for");
        assert!(search["units"].is_null());
        let cache = &catalog["units"][2]["units"][0];
        assert_eq!(cache["unit"], "catalog.categories.cache");
        assert_eq!(cache["match"]["code.namespace"], "catalog.categories.cache");
        let plan = plan.with_checks();
        let yaml = plan.to_yaml(Granularity::Component, Mode::Auto)
            + &plan.probes_yaml(Duration::from_secs(1));
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).expect("YAML");
        let items = &read["restart"]["tree"][0]["units"][1]["units"][0];
        let title = plan.world().title(plan.world().reserved_item());
        assert_eq!(items["check"]["http"]["contains"], title);
        assert_eq!(read["probes"][0]["every"], "1000ms");
        assert_eq!(read["probes"].as_array().map(Vec::len), Some(7));
        let contained = plan.clone().with_container(
            crate::auction::ServiceName::Catalog,
            "/run/engine.sock".into(),
        );
        let yaml = contained.to_yaml(Granularity::Component, Mode::Auto);
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).expect("YAML");
        let services = &read["restart"]["tree"][0]["units"];
        assert_eq!(services[1]["docker"]["container"], "catalog");
        assert!(services[1]["process"].is_null() && services[2]["docker"].is_null());
        let yaml = plan.to_yaml(Granularity::ProcessAndParts, Mode::Auto);
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).expect("YAML");
        let services = &read["restart"]["tree"][0]["units"];
        let parts = services[1]["units"].as_array().expect("a list");
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0]["unit"], "catalog.categories.cache");
        assert!(services[0]["units"].is_null());
        let yaml = plan.to_yaml(Granularity::ProcessOnly, Mode::Propose);
        assert!(!yaml.contains("microreboot") && yaml.contains("mode: propose"));
    }
}
