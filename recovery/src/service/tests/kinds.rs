//! Verdicts from what there is: types of requests that were seen to fail only after the act, and figures
//! that no request shows.

use std::time::Duration;

use tokio::time::sleep;

use super::world::World;
use crate::evidence::OUT_OF_BOUNDS;
use crate::judge::Verdict;
use crate::lifecycle::State;
use crate::{Evidence, Policy, Source};

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
async fn what_fails_as_ever_tells_of_no_cure() {
    let world = World::new();
    world.with(|state| state.habitual = Some("front GET /old".to_owned()));
    world.break_down("shop.cart", 1.0);
    sleep(Duration::from_secs(1)).await;
    let evidence = |acted: bool| {
        let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
        if acted {
            let types = &mut evidence.signature.request_types;
            types.push("front GET /old".to_owned());
        }
        evidence
    };
    let patience = Duration::from_secs(30);
    let (_, verdict) = judged(&world, evidence, patience).await.expect("a verdict");
    assert_eq!(verdict, Verdict::Cured);
}

#[tokio::test(start_paused = true)]
async fn what_makes_the_suspect_fail_is_restarted_unattended_and_judged_by_the_suspect() {
    for by_figures in [false, true] {
        let world = World::new();
        if !by_figures {
            world.break_down("desk.a", 0.25);
        }
        sleep(Duration::from_secs(1)).await;
        let (recovery, _shadows, task) = world.service(Policy::default(), None);
        let mut verdict = None;
        while verdict.is_none() && world.seconds() < 60.0 {
            let is_cured = world.calls().contains(&"desk.a".to_owned());
            world.with(|state| state.bounds = by_figures.then_some(is_cured));
            let mut evidence = world.evidence(1, &[("shop.cart", 0.9)]);
            let source = Source {
                unit: "desk.a".into(),
                share: 0.9,
            };
            let sources = &mut evidence.circumstances.sources;
            sources.insert("shop.cart".into(), vec![source]);
            if by_figures {
                // What passes through it, or it would be no restart's worth.
                evidence.failing_per_second = 10.0;
                evidence.signature.request_types = Vec::new();
                evidence.signature.shape = OUT_OF_BOUNDS.to_owned();
            }
            recovery.evidence(evidence).await.expect("it runs");
            sleep(Duration::from_millis(100)).await;
            let status = recovery.status().borrow().clone();
            let mut states = status.recoveries.iter().map(|one| one.state);
            assert!(
                states.all(|state| state != State::Proposed),
                "{:?}",
                status.recoveries
            );
            let source = status.recent.iter().find(|one| one.unit == "desk.a".into());
            verdict = source.and_then(|action| action.verdict);
        }
        task.abort();
        assert_eq!(
            verdict,
            Some(Verdict::Cured),
            "{by_figures} {:?}",
            world.calls()
        );
        let calls = world.calls();
        assert_eq!(calls.first().map(String::as_str), Some("shop.cart"));
        assert!(!calls.contains(&"site".to_owned()), "{calls:?}");
    }
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
