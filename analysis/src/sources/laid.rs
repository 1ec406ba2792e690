//! What of an input is as it was a second ago?
//!
//! A second changes thousands of counts, hardly any name, and seldom which components, rows and parts there are. So an
//! open incident's input is kept in canonical order: what changed is found by its number and changed in place, and only
//! where other components are spoken of is everything put in order anew. What comes of it is the same, bit for bit.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use rekindle_model::RequestType;

use super::Sources;
use super::cells::CellOrder;
use super::measured::{order_of_shaped, order_of_timed};
use super::table::Table;
use crate::profile::{Profile, Segment, What};
use crate::rank::{InputRow, Shaped, Subject, Timed};

/// The parts of an input that hardly change, as of when the sums of profiles had caught up so often.
#[derive(Clone, Debug)]
pub(crate) struct Laid {
    caught_up: u64,
    /// Which rows are used.
    used: Arc<Vec<bool>>,
    /// Where each component stands among the subjects.
    pub(super) place: Arc<Vec<usize>>,
    pub(super) subjects: Arc<Vec<Subject>>,
    /// Which attributes of subjects these are.
    attributes: u64,
    pub(super) request_types: Arc<Vec<RequestType>>,
    /// Where each type's number stands among them.
    pub(super) type_at: Arc<Vec<usize>>,
    pub(super) rows: Table<InputRow>,
    pub(super) timed: Table<Timed>,
    pub(super) shaped: Table<Shaped>,
    /// Whether some callee sets are the same by now, because what they differed in is forgotten.
    has_merged: bool,
    failing: BTreeSet<u32>,
    pub(super) cells: CellOrder,
}

