//! One recovery in memory: what its ledger has, and what is not written yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use crate::belief::Trial;
use crate::clock::Shift;
use crate::executor::{ActionId, Life, Permit};
use crate::guard::Refusal;
use crate::judge::{Probed, Relief};
use crate::ledger::{Also, Entry, Held, Outcome};
use crate::lifecycle::{Event, IllegalTransition, State, next};
use crate::plan::{Plan, PlanId};
use crate::service::{RecoveryId, Tried};
use crate::{Evidence, Fared, SuspectUnit, UnitName};

/// Who decides when nobody watches.
pub(super) const AUTO: &str = "auto";

/// Whether a person decided.
pub(super) fn is_person(by: &str) -> bool {
    by != AUTO && by != super::PREVENTION
}

/// One recovery.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: RecoveryId,
    /// `None` for a restart that a person ordered and no incident explains.
    pub(super) incident: Option<u64>,
    pub(super) opened_at: SystemTime,
    /// Whether the ledger knows it.
    pub(super) is_known: bool,
    pub(super) by: String,
    pub(super) reason: String,
    /// What a person said about its plan.
    pub(super) decided: Option<String>,
    /// Why it was given up to a person.
    pub(super) given_up: Option<String>,
    /// The latest.
    pub(super) evidence: Option<Evidence>,
    /// What was known when it last acted: later evidence is of a system that is being cured.
    pub(super) acted_on: Option<Evidence>,
    /// Left over from an engine that ended; its incident has another number now, if it goes on.
    pub(super) is_orphan: bool,
    /// When this engine last heard of it: took it over from another, or was told of its incident.
    pub(super) heard_at: Option<SystemTime>,
    pub(super) state: State,
    pub(super) since: SystemTime,
    unsaved: Vec<(SystemTime, Event)>,
    also: Vec<Also>,
    pub(super) plan: Option<Plan>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) trials: Vec<Trial>,
    pub(super) tried: Vec<Tried>,
    pub(super) excluded: BTreeSet<UnitName>,
    pub(super) wait_until: Option<SystemTime>,
    pub(super) waited: bool,
    /// When its incident was first told of in this life of the engine.
    pub(super) told_at: Option<SystemTime>,
    /// When it was last decided about.
    pub(super) considered_at: Option<SystemTime>,
    /// Since when all that speaks against its restart is that it isn't sure enough.
    pub(super) unsure_since: Option<SystemTime>,
    pub(super) held: Held,
    /// The number by which people know of it while it is held off.
    pub(super) held_as: Option<PlanId>,
    /// Whether people were told that it waits for a storm to pass.
    pub(super) is_storm_told: bool,
    /// The pause during which people were told of a plan, by its beginning, and what that would restart.
    pub(super) told_in_pause: Option<(SystemTime, UnitName)>,
    pub(super) attempts: u32,
    pub(super) attempt: Option<Attempt>,
}

/// The restart that a recovery is about at present.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) target: UnitName,
    pub(super) lease_until: SystemTime,
    /// Executors that are still to be called.
    pub(super) permits: VecDeque<Permit>,
    pub(super) parts: Vec<Part>,
    pub(super) settle_until: SystemTime,
    pub(super) judge_until: SystemTime,
    pub(super) next_look: SystemTime,
    pub(super) before: Option<Fared>,
    /// Requests that should have come by the time it was decided on, and had not, by type: what hangs fails when it is
    /// restarted, and is a failure from then on.
    pub(super) hanging: BTreeMap<String, u64>,
    pub(super) after: Option<Fared>,
    pub(super) relief: Option<Relief>,
    pub(super) probed: Option<Probed>,
    pub(super) next_probe: SystemTime,
    pub(super) is_probing: bool,
    /// Requests were too few, so probes decide.
    pub(super) by_probe: bool,
    /// Whether it was begun by an engine that ended.
    pub(super) is_resumed: bool,
}

/// One executor's part of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) action: ActionId,
    pub(super) unit: UnitName,
    pub(super) generation: u64,
    pub(super) intended_at: SystemTime,
    pub(super) outcome: Option<Outcome>,
}

impl Part {
    /// The life that began, as far as its telemetry will tell.
    pub(super) fn began(&self) -> Life {
        match self.outcome {
            Some(Outcome::Done { began, .. }) => began,
            _ => Life::default(),
        }
    }
}

impl Attempt {
    pub(super) fn new(
        number: u32,
        target: UnitName,
        at: SystemTime,
        lease_until: SystemTime,
    ) -> Self {
        Self {
            number,
            target,
            lease_until,
            permits: VecDeque::new(),
            parts: Vec::new(),
            settle_until: at,
            judge_until: at,
            next_look: at,
            before: None,
            hanging: BTreeMap::new(),
            after: None,
            relief: None,
            probed: None,
            next_probe: at,
            is_probing: false,
            by_probe: false,
            is_resumed: false,
        }
    }

    /// When the first old life began to end, and the last new one was ready, as far as known.
    pub(super) fn span(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        let done = self.parts.iter().filter_map(|part| match &part.outcome {
            Some(Outcome::Done {
                stopped_at,
                ready_at,
                ..
            }) => Some((*stopped_at, *ready_at)),
            _ => None,
        });
        let stopped = done.clone().map(|(stopped, _)| stopped).min();
        (stopped, done.map(|(_, ready)| ready).max())
    }

