//! Which span is the request as its user saw it, and of which type is it?
//!
//! The entry is the topmost server (or consumer) span. Not every trace is a request: heartbeats
//! begin with a client span in a service that itself serves others, and health checks ask for a
//! route that no user knows. A client root in something that never serves is an instrumented user
//! (a browser, a load generator): the server span below it is the entry.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::{Name, Notice, RequestType, Shape, SpanKind, Trace};

use crate::normalize::without_ids;

/// What a trace is to the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceKind {
    /// A request, with the index of its entry span.
    Request(usize),
    /// No user began it.
    Background,
    /// Its entry did not come.
    NoEntry,
}

/// Names of services that serve others, and names without ids, remembered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    serving: BTreeSet<Name>,
    normalized: BTreeMap<Name, Name>,
    health: BTreeSet<String>,
}

/// Beyond so many remembered names the memory is emptied: it only saves work.
const MAX_REMEMBERED: usize = 50_000;

impl Requests {
    pub(crate) fn new(health_routes: &[String]) -> Self {
        Self {
            health: health_routes.iter().cloned().collect(),
            ..Self::default()
        }
    }

    /// Learns who serves others. Call it for every span, before asking anything else about it.
    pub(crate) fn learn(&mut self, span: &Shape) {
        if is_entrance(span.kind)
            && self.serving.len() < MAX_REMEMBERED
            && !self.serving.contains(&span.resource.service)
        {
            self.serving.insert(span.resource.service.clone());
        }
    }

    pub(crate) fn serves(&self, service: &Name) -> bool {
        self.serving.contains(service)
    }

    /// The name without its ids.
    pub(crate) fn operation(&mut self, name: &Name) -> Name {
        if let Some(known) = self.normalized.get(name) {
            return known.clone();
        }
        if self.normalized.len() >= MAX_REMEMBERED {
            self.normalized.clear();
        }
        let normalized = Name::from(without_ids(name));
        self.normalized.insert(name.clone(), normalized.clone());
        normalized
    }

    /// The span's operation: method and route where it has them, else its name.
    pub(crate) fn operation_of(&mut self, span: &Shape) -> Name {
        match (&span.facts.http_method, &span.facts.http_route) {
            (Some(method), Some(route)) => {
                // The usual name of such a span is just that; then nothing need be put together.
                let usual = span
                    .name
                    .strip_prefix(method.as_str())
                    .and_then(|rest| rest.strip_prefix(' '))
                    == Some(route.as_str());
                if usual {
                    self.operation(&span.name)
                } else {
                    self.operation(&Name::from(format!("{method} {route}")))
                }
            }
            _ => self.operation(&span.name),
        }
    }

    /// The type of the request with this entry span.
    pub(crate) fn request_type(&mut self, entry: &Shape) -> RequestType {
        RequestType {
            service: entry.resource.service.clone(),
            operation: self.operation_of(entry),
        }
    }

    /// Whether monitoring asked, not a user.
    pub(crate) fn is_health_check(&self, entry: &Shape) -> bool {
        if let Some(route) = &entry.facts.http_route
            && self.health.contains(route.as_str())
        {
            return true;
        }
        let name = entry.name.as_str();
        let path = name.split_once(' ').map_or(name, |(_, path)| path);
        self.health.contains(path)
    }

    /// Whether this span alone is surely a request's entry: nobody is above it.
    pub(crate) fn is_sole_entry(span: &Notice<'_>) -> bool {
        span.is_root && is_entrance(span.shape.kind)
    }

    /// What the trace is.
    pub(crate) fn classify(&self, trace: &Trace) -> TraceKind {
        let spans = trace.spans();
        let Some(root) = trace.root() else {
            // The caller of the first server span isn't instrumented, or was lost.
            let first = trace
                .orphans()
                .find(|index| is_entrance(spans[*index].kind));
            return first.map_or(TraceKind::NoEntry, TraceKind::Request);
        };
        if is_entrance(spans[root].kind) {
            return TraceKind::Request(root);
        }
        if spans[root].kind != SpanKind::Client || self.serves(&spans[root].resource.service) {
            return TraceKind::Background;
        }
        let mut below = vec![root];
        while let Some(index) = below.pop() {
            if is_entrance(spans[index].kind) {
                return TraceKind::Request(index);
            }
            below.extend(trace.children(index).iter().rev());
        }
        TraceKind::Background
    }
}

fn is_entrance(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Server | SpanKind::Consumer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};

    #[test]
    fn what_is_a_request() {
        let mut requests = Requests::new(&["/health".to_owned()]);
        let serving = T::default().build(Call::server("shop", "GET /cart/7"));
        requests.learn(&serving.spans()[0]);
        assert_eq!(requests.classify(&serving), TraceKind::Request(0));
        let request_type = requests.request_type(&serving.spans()[0]);
        assert_eq!(request_type.to_string(), "shop GET /cart/{id}");

        let heartbeat = Call::server("shop", "x")
            .kind(SpanKind::Client)
            .with(Call::server("registry", "PUT /eureka"));
        assert_eq!(
            requests.classify(&T::default().build(heartbeat)),
            TraceKind::Background
        );
        let user = Call::server("browser", "x")
            .kind(SpanKind::Client)
            .with(Call::server("shop", "GET /"));
        assert_eq!(
            requests.classify(&T::default().build(user)),
            TraceKind::Request(1)
        );

        let health = T::default().build(Call::server("shop", "GET /health"));
        assert!(requests.is_health_check(&health.spans()[0]));
        assert!(!requests.is_health_check(&serving.spans()[0]));
    }
}
