//! What does a ranking cost while the engine runs? A window of a million requests over a thousand and ten
//! thousand components: putting the input together, ranking it, and both once more after another second of requests,
//! with whatever else time passing costs.
//!
//! The aim is 5 ms for a thousand components and 50 ms for ten thousand, input and ranking together.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use rekindle_analysis::rank::{Method, rank};
use rekindle_analysis::{AnalysisConfig, Analyzer};
use rekindle_model::{
    ReleaseReason, Resource, Shape, Span, SpanId, SpanKind, Status, Trace, TraceId, UnixNanos,
};

const REQUESTS: u64 = 1_000_000;
/// Request types, of which one fails in the end.
const TYPES: u64 = 100;
/// Services that a request passes below its entry.
const HOPS: u64 = 3;
/// The last of the fifteen minutes is the incident.
const WINDOW: Duration = Duration::from_secs(900);
const FAULTY: u64 = REQUESTS / 15;

/// A service is four components: itself, its instance, and two operations.
struct Site {
    services: u64,
    shapes: Vec<[Arc<Shape>; 3]>,
}

impl Site {
    fn new(components: u64) -> Self {
        let services = components / 4;
        let shapes = (0..services * 2)
            .map(|n| {
                let (service, operation) = (n / 2, n % 2);
                let resource = Arc::new(Resource {
                    service: format!("service-{service}").into(),
                    instance: Some(format!("instance-{service}").into()),
                    ..Resource::default()
                });
                let shape = |kind, status| {
                    Arc::new(Shape {
                        kind,
                        name: format!("GET /{operation}").into(),
                        status,
                        resource: Arc::clone(&resource),
                        ..Shape::default()
                    })
                };
                [
                    shape(SpanKind::Server, Status::Unset),
                    shape(SpanKind::Client, Status::Unset),
                    shape(SpanKind::Server, Status::Error),
                ]
            })
            .collect();
        Self { services, shapes }
    }

    /// The `n`th request: an entry, and the services that its type and number lead to, one below the other.
    fn request(&self, n: u64, start: UnixNanos) -> Trace {
        let request_type = n % TYPES;
        let variant = n / TYPES % (self.services / 10).max(1);
        let failed = n >= REQUESTS - FAULTY && request_type == 0;
        let mut spans = Vec::new();
        let mut parent = None;
        let mut begin = start;
        for hop in 0..=HOPS {
            let service = match hop {
                0 => request_type * 2,
                _ => 2 * ((request_type * 31 + variant * 10 + hop * 7) % self.services) + hop % 2,
            };
            let shapes = &self.shapes[service as usize];
            let id = |number: u64| SpanId::from_bytes((2 * hop + number + 1).to_be_bytes());
            let own = Duration::from_micros(500 + n * 13 % 700);
            let server = usize::from(failed) * 2;
            spans.push(span(n, id(0), parent, begin, own * 20, &shapes[server]));
            begin = begin.plus(own);
            if hop < HOPS {
                spans.push(span(n, id(1), id(0), begin, own * 10, &shapes[1]));
                begin = begin.plus(own / 2);
                parent = id(1);
            }
        }
        Trace::new(spans, ReleaseReason::RootQuiet).expect("spans of one trace")
    }
}

fn span(
    n: u64,
    span_id: Option<SpanId>,
    parent_id: Option<SpanId>,
    start: UnixNanos,
    duration: Duration,
    shape: &Arc<Shape>,
) -> Span {
    Span {
        trace_id: TraceId::from_bytes(u128::from(n + 1).to_be_bytes()).expect("not zero"),
        span_id: span_id.expect("not zero"),
        parent_id,
        parent_is_remote: None,
        start,
        end: start.plus(duration),
        shape: Arc::clone(shape),
        links: Box::default(),
    }
}

/// An analyzer that has seen it all, and its incident.
fn watched(components: u64) -> (Analyzer, UnixNanos, u64) {
    let site = Site::new(components);
    let mut analyzer = Analyzer::new(AnalysisConfig::default());
    let begin = UnixNanos::from_secs(1_000_000_000);
    let apart = WINDOW / u32::try_from(REQUESTS).expect("a million");
    let mut now = begin;
    for n in 0..REQUESTS {
        now = now.plus(apart);
        let trace = site.request(n, now);
        for span in trace.spans() {
            analyzer.span(span, now);
        }
        analyzer.trace(&trace, now);
        if n % 1_000 == 0 {
            analyzer.tick(now);
        }
    }
    analyzer.tick(now);
    let incident = analyzer.incidents().last().expect("an incident").id;
    (analyzer, now, incident)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    // To have seen it all takes half a minute: only of what is asked for.
    let asked = std::env::args()
        .skip(1)
        .filter(|it| it.ends_with("components"));
    let asked: Vec<String> = asked.collect();
    for components in [1_000, 10_000] {
        let is_asked = |it: &String| *it == format!("{components} components");
        if !asked.is_empty() && !asked.iter().any(is_asked) {
            continue;
        }
        let (mut analyzer, mut now, incident) = watched(components);
        let input = analyzer.input(incident).expect("an incident");
        let name = format!("{components} components");
        criterion.bench_function(&format!("{name}, input"), |bencher| {
            bencher.iter(|| black_box(analyzer.input(black_box(incident))));
        });
        criterion.bench_function(&format!("{name}, rank"), |bencher| {
            bencher.iter(|| black_box(rank(Method::Default, black_box(&input))));
        });
        drop(input);
        // As the engine does it: a second of requests comes, and what is kept is brought up to it.
        let site = Site::new(components);
        let mut n = REQUESTS;
        criterion.bench_function(&format!("{name}, a second later"), |bencher| {
            bencher.iter_custom(|seconds| {
                let mut spent = Duration::ZERO;
                for _ in 0..seconds {
                    for _ in 0..REQUESTS / WINDOW.as_secs() {
                        n += 1;
                        now = now.plus(WINDOW / REQUESTS as u32);
                        analyzer.trace(&site.request(n, now), now);
                    }
                    let began = Instant::now();
                    analyzer.tick(now);
                    black_box(analyzer.rank(incident));
                    spent += began.elapsed();
                }
                spent
            });
        });
    }
    criterion.final_summary();
}
