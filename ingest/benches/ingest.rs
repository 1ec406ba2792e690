//! What does each part of the way of a span cost, by itself and on one thread?
//!
//! `cargo bench -p rekindle-ingest`. Requests are those of `rekindle load`: as an SDK sends them (one
//! process) and as a gateway does (sixteen). Figures are per span. What is *hostile* names each span
//! anew, as an attacker would, or a careless instrumentation.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use rekindle_analysis::{AnalysisConfig, Analyzer};
use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_ingest::{
    Assembler, AssemblerConfig, ContentType, DecodeContext, Durability, Entry, Journal,
    JournalConfig, KeepAttributes, PackedSpans, Protocol, decode_payload,
};
use rekindle_model::UnixNanos;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests of one measurement: more than the processor's cache holds.
const REQUESTS: usize = 256;

const START: UnixNanos = UnixNanos::from_secs(1_000_000);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    decode(&mut criterion);
    assemble(&mut criterion);
    observe(&mut criterion);
    journal(&mut criterion);
    criterion.final_summary();
}

/// Requests that are sent one after the other, a tenth of a millisecond apart.
fn requests(processes_per_request: usize) -> (Vec<Vec<u8>>, u64) {
    let mut generator = Generator::new(SystemShape {
        processes_per_request,
        ..SystemShape::default()
    });
    let mut spans = 0;
    let requests = (0..REQUESTS).map(|_| {
        let request = generator.request(START);
        spans += request.spans as u64;
        request.payload
    });
    (requests.collect(), spans)
}

/// The same with a name of its own for each span: `{id}` is in every route and name.
fn hostile() -> (Vec<Vec<u8>>, u64) {
    let (mut requests, spans) = requests(1);
    let mut number = 0u32;
    for request in &mut requests {
        let places: Vec<usize> = memchr::memmem::find_iter(request, b"{id}").collect();
        for place in places {
            number += 1;
            // Of four letters each, so that all lengths stay what they are.
            for (digit, byte) in request[place..place + 4].iter_mut().enumerate() {
                *byte = b'a' + (number >> (5 * digit) & 0x1f) as u8 % 26;
            }
        }
    }
    (requests, spans)
}

fn context() -> DecodeContext {
    DecodeContext::new(&KeepAttributes::default())
}

fn read(requests: &[Vec<u8>], context: &mut DecodeContext) -> Vec<PackedSpans> {
    let read = requests
        .iter()
        .map(|it| decode_payload(ContentType::Protobuf, it, context));
    read.filter_map(|it| Some(it.ok()?.spans)).collect()
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, (requests, spans)) in [
        ("sdk", requests(1)),
        ("gateway", requests(16)),
        ("hostile", hostile()),
    ] {
        group.throughput(Throughput::Elements(spans));
        let mut context = context();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for request in &requests {
                    let read = decode_payload(ContentType::Protobuf, request, &mut context);
                    let _ = black_box(read);
                }
            });
        });
    }
}

/// Each request comes a millisecond after the last, and traces are let go meanwhile.
fn assemble(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assemble");
    for (name, processes) in [("sdk", 1), ("gateway", 16)] {
        let (requests, spans) = requests(processes);
        group.throughput(Throughput::Elements(spans));
        let batches = read(&requests, &mut context());
        group.bench_function(name, |bencher| {
            let new = || Assembler::new(AssemblerConfig::default());
            bencher.iter_batched(
                new,
                |mut assembler| {
                    let (mut now, mut traces) = (START, Vec::new());
                    for batch in &batches {
                        now = now.plus(Duration::from_millis(10));
                        assembler.push_all(batch, now);
                        assembler.poll(now, &mut traces);
                        traces.clear();
                    }
                    assembler.flush(&mut traces);
                    (assembler, traces)
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// An analyzer that has seen the traces of these requests, and an assembler that held them.
fn observed(batches: &[PackedSpans]) -> (Assembler, Analyzer) {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    let mut analyzer = Analyzer::new(AnalysisConfig::default());
    for batch in batches {
        enter(&mut analyzer, batch);
        assembler.push_all(batch, START);
    }
    assembler.poll_outlines(AT_REST, |outlines| analyzer.outlines(outlines, AT_REST));
    (assembler, analyzer)
}

fn enter(analyzer: &mut Analyzer, batch: &PackedSpans) {
    let telling: Vec<_> = batch.telling().collect();
    analyzer.notices(&telling, START);
}

/// A minute after everything came: all traces are let go.
const AT_REST: UnixNanos = UnixNanos::from_secs(1_000_060);

/// What a request says, once its entry came (`entries`) and once its trace is let go (`traces`, with letting it go). Its
/// way is known, as nearly all are.
fn observe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe");
    let (requests, _) = requests(1);
    let batches = read(&requests, &mut context());
    let (known, new) = batches.split_at(REQUESTS / 2);
    let spans = new.iter().map(|batch| batch.len() as u64).sum();
    group.throughput(Throughput::Elements(spans));
    group.bench_function("entries", |bencher| {
        bencher.iter_batched(
            || observed(known).1,
            |mut analyzer| {
                new.iter().for_each(|batch| enter(&mut analyzer, batch));
                analyzer
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("traces", |bencher| {
        let held = || {
            let (mut assembler, mut analyzer) = observed(known);
            for batch in new {
                enter(&mut analyzer, batch);
                assembler.push_all(batch, AT_REST);
            }
            (assembler, analyzer)
        };
        bencher.iter_batched(
            held,
            |(mut assembler, mut analyzer)| {
                let now = AT_REST.plus(Duration::from_secs(60));
                assembler.poll_outlines(now, |outlines| analyzer.outlines(outlines, now));
                (assembler, analyzer)
            },
            BatchSize::PerIteration,
        );
    });
}

/// Sixteen exporters at once, each waiting for its answer.
fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(10);
    let (requests, spans) = requests(1);
    group.throughput(Throughput::Elements(spans));
    for (name, durability) in [
        ("process-crash", Durability::ProcessCrash),
        ("power-loss", Durability::PowerLoss),
    ] {
        keep(&mut group, name, durability, &requests);
    }
}

fn keep(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    durability: Durability,
    requests: &[Vec<u8>],
) {
    let dir = tempfile::tempdir().expect("a directory");
    let config = JournalConfig {
        durability,
        max_bytes: 512 << 20,
        ..JournalConfig::default()
    };
    let (journal, _) = Journal::open(dir.path(), config).expect("opens");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let payloads: Vec<bytes::Bytes> = requests.iter().cloned().map(Into::into).collect();
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut exporters = tokio::task::JoinSet::new();
                for share in payloads.chunks(REQUESTS / 16) {
                    let (journal, share) = (journal.clone(), share.to_vec());
                    exporters.spawn(async move {
                        for payload in share {
                            let entry = Entry {
                                received_at: START,
                                protocol: Protocol::Grpc,
                                payload,
                            };
                            journal.append(entry).await.expect("there is room");
                        }
                    });
                }
                while exporters.join_next().await.is_some() {}
            });
        });
    });
}