impl Sources<'_> {
    /// These parts for so many of each cell, in the baseline and in the window, from what is known of before.
    pub(super) fn laid(
        &self,
        known: Option<Laid>,
        counted: [&[u64]; 2],
        profile: &Profile<'_>,
        failing: &BTreeSet<u32>,
    ) -> Laid {
        let mut used = vec![false; self.spectrum.rows()];
        for counted in counted {
            for (number, count) in counted.iter().enumerate() {
                if *count > 0 {
                    used[self.spectrum.cell(number).row as usize] = true;
                }
            }
        }
        let brought_up = known.and_then(|known| self.brought_up(known, &used, profile, failing));
        brought_up.unwrap_or_else(|| self.laid_anew(used, profile, failing))
    }

    /// Where each component stands among those that rows or times speak of.
    fn placed(&self, used_rows: &[bool], profile: &Profile<'_>) -> Vec<usize> {
        let mut used = vec![false; self.registry.len()];
        let rows = (0..).zip(used_rows).filter(|(_, used)| **used);
        for (row, _) in rows {
            for touch in &self.spectrum.row(row).touches {
                used[touch.component as usize] = true;
            }
        }
        profile.components().for_each(|id| used[id as usize] = true);
        let known = self.registry.ordered();
        let mut ids: Vec<u32> = known.filter(|id| used[*id as usize]).collect();
        ids.sort_by(|a, b| {
            let component = |id: &u32| &self.registry.info(*id).component;
            component(a).cmp(component(b))
        });
        let mut place = vec![usize::MAX; self.registry.len()];
        for (at, id) in ids.iter().enumerate() {
            place[*id as usize] = at;
        }
        place
    }

    fn subjects(&self, place: &[usize]) -> Vec<Subject> {
        let mut ids: Vec<(usize, u32)> = place.iter().copied().zip(0..).collect();
        ids.retain(|(at, _)| *at != usize::MAX);
        ids.sort_unstable();
        let infos = ids.into_iter().map(|(_, id)| self.registry.info(id));
        let subjects = infos.map(|info| Subject {
            component: info.component.clone(),
            attributes: info.attributes.clone(),
        });
        subjects.collect()
    }

    fn laid_anew(&self, used: Vec<bool>, profile: &Profile<'_>, failing: &BTreeSet<u32>) -> Laid {
        let place = self.placed(&used, profile);
        let mut types: Vec<(&RequestType, u32)> = self
            .types
            .iter()
            .map(|(id, state)| (&state.request_type, id))
            .collect();
        types.sort_unstable();
        let mut type_at = vec![usize::MAX; types.len()];
        for (at, (_, id)) in types.iter().enumerate() {
            type_at[*id as usize] = at;
        }
        let used_rows = (0..).zip(&used).filter(|(_, used)| **used);
        let mut rows: Vec<(InputRow, u32)> = used_rows
            .map(|(id, _)| (self.row(id, &place), id))
            .collect();
        rows.sort();
        let rows = Table::new(rows);
        let mut timed: Vec<(Timed, u32)> = Vec::new();
        let mut shaped: Vec<(Shaped, u32)> = Vec::new();
        for number in profile.numbers() {
            let of = number as u32;
            if let Some(one) = Self::timed(profile, number, &place, &type_at) {
                timed.push((one, of));
            } else if let Some(one) = self.shaped(profile, number, &place, &type_at) {
                shaped.push((one, of));
            }
        }
        // Most are in order, which takes hardly any time then.
        timed.sort_by(|a, b| order_of_timed(&a.0, &b.0));
        shaped.sort_by(|a, b| order_of_shaped(&a.0, &b.0));
        let before = shaped.len();
        // What differed only in components that are forgotten is the same now.
        shaped.dedup_by(|(next, _), (kept, _)| {
            let same = order_of_shaped(next, kept).is_eq();
            if same {
                kept.baseline[0] += next.baseline[0];
                kept.baseline[1] += next.baseline[1];
                kept.window += next.window;
            }
            same
        });
        let has_merged = shaped.len() < before;
        Laid {
            caught_up: profile.caught_up(),
            used: Arc::new(used),
            subjects: Arc::new(self.subjects(&place)),
            attributes: self.registry.attributes_version(),
            request_types: Arc::new(types.into_iter().map(|(name, _)| name.clone()).collect()),
            timed: Table::new(timed),
            shaped: Table::new(shaped),
            has_merged,
            failing: failing.clone(),
            cells: self.cell_order(&rows, failing, &place, &type_at),
            rows,
            place: Arc::new(place),
            type_at: Arc::new(type_at),
        }
    }

    /// What is known with what changed since; `None` where components or types stand at other places.
    fn brought_up(
        &self,
        mut laid: Laid,
        used: &[bool],
        profile: &Profile<'_>,
        failing: &BTreeSet<u32>,
    ) -> Option<Laid> {
        let news = profile.news_since(laid.caught_up)?;
        if laid.has_merged || laid.type_at.len() != self.types.len() as usize {
            return None;
        }
        let other_rows = *laid.used != used;
        let mut other_components = other_rows;
        let (mut times, mut shapes) = (Changed::default(), Changed::default());
        for number in news {
            let (place, type_at) = (&laid.place, &laid.type_at);
            match profile.what(*number).1 {
                What::Time(segment) => {
                    let known = laid.timed.place_of(*number as u32);
                    let is_counted = profile.brief(*number).is_some();
                    let came_or_went = known.is_some() != is_counted;
                    other_components |= came_or_went && matches!(segment, Segment::Whole(_));
                    let now = Self::timed(profile, *number, place, type_at);
                    times.add(known, *number as u32, now);
                }
                What::Shape(_) => {
                    let known = laid.shaped.place_of(*number as u32);
                    let now = self.shaped(profile, *number, place, type_at);
                    shapes.add(known, *number as u32, now);
                }
            }
        }
        if other_components {
            let placed = self.placed(used, profile);
            // Components that came since and that nothing speaks of stand nowhere.
            Arc::make_mut(&mut laid.place).resize(placed.len(), usize::MAX);
            if placed != *laid.place {
                return None;
            }
        }
        if other_rows {
            let row = |id: u32| self.row(id, &laid.place);
            let came = |id: &u32| used[*id as usize] && laid.rows.place_of(*id).is_none();
            let come = (0..used.len() as u32).filter(came);
            let come = come.map(|id| (row(id), id)).collect();
            let goes = |id: u32| !used[id as usize];
            laid.rows.exchange(goes, come, Ord::cmp);
            laid.used = Arc::new(used.to_vec());
        }
        times.apply(&mut laid.timed, order_of_timed);
        shapes.apply(&mut laid.shaped, order_of_shaped);
        let mut neighbours = laid.shaped.rows().windows(2);
        if shapes.any_came && neighbours.any(|two| order_of_shaped(&two[0], &two[1]).is_eq()) {
            return None;
        }
        if other_rows || laid.failing != *failing || laid.cells.known != self.spectrum.cells() {
            laid.failing.clone_from(failing);
            laid.cells = self.cell_order(&laid.rows, failing, &laid.place, &laid.type_at);
        }
        if laid.attributes != self.registry.attributes_version() {
            laid.attributes = self.registry.attributes_version();
            laid.subjects = Arc::new(self.subjects(&laid.place));
        }
        laid.caught_up = profile.caught_up();
        Some(laid)
    }
}

/// What became of the rows of a table.
struct Changed<T> {
    /// At these places.
    stay: Vec<(usize, T)>,
    go: BTreeSet<u32>,
    come: Vec<(T, u32)>,
    any_came: bool,
}

impl<T> Default for Changed<T> {
    fn default() -> Self {
        Self {
            stay: Vec::new(),
            go: BTreeSet::new(),
            come: Vec::new(),
            any_came: false,
        }
    }
}

impl<T: Clone> Changed<T> {
    /// The row of this number is there already, or not, and is this one now.
    fn add(&mut self, known: Option<usize>, number: u32, now: Option<T>) {
        match (known, now) {
            (Some(at), Some(now)) => self.stay.push((at, now)),
            (Some(_), None) => {
                self.go.insert(number);
            }
            (None, Some(now)) => {
                self.any_came = true;
                self.come.push((now, number));
            }
            (None, None) => {}
        }
    }

    fn apply(&mut self, table: &mut Table<T>, order: impl Fn(&T, &T) -> Ordering) {
        if !self.stay.is_empty() {
            let rows = table.rows_mut();
            for (at, now) in self.stay.drain(..) {
                rows[at] = now;
            }
        }
        if !self.go.is_empty() || !self.come.is_empty() {
            let come = std::mem::take(&mut self.come);
            table.exchange(|number| self.go.contains(&number), come, order);
        }
    }
}
