//! Stories of what is held off for something that may pass: a storm that nobody is curing, a spent budget.

use std::time::Duration;

use tokio::time::sleep;

use super::story::{Story, plot, policy, state_of, states};
use super::world::World;
use crate::Policy;
use crate::guard::Guard;
use crate::lifecycle::State;
use crate::plan::PlanId;
use crate::ports::NoticeKind;
use crate::service::{Command, CommandError, RecoveryId, Reply, UnitState};

/// They are told one after the other, within a moment; whichever comes first, none is restarted, and a person has all.
#[tokio::test(start_paused = true)]
async fn many_at_once_are_a_storm() {
    for between in [0, 5, 40] {
        let world = World::new();
        let mut story = Story::new(&world);
        world.break_down("nobody", 1.0);
        sleep(Duration::from_secs(1)).await;
        let all: [&[(&str, f64)]; 3] =
            [&[("shop.cart", 0.9)], &[("bank", 0.9)], &[("desk.a", 0.9)]];
        let mut told = Vec::new();
        for (incident, suspects) in (1..).zip(all) {
            told.push(world.tell(&story.recovery, incident, suspects));
            sleep(Duration::from_millis(between)).await;
        }
        story.go(20).await;
        assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
        let notices = world.with(|state| state.notices.clone());
        let mut held_off: Vec<&str> = notices
            .iter()
            .filter(|it| it.kind == NoticeKind::HeldOff && it.text.contains("3 parts"))
            .filter_map(|it| Some(it.unit.as_ref()?.as_str()))
            .collect();
        held_off.sort_unstable();
        assert_eq!(held_off, ["bank", "desk", "shop.cart"], "{notices:?}");
        assert_eq!(states(&story), [State::HeldOff; 3], "{between} ms");
        story.end().await;
    }
}

/// A shared database was down, and one who lost his connections to it doesn't come back by himself.
#[tokio::test(start_paused = true)]
async fn what_a_storm_leaves_behind_is_cured() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    let all: [&[(&str, f64)]; 3] = [&[("shop.cart", 0.9)], &[("bank", 0.9)], &[("desk.a", 0.9)]];
    for second in 0..30 {
        for (incident, suspects) in (1..).zip(all) {
            let mut evidence = world.evidence(incident, suspects);
            // From the 20th second on the database answers again, and only the cart goes on failing.
            evidence.closed = second >= 20 && incident > 1;
            story.recovery.evidence(evidence).await.expect("taken");
        }
        story.go(1).await;
        let is_over = world.failing_share() <= 0.0;
        // It is asked again after a tenth of the time that it was held off.
        assert!(second > 20 || !is_over, "{second}: {}", story.text);
        assert!(second < 24 || is_over, "{second}: {}", story.text);
    }
    let notices = world.with(|state| state.notices.clone());
    let held_off = notices
        .iter()
        .filter(|it| it.kind == NoticeKind::HeldOff)
        .filter(|it| {
            it.text
                .ends_with("it is taken up again once that has passed")
        });
    assert_eq!(held_off.count(), 3, "{notices:?}");
    let (_, text) = story.end().await;
    assert_eq!(
        plot(&text),
        [
            "[held off  Storm] [held off  Storm] [held off  Storm Untold]",
            "[held off  Storm] [held off  Storm] [held off  Storm]",
            "[held off  Storm]",
            "[acting shop.cart]",
            "[settling shop.cart]",
            "[judging shop.cart]",
            "shop.cart cured",
        ]
    );
}

/// Telemetry stops for a while, as it does where what is shared is down: who isn't told of isn't well.
#[tokio::test(start_paused = true)]
async fn a_storm_that_is_not_told_of_for_a_while_is_the_same_storm() {
    let world = World::new();
    let mut story = Story::new(&world);
    let all: [&[(&str, f64)]; 3] = [&[("shop.cart", 0.9)], &[("bank", 0.9)], &[("desk.a", 0.9)]];
    for unit in ["shop.cart", "bank", "desk.a"] {
        world.break_down(unit, 1.0);
    }
    for second in 0..120 {
        for (incident, suspects) in (1..).zip(all) {
            // After the silence they are told of again one after the other.
            let again = 100 + incident * 5;
            if second < 10 || second >= again {
                let evidence = world.evidence(incident, suspects);
                story.recovery.evidence(evidence).await.expect("taken");
            }
        }
        story.go(1).await;
    }
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    assert_eq!(states(&story), [State::HeldOff; 3], "{}", story.text);
    story.end().await;
}

fn one_restart() -> Policy {
    Policy {
        restarts_per_unit: 1,
        budget_period: Duration::from_secs(120),
        ..policy()
    }
}

