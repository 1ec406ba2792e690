//! A development check on labelled public traces, where they are at hand.
//!
//! `REKINDLE_DATASETS` names a folder with `tracerca/` (TraceRCA's study data, converted); without
//! it the test says so and passes. It is no score: it guards against a change that breaks on real
//! traces what still works on ours. The full harness lives elsewhere.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may read the folder that it was told of"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rekindle_analysis::rank::{Method, rank};
use rekindle_analysis::{AnalysisConfig, Analyzer, Level};
use rekindle_model::{
    Facts, Name, ReleaseReason, Resource, Shape, Span, SpanId, SpanKind, Trace, TraceId, UnixNanos,
};
use serde::Deserialize;

/// So many traces of each run are told: enough for a ranking, and a debug build stays bearable.
const TRACES: usize = 1_500;
/// How many traces come in a second.
const PER_SECOND: u64 = 20;

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<LabelledCase>,
}

#[derive(Deserialize)]
struct LabelledCase {
    id: String,
    root_cause: BTreeMap<String, serde_json::Value>,
    n_root_causes: usize,
    fault_type: String,
    normal_files: Vec<String>,
    faulty_files: Vec<String>,
}

#[derive(Deserialize)]
struct RawTrace {
    label: u8,
    spans: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    source: String,
    target: String,
    latency_us: u64,
    http_status: u16,
}

fn read(folder: &Path, file: &str) -> Vec<RawTrace> {
    let bytes = std::fs::read(folder.join(file)).expect("a file of the manifest");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .expect("gzip");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a trace"))
        .collect()
}

/// The set has edges without ids: the first call of each service is its place in the tree, and each
/// further one from the same caller a call beside it.
fn trace(number: u64, start: UnixNanos, raw: &RawTrace) -> Option<Trace> {
    let targets: BTreeSet<&str> = raw.spans.iter().map(|edge| edge.target.as_str()).collect();
    let root = raw
        .spans
        .iter()
        .map(|edge| edge.source.as_str())
        .find(|source| !targets.contains(source))
        .or_else(|| raw.spans.first().map(|edge| edge.target.as_str()))?;
    let mut spans: Vec<Span> = Vec::new();
    let mut entered: BTreeSet<&str> = BTreeSet::new();
    let mut waiting = vec![(root, None::<SpanId>, 200u16, 0u64)];
    while let Some((service, parent, status, micros)) = waiting.pop() {
        let calls: Vec<&Edge> = raw
            .spans
            .iter()
            .filter(|edge| edge.source == service && edge.target != service)
            .collect();
        let own = raw
            .spans
            .iter()
            .find(|edge| edge.source == service && edge.target == service);
        let first = parent.is_none();
        let status = own.map_or(status, |own| own.http_status);
        let micros = own.map_or(micros, |own| own.latency_us);
        let failed_below = calls
            .iter()
            .any(|edge| edge.http_status >= 500 || edge.http_status == 0);
        let status = if first && failed_below { 500 } else { status };
        let slowest = calls.iter().map(|edge| edge.latency_us).max().unwrap_or(0);
        let id = push(
            &mut spans,
            number,
            start,
            service,
            parent,
            SpanKind::Server,
            status,
            micros.max(slowest),
            None,
        );
        for edge in calls {
            let call = push(
                &mut spans,
                number,
                start,
                service,
                Some(id),
                SpanKind::Client,
                edge.http_status,
                edge.latency_us,
                Some(&edge.target),
            );
            let answered = raw.spans.iter().any(|other| {
                other.source == edge.target
                    && (other.target == edge.target || !targets.contains(root))
            });
            if answered && entered.insert(&edge.target) {
                waiting.push((&edge.target, Some(call), edge.http_status, edge.latency_us));
            }
        }
    }
    Trace::new(spans, ReleaseReason::Flush).ok()
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
fn push(
    spans: &mut Vec<Span>,
    number: u64,
    start: UnixNanos,
    service: &str,
    parent: Option<SpanId>,
    kind: SpanKind,
    status: u16,
    micros: u64,
    peer: Option<&str>,
) -> SpanId {
    let span_id = SpanId::from_bytes((spans.len() as u64 + 1).to_be_bytes()).expect("not zero");
    let service = Name::from(service);
    spans.push(Span {
        trace_id: TraceId::from_bytes(u128::from(number).to_be_bytes()).expect("not zero"),
        span_id,
        parent_id: parent,
        parent_is_remote: None,
        start,
        end: start.plus(Duration::from_micros(micros)),
        shape: Arc::new(Shape {
            kind,
            name: peer.map_or_else(|| service.clone(), |peer| format!("call {peer}").into()),
            resource: Arc::new(Resource {
                attributes: vec![("service.name".into(), service.clone())],
                service,
                ..Resource::default()
            }),
            facts: Facts {
                http_status: Some(status),
                peer_service: peer.map(Name::from),
                ..Facts::default()
            },
            ..Shape::default()
        }),
        links: Box::default(),
    });
    span_id
}

fn tell(analyzer: &mut Analyzer, now: &mut UnixNanos, number: &mut u64, traces: &[&RawTrace]) {
    for raw in traces {
        *number += 1;
        *now = now.plus(Duration::from_nanos(1_000_000_000 / PER_SECOND));
        if let Some(trace) = trace(*number, *now, raw) {
            analyzer.trace(&trace, *now);
        }
        if number.is_multiple_of(PER_SECOND) {
            analyzer.tick(*now);
        }
    }
    analyzer.tick(*now);
}

fn spread<'a>(traces: impl Iterator<Item = &'a RawTrace>) -> Vec<&'a RawTrace> {
    let all: Vec<&RawTrace> = traces.collect();
    let step = (all.len() / TRACES).max(1);
    all.into_iter().step_by(step).take(TRACES).collect()
}

