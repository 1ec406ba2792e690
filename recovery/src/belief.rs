//! Which restart cures which fault?
//!
//! One distribution per fault signature and chain of units (from the suspect up to the root), over
//! the *smallest level that cures*, with `by itself` and `none` among the levels. So a parent never
//! cures less than its child, a child that failed raises its parent by the right amount, and a
//! child that was not tried is not counted as failed.
//!
//! Levels have pseudo-counts, as of a Dirichlet distribution. A recovery that is over adds one
//! observation: each level's share of it is the level's probability times the likelihood of what
//! the trials brought (a trial of relief `r` has likelihood `r` where it should have cured, `1 - r`
//! where it should not), and the whole weighs as much as the suspect is believed to have been the
//! right one. With relief 1 or 0 that is plain censoring; with something between, partial relief
//! counts partly.
//!
//! What was seen of one signature in one unit is backed by what was seen of the shape in the unit,
//! that by what was seen of the shape anywhere, and that by the prior (Dirichlet back-off: each
//! step's mean is the next one's prior, with a fixed strength).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

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
/// … the same shape anywhere against the same shape in the unit …
const STRENGTH_OF_SHAPE: f64 = 2.0;
/// … and the same shape in the unit against the very signature: two recoveries from the same fault
/// in the same unit say more than everything else.
const STRENGTH_OF_UNIT: f64 = 1.0;
/// No row weighs more than so many recoveries, so that a changed system is learned anew in as many.
const MAX_WEIGHT: f64 = 30.0;
/// Rows kept; the lightest goes first. A thousand units with ten faults each.
const MAX_ROWS: usize = 10_000;

/// A fault that none of the suspects has: by itself, the whole tree's restart, nothing. It may be
/// anywhere in the tree, but is more likely not in it at all.
const PRIOR_ELSEWHERE: [f64; 3] = [0.1, 0.2, 0.7];

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
}

/// Pseudo-counts of one key, as they were at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    #[serde(with = "pairs")]
    counts: BTreeMap<Level, f64>,
    at: SystemTime,
}

/// JSON's keys are texts only, and a [`Level`] is more than that.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Level;

    pub(super) fn serialize<S: Serializer>(
        counts: &BTreeMap<Level, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(counts)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Level, f64>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// One restart that was tried and judged. What is unknown is no trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The unit that was restarted.
    pub unit: UnitName,
    /// How much it helped, in `[0, 1]`.
    pub relief: f64,
}

/// Everything that was learned about cures.
#[derive(Clone, Debug, PartialEq)]
pub struct Beliefs {
    rows: BTreeMap<Key, Row>,
    half_life: Duration,
}

/// What is believed about one suspect, given what was already tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The suspect's unit and all that contain it, nearest first.
    pub units: Vec<UnitName>,
    /// How likely it goes by itself, each unit is the smallest that cures, and nothing cures; of
    /// `units.len() + 2` entries. Adds up to the suspect's probability before the trials, and to
    /// less after them: divide by the sum over all chains.
    pub levels: Vec<f64>,
}

/// The prior over `by itself`, a chain of so many units, and `none`.
fn prior(units: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..units)
        .scan(1.0, |weight, _| {
            let this = *weight;
            *weight *= PRIOR_NEXT;
            Some(this)
        })
        .collect();
    let all: f64 = weights.iter().sum();
    let curable = 1.0 - PRIOR_BY_ITSELF - PRIOR_NONE;
    let mut levels = vec![PRIOR_BY_ITSELF];
    levels.extend(weights.iter().map(|weight| curable * weight / all));
    levels.push(PRIOR_NONE);
    if units == 0 {
        levels[1] = 1.0 - PRIOR_BY_ITSELF;
    }
    levels
}

/// The likelihood of what the trials brought, if this level is the smallest that cures.
fn likelihood(tree: &RestartTree, units: &[UnitName], level: usize, trials: &[Trial]) -> f64 {
    let by_itself = level == 0;
    trials
        .iter()
        .map(|trial| {
            let relief = trial.relief.clamp(0.0, 1.0);
            let should_cure = by_itself
                || units
                    .get(level - 1)
                    .is_some_and(|unit| tree.contains(&trial.unit, unit));
            if should_cure { relief } else { 1.0 - relief }
        })
        .product()
}

