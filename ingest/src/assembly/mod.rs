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
mod chunks;
mod deadlines;
mod lag;
mod leaving;
mod open;
mod places;
mod released;
mod shape_slots;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

use rekindle_model::{Link, Outline, ReleaseReason, Span, Trace, TraceId, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::packed::{PackedSpan, PackedSpans};
use buffer::{Buffer, NO_TRACE};
use deadlines::{Deadlines, Due};
use lag::ExporterLag;
use leaving::{Leaving, TOGETHER, look_ahead_to_close, wait_for_buffers, wait_for_end};
use open::OpenTraces;
use released::Released;
use shape_slots::ShapeSlots;

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
    /// spans is a loop, and a million spans are some 100 MB in traces of ten, and 350 MB where each is a trace of
    /// its own.
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

/// A trace that was begun, whether it is still open or not.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: UnixNanos,
    number: u64,
    place: u32,
}

impl Begun {
    /// What its buffer is numbered with. It comes again after four billion traces, when no entry is left of this one.
    fn short_number(&self) -> u32 {
        self.number as u32
    }
}

/// Spans of a request that are of one trace and come one after the other, as exporters mostly send them.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The place of its first span in the request.
    from: usize,
    trace_id: TraceId,
    /// Half of its trace's hash.
    half: u32,
    /// Where its trace most likely is.
    place: Option<u32>,
}

/// Puts the spans of requests together.
pub struct Assembler {
    config: AssemblerConfig,
    open: OpenTraces,
    shapes: ShapeSlots,
    /// Open traces with a root, and others that have been open for long, by deadline. An entry
    /// counts if its trace is queued under it.
    due: Deadlines,
    /// Open traces by age, with some that are gone.
    by_age: VecDeque<Begun>,
    /// The number of the last trace that was old enough to be idle when it was looked at.
    idle_looked_at: Option<u64>,
    released: Released,
    lag: ExporterLag,
    /// How long is waited after a root, as of the last poll.
    quiet: Duration,
    /// The places of traces let go since the last poll, and why; they are free when they were handed out.
    ready: Vec<(u32, ReleaseReason)>,
    spans: usize,
    next_number: u64,
    counts: AssemblyCounts,
    /// Places of a request's shapes, and its runs, while it is taken.
    slots: Vec<(u32, usize)>,
    runs: Vec<Run>,
    looked_at: Vec<Due>,
    leaving: Leaving,
}

impl Assembler {
    /// An assembler that holds nothing.
    pub fn new(config: AssemblerConfig) -> Self {
        Self {
            quiet: quiet(&config, Duration::ZERO),
            config,
            open: OpenTraces::default(),
            shapes: ShapeSlots::default(),
            due: Deadlines::default(),
            by_age: VecDeque::new(),
            idle_looked_at: None,
            released: Released::new(),
            lag: ExporterLag::new(),
            ready: Vec::new(),
            spans: 0,
            next_number: 0,
            counts: AssemblyCounts::default(),
            slots: Vec::new(),
            runs: Vec::new(),
            looked_at: Vec::new(),
            leaving: Leaving::default(),
        }
    }

    /// Takes a span that arrives now.
    pub fn push(&mut self, span: Span, now: UnixNanos) -> Pushed {
        let lag = self.lag.place_of(&span.resource);
        self.lag.learn(lag, span.end, now);
        let shape = self.shapes.slot(&span.shape);
        let numbers = PackedSpan {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_id: span.parent_id,
            start: span.start,
            end: span.end,
            shape,
            parent_is_remote: span.parent_is_remote,
        };
        self.take(
            &numbers,
            shape,
            &span.links,
            self.open.find(span.trace_id),
            now,
        )
    }

