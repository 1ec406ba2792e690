//! From the configuration to what each room takes: the only place that knows both sides.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rekindle_analysis::{AnalysisConfig, SlowLimit};
use rekindle_ingest::assembly::AssemblerConfig;
use rekindle_ingest::journal::{self, Journal, JournalConfig};
use rekindle_ingest::receive::ReceiverConfig;
use rekindle_ingest::{DecodeContext, Entry, KeepAttributes};
use rekindle_model::{Intervention, InterventionKind, Life, Selector, UnixNanos};
use rekindle_recovery::executor::BoxFuture;
use rekindle_recovery::notify::{self, Severity, Webhook};
use rekindle_recovery::policy::Policy;
use rekindle_recovery::ports::{self, NoticeKind, Prober};
use rekindle_recovery::probe::Probes;
use rekindle_recovery::process::Supervisor;
use rekindle_recovery::service::RecoveryEvents;
use rekindle_recovery::watch::Watcher;
use rekindle_recovery::{ProbeSpec, UnitName};

use crate::config::{Config, Durability};
use crate::engine::{Beginning, Counting, Engine, Note, Question, Told, mapping, read};
use crate::view::UtcTime;

/// How long a webhook may take to answer: whoever is told is asleep, and seconds don't matter.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The receivers' part.
pub(super) fn receivers(config: &Config) -> ReceiverConfig {
    ReceiverConfig {
        grpc: config.listen.grpc,
        http: config.listen.http,
        max_request_bytes: usize::try_from(config.ingest.max_request_bytes).unwrap_or(usize::MAX),
        keep_attributes: keep_attributes(config),
        queue: config.ingest.queue,
        access: config.ingest.access.clone(),
        per_source: config.ingest.limits,
        ..ReceiverConfig::default()
    }
}

/// What is read of spans beyond what is always.
pub(crate) fn keep_attributes(config: &Config) -> KeepAttributes {
    let keep: KeepAttributes = config.matched_attributes().into_iter().collect();
    keep.with_routes(config.analysis.ignore_routes.iter().map(String::as_str))
}

/// The journal's part.
pub(super) fn journal(config: &Config) -> JournalConfig {
    let settings = &config.ingest.journal;
    JournalConfig {
        durability: match settings.durability {
            Durability::PowerLoss => journal::Durability::PowerLoss,
            Durability::ProcessCrash => journal::Durability::ProcessCrash,
            Durability::Off => journal::Durability::Off,
        },
        max_bytes: settings.max_bytes,
        keep: settings.keep,
        until_released: config.store.url.is_some(),
        ..JournalConfig::default()
    }
}

/// The assembler's part.
pub(super) fn assembly(config: &Config) -> AssemblerConfig {
    let settings = &config.assembly;
    AssemblerConfig {
        min_quiet: settings.min_quiet,
        max_quiet: settings.max_quiet,
        idle: settings.idle,
        max_spans_per_trace: settings.max_spans_per_trace,
        max_spans_in_flight: settings.max_spans_in_flight,
    }
}

/// The analysis' part.
pub(super) fn analysis(config: &Config) -> AnalysisConfig {
    let settings = &config.analysis;
    AnalysisConfig {
        slice: settings.slice,
        window: settings.window,
        requests_between_false_alarms: settings.false_alarm_every as f64,
        tolerated_failure_share: settings.tolerated_failure_share,
        min_failed: settings.min_failed,
        close_after: settings.close_after,
        slow_limits: settings
            .slow
            .iter()
            .map(|rule| SlowLimit {
                service: rule.service.clone(),
                operation: rule.operation.clone(),
                limit: rule.after,
            })
            .collect(),
        health_routes: settings.ignore_routes.clone(),
        failures_first: settings.failures_first,
        ..AnalysisConfig::default()
    }
}

