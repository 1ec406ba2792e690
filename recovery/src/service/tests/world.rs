//! The system under cure: it is broken until the right thing is restarted, or isn't. In virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::belief::Learned;
use crate::crash::{CrashHook, CrashPoint};
use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit, Veto,
};
use crate::ledger::Threading;
use crate::ports::{Notice, Notifier, Prober};
use crate::service::{Recovery, RecoveryEvents, ServiceConfig, prepare};
use crate::tree::tests::tree;
use crate::{
    Cohort, CohortQuery, Evidence, Fared, FaultSignature, Policy, ProbeSpec, RestartTree,
    SuspectUnit, UnitName, UnitSpec,
};

pub(super) const TREE: &str = "
site - auto
  shop process service.name=shop ~2000
    shop.cart code=cart ~200
    shop.search code=search ~200
  bank process service.name=bank ~2000
    bank.pay code=pay ~200
  mail process service.name=mail propose ~5000
  desk - service.name=desk
    desk.a code=a ~200
    desk.b code=b ~200
";

/// Requests per second that go through the whole system, and through what is broken.
const RATE: f64 = 40.0;

/// Within this time a unit that is well catches the fault again from another that isn't.
const HANDED_ON: Duration = Duration::from_secs(3);

/// How an executor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Works,
    Refuses,
    NeverReady,
    Hangs,
    Panics,
}

/// What the world is like.
#[derive(Debug)]
pub(super) struct State {
    /// The smallest unit whose restart cures; `None` while all is well.
    pub(super) broken: Option<UnitName>,
    /// Units that hand a fault on to each other: only restarts of all of them within [`HANDED_ON`] cure.
    pub(super) hand_on: Vec<UnitName>,
    /// When those were restarted last.
    renewed: BTreeMap<UnitName, SystemTime>,
    /// The share of the failures that a restart of the broken unit takes away.
    pub(super) relief: f64,
    /// When the failing share changed, and to what.
    shares: Vec<(SystemTime, f64)>,
    /// Nobody asks for anything.
    pub(super) silent: bool,
    /// What is bad neither fails nor ends.
    pub(super) hangs: bool,
    /// What hung has failed once a restart has ended it.
    pub(super) fails_when_restarted: bool,
    /// Of requests, one in twenty is of this type, the rest of others.
    pub(super) thin: Option<String>,
    /// Half of the requests of this type fail whatever happens; there are as many of them as of all others.
    pub(super) habitual: Option<String>,
    /// What units' figures say.
    pub(super) bounds: Option<bool>,
    pub(super) manner: BTreeMap<UnitName, Manner>,
    /// How long users feel it before an executor may refuse.
    pub(super) beforehand: Duration,
    /// What those that keep units alive have against restarts; `None` where nobody can be asked.
    pub(super) vetoes: Option<Vec<Veto>>,
    /// Whether executors know what became of an action.
    pub(super) can_tell: bool,
    /// All that executors were called for.
    pub(super) calls: Vec<(ActionId, UnitName, u64)>,
    /// Who is accused by which incident, where a test minds.
    pub(super) accused: BTreeMap<u64, UnitName>,
    /// Who was being restarted when each executor was called, and who accused.
    pub(super) beside: BTreeMap<ActionId, (Vec<UnitName>, Vec<UnitName>)>,
    done: BTreeSet<ActionId>,
    in_flight: Vec<UnitName>,
    /// What must never happen, and did.
    pub(super) crimes: Vec<String>,
    /// What was refused, so that its generation may come again.
    refused: BTreeSet<ActionId>,
    pub(super) notices: Vec<Notice>,
}

/// The world, shared between executors, cohort, prober and the test.
#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    pub(super) tree: Arc<RestartTree>,
    start: Instant,
    /// Seconds by which the wall's clock was set forward.
    ahead: Arc<AtomicU64>,
    pub(super) folder: Arc<tempfile::TempDir>,
}

