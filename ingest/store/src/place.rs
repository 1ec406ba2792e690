//! Where do the store's files lie, and when are they safe there?
//!
//! A folder: a file is written under another name, synced, renamed, and its folder synced, and so are the folders that
//! were made for it. Only then is it there for good, and the journal may let go. That is why a folder isn't written
//! through `object_store`, whose local file system never syncs. Or a bucket (cargo feature `s3`), where a file that was
//! put is safe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rekindle_ingest::{make_folder, sync_folder};
use rekindle_model::UnixNanos;

use crate::StoreError;
use crate::partition::Hour;
use crate::source::Source;

/// The store's folders are for whom the process's mask lets in.
pub(crate) const FOLDER_MODE: u32 = 0o777;

/// What a file is called while it is being written. Neither we nor others read it.
const PARTIAL: &str = "partial";

/// A file that is being written is done within seconds; an hour is beyond any disk's hiccup, and any clock's.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredFile {
    /// Its path from the store's top, with slashes: `date=2026-11-21/hour=10/NAME.parquet`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Where files lie.
#[derive(Debug)]
pub(crate) enum Place {
    Folder(Folder),
    #[cfg(feature = "s3")]
    Bucket(crate::bucket::Bucket),
}

impl Place {
    /// A path, `file://…`, or `s3://BUCKET/PREFIX`.
    pub(crate) fn at(url: &str) -> Result<Self, StoreError> {
        let wrong = |wrong: &str| StoreError::Url {
            url: url.to_owned(),
            wrong: wrong.to_owned(),
        };
        match url.split_once("://") {
            None if url.is_empty() => Err(wrong("it is empty")),
            None => Ok(Self::Folder(Folder(PathBuf::from(url)))),
            Some(("file", path)) if path.starts_with('/') => {
                Ok(Self::Folder(Folder(PathBuf::from(path))))
            }
            Some(("file", _)) => Err(wrong("write it as in file:///var/lib/rekindle/spans")),
            #[cfg(feature = "s3")]
            Some(("s3", _)) => crate::bucket::Bucket::at(url).map(Self::Bucket),
            #[cfg(not(feature = "s3"))]
            Some(("s3", _)) => Err(wrong(
                "this build knows no buckets; build it with `--features s3`",
            )),
            Some(_) => Err(wrong(
                "it must be a folder, or a bucket as in s3://NAME/PREFIX",
            )),
        }
    }

    /// Where it is on this machine's disk.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(&folder.0),
            #[cfg(feature = "s3")]
            Self::Bucket(_) => None,
        }
    }

    /// All Parquet files, in the order of their paths, hence of time.
    pub(crate) fn list(&self) -> Result<Vec<StoredFile>, StoreError> {
        let mut files = match self {
            Self::Folder(folder) => folder.list()?,
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.list()?,
        };
        // What lies elsewhere is somebody else's, and neither read nor removed.
        files.retain(|it| Hour::of_path(&it.path).is_some());
        files.sort();
        Ok(files)
    }

    pub(crate) fn open(&self, path: &str) -> Result<Source, StoreError> {
        match self {
            Self::Folder(folder) => {
                let file = File::open(folder.0.join(path));
                file.map(Source::File)
                    .map_err(|it| StoreError::io("opening", path, it))
            }
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.open(path).map(Source::Object),
        }
    }

    /// Puts a file there for good, in the place of one of the same name. `passed` is told after each step.
    pub(crate) fn put(
        &self,
        path: &str,
        bytes: Vec<u8>,
        passed: &dyn Fn(&'static str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder.put(path, &bytes, passed),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => {
                bucket.put(path, Bytes::from(bytes))?;
                passed("synced")
            }
        }
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder.remove(path),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.remove(path),
        }
    }

    /// Removes what was left half-way: by a compactor that was killed, and by imports that nobody goes on with, while
    /// one that is running keeps its file.
    pub(crate) fn remove_partial(&self, now: UnixNanos) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder.walk(&mut |path, _| {
                let partial = path.extension().is_some_and(|it| it == PARTIAL);
                let name = path.file_name().and_then(|it| it.to_str()).unwrap_or("");
                let own = name.starts_with("segment-") || name.starts_with("merged-");
                match partial && (own || is_abandoned(path, now)) {
                    true => fs::remove_file(path),
                    false => Ok(()),
                }
            }),
            #[cfg(feature = "s3")]
            Self::Bucket(_) => Ok(()),
        }
    }
}

