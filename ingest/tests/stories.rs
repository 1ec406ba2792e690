//! What becomes of the traces that don't look like the textbook's? Each is sent as an exporter would, decoded and
//! assembled; what comes of every span, and how much is held meanwhile, is counted.
//!
//! Without optimization the long ones are told with a tenth of their spans.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rekindle_ingest::{
    Assembler, AssemblerConfig, ContentType, DecodeContext, InFlight, KeepAttributes,
    decode_payload,
};
use rekindle_model::{ReleaseReason, Trace, UnixNanos};

const START: UnixNanos = UnixNanos::from_secs(1_000_000);

/// Spans of the long stories.
const MANY: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

/// Spans of a request, as SDKs send them.
const BATCH: usize = 512;

/// How often the engine polls.
const POLL_EVERY: Duration = Duration::from_millis(50);

fn after(millis: u64) -> UnixNanos {
    START.plus(Duration::from_millis(millis))
}

/// A span that ends when it is sent; `parent` 0 makes it a root.
fn span(trace: u64, id: u64, parent: u64) -> Span {
    Span {
        trace_id: u128::from(trace).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: match parent {
            0 => Vec::new(),
            parent => parent.to_be_bytes().to_vec(),
        },
        name: "work".to_owned(),
        kind: SpanKind::Server as i32,
        ..Default::default()
    }
}

/// The receiving end, as far as assembly.
struct Receiver {
    context: DecodeContext,
    assembler: Assembler,
    now: UnixNanos,
    /// The most that was held.
    most: InFlight,
    traces: Vec<Trace>,
}

impl Receiver {
    fn new() -> Self {
        Self {
            context: DecodeContext::new(&KeepAttributes::default()),
            assembler: Assembler::new(AssemblerConfig::default()),
            now: START,
            most: InFlight::default(),
            traces: Vec::new(),
        }
    }

    /// Lets time pass.
    fn until(&mut self, time: UnixNanos) {
        while self.now < time {
            self.now = self.now.plus(POLL_EVERY).min(time);
            self.assembler.poll(self.now, &mut self.traces);
        }
    }

