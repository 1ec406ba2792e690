//! One case: a fresh site and a fresh engine, a fault, and what became of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use rekindle_datasets::auction::{Fault, FaultKind, FaultScope, ServiceName};
use rekindle_datasets::deployment::{Deployment, Granularity, Ports};
use rekindle_datasets::load::{Counts, Tally, Users, UsersHandle};
use rekindle_datasets::probes;
use serde::Serialize;

use super::DemoOptions;
use super::container::{self, Containers};
use super::engine_process::{Addresses, EngineProcess};
use super::interrupt::Interrupt;
use super::story::Story;
use crate::view::{IncidentView, UtcTime, VerdictView, View};

/// How long the site may take to start; the first start makes its data.
const SITE_DEADLINE: Duration = Duration::from_secs(60);

/// Lines of the engine's log that tell why its site did not come up.
const LOG_TAIL: usize = 20;

/// How long to wait for the site before looking whether somebody interrupts.
const SITE_PATIENCE: Duration = Duration::from_millis(200);

/// How often the engine is asked what it knows.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long the site may take until it goes well.
const CALM_DEADLINE: Duration = Duration::from_secs(60);

/// How long a cure may take before the case is lost.
const CURE_DEADLINE: Duration = Duration::from_secs(45);

/// How long the component's own question may take to be answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How often the question is asked again when there is no answer at all: a machine that is busy with
/// five starting processes may need more than one.
const ASKED: usize = 3;

/// A case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) fault: Fault,
    pub(super) granularity: Granularity,
    /// What exporters wait for; `None` is what the SDK does on its own, 5 s.
    pub(super) export_delay: Option<Duration>,
    /// The one unit that should be restarted.
    pub(super) expected_unit: String,
    /// Whether the process of the culprit runs in a container, which is the level above its components.
    pub(super) in_container: bool,
}

impl Case {
    pub(super) fn new(
        name: &str,
        fault: Fault,
        granularity: Granularity,
        export_delay: Option<Duration>,
    ) -> Self {
        let process = fault
            .component
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let unit = match granularity {
            Granularity::Component | Granularity::ProcessAndParts => fault.component.clone(),
            Granularity::ProcessOnly => process,
        };
        Self {
            name: name.to_owned(),
            fault,
            granularity,
            export_delay,
            expected_unit: unit,
            in_container: false,
        }
    }

    /// Who is at fault, as a ranking names it.
    pub(super) fn culprit(&self) -> &str {
        if self.is_process_killed() {
            self.process()
        } else {
            &self.fault.component
        }
    }

    pub(super) fn process(&self) -> &str {
        self.fault.component.split('.').next().unwrap_or_default()
    }

    pub(super) fn is_process_killed(&self) -> bool {
        self.fault.kind == FaultKind::Crash && self.fault.scope == FaultScope::Process
    }

    /// How long the site is watched before the fault: exporters that wait for 5 s tell nothing
    /// sooner.
    fn calm(&self) -> Duration {
        match self.export_delay {
            Some(_) => Duration::from_secs(3),
            None => Duration::from_secs(8),
        }
    }

    /// How long users go on after the verdict, so that a cure that doesn't last shows. Longer than
    /// exporters wait: what the engine judged by is all told when it ends.
    fn afterwards(&self) -> Duration {
        match self.export_delay {
            Some(_) => Duration::from_millis(1500),
            None => Duration::from_secs(6),
        }
    }
}

/// What became of a case. Times are milliseconds since the first failed request that users saw.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CaseReport {
    pub(super) name: String,
    pub(super) fault: String,
    pub(super) culprit: String,
    pub(super) expected_unit: String,
    pub(super) top_suspect: Option<String>,
    pub(super) restarted: Vec<String>,
    pub(super) verdict: Option<String>,
    pub(super) detected_ms: Option<u64>,
    pub(super) restart_ms: Option<u64>,
    pub(super) ready_ms: Option<u64>,
    pub(super) cured_ms: Option<u64>,
    pub(super) failed_requests: u64,
    pub(super) ok_requests: u64,
    pub(super) failed_actions: u64,
    pub(super) ok_actions: u64,
    /// What users saw before the fault.
    pub(super) users_before: Answered,
    /// What users saw of the requests that they made after the fault was judged cured.
    pub(super) users_after: Answered,
    /// Whether the component's own question got the right answer at the end.
    pub(super) answers_rightly: Option<bool>,
}

/// Requests and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Answered {
    pub(super) failed: u64,
    pub(super) requests: u64,
}

impl Answered {
    fn of(counts: &Counts) -> Self {
        Self {
            failed: counts.failed_requests,
            requests: counts.failed_requests + counts.ok_requests,
        }
    }

