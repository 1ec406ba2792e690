//! Who may write into a folder? Two writers would overwrite each other.
//!
//! A file `lock` in it is locked for as long as the process lives: a lock goes with whoever held it, however that
//! ended, so that none is ever left over.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// Its name.
pub const LOCK: &str = "lock";

/// Takes hold of a folder that is there, until the answer is dropped; `None` while another has it.
///
/// # Errors
/// When the file can't be made or locked.
pub fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = lock_folder(folder.path()).expect("made");
        assert!(held.is_some());
        assert!(lock_folder(folder.path()).expect("there").is_none());
        drop(held);
        assert!(lock_folder(folder.path()).expect("there").is_some());
        lock_folder(&folder.path().join("none")).expect_err("no such folder");
    }
}
