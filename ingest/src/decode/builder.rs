//! How does what an exporter said become a [`Span`], whichever encoding it came in?
//!
//! The protobuf walk and the JSON reader both call this with views of the request's bytes, so there
//! is one place that knows what is invalid and what can be mended. What the bytes mean is worked out
//! once for all spans that say the same: see [`super::signature`] and [`super::shapes`].

use rekindle_model::{Link, Sampling, SpanId, TraceId, UnixNanos};

use super::intern::{Interner, OTHER, TextCounts};
use super::keys::{EXCEPTION_TYPE, Fact, KeyTable, NO_KEY, SAMPLING};
use super::resource::Origin;
use super::seen::Seen;
use super::shapes::{Placed, Scope, ShapeTable};
use super::signature::{self, Head, Signature};
use super::value::Value;
use super::{Decoded, Rejected, meaning, sampling};
use crate::packed::PackedSpan;

/// Links kept of one span, as SDKs limit them.
const MAX_LINKS: usize = 128;

/// Shapes that a request may have, however short it is: they take half a megabyte.
const SHAPES_IN_ANY: usize = 1024;

/// Bytes of a request for each shape beyond those. A span that is unlike all others becomes some 600 bytes in memory;
/// nobody can say its ids, times and name in fewer than these, so who has more shapes makes them up to fill it.
const BYTES_PER_SHAPE: usize = 64;

/// Shapes of the longest request: as many as there are names remembered, or 80 MB.
const MAX_SHAPES: usize = 1 << 17;

/// Flag bit 8: whether the parent is remote is known. Absent from old producers.
const PARENT_REMOTE_KNOWN: u32 = 0x100;
/// Flag bit 9: the parent is remote.
const PARENT_IS_REMOTE: u32 = 0x200;

/// The fields of a span that aren't attributes, as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawSpan<'a> {
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
    pub(crate) parent_id: &'a [u8],
    pub(crate) trace_state: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) status: u64,
    pub(crate) message: &'a [u8],
    pub(crate) flags: u32,
}

/// Collects what one span says, then makes it; used for one span after the other.
pub(crate) struct SpanBuilder {
    keys: KeyTable,
    signature: Signature,
    /// What is left of a signature when there is no room for another.
    less: Signature,
    links: Vec<Link>,
    /// The kind of the span, as far as it is known.
    kind: u64,
    /// Shapes that the request being read may have.
    most_shapes: usize,
}

impl SpanBuilder {
    pub(crate) fn new(keys: KeyTable) -> Self {
        Self {
            keys,
            signature: Signature::default(),
            less: Signature::default(),
            links: Vec::new(),
            kind: 0,
            most_shapes: SHAPES_IN_ANY,
        }
    }

    /// Begins another request, of this many bytes.
    pub(crate) fn next_request(&mut self, bytes: usize) {
        self.most_shapes = SHAPES_IN_ANY + (bytes / BYTES_PER_SHAPE).min(MAX_SHAPES);
    }

    /// Forgets what was taken of a span that turned out unreadable.
    pub(crate) fn reset(&mut self) {
        self.signature.clear();
        self.links.clear();
        self.kind = 0;
    }

    /// Takes the kind of the span. Attributes that say nothing on one of this kind are left out from now on; nearly all
    /// exporters write it before them, and what comes in front of it is left out when its meaning is worked out.
    #[inline]
    pub(crate) fn kind(&mut self, kind: u64) {
        self.kind = kind;
    }

    /// The number of a key that means something here.
    #[inline]
    fn find(&self, key: &[u8]) -> Option<u16> {
        let number = self.keys.find(key)?;
        (!self.keys.is_silent(number, self.kind)).then_some(number)
    }

