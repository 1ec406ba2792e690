//! The API over real sockets: every path, every kind of problem, and who may give orders.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rekindle::api::{ApiCommand, OutcomeWord, ReportedOutcome};
use serde_json::{Value, json};

use crate::fixture::{FAILED_TRACE, OK_TRACE, Server, components, quiet_view, view};

/// An answer, taken apart.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn has(&self, header: &str) -> bool {
        self.head.to_lowercase().contains(&header.to_lowercase())
    }
}

/// Sends exactly this; `HOST` stands for the server's address.
fn raw(server: &Server, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let request = request
        .replace("HOST", &server.address.to_string())
        .replace('\n', "\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head[9..12].parse().expect("a status");
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

fn get(server: &Server, path: &str) -> Answer {
    raw(
        server,
        &format!("GET {path} HTTP/1.1\nHost: HOST\nConnection: close\n\n"),
    )
}

fn post(server: &Server, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    raw(
        server,
        &format!(
            "POST {path} HTTP/1.1\nHost: HOST\nConnection: close\n{headers}Content-Length: {length}\n\n{body}"
        ),
    )
}

const JSON: &str = "Content-Type: application/json\n";

#[test]
fn what_is_said_about_units_is_checked() {
    let server = Server::start(view());
    for (path, body, status, detail) in [
        (
            "heartbeats",
            json!({"unit": "catalog.search", "generation": 3, "status": "well"}),
            409,
            "generation 3 of catalog.search is over; it is in generation 4",
        ),
        (
            "reports",
            json!({"reporter": "pager", "unit": "catalog.search", "generation": 3, "verdict": "sick"}),
            409,
            "generation 3 of catalog.search is over; it is in generation 4",
        ),
        (
            "heartbeats",
            json!({"unit": "catalog.serch", "status": "well"}),
            404,
            "there is no restart unit \"catalog.serch\"; did you mean \"catalog.search\"?",
        ),
        (
            "heartbeats",
            json!({"unit": "catalog", "status": "well", "next_within_ms": 0}),
            400,
            "next_within_ms is 0; it must be between 1 and 86400000",
        ),
        (
            "reports",
            json!({"reporter": " ", "unit": "catalog", "verdict": "sick"}),
            400,
            "reporter is empty: say whose word it is",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": " ", "kind": "scaling", "unit": "catalog"}),
            400,
            "id is empty: say by what you know it, so that it can be told again when it is over",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": "7", "kind": "scaling"}),
            400,
            "say to what it was done: a unit, or a target such as {\"service.name\": \"catalog\"}",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": "7", "kind": "scaling", "unit": "catalog", "target": {"a": "b"}}),
            400,
            "say unit or target, not both",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": "7", "kind": "scaling", "target": {"service.name": ""}}),
            400,
            "target has at most 8 attributes, of one line each, none of them empty",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": "7", "kind": "scaling", "unit": "catalgo"}),
            404,
            "there is no restart unit \"catalgo\"; did you mean \"catalog\"?",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": "7, told by me", "kind": "scaling", "unit": "catalog"}),
            400,
            "id has \", told by \" in it, which stands between an id and who told of it: leave that out",
        ),
        (
            "interventions",
            json!({"reporter": "ci", "id": "7", "kind": "blind", "unit": "catalog"}),
            400,
            "the body can't be read: unknown variant `blind`, expected one of `deployment`, `scaling`, `restart` at \
             line 1 column 24",
        ),
    ] {
        let answer = post(&server, &format!("/api/v1/{path}"), JSON, &body.to_string());
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert_eq!(answer.json()["detail"], detail);
    }
}

#[test]
fn only_who_has_a_token_is_heard_where_there_are_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("speakers");
    let lines = "pager 0123456789abcdef0\ncatalog fedcba98765432100 catalog\n";
    std::fs::write(&file, lines).expect("written");
    let speakers = rekindle::api::Speakers::open(Some(&file)).expect("read");
    let unheard = std::sync::Arc::clone(speakers.unheard());
    let server = Server::start_for("127.0.0.1:0", view(), speakers);
    let pager = "Authorization: Bearer 0123456789abcdef0\n";
    let catalog = "Authorization: Bearer fedcba98765432100\n";
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (path, token, body, status) in [
        (
            "heartbeats",
            "",
            json!({"unit": "catalog", "status": "well"}),
            401,
        ),
        (
            "heartbeats",
            "Authorization: Bearer guessed\n",
            json!({"unit": "catalog", "status": "well"}),
            401,
        ),
        (
            "heartbeats",
            catalog,
            json!({"unit": "catalog", "status": "well"}),
            200,
        ),
        (
            "heartbeats",
            catalog,
            json!({"unit": "sessions", "status": "well"}),
            403,
        ),
        (
            "heartbeats",
            pager,
            json!({"unit": "catalog.search", "generation": 3, "status": "well"}),
            409,
        ),
        (
            "reports",
            pager,
            json!({"unit": "catalog.search", "generation": 5, "verdict": "sick"}),
            409,
        ),
        (
            "reports",
            "",
            json!({"reporter": "pager", "unit": "catalog", "verdict": "sick"}),
            401,
        ),
        (
            "reports",
            pager,
            json!({"unit": "catalog", "verdict": "sick"}),
            200,
        ),
        (
            "reports",
            pager,
            json!({"reporter": "another", "unit": "catalog", "verdict": "sick"}),
            403,
        ),
        (
            "outcomes",
            "",
            json!({"reporter": "x", "outcomes": []}),
            401,
        ),
        (
            "interventions",
            "",
            json!({"id": "7", "kind": "deployment", "unit": "catalog"}),
            401,
        ),
        (
            "interventions",
            catalog,
            json!({"id": "7", "kind": "deployment", "unit": "catalog"}),
            200,
        ),
        (
            "interventions",
            catalog,
            json!({"id": "7", "kind": "deployment", "unit": "sessions"}),
            403,
        ),
        // What isn't for everything mustn't hide everything.
        (
            "interventions",
            catalog,
            json!({"id": "7", "kind": "deployment", "target": {"service.name": "catalog"}}),
            403,
        ),
        (
            "outcomes",
            pager,
            json!({"outcomes": [{"trace_id": trace, "outcome": "failed"}]}),
            200,
        ),
    ] {
        let headers = format!("{JSON}{token}");
        let answer = post(
            &server,
            &format!("/api/v1/{path}"),
            &headers,
            &body.to_string(),
        );
        assert_eq!(
            answer.status, status,
            "{path} {token}{body}: {}",
            answer.body
        );
    }
    let counts = unheard.counts();
    assert_eq!(
        counts,
        [
            ("said_without_token", 8),
            ("said_of_old_generation", 1),
            ("said_of_unbegun_generation", 1)
        ]
    );
    // Reading and ordering are as open as ever.
    assert_eq!(get(&server, "/api/v1/status").status, 200);
    assert_eq!(post(&server, "/api/v1/resume", JSON, "{}").status, 200);
}

#[test]
fn what_was_saved_before_a_restart_is_shown() {
    let server = Server::start(view());
    let kept = get(&server, "/api/v1/post-mortems").json();
    assert_eq!(kept[0]["action"], 12);
    assert_eq!(
        get(&server, "/api/v1/post-mortems?incident=999").json(),
        json!([])
    );
    let found = get(&server, "/api/v1/post-mortems/12");
    assert_eq!(
        found.json()["command"]["output"],
        "<b>blocked</b> in search"
    );
    let page = get(&server, "/post-mortems/12");
    assert_eq!(page.status, 200);
    for part in [
        "&lt;b&gt;blocked&lt;/b&gt; in search",
        "futex_wait",
        "out of handles",
        "not to be seen",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let missing = get(&server, "/api/v1/post-mortems/13");
    assert_eq!(missing.status, 404);
    assert_eq!(get(&server, "/post-mortems/x").status, 400);
}

#[test]
fn callers_learn_whether_to_wait_for_a_unit() {
    let server = Server::start(view());
    let answer = get(&server, "/api/v1/units/catalog.search/availability");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["available"], true);
    assert!(!answer.has("retry-after"));
    let answer = get(&server, "/api/v1/units/sessions/availability");
    assert_eq!(answer.status, 503);
    assert!(answer.has("retry-after: 1\r\n"), "{}", answer.head);
    assert!(answer.has("rekindle-retry-after-ms: 40"), "{}", answer.head);
    let expected = json!({
        "unit": "sessions", "available": false, "away": "sessions", "state": "down",
        "retry_after_ms": 40,
    });
    assert_eq!(answer.json(), expected);
    let answer = get(&server, "/api/v1/units/nobody/availability");
    assert_eq!(answer.status, 404);
}

#[test]
fn every_part_of_the_view_has_its_path() {
    let server = Server::start(view());
    let expected = view();
    let as_json = |value: &dyn erased::Json| value.json();
    for (path, value) in [
        ("/api/v1/view", as_json(&expected)),
        ("/api/v1/status", as_json(&expected.status)),
        ("/api/v1/request-types", as_json(&expected.request_types)),
        ("/api/v1/components", as_json(&components())),
        ("/api/v1/incidents", as_json(&expected.incidents)),
        ("/api/v1/incidents/6", as_json(&expected.incidents[1])),
        ("/api/v1/suspects", as_json(&expected.incidents[0].ranking)),
        (
            "/api/v1/suspects?incident=7",
            as_json(&expected.incidents[0].ranking),
        ),
        ("/api/v1/tree", as_json(&expected.tree)),
        ("/api/v1/units/catalog.search", as_json(&expected.tree[3])),
        ("/api/v1/plans", as_json(&expected.recovery.plans)),
        ("/api/v1/plans/3", as_json(&expected.recovery.plans[0])),
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.has("content-type: application/json"), "{path}");
        assert!(answer.has("cache-control: no-store"), "{path}");
        assert_eq!(answer.json(), value, "{path}");
    }
}