impl Beliefs {
    /// Nothing learned yet. What will be learned loses half its weight in every half-life.
    pub fn new(half_life: Duration) -> Self {
        Self {
            rows: BTreeMap::new(),
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

    /// The mean of a row whose prior is `mean`, and the row's weight now. `name` says how a level of
    /// the chain is called in the row.
    fn refine(
        &self,
        key: &Key,
        mean: &[f64],
        strength: f64,
        now: SystemTime,
        name: impl Fn(usize) -> Level,
    ) -> (Vec<f64>, f64) {
        let Some(row) = self.rows.get(key) else {
            return (mean.to_vec(), 0.0);
        };
        let fading = self.fading(row.at, now);
        let counts: Vec<f64> = (0..mean.len())
            .map(|level| row.counts.get(&name(level)).copied().unwrap_or(0.0) * fading)
            .collect();
        let weight: f64 = counts.iter().sum();
        let refined = mean
            .iter()
            .zip(&counts)
            .map(|(mean, count)| (strength * mean + count) / (strength + weight))
            .collect();
        (refined, weight)
    }

    /// How likely each level is the smallest that cures such a fault in the first unit of the chain:
    /// `by itself`, the units in order, `none`. Adds up to 1. The second value is how many
    /// recoveries, faded, this rests on. Without a signature it is about a fault never seen here.
    pub fn levels(
        &self,
        signature: Option<&FaultSignature>,
        units: &[UnitName],
        now: SystemTime,
    ) -> (Vec<f64>, f64) {
        let mean = prior(units.len());
        let (Some(unit), Some(signature)) = (units.first(), signature) else {
            return (mean, 0.0);
        };
        let step = |level: usize| match level {
            0 => Level::ByItself,
            level if level > units.len() => Level::None,
            level => Level::Step(level - 1),
        };
        let named = |level: usize| match level {
            0 => Level::ByItself,
            level => units
                .get(level - 1)
                .map_or(Level::None, |unit| Level::Unit(unit.clone())),
        };
        let anywhere = Key::Anywhere(signature.shape.clone());
        let shape = Key::Shape(signature.shape.clone(), unit.clone());
        let exact = Key::Exact(signature.clone(), unit.clone());
        let (mean, _) = self.refine(&anywhere, &mean, STRENGTH_OF_PRIOR, now, step);
        let (mean, weight) = self.refine(&shape, &mean, STRENGTH_OF_SHAPE, now, named);
        let (mean, _) = self.refine(&exact, &mean, STRENGTH_OF_UNIT, now, named);
        (mean, weight)
    }

    /// The signatures that something was learned about in this unit.
    pub fn signatures(&self, unit: &UnitName) -> impl Iterator<Item = &FaultSignature> {
        self.rows.keys().filter_map(move |key| match key {
            Key::Exact(signature, of) if of == unit => Some(signature),
            _ => None,
        })
    }

    /// What is believed about each suspect, given what was tried; the last chain is of a fault that
    /// none of them has.
    pub fn chains(
        &self,
        evidence: &Evidence,
        tree: &RestartTree,
        trials: &[Trial],
        now: SystemTime,
    ) -> Vec<Chain> {
        let mut left: f64 = 1.0;
        let mut chains = Vec::new();
        for suspect in &evidence.suspects {
            let units: Vec<UnitName> = tree.chain(&suspect.unit).into_iter().cloned().collect();
            if units.is_empty() || suspect.probability.is_nan() {
                continue;
            }
            let probability = suspect.probability.clamp(0.0, left);
            left -= probability;
            let (levels, _) = self.levels(Some(&evidence.signature), &units, now);
            chains.push((units, levels, probability));
        }
        let root: Vec<UnitName> = tree.root().into_iter().cloned().collect();
        let elsewhere = if root.is_empty() {
            vec![0.1, 0.9]
        } else {
            PRIOR_ELSEWHERE.to_vec()
        };
        chains.push((root, elsewhere, left));
        chains
            .into_iter()
            .map(|(units, levels, probability)| {
                let levels = levels
                    .iter()
                    .enumerate()
                    .map(|(level, mean)| {
                        probability * mean * likelihood(tree, &units, level, trials)
                    })
                    .collect();
                Chain { units, levels }
            })
            .collect()
    }

    /// Learns from a recovery that is over. Without trials, the incident went by itself. Returns
    /// the rows that changed, or went, to be kept.
    pub fn learn(
        &mut self,
        evidence: &Evidence,
        tree: &RestartTree,
        trials: &[Trial],
        now: SystemTime,
    ) -> Vec<(Key, Option<Row>)> {
        let mut changed = BTreeSet::new();
        let mut chains = self.chains(evidence, tree, trials, now);
        if trials.is_empty() {
            for chain in &mut chains {
                chain
                    .levels
                    .iter_mut()
                    .skip(1)
                    .for_each(|level| *level = 0.0);
            }
        }
        let total: f64 = chains.iter().flat_map(|chain| &chain.levels).sum();
        if total <= 0.0 {
            return Vec::new();
        }
        // Nothing is learned about faults elsewhere: there is no unit to remember them by.
        chains.pop();
        let shape = &evidence.signature.shape;
        for Chain { units, levels } in chains {
            let Some(suspect) = units.first().cloned() else {
                continue;
            };
            let mut named = BTreeMap::new();
            let mut stepped = BTreeMap::new();
            for (level, weight) in levels.iter().enumerate() {
                let weight = weight / total;
                let (name, step) = match level {
                    0 => (Level::ByItself, Level::ByItself),
                    level => match units.get(level - 1) {
                        Some(unit) => (Level::Unit(unit.clone()), Level::Step(level - 1)),
                        None => (Level::None, Level::None),
                    },
                };
                named.insert(name, weight);
                stepped.insert(step, weight);
            }
            for (key, observed) in [
                (
                    Key::Exact(evidence.signature.clone(), suspect.clone()),
                    &named,
                ),
                (Key::Shape(shape.clone(), suspect), &named),
                (Key::Anywhere(shape.clone()), &stepped),
            ] {
                self.add(key.clone(), observed, now);
                changed.insert(key);
            }
        }
        while self.rows.len() > MAX_ROWS {
            let weight = |row: &Row| row.counts.values().sum::<f64>() * self.fading(row.at, now);
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

    fn add(&mut self, key: Key, observed: &BTreeMap<Level, f64>, now: SystemTime) {
        // A suspect that was hardly believed teaches nothing worth a row.
        const TOO_LIGHT: f64 = 0.01;
        if observed.values().sum::<f64>() < TOO_LIGHT {
            return;
        }
        let fading = self
            .rows
            .get(&key)
            .map_or(1.0, |row| self.fading(row.at, now));
        let row = self.rows.entry(key).or_insert_with(|| Row {
            counts: BTreeMap::new(),
            at: now,
        });
        for count in row.counts.values_mut() {
            *count *= fading;
        }
        for (level, weight) in observed {
            *row.counts.entry(level.clone()).or_default() += weight;
        }
        row.at = row.at.max(now);
        let weight: f64 = row.counts.values().sum();
        if weight > MAX_WEIGHT {
            row.counts
                .values_mut()
                .for_each(|count| *count *= MAX_WEIGHT / weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SuspectUnit;
    use crate::tree::tests::tree;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const TREE: &str = "site -\n  shop process\n    shop.cart\n    shop.search\n  bank process";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1000 * DAY
    }

    fn evidence(suspects: &[(&str, f64)]) -> Evidence {
        Evidence {
            incident: 1,
            at: now(),
            since: now(),
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
                    reason: String::new(),
                })
                .collect(),
            baseline_failure_share: 0.0,
            failing_per_second: 10.0,
            traffic: BTreeMap::new(),
            closed: false,
        }
    }

    fn trial(unit: &str, relief: f64) -> Trial {
        Trial {
            unit: unit.into(),
            relief,
        }
    }

    fn believed(beliefs: &Beliefs, evidence: &Evidence, at: SystemTime) -> Vec<f64> {
        let tree = tree(TREE);
        let units: Vec<UnitName> = tree
            .chain(&evidence.suspects[0].unit)
            .into_iter()
            .cloned()
            .collect();
        beliefs.levels(Some(&evidence.signature), &units, at).0
    }

    fn learned(recoveries: &[&[Trial]], suspects: &[(&str, f64)]) -> Vec<f64> {
        let mut beliefs = Beliefs::new(30 * DAY);
        let evidence = evidence(suspects);
        for trials in recoveries {
            beliefs.learn(&evidence, &tree(TREE), trials, now());
        }
        believed(&beliefs, &evidence, now())
    }

    #[test]
    fn smaller_levels_first_but_not_certain() {
        let levels = learned(&[], &[("shop.cart", 1.0)]);
        assert_eq!(levels.len(), 5);
        assert!(levels[1] > levels[2] && levels[2] > levels[3], "{levels:?}");
        assert!(levels[1] < 0.75, "{levels:?}");
    }

    /// Each case: the recoveries, and which level is then the likeliest (0 is by itself, 1 the
    /// suspect, 2 its process, 3 the site, 4 none).
    #[test]
    fn what_cured_is_believed_next_time() {
        let failed = trial("shop.cart", 0.0);
        let child: &[Trial] = &[trial("shop.cart", 1.0)];
        let parent: &[Trial] = &[failed.clone(), trial("shop", 1.0)];
        let site: &[Trial] = &[trial("shop", 0.0), trial("site", 1.0)];
        let nothing: &[Trial] = &[failed, trial("shop", 0.0), trial("site", 0.0)];
        for (recoveries, likeliest) in [
            (vec![child], 1),
            (vec![parent], 2),
            (vec![child, parent, parent, parent], 2),
            (vec![site, site], 3),
            (vec![nothing], 4),
            (vec![&[], &[], &[]], 0),
        ] {
            let levels = learned(&recoveries, &[("shop.cart", 0.9)]);
            let best = (0..5).max_by(|a, b| levels[*a].total_cmp(&levels[*b]));
            assert_eq!(best, Some(likeliest), "{recoveries:?}: {levels:?}");
        }
    }

    #[test]
    fn what_was_not_tried_has_not_failed() {
        let untried = learned(&[&[trial("shop", 1.0)]], &[("shop.cart", 1.0)]);
        let fresh = learned(&[], &[("shop.cart", 1.0)]);
        // The process cured, which the component might have done too: their odds stay.
        let odds = |levels: &[f64]| levels[1] / levels[2];
        assert!((odds(&untried) - odds(&fresh)).abs() < 1e-9);
        assert!(untried[3] < fresh[3] && untried[4] < fresh[4]);
    }

    #[test]
    fn partial_relief_counts_partly() {
        let at = |relief| learned(&[&[trial("shop.cart", relief)]], &[("shop.cart", 1.0)])[1];
        assert!(at(0.0) < at(0.5) && at(0.5) < at(0.8) && at(0.8) < at(1.0));
    }

    #[test]
    fn an_unlikely_suspect_teaches_little() {
        let at = |probability| {
            let failed: &[Trial] = &[trial("shop.cart", 0.0)];
            learned(&[failed], &[("shop.cart", probability)])[1]
        };
        assert!(at(1.0) < at(0.5) && at(0.5) < at(0.1));
    }

    #[test]
    fn other_signatures_and_units_borrow() {
        let mut beliefs = Beliefs::new(30 * DAY);
        let first = evidence(&[("shop.cart", 1.0)]);
        for _ in 0..5 {
            let trials = [trial("shop.cart", 0.0), trial("shop", 1.0)];
            beliefs.learn(&first, &tree(TREE), &trials, now());
        }
        let mut same_unit = first.clone();
        same_unit.signature.error_type = "Other".to_owned();
        let sibling = evidence(&[("shop.search", 1.0)]);
        let mut other_shape = first.clone();
        other_shape.signature.shape = "slow".to_owned();
        let p = |evidence: &Evidence| believed(&beliefs, evidence, now())[2];
        assert!(p(&first) > p(&same_unit));
        assert!(p(&same_unit) > p(&sibling));
        assert!(p(&sibling) > p(&other_shape));
    }

    #[test]
    fn what_was_learned_fades() {
        let mut beliefs = Beliefs::new(30 * DAY);
        let evidence = evidence(&[("shop.cart", 1.0)]);
        let fresh = believed(&beliefs, &evidence, now());
        beliefs.learn(&evidence, &tree(TREE), &[trial("shop.cart", 0.0)], now());
        let soon = believed(&beliefs, &evidence, now());
        let later = believed(&beliefs, &evidence, now() + 60 * DAY);
        let never = believed(&beliefs, &evidence, now() + 3000 * DAY);
        assert!(soon[1] < later[1] && later[1] < fresh[1]);
        assert!((never[1] - fresh[1]).abs() < 1e-9);
    }

    #[test]
    fn rows_come_back_as_they_were_kept() {
        let mut beliefs = Beliefs::new(30 * DAY);
        let evidence = evidence(&[("shop.cart", 0.7), ("bank", 0.2)]);
        beliefs.learn(&evidence, &tree(TREE), &[trial("shop.cart", 0.5)], now());
        let kept: Vec<(Key, Row)> = beliefs
            .rows()
            .map(|row| serde_json::to_string(&row).expect("rows serialize"))
            .map(|json| serde_json::from_str(&json).expect("and back"))
            .collect();
        assert_eq!(kept.len(), 5);
        assert_eq!(Beliefs::with_rows(30 * DAY, kept), beliefs);
    }

    proptest! {
        #[test]
        fn beliefs_are_a_distribution(
            trials in proptest::collection::vec((0usize..3, 0.0f64..=1.0), 0..8),
            probability in 0.0f64..=1.0,
        ) {
            let names = ["shop.cart", "shop", "site"];
            let mut beliefs = Beliefs::new(30 * DAY);
            let evidence = evidence(&[("shop.cart", probability), ("bank", 0.5)]);
            for (unit, relief) in trials {
                beliefs.learn(&evidence, &tree(TREE), &[trial(names[unit], relief)], now());
                let levels = believed(&beliefs, &evidence, now());
                prop_assert!((levels.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{levels:?}");
                prop_assert!(levels.iter().all(|level| *level >= 0.0));
            }
        }
    }
}
