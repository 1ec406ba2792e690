//! `rekindle simulate`: what recovery would do in a world that really heals or doesn't.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rekindle_datasets::simulate::{Options, Report, Scenario, Script, ScriptError, Told, run};
use serde::Serialize;

use super::Failure;
use super::args::{SimulateArgs, SimulateScenario};
use super::tables::put;
use super::terminal::{Terminal, Tone, plain};
use crate::exit::Exit;

pub(super) fn simulate(terminal: &mut Terminal, args: &SimulateArgs) -> Result<Exit, Failure> {
    if args.scenario != SimulateScenario::Story && !args.files.is_empty() {
        let what = "only `simulate story` plays files";
        return Err(Failure::Usage(what.to_owned()));
    }
    if args.scenario == SimulateScenario::Story {
        for_a_story(args)?;
    }
    let scenario = match args.scenario {
        SimulateScenario::Story => return stories(terminal, &args.files),
        SimulateScenario::Policies => Scenario::Policies,
        SimulateScenario::Mercury => Scenario::Mercury,
        SimulateScenario::FalsePositives => Scenario::FalsePositives,
        SimulateScenario::DetectionDelay => Scenario::DetectionDelay,
        SimulateScenario::Detection => Scenario::Detection,
        SimulateScenario::Rejuvenation => Scenario::Rejuvenation,
        SimulateScenario::Safety => Scenario::Safety,
    };
    let usual = Options::default();
    let options = Options {
        seed: args.seed.unwrap_or(usual.seed),
        seeds: args.seeds.unwrap_or(usual.seeds),
        recoveries: args.recoveries.unwrap_or(usual.recoveries),
        steps: args.steps.unwrap_or(usual.steps),
    };
    let report = run(scenario, &options).context("simulating")?;
    if let Some(file) = &args.csv {
        put(file, report.csv().as_bytes())?;
    }
    if let Some(file) = &args.plot {
        let Some(plot) = &report.plot else {
            let scenario = &report.scenario;
            return Err(Failure::Usage(format!("{scenario} has no curve to plot")));
        };
        std::fs::write(file, plot.svg()).with_context(|| format!("writing {}", file.display()))?;
    }
    terminal.answer(&report, show)?;
    Ok(if report.holds() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// Refuses what a story has no use for.
fn for_a_story(args: &SimulateArgs) -> Result<(), Failure> {
    if args.csv.is_some() || args.plot.is_some() {
        let what = "a story has no table and no curve; `-o json` tells it to programs";
        return Err(Failure::Usage(what.to_owned()));
    }
    let given = [
        ("--seed", args.seed.is_some()),
        ("--seeds", args.seeds.is_some()),
        ("--recoveries", args.recoveries.is_some()),
        ("--steps", args.steps.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::Usage(format!(
            "a story has no dice and says itself what happens; leave {option} away"
        ))),
    }
}

/// What came of one file.
#[derive(Serialize)]
struct Played {
    file: PathBuf,
    #[serde(flatten)]
    told: Told,
}

fn stories(terminal: &mut Terminal, files: &[PathBuf]) -> Result<Exit, Failure> {
    if files.is_empty() {
        let what = "say which stories: `rekindle simulate story FILE`; `rekindle simulate --help` says how one is written";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut all = Vec::new();
    for file in files {
        let named = || format!("`{}`", file.display());
        let text = read(file).with_context(|| format!("reading {}", named()))?;
        let script: Result<Script, ScriptError> = text.parse();
        let script =
            script.map_err(|error| Failure::Usage(format!("{} is no story: {error}", named())))?;
        let told = script
            .play()
            .with_context(|| format!("playing {}", named()))?;
        let file = file.clone();
        all.push(Played { file, told });
    }
    let is_sound = all.iter().all(|one| one.told.crimes.is_empty());
    terminal.answer(&all, |terminal, all| {
        for (place, one) in all.iter().enumerate() {
            if all.len() > 1 {
                terminal.heading(&one.file.display().to_string(), Tone::Plain)?;
            }
            for line in one.told.to_string().lines() {
                terminal.line(line)?;
            }
            if place + 1 < all.len() {
                terminal.line("")?;
            }
        }
        Ok(())
    })?;
    Ok(if is_sound { Exit::Ok } else { Exit::Failed })
}

/// A file's text, or the standard input's, which is called `-`.
fn read(file: &Path) -> io::Result<String> {
    match file == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(file),
    }
}

fn show(terminal: &mut Terminal, report: &Report) -> io::Result<()> {
    terminal.heading(&report.question, Tone::Plain)?;
    for assumption in &report.assumptions {
        terminal.line(format!("- {assumption}"))?;
    }
    for table in &report.tables {
        terminal.line("")?;
        terminal.heading(&table.title, Tone::Plain)?;
        let header: Vec<&str> = table.header.iter().map(String::as_str).collect();
        let rows = table
            .rows
            .iter()
            .map(|row| row.iter().map(plain).collect())
            .collect();
        terminal.table(&header, rows)?;
    }
    for claim in &report.claims {
        let (word, tone) = if claim.holds {
            ("holds", Tone::Good)
        } else {
            ("DOES NOT HOLD", Tone::Bad)
        };
        terminal.heading(&format!("{word}: {} ({})", claim.claim, claim.found), tone)?;
    }
    Ok(())
}
