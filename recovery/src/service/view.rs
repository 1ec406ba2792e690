//! The service's state as everybody may see it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::case::Case;
use super::engine::Engine;
use super::{
    ActionView, BudgetView, JudgingView, Proposal, RecoveryStatus, RecoveryView, Tried, UnitState,
    UnitStatus,
};
use crate::UnitName;
use crate::guard::World;
use crate::judge::Verdict;
use crate::ledger::{Outcome, StoredAction, StoredRecovery};
use crate::lifecycle::State;

/// How long a unit is shown as given up when its incident can't be followed any more.
const SHOWN_GIVEN_UP: Duration = Duration::from_secs(3600);

/// An action as the ledger has it.
pub(super) fn action(stored: &StoredAction, incident: Option<u64>) -> ActionView {
    let mut view = ActionView {
        action: stored.action,
        recovery: stored.recovery,
        incident,
        unit: stored.unit.clone(),
        target: stored.target.clone(),
        signature: stored
            .evidence
            .as_ref()
            .map(|evidence| evidence.signature.clone()),
        by: stored.by.clone(),
        reason: stored.reason.clone(),
        generation: stored.generation,
        began: stored.evidence.as_ref().map(|evidence| evidence.since),
        intended_at: stored.intended_at,
        stopped_at: None,
        ready_at: None,
        outcome: None,
        verdict: stored.verdict,
        relief: stored.relief,
        failed_requests: stored.failed_requests,
        judged: stored.judged.clone(),
        judged_at: stored.judged_at,
        plan: stored.plan,
    };
    if let Some(outcome) = &stored.outcome {
        set_outcome(&mut view, outcome);
    }
    view
}

pub(super) fn set_outcome(view: &mut ActionView, outcome: &Outcome) {
    view.outcome = Some(outcome.clone());
    if let Outcome::Done {
        stopped_at,
        ready_at,
        ..
    } = outcome
    {
        view.stopped_at = Some(*stopped_at);
        view.ready_at = Some(*ready_at);
    }
}

/// A recovery of an engine before this one, as it ended.
pub(super) fn finished(stored: &StoredRecovery) -> RecoveryView {
    let tried = |action: &StoredAction| {
        Some(Tried {
            unit: action.target.clone(),
            verdict: action.verdict?,
            relief: action.relief,
        })
    };
    let mut attempts: Vec<&StoredAction> = stored.actions.iter().collect();
    attempts.dedup_by_key(|action| action.attempt);
    let evidence = stored.evidence.as_ref();
    RecoveryView {
        recovery: stored.recovery,
        incident: stored.incident,
        state: stored.state,
        since: stored.since,
        signature: evidence.map(|evidence| evidence.signature.clone()),
        suspects: evidence.map_or_else(Vec::new, |evidence| evidence.suspects.clone()),
        target: attempts.last().map(|action| action.target.clone()),
        actions: Vec::new(),
        plan: stored.plan.clone(),
        decided: stored.decided.clone(),
        given_up: stored.given_up.clone(),
        refusals: Vec::new(),
        tried: attempts.into_iter().filter_map(tried).collect(),
        judging: None,
        deadline: None,
    }
}

impl Engine {
    /// The generation of a unit's present life; the first is 1.
    pub(super) fn generation(&self, unit: &UnitName) -> u64 {
        self.generations.get(unit).copied().unwrap_or(1)
    }

    pub(super) fn status_at(&self, now: SystemTime) -> RecoveryStatus {
        let around = self.surroundings();
        RecoveryStatus {
            at: now,
            units: self.units(now),
            recoveries: self
                .cases
                .values()
                .map(|case| self.recovery(case))
                .collect(),
            finished: Arc::clone(&self.finished),
            proposals: self
                .cases
                .values()
                .filter_map(|case| self.proposal(case))
                .collect(),
            recent: Arc::clone(&self.actions),
            paused: self.pause.clone().filter(|pause| pause.holds(now)),
            budgets: self.budgets(&self.world(&around), now),
            disabled: self.disabled.clone(),
            notices: self.notices.iter().cloned().collect(),
        }
    }

    fn units(&self, now: SystemTime) -> Vec<UnitStatus> {
        self.tree
            .units()
            .map(|spec| {
                let unit = &spec.name;
                let downtime = self.costs.downtime(&self.tree, unit, now);
                let executor = match &spec.executor {
                    None => "parts",
                    Some(executor) => executor.kind(),
                };
                UnitStatus {
                    unit: unit.clone(),
                    parent: self.tree.parent(unit).cloned(),
                    depth: self.tree.depth(unit).unwrap_or(0),
                    mode: self.tree.mode(unit),
                    state: self.unit_state(unit),
                    generation: self.generation(unit),
                    executor: executor.to_owned(),
                    group: self.tree.group(unit).cloned(),
                    expected_downtime: downtime.duration(),
                    downtime_mostly: downtime.duration_mostly(),
                    last_action: self
                        .actions
                        .iter()
                        .find(|action| action.unit == *unit || action.target == *unit)
                        .cloned(),
                }
            })
            .collect()
    }

    /// Whether a restart of the unit, alone or with others, was judged a cure after this.
    fn is_cured_since(&self, unit: &UnitName, at: SystemTime) -> bool {
        self.past.iter().any(|past| {
            past.at > at
                && past.verdict == Some(Verdict::Cured)
                && self.tree.contains(&past.target, unit)
        })
    }

