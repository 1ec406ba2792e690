//! What was known of an incident outlives the engine that saw it.
//!
//! The analysis and the direct faults forget what has been over for a while, and with the process
//! they forget everything; but a notification's link and a line of the history must lead somewhere
//! for longer. So each incident is kept as it was last shown, one JSON file per incident: written when
//! it opens, closes or gets another first suspect, and now and then while it goes on. A thread of its
//! own writes, so that a slow disk never holds up the engine; a file appears by renaming, so that
//! there is never half of one. This is memory for people: no decision is made from it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ids::{Former, IncidentIds};
use crate::view::{IncidentState, IncidentView, UtcTime};

/// Incidents that are kept. Who wants to read further back has the history; the oldest that are over
/// go first.
const MAX_KEPT: usize = 200;

/// How often an incident that goes on is written: what a crash loses of its counts, nobody misses.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Orders that may wait for the disk. What doesn't fit is written at the next look.
const QUEUE: usize = 32;

/// How long an incident of a former life may yet turn out to go on: longer than a check takes to be
/// wrong three times, and than a process takes to end again.
const FORMER_MAY_RETURN: Duration = Duration::from_secs(60);

/// What is said of an incident whose end nobody saw.
const ENGINE_RESTARTED: &str = "the engine was restarted, and has not seen it since";

/// A larger file is none of ours.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

enum Order {
    Write(Box<IncidentView>),
    Forget(u64),
}

#[derive(Debug, Clone, PartialEq)]
struct Kept {
    view: IncidentView,
    /// As it is on disk, or about to be; `None` when it must be written.
    written: Option<Written>,
}

/// What makes an incident worth writing at once.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    at: UtcTime,
    state: IncidentState,
    first: Option<String>,
}

/// What a new engine knows of incidents: their numbers, and those of former lives.
pub(crate) struct KnownIncidents {
    pub(super) ids: IncidentIds,
    pub(super) archive: Archive,
}

impl KnownIncidents {
    /// From the state directory; `least` is the greatest number that the ledger knows. What was archived counts as
    /// well, should the file of the numbers be lost: most incidents come to no recovery.
    ///
    /// # Errors
    /// When the directory can't be read or written.
    pub(crate) fn open(state_dir: &Path, least: u64, now: UtcTime) -> io::Result<Self> {
        let (archive, former) = Archive::open(state_dir, now)?;
        let archived = archive.kept.last_key_value().map_or(0, |(id, _)| *id);
        let mut ids = IncidentIds::open(state_dir, least.max(archived))?;
        ids.remember(former);
        Ok(Self { ids, archive })
    }
}

/// The incidents of this life and of former ones, as they were last shown.
pub(super) struct Archive {
    kept: BTreeMap<u64, Kept>,
    opened_at: UtcTime,
    writer: Option<(SyncSender<Order>, JoinHandle<()>)>,
}

