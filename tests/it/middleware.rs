//! The tower layers of `recovery/middleware` between a real service that is away for a moment and the
//! real API, over real sockets, with an HTTP client that the crate knows nothing of.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, Request, Response, StatusCode, Uri};
use rekindle_middleware::{Engine, RetryLayer, come_back_in};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::fixture::{Server, view};

/// Longer than anything here takes on the slowest machine: no outcome rests on time.
const LONG: Duration = Duration::from_secs(600);

/// A client as a service may have one.
fn client() -> impl Service<
    Request<()>,
    Response = Response<ureq::Body>,
    Error = ureq::Error,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(LONG))
        .proxy(None);
    let agent = config.build().new_agent();
    service_fn(move |request| {
        let agent = agent.clone();
        async move {
            let sent = tokio::task::spawn_blocking(move || agent.run(request));
            sent.await.expect("it doesn't panic")
        }
    })
}

/// A service whose first answers are 503 without a word of when to come back, and how often it was asked.
async fn away_for(turns: u32) -> (SocketAddr, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&count);
    let answer = move || async move {
        match asked.fetch_add(1, Ordering::SeqCst) < turns {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::OK,
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (address, count)
}

#[test]
fn a_caller_waits_for_a_unit_as_long_as_the_api_announces() {
    // It brings its own runtime.
    let server = Server::start(view());
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(callers_of(server.address));
}

async fn callers_of(engine: SocketAddr) {
    // Nobody listens where a socket was.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let nobody = nobody.and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a free port");
    for (engine, unit, method, status, turns, comes_back) in [
        // `sessions` is down, for 40 ms mostly.
        (engine, "sessions", Method::GET, 200, 3, None),
        (engine, "sessions", Method::POST, 503, 1, Some(40)),
        // It isn't away, or nobody knows: as without an engine.
        (engine, "catalog.search", Method::GET, 503, 1, None),
        (engine, "nobody", Method::GET, 503, 1, None),
        (nobody, "sessions", Method::GET, 503, 1, None),
        (nobody, "sessions", Method::POST, 503, 1, None),
    ] {
        let context = format!("{engine} {unit} {method}");
        let (upstream, asked) = away_for(2).await;
        let announced = format!("http://{engine}/api/v1/units/{unit}/availability");
        let announced: Uri = announced.parse().expect("a URI");
        let announced = Engine::new(client(), announced).with_patience(LONG);
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{upstream}/"))
            .body(())
            .expect("a request");
        let answer = RetryLayer::new(LONG)
            .with_engine(announced)
            .layer(client())
            .oneshot(request)
            .await
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(answer.status(), status, "{context}");
        assert_eq!(asked.load(Ordering::SeqCst), turns, "{context}");
        let comes_back = comes_back.map(Duration::from_millis);
        assert_eq!(come_back_in(answer.headers()), comes_back, "{context}");
    }
}
