//! Traces as Jaeger's page saves them and its API (`/api/traces`) answers.
//!
//! Jaeger has no kinds, statuses and scopes; as its own translation from OpenTelemetry does, they are tags
//! (`span.kind`, `otel.status_code`, `error`, `otel.scope.name`), which are taken back; one that says what
//! OpenTelemetry has no word for stays a tag. Its traces are put together from what was asked for, so that one is only
//! whole if all its spans were.
//!
//! What has no place in it is lost on the way out: less than a microsecond of a time, the attributes of links and of
//! scopes, schemas, how much was dropped, what lists and maps are made of (they become text). A span without a parent
//! that is linked to one of its own trace has that for a parent, as Jaeger shows it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use rekindle_model::TraceId;
use serde::{Deserialize, Serialize};

use crate::otlp::{self, KeyValue, Received, hex, unhex, value_of};
use crate::write::KINDS;
use crate::{Attributes, ReadCounts, StoredResource, StoredSpan, Text, Value};

/// A file of the page, or an answer of the API.
#[derive(Serialize, Deserialize)]
struct Document {
    data: Vec<Trace>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<Span>,
    processes: BTreeMap<String, Process>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "traceID", default)]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(default)]
    operation_name: Text,
    #[serde(default)]
    flags: Option<u32>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    /// How older versions named the parent.
    #[serde(
        rename = "parentSpanID",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    parent_span_id: String,
    /// Microseconds.
    start_time: u64,
    /// Microseconds.
    duration: u64,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
    #[serde(default)]
    logs: Option<Vec<Log>>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    ref_type: String,
    #[serde(rename = "traceID", default)]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Serialize, Deserialize)]
struct Log {
    /// Microseconds.
    timestamp: u64,
    #[serde(default)]
    fields: Option<Vec<Tag>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: Text,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Tag {
    key: Text,
    #[serde(rename = "type", default)]
    kind: String,
    value: serde_json::Value,
}

/// What a file in Jaeger's form holds; `None` when it is something else.
pub fn spans_of_jaeger(
    bytes: &[u8],
    received: Received,
    counts: &mut ReadCounts,
) -> Option<Vec<StoredSpan>> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let mut request = otlp::Request::default();
    for trace in document.data {
        let mut of_process: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in trace.spans {
            let spans = of_process.entry(span.process_id.clone()).or_default();
            spans.push(span);
        }
        for (id, spans) in of_process {
            let process = trace.processes.get(&id);
            let mut attributes = tags(process.and_then(|it| it.tags.clone()));
            // Jaeger wants a name where there is none.
            if let Some(process) = process.filter(|it| !it.service_name.is_empty()) {
                let service = Value::Text(process.service_name.clone());
                attributes.0.insert(0, ("service.name".into(), service));
            }
            request.resource_spans.push(otlp::ResourceSpans {
                resource: Some(otlp::Resource {
                    attributes: pairs(attributes),
                    dropped_attributes: 0,
                }),
                scope_spans: spans
                    .into_iter()
                    .map(|it| in_scope(it, &trace.trace_id))
                    .collect(),
                schema_url: Bytes::new(),
            });
        }
    }
    Some(otlp::spans_of(request, received, counts))
}

