//! ShapleyIQ: Li et al. (2023), *ShapleyIQ: Influence quantification by Shapley values for
//! performance debugging of microservices*, ASPLOS. Jaeger's JSON: `{"data": [trace]}`.
//!
//! The set's own split is by duration, so errors are background in both halves, and every trace
//! passes through the root cause.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_model::{SpanKind, Trace, UnixNanos};
use serde::Deserialize;
use serde_json::Value;

use super::spans::{Builder, RawSpan};
use super::{CaseInfo, LabelledTraces, PublicError, read};

#[derive(Deserialize)]
struct Document {
    data: Vec<JaegerTrace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerTrace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<JaegerSpan>,
    processes: BTreeMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan {
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(default)]
    references: Vec<Reference>,
    start_time: u64,
    duration: u64,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

pub(super) fn load(folder: &Path, case: &CaseInfo) -> Result<LabelledTraces, PublicError> {
    let mut unreadable = 0;
    let mut part = |files: &[String]| -> Result<Vec<Trace>, PublicError> {
        let mut traces = Vec::new();
        for file in files {
            let bytes = read(&folder.join(file))?;
            match jaeger_traces(&bytes) {
                Some((found, bad)) => {
                    traces.extend(found);
                    unreadable += bad;
                }
                None => unreadable += 1,
            }
        }
        Ok(traces)
    };
    let (baseline, window) = (part(&case.normal_files)?, part(&case.faulty_files)?);
    Ok(LabelledTraces {
        baseline,
        window,
        unreadable,
        ..LabelledTraces::default()
    })
}

/// The traces of one file of Jaeger's JSON, and how many of them could not be read; `None` when it is
/// something else.
fn jaeger_traces(bytes: &[u8]) -> Option<(Vec<Trace>, u64)> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let mut builder = Builder::default();
    let all = document.data.len();
    let traces: Vec<Trace> = document
        .data
        .iter()
        .filter_map(|trace| build(trace, &mut builder))
        .collect();
    let unreadable = (all - traces.len()) as u64;
    Some((traces, unreadable))
}

fn build(trace: &JaegerTrace, builder: &mut Builder) -> Option<Trace> {
    let id = u128::from_str_radix(&trace.trace_id, 16).ok()?;
    let mut raw = Vec::with_capacity(trace.spans.len());
    for span in &trace.spans {
        let process = trace.processes.get(&span.process_id)?;
        let text = |tags: &[Tag], key: &str| -> Option<String> {
            let tag = tags.iter().find(|tag| tag.key == key)?;
            Some(match &tag.value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let parent = span
            .references
            .iter()
            .find(|reference| reference.ref_type == "CHILD_OF")
            .or_else(|| span.references.first());
        let kind = match text(&span.tags, "span.kind").as_deref() {
            Some("server") => SpanKind::Server,
            Some("client") => SpanKind::Client,
            Some("producer") => SpanKind::Producer,
            Some("consumer") => SpanKind::Consumer,
            _ => SpanKind::Internal,
        };
        raw.push(RawSpan {
            id: u64::from_str_radix(&span.span_id, 16).ok()?,
            parent: parent.and_then(|reference| u64::from_str_radix(&reference.span_id, 16).ok()),
            kind,
            service: builder.name(&process.service_name),
            instance: text(&process.tags, "ip").map(|ip| builder.name(&ip)),
            name: builder.name(&span.operation_name),
            start: UnixNanos(span.start_time.saturating_mul(1_000)),
            nanos: span.duration.saturating_mul(1_000),
            http_status: text(&span.tags, "http.status_code").and_then(|code| code.parse().ok()),
            error: text(&span.tags, "error").as_deref() == Some("true"),
            peer: None,
        });
    }
    builder.trace(id, raw)
}
