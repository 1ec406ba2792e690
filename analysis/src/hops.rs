//! Where in a trace does one component's work end and another's begin?
//!
//! A *visit* is the connected work of one component for one request: the spans that hang together
//! in one process and one code component. Two server spans on the way in (a gateway's route and its
//! handler) are one visit; so are two client spans on the way out (the framework's and the HTTP
//! library's): what matters is where work leaves the visit.
//!
//! A visit's own time is its entry span less the union of its calls. The gap between a call's client
//! span and the server span below it is charged to the callee: on labelled data, who owns that gap
//! decides more than anything else. Only durations cross processes, never times, so clocks needn't
//! agree.

use std::sync::Arc;

use rekindle_model::{Name, Span, SpanKind, Trace};

use crate::address::same_process;
use crate::profile::Spent;

/// One component's work for one request.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The index of its topmost span.
    pub(crate) entry: usize,
    /// The code component, where the spans say one.
    pub(crate) code_component: Option<Name>,
    /// How many visits lie between it and the user.
    pub(crate) depth: u8,
    /// Nanoseconds that it worked, or waited for nobody in particular.
    pub(crate) own_nanos: u64,
    /// The visit that called it from another process, with the nanoseconds of the way there and
    /// back (part of `own_nanos`), and of the way there alone.
    pub(crate) way: Option<(usize, u64, u64)>,
    /// Which spans' times those are made of.
    pub(crate) timing: Timing,
}

/// Which spans of a trace say how long a visit took. Requests that go the same way have the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timing {
    /// The index of the visit's entry, or of the one span that it is.
    pub(crate) entry: u32,
    /// The index of the client span above the entry.
    pub(crate) call: Option<u32>,
    /// The indexes of the spans through which work left it, in order of their start.
    pub(crate) ways_out: Box<[u32]>,
}

impl Timing {
    /// How long it took in this trace.
    pub(crate) fn measure(&self, spans: &[Span]) -> Spent {
        let times = |index: u32| {
            let span = &spans[index as usize];
            (span.start.0, span.end.0)
        };
        measure(self.entry, self.call, &self.ways_out, times)
    }
}

/// How long a visit took: its entry, the client span above that, and the spans through which work
/// left it, in order of their start, all by when they began and ended.
#[inline]
pub(crate) fn measure(
    entry: u32,
    call: Option<u32>,
    ways_out: &[u32],
    times: impl Fn(u32) -> (u64, u64),
) -> Spent {
    let (start, end) = times(entry);
    let mut total = end.saturating_sub(start);
    let (mut gap, mut there) = (0, 0);
    if let Some(call) = call {
        let (call_start, call_end) = times(call);
        let call = call_end.saturating_sub(call_start);
        gap = call.saturating_sub(total);
        there = start.saturating_sub(call_start).min(gap);
        total = total.max(call);
    }
    let ways = ways_out.iter().map(|way| times(*way));
    let away = union_length(ways, start, end);
    Spent {
        own: total.saturating_sub(away),
        gap,
        there,
    }
}

/// A trace cut into visits.
#[derive(Debug)]
pub(crate) struct Hops {
    pub(crate) visits: Vec<Visit>,
    /// The visit of each span; `None` for spans above the entry, which are the user's own.
    pub(crate) visit_of: Vec<Option<usize>>,
    /// All spans, parents before children, as far as they belong to a visit.
    pub(crate) order: Vec<usize>,
    /// Whether the span's work reached another visit.
    pub(crate) answered: Vec<bool>,
    /// Whether a client span of the same visit lies below it.
    pub(crate) wraps_call: Vec<bool>,
}

/// Whether the span says of itself that it asks somebody else: a client or producer, or an
/// internal span that names its peer (a call between components of one process).
pub(crate) fn is_call(span: &Span) -> bool {
    match span.kind {
        SpanKind::Client | SpanKind::Producer => true,
        SpanKind::Internal => span.facts.peer_service.is_some(),
        SpanKind::Server | SpanKind::Consumer => false,
    }
}

/// The code component that the span itself names. Client spans may carry the caller's code
/// location, which opens no new visit.
fn own_component(span: &Span) -> Option<&Name> {
    match span.kind {
        SpanKind::Internal | SpanKind::Server | SpanKind::Consumer => {
            span.facts.code_component.as_ref()
        }
        SpanKind::Client | SpanKind::Producer => None,
    }
}

