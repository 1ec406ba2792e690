//! What do mistakes cost when restarts are small: a wrong suspect, a late alarm?
//!
//! The microreboot paper's two sweeps (OSDI 2004): how many useless microreboots one process restart
//! buys, and how late the alarm may come for a microreboot to still fail fewer requests than a
//! process restart at once.

use std::time::SystemTime;

use rekindle_recovery::{Policy, UnitName};

use super::parallel::over_seeds;
use super::report::{Mean, Report, Table, number};
use super::ward::{Ordered, by_order};
use super::world::{Cure, Fault, Mix, REQUESTS_PER_SECOND, Site};
use super::{Options, SimulateError};

/// Faults per seed, at most.
const FAULTS: u64 = 2;
/// What the paper measured: failed requests of a microreboot and of a process restart.
const PUBLISHED: (f64, f64) = (78.0, 3917.0);
/// The alarm comes after this many seconds, where that isn't what is swept.
const DETECTION: f64 = 2.0;
/// So many useless microreboots are ordered before the right one.
const USELESS: [usize; 7] = [0, 1, 2, 4, 9, 19, 30];
/// The alarm comes after so many seconds, where that is swept.
const DELAYS: [f64; 6] = [0.0, 5.0, 15.0, 30.0, 60.0, 120.0];
/// Of all requests so many pass through the sick bean.
const SHARES: [f64; 4] = [0.05, 0.1, 0.3, 1.0];

/// Faults that the restart of one bean cures, which is what the sweeps are about, by their numbers.
fn faults(site: &Site, seed: u64, count: u64) -> Vec<(u64, Fault)> {
    let mix = Mix::of(seed);
    // What is told when is the ward's to say.
    let numbered =
        (0..count * 50).map(|number| (number, mix.fault(site, number, SystemTime::UNIX_EPOCH)));
    let in_bean = numbered.filter(|(_, fault)| {
        fault.cure == Cure::Restart(fault.shows_in.clone()) && fault.is_in_bean(site)
    });
    in_bean.take(count as usize).collect()
}

/// The mean of each line of orders, over faults.
fn means(failed: &[f64], faults: usize) -> Vec<f64> {
    let lines = failed.chunks(faults.max(1));
    lines.map(|line| Mean::of(line).mean).collect()
}

/// Failed requests per fault, by how many other beans are restarted before the right one; last, of a process restart at
/// once.
fn with_useless(site: &Site, seed: u64, count: u64) -> Result<Vec<f64>, SimulateError> {
    let faults = faults(site, seed, count);
    let ordered = |(number, fault): &(u64, Fault), units| Ordered {
        fault: fault.clone(),
        number: *number,
        after: DETECTION,
        units,
    };
    let mut all = Vec::new();
    for useless in USELESS {
        all.extend(faults.iter().map(|numbered| {
            let sick = &numbered.1.shows_in;
            let others = site.beans().filter(|bean| bean != sick);
            let mut units: Vec<UnitName> = others.cycle().take(useless).collect();
            units.push(sick.clone());
            ordered(numbered, units)
        }));
    }
    all.extend(
        faults
            .iter()
            .map(|numbered| ordered(numbered, vec!["server".into()])),
    );
    Ok(means(&by_order(seed, site, all)?, faults.len()))
}

/// Failed requests per fault that all requests through the sick bean meet, where such a share of all passes through it, by
/// when its restart is ordered; last, of a process restart at once.
fn with_delay(site: &Site, seed: u64, share: f64, count: u64) -> Result<Vec<f64>, SimulateError> {
    let mut faults = faults(site, seed, count);
    for (_, fault) in &mut faults {
        fault.severity = 1.0;
    }
    let ordered = |(number, fault): &(u64, Fault), after, unit| Ordered {
        fault: fault.clone(),
        number: *number,
        after,
        units: vec![unit],
    };
    let mut all = Vec::new();
    for delay in DELAYS {
        all.extend(
            faults
                .iter()
                .map(|it| ordered(it, delay, it.1.shows_in.clone())),
        );
    }
    all.extend(faults.iter().map(|it| ordered(it, 0.0, "server".into())));
    Ok(means(
        &by_order(seed, &site.with_share(share), all)?,
        faults.len(),
    ))
}

/// Over all seeds, the means by line.
fn by_line(seeds: &[Vec<f64>]) -> Vec<Mean> {
    let lines = seeds.iter().map(Vec::len).max().unwrap_or(0);
    let line =
        |at: usize| -> Vec<f64> { seeds.iter().filter_map(|it| it.get(at).copied()).collect() };
    (0..lines).map(|at| Mean::of(&line(at))).collect()
}

fn faults_per_seed(options: &Options) -> u64 {
    options.recoveries.clamp(1, FAULTS)
}

fn common_assumptions(options: &Options) -> Vec<String> {
    vec![
        "the site of `policies`; faults that the restart of one session bean cures".to_owned(),
        format!(
            "a failed request counts once; the paper counts all requests of a user's action when \
             one fails, which is why its microreboot costs {} and ours a few",
            PUBLISHED.0
        ),
        format!("{} seeds of {} faults", options.seeds, faults_per_seed(options)),
        "by recovery's service in virtual time, through the executors' trait: restarts are a person's orders, judged by its \
         judge, the next when the last has its verdict, whatever that is; nothing else is restarted"
            .to_owned(),
    ]
}

