//! Who is accused of a dead process's calls, whatever conventions its callers' agents follow?
//!
//! All services are on one machine, as on a developer's: only ports tell them apart, where anything does.

use serde_json::{Value, json};

use super::cli::rekindle;

/// What an agent says of a call of this path, of the service that listens on this port.
type Agent = fn(path: &str, port: u16) -> (String, Vec<Value>);

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn whole(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn of(service: &str, span: Value) -> Value {
    let instance = format!("{service}-1");
    let resource = [
        text("service.name", service),
        text("service.instance.id", &instance),
    ];
    json!({"resource": {"attributes": resource}, "scopeSpans": [{"spans": [span]}]})
}

/// One request in ten a second: a shop asks its cart or its stock. From the three-hundredth on, the stock is dead.
fn request(number: u64, agent: Agent) -> Value {
    let (service, port) = if number.is_multiple_of(2) {
        ("cart", 5001)
    } else {
        ("stock", 5002)
    };
    let is_dead = service == "stock" && number >= 300;
    let path = format!("/{service}/{number}");
    let (called, mut says) = agent(&path, port);
    if is_dead {
        says.push(text("error.type", "ConnectionRefusedError"));
    } else {
        says.push(whole("http.response.status_code", 200));
    }
    let start = 1_700_000_000_000_000_000 + number * 100_000_000;
    let span = |id: u64, parent: u64, kind: u64, name: &str, attributes: Vec<Value>| {
        let parent = if parent == 0 {
            String::new()
        } else {
            format!("{:016x}", number * 8 + parent)
        };
        let inside = id * 1_000_000;
        json!({
            "traceId": format!("{:032x}", number + 1), "spanId": format!("{:016x}", number * 8 + id),
            "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": (start + inside).to_string(),
            "endTimeUnixNano": (start + 20_000_000 - inside).to_string(),
            "attributes": attributes, "status": {"code": if is_dead { 2 } else { 0 }},
        })
    };
    let status = if is_dead { 502 } else { 200 };
    let entry = vec![
        text("http.route", &format!("/{service}")),
        whole("http.response.status_code", status),
    ];
    let mut spans = vec![
        of("shop", span(1, 0, 2, &format!("GET /{service}"), entry)),
        of("shop", span(2, 1, 3, &called, says)),
    ];
    if !is_dead {
        let answer = vec![whole("http.response.status_code", 200)];
        spans.push(of(service, span(3, 2, 2, "GET", answer)));
    }
    json!({"resourceSpans": spans})
}

/// The first suspect, and how sure it is.
fn accused(agent: Agent) -> (String, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("traces.jsonl");
    let lines: Vec<String> = (0..400)
        .map(|number| request(number, agent).to_string())
        .collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    let file = file.to_str().expect("UTF-8");
    let since = ["--since", "2023-11-14T22:13:50Z", "-o", "json"];
    let said = rekindle(None, &[&["analyze", file], &since[..]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let answer: Value = serde_json::from_str(&said.out).expect("JSON");
    let first = &answer["ranking"]["suspects"][0];
    let component = &first["components"][0];
    let level = component["level"].as_str().expect("a level");
    let name = component["name"].as_str().expect("a name");
    (
        format!("{level} {name}"),
        first["confidence"].as_f64().expect("a number"),
    )
}

#[test]
fn the_dead_process_is_accused_and_not_its_neighbour() {
    let agents: [(&str, Agent, &str); 6] = [
        (
            "of today",
            |path, port| {
                let url = format!("http://127.0.0.1:{port}{path}");
                let port = whole("server.port", port.into());
                (
                    "GET".into(),
                    vec![
                        text("server.address", "127.0.0.1"),
                        port,
                        text("url.full", &url),
                    ],
                )
            },
            "service stock",
        ),
        (
            "of today, without a port",
            |path, port| {
                let url = format!("http://127.0.0.1:{port}{path}");
                (
                    "GET".into(),
                    vec![text("server.address", "127.0.0.1"), text("url.full", &url)],
                )
            },
            "service stock",
        ),
        (
            "of old, with a URL alone",
            |path, port| {
                (
                    "HTTP GET".into(),
                    vec![
                        text("http.method", "GET"),
                        text("http.url", &format!("http://localhost:{port}{path}")),
                    ],
                )
            },
            "service stock",
        ),
        (
            "of old, with host and target",
            |path, port| {
                let host = text("http.host", &format!("localhost:{port}"));
                ("GET".into(), vec![host, text("http.target", path)])
            },
            "service stock",
        ),
        // The call's name is all that says whom it was for.
        (
            "without any port, but with routes",
            |path, _| {
                let route = path.rsplit_once('/').map_or(path, |(route, _)| route);
                (
                    format!("GET {route}"),
                    vec![text("net.peer.name", "127.0.0.1")],
                )
            },
            "service stock",
        ),
        // Nothing says whom it was for: nobody is accused by name.
        (
            "without any port",
            |_, _| ("GET".into(), vec![text("net.peer.name", "127.0.0.1")]),
            "dependency 127.0.0.1",
        ),
    ];
    for (name, agent, wanted) in agents {
        let (first, confidence) = accused(agent);
        assert_eq!(first, wanted, "{name}");
        assert!(confidence > 0.5, "{name}: {confidence}");
    }
}
