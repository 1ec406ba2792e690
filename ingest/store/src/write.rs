//! How do spans become a Parquet file?
//!
//! Column by column, a row group at a time, through the low level of the `parquet` crate: there is no nesting, so its
//! arrays and their thirty crates would add nothing. Spans come in the store's order; who has more than fit in memory
//! pushes them one after another.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use crate::schema::{COLUMNS, Kind, PROPERTIES, ROWS_PER_GROUP, SCHEMA, at};
use crate::{StoredSpan, Text};

/// Writes a file. What isn't finished has no footer, and is no file.
pub(crate) struct SpanWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    group: Vec<StoredSpan>,
}

impl<W: Write + Send> SpanWriter<W> {
    pub(crate) fn new(out: W) -> Result<Self> {
        let file = SerializedFileWriter::new(out, Arc::clone(&SCHEMA), Arc::clone(&PROPERTIES))?;
        Ok(Self {
            file,
            group: Vec::new(),
        })
    }

    /// Adds a span, which must not come before the last one in the store's order.
    pub(crate) fn push(&mut self, span: StoredSpan) -> Result<()> {
        self.group.push(span);
        if self.group.len() >= ROWS_PER_GROUP {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds to the file's metadata.
    pub(crate) fn note(&mut self, note: KeyValue) {
        self.file.append_key_value_metadata(note);
    }

    fn flush(&mut self) -> Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        write_group(self.file.next_row_group()?, &group)?;
        Ok(())
    }

    /// Writes the footer, and gives back what was written to.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.file.into_inner()
    }
}

/// A whole file of these spans, which are in the store's order.
pub(crate) fn file_of(spans: Vec<StoredSpan>) -> Result<Vec<u8>> {
    let mut writer = SpanWriter::new(Vec::new())?;
    for span in spans {
        writer.push(span)?;
    }
    writer.finish()
}

fn write_group<W: Write + Send>(
    mut group: SerializedRowGroupWriter<'_, W>,
    spans: &[StoredSpan],
) -> Result<()> {
    for (index, column) in COLUMNS.iter().enumerate() {
        let Some(mut writer) = group.next_column()? else {
            break;
        };
        match column.kind {
            Kind::Names | Kind::Text => {
                let mut values = Vec::with_capacity(spans.len());
                let mut last_trace = None;
                for span in spans {
                    values.push(match index {
                        // Spans of a trace are neighbours: they share one text.
                        at::TRACE_ID => match &last_trace {
                            Some((id, text)) if *id == span.trace_id => ByteArray::clone(text),
                            _ => {
                                let text = owned(span.trace_id.to_string());
                                last_trace = Some((span.trace_id, text.clone()));
                                text
                            }
                        },
                        _ => text(index, span),
                    });
                }
                let typed = writer.typed::<ByteArrayType>();
                if column.optional {
                    let levels: Vec<i16> =
                        values.iter().map(|it| i16::from(!it.is_empty())).collect();
                    values.retain(|it| !it.is_empty());
                    typed.write_batch(&values, Some(&levels), None)?;
                } else {
                    typed.write_batch(&values, None, None)?;
                }
            }
            Kind::Small => {
                let values: Vec<i32> = spans.iter().map(|it| small(index, it)).collect();
                writer
                    .typed::<Int32Type>()
                    .write_batch(&values, None, None)?;
            }
            Kind::Long | Kind::Time => {
                let values: Vec<i64> = spans.iter().map(|it| long(index, it)).collect();
                writer
                    .typed::<Int64Type>()
                    .write_batch(&values, None, None)?;
            }
        }
        writer.close()?;
    }
    group.close().map(drop)
}

fn owned(text: String) -> ByteArray {
    ByteArray::from(Bytes::from(text))
}

fn text(index: usize, span: &StoredSpan) -> ByteArray {
    let shared = |text: &Text| ByteArray::from(text.bytes().clone());
    let (resource, scope) = (&span.resource, &span.scope);
    match index {
        at::SPAN_ID => owned(span.span_id.to_string()),
        at::PARENT_ID => match span.parent_id {
            Some(id) => owned(id.to_string()),
            None => ByteArray::from(Bytes::new()),
        },
        at::NAME => shared(&span.name),
        at::KIND => word(&KINDS, span.kind),
        at::SERVICE => shared(&resource.service),
        at::STATUS => word(&STATUSES, span.status),
        at::STATUS_MESSAGE => shared(&span.status_message),
        at::ATTRIBUTES => shared(&span.attributes),
        at::EVENTS => shared(&span.events),
        at::LINKS => shared(&span.links),
        at::RESOURCE => shared(&resource.attributes),
        at::SCOPE_NAME => shared(&scope.name),
        at::SCOPE_VERSION => shared(&scope.version),
        // No attributes are no attributes, however they were written.
        at::SCOPE_ATTRIBUTES if scope.attributes.as_str() == "{}" => ByteArray::from(Bytes::new()),
        at::SCOPE_ATTRIBUTES => shared(&scope.attributes),
        at::TRACE_STATE => shared(&span.trace_state),
        at::RESOURCE_SCHEMA_URL => shared(&resource.schema_url),
        at::SCOPE_SCHEMA_URL => shared(&scope.schema_url),
        _ => ByteArray::from(Bytes::new()),
    }
}

/// The words of OTLP's kinds, by their numbers.
pub(crate) const KINDS: [&str; 6] = [
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
];

/// The words of OTLP's statuses, by their numbers.
pub(crate) const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// A number that has no word yet is written as a number.
fn word(words: &[&'static str], number: i32) -> ByteArray {
    let known = usize::try_from(number).ok().and_then(|it| words.get(it));
    match known {
        Some(word) => ByteArray::from(Bytes::from_static(word.as_bytes())),
        None => owned(number.to_string()),
    }
}

/// The number behind a word.
pub(crate) fn number_of(words: &[&str], word: &str) -> i32 {
    let known = words.iter().position(|it| *it == word);
    known
        .and_then(|it| i32::try_from(it).ok())
        .or_else(|| word.parse().ok())
        .unwrap_or_default()
}

fn small(index: usize, span: &StoredSpan) -> i32 {
    let number = match index {
        at::FLAGS => span.flags,
        at::DROPPED_ATTRIBUTES => span.dropped_attributes,
        at::DROPPED_EVENTS => span.dropped_events,
        at::DROPPED_LINKS => span.dropped_links,
        at::RESOURCE_DROPPED => span.resource.dropped_attributes,
        at::SCOPE_DROPPED => span.scope.dropped_attributes,
        _ => 0,
    };
    number.cast_signed()
}

fn long(index: usize, span: &StoredSpan) -> i64 {
    let number = match index {
        at::START_TIME => span.start.0 / 1000,
        at::START => span.start.0,
        at::END => span.end.0,
        at::RECEIVED => span.received_at.0,
        at::POSITION => span.position,
        _ => 0,
    };
    number.cast_signed()
}
