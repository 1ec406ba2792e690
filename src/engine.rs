//! The engine: one loop that owns what is known about the system, and everything that can wake it.
//!
//! Spans come in batches, time comes as ticks, judges outside report outcomes, recovery says what
//! it does. Out go evidence, snapshots for people, and nothing else: the engine restarts nothing.
//! It runs on a thread of its own, so that a burst of spans never makes an exporter, a person or a
//! recovery wait for a free worker.

mod archive;
mod backend;
mod circumstances;
mod courier;
mod course;
mod direct;
mod heard;
mod ids;
pub(crate) mod mapping;
mod probing;
pub(crate) mod publish;
mod ranker;
mod recount;
mod rehearsal;
mod said;
mod shared;
mod spreading;
mod stored;
mod teller;
mod told;
mod witness;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rekindle_analysis::rank::Input;
use rekindle_analysis::{Analyzer, Change, ClosingReason, Incident, Ranking};
use rekindle_ingest::assembly::Assembler;
use rekindle_ingest::receive::Batch;
use rekindle_ingest::{Journal, PackedSpans};
use rekindle_model::{Intervention, TraceId, UnixNanos};
use rekindle_recovery::clock::Clocks;
use rekindle_recovery::lifecycle::State;
use rekindle_recovery::process::{ChildEvent, ChildStatus};
use rekindle_recovery::service::{Recovery, RecoveryStatus};
use rekindle_recovery::tree::Inferred;
use rekindle_recovery::{Evidence, LiveTree, RestartTree, UnitName};
use tokio::sync::{mpsc, watch};

pub(crate) use archive::{KnownIncidents, archived};
pub(crate) use backend::EngineBackend;
pub(crate) use courier::Courier;
pub(crate) use probing::{Question, spawn_checks, spawn_questions, spawn_watches};
pub(crate) use recount::{Counting, RecountError, recount};
pub(crate) use rehearsal::{Happening, Rehearsal};
pub(crate) use said::Said;
pub(crate) use shared::Shared;
pub(crate) use stored::StoredTraces;
pub(crate) use teller::Teller;
pub(crate) use told::{Beginning, Note, Told, read};
pub(crate) use witness::Remembers;

use crate::view::{IncidentView, StatusView, UtcTime, View};
use archive::Archive;
use course::{BEAT, Course};
use direct::DirectFaults;
use heard::Heard;
use ids::IncidentIds;
use ranker::{Ranked, Ranker, RankerEnds};
use spreading::Spreading;

/// Time waits for so long, and no longer, for what was received and isn't in the journal yet. What comes later counts, but a
/// ranking may then not be made again from the journal.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// How often the snapshot that people see is made anew.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);

/// Ranking rests for so many times what it took: under heavy traffic it may take a tenth of a processor, and no more, from
/// receiving.
const RESTS: u32 = 9;

/// How often an open incident is ranked again: twice in the time that a person takes to look.
const RANK_EVERY: Duration = Duration::from_millis(200);

/// Everything that can wake the engine.
#[derive(Debug)]
enum Event {
    /// An exporter's spans, or what was told beside them; already durable.
    Batch(Batch),
    /// A supervised process started, ended or was adopted.
    Child(ChildEvent),
    /// A unit's check was answered.
    Check(CheckResult),
    /// Somebody said how a unit is.
    Said(Said),
    /// Rankings that were asked for are made.
    Ranked(Ranked),
    /// Time passed.
    Tick,
    /// The daemon stops.
    Stop,
}

/// What a unit was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A question whose answer is known.
    Question,
    /// Whether its figures keep within their bounds, and if they don't: whether more than its own word says so, and
    /// since when.
    Bounds {
        is_proof: bool,
        since: Option<SystemTime>,
    },
    /// The same, when that can't be told at present; the answer says why.
    UnclearBounds,
}