/// Two incidents, told of for so many seconds each, of a unit whose budget the first one spends.
async fn two_faults_of_the_bank(world: &World, seconds: u64) -> Story {
    let mut story = Story::with(world, one_restart());
    for incident in 1..3 {
        world.break_down("bank", 1.0);
        for _ in 0..seconds {
            let evidence = world.evidence(incident, &[("bank", 0.9)]);
            story.recovery.evidence(evidence).await.expect("taken");
            story.go(1).await;
        }
    }
    story
}

/// A person's order is a trial of the recovery that is held off, which knows of it when there is budget again.
#[tokio::test(start_paused = true)]
async fn an_order_is_of_the_recovery_that_is_held_off() {
    let world = World::new();
    let mut story = two_faults_of_the_bank(&world, 20).await;
    assert_eq!(states(&story), [State::HeldOff, State::Cured]);
    let order = Command::Restart {
        unit: "bank".into(),
        dry_run: false,
        by: "anna".to_owned(),
        reason: "now".to_owned(),
    };
    let reply = story.recovery.command(order).await;
    assert!(matches!(reply, Ok(Reply::Started { .. })), "{reply:?}");
    story.go(1).await;
    assert_eq!(states(&story).len(), 2, "{}", story.text);
    story.end().await;
}

/// The bank's budget is spent by one fault; the next waits for it, is told of once, and has its turn.
#[tokio::test(start_paused = true)]
async fn what_was_held_off_by_a_budget_is_cured_when_there_is_some_again() {
    let world = World::new();
    let mut story = two_faults_of_the_bank(&world, 50).await;
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    assert_eq!(
        states(&story),
        [State::HeldOff, State::Cured],
        "{}",
        story.text
    );
    assert_eq!(state_of("bank", &story), UnitState::HeldOff);
    for _ in 0..60 {
        let evidence = world.evidence(2, &[("bank", 0.9)]);
        story.recovery.evidence(evidence).await.expect("taken");
        story.go(1).await;
    }
    assert_eq!(world.calls(), ["bank", "bank"], "{}", story.text);
    assert_eq!(
        states(&story),
        [State::Cured, State::Cured],
        "{}",
        story.text
    );
    let notices = world.with(|state| state.notices.clone());
    let held_off = notices.iter().filter(|it| it.kind == NoticeKind::HeldOff);
    assert_eq!(held_off.count(), 1, "{notices:?}");
    story.end().await;
}

/// The recovery that is held off, and the number by which people know of it.
fn held_off(story: &Story) -> (RecoveryId, PlanId) {
    let status = story.recovery.status().borrow().clone();
    let mut recoveries = status.recoveries.iter();
    let held = recoveries.find(|recovery| recovery.state == State::HeldOff);
    let held = held.expect("one is held off");
    let plan = held.plan.as_ref().expect("there is a plan");
    (held.recovery, plan.id)
}

fn times_told(world: &World) -> usize {
    let notices = world.with(|state| state.notices.clone());
    let told = notices.iter().filter(|it| it.kind == NoticeKind::HeldOff);
    told.count()
}

/// Tells of the incidents for so many seconds.
async fn tell(world: &World, story: &mut Story, seconds: u64, incidents: &[(u64, &str)]) {
    for _ in 0..seconds {
        for (incident, unit) in incidents {
            let evidence = world.evidence(*incident, &[(unit, 0.9)]);
            story.recovery.evidence(evidence).await.expect("taken");
        }
        story.go(1).await;
    }
}

fn leave(plan: PlanId) -> Command {
    Command::Reject {
        plan,
        by: "anna".to_owned(),
        reason: "we look into it".to_owned(),
    }
}

/// A person says that what waits for a budget is to be left, and it is, also when there is some again.
#[tokio::test(start_paused = true)]
async fn what_is_held_off_may_be_left_to_people() {
    let world = World::new();
    let mut story = two_faults_of_the_bank(&world, 20).await;
    let (_, plan) = held_off(&story);
    let notices = world.with(|state| state.notices.clone());
    let told = notices.iter().find(|it| it.kind == NoticeKind::HeldOff);
    let text = &told.expect("people were told").text;
    let begins = format!("plan {plan}: bank would have been restarted, but");
    assert!(text.starts_with(&begins), "{text}");

    // The budget stands against an approval, too.
    let approve = Command::Approve {
        plan,
        by: "anna".to_owned(),
    };
    let Err(CommandError::Refused { refusals }) = story.recovery.command(approve).await else {
        panic!("there is no budget");
    };
    let spent = refusals.iter().any(|it| it.guard == Guard::UnitBudget);
    assert!(spent, "{refusals:?}");

    let reply = story.recovery.command(leave(plan)).await;
    assert_eq!(reply, Ok(Reply::Rejected));
    tell(&world, &mut story, 180, &[(2, "bank")]).await;
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    assert_eq!(states(&story), [State::Rejected, State::Cured]);
    let reply = story.recovery.command(leave(plan)).await;
    assert_eq!(reply, Err(CommandError::NoSuchPlan { plan }));
    story.end().await;
}

