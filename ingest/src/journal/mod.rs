//! What was acknowledged must survive: where is it kept until it is?
//!
//! Every request is appended here, as it came, before its exporter hears OK. A restarted engine
//! replays the journal to rebuild its windows. Append-only segments in one directory, every record
//! checksummed; what is torn or damaged is cut off or skipped and counted, and never an error that
//! keeps the engine from starting.

mod file;
mod receipts;
mod record;
mod room;
mod segment;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rekindle_model::UnixNanos;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use receipts::Receipt;
pub use record::{Entry, Protocol, Record};
pub use room::Allowance;

use crate::folder::make_folder;
use crate::lock::{LOCK, lock_folder};
use receipts::Receipts;
use record::MIN_RECORD_BYTES;
use writer::{Append, Order, Sealed, Writer};

/// Requests that may wait for the writer. Those that wait hold a place in the engine's queue too,
/// so this is never the narrower of the two for long.
const WAITING_APPENDS: usize = 256;

/// How far apart the times of requests may be against the order of their positions: a request that
/// was received first may be written second.
const OUT_OF_ORDER: Duration = Duration::from_secs(60);

/// What an acknowledged request survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The loss of power: the disk has it (`fdatasync`) before the exporter hears OK.
    #[default]
    PowerLoss,
    /// The end of our process, `kill -9` included: the kernel has it. A power loss may cost the last
    /// seconds.
    ProcessCrash,
    /// Nothing. There is no journal, and a restarted engine knows nothing of before.
    Off,
}

/// What the journal promises and how much it keeps.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// What an acknowledged request survives.
    pub durability: Durability,
    /// Bytes of all segments, kept to within one segment. Fewer where the disk has no room for them and, beside them, for
    /// 64 MiB of others (of a small disk a sixteenth).
    pub max_bytes: u64,
    /// How long requests are kept at least, if the bytes allow.
    pub keep: Duration,
    /// Bytes after which a new segment is begun; at most a quarter of `max_bytes` is used.
    pub segment_bytes: u64,
    /// Whether segments are kept until [`Journal::release`] says that they are elsewhere, too. When those that aren't
    /// exceed `max_bytes`, requests are refused until they are.
    pub until_released: bool,
    /// A disk that gets full.
    #[cfg(test)]
    pub(crate) room: Option<Arc<tests::Room>>,
}

impl Default for JournalConfig {
    /// 15 minutes hold the windows that a restarted engine has to rebuild; 1 GiB holds them at some
    /// 2,500 spans a second; 32 MiB segments make 3 % of that go at a time.
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            max_bytes: 1 << 30,
            keep: Duration::from_secs(15 * 60),
            segment_bytes: 32 << 20,
            until_released: false,
            #[cfg(test)]
            room: None,
        }
    }
}

/// Why the journal can't be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or the directory can't be used.
    #[error("failed {deed} the journal's {}", path.display())]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process has the journal open.
    #[error("the journal in {} is in use by another process", dir.display())]
    InUse {
        /// The journal's directory.
        dir: PathBuf,
    },
}

impl JournalError {
    fn new(deed: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            deed,
            path: path.to_owned(),
            source,
        }
    }
}

/// Why a request wasn't kept. All but the last may be different a moment later.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// It couldn't be written; the disk may be full. Nothing of it is in the journal.
    #[error("failed writing the journal's {}", path.display())]
    Write {
        /// The segment.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
    /// As much is kept as may be, and none of it is elsewhere yet.
    #[error("the journal is full until the store has taken what is in it")]
    Full,
    /// What others need of the disk is all that is left of it, and nothing that is kept may go.
    #[error("the disk of {} has no room left beside what others need of it", dir.display())]
    NoRoom {
        /// The journal's directory.
        dir: PathBuf,
    },
    /// The writer is gone.
    #[error("the journal is closed")]
    Closed,
    /// No record can be as long (4 GiB).
    #[error("the request is too long for the journal")]
    TooLong,
}

