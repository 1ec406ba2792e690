//! Where is what was saved before restarts kept, and for how long?
//!
//! A file per action in the state directory, named by action and incident, JSON, for its owner only like the rest of it. Aged out by
//! age and by number, at each new one and at the start: what is kept for people must not fill the disk
//! that the ledger needs. A file appears by renaming, so there is never half of one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::post_mortem::PostMortem;

/// A larger file is none of ours: command, log and traces have bounds, and JSON's escapes at most
/// sextuple a text.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// The ending of a file that is complete.
const ENDING: &str = "json";
/// The ending of one that is being written …
const PARTIAL: &str = "partial";
/// … and won't be finished any more after so long: whoever wrote it was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How long and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long.
    pub keep_for: Duration,
    /// How many at most; none are saved where it is zero.
    pub at_most: u32,
}

impl Default for Keeping {
    /// A month, as long as people take to get to a post-mortem; and a hundred, which the budgets of
    /// restarts let nobody fill within a bad night.
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(30 * 24 * 3600),
            at_most: 100,
        }
    }
}

/// Something that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The action that it was saved before.
    pub action: u64,
    /// The incident that the action was for.
    pub incident: Option<u64>,
    /// When it was written.
    pub at: SystemTime,
}

/// The folder of what was saved.
#[derive(Debug)]
pub struct Cabinet {
    folder: PathBuf,
    keeping: Keeping,
}

impl Cabinet {
    /// Below the state directory; made when there is something to keep.
    pub fn new(state_directory: &Path, keeping: Keeping) -> Self {
        Self {
            folder: state_directory.join("post-mortem"),
            keeping,
        }
    }

    /// Keeps one more, and lets go of what is too old or too much.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn keep(&self, found: &PostMortem) -> io::Result<()> {
        // First, so that a full disk gets room again.
        self.age(found.at);
        if self.keeping.at_most == 0 {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        let partial = self.folder.join(format!("{}.{PARTIAL}", found.action));
        let written = self.write(found, &partial);
        if written.is_err() {
            let_go(&partial);
        }
        self.age(found.at);
        written
    }

    fn write(&self, found: &PostMortem, partial: &Path) -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(partial)?;
        file.write_all(&serde_json::to_vec(found)?)?;
        file.sync_data()?;
        let name = match found.incident {
            Some(incident) => format!("{}-{incident}.{ENDING}", found.action),
            None => format!("{}.{ENDING}", found.action),
        };
        fs::rename(partial, self.folder.join(name))
    }

    /// What is kept, newest action first.
    pub fn all(&self) -> Vec<Kept> {
        self.files().into_iter().map(|(kept, _)| kept).collect()
    }

    /// What was saved before this action; `None` if nothing was, or it has been let go.
    ///
    /// # Errors
    ///
    /// If there is a file that can't be read.
    pub fn read(&self, action: u64) -> io::Result<Option<PostMortem>> {
        let files = self.files();
        let Some((_, path)) = files.iter().find(|(kept, _)| kept.action == action) else {
            return Ok(None);
        };
        let size = fs::metadata(path)?.len();
        if size > MAX_FILE_BYTES {
            let wrong = format!("{} has {size} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
        }
        Ok(Some(serde_json::from_slice(&fs::read(path)?)?))
    }

    /// Lets go of what is too old or too much at this time.
    pub fn age(&self, now: SystemTime) {
        let at_most = usize::try_from(self.keeping.at_most).unwrap_or(usize::MAX);
        for (place, (kept, path)) in self.files().into_iter().enumerate() {
            // A clock that was set back makes nothing old.
            let age = now.duration_since(kept.at).unwrap_or_default();
            if place >= at_most || age > self.keeping.keep_for {
                let_go(&path);
            }
        }
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_partial = path.extension().is_some_and(|ending| ending == PARTIAL);
            let at = entry.metadata().and_then(|meta| meta.modified());
            let age = at.map(|at| now.duration_since(at).unwrap_or_default());
            if is_partial && age.is_ok_and(|age| age > ABANDONED) {
                let_go(&path);
            }
        }
    }

    fn files(&self) -> Vec<(Kept, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut files: Vec<(Kept, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let at = entry.metadata().and_then(|meta| meta.modified()).ok()?;
                let path = entry.path();
                let (action, incident) = named(&path)?;
                let kept = Kept {
                    action,
                    incident,
                    at,
                };
                Some((kept, path))
            })
            .collect();
        files.sort_unstable_by_key(|(kept, _)| std::cmp::Reverse(kept.action));
        files
    }
}

