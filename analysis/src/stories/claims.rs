//! Is what an explanation claims true of the traces? Recounted from the spans, by other code.

use rekindle_model::{Span, Trace};

use super::*;
use crate::rank::{facts, rank};
use crate::{Doubt, Measured, Relation, input_of};

/// Runs calm, then with the fault; the traces come back with the site.
fn told(fault: Fault, calm: u64, faulty: u64) -> (Site, Vec<Trace>) {
    let mut site = Site::new();
    let mut traces = Vec::new();
    for n in 0..(calm + faulty) * 10 {
        let trace = site.make(if n < calm * 10 { Fault::None } else { fault });
        site.take(&trace);
        traces.push(trace);
    }
    // The last ones end.
    site.now = site.now.plus(Duration::from_secs(5));
    (site, traces)
}

fn failed(trace: &Trace) -> bool {
    trace.spans()[0]
        .facts
        .http_status
        .is_some_and(|status| status >= 500)
}

fn touches(trace: &Trace, which: fn(&Span) -> bool) -> bool {
    trace.spans().iter().any(which)
}

#[test]
fn counts_are_those_of_the_traces() {
    let search: fn(&Span) -> bool = |span| span.facts.code_component.as_deref() == Some("search");
    let at_bidding: fn(&Span) -> bool = |span| {
        span.resource.service.as_str() == "bidding" || span.facts.server_port == Some(BIDDING.1)
    };
    let second_catalog: fn(&Span) -> bool =
        |span| span.resource.instance.as_deref() == Some("catalog-2");
    for (fault, which) in [
        (Fault::SearchRaises, search),
        (Fault::BiddingKilled, at_bidding),
        (Fault::CatalogTwoRaises, second_catalog),
    ] {
        let (site, traces) = told(fault, 60, 8);
        let ranking = site.ranking();
        let named = first(&ranking);
        let explanation = &named.explanation;
        let count = |wanted: &dyn Fn(&Trace) -> bool| {
            traces.iter().filter(|trace| wanted(trace)).count() as u64
        };
        let all_failed = count(&failed);
        let all_ok = count(&|trace| !failed(trace));
        let evidence = &named.evidence;
        let context = format!("{fault:?}: {named:#?}");
        assert_eq!(evidence.failed_total, all_failed, "{context}");
        assert_eq!(evidence.ok_total, all_ok, "{context}");
        let compared = &explanation.compared;
        assert_eq!(compared.window.failed, all_failed, "{context}");
        assert_eq!(
            compared.window.ok + compared.baseline.ok,
            all_ok,
            "{context}"
        );
        assert_eq!(compared.baseline.failed, 0, "{context}");
        assert_eq!(
            evidence.failed_touching,
            count(&|trace| failed(trace) && touches(trace, which)),
            "{context}"
        );
        assert_eq!(
            evidence.ok_touching,
            count(&|trace| !failed(trace) && touches(trace, which)),
            "{context}"
        );
        // In these stories every failure begins in the culprit.
        assert_eq!(explanation.origin.of_failed.hits, all_failed, "{context}");
        assert_eq!(explanation.origin.of_failed.total, all_failed, "{context}");
        assert_eq!(explanation.origin.before.hits, 0, "{context}");
        let since = traces.iter().position(failed).expect("a failure");
        let touched_since = traces[since..].iter().filter(|t| touches(t, which)).count() as u64;
        assert!(
            explanation.origin.now.total >= touched_since
                && explanation.origin.now.total <= touched_since + 10,
            "the window begins within a second of the first failure: {context}"
        );
        for (_, n) in &explanation.origin.errors {
            assert_eq!(*n, all_failed, "{context}");
        }
    }
}

#[test]
fn examples_differ_in_what_went_wrong_and_little_else() {
    let (site, traces) = told(Fault::SearchRaises, 60, 8);
    let ranking = site.ranking();
    let named = first(&ranking);
    let pairs = &named.explanation.pairs;
    assert_eq!(pairs.len(), 3, "{named:#?}");
    let find = |id| {
        let found = traces.iter().find(|trace| trace.trace_id() == id);
        found.expect("a trace of this site")
    };
    for pair in pairs {
        let (bad, good) = (find(pair.failed), find(pair.ok));
        assert!(failed(bad) && !failed(good));
        let names = |trace: &Trace| -> Vec<String> {
            let spans = trace.spans().iter();
            spans.map(|span| span.name.to_string()).collect()
        };
        assert_eq!(names(bad), names(good), "the same way through the site");
        assert!(pair.alike > 0.7, "{pair:?}");
        assert!(named.examples.failed.contains(&pair.failed));
        assert!(named.examples.ok.contains(&pair.ok));
    }
}

