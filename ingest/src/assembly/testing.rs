//! Spans for tests.

use std::sync::Arc;

use rekindle_model::{Resource, Shape, Span, SpanId, SpanKind, TraceId, UnixNanos};

/// A root that ended then, of this service.
pub(crate) fn span_of(service: &str, end: UnixNanos) -> Span {
    Span {
        trace_id: trace_id(1),
        span_id: span_id(1),
        parent_id: None,
        parent_is_remote: None,
        start: end,
        end,
        shape: Arc::new(Shape {
            kind: SpanKind::Server,
            name: "work".into(),
            resource: Arc::new(Resource {
                service: service.into(),
                ..Resource::default()
            }),
            ..Shape::default()
        }),
        links: Box::default(),
    }
}

pub(crate) fn trace_id(number: u128) -> TraceId {
    TraceId::from_bytes(number.to_be_bytes()).expect("not zero")
}

pub(crate) fn span_id(number: u64) -> SpanId {
    SpanId::from_bytes(number.to_be_bytes()).expect("not zero")
}

/// A span of this trace; `parent` 0 makes it the root.
pub(crate) fn span(trace: u128, id: u64, parent: u64, end: UnixNanos) -> Span {
    Span {
        trace_id: trace_id(trace),
        span_id: span_id(id),
        parent_id: (parent != 0).then(|| span_id(parent)),
        ..span_of("shop", end)
    }
}
