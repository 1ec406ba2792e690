//! The store: where spans are after the journal. Who asks for one trace, for all of a time, or for what is too old?
//!
//! Any number of readers, and of writers that only add. One process compacts: it alone merges files and removes them,
//! so a file that a reader has seen may be gone when it is opened. Its spans are in another by then, and the reader
//! looks again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parquet::file::metadata::ParquetMetaData;
use rekindle_ingest::{LOCK, lock_folder, make_folder};
use rekindle_model::{TraceId, UnixNanos};

use crate::partition::Hour;
use crate::place::{FOLDER_MODE, Place, StoredFile};
use crate::read::{SpanReader, Spans, footer};
use crate::span::sort_and_deduplicate;
use crate::write::file_of;
use crate::{AlikeReader, ReadCounts, StoreError, StoredSpan};

/// Footers that are remembered, so that the next lookup needn't read them again: some hundreds of files.
const FOOTER_BYTES: usize = 64 << 20;

/// How often a lookup begins anew because a file was merged into another meanwhile.
const ATTEMPTS: usize = 5;

/// Traces of more spans than this aren't put together: nobody can look at them, and they come from outside.
const MAX_SPANS_OF_TRACE: usize = 100_000;

/// Files that a lookup looks into at a time: it waits for the disk, or for a bucket's answers, most of its time.
const LOOKUP_THREADS: usize = 4;

