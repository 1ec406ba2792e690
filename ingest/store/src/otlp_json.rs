//! OTLP in JSON: what the Collector's file exporter writes, a request a line, and what its receivers read.
//!
//! Ids are hexadecimal, enums numbers, 64-bit numbers text; all of that is read leniently, as on the hot path: numbers
//! with or without quotes, `null` for nothing, unknown fields skipped. Whatever the hot path has taken is taken here, too,
//! although it looks at less of it: so everything stays as it is written until its own type is asked of it. What is read becomes the messages of
//! [`super::otlp`], so that one place knows how spans become rows.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use crate::otlp::{self, Any, AnyValue, KeyValue, Received, hex, unhex};
use crate::value::MAX_DEPTH;
use crate::{Attributes, ReadCounts, StoredSpan, Text, Value};

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
            // As receivers read it: a float that is whole is as good.
            Self::Other(value) if value.fract() == 0.0 => {
                T::try_from(value as i128).unwrap_or_default()
            }
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
/// When it can't be read as a whole: it is no JSON, or what should lead to spans isn't lists of objects. Spans without
/// valid ids are counted, and so is all else that isn't what it should be, and is missing then.
pub fn spans_of_json(
    request: &[u8],
    received: Received,
    counts: &mut ReadCounts,
) -> serde_json::Result<Vec<StoredSpan>> {
    let request: &RawValue = serde_json::from_slice(request)?;
    let mut reading = Reading { cut: 0 };
    let mut found = otlp::Request::default();
    fields(request, |key, value| match key {
        "resourceSpans" => elements(value, |it| {
            found.resource_spans.push(reading.resource_spans(it)?);
            Ok(())
        }),
        _ => Ok(()),
    })?;
    counts.cut_values += reading.cut;
    Ok(otlp::spans_of(found, received, counts))
}

/// Calls `each` with the fields of an object that aren't `null`, as they are written. What is skipped may nest as deep
/// as it likes.
fn fields<'a>(
    object: &'a RawValue,
    each: impl FnMut(&str, &'a RawValue) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    struct Key<'a>(Cow<'a, str>);

    impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(KeyVisitor).map(Key)
        }
    }

    struct KeyVisitor;

    impl<'de> Visitor<'de> for KeyVisitor {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a field's name")
        }

        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }

    struct Fields<F>(F);

    impl<'a, F: FnMut(&str, &'a RawValue) -> serde_json::Result<()>> Visitor<'a> for Fields<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Key(key), value)) = map.next_entry::<Key<'a>, &'a RawValue>()? {
                if value.get() != "null" {
                    (self.0)(&key, value).map_err(A::Error::custom)?;
                }
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(object.get()).deserialize_map(Fields(each))
}

/// Calls `each` with the elements of a list, as they are written.
fn elements<'a>(
    list: &'a RawValue,
    each: impl FnMut(&'a RawValue) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    struct Elements<F>(F);

    impl<'a, F: FnMut(&'a RawValue) -> serde_json::Result<()>> Visitor<'a> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element()? {
                (self.0)(element).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(list.get()).deserialize_seq(Elements(each))
}

/// Reads what the receiver has acknowledged. It looked only at what the analysis needs; here is all of it, and what
/// isn't of its type is missing, and counted, rather than the request lost.
struct Reading {
    cut: u64,
}

impl Reading {
    /// What was read, or nothing.
    fn or_cut<T: Default>(&mut self, read: Option<T>) -> T {
        self.cut += u64::from(read.is_none());
        read.unwrap_or_default()
    }

    fn number<T: TryFrom<i128> + Default>(&mut self, raw: &RawValue) -> T {
        let number: Option<Number> = serde_json::from_str(raw.get()).ok();
        self.or_cut(number).whole()
    }

    fn string(&mut self, raw: &RawValue) -> String {
        self.or_cut(serde_json::from_str(raw.get()).ok())
    }

    fn text(&mut self, raw: &RawValue) -> Bytes {
        self.string(raw).into()
    }

