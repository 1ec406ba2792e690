//! The semantic conventions that decide how a request ended and who did it, in the names of today and
//! in those of before: exporters of ten years' vintages send side by side.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use super::content::{attribute, one, text};
use super::*;

const HTTP: &str = "Semantic conventions: HTTP";
const RPC: &str = "Semantic conventions: RPC";
const ERRORS: &str = "Semantic conventions: errors and exceptions";
const PEERS: &str = "Semantic conventions: peers, databases, messaging, code";
const RESOURCE: &str = "Semantic conventions: resources";
const SAMPLING: &str = "Trace state: probability sampling";

pub(super) fn cases() -> Vec<Case> {
    [http_and_rpc(), errors(), peers(), resources(), sampling()]
        .into_iter()
        .flatten()
        .collect()
}

fn whole(key: &str, number: i64) -> KeyValue {
    attribute(key, Any::IntValue(number))
}

/// A client span with these attributes.
fn with(section: &'static str, demand: &'static str, attributes: Vec<KeyValue>) -> Case {
    let request = one(|span| {
        span.kind = 3;
        span.attributes = attributes;
    });
    Case::new(section, demand, taken(1)).sent(all_ways(&request))
}

fn http_and_rpc() -> Vec<Case> {
    vec![
        with(
            HTTP,
            "`http.request.method`, `http.response.status_code`, `http.route`",
            vec![
                text("http.request.method", "GET"),
                whole("http.response.status_code", 503),
                text("http.route", "/cart/{id}"),
            ],
        )
        .reads("http.request.method", "GET")
        .reads("HTTP status", "503")
        .reads("http.route", "/cart/{id}"),
        with(
            HTTP,
            "before 1.21: `http.method`, `http.status_code`",
            vec![text("http.method", "GET"), whole("http.status_code", 503)],
        )
        .reads("http.request.method", "GET")
        .reads("HTTP status", "503"),
        with(
            HTTP,
            "both, in any order: the name of today counts",
            vec![
                whole("http.status_code", 200),
                whole("http.response.status_code", 503),
                whole("http.status_code", 200),
            ],
        )
        .reads("HTTP status", "503"),
        with(
            HTTP,
            "a status as text",
            vec![text("http.status_code", "404")],
        )
        .reads("HTTP status", "404"),
        with(
            RPC,
            "`rpc.status_code`, by name",
            vec![text("rpc.status_code", "DEADLINE_EXCEEDED")],
        )
        .reads("gRPC status", "4"),
        with(
            RPC,
            "`rpc.response.status_code`, by name, as some languages spell it",
            vec![text("rpc.response.status_code", "DeadlineExceeded")],
        )
        .reads("gRPC status", "4"),
        with(
            RPC,
            "`rpc.grpc.status_code`, by number",
            vec![whole("rpc.grpc.status_code", 14)],
        )
        .reads("gRPC status", "14"),
        with(
            RPC,
            "all three: the newest counts",
            vec![
                whole("rpc.grpc.status_code", 2),
                text("rpc.status_code", "UNAVAILABLE"),
                text("rpc.response.status_code", "UNKNOWN"),
            ],
        )
        .reads("gRPC status", "14"),
        with(
            RPC,
            "a status of another system of calls says nothing about gRPC",
            vec![text("rpc.status_code", "teapot")],
        )
        .reads("gRPC status", "none"),
    ]
}

fn errors() -> Vec<Case> {
    let event = |kind: &str| proto::span::Event {
        name: "exception".to_owned(),
        attributes: vec![text("exception.type", kind)],
        ..Default::default()
    };
    let of_event = one(|it| it.events = vec![event("java.net.ConnectException")]);
    let both = one(|it| {
        it.events = vec![event("java.net.ConnectException")];
        it.attributes = vec![text("error.type", "timeout")];
    });
    let described = one(|it| {
        it.status = Some(proto::Status {
            message: "deadline exceeded".to_owned(),
            code: 2,
        });
    });
    vec![
        with(ERRORS, "`error.type`", vec![text("error.type", "timeout")])
            .reads("error.type", "timeout"),
        Case::new(
            ERRORS,
            "an `exception` event, as long as they are events",
            taken(1),
        )
        .sent(all_ways(&of_event))
        .reads("error.type", "java.net.ConnectException"),
        Case::new(ERRORS, "both: the attribute counts", taken(1))
            .sent(all_ways(&both))
            .reads("error.type", "timeout"),
        Case::new(
            ERRORS,
            "neither, since exceptions are logs: the status says it",
            taken(1),
        )
        .sent(all_ways(&described))
        .reads("status", "Error")
        .reads("status message", "deadline exceeded"),
    ]
}

