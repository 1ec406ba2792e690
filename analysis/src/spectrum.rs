//! How often did requests look like this? Counts per time slice, request type, row and outcome.
//!
//! A thousand requests that took the same path in the same states are one row and a number, so a
//! window of a million requests is small, and two spectra merge by adding numbers. Every row is the
//! whole request (which components, in which states), because only so can the ranking see what
//! failed together; counts per component are derived from rows, never kept beside them.

mod followed;

pub(crate) use followed::without;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use rekindle_model::{Name, Outcome, RequestType};

use crate::observe::{Row, State};
use crate::registry::Registry;
use crate::sampling::StandsFor;
use crate::tally::{COUNTED_INTO, DenseTally};
use crate::troubled::{Asked, Troubled};
use crate::{Component, Counts, LeftOut};
use followed::Followed;

/// Slices that were settled are looked at again for so long.
const LATE: u64 = 60;

/// What is counted together in one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) request_type: u32,
    pub(crate) row: u32,
    pub(crate) outcome: Outcome,
    /// Whether somebody outside said so.
    pub(crate) judged: bool,
    /// For how many each stands.
    pub(crate) stands_for: StandsFor,
}

/// The engine's own form: rows and components by number.
#[derive(Debug)]
pub(crate) struct Spectrum {
    rows: Vec<Row>,
    // Only looked up, never iterated.
    ids: HashMap<Row, u32>,
    /// What is counted, by number: a slice then holds pairs of numbers.
    cells: Vec<Cell>,
    // Only looked up, never iterated.
    numbers: HashMap<Cell, u32>,
    slices: BTreeMap<u64, DenseTally>,
    /// What was added up for open incidents.
    followed: Vec<Followed>,
    /// Slices below this one are settled.
    counted_from: u64,
    max_rows: usize,
}

impl Spectrum {
    pub(crate) fn new(max_rows: usize) -> Self {
        Self {
            rows: Vec::new(),
            ids: HashMap::new(),
            cells: Vec::new(),
            numbers: HashMap::new(),
            slices: BTreeMap::new(),
            followed: Vec::new(),
            counted_from: 0,
            max_rows,
        }
    }

    /// The row's number; `None` (counted) when there are too many distinct ones.
    pub(crate) fn intern(&mut self, row: Row, counts: &mut Counts) -> Option<u32> {
        if let Some(id) = self.ids.get(&row) {
            return Some(*id);
        }
        if self.rows.len() >= self.max_rows {
            counts.add(LeftOut::RowOverflow);
            return None;
        }
        let id = self.rows.len() as u32;
        self.ids.insert(row.clone(), id);
        self.rows.push(row);
        Some(id)
    }