    /// Whether clearly more of them fail than before: the shares' 95 % intervals don't overlap. Of
    /// no requests nobody knows, which is not well.
    fn is_worse_than(self, before: Self) -> bool {
        let interval = |answered: Self| {
            let share = rekindle_stats::Share::new(answered.failed, answered.requests).ok()?;
            share.value()?;
            Some(share.wilson(rekindle_stats::Probability::P95))
        };
        match (interval(self), interval(before)) {
            (Some(after), Some(before)) => after.low > before.high,
            _ => true,
        }
    }
}

impl CaseReport {
    /// The true component first, only its unit restarted, and the fault cured: in the engine's eyes,
    /// in the users', and by the component's own answer.
    pub(crate) fn is_success(&self) -> bool {
        self.top_suspect.as_deref() == Some(self.culprit.as_str())
            && self.restarted == [self.expected_unit.clone()]
            && self.verdict.as_deref() == Some("cured")
            && self.users_are_content()
            && self.answers_rightly == Some(true)
    }

    /// Whether users fare as before the fault.
    pub(super) fn users_are_content(&self) -> bool {
        !self.users_after.is_worse_than(self.users_before)
    }
}

/// Asks the component the question whose answer is known.
fn answers_rightly(site: &Deployment, component: &str, within: Duration) -> anyhow::Result<bool> {
    let (server, question) = site.question(component)?;
    for _ in 0..ASKED {
        match probes::ask(server, &question, within).verdict {
            probes::Verdict::Right => return Ok(true),
            probes::Verdict::Unanswered { .. } => {}
            _ => return Ok(false),
        }
    }
    Ok(false)
}

/// What users saw of the requests that they made after the fault was judged cured.
fn users_after(seen: &Seen, after: &Tally) -> Answered {
    let Some((at, until_then)) = &seen.cured else {
        return Answered::default();
    };
    let (then, now) = (Answered::of(&until_then.total), Answered::of(&after.total));
    // Not the difference of the failed: some of those were made before, and waited for an answer.
    let made_at = at.saturating_duration_since(after.started);
    let failed = after
        .failures
        .iter()
        .filter(|failure| Duration::from_millis(failure.at_ms) >= made_at)
        .count() as u64;
    Answered {
        failed,
        requests: (now.requests - then.requests).max(failed),
    }
}

/// Plays a case.
pub(super) fn run(
    case: &Case,
    options: &DemoOptions,
    keep: bool,
    interrupt: &Interrupt,
    story: &mut Story,
) -> anyhow::Result<CaseReport> {
    interrupt.check()?;
    let folder = tempfile::Builder::new()
        .prefix("rekindle-demo-")
        .tempdir()
        .context("no temporary folder could be made")?;
    let addresses = Addresses::free(options.api.filter(|_| story.is_aloud()))?;
    let seed = options.seed;
    let site = Deployment::plan(
        folder.path(),
        &format!("http://{}", addresses.grpc),
        case.export_delay,
        seed,
        Ports::Free,
    )?;
    let mut site = options.sized(site);
    let contained = ServiceName::of_component(&case.fault.component).filter(|_| case.in_container);
    if let Some(service) = contained {
        site = site.with_container(service, container::socket(folder.path()));
    }
    let config = folder.path().join("rekindle.yaml");
    std::fs::write(
        &config,
        configuration(case, &site, folder.path(), addresses),
    )
    .with_context(|| format!("writing {}", config.display()))?;

    story.says("starting the engine and the auction site");
    let log = folder.path().join("engine.log");
    // Dropped last: whoever restarts in it ends first.
    let _containers = contained
        .map(|service| Containers::start(folder.path(), &site, service, interrupt))
        .transpose()?;
    let mut engine = EngineProcess::start(&config, &log, addresses.api, interrupt)?;
    wait_ready(&site, options, interrupt).map_err(|error| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(LOG_TAIL).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        error.context(format!("the engine said last:\n{}\n", last.join("\n")))
    })?;
    story.address(&engine.api);
    let users = Users::start(seed, site.web(), options.load(&site))?;
    let before = wait_calm(case, options, &engine, &users, interrupt)?;
    story.calm(&before);

    let injected = Instant::now();
    let injected_at = SystemTime::now();
    site.inject(&case.fault)?;
    story.injected(case);
    let watched = Watched {
        case,
        options,
        engine: &engine,
        users: &users,
        injected,
        injected_at,
    };
    let seen = watch(&watched, interrupt, story)?;
    let after = users.snapshot();
    let mut report = report(case, &seen, &before, &after, injected_at);
    report.answers_rightly = Some(answers_rightly(
        &site,
        &case.fault.component,
        options.limit(ANSWER_WITHIN),
    )?);
    if keep {
        story.says(&format!(
            "everything goes on until you press Ctrl-C; look at {} (files in {})",
            engine.api,
            folder.path().display()
        ));
        engine.wait(interrupt)?;
    }
    drop(users);
    drop(engine);
    if !report.is_success()
        && let Ok(kept) = std::env::var("REKINDLE_DEMO_KEEP_FILES")
        && !kept.is_empty()
    {
        let path = folder.keep();
        story.says(&format!(
            "the files of this case are kept in {}",
            path.display()
        ));
    }
    Ok(report)
}

