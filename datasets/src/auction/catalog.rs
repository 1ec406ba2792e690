//! What is for sale: `catalog.items` knows the items, `catalog.search` finds them by words,
//! `catalog.categories` by kind. The latter two know numbers only and ask `catalog.items` for what
//! people want to read; `catalog.categories` keeps the answers in `catalog.categories.cache`, since what is for
//! sale doesn't change while the site runs.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::cache::Cache;
use super::container::{Answering, CallContext, Component, Factory, StartError};
use super::message::{Arguments, CallError};
use super::public::Route;
use super::store::Store;
use super::table::{Damage, Table};

pub(super) const ROUTES: &[Route] = &[
    Route::new(Method::GET, "/items/{id}", "catalog.items", "get"),
    Route::new(Method::GET, "/search", "catalog.search", "find"),
    Route::new(Method::GET, "/categories", "catalog.categories", "list"),
    Route::new(
        Method::GET,
        "/categories/{category}",
        "catalog.categories",
        "items",
    ),
];

pub(super) fn components(store: &Store) -> Vec<(&'static str, Factory)> {
    let (items, search, categories) = (store.clone(), store.clone(), store.clone());
    vec![
        ("catalog.items", Arc::new(move || Items::start(&items))),
        ("catalog.search", Arc::new(move || Search::start(&search))),
        (
            "catalog.categories",
            Arc::new(move || Categories::start(&categories)),
        ),
    ]
}

#[derive(Clone)]
struct Item {
    title: Arc<str>,
    description: Arc<str>,
    price_cents: i64,
}

/// All items, by number less one.
struct Items {
    rows: Table<Item>,
    count: usize,
}

impl Items {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let mut query =
            connection.prepare("SELECT title, description, price_cents FROM items ORDER BY id")?;
        let rows = query.query_map([], |row| {
            Ok(Item {
                title: row.get::<_, String>(0)?.into(),
                description: row.get::<_, String>(1)?.into(),
                price_cents: row.get(2)?,
            })
        })?;
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Self {
            count: rows.len(),
            rows: Table::new(rows),
        }))
    }

    fn find(&self, id: usize) -> Result<Item, CallError> {
        if !(1..=self.count).contains(&id) {
            return Err(CallError::NotFound(format!("item {id}")));
        }
        self.rows.get(id - 1)
    }

    fn titles(&self, ids: &str) -> Result<Value, CallError> {
        let mut titles = Vec::new();
        for id in ids.split(',').filter(|id| !id.is_empty()) {
            let id = id
                .parse()
                .map_err(|_| CallError::BadRequest(format!("no item number: {id:?}")))?;
            let item = self.find(id)?;
            titles.push(json!({ "id": id, "title": &*item.title, "cents": item.price_cents }));
        }
        Ok(Value::Array(titles))
    }
}

impl Component for Items {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        _context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "get" => {
                    let item = self.find(arguments.number("id")?)?;
                    Ok(json!({
                        "title": &*item.title,
                        "description": &*item.description,
                        "cents": item.price_cents,
                    }))
                }
                "titles" => self.titles(arguments.text("ids")?),
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.rows.damage(damage);
    }
}

/// Which items have a word in their title or description: an inverted index.
struct Search {
    words: HashMap<String, usize>,
    /// Item numbers, ascending, by the word's number.
    postings: Table<Arc<[u32]>>,
}

