//! Who is suspected in recorded traces? The same reading and ranking as the daemon's, on files.

use std::fmt::Write as _;
use std::io;

use anyhow::Context;
use rekindle_analysis::rank::{Input, Part, facts, rank};
use rekindle_analysis::{AnalysisConfig, Ranking, Verdict, input_of};
use rekindle_datasets::recorded::Recorded;
use rekindle_ingest::KeepAttributes;
use rekindle_stats::{LogHistogram, Probability};
use serde::Serialize;

use super::args::AnalyzeArgs;
use super::store::recorded;
use super::terminal::{Tone, plain};
use super::{Failure, Terminal};
use crate::exit::Exit;

/// Recordings may hold more distinct rows of observations than a live window.
const MAX_ROWS: usize = 1_000_000;

/// What is told.
#[derive(Debug, Serialize)]
struct Analysis {
    baseline_traces: usize,
    window_traces: usize,
    unreadable: u64,
    ranking: Ranking,
}

/// Ranks the suspects of recorded traces.
pub(super) fn analyze(terminal: &mut Terminal, args: &AnalyzeArgs) -> Result<Exit, Failure> {
    let keep = KeepAttributes::default();
    let inputs = recorded(&args.inputs, &keep)?;
    let mut baseline = match args.baseline.is_empty() {
        true => Recorded::default(),
        false => recorded(&args.baseline, &keep)?,
    };
    let mut window = inputs.traces;
    if let Some(since) = args.since {
        let first = window.partition_point(|trace| trace.spans()[0].start < since);
        baseline.traces.extend(window.drain(..first));
    }
    if window.is_empty() || baseline.traces.is_empty() {
        let empty = if window.is_empty() {
            "with the fault"
        } else {
            "before it"
        };
        return Err(Failure::Usage(format!(
            "there are no traces {empty}: {} before, {} with it",
            baseline.traces.len(),
            window.len()
        )));
    }
    let config = AnalysisConfig {
        max_rows: MAX_ROWS,
        ..AnalysisConfig::default()
    };
    let input = input_of(&config, &baseline.traces, &window);
    if let Some(file) = &args.csv {
        std::fs::write(file, tidy(&input))
            .with_context(|| format!("failed writing `{}`", file.display()))?;
    }
    let analysis = Analysis {
        baseline_traces: baseline.traces.len(),
        window_traces: window.len(),
        unreadable: inputs.unreadable + baseline.unreadable,
        ranking: rank(args.method, &input),
    };
    terminal.answer(&analysis, show)?;
    Ok(Exit::Ok)
}

fn show(terminal: &mut Terminal, analysis: &Analysis) -> io::Result<()> {
    terminal.line(format!(
        "{} traces, compared with {} before.",
        analysis.window_traces, analysis.baseline_traces
    ))?;
    if analysis.unreadable > 0 {
        terminal.line(format!("{} could not be read.", analysis.unreadable))?;
    }
    let ranking = &analysis.ranking;
    if let Verdict::NotEnough { missing } = &ranking.verdict {
        let heading = format!("Not enough evidence: what is missing is {missing}.");
        terminal.heading(&heading, Tone::Attention)?;
    }
    let rows = ranking.suspects.iter().enumerate().map(|(at, suspect)| {
        let names: Vec<String> = suspect.components.iter().map(ToString::to_string).collect();
        vec![
            plain((at + 1).to_string()),
            plain(names.join(" or ")),
            plain(format!("{:.0} %", suspect.confidence * 100.0)),
            plain(&suspect.sentence),
        ]
    });
    terminal.table(&["", "SUSPECT", "CONFIDENCE", "EVIDENCE"], rows.collect())?;
    if let Some(first) = ranking.suspects.first() {
        let rows = facts(first)
            .into_iter()
            .map(|fact| vec![plain(fact.what), plain(fact.found)]);
        terminal.table(&["FIRST SUSPECT", ""], rows.collect())?;
    }
    for (reason, n) in ranking.left_out.iter() {
        terminal.line(format!("Left out: {n} {}", reason.in_words()))?;
    }
    Ok(())
}

/// A line per component and request type: how often and how long, before and with the fault.
fn tidy(input: &Input) -> String {
    let mut csv = String::from(
        "measure,from,component,request_type,calls_before,calls_now,\
         median_ms_before,median_ms_now,p90_ms_before,p90_ms_now\n",
    );
    let name = |id: usize| quoted(&input.subjects[id].component.to_string());
    for timed in &input.timed {
        let (measure, from, component) = match timed.part {
            Part::Whole(id) => ("own time and way", String::new(), id),
            Part::Own(id) => ("own time", String::new(), id),
            Part::Gap(from, to) => ("way", name(from), to),
            Part::There(from, to) => ("way there", name(from), to),
        };
        let [mut before, later] = timed.baseline.clone();
        before.merge(&later);
        let millis = |histogram: &LogHistogram, share: f64| {
            let nanos = histogram.quantile(Probability::clamped(share));
            nanos.map_or_else(String::new, |nanos| format!("{:.3}", nanos as f64 / 1e6))
        };
        let request_type = &input.request_types[timed.request_type];
        // Writing to a string can't fail.
        let _ = writeln!(
            csv,
            "{measure},{from},{},{},{},{},{},{},{},{}",
            name(component),
            quoted(&request_type.to_string()),
            before.total(),
            timed.window.total(),
            millis(&before, 0.5),
            millis(&timed.window, 0.5),
            millis(&before, 0.9),
            millis(&timed.window, 0.9),
        );
    }
    csv
}

/// Telemetry may hold anything: always in quotes, and never the beginning of a formula.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace('"', "\"\"").replace(['\n', '\r'], " ");
    let guard = if text.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    format!("\"{guard}{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_telemetry_stay_in_their_cell() {
        for (text, cell) in [
            ("plain", "\"plain\""),
            ("a,\"b\"\nc", "\"a,\"\"b\"\" c\""),
            ("=1+1", "\"'=1+1\""),
        ] {
            assert_eq!(quoted(text), cell);
        }
    }
}