impl World {
    pub(super) fn new() -> Self {
        let state = State {
            broken: None,
            hand_on: Vec::new(),
            renewed: BTreeMap::new(),
            relief: 1.0,
            shares: vec![(UNIX_EPOCH, 0.0)],
            silent: false,
            hangs: false,
            fails_when_restarted: false,
            thin: None,
            habitual: None,
            bounds: None,
            manner: BTreeMap::new(),
            beforehand: Duration::ZERO,
            vetoes: None,
            can_tell: true,
            calls: Vec::new(),
            accused: BTreeMap::new(),
            beside: BTreeMap::new(),
            done: BTreeSet::new(),
            in_flight: Vec::new(),
            crimes: Vec::new(),
            refused: BTreeSet::new(),
            notices: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            tree: Arc::new(tree(TREE)),
            start: Instant::now(),
            ahead: Arc::default(),
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
        }
    }

    /// The same world, in which each unit can be asked whether it is ready.
    pub(super) fn with_probes() -> Self {
        let mut world = Self::new();
        let mut specs: Vec<UnitSpec> = world.tree.units().cloned().collect();
        for spec in &mut specs {
            spec.ready = Some(ProbeSpec::Tcp {
                address: "127.0.0.1:1".to_owned(),
                timeout: Duration::from_secs(1),
            });
        }
        world.tree = Arc::new(RestartTree::build(specs).expect("a tree"));
        world
    }

