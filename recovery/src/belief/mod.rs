//! Which restart cures which fault?
//!
//! One distribution per fault signature and chain of units (from the suspect up to the root), over
//! the *smallest level that cures*, with `by itself` and `none` among the levels. So a parent never
//! cures less than its child, a child that failed raises its parent by the right amount, and a
//! child that was not tried is not counted as failed: what a recovery says is an interval of levels,
//! and is kept as that (see [`row`]). A trial of relief `r` counts as a cure by `r` and as a failure by
//! `1 - r`, and the whole weighs as much as the suspect is believed to have been the right one.
//!
//! What was seen of one signature in one unit is backed by what was seen of such faults elsewhere, each
//! step's mean being the next one's prior with a fixed strength:
//!
//! ```text
//! prior ─▶ this shape anywhere ─┬▶ this shape in the unit ──────────┬▶ this very fault in the unit
//!                               └▶ this shape and error anywhere ───┘
//! ```
//!
//! Where two meet, they multiply and are divided by what they have in common, as independent
//! witnesses of one thing do. A fault that none of the suspects has is believed to sit beside the
//! likeliest one; which level above that covers it is learned too. Where it is known whose failures make a
//! suspect fail, what shows in it may sit there: see [`beside`]. Where other parts of what contains it are sick too,
//! they may have one cause: see [`together`].

mod beside;
mod row;
mod seed;
mod together;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::beside::Beside;
pub use self::row::{COINCIDENCE, Interval, MAX_WEIGHT, Row};
pub use self::seed::{Counted, Learned, Misfit, Origin, Seed};
use self::seed::{Planted, weight};
pub use self::version::NewVersion;
use crate::tree::Cover;
use crate::{Evidence, FaultSignature, RestartTree, UnitName};

/// Prior: one fault in twenty is gone before anybody has done anything (a peer's restart, a
/// passing overload). Waiting is cheap to try, so it needn't be believed in.
const PRIOR_BY_ITSELF: f64 = 0.05;
/// Prior: one fault in ten isn't cured by any restart (its state survives, or it isn't ours).
const PRIOR_NONE: f64 = 0.10;
/// Prior: what contains a unit is the smallest that cures a fifth as often as the unit itself, and so
/// on upwards. Of the faults in the microreboot paper's table (OSDI 2004) that some restart cures,
/// 7 kinds of 12 need the component; but 4 of the other 5 are in what all components share and
/// show in all of them, and then the process is the suspect. Of those that show in one component
/// it is 7 of 8. A little less, since evidence is never complete: two failures of a child turn it.
const PRIOR_NEXT: f64 = 0.2;
/// How many recoveries the prior weighs against the same shape anywhere …
const STRENGTH_OF_PRIOR: f64 = 4.0;
/// … the same shape anywhere against the same shape in the unit, or with the same error …
const STRENGTH_OF_SHAPE: f64 = 2.0;
/// … and these against the very signature: two recoveries from the same fault in the same unit say
/// more than everything else.
const STRENGTH_OF_UNIT: f64 = 1.0;
/// Two witnesses make a level so many times likelier or less likely than it was, at most: they may
/// have seen the same recoveries.
const MOST_AGREED: f64 = 20.0;
/// Rows kept; the lightest goes first. A thousand units with ten faults each.
const MAX_ROWS: usize = 10_000;

/// Prior of a fault that none of the suspects has: it may have gone, and it may not be in the tree
/// at all. Otherwise the smallest that covers it is a level above the likeliest suspect, each next
/// one half as likely: ranking mistakes a component for its neighbour more often than for another
/// process's.
const ELSEWHERE_BY_ITSELF: f64 = 0.1;
const ELSEWHERE_NONE: f64 = 0.4;
const ELSEWHERE_NEXT: f64 = 0.5;

/// What may be the smallest that cures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It goes away without anybody doing anything.
    ByItself,
    /// The restart of this unit, or of any that contains it.
    Unit(UnitName),
    /// The n-th unit of a chain, counted from the suspect's: what is shared between units.
    Step(usize),
    /// No restart at all.
    None,
}

