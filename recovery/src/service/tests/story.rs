//! Stories: what happened, as the status told it. Each line is a second and a change.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::world::{Manner, World};
use crate::belief::{COINCIDENCE, Interval, Key, Learned, Level, Seed};
use crate::executor::Veto;
use crate::judge::Verdict;
use crate::ledger::{Ledger, Store, Threading, audit};
use crate::lifecycle::State;
use crate::plan::PlanId;
use crate::ports::NoticeKind;
use crate::service::{
    Command, CommandError, Recovery, RecoveryEvents, Reply, Shadow, UnitState, assemble, prepare,
};
use crate::{Changed, Evidence, Mode, Policy, RestartTree};

pub(super) fn policy() -> Policy {
    Policy {
        judge_deadline: Duration::from_secs(10),
        ..Policy::default()
    }
}

pub(super) struct Story {
    world: World,
    pub(super) recovery: Recovery,
    shadows: RecoveryEvents,
    task: tokio::task::JoinHandle<()>,
    pub(super) text: String,
    last: String,
}

impl Story {
    pub(super) fn new(world: &World) -> Self {
        Self::with(world, policy())
    }

    pub(super) fn with(world: &World, policy: Policy) -> Self {
        let (recovery, shadows, task) = world.service(policy, None);
        Self {
            world: world.clone(),
            recovery,
            shadows,
            task,
            text: String::new(),
            last: String::new(),
        }
    }

    fn note(&mut self) {
        let status = self.recovery.status().borrow().clone();
        let mut line = String::new();
        for case in &status.recoveries {
            let unit = case.target.as_ref().map_or("", |unit| unit.as_str());
            let guards: Vec<String> = case
                .refusals
                .iter()
                .map(|refusal| format!("{:?}", refusal.guard))
                .collect();
            let _ = write!(line, " [{} {unit} {}]", case.state, guards.join(" "));
        }
        let last = status
            .recent
            .first()
            .and_then(|action| Some(format!(" {} {}", action.unit, action.verdict?)));
        line.push_str(&last.unwrap_or_default());
        let line = line.replace(" ]", "]");
        if line != self.last {
            let _ = writeln!(self.text, "{:.1}{line}", self.world.seconds());
            self.last = line;
        }
    }

    pub(super) async fn go(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            sleep(Duration::from_millis(50)).await;
            self.note();
        }
    }

    /// Ends the service, and checks what it wrote.
    pub(super) async fn end(self) -> (Vec<Shadow>, String) {
        let Self {
            world,
            recovery,
            mut shadows,
            task,
            text,
            ..
        } = self;
        drop(recovery);
        // Others that tell it of incidents have ended or hold handles of their own.
        task.abort();
        drop(task.await);
        assert_eq!(
            world.with(|state| state.crimes.clone()),
            Vec::<String>::new()
        );
        let problems = audit(world.path().join("ledger.db")).expect("a ledger");
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        let mut told = Vec::new();
        while let Ok(shadow) = shadows.try_recv() {
            told.push(shadow);
        }
        (told, text)
    }
}

