//! The daemon: from a checked configuration to a running engine, and down again.
//!
//! Sockets and the state directory are taken first, so that what can't work fails before anything
//! runs. Nothing that correctness needs happens on the way down: starting is recovering, and a
//! daemon that was killed starts just the same.

mod parts;
mod running;
mod sampling;
mod state_dir;
mod store;
mod surroundings;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use rekindle_analysis::rank::Input;
use rekindle_analysis::{AnalysisConfig, Analyzer};
use rekindle_ingest::assembly::Assembler;
use rekindle_ingest::journal::Journal;
use rekindle_ingest::receive::{IngestStats, Receivers};
use rekindle_recovery::clock::boot_clock;
use rekindle_recovery::crash::{CrashHook, CrashPoint};
use rekindle_recovery::executor::Executor;
use rekindle_recovery::executors::Executors;
use rekindle_recovery::probe::Probes;
use rekindle_recovery::rejuvenate::{self, Board, Gauges, RejuvenationConfig};
use rekindle_recovery::service::{self, ServiceConfig, system_clock};
use rekindle_recovery::template::{self, Gardener};
use rekindle_recovery::watch::Watcher;
use rekindle_recovery::{Cohort, LiveTree, RestartTree, UnitName, UnitSpec};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api::{self, Speakers};
use crate::config::Config;
use crate::engine::{
    Engine, EngineBackend, Inputs, KnownIncidents, Rehearsal, Remembers, Shared, Teller, recount,
    spawn_checks, spawn_questions, spawn_watches,
};
use crate::view::{IncidentView, RankingView, View};
pub(crate) use parts::keep_attributes;
use running::{Running, Signals};
use surroundings::{Daemon, Watched};

/// How long tasks may take to end after the stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Events between tasks that may wait. Each kind comes at most a few times a second per unit or
/// probe; a reader that is this far behind has stopped.
const EVENT_QUEUE: usize = 1024;

/// What the engine has kept of its rankings may wait: of what is more, the next ranking says it again.
const NOTE_QUEUE: usize = 16;

/// How often units' checks are asked.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// How a daemon is run, beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Stop the supervised processes when the daemon ends, told to or not. Otherwise they go on, and
    /// are adopted by the next one.
    pub stop_children: bool,
    /// Where to kill the daemon, for tests of what happens then.
    pub crash_point: Option<CrashPoint>,
}

/// Runs until the process is told to stop (TERM or an interrupt).
///
/// # Errors
/// When the state directory is taken or can't be written, a socket can't be bound, the restart tree
/// is wrong, or a part of the daemon ended by itself.
pub fn run(config: Config, options: &RunOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("rekindle")
        .build()
        .context("the asynchronous runtime could not be started")?;
    let result = runtime.block_on(serve(config, options));
    runtime.shutdown_timeout(DRAIN);
    result
}

/// The restart tree of a configuration.
///
/// # Errors
/// Everything that is wrong with it, a line each.
pub fn tree_of(config: &Config) -> anyhow::Result<RestartTree> {
    if config.restart.tree.is_empty() {
        return Ok(RestartTree::empty());
    }
    RestartTree::growing(units_of(config), config.restart.kinds.clone()).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
        anyhow::anyhow!("the restart tree is wrong:\n{}", lines.join("\n"))
    })
}

/// The units that are written, each with a mode or below one that has one.
fn units_of(config: &Config) -> Vec<UnitSpec> {
    let mut units = config.restart.tree.clone();
    for unit in units.iter_mut().filter(|unit| unit.parent.is_none()) {
        unit.mode = unit.mode.or(Some(config.restart.mode));
    }
    units
}

/// What a daemon with this configuration would make of recorded spans.
///
/// # Errors
/// As [`tree_of`].
pub(crate) fn rehearsal_of(config: &Config) -> anyhow::Result<Rehearsal> {
    Ok(Rehearsal::new(
        Assembler::new(parts::assembly(config)),
        Analyzer::new(parts::analysis(config)),
        tree_of(config)?,
        parts::policy(config),
        &config.restart.learned,
    ))
}

