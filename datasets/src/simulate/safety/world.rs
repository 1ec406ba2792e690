//! The world that is lied about: whoever restarts in it keeps his own account of what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rekindle_recovery::executor::{ExecuteError, Permit};
use rekindle_recovery::{Evidence, Policy, RestartTree, UnitName};

use super::super::manner::Manner;
use super::super::service::{Scene, Simulated};
use super::super::world::unit;
use super::evidence_of;
use super::harm::{self, For, Harm, Restart, Sums};
use super::rules::Account;
use super::troubles::{PROCESSES, Trouble, UNITS, downtime_of, draw, traffic_of};

/// How long a unit is given to be ready again.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(15);
/// The first incident that a trouble makes …
const FIRST_INCIDENT: u64 = 1000;
/// … and how many each can make.
const HITS: u64 = 10;
/// The capacity group of those through whom people come in.
const DOORS: &str = "doors";

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    /// How each unit's executor behaves, from when on.
    manners: BTreeMap<UnitName, Vec<(f64, Manner)>>,
    /// Who was accused by a lie that recovery may act on, and when.
    lies: BTreeMap<UnitName, Vec<f64>>,
    pub(super) account: Account,
    /// When a restart ended a trouble.
    ended: BTreeMap<usize, f64>,
    /// Troubles that somebody was told of, and not yet that they are over.
    told: BTreeSet<usize>,
    sums: Sums,
}

/// The world.
#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    pub(super) scene: Scene,
    pub(super) troubles: Arc<Vec<Trouble>>,
}

