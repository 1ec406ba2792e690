//! Asking platforms what they have against a restart that is wanted.

use super::engine::{Engine, Job, Work};
use crate::UnitName;
use crate::executor::Veto;

impl Engine {
    /// Asks those that keep alive what the target's restart would take, unless they have answered just now. The guards say
    /// "not yet" until they have.
    pub(super) fn ask_platforms(&mut self, target: &UnitName) {
        let now = self.now();
        let units: Vec<UnitName> = self.tree.restarts(target).into_iter().cloned().collect();
        for unit in units {
            let known = self.standing.get(&unit);
            if known.is_some_and(|standing| standing.is_asked || standing.is_fresh(now)) {
                continue;
            }
            let Some(executor) = self.config.executors.get(&unit).cloned() else {
                continue;
            };
            if executor.vetoes().is_none() {
                continue;
            }
            self.standing.entry(unit.clone()).or_default().is_asked = true;
            self.spawn(Job::Ask(unit.clone()), async move {
                let vetoes = match executor.vetoes() {
                    Some(asked) => asked.await,
                    None => Vec::new(),
                };
                Work::Answered(unit, vetoes)
            });
        }
    }

    /// A platform has answered: whoever waits for that is decided about anew.
    pub(super) fn answered(&mut self, unit: UnitName, vetoes: Vec<Veto>) {
        let now = self.now();
        // It may have gone from the tree meanwhile.
        if let Some(standing) = self.standing.get_mut(&unit) {
            standing.is_asked = false;
            standing.told = Some((now, vetoes));
        }
        for case in self.cases.values_mut() {
            case.considered_at = None;
        }
    }
}
