//! What users see: `web.browse`, `web.bid` and `web.account`. They own pages in many languages,
//! nothing else; what is on the pages they ask for.

mod pages;

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::ServiceName::{Accounts, Bidding, Catalog, Sessions};
use super::container::{Answering, CallContext, Component, Factory, StartError};
use super::message::{Arguments, CallError};
use super::public::Route;
use super::store::Store;
use super::table::Damage;
use super::world::money;
use pages::{Page, Pages};

pub(super) const ROUTES: &[Route] = &[
    Route::new(Method::GET, "/", "web.browse", "home"),
    Route::new(Method::GET, "/browse/{category}", "web.browse", "category"),
    Route::new(Method::GET, "/search", "web.browse", "search"),
    Route::new(Method::GET, "/items/{id}", "web.browse", "item"),
    Route::new(Method::GET, "/items/{id}/bids", "web.bid", "history"),
    Route::new(Method::GET, "/items/{id}/quote", "web.bid", "quote"),
    Route::new(Method::POST, "/items/{id}/bids", "web.bid", "place"),
    Route::new(Method::POST, "/register", "web.account", "register"),
    Route::new(Method::POST, "/login", "web.account", "login"),
    Route::new(Method::GET, "/login/check", "web.account", "check"),
    Route::new(Method::GET, "/account", "web.account", "show"),
    Route::new(Method::POST, "/logout", "web.account", "logout"),
];

const BROWSE_PAGES: &[(Page, &str)] = &[
    (Page::Home, "<h1>Auctions</h1><ul>{&rows}</ul>"),
    (Page::Category, "<h1>{name}</h1><ol>{&rows}</ol>"),
    (Page::Search, "<h1>Found for {q}</h1><ol>{&rows}</ol>"),
    (
        Page::Item,
        "<h1>{title}</h1><p>{description}</p><p>starts at {price}</p>",
    ),
];

const BID_PAGES: &[(Page, &str)] = &[
    (Page::History, "<h1>Bids on item {id}</h1><ol>{&rows}</ol>"),
    (
        Page::Quote,
        "<h1>Bid on item {id}</h1><p>at least {price}</p>",
    ),
    (
        Page::Placed,
        "<h1>Thank you, {nick}</h1><p>you bid {price} for {title}</p>",
    ),
];

const ACCOUNT_PAGES: &[(Page, &str)] = &[
    (
        Page::Welcome,
        "<h1>Welcome, {nick}</h1><p data-session=\"{session}\">you are logged in</p>",
    ),
    (Page::Checked, "<h1>Yes, {nick}</h1>"),
    (Page::Account, "<h1>Account of {nick}</h1>"),
    (Page::Bye, "<h1>Good bye</h1>"),
];

pub(super) fn components(store: &Store) -> Vec<(&'static str, Factory)> {
    type Asked = for<'a> fn(&'a Asking<'a>) -> Answering<'a>;
    let front = |pages: &'static [(Page, &'static str)], ask: Asked| -> Factory {
        let store = store.clone();
        Arc::new(move || -> Result<Arc<dyn Component>, StartError> {
            let pages = Pages::load(&store, pages)?;
            Ok(Arc::new(Front { pages, ask }))
        })
    };
    vec![
        (
            "web.browse",
            front(BROWSE_PAGES, |asking| Box::pin(browse(asking))),
        ),
        ("web.bid", front(BID_PAGES, |asking| Box::pin(bid(asking)))),
        (
            "web.account",
            front(ACCOUNT_PAGES, |asking| Box::pin(account(asking))),
        ),
    ]
}

/// A component of the front: its pages, and what it does.
struct Front {
    pages: Pages,
    ask: for<'a> fn(&'a Asking<'a>) -> Answering<'a>,
}

/// One call of a front component.
struct Asking<'a> {
    pages: &'a Pages,
    operation: &'a str,
    arguments: &'a Arguments,
    context: &'a CallContext,
}

impl Component for Front {
    fn call<'a>(
        &'a self,
        operation: &'a str,
        arguments: &'a Arguments,
        context: &'a CallContext,
    ) -> Answering<'a> {
        Box::pin(async move {
            let asking = Asking {
                pages: &self.pages,
                operation,
                arguments,
                context,
            };
            (self.ask)(&asking).await
        })
    }

    fn damage(&self, damage: Damage) {
        self.pages.damage(damage);
    }
}

impl Asking<'_> {
    /// The page with its holes filled, in the language asked for.
    fn page(&self, page: Page, holes: &[(&str, &str)]) -> Result<Value, CallError> {
        let language = match self.arguments.find("lang") {
            Some(_) => self.arguments.number("lang")?,
            None => 0,
        };
        self.pages.fill(page, language, holes).map(Value::String)
    }

    async fn get(
        &self,
        service: super::ServiceName,
        route: &str,
        arguments: Arguments,
    ) -> Result<Value, CallError> {
        self.context
            .remote(service, Method::GET, route, arguments)
            .await
    }

    /// Who the session of the request belongs to.
    async fn session(&self) -> Result<Value, CallError> {
        let session = Arguments::default().with("session", self.arguments.text("session")?);
        self.get(Sessions, "/sessions/{session}", session).await
    }
}

