//! `rekindle import`, `export` and `trace`: spans from elsewhere into the store, out of it, and one trace to look at.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rekindle_model::{TraceId, UnixNanos};
use rekindle_store::{
    Store, StoreError, StoredSpan, jaeger_of, json_of, parquet_of, protobuf_of, read_any,
};
use serde::Serialize;

use super::args::{ExportArgs, ExportForm, ImportArgs, StoreArgs};
use super::output::Output;
use super::terminal::{Tone, plain};
use super::{Failure, Terminal, check};
use crate::client::Client;
use crate::config::Overrides;
use crate::exit::Exit;
use crate::view::TraceView;
use crate::words;

/// Spans of one file of an import: some tens of megabytes in memory.
const SPANS_PER_FILE: usize = 50_000;

/// Spans of one export request: what a receiver takes without complaint.
const SPANS_PER_REQUEST: usize = 1_000;

/// What has no form that can be written bit by bit is put together in memory, a kilobyte per span.
const MAX_WHOLE: usize = 500_000;

/// How often it is said how far an import or export is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The store that the arguments name.
pub(super) fn open(args: &StoreArgs) -> Result<Store, Failure> {
    let url = match (&args.store, &args.config) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(file)) => check::read(file, &Overrides::default())?.store.url,
        (None, None) => None,
    };
    let url = url.ok_or_else(|| {
        Failure::Usage("no store is named: give --store, or a --config with `store.url`".to_owned())
    })?;
    Store::at(&url).map_err(|error| Failure::Usage(error.to_string()))
}