mod erased {
    use serde::Serialize;
    use serde_json::Value;

    pub(super) trait Json {
        fn json(&self) -> Value;
    }

    impl<T: Serialize> Json for T {
        fn json(&self) -> Value {
            serde_json::to_value(self).expect("it can be written")
        }
    }
}

#[test]
fn a_view_survives_the_wire() {
    let server = Server::start(view());
    let back: rekindle::view::View =
        serde_json::from_str(&get(&server, "/api/v1/view").body).expect("a view");
    assert_eq!(back, view());
}

#[test]
fn times_are_rfc_3339() {
    let server = Server::start(view());
    let status = get(&server, "/api/v1/view").json();
    assert_eq!(status["now"], "2026-08-01T09:30:00.250Z");
    assert_eq!(status["incidents"][1]["closed"], "2026-08-01T09:25:45.250Z");
}

#[test]
fn traces_history_and_explanations() {
    let server = Server::start(view());
    let trace = get(&server, &format!("/api/v1/traces/{FAILED_TRACE}")).json();
    assert_eq!(trace["outcome"], "failed");
    assert_eq!(trace["compare"], OK_TRACE);
    let history = get(&server, "/api/v1/history?limit=1").json();
    assert_eq!(history["actions"].as_array().map(Vec::len), Some(1));
    assert_eq!(history["actions"][0]["verdict"], "cured");
    for what in ["1", "catalog.search"] {
        let explained = get(&server, &format!("/api/v1/explain/{what}")).json();
        assert_eq!(explained["suspect"]["rank"], 1, "{what}");
        assert_eq!(explained["unit"]["name"], "catalog.search", "{what}");
        assert_eq!(explained["incident"]["id"], 7, "{what}");
    }
    let no_suspect = get(&server, "/api/v1/explain/web").json();
    assert_eq!(no_suspect["unit"]["name"], "web");
    assert_eq!(no_suspect["suspect"], Value::Null);
    // A suspect that belongs to no unit is explained without asking the engine.
    let no_unit = get(&server, "/api/v1/explain/3").json();
    assert_eq!(no_unit["unit"], Value::Null);
    assert_eq!(no_unit["suspect"]["rank"], 3);
}