/// The words of the story without the times, one line each.
pub(super) fn plot(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, what)| what)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_smallest_restart_cures_and_nothing_else_is_touched() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(10).await;
    assert_eq!(world.calls(), ["shop.cart"]);
    let status = story.recovery.status().borrow().clone();
    let action = &status.recent[0];
    assert_eq!(action.verdict, Some(Verdict::Cured));
    assert!(
        action.relief.is_some_and(|relief| relief.share > 0.9),
        "{action:?}"
    );
    assert!(
        action.failed_requests.is_some_and(|failed| failed < 10.0),
        "{action:?}"
    );
    assert_eq!(
        status
            .units
            .iter()
            .find(|unit| unit.unit == "shop.cart".into())
            .map(|unit| unit.generation),
        Some(2)
    );
    let (shadows, text) = story.end().await;
    assert_eq!(
        plot(&text),
        [
            "[watching  Untold]",
            "[acting shop.cart]",
            "[settling shop.cart]",
            "[judging shop.cart]",
            "shop.cart cured",
        ]
    );
    // It was told of after a second. A restart of 0.2 s, and the moment in which others would be told of, are included.
    let cured: f64 = text
        .lines()
        .last()
        .and_then(|line| line.split(' ').next()?.parse().ok())
        .expect("a time");
    assert!(cured < 2.3, "{text}");
    assert_eq!(shadows.len(), 3);
    assert!(shadows[0].until.is_none() && shadows[2].until.is_some());
    // Which life it is is known once it has begun, and not before.
    let lives = shadows.iter().map(|shadow| shadow.began.part);
    assert_eq!(lives.collect::<Vec<_>>(), [None, Some(2), Some(2)]);
    assert_eq!(
        shadows[2].selector.get("code").map(String::as_str),
        Some("cart")
    );
    assert_eq!(
        shadows[2].selector.get("service.name").map(String::as_str),
        Some("shop")
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_help_is_climbed_and_next_time_is_known() {
    let world = World::new();
    let mut story = Story::new(&world);
    for incident in 1..4 {
        world.break_down("shop", 1.0);
        sleep(Duration::from_secs(1)).await;
        let _told = world.tell(&story.recovery, incident, &[("shop.cart", 0.9)]);
        story.go(30).await;
        assert!(world.failing_share() <= 0.0, "{}", story.text);
    }
    let calls = world.calls();
    assert_eq!(calls[..2], ["shop.cart", "shop"], "{}", story.text);
    // What was learned outlives the engine.
    story.end().await;
    let mut story = Story::new(&world);
    let before = world.calls().len();
    world.break_down("shop", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 7, &[("shop.cart", 0.9)]);
    story.go(2).await;
    assert_eq!(world.calls()[before..], ["shop"], "{}", story.text);
    story.go(20).await;
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_suspect_then_the_right_one_then_a_person() {
    let world = World::new();
    let mut story = Story::new(&world);
    // Nothing that can be restarted cures it.
    world.break_down("nobody", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(
        &story.recovery,
        1,
        &[("shop.cart", 0.55), ("bank.pay", 0.3)],
    );
    story.go(120).await;
    let calls = world.calls();
    assert_eq!(calls[0], "shop.cart");
    assert!(
        !calls.contains(&"mail".to_owned()),
        "mode propose: {calls:?}"
    );
    let notices = world.with(|state| state.notices.clone());
    assert!(!notices.is_empty(), "{}", story.text);
    // However long it lasts, it isn't taken up again unattended.
    let before = world.calls().len();
    story.go(600).await;
    assert_eq!(world.calls().len(), before, "{}", story.text);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn partial_relief_is_no_cure() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.with(|state| state.relief = 0.5);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(15).await;
    let status = story.recovery.status().borrow().clone();
    let first = status.recent.last().expect("an action");
    assert_eq!(first.verdict, Some(Verdict::Helped), "{}", story.text);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_unknown_and_a_persons() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    sleep(Duration::from_millis(400)).await;
    world.with(|state| state.silent = true);
    // The fault goes on as far as evidence says, so the incident doesn't close under the judge.
    world.break_down("shop.cart", 1.0);
    story.go(60).await;
    assert_eq!(world.calls(), ["shop.cart"]);
    let status = story.recovery.status().borrow().clone();
    assert_eq!(status.recent[0].verdict, Some(Verdict::Unknown));
    assert!(world.with(|state| {
        state
            .notices
            .iter()
            .any(|notice| notice.text.contains("can't be told"))
    }));
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_did_not_come_are_judged_by_what_comes_again() {
    did_not_come(false).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_restart_ended_had_not_come_before_it() {
    did_not_come(true).await;
}

/// What hung when it was decided on is known to the engine that comes after, which would otherwise see only silence after a
/// restart that ended them.
#[tokio::test(start_paused = true)]
async fn what_hung_before_a_restart_is_known_to_the_next_engine() {
    let world = World::new();
    let story = Story::new(&world);
    world.with(|state| {
        state.hangs = true;
        state.fails_when_restarted = true;
    });
    world.break_down("shop", 1.0);
    sleep(Duration::from_secs(1)).await;
    let told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    while states(&story) != [State::Settling] {
        sleep(Duration::from_millis(50)).await;
    }
    let status = story.recovery.status().borrow().clone();
    assert_eq!(status.recent[0].verdict, None, "{}", story.text);
    story.end().await;
    drop(told);
    let mut story = Story::new(&world);
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(90).await;
    let status = story.recovery.status().borrow().clone();
    let first = status.recent.last().expect("it was restarted");
    let words = first.judged.clone().unwrap_or_default();
    assert_eq!(first.verdict, Some(Verdict::NotCured), "{words}");
    assert!(words.contains("of them did not come"), "{words}");
    story.end().await;
}

/// The fault makes requests hang, and the first restart doesn't help.
async fn did_not_come(fails_when_restarted: bool) {
    let world = World::new();
    let mut story = Story::new(&world);
    world.with(|state| {
        state.hangs = true;
        state.fails_when_restarted = fails_when_restarted;
    });
    world.break_down("shop", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(30).await;
    assert_eq!(world.calls(), ["shop.cart", "shop"], "{}", story.text);
    let status = story.recovery.status().borrow().clone();
    let words = |action: &crate::service::ActionView| action.judged.clone().unwrap_or_default();
    let [cured, not_cured] = &status.recent[..] else {
        panic!("{:?}", status.recent);
    };
    assert_eq!(cured.verdict, Some(Verdict::Cured), "{}", words(cured));
    assert_eq!(not_cured.verdict, Some(Verdict::NotCured));
    for action in [cured, not_cured] {
        assert!(
            words(action).contains("of them did not come"),
            "{}",
            words(action)
        );
    }
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_proposal_waits_and_is_done_when_approved() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("mail", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("mail", 0.9)]);
    story.go(3).await;
    let status = story.recovery.status().borrow().clone();
    assert_eq!(status.proposals.len(), 1, "{}", story.text);
    let plan = status.proposals[0].plan;
    assert!(
        status.proposals[0].refusals[0]
            .words
            .contains("mode propose")
    );
    assert_eq!(world.calls(), Vec::<String>::new());
    let wrong = Command::Approve {
        plan: PlanId(99),
        by: "ann".to_owned(),
    };
    assert!(matches!(
        story.recovery.command(wrong).await,
        Err(CommandError::NoSuchPlan { .. })
    ));
    let approve = Command::Approve {
        plan,
        by: "ann".to_owned(),
    };
    let reply = story.recovery.command(approve.clone()).await;
    assert!(matches!(reply, Ok(Reply::Started { .. })), "{reply:?}");
    assert!(
        story.recovery.command(approve).await.is_err(),
        "a plan is approved once"
    );
    story.go(10).await;
    assert_eq!(world.calls(), ["mail"]);
    let status = story.recovery.status().borrow().clone();
    assert_eq!(
        (status.recent[0].by.as_str(), status.recent[0].verdict),
        ("ann", Some(Verdict::Cured))
    );
    assert!(status.proposals.is_empty() && status.recoveries.is_empty());
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_restart_cured_waits_for_nobody_any_more() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("mail", 1.0);
    sleep(Duration::from_secs(1)).await;
    let (first, mut second) = (
        world.evidence(1, &[("mail", 0.9)]),
        world.evidence(2, &[("mail", 0.9)]),
    );
    story.recovery.evidence(first).await.expect("taken");
    story
        .recovery
        .evidence(second.clone())
        .await
        .expect("taken");
    story.go(1).await;
    let plans: Vec<PlanId> = {
        let status = story.recovery.status().borrow().clone();
        status.proposals.iter().map(|it| it.plan).collect()
    };
    assert_eq!(plans.len(), 2, "{}", story.text);
    let approve = |plan| Command::Approve {
        plan,
        by: "ann".to_owned(),
    };
    let reply = story.recovery.command(approve(plans[0])).await;
    assert!(matches!(reply, Ok(Reply::Started { .. })), "{reply:?}");
    // The second incident is still open, and only drains.
    for _ in 0..60 {
        second.at = world.now();
        story
            .recovery
            .evidence(second.clone())
            .await
            .expect("taken");
        sleep(Duration::from_millis(250)).await;
    }
    story.note();
    let status = story.recovery.status().borrow().clone();
    assert!(status.proposals.is_empty(), "{}", story.text);
    let reply = story.recovery.command(approve(plans[1])).await;
    assert!(
        matches!(reply, Err(CommandError::NoSuchPlan { .. })),
        "{reply:?}"
    );
    assert_eq!(world.calls(), ["mail"], "{}", story.text);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_or_forgotten_proposal() {
    let world = World::new();
    let mut story = Story::with(
        &world,
        Policy {
            approval_expiry: Duration::from_secs(20),
            ..policy()
        },
    );
    world.break_down("mail", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("mail", 0.9)]);
    story.go(5).await;
    let first = story.recovery.status().borrow().proposals[0].plan;
    story.go(20).await;
    let second = story.recovery.status().borrow().proposals[0].plan;
    assert!(second > first, "expired and made anew");
    let reject = |plan| Command::Reject {
        plan,
        by: "ann".to_owned(),
        reason: "rollout".to_owned(),
    };
    assert!(story.recovery.command(reject(first)).await.is_err());
    assert_eq!(
        story.recovery.command(reject(second)).await,
        Ok(Reply::Rejected)
    );
    story.go(60).await;
    let status = story.recovery.status().borrow().clone();
    assert!(status.recoveries.is_empty(), "{}", story.text);
    assert_eq!(
        status.finished[0].decided.as_deref(),
        Some("rejected by ann: rollout")
    );
    assert_eq!(world.calls(), Vec::<String>::new());
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_source_asks_and_a_pause_waits() {
    let world = World::new();
    let mut story = Story::new(&world);
    let pause = Command::Pause {
        by: "ada".to_owned(),
        reason: "sale".to_owned(),
        duration: Some(Duration::from_secs(30)),
    };
    assert!(matches!(
        story.recovery.command(pause).await,
        Ok(Reply::Paused { .. })
    ));
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(20).await;
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    story.go(20).await;
    assert_eq!(world.calls(), ["shop.cart"], "{}", story.text);

    world.break_down("bank.pay", 1.0);
    let mut evidence = world.evidence(2, &[("bank.pay", 0.9)]);
    evidence.suspects[0].two_sided = false;
    story.recovery.evidence(evidence).await.expect("taken");
    story.go(8).await;
    assert_eq!(
        story.recovery.status().borrow().proposals.len(),
        1,
        "{}",
        story.text
    );
    world.heal();
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_persons_order_is_done_judged_and_recorded() {
    let world = World::new();
    let mut story = Story::new(&world);
    let restart = |unit: &str, dry_run| Command::Restart {
        unit: unit.into(),
        dry_run,
        by: "ann".to_owned(),
        reason: "it smells".to_owned(),
    };
    let Ok(Reply::DryRun(dry_run)) = story.recovery.command(restart("desk", true)).await else {
        panic!("a dry run answers");
    };
    assert_eq!(dry_run.restarts, ["desk.a".into(), "desk.b".into()]);
    assert_eq!(dry_run.expected_downtime, Duration::from_millis(400));
    assert!(dry_run.refusals.is_empty() && !dry_run.unattended_refusals.is_empty());
    assert_eq!(world.calls(), Vec::<String>::new());

    assert!(story.recovery.command(restart("desk", false)).await.is_ok());
    let again = story.recovery.command(restart("site", false)).await;
    assert!(again.is_err_and(|error| error.to_string().contains("overlaps")));
    story.go(5).await;
    assert_eq!(world.calls(), ["desk.a", "desk.b"], "{}", story.text);
    let Ok(Reply::History(history)) = story.recovery.command(Command::History { limit: 9 }).await
    else {
        panic!("there is a history");
    };
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].verdict, Some(Verdict::Unknown));
    assert!(
        story
            .recovery
            .command(restart("nobody", false))
            .await
            .is_err()
    );

    // One that an open incident explains is judged by it.
    world.break_down("mail", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("mail", 0.9)]);
    story.go(2).await;
    assert!(story.recovery.command(restart("mail", false)).await.is_ok());
    story.go(10).await;
    let status = story.recovery.status().borrow().clone();
    assert_eq!(
        status.recent[0].verdict,
        Some(Verdict::Cured),
        "{}",
        story.text
    );
    let Ok(Reply::Unit(unit)) = story
        .recovery
        .command(Command::ExplainUnit("mail".into()))
        .await
    else {
        panic!("it is explained");
    };
    assert_eq!(
        (unit.mode, unit.history.len(), unit.beliefs.len()),
        (Mode::Propose, 1, 2)
    );
    assert!(unit.cost.weight > 0.9 && unit.ancestors == ["site".into()]);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn executors_that_fail() {
    for (manner, first, verdict) in [
        (Manner::Refuses, "refused: 404 Not Found", Verdict::Unknown),
        (
            Manner::NeverReady,
            "not ready: its probe says 503",
            Verdict::NotCured,
        ),
        (
            Manner::Hangs,
            "unknown: nothing was heard",
            Verdict::Unknown,
        ),
        (Manner::Panics, "unknown: the task", Verdict::Unknown),
    ] {
        let world = World::new();
        let mut story = Story::new(&world);
        world.with(|state| state.manner.insert("shop.cart".into(), manner));
        world.break_down("shop.cart", 1.0);
        sleep(Duration::from_secs(1)).await;
        let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
        story.go(60).await;
        let status = story.recovery.status().borrow().clone();
        let action = status.recent.last().expect("an action");
        assert_eq!(action.verdict, Some(verdict), "{manner:?}");
        assert!(
            action
                .outcome
                .as_ref()
                .is_some_and(|outcome| outcome.words().starts_with(first)),
            "{action:?}"
        );
        // What was done for sure, or surely not, is followed by the next level; the rest by a person.
        let climbs = matches!(manner, Manner::Refuses | Manner::NeverReady);
        let expected: &[&str] = if climbs {
            &["shop.cart", "shop"]
        } else {
            &["shop.cart"]
        };
        assert_eq!(world.calls(), expected, "{manner:?}: {}", story.text);
        // What was refused began no life, and what contains it began one for it, too.
        let cart = status
            .units
            .iter()
            .find(|unit| unit.unit == "shop.cart".into());
        let lives = match manner {
            Manner::NeverReady => 3,
            _ => 2,
        };
        assert_eq!(cart.map(|unit| unit.generation), Some(lives), "{manner:?}");
        // It was away until its deadline at least: what hardly ever comes back isn't cheap.
        let explain = Command::ExplainUnit("shop.cart".into());
        let Ok(Reply::Unit(cart)) = story.recovery.command(explain).await else {
            panic!("it is explained");
        };
        let is_measured = cart.cost.weight > 0.9;
        assert_eq!(is_measured, matches!(manner, Manner::NeverReady));
        let is_told = world.with(|state| !state.notices.is_empty());
        assert_eq!(is_told, !climbs, "{manner:?}");
        story.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_is_judged_by_whether_it_runs() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.with(|state| state.silent = true);
    world.break_down("bank", 1.0);
    let mut evidence = world.evidence(1, &[("bank", 1.0)]);
    evidence.signature.shape = "exited".to_owned();
    evidence.signature.request_types.clear();
    evidence.failing_per_second = 0.0;
    story
        .recovery
        .evidence(evidence.clone())
        .await
        .expect("taken");
    story.go(3).await;
    // The supervisor says that it runs again, while it is still being judged.
    story
        .recovery
        .evidence(Evidence {
            closed: true,
            ..evidence
        })
        .await
        .expect("taken");
    story.go(5).await;
    assert_eq!(world.calls(), ["bank"]);
    let status = story.recovery.status().borrow().clone();
    assert_eq!(
        status.recent[0].verdict,
        Some(Verdict::Cured),
        "{}",
        story.text
    );
    story.end().await;
}

/// Nothing went by itself where the failures go on as another incident's.
#[tokio::test(start_paused = true)]
async fn an_incident_that_joins_another_one_was_not_cured_by_waiting() {
    let mut believed = Vec::new();
    for end in [None, Some(None), Some(Some(2))] {
        let world = World::new();
        let mut story = Story::new(&world);
        if let Some(joined_into) = end {
            let mut evidence = world.evidence(1, &[("bank", 0.9)]);
            // Not worth a restart.
            evidence.failing_per_second = 0.001;
            let taken = story.recovery.evidence(evidence.clone()).await;
            taken.expect("taken");
            story.go(1).await;
            (evidence.closed, evidence.joined_into) = (true, joined_into);
            story.recovery.evidence(evidence).await.expect("taken");
            story.go(1).await;
            assert!(states(&story).is_empty(), "{}", story.text);
        }
        let asked = Command::ExplainUnit("bank".into());
        let Ok(Reply::Unit(bank)) = story.recovery.command(asked).await else {
            panic!("nothing is said of bank");
        };
        let (level, chance) = &bank.beliefs.last().expect("a belief").levels[0];
        assert_eq!(level, "by itself");
        believed.push(*chance);
        assert_eq!(world.calls(), Vec::<String>::new());
        story.end().await;
    }
    assert!(believed[1] > believed[0] + 0.01, "{believed:?}");
    assert!(believed[2] < believed[0] + 0.01, "{believed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_comes_back_is_a_persons_in_the_end() {
    let world = World::new();
    let policy = Policy {
        restarts_per_unit: 20,
        ..policy()
    };
    let mut story = Story::with(&world, policy);
    for incident in 1..8 {
        world.break_down("shop.cart", 1.0);
        sleep(Duration::from_secs(1)).await;
        let _told = world.tell(&story.recovery, incident, &[("shop.cart", 0.9)]);
        story.go(60).await;
        world.heal();
        story.go(5).await;
    }
    assert_eq!(world.calls().len(), 4, "{}", story.text);
    let notices = world.with(|state| state.notices.clone());
    let told: Vec<&str> = notices.iter().map(|notice| notice.text.as_str()).collect();
    for (told, expected) in told.iter().zip([
        "cured this for the second time in 60 min: its cause is elsewhere; after 2 more cures",
        "for the third time in 60 min: its cause is elsewhere; after one more cure it is left",
        "for the 4th time in 60 min: its cause is elsewhere; the next time it is left to a person",
        "came back each time",
    ]) {
        assert!(told.contains(expected), "{told}");
    }
    story.end().await;
}

/// A clock that is set forward ends no rollout: what was told of it before is as long ago as it was.
#[tokio::test(start_paused = true)]
async fn a_rollout_goes_on_when_the_clock_is_set() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("bank", 1.0);
    sleep(Duration::from_secs(1)).await;
    let mut evidence = world.evidence(1, &[("bank", 0.9)]);
    let change = Changed {
        at: world.now(),
        what: "version 2 of bank appeared".to_owned(),
        is_version: false,
        renewals: 0,
        goes_on: false,
    };
    let changes = &mut evidence.circumstances.changes;
    changes.insert("bank".into(), change);
    story.recovery.evidence(evidence).await.expect("taken");
    story.go(5).await;
    world.set_forward(Duration::from_secs(7200));
    story.go(30).await;
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    let (_, text) = story.end().await;
    assert_eq!(
        plot(&text),
        ["[watching  Rollout Untold]", "[watching  Rollout]"]
    );
}

/// Telemetry of a host whose clock goes ahead tells of faults that are yet to begin: they began when they were told of.
#[tokio::test(start_paused = true)]
async fn no_fault_begins_after_it_is_told_of() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("bank", 1.0);
    sleep(Duration::from_secs(1)).await;
    let told = world.now();
    for _ in 0..5 {
        let mut evidence = world.evidence(1, &[("bank", 0.9)]);
        evidence.since = world.now() + Duration::from_secs(60);
        story.recovery.evidence(evidence).await.expect("taken");
        story.go(1).await;
    }
    let recent = story.recovery.status().borrow().recent.clone();
    assert_eq!(recent.len(), 1, "{}", story.text);
    let late = recent[0].began.expect("when").duration_since(told);
    assert!(late.is_ok_and(|late| late < Duration::from_secs(1)));
    story.end().await;
}

/// A process ends, is restarted, and ends again soon after: that is one incident, and begins anew with each end.
#[tokio::test(start_paused = true)]
async fn a_process_that_ends_again_has_failed_since_it_was_restarted() {
    let world = World::new();
    let mut story = Story::new(&world);
    let mut ended = world.now();
    world.break_down("bank", 1.0);
    for _ in 0..80 {
        if world.calls().len() == 1
            && world.failing_share() <= 0.0
            && story.text.contains("judging")
        {
            ended = world.now();
            world.break_down("bank", 1.0);
        }
        let evidence = world.bank_ended(ended, None);
        story.recovery.evidence(evidence).await.expect("taken");
        story.go(1).await;
    }
    // A person is asked whether all is to be restarted, and it isn't said that nothing has failed since.
    assert_eq!(states(&story), [State::Proposed], "{}", story.text);
    assert!(!story.text.contains("Stale"), "{}", story.text);
    story.end().await;
}

/// A process that ends as long after each start runs well at first, each time.
#[tokio::test(start_paused = true)]
async fn what_lives_no_longer_than_last_time_was_not_cured() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.with(|state| state.silent = true);
    world.break_down("bank", 1.0);
    let (mut ended, mut lived) = (world.now(), 0);
    for _ in 0..60 {
        lived = match world.failing_share() > 0.0 {
            true => 0,
            false => lived + 1,
        };
        if lived == 4 {
            ended = world.now();
            world.break_down("bank", 1.0);
        }
        let mut evidence = world.bank_ended(ended, Some(Duration::from_secs(4)));
        evidence.closed = world.failing_share() <= 0.0;
        story.recovery.evidence(evidence).await.expect("taken");
        story.go(1).await;
    }
    let status = story.recovery.status().borrow().clone();
    let restarts = status.recent.iter().rev();
    let verdicts: Vec<_> = restarts
        .map(|action| (action.unit.as_str(), action.verdict))
        .collect();
    let expected = [("bank", Some(Verdict::NotCured))];
    assert_eq!(verdicts, expected, "{}", story.text);
    story.end().await;
}

/// What was learned elsewhere of software that a new version replaced weighs less, also for the next engine, and once.
#[tokio::test(start_paused = true)]
async fn a_new_version_is_one_for_the_next_engine_too() {
    let world = World::new();
    let seen = vec![Interval {
        above: Level::ByItself,
        until: Level::Unit("bank".into()),
        or_by_itself: false,
        coincidence: COINCIDENCE,
        weight: 8.0,
    }];
    let key = Key::Shape("raised".to_owned(), "bank".into());
    let at = Some(world.now());
    let seeds = Learned {
        beliefs: vec![(key, Seed { seen, at })],
        ..Learned::default()
    };
    sleep(Duration::from_secs(1)).await;
    let mut evidence = world.evidence(1, &[("bank", 0.9)]);
    let change = Changed {
        at: world.now(),
        what: "version 2 of bank appeared".to_owned(),
        is_version: true,
        renewals: 0,
        goes_on: false,
    };
    let changes = &mut evidence.circumstances.changes;
    changes.insert("bank".into(), change);
    for incident in 1..3 {
        let mut config = world.config(policy(), None);
        config.seeds = seeds.clone();
        let (tree, cohort) = (world.tree.clone(), Arc::new(world.clone()));
        let started = prepare(config, tree, cohort, Threading::Caller);
        let (recovery, _shadows, task) = started.expect("a ledger");
        let task = tokio::spawn(task);
        let weight = async || {
            let reply = recovery.command(Command::Learned).await;
            let Ok(Reply::Learned(learned)) = reply else {
                panic!("{reply:?}");
            };
            let seen = learned.beliefs.iter().flat_map(|(_, seed)| &seed.seen);
            seen.map(|seen| seen.weight).sum::<f64>().round()
        };
        let before = weight().await;
        assert!(
            (before - if incident == 1 { 8.0 } else { 2.0 }).abs() < 0.5,
            "{incident}: {before}"
        );
        evidence.incident = incident;
        recovery.evidence(evidence.clone()).await.expect("taken");
        let after = weight().await;
        assert!((after - 2.0).abs() < 0.5, "{incident}: {after}");
        sleep(Duration::from_secs(1)).await;
        task.abort();
        drop(task.await);
    }
    assert_eq!(world.calls(), Vec::<String>::new());
}

/// Who falls sick while others are under cure waits for these, is told of once, and has its turn.
#[tokio::test(start_paused = true)]
async fn a_storm_that_is_being_cured_is_waited_for() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("nobody", 1.0);
    let all: [&[(&str, f64)]; 3] = [&[("shop.cart", 0.9)], &[("bank", 0.9)], &[("desk.a", 0.9)]];
    let told = |incident: u64, is_over: bool| {
        let mut evidence = world.evidence(incident, all[incident as usize - 1]);
        evidence.closed = is_over;
        evidence
    };
    for incident in [1, 2] {
        let evidence = told(incident, false);
        story.recovery.evidence(evidence).await.expect("taken");
    }
    story.go(1).await;
    let evidence = told(3, false);
    story.recovery.evidence(evidence).await.expect("taken");
    story.go(1).await;
    let calls = |world: &World| {
        let mut calls = world.calls();
        calls.sort();
        calls
    };
    assert_eq!(calls(&world), ["bank", "shop.cart"], "{}", story.text);
    let notices = world.with(|state| state.notices.clone());
    let storms = notices.iter().filter(|it| it.kind == NoticeKind::Storm);
    // What is under cure may be judged meanwhile, and wait for the next step.
    let of_it = storms.filter(|it| it.incident == Some(3));
    assert_eq!(of_it.count(), 1, "{notices:?}");
    for incident in [1, 2] {
        let evidence = told(incident, true);
        story.recovery.evidence(evidence).await.expect("taken");
    }
    let evidence = told(3, false);
    story.recovery.evidence(evidence).await.expect("taken");
    story.go(20).await;
    assert!(
        calls(&world).contains(&"desk.a".to_owned()),
        "{}",
        story.text
    );
    story.end().await;
}

/// Who keeps a unit alive is asked first, and what he has against it holds until he has it no more.
#[tokio::test(start_paused = true)]
async fn a_platform_is_asked_before_each_restart() {
    let world = World::new();
    world.with(|state| {
        state.vetoes = Some(vec![Veto::Budget("the budget lets none go".to_owned())])
    });
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(20).await;
    assert_eq!(world.calls(), Vec::<String>::new(), "{}", story.text);
    world.with(|state| state.vetoes = Some(Vec::new()));
    story.go(20).await;
    assert_eq!(world.calls(), ["shop.cart"], "{}", story.text);
    let (_, text) = story.end().await;
    assert_eq!(
        plot(&text),
        [
            "[watching  Unasked Untold]",
            "[watching  Unasked]",
            "[watching  Capacity]",
            "[acting shop.cart]",
            "[settling shop.cart]",
            "[judging shop.cart]",
            "shop.cart cured",
        ],
        "{text}"
    );
}

/// What isn't sure in the first moments may be a moment later; a person is asked about what stays unsure.
#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_what_is_sure_a_moment_later() {
    for sure_after in [Some(1), None] {
        let world = World::new();
        let mut story = Story::new(&world);
        world.break_down("shop.cart", 1.0);
        sleep(Duration::from_secs(1)).await;
        let unsure = world.evidence(1, &[("shop.cart", 0.4)]);
        story.recovery.evidence(unsure).await.expect("taken");
        story.go(sure_after.unwrap_or(10)).await;
        if sure_after.is_some() {
            let sure = world.evidence(1, &[("shop.cart", 0.9)]);
            story.recovery.evidence(sure).await.expect("taken");
            story.go(1).await;
        }
        let is_restarted = world.calls() == ["shop.cart"];
        assert_eq!(is_restarted, sure_after.is_some(), "{}", story.text);
        let notices = world.with(|state| state.notices.clone());
        let asked = notices.iter().any(|it| it.kind == NoticeKind::Proposal);
        assert_eq!(asked, sure_after.is_none(), "{notices:?}");
        story.end().await;
    }
}

/// A pause says what would be done, and a person may have it done meanwhile.
#[tokio::test(start_paused = true)]
async fn a_pause_shows_what_it_holds_back() {
    let world = World::new();
    let policy = Policy {
        approval_expiry: Duration::from_secs(5),
        ..policy()
    };
    let mut story = Story::with(&world, policy);
    world.break_down("shop.cart", 1.0);
    let pause = Command::Pause {
        by: "ada".to_owned(),
        reason: "deploying".to_owned(),
        duration: None,
    };
    story.recovery.command(pause).await.expect("paused");
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(3).await;
    assert_eq!(world.calls(), Vec::<String>::new());
    // It lapses and is made anew, which is no news.
    story.go(5).await;
    let notices = world.with(|state| state.notices.clone());
    let told = notices.iter().filter(|it| it.kind == NoticeKind::Proposal);
    assert_eq!(told.count(), 1, "{notices:?}");
    let proposals = story.recovery.status().borrow().proposals.clone();
    assert_ne!(proposals[0].plan, PlanId(1));
    let approve = Command::Approve {
        plan: proposals[0].plan,
        by: "ada".to_owned(),
    };
    story.recovery.command(approve).await.expect("approved");
    story.go(3).await;
    assert_eq!(world.calls(), ["shop.cart"]);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_tree_nothing_happens() {
    let mut world = World::new();
    world.tree = std::sync::Arc::new(RestartTree::empty());
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(10).await;
    let status = story.recovery.status().borrow().clone();
    assert!(status.units.is_empty() && status.recent.is_empty());
    assert!(
        status
            .recoveries
            .iter()
            .all(|recovery| recovery.state == State::Watching)
    );
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cured_incident_that_closes_slowly_is_left_alone_and_a_relapse_is_not() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    // Analysis takes two minutes to close it, and still sees a trickle of failures.
    for turn in 0..480 {
        let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
        if turn > 10 && turn < 400 {
            evidence.failing_per_second = 2.0;
        }
        if turn == 400 {
            world.break_down("shop.cart", 1.0);
        }
        story.recovery.evidence(evidence).await.expect("taken");
        sleep(Duration::from_millis(250)).await;
        story.note();
        let expected = if turn < 400 { 1 } else { 2 };
        assert!(world.calls().len() <= expected, "{turn}: {}", story.text);
    }
    assert_eq!(world.calls(), ["shop.cart", "shop.cart"], "{}", story.text);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_incident_of_what_was_just_restarted_waits_until_something_fails_again() {
    let world = World::new();
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let first = world.evidence(1, &[("shop.cart", 0.9)]);
    story.recovery.evidence(first.clone()).await.expect("taken");
    story.go(5).await;
    assert_eq!(world.calls(), ["shop.cart"], "{}", story.text);
    // What failed before the restart makes an incident of its own, and looks as bad as it was.
    for _ in 0..120 {
        let mut evidence = first.clone();
        evidence.incident = 2;
        evidence.at = world.now();
        story.recovery.evidence(evidence).await.expect("taken");
        sleep(Duration::from_millis(250)).await;
    }
    story.note();
    assert_eq!(world.calls(), ["shop.cart"], "{}", story.text);
    let status = story.recovery.status().borrow().clone();
    let words: Vec<&str> = status.recoveries[0]
        .refusals
        .iter()
        .map(|refusal| refusal.words.as_str())
        .collect();
    assert!(
        words
            .iter()
            .any(|words| words.contains("nothing has failed since")),
        "{words:?}"
    );
    story.end().await;
}

/// Who says that requests fail is not believed while those requests come and fare well; silence contradicts nobody.
#[tokio::test(start_paused = true)]
async fn what_no_request_shows_is_left_alone() {
    for (silent, is_broken, expected) in [(false, false, 0), (true, false, 1), (false, true, 1)] {
        let world = World::new();
        let mut story = Story::new(&world);
        world.with(|state| state.silent = silent);
        if is_broken {
            world.break_down("shop.cart", 0.1);
        }
        for _ in 0..40 {
            let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
            evidence.since = world.now() - Duration::from_secs(20);
            evidence.failing_per_second = 5.0;
            story.recovery.evidence(evidence).await.expect("taken");
            sleep(Duration::from_millis(250)).await;
            story.note();
        }
        let calls = world.calls().len().min(1);
        assert_eq!(calls, expected, "{silent} {is_broken}: {}", story.text);
        if expected == 0 {
            let status = story.recovery.status().borrow().clone();
            let words = &status.recoveries[0].refusals[0].words;
            assert!(
                words.contains("requests to front GET / that came since has failed"),
                "{words}"
            );
        }
        story.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_restarts_is_cured_only_of_what_was_known_to_be_wrong() {
    let world = World::new();
    let mut story = Story::new(&world);
    let restart = |unit: &str| Command::Restart {
        unit: unit.into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "new code".to_owned(),
    };
    assert!(story.recovery.command(restart("bank")).await.is_ok());
    story.go(70).await;
    let judged = story.recovery.status().borrow().recent[0].clone();
    assert_eq!(judged.verdict, Some(Verdict::Unknown), "{judged:?}");
    assert_eq!(judged.relief, None);

    // A person said no to the plan, then restarts by hand: the incident says what came of it.
    world.break_down("mail", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("mail", 0.9)]);
    story.go(2).await;
    let plan = story
        .recovery
        .status()
        .borrow()
        .proposals
        .first()
        .map(|it| it.plan);
    if let Some(plan) = plan {
        let reject = Command::Reject {
            plan,
            by: "ann".to_owned(),
            reason: "by hand".to_owned(),
        };
        assert!(story.recovery.command(reject).await.is_ok());
    }
    assert!(story.recovery.command(restart("mail")).await.is_ok());
    story.go(10).await;
    let judged = story.recovery.status().borrow().recent[0].clone();
    assert_eq!(judged.verdict, Some(Verdict::Cured), "{judged:?}");
    assert!(judged.relief.is_some_and(|relief| relief.share > 0.9));
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_acting_and_nothing_else() {
    let world = World::new();
    let mut store = Store::open(&world.path().join("ledger.db")).expect("a ledger");
    let memory = store.remember(std::time::UNIX_EPOCH).expect("memory");
    store.set_full(true);
    let ledger = Ledger::of(store, world.path(), Threading::Caller).expect("a ledger");
    let config = world.config(policy(), None);
    let (recovery, shadows, task) = assemble(
        config,
        world.tree.clone().into(),
        Arc::new(world.clone()),
        ledger.clone(),
        memory,
        Vec::new(),
    );
    let task = tokio::spawn(task);
    let (text, last) = (String::new(), String::new());
    let mut story = Story {
        world: world.clone(),
        recovery,
        shadows,
        task,
        text,
        last,
    };
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    // So long that it needs new pages.
    let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
    evidence.signature.error_type = "x".repeat(100_000);
    story.recovery.evidence(evidence).await.expect("taken");
    let _told = world.tell(&story.recovery, 2, &[("shop.cart", 0.9)]);
    story.go(3).await;
    let status = story.recovery.status().borrow().clone();
    assert!(
        status
            .disabled
            .as_ref()
            .is_some_and(|reason| reason.contains("disk is full")),
        "{status:?}"
    );
    assert_eq!(world.calls(), Vec::<String>::new());
    assert!(matches!(
        story.recovery.command(Command::History { limit: 1 }).await,
        Ok(Reply::History(_))
    ));
    let restart = Command::Restart {
        unit: "shop".into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: String::new(),
    };
    assert!(matches!(
        story.recovery.command(restart).await,
        Err(CommandError::Refused { .. })
    ));
    ledger
        .run(|store| {
            store.set_full(false);
            Ok(())
        })
        .await
        .expect("room");
    drop(ledger);
    story.go(30).await;
    assert_eq!(world.calls(), ["shop.cart"], "{}", story.text);
    assert_eq!(story.recovery.status().borrow().disabled, None);
    story.end().await;
}

/// The bank fails, is restarted, and nobody asks for anything after that.
async fn silent_after_restart(world: &World, policy: Policy) -> Story {
    let mut story = Story::with(world, policy);
    world.break_down("bank", 1.0);
    sleep(Duration::from_secs(1)).await;
    let evidence = world.evidence(1, &[("bank", 0.9)]);
    story.recovery.evidence(evidence).await.expect("taken");
    story.go(1).await;
    world.with(|state| state.silent = true);
    story
}

/// Nobody asks for anything once it is restarted: what follows is the configuration's to say.
async fn unclear(unclear: crate::policy::Unclear) -> (World, Story) {
    let world = World::new();
    let policy = Policy {
        unclear,
        judge_longest: Duration::from_secs(60),
        ..policy()
    };
    let mut story = silent_after_restart(&world, policy).await;
    story.go(15).await;
    (world, story)
}

pub(super) fn states(story: &Story) -> Vec<State> {
    let status = story.recovery.status().borrow().clone();
    let all = status.recoveries.iter().chain(status.finished.iter());
    all.map(|recovery| recovery.state).collect()
}

pub(super) fn state_of(unit: &str, story: &Story) -> UnitState {
    let status = story.recovery.status().borrow().clone();
    let found = status.units.iter().find(|it| it.unit.as_str() == unit);
    found.expect("a unit of this name").state
}

#[tokio::test(start_paused = true)]
async fn what_is_unclear_goes_to_a_person_unless_more_is_waited_for() {
    use crate::policy::Unclear;
    let (world, story) = unclear(Unclear::Ask).await;
    assert_eq!(states(&story), [State::GivenUp], "{}", story.text);
    assert_eq!(world.calls(), ["bank"]);
    story.end().await;

    // Nor is it shown as given up once a person's restart was seen to cure it.
    let (world, mut story) = unclear(Unclear::Ask).await;
    assert_eq!(state_of("bank", &story), UnitState::GivenUp);
    world.with(|state| state.silent = false);
    world.break_down("bank", 1.0);
    sleep(Duration::from_secs(5)).await;
    let restart = Command::Restart {
        unit: "bank".into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "again".to_owned(),
    };
    assert!(story.recovery.command(restart).await.is_ok());
    story.go(15).await;
    let last = story.recovery.status().borrow().recent[0].clone();
    assert_eq!(last.verdict, Some(Verdict::Cured), "{}", story.text);
    assert_ne!(state_of("bank", &story), UnitState::GivenUp);
    story.end().await;

    let (world, mut story) = unclear(Unclear::Wait).await;
    assert_eq!(states(&story), [State::Judging], "{}", story.text);
    world.with(|state| state.silent = false);
    story.go(5).await;
    assert_eq!(states(&story), [State::Cured], "{}", story.text);
    story.end().await;

    // Not for ever, and never on to the next restart.
    let (world, mut story) = unclear(Unclear::Wait).await;
    story.go(60).await;
    assert_eq!(states(&story), [State::GivenUp], "{}", story.text);
    assert_eq!(world.calls(), ["bank"]);
    story.end().await;
}

/// An order that no incident explains has no requests to wait for, and holds its lease no longer than
/// it takes to see so.
#[tokio::test(start_paused = true)]
async fn an_order_waits_for_no_requests_that_cannot_count() {
    let world = World::new();
    let policy = Policy {
        unclear: crate::policy::Unclear::Wait,
        judge_longest: Duration::from_secs(600),
        ..policy()
    };
    let mut story = Story::with(&world, policy);
    let restart = Command::Restart {
        unit: "bank".into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "new code".to_owned(),
    };
    assert!(story.recovery.command(restart).await.is_ok());
    story.go(20).await;
    let judged = story.recovery.status().borrow().recent[0].clone();
    assert_eq!(judged.verdict, Some(Verdict::Unknown), "{}", story.text);
    assert!(!states(&story).contains(&State::Judging), "{}", story.text);
    story.end().await;
}

/// A person restarts what somebody complains of. That it answers afterwards is no cure: it did so before.
#[tokio::test(start_paused = true)]
async fn what_was_never_seen_to_be_wrong_is_not_seen_to_be_cured() {
    for shape in ["reported", "wrong_answer"] {
        let world = World::with_probes();
        let mut story = Story::with(&world, policy());
        let mut evidence = world.evidence(1, &[("mail", 1.0)]);
        evidence.signature.request_types.clear();
        evidence.signature.shape = shape.to_owned();
        evidence.suspects[0].two_sided = false;
        assert!(story.recovery.evidence(evidence).await.is_ok());
        let restart = Command::Restart {
            unit: "mail".into(),
            dry_run: false,
            by: "ann".to_owned(),
            reason: "it is said to be sick".to_owned(),
        };
        assert!(story.recovery.command(restart).await.is_ok());
        story.go(100).await;
        let judged = story.recovery.status().borrow().recent[0].clone();
        let expected = match shape {
            "reported" => Verdict::Unknown,
            _ => Verdict::Cured,
        };
        assert_eq!(judged.verdict, Some(expected), "{judged:?}");
        story.end().await;
    }
}

/// Of two request types, one turns out to fail for another cause: what it fails on is no word about the cure.
#[tokio::test(start_paused = true)]
async fn what_left_for_an_incident_of_its_own_does_not_judge() {
    for leaves in [true, false] {
        let world = World::new();
        world.with(|state| state.habitual = Some("other POST /".to_owned()));
        let mut story = Story::new(&world);
        world.break_down("bank", 1.0);
        sleep(Duration::from_secs(2)).await;
        let mut evidence = world.evidence(1, &[("bank", 0.9)]);
        evidence
            .signature
            .request_types
            .push("other POST /".to_owned());
        assert!(story.recovery.evidence(evidence.clone()).await.is_ok());
        if leaves {
            evidence.signature.request_types.pop();
        }
        assert!(story.recovery.evidence(evidence).await.is_ok());
        story.go(20).await;
        let judged = story.recovery.status().borrow().recent.clone();
        let first = judged.last().and_then(|action| action.verdict);
        assert_eq!(first == Some(Verdict::Cured), leaves, "{judged:?}");
        story.end().await;
    }
}

/// What goes together lies side by side, so each part of a restarted unit has a shadow of its own.
#[tokio::test(start_paused = true)]
async fn parts_that_go_together_are_all_in_their_units_shadow() {
    let mut world = World::new();
    world.tree = Arc::new(crate::tree::tests::tree(
        "site -\n  host process\n    a code=a @together=b\n    b code=b",
    ));
    let mut story = Story::new(&world);
    let restart = Command::Restart {
        unit: "host".into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "new code".to_owned(),
    };
    assert!(story.recovery.command(restart).await.is_ok());
    story.go(2).await;
    let (shadows, text) = story.end().await;
    let units: std::collections::BTreeSet<&str> =
        shadows.iter().map(|shadow| shadow.unit.as_str()).collect();
    assert!(units.into_iter().eq(["a", "b"]), "{text}");
}

/// Whatever becomes of an attempt, nothing stays in its shadow for ever, and what was refused has none.
#[tokio::test(start_paused = true)]
async fn all_shadows_of_a_group_end_whichever_part_falls_short() {
    let group = Arc::new(crate::tree::tests::tree(
        "desk - service.name=desk\n  desk.a code=a ~200\n  desk.b code=b ~200",
    ));
    for (falls_short, manner) in [
        ("desk.a", Manner::Refuses),
        ("desk.b", Manner::Refuses),
        ("desk.a", Manner::NeverReady),
        ("desk.b", Manner::NeverReady),
        ("desk.b", Manner::Panics),
    ] {
        let mut world = World::new();
        world.tree = group.clone();
        world.with(|state| state.manner.insert(falls_short.into(), manner));
        let began = world.now();
        let mut story = Story::new(&world);
        let restart = Command::Restart {
            unit: "desk".into(),
            dry_run: false,
            by: "ann".to_owned(),
            reason: "new code".to_owned(),
        };
        assert!(story.recovery.command(restart).await.is_ok());
        story.go(60).await;
        let (calls, now) = (world.calls(), world.now());
        let (shadows, text) = story.end().await;
        let last: std::collections::BTreeMap<&str, &Shadow> = shadows
            .iter()
            .map(|shadow| (shadow.unit.as_str(), shadow))
            .collect();
        for (unit, shadow) in last {
            let what = format!("{falls_short} {manner:?}: {unit} {calls:?} {shadow:?} {text}");
            let is_done = calls.contains(&unit.to_owned())
                && (unit != falls_short || manner != Manner::Refuses);
            let until = shadow.until.expect(&what);
            assert!(until < now, "{what}");
            assert_eq!(until > began, is_done, "{what}");
        }
    }
}

/// Whoever turned users away before it was refused is charged for it, and what failed then lies in a shadow.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_users_felt_is_counted() {
    for beforehand in [Duration::ZERO, Duration::from_secs(1)] {
        let world = World::new();
        let began = world.now();
        world.with(|state| {
            state.manner.insert("mail".into(), Manner::Refuses);
            state.beforehand = beforehand;
        });
        let mut story = Story::new(&world);
        let restart = Command::Restart {
            unit: "mail".into(),
            dry_run: false,
            by: "ann".to_owned(),
            reason: "new code".to_owned(),
        };
        assert!(story.recovery.command(restart).await.is_ok());
        story.go(60).await;
        let status = story.recovery.status().borrow().clone();
        let all = status.budgets.iter().find(|it| it.name == "all restarts");
        let spent = all.map(|budget| budget.spent > 0.0);
        let (shadows, text) = story.end().await;
        let is_felt = !beforehand.is_zero();
        assert_eq!(spent, Some(is_felt), "{text}");
        // The next engine knows of it, too.
        let mut next = Story::new(&world);
        next.go(1).await;
        let status = next.recovery.status().borrow().clone();
        let all = status.budgets.iter().find(|it| it.name == "all restarts");
        assert_eq!(
            all.map(|budget| budget.spent > 0.0),
            Some(is_felt),
            "{text}"
        );
        next.end().await;
        let until = shadows.last().and_then(|shadow| shadow.until);
        assert_eq!(until.is_some_and(|until| until > began), is_felt, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_unclear_can_be_asked_of_probes() {
    let world = World::with_probes();
    let policy = Policy {
        unclear: crate::policy::Unclear::Probe,
        ..policy()
    };
    let mut story = silent_after_restart(&world, policy).await;
    story.go(10).await;
    assert_eq!(states(&story), [State::Judging], "{}", story.text);
    story.go(8).await;
    assert_eq!(states(&story), [State::Cured], "{}", story.text);
    story.end().await;
}

/// That a group of which one must be up may be sick as a whole holds nothing back for ever: its likelier member is
/// looked at instead.
#[tokio::test(start_paused = true)]
async fn a_group_that_stays_unclear_is_told_of() {
    let mut world = World::new();
    let text = "
site - auto
  desk - service.name=desk @min=1
    desk.a code=a ~200
    desk.b code=b ~200
";
    world.tree = std::sync::Arc::new(crate::tree::tests::tree(text));
    let mut story = Story::new(&world);
    world.break_down("desk.b", 1.0);
    sleep(Duration::from_secs(1)).await;
    let _told = world.tell(&story.recovery, 1, &[("desk", 0.45), ("desk.b", 0.35)]);
    story.go(3).await;
    let told = |world: &World| world.with(|state| state.notices.len());
    assert_eq!(told(&world), 0, "{}", story.text);
    story.go(17).await;
    let is_done = world.calls().first().is_some_and(|unit| unit == "desk.b");
    assert!(is_done || told(&world) > 0, "{}", story.text);
    story.end().await;
}

/// A judge looks ten times a second, and what people see is put together once a second, but for what is news.
#[tokio::test(start_paused = true)]
async fn while_one_is_judged_its_counts_are_shown_once_a_second() {
    let world = World::new();
    let policy = Policy {
        judge_deadline: Duration::from_secs(20),
        ..policy()
    };
    let (recovery, _shadows, _task) = world.service(policy, None);
    // Its restart takes away so little that it isn't clear for long.
    world.with(|state| state.thin = Some("front GET /".to_owned()));
    world.break_down("shop.cart", 0.5);
    sleep(Duration::from_secs(1)).await;
    let evidence = world.evidence(1, &[("shop.cart", 0.9)]);
    recovery.evidence(evidence).await.expect("taken");
    let mut status = recovery.status();
    let (mut shown, mut judged_at, mut over_at) = (0, None, None);
    while over_at.is_none() {
        status.changed().await.expect("the service lives");
        let now = status.borrow_and_update().clone();
        let states: Vec<State> = now.recoveries.iter().map(|it| it.state).collect();
        if states == [State::Judging] {
            judged_at.get_or_insert(world.seconds());
            shown += 1;
        } else if judged_at.is_some() {
            over_at = Some((world.seconds(), now.recent[0].clone()));
        }
    }
    let (over_at, action) = over_at.expect("it is over");
    let lasted = over_at - judged_at.expect("it was judged");
    assert!(lasted > 5.0, "{lasted}");
    assert!(f64::from(shown) <= lasted + 2.0, "{shown} in {lasted} s");
    // The verdict itself doesn't wait.
    let judged = action.judged_at.expect("a verdict");
    let late = world.now().duration_since(judged).unwrap_or_default();
    assert!(late < Duration::from_millis(50), "{late:?}");
}
