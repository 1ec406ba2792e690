//! The act: intent, executors, results. Each is on disk before the next step.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::case::{Attempt, Case, Part, is_person};
use super::engine::{Engine, Job, Work};
use super::{ActionView, RecoveryId, Shadow};
use crate::crash::{CrashPoint, Passing};
use crate::executor::{ActionId, Effect, ExecuteError, Executed, Life, Permit, Veto};
use crate::guard::Past;
use crate::judge::Verdict;
use crate::ledger::{Also, IntendedRestart, Intent, Judged, Outcome};
use crate::lifecycle::Event;
use crate::service::CommandError;
use crate::{RestartTree, UnitName};

/// Beyond its deadline an executor may need a moment to say so; after this nobody waits for it.
pub(super) const EXECUTOR_SLACK: Duration = Duration::from_secs(10);

impl Engine {
    /// Reserves the subtree, writes the intent, and calls the first executor. The guards have been
    /// asked. When the intent can't be written nothing happens, and the recovery is where it was.
    pub(super) async fn begin(
        &mut self,
        id: RecoveryId,
        target: UnitName,
        lease: Event,
        by: &str,
        reason: &str,
        expected_cost: f64,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let restarts: Vec<IntendedRestart> = self
            .tree
            .restarts(&target)
            .into_iter()
            .map(|unit| IntendedRestart {
                unit: unit.clone(),
                deadline: self
                    .tree
                    .spec(unit)
                    .map(|spec| spec.start_deadline)
                    .unwrap_or_default(),
                raises: self.tree.own_subtree(unit).into_iter().cloned().collect(),
            })
            .collect();
        let policy = &self.config.policy;
        let acting: Duration = restarts
            .iter()
            .map(|restart| {
                let executor = self.config.executors.get(&restart.unit);
                let beforehand = executor.map_or(Duration::ZERO, |it| it.beforehand());
                beforehand + restart.deadline + EXECUTOR_SLACK
            })
            .sum();
        let lease_until = now
            .checked_add(acting + policy.warm_up + policy.judging() + policy.lease_slack)
            .unwrap_or(now);
        let gone = || CommandError::Unavailable {
            reason: format!("recovery {id} isn't waiting any more"),
        };
        let hanging = self.hanging(id, &target, now);
        let case = self.cases.get_mut(&id).ok_or_else(gone)?;
        let mark = case.mark();
        let number = case.attempts + 1;
        let legal = case.apply(lease, now).and_then(|()| {
            // The lease counts from here on: nothing else is decided before the intent is written.
            case.acted_on.clone_from(&case.evidence);
            case.attempt = Some(Attempt {
                hanging: hanging.clone(),
                ..Attempt::new(number, target.clone(), now, lease_until)
            });
            case.apply(Event::Commit, now)
        });
        if let Err(error) = legal {
            tracing::error!(recovery = %id, %error, "a recovery went a way that there isn't");
            case.go_back_to(mark);
            case.attempt = None;
            return Err(gone());
        }
        let entry = case.entry();
        let signature = case
            .evidence
            .as_ref()
            .map(|evidence| evidence.signature.clone());
        let began = case.evidence.as_ref().map(|evidence| evidence.since);
        let incident = case.incident;
        let intent = Intent {
            attempt: number,
            target: target.clone(),
            restarts,
            by: by.to_owned(),
            reason: reason.to_owned(),
            plan: case.plan_number(),
            expected_cost,
            hanging,
            at: now,
        };
        self.crash(CrashPoint::BeforeIntent);
        let wanted = intent.clone();
        let permits = match self
            .ledger
            .run(move |store| store.commit_intent(&entry, &wanted))
            .await
        {
            Ok(permits) => permits,
            Err(error) => {
                if let Some(case) = self.cases.get_mut(&id) {
                    case.go_back_to(mark);
                    case.attempt = None;
                }
                self.ledger_failed(&error);
                return Err(error.into());
            }
        };
        self.crash(CrashPoint::AfterIntent);
        self.past.push(Past {
            recovery: id,
            target: target.clone(),
            restarts: u32::try_from(permits.len()).unwrap_or(u32::MAX),
            by_person: is_person(by),
            at: now,
            ready_at: None,
            due_at: now.checked_add(acting),
            failed_requests: expected_cost,
            signature: signature.clone(),
            verdict: None,
        });
        let actions = Arc::make_mut(&mut self.actions);
        for (permit, restart) in permits.iter().zip(&intent.restarts) {
            for raised in &restart.raises {
                *self.generations.entry(raised.clone()).or_insert(1) += 1;
            }
            let view = ActionView {
                action: permit.action(),
                recovery: id,
                incident,
                unit: permit.unit().clone(),
                target: target.clone(),
                signature: signature.clone(),
                by: by.to_owned(),
                reason: reason.to_owned(),
                generation: permit.generation(),
                began,
                intended_at: now,
                stopped_at: None,
                ready_at: None,
                outcome: None,
                verdict: None,
                relief: None,
                failed_requests: None,
                judged: None,
                judged_at: None,
                plan: intent.plan,
            };
            actions.insert(0, view);
        }
        actions.truncate(self.config.policy.recent_actions.max(1));
        tracing::info!(recovery = %id, unit = %target, by, reason, "restarting");
        if let Some(case) = self.cases.get_mut(&id) {
            case.saved();
            case.attempts = number;
            case.refusals.clear();
            case.unsure_since = None;
            if let Some(attempt) = &mut case.attempt {
                attempt.parts = permits.iter().map(|permit| part(permit, now)).collect();
                attempt.permits = permits.into();
            }
        }
        if self.apply(id, Event::Act) {
            self.call_next(id);
        }
        Ok(())
    }