    pub(crate) fn row(&self, id: u32) -> &Row {
        &self.rows[id as usize]
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The number of a cell, good until [`Self::keep`].
    pub(crate) fn number(&mut self, cell: Cell) -> u32 {
        let cells = &mut self.cells;
        *self.numbers.entry(cell).or_insert_with(|| {
            cells.push(cell);
            (cells.len() - 1) as u32
        })
    }

    pub(crate) fn add(&mut self, slice: u64, cell: Cell) {
        let number = self.number(cell);
        self.add_numbered(slice, number);
    }

    /// The same for the cell of a number that was asked for before.
    #[inline]
    pub(crate) fn add_numbered(&mut self, slice: u64, number: u32) {
        let counts = self.slices.entry(slice).or_default();
        match slice >= self.counted_from {
            true => counts.add(number),
            false => counts.add_late(number),
        }
        for followed in &mut self.followed {
            followed.add(slice, number, &self.cells[number as usize]);
        }
    }

    /// Takes one back that was added: its outcome was corrected, or it was fenced.
    pub(crate) fn remove(&mut self, slice: u64, cell: Cell) {
        let Some(number) = self.numbers.get(&cell) else {
            return;
        };
        if let Some(counts) = self.slices.get_mut(&slice)
            && counts.remove(*number)
        {
            for followed in &mut self.followed {
                followed.remove(slice, *number, &cell);
            }
        }
    }

    /// All cells of the slices in `[from, until)`, added up.
    pub(crate) fn between(&self, from: u64, until: u64) -> impl Iterator<Item = (Cell, u64)> {
        let sums = self.sums(&(from..until), &Troubled::default());
        let counted = self.cells.iter().copied().zip(sums);
        counted.filter(|(_, count)| *count > 0)
    }

    /// The same less what is troubled, by the cells' numbers.
    fn sums(&self, slices: &Range<u64>, troubled: &Troubled) -> Vec<u64> {
        let mut sums = vec![0u64; self.cells.len()];
        let left_out = (troubled, &self.cells[..]);
        followed::change(&mut sums, &self.slices, slices, left_out, |sum, count| {
            *sum += count;
        });
        sums
    }

    /// Takes the cells of these slices out of sums that they are in.
    pub(crate) fn take_out(&self, slices: &Range<u64>, sums: &mut [u64]) {
        let nothing = Troubled::default();
        let left_out = (&nothing, &self.cells[..]);
        followed::change(sums, &self.slices, slices, left_out, |sum, count| {
            *sum -= count;
        });
    }

    /// The same of two stretches of time. Of an incident that is followed nothing is added up but what changed.
    pub(crate) fn around(&self, incident: u64, asked: Asked<2>) -> [Cow<'_, [u64]>; 2] {
        let known = self.followed.iter().find(|it| it.incident == incident);
        match known {
            Some(known) if known.asked == asked => {
                known.sums.each_ref().map(|sums| Cow::Borrowed(&sums[..]))
            }
            Some(known) => {
                let mut known = known.clone();
                known.move_to(asked, &self.slices, &self.cells);
                known.sums.map(Cow::Owned)
            }
            None => {
                let Asked {
                    stretches,
                    troubled,
                } = asked;
                stretches.map(|it| Cow::Owned(self.sums(&it, &troubled)))
            }
        }
    }

    /// Keeps what is asked of these incidents added up, and of no others.
    pub(crate) fn follow(&mut self, incidents: impl Iterator<Item = (u64, Asked<2>)>) {
        let mut followed = std::mem::take(&mut self.followed);
        for (incident, asked) in incidents {
            let known = followed.iter().position(|it| it.incident == incident);
            let new = || Followed::new(incident);
            let mut sums = known.map_or_else(new, |at| followed.swap_remove(at));
            sums.move_to(asked, &self.slices, &self.cells);
            self.followed.push(sums);
        }
    }

    /// How many cells have a number.
    pub(crate) const fn cells(&self) -> usize {
        self.cells.len()
    }

    /// The cell of a number that is in use.
    pub(crate) fn cell(&self, number: usize) -> &Cell {
        &self.cells[number]
    }

    /// The number of a cell, if it has one.
    pub(crate) fn find(&self, cell: &Cell) -> Option<usize> {
        self.numbers.get(cell).map(|number| *number as usize)
    }

    /// Settles the slices that hardly anything comes for any more, now that it is the time of slice
    /// `now`.
    pub(crate) fn settle(&mut self, now: u64) {
        let counted_from = now.saturating_sub(COUNTED_INTO);
        if counted_from <= self.counted_from {
            return;
        }
        // What came late for a slice is settled with the next ones, a few minutes back.
        let from = self.counted_from.saturating_sub(LATE);
        self.counted_from = counted_from;
        let quiet = self.slices.range_mut(from..counted_from);
        quiet.for_each(|(_, counts)| counts.settle());
    }

    pub(crate) fn forget_before(&mut self, slice: u64) {
        for followed in &mut self.followed {
            followed.forget_before(slice, &self.slices, &self.cells);
        }
        self.slices = self.slices.split_off(&slice);
    }

    /// Which rows any slice or remembered request still speaks of, and which components these rows
    /// speak of.
    pub(crate) fn in_use(
        &self,
        components: usize,
        remembered: impl Iterator<Item = u32>,
    ) -> (Vec<bool>, Vec<bool>) {
        let mut rows = vec![false; self.rows.len()];
        let mut used = vec![false; components];
        remembered.for_each(|row| rows[row as usize] = true);
        for (number, _) in self.slices.values().flat_map(DenseTally::iter) {
            rows[self.cells[number as usize].row as usize] = true;
        }
        for (row, in_use) in self.rows.iter().zip(&rows) {
            if *in_use {
                for touch in &row.touches {
                    used[touch.component as usize] = true;
                }
            }
        }
        (rows, used)
    }

    /// Drops the rows that aren't in use, and what no slice counts, and renumbers the components of the others; the answer
    /// maps old row numbers to new ones.
    pub(crate) fn keep(&mut self, rows: &[bool], components: &[Option<u32>]) -> Vec<Option<u32>> {
        let mut mapping = vec![None; self.rows.len()];
        let mut kept = Vec::new();
        self.ids.clear();
        for (old, mut row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if !rows[old] {
                continue;
            }
            let renumber = |id: u32| components[id as usize];
            row.touches.retain_mut(|touch| {
                renumber(touch.component)
                    .map(|new| touch.component = new)
                    .is_some()
            });
            for list in [&mut row.errors, &mut row.complaints] {
                list.retain_mut(|(id, _)| renumber(*id).map(|new| *id = new).is_some());
            }
            let new = kept.len() as u32;
            mapping[old] = Some(new);
            self.ids.insert(row.clone(), new);
            kept.push(row);
        }
        self.rows = kept;
        self.followed.clear();
        self.numbers.clear();
        let mut counted = vec![false; self.cells.len()];
        for counts in self.slices.values() {
            counts
                .iter()
                .for_each(|(number, _)| counted[number as usize] = true);
        }
        let mut renumbered = Vec::new();
        for (mut cell, counted) in std::mem::take(&mut self.cells).into_iter().zip(counted) {
            let row = mapping[cell.row as usize].filter(|_| counted);
            renumbered.push(row.map(|row| {
                cell.row = row;
                let new = self.cells.len() as u32;
                self.cells.push(cell);
                self.numbers.insert(cell, new);
                u64::from(new)
            }));
        }
        for counts in self.slices.values_mut() {
            counts.renumber(|old| renumbered[old as usize]);
        }
        mapping
    }

    /// The form that can be stored, sent and merged.
    pub(crate) fn export(
        &self,
        slice_nanos: u64,
        registry: &Registry,
        types: &[RequestType],
    ) -> PortableSpectrum {
        let mut slices: BTreeMap<u64, BTreeMap<PortableCell, u64>> = BTreeMap::new();
        for slice in self.slices.keys() {
            let counted = slices.entry(*slice).or_default();
            for (cell, n) in self.between(*slice, slice + 1) {
                let row = self.row(cell.row);
                let name = |id: u32| registry.info(id).component.clone();
                let mut touches: Vec<(Component, State)> = row
                    .touches
                    .iter()
                    .map(|touch| (name(touch.component), touch.state))
                    .collect();
                touches.sort();
                let mut errors: Vec<(Component, Name)> = row
                    .errors
                    .iter()
                    .map(|(id, error)| (name(*id), error.clone()))
                    .collect();
                errors.sort();
                let cell = PortableCell {
                    request_type: types[cell.request_type as usize].clone(),
                    outcome: cell.outcome,
                    judged: cell.judged,
                    stands_for: cell.stands_for,
                    touches,
                    errors,
                };
                *counted.entry(cell).or_default() += n;
            }
        }
        PortableSpectrum {
            version: PORTABLE_VERSION,
            slice_nanos,
            slices: slices
                .into_iter()
                .map(|(slice, cells)| (slice, cells.into_iter().collect()))
                .collect(),
        }
    }
}

/// The version of [`PortableSpectrum`]; spectra of different versions don't merge.
pub const PORTABLE_VERSION: u32 = 2;

/// Requests that looked alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortableCell {
    /// What was asked for.
    pub request_type: RequestType,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether somebody outside said so.
    pub judged: bool,
    /// For how many each stands.
    pub stands_for: StandsFor,
    /// What each component did, sorted.
    pub touches: Vec<(Component, State)>,
    /// The errors that began in components, sorted.
    pub errors: Vec<(Component, Name)>,
}

