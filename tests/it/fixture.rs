//! A made-up morning: the catalog's search component fails, everybody can see it, and a plan waits.
//!
//! The API, the pages and the command line are tested against it, and `examples/pages.rs` serves it
//! to a browser.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rekindle::api::{
    ApiCommand, Backend, BoxFuture, DryRun, Explanation, HostPolicy, Problem, Reply,
};
use rekindle::view::*;
use rekindle_model::{Outcome, TraceId};
use rekindle_recovery::Mode;
use rekindle_recovery::around::CommandSaid;
use rekindle_recovery::process::ProcessFigures;
use rekindle_recovery::rejuvenate::RuleState;

/// 2026-08-01T09:30:00.250Z.
pub(crate) const NOW: u64 = 1_785_576_600_250;

/// A failed example, kept.
pub(crate) const FAILED_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A successful example, kept.
pub(crate) const OK_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What an attacker may call an operation.
pub(crate) const HOSTILE: &str = "</td><script>alert('x')</script>\u{1b}[31m";

pub(crate) fn time(seconds_ago: u64) -> UtcTime {
    UtcTime::from_millis(NOW - 1000 * seconds_ago)
}

fn text(words: &str) -> String {
    words.to_owned()
}

fn share(count: u64, total: u64, low: f64, high: f64) -> ShareView {
    let share = if total == 0 {
        0.0
    } else {
        count as f64 / total as f64
    };
    ShareView {
        count,
        total,
        share,
        low,
        high,
    }
}

fn component(level: Level, service: &str, name: &str) -> ComponentView {
    ComponentView {
        level,
        service: text(service),
        name: text(name),
    }
}

/// A quiet morning until `failing_for` seconds ago.
fn request_type(name: &str, rate: u64, failing_for: u64, bad_percent: u64) -> RequestTypeView {
    let failing = failing_for > 0;
    let series = (0..300_u64)
        .rev()
        // A silence, which must be a gap in the chart.
        .filter(|ago| !(180..190).contains(ago))
        .map(|ago| {
            let wave = ago * 7 % 5;
            let total = rate + wave;
            let usual = u64::from(ago % 97 == 0);
            let bad = if ago < failing_for {
                total * bad_percent / 100 + wave % 2
            } else {
                usual
            };
            RatePointView {
                at: time(ago),
                ok: total - bad.min(total),
                bad,
            }
        })
        .collect();
    RequestTypeView {
        unheard_since: None,
        name: text(name),
        failing,
        rate_per_s: rate as f64,
        failure_share: Some(if failing {
            share(
                bad_percent * 5,
                500,
                bad_percent as f64 / 100.0 - 0.04,
                bad_percent as f64 / 100.0 + 0.04,
            )
        } else {
            share(1, 1200, 0.0, 0.004)
        }),
        sampled: None,
        masked: None,
        now_ms: 5000,
        baseline: Some(0.002),
        usual: Some(share(3, 1200, 0.0, 0.004)),
        slice_ms: 1000,
        series,
    }
}

fn ranking() -> RankingView {
    RankingView {
        incident: 7,
        at: time(1),
        cut: 182_411,
        verdict: RankingVerdict::Enough,
        suspects: vec![
            SuspectView {
                rank: 1,
                components: vec![component(Level::CodeComponent, "catalog", "catalog.search")],
                attributes: BTreeMap::from([
                    (text("service.name"), text("catalog")),
                    (text("code.namespace"), text("catalog.search")),
                ]),
                unit: Some(text("catalog.search")),
                score: 0.962,
                confidence: Some(0.91),
                shape: Shape::Raised,
                error_type: Some(text("IndexCorrupt")),
                failed: share(240, 250, 0.928, 0.98),
                ok: share(31, 1840, 0.012, 0.024),
                originated: 238,
                callers: vec![text("web"), text("bidding")],
                examples_failed: vec![text(FAILED_TRACE), text("5bf92f3577b34da6a3ce929d0e0e4736")],
                examples_ok: vec![text(OK_TRACE)],
                sentence: text(
                    "96% of the failed requests touched catalog.search, 1.7% of the successful ones did; \
                     238 of 250 failures began in it, with IndexCorrupt.",
                ),
                facts: vec![
                    FactView {
                        what: text("failures began in it"),
                        found: text("238 of 250 (95 %, between 92 % and 97 %)"),
                    },
                    FactView {
                        what: text("reported by"),
                        found: text("web, bidding"),
                    },
                    FactView {
                        what: text("against it"),
                        found: format!("12 failures began elsewhere, in {HOSTILE}"),
                    },
                ],
                explanation: None,
            },
            SuspectView {
                rank: 2,
                components: vec![
                    component(Level::Instance, "catalog", "catalog-7f9c"),
                    component(Level::Host, "catalog", "rack4-node17.example"),
                ],
                unit: Some(text("catalog")),
                score: 0.31,
                confidence: Some(0.06),
                failed: share(250, 250, 0.985, 1.0),
                ok: share(900, 1840, 0.466, 0.512),
                originated: 0,
                sentence: text(
                    "All failed requests touched it, but so did half of the successful ones.",
                ),
                ..SuspectView::default()
            },
            SuspectView {
                rank: 3,
                components: vec![component(Level::Operation, "web", HOSTILE)],
                score: 0.02,
                confidence: Some(0.01),
                failed: share(9, 250, 0.017, 0.067),
                ok: share(60, 1840, 0.025, 0.042),
                sentence: format!("Somebody calls an operation {HOSTILE}."),
                ..SuspectView::default()
            },
        ],
        left_out: BTreeMap::from([
            (text("too incomplete to say"), 4),
            (text("overlapped a restart"), 12),
        ]),
    }
}

