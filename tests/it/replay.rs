//! Does `rekindle replay` find in a recording what a daemon would have found live?

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::rekindle;

/// 2026-08-01T09:30:00Z.
const START_NANOS: u64 = 1_785_576_600_000_000_000;
/// Requests per second.
const RATE: u64 = 20;
/// The catalog fails every request from this second on …
const BROKEN_FROM: u64 = 60;
/// … until the recording ends.
const SECONDS: u64 = 80;

const CONFIG: &str = r#"
restart:
  mode: auto
  tree:
    - unit: shop
      units:
        - unit: catalog
          match: { service.name: catalog }
          http: { post: "http://127.0.0.1:1/restart", timeout: 1s }
          expected_downtime: 1s
        - unit: web
          match: { service.name: web }
          http: { post: "http://127.0.0.1:1/restart", timeout: 1s }
          expected_downtime: 30s
"#;

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// One request, while the catalog fails from `BROKEN_FROM` on.
fn request(number: u64) -> Value {
    let broken = number >= BROKEN_FROM * RATE;
    asked(number, broken.then_some("catalog"))
}

/// One request: `web` asks `catalog`, and one of them may raise an error, which fails `web` in any case.
fn asked(number: u64, raises: Option<&str>) -> Value {
    let nanos = START_NANOS + number * 1_000_000_000 / RATE;
    let span = |id: u64, parent: u64, kind: u64, from: u64, until: u64, of: &str| {
        let mut span = json!({
            "traceId": format!("{:032x}", number + 1),
            "spanId": format!("{:016x}", number * 4 + id),
            "name": "GET /items",
            "kind": kind,
            "startTimeUnixNano": (nanos + from * 1_000_000).to_string(),
            "endTimeUnixNano": (nanos + until * 1_000_000).to_string(),
        });
        if parent > 0 {
            span["parentSpanId"] = format!("{:016x}", number * 4 + parent).into();
        }
        // What only the web raises it raises itself, after all that it asked for.
        if raises.is_some_and(|it| it == "catalog" || id == 1) {
            span["status"] = json!({"code": 2});
        }
        if raises == Some(of) && kind == 2 {
            span["attributes"] = json!([attribute("error.type", "IndexCorrupt")]);
        }
        span
    };
    let resource = |service: &str, spans: Vec<Value>| {
        json!({
            "resource": {"attributes": [attribute("service.name", service)]},
            "scopeSpans": [{"spans": spans}],
        })
    };
    let web = vec![span(1, 0, 2, 0, 20, "web"), span(2, 1, 3, 2, 18, "web")];
    let catalog = vec![span(3, 2, 2, 4, 16, "catalog")];
    json!({"resourceSpans": [resource("web", web), resource("catalog", catalog)]})
}

fn write(folder: &Path, config: &str) -> [String; 2] {
    write_requests(folder, config, (0..SECONDS * RATE).map(request))
}

fn write_requests(
    folder: &Path,
    config: &str,
    requests: impl Iterator<Item = Value>,
) -> [String; 2] {
    let mut lines = String::new();
    for request in requests {
        // Writing to a string can't fail.
        let _ = writeln!(lines, "{request}");
    }
    let files = [("traces.jsonl", lines.as_str()), ("rekindle.yaml", config)];
    files.map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    })
}

/// What happened first of a kind.
fn first<'a>(replayed: &'a Value, what: &str) -> Option<&'a Value> {
    let mut happenings = replayed["happenings"].as_array().expect("a list").iter();
    happenings.find(|it| it["what"] == what)
}

