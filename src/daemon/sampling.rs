//! What do the lots begin with that decide which requests are measured?
//!
//! With a number of this state directory's own: whoever knew it could send trace ids that are measured instead of
//! others'. It is drawn once and kept, so that the same requests are measured when the journal is replayed.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::state_dir::open_private;

const FILE: &str = "sampling-seed";

/// The number, drawn by `draw` where there is none yet. What can't be read as one is replaced: it only decides who
/// is measured.
pub(super) fn seed(state_dir: &Path, draw: impl FnOnce() -> u64) -> anyhow::Result<u64> {
    if let Some(kept) = known_seed(state_dir) {
        return Ok(kept);
    }
    let (path, seed) = (state_dir.join(FILE), draw());
    let unfinished = path.with_extension("partial");
    let write = || {
        let mut file = open_private(&unfinished)?;
        file.set_len(0)?;
        writeln!(file, "{seed}")?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)
    };
    write().with_context(|| format!("writing {}", path.display()))?;
    Ok(seed)
}

/// The number, if it was drawn.
pub(super) fn known_seed(state_dir: &Path) -> Option<u64> {
    let kept = std::fs::read_to_string(state_dir.join(FILE)).ok()?;
    kept.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let seed = |drawn: u64| seed(folder.path(), || drawn).expect("written");
        assert_eq!((seed(5), seed(6)), (5, 5));
        std::fs::write(folder.path().join(FILE), "").expect("damaged");
        assert_eq!((seed(7), seed(8)), (7, 7));
    }
}
