//! How much of the disk may the journal have?
//!
//! Its quota, or less where the disk has no room for that beside what others need. A journal that takes the last byte
//! takes it from the ledger and the table of children too, without which no engine starts; and one that refuses all that
//! comes because of what it keeps of a quarter of an hour ago is worth less than one that keeps less. But what it has
//! isn't thrown away in vain: who takes all that is given way to is given way to only so far.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is left to others, of a disk that is large enough; and what the journal keeps whatever they take.
const LEFT: u64 = 64 << 20;

/// And of a small one: its sixteenth.
const SHARE: u64 = 16;

/// The disk is looked at again when so many bytes were written, or such a part of a small one.
const LOOK_AFTER: u64 = 1 << 20;
const LOOK_AFTER_SHARE: u64 = 256;

/// A disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) total: u64,
    /// What we may still write.
    pub(super) available: u64,
}

impl Disk {
    /// The disk of a folder; `None` where nobody knows.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let told = rustix::fs::statvfs(folder).ok()?;
        // Some file systems don't say.
        (told.f_blocks > 0).then(|| Self {
            total: told.f_blocks.saturating_mul(told.f_frsize),
            available: told.f_bavail.saturating_mul(told.f_frsize),
        })
    }

    /// What is left to others.
    fn left(self) -> u64 {
        LEFT.min(self.total / SHARE)
    }

    /// How much there may be of somebody who has so many bytes on it.
    fn allows(self, held: u64) -> u64 {
        let all = held.saturating_add(self.available);
        all.saturating_sub(self.left())
    }
}

/// How many bytes the journal may have at present, for whoever shows it.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<AtomicU64>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Allowance {
    /// Bytes, where the disk has room for fewer than the quota.
    pub fn short_of_quota(&self) -> Option<u64> {
        let bytes = self.0.load(Ordering::Relaxed);
        (bytes != u64::MAX).then_some(bytes)
    }
}

/// The quota, as far as the disk has room for it.
#[derive(Debug)]
pub(super) struct Quota {
    configured: u64,
    allowed: u64,
    least: u64,
    /// Bytes written since the disk was looked at; `None` when it is to be looked at again.
    written: Option<u64>,
    look_after: u64,
    shown: Allowance,
}

impl Quota {
    pub(super) fn new(configured: u64, shown: Allowance) -> Self {
        Self {
            configured,
            allowed: configured,
            least: 0,
            written: None,
            look_after: LOOK_AFTER,
            shown,
        }
    }

    /// Bytes that there may be.
    pub(super) fn bytes(&self) -> u64 {
        self.allowed
    }

    /// Bytes below which nothing is given up for others.
    pub(super) fn least(&self) -> u64 {
        self.least
    }

    /// Whether the disk has room for less than the quota.
    pub(super) fn is_short(&self) -> bool {
        self.allowed < self.configured
    }

    pub(super) fn is_stale(&self) -> bool {
        self.written.is_none_or(|bytes| bytes >= self.look_after)
    }

    /// Takes in how the disk is, where so many bytes of it are ours.
    pub(super) fn look(&mut self, disk: Option<Disk>, held: u64) {
        let allows = disk.map_or(u64::MAX, |disk| disk.allows(held));
        self.allowed = self.configured.min(allows);
        self.least = disk.map_or(0, Disk::left).min(self.configured);
        self.written = Some(0);
        let part = disk.map_or(u64::MAX, |disk| disk.total / LOOK_AFTER_SHARE);
        self.look_after = LOOK_AFTER.min(part);
        let shown = if self.is_short() { allows } else { u64::MAX };
        self.shown.0.store(shown, Ordering::Relaxed);
    }

    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written = self.written.map(|so_far| so_far + bytes);
    }

    /// What was known of the disk was wrong, or may be different by the next request.
    pub(super) fn doubt(&mut self) {
        self.written = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_allows_leaves_something_to_others() {
        const MIB: u64 = 1 << 20;
        for (total, available, held, expected) in [
            // Room for all of it.
            (100_000 * MIB, 50_000 * MIB, 0, None),
            (100_000 * MIB, 4064 * MIB, 1000 * MIB, None),
            // Some of it.
            (100_000 * MIB, 1064 * MIB, 500 * MIB, Some(1500 * MIB)),
            // A small disk.
            (160 * MIB, 110 * MIB, 40 * MIB, Some(140 * MIB)),
            // Others took it all.
            (100_000 * MIB, 0, 300 * MIB, Some(236 * MIB)),
            (100_000 * MIB, 0, 10 * MIB, Some(0)),
        ] {
            let shown = Allowance::default();
            let mut quota = Quota::new(4096 * MIB, shown.clone());
            assert!(quota.is_stale());
            quota.look(Some(Disk { total, available }), held);
            assert_eq!(
                shown.short_of_quota(),
                expected,
                "{total} {available} {held}"
            );
            assert_eq!(quota.bytes(), expected.unwrap_or(4096 * MIB));
            let mut small = Quota::new(MIB, Allowance::default());
            small.look(Some(Disk { total, available }), held);
            assert_eq!(small.least(), MIB, "no more than it may have");
            assert!(!quota.is_stale());
            quota.look(None, held);
            assert_eq!(shown.short_of_quota(), None, "nobody knows");
        }
        assert!(Disk::of(&std::env::temp_dir()).is_some_and(|disk| disk.total > 0));
    }
}
