//! Traces to look at: a few of each kind, bounded in all.
//!
//! Kept per request type, good and bad apart, newest first, so that a failed trace always finds a
//! successful one to be compared with.

use std::collections::{BTreeMap, VecDeque};

use rekindle_model::{Trace, TraceId};

use crate::{Counts, LeftOut};

/// So many traces of each type and kind: enough to choose three for each of several suspects.
const PER_KIND: usize = 24;

#[derive(Debug)]
pub(crate) struct ExampleStore {
    traces: BTreeMap<TraceId, Trace>,
    /// Per request type and whether bad: the traces, oldest first.
    kinds: BTreeMap<(u32, bool), VecDeque<TraceId>>,
    spans: usize,
    max_spans: usize,
}

impl ExampleStore {
    pub(crate) fn new(max_spans: usize) -> Self {
        Self {
            traces: BTreeMap::new(),
            kinds: BTreeMap::new(),
            spans: 0,
            max_spans,
        }
    }

    pub(crate) fn add(&mut self, trace: &Trace, request_type: u32, bad: bool, counts: &mut Counts) {
        let size = trace.spans().len();
        if self.traces.contains_key(&trace.trace_id()) {
            return;
        }
        if size > self.max_spans {
            counts.add(LeftOut::ExampleOverflow);
            return;
        }
        let kind = (request_type, bad);
        if self.kinds.get(&kind).is_some_and(|k| k.len() >= PER_KIND) {
            self.drop_oldest(kind);
        }
        while self.spans + size > self.max_spans {
            // The kind with most traces has most to give.
            let Some(fullest) = self
                .kinds
                .iter()
                .max_by_key(|(kind, traces)| (traces.len(), std::cmp::Reverse(**kind)))
                .map(|(kind, _)| *kind)
            else {
                break;
            };
            self.drop_oldest(fullest);
            counts.add(LeftOut::ExampleOverflow);
        }
        self.spans += size;
        self.kinds
            .entry(kind)
            .or_default()
            .push_back(trace.trace_id());
        self.traces.insert(trace.trace_id(), trace.clone());
    }

    /// Somebody outside corrected how this one ended.
    pub(crate) fn correct(&mut self, trace_id: TraceId, request_type: u32, bad: bool) {
        let Some(traces) = self.kinds.get_mut(&(request_type, !bad)) else {
            return;
        };
        if let Some(at) = traces.iter().position(|id| *id == trace_id) {
            traces.remove(at);
            self.kinds
                .entry((request_type, bad))
                .or_default()
                .push_back(trace_id);
            if self.kinds[&(request_type, bad)].len() > PER_KIND {
                self.drop_oldest((request_type, bad));
            }
        }
    }

    fn drop_oldest(&mut self, kind: (u32, bool)) {
        let Some(traces) = self.kinds.get_mut(&kind) else {
            return;
        };
        if let Some(oldest) = traces.pop_front()
            && let Some(trace) = self.traces.remove(&oldest)
        {
            self.spans -= trace.spans().len();
        }
        if traces.is_empty() {
            self.kinds.remove(&kind);
        }
    }

    pub(crate) fn get(&self, trace_id: TraceId) -> Option<&Trace> {
        self.traces.get(&trace_id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = TraceId> + '_ {
        self.traces.keys().copied()
    }
}