impl Archive {
    /// Reads what former lives left in the state directory, and what of it was still going on.
    ///
    /// # Errors
    /// When the folder can't be made or read, or the writing thread can't be started. A file that makes
    /// no sense is named in the log and left alone.
    fn open(state_dir: &Path, now: UtcTime) -> io::Result<(Self, Vec<Former>)> {
        let folder = state_dir.join("incident");
        fs::create_dir_all(&folder)?;
        let mut kept = BTreeMap::new();
        let mut former = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(mut view) => {
                    former.push(Former::of(&view));
                    if view.state == IncidentState::Open {
                        view.state = IncidentState::Closed;
                        view.closed = Some(now);
                        view.ended = ENGINE_RESTARTED.to_owned();
                    }
                    kept.insert(
                        view.id,
                        Kept {
                            view,
                            written: None,
                        },
                    );
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a former incident can't be read");
                }
            }
        }
        let (sender, orders) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("incidents".to_owned())
            .spawn(move || {
                let mut is_failing = false;
                for order in orders {
                    let done = carry_out(&folder, &order);
                    match (&done, is_failing) {
                        (Err(error), false) => {
                            tracing::error!(folder = %folder.display(), %error, "incidents can't be written; they will be forgotten at the next start");
                        }
                        (Ok(()), true) => tracing::info!("incidents are written again"),
                        _ => {}
                    }
                    is_failing = done.is_err();
                }
            })?;
        let mut archive = Self {
            kept,
            opened_at: now,
            writer: Some((sender, thread)),
        };
        archive.forget_too_many();
        Ok((archive, former))
    }

    /// Takes note of the incidents that are shown now.
    pub(super) fn note(&mut self, shown: &[IncidentView], now: UtcTime) {
        for incident in shown {
            let known = self.kept.get(&incident.id);
            if known.is_some_and(|known| known.view == *incident && known.written.is_some()) {
                continue;
            }
            let written = known.and_then(|known| known.written.clone());
            let view = incident.clone();
            self.kept.insert(incident.id, Kept { view, written });
        }
        self.forget_too_many();
        let may_return = now.since(self.opened_at) < FORMER_MAY_RETURN;
        let Some((sender, _)) = &self.writer else {
            return;
        };
        for kept in self.kept.values_mut() {
            // Until then the file says that it is open, so that another restart finds it so again.
            if may_return && kept.view.ended == ENGINE_RESTARTED {
                continue;
            }
            let first = first_suspect(&kept.view);
            let is_due = kept.written.as_ref().is_none_or(|written| {
                written.state != kept.view.state
                    || written.first != first
                    || (kept.view.state == IncidentState::Open
                        && now.since(written.at) >= WRITE_EVERY)
            });
            if !is_due {
                continue;
            }
            match sender.try_send(Order::Write(Box::new(kept.view.clone()))) {
                Ok(()) => {
                    kept.written = Some(Written {
                        at: now,
                        state: kept.view.state,
                        first,
                    });
                }
                // Next time; the writer says what is wrong, if anything is.
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => break,
            }
        }
    }

    /// What is kept and isn't among those that are shown anyway, oldest first.
    pub(super) fn others(&self, shown: &[IncidentView]) -> Vec<IncidentView> {
        let others = self.kept.values().map(|kept| &kept.view);
        others
            .filter(|view| !shown.iter().any(|other| other.id == view.id))
            .cloned()
            .collect()
    }

    fn forget_too_many(&mut self) {
        while self.kept.len() > MAX_KEPT {
            let over = self
                .kept
                .values()
                .filter(|kept| kept.view.state == IncidentState::Closed)
                .min_by_key(|kept| (kept.view.closed, kept.view.id));
            // So many open ones at once are one disaster; the first of it tell as much as the last.
            let goes = over.map(|kept| kept.view.id);
            let Some(goes) = goes.or_else(|| self.kept.keys().next_back().copied()) else {
                return;
            };
            self.kept.remove(&goes);
            if let Some((sender, _)) = &self.writer {
                // A file that stays is read at the next start, and goes then.
                let _ = sender.try_send(Order::Forget(goes));
            }
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.writer.take() {
            drop(sender);
            // A panic in it has been told by the panic itself.
            let _ = thread.join();
        }
    }
}

fn first_suspect(view: &IncidentView) -> Option<String> {
    let ranking = view.ranking.as_ref()?;
    ranking.suspects.first().map(|suspect| suspect.name())
}

