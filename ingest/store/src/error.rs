//! What can go wrong with the store?

use std::io;
use std::path::PathBuf;

use parquet::errors::ParquetError;
use rekindle_ingest::{DecodeError, JournalError};

/// Why the store can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its address is none.
    #[error("`{url}` is no place for a store: {wrong}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// A file or folder can't be used.
    #[error("failed {deed} `{path}`")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file isn't what it should be.
    #[error("failed {deed} `{path}`")]
    Parquet {
        /// What was tried.
        deed: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: ParquetError,
    },
    /// Another process compacts into this store.
    #[error("the store in {} is in use by another process", path.display())]
    InUse {
        /// The store's lock.
        path: PathBuf,
    },
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is stored is no request of spans.
    #[error("stored spans could not be read back")]
    ReadBack(#[from] DecodeError),
    /// A file of traces holds none.
    #[error(
        "`{}` holds no traces: expected OTLP (JSON, one request a line, or protobuf) or Jaeger's JSON, plain or gzipped, or \
         Parquet of the span store",
        path.display()
    )]
    NoTraces {
        /// The file.
        path: PathBuf,
    },
    /// A test ends the process here.
    #[cfg(test)]
    #[error("killed at {0}")]
    Killed(String),
}

impl StoreError {
    pub(crate) fn io(deed: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            deed,
            path: path.into(),
            source,
        }
    }

    pub(crate) fn parquet(
        deed: &'static str,
        path: impl Into<String>,
    ) -> impl FnOnce(ParquetError) -> Self {
        let path = path.into();
        move |source| Self::Parquet { deed, path, source }
    }

    /// The file that is damaged, if that is what is wrong; failing to read is another matter, and may pass.
    pub(crate) fn damaged(&self) -> Option<&str> {
        match self {
            Self::Parquet {
                source: ParquetError::External(_),
                ..
            } => None,
            Self::Parquet { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether the file isn't there: it was merged into another, or its time was over.
    pub(crate) fn is_missing(&self) -> bool {
        let gone = |it: &io::Error| it.kind() == io::ErrorKind::NotFound;
        match self {
            Self::Io { source, .. } => gone(source),
            // A bucket's files are opened anew with each read.
            Self::Parquet {
                source: ParquetError::External(source),
                ..
            } => source.downcast_ref().is_some_and(gone),
            _ => false,
        }
    }
}
