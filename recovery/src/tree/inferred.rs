//! Which units go together, and in which order, though nobody wrote it?
//!
//! Some faults are cured only by restarting two units at once: each is well for a moment, until the other has handed the
//! fault on again. Where nobody wrote that (`together`), only a restart of what contains both helps, which may be
//! everything. So what was inferred, from who makes whom fail and from recoveries in which neither alone helped, becomes
//! a unit of the tree: one with nothing below it, in the smallest unit that contains its members, whose restart covers
//! them. Because it is a unit, all that holds of actions (leases, budgets, modes, minimums, verdicts) holds of it, as of one.
//!
//! It goes one way only. A recovery group is a person's word, and whoever restarts one of it restarts all. This is one more
//! thing that can be done: a member's own restart stays what it is, and beliefs say which of them cures.
//!
//! Inferred orders hold wherever both are restarted in one go, unless what was written says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_stats::{Probability, Share};
use serde::{Deserialize, Serialize};

use super::edit::grouping;
use super::propose::{Episode, LEAST};
use super::{Kinds, RestartTree, Rules};
use crate::{UnitName, UnitSpec};

/// What stands between the members in a group's name, which therefore says who they are: a ledger keeps no more of it. No
/// unit's own name has it.
const WITH: &str = "+";
/// A name is no longer: it stands in paths and tables. What would need a longer one is too many for one action.
const MAX_NAME: usize = 200;
/// At most so many groups, and as many orders: telemetry is written by strangers.
const MOST: usize = 50;

/// Units that are only cured together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// They, sorted.
    pub members: Vec<UnitName>,
    /// Of the faults that show in one of them and that its own restart doesn't cure, the share at least (95 %) that is theirs
    /// together, in `[0, 1]`; at 0 it is no candidate any more.
    pub share: f64,
    /// Whether recoveries showed it. That two make each other fail, which is all that traces can say, is also so where one of
    /// them is sick and its own restart cures: then they are restarted together only after one of them was in vain.
    #[serde(default)]
    pub is_proven: bool,
    /// Whence that is known, in a sentence for people.
    pub why: String,
}

impl Group {
    /// Its unit's name.
    pub fn name(&self) -> UnitName {
        let names: Vec<&str> = self.members.iter().map(UnitName::as_str).collect();
        UnitName(names.join(WITH))
    }

    /// The group that has this name, for as long as nothing else is known of it.
    pub(crate) fn named(name: &UnitName) -> Option<Self> {
        let members: Vec<UnitName> = name.as_str().split(WITH).map(UnitName::from).collect();
        (members.len() > 1).then_some(Self {
            members,
            share: 0.0,
            is_proven: false,
            why: "restarted together before".to_owned(),
        })
    }
}

/// What was inferred of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inferred {
    /// Units that are only cured together.
    pub groups: Vec<Group>,
    /// The first of each pair is restarted before the second.
    pub orders: Vec<(UnitName, UnitName)>,
}

impl RestartTree {
    /// The tree with these groups and orders instead of those that it had. Those that it can't have are left out: of what
    /// isn't there, contains the other or goes with it anyway, or against the order that is written.
    pub fn with_inferred(&self, inferred: &Inferred) -> Self {
        let written = self.written();
        let mut specs = written.units.clone();
        let mut groups: BTreeMap<UnitName, &Group> = BTreeMap::new();
        for group in &inferred.groups {
            let name = group.name();
            let is_new = written.at(&name).is_none() && !groups.contains_key(&name);
            let spec = written.standing_for(group);
            if let Some(spec) = spec.filter(|_| is_new && groups.len() < MOST) {
                specs.push(spec);
                groups.insert(name, group);
            }
        }
        let mut tree = match groups.is_empty() {
            true => written,
            // Leaves that match nothing make no tree any less of one.
            false => Self::laid_out(specs, self.kinds.clone()),
        };
        for (name, group) in groups {
            let Some(at) = tree.at(&name) else { continue };
            let members: Vec<usize> = group.members.iter().filter_map(|it| tree.at(it)).collect();
            tree.rules.cover(at, &members);
            for member in members {
                tree.groups_with.entry(member).or_default().push(at);
            }
            tree.groups.insert(at, group.clone());
        }
        let orders = inferred.orders.iter();
        let orders = orders.filter(|(first, second)| !tree.overlap(first, second));
        let orders = orders.filter_map(|(first, second)| Some((tree.at(first)?, tree.at(second)?)));
        let orders: Vec<(usize, usize)> = orders.take(MOST).collect();
        let ends: Vec<usize> = tree.places.iter().map(|place| place.end).collect();
        tree.rules.add_orders(orders, |unit| unit..ends[unit]);
        tree
    }

