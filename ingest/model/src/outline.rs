//! A trace in numbers, for whoever has seen one like it.
//!
//! Making a whole [`Trace`] means a pointer counted up for each span, and lists of parents and children.
//! Nearly all traces go a way that others went before them, of which everything is known but ids and
//! times; for those an outline is enough. It borrows what the assembler holds, and a whole trace is made
//! of it for the few that are looked at.

use std::sync::Arc;

use crate::trace::{EmptyTrace, NONE, break_cycles, goes_down, parents_of};
use crate::{Link, ReleaseReason, Shape, Span, SpanId, Trace, TraceId, UnixNanos};

/// A span but for what it says and its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its id in the trace.
    pub span_id: SpanId,
    /// The span that caused it; `None` for a root.
    pub parent_id: Option<SpanId>,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended; not before `start`.
    pub end: UnixNanos,
    /// The place of what it says in the list of shapes.
    pub shape: u32,
    /// Whether the parent is in another process, where the exporter says.
    pub parent_is_remote: Option<bool>,
}

/// The spans of one request in numbers. At least one; sorted by start, then id.
#[derive(Clone, Copy, Debug)]
pub struct Outline<'a> {
    trace_id: TraceId,
    steps: &'a [Step],
    parents: &'a [u32],
    shapes: &'a [Arc<Shape>],
    links: &'a [(SpanId, Box<[Link]>)],
    reason: ReleaseReason,
}

/// The parts that an outline borrows.
#[derive(Debug)]
pub struct OutlineParts<'a> {
    /// The id of all of them.
    pub trace_id: TraceId,
    /// The spans, no id twice; they are put into order.
    pub steps: &'a mut [Step],
    /// Memory for the places of parents.
    pub parents: &'a mut Vec<u32>,
    /// What spans say; every step's shape is the place of one.
    pub shapes: &'a [Arc<Shape>],
    /// The links of the spans that have some.
    pub links: &'a [(SpanId, Box<[Link]>)],
    /// Why the trace was let go.
    pub reason: ReleaseReason,
}

impl<'a> Outline<'a> {
    /// Puts the spans in order and finds their parents.
    ///
    /// # Errors
    /// When there is no span.
    pub fn new(parts: OutlineParts<'a>) -> Result<Self, EmptyTrace> {
        let OutlineParts {
            trace_id,
            steps,
            parents,
            shapes,
            links,
            reason,
        } = parts;
        if steps.is_empty() {
            return Err(EmptyTrace);
        }
        if !steps.is_sorted_by_key(|step| (step.start, step.span_id)) {
            steps.sort_unstable_by_key(|step| (step.start, step.span_id));
        }
        parents_of(steps, |step| (step.span_id, step.parent_id), parents);
        if !goes_down(parents) {
            break_cycles(parents);
        }
        Ok(Self {
            trace_id,
            steps,
            parents,
            shapes,
            links,
            reason,
        })
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The spans, sorted by start.
    pub fn steps(&self) -> &'a [Step] {
        self.steps
    }

    /// The index of the span's parent, where it came.
    #[inline]
    pub fn parent(&self, index: usize) -> Option<usize> {
        let parent = self.parents[index];
        (parent != NONE).then_some(parent as usize)
    }

    /// What a step says.
    #[inline]
    pub fn shape(&self, step: &Step) -> &'a Arc<Shape> {
        &self.shapes[step.shape as usize]
    }

    /// The whole trace.
    pub fn trace(&self) -> Trace {
        let links_of = |id| {
            let found = self.links.iter().find(|(of, _)| *of == id);
            found.map_or_else(Box::default, |(_, links)| links.clone())
        };
        let span = |step: &Step| Span {
            trace_id: self.trace_id,
            span_id: step.span_id,
            parent_id: step.parent_id,
            parent_is_remote: step.parent_is_remote,
            start: step.start,
            end: step.end,
            shape: Arc::clone(self.shape(step)),
            links: links_of(step.span_id),
        };
        let spans = self.steps.iter().map(span).collect();
        Trace::of_parts(spans, self.parents.to_vec(), self.reason)
    }
}

/// Memory for the outlines of traces that are there already, one after the other.
#[derive(Debug, Default)]
pub struct OutlineBuffer {
    steps: Vec<Step>,
    parents: Vec<u32>,
    shapes: Vec<Arc<Shape>>,
    links: Vec<(SpanId, Box<[Link]>)>,
}

impl OutlineBuffer {
    /// The outline of this trace.
    pub fn of<'a>(&'a mut self, trace: &Trace) -> Outline<'a> {
        self.steps.clear();
        self.parents.clear();
        self.shapes.clear();
        self.links.clear();
        for (span, number) in trace.spans().iter().zip(0..) {
            self.steps.push(Step {
                span_id: span.span_id,
                parent_id: span.parent_id,
                start: span.start,
                end: span.end,
                shape: number,
                parent_is_remote: span.parent_is_remote,
            });
            self.shapes.push(Arc::clone(&span.shape));
            if !span.links.is_empty() {
                self.links.push((span.span_id, span.links.clone()));
            }
            let parent = trace.parent(number as usize);
            // Places are below four billion in a trace.
            self.parents.push(parent.map_or(NONE, |it| it as u32));
        }
        Outline {
            trace_id: trace.trace_id(),
            steps: &self.steps,
            parents: &self.parents,
            shapes: &self.shapes,
            links: &self.links,
            reason: trace.reason(),
        }
    }
}
