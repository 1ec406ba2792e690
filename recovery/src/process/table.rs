//! Where are children written down, so that an engine that was killed finds them again?
//!
//! One SQLite file of its own, apart from the ledger: the supervisor works without a ledger (for
//! `rekindle down`), and neither waits for the other's writes. Each write is synced before it
//! returns, since what it announces happens right after.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::phase::Phase;
use crate::UnitName;

/// The layout's version, kept in SQLite's `user_version`.
const LAYOUT: i64 = 1;

/// How long a write waits for another process that looks into the file.
const BUSY: Duration = Duration::from_secs(5);

/// A failure of the table of children.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// SQLite's.
    #[error("failed to {deed} the table of children {}", path.display())]
    Sqlite {
        /// What was tried.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by another version, or by something else.
    #[error("the table of children {} can't be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is written down about one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Whether it shall run.
    pub wanted: bool,
    /// Where it is.
    pub phase: Phase,
    /// The last action that restarted it, or began to.
    pub action: Option<u64>,
    /// How often it ended by itself.
    pub exits: u64,
    /// Since when it is in this phase, in nanoseconds since 1970.
    pub since_unix_nanos: u64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            wanted: false,
            phase: Phase::Never,
            action: None,
            exits: 0,
            since_unix_nanos: 0,
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    connection: Mutex<Connection>,
    state_id: String,
}

/// The id of the state directory, where it has one.
fn state_id(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = 'state_id'", [], |row| {
            row.get(0)
        })
        .optional()
}

fn lay_out(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS children (
             unit TEXT PRIMARY KEY,
             wanted INTEGER NOT NULL,
             phase TEXT NOT NULL,
             action INTEGER,
             exits INTEGER NOT NULL,
             since_unix_nanos INTEGER NOT NULL
         ) STRICT;
         PRAGMA user_version = {LAYOUT};
         COMMIT;"
    ))
}

