//! How does what the journal holds get into the store, each span exactly once, whenever the engine is killed?
//!
//! A segment that nothing is added to any more is decoded, all of it; its spans are sorted and become one file for each
//! hour in which they were received (mostly one, at most two). The files' names say which segment it was. When they are
//! there for good, a note in the journal's folder says up to which position all is in the store, and when that is there
//! for good, too, the journal may let go. Killed before the note: the segment is compacted again, into files of the
//! same names. Killed after it: it isn't. No span is ever in neither.
//!
//! What an exporter sent twice is there once: within a segment by sorting, across segments because what was stored in
//! the last minutes is remembered. What comes again later than that is removed when the files of its hour are merged; in
//! another hour it stays, and is left out when a trace is read.
//!
//! Everything blocks, and is done in steps of at most some seconds, so that whoever drives it can rest in between.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_ingest::journal::{self, SealedSegment};
use rekindle_ingest::{ContentType, Journal};
use rekindle_model::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::merge;
use crate::otlp::{Received, spans_of_protobuf};
use crate::otlp_json::spans_of_json;
use crate::partition::Hour;
use crate::span::{Identity, sort_and_deduplicate};
use crate::store::{all_of, by_hour};
use crate::{ReadCounts, Retention, Store, StoreError, StoredSpan};

/// The note in the journal's folder.
const NOTE: &str = "compacted";

/// For how long it is remembered what was stored. Exporters give up sending again within five minutes (the Collector's
/// default), and wait at most one in between.
const REMEMBERED_FOR: Duration = Duration::from_secs(10 * 60);

/// Spans that are remembered at most, at 16 bytes each.
const REMEMBERED: usize = 2_000_000;

/// How often it is looked whether something is too old or too much.
const RETAIN_EVERY: Duration = Duration::from_secs(60);

/// What was done so far. The numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactCounts {
    /// Spans stored.
    pub spans: u64,
    /// Spans that were there already.
    pub duplicates: u64,
    /// Segments of the journal that are in the store.
    pub segments: u64,
    /// Merges of small files.
    pub merges: u64,
    /// Files removed because they were too old or too much.
    pub removed_files: u64,
    /// Bytes of those.
    pub removed_bytes: u64,
    /// Requests that couldn't be read.
    pub unreadable_requests: u64,
    /// Bytes of the journal that were damaged.
    pub damaged_bytes: u64,
    /// Texts that weren't UTF-8 and were mended.
    pub mended_text: u64,
    /// Values that nested too deep and are empty.
    pub cut_values: u64,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A segment is in the store.
    Compacted,
    /// Small files are one large one.
    Merged,
    /// There was nothing to do.
    Idle,
}

type Hook = Box<dyn Fn(&'static str) -> Result<(), StoreError> + Send>;

/// Brings the journal's segments into the store, and keeps it in order. One per store.
pub struct Compactor {
    store: std::sync::Arc<Store>,
    journal_dir: PathBuf,
    journal: Journal,
    retention: Retention,
    recent: Recent,
    counts: CompactCounts,
    compacted: u64,
    retained_at: Option<UnixNanos>,
    /// Whether it was looked what is there.
    is_caught_up: bool,
    /// Told of each step that would matter if the process ended there.
    hook: Option<Hook>,
    _lock: Option<File>,
}

impl std::fmt::Debug for Compactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compactor")
            .field("journal_dir", &self.journal_dir)
            .field("compacted", &self.compacted)
            .finish_non_exhaustive()
    }
}

impl Compactor {
    /// Takes hold of the store, and tells the journal what is stored already. What lies in the store is looked at by
    /// the first step: a bucket may be out of reach for a while, and exporters are answered meanwhile. Blocks.
    ///
    /// # Errors
    /// When another process compacts into this store, or its folder can't be made, or the journal's can't be read.
    pub fn start(
        store: std::sync::Arc<Store>,
        journal: Journal,
        journal_dir: &Path,
        retention: Retention,
    ) -> Result<Self, StoreError> {
        let lock = store.own()?;
        let compacted = read_note(journal_dir)?;
        journal.release(compacted);
        Ok(Self {
            store,
            journal_dir: journal_dir.to_owned(),
            journal,
            retention,
            recent: Recent::default(),
            counts: CompactCounts::default(),
            compacted,
            retained_at: None,
            is_caught_up: false,
            hook: None,
            _lock: lock,
        })
    }

