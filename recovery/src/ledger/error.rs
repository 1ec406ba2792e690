//! What can go wrong with the ledger, and what a person can do about it.

use std::path::PathBuf;

use crate::lifecycle::IllegalTransition;
use crate::service::RecoveryId;

/// Why the ledger didn't take or give something.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Its folder can't be made, or its reserve not be written.
    #[error("failed making room for the ledger at {}", path.display())]
    Room {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It can't be opened: another engine has it, or it is no ledger.
    #[error("failed opening the ledger {}; is another engine using this folder?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// It was written by a newer Rekindle.
    #[error("the ledger {} has format {found}, and this Rekindle knows formats up to {known}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// There is no room left on the disk, even with the reserve given up.
    #[error("the disk is full: failed {deed} in the ledger; free some space, nothing is lost")]
    Full {
        /// What was being done.
        deed: &'static str,
    },
    /// The database refused.
    #[error("failed {deed} in the ledger")]
    Database {
        /// What was being done.
        deed: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// What was read makes no sense.
    #[error("the ledger is damaged: {what}")]
    Damaged {
        /// What, in words.
        what: String,
    },
    /// Something was to be written that can't have happened.
    #[error("recovery {recovery} must not be written so")]
    Illegal {
        /// The recovery.
        recovery: RecoveryId,
        /// What can't have happened.
        #[source]
        source: IllegalTransition,
    },
    /// An intent was to be written without its commit.
    #[error("the intent of recovery {recovery} is not the last thing that happened to it")]
    NotCommitted {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// The ledger's thread has ended.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    /// The error and all its causes in a line.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
