//! TraceRCA: Li et al. (2021), *Practical root cause localization for microservice systems via trace
//! analysis*, IWQoS. JSON lines, one trace each: edges with latency and HTTP status.
//!
//! An edge from A to B is a call as A saw it, an edge from A to itself one of A's visits as its own
//! sidecar saw it. There are no ids, and clocks of different services differ by minutes, so the tree
//! is inferred: a call and the visit that it led to took nearly the same time, and a visit's calls
//! take no longer than it. Times within the tree are made up, one call after the other; durations
//! are as measured.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rekindle_model::{SpanKind, Trace, UnixNanos};
use serde::Deserialize;

use super::spans::{Builder, RawSpan};
use super::{CaseInfo, LabelledTraces, PublicError, read};

#[derive(Deserialize)]
struct RawTrace {
    trace_id: String,
    label: u8,
    spans: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    source: String,
    target: String,
    start_us: u64,
    latency_us: u64,
    http_status: u16,
}

impl Edge {
    fn record(&self) -> Record {
        Record {
            latency_us: self.latency_us,
            http_status: self.http_status,
        }
    }
}

/// How long something took, and how it ended.
#[derive(Clone, Copy)]
struct Record {
    latency_us: u64,
    http_status: u16,
}

impl Record {
    /// 5xx, and 0 for a caller that gave up.
    fn failed(self) -> bool {
        self.http_status >= 500 || self.http_status == 0
    }
}

pub(super) fn load(folder: &Path, case: &CaseInfo) -> Result<LabelledTraces, PublicError> {
    let mut builder = Builder::default();
    let mut unreadable = 0;
    let mut part = |files: &[String], all: bool| -> Result<Vec<Trace>, PublicError> {
        let mut traces = Vec::new();
        for file in files {
            let bytes = read(&folder.join(file))?;
            for line in bytes.split(|byte| *byte == b'\n') {
                if line.is_empty() {
                    continue;
                }
                let Ok(raw) = serde_json::from_slice::<RawTrace>(line) else {
                    unreadable += 1;
                    continue;
                };
                // The label says which traces of another fault's run are without that fault; of
                // the case's own run it must not be known.
                if !all && raw.label != 0 {
                    continue;
                }
                match build(&raw, &mut builder) {
                    Some(trace) => traces.push(trace),
                    None => unreadable += 1,
                }
            }
        }
        Ok(traces)
    };
    let baseline = part(&case.normal_files, false)?;
    let window = part(&case.faulty_files, true)?;
    Ok(LabelledTraces {
        baseline,
        window,
        unreadable,
        ..LabelledTraces::default()
    })
}

/// One visit of a service: the call that led to it and what its own sidecar saw, as far as known.
struct Visit<'a> {
    service: &'a str,
    call: Option<&'a Edge>,
    own: Option<Record>,
    /// Microseconds that no call is assigned to yet.
    left: u64,
    calls: Vec<usize>,
}

impl Visit<'_> {
    fn seen(&self) -> Option<Record> {
        self.own.or(self.call.map(Edge::record))
    }

    fn took(&self) -> u64 {
        self.seen().map_or(0, |record| record.latency_us)
    }

    fn failed(&self) -> bool {
        self.own.is_some_and(Record::failed) || self.call.is_some_and(|call| call.record().failed())
    }
}

fn build(raw: &RawTrace, builder: &mut Builder) -> Option<Trace> {
    let id = u128::from_str_radix(&raw.trace_id, 16).ok()?;
    let began = raw.spans.iter().map(|edge| edge.start_us).min()?;
    let mut visits = visits(raw);
    add_gateways(raw, &mut visits);
    for caller in callers_first(raw) {
        assign_calls(&mut visits, caller);
    }
    let mut spans = Vec::new();
    let called: BTreeSet<usize> = visits
        .iter()
        .flat_map(|visit| visit.calls.clone())
        .collect();
    let roots: Vec<usize> = (0..visits.len())
        .filter(|visit| !called.contains(visit))
        .collect();
    // The entry is the root that took longest; others are visits whose caller is missing.
    let entry = roots
        .iter()
        .copied()
        .max_by_key(|visit| (visits[*visit].took(), usize::MAX - visit))?;
    let mut waiting = vec![(entry, None::<u64>, began)];
    waiting.extend(
        roots
            .iter()
            .filter(|visit| **visit != entry)
            .map(|visit| (*visit, Some(u64::MAX), began)),
    );
    while let Some((at, parent, start)) = waiting.pop() {
        write(
            &visits,
            at,
            parent,
            start,
            &mut spans,
            &mut waiting,
            builder,
        );
    }
    builder.trace(id, spans)
}