    /// Takes an attribute of the span. Its value is only read when its key means something, which
    /// few do.
    #[inline]
    pub(crate) fn attribute<'a, E>(
        &mut self,
        key: &[u8],
        value: impl FnOnce() -> Result<Value<'a>, E>,
    ) -> Result<(), E> {
        if let Some(number) = self.find(key) {
            match value()? {
                Value::Text(text) => self.telling_text(number, text),
                value => self.signature.attribute(number, value),
            }
        }
        Ok(())
    }

    /// Takes an attribute of the span that is a text.
    #[inline]
    pub(crate) fn text(&mut self, key: &[u8], text: &[u8]) {
        if let Some(number) = self.find(key) {
            self.telling_text(number, text);
        }
    }

    #[inline]
    fn telling_text(&mut self, number: u16, text: &[u8]) {
        if let Some(text) = self.keys.telling(number, text) {
            self.signature.text(number, text);
        }
    }

    /// Takes an attribute of the span that is a whole number.
    #[inline]
    pub(crate) fn number(&mut self, key: &[u8], value: i64) {
        if let Some(number) = self.find(key) {
            self.signature.int(number, value);
        }
    }

    /// Takes an attribute of an event of the span that is called `exception`.
    pub(crate) fn exception(&mut self, key: &[u8], value: Value<'_>) {
        if key == EXCEPTION_TYPE.as_bytes() {
            self.signature.attribute(NO_KEY, value);
        }
    }

    /// Takes a link of the span.
    pub(crate) fn link(&mut self, trace_id: &[u8], span_id: &[u8], decoded: &mut Decoded) {
        match (trace_id_of(trace_id), span_id_of(span_id)) {
            (Some(trace_id), Some(span_id)) if self.links.len() < MAX_LINKS => {
                self.links.push(Link { trace_id, span_id });
            }
            _ => decoded.counts.dropped_links += 1,
        }
    }

    /// Takes what was said of samplers elsewhere than in attributes. Only what it means goes into the
    /// signature: the random number beside it is another in each trace.
    #[cold]
    fn sampled(&mut self, trace_state: &[u8], scope: &Scope) {
        let said = match scope.is_sampled {
            // A tail sampler that knows its threshold writes it into the trace state.
            true => sampling::of_trace_state(trace_state).or(Some(Sampling::Undeclared)),
            false => sampling::of_trace_state(trace_state),
        };
        match said {
            Some(Sampling::Threshold(threshold)) => {
                let number = Value::Int(threshold.cast_signed());
                self.signature.attribute(SAMPLING, number);
            }
            Some(Sampling::Undeclared) => self.signature.attribute(SAMPLING, Value::Bool(true)),
            None => {}
        }
    }

    /// Makes the span of all that was taken since the last one, and adds it to `decoded`; or
    /// counts why it can't be one. Where its shape is, if it is one.
    pub(crate) fn finish(
        &mut self,
        names: &mut Interner,
        shapes: &mut ShapeTable,
        raw: &RawSpan<'_>,
        origin: &Origin,
        scope: &Scope,
        decoded: &mut Decoded,
    ) -> Option<Placed> {
        let ids = self.admit(raw, decoded);
        let placed = ids.map(|ids| self.add(names, shapes, raw, ids, origin, scope, decoded));
        self.reset();
        placed
    }

    /// Makes a span whose shape was found by comparing bytes, and adds it to `decoded`; or counts why it can't be one.
    #[inline]
    pub(crate) fn finish_known(
        &self,
        names: &mut Interner,
        shapes: &mut ShapeTable,
        seen: &mut Seen,
        raw: &RawSpan<'_>,
        known: u32,
        decoded: &mut Decoded,
    ) {
        let Some(ids) = self.admit(raw, decoded) else {
            return;
        };
        let (place, texts) = seen.place(known, shapes.request(), &mut decoded.spans);
        names.count(texts);
        shapes.came_again();
        push(raw, ids, place, &[], decoded);
    }

    /// The span's ids; none, counted, if it can't be taken.
    #[inline]
    fn admit(&self, raw: &RawSpan<'_>, decoded: &mut Decoded) -> Option<Ids> {
        match ids(raw) {
            Ok(_) if decoded.spans.shapes().len() >= self.most_shapes => {
                decoded.reject(Rejected::Variety);
                None
            }
            Ok(ids) => Some(ids),
            Err(why) => {
                decoded.reject(why);
                None
            }
        }
    }

    /// Which attributes mean something.
    pub(crate) fn keys(&self) -> &KeyTable {
        &self.keys
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one span")]
    fn add(
        &mut self,
        names: &mut Interner,
        shapes: &mut ShapeTable,
        raw: &RawSpan<'_>,
        ids: Ids,
        origin: &Origin,
        scope: &Scope,
        decoded: &mut Decoded,
    ) -> Placed {
        if !raw.trace_state.is_empty() || scope.is_sampled {
            self.sampled(raw.trace_state, scope);
        }
        let head = Head {
            name: raw.name,
            message: raw.message,
            kind: raw.kind,
            status: raw.status,
            origin: origin.number,
            scope: scope.number,
        };
        let attributes = self.signature.finish(&head);
        let signature = self.signature.as_bytes();
        let keys = &self.keys;
        let shape = shapes.place(signature, names, &mut decoded.spans, |names| {
            meaning::shape(names, keys, &signature[..attributes], &head, origin, scope)
        });
        let placed = shape.unwrap_or_else(|| Placed {
            place: self.add_less(names, shapes, &head, attributes, origin, scope, decoded),
            known: None,
        });
        push(raw, ids, placed.place, &self.links, decoded);
        placed
    }

    /// Adds the shape of a span when too many said something new of late, and says its place. As little
    /// is left out as makes it known, counted: its message, then its name, then all but where it comes
    /// from, what it is and how it ended. In honest systems messages and names have ids in them, and
    /// whom such a span called must not be lost for that.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "the parts of one span")]
    fn add_less(
        &mut self,
        names: &mut Interner,
        shapes: &mut ShapeTable,
        head: &Head<'_>,
        attributes: usize,
        origin: &Origin,
        scope: &Scope,
        decoded: &mut Decoded,
    ) -> u32 {
        let (keys, less, spans) = (&self.keys, &mut self.less, &mut decoded.spans);
        let attributes = &self.signature.as_bytes()[..attributes];
        let silent = Head {
            message: b"",
            ..*head
        };
        let nameless = Head {
            name: OTHER.as_bytes(),
            ..silent
        };
        for less_said in [silent, nameless] {
            // What is as it was has been refused, and would count as coming for the second time.
            if less_said.name == head.name && less_said.message == head.message {
                continue;
            }
            less.clear();
            less.copy(attributes);
            less.finish(&less_said);
            let known = shapes.place_known(less.as_bytes(), names, spans, |names| {
                meaning::shape(names, keys, attributes, &less_said, origin, scope)
            });
            if let Some(place) = known {
                let is_named = less_said.name == head.name;
                names.count(TextCounts {
                    overflowed: u64::from(!is_named),
                    cut: u64::from(is_named),
                    ..TextCounts::default()
                });
                return place;
            }
        }
        names.count(TextCounts {
            overflowed: 1,
            ..TextCounts::default()
        });
        less.clear();
        for (number, value) in signature::attributes(attributes) {
            let fact = keys.get(number).and_then(|known| known.fact);
            match (fact, value) {
                (Some((Fact::HttpStatus | Fact::GrpcStatus, _)), Value::Int(code))
                    if STATUS_CODES.contains(&code) =>
                {
                    less.int(number, code);
                }
                (Some((Fact::ErrorType, _)), _) => less.text(number, OTHER.as_bytes()),
                (None, _) if number == NO_KEY => less.text(number, OTHER.as_bytes()),
                (None, Value::Bool(_)) if number == SAMPLING => less.attribute(number, value),
                _ => {}
            }
        }
        let head = Head {
            // All that no convention knows are one.
            kind: head.kind.min(6),
            status: head.status.min(3),
            ..nameless
        };
        let attributes = less.finish(&head);
        let less = less.as_bytes();
        shapes.place_anyway(less, names, spans, |names| {
            meaning::shape(names, keys, &less[..attributes], &head, origin, scope)
        })
    }
}

