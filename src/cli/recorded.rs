//! Traces from files, for people who wait.

use std::io;
use std::path::{Path, PathBuf};

use rekindle_ingest::KeepAttributes;
use rekindle_store::Recorded;

use super::Failure;
use super::store::Progress;

/// The traces of all these, together, with these attributes besides the usual ones.
pub(super) fn recorded(inputs: &[PathBuf], keep: &KeepAttributes) -> Result<Recorded, Failure> {
    let mut progress = Progress::new("read");
    Ok(rekindle_store::recorded(inputs, keep, |spans| {
        progress.add(spans)
    })?)
}

/// Whether this is a folder of the store's, or one of its files.
pub(super) fn is_stored(path: &Path) -> bool {
    let begins = |path: &Path| -> io::Result<bool> {
        let mut magic = [0; 4];
        io::Read::read_exact(&mut std::fs::File::open(path)?, &mut magic)?;
        Ok(&magic == b"PAR1")
    };
    path.is_dir() || begins(path).unwrap_or(false)
}
