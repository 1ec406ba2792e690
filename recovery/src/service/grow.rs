//! The tree grew: when does recovery go by the new one?
//!
//! Between two decisions, and whole. As long as a recovery is at work on a unit that the new tree lacks, the old one
//! stays: what is restarted, settles or is judged keeps its unit until it has ended. What merely waits (for evidence, or
//! for a person) is planned anew in the new tree.
//!
//! What is inferred of the tree ([`Inferred`]) is put onto whichever holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::engine::Engine;
use crate::ledger::StoredAction;
use crate::plan::Choice;
use crate::template::Grown;
use crate::tree::{Group, Inferred};
use crate::{RestartTree, UnitName};

/// The groups that an engine before this one restarted. As units they are needed for what that still counts for: budgets,
/// and what is asked and judged.
pub(super) fn former_groups<'a>(
    actions: impl IntoIterator<Item = &'a StoredAction>,
    tree: &RestartTree,
) -> Inferred {
    let targets = actions.into_iter().map(|action| &action.target);
    let unknown: BTreeSet<&UnitName> = targets.filter(|it| tree.spec(it).is_none()).collect();
    Inferred {
        groups: unknown.into_iter().filter_map(Group::named).collect(),
        orders: Vec::new(),
    }
}

impl Engine {
    /// Goes by what was inferred of the tree from now on. A group that somebody may still be at work on stays a unit, but
    /// no candidate.
    pub(super) fn infer(&mut self, mut inferred: Inferred) {
        let is_told = |group: &Group| inferred.groups.iter().any(|it| it.members == group.members);
        let mut left = self.inferred.groups.clone();
        left.retain(|group| !is_told(group) && self.needs(&group.name()));
        left.iter_mut().for_each(|group| group.share = 0.0);
        // First of all: they must have room.
        inferred.groups.splice(0..0, left);
        if inferred == self.inferred {
            return;
        }
        for group in &inferred.groups {
            if !self.inferred.groups.contains(group) {
                tracing::info!(group = %group.name(), share = group.share, "inferred: {}", group.why);
            }
        }
        self.inferred = inferred;
        self.tree = Arc::new(self.grown.with_inferred(&self.inferred));
        self.live.replace(Arc::clone(&self.tree));
    }

    /// Whether anything that isn't over, or counts for a budget, is about this unit.
    fn needs(&self, unit: &UnitName) -> bool {
        let is_it = |choice: &Choice| matches!(choice, Choice::Restart(of) if of == unit);
        let mut cases = self.cases.values();
        self.past.iter().any(|past| past.target == *unit)
            || cases.any(|case| {
                let attempt = case.attempt.as_ref();
                attempt.is_some_and(|attempt| attempt.target == *unit)
                    || case.trials.iter().any(|trial| trial.unit == *unit)
                    || case.plan.as_ref().is_some_and(|plan| is_it(&plan.choice))
            })
    }

    /// Takes the tree, unless something in it is still needed that the new one lacks. Whether it was taken.
    pub(super) fn take_tree(&mut self, grown: Grown) -> bool {
        let Grown {
            tree,
            executors,
            missing,
            down,
        } = grown;
        let grown = tree;
        let tree = Arc::new(grown.with_inferred(&self.inferred));
        // They hold in any tree, and whether it is taken may take a while.
        self.comings.missing = missing;
        self.comings.down = down;
        let is_lost = |unit: &UnitName| self.tree.spec(unit).is_some() && tree.spec(unit).is_none();
        let attempts = self.cases.values().filter(|case| case.state.holds_lease());
        let mut needed = attempts
            .filter_map(|case| case.attempt.as_ref())
            .flat_map(|attempt| {
                let parts = attempt.parts.iter().map(|part| &part.unit);
                parts.chain([&attempt.target])
            });
        if needed.any(is_lost) {
            return false;
        }
        self.grown = grown;
        let before = std::mem::replace(&mut self.tree, tree);
        let came = self
            .tree
            .units()
            .filter(|spec| before.spec(&spec.name).is_none());
        let went = before
            .units()
            .filter(|spec| self.tree.spec(&spec.name).is_none());
        let came: Vec<&UnitName> = came.map(|spec| &spec.name).collect();
        let went: Vec<&UnitName> = went.map(|spec| &spec.name).collect();
        let names = |units: &[&UnitName]| {
            let names: Vec<&str> = units.iter().map(|unit| unit.as_str()).collect();
            names.join(", ")
        };
        if !came.is_empty() || !went.is_empty() {
            tracing::info!(
                came = names(&came),
                went = names(&went),
                "the restart tree grew"
            );
        }
        let now = (self.config.clock)();
        let came_at = came.into_iter().map(|unit| (unit.clone(), now));
        self.comings.came.extend(came_at);
        self.comings
            .came
            .retain(|unit, _| self.tree.spec(unit).is_some());
        self.executors = executors.keys().cloned().collect();
        self.config.executors = executors;
        self.traffic
            .retain(|unit, _| self.tree.spec(unit).is_some());
        self.standing
            .retain(|unit, _| self.tree.spec(unit).is_some());
        self.versions
            .retain(|unit, _| self.tree.spec(unit).is_some());
        self.live.replace(Arc::clone(&self.tree));
        true
    }
}