fn peers() -> Vec<Case> {
    vec![
        with(PEERS, "`server.address`, `server.port`, `peer.service`", vec![
            text("server.address", "10.0.0.7"),
            whole("server.port", 8080),
            text("peer.service", "cart"),
        ])
        .reads("server.address", "10.0.0.7")
        .reads("port", "8080")
        .reads("peer.service", "cart"),
        with(PEERS, "before 1.21: `net.peer.name`, `net.peer.port`", vec![
            text("net.peer.name", "10.0.0.7"),
            text("net.peer.port", "8080"),
        ])
        .reads("server.address", "10.0.0.7")
        .reads("port", "8080"),
        with(PEERS, "`url.full` alone, or `server.address` beside it without its port", vec![
            text("server.address", "10.0.0.7"),
            text("url.full", "http://10.0.0.7:8080/items/17?q=a"),
        ])
        .reads("server.address", "10.0.0.7")
        .reads("port", "8080"),
        with(PEERS, "before 1.21: `http.url`", vec![
            text("http.url", "https://cart/items/17"),
        ])
        .reads("server.address", "cart")
        .reads("port", "443"),
        with(PEERS, "before 1.13: `http.host`", vec![
            text("http.host", "cart:8080"),
            text("http.target", "/items/17"),
        ])
        .reads("server.address", "cart")
        .reads("port", "8080"),
        with(PEERS, "`db.system.name`, `db.namespace`", vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", "shop"),
        ])
        .reads("db.system.name", "postgresql")
        .reads("db.namespace", "shop"),
        with(PEERS, "before 1.28: `db.system`, `db.name`", vec![
            text("db.system", "postgresql"),
            text("db.name", "shop"),
        ])
        .reads("db.system.name", "postgresql")
        .reads("db.namespace", "shop"),
        with(PEERS, "`messaging.system`, `messaging.destination.name`, or as it was: `messaging.destination`", vec![
            text("messaging.system", "kafka"),
            text("messaging.destination", "orders"),
        ])
        .reads("messaging.system", "kafka")
        .reads("messaging.destination.name", "orders"),
        with(PEERS, "`code.function.name`; before it `code.namespace`", vec![
            text("code.function.name", "com.shop.Cart.add"),
        ])
        .reads("code.namespace", "com.shop.Cart"),
    ]
}

fn resources() -> Vec<Case> {
    let of = |demand, attributes: &[(&str, &str)]| {
        let mut request = one(|_| {});
        let attributes = attributes.iter().map(|(key, value)| text(key, value));
        request.resource_spans[0].resource =
            Some(opentelemetry_proto::tonic::resource::v1::Resource {
                attributes: attributes.collect(),
                ..Default::default()
            });
        Case::new(RESOURCE, demand, taken(1)).sent(all_ways(&request))
    };
    vec![
        of("without `service.name` it is unknown", &[]).reads("service", "unknown_service"),
        of(
            "as SDKs say it is",
            &[("service.name", "unknown_service:java")],
        )
        .reads("service", "unknown_service:java"),
        of(
            "without `service.instance.id` the pod stands for the instance",
            &[("k8s.pod.name", "cart-5d9")],
        )
        .reads("instance", "cart-5d9"),
        of(
            "or host and process",
            &[("host.name", "node-1"), ("process.pid", "17")],
        )
        .reads("instance", "node-1:17"),
        of("or the container", &[("container.id", "f00d")]).reads("instance", "f00d"),
        of(
            "both names of the environment are kept as they are",
            &[
                ("deployment.environment", "test"),
                ("deployment.environment.name", "prod"),
            ],
        )
        .reads("deployment.environment.name", "prod")
        .reads("deployment.environment", "test"),
    ]
}

fn sampling() -> Vec<Case> {
    let state = |demand, state: &str, expected| {
        let request = one(|it| it.trace_state = state.to_owned());
        Case::new(SAMPLING, demand, taken(1))
            .sent(all_ways(&request))
            .reads("stands for", expected)
    };
    let mut tail = one(|_| {});
    tail.resource_spans[0].scope_spans[0].scope = Some(
        opentelemetry_proto::tonic::common::v1::InstrumentationScope {
            attributes: vec![text("tailsampling.policy", "keep-errors")],
            ..Default::default()
        },
    );
    let by_attributes = |demand, attributes| with(SAMPLING, demand, attributes);
    vec![
        state("no sampler spoke up", "vendor=x", "itself"),
        state(
            "`ot=th:` is the rejection threshold, its last zeroes left out",
            "vendor=x,ot=th:c",
            "4",
        ),
        state("beside a random number", "ot=rv:6e6d1a75832a2f;th:8", "2"),
        state("`th:0` keeps all", "ot=th:0", "1"),
        state(
            "a random number without a threshold: unknown",
            "ot=rv:6e6d1a75832a2f",
            "none",
        ),
        state("a threshold that is none: unknown", "ot=th:xyz", "none"),
        state(
            "the convention before: `ot=p:`, a power of two",
            "ot=p:3;r:5",
            "8",
        ),
        by_attributes(
            "Jaeger's sampler of one in eight",
            vec![
                text("sampler.type", "probabilistic"),
                attribute("sampler.param", Any::DoubleValue(0.125)),
            ],
        )
        .reads("stands for", "8"),
        by_attributes(
            "Jaeger's sampler by rate: unknown",
            vec![
                text("sampler.type", "ratelimiting"),
                attribute("sampler.param", Any::DoubleValue(2.0)),
            ],
        )
        .reads("stands for", "none"),
        by_attributes("Honeycomb's `SampleRate`", vec![whole("SampleRate", 16)])
            .reads("stands for", "16"),
        Case::new(
            SAMPLING,
            "the Collector's tail sampler, which doesn't say how many it drops: unknown",
            taken(1),
        )
        .sent(all_ways(&tail))
        .reads("stands for", "none"),
    ]
}
