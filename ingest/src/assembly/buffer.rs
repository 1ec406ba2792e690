//! The spans of one trace so far.
//!
//! Millions may be held, so a span is kept as forty bytes of numbers, and what few traces need (many
//! spans, links) is kept apart.

use hashbrown::HashSet;
use rekindle_model::{
    EmptyTrace, Link, Outline, OutlineParts, ReleaseReason, SpanId, Step, TraceId, UnixNanos,
};

use super::shape_slots::ShapeSlots;
use crate::packed::PackedSpan;

/// Up to so many spans, looking through them is cheaper than keeping a set of their ids; most
/// traces have fewer.
const SEARCHED: usize = 24;

/// Memory for so many spans is kept for the next trace when one is let go.
const SPANS_KEPT: usize = 32;

/// A number that no trace has.
pub(super) const NO_TRACE: u64 = u64::MAX;

/// What few traces have.
#[derive(Default)]
struct Rare {
    /// The ids of all spans, once they are more than [`SEARCHED`].
    ids: HashSet<SpanId>,
    /// The links of the spans that have some.
    links: Vec<(SpanId, Box<[Link]>)>,
}

/// What came of one trace that is still open. What each span needs is the first cache line.
#[repr(C, align(64))]
pub(super) struct Buffer {
    pub(super) trace_id: TraceId,
    spans: Vec<Step>,
    /// A bit for each id that came, several ids to a bit: an id whose bit isn't set is new.
    seen: u64,
    /// When the root came; never, if it didn't.
    root_at: UnixNanos,
    /// When the last span came.
    pub(super) last_at: UnixNanos,
    /// The deadline under which it is queued; an entry under another one is out of date.
    pub(super) queued: UnixNanos,
    /// The order in which traces began; [`NO_TRACE`] when there is none here at present.
    pub(super) number: u64,
    rare: Option<Box<Rare>>,
}

/// A time that doesn't come.
pub(super) const NEVER: UnixNanos = UnixNanos(u64::MAX);

impl Buffer {
    pub(super) fn new(trace_id: TraceId, number: u64, now: UnixNanos) -> Self {
        Self {
            trace_id,
            spans: Vec::new(),
            seen: 0,
            rare: None,
            number,
            root_at: NEVER,
            last_at: now,
            queued: NEVER,
        }
    }

    /// Stands where a buffer was taken from.
    pub(super) fn nothing(trace_id: TraceId) -> Self {
        Self::new(trace_id, NO_TRACE, NEVER)
    }

    /// Begins another trace in the memory of one that was let go.
    pub(super) fn begin(&mut self, trace_id: TraceId, number: u64, now: UnixNanos) {
        let spans = std::mem::take(&mut self.spans);
        *self = Self {
            spans,
            ..Self::new(trace_id, number, now)
        };
    }

    /// When the root came, if it did.
    pub(super) fn root_at(&self) -> Option<UnixNanos> {
        (self.root_at != NEVER).then_some(self.root_at)
    }

    /// Takes a span; `false` when its id was there. Of two with one id the later-ending is kept,
    /// so that the order of arrival makes no difference.
    pub(super) fn take(
        &mut self,
        span: &PackedSpan,
        shape: u32,
        links: &[Link],
        shapes: &mut ShapeSlots,
        now: UnixNanos,
    ) -> bool {
        self.last_at = self.last_at.max(now);
        let held = Step {
            span_id: span.span_id,
            parent_id: span.parent_id,
            start: span.start,
            end: span.end,
            shape,
            parent_is_remote: span.parent_is_remote,
        };
        if let Some(at) = self.find(span.span_id) {
            if span.end > self.spans[at].end {
                shapes.hold(shape);
                shapes.let_go(self.spans[at].shape);
                self.spans[at] = held;
                self.link(span.span_id, links);
            }
            return false;
        }
        if span.parent_id.is_none() && self.root_at == NEVER {
            self.root_at = now;
        }
        if self.spans.len() == SEARCHED {
            let ids = self.spans.iter().map(|span| span.span_id).collect();
            self.rare.get_or_insert_default().ids = ids;
        }
        if self.spans.len() >= SEARCHED {
            self.rare.get_or_insert_default().ids.insert(span.span_id);
        }
        if !links.is_empty() {
            self.link(span.span_id, links);
        }
        self.seen |= bit_of(span.span_id);
        shapes.hold(shape);
        self.spans.push(held);
        true
    }

    /// Its spans so far.
    #[inline]
    pub(super) fn steps(&self) -> &[Step] {
        &self.spans
    }

    fn find(&self, id: SpanId) -> Option<usize> {
        if self.seen & bit_of(id) == 0 {
            return None;
        }
        let many = self.spans.len() > SEARCHED;
        if many && !self.rare.as_ref()?.ids.contains(&id) {
            return None;
        }
        self.spans.iter().position(|span| span.span_id == id)
    }

    /// Makes these the links of the span.
    fn link(&mut self, id: SpanId, links: &[Link]) {
        if links.is_empty() && self.rare.is_none() {
            return;
        }
        let all = &mut self.rare.get_or_insert_default().links;
        all.retain(|(of, _)| *of != id);
        if !links.is_empty() {
            all.push((id, links.into()));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The trace in numbers, of which a whole one can be made.
    ///
    /// # Errors
    /// When it has no span, which no trace that was begun has.
    pub(super) fn outline<'a>(
        &'a mut self,
        shapes: &'a ShapeSlots,
        parents: &'a mut Vec<u32>,
        reason: ReleaseReason,
    ) -> Result<Outline<'a>, EmptyTrace> {
        Outline::new(OutlineParts {
            trace_id: self.trace_id,
            steps: &mut self.spans,
            parents,
            shapes: shapes.shapes(),
            links: self.rare.as_ref().map_or(&[], |rare| &rare.links),
            reason,
        })
    }

    /// Lets go of the spans. The buffer can begin another trace; whether its memory is kept for that is
    /// the caller's choice.
    pub(super) fn empty(&mut self, shapes: &mut ShapeSlots, keep_memory: bool) {
        for span in &self.spans {
            shapes.let_go(span.shape);
        }
        self.rare = None;
        if keep_memory && self.spans.capacity() <= SPANS_KEPT {
            self.spans.clear();
        } else {
            self.spans = Vec::new();
        }
    }
}

/// Ids are random, but some tracers count, and there every bit should have its turn too.
fn bit_of(id: SpanId) -> u64 {
    let id = id.get();
    1 << ((id ^ id >> 32) & 63)
}
