//! The ledger's database: how is it opened, written to as a whole or not at all, and read?
//!
//! What an entry writes is in `write.rs`, what must hold between entries in `audit.rs`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::columns::{ACTION, Sql, action, int, json, nanos, optional, parse, time, uint};
use super::reserve::Reserve;
use super::rows::{Entry, Intent, Memory, StoredAction, StoredRecovery};
use super::write::{Failure, append, write_plan};
use super::{LedgerError, schema};
use crate::UnitName;
use crate::belief::NewVersion;
use crate::clock::{Reading, Shift};
use crate::cost::CostKey;
use crate::executor::{ActionId, Permit};
use crate::guard::Pause;
use crate::lifecycle::Event;
use crate::plan::{Plan, PlanId};
use crate::service::RecoveryId;

/// The log is copied into the database after so many pages of 4 KiB, so that it never takes more
/// room than the reserve gives.
const CHECKPOINT_PAGES: i64 = 64;
/// How long to wait for another engine that is just being killed.
const BUSY: Duration = Duration::from_millis(500);
/// How much history is ever given at once.
pub(super) const MAX_HISTORY: usize = 1000;

/// The open database. Of one thread.
#[derive(Debug)]
pub struct Store {
    database: Connection,
    reserve: Reserve,
}

fn is_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    // A log that can't grow is told as a failing write, not as a full disk; so is the memory that
    // readers share. Other failures of the device have words of their own.
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || extended.is_some_and(|code| {
            [
                rusqlite::ffi::SQLITE_IOERR_WRITE,
                rusqlite::ffi::SQLITE_IOERR_SHMSIZE,
                rusqlite::ffi::SQLITE_IOERR_TRUNCATE,
            ]
            .contains(&code)
        })
}

/// A plan with its number, which it has from its row.
fn numbered(row: &rusqlite::Row<'_>) -> Sql<Plan> {
    let mut plan: Plan = parse(&row.get::<_, String>(1)?)?;
    plan.id = PlanId(uint(row.get(0)?));
    Ok(plan)
}

