//! What an open incident asks of the spectrum, kept added up.
//!
//! A ranking a second adds up a quarter of an hour of slices, of which one came. So the sums of baseline and window
//! are kept for the next ranking: each request that is counted or taken back is so in the sums as well, and whole slices join
//! and leave as the stretches move. Counts are whole numbers, so the sums are the same as from scratch.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Cell;
use crate::tally::DenseTally;
use crate::troubled::{Asked, Troubled};

/// Sums over two stretches of slices.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) incident: u64,
    pub(super) asked: Asked<2>,
    /// By the numbers of cells.
    pub(super) sums: [Vec<u64>; 2],
}

impl Followed {
    /// Nothing yet.
    pub(super) fn new(incident: u64) -> Self {
        Self {
            incident,
            asked: Asked::default(),
            sums: [Vec::new(), Vec::new()],
        }
    }

    /// One more of this cell was counted.
    #[inline]
    pub(super) fn add(&mut self, slice: u64, number: u32, cell: &Cell) {
        let troubled = &self.asked.troubled;
        for (stretch, sums) in self.asked.stretches.iter().zip(&mut self.sums) {
            if stretch.contains(&slice) && !is_troubled(troubled, slice, cell) {
                let at = number as usize;
                if at >= sums.len() {
                    sums.resize(at + 1, 0);
                }
                sums[at] += 1;
            }
        }
    }

    /// One that was counted was taken back.
    pub(super) fn remove(&mut self, slice: u64, number: u32, cell: &Cell) {
        let troubled = &self.asked.troubled;
        for (stretch, sums) in self.asked.stretches.iter().zip(&mut self.sums) {
            if stretch.contains(&slice) && !is_troubled(troubled, slice, cell) {
                sums[number as usize] -= 1;
            }
        }
    }

    /// Takes other stretches, and brings the sums up to that.
    pub(super) fn move_to(
        &mut self,
        asked: Asked<2>,
        slices: &BTreeMap<u64, DenseTally>,
        cells: &[Cell],
    ) {
        if self.asked.troubled != asked.troubled {
            // An incident ended, or a type turns out to have been in one: that is seldom.
            *self = Self::new(self.incident);
        }
        let left_out = (&*asked.troubled, cells);
        for (at, new) in asked.stretches.iter().enumerate() {
            let (sums, old) = (&mut self.sums[at], &self.asked.stretches[at]);
            sums.resize(cells.len(), 0);
            for gone in without(old, new) {
                change(sums, slices, &gone, left_out, |sum, count| *sum -= count);
            }
            for come in without(new, old) {
                change(sums, slices, &come, left_out, |sum, count| *sum += count);
            }
        }
        self.asked = asked;
    }

    /// The slices before this one are about to go.
    pub(super) fn forget_before(
        &mut self,
        slice: u64,
        slices: &BTreeMap<u64, DenseTally>,
        cells: &[Cell],
    ) {
        let left_out = (&*self.asked.troubled, cells);
        for (stretch, sums) in self.asked.stretches.iter().zip(&mut self.sums) {
            let gone = stretch.start..stretch.end.min(slice);
            change(sums, slices, &gone, left_out, |sum, count| *sum -= count);
        }
    }
}

fn is_troubled(troubled: &Troubled, slice: u64, cell: &Cell) -> bool {
    troubled.holds(cell.request_type, &(slice..slice + 1))
}

/// What is in the first stretch and not in the second one: before it, and after it.
pub(crate) fn without(first: &Range<u64>, second: &Range<u64>) -> [Range<u64>; 2] {
    if second.is_empty() {
        return [first.clone(), 0..0];
    }
    [
        first.start..first.end.min(second.start),
        first.start.max(second.end)..first.end,
    ]
}

/// Changes the sums by what these slices count, less the cells that are troubled in them.
pub(super) fn change(
    sums: &mut [u64],
    slices: &BTreeMap<u64, DenseTally>,
    stretch: &Range<u64>,
    (troubled, cells): (&Troubled, &[Cell]),
    how: impl Fn(&mut u64, u64),
) {
    if stretch.is_empty() {
        return;
    }
    for (slice, counts) in slices.range(stretch.clone()) {
        let types = troubled.types_in(&(*slice..slice + 1));
        for (number, count) in counts.iter() {
            let is_in = types.is_empty() || !types.contains(&cells[number as usize].request_type);
            if is_in {
                how(&mut sums[number as usize], count.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rekindle_model::Outcome;

    use super::super::{Cell, Spectrum};
    use crate::sampling::StandsFor;
    use crate::troubled::Asked;

    fn cell(row: u32) -> Cell {
        Cell {
            request_type: row % 2,
            row,
            outcome: Outcome::Ok,
            judged: false,
            stands_for: StandsFor::default(),
        }
    }

    proptest! {
        /// Whatever is counted, taken back, settled and forgotten, in whatever stretches: what is followed is what is
        /// added up from scratch.
        #[test]
        fn what_is_followed_is_what_is_added_up_anew(
            steps in prop::collection::vec((0u8..13, 0u64..60, 0u32..9), 1..150),
        ) {
            let mut spectrum = Spectrum::new(100);
            let mut now = 200u64;
            let mut asked = Asked {
                stretches: [0..150, 150..201],
                ..Asked::default()
            };
            for (step, back, row) in steps {
                match step {
                    0 => now += back / 4,
                    1 => spectrum.settle(now),
                    2 => spectrum.forget_before((now - 150).max(back)),
                    3 => asked.stretches = [0..now - 2 * back, now - back..now],
                    4 => asked.stretches[1].end = now + 1,
                    5 | 6 => spectrum.follow([(1, asked.clone())].into_iter()),
                    7 => spectrum.remove(now - back, cell(row)),
                    12 => {
                        let mut troubled = (*asked.troubled).clone();
                        troubled.add(row % 2, now - 2 * back..now - back);
                        asked.troubled = Arc::new(troubled);
                    }
                    _ => spectrum.add(now - back, cell(row)),
                }
                // Nobody follows incident 0.
                let anew = spectrum.around(0, asked.clone());
                for (kept, anew) in spectrum.around(1, asked.clone()).iter().zip(&anew) {
                    // Cells that are new since are in none of the stretches.
                    let (known, others) = anew.split_at(kept.len());
                    prop_assert_eq!(&kept[..], known);
                    prop_assert!(others.iter().all(|count| *count == 0));
                }
            }
        }
    }
}