#[test]
fn the_list_of_endpoints_is_true() {
    let server = Server::start(view());
    let listed = get(&server, "/api/v1").json();
    let listed = listed.as_object().expect("a list");
    assert!(listed.len() > 20);
    for endpoint in listed.keys() {
        let (method, path) = endpoint.split_once(' ').expect("method and path");
        if method == "GET" && !path.contains('{') {
            assert_eq!(get(&server, path).status, 200, "{endpoint}");
        }
    }
}

#[test]
fn health() {
    let server = Server::start(view());
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(get(&server, path).json()["status"], "ok", "{path}");
    }
}

/// A list of this many outcome reports.
fn reports(count: usize) -> String {
    let report = format!("{{\"trace_id\":\"{OK_TRACE}\",\"outcome\":\"ok\"}}");
    let list = vec![report; count].join(",");
    format!("{{\"reporter\":\"a\",\"outcomes\":[{list}]}}")
}

#[test]
fn the_longest_list_of_reports_is_one_order() {
    let server = Server::start(view());
    let answer = post(&server, "/api/v1/outcomes", JSON, &reports(2000));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = server.fixture.told();
    assert!(
        matches!(&told[..], [ApiCommand::Outcomes(reports)] if reports.len() == 2000),
        "they are given as one"
    );
}