/// The answer to one unit's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckResult {
    /// The unit.
    pub(crate) unit: rekindle_recovery::UnitName,
    /// What was asked.
    pub(crate) asked: Asked,
    /// Right, or what was wrong.
    pub(crate) answer: Result<(), String>,
}

/// What the engine listens to.
pub(crate) struct Inputs {
    /// From the receivers, and from whoever tells what concerns requests.
    pub(crate) batches: mpsc::Receiver<Batch>,
    /// Where what comes from there lies, and is still on its way.
    pub(crate) journal: Journal,
    /// From the supervisor.
    pub(crate) children: mpsc::Receiver<ChildEvent>,
    /// From the units' checks.
    pub(crate) checks: mpsc::Receiver<CheckResult>,
    /// From the API: heartbeats and reports about units.
    pub(crate) said: mpsc::Receiver<Said>,
    /// From the ranker.
    pub(crate) rankings: mpsc::Receiver<Ranked>,
    /// To whoever keeps what is told.
    pub(crate) notes: mpsc::Sender<Note>,
    /// Turns true when the daemon stops.
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Inputs {
    /// The next thing that happens. Telemetry comes last: a flood of it must not keep time from
    /// passing.
    async fn next(&mut self, ticks: &mut tokio::time::Interval) -> Event {
        tokio::select! {
            biased;
            _ = self.shutdown.wait_for(|stop| *stop) => Event::Stop,
            _ = ticks.tick() => Event::Tick,
            Some(child) = self.children.recv() => Event::Child(child),
            Some(check) = self.checks.recv() => Event::Check(check),
            Some(said) = self.said.recv() => Event::Said(said),
            Some(ranked) = self.rankings.recv() => Event::Ranked(ranked),
            Some(batch) = self.batches.recv() => Event::Batch(batch),
        }
    }
}

/// The parts of a snapshot that the engine doesn't make itself.
pub(crate) trait Surroundings: Send {
    /// Everything in the status but what the engine counts.
    fn status(&self) -> StatusView;
    /// The supervised processes.
    fn children(&self) -> Vec<ChildStatus>;
    /// How many of their events found no room.
    fn events_missed(&self) -> u64;
    /// How the unit stands to the figures that it must keep within their bounds.
    fn watches(&self, unit: &UnitName) -> Vec<crate::view::WatchView>;
    /// How preventive restarts stand.
    fn rejuvenation(&self) -> Vec<crate::view::RejuvenationView>;
}

/// The engine's own state.
pub(crate) struct Engine {
    course: Course,
    pub(crate) shared: Arc<Shared>,
    /// The tree that this turn goes by.
    pub(crate) tree: Arc<RestartTree>,
    living: LiveTree,
    courier: Courier,
    /// What recovery was told last of what follows from what was seen.
    inferred: Inferred,
    pub(crate) status: watch::Receiver<Arc<RecoveryStatus>>,
    pub(crate) surroundings: Box<dyn Surroundings>,
    pub(crate) view: watch::Sender<Arc<View>>,
    ids: IncidentIds,
    archive: Archive,
    /// Spans taken since the start; the rate that the status shows is made of it.
    pub(crate) spans_seen: u64,
    traces_seen: u64,
    /// When the newest batch that was counted came in.
    received_at: UnixNanos,
    rankings: BTreeMap<u64, Ranking>,
    /// The traces that are kept for each incident's last ranking.
    kept: BTreeMap<u64, BTreeSet<TraceId>>,
    /// The unit that led each incident's last ranking.
    leading: BTreeMap<u64, Option<UnitName>>,
    ranker: Ranker,
    ranked_at: Option<UnixNanos>,
    /// Whether an incident has changed since.
    has_news: bool,
    /// How long the last ranking of all incidents took, here and there.
    rank_took: Duration,
    direct: DirectFaults,
    heard: Heard,
    changes: circumstances::Changes,
    clocks: Clocks,
    spreading: Spreading,
    published: Option<(UnixNanos, u64)>,
    spans_per_second: f64,
}

impl Engine {
    /// An engine that has seen nothing yet, and who ranks beside it.
    pub(crate) fn new(
        assembler: Assembler,
        shared: Arc<Shared>,
        living: LiveTree,
        recovery: &Recovery,
        surroundings: Box<dyn Surroundings>,
        view: watch::Sender<Arc<View>>,
        incidents: KnownIncidents,
    ) -> (Self, RankerEnds) {
        let KnownIncidents { ids, archive } = incidents;
        let status = recovery.status();
        let tree = living.now();
        let mut spreading = Spreading::new(&tree);
        spreading.record(&recovery.take_former(), &tree);
        let (ranker, ends) = Ranker::new();
        let engine = Self {
            course: Course::new(assembler),
            shared,
            tree,
            living,
            courier: Courier::default(),
            inferred: Inferred::default(),
            status,
            surroundings,
            view,
            ids,
            archive,
            spans_seen: 0,
            traces_seen: 0,
            received_at: UnixNanos::default(),
            rankings: BTreeMap::new(),
            kept: BTreeMap::new(),
            leading: BTreeMap::new(),
            ranker,
            ranked_at: None,
            has_news: false,
            rank_took: Duration::ZERO,
            direct: DirectFaults::default(),
            heard: Heard::default(),
            changes: circumstances::Changes::default(),
            clocks: Clocks::new(SystemTime::now(), Instant::now()),
            spreading,
            published: None,
            spans_per_second: 0.0,
        };
        (engine, ends)
    }

