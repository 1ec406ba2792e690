//! Whatever goes through remembered paths counts as if nothing were remembered.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rekindle_model::{
    Intervention, InterventionKind, Life, Outline, OutlineParts, ReleaseReason, Selector, Shape,
    Span, Step, Trace, UnixNanos,
};

use super::{MAX_SHAPES, Paths};
use crate::testing::{Call, T};
use crate::{AnalysisConfig, Analyzer};

/// A call tree of few different parts, so that paths come again: `program` is read as it is built.
fn tree(program: &mut impl Iterator<Item = u8>, depth: u8) -> Call {
    let mut next = |below: u8| program.next().unwrap_or(0) % below;
    let service = ["shop", "cart", "price"][usize::from(next(3))];
    let instance = format!("{service}-{}", next(2));
    let mut call = match next(5) {
        0 if depth > 0 => Call::component("shop.part"),
        _ => Call::server(service, ["GET /", "GET /7"][usize::from(next(2))]).instance(&instance),
    };
    call = match next(12) {
        0 => call.http(503),
        1 => call.error("TimeoutException"),
        2 => call.takes(700),
        _ => call,
    };
    for _ in 0..next(3) {
        if depth >= 3 {
            break;
        }
        let kind = program.next().unwrap_or(0) % 6;
        let client = match kind {
            0 => Call::client("GET").address(("10.0.0.1", 80)),
            1 => Call::client("GET")
                .address(("10.0.0.2", 80))
                .error("timeout"),
            2 => Call::client("SELECT").db("mysql"),
            3 => Call::client("call").peer("cart").error("ConnectException"),
            4 => Call::client("call").peer("price"),
            _ => Call::client("GET"),
        };
        let answered = !program.next().unwrap_or(0).is_multiple_of(3);
        call = call.with(if answered {
            client.with(tree(program, depth + 1))
        } else {
            client
        });
    }
    call
}

/// The trace without one of its spans, as when a process was killed.
fn less(trace: &Trace, lost: usize) -> Trace {
    let spans: Vec<Span> = trace.spans().to_vec();
    let kept = spans.iter().enumerate().filter(|(at, _)| *at != lost);
    let kept: Vec<Span> = kept.map(|(_, span)| span.clone()).collect();
    Trace::new(kept, ReleaseReason::Idle).unwrap_or_else(|_| trace.clone())
}

fn small() -> AnalysisConfig {
    AnalysisConfig {
        window: Duration::from_secs(60),
        requests_between_false_alarms: 10.0,
        // So that tables are full and tidied up meanwhile.
        max_rows: 60,
        max_components: 24,
        max_request_types: 5,
        max_addresses: 3,
        ..AnalysisConfig::default()
    }
}

/// What an assembler holds: few places that shapes come to and go from.
#[derive(Default)]
struct Held {
    shapes: Vec<Arc<Shape>>,
    next: usize,
}

impl Held {
    const PLACES: usize = 20;

