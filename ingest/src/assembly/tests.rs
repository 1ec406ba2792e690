//! Is every span accounted for, and does the order of arrival make no difference?

use std::collections::BTreeMap;

use super::testing::{span, span_id, span_of, trace_id};
use super::*;
use proptest::prelude::*;
use rekindle_model::Link;

const START: UnixNanos = UnixNanos::from_secs(1_000_000);

fn after(millis: u64) -> UnixNanos {
    START.plus(Duration::from_millis(millis))
}

/// Polls every 50 ms, as the engine would, and says when each trace came and why.
fn polled(assembler: &mut Assembler, from: u64, to: u64) -> Vec<(u64, u128, ReleaseReason, usize)> {
    let mut found = Vec::new();
    for millis in (from..=to).step_by(50) {
        let mut traces = Vec::new();
        assembler.poll(after(millis), &mut traces);
        found.extend(traces.iter().map(|trace| {
            let spans = trace.spans().len();
            (millis, trace.trace_id().get(), trace.reason(), spans)
        }));
    }
    found
}

#[test]
fn a_trace_with_its_root_goes_after_the_quiet_period() {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    assembler.push(span(1, 2, 1, START), after(0));
    assembler.push(span(1, 1, 0, START), after(50));
    assembler.push(span(1, 3, 1, START), after(200));
    let found = polled(&mut assembler, 200, 2000);
    assert_eq!(found, [(500, 1, ReleaseReason::RootQuiet, 3)]);
    assert_eq!(
        assembler.push(span(1, 4, 1, START), after(2000)),
        Pushed::Late
    );
    assert_eq!(assembler.in_flight(), InFlight::default());
}

#[test]
fn a_trace_without_a_root_goes_when_idle() {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    assembler.push(span(1, 2, 1, START), after(0));
    assembler.push(span(1, 3, 1, START), after(20_000));
    let found = polled(&mut assembler, 20_000, 60_000);
    assert_eq!(found, [(50_000, 1, ReleaseReason::Idle, 2)]);
}

#[test]
fn a_root_that_comes_late_hurries_its_trace() {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    assembler.push(span(1, 2, 1, after(0)), after(0));
    assembler.push(span(1, 1, 0, after(9_000)), after(9_000));
    let found = polled(&mut assembler, 9_000, 12_000);
    assert_eq!(found, [(9_300, 1, ReleaseReason::RootQuiet, 2)]);
}

/// Exporters that hold spans for five seconds: the wait grows to what they need, and no trace is
/// torn; within bounds, whatever a broken clock says.
#[test]
fn the_quiet_period_follows_the_exporters() {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    for age in 0..500 {
        let end = after(5_000).minus(Duration::from_millis(age * 10));
        assembler.push(span(1000 + u128::from(age), 1, 0, end), after(5_000));
    }
    assembler.poll(after(5_000), &mut Vec::new());
    let lag = assembler.exporter_lag();
    assert!((4.9..6.0).contains(&lag.as_secs_f64()), "{lag:?}");

    assembler.push(span(1, 1, 0, after(6_000)), after(6_000));
    assembler.push(span(1, 2, 1, after(6_000)), after(11_000));
    let found = polled(&mut assembler, 6_000, 20_000);
    let of_one: Vec<_> = found.iter().filter(|(_, id, ..)| *id == 1).collect();
    assert_eq!(of_one.len(), 1, "{of_one:?}");
    assert!(
        (12_000..14_000).contains(&of_one[0].0) && of_one[0].3 == 2,
        "{of_one:?}"
    );

    for _ in 0..9_000 {
        let hours_ago = after(20_000).minus(Duration::from_secs(9_000));
        assembler.push(span_of("clock is behind", hours_ago), after(20_000));
        let in_an_hour = after(20_000).plus(Duration::from_secs(3_600));
        assembler.push(span_of("clock is ahead", in_an_hour), after(20_000));
    }
    assembler.poll(after(20_300), &mut Vec::new());
    assert_eq!(assembler.quiet(), AssemblerConfig::default().max_quiet);
}