/// Action and incident by a file's name; `None` if it is none of ours.
fn named(path: &Path) -> Option<(u64, Option<u64>)> {
    if path.extension()? != ENDING {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    match stem.split_once('-') {
        Some((action, incident)) => Some((action.parse().ok()?, Some(incident.parse().ok()?))),
        None => Some((stem.parse().ok()?, None)),
    }
}

fn let_go(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "what is too old is still kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(cabinet: &Cabinet) -> Vec<u64> {
        cabinet.all().iter().map(|kept| kept.action).collect()
    }

    fn found(action: u64, at: SystemTime) -> PostMortem {
        PostMortem {
            action,
            incident: action.is_multiple_of(2).then_some(3),
            unit: "web".into(),
            next_generation: 2,
            at,
            took_ms: 5,
            command: None,
            processes: Vec::new(),
            log: "a line\n".to_owned(),
            traces: vec![serde_json::json!({"id": "t"})],
            missing: Vec::new(),
        }
    }

    #[test]
    fn what_was_kept_is_read_until_it_is_too_old_or_too_much() {
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        for (at_most, keep_for, looked_at, expected) in [
            (10, hour, now, &[4, 3, 2, 1][..]),
            (2, hour, now, &[4, 3]),
            (0, hour, now, &[]),
            (10, hour, now + 2 * hour, &[]),
            (10, hour, now - 2 * hour, &[4, 3, 2, 1]),
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            let cabinet = Cabinet::new(directory.path(), Keeping { keep_for, at_most });
            assert!(cabinet.all().is_empty());
            for action in 1..=4 {
                cabinet.keep(&found(action, now)).expect("kept");
            }
            cabinet.age(looked_at);
            assert_eq!(actions(&cabinet), expected, "{at_most} {keep_for:?}");
            let last = cabinet.read(4).expect("readable");
            assert_eq!(last, expected.first().map(|_| found(4, now)));
            let incidents = cabinet.all().into_iter().map(|kept| kept.incident);
            let numbers = expected
                .iter()
                .map(|action| action.is_multiple_of(2).then_some(3));
            assert!(incidents.eq(numbers));
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind_and_keeps_nothing_old() {
        let directory = tempfile::tempdir().expect("a directory");
        let now = SystemTime::now();
        let keep_for = Duration::from_secs(60);
        let cabinet = Cabinet::new(
            directory.path(),
            Keeping {
                keep_for,
                at_most: 9,
            },
        );
        cabinet.keep(&found(1, now)).expect("kept");
        let folder = directory.path().join("post-mortem");
        fs::write(folder.join("3.partial"), "{").expect("written");
        // A folder of its name is in the way of what is to be kept.
        fs::create_dir_all(folder.join("5.json").join("full")).expect("made");
        let later = now + Duration::from_secs(90);
        cabinet.keep(&found(5, later)).expect_err("in the way");
        let left = |name: &str| folder.join(name).exists();
        assert!(!left("1.json") && !left("5.partial") && left("3.partial"));
        cabinet.age(now + 2 * ABANDONED);
        assert!(!left("3.partial"));
    }

    #[test]
    fn what_is_damaged_is_said_and_what_is_foreign_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let cabinet = Cabinet::new(directory.path(), Keeping::default());
        cabinet.keep(&found(1, SystemTime::now())).expect("kept");
        let folder = directory.path().join("post-mortem");
        fs::write(folder.join("notes.txt"), "mine").expect("written");
        fs::write(folder.join("2.json"), "{").expect("written");
        assert_eq!(actions(&cabinet), [2, 1]);
        cabinet.read(2).expect_err("half a file is no missing file");
        assert_eq!(cabinet.read(7).expect("readable"), None);
        cabinet.age(SystemTime::now());
        assert!(folder.join("notes.txt").exists());
    }
}
