//! How does a request lie in the journal, so that damage is always noticed?
//!
//! ```text
//! record  = length: u32 · checksum: u32 · position: u64 · received_at: u64 · protocol: u8 · payload
//! segment = magic: 8 bytes · first position: u64 · first received_at: u64 · checksum: u32 · record*
//! ```
//! Numbers are little-endian. `length` counts what follows the checksum; the checksum (CRC-32 of
//! zlib and gzip) covers the length too, so that a damaged length isn't believed. A record carries
//! its own position, so that what is left of a damaged journal is still in its place. One of protocol 0
//! is a filler: it says nothing, and moves what follows to where a page begins.

use bytes::Bytes;
use rekindle_model::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::decode::ContentType;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, binary.
    HttpProtobuf,
    /// OTLP/HTTP, JSON.
    HttpJson,
}

impl Protocol {
    /// What its payload is encoded in.
    pub fn content_type(self) -> ContentType {
        match self {
            Protocol::Grpc | Protocol::HttpProtobuf => ContentType::Protobuf,
            Protocol::HttpJson => ContentType::Json,
        }
    }

    fn code(self) -> u8 {
        match self {
            Protocol::Grpc => 1,
            Protocol::HttpProtobuf => 2,
            Protocol::HttpJson => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Grpc, Self::HttpProtobuf, Self::HttpJson]
            .into_iter()
            .find(|protocol| protocol.code() == code)
    }
}

/// One request to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When its last byte came.
    pub received_at: UnixNanos,
    /// How it came.
    pub protocol: Protocol,
    /// The request as it came, without compression and gRPC's frame.
    pub payload: Bytes,
}

/// One request that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is in the order of all requests. Positions only grow; some may be missing.
    pub position: u64,
    /// The request.
    pub entry: Entry,
}

/// What begins a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first_position: u64,
    pub(super) first_received_at: UnixNanos,
}

const MAGIC: [u8; 8] = *b"rekjrnl1";

/// The protocol of a record that says nothing.
const FILLER: u8 = 0;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 28;

/// Bytes of a record's length and checksum.
const FRAME_BYTES: usize = 8;

/// Bytes of a record before its payload, without length and checksum.
const FIXED_BYTES: usize = 17;

/// Bytes of the shortest record.
pub(super) const MIN_RECORD_BYTES: usize = FRAME_BYTES + FIXED_BYTES;

/// Bytes that the record of such a payload takes.
#[cfg(test)]
pub(super) fn record_bytes(payload: &Bytes) -> usize {
    MIN_RECORD_BYTES + payload.len()
}

impl Header {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.first_position.to_le_bytes());
        out.extend_from_slice(&self.first_received_at.0.to_le_bytes());
        let checksum = crc32fast::hash(&out[from..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// The header that the bytes begin with, if they are whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, checksum) = bytes.get(..HEADER_BYTES)?.split_last_chunk::<4>()?;
        let whole =
            header.starts_with(&MAGIC) && crc32fast::hash(header) == u32::from_le_bytes(*checksum);
        if !whole {
            return None;
        }
        Some(Self {
            first_position: number(&header[8..])?,
            first_received_at: UnixNanos(number(&header[16..])?),
        })
    }
}

/// Adds the record of this entry; `false` when its payload is too long for one, which no receiver
/// lets in.
#[must_use]
pub(super) fn write(position: u64, entry: &Entry, out: &mut Vec<u8>) -> bool {
    write_parts(
        position,
        entry.received_at,
        entry.protocol.code(),
        &entry.payload,
        out,
    )
}

/// Adds a filler of this length, which is at least [`MIN_RECORD_BYTES`] and at most some pages.
pub(super) fn write_filler(bytes: usize, out: &mut Vec<u8>) {
    let payload = vec![0; bytes - MIN_RECORD_BYTES];
    // It is never too long.
    let _ = write_parts(0, UnixNanos(0), FILLER, &payload, out);
}

fn write_parts(
    position: u64,
    received_at: UnixNanos,
    protocol: u8,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let Ok(length) = u32::try_from(FIXED_BYTES + payload.len()) else {
        return false;
    };
    let mut fixed = [0; FIXED_BYTES];
    fixed[..8].copy_from_slice(&position.to_le_bytes());
    fixed[8..16].copy_from_slice(&received_at.0.to_le_bytes());
    fixed[16] = protocol;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&length.to_le_bytes());
    checksum.update(&fixed);
    checksum.update(payload);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum.finalize().to_le_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(payload);
    true
}

/// The record at the beginning of these bytes, if it isn't a filler, and how many it takes; `None` when it isn't whole.
pub(super) fn read(bytes: &Bytes) -> Option<(Option<Record>, usize)> {
    let length = bytes.first_chunk::<4>()?;
    let body_bytes = u32::from_le_bytes(*length) as usize;
    let checksum = bytes.get(4..FRAME_BYTES)?.first_chunk::<4>()?;
    let end = FRAME_BYTES.checked_add(body_bytes)?;
    let body = bytes.get(FRAME_BYTES..end)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(body);
    if hasher.finalize() != u32::from_le_bytes(*checksum) || body.len() < FIXED_BYTES {
        return None;
    }
    if body[16] == FILLER {
        return Some((None, end));
    }
    let record = Record {
        position: number(body)?,
        entry: Entry {
            received_at: UnixNanos(number(&body[8..])?),
            protocol: Protocol::from_code(body[16])?,
            payload: bytes.slice(FRAME_BYTES + FIXED_BYTES..end),
        },
    };
    Some((Some(record), end))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            position: u64,
            received_at: u64,
            protocol in prop::sample::select(vec![Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson]),
            payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let payload = Bytes::from(payload);
            let entry = Entry { received_at: UnixNanos(received_at), protocol, payload };
            let mut bytes = Vec::new();
            prop_assert!(write(position, &entry, &mut bytes));
            prop_assert_eq!(bytes.len(), record_bytes(&entry.payload));
            let length = bytes.len();
            bytes.push(7);
            let read = read(&bytes.into());
            prop_assert_eq!(read, Some((Some(Record { position, entry }), length)));
        }

        #[test]
        fn a_filler_is_as_long_as_it_should_be_and_says_nothing(bytes in MIN_RECORD_BYTES..10_000) {
            let mut filler = Vec::new();
            write_filler(bytes, &mut filler);
            prop_assert_eq!(filler.len(), bytes);
            filler.push(7);
            prop_assert_eq!(read(&filler.into()), Some((None, bytes)));
        }

        #[test]
        fn a_header_is_read_back(first_position: u64, received_at: u64) {
            let header = Header { first_position, first_received_at: UnixNanos(received_at) };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            prop_assert_eq!(bytes.len(), HEADER_BYTES);
            prop_assert_eq!(Header::read(&bytes), Some(header));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Header::read(&bytes);
            let _ = read(&bytes.into());
        }
    }
}
