// A shop that calls payments and stock, traced by the OpenTelemetry SDK for Go.
//
// Sends good requests, then requests that fail in payments. Arguments and environment: see send.py.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// recorder writes down which spans an exporter said were taken.
type recorder struct {
	sdk.SpanExporter
	file *os.File
}

func (r recorder) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%d spans were not taken: %v\n", len(spans), err)
		return err
	}
	if r.file != nil {
		for _, span := range spans {
			c := span.SpanContext()
			fmt.Fprintf(r.file, "%s %s\n", c.TraceID(), c.SpanID())
		}
	}
	return nil
}

func exporter(wire, compression, grpcAddress, httpAddress string) (sdk.SpanExporter, error) {
	ctx := context.Background()
	_, secure := os.LookupEnv("E2E_SECURE")
	if wire == "grpc" {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(grpcAddress)}
		if !secure {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		if compression == "gzip" {
			options = append(options, otlptracegrpc.WithCompressor("gzip"))
		}
		return otlptrace.New(ctx, otlptracegrpc.NewClient(options...))
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpoint(httpAddress)}
	if !secure {
		options = append(options, otlptracehttp.WithInsecure())
	}
	if compression == "gzip" {
		options = append(options, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	return otlptrace.New(ctx, otlptracehttp.NewClient(options...))
}

type shop struct {
	variant string
	tracers map[string]trace.Tracer
}

// call makes a client span of the shop's, and the callee's server span below it.
func (s shop) call(ctx context.Context, callee string, fails bool) {
	ctx, client := s.tracers["shop"].Start(ctx, "POST /"+callee, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("server.address", callee), attribute.Int("server.port", 80),
			attribute.String("peer.service", callee+"-"+s.variant)))
	_, server := s.tracers[callee].Start(ctx, "POST /"+callee, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", "POST"), attribute.String("http.route", "/"+callee)))
	time.Sleep(time.Millisecond)
	end(server, fails, "CardDeclinedError")
	end(client, fails, "500")
}

func end(span trace.Span, fails bool, errorType string) {
	status := 200
	if fails {
		status = 500
		span.SetAttributes(attribute.String("error.type", errorType))
		span.SetStatus(codes.Error, "")
	}
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	span.End()
}

func (s shop) request(fails bool) {
	ctx, root := s.tracers["shop"].Start(context.Background(), "POST /checkout", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", "POST"), attribute.String("http.route", "/checkout")))
	s.call(ctx, "stock", false)
	s.call(ctx, "payments", fails)
	end(root, fails, "500")
}

func run() error {
	if len(os.Args) != 6 {
		return errors.New("wire form, compression, variant, gRPC address and HTTP address are needed")
	}
	wire, compression, variant := os.Args[1], os.Args[2], os.Args[3]
	good, failing, pause := 60, 30, 0
	if text := os.Getenv("E2E_REQUESTS"); text != "" {
		if _, err := fmt.Sscan(text, &good, &failing, &pause); err != nil {
			return fmt.Errorf("E2E_REQUESTS %q: %w", text, err)
		}
	}
	var record *os.File
	if path := os.Getenv("E2E_ACKNOWLEDGED"); path != "" {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		record = file
	}
	s := shop{variant: variant, tracers: map[string]trace.Tracer{}}
	var providers []*sdk.TracerProvider
	for _, service := range []string{"shop", "payments", "stock"} {
		made, err := exporter(wire, compression, os.Args[4], os.Args[5])
		if err != nil {
			return err
		}
		provider := sdk.NewTracerProvider(
			sdk.WithBatcher(recorder{made, record}, sdk.WithBatchTimeout(200*time.Millisecond), sdk.WithMaxQueueSize(100_000)),
			sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", service+"-"+variant))))
		providers = append(providers, provider)
		s.tracers[service] = provider.Tracer("e2e")
	}
	for number := range good + failing {
		s.request(number >= good)
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	for _, provider := range providers {
		if err := provider.Shutdown(ctx); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
