//! How are traces handed out, when thousands are due at once?
//!
//! What lies in memory for a third of a second isn't in the processor's caches any more, so letting go of a trace is
//! mostly waiting for it. Several are looked at together, one step for all of them after the other: then the
//! processor waits for several at a time. And they are handed out together, so that whoever takes them can do the
//! same.

use std::hint::black_box;

use rekindle_model::{EmptyTrace, Outline, OutlineParts, ReleaseReason, Step};

use super::open::OpenTraces;
use super::released::Released;
use super::shape_slots::ShapeSlots;

/// So many are handed out together: more than a processor can wait for at a time, and few enough that the first is
/// still in its nearest cache when the last has come.
pub(super) const TOGETHER: usize = 32;

/// Memory for so many spans is kept for the next trace.
const SPANS_KEPT: usize = 1024;

/// Memory for one trace in one piece.
#[derive(Default)]
struct Room {
    steps: Vec<Step>,
    parents: Vec<u32>,
}

impl Room {
    /// The trace that was closed at this place.
    fn outline<'a>(
        &'a mut self,
        (place, reason): (u32, ReleaseReason),
        open: &'a OpenTraces,
        shapes: &'a ShapeSlots,
    ) -> Result<Outline<'a>, EmptyTrace> {
        let buffer = open.look(place).ok_or(EmptyTrace)?;
        self.steps.clear();
        for part in open.contents().parts(buffer) {
            self.steps.extend_from_slice(part);
        }
        Outline::new(OutlineParts {
            trace_id: buffer.trace_id,
            steps: &mut self.steps,
            parents: &mut self.parents,
            shapes: shapes.shapes(),
            links: open.contents().links_of(place),
            reason,
        })
    }
}

/// Memory for the traces that are handed out together.
#[derive(Default)]
pub(super) struct Leaving {
    rooms: Vec<Room>,
}

impl Leaving {
    /// Hands out these traces, which were closed, and frees their places.
    pub(super) fn hand_out(
        &mut self,
        ready: &[(u32, ReleaseReason)],
        open: &mut OpenTraces,
        shapes: &mut ShapeSlots,
        take: &mut impl FnMut(&[Outline<'_>]),
    ) {
        self.rooms.resize_with(TOGETHER, Room::default);
        for together in ready.chunks(TOGETHER) {
            look_ahead(together.iter().map(|(place, _)| *place), open);
            let rooms = together.iter().zip(&mut self.rooms);
            let outlines = rooms.map(|(ready, room)| room.outline(*ready, open, shapes));
            // A trace is begun for a span, so it has one.
            let outlines: Vec<Outline<'_>> = outlines.filter_map(Result::ok).collect();
            take(&outlines);
            for ((place, _), room) in together.iter().zip(&mut self.rooms) {
                open.empty(*place);
                room.steps.iter().for_each(|step| shapes.let_go(step.shape));
                if room.steps.capacity() > SPANS_KEPT {
                    *room = Room::default();
                }
            }
        }
    }
}

/// Waits for what is needed to add a span to the trace at this place.
#[inline]
pub(super) fn wait_for_end(place: u32, open: &OpenTraces) {
    if let Some(buffer) = open.look(place) {
        open.contents().wait_for_end(buffer);
    }
}

/// Waits for the buffers at these places.
pub(super) fn wait_for_buffers(places: impl Iterator<Item = u32>, open: &OpenTraces) {
    let buffers = places.filter_map(|place| open.look(place));
    black_box(buffers.fold(0, |all, buffer| all ^ buffer.number));
}

/// Waits for the buffers at these places, for where their traces are found, and for where they will be known as released.
pub(super) fn look_ahead_to_close(
    places: impl Iterator<Item = u32> + Clone,
    open: &OpenTraces,
    released: &Released,
) {
    wait_for_buffers(places.clone(), open);
    for buffer in places.filter_map(|place| open.look(place)) {
        black_box(open.look_ahead(open.half_of(buffer.trace_id)));
        released.look_ahead_to_insert(buffer.trace_id);
    }
}

/// Waits for the spans of these traces.
fn look_ahead(places: impl Iterator<Item = u32>, open: &OpenTraces) {
    for buffer in places.filter_map(|place| open.look(place)) {
        let steps = open.contents().parts(buffer).flatten();
        black_box(steps.fold(0, |all, step| all ^ step.shape));
    }
}
