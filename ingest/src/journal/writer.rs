//! How does a request become durable before its exporter hears OK?
//!
//! One thread writes. It takes all that waits, writes it with as few calls as may be (one, or up to three where most of
//! a long group goes past the kernel's cache) and, at the highest durability, one `fdatasync`, then answers all of it, in
//! order: so many requests share the cost of one flush, and what is handed on is handed on in the order of positions. A
//! write that failed leaves the file as it was before: it is cut back to the last good length before anything else is
//! written, and the next group tries again. Positions are never used twice, failed or not.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::mem::Discriminant;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rekindle_model::UnixNanos;
use tokio::sync::mpsc;

use super::file::{Layout, MAX_FILLER_BYTES, SegmentFile, filler_bytes};
use super::record::{self, Entry, HEADER_BYTES, Header, MIN_RECORD_BYTES};
use super::room::{Allowance, Disk, Quota};
use super::segment::path_of;
use super::{AppendError, Durability, JournalConfig};
use crate::folder::sync_folder;

/// Bytes that one write takes together. More would only make the first of them wait.
const GROUP_BYTES: usize = 8 << 20;

/// When somebody waits for sealed segments, a new one is begun after this time: what thin traffic sends should be in the
/// store before anybody looks for it there, and twelve files an hour are few enough to merge.
const SEAL_AFTER: Duration = Duration::from_secs(5 * 60);

/// The longest that a group waits to be joined by others: nobody notices it beside the flush.
const LONGEST_WAIT: Duration = Duration::from_millis(1);

/// The log tells so often at most that requests are refused.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long is it worth waiting for others to join a group?
///
/// What a flush costs hardly depends on its length. Exporters that wait for their answers fall into two halves, each of
/// which sends while the other is flushed; a moment's pause brings them together. So when shortly before more were seen at
/// once than wait now, they are waited for, half as long as a flush takes. An exporter that is alone waits for nobody.
#[derive(Debug, Default)]
struct Pace {
    /// How many were written and were waiting when the last group was done.
    seen: usize,
    took: Duration,
    done: Option<Instant>,
}

impl Pace {
    /// How long to wait before a group of this size is written.
    fn wait(&self, size: usize, now: Instant) -> Option<Duration> {
        let wait = (self.took / 2).min(LONGEST_WAIT);
        // What was seen longer ago says nothing about now.
        let fresh = self
            .done
            .is_some_and(|done| now.saturating_duration_since(done) < self.took);
        (fresh && size < self.seen).then_some(wait)
    }

    fn committed(&mut self, size: usize, waiting: usize, began: Instant, now: Instant) {
        self.seen = size + waiting;
        self.took = now.saturating_duration_since(began);
        self.done = Some(now);
    }
}

/// What the writer is asked for.
pub(super) enum Order {
    Append(Append),
    /// Seal the segment if it is old as of then, whether or not anything comes.
    SealOld(UnixNanos),
}

/// What waits to be done together.
#[derive(Default)]
struct Due {
    group: Vec<Append>,
    bytes: usize,
    seal_old: Option<UnixNanos>,
}

impl Due {
    fn take(&mut self, order: Order) {
        match order {
            Order::Append(append) => {
                self.bytes += append.entry.payload.len();
                self.group.push(append);
            }
            Order::SealOld(now) => self.seal_old = self.seal_old.max(Some(now)),
        }
    }

    /// Takes what waits, as much as goes together.
    fn gather(&mut self, orders: &mut mpsc::Receiver<Order>) {
        while self.bytes < GROUP_BYTES
            && let Ok(next) = orders.try_recv()
        {
            self.take(next);
        }
    }
}

/// A request that waits to be written.
pub(super) struct Append {
    pub(super) entry: Entry,
    /// Told the outcome, in order of positions.
    pub(super) done: Box<dyn FnOnce(Result<u64, AppendError>) + Send>,
}

/// A segment that nothing is added to any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) bytes: u64,
    pub(super) last_received_at: UnixNanos,
}

struct Current {
    file: SegmentFile,
    path: PathBuf,
    first: u64,
    first_received_at: UnixNanos,
    good_bytes: u64,
    last_received_at: UnixNanos,
    /// Bytes behind the last good one have to be cut off first.
    spoilt: bool,
}

pub(super) struct Writer {
    dir: PathBuf,
    config: JournalConfig,
    current: Option<Current>,
    sealed: VecDeque<Sealed>,
    next_position: u64,
    layout: Layout,
    /// All before this position is elsewhere, too.
    released: Arc<AtomicU64>,
    quota: Quota,
    refusing: Refusing,
}

