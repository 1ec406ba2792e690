//! Users: many of them, each doing what a Markov chain says, with pauses to think.
//!
//! What is counted is what they feel. A request fails when it has no answer, a wrong one, an error
//! or a late one. An *action* is what a user came for: the requests up to a commit point (a bid
//! placed, an item seen). If any of them fails, all of them were in vain: they are counted bad in the
//! seconds in which they were made (action-weighted throughput, Taw, of the microreboot paper).
//!
//! The loop is closed, as with real users: who waits asks nothing else meanwhile.

mod chain;
mod tally;
mod user;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use chain::Operation;
pub use tally::{Counts, FailedRequest, Failure, OperationCounts, Tally};

use crate::auction::world::World;
use crate::wire::HttpPool;
use user::User;

/// Who comes, and how patient they are.
#[derive(Clone, Copy, Debug)]
pub struct LoadConfig {
    /// What is for sale: users know what to ask for, and what the answer should be.
    pub world: World,
    /// How many users there are at any time.
    pub users: u32,
    /// The mean pause between a user's requests, exponentially distributed and cut at ten times it.
    pub think: Duration,
    /// An answer that takes longer counts as failed, though it is read.
    pub patience: Duration,
    /// After this long a user waits no more.
    pub give_up: Duration,
}

impl LoadConfig {
    /// 100 users who think for 0.7 s: about 140 requests a second while all is well.
    pub fn new(world: World) -> Self {
        Self {
            world,
            users: 100,
            think: Duration::from_millis(700),
            patience: Duration::from_millis(800),
            give_up: Duration::from_secs(3),
        }
    }
}

/// The users can't come.
#[derive(Debug, thiserror::Error)]
#[error("start the users' thread")]
pub struct LoadError(#[from] std::io::Error);

/// Starts users.
#[derive(Debug)]
pub struct Users;

/// Running users; they leave when it is dropped.
#[derive(Debug)]
pub struct UsersHandle {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Users {
    /// Lets the users come to the site's front. Each has a generator of its own, made from the seed
    /// and its number, so that more users don't change what the others do.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(seed: u64, web: SocketAddr, config: LoadConfig) -> Result<UsersHandle, LoadError> {
        let tally = Arc::new(Mutex::new(Tally::new(Instant::now())));
        let (stop, mut stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("users".to_owned())
            .spawn({
                let tally = Arc::clone(&tally);
                move || {
                    let pool = Arc::new(HttpPool::new(runtime.handle().clone()));
                    runtime.block_on(async {
                        let mut users = tokio::task::JoinSet::new();
                        for number in 0..config.users {
                            let (pool, tally) = (Arc::clone(&pool), Arc::clone(&tally));
                            users.spawn(User::new(seed, number, web, config, pool, tally).live());
                        }
                        let _ = stopped.wait_for(|stopped| *stopped).await;
                    });
                }
            })?;
        Ok(UsersHandle {
            tally,
            stop,
            thread: Some(thread),
        })
    }
}

impl UsersHandle {
    /// What was counted so far.
    pub fn snapshot(&self) -> Tally {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.clone()
    }

    /// Sends the users away and says what was counted. Requests still under way are not counted.
    pub fn stop(mut self) -> Tally {
        self.end();
        self.snapshot()
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for UsersHandle {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
