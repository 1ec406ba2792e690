//! What production does to telemetry, and must not fool us: samplers, clocks that disagree, messages that
//! are linked and not nested, streams that last.

use rekindle_model::{Link, Sampling, Span, SpanKind, Trace};

use super::*;
use crate::Standing;

/// The trace with its spans changed.
fn changed(trace: &Trace, change: impl Fn(&mut Span)) -> Trace {
    let mut spans = trace.spans().to_vec();
    spans.iter_mut().for_each(change);
    Trace::new(spans, trace.reason()).expect("as many spans")
}

fn shifted(span: &mut Span, ahead: bool, by: Duration) {
    let shift = |at: UnixNanos| if ahead { at.plus(by) } else { at.minus(by) };
    (span.start, span.end) = (shift(span.start), shift(span.end));
}

/// All failures are kept, and one success of eight. Where the sampler says so, the share of all that
/// fails is known; where it doesn't, nothing is but that it is unknown. The fault is found either way.
#[test]
fn a_sampler_that_keeps_failures_is_seen_through_or_said() {
    for (said, is_known) in [(true, true), (false, false)] {
        let mut site = Site::new();
        let mut failing = false;
        for round in 0..4_000u64 {
            failing |= round == 2_000;
            let fault = match failing && round % 4 == 0 {
                true => Fault::SearchRaises,
                false => Fault::None,
            };
            let trace = site.make(fault);
            let is_bad = crate::outcome::failure(&trace.spans()[0]).is_some();
            if !is_bad && round % 8 != 1 && round % 8 != 3 {
                continue;
            }
            let threshold = if is_bad {
                0
            } else {
                Sampling::THRESHOLDS / 4 * 3
            };
            let sampling = match said {
                true => Sampling::Threshold(threshold),
                false => Sampling::Undeclared,
            };
            site.take(&changed(&trace, |span| {
                span.facts.sampling = Some(sampling);
            }));
        }
        assert!(!site.analyzer.incidents().is_empty(), "said: {said}");
        assert_eq!(first(&site.ranking()).components[0].name.as_str(), "search");
        assert_eq!(site.analyzer.is_sampled_unsaid(&[]), !is_known);
        let types = site.analyzer.request_types();
        let search = types
            .iter()
            .find(|it| it.request_type.operation.as_str() == "GET /search");
        let search = search.expect("it was asked for");
        let kept = search.failure_share.expect("some came");
        match search.standing {
            Standing::Estimate { failure_share, .. } => {
                let all = failure_share.expect("some came");
                assert!(
                    is_known && all < kept / 2.0,
                    "{all} of all, {kept} of those kept"
                );
            }
            other => assert!(!is_known && other == Standing::Unknown, "{other:?}"),
        }
    }
}

/// Hosts' clocks are off by minutes, so children lie outside their parents. Only durations cross
/// processes, so the culprit is the same, by the same evidence.
#[test]
fn clocks_that_disagree_change_no_ranking() {
    let run = |ahead: bool, by: u64| {
        let mut site = Site::new();
        for fault in [Fault::None, Fault::SearchRaises] {
            for _ in 0..300 {
                let trace = site.make(fault);
                let by = Duration::from_secs(by);
                site.take(&changed(&trace, |span| {
                    if span.resource.service.as_str() == "catalog" {
                        shifted(span, ahead, by);
                    }
                }));
            }
        }
        let ranking = site.ranking();
        let suspect = first(&ranking);
        (suspect.components.clone(), suspect.evidence.clone())
    };
    let together = run(true, 0);
    assert_eq!(together.0[0].name.as_str(), "search");
    assert_eq!(run(true, 40), together);
    assert_eq!(run(false, 40), together);
    assert_eq!(run(true, 600), together);
}

/// One host of two has a clock in the future: a little, and by an hour. Rates of the others stay what
/// they are, and its own requests are watched like theirs.
#[test]
fn a_host_in_the_future_hides_nobody() {
    for ahead in [50, 3_600] {
        let mut site = Site::new();
        for round in 0..1_200u64 {
            let mut call = Call::server("web", "GET /search");
            let in_the_future = round % 2 == 0;
            if in_the_future {
                call = call.instance("web-2").host("ahead");
                if round >= 600 {
                    call = call.http(500);
                }
            }
            let trace = site.build(call);
            // The clock is the span's alone: it comes when it comes.
            let told = changed(&trace, |span| {
                if in_the_future {
                    shifted(span, true, Duration::from_secs(ahead));
                }
            });
            let now = site.now;
            for span in told.spans() {
                site.analyzer.span(span, now);
            }
            site.analyzer.trace(&told, now);
            site.analyzer.tick(now);
        }
        let counts = site.analyzer.counts();
        assert_eq!(counts.get(LeftOut::OutsideWindow), 0, "{ahead}");
        let types = site.analyzer.request_types();
        let share = types[0].failure_share.expect("they came");
        assert!((share - 0.5).abs() < 0.1, "{ahead}: {share}");
        assert!(!site.analyzer.incidents().is_empty(), "{ahead}");
        let rate = site
            .analyzer
            .throughput(&component(Level::Service, "web", "web"));
        assert!((rate - 10.0).abs() < 1.0, "{ahead}: {rate}");
    }
}