/// Visits of every service: its own records, each with the call whose latency fits best (the call
/// takes longer, by the way there and back). Calls that found nobody are visits without a record.
fn visits(raw: &RawTrace) -> Vec<Visit<'_>> {
    let mut own: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    let mut calls: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in &raw.spans {
        let side = if edge.source == edge.target {
            &mut own
        } else {
            &mut calls
        };
        side.entry(edge.target.as_str()).or_default().push(edge);
    }
    let services: BTreeSet<&str> = own.keys().chain(calls.keys()).copied().collect();
    let mut visits = Vec::new();
    for service in services {
        let mut records = own.remove(service).unwrap_or_default();
        let mut incoming = calls.remove(service).unwrap_or_default();
        records.sort_by_key(|edge| (edge.latency_us, edge.start_us));
        incoming.sort_by_key(|edge| (edge.latency_us, edge.start_us));
        let mut free: Vec<Option<&Edge>> = records.into_iter().map(Some).collect();
        for call in incoming.iter().rev() {
            // Answered calls take the longest record that fits, and with the same status.
            let fitting = free.iter().rposition(|record| {
                record.is_some_and(|record| {
                    record.latency_us <= call.latency_us && record.http_status == call.http_status
                })
            });
            let fitting = fitting.or_else(|| {
                free.iter().rposition(|record| {
                    record.is_some_and(|record| record.latency_us <= call.latency_us)
                        && !call.record().failed()
                })
            });
            let record = fitting.and_then(|at| free[at].take());
            visits.push(Visit {
                service,
                call: Some(call),
                own: record.map(Edge::record),
                left: record.map_or(call.latency_us, |record| record.latency_us),
                calls: Vec::new(),
            });
        }
        visits.extend(free.into_iter().flatten().map(|record| Visit {
            service,
            call: None,
            own: Some(record.record()),
            left: record.latency_us,
            calls: Vec::new(),
        }));
    }
    visits
}

/// Who calls but has no record, as a gateway does, was there all the same: for as long as its calls
/// took, and failing when one of them did.
fn add_gateways<'a>(raw: &'a RawTrace, visits: &mut Vec<Visit<'a>>) {
    let seen: BTreeSet<&str> = visits.iter().map(|visit| visit.service).collect();
    let mut gateways: BTreeMap<&str, Record> = BTreeMap::new();
    for edge in &raw.spans {
        if seen.contains(edge.source.as_str()) {
            continue;
        }
        let record = gateways.entry(&edge.source).or_insert(Record {
            latency_us: 0,
            http_status: 200,
        });
        record.latency_us = record.latency_us.saturating_add(edge.latency_us);
        if edge.record().failed() {
            record.http_status = 500;
        }
    }
    for (service, record) in gateways {
        visits.push(Visit {
            service,
            call: None,
            own: Some(record),
            left: record.latency_us,
            calls: Vec::new(),
        });
    }
}

/// Services that call others, callers before callees as far as there are no rings.
fn callers_first(raw: &RawTrace) -> Vec<&str> {
    let mut edges: BTreeSet<(&str, &str)> = BTreeSet::new();
    for edge in &raw.spans {
        if edge.source != edge.target {
            edges.insert((&edge.source, &edge.target));
        }
    }
    let mut order: Vec<&str> = Vec::new();
    while !edges.is_empty() {
        let targets: BTreeSet<&str> = edges.iter().map(|(_, target)| *target).collect();
        let free = edges
            .iter()
            .map(|(source, _)| *source)
            .find(|source| !targets.contains(source));
        let next = free
            .or_else(|| edges.first().map(|(source, _)| *source))
            .unwrap_or_default();
        edges.retain(|(source, _)| *source != next);
        order.push(next);
    }
    order
}

/// Gives each call out of this service to one of its visits: a failed call to a failed visit, the
/// longest calls first, each to the visit with the most time left.
fn assign_calls(visits: &mut [Visit<'_>], caller: &str) {
    let mut outgoing: Vec<usize> = (0..visits.len())
        .filter(|visit| {
            visits[*visit]
                .call
                .is_some_and(|call| call.source == caller)
        })
        .collect();
    outgoing.sort_by_key(|visit| {
        let call = visits[*visit].call;
        (u64::MAX - call.map_or(0, |call| call.latency_us), *visit)
    });
    let callers: Vec<usize> = (0..visits.len())
        .filter(|visit| visits[*visit].service == caller)
        .collect();
    for call in outgoing {
        let failed = visits[call].failed();
        let took = visits[call].call.map_or(0, |call| call.latency_us);
        let best = callers.iter().copied().max_by_key(|visit| {
            let visit_failed = failed && visits[*visit].failed();
            (visit_failed, visits[*visit].left, usize::MAX - visit)
        });
        if let Some(best) = best
            && best != call
        {
            visits[best].left = visits[best].left.saturating_sub(took);
            visits[best].calls.push(call);
        }
    }
}

fn write(
    visits: &[Visit<'_>],
    at: usize,
    parent: Option<u64>,
    start: u64,
    spans: &mut Vec<RawSpan>,
    waiting: &mut Vec<(usize, Option<u64>, u64)>,
    builder: &mut Builder,
) {
    let visit = &visits[at];
    let service = builder.name(visit.service);
    let mut push = |kind, owner: &str, name: &str, edge: Record, parent, peer| {
        let id = spans.len() as u64 + 1;
        spans.push(RawSpan {
            id,
            parent,
            kind,
            service: builder.name(owner),
            instance: None,
            name: builder.name(name),
            start: UnixNanos(start.saturating_mul(1_000)),
            nanos: edge.latency_us.saturating_mul(1_000),
            http_status: Some(edge.http_status),
            error: false,
            peer,
        });
        id
    };
    let mut parent = parent;
    if let (Some(call), Some(above)) = (visit.call, parent)
        && above != u64::MAX
    {
        parent = Some(push(
            SpanKind::Client,
            &call.source,
            &format!("call {}", call.target),
            call.record(),
            Some(above),
            Some(service.clone()),
        ));
        if visit.own.is_none() && visit.calls.is_empty() {
            return;
        }
    }
    let Some(edge) = visit.seen() else {
        return;
    };
    let name = visit.service;
    let id = push(SpanKind::Server, visit.service, name, edge, parent, None);
    let mut next = start;
    for call in &visit.calls {
        waiting.push((*call, Some(id), next));
        next += visits[*call].call.map_or(0, |call| call.latency_us);
    }
}
