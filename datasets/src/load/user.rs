//! One user: asks, reads, thinks, asks again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::tally::{Action, Failure, Made, Tally};
use super::{LoadConfig, Operation};
use crate::auction::percent_encode;
use crate::auction::world::{CATEGORIES, NOUNS, World, finalize};
use crate::probes::trace_id_of;
use crate::wire::{HttpPool, WireError, WireResponse};

/// Pauses are cut at this many times their mean, as load generators do, so that none is absurd.
const LONGEST_PAUSE: f64 = 10.0;

/// Searches for one item's own word, among all: those have a hit that the user knows.
const KNOWN_ITEM_SEARCHES: f64 = 0.3;

pub(super) struct User {
    config: LoadConfig,
    web: SocketAddr,
    pool: Arc<HttpPool>,
    tally: Arc<Mutex<Tally>>,
    generator: StdRng,
    language: u32,
    /// Names that this user registers end in this: no two runs of users take each other's.
    run: String,
    session: Option<Session>,
    item: u32,
    offer_cents: i64,
}

struct Session {
    token: String,
    nick: String,
}

/// What is asked, and what the answer must contain.
struct Question {
    method: Method,
    path: String,
    expected: Option<String>,
    /// Who will be logged in once it is answered.
    nick: Option<String>,
}

impl User {
    pub(super) fn new(
        seed: u64,
        number: u32,
        web: SocketAddr,
        config: LoadConfig,
        pool: Arc<HttpPool>,
        tally: Arc<Mutex<Tally>>,
    ) -> Self {
        Self {
            config,
            web,
            pool,
            tally,
            generator: StdRng::seed_from_u64(finalize(seed ^ (u64::from(number) << 32))),
            language: number,
            run: format!("{number}-{:08x}", rand::random::<u32>()),
            session: None,
            item: 1,
            offer_cents: 0,
        }
    }

    /// Comes and goes for as long as it is let.
    pub(super) async fn live(mut self) {
        let mut action = Action::default();
        let mut next = Operation::Home;
        loop {
            let pause = self.pause();
            tokio::time::sleep(pause).await;
            let answered = self.ask(next, &mut action).await;
            let draw = self.generator.random();
            next = match next.next(self.session.is_some(), draw) {
                Some(next) if answered => next,
                // Who was let down starts over; who goes away is followed by somebody else.
                gone => {
                    if gone.is_none() {
                        self.session = None;
                    }
                    self.count(|tally| tally.abandon(&mut action));
                    Operation::Home
                }
            };
        }
    }

    fn pause(&mut self) -> Duration {
        let draw: f64 = self.generator.random();
        // In (0, 1]: its logarithm is finite.
        let exponential = -(1.0 - draw).ln();
        self.config.think.mul_f64(exponential.min(LONGEST_PAUSE))
    }

    /// Whether the answer was good enough to go on from.
    async fn ask(&mut self, operation: Operation, action: &mut Action) -> bool {
        let question = self.question(operation);
        let at = Instant::now();
        let answer = self.exchange(&question).await;
        let took = at.elapsed();
        let (failure, trace_id) = match &answer {
            Ok(response) => {
                let body = String::from_utf8_lossy(&response.body);
                let failure = self.judge(operation, &question, response, &body, took);
                if failure.is_none() {
                    self.learn(operation, &question, &body);
                }
                let trace = response.trace.as_deref().and_then(trace_id_of);
                (failure, trace.map(str::to_owned))
            }
            Err(reason) => (Some(Failure::Unanswered(reason.clone())), None),
        };
        let answered = failure.is_none();
        let made = Made {
            at,
            took,
            operation,
            failure,
            trace_id,
        };
        self.count(|tally| tally.request(made, action));
        answered
    }

    async fn exchange(&self, question: &Question) -> Result<WireResponse, String> {
        let request = Request::builder()
            .method(question.method.clone())
            .uri(&question.path)
            .header("host", self.web.to_string())
            .body(Full::<Bytes>::default())
            .map_err(|error| error.to_string())?;
        let exchange = self.pool.request(self.web, request);
        match tokio::time::timeout(self.config.give_up, exchange).await {
            Ok(answer) => answer.map_err(|error: WireError| error.error_type().to_owned()),
            Err(_) => Err("gave up".to_owned()),
        }
    }

