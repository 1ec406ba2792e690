//! How does an export request become rows, and rows a request, with nothing lost?
//!
//! The hot decoder knows what the analysis reads and skips the rest; here all of it is read, off the hot path. The
//! messages are written down once more because the generated types refuse a whole request for one text that isn't
//! UTF-8, and copy every text: with `bytes` in their place texts are slices of the request, and are mended and counted
//! as on the hot path.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rekindle_model::{SpanId, TraceId, UnixNanos};

use crate::span::{Event, Link, StoredResource, StoredScope, StoredSpan, list_text};
use crate::value::MAX_DEPTH;
use crate::{Attributes, ReadCounts, Text, Value};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_spans: Vec<ScopeSpans>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) schema_url: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "2")]
    pub(crate) dropped_attributes: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) spans: Vec<Span>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) schema_url: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Scope {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) version: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    pub(crate) dropped_attributes: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) span_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) trace_state: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) parent_id: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) name: Bytes,
    #[prost(int32, tag = "6")]
    pub(crate) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(crate) start: u64,
    #[prost(fixed64, tag = "8")]
    pub(crate) end: u64,
    #[prost(message, repeated, tag = "9")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub(crate) dropped_attributes: u32,
    #[prost(message, repeated, tag = "11")]
    pub(crate) events: Vec<SpanEvent>,
    #[prost(uint32, tag = "12")]
    pub(crate) dropped_events: u32,
    #[prost(message, repeated, tag = "13")]
    pub(crate) links: Vec<SpanLink>,
    #[prost(uint32, tag = "14")]
    pub(crate) dropped_links: u32,
    #[prost(message, optional, tag = "15")]
    pub(crate) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SpanEvent {
    #[prost(fixed64, tag = "1")]
    pub(crate) time: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) name: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    pub(crate) dropped_attributes: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SpanLink {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) span_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) trace_state: Bytes,
    #[prost(message, repeated, tag = "4")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "5")]
    pub(crate) dropped_attributes: u32,
    #[prost(fixed32, tag = "6")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) message: Bytes,
    #[prost(int32, tag = "3")]
    pub(crate) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<Any>,
}

/// Lists are left as bytes, so that their depth, which comes from outside, is bounded here and not by an error that
/// costs the whole request.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Any {
    #[prost(bytes = "bytes", tag = "1")]
    Text(Bytes),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(bytes = "bytes", tag = "5")]
    List(Bytes),
    #[prost(bytes = "bytes", tag = "6")]
    Map(Bytes),
    #[prost(bytes = "bytes", tag = "7")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Map {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
}

/// When and where a request was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// When its last byte came; `None` for an import, whose spans count as received when they ended (began, if they
    /// never did).
    pub at: Option<UnixNanos>,
    /// Its position in the journal.
    pub position: u64,
}

impl Received {
    /// What didn't come through a receiver.
    pub const IMPORTED: Self = Self {
        at: None,
        position: 0,
    };
}

/// The spans of an export request in protobuf.
///
/// # Errors
/// When it can't be read as a whole. Spans without valid ids are counted.
pub fn spans_of_protobuf(
    request: Bytes,
    received: Received,
    counts: &mut ReadCounts,
) -> Result<Vec<StoredSpan>, prost::DecodeError> {
    Ok(spans_of(Request::decode(request)?, received, counts))
}

pub(crate) fn spans_of(
    request: Request,
    received: Received,
    counts: &mut ReadCounts,
) -> Vec<StoredSpan> {
    let mut reading = Reading { received, counts };
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let attributes = reading.attributes(resource.attributes);
        let resource = Arc::new(StoredResource {
            service: attributes.text("service.name").cloned().unwrap_or_default(),
            attributes: attributes.to_json(),
            dropped_attributes: resource.dropped_attributes,
            schema_url: reading.text(of_resource.schema_url),
        });
        for of_scope in of_resource.scope_spans {
            let scope = of_scope.scope.unwrap_or_default();
            let scope = Arc::new(StoredScope {
                name: reading.text(scope.name),
                version: reading.text(scope.version),
                attributes: reading.attributes(scope.attributes).to_json(),
                dropped_attributes: scope.dropped_attributes,
                schema_url: reading.text(of_scope.schema_url),
            });
            for span in of_scope.spans {
                match reading.span(span, &resource, &scope) {
                    Some(span) => spans.push(span),
                    None => reading.counts.rejected += 1,
                }
            }
        }
    }
    spans
}

struct Reading<'a> {
    received: Received,
    counts: &'a mut ReadCounts,
}

