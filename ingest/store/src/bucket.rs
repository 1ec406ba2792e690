//! How does a store lie in a bucket that speaks S3?
//!
//! Every file is an object of the same path behind the prefix. A put is whole or isn't there, and what was put is safe:
//! nothing needs syncing or naming. Reads ask for ranges, so that one trace among millions needs footers and a few
//! columns' pages, not whole files.
//!
//! The store's callers wait, and the client doesn't: requests run on a thread of the bucket's own, so that it doesn't
//! matter whether who waits is itself on a runtime.

use std::future::Future;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::errors::ParquetError;
use tokio::runtime::{Builder, Runtime};

use crate::StoreError;
use crate::place::StoredFile;

/// What is asked for at once when bytes are read one after the other: a request takes tens of milliseconds, in which
/// a megabyte comes, too; and a thread that reads holds no more than that.
const READ_AHEAD: usize = 1 << 20;

/// A bucket, or what lies behind a prefix in it.
#[derive(Clone, Debug)]
pub(crate) struct Bucket(Arc<Client>);

#[derive(Debug)]
struct Client {
    store: Arc<dyn ObjectStore>,
    /// Always there until it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nobody waits for a request any more, and waiting isn't allowed everywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// Waits for what the client does.
    fn wait<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> io::Result<T> {
        let ended = || io::Error::other("the bucket's client has ended");
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        let (answer, answered) = sync_channel(1);
        runtime.spawn(async move {
            // Whoever waits is there until the answer is.
            let _ = answer.send(request.await);
        });
        let answer = answered.recv().map_err(|_| ended())?;
        answer.map_err(io_error)
    }
}

/// The store's errors are of files.
fn io_error(error: object_store::Error) -> io::Error {
    let kind = match &error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Bucket {
    /// What `s3://BUCKET/PREFIX` names. Credentials, region and endpoint come from the environment: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT` and the like. Nothing is asked of the bucket yet.
    pub(crate) fn at(url: &str) -> Result<Self, StoreError> {
        let wrong = |wrong: String| StoreError::Url {
            url: url.to_owned(),
            wrong,
        };
        let (name, prefix) = parts_of(url).map_err(wrong)?;
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(name)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Self::on(Arc::new(store), prefix).map_err(|error| wrong(error.to_string()))
    }

    /// What lies behind a prefix of any object store.
    pub(crate) fn on(store: Arc<dyn ObjectStore>, prefix: Path) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bucket")
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Client {
            store: Arc::new(PrefixStore::new(store, prefix)),
            runtime: Some(runtime),
        })))
    }

    /// All Parquet files, in any order.
    pub(crate) fn list(&self) -> Result<Vec<StoredFile>, StoreError> {
        let store = Arc::clone(&self.0.store);
        let listed = self.0.wait(async move {
            let files = store.list(None).try_filter_map(|object| async move {
                let path = object.location.to_string();
                // As in a folder: by date and hour, and whatever else lies around is somebody else's.
                let is_one = path.ends_with(".parquet") && path.matches('/').count() == 2;
                Ok(is_one.then_some(StoredFile {
                    path,
                    bytes: object.size,
                }))
            });
            files.try_collect().await
        });
        listed.map_err(|it| StoreError::io("listing", self.0.store.to_string(), it))
    }

    /// Looks how long a file is; its bytes are read when they are asked for.
    pub(crate) fn open(&self, path: &str) -> Result<Object, StoreError> {
        let failed = |it| StoreError::io("opening", path, it);
        let location = location_of(path).map_err(failed)?;
        let (store, at) = (Arc::clone(&self.0.store), location.clone());
        let found = self.0.wait(async move { store.head(&at).await });
        Ok(Object {
            bytes: found.map_err(failed)?.size,
            bucket: self.clone(),
            location,
        })
    }

    /// Puts a file there for good.
    pub(crate) fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let failed = |it| StoreError::io("writing", path, it);
        let location = location_of(path).map_err(failed)?;
        let store = Arc::clone(&self.0.store);
        let put = async move { store.put(&location, PutPayload::from_bytes(bytes)).await };
        self.0.wait(put).map(|_| ()).map_err(failed)
    }

    /// Removes a file; one that is gone already is right, too.
    pub(crate) fn remove(&self, path: &str) -> Result<(), StoreError> {
        let failed = |it| StoreError::io("removing", path, it);
        let location = location_of(path).map_err(failed)?;
        let store = Arc::clone(&self.0.store);
        match self.0.wait(async move { store.delete(&location).await }) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// A bucket's name, and the prefix in it.
fn parts_of(url: &str) -> Result<(&str, Path), String> {
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err("it names no bucket; write it as in s3://NAME/PREFIX".to_owned());
    }
    let prefix = Path::parse(prefix).map_err(|error| error.to_string())?;
    Ok((name, prefix))
}