    fn judge(
        &self,
        operation: Operation,
        question: &Question,
        response: &WireResponse,
        body: &str,
        took: Duration,
    ) -> Option<Failure> {
        let status = response.status.as_u16();
        // Outbid: that is how auctions are.
        let outbid = operation == Operation::Bid && status == 409;
        if !response.status.is_success() && !outbid {
            return Some(Failure::Status(status));
        }
        let expected = question.expected.as_deref();
        if !outbid && expected.is_some_and(|expected| !body.contains(expected)) {
            return Some(Failure::Wrong);
        }
        (took > self.config.patience).then_some(Failure::Late)
    }

    fn question(&mut self, operation: Operation) -> Question {
        let world = self.config.world;
        let get = |path: String, expected: Option<String>| Question {
            method: Method::GET,
            path,
            expected,
            nick: None,
        };
        let token = self.session.as_ref().map_or("", |session| &session.token);
        let nick = self.session.as_ref().map(|session| session.nick.clone());
        let mut question = match operation {
            Operation::Home => get("/?".to_owned(), Some(CATEGORIES[0].to_owned())),
            Operation::Category => {
                let category = self.generator.random_range(0..CATEGORIES.len());
                let name = format!("<h1>{}</h1>", CATEGORIES[category]);
                get(format!("/browse/{category}?"), Some(name))
            }
            Operation::Search => {
                self.item = self.generator.random_range(1..=world.open_items());
                if self.generator.random_bool(KNOWN_ITEM_SEARCHES) {
                    let word = World::item_word(self.item);
                    get(format!("/search?q={word}"), Some(world.title(self.item)))
                } else {
                    let noun = NOUNS[self.generator.random_range(0..NOUNS.len())];
                    get(format!("/search?q={noun}"), None)
                }
            }
            Operation::Item => {
                self.item = self.generator.random_range(1..=world.open_items());
                let title = format!("<h1>{}</h1>", world.title(self.item));
                get(format!("/items/{}?", self.item), Some(title))
            }
            Operation::History => get(format!("/items/{}/bids?", self.item), None),
            Operation::Quote => get(format!("/items/{}/quote?", self.item), None),
            Operation::Bid => Question {
                method: Method::POST,
                path: format!(
                    "/items/{}/bids?session={token}&cents={}",
                    self.item, self.offer_cents
                ),
                expected: nick.map(|nick| format!("Thank you, {nick}")),
                nick: None,
            },
            Operation::Account => get(
                format!("/account?session={token}"),
                nick.map(|nick| format!("Account of {nick}")),
            ),
            Operation::Logout => Question {
                method: Method::POST,
                ..get(format!("/logout?session={token}"), None)
            },
            Operation::Login => {
                let user = self.generator.random_range(1..=world.scale.users);
                self.enter("/login", world.nick(user), &world.password(user))
            }
            Operation::Register => {
                let draw: u32 = self.generator.random();
                let nick = format!("guest-{}-{draw:08x}", self.run);
                self.enter("/register", nick, "secret")
            }
        };
        question.path.push_str(&format!("&lang={}", self.language));
        question
    }

    fn enter(&self, path: &str, nick: String, password: &str) -> Question {
        Question {
            method: Method::POST,
            path: format!("{path}?nick={}&password={password}", percent_encode(&nick)),
            expected: Some(format!("Welcome, {nick}")),
            nick: Some(nick),
        }
    }

    /// Remembers what the next request needs.
    fn learn(&mut self, operation: Operation, question: &Question, body: &str) {
        match operation {
            Operation::Login | Operation::Register => {
                let token = between(body, "data-session=\"", "\"");
                self.session = token
                    .zip(question.nick.clone())
                    .map(|(token, nick)| Session {
                        token: token.to_owned(),
                        nick,
                    });
            }
            Operation::Logout => self.session = None,
            Operation::Quote => {
                let least = between(body, "at least ", "<").unwrap_or_default();
                self.offer_cents = least.replace('.', "").parse().unwrap_or(0);
            }
            _ => {}
        }
    }

    fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}
