//! How does a request lie in the journal, so that damage is always noticed?
//!
//! ```text
//! record  = length: u32 · checksum: u32 · position: u64 · received_at: u64 · protocol: u8 · payload
//! segment = magic: 8 bytes · first position: u64 · first received_at: u64 · checksum: u32 · record*
//! ```
//! Numbers are little-endian. `length` counts what follows the checksum; the checksum (CRC-32 of
//! zlib and gzip) covers the length too, so that a damaged length isn't believed. A record carries
//! its own position, so that what is left of a damaged journal is still in its place.
//!
//! Some records are fillers, which move what follows to where a page begins. They are requests like others, with a
//! position of their own, and say nothing: their payload is one field that no request has, of zeroes. So whoever doesn't
//! know of fillers reads past them, too. Notes, which are what was told to us otherwise than by exporters, lie there in
//! the same way, in a field of their own.

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

/// What a filler's payload begins with: field 15, of any length. The length follows in two bytes, whatever it is.
const FILLER_TAG: u8 = 15 << 3 | 2;

/// Bytes of a filler's payload before the zeroes.
const FILLER_HEAD_BYTES: usize = 3;

/// What a note's payload begins with: field 14, of any length. The length follows, and the note.
const NOTE_TAG: u8 = 14 << 3 | 2;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 28;

/// Bytes of a record's length and checksum.
const FRAME_BYTES: usize = 8;

/// Bytes of a record before its payload, without length and checksum.
const FIXED_BYTES: usize = 17;

/// Bytes of the shortest record.
pub(super) const MIN_RECORD_BYTES: usize = FRAME_BYTES + FIXED_BYTES;

/// Bytes of the shortest filler.
pub(super) const MIN_FILLER_BYTES: usize = MIN_RECORD_BYTES + FILLER_HEAD_BYTES;

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
    let Ok(length) = u32::try_from(FIXED_BYTES + entry.payload.len()) else {
        return false;
    };
    let mut fixed = [0; FIXED_BYTES];
    fixed[..8].copy_from_slice(&position.to_le_bytes());
    fixed[8..16].copy_from_slice(&entry.received_at.0.to_le_bytes());
    fixed[16] = entry.protocol.code();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&length.to_le_bytes());
    checksum.update(&fixed);
    checksum.update(&entry.payload);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum.finalize().to_le_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(&entry.payload);
    true
}

/// Adds a filler of this length, which is at least [`MIN_FILLER_BYTES`] and at most some pages. Its time is that of the
/// request before it.
pub(super) fn write_filler(bytes: usize, position: u64, received_at: UnixNanos, out: &mut Vec<u8>) {
    let filler = Entry {
        received_at,
        protocol: Protocol::Grpc,
        payload: filler_payload(bytes - MIN_RECORD_BYTES).into(),
    };
    // It is never too long.
    let _ = write(position, &filler, out);
}

fn filler_payload(bytes: usize) -> Vec<u8> {
    let zeroes = bytes - FILLER_HEAD_BYTES;
    let mut payload = vec![0; bytes];
    payload[0] = FILLER_TAG;
    payload[1] = (zeroes & 0x7f) as u8 | 0x80;
    payload[2] = (zeroes >> 7) as u8;
    payload
}

impl Entry {
    /// Whether it only fills up a page. No request that is kept looks like this: it would have no spans.
    pub(super) fn is_filler(&self) -> bool {
        let payload = &self.payload;
        self.protocol == Protocol::Grpc
            && payload.first() == Some(&FILLER_TAG)
            && payload.len() >= FILLER_HEAD_BYTES
            && *payload == filler_payload(payload.len())
    }
}

impl Entry {
    /// What was told at this time, to be found again by [`Self::as_note`] when the journal is replayed. To whoever looks
    /// for spans it is a request without any.
    pub fn note(received_at: UnixNanos, text: &[u8]) -> Self {
        let mut payload = vec![NOTE_TAG];
        let mut rest = text.len();
        while rest >= 0x80 {
            payload.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        payload.push(rest as u8);
        payload.extend_from_slice(text);
        Self {
            received_at,
            protocol: Protocol::Grpc,
            payload: payload.into(),
        }
    }

    /// The note that this is, if it is one. No request that is kept looks like it: it would have no spans.
    pub fn as_note(&self) -> Option<&[u8]> {
        let rest = self.payload.strip_prefix(&[NOTE_TAG])?;
        let length = rest.iter().position(|byte| byte & 0x80 == 0)?;
        let (length, text) = rest.split_at(length + 1);
        let digits = length.iter().rev();
        let told = digits.fold(0u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
        (self.protocol == Protocol::Grpc && length.len() <= 9 && told == text.len() as u64)
            .then_some(text)
    }
}

/// The record at the beginning of these bytes, and how many it takes; `None` when it isn't whole.
pub(super) fn read(bytes: &Bytes) -> Option<(Record, usize)> {
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
    let record = Record {
        position: number(body)?,
        entry: Entry {
            received_at: UnixNanos(number(&body[8..])?),
            protocol: Protocol::from_code(body[16])?,
            payload: bytes.slice(FRAME_BYTES + FIXED_BYTES..end),
        },
    };
    Some((record, end))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeContext, KeepAttributes, decode_payload};
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
            prop_assert_eq!(read, Some((Record { position, entry }, length)));
        }

        #[test]
        fn a_filler_is_as_long_as_it_should_be_and_a_request_that_says_nothing(
            bytes in MIN_FILLER_BYTES..10_000,
            position: u64,
        ) {
            let mut filler = Vec::new();
            write_filler(bytes, position, UnixNanos(5), &mut filler);
            prop_assert_eq!(filler.len(), bytes);
            filler.push(7);
            let (record, length) = read(&filler.into()).expect("is whole");
            prop_assert_eq!((record.position, record.entry.received_at, length), (position, UnixNanos(5), bytes));
            prop_assert!(record.entry.is_filler());
            let mut context = DecodeContext::new(&KeepAttributes::default());
            let content_type = record.entry.protocol.content_type();
            let decoded = decode_payload(content_type, &record.entry.payload, &mut context).expect("is valid");
            prop_assert_eq!((decoded.spans.len(), decoded.counts.rejected()), (0, 0));
        }

        #[test]
        fn a_note_is_read_back_and_is_a_request_that_says_nothing(
            text in prop::collection::vec(any::<u8>(), 0..20_000),
            received_at: u64,
        ) {
            let note = Entry::note(UnixNanos(received_at), &text);
            prop_assert_eq!(note.as_note(), Some(text.as_slice()));
            prop_assert!(!note.is_filler());
            let mut context = DecodeContext::new(&KeepAttributes::default());
            let content_type = note.protocol.content_type();
            let decoded = decode_payload(content_type, &note.payload, &mut context).expect("is valid");
            prop_assert_eq!((decoded.spans.len(), decoded.counts.rejected()), (0, 0));
            // What has anything beside it is none.
            let longer = [&note.payload[..], &[7]].concat();
            let longer = Entry { payload: longer.into(), ..note };
            prop_assert_eq!(longer.as_note(), None);
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
