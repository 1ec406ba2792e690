//! Questions with known answers: what a person would try to see whether the site works.
//!
//! The seed decides the answers, so a component that says `200 OK` and talks nonsense is found out.
//! There are two sets: through the front, as users go, and one per component at its own service's
//! door, which asks nothing of the rest of the site where that is possible.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auction::percent_encode;
use crate::auction::world::{CATEGORIES, World, money};

/// A question and what its answer must contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAnswer {
    /// What is asked, for people.
    pub name: String,
    /// The component whose answer it is, in the end.
    pub component: String,
    /// What to GET.
    pub path: String,
    /// What the body must contain.
    pub contains: String,
}

/// How a question was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Right,
    /// With a success, and wrongly.
    Wrong,
    /// With another status.
    Failed {
        /// The status.
        status: u16,
    },
    /// Not at all.
    Unanswered {
        /// Why, in words.
        reason: String,
    },
}

/// An asked question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What came of it.
    pub verdict: Verdict,
    /// The trace that the answer belongs to (32 hexadecimal digits), if the server said it: the
    /// key under which to report the outcome.
    pub trace_id: Option<String>,
}

fn question(name: &str, component: &str, path: String, contains: String) -> KnownAnswer {
    KnownAnswer {
        name: name.to_owned(),
        component: component.to_owned(),
        path,
        contains,
    }
}

/// The category asked for.
const CATEGORY: usize = 3;

/// The user asked for; seeds make at least one.
const USER: u32 = 1;

/// Questions to the front. They leave no mark.
pub fn through_front(world: &World) -> Vec<KnownAnswer> {
    let item = world.reserved_item();
    let word = World::item_word(item);
    let bid = world.bid(0);
    let nick = world.nick(USER);
    let item_title = world.title(item);
    vec![
        question(
            "an item's page",
            "catalog.items",
            format!("/items/{item}"),
            format!("<h1>{item_title}</h1>"),
        ),
        question(
            "a search with one hit",
            "catalog.search",
            format!("/search?q={word}"),
            format!(">{item_title}</a>"),
        ),
        question(
            "a category",
            "catalog.categories",
            format!("/browse/{CATEGORY}"),
            format!("<h1>{}</h1>", CATEGORIES[CATEGORY]),
        ),
        question(
            "an item's bids",
            "bidding.history",
            format!("/items/{}/bids", bid.item),
            format!("{} by {}", money(bid.cents), world.nick(bid.user)),
        ),
        question(
            "the next bid on an item",
            "bidding.place",
            format!("/items/{item}/quote"),
            format!("at least {}<", money(least_bid(world, item))),
        ),
        question(
            "a user's password",
            "accounts.auth",
            login_path("/login/check", world),
            format!("<h1>Yes, {nick}</h1>"),
        ),
        question(
            "a user's account",
            "sessions.store",
            format!("/account?session={}", world.session(USER)),
            format!("<h1>Account of {nick}</h1>"),
        ),
    ]
}

/// A question for one component, at its own service's public port. The front's components are
/// asked as in [`through_front`], so their answer depends on what is behind them. `None` when there
/// is no such component.
pub fn of_component(world: &World, component: &str) -> Option<KnownAnswer> {
    let item = world.reserved_item();
    let bid = world.bid(0);
    let nick = world.nick(USER);
    let (path, contains) = match component {
        "catalog.items" => (format!("/items/{item}"), world.title(item)),
        "catalog.search" => (
            format!("/search?q={}", World::item_word(item)),
            world.title(item),
        ),
        "catalog.categories" => (
            format!("/categories/{CATEGORY}"),
            format!("\"name\":\"{}\"", CATEGORIES[CATEGORY]),
        ),
        "catalog.categories.cache" => (
            format!("/categories/{CATEGORY}"),
            cheapest(world, CATEGORY)?,
        ),
        "bidding.history" => (format!("/items/{}/bids", bid.item), world.nick(bid.user)),
        "bidding.place" => (
            format!("/items/{item}/quote"),
            format!("{{\"cents\":{}}}", least_bid(world, item)),
        ),
        "accounts.users" => (format!("/users/{USER}"), nick),
        "accounts.auth" => (login_path("/verify", world), nick),
        "sessions.store" => (format!("/sessions/{}", world.session(USER)), nick),
        "web.browse" | "web.bid" | "web.account" => {
            let behind = match component {
                "web.browse" => "catalog.items",
                "web.bid" => "bidding.place",
                _ => "accounts.auth",
            };
            let asked = through_front(world);
            let found = asked.into_iter().find(|asked| asked.component == behind)?;
            (found.path, found.contains)
        }
        _ => return None,
    };
    let name = format!("does {component} answer rightly");
    Some(question(&name, component, path, contains))
}

fn login_path(route: &str, world: &World) -> String {
    let nick = percent_encode(&world.nick(USER));
    format!("{route}?nick={nick}&password={}", world.password(USER))
}

/// The title of a category's first item.
fn cheapest(world: &World, category: usize) -> Option<String> {
    let items = (1..=world.scale.items).filter(|item| world.category(*item) == category);
    let first = items.min_by_key(|item| (world.price_cents(*item), *item))?;
    Some(world.title(first))
}

fn least_bid(world: &World, item: u32) -> i64 {
    let bids = (0..world.scale.bids).map(|index| world.bid(index));
    let highest = bids.filter(|bid| bid.item == item).map(|bid| bid.cents);
    highest.max().unwrap_or(world.price_cents(item)) + 10
}

/// Asks a server and waits for its answer, as long as `timeout`.
pub fn ask(server: SocketAddr, question: &KnownAnswer, timeout: Duration) -> Asked {
    let url = format!("http://{server}{}", question.path);
    let response = ureq::get(&url)
        .config()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A proxy for the web has no business between the processes of one machine.
        .proxy(None)
        .build()
        .call();
    let unanswered = |error: ureq::Error| Verdict::Unanswered {
        reason: error.to_string(),
    };
    let mut response = match response {
        Ok(response) => response,
        Err(error) => {
            return Asked {
                verdict: unanswered(error),
                trace_id: None,
            };
        }
    };
    let trace = response.headers().get("traceresponse");
    let trace_id = trace
        .and_then(|value| trace_id_of(value.to_str().ok()?))
        .map(str::to_owned);
    let status = response.status();
    let verdict = if !status.is_success() {
        Verdict::Failed {
            status: status.as_u16(),
        }
    } else {
        match response.body_mut().read_to_string() {
            Ok(body) if body.contains(&question.contains) => Verdict::Right,
            Ok(_) => Verdict::Wrong,
            Err(error) => unanswered(error),
        }
    };
    Asked { verdict, trace_id }
}

/// The trace's part of a `traceresponse` header.
pub(crate) fn trace_id_of(header: &str) -> Option<&str> {
    header.split('-').nth(1).filter(|id| id.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auction::{ServiceName, part_of};

    #[test]
    fn every_component_can_be_asked() {
        let world = World {
            seed: 3,
            scale: crate::auction::world::Scale::default(),
        };
        for service in ServiceName::ALL {
            for component in service.components() {
                for asked in [Some(*component), part_of(component)].into_iter().flatten() {
                    let question = of_component(&world, asked).expect(asked);
                    assert!(!question.contains.is_empty());
                }
            }
        }
        assert_eq!(of_component(&world, "catalog.nothing"), None);
    }

    #[test]
    fn a_trace_id_is_read_from_its_header() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(
            trace_id_of(&format!("00-{id}-00f067aa0ba902b7-01")),
            Some(id)
        );
        assert_eq!(trace_id_of("nonsense"), None);
    }
}