impl Store {
    /// Opens the ledger, makes or converts it where needed, and its reserve.
    ///
    /// # Errors
    /// When it can't be opened or read, or is of a newer Rekindle.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let open = |source| LedgerError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| LedgerError::Room {
                path: folder.to_owned(),
                source,
            })?;
        }
        let mut database = Connection::open(path).map_err(open)?;
        // Nobody else has business here, so whoever holds the lock won't let go of it soon.
        database.busy_timeout(BUSY).map_err(open)?;
        // Exclusive: two engines with one ledger would each restart what the other judges.
        database
            .pragma_update(None, "locking_mode", "EXCLUSIVE")
            .map_err(open)?;
        database
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(open)?;
        // Full: an intent must be on the disk, not on its way there, before anything is done.
        database
            .pragma_update(None, "synchronous", "FULL")
            .map_err(open)?;
        database
            .pragma_update(None, "foreign_keys", true)
            .map_err(open)?;
        database
            .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
            .map_err(open)?;
        schema::migrate(&mut database, path)?;
        let reserve = Reserve::beside(path);
        if let Err(error) = reserve.make() {
            tracing::warn!(%error, "no room for the ledger's reserve");
        }
        Ok(Self { database, reserve })
    }

    /// Runs a transaction; on a full disk once more, with the reserve given up.
    fn write<T>(
        &mut self,
        deed: &'static str,
        run: impl Fn(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, LedgerError> {
        let attempt = |database: &mut Connection| -> Result<T, Failure> {
            let transaction = database.transaction()?;
            let value = run(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        let mut result = attempt(&mut self.database);
        if matches!(&result, Err(Failure::Sql(error)) if is_full(error)) && self.reserve.give_up() {
            tracing::warn!(deed, "the disk is full; the ledger's reserve is given up");
            result = attempt(&mut self.database);
        } else if result.is_ok() && !self.reserve.is_there() {
            // Best effort: it fails as long as the disk is full.
            drop(self.reserve.make());
        }
        result.map_err(|failure| match failure {
            Failure::Ledger(error) => error,
            Failure::Sql(source) if is_full(&source) => {
                tracing::warn!(deed, error = %source, "the ledger can't be written");
                LedgerError::Full { deed }
            }
            Failure::Sql(source) => LedgerError::Database { deed, source },
        })
    }

    pub(super) fn read<T>(
        &self,
        deed: &'static str,
        run: impl Fn(&Connection) -> Sql<T>,
    ) -> Result<T, LedgerError> {
        run(&self.database).map_err(|source| LedgerError::Database { deed, source })
    }

    /// Whether the ledger can be written now.
    ///
    /// # Errors
    /// When it can't.
    pub fn probe(&mut self) -> Result<(), LedgerError> {
        self.write("writing a trial", |transaction| {
            transaction.execute(
                "INSERT INTO trials VALUES (1, 1) ON CONFLICT DO UPDATE SET count = count + 1",
                [],
            )?;
            Ok(())
        })
    }

    /// Writes what happened to a recovery. On disk when it returns.
    ///
    /// # Errors
    /// When it can't be written, or can't have happened.
    pub fn append(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        self.write("writing what happened", |transaction| {
            append(transaction, entry)
        })
    }

    /// Writes a plan that is shown to people, and gives it its number.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn propose(&mut self, entry: &Entry, plan: &Plan) -> Result<PlanId, LedgerError> {
        self.write("writing a plan", |transaction| {
            append(transaction, entry)?;
            Ok(write_plan(transaction, entry.recovery, plan)?)
        })
    }

    /// Writes an intent, and only then gives the leave to act on it: one permit for each executor's
    /// part, in order. This is the only place where permits are made.
    ///
    /// # Errors
    /// When it can't be written: then nothing may be done. When the recovery doesn't hold a lease.
    pub fn commit_intent(
        &mut self,
        entry: &Entry,
        intent: &Intent,
    ) -> Result<Vec<Permit>, LedgerError> {
        let written = self.write("writing an intent", |transaction| {
            // Whether a commit can follow what came before is for `append` to say.
            if entry.events.last().map(|(_, event)| *event) != Some(Event::Commit) {
                let recovery = entry.recovery;
                return Err(LedgerError::NotCommitted { recovery }.into());
            }
            append(transaction, entry)?;
            let evidence = entry.evidence.as_ref().map(json).transpose()?;
            let mut written = Vec::new();
            for (place, restart) in intent.restarts.iter().enumerate() {
                for unit in &restart.raises {
                    // A unit's first life, before we ever restarted it, is generation 1.
                    transaction.execute(
                        "INSERT INTO generations VALUES (?1, 2)
                         ON CONFLICT DO UPDATE SET generation = generation + 1",
                        [unit.as_str()],
                    )?;
                }
                let generation: i64 = transaction.query_row(
                    "SELECT generation FROM generations WHERE unit = ?1",
                    [restart.unit.as_str()],
                    |row| row.get(0),
                )?;
                let deadline = i64::try_from(restart.deadline.as_nanos()).unwrap_or(i64::MAX);
                // The whole cost is charged to the first part: it is the attempt's, as is what hung.
                let (cost, hanging) = match place {
                    0 => (intent.expected_cost, Some(json(&intent.hanging)?)),
                    _ => (0.0, None),
                };
                transaction.execute(
                    "INSERT INTO actions (recovery, attempt, target, unit, generation, deadline, by,
                         reason, plan, evidence, expected_cost, intended_at, hanging)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                    params![
                        int(entry.recovery.0),
                        intent.attempt,
                        intent.target.as_str(),
                        restart.unit.as_str(),
                        generation,
                        deadline,
                        intent.by,
                        intent.reason,
                        intent.plan.map(|plan| int(plan.0)),
                        evidence,
                        cost,
                        nanos(intent.at),
                        hanging,
                    ],
                )?;
                let action = ActionId(uint(transaction.last_insert_rowid()));
                written.push((
                    action,
                    restart.unit.clone(),
                    uint(generation),
                    restart.deadline,
                ));
            }
            Ok(written)
        })?;
        Ok(written
            .into_iter()
            .map(|(action, unit, generation, deadline)| {
                Permit::new(action, unit, generation, deadline).because_of(entry.incident)
            })
            .collect())
    }

    /// Writes a person's stop, or its end.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn pause(&mut self, pause: Option<&Pause>) -> Result<(), LedgerError> {
        self.write("writing a pause", |transaction| {
            match pause {
                None => transaction.execute("DELETE FROM pauses", [])?,
                Some(pause) => transaction.execute(
                    "INSERT OR REPLACE INTO pauses VALUES (1, ?1)",
                    [json(pause)?],
                )?,
            };
            Ok(())
        })
    }

    /// Past actions, newest first; of one unit, where one is named.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn history(
        &self,
        unit: Option<&UnitName>,
        limit: usize,
    ) -> Result<Vec<(StoredAction, Option<u64>)>, LedgerError> {
        let limit = i64::try_from(limit.min(MAX_HISTORY)).unwrap_or(0);
        self.read("reading the history", |database| {
            let mut statement = database.prepare(&format!(
                "{ACTION}, recoveries.incident FROM actions
                 JOIN recoveries ON recoveries.id = actions.recovery
                 WHERE ?1 IS NULL OR unit = ?1 OR target = ?1
                 ORDER BY actions.id DESC LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![unit.map(UnitName::as_str), limit], |row| {
                let incident: Option<i64> = row.get(21)?;
                Ok((action(row)?, incident.map(uint)))
            })?;
            rows.collect()
        })
    }

    /// What the clocks said when they were last written down.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn clocks(&self) -> Result<Option<Reading>, LedgerError> {
        self.read("reading what the clocks said", |database| {
            let row = |row: &rusqlite::Row<'_>| {
                Ok(Reading {
                    boot: row.get(0)?,
                    lasted: Duration::from_nanos(uint(row.get(1)?)),
                    wall: time(row.get(2)?),
                })
            };
            database
                .query_row("SELECT boot, lasted, wall FROM clocks", [], row)
                .optional()
        })
    }

    /// Writes down what the clocks say, and by how much the wall's was set since the last time: then all that was done and
    /// still counts for something was done by so much later or earlier, and a pause with it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn set_clocks(
        &mut self,
        now: &Reading,
        shift: Option<Shift>,
        oldest: SystemTime,
    ) -> Result<(), LedgerError> {
        let lasted = i64::try_from(now.lasted.as_nanos()).unwrap_or(i64::MAX);
        self.write("writing what the clocks say", |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO clocks VALUES (1, ?1, ?2, ?3)",
                params![now.boot, lasted, nanos(now.wall)],
            )?;
            let Some(shift) = shift else { return Ok(()) };
            transaction.execute(
                "UPDATE actions SET shifted = shifted + ?1 WHERE intended_at + shifted + ?1 >= ?2",
                params![shift.nanos(), nanos(oldest)],
            )?;
            // What is left to a person, or cured, was so before: what is told next is later.
            transaction.execute(
                "UPDATE recoveries SET changed_at = max(changed_at + ?1, 0)
                 WHERE id > (SELECT max(id) FROM recoveries) - 100",
                [shift.nanos()],
            )?;
            let pause: Option<String> = transaction
                .query_row("SELECT pause FROM pauses", [], |row| row.get(0))
                .optional()?;
            if let Some(mut pause) = optional::<Pause>(pause)? {
                pause.shift(shift);
                transaction.execute("UPDATE pauses SET pause = ?1", [json(&pause)?])?;
            }
            Ok(())
        })
    }

    /// Everything that a starting engine must know; actions no older than `since`.
    ///
    /// # Errors
    /// When it can't be read, or contradicts itself.
    pub fn remember(&mut self, since: SystemTime) -> Result<Memory, LedgerError> {
        let unfinished = self.recoveries("is_over = 0")?;
        for recovery in &unfinished {
            let replayed = self.replay(recovery.recovery)?;
            if replayed != recovery.state {
                let what = format!(
                    "recovery {} is said to be {}, but what happened makes it {replayed}",
                    recovery.recovery, recovery.state
                );
                return Err(LedgerError::Damaged { what });
            }
        }
        let settled = self.recoveries(
            // What is a person's stays so for as long as it lasts, whatever else comes meanwhile; nobody writes down that it
            // is over.
            "is_over = 1 AND incident IS NOT NULL AND
             (state IN ('\"given_up\"', '\"rejected\"') AND id > (SELECT max(id) FROM recoveries) - 10000
              OR state = '\"cured\"' AND id > (SELECT max(id) FROM recoveries) - 100)",
        )?;
        let finished = self.recoveries(
            "is_over = 1 AND id > (SELECT max(id) FROM recoveries) - 100
             AND (given_up IS NOT NULL OR id IN (SELECT recovery FROM plans))",
        )?;
        self.read("reading what was learned", |database| {
            let mut statement = database.prepare(&format!(
                "{ACTION} FROM actions WHERE intended_at + shifted + deadline >= ?1 ORDER BY id"
            ))?;
            let actions = statement
                .query_map([nanos(since)], action)?
                .collect::<Sql<Vec<_>>>()?;
            let last_recovery: Option<i64> =
                database.query_row("SELECT max(id) FROM recoveries", [], |row| row.get(0))?;
            let pairs = |sql: &str| -> Sql<Vec<(String, String)>> {
                let mut statement = database.prepare(sql)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            };
            let beliefs = pairs("SELECT key, belief FROM beliefs ORDER BY key")?
                .iter()
                .map(|(key, row)| Ok((parse(key)?, parse(row)?)))
                .collect::<Sql<Vec<_>>>()?;
            let costs = pairs("SELECT unit, cost FROM costs ORDER BY unit")?
                .into_iter()
                .map(|(of, cost)| Ok((CostKey::from(of.as_str()), parse(&cost)?)))
                .collect::<Sql<Vec<_>>>()?;
            let pause = database
                .query_row("SELECT pause FROM pauses", [], |row| {
                    row.get::<_, String>(0)
                })
                .optional()?;
            let mut statement =
                database.prepare("SELECT unit, at, what, kinds FROM versions ORDER BY at, unit")?;
            let versions = statement
                .query_map([], |row| {
                    Ok(NewVersion {
                        unit: UnitName(row.get(0)?),
                        at: time(row.get(1)?),
                        what: row.get(2)?,
                        kinds: parse(&row.get::<_, String>(3)?)?,
                    })
                })?
                .collect::<Sql<Vec<_>>>()?;
            let mut statement = database.prepare("SELECT unit, generation FROM generations")?;
            let generations = statement
                .query_map([], |row| Ok((UnitName(row.get(0)?), uint(row.get(1)?))))?
                .collect::<Sql<_>>()?;
            Ok(Memory {
                unfinished: unfinished.clone(),
                settled: settled.clone(),
                finished: finished.clone(),
                actions,
                last_recovery: last_recovery.map_or(0, uint),
                generations,
                beliefs,
                costs,
                versions,
                pause: optional(pause)?,
                unwritten: None,
            })
        })
    }

    pub(super) fn recoveries(
        &self,
        which: &'static str,
    ) -> Result<Vec<StoredRecovery>, LedgerError> {
        self.read("reading recoveries", |database| {
            let mut statement = database.prepare(&format!(
                "SELECT id, incident, opened_at, by, reason, evidence, state, changed_at,
                     decided, held, given_up
                 FROM recoveries WHERE {which} ORDER BY id"
            ))?;
            let mut of = database.prepare(&format!(
                "{ACTION} FROM actions WHERE recovery = ?1 ORDER BY id"
            ))?;
            let mut plan = database
                .prepare("SELECT id, plan FROM plans WHERE recovery = ?1 ORDER BY id DESC")?;
            let rows = statement.query_map([], |row| {
                let id: i64 = row.get(0)?;
                let incident: Option<i64> = row.get(1)?;
                Ok(StoredRecovery {
                    recovery: RecoveryId(uint(id)),
                    incident: incident.map(uint),
                    opened_at: time(row.get(2)?),
                    by: row.get(3)?,
                    reason: row.get(4)?,
                    evidence: optional(row.get(5)?)?,
                    state: parse(&row.get::<_, String>(6)?)?,
                    since: time(row.get(7)?),
                    decided: row.get(8)?,
                    held: optional(row.get(9)?)?.unwrap_or_default(),
                    given_up: row.get(10)?,
                    actions: of.query_map([id], action)?.collect::<Sql<Vec<_>>>()?,
                    plan: plan.query_row([id], numbered).optional()?,
                })
            })?;
            rows.collect()
        })
    }

    /// Makes the disk full, as far as the database is concerned, or gives it room again.
    #[cfg(test)]
    pub(crate) fn set_full(&self, full: bool) {
        let pages: i64 = if full {
            self.database
                .pragma_query_value(None, "page_count", |row| row.get(0))
                .expect("a count")
        } else {
            i64::from(u32::MAX - 1)
        };
        self.database
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .expect("a limit");
    }
}