/// Whether nothing was written to this file for so long that nobody will.
fn is_abandoned(path: &Path, now: UnixNanos) -> bool {
    let written = fs::metadata(path).and_then(|it| it.modified());
    written.is_ok_and(|it| UnixNanos::from(it) < now.minus(ABANDONED_AFTER))
}

/// A folder of this machine.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Calls back with each file two folders down (date and hour), and its length.
    fn walk(&self, each: &mut dyn FnMut(&Path, u64) -> io::Result<()>) -> Result<(), StoreError> {
        // A folder that isn't there, or goes meanwhile with its last file, is empty; its neighbours aren't.
        fn entries(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
            match fs::read_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                entries => entries?.collect(),
            }
        }
        fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
            let mut found = Vec::new();
            for entry in entries(path)? {
                match entry.file_type() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    kind => {
                        if kind?.is_dir() {
                            found.push(entry.path());
                        }
                    }
                }
            }
            Ok(found)
        }
        let walk = |each: &mut dyn FnMut(&Path, u64) -> io::Result<()>| -> io::Result<()> {
            for date in folders(&self.0)? {
                for hour in folders(&date)? {
                    for entry in entries(&hour)? {
                        let metadata = entry.metadata();
                        // One that was removed meanwhile is gone.
                        if let Ok(metadata) = metadata
                            && metadata.is_file()
                        {
                            each(&entry.path(), metadata.len())?;
                        }
                    }
                }
            }
            Ok(())
        };
        walk(each).map_err(|it| StoreError::io("listing", self.0.display().to_string(), it))
    }

    fn list(&self) -> Result<Vec<StoredFile>, StoreError> {
        let mut files = Vec::new();
        self.walk(&mut |path, bytes| {
            let relative = path.strip_prefix(&self.0).ok().and_then(Path::to_str);
            let is_one = path.extension().is_some_and(|it| it == "parquet");
            if let (Some(relative), true) = (relative, is_one) {
                files.push(StoredFile {
                    path: relative.to_owned(),
                    bytes,
                });
            }
            Ok(())
        })?;
        Ok(files)
    }

    fn put(
        &self,
        path: &str,
        bytes: &[u8],
        passed: &dyn Fn(&'static str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let target = self.0.join(path);
        let partial = target.with_extension(PARTIAL);
        let failed = |deed| move |source| StoreError::io(deed, path, source);
        let parent = target.parent().unwrap_or(&self.0);
        make_folder(parent, FOLDER_MODE).map_err(failed("making the folder of"))?;
        passed("folder made")?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&partial)
            .map_err(failed("creating"))?;
        let half = bytes.len() / 2;
        file.write_all(&bytes[..half]).map_err(failed("writing"))?;
        passed("half written")?;
        file.write_all(&bytes[half..]).map_err(failed("writing"))?;
        file.sync_all().map_err(failed("syncing"))?;
        passed("written")?;
        fs::rename(&partial, &target).map_err(failed("naming"))?;
        passed("named")?;
        sync_folder(parent).map_err(failed("syncing the folder of"))?;
        passed("synced")
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let target = self.0.join(path);
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("removing", path, error));
            }
            _ => {}
        }
        // Folders go with their last file; what isn't empty stays.
        let mut folder = target.parent();
        for _ in 0..2 {
            let Some(path) = folder.filter(|it| fs::remove_dir(it).is_ok()) else {
                break;
            };
            folder = path.parent();
        }
        Ok(())
    }
}

/// The bytes of a file that isn't in a store.
pub(crate) fn source_of(bytes: impl Into<Bytes>) -> Source {
    Source::Memory(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_half_way_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let hour = folder.path().join("date=2026-11-21/hour=10");
        fs::create_dir_all(&hour).expect("made");
        let place = Place::at(&folder.path().display().to_string()).expect("a place");
        let now = UnixNanos::from_secs(1_795_255_800);
        let cases = [
            ("segment-1.partial", 0, false),
            ("merged-1.partial", 0, false),
            ("import-1.partial", 60, true),
            ("import-2.partial", 2 * 3600, false),
            ("import-3.parquet", 2 * 3600, true),
            ("notes.txt", 2 * 3600, true),
        ];
        for (name, age_s, _) in cases {
            let file = File::create(hour.join(name)).expect("made");
            let written = now.minus(Duration::from_secs(age_s));
            let written = std::time::UNIX_EPOCH + Duration::from_nanos(written.0);
            file.set_modified(written).expect("ours");
        }
        place.remove_partial(now).expect("removed");
        for (name, _, stays) in cases {
            assert_eq!(hour.join(name).exists(), stays, "{name}");
        }
    }
}
