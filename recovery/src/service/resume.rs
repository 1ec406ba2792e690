//! What the last engine left, and what becomes of it: starting is recovering.
//!
//! Nothing that was in flight is done again. Whoever was called is asked what became of it; where it
//! can't be told, the action stays charged to its budget, its verdict is `unknown`, and a person is
//! told.

use std::time::{Duration, SystemTime};

use super::RecoveryId;
use super::act::EXECUTOR_SLACK;
use super::case::{Attempt, Case, Part, is_person};
use super::engine::{Engine, Job, Work};
use crate::UnitName;
use crate::executor::{ActionId, Effect, Life};
use crate::guard::Past;
use crate::ledger::{Outcome, StoredAction, StoredRecovery};
use crate::lifecycle::{Event, Resumption, State};
use crate::service::Tried;

/// How long an executor may take to say what became of an action.
const INQUIRY: Duration = Duration::from_secs(10);

/// The attempts behind actions, as guards count them. `beforehand` says how long a unit's executor may take before its
/// restart begins.
pub(super) fn past(
    actions: &[StoredAction],
    beforehand: impl Fn(&UnitName) -> Duration,
) -> Vec<Past> {
    let mut past: Vec<(u32, Past)> = Vec::new();
    // Of several in one attempt, each may have had to wait for those before it.
    let mut may_take = Duration::ZERO;
    let mut last = None;
    for action in actions {
        let at = action.by_now(action.intended_at);
        let attempt = Some((action.recovery, action.attempt));
        if std::mem::replace(&mut last, attempt) != attempt {
            may_take = Duration::ZERO;
        }
        let takes = beforehand(&action.unit) + action.deadline + EXECUTOR_SLACK;
        may_take = may_take.saturating_add(takes);
        let is_known = matches!(
            action.outcome,
            Some(Outcome::Done { .. } | Outcome::Refused { .. })
        );
        let due_at = at.checked_add(may_take);
        let due_at = due_at.filter(|_| !is_known);
        let ready_at = match &action.outcome {
            // Where the clock was set before it was ready, nobody can tell by how much it is off.
            Some(Outcome::Done { ready_at, .. }) => Some(action.by_now(*ready_at).max(at)),
            _ => None,
        };
        let (restarts, cost) = match &action.outcome {
            // Nothing was done.
            Some(Outcome::Refused { is_felt: false, .. }) => (0, 0.0),
            _ => (1, action.failed_requests.unwrap_or(action.expected_cost)),
        };
        let same = past
            .iter_mut()
            .rev()
            .find(|(attempt, past)| *attempt == action.attempt && past.recovery == action.recovery);
        if let Some((_, past)) = same {
            past.restarts = past.restarts.saturating_add(restarts);
            past.failed_requests += cost;
            past.due_at = past.due_at.max(due_at);
            past.ready_at = past.ready_at.max(ready_at);
        } else {
            past.push((
                action.attempt,
                Past {
                    recovery: action.recovery,
                    target: action.target.clone(),
                    restarts,
                    by_person: is_person(&action.by),
                    at,
                    ready_at,
                    due_at,
                    failed_requests: cost,
                    signature: action
                        .evidence
                        .as_ref()
                        .map(|evidence| evidence.signature.clone()),
                    verdict: action.verdict,
                },
            ));
        }
    }
    past.into_iter().map(|(_, past)| past).collect()
}

