//! OTLP over gRPC: the unary call `TraceService/Export`.
//!
//! The framing is five bytes and two trailers, so it is done here: the usual library answers a
//! message that is too large with a code that OTLP retries, and decodes into generated types.

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;

use super::Shared;
use super::answer::{Answer, grpc_ok, grpc_refusal, grpc_unsupported};
use super::body::{self, BodyLimits, Framing, PREFIX_BYTES};
use super::encoding::Encoding;
use super::quota::Source;
use super::refusal::Refusal;
use super::status::Partial;
use crate::journal::Protocol;

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Whether the request claims to be gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

/// Answers a request of gRPC.
pub(super) async fn handle(
    shared: &Shared,
    source: Source,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (head, mut body) = request.into_parts();
    let refusal = match take(shared, source, &head, &mut body).await {
        Ok(partial) => return grpc_ok(&partial),
        Err(refusal) => refusal,
    };
    shared.intake.stats.refused(source, refusal.class());
    match refusal {
        Refusal::ContentType => grpc_unsupported(),
        // The rest of the body needn't be read: HTTP/2 ends the stream and keeps the connection.
        refusal => grpc_refusal(&refusal),
    }
}

async fn take(
    shared: &Shared,
    connection: Source,
    head: &http::request::Parts,
    body: &mut Incoming,
) -> Result<Partial, Refusal> {
    let content_type = head.headers.get(http::header::CONTENT_TYPE);
    let subtype = content_type.map_or(&[][..], |it| &it.as_bytes()["application/grpc".len()..]);
    if !(subtype.is_empty() || subtype.starts_with(b";") || subtype.starts_with(b"+proto")) {
        return Err(Refusal::ContentType);
    }
    if head.uri.path() != PATH || head.method != Method::POST {
        return Err(Refusal::GrpcMethod);
    }
    let source = shared
        .access
        .admits(&head.headers, connection)
        .ok_or(Refusal::Unauthorized)?;
    shared.intake.admit(source)?;
    let limits = BodyLimits {
        bytes: shared.max_request_bytes,
        within: shared.limits.body_within,
    };
    let mut hold = shared.intake.budget.hold();
    let bytes = body::read(body, Framing::Grpc, limits, &mut hold).await?;
    let (flag, message) = message(bytes)?;
    let encoding = match flag {
        0 => Encoding::Identity,
        // Compressed, but by nothing, makes no sense.
        1 => match encoding(&head.headers) {
            Some(Encoding::Identity) | None => return Err(Refusal::Encoding),
            Some(encoding) => encoding,
        },
        _ => {
            return Err(malformed(
                "the message's compressed flag is neither 0 nor 1",
            ));
        }
    };
    shared
        .intake
        .take(source, Protocol::Grpc, message, encoding, hold)
        .await
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    Encoding::named(headers.get("grpc-encoding")?.as_bytes())
}

/// The one message that a unary call has, and whether it is compressed.
fn message(mut body: Bytes) -> Result<(u8, Bytes), Refusal> {
    if body.len() < PREFIX_BYTES {
        return Err(malformed("the call ends before its message begins"));
    }
    let flag = body.get_u8();
    let length = body.get_u32() as usize;
    match body.len().cmp(&length) {
        std::cmp::Ordering::Equal => Ok((flag, body)),
        std::cmp::Ordering::Less => Err(malformed("the call ends within its message")),
        std::cmp::Ordering::Greater => Err(malformed("the call has more than one message")),
    }
}

fn malformed(reason: &str) -> Refusal {
    Refusal::Malformed {
        reason: reason.to_owned(),
    }
}