/// A status code that can be one: three digits at most.
const STATUS_CODES: std::ops::Range<i64> = 0..1000;

/// Adds a span of these ids whose shape is at this place.
#[inline]
fn push(
    raw: &RawSpan<'_>,
    (trace_id, span_id, parent_id): Ids,
    shape: u32,
    links: &[Link],
    decoded: &mut Decoded,
) {
    let (start, end) = times(raw, decoded);
    let span = PackedSpan {
        trace_id,
        span_id,
        parent_id,
        start: UnixNanos(start),
        end: UnixNanos(end),
        shape,
        parent_is_remote: (raw.flags & PARENT_REMOTE_KNOWN != 0)
            .then_some(raw.flags & PARENT_IS_REMOTE != 0),
    };
    decoded.spans.push(span, links);
}

/// The ids of a span's trace, of itself and of its parent.
type Ids = (TraceId, SpanId, Option<SpanId>);

#[inline]
fn ids(raw: &RawSpan<'_>) -> Result<Ids, Rejected> {
    Ok((
        trace_id_of(raw.trace_id).ok_or(Rejected::Trace)?,
        span_id_of(raw.span_id).ok_or(Rejected::Own)?,
        parent_id_of(raw.parent_id)?,
    ))
}

/// Start and end, the end not before the start. One that is missing is taken for the other.
fn times(raw: &RawSpan<'_>, decoded: &mut Decoded) -> (u64, u64) {
    let (start, end) = (raw.start, raw.end);
    if start != 0 && start <= end {
        return (start, end);
    }
    decoded.counts.mended_times += 1;
    if start == 0 {
        (end, end)
    } else {
        (start, start)
    }
}

fn trace_id_of(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_bytes(bytes.try_into().ok()?)
}

fn span_id_of(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(bytes.try_into().ok()?)
}

/// No bytes mean a root, and so do eight zeroes, which some exporters write instead.
fn parent_id_of(bytes: &[u8]) -> Result<Option<SpanId>, Rejected> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = bytes.try_into().map_err(|_| Rejected::Parent)?;
    Ok(SpanId::from_bytes(bytes))
}
