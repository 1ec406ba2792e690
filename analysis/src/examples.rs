//! Traces to look at: a few of each kind, bounded in all.
//!
//! Kept per request type, good and bad apart, newest first, so that a failed trace always finds a
//! successful one to be compared with. What a ranking has shown to somebody stays while its incident
//! is remembered: a link on a page must not be dead when it is followed.
//!
//! Under load, a kind's traces would be pushed out milliseconds after they came, and making a whole trace of
//! each would cost more than counting it. So a kind that is full takes one of a moment's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use rekindle_model::{Trace, TraceId, UnixNanos};

use crate::{Counts, LeftOut};

/// So many traces of each type and kind: enough to choose three for each of several suspects.
const PER_KIND: usize = 24;

/// So many shown traces stay per incident: those of a ranking of ten suspects.
const PINNED: usize = 60;

/// A kind that is full takes another trace when its newest began so long before: then its traces are
/// those of a second at least, and what nobody will look at isn't kept.
const SPACING: Duration = Duration::from_millis(50);

/// Traces of one request type that ended alike.
#[derive(Debug, Default)]
struct Kind {
    /// Oldest first.
    traces: VecDeque<TraceId>,
    /// When the last one that was taken began.
    newest: UnixNanos,
}

#[derive(Debug)]
pub(crate) struct ExampleStore {
    traces: BTreeMap<TraceId, Trace>,
    /// Per request type and whether bad.
    kinds: BTreeMap<(u32, bool), Kind>,
    /// Per incident: the traces that its rankings showed, the last shown at the end.
    pinned: BTreeMap<u64, VecDeque<TraceId>>,
    spans: usize,
    max_spans: usize,
}

impl ExampleStore {
    pub(crate) fn new(max_spans: usize) -> Self {
        Self {
            traces: BTreeMap::new(),
            kinds: BTreeMap::new(),
            pinned: BTreeMap::new(),
            spans: 0,
            max_spans,
        }
    }

    /// Whether a trace that began then is worth adding.
    #[inline]
    pub(crate) fn wants(&self, start: UnixNanos, request_type: u32, bad: bool) -> bool {
        self.kinds.get(&(request_type, bad)).is_none_or(|kind| {
            let apart = start.since(kind.newest).max(kind.newest.since(start));
            kind.traces.len() < PER_KIND || apart >= SPACING
        })
    }

    pub(crate) fn add(&mut self, trace: Trace, request_type: u32, bad: bool, counts: &mut Counts) {
        let size = trace.spans().len();
        if self.traces.contains_key(&trace.trace_id()) {
            return;
        }
        if size > self.max_spans {
            counts.add(LeftOut::ExampleOverflow);
            return;
        }
        let kind = (request_type, bad);
        let full = self
            .kinds
            .get(&kind)
            .is_some_and(|k| k.traces.len() >= PER_KIND);
        if full && !self.drop_oldest(kind) {
            return;
        }
        while self.spans + size > self.max_spans {
            counts.add(LeftOut::ExampleOverflow);
            // The kind with most traces has most to give; where many kinds share the room, this is asked for each
            // request, and the first one nearly always gives.
            let kinds = self.kinds.iter();
            let mut kinds: BinaryHeap<_> =
                kinds.map(|(k, v)| (v.traces.len(), Reverse(*k))).collect();
            let mut largest = std::iter::from_fn(|| kinds.pop());
            if !largest.any(|(_, Reverse(kind))| self.drop_oldest(kind)) {
                return;
            }
        }
        self.spans += size;
        let of_kind = self.kinds.entry(kind).or_default();
        of_kind.traces.push_back(trace.trace_id());
        of_kind.newest = trace.spans()[0].start;
        self.traces.insert(trace.trace_id(), trace);
    }

    /// Somebody outside corrected how this one ended.
    pub(crate) fn correct(&mut self, trace_id: TraceId, request_type: u32, bad: bool) {
        let Some(Kind { traces, .. }) = self.kinds.get_mut(&(request_type, !bad)) else {
            return;
        };
        if let Some(at) = traces.iter().position(|id| *id == trace_id) {
            traces.remove(at);
            let other = self.kinds.entry((request_type, bad)).or_default();
            other.traces.push_back(trace_id);
            if other.traces.len() > PER_KIND {
                self.drop_oldest((request_type, bad));
            }
        }
    }

    /// Keeps what a ranking of the incident shows, as far as it is here.
    pub(crate) fn pin(&mut self, incident: u64, shown: impl Iterator<Item = TraceId>) {
        let pinned = self.pinned.entry(incident).or_default();
        for trace_id in shown.filter(|id| self.traces.contains_key(id)) {
            pinned.retain(|known| *known != trace_id);
            pinned.push_back(trace_id);
        }
        let surplus = pinned.len().saturating_sub(PINNED);
        pinned.drain(..surplus);
    }

    /// Lets go of what was kept for incidents that are forgotten.
    pub(crate) fn unpin(&mut self, remembered: &BTreeSet<u64>) {
        self.pinned
            .retain(|incident, _| remembered.contains(incident));
    }

    /// Drops the oldest of a kind that no ranking shows. Whether there was one.
    fn drop_oldest(&mut self, kind: (u32, bool)) -> bool {
        let Some(Kind { traces, .. }) = self.kinds.get_mut(&kind) else {
            return false;
        };
        let is_pinned = |id: &TraceId| self.pinned.values().any(|pinned| pinned.contains(id));
        let Some(at) = traces.iter().position(|id| !is_pinned(id)) else {
            return false;
        };
        if let Some(oldest) = traces.remove(at)
            && let Some(trace) = self.traces.remove(&oldest)
        {
            self.spans -= trace.spans().len();
        }
        if traces.is_empty() {
            self.kinds.remove(&kind);
        }
        true
    }

    pub(crate) fn get(&self, trace_id: TraceId) -> Option<&Trace> {
        self.traces.get(&trace_id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = TraceId> + '_ {
        self.traces.keys().copied()
    }
}
