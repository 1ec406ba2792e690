//! The engine is killed at every named place of a recovery, once, and started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::world::World;
use crate::Policy;
use crate::crash::{CrashHook, CrashPoint};
use crate::judge::Verdict;
use crate::ledger::{Outcome, audit};
use crate::service::{Command, Recovery, RecoveryStatus, Reply};

/// By then a recovery that nothing kills is over.
const ENDED: Duration = Duration::from_secs(60);

fn policy() -> Policy {
    Policy {
        judge_deadline: Duration::from_secs(10),
        ..Policy::default()
    }
}

/// Panics when the place is passed for this time, from 1, and at every later one: a dead engine does nothing more,
/// whatever its other tasks were about.
fn at(point: CrashPoint, time: u32) -> CrashHook {
    let passes = AtomicU32::new(0);
    let is_dead = AtomicBool::new(false);
    Arc::new(move |passed| {
        let is_it = passed == point && passes.fetch_add(1, Ordering::SeqCst) + 1 == time;
        if is_it || is_dead.load(Ordering::SeqCst) {
            is_dead.store(true, Ordering::SeqCst);
            panic!("killed at {point}, passed {time} times");
        }
    })
}

/// Kills the engine at the place, lets the fault go on for a while, and starts it again.
async fn killed_at(point: CrashPoint, can_tell: bool, cured_by: &str) -> World {
    killed_when(point, 1, can_tell, cured_by, &[("shop.cart", 0.9)]).await
}

/// The same when the place is passed for this time.
async fn killed_when(
    point: CrashPoint,
    time: u32,
    can_tell: bool,
    cured_by: &str,
    suspects: &'static [(&'static str, f64)],
) -> World {
    let world = try_kill(point, time, can_tell, cured_by, suspects).await;
    world.unwrap_or_else(|| panic!("{point}: the engine was not killed"))
}

/// The same; `None` where the place isn't passed so often.
async fn try_kill(
    point: CrashPoint,
    time: u32,
    can_tell: bool,
    cured_by: &str,
    suspects: &'static [(&'static str, f64)],
) -> Option<World> {
    let world = World::new();
    world.with(|state| state.can_tell = can_tell);
    let (recovery, _shadows, task) = world.service(policy(), Some(at(point, time)));
    world.break_down(cured_by, 1.0);
    sleep(Duration::from_secs(1)).await;
    let told = world.tell(&recovery, 1, suspects);
    let ended = tokio::time::timeout(ENDED, task).await.ok()?;
    assert!(ended.is_err_and(|error| error.is_panic()), "{point}");
    drop(told.await);
    let problems = audit(world.path().join("ledger.db")).expect("a ledger");
    assert_eq!(problems, Vec::<String>::new(), "{point}");
    sleep(Duration::from_secs(3)).await;

    // Incidents are numbered anew.
    let (recovery, _shadows, task) = world.service(policy(), None);
    let _told = world.tell(&recovery, 2, suspects);
    sleep(Duration::from_secs(120)).await;
    let Ok(Reply::History(history)) = recovery.command(Command::History { limit: 100 }).await
    else {
        panic!("there is a history");
    };
    for action in &history {
        assert!(
            action.verdict.is_some() && action.outcome.is_some(),
            "{point}: {action:?}"
        );
    }
    let status = recovery.status().borrow().clone();
    assert!(
        status.recoveries.is_empty(),
        "{point}: {:?}",
        status.recoveries
    );
    // Every call was intended, and every intent is charged but for what was refused.
    let spent = status.budgets[0].spent;
    let charged = history
        .iter()
        .filter(|action| !matches!(action.outcome, Some(Outcome::Refused { .. })))
        .count();
    assert!((spent - charged as f64).abs() < 0.5, "{point}: {spent}");
    let calls = world.with(|state| state.calls.clone());
    for (action, _, _) in &calls {
        assert!(
            history.iter().any(|known| known.action == *action),
            "{point}"
        );
    }
    drop(recovery);
    task.abort();
    drop(task.await);
    assert_eq!(
        world.with(|state| state.crimes.clone()),
        Vec::<String>::new(),
        "{point}"
    );
    let problems = audit(world.path().join("ledger.db")).expect("a ledger");
    assert_eq!(problems, Vec::<String>::new(), "{point}");
    Some(world)
}

