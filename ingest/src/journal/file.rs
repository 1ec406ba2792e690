//! How does a group of requests get into a segment's file for the least work?
//!
//! What is written the usual way is copied into pages of the kernel's cache, which nobody reads again and whose memory is
//! always cold: measured, three quarters of what the journal cost. So the pages that a long group fills are written past
//! the cache (`O_DIRECT`), straight from the group's memory. That demands that memory, place in the file and length are
//! multiples of a page, which records aren't; so the group is laid out in memory as it will lie in the file, and its first
//! and last page, where it shares them with others, go the usual way. Each of those is one more page for the kernel to
//! bring to the disk, so a long group is filled up to where a page ends, and the next begins on its own. The file holds the
//! same bytes whichever way they took.
//!
//! Where a file system can't, everything goes the usual way.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
#[cfg(test)]
use std::sync::Arc;

use rustix::fs::OFlags;

use super::record::MIN_FILLER_BYTES;
#[cfg(test)]
use super::tests::Room;

/// What memory, place and length must be multiples of. Disks ask for 512 or 4096 bytes, and what suits the latter suits
/// the former.
pub(super) const PAGE: usize = 4096;

/// Shorter groups go the usual way as a whole: the copy costs less there than the kernel's work for one more write.
const DIRECT_FROM: usize = 64 << 10;

/// A buffer that one huge group made longer than this is given back.
const KEEP_BYTES: usize = 16 << 20;

/// How many bytes a filler should have behind a group that ends there, if it is long enough to be worth one.
pub(super) fn filler_bytes(group_bytes: usize, end: u64) -> Option<usize> {
    if group_bytes < DIRECT_FROM || in_page(end) == 0 {
        return None;
    }
    let left = PAGE - in_page(end);
    Some(if left < MIN_FILLER_BYTES {
        left + PAGE
    } else {
        left
    })
}

/// The most that a filler may take.
pub(super) const MAX_FILLER_BYTES: usize = PAGE + MIN_FILLER_BYTES;

/// A group's bytes, in memory as they will lie in the file.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Bytes before `start` only move the rest to its place.
    bytes: Vec<u8>,
    start: usize,
}

impl Layout {
    /// Begins a group that will lie there in the file and is at most so long; what is longer is still right, but
    /// may have to go the usual way.
    pub(super) fn begin(&mut self, offset: u64, room: usize) {
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.reserve(room + PAGE);
        self.start = (in_page(offset) + PAGE - self.bytes.as_ptr().addr() % PAGE) % PAGE;
        self.bytes.resize(self.start, 0);
    }

    /// Where to add the group's bytes.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

fn in_page(offset: u64) -> usize {
    // Less than a page, whatever the platform's width.
    (offset % PAGE as u64) as usize
}

/// The part of a group of this length that fills whole pages, when the group is long enough to care.
fn whole_pages(offset: u64, length: usize) -> Option<Range<usize>> {
    if length < DIRECT_FROM {
        return None;
    }
    let begin = (PAGE - in_page(offset)) % PAGE;
    Some(begin..begin + (length - begin) / PAGE * PAGE)
}

/// A segment's file, open for writing.
#[derive(Debug)]
pub(super) struct SegmentFile {
    usual: File,
    /// The same file, past the cache.
    direct: Option<File>,
    /// What fails in its place.
    #[cfg(test)]
    room: Option<Arc<Room>>,
}

impl SegmentFile {
    /// Makes a file that isn't there yet. `direct` for one whose writer waits for the disk anyway.
    pub(super) fn create(path: &Path, direct: bool) -> io::Result<Self> {
        let usual = OpenOptions::new().write(true).create_new(true).open(path)?;
        let past_cache = || {
            OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::DIRECT.bits().cast_signed())
                .open(path)
        };
        // A file system that can't says so here, or at the first write.
        let direct = direct.then(past_cache).and_then(Result::ok);
        Ok(Self {
            usual,
            direct,
            #[cfg(test)]
            room: None,
        })
    }

    /// Lets it fail as the room does, and go the ways of long groups wherever the test runs.
    #[cfg(test)]
    pub(super) fn fail_like(&mut self, room: Arc<Room>, direct: bool) -> io::Result<()> {
        if direct && self.direct.is_none() {
            self.direct = Some(self.usual.try_clone()?);
        }
        self.room = Some(room);
        Ok(())
    }

