//! A site that ages: one component leaks at each call, memory rises, and Rekindle restarts parts of the
//! process before anything fails. The first roll learns who gives memory back; the second knows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context;
use rekindle_datasets::auction::{Leak, ServiceName};
use rekindle_datasets::deployment::{Deployment, Granularity, Ports};
use rekindle_datasets::load::Users;
use rekindle_recovery::Mode;
use serde::Serialize;

use super::case::wait_ready;
use super::engine_process::{Addresses, EngineProcess};
use super::interrupt::Interrupt;
use super::story::Story;
use super::{DemoOptions, ILL, SHORT_DELAY};
use crate::view::{ActionView, RejuvenationView};
use crate::words;

/// What each call of the ill component keeps. At its twenty calls a second, the way to the alarm takes some
/// ten seconds; a real leak's takes days.
const LEAK: usize = 512 << 10;

/// Above what the process needs to live while nobody uses it, by these; users make it need a little more.
const SUFFICIENT: u64 = 60 << 20;
const ALARM: u64 = 160 << 20;

/// Rolls to be seen: one to learn by, one to show what was learned.
const ROLLS: usize = 2;

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often the engine is asked what it knows.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What became of it.
#[derive(Debug, Serialize)]
struct AgingReport {
    /// Who was restarted in each roll, in order.
    rolls: Vec<Vec<String>>,
    /// The gauge before and after each restart, as the engine told it.
    gave_back: Vec<(String, String)>,
    /// The most memory that was read.
    peak_mib: u64,
    /// Incidents that opened meanwhile: none should.
    incidents: usize,
    failed_requests: u64,
    requests: u64,
}

impl AgingReport {
    /// The second roll needed the leaking component only, and nobody had to notice.
    fn is_success(&self) -> bool {
        let first = self
            .rolls
            .first()
            .is_some_and(|roll| roll.iter().any(|unit| unit == ILL));
        let second = self.rolls.get(1).is_some_and(|roll| *roll == [ILL]);
        // A microreboot fails what is in flight in it: less than one request in a hundred.
        first && second && self.incidents == 0 && self.failed_requests * 100 <= self.requests
    }
}

/// Plays it. `true` means: memory came back twice, the second time by restarting the culprit only.
pub(super) fn run(options: &DemoOptions, interrupt: &Interrupt) -> anyhow::Result<bool> {
    let story = Story::new(options.json);
    let folder = tempfile::Builder::new()
        .prefix("rekindle-demo-")
        .tempdir()
        .context("no temporary folder could be made")?;
    let addresses = Addresses::free(options.api)?;
    let endpoint = format!("http://{}", addresses.grpc);
    let site = Deployment::plan(
        folder.path(),
        &endpoint,
        Some(SHORT_DELAY),
        options.seed,
        Ports::Free,
    )?;
    let site = options.sized(site);
    story.says("an auction site comes up, and nothing is wrong with it");
    let mut engine = start(&site, folder.path(), addresses, None, interrupt)?;
    wait_ready(&site, options, interrupt)?;
    let needs = resident(&site)?;
    drop(engine);

    // Once more, now that it is known what the process needs to live.
    story.says(&format!(
        "{} needs {} to live; from {} on, parts of it are to be restarted until it is {}",
        ServiceName::Catalog,
        words::bytes(needs),
        words::bytes(needs + ALARM),
        words::bytes(needs + SUFFICIENT)
    ));
    engine = start(&site, folder.path(), addresses, Some(needs), interrupt)?;
    wait_ready(&site, options, interrupt)?;
    story.address(&engine.api);
    let users = Users::start(options.seed, site.web(), options.load(&site))?;
    interrupt.sleep(Duration::from_secs(2))?;
    let before = users.snapshot().total;
    let mut report = AgingReport {
        rolls: Vec::new(),
        gave_back: Vec::new(),
        peak_mib: 0,
        incidents: 0,
        failed_requests: 0,
        requests: 0,
    };
    for number in 1..=ROLLS {
        story.says(&format!(
            "{ILL} leaks {} at each call ({number} of {ROLLS})",
            words::bytes(LEAK as u64)
        ));
        site.leak(&Leak {
            component: ILL.to_owned(),
            bytes_per_call: LEAK,
        })?;
        let known: usize = report.rolls.iter().map(Vec::len).sum();
        let roll = watch(&engine, known, &mut report, interrupt, &story)?;
        report.rolls.push(roll);
    }
    let view = engine.view()?;
    let after = users.snapshot().total;
    report.incidents = view.incidents.iter().filter(|it| !it.masked).count();
    report.failed_requests = after.failed_requests - before.failed_requests;
    report.requests = report.failed_requests + after.ok_requests - before.ok_requests;
    story.says(&format!(
        "{} of {} requests failed; the second roll restarted {}",
        report.failed_requests,
        report.requests,
        report
            .rolls
            .last()
            .map(|roll| roll.join(", "))
            .unwrap_or_default()
    ));
    if options.keep {
        story.says(&format!(
            "everything goes on until you press Ctrl-C; look at {}",
            engine.api
        ));
        engine.wait(interrupt)?;
    }
    story.json(&[&report])?;
    Ok(report.is_success())
}

