//! The real binary against a server of the fixture.

use std::net::TcpListener;
use std::process::Command;

use rekindle::api::{ApiCommand, DeedWord, Whom};
use rekindle::view::{ActionResult, PlanState, VerdictView, View};
use serde_json::Value;

use crate::fixture::{Server, quiet_view, view};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `rekindle` with these arguments, against this server.
pub(crate) fn rekindle(server: Option<&Server>, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command
        .args(arguments)
        .env_remove("REKINDLE_API")
        .env_remove("REKINDLE_CONFIG")
        .env("USER", "ada")
        // A proxy for the web must not come between a shell and its daemon.
        .env("HTTP_PROXY", "http://127.0.0.1:1");
    if let Some(server) = server {
        command.env("REKINDLE_API", server.url(""));
    }
    let output = command.output().expect("the binary runs");
    Outcome {
        code: output.status.code().expect("it wasn't killed"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[test]
fn tables_say_what_people_need() {
    let server = Server::start(view());
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["status"],
            &[
                "A restart waits for your approval: see `rekindle plan`",
                "asks before restarting",
                "18,241,077 spans (1,843/s)",
                "well: 1.2 GiB of 4 GiB",
                "300 of 500 (60%)",
            ],
        ),
        (
            &["suspects"],
            &[
                "Suspects of incident 7, as of 2026-08-01T09:29:59.250Z",
                "catalog.search (code component)",
                "240 of 250 (96%)",
                "31 of 1,840 (1.7%)",
                "1. 96% of the failed requests touched catalog.search,",
                "left out: 12 requests, overlapped a restart",
            ],
        ),
        (
            &["incidents"],
            &["7", "open", "6", "closed", "2026-08-01 09:25:45"],
        ),
        (
            &["tree"],
            &[
                "    catalog.search ← suspect 1",
                "cured, 4m20s ago",
                "down",
                "parts",
            ],
        ),
        (
            &["rejuvenation"],
            &["settling", "815 MiB", "310 MiB", "not tried"],
        ),
        (
            &["plan"],
            &[
                "Plan 3 for incident 7: waiting for approval",
                "→ 1",
                "12 (4.0 to 31)",
                "25 times as dear",
                "guard: budget: 1 of 6 restarts used",
                "rekindle approve 3, or rekindle reject 3 --reason …",
            ],
        ),
        (&["plan", "3"], &["Plan 3 for incident 7"]),
        (
            &["history"],
            &[
                "catalog.search → 4",
                "cured",
                "−94.0 points",
                "not cured",
                "somebody had a hunch (ada, incident 5)",
            ],
        ),
        (
            &["learned", "export"],
            &[
                "# 0 kinds of faults and the costs of 1 kinds of restarts",
                "- unit: catalog",
                "mean: 2.3",
            ],
        ),
        (
            &["explain", "catalog.search"],
            &[
                "238 of 250 failures began in it, with IndexCorrupt.",
                "catalog.search was restarted 5 times, which cured 5 faults.",
                "238 of 250 (95 %, between 92 % and 97 %)",
                "against it",
                "matches code.namespace",
            ],
        ),
        (&["explain", "web"], &["web was restarted 5 times"]),
    ];
    for (arguments, told) in cases {
        let outcome = rekindle(Some(&server), arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        for words in *told {
            assert!(
                outcome.out.contains(words),
                "{arguments:?} lacks {words:?}:\n{}",
                outcome.out
            );
        }
        // Not a terminal: no colours. And what an attacker wrote can't make any either.
        assert!(!outcome.out.contains('\u{1b}'), "{arguments:?}");
    }
}

#[test]
fn interventions_are_told_and_shown() {
    let mut view = quiet_view();
    let told = serde_json::json!([{
        "kind": "deployment", "target": {"service.name": "catalog"}, "reference": "rollout-7, told by ci",
        "from": "2026-08-01T09:20:00Z", "until": "2026-08-01T09:21:00Z",
    }]);
    view.status.interventions = serde_json::from_value(told).expect("interventions");
    let server = Server::start(view);
    let shown =
        "deployment of service.name=catalog from 09:20:00 until 09:21:00 (rollout-7, told by ci)";
    let status = rekindle(Some(&server), &["status"]);
    assert!(status.out.contains(shown), "{status:?}");
    let catalog = Whom::Attributes([("service.name".to_owned(), "catalog".to_owned())].into());
    for (arguments, whom, since, is_over) in [
        (
            &["--unit", "catalog"][..],
            Whom::Unit("catalog".to_owned()),
            false,
            false,
        ),
        (
            &[
                "--target",
                "service.name=catalog",
                "--since",
                "2026-08-01T09:20:00Z",
                "--over",
            ],
            catalog,
            true,
            true,
        ),
    ] {
        let arguments = [&["intervention", "scaling", "hpa"], arguments].concat();
        let outcome = rekindle(Some(&server), &arguments);
        assert_eq!(
            (outcome.code, outcome.out.trim()),
            (0, "hpa is set apart"),
            "{outcome:?}"
        );
        let told = server
            .fixture
            .told
            .lock()
            .expect("no test panics with it")
            .pop();
        let Some(ApiCommand::Intervention(told)) = told else {
            panic!("{told:?}");
        };
        assert_eq!((told.id.as_str(), told.by.as_str()), ("hpa", "ada"));
        assert_eq!((told.kind, &told.whom), (DeedWord::Scaling, &whom));
        assert_eq!((told.from.is_some(), told.is_over), (since, is_over));
        assert_eq!(told.until, None, "its end is by the daemon's clock");
    }
    let outcome = rekindle(Some(&server), &["intervention", "scaling", "hpa"]);
    assert_eq!(outcome.code, 64, "to nothing at all: {outcome:?}");
}

#[test]
fn who_gave_up_says_so_first() {
    let mut given_up = view();
    given_up.recovery.plans[0].state = PlanState::GivenUp;
    let server = Server::start(given_up);
    for arguments in [["status"], ["plan"]] {
        let outcome = rekindle(Some(&server), &arguments);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let told = "A person is needed: nothing was restarted, because mode propose";
        assert!(outcome.out.starts_with(told), "{outcome:?}");
    }
}

#[test]
fn what_is_held_off_is_no_giving_up() {
    let mut held = view();
    held.recovery.plans[0].state = PlanState::HeldOff;
    held.recovery.plans[0].guards = vec!["3 parts are sick at once".to_owned()];
    let server = Server::start(held);
    let status = rekindle(Some(&server), &["status"]);
    let told = "A restart is held off: 3 parts are sick at once: see `rekindle plan`";
    assert!(status.out.starts_with(told), "{status:?}");
    let plan = rekindle(Some(&server), &["plan"]);
    assert!(
        plan.out.starts_with("Plan 3 for incident 7: held off"),
        "{plan:?}"
    );
    let told = "It goes on once that has passed, unless you say rekindle reject 3 --reason …";
    assert!(plan.out.contains(told), "{plan:?}");
    assert!(!plan.out.contains("approve"), "{plan:?}");
}

#[test]
fn errors_are_json_for_programs() {
    let server = Server::start(view());
    let outcome = rekindle(Some(&server), &["-o", "json", "approve", "9"]);
    let error: serde_json::Value = serde_json::from_str(&outcome.err).expect("JSON");
    assert_eq!(error["detail"], "no plan 9 is waiting");
    assert_eq!(error["exit"], outcome.code);
    let outcome = rekindle(
        None,
        &["--api", "http://127.0.0.1:9", "-o", "json", "status"],
    );
    let error: serde_json::Value = serde_json::from_str(&outcome.err).expect("JSON");
    assert_eq!((error["exit"].as_i64(), outcome.code), (Some(69), 69));
}

#[test]
fn a_verdict_can_be_waited_for() {
    for (verdict, code) in [
        (VerdictView::Cured, 0),
        (VerdictView::Helped, 3),
        (VerdictView::NotCured, 3),
        (VerdictView::Unknown, 3),
    ] {
        let mut judged = view();
        judged.recovery.actions.truncate(1);
        judged.recovery.actions[0].verdict = Some(verdict);
        let server = judged_after_an_order(judged);
        let outcome = rekindle(Some(&server), &["approve", "3", "--wait"]);
        assert_eq!(outcome.code, code, "{outcome:?}");
        let told = format!("catalog.search: {verdict} (600 requests after, 1 failed)");
        assert!(outcome.out.contains(&told), "{outcome:?}");
        // What the same recovery did before came to something else.
        assert!(!outcome.out.contains("earlier"), "{outcome:?}");
    }
}

/// Whoever has a well unit restarted asks for no cure.
#[test]
fn an_order_of_what_was_well_is_done_when_it_is_back() {
    for (result, code) in [(ActionResult::Done, 0), (ActionResult::NotReady, 3)] {
        let mut judged = view();
        judged.recovery.actions.truncate(1);
        let action = &mut judged.recovery.actions[0];
        (action.incident, action.began) = (None, None);
        action.verdict = Some(VerdictView::Unknown);
        action.result = Some(result);
        let server = judged_after_an_order(judged);
        let outcome = rekindle(Some(&server), &["approve", "3", "--wait"]);
        assert_eq!(outcome.code, code, "{outcome:?}");
    }
}

/// A daemon whose recovery has failed before, and that shows this view's one action as soon as it is told to act.
fn judged_after_an_order(mut judged: View) -> Server {
    let mut earlier = judged.recovery.actions[0].clone();
    earlier.id -= 1;
    earlier.unit = "earlier".to_owned();
    earlier.verdict = Some(VerdictView::NotCured);
    judged.recovery.actions.push(earlier);
    let mut before = judged.clone();
    before.recovery.actions.remove(0);
    let server = Server::start(before);
    server.fixture.then_shows(judged);
    server
}

#[test]
fn quiet_days_have_words_too() {
    let mut nothing = quiet_view();
    nothing.incidents.clear();
    nothing.tree.clear();
    let server = Server::start(nothing);
    for (arguments, code, told) in [
        (&["status"][..], 0, "All is as usual"),
        (&["incidents"], 0, "There has been no incident."),
        (
            &["tree"],
            0,
            "No restart units are configured, so nothing can be restarted.",
        ),
        (&["rejuvenation"], 0, "Nothing is restarted before it fails"),
        (&["plan"], 0, "Nothing is planned."),
        (
            &["suspects"],
            0,
            "Nobody is suspected: there has been no incident.",
        ),
        (&["suspects", "9"], 2, "rekindle: there is no incident 9"),
    ] {
        let outcome = rekindle(Some(&server), arguments);
        assert_eq!(outcome.code, code, "{arguments:?}");
        let both = format!("{}{}", outcome.out, outcome.err);
        assert!(both.contains(told), "{arguments:?}: {both}");
    }
}

#[test]
fn programs_get_json() {
    let server = Server::start(view());
    let read = |arguments: &[&str]| -> Value {
        let mut all = vec!["-o", "json"];
        all.extend(arguments);
        let outcome = rekindle(Some(&server), &all);
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        serde_json::from_str(&outcome.out).expect("JSON")
    };
    assert_eq!(read(&["suspects"])["suspects"][0]["unit"], "catalog.search");
    assert_eq!(read(&["status"])["requests"], 2_113_388);
    assert_eq!(read(&["tree"])[3]["name"], "catalog.search");
    assert_eq!(read(&["incidents"])[0]["state"], "open");
    assert_eq!(read(&["plan"])[0]["steps"][0]["unit"], "catalog.search");
    assert_eq!(
        read(&["history", "--limit", "1"]).as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(read(&["learned", "export"])["costs"][0]["unit"], "catalog");
    assert_eq!(read(&["explain", "1"])["suspect"]["rank"], 1);
    assert_eq!(read(&["approve", "3"])["message"], "plan 3 is under way");
    assert_eq!(
        read(&["restart", "catalog", "--dry-run"])["expected_cost"],
        310.0
    );
}

#[test]
fn orders_carry_who_and_why() {
    let server = Server::start(view());
    for (arguments, code, told) in [
        (&["approve", "3"][..], 0, "plan 3 is under way"),
        (&["approve", "9"], 2, "no plan 9 is waiting"),
        (
            &["reject", "3", "--reason", "not now", "--by", "bob"],
            0,
            "plan 3 was dropped: not now",
        ),
        (
            &["restart", "catalog", "--reason", "hunch"],
            0,
            "catalog is restarting",
        ),
        (
            &["restart", "web"],
            75,
            "refused: web was restarted 2s ago; the next may be in 8s",
        ),
        (&["restart", "wbe"], 2, "did you mean \"web\"?"),
        (
            &["restart", "catalog", "--dry-run"],
            0,
            "its mode is propose",
        ),
        (
            &["pause", "--reason", "deploying", "--for", "1h30m"],
            0,
            "paused for 5400 s",
        ),
        (
            &["pause", "--reason", "deploying"],
            0,
            "paused until resumed",
        ),
        (&["resume"], 0, "resumed"),
    ] {
        let outcome = rekindle(Some(&server), arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        let said = if code == 0 {
            &outcome.out
        } else {
            &outcome.err
        };
        assert!(said.contains(told), "{arguments:?}: {outcome:?}");
    }
    let told = server.fixture.told();
    assert!(
        matches!(&told[0], ApiCommand::Approve { plan: 3, by } if by == "ada"),
        "{told:?}"
    );
    assert!(
        matches!(&told[2], ApiCommand::Reject { by, reason, .. } if by == "bob" && reason == "not now"),
        "{told:?}"
    );
}

#[test]
fn mistakes_have_their_codes() {
    let server = Server::start(view());
    for (arguments, code, told) in [
        (&[][..], 64, "Usage: rekindle"),
        (&["bogus"], 64, "unrecognized subcommand"),
        (&["reject", "3"], 64, "--reason"),
        (
            &["pause", "--reason", "x", "--for", "soon"],
            64,
            "\"soon\" is no duration",
        ),
        (&["history", "--limit", "0"], 64, "0 is not in 1..=1000"),
        (
            &["--api", "localhost", "status"],
            64,
            "write it as in http://127.0.0.1:4320",
        ),
        (&["suspects", "99"], 2, "there is no incident 99"),
        (&["explain", "nobody"], 2, "nothing named \"nobody\""),
        (&["plan", "99"], 2, "there is no plan 99"),
    ] {
        let outcome = rekindle(Some(&server), arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        assert!(outcome.err.contains(told), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.out, "", "{arguments:?}");
    }
    assert_eq!(server.fixture.told(), []);
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    // Bound and dropped: nobody listens there now.
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr();
    let api = format!("http://{}", free.expect("bound"));
    let outcome = rekindle(None, &["--api", &api, "status"]);
    assert_eq!(outcome.code, 69);
    let told = format!("rekindle: no Rekindle answers at {api}: is `rekindle run` running?");
    assert!(outcome.err.starts_with(&told), "{outcome:?}");
}

#[test]
fn somebody_else_there_is_said_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let api = format!("http://{}", listener.local_addr().expect("bound"));
    let other = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a client");
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).expect("a request");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            .expect("written");
    });
    let outcome = rekindle(None, &["--api", &api, "tree"]);
    other.join().expect("it ends");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.err.contains("is no Rekindle of this version"),
        "{outcome:?}"
    );
}

