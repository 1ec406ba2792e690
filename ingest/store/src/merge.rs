//! How do many small files become few large ones, with every span in exactly one of them?
//!
//! Each segment of the journal becomes a file of its own, so that a segment compacted twice, because the engine was
//! killed in between, overwrites itself. But whoever looks for a trace opens every file: so the small ones of an hour
//! are merged, some at a time while it lasts, all of them when it is over. Large files aren't written again.
//!
//! Of a span that lies in two files one goes: both may be merged, or one is, and the other's columns that tell spans
//! from each other are read beside. A merge leaves no span that another file of its hour has, so that of any two files
//! the later merge has seen to it. But what was written down goes only for what was read: the other's copy is looked
//! at whole, and where its file turns out damaged, or says something else, both stay. One small file that is left of an hour is written again if it was made before the
//! hour was over.
//!
//! The new file is there for good before the old ones are removed, and its metadata says whom it replaces. An engine
//! killed in between finds that when it starts, and removes the old ones first of all.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::Duration;

use parquet::file::metadata::KeyValue;
use rekindle_model::UnixNanos;

use crate::partition::Hour;
use crate::place::StoredFile;
use crate::read::{SpanReader, Spans};
use crate::span::Identity;
use crate::write::SpanWriter;
use crate::{ReadCounts, Store, StoreError, StoredSpan};

/// In a merged file's metadata: the names of those it replaces, which lay in the same folder.
const REPLACES: &str = "rekindle.replaces";

/// Files of at least so many bytes are left alone. A lookup opens each file, and of a hundred million spans some five
/// gigabytes are kept: so there are some fifty files then.
const LARGE_BYTES: u64 = 64 << 20;

/// Files merged together hold no more than this, because the new one is built in memory.
const MERGED_BYTES: u64 = 128 << 20;

/// Files merged at a time, and so many small ones an hour may have while it lasts: a page per column is in memory for
/// each.
const FILES_AT_ONCE: usize = 16;

/// How long after an hour its last files may come: requests that waited for the disk, the segment that is still open.
const OVER_AFTER: Duration = Duration::from_secs(15 * 60);

/// Of an hour's other files so many are looked into for spans that are there already, the newest ones: what was sent
/// again came soon after. A page of five columns is in memory for each, and each costs as long as a tenth of what is
/// merged; one that does have some is read whole. Up to some four thousand spans a second no hour has more.
const BESIDE_AT_ONCE: usize = 16;

/// A merge that is due.
#[derive(Debug)]
pub(crate) struct Due {
    /// Small files of one hour, which become one.
    files: Vec<StoredFile>,
    /// Others of that hour, which stay.
    beside: Vec<StoredFile>,
}

impl Due {
    /// Whether what went wrong is that one of its files is damaged.
    pub(crate) fn has_damage(&self, error: &StoreError) -> bool {
        let mut files = self.files.iter().chain(&self.beside);
        error
            .damaged()
            .is_some_and(|path| files.any(|it| it.path == path))
    }
}

/// What is to be merged next. To whoever tidies up (`is_last`) an hour is over even if more may come, so that what was
/// added twice is there once.
pub(crate) fn due(files: &[StoredFile], now: UnixNanos, is_last: bool) -> Option<Due> {
    let by_hour = files.chunk_by(|a, b| Hour::of_path(&a.path) == Hour::of_path(&b.path));
    for of_hour in by_hour {
        let Some(hour) = Hour::of_path(&of_hour[0].path) else {
            continue;
        };
        let mut small: Vec<&StoredFile> =
            of_hour.iter().filter(|it| it.bytes < LARGE_BYTES).collect();
        small.sort_by_key(|it| (it.bytes, &it.path));
        let mut over_at = hour.end().plus(OVER_AFTER);
        if is_last {
            over_at = over_at.min(now.minus(Duration::from_nanos(1)));
        }
        let enough = if over_at < now { 1 } else { FILES_AT_ONCE };
        if small.len() < enough {
            continue;
        }
        let mut bytes = 0;
        let chosen = small.into_iter().take(FILES_AT_ONCE).take_while(|it| {
            bytes += it.bytes;
            bytes <= MERGED_BYTES
        });
        let chosen: Vec<StoredFile> = chosen.cloned().collect();
        let is_chosen = |it: &StoredFile| chosen.contains(it);
        let mut beside: Vec<StoredFile> = of_hour
            .iter()
            .filter(|it| !is_chosen(it))
            .cloned()
            .collect();
        let is_left_alone = match &chosen[..] {
            [one] => beside.is_empty() || merged_at(&one.path) > Some(over_at),
            several => several.is_empty(),
        };
        if is_left_alone {
            continue;
        }
        beside.sort_by_key(|it| std::cmp::Reverse((merged_at(&it.path), it.path.clone())));
        beside.truncate(BESIDE_AT_ONCE);
        return Some(Due {
            files: chosen,
            beside,
        });
    }
    None
}

