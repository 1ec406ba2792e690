//! What do mistakes cost when restarts are small: a wrong suspect, a late alarm?
//!
//! The microreboot paper's two sweeps (OSDI 2004): how many useless microreboots one process restart
//! buys, and how late the alarm may come for a microreboot to still fail fewer requests than a
//! process restart at once.

use std::time::{Duration, SystemTime};

use rekindle_recovery::{Policy, UnitName};

use super::parallel::over_seeds;
use super::play::{Decider, play_after};
use super::report::{Mean, Report, Table, number};
use super::world::{Cure, Fault, Mix, REQUESTS_PER_SECOND, Site};
use super::{Options, SimulateError};

/// Faults per seed.
const FAULTS: u64 = 20;
/// What the paper measured: failed requests of a microreboot and of a process restart.
const PUBLISHED: (f64, f64) = (78.0, 3917.0);
/// The alarm comes after this many seconds, where that isn't what is swept.
const DETECTION: f64 = 2.0;

/// Faults that the restart of one bean cures, which is what the sweeps are about.
fn faults(site: &Site, seed: u64) -> Vec<Fault> {
    let mix = Mix::of(seed);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut found = Vec::new();
    for number in 0..FAULTS * 50 {
        let fault = mix.fault(site, number, start);
        if fault.cure == Cure::Restart(fault.shows_in.clone()) && fault.is_in_bean(site) {
            found.push(fault);
        }
        if found.len() as u64 == FAULTS {
            break;
        }
    }
    found
}

/// Failed requests per fault, if so many other beans are restarted before the right one.
fn with_useless(
    site: &Site,
    seed: u64,
    useless: impl Fn(u64) -> usize,
) -> Result<f64, SimulateError> {
    let policy = Policy::default();
    let (mut failed, mut count) = (0.0, 0.0);
    for (number, fault) in faults(site, seed).iter().enumerate() {
        let number = number as u64;
        let others = site.beans().filter(|bean| *bean != fault.shows_in);
        let mut script: Vec<UnitName> = others.cycle().take(useless(number)).collect();
        script.push(fault.shows_in.clone());
        let mut decider = Decider::Script(script);
        failed += play_after(
            DETECTION,
            site,
            fault,
            &mut decider,
            &policy,
            (seed, number),
        )?
        .failed;
        count += 1.0;
    }
    Ok(failed / f64::max(count, 1.0))
}

/// Failed requests per fault, if this is done after so many seconds.
fn after(
    delay: f64,
    site: &Site,
    seed: u64,
    share: Option<f64>,
    is_process: bool,
) -> Result<f64, SimulateError> {
    let policy = Policy::default();
    let (mut failed, mut count) = (0.0, 0.0);
    for (number, fault) in faults(site, seed).iter().enumerate() {
        let mut fault = fault.clone();
        fault.severity = 1.0;
        let site = match share {
            Some(share) => site.with_share(&fault.shows_in, share),
            None => site.with_share(&fault.shows_in, site.share(&fault.shows_in)),
        };
        let target = if is_process {
            "server".into()
        } else {
            fault.shows_in.clone()
        };
        let mut decider = Decider::Script(vec![target]);
        let luck = (seed, number as u64);
        failed += play_after(delay, &site, &fault, &mut decider, &policy, luck)?.failed;
        count += 1.0;
    }
    Ok(failed / f64::max(count, 1.0))
}

fn common_assumptions(options: &Options) -> Vec<String> {
    vec![
        "the site of `policies`; faults that the restart of one session bean cures".to_owned(),
        format!(
            "a failed request counts once; the paper counts all requests of a user's action when \
             one fails, which is why its microreboot costs {} and ours a few",
            PUBLISHED.0
        ),
        format!("{} seeds of {FAULTS} faults", options.seeds),
    ]
}

/// The false-positive sweep.
///
/// # Errors
/// When a policy did what no recovery may.
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
    let process = over_seeds(options, |seed| after(DETECTION, &site, seed, None, true))?;
    let process = Mean::of(&process);
    let mut break_even = None;
    let mut most = 0;
    for useless in [0usize, 1, 2, 4, 9, 19, 30] {
        let costs = over_seeds(options, |seed| with_useless(&site, seed, |_| useless))?;
        let cost = Mean::of(&costs);
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
/// When a policy did what no recovery may.
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
    let delays = [0.0, 5.0, 15.0, 30.0, 60.0, 120.0];
    let shares = [0.05, 0.1, 0.3, 1.0];
    let mut table = Table::new(
        "Failed requests per fault, by the share of requests that pass through the sick bean",
        &["alarm after", "5 %", "10 %", "30 %", "all"],
    );
    let mut cells = vec![vec![0.0; shares.len()]; delays.len()];
    for (line, delay) in delays.iter().enumerate() {
        for (column, share) in shares.iter().enumerate() {
            let costs = over_seeds(options, |seed| {
                after(*delay, &site, seed, Some(*share), false)
            })?;
            cells[line][column] = Mean::of(&costs).mean;
        }
        table.row(
            std::iter::once(format!("{delay:.0} s"))
                .chain(cells[line].iter().map(|cell| number(*cell))),
        );
    }
    let mut process = Vec::new();
    for share in shares {
        let costs = over_seeds(options, |seed| after(0.0, &site, seed, Some(share), true))?;
        process.push(Mean::of(&costs).mean);
    }
    table.row(
        std::iter::once("process restart at once".to_owned())
            .chain(process.iter().map(|cell| number(*cell))),
    );
    // What a delay costs is a line: its break-even from the two ends.
    let last = delays.len() - 1;
    let break_even: Vec<f64> = (0..shares.len())
        .map(|column| {
            let per_second = (cells[last][column] - cells[0][column]) / delays[last];
            (process[column] - cells[0][column]) / per_second
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