/// Recovery's part.
pub(super) fn policy(config: &Config) -> Policy {
    let settings = &config.restart;
    Policy {
        budget_period: settings.budget.per,
        restarts_per_unit: settings.budget.restarts,
        restarts_per_tree: settings.budget.restarts_in_all,
        failed_requests: settings.budget.failed_requests as f64,
        backoff: settings.backoff,
        failed_requests_per_unit: settings.budget.failed_requests_per_unit.map(|n| n as f64),
        capacity: settings.guards.capacity.clone(),
        calendar: settings.guards.hours.clone(),
        overload: settings.guards.overload,
        rollout_quiet: settings.guards.rollout,
        recurring_cures: settings.guards.cures,
        recurring_period: settings.guards.cures_within,
        immune_after: settings.guards.vain,
        immune_period: settings.guards.vain_within,
        storm_units: settings.storm_units,
        approval_expiry: settings.approval_expires,
        lease_slack: settings.lease,
        warm_up: settings.judge.warm_up,
        judge_deadline: settings.judge.deadline,
        strictness: settings.judge.strictness,
        unclear: settings.judge.unclear,
        judge_longest: settings.judge.longest,
        human_response: settings.weighing.person,
        wait: settings.weighing.wait,
        in_flight: settings.weighing.in_flight,
        ..Policy::default()
    }
}

/// The end-to-end questions.
pub(super) fn questions(config: &Config) -> Vec<Question> {
    config
        .probes
        .iter()
        .map(|probe| Question {
            name: probe.name.clone(),
            spec: probe.probe.clone(),
            every: probe.every,
        })
        .collect()
}

/// How requests are counted: engines of the same settings count alike.
fn settings(config: &Config) -> String {
    let (assembly, analysis) = (assembly(config), analysis(config));
    let keep = keep_attributes(config);
    let version = env!("CARGO_PKG_VERSION");
    format!("version {version} with {assembly:?}, {analysis:?}, {keep:?}")
}

/// How an engine of this configuration counts, if its lots began with this number.
pub(super) fn counting(config: &Config, sampling_seed: u64) -> Counting {
    Counting {
        assembly: assembly(config),
        analysis: AnalysisConfig {
            sampling_seed,
            ..analysis(config)
        },
        keep: keep_attributes(config),
        settings: settings(config),
    }
}

/// Reads what the journal remembers of the analysis window into the engine, which knows by then what was
/// restarted in that time: else failures that a restart ended would look like what comes and goes by itself. From then on it
/// looks.
pub(super) fn replay(
    journal: &Journal,
    config: &Config,
    engine: &mut Engine,
    restarts: &mut RecoveryEvents,
) -> anyhow::Result<()> {
    let now: UnixNanos = SystemTime::now().into();
    let mut began = Beginning {
        at: now,
        blind: None,
        since: now.minus(config.analysis.window),
        first: None,
        restarted: Vec::new(),
        settings: settings(config),
    };
    while let Ok(shadow) = restarts.try_recv() {
        began.restarted.extend(mapping::cast(&shadow));
    }
    for restarted in &began.restarted {
        engine.intervene(restarted.clone());
    }
    let mut context = DecodeContext::new(&keep_attributes(config));
    let mut unreadable = 0u64;
    let (mut last_seen, mut last_position) = (None, 0);
    let since = began.since;
    let replayed = journal
        .replay(since, |record| {
            let (position, received_at) = (record.position, record.entry.received_at);
            began.first.get_or_insert(position);
            last_seen = last_seen.max(Some(received_at));
            last_position = position;
            match read(&record, &mut context) {
                Some(Told::Spans(spans)) => engine.replay(position, received_at, &spans),
                Some(Told::Note(note)) => engine.remember(position, received_at, *note, now),
                // It was read once, or it would not be here: another version wrote it.
                None => unreadable += 1,
            }
        })
        .context("the journal could not be replayed")?;
    began.at = SystemTime::now().into();
    began.blind = last_seen.map(|from| blind(from, began.at));
    // Only now, so that it isn't read as one of those before.
    let note = serde_json::to_vec(&Note::Began {
        began: began.clone(),
    })?;
    let told = journal.append(Entry::note(began.at, &note));
    let position = match tokio::runtime::Handle::current().block_on(told) {
        Ok(position) => position,
        Err(error) => {
            tracing::warn!(%error, "rankings of this engine can't be made again from the journal");
            last_position
        }
    };
    engine.begin(&began, position);
    tracing::info!(
        records = replayed.records,
        damaged_segments = replayed.damaged_segments,
        unreadable,
        "the journal was replayed"
    );
    Ok(())
}

