//! The spans of one request, put together as far as they came.
//!
//! Real traces miss spans (killed processes), repeat them (exporters deliver at least once) and
//! bring children before parents. A [`Trace`] takes any such heap: duplicates are dropped, spans
//! without their parent are kept as orphans, and nobody after it has to check again.
//!
//! It is made for every request, and most have a dozen spans; so up to [`FEW`] of them, ids are looked
//! for from one end to the other, which costs less than any table.

use serde::{Deserialize, Serialize};

use crate::{Span, SpanId, TraceId, UnixNanos};

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

/// Up to so many spans, comparing each with each costs less than sorting or hashing their ids.
const FEW: usize = 32;

/// No parent among the spans.
pub(crate) const NONE: u32 = u32::MAX;

/// The spans of one request. At least one; no span id twice; sorted by start, then id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    spans: Vec<Span>,
    /// The index of each span's parent in `spans`; [`NONE`] for roots and orphans.
    parents: Vec<u32>,
    /// The indexes of all children, those of one parent together and in order of start.
    children: Vec<usize>,
    /// Where in `children` each span's begin; those of the next span begin where they end.
    children_from: Vec<u32>,
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
        // More than four billion spans would not fit into any memory.
        spans.truncate(NONE as usize);
        if has_duplicates(&spans) {
            spans.sort_by(|a, b| a.span_id.cmp(&b.span_id).then_with(|| b.end.cmp(&a.end)));
            spans.dedup_by_key(|span| span.span_id);
        }
        if !spans.is_sorted_by_key(in_order) {
            spans.sort_unstable_by_key(in_order);
        }
        let mut parents = Vec::new();
        parents_of(&spans, |span| (span.span_id, span.parent_id), &mut parents);
        if !goes_down(&parents) {
            break_cycles(&mut parents);
        }
        Ok(Self::of_parts(spans, parents, reason))
    }

    /// The trace of these spans, which are in order, distinct and at least one, with these parents.
    pub(crate) fn of_parts(spans: Vec<Span>, parents: Vec<u32>, reason: ReleaseReason) -> Self {
        let (children_from, children) = children(&parents);
        Self {
            spans,
            parents,
            children,
            children_from,
            reason,
        }
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
        let parent = self.parents[index];
        (parent != NONE).then_some(parent as usize)
    }

    /// The indexes of the span's children, in order of start.
    pub fn children(&self, index: usize) -> &[usize] {
        let from = self.children_from[index] as usize;
        let to = match self.children_from.get(index + 1) {
            Some(to) => *to as usize,
            None => self.children.len(),
        };
        &self.children[from..to]
    }

    /// The root: the first span that names no parent. `None` when it didn't come.
    pub fn root(&self) -> Option<usize> {
        self.spans.iter().position(|span| span.parent_id.is_none())
    }

    /// Spans that name a parent which didn't come.
    pub fn orphans(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.spans.len())
            .filter(|index| self.spans[*index].parent_id.is_some() && self.parents[*index] == NONE)
    }

    /// Why it was let go.
    pub fn reason(&self) -> ReleaseReason {
        self.reason
    }
}

fn in_order(span: &Span) -> (UnixNanos, SpanId) {
    (span.start, span.span_id)
}

fn has_duplicates(spans: &[Span]) -> bool {
    if spans.len() <= FEW {
        let mut ids = [0u64; FEW];
        return spans.iter().enumerate().any(|(index, span)| {
            ids[index] = span.span_id.get();
            ids[..index].contains(&ids[index])
        });
    }
    let mut ids: Vec<SpanId> = spans.iter().map(|span| span.span_id).collect();
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}

/// The index of each span's parent among the spans, whose ids are distinct: into `parents`.
pub(crate) fn parents_of<S>(
    spans: &[S],
    ids_of: impl Fn(&S) -> (SpanId, Option<SpanId>),
    parents: &mut Vec<u32>,
) {
    parents.clear();
    if spans.len() <= FEW {
        let mut ids = [0u64; FEW];
        for (id, span) in ids.iter_mut().zip(spans) {
            *id = ids_of(span).0.get();
        }
        let find = |(index, span): (usize, &S)| {
            let wanted = ids_of(span).1?.get();
            let found = ids[..spans.len()].iter().position(|id| *id == wanted)?;
            (found != index).then_some(found as u32)
        };
        let found = spans.iter().enumerate();
        parents.extend(found.map(|it| find(it).unwrap_or(NONE)));
        return;
    }
    let numbered = spans.iter().zip(0..);
    let mut ids: Vec<(SpanId, u32)> = numbered.map(|(span, at)| (ids_of(span).0, at)).collect();
    ids.sort_unstable();
    let find = |(span, index): (&S, u32)| {
        let parent = ids_of(span).1?;
        let at = ids.binary_search_by_key(&parent, |(id, _)| *id);
        let found = ids[at.ok()?].1;
        (found != index).then_some(found)
    };
    let found = spans.iter().zip(0..);
    parents.extend(found.map(|it| find(it).unwrap_or(NONE)));
}

