//! What does a span cost on its whole way, from its bytes until it is counted, and what while it waits?
//!
//! `way [sdk|gateway|hostile|FOLDER] [SECONDS]` decodes, assembles and counts on one thread, without any
//! network, and prints nanoseconds per span and stage, then how long single ticks and rankings take while the load's
//! failures are an open incident, and the memory of traces in flight. Times are the processor's for this thread, so that
//! whoever else is at work on the machine isn't counted. Requests are those of `rekindle load`, or files of
//! a folder with one protobuf request each; they are sent again and again with fresh ids, at a hundred thousand traces a
//! second of a time that is made up. `hostile` gives each span a name of its own.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::time::{Duration, Instant};

use rekindle_analysis::{AnalysisConfig, Analyzer};
use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_ingest::{
    Assembler, AssemblerConfig, ContentType, DecodeContext, KeepAttributes, decode_payload,
};
use rekindle_model::UnixNanos;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests of `rekindle load` that are sent again and again: 8,000 traces.
const REQUESTS: usize = 256;

/// When the first request is sent.
const START: UnixNanos = UnixNanos::from_secs(1_800_000_000);

/// What one span stands for in time.
const PER_SPAN: Duration = Duration::from_micros(1);

/// As the engine: it looks for what is due so often.
const TICK: Duration = Duration::from_millis(50);

/// As the engine: it ranks what is open so often, and rests for so many times what that took.
const RANK_EVERY: Duration = Duration::from_millis(200);
const RESTS: u32 = 9;

/// As the engine: it says how each request type fares so often, with so many points of its history.
const SHOW_EVERY: Duration = Duration::from_millis(250);
const POINTS: usize = 120;

/// The longest tick and ranking are told of so long at a time.
const STRETCH: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let source = arguments.first().map_or("sdk", String::as_str);
    let seconds: u64 = arguments.get(1).map_or(Ok(5), |it| it.parse())?;
    let hostile = source == "hostile";
    let mut templates = match source {
        "sdk" | "hostile" => made_up(1),
        "gateway" => made_up(16),
        folder => from_files(folder)?,
    };
    let names: Vec<Vec<usize>> = templates.iter().map(|it| it.names.clone()).collect();
    let mut way = Way::new(AssemblerConfig::default());
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut round = 0u64;
    let mut body = Vec::new();
    let mut first = Spent::default();
    while Instant::now() < until {
        round += 1;
        for (template, names) in templates.iter_mut().zip(&names) {
            template.renew(round, way.now);
            if hostile {
                template.rename(names, way.spans);
            }
            // As from a socket: in the processor's cache.
            body.clear();
            body.extend_from_slice(&template.bytes);
            way.take(&body);
        }
        // Tables fill in the first rounds, which no steady stream pays for.
        if round == 5 {
            first = way.spent;
        }
    }
    let spent = way.spent;
    let spans = (spent.spans - first.spans).max(1) as f64;
    let each = |all: Duration, first: Duration| (all - first).as_nanos() as f64 / spans;
    let stages = [
        ("decode", each(spent.decode, first.decode)),
        ("push", each(spent.push, first.push)),
        ("entries", each(spent.entries, first.entries)),
        ("release and count", each(spent.count, first.count)),
        ("tick", each(spent.tick, first.tick)),
        ("rank", each(spent.rank, first.rank)),
        ("show", each(spent.show, first.show)),
    ];
    for (stage, nanos) in stages {
        println!("{stage:<20}{nanos:7.1} ns a span");
    }
    let sum: f64 = stages.iter().map(|(_, nanos)| nanos).sum();
    println!("{:<20}{sum:7.1} ns a span, {spans} spans", "in all");
    for (stretch, longest) in (1..).zip(&way.longest) {
        let millis = |it: Duration| it.as_secs_f64() * 1e3;
        println!(
            "until {:>4} s: at most {:6.1} ms for a tick and {:6.1} ms for a ranking; {:5.1} ms a second in all",
            stretch * STRETCH.as_secs(),
            millis(longest.tick),
            millis(longest.ranking),
            millis(longest.in_all) / STRETCH.as_secs_f64(),
        );
    }
    let (counts, left_out) = (way.assembler.counts(), way.analyzer.counts());
    println!("{counts:?}");
    for (why, count) in left_out.iter() {
        println!("left out: {why:?} {count}");
    }
    drop(way);
    in_flight(&mut templates);
    Ok(())
}

