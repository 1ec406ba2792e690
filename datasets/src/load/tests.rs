//! Users against a real server that fails on demand, and against the real site.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;
use crate::auction::world::Scale;

const WORLD: World = World {
    seed: 4,
    scale: Scale {
        items: 50,
        bids: 20,
        users: 10,
    },
};

/// What the server was asked, and how often it said no.
#[derive(Default)]
struct Site {
    asked: AtomicU64,
    refused: AtomicU64,
}

/// Every seventh request fails; all others are answered with all that any user could expect.
async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    if site.asked.fetch_add(1, Ordering::SeqCst) % 7 == 6 {
        site.refused.fetch_add(1, Ordering::SeqCst);
        return (StatusCode::SERVICE_UNAVAILABLE, "no").into_response();
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let nick = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("nick="))
        .unwrap_or_default();
    let item = uri
        .path()
        .split('/')
        .nth(2)
        .and_then(|part| part.parse().ok());
    let title = item.map_or(String::new(), |item| WORLD.title(item));
    let mut page =
        format!("<h1>{title}</h1> at least 12.30< Welcome, {nick} data-session=\"{nick}\"");
    // The session is the nickname, so the pages that greet know whom.
    for pair in query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("session="))
    {
        page.push_str(&format!("Thank you, {pair} Account of {pair}"));
    }
    for name in crate::auction::world::CATEGORIES {
        page.push_str(&format!("<h1>{name}</h1>"));
    }
    for word in query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("q=no"))
    {
        page.push_str(&WORLD.title(word.parse().unwrap_or(1)));
    }
    page.into_response()
}

#[test]
fn what_the_server_refused_is_what_the_users_count() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let site = Arc::new(Site::default());
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = axum::Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&site));
    runtime.spawn(async move { axum::serve(listener, router).await });

    let mut config = LoadConfig::new(WORLD);
    config.users = 8;
    config.think = Duration::from_millis(2);
    config.patience = Duration::from_secs(20);
    config.give_up = Duration::from_secs(30);
    let users = Users::start(1, address, config).expect("users");
    while users.snapshot().total.failed_actions < 30 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let tally = users.stop();
    let total = tally.total;
    let asked = site.asked.load(Ordering::SeqCst);
    let refused = site.refused.load(Ordering::SeqCst);
    // Requests under way at the end were asked, and are not counted: at most one per user.
    let counted = total.ok_requests + total.failed_requests;
    assert!(
        (asked - u64::from(config.users)..=asked).contains(&counted),
        "{counted} of {asked}"
    );
    assert!((refused - u64::from(config.users)..=refused).contains(&total.failed_requests));
    assert_eq!(total.wrong_requests, 0, "{:?}", tally.failures);
    assert_eq!(
        total.failed_actions, total.failed_requests,
        "each ends its action"
    );
    assert!(
        total.bad_operations > total.failed_requests,
        "what came before was in vain"
    );
    assert!(total.good_operations + total.bad_operations <= counted);
    let by_second = tally
        .seconds
        .iter()
        .fold(Counts::default(), |mut sum, second| {
            sum += *second;
            sum
        });
    assert_eq!(by_second, total);
    let by_operation: u64 = tally.operations.values().map(|counts| counts.failed).sum();
    assert_eq!(by_operation, total.failed_requests);
}

#[test]
fn without_a_server_every_request_fails() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut config = LoadConfig::new(WORLD);
    config.users = 2;
    config.think = Duration::from_millis(1);
    let users = Users::start(1, address, config).expect("users");
    while users.snapshot().total.failed_requests < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let tally = users.stop();
    assert_eq!(tally.total.ok_requests, 0);
    let failure = &tally.failures[0].failure;
    assert_eq!(
        *failure,
        Failure::Unanswered("connection_refused".to_owned())
    );
}
