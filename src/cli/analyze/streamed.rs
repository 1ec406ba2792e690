//! How are more traces analysed than fit into memory?
//!
//! Files of the store are sorted by trace, so the spans of a trace are found by reading all files side by side, and a
//! trace is forgotten once it is counted. When traces began is read first, because the earlier half of the baseline
//! is compared with the later one. The baseline is counted before the window: of files that hold both, the window's
//! traces wait in memory, and if these are too many, the files are read again. Between the thread that reads and the one
//! that counts, traces are numbers: what their spans say is listed once for thousands of them.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rekindle_analysis::rank::Input;
use rekindle_analysis::{AnalysisConfig, Heap, MaskedOf, Offline, Outage};
use rekindle_ingest::{DecodeContext, KeepAttributes};
use rekindle_model::{
    Intervention, Link, OutlineParts, ReleaseReason, Shape, SpanId, Step, TraceId, UnixNanos,
};
use rekindle_store::{
    AlikeReader, Meanings, ReadCounts, SpanOf, Store, StoreError, StoredSpan, alike_file, spans_of,
};

use super::super::args::AnalyzeArgs;
use super::{Failure, without_outages};

/// Traces that are handed from the thread that reads to the one that counts at a time, and how many such heaps wait:
/// some thousands of spans, so that neither thread waits for the other at every trace, and what these say is listed
/// once for many of them.
const TRACES_AT_ONCE: usize = 2_048;
const HEAPS_WAITING: usize = 4;

/// Spans of the window that wait for the end of the baseline, at most: some 250 MB.
const MAX_WAITING: usize = 4_000_000;

/// What was counted.
pub(super) struct Streamed {
    pub(super) input: Input,
    pub(super) baseline_traces: usize,
    pub(super) window_traces: usize,
    pub(super) unreadable: u64,
    pub(super) masked: Vec<MaskedOf>,
    /// Earlier outages, of which nothing was counted.
    pub(super) outages: Vec<Outage>,
}