#[test]
fn a_limit_lets_go_of_the_full_and_of_the_oldest() {
    let config = AssemblerConfig {
        max_spans_per_trace: 40,
        max_spans_in_flight: 100,
        ..AssemblerConfig::default()
    };
    let mut assembler = Assembler::new(config);
    for id in 1..=41 {
        let expected = if id <= 40 { Pushed::New } else { Pushed::Late };
        assert_eq!(assembler.push(span(1, id, 0, START), START), expected);
    }
    for trace in 2..=5 {
        for id in 1..=30 {
            assembler.push(span(trace, id, 7, START), START);
        }
    }
    let mut traces = Vec::new();
    assembler.poll(START, &mut traces);
    let found: Vec<_> = traces
        .iter()
        .map(|it| (it.trace_id().get(), it.reason()))
        .collect();
    assert_eq!(
        found,
        [(1, ReleaseReason::SpanLimit), (2, ReleaseReason::Memory)]
    );
    traces.clear();
    assembler.flush(&mut traces);
    let found: Vec<_> = traces
        .iter()
        .map(|it| (it.trace_id().get(), it.reason()))
        .collect();
    let flushed = |id| (id, ReleaseReason::Flush);
    assert_eq!(found, [flushed(3), flushed(4), flushed(5)]);
}

/// Of a short trace and a long one, with the links that each had.
#[test]
fn of_two_spans_with_one_id_the_later_ending_stays() {
    for spans in [1, 24, 25, 26, 200] {
        let mut assembler = Assembler::new(AssemblerConfig::default());
        let push = |assembler: &mut Assembler, id: u64, end: u64| {
            let links = (0..end).map(|nth| Link {
                trace_id: trace_id(u128::from(id)),
                span_id: span_id(nth + 1),
            });
            let pushed = Span {
                links: links.collect(),
                ..span(1, id, id - 1, after(end))
            };
            assembler.push(pushed, after(10))
        };
        for id in 1..=spans {
            assert_eq!(push(&mut assembler, id, id % 2), Pushed::New);
        }
        for (end, parity) in [(2, 0), (0, 1)] {
            for id in (1..=spans).filter(|id| id % 2 == parity) {
                assert_eq!(push(&mut assembler, id, end), Pushed::Duplicate);
            }
        }
        let mut traces = Vec::new();
        assembler.flush(&mut traces);
        assert_eq!(traces[0].spans().len() as u64, spans);
        for span in traces[0].spans() {
            let id = span.span_id.get();
            let end = if id.is_multiple_of(2) { 2 } else { 1 };
            assert_eq!(
                (span.end, span.links.len() as u64),
                (after(end), end),
                "{id}"
            );
        }
    }
}

/// One trace that never ends must not make the lists of the others grow.
#[test]
fn what_is_gone_leaves_nothing_behind() {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    for number in 0..20_000u64 {
        let now = after(number * 20);
        assembler.push(span(1, number % 100 + 1, 7, START), now);
        assembler.push(span(2 + u128::from(number), 1, 7, START), now);
        assembler.push(span(2 + u128::from(number), 2, 0, START), now);
        assembler.poll(now, &mut Vec::new());
        let open = assembler.in_flight().traces;
        assert!(
            assembler.by_age.len() <= 2 * open + 1025 && assembler.due.len() <= 2 * open + 1025
        );
    }
}

/// Trace, span, parent (0 for the root), how long after its end it comes.
type Arrival = (u128, u64, u64, u64);

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    prop::collection::vec((1u128..6, 1u64..40, 0u64..40, 0u64..40_000), 0..300)
}

