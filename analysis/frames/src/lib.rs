//! Offline frames: spans as Parquet, and tidy tables for people (polars).
//!
//! A crate of its own, because polars takes longer to build than all the rest together, and because
//! analysis itself must stay free of I/O. What is written here is read by notebooks, DuckDB and
//! Spark alike; the schema is in [`spans`].

pub mod counts;
pub mod spans;

use std::path::PathBuf;

/// What can go wrong between frames and files.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A file can't be read or written.
    #[error("failed {deed} {path}")]
    File {
        /// What was being done: `creating`, `writing`, `reading`.
        deed: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: polars::prelude::PolarsError,
    },
    /// A frame lacks a column, or has it with another type.
    #[error("failed shaping {what}")]
    Shape {
        /// What was being made.
        what: &'static str,
        /// Why not.
        #[source]
        source: polars::prelude::PolarsError,
    },
}
