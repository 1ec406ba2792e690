//! From a row of some set to a span of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_model::{
    Facts, Name, ReleaseReason, Resource, Shape, Span, SpanId, SpanKind, Status, Trace, TraceId,
    UnixNanos,
};

/// What every set says about a span, in one form.
#[derive(Debug)]
pub(crate) struct RawSpan {
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) kind: SpanKind,
    pub(crate) service: Name,
    /// The process, where the set tells processes apart.
    pub(crate) instance: Option<Name>,
    pub(crate) name: Name,
    pub(crate) start: UnixNanos,
    pub(crate) nanos: u64,
    pub(crate) http_status: Option<u16>,
    pub(crate) error: bool,
    /// Whom a call is to, where the set says so.
    pub(crate) peer: Option<Name>,
}

/// Makes spans that share their resources and names, as a receiver's interner would.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    resources: BTreeMap<(Name, Option<Name>), Arc<Resource>>,
    names: BTreeMap<String, Name>,
}

impl Builder {
    pub(crate) fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        let name = Name::from(text);
        self.names.insert(text.to_owned(), name.clone());
        name
    }

    fn resource(&mut self, service: &Name, instance: Option<&Name>) -> Arc<Resource> {
        let key = (service.clone(), instance.cloned());
        let resource = self.resources.entry(key).or_insert_with(|| {
            let mut attributes = vec![(Name::from("service.name"), service.clone())];
            if let Some(instance) = instance {
                attributes.insert(0, (Name::from("service.instance.id"), instance.clone()));
            }
            Arc::new(Resource {
                service: service.clone(),
                instance: instance.cloned(),
                version: None,
                host: None,
                attributes,
            })
        });
        Arc::clone(resource)
    }

    /// The trace of these spans; `None` when an id is zero or there is no span.
    pub(crate) fn trace(&mut self, id: u128, spans: Vec<RawSpan>) -> Option<Trace> {
        let trace_id = TraceId::from_bytes(id.to_be_bytes())?;
        let spans = spans
            .into_iter()
            .filter_map(|raw| {
                Some(Span {
                    trace_id,
                    span_id: SpanId::from_bytes(raw.id.to_be_bytes())?,
                    parent_id: raw
                        .parent
                        .and_then(|id| SpanId::from_bytes(id.to_be_bytes())),
                    parent_is_remote: None,
                    start: raw.start,
                    end: UnixNanos(raw.start.0.saturating_add(raw.nanos)),
                    links: Box::default(),
                    shape: Arc::new(Shape {
                        kind: raw.kind,
                        name: raw.name,
                        scope: None,
                        status: if raw.error {
                            Status::Error
                        } else {
                            Status::Unset
                        },
                        status_message: None,
                        resource: self.resource(&raw.service, raw.instance.as_ref()),
                        facts: Facts {
                            http_status: raw.http_status,
                            peer_service: raw.peer,
                            ..Facts::default()
                        },
                        attributes: Vec::new(),
                    }),
                })
            })
            .collect();
        Trace::new(spans, ReleaseReason::Flush).ok()
    }
}
