//! How does a long list stay in order when a little of it changes each second?
//!
//! Rows lie in canonical order, and each is of something that has a number. What changed is found by its number and
//! changes in place; what comes and goes is merged in one pass. Whoever was handed the rows shares them, so only where
//! somebody still holds them are they copied.

use std::cmp::Ordering;
use std::sync::Arc;

/// Where what has no row is.
const NOWHERE: u32 = u32::MAX;

/// Rows in order, each of a number of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Table<T> {
    rows: Arc<Vec<T>>,
    /// Of each row.
    numbers: Arc<Vec<u32>>,
    /// By number.
    places: Arc<Vec<u32>>,
}

impl<T: Clone> Table<T> {
    /// Of these rows with their numbers, which are in order.
    pub(super) fn new(sorted: Vec<(T, u32)>) -> Self {
        let (rows, numbers): (Vec<T>, Vec<u32>) = sorted.into_iter().unzip();
        let mut table = Self {
            rows: Arc::new(rows),
            numbers: Arc::new(numbers),
            places: Arc::default(),
        };
        table.place();
        table
    }

    fn place(&mut self) {
        let most = self.numbers.iter().max().map_or(0, |most| *most + 1);
        let places = Arc::make_mut(&mut self.places);
        places.clear();
        places.resize(most as usize, NOWHERE);
        for (place, number) in (0..).zip(self.numbers.iter()) {
            places[*number as usize] = place;
        }
    }

    pub(super) const fn rows(&self) -> &Arc<Vec<T>> {
        &self.rows
    }

    /// Where the row of this number is.
    pub(super) fn place_of(&self, number: u32) -> Option<usize> {
        let place = self.places.get(number as usize).copied();
        place.filter(|it| *it != NOWHERE).map(|it| it as usize)
    }

    /// The rows themselves, whose order must stay.
    pub(super) fn rows_mut(&mut self) -> &mut [T] {
        Arc::make_mut(&mut self.rows).as_mut_slice()
    }

    /// Takes out the rows of numbers that go, and puts in those that come.
    pub(super) fn exchange(
        &mut self,
        goes: impl Fn(u32) -> bool,
        mut come: Vec<(T, u32)>,
        order: impl Fn(&T, &T) -> Ordering,
    ) {
        come.sort_by(|a, b| order(&a.0, &b.0));
        let mut come = come.into_iter().peekable();
        let old = std::mem::take(Arc::make_mut(&mut self.rows));
        let numbers = std::mem::take(Arc::make_mut(&mut self.numbers));
        let mut rows = Vec::with_capacity(old.len() + come.len());
        let mut numbered = Vec::with_capacity(old.len() + come.len());
        let mut push = |row: T, number: u32| {
            rows.push(row);
            numbered.push(number);
        };
        for (row, number) in old.into_iter().zip(numbers) {
            if goes(number) {
                continue;
            }
            while let Some((earlier, of)) = come.next_if(|(it, _)| order(it, &row).is_lt()) {
                push(earlier, of);
            }
            push(row, number);
        }
        come.for_each(|(row, number)| push(row, number));
        self.rows = Arc::new(rows);
        self.numbers = Arc::new(numbered);
        self.place();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes and goes, rows are in order and found by their numbers.
        #[test]
        fn what_was_exchanged_is_as_if_put_in_order_anew(
            steps in prop::collection::vec(prop::collection::btree_map(0u32..30, prop::option::of(0u32..100), 0..9), 1..9),
        ) {
            let mut expected: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
            let mut table = Table::default();
            let mut held = Vec::new();
            for step in steps {
                let come = step.iter().filter_map(|(number, row)| Some((((*row)?, *number), *number)));
                let come: Vec<((u32, u32), u32)> = come.collect();
                table.exchange(|number| step.contains_key(&number), come.clone(), Ord::cmp);
                expected.retain(|number, _| !step.contains_key(number));
                expected.extend(come.into_iter().map(|(row, number)| (number, row)));
                let mut anew: Vec<((u32, u32), u32)> = expected.iter().map(|(number, row)| (*row, *number)).collect();
                anew.sort_unstable();
                let anew = Table::new(anew);
                prop_assert_eq!(table.rows(), anew.rows());
                for number in 0..40 {
                    prop_assert_eq!(table.place_of(number), anew.place_of(number));
                }
                // What somebody holds stays as it was.
                held.push((Arc::clone(table.rows()), table.rows().to_vec()));
            }
            for (rows, as_they_were) in held {
                prop_assert_eq!(&*rows, &as_they_were);
            }
        }
    }
}
