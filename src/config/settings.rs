//! The checked configuration, section by section: fields, defaults, and how each is read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rekindle_recovery::around::Keeping;
use rekindle_recovery::belief::Learned;
use rekindle_recovery::judge::Strictness;
use rekindle_recovery::policy::Unclear;
use rekindle_recovery::rejuvenate::Rule;
use rekindle_recovery::template::Template;
use rekindle_recovery::watch::Watch;
use rekindle_recovery::{Mode, ProbeSpec, UnitName, UnitSpec};

use super::BEYOND_LOOPBACK_WORDS;
use super::access;
use super::around;
use super::guards::{self, GuardSettings};
use super::probe;
use super::reader::{Reader, Section};
use super::rejuvenate;
use super::store::StoreSettings;
use super::units;
use crate::api::Speakers;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const MEBIBYTE: u64 = 1 << 20;

/// The words for [`Mode`].
pub(super) const MODES: [(&str, Mode); 3] = [
    ("observe", Mode::Observe),
    ("propose", Mode::Propose),
    ("auto", Mode::Auto),
];

/// Everything that a person may decide. Every value has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The directory that holds journal and ledger.
    pub state_dir: PathBuf,
    /// Where Rekindle listens.
    pub listen: ListenSettings,
    /// How telemetry is taken in and kept.
    pub ingest: IngestSettings,
    /// Where spans are kept for longer.
    pub store: StoreSettings,
    /// How spans are put together to traces.
    pub assembly: AssemblySettings,
    /// What counts as failing.
    pub analysis: AnalysisSettings,
    /// Questions with known answers, asked from the users' end.
    pub probes: Vec<ProbeSettings>,
    /// What may be restarted, and how.
    pub restart: RestartSettings,
}

/// Where Rekindle listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
    /// The API and the pages.
    pub api: SocketAddr,
    /// Whether addresses that other machines reach are allowed.
    pub beyond_loopback: bool,
    /// Host names, besides `localhost` and addresses, under which the API answers.
    pub names: Vec<String>,
    /// The file with the tokens of those who may say how units and requests are; anybody may where
    /// `None`.
    pub speakers: Option<PathBuf>,
}

impl ListenSettings {
    /// The addresses with their keys.
    pub fn addresses(&self) -> [(&'static str, SocketAddr); 3] {
        [("grpc", self.grpc), ("http", self.http), ("api", self.api)]
    }
}

/// How telemetry is taken in and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestSettings {
    /// The largest request, after decompression.
    pub max_request_bytes: u64,
    /// Batches that may wait between the receivers and the engine.
    pub queue: usize,
    /// Which files say who may send: tokens, certificate and key, the authority for exporters' certificates. Read once
    /// while the configuration is, so that what is wrong with them is a complaint about it.
    pub access: rekindle_ingest::AccessFiles,
    /// How much each source may send.
    pub limits: rekindle_ingest::SourceLimits,
    /// The journal.
    pub journal: JournalSettings,
}

/// How telemetry is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// What acknowledged telemetry survives.
    pub durability: Durability,
    /// How long it is kept.
    pub keep: Duration,
    /// How much of it is kept.
    pub max_bytes: u64,
}

/// What acknowledged telemetry survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Also a loss of power: each acknowledgement waits for the disk.
    PowerLoss,
    /// The end of the process, but not of the machine.
    ProcessCrash,
    /// Nothing: no journal is written.
    Off,
}

/// How spans are put together to traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssemblySettings {
    /// The shortest wait after the root before a trace counts as complete …
    pub min_quiet: Duration,
    /// … and the longest.
    pub max_quiet: Duration,
    /// How long a trace without a root waits for more.
    pub idle: Duration,
    /// The most spans that one trace may have.
    pub max_spans_per_trace: usize,
    /// The most spans that wait in all.
    pub max_spans_in_flight: usize,
}

