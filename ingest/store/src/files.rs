//! In which form are the traces of a file, and what is in it?
//!
//! Told by the content, not by the name: Parquet says so in its first bytes, and JSON lines are found by the first line
//! that is a request or a document of Jaeger's by itself, or an object of another kind (a Collector's log may begin
//! with gigabytes of metrics) that can't be a part of what came before. So a file whose first lines are damaged (a log
//! that was cut in front, say) loses those and no others. Where no line is one, all of it is: a document laid out over
//! many lines, or OTLP in protobuf, one request. Each may be gzipped. A file of JSON lines may be longer than memory,
//! and is read line by line; all else is read whole, as far as that can be a document.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
    /// The first of those lines, counted from 1; `None` where it is no line, but the whole file.
    pub first_unreadable_line: Option<u64>,
    /// What else was mended and left out.
    pub counts: ReadCounts,
}

/// A document longer than this, on one line or on many, is no request that any receiver takes. What begins like one and
/// is longer is read as lines.
const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

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
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let head = file.fill_buf().map_err(failed)?;
    if head.starts_with(b"PAR1") {
        let mut spans = 0;
        let counts = read_file(path, |found: &mut Vec<StoredSpan>| {
            spans += found.len() as u64;
            each(found)
        })?;
        return Ok(Imported {
            spans,
            counts,
            ..Imported::default()
        });
    }
    match head.starts_with(&[0x1f, 0x8b]) {
        true => {
            let unpacked = BufReader::with_capacity(1 << 20, MultiGzDecoder::new(file));
            read_stream(unpacked, &name, each)
        }
        false => read_stream(file, &name, each),
    }
}

/// Hands out all spans of what is no Parquet: JSON lines, a document, or protobuf. `name` is for errors.
///
/// # Errors
/// When it can't be read, or what `each` answers.
pub fn read_stream<E: From<StoreError>>(
    input: impl BufRead,
    name: &str,
    each: impl FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
) -> Result<Imported, E> {
    read_bounded(input, name, MAX_DOCUMENT_BYTES, each)
}

/// As `read_stream`, of documents of so many bytes at most.
fn read_bounded<E: From<StoreError>>(
    mut input: impl BufRead,
    name: &str,
    max_bytes: u64,
    mut each: impl FnMut(&mut Vec<StoredSpan>) -> Result<(), E>,
) -> Result<Imported, E> {
    let failed = |source: io::Error| StoreError::io("reading", name, source);
    let mut imported = Imported::default();
    let mut take = |read: Option<Vec<StoredSpan>>, imported: &mut Imported| match read {
        Some(mut spans) => {
            imported.spans += spans.len() as u64;
            match spans.is_empty() {
                true => Ok(()),
                false => each(&mut spans),
            }
        }
        None => {
            imported.unreadable += 1;
            Ok(())
        }
    };
    // What came before the first line that is something by itself: all of it, if none is.
    let mut whole = Vec::new();
    let mut are_lines = false;
    let mut is_laid_out = false;
    let mut line = Vec::new();
    let mut number = 0;
    if is_protobuf(input.fill_buf().map_err(failed)?) {
        let mut limited = (&mut input).take(max_bytes);
        limited.read_to_end(&mut whole).map_err(failed)?;
    }
    loop {
        line.clear();
        let mut limited = (&mut input).take(max_bytes);
        if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        number += 1;
        if !are_lines {
            let may_be_part = match content_of(&line) {
                Content::Document => false,
                Content::Part => true,
                Content::Object => {
                    // Asked once: to ask at each object of a long document would read it as often.
                    is_laid_out = is_laid_out || is_begun(&whole, &line);
                    is_laid_out
                }
            };
            if may_be_part && (whole.len() + line.len()) as u64 <= max_bytes {
                whole.append(&mut line);
                continue;
            }
            are_lines = true;
            let damaged = (1..).zip(whole.split(|it| *it == b'\n'));
            for (number, _) in damaged.filter(|(_, it)| !it.trim_ascii().is_empty()) {
                imported.unreadable += 1;
                imported.first_unreadable_line.get_or_insert(number);
            }
            whole = Vec::new();
        }
        if !line.trim_ascii().is_empty() {
            let read = document(&line, &mut imported.counts);
            if read.is_none() {
                imported.first_unreadable_line.get_or_insert(number);
            }
            take(read, &mut imported)?;
        }
    }
    if !whole.trim_ascii().is_empty() {
        let read = document(&whole, &mut imported.counts).or_else(|| {
            spans_of_protobuf(whole.into(), Received::IMPORTED, &mut imported.counts).ok()
        });
        take(read, &mut imported)?;
    }
    Ok(imported)
}