impl Table {
    /// Opens or makes `children.sqlite`. `fresh_state_id` becomes the directory's id if it has
    /// none yet.
    pub(super) fn open(directory: &Path, fresh_state_id: &str) -> Result<Self, TableError> {
        let path = directory.join("children.sqlite");
        let failed = |deed: &'static str| {
            let path = path.clone();
            move |source| TableError::Sqlite { deed, path, source }
        };
        let connection = Connection::open(&path).map_err(failed("open"))?;
        connection.busy_timeout(BUSY).map_err(failed("open"))?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .map_err(failed("open"))?;
        let layout: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed("read"))?;
        if layout > LAYOUT {
            return Err(TableError::Unreadable {
                reason: format!("it has layout {layout}, and this version knows up to {LAYOUT}"),
                path,
            });
        }
        // What is laid out already is only read: it must be found on a full disk, too.
        let known = match layout == LAYOUT {
            true => state_id(&connection).map_err(failed("read"))?,
            false => None,
        };
        let state_id = match known {
            Some(known) => known,
            None => {
                lay_out(&connection).map_err(failed("lay out"))?;
                connection
                    .execute(
                        "INSERT INTO meta (key, value) VALUES ('state_id', ?1) ON CONFLICT DO NOTHING",
                        [fresh_state_id],
                    )
                    .map_err(failed("write to"))?;
                let kept = state_id(&connection).map_err(failed("read"))?;
                kept.unwrap_or_else(|| fresh_state_id.to_owned())
            }
        };
        Ok(Self {
            path,
            connection: Mutex::new(connection),
            state_id,
        })
    }

    /// The id of the state directory, which children carry.
    pub(super) fn state_id(&self) -> &str {
        &self.state_id
    }

    /// All that is written down.
    pub(super) fn rows(&self) -> Result<Vec<(UnitName, Row)>, TableError> {
        let failed = |source| self.failed("read", source);
        let connection = self.lock();
        let mut statement = connection
            .prepare("SELECT unit, wanted, phase, action, exits, since_unix_nanos FROM children ORDER BY unit")
            .map_err(failed)?;
        let raw = statement
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, bool>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Option<i64>>(3)?,
                    row.get::<_, i64>(4)?,
                    row.get::<_, i64>(5)?,
                ))
            })
            .map_err(failed)?;
        let mut rows = Vec::new();
        for row in raw {
            let (unit, wanted, phase, action, exits, since) = row.map_err(failed)?;
            let phase = serde_json::from_str(&phase).map_err(|error| TableError::Unreadable {
                path: self.path.clone(),
                reason: format!("the phase of {unit} is {phase:?}: {error}"),
            })?;
            rows.push((
                UnitName(unit),
                Row {
                    wanted,
                    phase,
                    action: action.map(i64::cast_unsigned),
                    exits: exits.cast_unsigned(),
                    since_unix_nanos: since.cast_unsigned(),
                },
            ));
        }
        Ok(rows)
    }

    /// Writes one unit's row and returns once it is on disk.
    pub(super) fn save(&self, unit: &UnitName, row: &Row) -> Result<(), TableError> {
        let phase = serde_json::to_string(&row.phase).map_err(|error| TableError::Unreadable {
            path: self.path.clone(),
            reason: format!("the phase of {unit} can't be written: {error}"),
        })?;
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO children (unit, wanted, phase, action, exits, since_unix_nanos)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    unit.as_str(),
                    row.wanted,
                    phase,
                    row.action.map(u64::cast_signed),
                    row.exits.cast_signed(),
                    row.since_unix_nanos.cast_signed()
                ],
            )
            .map(drop)
            .map_err(|source| self.failed("write to", source))
    }

    /// Forgets a unit that nobody configures any more and of which nothing lives.
    pub(super) fn forget(&self, unit: &UnitName) -> Result<(), TableError> {
        self.lock()
            .execute("DELETE FROM children WHERE unit = ?1", [unit.as_str()])
            .optional()
            .map(drop)
            .map_err(|source| self.failed("write to", source))
    }

    /// From now on, what a full disk does to every write.
    #[cfg(test)]
    pub(super) fn refuse_writes(&self) -> rusqlite::Result<()> {
        self.lock().execute_batch("PRAGMA query_only = ON")
    }

    fn failed(&self, deed: &'static str, source: rusqlite::Error) -> TableError {
        TableError::Sqlite {
            deed,
            path: self.path.clone(),
            source,
        }
    }

    /// A panic while the lock was held leaves SQLite's connection whole, so the poison is no news.
    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_the_directory_s_id_survive_reopening() {
        let directory = tempfile::tempdir().expect("a directory");
        let row = Row {
            wanted: true,
            phase: Phase::Stopping {
                generation: 3,
                child: None,
                next: Some(4),
            },
            action: Some(u64::MAX),
            exits: 2,
            since_unix_nanos: 1_700_000_000_000_000_000,
        };
        let unit = UnitName::from("web");
        {
            let table = Table::open(directory.path(), "first").expect("opens");
            table.save(&unit, &Row::default()).expect("saves");
            table.save(&unit, &row).expect("saves over");
            table.save(&"gone".into(), &row).expect("saves");
            table.forget(&"gone".into()).expect("forgets");
        }
        let table = Table::open(directory.path(), "second").expect("opens again");
        assert_eq!(table.state_id(), "first");
        assert_eq!(table.rows().expect("reads"), vec![(unit, row)]);
    }

    #[test]
    fn a_table_of_a_later_version_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(Table::open(directory.path(), "id").expect("opens"));
        Connection::open(directory.path().join("children.sqlite"))
            .and_then(|connection| connection.execute_batch("PRAGMA user_version = 99"))
            .expect("raises the version");
        let error = Table::open(directory.path(), "id").expect_err("refused");
        assert!(error.to_string().contains("layout 99"), "{error}");
    }
}