#[test]
fn help_tells_commands_examples_and_codes() {
    let help = rekindle(None, &["--help"]);
    assert_eq!(help.code, 0);
    for told in [
        "run",
        "demo",
        "check-config",
        "status",
        "suspects",
        "explain",
        "incidents",
        "tree",
        "plan",
        "approve",
        "reject",
        "restart",
        "pause",
        "resume",
        "history",
        "learned",
        "Examples:",
        "Exit codes:",
        "69  no daemon answers",
        "REKINDLE_API",
    ] {
        assert!(help.out.contains(told), "{told}:\n{}", help.out);
    }
    assert!(!help.out.contains("auction SERVICE") && !help.out.contains("  auction"));
    assert_eq!(rekindle(None, &["--version"]).out, "rekindle 0.1.0\n");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::process::Stdio;
    let server = Server::start(View { ..view() });
    let mut child = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["-o", "json", "status"])
        .env("REKINDLE_API", server.url(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Load for nobody says who wasn't there; load for something else says that it is no receiver.
#[test]
fn analyze_knows_health_checks_by_their_paths_as_the_daemon_does() {
    let text =
        |key: &str, value: &str| serde_json::json!({"key": key, "value": {"stringValue": value}});
    let span = |number: u64, path: &str, failed: bool| {
        let start = 1_700_000_000_000_000_000 + number * 1_000_000_000;
        serde_json::json!({
            "traceId": format!("{:032x}", number + 1), "spanId": format!("{:016x}", number + 1), "name": "GET", "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000_000).to_string(),
            "attributes": [text("http.request.method", "GET"), text("url.path", path)],
            "status": {"code": if failed { 2 } else { 0 }},
        })
    };
    let mut lines = String::new();
    for number in 0..200 {
        let (path, failed) = match number % 2 {
            0 => ("/healthz", false),
            _ => ("/cart/17", number > 150),
        };
        let request = serde_json::json!({"resourceSpans": [{
            "resource": {"attributes": [text("service.name", "shop")]},
            "scopeSpans": [{"spans": [span(number, path, failed)]}],
        }]});
        lines.push_str(&format!("{request}\n"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("traces.jsonl");
    std::fs::write(&file, lines).expect("written");
    let file = file.to_str().expect("a path");
    let said = rekindle(
        None,
        &[
            "analyze",
            file,
            "--since",
            "2023-11-14T22:15:50Z",
            "-o",
            "json",
        ],
    );
    assert_eq!(said.code, 0, "{said:?}");
    let answer: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(answer["ranking"]["left_out"]["health_check"], 100);
}

#[test]
fn load_needs_a_receiver() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let outcome = rekindle(None, &["load", "--to", &nobody]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains(&nobody), "{}", outcome.err);

    let server = Server::start(view());
    let page = server.url("").replace("http://", "");
    let outcome = rekindle(None, &["load", "--to", page.trim_end_matches('/')]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("does not take OTLP over HTTP"),
        "{}",
        outcome.err
    );

    let outcome = rekindle(None, &["load", "--failing", "2"]);
    assert_eq!(outcome.code, 64);
    assert!(outcome.err.contains("between 0 and 1"), "{}", outcome.err);
}

#[test]
fn stories_are_played_or_say_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("it is written");
        file.to_str().expect("a name").to_owned()
    };
    let tree = "tree\n  site\n    shop 4s 30/s\n    bank 5s 10/s\n";
    let good = file(
        "good",
        &format!("{tree}at 10s shop fails 60% until shop is restarted\n"),
    );
    let played = rekindle(None, &["simulate", "story", &good]);
    assert_eq!(played.code, 0, "{}", played.err);
    assert!(played.out.contains("shop: cured"), "{}", played.out);
    let bad = file("bad", &format!("{tree}at 10s mail fails 60% for 1m\n"));
    let refused = rekindle(None, &["simulate", "story", &bad]);
    assert_eq!(refused.code, 64);
    assert!(refused.err.contains("line 5"), "{}", refused.err);
    assert!(refused.err.contains("no unit mail"), "{}", refused.err);
    // A unit that nothing can restart is the text's mistake, and its line is named.
    let no_tree = file("no-tree", "tree\n  site\n    shop\nat 1s kill\n");
    let refused = rekindle(None, &["simulate", "story", &no_tree]);
    assert_eq!(refused.code, 64, "{}", refused.err);
    assert!(refused.err.contains("line 3"), "{}", refused.err);
    let diced = rekindle(None, &["simulate", "story", &good, "--seed", "2"]);
    assert_eq!(diced.code, 64, "{}", diced.err);
    assert!(diced.err.contains("leave --seed away"), "{}", diced.err);
    let aimless = rekindle(None, &["simulate", "story"]);
    assert_eq!(aimless.code, 64, "{}", aimless.err);
}