    /// The tree without anything inferred.
    fn written(&self) -> Self {
        let is_written = |spec: &&UnitSpec| self.group(&spec.name).is_none();
        let specs = self.units.iter().filter(is_written).cloned().collect();
        Self::laid_out(specs, self.kinds.clone())
    }

    /// The tree of units that are known to be one.
    fn laid_out(specs: Vec<UnitSpec>, kinds: Kinds) -> Self {
        let mut tree = Self::lay_out(&Self::graph(specs).0);
        tree.kinds = kinds;
        let rules = Rules::read(&tree.units, |unit| tree.at(unit), |unit| tree.range(unit));
        tree.rules = rules.unwrap_or_default();
        tree
    }

    /// The unit that stands for a group, where this tree can have it and none of its units is the same restart already.
    fn standing_for(&self, group: &Group) -> Option<UnitSpec> {
        let members = &group.members;
        let are_sorted = members.is_sorted_by(|a, b| a < b);
        // What comes and goes would make groups come and go; what its kind teaches is all that lasts.
        let is_lasting =
            |unit: &UnitName| self.at(unit).is_some() && self.grown_below(unit).is_none();
        let are_there = members.len() > 1 && members.iter().all(is_lasting);
        let are_plain = members.iter().all(|unit| unit.is_plain(MAX_NAME));
        if !are_sorted || !are_there || !are_plain || group.name().as_str().len() > MAX_NAME {
            return None;
        }
        let whole = self.common_ancestor(members)?;
        let is_apart = |(at, unit): (usize, &UnitName)| {
            let mut others = members[at + 1..].iter();
            !self.contains(unit, whole) && !others.any(|other| self.overlap(unit, other))
        };
        let restarted = |unit| self.restarts(unit);
        let of_members: BTreeSet<&UnitName> = members.iter().flat_map(restarted).collect();
        let is_less = of_members != self.restarts(whole).into_iter().collect();
        (is_less && members.iter().enumerate().all(is_apart)).then(|| UnitSpec {
            // As far as with all of them.
            mode: members.iter().map(|unit| self.mode(unit)).min(),
            ..grouping(&group.name(), whole)
        })
    }

    /// The group that this unit stands for, where it is one that was inferred.
    pub fn group(&self, unit: &UnitName) -> Option<&Group> {
        self.group_at(self.at(unit)?)
    }

    /// As [`Self::group`], of the unit at this place.
    pub(crate) fn group_at(&self, unit: usize) -> Option<&Group> {
        self.groups.get(&unit)
    }

    /// The groups that this unit is in, or a part of a member, with their places.
    pub(crate) fn groups_of(
        &self,
        unit: &UnitName,
    ) -> impl Iterator<Item = (usize, &UnitName, &Group)> {
        let chain = match self.groups.is_empty() {
            true => Vec::new(),
            false => self.chain_places(unit),
        };
        let with = chain.into_iter().filter_map(|at| self.groups_with.get(&at));
        with.flatten()
            .map(|at| (*at, &self.units[*at].name, &self.groups[at]))
    }
}

/// Groups of units that recoveries cured only together: each of them in vain, then a restart that covers all of them. That a
/// group cured where its members weren't tried says nothing of it: the one of them that was sick was among them.
pub fn cured_together(tree: &RestartTree, episodes: &[Episode]) -> Vec<Group> {
    let mut cured: BTreeMap<&UnitName, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<Vec<&UnitName>, (u64, BTreeSet<&UnitName>)> = BTreeMap::new();
    for episode in episodes {
        let Some(cure) = episode.cure() else { continue };
        let mut members = episode.in_vain_below(tree, cure);
        members.sort();
        let group = tree.group(cure);
        if group.is_some_and(|group| !group.members.iter().eq(members.iter().copied())) {
            continue;
        }
        *cured.entry(cure).or_default() += 1;
        if members.len() > 1 {
            let kind = kinds.entry(members).or_default();
            kind.0 += 1;
            kind.1.insert(cure);
        }
    }
    let often = kinds
        .into_iter()
        .filter(|(_, (count, _))| *count >= LEAST as u64);
    often
        .map(|(members, (count, cures))| {
            let all: u64 = cures.iter().filter_map(|cure| cured.get(cure)).sum();
            let share = Share::of(count, all.saturating_sub(count));
            let names: Vec<&str> = members.iter().map(|unit| unit.as_str()).collect();
            Group {
                share: share.wilson(Probability::P95).low,
                is_proven: true,
                why: format!(
                    "{count} times {} were cured only together",
                    names.join(" and ")
                ),
                members: members.into_iter().cloned().collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