#[tokio::test(start_paused = true)]
async fn where_executors_can_tell_it_is_done_once_and_cured() {
    for point in CrashPoint::ALL {
        let world = killed_at(point, true, "shop.cart").await;
        assert_eq!(world.calls(), ["shop.cart"], "{point}");
        assert!(world.failing_share() <= 0.0, "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_they_cannot_tell_a_person_is_called_and_nothing_is_repeated() {
    let in_between = CrashPoint::AfterIntent..=CrashPoint::BeforeResult;
    for point in CrashPoint::ALL {
        let world = killed_at(point, false, "shop.cart").await;
        let unknown = in_between.contains(&point);
        let was_done = !(CrashPoint::AfterIntent..CrashPoint::BeforeKept).contains(&point);
        assert_eq!(world.calls().len(), usize::from(was_done), "{point}");
        let notices = world.with(|state| state.notices.clone());
        assert_eq!(notices.len(), usize::from(unknown), "{point}: {notices:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_tried_before_the_kill_is_not_tried_again_after_it() {
    for point in [
        CrashPoint::AfterResult,
        CrashPoint::BeforeVerdict,
        CrashPoint::AfterVerdict,
    ] {
        let world = killed_at(point, true, "shop").await;
        assert_eq!(world.calls(), ["shop.cart", "shop"], "{point}");
        let memory = world.failing_share();
        assert!(memory <= 0.0, "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_parts_each_is_done_in_its_turn_wherever_the_engine_is_killed() {
    // `desk` is restarted by restarting what is below it, one after the other.
    for point in CrashPoint::ALL {
        let is_of_each_part = !matches!(
            point,
            CrashPoint::BeforeIntent
                | CrashPoint::AfterIntent
                | CrashPoint::BeforeVerdict
                | CrashPoint::AfterVerdict
        );
        for time in 1..=1 + u32::from(is_of_each_part) {
            let world = killed_when(point, time, true, "desk.b", &[("desk", 0.9)]).await;
            assert!(world.failing_share() <= 0.0, "{point} {time}");
            // What was half done when the engine ended is not judged, and done anew.
            let is_before = (CrashPoint::BeforeEffect..CrashPoint::BeforeKept).contains(&point);
            let is_first_done = time == if is_before { 2 } else { 1 };
            let expected: &[&str] = match is_of_each_part && is_first_done {
                true => &["desk.a", "desk.a", "desk.b"],
                false => &["desk.a", "desk.b"],
            };
            assert_eq!(world.calls(), expected, "{point} {time}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_ledger_was_about_to_do_or_had_done_it_is_done_once_and_cured() {
    for point in CrashPoint::OF_LEDGER {
        let mut time = 1;
        while let Some(world) = try_kill(point, time, true, "shop", &[("shop.cart", 0.9)]).await {
            assert!(world.failing_share() <= 0.0, "{point} {time}");
            assert_eq!(world.calls(), ["shop.cart", "shop"], "{point} {time}");
            time += 1;
        }
        // Intents, results, verdicts and ends of two restarts, at least.
        assert!(time > 8, "{point} is passed {time} times only");
    }
}

/// A person pauses, approves what waits, and resumes, and the engine dies anywhere in that.
#[tokio::test(start_paused = true)]
async fn a_pause_that_was_answered_outlives_the_engine_and_what_is_approved_is_done_once() {
    for point in CrashPoint::OF_LEDGER {
        let mut was_killed = true;
        let mut time = 0;
        while was_killed {
            time += 1;
            let world = World::new();
            let (recovery, _shadows, task) = world.service(policy(), Some(at(point, time)));
            let pause = |minutes: u64| Command::Pause {
                by: "ann".to_owned(),
                reason: "to look".to_owned(),
                duration: Some(Duration::from_secs(60 * minutes)),
            };
            let is_paused = recovery.command(pause(10)).await.is_ok();
            world.break_down("mail", 1.0);
            let told = world.tell(&recovery, 1, &[("mail", 0.9)]);
            sleep(Duration::from_secs(3)).await;
            approve(&recovery).await;
            sleep(Duration::from_secs(20)).await;
            was_killed = task.is_finished();
            task.abort();
            drop(task.await);
            drop(told.await);
            let (recovery, _shadows, task) = world.service(policy(), None);
            let status = recovery.status().borrow().clone();
            assert!(!is_paused || status.paused.is_some(), "{point} {time}");
            let _told = world.tell(&recovery, 1, &[("mail", 0.9)]);
            sleep(Duration::from_secs(20)).await;
            // What was approved and not begun waits again; what was begun isn't begun twice.
            approve(&recovery).await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(world.calls(), ["mail"], "{point} {time}");
            assert!(world.failing_share() <= 0.0, "{point} {time}");
            task.abort();
            drop(task.await);
            let crimes = world.with(|state| state.crimes.clone());
            assert_eq!(crimes, Vec::<String>::new(), "{point} {time}");
            let problems = audit(world.path().join("ledger.db")).expect("a ledger");
            assert_eq!(problems, Vec::<String>::new(), "{point} {time}");
        }
        assert!(time > 5, "{point} is passed {time} times only");
    }
}

/// Approves what waits, if anything does and anybody is there.
async fn approve(recovery: &Recovery) {
    let proposal = recovery.status().borrow().proposals.first().cloned();
    if let Some(proposal) = proposal {
        let approve = Command::Approve {
            plan: proposal.plan,
            by: "ann".to_owned(),
        };
        drop(recovery.command(approve).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_while_people_decide_loses_nothing_but_the_number() {
    let world = World::new();
    let (recovery, _shadows, task) = world.service(policy(), None);
    world.break_down("mail", 1.0);
    let told = world.tell(&recovery, 1, &[("mail", 0.9)]);
    sleep(Duration::from_secs(3)).await;
    let first = recovery.status().borrow().proposals[0].plan;
    task.abort();
    drop(task.await);
    drop(told.await);
    let (recovery, _shadows, task) = world.service(policy(), None);
    let _told = world.tell(&recovery, 2, &[("mail", 0.9)]);
    sleep(Duration::from_secs(3)).await;
    let second = recovery.status().borrow().proposals[0].clone();
    assert!(second.plan > first);
    assert_eq!(second.recovery.0, 1, "the same recovery");
    let approve = Command::Approve {
        plan: second.plan,
        by: "ann".to_owned(),
    };
    recovery.command(approve).await.expect("done");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        recovery.status().borrow().recent[0].verdict,
        Some(Verdict::Cured)
    );
    task.abort();
}

/// Two incidents of one kind in one unit: the one that a person left doesn't take up the other's recovery.
#[tokio::test(start_paused = true)]
async fn what_a_person_left_stays_so_beside_another_that_is_like_it() {
    let world = World::new();
    let (recovery, _shadows, task) = world.service(policy(), None);
    world.break_down("mail", 1.0);
    let told = world.tell(&recovery, 1, &[("mail", 0.9)]);
    sleep(Duration::from_secs(3)).await;
    let reject = Command::Reject {
        plan: recovery.status().borrow().proposals[0].plan,
        by: "ann".to_owned(),
        reason: "leave it".to_owned(),
    };
    assert_eq!(recovery.command(reject).await, Ok(Reply::Rejected));
    let other = world.tell(&recovery, 2, &[("mail", 0.9)]);
    sleep(Duration::from_secs(3)).await;
    task.abort();
    for ended in [task, told, other] {
        drop(ended.await);
    }

    let (recovery, _shadows, task) = world.service(policy(), None);
    let _told = world.tell(&recovery, 1, &[("mail", 0.9)]);
    sleep(Duration::from_secs(10)).await;
    let of_first = |status: &RecoveryStatus| {
        let mut recoveries = status.recoveries.iter();
        recoveries.any(|it| it.incident == Some(1))
    };
    assert!(!of_first(&recovery.status().borrow()), "it was left");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_cured_before_a_restart_of_the_engine_is_not_restarted_while_it_drains() {
    let world = World::new();
    let (recovery, _shadows, task) = world.service(policy(), None);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let began = world.evidence(1, &[("shop.cart", 0.9)]).since;
    drop(world.tell(&recovery, 1, &[("shop.cart", 0.9)]));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.calls(), ["shop.cart"]);
    task.abort();
    drop(task.await);

    // The journal's replay opens the same incident under a new number, and it closes slowly.
    let (recovery, mut shadows, task) = world.service(policy(), None);
    for turn in 0..240 {
        let mut evidence = world.evidence(1001, &[("shop.cart", 0.9)]);
        evidence.since = began;
        evidence.failing_per_second = 2.0;
        recovery.evidence(evidence).await.expect("taken");
        sleep(Duration::from_millis(250)).await;
        assert_eq!(world.calls(), ["shop.cart"], "{turn}");
    }
    let shadow = shadows.try_recv().expect("the old restart's shadow");
    assert_eq!(shadow.unit.as_str(), "shop.cart");
    assert!(shadow.until.is_some());
    assert_eq!(shadow.began.part, Some(2), "also after the engine ended");

    // The same fault again is another matter.
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&recovery, 1001, &[("shop.cart", 0.9)]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.calls(), ["shop.cart", "shop.cart"]);
    task.abort();
}
