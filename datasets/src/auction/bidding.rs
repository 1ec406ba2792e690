//! Who offers how much: `bidding.place` takes bids, `bidding.history` tells what was bid.

use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::ServiceName;
use super::container::{Answering, CallContext, Component, Factory, StartError};
use super::message::{Arguments, CallError};
use super::public::Route;
use super::store::Store;
use super::table::{Damage, Table};
use super::world::money;

pub(super) const ROUTES: &[Route] = &[
    Route::new(Method::GET, "/items/{id}/bids", "bidding.history", "list"),
    Route::new(Method::GET, "/items/{id}/quote", "bidding.place", "quote"),
    Route::new(Method::POST, "/items/{id}/bids", "bidding.place", "place"),
];

pub(super) fn components(store: &Store) -> Vec<(&'static str, Factory)> {
    let (place, history) = (store.clone(), store.clone());
    vec![
        ("bidding.place", Arc::new(move || Place::start(&place))),
        (
            "bidding.history",
            Arc::new(move || History::start(&history)),
        ),
    ]
}

/// A bid must exceed the highest one by this.
const INCREMENT_CENTS: i64 = 10;

/// The highest offer on each item, by number less one: its last bid, or what bidding starts at.
struct Place {
    highest: Table<i64>,
    count: usize,
    connection: Mutex<Connection>,
}

impl Place {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let mut query = connection.prepare("SELECT cents FROM opening ORDER BY item")?;
        let opening = query.query_map([], |row| row.get::<_, i64>(0))?;
        let mut highest = opening.collect::<Result<Vec<_>, _>>()?;
        let mut query = connection.prepare("SELECT item, cents FROM bids ORDER BY id")?;
        let mut bids = query.query([])?;
        while let Some(bid) = bids.next()? {
            let at = bid.get::<_, i64>(0)? - 1;
            let offer = usize::try_from(at).ok().and_then(|at| highest.get_mut(at));
            let offer = offer.ok_or_else(|| format!("a bid is on unknown item {}", at + 1))?;
            *offer = (*offer).max(bid.get(1)?);
        }
        drop(bids);
        drop(query);
        Ok(Arc::new(Self {
            count: highest.len(),
            highest: Table::new(highest),
            connection: Mutex::new(store.open()?),
        }))
    }

    fn index(&self, item: usize) -> Result<usize, CallError> {
        if !(1..=self.count).contains(&item) {
            return Err(CallError::NotFound(format!("item {item}")));
        }
        Ok(item - 1)
    }

    /// The lowest bid that would be taken.
    fn quote(&self, item: usize) -> Result<i64, CallError> {
        Ok(self.highest.get(self.index(item)?)? + INCREMENT_CENTS)
    }

    async fn place(
        &self,
        arguments: &Arguments,
        context: &CallContext,
    ) -> Result<Value, CallError> {
        let item: usize = arguments.number("id")?;
        let user: i64 = arguments.number("user")?;
        let nick = arguments.text("nick")?;
        let cents: i64 = arguments.number("cents")?;
        let asked = Arguments::default().with("id", item);
        let sold = context
            .remote(ServiceName::Catalog, Method::GET, "/items/{id}", asked)
            .await?;
        let least = self.quote(item)?;
        if cents < least {
            let least = money(least);
            return Err(CallError::Refused(format!("bid at least {least}")));
        }
        context.still_alive()?;
        {
            let connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            connection
                .execute(
                    "INSERT INTO bids (item, user, nick, cents) VALUES (?1, ?2, ?3, ?4)",
                    params![item as i64, user, nick, cents],
                )
                .map_err(|error| CallError::store(&error))?;
        }
        self.highest.update(self.index(item)?, |highest| {
            *highest = (*highest).max(cents)
        })?;
        let told = Arguments::default()
            .with("id", item)
            .with("nick", nick)
            .with("cents", cents);
        context.call("bidding.history", "append", told).await?;
        Ok(json!({ "title": sold["title"], "cents": cents }))
    }
}

impl Component for Place {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "quote" => Ok(json!({ "cents": self.quote(arguments.number("id")?)? })),
                "place" => self.place(arguments, context).await,
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.highest.damage(damage);
    }
}

#[derive(Clone)]
struct Bid {
    nick: Arc<str>,
    cents: i64,
}

/// The bids on each item, by number less one, oldest first.
struct History {
    bids: Table<Vec<Bid>>,
    count: usize,
}

impl History {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let count: i64 =
            connection.query_row("SELECT count(*) FROM opening", [], |row| row.get(0))?;
        let count = usize::try_from(count)?;
        let mut bids = vec![Vec::new(); count];
        let mut query = connection.prepare("SELECT item, nick, cents FROM bids ORDER BY id")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let at = row.get::<_, i64>(0)? - 1;
            let list = usize::try_from(at).ok().and_then(|at| bids.get_mut(at));
            let list: &mut Vec<Bid> =
                list.ok_or_else(|| format!("a bid is on unknown item {}", at + 1))?;
            list.push(Bid {
                nick: row.get::<_, String>(1)?.into(),
                cents: row.get(2)?,
            });
        }
        Ok(Arc::new(Self {
            bids: Table::new(bids),
            count,
        }))
    }

    fn index(&self, arguments: &Arguments) -> Result<usize, CallError> {
        let item: usize = arguments.number("id")?;
        if !(1..=self.count).contains(&item) {
            return Err(CallError::NotFound(format!("item {item}")));
        }
        Ok(item - 1)
    }

    /// The newest bids.
    fn list(&self, arguments: &Arguments, limit: usize) -> Result<Value, CallError> {
        let bids = self.bids.get(self.index(arguments)?)?;
        let newest = bids.iter().rev().take(limit);
        let newest = newest.map(|bid| json!({ "nick": &*bid.nick, "cents": bid.cents }));
        Ok(Value::Array(newest.collect()))
    }

    fn append(&self, arguments: &Arguments) -> Result<Value, CallError> {
        let bid = Bid {
            nick: arguments.text("nick")?.into(),
            cents: arguments.number("cents")?,
        };
        self.bids
            .update(self.index(arguments)?, |bids| bids.push(bid))?;
        Ok(Value::Null)
    }
}

impl Component for History {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "list" => self.list(arguments, context.settings().page_length),
                "append" => self.append(arguments),
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.bids.damage(damage);
    }
}