const STORM: [(u64, &str); 3] = [(1, "shop.cart"), (2, "bank"), (3, "desk.a")];

/// A story in which they have been told of for some seconds.
async fn storm(world: &World) -> Story {
    let mut story = Story::new(world);
    world.break_down("nobody", 1.0);
    sleep(Duration::from_secs(1)).await;
    tell(world, &mut story, 10, &STORM).await;
    story
}

/// Two that are left don't look like no storm because a person took the third one: it is as sick as before.
#[tokio::test(start_paused = true)]
async fn who_is_left_to_people_is_sick_all_the_same() {
    let world = World::new();
    let mut story = storm(&world).await;
    assert_eq!(states(&story), [State::HeldOff; 3], "{}", story.text);
    let (_, plan) = held_off(&story);
    let reply = story.recovery.command(leave(plan)).await;
    assert_eq!(reply, Ok(Reply::Rejected));
    tell(&world, &mut story, 120, &STORM).await;
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    assert_eq!(
        states(&story),
        [State::HeldOff, State::HeldOff, State::Rejected],
        "{}",
        story.text
    );
    // Its incident is over, so two are left, and two are no storm.
    let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
    evidence.closed = true;
    story.recovery.evidence(evidence).await.expect("taken");
    tell(&world, &mut story, 70, &STORM[1..]).await;
    assert_ne!(world.calls(), Vec::<String>::new(), "{}", story.text);
    story.end().await;
}

/// The next engine holds off what the last one did, for the same reason, and tells nobody again.
#[tokio::test(start_paused = true)]
async fn what_is_held_off_is_so_after_a_restart_of_the_engine() {
    let world = World::new();
    let mut story = two_faults_of_the_bank(&world, 20).await;
    let held = held_off(&story);
    // For longer than anything that isn't told of is remembered.
    tell(&world, &mut story, 20, &[(2, "bank")]).await;
    story.end().await;
    let mut story = Story::with(&world, one_restart());
    story.go(2).await;
    assert_eq!(held_off(&story), held);
    tell(&world, &mut story, 10, &[(12, "bank")]).await;
    assert_eq!(held_off(&story), held, "{}", story.text);
    assert_eq!(times_told(&world), 1);
    tell(&world, &mut story, 120, &[(12, "bank")]).await;
    assert_eq!(world.calls(), ["bank", "bank"], "{}", story.text);
    assert_eq!(times_told(&world), 1);
    story.end().await;
}

/// An engine that was away for long finds old evidence, by which nothing is decided, and by which nothing lapses before its
/// incident may have been told of again.
#[tokio::test(start_paused = true)]
async fn a_storm_outlives_the_engine() {
    let world = World::new();
    let story = storm(&world).await;
    assert_eq!(times_told(&world), 3);
    story.end().await;
    sleep(Duration::from_secs(600)).await;
    let mut story = Story::new(&world);
    story.go(30).await;
    // They are told of again one after the other, under other numbers.
    let again = [(11, "shop.cart"), (12, "bank"), (13, "desk.a")];
    for known in 1..=again.len() {
        tell(&world, &mut story, 10, &again[..known]).await;
    }
    tell(&world, &mut story, 60, &again).await;
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    assert_eq!(states(&story), [State::HeldOff; 3], "{}", story.text);
    assert_eq!(times_told(&world), 3);
    story.end().await;
}

/// Its turn has come, and yet so many are under way that there is no room for one more.
#[tokio::test(start_paused = true)]
async fn what_was_held_off_waits_for_room() {
    let world = World::new();
    let mut story = two_faults_of_the_bank(&world, 20).await;
    let others = || (1000..1000 + 199).map(|incident| world.evidence(incident, &[]));
    for evidence in others() {
        story.recovery.evidence(evidence).await.expect("taken");
    }
    let last = |closed| {
        let mut evidence = world.evidence(2000, &[]);
        evidence.closed = closed;
        evidence
    };
    story.recovery.evidence(last(false)).await.expect("taken");
    tell(&world, &mut story, 150, &[(2, "bank")]).await;
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    let order = Command::Restart {
        unit: "bank".into(),
        dry_run: false,
        by: "anna".to_owned(),
        reason: "now".to_owned(),
    };
    let reply = story.recovery.command(order).await;
    assert!(
        matches!(reply, Err(CommandError::Unavailable { .. })),
        "{reply:?}"
    );
    story.recovery.evidence(last(true)).await.expect("taken");
    tell(&world, &mut story, 70, &[(2, "bank")]).await;
    assert_eq!(world.calls(), ["bank", "bank"], "{}", story.text);
    story.end().await;
}

