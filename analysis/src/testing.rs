//! A small language for traces in tests: nested calls, read top to bottom.

use std::sync::Arc;
use std::time::Duration;

use rekindle_model::{
    Facts, Name, ReleaseReason, Resource, Sampling, Shape, Span, SpanId, SpanKind, Status, Trace,
    TraceId, UnixNanos,
};

/// A span and what it called.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    kind: SpanKind,
    service: Option<String>,
    instance: Option<String>,
    version: Option<String>,
    host: Option<String>,
    name: String,
    facts: Facts,
    status: Status,
    own: Duration,
    late: Duration,
    children: Vec<Call>,
}

impl Call {
    fn new(kind: SpanKind, service: Option<&str>, name: &str) -> Self {
        Self {
            kind,
            service: service.map(str::to_owned),
            instance: service.map(|service| format!("{service}-1")),
            version: None,
            host: None,
            name: name.to_owned(),
            facts: Facts::default(),
            status: Status::Unset,
            own: Duration::from_millis(1),
            late: Duration::ZERO,
            children: Vec::new(),
        }
    }

    /// A server span, in instance `SERVICE-1` until said otherwise.
    pub(crate) fn server(service: &str, name: &str) -> Self {
        Self::new(SpanKind::Server, Some(service), name)
    }

    /// A client span in the caller's process.
    pub(crate) fn client(name: &str) -> Self {
        Self::new(SpanKind::Client, None, name)
    }

    /// Work of a code component in the caller's process.
    pub(crate) fn component(name: &str) -> Self {
        let mut call = Self::new(SpanKind::Internal, None, name);
        call.facts.code_component = Some(name.into());
        call
    }

    pub(crate) fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }
    pub(crate) fn instance(mut self, instance: &str) -> Self {
        self.instance = Some(instance.to_owned());
        self
    }
    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }
    pub(crate) fn address(mut self, (address, port): (&str, u16)) -> Self {
        self.facts.server_address = Some(address.into());
        self.facts.server_port = Some(port);
        self
    }
    pub(crate) fn host_alone(mut self, address: &str) -> Self {
        self.facts.server_address = Some(address.into());
        self
    }
    pub(crate) fn peer(mut self, peer: &str) -> Self {
        self.facts.peer_service = Some(peer.into());
        self
    }
    pub(crate) fn db(mut self, system: &str) -> Self {
        self.facts.db_system = Some(system.into());
        self
    }
    pub(crate) fn http(mut self, status: u16) -> Self {
        self.facts.http_status = Some(status);
        self
    }
    pub(crate) fn grpc(mut self, code: u16) -> Self {
        self.facts.grpc_status = Some(code);
        self
    }
    pub(crate) fn error(mut self, error: &str) -> Self {
        self.facts.error_type = Some(error.into());
        self
    }
    pub(crate) fn sampled(mut self, sampling: Sampling) -> Self {
        self.facts.sampling = Some(sampling);
        self
    }
    pub(crate) fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }
    /// How long it works itself, its calls aside.
    pub(crate) fn takes(mut self, millis: u64) -> Self {
        self.own = Duration::from_millis(millis);
        self
    }
    /// How long it takes until the first of its calls begins, beside its own time.
    pub(crate) fn late(mut self, millis: u64) -> Self {
        self.late = Duration::from_millis(millis);
        self
    }
    /// Whether the span itself says that it failed.
    pub(crate) fn failed(&self) -> bool {
        self.facts.error_type.is_some()
            || self.status == Status::Error
            || self.facts.http_status.is_some_and(|status| status >= 500)
    }
    pub(crate) fn with(mut self, child: Call) -> Self {
        self.children.push(child);
        self
    }
}

/// Makes traces, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct T {
    pub(crate) id: u128,
    pub(crate) start: UnixNanos,
}

impl Default for T {
    fn default() -> Self {
        Self {
            id: 1,
            start: UnixNanos::from_secs(1_000_000),
        }
    }
}

impl T {
    pub(crate) fn build(&self, root: Call) -> Trace {
        let mut spans = Vec::new();
        let resource = resource_of(&root, None);
        self.lay(&root, None, self.start, &resource, &mut spans);
        Trace::new(spans, ReleaseReason::RootQuiet).expect("at least the root")
    }

    fn lay(
        &self,
        call: &Call,
        parent: Option<SpanId>,
        start: UnixNanos,
        above: &Arc<Resource>,
        spans: &mut Vec<Span>,
    ) -> UnixNanos {
        let number = spans.len() as u64 + 1;
        let span_id = SpanId::from_bytes(number.to_be_bytes()).expect("not zero");
        let resource = resource_of(call, Some(above));
        let at = spans.len();
        spans.push(Span {
            trace_id: self.trace_id(),
            span_id,
            parent_id: parent,
            parent_is_remote: None,
            start,
            end: start,
            shape: Arc::new(Shape {
                kind: call.kind,
                name: call.name.as_str().into(),
                status: call.status,
                resource: Arc::clone(&resource),
                facts: call.facts.clone(),
                ..Shape::default()
            }),
            links: Box::default(),
        });
        let mut now = start.plus(call.own / 2).plus(call.late);
        for child in &call.children {
            now = self.lay(child, Some(span_id), now, &resource, spans);
        }
        let end = now.plus(call.own / 2);
        spans[at].end = end;
        end
    }

    pub(crate) fn trace_id(&self) -> TraceId {
        TraceId::from_bytes(self.id.to_be_bytes()).expect("not zero")
    }
}

fn resource_of(call: &Call, above: Option<&Arc<Resource>>) -> Arc<Resource> {
    let name = |text: &Option<String>| text.as_deref().map(Name::from);
    match (&call.service, above) {
        (None, Some(above)) => Arc::clone(above),
        (service, _) => {
            let service = Name::from(service.as_deref().unwrap_or("unknown_service"));
            let mut attributes = vec![("service.name".into(), service.clone())];
            if let Some(instance) = name(&call.instance) {
                attributes.insert(0, ("service.instance.id".into(), instance));
            }
            // In order of the keys.
            attributes.extend(name(&call.version).map(|it| ("service.version".into(), it)));
            Arc::new(Resource {
                service,
                instance: name(&call.instance),
                version: name(&call.version),
                host: name(&call.host),
                attributes,
            })
        }
    }
}
