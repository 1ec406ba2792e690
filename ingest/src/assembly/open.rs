//! Which traces are open, found by their ids.
//!
//! The buffers lie in one list and are found through a table of their numbers. Beside each stands half of its id's hash,
//! so that the table alone says where a trace most likely is: many can be asked for before the first buffer is
//! waited for. A place that is free is used again.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use rekindle_model::{Link, TraceId, UnixNanos};

use super::buffer::{Buffer, Contents, NO_TRACE};
use super::shape_slots::ShapeSlots;
use crate::packed::PackedSpan;

/// Where a trace is, by half of its id's hash.
#[derive(Clone, Copy)]
struct Found {
    half: u32,
    place: u32,
}

/// The traces that are open.
#[derive(Default)]
pub(super) struct OpenTraces {
    places: HashTable<Found>,
    hasher: DefaultHashBuilder,
    buffers: Vec<Buffer>,
    contents: Contents,
    free: Vec<u32>,
}

/// Places for so many traces are kept when none is open: a quarter of a megabyte, which the next moment takes.
const FEW_PLACES: usize = 4096;

/// What the table knows an id by: all of it follows from the half that it keeps. Of a million ids, two hundred share
/// theirs with another.
#[inline]
fn hash_of(half: u32) -> u64 {
    // The fractional part of the golden ratio spreads it over all bits (Knuth, *The Art of Computer Programming*
    // vol. 3, 6.4).
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl OpenTraces {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    #[inline]
    fn half_of(&self, id: TraceId) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    /// The place where this trace is if it is open, and if no other has half of its hash.
    #[inline]
    pub(super) fn guess(&self, id: TraceId) -> Option<u32> {
        let half = self.half_of(id);
        let found = self.places.find(hash_of(half), |it| it.half == half);
        found.map(|it| it.place)
    }

    /// The place of this trace, if it is open.
    #[inline]
    pub(super) fn find(&self, id: TraceId) -> Option<u32> {
        let half = self.half_of(id);
        let is_it = |it: &Found| it.half == half && self.buffers[it.place as usize].trace_id == id;
        self.places.find(hash_of(half), is_it).map(|it| it.place)
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
        let buffer = Buffer::new(id, number, now);
        let place = match self.free.pop() {
            Some(place) => {
                self.buffers[place as usize] = buffer;
                place
            }
            None => {
                self.buffers.push(buffer);
                // Four billion of them don't fit into any memory.
                (self.buffers.len() - 1) as u32
            }
        };
        let half = self.half_of(id);
        self.places
            .insert_unique(hash_of(half), Found { half, place }, |it| hash_of(it.half));
        place
    }

    /// Closes the trace at this place. What came of it stays there until it is [emptied](Self::empty).
    pub(super) fn close(&mut self, place: u32) -> &Buffer {
        let half = self.half_of(self.buffers[place as usize].trace_id);
        let entry = self
            .places
            .find_entry(hash_of(half), |it| it.place == place);
        if let Ok(entry) = entry {
            entry.remove();
        }
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
        let is_idle = self.places.is_empty() && self.free.len() == self.buffers.len();
        if is_idle && self.buffers.len() > FEW_PLACES {
            self.places = HashTable::new();
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
