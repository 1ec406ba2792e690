//! How long is a unit away when it is restarted?
//!
//! A mean that starts at what the configuration expects (weighing one restart) and moves with what
//! is measured; old measurements fade as beliefs do. A unit that is restarted through its parts
//! takes the sum of theirs, because they go one after the other.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{ExecutorSpec, RestartTree, UnitName};

/// Prior for a part of a process behind a microreboot endpoint. Published microreboots took 0.4 to
/// 0.6 s; ours load their data anew.
const PRIOR_COMPONENT: Duration = Duration::from_secs(1);
/// Prior for a process, or what a command restarts.
const PRIOR_PROCESS: Duration = Duration::from_secs(5);
/// What the prior weighs, in restarts.
const STRENGTH_OF_PRIOR: f64 = 1.0;
/// No mean rests on more than so many restarts, so that it follows a unit that gets slower.
const MAX_WEIGHT: f64 = 20.0;

/// What was measured of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Restarts, faded.
    weight: f64,
    /// Their mean, in seconds.
    mean: f64,
    at: SystemTime,
}

/// What was measured of all units.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    units: BTreeMap<UnitName, Measured>,
    half_life: Duration,
}

impl Costs {
    /// Nothing measured yet.
    pub fn new(half_life: Duration) -> Self {
        Self {
            units: BTreeMap::new(),
            half_life: half_life.max(Duration::from_secs(1)),
        }
    }

    /// What was measured before, from [`Self::rows`].
    pub fn with_rows(
        half_life: Duration,
        rows: impl IntoIterator<Item = (UnitName, Measured)>,
    ) -> Self {
        let mut costs = Self::new(half_life);
        costs.units = rows.into_iter().collect();
        costs
    }

    /// All that was measured, to be kept.
    pub fn rows(&self) -> impl Iterator<Item = (&UnitName, &Measured)> {
        self.units.iter()
    }

    fn weight_at(&self, measured: &Measured, now: SystemTime) -> f64 {
        let age = now.duration_since(measured.at).unwrap_or_default();
        measured.weight * 0.5f64.powf(age.as_secs_f64() / self.half_life.as_secs_f64())
    }

    /// A restart of this very unit, or of one of this kind ([`RestartTree::kind`]), by its own executor, took so long.
    pub fn learn(&mut self, unit: &UnitName, downtime: Duration, now: SystemTime) {
        let before = self.units.get(unit).copied();
        let weight = before.map_or(0.0, |before| self.weight_at(&before, now));
        let mean = before.map_or(0.0, |before| before.mean);
        let sum = mean * weight + downtime.as_secs_f64();
        let measured = Measured {
            weight: (weight + 1.0).min(MAX_WEIGHT),
            mean: sum / (weight + 1.0),
            at: now,
        };
        self.units.insert(unit.clone(), measured);
    }

    /// The expected downtime, and how many restarts, faded, it rests on. Zero for what is no unit.
    pub fn downtime(
        &self,
        tree: &RestartTree,
        unit: &UnitName,
        now: SystemTime,
    ) -> (Duration, f64) {
        let parts = tree.restarts(unit);
        let mut weight = f64::INFINITY;
        let mut sum = Duration::ZERO;
        for part in parts {
            let (downtime, measured) = self.own(tree, part, now);
            sum += downtime;
            weight = weight.min(measured);
        }
        (sum, if weight.is_finite() { weight } else { 0.0 })
    }

    /// As [`Self::downtime`], of the unit's own executor alone.
    fn own(&self, tree: &RestartTree, unit: &UnitName, now: SystemTime) -> (Duration, f64) {
        let Some(spec) = tree.spec(unit) else {
            return (Duration::ZERO, 0.0);
        };
        let prior = match (&spec.executor, spec.expected_downtime) {
            (_, Some(expected)) => expected,
            (Some(ExecutorSpec::Http(_)), None) => PRIOR_COMPONENT,
            // A container or pod is a process with a wrapping that costs little beside its start.
            (_, None) => PRIOR_PROCESS,
        };
        let Some(measured) = self.units.get(&tree.kind(unit)) else {
            return (prior, 0.0);
        };
        let weight = self.weight_at(measured, now);
        let sum = prior.as_secs_f64() * STRENGTH_OF_PRIOR + measured.mean * weight;
        let mean = sum / (STRENGTH_OF_PRIOR + weight);
        (Duration::try_from_secs_f64(mean).unwrap_or(prior), weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    #[test]
    fn measured_beats_expected_and_parts_add_up() {
        let tree = tree("site -\n  shop process\n    cart\n  bank process ~2000");
        let mut costs = Costs::new(Duration::from_secs(3600));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let millis =
            |costs: &Costs, unit: &str, now| costs.downtime(&tree, &unit.into(), now).0.as_millis();
        assert_eq!(millis(&costs, "cart", now), 1000);
        assert_eq!(millis(&costs, "shop", now), 5000);
        assert_eq!(millis(&costs, "site", now), 7000);
        for _ in 0..3 {
            costs.learn(&"shop".into(), Duration::from_secs(1), now);
        }
        assert_eq!(millis(&costs, "shop", now), 2000);
        assert_eq!(millis(&costs, "site", now), 4000);
        let later = now + Duration::from_secs(3600 * 1000);
        assert_eq!(millis(&costs, "shop", later), 5000);
        assert_eq!(millis(&costs, "nobody", now), 0);
    }
}
