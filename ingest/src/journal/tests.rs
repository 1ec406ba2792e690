//! Is what was acknowledged there again, whatever happens to the disk?

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::record::{HEADER_BYTES, record_bytes};
use super::*;

/// A disk that gets full, that fails, and that forgets what wasn't synced when the power goes.
#[derive(Debug)]
pub(crate) struct Room {
    /// Bytes left.
    pub(crate) left: AtomicU64,
    /// Where it is known how much there is in all: then the journal sees that it gets full.
    small: Option<Small>,
    /// The numbers of the syncs that fail, and how many there were.
    failing_syncs: Vec<u64>,
    syncs: AtomicU64,
    /// How often whole pages of a long group were written, or would have been.
    long_writes: AtomicU64,
    /// How much of each file is safe, by its inode.
    safe: Mutex<BTreeMap<u64, u64>>,
}

/// A small disk, with a journal and something else on it.
#[derive(Debug)]
struct Small {
    dir: PathBuf,
    bytes: u64,
    others: AtomicU64,
}

/// The bytes of a journal's segments.
fn bytes_in(dir: &Path) -> u64 {
    let segments = segment::list(dir).expect("lists");
    segments.iter().map(|segment| segment.bytes).sum()
}

impl Room {
    pub(crate) fn new(left: u64) -> Self {
        Self::failing(left, Vec::new())
    }

    fn failing(left: u64, failing_syncs: Vec<u64>) -> Self {
        Self {
            left: AtomicU64::new(left),
            small: None,
            failing_syncs,
            syncs: AtomicU64::new(0),
            long_writes: AtomicU64::new(0),
            safe: Mutex::default(),
        }
    }

    pub(super) fn disk(&self) -> Option<room::Disk> {
        let small = self.small.as_ref()?;
        let others = small.others.load(Ordering::SeqCst);
        Some(room::Disk {
            total: small.bytes,
            available: small.bytes.saturating_sub(others + bytes_in(&small.dir)),
        })
    }

    /// Writes what there is room for, as a file system does, then fails.
    pub(super) fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_units(1, file, bytes, offset)
    }

    /// The same past the cache, where there are only whole pages.
    pub(super) fn write_pages(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.long_writes.fetch_add(1, Ordering::SeqCst);
        self.write_units(file::PAGE, file, bytes, offset)
    }

    fn write_units(&self, unit: usize, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let left = usize::try_from(self.left.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        let fits = bytes.len().min(left / unit * unit);
        file.write_all_at(&bytes[..fits], offset)?;
        self.left.fetch_sub(fits as u64, Ordering::SeqCst);
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Makes what is in the file safe, or fails as a disk does: what it held may be lost, and the
    /// next sync says nothing of it.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        let number = self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.failing_syncs.contains(&number) {
            return Err(io::Error::other("the disk failed"));
        }
        let metadata = file.metadata()?;
        let mut safe = self.safe.lock().expect("not poisoned");
        safe.insert(metadata.ino(), metadata.len());
        Ok(())
    }

    /// The power goes: of each file what was safe is left, and behind it whatever `leave` makes of
    /// the rest, because a disk writes in any order what it wasn't told to sync.
    fn lose_power(&self, dir: &Path, leave: impl Fn(&mut Vec<u8>)) {
        let safe = self.safe.lock().expect("not poisoned");
        for segment in segment::list(dir).expect("lists") {
            let inode = fs::metadata(&segment.path).expect("is there").ino();
            let safe = safe.get(&inode).copied().unwrap_or(0) as usize;
            let mut bytes = fs::read(&segment.path).expect("reads");
            let mut rest = bytes.split_off(safe.min(bytes.len()));
            leave(&mut rest);
            bytes.append(&mut rest);
            fs::write(&segment.path, bytes).expect("writes");
        }
    }
}

/// One in six is long, so that it goes past the cache, and by no round number.
fn long_or_short(number: u64) -> Entry {
    let long = Bytes::from(vec![number as u8; 70_000 + number as usize]);
    match number % 6 {
        1 => Entry {
            payload: long,
            ..entry(number)
        },
        _ => entry(number),
    }
}

const START: UnixNanos = UnixNanos::from_secs(1_000_000);

