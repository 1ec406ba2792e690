//! Verdicts from what there is: types of requests that were seen to fail only after the act, and figures
//! that no request shows.

use std::time::Duration;

use tokio::time::sleep;

use super::world::World;
use crate::evidence::OUT_OF_BOUNDS;
use crate::judge::Verdict;
use crate::{Evidence, Policy};

/// How long after its restart a unit was judged, and how.
async fn judged(
    world: &World,
    evidence: impl Fn(bool) -> Evidence,
    patience: Duration,
) -> Option<(Duration, Verdict)> {
    let (recovery, _shadows, task) = world.service(Policy::default(), None);
    let mut judged = None;
    let begun = world.seconds();
    while judged.is_none() && world.seconds() - begun < patience.as_secs_f64() {
        let acted = !world.calls().is_empty();
        recovery.evidence(evidence(acted)).await.expect("it runs");
        sleep(Duration::from_millis(100)).await;
        let status = recovery.status().borrow().clone();
        judged = status.recent.first().and_then(|action| {
            let took = action.judged_at?.duration_since(action.ready_at?).ok()?;
            Some((took, action.verdict?))
        });
    }
    task.abort();
    judged
}

#[tokio::test(start_paused = true)]
async fn types_that_failed_before_the_kill_tell_of_the_cure_though_they_joined_late() {
    let mut took = Vec::new();
    for joins in [false, true] {
        let world = World::new();
        world.with(|state| state.thin = Some("front GET /".to_owned()));
        world.break_down("shop.cart", 1.0);
        sleep(Duration::from_secs(1)).await;
        let evidence = |acted: bool| {
            let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
            if acted && joins {
                let types = &mut evidence.signature.request_types;
                types.push("front GET /all".to_owned());
            }
            evidence
        };
        let patience = Duration::from_secs(30);
        let (after, verdict) = judged(&world, evidence, patience).await.expect("a verdict");
        assert_eq!(verdict, Verdict::Cured);
        took.push(after);
    }
    // One in twenty of the requests is of the first type.
    assert!(took[0] > 5 * took[1], "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_figures_is_judged_by_figures() {
    for (bounds, expected) in [
        (Some(true), Some(Verdict::Cured)),
        (Some(false), Some(Verdict::NotCured)),
        // Not seen is not well.
        (None, None),
    ] {
        let world = World::new();
        world.with(|state| state.bounds = bounds);
        sleep(Duration::from_secs(1)).await;
        let evidence = |_| {
            let mut evidence = world.evidence(1, &[("shop.cart", 1.0)]);
            evidence.signature.request_types = Vec::new();
            evidence.signature.shape = OUT_OF_BOUNDS.to_owned();
            evidence
        };
        let patience = Duration::from_secs(20);
        let verdict = judged(&world, evidence, patience).await;
        assert_eq!(verdict.map(|(_, verdict)| verdict), expected, "{bounds:?}");
        assert_eq!(world.calls()[0], "shop.cart");
    }
}
