//! The port that users and other services talk to. It knows nothing of auctions: a route names the
//! component and the operation, the arguments come from path and query, and what the component
//! answers goes back as HTML (text) or JSON (anything else).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::container::{Container, DEADLINE_MARGIN};
use super::message::{Arguments, CallError};
use super::peers::BUDGET_HEADER;

/// Which component answers which path.
#[derive(Clone, Debug)]
pub(super) struct Route {
    method: Method,
    path: &'static str,
    component: &'static str,
    operation: &'static str,
}

impl Route {
    pub(super) const fn new(
        method: Method,
        path: &'static str,
        component: &'static str,
        operation: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            component,
            operation,
        }
    }
}

/// All that a handler needs.
struct Front {
    container: Arc<Container>,
    budget: Duration,
}

pub(super) fn router(
    container: Arc<Container>,
    routes: &'static [Route],
    budget: Duration,
) -> Router {
    let front = Arc::new(Front { container, budget });
    let mut router = Router::new();
    for route in routes {
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
        let handler = move |State(front): State<Arc<Front>>,
                            path: RawPathParams,
                            Query(query): Query<HashMap<String, String>>,
                            headers: HeaderMap| async move {
            let mut arguments = Arguments::default();
            arguments.extend(query);
            arguments.extend(path.iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
            front.answer(route, arguments, &headers).await
        };
        router = router.route(route.path, on(filter, handler));
    }
    router.with_state(front)
}

impl Front {
    async fn answer(&self, route: &Route, arguments: Arguments, headers: &HeaderMap) -> Response {
        let budget = headers
            .get(BUDGET_HEADER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map_or(self.budget, Duration::from_millis);
        let deadline = Instant::now() + budget.saturating_sub(DEADLINE_MARGIN);
        let tracing = self.container.tracing();
        let mut span = tracing.server(route.method.as_str(), route.path, headers);
        let callee = (route.component, route.operation);
        let outcome = self
            .container
            .call(None, span.context(), callee, arguments, deadline)
            .await;
        let mut response = match outcome {
            Ok(Value::String(page)) => {
                ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
            }
            Ok(value) => axum::Json(value).into_response(),
            Err(error) => failure(&error),
        };
        span.respond(response.status().as_u16());
        if let Ok(trace) = HeaderValue::from_str(&span.traceresponse()) {
            response.headers_mut().insert("traceresponse", trace);
        }
        response
    }
}

fn failure(error: &CallError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, error.to_string()).into_response()
}
