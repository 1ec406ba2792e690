//! Did this span fail?
//!
//! Status alone misses hangs: agents leave it unset when a user gives up, and say it with
//! `error.type` only. And not every error is one: a 404 is an answer. So codes are read first,
//! where they decide, then status and error type.

use rekindle_model::{Name, Shape, SpanKind, Status};

/// gRPC codes that are the callee's failure: cancelled, unknown, deadline exceeded, unimplemented,
/// internal, unavailable, data loss. The others are answers about the request (`NOT_FOUND`). The
/// semantic conventions draw the same line for server spans, but for `CANCELLED`, which is how a
/// hang ends when the user gives up.
const GRPC_FAILURES: [u16; 7] = [1, 2, 4, 12, 13, 14, 15];

/// A failed span's error, under the most telling name that the span has for it.
pub(crate) fn failure(span: &Shape) -> Option<Name> {
    let facts = &span.facts;
    let named = |fallback: String| {
        facts
            .error_type
            .clone()
            .unwrap_or_else(|| Name::from(fallback))
    };
    if let Some(status) = facts.http_status {
        if status >= 500 || status == 0 {
            return Some(named(status.to_string()));
        }
        // The request was at fault, and the answer says so; instrumentations differ in whether
        // they set an error status then.
        let says_no_more = facts.error_type.as_deref().is_none_or(is_request_error);
        if (400..500).contains(&status) && says_no_more {
            return None;
        }
    }
    if let Some(code) = facts.grpc_status {
        if GRPC_FAILURES.contains(&code) {
            return Some(named(format!("grpc {code}")));
        }
        if code != 0 {
            return None;
        }
    }
    match (&facts.error_type, span.status) {
        (Some(error), _) if !is_request_error(error) => Some(error.clone()),
        (Some(_), Status::Error)
            if span.kind != SpanKind::Server && facts.http_status.is_none() =>
        {
            facts.error_type.clone()
        }
        (None, Status::Error) => Some("error".into()),
        _ => None,
    }
}

/// `error.type` of an HTTP answer that blames the request: `404`.
fn is_request_error(error: &str) -> bool {
    error.len() == 3 && error.starts_with('4') && error.bytes().all(|b| b.is_ascii_digit())
}

/// What the names of errors say when nothing came back, in whatever library: `ConnectException`,
/// `SocketTimeoutException`, `cancelled`, `ECONNREFUSED`, `broken pipe`.
const NO_ANSWER: [&str; 10] = [
    "connect",
    "conn",
    "timeout",
    "timed",
    "deadline",
    "cancel",
    "refused",
    "reset",
    "unavailable",
    "pipe",
];

/// Whether the failed call holds an answer from the callee, though a bad one: then the callee
/// lives, and raised an error; otherwise nothing came back.
pub(crate) fn was_answered(span: &Shape) -> bool {
    let facts = &span.facts;
    // UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED are made on the caller's side when none came.
    if let Some(code) = facts.grpc_status {
        return !matches!(code, 1 | 4 | 14);
    }
    if let Some(status) = facts.http_status {
        return status > 0;
    }
    // Databases and brokers answer without a code that we keep, so the error's name must tell.
    let by_name = facts.db_system.is_some() || facts.messaging_system.is_some();
    by_name
        && facts.error_type.as_ref().is_some_and(|error| {
            let error = error.to_ascii_lowercase();
            !NO_ANSWER.iter().any(|word| error.contains(word))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};

    #[test]
    fn what_counts_as_failure() {
        let server = |change: fn(Call) -> Call| change(Call::server("shop", "GET /"));
        let client = |change: fn(Call) -> Call| change(Call::client("GET"));
        for (call, expected) in [
            (server(|c| c), None),
            (server(|c| c.status(Status::Error)), Some("error")),
            (server(|c| c.http(503)), Some("503")),
            (server(|c| c.http(404).error("404")), None),
            (server(|c| c.http(404).status(Status::Error)), None),
            (
                server(|c| c.http(200).error("TimeoutException")),
                Some("TimeoutException"),
            ),
            (server(|c| c.error("_OTHER")), Some("_OTHER")),
            (server(|c| c.error("404")), None),
            (server(|c| c.grpc(5)), None),
            (server(|c| c.grpc(14)), Some("grpc 14")),
            (client(|c| c.error("cancelled")), Some("cancelled")),
            (
                client(|c| c.http(404).error("404").status(Status::Error)),
                None,
            ),
            (client(|c| c.http(0)), Some("0")),
        ] {
            let trace = T::default().build(call);
            let found = failure(&trace.spans()[0]);
            assert_eq!(found.as_deref(), expected, "{:?}", trace.spans()[0].facts);
        }
    }

    #[test]
    fn what_counts_as_an_answer() {
        for (call, answered) in [
            (Call::client("GET").http(500), true),
            (Call::client("GET").error("ConnectException"), false),
            (Call::client("GET").error("500"), false),
            (Call::client("Get").grpc(13), true),
            (Call::client("Get").grpc(14), false),
            (
                Call::client("SELECT")
                    .db("mysql")
                    .error("SQLSyntaxErrorException"),
                true,
            ),
            (
                Call::client("SELECT")
                    .db("mysql")
                    .error("SQLTimeoutException"),
                false,
            ),
            (
                Call::client("SELECT").db("mysql").status(Status::Error),
                false,
            ),
        ] {
            let trace = T::default().build(call);
            let span = &trace.spans()[0];
            assert_eq!(was_answered(span), answered, "{:?}", span.facts);
        }
    }
}