/// What an incident's last ranking was drawn from, by what its engine left in the state directory.
///
/// # Errors
/// When the journal lacks something of it.
pub(crate) fn recount_of(
    config: &Config,
    incident: &IncidentView,
    shown: &RankingView,
) -> anyhow::Result<Input> {
    let dir = &config.state_dir;
    let seed = sampling::known_seed(dir)
        .with_context(|| format!("{} is no engine's state directory", dir.display()))?;
    let counting = parts::counting(config, seed);
    Ok(recount(&dir.join("journal"), counting, incident, shown)?)
}

async fn serve(config: Config, options: &RunOptions) -> anyhow::Result<()> {
    // Before anything is started: whoever is told to stop meanwhile must still clear up.
    let mut signals = Signals::watch()?;
    let tree = Arc::new(tree_of(&config)?);
    let state_dir = state_dir::prepare(&config.state_dir)?;
    let _lock = lock(&state_dir)?;
    if service::make_room(&state_dir) {
        tracing::warn!(state_dir = %state_dir.display(), "the disk is full; the ledger's reserve is given up for the start");
    }

    let receivers = Receivers::bind(&parts::receivers(&config)).await?;
    let api = TcpListener::bind(config.listen.api)
        .await
        .with_context(|| format!("listening on {} for the API", config.listen.api))?;
    let speakers = config.listen.speakers.as_deref();
    let speakers = Speakers::open(speakers).with_context(|| {
        let file = speakers.unwrap_or(Path::new("")).display();
        format!("reading `listen.speakers`, the file {file}")
    })?;
    let probes = Probes::new();
    let executors = Executors::build(
        &config.restart.tree,
        &state_dir,
        &probes,
        config.restart.keeping,
    )
    .await
    .context("the supervised processes could not be taken over")?;
    let supervisor = Arc::clone(executors.supervisor());
    let (mut gardener, growing) = Gardener::new(
        units_of(&config),
        config.restart.kinds.clone(),
        config.restart.templates.clone(),
        executors.clone(),
        system_clock(),
    );
    // Before recovery starts: what it left in flight may be of units that grew.
    let in_flight = service::in_flight(&state_dir).context("recovery could not be started")?;
    gardener.expect(&in_flight);
    let (tree, by_unit) = match gardener.look(&in_flight).await {
        // Not taken by the service yet: the next look offers it again, with who of them is up.
        Some(grown) => (grown.tree, grown.executors),
        None => (tree, executors.by_unit().clone()),
    };
    let garden = Garden {
        gardener,
        growing,
        by_unit,
    };

    let mut running = Running::new();
    let start = Start {
        config,
        tree: tree.into(),
        garden,
        state_dir,
        receivers,
        api,
        speakers,
        probes,
        executors,
        crash: options.crash_point.map(crash_hook),
    };
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        ended = live(start, &mut running) => ended,
    };
    if let Err(error) = &ended {
        tracing::error!("stopping: {error:#}");
    } else {
        tracing::info!("stopping");
    }
    // First of all, so that nothing is restarted that is about to be stopped.
    running.tell();
    if options.stop_children {
        for (unit, stopped) in supervisor.stop_all().await {
            if let Err(error) = stopped {
                tracing::error!(%unit, %error, "a supervised process could not be stopped");
            }
        }
    }
    running.stop(DRAIN).await;
    ended
}

/// What is taken before anything runs.
struct Start {
    config: Config,
    tree: LiveTree,
    garden: Garden,
    state_dir: PathBuf,
    receivers: Receivers,
    api: TcpListener,
    speakers: Speakers,
    probes: Probes,
    executors: Executors,
    crash: Option<CrashHook>,
}

/// Who lets the tree grow.
struct Garden {
    gardener: Gardener,
    growing: watch::Receiver<Arc<Vec<template::Growing>>>,
    /// The executors of the tree as it is at the start.
    by_unit: BTreeMap<UnitName, Arc<dyn Executor>>,
}

