//! What each rule has learned, and how old units are of which nobody else knows it, kept over a restart of
//! the engine.
//!
//! A small file of its own, written whole and put in place by renaming: losing it costs one roll in the
//! order that people wrote, and some ages, so it isn't worth a table in the ledger, and a file that can't be
//! read is an order that isn't known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::order::Gifts;
use crate::UnitName;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Memory {
    /// What each rule has learned, by its name.
    pub(super) learned: BTreeMap<String, Gifts>,
    /// When units were first seen that no process, and no restart of ours, tells the age of.
    pub(super) first_seen: BTreeMap<UnitName, SystemTime>,
}

/// What is known; nothing where there is no file, or none that can be read.
pub(super) fn load(path: &Path) -> Memory {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Memory::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what rejuvenation learned can't be read");
            return Memory::default();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "what rejuvenation learned is damaged");
        Memory::default()
    })
}

/// Writes it all.
pub(super) fn save(path: &Path, memory: &Memory) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(serde_json::to_string(memory)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejuvenate::order::learn;

    #[test]
    fn what_was_learned_comes_back_and_damage_is_no_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rejuvenation.json");
        assert_eq!(load(&path), Memory::default());
        let mut gifts = Gifts::new();
        learn(&mut gifts, &"a".into(), 12.5, SystemTime::UNIX_EPOCH);
        let memory = Memory {
            learned: BTreeMap::from([("memory".to_owned(), gifts)]),
            first_seen: BTreeMap::from([("b".into(), SystemTime::UNIX_EPOCH)]),
        };
        save(&path, &memory).expect("written");
        assert_eq!(load(&path), memory);
        fs::write(&path, "{").expect("damaged");
        assert_eq!(load(&path), Memory::default());
    }
}