impl Reading<'_> {
    fn text(&mut self, bytes: Bytes) -> Text {
        let (text, mended) = Text::mended(bytes);
        self.counts.mended_text += u64::from(mended);
        text
    }

    /// `None` for what the receiver has rejected.
    fn span(
        &mut self,
        span: Span,
        resource: &Arc<StoredResource>,
        scope: &Arc<StoredScope>,
    ) -> Option<StoredSpan> {
        let trace_id = TraceId::from_bytes(span.trace_id[..].try_into().ok()?)?;
        let span_id = SpanId::from_bytes(span.span_id[..].try_into().ok()?)?;
        let parent_id = match span.parent_id.is_empty() {
            true => None,
            // All zeros are no parent.
            false => SpanId::from_bytes(span.parent_id[..].try_into().ok()?),
        };
        let events: Vec<Event> = span.events.into_iter().map(|it| self.event(it)).collect();
        let links: Vec<Link> = span.links.into_iter().map(|it| self.link(it)).collect();
        let status = span.status.unwrap_or_default();
        let end = UnixNanos(span.end);
        Some(StoredSpan {
            trace_id,
            span_id,
            parent_id,
            trace_state: self.text(span.trace_state),
            flags: span.flags,
            name: self.text(span.name),
            kind: span.kind,
            start: UnixNanos(span.start),
            end,
            attributes: self.attributes(span.attributes).to_json(),
            dropped_attributes: span.dropped_attributes,
            events: list_text(&events),
            dropped_events: span.dropped_events,
            links: list_text(&links),
            dropped_links: span.dropped_links,
            status: status.code,
            status_message: self.text(status.message),
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
            // Of one that never ended, when it began.
            received_at: self.received.at.unwrap_or(end.max(UnixNanos(span.start))),
            position: self.received.position,
        })
    }

    fn event(&mut self, event: SpanEvent) -> Event {
        Event {
            time_unix_nanos: event.time,
            name: self.text(event.name),
            attributes: self.attributes(event.attributes),
            dropped_attributes: event.dropped_attributes,
        }
    }

    fn link(&mut self, link: SpanLink) -> Link {
        Link {
            trace_id: hex(&link.trace_id),
            span_id: hex(&link.span_id),
            trace_state: self.text(link.trace_state),
            attributes: self.attributes(link.attributes),
            dropped_attributes: link.dropped_attributes,
            flags: link.flags,
        }
    }

    fn attributes(&mut self, pairs: Vec<KeyValue>) -> Attributes {
        self.pairs(pairs, 0)
    }

    fn pairs(&mut self, pairs: Vec<KeyValue>, depth: usize) -> Attributes {
        let read = pairs.into_iter().map(|pair| {
            let value = pair.value.and_then(|it| it.value);
            (self.text(pair.key), self.value(value, depth))
        });
        Attributes(read.collect())
    }

    fn value(&mut self, value: Option<Any>, depth: usize) -> Value {
        let too_deep = depth >= MAX_DEPTH;
        match value {
            None => Value::Empty,
            Some(Any::Text(text)) => Value::Text(self.text(text)),
            Some(Any::Bool(value)) => Value::Bool(value),
            Some(Any::Int(value)) => Value::Int(value),
            Some(Any::Double(value)) => Value::Double(value),
            Some(Any::Bytes(bytes)) => Value::Bytes(bytes),
            Some(Any::List(bytes)) if !too_deep => match List::decode(bytes) {
                Ok(list) => {
                    let values = list.values.into_iter();
                    Value::List(values.map(|it| self.value(it.value, depth + 1)).collect())
                }
                Err(_) => self.cut(),
            },
            Some(Any::Map(bytes)) if !too_deep => match Map::decode(bytes) {
                Ok(map) => Value::Map(self.pairs(map.values, depth + 1)),
                Err(_) => self.cut(),
            },
            Some(Any::List(_) | Any::Map(_)) => self.cut(),
        }
    }

    fn cut(&mut self) -> Value {
        self.counts.cut_values += 1;
        Value::Empty
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|it| DIGITS[usize::from(it)] as char);
    bytes.iter().flat_map(digits).collect()
}

/// The bytes of a hexadecimal text; none of one that isn't.
pub(crate) fn unhex(text: &str) -> Bytes {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.unwrap_or_default().into()
}

