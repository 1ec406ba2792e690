//! The tree grew: when does recovery go by the new one?
//!
//! Between two decisions, and whole. As long as a recovery is at work on a unit that the new tree lacks, the old one
//! stays: what is restarted, settles or is judged keeps its unit until it has ended. What merely waits (for evidence, or
//! for a person) is planned anew in the new tree.

use super::engine::Engine;
use crate::UnitName;
use crate::template::Grown;

impl Engine {
    /// Takes the tree, unless something in it is still needed that the new one lacks. Whether it was taken.
    pub(super) fn take_tree(&mut self, grown: Grown) -> bool {
        let Grown {
            tree,
            executors,
            missing,
            down,
        } = grown;
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
        self.live.replace(std::sync::Arc::clone(&self.tree));
        true
    }
}
