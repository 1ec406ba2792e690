//! Where do the spans in flight lie?
//!
//! In chunks of a few, each with the number of the next: a trace's spans are one list of chunks, and what one trace
//! let go of the next one takes. A growing list per trace was allocated, copied and given back thousands of times in a
//! second, and half of its room was empty; here nothing is moved, and the allocator isn't asked. A trace that is let go
//! is copied out in one piece, which is when it is read anyway.

use rekindle_model::Step;

/// Steps in a chunk, which with the next one's number are four cache lines. Most of what one exporter sends of a trace
/// is less, and a trace of a dozen spans fills two.
const STEPS: usize = 6;

/// Chunks are made 1024 at a time, a quarter of a megabyte: what is there is never moved.
const SEGMENT_BITS: u32 = 10;

/// No chunk.
const NONE: u32 = u32::MAX;

#[repr(align(64))]
struct Chunk {
    /// Those behind the list's end say nothing.
    steps: [Step; STEPS],
    next: u32,
}

/// A trace's spans, in the order of their arrival.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepList {
    first: u32,
    last: u32,
    len: u32,
}

impl StepList {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        len: 0,
    };

    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    /// Where in its chunk the next one goes; the first place of another one, if that is 0.
    fn place_of_next(self) -> usize {
        self.len() % STEPS
    }
}

/// Where a step lies, as long as its list does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepPlace {
    chunk: u32,
    in_chunk: u8,
}

/// The spans of all traces in flight.
#[derive(Default)]
pub(super) struct Chunks {
    segments: Vec<Vec<Chunk>>,
    /// Chunks that nobody uses. If each named the next, whoever takes one would wait for its memory to know the next one;
    /// writing to it needn't be waited for.
    free: Vec<u32>,
    used: usize,
}

impl Chunks {
    #[inline]
    fn at(&self, number: u32) -> &Chunk {
        &self.segments[(number >> SEGMENT_BITS) as usize][number as usize % (1 << SEGMENT_BITS)]
    }

    #[inline]
    fn at_mut(&mut self, number: u32) -> &mut Chunk {
        &mut self.segments[(number >> SEGMENT_BITS) as usize][number as usize % (1 << SEGMENT_BITS)]
    }

    /// A chunk whose first step will be written, or is this one.
    #[inline]
    fn begin(&mut self, step: impl Fn() -> Step) -> u32 {
        self.used += 1;
        if let Some(number) = self.free.pop() {
            self.at_mut(number).next = NONE;
            return number;
        }
        self.make(step())
    }

    #[cold]
    fn make(&mut self, step: Step) -> u32 {
        let is_full = |segment: &Vec<Chunk>| segment.len() == 1 << SEGMENT_BITS;
        if self.segments.last().is_none_or(is_full) {
            self.segments.push(Vec::with_capacity(1 << SEGMENT_BITS));
        }
        let segments = self.segments.len() - 1;
        let segment = &mut self.segments[segments];
        segment.push(Chunk {
            steps: [step; STEPS],
            next: NONE,
        });
        // Four billion chunks are a terabyte.
        ((segments << SEGMENT_BITS) + segment.len() - 1) as u32
    }

    /// Adds a step to the end of a list. Where it is now.
    ///
    /// It is made where it will lie. One that is made elsewhere, field by field, and then copied in larger pieces is a wait
    /// for all that was written before: a read of what several writes in flight make up has to wait for them, and these
    /// wait for the memory of other traces.
    #[inline(always)]
    pub(super) fn push(&mut self, list: &mut StepList, step: impl Fn() -> Step) -> StepPlace {
        let place = list.place_of_next();
        if place == 0 {
            let chunk = self.begin(&step);
            match list.len {
                0 => list.first = chunk,
                _ => self.at_mut(list.last).next = chunk,
            }
            list.last = chunk;
        }
        self.at_mut(list.last).steps[place] = step();
        list.len += 1;
        StepPlace {
            chunk: list.last,
            in_chunk: place as u8,
        }
    }