/// What counts as failing.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysisSettings {
    /// The time slice in which requests are counted.
    pub slice: Duration,
    /// How far back baselines reach.
    pub window: Duration,
    /// The share of failures that nobody minds, in `[0, 1]`.
    pub tolerated_failure_share: f64,
    /// At most one false alarm in so many requests of a type, on average.
    pub false_alarm_every: u64,
    /// The fewest failed requests from which suspects are ranked.
    pub min_failed: u64,
    /// How long failures must be back at what is usual until an incident is over.
    pub close_after: Duration,
    /// When requests count as too slow; types without a rule learn their limit.
    pub slow: Vec<SlowRule>,
    /// Routes that monitoring asks for, not users.
    pub ignore_routes: Vec<String>,
    /// Whether a sampler keeps failures and throws successes away.
    pub failures_first: bool,
}

/// When requests of a type count as too slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowRule {
    /// The entry service.
    pub service: String,
    /// Its operation; all of them when `None`.
    pub operation: Option<String>,
    /// The limit.
    pub after: Duration,
}

/// A question with a known answer, asked from the users' end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Its name.
    pub name: String,
    /// The question and its answer.
    pub probe: ProbeSpec,
    /// How often it is asked.
    pub every: Duration,
}

/// What may be restarted, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartSettings {
    /// How far Rekindle may go where the tree says nothing.
    pub mode: Mode,
    /// What restarts may cost.
    pub budget: BudgetSettings,
    /// The wait before the same unit is restarted again; doubles each time.
    pub backoff: Duration,
    /// How long a recovery keeps its subtree to itself beyond what its steps need.
    pub lease: Duration,
    /// So many sick units that have no common ancestor below the root stop all unattended restarts.
    pub storm_units: usize,
    /// What else vetoes them.
    pub guards: GuardSettings,
    /// How long a plan waits for approval.
    pub approval_expires: Duration,
    /// How the effect is judged.
    pub judge: JudgeSettings,
    /// What plans are weighed by.
    pub weighing: WeighingSettings,
    /// How long what is saved before restarts is kept.
    pub keeping: Keeping,
    /// Where to POST when a person is needed.
    pub webhook: Option<String>,
    /// The restart units, parents before children; they make a tree.
    pub tree: Vec<UnitSpec>,
    /// What units grow among them.
    pub templates: Vec<Template>,
    /// What units' figures must keep to.
    pub watches: BTreeMap<UnitName, Vec<Watch>>,
    /// What is restarted before it fails.
    pub rejuvenate: Vec<Rule>,
    /// The file with what was learned elsewhere …
    pub learned_file: Option<PathBuf>,
    /// … and what it says, once it is read.
    pub learned: Learned,
}

/// What restarts may cost in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Restarts of one unit.
    pub restarts: u32,
    /// Restarts in the whole tree.
    pub restarts_in_all: u32,
    /// The period.
    pub per: Duration,
    /// Requests that restarts may fail.
    pub failed_requests: u64,
    /// As `failed_requests`, for each unit; no limit where `None`.
    pub failed_requests_per_unit: Option<u64>,
}

/// How the effect of a restart is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgeSettings {
    /// How long a verdict may take.
    pub deadline: Duration,
    /// How long a restarted unit may warm up before its requests are judged.
    pub warm_up: Duration,
    /// How surely `cured` must be true.
    pub strictness: Strictness,
    /// What follows where requests are too few to tell.
    pub unclear: Unclear,
    /// How long is waited for more of them in all.
    pub longest: Duration,
}

