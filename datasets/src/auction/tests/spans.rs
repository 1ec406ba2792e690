//! What the exporters really send, as a receiver of OTLP/gRPC gets it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;

use super::{Fault, FaultKind, PATIENCE, ServiceName, Site, Verdict, probes, wait_for};

/// A span and the attributes of the process that sent it.
#[derive(Clone, Debug)]
struct Sent {
    resource: Vec<KeyValue>,
    span: Span,
}

impl Sent {
    fn is(&self, kind: SpanKind, service: &str, name: &str) -> bool {
        self.span.kind == kind as i32
            && self.span.name == name
            && text(&self.resource, "service.name") == service
    }

    fn attribute(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// Takes spans as a collector does, and keeps them.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Sent>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let take = service_fn(move |request| take(request, Arc::clone(&kept)));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), take);
                tokio::spawn(connection);
            }
        });
        Self {
            address,
            spans,
            _runtime: runtime,
        }
    }

    /// The first span that is as wanted, once it is there.
    fn find(&self, what: &str, wanted: impl Fn(&Sent) -> bool) -> Sent {
        let mut found = None;
        wait_for(what, || {
            let spans = self.spans.lock().expect("spans");
            found = spans.iter().find(|sent| wanted(sent)).cloned();
            found.is_some()
        });
        found.expect("it was waited for")
    }
}

async fn take(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Sent>>>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    // One byte of compression (none), four of length.
    let message = ExportTraceServiceRequest::decode(&body[5..]).expect("an export request");
    for of_process in message.resource_spans {
        let resource = of_process.resource.expect("a resource").attributes;
        let spans = of_process
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        kept.lock().expect("spans").extend(spans.map(|span| Sent {
            resource: resource.clone(),
            span,
        }));
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(answer.len() as u32);
    frame.put_slice(&answer);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body).expect("a response"))
}

/// With so much time for a request: where nobody is silent, more than one takes on the busiest machine.
fn site(collector: &Collector, budget_ms: u64) -> Site {
    Site::start_with(|options| {
        options.otlp = Some(format!("http://{}", collector.address));
        options.export_delay_ms = Some(20);
        options.generation = Some(12);
        options.budget_ms = budget_ms;
    })
}

/// Exporters that wait for ten minutes tell nothing in this test unless they are told to.
#[test]
fn what_is_about_to_be_restarted_sends_what_it_has() {
    let collector = Collector::start();
    let site = Site::start_with(|options| {
        options.otlp = Some(format!("http://{}", collector.address));
        options.export_delay_ms = Some(600_000);
    });
    assert_eq!(site.verdict("catalog.items"), Verdict::Right);
    let control = site.owner("catalog.items").control_address();
    assert_eq!(
        super::request(control, "POST", "/prepare", None, &[]).0,
        204
    );
    collector.find("its span", |sent| {
        text(&sent.resource, "service.name") == "catalog"
    });
}

#[test]
fn a_search_is_one_trace_through_two_processes_and_three_components() {
    let collector = Collector::start();
    let site = site(&collector, 20_000);
    let web = site.service(ServiceName::Web).address();
    let mut questions = probes::through_front(&site.world).into_iter();
    let search = questions
        .find(|one| one.component == "catalog.search")
        .expect("one");
    let asked = probes::ask(web, &search, PATIENCE);
    assert_eq!(asked.verdict, Verdict::Right);
    let trace = asked.trace_id.expect("the server says it");
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };

    // From the user inwards: each span's parent is the one before.
    let path = [
        (SpanKind::Server, "web", "GET /search"),
        (SpanKind::Client, "web", "call web.browse.search"),
        (SpanKind::Internal, "web", "web.browse.search"),
        (SpanKind::Client, "web", "GET /search"),
        (SpanKind::Server, "catalog", "GET /search"),
        (SpanKind::Client, "catalog", "call catalog.search.find"),
        (SpanKind::Internal, "catalog", "catalog.search.find"),
        (SpanKind::Client, "catalog", "call catalog.items.titles"),
        (SpanKind::Internal, "catalog", "catalog.items.titles"),
    ];
    let mut parent = Vec::new();
    for (kind, service, name) in path {
        let sent = collector.find(name, |sent| {
            sent.is(kind, service, name) && hex(&sent.span.trace_id) == trace
        });
        assert_eq!(sent.span.parent_span_id, parent, "{name}");
        assert_eq!(sent.attribute("error.type"), "", "{name}");
        assert_eq!(text(&sent.resource, "rekindle.generation"), "12");
        assert!(!text(&sent.resource, "service.instance.id").is_empty());
        let (peer, function) = (
            sent.attribute("peer.service"),
            sent.attribute("code.function.name"),
        );
        match (kind, name) {
            (SpanKind::Server, _) => {
                assert_eq!(sent.attribute("http.response.status_code"), "200");
                assert_eq!(sent.attribute("http.route"), "/search");
            }
            (SpanKind::Internal, _) => {
                assert_eq!(function, name);
                assert_eq!(sent.attribute("rekindle.generation"), "0");
            }
            (_, "GET /search") => {
                assert_eq!((&*peer, &*function), ("catalog", "web.browse.search"));
                assert!(!sent.attribute("server.port").is_empty());
            }
            (_, "call catalog.items.titles") => {
                assert_eq!(
                    (&*peer, &*function),
                    ("catalog.items", "catalog.search.find")
                );
            }
            _ => assert!(name.contains(&peer), "{name} asks {peer}"),
        }
        parent = sent.span.span_id;
    }
}

