//! What fuzzing once found is tried again in every test, and what decoding takes is bounded by what came.
//!
//! One test, because the allocator counts for the whole process.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use peak_alloc::PeakAlloc;
use prost::Message;
use rekindle_ingest::{ContentType, DecodeContext, KeepAttributes, decode_payload};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Bytes that a byte of a request may become while it is decoded. The worst that can be sent is spans of 36
/// bytes of which no two say the same: each is 64 bytes of numbers, and one for each 64 bytes has a shape, which is some
/// 600 bytes with its name and what is remembered of it.
const BYTES_PER_BYTE: usize = 12;

/// What tables take that are made at the first request.
const TABLES: usize = 4 << 20;

#[test]
fn what_was_found_holds_and_takes_bounded_memory() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        // The assembler has none: its inputs are any bytes at all.
        let Ok(inputs) = std::fs::read_dir(&folder) else {
            continue;
        };
        for input in inputs {
            let path = input.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("an input");
            target(&bytes);
            for content_type in [ContentType::Protobuf, ContentType::Json] {
                check_memory(content_type, &bytes, &path.display().to_string());
            }
        }
    }
    // The last of them has more kinds of span than names are remembered.
    for number in [20_000, 200_000] {
        let taken = check_memory(
            ContentType::Protobuf,
            &spans(number),
            "spans that all differ",
        );
        assert!(taken > 0);
    }
    check_memory(
        ContentType::Protobuf,
        &resources(1000),
        "resources that all differ",
    );
    let nested = [b"[".repeat(1 << 20), b"]".repeat(1 << 20)].concat();
    check_memory(ContentType::Json, &nested, "a deep nest");
    let claims = [&b"\x0a\xff\xff\xff\x7f"[..], &[0x12; 1000]].concat();
    check_memory(ContentType::Protobuf, &claims, "a length that isn't there");
}

/// A request of spans of which no two say the same.
fn spans(number: u64) -> Vec<u8> {
    let span = |id: u64| Span {
        trace_id: vec![1; 16],
        span_id: (id + 1).to_be_bytes().to_vec(),
        name: format!("{id:x}"),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans {
        spans: (0..number).map(span).collect(),
        ..ScopeSpans::default()
    }];
    let resource_spans = vec![ResourceSpans {
        scope_spans,
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A request of resources with many short attributes, of which no two say the same.
fn resources(number: u32) -> Vec<u8> {
    let attribute = |id: u32| KeyValue {
        key: format!("{id:x}"),
        value: Some(AnyValue {
            value: Some(any_value::Value::BoolValue(true)),
        }),
        ..KeyValue::default()
    };
    let resource_spans = |id: u32| ResourceSpans {
        resource: Some(Resource {
            attributes: (id * 256..(id + 1) * 256).map(attribute).collect(),
            ..Resource::default()
        }),
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: (0..number).map(resource_spans).collect(),
    }
    .encode_to_vec()
}

/// Bytes taken at most while decoding.
fn check_memory(content_type: ContentType, bytes: &[u8], what: &str) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let mut context = DecodeContext::new(&KeepAttributes::default());
    // Whether it can be read makes no difference.
    let decoded = decode_payload(content_type, bytes, &mut context);
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    let most = TABLES + bytes.len() * BYTES_PER_BYTE;
    assert!(taken <= most, "{what}: {taken} bytes for {}", bytes.len());
    drop(decoded);
    taken
}
