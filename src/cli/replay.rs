//! `rekindle replay`: what a daemon would have said of recorded traces, and what it would have wanted to do.

use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rekindle_model::{Span, UnixNanos};
use serde::Serialize;

use super::args::ReplayArgs;
use super::recorded::{interventions, recorded};
use super::terminal::{Tone, plain};
use super::{Failure, Terminal, check};
use crate::config::{Config, Overrides};
use crate::daemon::{keep_attributes, rehearsal_of};
use crate::engine::Happening;
use crate::exit::Exit;
use crate::words;

/// How long after its end a span arrives: what exporters that send several times a second need. Recordings don't say.
const DELAY: Duration = Duration::from_millis(250);

/// How often time passes; as often as the engine ranks.
const STEP: Duration = Duration::from_millis(200);

/// Nobody sent anything for longer than this, and nothing waits: then the clock jumps to the next span.
const DULL: Duration = Duration::from_secs(60);

/// How fast recorded time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it can be worked out.
    Max,
    /// So many recorded seconds in one; above 0.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse() {
            // Slower than a thousandth is not looked at; and a wait must be a time.
            Ok(times) if (0.001..=1e9).contains(&times) => Ok(Self::Times(times)),
            _ => Err("`max`, or how many recorded seconds pass in one, as in 1 or 60".to_owned()),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => times.fmt(f),
        }
    }
}

/// What is told to programs.
#[derive(Debug, Serialize)]
struct Replayed {
    spans: usize,
    traces: u64,
    unreadable: u64,
    incidents: usize,
    /// Of these, those that go on when the recording ends.
    still_open: usize,
    happenings: Vec<Happening>,
}

/// Plays recorded traces to everything of a daemon that thinks, and nothing that acts.
pub(super) fn replay(terminal: &mut Terminal, args: &ReplayArgs) -> Result<Exit, Failure> {
    let config = match &args.config {
        Some(file) => check::read(file, &Overrides::default())?,
        None => Config::without_file(&Overrides::default())?,
    };
    let recorded = recorded(&args.inputs, &keep_attributes(&config))?;
    let unreadable = recorded.unreadable;
    let traces = recorded.traces.into_iter();
    let mut spans: Vec<Span> = traces.flat_map(|it| it.spans().to_vec()).collect();
    spans.sort_by_key(|span| (span.end.max(span.start), span.trace_id, span.span_id));

    let mut rehearsal = rehearsal_of(&config)?;
    if !terminal.is_json() && !rehearsal.has_units() {
        terminal.line("The configuration has no units to restart, so nothing is planned.")?;
    }
    let mut done = interventions(args.interventions.as_deref())?
        .into_iter()
        .peekable();
    let arrival = |span: &Span| span.end.max(span.start).plus(DELAY);
    let count = spans.len();
    let mut pace = Pace::new(args.speed);
    let mut happenings: Vec<Happening> = Vec::new();
    let mut last = UnixNanos::default();
    let mut now = spans.first().map_or(last, arrival);
    let mut waiting = spans.into_iter().peekable();
    loop {
        let mut arrived = Vec::new();
        while let Some(span) = waiting.next_if(|span| arrival(span) <= now) {
            last = arrival(&span);
            arrived.push(span);
        }
        while let Some(begun) = done.next_if(|it| it.from <= now) {
            rehearsal.intervene(begun);
        }
        pace.wait_for(now);
        let told = rehearsal.step(arrived, now);
        for happening in told {
            if !terminal.is_json() {
                show(terminal, &happening)?;
            }
            happenings.push(happening);
        }
        match waiting.peek().map(arrival) {
            Some(next) if next.since(now) > DULL && rehearsal.is_idle() => {
                now = next;
                pace = Pace::new(args.speed);
            }
            Some(_) => now = now.plus(STEP),
            // The last traces are let go of when no more spans come.
            None if rehearsal.has_open_traces()
                && now.since(last) <= config.assembly.idle + STEP =>
            {
                now = now.plus(STEP);
            }
            None => break,
        }
    }
    let is_opening = |it: &&Happening| matches!(it, Happening::Opened { .. });
    let replayed = Replayed {
        spans: count,
        traces: rehearsal.traces(),
        unreadable,
        incidents: happenings.iter().filter(is_opening).count(),
        still_open: rehearsal.open_incidents(),
        happenings,
    };
    terminal.answer(&replayed, sum_up)?;
    Ok(Exit::Ok)
}