async fn browse(asking: &Asking<'_>) -> Result<Value, CallError> {
    let arguments = asking.arguments;
    match asking.operation {
        "home" => {
            let names = asking
                .get(Catalog, "/categories", Arguments::default())
                .await?;
            let rows = rows(&names, |name| {
                pages::escape(name.as_str().unwrap_or_default())
            });
            asking.page(Page::Home, &[("rows", &rows)])
        }
        "category" => {
            let asked = Arguments::default().with("category", arguments.text("category")?);
            let found = asking.get(Catalog, "/categories/{category}", asked).await?;
            let rows = rows(&found["items"], item_row);
            let name = text(&found, "name")?;
            asking.page(Page::Category, &[("name", name), ("rows", &rows)])
        }
        "search" => {
            let question = arguments.text("q")?;
            let asked = Arguments::default().with("q", question);
            let found = asking.get(Catalog, "/search", asked).await?;
            let rows = rows(&found, item_row);
            asking.page(Page::Search, &[("q", question), ("rows", &rows)])
        }
        "item" => {
            let asked = Arguments::default().with("id", arguments.text("id")?);
            let item = asking.get(Catalog, "/items/{id}", asked).await?;
            let holes = [
                ("title", text(&item, "title")?),
                ("description", text(&item, "description")?),
                ("price", &money(cents(&item)?)),
            ];
            asking.page(Page::Item, &holes)
        }
        other => Err(CallError::no_operation(other)),
    }
}

async fn bid(asking: &Asking<'_>) -> Result<Value, CallError> {
    let id = asking.arguments.text("id")?;
    let item = Arguments::default().with("id", id);
    match asking.operation {
        "history" => {
            let bids = asking.get(Bidding, "/items/{id}/bids", item).await?;
            let rows = rows(&bids, |bid| {
                let nick = bid["nick"].as_str().unwrap_or_default();
                let cents = bid["cents"].as_i64().unwrap_or_default();
                format!("{} by {}", money(cents), pages::escape(nick))
            });
            asking.page(Page::History, &[("id", id), ("rows", &rows)])
        }
        "quote" => {
            let quote = asking.get(Bidding, "/items/{id}/quote", item).await?;
            let price = money(cents(&quote)?);
            asking.page(Page::Quote, &[("id", id), ("price", &price)])
        }
        "place" => {
            let user = asking.session().await?;
            let nick = text(&user, "nick")?;
            let offer = item
                .with("user", user["user"].as_i64().unwrap_or_default())
                .with("nick", nick)
                .with("cents", asking.arguments.text("cents")?);
            let placed = asking
                .context
                .remote(Bidding, Method::POST, "/items/{id}/bids", offer)
                .await?;
            let holes = [
                ("nick", nick),
                ("price", &money(cents(&placed)?)),
                ("title", text(&placed, "title")?),
            ];
            asking.page(Page::Placed, &holes)
        }
        other => Err(CallError::no_operation(other)),
    }
}

async fn account(asking: &Asking<'_>) -> Result<Value, CallError> {
    let arguments = asking.arguments;
    let credentials = || -> Result<Arguments, CallError> {
        Ok(Arguments::default()
            .with("nick", arguments.text("nick")?)
            .with("password", arguments.text("password")?))
    };
    match asking.operation {
        "register" => {
            let user = asking
                .context
                .remote(Accounts, Method::POST, "/users", credentials()?)
                .await?;
            welcome(asking, &user).await
        }
        "login" => {
            let user = asking.get(Accounts, "/verify", credentials()?).await?;
            welcome(asking, &user).await
        }
        "check" => {
            let user = asking.get(Accounts, "/verify", credentials()?).await?;
            asking.page(Page::Checked, &[("nick", text(&user, "nick")?)])
        }
        "show" => {
            let session = asking.session().await?;
            let asked = Arguments::default().with("user", &session["user"]);
            let user = asking.get(Accounts, "/users/{user}", asked).await?;
            asking.page(Page::Account, &[("nick", text(&user, "nick")?)])
        }
        "logout" => {
            let session = Arguments::default().with("session", arguments.text("session")?);
            asking
                .context
                .remote(Sessions, Method::DELETE, "/sessions/{session}", session)
                .await?;
            asking.page(Page::Bye, &[])
        }
        other => Err(CallError::no_operation(other)),
    }
}

/// Begins a session for a user whose word is good.
async fn welcome(asking: &Asking<'_>, user: &Value) -> Result<Value, CallError> {
    let nick = text(user, "nick")?;
    let begun = Arguments::default()
        .with("user", &user["user"])
        .with("nick", nick);
    let session = asking
        .context
        .remote(Sessions, Method::POST, "/sessions", begun)
        .await?;
    let session = text(&session, "session")?;
    asking.page(Page::Welcome, &[("nick", nick), ("session", session)])
}

fn item_row(item: &Value) -> String {
    let title = pages::escape(item["title"].as_str().unwrap_or_default());
    format!("<a href=\"/items/{}\">{title}</a>", item["id"])
}

fn rows(list: &Value, row: impl Fn(&Value) -> String) -> String {
    let mut html = String::new();
    for value in list.as_array().into_iter().flatten() {
        html.push_str("<li>");
        html.push_str(&row(value));
        html.push_str("</li>");
    }
    html
}

fn text<'a>(answer: &'a Value, field: &'static str) -> Result<&'a str, CallError> {
    answer[field].as_str().ok_or_else(|| missing(field))
}

fn cents(answer: &Value) -> Result<i64, CallError> {
    answer["cents"].as_i64().ok_or_else(|| missing("cents"))
}

fn missing(field: &'static str) -> CallError {
    CallError::Failed {
        error_type: "unexpected_answer",
        message: format!("an answer has no {field}"),
    }
}
