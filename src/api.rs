//! The local HTTP API: what people and programs can ask the daemon, and order from it.
//!
//! Reading is answered from the engine's latest snapshot ([`View`](crate::view::View)) and never
//! waits for the engine. Orders go through [`Backend::command`], which may refuse them. Every error
//! is `application/problem+json`. Nothing here asks who somebody is, but of those who [speak](speakers)
//! about units and requests: the daemon listens on loopback
//! only unless the configuration says otherwise in words, and [`guard`] keeps web pages of other
//! origins from using a visitor's browser as the way in.

mod availability;
mod backend;
mod command;
mod guard;
mod intervention;
mod post_mortem;
mod problem;
mod read;
mod said;
mod server;
mod speakers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

pub use availability::Availability;
pub use backend::{
    ApiCommand, Backend, BoxFuture, DryRun, Explanation, OutcomeWord, Reply, ReportedOutcome,
};
pub use command::{
    ApproveBody, ForgetBody, OutcomesBody, PauseBody, RejectBody, RestartBody, ResumeBody, by_page,
};
pub use guard::HostPolicy;
pub use intervention::{DeedWord, InterventionBody, ToldIntervention, Whom};
pub use problem::{Problem, ProblemKind};
pub use read::{Health, HistoryQuery};
pub use said::{Condition, HeartbeatBody, ReportBody};
pub use server::{Limits, serve};
pub use speakers::{Speakers, Unheard};

pub(crate) use command::reason;
pub(crate) use post_mortem::find_post_mortem;
pub(crate) use problem::Segment;
pub(crate) use read::{find_trace, number};

/// The longest body of an order. The largest one is a list of outcome reports, a hundred bytes each.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Requests that may be under way at once. Each holds a snapshot and at most one body; more than
/// this is no people but a program run wild, which gets 503 and may try again.
const MAX_CONCURRENT_REQUESTS: usize = 64;

/// How long a request may take in all, its body's arrival included: longer than an order. Whoever
/// sends a byte a second would hold a place for hours.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// How long an order may take until its answer is "it isn't known": longer than a lease takes,
/// shorter than a person waits.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// What all handlers share.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) hosts: HostPolicy,
    speakers: Speakers,
    permits: Arc<Semaphore>,
}

impl ApiState {
    /// Gives an order and waits for its answer, for a bounded time.
    pub(crate) async fn command(&self, command: ApiCommand) -> Result<Reply, Problem> {
        match tokio::time::timeout(COMMAND_DEADLINE, self.backend.command(command)).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::new(
                ProblemKind::NoAnswer,
                format!(
                    "no answer within {} s; whether the order was carried out is in the history",
                    COMMAND_DEADLINE.as_secs()
                ),
            )),
        }
    }
}

/// The API and the pages over this backend, for these host names; anybody may speak.
pub fn router(backend: Arc<dyn Backend>, hosts: HostPolicy) -> Router {
    router_for(backend, hosts, Speakers::default())
}

/// As [`router`], where only these may say how units and requests are.
pub fn router_for(backend: Arc<dyn Backend>, hosts: HostPolicy, speakers: Speakers) -> Router {
    router_with_limit(backend, hosts, speakers, MAX_CONCURRENT_REQUESTS)
}

fn router_with_limit(
    backend: Arc<dyn Backend>,
    hosts: HostPolicy,
    speakers: Speakers,
    limit: usize,
) -> Router {
    let state = ApiState {
        backend,
        hosts,
        speakers,
        permits: Arc::new(Semaphore::new(limit)),
    };
    let api = Router::new()
        .route("/view", get(read::view))
        .route("/status", get(read::status))
        .route("/request-types", get(read::request_types))
        .route("/components", get(read::components))
        .route("/incidents", get(read::incidents))
        .route("/incidents/{id}", get(read::incident))
        .route("/suspects", get(read::suspects))
        .route("/tree", get(read::tree))
        .route("/rejuvenation", get(read::rejuvenation))
        .route("/units/{unit}", get(read::unit))
        .route(
            "/units/{unit}/availability",
            get(availability::availability),
        )
        .route("/units/{unit}/restart", post(command::restart))
        .route("/units/{unit}/forget", post(command::forget))
        .route("/plans", get(read::plans))
        .route("/plans/{id}", get(read::plan))
        .route("/plans/{id}/approve", post(command::approve))
        .route("/plans/{id}/reject", post(command::reject))
        .route("/pause", post(command::pause))
        .route("/resume", post(command::resume))
        .route("/history", get(read::history))
        .route("/learned", get(read::learned))
        .route("/traces/{id}", get(read::trace))
        .route("/post-mortems", get(post_mortem::post_mortems))
        .route("/post-mortems/{action}", get(post_mortem::post_mortem))
        .route(
            "/interventions",
            get(intervention::list).post(intervention::told),
        )
        .route("/outcomes", post(command::outcomes))
        .route("/heartbeats", post(said::heartbeats))
        .route("/reports", post(said::reports))
        .route("/explain/{what}", get(read::explain))
        .route("/", get(read::endpoints));
    Router::new()
        .nest("/api/v1", api)
        .route("/-/healthy", get(read::healthy))
        .route("/-/ready", get(read::ready))
        .merge(crate::web::routes())
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(middleware::from_fn_with_state(state.clone(), bounded))
        .layer(middleware::map_response(with_common_headers))
        .with_state(state)
}

/// Lets a bounded number of requests in, each for a bounded time; the rest may try again.
async fn bounded(
    axum::extract::State(state): axum::extract::State<ApiState>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Result<Response, Problem> {
    let Ok(_permit) = state.permits.try_acquire() else {
        return Err(Problem::new(
            ProblemKind::Busy,
            "too many requests are under way; try again in a second",
        ));
    };
    tokio::time::timeout(REQUEST_DEADLINE, next.run(request))
        .await
        .map_err(|_| {
            Problem::new(
                ProblemKind::NoAnswer,
                format!(
                    "the request was not done within {} s, its body's arrival included",
                    REQUEST_DEADLINE.as_secs()
                ),
            )
        })
}

/// Answers are of the moment, and no page may frame or sniff ours, or learn its address. Not
/// `no-referrer`: it makes browsers call the origin of our own forms `null`, which the guard refuses.
async fn with_common_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers
            .entry(name)
            .or_insert_with(|| HeaderValue::from_static(value));
    }
    response
}
