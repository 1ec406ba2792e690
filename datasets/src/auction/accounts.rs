//! Who may bid: `accounts.users` knows the users, `accounts.auth` whether someone is who they say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::container::{Answering, CallContext, Component, Factory, StartError};
use super::message::{Arguments, CallError};
use super::public::Route;
use super::store::Store;
use super::table::{Damage, Table};
use super::world::finalize;

pub(super) const ROUTES: &[Route] = &[
    Route::new(Method::GET, "/users/{user}", "accounts.users", "get"),
    Route::new(Method::POST, "/users", "accounts.users", "register"),
    Route::new(Method::GET, "/verify", "accounts.auth", "verify"),
];

pub(super) fn components(store: &Store) -> Vec<(&'static str, Factory)> {
    let (users, auth) = (store.clone(), store.clone());
    vec![
        ("accounts.users", Arc::new(move || Users::start(&users))),
        ("accounts.auth", Arc::new(move || Auth::start(&auth))),
    ]
}

/// Rounds of mixing per password: work, not protection; a testbed has no secrets.
const DIGEST_ROUNDS: u32 = 16;

/// What is stored of a password.
pub(super) fn digest(nick: &str, password: &str) -> i64 {
    let mut state = 0_u64;
    for byte in nick.bytes().chain([0]).chain(password.bytes()) {
        state = finalize(state ^ u64::from(byte));
    }
    for _ in 0..DIGEST_ROUNDS {
        state = finalize(state);
    }
    // Half of it: SQLite's integers have a sign.
    (state >> 1) as i64
}

/// All nicknames, by the user's number.
struct Users {
    index: Mutex<HashMap<i64, usize>>,
    nicks: Table<Arc<str>>,
    connection: Mutex<Connection>,
}

impl Users {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let mut index = HashMap::new();
        let mut nicks = Vec::new();
        {
            let mut query = connection.prepare("SELECT id, nick FROM users ORDER BY id")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                index.insert(row.get::<_, i64>(0)?, nicks.len());
                nicks.push(Arc::from(row.get::<_, String>(1)?));
            }
        }
        Ok(Arc::new(Self {
            index: Mutex::new(index),
            nicks: Table::new(nicks),
            connection: Mutex::new(connection),
        }))
    }

    fn get(&self, user: i64) -> Result<Value, CallError> {
        let number = {
            let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.get(&user).copied()
        };
        let number = number.ok_or_else(|| CallError::NotFound(format!("user {user}")))?;
        Ok(json!({ "user": user, "nick": &*self.nicks.get(number)? }))
    }

    fn register(&self, arguments: &Arguments, context: &CallContext) -> Result<Value, CallError> {
        let nick = arguments.text("nick")?;
        let digest = digest(nick, arguments.text("password")?);
        context.still_alive()?;
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let added = connection
            .execute(
                "INSERT OR IGNORE INTO users (nick, digest) VALUES (?1, ?2)",
                params![nick, digest],
            )
            .map_err(|error| CallError::store(&error))?;
        if added == 0 {
            return Err(CallError::Refused(format!("nickname {nick} is taken")));
        }
        let user = connection.last_insert_rowid();
        let number = self.nicks.push(Arc::from(nick));
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.insert(user, number);
        Ok(json!({ "user": user, "nick": nick }))
    }
}

impl Component for Users {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "get" => self.get(arguments.number("user")?),
                "register" => self.register(arguments, context),
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.nicks.damage(damage);
    }
}

/// What is stored of everybody's password, and whose it is.
struct Auth {
    index: Mutex<HashMap<String, usize>>,
    digests: Table<i64>,
    owners: Table<i64>,
    connection: Mutex<Connection>,
}

impl Auth {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let mut index = HashMap::new();
        let mut digests = Vec::new();
        let mut owners = Vec::new();
        {
            let mut query = connection.prepare("SELECT id, nick, digest FROM users ORDER BY id")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                index.insert(row.get::<_, String>(1)?, owners.len());
                owners.push(row.get::<_, i64>(0)?);
                digests.push(row.get::<_, i64>(2)?);
            }
        }
        Ok(Arc::new(Self {
            index: Mutex::new(index),
            digests: Table::new(digests),
            owners: Table::new(owners),
            connection: Mutex::new(connection),
        }))
    }

    /// The row of a nickname; users who registered since the start are looked up in the store.
    fn row(&self, nick: &str) -> Result<Option<usize>, CallError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&row) = index.get(nick) {
            return Ok(Some(row));
        }
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stored = connection
            .query_row(
                "SELECT id, digest FROM users WHERE nick = ?1",
                [nick],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()
            .map_err(|error| CallError::store(&error))?;
        Ok(stored.map(|(owner, digest)| {
            let row = self.owners.push(owner);
            self.digests.push(digest);
            index.insert(nick.to_owned(), row);
            row
        }))
    }

    fn verify(&self, nick: &str, password: &str) -> Result<i64, CallError> {
        let refused = || CallError::Refused("wrong nickname or password".to_owned());
        let row = self.row(nick)?.ok_or_else(refused)?;
        if self.digests.get(row)? != digest(nick, password) {
            return Err(refused());
        }
        self.owners.get(row)
    }
}

impl Component for Auth {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "verify" => {
                    let user = self.verify(arguments.text("nick")?, arguments.text("password")?)?;
                    let asked = Arguments::default().with("user", user);
                    context.call("accounts.users", "get", asked).await
                }
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    /// Mixed-up credentials would only be refused; to answer wrongly is to take one user for
    /// another.
    fn damage(&self, damage: Damage) {
        self.owners.damage(damage);
        if damage == Damage::Lost {
            self.digests.damage(damage);
        }
    }
}