fn unit(name: &str, parent: Option<&str>, depth: usize) -> UnitView {
    UnitView {
        name: text(name),
        parent: parent.map(text),
        depth,
        mode: Mode::Propose,
        executor: Some(ExecutorKind::Http),
        selector: BTreeMap::from([(text("code.namespace"), text(name))]),
        generation: 1,
        state: UnitState::Up,
        check: HealthState::Well,
        downtime_ms: Some(40),
        downtime_mostly_ms: Some(40),
        ..UnitView::default()
    }
}

fn process(pid: u32, mut unit: UnitView) -> UnitView {
    unit.executor = Some(ExecutorKind::Process);
    unit.downtime_ms = Some(2300);
    unit.process = Some(ProcessView {
        pid: Some(pid),
        phase: ProcessPhase::Running,
        since: Some(time(86_000)),
    });
    unit
}

fn tree() -> Vec<UnitView> {
    let mut search = unit("catalog.search", Some("catalog"), 2);
    search.generation = 4;
    search.last_action = Some(41);
    search.cure_probability = Some(0.93);
    search.suspicions = vec![SuspicionView {
        incident: 7,
        rank: 1,
        confidence: Some(0.91),
    }];
    let mut sick = unit("sessions", Some("auction"), 1);
    sick.state = UnitState::Down;
    sick.check = HealthState::Sick;
    sick.note = text("did not become ready within 20s: connection refused");
    let mut root = unit("auction", None, 0);
    root.executor = Some(ExecutorKind::Parts);
    root.state = UnitState::Unknown;
    root.check = HealthState::Unknown;
    root.generation = 0;
    vec![
        root,
        process(4711, unit("web", Some("auction"), 1)),
        process(4712, unit("catalog", Some("auction"), 1)),
        search,
        unit("catalog.items", Some("catalog"), 2),
        process(4713, unit("bidding", Some("auction"), 1)),
        sick,
    ]
}

fn plan() -> PlanView {
    PlanView {
        id: 3,
        incident: 7,
        state: PlanState::Proposed,
        created: time(20),
        expires: Some(UtcTime::from_millis(NOW + 580_000)),
        reason: text(
            "Restarting catalog.search first costs least: it is suspected with 91%, and its restart \
             has cured this fault 5 of 5 times.",
        ),
        steps: vec![
            StepView {
                unit: text("catalog.search"),
                probability: 0.93,
                expected_cost: 12.4,
                usual_cost: Some((4.0, 31.0)),
            },
            StepView {
                unit: text("catalog"),
                probability: 0.98,
                expected_cost: 310.0,
                usual_cost: None,
            },
            StepView {
                unit: text("auction"),
                probability: 1.0,
                expected_cost: 2140.0,
                usual_cost: None,
            },
        ],
        at_step: Some(0),
        alternatives: vec![
            AlternativeView {
                what: text("catalog"),
                expected_cost: 310.0,
                why_not: text("25 times as dear, and cures hardly more surely"),
            },
            AlternativeView {
                what: text("nothing"),
                expected_cost: 40_500.0,
                why_not: text("this fault never went by itself in 5 times"),
            },
        ],
        guards: vec![
            text("mode propose: a person approves"),
            text("budget: 1 of 6 restarts used"),
        ],
        ..PlanView::default()
    }
}