/// What was found when the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Segments that are there.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The position that the next request gets.
    pub next_position: u64,
    /// Bytes cut off the end: a write that wasn't finished, hence wasn't acknowledged, or damage.
    pub torn_bytes: u64,
    /// Segments whose beginning is damaged.
    pub damaged_segments: u64,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Records handed out.
    pub records: u64,
    /// Places where the rest of a segment was damaged and was skipped.
    pub damaged_segments: u64,
    /// Bytes skipped there.
    pub damaged_bytes: u64,
}

/// The journal, open for appending. Clones are handles of the same one; when the last is dropped,
/// what waits is written and the writer ends.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
    receipts: Arc<Receipts>,
}

#[derive(Debug)]
enum Inner {
    /// No journal, but positions all the same.
    Off(Mutex<u64>),
    On {
        dir: PathBuf,
        /// `None` only while dropping.
        sender: Option<mpsc::Sender<Order>>,
        writer: Option<JoinHandle<()>>,
        /// All before this position is elsewhere, too.
        released: Arc<AtomicU64>,
        allowance: Allowance,
        /// Held as long as the journal is open.
        _lock: File,
    },
}

impl Journal {
    /// Opens the journal in this directory, which is made if it isn't there. Blocks: it reads the
    /// last segment.
    ///
    /// # Errors
    /// When the directory can't be used or another process uses it. Damage is no error; it is cut
    /// off or skipped, and reported.
    pub fn open(dir: &Path, config: JournalConfig) -> Result<(Self, Recovered), JournalError> {
        if config.durability == Durability::Off {
            return Ok((Self::off(), Recovered::default()));
        }
        make_folder(dir, 0o777).map_err(|it| JournalError::new("creating", dir, it))?;
        let lock = lock(dir)?;
        let (sealed, recovered) = recover(dir)?;
        let next_position = recovered.next_position;
        let (released, allowance) = (Arc::default(), Allowance::default());
        let mut writer = Writer::new(
            dir.to_owned(),
            config,
            sealed,
            next_position,
            (Arc::clone(&released), allowance.clone()),
        );
        writer.forget_old();
        let (sender, orders) = mpsc::channel(WAITING_APPENDS);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(orders))
            .map_err(|it| JournalError::new("starting the writer of", dir, it))?;
        let inner = Inner::On {
            dir: dir.to_owned(),
            sender: Some(sender),
            writer: Some(thread),
            released,
            allowance,
            _lock: lock,
        };
        Ok((Self::of(inner), recovered))
    }

    /// A journal that keeps nothing.
    pub fn off() -> Self {
        Self::of(Inner::Off(Mutex::new(0)))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            receipts: Arc::default(),
        }
    }

    /// Something was received now, and will be kept. Its receipt is to be dropped once it was handed on, or refused.
    pub fn receive(&self) -> Receipt {
        self.receipts.receive()
    }

    /// Everything that was received before this time was handed on, or refused.
    pub fn received_until(&self) -> UnixNanos {
        self.receipts.until()
    }

    /// Keeps a request, and resolves to its position once that is as durable as was configured.
    ///
    /// # Errors
    /// When it couldn't be written; it isn't in the journal then.
    pub async fn append(&self, entry: Entry) -> Result<u64, AppendError> {
        self.append_and(entry, |_| ()).await
    }

    /// As [`append`](Self::append), and calls `hand_on` with the position once the request is
    /// durable: in the order of positions, and on the writer's thread, so it must not block.
    ///
    /// # Errors
    /// When it couldn't be written; it isn't in the journal then, and wasn't handed on.
    pub async fn append_and(
        &self,
        entry: Entry,
        hand_on: impl FnOnce(u64) + Send + 'static,
    ) -> Result<u64, AppendError> {
        let sender = match &*self.inner {
            Inner::Off(position) => {
                let mut next = position.lock().unwrap_or_else(PoisonError::into_inner);
                let position = *next;
                *next += 1;
                hand_on(position);
                return Ok(position);
            }
            Inner::On { sender, .. } => sender.as_ref().ok_or(AppendError::Closed)?,
        };
        let (answer, outcome) = oneshot::channel();
        let done = Box::new(move |written: Result<u64, AppendError>| {
            if let Ok(position) = written {
                hand_on(position);
            }
            // Whoever asked may have gone; the request is kept all the same.
            let _ = answer.send(written);
        });
        let append = Append { entry, done };
        let order = Order::Append(append);
        sender.send(order).await.map_err(|_| AppendError::Closed)?;
        outcome.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Has the last segment sealed if it is some minutes old as of now and somebody waits for sealed ones, though nothing
    /// more comes. To be asked now and then; a writer that is busy isn't bothered.
    pub fn seal_old(&self, now: UnixNanos) {
        if let Inner::On {
            sender: Some(sender),
            ..
        } = &*self.inner
        {
            // Full: what comes will seal it.
            let _ = sender.try_send(Order::SealOld(now));
        }
    }

    /// Lets go of all before this position: it is elsewhere, as durable as here. Segments are removed with the next
    /// request, when they are old or there are too many.
    pub fn release(&self, position: u64) {
        if let Inner::On { released, .. } = &*self.inner {
            released.fetch_max(position, Ordering::Relaxed);
        }
    }

    /// How many bytes it may have at present, for whoever shows it. It outlives the journal.
    pub fn allowance(&self) -> Allowance {
        match &*self.inner {
            Inner::Off(_) => Allowance::default(),
            Inner::On { allowance, .. } => allowance.clone(),
        }
    }

    /// Hands out all records received since then, in the order of their positions. Meant for the
    /// time before the first append; what is appended meanwhile may or may not be among them.
    ///
    /// # Errors
    /// When a file can't be read. Damage is no error: the rest of its segment is skipped.
    pub fn replay(
        &self,
        since: UnixNanos,
        each: impl FnMut(Record),
    ) -> Result<Replayed, JournalError> {
        match &*self.inner {
            Inner::Off(_) => Ok(Replayed::default()),
            Inner::On { dir, .. } => replay(dir, since, each),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Self::On { sender, writer, .. } = self {
            drop(sender.take());
            if let Some(writer) = writer.take() {
                // A writer that panicked has answered nobody; there is no one left to tell.
                let _ = writer.join();
            }
        }
    }
}

/// Reads the journal in this directory without opening it for appending.
///
/// # Errors
/// When a file can't be read. Damage is no error: the rest of its segment is skipped.
pub fn replay(
    dir: &Path,
    since: UnixNanos,
    mut each: impl FnMut(Record),
) -> Result<Replayed, JournalError> {
    let segments = segment::list(dir)?;
    let mut replayed = Replayed::default();
    for (index, segment) in segments.iter().enumerate() {
        let next = segments.get(index + 1);
        if let Some(next) = next
            && let Some(header) = segment::read_header(&next.path)?
            && header.first_received_at.plus(OUT_OF_ORDER) < since
        {
            continue;
        }
        let extent = segment::read(&segment.path, |record| {
            if record.entry.received_at >= since {
                replayed.records += 1;
                each(record);
            }
        })?;
        // Behind the end of the last segment the writer may be writing.
        if extent.damaged > 0 && next.is_some() {
            replayed.damaged_segments += 1;
            replayed.damaged_bytes += extent.damaged;
        }
    }
    Ok(replayed)
}

/// A segment that nothing is added to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its file.
    pub path: PathBuf,
    /// Its first position.
    pub first: u64,
    /// The first position of the segment behind it.
    pub end: u64,
    /// When its first request was received; `None` when its beginning is damaged.
    pub first_received_at: Option<UnixNanos>,
}

