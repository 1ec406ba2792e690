//! What the pages say, what their buttons do, and that telemetry is text on them and nothing else.

use rekindle::api::ApiCommand;
use rekindle::view::{HealthView, IncidentState, PausedView, PlanState, RankingVerdict, View};

use crate::fixture::{FAILED_TRACE, HOSTILE, OK_TRACE, Server, quiet_view, time, view};

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent()
}

fn page(server: &Server, path: &str) -> (u16, String) {
    let mut answer = agent().get(server.url(path)).call().expect("it answers");
    let status = answer.status().as_u16();
    (status, answer.body_mut().read_to_string().expect("text"))
}

/// The text of a page: tags taken out, white space folded.
fn words(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if inside => {}
            c => text.push(c),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn overview(view: View) -> String {
    let server = Server::start(view);
    let (status, html) = page(&server, "/");
    assert_eq!(status, 200);
    words(&html)
}

#[test]
fn what_is_restarted_before_it_fails_is_shown_with_what_it_gave_back() {
    let text = overview(view());
    assert!(
        text.contains("catalog.search (310 MiB), catalog (not tried)"),
        "{text}"
    );
    assert!(!overview(quiet_view()).contains("Restarted before it fails"));
}

#[test]
fn the_banner_says_the_most_pressing_thing() {
    let changed = |change: fn(&mut View)| {
        let mut changed = view();
        change(&mut changed);
        changed
    };
    let cases: [(View, &str); 9] = [
        (view(), "A restart waits for your approval"),
        (
            changed(|view| view.recovery.plans.clear()),
            "Requests fail more than usual",
        ),
        (
            changed(|view| view.recovery.plans[0].state = PlanState::Judging),
            "Requests fail; Rekindle is at it: judging",
        ),
        (
            changed(|view| view.recovery.plans[0].state = PlanState::GivenUp),
            "A person is needed: nothing was restarted, because",
        ),
        (
            changed(|view| view.recovery.plans[0].state = PlanState::HeldOff),
            "A restart is held off: mode propose: a person approves",
        ),
        (
            changed(|view| {
                view.recovery.plans[0].state = PlanState::Rejected;
                view.recovery.plans[0].decided = Some("rejected by anna: not now".to_owned());
            }),
            "Left to people: rejected by anna: not now",
        ),
        (quiet_view(), "All is as usual"),
        (View::default(), "No requests yet"),
        (
            // A plan that gave up in an incident that is over presses nobody.
            changed(|view| {
                view.recovery.plans[0].state = PlanState::GivenUp;
                view.incidents[0].state = IncidentState::Closed;
            }),
            "All is as usual",
        ),
    ];
    for (view, banner) in cases {
        let text = overview(view);
        assert!(text.contains(banner), "{banner}: {text}");
    }
}

#[test]
fn what_is_held_off_can_be_left_to_people() {
    let mut held = view();
    held.recovery.plans[0].state = PlanState::HeldOff;
    let server = Server::start(held);
    let (_, html) = page(&server, "/");
    assert!(html.contains("action=\"/plans/3/reject\""), "{html}");
    assert!(!html.contains("action=\"/plans/3/approve\""), "{html}");
    let text = words(&html);
    assert!(text.contains("Leave it to people"), "{text}");
    assert!(
        text.contains("It goes on by itself once that has passed."),
        "{text}"
    );
}

#[test]
fn the_overview_tells_the_whole_story() {
    let text = overview(view());
    for told in [
        // The incident and its ranking.
        "Incident 7 : web GET /search, bidding POST /bid , for 42s; 250 requests failed",
        "catalog.search code component of catalog",
        "96% 240 of 250",
        "1.7% 31 of 1,840",
        "238 of 250 failures began in it, with IndexCorrupt.",
        "catalog-7f9c instance of catalog or rack4-node17.example host of catalog",
        "No restart unit matches it",
        "failed 4bf92f35",
        // The plan.
        "Restart catalog.search (takes about 40ms): cures with 93%, expected to cost 12 (4.0 to 31) failed requests",
        "mode propose: a person approves",
        "25 times as dear, and cures hardly more surely",
        "Approve: restart catalog.search",
        "lapses at 2026-08-01 09:39:40 UTC",
        // The charts.
        "fails now: 300 of 500 (60%) in 5s; usually: 0.2%; 40 per second",
        // The tree and what was done.
        "suspect 1, 91%",
        "did not become ready within 20s: connection refused",
        "check fails",
        "cured 4m20s ago",
        "−94.0 points (−97.0 to −90.0)",
        "1 of 6 restarts, 482 of 10,000 failed requests",
        "Not used: duplicate 1,204",
    ] {
        assert!(text.contains(told), "{told}\n\n{text}");
    }
    let (failing, well) = (
        text.find("web GET /search failing"),
        text.find("web GET /item"),
    );
    assert!(
        failing.is_some() && failing < well,
        "failing ones come first"
    );
}

#[test]
fn what_is_wrong_with_rekindle_itself_is_said() {
    let mut view = quiet_view();
    view.status.paused = Some(PausedView {
        since: time(60),
        until: None,
        reason: "deploying".to_owned(),
        by: "ada".to_owned(),
    });
    view.status.ledger = HealthView {
        ok: false,
        note: "no space left on device".to_owned(),
    };
    let text = overview(view);
    for told in [
        "Paused by ada since 2026-08-01 09:29:00 UTC: deploying — nothing is restarted unattended.",
        "The ledger is not well, so nothing is restarted: no space left on device",
    ] {
        assert!(text.contains(told), "{told}\n\n{text}");
    }
}

#[test]
fn too_little_evidence_is_an_answer() {
    let mut view = view();
    let ranking = view.incidents[0].ranking.as_mut().expect("a ranking");
    ranking.suspects.clear();
    ranking.verdict = RankingVerdict::NotEnough {
        missing: "2 failed requests, 3 are needed".to_owned(),
    };
    let text = overview(view);
    let told = "Not enough evidence to suspect anyone: 2 failed requests, 3 are needed";
    assert!(text.contains(told), "{text}");
}

#[test]
fn the_incident_page_holds_all_evidence() {
    let server = Server::start(view());
    let (status, html) = page(&server, "/incidents/7");
    let text = words(&html);
    assert_eq!(status, 200);
    for told in [
        "Incident 7 is open",
        "noticed after 1s",
        "failures began in it 238 of 250 (95 %, between 92 % and 97 %)",
        "reported by web, bidding",
        // Of a suspect that an older engine kept, only the counts are known.
        "250 of 250 (100%), between 98% and 100%",
        "Who complains nobody but itself",
        "Error IndexCorrupt",
        "code.namespace catalog.search",
        "12 requests: overlapped a restart",
        "journal position 182,411",
    ] {
        assert!(text.contains(told), "{told}\n\n{text}");
    }
    assert!(html.contains(&format!("href=\"/traces/{OK_TRACE}\"")));
    let (status, html) = page(&server, "/incidents/99");
    assert_eq!(status, 404);
    assert!(words(&html).contains("there is no incident 99"));
}

#[test]
fn a_unit_has_a_page_with_what_is_in_it_and_what_was_done_to_it() {
    let mut view = view();
    for unit in &mut view.tree {
        if unit.name == "catalog.search" {
            unit.inferred = Some("3 times they were cured only together".to_owned());
        }
    }
    let server = Server::start(view);
    let (status, html) = page(&server, "/units/catalog");
    let text = words(&html);
    assert_eq!(status, 200, "{text}");
    for expected in [
        "catalog was restarted 5 times, which cured 5 faults.",
        "catalog.search",
        "inferred: 3 times they were cured only together",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(html.contains("href=\"/units/catalog.search\""), "{html}");
    let (_, html) = page(&server, "/");
    assert!(html.contains("href=\"/units/catalog\""), "{html}");
    let (status, html) = page(&server, "/units/nobody");
    assert_eq!(status, 404);
    assert!(words(&html).contains("there is no unit"), "{html}");
}

#[test]
fn the_waterfall_marks_where_it_failed() {
    let server = Server::start(view());
    let (status, html) = page(&server, &format!("/traces/{FAILED_TRACE}"));
    let text = words(&html);
    assert_eq!(status, 200);
    for told in [
        "web GET /search: failed",
        "catalog catalog.search",
        "✗ failed here: IndexCorrupt",
        "✗ passed on: 500",
        "its caller's span did not come",
        "6.3ms",
    ] {
        assert!(text.contains(told), "{told}\n\n{text}");
    }
    assert_eq!(html.matches("class=\"failed\"").count(), 4);
    assert!(html.contains(&format!("href=\"/traces/{OK_TRACE}\"")));
}

#[test]
fn history_shows_verdict_and_price() {
    let server = Server::start(view());
    let (_, html) = page(&server, "/history");
    let text = words(&html);
    for told in [
        "#41",
        "catalog.search → 4",
        "not cured",
        "480",
        "somebody had a hunch",
    ] {
        assert!(text.contains(told), "{told}\n\n{text}");
    }
}

#[test]
fn telemetry_is_text() {
    let server = Server::start(view());
    let paths = [
        "/".to_owned(),
        "/incidents/7".to_owned(),
        format!("/traces/{OK_TRACE}"),
    ];
    for path in paths {
        let answer = agent().get(server.url(&path)).call().expect("it answers");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .expect("text")
            .to_owned();
        assert!(
            policy.starts_with("default-src 'none';"),
            "{path}: {policy}"
        );
        let (_, html) = page(&server, &path);
        assert!(
            html.contains("&lt;/td&gt;&lt;script&gt;alert("),
            "{path} shows it"
        );
        assert!(!html.contains("<script>"), "{path} runs it");
        assert!(!html.contains(HOSTILE), "{path}");
        // The policy allows neither scripts nor styles inside the page.
        assert!(
            !html.contains(" style=") && !html.contains("<style"),
            "{path}"
        );
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script src=\"/static/").count()
        );
    }
}

