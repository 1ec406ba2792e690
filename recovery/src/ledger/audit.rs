//! Does the ledger tell one story that can be so?
//!
//! What happened to a recovery, passed through its one transition function again, must lead to the states that
//! were written beside it, and actions must fit the intents and results that are there. Tests ask after
//! each kill, and whoever mistrusts a ledger may.

use std::path::PathBuf;
use std::time::SystemTime;

use super::columns::{int, parse, time};
use super::rows::StoredAction;
use super::{LedgerError, Store};
use crate::lifecycle::{Event, State, next};
use crate::service::RecoveryId;

impl Store {
    /// All that happened to a recovery, with the state that was written beside it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn events(
        &self,
        recovery: RecoveryId,
    ) -> Result<Vec<(SystemTime, Event, State)>, LedgerError> {
        self.read("reading what happened", |database| {
            let mut statement = database
                .prepare("SELECT at, event, state FROM events WHERE recovery = ?1 ORDER BY seq")?;
            let rows = statement.query_map([int(recovery.0)], |row| {
                let (event, state): (String, String) = (row.get(1)?, row.get(2)?);
                Ok((time(row.get(0)?), parse(&event)?, parse(&state)?))
            })?;
            rows.collect()
        })
    }

    /// Where a recovery is, by all that happened to it.
    pub(super) fn replay(&self, recovery: RecoveryId) -> Result<State, LedgerError> {
        let mut state = State::Watching;
        for (_, event, written) in self.events(recovery)? {
            state =
                next(state, event).map_err(|source| LedgerError::Illegal { recovery, source })?;
            if state != written {
                let what = format!("recovery {recovery} was {state}, and {written} was written");
                return Err(LedgerError::Damaged { what });
            }
        }
        Ok(state)
    }

    /// Everything in the ledger that can't be so, in words; empty when it is consistent.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn audit(&self) -> Result<Vec<String>, LedgerError> {
        let mut problems = Vec::new();
        let mut generations = std::collections::BTreeMap::new();
        let mut actions: Vec<StoredAction> = Vec::new();
        for recovery in self.recoveries("1 = 1")? {
            let id = recovery.recovery;
            match self.replay(id) {
                Ok(state) if state == recovery.state => {}
                Ok(state) => problems.push(format!(
                    "recovery {id} is said to be {}, but what happened makes it {state}",
                    recovery.state
                )),
                Err(error) => problems.push(error.in_full()),
            }
            let events = self.events(id)?;
            let commits = events
                .iter()
                .filter(|(_, event, _)| *event == Event::Commit)
                .count();
            let attempts: std::collections::BTreeSet<u32> = recovery
                .actions
                .iter()
                .map(|action| action.attempt)
                .collect();
            if attempts.len() != commits {
                problems.push(format!(
                    "recovery {id} has {} attempts and {commits} intents",
                    attempts.len()
                ));
            }
            for action in &recovery.actions {
                if action.outcome.is_none() && recovery.state.is_over() {
                    problems.push(format!(
                        "action {} has no result, and is over",
                        action.action
                    ));
                }
                if action.verdict.is_none() && recovery.state.is_over() {
                    problems.push(format!(
                        "action {} has no verdict, and is over",
                        action.action
                    ));
                }
            }
            actions.extend(recovery.actions);
        }
        // Recoveries overlap in time; actions are numbered in the order of their intents.
        actions.sort_by_key(|action| action.action);
        let begun = actions.iter().filter(|action| !action.is_refused());
        for action in begun {
            let last = generations.insert(action.unit.clone(), action.generation);
            if last.is_some_and(|last| last >= action.generation) {
                problems.push(format!(
                    "action {} made generation {} of {} again",
                    action.action, action.generation, action.unit
                ));
            }
        }
        Ok(problems)
    }
}

/// Opens a ledger that no engine uses, and says what in it can't be so.
///
/// # Errors
/// When it can't be opened or read.
pub fn audit(path: PathBuf) -> Result<Vec<String>, LedgerError> {
    Store::open(&path)?.audit()
}