#[test]
fn problems_say_what_is_wrong() {
    let server = Server::start(quiet_view());
    let long = "x".repeat(300_000);
    let huge = format!("{{\"reason\":\"{long}\"}}");
    let cases = [
        (
            get(&server, "/api/v1/nonsense"),
            404,
            "not-found",
            "no path /api/v1/nonsense",
        ),
        (
            get(&server, "/nonsense"),
            404,
            "not-found",
            "no path /nonsense",
        ),
        (
            get(&server, "/api/v1/incidents/99"),
            404,
            "not-found",
            "there is no incident 99",
        ),
        (
            get(&server, "/api/v1/incidents/x"),
            400,
            "invalid",
            "\"x\" is no incident: expected its number",
        ),
        (
            get(&server, "/api/v1/suspects"),
            404,
            "not-found",
            "incident 6 is over, and no ranking of it was kept: `rekindle analyze` ranks the stored spans of that time anew",
        ),
        (
            get(&server, "/api/v1/suspects?incidnet=1"),
            400,
            "invalid",
            "Failed to deserialize query string: incidnet: unknown field `incidnet`, expected `incident`",
        ),
        (
            get(&server, "/api/v1/units/catalog.serach"),
            404,
            "not-found",
            "there is no restart unit \"catalog.serach\"; did you mean \"catalog.search\"?",
        ),
        (
            get(&server, "/api/v1/history?limit=0"),
            400,
            "invalid",
            "limit is 0; it must be between 1 and 1000",
        ),
        (
            get(&server, "/api/v1/traces/1234"),
            400,
            "invalid",
            "\"1234\" is no trace id: expected 32 hexadecimal digits, not all zero",
        ),
        (
            get(&server, "/api/v1/traces/11111111111111111111111111111111"),
            404,
            "not-found",
            "trace 11111111111111111111111111111111 is not kept: only examples of incidents and \
             recent failures are, and what a span store (`store.url`) holds",
        ),
        (
            get(&server, "/api/v1/explain/nobody"),
            404,
            "not-found",
            "nothing named \"nobody\": neither a suspect (by rank or name) nor a restart unit",
        ),
        (
            get(&server, "/api/v1/pause"),
            405,
            "method-not-allowed",
            "GET is not for /api/v1/pause",
        ),
        (
            post(&server, "/api/v1/plans/9/approve", JSON, ""),
            404,
            "not-found",
            "no plan 9 is waiting",
        ),
        (
            post(&server, "/api/v1/plans/3/reject", JSON, "{}"),
            400,
            "invalid",
            "the body can't be read: missing field `reason` at line 1 column 2",
        ),
        (
            post(
                &server,
                "/api/v1/plans/3/reject",
                JSON,
                "{\"reason\":\" \\n\"}",
            ),
            400,
            "invalid",
            "reason is empty: whoever reads the ledger later will ask",
        ),
        (
            post(&server, "/api/v1/units/web/restart", JSON, "{}"),
            409,
            "refused",
            "web was restarted 2s ago; the next may be in 8s",
        ),
        (
            post(&server, "/api/v1/units/wbe/restart", JSON, "{}"),
            404,
            "not-found",
            "there is no restart unit \"wbe\"; did you mean \"web\"?",
        ),
        (
            post(
                &server,
                "/api/v1/pause",
                JSON,
                "{\"reason\":\"x\",\"for_seconds\":-1}",
            ),
            400,
            "invalid",
            "the pause would last -1 s; it must be more than 0 s and at most 30 days",
        ),
        (
            post(
                &server,
                "/api/v1/pause",
                JSON,
                "{\"reason\":\"x\",\"for\":\"30\"}",
            ),
            400,
            "invalid",
            "for is wrong: \"30\" is no duration; write a number with a unit, as in 200ms, 5s, 10m, 2h \
             or 7d",
        ),
        (
            post(
                &server,
                "/api/v1/pause",
                JSON,
                "{\"reason\":\"x\",\"for\":\"30m\",\"for_seconds\":5}",
            ),
            400,
            "invalid",
            "say for or for_seconds, not both",
        ),
        (
            post(&server, "/api/v1/units/wbe/forget", JSON, "{}"),
            404,
            "not-found",
            "there is no restart unit \"wbe\"; did you mean \"web\"?",
        ),
        (
            post(&server, "/api/v1/pause", JSON, "{\"reason\":\"x\",}"),
            400,
            "invalid",
            "the body is no JSON: look at line 1, column 15",
        ),
        (
            post(&server, "/api/v1/pause", JSON, "{\"reason\":"),
            400,
            "invalid",
            "the body is no JSON: it ends before it is complete",
        ),
        (
            post(
                &server,
                "/api/v1/pause",
                JSON,
                "{\"reason\":\"x\",\"fro\":1}",
            ),
            400,
            "invalid",
            "the body can't be read: unknown field `fro`, expected one of `reason`, \
             `for_seconds`, `for`, `by` at line 1 column 19",
        ),
        (
            post(
                &server,
                "/api/v1/outcomes",
                JSON,
                "{\"reporter\":\"a\",\"outcomes\":[{\"trace_id\":\"0\",\"outcome\":\"ok\"}]}",
            ),
            400,
            "invalid",
            "\"0\" is no trace id: expected 32 hexadecimal digits, not all zero",
        ),
        (
            post(
                &server,
                "/api/v1/reports",
                JSON,
                "{\"reporter\":\"a\",\"verdict\":\"sick\"}",
            ),
            400,
            "invalid",
            "a report is about a unit or a trace_id: say one of both",
        ),
        (
            post(&server, "/api/v1/pause", "Content-Type: text/plain\n", "{}"),
            415,
            "unsupported-media-type",
            "the content type is \"text/plain\"; send application/json",
        ),
        (
            post(&server, "/api/v1/pause", JSON, &huge),
            413,
            "too-large",
            "the body is longer than 256 KiB; send less at a time",
        ),
        (
            post(&server, "/api/v1/outcomes", JSON, &reports(2001)),
            413,
            "too-large",
            "2001 reports are too many for one request; send at most 2000 at a time",
        ),
        (
            get(&server, "/api/v1/units/%ff"),
            400,
            "invalid",
            "Invalid URL: Invalid UTF-8 in `unit`",
        ),
    ];
    for (answer, status, kind, detail) in cases {
        assert_eq!(answer.status, status, "{detail}: {}", answer.body);
        assert!(
            answer.has("content-type: application/problem+json"),
            "{detail}"
        );
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("urn:rekindle:problem:{kind}"),
            "{detail}"
        );
        assert_eq!(problem["status"], status, "{detail}");
        assert_eq!(problem["detail"], detail);
        assert!(problem["title"].is_string(), "{detail}");
    }
    let told = server.fixture.told();
    assert!(
        !told
            .iter()
            .any(|command| matches!(command, ApiCommand::Pause { .. })),
        "{told:?}"
    );
}

