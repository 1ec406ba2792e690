//! A restart before anything fails: wished for by [`crate::rejuvenate`], and allowed, written, carried
//! out and judged like any other.

use std::time::SystemTime;

use super::case::Case;
use super::engine::Engine;
use super::{CommandError, RecoveryId, Reply};
use crate::UnitName;
use crate::guard::{Authority, Consequence, Guard};
use crate::lifecycle::{Event, State};
use crate::plan::{Candidate, Choice, Plan, PlanId};

/// Who decides on preventive restarts, as the ledger has it.
pub const PREVENTION: &str = "rejuvenation";

impl Engine {
    /// Begins a preventive restart, or asks a person for it.
    pub(super) async fn prevent(
        &mut self,
        unit: UnitName,
        reason: &str,
    ) -> Result<Reply, CommandError> {
        let now = self.now();
        let price = self.price(&unit, now);
        let (takes, cost) = (price.takes.duration(), price.requests.mean);
        self.ask_platforms(&unit);
        let mut refusals = self.check(None, &unit, Authority::Preventive, None, cost);
        for refusal in &mut refusals {
            // Nobody is woken for what can wait until the hours for it, or until a pause is over.
            if matches!(refusal.guard, Guard::Window | Guard::Pause) {
                refusal.consequence = Consequence::Wait;
            }
        }
        let must_ask = refusals
            .iter()
            .map(|refusal| refusal.consequence)
            .max()
            .map(|worst| worst == Consequence::Ask);
        if must_ask == Some(false) {
            return Err(CommandError::Refused { refusals });
        }
        if !self.has_room() {
            let reason = "too many recoveries are under way".to_owned();
            return Err(CommandError::Unavailable { reason });
        }
        let id = self.number();
        let case = Case::new(id, None, PREVENTION, reason, now);
        self.cases.insert(id, case);
        if must_ask.is_none() {
            let begun = self
                .begin(id, unit, Event::Lease, PREVENTION, reason, cost)
                .await;
            if begun.is_err() {
                self.cases.remove(&id);
            }
            begun?;
            return Ok(Reply::Started {
                recovery: id,
                instead_of: None,
                overrules: Vec::new(),
            });
        }
        let choice = Choice::Restart(unit.clone());
        let plan = Plan {
            id: PlanId::default(),
            incident: None,
            at: now,
            evidence_at: now,
            choice: choice.clone(),
            restarts: self.tree.restarts(&unit).into_iter().cloned().collect(),
            ladder: vec![choice.clone()],
            expected_total: cost,
            candidates: vec![Candidate {
                choice: choice.clone(),
                chosen: true,
                probability: 0.0,
                takes,
                cost,
                cost_usually: Some(price.requests.usual()),
                confirming: 0.0,
                expected_total: cost,
                ladder: vec![choice],
                reason: "it prevents, and cures nothing".to_owned(),
            }],
            sentence: format!("restart {unit} before anything fails ({reason})"),
        };
        self.propose(id, plan, unit, refusals).await;
        let is_proposed = self
            .cases
            .get(&id)
            .is_some_and(|case| case.state == State::Proposed);
        if !is_proposed {
            self.cases.remove(&id);
            return Err(CommandError::Ledger {
                reason: self.disabled.clone().unwrap_or_default(),
            });
        }
        Ok(Reply::Proposed { recovery: id })
    }

    /// A plan of no incident waits for nobody else's word: when a person doesn't answer it, it is over.
    pub(super) async fn lapse(&mut self, id: RecoveryId, now: SystemTime) {
        self.expire(id, now);
        let is_left = self
            .cases
            .get(&id)
            .is_some_and(|case| case.state == State::Watching);
        if is_left {
            self.end(id, Event::IncidentClosed).await;
        }
    }
}