fn entry(number: u64) -> Entry {
    Entry {
        received_at: START.plus(Duration::from_secs(number)),
        protocol: match number % 3 {
            0 => Protocol::Grpc,
            1 => Protocol::HttpProtobuf,
            _ => Protocol::HttpJson,
        },
        payload: Bytes::from(vec![number as u8; number as usize % 40]),
    }
}

fn config(durability: Durability) -> JournalConfig {
    JournalConfig {
        durability,
        ..JournalConfig::default()
    }
}

fn small_segments() -> JournalConfig {
    JournalConfig {
        segment_bytes: 300,
        ..config(Durability::ProcessCrash)
    }
}

/// A journal of these entries, closed again; and their positions.
async fn written(dir: &Path, config: JournalConfig, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let (journal, _) = Journal::open(dir, config).expect("opens");
    let mut positions = Vec::new();
    for number in numbers {
        positions.push(journal.append(entry(number)).await.expect("appends"));
    }
    positions
}

fn records(dir: &Path, since: UnixNanos) -> (Vec<Record>, Replayed) {
    let mut records = Vec::new();
    let replayed = replay(dir, since, |record| records.push(record)).expect("replays");
    (records, replayed)
}

fn entries(dir: &Path) -> Vec<Entry> {
    let (records, _) = records(dir, UnixNanos(0));
    records.into_iter().map(|record| record.entry).collect()
}

#[tokio::test]
async fn what_was_appended_is_there_again_in_order_at_each_durability() {
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        let dir = tempfile::tempdir().expect("a directory");
        let first = written(dir.path(), config(durability), 0..50).await;
        let second = written(dir.path(), config(durability), 50..60).await;
        let (found, replayed) = records(dir.path(), UnixNanos(0));
        let positions: Vec<u64> = found.iter().map(|record| record.position).collect();
        assert_eq!(positions, [first, second].concat());
        assert!(positions.is_sorted_by(|a, b| a < b));
        let expected: Vec<Entry> = (0..60).map(entry).collect();
        assert_eq!(entries(dir.path()), expected);
        assert_eq!((replayed.records, replayed.damaged_segments), (60, 0));
    }
}

/// Long groups go past the kernel's cache and are filled up to a page's end; short ones in between are not.
#[tokio::test]
async fn long_and_short_requests_are_there_again_and_a_torn_filler_costs_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = |number: u64| Entry {
        payload: Bytes::from(vec![
            number as u8;
            [70_000, 100, 300_001][number as usize % 3]
        ]),
        ..entry(number)
    };
    let expected: Vec<Entry> = (0..9).map(long).collect();
    let (journal, _) = Journal::open(dir.path(), config(Durability::PowerLoss)).expect("opens");
    for entry in expected.clone() {
        journal.append(entry).await.expect("appends");
    }
    drop(journal);
    assert!(entries(dir.path()) == expected);
    // The last is long, so the file ends with a filler.
    let segments = segment::list(dir.path()).expect("lists");
    let [segment] = &segments[..] else {
        panic!("one segment, not {}", segments.len());
    };
    assert_eq!(segment.bytes % 4096, 0);
    cut(&segment.path, segment.bytes - 1).expect("cuts");
    let (_journal, recovered) =
        Journal::open(dir.path(), config(Durability::PowerLoss)).expect("opens again");
    assert!(recovered.torn_bytes > 0);
    assert!(entries(dir.path()) == expected);
}

#[tokio::test]
async fn requests_at_once_share_a_write_and_are_handed_on_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(dir.path(), config(Durability::PowerLoss)).expect("opens");
    let handed = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            let (journal, handed) = (journal.clone(), handed.clone());
            tokio::spawn(async move {
                let hand_on = move |position| handed.lock().expect("not poisoned").push(position);
                journal.append_and(entry(number), hand_on).await
            })
        })
        .collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(task.await.expect("ends").expect("appends"));
    }
    positions.sort_unstable();
    assert_eq!(positions, (0..500).collect::<Vec<_>>());
    assert_eq!(*handed.lock().expect("not poisoned"), positions);
}

#[tokio::test]
async fn without_a_journal_there_are_positions_all_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let inside = dir.path().join("not made");
    let positions = written(&inside, config(Durability::Off), 0..3).await;
    assert_eq!(positions, [0, 1, 2]);
    assert!(!inside.exists());
}

