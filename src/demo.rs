//! The demonstration: a real site falls ill, Rekindle finds the component and restarts it, and the
//! same again with whole processes as the smallest thing that can be restarted.
//!
//! Nothing in it is played. The engine is this program's own `rekindle run` in a process of its
//! own, the site is five processes that it starts and supervises, users come over sockets, and what
//! is printed was read from the engine's API and counted by the users.

mod aging;
mod case;
mod container;
mod engine_process;
mod interrupt;
mod report;
mod story;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use rekindle_datasets::auction::world::Scale;
use rekindle_datasets::auction::{Fault, FaultKind};
use rekindle_datasets::deployment::{Deployment, Granularity};
use rekindle_datasets::load::LoadConfig;
use rekindle_recovery::process::listener_on;

use case::{Case, CaseReport};
use interrupt::Interrupt;
use story::Story;

/// What the demonstration is asked to do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Only the first two cases.
    pub fast: bool,
    /// Every fault kind and every process, each once.
    pub all_faults: bool,
    /// Of those, only the cases whose name has this in it.
    pub only: Option<String>,
    /// A leak instead of faults: restarts before anything fails.
    pub aging: bool,
    /// For a slow machine: [`Scale::SMALL`], and patient users.
    pub small: bool,
    /// Makes data, users' choices and the order of cases the same again.
    pub seed: u64,
    /// Keep everything running at the end, for looking around.
    pub keep: bool,
    /// Where the engine serves its page; a free port when not given.
    pub api: Option<SocketAddr>,
    /// Print machine-readable results instead of the story.
    pub json: bool,
}

/// The component that falls ill in the story: everything that a user does passes the catalogue
/// sooner or later, but not every request does, so there is something to compare.
const ILL: &str = "catalog.search";

/// What exporters wait for in the first two cases.
const SHORT_DELAY: Duration = Duration::from_millis(200);

/// How long users of [`DemoOptions::small`]'s site wait for an answer. What takes that long is no slow machine.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

impl DemoOptions {
    /// The same site, as large as asked for.
    fn sized(&self, site: Deployment) -> Deployment {
        match self.small {
            true => site.with_scale(Scale::SMALL),
            false => site,
        }
    }

    /// Who comes to it.
    fn load(&self, site: &Deployment) -> LoadConfig {
        let mut load = LoadConfig::new(site.world());
        if self.small {
            load.users /= 2;
            load.patience = LONG_PATIENCE;
            load.give_up = LONG_PATIENCE;
        }
        load
    }

    /// A limit that only a failure or a slow machine reaches.
    fn limit(&self, limit: Duration) -> Duration {
        limit * if self.small { 4 } else { 1 }
    }
}

/// Asked before anything is built up: nobody should wait for a site to learn of a port.
fn check_free(address: SocketAddr) -> anyhow::Result<()> {
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let who = match listener_on(address.port()) {
        Some(who) => format!(": {who} listens there"),
        None => String::new(),
    };
    Err(error).with_context(|| {
        format!(
            "the pages can't be served on {address}{who}; choose another with --listen-api, or leave it out for a free one"
        )
    })
}

/// Runs the demonstration. `true` means: in every case the true component was ranked first, only
/// the unit that should be was restarted, the fault was judged cured, and users and the component
/// itself say so, too.
///
/// # Errors
/// When the engine or the site can't be started or talked to, or somebody interrupts it. Whatever was
/// started has ended then.
pub fn run(options: &DemoOptions) -> anyhow::Result<bool> {
    if let Some(address) = options.api {
        check_free(address)?;
    }
    let interrupt = Interrupt::watch()?;
    if options.aging {
        return aging::run(options, &interrupt);
    }
    if options.all_faults {
        return run_all_faults(options, &interrupt);
    }
    let mut story = Story::new(options.json);
    story.opening();
    let case = |name: &str, granularity, delay| {
        Case::new(name, Fault::new(ILL, FaultKind::Error), granularity, delay)
    };
    let mut reports = Vec::new();
    let short = Some(SHORT_DELAY);
    for (number, one) in [
        case("microreboot", Granularity::Component, short),
        case("process restart", Granularity::ProcessOnly, short),
    ]
    .into_iter()
    .enumerate()
    {
        story.chapter(number + 1, &one);
        let keep = options.keep && options.fast && number == 1;
        reports.push(play(&one, options, keep, &interrupt, &mut story)?);
    }
    if !options.fast {
        // Most of these two is waiting for exporters, so they wait together, each with a site and an
        // engine of its own. One is told as it happens.
        let told = case("microreboot, 5 s", Granularity::Component, None);
        let aside = case("process restart, 5 s", Granularity::ProcessOnly, None);
        story.chapter(3, &told);
        story.says("(beside it, untold, the same with process restarts)");
        let (first, second) = std::thread::scope(|scope| {
            let beside =
                scope.spawn(|| play(&aside, options, false, &interrupt, &mut Story::silent()));
            let first = play(&told, options, options.keep, &interrupt, &mut story);
            (first, beside.join())
        });
        reports.push(first?);
        let second =
            second.map_err(|_| anyhow::anyhow!("the case `{}` panicked", aside.name))??;
        story.verdict(&second);
        reports.push(second);
    }
    story.side_by_side(&reports);
    Ok(reports.iter().all(CaseReport::is_success))
}

