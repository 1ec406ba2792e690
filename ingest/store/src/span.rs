//! What is kept of a span: all of it.
//!
//! The hot path takes only what the analysis reads. Here is the rest, too, in the form in which the store's columns
//! hold it: attributes, events and links as JSON text. So a span is turned over once on its way in and once on its way
//! out, and neither sorting nor merging looks inside.

use std::sync::Arc;

use rekindle_model::{SpanId, TraceId, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::{Attributes, Text};

/// One span with everything that its exporter said.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSpan {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its id in the trace.
    pub span_id: SpanId,
    /// The span that caused it.
    pub parent_id: Option<SpanId>,
    /// W3C's trace state; empty when there is none.
    pub trace_state: Text,
    /// W3C's flags, and OTLP's.
    pub flags: u32,
    /// The operation.
    pub name: Text,
    /// OTLP's number of its kind.
    pub kind: i32,
    /// When it began, as it was sent.
    pub start: UnixNanos,
    /// When it ended, as it was sent.
    pub end: UnixNanos,
    /// Its attributes, as the column holds them.
    pub attributes: Text,
    /// Attributes that its exporter dropped.
    pub dropped_attributes: u32,
    /// Its [events](Event) as a JSON list; empty when there are none.
    pub events: Text,
    /// Events that its exporter dropped.
    pub dropped_events: u32,
    /// Its [links](Link) as a JSON list; empty when there are none.
    pub links: Text,
    /// Links that its exporter dropped.
    pub dropped_links: u32,
    /// OTLP's number of its status.
    pub status: i32,
    /// What was said with the status; empty when nothing was.
    pub status_message: Text,
    /// The process it comes from.
    pub resource: Arc<StoredResource>,
    /// The instrumentation it comes from.
    pub scope: Arc<StoredScope>,
    /// When its request was received; of an import, when it ended.
    pub received_at: UnixNanos,
    /// Where its request was in the journal; of an import, zero.
    pub position: u64,
}

/// The process that spans come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredResource {
    /// `service.name`; empty when there is none.
    pub service: Text,
    /// All attributes, as the column holds them.
    pub attributes: Text,
    /// Attributes that its exporter dropped.
    pub dropped_attributes: u32,
    /// Which edition of the semantic conventions it speaks; empty when that wasn't said.
    pub schema_url: Text,
}

/// The instrumentation that spans come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoredScope {
    /// Its name.
    pub name: Text,
    /// Its version.
    pub version: Text,
    /// Its attributes, as the column holds them.
    pub attributes: Text,
    /// Attributes that its exporter dropped.
    pub dropped_attributes: u32,
    /// Which edition of the semantic conventions it speaks; empty when that wasn't said.
    pub schema_url: Text,
}

/// Something that happened within a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time_unix_nanos: u64,
    /// What.
    pub name: Text,
    /// More of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// Attributes that its exporter dropped.
    #[serde(default)]
    pub dropped_attributes: u32,
}

/// Another span that this one belongs to. Ids are as they came, in hexadecimal: nobody has looked whether they are valid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The other trace.
    pub trace_id: String,
    /// The other span.
    pub span_id: String,
    /// Its trace state.
    #[serde(default)]
    pub trace_state: Text,
    /// More of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// Attributes that its exporter dropped.
    #[serde(default)]
    pub dropped_attributes: u32,
    /// Its flags.
    #[serde(default)]
    pub flags: u32,
}

/// What makes two spans the same: an exporter that wasn't sure that it was heard sends a span again as it was. A span
/// id that two spans of a trace share (Zipkin's client and server do) isn't enough.
pub(crate) type Identity = (TraceId, SpanId, i32, UnixNanos, UnixNanos);

impl StoredSpan {
    pub(crate) fn identity(&self) -> Identity {
        (self.trace_id, self.span_id, self.kind, self.start, self.end)
    }

    /// Its events.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn events(&self) -> serde_json::Result<Vec<Event>> {
        list(&self.events)
    }

    /// Its links.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn links(&self) -> serde_json::Result<Vec<Link>> {
        list(&self.links)
    }
}

fn list<T: for<'de> Deserialize<'de>>(text: &Text) -> serde_json::Result<Vec<T>> {
    match text.is_empty() {
        true => Ok(Vec::new()),
        false => serde_json::from_str(text.as_str()),
    }
}

/// A list as the column holds it; nothing when it is empty.
pub(crate) fn list_text<T: Serialize>(items: &[T]) -> Text {
    match items.is_empty() {
        true => Text::default(),
        // What may fail is a map with keys that are no text, which there is none of.
        false => Text::from(serde_json::to_string(items).unwrap_or_default()),
    }
}

/// Puts spans in the store's order, and takes out those that are there already. Of two that are the same the one that
/// came first is kept.
pub(crate) fn sort_and_deduplicate(spans: &mut Vec<StoredSpan>) -> u64 {
    let order = |span: &StoredSpan| (span.identity(), span.position, span.received_at);
    spans.sort_by_cached_key(order);
    let before = spans.len();
    spans.dedup_by(|later, earlier| later.identity() == earlier.identity());
    (before - spans.len()) as u64
}