/// A person leaves one part of a storm, and then the engine is started anew: the other two are no fewer for it.
#[tokio::test(start_paused = true)]
async fn who_is_left_to_people_is_sick_for_the_next_engine_too() {
    let world = World::new();
    let story = storm(&world).await;
    let (_, plan) = held_off(&story);
    let reply = story.recovery.command(leave(plan)).await;
    assert_eq!(reply, Ok(Reply::Rejected));
    story.end().await;
    let mut story = Story::new(&world);
    // Who was left is told of last.
    tell(&world, &mut story, 20, &STORM[1..]).await;
    tell(&world, &mut story, 400, &STORM).await;
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    // Nobody tells of it any more, so two are left, and two are no storm.
    tell(&world, &mut story, 400, &STORM[1..]).await;
    assert_ne!(world.calls(), Vec::<String>::new(), "{}", story.text);
    story.end().await;
}

/// An engine that was away for long knows of two that were sick then. One that is sick now is no storm with them.
#[tokio::test(start_paused = true)]
async fn who_was_sick_long_ago_makes_no_storm() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("nobody", 1.0);
    sleep(Duration::from_secs(1)).await;
    // Each waits for a person, and is in the ledger as such.
    let ask = || Command::Pause {
        duration: None,
        by: "anna".to_owned(),
        reason: "deploying".to_owned(),
    };
    story.recovery.command(ask()).await.expect("paused");
    tell(&world, &mut story, 60, &STORM[..2]).await;
    assert_eq!(states(&story), [State::Proposed; 2], "{}", story.text);
    story
        .recovery
        .command(Command::Resume)
        .await
        .expect("resumed");
    story.end().await;
    sleep(Duration::from_secs(600)).await;
    world.break_down("desk.a", 1.0);
    let mut story = Story::new(&world);
    tell(&world, &mut story, 30, &[(13, "desk.a")]).await;
    assert_ne!(world.calls(), Vec::<String>::new(), "{}", story.text);
    assert_eq!(times_told(&world), 0);
    story.end().await;
}

/// The host's clock goes ahead, so that what a person left seems to have begun after that.
#[tokio::test(start_paused = true)]
async fn what_is_left_stays_left_by_whichever_clock() {
    let world = World::new();
    let story = two_faults_of_the_bank(&world, 20).await;
    let (_, plan) = held_off(&story);
    let reply = story.recovery.command(leave(plan)).await;
    assert_eq!(reply, Ok(Reply::Rejected));
    story.end().await;
    sleep(Duration::from_secs(200)).await;
    let mut story = Story::with(&world, one_restart());
    let began = world.now() - Duration::from_secs(100);
    for _ in 0..60 {
        let mut evidence = world.evidence(2, &[("bank", 0.9)]);
        evidence.since = began;
        story.recovery.evidence(evidence).await.expect("taken");
        story.go(1).await;
    }
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    story.end().await;
}

/// One of a storm was tried too often already, and is given up: the others are no fewer for it.
#[tokio::test(start_paused = true)]
async fn who_is_given_up_in_a_storm_is_sick_all_the_same() {
    let world = World::new();
    let policy = Policy {
        recurring_cures: 1,
        ..policy()
    };
    let mut story = Story::with(&world, policy);
    world.break_down("bank", 1.0);
    tell(&world, &mut story, 30, &[(10, "bank")]).await;
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    world.break_down("nobody", 1.0);
    sleep(Duration::from_secs(1)).await;
    // The others are known already when it is decided about.
    let all = [(1, "shop.cart"), (2, "desk.a"), (3, "bank")];
    tell(&world, &mut story, 120, &all).await;
    let given_up = states(&story);
    assert!(given_up.contains(&State::GivenUp), "{}", story.text);
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    story.end().await;
}

/// What a person says of a plan isn't confirmed before the next engine would know of it.
#[tokio::test(start_paused = true)]
async fn a_no_that_is_not_written_is_no_reply_of_success() {
    let world = World::new();
    let story = two_faults_of_the_bank(&world, 20).await;
    let held = held_off(&story);
    story.end().await;
    let database = rusqlite::Connection::open(world.path().join("ledger.db")).expect("a ledger");
    let full = "CREATE TRIGGER full BEFORE UPDATE ON recoveries WHEN NEW.decided IS NOT NULL
        BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute_batch(full).expect("a trigger");
    drop(database);
    let mut story = Story::with(&world, one_restart());
    tell(&world, &mut story, 5, &[(2, "bank")]).await;
    assert_eq!(held_off(&story), held);
    let reply = story.recovery.command(leave(held.1)).await;
    assert!(
        matches!(reply, Err(CommandError::Ledger { .. })),
        "{reply:?}"
    );
    tell(&world, &mut story, 180, &[(2, "bank")]).await;
    assert_eq!(world.calls(), ["bank"], "{}", story.text);
    story.end().await;
}