/// Refused requests are told of in the log, not each of them: exporters come again for as long as it lasts.
#[derive(Debug, Default)]
struct Refusing {
    /// When it was told last, and of what kind.
    told: Option<(Instant, Discriminant<AppendError>)>,
    untold: usize,
}

impl Refusing {
    fn refused(&mut self, requests: usize, error: &AppendError, now: Instant) {
        self.untold += requests;
        let kind = std::mem::discriminant(error);
        let is_told = |(at, told): (Instant, _)| {
            told == kind && now.saturating_duration_since(at) < TELL_EVERY
        };
        if !self.told.is_some_and(is_told) {
            let requests = std::mem::take(&mut self.untold);
            self.told = Some((now, kind));
            tracing::warn!(requests, %error, source = error.cause(), "refusing requests: the journal can't be written");
        }
    }

    fn taken(&mut self) {
        if self.told.take().is_some() {
            let more_refused = std::mem::take(&mut self.untold);
            tracing::info!(more_refused, "the journal is written again");
        }
    }
}

impl Current {
    fn has_records(&self) -> bool {
        self.good_bytes > HEADER_BYTES as u64
    }

    fn is_old(&self, now: UnixNanos) -> bool {
        self.has_records() && now.since(self.first_received_at) >= SEAL_AFTER
    }
}

impl Writer {
    pub(super) fn new(
        dir: PathBuf,
        config: JournalConfig,
        sealed: VecDeque<Sealed>,
        next_position: u64,
        (released, allowance): (Arc<AtomicU64>, Allowance),
    ) -> Self {
        Self {
            quota: Quota::new(config.max_bytes, allowance),
            refusing: Refusing::default(),
            dir,
            config,
            current: None,
            sealed,
            next_position,
            layout: Layout::default(),
            released,
        }
    }

