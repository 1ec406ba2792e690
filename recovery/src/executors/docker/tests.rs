//! Against an engine of paper for what engines rarely do, and, with the feature `real-platforms`,
//! against a real one (`tests/e2e/docker`).

use std::sync::{Arc, Mutex};

use super::*;
use crate::executor::{ActionId, Effect, ExecuteError, Executor as _};
use crate::executors::lives::LivesExecutor;
use crate::executors::note::Notes;
use crate::probe::Probes;
use crate::testing::{Script, Server};

const DEADLINE: Duration = Duration::from_secs(20);

fn spec(container: &str) -> DockerSpec {
    DockerSpec {
        container: container.to_owned(),
        socket: "/nonexistent/engine.sock".into(),
        stop: Stop::Term(Duration::from_millis(300)),
    }
}

fn permit(deadline: Duration) -> Permit {
    Permit::new(ActionId(5), "web".into(), 2, deadline)
}

fn executor(docker: Docker, state: &std::path::Path) -> LivesExecutor<Docker> {
    LivesExecutor::new(docker, Notes::new(state), None, Probes::new())
}

fn said(result: Result<crate::executor::Executed, ExecuteError>) -> String {
    match result {
        Ok(executed) => executed.note,
        Err(error) => error.to_string(),
    }
}

/// What an engine of paper answers to a restart, and what its container is like afterwards.
struct Paper {
    status: u16,
    after: &'static str,
}

async fn engine(before: &'static str, paper: Paper) -> (Server, Docker) {
    engine_told(before, paper, spec("a/b"), "t=1").await
}

