//! What do the bytes of an OTLP trace export request say, in our words?
//!
//! The hot path of the whole: one walk over the bytes that takes only what the vocabulary needs and
//! builds nothing else. Both encodings feed one builder of spans, so that they can't differ
//! in what they mean. What can't be read is counted under a reason: a span with an invalid id is
//! rejected, and the others of its request are not.

mod builder;
mod grpc_code;
mod intern;
mod json;
mod keys;
mod meaning;
mod protobuf;
mod resource;
mod sampling;
mod seen;
mod shapes;
mod signature;
#[cfg(test)]
pub(crate) mod tests;
mod url;
mod value;
mod wire;

use serde::{Deserialize, Serialize};

pub use keys::KeepAttributes;
pub use wire::Malformed;

use builder::{RawSpan, SpanBuilder};
use intern::Interner;
use keys::KeyTable;
use resource::ResourceCache;
use seen::Seen;
use shapes::{Placed, ScopeTable, ShapeTable};

use crate::packed::PackedSpans;

/// The two encodings of OTLP over HTTP. gRPC has the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentType {
    /// `application/x-protobuf`, and the messages of gRPC.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Why a payload is no export request. Sending it again can't help.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf message.
    #[error("the body is not an ExportTraceServiceRequest in protobuf")]
    Protobuf(#[source] Malformed),
    /// The text is no JSON, or not of the right shape.
    #[error("the body is not an ExportTraceServiceRequest in JSON")]
    Json(#[source] serde_json::Error),
    /// JSON is UTF-8, and this isn't.
    #[error("the body is not UTF-8, as JSON has to be")]
    NotUtf8,
}

/// What keeps a span from being taken: one of its ids, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The trace's isn't 16 bytes, or all zero.
    Trace,
    /// Its own isn't 8 bytes, or all zero.
    Own,
    /// The parent's is there, but isn't 8 bytes.
    Parent,
    /// None: its request has more kinds of span than one of its length may have.
    Variety,
}

/// What was rejected, mended and dropped in one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    /// Spans whose trace id isn't 16 bytes, or all zero.
    pub rejected_trace_id: u64,
    /// Spans whose own id isn't 8 bytes, or all zero.
    pub rejected_span_id: u64,
    /// Spans with a parent id that isn't 8 bytes.
    pub rejected_parent_id: u64,
    /// Spans of requests that had as many kinds of span by then as one of its length may have.
    pub rejected_variety: u64,
    /// Spans that ended before they started, or lack one of the times.
    pub mended_times: u64,
    /// Texts that weren't UTF-8.
    pub mended_text: u64,
    /// Texts longer than is kept, and messages left out because too many were new of late.
    pub cut_text: u64,
    /// Names that became `other` because too many are in use, or too many were new of late.
    pub other_names: u64,
    /// Links with invalid ids, or more of them than are kept of one span.
    pub dropped_links: u64,
    /// Resource attributes beyond those kept of one resource.
    pub dropped_attributes: u64,
}

impl DecodeCounts {
    /// Spans that were rejected, for whatever reason.
    pub fn rejected(&self) -> u64 {
        self.rejected_trace_id
            + self.rejected_span_id
            + self.rejected_parent_id
            + self.rejected_variety
    }
}

/// What a request said.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// The spans, in the order they were sent.
    pub spans: PackedSpans,
    /// What else was in it.
    pub counts: DecodeCounts,
}

impl Decoded {
    fn reject(&mut self, why: Rejected) {
        match why {
            Rejected::Trace => self.counts.rejected_trace_id += 1,
            Rejected::Own => self.counts.rejected_span_id += 1,
            Rejected::Parent => self.counts.rejected_parent_id += 1,
            Rejected::Variety => self.counts.rejected_variety += 1,
        }
    }
}

/// What is remembered from one request to the next: names, processes, shapes, and what to look for.
/// For one thread at a time; several may be used side by side, and share nothing.
pub struct DecodeContext {
    names: Interner,
    resources: ResourceCache,
    scopes: ScopeTable,
    shapes: ShapeTable,
    seen: Seen,
    /// The changes of `shapes` as of which `seen` is.
    seen_as_of: u64,
    span: SpanBuilder,
}

impl DecodeContext {
    /// A context that knows nothing yet, and keeps these span attributes.
    pub fn new(keep: &KeepAttributes) -> Self {
        Self {
            names: Interner::new(),
            resources: ResourceCache::default(),
            scopes: ScopeTable::default(),
            shapes: ShapeTable::new(),
            seen: Seen::new(),
            seen_as_of: 0,
            span: SpanBuilder::new(KeyTable::new(keep)),
        }
    }

    /// Begins another request, of this many bytes.
    fn next_request(&mut self, bytes: usize) {
        self.shapes.next_request();
        self.span.next_request(bytes);
        // What is still sent is found in the table of shapes, and isn't forgotten there.
        if self.seen_as_of != self.shapes.changes() {
            self.seen_as_of = self.shapes.changes();
            self.seen.clear();
        }
    }

    /// Adds a span that is as one before it.
    #[inline]
    fn known(&mut self, raw: &RawSpan<'_>, known: u32, decoded: &mut Decoded) {
        let (names, shapes, seen) = (&mut self.names, &mut self.shapes, &mut self.seen);
        self.span
            .finish_known(names, shapes, seen, raw, known, decoded);
    }

    /// Remembers the bytes of a span of this process and scope if its shape was remembered before.
    fn remember(&mut self, numbers: (u64, u64), span: &[u8], placed: &Placed) {
        if let Some(shape) = &placed.known {
            self.seen.add(numbers, span, self.span.keys(), shape);
        }
    }

    /// How many names and shapes are remembered.
    #[cfg(test)]
    fn remembered(&self) -> (usize, usize) {
        (self.names.len(), self.shapes.len())
    }
}

impl std::fmt::Debug for DecodeContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodeContext").finish_non_exhaustive()
    }
}

/// Decodes one export request, as a receiver got it or the journal kept it (decompressed, without
/// gRPC's frame).
///
/// # Errors
/// When the payload as a whole can't be read. Invalid spans in a readable request are no error; they
/// are counted in [`Decoded::counts`].
pub fn decode_payload(
    content_type: ContentType,
    payload: &[u8],
    context: &mut DecodeContext,
) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    context.next_request(payload.len());
    let read = match content_type {
        ContentType::Protobuf => {
            protobuf::request(payload, context, &mut decoded).map_err(DecodeError::Protobuf)
        }
        ContentType::Json => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => json::request(text, context, &mut decoded).map_err(DecodeError::Json),
            Err(_) => Err(DecodeError::NotUtf8),
        },
    };
    let texts = context.names.take_counts();
    if let Err(error) = read {
        context.span.reset();
        return Err(error);
    }
    decoded.counts.mended_text = texts.mended;
    decoded.counts.cut_text = texts.cut;
    decoded.counts.other_names = texts.overflowed;
    Ok(decoded)
}
