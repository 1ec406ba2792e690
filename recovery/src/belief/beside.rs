//! May what shows in one unit sit in another beside it?
//!
//! A chain of units only knows what contains the suspect. But a fault that the suspect's restart doesn't
//! cure and its process's does may sit in neither: in the session store, say, that all parts of the process
//! use. Restarting that costs a hundredth of restarting the process. Whose failures make whom fail is known
//! from the failure map ([`crate::tree::failure_map`]); each such source inside the smallest unit that
//! contains both takes a part of what is believed of that unit: at first as often as the map says beside the
//! unit as a whole, then as often as it turned out. So does a group of units that are only cured together, where
//! one was inferred ([`crate::tree::inferred`]).

use std::time::SystemTime;

use super::{Beliefs, Chain, Key, STRENGTH_OF_SHAPE, Seen, Time, Tried};
use crate::belief::Trial;
use crate::{Evidence, RestartTree, UnitName};

/// At most so many sources of one suspect, and as many groups: each is one more action to plan for.
const MAX_SOURCES: usize = 2;

/// A unit outside the chain, and how likely its restart is the smallest that cures.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// It.
    pub unit: UnitName,
    /// Its place in the tree.
    pub(crate) place: usize,
    /// The level of the chain whose unit contains it, 1 for the suspect's own.
    pub(super) level: usize,
    /// As the chain's levels.
    pub weight: f64,
}

fn key(evidence: &Evidence, unit: &UnitName) -> Key {
    let signature = &evidence.signature;
    let (shape, error) = (signature.shape.clone(), signature.error_type.clone());
    Key::Beside(shape, error, unit.clone())
}

impl Beliefs {
    /// The units beside a chain in which its fault may sit; what they take is taken from the levels.
    pub(super) fn beside(
        &self,
        evidence: &Evidence,
        tree: &RestartTree,
        units: &[&UnitName],
        levels: &mut [f64],
        now: SystemTime,
    ) -> Vec<Beside> {
        let Some(suspect) = units.first() else {
            return Vec::new();
        };
        let sources = evidence.circumstances.sources.get(suspect);
        let sources = sources.into_iter().flatten().filter_map(|source| {
            let place = tree.chain_places(&source.unit).first().copied()?;
            Some((&source.unit, source.share, place))
        });
        let groups = tree.groups_of(suspect);
        let groups = groups.map(|(place, unit, group)| (unit, group.share, place));
        let mut likely = likeliest(sources, units, tree);
        likely.extend(likeliest(groups, units, tree));
        // One more for the whole that contains them.
        let all = 1.0 + likely.iter().map(|(_, share, _)| share).sum::<f64>();
        let mut found: Vec<(Beside, f64)> = Vec::new();
        for (unit, share, (level, place)) in likely {
            let usual = share / all;
            let names = [tree.kind(unit)];
            let mean = [0.0, usual, 1.0 - usual];
            let key = key(evidence, names[0]);
            let (believed, _) = self.refine(&key, &names, &mean, STRENGTH_OF_SHAPE, now);
            let beside = Beside {
                unit: unit.clone(),
                place,
                level,
                weight: 0.0,
            };
            found.push((beside, believed[1]));
        }
        for (level, left) in levels.iter_mut().enumerate() {
            let here = |found: &(Beside, f64)| found.0.level == level;
            let taken: f64 = found.iter().filter(|one| here(one)).map(|one| one.1).sum();
            // Learned one by one, they may come to more than there is.
            let part = *left / taken.max(1.0);
            for (beside, share) in found.iter_mut().filter(|one| here(one)) {
                beside.weight = part * *share;
            }
            *left -= part * taken;
        }
        found.into_iter().map(|(beside, _)| beside).collect()
    }
}

/// Of units with their shares and places, those that lie beside the chain, the likeliest of them, with the level that
/// contains each.
fn likeliest<'a>(
    of: impl Iterator<Item = (&'a UnitName, f64, usize)>,
    chain: &[&UnitName],
    tree: &RestartTree,
) -> Vec<(&'a UnitName, f64, (usize, usize))> {
    // What contains the suspect is in its chain, and what its own restart covers needs no other.
    let level_of = |unit: &UnitName| {
        let above = chain.iter().position(|above| tree.contains(above, unit));
        let level = above.map_or(0, |at| at + 1);
        (level > 1 && !chain.contains(&unit)).then_some(level)
    };
    let likely = of.filter(|(_, share, _)| *share > 0.0);
    let mut found: Vec<_> = likely
        .filter_map(|(unit, share, place)| Some((unit, share, (level_of(unit)?, place))))
        .collect();
    found.sort_by(|(a, of_a, _), (b, of_b, _)| of_b.total_cmp(of_a).then(a.cmp(b)));
    found.truncate(MAX_SOURCES);
    found
}

/// The likelihood of what the trials brought, if the fault sits in the unit at this place.
pub(super) fn likelihood(place: usize, tried: &[Tried]) -> f64 {
    tried
        .iter()
        .map(|tried| match tried.cover.contains(place) {
            true => tried.relief,
            false => 1.0 - tried.relief,
        })
        .product()
}

/// What a recovery says of each unit beside the chain that was tried by itself: it cured, or something that
/// contains it and the suspect did. Where nothing did, nothing follows.
pub(super) fn seen<'a>(
    chain: &'a Chain<'_>,
    tree: &'a RestartTree,
    trials: &[Trial],
    time: Time,
    weight: f64,
    evidence: &Evidence,
) -> Vec<(Key, Vec<&'a UnitName>, Seen)> {
    let mut all = Vec::new();
    if time == Time::Healed {
        return all;
    }
    for beside in &chain.beside {
        let Some(at) = trials.iter().position(|trial| trial.unit == beside.unit) else {
            continue;
        };
        let whole = chain.units.get(beside.level - 1);
        let cured_whole = trials[at..].iter().skip(1).find(|later| {
            let covers = whole.is_some_and(|whole| tree.contains(&later.unit, whole));
            covers && later.relief > 0.0
        });
        // A group cures the suspect's own fault as well: where that wasn't tried, nobody knows whose it was.
        let is_group = tree.group(&beside.unit).is_some();
        let was_tried = || {
            let mut before = trials[..at].iter();
            let suspect = chain.units.first();
            before.any(|trial| suspect.is_some_and(|it| tree.contains(&trial.unit, it)))
        };
        if is_group && !was_tried() {
            continue;
        }
        let relief = trials[at].relief.clamp(0.0, 1.0);
        let cured = weight * relief;
        let failed = cured_whole.map_or(0.0, |later| weight * (1.0 - relief) * later.relief);
        for (above, until, weight) in [(0, 1, cured), (1, 2, failed)] {
            let seen = Seen {
                above,
                until,
                or_by_itself: false,
                coincidence: 0.0,
                weight,
            };
            let kind = tree.kind(&beside.unit);
            all.push((key(evidence, kind), vec![kind], seen));
        }
    }
    all
}