#[test]
fn aborted_services_are_named() {
    let Some(folder) = std::env::var_os("REKINDLE_DATASETS") else {
        println!("skipped: REKINDLE_DATASETS names no folder");
        return;
    };
    let folder = PathBuf::from(folder).join("tracerca");
    let manifest = std::fs::read(folder.join("manifest.json")).expect("the manifest");
    let manifest: Manifest = serde_json::from_slice(&manifest).expect("its form");
    let (mut cases, mut first, mut in_three) = (0, 0, 0);
    for case in manifest.cases {
        if case.fault_type != "abort" || case.n_root_causes != 1 {
            continue;
        }
        cases += 1;
        let wanted = case.root_cause["service"]
            .as_str()
            .expect("a service")
            .to_owned();
        let mut analyzer = Analyzer::new(AnalysisConfig::default());
        let (mut now, mut number) = (UnixNanos::from_secs(1_000_000), 0);
        let normal: Vec<RawTrace> = case
            .normal_files
            .iter()
            .flat_map(|file| read(&folder, file))
            .collect();
        let calm = spread(normal.iter().filter(|trace| trace.label == 0));
        tell(&mut analyzer, &mut now, &mut number, &calm);
        let began = now.plus(Duration::from_nanos(1));
        let faulty: Vec<RawTrace> = case
            .faulty_files
            .iter()
            .flat_map(|file| read(&folder, file))
            .collect();
        tell(&mut analyzer, &mut now, &mut number, &spread(faulty.iter()));
        // Errors without a label occur in calm runs too, so the time is the label's, not an
        // incident's.
        let ranking = rank(Method::Default, &analyzer.input_between(&[], began, now));
        let mut services: Vec<String> = Vec::new();
        for suspect in &ranking.suspects {
            let component = &suspect.components[0];
            let name = if component.level == Level::Dependency {
                &component.name
            } else {
                &component.service
            };
            if !services.contains(&name.to_string()) {
                services.push(name.to_string());
            }
        }
        let at = services.iter().position(|service| *service == wanted);
        first += usize::from(at == Some(0));
        in_three += usize::from(at.is_some_and(|at| at < 3));
        if at != Some(0) {
            let top = ranking
                .suspects
                .first()
                .map(|suspect| suspect.sentence.clone());
            println!("{}: at {at:?}, first {top:?}", case.id);
        }
    }
    println!("{first} of {cases} first, {in_three} among three");
    assert!(cases > 0, "no abort case in the manifest");
    assert!(first * 5 >= cases * 4, "{first} of {cases}");
}