/// What a row of counts is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// This very fault in this unit.
    Exact(FaultSignature, UnitName),
    /// A fault of this shape in this unit.
    Shape(String, UnitName),
    /// A fault of this shape anywhere.
    Anywhere(String),
    /// A fault of this shape and error type anywhere.
    Error(String, String),
    /// A fault that no suspect has, by steps above the likeliest.
    Elsewhere,
    /// As [`Self::Elsewhere`], of faults of this shape and error type.
    ElsewhereOf(String, String),
    /// Whether a fault of this shape and error type that shows in another unit sits in this one.
    Beside(String, String, UnitName),
}

/// One restart that was tried and judged. What is unknown is no trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The unit that was restarted.
    pub unit: UnitName,
    /// How much it helped, in `[0, 1]`.
    pub relief: f64,
    /// From the order to the verdict; zero where that isn't known. The longer, the likelier that what went
    /// meanwhile went by itself.
    #[serde(default)]
    pub lasted: Duration,
}

impl Trial {
    /// How likely a fault that goes by itself goes just while this is tried.
    fn coincidence(&self) -> f64 {
        /// What it is given when it is waited for.
        const GIVEN: f64 = 10.0;
        /// Nothing is ever surely a coincidence.
        const MOST: f64 = 0.9;
        match self.lasted.is_zero() {
            true => COINCIDENCE,
            false => (self.lasted.as_secs_f64() / GIVEN).min(MOST),
        }
    }
}

/// What time alone did in a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// Nobody waited for it.
    #[default]
    NotGiven,
    /// It was waited for, and the fault was still there.
    InVain,
    /// The fault went while it was waited for, after all that was tried.
    Healed,
}

/// Everything that was learned about cures.
#[derive(Clone, Debug, PartialEq)]
pub struct Beliefs {
    rows: BTreeMap<Key, Row>,
    /// What was seen elsewhere.
    seeds: BTreeMap<Key, Vec<Planted>>,
    half_life: Duration,
}

/// What was seen of such faults in all units together.
struct Elsewhere {
    common: Vec<f64>,
    by_error: Vec<f64>,
}

impl Elsewhere {
    /// What is believed of a unit in which this was seen: both witnesses, less what they have in common.
    fn agree(&self, by_unit: &[f64]) -> Vec<f64> {
        let mut mean: Vec<f64> = (0..self.common.len())
            .map(|level| {
                let common = self.common[level];
                let agreed = self.by_error[level] / common * (by_unit[level] / common);
                common * agreed.clamp(1.0 / MOST_AGREED, MOST_AGREED)
            })
            .collect();
        let all: f64 = mean.iter().sum();
        mean.iter_mut().for_each(|level| *level /= all);
        mean
    }
}

/// What is believed about one suspect, given what was already tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain<'a> {
    /// The suspect's unit and all that contain it, nearest first.
    pub units: Vec<&'a UnitName>,
    /// How likely the fault is this suspect's, as the evidence has it.
    pub probability: f64,
    /// Their places in the tree.
    pub(crate) places: Vec<usize>,
    /// How likely it goes by itself, each unit is the smallest that cures, and nothing cures; of
    /// `units.len() + 2` entries. With [`Self::beside`] adds up to the suspect's probability before the
    /// trials, and to less after them: divide by the sum over all chains.
    pub levels: Vec<f64>,
    /// Units outside the chain that the fault may sit in though it shows in the suspect.
    pub beside: Vec<Beside>,
}

impl Chain<'_> {
    /// How likely the fault is this chain's, as the levels have it.
    fn weight(&self) -> f64 {
        self.levels.iter().sum::<f64>() + self.beside.iter().map(|one| one.weight).sum::<f64>()
    }
}

/// A distribution over `by itself`, so many units, and `none`, each unit `next` times as likely as the
/// one before.
fn geometric(units: usize, by_itself: f64, none: f64, next: f64) -> Vec<f64> {
    if units == 0 {
        return vec![by_itself, 1.0 - by_itself];
    }
    let weights: Vec<f64> = std::iter::successors(Some(1.0), |weight| Some(weight * next))
        .take(units)
        .collect();
    let all: f64 = weights.iter().sum();
    let curable = 1.0 - by_itself - none;
    let mut levels = vec![by_itself];
    levels.extend(weights.iter().map(|weight| curable * weight / all));
    levels.push(none);
    levels
}