/// What plans are weighed by, in users' failed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeighingSettings {
    /// How long a person takes to come and mend what is left to him.
    pub person: Duration,
    /// How long is waited once to see whether a fault goes by itself.
    pub wait: Duration,
    /// How long a usual request is in flight.
    pub in_flight: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            state_dir: PathBuf::from("rekindle-state"),
            listen: ListenSettings {
                grpc: local(4317),
                http: local(4318),
                api: local(4320),
                beyond_loopback: false,
                names: Vec::new(),
                speakers: None,
            },
            ingest: IngestSettings {
                // What the OTLP specification recommends.
                max_request_bytes: 64 * MEBIBYTE,
                queue: 256,
                access: rekindle_ingest::AccessFiles::default(),
                limits: rekindle_ingest::SourceLimits::default(),
                journal: JournalSettings {
                    durability: Durability::PowerLoss,
                    keep: HOUR,
                    max_bytes: 4096 * MEBIBYTE,
                },
            },
            store: StoreSettings::default(),
            assembly: AssemblySettings {
                min_quiet: Duration::from_millis(250),
                // Exporters wait for 5 s by default; twice that is none of theirs any more.
                max_quiet: Duration::from_secs(10),
                idle: Duration::from_secs(30),
                max_spans_per_trace: 10_000,
                // What one core takes, held for as long as exporters that are quick need; some 60 MB.
                max_spans_in_flight: 1_000_000,
            },
            analysis: AnalysisSettings {
                slice: Duration::from_secs(1),
                window: 15 * MINUTE,
                tolerated_failure_share: 0.001,
                false_alarm_every: 1_000_000,
                min_failed: 3,
                close_after: Duration::from_secs(30),
                slow: Vec::new(),
                ignore_routes: [
                    "/health",
                    "/healthz",
                    "/healthcheck",
                    "/ready",
                    "/readyz",
                    "/live",
                    "/livez",
                    "/ping",
                    "/status",
                    "/metrics",
                    "/actuator/health",
                    "/grpc.health.v1.Health/Check",
                    "grpc.health.v1.Health/Check",
                ]
                .map(str::to_owned)
                .to_vec(),
                failures_first: false,
            },
            probes: Vec::new(),
            restart: RestartSettings {
                mode: Mode::Observe,
                budget: BudgetSettings {
                    restarts: 6,
                    restarts_in_all: 30,
                    per: HOUR,
                    failed_requests: 10_000,
                    failed_requests_per_unit: None,
                },
                backoff: Duration::from_secs(10),
                lease: Duration::from_secs(30),
                storm_units: 3,
                guards: GuardSettings::default(),
                approval_expires: 10 * MINUTE,
                weighing: WeighingSettings {
                    person: 15 * MINUTE,
                    wait: Duration::from_secs(10),
                    in_flight: Duration::from_millis(100),
                },
                judge: JudgeSettings {
                    deadline: MINUTE,
                    warm_up: Duration::from_millis(250),
                    strictness: Strictness::default(),
                    unclear: Unclear::Ask,
                    longest: 10 * MINUTE,
                },
                keeping: Keeping::default(),
                webhook: None,
                tree: Vec::new(),
                templates: Vec::new(),
                watches: BTreeMap::new(),
                rejuvenate: Vec::new(),
                learned_file: None,
                learned: Learned::default(),
            },
        }
    }
}

impl Config {
    /// The span and resource attributes that restart units match on: ingest must keep them.
    pub fn matched_attributes(&self) -> BTreeSet<String> {
        let templates = &self.restart.templates;
        let grown = templates.iter().map(|template| &template.unit);
        let units = self.restart.tree.iter().chain(grown);
        units
            .flat_map(|unit| unit.selector.keys())
            .chain(templates.iter().flat_map(|template| template.apart.keys()))
            .cloned()
            .collect()
    }

    pub(super) fn take(&mut self, top: &Section<'_>) {
        top.set("state_dir", &mut self.state_dir, |reader, node| {
            reader.filled_text(node).map(PathBuf::from)
        });
        take(top, "listen", |s| self.listen.take(s));
        take(top, "ingest", |s| self.ingest.take(s));
        take(top, "store", |s| {
            self.store.take(s);
            self.store.check(s, self.ingest.journal.durability);
        });
        take(top, "assembly", |s| self.assembly.take(s));
        take(top, "analysis", |s| self.analysis.take(s));
        self.probes = probe::probes(top, "probes");
        take(top, "restart", |s| self.restart.take(s));
    }
}

