//! How long is a unit away when it is restarted, and how many of its requests fail then?
//!
//! Both are posteriors ([`estimate`]) that start at what is usual and move with what is measured; old measurements
//! fade as beliefs do. Usual is what the configuration expects of the unit; where it says nothing, what was
//! measured of all units that are restarted in the same way, and before that a constant. A unit that is
//! restarted through its parts takes the sum of theirs, because they go one after the other.
//!
//! Of the requests that would have passed through a unit while it was away, more may fail (a cold start), or fewer
//! (callers that wait and try again hide a short restart): their share is learned from restarts that cured, since
//! after others the fault goes on failing requests.
//!
//! What a restart loses beside (sessions, caches) is a person's word about a life that has lasted. What was lost with the
//! last life can't be lost again, and a session takes a request to begin: so a life never loses more than the requests
//! that it had.

mod estimate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::estimate::{Estimate, MAX_WEIGHT, Moments};
use self::estimate::{STRENGTH_OF_PRIOR, next_value, weight_of_share};
use crate::{ExecutorSpec, RestartTree, UnitName};

/// Prior for a part of a process behind a microreboot endpoint. Published microreboots took 0.4 to
/// 0.6 s; ours load their data anew.
const PRIOR_COMPONENT: Duration = Duration::from_secs(1);
/// Prior for a process, or what a command restarts.
const PRIOR_PROCESS: Duration = Duration::from_secs(5);
/// Prior: as many requests fail as would have come.
const PRIOR_FAILING: f64 = 1.0;
/// One restart isn't believed to have failed more than so many times the requests that it should have: what
/// else failed meanwhile had other causes.
const MOST_FAILING: f64 = 10.0;

/// Of whom something was measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostKey {
    /// A unit, or a kind of them ([`RestartTree::kind`]).
    Unit(UnitName),
    /// All units that are restarted in this way ([`ExecutorSpec::kind`], or `parts`).
    Way(String),
}

/// What stands before a way where a unit's name would stand: names have no space.
const ANY: &str = "any ";

impl fmt::Display for CostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => write!(f, "{unit}"),
            Self::Way(way) => write!(f, "{ANY}{way}"),
        }
    }
}

impl From<&str> for CostKey {
    fn from(text: &str) -> Self {
        match text.strip_prefix(ANY) {
            Some(way) => Self::Way(way.to_owned()),
            None => Self::Unit(UnitName::from(text)),
        }
    }
}

/// What was measured of one unit, or of all that are restarted in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How long restarts took, in seconds.
    #[serde(flatten)]
    pub downtime: Option<Moments>,
    /// How many requests failed, as a share of those that would have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Moments>,
}

/// What was measured of all units.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    measured: BTreeMap<CostKey, Measured>,
    /// What was measured elsewhere.
    seeds: BTreeMap<CostKey, Measured>,
    half_life: Duration,
    /// Since when units whose restart loses anything are in their present lives, where we began these.
    since: BTreeMap<UnitName, SystemTime>,
}

/// What a restart costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// How long the unit is away, in seconds.
    pub takes: Estimate,
    /// Failed user requests, with what its restart loses beside.
    pub requests: Estimate,
}

/// Which of the two figures.
type Figure = fn(&mut Measured) -> &mut Option<Moments>;
type ReadFigure = fn(&Measured) -> Option<Moments>;

impl Costs {
    /// Nothing measured yet.
    pub fn new(half_life: Duration) -> Self {
        Self {
            measured: BTreeMap::new(),
            seeds: BTreeMap::new(),
            half_life: half_life.max(Duration::from_secs(1)),
            since: BTreeMap::new(),
        }
    }

    /// What was measured before, from [`Self::rows`].
    pub fn with_rows(
        half_life: Duration,
        rows: impl IntoIterator<Item = (CostKey, Measured)>,
    ) -> Self {
        let mut costs = Self::new(half_life);
        costs.measured = rows.into_iter().collect();
        costs
    }

