//! How soon does the detector notice that requests fail, and how often is it wrong?
//!
//! The very detector that the engine runs is fed with made-up requests. How many it needs stands
//! beside the CUSUM that knows both shares, which nothing beats (Moustakides 1986, *Optimal stopping
//! times for detecting changes in distributions*, Annals of Statistics 14), at the same mean time
//! between false alarms. Then what real traffic adds: slow ramps, types that are rarely asked for,
//! failures in bursts, traffic that stops; and long quiet runs, in which every alarm is false.

mod optimal;
mod quiet;
mod site;
mod stops;
mod traffic;
mod whole;

use std::time::Duration;

use rekindle_analysis::{AnalysisConfig, TypeDetector};
use rekindle_model::UnixNanos;

use self::optimal::Optimal;
use self::quiet::{DAY, quiet_runs};
use self::traffic::{Failures, Traffic};
use super::parallel::over_seeds;
use super::report::{Mean, Report, Table, number};
use super::{Options, SimulateError, random};

/// The usual share of failures.
const USUAL: f64 = 0.001;
/// Requests of history before a change: as many as the detector remembers.
const HISTORY: u64 = 200_000;
/// Changes per seed: enough that a hundred seeds know the mean to about one request.
const CHANGES: u64 = 20;
/// A change that isn't found within so many requests isn't found. Ten thousand at 0.1 % are ten
/// failures; whoever needs more isn't looking for a jump.
const AT_MOST: u64 = 200_000;
/// What the issue of the detector asks for, beside the CUSUM.
const WITHIN: f64 = 1.25;

/// A detector of the engine's with this much behind it.
fn experienced(
    config: &AnalysisConfig,
    traffic: &mut Traffic,
    requests: u64,
) -> (TypeDetector, u64) {
    let mut detector = TypeDetector::new(config);
    let mut seen = 0;
    let mut second = 0;
    while seen < requests {
        for bad in traffic.second(second) {
            detector.add(second, UnixNanos::from_secs(second), bad);
            seen += 1;
        }
        // Alarms of the early days are no concern here; what follows is fenced off by a reset.
        detector.settle(second, true, config);
        second += 1;
    }
    detector.reset(false, config);
    (detector, second)
}

/// What was found of a change.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    requests: f64,
    failed: f64,
    seconds: f64,
    missed: bool,
}

/// Feeds traffic from `second` on until the alarm, looking after every request as the engine does.
fn until_alarm(
    config: &AnalysisConfig,
    detector: &mut TypeDetector,
    traffic: &mut Traffic,
    from: u64,
) -> Found {
    let mut found = Found::default();
    let mut second = from;
    loop {
        for bad in traffic.second(second) {
            detector.add(second, UnixNanos::from_secs(second), bad);
            found.requests += 1.0;
            found.failed += f64::from(u8::from(bad));
            if detector.is_alarmed(config) {
                found.seconds = (second - from) as f64 + 1.0;
                return found;
            }
            if found.requests >= AT_MOST as f64 {
                found.missed = true;
                return found;
            }
        }
        second += 1;
        // A minute is what the engine waits for late spans.
        detector.settle(second.saturating_sub(60), false, config);
    }
}

/// Changes after a usual time, over all seeds.
fn changes(
    options: &Options,
    rate: f64,
    usual: Failures,
    then: impl Fn(u64) -> Failures + Sync,
    history: u64,
) -> Result<Vec<Found>, SimulateError> {
    let config = AnalysisConfig::default();
    let runs = over_seeds(options, |seed| {
        let mut traffic = Traffic::new(rate, usual, random::stream(seed, &[1]));
        let (detector, second) = experienced(&config, &mut traffic, history);
        let found = (0..CHANGES).map(|change| {
            let mut detector = detector.clone();
            let chance = random::stream(seed, &[2, change]);
            let mut traffic = Traffic::new(rate, then(second), chance);
            until_alarm(&config, &mut detector, &mut traffic, second)
        });
        Ok(found.collect::<Vec<Found>>())
    })?;
    Ok(runs.into_iter().flatten().collect())
}

fn mean(found: &[Found], of: impl Fn(&Found) -> f64) -> Mean {
    Mean::of(&found.iter().map(of).collect::<Vec<f64>>())
}

/// Simulates.
///
/// # Errors
/// Never, but its kin can.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let config = AnalysisConfig::default();
    let budget = config.time_between_false_alarms.as_secs_f64();
    let mut report = Report {
        scenario: "detection".to_owned(),
        question: "How soon is it noticed that requests fail, and how often by mistake?".to_owned(),
        assumptions: vec![
            format!(
                "one false alarm a week over a hundred request types: one in {:.0} weeks for each",
                budget / (7.0 * DAY as f64)
            ),
            format!(
                "usually {} % fail; the detector isn't told, but has seen {HISTORY} requests \
                 (rare types: two days)",
                USUAL * 100.0
            ),
            "requests come evenly; their ends are known at once".to_owned(),
            "the CUSUM knows both shares, and is tuned to the same time between false alarms"
                .to_owned(),
            format!(
                "{} seeds of {CHANGES} changes each; ± is a 95 % interval",
                options.seeds
            ),
        ],
        ..Report::default()
    };
    jumps(options, budget, &mut report)?;
    ramps(options, &mut report)?;
    rare(options, budget, &mut report)?;
    quiet_runs(options, &mut report)?;
    stops::stops(options, &mut report)?;
    whole::whole_analysis(options, &mut report)?;
    Ok(report)
}

