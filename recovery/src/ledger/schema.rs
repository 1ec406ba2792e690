//! The ledger's tables, and how an older ledger becomes a newer one.
//!
//! Times are nanoseconds since 1970. What only this program reads, and always as a whole, is JSON.

use std::path::Path;

use rusqlite::Connection;

use super::LedgerError;

/// Each entry brings the format from its index to the next. Entries are never changed, only added.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE recoveries (
        id INTEGER PRIMARY KEY,
        incident INTEGER,
        opened_at INTEGER NOT NULL,
        by TEXT NOT NULL,
        reason TEXT NOT NULL,
        evidence TEXT,
        state TEXT NOT NULL,
        changed_at INTEGER NOT NULL,
        is_over INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX unfinished ON recoveries (is_over) WHERE is_over = 0;
    CREATE TABLE events (
        recovery INTEGER NOT NULL REFERENCES recoveries (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        event TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (recovery, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE plans (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        recovery INTEGER NOT NULL REFERENCES recoveries (id) ON DELETE CASCADE,
        plan TEXT NOT NULL
    ) STRICT;
    CREATE INDEX plans_of ON plans (recovery);
    CREATE TABLE actions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        recovery INTEGER NOT NULL REFERENCES recoveries (id) ON DELETE CASCADE,
        attempt INTEGER NOT NULL,
        target TEXT NOT NULL,
        unit TEXT NOT NULL,
        generation INTEGER NOT NULL,
        deadline INTEGER NOT NULL,
        by TEXT NOT NULL,
        reason TEXT NOT NULL,
        plan INTEGER,
        evidence TEXT,
        expected_cost REAL NOT NULL,
        intended_at INTEGER NOT NULL,
        result TEXT,
        verdict TEXT,
        relief TEXT,
        failed_requests REAL,
        judged TEXT
    ) STRICT;
    CREATE INDEX actions_of ON actions (recovery);
    CREATE INDEX actions_at ON actions (intended_at);
    CREATE TABLE generations (unit TEXT PRIMARY KEY, generation INTEGER NOT NULL) STRICT;
    CREATE TABLE beliefs (key TEXT PRIMARY KEY, belief TEXT NOT NULL) STRICT;
    CREATE TABLE costs (unit TEXT PRIMARY KEY, cost TEXT NOT NULL) STRICT;
    CREATE TABLE trials (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT;
    CREATE TABLE pauses (id INTEGER PRIMARY KEY CHECK (id = 1), pause TEXT NOT NULL) STRICT;
",
    "ALTER TABLE actions ADD COLUMN judged_at INTEGER;
     ALTER TABLE recoveries ADD COLUMN decided TEXT",
    "ALTER TABLE recoveries ADD COLUMN held TEXT;
     CREATE TABLE versions (
        unit TEXT NOT NULL,
        at INTEGER NOT NULL,
        what TEXT NOT NULL,
        kinds TEXT NOT NULL,
        PRIMARY KEY (unit, at)
     ) STRICT, WITHOUT ROWID",
    // By how many nanoseconds clocks were set since an action was written, and what they last said.
    "ALTER TABLE actions ADD COLUMN shifted INTEGER NOT NULL DEFAULT 0;
     CREATE TABLE clocks (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        boot TEXT NOT NULL,
        lasted INTEGER NOT NULL,
        wall INTEGER NOT NULL
     ) STRICT",
    "ALTER TABLE actions ADD COLUMN hanging TEXT",
    "ALTER TABLE recoveries ADD COLUMN given_up TEXT",
];

/// Brings the database to the newest format.
pub(super) fn migrate(database: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let error = |source| LedgerError::Open {
        path: path.to_owned(),
        source,
    };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(error)?;
    if found > known {
        return Err(LedgerError::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (version, migration) in (1i64..).zip(MIGRATIONS) {
        if version > found {
            let transaction = database.transaction().map_err(error)?;
            transaction.execute_batch(migration).map_err(error)?;
            transaction
                .pragma_update(None, "user_version", version)
                .map_err(error)?;
            transaction.commit().map_err(error)?;
        }
    }
    Ok(())
}