/// A span with its scope, which Jaeger keeps as tags of the span.
fn in_scope(span: Span, of_trace: &str) -> otlp::ScopeSpans {
    let mut attributes = tags(span.tags);
    let name = take(&mut attributes, &["otel.scope.name", "otel.library.name"]);
    let version = take(
        &mut attributes,
        &["otel.scope.version", "otel.library.version"],
    );
    let kind = take_word(&mut attributes, "span.kind", &KINDS);
    let mut code = take_word(&mut attributes, "otel.status_code", &STATUSES);
    let is_error = |(key, value): &(Text, Value)| {
        let said = match value {
            Value::Bool(value) => *value,
            Value::Text(text) => text.as_str() == "true",
            _ => false,
        };
        key.as_str() == "error" && said
    };
    if let Some(at) = attributes.0.iter().position(is_error) {
        attributes.0.remove(at);
        code = 2;
    }
    let message = match code {
        // Without a status there is nothing that it would describe.
        0 => Text::default(),
        _ => take(&mut attributes, &["otel.status_description"]),
    };
    let trace_state = take(&mut attributes, &["w3c.tracestate"]);
    let trace_id = match span.trace_id.is_empty() {
        true => of_trace,
        false => &span.trace_id,
    };
    let trace_id = id_of(trace_id, 32).unwrap_or_default();
    let said = span.references.unwrap_or_default();
    let number = said.len();
    let mut references: Vec<Named> = said.iter().filter_map(|it| named(it, &trace_id)).collect();
    let dropped = number - references.len();
    let in_trace = |it: &Named| it.trace_id == trace_id;
    let parent = references
        .iter()
        .position(|it| it.is_parent && in_trace(it))
        .or_else(|| references.iter().position(in_trace));
    let parent = match parent {
        Some(at) => Some(references.remove(at).span_id),
        None => id_of(&span.parent_span_id, 16),
    };
    let span = otlp::Span {
        trace_id,
        span_id: id_of(&span.span_id, 16).unwrap_or_default(),
        trace_state: trace_state.bytes().clone(),
        parent_id: parent.unwrap_or_default(),
        name: span.operation_name.bytes().clone(),
        kind,
        start: span.start_time.saturating_mul(1000),
        end: span
            .start_time
            .saturating_add(span.duration)
            .saturating_mul(1000),
        attributes: pairs(attributes),
        events: span
            .logs
            .unwrap_or_default()
            .into_iter()
            .map(event)
            .collect(),
        links: references
            .into_iter()
            .map(|it| otlp::SpanLink {
                trace_id: it.trace_id,
                span_id: it.span_id,
                ..Default::default()
            })
            .collect(),
        dropped_links: u32::try_from(dropped).unwrap_or(u32::MAX),
        status: (code != 0).then(|| otlp::Status {
            message: message.bytes().clone(),
            code,
        }),
        flags: span.flags.unwrap_or_default(),
        ..Default::default()
    };
    otlp::ScopeSpans {
        scope: (!name.is_empty() || !version.is_empty()).then(|| otlp::Scope {
            name: name.bytes().clone(),
            version: version.bytes().clone(),
            ..Default::default()
        }),
        spans: vec![span],
        schema_url: Bytes::new(),
    }
}

fn event(log: Log) -> otlp::SpanEvent {
    let mut attributes = tags(log.fields);
    let mut name = take(&mut attributes, &["event"]);
    if name.is_empty() {
        // Logs of former times have nothing else; it is kept as well.
        name = attributes.text("message").cloned().unwrap_or_default();
    }
    otlp::SpanEvent {
        time: log.timestamp.saturating_mul(1000),
        name: name.bytes().clone(),
        attributes: pairs(attributes),
        dropped_attributes: 0,
    }
}

/// A reference to a span.
struct Named {
    is_parent: bool,
    trace_id: Bytes,
    span_id: Bytes,
}

/// What a reference names, in this trace if it names none; `None` when it is no span.
fn named(reference: &Reference, of_trace: &Bytes) -> Option<Named> {
    Some(Named {
        is_parent: reference.ref_type == "CHILD_OF",
        trace_id: match reference.trace_id.is_empty() {
            true => of_trace.clone(),
            false => id_of(&reference.trace_id, 32)?,
        },
        span_id: id_of(&reference.span_id, 16)?,
    })
}

/// An id of so many digits, of which older clients leave leading zeros out; `None` when it is none.
fn id_of(text: &str, digits: usize) -> Option<Bytes> {
    let id = unhex(&format!("{text:0>digits$}"));
    let is_one = id.len() * 2 == digits && id.iter().any(|it| *it != 0);
    is_one.then_some(id)
}

/// Takes the text out that is under the first of these keys. An empty one says nothing, and stays.
fn take(attributes: &mut Attributes, keys: &[&str]) -> Text {
    for key in keys {
        let found = attributes.0.iter().position(|(name, value)| {
            name.as_str() == *key && matches!(value, Value::Text(text) if !text.is_empty())
        });
        if let Some(at) = found
            && let (_, Value::Text(text)) = attributes.0.remove(at)
        {
            return text;
        }
    }
    Text::default()
}

/// Takes the text out that is under this key and is one of these words of OTLP's, and says which number that is. The
/// first, that nothing is known, is what there is without any.
fn take_word(attributes: &mut Attributes, key: &str, words: &[&str]) -> i32 {
    let mut pairs = attributes.0.iter().enumerate();
    let found = pairs.find_map(|(at, (name, value))| match value {
        Value::Text(text) if name.as_str() == key => {
            let number = words.iter().skip(1).position(|it| *it == text.as_str())? + 1;
            Some((at, i32::try_from(number).ok()?))
        }
        _ => None,
    });
    found.map_or(0, |(at, number)| {
        attributes.0.remove(at);
        number
    })
}

