//! What becomes of a restart against which something speaks that may pass, and may last?
//!
//! A person is told once, and may say that it is to be left; it is asked again from time to time, and goes on where
//! nothing speaks against it any more.

use std::time::SystemTime;

use super::RecoveryId;
use super::engine::{Engine, MAX_CASES};
use crate::guard::{Authority, Consequence, Guard, Refusal};
use crate::lifecycle::{Event, State};
use crate::plan::{Choice, Plan};
use crate::ports::NoticeKind;
use crate::{Evidence, Mode, UnitName};

impl Engine {
    /// Whether new evidence may change what is decided about it.
    pub(super) fn is_awake(&self, id: RecoveryId, now: SystemTime) -> bool {
        !self.is_held_off(id) || self.is_due(id, now)
    }

    pub(super) fn is_held_off(&self, id: RecoveryId) -> bool {
        let case = self.cases.get(&id);
        case.is_some_and(|case| case.state == State::HeldOff)
    }

    /// Whether a restart that was held off could begin now, or be proposed; then its recovery goes on.
    pub(super) async fn is_taken_up(
        &mut self,
        id: RecoveryId,
        evidence: &Evidence,
        plan: &Plan,
    ) -> bool {
        let Choice::Restart(target) = &plan.choice else {
            return false;
        };
        self.ask_platforms(target);
        let (by, cost) = (Authority::Unattended, plan.cost());
        let (refusals, _) = self.objections(id, target, by, Some(evidence), cost);
        let mut against = refusals.iter().map(|refusal| refusal.consequence);
        if against.any(|consequence| consequence > Consequence::Ask) {
            let mut plan = plan.clone();
            let case = self.cases.get(&id);
            // People know of it by its number, whatever it would do by now.
            plan.id = case.and_then(|case| case.held_as).unwrap_or_default();
            self.hold(id, plan, refusals);
            if self.disabled.is_none()
                && self
                    .cases
                    .get(&id)
                    .is_some_and(|case| case.held_as.is_none())
            {
                // The ledger failed when it was held off.
                self.write_held(id).await;
            }
            return false;
        }
        if !self.has_room() {
            return false;
        }
        tracing::info!(recovery = %id, unit = %target, "what it was held off for has passed");
        self.apply(id, Event::TakeUp) && self.save(id).await
    }

    /// What one of them was held off for is what all are: without it the others would look like so few that each may be
    /// restarted, though they are as likely to share a cause as before.
    pub(super) async fn hold_off_storm(&mut self, storm: &Refusal) {
        let now = self.now();
        let others = self.cases.values().filter(|case| self.is_of_now(case, now));
        let others = others.filter_map(|case| {
            let waits = matches!(case.state, State::Watching | State::Proposed);
            let unit = case.sick().filter(|_| waits)?;
            (self.tree.mode(unit) > Mode::Observe).then(|| (case.id, unit.clone()))
        });
        for (id, unit) in others.collect::<Vec<_>>() {
            let words = format!("{unit} is suspected, but {}", storm.words);
            self.withdraw(id).await;
            if let Some(case) = self.cases.get_mut(&id) {
                case.refusals = vec![storm.clone()];
                case.held.in_storm = Some(unit.clone());
            }
            self.hold_off(id, unit, words).await;
        }
    }

    /// On to a person, until it is asked again and nothing speaks against it. Told once for each reason: a budget that is
    /// spent again as soon as there is some is no news.
    pub(super) async fn hold_off(&mut self, id: RecoveryId, unit: UnitName, words: String) {
        let held = self.cases.values();
        let held = held.filter(|case| case.state == State::HeldOff).count();
        if held >= MAX_CASES {
            return self.give_up(id, Some(unit), words).await;
        }
        if !self.apply(id, Event::HoldOff) {
            return;
        }
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let incident = case.incident;
        let against = case.refusals.iter();
        let held = against.filter(|refusal| refusal.consequence == Consequence::HoldOff);
        let told = case.held.told.len();
        let held: Vec<Guard> = held.map(|refusal| refusal.guard).collect();
        case.held.told.extend(held);
        let is_news = case.held.told.len() > told;
        self.write_held(id).await;
        if is_news {
            let number = self.cases.get(&id).and_then(|case| case.held_as);
            let subject = number.map_or_else(String::new, |plan| format!("plan {plan}: "));
            let words = format!("{subject}{words}; it is taken up again once that has passed");
            self.notify(NoticeKind::HeldOff, incident, Some(unit), words);
        }
    }

    /// Writes that it is held off, under the number by which people may say that it is to be left.
    async fn write_held(&mut self, id: RecoveryId) {
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let plan = match (case.plan.clone(), case.held_as) {
            (Some(plan), None) => plan,
            (plan, number) => {
                case.plan = plan.map(|plan| Plan {
                    id: number.unwrap_or_default(),
                    ..plan
                });
                self.save(id).await;
                return;
            }
        };
        let entry = case.entry();
        let written = self.ledger.run(move |store| store.propose(&entry, &plan));
        match written.await {
            Ok(number) => {
                if let Some(case) = self.cases.get_mut(&id) {
                    case.saved();
                    case.held_as = Some(number);
                    case.plan.iter_mut().for_each(|plan| plan.id = number);
                }
            }
            Err(error) => self.ledger_failed(&error),
        }
    }
}
