//! What a person said is about what it was said of.

use std::sync::Arc;
use std::time::Duration;

use super::story::Story;
use super::world::{Manner, World};
use crate::Evidence;
use crate::plan::PlanId;
use crate::service::{Command, Reply};
use crate::tree::tests::tree;

fn world() -> World {
    let mut world = World::new();
    world.tree = Arc::new(tree(
        "site - propose\n  shop process service.name=shop ~2000\n    shop.cart code=cart ~200\n  \
         mail process service.name=mail ~60000",
    ));
    world
}

/// The plan that waits, with its sentence and what was said about it.
fn waiting(story: &Story) -> (PlanId, String, Option<String>) {
    let status = story.recovery.status().borrow().clone();
    let plan = status.proposals.first().expect("a plan waits");
    let decided = status.recoveries[0].decided.clone();
    (plan.plan, plan.sentence.clone(), decided)
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_of_its_plan_and_no_other() {
    let world = world();
    let mut story = Story::new(&world);
    world.break_down("shop", 1.0);
    story.go(1).await;
    let telling = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(3).await;
    let (first, _, _) = waiting(&story);
    let approve = Command::Approve {
        plan: first,
        by: "ann".to_owned(),
    };
    story.recovery.command(approve).await.expect("approved");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let decided = story.recovery.status().borrow().recoveries[0]
        .decided
        .clone();
    assert_eq!(decided.as_deref(), Some("approved by ann"));
    story.go(20).await;
    assert_eq!(world.calls(), ["shop.cart"]);
    let (second, sentence, decided) = waiting(&story);
    assert!(
        second > first && decided.is_none(),
        "{sentence} {decided:?}"
    );
    // Nor for the next engine.
    telling.abort();
    story.end().await;
    let mut story = Story::new(&world);
    story.go(1).await;
    let status = story.recovery.status().borrow().clone();
    assert_eq!(status.recoveries[0].decided, None, "{status:?}");
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_says_which_plan_it_drops_and_what_follows_which_part_failed() {
    let world = world();
    let mut story = Story::new(&world);
    world.with(|state| state.manner.insert("shop.cart".into(), Manner::Refuses));
    world.break_down("shop.cart", 1.0);
    story.go(1).await;
    let _telling = world.tell(&story.recovery, 1, &[("shop.cart", 0.9)]);
    story.go(3).await;
    let (plan, sentence, _) = waiting(&story);
    assert!(sentence.starts_with("restart shop.cart:"), "{sentence}");
    let order = Command::Restart {
        unit: "shop.cart".into(),
        dry_run: false,
        by: "ann".to_owned(),
        reason: "now".to_owned(),
    };
    let reply = story.recovery.command(order).await;
    let Ok(Reply::Started { instead_of, .. }) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(instead_of, Some(plan));
    story.go(10).await;
    let (_, sentence, _) = waiting(&story);
    assert!(
        sentence.starts_with("restart shop:")
            && sentence.ends_with("(shop.cart alone could not be restarted)"),
        "{sentence}"
    );
    story.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_says_which_one_it_takes_the_place_of() {
    let world = world();
    let mut story = Story::new(&world);
    let pause = |by: &str, seconds: Option<u64>| Command::Pause {
        by: by.to_owned(),
        reason: "audit".to_owned(),
        duration: seconds.map(Duration::from_secs),
    };
    for (by, seconds, passed, expected) in [
        ("ann", Some(3600), 1, None),
        ("bob", Some(60), 100, Some("ann")),
        // The last one is over.
        ("eve", None, 1, None),
        ("ann", Some(60), 1, Some("eve")),
    ] {
        let reply = story.recovery.command(pause(by, seconds)).await;
        let Ok(Reply::Paused { instead_of, .. }) = reply else {
            panic!("{reply:?}");
        };
        let by = instead_of.as_ref().map(|before| before.by.as_str());
        assert_eq!(by, expected);
        story.go(passed).await;
    }
    story.end().await;
}

/// What was left keeps its number across engines, and its own end says more than that of another one that it is like.
#[tokio::test(start_paused = true)]
async fn what_was_left_stays_left_beside_what_is_like_it_and_was_cured() {
    let world = world();
    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    story.go(1).await;
    let left = world.evidence(1, &[("shop.cart", 0.9)]);
    for incident in [1, 2] {
        let evidence = world.evidence(incident, &[("shop.cart", 0.9)]);
        story.recovery.evidence(evidence).await.expect("taken");
        story.go(3).await;
        let (plan, by) = (waiting(&story).0, "ann".to_owned());
        let said = match incident {
            1 => Command::Reject {
                plan,
                by,
                reason: "leave it".to_owned(),
            },
            _ => Command::Approve { plan, by },
        };
        story.recovery.command(said).await.expect("it waits");
    }
    story.go(10).await;
    assert_eq!(world.calls(), ["shop.cart"], "{}", story.text);
    story.end().await;

    let mut story = Story::new(&world);
    world.break_down("shop.cart", 1.0);
    story.go(5).await;
    let evidence = Evidence {
        at: world.now(),
        ..left
    };
    story.recovery.evidence(evidence).await.expect("taken");
    story.go(5).await;
    let status = story.recovery.status().borrow().clone();
    assert!(status.recoveries.is_empty(), "{:?}", status.recoveries);
    story.end().await;
}
