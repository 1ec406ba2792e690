//! Which traces are open, found by their ids.
//!
//! The buffers lie in one list and are found through a table of their numbers ([`Places`]). Beside each stands half of its
//! id's hash, so that the table alone says where a trace most likely is: many can be asked for before the first buffer is
//! waited for. A place that is free is used again.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use rekindle_model::{Link, TraceId, UnixNanos};

use super::buffer::{Buffer, Contents, NO_TRACE};
use super::places::Places;
use super::shape_slots::ShapeSlots;
use crate::packed::PackedSpan;

/// The traces that are open.
#[derive(Default)]
pub(super) struct OpenTraces {
    places: Places,
    hasher: DefaultHashBuilder,
    buffers: Vec<Buffer>,
    contents: Contents,
    free: Vec<u32>,
}

/// Places for so many traces are kept when none is open: a quarter of a megabyte, which the next moment takes.
const FEW_PLACES: usize = 4096;

impl OpenTraces {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What the table knows an id by. Of a million ids, two hundred share theirs with another.
    #[inline]
    pub(super) fn half_of(&self, id: TraceId) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    /// Waits for where the trace of this half of a hash is found: who asks for several before the first answer waits for
    /// them at the same time.
    #[inline]
    pub(super) fn look_ahead(&self, half: u32) -> u32 {
        self.places.look_ahead(half)
    }

    /// The place where the trace of this half of a hash is if it is open, and if no other has the same.
    #[inline]
    pub(super) fn guess(&self, half: u32) -> Option<u32> {
        self.places.find(half, |_| true)
    }

    /// The place of this trace, if it is open.
    #[inline]
    pub(super) fn find(&self, id: TraceId) -> Option<u32> {
        let is_it = |place: u32| self.buffers[place as usize].trace_id == id;
        self.places.find(self.half_of(id), is_it)
    }

    /// Whether this trace is open at this place.
    #[inline]
    pub(super) fn is_at(&self, id: TraceId, place: u32) -> bool {
        let buffer = self.buffers.get(place as usize);
        buffer.is_some_and(|it| it.trace_id == id && it.number != NO_TRACE)
    }

    /// The trace of this number, if it is open, at this place.
    pub(super) fn numbered(&mut self, number: u32, place: u32) -> Option<&mut Buffer> {
        let buffer = self.buffers.get_mut(place as usize)?;
        (buffer.number == number).then_some(buffer)
    }

    /// The buffer at a place that [`Self::find`] or [`Self::open`] gave.
    #[inline]
    pub(super) fn at(&mut self, place: u32) -> &mut Buffer {
        &mut self.buffers[place as usize]
    }

    /// Takes a span of the trace at such a place, whose shape is in this slot; `false` when its id was there.
    #[inline]
    pub(super) fn take(
        &mut self,
        place: u32,
        span: (&PackedSpan, u32),
        links: &[Link],
        shapes: &mut ShapeSlots,
        now: UnixNanos,
    ) -> bool {
        let buffer = &mut self.buffers[place as usize];
        self.contents
            .take((place, buffer), span, links, shapes, now)
    }

    /// Opens a trace that isn't open, and says its place.
    pub(super) fn open(&mut self, id: TraceId, number: u32, now: UnixNanos) -> u32 {
        let place = match self.free.pop() {
            Some(place) => {
                self.buffers[place as usize] = Buffer::new(id, number, now);
                place
            }
            None => {
                self.buffers.push(Buffer::new(id, number, now));
                // Four billion of them don't fit into any memory.
                (self.buffers.len() - 1) as u32
            }
        };
        let half = self.half_of(id);
        self.places.insert(half, place);
        place
    }

    /// Closes the trace at this place. What came of it stays there until it is [emptied](Self::empty).
    pub(super) fn close(&mut self, place: u32) -> &Buffer {
        let half = self.half_of(self.buffers[place as usize].trace_id);
        self.places.remove(half, place);
        let buffer = &mut self.buffers[place as usize];
        buffer.number = NO_TRACE;
        buffer
    }

    /// What lies at a place, whether its trace is still open or not.
    #[inline]
    pub(super) fn look(&self, place: u32) -> Option<&Buffer> {
        self.buffers.get(place as usize)
    }

    /// The spans of all of them.
    #[inline]
    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Lets go of the spans of a trace that was closed, and makes its place free for another trace.
    pub(super) fn empty(&mut self, place: u32) {
        self.contents
            .empty(place, &mut self.buffers[place as usize]);
        self.free.push(place);
    }

    /// Gives the memory of a burst back once nothing is in flight. Deadlines of traces that are gone may still name
    /// places that are no more; nothing is found there.
    pub(super) fn tidy(&mut self) {
        self.contents.tidy();
        let is_idle = self.places.len() == 0 && self.free.len() == self.buffers.len();
        if is_idle && self.buffers.len() > FEW_PLACES {
            self.places = Places::default();
            self.buffers = Vec::new();
            self.free = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_burst_is_given_back_when_all_are_gone() {
        let mut open = OpenTraces::default();
        let count = FEW_PLACES as u32 + 1;
        let id = |number: u32| {
            let mut bytes = [1; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            TraceId::from_bytes(bytes).expect("an id")
        };
        let now = UnixNanos(0);
        let places: Vec<u32> = (0..count).map(|it| open.open(id(it), it, now)).collect();
        for place in places {
            assert_eq!(open.buffers.len(), count as usize, "while {place} is there");
            open.close(place);
            open.empty(place);
            let is_last = open.free.len() == count as usize;
            open.tidy();
            assert_eq!(open.buffers.capacity() == 0, is_last);
        }
        assert!(open.numbered(7, 7).is_none());
        let place = open.open(id(7), count, now);
        assert_eq!(open.find(id(7)), Some(place));
    }
}
