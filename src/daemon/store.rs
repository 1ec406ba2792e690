//! The part of the daemon that brings the journal into the span store.
//!
//! It has all the time in the world, and exporters have none: so it rests for three times as long as a step took, and
//! takes a quarter of a core at most; unless it falls behind, because a full journal refuses what exporters send. An
//! error (a full disk, a bucket that is away) ends nothing: it is said, and tried again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rekindle_ingest::Journal;
use rekindle_store::{CompactCounts, Compactor, Retention, Step, Store, StoreSize};
use tokio::sync::watch;

use crate::config::StoreSettings;
use crate::view::HealthView;

/// How often it is looked for something to do.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long after an error the next attempt is made.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How many times as long as a step took is rested after it.
const RESTS: u32 = 3;

/// From so many waiting segments on there is no rest: they are 256 MiB of the journal's 4 GiB.
const BEHIND: usize = 8;

/// How the store is, for people.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreHealth(Arc<Mutex<Health>>);

#[derive(Debug, Default)]
struct Health {
    counts: CompactCounts,
    size: StoreSize,
    behind: usize,
    error: Option<String>,
}

impl StoreHealth {
    fn set(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// In words.
    pub(super) fn view(&self) -> HealthView {
        let health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = format!(
            "{} files, {} MiB; {} spans stored since the start, {} of the journal's segments wait",
            health.size.files,
            health.size.bytes >> 20,
            health.counts.spans,
            health.behind
        );
        if health.counts.duplicates > 0 {
            note.push_str(&format!(
                ", {} spans had come twice",
                health.counts.duplicates
            ));
        }
        if health.counts.unreadable_requests > 0 {
            note.push_str(&format!(
                ", {} requests could not be read",
                health.counts.unreadable_requests
            ));
        }
        if let Some(error) = &health.error {
            note = format!("{error}; {note}");
        }
        HealthView {
            ok: health.error.is_none(),
            note,
        }
    }
}

/// The configured store, if there is one.
pub(super) fn open(settings: &StoreSettings) -> anyhow::Result<Option<Arc<Store>>> {
    match &settings.url {
        Some(url) => Ok(Some(Arc::new(Store::at(url)?))),
        None => Ok(None),
    }
}

/// Takes hold of the store. Blocks.
pub(super) fn start(
    store: Arc<Store>,
    settings: &StoreSettings,
    journal: Journal,
    journal_dir: &std::path::Path,
) -> anyhow::Result<Compactor> {
    let retention = Retention {
        keep_for: Some(settings.keep_for),
        keep_bytes: Some(settings.keep_bytes),
    };
    Compactor::start(store, journal, journal_dir, retention)
        .context("the span store could not be opened")
}

/// Compacts until the daemon stops.
pub(super) async fn run(
    mut compactor: Compactor,
    store: Arc<Store>,
    journal: Journal,
    health: StoreHealth,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let now = SystemTime::now().into();
        let (looked, began) = (Arc::clone(&store), Instant::now());
        let stepped = tokio::task::spawn_blocking(move || {
            let step = compactor.step(now);
            let behind = compactor.behind();
            let size = looked.size();
            (compactor, step, behind, size)
        });
        // A step that panicked has taken the compactor with it; the daemon ends, and starts anew.
        let Ok((returned, step, behind, size)) = stepped.await else {
            return;
        };
        compactor = returned;
        journal.seal_old(now);
        let took = began.elapsed();
        let behind = behind.unwrap_or_default();
        health.set(|it| {
            it.counts = compactor.counts();
            it.behind = behind;
            it.size = size.unwrap_or(it.size);
            it.error = step.as_ref().err().map(|error| in_full(error));
        });
        let rest = match &step {
            Ok(Step::Idle) => LOOK_EVERY,
            Ok(Step::Compacted | Step::Merged) if behind >= BEHIND => Duration::ZERO,
            Ok(Step::Compacted | Step::Merged) => took * RESTS,
            Err(error) => {
                tracing::warn!(
                    error = in_full(error),
                    "the span store could not be written"
                );
                AGAIN_AFTER
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            // An error means that nobody is left to say so.
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// With its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Where traces are that the engine doesn't remember.
pub(super) fn traces(
    store: &Option<Arc<Store>>,
    journal_dir: PathBuf,
) -> Option<crate::engine::StoredTraces> {
    let store = Arc::clone(store.as_ref()?);
    Some(crate::engine::StoredTraces::new(store, journal_dir))
}
