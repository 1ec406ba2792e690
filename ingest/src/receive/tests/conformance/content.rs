//! What is demanded of the reading of spans: every type of value, every field that we take, in both
//! encodings.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use rekindle_model::Span;

use super::*;

const JSON_ENCODING: &str = "JSON Protobuf Encoding";
const TRACE: &str = "trace.proto";
const COMMON: &str = "common.proto: AnyValue";

/// What a span says, in words: a fact, or any attribute by its key.
pub(super) fn said(span: &Span, what: &str) -> String {
    fn show(value: Option<impl ToString>) -> String {
        value.map_or("none".to_owned(), |it| it.to_string())
    }
    let facts = &span.facts;
    match what {
        "trace" => format!("{}", span.trace_id),
        "span" => format!("{}", span.span_id),
        "parent" => show(span.parent_id),
        "remote parent" => show(span.parent_is_remote),
        "kind" => format!("{:?}", span.kind),
        "status" => format!("{:?}", span.status),
        "status message" => show(span.status_message.as_ref()),
        "start" => span.start.0.to_string(),
        "end" => span.end.0.to_string(),
        "name" => span.name.to_string(),
        "scope" => show(span.scope.as_ref()),
        "links" => span.links.len().to_string(),
        "service" => span.resource.service.to_string(),
        "instance" => show(span.resource.instance.as_ref()),
        "version" => show(span.resource.version.as_ref()),
        "host" => show(span.resource.host.as_ref()),
        "HTTP status" => show(facts.http_status),
        "gRPC status" => show(facts.grpc_status),
        "port" => show(facts.server_port),
        "generation" => show(facts.generation),
        "stands for" => match facts.sampling {
            None => "itself".to_owned(),
            Some(sampling) => show(sampling.adjusted_count()),
        },
        attribute => show(span.attribute(attribute)),
    }
}

/// A request of one span, changed.
pub(super) fn one(change: impl FnOnce(&mut proto::Span)) -> ExportTraceServiceRequest {
    let mut request = ExportTraceServiceRequest::decode(&request(1, 0)[..]).expect("a request");
    change(&mut request.resource_spans[0].scope_spans[0].spans[0]);
    request
}

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn of_type(value: Option<Any>) -> Vec<Sent> {
    all_ways(&one(|span| {
        span.attributes = vec![KeyValue {
            key: "shard".to_owned(),
            value: Some(AnyValue { value }),
            ..KeyValue::default()
        }];
    }))
}

fn json_span(fields: &str) -> Sent {
    json_text(&format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#
    ))
}

const IDS: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174""#;

fn with_ids(fields: &str) -> Sent {
    json_span(&format!("{IDS},{fields}"))
}

