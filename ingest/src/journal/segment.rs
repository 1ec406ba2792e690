//! What is in a directory of segments?
//!
//! A segment is named after its first position, so the names in order are the journal in order.
//! Reading stops at the first record that isn't whole: what lies behind it can't be told from noise.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rekindle_model::UnixNanos;

use super::JournalError;
use super::record::{self, HEADER_BYTES, Header, Record};

const EXTENSION: &str = "journal";

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Its first position, as its name says.
    pub(super) first: u64,
    pub(super) bytes: u64,
}

/// The path of the segment that begins at this position.
pub(super) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{EXTENSION}"))
}

/// The position that a segment's name says it begins at.
fn position_of(path: &Path) -> Option<u64> {
    path.extension().filter(|it| *it == EXTENSION)?;
    path.file_stem()?.to_str()?.parse().ok()
}

/// The segments of a directory, oldest first. Other files are left alone.
pub(super) fn list(dir: &Path) -> Result<Vec<Segment>, JournalError> {
    let failed = |source| JournalError::new("listing", dir, source);
    let mut segments = Vec::new();
    for file in fs::read_dir(dir).map_err(failed)? {
        let file = file.map_err(failed)?;
        let path = file.path();
        if let Some(first) = position_of(&path) {
            match file.metadata() {
                Ok(metadata) => segments.push(Segment {
                    path,
                    first,
                    bytes: metadata.len(),
                }),
                // The writer has removed it meanwhile: its time was over.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Whether it is another segment under this one's name: a copy, which would be read twice.
pub(super) fn is_misplaced(path: &Path) -> Result<bool, JournalError> {
    let header = read_any_header(path)?;
    Ok(header.is_some_and(|it| Some(it.first_position) != position_of(path)))
}

/// Reads only what begins a segment; `None` when it is damaged, or another segment's.
pub(super) fn read_header(path: &Path) -> Result<Option<Header>, JournalError> {
    let header = read_any_header(path)?;
    Ok(header.filter(|it| Some(it.first_position) == position_of(path)))
}

fn read_any_header(path: &Path) -> Result<Option<Header>, JournalError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let file = fs::File::open(path).map_err(|it| JournalError::new("opening", path, it))?;
    file.take(HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .map_err(|it| JournalError::new("reading", path, it))?;
    Ok(Header::read(&header))
}

/// What reading a segment came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes up to the end of the last whole record; zero when the header is damaged, or another segment's.
    pub(super) good: u64,
    /// Bytes behind them.
    pub(super) damaged: u64,
    /// The last record's position and time.
    pub(super) last: Option<(u64, UnixNanos)>,
    /// How many whole records there are, but fillers.
    pub(super) records: u64,
}

/// Hands out the records of a segment up to its end or the first damage.
pub(super) fn read(path: &Path, mut each: impl FnMut(Record)) -> Result<Extent, JournalError> {
    // A segment is some tens of megabytes; payloads are slices of it, not copies.
    let bytes = fs::read(path).map_err(|it| JournalError::new("reading", path, it))?;
    let bytes = Bytes::from(bytes);
    let mut extent = Extent {
        damaged: bytes.len() as u64,
        ..Extent::default()
    };
    let header = Header::read(&bytes);
    if header.is_none_or(|it| Some(it.first_position) != position_of(path)) {
        return Ok(extent);
    }
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let Some((record, length)) = record::read(&bytes.slice(at..)) else {
            break;
        };
        // Positions only grow: a record that steps back isn't of this place.
        if extent.last.is_some_and(|(last, _)| record.position <= last) {
            break;
        }
        at += length;
        extent.last = Some((record.position, record.entry.received_at));
        if !record.entry.is_filler() {
            extent.records += 1;
            each(record);
        }
    }
    extent.good = at as u64;
    extent.damaged = (bytes.len() - at) as u64;
    Ok(extent)
}