/// Why a pass ended early.
enum Stop {
    /// The spans of a trace don't lie together, so the file isn't of the store's making.
    Unsorted,
    /// It can't be read.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The input of a ranking of these files and folders of the store; `None` if one isn't sorted, and all must be held
/// in memory to be put together.
pub(super) fn streamed(
    config: &AnalysisConfig,
    args: &AnalyzeArgs,
    keep: &KeepAttributes,
    interventions: &[Intervention],
) -> Result<Option<Streamed>, Failure> {
    let counted = |outages: &[Outage]| analyzed(config, args, keep, interventions, outages);
    match without_outages(counted) {
        Ok(streamed) => Ok(Some(streamed)),
        Err(Stop::Unsorted) => Ok(None),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn analyzed(
    config: &AnalysisConfig,
    args: &AnalyzeArgs,
    keep: &KeepAttributes,
    interventions: &[Intervention],
    besides: &[Outage],
) -> Result<Streamed, Stop> {
    let since = args.since.unwrap_or_default();
    let mut begins = Vec::new();
    for reader in readers(&args.baseline)? {
        reader.begins(|start, traces| begins.push((start, traces)))?;
    }
    if args.since.is_some() {
        for reader in readers(&args.inputs)? {
            reader.begins(|start, traces| {
                begins.extend((start < since).then_some((start, traces)));
            })?;
        }
    }
    let middle = middle(begins);
    let heap = |start: UnixNanos| match start < middle {
        true => Heap::Earlier,
        false => Heap::Later,
    };
    let mut offline = Offline::new(config).around(interventions);
    offline = offline.of_masked(args.masked).besides(besides);
    let (mut baseline_traces, mut window_traces) = (0, 0);
    let mut count_before = |offline: &mut Offline, mut traces: Traces| {
        baseline_traces += traces.ends.len();
        traces.each(|start, trace| offline.take_parts(heap(start), trace));
        Some(traces)
    };
    let never = UnixNanos(u64::MAX);
    let mut unreadable = pass(&args.baseline, keep, never, |_, traces| {
        count_before(&mut offline, traces)
    })?;
    let mut waiting = None;
    if args.since.is_some() {
        let mut held = Some((0, Vec::new()));
        unreadable += pass(&args.inputs, keep, since, |is_later, traces| {
            if !is_later {
                return count_before(&mut offline, traces);
            }
            let Some((count, heaps)) = &mut held else {
                return Some(traces);
            };
            *count += traces.steps.len();
            heaps.push(traces);
            if *count > MAX_WAITING {
                held = None;
            }
            None
        })?;
        waiting = held;
    }
    let until = args.until.unwrap_or(never);
    let mut count = |traces: &mut Traces| {
        traces.each(|start, trace| {
            if start < until {
                window_traces += 1;
                offline.take_parts(Heap::Window, trace);
            }
        });
    };
    if let Some((_, heaps)) = waiting {
        heaps.into_iter().for_each(|mut traces| count(&mut traces));
    } else {
        let rejected = pass(&args.inputs, keep, since, |is_later, mut traces| {
            if is_later {
                count(&mut traces);
            }
            Some(traces)
        })?;
        // What is read twice is unreadable once.
        if args.since.is_none() {
            unreadable += rejected;
        }
    }
    Ok(Streamed {
        input: offline.input(),
        masked: offline.masked(),
        outages: offline.outages(),
        baseline_traces,
        window_traces,
        unreadable,
    })
}

/// When the later half of traces begins, of which so many began then.
fn middle(mut begins: Vec<(UnixNanos, u64)>) -> UnixNanos {
    let all = begins.iter().map(|(_, traces)| traces).sum();
    let mut earlier = Offline::earlier_of(all);
    if earlier == 0 {
        return UnixNanos::default();
    }
    begins.sort_unstable();
    for (start, traces) in &begins {
        if earlier < *traces {
            return *start;
        }
        earlier -= traces;
    }
    UnixNanos::default()
}

fn readers(paths: &[PathBuf]) -> Result<Vec<AlikeReader>, StoreError> {
    let mut readers = Vec::new();
    for path in paths {
        if path.is_dir() {
            readers.append(&mut Store::at(&path.display().to_string())?.alike()?);
        } else {
            readers.push(alike_file(path)?);
        }
    }
    Ok(readers)
}

/// Traces in numbers, one after the other.
#[derive(Default)]
struct Traces {
    ends: Vec<End>,
    steps: Vec<Step>,
    /// What spans say.
    shapes: Vec<Arc<Shape>>,
    links: Vec<(SpanId, Box<[Link]>)>,
}

/// Where what belongs to a trace ends.
struct End {
    trace_id: TraceId,
    steps: usize,
    links: usize,
}

impl Traces {
    /// Forgets all, and keeps the room for others.
    fn clear(&mut self) {
        self.ends.clear();
        self.steps.clear();
        self.shapes.clear();
        self.links.clear();
    }

    /// Hands out when each began, and its parts.
    fn each(&mut self, mut each: impl FnMut(UnixNanos, OutlineParts<'_>)) {
        let mut parents = Vec::new();
        let (mut steps_from, mut links_from) = (0, 0);
        for end in &self.ends {
            let steps = &mut self.steps[steps_from..end.steps];
            let start = steps.iter().map(|step| step.start).min();
            let parts = OutlineParts {
                trace_id: end.trace_id,
                steps,
                parents: &mut parents,
                shapes: &self.shapes,
                links: &self.links[links_from..end.links],
                reason: ReleaseReason::Flush,
            };
            each(start.unwrap_or_default(), parts);
            (steps_from, links_from) = (end.steps, end.links);
        }
    }
}

/// Hands out traces that began before `since`, and those that began later, some at a time; how many spans had no
/// valid ids. Heaps that are handed back are filled again.
fn pass(
    paths: &[PathBuf],
    keep: &KeepAttributes,
    since: UnixNanos,
    mut each: impl FnMut(bool, Traces) -> Option<Traces>,
) -> Result<u64, Stop> {
    let readers = readers(paths)?;
    std::thread::scope(|scope| {
        let (to, from) = sync_channel(HEAPS_WAITING);
        let (back, emptied) = sync_channel(HEAPS_WAITING);
        let reading = scope.spawn(move || {
            let files = readers.into_iter().map(File::new).collect();
            Side {
                files,
                meanings: Meanings::default(),
                context: DecodeContext::new(keep),
                counts: ReadCounts::default(),
                since,
                trace: Vec::new(),
                heaps: Default::default(),
                filled: [1; 2],
                emptied,
            }
            .send_all(&to)
        });
        for (is_later, traces) in from {
            if let Some(mut traces) = each(is_later, traces) {
                traces.clear();
                // Who reads may have enough of them, or be done.
                let _ = back.try_send(traces);
            }
        }
        match reading.join() {
            Ok(read) => read,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What alike spans say. Its thread alone counts who holds it.
struct Kind {
    shape: Arc<Shape>,
    links: Box<[Link]>,
    parent_is_remote: Option<bool>,
    /// For both heaps: the number of the heap in whose list its shape is, and its place there.
    placed: [Cell<(u64, u32)>; 2],
}

/// A span that was read.
struct Read {
    trace_id: TraceId,
    step: Step,
    kind: Rc<Kind>,
}

/// One of the files that are read side by side.
struct File {
    reader: AlikeReader,
    /// Spans that were read and not handed out yet.
    read: VecDeque<Read>,
    is_over: bool,
}

impl File {
    fn new(reader: AlikeReader) -> Self {
        Self {
            reader,
            read: VecDeque::new(),
            is_over: false,
        }
    }
}

/// Files that are read side by side.
struct Side {
    files: Vec<File>,
    meanings: Meanings<Rc<Kind>>,
    context: DecodeContext,
    counts: ReadCounts,
    since: UnixNanos,
    /// The spans of one trace.
    trace: Vec<Read>,
    /// What is being filled: of traces that began before `since`, and later.
    heaps: [Traces; 2],
    /// Their numbers, from 1.
    filled: [u64; 2],
    /// Heaps whose room is used again.
    emptied: Receiver<Traces>,
}

impl Side {
    fn send_all(mut self, to: &SyncSender<(bool, Traces)>) -> Result<u64, Stop> {
        let mut last = None;
        for at in 0..self.files.len() {
            self.refill(at)?;
        }
        while let Some(trace_id) = self.first() {
            if last.is_some_and(|last| trace_id <= last) {
                return Err(Stop::Unsorted);
            }
            last = Some(trace_id);
            self.collect(trace_id)?;
            let is_later = self.add(trace_id);
            if self.heaps[usize::from(is_later)].ends.len() == TRACES_AT_ONCE {
                self.send(is_later, to);
            }
        }
        self.send(false, to);
        self.send(true, to);
        Ok(self.counts.rejected)
    }

    fn send(&mut self, is_later: bool, to: &SyncSender<(bool, Traces)>) {
        let heap = usize::from(is_later);
        self.filled[heap] += 1;
        // Who counts is there until the last heap.
        let next = self.emptied.try_recv().unwrap_or_default();
        let _ = to.send((is_later, std::mem::replace(&mut self.heaps[heap], next)));
    }

    /// The least trace id that is left.
    fn first(&self) -> Option<TraceId> {
        let heads = self.files.iter().filter_map(|it| it.read.front());
        heads.map(|span| span.trace_id).min()
    }

    /// Collects the spans of this trace, which is the least one.
    fn collect(&mut self, trace_id: TraceId) -> Result<(), Stop> {
        self.trace.clear();
        for at in 0..self.files.len() {
            loop {
                let file = &mut self.files[at];
                let rest = file.read.iter();
                let count = rest.take_while(|span| span.trace_id == trace_id).count();
                self.trace.extend(file.read.drain(..count));
                if !file.read.is_empty() || file.is_over {
                    break;
                }
                self.refill(at)?;
            }
        }
        let mut distinct = self.trace.windows(2);
        if !distinct.all(|pair| pair[0].step.span_id < pair[1].step.span_id) {
            // As where traces are put together in memory: the later-ending one is kept.
            self.trace
                .sort_by_key(|it| (it.step.span_id, Reverse(it.step.end)));
            self.trace.dedup_by_key(|it| it.step.span_id);
        }
        Ok(())
    }

    /// Adds the trace that was collected to its heap. Whether it began after `since`.
    fn add(&mut self, trace_id: TraceId) -> bool {
        let start = self.trace.iter().map(|it| it.step.start).min();
        let is_later = start.is_some_and(|start| start >= self.since);
        let number = usize::from(is_later);
        let (heap, filled) = (&mut self.heaps[number], self.filled[number]);
        for Read { mut step, kind, .. } in self.trace.drain(..) {
            let placed = &kind.placed[number];
            if placed.get().0 != filled {
                placed.set((filled, heap.shapes.len() as u32));
                heap.shapes.push(Arc::clone(&kind.shape));
            }
            step.shape = placed.get().1;
            if !kind.links.is_empty() {
                heap.links.push((step.span_id, kind.links.clone()));
            }
            heap.steps.push(step);
        }
        heap.ends.push(End {
            trace_id,
            steps: heap.steps.len(),
            links: heap.links.len(),
        });
        is_later
    }

    /// Reads on in a file of which all was handed out.
    fn refill(&mut self, at: usize) -> Result<(), Stop> {
        let File {
            reader,
            read,
            is_over,
        } = &mut self.files[at];
        let context = &mut self.context;
        let mut kind = |span: StoredSpan| -> Result<Rc<Kind>, Failure> {
            let decoded = spans_of(&[span], context)?.pop();
            let span =
                decoded.ok_or_else(|| anyhow::anyhow!("a stored span could not be read back"))?;
            Ok(Rc::new(Kind {
                shape: span.shape,
                links: span.links,
                parent_is_remote: span.parent_is_remote,
                placed: Default::default(),
            }))
        };
        while read.is_empty() && !*is_over {
            let more = reader.next(&mut self.meanings, &mut self.counts, &mut kind, |span| {
                read.push_back(read_of(&span));
            })?;
            *is_over = !more;
        }
        Ok(())
    }
}

fn read_of(span: &SpanOf<&Rc<Kind>>) -> Read {
    // Times are mended as the receiver does it.
    let start = match span.start.0 {
        0 => span.end,
        _ => span.start,
    };
    Read {
        trace_id: span.trace_id,
        step: Step {
            span_id: span.span_id,
            parent_id: span.parent_id,
            start,
            end: span.end.max(start),
            shape: 0,
            parent_is_remote: span.meaning.parent_is_remote,
        },
        kind: Rc::clone(span.meaning),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use rekindle_analysis::LeftOut;
    use rekindle_analysis::rank::{Method, rank};
    use rekindle_model::{InterventionKind, Life, Selector};
    use rekindle_store::read_any;

    use super::super::in_memory;
    use super::*;

    /// When the fault begins, in milliseconds.
    const SINCE: u64 = 1_700_000_000_000;

    /// A trace as a line of OTLP JSON: a shop that asks the cart, which raises with the fault, each half a second.
    fn line(n: u64, before: u64) -> String {
        // Trace ids are in no order of time.
        let id = format!(
            "{:032x}",
            u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)
        );
        let start = SINCE + n * 500 - before * 500;
        let status = if n >= before && n.is_multiple_of(3) {
            2
        } else {
            0
        };
        let mut text = String::from("{\"resourceSpans\":[");
        for (at, (service, span, parent, kind)) in
            [("shop", 1, 0, 2), ("shop", 2, 1, 3), ("cart", 3, 2, 2)]
                .into_iter()
                .enumerate()
        {
            let comma = if at > 0 { "," } else { "" };
            let parent = if parent > 0 {
                format!("{parent:016x}")
            } else {
                String::new()
            };
            let (begin, end) = (start + span, start + 40 - span + n % 7);
            write!(
                text,
                "{comma}{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"{service}\"}}}}]}},\
                 \"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{id}\",\"spanId\":\"{span:016x}\",\"parentSpanId\":\"{parent}\",\
                 \"name\":\"GET /{service}\",\"kind\":{kind},\"startTimeUnixNano\":\"{begin}000000\",\
                 \"endTimeUnixNano\":\"{end}000000\",\"status\":{{\"code\":{status}}}}}]}}]}}"
            )
            .expect("a string takes it");
        }
        text.push_str("]}");
        text
    }

    #[test]
    fn the_middle_is_that_of_all_for_which_some_stand() {
        let at = |start: u64, each: u64| (0..2_000).map(move |n| (UnixNanos(start + n), each));
        // (for how many the later ones stand; where the middle lies)
        for (each, expected) in [(1, 2_000), (3, 10_000)] {
            let middle = middle(at(0, 1).chain(at(10_000, each)).collect()).0;
            assert!(middle.abs_diff(expected) <= 1_000, "{each}: {middle}");
        }
        assert_eq!(middle(Vec::new()), UnixNanos::default());
    }

    #[test]
    fn what_is_streamed_is_ranked_as_what_is_held_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = folder.path().join("lines.jsonl");
        let (before, all) = (2_500, 3_000);
        let text: Vec<String> = (0..all).map(|n| line(n, before)).collect();
        std::fs::write(&lines, text.join("\n")).expect("written");
        let place = folder.path().join("store");
        let store = Store::at(&place.display().to_string()).expect("a store");
        let mut spans = Vec::new();
        let read = read_any::<StoreError>(&lines, |some| {
            spans.append(some);
            Ok(())
        });
        assert_eq!(read.expect("read").spans, 3 * all);
        // Two files, and traces that lie in both.
        let second = spans.split_off(4_001);
        let now = UnixNanos::from_millis(2 * SINCE);
        store.add(spans, "a", 0, now).expect("added");
        store.add(second, "b", 0, now).expect("added");
        let args = |input: &PathBuf| AnalyzeArgs {
            inputs: vec![input.clone()],
            since: Some(UnixNanos::from_millis(SINCE)),
            ..AnalyzeArgs::default()
        };
        let (config, keep) = (AnalysisConfig::default(), KeepAttributes::default());
        // Of the 500 with the fault, one each half a second, those of the first minute.
        let first = |input: &PathBuf| AnalyzeArgs {
            until: Some(UnixNanos::from_millis(SINCE + 60_000)),
            ..args(input)
        };
        let read = super::streamed(&config, &first(&place), &keep, &[]).expect("read");
        let whole = in_memory(&config, &first(&lines), &keep, &[]).expect("read");
        let read = read.expect("sorted").window_traces;
        assert_eq!((read, whole.window_traces), (120, 120));
        let done = [Intervention {
            kind: InterventionKind::Deployment,
            target: Selector(vec![("service.name".into(), "cart".into())]),
            from: UnixNanos::from_millis(SINCE),
            until: Some(UnixNanos::from_millis(SINCE + 30_000)),
            began: Life::default(),
            ended_by: None,
            reference: "rollout".into(),
        }];
        let mut streamed = streamed(&config, &args(&place), &keep, &done)
            .expect("read")
            .expect("sorted");
        let mut whole = in_memory(&config, &args(&lines), &keep, &done).expect("read");
        assert_eq!(streamed.baseline_traces, whole.baseline_traces);
        assert_eq!((streamed.window_traces, streamed.unreadable), (500, 0));
        // Which traces are examples depends on the order in which they come, and the store's is that of ids.
        let shown = |of: &mut Streamed| std::mem::take(&mut of.input.shown);
        assert_eq!(shown(&mut streamed).len(), shown(&mut whole).len());
        assert_eq!(
            format!("{:#?}", streamed.input),
            format!("{:#?}", whole.input)
        );
        // 30 s of two a second.
        assert_eq!(streamed.input.left_out.get(LeftOut::Fenced), 60);
        let ranking = rank(Method::Default, &streamed.input);
        assert_eq!(ranking.suspects[0].components[0].service.as_str(), "cart");
    }
}
