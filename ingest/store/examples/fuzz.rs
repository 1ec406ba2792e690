//! Fuzzes what `rekindle import` reads on a stable compiler: files of each form, damaged in many ways, against what must
//! hold for any bytes. `../../fuzz/driver.rs` says with which arguments.

#![expect(clippy::print_stdout, reason = "it is a program")]

#[path = "../../fuzz/driver.rs"]
mod driver;
#[path = "../../fuzz/store_targets.rs"]
mod targets;

use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_model::UnixNanos;
use rekindle_store::{
    ReadCounts, Received, StoredSpan, jaeger_of, json_of, parquet_of, protobuf_of,
    spans_of_protobuf,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    driver::run(targets::TARGETS, seeds)
}

/// What is damaged: spans of several requests, in the target's form.
fn seeds(name: &str) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let mut generator = Generator::new(SystemShape {
        spans_per_request: 3,
        failing: 0.5,
        ..SystemShape::default()
    });
    let mut counts = ReadCounts::default();
    let mut request = || -> Result<Vec<StoredSpan>, Box<dyn std::error::Error>> {
        let payload = generator.request(UnixNanos::from_secs(1_000_000)).payload;
        let spans = spans_of_protobuf(payload.into(), Received::IMPORTED, &mut counts)?;
        Ok(spans)
    };
    let mut seeds = Vec::new();
    for _ in 0..4 {
        let (one, other) = (request()?, request()?);
        match name {
            "jaeger" => seeds.push(jaeger_of(&[one, other].concat()).into_bytes()),
            "parquet" => seeds.push(parquet_of([one, other].concat())?),
            _ => {
                let lines = format!("{}\n{}\n", json_of(&one), json_of(&other));
                seeds.push(lines.into_bytes());
                seeds.push(jaeger_of(&one).into_bytes());
                seeds.push(protobuf_of(&other));
            }
        }
    }
    let written = match name {
        "jaeger" => JAEGER.to_vec(),
        "lines" => [&JAEGER[..], &LINES[..]].concat(),
        _ => Vec::new(),
    };
    seeds.extend(written.iter().map(|it| it.as_bytes().to_vec()));
    Ok(seeds)
}

/// Jaeger's form with all that it has: types of tags, logs, references, padded ids, warnings.
const JAEGER: [&str; 2] = [
    r#"{"data":[{"traceID":"f067aa0ba902b7","spans":[{"traceID":"f067aa0ba902b7","spanID":"53995c3f42cd8ad8","operationName":"GET /","flags":1,"references":[],"startTime":1600000000000001,"duration":2000,"processID":"p1","warnings":null,"tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"n","type":"int64","value":7},{"key":"share","type":"float64","value":1},{"key":"error","type":"bool","value":true},{"key":"raw","type":"binary","value":"AP8="}],"logs":[{"timestamp":1600000000000003,"fields":[{"key":"event","type":"string","value":"retry"},{"key":"message","type":"string","value":"busy"}]}]}],"processes":{"p1":{"serviceName":"shop","tags":[{"key":"ip","type":"string","value":"10.0.0.1"}]}}}]}"#,
    r#"{"data":[{"traceID":"1","spans":[{"traceID":"1","spanID":"1","parentSpanID":"2","operationName":"call","startTime":1600000000000002,"duration":5,"references":[{"refType":"FOLLOWS_FROM","traceID":"ab","spanID":"cd"},{"refType":"CHILD_OF","traceID":"1","spanID":"3"}],"tags":[{"key":"otel.scope.name","type":"string","value":"http"},{"key":"otel.scope.version","type":"string","value":"1"},{"key":"otel.status_code","type":"string","value":"ERROR"},{"key":"otel.status_description","type":"string","value":"no"},{"key":"w3c.tracestate","type":"string","value":"a=b"}],"processID":"p9"}],"processes":{}}],"total":0,"errors":null}"#,
];

/// OTLP/JSON in its forms: every type of attribute, numbers as text, nulls, unknown fields, a damaged line.
const LINES: [&str; 2] = [
    r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"scope":{"name":"x"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"GET /\u00e9","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"attributes":[{"key":"a","value":{"intValue":"500"}},{"key":"b","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":"NaN"},{"bytesValue":"AP8="},{"kvlistValue":{"values":[{"key":"c","value":null}]}}]}}}],"status":{"code":2,"message":"no"}}]}]}]}"#,
    "{\"cut\n{\"resourceSpans\":[{\"resource\":null,\"scopeSpans\":[{\"spans\":[{\"traceId\":\"00000000000000000000000000000001\",\"spanId\":\"0000000000000001\",\"events\":[{\"name\":\"e\",\"timeUnixNano\":\"1\",\"attributes\":[]}],\"links\":[{\"traceId\":\"01\",\"spanId\":\"02\"}],\"flags\":257,\"droppedEventsCount\":3,\"future\":[{}]}]}]}]}\n",
];