#[test]
fn what_speaks_against_it_and_whom_it_was_preferred_to() {
    let (site, _) = told(Fault::SearchAndAccounts, 60, 20);
    // Asked of a time instead of an incident: two faults at once are two incidents.
    let since = site.analyzer.incidents()[0].since;
    let both = site.analyzer.input_between(&[], since, site.now);
    let ranking = crate::rank::rank(Method::Default, &both);
    let named = first(&ranking);
    let elsewhere = named
        .explanation
        .against
        .iter()
        .find_map(|doubt| match doubt {
            Doubt::FailuresElsewhere(share) => Some(*share),
            _ => None,
        });
    let elsewhere = elsewhere.expect("another fault");
    assert_eq!(
        elsewhere.hits + named.evidence.originated,
        named.evidence.failed_total
    );
    let preferred = &named.explanation.preferred_to;
    assert!(!preferred.is_empty());
    for (other, listed) in ranking.suspects[1..].iter().zip(preferred) {
        assert_eq!(other.components, listed.components);
        let times = listed.times_likelier.expect("a possible one");
        assert!((times - named.confidence / other.confidence).abs() < 1e-9);
        assert_eq!(listed.originated.1, other.evidence.originated);
    }
    let whole = preferred
        .iter()
        .find(|other| other.relation == Relation::Whole);
    let part_of = |service: &str| named.components[0].service.as_str() == service;
    if let Some(whole) = whole {
        assert!(part_of(&whole.components[0].name), "{named:#?}");
    }
    let rows = facts(named);
    for wanted in [
        "compared",
        "touched it",
        "failures began in it",
        "against it",
        "preferred to",
    ] {
        assert!(
            rows.iter().any(|row| row.what == wanted),
            "{wanted}: {rows:#?}"
        );
    }
}

/// A shop asks a cart, which takes so long.
fn cart(n: u64, millis: u64, stops: bool) -> Trace {
    let cart = Call::server("cart", "GET /cart").takes(millis + n % 3);
    let stock = Call::client("call").with(Call::server("stock", "GET /stock").takes(8 + n % 5));
    let shop = Call::server("shop", "GET /").takes(5 + n % 4);
    let shop = shop.with(Call::client("call").with(cart));
    let shop = if stops { shop } else { shop.with(stock) };
    let t = T {
        id: u128::from(n) + 1,
        ..T::default()
    };
    t.build(shop)
}

fn ranked(baseline: &[Trace], window: &[Trace]) -> Suspect {
    let input = input_of(&AnalysisConfig::default(), baseline, window);
    first(&rank(Method::Default, &input)).clone()
}

#[test]
fn durations_are_those_of_the_traces() {
    let baseline: Vec<Trace> = (0..300).map(|n| cart(n, 10, false)).collect();
    let window: Vec<Trace> = (300..360).map(|n| cart(n, 90, false)).collect();
    let named = ranked(&baseline, &window);
    let shift = named.explanation.latency.as_ref().expect("a shift");
    let component = match &shift.what {
        Measured::Visit(component) | Measured::OwnWork(component) => component,
        Measured::Way { to, .. } => to,
    };
    assert_eq!(component.service.as_str(), "cart", "{named:#?}");
    assert_eq!((shift.before.calls, shift.now.calls), (300, 60));
    for (nanos, millis) in [
        (shift.before.median_nanos, 11.0),
        (shift.now.median_nanos, 91.0),
        (shift.now.p90_nanos, 92.0),
    ] {
        let found = nanos.expect("calls") as f64 / 1e6;
        // A bucket's width, and a millisecond on the way there and back.
        assert!(
            (found - millis).abs() < 0.05 * millis + 2.0,
            "{found} for {millis}"
        );
    }
    assert!(shift.affected > 0.99 && shift.doublings > 2.0, "{shift:?}");
    assert!(named.explanation.structure.is_none(), "{named:#?}");
    assert!(
        named
            .explanation
            .against
            .contains(&Doubt::NoFailureBeganInIt)
    );
}

#[test]
fn visits_that_stop_are_counted() {
    let baseline: Vec<Trace> = (0..300).map(|n| cart(n, 10, false)).collect();
    let window: Vec<Trace> = (300..360).map(|n| cart(n, 10, n % 4 != 0)).collect();
    let named = ranked(&baseline, &window);
    let change = named.explanation.structure.as_ref().expect("a change");
    assert_eq!(change.operation.service.as_str(), "shop", "{named:#?}");
    assert_eq!((change.before.hits, change.before.total), (0, 300));
    assert_eq!((change.now.hits, change.now.total), (45, 60));
    let after = change.after.as_ref().map(|last| last.service.as_str());
    assert_eq!(after, Some("cart"));
    assert!(
        change.at_least > 0.5 && change.at_least < 0.75,
        "{change:?}"
    );
}

#[test]
fn a_service_that_is_named_like_a_probe_is_no_probe() {
    let mut site = Site::new();
    let page = |broken: bool| {
        let answer = Call::server("catalog", "GET /catalog").http(if broken { 500 } else { 200 });
        let call = Call::client("GET")
            .with(answer)
            .http(if broken { 500 } else { 200 });
        let page = Call::server("reporter:probe x", "GET /").http(if broken { 502 } else { 200 });
        page.with(call)
    };
    for n in 0..640 {
        site.now = site.now.plus(Duration::from_millis(100));
        let trace = T {
            id: u128::from(n + 1_u32),
            start: site.now,
        }
        .build(page(n >= 600));
        site.take(&trace);
    }
    let ranking = site.ranking();
    assert_eq!(
        first(&ranking).callers,
        [Caller::Component("reporter:probe x".into())]
    );
}
