//! How does what is told beside spans come to its place among them?
//!
//! What the analysis takes, it takes in the journal's order, or a replay would come to something else. So what was done
//! to the system, what others say of requests and what we restart ourselves is written into the journal, and handed on
//! from there in the queue of spans.

use std::time::Duration;

use rekindle_ingest::receive::Batch;
use rekindle_ingest::{AppendError, Entry, Journal};
use rekindle_model::UnixNanos;
use rekindle_recovery::service::RecoveryEvents;
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::watch;

use super::mapping;
use super::told::Note;

/// How long what must count in any case waits for the journal.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many restarts at most are told at once: a group's parts come together.
const AT_ONCE: usize = 256;

/// The position of what isn't in the journal.
const NOWHERE: u64 = 0;

/// Why something that was told doesn't count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellError {
    /// It has no text.
    #[error("it could not be written down")]
    Text(#[from] serde_json::Error),
    /// The journal doesn't take it.
    #[error("it could not be kept: {0}")]
    Journal(#[from] AppendError),
}

/// Keeps what is told, and hands it on.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    journal: Journal,
    engine: mpsc::Sender<Batch>,
}

impl Teller {
    pub(crate) const fn new(journal: Journal, engine: mpsc::Sender<Batch>) -> Self {
        Self { journal, engine }
    }

    /// Where it would be handed on.
    pub(crate) const fn engine(&self) -> &mpsc::Sender<Batch> {
        &self.engine
    }

    /// Keeps it, and calls `hand_on` with its position, when it was told, and its text once it is as durable as spans.
    ///
    /// # Errors
    /// When it couldn't be kept; it isn't handed on then.
    pub(crate) async fn write(
        &self,
        note: &Note,
        hand_on: impl FnOnce(u64, UnixNanos, &[u8]) + Send + 'static,
    ) -> Result<(), TellError> {
        let text = serde_json::to_vec(note)?;
        let receipt = self.journal.receive();
        let entry = Entry::note(receipt.at(), &text);
        let hand_on = move |position| {
            hand_on(position, receipt.at(), &text);
            drop(receipt);
        };
        self.journal.append_and(entry, hand_on).await?;
        Ok(())
    }

    /// Keeps it, and hands it on at this place among spans.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn keep(
        &self,
        note: &Note,
        place: OwnedPermit<Batch>,
    ) -> Result<(), TellError> {
        let hand_on = |position, at, text: &[u8]| {
            place.send(Batch::of_note(position, at, text));
        };
        self.write(note, hand_on).await
    }

    /// Keeps what must count in any case, and hands it on also where it can't be kept: then a replay lacks it. Whether
    /// anybody is there to hear it.
    pub(crate) async fn tell(&self, note: &Note) -> bool {
        let Ok(place) = self.engine.clone().reserve_owned().await else {
            return false;
        };
        let error = match tokio::time::timeout(PATIENCE, self.keep(note, place)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            // It may be heard twice, should it be written after all: what is told says the same the second time.
            Err(_) => format!("the journal took longer than {PATIENCE:?}"),
        };
        tracing::warn!(%error, "a replay of the journal may lack what was told");
        let receipt = self.journal.receive();
        let Ok(text) = serde_json::to_vec(note) else {
            return true;
        };
        let batch = Batch::of_note(NOWHERE, receipt.at(), &text);
        self.engine.send(batch).await.is_ok()
    }

    /// Tells what we restart, and what the engine itself has kept, until the daemon stops.
    pub(crate) async fn tell_all(
        self,
        mut restarts: RecoveryEvents,
        mut notes: mpsc::Receiver<Note>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut shadows = Vec::new();
        loop {
            let note = tokio::select! {
                biased;
                // An error means that nobody is left to say so.
                _ = stopped.wait_for(|stop| *stop) => return,
                1.. = restarts.recv_many(&mut shadows, AT_ONCE) => {
                    let restarted: Vec<_> = shadows.drain(..).filter_map(|it| mapping::cast(&it)).collect();
                    match restarted.is_empty() {
                        true => continue,
                        false => Note::Restarted { restarted },
                    }
                }
                Some(note) = notes.recv() => note,
            };
            if !self.tell(&note).await {
                return;
            }
        }
    }
}
