//! Who lived when a restart was ordered? Written down before the order, so that after a crash it can
//! be seen whether they still live.
//!
//! Container engines, Kubernetes and systemd don't take an action's id with a restart, so they can't
//! be asked about one. But each gives every life of what it runs an identity of its own: a start
//! time, a pod's uid, an invocation id. When those that lived before the order are gone, it was
//! carried out; no note says that no order was given. One small file per unit, replaced as a whole,
//! on disk before the order goes out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::UnitName;
use crate::executor::ActionId;

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The action that is about to be ordered.
    pub action: ActionId,
    /// The generation that it leads to.
    pub generation: u64,
    /// The identities of those that lived then.
    pub lives: BTreeSet<String>,
}

/// The folder of notes.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    folder: PathBuf,
}

impl Notes {
    /// Below the state directory.
    pub(crate) fn new(state_directory: &Path) -> Self {
        Self {
            folder: state_directory.join("orders"),
        }
    }

    /// Writes it down, for good when this returns.
    pub(crate) fn write(&self, unit: &UnitName, note: &Note) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(unit);
        let partial = path.with_extension("partial");
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec(note)?)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// What was last written about the unit.
    ///
    /// # Errors
    ///
    /// If there is a file that can't be read: then nothing is known, which is not the same as none.
    pub(crate) fn read(&self, unit: &UnitName) -> io::Result<Option<Note>> {
        match fs::read(self.path(unit)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A configured name may have any characters here, so those that mean something to a file system
    /// are written as numbers.
    fn path(&self, unit: &UnitName) -> PathBuf {
        let name = super::connection::escaped(unit.as_str());
        self.folder.join(format!("unit-{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_only_that() {
        let directory = tempfile::tempdir().expect("a directory");
        let notes = Notes::new(directory.path());
        let unit = UnitName::from("../a/b");
        assert_eq!(notes.read(&unit).expect("readable"), None);
        let mut note = Note {
            action: ActionId(3),
            generation: 2,
            lives: BTreeSet::from(["first".to_owned()]),
        };
        notes.write(&unit, &note).expect("written");
        note.action = ActionId(4);
        notes.write(&unit, &note).expect("written again");
        assert_eq!(notes.read(&unit).expect("readable"), Some(note));
        assert_eq!(notes.read(&"other".into()).expect("readable"), None);
        let path = notes.path(&unit);
        assert_eq!(
            path.parent(),
            Some(directory.path().join("orders").as_path())
        );
        fs::write(path, "{").expect("damaged");
        notes
            .read(&unit)
            .expect_err("a damaged note is no missing note");
    }
}
