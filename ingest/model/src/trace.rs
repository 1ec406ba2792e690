//! The spans of one request, put together as far as they came.
//!
//! Real traces miss spans (killed processes), repeat them (exporters deliver at least once) and
//! bring children before parents. A [`Trace`] takes any such heap: duplicates are dropped, spans
//! without their parent are kept as orphans, and nobody after it has to check again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{Span, SpanId, TraceId};

/// Why the assembler let a trace go; each reason is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// Its root came, and nothing more for the time that exporters need.
    RootQuiet,
    /// No root came, and nothing more for the longest time that an exporter may take.
    Idle,
    /// It has as many spans as a trace may have.
    SpanLimit,
    /// The memory for traces in flight was used up, and it was the oldest.
    Memory,
    /// The engine stops, or has read all of an input.
    Flush,
}

/// The spans of one request. At least one; no span id twice; sorted by start, then id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    spans: Vec<Span>,
    /// The index of each span's parent in `spans`; `None` for roots and orphans.
    parents: Vec<Option<usize>>,
    /// The indexes of each span's children, in order of start.
    children: Vec<Vec<usize>>,
    reason: ReleaseReason,
}

/// No spans, hence no trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trace needs at least one span")]
pub struct EmptyTrace;

impl Trace {
    /// Puts the spans of one trace together. Spans of other traces than the first one's are a
    /// caller's mistake and are dropped; of two spans with one id the later-ending is kept, which
    /// makes the result independent of the order of arrival.
    ///
    /// # Errors
    /// When there is no span.
    pub fn new(mut spans: Vec<Span>, reason: ReleaseReason) -> Result<Self, EmptyTrace> {
        let trace_id = spans.first().ok_or(EmptyTrace)?.trace_id;
        spans.retain(|span| span.trace_id == trace_id);
        spans.sort_by(|a, b| a.span_id.cmp(&b.span_id).then_with(|| b.end.cmp(&a.end)));
        spans.dedup_by_key(|span| span.span_id);
        spans.sort_by_key(|span| (span.start, span.span_id));

        let at: HashMap<SpanId, usize> = spans
            .iter()
            .enumerate()
            .map(|(index, span)| (span.span_id, index))
            .collect();
        let mut parents: Vec<Option<usize>> = spans
            .iter()
            .enumerate()
            .map(|(index, span)| {
                span.parent_id
                    .and_then(|id| at.get(&id).copied())
                    .filter(|parent| *parent != index)
            })
            .collect();
        break_cycles(&mut parents);
        let mut children = vec![Vec::new(); spans.len()];
        for (index, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(index);
            }
        }
        Ok(Self {
            spans,
            parents,
            children,
            reason,
        })
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.spans[0].trace_id
    }

    /// The spans, sorted by start.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The index of the span's parent, where it came.
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.parents[index]
    }

    /// The indexes of the span's children, in order of start.
    pub fn children(&self, index: usize) -> &[usize] {
        &self.children[index]
    }

    /// The root: the first span that names no parent. `None` when it didn't come.
    pub fn root(&self) -> Option<usize> {
        self.spans.iter().position(|span| span.parent_id.is_none())
    }

    /// Spans that name a parent which didn't come.
    pub fn orphans(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.spans.len()).filter(|index| {
            self.spans[*index].parent_id.is_some() && self.parents[*index].is_none()
        })
    }

    /// Why it was let go.
    pub fn reason(&self) -> ReleaseReason {
        self.reason
    }
}

/// Cuts each ring of parents at one place: ids come from outside, so a ring can be sent, and a
/// walk to the root must end all the same.
fn break_cycles(parents: &mut [Option<usize>]) {
    // 0: not seen, otherwise the number of the walk that saw it first.
    let mut seen_in = vec![0usize; parents.len()];
    for start in 0..parents.len() {
        let walk = start + 1;
        let mut at = start;
        while seen_in[at] == 0 {
            seen_in[at] = walk;
            match parents[at] {
                Some(parent) if seen_in[parent] == walk => parents[at] = None,
                Some(parent) => at = parent,
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Facts, Resource, SpanKind, Status, UnixNanos};
    use proptest::prelude::*;

    fn span(id: u8, parent: u8, start: u64) -> Span {
        Span {
            trace_id: TraceId::from_bytes([1; 16]).expect("not zero"),
            span_id: SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, id]).expect("not zero"),
            parent_id: (parent != 0)
                .then(|| SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, parent]).expect("not zero")),
            parent_is_remote: None,
            kind: SpanKind::Internal,
            name: "work".into(),
            scope: None,
            start: UnixNanos(start),
            end: UnixNanos(start + 1),
            status: Status::Unset,
            status_message: None,
            resource: Arc::new(Resource {
                service: "shop".into(),
                instance: None,
                version: None,
                host: None,
                attributes: Vec::new(),
            }),
            facts: Facts::default(),
            attributes: Vec::new(),
            links: Vec::new(),
        }
    }

    #[test]
    fn children_may_come_first_and_twice() {
        let trace = Trace::new(
            vec![
                span(3, 2, 30),
                span(2, 1, 20),
                span(3, 2, 30),
                span(1, 0, 10),
                span(9, 8, 40),
            ],
            ReleaseReason::RootQuiet,
        )
        .expect("a trace");
        assert_eq!(trace.spans().len(), 4);
        assert_eq!(trace.root(), Some(0));
        assert_eq!(trace.children(0), [1]);
        assert_eq!(trace.parent(2), Some(1));
        assert_eq!(trace.orphans().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn no_span_no_trace() {
        assert_eq!(
            Trace::new(Vec::new(), ReleaseReason::Flush),
            Err(EmptyTrace)
        );
    }

    proptest! {
        /// Whatever parents are claimed, rings and self-parents included, every walk up ends, and
        /// the order of arrival makes no difference.
        #[test]
        fn any_heap_of_spans_is_a_forest(
            heap in prop::collection::vec((1u8..20, 0u8..20, 0u64..9), 1..60),
            turn in 0usize..60,
        ) {
            let spans: Vec<Span> = heap.iter().map(|(id, parent, start)| span(*id, *parent, *start)).collect();
            let trace = Trace::new(spans.clone(), ReleaseReason::Flush).expect("not empty");
            for index in 0..trace.spans().len() {
                let mut at = index;
                for _ in 0..=trace.spans().len() {
                    match trace.parent(at) { Some(parent) => at = parent, None => break }
                }
                prop_assert!(trace.parent(at).is_none());
            }
            let mut distinct: Vec<u8> = heap.iter().map(|(id, ..)| *id).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(trace.spans().len(), distinct.len());
            // Spans that differ under one id and end together are a lie nobody can settle.
            if distinct.len() == heap.len() {
                let mut turned = spans;
                turned.rotate_left(turn % heap.len());
                prop_assert_eq!(Trace::new(turned, ReleaseReason::Flush).expect("not empty"), trace);
            }
        }
    }
}