    /// Where what recovery should know is left, for the task that brings it.
    pub(crate) fn courier(&self) -> Courier {
        self.courier.clone()
    }

    /// Takes spans that the journal remembers, as if they came now for the first time. Nothing is told to
    /// recovery meanwhile: what was wrong then may long be over.
    pub(crate) fn replay(&mut self, position: u64, received_at: UnixNanos, spans: &PackedSpans) {
        self.let_time_pass(received_at);
        self.take(position, received_at, spans);
    }

    /// Takes what the journal remembers of what was told beside spans.
    pub(crate) fn remember(
        &mut self,
        position: u64,
        received_at: UnixNanos,
        note: Note,
        now: UnixNanos,
    ) {
        match note {
            Note::Said(said) if self.tree.spec(&said.unit).is_none() => {}
            Note::Said(said) => {
                let (at, now) = (mapping::wall(received_at), mapping::wall(now));
                self.direct.was_said(said, at, now);
            }
            Note::Began { began } => self.begin(&began, position),
            told => {
                self.let_time_pass(received_at);
                if !told.is_of_one_life() {
                    self.take_note(position, received_at, told);
                }
            }
        }
    }

    /// An engine, this or a former one, began to look; the journal was read up to this position.
    pub(crate) fn begin(&mut self, began: &Beginning, position: u64) {
        let mut analyzer = self.shared.analyzer();
        self.course.begin(&mut analyzer, began, position);
    }

    /// Sets apart what this lies on.
    pub(crate) fn intervene(&mut self, told: Intervention) {
        self.shared.analyzer().intervene(told);
    }

