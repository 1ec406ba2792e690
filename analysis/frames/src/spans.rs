//! Spans as a frame and as Parquet: one row per span, every name under one column.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `trace_id`, `span_id` | string | lower-case hexadecimal |
//! | `parent_id` | string, nullable | null for a root |
//! | `service`, `operation` | string | |
//! | `instance`, `version`, `host`, `code_component`, `error_type` | string, nullable | |
//! | `kind`, `status` | string | as in OpenTelemetry, lower case |
//! | `start_unix_nanos` | unsigned 64-bit | nanoseconds since the epoch, UTC |
//! | `duration_nanos` | unsigned 64-bit | nanoseconds |
//! | `http_status` | unsigned 16-bit, nullable | |

use std::fs::File;
use std::path::Path;

use polars::prelude::*;
use rekindle_model::{Name, Span, SpanKind, Status};

use crate::FrameError;

/// The spans as a frame, in their order.
///
/// # Errors
/// None that a list of spans can cause; polars' own are passed on.
pub fn spans_frame(spans: &[Span]) -> Result<DataFrame, FrameError> {
    let text = |get: &dyn Fn(&Span) -> String| spans.iter().map(get).collect::<Vec<_>>();
    let maybe = |get: &dyn Fn(&Span) -> Option<&Name>| {
        spans
            .iter()
            .map(|span| get(span).map(|name| name.to_string()))
            .collect::<Vec<_>>()
    };
    let parents: Vec<Option<String>> = spans
        .iter()
        .map(|span| span.parent_id.map(|id| id.to_string()))
        .collect();
    let starts: Vec<u64> = spans.iter().map(|span| span.start.0).collect();
    let durations: Vec<u64> = spans
        .iter()
        .map(|span| span.end.0.saturating_sub(span.start.0))
        .collect();
    let http: Vec<Option<u32>> = spans
        .iter()
        .map(|span| span.facts.http_status.map(u32::from))
        .collect();
    let columns = vec![
        Column::new("trace_id".into(), text(&|span| span.trace_id.to_string())),
        Column::new("span_id".into(), text(&|span| span.span_id.to_string())),
        Column::new("parent_id".into(), parents),
        Column::new(
            "service".into(),
            text(&|span| span.resource.service.to_string()),
        ),
        Column::new("operation".into(), text(&|span| span.name.to_string())),
        Column::new(
            "instance".into(),
            maybe(&|span| span.resource.instance.as_ref()),
        ),
        Column::new(
            "version".into(),
            maybe(&|span| span.resource.version.as_ref()),
        ),
        Column::new("host".into(), maybe(&|span| span.resource.host.as_ref())),
        Column::new(
            "code_component".into(),
            maybe(&|span| span.facts.code_component.as_ref()),
        ),
        Column::new(
            "error_type".into(),
            maybe(&|span| span.facts.error_type.as_ref()),
        ),
        Column::new("kind".into(), text(&|span| kind_text(span.kind).to_owned())),
        Column::new(
            "status".into(),
            text(&|span| status_text(span.status).to_owned()),
        ),
        Column::new("start_unix_nanos".into(), starts),
        Column::new("duration_nanos".into(), durations),
        Column::new("http_status".into(), http),
    ];
    DataFrame::new(spans.len(), columns).map_err(|source| FrameError::Shape {
        what: "the frame of spans",
        source,
    })
}

/// Writes the frame to a Parquet file (Snappy), replacing what is there.
///
/// # Errors
/// When the file can't be created or written.
pub fn write_parquet(frame: &mut DataFrame, path: &Path) -> Result<(), FrameError> {
    let failed = |deed| {
        move |source| FrameError::File {
            deed,
            path: path.to_owned(),
            source,
        }
    };
    let file = File::create(path)
        .map_err(PolarsError::from)
        .map_err(failed("creating"))?;
    ParquetWriter::new(file)
        .with_compression(ParquetCompression::Snappy)
        .finish(frame)
        .map(|_bytes| ())
        .map_err(failed("writing"))
}

/// Reads what [`write_parquet`] wrote.
///
/// # Errors
/// When the file can't be read, or is no Parquet.
pub fn read_parquet(path: &Path) -> Result<DataFrame, FrameError> {
    let failed = |source| FrameError::File {
        deed: "reading",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path)
        .map_err(PolarsError::from)
        .map_err(failed)?;
    ParquetReader::new(file).finish().map_err(failed)
}

fn kind_text(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn status_text(status: Status) -> &'static str {
    match status {
        Status::Unset => "unset",
        Status::Ok => "ok",
        Status::Error => "error",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use rekindle_model::{Facts, Resource, Shape, SpanId, TraceId, UnixNanos};

    use super::*;

    /// A span of `service` in the trace of this number.
    pub(crate) fn span(trace: u8, id: u8, service: &str, status: Status) -> Span {
        Span {
            trace_id: TraceId::from_bytes([trace; 16]).expect("not zero"),
            span_id: SpanId::from_bytes([id; 8]).expect("not zero"),
            parent_id: None,
            parent_is_remote: None,
            start: UnixNanos::from_secs(5),
            end: UnixNanos::from_millis(5250),
            shape: Arc::new(Shape {
                kind: SpanKind::Server,
                name: "GET /".into(),
                status,
                resource: Arc::new(Resource {
                    service: service.into(),
                    instance: Some("i-1".into()),
                    ..Resource::default()
                }),
                facts: Facts {
                    http_status: Some(503),
                    ..Facts::default()
                },
                ..Shape::default()
            }),
            links: Box::default(),
        }
    }

    #[test]
    fn spans_survive_a_parquet_file() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("spans.parquet");
        let spans = [
            span(1, 1, "web", Status::Error),
            span(2, 2, "catalog", Status::Unset),
        ];
        let mut frame = spans_frame(&spans).expect("a frame");
        write_parquet(&mut frame, &path).expect("written");
        let read = read_parquet(&path).expect("read");
        assert!(read.equals_missing(&frame), "{read}");
        let durations = read
            .column("duration_nanos")
            .expect("there")
            .u64()
            .expect("u64");
        assert_eq!(durations.get(0), Some(250_000_000));
        assert!(
            read.column("version")
                .expect("there")
                .get(0)
                .expect("a row")
                .is_null()
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_parquet(Path::new("no/such.parquet")).expect_err("not there");
        assert_eq!(error.to_string(), "failed reading no/such.parquet");
    }
}