/// A million traces that nothing is known of but their spans.
fn in_flight(templates: &mut [Template]) {
    let config = AssemblerConfig {
        max_spans_in_flight: usize::MAX,
        min_quiet: Duration::from_secs(3600),
        max_quiet: Duration::from_secs(3600),
        ..AssemblerConfig::default()
    };
    let mut way = Way::new(config);
    let before = resident();
    let mut round = 1 << 32;
    while way.assembler.in_flight().traces < 1_000_000 {
        round += 1;
        for template in &mut *templates {
            template.renew(round, way.now);
            let decoded = decode_payload(ContentType::Protobuf, &template.bytes, &mut way.context);
            if let Ok(decoded) = decoded {
                way.assembler.push_all(&decoded.spans, way.now);
            }
        }
    }
    let held = way.assembler.in_flight();
    if let (Some(before), Some(after)) = (before, resident()) {
        let bytes = after.saturating_sub(before);
        println!(
            "{} traces of {} spans in flight: {} MiB, {:.1} bytes a span",
            held.traces,
            held.spans,
            bytes >> 20,
            bytes as f64 / held.spans as f64
        );
    }
}

/// Bytes of this process in memory, where the system says so (Linux).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// How long this thread has been at work.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Time by stages.
#[derive(Clone, Copy, Default)]
struct Spent {
    spans: u64,
    decode: Duration,
    push: Duration,
    entries: Duration,
    count: Duration,
    tick: Duration,
    rank: Duration,
    show: Duration,
}

/// The longest tick and ranking of a stretch, and all of them.
#[derive(Clone, Copy, Default)]
struct Longest {
    tick: Duration,
    ranking: Duration,
    in_all: Duration,
}

/// What the receivers and the engine do, one after the other.
struct Way {
    context: DecodeContext,
    assembler: Assembler,
    analyzer: Analyzer,
    now: UnixNanos,
    polled: UnixNanos,
    ranked: UnixNanos,
    ranking_took: Duration,
    shown: UnixNanos,
    spans: u64,
    spent: Spent,
    longest: Vec<Longest>,
}

impl Way {
    fn new(config: AssemblerConfig) -> Self {
        Self {
            context: DecodeContext::new(&KeepAttributes::default()),
            assembler: Assembler::new(config),
            analyzer: Analyzer::new(AnalysisConfig::default()),
            now: START,
            polled: START,
            ranked: START,
            ranking_took: Duration::ZERO,
            shown: START,
            spans: 0,
            spent: Spent::default(),
            longest: Vec::new(),
        }
    }

    fn take(&mut self, request: &[u8]) {
        let began = worked();
        let Ok(decoded) = decode_payload(ContentType::Protobuf, request, &mut self.context) else {
            return;
        };
        let read = worked();
        let count = decoded.spans.len() as u64;
        self.spans += count;
        self.now = self
            .now
            .plus(PER_SPAN * u32::try_from(count).unwrap_or(u32::MAX));
        self.assembler.push_all(&decoded.spans, self.now);
        let pushed = worked();
        let telling: Vec<_> = decoded.spans.telling().collect();
        self.analyzer.notices(&telling, self.now);
        drop(telling);
        drop(decoded);
        let entered = worked();
        self.spent.spans += count;
        self.spent.decode += read - began;
        self.spent.push += pushed - read;
        self.spent.entries += entered - pushed;
        if self.now.since(self.polled) >= TICK {
            self.poll(entered);
        }
    }

    fn poll(&mut self, began: Duration) {
        self.polled = self.now;
        let (analyzer, now) = (&mut self.analyzer, self.now);
        self.assembler
            .poll_outlines(now, |outlines| analyzer.outlines(outlines, now));
        let counted = worked();
        let _ = self.analyzer.tick(now);
        let ticked = worked();
        self.spent.count += counted - began;
        self.spent.tick += ticked - counted;
        let rests = self.ranking_took * RESTS;
        if now.since(self.ranked) >= RANK_EVERY.max(rests) {
            self.ranked = now;
            let incidents = self.analyzer.incidents().iter();
            let open = incidents.filter(|incident| incident.is_open());
            for incident in open {
                std::hint::black_box(self.analyzer.rank(incident.id));
            }
            self.ranking_took = worked() - ticked;
            self.spent.rank += self.ranking_took;
        }
        let ranked = worked();
        if now.since(self.shown) >= SHOW_EVERY {
            self.shown = now;
            for summary in self.analyzer.request_types() {
                std::hint::black_box(self.analyzer.series(&summary.request_type, POINTS));
            }
            self.spent.show += worked() - ranked;
        }
        self.note_longest(ticked - counted, ranked - ticked);
    }