/// An order is taken and its message consumed later, in a trace of its own that is linked to the first.
/// The consumer's failures are its own, and the one who sent is no suspect.
#[test]
fn a_message_is_linked_and_its_consumer_stands_for_itself() {
    let mut site = Site::new();
    for round in 0..1_200u64 {
        let send = Call::client("orders send").kind(SpanKind::Producer);
        let sent = site.build(Call::server("web", "POST /order").http(202).with(send));
        site.take(&sent);
        let producer = &sent.spans()[1];
        let link = Link {
            trace_id: producer.trace_id,
            span_id: producer.span_id,
        };
        let mut consume = Call::server("worker", "orders process").kind(SpanKind::Consumer);
        if round >= 600 {
            consume = consume.error("PoisonMessage");
        }
        let consumed = site.build(consume);
        site.take(&changed(&consumed, |span| span.links = [link].into()));
    }
    let incidents = site.analyzer.incidents();
    assert_eq!(incidents.len(), 1);
    let failing: Vec<String> = incidents[0]
        .request_types
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(failing, ["worker orders process"]);
    let ranking = site.ranking();
    assert_eq!(first(&ranking).components[0].service.as_str(), "worker");
    let named = ranking.suspects.iter().flat_map(|it| &it.components);
    assert!(
        named.clone().all(|it| it.service.as_str() != "web"),
        "{:?}",
        named.collect::<Vec<_>>()
    );
}

/// Streams that last minutes end long after they began. That they break is noticed all the same, and
/// that they last is no fault.
#[test]
fn long_streams_are_not_slow_and_their_end_is_seen() {
    let mut site = Site::new();
    for round in 0..600u64 {
        let mut stream = Call::server("feed", "shop.Feed/Watch").takes(60_000 + round % 7 * 60_000);
        if round >= 400 {
            stream = stream.grpc(14).takes(120_000);
        }
        let trace = site.build(stream);
        let end = trace.spans()[0].end;
        site.now = site.now.max(end).plus(Duration::from_millis(500));
        for span in trace.spans() {
            site.analyzer.span(span, site.now);
        }
        site.analyzer.trace(&trace, site.now);
        let now = site.now;
        site.changes.extend(site.analyzer.tick(now));
        if round == 399 {
            assert!(site.analyzer.incidents().is_empty(), "lasting is no fault");
        }
    }
    assert!(!site.analyzer.incidents().is_empty(), "they break");
}

/// A window that is long leaves out the newest durations while its incident goes on, and the requests of which they
/// are with them. Who names a time gets all of it.
#[test]
fn a_long_window_leaves_out_the_newest_requests_of_an_open_incident_alone() {
    for (seconds, is_long) in [(60, false), (100, true)] {
        let mut site = Site::new();
        site.run(60, Fault::None).run(seconds, Fault::SearchRaises);
        let incident = site.analyzer.incidents().last().expect("an incident");
        assert!(incident.is_open());
        let types = &incident.request_types;
        let until = site.now.plus(Duration::from_nanos(1));
        let named = site.analyzer.input_between(types, incident.since, until);
        let open = site.analyzer.input(incident.id).expect("its input");
        for (input, leaves_out) in [(&named, false), (&open, is_long)] {
            let fares_well = |of: usize| !types.contains(&input.request_types[of]);
            let is_entry = |place: usize| {
                let component = &input.subjects[place].component;
                component.level == Level::Operation && component.service.as_str() == "web"
            };
            let touched = input.touched.iter();
            let touched = touched.filter(|it| is_entry(it.subject) && fares_well(it.request_type));
            let touched: u64 = touched.map(|it| it.window).sum();
            let came = input.window.iter().filter(|case| !case.of_incident);
            let came: u64 = came.map(|case| case.count).sum();
            assert_eq!(touched < came, leaves_out, "{touched} of {came}");
            // Nine slices of ten requests at most.
            assert!(came - touched <= 90, "{touched} of {came}");
        }
    }
}
