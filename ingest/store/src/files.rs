//! In which form are the traces of a file, and what is in it?
//!
//! Told by the content, not by the name: Parquet says so in its first bytes, JSON begins with a brace, and its first
//! key says whether it is Jaeger's; all else is taken for OTLP in protobuf, one request. Each may be gzipped. A file of
//! JSON lines may be longer than memory, and is read line by line; a document, and protobuf, are read whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::jaeger::spans_of_jaeger;
use crate::otlp::{Received, spans_of_protobuf};
use crate::otlp_json::spans_of_json;
use crate::{ReadCounts, StoreError, StoredSpan, read_file};

/// What a file came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Spans handed out.
    pub spans: u64,
    /// Lines or requests that couldn't be read.
    pub unreadable: u64,
    /// What else was mended and left out.
    pub counts: ReadCounts,
}

/// A line longer than this is no request that any receiver takes.
const MAX_LINE_BYTES: u64 = 1 << 30;

/// Hands out all spans of a file, whatever form they are in, some at a time. What can't be read is counted.
///
/// # Errors
/// When the file can't be read, or what `each` answers.
pub fn read_any<E: From<StoreError>>(
    path: &Path,
    mut each: impl FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
) -> Result<Imported, E> {
    let name = path.display().to_string();
    let failed = |source: io::Error| StoreError::io("reading", &name, source);
    let mut imported = Imported::default();
    let mut counted = |spans: &mut Vec<StoredSpan>| {
        imported.spans += spans.len() as u64;
        match spans.is_empty() {
            true => Ok(()),
            false => each(spans),
        }
    };
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let head = file.fill_buf().map_err(failed)?;
    if head.starts_with(b"PAR1") {
        let counts = read_file(path, &mut counted)?;
        imported.counts.add(counts);
        return Ok(imported);
    }
    let mut input: Box<dyn BufRead> = match head.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(BufReader::with_capacity(1 << 20, MultiGzDecoder::new(file))),
        false => Box::new(file),
    };
    let mut counts = ReadCounts::default();
    let mut unreadable = 0;
    let is_json = input.fill_buf().map_err(failed)?.trim_ascii_start().first() == Some(&b'{');
    let mut whole = Vec::new();
    if is_json {
        let mut line = Vec::new();
        let mut lines = 0u64;
        loop {
            line.clear();
            let mut limited = (&mut input).take(MAX_LINE_BYTES);
            if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            lines += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            // A document that is laid out over many lines has none that is JSON by itself.
            if lines == 1 && serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err() {
                whole.append(&mut line);
                input.read_to_end(&mut whole).map_err(failed)?;
                break;
            }
            match document(&line, &mut counts) {
                Some(mut spans) => counted(&mut spans)?,
                None => unreadable += 1,
            }
        }
    } else {
        input.read_to_end(&mut whole).map_err(failed)?;
    }
    if !whole.is_empty() {
        let read = match is_json {
            true => document(&whole, &mut counts),
            false => spans_of_protobuf(whole.into(), Received::IMPORTED, &mut counts).ok(),
        };
        match read {
            Some(mut spans) => counted(&mut spans)?,
            None => unreadable += 1,
        }
    }
    imported.counts.add(counts);
    imported.unreadable = unreadable;
    Ok(imported)
}

/// The spans of a JSON document, Jaeger's or OTLP.
fn document(bytes: &[u8], counts: &mut ReadCounts) -> Option<Vec<StoredSpan>> {
    spans_of_jaeger(bytes, Received::IMPORTED, counts)
        .or_else(|| spans_of_json(bytes, Received::IMPORTED, counts).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jaeger_of, json_of, parquet_of, protobuf_of};
    use std::io::Write;

    fn read(path: &Path) -> (Vec<StoredSpan>, Imported) {
        let mut found = Vec::new();
        let read = read_any::<StoreError>(path, |spans| {
            found.append(spans);
            Ok(())
        });
        found.sort_by_key(|span| (span.trace_id, span.span_id));
        (found, read.expect("it can be read"))
    }

    #[test]
    fn forms_are_told_by_content() {
        let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000},{"traceId":"","spanId":"x"}]}]}]}"#;
        let mut counts = ReadCounts::default();
        let spans = spans_of_json(json.as_bytes(), Received::IMPORTED, &mut counts);
        let spans = spans.expect("it is one");
        assert_eq!((spans.len(), counts.rejected), (1, 1));
        assert_eq!(spans[0].received_at, spans[0].end);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(json_of(&spans).as_bytes()).expect("memory");
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content, copies, unreadable) in [
            ("one.json", json_of(&spans).into_bytes(), 1, 0),
            (
                "laid-out",
                json_of(&spans).replace(',', ",\n").into_bytes(),
                1,
                0,
            ),
            (
                "lines",
                format!("{0}\n\n{0}\n{{\"cut", json_of(&spans)).into_bytes(),
                2,
                1,
            ),
            ("packed", gzip.finish().expect("memory"), 1, 0),
            ("protobuf", protobuf_of(&spans), 1, 0),
            ("jaeger", jaeger_of(&spans).into_bytes(), 1, 0),
            ("parquet", parquet_of(spans.clone()).expect("Parquet"), 1, 0),
            ("noise", vec![0xff; 20], 0, 1),
            ("empty", Vec::new(), 0, 0),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            let (found, imported) = read(&path);
            assert_eq!(found, vec![spans[0].clone(); copies], "{name}");
            assert_eq!(
                (imported.spans, imported.unreadable),
                (copies as u64, unreadable),
                "{name}"
            );
        }
    }
}
