//! The world that is lied about: its troubles are drawn beforehand, so that every policy meets the
//! same, and whoever restarts in it keeps his own account of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt;
use rekindle_recovery::belief::Learned;
use rekindle_recovery::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit,
};
use rekindle_recovery::ports::{Notice, Notifier, Prober};
use rekindle_recovery::service::ServiceConfig;
use rekindle_recovery::{
    Changed, Circumstances, Cohort, CohortQuery, Evidence, Fared, Load, Mode, Outside, Policy,
    ProbeSpec, RestartTree, UnitName,
};
use tokio::time::{Instant, sleep};

use super::super::random::{exponential, stream};
use super::super::world::unit;
use super::{evidence_of, needs_approval};

/// Name, parent, restart time in milliseconds (0: by its parts), requests per second, mode.
const UNITS: [(&str, &str, u64, f64, Mode); 13] = [
    ("site", "", 0, 60.0, Mode::Auto),
    ("shop", "site", 4000, 30.0, Mode::Auto),
    ("shop.cart", "shop", 400, 10.0, Mode::Auto),
    ("shop.search", "shop", 500, 15.0, Mode::Auto),
    ("bank", "site", 5000, 10.0, Mode::Auto),
    ("bank.pay", "bank", 400, 8.0, Mode::Auto),
    ("mail", "site", 3000, 5.0, Mode::Propose),
    ("desk", "site", 0, 10.0, Mode::Auto),
    ("desk.a", "desk", 1000, 5.0, Mode::Auto),
    ("desk.b", "desk", 1000, 5.0, Mode::Auto),
    ("vault", "site", 2000, 5.0, Mode::Observe),
    ("web", "site", 3000, 20.0, Mode::Auto),
    ("web.pages", "web", 300, 15.0, Mode::Auto),
];
/// What liveness probes look at: the processes.
const PROCESSES: [&str; 7] = ["shop", "bank", "mail", "desk.a", "desk.b", "vault", "web"];
/// Seconds between the end of a trouble and the next, on average.
const QUIET: f64 = 240.0;
/// Seconds that a trouble lasts where nobody ends it, on average.
const LASTS: f64 = 120.0;

/// Of so many curable troubles, one is told by those who throw the successes away, and don't say so.
const SAMPLED_ONE_IN: usize = 4;

/// What makes a restart a mistake that nobody but a person may make, as far as telemetry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reserve {
    /// Several times as many requests come as usual.
    Overload,
    /// The likelier culprit belongs to no unit.
    Database,
    /// Nobody knows which share fails.
    Sampler,
}

impl Reserve {
    pub(super) const ALL: [Self; 3] = [Self::Overload, Self::Database, Self::Sampler];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Database => "a shared database is down",
            Self::Sampler => "a sampler hides its weights",
        }
    }

    /// As it is told.
    fn tell(self, around: &mut Circumstances) {
        match self {
            Self::Overload => {
                around.load = Some(Load {
                    now: 200.0,
                    usual: 40.0,
                });
            }
            Self::Database => {
                around.outside = Some(Outside {
                    name: "database".to_owned(),
                    probability: 0.9,
                });
            }
            Self::Sampler => around.sampled = true,
        }
    }
}

/// Something that is wrong, from a time to a time.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) from: f64,
    until: f64,
    /// The units that fail, and with which share.
    hits: Vec<(&'static str, f64)>,
    /// The smallest unit whose restart ends it.
    cure: Option<&'static str>,
    shape: &'static str,
    reserve: Option<Reserve>,
}

impl Trouble {
    /// The share of a process's or component's requests that it fails.
    fn share(&self, unit: &str) -> f64 {
        self.hits
            .iter()
            .map(|(name, share)| match *name == unit {
                true => *share,
                // A component's failures are a part of its process's, and the process's are its.
                false if name.starts_with(&format!("{unit}.")) => {
                    share * World::traffic_of(name) / World::traffic_of(unit)
                }
                false if unit.starts_with(&format!("{name}.")) => *share,
                false => 0.0,
            })
            .fold(0.0, f64::max)
    }

    fn is_on(&self, at: f64) -> bool {
        (self.from..self.until).contains(&at)
    }

    /// Whether the restart of this process ends it.
    pub(super) fn is_cured_by_process(&self, process: &str) -> bool {
        self.cure
            .is_some_and(|cure| cure == process || cure.starts_with(&format!("{process}.")))
    }
}

