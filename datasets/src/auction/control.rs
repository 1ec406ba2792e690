//! The port from which a process is asked, restarted in parts and made ill. It runs on a thread and
//! runtime of its own: whatever the components do to the rest of the process, it answers.
//!
//! | request | answer |
//! |---|---|
//! | `GET /ready`, `GET /ready/{component}` | 200 when started, 503 when not |
//! | `GET /status` | [`ServiceStatus`] |
//! | `POST /microreboot/{component}` | 200 and [`Rebooted`](super::Rebooted) once the new life is ready; `Idempotency-Key` and `Rekindle-Generation` are honoured; 404, 409 (too many abandoned threads, or a generation that is over), 500 (start failed), 504 (start took too long). The same for the part of a component that can be reset alone |
//! | `GET /microreboot/{component}?action=KEY` | `{"done": bool}` |
//! | `POST /prepare` | 204 once all spans until now are sent, 503 if they can't be: the process is about to be restarted |
//! | `POST /fault` | a [`Fault`] as JSON: 204, or 422 with the reason |
//! | `POST /leak` | a [`Leak`] as JSON: 204, or 422 with the reason |
//! | `DELETE /fault` | 204: no further call suffers |

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ServiceName;
use super::container::{ComponentStatus, Container, RebootError};
use super::fault::{Fault, FaultKind, FaultScope};
use super::leak::Leak;
use super::telemetry::Tracing;

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Which service it is.
    pub service: ServiceName,
    /// Its process id.
    pub pid: u32,
    /// The generation of the process, when somebody gave it one.
    pub generation: Option<u64>,
    /// Its components.
    pub components: Vec<ComponentStatus>,
}

pub(super) struct Control {
    pub(super) container: Arc<Container>,
    pub(super) service: ServiceName,
    pub(super) generation: Option<u64>,
    pub(super) tracing: Tracing,
}

pub(super) fn router(control: Control) -> Router {
    Router::new()
        .route("/ready", get(ready))
        .route("/ready/{component}", get(component_ready))
        .route("/status", get(status))
        .route("/microreboot/{component}", post(microreboot).get(inquire))
        .route("/prepare", post(prepare))
        .route("/fault", post(inject).delete(lift))
        .route("/leak", post(leak))
        .with_state(Arc::new(control))
}

async fn ready(State(control): State<Arc<Control>>) -> StatusCode {
    readiness(control.container.is_up(None))
}

async fn component_ready(
    State(control): State<Arc<Control>>,
    Path(component): Path<String>,
) -> StatusCode {
    readiness(control.container.is_up(Some(&component)))
}

fn readiness(up: Option<bool>) -> StatusCode {
    match up {
        Some(true) => StatusCode::OK,
        Some(false) => StatusCode::SERVICE_UNAVAILABLE,
        None => StatusCode::NOT_FOUND,
    }
}

async fn status(State(control): State<Arc<Control>>) -> Json<ServiceStatus> {
    Json(ServiceStatus {
        service: control.service,
        pid: std::process::id(),
        generation: control.generation,
        components: control.container.status(),
    })
}

async fn microreboot(
    State(control): State<Arc<Control>>,
    Path(component): Path<String>,
    headers: HeaderMap,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let key = header("idempotency-key");
    let generation = match header("rekindle-generation").map(str::parse::<u64>) {
        None => None,
        Some(Ok(generation)) => Some(generation),
        Some(Err(_)) => {
            return (StatusCode::BAD_REQUEST, "rekindle-generation is no number").into_response();
        }
    };
    match control
        .container
        .microreboot(&component, key, generation)
        .await
    {
        Ok(rebooted) => Json(rebooted).into_response(),
        Err(error) => {
            let status = match &error {
                RebootError::NoComponent { .. } => StatusCode::NOT_FOUND,
                RebootError::Stale { .. } | RebootError::TooManyAbandoned { .. } => {
                    StatusCode::CONFLICT
                }
                RebootError::StartTooLong { .. } => StatusCode::GATEWAY_TIMEOUT,
                RebootError::StartFailed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, error.to_string()).into_response()
        }
    }
}

#[derive(Deserialize)]
struct Inquiry {
    action: String,
}

async fn inquire(
    State(control): State<Arc<Control>>,
    Path(component): Path<String>,
    Query(inquiry): Query<Inquiry>,
) -> Json<serde_json::Value> {
    let done = control.container.is_done(&component, &inquiry.action).await;
    Json(json!({ "done": done }))
}

/// The site's state is in its stores at all times; what a restart loses is what wasn't told yet.
async fn prepare(State(control): State<Arc<Control>>) -> StatusCode {
    let tracing = control.tracing.clone();
    match tokio::task::spawn_blocking(move || tracing.send_now()).await {
        Ok(true) => StatusCode::NO_CONTENT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn inject(State(control): State<Arc<Control>>, Json(fault): Json<Fault>) -> Response {
    if (fault.scope, fault.kind) == (FaultScope::Process, FaultKind::Crash) {
        // Nobody gets an answer to this one.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    match control.container.inject(&fault) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(reason) => (StatusCode::UNPROCESSABLE_ENTITY, reason).into_response(),
    }
}

async fn leak(State(control): State<Arc<Control>>, Json(leak): Json<Leak>) -> Response {
    match control.container.leak(&leak) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(reason) => (StatusCode::UNPROCESSABLE_ENTITY, reason).into_response(),
    }
}

async fn lift(State(control): State<Arc<Control>>) -> StatusCode {
    control.container.lift_faults();
    StatusCode::NO_CONTENT
}
