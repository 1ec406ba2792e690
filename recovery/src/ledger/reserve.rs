//! Room on the disk that only the ledger may use: a file of a fixed size, given up when the disk is
//! full, made again when there is room. Telemetry may fill the disk; what was decided and done must
//! still be written.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Enough for some hundred recoveries: one takes about 4 KiB in the log before it is checkpointed.
const SIZE: usize = 1 << 20;

/// The file. It is there while the reserve is untouched.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn beside(ledger: &Path) -> Self {
        Self {
            path: ledger.with_extension("reserve"),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() == SIZE as u64)
    }

    /// Makes it, where it isn't there. Bytes other than zero, so that no file system makes it a hole.
    pub(super) fn make(&self) -> std::io::Result<()> {
        if self.is_there() {
            return Ok(());
        }
        // Who needed it last time needs it still: taken at once, it would be gone for whoever starts on a full disk.
        if self
            .available()
            .is_some_and(|bytes| bytes < 2 * SIZE as u64)
        {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let made = File::create(&self.path).and_then(|mut file| {
            file.write_all(&vec![0xA5; SIZE])?;
            file.sync_all()
        });
        if made.is_err() {
            // Half a reserve would take room from what is being written now.
            drop(fs::remove_file(&self.path));
        }
        made
    }

    /// Gives it up if there is less on its disk than it holds. Whether there was something to give up.
    pub(super) fn give_up_if_needed(&self) -> bool {
        let is_full = self.available().is_some_and(|bytes| bytes < SIZE as u64);
        is_full && self.give_up()
    }

    /// Bytes that may still be written to its disk; of one that can't be asked, whoever writes finds out.
    fn available(&self) -> Option<u64> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Gives it up. Whether there was something to give up.
    pub(super) fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_given_up_and_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve::beside(&folder.path().join("ledger.db"));
        assert!(!reserve.is_there() && !reserve.give_up());
        reserve.make().expect("room");
        assert!(reserve.is_there() && reserve.give_up() && !reserve.is_there());
        reserve.make().expect("room again");
        assert!(reserve.is_there());
    }
}
