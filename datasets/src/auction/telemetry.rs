//! What the site tells about its requests: spans, by the `opentelemetry` crates, over OTLP.
//!
//! Four kinds of spans, so that a silent part is still named by whoever asked it:
//! * `server`, one per HTTP request;
//! * `internal`, one per call, by the component that does the work, with `code.function.name`;
//! * `client` with `server.address`, one per call of another process, by the caller;
//! * `client` with `peer.service` = the component's name, one per call of a component of the same
//!   process, by the caller. A hung component never ends its own span, but its caller's time-out
//!   ends this one with `error.type = timeout`.
//!
//! A killed process loses the spans that it hadn't sent yet. That is how it is, so nothing is done
//! about it.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span,
};
use rekindle_model::GENERATION;

use super::{ServiceName, ServiceOptions};

/// How long a process that was told to end tries to send its last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Makes spans and sends them.
#[derive(Clone)]
pub(crate) struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Tracing {
    /// Sends to the endpoint of the options; nowhere when they name none. To be called in a tokio
    /// runtime, which must outlive the spans.
    pub(crate) fn start(options: &ServiceOptions) -> Result<Self, ExporterBuildError> {
        let mut builder = SdkTracerProvider::builder().with_resource(resource(options));
        if let Some(endpoint) = &options.otlp {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint.clone())
                .build()?;
            let mut batches = BatchConfigBuilder::default();
            if let Some(delay) = options.export_delay() {
                batches = batches.with_scheduled_delay(delay);
            }
            builder = builder.with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches.build())
                    .build(),
            );
        }
        Ok(Self::over(builder.build()))
    }

    pub(crate) fn over(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer("rekindle-auction");
        Self { provider, tracer }
    }

    /// Sends what is left, for a while.
    pub(crate) fn flush(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }

    /// Sends what has ended until now, and goes on: a restart may be about to take it away. Blocks.
    pub(crate) fn send_now(&self) -> bool {
        let sent = self.provider.force_flush();
        if let Err(error) = &sent {
            tracing::debug!(%error, "not all spans were sent");
        }
        sent.is_ok()
    }

    /// A request came in.
    pub(crate) fn server(&self, method: &str, route: &str, headers: &HeaderMap) -> ActiveSpan {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        let builder = SpanBuilder::from_name(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("http.route", route.to_owned()),
            ]);
        ActiveSpan::new(self.tracer.build_with_context(builder, &parent))
    }

    /// A component works on a call.
    pub(crate) fn work(&self, caller: &Caller, parent: &SpanContext) -> ActiveSpan {
        let builder = SpanBuilder::from_name(caller.function.clone())
            .with_kind(SpanKind::Internal)
            .with_attributes(caller.attributes());
        self.start_child(builder, parent)
    }

    /// A component of this process is asked. No caller: the HTTP server itself asks.
    pub(crate) fn local_call(
        &self,
        caller: Option<&Caller>,
        parent: &SpanContext,
        callee: &str,
        operation: &str,
    ) -> ActiveSpan {
        let mut attributes = caller.map(Caller::attributes).unwrap_or_default();
        attributes.push(KeyValue::new("peer.service", callee.to_owned()));
        let builder = SpanBuilder::from_name(format!("call {callee}.{operation}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        self.start_child(builder, parent)
    }

    /// Another process is asked.
    pub(crate) fn remote_call(
        &self,
        caller: &Caller,
        parent: &SpanContext,
        callee: ServiceName,
        address: std::net::SocketAddr,
        method: &str,
        route: &str,
    ) -> ActiveSpan {
        let mut attributes = caller.attributes();
        attributes.extend([
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("url.template", route.to_owned()),
            KeyValue::new("server.address", address.ip().to_string()),
            KeyValue::new("server.port", i64::from(address.port())),
            KeyValue::new("peer.service", callee.as_str()),
        ]);
        let builder = SpanBuilder::from_name(format!("{method} {route}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        self.start_child(builder, parent)
    }

    fn start_child(&self, builder: SpanBuilder, parent: &SpanContext) -> ActiveSpan {
        // Named "remote" by the library, but it takes the context as it is: ours says "local".
        let parent = Context::new().with_remote_span_context(parent.clone());
        ActiveSpan::new(self.tracer.build_with_context(builder, &parent))
    }
}

/// Whose code asks or works: a function of a component, in one of its lives.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Such as `catalog.search.find`.
    pub(crate) function: String,
    /// The component's generation.
    pub(crate) generation: u64,
}

impl Caller {
    fn attributes(&self) -> Vec<KeyValue> {
        vec![
            KeyValue::new("code.function.name", self.function.clone()),
            KeyValue::new(
                GENERATION,
                i64::try_from(self.generation).unwrap_or(i64::MAX),
            ),
        ]
    }
}

/// A span that ends when it is dropped. One that is dropped without a word (its thread panicked,
/// its life ended, its caller gave up) says so.
pub(crate) struct ActiveSpan {
    span: Span,
    concluded: bool,
}

impl ActiveSpan {
    fn new(span: Span) -> Self {
        Self {
            span,
            concluded: false,
        }
    }

    pub(crate) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    /// The work is done.
    pub(crate) fn succeed(&mut self) {
        self.concluded = true;
    }

    /// The work failed.
    pub(crate) fn fail(&mut self, error_type: &str, message: &str) {
        self.concluded = true;
        self.span
            .set_attribute(KeyValue::new("error.type", error_type.to_owned()));
        self.span.set_status(Status::error(message.to_owned()));
    }

    /// The HTTP status that was sent or received. A server's failure begins at 500, a client's at
    /// 400, as the semantic conventions have it; here 404 and 409 are answers for clients too.
    pub(crate) fn respond(&mut self, status: u16) {
        self.concluded = true;
        self.span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        if status >= 500 {
            self.fail(&status.to_string(), "");
        }
    }

    /// What to send so that the callee's spans belong below this one.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let context = Context::new().with_remote_span_context(self.context().clone());
        TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
    }

    /// The value of the `traceresponse` header: `version-trace-span-flags`.
    pub(crate) fn traceresponse(&self) -> String {
        let context = self.context();
        format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags().to_u8()
        )
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if !self.concluded {
            self.fail("cancelled", "the work was broken off");
        }
        self.span.end();
    }
}

fn resource(options: &ServiceOptions) -> Resource {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let mut attributes = vec![
        KeyValue::new("service.name", options.service.as_str()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        // Random, so that no two lives of a process are taken for one.
        KeyValue::new(
            "service.instance.id",
            format!("{:032x}", rand::random::<u128>()),
        ),
        KeyValue::new("host.name", host),
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("telemetry.sdk.language", "rust"),
    ];
    if let Some(generation) = options.generation {
        attributes.push(KeyValue::new(
            GENERATION,
            i64::try_from(generation).unwrap_or(i64::MAX),
        ));
    }
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(key.as_bytes()),
            http::HeaderValue::from_str(&value),
        ) {
            self.0.insert(name, value);
        }
    }
}