    /// Takes the spans of a request, which arrive now.
    pub fn push_all(&mut self, spans: &PackedSpans, now: UnixNanos) {
        let (shapes, lag) = (&mut self.shapes, &mut self.lag);
        let slots = spans.shapes().iter();
        self.slots.clear();
        self.slots
            .extend(slots.map(|it| (shapes.slot(it), lag.place_of(&it.resource))));
        // All are looked up before any is taken: the look-ups don't depend on each other, so the
        // processor waits for memory once for several of them.
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let packed = spans.packed();
        let mut from = 0;
        for run in packed.chunk_by(|a, b| a.trace_id == b.trace_id) {
            let trace_id = run[0].trace_id;
            runs.push(Run {
                from,
                trace_id,
                half: self.open.half_of(trace_id),
                place: None,
            });
            from += run.len();
        }
        let looked_at = runs.iter().map(|run| self.open.look_ahead(run.half));
        black_box(looked_at.fold(0, |all, place| all ^ place));
        for run in &mut runs {
            run.place = self.open.guess(run.half);
            if run.place.is_none() {
                self.released.look_ahead(run.trace_id);
            }
        }
        let known = || runs.iter().filter_map(|run| run.place);
        wait_for_buffers(known(), &self.open);
        known().for_each(|place| wait_for_end(place, &self.open));
        let ends = runs.iter().skip(1).map(|next| next.from);
        for (run, until) in runs.iter().zip(ends.chain([packed.len()])) {
            self.take_run(run, spans, run.from..until, now);
        }
        self.runs = runs;
    }

    /// Takes the spans of a request in this range, which are those of a run.
    fn take_run(&mut self, run: &Run, spans: &PackedSpans, range: Range<usize>, now: UnixNanos) {
        let packed = &spans.packed()[range.clone()];
        for span in packed {
            let (_, lag) = self.slots[span.shape as usize];
            self.lag.learn(lag, span.end, now);
        }
        // An earlier run of the request may have begun the trace, or brought it to its limit.
        let place = match run.place {
            Some(place) if self.open.is_at(run.trace_id, place) => Some(place),
            _ => self.open.find(run.trace_id),
        };
        let held = place.map_or(0, |place| self.open.at(place).len());
        // One that reaches its limit is let go where it does.
        if held + packed.len() >= self.config.max_spans_per_trace {
            for (index, span) in range.zip(packed) {
                let (slot, _) = self.slots[span.shape as usize];
                let place = self.open.find(run.trace_id);
                self.take(span, slot, spans.links_of(index), place, now);
            }
            return;
        }
        let Some(place) = self.place_for(run.trace_id, place, now) else {
            self.counts.late += packed.len() as u64;
            return;
        };
        for (index, span) in range.zip(packed) {
            let (slot, _) = self.slots[span.shape as usize];
            let (links, shapes) = (spans.links_of(index), &mut self.shapes);
            self.open.take(place, (span, slot), links, shapes, now);
        }
        let new = self.open.at(place).len() - held;
        self.counts.new += new as u64;
        self.counts.duplicate += (packed.len() - new) as u64;
        self.spans += new;
        if new > 0 {
            self.queue(place);
        }
        if self.spans > self.config.max_spans_in_flight {
            self.make_room();
        }
    }

    /// Takes a span whose shape is in this slot, and whose trace is open at this place, if at all.
    #[inline]
    fn take(
        &mut self,
        span: &PackedSpan,
        slot: u32,
        links: &[Link],
        place: Option<u32>,
        now: UnixNanos,
    ) -> Pushed {
        let Some(place) = self.place_for(span.trace_id, place, now) else {
            self.counts.late += 1;
            return Pushed::Late;
        };
        let shapes = &mut self.shapes;
        if !self.open.take(place, (span, slot), links, shapes, now) {
            self.counts.duplicate += 1;
            return Pushed::Duplicate;
        }
        self.counts.new += 1;
        self.spans += 1;
        let full = self.open.at(place).len() >= self.config.max_spans_per_trace;
        self.queue(place);
        if full {
            self.release(place, ReleaseReason::SpanLimit);
        }
        if self.spans > self.config.max_spans_in_flight {
            self.make_room();
        }
        Pushed::New
    }