/// What a quiet system sent last is sealed without anything else coming, and what comes then is in the next segment.
#[tokio::test]
async fn a_quiet_segment_is_sealed_when_it_is_old() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = JournalConfig {
        until_released: true,
        ..config(Durability::PowerLoss)
    };
    let (journal, _) = Journal::open(dir.path(), store.clone()).expect("opens");
    journal.append(entry(0)).await.expect("appends");
    let at = |seconds| START.plus(Duration::from_secs(seconds));
    let sealed = || sealed_segments(dir.path()).expect("lists");
    journal.seal_old(at(299));
    journal.append(entry(1)).await.expect("appends");
    assert_eq!(sealed(), []);
    journal.seal_old(at(301));
    let begun = async {
        while sealed().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun)
        .await
        .expect("the segment is sealed");
    // Nothing to seal any more.
    journal.seal_old(at(1000));
    let second = journal.append(entry(1010)).await.expect("appends");
    let [first] = &sealed()[..] else {
        panic!("{:?}", sealed());
    };
    assert_eq!((first.first, first.end), (0, second));
    // Its age counts from its first request on.
    journal.seal_old(at(1200));
    journal.append(entry(1201)).await.expect("appends");
    assert_eq!(sealed().len(), 1);
    drop(journal);
    assert_eq!(entries(dir.path()), [0, 1, 1010, 1201].map(entry));

    // A segment without requests is in nobody's way.
    let (journal, _) = Journal::open(dir.path(), store.clone()).expect("opens again");
    journal.append(entry(2000)).await.expect("appends");
    journal.seal_old(at(3000));
    drop(journal);
    let (journal, recovered) = Journal::open(dir.path(), store).expect("opens again");
    assert_eq!((recovered.torn_bytes, recovered.damaged_segments), (0, 0));
    journal.append(entry(3001)).await.expect("appends");
    drop(journal);
    let expected = [0, 1, 1010, 1201, 2000, 3001].map(entry);
    assert_eq!(entries(dir.path()), expected);
}

#[tokio::test]
async fn two_processes_cannot_write_one_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(dir.path(), small_segments()).expect("opens");
    let second = Journal::open(dir.path(), small_segments());
    assert!(matches!(second, Err(JournalError::InUse { .. })));
    drop(journal);
    Journal::open(dir.path(), small_segments()).expect("opens again");
}

#[tokio::test]
async fn replay_begins_where_it_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), small_segments(), 0..200).await;
    let since = START.plus(Duration::from_secs(150));
    let (found, replayed) = records(dir.path(), since);
    assert_eq!(replayed.records, 50);
    assert_eq!(found[0].entry, entry(150));
}

#[tokio::test]
async fn old_segments_go_by_age_and_by_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let by_age = JournalConfig {
        keep: Duration::from_secs(60),
        ..small_segments()
    };
    written(dir.path(), by_age, 0..400).await;
    let kept = entries(dir.path());
    assert!((60..100).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&entry(399)));

    let by_bytes = JournalConfig {
        max_bytes: 2_000,
        ..small_segments()
    };
    written(dir.path(), by_bytes, 400..800).await;
    let bytes = bytes_in(dir.path());
    assert!((1_000..=2_000).contains(&bytes), "{bytes}");
    assert_eq!(entries(dir.path()).last(), Some(&entry(799)));
}

/// A full disk refuses requests and loses nothing; when there is room again, the journal goes on.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        for left in 0..400 {
            let dir = tempfile::tempdir().expect("a directory");
            let room = Arc::new(Room::new(left));
            let mut full = config(durability);
            full.room = Some(room.clone());
            let (journal, _) = Journal::open(dir.path(), full).expect("opens");
            let mut kept = Vec::new();
            for number in 0..12 {
                match journal.append(entry(number)).await {
                    Ok(_) => kept.push(entry(number)),
                    Err(AppendError::Write { source, .. }) => {
                        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let needed: usize = (0..12).map(|it| record_bytes(&entry(it).payload)).sum();
            assert_eq!(kept.len() == 12, left as usize >= HEADER_BYTES + needed);
            room.left.store(1 << 20, Ordering::SeqCst);
            for number in 12..15 {
                journal.append(entry(number)).await.expect("there is room");
                kept.push(entry(number));
            }
            drop(journal);
            assert_eq!(entries(dir.path()), kept, "{left} bytes left");
            let (_, recovered) = Journal::open(dir.path(), config(durability)).expect("opens");
            assert_eq!(recovered.torn_bytes, 0);
        }
    }
}

