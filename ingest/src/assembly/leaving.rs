//! How are traces handed out, when thousands are due at once?
//!
//! What lies in memory for a third of a second isn't in the processor's caches any more, so letting go of a trace is
//! mostly waiting for it. Several are looked at together, one step for all of them after the other: then the
//! processor waits for several at a time. And they are handed out together, so that whoever takes them can do the
//! same.

use std::hint::black_box;

use rekindle_model::{Outline, ReleaseReason, Step};

use super::buffer::Buffer;
use super::open::OpenTraces;
use super::shape_slots::ShapeSlots;

/// So many are handed out together: more than a processor can wait for at a time, and few enough that the first is
/// still in its nearest cache when the last has come.
pub(super) const TOGETHER: usize = 32;

/// Memory for the parents of the spans of each.
#[derive(Default)]
pub(super) struct Leaving {
    parents: Vec<Vec<u32>>,
    buffers: Vec<(Buffer, ReleaseReason)>,
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
        let most = ready.len().min(TOGETHER);
        if self.parents.len() < most {
            self.parents.resize_with(most, Vec::new);
        }
        for together in ready.chunks(TOGETHER) {
            for (place, reason) in together {
                self.buffers.push((open.take_out(*place), *reason));
            }
            let buffers = self.buffers.iter_mut().zip(&mut self.parents);
            let outlines =
                buffers.map(|((buffer, reason), parents)| buffer.outline(shapes, parents, *reason));
            // A trace is begun for a span, so it has one.
            let outlines: Vec<Outline<'_>> = outlines.filter_map(Result::ok).collect();
            take(&outlines);
            for ((buffer, _), (place, _)) in self.buffers.drain(..).zip(together) {
                open.put_back(*place, buffer, shapes);
            }
        }
    }
}

/// Waits for what is needed to add a span to the trace at this place.
#[inline]
pub(super) fn wait_for_end(place: u32, open: &OpenTraces) {
    let last = open.look(place).and_then(|buffer| buffer.steps().last());
    black_box(last.map(|step| step.span_id));
}

/// Waits for all that is needed to let go of the traces at these places.
pub(super) fn look_ahead(places: impl Iterator<Item = u32> + Clone, open: &OpenTraces) {
    for place in places.clone() {
        black_box(open.look(place).map(|buffer| buffer.number));
    }
    for place in places {
        if let Some(buffer) = open.look(place) {
            let shapes = buffer.steps().iter().map(|step: &Step| step.shape);
            black_box((
                shapes.fold(0, |all, shape| all ^ shape),
                open.find(buffer.trace_id),
            ));
        }
    }
}