/// What restarts and troubles cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Harm {
    pub(super) restarts: f64,
    /// Requests that would have gone well, and failed because of a restart.
    pub(super) by_restarts: f64,
    /// Requests that failed for whatever reason.
    pub(super) in_all: f64,
}

/// How an executor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Works,
    Refuses,
    NeverReady,
    Hangs,
    Panics,
    /// Ready late.
    Cold,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) manner: BTreeMap<UnitName, Manner>,
    /// When a restart ended a trouble.
    ended: BTreeMap<usize, f64>,
    /// Troubles that somebody was told of, and not yet that they are over.
    told: BTreeSet<usize>,
    /// The wall's clock beside the true time, in seconds, and when it jumped.
    offset: i64,
    calls: Vec<Call>,
    in_flight: Vec<UnitName>,
    generations: BTreeMap<UnitName, u64>,
    actions: BTreeSet<ActionId>,
    approved: BTreeMap<UnitName, f64>,
    paused: Option<(f64, f64)>,
    /// When somebody else last renewed each unit, by true time.
    renewed: BTreeMap<UnitName, f64>,
    /// When two sources last accused each unit, by true time.
    accused: BTreeMap<UnitName, f64>,
    /// Incidents of troubles that were told with a reserve.
    reserved: BTreeMap<u64, Reserve>,
    /// Of these, restarts that a person approved.
    approved_all_the_same: BTreeMap<Reserve, u64>,
    violations: Vec<String>,
    by_restarts: f64,
}

#[derive(Debug)]
struct Call {
    unit: UnitName,
    /// True time.
    at: f64,
}

/// The world.
#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    pub(super) tree: Arc<RestartTree>,
    pub(super) troubles: Arc<Vec<Trouble>>,
    policy: Arc<Policy>,
    start: Instant,
}

impl World {
    pub(super) fn new(seed: u64, policy: Policy, seconds: f64) -> Self {
        let specs = UNITS.iter().map(|(name, parent, millis, _, mode)| {
            let mut spec = unit(name, parent, Duration::from_millis(*millis));
            spec.mode = Some(*mode);
            spec.start_deadline = Duration::from_secs(15);
            if *millis == 0 {
                spec.executor = None;
                spec.expected_downtime = None;
            }
            spec
        });
        let troubles = draw(seed, seconds);
        Self {
            state: Arc::new(Mutex::new(State::default())),
            // The constant above is a tree; a test says so.
            tree: Arc::new(RestartTree::build(specs.collect()).unwrap_or_default()),
            troubles: Arc::new(troubles),
            policy: Arc::new(policy),
            start: Instant::now(),
        }
    }

    pub(super) fn config(&self, folder: &Path) -> ServiceConfig {
        let executor: Arc<dyn Executor> = Arc::new(self.clone());
        let clock = self.clone();
        ServiceConfig {
            policy: (*self.policy).clone(),
            state_dir: folder.to_owned(),
            executors: self
                .tree
                .units()
                .filter(|spec| spec.executor.is_some())
                .map(|spec| (spec.name.clone(), executor.clone()))
                .collect(),
            prober: Arc::new(self.clone()),
            notifier: Arc::new(self.clone()),
            seeds: Learned::default(),
            crash: None,
            clock: Arc::new(move || clock.wall()),
        }
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True seconds since the beginning.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// What the wall's clock says.
    fn wall(&self) -> SystemTime {
        let offset = self.with(|state| state.offset);
        let base = UNIX_EPOCH + Duration::from_secs(1_000_000_000) + self.start.elapsed();
        let by = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { base - by } else { base + by }
    }

    pub(super) fn jump(&self, forward: bool, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap_or(0);
        self.with(|state| state.offset += if forward { seconds } else { -seconds });
    }

    pub(super) fn pause(&self, duration: Option<Duration>) {
        let now = self.seconds();
        self.with(|state| {
            state.paused = duration.map(|duration| (now, now + duration.as_secs_f64()));
        });
    }

    pub(super) fn approve(&self, unit: &UnitName) {
        let now = self.seconds();
        self.with(|state| state.approved.insert(unit.clone(), now));
    }

    /// Somebody else renews the unit.
    pub(super) fn roll_out(&self, unit: &UnitName) {
        let now = self.seconds();
        self.with(|state| state.renewed.insert(unit.clone(), now));
    }

    /// Incidents that were told with each reserve, and restarts for them that a person approved.
    pub(super) fn reserves(&self) -> BTreeMap<Reserve, (u64, u64)> {
        self.with(|state| {
            let mut counts: BTreeMap<Reserve, (u64, u64)> = BTreeMap::new();
            for reserve in state.reserved.values() {
                counts.entry(*reserve).or_default().0 += 1;
            }
            for (reserve, restarts) in &state.approved_all_the_same {
                counts.entry(*reserve).or_default().1 += restarts;
            }
            counts
        })
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.with(|state| state.violations.clone())
    }

    pub(super) fn harm(&self) -> (u64, Harm) {
        let now = self.seconds();
        self.with(|state| {
            let mut harm = Harm {
                restarts: state.calls.len() as f64,
                by_restarts: state.by_restarts,
                in_all: state.by_restarts,
            };
            for (place, trouble) in self.troubles.iter().enumerate() {
                let until = state.ended.get(&place).copied().unwrap_or(trouble.until);
                let lasted = (until.min(now) - trouble.from).max(0.0);
                for process in PROCESSES {
                    harm.in_all += lasted * Self::traffic_of(process) * trouble.share(process);
                }
            }
            (state.calls.len() as u64, harm)
        })
    }

    pub(super) fn processes() -> impl Iterator<Item = &'static str> {
        PROCESSES.into_iter()
    }

