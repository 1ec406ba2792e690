//! What if somebody ends the demonstration half-way?
//!
//! Left to its default, a signal ends this process on the spot, and engine, site and temporary
//! folders stay. So the first one is only noted; everything that waits looks at it, and everything
//! that was started ends with the values that hold it. A second one ends the process at once: whoever
//! sends it has waited long enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How often who sleeps looks whether it is over: sooner than a person wonders.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a shell says of a process that an interrupt ended: 128 and the signal's number.
const ENDED_BY_INTERRUPT: i32 = 130;

/// Whether a signal has come.
#[derive(Debug)]
pub(super) struct Interrupt {
    came: Arc<AtomicBool>,
    /// Waits for signals as long as it lives; `None` where nobody listens for any.
    _runtime: Option<Runtime>,
}

impl Interrupt {
    /// Listens for interrupts from the terminal, TERM, and the terminal's own end.
    pub(super) fn watch() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("signals")
            .build()
            .context("the runtime that waits for signals could not be started")?;
        let came = Arc::new(AtomicBool::new(false));
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let _guard = runtime.enter();
            let mut signals = signal(kind).context("watching for signals")?;
            let came = Arc::clone(&came);
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    if came.swap(true, Ordering::Relaxed) {
                        std::process::exit(ENDED_BY_INTERRUPT);
                    }
                }
            });
        }
        Ok(Self {
            came,
            _runtime: Some(runtime),
        })
    }

    /// Whether one has come.
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// An error when one has come, for whoever is about to go on.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.came() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Sleeps, unless one comes.
    pub(super) fn sleep(&self, duration: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + duration;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sleeps_is_woken() {
        let interrupt = Interrupt {
            came: Arc::default(),
            _runtime: None,
        };
        assert!(interrupt.sleep(Duration::from_millis(1)).is_ok());
        std::thread::scope(|scope| {
            scope.spawn(|| interrupt.came.store(true, Ordering::Relaxed));
            // Longer than any test may take: it ends only because it is woken.
            assert!(interrupt.sleep(Duration::from_secs(86_400)).is_err());
        });
        assert!(interrupt.check().is_err());
    }
}