fn jumps(options: &Options, budget: f64, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        format!(
            "Requests until the alarm, when failures jump from {} %",
            USUAL * 100.0
        ),
        &[
            "to",
            "requests a second",
            "CUSUM",
            "ours",
            "times",
            "failed",
            "seconds",
        ],
    );
    for (share, rate) in [
        (0.01, 10.0),
        (0.05, 1.0),
        (0.05, 10.0),
        (0.2, 1.0),
        (0.2, 10.0),
        (1.0, 1.0),
        (1.0, 10.0),
    ] {
        let optimal = Optimal::new(USUAL, share, budget * rate, options.seed);
        let found = changes(
            options,
            rate,
            Failures::Single(USUAL),
            |_| Failures::Single(share),
            HISTORY,
        )?;
        let requests = mean(&found, |found| found.requests);
        let times = requests.mean / optimal.delay;
        table.row([
            format!("{:.0} %", share * 100.0),
            format!("{rate:.0}"),
            number(optimal.delay),
            requests.words(),
            format!("{times:.2}"),
            number(mean(&found, |found| found.failed).mean),
            number(mean(&found, |found| found.seconds).mean),
        ]);
        if (share - 0.05).abs() < 1e-9 {
            report.claim(
                format!("0.1 % to 5 % at {rate:.0}/s within {WITHIN} times the optimal CUSUM"),
                format!(
                    "{} beside {}: {times:.2}",
                    requests.words(),
                    number(optimal.delay)
                ),
                times <= WITHIN,
            );
        }
    }
    report.tables.push(table);

    let mut table = Table::new(
        "The same from 0.1 % to 5 % at 1/s with less history: what is usual is known less well",
        &["requests of history", "requests until the alarm"],
    );
    for history in [0, 1_000, 10_000, 50_000] {
        let found = changes(
            options,
            1.0,
            Failures::Single(USUAL),
            |_| Failures::Single(0.05),
            history,
        )?;
        table.row([
            history.to_string(),
            mean(&found, |found| found.requests).words(),
        ]);
    }
    report.tables.push(table);
    Ok(())
}

fn ramps(options: &Options, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        "Slow ramps from 0.1 % to 10 %, at 10 requests a second",
        &["over", "alarm after", "share by then", "failed by then"],
    );
    for over in [
        Duration::from_secs(60),
        Duration::from_secs(600),
        Duration::from_secs(3600),
    ] {
        let seconds = over.as_secs_f64();
        let ramp = move |from| Failures::Ramp {
            from,
            over: seconds,
            low: USUAL,
            high: 0.1,
        };
        let found = changes(options, 10.0, Failures::Single(USUAL), ramp, HISTORY)?;
        let share = mean(&found, |found| {
            100.0 * (USUAL + (0.1 - USUAL) * (found.seconds / seconds).min(1.0))
        });
        table.row([
            format!("{:.0} min", seconds / 60.0),
            format!("{} s", mean(&found, |found| found.seconds).words()),
            format!("{} %", share.words()),
            number(mean(&found, |found| found.failed).mean),
        ]);
    }
    report.tables.push(table);
    Ok(())
}

fn rare(options: &Options, budget: f64, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        "Rare request types: failures jump from 0.1 %",
        &["one request in", "to", "CUSUM", "ours", "failed", "minutes"],
    );
    for (every, share) in [(10.0, 0.2), (10.0, 1.0), (60.0, 0.2), (60.0, 1.0)] {
        let optimal = Optimal::new(USUAL, share, budget / every, options.seed);
        let history = (2.0 * DAY as f64 / every) as u64;
        let found = changes(
            options,
            1.0 / every,
            Failures::Single(USUAL),
            |_| Failures::Single(share),
            history,
        )?;
        table.row([
            format!("{every:.0} s"),
            format!("{:.0} %", share * 100.0),
            number(optimal.delay),
            mean(&found, |found| found.requests).words(),
            number(mean(&found, |found| found.failed).mean),
            number(mean(&found, |found| found.seconds).mean / 60.0),
        ]);
        if share > 0.99 && every > 59.0 {
            let failed = mean(&found, |found| found.failed);
            report.claim(
                "a type that is asked for once a minute and fails wholly: at most 10 failures",
                number(failed.mean),
                failed.mean <= 10.0,
            );
        }
    }
    report.tables.push(table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Options = Options {
        seed: 1,
        seeds: 3,
        recoveries: 0,
        steps: 0,
    };

    #[test]
    fn a_jump_is_found_nearly_as_soon_as_can_be() {
        let config = AnalysisConfig::default();
        let found = changes(
            &SMALL,
            1.0,
            Failures::Single(USUAL),
            |_| Failures::Single(0.05),
            50_000,
        )
        .expect("runs");
        let optimal = Optimal::new(
            USUAL,
            0.05,
            config.time_between_false_alarms.as_secs_f64(),
            1,
        );
        let times = mean(&found, |found| found.requests).mean / optimal.delay;
        // Sixty runs know the mean to about 7 %; nothing is better than the optimum.
        assert!((0.9..1.45).contains(&times), "{times}");
        assert!(found.iter().all(|found| !found.missed));
    }

    #[test]
    fn the_same_seed_finds_the_same() {
        let found = |seed| {
            let options = Options { seed, ..SMALL };
            let single = |_| Failures::Single(0.2);
            changes(&options, 1.0, Failures::Single(USUAL), single, 2_000)
                .expect("runs")
                .iter()
                .map(|found| found.requests)
                .sum::<f64>()
        };
        assert!((found(1) - found(1)).abs() < 1e-12);
        assert!((found(1) - found(2)).abs() > 1e-12);
    }
}
