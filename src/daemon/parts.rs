//! From the configuration to what each room takes: the only place that knows both sides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use rekindle_analysis::{AnalysisConfig, SlowLimit};
use rekindle_ingest::assembly::AssemblerConfig;
use rekindle_ingest::journal::{self, Journal, JournalConfig};
use rekindle_ingest::receive::ReceiverConfig;
use rekindle_ingest::{Batch, DecodeContext, KeepAttributes, decode_payload};
use rekindle_model::UnixNanos;
use rekindle_recovery::command::CommandExecutor;
use rekindle_recovery::executor::{BoxFuture, Executor};
use rekindle_recovery::http_call::HttpExecutor;
use rekindle_recovery::policy::Policy;
use rekindle_recovery::ports::{Notice, Notifier, Prober};
use rekindle_recovery::probe::Probes;
use rekindle_recovery::process::{ProcessUnit, Supervisor};
use rekindle_recovery::{ExecutorSpec, ProbeSpec, RestartTree, UnitName};

use crate::config::{Config, Durability};
use crate::engine::{Engine, Question};

/// The receivers' part.
pub(super) fn receivers(config: &Config) -> ReceiverConfig {
    ReceiverConfig {
        grpc: config.listen.grpc,
        http: config.listen.http,
        max_request_bytes: usize::try_from(config.ingest.max_request_bytes).unwrap_or(usize::MAX),
        keep_attributes: keep_attributes(config),
        ..ReceiverConfig::default()
    }
}

fn keep_attributes(config: &Config) -> KeepAttributes {
    config.matched_attributes().into_iter().collect()
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
        storm_units: settings.storm_units,
        approval_expiry: settings.approval_expires,
        lease_slack: settings.lease,
        warm_up: settings.judge.warm_up,
        judge_deadline: settings.judge.deadline,
        ..Policy::default()
    }
}

/// The units that are processes which we supervise.
pub(super) fn processes(tree: &RestartTree) -> Vec<ProcessUnit> {
    tree.units()
        .filter_map(|unit| match &unit.executor {
            Some(ExecutorSpec::Process(process)) => Some(ProcessUnit {
                name: unit.name.clone(),
                spec: process.clone(),
                ready: unit.ready.clone(),
                start_deadline: unit.start_deadline,
            }),
            _ => None,
        })
        .collect()
}

/// Who restarts what.
pub(super) fn executors(
    tree: &RestartTree,
    supervisor: &Arc<Supervisor>,
    probes: &Arc<Probes>,
) -> BTreeMap<UnitName, Arc<dyn Executor>> {
    tree.units()
        .filter_map(|unit| {
            let executor: Arc<dyn Executor> = match unit.executor.as_ref()? {
                ExecutorSpec::Process(_) => Arc::clone(supervisor) as Arc<dyn Executor>,
                ExecutorSpec::Http(http) => Arc::new(HttpExecutor::new(
                    http.clone(),
                    unit.ready.clone(),
                    (**probes).clone(),
                )),
                ExecutorSpec::Command(command) => Arc::new(CommandExecutor::new(
                    command.clone(),
                    unit.ready.clone(),
                    (**probes).clone(),
                )),
            };
            Some((unit.name.clone(), executor))
        })
        .collect()
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

/// The units' checks.
pub(super) fn checks(tree: &RestartTree) -> Vec<(UnitName, ProbeSpec)> {
    tree.units()
        .filter_map(|unit| Some((unit.name.clone(), unit.check.clone()?)))
        .collect()
}

/// Reads what the journal remembers of the analysis window into the engine.
pub(super) fn replay(
    journal: &Journal,
    config: &Config,
    engine: &mut Engine,
) -> anyhow::Result<()> {
    let now: UnixNanos = SystemTime::now().into();
    let mut context = DecodeContext::new(&keep_attributes(config));
    let mut unreadable = 0u64;
    let replayed = journal
        .replay(now.minus(config.analysis.window), |record| {
            let entry = &record.entry;
            match decode_payload(entry.content_type(), entry.payload(), &mut context) {
                Ok(decoded) => engine.replay(&Batch::replayed(
                    record.position,
                    entry.received_at(),
                    decoded.spans,
                )),
                // It was read once, or it would not be here: another version wrote it.
                Err(_) => unreadable += 1,
            }
        })
        .context("the journal could not be replayed")?;
    tracing::info!(?replayed, unreadable, "the journal was replayed");
    Ok(())
}

/// Asks units how they are, for recovery.
pub(super) struct ProberOf {
    probes: Arc<Probes>,
    supervisor: Arc<Supervisor>,
}

impl ProberOf {
    pub(super) fn new(probes: &Arc<Probes>, supervisor: &Arc<Supervisor>) -> Self {
        Self { probes: Arc::clone(probes), supervisor: Arc::clone(supervisor) }
    }
}

impl Prober for ProberOf {
    fn probe<'a>(&'a self, spec: &'a ProbeSpec) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.probes.probe(spec).await.map_err(|failure| failure.to_string()) })
    }

    fn running<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        let children = self.supervisor.children();
        let found = children.iter().find(|child| child.unit == *unit);
        Box::pin(std::future::ready(found.map(|child| child.phase == "running")))
    }
}

/// Who reaches a person: the log always, a webhook where one is configured.
pub(super) fn notifier(config: &Config) -> Arc<dyn Notifier> {
    match &config.restart.webhook {
        Some(url) => Arc::new(rekindle_recovery::notify::Webhook::new(url.clone())),
        None => Arc::new(LogOnly),
    }
}

struct LogOnly;

impl Notifier for LogOnly {
    fn notify(&self, notice: &Notice) {
        tracing::warn!(incident = notice.incident, "{}", notice.text);
    }
}