/// The recovery as it was when the last engine ended.
fn case(stored: &StoredRecovery, now: SystemTime) -> Case {
    let mut case = Case::new(
        stored.recovery,
        stored.incident,
        &stored.by,
        &stored.reason,
        stored.opened_at,
    );
    case.evidence.clone_from(&stored.evidence);
    case.decided.clone_from(&stored.decided);
    case.is_orphan = true;
    case.heard_at = Some(now);
    case.is_known = true;
    case.held.clone_from(&stored.held);
    if stored.state == State::HeldOff {
        case.plan.clone_from(&stored.plan);
        case.held_as = case.plan_number();
    }
    case.state = stored.state;
    case.since = stored.since;
    case.attempts = stored
        .actions
        .iter()
        .map(|action| action.attempt)
        .max()
        .unwrap_or(0);
    for attempt in 1..=case.attempts {
        let Some(action) = stored
            .actions
            .iter()
            .find(|action| action.attempt == attempt)
        else {
            continue;
        };
        if let Some(verdict) = action.verdict {
            let relief = action.relief;
            case.tried.push(Tried {
                unit: action.target.clone(),
                verdict,
                relief,
            });
            let share = relief.map(|relief| relief.share);
            let judged_at = action.judged_at.unwrap_or(action.intended_at);
            let lasted = judged_at.duration_since(action.intended_at);
            case.trials.extend(super::verdict::trial(
                &action.target,
                verdict,
                share,
                lasted.unwrap_or_default(),
            ));
        }
        if matches!(action.outcome, Some(Outcome::Refused { .. })) && action.verdict.is_some() {
            case.excluded.insert(action.target.clone());
        }
    }
    case.acted_on = stored
        .actions
        .last()
        .and_then(|action| action.evidence.clone());
    let is_under_way = !matches!(
        case.state,
        State::Watching | State::HeldOff | State::Proposed | State::Leased
    );
    let last = stored
        .actions
        .iter()
        .filter(|action| action.attempt == case.attempts);
    if let Some(first) = last.clone().next()
        && is_under_way
    {
        let mut attempt = Attempt::new(
            case.attempts,
            first.target.clone(),
            stored.since,
            SystemTime::UNIX_EPOCH,
        );
        attempt.is_resumed = true;
        attempt.hanging.clone_from(&first.hanging);
        attempt.parts = last
            .map(|action| Part {
                action: action.action,
                unit: action.unit.clone(),
                generation: action.generation,
                intended_at: action.intended_at,
                outcome: action.outcome.clone(),
            })
            .collect();
        case.attempt = Some(attempt);
    }
    case
}

impl Engine {
    /// Tells again which restarts cast which shadows: whoever reads the telemetry of their time
    /// anew must fence it anew.
    pub(super) fn retell_shadows(&mut self) {
        let warm_up = self.config.policy.warm_up;
        // Immunity looks back for a week, and nobody keeps telemetry in memory for so long.
        let policy = &self.config.policy;
        let reach = policy.budget_period.max(policy.recurring_period);
        let oldest = self
            .now()
            .checked_sub(reach)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        for stored in std::mem::take(&mut self.former) {
            if stored.intended_at < oldest {
                continue;
            }
            let mut life = Life::default();
            let (from, until) = match &stored.outcome {
                Some(Outcome::Done {
                    stopped_at,
                    ready_at,
                    began,
                    ..
                }) => {
                    life = *began;
                    self.costs.began(&self.tree, &stored.unit, *ready_at);
                    (*stopped_at, ready_at.checked_add(warm_up))
                }
                Some(Outcome::Refused { .. }) => continue,
                _ => (
                    stored.intended_at,
                    stored.intended_at.checked_add(stored.deadline + warm_up),
                ),
            };
            self.shadow(stored.action, &stored.unit, life, from, until);
        }
        self.tell_shadows();
    }

    /// Takes up what the last engine left.
    pub(super) async fn resume(&mut self) {
        for stored in std::mem::take(&mut self.unfinished) {
            let id = stored.recovery;
            tracing::info!(recovery = %id, state = %stored.state, "left by the last engine");
            self.cases.insert(id, case(&stored, self.now()));
            match stored.state.resumption() {
                Resumption::Watch | Resumption::Nothing => {}
                Resumption::GoBack(event) => {
                    if self.apply(id, event) {
                        self.save(id).await;
                    }
                }
                Resumption::Inquire => self.inquire(id).await,
                Resumption::GoOn => self.go_on(id),
                Resumption::Follow => self.follow(id).await,
            }
            self.forget_if_over(id);
        }
    }

    /// Reserves the subtree again for what is still to be judged.
    fn renew(&mut self, id: RecoveryId) {
        let now = self.now();
        let policy = &self.config.policy;
        let lease = INQUIRY + policy.warm_up + policy.judging() + policy.lease_slack;
        if let Some(attempt) = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
        {
            attempt.lease_until = now.checked_add(lease).unwrap_or(now);
        }
    }