/// Spans in files of Parquet.
#[derive(Debug)]
pub struct Store {
    pub(crate) place: Place,
    footers: Mutex<Footers>,
    /// Files that turned out damaged: left out of lookups and merges, and complained about once.
    unreadable: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Footers {
    by_path: HashMap<String, Arc<ParquetMetaData>>,
    bytes: usize,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoreSize {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Hours of which there are any.
    pub hours: u64,
}

/// What is kept at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how long; for ever when `None`.
    pub keep_for: Option<Duration>,
    /// How many bytes; any number when `None`.
    pub keep_bytes: Option<u64>,
}

impl Store {
    /// A store in a folder (a path or `file://…`) or a bucket (`s3://BUCKET/PREFIX`, cargo feature `s3`). Nothing is
    /// touched yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn at(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            place: Place::at(url)?,
            footers: Mutex::default(),
            unreadable: Mutex::default(),
        })
    }

    /// A store in a place that no address names.
    #[cfg(all(test, feature = "s3"))]
    pub(crate) fn of(place: Place) -> Self {
        Self {
            place,
            footers: Mutex::default(),
            unreadable: Mutex::default(),
        }
    }

    /// Where it is on this machine's disk, whether it is there yet or not; of a bucket `None`.
    pub fn folder(&self) -> Option<&Path> {
        self.place.folder()
    }

    /// All files, oldest hour first.
    ///
    /// # Errors
    /// When a folder can't be read. One that isn't there yet has no files.
    pub fn files(&self) -> Result<Vec<StoredFile>, StoreError> {
        self.place.list()
    }

    /// How much there is.
    ///
    /// # Errors
    /// As of [`files`](Self::files).
    pub fn size(&self) -> Result<StoreSize, StoreError> {
        let files = self.files()?;
        let mut hours: Vec<_> = files.iter().map(|it| Hour::of_path(&it.path)).collect();
        hours.dedup();
        Ok(StoreSize {
            files: files.len() as u64,
            bytes: files.iter().map(|it| it.bytes).sum(),
            hours: hours.len() as u64,
        })
    }

    /// The spans of a trace, each once, by start; empty when there are none.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn trace(&self, id: TraceId) -> Result<Vec<StoredSpan>, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_trace(id) {
                Err(error) if error.is_missing() && attempt < ATTEMPTS => attempt += 1,
                found => return found,
            }
        }
    }

    fn try_trace(&self, id: TraceId) -> Result<Vec<StoredSpan>, StoreError> {
        let files = self.files()?;
        let found = AtomicUsize::new(0);
        let one_of = &|first: usize| -> Result<Vec<StoredSpan>, StoreError> {
            let mut spans = Vec::new();
            let mut counts = ReadCounts::default();
            // Whoever asks mostly asks for what was lately.
            for file in files.iter().rev().skip(first).step_by(LOOKUP_THREADS) {
                let of_file = self.reader(&file.path).and_then(|it| {
                    let of_file = it.trace(id, MAX_SPANS_OF_TRACE, &mut counts);
                    of_file.map_err(StoreError::parquet("reading", &file.path))
                });
                match of_file {
                    Err(error) if self.is_set_aside(&error) => {}
                    of_file => {
                        let of_file = of_file?;
                        found.fetch_add(of_file.len(), Ordering::Relaxed);
                        spans.extend(of_file);
                    }
                }
                if found.load(Ordering::Relaxed) >= MAX_SPANS_OF_TRACE {
                    break;
                }
            }
            Ok(spans)
        };
        let mut spans = std::thread::scope(|scope| {
            let parts: Vec<_> = (1..LOOKUP_THREADS.min(files.len()))
                .map(|first| scope.spawn(move || one_of(first)))
                .collect();
            let mut spans = one_of(0)?;
            for part in parts {
                let part = part.join();
                spans.extend(part.unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok::<_, StoreError>(spans)
        })?;
        sort_and_deduplicate(&mut spans);
        spans.sort_by_key(|span| (span.start, span.span_id));
        Ok(spans)
    }

    /// Hands out all spans that were received from `since` to before `until`, some at a time, hour by hour, in the
    /// order of their files. One that lies in two files (it was sent twice, hours apart) comes twice.
    ///
    /// # Errors
    /// When a file can't be read, or what `each` answers.
    pub fn scan<E: From<StoreError>>(
        &self,
        since: UnixNanos,
        until: UnixNanos,
        mut each: impl FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
    ) -> Result<ReadCounts, E> {
        let mut counts = ReadCounts::default();
        let wanted = |span: &StoredSpan| (since..until).contains(&span.received_at);
        for file in self.files()? {
            let in_time = Hour::of_path(&file.path)
                .is_none_or(|hour| hour.end() > since && hour <= Hour::of(until));
            if in_time {
                let mut counted = |spans: &mut Vec<StoredSpan>| {
                    spans.retain(wanted);
                    each(spans)
                };
                counts.add(self.read(&file.path, &mut counted)?);
            }
        }
        Ok(counts)
    }

    /// Readers of all files for analysis, in the order of their paths; spans of one trace may lie in several.
    ///
    /// # Errors
    /// When the files can't be listed, or one can't be opened.
    pub fn alike(&self) -> Result<Vec<AlikeReader>, StoreError> {
        let files = self.files()?.into_iter();
        files
            .map(|file| Ok(AlikeReader::new(self.reader(&file.path)?, file.path)))
            .collect()
    }

    /// Hands out all spans of one file, some at a time.
    pub(crate) fn read<E: From<StoreError>>(
        &self,
        path: &str,
        each: &mut dyn FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
    ) -> Result<ReadCounts, E> {
        let reader = self.reader(path)?;
        all_of(reader.spans(), path, each)
    }

    /// Adds spans from elsewhere; they count as received when they ended, or as they say, but not after now: a host
    /// whose clock is ahead would make folders that never get old. `name` tells this file from others, `number` from
    /// others of this import. How many were already among themselves.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn add(
        &self,
        mut spans: Vec<StoredSpan>,
        name: &str,
        number: u64,
        now: UnixNanos,
    ) -> Result<u64, StoreError> {
        let nothing = |_: &'static str| Ok(());
        for span in &mut spans {
            span.received_at = span.received_at.min(now);
        }
        let mut duplicates = 0;
        for (hour, mut spans) in by_hour(spans) {
            duplicates += sort_and_deduplicate(&mut spans);
            let path = format!("{}/import-{name}-{number:06}.parquet", hour.folder());
            self.write(&path, spans, &nothing)?;
        }
        Ok(duplicates)
    }

    /// Merges the small files of each hour, so that what lies in two of them is there once; how many spans did. `None`
    /// when a daemon has the store: it does so itself, when the hour is over.
    ///
    /// # Errors
    /// When a file can't be read or written.
    pub fn tidy(&self, now: UnixNanos) -> Result<Option<u64>, StoreError> {
        let _lock = match self.own() {
            Ok(lock) => lock,
            Err(StoreError::InUse { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        crate::merge::finish_broken_off(self)?;
        let mut duplicates = 0;
        while let Some(due) = crate::merge::due(&self.sound_files()?, now, true) {
            match crate::merge::merge(self, &due, now, &|_| Ok(())) {
                // The next round goes without it.
                Err(error) if due.has_damage(&error) && self.is_set_aside(&error) => {}
                merged => duplicates += merged?,
            }
        }
        Ok(Some(duplicates))
    }

    /// Writes a file of these spans, which are in order.
    pub(crate) fn write(
        &self,
        path: &str,
        spans: Vec<StoredSpan>,
        passed: &dyn Fn(&'static str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let file = file_of(spans).map_err(StoreError::parquet("writing", path))?;
        self.put(path, file, passed)
    }

    /// Puts a file there for good. What was known of one of the same name isn't true any more.
    pub(crate) fn put(
        &self,
        path: &str,
        bytes: Vec<u8>,
        passed: &dyn Fn(&'static str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let put = self.place.put(path, bytes, passed);
        self.forget(path);
        put
    }

    /// Whether it is one damaged file that is wrong, which must not keep others from being read. It is remembered.
    pub(crate) fn is_set_aside(&self, error: &StoreError) -> bool {
        let Some(path) = error.damaged() else {
            return false;
        };
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if unreadable.insert(path.to_owned()) {
            let source = std::error::Error::source(error);
            tracing::warn!(%error, source, files = unreadable.len(), "a damaged file of the store is left out");
        }
        true
    }

    /// All files that may be merged: those that aren't known to be damaged.
    pub(crate) fn sound_files(&self) -> Result<Vec<StoredFile>, StoreError> {
        let mut files = self.files()?;
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        files.retain(|it| !unreadable.contains(&it.path));
        Ok(files)
    }

    /// How many files turned out damaged and are left out since this store was opened.
    pub fn unreadable_files(&self) -> u64 {
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unreadable.len() as u64
    }

    fn forget(&self, path: &str) {
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unreadable.remove(path);
        drop(unreadable);

        let mut footers = self.lock();
        if let Some(footer) = footers.by_path.remove(path) {
            footers.bytes = footers.bytes.saturating_sub(footer.memory_size());
        }
    }

    /// Removes what is too old or too much, the oldest hours first; how much that was, of how many hours.
    ///
    /// # Errors
    /// When a file can't be removed.
    pub(crate) fn retain(
        &self,
        retention: Retention,
        now: UnixNanos,
    ) -> Result<StoreSize, StoreError> {
        let files = self.files()?;
        let mut bytes: u64 = files.iter().map(|it| it.bytes).sum();
        let mut removed = StoreSize::default();
        let mut last = None;
        for file in &files {
            let hour = Hour::of_path(&file.path);
            let old = retention
                .keep_for
                .is_some_and(|keep_for| hour.is_some_and(|hour| hour.end() < now.minus(keep_for)));
            let much = retention.keep_bytes.is_some_and(|it| bytes > it);
            if !old && !much {
                // Files come by hour: what is behind is newer.
                break;
            }
            self.remove(&file.path)?;
            bytes -= file.bytes;
            removed.files += 1;
            removed.bytes += file.bytes;
            removed.hours += u64::from(last != Some(hour));
            last = Some(hour);
        }
        Ok(removed)
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.place.remove(path)?;
        self.forget(path);
        Ok(())
    }

    pub(crate) fn reader(&self, path: &str) -> Result<SpanReader, StoreError> {
        let source = self.place.open(path)?;
        let known = self.lock().by_path.get(path).cloned();
        let metadata = match known {
            Some(metadata) => metadata,
            None => {
                let metadata = footer(&source).map_err(StoreError::parquet("reading", path))?;
                self.remember(path, &metadata);
                metadata
            }
        };
        SpanReader::new(source, metadata).map_err(StoreError::parquet("reading", path))
    }

    fn remember(&self, path: &str, metadata: &Arc<ParquetMetaData>) {
        let mut footers = self.lock();
        let bytes = metadata.memory_size();
        if footers.bytes + bytes > FOOTER_BYTES {
            *footers = Footers::default();
        }
        footers.bytes += bytes;
        footers
            .by_path
            .insert(path.to_owned(), Arc::clone(metadata));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Footers> {
        self.footers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to merge and remove files, until the answer is dropped. A bucket has no locks: there the
    /// daemons' configurations must not name the same one.
    pub(crate) fn own(&self) -> Result<Option<File>, StoreError> {
        let Some(folder) = self.place.folder() else {
            return Ok(None);
        };
        make_folder(folder, FOLDER_MODE)
            .map_err(|it| StoreError::io("making", folder.display().to_string(), it))?;
        let path = folder.join(LOCK);
        let held = lock_folder(folder)
            .map_err(|it| StoreError::io("locking", path.display().to_string(), it))?;
        match held {
            Some(file) => Ok(Some(file)),
            None => Err(StoreError::InUse { path }),
        }
    }
}

/// Spans by the hours in which they were received.
pub(crate) fn by_hour(spans: Vec<StoredSpan>) -> BTreeMap<Hour, Vec<StoredSpan>> {
    let mut hours: BTreeMap<Hour, Vec<StoredSpan>> = BTreeMap::new();
    for span in spans {
        hours
            .entry(Hour::of(span.received_at))
            .or_default()
            .push(span);
    }
    hours
}

/// Hands out all these spans of a file, some at a time.
pub(crate) fn all_of<E: From<StoreError>>(
    mut all: Spans<'_>,
    path: &str,
    each: &mut dyn FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
) -> Result<ReadCounts, E> {
    let mut counts = ReadCounts::default();
    let mut spans = Vec::new();
    loop {
        let more = all.next(&mut spans, &mut counts);
        if !more.map_err(StoreError::parquet("reading", path))? {
            return Ok(counts);
        }
        each(&mut spans)?;
        spans.clear();
    }
}

/// Hands out all spans of a Parquet file that may lie anywhere, some at a time.
///
/// # Errors
/// When it can't be read, or isn't of the store's schema; or what `each` answers.
pub fn read_file<E: From<StoreError>>(
    path: &Path,
    mut each: impl FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
) -> Result<ReadCounts, E> {
    let (reader, name) = open_file(path)?;
    all_of(reader.spans(), &name, &mut each)
}

/// The reader of a Parquet file that may lie anywhere, for analysis.
///
/// # Errors
/// When it can't be opened, or isn't of the store's schema.
pub fn alike_file(path: &Path) -> Result<AlikeReader, StoreError> {
    let (reader, name) = open_file(path)?;
    Ok(AlikeReader::new(reader, name))
}

fn open_file(path: &Path) -> Result<(SpanReader, String), StoreError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|it| StoreError::io("opening", &name, it))?;
    let reader = SpanReader::open(crate::source::Source::File(file))
        .map_err(StoreError::parquet("reading", &name))?;
    Ok((reader, name))
}

/// Hands out all spans of a Parquet file in memory: for fuzzing, and what came over a network.
///
/// # Errors
/// As of [`read_file`].
pub fn read_bytes(bytes: bytes::Bytes) -> Result<(Vec<StoredSpan>, ReadCounts), StoreError> {
    let reader = SpanReader::open(crate::place::source_of(bytes))
        .map_err(StoreError::parquet("reading", "memory"))?;
    let mut found = Vec::new();
    let mut each = |spans: &mut Vec<StoredSpan>| -> Result<(), StoreError> {
        found.append(spans);
        Ok(())
    };
    let counts = all_of(reader.spans(), "memory", &mut each)?;
    Ok((found, counts))
}

/// A Parquet file of these spans, in the store's schema and order.
///
/// # Errors
/// When it can't be written, which memory always can.
pub fn parquet_of(mut spans: Vec<StoredSpan>) -> Result<Vec<u8>, StoreError> {
    sort_and_deduplicate(&mut spans);
    file_of(spans).map_err(StoreError::parquet("writing", "memory"))
}