/// Starts everything and lets it run, until a part of it ends by itself. Whoever drops this has told
/// the daemon to stop.
async fn live(start: Start, running: &mut Running) -> anyhow::Result<()> {
    let Start {
        config,
        tree,
        garden,
        state_dir,
        receivers,
        api,
        speakers,
        probes,
        executors,
        crash,
    } = start;
    let journal_dir = state_dir.join("journal");
    let (journal, recovered) = Journal::open(&journal_dir, parts::journal(&config))?;
    tracing::info!(
        segments = recovered.segments,
        bytes = recovered.bytes,
        torn_bytes = recovered.torn_bytes,
        damaged_segments = recovered.damaged_segments,
        "the journal is open"
    );

    let stopped = running.stopped();
    let spans = store::open(&config.store)?;
    let store_health = store::StoreHealth::default();
    let supervisor = Arc::clone(executors.supervisor());
    let cabinet = Arc::clone(executors.cabinet());
    let children = supervisor
        .events()
        .context("the supervisor's events were taken already")?;

    let analyzer = Analyzer::new(AnalysisConfig {
        sampling_seed: sampling::seed(&state_dir, rand::random)?,
        ..parts::analysis(&config)
    });
    let shared = Arc::new(Shared::new(analyzer, tree.clone()));
    let cohort: Arc<dyn Cohort> = Arc::clone(&shared) as Arc<dyn Cohort>;
    let notifier = parts::notifier(&config);
    let board = Arc::new(Board::default());
    let gauges: Arc<dyn Gauges> = Arc::new(rejuvenate::Readings {
        supervisor: Arc::clone(&supervisor),
        probes: probes.clone(),
        cohort: Arc::clone(&cohort),
        board: Arc::clone(&board),
        clock: system_clock(),
    });
    let watcher = Arc::new(Watcher::new(
        tree.clone(),
        Arc::clone(&gauges),
        system_clock(),
    ));
    let (recovery, mut restarts) = service::start(
        ServiceConfig {
            policy: parts::policy(&config),
            state_dir: state_dir.clone(),
            executors: garden.by_unit,
            prober: Arc::new(parts::ProberOf::new(&probes, &supervisor, &watcher)),
            notifier: Arc::clone(&notifier),
            seeds: config.restart.learned.clone(),
            crash,
            clock: system_clock(),
            boot: boot_clock(),
        },
        tree.clone(),
        cohort,
    )
    .context("recovery could not be started")?;
    watcher.follow(recovery.status());
    let (watched, mut told) = (recovery.clone(), stopped.clone());
    running.spawn("recovery", async move {
        tokio::select! {
            () = watched.finished() => {}
            // An error means that nobody is left to say so.
            _ = told.wait_for(|stop| *stop) => {}
        }
    });

    let stats = Arc::new(IngestStats::default());
    let (view_sender, view) = watch::channel(Arc::new(View::default()));
    executors.call_witness(Arc::new(Remembers {
        view: view.clone(),
        shared: Arc::clone(&shared),
    }));
    let (check_sender, checks) = mpsc::channel(EVENT_QUEUE);
    let (said_sender, said) = mpsc::channel(EVENT_QUEUE);
    let (note_sender, notes) = mpsc::channel(NOTE_QUEUE);
    let (batch_sender, batches) = mpsc::channel(config.ingest.queue);
    let listening = [
        receivers.grpc_addr(),
        receivers.http_addr(),
        api.local_addr()?,
    ];
    let known = recovery.status().borrow().last_incident();
    let incidents = KnownIncidents::open(&state_dir, known, SystemTime::now().into())
        .with_context(|| format!("writing to the state directory {}", state_dir.display()))?;
    let (rejuvenation, rolls) = rejuvenate::prepare(RejuvenationConfig {
        rules: config.restart.rejuvenate.clone(),
        tree: tree.clone(),
        recovery: recovery.clone(),
        gauges,
        notifier,
        clock: system_clock(),
        memory: state_dir.join("rejuvenation.json"),
    });
    let surroundings = Daemon::new(
        tree.clone(),
        state_dir,
        listening,
        Watched {
            journal: (journal.allowance(), config.ingest.journal.max_bytes),
            stats: Arc::clone(&stats),
            supervisor: Arc::clone(&supervisor),
            watcher: Arc::clone(&watcher),
            store: spans.is_some().then(|| store_health.clone()),
            rejuvenation,
            unheard: Arc::clone(speakers.unheard()),
            growing: garden.growing,
        },
    );
    let (mut engine, ranks) = Engine::new(
        Assembler::new(parts::assembly(&config)),
        Arc::clone(&shared),
        tree.clone(),
        &recovery,
        Box::new(surroundings),
        view_sender,
        incidents,
    );
    // On a thread for what blocks: the stop must be heard meanwhile, and a long journal takes a while.
    let replayed = tokio::task::spawn_blocking(move || {
        parts::replay(&journal, &config, &mut engine, &mut restarts)
            .map(|()| (journal, config, engine, restarts))
    });
    let (journal, config, engine, restarts) =
        replayed.await.context("the replay was broken off")??;
    let teller = Teller::new(journal.clone(), batch_sender.clone());
    shared.caught_up(SystemTime::now());
    if let Some(spans) = spans.clone() {
        let (settings, kept, dir) = (config.store.clone(), journal.clone(), journal_dir.clone());
        let store = Arc::clone(&spans);
        let started = move || store::start(store, &settings, kept, &dir);
        let compactor = tokio::task::spawn_blocking(started)
            .await
            .context("the store's start was broken off")??;
        running.spawn(
            "span store",
            store::run(
                compactor,
                spans,
                journal.clone(),
                store_health,
                stopped.clone(),
            ),
        );
    }

    let inputs = Inputs {
        batches,
        journal: journal.clone(),
        children,
        checks,
        said,
        rankings: ranks.rankings,
        notes: note_sender,
        shutdown: stopped.clone(),
    };
    let (brought, carrier, mut told) = (recovery.clone(), engine.courier(), stopped.clone());
    running.spawn("courier", async move {
        tokio::select! {
            () = carrier.run(brought) => {}
            // An error means that nobody is left to say so.
            _ = told.wait_for(|stop| *stop) => {}
        }
    });
    running.spawn(
        "teller",
        teller.clone().tell_all(restarts, notes, stopped.clone()),
    );
    running.spawn_thread("engine", engine.run(inputs))?;
    running.spawn_thread("ranker", ranks.work.run(stopped.clone()))?;
    running.spawn(
        "receivers",
        receivers.serve(journal.clone(), batch_sender, stats, stopped.clone()),
    );
    let recovers = recovery.status();
    let (grows, living, mut told) = (recovery.clone(), tree.clone(), stopped.clone());
    if !config.restart.templates.is_empty() {
        running.spawn("gardener", async move {
            tokio::select! {
                () = garden.gardener.run(grows, living) => {}
                // An error means that nobody is left to say so.
                _ = told.wait_for(|stop| *stop) => {}
            }
        });
    }
    let backend = Arc::new(EngineBackend {
        view,
        shared,
        recovery,
        tree: tree.clone(),
        said: said_sender,
        teller: teller.clone(),
        stored: store::traces(&spans, journal_dir),
        cabinet,
        board,
    });
    let hosts = api::HostPolicy::new(config.listen.names.clone());
    let router = api::router_for(backend, hosts, speakers);
    running.spawn(
        "API",
        api::serve(api, router, api::Limits::default(), stopped.clone()),
    );
    for (unit, started) in supervisor.start_missing().await {
        if let Err(error) = started {
            tracing::error!(%unit, %error, "a supervised process could not be started");
        }
    }
    // Only now: whoever asks a site that is still starting learns nothing.
    let mut askers = JoinSet::new();
    spawn_questions(
        &mut askers,
        parts::questions(&config),
        &probes,
        &teller,
        &recovers,
        &stopped,
    );
    spawn_checks(
        &mut askers,
        &tree,
        CHECK_EVERY,
        &probes,
        &check_sender,
        &stopped,
    );
    spawn_watches(
        &mut askers,
        &tree,
        &watcher,
        CHECK_EVERY,
        &check_sender,
        &stopped,
    );
    running.adopt("probes", askers);
    // Only now, too: what is starting has no age and no memory worth speaking of.
    let mut told = stopped.clone();
    running.spawn("rejuvenation", async move {
        tokio::select! {
            () = rolls => {}
            // An error means that nobody is left to say so.
            _ = told.wait_for(|stop| *stop) => {}
        }
    });
    let [grpc, http, api] = listening;
    tracing::info!(%grpc, %http, %api, "ready");

    let part = running.first_to_end().await;
    bail!("the part `{part}` ended by itself, and without it the rest is no use")
}

/// One engine per state directory: two would both restart.
fn lock(state_dir: &Path) -> anyhow::Result<File> {
    let path = state_dir.join("lock");
    let file =
        state_dir::open_private(&path).with_context(|| format!("creating {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another Rekindle uses the state directory {}: stop it, or give this one another with \
             `state_dir`",
            state_dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Kills this process at one place, as an outside hand would: nothing runs afterwards.
fn crash_hook(at: CrashPoint) -> CrashHook {
    Arc::new(move |passed| {
        if passed == at {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
    })
}
