//! Incident numbers that people and the ledger can rely on.
//!
//! The analysis counts its incidents from 1 in every life of the engine, and the ledger remembers
//! incidents of former lives. So the engine gives the public numbers, for what the analysis found and
//! for what it saw directly alike, and none is given twice: each is reserved on disk before it is used.
//!
//! An incident that outlives the engine keeps its number: what the replay of the journal, the
//! supervisor or a check finds again is matched with what the archive remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_ingest::sync_folder;

use crate::view::{IncidentState, IncidentView, Shape, UtcTime};

/// How far apart the beginnings of one incident may lie when it is found twice: the second time, what
/// was usual before it may look a few slices different.
const SAME_BEGINNING: Duration = Duration::from_secs(5);

/// An incident of a former life, by what it is found again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Former {
    number: u64,
    since: UtcTime,
    opened: UtcTime,
    is_open: bool,
    masked: bool,
    request_types: Vec<String>,
    /// The unit and what is wrong with it, of a fault that was seen directly.
    direct: Option<(String, Shape)>,
}

impl Former {
    /// What the archive has of it.
    pub(crate) fn of(view: &IncidentView) -> Self {
        let first = view.ranking.iter().flat_map(|ranking| &ranking.suspects);
        // Only what was seen directly is about no request type.
        let direct = first
            .take(1)
            .filter(|_| view.request_types.is_empty())
            .find_map(|suspect| Some((suspect.unit.clone()?, suspect.shape)));
        Self {
            number: view.id,
            since: view.since,
            opened: view.opened,
            is_open: view.state == IncidentState::Open,
            masked: view.masked,
            request_types: view.request_types.clone(),
            direct,
        }
    }

    fn began_with(&self, since: UtcTime) -> bool {
        self.since.since(since).max(since.since(self.since)) <= SAME_BEGINNING
    }
}

