import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporterBuilder;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporterBuilder;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * A shop that calls payments and stock, traced by the OpenTelemetry SDK for Java.
 *
 * <p>Sends good requests, then requests that fail in payments. Arguments and environment: see send.py.
 */
public final class Send {
    /** Writes down which spans an exporter said were taken. */
    private record Recorder(SpanExporter inner, Path file) implements SpanExporter {
        @Override
        public CompletableResultCode export(Collection<SpanData> spans) {
            List<SpanData> kept = List.copyOf(spans);
            CompletableResultCode result = inner.export(spans);
            result.whenComplete(() -> {
                if (!result.isSuccess()) {
                    System.err.println(kept.size() + " spans were not taken");
                } else if (file != null) {
                    write(kept);
                }
            });
            return result;
        }

        private synchronized void write(List<SpanData> spans) {
            String lines = spans.stream()
                    .map(span -> span.getTraceId() + " " + span.getSpanId() + "\n")
                    .collect(Collectors.joining());
            try {
                Files.writeString(file, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        @Override
        public CompletableResultCode flush() {
            return inner.flush();
        }

        @Override
        public CompletableResultCode shutdown() {
            return inner.shutdown();
        }
    }

    /** What an exporter needs over TLS; without the SDK's autoconfiguration nobody reads it from the environment. */
    private record Secure(
            byte[] authority, byte[] certificate, byte[] key, Map<String, String> headers, Duration timeout) {
        static boolean isWanted() {
            return System.getenv("E2E_SECURE") != null;
        }

        static Secure ofEnvironment() throws IOException {
            Map<String, String> headers = new LinkedHashMap<>();
            String told = System.getenv("OTEL_EXPORTER_OTLP_HEADERS");
            if (told != null) {
                String[] header = told.split("=", 2);
                headers.put(header[0], URLDecoder.decode(header[1], StandardCharsets.UTF_8));
            }
            return new Secure(
                    content("OTEL_EXPORTER_OTLP_CERTIFICATE"),
                    content("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
                    content("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
                    headers,
                    Duration.ofMillis(Long.parseLong(System.getenv("OTEL_EXPORTER_OTLP_TIMEOUT"))));
        }

        /** Tells a builder of either exporter, by its setters: they have no type in common. */
        static void apply(
                Consumer<byte[]> authority,
                Consumer<Duration> timeout,
                BiConsumer<String, String> header,
                BiConsumer<byte[], byte[]> client)
                throws IOException {
            if (!isWanted()) {
                return;
            }
            Secure secure = ofEnvironment();
            authority.accept(secure.authority());
            timeout.accept(secure.timeout());
            secure.headers().forEach(header);
            if (secure.key() != null) {
                client.accept(secure.key(), secure.certificate());
            }
        }

        private static byte[] content(String variable) throws IOException {
            String file = System.getenv(variable);
            return file == null ? null : Files.readAllBytes(Path.of(file));
        }
    }

    private final String variant;
    private final Map<String, Tracer> tracers = new LinkedHashMap<>();

    private Send(String variant) {
        this.variant = variant;
    }

    private static SpanExporter exporter(String wire, String compression, String grpc, String http) throws IOException {
        String scheme = Secure.isWanted() ? "https" : "http";
        if (wire.equals("grpc")) {
            OtlpGrpcSpanExporterBuilder builder = OtlpGrpcSpanExporter.builder()
                    .setEndpoint(scheme + "://" + grpc)
                    .setCompression(compression);
            Secure.apply(
                    builder::setTrustedCertificates,
                    builder::setTimeout,
                    builder::addHeader,
                    builder::setClientTls);
            return builder.build();
        }
        OtlpHttpSpanExporterBuilder builder = OtlpHttpSpanExporter.builder()
                .setEndpoint(scheme + "://" + http + "/v1/traces")
                .setCompression(compression);
        Secure.apply(
                builder::setTrustedCertificates,
                builder::setTimeout,
                builder::addHeader,
                builder::setClientTls);
        return builder.build();
    }

    private static void end(Span span, boolean fails, String errorType) {
        span.setAttribute("http.response.status_code", fails ? 500L : 200L);
        if (fails) {
            span.setAttribute("error.type", errorType);
            span.setStatus(StatusCode.ERROR);
        }
        span.end();
    }

    /** A client span of the shop's, and the callee's server span below it. */
    private void call(Context context, String callee, boolean fails) throws InterruptedException {
        Span client = tracers.get("shop").spanBuilder("POST /" + callee)
                .setParent(context)
                .setSpanKind(SpanKind.CLIENT)
                .setAttribute("server.address", callee)
                .setAttribute("server.port", 80L)
                .setAttribute("peer.service", callee + "-" + variant)
                .startSpan();
        Span server = tracers.get(callee).spanBuilder("POST /" + callee)
                .setParent(context.with(client))
                .setSpanKind(SpanKind.SERVER)
                .setAttribute("http.request.method", "POST")
                .setAttribute("http.route", "/" + callee)
                .startSpan();
        Thread.sleep(1);
        end(server, fails, "CardDeclinedError");
        end(client, fails, "500");
    }

    private void request(boolean fails) throws InterruptedException {
        Span root = tracers.get("shop").spanBuilder("POST /checkout")
                .setNoParent()
                .setSpanKind(SpanKind.SERVER)
                .setAttribute("http.request.method", "POST")
                .setAttribute("http.route", "/checkout")
                .startSpan();
        Context context = Context.root().with(root);
        call(context, "stock", false);
        call(context, "payments", fails);
        end(root, fails, "500");
    }

    public static void main(String[] arguments) throws InterruptedException, IOException {
        String wire = arguments[0];
        String compression = arguments[1];
        String variant = arguments[2];
        int[] counts = Arrays.stream(System.getenv().getOrDefault("E2E_REQUESTS", "60 30 0").split(" "))
                .mapToInt(Integer::parseInt)
                .toArray();
        String record = System.getenv("E2E_ACKNOWLEDGED");
        Send shop = new Send(variant);
        List<SdkTracerProvider> providers = new ArrayList<>();
        for (String service : List.of("shop", "payments", "stock")) {
            SpanExporter exporter = new Recorder(
                    exporter(wire, compression, arguments[3], arguments[4]), record == null ? null : Path.of(record));
            SdkTracerProvider provider = SdkTracerProvider.builder()
                    .setResource(Resource.create(
                            Attributes.of(AttributeKey.stringKey("service.name"), service + "-" + variant)))
                    .addSpanProcessor(BatchSpanProcessor.builder(exporter)
                            .setScheduleDelay(Duration.ofMillis(200))
                            .setMaxQueueSize(100_000)
                            .build())
                    .build();
            shop.tracers.put(service, provider.get("e2e"));
            providers.add(provider);
        }
        for (int number = 0; number < counts[0] + counts[1]; number++) {
            shop.request(number >= counts[0]);
            Thread.sleep(counts[2]);
        }
        CompletableResultCode.ofAll(providers.stream().map(SdkTracerProvider::shutdown).toList())
                .join(50, TimeUnit.SECONDS);
        // The exporter's own threads need not be waited for.
        System.exit(0);
    }
}
