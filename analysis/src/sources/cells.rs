//! In which order do cells become cases, and what does each say was touched?
//!
//! Both follow from names and rows alone, so they are worked out when these change, and a ranking only adds up counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Sources;
use super::table::Table;
use crate::Level;
use crate::rank::{Case, InputRow, Touched};
use crate::spectrum::Cell;

/// The cells whose rows are used.
#[derive(Clone, Debug, Default)]
pub(super) struct CellOrder {
    /// How many cells there were.
    pub(super) known: usize,
    /// Their numbers, in the order of their cases.
    order: Arc<Vec<u32>>,
    /// Where the places of what each touches begin among all of these, and the last one's end. In that order, too.
    begins: Arc<Vec<u32>>,
    /// Places among `touched`.
    touches: Arc<Vec<u32>>,
    /// (Subject, request type) of whatever of it is timed, sorted.
    touched: Arc<Vec<(usize, usize)>>,
}

impl Sources<'_> {
    /// A case of so many, told apart from others by whether its type fails and not by which one it is.
    pub(super) fn case(
        cell: &Cell,
        count: u64,
        rows: &Table<InputRow>,
        failing: &BTreeSet<u32>,
    ) -> Option<Case> {
        Some(Case {
            row: rows.place_of(cell.row)?,
            of_incident: failing.contains(&cell.request_type),
            outcome: cell.outcome,
            judged: cell.judged,
            stands_for: cell.stands_for,
            count,
        })
    }

    /// The order of all cells of these rows. Components and request types stand at these places.
    pub(super) fn cell_order(
        &self,
        rows: &Table<InputRow>,
        failing: &BTreeSet<u32>,
        place: &[usize],
        type_at: &[usize],
    ) -> CellOrder {
        let known = self.spectrum.cells();
        let mut order: Vec<(Case, u32)> = (0..known as u32)
            .filter_map(|number| {
                let cell = self.spectrum.cell(number as usize);
                Some((Self::case(cell, 0, rows, failing)?, number))
            })
            .collect();
        order.sort_unstable();
        let order: Vec<u32> = order.into_iter().map(|(_, number)| number).collect();
        let is_timed = |id: u32| {
            let level = self.registry.info(id).component.level;
            matches!(level, Level::Operation | Level::Dependency)
        };
        let is_timed: Vec<bool> = (0..self.registry.len() as u32).map(is_timed).collect();
        let (mut subjects, mut begins) = (Vec::new(), vec![0]);
        let mut by_type: Vec<Vec<usize>> = vec![Vec::new(); type_at.len()];
        for (at, number) in order.iter().enumerate() {
            let cell = self.spectrum.cell(*number as usize);
            let touches = self.spectrum.row(cell.row).touches.iter();
            let timed = touches.filter(|touch| is_timed[touch.component as usize]);
            subjects.extend(timed.map(|touch| place[touch.component as usize]));
            begins.push(subjects.len() as u32);
            by_type[type_at[cell.request_type as usize]].push(at);
        }
        // Type by type, so that a list of subjects tells what was met already.
        let mut met = vec![u32::MAX; self.registry.len()];
        let mut touches = vec![0; subjects.len()];
        let mut touched: Vec<((usize, usize), u32)> = Vec::new();
        for (request_type, cells) in by_type.into_iter().enumerate() {
            let first = touched.len();
            for at in cells {
                for touch in begins[at] as usize..begins[at + 1] as usize {
                    let subject = subjects[touch];
                    if met[subject] == u32::MAX {
                        met[subject] = touched.len() as u32;
                        touched.push(((subject, request_type), met[subject]));
                    }
                    touches[touch] = met[subject];
                }
            }
            for ((subject, _), _) in &touched[first..] {
                met[*subject] = u32::MAX;
            }
        }
        touched.sort_unstable();
        let mut places = vec![0; touched.len()];
        for (at, (_, number)) in (0..).zip(&touched) {
            places[*number as usize] = at;
        }
        touches.iter_mut().for_each(|it| *it = places[*it as usize]);
        let touched = touched.into_iter().map(|(of, _)| of).collect();
        CellOrder {
            known,
            order: Arc::new(order),
            begins: Arc::new(begins),
            touches: Arc::new(touches),
            touched: Arc::new(touched),
        }
    }

    /// The cases of so many of each cell.
    pub(super) fn cases(
        &self,
        cells: &CellOrder,
        counted: &[u64],
        rows: &Table<InputRow>,
        failing: &BTreeSet<u32>,
    ) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for number in cells.order.iter() {
            let count = counted.get(*number as usize).copied().unwrap_or(0);
            let cell = self.spectrum.cell(*number as usize);
            if count > 0
                && let Some(case) = Self::case(cell, count, rows, failing)
            {
                add_case(&mut cases, case);
            }
        }
        cases
    }
}

impl CellOrder {
    /// How many requests of each type touched what is timed, in the baseline and in the window.
    pub(super) fn touched(&self, counted: [&[u64]; 2]) -> Vec<Touched> {
        let mut sums = vec![[0u64; 2]; self.touched.len()];
        for (at, number) in self.order.iter().enumerate() {
            let count = |part: &[u64]| part.get(*number as usize).copied().unwrap_or(0);
            let counts = counted.map(count);
            if counts == [0; 2] {
                continue;
            }
            let touches = self.begins[at] as usize..self.begins[at + 1] as usize;
            for place in &self.touches[touches] {
                let sum = &mut sums[*place as usize];
                sum[0] += counts[0];
                sum[1] += counts[1];
            }
        }
        let summed = self.touched.iter().zip(sums);
        summed
            .filter(|(_, sums)| *sums != [0; 2])
            .map(|((subject, request_type), [baseline, window])| Touched {
                subject: *subject,
                request_type: *request_type,
                baseline,
                window,
            })
            .collect()
    }
}

/// Adds what comes next in order: what is told apart by nothing adds up.
pub(super) fn add_case(cases: &mut Vec<Case>, next: Case) {
    let of = |case: &Case| Case { count: 0, ..*case };
    match cases.last_mut() {
        Some(last) if of(last) == of(&next) => last.count += next.count,
        _ => cases.push(next),
    }
}