/// The incident of this number as an engine showed it last; `None` where there is none.
///
/// # Errors
/// When it can't be read.
pub(crate) fn archived(state_dir: &Path, number: u64) -> io::Result<Option<IncidentView>> {
    let path = state_dir.join("incident").join(format!("{number}.json"));
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn read(path: &Path) -> io::Result<IncidentView> {
    let size = fs::metadata(path)?.len();
    if size > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it has {size} bytes")));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

fn carry_out(folder: &Path, order: &Order) -> io::Result<()> {
    let path = |id: u64| -> PathBuf { folder.join(format!("{id}.json")) };
    match order {
        Order::Write(view) => {
            let new = folder.join("new");
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(view)?)?;
            file.sync_data()?;
            fs::rename(&new, path(view.id))
        }
        Order::Forget(id) => match fs::remove_file(path(*id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{RankingView, SuspectView};

    fn incident(id: u64, closed: Option<u64>, suspect: &str) -> IncidentView {
        IncidentView {
            id,
            state: match closed {
                Some(_) => IncidentState::Closed,
                None => IncidentState::Open,
            },
            since: UtcTime::from_millis(1_000),
            closed: closed.map(UtcTime::from_millis),
            request_types: vec!["web GET /".to_owned()],
            ranking: Some(RankingView {
                incident: id,
                suspects: vec![SuspectView {
                    rank: 1,
                    components: vec![crate::view::ComponentView {
                        name: suspect.to_owned(),
                        ..Default::default()
                    }],
                    ..SuspectView::default()
                }],
                ..RankingView::default()
            }),
            ..IncidentView::default()
        }
    }

    fn at(seconds: u64) -> UtcTime {
        UtcTime::from_millis(seconds * 1000)
    }

    fn on_disk(folder: &Path, id: u64) -> Option<IncidentView> {
        read(&folder.join(format!("incident/{id}.json"))).ok()
    }

    #[test]
    fn the_next_life_shows_what_the_last_one_knew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut first, former) = Archive::open(folder.path(), at(10)).expect("opened");
        assert_eq!(former, []);
        let shown = [incident(5, None, "cart"), incident(4, Some(9_000), "web")];
        first.note(&shown, at(11));
        assert_eq!(first.others(&shown[..1]), [shown[1].clone()]);
        drop(first);
        let (mut second, former) = Archive::open(folder.path(), at(20)).expect("opened");
        assert_eq!(former.len(), 2);
        let others = second.others(&[]);
        assert_eq!(others[0], shown[1]);
        assert_eq!(
            (others[1].id, others[1].closed, others[1].ended.as_str()),
            (5, Some(at(20)), ENGINE_RESTARTED)
        );
        // It is open on disk for as long as it may return, and not any longer.
        second.note(&[], at(30));
        second.note(&[], at(20 + FORMER_MAY_RETURN.as_secs()));
        drop(second);
        let last = on_disk(folder.path(), 5).expect("it is kept");
        assert_eq!(last.state, IncidentState::Closed);
    }

    #[test]
    fn no_number_is_given_twice_though_the_file_of_the_numbers_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut archive, _) = Archive::open(folder.path(), at(10)).expect("opened");
        archive.note(&[incident(5, Some(9_000), "cart")], at(11));
        drop(archive);
        for (least, expected) in [(0, 6), (3, 6), (8, 9)] {
            std::fs::remove_file(folder.path().join("incidents")).ok();
            let mut known = KnownIncidents::open(folder.path(), least, at(20)).expect("opened");
            assert_eq!(known.ids.fresh(), expected, "{least}");
        }
    }

    #[test]
    fn what_changed_is_written_at_once_and_counts_now_and_then() {
        let cases = [
            (incident(1, None, "cart"), 1, false),
            (incident(1, None, "bank"), 1, true),
            (incident(1, Some(12_000), "cart"), 1, true),
            (incident(1, None, "cart"), 5, true),
        ];
        for (mut changed, after, is_written) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            let (mut archive, _) = Archive::open(folder.path(), at(10)).expect("opened");
            archive.note(&[incident(1, None, "cart")], at(11));
            changed.failed = 77;
            archive.note(std::slice::from_ref(&changed), at(11 + after));
            drop(archive);
            let found = on_disk(folder.path(), 1).expect("it is kept");
            assert_eq!(found == changed, is_written, "{changed:?} after {after} s");
        }
    }

    #[test]
    fn it_is_bounded_and_the_oldest_that_are_over_go_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut archive, _) = Archive::open(folder.path(), at(10)).expect("opened");
        archive.note(&[incident(1, None, "cart")], at(11));
        for id in 2..=MAX_KEPT as u64 + 11 {
            archive.note(&[incident(id, Some(id * 1000), "cart")], at(12));
        }
        assert_eq!(archive.kept.len(), MAX_KEPT);
        assert!(archive.kept.contains_key(&1) && !archive.kept.contains_key(&12));
        assert!(archive.kept.contains_key(&13));
    }

    #[test]
    fn a_damaged_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("incident")).expect("made");
        fs::write(folder.path().join("incident/3.json"), "{\"id\":").expect("written");
        let (archive, former) = Archive::open(folder.path(), at(10)).expect("opened");
        assert_eq!((archive.others(&[]), former), (Vec::new(), Vec::new()));
    }
}