    fn hand_on(&mut self, trace: &Trace, take: impl FnOnce(&Outline<'_>)) {
        let mut steps: Vec<Step> = Vec::new();
        let mut places = Vec::new();
        for span in trace.spans() {
            let known = self.shapes.iter().position(|known| *known == span.shape);
            let place = known.unwrap_or_else(|| {
                loop {
                    if self.shapes.len() < Self::PLACES + trace.spans().len() {
                        self.shapes.push(Arc::clone(&span.shape));
                        break self.shapes.len() - 1;
                    }
                    self.next = (self.next + 1) % self.shapes.len();
                    // What this trace has is held.
                    if !places.contains(&self.next) {
                        self.shapes[self.next] = Arc::clone(&span.shape);
                        break self.next;
                    }
                }
            });
            places.push(place);
            steps.push(Step {
                span_id: span.span_id,
                parent_id: span.parent_id,
                start: span.start,
                end: span.end,
                shape: place as u32,
                parent_is_remote: span.parent_is_remote,
            });
        }
        let mut parents = Vec::new();
        let outline = Outline::new(OutlineParts {
            trace_id: trace.trace_id(),
            steps: &mut steps,
            parents: &mut parents,
            shapes: &self.shapes,
            links: &[],
            reason: trace.reason(),
        });
        take(&outline.expect("a trace has spans"));
    }
}

#[test]
fn shapes_that_come_no_more_are_let_go() {
    let shape = |number: usize| {
        Arc::new(Shape {
            name: format!("made up {number}").into(),
            ..Shape::default()
        })
    };
    let mut paths = Paths::new();
    let (gone, stays) = (shape(0), shape(1));
    // Of the place of the first one nobody speaks again.
    paths.number_at(2, &gone);
    let number = paths.number_at(1, &stays);
    let held = Arc::downgrade(&gone);
    drop(gone);
    assert!(held.upgrade().is_some());
    // Two tables are filled with others.
    for other in 2..=2 * MAX_SHAPES + 2 {
        paths.number_at(0, &shape(other));
        assert_eq!(paths.number_at(1, &stays), number);
    }
    assert!(held.upgrade().is_none());
}

/// An address that several had is somebody's own again after a thousand answers, of which nearly all are on one path.
#[test]
fn whose_an_address_is_again_is_learned_on_known_paths_too() {
    let call = || Call::client("GET").address(("10.0.0.9", 80));
    let asks = |call: Call| Call::server("shop", "GET /").with(call);
    let answered = |service: &str| asks(call().with(Call::server(service, "GET /")));
    let mut requests = vec!["cart", "stock", "cart"];
    requests.extend(["stock"; 1100]);
    let mut requests: Vec<Call> = requests.into_iter().map(answered).collect();
    requests.push(asks(call().error("timeout")));
    let mut with = Analyzer::new(AnalysisConfig::default());
    let mut without = Analyzer::new(AnalysisConfig::default());
    without.forget_paths();
    let (mut held, now) = (Held::default(), UnixNanos::from_secs(1_000_000));
    for (id, request) in (1..).zip(requests) {
        let trace = T { id, start: now }.build(request);
        without.trace(&trace, now);
        held.hand_on(&trace, |outline| with.outline(outline, now));
    }
    assert_eq!(with.spectrum(), without.spectrum());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn paths_change_nothing(
        programs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 1..12),
        order in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, 0u64..300), 1..200),
        restart_at in 0usize..200,
    ) {
        let trees: Vec<Call> = programs
            .iter()
            .map(|program| tree(&mut program.iter().copied(), 0))
            .collect();
        let mut with = Analyzer::new(small());
        let mut without = Analyzer::new(small());
        without.forget_paths();
        let mut held = Held::default();
        let mut now = UnixNanos::from_secs(1_000_000);
        for (number, (which, lost, pause)) in order.iter().enumerate() {
            now = now.plus(Duration::from_millis(*pause));
            let made = T { id: number as u128 + 1, start: now };
            let trace = less(&made.build(which.get(&trees).clone()), *lost);
            let at = now.plus(Duration::from_secs(1));
            for analyzer in [&mut with, &mut without] {
                if number == restart_at {
                    analyzer.intervene(Intervention {
                        kind: InterventionKind::Restart,
                        target: Selector(vec![("service.instance.id".into(), "cart-0".into())]),
                        from: now,
                        until: Some(now.plus(Duration::from_secs(3))),
                        began: Life::default(),
                        ended_by: None,
                        reference: "restart".into(),
                    });
                }
                for span in trace.spans().iter().filter(|_| number.is_multiple_of(2)) {
                    analyzer.span(span, at);
                }
            }
            without.trace(&trace, at);
            held.hand_on(&trace, |outline| with.outline(outline, at));
            for analyzer in [&mut with, &mut without] {
                if number.is_multiple_of(8) {
                    analyzer.tick(at);
                }
            }
        }
        prop_assert_eq!(with.counts(), without.counts());
        prop_assert_eq!(with.spectrum(), without.spectrum());
        prop_assert_eq!(with.incidents(), without.incidents());
        prop_assert_eq!(with.known_addresses(), without.known_addresses());
        for incident in with.incidents() {
            let input = |analyzer: &Analyzer| format!("{:?}", analyzer.input(incident.id));
            prop_assert_eq!(input(&with), input(&without));
        }
        let all = |analyzer: &Analyzer| format!("{:?}", analyzer.input_between(&[], UnixNanos(0), now));
        prop_assert_eq!(all(&with), all(&without));
    }
}
