//! What people order.

use std::time::SystemTime;

use super::case::Case;
use super::engine::Engine;
use super::{
    BeliefView, Command, CommandError, CostView, DryRun, RecoveryId, Reply, UnitExplained,
};
use crate::belief::Learned;
use crate::cost::Price;
use crate::executor::Recall;
use crate::guard::{Authority, Pause};
use crate::ledger::LedgerError;
use crate::lifecycle::{Event, State};
use crate::plan::{Choice, PlanId};
use crate::{Evidence, FaultSignature, UnitName};

/// History that `ExplainUnit` gives, and faults that it tells of.
const EXPLAINED: usize = 20;

impl From<LedgerError> for CommandError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger {
            reason: error.in_full(),
        }
    }
}

impl Engine {
    pub(super) async fn command(&mut self, command: Command) -> Result<Reply, CommandError> {
        match command {
            Command::Approve { plan, by } => self.approve(plan, &by).await,
            Command::Reject { plan, by, reason } => self.reject(plan, &by, &reason).await,
            Command::Restart {
                unit,
                dry_run: true,
                ..
            } => {
                self.known(&unit)?;
                Ok(Reply::DryRun(Box::new(self.dry_run(&unit))))
            }
            Command::Restart {
                unit,
                dry_run: false,
                by,
                reason,
            } => {
                self.known(&unit)?;
                self.order(unit, &by, &reason).await
            }
            Command::Prevent { unit, reason } => {
                self.known(&unit)?;
                self.prevent(unit, &reason).await
            }
            Command::Pause {
                by,
                reason,
                duration,
            } => {
                let since = self.now();
                let until = duration.and_then(|duration| since.checked_add(duration));
                let pause = Pause {
                    reason,
                    by,
                    since,
                    until,
                };
                let before = self.pause.replace(pause.clone());
                // It holds even where it can't be written; a restart of the engine forgets it then,
                // and nothing can be done without a ledger anyway.
                self.write_pause().await;
                Ok(Reply::Paused {
                    pause,
                    instead_of: before.filter(|before| before.holds(since)),
                })
            }
            Command::Resume => {
                self.pause = None;
                self.write_pause().await;
                Ok(Reply::Resumed)
            }
            Command::Learned => Ok(Reply::Learned(Box::new(self.learned()))),
            Command::ExplainUnit(unit) => {
                self.known(&unit)?;
                Ok(Reply::Unit(Box::new(self.explain(unit).await?)))
            }
            Command::History { limit } => {
                let history = self
                    .ledger
                    .run(move |store| store.history(None, limit))
                    .await?;
                let views = history
                    .iter()
                    .map(|(action, incident)| super::view::action(action, *incident));
                Ok(Reply::History(views.collect()))
            }
        }
    }

    fn known(&self, unit: &UnitName) -> Result<(), CommandError> {
        if self.tree.spec(unit).is_some() {
            return Ok(());
        }
        Err(CommandError::NoSuchUnit {
            unit: unit.clone(),
            known: self.tree.units().map(|spec| spec.name.clone()).collect(),
        })
    }

    /// The recovery whose plan of this number people may decide about.
    fn undecided(&self, plan: PlanId) -> Result<&Case, CommandError> {
        let mut cases = self.cases.values();
        cases
            .find(|case| {
                matches!(case.state, State::Proposed | State::HeldOff)
                    && case.plan_number() == Some(plan)
            })
            .ok_or(CommandError::NoSuchPlan { plan })
    }

    async fn approve(&mut self, number: PlanId, by: &str) -> Result<Reply, CommandError> {
        let none = || CommandError::NoSuchPlan { plan: number };
        let case = self.undecided(number)?;
        if case.state == State::HeldOff {
            return Err(self.why_held(case));
        }
        let id = case.id;
        // It lapses when it lapses, not when somebody next looks.
        if self.expire(id, self.now()) {
            self.save(id).await;
            return Err(none());
        }
        let case = self.cases.get(&id).ok_or_else(none)?;
        let plan = case.plan.clone().ok_or_else(none)?;
        let Choice::Restart(target) = plan.choice.clone() else {
            return Err(none());
        };
        let cost = plan.cost();
        let evidence = case.evidence.as_ref();
        let (refusals, _) = self.objections(id, &target, Authority::Approved, evidence, cost);
        if !refusals.is_empty() {
            return Err(CommandError::Refused { refusals });
        }
        let decided = case.decided.clone();
        self.decide(id, format!("approved by {by}"));
        let begun = self
            .begin(id, target, Event::Approve, by, &plan.sentence, cost)
            .await;
        if let (Err(_), Some(case)) = (&begun, self.cases.get_mut(&id)) {
            case.decided = decided;
        }
        begun?;
        Ok(Reply::Started {
            recovery: id,
            instead_of: None,
        })
    }