#[test]
fn nothing_comes_from_elsewhere() {
    let server = Server::start(view());
    for path in [
        "/",
        "/incidents/7",
        "/history",
        "/static/style.css",
        "/static/refresh.js",
    ] {
        let (status, text) = page(&server, path);
        assert_eq!(status, 200, "{path}");
        for reference in ["src=\"http", "href=\"http", "url(", "@import", "//cdn"] {
            assert!(!text.contains(reference), "{path} has {reference}");
        }
    }
}

/// The origin that a browser names when a form on this page is sent to its own server: Fetch,
/// "append a request Origin header", for a navigation with POST.
fn origin_of_a_form(server: &Server, page: &str) -> String {
    let answer = agent().get(server.url(page)).call().expect("it answers");
    let policy = answer.headers()["referrer-policy"].to_str().expect("text");
    if policy == "no-referrer" {
        return String::from("null");
    }
    format!("http://{}", server.address)
}

#[test]
fn a_browser_may_send_the_forms_of_our_pages() {
    let server = Server::start(view());
    for page in ["/", "/incidents/7", "/history"] {
        let answer = agent()
            .post(server.url("/resume"))
            .header("Origin", &origin_of_a_form(&server, page))
            .send_form([("reason", "over")])
            .expect("it answers");
        assert_eq!(answer.status(), 303, "from {page}");
    }
}

