//! What is demanded of requests and answers, whatever is in them.

use super::*;

const SERVICE: &str = "OTLP/gRPC: Request";
const HTTP: &str = "OTLP/HTTP: Request";
const SUCCESS: &str = "Response: Full Success";
const PARTIAL: &str = "Response: Partial Success";
const COMPRESSION: &str = "Protocol Details: compression";
const SIZE: &str = "Request: size limit";
const BAD_DATA: &str = "Failures: Bad Data";
const THROTTLING: &str = "Throttling";
const OTHER: &str = "All Other Responses (RFC 9110)";
const FRAMING: &str = "gRPC over HTTP/2";
const CONNECTION: &str = "OTLP/HTTP Connection";
const DUPLICATES: &str = "Known Limitations: Duplicate Data";
const FUTURE: &str = "Future Versions and Interoperability";

const TOO_LARGE: Answer = Answer::Refused(413, 8, None);
const MALFORMED: Answer = Answer::Refused(400, 3, None);
const MEDIA_TYPE: Answer = Answer::Refused(415, 12, None);

const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

pub(super) fn cases() -> Vec<Case> {
    [
        taken_cases(),
        refused_cases(),
        framing_cases(),
        pressed_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn good(number: usize) -> Vec<Sent> {
    all_ways(&decoded(&request(number, 0)))
}

fn decoded(bytes: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(bytes).expect("a request")
}

fn over_http(sent: Vec<Sent>) -> impl Iterator<Item = Sent> {
    sent.into_iter().filter(|it| it.way != Way::Grpc)
}

fn compressed(sent: Vec<Sent>, name: &'static str) -> impl Iterator<Item = Sent> {
    sent.into_iter().map(move |it| it.compressed(name))
}

/// As large as `bytes` says, of nothing that means anything.
fn zeros(bytes: usize) -> Vec<Sent> {
    let zeros = vec![0; bytes];
    vec![
        grpc_call(&zeros),
        http_bytes(Way::Protobuf, zeros.clone()),
        http_bytes(Way::Json, vec![b' '; bytes]),
    ]
}

fn taken_cases() -> Vec<Case> {
    let envelope = proto::ResourceSpans {
        scope_spans: vec![proto::ScopeSpans::default()],
        ..Default::default()
    };
    let empty_envelopes = ExportTraceServiceRequest {
        resource_spans: vec![proto::ResourceSpans::default(), envelope],
    };
    let all_rejected = Answer::Taken {
        spans: 0,
        rejected: 3,
    };
    let some_rejected = Answer::Taken {
        spans: 2,
        rejected: 3,
    };
    vec![
        Case::new(SERVICE, "`TraceService/Export` is a unary call", taken(3))
            .sent([grpc_call(&request(3, 0))]),
        Case::new(
            SERVICE,
            "the content type may name protobuf: `application/grpc+proto`",
            taken(1),
        )
        .sent([grpc_call(&request(1, 0)).header("content-type", "application/grpc+proto")]),
        Case::new(
            HTTP,
            "`POST /v1/traces` takes protobuf and JSON by their content types, on one port",
            taken(3),
        )
        .sent(over_http(good(3))),
        Case::new(
            HTTP,
            "a content type may have parameters and any case (RFC 9110, 8.3.1)",
            taken(1),
        )
        .sent([
            json_text(JSON_SPAN).header("content-type", "Application/JSON; charset=utf-8"),
            http_bytes(Way::Protobuf, request(1, 0))
                .header("content-type", "application/X-Protobuf ; v=1"),
        ]),
        Case::new(
            SUCCESS,
            "OK, the request's content type, `partial_success` unset",
            taken(2),
        )
        .sent(good(2)),
        Case::new(
            SUCCESS,
            "a request without any telemetry succeeds",
            taken(0),
        )
        .sent(all_ways(&ExportTraceServiceRequest::default()))
        .sent([json_text(r#"{"resourceSpans":null}"#)]),
        Case::new(SUCCESS, "so it does when compressed", taken(0))
            .sent(compressed(
                all_ways(&ExportTraceServiceRequest::default()),
                "gzip",
            ))
            .sent(compressed(
                all_ways(&ExportTraceServiceRequest::default()),
                "zstd",
            )),
        Case::new(
            SUCCESS,
            "empty envelopes may be ignored (Implementation Recommendations)",
            taken(0),
        )
        .sent(all_ways(&empty_envelopes)),
        Case::new(
            PARTIAL,
            "OK; `rejected_spans` says how many, `error_message` why, in English",
            some_rejected,
        )
        .sent(all_ways(&decoded(&request(2, 3)))),
        Case::new(PARTIAL, "also when none is left", all_rejected)
            .sent(all_ways(&decoded(&request(0, 3)))),
        Case::new(COMPRESSION, "none must be supported", taken(1))
            .sent(over_http(good(1)).map(|it| it.header("content-encoding", "identity"))),
        Case::new(COMPRESSION, "gzip must be supported", taken(2))
            .sent(compressed(good(2), "gzip")),
        Case::new(
            COMPRESSION,
            "zstd is what the Collector offers beside it",
            taken(2),
        )
        .sent(compressed(good(2), "zstd")),
        Case::new(
            COMPRESSION,
            "the answer may be compressed if the client can read that: ours never is",
            taken(1),
        )
        .sent(good(1).into_iter().map(|it| match it.way {
            Way::Grpc => it.header("grpc-accept-encoding", "gzip"),
            _ => it.header("accept-encoding", "gzip"),
        })),
        Case::new(CONNECTION, "HTTP/1.1 in chunks", taken(2))
            .sent(over_http(good(2)).map(|it| it.by(Carriage::Chunked))),
        Case::new(
            CONNECTION,
            "HTTP/2 from the first byte (prior knowledge)",
            taken(2),
        )
        .sent(over_http(good(2)).map(|it| it.by(Carriage::Http2))),
        Case::new(CONNECTION, "HTTP/2, gzip", taken(2)).sent(
            compressed(good(2), "gzip")
                .filter(|it| it.way != Way::Grpc)
                .map(|it| it.by(Carriage::Http2)),
        ),
        Case::new(
            DUPLICATES,
            "what is sent again is taken again, and removed where it is looked at",
            taken(2),
        )
        .sent(good(2))
        .sent(good(2)),
        Case::new(
            FUTURE,
            "fields of the future are ignored, groups included",
            taken(1),
        )
        .sent([
            grpc_call(&of_the_future()),
            http_bytes(Way::Protobuf, of_the_future()),
            json_text(&JSON_SPAN.replacen('{', r#"{"aField":[{"deep":{}}],"#, 2)),
        ]),
    ]
}

/// A span, then a varint, a fixed64, a text, a group and a fixed32 of fields that nobody knows.
fn of_the_future() -> Vec<u8> {
    let mut bytes = request(1, 0);
    bytes.extend([
        0xf8, 0x06, 7, 0xf9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xfa, 0x06, 1, b'x',
    ]);
    bytes.extend([
        0xfb, 0x06, 0x0b, 0x08, 1, 0x0c, 0xfc, 0x06, 0xfd, 0x06, 1, 2, 3, 4,
    ]);
    bytes
}

fn refused_cases() -> Vec<Case> {
    let garbage = b"\x0a\xff\xff\xff\x0fgarbage";
    let spanless = |field: &str| {
        json_text(&format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{field}]}}]}}]}}"#
        ))
    };
    let limit = config().max_request_bytes;
    let cut_short = |sent: Sent| {
        let mut sent = sent.compressed("gzip");
        sent.body.truncate(40);
        if sent.way == Way::Grpc {
            sent.body = framed(1, &sent.body[5..]);
        }
        sent
    };
    let not = |name: &'static str| {
        good(1).into_iter().map(move |mut it| match it.way {
            Way::Grpc => {
                it.body = framed(1, b"this is not compressed at all");
                it.header("grpc-encoding", name)
            }
            _ => it.header("content-encoding", name),
        })
    };
    let any = |headers: &[(&'static str, &'static str)], path, method| {
        let mut sent = http_bytes(Way::Protobuf, request(1, 0)).without_content_type();
        sent.headers = headers.to_vec();
        sent.path(path).method(method)
    };
    vec![
        Case::new(SIZE, "a body may be as large as the limit", MALFORMED)
            .sent(zeros(limit).into_iter().filter(|it| it.way != Way::Json)),
        Case::new(
            SIZE,
            "a larger one is refused, and not to be sent again",
            TOO_LARGE,
        )
        .sent(zeros(limit + 1)),
        Case::new(SIZE, "the limit holds after decompression: gzip", TOO_LARGE)
            .sent(compressed(zeros(10 << 20), "gzip")),
        Case::new(SIZE, "the limit holds after decompression: zstd", TOO_LARGE)
            .sent(compressed(zeros(10 << 20), "zstd")),
        Case::new(
            SIZE,
            "the limit holds in chunks, whose sum nobody says",
            TOO_LARGE,
        )
        .sent(over_http(zeros(limit + 1)).map(|it| it.by(Carriage::Chunked))),
        Case::new(SIZE, "a message that only claims to be larger", TOO_LARGE).sent([grpc_bytes(
            [&[0][..], &u32::MAX.to_be_bytes(), b"little"].concat(),
        )]),
        Case::new(
            BAD_DATA,
            "what can't be decoded is refused for good",
            MALFORMED,
        )
        .sent([
            grpc_call(garbage),
            http_bytes(Way::Protobuf, garbage.to_vec()),
            json_text(r#"{"resourceSpans":["#),
            json_text("[]"),
            json_text(""),
        ]),
        Case::new(BAD_DATA, "a span that ends in the middle", MALFORMED).sent([
            grpc_call(&request(1, 0)[..30]),
            http_bytes(Way::Protobuf, request(1, 0)[..30].to_vec()),
            json_text(&JSON_SPAN[..120]),
        ]),
        Case::new(BAD_DATA, "JSON that isn't UTF-8 (RFC 8259, 8.1)", MALFORMED)
            .sent([http_bytes(Way::Json, b"{\"\xff\":1}".to_vec())]),
        Case::new(
            BAD_DATA,
            "names of enums aren't used in OTLP's JSON",
            MALFORMED,
        )
        .sent([
            spanless(r#"{"kind":"SPAN_KIND_SERVER"}"#),
            spanless(r#"{"status":{"code":"2"}}"#),
        ]),
        Case::new(BAD_DATA, "numbers that are none", MALFORMED).sent([
            spanless(r#"{"startTimeUnixNano":"soon"}"#),
            spanless(r#"{"endTimeUnixNano":0.5}"#),
            spanless(r#"{"attributes":[{"key":"k","value":{"intValue":"1e3"}}]}"#),
        ]),
        Case::new(BAD_DATA, "not gzip, though it says so", MALFORMED).sent(not("gzip")),
        Case::new(BAD_DATA, "not zstd, though it says so", MALFORMED).sent(not("zstd")),
        Case::new(BAD_DATA, "gzip that is cut short", MALFORMED)
            .sent(good(3).into_iter().map(cut_short)),
        Case::new(
            OTHER,
            "an encoding that we don't know: 415, with those that we know",
            MEDIA_TYPE,
        )
        .sent(over_http(good(1)).map(|it| it.header("content-encoding", "br"))),
        Case::new(OTHER, "two encodings", MEDIA_TYPE).sent(
            over_http(good(1)).map(|it| it.compressed("gzip").header("content-encoding", "gzip")),
        ),
        Case::new(OTHER, "another content type, or none", MEDIA_TYPE).sent([
            any(&[("Content-Type", "text/plain")], TRACES, "POST"),
            any(&[], TRACES, "POST"),
        ]),
        Case::new(
            OTHER,
            "another method: 405, with the one that is allowed",
            Answer::Refused(405, 12, None),
        )
        .sent(
            ["GET", "PUT", "DELETE", "OPTIONS"]
                .into_iter()
                .flat_map(|method| over_http(good(1)).map(move |it| it.method(method))),
        ),
        Case::new(
            OTHER,
            "another path, that of another signal included",
            Answer::Refused(404, 12, None),
        )
        .sent(
            ["/v1/metrics", "/v1/logs", "/", "/v1/traces/", "/V1/traces"]
                .into_iter()
                .flat_map(|path| over_http(good(1)).map(move |it| it.path(path))),
        ),
        Case::new(
            OTHER,
            "what a web page of another origin makes up (RFC 6454)",
            Answer::Refused(403, 12, None),
        )
        .sent(over_http(good(1)).map(|it| it.header("origin", "http://evil.example"))),
        Case::new(OTHER, "gRPC over HTTP/1.1, whatever its path", MEDIA_TYPE).sent([
            any(&[("Content-Type", "application/grpc")], TRACES, "POST"),
            any(&[("Content-Type", "application/grpc")], EXPORT, "POST"),
        ]),
    ]
}

fn framing_cases() -> Vec<Case> {
    let one = framed(0, &request(1, 0));
    let unimplemented = Answer::Refused(404, 12, None);
    vec![
        Case::new(
            FRAMING,
            "a message that isn't compressed is one, whatever `grpc-encoding` says",
            taken(1),
        )
        .sent([grpc_bytes(one.clone()).header("grpc-encoding", "gzip")]),
        Case::new(FRAMING, "no message", MALFORMED).sent([grpc_bytes(Vec::new())]),
        Case::new(FRAMING, "half a prefix", MALFORMED).sent([grpc_bytes(vec![0, 0, 0])]),
        Case::new(FRAMING, "half a message", MALFORMED).sent([grpc_bytes(one[..20].to_vec())]),
        Case::new(FRAMING, "two messages in a unary call", MALFORMED)
            .sent([grpc_bytes(one.repeat(2))]),
        Case::new(
            FRAMING,
            "a compressed-flag that is neither 0 nor 1",
            MALFORMED,
        )
        .sent([grpc_bytes(framed(9, &request(1, 0)))]),
        Case::new(
            FRAMING,
            "compressed by what we don't know, or by nothing",
            unimplemented,
        )
        .sent([
            grpc_bytes(framed(1, b"snappy")).header("grpc-encoding", "snappy"),
            grpc_bytes(framed(1, &request(1, 0))),
            grpc_bytes(framed(1, &request(1, 0))).header("grpc-encoding", "identity"),
        ]),
        Case::new(FRAMING, "another service or method", unimplemented).sent([
            grpc_bytes(one.clone()).path(METRICS),
            grpc_bytes(one.clone())
                .path("/opentelemetry.proto.collector.trace.v1.TraceService/export"),
            grpc_bytes(one.clone()).path(TRACES),
        ]),
        Case::new(
            FRAMING,
            "messages in another form than protobuf",
            MEDIA_TYPE,
        )
        .sent([
            grpc_bytes(one.clone()).header("content-type", "application/grpc+json"),
            grpc_bytes(one).header("content-type", "application/grpc-web"),
        ]),
    ]
}

fn pressed_cases() -> Vec<Case> {
    vec![
        Case::new(
            THROTTLING,
            "the engine is behind: retryable, with a delay",
            Answer::Refused(503, 14, Some(1)),
        )
        .while_it_is(Fares::Behind)
        .sent(good(1)),
        Case::new(
            THROTTLING,
            "what needs no place is taken meanwhile",
            taken(0),
        )
        .while_it_is(Fares::Behind)
        .sent([grpc_call(b""), http_bytes(Way::Protobuf, Vec::new())]),
        Case::new(
            THROTTLING,
            "requests under way hold all memory",
            Answer::Refused(503, 14, Some(1)),
        )
        .while_it_is(Fares::WithoutMemory)
        .sent([
            grpc_call(&request(1000, 0)),
            http_bytes(Way::Protobuf, request(1000, 0)),
            json_text(&as_json(&decoded(&request(120, 0)))),
        ]),
        Case::new(
            THROTTLING,
            "the disk is full: nothing is acknowledged that isn't kept",
            Answer::Refused(503, 14, Some(5)),
        )
        .while_it_is(Fares::WithoutDisk)
        .sent(good(1)),
        Case::new(
            THROTTLING,
            "a source that sent more spans than it may is told when to come again",
            Answer::Refused(429, 14, Some(30)),
        )
        .while_it_is(Fares::Rationed)
        .sent(good(1)),
        Case::new(
            BAD_DATA,
            "names that are made up for each request, over the source's allowance, aren't asked for again",
            Answer::Refused(400, 3, None),
        )
        .while_it_is(Fares::Known)
        .sent(good(1)),
    ]
}
