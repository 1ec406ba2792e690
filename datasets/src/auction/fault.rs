//! Seven ways to fall ill, injected at run time into one component.
//!
//! A fault lives in volatile memory and nowhere else, so it is cured by building that memory anew.
//! *Which* memory decides what must be restarted: the component's own (a microreboot cures it) or
//! something that the process keeps for all its components (only restarting the process does).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Barrier, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a component is ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Its state in memory is lost, so its calls fail.
    Error,
    /// Its calls wait for something that never comes, and block their thread.
    Hang,
    /// Its calls never leave a loop, and burn a core.
    Loop,
    /// Its two workers take two locks in opposite order, and wait for each other.
    Deadlock,
    /// Its calls take longer, each by the fault's delay.
    Slow,
    /// Its threads die at their next call and stay dead. For a process: killed with signal 9.
    Crash,
    /// Its state in memory is mixed up, so it answers wrongly, and says that all is fine.
    WrongAnswer,
}

impl FaultKind {
    /// All seven.
    pub const ALL: [Self; 7] = [
        Self::Error,
        Self::Hang,
        Self::Loop,
        Self::Deadlock,
        Self::Slow,
        Self::Crash,
        Self::WrongAnswer,
    ];

    /// The word for it, as in requests to the control port.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Loop => "loop",
            Self::Deadlock => "deadlock",
            Self::Slow => "slow",
            Self::Crash => "crash",
            Self::WrongAnswer => "wrong_answer",
        }
    }
}

/// Whose memory the fault is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultScope {
    /// The component's own: its microreboot cures it.
    #[default]
    Component,
    /// The process's, which a new life of the component finds as it was: only the process's restart
    /// cures it. `error` damages the settings that the process read when it started; `wrong_answer`
    /// is not to be had, because no answer is made from that memory.
    Process,
}

/// Longer than users wait, shorter than callers do: a slow component's calls are answered, late.
pub const DEFAULT_DELAY: Duration = Duration::from_millis(900);

/// A fault to inject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Into which component, such as `catalog.search`, or which part of one, `catalog.categories.cache` (`error`
    /// and `wrong_answer` are to be had there).
    pub component: String,
    /// Of which kind.
    pub kind: FaultKind,
    /// Into whose memory.
    #[serde(default)]
    pub scope: FaultScope,
    /// For [`FaultKind::Slow`]: how much longer each call takes, in milliseconds.
    #[serde(default = "default_delay_ms")]
    pub delay_ms: u64,
}

fn default_delay_ms() -> u64 {
    DEFAULT_DELAY.as_millis() as u64
}

impl Fault {
    /// A fault in the component's own memory, with the default delay.
    pub fn new(component: &str, kind: FaultKind) -> Self {
        Self {
            component: component.to_owned(),
            kind,
            scope: FaultScope::Component,
            delay_ms: default_delay_ms(),
        }
    }

    /// The same in the process's memory.
    #[must_use]
    pub fn in_process(mut self) -> Self {
        self.scope = FaultScope::Process;
        self
    }
}

/// What makes every call of its owner stumble, until its owner is built anew. Damage to rows
/// (`error`, `wrong_answer`) isn't here: it is in the rows.
pub(crate) struct Ailment {
    /// 0 when well, otherwise 1 + the kind's place in [`FaultKind::ALL`].
    kind: AtomicU8,
    delay_ms: AtomicU64,
    first: Mutex<()>,
    second: Mutex<()>,
    both_hold_one: Barrier,
}

impl Ailment {
    pub(crate) fn none() -> Self {
        Self {
            kind: AtomicU8::new(0),
            delay_ms: AtomicU64::new(0),
            first: Mutex::new(()),
            second: Mutex::new(()),
            both_hold_one: Barrier::new(2),
        }
    }

    pub(crate) fn set(&self, kind: FaultKind, delay: Duration) {
        let at = FaultKind::ALL.iter().position(|&one| one == kind);
        self.delay_ms
            .store(delay.as_millis() as u64, Ordering::SeqCst);
        self.kind
            .store(at.map_or(0, |at| at as u8 + 1), Ordering::SeqCst);
    }

    pub(crate) fn clear(&self) {
        self.kind.store(0, Ordering::SeqCst);
    }

    pub(crate) fn kind(&self) -> Option<FaultKind> {
        let at = usize::from(self.kind.load(Ordering::SeqCst)).checked_sub(1)?;
        FaultKind::ALL.get(at).copied()
    }

    /// Lets a call of this worker (0 or 1) suffer. Blocks the thread, forever where the kind says so.
    pub(crate) async fn suffer(&self, worker: usize) {
        match self.kind() {
            None | Some(FaultKind::Error | FaultKind::WrongAnswer) => {}
            Some(FaultKind::Slow) => {
                let delay = Duration::from_millis(self.delay_ms.load(Ordering::SeqCst));
                tokio::time::sleep(delay).await;
            }
            Some(FaultKind::Hang) => hang(),
            Some(FaultKind::Loop) => spin(),
            Some(FaultKind::Deadlock) => self.deadlock(worker),
            Some(FaultKind::Crash) => panic!("injected crash"),
        }
    }

    /// Worker 0 takes the first lock, worker 1 the second; once both hold theirs, each wants the
    /// other's.
    fn deadlock(&self, worker: usize) {
        let (mine, others) = if worker == 0 {
            (&self.first, &self.second)
        } else {
            (&self.second, &self.first)
        };
        let _mine = mine.lock().unwrap_or_else(PoisonError::into_inner);
        self.both_hold_one.wait();
        let _others = others.lock().unwrap_or_else(PoisonError::into_inner);
    }
}

/// Waits for a signal that nobody sends.
fn hang() {
    let never = Mutex::new(false);
    let signal = Condvar::new();
    let mut come = never.lock().unwrap_or_else(PoisonError::into_inner);
    while !*come {
        come = signal.wait(come).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Looks for an end that isn't there.
fn spin() {
    let mut rounds = 0_u64;
    while std::hint::black_box(true) {
        rounds = std::hint::black_box(rounds.wrapping_add(1));
    }
}
