//! With real processes, and endpoints that answer, refuse and hang.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::executor::{ActionId, Effect, Executed, Permit};
use crate::executors::Executors;
use crate::probe::Probes;
use crate::testing::{Script, Server};
use crate::{ExecutorSpec, ProcessSpec, UnitName, UnitSpec};

/// More than anything here takes; only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Enough for a request to be sent and a shell to begin on a machine that is busy with something else.
const SHORT: Duration = Duration::from_secs(4);

fn unit(name: &str, parent: Option<&str>, executor: ExecutorSpec, around: Around) -> UnitSpec {
    UnitSpec {
        name: name.into(),
        parent: parent.map(UnitName::from),
        selector: BTreeMap::new(),
        executor: Some(executor),
        start_deadline: PATIENCE,
        ready: None,
        check: None,
        watches: Vec::new(),
        mode: None,
        expected_downtime: None,
        rules: crate::UnitRules::default(),
        around,
    }
}

fn process(script: &str) -> ExecutorSpec {
    ExecutorSpec::Process(ProcessSpec {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        directory: None,
        stop: crate::Stop::Term(Duration::from_secs(5)),
        ports: Vec::new(),
    })
}

fn shell(script: &str, timeout: Duration) -> CommandSpec {
    CommandSpec {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        timeout,
    }
}

/// Executors with their children running; those end with it.
struct World {
    directory: tempfile::TempDir,
    executors: Executors,
}