/// Nobody was looking in this time; what ran in it counts neither for nor against anyone. It has a name of its own, since
/// who dies again at once was blind both before and after.
fn blind(from: UnixNanos, until: UnixNanos) -> Intervention {
    Intervention {
        kind: InterventionKind::Blind,
        target: Selector::default(),
        from,
        until: Some(until),
        began: Life::default(),
        ended_by: None,
        reference: format!("the engine was down since {}", UtcTime::from(from)).into(),
    }
}

/// Asks units how they are, for recovery.
pub(super) struct ProberOf {
    probes: Probes,
    supervisor: Arc<Supervisor>,
    watcher: Arc<Watcher>,
}

impl ProberOf {
    pub(super) fn new(
        probes: &Probes,
        supervisor: &Arc<Supervisor>,
        watcher: &Arc<Watcher>,
    ) -> Self {
        Self {
            probes: probes.clone(),
            supervisor: Arc::clone(supervisor),
            watcher: Arc::clone(watcher),
        }
    }
}

impl Prober for ProberOf {
    fn probe<'a>(&'a self, spec: &'a ProbeSpec) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            self.probes
                .probe(spec)
                .await
                .map_err(|failure| failure.to_string())
        })
    }

    fn running<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        let children = self.supervisor.children();
        let found = children.iter().find(|child| child.unit == *unit);
        Box::pin(std::future::ready(
            found.map(|child| child.phase == "running"),
        ))
    }

    fn within_bounds<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        Box::pin(async move {
            let seen = self.watcher.seen_last(unit)?;
            match seen.beyond {
                Some(_) => Some(false),
                None => seen.is_within.then_some(true),
            }
        })
    }
}

/// Who reaches a person: the log always, a webhook where one is configured.
pub(super) fn notifier(config: &Config) -> Arc<dyn ports::Notifier> {
    let webhook = config.restart.webhook.as_ref().map(|url| Webhook {
        url: url.clone(),
        timeout: WEBHOOK_TIMEOUT,
    });
    Arc::new(People {
        notifier: notify::Notifier::start(webhook),
        page: format!("http://{}", config.listen.api),
    })
}

struct People {
    notifier: notify::Notifier,
    page: String,
}

impl ports::Notifier for People {
    fn notify(&self, notice: &ports::Notice) {
        let (severity, title) = match notice.kind {
            NoticeKind::Proposal => (Severity::Warning, "a restart waits for approval"),
            NoticeKind::Recurring => (
                Severity::Warning,
                "a fault that was cured keeps coming back",
            ),
            NoticeKind::Storm => (
                Severity::Critical,
                "too much is sick at once to restart anything",
            ),
            NoticeKind::HeldOff => (Severity::Critical, "a restart is held off"),
            NoticeKind::GivenUp => (Severity::Critical, "recovery has given up"),
            NoticeKind::Disabled => (Severity::Critical, "recovery can do nothing"),
            NoticeKind::Rejuvenation => (Severity::Warning, "preventive restarts need a person"),
        };
        self.notifier.notify(notify::Notice {
            severity,
            incident: notice.incident,
            unit: notice.unit.clone(),
            title: title.to_owned(),
            text: notice.text.clone(),
            at: UtcTime::from(notice.at).to_string(),
            link: Some(match notice.incident {
                Some(incident) => format!("{}/incidents/{incident}", self.page),
                None => self.page.clone(),
            }),
        });
    }
}