    /// Calls the next executor of an attempt.
    fn call_next(&mut self, id: RecoveryId) {
        let now = self.now();
        let permit = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
            .and_then(|attempt| attempt.permits.pop_front());
        let Some(permit) = permit else {
            return;
        };
        let (action, unit, deadline) = (
            permit.action(),
            permit.unit().clone(),
            permit.deadline() + EXECUTOR_SLACK,
        );
        self.shadow(action, &unit, Life::default(), now, None);
        let Some(executor) = self.config.executors.get(&unit).cloned() else {
            // A guard has seen to it that there is one; if not, nothing is done.
            let reason = "there is no executor".to_owned();
            self.spawn(Job::Act(id, action, unit.clone()), async move {
                Work::Executed(id, action, Err(ExecuteError::Refused { unit, reason }))
            });
            return;
        };
        let deadline = executor.beforehand() + deadline;
        let passing = Passing::told_to(self.config.crash.clone());
        let permit = permit.passing(passing.clone());
        self.spawn(Job::Act(id, action, unit.clone()), async move {
            passing.at(CrashPoint::BeforeEffect);
            let result = match tokio::time::timeout(deadline, executor.restart(permit)).await {
                Ok(result) => result,
                Err(_) => Err(ExecuteError::Unknown {
                    unit,
                    reason: format!("nothing was heard of it for {} s", deadline.as_secs()),
                }),
            };
            passing.at(CrashPoint::AfterEffect);
            Work::Executed(id, action, result)
        });
    }

    /// Tells of a restart's shadow. A reader that is slow gets it later.
    pub(super) fn shadow(
        &mut self,
        action: ActionId,
        unit: &UnitName,
        began: Life,
        from: SystemTime,
        until: Option<SystemTime>,
    ) {
        /// More late ones than this, and nobody reads them at all.
        const MAX_LATE: usize = 1000;
        for (shaded, selector) in shaded(&self.tree, unit) {
            let began = told_by(&self.tree, unit, &shaded, began);
            self.late_shadows.push_back(Shadow {
                action,
                unit: shaded,
                selector,
                began,
                from,
                until,
            });
        }
        while self.late_shadows.len() > MAX_LATE {
            self.late_shadows.pop_front();
        }
    }