fn play(
    case: &Case,
    options: &DemoOptions,
    keep: bool,
    interrupt: &Interrupt,
    story: &mut Story,
) -> anyhow::Result<CaseReport> {
    let played = case::run(case, options, keep, interrupt, story);
    if played.is_err() {
        // What an engine says that is being interrupted as well is beside the point.
        interrupt.check()?;
    }
    let report = played.with_context(|| format!("the case `{}` could not be played", case.name))?;
    story.verdict(&report);
    Ok(report)
}

/// Every fault kind in a component, spread over the site, and each process killed.
fn all_cases() -> Vec<Case> {
    let kinds = [
        ("catalog.search", FaultKind::Error),
        ("bidding.history", FaultKind::Hang),
        ("catalog.categories", FaultKind::Loop),
        ("accounts.users", FaultKind::Deadlock),
        ("catalog.items", FaultKind::Slow),
        ("accounts.auth", FaultKind::Crash),
        ("bidding.history", FaultKind::WrongAnswer),
    ];
    let mut cases: Vec<Case> = kinds
        .into_iter()
        .map(|(component, kind)| {
            Case::new(
                kind.as_str(),
                Fault::new(component, kind),
                Granularity::Component,
                Some(SHORT_DELAY),
            )
        })
        .collect();
    // Below the component: only what it keeps is wrong, and only that is emptied. Its component is no unit here:
    // a microreboot costs so little more that the planner takes it at once, since it cures more surely.
    cases.push(Case::new(
        "poisoned cache",
        Fault::new("catalog.categories.cache", FaultKind::Error),
        Granularity::ProcessAndParts,
        Some(SHORT_DELAY),
    ));
    for service in rekindle_datasets::auction::ServiceName::ALL {
        let component = service.components()[0];
        cases.push(Case {
            expected_unit: service.to_string(),
            ..Case::new(
                "process killed",
                Fault::new(component, FaultKind::Crash).in_process(),
                Granularity::Component,
                Some(SHORT_DELAY),
            )
        });
    }
    cases
}

/// The same process in a container: a component of it is restarted alone, the container where only it can
/// be, where its process's own memory is damaged, and where it was killed.
fn container_cases() -> Vec<Case> {
    let short = Some(SHORT_DELAY);
    let case = |name: &str, fault: Fault, granularity| Case {
        in_container: true,
        ..Case::new(name, fault, granularity, short)
    };
    let killed = Fault::new(ILL, FaultKind::Crash).in_process();
    vec![
        case(
            "in a container",
            Fault::new(ILL, FaultKind::Error),
            Granularity::Component,
        ),
        case(
            "container restart",
            Fault::new(ILL, FaultKind::Error),
            Granularity::ProcessOnly,
        ),
        case("container killed", killed, Granularity::ProcessOnly),
    ]
}

fn run_all_faults(options: &DemoOptions, interrupt: &Interrupt) -> anyhow::Result<bool> {
    let story = Story::new(options.json);
    story.opening();
    let mut cases = all_cases();
    match container::missing() {
        None => cases.extend(container_cases()),
        Some(why) => story.skipped("containers as a level", &why),
    }
    if let Some(only) = &options.only {
        cases.retain(|case| case.name.contains(only.as_str()));
    }
    let mut reports = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        story.progress(index + 1, cases.len(), case);
        let report = play(
            case,
            options,
            false,
            interrupt,
            &mut Story::address_only(options.json),
        )?;
        story.row(&report);
        reports.push(report);
    }
    story.table(&reports);
    // Nothing played is nothing shown.
    Ok(!reports.is_empty() && reports.iter().all(CaseReport::is_success))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_said_at_once_with_who_has_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let error = check_free(address).expect_err("it is taken").to_string();
        let own = format!("process {} (", std::process::id());
        assert!(
            error.contains(&own) && error.contains("--listen-api"),
            "{error}"
        );
        drop(listener);
        assert!(check_free(address).is_ok());
    }
}