/// Merges files of one hour into one; how many spans lay in two of them, or in another of that hour.
pub(crate) fn merge(
    store: &Store,
    due: &Due,
    now: UnixNanos,
    passed: &dyn Fn(&'static str) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let files = &due.files;
    let Some((folder, _)) = files.first().and_then(|it| it.path.rsplit_once('/')) else {
        return Ok(0);
    };
    let mut names: Vec<&str> = files.iter().filter_map(|it| name(&it.path)).collect();
    names.sort_unstable();
    let target = format!("{folder}/{}", merged_name(now, &names));
    // It would take the spans of whatever file has that name already, and that may be one of these.
    match store.place.open(&target) {
        Ok(_) => {
            let exists = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(StoreError::io("merging into", target, exists));
        }
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error),
    }
    let failed = |path: &str| StoreError::parquet("merging", path.to_owned());
    let open = |files: &[StoredFile]| -> Result<Vec<SpanReader>, StoreError> {
        files.iter().map(|it| store.reader(&it.path)).collect()
    };
    let (readers, beside) = (open(files)?, open(&due.beside)?);
    let mut inputs = inputs_of(files, &readers, SpanReader::spans);
    let mut beside = beside_of(&due.beside, &beside);
    let mut writer = SpanWriter::new(Vec::new()).map_err(failed(&target))?;
    let mut duplicates = 0;
    let mut last = None;
    while let Some(span) = next(&mut inputs)? {
        let identity = span.identity();
        if last == Some(identity) || is_in(&mut beside, &span)? {
            duplicates += 1;
            continue;
        }
        last = Some(identity);
        writer.push(span).map_err(failed(&target))?;
    }
    writer.note(KeyValue::new(REPLACES.to_owned(), names.join(",")));
    let bytes = writer.finish().map_err(failed(&target))?;
    passed("merged")?;
    store.put(&target, bytes, passed)?;
    for file in files {
        store.remove(&file.path)?;
        passed("part removed")?;
    }
    Ok(duplicates)
}

