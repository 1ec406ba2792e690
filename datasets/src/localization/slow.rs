//! What may methods know of slow requests that know failures alone?
//!
//! Spectra, clusters and trees tell failed requests from good ones; where a fault makes nobody fail, they have
//! nothing to say, and a table that let them guess would be unfair. So where no more requests failed than
//! before (by Fisher's exact test), the slow ones count as failed for them: those that took longer than 95 %
//! of the requests of their type before. It is the rule that such methods are mostly given, and the only
//! one that asks for no threshold in milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_analysis::rank::{Case, Input, Method};
use rekindle_model::{Name, Outcome, Span, Status, Trace};
use rekindle_stats::{Share, fisher_greater};

use crate::public::LabelledTraces;

/// More failures than before are believed when chance makes them once in twenty times.
const MISTAKES: f64 = 0.05;
/// The share of good requests that are no slower than the limit.
const QUICK: f64 = 0.95;

/// Whether the method learns from nothing but which requests failed.
pub(super) fn knows_failures_alone(method: Method) -> bool {
    match method {
        Method::Default
        | Method::ComponentInteraction
        | Method::PathShape
        | Method::TraceRca
        | Method::LargestZ
        | Method::AlertCount
        | Method::ThreeSigma => false,
        Method::Ochiai
        | Method::Tarantula
        | Method::Jaccard
        | Method::DStar
        | Method::Op2
        | Method::Barinel
        | Method::Pinpoint
        | Method::DecisionTree
        | Method::C45
        | Method::MicroRank => true,
    }
}

/// Whether more requests failed than before.
pub(super) fn more_failed(input: &Input) -> bool {
    let share = |cases: &[Case]| {
        let known = cases.iter().filter(|case| case.outcome != Outcome::Unknown);
        let count = |case: &Case| {
            if case.outcome.is_bad() {
                (case.count, 0)
            } else {
                (0, case.count)
            }
        };
        let (bad, good) = known
            .map(count)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Share::of(bad, good)
    };
    fisher_greater(share(&input.window), share(&input.baseline)) <= MISTAKES
}

/// The same traces, where slow requests failed.
pub(super) fn slow_ones_failed(traces: &LabelledTraces) -> LabelledTraces {
    let mut before: BTreeMap<(Name, Name), Vec<u64>> = BTreeMap::new();
    for trace in &traces.baseline {
        let (of, took) = request(trace);
        before.entry(of).or_default().push(took);
    }
    let limits: BTreeMap<(Name, Name), u64> = before
        .into_iter()
        .filter_map(|(of, mut took)| {
            took.sort_unstable();
            let at = (took.len() as f64 * QUICK).ceil() as usize;
            Some((of, *took.get(at.checked_sub(1)?)?))
        })
        .collect();
    let marked = |part: &[Trace]| -> Vec<Trace> {
        let marked = part.iter().map(|trace| {
            let (of, took) = request(trace);
            let slow = limits.get(&of).is_some_and(|limit| took > *limit);
            match slow {
                true => failed_at(trace, [first(trace)]),
                false => trace.clone(),
            }
        });
        marked.collect()
    };
    LabelledTraces {
        baseline: marked(&traces.baseline),
        window: marked(&traces.window),
        unreadable: traces.unreadable,
        interventions: traces.interventions.clone(),
    }
}

/// The span that stands for the whole request.
fn first(trace: &Trace) -> usize {
    trace.root().unwrap_or(0)
}

/// Service and operation of a request, and how many nanoseconds it took.
fn request(trace: &Trace) -> ((Name, Name), u64) {
    let span = &trace.spans()[first(trace)];
    let took = span.end.0.saturating_sub(span.start.0);
    ((span.resource.service.clone(), span.name.clone()), took)
}

/// The same trace, where these spans failed.
pub(super) fn failed_at(trace: &Trace, spans_at: impl IntoIterator<Item = usize>) -> Trace {
    let mut spans: Vec<Span> = trace.spans().to_vec();
    for at in spans_at {
        Arc::make_mut(&mut spans[at].shape).status = Status::Error;
    }
    // There is a span, or there had been no trace.
    Trace::new(spans, trace.reason()).unwrap_or_else(|_| trace.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::spans::{Builder, RawSpan};
    use rekindle_analysis::{AnalysisConfig, input_of};
    use rekindle_model::{SpanKind, UnixNanos};

    fn trace(id: u128, service: &str, millis: u64) -> Trace {
        let span = RawSpan {
            id: 1,
            parent: None,
            kind: SpanKind::Server,
            service: service.into(),
            instance: None,
            name: "GET /".into(),
            start: UnixNanos(1),
            nanos: millis * 1_000_000,
            http_status: None,
            error: false,
            peer: None,
        };
        let trace = Builder::default().trace(id, vec![span]);
        trace.expect("a span")
    }

    #[test]
    fn whoever_is_slower_than_nineteen_of_twenty_failed() {
        let traces = LabelledTraces {
            baseline: (1..=100).map(|n| trace(n.into(), "shop", n)).collect(),
            window: [94, 95, 96, 300]
                .iter()
                .map(|millis| trace(1_000 + u128::from(*millis), "shop", *millis))
                .chain([trace(2_000, "new", 9_000)])
                .collect(),
            ..LabelledTraces::default()
        };
        let config = AnalysisConfig::default();
        let input = input_of(&config, &traces.baseline, &traces.window);
        assert!(!more_failed(&input));
        let marked = slow_ones_failed(&traces);
        let bad = |part: &[Trace]| {
            let spans = part.iter().map(|trace| &trace.spans()[0]);
            spans.filter(|span| span.status == Status::Error).count()
        };
        assert_eq!((bad(&marked.baseline), bad(&marked.window)), (5, 2));
        let input = input_of(&config, &traces.baseline, &marked.window);
        assert!(more_failed(&input));
    }
}