/// Where the order must say so how the container is ended.
async fn engine_told(
    before: &'static str,
    paper: Paper,
    spec: DockerSpec,
    how: &'static str,
) -> (Server, Docker) {
    let state = Arc::new(Mutex::new(before));
    let server = Server::start(vec![Script::decide(move |line, _body| {
        let mut state = state.lock().expect("not poisoned");
        if line == format!("POST /containers/0123456789abcdef/restart?{how} HTTP/1.1") {
            *state = paper.after;
            return (paper.status, r#"{"message": "as I say"}"#.to_owned());
        }
        assert_eq!(line, "GET /containers/a%2Fb/json HTTP/1.1");
        match *state {
            "" => (404, r#"{"message": "no such container"}"#.to_owned()),
            state => (
                200,
                format!(r#"{{"Id": "0123456789abcdef", "State": {state}}}"#),
            ),
        }
    })])
    .await;
    let address = server.address();
    let (host, port) = address.rsplit_once(':').expect("has a port");
    let endpoint = Endpoint::Plain {
        host: host.to_owned(),
        port: port.parse().expect("a number"),
    };
    (server, Docker::at(endpoint, &spec))
}

const FIRST: &str = r#"{"Running": true, "StartedAt": "first"}"#;
#[tokio::test]
async fn what_is_crash_only_is_killed_without_a_word() {
    let paper = Paper {
        status: 204,
        after: SECOND,
    };
    let spec = DockerSpec {
        stop: Stop::Kill,
        ..spec("a/b")
    };
    let (_server, docker) = engine_told(FIRST, paper, spec, "t=0&signal=SIGKILL").await;
    let state = tempfile::tempdir().expect("a directory");
    let said = said(
        executor(docker, state.path())
            .restart(permit(DEADLINE))
            .await,
    );
    assert!(said.contains("of first replaced"), "{said}");
}

const SECOND: &str = r#"{"Running": true, "StartedAt": "second", "Health": {"Status": "healthy"}}"#;

#[tokio::test]
async fn what_an_engine_answers_has_its_meaning() {
    for (before, status, after, deadline, expected) in [
        (
            FIRST,
            204,
            SECOND,
            DEADLINE,
            "container 0123456789ab of first replaced",
        ),
        // The answer says failure, what is seen says that it was done.
        (
            FIRST,
            500,
            SECOND,
            DEADLINE,
            "container 0123456789ab of first replaced",
        ),
        (
            FIRST,
            404,
            FIRST,
            DEADLINE,
            "restart of web was refused: the engine has no container",
        ),
        (
            FIRST,
            409,
            FIRST,
            DEADLINE,
            "restart of web was refused: the engine answered 409: as I say",
        ),
        (
            FIRST,
            500,
            FIRST,
            Duration::from_millis(200),
            "whether web was restarted is unknown: container 0123456789ab of first had not ended",
        ),
        (
            "",
            204,
            FIRST,
            DEADLINE,
            "restart of web was refused: the engine has no container \"a/b\"",
        ),
        (
            r#"{"Running": true, "Paused": true, "StartedAt": "first"}"#,
            204,
            SECOND,
            DEADLINE,
            "restart of web was refused: somebody has paused the container",
        ),
        (
            FIRST,
            204,
            r#"{"Running": false, "ExitCode": 3, "Error": "no memory"}"#,
            Duration::from_millis(200),
            "web did not become ready within 200ms: it is not running, its exit code is 3: no memory",
        ),
        (
            FIRST,
            204,
            r#"{"Running": true, "StartedAt": "second", "Health": {"Status": "starting"}}"#,
            Duration::from_millis(200),
            "web did not become ready within 200ms: its health check says starting",
        ),
        (
            FIRST,
            204,
            r#"{"Running": false, "Pid": 17, "StartedAt": "first"}"#,
            Duration::from_millis(200),
            "whether web was restarted is unknown: container 0123456789ab of first had not ended",
        ),
        // What had ended before is started.
        (
            r#"{"Running": false}"#,
            204,
            SECOND,
            DEADLINE,
            "nothing that lived replaced",
        ),
    ] {
        let (_server, docker) = engine(before, Paper { status, after }).await;
        let state = tempfile::tempdir().expect("a directory");
        let said = said(
            executor(docker, state.path())
                .restart(permit(deadline))
                .await,
        );
        assert!(
            said.starts_with(expected),
            "{before} {status} {after}: {said}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_is_away_refuses() {
    let state = tempfile::tempdir().expect("a directory");
    let executor = executor(Docker::new(&spec("web")), state.path());
    let said = said(executor.restart(permit(DEADLINE)).await);
    assert!(
        said.starts_with("restart of web was refused: no connection to /nonexistent/engine.sock"),
        "{said}"
    );
    let effect = executor.inquire(ActionId(5), &"web".into(), 2).await;
    assert_eq!(effect, Effect::NotDone);
}

#[cfg(feature = "real-platforms")]
mod real;

#[test]
fn what_ended_in_order_is_not_restarted_with_the_others() {
    for (state, status, expected) in [
        ("running", "Up 3 minutes", Some(true)),
        ("restarting", "Restarting (1) 2 seconds ago", Some(false)),
        ("paused", "Up 3 minutes (Paused)", Some(false)),
        ("exited", "Exited (137) 3 minutes ago", Some(false)),
        ("exited", "Exited (0) 3 minutes ago", None),
        ("created", "Created", None),
        // An engine that says less: one that isn't running may have failed.
        ("exited", "", Some(false)),
    ] {
        let line = serde_json::json!({
            "Id": "abc", "Names": ["/web/alias", "/shop-1"], "State": state, "Status": status,
        });
        let line: Line = serde_json::from_value(line).expect("a line");
        let listed = line.listed();
        assert_eq!(listed.as_ref().map(|it| it.is_up), expected, "{status}");
        assert!(listed.is_none_or(|it| it.name == "shop-1" && it.id == "abc"));
    }
}

#[test]
fn a_container_is_reached_in_the_first_network_that_it_is_in() {
    for (networks, expected) in [
        (serde_json::json!({}), None),
        (serde_json::json!({ "Networks": null }), None),
        (
            serde_json::json!({ "Networks": { "a": { "IPAddress": "" } } }),
            None,
        ),
        (
            serde_json::json!({ "Networks": {
                "c": { "IPAddress": "10.0.0.9" }, "b": { "IPAddress": "10.0.0.7" }, "a": { "IPAddress": "" },
            } }),
            Some("10.0.0.7"),
        ),
    ] {
        let line = serde_json::json!({
            "Id": "abc", "Names": ["/shop-1"], "State": "running", "NetworkSettings": networks,
        });
        let line: Line = serde_json::from_value(line).expect("a line");
        let address = line.listed().and_then(|it| it.address);
        let expected = expected.map(|it| it.parse().expect("an address"));
        assert_eq!(address, expected, "{networks}");
    }
}