fn actions() -> Vec<ActionView> {
    let done = ActionView {
        recovery: 12,
        id: 41,
        unit: text("catalog.search"),
        target: text("catalog.search"),
        generation: 4,
        plan: Some(2),
        incident: Some(6),
        who: text("ada"),
        why: text("first suspect of incident 6 with 88%"),
        began: None,
        intent_at: time(260),
        acting_at: Some(time(260)),
        result_at: Some(time(259)),
        result: Some(ActionResult::Done),
        downtime_ms: Some(38),
        failed_meanwhile: Some(2),
        relief: Some(ReliefView {
            drop: 0.94,
            low: 0.90,
            high: 0.97,
        }),
        verdict: Some(VerdictView::Cured),
        judged_at: Some(time(257)),
        note: text("600 requests after, 1 failed"),
        result_words: None,
    };
    let tried = ActionView {
        id: 40,
        unit: text("web"),
        incident: Some(5),
        plan: None,
        relief: Some(ReliefView {
            drop: 0.01,
            low: -0.02,
            high: 0.04,
        }),
        verdict: Some(VerdictView::NotCured),
        downtime_ms: Some(2310),
        failed_meanwhile: Some(480),
        intent_at: time(90_000),
        acting_at: Some(time(90_000)),
        why: text("somebody had a hunch"),
        note: String::new(),
        ..done.clone()
    };
    vec![done, tried]
}

/// The view while the plan waits.
pub(crate) fn view() -> View {
    View {
        now: UtcTime::from_millis(NOW),
        status: StatusView {
            version: text("0.1.0"),
            started: time(86_400),
            uptime_ms: 86_400_000,
            state_dir: text("rekindle-state"),
            mode: Mode::Propose,
            listening: ListeningView {
                grpc: text("127.0.0.1:4317"),
                http: text("127.0.0.1:4318"),
                api: text("127.0.0.1:4320"),
            },
            spans: 18_241_077,
            spans_per_s: 1843.2,
            traces: 2_113_400,
            requests: 2_113_388,
            dropped: BTreeMap::from([(text("late"), 31), (text("duplicate"), 1204)]),
            memory_bytes: Some(187 << 20),
            incidents_open: 1,
            journal: HealthView {
                ok: true,
                note: text("1.2 GiB of 4 GiB"),
            },
            ledger: HealthView {
                ok: true,
                note: String::new(),
            },
            ..StatusView::default()
        },
        incidents: vec![
            IncidentView {
                id: 7,
                state: IncidentState::Open,
                opened: time(41),
                since: time(42),
                request_types: vec![text("web GET /search"), text("bidding POST /bid")],
                failed: 250,
                ok: 1840,
                ranking: Some(ranking()),
                plans: vec![3],
                ..IncidentView::default()
            },
            IncidentView {
                id: 6,
                state: IncidentState::Closed,
                opened: time(264),
                since: time(266),
                closed: Some(time(255)),
                request_types: vec![text("web GET /search")],
                failed: 61,
                ok: 410,
                actions: vec![41],
                ..IncidentView::default()
            },
        ],
        request_types: vec![
            request_type("web GET /search", 40, 42, 60),
            request_type("bidding POST /bid", 12, 30, 8),
            request_type("web GET /item/{id}", 80, 0, 0),
            request_type("web POST /login", 4, 0, 0),
            request_type(HOSTILE, 1, 0, 0),
        ],
        tree: tree(),
        rejuvenation: vec![RejuvenationView {
            name: text("catalog-memory"),
            state: RuleState::Settling,
            unit: text("catalog.search"),
            words: text("catalog.search is back; what that gave back is read in a moment"),
            reading: text("815 MiB"),
            alarm: text("800 MiB"),
            sufficient: text("500 MiB"),
            order: vec![
                TurnView {
                    unit: text("catalog.search"),
                    gave: text("310 MiB"),
                },
                TurnView {
                    unit: text("catalog"),
                    gave: String::new(),
                },
            ],
        }],
        recovery: RecoveryView {
            plans: vec![plan()],
            actions: actions(),
            budget: Some(BudgetView {
                restarts_used: 1,
                restarts: 6,
                failed_requests_used: 482,
                failed_requests: 10_000,
                per_ms: 3_600_000,
            }),
        },
    }
}

/// A view in which all is as usual.
pub(crate) fn quiet_view() -> View {
    let mut view = view();
    view.incidents.remove(0);
    view.recovery.plans.clear();
    view.rejuvenation.clear();
    view.request_types
        .retain(|request_type| !request_type.failing);
    for unit in &mut view.tree {
        unit.suspicions.clear();
    }
    view
}

