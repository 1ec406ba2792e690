//! Preventive restarts through the whole service, in virtual time: gauges that leak, guards that say
//! no, units that don't come back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::world::{Manner, World};
use crate::executor::BoxFuture;
use crate::ledger::audit;
use crate::lifecycle::State;
use crate::ports::NoticeKind;
use crate::rejuvenate::{
    Gauge, Gauges, Levels, Life, Order, RejuvenationConfig, Rule, RuleState, RuleStatus, Trigger,
    prepare,
};
use crate::service::{Command, PREVENTION, Recovery};
use crate::{Policy, UnitName};

/// What leaks, and is given back by a restart of its unit.
struct Leaks {
    world: World,
    held: Mutex<(BTreeMap<UnitName, f64>, usize)>,
}

impl Leaks {
    fn hold(&self, unit: &str, amount: f64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.0.entry(unit.into()).or_default() += amount;
    }
}

impl Gauges for Leaks {
    fn read<'a>(&'a self, _gauge: &'a Gauge, _life: Life) -> BoxFuture<'a, Result<f64, String>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = self.world.calls();
        for unit in &calls[held.1..] {
            for (part, amount) in &mut held.0 {
                if self.world.tree.contains(&unit.as_str().into(), part) {
                    *amount = 0.0;
                }
            }
        }
        held.1 = calls.len();
        let sum = held.0.values().sum();
        Box::pin(std::future::ready(Ok(sum)))
    }
}

struct Story {
    world: World,
    recovery: Recovery,
    leaks: Arc<Leaks>,
    status: watch::Receiver<Arc<Vec<RuleStatus>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Story {
    fn new(world: World, rules: Vec<Rule>, policy: Policy) -> Self {
        let (recovery, _, service) = world.service(policy, None);
        let leaks = Arc::new(Leaks {
            world: world.clone(),
            held: Mutex::new((BTreeMap::new(), world.calls().len())),
        });
        for rule in &rules {
            assert_eq!(rule.check(&world.tree), Ok(()));
        }
        let clock = world.clone();
        let (status, task) = prepare(RejuvenationConfig {
            rules,
            tree: world.tree.clone().into(),
            recovery: recovery.clone(),
            gauges: leaks.clone(),
            notifier: Arc::new(world.clone()),
            clock: Arc::new(move || clock.now()),
            memory: world.path().join("rejuvenation.json"),
        });
        Self {
            world,
            recovery,
            leaks,
            status,
            tasks: vec![service, tokio::spawn(task)],
        }
    }

    fn state(&self) -> RuleState {
        self.status.borrow()[0].state
    }

    fn words(&self) -> String {
        self.status.borrow()[0].words.clone()
    }

    async fn end(self) -> World {
        for task in self.tasks {
            task.abort();
            drop(task.await);
        }
        let problems = audit(self.world.path().join("ledger.db")).expect("a ledger");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            self.world.with(|state| state.crimes.clone()),
            Vec::<String>::new()
        );
        self.world
    }
}

fn rule(units: &[&str], trigger: Trigger) -> Rule {
    Rule {
        name: "heap".to_owned(),
        units: units.iter().copied().map(UnitName::from).collect(),
        trigger,
        every: Duration::from_secs(2),
        settle: Duration::from_secs(1),
        rest: Duration::from_secs(300),
        order: Order::Learned,
    }
}

fn heap(of: &str) -> Trigger {
    Trigger::Gauge {
        gauge: Gauge::Memory { of: of.into() },
        levels: Levels {
            alarm: 800e6,
            sufficient: 400e6,
        },
    }
}

const PARTS: [&str; 3] = ["shop.cart", "shop.search", "shop"];