    fn id(&mut self, raw: &RawValue) -> Bytes {
        unhex(&self.string(raw))
    }

    /// An object that may be wrong: what came before the wrong part counts.
    fn object<'a>(
        &mut self,
        raw: &'a RawValue,
        mut each: impl FnMut(&mut Self, &str, &'a RawValue),
    ) {
        let read = fields(raw, |key, value| {
            each(self, key, value);
            Ok(())
        });
        self.or_cut(read.ok());
    }

    /// A list that may be wrong.
    fn list<'a, T>(
        &mut self,
        raw: &'a RawValue,
        mut of: impl FnMut(&mut Self, &'a RawValue) -> T,
    ) -> Vec<T> {
        let mut found = Vec::new();
        let read = elements(raw, |it| {
            found.push(of(self, it));
            Ok(())
        });
        self.or_cut(read.ok());
        found
    }

    fn resource_spans(&mut self, raw: &RawValue) -> serde_json::Result<otlp::ResourceSpans> {
        let mut found = otlp::ResourceSpans::default();
        fields(raw, |key, value| {
            match key {
                "resource" => found.resource = Some(self.resource(value)),
                "schemaUrl" => found.schema_url = self.text(value),
                "scopeSpans" => elements(value, |it| {
                    found.scope_spans.push(self.scope_spans(it)?);
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn resource(&mut self, raw: &RawValue) -> otlp::Resource {
        let mut found = otlp::Resource::default();
        self.object(raw, |it, key, value| match key {
            "attributes" => found.attributes = it.pairs(value),
            "droppedAttributesCount" => found.dropped_attributes = it.number(value),
            _ => {}
        });
        found
    }

    fn scope_spans(&mut self, raw: &RawValue) -> serde_json::Result<otlp::ScopeSpans> {
        let mut found = otlp::ScopeSpans::default();
        fields(raw, |key, value| {
            match key {
                "scope" => found.scope = Some(self.scope(value)),
                "schemaUrl" => found.schema_url = self.text(value),
                "spans" => elements(value, |it| {
                    found.spans.push(self.span(it)?);
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn scope(&mut self, raw: &RawValue) -> otlp::Scope {
        let mut found = otlp::Scope::default();
        self.object(raw, |it, key, value| match key {
            "name" => found.name = it.text(value),
            "version" => found.version = it.text(value),
            "attributes" => found.attributes = it.pairs(value),
            "droppedAttributesCount" => found.dropped_attributes = it.number(value),
            _ => {}
        });
        found
    }

    fn span(&mut self, raw: &RawValue) -> serde_json::Result<otlp::Span> {
        let mut found = otlp::Span::default();
        fields(raw, |key, value| {
            match key {
                "traceId" => found.trace_id = self.id(value),
                "spanId" => found.span_id = self.id(value),
                "traceState" => found.trace_state = self.text(value),
                "parentSpanId" => {
                    let text = self.string(value);
                    found.parent_id = unhex(&text);
                    if found.parent_id.is_empty() && !text.is_empty() {
                        // It is no id, which isn't the same as none: the receiver has rejected the span.
                        found.parent_id = Bytes::from_static(&[0; 17]);
                    }
                }
                "name" => found.name = self.text(value),
                "kind" => found.kind = self.number(value),
                "startTimeUnixNano" => found.start = self.number(value),
                "endTimeUnixNano" => found.end = self.number(value),
                "attributes" => found.attributes = self.pairs(value),
                "droppedAttributesCount" => found.dropped_attributes = self.number(value),
                "events" => found.events = self.list(value, Self::event),
                "droppedEventsCount" => found.dropped_events = self.number(value),
                "links" => found.links = self.list(value, Self::link),
                "droppedLinksCount" => found.dropped_links = self.number(value),
                "status" => found.status = Some(self.status(value)),
                "flags" => found.flags = self.number(value),
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn event(&mut self, raw: &RawValue) -> otlp::SpanEvent {
        let mut found = otlp::SpanEvent::default();
        self.object(raw, |it, key, value| match key {
            "timeUnixNano" => found.time = it.number(value),
            "name" => found.name = it.text(value),
            "attributes" => found.attributes = it.pairs(value),
            "droppedAttributesCount" => found.dropped_attributes = it.number(value),
            _ => {}
        });
        found
    }

    fn link(&mut self, raw: &RawValue) -> otlp::SpanLink {
        let mut found = otlp::SpanLink::default();
        self.object(raw, |it, key, value| match key {
            "traceId" => found.trace_id = it.id(value),
            "spanId" => found.span_id = it.id(value),
            "traceState" => found.trace_state = it.text(value),
            "attributes" => found.attributes = it.pairs(value),
            "droppedAttributesCount" => found.dropped_attributes = it.number(value),
            "flags" => found.flags = it.number(value),
            _ => {}
        });
        found
    }

    fn status(&mut self, raw: &RawValue) -> otlp::Status {
        let mut found = otlp::Status::default();
        self.object(raw, |it, key, value| match key {
            "message" => found.message = it.text(value),
            "code" => found.code = it.number(value),
            _ => {}
        });
        found
    }

    fn pairs(&mut self, raw: &RawValue) -> Vec<KeyValue> {
        self.list(raw, |it, pair| {
            let (key, value) = it.pair(pair, 0);
            KeyValue {
                key,
                value: value.map(otlp::value_of),
            }
        })
    }

    fn pair(&mut self, raw: &RawValue, depth: usize) -> (Bytes, Option<Value>) {
        let (mut name, mut found) = (Bytes::new(), None);
        self.object(raw, |it, key, value| match key {
            "key" => name = it.text(value),
            "value" => found = Some(it.value(value, depth)),
            _ => {}
        });
        (name, found)
    }

    /// A value within `depth` others. Each level of it is scanned anew, and there are few.
    fn value(&mut self, raw: &RawValue, depth: usize) -> Value {
        // Of two the last counts, as in protobuf.
        let mut found = Value::Empty;
        self.object(raw, |it, key, value| match key {
            "stringValue" => found = it.leaf(value, |text: String| Some(Value::Text(text.into()))),
            "boolValue" => found = it.leaf(value, |value| Some(Value::Bool(value))),
            "intValue" => found = it.leaf(value, |it: Number| Some(Value::Int(it.whole()))),
            "doubleValue" => found = it.leaf(value, |it: Number| Some(Value::Double(it.double()))),
            "bytesValue" => {
                found = it.leaf(value, |text: String| {
                    let bytes = BASE64.decode(text).ok()?;
                    Some(Value::Bytes(bytes.into()))
                });
            }
            "arrayValue" | "kvlistValue" if depth >= MAX_DEPTH => found = it.or_cut(None),
            "arrayValue" => {
                let values = it.values(value, |it, raw| it.value(raw, depth + 1));
                found = Value::List(values);
            }
            "kvlistValue" => {
                let entries = it.values(value, |it, raw| {
                    let (key, value) = it.pair(raw, depth + 1);
                    (Text::mended(key).0, value.unwrap_or_default())
                });
                found = Value::Map(Attributes(entries));
            }
            _ => {}
        });
        found
    }

    fn leaf<'a, T: Deserialize<'a>>(
        &mut self,
        raw: &'a RawValue,
        of: impl FnOnce(T) -> Option<Value>,
    ) -> Value {
        self.or_cut(serde_json::from_str(raw.get()).ok().and_then(of))
    }

    /// What lies in the `values` of a list or map.
    fn values<'a, T>(
        &mut self,
        raw: &'a RawValue,
        mut of: impl FnMut(&mut Self, &'a RawValue) -> T,
    ) -> Vec<T> {
        let mut found = Vec::new();
        self.object(raw, |it, key, value| {
            if key == "values" {
                found = it.list(value, &mut of);
            }
        });
        found
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
