//! Who is logged in: `sessions.store`. Written through to its file, so that neither a microreboot
//! nor the process's restart logs anybody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::container::{Answering, CallContext, Component, Factory, StartError};
use super::message::{Arguments, CallError};
use super::public::Route;
use super::store::Store;
use super::table::{Damage, Table};

pub(super) const ROUTES: &[Route] = &[
    Route::new(Method::POST, "/sessions", "sessions.store", "create"),
    Route::new(Method::GET, "/sessions/{session}", "sessions.store", "get"),
    Route::new(
        Method::DELETE,
        "/sessions/{session}",
        "sessions.store",
        "delete",
    ),
];

pub(super) fn components(store: &Store) -> Vec<(&'static str, Factory)> {
    let store = store.clone();
    vec![("sessions.store", Arc::new(move || Sessions::start(&store)))]
}

/// Sessions that are kept; at each start the oldest beyond it are forgotten.
const MAX_SESSIONS: i64 = 50_000;

#[derive(Clone)]
struct Session {
    user: i64,
    nick: Arc<str>,
}

struct Sessions {
    index: Mutex<HashMap<String, usize>>,
    rows: Table<Session>,
    connection: Mutex<Connection>,
}

impl Sessions {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        connection.execute(
            "DELETE FROM sessions WHERE token IN
             (SELECT token FROM sessions ORDER BY created DESC LIMIT -1 OFFSET ?1)",
            [MAX_SESSIONS],
        )?;
        let mut index = HashMap::new();
        let mut sessions = Vec::new();
        {
            let mut query = connection.prepare("SELECT token, user, nick FROM sessions")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                index.insert(row.get::<_, String>(0)?, sessions.len());
                sessions.push(Session {
                    user: row.get(1)?,
                    nick: row.get::<_, String>(2)?.into(),
                });
            }
        }
        Ok(Arc::new(Self {
            index: Mutex::new(index),
            rows: Table::new(sessions),
            connection: Mutex::new(connection),
        }))
    }

    fn create(&self, arguments: &Arguments, context: &CallContext) -> Result<Value, CallError> {
        let user: i64 = arguments.number("user")?;
        let nick = arguments.text("nick")?;
        let token = format!("{:032x}", rand::random::<u128>());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_millis() as i64);
        context.still_alive()?;
        self.write(
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4)",
            params![token, user, nick, now],
        )?;
        let row = self.rows.push(Session {
            user,
            nick: nick.into(),
        });
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.insert(token.clone(), row);
        Ok(json!({ "session": token }))
    }

    fn get(&self, token: &str) -> Result<Value, CallError> {
        let row = {
            let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.get(token).copied()
        };
        let row = row.ok_or_else(|| CallError::NotFound("session".to_owned()))?;
        let session = self.rows.get(row)?;
        Ok(json!({ "user": session.user, "nick": &*session.nick }))
    }

    /// The row stays until the next start; the index is what makes it a session.
    fn delete(&self, token: &str, context: &CallContext) -> Result<Value, CallError> {
        self.get(token)?;
        context.still_alive()?;
        self.write("DELETE FROM sessions WHERE token = ?1", params![token])?;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.remove(token);
        Ok(Value::Null)
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), CallError> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connection
            .execute(sql, values)
            .map_err(|error| CallError::store(&error))?;
        Ok(())
    }
}

impl Component for Sessions {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "create" => self.create(arguments, context),
                "get" => self.get(arguments.text("session")?),
                "delete" => self.delete(arguments.text("session")?, context),
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.rows.damage(damage);
    }
}
