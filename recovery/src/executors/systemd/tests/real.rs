//! Against a real systemd in a container: `REKINDLE_TEST_SYSTEMD_BUS` is the address of its bus.
//! `tests/e2e/systemd` starts it, with the services that are named here.

use super::*;
use crate::executor::Effect;

const DEADLINE: Duration = Duration::from_secs(20);

fn bus() -> String {
    std::env::var("REKINDLE_TEST_SYSTEMD_BUS").unwrap_or_else(|_| {
        panic!("REKINDLE_TEST_SYSTEMD_BUS is not set: run tests/e2e/systemd, which sets it")
    })
}

async fn seen(service: &str) -> Seen {
    let systemd = Systemd::new(SystemdSpec {
        service: service.to_owned(),
        bus: bus(),
        stop: None,
    });
    systemd.see().await.expect("systemd answers")
}

#[tokio::test]
async fn a_service_is_restarted_and_can_be_asked_about() {
    for service in ["well.service", "stubborn.service"] {
        let old = seen(service).await;
        assert_eq!(old.active, "active", "{old:?}");
        let state = tempfile::tempdir().expect("a directory");
        let executor = executor(service, &bus(), state.path());
        let executed = executor.restart(permit(DEADLINE)).await.expect("restarted");
        println!("{service}: {}", executed.note);
        let new = seen(service).await;
        assert_eq!(new.active, "active", "{new:?}");
        assert_ne!(old.invocation, new.invocation);
        let unit = "web".into();
        assert_eq!(executor.inquire(ActionId(5), &unit, 2).await, Effect::Done);
        assert_eq!(
            executor.inquire(ActionId(6), &unit, 3).await,
            Effect::NotDone
        );
    }
}

/// The number is in the new process's environment, as its unit's file spells it out, and in what recovery is told of it.
#[tokio::test]
async fn a_service_can_say_which_life_it_is() {
    let state = tempfile::tempdir().expect("a directory");
    let executor = executor("told.service", &bus(), state.path());
    for generation in [2, 3] {
        let permit = Permit::new(ActionId(generation), "web".into(), generation, DEADLINE);
        let executed = executor.restart(permit).await.expect("restarted");
        assert_eq!(executed.began.process, Some(generation));
    }
    let kept = std::env::var("REKINDLE_TEST_SYSTEMD_KEPT").expect("a folder");
    let kept = std::fs::read_to_string(format!("{kept}/told")).expect("what it wrote");
    let resource = |number: &str| format!("service.name=told,rekindle.generation={number}\n");
    let lives = ["", "2", "3"].map(resource);
    assert_eq!(kept, lives.concat());
}