/// Waits until the site is up, or somebody interrupts.
pub(super) fn wait_ready(
    site: &Deployment,
    options: &DemoOptions,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let deadline = options.limit(SITE_DEADLINE);
    let begun = Instant::now();
    loop {
        interrupt.check()?;
        match site.wait_ready(SITE_PATIENCE) {
            Ok(()) => return Ok(()),
            Err(_) if begun.elapsed() < deadline => {}
            Err(error) => {
                let whole = format!("the site did not come up within {deadline:?}");
                return Err(anyhow::Error::from(error).context(whole));
            }
        }
    }
}

/// Waits until the site has gone well for as long as it is watched before the fault. On a slow machine users may give up on
/// a site that has just started, and the engine may be right to restart some of it: no part of this case.
fn wait_calm(
    case: &Case,
    options: &DemoOptions,
    engine: &EngineProcess,
    users: &UsersHandle,
    interrupt: &Interrupt,
) -> anyhow::Result<Tally> {
    let deadline = options.limit(CALM_DEADLINE);
    let begun = Instant::now();
    let mut failed = 0;
    loop {
        interrupt.sleep(case.calm())?;
        let tally = users.snapshot();
        let failed_before = std::mem::replace(&mut failed, tally.total.failed_requests);
        let is_calm = failed == failed_before && engine.view()?.open_incidents().next().is_none();
        if is_calm {
            return Ok(tally);
        }
        if begun.elapsed() > deadline {
            bail!(
                "users' requests fail before anything is made ill, {failed} of {} within {deadline:?}: this machine is \
                 too slow or too busy for the site; try `--small`, or again when it has less to do",
                failed + tally.total.ok_requests
            );
        }
    }
}

fn configuration(
    case: &Case,
    site: &Deployment,
    folder: &std::path::Path,
    addresses: Addresses,
) -> String {
    let mut yaml = String::new();
    let state = folder.join("state");
    // Writing to a String can't fail.
    let _ = writeln!(
        yaml,
        "state_dir: {}",
        serde_json::json!(state.display().to_string())
    );
    let _ = writeln!(
        yaml,
        "listen: {{ grpc: \"{}\", http: \"{}\", api: \"{}\" }}",
        addresses.grpc, addresses.http, addresses.api
    );
    yaml.push_str(&site.probes_yaml(Duration::from_millis(250)));
    yaml.push_str(&site.to_yaml(case.granularity, rekindle_recovery::Mode::Auto));
    yaml
}

/// What was seen of a case.
#[derive(Debug, Default)]
struct Seen {
    incident: Option<IncidentView>,
    /// When the first request failed, since the injection. The users' own list keeps the newest
    /// failures only.
    first_failure: Option<Duration>,
    view: View,
    /// When the fault was judged cured, and what users had seen until then.
    cured: Option<(Instant, Tally)>,
}

/// What is watched.
struct Watched<'a> {
    case: &'a Case,
    options: &'a DemoOptions,
    engine: &'a EngineProcess,
    users: &'a UsersHandle,
    injected: Instant,
    injected_at: SystemTime,
}

