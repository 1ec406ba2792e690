//! Traces from files that people have: what the Collector's file exporter writes (one OTLP JSON request a line), OTLP
//! requests in protobuf, Jaeger's JSON, each plain or gzipped; the span store's folders and files.
//!
//! One reader for all of them, which is `import`'s: what is analysed from a file is what would be in the store. A trace may
//! lie in several requests and files of one call; it is put together as an assembler would.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_ingest::{ContentType, DecodeContext, KeepAttributes, decode_payload};
use rekindle_model::{ReleaseReason, Span, Trace, TraceId, UnixNanos};

use crate::{Store, StoreError, StoredSpan, protobuf_of, read_any};

/// What was read.
#[derive(Debug, Default)]
pub struct Recorded {
    /// In the order of their first spans.
    pub traces: Vec<Trace>,
    /// Lines, requests and spans that could not be read.
    pub unreadable: u64,
}

/// The spans as the analysis reads them: the same way as what comes in, so that it reads the same.
///
/// # Errors
/// When they can't be read back.
pub fn spans_of(
    stored: &[StoredSpan],
    context: &mut DecodeContext,
) -> Result<Vec<Span>, StoreError> {
    let request = protobuf_of(stored);
    let decoded = decode_payload(ContentType::Protobuf, &request, context)?;
    Ok(decoded.spans.iter().collect())
}

/// The traces of all these, together, with these attributes besides the usual ones. `progress` is told of spans, some at a
/// time.
///
/// # Errors
/// When a file can't be read, or there are no traces in any.
pub fn recorded(
    inputs: &[PathBuf],
    keep: &KeepAttributes,
    mut progress: impl FnMut(usize),
) -> Result<Recorded, StoreError> {
    let mut context = DecodeContext::new(keep);
    let mut spans: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
    let mut each = |found: &mut Vec<StoredSpan>| -> Result<(), StoreError> {
        progress(found.len());
        for span in spans_of(found, &mut context)? {
            spans.entry(span.trace_id).or_default().push(span);
        }
        Ok(())
    };
    let mut unreadable = 0;
    let mut without: Option<&PathBuf> = None;
    for path in inputs {
        if path.is_dir() {
            let store = Store::at(&path.display().to_string())?;
            store.scan(UnixNanos(0), UnixNanos(u64::MAX), &mut each)?;
            continue;
        }
        let read = read_any::<StoreError>(path, &mut each)?;
        if read.spans == 0 {
            without.get_or_insert(path);
        }
        // A file without traces is one thing that couldn't be read, whatever is in it.
        let whole = u64::from(read.spans == 0);
        unreadable += (read.unreadable + read.counts.rejected).max(whole);
    }
    if let (Some(path), true) = (without, spans.is_empty()) {
        return Err(StoreError::NoTraces { path: path.clone() });
    }
    let mut traces: Vec<Trace> = spans
        .into_values()
        .filter_map(|spans| Trace::new(spans, ReleaseReason::Flush).ok())
        .collect();
    traces.sort_by_key(|trace| (trace.spans()[0].start, trace.trace_id()));
    Ok(Recorded { traces, unreadable })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","attributes":[{"key":"code.namespace","value":{"stringValue":"shop.search"}}]}]}]}]}"#;
    const JAEGER: &str = r#"{"data":[{"traceID":"00f067aa0ba902b7","spans":[{"traceID":"00f067aa0ba902b7","spanID":"53995c3f42cd8ad8","operationName":"GET /","references":[],"startTime":1,"duration":2,"tags":[{"key":"span.kind","value":"server"},{"key":"code.namespace","value":"shop.search"},{"key":"shard","value":"7"}],"processID":"p1"}],"processes":{"p1":{"serviceName":"shop"}}}]}"#;

    #[test]
    fn forms_are_told_by_content_and_all_keep_what_spans_say() {
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
            let recorded = recorded(std::slice::from_ref(&file), &keep, |_| ()).expect(name);
            assert_eq!(recorded.traces.len(), 1, "{name}");
            let trace = &recorded.traces[0];
            assert_eq!(trace.spans().len(), spans, "{name}");
            assert_eq!(&*trace.spans()[0].resource.service, "shop", "{name}");
            let component = trace.spans()[0].attribute("code.namespace");
            assert_eq!(component, Some("shop.search"), "{name}");
            assert_eq!(recorded.unreadable, unreadable, "{name}");
        }
        let file = folder.path().join("jaeger.json");
        let keep = KeepAttributes::from_iter(["shard".to_owned()]);
        let recorded = recorded(&[file], &keep, |_| ()).expect("read");
        assert_eq!(recorded.traces[0].spans()[0].attribute("shard"), Some("7"));
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "{ nothing").expect("written");
        // Among others it is counted.
        let both = [file.clone(), folder.path().join("one.json")];
        let among = super::recorded(&both, &keep, |_| ()).expect("read");
        assert_eq!((among.traces.len(), among.unreadable), (1, 1));
        let Err(error) = super::recorded(&[file], &keep, |_| ()) else {
            panic!("there are no traces");
        };
        assert!(error.to_string().contains("notes.txt"), "{error}");
    }
}
