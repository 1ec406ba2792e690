//! What do the exporters of the made-up system send?
//!
//! Traces are made one after the other, and each span goes to its process's exporter, which sends
//! when it has a batch or has waited for a second. Pure: the time is told, and the same seed makes
//! the same requests at the same times.

use fastrand::Rng;
use rekindle_model::UnixNanos;

use super::protobuf::Message;
use super::system::{RequestType, Role, request_types};

/// Processes per service: two, so that a faulty one can be told from its service.
const INSTANCES: usize = 2;

/// How long an exporter waits for its batch to fill.
const EXPORTER_DELAY_NANOS: u64 = 1_000_000_000;

/// What the system looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SystemShape {
    /// Services, of two processes each; at least one.
    pub services: usize,
    /// Spans in a full request; at least one.
    pub spans_per_request: usize,
    /// Processes whose spans come in one request: one as from an SDK, several as from a gateway.
    pub processes_per_request: usize,
    /// The share of user requests that fail, in `[0, 1]`.
    pub failing: f64,
    /// What all else is drawn from.
    pub seed: u64,
}

impl Default for SystemShape {
    /// As SDKs send by default: batches of 512 spans, of one process each.
    fn default() -> Self {
        Self {
            services: 20,
            spans_per_request: 512,
            processes_per_request: 1,
            failing: 0.02,
            seed: 1,
        }
    }
}

/// One export request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// An `ExportTraceServiceRequest` in protobuf.
    pub payload: Vec<u8>,
    /// Spans in it.
    pub spans: usize,
}

/// Spans of several processes that wait to be sent together.
struct Exporter {
    /// The first process, and each process's spans.
    first: usize,
    batches: Vec<Message>,
    spans: usize,
    since: UnixNanos,
}

/// Makes requests without end.
pub struct Generator {
    shape: SystemShape,
    types: Vec<RequestType>,
    random: Rng,
    exporters: Vec<Exporter>,
}

impl Generator {
    /// A system of this shape. Numbers that make no sense are raised to one.
    pub fn new(shape: SystemShape) -> Self {
        let shape = SystemShape {
            services: shape.services.max(1),
            spans_per_request: shape.spans_per_request.max(1),
            processes_per_request: shape.processes_per_request.max(1),
            ..shape
        };
        let mut random = Rng::with_seed(shape.seed);
        let processes = shape.services * INSTANCES;
        let exporters = (0..processes)
            .step_by(shape.processes_per_request)
            .map(|first| Exporter {
                first,
                batches: vec![
                    Message::default();
                    shape.processes_per_request.min(processes - first)
                ],
                spans: 0,
                since: UnixNanos(0),
            })
            .collect();
        Self {
            types: request_types(shape.services, &mut random),
            shape,
            random,
            exporters,
        }
    }

    /// The next request; user requests end about now.
    pub fn request(&mut self, now: UnixNanos) -> Request {
        loop {
            let full = self.exporters.iter().position(|it| {
                let waited = now.0.saturating_sub(it.since.0) >= EXPORTER_DELAY_NANOS;
                it.spans >= self.shape.spans_per_request || (it.spans > 0 && waited)
            });
            if let Some(full) = full {
                return self.send(full);
            }
            self.trace(now);
        }
    }

    fn send(&mut self, exporter: usize) -> Request {
        let exporter = &mut self.exporters[exporter];
        let mut request = Message::default();
        for (process, batch) in (exporter.first..).zip(&mut exporter.batches) {
            if batch.0.is_empty() {
                continue;
            }
            request.message(1, |resource_spans| {
                resource_spans.message(1, |it| resource(it, process));
                resource_spans.message(2, |scope_spans| {
                    scope_spans.message(1, |scope| scope.bytes(1, b"rekindle load"));
                    scope_spans.0.append(&mut batch.0);
                });
            });
        }
        Request {
            payload: request.0,
            spans: std::mem::take(&mut exporter.spans),
        }
    }