    pub(super) fn traffic_of(unit: &str) -> f64 {
        let found = UNITS.iter().find(|(name, ..)| *name == unit);
        found.map_or(0.0, |unit| unit.3)
    }

    /// Seconds that a restart of the unit takes.
    pub(super) fn downtime_of(unit: &str) -> f64 {
        let found = UNITS.iter().find(|(name, ..)| *name == unit);
        found.map_or(0.0, |unit| Duration::from_millis(unit.2).as_secs_f64())
    }

    /// The share of a process's requests that fails at a true time.
    pub(super) fn share_at(&self, process: &str, at: f64, cured: &[bool]) -> f64 {
        let first = self.troubles.partition_point(|trouble| trouble.from <= at);
        // Troubles come one after the other; the last few that began may still be on.
        self.troubles[..first]
            .iter()
            .enumerate()
            .rev()
            .take(3)
            .filter(|(place, trouble)| trouble.is_on(at) && !cured[*place])
            .map(|(_, trouble)| trouble.share(process))
            .fold(0.0, f64::max)
    }

    /// Troubles that are on at a true time, by their places.
    fn on_at(&self, at: f64, ended: &BTreeMap<usize, f64>) -> Vec<usize> {
        let first = self.troubles.partition_point(|trouble| trouble.from <= at);
        (0..first)
            .rev()
            .take(3)
            .filter(|place| {
                let is_ended = ended.get(place).is_some_and(|end| *end <= at);
                self.troubles[*place].is_on(at) && !is_ended
            })
            .collect()
    }

    /// An accusation, by the wall's clock.
    pub(super) fn evidence(&self, incident: u64, suspects: &[(UnitName, f64, bool)]) -> Evidence {
        let mut evidence = evidence_of(incident, suspects, 10.0, self.wall(), "raised");
        evidence.traffic = UNITS
            .iter()
            .map(|unit| (UnitName::from(unit.0), unit.3))
            .collect();
        let (wall, now) = (self.wall(), self.seconds());
        let renewed = self.with(|state| state.renewed.clone()).into_iter();
        let renewed = renewed.filter_map(|(unit, at)| {
            let change = Changed {
                at: wall.checked_sub(Duration::from_secs_f64(now - at))?,
                what: format!("{unit} was renewed"),
                is_version: false,
                renewals: 0,
                goes_on: false,
            };
            Some((unit, change))
        });
        evidence.circumstances.changes = renewed.collect();
        evidence
    }

    /// What is wrong at present, and what isn't any more: an incident for each unit that is hit.
    pub(super) fn truth(&self) -> Vec<Evidence> {
        let now = self.seconds();
        let on = self.with(|state| self.on_at(now, &state.ended));
        let mut all = Vec::new();
        for place in &on {
            let trouble = &self.troubles[*place];
            for (hit, (unit, share)) in trouble.hits.iter().enumerate() {
                let likely = if trouble.hits.len() > 1 { 0.6 } else { 0.85 };
                let mut evidence = self.evidence(
                    incident_of(*place, hit),
                    &[(UnitName::from(*unit), likely, true)],
                );
                evidence.signature.shape = trouble.shape.to_owned();
                evidence.failing_per_second = share * Self::traffic_of(unit);
                if let Some(reserve) = trouble.reserve {
                    reserve.tell(&mut evidence.circumstances);
                    self.with(|state| state.reserved.insert(evidence.incident, reserve));
                }
                all.push(evidence);
            }
        }
        let over = self.with(|state| {
            let told = std::mem::take(&mut state.told);
            let (still, over) = told.into_iter().partition(|place| on.contains(place));
            state.told = still;
            state.told.extend(on);
            over
        });
        for place in over {
            for hit in 0..self.troubles[place].hits.len() {
                let mut evidence = self.evidence(incident_of(place, hit), &[]);
                evidence.closed = true;
                all.push(evidence);
            }
        }
        all
    }

