//! Which spans belong to one request, and when have they all come?
//!
//! Nobody says when a trace is complete: a root may come before its children, other processes'
//! exporters are later, a killed process sends nothing. So a trace is let go for a reason, each of
//! them counted: its root came and the time that exporters need has passed, nothing came for long,
//! or there is no room. A pure state machine with one owner: it is told the time, and sharding it
//! means having several.
//!
//! How long to wait after a root: a span that ended before the root did arrives at most its
//! exporter's lag later, so the root's arrival plus the longest usual lag is enough for all of them,
//! however many batches they come in. Waiting anew after every batch would double the delay.

mod buffer;
mod lag;
mod released;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hashbrown::HashMap;
use rekindle_model::{ReleaseReason, Span, Trace, TraceId, UnixNanos};
use serde::{Deserialize, Serialize};

use buffer::Buffer;
use lag::ExporterLag;
use released::Released;

/// How much longer than the usual lag is waited: the learned quantile is of one span in a hundred,
/// and traces have several.
const LAG_FACTOR: f64 = 1.25;

/// Waited beyond the learned lag, for the network and our own queue.
const SLACK: Duration = Duration::from_millis(100);

/// When and why traces are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblerConfig {
    /// The least that is waited after a root, and after any span of a trace with a root.
    pub min_quiet: Duration,
    /// The most that is waited after a root, however slow exporters are.
    pub max_quiet: Duration,
    /// How long a trace without a root may go without a new span.
    pub idle: Duration,
    /// Spans that a trace is let go at.
    pub max_spans_per_trace: usize,
    /// Spans in all open traces, at which the oldest trace is let go.
    pub max_spans_in_flight: usize,
}

impl Default for AssemblerConfig {
    /// 300 ms covers exporters that send every 200 ms before any lag is learned; 10 s is twice an
    /// SDK's default delay; 30 s an exporter's usual patience with its retries; a trace of 10,000
    /// spans is a loop, and a million spans are some 500 MB.
    fn default() -> Self {
        Self {
            min_quiet: Duration::from_millis(300),
            max_quiet: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            max_spans_per_trace: 10_000,
            max_spans_in_flight: 1_000_000,
        }
    }
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pushed {
    /// It will be in its trace.
    New,
    /// Its trace has a span of this id: delivery is at least once.
    Duplicate,
    /// Its trace was let go before.
    Late,
}

/// What became of all spans and traces so far. Every span pushed is new, a duplicate or late; every
/// new one is in flight or was released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssemblyCounts {
    /// Spans that were new in their trace.
    pub new: u64,
    /// Spans whose id their trace had.
    pub duplicate: u64,
    /// Spans whose trace was gone.
    pub late: u64,
    /// Spans in the traces let go.
    pub released_spans: u64,
    /// Traces let go because their root came and exporters had their time.
    pub root_quiet: u64,
    /// Traces let go because nothing came any more.
    pub idle: u64,
    /// Traces let go because they had as many spans as a trace may have.
    pub span_limit: u64,
    /// Traces let go because the memory was used up.
    pub memory: u64,
    /// Traces let go because the end was reached.
    pub flush: u64,
}

/// What is held at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Open traces.
    pub traces: usize,
    /// Spans in them.
    pub spans: usize,
}

/// Puts the spans of requests together.
pub struct Assembler {
    config: AssemblerConfig,
    open: HashMap<TraceId, Buffer>,
    /// Deadline, number and id of open traces; an entry counts if its trace is queued under it.
    due: BinaryHeap<Reverse<(UnixNanos, u64, TraceId)>>,
    /// Open traces by age, for when room is needed, with some that are gone.
    by_age: std::collections::VecDeque<(u64, TraceId)>,
    released: Released,
    lag: ExporterLag,
    /// How long is waited after a root, as of the last poll.
    quiet: Duration,
    /// Traces let go since the last poll.
    ready: Vec<Trace>,
    spans: usize,
    next_number: u64,
    counts: AssemblyCounts,
}

impl Assembler {
    /// An assembler that holds nothing.
    pub fn new(config: AssemblerConfig) -> Self {
        Self {
            quiet: quiet(&config, Duration::ZERO),
            config,
            open: HashMap::new(),
            due: BinaryHeap::new(),
            by_age: std::collections::VecDeque::new(),
            released: Released::new(),
            lag: ExporterLag::new(),
            ready: Vec::new(),
            spans: 0,
            next_number: 0,
            counts: AssemblyCounts::default(),
        }
    }