    /// Finishes what an earlier life broke off, and remembers what it stored.
    fn catch_up(&mut self, now: UnixNanos) -> Result<(), StoreError> {
        self.store.place.remove_partial(now)?;
        let left = merge::finish_broken_off(&self.store)?;
        if left > 0 {
            tracing::info!(files = left, "a merge that was broken off is finished");
        }
        self.remember_stored()?;
        self.is_caught_up = true;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn hook(&mut self, hook: Hook) {
        self.hook = Some(hook);
    }

    /// What was done so far.
    pub fn counts(&self) -> CompactCounts {
        self.counts
    }

    /// All before this position of the journal is in the store.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Does the next thing that is due.
    ///
    /// # Errors
    /// When something can't be read or written. Nothing is lost; the next step tries again.
    pub fn step(&mut self, now: UnixNanos) -> Result<Step, StoreError> {
        if !self.is_caught_up {
            self.catch_up(now)?;
        }
        let sealed = journal::sealed_segments(&self.journal_dir)?;
        if let Some(segment) = sealed.iter().find(|it| it.end > self.compacted) {
            self.compact(segment)?;
            return Ok(Step::Compacted);
        }
        if self
            .retained_at
            .is_none_or(|at| now.since(at) >= RETAIN_EVERY)
        {
            self.retained_at = Some(now);
            let removed = self.store.retain(self.retention, now)?;
            self.counts.removed_files += removed.files;
            self.counts.removed_bytes += removed.bytes;
        }
        while let Some(due) = merge::due(&self.store.sound_files()?, now, false) {
            let duplicates = match merge::merge(&self.store, &due, now, &|step| self.passed(step)) {
                // The next round goes without it.
                Err(error) if due.has_damage(&error) && self.store.is_set_aside(&error) => continue,
                merged => merged?,
            };
            self.counts.duplicates += duplicates;
            self.counts.merges += 1;
            return Ok(Step::Merged);
        }
        Ok(Step::Idle)
    }

    /// How many sealed segments aren't in the store yet.
    ///
    /// # Errors
    /// When the journal's folder can't be read.
    pub fn behind(&self) -> Result<usize, StoreError> {
        let sealed = journal::sealed_segments(&self.journal_dir)?;
        Ok(sealed.iter().filter(|it| it.end > self.compacted).count())
    }

    fn passed(&self, step: &'static str) -> Result<(), StoreError> {
        match &self.hook {
            Some(hook) => hook(step),
            None => Ok(()),
        }
    }

    fn compact(&mut self, segment: &SealedSegment) -> Result<(), StoreError> {
        let mut reading = ReadCounts::default();
        let mut unreadable = 0;
        let mut spans = Vec::new();
        let read = journal::read_segment(&segment.path, |record| {
            let received = Received {
                at: Some(record.entry.received_at),
                position: record.position,
            };
            let payload = record.entry.payload;
            let of_request = match record.entry.protocol.content_type() {
                ContentType::Protobuf => spans_of_protobuf(payload, received, &mut reading).ok(),
                ContentType::Json => spans_of_json(&payload, received, &mut reading).ok(),
            };
            match of_request {
                Some(mut of_request) => spans.append(&mut of_request),
                None => unreadable += 1,
            }
        })?;
        if unreadable > 0 || read.damaged_bytes > 0 {
            tracing::warn!(
                segment = %segment.path.display(),
                unreadable,
                damaged_bytes = read.damaged_bytes,
                "not all of a journal segment could be stored"
            );
        }
        self.passed("read")?;
        let mut duplicates = sort_and_deduplicate(&mut spans);
        let before = spans.len();
        spans.retain(|span| !self.recent.holds(span));
        duplicates += (before - spans.len()) as u64;
        let stored = spans.len() as u64;
        let last = spans.iter().map(|span| span.received_at).max();
        let keys = spans.iter().map(|span| self.recent.key(&span.identity()));
        let keys: Vec<u128> = keys.collect();
        let began = segment.first_received_at.unwrap_or_default();
        for (hour, spans) in by_hour(spans) {
            let path = format!("{}/{}", hour.folder(), file_name(began, segment.first));
            self.store.write(&path, spans, &|step| self.passed(step))?;
        }
        write_note(&self.journal_dir, segment.end, &|step| self.passed(step))?;
        // Only now: what a failed attempt remembered would be missing from the next.
        self.recent.add(keys, last.unwrap_or(began));
        self.compacted = segment.end;
        self.journal.release(segment.end);
        self.passed("released")?;
        let counts = &mut self.counts;
        counts.segments += 1;
        counts.spans += stored;
        counts.duplicates += duplicates;
        counts.unreadable_requests += unreadable;
        counts.damaged_bytes += read.damaged_bytes;
        counts.mended_text += reading.mended_text;
        counts.cut_values += reading.cut_values;
        Ok(())
    }

    /// What was stored last, so that a restart between a span and its repetition makes no difference.
    fn remember_stored(&mut self) -> Result<(), StoreError> {
        let files = self.store.files()?;
        let Some(newest) = files.last().and_then(|it| Hour::of_path(&it.path)) else {
            return Ok(());
        };
        // The segment that is compacted next may have been stored, without the note: its own file is none to heed.
        let sealed = journal::sealed_segments(&self.journal_dir)?;
        let next = sealed.iter().find(|it| it.end > self.compacted);
        let own = next.map(|it| file_name(it.first_received_at.unwrap_or_default(), it.first));
        let since = newest.end().minus(Duration::from_secs(2 * 3600));
        let mut remembered = Vec::new();
        let mut spans = 0;
        for file in files.iter().rev() {
            let lately = Hour::of_path(&file.path).is_some_and(|hour| hour.end() > since);
            let is_own = own
                .as_ref()
                .is_some_and(|own| file.path.ends_with(own.as_str()));
            if !lately || spans >= REMEMBERED {
                break;
            }
            if !is_own {
                let mut keys = Vec::new();
                let read = self.store.reader(&file.path).and_then(|reader| {
                    let mut key = |spans: &mut Vec<StoredSpan>| -> Result<(), StoreError> {
                        let found = spans.iter().map(|it| self.recent.key(&it.identity()));
                        keys.extend(found);
                        Ok(())
                    };
                    all_of(reader.identities(), &file.path, &mut key)
                });
                match read {
                    Err(error) if self.store.is_set_aside(&error) => {}
                    read => drop(read?),
                }
                spans += keys.len();
                remembered.push(keys);
            }
        }
        for keys in remembered.into_iter().rev() {
            self.recent.add(keys, newest.end());
        }
        Ok(())
    }
}

/// The name of a segment's files.
fn file_name(began: UnixNanos, first: u64) -> String {
    format!("segment-{:020}-{first:020}.parquet", began.0)
}

/// What was stored in the last minutes. Of each span 128 bits, hashed with keys that nobody outside knows: that two
/// spans share them is less likely than that the disk errs.
#[derive(Debug, Default)]
struct Recent {
    hashers: [RandomState; 2],
    /// Sorted, a list per file, oldest first; with when its last span was received.
    files: VecDeque<(UnixNanos, Vec<u128>)>,
    spans: usize,
}

impl Recent {
    fn key(&self, identity: &Identity) -> u128 {
        let [high, low] = [0, 1].map(|at| u128::from(self.hashers[at].hash_one(identity)));
        high << 64 | low
    }

