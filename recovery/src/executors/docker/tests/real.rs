//! Against a real engine: `REKINDLE_TEST_DOCKER_SOCKET` is its socket, `REKINDLE_TEST_DOCKER_IMAGE`
//! an image with a shell. `tests/e2e/docker` sets both. Containers are started with the engine's own
//! API and removed at the end.

use super::*;

struct Container {
    endpoint: Endpoint,
    spec: DockerSpec,
    /// What its script leaves in its folder `/kept`.
    kept: tempfile::TempDir,
}

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run tests/e2e/docker, which sets it"))
}

impl Container {
    async fn start(name: &str, script: &str, stop: Stop) -> Self {
        let socket = setting("REKINDLE_TEST_DOCKER_SOCKET");
        let container = Self {
            endpoint: Endpoint::Unix(socket.clone().into()),
            spec: DockerSpec {
                container: format!("rekindle-test-{name}"),
                socket: socket.into(),
                stop,
            },
            kept: tempfile::tempdir().expect("a directory"),
        };
        let kept = container.kept.path();
        container.remove().await;
        let body = serde_json::json!({
            "Image": setting("REKINDLE_TEST_DOCKER_IMAGE"),
            "Cmd": ["/bin/sh", "-c", script],
            "HostConfig": { "NetworkMode": "none", "Binds": [format!("{}:/kept", kept.display())] },
        });
        let path = format!("/containers/create?name={}", container.spec.container);
        let create = Ask::new(Method::POST, path).with_json("application/json", &body);
        container.engine(create).await;
        let path = format!("/containers/{}/start", container.spec.container);
        container.engine(Ask::new(Method::POST, path)).await;
        container
    }

    async fn engine(&self, asked: Ask) -> Answered {
        let answered = ask(&self.endpoint, asked.clone(), DEADLINE)
            .await
            .expect("the engine answers");
        let is_right = answered.is_success() || answered.status == 304;
        assert!(is_right, "{asked:?}: {}", answered.message());
        answered
    }

    async fn inspect(&self) -> serde_json::Value {
        let path = format!("/containers/{}/json", self.spec.container);
        let answered = self.engine(Ask::new(Method::GET, path)).await;
        answered.json().expect("JSON")
    }

    async fn remove(&self) {
        let path = format!("/containers/{}?force=true", self.spec.container);
        let answered = ask(&self.endpoint, Ask::new(Method::DELETE, path), DEADLINE)
            .await
            .expect("the engine answers");
        assert!(
            answered.is_success() || answered.status == 404,
            "{}",
            answered.message()
        );
    }

    fn executor(&self, state: &std::path::Path) -> LivesExecutor<Docker> {
        executor(Docker::new(&self.spec), state)
    }
}

const ONE_SECOND: Stop = Stop::Term(Duration::from_secs(1));

const WELL: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
const STUBBORN: &str = "trap '' TERM; while :; do sleep 0.1; done";

#[tokio::test]
async fn a_container_is_restarted_and_its_old_process_is_gone() {
    for (name, script) in [("well", WELL), ("stubborn", STUBBORN)] {
        let container = Container::start(name, script, ONE_SECOND).await;
        let old = container.inspect().await;
        let pid = old["State"]["Pid"].as_i64().expect("a pid");
        let state = tempfile::tempdir().expect("a directory");
        let executor = container.executor(state.path());
        let executed = executor.restart(permit(DEADLINE)).await.expect("restarted");
        let new = container.inspect().await;
        assert_ne!(
            old["State"]["StartedAt"], new["State"]["StartedAt"],
            "{executed:?}"
        );
        assert_eq!(old["Id"], new["Id"]);
        assert_eq!(new["State"]["Running"], true);
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("fits")).expect("some");
        assert!(
            !crate::testing::lives(pid),
            "{name}: process {pid:?} lives on"
        );
        let effect = executor.inquire(ActionId(5), &"web".into(), 2).await;
        assert_eq!(effect, Effect::Done);
        println!("{name}: {}", executed.note);
        container.remove().await;
    }
}

/// Who would take forty seconds to end is not even told to.
#[tokio::test]
async fn a_container_is_killed_at_once() {
    let slow = "echo began >>/kept/lives; trap 'echo told >>/kept/lives; sleep 40; exit 0' TERM; \
                while :; do sleep 0.1; done";
    let container = Container::start("crash", slow, Stop::Kill).await;
    let lives = || std::fs::read_to_string(container.kept.path().join("lives")).unwrap_or_default();
    // It must have set its trap before it is killed.
    while lives().is_empty() {
        tokio::time::sleep(PAUSE).await;
    }
    let state = tempfile::tempdir().expect("a directory");
    let executor = container.executor(state.path());
    executor.restart(permit(DEADLINE)).await.expect("restarted");
    assert_eq!(lives(), "began\nbegan\n");
    container.remove().await;
}

#[tokio::test]
async fn one_that_ended_is_started_and_one_that_is_gone_is_refused() {
    let once = format!("[ -e /tmp/once ] || {{ touch /tmp/once; exit 7; }}; {WELL}");
    let container = Container::start("ended", &once, ONE_SECOND).await;
    while container.inspect().await["State"]["Running"] == true {
        tokio::time::sleep(PAUSE).await;
    }
    let state = tempfile::tempdir().expect("a directory");
    let executor = container.executor(state.path());
    let executed = executor.restart(permit(DEADLINE)).await.expect("started");
    assert!(
        executed.note.starts_with("nothing that lived replaced"),
        "{executed:?}"
    );
    container.remove().await;
    let gone = executor
        .restart(permit(DEADLINE))
        .await
        .expect_err("removed");
    assert!(
        gone.to_string().contains("the engine has no container"),
        "{gone}"
    );
}

/// The engine of recovery dies while the container takes its grace; the next one finds it done,
/// because the order is the container engine's to finish.
#[tokio::test]
async fn an_order_that_was_given_before_a_crash_is_found_done() {
    let container = Container::start("asked", STUBBORN, Stop::Term(Duration::from_secs(2))).await;
    let state = tempfile::tempdir().expect("a directory");
    let executor = container.executor(state.path());
    let is_stopping = async {
        while container.inspect().await["State"]["Status"] != "stopping" {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        ended = executor.restart(permit(DEADLINE)) => panic!("the grace takes longer: {ended:?}"),
        () = is_stopping => {}
    }
    let executor = container.executor(state.path());
    assert_eq!(
        executor.inquire(ActionId(5), &"web".into(), 2).await,
        Effect::Done
    );
    assert_eq!(
        executor.inquire(ActionId(6), &"web".into(), 3).await,
        Effect::NotDone
    );
    container.remove().await;
}

#[tokio::test]
async fn a_paused_container_is_left_alone() {
    let container = Container::start("paused", WELL, ONE_SECOND).await;
    let path = format!("/containers/{}/pause", container.spec.container);
    let paused = ask(&container.endpoint, Ask::new(Method::POST, path), DEADLINE)
        .await
        .expect("the engine answers");
    if paused.is_success() {
        let state = tempfile::tempdir().expect("a directory");
        let said = said(
            container
                .executor(state.path())
                .restart(permit(DEADLINE))
                .await,
        );
        assert!(said.contains("somebody has paused the container"), "{said}");
    } else {
        println!("this engine can't pause here: {}", paused.message());
    }
    container.remove().await;
}