/// Reads the section under the key, if it is there, and closes it.
fn take(parent: &Section<'_>, key: &'static str, read: impl FnOnce(&Section<'_>)) {
    if let Some(section) = parent.section(key, key) {
        read(&section);
        section.close();
    }
}

impl ListenSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("grpc", &mut self.grpc, Reader::address);
        section.set("http", &mut self.http, Reader::address);
        section.set("api", &mut self.api, Reader::address);
        section.set(
            "beyond_loopback",
            &mut self.beyond_loopback,
            |reader, node| {
                let text = reader.text(node).unwrap_or_default();
                match text.as_str() {
                    "refuse" => Ok(false),
                    BEYOND_LOOPBACK_WORDS => Ok(true),
                    _ => Err(format!(
                        "it must be `refuse`, or in these words \"{BEYOND_LOOPBACK_WORDS}\""
                    )),
                }
            },
        );
        section.set("names", &mut self.names, Reader::texts);
        self.speakers = section.read("speakers", |r, n| r.filled_text(n).map(PathBuf::from));
        // What is wrong with the file is better known now than when the daemon starts.
        if let Some(file) = self.speakers.as_deref()
            && let Err(error) = Speakers::open(Some(file))
        {
            let wrong = format!("`speakers`, the file {}: {error}", file.display());
            section.complain_about_itself(&wrong);
        }
    }
}

impl IngestSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("max_request_bytes", &mut self.max_request_bytes, |r, n| {
            within(r.size(n)?, 64 << 10, 1 << 30, "from 64KiB to 1GiB")
        });
        section.set_number("queue", &mut self.queue, 1..=65_536);
        take(section, "access", |s| self.access = access::take(s));
        take(section, "limits", |s| self.limits = access::take_limits(s));
        take(section, "journal", |s| self.journal.take(s));
    }
}

impl JournalSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("durability", &mut self.durability, |reader, node| {
            reader.choice(
                node,
                &[
                    ("power-loss", Durability::PowerLoss),
                    ("process-crash", Durability::ProcessCrash),
                    ("off", Durability::Off),
                ],
            )
        });
        section.set("keep", &mut self.keep, Reader::some_time);
        section.set("max_bytes", &mut self.max_bytes, |r, n| {
            within(r.size(n)?, 16 * MEBIBYTE, 1 << 50, "at least 16MiB")
        });
    }
}

impl AssemblySettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("min_quiet", &mut self.min_quiet, Reader::some_time);
        section.set("max_quiet", &mut self.max_quiet, Reader::some_time);
        section.set("idle", &mut self.idle, Reader::some_time);
        section.set_number(
            "max_spans_per_trace",
            &mut self.max_spans_per_trace,
            1..=1_000_000,
        );
        section.set_number(
            "max_spans_in_flight",
            &mut self.max_spans_in_flight,
            1_000..=100_000_000,
        );
        if self.min_quiet > self.max_quiet {
            section.complain(
                "min_quiet",
                section.at(),
                "it is longer than `max_quiet`; make it shorter, or `max_quiet` longer",
            );
        }
    }
}

impl AnalysisSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("slice", &mut self.slice, |r, n| {
            within(
                r.duration(n)?,
                Duration::from_millis(100),
                MINUTE,
                "from 100ms to 1m",
            )
        });
        section.set("window", &mut self.window, Reader::some_time);
        section.set(
            "tolerated_failure_share",
            &mut self.tolerated_failure_share,
            Reader::share,
        );
        section.set_number(
            "false_alarm_every",
            &mut self.false_alarm_every,
            100..=1_000_000_000_000,
        );
        section.set_number("min_failed", &mut self.min_failed, 1..=1_000_000);
        section.set("close_after", &mut self.close_after, Reader::some_time);
        let rules = section.items("slow").into_iter();
        self.slow = rules
            .filter_map(|(path, node)| slow_rule(section, &path, node))
            .collect();
        section.set("ignore_routes", &mut self.ignore_routes, Reader::texts);
        section.set("sampling", &mut self.failures_first, |r, n| {
            r.choice(n, &[("even", false), ("failures-first", true)])
        });
        if self.window < 10 * self.slice {
            section.complain(
                "window",
                section.at(),
                "it is shorter than ten slices, which is too little history to tell failing from usual",
            );
        }
    }
}

