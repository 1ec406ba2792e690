//! What do the messages of our answers look like on the wire?
//!
//! `google.rpc.Status` with its details, and the export response with its partial success: a dozen
//! fields, written by hand so that no generated code is needed for them.

use serde_json::json;

use super::refusal::Refusal;

/// Bytes of a message for people; the specification limits responses to 4 MiB.
const MAX_MESSAGE_BYTES: usize = 1024;

/// A message of protobuf being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        self.put(value);
        self
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.put(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// What for people, cut to a sensible length.
pub(super) fn message_of(refusal: &Refusal) -> String {
    let mut message = refusal.to_string();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    message
}

/// The refusal as a `google.rpc.Status` in protobuf.
pub(super) fn status_protobuf(refusal: &Refusal) -> Vec<u8> {
    let message = message_of(refusal);
    let mut status = Message::default()
        .varint(1, refusal.grpc().into())
        .bytes(2, message.as_bytes());
    let any = |kind: &str, value: Message| {
        Message::default()
            .bytes(1, kind.as_bytes())
            .bytes(2, &value.0)
    };
    if let Some(delay) = refusal.retry_after() {
        let delay = Message::default().varint(1, delay.as_secs());
        let info = Message::default().bytes(1, &delay.0);
        status = status.bytes(3, &any(RETRY_INFO, info).0);
    }
    if is_of_bad_data(refusal) {
        let violation = Message::default()
            .bytes(1, b"body")
            .bytes(2, message.as_bytes());
        let bad_request = Message::default().bytes(1, &violation.0);
        status = status.bytes(3, &any(BAD_REQUEST, bad_request).0);
    }
    status.0
}

/// Whether what was sent is at fault, and will be whenever it is sent again.
fn is_of_bad_data(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Malformed { .. } | Refusal::OverNames { .. }
    )
}

/// The refusal as a `google.rpc.Status` in JSON.
pub(super) fn status_json(refusal: &Refusal) -> Vec<u8> {
    let message = message_of(refusal);
    let mut details = Vec::new();
    if let Some(delay) = refusal.retry_after() {
        let delay = format!("{}s", delay.as_secs());
        details.push(json!({ "@type": RETRY_INFO, "retryDelay": delay }));
    }
    if is_of_bad_data(refusal) {
        let violation = json!({ "field": "body", "description": message });
        details.push(json!({ "@type": BAD_REQUEST, "fieldViolations": [violation] }));
    }
    json!({ "code": refusal.grpc(), "message": message, "details": details })
        .to_string()
        .into_bytes()
}

/// What was rejected of a request that was taken otherwise, for the response's partial success;
/// which stays unset when nothing was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) rejected_spans: u64,
    pub(super) message: String,
}

/// An `ExportTraceServiceResponse` in protobuf.
pub(super) fn response_protobuf(partial: &Partial) -> Vec<u8> {
    if partial.rejected_spans == 0 {
        return Vec::new();
    }
    let partial = Message::default()
        .varint(1, partial.rejected_spans)
        .bytes(2, partial.message.as_bytes());
    Message::default().bytes(1, &partial.0).0
}

/// An `ExportTraceServiceResponse` in JSON.
pub(super) fn response_json(partial: &Partial) -> Vec<u8> {
    if partial.rejected_spans == 0 {
        return b"{}".to_vec();
    }
    let partial = json!({
        "rejectedSpans": partial.rejected_spans.to_string(),
        "errorMessage": partial.message,
    });
    json!({ "partialSuccess": partial })
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use prost::Message as _;

    #[test]
    fn the_response_is_what_the_generated_types_write() {
        for (rejected_spans, message) in [(0, ""), (1, "one"), (70_000, "many")] {
            let partial = Partial {
                rejected_spans,
                message: message.to_owned(),
            };
            let response = ExportTraceServiceResponse {
                partial_success: (rejected_spans > 0).then(|| ExportTracePartialSuccess {
                    rejected_spans: rejected_spans.cast_signed(),
                    error_message: message.to_owned(),
                }),
            };
            assert_eq!(response_protobuf(&partial), response.encode_to_vec());
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        let reason = "é".repeat(5000);
        assert_eq!(
            message_of(&Refusal::Malformed { reason }).len(),
            MAX_MESSAGE_BYTES
        );
    }
}
