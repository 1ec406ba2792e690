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

struct Slot {
    shape: Option<Arc<Shape>>,
    spans: u32,
}

/// The shapes of the spans in flight.
#[derive(Default)]
pub(super) struct ShapeSlots {
    slots: Vec<Slot>,
    /// Slots by their shapes' addresses, which stay theirs while they are held.
    by_address: HashMap<usize, u32>,
    free: Vec<u32>,
    /// Slots with a shape and without a span.
    unused: usize,
}

impl ShapeSlots {
    /// The slot of this shape; it is there until the next [`Self::tidy`] at least.
    pub(super) fn slot(&mut self, shape: &Arc<Shape>) -> u32 {
        let address = Arc::as_ptr(shape).addr();
        if let Some(slot) = self.by_address.get(&address) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                shape: None,
                spans: 0,
            });
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].shape = Some(shape.clone());
        self.by_address.insert(address, slot);
        self.unused += 1;
        slot
    }

    /// One more span has the shape of this slot.
    #[inline]
    pub(super) fn hold(&mut self, slot: u32) {
        let slot = &mut self.slots[slot as usize];
        self.unused -= usize::from(slot.spans == 0);
        slot.spans += 1;
    }

    /// One span less has the shape of this slot, which is given to it.
    #[inline]
    pub(super) fn let_go(&mut self, slot: u32) -> Arc<Shape> {
        let slot = &mut self.slots[slot as usize];
        slot.spans -= 1;
        self.unused += usize::from(slot.spans == 0);
        // A slot that spans have has a shape.
        slot.shape.clone().unwrap_or_default()
    }

    /// Empties slots that no span uses, once they are the most.
    pub(super) fn tidy(&mut self) {
        let used = self.by_address.len() - self.unused;
        if self.unused <= used.max(FEW) {
            return;
        }
        let (slots, free) = (&mut self.slots, &mut self.free);
        self.by_address.retain(|_, slot| {
            let unused = slots[*slot as usize].spans == 0;
            if unused {
                slots[*slot as usize].shape = None;
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
            assert!(Arc::ptr_eq(&slots.let_go(passing), &shape));
            slots.tidy();
            assert!(slots.slots.len() <= FEW + 2);
        }
        assert_eq!(slots.slot(&lasting), slot);
        assert!(Arc::ptr_eq(&slots.let_go(slot), &lasting));
    }
}