impl World {
    pub(super) fn new(seed: u64, policy: Policy, seconds: f64) -> Self {
        let specs = UNITS.iter().map(|(name, parent, millis, _, mode)| {
            let mut spec = unit(name, parent, Duration::from_millis(*millis));
            spec.mode = Some(*mode);
            spec.start_deadline = START_DEADLINE;
            if *millis == 0 {
                spec.executor = None;
                spec.expected_downtime = None;
            }
            match *name {
                "desk" => spec.rules.minimum_healthy = Some(1),
                "shop" | "web" => spec.rules.capacity_group = Some(DOORS.to_owned()),
                _ => {}
            }
            spec
        });
        // The constant is a tree; a test says so.
        let tree = RestartTree::build(specs.collect()).unwrap_or_default();
        let policy = Policy {
            capacity: BTreeMap::from([(DOORS.to_owned(), 1)]),
            ..policy
        };
        let scene = Scene::begin(tree, policy);
        let state = State {
            manners: BTreeMap::new(),
            lies: BTreeMap::new(),
            account: Account::new(scene.tree.clone(), scene.policy.clone()),
            ended: BTreeMap::new(),
            told: BTreeSet::new(),
            sums: Sums::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            scene,
            troubles: Arc::new(draw(seed, seconds)),
        }
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True seconds since the beginning.
    pub(super) fn seconds(&self) -> f64 {
        self.scene.clocks.now()
    }

    pub(super) fn jump(&self, seconds: i64) {
        self.scene.clocks.jump(seconds);
    }

    /// Does something to the account, at the true time.
    pub(super) fn note<T>(&self, f: impl FnOnce(&mut Account, f64) -> T) -> T {
        let now = self.seconds();
        self.with(|state| f(&mut state.account, now))
    }

    pub(super) fn harm(&self) -> (u64, Harm) {
        let now = self.seconds();
        self.with(|state| {
            let mut harm = Harm {
                restarts: state.account.restarts() as f64,
                by_restarts: harm::failed(&state.sums),
                in_all: harm::failed(&state.sums),
            };
            for (place, trouble) in self.troubles.iter().enumerate() {
                let until = state.ended.get(&place).copied().unwrap_or(trouble.until);
                let lasted = (until.min(now) - trouble.from).max(0.0);
                for process in PROCESSES {
                    harm.in_all += lasted * traffic_of(process) * trouble.share(process);
                }
            }
            (state.account.restarts(), harm)
        })
    }

    /// What restarts came to, by what they were for.
    pub(super) fn sums(&self) -> Sums {
        self.with(|state| state.sums.clone())
    }

    /// From now on an executor behaves so.
    pub(super) fn behave(&self, unit: UnitName, manner: Manner) {
        let now = self.seconds();
        self.with(|state| state.manners.entry(unit).or_default().push((now, manner)));
    }

    /// How a unit's executor behaved at a true time.
    pub(super) fn manner_at(&self, unit: &UnitName, at: f64) -> Manner {
        self.with(|state| {
            let manners = state.manners.get(unit).map_or(&[][..], Vec::as_slice);
            let since = manners.partition_point(|(from, _)| *from <= at);
            let last = since.checked_sub(1).map(|place| manners[place].1);
            last.unwrap_or(Manner::Works)
        })
    }

    /// Notes that a lie accuses these.
    pub(super) fn lied(&self, units: impl Iterator<Item = UnitName>) {
        let now = self.seconds();
        self.with(|state| {
            for unit in units {
                state.lies.entry(unit).or_default().push(now);
            }
        });
    }

    /// Whether a lie accused the process, or something in it, in this time.
    pub(super) fn is_lied_about(&self, process: &str, from: f64, until: f64) -> bool {
        let process = UnitName::from(process);
        self.with(|state| {
            let lies = state.lies.iter();
            let mut lies = lies.filter(|(unit, _)| self.scene.tree.overlap(unit, &process));
            lies.any(|(_, at)| {
                let next = at.partition_point(|at| *at < from);
                at.get(next).is_some_and(|at| *at < until)
            })
        })
    }

    /// What a restart of this unit is for, at this time.
    fn what_for(&self, permit: &Permit, now: f64, ended: &BTreeMap<usize, f64>) -> For {
        let on = self.on_at(now, ended);
        match permit.incident().and_then(trouble_of) {
            None if on.is_empty() => For::Lie,
            None => For::LieMeanwhile,
            Some(place) if !on.contains(&place) => For::Gone,
            Some(place) => {
                let Trouble { kind, cure, .. } = self.troubles[place];
                let cures = |cure: &str| self.scene.tree.contains(permit.unit(), &cure.into());
                match cure.is_some_and(cures) {
                    true => For::Cure(kind),
                    false => For::Nothing(kind),
                }
            }
        }
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
        let mut evidence =
            evidence_of(incident, suspects, 10.0, self.scene.clocks.wall(), "raised");
        evidence.traffic = UNITS
            .iter()
            .map(|unit| (UnitName::from(unit.0), unit.3))
            .collect();
        let renewed = self.note(|account, _| account.renewed().clone());
        evidence.circumstances.changes = self.scene.clocks.changes(&renewed);
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
                evidence.failing_per_second = share * traffic_of(unit);
                if let Some(reserve) = trouble.reserve {
                    reserve.tell(&mut evidence.circumstances);
                    self.note(|account, _| account.reserve(evidence.incident, reserve));
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

    pub(super) fn told(&self, evidence: &Evidence) {
        let age = self.scene.clocks.wall().duration_since(evidence.at);
        let age = age.unwrap_or_default().as_secs_f64();
        self.note(|account, now| account.told(evidence, age, now));
    }

    /// Whose restart would cure a trouble that is theirs alone.
    fn ill(&self, at: f64, ended: &BTreeMap<usize, f64>) -> BTreeSet<&'static str> {
        let on = self.on_at(at, ended).into_iter();
        let hits = on.map(|place| &self.troubles[place].hits);
        hits.filter(|hits| hits.len() == 1)
            .map(|hits| hits[0].0)
            .collect()
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
    FIRST_INCIDENT + HITS * place as u64 + hit as u64
}

/// The trouble that an incident is of.
fn trouble_of(incident: u64) -> Option<usize> {
    let place = incident.checked_sub(FIRST_INCIDENT)? / HITS;
    usize::try_from(place).ok()
}

/// A restart under way: what passes through the unit fails as long as it lasts.
struct Flight {
    world: World,
    unit: UnitName,
    from: f64,
    of: For,
    is_approved: bool,
    manner: Manner,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let now = self.world.seconds();
        let process = self.unit.as_str().to_owned();
        self.world.with(|state| {
            state.account.landed(&self.unit);
            let failing = self.world.on_at(self.from, &state.ended);
            let failing = failing
                .into_iter()
                .map(|place| self.world.troubles[place].share(&process))
                .fold(0.0, f64::max);
            let traffic = traffic_of(&process);
            if self.manner == Manner::Refuses {
                // It leaves the unit as it was, and is no restart.
                return;
            }
            let restart = Restart {
                of: self.of,
                is_approved: self.is_approved,
                is_process: PROCESSES.contains(&process.as_str()),
                manner: self.manner,
                failed: (now - self.from) * traffic * (1.0 - failing),
            };
            harm::add(&mut state.sums, &restart);
        });
    }
}

impl Simulated for World {
    const REMEMBERS: f64 = 120.0;

    fn scene(&self) -> &Scene {
        &self.scene
    }

    async fn carry_out(&self, permit: Permit) -> Result<(), ExecuteError> {
        let unit = permit.unit().clone();
        let now = self.seconds();
        let manner = self.manner_at(&unit, now);
        // Dropped with the engine's patience, as a real one would be.
        let flight = self.with(|state| {
            let ill = self.ill(now, &state.ended);
            let refuses = manner == Manner::Refuses;
            let is_approved = state.account.called(&permit, refuses, &ill, now);
            state.account.took_off(&unit);
            Flight {
                world: self.clone(),
                unit: unit.clone(),
                from: now,
                of: self.what_for(&permit, now, &state.ended),
                is_approved,
                manner,
            }
        });
        let usual = Duration::from_secs_f64(downtime_of(unit.as_str()));
        manner.act(&unit, usual, permit.deadline()).await?;
        let now = self.seconds();
        self.with(|state| {
            for place in self.on_at(now, &state.ended) {
                let cures = self.troubles[place]
                    .cure
                    .is_some_and(|cure| self.scene.tree.contains(&unit, &cure.into()));
                if cures {
                    state.ended.insert(place, now);
                }
            }
        });
        drop(flight);
        Ok(())
    }

    fn fared(&self, _request_types: &[String], from: f64, until: f64) -> (u64, u64) {
        /// Requests per second, looked at so often.
        const RATE: f64 = 40.0;
        const STEP: f64 = 0.25;
        let (mut ok, mut bad) = (0.0, 0.0);
        self.with(|state| {
            let mut at = from;
            while at < until {
                let requests = RATE * STEP.min(until - at);
                let failed = (requests * self.worst_share(at, &state.ended)).round();
                bad += failed;
                ok += (requests - failed).round();
                at += STEP;
            }
        });
        (ok as u64, bad as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_world_is_a_tree_with_pairs() {
        let world = World::new(1, Policy::default(), 1000.0);
        assert_eq!(world.scene.tree.len(), UNITS.len());
        let rules = |unit: &str| {
            world
                .scene
                .tree
                .spec(&unit.into())
                .expect("it is there")
                .rules
                .clone()
        };
        assert_eq!(rules("desk").minimum_healthy, Some(1));
        assert_eq!(rules("web").capacity_group.as_deref(), Some(DOORS));
        assert_eq!(rules("shop").capacity_group.as_deref(), Some(DOORS));
    }
}