    fn holds(&self, span: &StoredSpan) -> bool {
        let key = self.key(&span.identity());
        let mut files = self.files.iter();
        files.any(|(_, keys)| keys.binary_search(&key).is_ok())
    }

    fn add(&mut self, mut keys: Vec<u128>, last: UnixNanos) {
        keys.sort_unstable();
        self.spans += keys.len();
        self.files.push_back((last, keys));
        while let Some((at, keys)) = self.files.front() {
            let old = last.since(*at) > REMEMBERED_FOR || self.spans > REMEMBERED;
            if !old || self.files.len() < 2 {
                break;
            }
            self.spans -= keys.len();
            self.files.pop_front();
        }
    }
}

/// Up to which position all is in the store.
pub(crate) fn read_note(journal_dir: &Path) -> Result<u64, StoreError> {
    let path = journal_dir.join(NOTE);
    let noted = match fs::read_to_string(&path) {
        // It is written whole or not at all; what is no number was never ours.
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(StoreError::io("reading", path.display().to_string(), error)),
    };
    if noted == 0 {
        return Ok(0);
    }
    // What was compacted has a successor, at whose beginning the note ends at the latest, if that wasn't taken back. A
    // journal that ends before was removed by hand, and its positions have begun anew.
    let mut last = 0;
    if let Some(segment) = journal::last_segment(journal_dir)? {
        let name = segment.file_stem().and_then(|it| it.to_str());
        last = name.and_then(|it| it.parse().ok()).unwrap_or(u64::MAX);
        if noted > last {
            journal::read_segment(&segment, |record| last = record.position + 1)?;
        }
    }
    if noted > last {
        tracing::warn!(
            path = %path.display(), noted, last,
            "the note lies behind the journal's end, whose segments were removed: all of the journal is stored anew"
        );
        return Ok(0);
    }
    Ok(noted)
}

fn write_note(
    journal_dir: &Path,
    position: u64,
    passed: &dyn Fn(&'static str) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let path = journal_dir.join(NOTE);
    let partial = journal_dir.join("compacted.partial");
    let failed = |source| StoreError::io("writing", path.display().to_string(), source);
    let mut file = File::create(&partial).map_err(failed)?;
    file.write_all(position.to_string().as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    passed("note written")?;
    fs::rename(&partial, &path).map_err(failed)?;
    passed("note named")?;
    rekindle_ingest::sync_folder(journal_dir).map_err(failed)?;
    passed("note synced")
}
