//! The spans of one trace so far.
//!
//! Millions may be held, so a trace is one cache line beside its spans, a span is kept as forty bytes of numbers, and
//! what few traces need (many spans, links) is kept apart.

use hashbrown::HashMap;
use rekindle_model::{Link, SpanId, Step, TraceId, UnixNanos};

use super::chunks::{Chunks, StepList, StepPlace};
use super::shape_slots::ShapeSlots;
use crate::packed::PackedSpan;

/// Up to so many spans, looking through them is cheaper than keeping where each of them is; most
/// traces have fewer.
const SEARCHED: usize = 24;

/// A number that no trace has.
pub(super) const NO_TRACE: u32 = u32::MAX;

/// What few traces have.
#[derive(Default)]
struct Rare {
    /// Where each span is, once they are more than [`SEARCHED`].
    places: HashMap<SpanId, StepPlace>,
    /// The links of the spans that have some.
    links: Vec<(SpanId, Box<[Link]>)>,
}

/// What came of all traces in flight, beside their buffers.
#[derive(Default)]
pub(super) struct Contents {
    chunks: Chunks,
    /// By the traces' places.
    rare: HashMap<u32, Rare>,
}

/// What came of one trace that is still open.
#[repr(C, align(64))]
pub(super) struct Buffer {
    pub(super) trace_id: TraceId,
    /// A bit for each id that came, several ids to a bit: an id whose bit isn't set is new.
    seen: u64,
    /// When the root came; never, if it didn't.
    root_at: UnixNanos,
    /// When the last span came.
    pub(super) last_at: UnixNanos,
    /// The deadline under which it is queued; an entry under another one is out of date.
    pub(super) queued: UnixNanos,
    /// The order in which traces began, modulo 2³²; [`NO_TRACE`] when there is none here at present.
    pub(super) number: u32,
    steps: StepList,
}

/// A time that doesn't come.
pub(super) const NEVER: UnixNanos = UnixNanos(u64::MAX);

impl Buffer {
    pub(super) fn new(trace_id: TraceId, number: u32, now: UnixNanos) -> Self {
        Self {
            trace_id,
            seen: 0,
            root_at: NEVER,
            last_at: now,
            queued: NEVER,
            number,
            steps: StepList::EMPTY,
        }
    }

    /// When the root came, if it did.
    pub(super) fn root_at(&self) -> Option<UnixNanos> {
        (self.root_at != NEVER).then_some(self.root_at)
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }
}