impl Hops {
    /// Cuts the trace of a request with this entry span.
    pub(crate) fn of(trace: &Trace, entry: usize) -> Self {
        let spans = trace.spans();
        let mut above = vec![false; spans.len()];
        let mut at = trace.parent(entry);
        while let Some(index) = at {
            above[index] = true;
            at = trace.parent(index);
        }
        let order = parents_first(trace, &above);
        let mut hops = Self {
            visits: Vec::new(),
            visit_of: vec![None; spans.len()],
            order,
            answered: vec![false; spans.len()],
            wraps_call: vec![false; spans.len()],
        };
        for position in 0..hops.order.len() {
            let index = hops.order[position];
            hops.place(trace, entry, index);
        }
        for position in (0..hops.order.len()).rev() {
            let index = hops.order[position];
            for child in trace.children(index) {
                if hops.visit_of[*child] != hops.visit_of[index] {
                    hops.answered[index] = true;
                } else {
                    hops.answered[index] |= hops.answered[*child];
                    hops.wraps_call[index] |= hops.wraps_call[*child] || is_call(&spans[*child]);
                }
            }
        }
        hops.measure(trace);
        hops
    }

    fn place(&mut self, trace: &Trace, entry: usize, index: usize) {
        let span = &trace.spans()[index];
        let parent_visit = trace.parent(index).and_then(|parent| self.visit_of[parent]);
        let component = own_component(span).cloned();
        if let (Some(parent), Some(visit)) = (trace.parent(index), parent_visit)
            && same_process(&trace.spans()[parent].resource, &span.resource)
        {
            let inherited = &self.visits[visit].code_component;
            if component.is_none() || component == *inherited {
                self.visit_of[index] = Some(visit);
                return;
            }
        }
        let depth = match parent_visit {
            Some(visit) => self.visits[visit].depth.saturating_add(1),
            None => u8::from(index != entry),
        };
        self.visit_of[index] = Some(self.visits.len());
        self.visits.push(Visit {
            entry: index,
            code_component: component,
            depth,
            own_nanos: 0,
            way: None,
            timing: Timing::default(),
        });
    }

    /// The spans through which work left each visit: the topmost client spans, and the entries of
    /// other visits that no client span leads to.
    fn measure(&mut self, trace: &Trace) {
        let spans = trace.spans();
        let mut ways_out: Vec<Vec<u32>> = vec![Vec::new(); self.visits.len()];
        for index in &self.order {
            let (Some(visit), Some(parent)) = (self.visit_of[*index], trace.parent(*index)) else {
                continue;
            };
            let Some(from) = self.visit_of[parent] else {
                continue;
            };
            let leaves = if from == visit {
                spans[*index].kind == SpanKind::Client
            } else {
                spans[parent].kind != SpanKind::Client
            };
            if leaves {
                // A trace has fewer than four billion spans.
                ways_out[from].push(*index as u32);
            }
        }
        for (visit, mut ways) in self.visits.iter_mut().zip(ways_out) {
            // Spans lie in order of their start.
            ways.sort_unstable();
            let caller = trace.parent(visit.entry).and_then(|parent| {
                let caller = self.visit_of[parent]?;
                (spans[parent].kind == SpanKind::Client).then_some((parent, caller))
            });
            visit.timing = Timing {
                entry: visit.entry as u32,
                call: caller.map(|(call, _)| call as u32),
                ways_out: ways.into(),
            };
            let spent = visit.timing.measure(spans);
            visit.way = caller.map(|(_, caller)| (caller, spent.gap, spent.there));
            visit.own_nanos = spent.own;
        }
    }

    /// The entry of the visit that this span's call reached: the first one.
    pub(crate) fn answer_of(&self, trace: &Trace, index: usize) -> Option<usize> {
        first_below(trace, index, |child| {
            self.visit_of[child] != self.visit_of[index]
        })
    }

    /// The topmost span of whoever answered this span's call: the same, but for a process that asks itself as it asks
    /// others. Whom it asks in turn doesn't live where it does.
    pub(crate) fn answered_by(&self, trace: &Trace, index: usize) -> Option<usize> {
        let is_way_in = |span: &Span| matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
        first_below(trace, index, |child| {
            self.visit_of[child] != self.visit_of[index] || is_way_in(&trace.spans()[child])
        })
    }