    /// Remembers who was accused by two.
    pub(super) fn told(&self, evidence: &Evidence) {
        let now = self.seconds();
        let age = self
            .wall()
            .duration_since(evidence.at)
            .unwrap_or_default()
            .as_secs_f64();
        self.with(|state| {
            for suspect in evidence.suspects.iter().filter(|suspect| suspect.two_sided) {
                for unit in self.tree.chain(&suspect.unit) {
                    let at = state.accused.entry(unit.clone()).or_insert(f64::MIN);
                    *at = at.max(now - age);
                }
            }
        });
    }

    /// What a restart must never be. Asked when an executor is called.
    fn account(&self, permit: &Permit) {
        /// An order takes a moment from the guards to the executor, and parts wait for each other.
        const MOMENT: f64 = 60.0;
        let (unit, now) = (permit.unit().clone(), self.seconds());
        let tree = &self.tree;
        self.with(|state| {
            let mut broken: Vec<String> = Vec::new();
            if !state.actions.insert(permit.action()) {
                broken.push(format!("action {} was carried out twice", permit.action()));
            }
            // Who refuses is left as it was: that is no restart, begins no life and spends nothing.
            let is_refused = matches!(state.manner.get(&unit), Some(Manner::Refuses));
            let last = state.generations.get(&unit).copied();
            if last.is_some_and(|last| last >= permit.generation()) {
                broken.push(format!("{unit}'s generation did not rise"));
            }
            if !is_refused {
                state.generations.insert(unit.clone(), permit.generation());
            }
            for other in state
                .in_flight
                .iter()
                .filter(|other| tree.overlap(other, &unit))
            {
                broken.push(format!("{unit} was restarted during {other}"));
            }
            let period = self.policy.budget_period.as_secs_f64();
            let recent = || state.calls.iter().filter(|call| call.at > now - period);
            let of_unit = recent()
                .filter(|call| tree.contains(&call.unit, &unit))
                .count();
            if !is_refused && of_unit >= self.policy.restarts_per_unit as usize {
                broken.push(format!(
                    "{unit} was restarted more often than its budget allows"
                ));
            }
            if !is_refused && recent().count() >= self.policy.restarts_per_tree as usize {
                broken.push(format!("{unit} was restarted beyond the tree's budget"));
            }
            let approved = state
                .approved
                .iter()
                .any(|(target, at)| tree.contains(target, &unit) && *at > now - MOMENT);
            if !approved {
                let below = tree.subtree(&unit);
                if let Some(other) = below.iter().find(|unit| needs_approval(tree.mode(unit))) {
                    broken.push(format!("{unit} was restarted, and nobody approved {other}"));
                }
                // What had begun may end.
                let is_paused = state
                    .paused
                    .is_some_and(|(from, until)| from + MOMENT < now && now < until);
                if let Some((from, until)) = state.paused.filter(|_| is_paused) {
                    broken.push(format!(
                        "{unit} was restarted during a pause, {:.9} s after it began and {:.9} s \
                         before it ends",
                        now - from,
                        until - now
                    ));
                }
            }
            let expiry = self.policy.evidence_expiry.as_secs_f64() + MOMENT;
            // All that was told since the rollout began tells of it; what was told before may be acted on for a while.
            let quiet = self.policy.rollout_quiet.as_secs_f64();
            let mut renewed = state.renewed.iter();
            let rollout = renewed.find(|(other, at)| {
                tree.overlap(other, &unit) && (expiry..quiet).contains(&(now - *at))
            });
            if let Some((other, at)) = rollout.filter(|_| !approved) {
                let ago = now - at;
                broken.push(format!(
                    "{unit} was restarted within a rollout of {other} {ago:.1} s ago"
                ));
            }
            let reserve = permit.incident().and_then(|it| state.reserved.get(&it));
            match (reserve.copied(), approved) {
                (Some(reserve), false) => broken.push(format!(
                    "{unit} was restarted, and nobody approved, though {}",
                    reserve.as_str()
                )),
                (Some(reserve), true) => {
                    *state.approved_all_the_same.entry(reserve).or_default() += 1;
                }
                (None, _) => {}
            }
            let accused = tree
                .ancestors(&unit)
                .into_iter()
                .chain([&unit])
                .chain(tree.subtree(&unit))
                .filter_map(|unit| state.accused.get(unit))
                .any(|at| *at > now - expiry);
            if !accused && !approved {
                broken.push(format!(
                    "{unit} was restarted on one source's word, or on an old one"
                ));
            }
            for words in broken {
                state.violations.push(format!("at {now:.1} s: {words}"));
            }
            if !is_refused {
                state.calls.push(Call {
                    unit: unit.clone(),
                    at: now,
                });
            }
        });
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        self.account(&permit);
        let unit = permit.unit().clone();
        let usual = Self::downtime_of(unit.as_str());
        let manner = self.with(|state| state.manner.get(&unit).copied());
        let deadline = permit.deadline();
        // Dropped with the engine's patience, as a real one would be.
        let flight = Flight::new(self, &unit);
        let stopped_at = self.wall();
        let takes = match manner.unwrap_or(Manner::Works) {
            Manner::Works => usual,
            Manner::Cold => 2.0 * usual,
            Manner::Refuses => {
                let reason = "404 Not Found".to_owned();
                return Err(ExecuteError::Refused { unit, reason });
            }
            Manner::NeverReady => {
                sleep(deadline).await;
                let reason = "its probe says 503".to_owned();
                return Err(ExecuteError::NotReady {
                    unit,
                    deadline,
                    reason,
                });
            }
            Manner::Hangs => return std::future::pending().await,
            // As a panic does, without the words on standard error: nobody made a mistake here.
            Manner::Panics => std::panic::resume_unwind(Box::new("an executor's own mistake")),
        };
        sleep(Duration::from_secs_f64(takes)).await;
        let now = self.seconds();
        self.with(|state| {
            for place in self.on_at(now, &state.ended) {
                let cures = self.troubles[place]
                    .cure
                    .is_some_and(|cure| self.tree.contains(&unit, &cure.into()));
                if cures {
                    state.ended.insert(place, now);
                }
            }
        });
        drop(flight);
        // Clocks jump during restarts too, and the service has to bear it.
        Ok(Executed {
            stopped_at,
            ready_at: self.wall(),
            began: Life::default(),
            note: String::new(),
        })
    }

