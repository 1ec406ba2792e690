//! Questions with known answers: of a unit after its start, of a unit at any time, and from the
//! users' end.

use std::time::Duration;

use rekindle_recovery::ProbeSpec;

use super::document::{Node, Value};
use super::reader::{Read, Reader, Section};
use super::settings::ProbeSettings;

/// How long an answer may take when nobody says so: longer than a busy system's pauses, shorter
/// than a person waits.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a question is asked when nobody says so.
const DEFAULT_EVERY: Duration = Duration::from_secs(5);

/// The question that a section asks: exactly one of `http`, `tcp`, `grpc` and `command`.
pub(super) fn probe(section: &Section<'_>) -> Option<ProbeSpec> {
    let timeout = section
        .read("timeout", Reader::some_time)
        .unwrap_or(DEFAULT_TIMEOUT);
    let http = section
        .node("http")
        .map(|node| http(section, node, timeout));
    let tcp = section
        .node("tcp")
        .map(|_| section.read("tcp", Reader::host_and_port))
        .map(|address| {
            Some(ProbeSpec::Tcp {
                address: address?,
                timeout,
            })
        });
    let grpc = section
        .node("grpc")
        .map(|node| grpc(section, node, timeout));
    let command = section
        .node("command")
        .map(|_| section.read("command", Reader::command))
        .map(|command| {
            Some(ProbeSpec::Command {
                command: command?,
                timeout,
            })
        });
    let mut asked = [http, tcp, grpc, command].into_iter().flatten();
    let first = asked.next();
    if first.is_none() || asked.next().is_some() {
        section.complain_about_itself("needs exactly one of `http`, `tcp`, `grpc` and `command`");
        return None;
    }
    first.flatten()
}

/// `http: URL`, or `http: {url: …, status: …, contains: …}`.
fn http(parent: &Section<'_>, node: &Node, timeout: Duration) -> Option<ProbeSpec> {
    if matches!(node.value, Value::Text(_)) {
        let url = parent.read("http", Reader::url)?;
        return Some(ProbeSpec::Http {
            url,
            timeout,
            status: None,
            contains: None,
        });
    }
    let section = parent.section("http", "probe.http")?;
    let url = section.read("url", Reader::url);
    let url = section.required("url", url, "what to get");
    let mut status = None;
    section.set("status", &mut status, |r, n| status_code(r, n).map(Some));
    let contains = section.read("contains", Reader::filled_text);
    section.close();
    Some(ProbeSpec::Http {
        url: url?,
        timeout,
        status,
        contains,
    })
}

/// `grpc: HOST:PORT`, or `grpc: {address: …, service: …}`.
fn grpc(parent: &Section<'_>, node: &Node, timeout: Duration) -> Option<ProbeSpec> {
    if matches!(node.value, Value::Text(_)) {
        let address = parent.read("grpc", Reader::host_and_port)?;
        return Some(ProbeSpec::Grpc {
            address,
            service: String::new(),
            timeout,
        });
    }
    let section = parent.section("grpc", "probe.grpc")?;
    let address = section.read("address", Reader::host_and_port);
    let address = section.required("address", address, "the server's HOST:PORT");
    let service = section.read("service", Reader::filled_text);
    section.close();
    Some(ProbeSpec::Grpc {
        address: address?,
        service: service.unwrap_or_default(),
        timeout,
    })
}

fn status_code(reader: &Reader<'_>, node: &Node) -> Read<u16> {
    let code = reader.integer(node, 100..=599)?;
    u16::try_from(code).map_err(|_| format!("`{code}` is no status"))
}

/// The list of questions that are asked from the users' end.
pub(super) fn probes(top: &Section<'_>, key: &'static str) -> Vec<ProbeSettings> {
    let mut probes: Vec<ProbeSettings> = Vec::new();
    for (path, node) in top.items(key) {
        let Some(section) = Section::open(top.reader, &path, "probe", node) else {
            continue;
        };
        let name = section.read("name", Reader::filled_text);
        let name = section.required("name", name, "the name under which it is reported");
        let every = section
            .read("every", Reader::some_time)
            .unwrap_or(DEFAULT_EVERY);
        let probe = probe(&section);
        if let Some(name) = &name
            && probes.iter().any(|other| other.name == *name)
        {
            section.complain(
                "name",
                section.at(),
                &format!("two probes are called {name:?}"),
            );
        }
        section.close();
        if let (Some(name), Some(probe)) = (name, probe) {
            probes.push(ProbeSettings { name, probe, every });
        }
    }
    probes
}