/// Says from time to time how far it is, to whoever watches.
pub(super) struct Progress {
    what: &'static str,
    spans: u64,
    said: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            spans: 0,
            said: Instant::now(),
        }
    }

    pub(super) fn add(&mut self, spans: usize) {
        self.spans += spans as u64;
        if self.said.elapsed() >= PROGRESS_EVERY && io::stderr().is_terminal() {
            self.said = Instant::now();
            // Nobody may be there to read it.
            let _ = writeln!(
                io::stderr(),
                "{} {} spans",
                self.what,
                words::count(self.spans)
            );
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct ImportReport {
    files: usize,
    of_files: Vec<FileReport>,
    spans: u64,
    duplicates: u64,
    /// Whether a daemon has the store, which finds those that are there already later.
    merged_by_daemon: bool,
    unreadable: u64,
    rejected_spans: u64,
}

/// What became of one file.
#[derive(Debug, Default, Serialize)]
struct FileReport {
    file: PathBuf,
    /// Spans that went to the store, those that were there already among them.
    spans: u64,
    /// Lines or requests that could not be read.
    unreadable: u64,
    /// The first of these lines, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_unreadable_line: Option<u64>,
    /// Spans without valid ids.
    rejected_spans: u64,
    /// Why the file could not be read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl FileReport {
    fn show(&self, terminal: &mut Terminal) -> io::Result<()> {
        let mut words = format!(
            "{}: {} spans",
            self.file.display(),
            words::count(self.spans)
        );
        if self.rejected_spans > 0 {
            words += &format!(", {} without valid ids", words::count(self.rejected_spans));
        }
        match (self.unreadable, self.first_unreadable_line) {
            (0, _) => {}
            (_, None) => words += ", no form of traces that is known",
            (1, Some(line)) => words += &format!(", line {line} could not be read"),
            (more, Some(line)) => {
                words += &format!(
                    ", {} lines could not be read, the first of them line {line}",
                    words::count(more)
                );
            }
        }
        if let Some(error) = &self.error {
            words += &format!(", then {error}");
        }
        terminal.line(words)
    }
}

/// Adds files to the store. One that can't be read doesn't keep the others out.
pub(super) fn import(terminal: &mut Terminal, args: &ImportArgs) -> Result<Exit, Failure> {
    let store = open(&args.store)?;
    let now: UnixNanos = SystemTime::now().into();
    let name = format!("{:020}", now.0);
    let mut report = ImportReport::default();
    let mut progress = Progress::new("imported");
    let (mut waiting, mut number) = (Vec::new(), 0);
    for file in &args.files {
        let mut of_file = FileReport {
            file: file.clone(),
            ..FileReport::default()
        };
        let read = read_any::<ImportError>(file, |spans| {
            progress.add(spans.len());
            of_file.spans += spans.len() as u64;
            waiting.append(spans);
            while waiting.len() >= SPANS_PER_FILE {
                let rest = waiting.split_off(SPANS_PER_FILE);
                let full = std::mem::replace(&mut waiting, rest);
                let added = store.add(full, &name, number, now);
                report.duplicates += added.map_err(ImportError::Writing)?;
                number += 1;
            }
            Ok(())
        });
        match read {
            Ok(read) => {
                of_file.unreadable = read.unreadable;
                of_file.first_unreadable_line = read.first_unreadable_line;
                of_file.rejected_spans = read.counts.rejected;
            }
            Err(ImportError::Reading(error)) => {
                let error: anyhow::Error = error.into();
                of_file.error = Some(format!("{error:#}"));
            }
            Err(ImportError::Writing(error)) => return Err(unwritten(error)),
        }
        report.spans += of_file.spans;
        report.unreadable += of_file.unreadable;
        report.rejected_spans += of_file.rejected_spans;
        report.files += 1;
        report.of_files.push(of_file);
    }
    report.duplicates += store.add(waiting, &name, number, now).map_err(unwritten)?;
    // What two files hold, or an import before, is there once then.
    let found = store
        .tidy(now)
        .context("failed merging the store's files")?;
    report.duplicates += found.unwrap_or(0);
    report.merged_by_daemon = found.is_none();
    terminal.answer(&report, |terminal, report| {
        for file in &report.of_files {
            file.show(terminal)?;
        }
        let already = match report.duplicates {
            0 => String::new(),
            number => format!(", {} were there already", words::count(number)),
        };
        terminal.line(format!(
            "{} spans went to the store{already}.",
            words::count(report.spans - report.duplicates.min(report.spans)),
        ))?;
        if report.merged_by_daemon {
            terminal.line(
                "Another process keeps this store in order: what was there already goes in its next round, or of an hour \
                 that isn't over a quarter of an hour after its end.",
            )?;
        }
        Ok(())
    })?;
    // Scripts go on only where all that was given is there.
    let mut files = report.of_files.iter();
    let is_whole = files.all(|file| file.error.is_none() && file.unreadable == 0);
    Ok(match report.spans > 0 && is_whole {
        true => Exit::Ok,
        false => Exit::Failed,
    })
}

/// Which side of an import failed.
enum ImportError {
    Reading(StoreError),
    Writing(StoreError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Reading(error)
    }
}

fn unwritten(error: StoreError) -> Failure {
    let error: anyhow::Error = error.into();
    Failure::Other(error.context(
        "failed writing to the store; import the same files again when it can be written: what is there already is not \
         added twice",
    ))
}

/// Writes spans of the store to a file or the standard output.
pub(super) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let store = open(&args.store)?;
    if let Some(folder) = store.folder().filter(|folder| !folder.is_dir()) {
        writeln!(
            io::stderr(),
            "there is no store in {}; `--store` or `store.url` of the configuration names it",
            folder.display()
        )?;
        return Ok(Exit::NotFound);
    }
    let mut out = Output::to(args.out.as_deref()).with_context(|| match &args.out {
        Some(path) => format!("failed creating `{}`", path.display()),
        None => "failed writing".to_owned(),
    })?;
    let mut progress = Progress::new("exported");
    let mut whole = Vec::new();
    let mut found = 0;
    let mut each = |spans: &mut Vec<StoredSpan>| -> Result<(), Failure> {
        found += spans.len();
        progress.add(spans.len());
        match args.form {
            ExportForm::OtlpJson => write_lines(&mut out, spans)?,
            // Requests one behind the other are one request, as protobuf has it.
            ExportForm::OtlpProtobuf => out.write_all(&protobuf_of(spans))?,
            ExportForm::Jaeger | ExportForm::Parquet => {
                whole.append(spans);
                if whole.len() > MAX_WHOLE {
                    return Err(Failure::Usage(format!(
                        "these are more than {MAX_WHOLE} spans, and this form is written as a whole; \
                         ask for less with --since and --until, or --trace"
                    )));
                }
            }
        }
        Ok(())
    };
    if args.traces.is_empty() {
        let until = args.until.unwrap_or(UnixNanos(u64::MAX));
        store.scan(args.since.unwrap_or_default(), until, &mut each)?;
    } else {
        for id in &args.traces {
            each(&mut store.trace(*id)?)?;
        }
    }
    if found == 0 {
        // What lies under the name stays as it was: an empty file would take its place.
        let what = match args.traces.is_empty() {
            true => "spans of that time",
            false => "such traces",
        };
        writeln!(
            io::stderr(),
            "there are no {what} in the store; nothing was written. What a running daemon received in the last five \
             minutes may still be in its journal: the store gets it from there"
        )?;
        return Ok(Exit::NotFound);
    }
    match args.form {
        ExportForm::Jaeger => out.write_all(jaeger_of(&whole).as_bytes())?,
        ExportForm::Parquet => out.write_all(&parquet_of(whole)?)?,
        ExportForm::OtlpJson | ExportForm::OtlpProtobuf => {}
    }
    out.finish()?;
    Ok(Exit::Ok)
}

/// Spans as OTLP in JSON, a request a line.
pub(super) fn write_lines(out: &mut impl Write, spans: &[StoredSpan]) -> Result<(), Failure> {
    for spans in spans.chunks(SPANS_PER_REQUEST) {
        writeln!(out, "{}", json_of(spans))?;
    }
    Ok(())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

/// Shows one trace.
pub(super) fn trace(
    terminal: &mut Terminal,
    client: &Client,
    id: TraceId,
) -> Result<Exit, Failure> {
    let trace: TraceView = client.get(&format!("/traces/{id}"))?;
    terminal.answer(&trace, |terminal, trace| {
        let heading = format!("{}: {}", trace.request_type, trace.outcome);
        terminal.heading(&heading, Tone::Plain)?;
        terminal.line(format!(
            "Trace {}, began {}, took {}, {}. {}",
            trace.id,
            trace.began,
            words::micros(trace.duration_us),
            words::number_of(trace.spans.len(), "span"),
            trace.note
        ))?;
        let rows = trace.spans.iter().map(|span| {
            let tone = if span.failed { Tone::Bad } else { Tone::Plain };
            let error = match (&span.error, span.raised) {
                (Some(error), true) => format!("failed here: {error}"),
                (Some(error), false) => format!("passed on: {error}"),
                (None, _) => String::new(),
            };
            vec![
                (
                    format!("{}{}", "  ".repeat(span.depth.min(20)), span.service),
                    tone,
                ),
                plain(&span.operation),
                plain(&span.kind),
                plain(words::micros(span.offset_us)),
                plain(words::micros(span.duration_us)),
                (error, tone),
            ]
        });
        let header = ["SERVICE", "OPERATION", "KIND", "AFTER", "TOOK", ""];
        terminal.table(&header, rows.collect())
    })?;
    Ok(Exit::Ok)
}