fn span(
    depth: usize,
    service: &str,
    operation: &str,
    offset_us: u64,
    duration_us: u64,
) -> SpanView {
    SpanView {
        id: format!("{offset_us:016x}"),
        depth,
        service: text(service),
        operation: text(operation),
        kind: text("server"),
        offset_us,
        duration_us,
        ..SpanView::default()
    }
}

pub(crate) fn trace(failed: bool) -> TraceView {
    let mut search = span(3, "catalog", "search", 2_600, 1_900);
    search.component = Some(text("catalog.search"));
    search.kind = text("internal");
    search.generation = Some(4);
    let mut called = span(2, "catalog", "GET /search", 2_100, 2_800);
    let mut call = span(1, "web", "GET", 1_200, 4_400);
    call.kind = text("client");
    let mut entry = span(0, "web", "GET /search", 0, 6_300);
    let mut hostile = span(1, "web", HOSTILE, 5_700, 20);
    hostile.orphan = true;
    if failed {
        search.failed = true;
        search.raised = true;
        search.error = Some(text("IndexCorrupt"));
        for passed_on in [&mut called, &mut call, &mut entry] {
            passed_on.failed = true;
            passed_on.error = Some(text("500"));
        }
    }
    TraceView {
        id: text(if failed { FAILED_TRACE } else { OK_TRACE }),
        request_type: text("web GET /search"),
        outcome: if failed { Outcome::Failed } else { Outcome::Ok },
        began: time(5),
        duration_us: 6_300,
        spans: vec![entry, call, called, search, hostile],
        note: text("complete: its root came, and then nothing more"),
        compare: Some(text(if failed { OK_TRACE } else { FAILED_TRACE })),
    }
}

/// A backend that shows one view, or another one as soon as it was told something, and remembers what it was told.
pub(crate) struct Fixture {
    view: Arc<View>,
    /// The other one.
    then: Mutex<Option<Arc<View>>>,
    pub(crate) told: Mutex<Vec<ApiCommand>>,
}

impl Fixture {
    pub(crate) fn new(view: View) -> Arc<Self> {
        Arc::new(Self {
            view: Arc::new(view),
            then: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// From the first command on it shows this.
    pub(crate) fn then_shows(&self, view: View) {
        *self.then.lock().expect("no test panics with it") = Some(Arc::new(view));
    }

    pub(crate) fn told(&self) -> Vec<ApiCommand> {
        self.told.lock().expect("no test panics with it").clone()
    }
}

/// What telemetry shows.
pub(crate) fn components() -> Vec<ComponentView> {
    vec![
        component(Level::Service, "catalog", "catalog"),
        component(Level::CodeComponent, "catalog", "catalog.search"),
    ]
}

impl Backend for Fixture {
    fn view(&self) -> Arc<View> {
        let then = self.then.lock().expect("no test panics with it").clone();
        match then {
            Some(then) if !self.told().is_empty() => then,
            _ => Arc::clone(&self.view),
        }
    }

    fn trace(&self, id: TraceId) -> BoxFuture<'_, Result<Option<TraceView>, Problem>> {
        let id = id.to_string();
        let found = [trace(true), trace(false)]
            .into_iter()
            .find(|trace| trace.id == id);
        Box::pin(async move { Ok(found) })
    }

    fn components(&self) -> Vec<ComponentView> {
        components()
    }

    fn post_mortems(&self) -> BoxFuture<'_, Vec<KeptView>> {
        let kept = KeptView {
            action: 12,
            incident: Some(4),
            at: self.view.now,
        };
        Box::pin(std::future::ready(vec![kept]))
    }

    fn post_mortem(&self, action: u64) -> BoxFuture<'_, Result<Option<PostMortemView>, Problem>> {
        let found = PostMortemView {
            action,
            incident: Some(4),
            unit: text("catalog"),
            next_generation: 5,
            at: self.view.now,
            took_ms: 31,
            command: Some(CommandSaid {
                command: vec![text("thread-dump")],
                end: text("it succeeded"),
                // What a sick process says is as foreign as telemetry.
                output: text("<b>blocked</b> in search"),
                cut_bytes: 0,
            }),
            processes: vec![ProcessFigures {
                pid: 4711,
                name: text("catalog"),
                state: text("S"),
                waits_in: Some(text("futex_wait")),
                memory_bytes: Some(96 << 20),
                ..ProcessFigures::default()
            }],
            log: text("out of handles\n"),
            traces: vec![trace(true)],
            missing: vec![text("open files: not to be seen")],
        };
        Box::pin(std::future::ready(Ok((action == 12).then_some(found))))
    }

