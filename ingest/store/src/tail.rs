//! Where is a trace before it is in the store?
//!
//! In the journal's segments that aren't compacted yet: the one that is being written, and few others. They aren't
//! decoded for it: the trace's id is searched in the bytes, at gigabytes a second, and only requests that hold it are
//! read.

use std::io;
use std::path::Path;

use memchr::memmem::Finder;
use rekindle_ingest::journal;
use rekindle_ingest::{ContentType, JournalError, Record};
use rekindle_model::TraceId;

use crate::compact::read_note;
use crate::otlp::{Received, spans_of_protobuf};
use crate::otlp_json::spans_of_json;
use crate::{ReadCounts, StoreError, StoredSpan};

/// The spans of a trace that are in this journal and not in the store yet.
///
/// # Errors
/// When a segment can't be read.
pub fn trace_in_journal(dir: &Path, id: TraceId) -> Result<Vec<StoredSpan>, StoreError> {
    let compacted = read_note(dir)?;
    let sealed = journal::sealed_segments(dir)?.into_iter();
    let mut segments: Vec<_> = sealed
        .filter(|it| it.end > compacted)
        .map(|it| it.path)
        .collect();
    segments.extend(journal::last_segment(dir)?);
    let bytes = id.to_bytes();
    let (lower, upper) = (id.to_string(), id.to_string().to_uppercase());
    let finders = [
        Finder::new(&bytes),
        Finder::new(lower.as_bytes()),
        Finder::new(upper.as_bytes()),
    ];
    let mut spans = Vec::new();
    let mut counts = ReadCounts::default();
    for segment in segments {
        let mut each = |record: Record| {
            let payload = record.entry.payload;
            if !finders.iter().any(|it| it.find(&payload).is_some()) {
                return;
            }
            let received = Received {
                at: Some(record.entry.received_at),
                position: record.position,
            };
            let found = match record.entry.protocol.content_type() {
                ContentType::Protobuf => spans_of_protobuf(payload, received, &mut counts).ok(),
                ContentType::Json => spans_of_json(&payload, received, &mut counts).ok(),
            };
            spans.extend(found.into_iter().flatten().filter(|it| it.trace_id == id));
        };
        match journal::read_segment(&segment, &mut each) {
            // It was let go of since it was listed, so its spans are in the store.
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            read => {
                read?;
            }
        }
    }
    Ok(spans)
}
