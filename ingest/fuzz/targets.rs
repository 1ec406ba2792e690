//! What must hold for any bytes? Shared by the libFuzzer targets and by the example that fuzzes on a
//! stable compiler.

#[path = "oracle.rs"]
mod oracle;

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use oracle::Style;
use prost::Message;
use rekindle_ingest::{
    Assembler, AssemblerConfig, ContentType, DecodeContext, DecodeCounts, Decoded, Durability,
    Entry, Journal, JournalConfig, PackedSpans, Protocol, decode_payload,
};
use rekindle_model::{Shape, Span, SpanId, TraceId, UnixNanos};

/// Fails by panicking.
pub(crate) type Target = fn(&[u8]);

/// The targets by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("protobuf", protobuf),
    ("json", json),
    ("assembly", assembly),
    ("journal", journal),
];

fn context() -> DecodeContext {
    DecodeContext::new(&oracle::KEPT.into_iter().collect())
}

/// What the generated types read is read, and says the same in all that we take of it; so does the same
/// request in JSON; and reading it again, with all of its shapes known, gives the same.
pub(crate) fn protobuf(data: &[u8]) {
    let mut context = context();
    let read = decode_payload(ContentType::Protobuf, data, &mut context);
    if let Ok(request) = ExportTraceServiceRequest::decode(data) {
        let read = read.as_ref().expect("the generated types read it");
        if oracle::is_plain(&request) {
            let expected = oracle::oracle(&request);
            if !oracle::has_parts(data) {
                assert_eq!(*read, expected);
            }
            let flags = data.len();
            let style = Style {
                digits_in_text: flags & 1 > 0,
                upper_case: flags & 2 > 0,
                with_nulls: flags & 4 > 0,
            };
            let text = style.request(&request).to_string();
            let json = decode_payload(ContentType::Json, text.as_bytes(), &mut context);
            assert_eq!(json.expect("a request"), expected);
        }
    }
    same_again(ContentType::Protobuf, data, read.ok(), &mut context);
}

/// What we read, and a reader by way of a tree reads, too, says the same; and again when all is known.
pub(crate) fn json(data: &[u8]) {
    let mut context = context();
    let read = decode_payload(ContentType::Json, data, &mut context);
    let by_tree = std::str::from_utf8(data).ok().and_then(oracle::from_json);
    if let (Ok(read), Some(request)) = (&read, by_tree.filter(oracle::is_plain)) {
        assert_eq!(*read, oracle::oracle(&request));
    }
    same_again(ContentType::Json, data, read.ok(), &mut context);
}

fn same_again(
    content_type: ContentType,
    data: &[u8],
    first: Option<Decoded>,
    context: &mut DecodeContext,
) {
    let second = decode_payload(content_type, data, context).ok();
    // Shapes are remembered when they come for the second time, and spans known by their bytes two times later.
    for _ in 0..3 {
        assert_eq!(decode_payload(content_type, data, context).ok(), second);
    }
    // A resource that was seen before doesn't count again what was dropped and mended in it.
    let spans = |it: Option<Decoded>| it.map(|it| it.spans);
    assert_eq!(spans(first), spans(second));
}

/// Every span is in one trace that was let go, a duplicate, or late; whatever comes in whatever
/// order, one by one or together. Four bytes are a span: trace, id, parent, and how time passes.
pub(crate) fn assembly(data: &[u8]) {
    let config = AssemblerConfig {
        max_spans_per_trace: 50,
        max_spans_in_flight: 100,
        ..AssemblerConfig::default()
    };
    let [mut one_by_one, mut together] = [(); 2].map(|()| Assembler::new(config));
    let mut now = UnixNanos::from_secs(1_000_000);
    let (mut traces, mut also) = (Vec::new(), Vec::new());
    let mut pushed = 0;
    // A request of spans of one time, then some time passes.
    for request in data.chunk_by(|last, _| last % 7 != 0) {
        let spans: Vec<Span> = request.chunks_exact(4).map(|it| span(it, now)).collect();
        pushed += spans.len() as u64;
        together.push_all(&spans.iter().cloned().collect::<PackedSpans>(), now);
        for span in spans {
            one_by_one.push(span, now);
        }
        assert!(one_by_one.in_flight().spans <= 100);
        one_by_one.poll(now, &mut traces);
        together.poll(now, &mut also);
        let step = request.last().copied().unwrap_or_default();
        now = now.plus(Duration::from_millis(u64::from(step) * 10));
    }
    one_by_one.flush(&mut traces);
    together.flush(&mut also);
    let counts = one_by_one.counts();
    assert_eq!(counts.new + counts.duplicate + counts.late, pushed);
    let released: usize = traces.iter().map(|it| it.spans().len()).sum();
    assert_eq!(
        (released as u64, counts.released_spans),
        (counts.new, counts.new)
    );
    assert_eq!(traces, also);
    assert_eq!(counts, together.counts());
}

fn span(bytes: &[u8], now: UnixNanos) -> Span {
    let id = |byte: u8| SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, byte]).expect("not zero");
    Span {
        trace_id: TraceId::from_bytes([bytes[0] % 5 + 1; 16]).expect("not zero"),
        span_id: id(bytes[1]),
        parent_id: (bytes[2] > 50).then(|| id(bytes[2])),
        parent_is_remote: None,
        start: now.minus(Duration::from_millis(u64::from(bytes[3]) * 30)),
        end: now,
        shape: Shape::default().into(),
        links: Box::default(),
    }
}

/// A segment of any bytes keeps nobody from starting, and what is appended then is there.
pub(crate) fn journal(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let segment = dir.path().join(format!("{:020}.journal", 0));
    std::fs::write(&segment, data).expect("writes");
    // Now and then the slow way, past the cache, with a filler behind it.
    let (durability, payload_bytes) = match data.len() % 16 {
        0 => (Durability::PowerLoss, 70_000),
        _ => (Durability::ProcessCrash, 17),
    };
    let config = JournalConfig {
        durability,
        ..JournalConfig::default()
    };
    let entry = Entry {
        received_at: UnixNanos::from_secs(1),
        protocol: Protocol::Grpc,
        payload: vec![b'x'; payload_bytes].into(),
    };
    let (journal, _) = Journal::open(dir.path(), config).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let appended = runtime
        .expect("a runtime")
        .block_on(journal.append(entry.clone()));
    let position = appended.expect("appends");
    drop(journal);
    let mut records = Vec::new();
    rekindle_ingest::journal::replay(dir.path(), UnixNanos(0), |it| records.push(it))
        .expect("replays");
    assert!(records.is_sorted_by(|a, b| a.position < b.position));
    let last = records.pop().expect("the appended one");
    assert_eq!((last.position, last.entry), (position, entry));
}