/// Jaeger's words for OTLP's statuses, by their numbers. Its words for the kinds are the store's.
const STATUSES: [&str; 3] = ["UNSET", "OK", "ERROR"];

fn pairs(attributes: Attributes) -> Vec<KeyValue> {
    let pairs = attributes.0.into_iter().map(|(key, value)| KeyValue {
        key: key.bytes().clone(),
        value: Some(value_of(value)),
    });
    pairs.collect()
}

fn tags(tags: Option<Vec<Tag>>) -> Attributes {
    let tags = tags.unwrap_or_default().into_iter();
    Attributes(
        tags.map(|tag| (tag.key, value(&tag.kind, tag.value)))
            .collect(),
    )
}

fn value(kind: &str, value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match (kind, value) {
        ("binary", Json::String(text)) => match BASE64.decode(&text) {
            Ok(bytes) => Value::Bytes(bytes.into()),
            Err(_) => Value::Text(text.into()),
        },
        (_, Json::String(text)) => of_text(kind, text),
        (_, Json::Bool(value)) => Value::Bool(value),
        (_, Json::Number(number)) => match number.as_i64() {
            Some(whole) if kind != "float64" => Value::Int(whole),
            _ => Value::Double(number.as_f64().unwrap_or_default()),
        },
        (_, Json::Null) => Value::Empty,
        (_, other) => Value::Text(other.to_string().into()),
    }
}

/// Whole numbers that JavaScript would round come as text, and some clients write all values so.
fn of_text(kind: &str, text: String) -> Value {
    let typed = match kind {
        "int64" => text.parse().ok().map(Value::Int),
        "float64" => text.parse().ok().map(Value::Double),
        "bool" => text.parse().ok().map(Value::Bool),
        _ => None,
    };
    typed.unwrap_or_else(|| Value::Text(text.into()))
}

/// These spans as Jaeger's page reads them, trace by trace.
pub fn jaeger_of(spans: &[StoredSpan]) -> String {
    let mut traces: BTreeMap<TraceId, Vec<&StoredSpan>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.trace_id).or_default().push(span);
    }
    let data = traces.into_iter().map(|(id, spans)| {
        let mut names: BTreeMap<&StoredResource, String> = BTreeMap::new();
        let mut processes = BTreeMap::new();
        let spans = spans.into_iter().map(|span| {
            let next = format!("p{}", names.len() + 1);
            let process = names.entry(&span.resource).or_insert_with(|| {
                let attributes = read(&span.resource.attributes);
                let rest = attributes
                    .0
                    .iter()
                    .filter(|it| it.0.as_str() != "service.name");
                processes.insert(
                    next.clone(),
                    Process {
                        service_name: span.resource.service.clone(),
                        tags: Some(rest.map(tag).collect()),
                    },
                );
                next
            });
            written(span, process)
        });
        let spans = spans.collect();
        Trace {
            trace_id: id.to_string(),
            spans,
            processes,
        }
    });
    let document = Document {
        data: data.collect(),
    };
    // What may fail is a map with keys that are no text, which there is none of.
    serde_json::to_string(&document).unwrap_or_default()
}

fn read(text: &Text) -> Attributes {
    Attributes::from_json(text.as_str()).unwrap_or_default()
}

fn text_tag(key: &str, text: &str) -> Tag {
    Tag {
        key: key.into(),
        kind: "string".to_owned(),
        value: text.into(),
    }
}

fn tag((key, value): &(Text, Value)) -> Tag {
    let json = |value: &Value| serde_json::to_value(value).unwrap_or_default();
    let (kind, value) = match value {
        Value::Empty => ("string", "".into()),
        Value::Text(text) => ("string", text.as_str().into()),
        Value::Bool(value) => ("bool", (*value).into()),
        Value::Int(value) => ("int64", (*value).into()),
        Value::Double(number) if number.is_finite() => ("float64", (*number).into()),
        Value::Double(number) => ("float64", number.to_string().into()),
        Value::Bytes(bytes) => ("binary", BASE64.encode(bytes).into()),
        Value::List(_) | Value::Map(_) => ("string", json(value).to_string().into()),
    };
    Tag {
        key: key.clone(),
        kind: kind.to_owned(),
        value,
    }
}

