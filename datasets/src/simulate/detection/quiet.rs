//! Long runs in which nothing changes: every alarm is false. And what the calm costs where failures
//! come in bursts: the detector must become slower there, and only there.

use rekindle_analysis::{AnalysisConfig, TypeDetector};
use rekindle_model::UnixNanos;

use super::traffic::{Failures, Traffic};
use super::{USUAL, changes, mean};
use crate::simulate::parallel::over_seeds;
use crate::simulate::report::{Report, Table, number};
use crate::simulate::{Options, SimulateError, random};

/// Seconds of a day.
pub(super) const DAY: u64 = 24 * 3600;
/// Days per type and run; the first teach what is usual.
const DAYS: u64 = 7;
const LEARNING_DAYS: u64 = 2;
/// A budget so much larger, because at the true one there is hardly anything to count.
pub(super) const LARGER: f64 = 100.0;
/// What a geometric length of bursts is called.
const UNEVEN: &str = "0.1 %, bursts of 3 on average, some long";
/// An incident of a false alarm is over after so many seconds.
const INCIDENT: u64 = 40;

/// Alarms of one type: while it learns, and afterwards.
fn alarms(config: &AnalysisConfig, traffic: &mut Traffic) -> (u64, u64) {
    let mut detector = TypeDetector::new(config);
    let mut alarms = (0, 0);
    let mut closes_at = None;
    for second in 0..DAYS * DAY {
        let requests = traffic.second(second);
        let may_alarm = requests.contains(&true);
        for bad in requests {
            detector.add(second, UnixNanos::from_secs(second), bad);
        }
        let is_open = closes_at.is_some();
        // The engine does so several times a second; once in ten changes nothing but the time.
        if second % 10 == 0 {
            detector.settle(second.saturating_sub(60), !is_open, config);
        }
        if closes_at == Some(second) {
            detector.reset(true, config);
            closes_at = None;
        } else if !is_open && may_alarm && detector.is_alarmed(config) {
            if second < LEARNING_DAYS * DAY {
                alarms.0 += 1;
            } else {
                alarms.1 += 1;
            }
            closes_at = Some(second + INCIDENT);
        }
    }
    alarms
}

/// The most alarms that a promise of `expected` allows: more come by luck in less than one case of a
/// thousand (Poisson).
pub(super) fn allowed(expected: f64) -> u64 {
    let mut alarms = 0;
    let mut term = (-expected).exp();
    let mut below = term;
    while below < 0.999 {
        alarms += 1;
        term *= expected / alarms as f64;
        below += term;
    }
    alarms
}

/// Adds the tables and claims about false alarms.
///
/// # Errors
/// Never, but its kin can.
pub(super) fn quiet_runs(options: &Options, report: &mut Report) -> Result<(), SimulateError> {
    let mut table = Table::new(
        format!(
            "False alarms: {} request types, {DAYS} days each, nothing changes",
            options.seeds
        ),
        &[
            "failures",
            "requests a second",
            "budget",
            "allowed after 2 days",
            "seen",
            "in the first 2 days",
        ],
    );
    let weeks = f64::from(options.seeds) * (DAYS - LEARNING_DAYS) as f64 / 7.0;
    let single = Failures::Single(USUAL);
    let bursts = |is_geometric| Failures::Bursts {
        share: USUAL,
        length: 3,
        is_geometric,
    };
    let wandering = Failures::Wandering {
        share: 0.01,
        seconds: 600,
    };
    for (name, failures, rate, larger) in [
        ("0.1 %, each by itself", single, 1.0, 1.0),
        ("0.1 %, each by itself", single, 1.0, LARGER),
        ("2 %, each by itself", Failures::Single(0.02), 1.0, LARGER),
        ("0.1 %, once in 10 s", single, 0.1, LARGER),
        ("0.1 %, bursts of 3", bursts(false), 1.0, 1.0),
        ("0.1 %, bursts of 3", bursts(false), 1.0, LARGER),
        (UNEVEN, bursts(true), 1.0, 1.0),
        (
            "1 % on average, another share every 10 min",
            wandering,
            1.0,
            LARGER,
        ),
    ] {
        let mut config = AnalysisConfig::default();
        config.time_between_false_alarms = config.time_between_false_alarms.div_f64(larger);
        config.requests_between_false_alarms /= larger;
        let expected = weeks * larger / 100.0;
        let seen = over_seeds(options, |seed| {
            let chance = random::stream(seed, &[4]);
            Ok(alarms(&config, &mut Traffic::new(rate, failures, chance)))
        })?;
        let (early, late) = seen
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let of = if larger > 1.0 {
            "× 100"
        } else {
            "as promised"
        };
        table.row([
            name.to_owned(),
            number(rate),
            of.to_owned(),
            number(expected),
            late.to_string(),
            early.to_string(),
        ]);
        // No promise is made where long bursts come out of nowhere, or where the share really
        // changes: whoever knows no more than we do can't tell them from a fault.
        if name == UNEVEN || matches!(failures, Failures::Wandering { .. }) {
            continue;
        }
        report.claim(
            format!("false alarms at {name}, {rate}/s, budget {of}: no more than promised"),
            format!("{late} where {} are allowed", number(expected)),
            late <= allowed(expected),
        );
    }
    report.tables.push(table);

    let mut table = Table::new(
        "What bursts cost: requests until the alarm, from 0.1 % to 5 % at 1/s, after two days",
        &["usual failures", "requests"],
    );
    for (name, usual) in [
        ("each by itself", single),
        ("bursts of 3", bursts(false)),
        ("bursts of 3 on average, some long", bursts(true)),
    ] {
        let then = |_| Failures::Single(0.05);
        let found = changes(options, 1.0, usual, then, LEARNING_DAYS * DAY)?;
        table.row([
            name.to_owned(),
            mean(&found, |found| found.requests).words(),
        ]);
    }
    report.tables.push(table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_a_poisson_bound() {
        // SciPy: poisson.ppf(0.999, ...)
        assert_eq!([0.1, 1.0, 71.0].map(allowed), [2, 5, 98]);
    }
}