    /// The worst share that fails anywhere, which is what the incident's request types see.
    fn worst_share(&self, at: f64, ended: &BTreeMap<usize, f64>) -> f64 {
        self.on_at(at, ended)
            .into_iter()
            .flat_map(|place| &self.troubles[place].hits)
            .map(|(_, share)| *share)
            .fold(0.0, f64::max)
    }
}

/// The number of the incident that a trouble makes of a unit. Below are those of lies.
const fn incident_of(place: usize, hit: usize) -> u64 {
    1000 + 10 * place as u64 + hit as u64
}

/// A restart under way: what passes through the unit fails as long as it lasts.
struct Flight {
    world: World,
    unit: UnitName,
    from: f64,
}

impl Flight {
    fn new(world: &World, unit: &UnitName) -> Self {
        world.with(|state| state.in_flight.push(unit.clone()));
        Self {
            world: world.clone(),
            unit: unit.clone(),
            from: world.seconds(),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let now = self.world.seconds();
        let process = self.unit.as_str().to_owned();
        self.world.with(|state| {
            let place = state.in_flight.iter().position(|unit| *unit == self.unit);
            if let Some(place) = place {
                state.in_flight.swap_remove(place);
            }
            let failing = self.world.on_at(self.from, &state.ended);
            let failing = failing
                .into_iter()
                .map(|place| self.world.troubles[place].share(&process))
                .fold(0.0, f64::max);
            let traffic = World::traffic_of(&process);
            state.by_restarts += (now - self.from) * traffic * (1.0 - failing);
        });
    }
}

impl Executor for World {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    fn inquire<'a>(
        &'a self,
        _action: ActionId,
        _unit: &'a UnitName,
        _generation: u64,
    ) -> BoxFuture<'a, Effect> {
        Box::pin(std::future::ready(Effect::Unknown))
    }
}

