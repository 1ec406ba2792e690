//! The tree grows while recovery works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::story::{Story, policy};
use super::world::{Manner, World};
use crate::service::{Command, Reply};
use crate::template::Grown;
use crate::tree::Kinds;
use crate::tree::tests::specs;
use crate::{RestartTree, UnitName};

/// A shop whose replicas come and go, with so many of them.
fn tree(replicas: &[&str]) -> Arc<RestartTree> {
    let mut text = "site - auto\n  shop - service.name=shop @budget=3\n".to_owned();
    for replica in replicas {
        text.push_str(&format!(
            "    replica@{replica} process host.name={replica} ~1000\n"
        ));
    }
    text.push_str("  bank process service.name=bank ~5000\n");
    let kinds: Kinds = [("replica".into(), "shop".into())].into_iter().collect();
    Arc::new(RestartTree::growing(specs(&text), kinds).expect("a tree"))
}

fn world(replicas: &[&str]) -> World {
    let mut world = World::new();
    world.tree = tree(replicas);
    world
}

/// What the gardener would bring, over the same world.
fn grown(world: &mut World, replicas: &[&str]) -> Grown {
    world.tree = tree(replicas);
    Grown {
        tree: world.tree.clone(),
        executors: world.config(policy(), None).executors,
        missing: BTreeSet::new(),
        down: BTreeSet::new(),
    }
}

fn restart(unit: &str) -> Command {
    Command::Restart {
        unit: unit.into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "new code".to_owned(),
    }
}

fn units(story: &Story) -> Vec<String> {
    let status = story.recovery.status().borrow().clone();
    status
        .units
        .iter()
        .map(|unit| unit.unit.to_string())
        .collect()
}

/// How much of a budget is spent, in whole restarts.
fn spent(story: &Story, budget: &str) -> String {
    let status = story.recovery.status().borrow().clone();
    let found = status.budgets.iter().find(|it| it.name == budget);
    format!("{:.0}", found.map_or(0.0, |budget| budget.spent))
}

#[tokio::test(start_paused = true)]
async fn what_came_can_be_restarted_and_what_went_is_unknown() {
    let mut world = world(&["a"]);
    let mut story = Story::new(&world);
    assert!(story.recovery.command(restart("replica@b")).await.is_err());
    let more = grown(&mut world, &["b", "c"]);
    assert_eq!(story.recovery.grow(more).await, Ok(true));
    assert_eq!(
        units(&story),
        ["site", "shop", "replica@b", "replica@c", "bank"]
    );
    assert!(story.recovery.command(restart("replica@a")).await.is_err());
    assert!(story.recovery.command(restart("replica@b")).await.is_ok());
    story.go(5).await;
    assert_eq!(world.calls(), ["replica@b"]);
    story.end().await;
}

/// A recovery under way keeps its unit; the new tree holds as soon as it is over.
#[tokio::test(start_paused = true)]
async fn what_is_being_restarted_stays_until_it_is_over() {
    for (ordered, is_needed, called) in [
        ("replica@a", true, &["replica@a"][..]),
        ("shop", true, &["replica@a", "replica@b"]),
        ("bank", false, &["bank"]),
    ] {
        let mut world = world(&["a", "b"]);
        let mut story = Story::new(&world);
        assert!(story.recovery.command(restart(ordered)).await.is_ok());
        let old = world.tree.clone();
        let fewer = grown(&mut world, &["b"]);
        world.tree = old;
        assert_eq!(
            story.recovery.grow(fewer.clone()).await,
            Ok(!is_needed),
            "{ordered}"
        );
        story.go(120).await;
        assert_eq!(story.recovery.grow(fewer).await, Ok(true), "{ordered}");
        let status = story.recovery.status().borrow().clone();
        assert_eq!(world.calls(), called);
        assert_eq!(
            status.recent[0].verdict,
            Some(crate::judge::Verdict::Unknown),
            "{ordered}"
        );
        story.end().await;
    }
}

/// Who has vanished, and come again under other names, has spent its parent's budget all the same.
#[tokio::test(start_paused = true)]
async fn restarts_of_what_has_gone_count_in_what_contained_it() {
    let mut world = world(&["a"]);
    let mut story = Story::new(&world);
    for (name, next) in [("a", "b"), ("b", "c"), ("c", "d")] {
        let order = restart(&format!("replica@{name}"));
        assert!(story.recovery.command(order).await.is_ok(), "{name}");
        story.go(120).await;
        let grown = grown(&mut world, &[next]);
        assert_eq!(story.recovery.grow(grown).await, Ok(true), "{name}");
        story.go(1).await;
    }
    assert_eq!(spent(&story, "restarts in shop"), "3");
    assert_eq!(spent(&story, "all restarts"), "3");
    // By itself it was never restarted, and the shop's budget is spent.
    let reply = story
        .recovery
        .command(Command::ExplainUnit("replica@d".into()))
        .await;
    let text = format!("{reply:?}");
    assert!(text.contains("SubtreeBudget"), "{text}");
    story.end().await;
    // And so it is for the next engine, which knows those units from its ledger alone.
    let mut story = Story::new(&world);
    story.go(1).await;
    assert_eq!(spent(&story, "restarts in shop"), "3");
    story.end().await;
}