    /// Does what comes until the last sender is gone.
    pub(super) fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let (mut due, mut pace) = (Due::default(), Pace::default());
        while let Some(first) = orders.blocking_recv() {
            due.take(first);
            due.gather(&mut orders);
            if let Some(wait) = pace.wait(due.group.len(), Instant::now()) {
                std::thread::sleep(wait);
                due.gather(&mut orders);
            }
            if !due.group.is_empty() {
                let (size, began) = (due.group.len(), Instant::now());
                self.commit(&mut due.group);
                due.bytes = 0;
                pace.committed(size, orders.len(), began, Instant::now());
            }
            if let Some(now) = due.seal_old.take() {
                self.seal_old(now);
            }
        }
    }

    /// Writes a group and answers each of it.
    fn commit(&mut self, group: &mut Vec<Append>) {
        let (mut first_position, mut written) = self.write_at_next(group);
        if let Err(AppendError::Write { source, .. }) = &written
            && source.kind() == io::ErrorKind::StorageFull
        {
            // Others took the room since the disk was looked at; where that shows now, what is oldest makes some.
            self.look_at_disk();
            if self.quota.is_short() {
                (first_position, written) = self.write_at_next(group);
            }
        }
        match &written {
            Ok(()) => self.refusing.taken(),
            Err(error) => {
                self.quota.doubt();
                self.refusing.refused(group.len(), error, Instant::now());
            }
        }
        for (position, append) in (first_position..).zip(group.drain(..)) {
            (append.done)(written.clone().map(|()| position));
        }
        self.forget_old();
    }

    /// Writes a group at positions that were never used, the first of which it says.
    fn write_at_next(&mut self, group: &[Append]) -> (u64, Result<(), AppendError>) {
        let first_position = self.next_position;
        self.next_position += group.len() as u64;
        (first_position, self.write(first_position, group))
    }

    fn write(&mut self, first_position: u64, group: &[Append]) -> Result<(), AppendError> {
        let received = group.iter().map(|append| append.entry.received_at);
        let first_received_at = received.clone().min().unwrap_or_default();
        let last_received_at = received.max().unwrap_or_default();
        self.seal_if_full(first_received_at);
        if self.is_full() {
            return Err(AppendError::Full);
        }
        let records = group
            .iter()
            .map(|it| MIN_RECORD_BYTES + it.entry.payload.len());
        let room = HEADER_BYTES + records.sum::<usize>() + MAX_FILLER_BYTES;
        self.make_room(room as u64)?;
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.create(first_position, first_received_at)?,
        };
        self.layout.begin(current.good_bytes, room);
        if current.good_bytes == 0 {
            self.write_header(first_position, first_received_at);
        } else if !current.has_records() {
            // It was begun before there was anything to keep.
            current.first_received_at = first_received_at;
        }
        for (position, append) in (first_position..).zip(group) {
            if !record::write(position, &append.entry, self.layout.out()) {
                self.abandon(current);
                return Err(AppendError::TooLong);
            }
        }
        let bytes = self.layout.bytes().len();
        if let Some(filler) = filler_bytes(bytes, current.good_bytes + bytes as u64) {
            let position = self.next_position;
            self.next_position += 1;
            record::write_filler(filler, position, last_received_at, self.layout.out());
        }
        let written = self.write_to(&mut current);
        if written.is_ok() {
            current.good_bytes += self.layout.bytes().len() as u64;
            self.quota.wrote(self.layout.bytes().len() as u64);
            current.last_received_at = current.last_received_at.max(last_received_at);
            self.current = Some(current);
        } else {
            self.abandon(current);
        }
        written
    }

    fn create(
        &self,
        first_position: u64,
        first_received_at: UnixNanos,
    ) -> Result<Current, AppendError> {
        let path = path_of(&self.dir, first_position);
        let failed = |source| AppendError::write(&path, source);
        let waits_for_disk = self.config.durability == Durability::PowerLoss;
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests let it fail"))]
        let mut file = SegmentFile::create(&path, waits_for_disk).map_err(failed)?;
        #[cfg(test)]
        if let Some(room) = &self.config.room {
            let room = Arc::clone(room);
            file.fail_like(room, waits_for_disk).map_err(failed)?;
        }
        if waits_for_disk {
            // A file is only safe when its name is.
            if let Err(error) = sync_folder(&self.dir) {
                let _ = fs::remove_file(&path);
                return Err(failed(error));
            }
        }
        Ok(Current {
            file,
            path,
            first: first_position,
            first_received_at,
            good_bytes: 0,
            last_received_at: UnixNanos(0),
            spoilt: false,
        })
    }

    fn write_to(&self, current: &mut Current) -> Result<(), AppendError> {
        let mut attempt = || -> io::Result<()> {
            if current.spoilt {
                current.file.file().set_len(current.good_bytes)?;
                current.spoilt = false;
            }
            current.file.write(&self.layout, current.good_bytes)?;
            match self.config.durability {
                Durability::PowerLoss => current.file.sync(),
                Durability::ProcessCrash | Durability::Off => Ok(()),
            }
        };
        attempt().map_err(|source| AppendError::write(&current.path, source))
    }

    /// Takes back what a failed write may have left. A file that was never good is removed; of
    /// another the good part is kept, and after a failed flush nobody knows what the kernel still
    /// holds of it, so the next group begins a new one.
    fn abandon(&mut self, mut current: Current) {
        if current.good_bytes == 0 {
            if fs::remove_file(&current.path).is_err() {
                let _ = current.file.file().set_len(0);
            }
            return;
        }
        current.spoilt = current.file.file().set_len(current.good_bytes).is_err();
        if current.spoilt {
            // Cut before the next write, in the same file.
            self.current = Some(current);
        } else {
            self.seal(current);
        }
    }

    fn seal_if_full(&mut self, now: UnixNanos) {
        // So that the quota holds within one segment's length.
        let quota = self.quota.bytes().max(self.quota.least());
        let segment_bytes = self.config.segment_bytes.min(quota / 4);
        let until_released = self.config.until_released;
        let done =
            |it: &mut Current| it.good_bytes >= segment_bytes || until_released && it.is_old(now);
        if let Some(current) = self.current.take_if(done) {
            self.seal(current);
        }
    }

    /// Seals the segment if it is old, and begins the next one, because one is only known to be sealed by its successor.
    fn seal_old(&mut self, now: UnixNanos) {
        let until_released = self.config.until_released;
        let Some(current) = self.current.take_if(|it| until_released && it.is_old(now)) else {
            return;
        };
        self.seal(current);
        self.layout.begin(0, HEADER_BYTES);
        let first_position = self.next_position;
        self.write_header(first_position, now);
        let begun = self.create(first_position, now);
        // The next request begins one otherwise.
        if let Ok(mut current) = begun {
            match self.write_to(&mut current) {
                Ok(()) => {
                    current.good_bytes = HEADER_BYTES as u64;
                    self.current = Some(current);
                }
                Err(_) => self.abandon(current),
            }
        }
    }

    fn write_header(&mut self, first_position: u64, first_received_at: UnixNanos) {
        let header = Header {
            first_position,
            first_received_at,
        };
        header.write(self.layout.out());
    }

    /// Whether there is no room although all is gone that may go.
    fn is_full(&mut self) -> bool {
        // The last segment can't be elsewhere before it has a successor.
        let may_be = self.config.until_released && self.sealed.len() > 1;
        if !may_be || self.bytes() <= self.config.max_bytes {
            return false;
        }
        self.forget_old();
        self.bytes() > self.config.max_bytes
    }

    /// Sees to it that so many bytes more leave others their part of the disk: where it is short, what is oldest goes as
    /// it goes where the quota is used up.
    fn make_room(&mut self, adding: u64) -> Result<(), AppendError> {
        if self.quota.is_stale() {
            self.look_at_disk();
        }
        if !self.quota.is_short() {
            return Ok(());
        }
        let room = self.quota.bytes();
        if room >= self.quota.least() + adding {
            self.forget_beyond(room - adding);
        }
        match self.bytes() + adding <= room {
            true => Ok(()),
            false => Err(AppendError::NoRoom {
                dir: self.dir.clone(),
            }),
        }
    }

    fn look_at_disk(&mut self) {
        let (was_short, held) = (self.quota.is_short(), self.bytes());
        self.quota.look(self.disk(), held);
        if self.quota.is_short() && !was_short {
            tracing::warn!(
                max_bytes = self.config.max_bytes,
                room = self.quota.bytes(),
                "the disk has no room for all that the journal may keep: it keeps less"
            );
        }
    }

    fn disk(&self) -> Option<Disk> {
        #[cfg(test)]
        if let Some(room) = &self.config.room {
            return room.disk();
        }
        Disk::of(&self.dir)
    }

    fn bytes(&self) -> u64 {
        let current_bytes = self.current.as_ref().map_or(0, |it| it.good_bytes);
        current_bytes + self.sealed.iter().map(|it| it.bytes).sum::<u64>()
    }

    /// Whether the oldest segment may go: all of it is elsewhere, if that is waited for.
    fn oldest_is_released(&self) -> bool {
        if !self.config.until_released {
            return true;
        }
        let current = self.current.as_ref().map(|it| it.first);
        let next = self.sealed.get(1).map(|it| it.first).or(current);
        next.is_some_and(|next| next <= self.released.load(Ordering::Relaxed))
    }

    fn seal(&mut self, current: Current) {
        self.sealed.push_back(Sealed {
            path: current.path,
            first: current.first,
            bytes: current.good_bytes,
            last_received_at: current.last_received_at,
        });
    }

    /// Removes the oldest segments while there are too many bytes, or all that is in them is too
    /// old. What is old is measured by the newest request, so that silence removes nothing.
    pub(super) fn forget_old(&mut self) {
        self.forget_beyond(self.config.max_bytes);
    }

    fn forget_beyond(&mut self, most: u64) {
        let mut bytes = self.bytes();
        let newest = match &self.current {
            Some(current) => current.last_received_at,
            None => self
                .sealed
                .back()
                .map_or(UnixNanos(0), |it| it.last_received_at),
        };
        let oldest_kept = newest.minus(self.config.keep);
        while let Some(oldest) = self.sealed.front() {
            if bytes <= most && oldest.last_received_at >= oldest_kept {
                break;
            }
            if !self.oldest_is_released() {
                break;
            }
            if let Err(error) = fs::remove_file(&oldest.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %oldest.path.display(), %error, "failed removing an old journal segment");
                break;
            }
            bytes -= oldest.bytes;
            self.sealed.pop_front();
        }
    }
}

impl AppendError {
    fn write(path: &std::path::Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is waited for, and for how long: `(seen, milliseconds of the flush, milliseconds since) -> microseconds`.
    #[test]
    fn only_who_was_there_a_moment_ago_is_waited_for() {
        let start = Instant::now();
        let millis = Duration::from_millis;
        for ((written, waiting), took, since, size, expected) in [
            // Alone.
            ((1, 0), 1, 0, 1, None),
            // Two halves.
            ((2, 2), 1, 0, 2, Some(500)),
            ((2, 2), 1, 0, 4, None),
            // A slow disk doesn't make anybody wait for long.
            ((2, 2), 20, 5, 2, Some(1000)),
            // They are gone.
            ((2, 2), 1, 1, 2, None),
        ] {
            let mut pace = Pace::default();
            assert_eq!(pace.wait(size, start), None);
            let done = start + millis(took);
            pace.committed(written, waiting, start, done);
            let found = pace.wait(size, done + millis(since));
            assert_eq!(
                found,
                expected.map(Duration::from_micros),
                "{written} {waiting} {size}"
            );
        }
    }
}