    async fn reject(
        &mut self,
        number: PlanId,
        by: &str,
        reason: &str,
    ) -> Result<Reply, CommandError> {
        let id = self.undecided(number)?.id;
        tracing::info!(recovery = %id, plan = %number, by, reason, "rejected");
        self.learn(id);
        self.decide(id, format!("rejected by {by}: {reason}"));
        self.end(id, Event::Reject).await;
        let is_written = self.cases.get(&id).is_none_or(Case::is_saved);
        self.forget_if_over(id);
        match (is_written, &self.disabled) {
            (true, _) | (false, None) => Ok(Reply::Rejected),
            (false, Some(reason)) => Err(CommandError::Ledger {
                reason: format!(
                    "{reason}; plan {number} is left as long as this engine runs, and the next one knows of it once the \
                     ledger can be written again"
                ),
            }),
        }
    }

    /// Why what is held off can't be approved: what a person's approval doesn't stand in for speaks against it, or it is
    /// about to go on by itself.
    fn why_held(&self, case: &Case) -> CommandError {
        let plan = case.plan.as_ref();
        let target = plan.and_then(|plan| match &plan.choice {
            Choice::Restart(target) => Some((target, plan.cost())),
            _ => None,
        });
        let evidence = case.evidence.as_ref();
        let refusals = target.map_or_else(Vec::new, |(target, cost)| {
            let by = Authority::Approved;
            self.objections(case.id, target, by, evidence, cost).0
        });
        if !refusals.is_empty() {
            return CommandError::Refused { refusals };
        }
        let reason = if case.is_orphan {
            "the plan is of an engine that ended, and its incident hasn't been told of since"
        } else if !self.has_room() {
            "too many recoveries are under way"
        } else {
            "the plan is held off for what an approval stands in for, or nothing speaks against it any more and it goes on \
             within a minute; to restart the unit at once, order it"
        };
        CommandError::Unavailable {
            reason: reason.to_owned(),
        }
    }

    /// Remembers what a person said about a recovery's plan; it is written with what follows.
    fn decide(&mut self, id: RecoveryId, words: String) {
        if let Some(case) = self.cases.get_mut(&id) {
            case.decided = Some(words);
        }
    }

    /// What restarting a unit costs at the traffic last told.
    pub(super) fn price(&self, unit: &UnitName, now: SystemTime) -> Price {
        let rate = self.traffic.get(unit).copied().unwrap_or_else(|| {
            let parts = self.tree.subtree(unit).into_iter();
            parts
                .filter_map(|part| self.traffic.get(part).copied())
                .fold(0.0, f64::max)
        });
        let in_flight = self.config.policy.in_flight;
        self.costs.price(&self.tree, unit, rate, in_flight, now)
    }

    fn dry_run(&self, unit: &UnitName) -> DryRun {
        let price = self.price(unit, self.now());
        let expected_cost = price.requests.mean;
        let case = self.explained_by(unit);
        let (id, evidence) = (
            case.map(|case| case.id),
            case.and_then(|case| case.evidence.as_ref()),
        );
        let check = |authority| self.check(id, unit, authority, evidence, expected_cost);
        DryRun {
            unit: unit.clone(),
            restarts: self.tree.restarts(unit).into_iter().cloned().collect(),
            affected: self.tree.subtree(unit).into_iter().cloned().collect(),
            expected_downtime: price.takes.duration(),
            expected_cost,
            expected_cost_usually: price.requests.usual(),
            refusals: check(Authority::Ordered),
            unattended_refusals: check(Authority::Unattended),
        }
    }

    /// The waiting recovery of an incident that a restart of this unit may be meant for: it suspects
    /// something in it.
    fn explained_by(&self, unit: &UnitName) -> Option<&Case> {
        self.cases.values().find(|case| {
            matches!(
                case.state,
                State::Watching | State::HeldOff | State::Proposed
            ) && case.evidence.as_ref().is_some_and(|evidence| {
                let mut suspects = evidence.suspects.iter();
                suspects.any(|suspect| self.tree.contains(unit, &suspect.unit))
            })
        })
    }

    /// What an incident that was given up on, and is still open, said of this unit.
    fn given_up_in(&self, unit: &UnitName) -> Option<&Evidence> {
        self.ended
            .values()
            .rev()
            .filter(|ended| matches!(ended.state, State::GivenUp | State::Rejected))
            .filter_map(|ended| ended.evidence.as_ref())
            .find(|evidence| {
                let mut suspects = evidence.suspects.iter();
                suspects.any(|suspect| self.tree.contains(unit, &suspect.unit))
            })
    }

