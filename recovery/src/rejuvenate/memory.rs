//! What each rule has learned, kept over a restart of the engine.
//!
//! A small file of its own, written whole and put in place by renaming: losing it costs one roll in the
//! order that people wrote, so it isn't worth a table in the ledger, and a file that can't be read is an
//! order that isn't known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::order::Gifts;

/// What each rule has learned, by its name.
pub(super) type Learned = BTreeMap<String, Gifts>;

/// What is known; nothing where there is no file, or none that can be read.
pub(super) fn load(path: &Path) -> Learned {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Learned::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what rejuvenation learned can't be read");
            return Learned::new();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "what rejuvenation learned is damaged");
        Learned::new()
    })
}

/// Writes it all.
pub(super) fn save(path: &Path, learned: &Learned) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(serde_json::to_string(learned)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::rejuvenate::order::learn;

    #[test]
    fn what_was_learned_comes_back_and_damage_is_no_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rejuvenation.json");
        assert_eq!(load(&path), Learned::new());
        let mut gifts = Gifts::new();
        learn(&mut gifts, &"a".into(), 12.5, SystemTime::UNIX_EPOCH);
        let learned = Learned::from([("memory".to_owned(), gifts)]);
        save(&path, &learned).expect("written");
        assert_eq!(load(&path), learned);
        fs::write(&path, "{").expect("damaged");
        assert_eq!(load(&path), Learned::new());
    }
}