    fn go_on(&mut self, id: RecoveryId) {
        self.renew(id);
        let now = self.now();
        let (warm_up, deadline) = (
            self.config.policy.warm_up,
            self.config.policy.judge_deadline,
        );
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let Some(attempt) = &mut case.attempt else {
            return;
        };
        let ready = attempt.span().1.unwrap_or(now);
        // By a clock that was set back it would be ready in hours.
        attempt.settle_until = ready.min(now).checked_add(warm_up).unwrap_or(now);
        // Whoever knows how requests fared has just started as well, so it gets the whole time.
        attempt.judge_until = now.checked_add(deadline).unwrap_or(now);
    }

    /// Asks executors what became of the actions without a result.
    async fn inquire(&mut self, id: RecoveryId) {
        self.renew(id);
        if self
            .cases
            .get(&id)
            .is_some_and(|case| case.state == State::Committed)
        {
            // Whether it was called isn't known, and is what is asked now.
            self.apply(id, Event::Act);
        }
        let Some(attempt) = self.cases.get(&id).and_then(|case| case.attempt.as_ref()) else {
            return;
        };
        let open: Vec<Part> = attempt
            .parts
            .iter()
            .filter(|part| part.outcome.is_none())
            .cloned()
            .collect();
        for part in open {
            let Some(executor) = self.config.executors.get(&part.unit).cloned() else {
                self.inquired(id, part.action, Effect::Unknown).await;
                continue;
            };
            let job = Job::Inquire(id, part.action);
            self.spawn(job, async move {
                let asked = executor.inquire(part.action, &part.unit, part.generation);
                let effect = tokio::time::timeout(INQUIRY, asked).await;
                Work::Inquired(id, part.action, effect.unwrap_or(Effect::Unknown))
            });
        }
    }

    pub(super) async fn inquired(&mut self, id: RecoveryId, action: ActionId, effect: Effect) {
        let now = self.now();
        let intended_at = self
            .cases
            .get(&id)
            .and_then(|case| case.attempt.as_ref())
            .and_then(|attempt| attempt.parts.iter().find(|part| part.action == action))
            .map_or(now, |part| part.intended_at);
        let outcome = match effect {
            Effect::Done => Outcome::Done {
                stopped_at: intended_at.min(now),
                ready_at: now,
                // Who found it done wasn't there when it began.
                began: Life::default(),
                note: "found done after the engine had ended".to_owned(),
            },
            Effect::NotDone => Outcome::Refused {
                reason: "the engine ended before it was done".to_owned(),
                is_felt: false,
            },
            Effect::Unknown => Outcome::Unknown {
                reason: "the engine ended, and the executor can't tell".to_owned(),
            },
        };
        self.result(id, action, outcome, false).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt of three, of which only the first is known to be done.
    #[test]
    fn what_may_still_be_done_counts_from_when_it_can_be_at_the_latest() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let done = Outcome::Done {
            stopped_at: at(100),
            ready_at: at(103),
            began: Life::default(),
            note: String::new(),
        };
        let lost = Outcome::Unknown {
            reason: "nobody can tell".to_owned(),
        };
        let action = |attempt: u32, outcome: Option<Outcome>| StoredAction {
            action: ActionId(1),
            recovery: RecoveryId(1),
            attempt,
            target: "shop".into(),
            unit: "shop".into(),
            generation: 2,
            deadline: Duration::from_secs(10),
            by: "auto".to_owned(),
            reason: String::new(),
            evidence: None,
            expected_cost: 1.0,
            intended_at: at(100),
            outcome,
            verdict: None,
            relief: None,
            failed_requests: None,
            judged: None,
            judged_at: None,
            plan: None,
            shifted: crate::clock::Shift::of_nanos(0),
            hanging: std::collections::BTreeMap::new(),
        };
        let beforehand = Duration::from_secs(7);
        let three = |last: Option<Outcome>| {
            let first = action(1, Some(done.clone()));
            let actions = [
                first,
                action(2, Some(done.clone())),
                action(2, None),
                action(2, last),
            ];
            past(&actions, |_| beforehand)
        };
        let slack = (EXECUTOR_SLACK + beforehand).as_secs();
        for (last, due_at) in [
            (Some(done.clone()), at(120 + 2 * slack)),
            (Some(lost), at(130 + 3 * slack)),
            (None, at(130 + 3 * slack)),
        ] {
            let [known, open] = &three(last)[..] else {
                panic!("two attempts");
            };
            assert_eq!((known.due_at, known.ready_at), (None, Some(at(103))));
            assert_eq!((open.due_at, open.restarts), (Some(due_at), 3));
        }
    }
}