/// A spectrum with every name written out: what shards, workers and history add up. The same
/// requests give the same bytes in whatever order they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableSpectrum {
    /// The version of this form.
    pub version: u32,
    /// The length of a slice in nanoseconds.
    pub slice_nanos: u64,
    /// Per slice (its number since the epoch): how often each cell was counted, sorted.
    pub slices: BTreeMap<u64, Vec<(PortableCell, u64)>>,
}

/// Two spectra that can't be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "spectra of version {0} with slices of {1} ns, and of version {2} with {3} ns, don't add up"
)]
pub struct MergeError(u32, u64, u32, u64);

impl PortableSpectrum {
    /// Adds all that the other one counted.
    ///
    /// # Errors
    /// When version or slice length differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if (self.version, self.slice_nanos) != (other.version, other.slice_nanos) {
            return Err(MergeError(
                self.version,
                self.slice_nanos,
                other.version,
                other.slice_nanos,
            ));
        }
        for (slice, cells) in &other.slices {
            let own = self.slices.entry(*slice).or_default();
            let mut sum: BTreeMap<PortableCell, u64> = std::mem::take(own).into_iter().collect();
            for (cell, n) in cells {
                *sum.entry(cell.clone()).or_default() += n;
            }
            *own = sum.into_iter().collect();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_no_slice_counts_any_more_are_forgotten() {
        let mut spectrum = Spectrum::new(10);
        let mut counts = Counts::default();
        let row = spectrum.intern(Row::default(), &mut counts).expect("room");
        let cell = |octaves: u32| Cell {
            request_type: 0,
            row,
            outcome: Outcome::Ok,
            judged: false,
            stands_for: StandsFor::of(Some(rekindle_model::Sampling::Threshold(
                rekindle_model::Sampling::THRESHOLDS
                    - (rekindle_model::Sampling::THRESHOLDS >> octaves),
            ))),
        };
        for octaves in 0..40 {
            spectrum.add(u64::from(octaves), cell(octaves));
        }
        assert_eq!(spectrum.cells(), 40);
        spectrum.forget_before(30);
        assert_eq!(spectrum.keep(&[true], &[]), [Some(0)]);
        assert_eq!(spectrum.cells(), 10);
        let counted: Vec<(Cell, u64)> = spectrum.between(0, u64::MAX).collect();
        assert_eq!(counted.len(), 10);
        assert!(counted.contains(&(cell(39), 1)));
    }

    #[test]
    fn late_requests_take_no_room_for_all_numbers() {
        let mut spectrum = Spectrum::new(10);
        let cells = (0..1_000).map(|row| Cell {
            request_type: 0,
            row,
            outcome: Outcome::Ok,
            judged: false,
            stands_for: StandsFor::default(),
        });
        let cells: Vec<Cell> = cells.collect();
        for cell in &cells {
            spectrum.add(1_000, *cell);
        }
        spectrum.settle(1_000);
        assert!(spectrum.slices[&1_000].room() >= 1_000);
        // What was held back for a quarter of an hour, newest number last.
        for slice in 100..1_000 - COUNTED_INTO {
            spectrum.add(slice, cells[999]);
        }
        let late = spectrum.slices.range(..1_000);
        assert_eq!(late.map(|(_, counts)| counts.room()).sum::<usize>(), 0);
        let counted =
            |spectrum: &Spectrum| -> Vec<(Cell, u64)> { spectrum.between(100, 900).collect() };
        assert_eq!(counted(&spectrum), [(cells[999], 800)]);
        spectrum.remove(500, cells[999]);
        assert_eq!(counted(&spectrum), [(cells[999], 799)]);
    }
}