    /// What the parts came to together, once all are over.
    pub(super) fn outcome(&self) -> Option<Event> {
        let outcomes: Option<Vec<&Outcome>> = self
            .parts
            .iter()
            .map(|part| part.outcome.as_ref())
            .collect();
        let outcomes = outcomes?;
        let any = |wanted: fn(&Outcome) -> bool| outcomes.iter().any(|outcome| wanted(outcome));
        let done = any(|outcome| matches!(outcome, Outcome::Done { .. }));
        let refused = any(|outcome| matches!(outcome, Outcome::Refused { .. }));
        let not_ready = any(|outcome| matches!(outcome, Outcome::NotReady { .. }));
        Some(
            if any(|outcome| matches!(outcome, Outcome::Unknown { .. })) {
                Event::Lost
            } else if done && refused && self.is_resumed && !not_ready {
                // Nobody refused the rest: our own end kept it from being done.
                Event::Refused
            } else if not_ready || (done && refused) {
                // Half a restart is one that isn't ready.
                Event::NotReady
            } else if done {
                Event::Done
            } else {
                Event::Refused
            },
        )
    }
}

/// Where a case was before something that may have to be undone.
pub(super) struct Mark {
    state: State,
    since: SystemTime,
    unsaved: usize,
}

impl Case {
    pub(super) fn new(
        id: RecoveryId,
        incident: Option<u64>,
        by: &str,
        reason: &str,
        now: SystemTime,
    ) -> Self {
        Self {
            id,
            incident,
            opened_at: now,
            is_known: false,
            by: by.to_owned(),
            reason: reason.to_owned(),
            decided: None,
            given_up: None,
            evidence: None,
            acted_on: None,
            is_orphan: false,
            heard_at: None,
            state: State::Watching,
            since: now,
            unsaved: Vec::new(),
            also: Vec::new(),
            plan: None,
            refusals: Vec::new(),
            trials: Vec::new(),
            tried: Vec::new(),
            excluded: BTreeSet::new(),
            wait_until: None,
            waited: false,
            told_at: None,
            considered_at: None,
            unsure_since: None,
            held: Held::default(),
            held_as: None,
            is_storm_told: false,
            told_in_pause: None,
            attempts: 0,
            attempt: None,
        }
    }

    /// The clock was set: what waits or ages goes on waiting and ageing from where it was. When
    /// requests were made and lives ended stays: spans have those times too.
    pub(super) fn shift(&mut self, shift: Shift) {
        shift.apply(&mut self.since);
        for evidence in self.evidence.iter_mut().chain(&mut self.acted_on) {
            shift.apply(&mut evidence.at);
            let around = &mut evidence.circumstances;
            let changes = around.changes.values_mut().chain(&mut around.unplaced);
            changes.for_each(|change| shift.apply(&mut change.at));
        }
        if let Some((began, _)) = &mut self.told_in_pause {
            shift.apply(began);
        }
        let ours = [
            &mut self.heard_at,
            &mut self.wait_until,
            &mut self.told_at,
            &mut self.considered_at,
            &mut self.unsure_since,
        ];
        for at in ours.into_iter().flatten() {
            shift.apply(at);
        }
        if let Some(attempt) = &mut self.attempt {
            for at in [
                &mut attempt.lease_until,
                &mut attempt.settle_until,
                &mut attempt.judge_until,
                &mut attempt.next_look,
                &mut attempt.next_probe,
            ] {
                shift.apply(at);
            }
        }
    }

    /// Whether nothing was decided since it came to its state.
    pub(super) fn is_undecided(&self) -> bool {
        self.considered_at.is_none_or(|at| at < self.since)
    }

    /// Takes the event, and remembers to write it.
    pub(super) fn apply(&mut self, event: Event, now: SystemTime) -> Result<(), IllegalTransition> {
        self.state = next(self.state, event)?;
        self.since = now;
        self.unsaved.push((now, event));
        Ok(())
    }

    /// Remembers to write this with the next events.
    pub(super) fn write_also(&mut self, also: Also) {
        self.also.push(also);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            state: self.state,
            since: self.since,
            unsaved: self.unsaved.len(),
        }
    }

    /// Takes back what was not written since the mark.
    pub(super) fn go_back_to(&mut self, mark: Mark) {
        self.state = mark.state;
        self.since = mark.since;
        self.unsaved.truncate(mark.unsaved);
    }

    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_empty() && self.also.is_empty()
    }

    /// What is to be written.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            recovery: self.id,
            incident: self.incident,
            opened_at: self.opened_at,
            by: self.by.clone(),
            reason: self.reason.clone(),
            decided: self.decided.clone(),
            given_up: self.given_up.clone(),
            evidence: self.evidence.clone(),
            held: self.held.clone(),
            events: self.unsaved.clone(),
            also: self.also.clone(),
        }
    }

    /// What [`Self::entry`] said is written.
    pub(super) fn saved(&mut self) {
        self.is_known = true;
        self.unsaved.clear();
        self.also.clear();
    }

    /// The number of the plan that people were shown.
    pub(super) fn plan_number(&self) -> Option<PlanId> {
        self.plan
            .as_ref()
            .map(|plan| plan.id)
            .filter(|plan| *plan != PlanId::default())
    }

    /// When the first of the guards that held it up will say otherwise, of those after that time that can tell.
    pub(super) fn held_until(&self, after: SystemTime) -> Option<SystemTime> {
        let until = self.refusals.iter().filter_map(|refusal| refusal.until);
        until.filter(|until| *until > after).min()
    }

    /// The likeliest suspect, if it is likely at all.
    pub(super) fn sick(&self) -> Option<&UnitName> {
        likeliest(self.evidence.as_ref()?).map(|suspect| &suspect.unit)
    }
}

/// The likeliest suspect, if it is likely at all.
pub(super) fn likeliest(evidence: &Evidence) -> Option<&SuspectUnit> {
    // A suspect of less is one of many, and none of them is known to be sick.
    const LIKELY: f64 = 0.3;
    evidence
        .suspects
        .iter()
        .max_by(|a, b| a.probability.total_cmp(&b.probability))
        .filter(|suspect| suspect.probability >= LIKELY)
}