/// The segments of the journal in this directory that nothing is added to any more, oldest first: all but the last.
///
/// # Errors
/// When the directory or a segment's beginning can't be read.
pub fn sealed_segments(dir: &Path) -> Result<Vec<SealedSegment>, JournalError> {
    let segments = segment::list(dir)?;
    let mut sealed = Vec::new();
    for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
        let header = match segment::read_header(&segment.path) {
            // The writer has removed it meanwhile: its time was over.
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            header => header?,
        };
        sealed.push(SealedSegment {
            path: segment.path.clone(),
            first: segment.first,
            end: next.first,
            first_received_at: header.map(|it| it.first_received_at),
        });
    }
    Ok(sealed)
}

/// The file of the segment that may still be written to, if there is one.
///
/// # Errors
/// When the directory can't be read.
pub fn last_segment(dir: &Path) -> Result<Option<PathBuf>, JournalError> {
    Ok(segment::list(dir)?.pop().map(|it| it.path))
}

/// Hands out the records of one segment.
///
/// # Errors
/// When the file can't be read. Damage is no error: the rest of the segment is skipped.
pub fn read_segment(path: &Path, each: impl FnMut(Record)) -> Result<Replayed, JournalError> {
    let extent = segment::read(path, each)?;
    Ok(Replayed {
        records: extent.records,
        damaged_segments: u64::from(extent.damaged > 0),
        damaged_bytes: extent.damaged,
    })
}