/// Instances of one template come, fail, and go when they are stopped in order.
#[tokio::test]
async fn services_are_listed_by_their_names() {
    let all = Systemd::new(SystemdSpec {
        service: "replica@*.service".to_owned(),
        bus: bus(),
        stop: None,
    });
    let found = async || {
        let listed = all.list().await.expect("systemd answers");
        let mut found: Vec<_> = listed.into_iter().map(|it| (it.name, it.is_up)).collect();
        found.sort();
        found
    };
    let one = |number: u8, is_up| (format!("replica@{number}.service"), is_up);
    assert_eq!(found().await, [one(1, true), one(2, true), one(3, false)]);
    let state = tempfile::tempdir().expect("a directory");
    let executor = executor("replica@1.service", &bus(), state.path());
    executor.restart(permit(DEADLINE)).await.expect("restarted");
    assert_eq!(found().await, [one(1, true), one(2, true), one(3, false)]);
    let connection = all.connect().await.expect("a bus");
    let stop = ("replica@2.service", "replace");
    all.call::<OwnedObjectPath>(&connection, MANAGER_PATH, MANAGER, "StopUnit", &stop)
        .await
        .expect("it is told");
    let limit = Instant::now() + DEADLINE;
    while found().await != [one(1, true), one(3, false)] {
        assert!(Instant::now() < limit, "{:?}", found().await);
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn what_cannot_be_restarted_says_why() {
    for (service, deadline, expected) in [
        (
            "once.service",
            2,
            "web did not become ready within 2s: once.service is failed (exit-code)",
        ),
        (
            "nowhere.service",
            20,
            "restart of web was refused: systemd has no unit nowhere.service",
        ),
        (
            "masked.service",
            20,
            "restart of web was refused: systemd says that masked.service is masked",
        ),
        (
            "refused.service",
            20,
            "restart of web was refused: systemd says Operation refused, unit refused.service may be \
             requested by dependency only",
        ),
    ] {
        let state = tempfile::tempdir().expect("a directory");
        let executor = executor(service, &bus(), state.path());
        let error = executor
            .restart(permit(Duration::from_secs(deadline)))
            .await
            .expect_err(service);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

/// Who would take forty seconds to end is killed at once or after a grace, whatever else its unit says; `Restart=`
/// gets in nobody's way.
#[tokio::test]
async fn a_unit_is_killed_at_once_or_given_less_time_than_it_says() {
    for (service, stop, ended) in [
        ("crash.service", Stop::Kill, "killed"),
        ("hasty.service", Stop::Kill, "killed, by turns"),
        (
            "grace.service",
            Stop::Term(Duration::from_secs(1)),
            "told, killed",
        ),
        (
            "brief.service",
            Stop::Term(Duration::from_secs(30)),
            "told, ended",
        ),
    ] {
        let old = seen(service).await;
        assert_eq!(old.active, "active", "{old:?}");
        let state = tempfile::tempdir().expect("a directory");
        let executor = stopping(service, &bus(), state.path(), Some(stop));
        let executed = executor.restart(permit(DEADLINE)).await.expect("restarted");
        println!("{service}: {}", executed.note);
        let new = seen(service).await;
        assert_eq!(new.active, "active", "{new:?}");
        let kept = std::env::var("REKINDLE_TEST_SYSTEMD_KEPT").expect("a folder");
        let kept = std::fs::read_to_string(format!("{kept}/{service}")).expect("what it wrote");
        // Of each life: that it began, that it was told to end, that it ended in order.
        let expected = match ended {
            "killed" => "began\nbegan\n",
            "told, killed" => "began\ntold\nbegan\n",
            "told, ended" => "began\ntold\nended\nbegan\n",
            // systemd may start one of its own before it has heard of the job, and tells that one to end.
            _ => {
                assert!(!kept.contains("ended"), "{service}: {kept}");
                continue;
            }
        };
        assert_eq!(kept, expected, "{service}");
    }
}

/// Whom systemd wouldn't start again isn't killed first.
#[tokio::test]
async fn one_that_takes_no_orders_is_not_killed() {
    let old = seen("unwilling.service").await;
    assert_eq!(old.active, "active");
    let state = tempfile::tempdir().expect("a directory");
    let executor = stopping("unwilling.service", &bus(), state.path(), Some(Stop::Kill));
    let refused = executor
        .restart(permit(DEADLINE))
        .await
        .expect_err("refused");
    assert!(
        refused.to_string().contains("Operation refused"),
        "{refused}"
    );
    assert_eq!(seen("unwilling.service").await, old);
}

#[tokio::test]
async fn one_that_had_failed_is_started() {
    assert_eq!(seen("ended.service").await.active, "failed");
    let state = tempfile::tempdir().expect("a directory");
    let executor = executor("ended.service", &bus(), state.path());
    executor.restart(permit(DEADLINE)).await.expect("started");
    assert_eq!(seen("ended.service").await.active, "active");
}

/// The engine dies while the service takes its time to stop; the job is systemd's to finish.
#[tokio::test]
async fn an_order_that_was_given_before_a_crash_is_found_done() {
    let service = "slow.service";
    let state = tempfile::tempdir().expect("a directory");
    let executor = executor(service, &bus(), state.path());
    let is_stopping = async {
        while seen(service).await.active != "deactivating" {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        ended = executor.restart(permit(DEADLINE)) => panic!("it stops slowly: {ended:?}"),
        () = is_stopping => {}
    }
    let effect = executor.inquire(ActionId(5), &"web".into(), 2).await;
    assert_eq!(effect, Effect::Done);
}
