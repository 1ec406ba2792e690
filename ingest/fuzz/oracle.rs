//! What does an export request say, read in the plainest way there is?
//!
//! The oracle for our own decoder: it takes what the generated types read, puts all attributes into a
//! list, and looks each fact up under its names in order. It shares no code with the decoder, bounds
//! included, and is used by its property tests and by the fuzz targets alike. [`Style`] writes the same
//! request in JSON, and [`from_json`] reads JSON by way of a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1 as proto;
use rekindle_model::{
    Facts, Link, Name, Resource, Sampling, Shape, Span, SpanId, SpanKind, Status, TraceId,
    UnixNanos,
};
use serde_json::{Value as Json, json};

use super::{DecodeCounts, Decoded};

/// Span attributes that are kept under their own key.
pub(crate) const KEPT: [&str; 3] = ["shard", "code.namespace", "tenant.id"];

// === the oracle ===

/// Bytes that are kept of one text.
const MAX_TEXT: usize = 1024;

/// Links that are kept of one span, and attributes of one resource.
const MAX_LINKS: usize = 128;
const MAX_ATTRIBUTES: usize = 256;

/// How deep nested values are shown.
const MAX_DEPTH: usize = 16;

/// Whether the oracle can say what this request says. It can't when a nested value is longer than is
/// kept, which is cut as it is written, nor when there are more different names than are remembered.
pub(crate) fn is_plain(request: &ExportTraceServiceRequest) -> bool {
    use prost::Message;
    fn is_short(value: &AnyValue) -> bool {
        match &value.value {
            Some(Any::StringValue(text)) => text.len() <= MAX_TEXT,
            Some(Any::BytesValue(bytes)) => bytes.len() <= MAX_TEXT / 2,
            Some(Any::ArrayValue(_) | Any::KvlistValue(_)) => value.encoded_len() <= MAX_TEXT / 8,
            _ => true,
        }
    }
    let short = |attributes: &[KeyValue]| {
        let short =
            |it: &KeyValue| it.key.len() <= MAX_TEXT && it.value.as_ref().is_none_or(is_short);
        attributes.iter().all(short)
    };
    request.resource_spans.iter().all(|it| {
        let resource = it.resource.as_ref();
        resource.is_none_or(|it| short(&it.attributes) && it.attributes.len() <= MAX_ATTRIBUTES)
            && it.scope_spans.iter().all(|it| {
                let name = it.scope.as_ref().map_or(0, |it| it.name.len());
                name <= MAX_TEXT
                    && it.spans.iter().all(|it| {
                        let message = it.status.as_ref().map_or(0, |it| it.message.len());
                        it.name.len() <= MAX_TEXT
                            && message <= MAX_TEXT
                            && short(&it.attributes)
                            && it.links.len() <= MAX_LINKS
                            && it.events.iter().all(|it| short(&it.attributes))
                    })
            })
    })
}

