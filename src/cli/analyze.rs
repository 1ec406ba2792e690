//! Who is suspected in recorded traces? The same reading and ranking as the daemon's, on files.

mod streamed;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rekindle_analysis::rank::{Input, Method, Part, Timed, facts, rank};
use rekindle_analysis::{
    AnalysisConfig, Masked, MaskedOf, Offline, Outage, Ranking, Verdict, Weights,
};
use rekindle_ingest::KeepAttributes;
use rekindle_model::Intervention;
use rekindle_stats::{LogHistogram, Probability};
use rekindle_store::Recorded;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::args::AnalyzeArgs;
use super::recorded::{interventions, is_stored, recorded};
use super::tables::{Cells, Table};
use super::terminal::{Tone, plain};
use super::{Failure, Terminal, check};
use crate::config::{Config, Overrides};
use crate::daemon::{recount_of, tree_of};
use crate::engine::{RecountError, archived, publish};
use crate::exit::Exit;
use crate::view::{RankingView, UtcTime};
use crate::words;
use streamed::{Streamed, streamed};

/// Recordings may hold more distinct rows of observations than a live window.
const MAX_ROWS: usize = 1_000_000;

/// What is told.
#[derive(Debug, Serialize)]
struct Analysis {
    baseline_traces: usize,
    window_traces: usize,
    unreadable: u64,
    /// Of which nothing counts as usual.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier_outages: Vec<OutageView>,
    /// What users didn't see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    masked: Vec<MaskedOf>,
    #[serde(serialize_with = "as_known")]
    ranking: Ranking,
}

/// A time before the fault in which requests failed more than usual.
#[derive(Debug, Serialize)]
struct OutageView {
    request_type: String,
    from: UtcTime,
    /// Missing where it went on for as long as there are requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<UtcTime>,
}

impl From<&Outage> for OutageView {
    fn from(outage: &Outage) -> Self {
        Self {
            request_type: outage.request_type.to_string(),
            from: outage.from.into(),
            until: outage.until.map(Into::into),
        }
    }
}

/// As it is, but for its time, since recorded traces are counted in a time of their own, and for confidences that nobody
/// knows.
fn as_known<S: Serializer>(ranking: &Ranking, serializer: S) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(ranking).map_err(S::Error::custom)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("at");
    }
    if ranking.weights == Weights::Hidden {
        forget_confidences(&mut value);
    }
    value.serialize(serializer)
}