fn slow_rule(section: &Section<'_>, path: &str, node: &super::document::Node) -> Option<SlowRule> {
    let rule = Section::open(section.reader, path, "slow", node)?;
    let service = rule.read("service", Reader::filled_text);
    let operation = rule.read("operation", Reader::filled_text);
    let after = rule.read("after", Reader::some_time);
    let service = rule.required(
        "service",
        service,
        "the entry service whose requests are meant",
    );
    let after = rule.required("after", after, "the time after which they are too slow");
    rule.close();
    Some(SlowRule {
        service: service?,
        operation,
        after: after?,
    })
}

impl RestartSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("mode", &mut self.mode, |r, n| r.choice(n, &MODES));
        take(section, "budget", |s| self.budget.take(s));
        section.set("backoff", &mut self.backoff, Reader::duration);
        section.set("lease", &mut self.lease, Reader::some_time);
        section.set_number("storm_units", &mut self.storm_units, 2..=10_000);
        take(section, "guards", |s| self.guards.take(s));
        section.set(
            "approval_expires",
            &mut self.approval_expires,
            Reader::some_time,
        );
        take(section, "judge", |s| self.judge.take(s));
        take(section, "weighing", |s| self.weighing.take(s));
        take(section, "post_mortems", |s| {
            around::keeping(s, &mut self.keeping);
        });
        take(section, "notify", |s| {
            if let Some(url) = s.read("webhook", Reader::url) {
                self.webhook = Some(url);
            }
        });
        (self.tree, self.templates, self.watches) = units::tree(section, "tree", self.mode);
        guards::groups(section, &self.guards, &self.tree, &self.templates);
        self.rejuvenate = rejuvenate::rules(section, "rejuvenate", &self.tree, &self.templates);
        self.learned_file = section.read("learned", |r, n| r.filled_text(n).map(PathBuf::from));
    }
}

impl BudgetSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set_number("restarts", &mut self.restarts, 0..=100_000);
        section.set_number("restarts_in_all", &mut self.restarts_in_all, 0..=100_000);
        section.set("per", &mut self.per, Reader::some_time);
        section.set_number(
            "failed_requests",
            &mut self.failed_requests,
            0..=1_000_000_000,
        );
        self.failed_requests_per_unit = section.read("failed_requests_per_unit", |r, n| {
            r.integer(n, 0..=1_000_000_000)
        });
    }
}

impl JudgeSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("deadline", &mut self.deadline, Reader::some_time);
        section.set("warm_up", &mut self.warm_up, Reader::duration);
        section.set("residual", &mut self.strictness.residual, |r, n| {
            within(r.share(n)?, 0.01, 0.5, "from 1% to 50%")
        });
        section.set("error", &mut self.strictness.error, |r, n| {
            within(r.share(n)?, 0.0001, 0.2, "from 0.01% to 20%")
        });
        section.set("unclear", &mut self.unclear, |r, n| {
            let words = [
                ("ask", Unclear::Ask),
                ("wait", Unclear::Wait),
                ("probe", Unclear::Probe),
            ];
            r.choice(n, &words)
        });
        section.set("longest", &mut self.longest, Reader::some_time);
    }
}

impl WeighingSettings {
    fn take(&mut self, section: &Section<'_>) {
        section.set("person", &mut self.person, Reader::some_time);
        section.set("wait", &mut self.wait, Reader::some_time);
        section.set("in_flight", &mut self.in_flight, Reader::duration);
    }
}

fn within<T: PartialOrd>(value: T, least: T, most: T, words: &str) -> Result<T, String> {
    if value < least || value > most {
        return Err(format!("it is out of range; it must be {words}"));
    }
    Ok(value)
}
