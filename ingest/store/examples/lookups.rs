//! How long does one trace among a hundred million spans take?
//!
//! `lookups generate FOLDER SPANS HOURS` fills a store with what the compactor leaves behind: the spans of a made-up
//! system, spread over hours, in large files; a newest hour of small ones comes on top. A hundred million spans take
//! some four gigabytes, and a quarter of an hour. `lookups ask FOLDER [LOOKUPS]` then asks for random
//! traces in three situations, and says what the median, the 99th percentile and the slowest took:
//!
//! - *warm*: a daemon that was asked before, files in the system's cache;
//! - *disk*: the same daemon, but no file is in the system's cache;
//! - *start*: a command that was just started knows no footer, and no file is in the system's cache.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_model::{TraceId, UnixNanos};
use rekindle_store::{ReadCounts, Received, Store, StoredSpan, spans_of_protobuf};
use rustix::fs::{Advice, fadvise};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Of so many spans a file has 33 MB, half of the size from which on files are left alone: there are twice as many of them
/// as merging leaves.
const SPANS_PER_FILE: u64 = 800_000;

/// Small files that the newest hour has beside: one less than are merged, each a segment of the journal.
const SMALL_FILES: u64 = 15;
const SPANS_PER_SMALL_FILE: u64 = 100_000;

/// Traces of each file that can be asked for.
const KNOWN_PER_FILE: usize = 40;

/// When the first hour begins.
const BEGIN: UnixNanos = UnixNanos::from_secs(1_795_251_600);

/// All of it was received before that.
const UNTIL: UnixNanos = UnixNanos(u64::MAX);

const HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["generate", folder, spans, hours] => {
            generate(Path::new(folder), spans.parse()?, hours.parse()?)
        }
        ["ask", folder] => ask(Path::new(folder), 200),
        ["ask", folder, lookups] => ask(Path::new(folder), lookups.parse()?),
        _ => Err("usage: lookups generate FOLDER SPANS HOURS | ask FOLDER [LOOKUPS]".into()),
    }
}

/// Where the traces are noted that can be asked for.
fn known(folder: &Path) -> PathBuf {
    folder.join("known-traces")
}

fn generate(folder: &Path, spans: u64, hours: u32) -> Result<()> {
    let store = Store::at(&folder.display().to_string())?;
    let began = Instant::now();
    let mut system = System::new();
    let mut note = String::new();
    let files = spans.div_ceil(SPANS_PER_FILE).max(1);
    for file in 0..files {
        let within = HOUR.mul_f64(file as f64 * f64::from(hours) / files as f64);
        let spans = system.spans(SPANS_PER_FILE, BEGIN.plus(within));
        note_some(&spans, &mut note);
        store.add(spans, "large", file, UNTIL)?;
        if file % 10 == 9 {
            println!("{} of {files} files, {:.0?}", file + 1, began.elapsed());
        }
    }
    for file in 0..SMALL_FILES {
        let spans = system.spans(SPANS_PER_SMALL_FILE, BEGIN.plus(HOUR * hours));
        note_some(&spans, &mut note);
        store.add(spans, "small", file, UNTIL)?;
    }
    fs::write(known(folder), note)?;
    let size = store.size()?;
    let spans = files * SPANS_PER_FILE + SMALL_FILES * SPANS_PER_SMALL_FILE;
    println!(
        "{spans} spans in {} files of {} hours, {:.1} bytes each",
        size.files,
        size.hours,
        size.bytes as f64 / spans as f64
    );
    Ok(())
}

/// A made-up system whose exporters send for ever.
struct System {
    generator: Generator,
    position: u64,
}

impl System {
    fn new() -> Self {
        Self {
            generator: Generator::new(SystemShape::default()),
            position: 0,
        }
    }

    /// So many spans, received from then on.
    fn spans(&mut self, number: u64, from: UnixNanos) -> Vec<StoredSpan> {
        let mut counts = ReadCounts::default();
        let mut spans = Vec::new();
        let mut now = from;
        while (spans.len() as u64) < number {
            now = now.plus(Duration::from_millis(10));
            let payload = Bytes::from(self.generator.request(now).payload);
            self.position += payload.len() as u64;
            let received = Received {
                at: Some(now),
                position: self.position,
            };
            let read = spans_of_protobuf(payload, received, &mut counts);
            spans.append(&mut read.unwrap_or_default());
        }
        spans
    }
}

fn note_some(spans: &[StoredSpan], note: &mut String) {
    for span in spans.iter().step_by(spans.len() / KNOWN_PER_FILE) {
        note.push_str(&format!("{}\n", span.trace_id));
    }
}

fn ask(folder: &Path, lookups: usize) -> Result<()> {
    let url = folder.display().to_string();
    let known = fs::read_to_string(known(folder))?;
    let mut ids = known
        .lines()
        .map(str::parse)
        .collect::<std::result::Result<Vec<TraceId>, _>>()?;
    fastrand::Rng::with_seed(1).shuffle(&mut ids);
    ids.truncate(lookups);
    let store = Store::at(&url)?;
    let size = store.size()?;
    println!(
        "{} files of {} hours, {:.2} GB; {} random traces",
        size.files,
        size.hours,
        size.bytes as f64 / 1e9,
        ids.len()
    );
    let one = |store: &Store, id: TraceId| -> Result<Duration> {
        let began = Instant::now();
        let found = store.trace(id)?;
        let took = began.elapsed();
        match found.is_empty() {
            true => Err(format!("the trace {id} is not found").into()),
            false => Ok(took),
        }
    };
    // Once to know the footers, once to measure.
    for id in &ids {
        one(&store, *id)?;
    }
    let mut warm = Vec::new();
    for id in &ids {
        warm.push(one(&store, *id)?);
    }
    say("warm", warm);
    let mut random = fastrand::Rng::with_seed(2);
    let mut nowhere = Vec::new();
    for _ in 0..ids.len() {
        let Some(id) = TraceId::from_bytes(random.u128(1..).to_be_bytes()) else {
            continue;
        };
        let began = Instant::now();
        let found = store.trace(id)?;
        nowhere.push(began.elapsed());
        if !found.is_empty() {
            return Err(format!("the trace {id} is nobody's").into());
        }
    }
    say("warm, unknown trace", nowhere);
    let mut disk = Vec::new();
    for id in &ids {
        forget(&store, folder)?;
        disk.push(one(&store, *id)?);
    }
    say("disk", disk);
    let mut start = Vec::new();
    for id in &ids {
        forget(&store, folder)?;
        start.push(one(&Store::at(&url)?, *id)?);
    }
    say("start", start);
    Ok(())
}

/// Takes the store's files out of the system's cache.
fn forget(store: &Store, folder: &Path) -> Result<()> {
    for file in store.files()? {
        let file = File::open(folder.join(&file.path))?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn say(situation: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let Some(last) = took.last() else {
        println!("{situation}: nothing was asked");
        return;
    };
    // Of fewer than a hundred, the slowest is the 99th percentile.
    let at = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)];
    println!(
        "{situation}: median {:.1} ms, p99 {:.1} ms, slowest {:.1} ms",
        at(0.5).as_secs_f64() * 1e3,
        at(0.99).as_secs_f64() * 1e3,
        last.as_secs_f64() * 1e3
    );
}
