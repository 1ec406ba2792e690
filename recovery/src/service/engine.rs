//! The task itself: its state, what can wake it, and its loop.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::case::Case;
use super::consider::FORGOTTEN;
use super::grow::former_groups;
use super::{
    ActionView, Command, CommandError, RecoveryId, RecoveryStatus, RecoveryView, Reply,
    ServiceConfig, Shadow,
};
use crate::belief::{Beliefs, NewVersion, Time};
use crate::clock::{Clocks, Reading, Shift};
use crate::cost::Costs;
use crate::crash::CrashPoint;
use crate::executor::{ActionId, Effect, ExecuteError, Executed, Veto};
use crate::guard::{
    Authority, Comings, Deed, Down, Lease, Past, Pause, Refusal, Standing, World, check,
};
use crate::ledger::{Also, Held, Ledger, LedgerError, Memory, StoredAction};
use crate::lifecycle::{Event, State};
use crate::plan::Choice;
use crate::policy::Policy;
use crate::ports::{Notice, NoticeKind};
use crate::template::Grown;
use crate::tree::Inferred;
use crate::{Cohort, Evidence, LiveTree, RestartTree, UnitName};

/// How often everything is looked at when nothing happens: pauses and leases end, backoffs pass.
const IDLE: Duration = Duration::from_secs(1);

/// What is held off is planned anew after a tenth of the time that it was held off already, and after so long at most:
/// there may be many, for hours, and what is late by that much is little beside what it has lasted.
const MAX_HELD_IDLE: Duration = Duration::from_secs(60);

/// Where nothing goes on but judging, how its counts stand is shown so often: what units and budgets are like is looked up
/// each time, and a judge looks ten times a second.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// How often a ledger that failed is tried again.
const LEDGER_RETRY: Duration = Duration::from_secs(5);
/// Notices that are shown.
const MAX_NOTICES: usize = 20;
/// Exporters that are later than this are not waited for.
const MAX_EXPORTER_DELAY: Duration = Duration::from_secs(30);
/// Recoveries that are over and still shown.
const MAX_FINISHED: usize = 50;
/// Incidents that ended, and aren't taken up again as long as they go on.
const MAX_ENDED: usize = 1000;
/// Recoveries that aren't over, and as many that are held off. More incidents than this at once are one, and a person's.
pub(super) const MAX_CASES: usize = 200;

/// Lets the oldest go where there are too many.
fn bound_finished(finished: &mut Vec<RecoveryView>) {
    while finished.len() > MAX_FINISHED {
        let are_left: Vec<bool> = finished.iter().map(|it| it.given_up.is_some()).collect();
        finished.remove(first_to_go(&are_left));
    }
}

/// Which of these goes first, newest first: what was left to people is shown for longer than what is only history, in at most
/// half of the places.
fn first_to_go(are_left: &[bool]) -> usize {
    let left = are_left.iter().filter(|is_left| **is_left).count();
    let goes = left > MAX_FINISHED / 2;
    let oldest = are_left.iter().rposition(|is_left| *is_left == goes);
    oldest.unwrap_or(are_left.len() - 1)
}

/// What woke the task.
enum Woken {
    Work(Box<Result<(tokio::task::Id, Work), tokio::task::JoinError>>),
    Input(Option<Input>),
    Time,
}

/// Everything that can wake the task from outside.
pub(super) enum Input {
    Evidence(Box<Evidence>),
    Command(Box<Command>, oneshot::Sender<Result<Reply, CommandError>>),
    Grown(Box<Grown>, oneshot::Sender<bool>),
    Inferred(Inferred),
}

/// What comes back from executors and probes.
pub(super) enum Work {
    Executed(RecoveryId, ActionId, Result<Executed, ExecuteError>),
    Inquired(RecoveryId, ActionId, Effect),
    Probed(RecoveryId, Option<bool>),
    Answered(UnitName, Vec<Veto>),
}

/// What a task is about, should it not come back.
pub(super) enum Job {
    Act(RecoveryId, ActionId, UnitName),
    Inquire(RecoveryId, ActionId),
    Probe(RecoveryId),
    Ask(UnitName),
}

