//! Who may look into the state directory?
//!
//! Its owner. The journal holds requests as their users made them, addresses and names included, and
//! what supervised processes print may hold secrets. So the folder that is made here is for its owner
//! only, and so is all that is made in it. A folder that is there already may be shared on purpose and
//! keeps its own mode, but what Rekindle makes in it is private all the same.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rekindle_ingest::make_folder;

/// Read, write and enter: the owner only.
const PRIVATE_FOLDER: u32 = 0o700;

/// Read and write: the owner only.
const PRIVATE_FILE: u32 = 0o600;

/// The folders in it. What is in them needs no mode of its own: nobody else gets there.
const FOLDERS: [&str; 3] = ["journal", "logs", "orders"];

/// The databases in it. SQLite gives the files beside them the same mode.
const DATABASES: [&str; 2] = ["ledger.db", "children.sqlite"];

/// Makes the state directory and what must be private in it, where it is missing. Whether it can be
/// written is found out by this, too.
pub(super) fn prepare(path: &Path) -> anyhow::Result<PathBuf> {
    make_folder(path, PRIVATE_FOLDER)
        .with_context(|| format!("making the state directory {}", path.display()))?;
    for folder in FOLDERS {
        let path = path.join(folder);
        make_folder(&path, PRIVATE_FOLDER)
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(PRIVATE_FOLDER)))
            .with_context(|| format!("making {}", path.display()))?;
    }
    for database in DATABASES {
        let path = path.join(database);
        let made = open_private(&path);
        made.and_then(|file| file.set_permissions(Permissions::from_mode(PRIVATE_FILE)))
            .with_context(|| format!("making {}", path.display()))?;
    }
    path.canonicalize()
        .with_context(|| format!("resolving the state directory {}", path.display()))
}

/// Opens a file for writing, and makes it private where it is missing.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(PRIVATE_FILE)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        let meta = std::fs::metadata(path).expect("it is there");
        meta.permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = prepare(&folder.path().join("state")).expect("made");
        assert_eq!(mode(&state), PRIVATE_FOLDER);
        for folder in FOLDERS {
            assert_eq!(mode(&state.join(folder)), PRIVATE_FOLDER, "{folder}");
        }
        for database in DATABASES {
            assert_eq!(mode(&state.join(database)), PRIVATE_FILE, "{database}");
        }
    }

    #[test]
    fn what_was_made_by_an_older_one_becomes_private_and_the_folder_itself_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), shared.clone()).expect("set");
        std::fs::create_dir(folder.path().join("logs")).expect("made");
        std::fs::set_permissions(folder.path().join("logs"), shared).expect("set");
        std::fs::write(folder.path().join("ledger.db"), "kept").expect("written");
        let state = prepare(folder.path()).expect("taken");
        assert_eq!(mode(&state), 0o755);
        assert_eq!(mode(&state.join("logs")), PRIVATE_FOLDER);
        assert_eq!(mode(&state.join("ledger.db")), PRIVATE_FILE);
        let kept = std::fs::read_to_string(state.join("ledger.db")).expect("read");
        assert_eq!(kept, "kept");
    }
}