/// Watches until the fault is judged cured, or nothing more is to be hoped for.
fn watch(watched: &Watched<'_>, interrupt: &Interrupt, story: &mut Story) -> anyhow::Result<Seen> {
    let Watched {
        case,
        options,
        engine,
        users,
        injected,
        injected_at,
    } = *watched;
    let deadline = options.limit(CURE_DEADLINE);
    let mut seen = Seen::default();
    let mut failing_told = false;
    let mut opened_told = false;
    let mut actions_told: BTreeSet<u64> = BTreeSet::new();
    let mut verdicts_told: BTreeSet<u64> = BTreeSet::new();
    let begun = UtcTime::from(injected_at);
    loop {
        interrupt.sleep(LOOK_EVERY)?;
        let view = engine.view()?;
        let elapsed = injected.elapsed();
        let tally = users.snapshot();
        if !failing_told && let Some(at) = first_failure(&tally, injected) {
            failing_told = true;
            seen.first_failure = Some(at);
            story.at(at, "the first users' requests fail");
        }
        // The fault's own incident: the first that opened since, whatever follows from it.
        let incident = view
            .incidents
            .iter()
            .filter(|incident| incident.opened >= begun)
            .min_by_key(|incident| (incident.opened, incident.id));
        if let Some(incident) = incident {
            if !opened_told {
                opened_told = true;
                story.incident(incident.opened.since(begun), incident);
            }
            // The ranking that was acted on is what counts, not what remains when all is well: the
            // last one until an action is seen, and that one, which is no older than the action.
            let ranked = incident
                .ranking
                .as_ref()
                .is_some_and(|r| !r.suspects.is_empty());
            if ranked && actions_told.is_empty() {
                seen.incident = Some(incident.clone());
            }
        }
        for action in view.recovery.actions.iter().rev() {
            if action.intent_at < begun {
                continue;
            }
            if actions_told.insert(action.id) {
                if let Some(incident) = &seen.incident {
                    story.suspects(incident);
                }
                let plan = view
                    .recovery
                    .plans
                    .iter()
                    .find(|plan| plan.actions.contains(&action.id));
                story.action(action.intent_at.since(begun), action, plan);
            }
            if let Some(verdict) = action.verdict
                && verdicts_told.insert(action.id)
            {
                let judged = action.judged_at.map_or(elapsed, |at| at.since(begun));
                story.judged(judged, action, verdict);
                if verdict == VerdictView::Cured {
                    seen.cured
                        .get_or_insert_with(|| (Instant::now(), tally.clone()));
                }
            }
        }
        let cured = seen.cured.as_ref();
        let lasted = cured.is_some_and(|(at, _)| at.elapsed() >= case.afterwards());
        let lost = cured.is_none() && elapsed > deadline;
        seen.view = view;
        if lost {
            story.at(
                elapsed,
                &format!("{} is not cured within {deadline:?}", case.culprit()),
            );
        }
        if lasted || lost {
            return Ok(seen);
        }
        if !engine_is_useful(&seen.view) {
            bail!(
                "the engine says that it can't act: {}",
                seen.view.status.ledger.note
            );
        }
    }
}

fn engine_is_useful(view: &View) -> bool {
    view.status.ledger.ok
}

/// When, since `injected`, the first request failed that was made after it.
fn first_failure(tally: &Tally, injected: Instant) -> Option<Duration> {
    let offset = injected.saturating_duration_since(tally.started);
    tally
        .failures
        .iter()
        .map(|failure| Duration::from_millis(failure.at_ms))
        .filter(|at| *at >= offset)
        .map(|at| at - offset)
        .min()
}

fn report(
    case: &Case,
    seen: &Seen,
    before: &Tally,
    after: &Tally,
    injected_at: SystemTime,
) -> CaseReport {
    let begun = UtcTime::from(injected_at);
    // Without a failure that users saw, times count from the injection.
    let first = seen.first_failure.unwrap_or_default();
    let since = |time: UtcTime| {
        let passed = time.since(begun).saturating_sub(first);
        u64::try_from(passed.as_millis()).ok()
    };
    let actions: Vec<_> = seen
        .view
        .recovery
        .actions
        .iter()
        .rev()
        .filter(|action| action.intent_at >= begun)
        .collect();
    let last = actions.last();
    let top = seen
        .incident
        .as_ref()
        .and_then(|incident| incident.ranking.as_ref())
        .and_then(|ranking| ranking.suspects.first());
    CaseReport {
        name: case.name.clone(),
        fault: format!("{} in {}", case.fault.kind.as_str(), case.culprit()),
        culprit: case.culprit().to_owned(),
        expected_unit: case.expected_unit.clone(),
        top_suspect: top.map(|suspect| {
            // An instance of the process is the process, for somebody who asks which one it is.
            match suspect.components.first() {
                Some(component) if case.is_process_killed() && !component.service.is_empty() => {
                    component.service.clone()
                }
                _ => suspect.name(),
            }
        }),
        restarted: actions.iter().map(|action| action.unit.clone()).collect(),
        verdict: last
            .and_then(|action| action.verdict)
            .map(|verdict| verdict.to_string()),
        detected_ms: seen
            .incident
            .as_ref()
            .and_then(|incident| since(incident.opened)),
        restart_ms: actions.first().and_then(|action| since(action.intent_at)),
        ready_ms: last.and_then(|action| action.result_at).and_then(since),
        cured_ms: last
            .filter(|action| action.verdict == Some(VerdictView::Cured))
            .and_then(|action| action.judged_at)
            .and_then(since),
        failed_requests: after.total.failed_requests - before.total.failed_requests,
        ok_requests: after.total.ok_requests - before.total.ok_requests,
        failed_actions: after.total.failed_actions - before.total.failed_actions,
        ok_actions: after.total.ok_actions - before.total.ok_actions,
        users_before: Answered::of(&before.total),
        users_after: users_after(seen, after),
        answers_rightly: None,
    }
}