    fn note_longest(&mut self, tick: Duration, ranking: Duration) {
        let stretch = (self.now.since(START).as_secs() / STRETCH.as_secs()) as usize;
        if self.longest.len() <= stretch {
            self.longest.resize(stretch + 1, Longest::default());
        }
        let longest = &mut self.longest[stretch];
        longest.tick = longest.tick.max(tick);
        longest.ranking = longest.ranking.max(ranking);
        longest.in_all += tick + ranking;
    }
}

/// A request, and where in it what is renewed lies.
struct Template {
    bytes: Vec<u8>,
    original: Vec<u8>,
    /// Eight bytes each.
    ids: Vec<usize>,
    times: Vec<usize>,
    /// Where four letters of a name are.
    names: Vec<usize>,
    /// The last time in it.
    latest: u64,
}

impl Template {
    fn new(bytes: Vec<u8>) -> Self {
        let (mut ids, mut times, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (_, resource_spans) in fields(&bytes, 0..bytes.len()) {
            for (_, scope_spans) in of_number(&bytes, resource_spans, 2) {
                for (_, span) in of_number(&bytes, scope_spans, 2) {
                    for (number, value) in fields(&bytes, span) {
                        match number {
                            1 | 2 | 4 if value.len() >= 8 => ids.push(value.start),
                            5 if value.len() > 8 => names.push(value.end - 4),
                            7 | 8 => times.push(value.start),
                            _ => {}
                        }
                    }
                }
            }
        }
        let latest = times.iter().map(|at| number(&bytes, *at)).max();
        Self {
            original: bytes.clone(),
            latest: latest.unwrap_or_default(),
            bytes,
            ids,
            times,
            names,
        }
    }

    /// Gives it the ids of this round, and times so that the last one is now.
    fn renew(&mut self, round: u64, now: UnixNanos) {
        let nonce = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for at in &self.ids {
            let id = number(&self.original, *at) ^ nonce;
            self.bytes[*at..at + 8].copy_from_slice(&id.to_le_bytes());
        }
        for at in &self.times {
            let before = self.latest - number(&self.original, *at);
            let time = now.0.saturating_sub(before);
            self.bytes[*at..at + 8].copy_from_slice(&time.to_le_bytes());
        }
    }

    /// Gives each span a name that none had before.
    fn rename(&mut self, names: &[usize], first: u64) {
        for (number, at) in (first..).zip(names) {
            for (digit, byte) in self.bytes[*at..at + 4].iter_mut().enumerate() {
                // 60 printable characters from `A` on.
                *byte = b'A' + (number / 60u64.pow(digit as u32) % 60) as u8;
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes[at..].first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(eight)
}

fn of_number(
    bytes: &[u8],
    message: std::ops::Range<usize>,
    wanted: u64,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    fields(bytes, message).filter(move |(number, _)| *number == wanted)
}

/// The fields of a well-formed message that have a length or eight bytes: their numbers and places.
fn fields(
    bytes: &[u8],
    message: std::ops::Range<usize>,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut at = message.start;
    std::iter::from_fn(move || {
        while at < message.end {
            let (tag, after) = varint(bytes, at);
            let (length, from) = match tag & 7 {
                1 => (8, after),
                2 => {
                    let (length, from) = varint(bytes, after);
                    (length as usize, from)
                }
                5 => (4, after),
                _ => {
                    at = varint(bytes, after).1;
                    continue;
                }
            };
            at = from + length;
            return Some((tag >> 3, from..at));
        }
        None
    })
}

fn varint(bytes: &[u8], at: usize) -> (u64, usize) {
    let (mut value, mut end) = (0, at);
    loop {
        let byte = bytes[end];
        value |= u64::from(byte & 0x7f) << (7 * (end - at));
        end += 1;
        if byte < 0x80 {
            return (value, end);
        }
    }
}

fn made_up(processes_per_request: usize) -> Vec<Template> {
    let mut generator = Generator::new(SystemShape {
        processes_per_request,
        ..SystemShape::default()
    });
    let requests = (0..REQUESTS).map(|_| Template::new(generator.request(START).payload));
    requests.collect()
}

fn from_files(folder: &str) -> std::io::Result<Vec<Template>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let requests = paths
        .iter()
        .map(|path| Ok(Template::new(std::fs::read(path)?)));
    requests.collect()
}
