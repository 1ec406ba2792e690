//! How does a person learn that Rekindle wants them?
//!
//! Through a webhook where one is configured: one POST of JSON per notice, tried a few times. The log
//! has every notice anyway: the service writes it there once, whoever else is told. Notices wait in a
//! short queue for one task, so that a webhook that hangs holds up nobody; what doesn't fit any more
//! is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::UnitName;
use crate::http_call::{Call, Caller};

/// Notices that wait for the webhook. A person reads no more than this from one bad hour.
const QUEUE: usize = 64;
/// The pauses before the second and later tries: long enough for a receiver's restart, short
/// enough to still be news.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(8),
];

/// How urgent a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing: something was cured.
    Info,
    /// Somebody should look: a plan waits for approval.
    Warning,
    /// Somebody must act: recovery has given up.
    Critical,
}

/// What a person is told: the webhook's payload, as a JSON object with these keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How urgent.
    pub severity: Severity,
    /// The incident, if it is about one.
    pub incident: Option<u64>,
    /// The unit, if it is about one.
    pub unit: Option<UnitName>,
    /// In a few words.
    pub title: String,
    /// In a few sentences.
    pub text: String,
    /// When it came to be so, by RFC 3339.
    pub at: String,
    /// Where to look.
    pub link: Option<String>,
}

/// The webhook's address and patience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where to POST. A 2xx answer means received.
    pub url: String,
    /// How long each try may take.
    pub timeout: Duration,
}

/// What became of notices, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NoticeCounts {
    /// The webhook took them.
    pub delivered: u64,
    /// It didn't, at any try.
    pub failed: u64,
    /// They didn't fit into the queue.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Tells people. Dropping it gives up what still waits.
#[derive(Debug)]
pub struct Notifier {
    queue: Option<mpsc::Sender<Notice>>,
    counters: Arc<Counters>,
    task: Option<JoinHandle<()>>,
}

impl Notifier {
    /// Starts the webhook's task, if there is one. Must be called within a Tokio runtime then.
    pub fn start(webhook: Option<Webhook>) -> Self {
        Self::start_with(webhook, PAUSES)
    }

    fn start_with(webhook: Option<Webhook>, pauses: [Duration; 3]) -> Self {
        let counters = Arc::new(Counters::default());
        let Some(webhook) = webhook else {
            return Self {
                queue: None,
                counters,
                task: None,
            };
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = tokio::spawn(deliver_all(
            webhook,
            pauses,
            receiver,
            Arc::clone(&counters),
        ));
        Self {
            queue: Some(sender),
            counters,
            task: Some(task),
        }
    }

    /// Queues a notice for the webhook. Never waits.
    pub fn notify(&self, notice: Notice) {
        if let Some(queue) = &self.queue
            && queue.try_send(notice).is_err()
        {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of notices so far.
    pub fn counts(&self) -> NoticeCounts {
        NoticeCounts {
            delivered: self.counters.delivered.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
        }
    }

    /// Takes no more notices and waits at most this long until those that wait are delivered.
    pub async fn drain(mut self, patience: Duration) -> NoticeCounts {
        self.queue = None;
        if let Some(task) = self.task.as_mut() {
            drop(tokio::time::timeout(patience, task).await);
        }
        self.counts()
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn deliver_all(
    webhook: Webhook,
    pauses: [Duration; 3],
    mut queue: mpsc::Receiver<Notice>,
    counters: Arc<Counters>,
) {
    let caller = Caller::new();
    while let Some(notice) = queue.recv().await {
        match deliver(&caller, &webhook, &pauses, &notice).await {
            Ok(()) => counters.delivered.fetch_add(1, Ordering::Relaxed),
            Err(reason) => {
                tracing::error!(title = notice.title, reason, "the webhook took no notice");
                counters.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

async fn deliver(
    caller: &Caller,
    webhook: &Webhook,
    pauses: &[Duration],
    notice: &Notice,
) -> Result<(), String> {
    let body = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
    let mut pauses = pauses.iter();
    loop {
        let call = Call {
            url: webhook.url.clone(),
            headers: Vec::new(),
            post: Some(("application/json", body.clone())),
        };
        let reason = match caller.call(call, webhook.timeout).await {
            Ok(answer) if answer.is_success() => return Ok(()),
            // A request that is wrong stays wrong, but for "too many" and "too slow".
            Ok(answer)
                if (400..500).contains(&answer.status) && !matches!(answer.status, 408 | 429) =>
            {
                return Err(answer.summary());
            }
            Ok(answer) => answer.summary(),
            Err(failure) => failure.reason,
        };
        let Some(pause) = pauses.next() else {
            return Err(reason);
        };
        tokio::time::sleep(*pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, Server};

    fn notice() -> Notice {
        Notice {
            severity: Severity::Critical,
            incident: Some(7),
            unit: Some("catalog".into()),
            title: "recovery has given up".to_owned(),
            text: "The root was restarted and it still fails.".to_owned(),
            at: "1970-01-01T00:00:00Z".to_owned(),
            link: Some("http://127.0.0.1/incidents/7".to_owned()),
        }
    }

    #[tokio::test]
    async fn a_notice_is_tried_until_it_is_taken_or_hopeless() {
        for (scripts, tries, delivered) in [
            (vec![Script::answer(204, "")], 1, 1),
            (
                vec![
                    Script::answer(503, ""),
                    Script::HangUp,
                    Script::answer(429, ""),
                    Script::answer(200, ""),
                ],
                4,
                1,
            ),
            (vec![Script::answer(500, "")], 4, 0),
            (vec![Script::answer(404, "no such hook")], 1, 0),
        ] {
            let server = Server::start(scripts.clone()).await;
            let webhook = Webhook {
                url: server.url("/hook"),
                timeout: Duration::from_secs(10),
            };
            let notifier = Notifier::start_with(Some(webhook), [Duration::from_millis(1); 3]);
            notifier.notify(notice());
            let counts = notifier.drain(Duration::from_secs(20)).await;
            assert_eq!(
                (counts.delivered, counts.failed),
                (delivered, 1 - delivered),
                "{scripts:?}"
            );
            let requests = server.requests();
            assert_eq!(requests.len(), tries, "{scripts:?}");
            let (_, body) = requests[0].split_once("\r\n\r\n").expect("a body");
            assert_eq!(
                serde_json::from_str::<Notice>(body).expect("JSON"),
                notice()
            );
        }
    }

    #[tokio::test]
    async fn a_webhook_that_hangs_holds_up_nobody() {
        let server = Server::start(vec![Script::Silent]).await;
        let webhook = Webhook {
            url: server.url("/"),
            timeout: Duration::from_secs(2),
        };
        let notifier = Notifier::start(Some(webhook));
        let surplus = 10;
        for _ in 0..QUEUE + 1 + surplus {
            notifier.notify(notice());
        }
        // The task hasn't run yet on this one thread, so the queue alone took some.
        assert_eq!(notifier.counts().dropped, 1 + surplus as u64);
    }

    #[tokio::test]
    async fn without_a_webhook_nothing_waits() {
        let notifier = Notifier::start(None);
        notifier.notify(notice());
        assert_eq!(
            notifier.drain(Duration::ZERO).await,
            NoticeCounts::default()
        );
    }
}