    /// With what was measured elsewhere beside it: it counts as measured, and isn't kept.
    #[must_use]
    pub fn with_seeds(mut self, seeds: impl IntoIterator<Item = (CostKey, Measured)>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// All that is known now, measured here or seeded, to be taken elsewhere.
    pub fn exported(&self, now: SystemTime) -> Vec<(CostKey, Measured)> {
        let keys: BTreeSet<&CostKey> = self.measured.keys().chain(self.seeds.keys()).collect();
        let all = keys.into_iter().map(|key| {
            let known = Measured {
                downtime: self.moments(key, |it| it.downtime, now),
                failing: self.moments(key, |it| it.failing, now),
            };
            (key.clone(), known)
        });
        all.collect()
    }

    /// What is known of a figure, as it weighs now.
    fn moments(&self, key: &CostKey, figure: ReadFigure, now: SystemTime) -> Option<Moments> {
        let measured = self.measured.get(key).and_then(figure);
        let seeded = self.seeds.get(key).and_then(figure);
        match (measured, seeded) {
            (Some(measured), Some(seeded)) => Some(measured.and(seeded, self.half_life, now)),
            (one, other) => one.or(other),
        }
    }

    /// All that was measured, to be kept.
    pub fn rows(&self) -> impl Iterator<Item = (&CostKey, &Measured)> {
        self.measured.iter()
    }

    /// A restart of this very unit, by its own executor, took so long. Returns the rows that changed, to be kept.
    pub fn learn(
        &mut self,
        tree: &RestartTree,
        unit: &UnitName,
        downtime: Duration,
        now: SystemTime,
    ) -> Vec<(CostKey, Measured)> {
        let seconds = downtime.as_secs_f64();
        self.add(tree, unit, |it| &mut it.downtime, seconds, 1.0, now)
    }

    /// The unit, and what goes with it, is in a new life since then.
    pub fn began(&mut self, tree: &RestartTree, unit: &UnitName, at: SystemTime) {
        self.since.retain(|unit, _| tree.spec(unit).is_some());
        for (part, _) in tree.losing(unit) {
            let since = self.since.entry(part.clone()).or_insert(at);
            *since = (*since).max(at);
        }
    }

    /// What the restart of a unit loses beside requests, if so many requests a second passed through it since its life, and
    /// those of what goes with it, began.
    fn losses(&self, tree: &RestartTree, unit: &UnitName, rate: f64, now: SystemTime) -> f64 {
        let each = tree.losing(unit).map(|(part, loses)| {
            let lived = self.since.get(part).map(|since| {
                // A clock that was set back makes no life young.
                now.duration_since(*since).unwrap_or(Duration::MAX)
            });
            // Who has no traffic now may have had some: that says nothing of its sessions.
            let lived = lived.filter(|_| rate > 0.0);
            let had = lived.map_or(f64::INFINITY, |lived| rate * lived.as_secs_f64());
            f64::from(loses).min(had)
        });
        each.sum()
    }

    /// While this unit was away, so many requests failed of so many that would have passed through it. Returns the
    /// rows that changed, to be kept: none where none would have.
    pub fn learn_failing(
        &mut self,
        tree: &RestartTree,
        unit: &UnitName,
        failed: f64,
        would_have_come: f64,
        now: SystemTime,
    ) -> Vec<(CostKey, Measured)> {
        let weight = weight_of_share(would_have_come);
        let share = failed / would_have_come;
        if weight <= 0.0 || !share.is_finite() {
            return Vec::new();
        }
        let share = share.clamp(0.0, MOST_FAILING);
        self.add(tree, unit, |it| &mut it.failing, share, weight, now)
    }

    fn add(
        &mut self,
        tree: &RestartTree,
        unit: &UnitName,
        figure: Figure,
        value: f64,
        weight: f64,
        now: SystemTime,
    ) -> Vec<(CostKey, Measured)> {
        let keys = [CostKey::Unit(tree.kind(unit).clone()), way(tree, unit)];
        let half_life = self.half_life;
        keys.into_iter()
            .map(|key| {
                let row = self.measured.entry(key.clone()).or_default();
                let figure = figure(row);
                *figure = Some(Moments::with(*figure, value, weight, half_life, now));
                (key, *row)
            })
            .collect()
    }

    /// How long the restart of a unit is expected to take, in seconds. Zero for what is no unit.
    pub fn downtime(&self, tree: &RestartTree, unit: &UnitName, now: SystemTime) -> Estimate {
        let parts = tree.restarts(unit).into_iter();
        let each = parts.map(|part| self.own_downtime(tree, part, now));
        each.reduce(Estimate::plus).unwrap_or_default()
    }

    /// Which share of the requests that would pass through a unit fails while it is restarted; beyond 1 where its
    /// start makes errors.
    pub fn failing(&self, tree: &RestartTree, unit: &UnitName, now: SystemTime) -> Estimate {
        let figure: ReadFigure = |measured| measured.failing;
        let usual = self.usual(tree, unit, PRIOR_FAILING, figure, now);
        self.of(tree, unit, usual, figure, now)
    }

    /// What the restart of a unit costs, if so many requests a second pass through it; those of the last `in_flight`
    /// are lost with it.
    pub fn price(
        &self,
        tree: &RestartTree,
        unit: &UnitName,
        rate: f64,
        in_flight: Duration,
        now: SystemTime,
    ) -> Price {
        let takes = self.downtime(tree, unit, now);
        let away = takes.plus(Estimate::certain(in_flight.as_secs_f64()));
        let failing = away.times(self.failing(tree, unit, now)).scaled(rate);
        let losses = Estimate::certain(self.losses(tree, unit, rate, now));
        Price {
            takes,
            requests: failing.counted().plus(losses),
        }
    }

    /// How many restarts of other units that are restarted as this one, faded, its prior rests on.
    pub fn pooled(&self, tree: &RestartTree, unit: &UnitName, now: SystemTime) -> f64 {
        let others = self.others(tree, unit, |it| it.downtime, now);
        others.map_or(0.0, |(weight, _)| weight)
    }

    /// As [`Self::downtime`], of the unit's own executor alone.
    fn own_downtime(&self, tree: &RestartTree, unit: &UnitName, now: SystemTime) -> Estimate {
        let Some(spec) = tree.spec(unit) else {
            return Estimate::default();
        };
        let figure: ReadFigure = |measured| measured.downtime;
        let usual = match (&spec.executor, spec.expected_downtime) {
            (_, Some(expected)) => expected.as_secs_f64(),
            (executor, None) => {
                let constant = match executor {
                    Some(ExecutorSpec::Http(_)) => PRIOR_COMPONENT,
                    // A container or pod is a process with a wrapping that costs little beside its start.
                    _ => PRIOR_PROCESS,
                };
                self.usual(tree, unit, constant.as_secs_f64(), figure, now)
            }
        };
        self.of(tree, unit, usual, figure, now)
    }

    /// What is usual where nobody says: the constant, and what was measured of other such units.
    fn usual(
        &self,
        tree: &RestartTree,
        unit: &UnitName,
        constant: f64,
        figure: ReadFigure,
        now: SystemTime,
    ) -> f64 {
        let Some((weight, mean)) = self.others(tree, unit, figure, now) else {
            return constant;
        };
        (STRENGTH_OF_PRIOR * constant + weight * mean) / (STRENGTH_OF_PRIOR + weight)
    }

    /// What was measured of other units that are restarted as this one: how many, faded, and their mean. The unit's own
    /// measurements say themselves what they say, and would count twice.
    fn others(
        &self,
        tree: &RestartTree,
        unit: &UnitName,
        figure: ReadFigure,
        now: SystemTime,
    ) -> Option<(f64, f64)> {
        let all = self.moments(&way(tree, unit), figure, now)?;
        let weight = all.weight_at(self.half_life, now);
        let own = CostKey::Unit(tree.kind(unit).clone());
        let own = [self.measured.get(&own), self.seeds.get(&own)];
        let own = own.into_iter().flatten().filter_map(figure);
        // What a person knows of the unit was measured of none.
        let own = own.filter(Moments::is_dated).map(|own| {
            let weight = own.weight_at(self.half_life, now);
            (weight, weight * own.mean)
        });
        let (own, sum) = own.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let left = weight - own;
        let sum = weight * all.mean - sum;
        // Neither weighs more than a bound, so of many measurements what is left can't be told exactly.
        let mean = if sum > 0.0 { sum / left } else { all.mean };
        (left > 0.0).then_some((left, mean))
    }

    fn of(
        &self,
        tree: &RestartTree,
        unit: &UnitName,
        usual: f64,
        figure: ReadFigure,
        now: SystemTime,
    ) -> Estimate {
        let own = self.moments(&CostKey::Unit(tree.kind(unit).clone()), figure, now);
        let weighed = own
            .as_ref()
            .map(|own| (own, own.weight_at(self.half_life, now)));
        next_value(usual, weighed)
    }
}

/// The way in which a unit is restarted.
fn way(tree: &RestartTree, unit: &UnitName) -> CostKey {
    let executor = tree.spec(unit).and_then(|spec| spec.executor.as_ref());
    CostKey::Way(executor.map_or("parts", ExecutorSpec::kind).to_owned())
}

#[cfg(test)]
mod tests;