    /// The step there.
    pub(super) fn step_mut(&mut self, place: StepPlace) -> &mut Step {
        &mut self.at_mut(place.chunk).steps[usize::from(place.in_chunk)]
    }

    /// The steps of each chunk of a list.
    #[inline]
    pub(super) fn parts(&self, list: StepList) -> impl Iterator<Item = &[Step]> {
        let mut left = list.len();
        let mut next = list.first;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let chunk = self.at(next);
            let here = left.min(STEPS);
            left -= here;
            next = chunk.next;
            Some(&chunk.steps[..here])
        })
    }

    /// Where the steps of a list lie.
    pub(super) fn places(&self, list: StepList) -> impl Iterator<Item = (StepPlace, &Step)> {
        let mut chunk = list.first;
        self.parts(list).flat_map(move |part| {
            let here = chunk;
            chunk = self.at(here).next;
            (0..).zip(part).map(move |(in_chunk, step)| {
                let chunk = here;
                (StepPlace { chunk, in_chunk }, step)
            })
        })
    }

    /// What lies where the list's next step goes, if there is room: who asks waits for its memory.
    #[inline]
    pub(super) fn look_at_end(&self, list: StepList) -> Option<u32> {
        (list.len > 0).then(|| self.at(list.last).steps[list.place_of_next()].shape)
    }

    /// Takes back the chunks of a list.
    pub(super) fn free(&mut self, list: StepList) {
        let mut next = list.first;
        while next != NONE {
            self.free.push(next);
            self.used -= 1;
            next = self.at(next).next;
        }
    }

    /// Gives the memory of a burst back once nothing is in flight.
    pub(super) fn tidy(&mut self) {
        if self.used == 0 && self.segments.len() > 1 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::testing::span_id;
    use proptest::prelude::*;
    use rekindle_model::UnixNanos;

    fn step(shape: u32) -> Step {
        Step {
            span_id: span_id(1),
            parent_id: None,
            start: UnixNanos(0),
            end: UnixNanos(0),
            shape,
            parent_is_remote: None,
        }
    }

    fn shapes(chunks: &Chunks, list: StepList) -> Vec<u32> {
        chunks.parts(list).flatten().map(|it| it.shape).collect()
    }

    #[test]
    fn a_chunk_is_four_cache_lines() {
        assert_eq!(size_of::<Chunk>(), 256);
    }

    proptest! {
        /// Lists that grow side by side and are given back hold what was put into each, in no more chunks than
        /// were ever needed at once.
        #[test]
        fn lists_keep_apart(
            deeds in prop::collection::vec((0usize..8, prop::bool::weighted(0.05)), 0..4000),
        ) {
            let mut chunks = Chunks::default();
            let mut lists = [StepList::EMPTY; 8];
            let mut expected = vec![Vec::new(); 8];
            let (mut number, mut most) = (0, 0);
            for (which, free) in deeds {
                if free {
                    chunks.free(lists[which]);
                    lists[which] = StepList::EMPTY;
                    expected[which].clear();
                } else {
                    number += 1;
                    let place = chunks.push(&mut lists[which], || step(number));
                    expected[which].push(number);
                    prop_assert_eq!(chunks.step_mut(place).shape, number);
                    let mut places = chunks.places(lists[which]);
                    let found = places.find(|(_, step)| step.shape == number);
                    prop_assert_eq!(found.map(|(at, _)| at), Some(place));
                }
                let used: usize = lists.iter().map(|it| it.len().div_ceil(STEPS)).sum();
                prop_assert_eq!(chunks.used, used);
                most = most.max(used);
            }
            for (list, expected) in lists.iter().zip(&expected) {
                prop_assert_eq!(&shapes(&chunks, *list), expected);
                chunks.free(*list);
            }
            let made: usize = chunks.segments.iter().map(Vec::len).sum();
            prop_assert_eq!((chunks.used, made), (0, most));
            chunks.tidy();
            prop_assert!(chunks.segments.len() < 2);
        }
    }
}
