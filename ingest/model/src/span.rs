//! One operation of one component, as its exporter told it.
//!
//! Only what the analysis reads is kept, under one name each: semantic conventions changed their
//! names over the years (`http.status_code`, `http.response.status_code`), and the decoder is the
//! only place that knows the old ones. Everything about the process is in [`Resource`], shared by
//! all spans of an export request; everything but ids, times and links is in [`Shape`], shared by
//! all spans that say the same.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Name, SpanId, TraceId, UnixNanos};

/// What a span is in a conversation between components.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Work inside a component. An unspecified kind is read as this.
    #[default]
    Internal,
    /// Answers a remote caller.
    Server,
    /// Calls a remote callee.
    Client,
    /// Sends a message that somebody consumes later.
    Producer,
    /// Works on a message.
    Consumer,
}

/// The status that the instrumentation set. `Unset` is what most spans have, failed ones included.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing was said.
    #[default]
    Unset,
    /// Declared fine by the application.
    Ok,
    /// Declared failed.
    Error,
}

/// The process (or function, or page) that a span comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// `service.name`; `unknown_service` where the exporter said none.
    pub service: Name,
    /// `service.instance.id`, or what stands in for it (`k8s.pod.name`, `host.name` with
    /// `process.pid`, `container.id`). New after most restarts, so it never names a restart unit.
    pub instance: Option<Name>,
    /// `service.version`.
    pub version: Option<Name>,
    /// `host.name`, or `k8s.node.name`.
    pub host: Option<Name>,
    /// All resource attributes as text, sorted by key: restart units may match any of them.
    pub attributes: Vec<(Name, Name)>,
}

impl Resource {
    /// The resource attribute of this key.
    pub fn attribute(&self, key: &str) -> Option<&Name> {
        let at = self
            .attributes
            .binary_search_by(|(name, _)| name.as_str().cmp(key))
            .ok()?;
        Some(&self.attributes[at].1)
    }
}

/// How many spans like this one there were for each that was kept, as far as its samplers say. Three
/// states: a span without any is taken for one of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Of 2⁵⁶ equally likely random numbers, so many had it thrown away: the rejection threshold of
    /// OpenTelemetry's consistent probability sampling (`ot=th:` in the trace state), below 2⁵⁶.
    Threshold(u64),
    /// A sampler was at work that doesn't say how many it threw away.
    Undeclared,
}

impl Sampling {
    /// The number of thresholds that there are: 56 bits are random in a trace id.
    pub const THRESHOLDS: u64 = 1 << 56;

    /// How many spans like this one there were for each that was kept, at least 1; `None` when the
    /// sampler doesn't say.
    pub fn adjusted_count(self) -> Option<f64> {
        match self {
            Self::Threshold(threshold) => {
                let kept = Self::THRESHOLDS.saturating_sub(threshold).max(1);
                Some(Self::THRESHOLDS as f64 / kept as f64)
            }
            Self::Undeclared => None,
        }
    }
}

/// What a span says beyond its times, each fact under one name whatever convention it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facts {
    /// `http.request.method`.
    pub http_method: Option<Name>,
    /// `http.route`: the low-cardinality path.
    pub http_route: Option<Name>,
    /// `http.response.status_code`. Its absence on an ended server span is evidence too.
    pub http_status: Option<u16>,
    /// The gRPC status as a number, from any of its three spellings; 0 is OK.
    pub grpc_status: Option<u16>,
    /// `error.type`, or the type of a recorded exception: a failure even when the status is unset.
    pub error_type: Option<Name>,
    /// `peer.service`: whom a client span calls, by name.
    pub peer_service: Option<Name>,
    /// `server.address` of a client span: whom it calls, by address. A dead instance is named by
    /// this alone.
    pub server_address: Option<Name>,
    /// `server.port` of a client span.
    pub server_port: Option<u16>,
    /// `db.system.name`.
    pub db_system: Option<Name>,
    /// `db.namespace`.
    pub db_namespace: Option<Name>,
    /// `messaging.system`.
    pub messaging_system: Option<Name>,
    /// `messaging.destination.name`.
    pub messaging_destination: Option<Name>,
    /// The code component: `code.namespace`, or `code.function.name` without its last part.
    pub code_component: Option<Name>,
    /// `rekindle.generation` of the span: the life of the part that did this work, within its process's.
    pub generation: Option<u64>,
    /// What samplers said; `None` where none spoke up.
    pub sampling: Option<Sampling>,
}

