//! Does what is imported come out as it went in, in each form?

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::cli::rekindle;
use crate::fixture::{Server, view};

/// When the first span begins, in nanoseconds.
const BEGAN: u64 = 1_785_576_600_000_000_000;

/// Spans of two services, with what each form has a place for.
fn lines() -> String {
    let span = |number: u64| {
        json!({
            "traceId": format!("{:032x}", number / 3 + 1),
            "spanId": format!("{:016x}", number + 1),
            "parentSpanId": match number % 3 { 0 => String::new(), _ => format!("{number:016x}") },
            "name": format!("GET /{number}"),
            "kind": number % 5 + 1,
            // Jaeger knows microseconds, and days are hours of the store.
            "startTimeUnixNano": (BEGAN + number * 600_000_000_000).to_string(),
            "endTimeUnixNano": (BEGAN + number * 600_000_000_000 + 7_000).to_string(),
            "attributes": [
                {"key": "n", "value": {"intValue": (u64::from(u32::MAX) + number).to_string()}},
                {"key": "path", "value": {"stringValue": "/a\n\"é\""}},
            ],
            "status": {"code": number % 3},
        })
    };
    let request = |number: u64| {
        let service = format!("service-{}", number % 2);
        json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"scope": {"name": "tests", "version": "1"}, "spans": [span(number)]}],
        }]})
    };
    let lines: Vec<String> = (0..30).map(|it| request(it).to_string()).collect();
    lines.join("\n")
}

/// Imports a file into a store of its own; what is in it then, span by span.
fn imported(folder: &Path, file: &str, name: &str) -> Vec<String> {
    let store = folder.join(name).display().to_string();
    let outcome = rekindle(None, &["import", "--store", &store, file, "-o", "json"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let report: Value = serde_json::from_str(&outcome.out).expect("JSON");
    assert_eq!(report["files"], 1, "{report}");
    assert_eq!(report["of_files"][0]["file"], file, "{report}");
    let counted = ["spans", "duplicates", "unreadable", "rejected_spans"].map(|it| &report[it]);
    assert_eq!(counted, [30, 0, 0, 0], "{name}");
    let exported = rekindle(None, &["export", "--store", &store]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    let mut spans = Vec::new();
    for line in exported.out.lines() {
        let request: Value = serde_json::from_str(line).expect("JSON");
        for of_resource in request["resourceSpans"].as_array().expect("a list") {
            for of_scope in of_resource["scopeSpans"].as_array().expect("a list") {
                for span in of_scope["spans"].as_array().expect("a list") {
                    let (resource, scope) = (&of_resource["resource"], &of_scope["scope"]);
                    spans.push(format!("{resource} {scope} {span}"));
                }
            }
        }
    }
    spans.sort();
    spans
}

#[test]
fn each_form_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("lines"), lines()).expect("written");
    let expected = imported(folder.path(), &path("lines"), "first");
    assert_eq!(expected.len(), 30);
    for form in ["otlp-json", "otlp-protobuf", "jaeger", "parquet"] {
        let (store, file) = (path("first"), path(form));
        let arguments = ["export", "--store", &store, "--form", form, "--out", &file];
        let outcome = rekindle(None, &arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (0, ""), "{form}");
        let again = imported(folder.path(), &file, &format!("of-{form}"));
        assert_eq!(again, expected, "{form}");
    }
}

#[test]
fn an_export_of_nothing_says_so_and_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("lines"), lines()).expect("written");
    std::fs::write(path("kept"), "precious").expect("written");
    imported(folder.path(), &path("lines"), "store");
    let (store, file) = (path("store"), path("kept"));
    let since = "2099-01-01T00:00:00Z";
    let arguments = [
        "export", "--store", &store, "--since", since, "--out", &file,
    ];
    let outcome = rekindle(None, &arguments);
    assert_eq!((outcome.code, outcome.out.as_str()), (2, ""));
    assert!(
        outcome.err.contains("nothing was written"),
        "{}",
        outcome.err
    );
    let kept = std::fs::read_to_string(path("kept")).expect("the file");
    assert_eq!(kept, "precious");
    assert!(!folder.path().join("kept.partial").exists());
}

