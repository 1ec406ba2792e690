//! What was decided, done and learned: on disk before anybody acts on it.
//!
//! One SQLite database, written by one thread that owns it. Everything goes through
//! [`Store::append`] and [`Store::commit_intent`], which take each recovery through
//! [`crate::lifecycle::next`], so the ledger can't hold a story that can't have happened; and only
//! `commit_intent` makes [`crate::executor::Permit`]s, so nothing can be done that the ledger
//! doesn't know.

mod audit;
mod columns;
mod error;
mod reserve;
mod rows;
mod schema;
mod store;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use self::audit::audit;
pub use self::error::LedgerError;
pub use self::rows::{
    Also, Entry, Held, IntendedRestart, Intent, Judged, Memory, Outcome, StoredAction,
    StoredRecovery,
};
pub use self::store::Store;
use reserve::Reserve;

use crate::crash::{CrashPoint, Passing};

/// Gives up the reserve of this ledger where its disk is full, before anything is opened: what was in flight must be taken
/// up again, and that takes some bytes, also of others than the ledger. It is made again when there is room. Whether it
/// was there and given up.
pub fn make_room(ledger: &Path) -> bool {
    Reserve::beside(ledger).give_up_if_needed()
}

/// Who runs the database's statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threading {
    /// A thread of the ledger's own: a slow disk delays nobody who doesn't wait for it.
    #[default]
    Own,
    /// Whoever calls. For virtual time, which must not run on while a disk is waited for.
    Caller,
}

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// The service waits for each answer before it asks again, so more than a few are never waiting.
const QUEUE: usize = 16;

/// A handle on the ledger. The last one closes it.
#[derive(Clone, Debug)]
pub struct Ledger {
    owner: Arc<Owner>,
    passing: Passing,
}

#[derive(Debug)]
enum Owner {
    Thread {
        jobs: Option<mpsc::Sender<Job>>,
        thread: Option<JoinHandle<()>>,
    },
    Caller(Mutex<Store>),
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Self::Thread { jobs, thread } = self {
            // Without a sender the thread ends, after at most one statement; whoever opens the same
            // ledger next must find it closed.
            drop(jobs.take());
            if let Some(thread) = thread.take() {
                drop(thread.join());
            }
        }
    }
}

impl Ledger {
    /// Opens the ledger, makes or converts it where needed.
    ///
    /// # Errors
    /// When it can't be opened: another engine has it, it is of a newer Rekindle, or it is damaged.
    pub fn open(path: &Path, threading: Threading) -> Result<Self, LedgerError> {
        Self::of(Store::open(path)?, path, threading)
    }

    /// Takes over an open database.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub fn of(mut store: Store, path: &Path, threading: Threading) -> Result<Self, LedgerError> {
        let owner = match threading {
            Threading::Caller => Owner::Caller(Mutex::new(store)),
            Threading::Own => {
                let (sender, mut jobs) = mpsc::channel::<Job>(QUEUE);
                let thread = std::thread::Builder::new()
                    .name("ledger".to_owned())
                    .spawn(move || {
                        while let Some(job) = jobs.blocking_recv() {
                            job(&mut store);
                        }
                    })
                    .map_err(|source| LedgerError::Room {
                        path: path.to_owned(),
                        source,
                    })?;
                Owner::Thread {
                    jobs: Some(sender),
                    thread: Some(thread),
                }
            }
        };
        Ok(Self {
            owner: Arc::new(owner),
            passing: Passing::default(),
        })
    }

    /// The same, which tells where it passes.
    pub(crate) fn passing(self, passing: Passing) -> Self {
        Self { passing, ..self }
    }

    /// Runs this on the database and waits for what it says.
    ///
    /// # Errors
    /// What it says, or that the ledger is closed.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.passing.at(CrashPoint::BeforeWrite);
        let answer = self.ask(job).await;
        self.passing.at(CrashPoint::AfterWrite);
        answer
    }

    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        match &*self.owner {
            Owner::Caller(store) => {
                // A statement that panicked has rolled back its transaction.
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                job(&mut store)
            }
            Owner::Thread { jobs, .. } => {
                let (answer, answered) = oneshot::channel();
                let job: Job = Box::new(move |store| {
                    // Whoever asked may be gone; what was asked for is done all the same.
                    drop(answer.send(job(store)));
                });
                let jobs = jobs.as_ref().ok_or(LedgerError::Closed)?;
                jobs.send(job).await.map_err(|_| LedgerError::Closed)?;
                answered.await.map_err(|_| LedgerError::Closed)?
            }
        }
    }
}

#[cfg(test)]
mod tests;