impl Search {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let mut query =
            connection.prepare("SELECT id, title, description FROM items ORDER BY id")?;
        let mut rows = query.query([])?;
        let mut words: HashMap<String, usize> = HashMap::new();
        let mut postings: Vec<Vec<u32>> = Vec::new();
        while let Some(row) = rows.next()? {
            let id: u32 = row.get(0)?;
            for text in [row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?] {
                for word in text.split_whitespace() {
                    let number = match words.get(word) {
                        Some(&number) => number,
                        None => {
                            words.insert(word.to_owned(), postings.len());
                            postings.push(Vec::new());
                            postings.len() - 1
                        }
                    };
                    if postings[number].last() != Some(&id) {
                        postings[number].push(id);
                    }
                }
            }
        }
        Ok(Arc::new(Self {
            words,
            postings: Table::new(postings.into_iter().map(Arc::from)),
        }))
    }

    /// The first items that have every word.
    fn find(&self, question: &str, limit: usize) -> Result<Vec<u32>, CallError> {
        let mut lists = Vec::new();
        for word in question.split_whitespace() {
            match self.words.get(&word.to_lowercase()) {
                Some(&number) => lists.push(self.postings.get(number)?),
                None => return Ok(Vec::new()),
            }
        }
        lists.sort_by_key(|list| list.len());
        let Some((shortest, others)) = lists.split_first() else {
            return Ok(Vec::new());
        };
        let in_all = shortest
            .iter()
            .filter(|id| others.iter().all(|list| list.binary_search(id).is_ok()));
        Ok(in_all.take(limit).copied().collect())
    }
}

impl Component for Search {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "find" => {
                    let found = self.find(arguments.text("q")?, context.settings().page_length)?;
                    titles_of(&found, context).await
                }
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.postings.damage(damage);
    }
}

/// Which items are of a kind.
struct Categories {
    names: Table<Arc<str>>,
    count: usize,
    items: Table<Arc<[u32]>>,
    /// What people read of a category's items.
    cache: Cache,
}

impl Categories {
    fn start(store: &Store) -> Result<Arc<dyn Component>, StartError> {
        let connection = store.open()?;
        let mut query = connection.prepare("SELECT name FROM categories ORDER BY id")?;
        let names = query.query_map([], |row| row.get::<_, String>(0))?;
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let mut items = vec![Vec::new(); names.len()];
        // By price, so that a page shows the cheapest first: sorting is part of the start-up work.
        let mut query =
            connection.prepare("SELECT category, id FROM items ORDER BY price_cents, id")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let category: usize = row.get::<_, i64>(0)?.try_into()?;
            let list = items
                .get_mut(category)
                .ok_or_else(|| format!("an item is of unknown category {category}"))?;
            list.push(row.get::<_, u32>(1)?);
        }
        Ok(Arc::new(Self {
            count: names.len(),
            names: Table::new(names.into_iter().map(Arc::from)),
            items: Table::new(items.into_iter().map(Arc::from)),
            cache: Cache::new(),
        }))
    }

    fn list(&self) -> Result<Value, CallError> {
        let names = (0..self.count).map(|id| Ok(json!(&*self.names.get(id)?)));
        Ok(Value::Array(names.collect::<Result<_, CallError>>()?))
    }
}

impl Component for Categories {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            match operation {
                "list" => self.list(),
                "items" => {
                    let category: usize = arguments.number("category")?;
                    if category >= self.count {
                        return Err(CallError::NotFound(format!("category {category}")));
                    }
                    let name = self.names.get(category)?;
                    let items = self.items.get(category)?;
                    let shown = items.len().min(context.settings().page_length);
                    let cached = context.in_part("get", || self.cache.get(category))?;
                    let items = match cached {
                        Some(items) => items,
                        None => {
                            let items = titles_of(&items[..shown], context).await?;
                            self.cache.put(category, items.clone());
                            items
                        }
                    };
                    Ok(json!({ "name": &*name, "items": items }))
                }
                other => Err(CallError::no_operation(other)),
            }
        })
    }

    fn damage(&self, damage: Damage) {
        self.names.damage(damage);
        self.items.damage(damage);
    }

    fn cache(&self) -> Option<&Cache> {
        Some(&self.cache)
    }
}

async fn titles_of(ids: &[u32], context: &CallContext) -> Result<Value, CallError> {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let arguments = Arguments::default().with("ids", ids.join(","));
    context.call("catalog.items", "titles", arguments).await
}