fn text(value: &Option<AnyValue>) -> Option<String> {
    let value = value.as_ref()?.value.as_ref()?;
    Some(match value {
        Any::StringValue(text) => text.clone(),
        Any::StringValueStrindex(_) => return None,
        Any::BytesValue(bytes) => base64(bytes),
        Any::DoubleValue(value) => value.to_string(),
        other => as_json(other, 0),
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn as_json(value: &Any, depth: usize) -> String {
    let is_nest = matches!(value, Any::ArrayValue(_) | Any::KvlistValue(_));
    if is_nest && depth >= MAX_DEPTH {
        return "…".to_owned();
    }
    let element = |value: &Option<AnyValue>| match value.as_ref().and_then(|it| it.value.as_ref()) {
        None | Some(Any::StringValueStrindex(_)) => "null".to_owned(),
        Some(value) => as_json(value, depth + 1),
    };
    match value {
        Any::StringValue(text) => json!(text).to_string(),
        Any::BytesValue(bytes) => json!(base64(bytes)).to_string(),
        Any::BoolValue(value) => value.to_string(),
        Any::IntValue(value) => value.to_string(),
        Any::DoubleValue(value) if !value.is_finite() => format!("\"{value}\""),
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
        Any::StringValue(text) => text.trim().parse().ok().or_else(|| grpc_code(text)),
        _ => as_small(value),
    }
}

/// The code of this name, however it is spelled.
fn grpc_code(text: &str) -> Option<u16> {
    const CODES: &str = "OK CANCELLED UNKNOWN INVALIDARGUMENT DEADLINEEXCEEDED NOTFOUND ALREADYEXISTS \
        PERMISSIONDENIED RESOURCEEXHAUSTED FAILEDPRECONDITION ABORTED OUTOFRANGE UNIMPLEMENTED \
        INTERNAL UNAVAILABLE DATALOSS UNAUTHENTICATED";
    if text.eq_ignore_ascii_case("canceled") {
        return Some(1);
    }
    let plain = text.replace(['_', ' ', '-'], "").to_ascii_uppercase();
    let mut codes = (0..).zip(CODES.split_ascii_whitespace());
    codes.find(|(_, name)| *name == plain).map(|(code, _)| code)
}

fn as_number(value: &Option<AnyValue>) -> Option<f64> {
    match value.as_ref()?.value.as_ref()? {
        Any::IntValue(number) => Some(*number as f64),
        Any::DoubleValue(number) => Some(*number),
        Any::BoolValue(yes) => Some(if *yes { 1.0 } else { 0.0 }),
        Any::StringValue(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// What samplers said: in the trace state, in the scope, in attributes.
fn sampling(state: &str, is_tail_sampled: bool, attributes: &[KeyValue]) -> Option<Sampling> {
    let ours = state.split(',').map(str::trim);
    let ours = ours.filter_map(|it| it.strip_prefix("ot=")).next();
    let mut fields = BTreeMap::new();
    for field in ours.unwrap_or_default().split(';') {
        if let Some((key, value)) = field.split_once(':') {
            fields.entry(key).or_insert(value);
        }
    }
    let threshold = |text: &str| {
        let all_hex = text.chars().all(|it| it.is_ascii_hexdigit());
        if text.is_empty() || text.len() > 14 || !all_hex {
            return Sampling::Undeclared;
        }
        let padded = format!("{text:0<14}");
        u64::from_str_radix(&padded, 16).map_or(Sampling::Undeclared, Sampling::Threshold)
    };
    let share = |kept: u64| Sampling::Threshold((1 << 56) - kept);
    if let Some(text) = fields.get("th") {
        return Some(threshold(text));
    }
    if let Some(text) = fields.get("p") {
        let power = text.parse().ok().filter(|it: &u32| *it <= 56);
        return Some(power.map_or(Sampling::Undeclared, |it| share(1 << (56 - it))));
    }
    if is_tail_sampled || fields.contains_key("rv") || fields.contains_key("r") {
        return Some(Sampling::Undeclared);
    }
    if let Some(rate) = fact(attributes, &["SampleRate"], as_u64) {
        return Some(share((1 << 56) / rate.clamp(1, 1 << 56)));
    }
    let kind = fact(attributes, &["sampler.type"], as_name)?;
    let parameter = fact(attributes, &["sampler.param"], as_number);
    Some(match (kind.as_str(), parameter) {
        ("const", _) => Sampling::Threshold(0),
        ("probabilistic", Some(kept)) if kept > 0.0 && kept <= 1.0 => {
            let dropped = ((1.0 - kept) * (1u64 << 56) as f64) as u64;
            Sampling::Threshold(dropped.min((1 << 56) - 1))
        }
        _ => Sampling::Undeclared,
    })
}

/// Attributes that are a URL, or what stands before its path.
const URLS: [&str; 3] = ["url.full", "http.url", "http.host"];

/// Address and port of the server that a URL names.
fn as_server(value: &Option<AnyValue>) -> Option<(Name, Option<u16>)> {
    let url = text(value)?;
    let path = |it: &str| it.find(['/', '?', '#']).unwrap_or(it.len());
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if path(scheme) == scheme.len() => (scheme, rest),
        _ => ("", url.as_str()),
    };
    let server = &rest[..path(rest)];
    let server = server.rfind('@').map_or(server, |at| &server[at + 1..]);
    let (address, port) = match server.strip_prefix('[') {
        Some(inner) => {
            let (address, behind) = inner.split_once(']')?;
            (address, behind.strip_prefix(':').unwrap_or(""))
        }
        None => server.rsplit_once(':').unwrap_or((server, "")),
    };
    let port = match (port, scheme.to_ascii_lowercase().as_str()) {
        ("", "http" | "ws") => Some(80),
        ("", "https" | "wss") => Some(443),
        ("", _) => None,
        (port, _) => Some(port.parse().ok()?),
    };
    (!address.is_empty()).then(|| (address.into(), port))
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

/// What the decoder should say of the request.
pub(crate) fn oracle(request: &ExportTraceServiceRequest) -> Decoded {
    let mut decoded = Decoded::default();
    let mut spans = Vec::new();
    for resource_spans in &request.resource_spans {
        let resource = Arc::new(oracle_resource(&resource_spans.resource));
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.as_ref();
            let attributes = scope.map_or(&[][..], |it| &it.attributes);
            let is_tail_sampled = attributes
                .iter()
                .any(|it| it.key.starts_with("tailsampling."));
            let name = scope.map(|it| it.name.as_str()).filter(|it| !it.is_empty());
            let scope = (name.map(Name::from), is_tail_sampled);
            for span in &scope_spans.spans {
                oracle_span(span, &resource, &scope, &mut spans, &mut decoded.counts);
            }
        }
    }
    decoded.spans = spans.into_iter().collect();
    decoded
}

fn oracle_span(
    span: &proto::Span,
    resource: &Arc<Resource>,
    (scope, is_tail_sampled): &(Option<Name>, bool),
    spans: &mut Vec<Span>,
    counts: &mut DecodeCounts,
) {
    let trace_id = |bytes: &[u8]| TraceId::from_bytes(bytes.try_into().ok()?);
    let span_id = |bytes: &[u8]| SpanId::from_bytes(bytes.try_into().ok()?);
    let mut links = Vec::new();
    for link in &span.links {
        match (trace_id(&link.trace_id), span_id(&link.span_id)) {
            (Some(trace_id), Some(span_id)) => links.push(Link { trace_id, span_id }),
            _ => counts.dropped_links += 1,
        }
    }
    let Some(trace_id) = trace_id(&span.trace_id) else {
        counts.rejected_trace_id += 1;
        return;
    };
    let Some(own_id) = span_id(&span.span_id) else {
        counts.rejected_span_id += 1;
        return;
    };
    if !matches!(span.parent_span_id.len(), 0 | 8) {
        counts.rejected_parent_id += 1;
        return;
    }
    let (mut start, mut end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    if start == 0 || end < start {
        counts.mended_times += 1;
        (start, end) = if start == 0 {
            (end, end)
        } else {
            (start, start)
        };
    }
    let attributes = &span.attributes;
    let exceptions = span.events.iter().filter(|event| event.name == "exception");
    let exceptions: Vec<KeyValue> = exceptions.flat_map(|it| it.attributes.clone()).collect();
    let server_address = fact(attributes, &["server.address", "net.peer.name"], as_name)
        .or_else(|| fact(attributes, &URLS, |it| Some(as_server(it)?.0)))
        .filter(|_| span.kind != 2);
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
                server_port: fact(attributes, &["server.port", "net.peer.port"], as_small)
                    .or_else(|| {
                        let (of, port) = fact(attributes, &URLS, |it| {
                            let (of, port) = as_server(it)?;
                            Some((of, port?))
                        })?;
                        (Some(of) == server_address).then_some(port)
                    })
                    .filter(|_| span.kind != 2),
                server_address,
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
                generation: fact(attributes, &["rekindle.generation"], as_u64),
                sampling: sampling(&span.trace_state, *is_tail_sampled, attributes),
            },
            attributes: pairs(attributes, |key| KEPT.contains(&key)),
        }),
    };
    spans.push(span);
}

// === the same request in JSON ===

/// How numbers and ids are written, where JSON leaves a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) digits_in_text: bool,
    pub(crate) upper_case: bool,
    pub(crate) with_nulls: bool,
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
            Any::DoubleValue(value) if value.is_infinite() => {
                let sign = if *value < 0.0 { "-" } else { "" };
                json!({ "doubleValue": format!("{sign}Infinity") })
            }
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
            "traceState": span.trace_state,
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

    /// The whole request.
    pub(crate) fn request(self, request: &ExportTraceServiceRequest) -> Json {
        let resource_spans = request.resource_spans.iter().map(|it| {
            let scope_spans = it.scope_spans.iter().map(|it| {
                let scope = it.scope.as_ref().map(|it| {
                    json!({ "name": it.name, "attributes": self.attributes(&it.attributes) })
                });
                json!({ "scope": scope, "spans": it.spans.iter().map(|it| self.span(it)).collect::<Json>() })
            });
            let resource = it.resource.as_ref().map(|it| json!({ "attributes": self.attributes(&it.attributes) }));
            json!({ "scopeSpans": scope_spans.collect::<Json>(), "resource": resource })
        });
        json!({ "resourceSpans": resource_spans.collect::<Json>() })
    }
}

// === reading JSON by way of a tree ===

/// The request that this JSON is; `None` when it is none. Of a name that comes twice in an object the
/// last counts, where the decoder refuses.
pub(crate) fn from_json(text: &str) -> Option<ExportTraceServiceRequest> {
    let json: Json = serde_json::from_str(text).ok()?;
    let resource_spans = |it: &Json| {
        let resource = |it: &Json| {
            let attributes = list(it, "attributes", key_value)?;
            Some(ProtoResource {
                attributes,
                ..Default::default()
            })
        };
        Some(proto::ResourceSpans {
            resource: object(it, "resource", resource)?,
            scope_spans: list(it, "scopeSpans", scope_spans)?,
            ..Default::default()
        })
    };
    let resource_spans = list(&json, "resourceSpans", resource_spans)?;
    Some(ExportTraceServiceRequest { resource_spans })
}

fn scope_spans(it: &Json) -> Option<proto::ScopeSpans> {
    let scope = |it: &Json| {
        Some(InstrumentationScope {
            name: string(it, "name")?,
            attributes: list(it, "attributes", key_value)?,
            ..Default::default()
        })
    };
    Some(proto::ScopeSpans {
        scope: object(it, "scope", scope)?,
        spans: list(it, "spans", span)?,
        ..Default::default()
    })
}

fn span(it: &Json) -> Option<proto::Span> {
    let event = |it: &Json| {
        let name = string(it, "name")?;
        // Attributes of other events aren't looked at.
        let attributes = match name.as_str() {
            "exception" => list(it, "attributes", key_value)?,
            _ => Vec::new(),
        };
        Some(proto::span::Event {
            name,
            attributes,
            ..Default::default()
        })
    };
    let link = |it: &Json| {
        Some(proto::span::Link {
            trace_id: hex(it, "traceId")?,
            span_id: hex(it, "spanId")?,
            ..Default::default()
        })
    };
    let status = |it: &Json| {
        let (message, code) = (string(it, "message")?, enumeration(it, "code")?);
        Some(proto::Status { message, code })
    };
    Some(proto::Span {
        trace_id: hex(it, "traceId")?,
        span_id: hex(it, "spanId")?,
        parent_span_id: hex(it, "parentSpanId")?,
        trace_state: string(it, "traceState")?,
        name: string(it, "name")?,
        kind: enumeration(it, "kind")?,
        start_time_unix_nano: unsigned(it, "startTimeUnixNano")?,
        end_time_unix_nano: unsigned(it, "endTimeUnixNano")?,
        flags: unsigned(it, "flags")? as u32,
        attributes: list(it, "attributes", key_value)?,
        events: list(it, "events", event)?,
        links: list(it, "links", link)?,
        status: object(it, "status", status)?,
        ..Default::default()
    })
}

fn key_value(it: &Json) -> Option<KeyValue> {
    Some(KeyValue {
        key: string(it, "key")?,
        value: object(it, "value", any_value)?,
        ..Default::default()
    })
}

fn any_value(it: &Json) -> Option<AnyValue> {
    it.as_object()?;
    let said = |key: &str| it.get(key).filter(|it| !it.is_null());
    let value = if said("stringValue").is_some() {
        Some(Any::StringValue(string(it, "stringValue")?))
    } else if let Some(value) = said("boolValue") {
        Some(Any::BoolValue(value.as_bool()?))
    } else if let Some(value) = said("intValue") {
        Some(Any::IntValue(whole_number(value)? as i64))
    } else if let Some(value) = said("doubleValue") {
        Some(Any::DoubleValue(match value {
            Json::String(text) => text.parse().ok()?,
            value => value.as_f64()?,
        }))
    } else if said("arrayValue").is_some() {
        let values = object(it, "arrayValue", |it| list(it, "values", any_value))?;
        let values = values.unwrap_or_default();
        Some(Any::ArrayValue(ArrayValue { values }))
    } else if said("kvlistValue").is_some() {
        let values = object(it, "kvlistValue", |it| list(it, "values", key_value))?;
        let values = values.unwrap_or_default();
        Some(Any::KvlistValue(KeyValueList { values }))
    } else if said("bytesValue").is_some() {
        // Base64 is kept as it came, so here it may be any text.
        Some(Any::StringValue(string(it, "bytesValue")?))
    } else {
        None
    };
    Some(AnyValue { value })
}

fn list<T>(of: &Json, key: &str, read: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
    match of.as_object()?.get(key) {
        None | Some(Json::Null) => Some(Vec::new()),
        Some(list) => list.as_array()?.iter().map(read).collect(),
    }
}

fn object<T>(of: &Json, key: &str, read: impl Fn(&Json) -> Option<T>) -> Option<Option<T>> {
    match of.as_object()?.get(key) {
        None | Some(Json::Null) => Some(None),
        Some(object) => {
            object.as_object()?;
            read(object).map(Some)
        }
    }
}

fn string(of: &Json, key: &str) -> Option<String> {
    match of.as_object()?.get(key) {
        None | Some(Json::Null) => Some(String::new()),
        Some(text) => text.as_str().map(str::to_owned),
    }
}

/// The bytes; of what is no hexadecimal number, bytes that are no id.
fn hex(of: &Json, key: &str) -> Option<Vec<u8>> {
    let text = string(of, key)?;
    let pairs = text.as_bytes().chunks(2);
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    Some(bytes.collect::<Option<Vec<u8>>>().unwrap_or(vec![1; 17]))
}

fn enumeration(of: &Json, key: &str) -> Option<i32> {
    match of.as_object()?.get(key) {
        Some(Json::String(_)) => None,
        _ => Some(i32::try_from(unsigned(of, key)?).unwrap_or(-1)),
    }
}

/// Below zero and above the range is nothing.
fn unsigned(of: &Json, key: &str) -> Option<u64> {
    match of.as_object()?.get(key) {
        None | Some(Json::Null) => Some(0),
        Some(number) => Some(u64::try_from(whole_number(number)?).unwrap_or(0)),
    }
}

fn whole_number(number: &Json) -> Option<i128> {
    let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
    match number {
        Json::Number(number) if number.is_f64() => {
            let number = number.as_f64()?;
            let is_whole = number.fract() == 0.0 && number.abs() <= u64::MAX as f64;
            is_whole.then_some(number as i128)
        }
        Json::Number(number) => number
            .as_u64()
            .map(i128::from)
            .or_else(|| number.as_i64().map(i128::from)),
        Json::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let all_digits = digits.bytes().all(|it| it.is_ascii_digit());
            let number = text.parse().ok().filter(|_| all_digits);
            number.filter(|it| range.contains(it))
        }
        _ => None,
    }
}