    /// Whether the span is the topmost one of its visit.
    pub(crate) fn is_visit_entry(&self, index: usize) -> bool {
        self.visit_of[index].is_some_and(|visit| self.visits[visit].entry == index)
    }
}

/// The first span below this one, parents before children, that is one of those.
fn first_below(trace: &Trace, index: usize, is_it: impl Fn(usize) -> bool) -> Option<usize> {
    let mut below: Vec<usize> = trace.children(index).iter().rev().copied().collect();
    while let Some(child) = below.pop() {
        if is_it(child) {
            return Some(child);
        }
        below.extend(trace.children(child).iter().rev());
    }
    None
}

/// How long the span took, in nanoseconds.
pub(crate) fn nanos(span: &Span) -> u64 {
    span.end.0.saturating_sub(span.start.0)
}

/// Whether both spans are of one process.
pub(crate) fn together(a: &Span, b: &Span) -> bool {
    Arc::ptr_eq(&a.resource, &b.resource) || same_process(&a.resource, &b.resource)
}

fn parents_first(trace: &Trace, above: &[bool]) -> Vec<usize> {
    let mut order = Vec::with_capacity(above.len());
    let mut stack: Vec<usize> = (0..above.len())
        .rev()
        .filter(|index| trace.parent(*index).is_none())
        .collect();
    while let Some(index) = stack.pop() {
        if !above[index] {
            order.push(index);
        }
        stack.extend(trace.children(index).iter().rev());
    }
    order
}

/// The length of the union of intervals, which come in order of their start, clipped to
/// `[from, until]`.
fn union_length(intervals: impl Iterator<Item = (u64, u64)>, from: u64, until: u64) -> u64 {
    let (mut covered, mut reached) = (0, from);
    for (start, end) in intervals {
        let start = start.max(reached);
        let end = end.min(until);
        if end > start {
            covered += end - start;
            reached = end;
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};

    #[test]
    fn nested_spans_of_one_kind_are_one_hop() {
        let trace = T::default().build(
            Call::server("gateway", "route").takes(4).with(
                Call::client("framework").takes(0).with(
                    Call::client("http")
                        .takes(2)
                        .with(Call::server("shop", "GET /").takes(10)),
                ),
            ),
        );
        let hops = Hops::of(&trace, 0);
        let own: Vec<u64> = hops
            .visits
            .iter()
            .map(|v| v.own_nanos / 1_000_000)
            .collect();
        // The client spans' 2 ms are the callee's.
        assert_eq!(own, [4, 12]);
        assert_eq!(hops.visits[1].depth, 1);
    }

    #[test]
    fn a_process_that_asks_itself_answers_itself() {
        let cart = Call::client("GET").with(Call::server("cart", "GET /"));
        let itself = Call::client("GET").with(Call::server("shop", "GET /part").with(cart));
        let trace = T::default().build(Call::server("shop", "GET /").with(itself));
        let hops = Hops::of(&trace, 0);
        let names = |index: Option<usize>| index.map(|it| trace.spans()[it].name.to_string());
        let answers = [1, 3].map(|call| names(hops.answered_by(&trace, call)));
        assert_eq!(
            answers,
            ["GET /part", "GET /"].map(|it| Some(it.to_owned()))
        );
        assert_eq!(hops.answer_of(&trace, 1), Some(4), "it is one visit");
    }

    #[test]
    fn components_of_one_process_are_visits_of_their_own() {
        let trace = T::default().build(
            Call::server("shop", "GET /").with(
                Call::component("shop.cart")
                    .takes(5)
                    .with(Call::component("shop.price").takes(7)),
            ),
        );
        let hops = Hops::of(&trace, 0);
        let own: Vec<u64> = hops
            .visits
            .iter()
            .map(|v| v.own_nanos / 1_000_000)
            .collect();
        assert_eq!(own, [1, 5, 7]);
    }

    #[test]
    fn calls_side_by_side_are_counted_once() {
        let ways = [(0, 5), (10, 20), (15, 30), (90, 200)];
        assert_eq!(union_length(ways.into_iter(), 2, 100), 3 + 20 + 10);
    }
}