/// Keeps recorded time from running ahead of the wall's.
struct Pace {
    speed: Speed,
    began: Option<(Instant, UnixNanos)>,
}

impl Pace {
    fn new(speed: Speed) -> Self {
        Self { speed, began: None }
    }

    fn wait_for(&mut self, now: UnixNanos) {
        let Speed::Times(times) = self.speed else {
            return;
        };
        let (began, from) = *self.began.get_or_insert((Instant::now(), now));
        let due = now.since(from).as_secs_f64() / times;
        let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

fn show(terminal: &mut Terminal, happening: &Happening) -> io::Result<()> {
    match happening {
        Happening::Opened {
            at,
            incident,
            since,
            request_types,
        } => {
            let types = request_types.join(", ");
            let text = format!("{at}  incident {incident}: {types} fails since {since}");
            terminal.heading(&text, Tone::Bad)
        }
        Happening::Ranked {
            at,
            incident,
            suspects,
        } => {
            terminal.line(format!("{at}  incident {incident}: suspects"))?;
            let rows = suspects.iter().map(|suspect| {
                vec![
                    plain(&suspect.component),
                    plain(suspect.unit.as_deref().unwrap_or("no unit")),
                    plain(words::confidence(suspect.confidence)),
                    plain(&suspect.sentence),
                ]
            });
            let header = ["SUSPECT", "UNIT", "CONFIDENCE", "EVIDENCE"];
            terminal.table(&header, rows.collect())
        }
        Happening::Planned {
            at,
            incident,
            sentence,
            restarts,
            unattended,
            refusals,
            ..
        } => {
            let text = format!("{at}  incident {incident}: would {sentence}");
            terminal.heading(&text, Tone::Attention)?;
            if *unattended && !restarts.is_empty() {
                terminal.line("  No guard would refuse it.")?;
            }
            for words in refusals {
                terminal.line(format!("  Not unattended: {words}"))?;
            }
            Ok(())
        }
        Happening::Closed {
            at,
            incident,
            recovered,
            joined,
        } => {
            let how = match (joined, recovered) {
                (Some(other), _) => {
                    format!("it is joined with incident {other}, which has the same cause")
                }
                (None, true) => "its requests are well again".to_owned(),
                (None, false) => "no more requests of its types came".to_owned(),
            };
            let text = format!("{at}  incident {incident} is over: {how}");
            terminal.heading(&text, Tone::Good)
        }
    }
}

fn sum_up(terminal: &mut Terminal, replayed: &Replayed) -> io::Result<()> {
    terminal.line(format!(
        "{}, {}, {}. Nothing was acted on: the recording went on as it went.",
        words::number_of(replayed.spans, "span"),
        words::number_of(
            usize::try_from(replayed.traces).unwrap_or(usize::MAX),
            "trace"
        ),
        words::number_of(replayed.incidents, "incident")
    ))?;
    if replayed.still_open > 0 {
        let open = words::number_of(replayed.still_open, "incident");
        terminal.line(format!("Not over when it ends: {open}."))?;
    }
    if replayed.unreadable > 0 {
        terminal.line(format!("{} could not be read.", replayed.unreadable))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        for (text, expected) in [
            ("max", Some(Speed::Max)),
            ("1", Some(Speed::Times(1.0))),
            ("0.5", Some(Speed::Times(0.5))),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("fast", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