/// The resident memory of the catalogue's process, in bytes.
fn resident(site: &Deployment) -> anyhow::Result<u64> {
    let pid = site.status(ServiceName::Catalog)?.pid;
    let line = std::fs::read_to_string(format!("/proc/{pid}/statm"))
        .with_context(|| format!("reading the memory of process {pid}"))?;
    let pages: u64 = line
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .with_context(|| format!("the kernel says {line:?} of process {pid}"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

fn start(
    site: &Deployment,
    folder: &std::path::Path,
    addresses: Addresses,
    needs: Option<u64>,
    interrupt: &Interrupt,
) -> anyhow::Result<EngineProcess> {
    let path = folder.join("rekindle.yaml");
    let yaml = configuration(site, folder, addresses, needs);
    std::fs::write(&path, yaml).with_context(|| format!("writing {}", path.display()))?;
    let log = folder.join("engine.log");
    EngineProcess::start(&path, &log, addresses.api, interrupt)
}

fn configuration(
    site: &Deployment,
    folder: &std::path::Path,
    addresses: Addresses,
    needs: Option<u64>,
) -> String {
    let mut yaml = String::new();
    let state = serde_json::json!(folder.join("state").display().to_string());
    // Writing to a String can't fail.
    let _ = writeln!(
        yaml,
        "state_dir: {state}\nlisten: {{ grpc: \"{}\", http: \"{}\", api: \"{}\" }}",
        addresses.grpc, addresses.http, addresses.api
    );
    yaml.push_str(&site.to_yaml(Granularity::Component, Mode::Auto));
    if let Some(needs) = needs {
        let mut units: Vec<&str> = ServiceName::Catalog.components().to_vec();
        // The culprit last, so that there is something to learn.
        units.sort_by_key(|unit| *unit == ILL);
        units.push(ServiceName::Catalog.as_str());
        let _ = writeln!(
            yaml,
            "  backoff: 1s\n  \
             rejuvenate:\n  \
             - name: catalog-memory\n    \
               units: {}\n    \
               memory: {{ of: catalog, alarm: {}B, sufficient: {}B }}\n    \
               every: 500ms\n    \
               settle: 2s\n    \
               rest: 1m",
            serde_json::json!(units),
            needs + ALARM,
            needs + SUFFICIENT
        );
    }
    yaml
}

/// Watches one roll from its alarm to its end: who was restarted in it.
fn watch(
    engine: &EngineProcess,
    known: usize,
    report: &mut AgingReport,
    interrupt: &Interrupt,
    story: &Story,
) -> anyhow::Result<Vec<String>> {
    use rekindle_recovery::rejuvenate::RuleState;
    let begun = Instant::now();
    let mut told = known;
    let mut words = String::new();
    loop {
        interrupt.sleep(LOOK_EVERY)?;
        let view = engine.view()?;
        let rule = view.rejuvenation.first().cloned();
        let rule = rule.context("the engine knows of no rule")?;
        report.peak_mib = report.peak_mib.max(mebibytes(&rule));
        if rule.words != words {
            words.clone_from(&rule.words);
            story.at(begun.elapsed(), &words);
        }
        // Nothing fails, so nothing else is restarted; should it be, the report says so.
        let done: Vec<&ActionView> = view.recovery.actions.iter().rev().collect();
        for action in done.iter().skip(told) {
            story.at(begun.elapsed(), &format!("restarted {}", action.unit));
        }
        told = told.max(done.len());
        let is_over = rule.state == RuleState::Resting && done.len() > known;
        if is_over || begun.elapsed() > DEADLINE {
            report.gave_back = rule
                .order
                .into_iter()
                .map(|turn| (turn.unit, turn.gave))
                .collect();
            return Ok(done[known..]
                .iter()
                .map(|action| action.unit.clone())
                .collect());
        }
    }
}

/// What the gauge last said, in MiB.
fn mebibytes(rule: &RejuvenationView) -> u64 {
    let number = rule
        .reading
        .split_once(' ')
        .map_or("", |(number, _)| number);
    number.parse().unwrap_or(0)
}
