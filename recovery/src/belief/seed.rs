//! What was learned, as something that can be taken elsewhere.
//!
//! A new deployment needn't begin with the prior: what another one learned, or what a person knows, is given to it
//! as recoveries that were seen before (pseudo-counts). They lie beside what is learned here, never among it: the
//! ledger keeps only what happened to it, and seeds that are taken out of the configuration are gone.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::row::{Interval, Row};
use super::{Beliefs, Key, Level, NewVersion};
use crate::cost::{CostKey, Measured};
use crate::{FaultSignature, RestartTree, UnitName};

/// Beliefs and costs that were learned elsewhere, or are a person's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// What was seen of cures.
    pub beliefs: Vec<(Key, Seed)>,
    /// What restarts took and failed.
    pub costs: Vec<(CostKey, Measured)>,
    /// Rows that were left out, since the tree has no such units.
    pub left_out: usize,
}

/// A row that was seen elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seed {
    /// What was seen.
    pub seen: Vec<Interval>,
    /// As of when; it fades from then on. `None` for what a person knows, which doesn't fade.
    pub at: Option<SystemTime>,
}

/// Why something can't have been seen in this tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// There is no such unit, nor a template.
    #[error("there is no unit {unit}, nor a template of this name")]
    NoSuchUnit {
        /// Its name.
        unit: UnitName,
    },
    /// A level that isn't above the unit.
    #[error("{level} doesn't contain {unit}; write one of {}", known.join(", "))]
    NotAbove {
        /// The unit that the row is about.
        unit: UnitName,
        /// The level.
        level: UnitName,
        /// What could be written.
        known: Vec<String>,
    },
    /// A unit's name where the row is about no unit, or a step where it is about one.
    #[error(
        "of a fault in one unit levels are called by units' names, of others by steps (`step 0` is the suspect's own)"
    )]
    WrongName,
    /// The level that cured isn't larger than the one that failed.
    #[error("what cured must be larger than what failed")]
    NotLarger,
}

impl Key {
    /// The kind of unit that it is about, where it is about one.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::Exact(_, unit) | Self::Shape(_, unit) | Self::Beside(_, _, unit) => Some(unit),
            Self::Anywhere(_) | Self::Error(..) | Self::Elsewhere | Self::ElsewhereOf(..) => None,
        }
    }

    /// Whether this can have been seen under the key in such a tree.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, tree: &RestartTree, seen: &Interval) -> Result<(), Misfit> {
        let chain = match self.unit() {
            Some(unit) => {
                let chain = tree.chain_of_kind(unit);
                if chain.is_empty() {
                    return Err(Misfit::NoSuchUnit { unit: unit.clone() });
                }
                match self {
                    Self::Beside(..) => chain.into_iter().take(1).collect(),
                    _ => chain,
                }
            }
            None => Vec::new(),
        };
        let place = |level: &Level| match (level, self.unit()) {
            (Level::ByItself, _) => Ok(0),
            (Level::None, _) => Ok(usize::MAX),
            (Level::Step(at), None) => Ok(at.saturating_add(1).min(usize::MAX - 1)),
            (Level::Unit(name), Some(unit)) => {
                let at = chain.iter().position(|above| above == name);
                at.map(|at| at + 1).ok_or_else(|| Misfit::NotAbove {
                    unit: unit.clone(),
                    level: name.clone(),
                    known: chain.iter().map(ToString::to_string).collect(),
                })
            }
            (Level::Step(_), Some(_)) | (Level::Unit(_), None) => Err(Misfit::WrongName),
        };
        let (above, until) = (place(&seen.above)?, place(&seen.until)?);
        // What went by itself is both.
        match above < until || until == 0 && above == 0 {
            true => Ok(()),
            false => Err(Misfit::NotLarger),
        }
    }
}

impl Learned {
    /// What of it can be of this tree; the rest is counted.
    #[must_use]
    pub fn fitting(mut self, tree: &RestartTree) -> Self {
        let before = self.beliefs.len() + self.costs.len();
        for (key, seed) in &mut self.beliefs {
            seed.seen.retain(|seen| key.fits(tree, seen).is_ok());
        }
        self.beliefs.retain(|(_, seed)| !seed.seen.is_empty());
        self.costs.retain(|(key, _)| match key {
            CostKey::Unit(unit) => !tree.chain_of_kind(unit).is_empty(),
            CostKey::Way(_) => true,
        });
        self.left_out += before - self.beliefs.len() - self.costs.len();
        self
    }
}

impl Beliefs {
    /// With what was learned elsewhere beside it.
    #[must_use]
    pub fn with_seeds(mut self, seeds: impl IntoIterator<Item = (Key, Seed)>) -> Self {
        for (key, seed) in seeds {
            self.seeds.entry(key).or_default().push(seed.into());
        }
        self
    }