/// What a full disk costs is the oldest of what is kept, not what comes, and never the room that others need. Only where
/// that is gone too are requests refused, until it is there again.
#[tokio::test]
async fn on_a_small_disk_it_keeps_less_and_leaves_others_their_part() {
    const DISK: u64 = 64_000;
    let dir = tempfile::tempdir().expect("a directory");
    let mut room = Room::new(u64::MAX);
    room.small = Some(Small {
        dir: dir.path().to_owned(),
        bytes: DISK,
        others: AtomicU64::new(0),
    });
    let room = Arc::new(room);
    let others = |bytes: u64| {
        let small = room.small.as_ref().expect("it is small");
        small.others.store(bytes, Ordering::SeqCst);
    };
    let config = JournalConfig {
        segment_bytes: 2_000,
        keep: Duration::from_secs(86_400),
        room: Some(Arc::clone(&room)),
        ..config(Durability::ProcessCrash)
    };
    let (journal, _) = Journal::open(dir.path(), config).expect("opens");
    let allowance = journal.allowance();
    assert_eq!(allowance.short_of_quota(), None);
    let mut number = 0;
    for (taken, least, most) in [
        (0, 50_000, 60_000),
        (40_000, 10_000, 20_000),
        (0, 50_000, 60_000),
    ] {
        others(taken);
        for _ in 0..2_000 {
            journal.append(entry(number)).await.expect("is kept");
            number += 1;
        }
        let bytes = bytes_in(dir.path());
        assert!((least..=most).contains(&bytes), "{taken}: {bytes}");
        assert_eq!(entries(dir.path()).last(), Some(&entry(number - 1)));
        assert_eq!(allowance.short_of_quota(), Some(DISK / 16 * 15 - taken));
    }
    // Who takes at once whatever is left.
    let mut refused = 0;
    for _ in 0..200 {
        others(DISK - bytes_in(dir.path()));
        match journal.append(entry(number)).await {
            Ok(_) => number += 1,
            Err(AppendError::NoRoom { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 100, "{refused}");
    // What there is is not given up in vain.
    assert!(bytes_in(dir.path()) > 2_000);
    assert_eq!(entries(dir.path()).last(), Some(&entry(number - 1)));
    others(0);
    journal.append(entry(number)).await.expect("there is room");
    drop(journal);
    assert_eq!(entries(dir.path()).last(), Some(&entry(number)));
}

/// The end of what is whole when the first `bytes` of the file are: records, and which byte ends
/// each.
fn ends(entries: &[Entry]) -> Vec<usize> {
    let mut end = HEADER_BYTES;
    let lengths = entries.iter().map(|entry| record_bytes(&entry.payload));
    lengths
        .map(|length| {
            end += length;
            end
        })
        .collect()
}

/// Cut the only segment at every byte: what is whole before the cut is read, nothing is invented,
/// and the journal goes on with positions that it never gave.
#[tokio::test]
async fn a_crash_at_any_byte_keeps_what_was_whole() {
    let origin = tempfile::tempdir().expect("a directory");
    let given = written(origin.path(), config(Durability::ProcessCrash), 0..8).await;
    let path = segment::path_of(origin.path(), 0);
    let bytes = fs::read(&path).expect("reads");
    let all: Vec<Entry> = (0..8).map(entry).collect();
    let ends = ends(&all);
    assert_eq!(ends.last(), Some(&bytes.len()));
    for cut in 0..=bytes.len() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(segment::path_of(dir.path(), 0), &bytes[..cut]).expect("writes");
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (journal, recovered) =
            Journal::open(dir.path(), config(Durability::ProcessCrash)).expect("opens");
        assert_eq!(entries(dir.path()), all[..whole], "cut at {cut}");
        let good = if cut < HEADER_BYTES {
            0
        } else {
            whole.checked_sub(1).map_or(HEADER_BYTES, |it| ends[it])
        };
        assert_eq!(recovered.torn_bytes as usize, cut - good, "cut at {cut}");
        let position = journal.append(entry(8)).await.expect("appends");
        if cut == bytes.len() {
            assert!(position > given[7]);
        } else {
            assert!(whole == 0 || position > given[whole - 1]);
        }
        drop(journal);
        let kept = [&all[..whole], &[entry(8)]].concat();
        assert_eq!(entries(dir.path()), kept, "cut at {cut}");
    }
}

/// The same for long groups, wherever something begins or ends: a record, a filler, a page.
#[tokio::test]
async fn a_crash_within_a_long_group_keeps_what_was_whole() {
    let origin = tempfile::tempdir().expect("a directory");
    let all: Vec<Entry> = (0..9).map(long_or_short).collect();
    let (journal, _) = Journal::open(origin.path(), config(Durability::PowerLoss)).expect("opens");
    let (mut ends, mut fillers) = (Vec::new(), 0);
    let mut end = HEADER_BYTES;
    for entry in &all {
        journal.append(entry.clone()).await.expect("appends");
        let begin = if ends.is_empty() { 0 } else { end };
        end += record_bytes(&entry.payload);
        ends.push(end);
        if let Some(filler) = file::filler_bytes(end - begin, end as u64) {
            end += filler;
            fillers += 1;
        }
    }
    drop(journal);
    assert_eq!(fillers, 2);
    let bytes = fs::read(segment::path_of(origin.path(), 0)).expect("reads");
    assert_eq!(bytes.len(), end);
    let edges = ends.iter().copied().chain((0..end).step_by(file::PAGE));
    let cuts = edges.flat_map(|at| at.saturating_sub(1)..=at + 1);
    for cut in cuts.filter(|cut| *cut <= end) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(segment::path_of(dir.path(), 0), &bytes[..cut]).expect("writes");
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (journal, _) =
            Journal::open(dir.path(), config(Durability::ProcessCrash)).expect("opens");
        assert!(entries(dir.path()) == all[..whole], "cut at {cut}");
        journal.append(entry(9)).await.expect("appends");
        drop(journal);
        let kept = [&all[..whole], &[entry(9)]].concat();
        assert!(entries(dir.path()) == kept, "cut at {cut}");
    }
}

/// Somebody copied a segment, or lost one.
#[tokio::test]
async fn a_copy_is_not_read_twice_and_a_missing_segment_takes_no_other_along() {
    let origin = tempfile::tempdir().expect("a directory");
    written(origin.path(), small_segments(), 0..30).await;
    let all = entries(origin.path());
    let segments = segment::list(origin.path()).expect("lists");
    let last = segments.last().expect("some").first;
    let copied = |without: Option<u64>| {
        let dir = tempfile::tempdir().expect("a directory");
        for segment in segments.iter().filter(|it| Some(it.first) != without) {
            let name = segment.path.file_name().expect("a name");
            fs::copy(&segment.path, dir.path().join(name)).expect("copies");
        }
        dir
    };
    for segment in &segments {
        for under in [segments[1].first - 1, last - 1, last + 1, last + 1_000] {
            let dir = copied(None);
            fs::copy(&segment.path, segment::path_of(dir.path(), under)).expect("copies");
            let (journal, recovered) = Journal::open(dir.path(), small_segments()).expect("opens");
            assert_eq!(recovered.damaged_segments, 1);
            assert_eq!(entries(dir.path()), all, "{} under {under}", segment.first);
            journal.append(entry(99)).await.expect("appends");
            drop(journal);
            let kept = [&all[..], &[entry(99)]].concat();
            assert_eq!(entries(dir.path()), kept, "{} under {under}", segment.first);
        }
        let dir = copied(Some(segment.first));
        let mut lost = Vec::new();
        segment::read(&segment.path, |record| lost.push(record.entry)).expect("reads");
        let kept: Vec<Entry> = all
            .iter()
            .filter(|it| !lost.contains(it))
            .cloned()
            .collect();
        assert!(kept.len() < all.len());
        drop(Journal::open(dir.path(), small_segments()).expect("opens"));
        assert_eq!(entries(dir.path()), kept, "without {}", segment.first);
    }
}

/// Damage every byte in turn, in the last segment and in one before it.
#[tokio::test]
async fn damage_at_any_byte_invents_nothing() {
    let origin = tempfile::tempdir().expect("a directory");
    written(origin.path(), small_segments(), 0..30).await;
    let segments = segment::list(origin.path()).expect("lists");
    assert!(segments.len() > 2);
    for (index, damaged) in segments.iter().enumerate() {
        let mut before = Vec::new();
        let mut inside = Vec::new();
        let mut behind = Vec::new();
        for (other, segment) in segments.iter().enumerate() {
            let place = match other.cmp(&index) {
                std::cmp::Ordering::Less => &mut before,
                std::cmp::Ordering::Equal => &mut inside,
                std::cmp::Ordering::Greater => &mut behind,
            };
            segment::read(&segment.path, |record| place.push(record.entry)).expect("reads");
        }
        let ends = ends(&inside);
        let bytes = fs::read(&damaged.path).expect("reads");
        let dir = tempfile::tempdir().expect("a directory");
        for segment in &segments {
            let name = segment.path.file_name().expect("a name");
            fs::copy(&segment.path, dir.path().join(name)).expect("copies");
        }
        let path = segment::path_of(dir.path(), damaged.first);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[at] ^= flip;
                fs::write(&path, &flipped).expect("writes");
                let whole = match at < HEADER_BYTES {
                    true => 0,
                    false => ends.iter().filter(|end| **end <= at).count(),
                };
                let kept = [&before[..], &inside[..whole], &behind[..]].concat();
                let (journal, recovered) =
                    Journal::open(dir.path(), small_segments()).expect("opens");
                let mut found = Vec::new();
                let replayed = journal
                    .replay(UnixNanos(0), |record| found.push(record.entry))
                    .expect("replays");
                assert_eq!(found, kept, "byte {at} of segment {index}");
                let noticed = recovered.torn_bytes > 0 || replayed.damaged_segments == 1;
                assert!(noticed, "byte {at} of segment {index}");
                let last = segments.last().map_or(0, |it| it.first) + 8;
                assert!(recovered.next_position >= last.min(30));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Syncs fail, the disk gets full and has room again, and then the power goes: what was
    /// acknowledged is there, and nothing is there that wasn't sent, whatever the disk left behind
    /// what was safe: all of it, nothing, zeroes, only what went past the cache, or the wrong bytes.
    #[test]
    fn what_was_acknowledged_survives_the_loss_of_power(
        failing_syncs in prop::collection::vec(0u64..40, 0..12),
        full_from in 0u64..40,
        full_for in 0u64..10,
        left_behind in 0usize..5,
        cut: prop::sample::Index,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("a directory");
            let room = Arc::new(Room::failing(u64::MAX, failing_syncs.clone()));
            let failing = JournalConfig {
                segment_bytes: [300, 200_000][failing_syncs.len() % 2],
                room: Some(room.clone()),
                ..config(Durability::PowerLoss)
            };
            let (journal, _) = Journal::open(dir.path(), failing).expect("opens");
            let (mut sent, mut kept) = (Vec::new(), Vec::new());
            for number in 0..40 {
                let full = (full_from..full_from + full_for).contains(&number);
                let entry = long_or_short(number);
                let left = match full {
                    // Ends among the whole pages, before them and not at all.
                    true if entry.payload.len() > 1000 => 62_000 + number * 3_001 % 12_000,
                    true => number % 30,
                    false => u64::MAX / 2,
                };
                room.left.store(left, Ordering::SeqCst);
                sent.push(entry.clone());
                if let Ok(position) = journal.append(entry.clone()).await {
                    kept.push((position, entry));
                }
            }
            drop(journal);
            assert!(room.long_writes.load(Ordering::SeqCst) > 0);
            room.lose_power(dir.path(), |rest| match left_behind {
                0 => {}
                1 => rest.clear(),
                2 => rest.fill(0),
                // What goes past the cache is there, and what is written the usual way before it isn't.
                3 => {
                    let head = rest.len().min(file::PAGE);
                    rest[..head].fill(0);
                }
                _ if rest.is_empty() => {}
                _ => {
                    let at = cut.index(rest.len());
                    rest[at] ^= 0x55;
                }
            });
            let (journal, _) =
                Journal::open(dir.path(), config(Durability::PowerLoss)).expect("opens");
            let next = journal.append(entry(40)).await.expect("appends");
            drop(journal);
            let (found, _) = records(dir.path(), UnixNanos(0));
            for (position, entry) in &kept {
                let there = found.iter().find(|it| it.position == *position);
                assert_eq!(there.map(|it| &it.entry), Some(entry));
                assert!(next > *position);
            }
            sent.push(entry(40));
            assert!(found.iter().all(|it| sent.contains(&it.entry)));
            assert!(found.is_sorted_by(|a, b| a.position < b.position));
        });
    }
}