impl Contents {
    /// Takes a span of the trace of this buffer, which is at this place; `false` when its id was there. Of two with
    /// one id the later-ending is kept, so that the order of arrival makes no difference.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        (place, buffer): (u32, &mut Buffer),
        (span, shape): (&PackedSpan, u32),
        links: &[Link],
        shapes: &mut ShapeSlots,
        now: UnixNanos,
    ) -> bool {
        buffer.last_at = buffer.last_at.max(now);
        let is_new = buffer.seen & bit_of(span.span_id) == 0;
        if is_new && links.is_empty() && buffer.len() < SEARCHED {
            self.add(buffer, (span, shape), shapes, now);
            return true;
        }
        self.take_rare((place, buffer), (span, shape), links, shapes, now)
    }

    /// The same of one whose id may have come, that has links, or whose trace has many spans.
    #[inline(never)]
    fn take_rare(
        &mut self,
        (place, buffer): (u32, &mut Buffer),
        (span, shape): (&PackedSpan, u32),
        links: &[Link],
        shapes: &mut ShapeSlots,
        now: UnixNanos,
    ) -> bool {
        let id = span.span_id;
        if let Some(known) = self.find(place, buffer, id) {
            if span.end > known.end {
                let before = std::mem::replace(known, step_of(span, shape));
                shapes.hold(shape);
                shapes.let_go(before.shape);
                self.link_anew(place, id, links);
            }
            return false;
        }
        if buffer.len() == SEARCHED {
            let places = self.chunks.places(buffer.steps);
            let places = places.map(|(at, step)| (step.span_id, at)).collect();
            self.rare.entry(place).or_default().places = places;
        }
        let are_many = buffer.len() >= SEARCHED;
        let at = self.add(buffer, (span, shape), shapes, now);
        if are_many || !links.is_empty() {
            let rare = self.rare.entry(place).or_default();
            if are_many {
                rare.places.insert(id, at);
            }
            if !links.is_empty() {
                rare.links.push((id, links.into()));
            }
        }
        true
    }

    /// Adds a span whose id is new.
    #[inline(always)]
    fn add(
        &mut self,
        buffer: &mut Buffer,
        (span, shape): (&PackedSpan, u32),
        shapes: &mut ShapeSlots,
        now: UnixNanos,
    ) -> StepPlace {
        if span.parent_id.is_none() && buffer.root_at == NEVER {
            buffer.root_at = now;
        }
        buffer.seen |= bit_of(span.span_id);
        shapes.hold(shape);
        self.chunks.push(&mut buffer.steps, || step_of(span, shape))
    }

    fn find(&mut self, place: u32, buffer: &Buffer, id: SpanId) -> Option<&mut Step> {
        if buffer.seen & bit_of(id) == 0 {
            return None;
        }
        let at = if buffer.len() > SEARCHED {
            *self.rare.get(&place)?.places.get(&id)?
        } else {
            let mut places = self.chunks.places(buffer.steps);
            places.find(|(_, step)| step.span_id == id)?.0
        };
        Some(self.chunks.step_mut(at))
    }

    /// Makes these the links of a span that was there.
    fn link_anew(&mut self, place: u32, id: SpanId, links: &[Link]) {
        if links.is_empty() && !self.rare.contains_key(&place) {
            return;
        }
        let all = &mut self.rare.entry(place).or_default().links;
        all.retain(|(of, _)| *of != id);
        if !links.is_empty() {
            all.push((id, links.into()));
        }
    }

    /// The spans so far of the trace of this buffer, a few at a time.
    #[inline]
    pub(super) fn parts(&self, buffer: &Buffer) -> impl Iterator<Item = &[Step]> {
        self.chunks.parts(buffer.steps)
    }

    /// Waits for what is needed to add a span to the trace of this buffer.
    #[inline]
    pub(super) fn wait_for_end(&self, buffer: &Buffer) {
        std::hint::black_box(self.chunks.look_at_end(buffer.steps));
    }

    /// The links of the spans of the trace at this place.
    pub(super) fn links_of(&self, place: u32) -> &[(SpanId, Box<[Link]>)] {
        self.rare.get(&place).map_or(&[], |rare| &rare.links)
    }

    /// Lets go of the spans of the trace of this buffer, which is at this place.
    pub(super) fn empty(&mut self, place: u32, buffer: &mut Buffer) {
        self.chunks
            .free(std::mem::replace(&mut buffer.steps, StepList::EMPTY));
        self.rare.remove(&place);
    }

    /// Gives the memory of a burst back once nothing is in flight.
    pub(super) fn tidy(&mut self) {
        self.chunks.tidy();
        if self.rare.is_empty() {
            self.rare = HashMap::new();
        }
    }
}

/// A span as it is held, with its shape in this slot.
#[inline(always)]
fn step_of(span: &PackedSpan, shape: u32) -> Step {
    Step {
        span_id: span.span_id,
        parent_id: span.parent_id,
        start: span.start,
        end: span.end,
        shape,
        parent_is_remote: span.parent_is_remote,
    }
}

/// Ids are random, but some tracers count, and there every bit should have its turn too.
fn bit_of(id: SpanId) -> u64 {
    let id = id.get();
    1 << ((id ^ id >> 32) & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_one_cache_line() {
        assert_eq!(size_of::<Buffer>(), 64);
    }
}