proptest! {
    /// Every span pushed is in exactly one trace that was let go, a duplicate, or late.
    #[test]
    fn every_span_is_accounted_for(
        mut arrivals in arrivals(),
        max_spans_per_trace in 1usize..50,
        max_spans_in_flight in 1usize..120,
    ) {
        arrivals.sort_by_key(|(.., at)| *at);
        let config = AssemblerConfig { max_spans_per_trace, max_spans_in_flight, ..AssemblerConfig::default() };
        let mut assembler = Assembler::new(config);
        let (mut traces, mut new) = (Vec::new(), Vec::new());
        for (trace, id, parent, at) in &arrivals {
            let pushed = assembler.push(span(*trace, *id, *parent, START), after(*at));
            if pushed == Pushed::New {
                new.push((*trace, *id));
            }
            prop_assert!(assembler.in_flight().spans <= max_spans_in_flight);
            assembler.poll(after(*at), &mut traces);
        }
        assembler.flush(&mut traces);
        let counts = assembler.counts();
        prop_assert_eq!(counts.new + counts.duplicate + counts.late, arrivals.len() as u64);
        prop_assert_eq!(counts.released_spans, counts.new);
        let mut released: Vec<(u128, u64)> = traces
            .iter()
            .flat_map(|trace| trace.spans())
            .map(|span| (span.trace_id.get(), span.span_id.get()))
            .collect();
        released.sort_unstable();
        new.sort_unstable();
        prop_assert_eq!(released, new);
        let by_reason = counts.root_quiet + counts.idle + counts.span_limit + counts.memory + counts.flush;
        prop_assert_eq!(by_reason, traces.len() as u64);
        prop_assert_eq!(assembler.in_flight(), InFlight::default());
    }

    /// A request's spans become what they would have become one after the other.
    #[test]
    fn spans_that_come_together_are_taken_as_if_alone(
        mut arrivals in arrivals(),
        max_spans_per_trace in 1usize..50,
        requests in 1usize..20,
    ) {
        arrivals.sort_by_key(|(.., at)| *at);
        let config = AssemblerConfig { max_spans_per_trace, ..AssemblerConfig::default() };
        let (mut alone, mut together) = (Assembler::new(config), Assembler::new(config));
        let (mut one_by_one, mut at_once) = (Vec::new(), Vec::new());
        for request in arrivals.chunks(arrivals.len().div_ceil(requests).max(1)) {
            let now = after(request[0].3);
            let spans = request.iter().map(|(trace, id, parent, at)| span(*trace, *id, *parent, after(*at)));
            for span in spans.clone() {
                alone.push(span, now);
            }
            together.push_all(&spans.collect(), now);
            alone.poll(now, &mut one_by_one);
            together.poll(now, &mut at_once);
        }
        prop_assert_eq!(alone.in_flight(), together.in_flight());
        alone.flush(&mut one_by_one);
        together.flush(&mut at_once);
        prop_assert_eq!(at_once, one_by_one);
        prop_assert_eq!(together.counts(), alone.counts());
    }

    /// In whatever order spans come, and however often, the traces are the same.
    #[test]
    fn the_order_of_arrival_makes_no_difference(
        heap in prop::collection::vec((1u128..6, 1u64..60), 1..200),
        turn: prop::sample::Index,
    ) {
        let make = |(trace, id): (u128, u64), repeated: u64| {
            // What an id says must not depend on when it is sent, but for the end.
            span(trace, id, id / 2, after(id * 7 + repeated))
        };
        let assembled = |order: &mut dyn Iterator<Item = Span>| {
            let mut assembler = Assembler::new(AssemblerConfig::default());
            for (at, span) in order.enumerate() {
                assembler.push(span, after(at as u64));
            }
            let mut traces = Vec::new();
            assembler.flush(&mut traces);
            traces.into_iter().map(|it| (it.trace_id(), it)).collect::<BTreeMap<_, _>>()
        };
        let all: Vec<Span> = heap.iter().flat_map(|it| [make(*it, 0), make(*it, 3), make(*it, 0)]).collect();
        let mut turned = all.clone();
        turned.rotate_left(turn.index(all.len()));
        let expected = assembled(&mut all.clone().into_iter());
        prop_assert_eq!(&assembled(&mut all.into_iter().rev()), &expected);
        prop_assert_eq!(&assembled(&mut turned.into_iter()), &expected);
    }
}