#[test]
fn a_recording_is_judged_as_if_it_came_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let [traces, config] = write(folder.path(), CONFIG);
    let arguments = ["replay", &traces, "--config", &config, "-o", "json"];
    let outcome = rekindle(None, &arguments);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let replayed: Value = serde_json::from_str(&outcome.out).expect("JSON");
    assert_eq!(replayed["traces"], SECONDS * RATE);
    assert_eq!(replayed["spans"], SECONDS * RATE * 3);
    assert_eq!(replayed["incidents"], 1, "{replayed:#}");

    assert_eq!(replayed["still_open"], 1, "the recording ends with it");

    let opened = first(&replayed, "opened").expect("an incident");
    assert_eq!(opened["request_types"], json!(["web GET /items"]));
    // The times are the recording's, and it is noticed within seconds of it.
    let at = opened["at"].as_str().expect("a time");
    assert!(at.starts_with("2026-08-01T09:31:0"), "{at}");
    let ranked = first(&replayed, "ranked").expect("suspects");
    assert_eq!(ranked["suspects"][0]["unit"], "catalog", "{ranked:#}");
    let planned = first(&replayed, "planned").expect("a plan");
    assert_eq!(planned["choice"], "restart catalog", "{planned:#}");
    assert_eq!(planned["restarts"], json!(["catalog"]));
    assert_eq!(planned["unattended"], true, "{planned:#}");
    // The same again.
    assert_eq!(rekindle(None, &arguments).out, outcome.out);

    let people = rekindle(None, &["replay", &traces, "--config", &config]);
    for words in ["would restart catalog", "Nothing was acted on"] {
        assert!(people.out.contains(words), "{words}: {}", people.out);
    }
}

/// What was told to have been done is set apart by whoever reads the recording, as it was by the daemon.
#[test]
fn what_was_done_meanwhile_is_set_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let [traces, config] = write(folder.path(), CONFIG);
    let file = folder.path().join("interventions.json");
    let done = |service: &str| {
        let listed = json!([{
            "kind": "deployment", "target": {"service.name": service}, "reference": "rollout-7, told by ci",
            "from": "2026-08-01T09:31:00Z", "until": "2026-08-01T09:31:30Z",
        }]);
        std::fs::write(&file, listed.to_string()).expect("written");
        file.display().to_string()
    };
    for (service, incidents, fenced) in [("catalog", 0, 400), ("stock", 1, 0)] {
        let done = done(service);
        let replay = [
            "replay",
            &traces,
            "--config",
            &config,
            "-o",
            "json",
            "--interventions",
            &done,
        ];
        let outcome = rekindle(None, &replay);
        let replayed: Value = serde_json::from_str(&outcome.out).expect("JSON");
        assert_eq!(replayed["incidents"], incidents, "{service}: {replayed:#}");
        let since = "2026-08-01T09:31:00Z";
        let analyze = [
            "analyze",
            &traces,
            "--since",
            since,
            "-o",
            "json",
            "--interventions",
            &done,
        ];
        let outcome = rekindle(None, &analyze);
        let analysis: Value = serde_json::from_str(&outcome.out).expect("JSON");
        let left_out = analysis["ranking"]["left_out"]["fenced"].as_u64();
        assert_eq!(left_out.unwrap_or(0), fenced, "{service}");
        let suspects = analysis["ranking"]["suspects"].as_array().expect("a list");
        assert_eq!(suspects.is_empty(), fenced > 0, "{service}: {suspects:#?}");
    }
    std::fs::write(&file, "[{}]").expect("written");
    let path = file.display().to_string();
    let outcome = rekindle(None, &["replay", &traces, "--interventions", &path]);
    assert_eq!(outcome.code, 64, "{outcome:?}");
    assert!(
        outcome.err.contains("is no list of interventions"),
        "{outcome:?}"
    );
}

/// Nothing in telemetry shows the deployment, which was over before the fault began; guards know of it all the same.
#[test]
fn nothing_is_restarted_unattended_around_a_deployment_that_was_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let [traces, config] = write(folder.path(), CONFIG);
    let file = folder.path().join("interventions.json");
    for (service, is_refused) in [("catalog", true), ("web", false), ("stock", true)] {
        let listed = json!([{
            "kind": "deployment", "target": {"service.name": service}, "reference": "rollout-7, told by ci",
            "from": "2026-08-01T09:30:30Z", "until": "2026-08-01T09:30:50Z",
        }]);
        std::fs::write(&file, listed.to_string()).expect("written");
        let done = file.display().to_string();
        let arguments = [
            "replay",
            &traces,
            "--config",
            &config,
            "-o",
            "json",
            "--interventions",
            &done,
        ];
        let outcome = rekindle(None, &arguments);
        let replayed: Value = serde_json::from_str(&outcome.out).expect("JSON");
        let planned = first(&replayed, "planned").expect("a plan");
        assert_eq!(planned["restarts"], json!(["catalog"]));
        assert_eq!(planned["unattended"], !is_refused, "{service}: {planned:#}");
        let refusals = planned["refusals"].to_string();
        let told = "a deployment went on (rollout-7, told by ci) ";
        assert_eq!(refusals.contains(told), is_refused, "{service}: {refusals}");
    }
}