impl World {
    async fn new(units: &[UnitSpec]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let probes = Probes::new();
        let executors = Executors::build(units, directory.path(), &probes, Keeping::default())
            .await
            .expect("built");
        for (unit, started) in executors.supervisor().start_missing().await {
            started.unwrap_or_else(|error| panic!("{unit}: {error}"));
        }
        Self {
            directory,
            executors,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn pid(&self) -> Option<i32> {
        self.executors.supervisor().children()[0].pid
    }

    async fn restart(&self, unit: &str) -> Executed {
        let executor = self.executors.get(&unit.into()).expect("has one");
        let permit = Permit::new(ActionId(7), unit.into(), 2, PATIENCE).because_of(Some(3));
        tokio::time::timeout(PATIENCE, executor.restart(permit))
            .await
            .expect("within its bounds")
            .expect("restarted")
    }

    fn kept(&self) -> Option<PostMortem> {
        self.executors.cabinet().read(7).expect("readable")
    }

    async fn end(self) {
        for (unit, ended) in self.executors.supervisor().stop_all().await {
            ended.unwrap_or_else(|error| panic!("{unit}: {error}"));
        }
    }
}

fn post(server: &Server, timeout: Duration) -> Option<PrepareSpec> {
    let url = server.url("/prepare");
    Some(PrepareSpec::Http(HttpSpec { url, timeout }))
}

#[tokio::test]
async fn a_unit_is_asked_to_prepare_and_what_it_answers_prevents_nothing() {
    for (script, timeout, expected) in [
        (Script::answer(204, ""), PATIENCE, "prepared; "),
        (
            Script::answer(500, "no disk"),
            PATIENCE,
            "not prepared: it answered 500: no disk; ",
        ),
        (Script::Silent, SHORT, "not prepared: no answer within"),
        (Script::DripHeaders, SHORT, "not prepared: no answer within"),
        (Script::HangUp, PATIENCE, "not prepared: "),
    ] {
        let server = Server::start(vec![script.clone()]).await;
        let around = Around {
            prepare: post(&server, timeout),
            ..Around::default()
        };
        let world = World::new(&[unit("web", None, process("sleep 600"), around)]).await;
        let executed = world.restart("web").await;
        assert!(
            executed.note.starts_with(expected),
            "{script:?}: {}",
            executed.note
        );
        let request = server.requests().remove(0).to_ascii_lowercase();
        for header in [
            "post /prepare http/1.1\r\n",
            "\r\nidempotency-key: 7\r\n",
            "\r\nrekindle-generation: 2\r\n",
            "\r\nrekindle-restart-in-ms: 0\r\n",
        ] {
            assert!(request.contains(header), "{request}");
        }
        world.end().await;
    }
}

/// A pipe that nobody reads takes a writer as long as a disk that hangs.
#[tokio::test]
async fn a_disk_that_hangs_holds_up_no_restart_that_is_done() {
    let world = World::new(&[unit("web", None, process("sleep 600"), Around::default())]).await;
    let folder = world.path().join("post-mortem");
    std::fs::create_dir_all(&folder).expect("made");
    let pipe = folder.join("7.partial");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    world.restart("web").await;
    assert!(world.kept().is_none());
    // Both ends at once, so that the writer gets on and this doesn't wait for it.
    let both = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe);
    world.end().await;
    drop(both.expect("opened"));
}

#[tokio::test]
async fn it_is_announced_prepared_and_looked_at_while_the_old_life_still_lives() {
    let directory = tempfile::tempdir().expect("a directory");
    let mark = directory.path().join("prepared");
    let drain = Duration::from_millis(150);
    let around = Around {
        drain,
        prepare: Some(PrepareSpec::Command(shell(
            &format!(
                r#"echo "$REKINDLE_UNIT $REKINDLE_ACTION $REKINDLE_GENERATION $REKINDLE_RESTART_IN_MS" > {}"#,
                mark.display()
            ),
            PATIENCE,
        ))),
        post_mortem: Some(shell(
            r#"kill -0 $REKINDLE_PID && echo "$REKINDLE_INCIDENT lives"; echo aside >&2"#,
            PATIENCE,
        )),
    };
    let script = "echo about to fail; exec sleep 600";
    let world = World::new(&[unit("web", None, process(script), around)]).await;
    world.executors.call_witness(Arc::new(Telling));
    let old = world.pid().expect("it runs");
    let executed = world.restart("web").await;
    assert_ne!(world.pid(), Some(old));
    let asked = std::fs::read_to_string(&mark).expect("asked");
    assert_eq!(asked, "web 7 2 150\n");
    let away = executed.ready_at.duration_since(executed.stopped_at);
    assert!(away.expect("in order") >= drain, "callers stayed away");

    let kept = world.kept().expect("kept");
    assert_eq!((kept.action, kept.incident), (7, Some(3)));
    assert_eq!((kept.unit.as_str(), kept.next_generation), ("web", 2));
    let said = kept.command.expect("it was asked");
    assert_eq!((said.output.as_str(), said.cut_bytes), ("3 lives\n", 0));
    assert_eq!(kept.processes[0].pid, old);
    assert_eq!(kept.processes[0].name, "sleep");
    assert!(kept.processes[0].memory_bytes > Some(0));
    assert_eq!(kept.log, "about to fail\n");
    assert_eq!(kept.traces, [serde_json::json!("web of 3")]);
    assert_eq!(kept.missing, Vec::<String>::new());
    world.end().await;
}

struct Telling;

impl Witness for Telling {
    fn traces(
        &self,
        unit: &UnitName,
        incident: Option<u64>,
        at_most: usize,
    ) -> Vec<serde_json::Value> {
        assert!(at_most > 1);
        let short = format!("{unit} of {}", incident.expect("one"));
        vec![short.into(), "x".repeat(600_000).into()]
            .into_iter()
            .take(if unit.as_str() == "web" { 1 } else { 2 })
            .collect()
    }
}

#[tokio::test]
async fn a_part_is_looked_at_in_its_process_and_a_restart_needs_no_look() {
    let server = Server::start(vec![Script::answer(200, "")]).await;
    let around = Around {
        post_mortem: Some(shell("echo endless; exec sleep 600", SHORT)),
        ..Around::default()
    };
    let part = ExecutorSpec::Http(HttpSpec {
        url: server.url("/microreboot"),
        timeout: PATIENCE,
    });
    let world = World::new(&[
        unit("web", None, process("sleep 600"), Around::default()),
        unit("web.part", Some("web"), part, around),
    ])
    .await;
    world.executors.call_witness(Arc::new(Telling));
    let process = world.pid();
    world.restart("web.part").await;
    let kept = world.kept().expect("kept");
    assert_eq!(kept.processes.first().map(|found| found.pid), process);
    let said = kept.command.expect("it was asked");
    assert_eq!(said.end, "it did not end within 4s");
    assert_eq!(said.output, "endless\n");
    assert_eq!(kept.traces.len(), 1);
    assert_eq!(
        kept.missing,
        ["1 traces: they are longer than what is kept"]
    );

    // A disk that takes nothing.
    std::fs::remove_dir_all(world.path().join("post-mortem")).expect("removed");
    std::fs::write(world.path().join("post-mortem"), "in the way").expect("written");
    world.restart("web.part").await;
    world.end().await;
}

#[tokio::test]
async fn who_is_down_is_neither_asked_nor_waited_for() {
    let server = Server::start(vec![Script::Silent]).await;
    let around = Around {
        drain: PATIENCE * 2,
        prepare: post(&server, PATIENCE * 2),
        post_mortem: None,
    };
    let world = World::new(&[unit("web", None, process("sleep 0.2"), around)]).await;
    while world.pid().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.restart("web").await;
    assert_eq!(server.requests(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_restart_that_is_given_up_while_it_is_announced_was_not_done() {
    let server = Server::start(vec![Script::Silent]).await;
    let around = Around {
        drain: PATIENCE,
        prepare: post(&server, PATIENCE),
        post_mortem: Some(shell("exec sleep 600", PATIENCE)),
    };
    assert_eq!(around.longest(), PATIENCE);
    let world = World::new(&[unit("web", None, process("sleep 600"), around)]).await;
    let (old, executor) = (world.pid(), world.executors.get(&"web".into()));
    let executor = executor.expect("has one");
    assert_eq!(executor.beforehand(), PATIENCE);
    let permit = Permit::new(ActionId(7), "web".into(), 2, PATIENCE);
    let asked = async {
        while server.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = executor.restart(permit) => panic!("it is still announced"),
        () = asked => {}
    }
    assert_eq!(world.pid(), old);
    let effect = executor.inquire(ActionId(7), &"web".into(), 2).await;
    assert_eq!(effect, Effect::NotDone);
    assert!(world.kept().is_none());
    world.end().await;
}
