//! The volatile state of components: rows in memory, and how they are damaged.
//!
//! Every component keeps what it answers from in tables like this one, loaded from its store when it
//! starts. Damage is real: the rows themselves are lost or mixed up, so the component's own code
//! stumbles over them, and only loading them again helps. The store is never touched.

use std::sync::{PoisonError, RwLock};

use super::message::CallError;

/// What happens to a component's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The rows are gone while the index still points at them: calls fail.
    Lost,
    /// Every row took the place of its neighbour: calls are answered, wrongly.
    Crossed,
}

/// Rows by number. Numbers are given out by [`Table::push`], from 0.
pub(crate) struct Table<T> {
    rows: RwLock<Vec<Option<T>>>,
}

impl<T: Clone> Table<T> {
    pub(crate) fn new(rows: impl IntoIterator<Item = T>) -> Self {
        Self {
            rows: RwLock::new(rows.into_iter().map(Some).collect()),
        }
    }

    /// The row of a number that the index gave.
    ///
    /// # Errors
    /// When there is no such row any more: an index never points at nothing in sound state.
    pub(crate) fn get(&self, number: usize) -> Result<T, CallError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(number)
            .cloned()
            .flatten()
            .ok_or(CallError::corrupt_state(number))
    }

    /// Changes a row; fails as [`Self::get`] does.
    pub(crate) fn update(
        &self,
        number: usize,
        change: impl FnOnce(&mut T),
    ) -> Result<(), CallError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        match rows.get_mut(number) {
            Some(Some(row)) => {
                change(row);
                Ok(())
            }
            _ => Err(CallError::corrupt_state(number)),
        }
    }

    /// Adds a row and says its number.
    pub(crate) fn push(&self, row: T) -> usize {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.push(Some(row));
        rows.len() - 1
    }

    /// Damages all rows that are there now.
    pub(crate) fn damage(&self, damage: Damage) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        match damage {
            Damage::Lost => rows.fill(None),
            Damage::Crossed if rows.is_empty() => {}
            Damage::Crossed => rows.rotate_left(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_does_what_it_says() {
        let table = Table::new(["a", "b", "c"]);
        assert_eq!(table.get(1).expect("sound"), "b");
        table.damage(Damage::Crossed);
        assert_eq!(table.get(1).expect("answered, wrongly"), "c");
        table.damage(Damage::Lost);
        assert_eq!(
            table.get(1).expect_err("lost").error_type(),
            Some("corrupt_state")
        );
        assert_eq!(table.get(table.push("d")).expect("new rows are fine"), "d");
    }
}
