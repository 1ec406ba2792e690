//! From a row of some set to a span of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_model::{
    Facts, Name, ReleaseReason, Resource, Shape, Span, SpanId, SpanKind, Status, Trace, TraceId,
    UnixNanos,
};

/// What every set says about a span, in one form.
#[derive(Debug)]
pub(super) struct RawSpan {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) kind: SpanKind,
    pub(super) service: Name,
    /// The process, where the set tells processes apart.
    pub(super) instance: Option<Name>,
    pub(super) name: Name,
    pub(super) start: UnixNanos,
    pub(super) nanos: u64,
    pub(super) http_status: Option<u16>,
    pub(super) error: bool,
    /// Whom a call is to, where the set says so.
    pub(super) peer: Option<Name>,
}

/// Makes spans that share their resources and names, as a receiver's interner would.
#[derive(Debug, Default)]
pub(super) struct Builder {
    resources: BTreeMap<(Name, Option<Name>), Arc<Resource>>,
    names: BTreeMap<String, Name>,
}

impl Builder {
    pub(super) fn name(&mut self, text: &str) -> Name {
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
    pub(super) fn trace(&mut self, id: u128, spans: Vec<RawSpan>) -> Option<Trace> {
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
