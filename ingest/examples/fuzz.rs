//! Fuzzes the decoders, the assembler and the journal on a stable compiler: real requests, damaged in
//! many ways, against what must hold for any bytes.
//!
//! `fuzz TARGET [SECONDS [SEED]]`; without a target it names them. What fails is written to the
//! temporary directory before it is shown. `fuzz TARGET seeds FOLDER` only writes what is damaged, for
//! `tests/fuzz` to begin with.

#![expect(clippy::print_stdout, reason = "it is a program")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_ingest::{Durability, Entry, Journal, JournalConfig, Protocol};
use rekindle_model::UnixNanos;

/// Inputs grow no longer than this: more is more of the same.
const MAX_BYTES: usize = 16 << 10;

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let Some((_, target)) = targets::TARGETS.iter().find(|(it, _)| *it == name) else {
        let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(format!("usage: fuzz {} [SECONDS [SEED]]", names.join("|")).into());
    };
    if let [_, word, folder] = &arguments[..]
        && word == "seeds"
    {
        for (number, seed) in seeds(name)?.iter().enumerate() {
            std::fs::write(
                std::path::Path::new(folder).join(format!("seed-{number}")),
                seed,
            )?;
        }
        return Ok(());
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |it| it.parse());
    let (seconds, seed) = (number(1, 10)?, number(2, 1)?);
    let mut random = fastrand::Rng::with_seed(seed);
    let seeds = seeds(name)?;
    let (began, mut runs) = (Instant::now(), 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut input = seeds[random.usize(..seeds.len())].clone();
        for _ in 0..random.u32(0..6) {
            damage(&mut input, &seeds, &mut random);
        }
        input.truncate(MAX_BYTES);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let path = std::env::temp_dir().join(format!("fuzz-{name}-{seed}-{runs}"));
            std::fs::write(&path, &input)?;
            println!("run {runs} failed with {}", path.display());
            resume_unwind(panic);
        }
        runs += 1;
    }
    println!("{name}: {runs} inputs in {seconds} s, none failed");
    Ok(())
}

/// What is damaged: real requests of several sizes, in the target's form.
fn seeds(name: &str) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let mut seeds = vec![Vec::new()];
    for spans_per_request in [1, 2, 8, 30] {
        let mut generator = Generator::new(SystemShape {
            spans_per_request,
            failing: 0.5,
            ..SystemShape::default()
        });
        seeds.extend((0..8).map(|_| generator.request(NOW).payload));
    }
    match name {
        "json" => seeds = JSON.iter().map(|it| it.as_bytes().to_vec()).collect(),
        "journal" => {
            let segments = [segment(&seeds[..4], 30)?, segment(&seeds, 300)?];
            seeds = segments.into();
        }
        _ => {}
    }
    Ok(seeds)
}

/// A segment with the first bytes of these requests.
fn segment(payloads: &[Vec<u8>], most: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let config = JournalConfig {
        durability: Durability::ProcessCrash,
        ..JournalConfig::default()
    };
    let (journal, _) = Journal::open(dir.path(), config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for payload in payloads {
        let entry = Entry {
            received_at: NOW,
            protocol: Protocol::Grpc,
            payload: payload[..payload.len().min(most)].to_vec().into(),
        };
        runtime.block_on(journal.append(entry))?;
    }
    drop(journal);
    Ok(std::fs::read(
        dir.path().join(format!("{:020}.journal", 0)),
    )?)
}

/// One of the ways in which bytes go wrong.
fn damage(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut fastrand::Rng) {
    /// Values at the edges of what bytes mean.
    const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\'];
    let at = random.usize(..=input.len());
    let rest = input.len() - at;
    let length = random.usize(..=rest.min(64));
    match random.u8(..8) {
        0 => input.truncate(at),
        1 => input.insert(at, EDGES[random.usize(..EDGES.len())]),
        2 => drop(input.drain(at..at + length)),
        3 => {
            let again = input[at..at + length].to_vec();
            input.splice(at..at, again);
        }
        4 => {
            let other = &seeds[random.usize(..seeds.len())];
            let from = random.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 if rest > 0 => input[at] = EDGES[random.usize(..EDGES.len())],
        6 if rest > 0 => input[at] ^= 1 << random.u8(..8),
        7 if rest > 0 => input[at] = random.u8(..),
        _ => {}
    }
}

/// OTLP/JSON in its forms: every type of attribute, numbers as text, nulls, unknown fields.
const JSON: [&str; 4] = [
    r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"scope":{"name":"x"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"GET /\u00e9","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"attributes":[{"key":"http.response.status_code","value":{"intValue":"500"}},{"key":"shard","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":0.5},{"bytesValue":"AP8="}]}}}],"status":{"code":2,"message":"no"}}]}]}]}"#,
    r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","events":[{"name":"exception","attributes":[{"key":"exception.type","value":{"stringValue":"Oops"}}]}],"links":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"}],"flags":257,"future":[{}]}]}]}]}"#,
    r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"shard","value":{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}}]}]}]}]}"#,
    r#"{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"s","attributes":[{"key":"tailsampling.policy","value":{"stringValue":"x"}}]},"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","traceState":"a=b,ot=rv:6e6d1a75832a2f;th:8","attributes":[{"key":"sampler.type","value":{"stringValue":"probabilistic"}},{"key":"sampler.param","value":{"doubleValue":0.125}},{"key":"rpc.status_code","value":{"stringValue":"DEADLINE_EXCEEDED"}},{"key":"code.function.name","value":{"stringValue":"a::b"}}]}]}]}]}"#,
];