/// How an incident's recovery ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) state: State,
    pub(super) at: SystemTime,
    pub(super) evidence: Option<Evidence>,
    /// What was told of its incident since, as far as that accuses anybody.
    pub(super) told_since: Option<Evidence>,
    /// The unit for whose sake it was part of a storm when a person got it.
    in_storm: Option<UnitName>,
    /// When this engine last heard of it: that it ended or that another engine had it, or its incident, still.
    pub(super) heard_at: SystemTime,
    /// Of an engine before this one, which numbered incidents otherwise.
    pub(super) is_orphan: bool,
}

/// The unit that goes on counting for a storm when a person got its recovery.
fn in_storm(state: State, held: &Held) -> Option<UnitName> {
    let is_persons = matches!(state, State::GivenUp | State::Rejected);
    held.in_storm.clone().filter(|_| is_persons)
}

/// The unit that does not serve as it should, if the evidence says so of any.
fn down(evidence: &Evidence) -> Option<Down> {
    let suspect = super::case::likeliest(evidence)?;
    Some(Down {
        unit: suspect.unit.clone(),
        probability: suspect.probability,
        since: evidence.since,
        is_seen: evidence.signature.request_types.is_empty(),
    })
}

/// What guards look at and the engine puts together when they are asked.
pub(super) struct Surroundings {
    leases: Vec<Lease>,
    sick: BTreeSet<UnitName>,
    down: Vec<Down>,
}

pub(super) struct Engine {
    pub(super) config: ServiceConfig,
    /// What is gone by; only replaced between two decisions.
    pub(super) tree: Arc<RestartTree>,
    /// The same as it was written and grew …
    pub(super) grown: Arc<RestartTree>,
    /// … and what was inferred of it.
    pub(super) inferred: Inferred,
    /// What is known of those of its units that come and go.
    pub(super) comings: Comings,
    /// What those that keep units alive have against restarts of them; of those that were asked.
    pub(super) standing: BTreeMap<UnitName, Standing>,
    /// The same for everybody else.
    pub(super) live: LiveTree,
    pub(super) cohort: Arc<dyn Cohort>,
    pub(super) ledger: Ledger,
    pub(super) shadows: mpsc::Sender<Shadow>,
    pub(super) late_shadows: VecDeque<Shadow>,
    status: watch::Sender<Arc<RecoveryStatus>>,
    /// When it was last shown.
    published: Instant,
    pub(super) work: JoinSet<Work>,
    pub(super) jobs: HashMap<tokio::task::Id, Job>,
    pub(super) cases: BTreeMap<RecoveryId, Case>,
    pub(super) ended: BTreeMap<u64, Ended>,
    pub(super) last_recovery: u64,
    pub(super) beliefs: Beliefs,
    pub(super) costs: Costs,
    pub(super) past: Vec<Past>,
    /// As it is shown, so that showing it again copies nothing.
    pub(super) actions: Arc<Vec<ActionView>>,
    /// Recoveries that planned something and are over, newest first.
    pub(super) finished: Arc<Vec<RecoveryView>>,
    pub(super) generations: BTreeMap<UnitName, u64>,
    pub(super) traffic: BTreeMap<UnitName, f64>,
    /// How each unit's software was last seen to be other than before.
    pub(super) versions: BTreeMap<UnitName, NewVersion>,
    pub(super) pause: Option<Pause>,
    /// Since when too many are sick at once.
    storm_since: Option<SystemTime>,
    pub(super) disabled: Option<String>,
    ledger_retry: SystemTime,
    clocks: Clocks,
    /// By how much the wall's clock was set and the ledger doesn't know.
    unwritten: Option<Shift>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) executors: BTreeSet<UnitName>,
    /// What the last engine left; taken up when the task starts.
    pub(super) unfinished: Vec<crate::ledger::StoredRecovery>,
    /// What engines before this one restarted lately, whose shadows are to be told again.
    pub(super) former: Vec<StoredAction>,
    /// The configured policy with the exporters' delay as it was learned: what guards and the judge
    /// go by. Plans are priced by the configured one.
    pub(super) policy: Policy,
}