    pub(super) fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        UNIX_EPOCH + Duration::from_secs(1_000_000 + ahead) + self.start.elapsed()
    }

    /// Sets the wall's clock forward.
    pub(super) fn set_forward(&self, by: Duration) {
        self.ahead.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// Seconds since the test began.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn break_down(&self, unit: &str, share: f64) {
        let now = self.now();
        self.with(|state| {
            state.broken = Some(unit.into());
            state.shares.push((now, share));
        });
    }

    pub(super) fn heal(&self) {
        let now = self.now();
        self.with(|state| {
            state.broken = None;
            state.shares.push((now, 0.0));
        });
    }

    pub(super) fn failing_share(&self) -> f64 {
        self.with(|state| state.shares.last().map_or(0.0, |(_, share)| *share))
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.with(|state| {
            state
                .calls
                .iter()
                .map(|(_, unit, _)| unit.to_string())
                .collect()
        })
    }

    /// The bank's process ended then, after so long, which nobody's requests tell of.
    pub(super) fn bank_ended(&self, since: SystemTime, lived: Option<Duration>) -> Evidence {
        let mut evidence = self.evidence(1, &[("bank", 1.0)]);
        evidence.signature.shape = "exited".to_owned();
        evidence.signature.request_types.clear();
        evidence.failing_per_second = 0.0;
        evidence.since = since;
        evidence.circumstances.lived = lived;
        evidence
    }

    pub(super) fn evidence(&self, incident: u64, suspects: &[(&str, f64)]) -> Evidence {
        let share = self.failing_share();
        let since = self.with(|state| {
            let started = state.shares.iter().rev().find(|(_, share)| *share > 0.0);
            started.map(|(at, _)| *at)
        });
        Evidence {
            incident,
            at: self.now(),
            since: since.unwrap_or_else(|| self.now() - Duration::from_secs(1)),
            signature: FaultSignature {
                request_types: vec!["front GET /".to_owned()],
                error_type: "Corrupt".to_owned(),
                shape: "raised".to_owned(),
            },
            suspects: suspects
                .iter()
                .map(|(unit, probability)| SuspectUnit {
                    unit: (*unit).into(),
                    probability: *probability,
                    two_sided: true,
                    reason: format!("{unit} raises it"),
                })
                .collect(),
            baseline_failure_share: 0.0,
            failing_per_second: RATE * share,
            traffic: self
                .tree
                .units()
                .map(|unit| (unit.name.clone(), RATE))
                .collect(),
            closed: false,
            joined_into: None,
            circumstances: crate::Circumstances::default(),
        }
    }

    /// Tells recovery of an incident four times a second, until a second after it is over.
    pub(super) fn tell(
        &self,
        recovery: &Recovery,
        incident: u64,
        suspects: &'static [(&'static str, f64)],
    ) -> JoinHandle<()> {
        let (world, recovery) = (self.clone(), recovery.clone());
        tokio::spawn(async move {
            let mut well = 0;
            while well < 4 {
                well = if world.failing_share() > 0.0 {
                    0
                } else {
                    well + 1
                };
                if recovery
                    .evidence(world.evidence(incident, suspects))
                    .await
                    .is_err()
                {
                    return;
                }
                sleep(Duration::from_millis(250)).await;
            }
            let closed = Evidence {
                closed: true,
                ..world.evidence(incident, suspects)
            };
            drop(recovery.evidence(closed).await);
        })
    }

    pub(super) fn service(
        &self,
        policy: Policy,
        crash: Option<CrashHook>,
    ) -> (Recovery, RecoveryEvents, JoinHandle<()>) {
        let cohort: Arc<dyn Cohort> = Arc::new(self.clone());
        let config = self.config(policy, crash);
        let (recovery, events, task) =
            prepare(config, self.tree.clone(), cohort, Threading::Caller).expect("a ledger");
        (recovery, events, tokio::spawn(task))
    }

    pub(super) fn config(&self, policy: Policy, crash: Option<CrashHook>) -> ServiceConfig {
        let executor: Arc<dyn Executor> = Arc::new(self.clone());
        let (clock, start) = (self.clone(), self.start);
        ServiceConfig {
            policy,
            state_dir: self.path().to_owned(),
            executors: self
                .tree
                .units()
                .filter(|unit| unit.executor.is_some())
                .map(|unit| (unit.name.clone(), executor.clone()))
                .collect(),
            prober: Arc::new(self.clone()),
            notifier: Arc::new(self.clone()),
            seeds: Learned::default(),
            crash,
            clock: Arc::new(move || clock.now()),
            boot: Arc::new(move || ("simulated".to_owned(), start.elapsed())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        let unit = permit.unit().clone();
        for point in [
            CrashPoint::AfterLook,
            CrashPoint::AfterAsked,
            CrashPoint::AfterDrain,
            CrashPoint::AfterPrepare,
        ] {
            permit.passed().at(point);
        }
        let stopped_at = self.now();
        let manner = self.with(|state| {
            if state
                .calls
                .iter()
                .any(|(action, _, _)| *action == permit.action())
            {
                state
                    .crimes
                    .push(format!("action {} was done twice", permit.action()));
            }
            let older = state
                .calls
                .iter()
                .filter(|call| call.1 == unit && !state.refused.contains(&call.0))
                .map(|call| call.2)
                .max();
            if older.is_some_and(|older| older >= permit.generation()) {
                state.crimes.push(format!(
                    "{unit} had generation {} before",
                    permit.generation()
                ));
            }
            for other in &state.in_flight {
                if self.tree.overlap(other, &unit) {
                    state
                        .crimes
                        .push(format!("{unit} was restarted during {other}"));
                }
            }
            let accused = state.accused.values().cloned().collect();
            let beside = (state.in_flight.clone(), accused);
            state.beside.insert(permit.action(), beside);
            state
                .calls
                .push((permit.action(), unit.clone(), permit.generation()));
            state.manner.get(&unit).copied().unwrap_or(Manner::Works)
        });
        match manner {
            Manner::Works => {}
            Manner::Refuses => {
                self.with(|state| state.refused.insert(permit.action()));
                return Err(ExecuteError::Refused {
                    unit,
                    reason: "404 Not Found".to_owned(),
                });
            }
            Manner::NeverReady => {
                sleep(permit.deadline()).await;
                let deadline = permit.deadline();
                let reason = "its probe says 503".to_owned();
                return Err(ExecuteError::NotReady {
                    unit,
                    deadline,
                    reason,
                });
            }
            Manner::Hangs => std::future::pending().await,
            Manner::Panics => panic!("an executor's own mistake"),
        }
        let spec = self.tree.spec(&unit).expect("a unit");
        // Dropped with the engine, as a real one would be.
        let flight = Flight {
            world: self.clone(),
            unit: unit.clone(),
        };
        self.with(|state| state.in_flight.push(unit.clone()));
        sleep(spec.expected_downtime.unwrap_or(Duration::from_millis(500))).await;
        drop(flight);
        let ready_at = self.now();
        self.with(|state| {
            state.done.insert(permit.action());
            for member in &state.hand_on {
                if self.tree.contains(&unit, member) {
                    state.renewed.insert(member.clone(), ready_at);
                }
            }
            let is_renewed = |member: &UnitName| {
                let at = state.renewed.get(member);
                at.and_then(|at| ready_at.duration_since(*at).ok())
                    .is_some_and(|age| age <= HANDED_ON)
            };
            let is_of = |broken: &UnitName| self.tree.contains(&unit, broken);
            let cures = match state.hand_on.is_empty() {
                true => state.broken.as_ref().is_some_and(is_of),
                false => state.broken.is_some() && state.hand_on.iter().all(is_renewed),
            };
            if cures {
                let left = state.shares.last().map_or(0.0, |(_, share)| *share);
                let left = left * (1.0 - state.relief);
                state.shares.push((ready_at, left));
                if left <= 0.0 {
                    state.broken = None;
                }
            }
        });
        permit.passed().at(CrashPoint::BeforeKept);
        permit.passed().at(CrashPoint::AfterKept);
        Ok(Executed {
            stopped_at,
            ready_at,
            began: Life {
                process: Some(1),
                part: Some(permit.generation()),
            },
            note: String::new(),
        })
    }
}

struct Flight {
    world: World,
    unit: UnitName,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.world
            .with(|state| state.in_flight.retain(|unit| *unit != self.unit));
    }
}