    fn command(&self, command: ApiCommand) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.told
            .lock()
            .expect("no test panics with it")
            .push(command.clone());
        let reply = match command {
            ApiCommand::Approve { plan: 3, .. } => Ok(Reply::Done {
                message: text("plan 3 is under way"),
                recovery: Some(12),
            }),
            ApiCommand::Approve { plan, .. } => {
                Err(Problem::not_found(format!("no plan {plan} is waiting")))
            }
            ApiCommand::Reject { plan, reason, .. } => {
                Ok(Reply::done(format!("plan {plan} was dropped: {reason}")))
            }
            ApiCommand::Restart {
                unit,
                dry_run: true,
                ..
            } => Ok(Reply::DryRun(Box::new(DryRun {
                unit: unit.clone(),
                restarts: vec![unit.clone()],
                affected: vec![unit.clone(), format!("{unit}.search")],
                expected_downtime_ms: 2300,
                expected_cost: 310.0,
                usual_cost: None,
                refusals: Vec::new(),
                unattended_refusals: vec![text("its mode is propose")],
            }))),
            ApiCommand::Restart { unit, .. } if unit == "web" => Err(Problem::refused(
                "web was restarted 2s ago; the next may be in 8s",
            )),
            ApiCommand::Restart { unit, .. } => Ok(Reply::done(format!("{unit} is restarting"))),
            ApiCommand::Pause { duration, .. } => Ok(Reply::done(match duration {
                Some(duration) => format!("paused for {} s", duration.as_secs()),
                None => text("paused until resumed"),
            })),
            ApiCommand::Forget { unit, .. } => Ok(Reply::done(format!("{unit} is forgotten"))),
            ApiCommand::Resume { .. } => Ok(Reply::done("resumed")),
            ApiCommand::ExplainUnit(unit) => Ok(Reply::Explanation(Box::new(Explanation {
                what: unit.clone(),
                sentences: vec![format!(
                    "{unit} was restarted 5 times, which cured 5 faults."
                )],
                unit: self.view.unit(&unit).cloned(),
                plans: vec![plan()],
                actions: actions(),
                ..Explanation::default()
            }))),
            ApiCommand::History { limit } => {
                let mut actions = actions();
                actions.truncate(limit);
                Ok(Reply::History { actions })
            }
            ApiCommand::Learned => Ok(Reply::Learned(Box::new(LearnedView {
                costs: vec![CostRecord {
                    unit: Some(text("catalog")),
                    downtime: Some(FigureRecord {
                        mean: 2.3,
                        restarts: 4.0,
                        ..FigureRecord::default()
                    }),
                    ..CostRecord::default()
                }],
                ..LearnedView::default()
            }))),
            ApiCommand::Gauges { unit, .. } => Ok(Reply::done(format!("heard of {unit}"))),
            ApiCommand::Said { unit, .. } => Ok(Reply::done(format!("heard about {unit}"))),
            ApiCommand::Intervention(told) => Ok(Reply::done(format!("{} is set apart", told.id))),
            ApiCommand::Outcomes(reports) => Ok(Reply::done(format!("{} reports", reports.len()))),
        };
        Box::pin(async move { reply })
    }
}

/// A server of a fixture; ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) fixture: Arc<Fixture>,
    stop: tokio::sync::watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        }
    }
}

impl Server {
    pub(crate) fn start(view: View) -> Self {
        Self::start_at("127.0.0.1:0", view)
    }

    pub(crate) fn start_at(address: &str, view: View) -> Self {
        Self::start_for(address, view, rekindle::api::Speakers::default())
    }

    /// Where only these may say how units and requests are.
    pub(crate) fn start_for(address: &str, view: View, speakers: rekindle::api::Speakers) -> Self {
        let fixture = Fixture::new(view);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(address))
            .expect("a free port");
        let address = listener.local_addr().expect("bound");
        let backend: Arc<dyn Backend> = fixture.clone();
        let hosts = HostPolicy::new([text("rekindle.test")]);
        let router = rekindle::api::router_for(backend, hosts, speakers);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let limits = rekindle::api::Limits::default();
        runtime.spawn(rekindle::api::serve(listener, router, limits, stopped));
        Self {
            address,
            fixture,
            stop,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
