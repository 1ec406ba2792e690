//! What does an entry write? Within a transaction of its caller's, so that it is there whole or not at all.

use rusqlite::{OptionalExtension, Transaction, params};

use super::LedgerError;
use super::columns::{Sql, int, json, nanos, parse, uint};
use super::rows::{Also, Entry, Judged};
use crate::lifecycle::{State, next};
use crate::plan::{Plan, PlanId};
use crate::service::RecoveryId;

/// Recoveries that are kept; with about 4 KiB each the ledger stays below 400 MB. One recovery a
/// minute fills it in ten weeks, one an hour in eleven years.
const MAX_RECOVERIES: i64 = 100_000;

/// Versions of a unit that are kept: of what was learned before so many, nothing is left.
const MAX_VERSIONS: i64 = 8;

/// What a transaction can fail with.
pub(super) enum Failure {
    Sql(rusqlite::Error),
    Ledger(LedgerError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

pub(super) fn append(transaction: &Transaction<'_>, entry: &Entry) -> Result<(), Failure> {
    let id = int(entry.recovery.0);
    let known: Option<String> = transaction
        .query_row("SELECT state FROM recoveries WHERE id = ?1", [id], |row| {
            row.get(0)
        })
        .optional()?;
    let evidence = entry.evidence.as_ref().map(json).transpose()?;
    if known.is_none() {
        transaction.execute(
            "INSERT INTO recoveries VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?3, 0, NULL, NULL, NULL)",
            params![
                id,
                entry.incident.map(int),
                nanos(entry.opened_at),
                entry.by,
                entry.reason,
                json(&State::Watching)?,
            ],
        )?;
        transaction.execute(
            "DELETE FROM recoveries WHERE id <= ?1 AND is_over = 1",
            [id.saturating_sub(MAX_RECOVERIES)],
        )?;
    }
    let mut state = known
        .as_deref()
        .map(parse)
        .transpose()?
        .unwrap_or(State::Watching);
    let mut seq: i64 = transaction.query_row(
        "SELECT coalesce(max(seq), 0) FROM events WHERE recovery = ?1",
        [id],
        |row| row.get(0),
    )?;
    for (at, event) in &entry.events {
        let recovery = entry.recovery;
        state = next(state, *event).map_err(|source| LedgerError::Illegal { recovery, source })?;
        seq += 1;
        transaction.execute(
            "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id, seq, nanos(*at), json(event)?, json(&state)?,],
        )?;
    }
    let changed_at = entry.events.last().map(|(at, _)| nanos(*at));
    transaction.execute(
        "UPDATE recoveries SET evidence = coalesce(?2, evidence), state = ?3, is_over = ?4,
             changed_at = coalesce(?5, changed_at), decided = ?6, held = ?7, given_up = ?8
             WHERE id = ?1",
        params![
            id,
            evidence,
            json(&state)?,
            state.is_over(),
            changed_at,
            entry.decided,
            json(&entry.held)?,
            entry.given_up,
        ],
    )?;
    for also in &entry.also {
        write_also(transaction, entry.recovery, also)?;
    }
    Ok(())
}

pub(super) fn write_also(
    transaction: &Transaction<'_>,
    recovery: RecoveryId,
    also: &Also,
) -> Sql<()> {
    match also {
        Also::Result(action, outcome) => {
            transaction.execute(
                "UPDATE actions SET result = ?2 WHERE id = ?1",
                params![int(action.0), json(outcome)?],
            )?;
        }
        Also::NotBegun(units) => {
            for (unit, before) in units {
                // Written twice it is the same.
                transaction.execute(
                    "UPDATE generations SET generation = ?2
                     WHERE unit = ?1 AND generation = ?2 + 1",
                    params![unit.as_str(), int(*before)],
                )?;
            }
        }
        Also::Verdict(judged) => write_verdict(transaction, recovery, judged)?,
        Also::Learned(rows) => {
            for (key, row) in rows {
                match row {
                    Some(row) => transaction.execute(
                        "INSERT OR REPLACE INTO beliefs VALUES (?1, ?2)",
                        params![json(key)?, json(row)?],
                    )?,
                    None => {
                        transaction.execute("DELETE FROM beliefs WHERE key = ?1", [json(key)?])?
                    }
                };
            }
        }
        Also::Measured(rows) => {
            for (of, measured) in rows {
                transaction.execute(
                    "INSERT OR REPLACE INTO costs VALUES (?1, ?2)",
                    params![of.to_string(), json(measured)?],
                )?;
            }
        }
        Also::Version(version) => {
            let unit = version.unit.as_str();
            transaction.execute(
                "INSERT OR REPLACE INTO versions VALUES (?1, ?2, ?3, ?4)",
                params![unit, nanos(version.at), version.what, json(&version.kinds)?],
            )?;
            transaction.execute(
                "DELETE FROM versions WHERE unit = ?1 AND at NOT IN
                     (SELECT at FROM versions WHERE unit = ?1 ORDER BY at DESC LIMIT ?2)",
                params![unit, MAX_VERSIONS],
            )?;
        }
    }
    Ok(())
}

pub(super) fn write_plan(
    transaction: &Transaction<'_>,
    recovery: RecoveryId,
    plan: &Plan,
) -> Sql<PlanId> {
    transaction.execute(
        "INSERT INTO plans (recovery, plan) VALUES (?1, ?2)",
        params![int(recovery.0), json(plan)?],
    )?;
    Ok(PlanId(uint(transaction.last_insert_rowid())))
}

pub(super) fn write_verdict(
    transaction: &Transaction<'_>,
    recovery: RecoveryId,
    judged: &Judged,
) -> Sql<()> {
    transaction.execute(
        "UPDATE actions SET verdict = ?3, relief = ?4, judged = ?5, judged_at = ?6
         WHERE recovery = ?1 AND attempt = ?2",
        params![
            int(recovery.0),
            judged.attempt,
            json(&judged.verdict)?,
            judged.relief.as_ref().map(json).transpose()?,
            judged.words,
            nanos(judged.at),
        ],
    )?;
    // What an attempt cost is written once, beside what it was expected to cost.
    transaction.execute(
        "UPDATE actions SET failed_requests = ?3 WHERE id =
             (SELECT min(id) FROM actions WHERE recovery = ?1 AND attempt = ?2)",
        params![int(recovery.0), judged.attempt, judged.failed_requests],
    )?;
    Ok(())
}