/// Another span that this one belongs to without being its child, as a consumed message belongs to
/// the span that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    /// The other trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
}

/// What a span says beyond its ids, times and links. All calls of one operation that end alike say
/// the same, so it is shared: a span in memory is a few numbers and one pointer, and what is worked
/// out from a shape can be remembered for all its spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// What it is in a conversation.
    pub kind: SpanKind,
    /// The operation, as the exporter named it.
    pub name: Name,
    /// The instrumentation scope.
    pub scope: Option<Name>,
    /// The status that was set.
    pub status: Status,
    /// What was said with the status.
    pub status_message: Option<Name>,
    /// The process it comes from.
    pub resource: Arc<Resource>,
    /// What else it says.
    pub facts: Facts,
    /// Further span attributes that the configuration asks for (restart units match on them), as
    /// text, sorted by key.
    pub attributes: Vec<(Name, Name)>,
}

/// One operation of one component. It reads as if the fields of its [`Shape`] were its own; writing
/// to one of them first makes the shape the span's own, if it is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its id in the trace.
    pub span_id: SpanId,
    /// The span that caused it; `None` for a root.
    pub parent_id: Option<SpanId>,
    /// Whether the parent is in another process, where the exporter says (flags, bits 8 and 9).
    pub parent_is_remote: Option<bool>,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended; not before `start` (the decoder mends that and counts it).
    pub end: UnixNanos,
    /// What it says.
    #[serde(flatten)]
    pub shape: Arc<Shape>,
    /// The spans it is linked to.
    pub links: Box<[Link]>,
}

impl Deref for Span {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl DerefMut for Span {
    fn deref_mut(&mut self) -> &mut Shape {
        Arc::make_mut(&mut self.shape)
    }
}

/// What one span says by itself, before its trace is complete.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Whether it names no span that caused it.
    pub is_root: bool,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended; not before `start`.
    pub end: UnixNanos,
    /// What it says.
    pub shape: &'a Arc<Shape>,
}

impl<'a> From<&'a Span> for Notice<'a> {
    fn from(span: &'a Span) -> Self {
        Self {
            trace_id: span.trace_id,
            is_root: span.parent_id.is_none(),
            start: span.start,
            end: span.end,
            shape: &span.shape,
        }
    }
}

impl Span {
    /// How long it took.
    pub fn duration(&self) -> std::time::Duration {
        self.end.since(self.start)
    }
}

impl Shape {
    /// The attribute of this key: the span's own, then the well-known facts, then the resource's.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        if let Ok(at) = self
            .attributes
            .binary_search_by(|(name, _)| name.as_str().cmp(key))
        {
            return Some(&self.attributes[at].1);
        }
        let facts = &self.facts;
        let fact = match key {
            "http.request.method" => &facts.http_method,
            "http.route" => &facts.http_route,
            "error.type" => &facts.error_type,
            "peer.service" => &facts.peer_service,
            "server.address" => &facts.server_address,
            "db.system.name" => &facts.db_system,
            "db.namespace" => &facts.db_namespace,
            "messaging.system" => &facts.messaging_system,
            "messaging.destination.name" => &facts.messaging_destination,
            "code.namespace" => &facts.code_component,
            _ => &None,
        };
        fact.as_ref()
            .or_else(|| self.resource.attribute(key))
            .map(Name::as_str)
    }
}
