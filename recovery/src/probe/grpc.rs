//! Does a gRPC server say that it is serving, in the words of gRPC's own health protocol
//! (`grpc.health.v1.Health/Check`)?
//!
//! One unary call over a connection of its own. Request and answer are one field each, so they are
//! written and read by hand; whatever else an answer holds is passed over.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, TE};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// The longest answer that is read; a right one has seven bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Asks. An error says what is wrong, without the address.
pub(super) async fn ask(
    address: &str,
    service: &str,
    traceparent: Option<&str>,
    limit: Duration,
) -> Result<(), String> {
    tokio::time::timeout(limit, exchange(address, service, traceparent))
        .await
        .unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")))
}

async fn exchange(address: &str, service: &str, traceparent: Option<&str>) -> Result<(), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let broke = |error: &dyn std::error::Error| format!("it doesn't speak gRPC: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| broke(&error))?;
    let mut request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let request = request
        .body(Full::<Bytes>::from(check_request(service)))
        .map_err(|error| format!("it can't be asked: {error}"))?;
    let exchange = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broke(&error))?;
        let (head, body) = answer.into_parts();
        if head.status != 200 {
            return Err(format!("it answered HTTP {}", head.status.as_u16()));
        }
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| broke(error.as_ref()))?;
        // An answer without a message has its status in the head.
        let trailers = body.trailers().unwrap_or(&head.headers).clone();
        judge(&trailers, &body.to_bytes())
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ended = &mut connection => exchange.await,
    }
}

fn judge(trailers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => {}
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            return Err(match code {
                "5" => format!("it knows no such service (NOT_FOUND) {message}"),
                "12" => format!("it has no health service (UNIMPLEMENTED) {message}"),
                _ => format!("it answered gRPC status {code} {message}"),
            }
            .trim_end()
            .to_owned());
        }
        None => return Err("its answer broke off before its status".to_owned()),
    }
    match serving_status(body) {
        Some(1) => Ok(()),
        Some(0) | None => Err("it says UNKNOWN".to_owned()),
        Some(2) => Err("it says NOT_SERVING".to_owned()),
        Some(3) => Err("it says SERVICE_UNKNOWN".to_owned()),
        Some(other) => Err(format!("it says {other}")),
    }
}

/// `HealthCheckRequest { service = 1 }`, framed.
fn check_request(service: &str) -> Vec<u8> {
    // Field 1, length-delimited. Nothing at all means the server as a whole.
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        loop {
            let low = u8::try_from(length & 0x7f).unwrap_or_default();
            length >>= 7;
            if length == 0 {
                message.push(low);
                break;
            }
            message.push(low | 0x80);
        }
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// `HealthCheckResponse { status = 1 }`: 0 unknown, 1 serving, 2 not serving, 3 no such service.
/// `None` where there is no message that can be read; a message without the field is a 0.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_at_checked(PREFIX_BYTES)?;
    if prefix[0] != 0 {
        return None;
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use hyper::Response;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A server of one answer: HTTP status, message, and gRPC's status.
    async fn server(
        status: u16,
        message: &'static [u8],
        grpc_status: Option<&'static str>,
    ) -> (String, Arc<Mutex<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepts");
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = Arc::clone(&seen);
                async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    assert_eq!(request.headers()[CONTENT_TYPE], "application/grpc");
                    let body = request.into_body().collect().await.expect("a body");
                    *seen.lock().expect("not poisoned") = body.to_bytes().to_vec();
                    let trailers = grpc_status.map(|status| {
                        let value = status.parse().expect("a value");
                        Ok(HeaderMap::from_iter([(
                            "grpc-status".parse().expect("a name"),
                            value,
                        )]))
                    });
                    let body = Full::<Bytes>::from(message);
                    let body = body.with_trailers(std::future::ready(trailers));
                    Ok::<_, Infallible>(
                        Response::builder().status(status).body(body).expect("fine"),
                    )
                }
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            served
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
        (address, asked)
    }

    #[tokio::test]
    async fn only_serving_is_right() {
        for (status, message, grpc_status, expected) in [
            (200, &[0, 0, 0, 0, 2, 8, 1][..], Some("0"), ""),
            // Unknown fields before and after.
            (
                200,
                &[0, 0, 0, 0, 9, 0x12, 2, 7, 7, 8, 1, 0x1d, 1, 2],
                Some("0"),
                "it says UNKNOWN",
            ),
            (200, &[0, 0, 0, 0, 6, 0x12, 2, 7, 7, 8, 1], Some("0"), ""),
            (
                200,
                &[0, 0, 0, 0, 2, 8, 2],
                Some("0"),
                "it says NOT_SERVING",
            ),
            (200, &[0, 0, 0, 0, 0], Some("0"), "it says UNKNOWN"),
            (200, &[0, 0, 0], Some("0"), "it says UNKNOWN"),
            (200, &[], Some("5"), "it knows no such service (NOT_FOUND)"),
            (
                200,
                &[],
                Some("12"),
                "it has no health service (UNIMPLEMENTED)",
            ),
            (200, &[], Some("14"), "it answered gRPC status 14"),
            (
                200,
                &[0, 0, 0, 0, 2, 8, 1],
                None,
                "its answer broke off before its status",
            ),
            (404, &[], None, "it answered HTTP 404"),
        ] {
            let (address, asked) = server(status, message, grpc_status).await;
            let said = ask(&address, "shop.Catalog", None, LONG).await.err();
            assert_eq!(
                said.unwrap_or_default(),
                expected,
                "{status} {message:?} {grpc_status:?}"
            );
            let asked = asked.lock().expect("not poisoned").clone();
            assert_eq!(asked, b"\0\0\0\0\x0e\x0a\x0cshop.Catalog");
        }
    }

    #[tokio::test]
    async fn what_speaks_no_grpc_is_left_in_time() {
        use crate::testing::{Script, Server};
        let address = Server::start(vec![Script::answer(200, "hello")])
            .await
            .address();
        let said = ask(&address, "", None, LONG).await.expect_err("gone");
        assert!(!said.is_empty());
        let server = Server::start(vec![Script::answer(200, "hello")]).await;
        let said = ask(&server.address(), "", None, Duration::from_millis(300)).await;
        let said = said.expect_err("HTTP/1 is no gRPC");
        assert!(
            said.contains("it doesn't speak gRPC") || said.contains("no answer within"),
            "{said}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_reading_fail(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = serving_status(&bytes);
        }
    }
}