    /// The file as anybody sees it.
    pub(super) fn file(&self) -> &File {
        &self.usual
    }

    /// Writes a group that was begun for this place.
    pub(super) fn write(&mut self, layout: &Layout, offset: u64) -> io::Result<()> {
        let bytes = layout.bytes();
        if let Some(direct) = &self.direct
            && let Some(pages) = whole_pages(offset, bytes.len())
        {
            let (from, to) = (offset + pages.start as u64, offset + pages.end as u64);
            match self.write_pages(direct, &bytes[pages.clone()], from) {
                Ok(()) => {
                    let (head, tail) = (&bytes[..pages.start], &bytes[pages.end..]);
                    self.write_usual(head, offset)?;
                    return self.write_usual(tail, to);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                Err(error) => return Err(error),
            }
        }
        self.write_usual(bytes, offset)
    }

    fn write_pages(&self, direct: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(room) = &self.room {
            return room.write_pages(direct, bytes, offset);
        }
        direct.write_all_at(bytes, offset)
    }

    fn write_usual(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(room) = &self.room {
            return room.write(&self.usual, bytes, offset);
        }
        self.usual.write_all_at(bytes, offset)
    }

    /// Waits until what was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(room) = &self.room {
            return room.sync(&self.usual);
        }
        self.usual.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_groups_and_whole_pages_go_past_the_cache() {
        const LONG: usize = DIRECT_FROM;
        let cases = [
            (0, 0, None),
            (0, LONG - 1, None),
            (0, LONG, Some(0..LONG)),
            (0, LONG + 1, Some(0..LONG)),
            (1, LONG, Some(4095..LONG - 1)),
            (4095, LONG, Some(1..LONG - 4095)),
            (4096, LONG + 4095, Some(0..LONG)),
            (28 + (3 << 30), LONG, Some(4068..LONG - 28)),
        ];
        for (offset, length, expected) in cases {
            let found = whole_pages(offset, length);
            assert_eq!(found, expected, "{length} bytes at {offset}");
            if let Some(pages) = found {
                assert_eq!((offset + pages.start as u64) % PAGE as u64, 0);
                assert_eq!(pages.len() % PAGE, 0);
                assert!(length - pages.end < PAGE);
            }
        }
    }

    #[test]
    fn behind_a_long_group_and_its_filler_a_page_begins() {
        assert_eq!(filler_bytes(DIRECT_FROM - 1, 5), None);
        assert_eq!(filler_bytes(DIRECT_FROM, 8192), None);
        for end in [1, 4067, 4068, 4069, 4095, 4097] {
            let filler = filler_bytes(DIRECT_FROM, end).expect("one is needed");
            assert!(
                (MIN_FILLER_BYTES..=MAX_FILLER_BYTES).contains(&filler),
                "{end}"
            );
            assert_eq!((end + filler as u64) % PAGE as u64, 0, "{end}");
        }
    }

    #[test]
    fn the_file_is_the_same_whichever_way_its_bytes_took() {
        let dir = tempfile::tempdir().expect("a directory");
        let lengths = [
            28,
            5,
            70_000,
            4096,
            65_536,
            1 << 20,
            0,
            1,
            4067,
            300_000,
            99_999,
        ];
        for direct in [false, true] {
            let path = dir.path().join(format!("{direct}"));
            let mut file = SegmentFile::create(&path, direct).expect("creates");
            let (mut layout, mut expected) = (Layout::default(), Vec::new());
            for (number, length) in lengths.into_iter().enumerate() {
                let group = vec![number as u8 + 1; length];
                let offset = expected.len() as u64;
                layout.begin(offset, length);
                layout.out().extend_from_slice(&group);
                assert_eq!(layout.bytes(), group);
                let address = layout.bytes().as_ptr().addr();
                assert_eq!(address % PAGE, in_page(offset));
                file.write(&layout, offset).expect("writes");
                expected.extend_from_slice(&group);
            }
            assert!(std::fs::read(&path).expect("reads") == expected, "{direct}");
            // Or else one way was compared with itself.
            assert_eq!(
                file.direct.is_some(),
                direct,
                "this test needs a TMPDIR whose file system knows O_DIRECT"
            );
        }
    }
}
