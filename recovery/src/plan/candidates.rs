//! Which units are worth planning for?
//!
//! The ladder is exact, and each unit more doubles its work: of a thousand suspects the likeliest have room, twelve units in
//! all. What found none is said, and finds room in the next plan, when what was in this one was in vain.

use std::collections::BTreeMap;

use super::Constraints;
use super::ladder::MAX_ACTIONS;
use crate::RestartTree;
use crate::belief::Chain;
use crate::tree::Cover;

/// Suspects whose own restart found no room in a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LeftOut {
    suspects: usize,
    probability: f64,
}

impl LeftOut {
    /// In words, where it is worth any.
    pub(super) fn words(self) -> Option<String> {
        const WORTH_SAYING: f64 = 0.01;
        (self.probability >= WORTH_SAYING).then(|| {
            let LeftOut {
                suspects,
                probability,
            } = self;
            let chance = super::about(100.0 * probability);
            format!("{suspects} suspects more, {chance} % in all, find no room in a plan")
        })
    }
}

/// Which units can be tried now.
struct Tryable<'a> {
    tree: &'a RestartTree,
    constraints: &'a Constraints<'a>,
    /// What was tried covered.
    tried: Vec<Cover>,
    /// Of a thousand suspects' chains most are the same at their upper ends.
    known: BTreeMap<usize, bool>,
}

impl<'a> Tryable<'a> {
    fn new(tree: &'a RestartTree, constraints: &'a Constraints<'a>) -> Self {
        let trials = constraints.trials.iter();
        Self {
            tree,
            constraints,
            tried: trials.map(|trial| tree.cover(&trial.unit)).collect(),
            known: BTreeMap::new(),
        }
    }

    /// A part of what was restarted already was restarted with it.
    fn was_tried(&self, place: usize) -> bool {
        self.tried.iter().any(|cover| cover.contains(place))
    }

    fn has(&mut self, place: usize) -> bool {
        if let Some(known) = self.known.get(&place) {
            return *known;
        }
        let can_be_tried =
            !self.was_tried(place) && !self.is_barred(place) && !self.is_early(place);
        self.known.insert(place, can_be_tried);
        can_be_tried
    }

    /// What is restarted through something that can't be can't be either.
    fn is_barred(&self, place: usize) -> bool {
        let excluded = self.constraints.excluded;
        if excluded.is_empty() {
            return false;
        }
        let mut parts = self.tree.restarts_at(place);
        parts.push(place);
        let mut names = self.tree.named(&parts);
        names.any(|part| excluded.contains(part))
    }

    /// A group that only traces speak of comes after one of its members.
    fn is_early(&self, place: usize) -> bool {
        let group = self.tree.group_at(place).filter(|group| !group.is_proven);
        group.is_some_and(|group| {
            let mut trials = self.constraints.trials.iter();
            !trials.any(|trial| {
                let mut members = group.members.iter();
                members.any(|member| self.tree.contains(&trial.unit, member))
            })
        })
    }
}

/// The places of the units that could be restarted on this evidence, likeliest suspects' first, each before what
/// contains it, and what their faults may sit in beside them at the end; at most as many as can be planned for
/// exactly. With them who found no room.
pub(super) fn candidates(
    tree: &RestartTree,
    chains: &[Chain<'_>],
    constraints: &Constraints<'_>,
) -> (Vec<usize>, LeftOut) {
    // One place is for waiting.
    let room = MAX_ACTIONS - 1;
    let mut tryable = Tryable::new(tree, constraints);
    // The last is of what no suspect has.
    let suspects = chains
        .split_last()
        .map_or(&[][..], |(_, suspects)| suspects);
    let mut suspects: Vec<&Chain<'_>> = suspects.iter().collect();
    suspects.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let mut units: Vec<usize> = Vec::new();
    for chain in &suspects {
        let new = chain.places.iter().copied();
        let new = new.filter(|place| !units.contains(place));
        let new: Vec<usize> = new.filter(|place| tryable.has(*place)).collect();
        // A chain in part would be planned without its way up. A shorter one of a less likely suspect may still fit.
        if units.len() + new.len() <= room {
            units.extend(new);
        } else if units.is_empty()
            && let Some((whole, lower)) = new.split_last()
        {
            // Deeper than any plan: what is left out between contains the lower ones and is next when they were in vain,
            // and what contains all of it is the way up from them.
            units.extend(lower.iter().take(room - 1));
            units.push(*whole);
        }
        if units.len() == room {
            break;
        }
    }
    for chain in &suspects {
        // What shows in it may sit beside it.
        for place in chain.beside.iter().map(|one| one.place) {
            if units.len() < room && !units.contains(&place) && tryable.has(place) {
                units.push(place);
            }
        }
    }
    let mut left = LeftOut::default();
    for chain in &suspects {
        let own = chain.places.first().copied();
        let own = own.filter(|place| !units.contains(place));
        if own.is_some_and(|place| tryable.has(place)) {
            left.suspects += 1;
            left.probability += chain.probability;
        }
    }
    (units, left)
}
