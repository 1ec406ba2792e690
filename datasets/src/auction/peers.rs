//! Calls of other processes: HTTP with a deadline, the trace carried along.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use opentelemetry::trace::SpanContext;
use serde_json::Value;

use super::ServiceName;
use super::message::{Arguments, CallError, TIMEOUT, UNAVAILABLE};
use super::telemetry::{ActiveSpan, Caller, Tracing};
use crate::wire::{HttpPool, WireResponse};

/// Milliseconds that the caller still waits: the callee gives up before that.
pub(crate) const BUDGET_HEADER: &str = "auction-budget-ms";

/// Where the other processes are, and the connections to them.
pub(crate) struct Peers {
    addresses: BTreeMap<ServiceName, SocketAddr>,
    pool: HttpPool,
}

impl Peers {
    pub(crate) fn new(addresses: BTreeMap<ServiceName, SocketAddr>, pool: HttpPool) -> Self {
        Self { addresses, pool }
    }

    /// Asks a service: names in braces are filled from the arguments, the rest goes into the query.
    pub(crate) async fn ask(
        &self,
        (tracing, caller, parent): (&Tracing, &Caller, &SpanContext),
        service: ServiceName,
        method: Method,
        route: &str,
        arguments: Arguments,
        deadline: Instant,
    ) -> Result<Value, CallError> {
        let unanswered = |error_type| CallError::Unanswered {
            callee: service.to_string(),
            error_type,
        };
        let address = *self
            .addresses
            .get(&service)
            .ok_or_else(|| unanswered(UNAVAILABLE))?;
        let mut span =
            tracing.remote_call(caller, parent, service, address, method.as_str(), route);
        let request = request(&span, address, method, route, &arguments, deadline)?;
        let exchange = self.pool.request(address, request);
        let error = match tokio::time::timeout_at(deadline.into(), exchange).await {
            Ok(Ok(response)) => {
                span.respond(response.status.as_u16());
                return read(service, &response);
            }
            Ok(Err(error)) => unanswered(error.error_type()),
            Err(_) => unanswered(TIMEOUT),
        };
        span.fail(error.error_type().unwrap_or(TIMEOUT), &error.to_string());
        Err(error)
    }
}

fn request(
    span: &ActiveSpan,
    address: SocketAddr,
    method: Method,
    route: &str,
    arguments: &Arguments,
    deadline: Instant,
) -> Result<Request<Full<Bytes>>, CallError> {
    let budget = deadline.saturating_duration_since(Instant::now());
    let mut request = Request::builder()
        .method(method)
        .uri(fill_route(route, arguments))
        .header("host", address.to_string())
        .body(Full::default())
        .map_err(|error| CallError::BadRequest(format!("no request can be made: {error}")))?;
    let budget = HeaderValue::from(budget.as_millis() as u64);
    request.headers_mut().insert(BUDGET_HEADER, budget);
    span.inject(request.headers_mut());
    Ok(request)
}

fn read(service: ServiceName, response: &WireResponse) -> Result<Value, CallError> {
    let text = || String::from_utf8_lossy(&response.body).into_owned();
    match response.status.as_u16() {
        200..300 => serde_json::from_slice(&response.body).map_err(|error| CallError::PassedOn {
            callee: service.to_string(),
            error_type: format!("unreadable answer: {error}"),
        }),
        400 => Err(CallError::BadRequest(text())),
        404 => Err(CallError::NotFound(text())),
        409 => Err(CallError::Refused(text())),
        status => Err(CallError::PassedOn {
            callee: service.to_string(),
            error_type: status.to_string(),
        }),
    }
}

/// The path and query: `/items/{id}` with `id` = 3 and `nick` = `a b` is `/items/3?nick=a%20b`.
fn fill_route(route: &str, arguments: &Arguments) -> String {
    let mut path = route.to_owned();
    let mut query = String::new();
    for (name, value) in arguments.iter() {
        let hole = format!("{{{name}}}");
        let value = percent_encode(value);
        if path.contains(&hole) {
            path = path.replace(&hole, &value);
        } else {
            let separator = if query.is_empty() { '?' } else { '&' };
            query.push(separator);
            query.push_str(name);
            query.push('=');
            query.push_str(&value);
        }
    }
    path + &query
}

/// Keeps what RFC 3986 calls unreserved.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_filled_from_the_arguments() {
        let arguments = Arguments::default().with("id", 3).with("q", "a b&c");
        assert_eq!(
            fill_route("/items/{id}", &arguments),
            "/items/3?q=a%20b%26c"
        );
        assert_eq!(fill_route("/", &Arguments::default()), "/");
    }
}
