//! Does the walk say what the generated types say, and JSON what protobuf says?
//!
//! The oracle reads a request through `opentelemetry-proto` and maps it in the plainest way there
//! is: all attributes into a list, each fact looked up under its names in order.

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
use rekindle_model::{
    Facts, Link, Name, Resource, Shape, Span, SpanId, SpanKind, Status, TraceId, UnixNanos,
};
use serde_json::{Value as Json, json};

use super::grpc_code::grpc_code;
use super::*;

const KEPT: [&str; 3] = ["shard", "code.namespace", "tenant.id"];

fn context() -> DecodeContext {
    DecodeContext::new(&KEPT.into_iter().collect())
}

// === the oracle ===

fn text(value: &Option<AnyValue>) -> Option<String> {
    let value = value.as_ref()?.value.as_ref()?;
    Some(match value {
        Any::StringValue(text) => text.clone(),
        Any::StringValueStrindex(_) => return None,
        Any::BytesValue(bytes) => base64(bytes),
        Any::DoubleValue(value) => value.to_string(),
        other => as_json(other),
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn as_json(value: &Any) -> String {
    let element = |value: &Option<AnyValue>| match value.as_ref().and_then(|it| it.value.as_ref()) {
        None | Some(Any::StringValueStrindex(_)) => "null".to_owned(),
        Some(value) => as_json(value),
    };
    match value {
        Any::StringValue(text) => json!(text).to_string(),
        Any::BytesValue(bytes) => json!(base64(bytes)).to_string(),
        Any::BoolValue(value) => value.to_string(),
        Any::IntValue(value) => value.to_string(),
        Any::DoubleValue(value) if value.is_nan() => "\"NaN\"".to_owned(),
        Any::DoubleValue(value) => value.to_string(),
        Any::ArrayValue(array) => {
            let elements = array.values.iter().map(|it| element(&Some(it.clone())));
            format!("[{}]", elements.collect::<Vec<_>>().join(","))
        }
        Any::KvlistValue(map) => {
            let pairs = map.values.iter();
            let pairs = pairs.map(|it| format!("{}:{}", json!(it.key), element(&it.value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Any::StringValueStrindex(_) => unreachable!("seen to above"),
    }
}

fn whole(value: &Option<AnyValue>) -> Option<i64> {
    match value.as_ref()?.value.as_ref()? {
        Any::IntValue(number) => Some(*number),
        Any::StringValue(text) => text.trim().parse().ok(),
        Any::DoubleValue(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}

/// The last sensible value under the first of these keys that has one.
fn fact<T>(
    attributes: &[KeyValue],
    keys: &[&str],
    read: impl Fn(&Option<AnyValue>) -> Option<T>,
) -> Option<T> {
    keys.iter().find_map(|key| {
        let of_key = attributes.iter().rev().filter(|pair| pair.key == *key);
        of_key.filter_map(|pair| read(&pair.value)).next()
    })
}

fn as_name(value: &Option<AnyValue>) -> Option<Name> {
    text(value).filter(|it| !it.is_empty()).map(Name::from)
}

fn as_small(value: &Option<AnyValue>) -> Option<u16> {
    u16::try_from(whole(value)?).ok()
}

fn as_u64(value: &Option<AnyValue>) -> Option<u64> {
    u64::try_from(whole(value)?).ok()
}

fn as_grpc(value: &Option<AnyValue>) -> Option<u16> {
    match value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => grpc_code(text.as_bytes()),
        _ => as_small(value),
    }
}

fn as_namespace(value: &Option<AnyValue>) -> Option<Name> {
    let function = text(value)?;
    let at = function.rfind([':', '.', '/'])?;
    let namespace = function[..at].strip_suffix(':').unwrap_or(&function[..at]);
    (!namespace.is_empty()).then(|| namespace.into())
}

fn pairs(attributes: &[KeyValue], wanted: impl Fn(&str) -> bool) -> Vec<(Name, Name)> {
    let mut map = std::collections::BTreeMap::new();
    for pair in attributes {
        if let Some(text) = text(&pair.value).filter(|_| wanted(&pair.key)) {
            map.insert(pair.key.clone(), text);
        }
    }
    map.into_iter().map(|(k, v)| (k.into(), v.into())).collect()
}

fn oracle_resource(resource: &Option<ProtoResource>) -> Resource {
    let attributes = resource.as_ref().map_or(&[][..], |it| &it.attributes);
    let pairs = pairs(attributes, |key| !key.is_empty());
    let get = |key: &str| {
        let found = pairs.iter().find(|(name, _)| &**name == key);
        found
            .map(|(_, text)| text.clone())
            .filter(|it| !it.is_empty())
    };
    Resource {
        service: get("service.name").unwrap_or_else(|| "unknown_service".into()),
        instance: get("service.instance.id")
            .or_else(|| get("k8s.pod.name"))
            .or_else(|| {
                let (host, pid) = (get("host.name")?, get("process.pid")?);
                Some(format!("{host}:{pid}").into())
            })
            .or_else(|| get("container.id")),
        version: get("service.version"),
        host: get("host.name").or_else(|| get("k8s.node.name")),
        attributes: pairs,
    }
}

fn oracle(request: &ExportTraceServiceRequest) -> Decoded {
    let mut decoded = Decoded::default();
    for resource_spans in &request.resource_spans {
        let resource = Arc::new(oracle_resource(&resource_spans.resource));
        let generation = resource.attribute("rekindle.generation");
        let generation = generation.and_then(|it| it.parse().ok());
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.as_ref().map(|it| it.name.as_str());
            let scope = scope.filter(|it| !it.is_empty()).map(Name::from);
            for span in &scope_spans.spans {
                oracle_span(span, &resource, generation, &scope, &mut decoded);
            }
        }
    }
    decoded
}

fn oracle_span(
    span: &proto::Span,
    resource: &Arc<Resource>,
    process_generation: Option<u64>,
    scope: &Option<Name>,
    decoded: &mut Decoded,
) {
    let trace_id = |bytes: &[u8]| TraceId::from_bytes(bytes.try_into().ok()?);
    let span_id = |bytes: &[u8]| SpanId::from_bytes(bytes.try_into().ok()?);
    let mut links = Vec::new();
    for link in &span.links {
        match (trace_id(&link.trace_id), span_id(&link.span_id)) {
            (Some(trace_id), Some(span_id)) => links.push(Link { trace_id, span_id }),
            _ => decoded.counts.dropped_links += 1,
        }
    }
    let Some(trace_id) = trace_id(&span.trace_id) else {
        decoded.counts.rejected_trace_id += 1;
        return;
    };
    let Some(own_id) = span_id(&span.span_id) else {
        decoded.counts.rejected_span_id += 1;
        return;
    };
    if !matches!(span.parent_span_id.len(), 0 | 8) {
        decoded.counts.rejected_parent_id += 1;
        return;
    }
    let (mut start, mut end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    if start == 0 || end < start {
        decoded.counts.mended_times += 1;
        (start, end) = if start == 0 {
            (end, end)
        } else {
            (start, start)
        };
    }
    let attributes = &span.attributes;
    let exceptions = span.events.iter().filter(|event| event.name == "exception");
    let exceptions: Vec<KeyValue> = exceptions.flat_map(|it| it.attributes.clone()).collect();
    let callee = |keys| fact(attributes, keys, as_name).filter(|_| span.kind != 2);
    let span = Span {
        trace_id,
        span_id: own_id,
        parent_id: span_id(&span.parent_span_id),
        parent_is_remote: match span.flags & 0x300 {
            0x300 => Some(true),
            0x100 => Some(false),
            _ => None,
        },
        start: UnixNanos(start),
        end: UnixNanos(end),
        links: links.into(),
        shape: Arc::new(Shape {
            kind: match span.kind {
                2 => SpanKind::Server,
                3 => SpanKind::Client,
                4 => SpanKind::Producer,
                5 => SpanKind::Consumer,
                _ => SpanKind::Internal,
            },
            name: span.name.as_str().into(),
            scope: scope.clone(),
            status: match span.status.as_ref().map(|it| it.code) {
                Some(1) => Status::Ok,
                Some(2) => Status::Error,
                _ => Status::Unset,
            },
            status_message: span
                .status
                .as_ref()
                .filter(|it| !it.message.is_empty())
                .map(|it| it.message.as_str().into()),
            resource: resource.clone(),
            facts: Facts {
                http_method: fact(attributes, &["http.request.method", "http.method"], as_name),
                http_route: fact(attributes, &["http.route"], as_name),
                http_status: fact(
                    attributes,
                    &["http.response.status_code", "http.status_code"],
                    as_small,
                ),
                grpc_status: fact(
                    attributes,
                    &[
                        "rpc.status_code",
                        "rpc.response.status_code",
                        "rpc.grpc.status_code",
                    ],
                    as_grpc,
                ),
                error_type: fact(attributes, &["error.type", "exception.type"], as_name)
                    .or_else(|| fact(&exceptions, &["exception.type"], as_name)),
                peer_service: fact(attributes, &["peer.service"], as_name),
                server_address: callee(&["server.address", "net.peer.name"]),
                server_port: fact(attributes, &["server.port", "net.peer.port"], as_small)
                    .filter(|_| span.kind != 2),
                db_system: fact(attributes, &["db.system.name", "db.system"], as_name),
                db_namespace: fact(attributes, &["db.namespace", "db.name"], as_name),
                messaging_system: fact(attributes, &["messaging.system"], as_name),
                messaging_destination: fact(
                    attributes,
                    &["messaging.destination.name", "messaging.destination"],
                    as_name,
                ),
                code_component: fact(attributes, &["code.namespace"], as_name)
                    .or_else(|| fact(attributes, &["code.function.name"], as_namespace)),
                generation: fact(attributes, &["rekindle.generation"], as_u64)
                    .or(process_generation),
            },
            attributes: pairs(attributes, |key| KEPT.contains(&key)),
        }),
    };
    let spans = decoded.spans.iter().chain([span]).collect();
    decoded.spans = spans;
}

// === the same request in JSON ===

/// How numbers and ids are written, where JSON leaves a choice.
#[derive(Clone, Copy, Debug)]
struct Style {
    digits_in_text: bool,
    upper_case: bool,
    with_nulls: bool,
}

impl Style {
    fn number(self, number: impl Into<i128> + Copy) -> Json {
        if self.digits_in_text {
            return json!(number.into().to_string());
        }
        // serde_json has no i128; both ends of the range are needed.
        let number = number.into();
        u64::try_from(number).map_or_else(|_| json!(number as i64), |it| json!(it))
    }

    fn id(self, bytes: &[u8]) -> Json {
        let hex = bytes.iter().map(|byte| match self.upper_case {
            true => format!("{byte:02X}"),
            false => format!("{byte:02x}"),
        });
        json!(hex.collect::<String>())
    }

    fn value(self, value: &Option<AnyValue>) -> Json {
        let Some(value) = value.as_ref().and_then(|it| it.value.as_ref()) else {
            return if self.with_nulls {
                json!({ "stringValue": null })
            } else {
                json!({})
            };
        };
        match value {
            Any::StringValue(text) => json!({ "stringValue": text }),
            Any::BoolValue(value) => json!({ "boolValue": value }),
            Any::IntValue(value) => json!({ "intValue": self.number(*value) }),
            Any::DoubleValue(value) if value.is_nan() => json!({ "doubleValue": "NaN" }),
            Any::DoubleValue(value) => json!({ "doubleValue": value }),
            Any::BytesValue(bytes) => json!({ "bytesValue": base64(bytes) }),
            Any::ArrayValue(array) => {
                let values = array.values.iter().map(|it| self.value(&Some(it.clone())));
                json!({ "arrayValue": { "values": values.collect::<Vec<_>>() } })
            }
            Any::KvlistValue(map) => {
                json!({ "kvlistValue": { "values": self.attributes(&map.values) } })
            }
            Any::StringValueStrindex(index) => json!({ "stringValueStrindex": index }),
        }
    }

    fn attributes(self, attributes: &[KeyValue]) -> Json {
        let pairs = attributes.iter();
        pairs
            .map(|it| json!({ "key": it.key, "value": self.value(&it.value) }))
            .collect()
    }

    fn span(self, span: &proto::Span) -> Json {
        let mut json = json!({
            "traceId": self.id(&span.trace_id),
            "spanId": self.id(&span.span_id),
            "name": span.name,
            "kind": span.kind,
            "startTimeUnixNano": self.number(span.start_time_unix_nano),
            "endTimeUnixNano": self.number(span.end_time_unix_nano),
            "attributes": self.attributes(&span.attributes),
            "flags": span.flags,
            "events": span.events.iter().map(|it| json!({
                "attributes": self.attributes(&it.attributes), "name": it.name,
            })).collect::<Json>(),
            "links": span.links.iter().map(|it| json!({
                "traceId": self.id(&it.trace_id), "spanId": self.id(&it.span_id),
            })).collect::<Json>(),
            "aFieldOfTheFuture": [{ "deep": true }],
        });
        if !span.parent_span_id.is_empty() {
            json["parentSpanId"] = self.id(&span.parent_span_id);
        } else if self.with_nulls {
            json["parentSpanId"] = Json::Null;
        }
        if let Some(status) = &span.status {
            json["status"] = json!({ "message": status.message, "code": status.code });
        }
        json
    }

    fn request(self, request: &ExportTraceServiceRequest) -> Json {
        let resource_spans = request.resource_spans.iter().map(|it| {
            let scope_spans = it.scope_spans.iter().map(|it| {
                let scope = it.scope.as_ref().map(|it| json!({ "name": it.name }));
                json!({ "scope": scope, "spans": it.spans.iter().map(|it| self.span(it)).collect::<Json>() })
            });
            let resource = it.resource.as_ref().map(|it| json!({ "attributes": self.attributes(&it.attributes) }));
            json!({ "scopeSpans": scope_spans.collect::<Json>(), "resource": resource })
        });
        json!({ "resourceSpans": resource_spans.collect::<Json>() })
    }
}

// === arbitrary requests ===

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        1 => Just(None),
        6 => prop_oneof![
            "[a-z.:/_\"\\\\]{0,9}", "[0-9]{1,4}", "\\PC{0,8}",
            Just("DEADLINE_EXCEEDED".to_owned()), Just("Unavailable".to_owned()),
        ].prop_map(|it| Some(Any::StringValue(it))),
        1 => any::<bool>().prop_map(|it| Some(Any::BoolValue(it))),
        3 => prop_oneof![any::<i64>(), 0i64..700].prop_map(|it| Some(Any::IntValue(it))),
        2 => prop_oneof![-1e9..1e9, Just(f64::NAN), Just(503.0)].prop_map(|it| Some(Any::DoubleValue(it))),
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
        ("\\PC{0,12}", -1i32..7, any::<u32>()),
        (time(), time()),
        attributes(SPAN_KEYS),
        prop::collection::vec(event, 0..3),
        links,
        status,
    )
        .prop_map(
            |(ids, (name, kind, flags), times, attributes, events, links, status)| proto::Span {
                trace_id: ids.0,
                span_id: ids.1,
                parent_span_id: ids.2,
                trace_state: "a=b".to_owned(),
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
            },
        )
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (
        prop::option::of("[a-z]{0,5}"),
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
                    .map(|(name, spans)| proto::ScopeSpans {
                        scope: name.map(|name| InstrumentationScope {
                            name,
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
            if content_type == ContentType::Protobuf
                && ExportTraceServiceRequest::decode(&damaged[..]).is_ok()
            {
                prop_assert!(read.is_ok(), "what the generated types read, the walk reads: {read:?}");
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
