//! Questions with known answers, asked over and over.
//!
//! Two kinds. A unit's *check* is about that unit, and its answers go to the engine as they are. An
//! end-to-end *question* goes in at the front door as a user's request does, with a trace id of ours:
//! whether the answer was right becomes an outcome report about that trace, so that a component that
//! answers wrongly with status OK is found by the requests that it spoilt.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rekindle_model::{
    Name, Outcome, OutcomeReport, Resource, Shape, Span, SpanId, SpanKind, TraceId, UnixNanos,
};
use rekindle_recovery::probe::Probes;
use rekindle_recovery::{ProbeSpec, UnitName};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::CheckResult;

/// What somebody outside says about a request, and the span of their asking where we know it: our
/// own probes are the root of the traces that they begin, and export to nobody.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) report: OutcomeReport,
    pub(crate) root: Option<Span>,
}

/// The service that our probes' root spans come from. It serves nobody, so it is a user to the
/// analysis.
const PROBER: &str = "rekindle-probe";

/// One end-to-end question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Its name: who says that an answer was wrong.
    pub(crate) name: String,
    /// What is asked, and what is right.
    pub(crate) spec: ProbeSpec,
    /// The time between two askings.
    pub(crate) every: Duration,
}

/// Asks the questions until the daemon stops.
pub(crate) fn spawn_questions(
    tasks: &mut JoinSet<()>,
    questions: Vec<Question>,
    probes: &Probes,
    reports: &mpsc::Sender<Vec<Judgement>>,
    shutdown: &watch::Receiver<bool>,
) {
    for question in questions {
        let (probes, reports) = (probes.clone(), reports.clone());
        let mut shutdown = shutdown.clone();
        let prober = Arc::new(Resource {
            service: PROBER.into(),
            instance: None,
            version: None,
            host: None,
            attributes: vec![(Name::from("service.name"), Name::from(PROBER))],
        });
        tasks.spawn(async move {
            let mut ticks = steady(question.every);
            loop {
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return,
                    _ = ticks.tick() => {}
                }
                let (trace_id, span_id) = fresh_ids();
                let start: UnixNanos = SystemTime::now().into();
                let traceparent = format!("00-{trace_id}-{span_id}-01");
                let answer = probes.probe_traced(&question.spec, Some(traceparent)).await;
                let end: UnixNanos = SystemTime::now().into();
                let outcome = if answer.is_ok() {
                    Outcome::Ok
                } else {
                    Outcome::Failed
                };
                let judgement = Judgement {
                    report: OutcomeReport {
                        trace_id,
                        outcome,
                        reporter: Name::from(format!("probe {}", question.name)),
                        at: end,
                        detail: answer.err().map(|failure| Name::from(failure.to_string())),
                    },
                    root: Some(Span {
                        trace_id,
                        span_id,
                        parent_id: None,
                        parent_is_remote: None,
                        start,
                        end,
                        // Whether the answer was right is in the report; the spans below say what
                        // they know.
                        shape: Arc::new(Shape {
                            kind: SpanKind::Client,
                            name: Name::from(question.name.as_str()),
                            resource: Arc::clone(&prober),
                            ..Shape::default()
                        }),
                        links: Box::default(),
                    }),
                };
                if reports.send(vec![judgement]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Asks the units' checks until the daemon stops.
pub(crate) fn spawn_checks(
    tasks: &mut JoinSet<()>,
    checks: Vec<(UnitName, ProbeSpec)>,
    every: Duration,
    probes: &Probes,
    results: &mpsc::Sender<CheckResult>,
    shutdown: &watch::Receiver<bool>,
) {
    for (unit, spec) in checks {
        let (probes, results) = (probes.clone(), results.clone());
        let mut shutdown = shutdown.clone();
        tasks.spawn(async move {
            let mut ticks = steady(every);
            loop {
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return,
                    _ = ticks.tick() => {}
                }
                let answer = probes.probe_traced(&spec, None).await;
                let answer = answer.map_err(|failure| failure.to_string());
                if results
                    .send(CheckResult {
                        unit: unit.clone(),
                        answer,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
}

/// Ticks that don't bunch up after a slow answer.
fn steady(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// Ids that nobody else has. Zero is no id, and comes up once in 2⁶⁴ draws.
fn fresh_ids() -> (TraceId, SpanId) {
    loop {
        if let (Some(trace), Some(span)) = (
            TraceId::from_bytes(rand::random()),
            SpanId::from_bytes(rand::random()),
        ) {
            return (trace, span);
        }
    }
}
