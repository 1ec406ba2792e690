//! How fast is a rise of failures noticed, and how often is nothing taken for one?
//!
//! First the detector alone against the fastest there can be, at one budget of false alarms. Then the
//! whole analysis, which has to learn what is usual: jumps, ramps, rare types, bursts, and traffic that
//! stops.

mod cusum;
mod site;

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_stats::{DetectorState, Probability, ShareRise};

use self::cusum::Cusum;
use self::site::{Change, Seen, Traffic, play};
use super::parallel::over_seeds;
use super::random::stream;
use super::report::{Mean, Report, Table, number};
use super::{Options, SimulateError};

/// From so many failures to so many: one in a thousand is a good service, one in twenty an incident.
const BEFORE: f64 = 0.001;
const AFTER: f64 = 0.05;
/// One false alarm a week for so many request types.
const TYPES: f64 = 100.0;
const WEEK_SECONDS: f64 = 604_800.0;
/// How much slower than the optimum it may be.
const SLOWER: f64 = 1.25;
/// Rises per seed.
const RISES: u64 = 20;
/// False alarms per seed, and the promised requests between two of them in this measurement: enough
/// that what an alarm overshoots by has settled, few enough to wait for.
const FALSE_ALARMS: u64 = 5;
const MEASURED_AT: f64 = 2_000.0;
/// Seconds before and after a change when the whole analysis watches.
const CALM: u64 = 1_800;
const WATCHED: u64 = 3_600;

/// The detector as it runs: a slice per second, looked at after each request.
struct Watcher {
    rise: ShareRise,
    closed: DetectorState,
    counted: (u64, u64),
    per_slice: u64,
}

impl Watcher {
    fn new(per_slice: u64) -> Self {
        Self {
            rise: ShareRise::above(Probability::clamped(BEFORE)),
            closed: DetectorState::default(),
            counted: (0, 0),
            per_slice,
        }
    }

    /// One more request; the evidence after it.
    fn request(&mut self, failed: bool) -> f64 {
        if failed {
            self.counted.0 += 1;
        } else {
            self.counted.1 += 1;
        }
        let open = self.rise.step(self.closed, self.counted.0, self.counted.1);
        if self.counted.0 + self.counted.1 >= self.per_slice {
            (self.closed, self.counted) = (open, (0, 0));
        }
        open.value()
    }
}

/// The evidence at a false alarm, over the threshold, and requests until then. By optional stopping the
/// mean of the evidence at an alarm *is* the mean number of requests until it, and varies less.
fn false_alarm(random: &mut StdRng, per_slice: u64) -> (f64, f64) {
    let mut watcher = Watcher::new(per_slice);
    let mut requests = 0.0;
    loop {
        requests += 1.0;
        let evidence = watcher.request(random.random::<f64>() < BEFORE);
        if evidence >= MEASURED_AT {
            return (evidence / MEASURED_AT, requests / MEASURED_AT);
        }
    }
}

/// Requests from the rise to the alarm, after so many calm ones.
fn delay(random: &mut StdRng, per_slice: u64, threshold: f64) -> f64 {
    let mut watcher = Watcher::new(per_slice);
    for _ in 0..1_000 {
        watcher.request(random.random::<f64>() < BEFORE);
    }
    let mut requests = 0.0;
    loop {
        requests += 1.0;
        if watcher.request(random.random::<f64>() < AFTER) >= threshold {
            return requests;
        }
    }
}

/// What one seed says of one rate: overshoot, mean run, our delay, the optimum's, all means.
fn one_seed(seed: u64, rate: u64, cusum: &Cusum, threshold: Option<f64>) -> [f64; 4] {
    let mut sums = [0.0; 4];
    match threshold {
        None => {
            let mut random = stream(seed, &[1, rate]);
            for _ in 0..FALSE_ALARMS {
                let (evidence, run) = false_alarm(&mut random, rate);
                sums[0] += evidence / FALSE_ALARMS as f64;
                sums[1] += run / FALSE_ALARMS as f64;
            }
        }
        Some(threshold) => {
            let mut random = stream(seed, &[2, rate]);
            for _ in 0..RISES {
                sums[2] += delay(&mut random, rate, threshold) / RISES as f64;
                sums[3] += cusum.delay(&mut random) as f64 / RISES as f64;
            }
        }
    }
    sums
}

/// The scenario.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let mut report = Report {
        scenario: "detection".to_owned(),
        question: "How fast is a rise of failures noticed, and how often is nothing taken for one?"
            .to_owned(),
        assumptions: vec![
            format!("budget: one false alarm a week for {TYPES} request types"),
            "the optimum is a CUSUM that knows both shares, with the same budget".to_owned(),
            "requests of a type come at random (Poisson) where the whole analysis watches"
                .to_owned(),
            format!(
                "the whole analysis, with its default configuration, sees {CALM} calm seconds first"
            ),
        ],
        ..Report::default()
    };
    against_optimum(options, &mut report)?;
    whole_analysis(options, &mut report)?;
    Ok(report)
}

fn against_optimum(options: &Options, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        format!(
            "Requests until a rise from {BEFORE} to {AFTER} is noticed, at a budget of one false alarm a \
             week for {TYPES} types"
        ),
        &[
            "a second",
            "requests between false alarms",
            "per promised one",
            "ours",
            "optimum",
            "ratio",
        ],
    );
    for rate in [1, 10] {
        let budget = TYPES * WEEK_SECONDS * rate as f64;
        let mut random = stream(options.seed, &[3, rate]);
        let cusum = Cusum::with_budget(BEFORE, AFTER, budget, &mut random);
        let column =
            |of: &[[f64; 4]], at: usize| -> Vec<f64> { of.iter().map(|seed| seed[at]).collect() };
        let calm = over_seeds(options, |seed| Ok(one_seed(seed, rate, &cusum, None)))?;
        let overshoot = Mean::of(&column(&calm, 0));
        let run = Mean::of(&column(&calm, 1));
        report.claim(
            format!("at {rate} a second, no more false alarms than promised"),
            format!("{} times as many requests between two", run.words()),
            run.mean + run.half_width >= 1.0,
        );
        // An alarm oversteps the threshold by a whole failure's weight, so it may be lower than promised.
        let threshold = budget / overshoot.mean;
        let found = over_seeds(options, |seed| {
            Ok(one_seed(seed, rate, &cusum, Some(threshold)))
        })?;
        let (ours, optimum) = (Mean::of(&column(&found, 2)), Mean::of(&column(&found, 3)));
        let ratio = ours.mean / optimum.mean;
        table.row([
            rate.to_string(),
            format!("{budget:.3e}"),
            overshoot.words(),
            ours.words(),
            optimum.words(),
            number(ratio),
        ]);
        report.claim(
            format!("at {rate} a second, noticed within {SLOWER} times the optimum"),
            number(ratio),
            ratio <= SLOWER,
        );
    }
    report.tables.push(table);
    Ok(())
}

/// Named traffic, and whether its change must be noticed.
fn stories() -> Vec<(&'static str, Traffic, bool)> {
    let calm = Traffic {
        rate: 10.0,
        usual: BEFORE,
        burst: BEFORE,
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
            false,
        ),
    ]
}

fn whole_analysis(options: &Options, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        format!("The whole analysis, {WATCHED} s watched at most"),
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
