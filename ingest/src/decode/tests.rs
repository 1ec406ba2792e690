//! Does the walk say what the generated types say, and JSON what protobuf says?
//!
//! The oracle is shared with the fuzz targets, which ask the same of any bytes at all.

#[path = "../../fuzz/oracle.rs"]
pub(crate) mod oracle;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1 as proto;
use proptest::prelude::*;
use prost::Message;

use super::*;
use oracle::{KEPT, Style, from_json, oracle};

fn context() -> DecodeContext {
    DecodeContext::new(&KEPT.into_iter().collect())
}

// === arbitrary requests ===

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        1 => Just(None),
        6 => prop_oneof![
            "[a-z.:/_\"\\\\]{0,9}", "[0-9]{1,4}", "\\PC{0,8}",
            Just("DEADLINE_EXCEEDED".to_owned()), Just("Unavailable".to_owned()),
            "(https?://)?(me@)?(cart|\\[::1\\])?(:[0-9]{0,6})?[/?#]?[a-z:/]{0,4}",
        ].prop_map(|it| Some(Any::StringValue(it))),
        1 => prop_oneof![Just("const"), Just("probabilistic"), Just("ratelimiting"), Just("0.25")]
            .prop_map(|it| Some(Any::StringValue(it.to_owned()))),
        1 => any::<bool>().prop_map(|it| Some(Any::BoolValue(it))),
        3 => prop_oneof![any::<i64>(), 0i64..700].prop_map(|it| Some(Any::IntValue(it))),
        2 => prop_oneof![-1e9..1e9, Just(f64::NAN), Just(f64::INFINITY), Just(503.0), Just(0.125)].prop_map(|it| Some(Any::DoubleValue(it))),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(|it| Some(Any::BytesValue(it))),
        1 => any::<i32>().prop_map(|it| Some(Any::StringValueStrindex(it))),
    ];
    let leaf = leaf.prop_map(|value| value.map(|value| AnyValue { value: Some(value) }));
    leaf.prop_recursive(3, 12, 4, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..4).prop_map(|values| {
            let values = values.into_iter().map(Option::unwrap_or_default).collect();
            Any::ArrayValue(ArrayValue { values })
        });
        let map = prop::collection::vec(("[a-z\"]{0,3}", inner), 0..4).prop_map(|pairs| {
            let values = pairs
                .into_iter()
                .map(|(key, value)| pair(&key, value))
                .collect();
            Any::KvlistValue(KeyValueList { values })
        });
        prop_oneof![array, map].prop_map(|value| Some(AnyValue { value: Some(value) }))
    })
}

fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value,
        ..KeyValue::default()
    }
}

fn attributes(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        6 => prop::sample::select(keys).prop_map(str::to_owned),
        1 => "[a-z.]{0,12}",
    ];
    prop::collection::vec((key, any_value()), 0..8).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, value)| pair(&key, value))
            .collect()
    })
}

const SPAN_KEYS: &[&str] = &[
    "http.request.method",
    "http.method",
    "http.route",
    "http.response.status_code",
    "http.status_code",
    "rpc.status_code",
    "rpc.response.status_code",
    "rpc.grpc.status_code",
    "error.type",
    "exception.type",
    "peer.service",
    "server.address",
    "net.peer.name",
    "server.port",
    "net.peer.port",
    "url.full",
    "http.url",
    "http.host",
    "db.system.name",
    "db.system",
    "db.namespace",
    "db.name",
    "messaging.system",
    "messaging.destination.name",
    "messaging.destination",
    "code.namespace",
    "code.function.name",
    "rekindle.generation",
    "sampler.type",
    "sampler.param",
    "SampleRate",
    "shard",
    "tenant.id",
];

const RESOURCE_KEYS: &[&str] = &[
    "service.name",
    "service.instance.id",
    "service.version",
    "host.name",
    "process.pid",
    "k8s.pod.name",
    "k8s.node.name",
    "container.id",
    "rekindle.generation",
];

/// Mostly valid, sometimes of the wrong length or all zero.
fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => prop::collection::vec(any::<u8>(), length),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => Just(vec![0; length]),
    ]
}

