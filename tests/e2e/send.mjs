// A shop that calls payments and stock, traced by the OpenTelemetry SDK for Node.
//
// Sends good requests, then requests that fail in payments. Arguments: the folder with the SDK; then,
// like the environment, as for send.py.
import { appendFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [folder, wire, compression, variant, grpcAddress, httpAddress] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } = require('@opentelemetry/api');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');

const [GOOD, FAILING, PAUSE_MS] = (process.env.E2E_REQUESTS ?? '60 30 0').split(' ').map(Number);

const packages = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' };
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${packages[wire]}`);

/** Writes down which spans an exporter said were taken. */
class Recorder {
  constructor(inner) {
    this.inner = inner;
  }

  export(spans, done) {
    this.inner.export(spans, (result) => {
      if (result.code !== 0) {
        console.error(`${spans.length} spans were not taken: ${result.error}`);
      } else if (process.env.E2E_ACKNOWLEDGED) {
        const contexts = spans.map((span) => span.spanContext());
        const lines = contexts.map((context) => `${context.traceId} ${context.spanId}\n`);
        appendFileSync(process.env.E2E_ACKNOWLEDGED, lines.join(''));
      }
      done(result);
    });
  }

  shutdown() {
    return this.inner.shutdown();
  }

  forceFlush() {
    return this.inner.forceFlush();
  }
}

function provider(service) {
  // What else TLS takes (certificates, tokens) the exporters read from the environment.
  const scheme = 'E2E_SECURE' in process.env ? 'https' : 'http';
  const url = wire === 'grpc' ? `${scheme}://${grpcAddress}` : `${scheme}://${httpAddress}/v1/traces`;
  const exporter = new Recorder(new OTLPTraceExporter({ url, compression }));
  return new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': `${service}-${variant}` }),
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 200, maxQueueSize: 100_000 })],
  });
}

const providers = Object.fromEntries(['shop', 'payments', 'stock'].map((name) => [name, provider(name)]));
const tracers = Object.fromEntries(Object.entries(providers).map(([name, made]) => [name, made.getTracer('e2e')]));
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function end(span, fails, errorType) {
  span.setAttribute('http.response.status_code', fails ? 500 : 200);
  if (fails) {
    span.setAttribute('error.type', errorType);
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}

async function call(context, callee, fails) {
  const client = tracers.shop.startSpan(`POST /${callee}`, {
    kind: SpanKind.CLIENT,
    attributes: { 'server.address': callee, 'server.port': 80, 'peer.service': `${callee}-${variant}` },
  }, context);
  const server = tracers[callee].startSpan(`POST /${callee}`, {
    kind: SpanKind.SERVER,
    attributes: { 'http.request.method': 'POST', 'http.route': `/${callee}` },
  }, trace.setSpan(context, client));
  await pause(1);
  end(server, fails, 'CardDeclinedError');
  end(client, fails, '500');
}

for (let number = 0; number < GOOD + FAILING; number += 1) {
  const fails = number >= GOOD;
  const root = tracers.shop.startSpan('POST /checkout', {
    kind: SpanKind.SERVER,
    attributes: { 'http.request.method': 'POST', 'http.route': '/checkout' },
  }, ROOT_CONTEXT);
  const context = trace.setSpan(ROOT_CONTEXT, root);
  await call(context, 'stock', false);
  await call(context, 'payments', fails);
  end(root, fails, '500');
  await pause(PAUSE_MS);
}
await Promise.all(Object.values(providers).map((made) => made.shutdown()));
