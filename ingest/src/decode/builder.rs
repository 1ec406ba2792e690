//! How does what an exporter said become a [`Span`], whichever encoding it came in?
//!
//! The protobuf walk and the JSON reader both call this with views of the request's bytes, so there
//! is one place that knows what attributes mean, what is invalid and what can be mended.

use rekindle_model::{Facts, Link, Name, Span, SpanId, SpanKind, Status, TraceId, UnixNanos};

use super::grpc_code::grpc_code;
use super::intern::Interner;
use super::keys::{EXCEPTION_TYPE, FACTS, Fact, KeyTable, RANK_OF_EVENTS};
use super::resource::{Origin, sorted};
use super::value::Value;
use super::{Decoded, Rejected};

/// Links kept of one span, as SDKs limit them.
const MAX_LINKS: usize = 128;

/// Flag bit 8: whether the parent is remote is known. Absent from old producers.
const PARENT_REMOTE_KNOWN: u32 = 0x100;
/// Flag bit 9: the parent is remote.
const PARENT_IS_REMOTE: u32 = 0x200;

/// No attribute has stated the fact yet.
const UNSTATED: u8 = u8::MAX;

/// The fields of a span that aren't attributes, as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawSpan<'a> {
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
    pub(crate) parent_id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) status: u64,
    pub(crate) message: &'a [u8],
    pub(crate) flags: u32,
}

/// Collects what one span says, then makes it; used for one span after the other.
pub(crate) struct SpanBuilder {
    keys: KeyTable,
    facts: Facts,
    /// For each fact, the rank of the attribute that stated it.
    ranks: [u8; FACTS],
    /// `code.function.name` without its last part, should there be no `code.namespace`.
    code_function: Option<Name>,
    attributes: Vec<(Name, Name)>,
    links: Vec<Link>,
    scratch: String,
}

