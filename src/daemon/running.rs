//! What runs in the daemon, and what if a part of it ends?
//!
//! Every part has a name and runs until it is told to stop. One that ends sooner has panicked or lost
//! what it lives on, and an engine with a part missing looks well and does half its work: nobody is
//! told, nothing is restarted. So the whole process ends then, with an error, and whoever started it
//! starts it again. Starting is recovering.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{Id, JoinSet};

/// The parts that run.
pub(super) struct Running {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: watch::Sender<bool>,
}

impl Running {
    pub(super) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// Turns true when the parts are to end.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Runs a part.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Runs a part on a thread of its own, with a runtime of its own.
    pub(super) fn spawn_thread(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .with_context(|| format!("the runtime of the {name} could not be started"))?;
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(part);
                // A panic drops it just as well.
                drop(alive);
            })
            .with_context(|| format!("the thread of the {name} could not be started"))?;
        self.spawn(name, async move {
            // Nothing is ever sent: that the other end is gone is the news.
            let _ = ended.await;
        });
        Ok(())
    }

    /// Tasks that are spawned elsewhere; they are called after what they do together.
    pub(super) fn adopt(&mut self, name: &'static str, tasks: JoinSet<()>) {
        let mut tasks = tasks;
        if tasks.is_empty() {
            return;
        }
        self.spawn(name, async move {
            // One that ends by itself is news, which must not wait for the others. When all are told
            // to stop, the others are about to end as well.
            let _ = tasks.join_next().await;
        });
    }

    /// Waits for a part that ends without having been told to, and says which it was.
    pub(super) async fn first_to_end(&mut self) -> &'static str {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => self.name(id),
            // Why has been said by the panic itself.
            Some(Err(error)) => self.name(error.id()),
            None => std::future::pending().await,
        }
    }

    fn name(&self, id: Id) -> &'static str {
        self.names
            .get(&id)
            .copied()
            .unwrap_or("a part without a name")
    }

    /// Tells all parts to stop.
    pub(super) fn tell(&self) {
        self.stop.send_replace(true);
    }

    /// Tells all parts to stop, and waits this long for them.
    pub(super) async fn stop(mut self, patience: Duration) {
        self.tell();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("some tasks did not end within {patience:?} and are dropped");
        }
    }
}

/// What tells the process to stop. Watched from the first moment: until then a signal would end the
/// process on the spot, and leave behind what it had started.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn watch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("watching for TERM")?,
            interrupt: signal(SignalKind::interrupt()).context("watching for interrupts")?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any of this takes; only a failure waits for so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn until_stopped(mut stopped: watch::Receiver<bool>) {
        let _ = stopped.wait_for(|stop| *stop).await;
    }

    async fn first(running: &mut Running) -> &'static str {
        tokio::time::timeout(PATIENCE, running.first_to_end())
            .await
            .expect("its end is seen")
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_named() {
        let mut running = Running::new();
        let stopped = running.stopped();
        running.spawn("patient", until_stopped(stopped));
        running.spawn("hasty", async {});
        assert_eq!(first(&mut running).await, "hasty");
    }

    #[tokio::test]
    async fn a_panic_is_an_end_on_a_task_and_on_a_thread() {
        let mut running = Running::new();
        let stopped = running.stopped();
        running.spawn("patient", until_stopped(stopped.clone()));
        running.spawn("task", async { panic!("as the test wants it") });
        assert_eq!(first(&mut running).await, "task");
        let panics = async { panic!("as the test wants it") };
        running.spawn_thread("thread", panics).expect("it starts");
        assert_eq!(first(&mut running).await, "thread");
    }

    #[tokio::test]
    async fn one_of_many_that_ends_is_news_at_once() {
        let mut running = Running::new();
        let stopped = running.stopped();
        let mut askers = JoinSet::new();
        askers.spawn(until_stopped(stopped.clone()));
        askers.spawn(async {});
        running.adopt("askers", askers);
        running.adopt("nobody", JoinSet::new());
        assert_eq!(first(&mut running).await, "askers");
    }

    #[tokio::test]
    async fn parts_end_when_they_are_told_to() {
        let mut running = Running::new();
        let stopped = running.stopped();
        running.spawn("task", until_stopped(stopped.clone()));
        running
            .spawn_thread("thread", until_stopped(stopped))
            .expect("it starts");
        tokio::time::timeout(PATIENCE, running.stop(PATIENCE))
            .await
            .expect("they end");
    }
}