/// Whether every parent comes before its children, as nearly always: then there is no ring.
pub(crate) fn goes_down(parents: &[u32]) -> bool {
    let downwards = |(child, parent): (usize, &u32)| *parent == NONE || (*parent as usize) < child;
    parents.iter().enumerate().all(downwards)
}

/// Where each span's children begin in the list of all children, and that list.
fn children(parents: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let mut from = vec![0u32; parents.len()];
    let mut all = 0;
    for parent in parents.iter().filter(|parent| **parent != NONE) {
        from[*parent as usize] += 1;
        all += 1;
    }
    let mut next = 0;
    for place in &mut from {
        next += std::mem::replace(place, next);
    }
    // Each span's place moves on with each child, and in the end is where the next one's was.
    let mut children = vec![0usize; all];
    for (child, parent) in parents.iter().enumerate() {
        if *parent != NONE {
            let place = &mut from[*parent as usize];
            children[*place as usize] = child;
            *place += 1;
        }
    }
    from.rotate_right(1);
    if let Some(first) = from.first_mut() {
        *first = 0;
    }
    (from, children)
}

/// Cuts each ring of parents at one place: ids come from outside, so a ring can be sent, and a
/// walk to the root must end all the same.
pub(crate) fn break_cycles(parents: &mut [u32]) {
    // 0: not seen, otherwise the number of the walk that saw it first.
    let mut seen_in = vec![0usize; parents.len()];
    for start in 0..parents.len() {
        let walk = start + 1;
        let mut at = start;
        while seen_in[at] == 0 {
            seen_in[at] = walk;
            match parents[at] {
                NONE => break,
                parent if seen_in[parent as usize] == walk => parents[at] = NONE,
                parent => at = parent as usize,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Shape;
    use proptest::prelude::*;

    fn span(id: u8, parent: u8, start: u64) -> Span {
        Span {
            trace_id: TraceId::from_bytes([1; 16]).expect("not zero"),
            span_id: SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, id]).expect("not zero"),
            parent_id: (parent != 0)
                .then(|| SpanId::from_bytes([0, 0, 0, 0, 0, 0, 1, parent]).expect("not zero")),
            parent_is_remote: None,
            start: UnixNanos(start),
            end: UnixNanos(start + 1),
            shape: Arc::new(Shape::default()),
            links: Box::default(),
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
            heap in prop::collection::vec((1u8..60, 0u8..60, 0u64..9), 1..80),
            turn in 0usize..80,
        ) {
            let spans: Vec<Span> = heap.iter().map(|(id, parent, start)| span(*id, *parent, *start)).collect();
            let trace = Trace::new(spans.clone(), ReleaseReason::Flush).expect("not empty");
            for index in 0..trace.spans().len() {
                let mut at = index;
                for _ in 0..=trace.spans().len() {
                    match trace.parent(at) { Some(parent) => at = parent, None => break }
                }
                prop_assert!(trace.parent(at).is_none());
                for child in trace.children(index) {
                    prop_assert_eq!(trace.parent(*child), Some(index));
                    prop_assert_eq!(trace.spans()[*child].parent_id, Some(trace.spans()[index].span_id));
                }
            }
            let with_parent = (0..trace.spans().len()).filter(|it| trace.parent(*it).is_some()).count();
            let children: usize = (0..trace.spans().len()).map(|it| trace.children(it).len()).sum();
            prop_assert_eq!(with_parent, children);
            let mut distinct: Vec<u8> = heap.iter().map(|(id, ..)| *id).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(trace.spans().len(), distinct.len());
            prop_assert_eq!(&crate::OutlineBuffer::default().of(&trace).trace(), &trace);
            // Spans that differ under one id and end together are a lie nobody can settle.
            if distinct.len() == heap.len() {
                let mut turned = spans;
                turned.rotate_left(turn % heap.len());
                prop_assert_eq!(Trace::new(turned, ReleaseReason::Flush).expect("not empty"), trace);
            }
        }
    }
}
