//! OTLP in JSON: what the Collector's file exporter writes, a request a line, and what its receivers read.
//!
//! Ids are hexadecimal, enums numbers, 64-bit numbers text; all of that is read leniently, as on the hot path: numbers
//! with or without quotes, `null` for nothing, unknown fields skipped. What is read becomes the messages of
//! [`super::otlp`], so that one place knows how spans become rows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::otlp::{self, Any, AnyValue, KeyValue, Received, hex, unhex};
use crate::{Attributes, ReadCounts, StoredSpan, Text, Value};

/// A list that may be `null`, or missing.
type List<T> = Option<Vec<T>>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    resource_spans: List<ResourceSpans>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans {
    resource: Option<Resource>,
    scope_spans: List<ScopeSpans>,
    schema_url: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    attributes: List<Pair>,
    dropped_attributes_count: Number,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ScopeSpans {
    scope: Option<Scope>,
    spans: List<Span>,
    schema_url: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Scope {
    name: Option<Text>,
    version: Option<Text>,
    attributes: List<Pair>,
    dropped_attributes_count: Number,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Span {
    trace_id: Option<String>,
    span_id: Option<String>,
    trace_state: Option<Text>,
    parent_span_id: Option<String>,
    name: Option<Text>,
    kind: Number,
    start_time_unix_nano: Number,
    end_time_unix_nano: Number,
    attributes: List<Pair>,
    dropped_attributes_count: Number,
    events: List<Event>,
    dropped_events_count: Number,
    links: List<Link>,
    dropped_links_count: Number,
    status: Option<Status>,
    flags: Number,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    time_unix_nano: Number,
    name: Option<Text>,
    attributes: List<Pair>,
    dropped_attributes_count: Number,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Link {
    trace_id: Option<String>,
    span_id: Option<String>,
    trace_state: Option<Text>,
    attributes: List<Pair>,
    dropped_attributes_count: Number,
    flags: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    message: Option<Text>,
    code: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pair {
    key: Option<Text>,
    value: Option<Typed>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Typed {
    string_value: Option<Text>,
    bool_value: Option<bool>,
    int_value: Option<Number>,
    double_value: Option<Number>,
    array_value: Option<Values<Typed>>,
    kvlist_value: Option<Values<Pair>>,
    bytes_value: Option<String>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Values<T> {
    values: List<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { values: None }
    }
}

/// A number, with or without quotes; one that can't be read, or isn't there, is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Number {
    #[default]
    Missing,
    Whole(i128),
    Other(f64),
}

impl Number {
    fn whole<T: TryFrom<i128> + Default>(self) -> T {
        match self {
            Self::Whole(value) => T::try_from(value).unwrap_or_default(),
            Self::Missing | Self::Other(_) => T::default(),
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Missing => 0.0,
            Self::Whole(value) => value as f64,
            Self::Other(value) => value,
        }
    }

    /// A kind or status; both are also known by name.
    fn of_text(text: &str) -> Self {
        match text {
            "SPAN_KIND_INTERNAL" | "STATUS_CODE_OK" => Self::Whole(1),
            "SPAN_KIND_SERVER" | "STATUS_CODE_ERROR" => Self::Whole(2),
            "SPAN_KIND_CLIENT" => Self::Whole(3),
            "SPAN_KIND_PRODUCER" => Self::Whole(4),
            "SPAN_KIND_CONSUMER" => Self::Whole(5),
            "Infinity" => Self::Other(f64::INFINITY),
            "-Infinity" => Self::Other(f64::NEG_INFINITY),
            _ => match text.parse() {
                Ok(whole) => Self::Whole(whole),
                Err(_) => text.parse().map_or(Self::Missing, Self::Other),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number::Missing)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(Number::Whole(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(Number::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number::Other(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Number, E> {
        Ok(Number::of_text(value))
    }
}

/// The spans of an export request in JSON.
///
/// # Errors
/// When it can't be read as a whole. Spans without valid ids are counted.
pub fn spans_of_json(
    request: &[u8],
    received: Received,
    counts: &mut ReadCounts,
) -> serde_json::Result<Vec<StoredSpan>> {
    let request: Request = serde_json::from_slice(request)?;
    let request = otlp::Request {
        resource_spans: all(request.resource_spans, of_resource),
    };
    Ok(otlp::spans_of(request, received, counts))
}

fn all<T, U>(items: List<T>, of: impl Fn(T) -> U) -> Vec<U> {
    items.unwrap_or_default().into_iter().map(of).collect()
}

fn text(text: Option<Text>) -> Bytes {
    text.unwrap_or_default().bytes().clone()
}

fn of_resource(it: ResourceSpans) -> otlp::ResourceSpans {
    otlp::ResourceSpans {
        resource: it.resource.map(|it| otlp::Resource {
            attributes: all(it.attributes, of_pair),
            dropped_attributes: it.dropped_attributes_count.whole(),
        }),
        scope_spans: all(it.scope_spans, |it| otlp::ScopeSpans {
            scope: it.scope.map(|it| otlp::Scope {
                name: text(it.name),
                version: text(it.version),
                attributes: all(it.attributes, of_pair),
                dropped_attributes: it.dropped_attributes_count.whole(),
            }),
            spans: all(it.spans, of_span),
            schema_url: text(it.schema_url),
        }),
        schema_url: text(it.schema_url),
    }
}

fn of_span(it: Span) -> otlp::Span {
    let id = |text: Option<String>| unhex(&text.unwrap_or_default());
    otlp::Span {
        trace_id: id(it.trace_id),
        span_id: id(it.span_id),
        trace_state: text(it.trace_state),
        parent_id: id(it.parent_span_id),
        name: text(it.name),
        kind: it.kind.whole(),
        start: it.start_time_unix_nano.whole(),
        end: it.end_time_unix_nano.whole(),
        attributes: all(it.attributes, of_pair),
        dropped_attributes: it.dropped_attributes_count.whole(),
        events: all(it.events, |it| otlp::SpanEvent {
            time: it.time_unix_nano.whole(),
            name: text(it.name),
            attributes: all(it.attributes, of_pair),
            dropped_attributes: it.dropped_attributes_count.whole(),
        }),
        dropped_events: it.dropped_events_count.whole(),
        links: all(it.links, |it| otlp::SpanLink {
            trace_id: id(it.trace_id),
            span_id: id(it.span_id),
            trace_state: text(it.trace_state),
            attributes: all(it.attributes, of_pair),
            dropped_attributes: it.dropped_attributes_count.whole(),
            flags: it.flags.whole(),
        }),
        dropped_links: it.dropped_links_count.whole(),
        status: it.status.map(|it| otlp::Status {
            message: text(it.message),
            code: it.code.whole(),
        }),
        flags: it.flags.whole(),
    }
}

fn of_pair(it: Pair) -> KeyValue {
    KeyValue {
        key: text(it.key),
        value: it.value.map(|it| otlp::value_of(value(it))),
    }
}

fn value(it: Typed) -> Value {
    if let Some(text) = it.string_value {
        Value::Text(text)
    } else if let Some(value) = it.bool_value {
        Value::Bool(value)
    } else if let Some(value) = it.int_value {
        Value::Int(value.whole())
    } else if let Some(value) = it.double_value {
        Value::Double(value.double())
    } else if let Some(it) = it.array_value {
        Value::List(all(it.values, value))
    } else if let Some(it) = it.kvlist_value {
        Value::Map(Attributes(all(it.values, |pair| {
            let key = pair.key.unwrap_or_default();
            (key, pair.value.map(value).unwrap_or_default())
        })))
    } else if let Some(text) = it.bytes_value {
        Value::Bytes(BASE64.decode(text).unwrap_or_default().into())
    } else {
        Value::Empty
    }
}

/// An export request of these spans in JSON, on one line without its end.
pub fn json_of(spans: &[StoredSpan]) -> String {
    let request = otlp::request_of(spans);
    let resources: Vec<_> = request
        .resource_spans
        .iter()
        .map(json_of_resource)
        .collect();
    json!({ "resourceSpans": resources }).to_string()
}

fn json_of_resource(it: &otlp::ResourceSpans) -> serde_json::Value {
    let resource = it.resource.clone().unwrap_or_default();
    let scopes: Vec<_> = it.scope_spans.iter().map(json_of_scope).collect();
    let mut resource_json = json!({ "attributes": pairs(&resource.attributes) });
    put_number(
        &mut resource_json,
        "droppedAttributesCount",
        resource.dropped_attributes,
    );
    let mut json = json!({ "resource": resource_json, "scopeSpans": scopes });
    put_text(&mut json, "schemaUrl", &it.schema_url);
    json
}

fn json_of_scope(it: &otlp::ScopeSpans) -> serde_json::Value {
    let scope = it.scope.clone().unwrap_or_default();
    let mut scope_json = json!({});
    put_text(&mut scope_json, "name", &scope.name);
    put_text(&mut scope_json, "version", &scope.version);
    if !scope.attributes.is_empty() {
        scope_json["attributes"] = pairs(&scope.attributes);
    }
    put_number(
        &mut scope_json,
        "droppedAttributesCount",
        scope.dropped_attributes,
    );
    let spans: Vec<_> = it.spans.iter().map(json_of_span).collect();
    let mut json = json!({ "scope": scope_json, "spans": spans });
    put_text(&mut json, "schemaUrl", &it.schema_url);
    json
}

fn json_of_span(it: &otlp::Span) -> serde_json::Value {
    let mut json = json!({
        "traceId": hex(&it.trace_id),
        "spanId": hex(&it.span_id),
        "name": lossy(&it.name),
        "kind": it.kind,
        "startTimeUnixNano": it.start.to_string(),
        "endTimeUnixNano": it.end.to_string(),
        "attributes": pairs(&it.attributes),
    });
    if !it.parent_id.is_empty() {
        json["parentSpanId"] = hex(&it.parent_id).into();
    }
    put_text(&mut json, "traceState", &it.trace_state);
    put_number(&mut json, "droppedAttributesCount", it.dropped_attributes);
    put_number(&mut json, "droppedEventsCount", it.dropped_events);
    put_number(&mut json, "droppedLinksCount", it.dropped_links);
    put_number(&mut json, "flags", it.flags);
    if !it.events.is_empty() {
        let events = it.events.iter().map(|it| {
            let mut json = json!({
                "timeUnixNano": it.time.to_string(),
                "name": lossy(&it.name),
                "attributes": pairs(&it.attributes),
            });
            put_number(&mut json, "droppedAttributesCount", it.dropped_attributes);
            json
        });
        json["events"] = events.collect();
    }
    if !it.links.is_empty() {
        let links = it.links.iter().map(|it| {
            let mut json = json!({
                "traceId": hex(&it.trace_id),
                "spanId": hex(&it.span_id),
                "attributes": pairs(&it.attributes),
            });
            put_text(&mut json, "traceState", &it.trace_state);
            put_number(&mut json, "droppedAttributesCount", it.dropped_attributes);
            put_number(&mut json, "flags", it.flags);
            json
        });
        json["links"] = links.collect();
    }
    if let Some(status) = &it.status {
        let mut of = json!({});
        put_text(&mut of, "message", &status.message);
        if status.code != 0 {
            of["code"] = status.code.into();
        }
        json["status"] = of;
    }
    json
}

fn put_text(json: &mut serde_json::Value, key: &str, text: &[u8]) {
    if !text.is_empty() {
        json[key] = lossy(text);
    }
}

fn put_number(json: &mut serde_json::Value, key: &str, number: u32) {
    if number != 0 {
        json[key] = number.into();
    }
}

fn lossy(text: &[u8]) -> serde_json::Value {
    String::from_utf8_lossy(text).into()
}

fn pairs(pairs: &[KeyValue]) -> serde_json::Value {
    let pairs = pairs.iter().map(|it| {
        let value = it.value.clone().unwrap_or_default();
        json!({ "key": lossy(&it.key), "value": json_of_value(&value) })
    });
    pairs.collect()
}

fn json_of_value(value: &AnyValue) -> serde_json::Value {
    match &value.value {
        None => json!({}),
        Some(Any::Text(text)) => json!({ "stringValue": lossy(text) }),
        Some(Any::Bool(value)) => json!({ "boolValue": value }),
        Some(Any::Int(value)) => json!({ "intValue": value.to_string() }),
        Some(Any::Double(value)) => json!({ "doubleValue": DoubleJson(*value) }),
        Some(Any::Bytes(bytes)) => json!({ "bytesValue": BASE64.encode(bytes) }),
        Some(Any::List(bytes)) => {
            let values: Vec<_> = otlp::list(bytes).iter().map(json_of_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Some(Any::Map(bytes)) => json!({ "kvlistValue": { "values": pairs(&otlp::map(bytes)) } }),
    }
}

/// JSON has no number for what isn't finite; protobuf's mapping has names.
struct DoubleJson(f64);

impl Serialize for DoubleJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}