#[test]
fn a_silent_component_is_named_by_its_caller() {
    let collector = Collector::start();
    let site = site(&collector, 900);
    site.inject(&Fault::new("catalog.search", FaultKind::Hang));
    assert_eq!(
        site.verdict("catalog.search"),
        Verdict::Failed { status: 504 }
    );
    let call = collector.find("the caller's word", |sent| {
        sent.is(SpanKind::Client, "catalog", "call catalog.search.find")
    });
    assert_eq!(call.attribute("error.type"), "timeout");
    assert_eq!(call.attribute("peer.service"), "catalog.search");
    let entry = collector.find("the answer", |sent| {
        sent.is(SpanKind::Server, "catalog", "GET /search")
    });
    assert_eq!(entry.attribute("http.response.status_code"), "504");
    let spans = collector.spans.lock().expect("spans").clone();
    let own = spans
        .iter()
        .any(|sent| sent.span.name == "catalog.search.find");
    assert!(!own, "its own span never ends");

    assert_eq!(
        site.microreboot("catalog.search", &[("rekindle-generation", "5")])
            .0,
        200
    );
    assert_eq!(site.verdict("catalog.search"), Verdict::Right);
    let own = collector.find("the next life's word", |sent| {
        sent.is(SpanKind::Internal, "catalog", "catalog.search.find")
    });
    assert_eq!(own.attribute("rekindle.generation"), "5");
}

#[test]
fn a_failing_component_says_so_and_its_callers_pass_it_on() {
    let collector = Collector::start();
    let site = site(&collector, 20_000);
    site.inject(&Fault::new("catalog.items", FaultKind::Error));
    let web = site.service(ServiceName::Web).address();
    let item = probes::of_component(&site.world, "web.browse").expect("one");
    let verdict = probes::ask(web, &item, PATIENCE).verdict;
    assert_eq!(verdict, Verdict::Failed { status: 503 });
    let expected = [
        (
            SpanKind::Internal,
            "catalog",
            "catalog.items.get",
            "corrupt_state",
        ),
        (
            SpanKind::Client,
            "catalog",
            "call catalog.items.get",
            "corrupt_state",
        ),
        (SpanKind::Server, "catalog", "GET /items/{id}", "503"),
        (SpanKind::Client, "web", "GET /items/{id}", "503"),
        (SpanKind::Internal, "web", "web.browse.item", "503"),
        (SpanKind::Server, "web", "GET /items/{id}", "503"),
    ];
    for (kind, service, name, error_type) in expected {
        let sent = collector.find(name, |sent| sent.is(kind, service, name));
        assert_eq!(sent.attribute("error.type"), error_type, "{service} {name}");
    }
    // A dead process says nothing: its callers name its address.
    let mut site = site;
    let catalog = site.service(ServiceName::Catalog).address();
    site.services
        .retain(|service| service.name() != ServiceName::Catalog);
    collector.spans.lock().expect("spans").clear();
    assert!(matches!(
        probes::ask(web, &item, PATIENCE).verdict,
        Verdict::Failed { .. }
    ));
    let call = collector.find("the caller's word", |sent| {
        sent.is(SpanKind::Client, "web", "GET /items/{id}")
    });
    assert_eq!(call.attribute("error.type"), "connection_refused");
    assert_eq!(call.attribute("server.port"), catalog.port().to_string());
}