impl Cohort for World {
    fn fared(&self, query: &CohortQuery) -> Fared {
        /// Requests per second, looked at so often, and not further back than this.
        const RATE: f64 = 40.0;
        const STEP: f64 = 0.25;
        const BACK: f64 = 120.0;
        let (wall, now) = (self.wall(), self.seconds());
        let ago = |at: SystemTime| match wall.duration_since(at) {
            Ok(ago) => ago.as_secs_f64(),
            Err(ahead) => -ahead.duration().as_secs_f64(),
        };
        let from = (now - ago(query.from)).max(now - BACK).max(0.0);
        let until = (now - ago(query.until)).min(now);
        let mut fared = Fared::seen(0, 0, wall);
        self.with(|state| {
            let mut at = from;
            while at < until {
                let share = self.worst_share(at, &state.ended);
                let requests = RATE * STEP.min(until - at);
                let bad = (requests * share).round();
                fared.bad += bad as u64;
                fared.ok += (requests - bad).round() as u64;
                at += STEP;
            }
        });
        fared
    }
}

impl Prober for World {
    fn probe<'a>(&'a self, _spec: &'a ProbeSpec) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Notifier for World {
    fn notify(&self, _notice: &Notice) {}
}

/// All troubles of so many seconds, one after the other.
fn draw(seed: u64, seconds: f64) -> Vec<Trouble> {
    let mut random = stream(seed, &[0]);
    let parts: Vec<&str> = UNITS
        .iter()
        .map(|unit| unit.0)
        .filter(|name| name.contains('.'))
        .collect();
    let mut troubles = Vec::new();
    let mut at = 0.0;
    while at < seconds {
        at += exponential(&mut random, QUIET);
        let lasts = exponential(&mut random, LASTS).max(5.0);
        let part = parts[random.random_range(0..parts.len())];
        let process = PROCESSES[random.random_range(0..PROCESSES.len())];
        let share = 0.6 + 0.4 * random.random::<f64>();
        let mut trouble = Trouble {
            from: at,
            until: at + lasts,
            hits: vec![(part, share)],
            cure: Some(part),
            shape: "raised",
            reserve: None,
        };
        match random.random_range(0..10) {
            // Two kinds in five need the component, one the process; the rest no restart.
            0..4 => {
                trouble.until += 10.0 * LASTS;
                // By its number, so that the other troubles stay those that they are.
                let is_sampled = troubles.len() % SAMPLED_ONE_IN == 0;
                trouble.reserve = is_sampled.then_some(Reserve::Sampler);
            }
            4..6 => {
                trouble.hits = vec![(process, share)];
                trouble.cure = Some(process);
                trouble.until += 10.0 * LASTS;
            }
            // Overload: everybody is slow.
            6 => {
                trouble.hits = PROCESSES.iter().map(|name| (*name, share)).collect();
                trouble.cure = None;
                trouble.shape = "slow";
                trouble.reserve = Some(Reserve::Overload);
            }
            // The shared database.
            7 => {
                trouble.hits = vec![("shop", 0.9), ("bank", 0.9), ("mail", 0.9)];
                trouble.cure = None;
                trouble.reserve = Some(Reserve::Database);
            }
            // Poison messages.
            8 => {
                trouble.hits = vec![(part, 0.5)];
                trouble.cure = None;
            }
            // Flapping: there and gone, again and again.
            _ => {
                trouble.cure = None;
                for _ in 0..5 {
                    trouble.from = at;
                    trouble.until = at + 10.0;
                    troubles.push(trouble.clone());
                    at += 30.0;
                }
                continue;
            }
        }
        at = trouble.until;
        troubles.push(trouble);
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_world_is_a_tree_with_troubles_of_every_kind() {
        let world = World::new(1, Policy::default(), 100_000.0);
        assert_eq!(world.tree.len(), UNITS.len());
        let any = |wanted: fn(&Trouble) -> bool| world.troubles.iter().any(wanted);
        assert!(any(
            |trouble| trouble.cure.is_none() && trouble.hits.len() > 3
        ));
        assert!(any(|trouble| trouble.is_cured_by_process("shop")));
        for reserve in Reserve::ALL {
            let mut troubles = world.troubles.iter();
            assert!(
                troubles.any(|it| it.reserve == Some(reserve)),
                "{reserve:?}"
            );
        }
        assert!(
            world
                .troubles
                .windows(2)
                .all(|pair| pair[0].from <= pair[1].from)
        );
    }
}