/// Two writers would overwrite each other.
fn lock(dir: &Path) -> Result<File, JournalError> {
    let held =
        lock_folder(dir).map_err(|source| JournalError::new("locking", &dir.join(LOCK), source))?;
    held.ok_or_else(|| JournalError::InUse {
        dir: dir.to_owned(),
    })
}

/// Cuts a torn end off, and finds out what is there and where to go on. Nothing is ever added to a
/// segment of an earlier life, so a cut that fails half-way leaves only what is cut again.
fn recover(dir: &Path) -> Result<(VecDeque<Sealed>, Recovered), JournalError> {
    let mut recovered = Recovered::default();
    let mut segments = Vec::new();
    for segment in segment::list(dir)? {
        if segment::is_misplaced(&segment.path)? {
            let path = segment.path.display();
            tracing::warn!(%path, "left alone: it is a copy of another segment under this name");
            recovered.damaged_segments += 1;
            // Its name is taken.
            recovered.next_position = segment.first + 1;
        } else {
            segments.push(segment);
        }
    }
    let mut sealed = VecDeque::new();
    for (index, segment) in segments.iter().enumerate() {
        let next = segments.get(index + 1);
        let header = segment::read_header(&segment.path)?;
        let mut bytes = segment.bytes;
        recovered.next_position = recovered.next_position.max(segment.first);
        let last_received_at = match next {
            // All of it was received before the next one began, or nearly so.
            Some(next) => segment::read_header(&next.path)?.map(|it| it.first_received_at),
            None => {
                let extent = segment::read(&segment.path, |_| ())?;
                if let Some((last, _)) = extent.last {
                    recovered.next_position = recovered.next_position.max(last + 1);
                }
                if extent.damaged > 0 {
                    // Whatever positions were there must not be given again.
                    recovered.next_position += extent.damaged / MIN_RECORD_BYTES as u64 + 1;
                    recovered.torn_bytes += extent.damaged;
                }
                // One without records would be in the way of its successor.
                let good = if extent.last.is_some() {
                    extent.good
                } else {
                    0
                };
                if good < bytes || bytes == 0 {
                    cut(&segment.path, good)?;
                    bytes = good;
                }
                extent.last.map(|(_, received_at)| received_at)
            }
        };
        if bytes == 0 {
            continue;
        }
        recovered.damaged_segments += u64::from(header.is_none());
        recovered.segments += 1;
        recovered.bytes += bytes;
        let began = header.map(|it| it.first_received_at);
        sealed.push_back(Sealed {
            path: segment.path.clone(),
            first: segment.first,
            bytes,
            last_received_at: last_received_at.or(began).unwrap_or_default(),
        });
    }
    Ok((sealed, recovered))
}

/// Cuts a segment to its good part; one that has none is removed.
fn cut(path: &Path, good: u64) -> Result<(), JournalError> {
    if good == 0 {
        return fs::remove_file(path).map_err(|it| JournalError::new("removing", path, it));
    }
    let cut = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(good)?;
        file.sync_all()
    };
    cut().map_err(|it| JournalError::new("cutting", path, it))
}