/// What a unit did that is gone teaches what to expect of its kind.
#[tokio::test(start_paused = true)]
async fn a_new_unit_has_the_experience_of_its_kind() {
    let mut world = world(&["a", "b"]);
    let mut story = Story::new(&world);
    world.break_down("replica@a", 0.5);
    story.go(1).await;
    let telling = world.tell(&story.recovery, 1, &[("replica@a", 0.9)]);
    story.go(60).await;
    assert_eq!(world.calls(), ["replica@a"], "{}", story.text);
    telling.await.expect("told");
    let grown = grown(&mut world, &["b", "z"]);
    assert_eq!(story.recovery.grow(grown).await, Ok(true));
    let reply = story
        .recovery
        .command(Command::ExplainUnit("replica@z".into()))
        .await;
    let crate::service::Reply::Unit(explained) = reply.expect("explained") else {
        panic!("another reply");
    };
    assert_eq!(
        explained.beliefs.len(),
        2,
        "{:?}\n{}",
        explained.beliefs,
        story.text
    );
    assert!(explained.beliefs[1].weight > 0.5, "{:?}", explained.beliefs);
    assert!(explained.cost.weight > 0.5, "{:?}", explained.cost);
    assert!(explained.history.is_empty());
    story.end().await;
}

/// Where a restart of all would be cheaper and leaves nobody up, the part that may be restarted is.
#[tokio::test(start_paused = true)]
async fn what_would_take_all_along_gives_way_to_what_may_be_taken() {
    let mut world = world(&["a", "b"]);
    let mut specs: Vec<crate::UnitSpec> = world.tree.units().cloned().collect();
    for spec in &mut specs {
        if spec.executor.is_some() {
            spec.expected_downtime = Some(Duration::from_millis(10));
        }
        if spec.name == "shop".into() {
            spec.rules.minimum_healthy = Some(1);
        }
    }
    world.tree = Arc::new(RestartTree::build(specs).expect("a tree"));
    let mut story = Story::new(&world);
    world.break_down("replica@a", 0.5);
    story.go(1).await;
    let _telling = world.tell(&story.recovery, 1, &[("replica@a", 0.9)]);
    story.go(30).await;
    assert_eq!(world.calls(), ["replica@a"], "{}", story.text);
    story.end().await;
}

/// A person may leave nobody up, and is told of it.
#[tokio::test(start_paused = true)]
async fn an_order_says_which_guard_it_overrules() {
    let mut world = world(&["a", "b"]);
    let mut specs: Vec<crate::UnitSpec> = world.tree.units().cloned().collect();
    for spec in specs.iter_mut().filter(|spec| spec.name == "shop".into()) {
        spec.rules.minimum_healthy = Some(1);
    }
    world.tree = Arc::new(RestartTree::build(specs).expect("a tree"));
    let story = Story::new(&world);
    for (unit, expected) in [
        ("replica@a", None),
        // The other one is away.
        ("replica@b", Some("the units below shop")),
    ] {
        let reply = story.recovery.command(restart(unit)).await;
        let Ok(Reply::Started { overrules, .. }) = reply else {
            panic!("{unit}: {reply:?}");
        };
        let words: Vec<String> = overrules.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), usize::from(expected.is_some()), "{words:?}");
        assert!(
            words
                .iter()
                .all(|it| it.contains(expected.unwrap_or_default())),
            "{words:?}"
        );
    }
    story.end().await;
}

/// What the last engine left in flight is of a unit that is gone: nobody can be asked, it stays charged, and a person is
/// told.
#[tokio::test(start_paused = true)]
async fn a_crash_while_a_unit_vanishes_is_a_persons() {
    let mut world = world(&["a", "b"]);
    world.with(|state| state.manner.insert("replica@a".into(), Manner::Hangs));
    let story = Story::new(&world);
    assert!(story.recovery.command(restart("replica@a")).await.is_ok());
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Broken off as by a crash.
    story.end().await;
    let left = crate::service::in_flight(world.path()).expect("read");
    assert_eq!(left, ["replica@a".into()].into());
    world.tree = tree(&["b"]);
    let mut story = Story::new(&world);
    story.go(60).await;
    let status = story.recovery.status().borrow().clone();
    assert_eq!(status.recent.len(), 1);
    assert_eq!(status.recent[0].unit, UnitName::from("replica@a"));
    assert_eq!(
        status.recent[0].verdict,
        Some(crate::judge::Verdict::Unknown),
        "{status:?}"
    );
    assert_eq!(spent(&story, "all restarts"), "1");
    assert_eq!(spent(&story, "restarts in shop"), "1");
    let known: BTreeMap<_, _> = status
        .units
        .iter()
        .map(|unit| (&unit.unit, unit.state))
        .collect();
    assert_eq!(known.len(), 4);
    story.end().await;
}
