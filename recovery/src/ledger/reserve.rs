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