/// The prior over `by itself`, a chain of so many units, and `none`.
fn prior(units: usize) -> Vec<f64> {
    geometric(units, PRIOR_BY_ITSELF, PRIOR_NONE, PRIOR_NEXT)
}

/// What a trial restarted, and how much it helped.
struct Tried {
    cover: Cover,
    relief: f64,
    coincidence: f64,
}

fn tried(tree: &RestartTree, trials: &[Trial]) -> Vec<Tried> {
    trials
        .iter()
        .map(|trial| Tried {
            cover: tree.cover(&trial.unit),
            relief: trial.relief.clamp(0.0, 1.0),
            coincidence: trial.coincidence(),
        })
        .collect()
}

/// The likelihood of what the trials brought, if this level of the chain is the smallest that cures.
fn likelihood(places: &[usize], level: usize, tried: &[Tried]) -> f64 {
    tried
        .iter()
        .map(|tried| {
            let Tried {
                cover,
                relief,
                coincidence,
            } = tried;
            let smallest = level.checked_sub(1).and_then(|at| places.get(at));
            match (level, smallest) {
                (0, _) => relief * coincidence + (1.0 - relief) * (1.0 - coincidence),
                (_, Some(unit)) if cover.contains(*unit) => *relief,
                _ => 1.0 - relief,
            }
        })
        .product()
}

/// What the trials say about a chain of units if the fault is of this chain, as intervals of levels
/// (0 is by itself) with weights that add up to `weight`.
fn intervals(
    tree: &RestartTree,
    units: &[&UnitName],
    beside: &[Beside],
    trials: &[Trial],
    time: Time,
    weight: f64,
) -> Vec<Seen> {
    let none = units.len() + 1;
    let or_by_itself = time == Time::NotGiven;
    let one = |above, until, coincidence, weight| Seen {
        above,
        until,
        or_by_itself,
        coincidence,
        weight,
    };
    if time == Time::Healed {
        return vec![Seen {
            or_by_itself: true,
            ..one(0, 0, COINCIDENCE, weight)
        }];
    }
    let mut seen = Vec::new();
    let (mut above, mut left) = (0, weight);
    // What goes by itself had all the time of all trials to go.
    let mut coincidence: f64 = 0.0;
    for trial in trials {
        coincidence = coincidence.max(trial.coincidence());
        let covered = units
            .iter()
            .take_while(|unit| tree.contains(&trial.unit, unit))
            .count();
        // What cures from beside is in what contains both.
        let covered = match beside.iter().find(|one| one.unit == trial.unit) {
            Some(one) if trial.relief > 0.5 => one.level,
            _ => covered,
        };
        let relief = trial.relief.clamp(0.0, 1.0);
        // What restarts nothing of the chain and cures all the same speaks of another chain.
        if covered > above {
            seen.push(one(above, covered, coincidence, left * relief));
            left *= 1.0 - relief;
            above = covered;
        }
    }
    seen.push(one(above, none, coincidence, left));
    seen
}

/// What a recovery says of a chain: an interval of its levels, by their places.
#[derive(Clone, Copy)]
struct Seen {
    above: usize,
    until: usize,
    or_by_itself: bool,
    coincidence: f64,
    weight: f64,
}

/// How levels are called in rows of named units, and of steps.
fn named(units: &[&UnitName], level: usize) -> Level {
    match level {
        0 => Level::ByItself,
        level => units
            .get(level - 1)
            .map_or(Level::None, |unit| Level::Unit((*unit).clone())),
    }
}

fn step(units: &[&UnitName], level: usize) -> Level {
    match level {
        0 => Level::ByItself,
        level if level > units.len() => Level::None,
        level => Level::Step(level - 1),
    }
}

/// Where a level is in a chain; `None` for a unit that isn't in it. A step above the chain's top is
/// the top.
fn place(units: &[&UnitName], level: &Level) -> Option<usize> {
    match level {
        Level::ByItself => Some(0),
        Level::Unit(name) => units.iter().position(|unit| *unit == name).map(|at| at + 1),
        Level::Step(at) => Some((at + 1).min(units.len())),
        Level::None => Some(units.len() + 1),
    }
}

impl Beliefs {
    /// Nothing learned yet. What will be learned loses half its weight in every half-life.
    pub fn new(half_life: Duration) -> Self {
        Self {
            rows: BTreeMap::new(),
            seeds: BTreeMap::new(),
            half_life: half_life.max(Duration::from_secs(1)),
        }
    }