    /// Hands on as many shadows as there is room for; the others wait.
    pub(super) fn tell_shadows(&mut self) {
        while let Some(shadow) = self.late_shadows.pop_front() {
            if let Err(error) = self.shadows.try_send(shadow) {
                if let mpsc::error::TrySendError::Full(shadow) = error {
                    self.late_shadows.push_front(shadow);
                }
                break;
            }
        }
    }

    /// Ends the shadows of an attempt that fell short. It won't settle, so nothing else ends those of
    /// the parts that were done before; and one that stays open hides all that comes.
    fn end_shadows(&mut self, id: RecoveryId) {
        let now = self.now();
        let warm_up = self.config.policy.warm_up;
        let Some(attempt) = self.cases.get(&id).and_then(|case| case.attempt.as_ref()) else {
            return;
        };
        let settled = attempt.settle_until;
        // The rest of them wasn't called.
        let called = attempt
            .parts
            .iter()
            .find(|part| !matches!(part.outcome, Some(Outcome::Done { .. })))
            .map(|part| part.action);
        for part in attempt.parts.clone() {
            let began = part.began();
            let is_felt = Some(part.action) == called && self.is_felt_before(&part.unit);
            let (from, until) = match part.outcome {
                Some(Outcome::Done { stopped_at, .. }) => (stopped_at, settled),
                Some(Outcome::Refused { .. }) if is_felt => {
                    (part.intended_at, now.checked_add(warm_up).unwrap_or(now))
                }
                // Nothing was done to it. One that is before all requests takes back what was told
                // when it was called.
                Some(Outcome::Refused { .. }) => (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH),
                // Its old life may have ended at any time since.
                Some(Outcome::NotReady { .. } | Outcome::Unknown { .. }) | None => {
                    (part.intended_at, now.checked_add(warm_up).unwrap_or(now))
                }
            };
            self.shadow(part.action, &part.unit, began, from, Some(until));
        }
    }

    /// Whether its executor does something that users feel before it may refuse: it turns requests away, or has the
    /// unit put its state in safety.
    fn is_felt_before(&self, unit: &UnitName) -> bool {
        let executor = self.config.executors.get(unit);
        executor.is_some_and(|executor| !executor.beforehand().is_zero())
    }

    /// Runs something that comes back as [`Work`].
    pub(super) fn spawn(&mut self, job: Job, work: impl Future<Output = Work> + Send + 'static) {
        let id = self.work.spawn(work).id();
        self.jobs.insert(id, job);
    }

    /// A task of ours panicked: what it was about can't be told.
    pub(super) async fn lost(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a task of recovery ended badly");
        match self.jobs.remove(&error.id()) {
            Some(Job::Act(id, action, unit)) => {
                let reason = "the task that restarted it ended badly".to_owned();
                self.executed(id, action, Err(ExecuteError::Unknown { unit, reason }))
                    .await;
            }
            Some(Job::Inquire(id, action)) => self.inquired(id, action, Effect::Unknown).await,
            Some(Job::Probe(id)) => self.probed(id, Some(false)),
            Some(Job::Ask(unit)) => {
                let words = format!("whoever keeps {unit} alive could not be asked about it");
                self.answered(unit, vec![Veto::Unclear(words)]);
            }
            None => {}
        }
    }

    pub(super) async fn worked(&mut self, work: Work) {
        match work {
            Work::Executed(id, action, result) => self.executed(id, action, result).await,
            Work::Inquired(id, action, effect) => self.inquired(id, action, effect).await,
            Work::Probed(id, answer) => self.probed(id, answer),
            Work::Answered(unit, vetoes) => self.answered(unit, vetoes),
        }
    }