    /// Takes a span that arrives now.
    pub fn push(&mut self, span: Span, now: UnixNanos) -> Pushed {
        self.lag.learn(&span, now);
        let id = span.trace_id;
        let buffer = match self.open.entry(id) {
            hashbrown::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::Entry::Vacant(entry) => {
                if self.released.contains(id) {
                    self.counts.late += 1;
                    return Pushed::Late;
                }
                let number = self.next_number;
                self.next_number += 1;
                self.by_age.push_back((number, id));
                entry.insert(Buffer::new(number, now))
            }
        };
        if !buffer.take(span, now) {
            self.counts.duplicate += 1;
            return Pushed::Duplicate;
        }
        self.counts.new += 1;
        self.spans += 1;
        let full = buffer.len() >= self.config.max_spans_per_trace;
        // A deadline that moves back is found out when it is reached; only one that moves forward,
        // when the root comes, needs a new entry.
        let deadline = deadline(&self.config, self.quiet, buffer);
        if deadline < buffer.queued {
            buffer.queued = deadline;
            self.due.push(Reverse((deadline, buffer.number, id)));
        }
        if full {
            self.release(id, ReleaseReason::SpanLimit);
        }
        while self.spans > self.config.max_spans_in_flight {
            let Some((number, oldest)) = self.by_age.pop_front() else {
                break;
            };
            if self.is_open(oldest, number) {
                self.release(oldest, ReleaseReason::Memory);
            }
        }
        Pushed::New
    }

    /// Lets go of the traces whose time has come, and hands out all that were let go since the last
    /// time. Call it some times a second, and after each batch.
    pub fn poll(&mut self, now: UnixNanos, traces: &mut Vec<Trace>) {
        self.lag.refresh(now);
        self.quiet = quiet(&self.config, self.lag.longest());
        while let Some(Reverse((queued, number, id))) = self.due.peek().copied() {
            if queued > now {
                break;
            }
            self.due.pop();
            let Some(buffer) = self.open.get_mut(&id) else {
                continue;
            };
            if buffer.number != number || buffer.queued != queued {
                continue;
            }
            let deadline = deadline(&self.config, self.quiet, buffer);
            if deadline > now {
                buffer.queued = deadline;
                self.due.push(Reverse((deadline, number, id)));
                continue;
            }
            let reason = match buffer.root_at {
                Some(_) => ReleaseReason::RootQuiet,
                None => ReleaseReason::Idle,
            };
            self.release(id, reason);
        }
        self.tidy();
        traces.append(&mut self.ready);
    }

    /// Lets go of everything, oldest first: the engine stops, or its input has ended.
    pub fn flush(&mut self, traces: &mut Vec<Trace>) {
        while let Some((number, id)) = self.by_age.pop_front() {
            if self.is_open(id, number) {
                self.release(id, ReleaseReason::Flush);
            }
        }
        self.tidy();
        traces.append(&mut self.ready);
    }

    /// When the next trace may be due; earlier than it turns out to be, if at all.
    pub fn next_deadline(&self) -> Option<UnixNanos> {
        self.due.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    /// How long after their end the spans of the slowest service usually arrive, as learned.
    pub fn exporter_lag(&self) -> Duration {
        self.lag.longest()
    }

    /// How long is waited after a root at present.
    pub fn quiet(&self) -> Duration {
        self.quiet
    }

    /// What is held at the moment.
    pub fn in_flight(&self) -> InFlight {
        InFlight {
            traces: self.open.len(),
            spans: self.spans,
        }
    }

    /// What became of all spans and traces.
    pub fn counts(&self) -> AssemblyCounts {
        self.counts
    }

    fn is_open(&self, id: TraceId, number: u64) -> bool {
        self.open.get(&id).is_some_and(|it| it.number == number)
    }

    fn release(&mut self, id: TraceId, reason: ReleaseReason) {
        let Some(buffer) = self.open.remove(&id) else {
            return;
        };
        self.spans -= buffer.len();
        self.released.insert(id);
        self.counts.released_spans += buffer.len() as u64;
        let count = match reason {
            ReleaseReason::RootQuiet => &mut self.counts.root_quiet,
            ReleaseReason::Idle => &mut self.counts.idle,
            ReleaseReason::SpanLimit => &mut self.counts.span_limit,
            ReleaseReason::Memory => &mut self.counts.memory,
            ReleaseReason::Flush => &mut self.counts.flush,
        };
        *count += 1;
        // A buffer is made for a span, so it has one.
        if let Ok(trace) = Trace::new(buffer.into_spans(), reason) {
            self.ready.push(trace);
        }
    }

    /// Drops entries of traces that are gone once they are the most part, so that one trace that
    /// stays open can't make the lists grow without end.
    fn tidy(&mut self) {
        const FEW: usize = 1024;
        if self.by_age.len() > 2 * self.open.len() + FEW {
            let open = &self.open;
            self.by_age
                .retain(|(number, id)| open.get(id).is_some_and(|it| it.number == *number));
        }
        if self.due.len() > 2 * self.open.len() + FEW {
            let open = &self.open;
            self.due.retain(|Reverse((queued, number, id))| {
                open.get(id)
                    .is_some_and(|it| it.number == *number && it.queued == *queued)
            });
        }
    }
}

/// How long exporters need after a root has come.
fn quiet(config: &AssemblerConfig, lag: Duration) -> Duration {
    let wanted = lag.mul_f64(LAG_FACTOR) + SLACK;
    wanted.min(config.max_quiet).max(config.min_quiet)
}

fn deadline(config: &AssemblerConfig, quiet: Duration, buffer: &Buffer) -> UnixNanos {
    match buffer.root_at {
        Some(root_at) => root_at
            .plus(quiet)
            .max(buffer.last_at.plus(config.min_quiet)),
        None => buffer.last_at.plus(config.idle),
    }
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler")
            .field("in_flight", &self.in_flight())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