    /// The place of a trace that is open at this one, if at all: a new one where it never was, none where it was let go.
    #[inline]
    fn place_for(&mut self, id: TraceId, place: Option<u32>, now: UnixNanos) -> Option<u32> {
        match place {
            Some(place) => Some(place),
            None if self.released.contains(id) => None,
            None => Some(self.begin(id, now)),
        }
    }

    /// Puts a trace that got spans among those that are due, if it isn't there as early as that. A deadline that moves
    /// back is found out when it is reached; only one that moves forward, when the root comes, needs a new entry.
    #[inline]
    fn queue(&mut self, place: u32) {
        let buffer = self.open.at(place);
        if buffer.root_at().is_none() {
            return;
        }
        let deadline = deadline(&self.config, self.quiet, buffer);
        if deadline < buffer.queued {
            buffer.queued = deadline;
            self.due.add(Due {
                deadline,
                number: buffer.number,
                place,
            });
        }
    }

    fn begin(&mut self, id: TraceId, now: UnixNanos) -> u32 {
        if self.next_number as u32 == NO_TRACE {
            self.next_number += 1;
        }
        let mut begun = Begun {
            at: now,
            number: self.next_number,
            place: 0,
        };
        self.next_number += 1;
        begun.place = self.open.open(id, begun.short_number(), now);
        self.by_age.push_back(begun);
        begun.place
    }

    #[cold]
    fn make_room(&mut self) {
        while self.spans > self.config.max_spans_in_flight {
            let Some(oldest) = self.by_age.pop_front() else {
                break;
            };
            if self
                .open
                .numbered(oldest.short_number(), oldest.place)
                .is_some()
            {
                self.release(oldest.place, ReleaseReason::Memory);
            }
        }
    }

    /// Lets go of the traces whose time has come, and hands out all that were let go since the last
    /// time. Call it some times a second, and after each batch.
    pub fn poll(&mut self, now: UnixNanos, traces: &mut Vec<Trace>) {
        self.poll_each(now, |trace| traces.push(trace));
    }

    /// The same, one after the other.
    pub fn poll_each(&mut self, now: UnixNanos, mut take: impl FnMut(Trace)) {
        self.poll_outlines(now, |outlines| {
            outlines.iter().for_each(|outline| take(outline.trace()));
        });
    }