    /// All that is known now, learned here or seeded, to be taken elsewhere. What is of no date stays so, beside what is
    /// known of the same as of now.
    pub fn exported(&self, now: SystemTime) -> Vec<(Key, Seed)> {
        let keys: BTreeSet<&Key> = self.rows.keys().chain(self.seeds.keys()).collect();
        let mut exported = Vec::new();
        for key in keys {
            let seeds = || self.seeds.get(key).into_iter().flatten();
            let dated = seeds().filter(|seed| seed.is_dated).map(|seed| &seed.row);
            let dated = dated.chain(self.rows.get(key));
            let dated = dated.map(|row| (row, self.fading(row.at(), now)));
            let known = seeds().filter(|seed| !seed.is_dated);
            let known = known.map(|seed| (&seed.row, 1.0));
            for (seen, at) in [
                (together(dated, now), Some(now)),
                (together(known, now), None),
            ] {
                if !seen.is_empty() {
                    exported.push((key.clone(), Seed { seen, at }));
                }
            }
        }
        exported
    }

    /// What was learned elsewhere of software that is gone here weighs less, as what was learned here does; what a person
    /// knows stays until he takes it back. What was learned later than the version came is of that version.
    pub(super) fn fade_seeds(&mut self, version: &NewVersion, by: f64) {
        for (key, seeds) in &mut self.seeds {
            let (Key::Exact(_, of) | Key::Shape(_, of)) = key else {
                continue;
            };
            for seed in seeds.iter_mut().filter(|seed| seed.is_dated) {
                if version.kinds.contains(of) && seed.row.at() <= version.at {
                    seed.row.fade(by, seed.row.at());
                }
            }
        }
    }

    /// What it rests on that is believed about this fault in this unit.
    pub fn origin(&self, signature: &FaultSignature, unit: &UnitName, now: SystemTime) -> Origin {
        let FaultSignature {
            shape, error_type, ..
        } = signature;
        let counted = |key: &Key| {
            let learned = self.rows.get(key);
            let learned = learned.map(|row| (row, self.fading(row.at(), now)));
            Counted {
                learned: weight(learned),
                seeded: weight(self.seeded(key, now)),
            }
        };
        Origin {
            fault: counted(&Key::Exact(signature.clone(), unit.clone())),
            unit: counted(&Key::Shape(shape.clone(), unit.clone())),
            error: counted(&Key::Error(shape.clone(), error_type.clone())),
            anywhere: counted(&Key::Anywhere(shape.clone())),
        }
    }

    /// What was seen under a key, here and elsewhere, and what it weighs now.
    pub(super) fn of(&self, key: &Key, now: SystemTime) -> impl Iterator<Item = (&Row, f64)> {
        let learned = self.rows.get(key);
        let learned = learned.map(|row| (row, self.fading(row.at(), now)));
        learned.into_iter().chain(self.seeded(key, now))
    }

    /// As [`Self::of`], of what was seen elsewhere.
    pub(super) fn seeded(&self, key: &Key, now: SystemTime) -> impl Iterator<Item = (&Row, f64)> {
        let seeds = self.seeds.get(key).into_iter().flatten();
        seeds.map(move |seed| match seed.is_dated {
            true => (&seed.row, self.fading(seed.row.at(), now)),
            false => (&seed.row, 1.0),
        })
    }
}

/// What was seen in several rows, each as it weighs.
fn together<'a>(rows: impl Iterator<Item = (&'a Row, f64)>, now: SystemTime) -> Vec<Interval> {
    let mut all = Row::new(now);
    for (row, fading) in rows {
        for seen in row.seen() {
            let weight = seen.weight * fading;
            all.add(Interval {
                weight,
                ..seen.clone()
            });
        }
    }
    all.seen().to_vec()
}

/// How many recoveries, faded, say something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Those that happened here.
    pub learned: f64,
    /// Those that happened elsewhere, or that a person knows of.
    pub seeded: f64,
}

/// What a belief about a fault in a unit rests on, from the narrowest to the widest: each is the next one's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// From this very fault in this unit.
    pub fault: Counted,
    /// From faults of this shape in this unit.
    pub unit: Counted,
    /// From faults of this shape and error anywhere.
    pub error: Counted,
    /// From faults of this shape anywhere.
    pub anywhere: Counted,
}

/// How many recoveries rows rest on, faded.
pub(super) fn weight<'a>(rows: impl IntoIterator<Item = (&'a Row, f64)>) -> f64 {
    let rows = rows.into_iter();
    rows.map(|(row, fading)| row.weight() * fading).sum()
}

/// A seed as it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planted {
    row: Row,
    is_dated: bool,
}

impl From<Seed> for Planted {
    fn from(seed: Seed) -> Self {
        let mut row = Row::new(seed.at.unwrap_or(SystemTime::UNIX_EPOCH));
        seed.seen.into_iter().for_each(|seen| row.add(seen));
        Self {
            row,
            is_dated: seed.at.is_some(),
        }
    }
}