    async fn order(
        &mut self,
        unit: UnitName,
        by: &str,
        reason: &str,
    ) -> Result<Reply, CommandError> {
        let cost = self.price(&unit, self.now()).requests.mean;
        let known = self.explained_by(&unit).map(|case| case.id);
        let refusals = self.check(known, &unit, Authority::Ordered, None, cost);
        if !refusals.is_empty() {
            return Err(CommandError::Refused { refusals });
        }
        let is_one_more = known.is_none_or(|id| self.is_held_off(id));
        if is_one_more && !self.has_room() {
            let reason = "too many recoveries are under way".to_owned();
            return Err(CommandError::Unavailable { reason });
        }
        let undecided = known
            .and_then(|id| self.cases.get(&id))
            .filter(|case| matches!(case.state, State::Proposed | State::HeldOff));
        let instead_of = undecided.and_then(Case::plan_number);
        let id = match known {
            Some(id) => {
                let back = match self.cases.get(&id).map(|case| case.state) {
                    Some(State::Proposed) => Some(Event::Withdraw),
                    Some(State::HeldOff) => Some(Event::TakeUp),
                    _ => None,
                };
                if let Some(back) = back {
                    self.apply(id, back);
                }
                if let Some(plan) = self.cases.get_mut(&id).and_then(|case| case.plan.as_mut()) {
                    // The restart is the order's, not the plan's of that number.
                    plan.id = PlanId::default();
                }
                id
            }
            None => {
                let id = self.number();
                let mut case = Case::new(id, None, by, reason, self.now());
                // What was given up on is still there to be judged by, and to be cured.
                case.evidence = self.given_up_in(&unit).cloned();
                self.cases.insert(id, case);
                id
            }
        };
        let begun = self.begin(id, unit, Event::Lease, by, reason, cost).await;
        if begun.is_err() && known.is_none() {
            self.cases.remove(&id);
        }
        begun?;
        Ok(Reply::Started {
            recovery: id,
            instead_of,
        })
    }

    /// All that was learned, of units that there are: what was learned of others fits no tree.
    fn learned(&self) -> Learned {
        let now = self.now();
        let all = Learned {
            beliefs: self.beliefs.exported(now),
            costs: self.costs.exported(now),
            left_out: 0,
        };
        all.fitting(&self.tree)
    }

    async fn explain(&self, unit: UnitName) -> Result<UnitExplained, CommandError> {
        let now = self.now();
        let asked = unit.clone();
        let history = self
            .ledger
            .run(move |store| store.history(Some(&asked), EXPLAINED))
            .await?;
        let chain = self.tree.chain(&unit);
        let signatures: Vec<&FaultSignature> = self
            .beliefs
            .signatures(self.tree.kind(&unit))
            .take(EXPLAINED)
            .collect();
        let kinds = self.tree.kinds_of(&chain);
        let believed = |signature: Option<&FaultSignature>| {
            let (levels, weight) = self.beliefs.levels(signature, &kinds, now);
            let origin = signature.zip(kinds.first().copied());
            let origin = origin.map(|(signature, kind)| self.beliefs.origin(signature, kind, now));
            let names = std::iter::once("by itself".to_owned())
                .chain(chain.iter().map(ToString::to_string))
                .chain(std::iter::once("none".to_owned()));
            BeliefView {
                signature: signature.cloned(),
                levels: names.zip(levels).collect(),
                weight,
                origin: origin.unwrap_or_default(),
            }
        };
        let mut beliefs = vec![believed(None)];
        beliefs.extend(
            signatures
                .into_iter()
                .map(|signature| believed(Some(signature))),
        );
        let price = self.price(&unit, now);
        let case = self.explained_by(&unit);
        let refusals = self.check(
            case.map(|case| case.id),
            &unit,
            Authority::Unattended,
            case.and_then(|case| case.evidence.as_ref()),
            price.requests.mean,
        );
        let at_work = self.cases.values().find(|case| {
            case.attempt
                .as_ref()
                .is_some_and(|attempt| self.tree.contains(&attempt.target, &unit))
        });
        Ok(UnitExplained {
            ancestors: chain.iter().skip(1).copied().cloned().collect(),
            selector: self.tree.selector(&unit).cloned().unwrap_or_default(),
            mode: self.tree.mode(&unit),
            recall: self
                .tree
                .restarts(&unit)
                .into_iter()
                .map(|part| self.config.executors.get(part).map(|part| part.recall()))
                .min()
                .flatten()
                .unwrap_or(Recall::Nothing),
            restarts: self.tree.restarts(&unit).into_iter().cloned().collect(),
            generation: self.generation(&unit),
            state: at_work.or(case).map(|case| case.state),
            beliefs,
            cost: CostView {
                downtime: price.takes.duration(),
                downtime_usually: price.takes.usual_durations(),
                weight: price.takes.weight,
                pooled: self.costs.pooled(&self.tree, &unit, now),
                failing: self.costs.failing(&self.tree, &unit, now).mean,
                traffic: self.traffic.get(&unit).copied(),
            },
            history: history
                .iter()
                .map(|(action, incident)| super::view::action(action, *incident))
                .collect(),
            refusals,
            unit,
        })
    }
}