    /// The same in numbers, several at once: for whoever has seen such traces, a whole one need not be made.
    pub fn poll_outlines(&mut self, now: UnixNanos, mut take: impl FnMut(&[Outline<'_>])) {
        self.hand_out(&mut take);
        self.lag.refresh(now);
        self.quiet = quiet(&self.config, self.lag.longest());
        self.look_for_idle(now);
        let mut due = std::mem::take(&mut self.looked_at);
        self.due.take(now, &mut due);
        for together in due.chunks(TOGETHER) {
            let places = together.iter().map(|entry| entry.place);
            look_ahead_to_close(places, &self.open, &self.released);
            together.iter().for_each(|entry| self.look_at(entry, now));
            // Now that they are in the processor's cache.
            self.hand_out(&mut take);
        }
        due.clear();
        self.looked_at = due;
        self.tidy();
    }

    /// Lets go of a trace whose deadline has come, if it still is the deadline.
    fn look_at(&mut self, entry: &Due, now: UnixNanos) {
        let Some(buffer) = self.open.numbered(entry.number, entry.place) else {
            return;
        };
        if buffer.queued != entry.deadline {
            return;
        }
        let deadline = deadline(&self.config, self.quiet, buffer);
        if deadline > now {
            buffer.queued = deadline;
            self.due.add(Due { deadline, ..*entry });
            return;
        }
        let reason = match buffer.root_at() {
            Some(_) => ReleaseReason::RootQuiet,
            None => ReleaseReason::Idle,
        };
        self.release(entry.place, reason);
    }

    /// Puts the traces that are old enough to be idle among those that are due, if they have no
    /// root. Until then their age is their entry: nearly all get a root and are gone before.
    fn look_for_idle(&mut self, now: UnixNanos) {
        for index in self.first_not_looked_at()..self.by_age.len() {
            let begun = self.by_age[index];
            if begun.at.plus(self.config.idle) > now {
                break;
            }
            self.idle_looked_at = Some(begun.number);
            if let Some(buffer) = self.open.numbered(begun.short_number(), begun.place)
                && buffer.root_at().is_none()
            {
                let deadline = deadline(&self.config, self.quiet, buffer);
                buffer.queued = deadline;
                self.due.add(Due {
                    deadline,
                    number: begun.short_number(),
                    place: begun.place,
                });
            }
        }
    }

    /// The index of the oldest trace that hasn't been old enough to be idle.
    fn first_not_looked_at(&self) -> usize {
        let looked_at = self.idle_looked_at;
        self.by_age
            .partition_point(|begun| looked_at.is_some_and(|last| begun.number <= last))
    }

    /// Lets go of everything, oldest first: the engine stops, or its input has ended.
    pub fn flush(&mut self, traces: &mut Vec<Trace>) {
        while let Some(oldest) = self.by_age.pop_front() {
            if self
                .open
                .numbered(oldest.short_number(), oldest.place)
                .is_some()
            {
                self.release(oldest.place, ReleaseReason::Flush);
            }
        }
        self.hand_out(&mut |outlines| traces.extend(outlines.iter().map(Outline::trace)));
        self.tidy();
    }

    /// When the next trace may be due; earlier than it turns out to be, if at all.
    pub fn next_deadline(&self) -> Option<UnixNanos> {
        let oldest = self.by_age.get(self.first_not_looked_at());
        let idle = oldest.map(|begun| begun.at.plus(self.config.idle));
        self.due.first().into_iter().chain(idle).min()
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

    fn release(&mut self, place: u32, reason: ReleaseReason) {
        let buffer = self.open.close(place);
        let spans = buffer.len();
        self.released.insert(buffer.trace_id);
        self.spans -= spans;
        self.counts.released_spans += spans as u64;
        let count = match reason {
            ReleaseReason::RootQuiet => &mut self.counts.root_quiet,
            ReleaseReason::Idle => &mut self.counts.idle,
            ReleaseReason::SpanLimit => &mut self.counts.span_limit,
            ReleaseReason::Memory => &mut self.counts.memory,
            ReleaseReason::Flush => &mut self.counts.flush,
        };
        *count += 1;
        self.ready.push((place, reason));
    }

    /// Hands out the traces that were let go, and frees their places.
    fn hand_out(&mut self, take: &mut impl FnMut(&[Outline<'_>])) {
        let (open, shapes) = (&mut self.open, &mut self.shapes);
        self.leaving.hand_out(&self.ready, open, shapes, take);
        self.ready.clear();
    }

    /// Drops entries of traces that are gone once they are the most part, so that one trace that
    /// stays open can't make the lists grow without end.
    fn tidy(&mut self) {
        const FEW: usize = 1024;
        self.shapes.tidy();
        self.open.tidy();
        let most = 2 * self.open.len() + FEW;
        let open = &mut self.open;
        while let Some(oldest) = self.by_age.front()
            && open.numbered(oldest.short_number(), oldest.place).is_none()
        {
            self.by_age.pop_front();
        }
        if self.by_age.len() > most {
            self.by_age
                .retain(|it| open.numbered(it.short_number(), it.place).is_some());
        }
        if self.due.len() > most {
            self.due.retain(|it| {
                open.numbered(it.number, it.place)
                    .is_some_and(|buffer| buffer.queued == it.deadline)
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
    match buffer.root_at() {
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