/// Of others, of samplers, and broken.
fn trace_state() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => Just("a=b".to_owned()),
        2 => "(a=b, ?)?ot=(rv:[0-9a-f]{14};)?(th|p|x):[0-9a-fA-F]{0,15}(;r:62)?",
        1 => "[a-z=:,;0-9]{0,20}",
    ]
}

fn span() -> impl Strategy<Value = proto::Span> {
    let ids = (id(16), id(8), prop_oneof![Just(Vec::new()), id(8)]);
    let time = || prop_oneof![Just(0u64), any::<u64>(), 1_000u64..2_000];
    let status = prop::option::of(("[a-z]{0,4}", -1i32..4));
    let event = (
        prop_oneof!["exception", "[a-z]{0,5}"],
        attributes(&["exception.type"]),
    );
    let links = prop::collection::vec((id(16), id(8)), 0..3);
    (
        ids,
        ("\\PC{0,12}", -1i32..7, any::<u32>(), trace_state()),
        (time(), time()),
        attributes(SPAN_KEYS),
        prop::collection::vec(event, 0..3),
        links,
        status,
    )
        .prop_map(
            |(ids, (name, kind, flags, trace_state), times, attributes, events, links, status)| {
                proto::Span {
                    trace_id: ids.0,
                    span_id: ids.1,
                    parent_span_id: ids.2,
                    trace_state,
                    name,
                    kind,
                    flags,
                    start_time_unix_nano: times.0,
                    end_time_unix_nano: times.1,
                    attributes,
                    dropped_attributes_count: 1,
                    events: events
                        .into_iter()
                        .map(|(name, attributes)| proto::span::Event {
                            name,
                            attributes,
                            ..Default::default()
                        })
                        .collect(),
                    links: links
                        .into_iter()
                        .map(|(trace_id, span_id)| proto::span::Link {
                            trace_id,
                            span_id,
                            ..Default::default()
                        })
                        .collect(),
                    status: status.map(|(message, code)| proto::Status { message, code }),
                    ..Default::default()
                }
            },
        )
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (
        prop::option::of(("[a-z]{0,5}", attributes(&["tailsampling.policy", "x"]))),
        prop::collection::vec(span(), 0..4),
    );
    let resource_spans = (
        prop::option::of(attributes(RESOURCE_KEYS)),
        prop::collection::vec(scope_spans, 0..3),
    );
    prop::collection::vec(resource_spans, 0..3).prop_map(|all| ExportTraceServiceRequest {
        resource_spans: all
            .into_iter()
            .map(|(attributes, scopes)| proto::ResourceSpans {
                resource: attributes.map(|attributes| ProtoResource {
                    attributes,
                    ..Default::default()
                }),
                scope_spans: scopes
                    .into_iter()
                    .map(|(scope, spans)| proto::ScopeSpans {
                        scope: scope.map(|(name, attributes)| InstrumentationScope {
                            name,
                            attributes,
                            ..Default::default()
                        }),
                        spans,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
    })
}

fn style() -> impl Strategy<Value = Style> {
    any::<[bool; 3]>().prop_map(|[digits_in_text, upper_case, with_nulls]| Style {
        digits_in_text,
        upper_case,
        with_nulls,
    })
}

proptest! {
    /// Clauses 14 to 18 and 22 to 25 of the receiver facts, against the generated types.
    #[test]
    fn the_walk_says_what_the_generated_types_say(request in request()) {
        let expected = oracle(&request);
        let mut context = context();
        let bytes = request.encode_to_vec();
        let decoded = decode_payload(ContentType::Protobuf, &bytes, &mut context);
        prop_assert_eq!(&decoded.expect("a valid request"), &expected);
        // Again, with all names and resources known.
        let decoded = decode_payload(ContentType::Protobuf, &bytes, &mut context);
        prop_assert_eq!(&decoded.expect("a valid request"), &expected);
    }

    #[test]
    fn json_says_what_protobuf_says(request in request(), style in style()) {
        let text = style.request(&request).to_string();
        let mut context = context();
        for _ in 0..2 {
            let decoded = decode_payload(ContentType::Json, text.as_bytes(), &mut context);
            prop_assert_eq!(decoded.expect(&text), oracle(&request));
        }
        let by_tree = from_json(&text).expect("a request");
        prop_assert_eq!(oracle(&by_tree), oracle(&request));
    }

    /// What was seen often enough to be known by its bytes is read as if it came for the first time, and so is what differs
    /// from it in a few.
    #[test]
    fn what_is_known_by_its_bytes_is_read_as_ever(
        requests in prop::collection::vec(request(), 1..3),
        at: prop::sample::Index,
        with: u8,
    ) {
        let mut context = context();
        let mut bytes: Vec<Vec<u8>> = requests.iter().map(Message::encode_to_vec).collect();
        let mut damaged = bytes[0].clone();
        if !damaged.is_empty() {
            let at = at.index(damaged.len());
            damaged[at] = with;
        }
        bytes.push(damaged);
        for round in 0..5 {
            for bytes in &bytes {
                let read = |context: &mut DecodeContext| {
                    decode_payload(ContentType::Protobuf, bytes, context).map_err(|it| it.to_string())
                };
                // A resource is read once, and so is what was wrong with it counted once.
                let mut other = self::context();
                let _ = read(&mut other);
                let (read, expected) = (read(&mut context), read(&mut other));
                if round > 0 {
                    prop_assert_eq!(read, expected);
                }
            }
        }
    }

    /// Damaged requests are refused or read, and leave nothing behind in the context.
    #[test]
    fn damage_does_no_harm(
        request in request(),
        style in style(),
        at: prop::sample::Index,
        with: u8,
        cut: bool,
    ) {
        let mut context = context();
        let protobuf = request.encode_to_vec();
        let json = style.request(&request).to_string().into_bytes();
        for (content_type, whole) in [(ContentType::Protobuf, protobuf), (ContentType::Json, json)] {
            let mut damaged = whole.clone();
            if !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] = with;
                damaged.truncate(if cut { at } else { damaged.len() });
            }
            let read = decode_payload(content_type, &damaged, &mut context);
            // What both read they read alike; and what the generated types read, the walk reads.
            let expected = match content_type {
                ContentType::Protobuf => ExportTraceServiceRequest::decode(&damaged[..]).ok(),
                ContentType::Json => {
                    let text = std::str::from_utf8(&damaged).ok();
                    text.and_then(from_json).filter(|_| read.is_ok())
                }
            };
            let in_parts = content_type == ContentType::Protobuf && oracle::has_parts(&damaged);
            if let Some(expected) = expected.filter(|it| oracle::is_plain(it) && !in_parts) {
                prop_assert_eq!(read.expect("both read it"), oracle(&expected));
            }
            let decoded = decode_payload(content_type, &whole, &mut context);
            prop_assert_eq!(decoded.expect("a valid request"), oracle(&request));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut context = context();
        let _ = decode_payload(ContentType::Protobuf, &bytes, &mut context);
        let _ = decode_payload(ContentType::Json, &bytes, &mut context);
    }
}

#[test]
fn the_same_resource_in_two_requests_is_one_allocation() {
    let span = proto::Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..Default::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![proto::ResourceSpans {
            scope_spans: vec![proto::ScopeSpans {
                spans: vec![span],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let style = Style {
        digits_in_text: true,
        upper_case: true,
        with_nulls: true,
    };
    let mut context = context();
    let mut resource = |content_type, bytes: &[u8]| {
        let decoded = decode_payload(content_type, bytes, &mut context).expect("valid");
        decoded
            .spans
            .iter()
            .next()
            .expect("a span")
            .resource
            .clone()
    };
    let bytes = request.encode_to_vec();
    let one = resource(ContentType::Protobuf, &bytes);
    assert!(Arc::ptr_eq(&one, &resource(ContentType::Protobuf, &bytes)));
    let json = style.request(&request).to_string();
    assert!(Arc::ptr_eq(
        &one,
        &resource(ContentType::Json, json.as_bytes())
    ));
}

/// Attributes of a span, all texts.
type Texts = [(&'static str, &'static str)];

/// Each case: the kind, what is said, and the route that follows from it.
#[test]
fn a_path_is_a_route_where_it_is_a_known_one() {
    const SERVER: i32 = 2;
    const CLIENT: i32 = 3;
    let cases: [(i32, &Texts, Option<&str>); 9] = [
        (SERVER, &[("url.path", "/healthz")], Some("/healthz")),
        (
            SERVER,
            &[("http.target", "/healthz?full=1")],
            Some("/healthz"),
        ),
        (SERVER, &[("url.path", "/cart/7")], None),
        (SERVER, &[("url.path", "/healthz/7")], None),
        (SERVER, &[("http.target", "/healthy?full=1")], None),
        (SERVER, &[("url.path", "")], None),
        (CLIENT, &[("url.path", "/healthz")], None),
        (
            SERVER,
            &[("url.path", "/healthz"), ("http.route", "/{name}")],
            Some("/{name}"),
        ),
        (
            SERVER,
            &[("http.target", "/ready"), ("url.path", "/healthz")],
            Some("/healthz"),
        ),
    ];
    let text = |(key, text): &(&str, &str)| {
        let value = Any::StringValue((*text).to_owned());
        pair(key, Some(AnyValue { value: Some(value) }))
    };
    let none: KeepAttributes = ["shard"].into_iter().collect();
    let kept: KeepAttributes = ["url.path"].into_iter().collect();
    for (kind, said, expected) in cases {
        let request = ExportTraceServiceRequest {
            resource_spans: vec![proto::ResourceSpans {
                scope_spans: vec![proto::ScopeSpans {
                    spans: vec![proto::Span {
                        trace_id: vec![1; 16],
                        span_id: vec![1; 8],
                        kind,
                        attributes: said.iter().map(text).collect(),
                        ..proto::Span::default()
                    }],
                    ..proto::ScopeSpans::default()
                }],
                ..proto::ResourceSpans::default()
            }],
        };
        let bytes = request.encode_to_vec();
        let route = |keep: &KeepAttributes| {
            let mut context = DecodeContext::new(keep);
            let decoded = decode_payload(ContentType::Protobuf, &bytes, &mut context);
            let span = decoded.expect("a request").spans.iter().next();
            span.expect("a span").facts.http_route.clone()
        };
        let with_routes = |keep: &KeepAttributes| keep.clone().with_routes(["/healthz", "/ready"]);
        for keep in [&none, &kept] {
            assert_eq!(route(&with_routes(keep)).as_deref(), expected, "{said:?}");
        }
        let of_itself = said.iter().find(|(key, _)| *key == "http.route");
        let of_itself = of_itself.map(|(_, route)| *route);
        assert_eq!(route(&none).as_deref(), of_itself, "{said:?}");
    }
}

#[test]
fn json_that_is_not_otlp_says_why() {
    for (body, reason) in [
        ("", "EOF"),
        ("[]", "an object"),
        (r#"{"resourceSpans":[[]]}"#, "an object"),
        (r#"{"resourceSpans":5}"#, "a list"),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}"#,
            "integer",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"soon"}]}]}]}"#,
            "64-bit",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":0.5}]}]}]}"#,
            "64-bit",
        ),
    ] {
        let error = decode_payload(ContentType::Json, body.as_bytes(), &mut context());
        let error = error.expect_err(body);
        let DecodeError::Json(source) = error else {
            panic!("{body}: {error}")
        };
        assert!(source.to_string().contains(reason), "{body}: {source}");
    }
    let error = decode_payload(ContentType::Json, b"\"\xff\"", &mut context());
    assert!(matches!(error, Err(DecodeError::NotUtf8)));
    for body in [
        "{}",
        r#"{"resourceSpans":null}"#,
        r#"{"resource_spans":[1]}"#,
    ] {
        let decoded = decode_payload(ContentType::Json, body.as_bytes(), &mut context());
        assert_eq!(decoded.expect(body), Decoded::default());
    }
}

/// Names, attributes and resources that are new in every span: what is remembered stays bounded, what
/// there was no room for is counted, and what is honest is read as before.
/// Spans of which no two say the same, as short as they can be; or as short as an honest exporter's.
fn all_different(number: u64, honest: bool) -> Vec<u8> {
    let span = |id: u64| proto::Span {
        trace_id: vec![1; 16],
        span_id: (id + 1).to_be_bytes().to_vec(),
        name: format!("{id:x}"),
        start_time_unix_nano: u64::from(honest),
        end_time_unix_nano: u64::from(honest),
        ..proto::Span::default()
    };
    let scope_spans = vec![proto::ScopeSpans {
        spans: (0..number).map(span).collect(),
        ..proto::ScopeSpans::default()
    }];
    let resource_spans = vec![proto::ResourceSpans {
        scope_spans,
        ..proto::ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
fn a_request_has_room_for_as_many_kinds_of_span_as_an_honest_one_of_its_length() {
    let read =
        |bytes: &[u8]| decode_payload(ContentType::Protobuf, bytes, &mut context()).expect("valid");
    for number in [1, 1000, 5000] {
        let decoded = read(&all_different(number, true));
        assert_eq!(decoded.spans.len() as u64, number);
        assert_eq!(decoded.counts.rejected(), 0);
    }
    let hostile = all_different(5000, false);
    let decoded = read(&hostile);
    let room = 1024 + hostile.len() / 64;
    assert!(room < 5000);
    assert_eq!(decoded.spans.len(), room);
    assert_eq!(decoded.counts.rejected_variety, 5000 - room as u64);
    // What follows has room again.
    assert_eq!(read(&all_different(1, false)).counts.rejected(), 0);
}

#[test]
fn a_hostile_stream_fills_nothing_up() {
    let span = |number: u32| proto::Span {
        trace_id: vec![1; 16],
        span_id: (u64::from(number) + 1).to_be_bytes().to_vec(),
        name: format!("name {number}"),
        attributes: ["http.route", "error.type", "shard", "server.address"]
            .map(|key| {
                let value = Any::StringValue(format!("{key} {number}"));
                pair(key, Some(AnyValue { value: Some(value) }))
            })
            .into(),
        ..Default::default()
    };
    let request = |from: u32| {
        let resource_spans = (from..from + 100).map(|number| proto::ResourceSpans {
            resource: Some(ProtoResource {
                attributes: span(number).attributes,
                ..Default::default()
            }),
            scope_spans: vec![proto::ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: format!("scope {number}"),
                    ..Default::default()
                }),
                spans: vec![span(number)],
                ..Default::default()
            }],
            ..Default::default()
        });
        ExportTraceServiceRequest {
            resource_spans: resource_spans.collect(),
        }
        .encode_to_vec()
    };
    let honest = request(u32::MAX - 100);
    let mut context = context();
    let read = |bytes: &[u8], context: &mut DecodeContext| {
        decode_payload(ContentType::Protobuf, bytes, context).expect("valid")
    };
    let expected = read(&honest, &mut context);
    // All of it held, as if no trace was ever let go.
    let (mut held, mut other) = (Vec::new(), 0);
    for number in 0..260 {
        let decoded = read(&request(number * 100), &mut context);
        other += decoded.counts.other_names;
        held.push(decoded.spans);
        let (names, shapes) = context.remembered();
        assert!(names <= 1 << 17 && shapes <= 1 << 16, "{names} {shapes}");
    }
    assert!(other > 0, "there were more names than are remembered");
    drop(held);
    // Refusals make what is remembered forget, and earn a sweep, after which there is room again.
    let mut refused = 0;
    for number in 0..500 {
        refused = read(&request(1_000_000 + number * 100), &mut context)
            .counts
            .other_names;
        if refused == 0 {
            break;
        }
    }
    assert_eq!(refused, 0);
    assert_eq!(read(&honest, &mut context).spans, expected.spans);
}

/// Spans whose attributes have values of their own, in more operations than are tried one after the other, are known by their
/// bytes once they came some times; with the attribute that counts changed, they are something else.
#[test]
fn what_comes_often_is_known_by_its_bytes() {
    let text = |key: &str, value: String| {
        let value = Any::StringValue(value);
        pair(key, Some(AnyValue { value: Some(value) }))
    };
    let request = |round: u64, shard: &str, server: &str| {
        let span = |operation: u64| proto::Span {
            trace_id: vec![1; 16],
            span_id: (round * 100 + operation + 1).to_be_bytes().to_vec(),
            name: format!("operation {operation}"),
            kind: 3,
            start_time_unix_nano: round + 1,
            end_time_unix_nano: round + 2,
            attributes: vec![
                text("thread.name", format!("worker {round}")),
                text("shard", shard.to_owned()),
                text("http.url", format!("http://{server}/items/{round}")),
                text("db.statement", "select ".repeat(operation as usize)),
            ],
            flags: 0x300,
            ..Default::default()
        };
        let spans = (0..40).map(span).collect();
        let scope_spans = vec![proto::ScopeSpans {
            spans,
            ..Default::default()
        }];
        let resource_spans = vec![proto::ResourceSpans {
            scope_spans,
            ..Default::default()
        }];
        ExportTraceServiceRequest { resource_spans }
    };
    let mut context = context();
    for round in 0..9 {
        for (shard, server) in [("north", "cart"), ("south", "cart"), ("north", "cart:81")] {
            let request = request(round, shard, server);
            let decoded = decode_payload(
                ContentType::Protobuf,
                &request.encode_to_vec(),
                &mut context,
            );
            assert_eq!(decoded.expect("valid"), oracle(&request));
        }
        // Made for the first time, remembered the second, known the third.
        let expected = if round < 2 { 0 } else { 120 };
        assert_eq!(context.seen.len(), expected, "{round}");
    }
}

/// When too much is new, what is left out is what is new in it: a message first, then a name.
#[test]
fn of_what_is_new_too_often_the_rest_is_kept() {
    let request = |number: usize, name: &str, message: &str| {
        let span = proto::Span {
            trace_id: vec![1; 16],
            span_id: (number as u64 + 1).to_be_bytes().to_vec(),
            name: name.to_owned(),
            attributes: vec![pair(
                "server.address",
                Some(AnyValue {
                    value: Some(Any::StringValue("db".to_owned())),
                }),
            )],
            kind: 3,
            status: Some(proto::Status {
                code: 2,
                message: message.to_owned(),
            }),
            ..Default::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![proto::ResourceSpans {
                scope_spans: vec![proto::ScopeSpans {
                    spans: vec![span],
                    ..Default::default()
                }],
                ..Default::default()
            }],
        }
        .encode_to_vec()
    };
    let mut context = context();
    let mut read =
        |bytes: &[u8]| decode_payload(ContentType::Protobuf, bytes, &mut context).expect("valid");
    // Each says something new, for as long as that was paid for, and a little longer.
    for number in 0..40_000 {
        read(&request(number, "query", &format!("failed {number}")));
    }
    let with_new_message = read(&request(0, "query", "failed again"));
    for number in 0..10 {
        read(&request(number, &format!("query {number}"), ""));
    }
    let with_new_name = read(&request(0, "query again", ""));
    for (decoded, name, counts) in [
        (with_new_message, "query", (1, 0)),
        (with_new_name, "other", (0, 1)),
    ] {
        let span = decoded.spans.iter().next().expect("one span");
        assert_eq!(&*span.name, name);
        assert_eq!(span.status_message, None);
        assert_eq!(span.facts.server_address.as_deref(), Some("db"));
        assert_eq!(span.status, rekindle_model::Status::Error);
        assert_eq!(
            (decoded.counts.cut_text, decoded.counts.other_names),
            counts
        );
    }
}

/// A stream of spans that have keys of their own, which pays for what it wants remembered until nothing is left, keeps
/// nobody from being known by its bytes after all was forgotten.
#[test]
fn who_can_pay_for_nothing_is_learned_by_and_by() {
    let request = |keys: &mut dyn Iterator<Item = u64>| {
        let span = |key: u64| proto::Span {
            trace_id: vec![1; 16],
            span_id: (key + 1).to_be_bytes().to_vec(),
            name: "operation".to_owned(),
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![pair(&format!("key.{key}"), None)],
            ..Default::default()
        };
        let scope_spans = vec![proto::ScopeSpans {
            spans: keys.map(span).collect(),
            ..Default::default()
        }];
        let resource_spans = vec![proto::ResourceSpans {
            scope_spans,
            ..Default::default()
        }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    };
    let mut context = context();
    let read = |payload: &[u8], context: &mut DecodeContext| {
        let decoded = decode_payload(ContentType::Protobuf, payload, context);
        decoded.expect("valid").spans.len()
    };
    for thousand in 0..45 {
        let keys = thousand * 1000..(thousand + 1) * 1000;
        assert_eq!(read(&request(&mut keys.into_iter()), &mut context), 1000);
    }
    context.seen.clear();
    let same = request(&mut std::iter::repeat_n(7, 20));
    assert_eq!(read(&same, &mut context), 20);
    assert_eq!(context.seen.len(), 1);
}

/// A request that has as much variety as one of its length may have is taken whole however often it comes, though each of
/// its shapes is known by the bytes of several spans, and by what a span with a link says.
#[test]
fn what_is_known_in_several_ways_has_one_place_in_a_request() {
    const SHAPES: u64 = 1500;
    let span = |number: u64| {
        let which = number / 4;
        let mut span = proto::Span {
            trace_id: vec![1; 16],
            span_id: (number + 1).to_be_bytes().to_vec(),
            name: format!("{which:04}"),
            ..Default::default()
        };
        match number % 4 {
            0 => span.dropped_events_count = 1,
            1 => span.dropped_links_count = 1,
            2 => span.links = vec![proto::span::Link::default()],
            _ => {}
        }
        span
    };
    let scope_spans = vec![proto::ScopeSpans {
        spans: (0..4 * SHAPES).map(span).collect(),
        ..Default::default()
    }];
    let resource_spans = vec![proto::ResourceSpans {
        scope_spans,
        ..Default::default()
    }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let mut context = context();
    for round in 0..4 {
        let decoded = decode_payload(ContentType::Protobuf, &request, &mut context);
        let decoded = decoded.expect("valid");
        assert_eq!(decoded.counts.rejected(), 0, "{round}");
        // Made when it comes for the first time, and remembered from the second time on.
        let places = if round == 0 { 2 * SHAPES } else { SHAPES };
        assert_eq!(decoded.spans.shapes().len() as u64, places, "{round}");
    }
    assert_eq!(context.seen.len() as u64, 3 * SHAPES);
}

/// How callers name a server, and which ports they ask from, is another thing each time: on a server's span it says nothing,
/// and makes no shape of its own. On a client's it is whom it asks.
#[test]
fn who_asks_a_server_makes_no_shapes_of_it() {
    let attribute = |key: &str, value| pair(key, Some(AnyValue { value: Some(value) }));
    let text = |key: &str, value: String| attribute(key, Any::StringValue(value));
    let request = |kind: i32, round: u64| {
        let span = |number: u64| proto::Span {
            trace_id: vec![1; 16],
            span_id: (number + 1).to_be_bytes().to_vec(),
            name: "GET /items".to_owned(),
            kind,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![
                text("http.route", "/items".to_owned()),
                text("http.host", format!("host-{number}-{round}:80")),
                text("server.address", format!("host-{number}-{round}")),
                attribute("net.peer.port", Any::IntValue(number as i64)),
            ],
            ..Default::default()
        };
        let scope_spans = vec![proto::ScopeSpans {
            spans: (0..20).map(span).collect(),
            ..Default::default()
        }];
        let resource_spans = vec![proto::ResourceSpans {
            scope_spans,
            ..Default::default()
        }];
        ExportTraceServiceRequest { resource_spans }
    };
    for (kind, shapes) in [(2, 1), (3, 20)] {
        let mut context = context();
        for round in 0..3 {
            let request = request(kind, round);
            let bytes = request.encode_to_vec();
            let decoded = decode_payload(ContentType::Protobuf, &bytes, &mut context);
            let decoded = decoded.expect("valid");
            // Made when it comes for the first time, and remembered from the second time on.
            let expected = if round == 0 { shapes.max(2) } else { shapes };
            assert_eq!(decoded.spans.shapes().len(), expected, "{kind} {round}");
            assert_eq!(decoded, oracle(&request), "{kind} {round}");
            let style = Style {
                digits_in_text: true,
                upper_case: false,
                with_nulls: false,
            };
            let json = style.request(&request).to_string();
            let read = decode_payload(ContentType::Json, json.as_bytes(), &mut context);
            let read = read.expect("valid").spans.shapes().len();
            assert!(read == shapes || round == 0, "{kind} {round}: {read}");
        }
        assert_eq!(context.seen.len(), if kind == 2 { 1 } else { 0 });
    }
}
