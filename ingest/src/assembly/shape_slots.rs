//! Which shapes do the spans in flight have?
//!
//! A span in flight keeps the number of a slot instead of a counted pointer. The slots belong to one
//! assembler, so counting its spans is an addition, where counting holders of a shared pointer is an
//! operation that every other thread takes part in. A slot that no span uses is kept for the next
//! spans of its shape, until most slots are such.

use std::sync::Arc;

use hashbrown::HashMap;
use rekindle_model::Shape;

/// Unused slots that are always kept.
const FEW: usize = 1024;

/// The shapes of the spans in flight.
#[derive(Default)]
pub(super) struct ShapeSlots {
    /// What is in each slot; in a free one, nothing that says anything.
    shapes: Vec<Arc<Shape>>,
    /// How many spans have it.
    spans: Vec<u32>,
    /// Slots by their shapes' addresses, which stay theirs while they are held.
    by_address: HashMap<usize, u32>,
    free: Vec<u32>,
    /// Slots with a shape and without a span.
    unused: usize,
    /// What free slots hold.
    nothing: Arc<Shape>,
}

impl ShapeSlots {
    /// The slot of this shape; it is there until the next [`Self::tidy`] at least.
    pub(super) fn slot(&mut self, shape: &Arc<Shape>) -> u32 {
        let address = Arc::as_ptr(shape).addr();
        if let Some(slot) = self.by_address.get(&address) {
            return *slot;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                self.shapes[slot as usize] = Arc::clone(shape);
                slot
            }
            None => {
                self.shapes.push(Arc::clone(shape));
                self.spans.push(0);
                (self.shapes.len() - 1) as u32
            }
        };
        self.by_address.insert(address, slot);
        self.unused += 1;
        slot
    }

    /// What is in the slots.
    pub(super) fn shapes(&self) -> &[Arc<Shape>] {
        &self.shapes
    }

    /// One more span has the shape of this slot.
    #[inline]
    pub(super) fn hold(&mut self, slot: u32) {
        let spans = &mut self.spans[slot as usize];
        self.unused -= usize::from(*spans == 0);
        *spans += 1;
    }

    /// One span less has the shape of this slot.
    #[inline]
    pub(super) fn let_go(&mut self, slot: u32) {
        let spans = &mut self.spans[slot as usize];
        *spans -= 1;
        self.unused += usize::from(*spans == 0);
    }

    /// Empties slots that no span uses, once they are the most.
    pub(super) fn tidy(&mut self) {
        let used = self.by_address.len() - self.unused;
        if self.unused <= used.max(FEW) {
            return;
        }
        let (shapes, free) = (&mut self.shapes, &mut self.free);
        let (spans, nothing) = (&self.spans, &self.nothing);
        self.by_address.retain(|_, slot| {
            let unused = spans[*slot as usize] == 0;
            if unused {
                shapes[*slot as usize] = Arc::clone(nothing);
                free.push(*slot);
            }
            !unused
        });
        self.unused = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_are_gone_leave_nothing_behind() {
        let mut slots = ShapeSlots::default();
        let lasting = Arc::new(Shape::default());
        let slot = slots.slot(&lasting);
        slots.hold(slot);
        for _ in 0..10 * FEW {
            let shape = Arc::new(Shape::default());
            let passing = slots.slot(&shape);
            slots.hold(passing);
            assert!(Arc::ptr_eq(&slots.shapes()[passing as usize], &shape));
            slots.let_go(passing);
            slots.tidy();
            assert!(slots.shapes.len() <= FEW + 2);
        }
        assert_eq!(slots.slot(&lasting), slot);
        assert!(Arc::ptr_eq(&slots.shapes()[slot as usize], &lasting));
    }
}
