//! The one door of the room: what happened goes in, incidents and rankings come out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use rekindle_model::{Intervention, OutcomeReport, RequestType, Span, Trace, TraceId, UnixNanos};

use crate::{AnalysisConfig, Change, Component, Counts, Incident, Ranking};

/// How one request type fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestTypeSummary {
    /// The type.
    pub request_type: RequestType,
    /// Requests with a known outcome in the window.
    pub requests: u64,
    /// Of these, failed or too slow.
    pub bad: u64,
    /// Requests per second over the last half minute.
    pub per_second: f64,
    /// The share of failed requests over the last half minute, in `[0, 1]`; `None` without any.
    pub failure_share: Option<f64>,
    /// The share that it is compared with, in `[0, 1]`.
    pub baseline_failure_share: f64,
    /// Requests that take longer are slow; `None` while nothing is learned or configured.
    pub slow_limit: Option<Duration>,
    /// The open incident that it is part of.
    pub incident: Option<u64>,
}

/// How many requests of a type began in one time slice, by how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePoint {
    /// The start of the slice.
    pub at: UnixNanos,
    /// Those that ended well.
    pub ok: u64,
    /// Those that failed or were too slow.
    pub bad: u64,
}

/// The analysis of one system.
#[derive(Debug)]
pub struct Analyzer {
    config: AnalysisConfig,
    counts: Counts,
    incidents: Vec<Incident>,
    cut: u64,
}

impl Analyzer {
    /// An analysis that has seen nothing yet.
    pub fn new(config: AnalysisConfig) -> Self {
        Self {
            config,
            counts: Counts::default(),
            incidents: Vec::new(),
            cut: 0,
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &AnalysisConfig {
        &self.config
    }

    /// Says up to which journal position everything has been handed in; rankings carry it.
    pub fn cut_at(&mut self, position: u64) {
        self.cut = position;
    }

    /// Takes one span as it arrives, before its trace is complete. An entry span says at once how
    /// its request ended.
    pub fn span(&mut self, span: &Span, now: UnixNanos) {
        let _ = (span, now);
    }

    /// Takes one assembled trace.
    pub fn trace(&mut self, trace: &Trace, now: UnixNanos) {
        let _ = (trace, now);
    }

    /// Takes what somebody outside says about one request; it may come before or after the trace.
    pub fn report(&mut self, report: OutcomeReport, now: UnixNanos) {
        let _ = (report, now);
    }

    /// Takes an intervention; one of the same reference replaces what was known of it.
    pub fn intervene(&mut self, intervention: Intervention) {
        let _ = intervention;
    }

    /// Lets time pass, and says what became of the incidents since the last call.
    pub fn tick(&mut self, now: UnixNanos) -> Vec<Change> {
        let _ = now;
        Vec::new()
    }

    /// Open and recent incidents, oldest first.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The ranking of one incident with the evidence of now; `None` when there is no such incident.
    pub fn rank(&self, incident: u64) -> Option<Ranking> {
        let _ = incident;
        None
    }

    /// How many requests of these types (all, when there are none) that began in `[from, until)`
    /// ended well, and how many did not.
    pub fn fared(&self, types: &[RequestType], from: UnixNanos, until: UnixNanos) -> (u64, u64) {
        let _ = (types, from, until);
        (0, 0)
    }

    /// Every request type seen in the window, sorted.
    pub fn request_types(&self) -> Vec<RequestTypeSummary> {
        Vec::new()
    }

    /// The type's requests over the window, one point per slice that had any, oldest first.
    pub fn series(&self, request_type: &RequestType) -> Vec<RatePoint> {
        let _ = request_type;
        Vec::new()
    }

    /// An example trace, while it is kept.
    pub fn example(&self, trace_id: TraceId) -> Option<&Trace> {
        let _ = trace_id;
        None
    }

    /// Requests per second that touch this component, over the last half minute.
    pub fn throughput(&self, component: &Component) -> f64 {
        let _ = component;
        0.0
    }

    /// What was not used, per reason.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
