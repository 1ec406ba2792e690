//! `rekindle import`, `export` and `trace`: spans from elsewhere into the store, out of it, and one trace to look at.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rekindle_datasets::recorded::{Recorded, read_traces};
use rekindle_ingest::{DecodeContext, KeepAttributes};
use rekindle_model::{Span, TraceId, UnixNanos};
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
use crate::engine::spans_of;
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
    spans: u64,
    duplicates: u64,
    unreadable: u64,
    rejected_spans: u64,
}

/// Adds files to the store.
pub(super) fn import(terminal: &mut Terminal, args: &ImportArgs) -> Result<Exit, Failure> {
    let store = open(&args.store)?;
    let now: UnixNanos = SystemTime::now().into();
    let name = format!("{:020}", now.0);
    let mut report = ImportReport::default();
    let mut progress = Progress::new("imported");
    let (mut waiting, mut number) = (Vec::new(), 0);
    for file in &args.files {
        let read = read_any::<StoreError>(file, |spans| {
            progress.add(spans.len());
            waiting.append(spans);
            while waiting.len() >= SPANS_PER_FILE {
                let rest = waiting.split_off(SPANS_PER_FILE);
                let full = std::mem::replace(&mut waiting, rest);
                report.duplicates += store.add(full, &name, number, now)?;
                number += 1;
            }
            Ok(())
        });
        let read = read.with_context(|| format!("failed importing `{}`", file.display()))?;
        report.files += 1;
        report.spans += read.spans;
        report.unreadable += read.unreadable;
        report.rejected_spans += read.counts.rejected;
    }
    let added = store.add(waiting, &name, number, now);
    report.duplicates += added.context("failed writing to the store")?;
    // What two files hold, or an import before, is there once then.
    report.duplicates += store
        .tidy(now)
        .context("failed merging the store's files")?;
    terminal.answer(&report, |terminal, report| {
        terminal.line(format!(
            "{} spans of {} are in the store.",
            words::count(report.spans - report.duplicates.min(report.spans)),
            words::number_of(report.files, "file")
        ))?;
        for (number, what) in [
            (report.duplicates, "spans were there already"),
            (report.rejected_spans, "spans had no valid ids"),
            (report.unreadable, "lines or requests could not be read"),
        ] {
            if number > 0 {
                terminal.line(format!("{} {what}.", words::count(number)))?;
            }
        }
        Ok(())
    })?;
    Ok(if report.spans > 0 {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// Writes spans of the store to a file or the standard output.
pub(super) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let store = open(&args.store)?;
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
            ExportForm::OtlpJson => {
                for spans in spans.chunks(SPANS_PER_REQUEST) {
                    writeln!(out, "{}", json_of(spans))?;
                }
            }
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
            "there are no {what} in the store; nothing was written"
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

/// The traces of recorded files, folders of the store and files of the store, all together, with these attributes
/// besides the usual ones.
pub(super) fn recorded(inputs: &[PathBuf], keep: &KeepAttributes) -> Result<Recorded, Failure> {
    let (stored, others): (Vec<PathBuf>, Vec<PathBuf>) =
        inputs.iter().cloned().partition(|input| is_stored(input));
    let spans = spans_in(&stored, keep)?;
    Ok(read_traces(&others, spans, keep).map_err(anyhow::Error::from)?)
}

/// Whether this is a folder of the store's, or one of its files.
pub(super) fn is_stored(path: &Path) -> bool {
    let begins = |path: &Path| -> io::Result<bool> {
        let mut magic = [0; 4];
        io::Read::read_exact(&mut std::fs::File::open(path)?, &mut magic)?;
        Ok(&magic == b"PAR1")
    };
    path.is_dir() || begins(path).unwrap_or(false)
}

/// All spans of these folders and files of the store.
fn spans_in(paths: &[PathBuf], keep: &KeepAttributes) -> Result<Vec<Span>, Failure> {
    let mut context = DecodeContext::new(keep);
    let mut progress = Progress::new("read");
    let mut found = Vec::new();
    let mut each = |spans: &mut Vec<StoredSpan>| -> Result<(), Failure> {
        progress.add(spans.len());
        found.append(&mut spans_of(spans, &mut context)?);
        Ok(())
    };
    for path in paths {
        if path.is_dir() {
            let store = Store::at(&path.display().to_string())?;
            store.scan(UnixNanos(0), UnixNanos(u64::MAX), &mut each)?;
        } else {
            rekindle_store::read_file(path, &mut each)?;
        }
    }
    Ok(found)
}