/// Makes `null` of all that says how sure one may be.
fn forget_confidences(value: &mut Value) {
    const SURE: [&str; 3] = ["confidence", "none_of_these", "times_likelier"];
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match SURE.contains(&name.as_str()) {
                    true => *value = Value::Null,
                    false => forget_confidences(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(forget_confidences),
        _ => {}
    }
}

/// Ranks the suspects of recorded traces.
pub(super) fn analyze(terminal: &mut Terminal, args: &AnalyzeArgs) -> Result<Exit, Failure> {
    if let Some(number) = args.incident {
        return again(terminal, args, number);
    }
    if args.baseline.is_empty() && args.since.is_none() {
        return Err(Failure::Usage(
            "what is the fault to be compared with? Say when it began (--since TIME: earlier traces of the same files are \
             the baseline), or give traces without it (--baseline FILE)"
                .to_owned(),
        ));
    }
    if args
        .until
        .is_some_and(|until| until <= args.since.unwrap_or_default())
    {
        return Err(Failure::Usage(
            "the fault was over (--until) before it began (--since)".to_owned(),
        ));
    }
    if let Some(path) = named_twice(args) {
        return Err(Failure::Usage(format!(
            "{} is named as the baseline and as the recording with the fault: its traces would count twice. Name it once, \
             with --since TIME",
            path.display()
        )));
    }
    let config = AnalysisConfig {
        max_rows: MAX_ROWS,
        ..AnalysisConfig::default()
    };
    let keep =
        KeepAttributes::default().with_routes(config.health_routes.iter().map(String::as_str));
    let interventions = interventions(args.interventions.as_deref())?;
    let mut all = args.inputs.iter().chain(&args.baseline);
    let streamed = match all.all(|input| is_stored(input)) {
        true => streamed(&config, args, &keep, &interventions)?,
        false => None,
    };
    let Streamed {
        input,
        baseline_traces,
        window_traces,
        unreadable,
        masked,
        outages,
    } = match streamed {
        Some(streamed) => streamed,
        None => in_memory(&config, args, &keep, &interventions)?,
    };
    if window_traces == 0 || baseline_traces == 0 {
        let empty = if window_traces == 0 {
            "with the fault"
        } else {
            "before it"
        };
        return Err(Failure::Usage(format!(
            "there are no traces {empty}: {baseline_traces} before, {window_traces} with it"
        )));
    }
    if args.csv.is_some() || args.parquet.is_some() {
        tidy(&input).write(args.csv.as_deref(), args.parquet.as_deref())?;
    }
    let analysis = Analysis {
        baseline_traces,
        window_traces,
        unreadable,
        earlier_outages: outages.iter().map(Into::into).collect(),
        masked,
        ranking: rank(args.method, &input),
    };
    terminal.answer(&analysis, show)?;
    Ok(Exit::Ok)
}

/// Ranks once more what an incident's last ranking rested on.
fn again(terminal: &mut Terminal, args: &AnalyzeArgs, number: u64) -> Result<Exit, Failure> {
    let overrides = Overrides {
        state_dir: args.state_dir.clone(),
        ..Overrides::default()
    };
    let config = match &args.config {
        Some(file) => check::read(file, &overrides)?,
        None => Config::without_file(&overrides)?,
    };
    let dir = config.state_dir.display();
    let incident = archived(&config.state_dir, number)
        .with_context(|| format!("reading incident {number} in {dir}"))?;
    let incident = incident.ok_or_else(|| {
        Failure::NotFound(format!(
            "no engine that kept its state in {dir} has shown an incident {number}; where its state is, --state-dir says, \
             or its configuration (--config)"
        ))
    })?;
    let shown = incident.ranking.as_ref();
    let shown = shown.filter(|_| incident.concerns_requests());
    let shown = shown.ok_or_else(|| {
        Failure::NotFound(format!(
            "incident {number} was seen directly, not in requests: nothing was ranked"
        ))
    })?;
    let input = recount_of(&config, &incident, shown)?;
    let tree = tree_of(&config)?;
    let mut ranking = rank(Method::Default, &input);
    let mut view = publish::ranking(number, &ranking, &tree);
    if !is_same(&view, shown)? {
        return Err(anyhow::Error::new(RecountError::AnotherRanking { cut: shown.cut }).into());
    }
    if args.method != Method::Default {
        ranking = rank(args.method, &input);
        view = publish::ranking(number, &ranking, &tree);
    }
    if args.csv.is_some() || args.parquet.is_some() {
        tidy(&input).write(args.csv.as_deref(), args.parquet.as_deref())?;
    }
    terminal.answer(&view, |terminal, view| {
        terminal.line(format!(
            "As of {}, the journal in {dir} up to position {}.",
            view.at, view.cut
        ))?;
        show_suspects(terminal, &ranking)?;
        show_left_out(terminal, &ranking)
    })?;
    Ok(Exit::Ok)
}

/// Whether what is counted again is what was shown, but for units: who grew, and how the tree was then, isn't kept.
fn is_same(again: &RankingView, shown: &RankingView) -> Result<bool, Failure> {
    // As the archive has it, whose numbers were read from text.
    let text = serde_json::to_string(again).context("writing a ranking")?;
    let again: RankingView = serde_json::from_str(&text).context("reading a ranking")?;
    let without_units = |view: &RankingView| {
        let mut view = view.clone();
        view.suspects.iter_mut().for_each(|it| it.unit = None);
        view
    };
    Ok(without_units(&again) == without_units(shown))
}

/// What is the baseline as well as the recording with the fault, by whatever path.
fn named_twice(args: &AnalyzeArgs) -> Option<&Path> {
    let place = |path: &Path| path.canonicalize().ok();
    let inputs: Vec<PathBuf> = args.inputs.iter().filter_map(|it| place(it)).collect();
    let mut baseline = args.baseline.iter().map(PathBuf::as_path);
    baseline.find(|path| place(path).is_some_and(|it| inputs.contains(&it)))
}

/// Of files in whatever form, which are put together in memory.
fn in_memory(
    config: &AnalysisConfig,
    args: &AnalyzeArgs,
    keep: &KeepAttributes,
    interventions: &[Intervention],
) -> Result<Streamed, Failure> {
    let inputs = recorded(&args.inputs, keep)?;
    let mut baseline = match args.baseline.is_empty() {
        true => Recorded::default(),
        false => recorded(&args.baseline, keep)?,
    };
    let mut window = inputs.traces;
    if let Some(until) = args.until {
        window.truncate(window.partition_point(|trace| trace.spans()[0].start < until));
    }
    if let Some(since) = args.since {
        let first = window.partition_point(|trace| trace.spans()[0].start < since);
        baseline.traces.extend(window.drain(..first));
    }
    without_outages(|outages| {
        let offline = Offline::new(config).around(interventions);
        let offline = offline.of_masked(args.masked).besides(outages);
        let offline = offline.with(&baseline.traces, &window);
        Ok(Streamed {
            outages: offline.outages(),
            input: offline.input(),
            masked: offline.masked(),
            baseline_traces: baseline.traces.len(),
            window_traces: window.len(),
            unreadable: inputs.unreadable + baseline.unreadable,
        })
    })
}

/// Counts, and where there were outages before the fault once more without these: whoever knows of them knows only
/// afterwards, and mostly there are none.
fn without_outages<E>(counted: impl Fn(&[Outage]) -> Result<Streamed, E>) -> Result<Streamed, E> {
    let streamed = counted(&[])?;
    if streamed.outages.is_empty() {
        return Ok(streamed);
    }
    Ok(Streamed {
        outages: streamed.outages.clone(),
        ..counted(&streamed.outages)?
    })
}

fn show(terminal: &mut Terminal, analysis: &Analysis) -> io::Result<()> {
    terminal.line(format!(
        "{} traces, compared with {} before.",
        analysis.window_traces, analysis.baseline_traces
    ))?;
    if analysis.unreadable > 0 {
        terminal.line(format!("{} could not be read.", analysis.unreadable))?;
    }
    for outage in &analysis.earlier_outages {
        let until = outage
            .until
            .map_or_else(|| "the end of them".to_owned(), |until| until.to_string());
        terminal.line(format!(
            "Not taken for usual: {} failed from {} to {until}.",
            outage.request_type, outage.from
        ))?;
    }
    show_suspects(terminal, &analysis.ranking)?;
    if !analysis.masked.is_empty() {
        let rows = analysis.masked.iter().map(|it| {
            vec![
                plain(it.request_type.to_string()),
                plain(masked(&it.before)),
                plain(masked(&it.now)),
            ]
        });
        let header = ["MASKED FAILURES", "BEFORE", "WITH THE FAULT"];
        terminal.table(&header, rows.collect())?;
    }
    show_left_out(terminal, &analysis.ranking)
}

fn show_suspects(terminal: &mut Terminal, ranking: &Ranking) -> io::Result<()> {
    if let Verdict::NotEnough { missing } = &ranking.verdict {
        let heading = format!("Not enough evidence: what is missing is {missing}.");
        terminal.heading(&heading, Tone::Attention)?;
    }
    let rows = ranking.suspects.iter().enumerate().map(|(at, suspect)| {
        let names: Vec<String> = suspect.components.iter().map(ToString::to_string).collect();
        vec![
            plain((at + 1).to_string()),
            plain(names.join(" or ")),
            plain(words::confidence(ranking.confidence(suspect))),
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
    Ok(())
}

fn show_left_out(terminal: &mut Terminal, ranking: &Ranking) -> io::Result<()> {
    for (reason, n) in ranking.left_out.iter() {
        terminal.line(format!("Left out: {n} {}", reason.in_words()))?;
    }
    Ok(())
}

/// `3 of 40 requests; still hides 75%; 0.10 calls made again per request`.
fn masked(masked: &Masked) -> String {
    let mut said = format!("{} of {} requests", masked.masked, masked.requests);
    if let Some(share) = masked.still_hidden() {
        said.push_str(&format!("; still hides {}", words::percent(share)));
    }
    if let Some(again) = masked.again_per_request().filter(|again| *again > 0.0) {
        said.push_str(&format!("; {again:.2} calls made again per request"));
    }
    said
}

/// A row per component and request type: how often and how long, before and with the fault.
fn tidy(input: &Input) -> Table {
    let timed = &input.timed;
    let parts = |of: &dyn Fn(&Timed) -> String| Cells::Names(timed.iter().map(of).collect());
    let name = |id: usize| input.subjects[id].component.to_string();
    let before: Vec<LogHistogram> = timed.iter().map(|it| timed.lasted(it).before()).collect();
    let now = || timed.iter().map(|it| timed.lasted(it).window());
    let counts = |of: &mut dyn Iterator<Item = &LogHistogram>| {
        Cells::Counts(of.map(|it| Some(it.total())).collect())
    };
    let millis = |of: &mut dyn Iterator<Item = &LogHistogram>, share: f64| {
        let share = Probability::clamped(share);
        let nanos = of.map(|it| it.quantile(share));
        Cells::Numbers(3, nanos.map(|it| Some(it? as f64 / 1e6)).collect())
    };
    Table::of(timed.len())
        .with(
            "measure",
            parts(&|timed| {
                let measure = match timed.part {
                    Part::Whole(_) => "own time and way",
                    Part::Own(_) => "own time",
                    Part::Gap(..) => "way",
                    Part::There(..) => "way there",
                };
                measure.to_owned()
            }),
        )
        .with(
            "from",
            parts(&|timed| match timed.part {
                Part::Whole(_) | Part::Own(_) => String::new(),
                Part::Gap(from, _) | Part::There(from, _) => name(from),
            }),
        )
        .with(
            "component",
            parts(&|timed| match timed.part {
                Part::Whole(id) | Part::Own(id) | Part::Gap(_, id) | Part::There(_, id) => name(id),
            }),
        )
        .with(
            "request_type",
            parts(&|timed| input.request_types[timed.request_type].to_string()),
        )
        .with("calls_before", counts(&mut before.iter()))
        .with("calls_now", counts(&mut now()))
        .with("median_ms_before", millis(&mut before.iter(), 0.5))
        .with("median_ms_now", millis(&mut now(), 0.5))
        .with("p90_ms_before", millis(&mut before.iter(), 0.9))
        .with("p90_ms_now", millis(&mut now(), 0.9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_noticed_by_whatever_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), "").expect("written");
        }
        for (input, baseline, twice) in [
            ("a", "b", false),
            ("a", "a", true),
            ("a", "./a", true),
            ("missing", "missing", false),
        ] {
            let args = AnalyzeArgs {
                inputs: vec![path("b").with_file_name("c"), path(input)],
                baseline: vec![path(baseline)],
                ..AnalyzeArgs::default()
            };
            assert_eq!(named_twice(&args).is_some(), twice, "{input} {baseline}");
        }
    }
}