    /// Makes one trace, and gives its spans to their exporters.
    fn trace(&mut self, now: UnixNanos) {
        let random = &mut self.random;
        let steps = &self.types[random.usize(..self.types.len())];
        // From the last to the first: what is below a step is known before it.
        let mut took: Vec<u64> = steps
            .iter()
            .map(|step| match step.role {
                Role::Client => random.u64(100_000..500_000),
                Role::Server => random.u64(1_000_000..9_000_000),
            })
            .collect();
        for (index, step) in steps.iter().enumerate().rev() {
            if let Some(parent) = step.parent {
                took[parent] += took[index];
            }
        }
        let began = now.0.saturating_sub(took[0]);
        let mut starts = vec![began; steps.len()];
        // Where each step's next call begins.
        let mut at: Vec<u64> = vec![began; steps.len()];
        for (index, step) in steps.iter().enumerate() {
            if let Some(parent) = step.parent {
                starts[index] = at[parent] + 50_000;
                at[index] = starts[index];
                at[parent] += took[index];
            }
        }
        let mut failed = vec![false; steps.len()];
        if random.f64() < self.shape.failing {
            let mut step = Some(random.usize(..steps.len()));
            while let Some(index) = step {
                failed[index] = true;
                step = steps[index].parent;
            }
        }
        let trace_id = random.u128(1..).to_be_bytes();
        let ids: Vec<[u8; 8]> = steps
            .iter()
            .map(|_| random.u64(1..).to_be_bytes())
            .collect();
        let instance = random.usize(..INSTANCES);
        for (index, step) in steps.iter().enumerate() {
            let process = step.service * INSTANCES + (instance + step.service) % INSTANCES;
            let exporter = &mut self.exporters[process / self.shape.processes_per_request];
            if exporter.spans == 0 {
                exporter.since = now;
            }
            exporter.spans += 1;
            let batch = &mut exporter.batches[process - exporter.first];
            batch.message(2, |span| {
                span.bytes(1, &trace_id);
                span.bytes(2, &ids[index]);
                if let Some(parent) = step.parent {
                    span.bytes(4, &ids[parent]);
                }
                span.bytes(5, format!("{} {}", step.method, step.route).as_bytes());
                span.varint(6, if step.role == Role::Server { 2 } else { 3 });
                span.fixed64(7, starts[index]);
                span.fixed64(8, starts[index] + took[index]);
                span.text(9, "http.request.method", step.method);
                span.text(9, "http.route", &step.route);
                let status = if failed[index] { 500 } else { 200 };
                span.number(9, "http.response.status_code", status);
                span.number(9, "thread.id", trace_id[0].into());
                if let Some(callee) = step.callee {
                    span.text(9, "server.address", &service_name(callee));
                    span.number(9, "server.port", 8080);
                }
                if failed[index] {
                    span.text(9, "error.type", "500");
                    span.message(15, |status| status.varint(3, 2));
                }
                let remote = step.role == Role::Server && step.parent.is_some();
                span.fixed32(16, 0x101 | u32::from(remote) << 9);
            });
        }
    }
}

fn service_name(service: usize) -> String {
    format!("load-{service:02}")
}

fn resource(resource: &mut Message, process: usize) {
    let (service, instance) = (process / INSTANCES, process % INSTANCES);
    let name = service_name(service);
    resource.text(1, "service.name", &name);
    resource.text(1, "service.version", "1.0.0");
    resource.text(1, "service.instance.id", &format!("{name}-{instance}"));
    resource.text(1, "host.name", &format!("host-{}", process % 5));
    resource.text(1, "telemetry.sdk.language", "rust");
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rekindle_model::{ReleaseReason, Status};

    use super::*;
    use crate::{
        Assembler, AssemblerConfig, ContentType, DecodeContext, KeepAttributes, decode_payload,
    };

    const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

    /// What it sends is what we read: whole trees of several processes, some failed to the root.
    #[test]
    fn traces_are_trees_and_some_fail_up_to_the_user() {
        for processes_per_request in [1, 7] {
            let shape = SystemShape {
                spans_per_request: 50,
                processes_per_request,
                failing: 0.5,
                ..SystemShape::default()
            };
            let mut generator = Generator::new(shape);
            let mut context = DecodeContext::new(&KeepAttributes::default());
            let mut assembler = Assembler::new(AssemblerConfig::default());
            let mut resources = std::collections::BTreeSet::new();
            let later = NOW.plus(Duration::from_secs(5));
            // Those that wait are sent for their age in the end.
            for now in std::iter::repeat_n(NOW, 200).chain(std::iter::repeat_n(later, 40)) {
                let request = generator.request(now);
                let decoded = decode_payload(ContentType::Protobuf, &request.payload, &mut context);
                let decoded = decoded.expect("a valid request");
                assert_eq!(decoded.spans.len(), request.spans);
                assert_eq!(
                    (decoded.counts.rejected(), decoded.counts.mended_times),
                    (0, 0)
                );
                resources.extend(decoded.spans.iter().map(|it| it.resource.instance.clone()));
                assembler.push_all(&decoded.spans, now);
            }
            assert!(resources.len() > 30, "{}", resources.len());
            let mut traces = Vec::new();
            assembler.flush(&mut traces);
            let whole = |trace: &&rekindle_model::Trace| {
                trace.root().is_some() && trace.orphans().count() == 0
            };
            let before = |trace: &&rekindle_model::Trace| trace.spans()[0].end <= NOW;
            let began: Vec<_> = traces.iter().filter(before).collect();
            let complete = began.iter().filter(|it| whole(it)).count();
            assert!(
                complete * 10 > began.len() * 9,
                "{complete} of {}",
                began.len()
            );
            assert!(traces.iter().all(|it| it.reason() == ReleaseReason::Flush));
            let failed = |trace: &rekindle_model::Trace| {
                let root = trace.root().map(|it| &trace.spans()[it]);
                root.is_some_and(|it| it.status == Status::Error)
            };
            let failed = began.iter().filter(|it| failed(it)).count();
            assert!((began.len() / 3..began.len() * 2 / 3).contains(&failed));
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let [mut one, mut two] = [(); 2].map(|()| Generator::new(SystemShape::default()));
        for _ in 0..20 {
            assert_eq!(one.request(NOW), two.request(NOW));
        }
    }
}
