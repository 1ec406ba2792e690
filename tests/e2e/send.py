"""A shop that calls payments and stock, traced by the OpenTelemetry SDK for Python.

Sends good requests, then requests that fail in payments. Arguments: wire form, compression, name of
the variant, gRPC address, HTTP address. Environment: E2E_REQUESTS, how many good and failing requests
and how many milliseconds between them ("60 30 0" if absent); E2E_ACKNOWLEDGED, a file to which a line
"trace-id span-id" is added for each span that the exporter said was taken; E2E_SECURE, whether TLS is spoken
(certificates and tokens come from OpenTelemetry's own OTEL_EXPORTER_OTLP_…).
"""

import os
import sys
import threading
import time

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
import grpc

GOOD, FAILING, PAUSE_MS = (int(text) for text in os.environ.get("E2E_REQUESTS", "60 30 0").split())

SECURE = "E2E_SECURE" in os.environ
SCHEME = "https" if SECURE else "http"

wire, compression, variant, grpc_address, http_address = sys.argv[1:]


class Recorder(SpanExporter):
    """Writes down which spans an exporter said were taken."""

    lock = threading.Lock()

    def __init__(self, inner):
        self.inner = inner

    def export(self, spans):
        result = self.inner.export(spans)
        path = os.environ.get("E2E_ACKNOWLEDGED")
        if result is not SpanExportResult.SUCCESS:
            print(f"{len(spans)} spans were not taken", file=sys.stderr)
        elif path:
            with self.lock, open(path, "a") as file:
                for span in spans:
                    file.write(f"{span.context.trace_id:032x} {span.context.span_id:016x}\n")
        return result

    def shutdown(self):
        self.inner.shutdown()

    def force_flush(self, timeout_millis=30000):
        return self.inner.force_flush(timeout_millis)


def exporter():
    if wire == "grpc":
        kind = grpc.Compression.Gzip if compression == "gzip" else None
        return GrpcExporter(endpoint=f"{SCHEME}://{grpc_address}", insecure=not SECURE, compression=kind)
    kind = HttpCompression.Gzip if compression == "gzip" else HttpCompression.NoCompression
    return HttpExporter(endpoint=f"{SCHEME}://{http_address}/v1/traces", compression=kind)


def provider(service):
    made = TracerProvider(resource=Resource.create({"service.name": f"{service}-{variant}"}))
    made.add_span_processor(BatchSpanProcessor(Recorder(exporter()), schedule_delay_millis=200, max_queue_size=100_000))
    return made


providers = {service: provider(service) for service in ("shop", "payments", "stock")}
tracers = {service: made.get_tracer("e2e") for service, made in providers.items()}


def call(context, callee, fails):
    """A client span of the shop's, and the callee's server span below it."""
    client = tracers["shop"].start_span(
        f"POST /{callee}", context=context, kind=SpanKind.CLIENT,
        attributes={"server.address": callee, "server.port": 80, "peer.service": f"{callee}-{variant}"},
    )
    server = tracers[callee].start_span(
        f"POST /{callee}", context=set_span_in_context(client), kind=SpanKind.SERVER,
        attributes={"http.request.method": "POST", "http.route": f"/{callee}"},
    )
    time.sleep(0.001)
    for span in (server, client):
        span.set_attribute("http.response.status_code", 500 if fails else 200)
        if fails:
            span.set_attribute("error.type", "CardDeclinedError" if span is server else "500")
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def request(fails):
    root = tracers["shop"].start_span(
        "POST /checkout", kind=SpanKind.SERVER,
        attributes={"http.request.method": "POST", "http.route": "/checkout"},
    )
    context = set_span_in_context(root)
    call(context, "stock", False)
    call(context, "payments", fails)
    root.set_attribute("http.response.status_code", 500 if fails else 200)
    if fails:
        root.set_attribute("error.type", "500")
        root.set_status(Status(StatusCode.ERROR))
    root.end()


for number in range(GOOD + FAILING):
    request(fails=number >= GOOD)
    time.sleep(PAUSE_MS / 1000)
for made in providers.values():
    made.shutdown()