    fn unit_state(&self, unit: &UnitName) -> UnitState {
        let mut state = UnitState::Quiet;
        let mut note = |other: UnitState| {
            if weight(other) > weight(state) {
                state = other;
            }
        };
        for case in self.cases.values() {
            if let Some(attempt) = &case.attempt
                && self.tree.contains(&attempt.target, unit)
            {
                match case.state {
                    State::Leased | State::Committed | State::Acting => note(UnitState::Restarting),
                    State::Settling | State::Judging => note(UnitState::Judging),
                    _ => {}
                }
            }
            let suspects = case.evidence.iter().flat_map(|evidence| &evidence.suspects);
            if suspects.into_iter().any(|suspect| suspect.unit == *unit) {
                note(UnitState::Suspected);
            }
            if case.state == State::HeldOff && case.sick() == Some(unit) {
                note(UnitState::HeldOff);
            }
            if case.state == State::Proposed
                && case
                    .plan
                    .as_ref()
                    .is_some_and(|plan| plan.restarts.contains(unit))
            {
                note(UnitState::Proposed);
            }
        }
        let is_given_up = self.ended.values().any(|ended| {
            // Of another engine's incident nobody says that it is over, so it is shown for a while.
            let is_old = ended.is_orphan
                && self
                    .now()
                    .duration_since(ended.at)
                    .is_ok_and(|age| age > SHOWN_GIVEN_UP);
            ended.state == State::GivenUp
                && !is_old
                && !self.is_cured_since(unit, ended.at)
                && ended.evidence.as_ref().is_some_and(|evidence| {
                    evidence
                        .suspects
                        .first()
                        .is_some_and(|suspect| suspect.unit == *unit)
                })
        });
        if is_given_up {
            note(UnitState::GivenUp);
        }
        state
    }

    pub(super) fn recovery(&self, case: &Case) -> RecoveryView {
        let attempt = case.attempt.as_ref();
        let policy = &self.config.policy;
        let target = attempt.map(|attempt| attempt.target.clone());
        RecoveryView {
            recovery: case.id,
            incident: case.incident,
            state: case.state,
            since: case.since,
            signature: case
                .evidence
                .as_ref()
                .map(|evidence| evidence.signature.clone()),
            suspects: case
                .evidence
                .as_ref()
                .map(|evidence| evidence.suspects.clone())
                .unwrap_or_default(),
            target: target.or_else(|| case.tried.last().map(|tried| tried.unit.clone())),
            actions: attempt
                .map(|attempt| attempt.parts.iter().map(|part| part.action).collect())
                .unwrap_or_default(),
            plan: case.plan.clone(),
            decided: case.decided.clone(),
            given_up: case.given_up.clone(),
            refusals: case.refusals.clone(),
            tried: case.tried.clone(),
            judging: attempt.and_then(|attempt| {
                Some(JudgingView {
                    before: attempt.before?,
                    after: attempt.after?,
                    relief: attempt.relief,
                    deadline: attempt.judge_until,
                })
            }),
            deadline: match case.state {
                State::Watching => case.wait_until.filter(|_| !case.waited),
                State::Proposed => case.since.checked_add(policy.approval_expiry),
                State::Leased | State::Committed | State::Acting => {
                    attempt.map(|attempt| attempt.lease_until)
                }
                State::Settling => attempt.map(|attempt| attempt.settle_until),
                State::Judging => attempt.map(|attempt| attempt.judge_until),
                _ => None,
            },
        }
    }

    fn proposal(&self, case: &Case) -> Option<Proposal> {
        let plan = case
            .plan
            .as_ref()
            .filter(|_| case.state == State::Proposed)?;
        let crate::plan::Choice::Restart(unit) = &plan.choice else {
            return None;
        };
        Some(Proposal {
            plan: plan.id,
            recovery: case.id,
            incident: case.incident,
            unit: unit.clone(),
            sentence: plan.sentence.clone(),
            refusals: case.refusals.clone(),
            expires_at: case.since.checked_add(self.config.policy.approval_expiry)?,
        })
    }

    fn budgets(&self, world: &World<'_>, now: SystemTime) -> Vec<BudgetView> {
        let policy = &self.config.policy;
        let budget = |name: &str, spent: f64, limit: f64| BudgetView {
            name: name.to_owned(),
            spent,
            limit,
            period: policy.budget_period,
        };
        let all = f64::from(world.spent_in_tree(now));
        let mut budgets = vec![
            budget("all restarts", all, f64::from(policy.restarts_per_tree)),
            budget(
                "failed requests",
                world.spent_requests(now),
                policy.failed_requests,
            ),
        ];
        for spec in self.tree.units() {
            let spent = world.spent_on_unit(&spec.name, now);
            if spent > 0 {
                let limit = f64::from(policy.restarts_per_unit);
                budgets.push(budget(spec.name.as_str(), f64::from(spent), limit));
            }
            let (unit, own) = (&spec.name, spec.rules.budget);
            if let Some(limit) = own.restarts {
                let spent = f64::from(world.spent_in_subtree(unit, now));
                budgets.push(budget(
                    &format!("restarts in {unit}"),
                    spent,
                    f64::from(limit),
                ));
            }
            if let Some(limit) = own.failed_requests {
                let (name, spent) = (
                    format!("failed requests in {unit}"),
                    world.spent_requests_in(unit, now),
                );
                budgets.push(budget(&name, spent, f64::from(limit)));
            }
        }
        budgets
    }
}

/// Which of two things is said of a unit.
const fn weight(state: UnitState) -> u8 {
    match state {
        UnitState::Quiet => 0,
        UnitState::Suspected => 1,
        UnitState::HeldOff => 2,
        UnitState::GivenUp => 3,
        UnitState::Judging => 4,
        UnitState::Proposed => 5,
        UnitState::Restarting => 6,
    }
}