    /// What was learned before, from [`Self::rows`].
    pub fn with_rows(half_life: Duration, rows: impl IntoIterator<Item = (Key, Row)>) -> Self {
        let mut beliefs = Self::new(half_life);
        beliefs.rows = rows.into_iter().collect();
        beliefs
    }

    /// All that was learned, to be kept.
    pub fn rows(&self) -> impl Iterator<Item = (&Key, &Row)> {
        self.rows.iter()
    }

    fn fading(&self, since: SystemTime, now: SystemTime) -> f64 {
        let age = now.duration_since(since).unwrap_or_default();
        0.5f64.powf(age.as_secs_f64() / self.half_life.as_secs_f64())
    }

    /// The mean of a row whose prior is `mean`, and the row's weight now.
    fn refine(
        &self,
        key: &Key,
        units: &[&UnitName],
        mean: &[f64],
        strength: f64,
        now: SystemTime,
    ) -> (Vec<f64>, f64) {
        let rows: Vec<(&Row, f64)> = self.of(key, now).collect();
        if rows.is_empty() {
            return (mean.to_vec(), 0.0);
        }
        let refined = Row::refine(&rows, mean, strength, |level| place(units, level));
        (refined, weight(rows))
    }

    /// How likely each level is the smallest that cures such a fault in the first unit of the chain:
    /// `by itself`, the units in order, `none`. Adds up to 1. The second value is how many
    /// recoveries, faded, this rests on. Without a signature it is about a fault never seen here. Units here and in
    /// [`Self::tested`] and [`Self::signatures`] are kinds ([`RestartTree::kind`]).
    pub fn levels(
        &self,
        signature: Option<&FaultSignature>,
        units: &[&UnitName],
        now: SystemTime,
    ) -> (Vec<f64>, f64) {
        let (Some(unit), Some(signature)) = (units.first(), signature) else {
            return (prior(units.len()), 0.0);
        };
        let elsewhere = self.elsewhere(signature, units, now);
        self.here(&elsewhere, signature, unit, units, now)
    }

    /// What was seen of such faults, wherever: the same for all chains of one length.
    fn elsewhere(
        &self,
        signature: &FaultSignature,
        units: &[&UnitName],
        now: SystemTime,
    ) -> Elsewhere {
        let FaultSignature {
            shape, error_type, ..
        } = signature;
        let mean = prior(units.len());
        let refine = |key, mean: &[f64], strength| self.refine(&key, units, mean, strength, now);
        let (common, _) = refine(Key::Anywhere(shape.clone()), &mean, STRENGTH_OF_PRIOR);
        let error = Key::Error(shape.clone(), error_type.clone());
        let (by_error, _) = refine(error, &common, STRENGTH_OF_SHAPE);
        Elsewhere { common, by_error }
    }

    /// As [`Self::levels`], from what was seen elsewhere on.
    fn here(
        &self,
        elsewhere: &Elsewhere,
        signature: &FaultSignature,
        unit: &UnitName,
        units: &[&UnitName],
        now: SystemTime,
    ) -> (Vec<f64>, f64) {
        let refine = |key, mean: &[f64], strength| self.refine(&key, units, mean, strength, now);
        let in_unit = Key::Shape(signature.shape.clone(), unit.clone());
        let (by_unit, _) = refine(in_unit, &elsewhere.common, STRENGTH_OF_SHAPE);
        let mean = elsewhere.agree(&by_unit);
        let exact = Key::Exact(signature.clone(), unit.clone());
        refine(exact, &mean, STRENGTH_OF_UNIT)
    }

    /// The units of which something was learned about this fault, or one of its shape.
    fn seen_in(&self, signature: &FaultSignature) -> BTreeSet<&UnitName> {
        let first = UnitName(String::new());
        let exact = Key::Exact(signature.clone(), first.clone());
        let shape = Key::Shape(signature.shape.clone(), first);
        let is_of = |key: &Key| match key {
            Key::Exact(of, _) => of == signature,
            Key::Shape(of, _) => *of == signature.shape,
            _ => false,
        };
        let mut units = BTreeSet::new();
        for first in [exact, shape] {
            let learned = self.rows.range(first.clone()..).map(|(key, _)| key);
            let seeded = self.seeds.range(first..).map(|(key, _)| key);
            units.extend(learned.take_while(|key| is_of(key)).filter_map(Key::unit));
            units.extend(seeded.take_while(|key| is_of(key)).filter_map(Key::unit));
        }
        units
    }