#[test]
fn buttons_do_what_they_say() {
    let server = Server::start(view());
    let send = |path: &str, origin: &str, fields: &[(&str, &str)]| {
        agent()
            .post(server.url(path))
            .header("Origin", origin)
            .send_form(fields.iter().copied())
            .expect("it answers")
    };
    let ours = format!("http://{}", server.address);
    for (path, fields) in [
        ("/plans/3/approve", &[][..]),
        ("/plans/3/reject", &[("reason", "not now")][..]),
        ("/units/catalog/restart", &[("reason", "hunch")][..]),
        ("/pause", &[("reason", "deploying"), ("minutes", "30")][..]),
        ("/pause", &[("reason", "deploying"), ("minutes", "")][..]),
        ("/resume", &[][..]),
    ] {
        let answer = send(path, &ours, fields);
        assert_eq!(answer.status(), 303, "{path}");
        assert_eq!(answer.headers()["location"], "/", "{path}");
    }
    let told = server.fixture.told();
    assert_eq!(told.len(), 6);
    assert!(
        matches!(&told[0], ApiCommand::Approve { plan: 3, by } if by == "web page"),
        "{told:?}"
    );
    assert!(
        matches!(&told[3], ApiCommand::Pause { duration: Some(d), .. } if d.as_secs() == 1800),
        "{told:?}"
    );
    assert!(
        matches!(&told[4], ApiCommand::Pause { duration: None, .. }),
        "{told:?}"
    );

    for (path, origin, fields, status) in [
        ("/plans/3/approve", "http://evil.example", &[][..], 403),
        ("/plans/3/approve", "null", &[][..], 403),
        ("/plans/3/reject", &ours, &[("reason", " ")][..], 400),
        ("/plans/3/reject", &ours, &[][..], 400),
        (
            "/pause",
            &ours,
            &[("reason", "x"), ("minutes", "-1")][..],
            400,
        ),
        ("/units/web/restart", &ours, &[("reason", "x")][..], 409),
    ] {
        let before = server.fixture.told().len();
        let mut answer = send(path, origin, fields);
        assert_eq!(
            answer.status(),
            status,
            "{path} from {origin} with {fields:?}"
        );
        let refused_by_backend = usize::from(status == 409);
        assert_eq!(server.fixture.told().len() - before, refused_by_backend);
        let text = answer.body_mut().read_to_string().expect("text");
        assert!(!text.is_empty());
    }
}