/// Removes what a merge that was broken off has left beside its result.
pub(crate) fn finish_broken_off(store: &Store) -> Result<u64, StoreError> {
    let files = store.files()?;
    let mut removed = 0;
    for of_hour in files.chunk_by(|a, b| Hour::of_path(&a.path) == Hour::of_path(&b.path)) {
        if of_hour.len() < 2 {
            continue;
        }
        let mut replaced = HashSet::new();
        for file in of_hour {
            if name(&file.path).is_some_and(|it| it.starts_with("merged-")) {
                match store.reader(&file.path) {
                    Err(error) if store.is_set_aside(&error) => {}
                    reader => replaced.extend(reader?.note(REPLACES)),
                }
            }
        }
        for file in of_hour {
            if name(&file.path).is_some_and(|it| replaced.contains(it)) {
                store.remove(&file.path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// The name of the file that replaces these. No two merges share one: many of one hour may be done at one time, and no
/// two replace the same files.
fn merged_name(now: UnixNanos, replaced: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    replaced.hash(&mut hasher);
    format!("merged-{:020}-{:016x}.parquet", now.0, hasher.finish())
}

fn name(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(_, name)| name)
}

/// When a file was merged; `None` of one that wasn't.
fn merged_at(path: &str) -> Option<UnixNanos> {
    let (nanos, _) = name(path)?.strip_prefix("merged-")?.split_once('-')?;
    nanos.parse().ok().map(UnixNanos)
}

/// A file that is being read.
struct Input<'a> {
    path: &'a str,
    spans: Spans<'a>,
    waiting: VecDeque<StoredSpan>,
}

fn inputs_of<'a>(
    files: &'a [StoredFile],
    readers: &'a [SpanReader],
    spans: impl Fn(&'a SpanReader) -> Spans<'a>,
) -> Vec<Input<'a>> {
    let pairs = files.iter().zip(readers);
    let inputs = pairs.map(|(file, reader)| Input {
        path: &file.path,
        spans: spans(reader),
        waiting: VecDeque::new(),
    });
    inputs.collect()
}

/// A file that stays.
struct Beside<'a> {
    /// What it has.
    identities: Input<'a>,
    /// The same spans with all they say; nothing is read of them before one is looked for.
    whole: Input<'a>,
    is_sound: bool,
}

fn beside_of<'a>(files: &'a [StoredFile], readers: &'a [SpanReader]) -> Vec<Beside<'a>> {
    let identities = inputs_of(files, readers, SpanReader::identities);
    let whole = inputs_of(files, readers, SpanReader::spans);
    let pairs = identities.into_iter().zip(whole);
    let beside = pairs.map(|(identities, whole)| Beside {
        identities,
        whole,
        is_sound: true,
    });
    beside.collect()
}

impl Beside<'_> {
    /// Whether the file has this span and says the same of it, apart from when it was received.
    fn has(&mut self, span: &StoredSpan) -> Result<bool, StoreError> {
        let identity = span.identity();
        if !self.is_sound || self.identities.find(identity)?.is_none() {
            return Ok(false);
        }
        match self.whole.find(identity) {
            Ok(Some(copy)) => {
                let as_this = StoredSpan {
                    received_at: span.received_at,
                    position: span.position,
                    ..copy.clone()
                };
                Ok(as_this == *span)
            }
            Ok(None) => Ok(false),
            // It isn't set aside: its other pages may be sound, and lookups of those be answered.
            Err(error) if error.damaged().is_some() => {
                let source = std::error::Error::source(&error);
                tracing::warn!(%error, source, "a damaged file may have spans that are kept twice therefore");
                self.is_sound = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether one of these files has this span. They are asked for one after the other in the store's order.
fn is_in(beside: &mut [Beside<'_>], span: &StoredSpan) -> Result<bool, StoreError> {
    for file in beside {
        if file.has(span)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Input<'_> {
    /// The span that is this one, if it comes next; those before it go.
    fn find(&mut self, identity: Identity) -> Result<Option<&StoredSpan>, StoreError> {
        loop {
            self.fill()?;
            match self.waiting.front().map(StoredSpan::identity) {
                Some(before) if before < identity => drop(self.waiting.pop_front()),
                next if next == Some(identity) => return Ok(self.waiting.front()),
                _ => return Ok(None),
            }
        }
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            let mut read = Vec::new();
            let mut counts = ReadCounts::default();
            self.spans
                .next(&mut read, &mut counts)
                .map_err(StoreError::parquet("merging", self.path))?;
            if counts.rejected > 0 {
                tracing::warn!(path = %self.path, rows = counts.rejected, "rows without valid ids are dropped");
            }
            self.waiting = read.into();
        }
        Ok(())
    }
}

/// The least of all that wait. There are at most sixteen to look at, which a heap would not make less of.
fn next(inputs: &mut [Input<'_>]) -> Result<Option<StoredSpan>, StoreError> {
    for input in inputs.iter_mut() {
        input.fill()?;
    }
    let order = |a: &StoredSpan, b: &StoredSpan| -> Ordering {
        let key = |it: &StoredSpan| (it.identity(), it.position, it.received_at);
        key(a).cmp(&key(b))
    };
    let least = inputs
        .iter_mut()
        .filter(|it| !it.waiting.is_empty())
        .min_by(|a, b| match (a.waiting.front(), b.waiting.front()) {
            (Some(a), Some(b)) => order(a, b),
            _ => Ordering::Equal,
        });
    Ok(least.and_then(|it| it.waiting.pop_front()))
}