/// Public incident numbers.
#[derive(Debug)]
pub(crate) struct IncidentIds {
    /// The last that was given.
    last: u64,
    file: PathBuf,
    of_analysis: BTreeMap<u64, u64>,
    told_closed: BTreeSet<u64>,
    /// Incidents of former lives that weren't found again yet.
    former: Vec<Former>,
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
        let ids = Self {
            last: reserved.max(least),
            file,
            of_analysis: BTreeMap::new(),
            told_closed: BTreeSet::new(),
            former: Vec::new(),
        };
        ids.reserve()?;
        Ok(ids)
    }

    /// What may be found again.
    pub(crate) fn remember(&mut self, former: Vec<Former>) {
        self.former = former;
    }

    fn reserve(&self) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{}", self.last)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        match self.file.parent() {
            Some(folder) => sync_folder(folder),
            None => Ok(()),
        }
    }

    /// A number that was never given before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.last += 1;
        if let Err(error) = self.reserve() {
            tracing::error!(%error, "an incident's number could not be reserved; it may be given again after a restart");
        }
        self.last
    }

    /// The public number of the analysis' incident: the one that it had in a former life, where it
    /// had any.
    pub(crate) fn of_analysis(
        &mut self,
        id: u64,
        (since, masked): (UtcTime, bool),
        request_types: &[impl ToString],
    ) -> u64 {
        if let Some(known) = self.of_analysis.get(&id) {
            return *known;
        }
        let types: Vec<String> = request_types.iter().map(ToString::to_string).collect();
        let shared = |former: &Former| {
            let own = former.request_types.iter();
            own.filter(|name| types.contains(name)).count()
        };
        let alike = self.former.iter().enumerate();
        let alike =
            alike.filter(|(_, it)| it.masked == masked && it.began_with(since) && shared(it) > 0);
        // What had joined another one began with it, and had its types.
        let best =
            alike.max_by_key(|(_, it)| (it.is_open, shared(it), std::cmp::Reverse(it.number)));
        let former = best.map(|(index, _)| index);
        let number = match former {
            Some(index) => self.former.swap_remove(index).number,
            None => self.fresh(),
        };
        self.of_analysis.insert(id, number);
        number
    }

    /// The number of a fault that was seen directly, since when it is there, and when it was noticed, if that was before now: all
    /// from a former life where it was open when that ended.
    pub(crate) fn of_direct(
        &mut self,
        unit: &str,
        shape: Shape,
        since: UtcTime,
    ) -> (u64, UtcTime, Option<UtcTime>) {
        let former = self.former.iter().position(|former| {
            let direct = former.direct.as_ref();
            direct.is_some_and(|(of, what)| of == unit && *what == shape) && former.is_open
        });
        match former {
            Some(index) => {
                let former = self.former.swap_remove(index);
                (former.number, former.since.min(since), Some(former.opened))
            }
            None => (self.fresh(), since, None),
        }
    }

    /// A fault that a former life saw isn't there any more: the next of its kind is another.
    pub(crate) fn is_over(&mut self, unit: &str, shape: Shape) {
        self.former.retain(|former| {
            let direct = former.direct.as_ref();
            !direct.is_some_and(|(of, what)| of == unit && *what == shape)
        });
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
        let found =
            |ids: &mut IncidentIds| ids.of_analysis(1, (UtcTime::default(), false), &["web GET /"]);
        assert_eq!(
            (found(&mut first), first.fresh(), found(&mut first)),
            (1, 2, 1)
        );
        let mut second = IncidentIds::open(folder.path(), 0).expect("reserved");
        assert_eq!(found(&mut second), 3);
        assert!(second.first_time_closed(1));
        assert!(!second.first_time_closed(1));
        second.keep(&[]);
        assert_eq!(found(&mut second), 4);
    }

    #[test]
    fn what_is_found_again_keeps_its_number() {
        let view = |id, since, types: &[&str]| IncidentView {
            id,
            since: UtcTime::from_millis(since),
            request_types: types.iter().map(|name| (*name).to_owned()).collect(),
            ..IncidentView::default()
        };
        let mut died = view(9, 50_000, &[]);
        died.opened = UtcTime::from_millis(51_000);
        died.ranking = Some(crate::view::RankingView {
            suspects: vec![crate::view::SuspectView {
                unit: Some("catalog".to_owned()),
                shape: Shape::Exited,
                ..Default::default()
            }],
            ..Default::default()
        });
        let former = [view(7, 100_000, &["web GET /", "web GET /item"]), died];
        let begin = || {
            let folder = tempfile::tempdir().expect("a folder");
            let mut ids = IncidentIds::open(folder.path(), 20).expect("reserved");
            ids.remember(former.iter().map(Former::of).collect());
            (ids, folder)
        };
        for (since, types, number) in [
            (100_000, ["web GET /"], 7),
            (105_000, ["web GET /item"], 7),
            (95_000, ["web GET /item"], 7),
            (105_001, ["web GET /item"], 21),
            (100_000, ["web GET /cart"], 21),
        ] {
            let (mut ids, _folder) = begin();
            let since = UtcTime::from_millis(since);
            assert_eq!(
                ids.of_analysis(1, (since, false), &types),
                number,
                "{types:?}"
            );
            assert_eq!(
                ids.of_analysis(1, (since, false), &types),
                number,
                "{types:?}"
            );
            // Only one can be it.
            assert!(ids.of_analysis(2, (since, false), &types) > 20);
        }
        let now = UtcTime::from_millis(200_000);
        for (unit, shape, number) in [
            ("catalog", Shape::Exited, 9),
            ("catalog", Shape::WrongAnswer, 21),
            ("web", Shape::Exited, 21),
        ] {
            let (mut ids, _folder) = begin();
            assert_eq!(ids.of_direct(unit, shape, now).0, number, "{unit} {shape}");
            let (mut ids, _folder) = begin();
            ids.is_over(unit, shape);
            assert_eq!(ids.of_direct(unit, shape, now), (21, now, None));
        }
        let (mut ids, _folder) = begin();
        let (_, since, noticed) = ids.of_direct("catalog", Shape::Exited, now);
        assert_eq!(since, UtcTime::from_millis(50_000));
        assert_eq!(noticed, Some(UtcTime::from_millis(51_000)));
    }

    #[test]
    fn an_open_incident_is_found_again_before_one_that_joined_it() {
        let view = |id, state, types: &[&str]| IncidentView {
            id,
            since: UtcTime::from_millis(100_000),
            state,
            request_types: types.iter().map(|name| (*name).to_owned()).collect(),
            ..IncidentView::default()
        };
        let joined = view(8, IncidentState::Closed, &["web GET /b"]);
        let other = view(6, IncidentState::Open, &["web GET /b"]);
        let open = view(7, IncidentState::Open, &["web GET /a", "web GET /b"]);
        let folder = tempfile::tempdir().expect("a folder");
        let mut ids = IncidentIds::open(folder.path(), 20).expect("reserved");
        ids.remember([joined, other, open].iter().map(Former::of).collect());
        let since = UtcTime::from_millis(100_000);
        let mut found = |id, types: &[&str]| ids.of_analysis(id, (since, false), types);
        assert_eq!(found(1, &["web GET /a", "web GET /b"]), 7);
        assert_eq!(found(2, &["web GET /b"]), 6);
        assert_eq!(found(3, &["web GET /b"]), 8);
    }

    #[test]
    fn what_the_ledger_knows_counts_when_the_file_is_lost_or_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, next) in [("", 16), ("many", 16), ("7", 16), ("70", 71)] {
            fs::write(folder.path().join("incidents"), text).expect("written");
            let mut ids = IncidentIds::open(folder.path(), 15).expect("reserved");
            assert_eq!(ids.fresh(), next, "{text:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(IncidentIds::open(Path::new("no/such/folder"), 0).is_err());
    }
}