#[tokio::test(start_paused = true)]
async fn memory_comes_back_and_the_next_roll_and_the_next_engine_know_from_whom() {
    let story = Story::new(
        World::new(),
        vec![rule(&PARTS, heap("shop"))],
        Policy::default(),
    );
    story.leaks.hold("shop.search", 500e6);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(story.world.calls(), [""; 0], "below the alarm");
    story.leaks.hold("shop.search", 400e6);
    sleep(Duration::from_secs(60)).await;
    // Cart gave back nothing; search gave back enough; the whole was not needed.
    assert_eq!(story.world.calls(), ["shop.cart", "shop.search"]);
    assert_eq!(story.state(), RuleState::Resting);
    let history = story.recovery.status().borrow().recent.clone();
    assert!(history.iter().all(|action| action.by == PREVENTION));
    assert!(
        history[0]
            .reason
            .contains("the memory of shop (858 MiB), alarm at 763 MiB"),
        "{}",
        history[0].reason
    );
    let world = story.end().await;

    let story = Story::new(world, vec![rule(&PARTS, heap("shop"))], Policy::default());
    sleep(Duration::from_secs(60)).await;
    story.leaks.hold("shop.search", 900e6);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(story.world.calls()[2..], ["shop.search"]);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_does_not_come_back_halts_everything_until_it_has() {
    let world = World::new();
    world.with(|state| {
        state.manner.insert("shop.cart".into(), Manner::NeverReady);
    });
    let rules = || vec![rule(&PARTS, heap("shop"))];
    let story = Story::new(world, rules(), Policy::default());
    story.leaks.hold("shop.search", 900e6);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(story.world.calls(), ["shop.cart"]);
    assert_eq!(story.state(), RuleState::Halted);
    let notices = story.world.with(|state| state.notices.clone());
    assert_eq!(
        notices.last().map(|notice| notice.kind),
        Some(NoticeKind::Rejuvenation)
    );
    let world = story.end().await;

    // The next engine finds the halt in the ledger.
    let story = Story::new(world, rules(), Policy::default());
    story.leaks.hold("shop.search", 900e6);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.state(), RuleState::Halted, "{}", story.words());
    assert_eq!(story.world.calls(), ["shop.cart"]);
    // An order that does nothing mends nothing.
    let order = || Command::Restart {
        unit: "shop.cart".into(),
        dry_run: false,
        by: "ada".to_owned(),
        reason: String::new(),
    };
    story.world.with(|state| {
        state.manner.insert("shop.cart".into(), Manner::Refuses);
    });
    story.recovery.command(order()).await.expect("begun");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.state(), RuleState::Halted, "{}", story.words());
    // A person brings it back, and the roll goes on.
    story.world.with(|state| state.manner.clear());
    story.recovery.command(order()).await.expect("begun");
    sleep(Duration::from_secs(60)).await;
    let calls = story.world.calls();
    assert_eq!(calls[1], "shop.cart");
    assert_eq!(calls.last().map(String::as_str), Some("shop.search"));
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_guards_refuse_is_not_done() {
    // Paused.
    let story = Story::new(
        World::new(),
        vec![rule(&PARTS, heap("shop"))],
        Policy::default(),
    );
    let pause = Command::Pause {
        by: String::new(),
        reason: "deploying".to_owned(),
        duration: None,
    };
    story.recovery.command(pause).await.expect("paused");
    story.leaks.hold("shop.search", 900e6);
    // Between two looks.
    sleep(Duration::from_secs(61)).await;
    assert_eq!(story.world.calls(), [""; 0]);
    assert!(story.words().contains("deploying"), "{}", story.words());
    story
        .recovery
        .command(Command::Resume)
        .await
        .expect("resumed");
    // While anything else is sick.
    story.world.break_down("bank.pay", 1.0);
    // Of one source only: it waits for a person.
    let mut evidence = story.world.evidence(1, &[("bank.pay", 0.9)]);
    evidence.suspects[0].two_sided = false;
    story.recovery.evidence(evidence).await.expect("told");
    sleep(Duration::from_secs(10)).await;
    let calls = story.world.calls();
    assert!(
        !calls.iter().any(|unit| unit.starts_with("shop")),
        "{calls:?}"
    );
    assert!(story.words().contains("can wait"), "{}", story.words());
    story.end().await;

    // Its budget is spent.
    let policy = Policy {
        restarts_per_tree: 1,
        ..Policy::default()
    };
    let story = Story::new(World::new(), vec![rule(&PARTS, heap("shop"))], policy);
    story.leaks.hold("shop.search", 900e6);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(story.world.calls(), ["shop.cart"]);
    assert!(story.words().contains("budget"), "{}", story.words());
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn in_mode_propose_a_person_is_asked_and_silence_is_no_consent() {
    let story = Story::new(
        World::new(),
        vec![rule(&["mail"], heap("mail"))],
        Policy::default(),
    );
    story.leaks.hold("mail", 900e6);
    sleep(Duration::from_secs(30)).await;
    let proposals = story.recovery.status().borrow().proposals.clone();
    assert_eq!(proposals.len(), 1);
    assert!(proposals[0].sentence.contains("before anything fails"));
    // Nobody answers: it lapses, and is asked anew.
    sleep(Duration::from_secs(11 * 60)).await;
    let again = story.recovery.status().borrow().proposals.clone();
    assert_eq!(again.len(), 1);
    assert!(again[0].plan > proposals[0].plan);
    let lapsed = story.recovery.status().borrow().finished[0].state;
    assert_eq!(lapsed, State::Lapsed);
    assert_eq!(story.world.calls(), [""; 0]);
    let yes = Command::Approve {
        plan: again[0].plan,
        by: "ada".to_owned(),
    };
    story.recovery.command(yes).await.expect("begun");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(story.world.calls(), ["mail"]);
    assert_eq!(story.state(), RuleState::Resting);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_halt_after_an_approved_restart_is_found_by_the_next_engine() {
    let world = World::new();
    world.with(|state| {
        state.manner.insert("mail".into(), Manner::NeverReady);
    });
    let rules = || vec![rule(&["mail"], heap("mail"))];
    let story = Story::new(world, rules(), Policy::default());
    story.leaks.hold("mail", 900e6);
    sleep(Duration::from_secs(30)).await;
    let plan = story.recovery.status().borrow().proposals[0].plan;
    let by = "ada".to_owned();
    let yes = Command::Approve { plan, by };
    story.recovery.command(yes).await.expect("begun");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(story.state(), RuleState::Halted, "{}", story.words());
    let world = story.end().await;
    let story = Story::new(world, rules(), Policy::default());
    sleep(Duration::from_secs(30)).await;
    assert_eq!(story.state(), RuleState::Halted, "{}", story.words());
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_is_rejected_at_once_is_not_waited_for() {
    let story = Story::new(
        World::new(),
        vec![rule(&["mail"], heap("mail"))],
        Policy::default(),
    );
    story.leaks.hold("mail", 900e6);
    let mut status = story.recovery.status();
    let proposed = status.wait_for(|status| !status.proposals.is_empty());
    let plan = proposed.await.expect("running").proposals[0].plan;
    let no = Command::Reject {
        plan,
        by: "ada".to_owned(),
        reason: String::new(),
    };
    story.recovery.command(no).await.expect("rejected");
    sleep(Duration::from_secs(30)).await;
    let again = story.recovery.status().borrow().proposals.clone();
    assert!(again.iter().any(|other| other.plan > plan), "{again:?}");
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_age_outlives_the_engine_that_saw_it_begin() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let age = Trigger::Age {
        at_most: minutes(60),
        jitter: 0.0,
    };
    let rules = || vec![rule(&["bank.pay"], age.clone())];
    let story = Story::new(World::new(), rules(), Policy::default());
    sleep(minutes(40)).await;
    let world = story.end().await;
    let story = Story::new(world, rules(), Policy::default());
    sleep(minutes(19)).await;
    assert_eq!(story.world.calls(), [""; 0]);
    sleep(minutes(2)).await;
    assert_eq!(story.world.calls(), ["bank.pay"]);
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn age_and_chance_call_one_unit_at_a_time() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let policy = Policy {
        restarts_per_unit: 1000,
        restarts_per_tree: 1000,
        ..Policy::default()
    };
    let age = Trigger::Age {
        at_most: minutes(60),
        jitter: 0.5,
    };
    let units = ["shop.cart", "shop.search", "bank.pay"];
    let story = Story::new(World::new(), vec![rule(&units, age)], policy.clone());
    sleep(minutes(29)).await;
    assert_eq!(story.world.calls(), [""; 0]);
    sleep(minutes(33)).await;
    let mut calls = story.world.calls();
    calls.sort();
    calls.dedup();
    assert_eq!(calls, ["bank.pay", "shop.cart", "shop.search"]);
    story.end().await;

    let chance = Trigger::Random { every: minutes(10) };
    let story = Story::new(World::new(), vec![rule(&units, chance)], policy);
    sleep(minutes(600)).await;
    // 60 are expected; 1 in 10^9 runs has fewer than 20 or more than 120.
    let count = story.world.calls().len();
    assert!((20..=120).contains(&count), "{count}");
    story.end().await;
}
