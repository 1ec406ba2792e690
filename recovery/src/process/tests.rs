//! The supervisor with real processes: every crash window that can be staged from outside, and an
//! engine that is really killed at random moments.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use super::phase::{ChildIdentity, Ending, Phase};
use super::table::{Row, Table};
use super::*;
use crate::executor::{ActionId, Effect, ExecuteError, Executor, Permit};
use crate::probe::Probes;

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// A child that does its duty until it is told to end.
const WORKER: &str = "while :; do sleep 0.05; done";

/// A state directory whose children all end with the test, however it ends.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn open(&self, units: Vec<ProcessUnit>) -> Supervisor {
        Supervisor::open(self.path(), units, Probes::new())
            .await
            .expect("opens")
    }

    /// What is on disk about a unit.
    fn row(&self, unit: &str) -> Row {
        let rows = self.table().and_then(|table| table.rows()).expect("reads");
        let rows: BTreeMap<_, _> = rows.into_iter().collect();
        rows[&UnitName::from(unit)].clone()
    }

    /// Puts a row there, as an engine that died would have left it.
    fn leave(&self, unit: &str, phase: Phase) {
        let table = self.table().expect("opens");
        let row = Row {
            wanted: true,
            phase,
            action: Some(5),
            ..Row::default()
        };
        table.save(&unit.into(), &row).expect("saves");
    }

    fn table(&self) -> Result<Table, TableError> {
        Table::open(self.path(), &self.path().display().to_string())
    }

    fn state_id(&self) -> Option<String> {
        let exists = self.path().join("children.sqlite").exists();
        let table = exists.then(|| self.table().ok()).flatten()?;
        Some(table.state_id().to_owned())
    }

    /// The living processes of a unit.
    fn processes(&self, unit: &str) -> Vec<(i32, u64)> {
        let Some(id) = self.state_id() else {
            return Vec::new();
        };
        procfs::marked(&id)
            .into_iter()
            .filter(|(_, marks)| marks.unit == unit)
            .map(|(stat, marks)| (stat.pid, marks.generation))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(id) = self.state_id() else { return };
        for (stat, _) in procfs::marked(&id) {
            if let Some(pid) = Pid::from_raw(stat.pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn unit(name: &str, script: &str) -> ProcessUnit {
    ProcessUnit {
        name: name.into(),
        process: ProcessSpec {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: BTreeMap::new(),
            directory: None,
            stop: crate::Stop::Term(Duration::from_secs(5)),
            ports: Vec::new(),
        },
        ready: None,
        start_deadline: PATIENCE,
    }
}

/// Ready once this file is there.
fn ready_when(mut unit: ProcessUnit, file: &Path) -> ProcessUnit {
    unit.ready = Some(ProbeSpec::Command {
        command: vec![
            "test".to_owned(),
            "-e".to_owned(),
            file.display().to_string(),
        ],
        timeout: PATIENCE,
    });
    unit
}

fn permit(action: u64, unit: &str, generation: u64) -> Permit {
    Permit::new(ActionId(action), unit.into(), generation, PATIENCE)
}

fn status(supervisor: &Supervisor, unit: &str) -> ChildStatus {
    supervisor
        .children()
        .into_iter()
        .find(|child| child.unit.as_str() == unit)
        .expect("a child")
}

async fn start_all(supervisor: &Supervisor) {
    for (unit, result) in supervisor.start_missing().await {
        assert!(result.is_ok(), "{unit}: {result:?}");
    }
}

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn next_event(events: &mut mpsc::Receiver<ChildEvent>) -> ChildEvent {
    tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("an event in time")
        .expect("an open channel")
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
}

#[tokio::test]
async fn a_first_start_then_a_restart_then_the_end() {
    let world = World::new();
    let flag = world.path().join("ready");
    let script = format!(
        r#"echo "$REKINDLE_UNIT $REKINDLE_GENERATION $OTEL_RESOURCE_ATTRIBUTES"; touch {}; {WORKER}"#,
        flag.display()
    );
    let supervisor = world
        .open(vec![ready_when(unit("web", &script), &flag)])
        .await;
    let mut events = supervisor.events().expect("not taken yet");
    assert!(supervisor.events().is_none());
    assert_eq!(status(&supervisor, "web").phase, "never");

    start_all(&supervisor).await;
    let first = status(&supervisor, "web");
    assert_eq!((first.phase, first.generation), ("running", 1));
    assert!(matches!(
        next_event(&mut events).await,
        ChildEvent::Started { generation: 1, .. }
    ));
    assert!(matches!(
        next_event(&mut events).await,
        ChildEvent::Ready { .. }
    ));
    // Asked again, nothing is missing.
    start_all(&supervisor).await;
    assert_eq!(status(&supervisor, "web").pid, first.pid);

    let before = SystemTime::now();
    // The ledger may be ahead of the table.
    let executed = supervisor
        .restart(permit(1, "web", 7))
        .await
        .expect("restarted");
    assert!(before <= executed.stopped_at && executed.stopped_at <= executed.ready_at);
    let second = status(&supervisor, "web");
    assert_eq!((second.phase, second.generation), ("running", 7));
    assert_ne!(second.pid, first.pid);
    assert!(
        world
            .processes("web")
            .iter()
            .all(|(_, generation)| *generation == 7)
    );
    // … or behind it.
    supervisor
        .restart(permit(2, "web", 3))
        .await
        .expect("restarted");
    assert_eq!(status(&supervisor, "web").generation, 8);

    for (_, result) in supervisor.stop_all().await {
        result.expect("stopped");
    }
    assert!(world.processes("web").is_empty());
    let stopped = status(&supervisor, "web");
    assert_eq!(
        (stopped.phase, stopped.wanted, stopped.exits),
        ("stopped", false, 0)
    );
    let log = fs::read_to_string(world.path().join("logs/web.log")).expect("a log");
    let marks: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("web "))
        .collect();
    assert_eq!(
        marks,
        [
            "web 1 rekindle.generation=1",
            "web 7 rekindle.generation=7",
            "web 8 rekindle.generation=8"
        ]
    );
    // What was stopped on purpose is missing again.
    start_all(&supervisor).await;
    assert_eq!(status(&supervisor, "web").generation, 9);
    supervisor.stop_all().await;
}

#[tokio::test]
async fn who_ignores_term_and_all_that_it_forked_is_gone_before_the_next_life() {
    let world = World::new();
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & setsid sleep 600 & while :; do sleep 0.05; done";
    let mut stubborn = unit("stubborn", script);
    stubborn.process.stop = crate::Stop::Term(Duration::from_millis(100));
    let supervisor = world.open(vec![stubborn]).await;
    start_all(&supervisor).await;
    wait_until("all are there", || world.processes("stubborn").len() >= 4).await;
    let executed = supervisor
        .restart(permit(1, "stubborn", 2))
        .await
        .expect("restarted");
    assert!(
        executed.note.contains("killed after the grace period"),
        "{}",
        executed.note
    );
    let left = world.processes("stubborn");
    assert!(
        !left.is_empty() && left.iter().all(|(_, generation)| *generation == 2),
        "{left:?}"
    );
    supervisor.stop_all().await;
    assert!(world.processes("stubborn").is_empty());
}

#[tokio::test]
async fn a_missed_deadline_is_said_and_the_child_is_left_running() {
    let world = World::new();
    let flag = world.path().join("never");
    let supervisor = world
        .open(vec![ready_when(unit("slow", WORKER), &flag)])
        .await;
    let mut events = supervisor.events().expect("not taken yet");
    fs::write(&flag, "").expect("ready for now");
    start_all(&supervisor).await;
    fs::remove_file(&flag).expect("no longer");
    let permit = Permit::new(ActionId(1), "slow".into(), 2, Duration::from_secs(1));
    let error = supervisor.restart(permit).await.expect_err("never ready");
    assert!(
        matches!(&error, ExecuteError::NotReady { reason, .. } if reason.contains("test exited with code 1")),
        "{error}"
    );
    let child = status(&supervisor, "slow");
    assert_eq!((child.phase, child.generation), ("running", 2));
    while !matches!(
        next_event(&mut events).await,
        ChildEvent::NotReady { generation: 2, .. }
    ) {}
    assert_eq!(
        supervisor.inquire(ActionId(1), &"slow".into(), 2).await,
        Effect::Done
    );
    supervisor.stop_all().await;
}

#[tokio::test]
async fn a_child_that_ends_before_it_is_ready_ends_the_wait() {
    let world = World::new();
    let flag = world.path().join("never");
    let supervisor = world
        .open(vec![ready_when(unit("broken", "exit 7"), &flag)])
        .await;
    let results = supervisor.start_missing().await;
    let error = results[0].1.as_ref().expect_err("it exits");
    assert_eq!(
        error.to_string(),
        "broken did not become ready: it exited with code 7 before it was ready"
    );
    let child = status(&supervisor, "broken");
    assert_eq!((child.phase, child.exits), ("exited", 1));
    assert_eq!(child.ending, Some(Ending::Code(7)));
}

#[tokio::test]
async fn a_command_that_does_not_exist_ends_nothing() {
    let world = World::new();
    let supervisor = world.open(vec![unit("web", WORKER)]).await;
    start_all(&supervisor).await;
    let pid = status(&supervisor, "web").pid;
    supervisor.close().await;

    let mut gone = unit("web", "");
    gone.process.command = vec!["/no/such/program".to_owned()];
    let supervisor = world.open(vec![gone]).await;
    let error = supervisor
        .restart(permit(1, "web", 2))
        .await
        .expect_err("refused");
    assert!(
        matches!(&error, ExecuteError::Refused { reason, .. } if reason.contains("/no/such/program does not exist")),
        "{error}"
    );
    assert_eq!(status(&supervisor, "web").pid, pid, "it still runs");
    supervisor.stop_all().await;
    // And where there is no life yet, the first start says so.
    let results = supervisor.start_missing().await;
    let error = results[0].1.as_ref().expect_err("can't be started");
    assert_eq!(
        error.to_string(),
        "web was not started: command /no/such/program does not exist"
    );
    assert_eq!(status(&supervisor, "web").phase, "exited");
    supervisor.close().await;

    let mut homeless = unit("web", WORKER);
    homeless.process.directory = Some("/no/such/home".into());
    let supervisor = world.open(vec![homeless]).await;
    let results = supervisor.start_missing().await;
    let error = results[0].1.as_ref().expect_err("can't be started");
    assert_eq!(
        error.to_string(),
        "web was not started: directory /no/such/home does not exist"
    );
}

#[tokio::test]
async fn a_child_that_dies_is_reported_and_not_restarted() {
    let world = World::new();
    let supervisor = world.open(vec![unit("mortal", WORKER)]).await;
    let mut events = supervisor.events().expect("not taken yet");
    start_all(&supervisor).await;
    kill(status(&supervisor, "mortal").pid.expect("lives"));
    let how = loop {
        if let ChildEvent::Exited {
            how, generation: 1, ..
        } = next_event(&mut events).await
        {
            break how;
        }
    };
    assert_eq!(how, Ending::Signal(9));
    assert_eq!(status(&supervisor, "mortal").phase, "exited");
    start_all(&supervisor).await;
    assert_eq!(
        status(&supervisor, "mortal").phase,
        "exited",
        "that needs a decision"
    );
    supervisor
        .restart(permit(1, "mortal", 2))
        .await
        .expect("restarted");
    let child = status(&supervisor, "mortal");
    assert_eq!(
        (child.phase, child.generation, child.exits),
        ("running", 2, 1)
    );
    supervisor.stop_all().await;
}

#[tokio::test]
async fn children_are_adopted_and_nothing_is_restarted() {
    let world = World::new();
    let units = || vec![unit("one", WORKER), unit("two", WORKER)];
    let supervisor = world.open(units()).await;
    let asked = Instant::now();
    start_all(&supervisor).await;
    let ready = Instant::now();
    let pids = |supervisor: &Supervisor| -> Vec<_> {
        supervisor
            .children()
            .iter()
            .map(|child| child.pid)
            .collect()
    };
    let before = pids(&supervisor);
    assert!(
        matches!(
            Supervisor::open(world.path(), units(), Probes::new()).await,
            Err(OpenError::InUse(_))
        ),
        "two engines can't have one directory"
    );
    supervisor.close().await;

    let supervisor = world.open(units()).await;
    assert_eq!(pids(&supervisor), before);
    let mut events = supervisor.events().expect("not taken yet");
    for _ in 0..2 {
        assert!(matches!(
            next_event(&mut events).await,
            ChildEvent::Adopted { generation: 1, .. }
        ));
    }
    // They are watched again …
    let at_least = ready.elapsed();
    kill(before[0].expect("lives"));
    let ChildEvent::Exited { lived, .. } = next_event(&mut events).await else {
        panic!("it has ended");
    };
    // … their lives go on, though how this one ended nobody can say …
    let tick = Duration::from_millis(10);
    let age = lived.expect("its end was seen");
    assert!(at_least <= age + tick && age <= asked.elapsed() + tick);
    assert!(matches!(world.row("one").phase, Phase::Exited { lived: kept, .. } if kept == lived));
    // … and can be restarted.
    supervisor
        .restart(permit(1, "two", 2))
        .await
        .expect("restarted");
    supervisor.stop_all().await;
    assert!(world.processes("two").is_empty());
}

#[tokio::test]
async fn a_child_that_died_while_nobody_watched_is_reported_until_it_is_restarted() {
    let world = World::new();
    let supervisor = world.open(vec![unit("web", WORKER)]).await;
    start_all(&supervisor).await;
    let pid = status(&supervisor, "web").pid.expect("lives");
    supervisor.close().await;
    kill(pid);
    wait_until("it is dead", || {
        procfs::stat(pid).is_none_or(|stat| stat.zombie)
    })
    .await;
    for _ in 0..2 {
        let supervisor = world.open(vec![unit("web", WORKER)]).await;
        let mut events = supervisor.events().expect("not taken yet");
        assert!(matches!(
            next_event(&mut events).await,
            ChildEvent::Exited {
                generation: 1,
                how: Ending::Unseen,
                ..
            }
        ));
        assert_eq!(status(&supervisor, "web").phase, "exited");
        assert_eq!(status(&supervisor, "web").exits, 1);
        supervisor.close().await;
    }
}

/// A boot that this host is not in any more.
fn old_child() -> ChildIdentity {
    ChildIdentity {
        pid: 1,
        start_ticks: 1,
        boot_id: "an-earlier-boot".to_owned(),
    }
}

#[tokio::test]
async fn after_a_restart_of_the_host_everything_is_missing() {
    let world = World::new();
    world.leave(
        "web",
        Phase::Running {
            generation: 4,
            child: old_child(),
        },
    );
    let supervisor = world.open(vec![unit("web", WORKER)]).await;
    assert_eq!(
        status(&supervisor, "web").ending,
        Some(Ending::HostRestarted)
    );
    start_all(&supervisor).await;
    let child = status(&supervisor, "web");
    assert_eq!((child.phase, child.generation), ("running", 5));
    supervisor.stop_all().await;
}

#[tokio::test]
async fn a_recycled_pid_is_left_alone() {
    let world = World::new();
    let mut stranger = Command::new("sleep")
        .arg("600")
        .process_group(0)
        .spawn()
        .expect("spawns");
    let recycled = ChildIdentity {
        pid: i32::try_from(stranger.id()).expect("a pid"),
        start_ticks: 1,
        boot_id: procfs::boot_id(),
    };
    world.leave(
        "web",
        Phase::Stopping {
            generation: 1,
            child: Some(recycled),
            next: Some(2),
        },
    );
    let supervisor = world.open(vec![unit("web", WORKER)]).await;
    wait_until("it is started", || {
        status(&supervisor, "web").phase == "running"
    })
    .await;
    supervisor.stop_all().await;
    assert!(
        stranger.try_wait().expect("ours").is_none(),
        "the stranger lives"
    );
    stranger
        .kill()
        .and_then(|()| stranger.wait())
        .expect("ends");
}

/// What an engine leaves that dies at each point of a restart from life 1 to 2, with life 1 still
/// there where it may be.
#[tokio::test]
async fn an_interrupted_restart_is_finished_once() {
    for point in ["stopping", "stopped", "starting"] {
        let world = World::new();
        let supervisor = world.open(vec![unit("web", WORKER)]).await;
        start_all(&supervisor).await;
        supervisor.close().await;
        let Phase::Running { child, .. } = world.row("web").phase else {
            panic!("it runs");
        };
        let phase = match point {
            "stopping" => Phase::Stopping {
                generation: 1,
                child: Some(child),
                next: Some(2),
            },
            "stopped" => {
                kill(child.pid);
                Phase::Stopped {
                    generation: 1,
                    next: Some(2),
                }
            }
            _ => {
                kill(child.pid);
                Phase::Starting { generation: 2 }
            }
        };
        world.leave("web", phase);
        let supervisor = world.open(vec![unit("web", WORKER)]).await;
        // The inquiry waits until it is finished.
        let effect = supervisor.inquire(ActionId(5), &"web".into(), 2).await;
        assert_eq!(effect, Effect::Done, "{point}");
        let child = status(&supervisor, "web");
        assert_eq!((child.phase, child.generation), ("running", 2), "{point}");
        let living = world.processes("web");
        assert!(
            living.iter().all(|(_, generation)| *generation == 2),
            "{point}: {living:?}"
        );
        // Later actions were never begun, earlier ones are no longer known.
        assert_eq!(
            supervisor.inquire(ActionId(6), &"web".into(), 3).await,
            Effect::NotDone
        );
        assert_eq!(
            supervisor.inquire(ActionId(4), &"web".into(), 2).await,
            Effect::Unknown
        );
        supervisor.stop_all().await;
    }
}

#[tokio::test]
async fn a_child_that_was_spawned_and_not_recorded_is_found() {
    let stages = [
        Phase::Starting { generation: 2 },
        Phase::Stopped {
            generation: 1,
            next: Some(2),
        },
        Phase::Stopping {
            generation: 1,
            child: Some(old_child()),
            next: Some(2),
        },
    ];
    for phase in stages {
        let world = World::new();
        world.leave("web", phase.clone());
        let mut unrecorded = Command::new("/bin/sh")
            .args(["-c", WORKER])
            .env(STATE_VARIABLE, world.state_id().expect("has one"))
            .env(UNIT_VARIABLE, "web")
            .env(GENERATION_VARIABLE, "2")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("spawns");
        // Linux lets a parent go on before its child's environment is in place.
        wait_until("it can be found", || !world.processes("web").is_empty()).await;
        let supervisor = world.open(vec![unit("web", WORKER)]).await;
        let child = status(&supervisor, "web");
        assert_eq!(child.pid, i32::try_from(unrecorded.id()).ok(), "{phase:?}");
        assert_eq!((child.phase, child.generation), ("running", 2));
        assert!(matches!(
            world.row("web").phase,
            Phase::Running { generation: 2, .. }
        ));
        let effect = supervisor.inquire(ActionId(5), &"web".into(), 2).await;
        assert_eq!(effect, Effect::Done);
        supervisor.stop_all().await;
        assert!(world.processes("web").is_empty());
        // Already waited for by the supervisor, whose child it happens to be too.
        assert!(unrecorded.try_wait().is_err(), "{phase:?}");
    }
}

#[tokio::test]
async fn a_unit_that_is_no_longer_configured_is_watched_and_can_be_stopped() {
    let world = World::new();
    let supervisor = world
        .open(vec![unit("old", WORKER), unit("kept", WORKER)])
        .await;
    start_all(&supervisor).await;
    supervisor.close().await;

    let supervisor = world.open(vec![unit("kept", WORKER)]).await;
    let old = status(&supervisor, "old");
    assert_eq!((old.phase, old.configured), ("running", false));
    let error = supervisor
        .restart(permit(1, "old", 2))
        .await
        .expect_err("refused");
    assert!(matches!(error, ExecuteError::Refused { .. }), "{error}");
    supervisor.stop_all().await;
    assert!(world.processes("old").is_empty());
    supervisor.close().await;
    let supervisor = world.open(vec![unit("kept", WORKER)]).await;
    assert!(
        supervisor
            .children()
            .iter()
            .all(|child| child.unit.as_str() == "kept")
    );
}

#[tokio::test]
async fn stop_all_does_not_wait_for_readiness() {
    let world = World::new();
    let flag = world.path().join("never");
    let mut endless = ready_when(unit("endless", WORKER), &flag);
    endless.start_deadline = Duration::from_secs(3600);
    let supervisor = world.open(vec![endless]).await;
    let (started, stopped) = tokio::join!(supervisor.start_missing(), async {
        wait_until("it is spawned", || {
            status(&supervisor, "endless").phase == "running"
        })
        .await;
        tokio::time::timeout(PATIENCE, supervisor.stop_all()).await
    });
    assert!(started[0].1.is_err());
    assert!(stopped.expect("in time")[0].1.is_ok());
    assert!(world.processes("endless").is_empty());
}

#[tokio::test]
async fn a_table_that_takes_no_writes_refuses_before_anything_is_done() {
    let world = World::new();
    let supervisor = world.open(vec![unit("web", WORKER)]).await;
    start_all(&supervisor).await;
    supervisor.close().await;
    let supervisor = world
        .open(vec![unit("web", WORKER), unit("fresh", WORKER)])
        .await;
    let pid = status(&supervisor, "web").pid;
    supervisor.shared.table.refuse_writes().expect("refuses");
    let error = supervisor
        .restart(permit(1, "web", 2))
        .await
        .expect_err("refused");
    assert!(
        matches!(&error, ExecuteError::Refused { reason, .. } if reason.contains("table of children")),
        "{error}"
    );
    let child = status(&supervisor, "web");
    assert_eq!(
        (child.pid, child.phase, child.generation),
        (pid, "running", 1)
    );
    let results = supervisor.start_missing().await;
    assert!(
        results
            .iter()
            .any(|(unit, result)| unit.as_str() == "fresh" && result.is_err())
    );
    assert_eq!(status(&supervisor, "fresh").phase, "never");
    // An explicit order to end is carried out all the same.
    supervisor.stop_all().await;
    assert!(world.processes("web").is_empty());
}

/// Not a test by itself: the engine that `an_engine_that_is_killed_…` kills. It restarts its unit
/// for ever.
#[tokio::test]
async fn engine_for_the_test_that_kills_it() {
    let Some(directory) = std::env::var_os("REKINDLE_TEST_ENGINE").map(PathBuf::from) else {
        return;
    };
    let units = vec![unit("web", WORKER)];
    let supervisor = Supervisor::open(&directory, units, Probes::new())
        .await
        .expect("opens");
    drop(supervisor.start_missing().await);
    for action in 1.. {
        let generation = status(&supervisor, "web").generation + 1;
        supervisor
            .restart(permit(action, "web", generation))
            .await
            .expect("restarted");
    }
}

#[tokio::test]
async fn an_engine_that_is_killed_at_any_moment_leaves_one_child_that_is_found() {
    let world = World::new();
    let mut moments = rand::rngs::StdRng::seed_from_u64(7);
    let mut last_generation = 0;
    for round in 0..8 {
        let mut engine = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "process::tests::engine_for_the_test_that_kills_it",
                "--nocapture",
            ])
            .env("REKINDLE_TEST_ENGINE", world.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawns");
        // Not before it has taken over and done something.
        wait_until("the engine works", || {
            world.path().join("logs/web.log").exists()
                && world
                    .table()
                    .and_then(|table| table.rows())
                    .is_ok_and(|rows| {
                        rows.iter()
                            .any(|(_, row)| row.phase.highest_generation() > last_generation)
                    })
        })
        .await;
        tokio::time::sleep(Duration::from_micros(moments.random_range(0..200_000))).await;
        engine.kill().expect("killed");
        engine.wait().expect("dead");

        let supervisor = world.open(vec![unit("web", WORKER)]).await;
        wait_until("what was interrupted is finished", || {
            status(&supervisor, "web").phase == "running"
        })
        .await;
        let child = status(&supervisor, "web");
        assert!(child.generation >= last_generation, "round {round}");
        last_generation = child.generation;
        // One group of the newest life, and nothing of any other.
        let living = world.processes("web");
        assert!(
            living.iter().any(|(pid, _)| Some(*pid) == child.pid)
                && living
                    .iter()
                    .all(|(_, generation)| *generation == last_generation),
            "round {round}: {living:?}, {child:?}"
        );
        let groups: std::collections::BTreeSet<i32> = living
            .iter()
            .filter_map(|(pid, _)| procfs::stat(*pid).map(|stat| stat.group))
            .collect();
        assert_eq!(groups.len(), 1, "round {round}: {living:?}");
        supervisor.close().await;
    }
    let supervisor = world.open(vec![unit("web", WORKER)]).await;
    supervisor.stop_all().await;
    assert!(world.processes("web").is_empty());
}

#[tokio::test]
async fn a_port_that_another_holds_keeps_a_life_from_starting() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut web = unit("web", WORKER);
    web.process.stop = crate::Stop::Kill;
    web.process.ports = vec![address.port()];
    // Whoever listens there would be taken for it.
    web.ready = Some(ProbeSpec::Tcp {
        address: address.to_string(),
        timeout: PATIENCE,
    });
    let is_said = |reason: &str| {
        let us = format!("process {} (", std::process::id());
        assert!(reason.starts_with(&us), "{reason}");
        let port = format!("listens on its port {}", address.port());
        assert!(reason.ends_with(&port), "{reason}");
    };
    // Each engine finds it held, whatever the last one knew.
    for _ in 0..2 {
        let supervisor = world.open(vec![web.clone()]).await;
        let mut events = supervisor.events().expect("not taken yet");
        supervisor.start_missing().await;
        let mut heard = 0;
        while let Ok(event) = events.try_recv() {
            let ChildEvent::Blocked { reason, .. } = event else {
                panic!("{event:?}");
            };
            is_said(&reason);
            heard += 1;
        }
        assert!(heard > 0);
        assert_eq!(status(&supervisor, "web").phase, "stopped");
        assert!(world.processes("web").is_empty());
        supervisor.close().await;
    }
    web.ready = None;
    let supervisor = world.open(vec![web]).await;
    supervisor.start_missing().await;
    let error = supervisor.restart(permit(1, "web", 2)).await;
    let Err(ExecuteError::NotReady { reason, .. }) = &error else {
        panic!("{error:?}");
    };
    is_said(reason);
    // Ended by somebody else's port, it would be down for good.
    drop(listener);
    wait_until("it is started after all", || {
        let child = status(&supervisor, "web");
        child.phase == "running" && child.generation == 2
    })
    .await;
    supervisor.restart(permit(2, "web", 3)).await.expect("free");
    let lives = world.processes("web");
    assert!(!lives.is_empty() && lives.iter().all(|(_, generation)| *generation == 3));
}
