//! The spans of one trace so far.

use hashbrown::HashSet;
use rekindle_model::{Span, SpanId, UnixNanos};

/// Up to so many spans, looking through them is cheaper than keeping a set of their ids; most
/// traces have fewer.
const SEARCHED: usize = 24;

/// What came of one trace that is still open.
pub(super) struct Buffer {
    spans: Vec<Span>,
    /// The ids of `spans`, once they are more than [`SEARCHED`].
    ids: HashSet<SpanId>,
    /// The order in which traces began, which breaks ties between deadlines.
    pub(super) number: u64,
    /// When the root came.
    pub(super) root_at: Option<UnixNanos>,
    /// When the last span came.
    pub(super) last_at: UnixNanos,
    /// The deadline under which it is queued; an entry under another one is out of date.
    pub(super) queued: UnixNanos,
}

impl Buffer {
    pub(super) fn new(number: u64, now: UnixNanos) -> Self {
        Self {
            spans: Vec::new(),
            ids: HashSet::new(),
            number,
            root_at: None,
            last_at: now,
            queued: UnixNanos(u64::MAX),
        }
    }

    /// Takes a span; `false` when its id was there. Of two with one id the later-ending is kept,
    /// so that the order of arrival makes no difference.
    pub(super) fn take(&mut self, span: Span, now: UnixNanos) -> bool {
        self.last_at = self.last_at.max(now);
        if let Some(at) = self.find(span.span_id) {
            if span.end > self.spans[at].end {
                self.spans[at] = span;
            }
            return false;
        }
        if span.parent_id.is_none() {
            self.root_at.get_or_insert(now);
        }
        if self.spans.len() == SEARCHED {
            self.ids = self.spans.iter().map(|span| span.span_id).collect();
        }
        if self.spans.len() >= SEARCHED {
            self.ids.insert(span.span_id);
        }
        self.spans.push(span);
        true
    }

    fn find(&self, id: SpanId) -> Option<usize> {
        if self.spans.len() > SEARCHED && !self.ids.contains(&id) {
            return None;
        }
        self.spans.iter().position(|span| span.span_id == id)
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn into_spans(self) -> Vec<Span> {
        self.spans
    }
}