/// An export request of these spans, in their order; neighbours of one resource and scope are put together.
pub(crate) fn request_of(spans: &[StoredSpan]) -> Request {
    let mut request = Request::default();
    let (mut resource, mut scope) = (None, None);
    for span in spans {
        if resource != Some(&span.resource) {
            let stored = &span.resource;
            request.resource_spans.push(ResourceSpans {
                resource: Some(Resource {
                    attributes: pairs_of_text(&stored.attributes),
                    dropped_attributes: stored.dropped_attributes,
                }),
                scope_spans: Vec::new(),
                schema_url: stored.schema_url.bytes().clone(),
            });
            (resource, scope) = (Some(stored), None);
        }
        let Some(of_resource) = request.resource_spans.last_mut() else {
            continue;
        };
        if scope != Some(&span.scope) {
            let stored = &span.scope;
            of_resource.scope_spans.push(ScopeSpans {
                scope: Some(Scope {
                    name: stored.name.bytes().clone(),
                    version: stored.version.bytes().clone(),
                    attributes: pairs_of_text(&stored.attributes),
                    dropped_attributes: stored.dropped_attributes,
                }),
                spans: Vec::new(),
                schema_url: stored.schema_url.bytes().clone(),
            });
            scope = Some(stored);
        }
        if let Some(of_scope) = of_resource.scope_spans.last_mut() {
            of_scope.spans.push(span_of(span));
        }
    }
    request
}

/// An export request of these spans in protobuf.
pub fn protobuf_of(spans: &[StoredSpan]) -> Vec<u8> {
    request_of(spans).encode_to_vec()
}

fn span_of(span: &StoredSpan) -> Span {
    // Columns of a foreign file may hold anything: what isn't a list is left out.
    let events = span.events().unwrap_or_default();
    let links = span.links().unwrap_or_default();
    Span {
        trace_id: Bytes::copy_from_slice(&span.trace_id.to_bytes()),
        span_id: Bytes::copy_from_slice(&span.span_id.to_bytes()),
        trace_state: span.trace_state.bytes().clone(),
        parent_id: match span.parent_id {
            Some(id) => Bytes::copy_from_slice(&id.to_bytes()),
            None => Bytes::new(),
        },
        name: span.name.bytes().clone(),
        kind: span.kind,
        start: span.start.0,
        end: span.end.0,
        attributes: pairs_of_text(&span.attributes),
        dropped_attributes: span.dropped_attributes,
        events: events
            .into_iter()
            .map(|event| SpanEvent {
                time: event.time_unix_nanos,
                name: event.name.bytes().clone(),
                attributes: pairs_of(event.attributes),
                dropped_attributes: event.dropped_attributes,
            })
            .collect(),
        dropped_events: span.dropped_events,
        links: links
            .into_iter()
            .map(|link| SpanLink {
                trace_id: unhex(&link.trace_id),
                span_id: unhex(&link.span_id),
                trace_state: link.trace_state.bytes().clone(),
                attributes: pairs_of(link.attributes),
                dropped_attributes: link.dropped_attributes,
                flags: link.flags,
            })
            .collect(),
        dropped_links: span.dropped_links,
        status: (span.status != 0 || !span.status_message.is_empty()).then(|| Status {
            message: span.status_message.bytes().clone(),
            code: span.status,
        }),
        flags: span.flags,
    }
}

fn pairs_of_text(text: &Text) -> Vec<KeyValue> {
    pairs_of(Attributes::from_json(text.as_str()).unwrap_or_default())
}

fn pairs_of(attributes: Attributes) -> Vec<KeyValue> {
    let pairs = attributes.0.into_iter().map(|(key, value)| KeyValue {
        key: key.bytes().clone(),
        value: Some(value_of(value)),
    });
    pairs.collect()
}

pub(crate) fn list(bytes: &Bytes) -> Vec<AnyValue> {
    List::decode(bytes.clone()).unwrap_or_default().values
}

pub(crate) fn map(bytes: &Bytes) -> Vec<KeyValue> {
    Map::decode(bytes.clone()).unwrap_or_default().values
}

pub(crate) fn value_of(value: Value) -> AnyValue {
    let value = match value {
        Value::Empty => None,
        Value::Text(text) => Some(Any::Text(text.bytes().clone())),
        Value::Bool(value) => Some(Any::Bool(value)),
        Value::Int(value) => Some(Any::Int(value)),
        Value::Double(value) => Some(Any::Double(value)),
        Value::Bytes(bytes) => Some(Any::Bytes(bytes)),
        Value::List(values) => {
            let values = values.into_iter().map(value_of).collect();
            Some(Any::List(List { values }.encode_to_vec().into()))
        }
        Value::Map(attributes) => {
            let values = pairs_of(attributes);
            Some(Any::Map(Map { values }.encode_to_vec().into()))
        }
    };
    AnyValue { value }
}