    async fn executed(
        &mut self,
        id: RecoveryId,
        action: ActionId,
        result: Result<Executed, ExecuteError>,
    ) {
        let outcome = match result {
            Ok(Executed {
                stopped_at,
                ready_at,
                began,
                note,
            }) => {
                // Executors are many, and clocks are set back: a life doesn't end after the next is
                // ready.
                let stopped_at = stopped_at.min(ready_at);
                Outcome::Done {
                    stopped_at,
                    ready_at,
                    began,
                    note,
                }
            }
            Err(ExecuteError::Refused { reason, unit }) => Outcome::Refused {
                reason,
                is_felt: self.is_felt_before(&unit),
            },
            Err(ExecuteError::NotReady { reason, .. }) => Outcome::NotReady { reason },
            Err(ExecuteError::Unknown { reason, .. }) => Outcome::Unknown { reason },
        };
        self.crash(CrashPoint::BeforeResult);
        self.result(id, action, outcome, true).await;
        self.crash(CrashPoint::AfterResult);
    }

    /// Takes an executor's result, and goes on: to the next part, to warming up, or to what follows
    /// from a restart that wasn't one.
    pub(super) async fn result(
        &mut self,
        id: RecoveryId,
        action: ActionId,
        outcome: Outcome,
        is_measured: bool,
    ) {
        let now = self.now();
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let Some(attempt) = &mut case.attempt else {
            return;
        };
        let Some(place) = attempt.parts.iter().position(|part| part.action == action) else {
            return;
        };
        let unit = attempt.parts[place].unit.clone();
        let mut results = vec![(action, outcome.clone())];
        attempt.parts[place].outcome = Some(outcome.clone());
        let is_done = matches!(outcome, Outcome::Done { .. });
        if !is_done {
            // The rest of the group would be restarted for nothing.
            attempt.permits.clear();
            for part in attempt
                .parts
                .iter_mut()
                .filter(|part| part.outcome.is_none())
            {
                let reason = format!("not attempted, because {unit} was not restarted");
                let outcome = Outcome::Refused {
                    reason,
                    is_felt: false,
                };
                if is_measured {
                    part.outcome = Some(outcome.clone());
                    results.push((part.action, outcome));
                }
            }
        }
        let ready_at = attempt.span().1;
        // Parts go one after the other.
        let called_at = ready_at.unwrap_or(attempt.parts[place].intended_at);
        let event = attempt.outcome();
        if event.is_some() {
            let from = ready_at.unwrap_or(now);
            attempt.settle_until = from.checked_add(self.config.policy.warm_up).unwrap_or(from);
        }
        for (action, outcome) in &results {
            case.write_also(Also::Result(*action, outcome.clone()));
        }
        let refused: Vec<UnitName> = attempt_parts(case)
            .filter(|part| results.iter().any(|(of, _)| *of == part.action))
            .filter(|part| matches!(part.outcome, Some(Outcome::Refused { .. })))
            .map(|part| part.unit.clone())
            .collect();
        // What was refused began no life, and was no restart.
        for unit in &refused {
            let mut before = Vec::new();
            for unit in self.tree.own_subtree(unit) {
                if let Some(generation) = self.generations.get_mut(unit)
                    && *generation > 1
                {
                    *generation -= 1;
                    before.push((unit.clone(), *generation));
                }
            }
            case.write_also(Also::NotBegun(before));
        }
        for (action, outcome) in results {
            let mut actions = Arc::make_mut(&mut self.actions).iter_mut();
            if let Some(view) = actions.find(|view| view.action == action) {
                super::view::set_outcome(view, &outcome);
            }
        }
        let downtime = match &outcome {
            Outcome::Done {
                stopped_at,
                ready_at,
                ..
            } => ready_at.duration_since(*stopped_at).ok(),
            // It was away for so long at least: if only what succeeds counted, what hardly ever comes back would be cheap.
            Outcome::NotReady { .. } => {
                let deadline = self.tree.spec(&unit).map(|spec| spec.start_deadline);
                let lasted = now.duration_since(called_at).ok();
                lasted
                    .zip(deadline)
                    .map(|(lasted, deadline)| lasted.min(deadline))
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
        };
        if let Some(downtime) = downtime.filter(|_| is_measured) {
            let rows = self.costs.learn(&self.tree, &unit, downtime, now);
            if let Some(case) = self.cases.get_mut(&id) {
                case.write_also(Also::Measured(rows));
            }
        }
        if let Outcome::Done {
            stopped_at,
            ready_at,
            began,
            ..
        } = &outcome
        {
            self.costs.began(&self.tree, &unit, *ready_at);
            self.shadow(action, &unit, *began, *stopped_at, None);
        }
        // Users felt the attempt, or it would be made again with each incident, for ever.
        let is_charged = matches!(outcome, Outcome::Refused { is_felt: true, .. });
        if let Some(past) = self.past.iter_mut().rev().find(|past| past.recovery == id) {
            past.ready_at = ready_at.or(Some(now));
            if event.is_some() {
                past.due_at = match event {
                    Some(Event::Done | Event::Refused) => None,
                    // It may still be done.
                    Some(Event::Lost) => past.due_at.max(Some(now)),
                    // Of a part that isn't ready nobody knows more than that it was called before now.
                    _ => Some(now),
                };
            }
            let refused = u32::try_from(refused.len()).unwrap_or(u32::MAX) - u32::from(is_charged);
            past.restarts = past.restarts.saturating_sub(refused);
            if past.restarts == 0 {
                past.failed_requests = 0.0;
            }
        }
        match event {
            // More parts to come; their results are one by one on disk.
            None => {
                self.save(id).await;
                self.call_next(id);
            }
            Some(Event::Done) => {
                self.apply(id, Event::Done);
                self.save(id).await;
            }
            Some(event) => {
                self.end_shadows(id);
                self.fell_short(id, event).await;
            }
        }
    }

    /// A restart that was none, or only half of one: its verdict is clear at once.
    async fn fell_short(&mut self, id: RecoveryId, event: Event) {
        let now = self.now();
        let Some(attempt) = self.cases.get(&id).and_then(|case| case.attempt.as_ref()) else {
            return;
        };
        let words: Vec<String> = attempt
            .parts
            .iter()
            .filter_map(|part| Some(format!("{} {}", part.unit, part.outcome.as_ref()?.words())))
            .collect();
        let words = words.join("; ");
        let (verdict, words) = match event {
            Event::NotReady => (Verdict::NotCured, words),
            Event::Refused if attempt.span().0.is_some() => (
                Verdict::Unknown,
                format!("only a part of it was done when the engine ended: {words}"),
            ),
            Event::Refused => (Verdict::Unknown, format!("nothing was done: {words}")),
            _ => (
                Verdict::Unknown,
                format!("what was done can't be told: {words}"),
            ),
        };
        let judged = Judged {
            attempt: attempt.number,
            at: now,
            verdict,
            relief: None,
            failed_requests: None,
            words,
        };
        if self.apply(id, event) {
            self.conclude(id, judged).await;
        }
    }

    /// The units of an attempt that were refused can't be tried again in this recovery.
    pub(super) fn exclude_refused(case: &mut Case) {
        if let Some(attempt) = &case.attempt {
            case.excluded.insert(attempt.target.clone());
            for part in &attempt.parts {
                if matches!(part.outcome, Some(Outcome::Refused { .. })) {
                    case.excluded.insert(part.unit.clone());
                }
            }
        }
    }
}

/// What a unit's restart lies upon: what its selector matches, and, where it only groups others or parts of it have
/// another value of its own keys (`shop.cart.cache` in `shop.cart`), what theirs do.
fn shaded(tree: &RestartTree, unit: &UnitName) -> Vec<(UnitName, BTreeMap<String, String>)> {
    let mut shaded: Vec<(UnitName, BTreeMap<String, String>)> = Vec::new();
    // Not by what goes together with it: that lies beside it.
    for part in tree.own_subtree(unit) {
        let selector = tree.selector(part).filter(|own| !own.is_empty());
        let Some(selector) = selector else {
            continue;
        };
        let is_covered = shaded.iter().any(|(_, wider)| {
            let mut wanted = wider.iter();
            wanted.all(|(key, value)| selector.get(key) == Some(value))
        });
        if !is_covered {
            shaded.push((part.clone(), selector.clone()));
        }
    }
    shaded
}

/// What the spans under one of a restart's shadows say of the life that began. A process that lies below counts its own
/// lives, and so does each part; what may lie on the spans of another doesn't tell a number, for that other's, which it
/// counts from the beginning, would look like one of a life that is over.
fn told_by(tree: &RestartTree, restarted: &UnitName, shaded: &UnitName, began: Life) -> Life {
    let process = tree.numbered_by(shaded);
    let below = tree.own_subtree(shaded).into_iter().skip(1);
    let under: Vec<&UnitName> = below
        .filter(|part| may_share_spans(tree, shaded, part))
        .collect();
    let is_one_process = process == tree.numbered_by(restarted)
        && under.iter().all(|part| tree.numbered_by(part) == process);
    Life {
        process: began.process.filter(|_| is_one_process),
        part: began
            .part
            .filter(|_| shaded == restarted && under.is_empty()),
    }
}

/// Whether a span may be of both: no key has two values. What has no selector may have any span.
fn may_share_spans(tree: &RestartTree, one: &UnitName, other: &UnitName) -> bool {
    let (Some(one), Some(other)) = (tree.selector(one), tree.selector(other)) else {
        return true;
    };
    one.iter()
        .all(|(key, value)| other.get(key).is_none_or(|it| it == value))
}

fn attempt_parts(case: &Case) -> impl Iterator<Item = &Part> {
    case.attempt.iter().flat_map(|attempt| &attempt.parts)
}

fn part(permit: &Permit, now: SystemTime) -> Part {
    Part {
        action: permit.action(),
        unit: permit.unit().clone(),
        generation: permit.generation(),
        intended_at: now,
        outcome: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_lies_on_all_that_is_restarted_and_on_nothing_twice() {
        let tree = crate::tree::tests::tree(
            "shop process service.name=shop\n  cart code.namespace=shop.cart\n    cache code.namespace=shop.cart.cache\n  desk -\n    a code=a\n    b code=b",
        );
        for (unit, expected) in [
            ("shop", &["shop"][..]),
            ("cart", &["cart", "cache"]),
            ("cache", &["cache"]),
            ("desk", &["desk"]),
        ] {
            let shaded = shaded(&tree, &unit.into());
            let names: Vec<&str> = shaded.iter().map(|(unit, _)| unit.as_str()).collect();
            assert_eq!(names, expected, "{unit}");
        }
    }
    /// Each case: what is restarted, under which of its shadows, and which numbers its spans tell.
    #[test]
    fn a_number_lies_on_no_spans_but_of_what_counts_by_it() {
        let tree = crate::tree::tests::tree(
            "site -\n  shop process service.name=shop\n    cart code.namespace=shop.cart\n      cache code.namespace=shop.cart.cache\n    desk code.namespace=shop.desk\n      lamp code.function=lamp\n  mail process code.namespace=mail\n    queue process code.namespace=mail.queue\n  bank process service.name=bank\n    vault process host.name=vault",
        );
        let began = Life {
            process: Some(7),
            part: Some(2),
        };
        for (restarted, shaded, process, part) in [
            ("cart", "cart", true, true),
            // It was restarted with its parent, and didn't count.
            ("cart", "cache", true, false),
            ("cache", "cache", true, true),
            // Its selector matches the lamp's spans as well.
            ("desk", "desk", true, false),
            ("mail", "mail", true, true),
            ("mail", "queue", false, false),
            ("queue", "queue", true, true),
            // Its selector may match the vault's spans as well.
            ("bank", "bank", false, false),
        ] {
            let told = told_by(&tree, &restarted.into(), &shaded.into(), began);
            let expected = (process.then_some(7), part.then_some(2));
            assert_eq!((told.process, told.part), expected, "{restarted} {shaded}");
        }
    }
}