/// The false-positive sweep.
///
/// # Errors
/// When the service did what it must not, or has nowhere to live.
pub(super) fn false_positives(options: &Options) -> Result<Report, SimulateError> {
    let site = Site::new();
    let mut report = Report {
        scenario: "false-positives".to_owned(),
        question: "How many useless microreboots does one process restart buy?".to_owned(),
        assumptions: common_assumptions(options),
        ..Report::default()
    };
    report.assumptions.push(
        "each useless microreboot is of a healthy bean, and is judged before the next".into(),
    );

    let away = Policy::default().in_flight.as_secs_f64();
    let mut alone = Table::new(
        "Failed requests of one restart while all is well",
        &[
            "",
            "microreboot",
            "process restart",
            "useless ones per process restart",
        ],
    );
    let costs: Vec<f64> = site
        .beans()
        .map(|bean| site.traffic(&bean) * (site.usual(&bean) + away))
        .collect();
    let bean = Mean::of(&costs).mean;
    let process = REQUESTS_PER_SECOND * (site.usual(&"server".into()) + away);
    let buys = process / bean - 1.0;
    alone.row([
        "published".to_owned(),
        number(PUBLISHED.0),
        number(PUBLISHED.1),
        format!("{:.0}", PUBLISHED.1 / PUBLISHED.0 - 1.0),
    ]);
    alone.row([
        "ours, mean over beans".to_owned(),
        number(bean),
        number(process),
        format!("{buys:.0}"),
    ]);
    report.tables.push(alone);

    let mut sweep = Table::new(
        "Failed requests per fault, alarm to cure, by the share of microreboots that are useless",
        &[
            "useless",
            "useless per fault",
            "microreboots",
            "process restart at once",
        ],
    );
    let count = faults_per_seed(options);
    let seeds = over_seeds(options, |seed| with_useless(&site, seed, count))?;
    let mut costs = by_line(&seeds);
    let process = costs.pop().unwrap_or(Mean::of(&[]));
    let mut break_even = None;
    let mut most = 0;
    for (useless, cost) in USELESS.into_iter().zip(costs) {
        if cost.mean <= process.mean {
            most = useless;
        } else if break_even.is_none() {
            break_even = Some(useless);
        }
        sweep.row([
            format!("{:.0} %", 100.0 * useless as f64 / (useless + 1) as f64),
            useless.to_string(),
            cost.words(),
            process.words(),
        ]);
    }
    report.tables.push(sweep);
    report.claim(
        "one process restart buys at least the published 49 useless microreboots",
        format!("{buys:.0}"),
        buys >= 49.0,
    );
    report.claim(
        "during a fault, where each useless one also costs its verdict, at least 9",
        match break_even {
            Some(above) => format!("between {most} and {above}"),
            None => format!("more than {most}"),
        },
        most >= 9,
    );
    Ok(report)
}

/// The detection-delay sweep.
///
/// # Errors
/// When the service did what it must not, or has nowhere to live.
pub(super) fn detection_delay(options: &Options) -> Result<Report, SimulateError> {
    let site = Site::new();
    let mut report = Report {
        scenario: "detection-delay".to_owned(),
        question: "How late may a microreboot come and still fail fewer requests than a process \
                   restart at once?"
            .to_owned(),
        assumptions: common_assumptions(options),
        ..Report::default()
    };
    report.assumptions.push(
        "all requests through the sick bean fail; how many those are decides, so it is swept too"
            .into(),
    );
    let mut table = Table::new(
        "Failed requests per fault, by the share of requests that pass through the sick bean",
        &["alarm after", "5 %", "10 %", "30 %", "all"],
    );
    let count = faults_per_seed(options);
    let mut columns: Vec<Vec<Mean>> = Vec::new();
    for share in SHARES {
        let seeds = over_seeds(options, |seed| with_delay(&site, seed, share, count))?;
        columns.push(by_line(&seeds));
    }
    let names = DELAYS.map(|delay| format!("{delay:.0} s"));
    let names = names
        .into_iter()
        .chain(["process restart at once".to_owned()]);
    for (line, name) in names.enumerate() {
        let cells = columns.iter().map(|column| number(column[line].mean));
        table.row(std::iter::once(name).chain(cells));
    }
    // What a delay costs is a line: its break-even from the two ends.
    let last = DELAYS.len() - 1;
    let break_even: Vec<f64> = columns
        .iter()
        .map(|column| {
            let (at_once, process) = (column[0].mean, column[last + 1].mean);
            (process - at_once) * DELAYS[last] / (column[last].mean - at_once)
        })
        .collect();
    table.row(
        std::iter::once("break-even".to_owned())
            .chain(break_even.iter().map(|delay| format!("{delay:.1} s"))),
    );
    report.tables.push(table);
    report.claim(
        "a bean that 30 % of the requests pass through: later than the published 53.5 s",
        format!("{:.1} s", break_even[2]),
        break_even[2] >= 53.5,
    );
    Ok(report)
}
