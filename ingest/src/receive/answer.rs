//! What do our responses look like, as bodies that hyper can send?

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;

use super::encoding::Encoding;
use super::refusal::{Refusal, grpc_code};
use super::status::{
    Partial, message_of, response_json, response_protobuf, status_json, status_protobuf,
};
use crate::decode::ContentType;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Some bytes, then perhaps trailers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.data.as_ref().map_or(0, Bytes::len) as u64)
    }
}

fn plain(bytes: Vec<u8>) -> Answer {
    Answer {
        data: (!bytes.is_empty()).then(|| bytes.into()),
        trailers: None,
    }
}

fn content_type(content_type: ContentType) -> HeaderValue {
    HeaderValue::from_static(match content_type {
        ContentType::Protobuf => "application/x-protobuf",
        ContentType::Json => "application/json",
    })
}

/// OK over HTTP, in the content type of the request.
pub(super) fn http_ok(request: ContentType, partial: &Partial) -> Response<Answer> {
    let body = match request {
        ContentType::Protobuf => response_protobuf(partial),
        ContentType::Json => response_json(partial),
    };
    let mut response = Response::new(plain(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, content_type(request));
    response
}

/// A refusal over HTTP, in the content type of the request if it has one of the two.
pub(super) fn http_refusal(request: Option<ContentType>, refusal: &Refusal) -> Response<Answer> {
    let request = request.unwrap_or(ContentType::Protobuf);
    let body = match request {
        ContentType::Protobuf => status_protobuf(refusal),
        ContentType::Json => status_json(refusal),
    };
    let mut response = Response::new(plain(body));
    *response.status_mut() = refusal.http();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(request));
    if let Some(delay) = refusal.retry_after() {
        // In seconds: not every exporter reads a date.
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs()));
    }
    match refusal {
        Refusal::Unauthorized => {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(http::header::WWW_AUTHENTICATE, scheme);
        }
        Refusal::Method => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Refusal::Encoding => {
            let accepted = HeaderValue::from_static(Encoding::ACCEPTED);
            headers.insert(http::header::ACCEPT_ENCODING, accepted);
        }
        _ => {}
    }
    response
}

/// OK over gRPC: a message, then the status in the trailers.
pub(super) fn grpc_ok(partial: &Partial) -> Response<Answer> {
    let message = response_protobuf(partial);
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc_code::OK)));
    let mut response = Response::new(Answer {
        data: Some(framed.into()),
        trailers: Some(trailers),
    });
    response
        .headers_mut()
        .insert(CONTENT_TYPE, APPLICATION_GRPC);
    response
}

/// A refusal over gRPC: no message, and the status in the headers.
pub(super) fn grpc_refusal(refusal: &Refusal) -> Response<Answer> {
    let mut response = Response::new(Answer::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, APPLICATION_GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(refusal.grpc())));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&message_of(refusal))) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Ok(details) = HeaderValue::from_str(&BASE64.encode(status_protobuf(refusal))) {
        headers.insert(GRPC_DETAILS, details);
    }
    if *refusal == Refusal::Encoding {
        headers.insert(
            GRPC_ACCEPT_ENCODING,
            HeaderValue::from_static(Encoding::ACCEPTED),
        );
    }
    response
}

/// What claims to be gRPC, but isn't in protobuf.
pub(super) fn grpc_unsupported() -> Response<Answer> {
    let mut response = grpc_refusal(&Refusal::ContentType);
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// As gRPC wants its messages: printable ASCII, all else as its bytes in hexadecimal.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            _ => {
                // Writing to a string can't fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_header() {
        assert_eq!(percent_encoded("100% é\n"), "100%25 %C3%A9%0A");
    }
}
