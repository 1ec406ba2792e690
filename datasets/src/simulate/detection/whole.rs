//! The whole analysis as the engine runs it, fed with entry spans: it begins without any history, tells
//! the time by ticks, and opens incidents.

use super::USUAL;
use super::site::{Change, Seen, Traffic, play};
use crate::simulate::parallel::over_seeds;
use crate::simulate::random::stream;
use crate::simulate::report::{Mean, Report, Table, number};
use crate::simulate::{Options, SimulateError};

/// The new share of failures: one in twenty is an incident.
const AFTER: f64 = 0.05;
/// Seconds before and after a change.
const CALM: u64 = 1_800;
const WATCHED: u64 = 3_600;

/// Named traffic, and whether its change must be noticed.
fn stories() -> Vec<(&'static str, Traffic, bool)> {
    let calm = Traffic {
        rate: 10.0,
        usual: USUAL,
        burst: USUAL,
        change: Change::None,
    };
    let jump = Change::Jump(AFTER);
    vec![
        ("10 a second, nothing happens", calm, false),
        (
            "10 a second, jump to 5 %",
            Traffic {
                change: jump,
                ..calm
            },
            true,
        ),
        (
            "1 a second, jump to 5 %",
            Traffic {
                rate: 1.0,
                change: jump,
                ..calm
            },
            true,
        ),
        (
            "10 a second, all fail",
            Traffic {
                change: Change::Jump(1.0),
                ..calm
            },
            true,
        ),
        (
            "10 a second, up to 5 % in ten minutes",
            Traffic {
                change: Change::Ramp(AFTER, 600.0),
                ..calm
            },
            true,
        ),
        (
            "a rare type: one in 30 s, half of them fail",
            Traffic {
                rate: 1.0 / 30.0,
                change: Change::Jump(0.5),
                ..calm
            },
            true,
        ),
        (
            "bursts: 1 % of the seconds fail to 10 %; then 5 %",
            Traffic {
                burst: 0.1,
                change: jump,
                ..calm
            },
            true,
        ),
        (
            "10 a second, then none come",
            Traffic {
                change: Change::Stops,
                ..calm
            },
            true,
        ),
    ]
}

/// Adds the table and claims about the whole analysis.
///
/// # Errors
/// Never, but its kin can.
pub(super) fn whole_analysis(options: &Options, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        format!(
            "The whole analysis, {} min after it began; requests come at random (Poisson)",
            CALM / 60
        ),
        &[
            "traffic",
            "false alarms an hour",
            "noticed",
            "after requests",
            "after seconds",
        ],
    );
    for (number_of, (name, traffic, must)) in stories().into_iter().enumerate() {
        let seen: Vec<Seen> = over_seeds(options, |seed| {
            let mut random = stream(seed, &[4, number_of as u64]);
            Ok(play(&traffic, CALM, WATCHED, &mut random))
        })?;
        let false_alarms: u64 = seen.iter().map(|seen| seen.false_alarms).sum();
        let hours = (seen.len() as u64 * CALM) as f64 / 3_600.0;
        let noticed: Vec<(f64, u64)> = seen.iter().filter_map(|seen| seen.after).collect();
        let mean = |of: Vec<f64>| {
            if of.is_empty() {
                "–".to_owned()
            } else {
                Mean::of(&of).words()
            }
        };
        table.row([
            name.to_owned(),
            number(false_alarms as f64 / hours),
            format!("{} of {}", noticed.len(), seen.len()),
            mean(
                noticed
                    .iter()
                    .map(|(_, requests)| *requests as f64)
                    .collect(),
            ),
            mean(noticed.iter().map(|(seconds, _)| *seconds).collect()),
        ]);
        if must {
            report.claim(
                format!("noticed: {name}"),
                format!("{} of {}", noticed.len(), seen.len()),
                noticed.len() == seen.len(),
            );
        }
    }
    report.tables.push(table);
    Ok(())
}