impl Executor for World {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    fn inquire<'a>(
        &'a self,
        action: ActionId,
        _unit: &'a UnitName,
        _generation: u64,
    ) -> BoxFuture<'a, Effect> {
        let effect = self.with(
            |state| match (state.can_tell, state.done.contains(&action)) {
                (false, _) => Effect::Unknown,
                (true, true) => Effect::Done,
                (true, false) => Effect::NotDone,
            },
        );
        Box::pin(std::future::ready(effect))
    }

    fn vetoes(&self) -> Option<BoxFuture<'_, Vec<Veto>>> {
        let vetoes = self.with(|state| state.vetoes.clone())?;
        Some(Box::pin(async move {
            sleep(Duration::from_millis(300)).await;
            vetoes
        }))
    }

    fn beforehand(&self) -> Duration {
        self.with(|state| state.beforehand)
    }
}

impl Cohort for World {
    fn fared(&self, query: &CohortQuery) -> Fared {
        let (mut ok, mut bad) = (0, 0);
        let now = self.now();
        self.with(|state| {
            if state.silent {
                return;
            }
            // The n-th request begins at n/RATE seconds and ends at once; of each hundred the first
            // ones fail, spread evenly.
            let seconds = |at: SystemTime| {
                at.duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs_f64()
            };
            let first = (seconds(query.from) * RATE).ceil() as u64;
            let end = (seconds(query.until.min(now)) * RATE).ceil() as u64;
            let is_thin = state
                .thin
                .as_ref()
                .is_some_and(|thin| query.request_types == [thin.clone()]);
            let types = &query.request_types;
            let is_habit = |name: &String| state.habitual.as_ref() == Some(name);
            let asks_habit = types.iter().any(is_habit);
            let asks_others = types.is_empty() || !types.iter().all(is_habit);
            for request in first..end {
                if asks_habit {
                    if request % 2 == 0 { bad += 1 } else { ok += 1 }
                }
                if !asks_others {
                    continue;
                }
                if is_thin && request % 20 != 0 {
                    continue;
                }
                let at = UNIX_EPOCH + Duration::from_secs_f64(request as f64 / RATE);
                let share = state.shares.iter().rev().find(|(from, _)| *from <= at);
                let share = share.map_or(0.0, |(_, share)| *share);
                let place = (request * 37 % 100) as f64 / 100.0;
                if place < share { bad += 1 } else { ok += 1 }
            }
        });
        Fared {
            ok,
            bad,
            missing: self.with(|state| {
                // A restart ended what began before the window's end.
                let ended =
                    state.fails_when_restarted && !state.calls.is_empty() && query.until < now;
                if state.hangs && !ended { bad } else { 0 }
            }),
            missing_error: 0,
            unheard: 0,
            complete_until: now,
        }
    }
}

impl Prober for World {
    fn within_bounds<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        let _ = unit;
        Box::pin(std::future::ready(self.with(|state| state.bounds)))
    }

    fn probe<'a>(&'a self, _spec: &'a ProbeSpec) -> BoxFuture<'a, Result<(), String>> {
        let answer = if self.failing_share() > 0.0 {
            Err("wrong".to_owned())
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(answer))
    }

    fn running<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        let broken = self.with(|state| state.broken.as_ref() == Some(unit));
        Box::pin(std::future::ready(Some(!broken)))
    }
}

impl Notifier for World {
    fn notify(&self, notice: &Notice) {
        self.with(|state| state.notices.push(notice.clone()));
    }
}