fn location_of(path: &str) -> io::Result<Path> {
    Path::parse(path).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// A file in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    bucket: Bucket,
    location: Path,
    bytes: u64,
}

impl Object {
    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Some of its bytes, all of them or an error.
    pub(crate) fn range(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.saturating_add(length as u64);
        // As a damaged footer may say; a bucket would hand out what there is.
        if end > self.bytes {
            return Err(ParquetError::EOF(format!(
                "expected {length} bytes at {start}, and there are {}",
                self.bytes
            )));
        }
        let read = self.read(start, end);
        read.map_err(|error| ParquetError::External(Box::new(error)))
    }

    /// Its bytes from there on, one after the other.
    pub(crate) fn read_from(&self, start: u64) -> ObjectReader {
        ObjectReader {
            object: self.clone(),
            at: start,
            ahead: Bytes::new(),
        }
    }

    fn read(&self, start: u64, end: u64) -> io::Result<Bytes> {
        if start >= end {
            return Ok(Bytes::new());
        }
        let client = &self.bucket.0;
        let (store, location) = (Arc::clone(&client.store), self.location.clone());
        client.wait(async move { store.get_range(&location, start..end).await })
    }
}

/// Reads a file in a bucket from some place on.
#[derive(Debug)]
pub(crate) struct ObjectReader {
    object: Object,
    at: u64,
    ahead: Bytes,
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            let wanted = into.len().max(READ_AHEAD) as u64;
            let end = self.at.saturating_add(wanted).min(self.object.bytes);
            self.ahead = self.object.read(self.at, end)?;
            self.at += self.ahead.len() as u64;
        }
        let count = into.len().min(self.ahead.len());
        into[..count].copy_from_slice(&self.ahead.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use object_store::memory::InMemory;

    use super::*;

    fn bucket(store: &Arc<InMemory>, prefix: &str) -> Bucket {
        let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
        Bucket::on(store, Path::from(prefix)).expect("a bucket")
    }

    #[test]
    fn what_a_url_names() {
        for (url, expected) in [
            ("s3://spans", Some(("spans", ""))),
            ("s3://spans/", Some(("spans", ""))),
            ("s3://spans/a/b", Some(("spans", "a/b"))),
            ("s3://spans/a/b/", Some(("spans", "a/b"))),
            ("s3://", None),
            ("s3:///a", None),
            ("s3://spans/a//b", None),
        ] {
            let found = parts_of(url).ok();
            let found = found.map(|(name, prefix)| (name, prefix.to_string()));
            let expected = expected.map(|(name, prefix)| (name, prefix.to_owned()));
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn files_are_put_read_listed_and_removed_behind_their_prefix() {
        let memory = Arc::new(InMemory::new());
        let (ours, others) = (bucket(&memory, "a/b"), bucket(&memory, "a"));
        let path = "date=2026-11-21/hour=10/x.parquet";
        let content: Vec<u8> = (0..READ_AHEAD * 2 + 7).map(|it| (it % 251) as u8).collect();
        ours.put(path, content.clone().into()).expect("put");
        ours.put("date=2026-11-21/hour=10/x.txt", Bytes::new())
            .expect("put");
        let bytes = content.len() as u64;
        let listed = ours.list().expect("listed");
        let file = StoredFile {
            path: path.to_owned(),
            bytes,
        };
        assert_eq!(listed, [file]);
        assert_eq!(others.list().expect("listed"), [], "deeper is not its own");

        let object = ours.open(path).expect("opened");
        assert_eq!(object.bytes(), bytes);
        let part = object.range(5, 10).expect("a part");
        assert_eq!(part, content[5..15]);
        assert_eq!(object.range(bytes, 0).expect("nothing").len(), 0);
        object.range(bytes - 1, 2).expect_err("behind the end");
        let mut rest = Vec::new();
        object.read_from(3).read_to_end(&mut rest).expect("read");
        assert!(rest == content[3..], "all of it, once, in order");

        ours.remove(path).expect("removed");
        ours.remove(path).expect("removed again");
        let missing = ours.open(path).expect_err("gone");
        assert!(missing.is_missing(), "{missing:?}");
        // It was opened, and merged into another meanwhile: whoever reads looks again.
        let gone = object.range(0, 1).expect_err("gone");
        assert!(StoreError::parquet("reading", path)(gone).is_missing());
    }

    #[tokio::test]
    async fn whoever_waits_may_be_on_a_runtime() {
        let ours = bucket(&Arc::new(InMemory::new()), "a");
        assert_eq!(ours.list().expect("listed"), []);
        drop(ours);
    }
}