#[test]
fn what_is_no_trace_beside_what_is_one_is_no_success() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("good"), lines()).expect("written");
    std::fs::write(path("bad"), "no trace at all\n").expect("written");
    let (store, good, bad) = (path("store"), path("good"), path("bad"));
    let both = rekindle(None, &["import", "--store", &store, &good, &bad]);
    assert_eq!(both.code, 1, "{both:?}");
    assert!(both.out.contains("30 spans went to the store"), "{both:?}");
    let exported = rekindle(None, &["export", "--store", &store]);
    assert_eq!(exported.code, 0, "{}", exported.err);
}

#[test]
fn a_store_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("nowhere").display().to_string();
    let exported = rekindle(None, &["export", "--store", &store]);
    assert_eq!((exported.code, exported.out.as_str()), (2, ""));
    let told = format!("there is no store in {store}");
    assert!(exported.err.contains(&told), "{}", exported.err);
}

/// An incident becomes a case that the harness judges, and one that can't be judged is said and leaves nothing behind.
#[test]
fn an_incident_is_recorded_as_a_case_with_its_label() {
    let server = Server::start(view());
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let incident = &view().incidents[1];
    let began = SystemTime::from(incident.since).duration_since(SystemTime::UNIX_EPOCH);
    let began = began.expect("after 1970").as_secs();
    // A shop asks its cart once a second, which fails for ten seconds.
    let request = |second: u64| {
        let fails = (began + 1..began + 10).contains(&second);
        let span = |service: &str, id: u64, parent: u64, kind: u64| {
            json!({"resourceSpans": [{
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"spans": [{
                    "traceId": format!("{second:032x}"), "spanId": format!("{id:016x}"), "name": "GET /", "kind": kind,
                    "parentSpanId": if parent == 0 { String::new() } else { format!("{parent:016x}") },
                    "startTimeUnixNano": format!("{second}000000000"), "endTimeUnixNano": format!("{second}050000000"),
                    "status": {"code": if fails { 2 } else { 0 }},
                }]}],
            }]})
            .to_string()
        };
        [
            span("shop", 1, 0, 2),
            span("shop", 2, 1, 3),
            span("cart", 3, 2, 2),
        ]
        .join("\n")
    };
    let lines: Vec<String> = (began - 60..began + 20).map(request).collect();
    std::fs::write(path("lines"), lines.join("\n")).expect("written");
    let (store, cases) = (path("store"), path("cases"));
    assert_eq!(
        rekindle(None, &["import", "--store", &store, &path("lines")]).code,
        0
    );
    let record = |incident: &str, culprit: &str, store: &str| {
        let arguments = [
            "bench",
            "record",
            "cart-killed",
            "--incident",
            incident,
            "--culprit",
            culprit,
            "--fault",
            "kill",
            "--system",
            "shop",
            "--store",
            store,
            "--into",
            &cases,
        ];
        rekindle(Some(&server), &arguments)
    };
    for (incident, culprit, store, told) in [
        ("6", "unit=cart", &store, "service=NAME"),
        ("99", "service=cart", &store, "99"),
        (
            "6",
            "service=cart",
            &path("empty"),
            "no spans of the incident",
        ),
    ] {
        let outcome = record(incident, culprit, store);
        assert_ne!(outcome.code, 0, "{outcome:?}");
        assert!(outcome.err.contains(told), "{told}: {outcome:?}");
        let case = folder.path().join("cases/recorded/cart-killed");
        assert!(!case.exists(), "{told}");
    }
    let outcome = record("6", "service=cart", &store);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome
            .out
            .contains("61 traces from before, 11 with the fault"),
        "{outcome:?}"
    );
    for name in [
        "case.json",
        "incident.json",
        "interventions.json",
        "tree.json",
        "spans.jsonl",
    ] {
        assert!(
            folder
                .path()
                .join("cases/recorded/cart-killed")
                .join(name)
                .is_file(),
            "{name}"
        );
    }
    let again = record("6", "service=cart", &store);
    assert!(
        again.err.contains("failed creating the case's folder"),
        "{again:?}"
    );
    let bench = [
        "bench",
        "localization",
        "--data",
        &cases,
        "--by",
        "case",
        "-o",
        "json",
    ];
    let judged = rekindle(None, &bench);
    assert_eq!(judged.code, 0, "{judged:?}");
    let judged: Value = serde_json::from_str(&judged.out).expect("JSON");
    let text = judged.to_string();
    assert!(
        text.contains("cart-killed") && text.contains("recorded"),
        "{text}"
    );
}