// === what is told in parts ===

/// The messages of a request, as far as values are in them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    ResourceSpans,
    Attributes(u32),
    ScopeSpans,
    Span,
    KeyValue,
    AnyValue,
    List,
    Map,
}

impl Kind {
    /// What a field of this number holds.
    fn field(self, number: u32) -> Option<Self> {
        match (self, number) {
            (Self::Request, 1) => Some(Self::ResourceSpans),
            (Self::ResourceSpans, 1) => Some(Self::Attributes(1)),
            (Self::ResourceSpans, 2) => Some(Self::ScopeSpans),
            (Self::ScopeSpans, 1) => Some(Self::Attributes(3)),
            (Self::ScopeSpans, 2) => Some(Self::Span),
            (Self::Span, 9) => Some(Self::KeyValue),
            (Self::Span, 11) => Some(Self::Attributes(3)),
            (Self::KeyValue, 2) => Some(Self::AnyValue),
            (Self::AnyValue, 5) => Some(Self::List),
            (Self::AnyValue, 6) => Some(Self::Map),
            (Self::List, 1) => Some(Self::AnyValue),
            (Self::Map, 1) => Some(Self::KeyValue),
            (Self::Attributes(field), number) if field == number => Some(Self::KeyValue),
            _ => None,
        }
    }
}

/// Whether an attribute's value comes in several parts, which protobuf would have read as one. No
/// encoder writes that, and of such a value the decoder takes the last part. The bytes are those of a
/// request.
pub(crate) fn has_parts(data: &[u8]) -> bool {
    // What can't be walked here was no request.
    walk(Kind::Request, data).unwrap_or(true)
}

fn walk(kind: Kind, mut data: &[u8]) -> Option<bool> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let mut values = 0;
    while !data.is_empty() {
        let (number, wire) = decode_key(&mut data).ok()?;
        values += u32::from(kind == Kind::KeyValue && number == 2);
        values += u32::from(kind == Kind::AnyValue && number <= 8);
        match kind
            .field(number)
            .filter(|_| wire == WireType::LengthDelimited)
        {
            Some(inner) => {
                let length = usize::try_from(decode_varint(&mut data).ok()?).ok()?;
                let (message, rest) = data.split_at_checked(length)?;
                data = rest;
                if walk(inner, message)? {
                    return Some(true);
                }
            }
            None => skip_field(wire, number, &mut data, DecodeContext::default()).ok()?,
        }
    }
    Some(values > 1)
}
