//! Traces from files that people have: what the Collector's file exporter writes (one OTLP JSON
//! request a line), OTLP requests in protobuf, Jaeger's JSON; each plain or gzipped.
//!
//! The form is told by the content, not by the name. What can't be read is counted. A trace may lie
//! in several requests and files of one call; it is put together as an assembler would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_ingest::{ContentType, DecodeContext, KeepAttributes, PackedSpans, decode_payload};
use rekindle_model::{ReleaseReason, Span, Trace, TraceId};

use crate::public::{PublicError, jaeger_traces, read};

/// Why a file holds no traces.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] PublicError),
    /// It is in no known form.
    #[error(
        "`{path}` holds no traces: expected OTLP (JSON, one request a line, or protobuf) or Jaeger's \
         JSON, plain or gzipped"
    )]
    NoTraces {
        /// The file.
        path: PathBuf,
    },
}

/// What was read.
#[derive(Debug, Default)]
pub struct Recorded {
    /// In the order of their first spans.
    pub traces: Vec<Trace>,
    /// Lines, requests, traces and spans that could not be read.
    pub unreadable: u64,
}

/// Reads all traces of these files, and of spans from elsewhere; `keep` says which attributes matter besides the usual.
///
/// # Errors
/// When a file can't be read, or not a single span is in it.
pub fn read_traces(
    files: &[PathBuf],
    others: Vec<Span>,
    keep: &KeepAttributes,
) -> Result<Recorded, RecordedError> {
    let mut spans: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
    let mut context = DecodeContext::new(keep);
    let mut unreadable = 0;
    for span in others {
        spans.entry(span.trace_id).or_default().push(span);
    }
    for file in files {
        let bytes = read(file)?;
        let found = spans_of(&bytes, &mut context, &mut unreadable);
        if found.is_empty() {
            return Err(RecordedError::NoTraces {
                path: Path::new(file).to_owned(),
            });
        }
        for span in found {
            spans.entry(span.trace_id).or_default().push(span);
        }
    }
    let mut traces: Vec<Trace> = spans
        .into_values()
        .filter_map(|spans| Trace::new(spans, ReleaseReason::Flush).ok())
        .collect();
    traces.sort_by_key(|trace| (trace.spans()[0].start, trace.trace_id()));
    Ok(Recorded { traces, unreadable })
}

fn spans_of(bytes: &[u8], context: &mut DecodeContext, unreadable: &mut u64) -> Vec<Span> {
    if let Some((traces, bad)) = jaeger_traces(bytes) {
        *unreadable += bad;
        return traces
            .into_iter()
            .flat_map(|trace| trace.spans().to_vec())
            .collect();
    }
    let mut take = |kind, request: &[u8], unreadable: &mut u64| -> PackedSpans {
        match decode_payload(kind, request, context) {
            Ok(decoded) => {
                *unreadable += decoded.counts.rejected();
                decoded.spans
            }
            Err(_) => {
                *unreadable += 1;
                PackedSpans::default()
            }
        }
    };
    let text = bytes.trim_ascii_start().first() == Some(&b'{');
    if !text {
        return take(ContentType::Protobuf, bytes, unreadable)
            .iter()
            .collect();
    }
    // Either the whole file is one request, however it is laid out, or each line is.
    let mut ignored = 0;
    let whole = take(ContentType::Json, bytes, &mut ignored);
    if ignored == 0 {
        return whole.iter().collect();
    }
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.trim_ascii().is_empty())
        .flat_map(|line| {
            let spans = take(ContentType::Json, line, unreadable);
            spans.iter().collect::<Vec<Span>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000"}]}]}]}"#;
    const JAEGER: &str = r#"{"data":[{"traceID":"00f067aa0ba902b7","spans":[{"traceID":"00f067aa0ba902b7","spanID":"53995c3f42cd8ad8","operationName":"GET /","references":[],"startTime":1,"duration":2,"tags":[{"key":"span.kind","value":"server"}],"processID":"p1"}],"processes":{"p1":{"serviceName":"shop"}}}]}"#;

    #[test]
    fn forms_are_told_by_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let keep = KeepAttributes::default();
        let other = REQUEST.replace("eee19b7ec3c1b174", "eee19b7ec3c1b175");
        let laid_out = REQUEST.replace(',', ",\n");
        for (name, content, spans, unreadable) in [
            ("one.json", REQUEST.to_owned(), 1, 0),
            ("pretty.json", laid_out, 1, 0),
            ("lines.jsonl", format!("{REQUEST}\n{other}\n"), 2, 0),
            ("cut.jsonl", format!("{REQUEST}\n{}", &other[..50]), 1, 1),
            ("jaeger.json", JAEGER.to_owned(), 1, 0),
        ] {
            let file = folder.path().join(name);
            std::fs::write(&file, content).expect("written");
            let recorded = read_traces(std::slice::from_ref(&file), Vec::new(), &keep).expect(name);
            assert_eq!(recorded.traces.len(), 1, "{name}");
            let trace = &recorded.traces[0];
            assert_eq!(trace.spans().len(), spans, "{name}");
            assert_eq!(&*trace.spans()[0].resource.service, "shop", "{name}");
            assert_eq!(recorded.unreadable, unreadable, "{name}");
        }
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "{ nothing").expect("written");
        let error = read_traces(&[file], Vec::new(), &keep)
            .expect_err("no traces")
            .to_string();
        assert!(error.contains("notes.txt"), "{error}");
    }
}