    /// Takes spans that have just ended, in requests, which take no time.
    fn take(&mut self, spans: Vec<Span>) {
        let now = self.now;
        for batch in spans.chunks(BATCH) {
            let ended = |span: &Span| Span {
                start_time_unix_nano: now.minus(Duration::from_millis(1)).0,
                end_time_unix_nano: now.0,
                ..span.clone()
            };
            let request = ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans {
                    scope_spans: vec![ScopeSpans {
                        spans: batch.iter().map(ended).collect(),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
            };
            let payload = request.encode_to_vec();
            let decoded = decode_payload(ContentType::Protobuf, &payload, &mut self.context);
            let decoded = decoded.expect("a request");
            assert_eq!(decoded.counts.rejected(), 0);
            self.assembler.push_all(&decoded.spans, now);
            let held = self.assembler.in_flight();
            self.most.traces = self.most.traces.max(held.traces);
            self.most.spans = self.most.spans.max(held.spans);
            self.assembler.poll(now, &mut self.traces);
        }
    }

    /// How many traces were let go of for this reason, and how many spans they have in all.
    fn released(&self, reason: ReleaseReason) -> (usize, usize) {
        let of_reason = self.traces.iter().filter(|it| it.reason() == reason);
        of_reason.fold((0, 0), |(traces, spans), it| {
            (traces + 1, spans + it.spans().len())
        })
    }
}

#[test]
fn many_traces_of_one_span() {
    let mut receiver = Receiver::new();
    for first in (1..=MANY).step_by(BATCH) {
        let last = (first + BATCH as u64).min(MANY + 1);
        receiver.take((first..last).map(|it| span(it, 1, 0)).collect());
        // A hundred thousand a second.
        receiver.until(receiver.now.plus(Duration::from_millis(5)));
    }
    receiver.until(receiver.now.plus(Duration::from_secs(2)));
    let all = MANY as usize;
    assert_eq!(receiver.released(ReleaseReason::RootQuiet), (all, all));
    // What the shortest quiet period holds, and a poll's worth.
    assert!(receiver.most.traces < 50_000, "{:?}", receiver.most);
    assert_eq!(receiver.assembler.in_flight(), InFlight::default());
}

#[test]
fn one_trace_of_many_spans() {
    let mut receiver = Receiver::new();
    let limit = AssemblerConfig::default().max_spans_per_trace;
    for first in (1..=MANY).step_by(BATCH) {
        let last = (first + BATCH as u64).min(MANY + 1);
        // A loop that calls itself, and never ends.
        receiver.take((first..last).map(|it| span(1, it, it + 1)).collect());
    }
    assert_eq!(receiver.released(ReleaseReason::SpanLimit), (1, limit));
    assert_eq!(receiver.traces.len(), 1);
    assert_eq!(
        receiver.most,
        InFlight {
            traces: 1,
            spans: limit - limit % BATCH
        }
    );
    let counts = receiver.assembler.counts();
    assert_eq!(
        (counts.new, counts.late),
        (limit as u64, MANY - limit as u64)
    );
}

#[test]
fn spans_over_minutes() {
    let mut receiver = Receiver::new();
    // One every twenty seconds, for ten minutes; the root ends last, as it does.
    for number in 2..=31 {
        receiver.take(vec![span(1, number, 1)]);
        receiver.until(receiver.now.plus(Duration::from_secs(20)));
    }
    assert_eq!(receiver.traces.len(), 0);
    receiver.take(vec![span(1, 1, 0)]);
    receiver.until(receiver.now.plus(Duration::from_secs(1)));
    assert_eq!(receiver.released(ReleaseReason::RootQuiet), (1, 31));
    assert_eq!(receiver.traces[0].orphans().count(), 0);
}

#[test]
fn children_first() {
    let mut receiver = Receiver::new();
    // A chain of a hundred calls ends from within, and each process sends by itself.
    for id in (1..=100).rev() {
        receiver.take(vec![span(1, id, id - 1)]);
        receiver.until(receiver.now.plus(Duration::from_millis(100)));
    }
    receiver.until(receiver.now.plus(Duration::from_secs(1)));
    assert_eq!(receiver.released(ReleaseReason::RootQuiet), (1, 100));
    let trace = &receiver.traces[0];
    let (mut at, mut depth) = (trace.root().expect("it came last"), 1);
    while let [child] = trace.children(at) {
        (at, depth) = (*child, depth + 1);
    }
    assert_eq!((depth, trace.orphans().count()), (100, 0));
}

#[test]
fn a_stream_that_lives_for_hours() {
    let mut receiver = Receiver::new();
    // A message a minute is a span of the stream's trace; the stream's own span ends with it, after three hours.
    for number in 2..=181 {
        receiver.take(vec![span(1, number, 1)]);
        receiver.until(receiver.now.plus(Duration::from_secs(60)));
    }
    receiver.take(vec![span(1, 1, 0)]);
    receiver.until(receiver.now.plus(Duration::from_secs(60)));
    // The first message goes when nothing came for half a minute; for as long as that is remembered, the others come
    // late. Each is one or the other, and nothing is held.
    let counts = receiver.assembler.counts();
    let released: usize = receiver.traces.iter().map(|it| it.spans().len()).sum();
    assert_eq!(counts.late + released as u64, 181);
    assert!(
        counts.late > 0 && receiver.released(ReleaseReason::Idle).0 > 0,
        "{counts:?}"
    );
    assert_eq!(
        receiver.most,
        InFlight {
            traces: 1,
            spans: 1
        }
    );
    assert_eq!(receiver.assembler.in_flight(), InFlight::default());
}

#[test]
fn messages_are_linked_rather_than_nested() {
    let mut receiver = Receiver::new();
    let producers = 100;
    receiver.take((1..=producers).map(|it| span(it, it, 0)).collect());
    receiver.until(after(5_000));
    // A consumer takes all of them at once, in a trace of its own, long after theirs have gone.
    let links = (1..=producers).map(|it| Link {
        trace_id: u128::from(it).to_be_bytes().to_vec(),
        span_id: it.to_be_bytes().to_vec(),
        ..Default::default()
    });
    let consumer = Span {
        links: links.collect(),
        kind: SpanKind::Consumer as i32,
        ..span(1_000, 1, 0)
    };
    receiver.take(vec![consumer]);
    receiver.until(after(10_000));
    assert_eq!(receiver.released(ReleaseReason::RootQuiet), (101, 101));
    assert_eq!(receiver.assembler.counts().late, 0);
    let by_id: BTreeMap<_, _> = receiver
        .traces
        .iter()
        .map(|it| (it.trace_id(), it))
        .collect();
    let consumer = receiver
        .traces
        .iter()
        .find(|it| it.trace_id().get() == 1_000);
    let links = &consumer.expect("it came").spans()[0].links;
    for link in links {
        let producer = by_id[&link.trace_id];
        assert_eq!(producer.spans()[0].span_id, link.span_id);
    }
    assert_eq!(links.len(), producers as usize);
}
