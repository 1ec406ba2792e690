//! What must hold for any file that is imported? Shared by the libFuzzer targets, by the example that fuzzes on a
//! stable compiler, and by the test that replays the corpus.

use rekindle_ingest::{ContentType, DecodeContext, KeepAttributes, decode_payload};
use rekindle_store::{
    Imported, ReadCounts, Received, StoreError, StoredSpan, jaeger_of, json_of, parquet_of,
    protobuf_of, read_bytes, read_stream, spans_of_jaeger, spans_of_json, spans_of_protobuf,
};

/// Fails by panicking.
pub(crate) type Target = fn(&[u8]);

/// The targets by name.
pub(crate) const TARGETS: &[(&str, Target)] =
    &[("jaeger", jaeger), ("lines", lines), ("parquet", parquet)];

/// What is read of Jaeger's form is written so that it is read again as the same, as far as microseconds go.
pub(crate) fn jaeger(data: &[u8]) {
    let mut counts = ReadCounts::default();
    let Some(read) = spans_of_jaeger(data, Received::IMPORTED, &mut counts) else {
        return;
    };
    let again = |spans: &[StoredSpan]| {
        let text = jaeger_of(spans);
        let mut counts = ReadCounts::default();
        let spans = spans_of_jaeger(text.as_bytes(), Received::IMPORTED, &mut counts);
        assert_eq!(counts.rejected, 0);
        sorted(spans.expect("we wrote it"))
    };
    let once = again(&read);
    assert_eq!(once.len(), read.len());
    let names = |spans: &[StoredSpan]| {
        let of = |span: &StoredSpan| (span.trace_id, span.span_id, span.name.clone(), span.kind);
        let mut names: Vec<_> = spans.iter().map(of).collect();
        names.sort();
        names
    };
    assert_eq!(names(&once), names(&read));
    assert_eq!(once, again(&once));
}

/// A file that is no Parquet: whatever is read of it comes back from each form that we write, and of a request in JSON
/// the store takes the very spans that the receiver takes.
pub(crate) fn lines(data: &[u8]) {
    let (read, imported) = stream(data);
    assert_eq!(imported.spans, read.len() as u64);
    let expected = sorted(read.clone());
    let [in_lines, in_protobuf] = [json_of(&read).into_bytes(), protobuf_of(&read)];
    assert_eq!(sorted(stream(&in_lines).0), expected);
    let mut counts = ReadCounts::default();
    let of_protobuf = spans_of_protobuf(in_protobuf.into(), Received::IMPORTED, &mut counts);
    assert_eq!(sorted(of_protobuf.expect("we wrote it")), expected);
    assert_eq!(counts, ReadCounts::default());

    let mut context = DecodeContext::new(&KeepAttributes::default());
    let received = decode_payload(ContentType::Json, data, &mut context).ok();
    let mut counts = ReadCounts::default();
    let stored = spans_of_json(data, Received::IMPORTED, &mut counts).ok();
    // The store takes more: files are written by others than exporters.
    if let Some(received) = received {
        let stored = stored.expect("the receiver took it");
        let of_receiver = (received.spans.len(), received.counts.rejected());
        assert_eq!((stored.len(), counts.rejected), of_receiver);
    }
}

fn stream(data: &[u8]) -> (Vec<StoredSpan>, Imported) {
    let mut found = Vec::new();
    let imported = read_stream::<StoreError>(data, "memory", |spans| {
        found.append(spans);
        Ok(())
    });
    (found, imported.expect("memory can be read"))
}

/// A file of the store that anybody may have written: an error or spans, which come back when they are written.
pub(crate) fn parquet(data: &[u8]) {
    let Ok((read, _)) = read_bytes(data.to_vec().into()) else {
        return;
    };
    let file = parquet_of(read.clone()).expect("memory can be written");
    let (again, counts) = read_bytes(file.into()).expect("we wrote it");
    assert_eq!(counts, ReadCounts::default());
    let ids = |spans: &[StoredSpan]| {
        let of = |span: &StoredSpan| (span.trace_id, span.span_id, span.start, span.end, span.kind);
        let mut ids: Vec<_> = spans.iter().map(of).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!(ids(&again), ids(&read));
}

/// In one order, whatever order they came in.
fn sorted(mut spans: Vec<StoredSpan>) -> Vec<StoredSpan> {
    spans.sort_by_cached_key(|span| format!("{span:?}"));
    spans
}
