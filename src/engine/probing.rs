//! Questions with known answers, asked over and over.
//!
//! Two kinds. A unit's *check* is about that unit, and its answers go to the engine as they are. An
//! end-to-end *question* goes in at the front door as a user's request does, with a trace id of ours:
//! whether the answer was right becomes an outcome report about that trace, so that a component that
//! answers wrongly with status OK is found by the requests that it spoilt.

use std::time::{Duration, SystemTime};

use rekindle_model::{Name, Outcome, OutcomeReport, SpanId, TraceId};
use rekindle_recovery::probe::Probes;
use rekindle_recovery::{ProbeSpec, UnitName};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::CheckResult;

/// One end-to-end question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name: who says that an answer was wrong.
    pub name: String,
    /// What is asked, and what is right.
    pub spec: ProbeSpec,
    /// The time between two askings.
    pub every: Duration,
}

/// Asks the questions until the daemon stops.
pub(crate) fn spawn_questions(
    tasks: &mut JoinSet<()>,
    questions: Vec<Question>,
    probes: &Probes,
    reports: &mpsc::Sender<OutcomeReport>,
    shutdown: &watch::Receiver<bool>,
) {
    for question in questions {
        let (probes, reports) = (probes.clone(), reports.clone());
        let mut shutdown = shutdown.clone();
        tasks.spawn(async move {
            let mut ticks = steady(question.every);
            loop {
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return,
                    _ = ticks.tick() => {}
                }
                let (trace_id, parent) = fresh_ids();
                let traceparent = format!("00-{trace_id}-{parent}-01");
                let answer = probes.probe_traced(&question.spec, Some(traceparent)).await;
                let report = OutcomeReport {
                    trace_id,
                    outcome: if answer.is_ok() { Outcome::Ok } else { Outcome::Failed },
                    reporter: Name::from(question.name.as_str()),
                    at: SystemTime::now().into(),
                    detail: answer.err().map(|failure| Name::from(failure.to_string())),
                };
                if reports.send(report).await.is_err() {
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
                if results.send(CheckResult { unit: unit.clone(), answer }).await.is_err() {
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

/// Ids that nobody else has. The top bit of the span id is set, so that it can't be zero.
fn fresh_ids() -> (TraceId, SpanId) {
    loop {
        if let (Some(trace), Some(span)) =
            (TraceId::from_bytes(rand::random()), SpanId::from_bytes(rand::random()))
        {
            return (trace, span);
        }
    }
}
