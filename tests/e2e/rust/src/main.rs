//! A shop that calls payments and stock, traced by the OpenTelemetry SDK for Rust.
//!
//! Sends good requests, then requests that fail in payments. Arguments and environment: see send.py.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{
    Compression, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData,
    SpanExporter,
};

/// Writes down which spans an exporter said were taken.
#[derive(Debug)]
struct Recorder {
    inner: opentelemetry_otlp::SpanExporter,
    file: Option<Arc<Mutex<File>>>,
}

impl SpanExporter for Recorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut lines = String::new();
        for span in &batch {
            let context = &span.span_context;
            lines.push_str(&format!("{} {}\n", context.trace_id(), context.span_id()));
        }
        let result = self.inner.export(batch).await;
        if let Err(error) = &result {
            eprintln!("{} spans were not taken: {error}", lines.lines().count());
        } else if let Some(file) = &self.file {
            let mut file = file.lock().expect("nobody panicked");
            file.write_all(lines.as_bytes())
                .expect("acknowledged spans are written down");
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// What an exporter needs over TLS. The SDK reads tokens from the environment, certificates it doesn't.
struct Secure {
    authority: Vec<u8>,
    /// The client's certificate and its key.
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Secure {
    fn of_environment() -> Result<Option<Self>, Box<dyn Error>> {
        if std::env::var_os("E2E_SECURE").is_none() {
            return Ok(None);
        }
        let content = |name: &str| std::env::var_os(name).map(std::fs::read).transpose();
        let certificate = content("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")?;
        let key = content("OTEL_EXPORTER_OTLP_CLIENT_KEY")?;
        let authority = content("OTEL_EXPORTER_OTLP_CERTIFICATE")?;
        Ok(Some(Self {
            authority: authority.ok_or("OTEL_EXPORTER_OTLP_CERTIFICATE names no file")?,
            client: certificate.zip(key),
        }))
    }

    fn of_grpc(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        match &self.client {
            Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }

    fn of_http(&self) -> Result<reqwest::blocking::Client, Box<dyn Error>> {
        let authority = reqwest::Certificate::from_pem(&self.authority)?;
        let mut builder = reqwest::blocking::Client::builder().tls_certs_only([authority]);
        if let Some((certificate, key)) = &self.client {
            let both = [certificate.as_slice(), key].concat();
            builder = builder.identity(reqwest::Identity::from_pem(&both)?);
        }
        // The SDK runs its exporters where a blocking client can't be made.
        Ok(std::thread::spawn(move || builder.build())
            .join()
            .expect("no panic")?)
    }
}

fn exporter(
    wire: &str,
    compression: &str,
    grpc: &str,
    http: &str,
) -> Result<opentelemetry_otlp::SpanExporter, Box<dyn Error>> {
    let compression = match compression {
        "gzip" => Some(Compression::Gzip),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    };
    let secure = Secure::of_environment()?;
    let scheme = if secure.is_some() { "https" } else { "http" };
    let builder = opentelemetry_otlp::SpanExporter::builder();
    if wire == "grpc" {
        let endpoint = format!("{scheme}://{grpc}");
        let mut builder = builder.with_tonic().with_endpoint(endpoint);
        if let Some(compression) = compression {
            builder = builder.with_compression(compression);
        }
        if let Some(secure) = secure {
            builder = builder.with_tls_config(secure.of_grpc());
        }
        return Ok(builder.build()?);
    }
    let mut builder = builder
        .with_http()
        .with_protocol(if wire == "http/json" {
            Protocol::HttpJson
        } else {
            Protocol::HttpBinary
        })
        .with_endpoint(format!("{scheme}://{http}/v1/traces"));
    if let Some(compression) = compression {
        builder = builder.with_compression(compression);
    }
    if let Some(secure) = secure {
        builder = builder.with_http_client(secure.of_http()?);
    }
    Ok(builder.build()?)
}

struct Shop {
    variant: String,
    shop: SdkTracer,
    payments: SdkTracer,
    stock: SdkTracer,
}

fn end(mut span: Span, fails: bool, error_type: &'static str) {
    span.set_attribute(KeyValue::new(
        "http.response.status_code",
        if fails { 500 } else { 200 },
    ));
    if fails {
        span.set_attribute(KeyValue::new("error.type", error_type));
        span.set_status(Status::error(""));
    }
    span.end();
}

fn server(tracer: &SdkTracer, name: &'static str, parent: &Context) -> Span {
    tracer
        .span_builder(format!("POST /{name}"))
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("http.route", format!("/{name}")),
        ])
        .start_with_context(tracer, parent)
}

impl Shop {
    /// A client span of the shop's, and the callee's server span below it.
    fn call(&self, parent: &Context, callee: &'static str, fails: bool) {
        let client = self
            .shop
            .span_builder(format!("POST /{callee}"))
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new("server.address", callee),
                KeyValue::new("server.port", 80),
                KeyValue::new("peer.service", format!("{callee}-{}", self.variant)),
            ])
            .start_with_context(&self.shop, parent);
        let below = Context::new().with_remote_span_context(client.span_context().clone());
        let tracer = if callee == "stock" {
            &self.stock
        } else {
            &self.payments
        };
        let answer = server(tracer, callee, &below);
        std::thread::sleep(Duration::from_millis(1));
        end(answer, fails, "CardDeclinedError");
        end(client, fails, "500");
    }

    fn request(&self, fails: bool) {
        let root = server(&self.shop, "checkout", &Context::new());
        let below = Context::new().with_remote_span_context(root.span_context().clone());
        self.call(&below, "stock", false);
        self.call(&below, "payments", fails);
        end(root, fails, "500");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wire, compression, variant, grpc, http] = arguments.as_slice() else {
        return Err(
            "wire form, compression, variant, gRPC address and HTTP address are needed".into(),
        );
    };
    let counts = std::env::var("E2E_REQUESTS").unwrap_or_else(|_| String::from("60 30 0"));
    let counts = counts
        .split(' ')
        .map(str::parse)
        .collect::<Result<Vec<u64>, _>>()?;
    let file = match std::env::var("E2E_ACKNOWLEDGED") {
        Ok(path) => Some(Arc::new(Mutex::new(
            OpenOptions::new().append(true).create(true).open(path)?,
        ))),
        Err(_) => None,
    };
    // Built without one by default, reqwest has none to choose, not even for plain HTTP.
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.map_err(|_| "a provider of cryptography is installed already")?;
    let mut providers: Vec<SdkTracerProvider> = Vec::new();
    let runtime = tokio::runtime::Runtime::new()?;
    for service in ["shop", "payments", "stock"] {
        let inner = {
            // tonic's connections live on a runtime; the HTTP client's own must not be made on one.
            let _entered = (wire == "grpc").then(|| runtime.enter());
            exporter(wire, compression, grpc, http)?
        };
        let batches = BatchConfigBuilder::default()
            .with_scheduled_delay(Duration::from_millis(200))
            .with_max_queue_size(100_000)
            .build();
        let processor = BatchSpanProcessor::builder(Recorder {
            inner,
            file: file.clone(),
        })
        .with_batch_config(batches)
        .build();
        let resource = Resource::builder()
            .with_service_name(format!("{service}-{variant}"))
            .build();
        providers.push(
            SdkTracerProvider::builder()
                .with_span_processor(processor)
                .with_resource(resource)
                .build(),
        );
    }
    let [shop, payments, stock] = [0, 1, 2].map(|index: usize| providers[index].tracer("e2e"));
    let shop = Shop {
        variant: variant.clone(),
        shop,
        payments,
        stock,
    };
    for number in 0..counts[0] + counts[1] {
        shop.request(number >= counts[0]);
        std::thread::sleep(Duration::from_millis(counts[2]));
    }
    for provider in providers {
        provider.shutdown_with_timeout(Duration::from_secs(50))?;
    }
    Ok(())
}
