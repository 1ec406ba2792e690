//! Two units that are only cured together, with and without anybody having inferred it.

use std::sync::Arc;

use super::story::{Story, plot};
use super::world::{Manner, World};
use crate::judge::Verdict;
use crate::service::Command;
use crate::tree::tests::tree;
use crate::tree::{Group, Inferred};

const PAIR: &str = "pay+shop.cart";

/// A cart and a bank that hand a fault on to each other, in a site that is dear to restart.
fn world() -> World {
    let mut world = World::new();
    world.tree = Arc::new(tree(
        "site - auto\n  shop process service.name=shop ~2000\n    shop.cart code=cart ~200\n    \
         shop.search code=search ~200\n  bank - service.name=bank\n    pay process code=pay ~200\n    \
         books process code=books ~20000",
    ));
    world.with(|state| state.hand_on = vec!["shop.cart".into(), "pay".into()]);
    world
}

fn inferred() -> Inferred {
    let group = Group {
        members: vec!["pay".into(), "shop.cart".into()],
        share: 0.9,
        is_proven: true,
        why: "3 times pay and shop.cart were cured only together".to_owned(),
    };
    Inferred {
        groups: vec![group],
        orders: vec![("shop.cart".into(), "pay".into())],
    }
}

async fn told(inferred: Inferred) -> (World, Story) {
    let world = world();
    let mut story = Story::new(&world);
    story.recovery.infer(inferred).await.expect("taken");
    world.break_down("shop.cart", 0.5);
    story.go(1).await;
    let _telling = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(90).await;
    (world, story)
}

#[tokio::test(start_paused = true)]
async fn without_it_all_is_restarted_and_with_it_two() {
    let (world, story) = told(Inferred::default()).await;
    let without = world.calls();
    assert_eq!(
        without,
        ["shop.cart", "shop", "shop", "pay", "books"],
        "{}",
        story.text
    );
    story.end().await;
    let (world, story) = told(inferred()).await;
    // In the inferred order, as one action.
    assert_eq!(world.calls(), ["shop.cart", "pay"], "{}", story.text);
    let status = story.recovery.status().borrow().clone();
    assert_eq!(status.recent[0].target, PAIR.into());
    assert_eq!(status.recent[0].verdict, Some(Verdict::Cured));
    let unit = status.units.iter().find(|it| it.unit == PAIR.into());
    let group = unit.and_then(|it| it.group.clone()).expect("a group");
    assert!(group.why.starts_with("3 times"), "{group:?}");
    assert_eq!(plot(&story.text).last(), Some(&"pay cured"));
    story.end().await;
}

/// What was restarted together when the engine ended is asked about and judged, also where the next engine hasn't inferred
/// it yet, and counts for the budgets of both.
#[tokio::test(start_paused = true)]
async fn the_next_engine_knows_the_group_that_was_being_restarted() {
    let world = world();
    let order = |unit: &str| Command::Restart {
        unit: unit.into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "they hand it on".to_owned(),
    };
    world.with(|state| state.manner.insert("pay".into(), Manner::Hangs));
    let mut story = Story::new(&world);
    assert!(story.recovery.command(order(PAIR)).await.is_err());
    story.recovery.infer(inferred()).await.expect("taken");
    story.go(1).await;
    assert!(story.recovery.command(order(PAIR)).await.is_ok());
    story.go(1).await;
    assert_eq!(world.calls(), ["shop.cart", "pay"]);
    // A tree without it doesn't take it away meanwhile, nor does a new tree.
    story
        .recovery
        .infer(Inferred::default())
        .await
        .expect("taken");
    story.go(1).await;
    let has_pair = |story: &Story| {
        let status = story.recovery.status().borrow().clone();
        status.units.iter().any(|it| it.unit == PAIR.into())
    };
    assert!(has_pair(&story));
    assert!(
        story.recovery.command(order("pay")).await.is_err(),
        "it is leased"
    );
    // Broken off as by a crash.
    story.end().await;
    world.with(|state| state.manner.clear());
    let mut story = Story::new(&world);
    assert!(
        story.recovery.command(order("pay")).await.is_err(),
        "it is still leased"
    );
    story.go(60).await;
    assert!(has_pair(&story));
    let status = story.recovery.status().borrow().clone();
    let spent = |name: &str| {
        let budget = status.budgets.iter().find(|it| it.name == name);
        budget.map_or(0.0, |budget| budget.spent).round()
    };
    assert_eq!(
        (spent("shop.cart"), spent("pay")),
        (1.0, 1.0),
        "{:?}",
        status.budgets
    );
    story.end().await;
}

/// A configuration that has one of a group no more, or has them together, can't have the group; what it did to the other
/// was done to it all the same.
#[tokio::test(start_paused = true)]
async fn a_tree_that_can_not_have_the_group_remembers_what_it_cost() {
    for text in [
        "site - auto\n  shop process service.name=shop ~2000\n    shop.search code=search ~200\n  \
         bank - service.name=bank\n    pay process code=pay ~200\n    books process code=books ~20000",
        "site - auto\n  shop process service.name=shop ~2000\n    shop.cart code=cart @together=pay ~200\n  \
         bank - service.name=bank\n    pay process code=pay ~200\n    books process code=books ~20000",
    ] {
        let mut world = world();
        world.with(|state| state.manner.insert("pay".into(), Manner::Hangs));
        let mut story = Story::new(&world);
        story.recovery.infer(inferred()).await.expect("taken");
        story.go(1).await;
        let order = |unit: &str| Command::Restart {
            unit: unit.into(),
            dry_run: false,
            by: "ann".to_owned(),
            reason: "they hand it on".to_owned(),
        };
        assert!(story.recovery.command(order(PAIR)).await.is_ok());
        story.go(1).await;
        story.end().await;
        world.tree = Arc::new(tree(text));
        world.with(|state| state.manner.clear());
        let mut story = Story::new(&world);
        // Nobody knows yet what became of it.
        let refused = story.recovery.command(order("pay")).await;
        let refused = refused.expect_err("it is leased").to_string();
        assert!(refused.contains(PAIR), "{refused}");
        story.go(60).await;
        let status = story.recovery.status().borrow().clone();
        assert!(status.units.iter().all(|it| it.unit != PAIR.into()));
        let pay = status.budgets.iter().find(|it| it.name == "pay");
        let spent = pay.map_or(0.0, |budget| budget.spent);
        assert!((spent - 1.0).abs() < 0.1, "{:?}", status.budgets);
        story.end().await;
    }
}