/// Where a sampler doesn't say what it threw away, no program is told how sure one may be.
#[test]
fn confidence_that_nobody_knows_is_no_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let [traces, _] = write(folder.path(), CONFIG);
    let text = std::fs::read_to_string(&traces).expect("written");
    // "Not sampled by probability", as OpenTelemetry's consistent samplers write it.
    for (state, is_known) in [("", true), ("ot=p:63", false)] {
        let text = text.replace(
            "\"kind\":2",
            &format!("\"kind\":2,\"traceState\":\"{state}\""),
        );
        std::fs::write(&traces, text).expect("written");
        let since = "2026-08-01T09:31:00Z";
        let outcome = rekindle(None, &["analyze", &traces, "--since", since, "-o", "json"]);
        let analysis: Value = serde_json::from_str(&outcome.out).expect("JSON");
        let ranking = &analysis["ranking"];
        let first = &ranking["suspects"][0];
        assert_eq!(first["components"][0]["service"], "catalog", "{ranking:#}");
        let numbers = [&first["confidence"], &ranking["none_of_these"]];
        assert!(
            numbers.iter().all(|it| it.is_number() == is_known),
            "{ranking:#}"
        );
    }
}

/// The catalog made the web fail before: what shows in the web may sit in the catalog, live and replayed.
#[test]
fn who_failed_with_whom_before_is_known_to_later_plans() {
    let folder = tempfile::tempdir().expect("a folder");
    let requests = (0..220 * RATE).map(|number| {
        let raises = match number / RATE {
            60..75 => Some("catalog"),
            200.. => Some("web"),
            _ => None,
        };
        asked(number, raises)
    });
    let [traces, config] = write_requests(folder.path(), CONFIG, requests);
    let arguments = ["replay", &traces, "--config", &config, "-o", "json"];
    let outcome = rekindle(None, &arguments);
    let replayed: Value = serde_json::from_str(&outcome.out).expect("JSON");
    let happenings = replayed["happenings"].as_array().expect("a list").iter();
    let planned: Vec<&Value> = happenings.filter(|it| it["what"] == "planned").collect();
    let (first, last) = planned.first().zip(planned.last()).expect("plans");
    assert_eq!(first["choice"], "restart catalog", "{replayed:#}");
    assert_ne!(first["incident"], last["incident"], "{replayed:#}");
    // Its restart costs a thirtieth of the web's own.
    assert_eq!(last["choice"], "restart catalog", "{replayed:#}");
    let mut happenings = replayed["happenings"].as_array().expect("a list").iter();
    let ranked = happenings.rfind(|it| it["what"] == "ranked");
    let suspects = &ranked.expect("suspects")["suspects"];
    assert_eq!(suspects[0]["unit"], "web", "{replayed:#}");
    assert_eq!(suspects[1], Value::Null, "{replayed:#}");
}

#[test]
fn guards_and_a_missing_tree_are_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let asking = CONFIG.replace("mode: auto", "mode: propose");
    let [traces, config] = write(folder.path(), &asking);
    let outcome = rekindle(
        None,
        &["replay", &traces, "--config", &config, "-o", "json"],
    );
    let replayed: Value = serde_json::from_str(&outcome.out).expect("JSON");
    let planned = first(&replayed, "planned").expect("a plan");
    assert_eq!(planned["unattended"], false, "{planned:#}");
    let refusals = planned["refusals"].as_array().expect("a list");
    assert!(!refusals.is_empty(), "{planned:#}");

    let outcome = rekindle(None, &["replay", &traces]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let said = "no units to restart, so nothing is planned";
    assert!(outcome.out.contains(said), "{}", outcome.out);
    assert!(!outcome.out.contains("would"), "{}", outcome.out);
}

#[test]
fn what_cannot_be_replayed_is_said() {
    for (arguments, code, words) in [
        (
            ["replay", "nowhere.json", "--speed", "max"],
            1,
            "nowhere.json",
        ),
        (["replay", "x.json", "--speed", "0"], 64, "max"),
    ] {
        let outcome = rekindle(None, &arguments);
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(outcome.err.contains(words), "{outcome:?}");
    }
}
