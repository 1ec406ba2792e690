//! Which invocations are abnormal? As TraceRCA has it, who mines traces for those that share them.
//!
//! Li and others (2021), section on anomaly detection: an invocation is one service asking another, and has several
//! metrics, of which traces know two: how long it took, and whether it failed. Of each pair of services a metric is used
//! when the fault changed it: when its mean distance from the mean of before, in standard deviations of before, is more than
//! four times what it was before, and one. An invocation is abnormal when a used metric lies more than a standard
//! deviation from the mean of before. The numbers are those of the code that the authors released.
//!
//! An abnormal invocation is marked as failed, so that the request's row says so; failures stay failures.

use std::collections::BTreeMap;

use rekindle_model::{Name, Span, Status, Trace};

use super::slow::failed_at;
use crate::public::LabelledTraces;

/// A metric is used when it lies so many times further away than before, beside once.
const FURTHER: f64 = 3.0;
/// And so many standard deviations.
const AT_LEAST: f64 = 1.0;
/// An invocation is abnormal so many standard deviations away.
const SIGMAS: f64 = 1.0;
/// Standard deviations are at least so much of the mean, and so much.
const LEAST_DEVIATION: (f64, f64) = (0.01, 0.01);

/// Who asked (nobody, where the request entered), and who was asked.
type Pair = (Option<Name>, Name);

/// One metric of a pair before: milliseconds, or 1 for a failure.
#[derive(Clone, Copy, Debug)]
struct Usual {
    mean: f64,
    deviation: f64,
}

impl Usual {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / n;
        let least = mean * LEAST_DEVIATION.0 + LEAST_DEVIATION.1;
        Self {
            mean,
            deviation: variance.sqrt().max(least),
        }
    }

    /// The mean distance from the mean, in deviations.
    fn distance(self, values: &[f64]) -> f64 {
        let sum: f64 = values.iter().map(|value| (value - self.mean).abs()).sum();
        sum / values.len() as f64 / self.deviation
    }
}

/// The metrics of every pair's invocations.
fn metrics(traces: &[Trace]) -> BTreeMap<Pair, [Vec<f64>; 2]> {
    let mut found: BTreeMap<Pair, [Vec<f64>; 2]> = BTreeMap::new();
    for trace in traces {
        for (at, span) in trace.spans().iter().enumerate() {
            let Some(pair) = invocation(trace, at) else {
                continue;
            };
            let of = found.entry(pair).or_default();
            for (values, value) in of.iter_mut().zip(values(span)) {
                values.push(value);
            }
        }
    }
    found
}

fn values(span: &Span) -> [f64; 2] {
    let millis = span.end.0.saturating_sub(span.start.0) as f64 / 1e6;
    [millis, f64::from(u8::from(span.status == Status::Error))]
}

/// The pair whose invocation the span is: the first one in its service.
fn invocation(trace: &Trace, at: usize) -> Option<Pair> {
    let service = &trace.spans()[at].resource.service;
    let caller = trace
        .parent(at)
        .map(|parent| &trace.spans()[parent].resource.service);
    (caller != Some(service)).then(|| (caller.cloned(), service.clone()))
}

/// The same traces, where abnormal invocations failed.
pub(super) fn abnormal_ones_failed(traces: &LabelledTraces) -> LabelledTraces {
    let now = metrics(&traces.window);
    let used: BTreeMap<Pair, [Option<Usual>; 2]> = metrics(&traces.baseline)
        .into_iter()
        .filter_map(|(pair, before)| {
            let now = now.get(&pair)?;
            let used = [0, 1].map(|metric| {
                let usual = Usual::of(&before[metric]);
                let [before, now] = [&before[metric], &now[metric]].map(|of| usual.distance(of));
                (now - before > FURTHER * before + AT_LEAST).then_some(usual)
            });
            Some((pair, used))
        })
        .collect();
    let marked = |trace: &Trace| {
        let abnormal = |at: &usize| {
            let used = invocation(trace, *at).and_then(|pair| used.get(&pair));
            used.is_some_and(|used| {
                let found = used.iter().zip(values(&trace.spans()[*at]));
                let far = |usual: Usual, value: f64| {
                    (value - usual.mean).abs() > SIGMAS * usual.deviation
                };
                found
                    .into_iter()
                    .any(|(usual, value)| usual.is_some_and(|usual| far(usual, value)))
            })
        };
        failed_at(trace, (0..trace.spans().len()).filter(abnormal))
    };
    LabelledTraces {
        baseline: traces.baseline.clone(),
        window: traces.window.iter().map(marked).collect(),
        unreadable: traces.unreadable,
        interventions: traces.interventions.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::spans::{Builder, RawSpan};
    use rekindle_model::{SpanKind, UnixNanos};

    /// The shop asks the cart, which takes so long, and may fail.
    fn trace(id: u128, millis: u64, error: bool) -> Trace {
        let span =
            |id: u64, parent: Option<u64>, service: &str, kind, millis: u64, error| RawSpan {
                id,
                parent,
                kind,
                service: service.into(),
                instance: None,
                name: "GET /".into(),
                start: UnixNanos(1),
                nanos: millis * 1_000_000,
                http_status: None,
                error,
                peer: None,
            };
        let spans = vec![
            span(1, None, "shop", SpanKind::Server, 500, false),
            span(2, Some(1), "shop", SpanKind::Client, millis + 1, error),
            span(3, Some(2), "cart", SpanKind::Server, millis, error),
        ];
        Builder::default().trace(id, spans).expect("spans")
    }

    fn failed(traces: &[Trace]) -> Vec<(u128, String)> {
        let all = traces.iter().flat_map(Trace::spans);
        let failed = all.filter(|span| span.status == Status::Error);
        failed
            .map(|span| (span.trace_id.get(), span.resource.service.to_string()))
            .collect()
    }

    #[test]
    fn what_the_fault_changed_is_abnormal_and_nothing_else_is() {
        let baseline: Vec<Trace> = (1..=50)
            .map(|n| trace(n, 10 + n as u64 % 5, false))
            .collect();
        let with = |window: Vec<Trace>| {
            let baseline = baseline.clone();
            let traces = LabelledTraces {
                baseline,
                window,
                ..LabelledTraces::default()
            };
            failed(&abnormal_ones_failed(&traces).window)
        };
        let cart = |ids: &[u128]| -> Vec<(u128, String)> {
            ids.iter().map(|id| (*id, "cart".to_owned())).collect()
        };
        // Five deviations and more away on the mean: both slow ones are abnormal, the third isn't.
        let slow = vec![
            trace(100, 90, false),
            trace(101, 60, false),
            trace(102, 12, false),
        ];
        assert_eq!(with(slow), cart(&[100, 101]));
        // As much as ever: though the last one is more than a deviation away.
        let calm = vec![
            trace(100, 10, false),
            trace(101, 12, false),
            trace(102, 14, false),
        ];
        assert_eq!(with(calm), []);
    }
}
