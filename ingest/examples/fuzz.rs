//! Fuzzes the decoders, the assembler and the journal on a stable compiler: real requests, damaged in
//! many ways, against what must hold for any bytes. `../fuzz/driver.rs` says with which arguments.

#![expect(clippy::print_stdout, reason = "it is a program")]

#[path = "../fuzz/driver.rs"]
mod driver;
#[path = "../fuzz/targets.rs"]
mod targets;

use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_ingest::{Durability, Entry, Journal, JournalConfig, Protocol};
use rekindle_model::UnixNanos;

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    driver::run(targets::TARGETS, seeds)
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

/// OTLP/JSON in its forms: every type of attribute, numbers as text, nulls, unknown fields.
const JSON: [&str; 4] = [
    r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"scope":{"name":"x"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"GET /\u00e9","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"attributes":[{"key":"http.response.status_code","value":{"intValue":"500"}},{"key":"shard","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":0.5},{"bytesValue":"AP8="}]}}}],"status":{"code":2,"message":"no"}}]}]}]}"#,
    r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","events":[{"name":"exception","attributes":[{"key":"exception.type","value":{"stringValue":"Oops"}}]}],"links":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"}],"flags":257,"future":[{}]}]}]}]}"#,
    r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"shard","value":{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}}]}]}]}]}"#,
    r#"{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"s","attributes":[{"key":"tailsampling.policy","value":{"stringValue":"x"}}]},"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","traceState":"a=b,ot=rv:6e6d1a75832a2f;th:8","attributes":[{"key":"sampler.type","value":{"stringValue":"probabilistic"}},{"key":"sampler.param","value":{"doubleValue":0.125}},{"key":"rpc.status_code","value":{"stringValue":"DEADLINE_EXCEEDED"}},{"key":"code.function.name","value":{"stringValue":"a::b"}}]}]}]}]}"#,
];