pub(super) fn cases() -> Vec<Case> {
    [json_cases(), span_cases(), value_cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn json_cases() -> Vec<Case> {
    let id = "5b8efff798038103d269b633813fc60c";
    let taken_one = |demand| Case::new(JSON_ENCODING, demand, taken(1));
    let rejected = Answer::Taken {
        spans: 0,
        rejected: 1,
    };
    vec![
        taken_one("ids are hexadecimal, in either case")
            .sent([json_span(IDS), json_span(&IDS.to_lowercase().replace("traceid", "traceId").replace("spanid", "spanId"))])
            .reads("trace", id)
            .reads("span", "eee19b7ec3c1b174"),
        Case::new(JSON_ENCODING, "they are not base64", rejected).sent([json_span(
            r#""traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"7uGbfsPBsXQ=""#,
        )]),
        taken_one("64-bit numbers are texts of digits, or numbers")
            .sent([
                with_ids(r#""startTimeUnixNano":"1544712660300000000","endTimeUnixNano":"1544712660600000000""#),
                with_ids(r#""startTimeUnixNano":1544712660300000000,"endTimeUnixNano":1544712660600000000"#),
            ])
            .reads("start", "1544712660300000000")
            .reads("end", "1544712660600000000"),
        taken_one("enums are numbers")
            .sent([with_ids(r#""kind":2,"status":{"code":2,"message":"no"}"#)])
            .reads("kind", "Server")
            .reads("status", "Error")
            .reads("status message", "no"),
        taken_one("unknown fields are ignored, wherever they are")
            .sent([with_ids(
                r#""name":"n","new":{"a":[1,{}]},"status":{"new":1,"code":2},"attributes":[{"key":"shard","new":[],"value":{"stringValue":"7","new":null}}]"#,
            )])
            .reads("name", "n")
            .reads("status", "Error")
            .reads("shard", "7"),
        taken_one("keys are lowerCamelCase; the original names are unknown fields")
            .sent([with_ids(r#""parent_span_id":"EEE19B7EC3C1B173","start_time_unix_nano":"7","endTimeUnixNano":"9""#)])
            .reads("parent", "none")
            .reads("start", "9"),
        taken_one("`null` is the default of every field (protobuf's JSON mapping)")
            .sent([with_ids(
                r#""parentSpanId":null,"name":null,"kind":null,"startTimeUnixNano":null,"attributes":null,"events":null,"links":null,"status":null,"flags":null"#,
            )])
            .reads("parent", "none")
            .reads("kind", "Internal")
            .reads("links", "0"),
        taken_one("numbers that JSON doesn't have are texts")
            .sent([with_ids(r#""attributes":[{"key":"shard","value":{"doubleValue":"-Infinity"}}]"#)])
            .reads("shard", "-inf"),
        taken_one("texts may have escapes")
            .sent([with_ids(r#""name":"GET \/\u00e9\ud83d\ude00""#)])
            .reads("name", "GET /é😀"),
    ]
}

fn span_cases() -> Vec<Case> {
    let reject = |demand, change: fn(&mut proto::Span)| {
        let answer = Answer::Taken {
            spans: 0,
            rejected: 1,
        };
        Case::new(TRACE, demand, answer).sent(all_ways(&one(change)))
    };
    let take = |demand, change: fn(&mut proto::Span)| {
        Case::new(TRACE, demand, taken(1)).sent(all_ways(&one(change)))
    };
    let link = |number: u8| proto::span::Link {
        trace_id: vec![number; 16],
        span_id: vec![number; 8],
        ..Default::default()
    };
    vec![
        reject("`trace_id` is 16 bytes", |it| it.trace_id = vec![7; 15]),
        reject("`trace_id` isn't all zeroes", |it| {
            it.trace_id = vec![0; 16]
        }),
        reject("`span_id` is 8 bytes", |it| it.span_id = vec![7; 9]),
        reject("`span_id` isn't all zeroes", |it| it.span_id = vec![0; 8]),
        reject("`parent_span_id` is 8 bytes if any", |it| {
            it.parent_span_id = vec![7; 3]
        }),
        take("without `parent_span_id` it is a root", |_| {}).reads("parent", "none"),
        take("some exporters write a root's as zeroes", |it| {
            it.parent_span_id = vec![0; 8]
        })
        .reads("parent", "none"),
        take("else it names the parent", |it| {
            it.parent_span_id = vec![1; 8]
        })
        .reads("parent", "0101010101010101"),
        take(
            "flags, bit 8: whether the parent is remote isn't known without it",
            |it| it.flags = 0x201,
        )
        .reads("remote parent", "none"),
        take("flags, bits 8 and 9: it is remote", |it| {
            it.flags = 0xffff_ff01
        })
        .reads("remote parent", "true"),
        take("flags, bit 8 alone: it isn't", |it| it.flags = 0x101).reads("remote parent", "false"),
        take(
            "an unspecified kind, or one of the future, is internal",
            |it| it.kind = 77,
        )
        .reads("kind", "Internal"),
        take("kinds: server", |it| it.kind = 2).reads("kind", "Server"),
        take("kinds: client", |it| it.kind = 3).reads("kind", "Client"),
        take("kinds: producer", |it| it.kind = 4).reads("kind", "Producer"),
        take("kinds: consumer", |it| it.kind = 5).reads("kind", "Consumer"),
        take(
            "the end is only *expected* not to be before the start: it is mended, and counted",
            |it| {
                (it.start_time_unix_nano, it.end_time_unix_nano) = (2_000, 1_000);
            },
        )
        .reads("start", "2000")
        .reads("end", "2000"),
        take("a start that is missing is the end", |it| {
            (it.start_time_unix_nano, it.end_time_unix_nano) = (0, 1_000);
        })
        .reads("start", "1000"),
        take("no status is an unset one", |it| it.status = None).reads("status", "Unset"),
        take("status 1 is OK", |it| {
            it.status = Some(proto::Status {
                code: 1,
                message: String::new(),
            });
        })
        .reads("status", "Ok"),
        Case::new(TRACE, "links are kept, invalid ones not", taken(1))
            .sent(all_ways(&one(|it| {
                it.links = vec![link(1), link(0), link(2)]
            })))
            .reads("links", "2"),
        Case::new(
            TRACE,
            "counts of what was dropped before, and events that say nothing, are stepped over",
            taken(1),
        )
        .sent(all_ways(&one(|it| {
            it.dropped_attributes_count = 3;
            it.dropped_links_count = u32::MAX;
            it.events = vec![proto::span::Event {
                name: "log".to_owned(),
                ..Default::default()
            }];
            it.name = "still there".to_owned();
        })))
        .reads("name", "still there"),
        resource_case(),
    ]
}

fn resource_case() -> Case {
    let mut request = one(|_| {});
    let spans = &mut request.resource_spans[0];
    spans.resource = Some(opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: [
            ("service.name", "cart"),
            ("service.instance.id", "627cc493"),
            ("service.version", "1.2"),
            ("host.name", "node-1"),
            ("k8s.pod.name", "cart-5d9"),
        ]
        .map(|(key, value)| text(key, value))
        .to_vec(),
        dropped_attributes_count: 1,
        ..Default::default()
    });
    spans.scope_spans[0].scope = Some(
        opentelemetry_proto::tonic::common::v1::InstrumentationScope {
            name: "io.opentelemetry.jetty".to_owned(),
            version: "2".to_owned(),
            ..Default::default()
        },
    );
    spans.schema_url = "https://opentelemetry.io/schemas/1.44.0".to_owned();
    Case::new(
        "resource.proto",
        "resource and scope hold for all spans below them",
        taken(1),
    )
    .sent(all_ways(&request))
    .reads("service", "cart")
    .reads("instance", "627cc493")
    .reads("version", "1.2")
    .reads("host", "node-1")
    .reads("k8s.pod.name", "cart-5d9")
    .reads("scope", "io.opentelemetry.jetty")
}

fn value_cases() -> Vec<Case> {
    let value = |it: Option<Any>| AnyValue { value: it };
    let list = vec![
        value(Some(Any::BoolValue(true))),
        value(None),
        value(Some(Any::StringValue("a\"b".to_owned()))),
        value(Some(Any::BytesValue(vec![0, 255]))),
        value(Some(Any::DoubleValue(f64::NAN))),
    ];
    let nested = vec![
        attribute(
            "k",
            Any::ArrayValue(ArrayValue {
                values: list.clone(),
            }),
        ),
        attribute("n", Any::IntValue(i64::MIN)),
    ];
    let of = |demand, value: Option<Any>, expected| {
        Case::new(COMMON, demand, taken(1))
            .sent(of_type(value))
            .reads("shard", expected)
    };
    vec![
        of("text", Some(Any::StringValue("eu-1".to_owned())), "eu-1"),
        of("truth", Some(Any::BoolValue(false)), "false"),
        of(
            "whole numbers of 64 bits",
            Some(Any::IntValue(i64::MIN)),
            "-9223372036854775808",
        ),
        of("numbers", Some(Any::DoubleValue(0.25)), "0.25"),
        of("bytes", Some(Any::BytesValue(vec![0, 255])), "AP8="),
        of("nothing: an empty value is a value", None, "none"),
        of("empty text", Some(Any::StringValue(String::new())), ""),
        of(
            "lists, of different types",
            Some(Any::ArrayValue(ArrayValue { values: list })),
            r#"[true,null,"a\"b","AP8=","NaN"]"#,
        ),
        of(
            "maps, nested",
            Some(Any::KvlistValue(KeyValueList { values: nested })),
            r#"{"k":[true,null,"a\"b","AP8=","NaN"],"n":-9223372036854775808}"#,
        ),
        of(
            "an index into a dictionary that traces don't have is absent",
            Some(Any::StringValueStrindex(3)),
            "none",
        ),
        Case::new(
            COMMON,
            "of a key that comes twice one counts: the last",
            taken(1),
        )
        .sent(all_ways(&one(|it| {
            it.attributes = vec![text("shard", "1"), text("shard", "2")]
        })))
        .reads("shard", "2"),
    ]
}
