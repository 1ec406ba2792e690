//! The state that must survive: one SQLite file per process, made from the seed at the first start.
//!
//! Crash-only: there is no shutdown to get right. A file is filled in one transaction, which also
//! writes down what it was filled from, so a process killed in the middle starts over, and a folder
//! made by another seed is refused instead of mixed up. Sessions survive as well: they are written
//! through, so a microreboot of the session store logs nobody out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::ServiceName;
use super::world::{CATEGORIES, World, finalize};

/// How long a statement waits for another connection's write before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// Languages of the front's pages.
pub(crate) const LANGUAGES: u32 = 24;

/// Phrases per language: what the front loads and compiles when it starts.
pub(crate) const PHRASES: u32 = 500;

/// Why a store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder can't be made.
    #[error("make folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// SQLite says no.
    #[error("use database {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The file was made from another seed or scale.
    #[error("database {path} was made for {found}, not for {wanted}")]
    OtherWorld {
        /// The file.
        path: PathBuf,
        /// What it was made from.
        found: String,
        /// What it should have been made from.
        wanted: String,
    },
}

/// The database file of one service.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    path: PathBuf,
}

impl Store {
    /// Makes the file if it isn't there yet.
    pub(crate) fn prepare(
        folder: &Path,
        service: ServiceName,
        world: &World,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let store = Self {
            path: folder.join(format!("{service}.db")),
        };
        let failed = |source| StoreError::Database {
            path: store.path.clone(),
            source,
        };
        let mut connection = store.open().map_err(failed)?;
        connection
            .pragma_update(None, "journal_mode", "wal")
            .map_err(failed)?;
        let wanted = format!("seed {}, {:?}", world.seed, world.scale);
        match made_for(&connection).map_err(failed)? {
            Some(found) if found != wanted => Err(StoreError::OtherWorld {
                path: store.path,
                found,
                wanted,
            }),
            Some(_) => Ok(store),
            None => {
                fill(&mut connection, service, world, &wanted).map_err(failed)?;
                Ok(store)
            }
        }
    }

    /// A connection of one's own. Every life of a component opens a new one.
    pub(crate) fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // A process crash loses nothing; a power cut may lose the last bids of a testbed.
        connection.pragma_update(None, "synchronous", "normal")?;
        Ok(connection)
    }
}

fn made_for(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let exists: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'made_for'",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(None);
    }
    connection
        .query_row("SELECT world FROM made_for", [], |row| row.get(0))
        .optional()
}

fn fill(
    connection: &mut Connection,
    service: ServiceName,
    world: &World,
    wanted: &str,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE made_for (world TEXT NOT NULL)")?;
    match service {
        ServiceName::Web => fill_web(&transaction, world)?,
        ServiceName::Catalog => fill_catalog(&transaction, world)?,
        ServiceName::Bidding => fill_bidding(&transaction, world)?,
        ServiceName::Accounts => fill_accounts(&transaction, world)?,
        ServiceName::Sessions => fill_sessions(&transaction, world)?,
    }
    transaction.execute("INSERT INTO made_for VALUES (?1)", [wanted])?;
    transaction.commit()
}

fn fill_web(connection: &Connection, world: &World) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE phrases (language INTEGER, number INTEGER, text TEXT NOT NULL,
                               PRIMARY KEY (language, number)) WITHOUT ROWID",
    )?;
    let mut insert = connection.prepare("INSERT INTO phrases VALUES (?1, ?2, ?3)")?;
    for language in 0..LANGUAGES {
        for number in 0..PHRASES {
            let draw = finalize(world.seed ^ u64::from(language * PHRASES + number));
            let text = format!("{draw:016x} {{who}} {:08x} {{what}}", draw >> 32);
            insert.execute(params![language, number, text])?;
        }
    }
    Ok(())
}

fn fill_catalog(connection: &Connection, world: &World) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE items (id INTEGER PRIMARY KEY, category INTEGER NOT NULL, title TEXT NOT NULL,
                             description TEXT NOT NULL, price_cents INTEGER NOT NULL)",
    )?;
    let mut insert = connection.prepare("INSERT INTO categories VALUES (?1, ?2)")?;
    for (id, name) in CATEGORIES.iter().enumerate() {
        insert.execute(params![id as i64, name])?;
    }
    let mut insert = connection.prepare("INSERT INTO items VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for item in 1..=world.scale.items {
        insert.execute(params![
            item,
            world.category(item) as i64,
            world.title(item),
            world.description(item),
            world.price_cents(item),
        ])?;
    }
    Ok(())
}

fn fill_bidding(connection: &Connection, world: &World) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE opening (item INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
         CREATE TABLE bids (id INTEGER PRIMARY KEY, item INTEGER NOT NULL, user INTEGER NOT NULL,
                            nick TEXT NOT NULL, cents INTEGER NOT NULL)",
    )?;
    let mut insert = connection.prepare("INSERT INTO opening VALUES (?1, ?2)")?;
    for item in 1..=world.scale.items {
        insert.execute(params![item, world.price_cents(item)])?;
    }
    let mut insert =
        connection.prepare("INSERT INTO bids (item, user, nick, cents) VALUES (?1, ?2, ?3, ?4)")?;
    for index in 0..world.scale.bids {
        let bid = world.bid(index);
        insert.execute(params![bid.item, bid.user, world.nick(bid.user), bid.cents])?;
    }
    Ok(())
}

fn fill_accounts(connection: &Connection, world: &World) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, nick TEXT NOT NULL UNIQUE,
                             digest INTEGER NOT NULL)",
    )?;
    let mut insert = connection.prepare("INSERT INTO users VALUES (?1, ?2, ?3)")?;
    for user in 1..=world.scale.users {
        let nick = world.nick(user);
        let digest = super::accounts::digest(&nick, &world.password(user));
        insert.execute(params![user, nick, digest])?;
    }
    Ok(())
}

fn fill_sessions(connection: &Connection, world: &World) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE sessions (token TEXT PRIMARY KEY, user INTEGER NOT NULL, nick TEXT NOT NULL,
                                created INTEGER NOT NULL) WITHOUT ROWID",
    )?;
    let mut insert = connection.prepare("INSERT INTO sessions VALUES (?1, ?2, ?3, 0)")?;
    for user in 1..=world.seed_sessions() {
        insert.execute(params![world.session(user), user, world.nick(user)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auction::world::Scale;

    #[test]
    fn a_folder_of_another_seed_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let scale = Scale {
            items: 30,
            bids: 10,
            users: 5,
        };
        let world = World { seed: 1, scale };
        for service in ServiceName::ALL {
            Store::prepare(folder.path(), service, &world).expect("made");
            Store::prepare(folder.path(), service, &world).expect("found again");
        }
        let other = World { seed: 2, scale };
        let error =
            Store::prepare(folder.path(), ServiceName::Catalog, &other).expect_err("another seed");
        assert!(error.to_string().contains("was made for seed 1"), "{error}");
    }
}