/// How far back any guard looks.
pub(super) fn oldest_of_interest(policy: &Policy, now: SystemTime) -> SystemTime {
    let longest = policy
        .budget_period
        .max(policy.recurring_period)
        .max(policy.immune_period)
        .max(policy.backoff_limit);
    now.checked_sub(longest).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Engine {
    pub(super) fn new(
        config: ServiceConfig,
        live: LiveTree,
        cohort: Arc<dyn Cohort>,
        ledger: Ledger,
        mut memory: Memory,
        recent: Vec<ActionView>,
        shadows: mpsc::Sender<Shadow>,
    ) -> (Self, watch::Receiver<Arc<RecoveryStatus>>) {
        let now = (config.clock)();
        for version in &mut memory.versions {
            // The clock went ahead when it was seen.
            version.at = version.at.min(now);
        }
        let half_life = config.policy.half_life;
        let (status, receiver) = watch::channel(Arc::new(RecoveryStatus::nothing(now)));
        let ended = memory.settled.iter().filter_map(|recovery| {
            let ended = Ended {
                state: recovery.state,
                at: recovery.since,
                // What it acted on: later evidence is of a system that was being cured.
                evidence: recovery
                    .actions
                    .last()
                    .and_then(|action| action.evidence.clone())
                    .or_else(|| recovery.evidence.clone()),
                told_since: None,
                in_storm: in_storm(recovery.state, &recovery.held),
                heard_at: now,
                is_orphan: true,
            };
            Some((recovery.incident?, ended))
        });
        let grown = live.now();
        let left = (memory.unfinished.iter()).flat_map(|recovery| &recovery.actions);
        let inferred = former_groups(left.chain(&memory.actions), &grown);
        let tree = Arc::new(grown.with_inferred(&inferred));
        live.replace(Arc::clone(&tree));
        let mut engine = Self {
            executors: config.executors.keys().cloned().collect(),
            tree,
            grown,
            inferred,
            comings: Comings::default(),
            standing: BTreeMap::new(),
            live,
            cohort,
            ledger,
            shadows,
            late_shadows: VecDeque::new(),
            status,
            published: Instant::now(),
            work: JoinSet::new(),
            jobs: HashMap::new(),
            cases: BTreeMap::new(),
            ended: ended.collect(),
            last_recovery: memory.last_recovery,
            beliefs: Beliefs::with_rows(half_life, memory.beliefs)
                .with_seeds(config.seeds.beliefs.iter().cloned())
                .with_versions(&memory.versions),
            costs: Costs::with_rows(half_life, memory.costs)
                .with_seeds(config.seeds.costs.iter().cloned()),
            past: super::resume::past(&memory.actions, |unit| {
                let executor = config.executors.get(unit);
                executor.map_or(Duration::ZERO, |it| it.beforehand())
            }),
            actions: Arc::new(recent),
            finished: {
                let finished = memory.finished.iter().rev().map(super::view::finished);
                let mut finished: Vec<RecoveryView> = finished.collect();
                bound_finished(&mut finished);
                Arc::new(finished)
            },
            generations: memory.generations,
            traffic: BTreeMap::new(),
            // The last of each unit.
            versions: (memory.versions.into_iter())
                .map(|version| (version.unit.clone(), version))
                .collect(),
            pause: memory.pause,
            storm_since: None,
            disabled: memory
                .unwritten
                .map(|_| "it could not be told that the wall's clock was set".to_owned()),
            unwritten: memory.unwritten,
            ledger_retry: now,
            clocks: Clocks::new(now, Instant::now().into_std()),
            notices: VecDeque::new(),
            unfinished: memory.unfinished,
            former: memory.actions,
            policy: config.policy.clone(),
            config,
        };
        engine.publish(now);
        (engine, receiver)
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.config.clock)()
    }

    pub(super) fn crash(&self, point: CrashPoint) {
        if let Some(hook) = &self.config.crash {
            hook(point);
        }
    }

    /// Runs until all handles are gone.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.resume().await;
        self.publish(self.now());
        loop {
            let nap = self.nap();
            let woken = tokio::select! {
                // Results first: they free what others wait for.
                biased;
                Some(work) = self.work.join_next_with_id() => Woken::Work(Box::new(work)),
                input = inputs.recv() => Woken::Input(input),
                () = tokio::time::sleep(nap) => Woken::Time,
            };
            self.mind_the_clock().await;
            let judged = self.only_judges().filter(|_| matches!(woken, Woken::Time));
            match woken {
                Woken::Work(work) => match *work {
                    Ok((task, work)) => {
                        self.jobs.remove(&task);
                        self.worked(work).await;
                    }
                    Err(error) => self.lost(&error).await,
                },
                Woken::Input(None) => return,
                Woken::Input(Some(Input::Evidence(evidence))) => {
                    self.take_evidence(*evidence).await;
                }
                Woken::Input(Some(Input::Command(command, answer))) => {
                    let reply = self.command(*command).await;
                    // Whoever asked may be gone; what was asked for is done all the same.
                    drop(answer.send(reply));
                }
                Woken::Input(Some(Input::Grown(grown, answer))) => {
                    // Whoever offered it may be gone; it holds all the same.
                    let _ = answer.send(self.take_tree(*grown));
                }
                Woken::Input(Some(Input::Inferred(inferred))) => self.infer(inferred),
                Woken::Time => {}
            }
            self.look().await;
            let is_news = judged.is_none() || judged != self.only_judges();
            if is_news || self.published.elapsed() >= SHOWN_EVERY {
                self.publish(self.now());
            }
        }
    }

    /// The recoveries, where all of them settle or are judged.
    fn only_judges(&self) -> Option<Vec<(RecoveryId, State)>> {
        let states = self.cases.values().map(|case| {
            let is_judged = matches!(case.state, State::Settling | State::Judging);
            is_judged.then_some((case.id, case.state))
        });
        states
            .collect::<Option<Vec<_>>>()
            .filter(|it| !it.is_empty())
    }

    /// Budgets, backoffs, pauses and the age of evidence are about time that passes, and the wall's
    /// clock can be set: forward, and every budget would be fresh; back, and old evidence would be new.
    /// So when it is set, what we remember is set with it.
    async fn mind_the_clock(&mut self) {
        let (wall, steady) = (self.now(), Instant::now().into_std());
        let Some(shift) = self.clocks.look(wall, steady) else {
            return;
        };
        tracing::warn!(by = ?shift.by, forward = shift.forward, "the clock was set");
        for past in &mut self.past {
            shift.apply(&mut past.at);
            past.ready_at.iter_mut().for_each(|at| shift.apply(at));
            past.due_at.iter_mut().for_each(|at| shift.apply(at));
        }
        for came in self.comings.came.values_mut() {
            shift.apply(came);
        }
        let told = self.standing.values_mut().filter_map(|it| it.told.as_mut());
        told.for_each(|(at, _)| shift.apply(at));
        for ended in self.ended.values_mut() {
            shift.apply(&mut ended.at);
            shift.apply(&mut ended.heard_at);
        }
        for version in self.versions.values_mut() {
            shift.apply(&mut version.at);
        }
        for case in self.cases.values_mut() {
            case.shift(shift);
        }
        self.costs.times_mut().for_each(|at| shift.apply(at));
        shift.apply(&mut self.ledger_retry);
        self.storm_since.iter_mut().for_each(|at| shift.apply(at));
        if let Some(pause) = &mut self.pause {
            pause.shift(shift);
        }
        let before = self.unwritten.take();
        self.unwritten = Some(before.map_or(shift, |before| before.and(shift)));
        self.write_clocks().await;
    }

    /// Tells the ledger by how much the wall's clock was set, if it doesn't know yet; whether it knows.
    async fn write_clocks(&mut self) -> bool {
        let Some(shift) = self.unwritten else {
            return true;
        };
        let now = self.now();
        let reading = Reading::now(&self.config.boot, now);
        let oldest = oldest_of_interest(&self.config.policy, now);
        let written = self
            .ledger
            .run(move |store| store.set_clocks(&reading, Some(shift), oldest))
            .await;
        match written {
            Ok(()) => self.unwritten = None,
            // Nothing is done, and so nothing written that this doesn't hold for, until it is.
            Err(error) => self.ledger_failed(&error),
        }
        self.unwritten.is_none()
    }

    /// How long nothing can happen by the mere passing of time.
    fn nap(&self) -> Duration {
        let now = self.now();
        let until = |at: SystemTime| at.duration_since(now).unwrap_or_default();
        let policy = &self.config.policy;
        self.cases
            .values()
            .map(|case| match (case.state, &case.attempt) {
                (State::Settling, Some(attempt)) => until(attempt.settle_until),
                (State::Judging, Some(attempt)) => {
                    until(attempt.next_look.min(attempt.judge_until))
                }
                // What did not cure is followed by the next at once: nothing new has to be heard for that.
                (State::Watching, _) if case.is_undecided() => Duration::ZERO,
                (State::Watching | State::Proposed, _) => case.held_until(now).map_or(IDLE, until),
                _ => IDLE,
            })
            .min()
            .unwrap_or(IDLE)
            // A clock that stands still, or is set back, must not make this a busy loop.
            .clamp(policy.judge_interval.min(IDLE) / 4, IDLE)
    }

    /// Looks at everything that time may have changed.
    async fn look(&mut self) {
        let now = self.now();
        self.learn_exporter_delay();
        self.past
            .retain(|past| past.at >= oldest_of_interest(&self.config.policy, now));
        if self.pause.as_ref().is_some_and(|pause| !pause.holds(now)) {
            self.pause = None;
            self.write_pause().await;
        }
        if self.disabled.is_some() && now >= self.ledger_retry {
            self.ledger_retry = now + LEDGER_RETRY;
            if self.write_clocks().await && self.ledger.run(|store| store.probe()).await.is_ok() {
                tracing::info!("the ledger can be written again");
                self.disabled = None;
            }
        }
        self.mind_the_storm(now);
        self.tell_shadows();
        let ids: Vec<RecoveryId> = self.cases.keys().copied().collect();
        for id in ids {
            let Some(case) = self.cases.get(&id) else {
                continue;
            };
            match case.state {
                State::Settling | State::Judging => self.look_at_attempt(id).await,
                State::Watching | State::Proposed | State::HeldOff if self.is_due(id, now) => {
                    self.consider(id).await;
                }
                _ => {}
            }
            // What could not be written is tried again as soon as the ledger takes it.
            if self.disabled.is_none() && self.cases.get(&id).is_some_and(|case| !case.is_saved()) {
                self.save(id).await;
            }
            self.forget_if_over(id);
        }
    }

    /// Whether too many are sick at once, and since when. One that follows is told of anew.
    fn mind_the_storm(&mut self, now: SystemTime) {
        let around = self.surroundings();
        if self.world(&around).storms() {
            self.storm_since.get_or_insert(now);
        } else if self.storm_since.take().is_some() {
            for case in self.cases.values_mut() {
                case.is_storm_told = false;
            }
        }
    }

    /// How late exporters are is learned by whoever reads them; the configuration is its least.
    fn learn_exporter_delay(&mut self) {
        let lag = self.cohort.exporter_lag().min(MAX_EXPORTER_DELAY);
        self.policy.exporter_delay = self.config.policy.exporter_delay.max(lag);
    }

    /// Whether a waiting recovery is to be decided about again: new evidence does so at once, the
    /// passing of time only now and then.
    pub(super) fn is_due(&self, id: RecoveryId, now: SystemTime) -> bool {
        self.cases.get(&id).is_some_and(|case| {
            let idle = match case.state {
                State::HeldOff => {
                    let held = now.duration_since(case.since).unwrap_or_default();
                    (held / 10).clamp(IDLE, MAX_HELD_IDLE)
                }
                _ => IDLE,
            };
            let waited = |at| {
                case.held_until(at).is_some_and(|until| until <= now)
                    || now.duration_since(at).map_or(true, |age| age >= idle)
            };
            case.is_undecided() || case.considered_at.is_some_and(waited)
        })
    }

    fn publish(&mut self, now: SystemTime) {
        self.published = Instant::now();
        let mut status = self.status_at(now);
        self.status.send_if_modified(|old| {
            // The time alone is no news.
            status.at = old.at;
            let is_news = status != **old;
            if is_news {
                status.at = now;
                *old = Arc::new(status);
            }
            is_news
        });
    }

    /// A new recovery's number.
    pub(super) fn number(&mut self) -> RecoveryId {
        self.last_recovery += 1;
        RecoveryId(self.last_recovery)
    }

    pub(super) fn has_room(&self) -> bool {
        let cases = self.cases.values();
        cases.filter(|case| case.state != State::HeldOff).count() < MAX_CASES
    }

    /// Takes an event. That the flow makes it legal is a matter of tests; should it not be, nothing
    /// happens, which is what an illegal step deserves.
    pub(super) fn apply(&mut self, id: RecoveryId, event: Event) -> bool {
        let now = self.now();
        let Some(case) = self.cases.get_mut(&id) else {
            return false;
        };
        match case.apply(event, now) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(recovery = %id, %error, "a recovery went a way that there isn't");
                false
            }
        }
    }

    /// Writes what isn't written of a recovery. What can't be stays to be written later.
    pub(super) async fn save(&mut self, id: RecoveryId) -> bool {
        let Some(entry) = self.cases.get(&id).map(Case::entry) else {
            return false;
        };
        match self.ledger.run(move |store| store.append(&entry)).await {
            Ok(()) => {
                if let Some(case) = self.cases.get_mut(&id) {
                    case.saved();
                }
                true
            }
            Err(error) => {
                self.ledger_failed(&error);
                false
            }
        }
    }

    pub(super) fn ledger_failed(&mut self, error: &LedgerError) {
        let reason = error.in_full();
        let is_new = self.disabled.is_none();
        self.disabled = Some(reason.clone());
        self.ledger_retry = self.now() + LEDGER_RETRY;
        if is_new {
            let text = format!("recovery does nothing until its ledger can be written: {reason}");
            self.notify(NoticeKind::Disabled, None, None, text);
        }
    }

    pub(super) async fn write_pause(&mut self) {
        let pause = self.pause.clone();
        if let Err(error) = self
            .ledger
            .run(move |store| store.pause(pause.as_ref()))
            .await
        {
            self.ledger_failed(&error);
        }
    }

    pub(super) fn notify(
        &mut self,
        kind: NoticeKind,
        incident: Option<u64>,
        unit: Option<UnitName>,
        text: String,
    ) {
        let notice = Notice {
            kind,
            at: self.now(),
            incident,
            unit,
            text,
        };
        let (incident, unit) = (notice.incident, notice.unit.as_ref().map(UnitName::as_str));
        match notice.kind {
            NoticeKind::Proposal | NoticeKind::Recurring => {
                tracing::warn!(incident, unit, "{}", notice.text);
            }
            NoticeKind::Storm
            | NoticeKind::HeldOff
            | NoticeKind::GivenUp
            | NoticeKind::Disabled
            | NoticeKind::Rejuvenation => {
                tracing::error!(incident, unit, "{}", notice.text);
            }
        }
        self.config.notifier.notify(&notice);
        self.notices.push_front(notice);
        self.notices.truncate(MAX_NOTICES);
    }

    /// Asks all guards.
    pub(super) fn check(
        &self,
        recovery: Option<RecoveryId>,
        target: &UnitName,
        authority: Authority,
        evidence: Option<&Evidence>,
        expected_cost: f64,
    ) -> Vec<Refusal> {
        let deed = Deed {
            recovery,
            target,
            authority,
            evidence,
            told_at: recovery.and_then(|id| self.cases.get(&id)?.told_at),
            expected_cost,
        };
        let asks = recovery.and_then(|id| self.cases.get(&id));
        let mut around = self.surroundings();
        if asks.is_some_and(|case| case.held.in_storm.is_some()) {
            around.sick.extend(self.held_in_storm());
        }
        check(&deed, &self.world(&around), self.now())
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.cases
            .values()
            .filter(|case| case.state.holds_lease())
            .filter_map(|case| {
                let attempt = case.attempt.as_ref()?;
                Some(Lease {
                    recovery: case.id,
                    target: attempt.target.clone(),
                    until: attempt.lease_until,
                })
            })
            .collect()
    }

    /// The units that a storm was made of whose incidents go on: they count for each other, until so few are left that it
    /// is none. For others they don't, or who makes up incidents could hold up all that is real.
    fn held_in_storm(&self) -> impl Iterator<Item = UnitName> {
        let cases = self.cases.values().map(|case| &case.held);
        // What a person has is as sick as before; of another engine's, it takes a while until it is told whether it goes on.
        let now = self.now();
        let is_lately = move |at| now.duration_since(at).is_ok_and(|age| age <= FORGOTTEN);
        let left = self.ended.values();
        let left = left.filter(move |ended| !ended.is_orphan || is_lately(ended.heard_at));
        let left = left.filter_map(|ended| ended.in_storm.clone());
        cases.filter_map(|held| held.in_storm.clone()).chain(left)
    }

    /// Whether it says what is the matter now: what an engine before this one knew does so no longer than any plan may rest
    /// on it.
    pub(super) fn is_of_now(&self, case: &Case, now: SystemTime) -> bool {
        let expiry = self.config.policy.evidence_expiry;
        let is_fresh = |at| now.duration_since(at).map_or(true, |age| age <= expiry);
        let told = case.evidence.as_ref().map(|evidence| evidence.at);
        !case.is_orphan || told.is_some_and(is_fresh)
    }

    /// What is reserved, sick and down at present.
    pub(super) fn surroundings(&self) -> Surroundings {
        let now = self.now();
        let cases = self.cases.values().filter(|case| self.is_of_now(case, now));
        let open = cases.clone().filter_map(|case| case.evidence.as_ref());
        let given_up = self
            .ended
            .values()
            .filter(|ended| matches!(ended.state, State::GivenUp | State::Rejected))
            .filter(|ended| !ended.is_orphan)
            .filter_map(|ended| ended.told_since.as_ref().or(ended.evidence.as_ref()));
        Surroundings {
            leases: self.leases(),
            sick: cases
                .filter(|case| case.state != State::HeldOff)
                .filter_map(Case::sick)
                .cloned()
                .collect(),
            down: open.chain(given_up).filter_map(down).collect(),
        }
    }

    pub(super) fn world<'a>(&'a self, around: &'a Surroundings) -> World<'a> {
        World {
            tree: &self.tree,
            policy: &self.policy,
            pause: self.pause.as_ref(),
            leases: &around.leases,
            past: &self.past,
            sick: &around.sick,
            storm_since: self.storm_since,
            down: &around.down,
            ledger_failure: self.disabled.as_deref(),
            comings: &self.comings,
            standing: &self.standing,
            executors: &self.executors,
        }
    }

    /// What a recovery learned, when it comes to its end: written with the end.
    pub(super) fn learn(&mut self, id: RecoveryId) {
        let now = self.now();
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        // Only a wait that we chose says that it went by itself: otherwise a person may have mended it,
        // or a restart that another incident brought. What goes on as another incident is not gone.
        let went = |last: &Evidence| last.closed && last.joined_into.is_none();
        let is_gone = case.state == State::Watching && case.evidence.as_ref().is_some_and(went);
        let waits = case.plan.as_ref().map(|plan| &plan.choice) == Some(&Choice::Wait);
        let time = match (is_gone && waits, case.waited) {
            (true, _) => Time::Healed,
            (false, true) => Time::InVain,
            (false, false) => Time::NotGiven,
        };
        if let Some(evidence) = case.acted_on.as_ref().or(case.evidence.as_ref()) {
            let rows = self
                .beliefs
                .learn(evidence, &self.tree, &case.trials, time, now);
            if rows.is_empty() {
                return;
            }
            case.write_also(Also::Learned(rows));
        }
    }

    /// Forgets a recovery that is over and written; remembers how its incident ended.
    pub(super) fn forget_if_over(&mut self, id: RecoveryId) {
        let is_done = self
            .cases
            .get(&id)
            .is_some_and(|case| case.state.is_over() && case.is_saved());
        if !is_done {
            return;
        }
        let Some(case) = self.cases.remove(&id) else {
            return;
        };
        let now = self.now();
        if case.plan.is_some() || case.given_up.is_some() {
            let view = self.recovery(&case);
            let finished = Arc::make_mut(&mut self.finished);
            finished.insert(0, view);
            bound_finished(finished);
        }
        tracing::info!(recovery = %id, incident = ?case.incident, state = %case.state, "recovery is over");
        if let Some(incident) = case.incident {
            let ended = Ended {
                state: case.state,
                at: case.since,
                evidence: case.acted_on.or(case.evidence),
                told_since: None,
                in_storm: in_storm(case.state, &case.held),
                heard_at: now,
                is_orphan: case.is_orphan,
            };
            self.ended.insert(incident, ended);
            while self.ended.len() > MAX_ENDED {
                self.ended.pop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_to_people_is_shown_for_longer_and_leaves_room_for_the_rest() {
        let half = MAX_FINISHED / 2;
        let all = |first: bool, times: usize, rest: bool| {
            let mut all = vec![first; times];
            all.resize(MAX_FINISHED + 1, rest);
            all
        };
        assert_eq!(first_to_go(&all(false, 1, false)), MAX_FINISHED);
        assert_eq!(first_to_go(&all(true, half, false)), MAX_FINISHED);
        // The oldest that is only history, and never the newest.
        assert_eq!(first_to_go(&all(false, half + 1, true)), half);
        assert_eq!(first_to_go(&all(false, 1, true)), MAX_FINISHED);
        assert_eq!(first_to_go(&all(true, half + 1, false)), half);
    }
}