fn written(span: &StoredSpan, process: &str) -> Span {
    // These first: whoever reads takes the first of a key, and attributes may have any.
    let mut tags = Vec::new();
    let kind = usize::try_from(span.kind).ok().filter(|it| *it > 0);
    let kind = kind.and_then(|it| KINDS.get(it));
    tags.extend(kind.map(|kind| text_tag("span.kind", kind)));
    match span.status {
        1 => tags.push(text_tag("otel.status_code", "OK")),
        2 => {
            tags.push(text_tag("otel.status_code", "ERROR"));
            tags.push(tag(&("error".into(), Value::Bool(true))));
        }
        _ => {}
    }
    for (key, text) in [
        ("otel.status_description", &span.status_message),
        ("otel.scope.name", &span.scope.name),
        ("otel.scope.version", &span.scope.version),
        ("w3c.tracestate", &span.trace_state),
    ] {
        if !text.is_empty() {
            tags.push(text_tag(key, text.as_str()));
        }
    }
    tags.extend(read(&span.attributes).0.iter().map(tag));
    let trace_id = span.trace_id.to_string();
    let parent = span.parent_id.map(|id| Reference {
        ref_type: "CHILD_OF".to_owned(),
        trace_id: trace_id.clone(),
        span_id: id.to_string(),
    });
    let links = span.links().unwrap_or_default().into_iter();
    // Of what names no span nobody could tell which trace it is in.
    let links = links
        .filter(|link| id_of(&link.trace_id, 32).is_some() && id_of(&link.span_id, 16).is_some());
    let links = links.map(|link| Reference {
        ref_type: "FOLLOWS_FROM".to_owned(),
        trace_id: link.trace_id,
        span_id: link.span_id,
    });
    let events = span.events().unwrap_or_default().into_iter();
    let logs = events.map(|event| {
        let name = Some(event.name.as_str()).filter(|it| !it.is_empty());
        let mut fields: Vec<Tag> = name.map(|it| text_tag("event", it)).into_iter().collect();
        fields.extend(event.attributes.0.iter().map(tag));
        Log {
            timestamp: event.time_unix_nanos / 1000,
            fields: Some(fields),
        }
    });
    Span {
        trace_id,
        span_id: hex(&span.span_id.to_bytes()),
        operation_name: span.name.clone(),
        flags: Some(span.flags),
        references: Some(parent.into_iter().chain(links).collect()),
        parent_span_id: String::new(),
        start_time: span.start.0 / 1000,
        duration: (span.end.0 / 1000).saturating_sub(span.start.0 / 1000),
        tags: Some(tags),
        logs: Some(logs.collect()),
        process_id: process.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"{"data":[{"traceID":"f067aa0ba902b7","spans":[
        {"traceID":"f067aa0ba902b7","spanID":"53995c3f42cd8ad8","operationName":"GET /","flags":1,"references":[],
         "startTime":1600000000000001,"duration":2000,"processID":"p1","warnings":null,
         "tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"n","type":"int64","value":7},
                 {"key":"share","type":"float64","value":1},{"key":"error","type":"bool","value":true}],
         "logs":[{"timestamp":1600000000000003,"fields":[{"key":"event","type":"string","value":"retry"},
                 {"key":"why","type":"string","value":"busy"}]}]},
        {"traceID":"f067aa0ba902b7","spanID":"1","operationName":"call","startTime":1600000000000002,"duration":5,
         "references":[{"refType":"FOLLOWS_FROM","traceID":"ab","spanID":"cd"},
                       {"refType":"CHILD_OF","traceID":"f067aa0ba902b7","spanID":"53995c3f42cd8ad8"}],
         "tags":[{"key":"otel.scope.name","type":"string","value":"http"}],"processID":"p1"}],
        "processes":{"p1":{"serviceName":"shop","tags":[{"key":"ip","type":"string","value":"10.0.0.1"}]}}}]}"#;

    fn read(text: &str) -> Vec<StoredSpan> {
        let mut counts = ReadCounts::default();
        let read = spans_of_jaeger(text.as_bytes(), Received::IMPORTED, &mut counts);
        assert_eq!(counts, ReadCounts::default());
        read.expect("it is one")
    }

    #[test]
    fn what_the_page_saved_is_read_and_written_back() {
        let spans = read(SAVED);
        let [root, call] = &spans[..] else {
            panic!("{spans:?}")
        };
        assert_eq!(
            root.trace_id.to_string(),
            "000000000000000000f067aa0ba902b7"
        );
        assert_eq!((root.kind, root.status, root.parent_id), (2, 2, None));
        assert_eq!(root.attributes.as_str(), r#"{"n":7,"share":1.0}"#);
        assert_eq!(root.resource.service.as_str(), "shop");
        assert_eq!(root.end.0 - root.start.0, 2_000_000);
        let events = root.events().expect("a list");
        assert_eq!(
            (events[0].name.as_str(), events[0].attributes.text("why")),
            ("retry", Some(&"busy".into()))
        );
        assert_eq!(call.parent_id, Some(root.span_id));
        assert_eq!(call.scope.name.as_str(), "http");
        assert_eq!(call.links().expect("a list").len(), 1);
        assert_eq!(read(&jaeger_of(&spans)), spans);
    }

    /// What a span of these tags, logs and other fields is read as.
    fn one(fields: &str) -> StoredSpan {
        let text = format!(
            r#"{{"data":[{{"traceID":"1","processes":{{}},"spans":[{{"traceID":"1","spanID":"2",
               "startTime":1,"duration":1,"processID":"p1",{fields}}}]}}]}}"#
        );
        read(&text).remove(0)
    }

    #[test]
    fn no_tag_is_lost() {
        let tag = |key: &str, kind: &str, value: &str| {
            format!(r#""tags":[{{"key":"{key}","type":"{kind}","value":{value}}}]"#)
        };
        for (fields, attributes) in [
            (
                tag("span.kind", "string", r#""robot""#),
                r#"{"span.kind":"robot"}"#,
            ),
            (
                tag("span.kind", "string", r#""unspecified""#),
                r#"{"span.kind":"unspecified"}"#,
            ),
            (
                tag("otel.status_code", "string", r#""Oops""#),
                r#"{"otel.status_code":"Oops"}"#,
            ),
            (
                tag("otel.status_description", "string", r#""no""#),
                r#"{"otel.status_description":"no"}"#,
            ),
            (tag("error", "bool", "false"), r#"{"error":false}"#),
            (
                tag("n", "int64", r#""9007199254740993""#),
                r#"{"n":9007199254740993}"#,
            ),
            (tag("n", "int64", r#""many""#), r#"{"n":"many"}"#),
            (tag("x", "float64", r#""NaN""#), r#"{"x":{"double":"NaN"}}"#),
            (tag("b", "bool", r#""true""#), r#"{"b":true}"#),
            (
                tag("raw", "binary", r#""AP8=""#),
                r#"{"raw":{"bytes":"AP8="}}"#,
            ),
            (tag("raw", "binary", r#""%""#), r#"{"raw":"%"}"#),
        ] {
            let span = one(&fields);
            assert_eq!(span.attributes.as_str(), attributes, "{fields}");
            let again = read(&jaeger_of(std::slice::from_ref(&span)));
            assert_eq!(again, [span], "{fields}");
        }
        let scope = one(&tag("otel.scope.version", "string", r#""2""#)).scope;
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("", "2"));
    }

    #[test]
    fn older_clients_are_understood() {
        let span = one(r#""parentSpanID":"3","logs":[{"timestamp":1,"fields":[
            {"key":"message","type":"string","value":"busy"}]}]"#);
        let parent = span.parent_id.expect("a parent");
        assert_eq!(parent.to_string(), "0000000000000003");
        let events = span.events().expect("a list");
        let message = events[0].attributes.text("message");
        assert_eq!(
            (events[0].name.as_str(), message),
            ("busy", Some(&"busy".into()))
        );
        let span = one(
            r#""parentSpanID":"3","references":[{"refType":"CHILD_OF","spanID":"4"},
            {"refType":"FOLLOWS_FROM","spanID":"5"}]"#,
        );
        assert_eq!(span.parent_id.map(|it| it.to_bytes()[7]), Some(4));
        let links = span.links().expect("a list");
        assert_eq!(links[0].trace_id, span.trace_id.to_string());
    }

    #[test]
    fn something_else_is_told_apart() {
        for text in ["", "{}", r#"{"resourceSpans":[]}"#, "PAR1"] {
            let read = spans_of_jaeger(
                text.as_bytes(),
                Received::IMPORTED,
                &mut ReadCounts::default(),
            );
            assert!(read.is_none(), "{text}");
        }
    }
}
