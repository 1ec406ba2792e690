//! `rekindle simulate`: what recovery would do in a world that really heals or doesn't.

use std::io;

use anyhow::Context;
use rekindle_datasets::simulate::{Options, Report, Scenario, run};

use super::Failure;
use super::args::{SimulateArgs, SimulateScenario};
use super::tables::put;
use super::terminal::{Terminal, Tone, plain};
use crate::exit::Exit;

pub(super) fn simulate(terminal: &mut Terminal, args: &SimulateArgs) -> Result<Exit, Failure> {
    let scenario = match args.scenario {
        SimulateScenario::Policies => Scenario::Policies,
        SimulateScenario::Mercury => Scenario::Mercury,
        SimulateScenario::FalsePositives => Scenario::FalsePositives,
        SimulateScenario::DetectionDelay => Scenario::DetectionDelay,
        SimulateScenario::Detection => Scenario::Detection,
        SimulateScenario::Rejuvenation => Scenario::Rejuvenation,
        SimulateScenario::Safety => Scenario::Safety,
    };
    let options = Options {
        seed: args.seed,
        seeds: args.seeds,
        recoveries: args.recoveries,
        steps: args.steps,
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