/// Whether these first bytes are of a request in protobuf: the tag of its first field is a line's end, which no length
/// but that of a small request makes text.
fn is_protobuf(head: &[u8]) -> bool {
    match head {
        [b'\n', length, ..] => *length != b'{' && !length.is_ascii_whitespace(),
        _ => false,
    }
}

/// What a line is by itself.
enum Content {
    /// A request, or a document of Jaeger's.
    Document,
    /// An object that says nothing of spans.
    Object,
    /// None that is whole: damaged, or a part of a document that is laid out.
    Part,
}

fn content_of(line: &[u8]) -> Content {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        resource_spans: Option<IgnoredAny>,
        data: Option<IgnoredAny>,
    }
    let line = line.trim_ascii();
    if !line.starts_with(b"{") || !line.ends_with(b"}") {
        return Content::Part;
    }
    match serde_json::from_slice::<Document>(line) {
        Ok(it) if it.resource_spans.is_some() || it.data.is_some() => Content::Document,
        Ok(_) => Content::Object,
        Err(_) => Content::Part,
    }
}

/// Whether these lines are the beginning of a document that this line is a part of.
fn is_begun(before: &[u8], line: &[u8]) -> bool {
    if before.trim_ascii().is_empty() {
        return false;
    }
    let together = before.chain(line);
    match serde_json::from_reader::<_, IgnoredAny>(together) {
        Ok(IgnoredAny) => true,
        Err(error) => error.is_eof(),
    }
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

    fn read_of(content: &str, max_bytes: u64) -> Imported {
        let each = |_: &mut Vec<StoredSpan>| Ok::<(), StoreError>(());
        read_bounded(content.as_bytes(), "memory", max_bytes, each).expect("it can be read")
    }

    /// They are requests without spans; what isn't read line by line counts as one that is damaged.
    #[test]
    fn lines_of_other_kinds_are_not_kept() {
        let metrics = "{\"resourceMetrics\":[]}\n".repeat(4);
        for (before, unreadable, first) in [
            ("", 0, None),
            ("\n\n", 0, None),
            ("one damaged\netrics\":[]}\n", 2, Some(1)),
            ("\n{\"resourceMetrics\":[\"torn\n\u{0}\n", 2, Some(2)),
            // An array whose end didn't come: all of it is one document.
            ("[\n", 1, None),
        ] {
            let imported = read_of(&format!("{before}{metrics}"), 1 << 20);
            assert_eq!(imported.unreadable, unreadable, "{before:?}");
            assert_eq!(imported.first_unreadable_line, first, "{before:?}");
        }
        let imported = read_of(&format!("{metrics}torn\n{metrics}torn\n"), 1 << 20);
        let told = (imported.unreadable, imported.first_unreadable_line);
        assert_eq!(told, (2, Some(5)));
    }

    #[test]
    fn no_document_is_longer_than_its_bound() {
        for (content, unreadable) in [
            ("one\n2\n3\n", 1),
            ("one\n2\n3\n45\n", 4),
            ("\n\u{1}otherwis", 1),
            ("\n\u{1}otherwise", 2),
        ] {
            assert_eq!(read_of(content, 10).unreadable, unreadable, "{content:?}");
        }
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
        // A length of 123 bytes is a brace.
        let like_text = (0..100)
            .map(|length| {
                let mut span = spans[0].clone();
                span.name = "x".repeat(length).into();
                protobuf_of(&[span])
            })
            .find(|it| it.starts_with(b"\n{"))
            .expect("one of these lengths");
        let mut counts = ReadCounts::default();
        let named = spans_of_protobuf(like_text.clone().into(), Received::IMPORTED, &mut counts);
        let named = named.expect("a request").remove(0);
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
            (
                "lines after a cut one",
                format!("{0}\n{1}\n{1}\n", &json_of(&spans)[40..], json_of(&spans)).into_bytes(),
                2,
                1,
            ),
            (
                "lines after damage",
                [
                    b"\0\0{\"resourceSpans\":[\n{}\n",
                    json_of(&spans).as_bytes(),
                ]
                .concat(),
                1,
                1,
            ),
            (
                "Jaeger laid out",
                jaeger_of(&spans)
                    .replace("\"data\":[", "\"data\":[\n")
                    .replace("]}]}", "]}\n]}")
                    .into_bytes(),
                1,
                0,
            ),
            ("protobuf that begins like text", like_text.clone(), 1, 0),
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
            let expected = match name.starts_with("protobuf that") {
                true => &named,
                false => &spans[0],
            };
            assert_eq!(found, vec![expected.clone(); copies], "{name}");
            assert_eq!(
                (imported.spans, imported.unreadable),
                (copies as u64, unreadable),
                "{name}"
            );
        }
    }
}
