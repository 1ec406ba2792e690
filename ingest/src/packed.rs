//! How do the spans of one request travel from the decoder to the assembler?
//!
//! A request's few hundred spans have a few dozen shapes between them. So a span under way is one
//! cache line of numbers, one of them the place of its shape in a list that they share: nothing is
//! counted up or down per span, and the counters of shapes aren't passed back and forth between the
//! thread that decodes and the one that assembles. Whoever wants a whole [`Span`] has it made.

use std::sync::Arc;

use rekindle_model::{Link, Name, Notice, Shape, Span, SpanId, TraceId, UnixNanos};

/// A span but for its shape and links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedSpan {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent_id: Option<SpanId>,
    pub(crate) start: UnixNanos,
    pub(crate) end: UnixNanos,
    /// The place of its shape in the list of shapes.
    pub(crate) shape: u32,
    pub(crate) parent_is_remote: Option<bool>,
}

/// What a shape takes, with its name and what is remembered of it; measured of short ones, which are most for their length.
const SHAPE_BYTES: usize = 600;

/// What a span takes for having links at all.
const LINKED_BYTES: usize = size_of::<(usize, Box<[Link]>)>();

/// The spans of one request, in the order they were sent.
#[derive(Default)]
pub struct PackedSpans {
    spans: Vec<PackedSpan>,
    shapes: Vec<Arc<Shape>>,
    /// The links of the few spans that have some, with the spans' places, in their order.
    links: Vec<(usize, Box<[Link]>)>,
}

impl PackedSpans {
    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The memory they take, as if no shape were shared with other requests.
    pub(crate) fn bytes(&self) -> usize {
        let of_links = |(_, links): &(usize, Box<[Link]>)| LINKED_BYTES + size_of_val(&**links);
        self.spans.capacity() * size_of::<PackedSpan>()
            + self.shapes.len() * SHAPE_BYTES
            + self.links.iter().map(of_links).sum::<usize>()
    }

    /// The spans, one made after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Span> + '_ {
        (0..self.spans.len()).map(|index| self.span(index))
    }

    /// The spans that say something by themselves, before their traces are complete: those without
    /// a parent, and the first of each shape.
    pub fn telling(&self) -> impl Iterator<Item = Notice<'_>> {
        let mut seen = vec![false; self.shapes.len()];
        let telling = self.spans.iter().filter(move |span| {
            let known = std::mem::replace(&mut seen[span.shape as usize], true);
            !known || span.parent_id.is_none()
        });
        telling.map(|span| Notice {
            trace_id: span.trace_id,
            is_root: span.parent_id.is_none(),
            start: span.start,
            end: span.end,
            shape: &self.shapes[span.shape as usize],
        })
    }

    /// The services that these spans are of; one may come several times.
    pub fn services(&self) -> impl Iterator<Item = &Name> {
        self.shapes.iter().map(|shape| &shape.resource.service)
    }

    /// Makes the span at this place, which must be one.
    fn span(&self, index: usize) -> Span {
        let packed = &self.spans[index];
        Span {
            trace_id: packed.trace_id,
            span_id: packed.span_id,
            parent_id: packed.parent_id,
            parent_is_remote: packed.parent_is_remote,
            start: packed.start,
            end: packed.end,
            shape: self.shapes[packed.shape as usize].clone(),
            links: self.links_of(index).into(),
        }
    }

    pub(crate) fn packed(&self) -> &[PackedSpan] {
        &self.spans
    }

    pub(crate) fn shapes(&self) -> &[Arc<Shape>] {
        &self.shapes
    }

    /// The links of the span at this place.
    #[inline]
    pub(crate) fn links_of(&self, index: usize) -> &[Link] {
        // Most requests have no link at all.
        if self.links.is_empty() {
            return &[];
        }
        match self.links.binary_search_by_key(&index, |(of, _)| *of) {
            Ok(at) => &self.links[at].1,
            Err(_) => &[],
        }
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.spans.reserve(more);
    }

    /// Adds a shape, and says its place.
    pub(crate) fn add_shape(&mut self, shape: Arc<Shape>) -> u32 {
        self.shapes.push(shape);
        // There is a span for each, and 64 bytes for each span: four billion don't fit.
        (self.shapes.len() - 1) as u32
    }

    /// Adds a span whose shape was added.
    #[inline]
    pub(crate) fn push(&mut self, span: PackedSpan, links: &[Link]) {
        if !links.is_empty() {
            self.links.push((self.spans.len(), links.into()));
        }
        self.spans.push(span);
    }
}

impl FromIterator<Span> for PackedSpans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut packed = Self::default();
        for span in spans {
            let shape = match packed.shapes.last() {
                Some(last) if *last == span.shape => (packed.shapes.len() - 1) as u32,
                _ => packed.add_shape(span.shape),
            };
            let numbers = PackedSpan {
                trace_id: span.trace_id,
                span_id: span.span_id,
                parent_id: span.parent_id,
                start: span.start,
                end: span.end,
                shape,
                parent_is_remote: span.parent_is_remote,
            };
            packed.push(numbers, &span.links);
        }
        packed
    }
}

/// Equal when the spans are, however their shapes are shared.
impl PartialEq for PackedSpans {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for PackedSpans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::testing::{span, span_id, trace_id};

    #[test]
    fn spans_come_out_as_they_went_in() {
        let mut spans: Vec<Span> = (1..9)
            .map(|id| span(1, id, id / 2, UnixNanos(id)))
            .collect();
        spans[3].name = "something else".into();
        spans[5].links = [Link {
            trace_id: trace_id(7),
            span_id: span_id(8),
        }]
        .into();
        let packed: PackedSpans = spans.iter().cloned().collect();
        assert_eq!(packed.iter().collect::<Vec<_>>(), spans);
        assert_eq!(packed.shapes().len(), 3);
        assert_eq!(size_of::<PackedSpan>(), 64, "a cache line");
        // The root, which is the first of its shape, and the first of the two others.
        let telling: Vec<UnixNanos> = packed.telling().map(|it| it.end).collect();
        assert_eq!(telling, [1, 4, 5].map(UnixNanos));
    }
}
