//! Requests that stop coming: how soon that is noticed, and how often by mistake while they only ebb, come in
//! bursts, in batches or in jobs. The very statistic that the engine uses, by the clock of a service that is
//! heard all the time.

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_analysis::AnalysisConfig;
use rekindle_stats::Arrivals;

use super::quiet::{DAY, LARGER, allowed};
use crate::simulate::parallel::over_seeds;
use crate::simulate::random::{poisson, stream};
use crate::simulate::report::{Mean, Report, Table, number};
use crate::simulate::{Options, SimulateError};

/// Days per type and run; the first one teaches how long pauses are, and its alarms are counted by themselves:
/// nothing is promised of them.
const DAYS: u64 = 4;
const LEARNING_DAYS: u64 = 1;
/// Nobody waits longer for an alarm.
const AT_MOST: u64 = 4 * 3_600;

/// How requests come.
#[derive(Clone, Copy, Debug)]
enum Coming {
    /// By chance, evenly.
    Evenly,
    /// By chance; at night a tenth of what comes by day.
    Tides,
    /// In clumps of ten.
    Clumps,
    /// Evenly, and sent every five seconds.
    Batches,
    /// All that a minute brings in its first five seconds.
    Jobs,
}

/// How many of so many a second on average come in this second.
fn come(coming: Coming, rate: f64, second: u64, random: &mut StdRng) -> u64 {
    match coming {
        Coming::Evenly => poisson(random, rate),
        Coming::Tides => {
            let day = (second % DAY) as f64 / DAY as f64;
            poisson(
                random,
                rate * (1.0 - 0.82 * (std::f64::consts::TAU * day).cos()),
            )
        }
        Coming::Clumps => 10 * poisson(random, rate / 10.0),
        Coming::Batches if second.is_multiple_of(5) => poisson(random, 5.0 * rate),
        Coming::Jobs if second % 60 < 5 => poisson(random, 12.0 * rate),
        Coming::Batches | Coming::Jobs => 0,
    }
}

/// What one type saw.
struct Seen {
    /// False alarms after the first day, at each bar.
    alarms: [u64; 2],
    /// Those of the first day, at the first bar: nobody knows yet how long its pauses are.
    while_learning: u64,
    /// The seconds from its end to the alarm.
    after: u64,
}

fn play(coming: Coming, rate: f64, bars: [f64; 2], random: &mut StdRng) -> Seen {
    let mut arrivals = Arrivals::default();
    let mut alarms = [0; 2];
    let mut while_learning = 0;
    let mut most: f64 = 0.0;
    // It ends at any time of the day.
    let end = DAYS * DAY + random.random_range(0..DAY);
    for second in 0..end {
        most = most.max(arrivals.silence(second).map_or(0.0, |it| it.evidence));
        for _ in 0..come(coming, rate, second, random) {
            let pause = arrivals.add(second);
            arrivals.learn_pause(pause);
            if second < LEARNING_DAYS * DAY {
                while_learning += u64::from(most >= bars[0]);
            } else if second < DAYS * DAY {
                for (alarms, bar) in alarms.iter_mut().zip(bars) {
                    *alarms += u64::from(most >= bar);
                }
            }
            most = 0.0;
        }
    }
    let noticed = |silent: &u64| {
        let silence = arrivals.silence(end + silent);
        silence.is_some_and(|silence| silence.evidence >= bars[0])
    };
    Seen {
        alarms,
        while_learning,
        after: (0..AT_MOST).find(noticed).unwrap_or(AT_MOST),
    }
}

/// Adds the table and claims about traffic that stops.
///
/// # Errors
/// Never, but its kin can.
pub(super) fn stops(options: &Options, report: &mut Report) -> Result<(), SimulateError> {
    let bar = AnalysisConfig::default()
        .time_between_false_alarms
        .as_secs_f64();
    let mut table = Table::new(
        format!(
            "Traffic that stops; before, {} request types of {} days each, after a first one",
            options.seeds,
            DAYS - LEARNING_DAYS
        ),
        &[
            "requests come",
            "a second",
            "seconds until noticed",
            "false alarms",
            "at a budget × 100",
            "allowed",
            "false alarms on the first day",
        ],
    );
    let weeks = f64::from(options.seeds) * (DAYS - LEARNING_DAYS) as f64 / 7.0;
    let expected = weeks / 100.0;
    for (number_of, (name, coming, rate)) in [
        ("evenly", Coming::Evenly, 10.0),
        ("evenly", Coming::Evenly, 1.0),
        ("evenly", Coming::Evenly, 0.1),
        ("with tides, at night a tenth", Coming::Tides, 1.0),
        ("in clumps of ten", Coming::Clumps, 1.0),
        ("in batches, every 5 s", Coming::Batches, 1.0),
        ("in jobs, every minute", Coming::Jobs, 1.0),
    ]
    .into_iter()
    .enumerate()
    {
        let seen = over_seeds(options, |seed| {
            let mut random = stream(seed, &[5, number_of as u64]);
            Ok(play(coming, rate, [bar, bar / LARGER], &mut random))
        })?;
        let false_alarms = |at: usize| seen.iter().map(|seen| seen.alarms[at]).sum::<u64>();
        let after: Vec<f64> = seen.iter().map(|seen| seen.after as f64).collect();
        let first_day: u64 = seen.iter().map(|seen| seen.while_learning).sum();
        let (promised, larger) = (false_alarms(0), false_alarms(1));
        table.row([
            name.to_owned(),
            number(rate),
            Mean::of(&after).words(),
            promised.to_string(),
            larger.to_string(),
            format!("{}, {}", allowed(expected), allowed(LARGER * expected)),
            first_day.to_string(),
        ]);
        report.claim(
            format!(
                "no more false alarms of silence than promised, from the second day on: {name}, {rate}/s"
            ),
            format!("{promised} and, at a budget × 100, {larger}"),
            promised <= allowed(expected) && larger <= allowed(LARGER * expected),
        );
        report.claim(
            format!("noticed that nothing comes: {name}, {rate}/s"),
            format!("after {} s", Mean::of(&after).words()),
            after.iter().all(|after| *after < AT_MOST as f64),
        );
    }
    report.tables.push(table);
    Ok(())
}
