//! OTLP over HTTP: `POST /v1/traces`, protobuf or JSON, plain, gzip or zstd.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Method, Request, Response, Version};
use hyper::body::Incoming;

use super::Shared;
use super::answer::{Answer, http_ok, http_refusal};
use super::body::{self, BodyLimits, Framing};
use super::encoding::Encoding;
use super::quota::Source;
use super::refusal::Refusal;
use super::status::Partial;
use super::{origin, over_grpc};
use crate::decode::ContentType;
use crate::journal::Protocol;

const PATH: &str = "/v1/traces";

/// Answers any request that isn't gRPC.
pub(super) async fn handle(
    shared: &Shared,
    source: Source,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (head, mut body) = request.into_parts();
    let content_type = content_type(&head.headers);
    match take(shared, source, &head, content_type, &mut body).await {
        Ok((content_type, partial)) => http_ok(content_type, &partial),
        Err(refusal) => {
            shared.intake.stats.refused(source, refusal.class());
            // A client that waits to be asked for its body needn't send it; one that came too late
            // with it has had its time.
            let waits = head.headers.contains_key(EXPECT);
            let late = matches!(refusal, Refusal::Stalled { .. });
            if head.version < Version::HTTP_2 && !waits && !late {
                body::drain(&mut body).await;
            }
            http_refusal(content_type, &refusal)
        }
    }
}

async fn take(
    shared: &Shared,
    connection: Source,
    head: &http::request::Parts,
    content_type: Option<ContentType>,
    body: &mut Incoming,
) -> Result<(ContentType, Partial), Refusal> {
    if over_grpc::is_grpc(&head.headers) {
        return Err(Refusal::GrpcVersion);
    }
    if head.uri.path() != PATH {
        return Err(Refusal::Path);
    }
    if head.method != Method::POST {
        return Err(Refusal::Method);
    }
    if !origin::is_ours(&head.uri, &head.headers) {
        return Err(Refusal::Origin);
    }
    let source = shared
        .access
        .admits(&head.headers, connection)
        .ok_or(Refusal::Unauthorized)?;
    shared.intake.admit(source)?;
    let content_type = content_type.ok_or(Refusal::ContentType)?;
    let encoding = encoding(&head.headers)?;
    let limits = BodyLimits {
        bytes: shared.max_request_bytes,
        within: shared.limits.body_within,
    };
    let mut hold = shared.intake.budget.hold();
    let bytes = body::read(body, Framing::Plain, limits, &mut hold).await?;
    let protocol = match content_type {
        ContentType::Protobuf => Protocol::HttpProtobuf,
        ContentType::Json => Protocol::HttpJson,
    };
    // An empty request is a valid one, compressed or not.
    let encoding = match bytes.is_empty() {
        true => Encoding::Identity,
        false => encoding,
    };
    let partial = shared
        .intake
        .take(source, protocol, bytes, encoding, hold)
        .await?;
    Ok((content_type, partial))
}

fn content_type(headers: &HeaderMap) -> Option<ContentType> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (media_type, _parameters) = value.split_once(';').unwrap_or((value, ""));
    let media_type = media_type.trim();
    if media_type.eq_ignore_ascii_case("application/x-protobuf") {
        Some(ContentType::Protobuf)
    } else if media_type.eq_ignore_ascii_case("application/json") {
        Some(ContentType::Json)
    } else {
        None
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(Encoding::Identity),
        (Some(one), None) => Encoding::named(one.as_bytes()).ok_or(Refusal::Encoding),
        (Some(_), Some(_)) => Err(Refusal::Encoding),
    }
}