    /// How many recoveries, faded, from this very fault in this unit there were, and in how many of
    /// them it came out whether this level would have been enough.
    pub fn tested(
        &self,
        signature: &FaultSignature,
        unit: &UnitName,
        level: &Level,
        now: SystemTime,
    ) -> (f64, f64) {
        let key = Key::Exact(signature.clone(), unit.clone());
        self.of(&key, now).fold((0.0, 0.0), |sum, (row, fading)| {
            (
                sum.0 + row.weight() * fading,
                sum.1 + row.tested(level) * fading,
            )
        })
    }

    /// The signatures that something was learned about in this unit.
    pub fn signatures(&self, unit: &UnitName) -> impl Iterator<Item = &FaultSignature> {
        let seeded = self.seeds.keys().filter(|key| !self.rows.contains_key(key));
        let keys = self.rows.keys().chain(seeded);
        keys.filter_map(move |key| match key {
            Key::Exact(signature, of) if of == unit => Some(signature),
            _ => None,
        })
    }

    /// What is believed about each suspect, given what was tried; the last chain is of a fault that
    /// none of them has.
    pub fn chains<'a>(
        &self,
        evidence: &Evidence,
        tree: &'a RestartTree,
        trials: &[Trial],
        now: SystemTime,
    ) -> Vec<Chain<'a>> {
        let mut left: f64 = 1.0;
        let mut chains = Vec::new();
        let mut likeliest: Option<(f64, &UnitName)> = None;
        let signature = &evidence.signature;
        let seen_in = self.seen_in(signature);
        // Of a thousand suspects most were never seen to fail so: what is believed of them depends on how
        // many units contain them, and on nothing else.
        let mut elsewhere: BTreeMap<usize, (Elsewhere, Vec<f64>)> = BTreeMap::new();
        for suspect in &evidence.suspects {
            let places = tree.chain_places(&suspect.unit);
            if places.is_empty() || suspect.probability.is_nan() {
                continue;
            }
            let units: Vec<&UnitName> = tree.named(&places).collect();
            let probability = suspect.probability.clamp(0.0, left);
            left -= probability;
            if likeliest.is_none_or(|(most, _)| probability > most) {
                likeliest = Some((probability, &suspect.unit));
            }
            let (elsewhere, unseen) = elsewhere.entry(units.len()).or_insert_with(|| {
                let elsewhere = self.elsewhere(signature, &units, now);
                let unseen = elsewhere.agree(&elsewhere.common);
                (elsewhere, unseen)
            });
            let kind = tree.kind(units[0]);
            let levels = match seen_in.contains(kind) {
                true => {
                    let kinds = tree.kinds_of(&units);
                    self.here(elsewhere, signature, kind, &kinds, now).0
                }
                false => unseen.clone(),
            };
            chains.push((units, places, levels, probability));
        }
        // Beside the likeliest suspect, below what contains it; anywhere, where there is none.
        let beside = likeliest.map_or(Vec::new(), |(_, unit)| tree.ancestors(unit));
        let units = match beside.is_empty() {
            true => tree.root().into_iter().collect(),
            false => beside,
        };
        let places = units
            .first()
            .map_or(Vec::new(), |unit| tree.chain_places(unit));
        let mean = geometric(
            units.len(),
            ELSEWHERE_BY_ITSELF,
            ELSEWHERE_NONE,
            ELSEWHERE_NEXT,
        );
        let (common, _) = self.refine(&Key::Elsewhere, &units, &mean, STRENGTH_OF_PRIOR, now);
        let key = Key::ElsewhereOf(signature.shape.clone(), signature.error_type.clone());
        let (levels, _) = self.refine(&key, &units, &common, STRENGTH_OF_SHAPE, now);
        chains.push((units, places, levels, left));
        let tried = tried(tree, trials);
        chains
            .into_iter()
            .map(|(units, places, levels, probability)| {
                let mut levels: Vec<f64> = levels.iter().map(|mean| probability * mean).collect();
                together::weigh(&mut levels, &places, evidence, tree);
                let mut beside = self.beside(evidence, tree, &units, &mut levels, now);
                for one in &mut beside {
                    one.weight *= beside::likelihood(one.place, &tried);
                }
                for (level, weight) in levels.iter_mut().enumerate() {
                    *weight *= likelihood(&places, level, &tried);
                }
                Chain {
                    units,
                    probability,
                    places,
                    levels,
                    beside,
                }
            })
            .collect()
    }

    /// Learns from a recovery that is over. Returns the rows that changed, or went, to be kept: none
    /// where nothing was tried and nothing healed.
    pub fn learn(
        &mut self,
        evidence: &Evidence,
        tree: &RestartTree,
        trials: &[Trial],
        time: Time,
        now: SystemTime,
    ) -> Vec<(Key, Option<Row>)> {
        let mut changed = BTreeSet::new();
        if trials.is_empty() && time != Time::Healed {
            return Vec::new();
        }
        let chains = self.chains(evidence, tree, trials, now);
        let weigh = |chain: &Chain<'_>| match time {
            Time::Healed => chain.levels[0],
            Time::InVain => chain.weight() - chain.levels[0],
            Time::NotGiven => chain.weight(),
        };
        let total: f64 = chains.iter().map(weigh).sum();
        if total <= 0.0 {
            return Vec::new();
        }
        let FaultSignature {
            shape, error_type, ..
        } = &evidence.signature;
        let last = chains.len() - 1;
        for (at, chain) in chains.iter().enumerate() {
            let kinds = tree.kinds_of(&chain.units);
            let Some(suspect) = kinds.first().copied() else {
                continue;
            };
            let weight = weigh(chain) / total;
            let seen = intervals(tree, &chain.units, &chain.beside, trials, time, weight);
            for (key, units, seen) in beside::seen(chain, tree, trials, time, weight, evidence) {
                if self.add(&key, &units, &[seen], named, now) {
                    changed.insert(key);
                }
            }
            let keys = if at == last {
                vec![
                    Key::Elsewhere,
                    Key::ElsewhereOf(shape.clone(), error_type.clone()),
                ]
            } else {
                vec![
                    Key::Exact(evidence.signature.clone(), suspect.clone()),
                    Key::Shape(shape.clone(), suspect.clone()),
                    Key::Anywhere(shape.clone()),
                    Key::Error(shape.clone(), error_type.clone()),
                ]
            };
            for key in keys {
                let is_named = matches!(key, Key::Exact(..) | Key::Shape(..));
                let name = if is_named { named } else { step };
                if self.add(&key, &kinds, &seen, name, now) {
                    changed.insert(key);
                }
            }
        }
        while self.rows.len() > MAX_ROWS {
            let weight = |row: &Row| row.weight() * self.fading(row.at(), now);
            let lightest = self
                .rows
                .iter()
                .min_by(|a, b| weight(a.1).total_cmp(&weight(b.1)))
                .map(|(key, _)| key.clone());
            let Some(lightest) = lightest else { break };
            self.rows.remove(&lightest);
            changed.insert(lightest);
        }
        changed
            .into_iter()
            .map(|key| {
                let row = self.rows.get(&key).cloned();
                (key, row)
            })
            .collect()
    }

    fn add(
        &mut self,
        key: &Key,
        units: &[&UnitName],
        seen: &[Seen],
        name: impl Fn(&[&UnitName], usize) -> Level,
        now: SystemTime,
    ) -> bool {
        // A suspect that was hardly believed teaches nothing worth a row.
        const TOO_LIGHT: f64 = 0.01;
        let mut is_changed = false;
        for seen in seen {
            if seen.weight < TOO_LIGHT {
                continue;
            }
            let fading = self
                .rows
                .get(key)
                .map_or(1.0, |row| self.fading(row.at(), now));
            let row = self
                .rows
                .entry(key.clone())
                .or_insert_with(|| Row::new(now));
            row.fade(fading, now);
            row.add(Interval {
                above: name(units, seen.above),
                until: name(units, seen.until),
                or_by_itself: seen.or_by_itself,
                coincidence: seen.coincidence,
                weight: seen.weight,
            });
            is_changed = true;
        }
        is_changed
    }
}

#[cfg(test)]
mod tests;
