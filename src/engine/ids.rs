//! Incident numbers that people and the ledger can rely on.
//!
//! The analysis counts its incidents from 1 in every life of the engine, and the ledger remembers
//! incidents of former lives. So the engine gives the public numbers, for what the analysis found and
//! for what it saw directly alike, and none is given twice: they are reserved on disk, a block at a
//! time, before the first of a block is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Numbers reserved at once. Each start uses up one block, so that a number also tells lives apart.
const BLOCK: u64 = 1000;

/// Public incident numbers.
#[derive(Debug)]
pub(crate) struct IncidentIds {
    next: u64,
    /// The first number that isn't reserved.
    end: u64,
    file: PathBuf,
    of_analysis: BTreeMap<u64, u64>,
    told_closed: BTreeSet<u64>,
}

impl IncidentIds {
    /// Numbers that were never given in this state directory, and none below `least`: what the ledger
    /// knows counts even if the file was lost.
    ///
    /// # Errors
    /// When they can't be reserved.
    pub(crate) fn open(state_dir: &Path, least: u64) -> io::Result<Self> {
        let file = state_dir.join("incidents");
        let reserved = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse::<u64>().unwrap_or_else(|_| {
                tracing::warn!(file = %file.display(), "is no number; the ledger's incidents are counted on instead");
                0
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let next = reserved.max(least.saturating_sub(1).next_multiple_of(BLOCK)) + 1;
        let ids = Self {
            next,
            end: next + BLOCK,
            file,
            of_analysis: BTreeMap::new(),
            told_closed: BTreeSet::new(),
        };
        ids.reserve()?;
        Ok(ids)
    }

    fn reserve(&self) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{}", self.end - 1)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        match self.file.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// A number that was never given before.
    pub(crate) fn fresh(&mut self) -> u64 {
        if self.next == self.end {
            self.end += BLOCK;
            if let Err(error) = self.reserve() {
                tracing::error!(%error, "incident numbers could not be reserved; some may be given again after a restart");
            }
        }
        let id = self.next;
        self.next += 1;
        id
    }

    /// The public number of the analysis' incident.
    pub(crate) fn of_analysis(&mut self, id: u64) -> u64 {
        if let Some(known) = self.of_analysis.get(&id) {
            return *known;
        }
        let fresh = self.fresh();
        self.of_analysis.insert(id, fresh);
        fresh
    }

    /// Whether this is the first time that the analysis' incident is said to be closed.
    pub(crate) fn first_time_closed(&mut self, id: u64) -> bool {
        self.told_closed.insert(id)
    }

    /// Forgets what the analysis has forgotten.
    pub(crate) fn keep(&mut self, remembered: &[u64]) {
        self.of_analysis.retain(|id, _| remembered.contains(id));
        self.told_closed.retain(|id| remembered.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = IncidentIds::open(folder.path(), 0).expect("reserved");
        assert_eq!(
            (first.of_analysis(1), first.fresh(), first.of_analysis(1)),
            (1, 2, 1)
        );
        // More than a block: the next life begins after it all the same.
        let last = (0..BLOCK).map(|_| first.fresh()).last();
        assert_eq!(last, Some(BLOCK + 2));
        let mut second = IncidentIds::open(folder.path(), 0).expect("reserved");
        assert_eq!(second.of_analysis(1), 2 * BLOCK + 1);
        assert!(second.first_time_closed(1));
        assert!(!second.first_time_closed(1));
        second.keep(&[]);
        assert_eq!(second.of_analysis(1), 2 * BLOCK + 2);
    }

    #[test]
    fn what_the_ledger_knows_counts_when_the_file_is_lost_or_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "many", "7"] {
            fs::write(folder.path().join("incidents"), text).expect("written");
            let mut ids = IncidentIds::open(folder.path(), 1500).expect("reserved");
            assert_eq!(ids.fresh(), 2001, "{text:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(IncidentIds::open(Path::new("no/such/folder"), 0).is_err());
    }
}
