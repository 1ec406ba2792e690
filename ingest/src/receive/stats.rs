//! What came in, and what became of it?

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::quota::Source;
use super::refusal::Class;
use super::turned_away::{Remembered, TurnedAway};
use crate::decode::DecodeCounts;
use crate::journal::Protocol;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of the receivers, written by them and read by anyone.
        #[derive(Debug, Default)]
        pub struct IngestStats {
            $($name: AtomicU64,)*
            /// Locked for a refusal only, never for what is taken.
            turned_away: Mutex<Remembered>,
        }

        /// The counters at one time. They only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct IngestCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl IngestStats {
            /// The counters now.
            pub fn snapshot(&self) -> IngestCounts {
                IngestCounts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Spans accepted over gRPC.
    spans_grpc,
    /// Spans accepted over HTTP in protobuf.
    spans_http_protobuf,
    /// Spans accepted over HTTP in JSON.
    spans_http_json,
    /// Spans rejected because their trace id isn't 16 bytes, or all zero.
    rejected_trace_id,
    /// Spans rejected because their own id isn't 8 bytes, or all zero.
    rejected_span_id,
    /// Spans rejected because they have a parent id that isn't 8 bytes.
    rejected_parent_id,
    /// Spans rejected because their request had more kinds of span than one of its length may have.
    rejected_variety,
    /// Spans whose times were mended: they ended before they started, or lacked one of the times.
    mended_times,
    /// Texts that weren't UTF-8 and were mended.
    mended_text,
    /// Texts that were longer than is kept.
    cut_text,
    /// Names that became `other` because too many are in use.
    other_names,
    /// Links with invalid ids, or more than are kept of one span.
    dropped_links,
    /// Resource attributes beyond those kept of one resource.
    dropped_attributes,
    /// Requests accepted as a whole (200, OK).
    requests_ok,
    /// Requests accepted but for some spans (200, OK, with a partial success).
    requests_partial,
    /// Requests that can't be read (400, INVALID_ARGUMENT).
    requests_malformed,
    /// Requests that are too large (413, RESOURCE_EXHAUSTED).
    requests_too_large,
    /// Requests for something else, in another form or from a foreign web page (403, 404, 405, 415,
    /// UNIMPLEMENTED).
    requests_unsupported,
    /// Requests whose body didn't come in time (503, UNAVAILABLE).
    requests_stalled,
    /// Requests to be sent again because the engine was behind (503, UNAVAILABLE).
    requests_busy,
    /// Requests to be sent again because the journal couldn't keep them (503, UNAVAILABLE).
    requests_not_kept,
    /// Requests to be sent again because their source sent more spans than it may (429, UNAVAILABLE).
    requests_over_rate,
    /// Requests with more new names than their source may bring within an hour (400, INVALID_ARGUMENT).
    requests_over_names,
    /// Bytes of bodies, as they came.
    bytes_received,
    /// Bytes of payloads that were read, decompressed.
    bytes_decoded,
    /// Connections accepted.
    connections,
    /// Connections closed at once because there were too many.
    connections_refused,
    /// Requests without a token that is known (401, UNAUTHENTICATED).
    requests_unauthorized,
    /// Connections that couldn't be secured: no TLS, or no certificate that is wanted.
    handshakes_failed,
}

impl IngestStats {
    pub(super) fn decoded(&self, protocol: Protocol, spans: usize, counts: &DecodeCounts) {
        let of_protocol = match protocol {
            Protocol::Grpc => &self.spans_grpc,
            Protocol::HttpProtobuf => &self.spans_http_protobuf,
            Protocol::HttpJson => &self.spans_http_json,
        };
        add(of_protocol, spans as u64);
        add(&self.rejected_trace_id, counts.rejected_trace_id);
        add(&self.rejected_span_id, counts.rejected_span_id);
        add(&self.rejected_parent_id, counts.rejected_parent_id);
        add(&self.rejected_variety, counts.rejected_variety);
        add(&self.mended_times, counts.mended_times);
        add(&self.mended_text, counts.mended_text);
        add(&self.cut_text, counts.cut_text);
        add(&self.other_names, counts.other_names);
        add(&self.dropped_links, counts.dropped_links);
        add(&self.dropped_attributes, counts.dropped_attributes);
        let requests = match counts.rejected() {
            0 => &self.requests_ok,
            _ => &self.requests_partial,
        };
        add(requests, 1);
    }

    pub(super) fn refused(&self, source: Source, class: Class) {
        self.turned_away().refused(source, class, SystemTime::now());
        let requests = match class {
            Class::TooLarge => &self.requests_too_large,
            Class::Malformed => &self.requests_malformed,
            Class::Unsupported => &self.requests_unsupported,
            Class::Stalled => &self.requests_stalled,
            Class::Busy => &self.requests_busy,
            Class::NotKept => &self.requests_not_kept,
            Class::Unauthorized => &self.requests_unauthorized,
            Class::OverRate => &self.requests_over_rate,
            Class::OverNames => &self.requests_over_names,
        };
        add(requests, 1);
    }

    /// Whose requests are refused at present, the latest first.
    pub fn turned_away_now(&self) -> Vec<TurnedAway> {
        self.turned_away().now(SystemTime::now())
    }

    fn turned_away(&self) -> MutexGuard<'_, Remembered> {
        self.turned_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handshake_failed(&self) {
        add(&self.handshakes_failed, 1);
    }

    pub(super) fn bytes(&self, received: usize, decoded: usize) {
        add(&self.bytes_received, received as u64);
        add(&self.bytes_decoded, decoded as u64);
    }

    pub(super) fn connection(&self, accepted: bool) {
        let connections = match accepted {
            true => &self.connections,
            false => &self.connections_refused,
        };
        add(connections, 1);
    }
}

impl IngestCounts {
    /// Spans accepted, however they came.
    pub fn spans(&self) -> u64 {
        self.spans_grpc + self.spans_http_protobuf + self.spans_http_json
    }
}

fn add(counter: &AtomicU64, number: u64) {
    if number > 0 {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}