#[test]
fn orders_reach_the_backend_as_they_were_meant() {
    let server = Server::start(view());
    let report = format!(
        "{{\"reporter\":\"probe\",\"outcomes\":[{{\"trace_id\":\"{OK_TRACE}\",\"outcome\":\"failed\",\"detail\":\"wrong price\"}}]}}"
    );
    let of_request =
        format!("{{\"reporter\":\"pager\",\"trace_id\":\"{OK_TRACE}\",\"verdict\":\"sick\"}}");
    for (path, body, message) in [
        ("/plans/3/approve", "", "plan 3 is under way"),
        (
            "/plans/3/approve",
            "{\"by\":\"ada\"}",
            "plan 3 is under way",
        ),
        (
            "/plans/3/reject",
            "{\"reason\":\"not\\u001bnow\"}",
            "plan 3 was dropped: not now",
        ),
        (
            "/units/catalog/restart",
            "{\"reason\":\"hunch\"}",
            "catalog is restarting",
        ),
        (
            "/pause",
            "{\"reason\":\"deploying\",\"for_seconds\":90.5}",
            "paused for 90 s",
        ),
        (
            "/pause",
            "{\"reason\":\"deploying\",\"for\":\"1m30s\"}",
            "paused for 90 s",
        ),
        ("/resume", "{}", "resumed"),
        ("/units/catalog/forget", "", "catalog is forgotten"),
        ("/outcomes", &report, "1 reports"),
        (
            "/heartbeats",
            "{\"unit\":\"catalog.search\",\"generation\":4,\"status\":\"well\",\"next_within_ms\":2000}",
            "heard about catalog.search",
        ),
        (
            "/reports",
            "{\"reporter\":\"pager\",\"unit\":\"catalog\",\"verdict\":\"sick\",\"detail\":\"too\\nslow\"}",
            "heard about catalog",
        ),
        ("/reports", &of_request, "1 reports"),
    ] {
        let answer = post(&server, &format!("/api/v1{path}"), JSON, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let answer = answer.json();
        assert_eq!(answer["reply"], "done", "{path}");
        assert_eq!(answer["message"], message, "{path}");
    }
    let by = |name: &str| name.to_owned();
    assert_eq!(
        server.fixture.told(),
        [
            ApiCommand::Approve {
                plan: 3,
                by: by("api")
            },
            ApiCommand::Approve {
                plan: 3,
                by: by("ada")
            },
            ApiCommand::Reject {
                plan: 3,
                by: by("api"),
                reason: by("not now")
            },
            ApiCommand::Restart {
                unit: by("catalog"),
                dry_run: false,
                by: by("api"),
                reason: by("hunch"),
            },
            ApiCommand::Pause {
                by: by("api"),
                reason: by("deploying"),
                duration: Some(Duration::from_millis(90_500)),
            },
            ApiCommand::Pause {
                by: by("api"),
                reason: by("deploying"),
                duration: Some(Duration::from_secs(90)),
            },
            ApiCommand::Resume { by: by("api") },
            ApiCommand::Forget {
                unit: by("catalog"),
                by: by("api"),
            },
            ApiCommand::Outcomes(vec![ReportedOutcome {
                trace_id: OK_TRACE.parse().expect("an id"),
                outcome: OutcomeWord::Failed,
                reporter: by("api probe"),
                detail: Some(by("wrong price")),
            }]),
            ApiCommand::Said {
                unit: by("catalog.search"),
                reporter: None,
                wrong: None,
                next_within: Some(Duration::from_secs(2)),
            },
            ApiCommand::Said {
                unit: by("catalog"),
                reporter: Some(by("pager")),
                wrong: Some(by("too slow")),
                next_within: None,
            },
            ApiCommand::Outcomes(vec![ReportedOutcome {
                trace_id: OK_TRACE.parse().expect("an id"),
                outcome: OutcomeWord::Failed,
                reporter: by("api pager"),
                detail: None,
            }]),
        ]
    );
}

#[test]
fn foreign_pages_can_neither_read_nor_order() {
    let server = Server::start(view());
    let read = |host: &str| {
        raw(
            &server,
            &format!("GET /api/v1/status HTTP/1.1\nHost: {host}\nConnection: close\n\n"),
        )
        .status
    };
    assert_eq!(read("HOST"), 200);
    assert_eq!(read("localhost:4320"), 200);
    assert_eq!(read("rekindle.test"), 200);
    assert_eq!(read("evil.example"), 403);
    assert_eq!(read("HOST\nHost: evil.example"), 400);
    assert_eq!(
        raw(
            &server,
            "GET http://evil.example/api/v1/status HTTP/1.1\nHost: HOST\nConnection: close\n\n"
        )
        .status,
        403
    );
    for (headers, status) in [
        (JSON, 200),
        ("Content-Type: application/json\nOrigin: http://HOST\n", 200),
        (
            "Content-Type: application/json\nOrigin: http://evil.example\n",
            403,
        ),
        ("Content-Type: application/json\nOrigin: null\n", 403),
        (
            "Content-Type: application/json\nSec-Fetch-Site: cross-site\n",
            403,
        ),
        ("Content-Type: application/x-www-form-urlencoded\n", 403),
        ("Content-Type: text/plain\n", 415),
        ("", 415),
    ] {
        let before = server.fixture.told().len();
        let answer = post(&server, "/api/v1/resume", headers, "{}");
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        let reached = server.fixture.told().len() - before;
        assert_eq!(reached, usize::from(status == 200), "{headers:?}");
    }
}
