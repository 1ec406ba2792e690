//! Incident numbers that people and the ledger can rely on.
//!
//! The analysis counts its incidents from 1 in every life of the engine, and the ledger remembers
//! incidents of former lives. So each life has a range of its own, and the engine gives the public
//! numbers, for what the analysis found and for what it saw directly alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// Incidents per life of the engine. A life that finds more runs into the next life's range, which
/// only matters if that life also works on the same incident.
const PER_LIFE: u64 = 1000;

/// Public incident numbers.
#[derive(Debug)]
pub(crate) struct IncidentIds {
    next: u64,
    of_analysis: BTreeMap<u64, u64>,
    told_closed: BTreeSet<u64>,
}

impl IncidentIds {
    /// The numbers of the engine's n-th life, counted from 0.
    pub(crate) fn of_life(life: u64) -> Self {
        Self {
            next: life.saturating_mul(PER_LIFE) + 1,
            of_analysis: BTreeMap::new(),
            told_closed: BTreeSet::new(),
        }
    }

    /// A number that was never given before.
    pub(crate) fn fresh(&mut self) -> u64 {
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
}

/// Counts one more start of the engine in this state directory; returns how many there were before.
/// A file that can't be read as a number counts as none: numbers may then repeat, nothing worse.
///
/// # Errors
/// When the new count can't be written.
pub(crate) fn count_start(state_dir: &Path) -> io::Result<u64> {
    let path = state_dir.join("starts");
    let before = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let new = state_dir.join("starts.new");
    fs::write(&new, format!("{}\n", before + 1))?;
    fs::rename(&new, &path)?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_has_numbers_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = IncidentIds::of_life(count_start(folder.path()).expect("written"));
        assert_eq!(
            (first.of_analysis(1), first.fresh(), first.of_analysis(1)),
            (1, 2, 1)
        );
        let mut second = IncidentIds::of_life(count_start(folder.path()).expect("written"));
        assert_eq!(second.of_analysis(1), 1001);
        assert!(second.first_time_closed(1));
        assert!(!second.first_time_closed(1));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(count_start(Path::new("no/such/folder")).is_err());
    }
}