    /// Runs until the daemon stops.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        self.heard.listens(now());
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            match inputs.next(&mut ticks).await {
                Event::Batch(batch) => {
                    self.arrive(&batch);
                    self.received_at = batch.received_at;
                }
                Event::Child(event) => self.direct.child(&event, SystemTime::now(), &mut self.ids),
                // What we restart is expected not to answer.
                Event::Check(check) if self.is_disturbed(&check.unit) => {}
                // It may have gone while it was asked.
                Event::Check(check) if self.tree.spec(&check.unit).is_none() => {}
                Event::Check(check) => {
                    self.direct
                        .check(check, &self.tree, SystemTime::now(), &mut self.ids);
                }
                // It may have gone since the API was told of it.
                Event::Said(said) if self.tree.spec(&said.unit).is_none() => {}
                Event::Said(said) => self.direct.said(said, SystemTime::now()),
                Event::Ranked(ranked) => self.ranked(ranked, &inputs.notes),
                Event::Tick => {
                    let until = inputs.journal.received_until();
                    // A disk that hangs must not keep anybody from noticing what fails.
                    let until = until.max(now().minus(LONGEST_HOLD));
                    // What was received before is there by now; as long as it waits, it brings the time along.
                    let waiting = !inputs.batches.is_empty();
                    let counted = if waiting { self.received_at } else { until };
                    self.shared.caught_up(mapping::wall(counted));
                    self.tick((!waiting).then_some(until));
                }
                Event::Stop => break,
            }
        }
        tracing::info!("the engine has stopped");
    }

    /// Takes what comes.
    fn arrive(&mut self, batch: &Batch) {
        let changes = self.let_time_pass(batch.received_at);
        self.announce_all(&changes);
        let Some(note) = &batch.note else {
            self.take(batch.position, batch.received_at, &batch.spans);
            return;
        };
        match serde_json::from_slice(note) {
            Ok(note) => self.take_note(batch.position, batch.received_at, note),
            Err(error) => tracing::error!(%error, "what was told can't be read back"),
        }
    }

    fn take(&mut self, position: u64, received_at: UnixNanos, spans: &PackedSpans) {
        self.spans_seen += spans.len() as u64;
        self.heard.note(spans, received_at);
        let mut analyzer = self.shared.analyzer();
        self.course
            .take(&mut analyzer, position, received_at, spans);
    }

    fn take_note(&mut self, position: u64, received_at: UnixNanos, note: Note) {
        let mut analyzer = self.shared.analyzer();
        self.course
            .take_note(&mut analyzer, position, received_at, note);
    }

    /// Hands released traces on, and lets incidents open and close.
    fn let_time_pass(&mut self, until: UnixNanos) -> Vec<Change> {
        let (traces_seen, spreading, tree) =
            (&mut self.traces_seen, &mut self.spreading, &self.tree);
        let mut changes = Vec::new();
        for beat in self.course.due(until) {
            let mut analyzer = self.shared.analyzer();
            changes.extend(self.course.pass(&mut analyzer, beat, |outlines| {
                *traces_seen += outlines.len() as u64;
                for outline in outlines {
                    spreading.look(outline, tree, beat);
                }
            }));
        }
        self.shared
            .set_exporter_lag(self.course.assembler.exporter_lag());
        changes
    }

    /// What we restart at present, or what hasn't settled since.
    fn restarting(&self) -> Vec<UnitName> {
        let status = self.status.borrow();
        let acting = status.recoveries.iter().filter(|recovery| {
            matches!(
                recovery.state,
                State::Leased | State::Committed | State::Acting | State::Settling
            )
        });
        acting
            .filter_map(|recovery| recovery.target.clone())
            .collect()
    }

    /// Whether such a restart lies on the unit.
    fn is_disturbed(&self, unit: &UnitName) -> bool {
        let restarting = self.restarting();
        restarting
            .iter()
            .any(|target| self.tree.contains(target, unit))
    }

    /// Does what is due, and lets time pass for the analysis up to then.
    fn tick(&mut self, until: Option<UnixNanos>) {
        let at = now();
        if let Some(shift) = self.clocks.look(mapping::wall(at), Instant::now()) {
            self.changes.shift(shift);
        }
        let tree = self.living.now();
        if !Arc::ptr_eq(&tree, &self.tree) {
            self.spreading.follow(&tree);
            self.direct.grew(&tree, SystemTime::now(), &mut self.ids);
            self.changes.grew(&tree);
            self.tree = tree;
        }
        let missed = self.surroundings.events_missed();
        if self.direct.has_missed(missed) {
            let children = self.surroundings.children();
            self.direct
                .make_up(missed, &children, SystemTime::now(), &mut self.ids);
        }
        if let Some(until) = until {
            let changes = self.let_time_pass(until);
            self.announce_all(&changes);
        }
        self.spreading.refresh(at);
        let status = self.status.borrow().clone();
        self.spreading.record(&status.recent, &self.tree);
        let inferred = self.spreading.inferred(&self.inferred);
        if inferred != self.inferred {
            self.inferred = inferred.clone();
            self.courier.leave_inferred(inferred);
        }
        let since = self.ranked_at.map(|last| at.since(last));
        let rested = since.is_none_or(|since| since >= self.rank_took * RESTS);
        let due = since.is_none_or(|since| since >= RANK_EVERY) || self.has_news;
        if rested && due && !self.ranker.is_busy() {
            self.ranked_at = Some(at);
            self.has_news = false;
            self.rank();
        }
        // What recovery does is news at once: whoever has ordered it looks for it.
        let due = self.status.has_changed().unwrap_or(false)
            || self
                .published
                .is_none_or(|(last, _)| at.since(last) >= PUBLISH_EVERY);
        if due {
            self.publish(at);
        }
    }

    fn announce_all(&mut self, changes: &[Change]) {
        self.has_news |= !changes.is_empty();
        for change in changes {
            self.announce(*change);
        }
    }

    fn announce(&mut self, change: Change) {
        let analyzer = self.shared.analyzer();
        let (Change::Opened(id) | Change::Updated(id) | Change::Closed(id)) = change;
        let Some(incident) = all_incidents(&analyzer).find(|incident| incident.id == id) else {
            return;
        };
        let types: Vec<String> = incident
            .request_types
            .iter()
            .map(ToString::to_string)
            .collect();
        let number = number_of(&mut self.ids, incident);
        match change {
            Change::Opened(_) => {
                tracing::warn!(
                    incident = number,
                    requests = %types.join(", "),
                    masked = incident.masked,
                    "incident opened"
                );
            }
            Change::Closed(_) => tracing::info!(incident = number, "incident closed"),
            Change::Updated(_) => {}
        }
    }

    /// Has what is open ranked, and tells recovery when that is done; at once where nothing is.
    fn rank(&mut self) {
        let began = Instant::now();
        let analyzer = self.shared.analyzer();
        let open = all_incidents(&analyzer).filter(|incident| incident.is_open());
        let inputs: Vec<Input> = open.filter_map(|it| analyzer.input(it.id)).collect();
        drop(analyzer);
        match inputs.is_empty() {
            true => self.tell(),
            false => self.ranker.ask(inputs),
        }
        self.rank_took = began.elapsed();
    }

    fn ranked(&mut self, ranked: Ranked, notes: &mpsc::Sender<Note>) {
        let began = Instant::now();
        self.ranker.answered();
        for ranking in ranked.rankings {
            self.keep_examples(&ranking, notes);
            self.rankings.insert(ranking.incident, ranking);
        }
        self.tell();
        self.rank_took += ranked.took + began.elapsed();
    }

    /// Has the traces that a ranking shows kept, where it isn't known that they are. What finds no room is tried again.
    fn keep_examples(&mut self, ranking: &Ranking, notes: &mpsc::Sender<Note>) {
        let kept = self.kept.entry(ranking.incident).or_default();
        if ranking.shown().all(|id| kept.contains(&id)) {
            return;
        }
        let note = Note::Shown {
            shown: ranking.shown().collect(),
            of: ranking.incident,
        };
        if notes.try_send(note).is_ok() {
            *kept = ranking.shown().collect();
        }
    }

    fn tell(&mut self) {
        for evidence in self.told() {
            let incident = evidence.incident;
            if !self.courier.leave(evidence) {
                tracing::warn!(incident, "too much evidence waits for recovery");
            }
        }
    }

    /// What recovery should know, by the last rankings.
    fn told(&mut self) -> Vec<Evidence> {
        let analyzer = self.shared.analyzer();
        let clock = SystemTime::now();
        // Asked of every unit, so only when somebody is told.
        let traffic = LazyCell::new(|| mapping::traffic(&analyzer, &self.tree));
        let mut told = Vec::new();
        let mut shown = Vec::new();
        // A restart costs users' requests, and a masked failure none: what nobody suffers from is no evidence to recovery.
        let masked = analyzer.masked_incidents().iter();
        shown.extend(masked.map(|incident| incident.id));
        for incident in analyzer.incidents() {
            let id = number_of(&mut self.ids, incident);
            shown.push(incident.id);
            if !incident.is_open() && !self.ids.first_time_closed(incident.id) {
                continue;
            }
            let ranking = self.rankings.get(&incident.id);
            // It is being ranked, or will be next.
            if ranking.is_none() && incident.is_open() {
                continue;
            }
            let evidence = mapping::evidence(id, incident, ranking, &self.tree, &traffic, clock);
            // The first failed traces may lack the spans of the slower exporters. Two rankings in a
            // row that agree on who leads are told; one alone isn't.
            let leads = evidence
                .as_ref()
                .and_then(|evidence| evidence.suspects.first())
                .map(|suspect| suspect.unit.clone());
            let led = self.leading.insert(incident.id, leads.clone());
            if let Some(mut evidence) = evidence
                && (!incident.is_open() || led == Some(leads))
            {
                evidence.joined_into = joined_into(incident, &analyzer, &mut self.ids);
                evidence.circumstances =
                    circumstances::of(incident, ranking, &analyzer, &self.tree);
                told.push(evidence);
            }
        }
        self.rankings.retain(|id, _| shown.contains(id));
        self.leading.retain(|id, _| shown.contains(id));
        self.kept.retain(|id, _| shown.contains(id));
        self.ids.keep(&shown);
        self.direct.listen(clock, &mut self.ids);
        if !self.direct.is_empty() {
            told.extend(self.direct.evidence(clock, &traffic));
        }
        for evidence in &mut told {
            let around = &mut evidence.circumstances;
            circumstances::add_common(around, &self.changes, analyzer.config());
        }
        self.spreading
            .add(&mut told, &self.restarting(), &self.tree);
        told
    }

    fn publish(&mut self, at: UnixNanos) {
        let status = self.status.borrow_and_update().clone();
        if let Some((last, spans)) = self.published {
            let seconds = at.since(last).as_secs_f64();
            if seconds > 0.0 {
                // Smoothed over about two seconds: a rate that jumps can't be read.
                let rate = (self.spans_seen - spans) as f64 / seconds;
                self.spans_per_second += (rate - self.spans_per_second) * (seconds / 2.0).min(1.0);
            }
        }
        self.published = Some((at, self.spans_seen));
        let analyzer = self.shared.analyzer();
        self.changes
            .follow(&analyzer, &self.tree, &status.recent, at);
        drop(analyzer);
        self.heard.tell(at);
        let view = self.snapshot(at, &status);
        self.view.send_replace(Arc::new(view));
    }

    fn snapshot(&mut self, at: UnixNanos, status: &RecoveryStatus) -> View {
        let analyzer = self.shared.analyzer();
        let mut incidents: Vec<IncidentView> = Vec::new();
        for incident in all_incidents(&analyzer) {
            let ranking = self.rankings.get(&incident.id);
            let id = number_of(&mut self.ids, incident);
            let mut shown = publish::incident(id, incident, ranking, &self.tree, status);
            if matches!(
                incident.closed.map(|it| it.reason),
                Some(ClosingReason::Joined(_))
            ) {
                let other = joined_into(incident, &analyzer, &mut self.ids);
                shown.ended = match other {
                    Some(other) if incident.masked => {
                        format!("users see such failures by now: it goes on as incident {other}")
                    }
                    Some(other) => {
                        format!("joined with incident {other}: their failures have one cause")
                    }
                    None => "joined with another incident: their failures had one cause".to_owned(),
                };
            }
            incidents.push(shown);
        }
        incidents.extend(self.direct.incidents(status));
        self.archive.note(&incidents, at.into());
        incidents.extend(self.archive.others(&incidents));
        incidents.sort_by_key(|incident| {
            (
                incident.closed.is_some(),
                incident.masked && incident.closed.is_none(),
                std::cmp::Reverse(incident.opened),
                incident.id,
            )
        });
        let summaries = analyzer.request_types();
        let mut request_types: Vec<_> = summaries
            .iter()
            .map(|summary| {
                let service = &summary.request_type.service;
                let unheard_since = self.heard.silent_since(service, at).map(Into::into);
                crate::view::RequestTypeView {
                    unheard_since,
                    ..publish::request_type(summary, &analyzer, at)
                }
            })
            .collect();
        request_types.sort_by(|a, b| {
            b.failing
                .cmp(&a.failing)
                .then_with(|| b.rate_per_s.total_cmp(&a.rate_per_s))
        });
        let mut tree = publish::units(&self.tree, status, &incidents);
        let children = self.surroundings.children();
        for unit in &mut tree {
            self.direct.describe(unit, &children);
            unit.watches = self.surroundings.watches(&UnitName(unit.name.clone()));
            self.spreading.describe(unit);
        }
        publish::up_with_parts(&mut tree);
        let mut own = self.surroundings.status();
        own.spans = self.spans_seen;
        own.spans_per_s = self.spans_per_second;
        own.traces = self.traces_seen;
        own.heard = self.heard.view(at);
        own.requests = summaries.iter().map(|summary| summary.requests).sum();
        let interventions = analyzer.interventions().into_iter();
        own.interventions = interventions.map(Into::into).collect();
        for (reason, count) in analyzer.counts().iter() {
            own.dropped.insert(publish::reason_words(&reason), count);
        }
        let assembly = self.course.assembler.counts();
        let pairs = self.spreading.left_out();
        let too_long = self.spreading.too_long();
        for (reason, count) in [
            ("duplicate", assembly.duplicate),
            ("late", assembly.late),
            ("pair of units too many", pairs),
            ("trace too long for the failure map", too_long),
        ] {
            if count > 0 {
                own.dropped.insert(reason.to_owned(), count);
            }
        }
        own.incidents_open = incidents
            .iter()
            .filter(|incident| incident.closed.is_none() && !incident.masked)
            .count() as u64;
        if let Some(reason) = &status.disabled {
            own.ledger.ok = false;
            own.ledger.note.clone_from(reason);
        }
        own.paused = status.paused.as_ref().map(|pause| crate::view::PausedView {
            since: pause.since.into(),
            until: pause.until.map(Into::into),
            reason: pause.reason.clone(),
            by: pause.by.clone(),
        });
        View {
            now: UtcTime::from(at),
            status: own,
            incidents,
            request_types,
            tree,
            recovery: publish::recovery(status),
            rejuvenation: self.surroundings.rejuvenation(),
        }
    }
}

/// The public number of the incident that this one joined, if it did and the other is remembered.
fn joined_into(incident: &Incident, analyzer: &Analyzer, ids: &mut IncidentIds) -> Option<u64> {
    let Some(ClosingReason::Joined(into)) = incident.closed.map(|it| it.reason) else {
        return None;
    };
    let other = analyzer.incidents().iter().find(|it| it.id == into)?;
    Some(number_of(ids, other))
}

/// Those that users suffer from, and those that they don't see.
fn all_incidents(analyzer: &Analyzer) -> impl Iterator<Item = &Incident> {
    let users = analyzer.incidents().iter();
    users.chain(analyzer.masked_incidents())
}

/// The incident's public number.
fn number_of(ids: &mut IncidentIds, incident: &Incident) -> u64 {
    let known_by = (incident.since.into(), incident.masked);
    ids.of_analysis(incident.id, known_by, &incident.request_types)
}

/// The wall's time. Only the engine's rim reads it; what it calls takes it as an argument.
fn now() -> UnixNanos {
    SystemTime::now().into()
}