impl SpanBuilder {
    pub(crate) fn new(keys: KeyTable) -> Self {
        Self {
            keys,
            facts: Facts::default(),
            ranks: [UNSTATED; FACTS],
            code_function: None,
            attributes: Vec::new(),
            links: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Forgets what was taken of a span that turned out unreadable.
    pub(crate) fn reset(&mut self) {
        self.facts = Facts::default();
        self.ranks = [UNSTATED; FACTS];
        self.code_function = None;
        self.attributes.clear();
        self.links.clear();
    }

    /// Takes an attribute of the span. Its value is only read when its key means something, which
    /// few do.
    #[inline]
    pub(crate) fn attribute<'a, E>(
        &mut self,
        names: &mut Interner,
        key: &[u8],
        value: impl FnOnce() -> Result<Value<'a>, E>,
    ) -> Result<(), E> {
        let Some(known) = self.keys.find(key) else {
            return Ok(());
        };
        let value = value()?;
        let fact = known.fact;
        if let Some(key) = known.keep.clone()
            && let Some(text) = value.text(&mut self.scratch)
        {
            self.attributes.push((key, names.name(text)));
        }
        if let Some((fact, rank)) = fact {
            self.state(names, fact, rank, value);
        }
        Ok(())
    }

    /// Takes an attribute of an event of the span that is called `exception`.
    pub(crate) fn exception(&mut self, names: &mut Interner, key: &[u8], value: Value<'_>) {
        if key == EXCEPTION_TYPE.as_bytes() {
            self.state(names, Fact::ErrorType, RANK_OF_EVENTS, value);
        }
    }

    /// Takes a link of the span.
    pub(crate) fn link(&mut self, trace_id: &[u8], span_id: &[u8], decoded: &mut Decoded) {
        match (trace_id_of(trace_id), span_id_of(span_id)) {
            (Some(trace_id), Some(span_id)) if self.links.len() < MAX_LINKS => {
                self.links.push(Link { trace_id, span_id });
            }
            _ => decoded.counts.dropped_links += 1,
        }
    }

    /// Sets the fact unless a better-ranked attribute did. A value that makes no sense states
    /// nothing, so that a worse-ranked one can.
    fn state(&mut self, names: &mut Interner, fact: Fact, rank: u8, value: Value<'_>) {
        if rank > self.ranks[fact as usize] {
            return;
        }
        let facts = &mut self.facts;
        let scratch = &mut self.scratch;
        let mut name = || {
            let text = value.text(scratch).filter(|text| !text.is_empty())?;
            Some(names.name(text))
        };
        let stated = match fact {
            Fact::HttpMethod => set(&mut facts.http_method, name()),
            Fact::HttpRoute => set(&mut facts.http_route, name()),
            Fact::HttpStatus => set(&mut facts.http_status, small(value)),
            Fact::GrpcStatus => set(&mut facts.grpc_status, grpc_status(value)),
            Fact::ErrorType => set(&mut facts.error_type, name()),
            Fact::PeerService => set(&mut facts.peer_service, name()),
            Fact::ServerAddress => set(&mut facts.server_address, name()),
            Fact::ServerPort => set(&mut facts.server_port, small(value)),
            Fact::DbSystem => set(&mut facts.db_system, name()),
            Fact::DbNamespace => set(&mut facts.db_namespace, name()),
            Fact::MessagingSystem => set(&mut facts.messaging_system, name()),
            Fact::MessagingDestination => set(&mut facts.messaging_destination, name()),
            Fact::CodeNamespace => set(&mut facts.code_component, name()),
            Fact::CodeFunction => {
                let namespace = value.text(scratch).and_then(without_last_part);
                set(&mut self.code_function, namespace.map(|it| names.name(it)))
            }
            Fact::Generation => {
                let number = value.integer().and_then(|it| u64::try_from(it).ok());
                set(&mut facts.generation, number)
            }
        };
        if stated {
            self.ranks[fact as usize] = rank;
        }
    }

    /// Makes the span of all that was taken since the last one, and adds it to `decoded`; or
    /// counts why it can't be one.
    pub(crate) fn finish(
        &mut self,
        names: &mut Interner,
        raw: &RawSpan<'_>,
        origin: &Origin,
        scope: Option<&Name>,
        decoded: &mut Decoded,
    ) {
        let mut facts = std::mem::take(&mut self.facts);
        let code_function = self.code_function.take();
        let attributes = std::mem::take(&mut self.attributes);
        let links = std::mem::take(&mut self.links);
        self.ranks = [UNSTATED; FACTS];

        let Some(trace_id) = trace_id_of(raw.trace_id) else {
            return decoded.reject(Rejected::Trace);
        };
        let Some(span_id) = span_id_of(raw.span_id) else {
            return decoded.reject(Rejected::Own);
        };
        let Ok(parent_id) = parent_id_of(raw.parent_id) else {
            return decoded.reject(Rejected::Parent);
        };
        let kind = match raw.kind {
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Internal,
        };
        if kind == SpanKind::Server {
            // Here `server.*` is the address that the caller used, and `net.peer.*` the caller's.
            facts.server_address = None;
            facts.server_port = None;
        }
        facts.code_component = facts.code_component.or(code_function);
        facts.generation = facts.generation.or(origin.generation);
        let (start, end) = times(raw, decoded);
        decoded.spans.push(Span {
            trace_id,
            span_id,
            parent_id,
            parent_is_remote: (raw.flags & PARENT_REMOTE_KNOWN != 0)
                .then_some(raw.flags & PARENT_IS_REMOTE != 0),
            kind,
            name: names.name(raw.name),
            scope: scope.cloned(),
            start: UnixNanos(start),
            end: UnixNanos(end),
            status: match raw.status {
                1 => Status::Ok,
                2 => Status::Error,
                _ => Status::Unset,
            },
            status_message: (!raw.message.is_empty()).then(|| names.message(raw.message)),
            resource: origin.resource.clone(),
            facts,
            attributes: sorted(attributes),
            links,
        });
    }
}

/// Start and end, the end not before the start. One that is missing is taken for the other.
fn times(raw: &RawSpan<'_>, decoded: &mut Decoded) -> (u64, u64) {
    let (start, end) = (raw.start, raw.end);
    if start != 0 && start <= end {
        return (start, end);
    }
    decoded.counts.mended_times += 1;
    if start == 0 {
        (end, end)
    } else {
        (start, start)
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let stated = value.is_some();
    if stated {
        *place = value;
    }
    stated
}

fn small(value: Value<'_>) -> Option<u16> {
    u16::try_from(value.integer()?).ok()
}

fn grpc_status(value: Value<'_>) -> Option<u16> {
    match value {
        Value::Text(text) => grpc_code(text),
        other => small(other),
    }
}

/// `catalog::search::run` is in `catalog::search`. A name without parts is in nothing.
fn without_last_part(function: &[u8]) -> Option<&[u8]> {
    let end = memchr::memrchr3(b':', b'.', b'/', function)?;
    let namespace = &function[..end];
    let namespace = namespace.strip_suffix(b":").unwrap_or(namespace);
    (!namespace.is_empty()).then_some(namespace)
}

fn trace_id_of(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_bytes(bytes.try_into().ok()?)
}

fn span_id_of(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(bytes.try_into().ok()?)
}

/// No bytes mean a root, and so do eight zeroes, which some exporters write instead.
fn parent_id_of(bytes: &[u8]) -> Result<Option<SpanId>, Rejected> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = bytes.try_into().map_err(|_| Rejected::Parent)?;
    Ok(SpanId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_in_its_namespace() {
        for (function, namespace) in [
            ("catalog::search::run", Some("catalog::search")),
            ("com.example.Cart.add", Some("com.example.Cart")),
            ("github.com/shop/cart.Add", Some("github.com/shop/cart")),
            ("shop/cart", Some("shop")),
            ("main", None),
            ("::main", None),
            (".x", None),
            ("", None),
        ] {
            let found = without_last_part(function.as_bytes());
            assert_eq!(found, namespace.map(str::as_bytes), "{function}");
        }
    }
}
