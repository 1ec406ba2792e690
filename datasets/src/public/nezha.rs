//! Nezha: Yu et al. (2023), *Nezha: Interpretable fine-grained root causes analysis for
//! microservices on multi-modal observability data*, ESEC/FSE. CSV, one row per span.
//!
//! There are no kinds, no status codes and no errors. A client span carries its caller's pod and the
//! callee's operation, so kinds are read off the tree: whose child is in another pod is a client,
//! whose parent is in another pod is a server. A call that nobody answered looks like work inside;
//! it is known by its name, which elsewhere in the same files is a client's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rekindle_model::{Name, SpanKind, Trace, UnixNanos};

use super::spans::{Builder, RawSpan};
use super::{CaseInfo, LabelledTraces, PublicError, read};

/// The faulty window: requests that began up to so long after the injection. The files go on into
/// the recovery, of which the set says no time.
const WINDOW_NANOS: u64 = 150 * 1_000_000_000;

/// Calm is what is outside of every fault of the set, from a little before its injection (clocks
/// differ) until its traces have faded.
const LEAD_NANOS: u64 = 2 * 1_000_000_000;
const AFTERMATH_NANOS: u64 = 240 * 1_000_000_000;

struct Row<'a> {
    span: u64,
    parent: Option<u64>,
    pod: &'a str,
    operation: &'a str,
    start: u64,
    end: u64,
}

/// By trace id; a trace may be in two neighbouring files.
type Traces<'a> = BTreeMap<u128, BTreeMap<u64, Row<'a>>>;

pub(super) fn load(folder: &Path, case: &CaseInfo) -> Result<LabelledTraces, PublicError> {
    let mut unreadable = 0;
    let texts = |files: &[String]| -> Result<Vec<String>, PublicError> {
        files
            .iter()
            .map(|file| {
                let bytes = read(&folder.join(file))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect()
    };
    let (normal, faulty) = (texts(&case.normal_files)?, texts(&case.faulty_files)?);
    let normal = parse(&normal, &mut unreadable);
    let faulty = parse(&faulty, &mut unreadable);
    let calls: BTreeSet<(&str, &str)> = normal
        .values()
        .chain(faulty.values())
        .flat_map(remote_calls)
        .collect();
    let injected = case.inject_unix_ns.unwrap_or(0);
    let calm = |start: u64| {
        case.all_injections
            .iter()
            .all(|at| start + LEAD_NANOS < *at || start > at + AFTERMATH_NANOS)
    };
    let during = |start: u64| start >= injected && start - injected < WINDOW_NANOS;
    let mut builder = Builder::default();
    Ok(LabelledTraces {
        baseline: build(&normal, &calls, calm, &mut builder),
        window: build(&faulty, &calls, during, &mut builder),
        unreadable,
        ..LabelledTraces::default()
    })
}

fn parse<'a>(texts: &'a [String], unreadable: &mut u64) -> Traces<'a> {
    let mut traces = Traces::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if line.is_empty() || line.starts_with("TraceID") {
            continue;
        }
        match row(line) {
            Some((trace, row)) => {
                traces.entry(trace).or_default().insert(row.span, row);
            }
            None => *unreadable += 1,
        }
    }
    traces
}

/// A row: trace, span, parent, pod, operation, start, end, duration. Operations may hold commas.
fn row(line: &str) -> Option<(u128, Row<'_>)> {
    let mut head = line.splitn(5, ',');
    let trace = u128::from_str_radix(head.next()?, 16).ok()?;
    let span = u64::from_str_radix(head.next()?, 16).ok()?;
    let parent = match head.next()? {
        "root" | "" => None,
        id => Some(u64::from_str_radix(id, 16).ok()?),
    };
    let pod = head.next()?;
    let mut tail = head.next()?.rsplitn(4, ',');
    let _duration = tail.next()?;
    let end = tail.next()?.parse().ok()?;
    let start = tail.next()?.parse().ok()?;
    let operation = tail.next()?;
    let row = Row {
        span,
        parent,
        pod,
        operation,
        start,
        end,
    };
    Some((trace, row))
}

/// (Pod's service, operation) of spans that another pod answered.
fn remote_calls<'a>(spans: &BTreeMap<u64, Row<'a>>) -> Vec<(&'a str, &'a str)> {
    let mut calls = Vec::new();
    for row in spans.values() {
        if let Some(parent) = row.parent.and_then(|id| spans.get(&id))
            && parent.pod != row.pod
        {
            calls.push((service(parent.pod), parent.operation));
        }
    }
    calls
}

fn build(
    traces: &Traces<'_>,
    calls: &BTreeSet<(&str, &str)>,
    wanted: impl Fn(u64) -> bool,
    builder: &mut Builder,
) -> Vec<Trace> {
    let mut built = Vec::new();
    for (id, spans) in traces {
        let begins = spans.values().filter(|row| row.parent.is_none());
        let Some(begin) = begins.map(|row| row.start).min() else {
            continue;
        };
        if wanted(begin) {
            built.extend(builder_trace(*id, spans, calls, builder));
        }
    }
    built.sort_by_key(|trace| trace.spans()[0].start);
    built
}

fn builder_trace(
    id: u128,
    spans: &BTreeMap<u64, Row<'_>>,
    calls: &BTreeSet<(&str, &str)>,
    builder: &mut Builder,
) -> Option<Trace> {
    let raw = spans
        .values()
        .map(|row| {
            let parent = row.parent.and_then(|id| spans.get(&id));
            let from_outside = parent.is_none_or(|parent| parent.pod != row.pod);
            let kind = if from_outside {
                SpanKind::Server
            } else if calls.contains(&(service(row.pod), row.operation)) {
                SpanKind::Client
            } else {
                SpanKind::Internal
            };
            RawSpan {
                id: row.span,
                parent: row.parent,
                kind,
                service: builder.name(service(row.pod)),
                instance: Some(builder.name(row.pod)),
                name: builder.name(row.operation),
                start: UnixNanos(row.start),
                nanos: row.end.saturating_sub(row.start),
                http_status: None,
                error: false,
                peer: None::<Name>,
            }
        })
        .collect();
    builder.trace(id, raw)
}

/// A pod's name ends in the numbers of its replica set and of itself.
fn service(pod: &str) -> &str {
    let mut parts = pod.rsplitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), Some(service)) => service,
        _ => pod,
    }
}
