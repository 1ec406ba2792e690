//! From evidence to a decision: plan, ask the guards, then act, propose, wait, or call a person.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::RecoveryId;
use super::case::{AUTO, Case};
use super::engine::{Ended, Engine};
use crate::belief::{NewVersion, Trial};
use crate::guard::{self, Authority, Consequence, Guard, Refusal};
use crate::judge::Verdict;
use crate::ledger::Also;
use crate::lifecycle::{Event, State};
use crate::plan::{Choice, Constraints, Plan, plan};
use crate::ports::NoticeKind;
use crate::{Evidence, Mode, UnitName, sick_together};

/// A recovery that nobody has spoken of for so long is of no incident that still is one.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(5 * 60);
/// What waits for a person is replaced by what is better by more than this part: a person needs longer
/// to read a plan than evidence to move a little.
const BETTER: f64 = 0.2;
/// Suspects and units' traffic that are kept of each evidence.
const MAX_SUSPECTS: usize = 1000;

fn usable(evidence: &mut Evidence) {
    evidence.suspects.truncate(MAX_SUSPECTS);
    // What is no number accuses nobody, and no ledger could hold it.
    evidence
        .suspects
        .retain(|suspect| suspect.probability.is_finite());
    for suspect in &mut evidence.suspects {
        suspect.probability = suspect.probability.clamp(0.0, 1.0);
    }
    for number in [
        &mut evidence.failing_per_second,
        &mut evidence.baseline_failure_share,
    ] {
        if !number.is_finite() || *number < 0.0 {
            *number = 0.0;
        }
    }
    let around = &mut evidence.circumstances;
    around.load = around
        .load
        .filter(|load| load.now.is_finite() && load.usual.is_finite());
    for sources in around.sources.values_mut() {
        sources.retain(|source| source.share.is_finite());
    }
    evidence.baseline_failure_share = evidence.baseline_failure_share.min(1.0);
    evidence
        .traffic
        .retain(|_, rate| rate.is_finite() && *rate >= 0.0);
}

impl Engine {
    pub(super) async fn take_evidence(&mut self, mut evidence: Evidence) {
        let now = self.now();
        usable(&mut evidence);
        for (unit, rate) in &evidence.traffic {
            if self.tree.spec(unit).is_some() {
                self.traffic.insert(unit.clone(), *rate);
            }
        }
        let known = self
            .cases
            .values()
            .find(|case| case.incident == Some(evidence.incident))
            .map(|case| case.id);
        // Whose own recovery is over takes up nobody else's, however much they are alike.
        let is_over = self.ended.contains_key(&evidence.incident);
        let adopted = || self.orphan(&evidence).filter(|_| !is_over);
        let id = match known.or_else(adopted) {
            Some(id) => id,
            None if evidence.closed => {
                self.ended.remove(&evidence.incident);
                return;
            }
            None if self.has_ended(&evidence) => return,
            None if !self.has_room() => {
                tracing::warn!(
                    incident = evidence.incident,
                    "too many recoveries at once; this incident is left alone"
                );
                return;
            }
            None => {
                let id = self.number();
                let case = Case::new(id, Some(evidence.incident), AUTO, "", now);
                self.cases.insert(id, case);
                id
            }
        };
        let unlearned = self.mind_new_versions(&evidence);
        let is_closed = evidence.closed;
        if let Some(case) = self.cases.get_mut(&id) {
            for also in unlearned {
                case.write_also(also);
            }
            case.incident = Some(evidence.incident);
            case.is_orphan = false;
            let told_at = *case.told_at.get_or_insert(now);
            // What is yet to begin is of a clock that goes ahead of ours. What begins again under the same number, as a
            // process does that ends once more, has begun since.
            if evidence.since > now {
                evidence.since = told_at;
            }
            case.heard_at = Some(now);
            // Ours to say, and the same until it is looked anew.
            let known = case.evidence.take();
            evidence.circumstances.sick_too =
                known.map_or(BTreeSet::new(), |known| known.circumstances.sick_too);
            case.evidence = Some(evidence);
        }
        // What is held off is told of all the time, maybe for long, and is asked again as time passes.
        if is_closed || self.is_awake(id, now) {
            self.consider(id).await;
        }
        self.forget_if_over(id);
    }

    /// What was learned of software that is gone weighs less. What is to be written of that.
    fn mind_new_versions(&mut self, evidence: &Evidence) -> Vec<Also> {
        let now = self.now();
        let mut also = Vec::new();
        for (unit, change) in &evidence.circumstances.changes {
            // The same is told again with other times when the clock is set.
            let is_known = self
                .versions
                .get(unit)
                .is_some_and(|last| last.at >= change.at || last.what == change.what);
            if !change.is_version || is_known || self.tree.spec(unit).is_none() {
                continue;
            }
            let version = NewVersion::of(unit, change, &self.tree);
            let rows = self.beliefs.new_version(&version, now);
            if !rows.is_empty() {
                also.push(Also::Learned(rows));
            }
            also.push(Also::Version(version.clone()));
            self.versions.insert(unit.clone(), version);
        }
        also
    }

    /// The recovery that an engine before this one left, if this is its incident under a new number.
    fn orphan(&self, evidence: &Evidence) -> Option<RecoveryId> {
        self.cases
            .values()
            .filter(|case| case.is_orphan && !case.state.is_over())
            .find(|case| {
                case.evidence
                    .as_ref()
                    .is_some_and(|old| self.is_same(old, evidence))
            })
            .map(|case| case.id)
    }

    /// Whether both speak of one fault: of one kind, in units one of which contains the other.
    fn is_same(&self, one: &Evidence, other: &Evidence) -> bool {
        one.signature.shape == other.signature.shape
            && one.suspects.iter().any(|a| {
                other
                    .suspects
                    .iter()
                    .any(|b| self.tree.overlap(&a.unit, &b.unit))
            })
    }

    /// Whether the incident's recovery is over, so that it isn't taken up again: a person has it, or
    /// it is cured and not failing again.
    fn has_ended(&mut self, evidence: &Evidence) -> bool {
        let is_persons = |state| matches!(state, State::GivenUp | State::Rejected);
        // What the last engine ended stays ended, though its number is new: it is told by what it was like.
        let is_like = |ended: &Ended| {
            let old = ended.evidence.as_ref();
            ended.is_orphan
                && evidence.since <= ended.at
                && old.is_some_and(|old| self.is_same(old, evidence))
        };
        // What outlives an engine keeps its number, whoever is suspected of it by then, and its own end says more than that
        // of another that it is like. (Clocks of two hosts don't agree on when it began.)
        let number = match self.ended.contains_key(&evidence.incident) {
            true => evidence.incident,
            false => {
                let mut ended = self.ended.iter().rev();
                match ended.find(|(_, ended)| is_like(ended)) {
                    Some((number, _)) => *number,
                    None => return false,
                }
            }
        };
        let now = self.now();
        let Some(ended) = self.ended.get_mut(&number) else {
            return false;
        };
        if is_persons(ended.state) {
            ended.heard_at = now;
            // Whom it accuses by now is who isn't well by now; who was given up on stays the one that was.
            if number == evidence.incident && !evidence.suspects.is_empty() {
                ended.told_since = Some(evidence.clone());
            }
            return true;
        }
        let at = ended.at;
        let is_relapse = evidence.at > at && self.fails_since(evidence, at);
        if is_relapse {
            self.ended.remove(&number);
        }
        !is_relapse
    }

    /// Decides about a recovery that waits, on what is known now.
    pub(super) async fn consider(&mut self, id: RecoveryId) {
        let now = self.now();
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let is_held = case.state == State::HeldOff;
        if !is_held && !matches!(case.state, State::Watching | State::Proposed) {
            return;
        }
        case.considered_at = Some(now);
        if case.incident.is_none() {
            self.lapse(id, now).await;
            return;
        }
        let Some(evidence) = &case.evidence else {
            return;
        };
        let is_orphan = case.is_orphan;
        let spoken_of = case.heard_at.max(Some(evidence.at));
        let age = spoken_of.and_then(|at| now.duration_since(at).ok());
        if evidence.closed || age.unwrap_or_default() > FORGOTTEN {
            if evidence.closed || is_held {
                self.learn(id);
            }
            self.end(id, Event::IncidentClosed).await;
            return;
        }
        // What another engine knew is no reason to do anything now, nor to give anything up.
        if is_orphan {
            return;
        }
        if self.expire(id, now) {
            self.save(id).await;
        }
        let sick_too = self.sick_beside(id, now);
        let case = self.cases.get_mut(&id);
        let Some(evidence) = case.and_then(|case| case.evidence.as_mut()) else {
            return;
        };
        evidence.circumstances.sick_too = sick_too;
        let evidence = evidence.clone();
        let Some(mut plan) = self.affordable(id, &evidence, now) else {
            return;
        };
        if let Some(case) = self.cases.get(&id)
            && case.state == State::Proposed
            && let Some(waiting) = &case.plan
        {
            plan.stay_with(&waiting.choice, BETTER, &self.tree);
        }
        if is_held && !self.is_taken_up(id, &evidence, &plan).await {
            return;
        }
        match plan.choice.clone() {
            Choice::Wait => self.wait(id, plan, now).await,
            Choice::Human => self.call_a_person(id, &evidence, plan).await,
            Choice::Restart(target) => {
                self.ask_platforms(&target);
                self.wants(id, &evidence, plan, target).await;
            }
        }
    }

    /// Who else is sick at the same time, as other open incidents have it.
    fn sick_beside(&self, id: RecoveryId, now: SystemTime) -> BTreeSet<UnitName> {
        let about = self.cases.get(&id).and_then(|case| case.evidence.as_ref());
        let Some((evidence, own)) = about.and_then(|it| Some((it, it.suspects.first()?))) else {
            return BTreeSet::new();
        };
        // What contained it was restarted since, for whosesoever sake: if that was the cause, it isn't any more.
        let is_tried = |past: &guard::Past| {
            past.at >= evidence.since && self.tree.contains(&past.target, &own.unit)
        };
        if self.past.iter().any(is_tried) {
            return BTreeSet::new();
        }
        let cases = self.cases.values().filter(|case| self.is_of_now(case, now));
        // Who is under cure may be cured.
        let waits = |state| matches!(state, State::Watching | State::Proposed | State::HeldOff);
        let sick = cases.filter(|case| waits(case.state));
        sick_together(evidence, sick.filter_map(|case| case.evidence.as_ref()))
    }

    /// Takes a proposal back that nobody answered in time.
    pub(super) fn expire(&mut self, id: RecoveryId, now: SystemTime) -> bool {
        let expiry = self.config.policy.approval_expiry;
        let is_expired = self.cases.get(&id).is_some_and(|case| {
            case.state == State::Proposed
                && case.since.checked_add(expiry).is_some_and(|at| at <= now)
        });
        is_expired && self.apply(id, Event::Expire)
    }

    /// The best plan whose restart leaves enough up. What takes too many along is no reason to restart nothing where a
    /// part of it may be restarted; where none may, it is the best plan of all, and the guards say why not.
    fn affordable(&mut self, id: RecoveryId, evidence: &Evidence, now: SystemTime) -> Option<Plan> {
        let case = self.cases.get_mut(&id)?;
        if case.wait_until.is_some_and(|until| until <= now) {
            case.waited = true;
        }
        let mut excluded = case.excluded.clone();
        let best = self.plan(id, evidence, &excluded, now)?;
        let mut plan = best.clone();
        while let Choice::Restart(target) = &plan.choice {
            let (by, cost) = (Authority::Unattended, plan.cost());
            let refusals = self.check(Some(id), target, by, Some(evidence), cost);
            let takes_too_many = refusals.iter().any(|refusal| {
                refusal.guard == Guard::Capacity && refusal.consequence == Consequence::GiveUp
            });
            // Of what was barred already nobody plans again.
            if !takes_too_many || !excluded.insert(target.clone()) {
                return Some(plan);
            }
            plan = self.plan(id, evidence, &excluded, now)?;
        }
        Some(best)
    }

    pub(super) fn plan(
        &self,
        id: RecoveryId,
        evidence: &Evidence,
        excluded: &BTreeSet<UnitName>,
        now: SystemTime,
    ) -> Option<Plan> {
        let case = self.cases.get(&id)?;
        // Priced with the configured delay, not the learned one: exporters that are five seconds late
        // make confirming dear, and then whole processes are restarted to spare the wait, for gains
        // (0.5 % of what is expected in the demo) that are smaller than the error of any chance here.
        let mut trials = case.trials.clone();
        trials.extend(self.in_vain_for_others(id, evidence));
        let constraints = Constraints {
            policy: &self.config.policy,
            costs: &self.costs,
            trials: &trials,
            waited: case.waited,
            excluded,
        };
        Some(plan(evidence, &self.tree, &self.beliefs, &constraints, now))
    }

    /// What other recoveries restarted in vain since this fault began, and was in vain for this one, too: what it may sit in was
    /// restarted, and it fails as before.
    fn in_vain_for_others(&self, id: RecoveryId, evidence: &Evidence) -> Vec<Trial> {
        let Some(own) = evidence.suspects.first() else {
            return Vec::new();
        };
        let others = self.past.iter().filter(|past| past.recovery != id);
        let in_vain = others.filter(|past| {
            let fails_since = |ready| evidence.at > ready && self.fails_since(evidence, ready);
            past.verdict == Some(Verdict::NotCured)
                && past.at >= evidence.since
                && self.tree.contains(&past.target, &own.unit)
                && past.ready_at.is_some_and(fails_since)
        });
        let trial = |past: &guard::Past| Trial {
            unit: past.target.clone(),
            relief: 0.0,
            lasted: Duration::ZERO,
        };
        in_vain.map(trial).collect()
    }

    async fn wait(&mut self, id: RecoveryId, plan: Plan, now: SystemTime) {
        let wait = self.config.policy.wait;
        self.withdraw(id).await;
        if let Some(case) = self.cases.get_mut(&id) {
            if case.wait_until.is_none() {
                case.wait_until = now.checked_add(wait);
            }
            case.unsure_since = None;
            case.refusals.clear();
            case.plan = Some(plan);
        }
    }

    /// A proposal that is no longer what the evidence says.
    pub(super) async fn withdraw(&mut self, id: RecoveryId) {
        let is_proposed = self
            .cases
            .get(&id)
            .is_some_and(|case| case.state == State::Proposed);
        if is_proposed && self.apply(id, Event::Withdraw) {
            self.save(id).await;
        }
    }

    async fn call_a_person(&mut self, id: RecoveryId, evidence: &Evidence, plan: Plan) {
        self.withdraw(id).await;
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let sentence = plan.sentence.clone();
        let has_tried = !case.tried.is_empty();
        case.refusals.clear();
        case.unsure_since = None;
        case.plan = Some(plan);
        let likeliest = evidence
            .suspects
            .first()
            .map(|suspect| suspect.unit.clone());
        // Nobody is suspected yet, or recovery was told to look on: then there is nothing to give up.
        let may_act = likeliest
            .as_ref()
            .is_some_and(|unit| self.tree.mode(unit) > Mode::Observe);
        if has_tried || may_act {
            let words = if has_tried {
                format!("all that was worth trying was tried; {sentence}")
            } else {
                sentence
            };
            self.give_up(id, likeliest, words).await;
        }
    }

    /// A restart is wanted: the guards decide what comes of it.
    async fn wants(&mut self, id: RecoveryId, evidence: &Evidence, plan: Plan, target: UnitName) {
        let cost = plan.cost();
        let (refusals, is_over) =
            self.objections(id, &target, Authority::Unattended, Some(evidence), cost);
        let is_observed = refusals.iter().any(|refusal| {
            refusal.guard == Guard::Mode && refusal.consequence == Consequence::Wait
        });
        let worst = refusals.iter().map(|refusal| refusal.consequence).max();
        let is_still_unsure = self.is_still_unsure(id, &refusals);
        match worst {
            None => {
                let reason = plan.sentence.clone();
                self.withdraw(id).await;
                self.hold(id, plan, Vec::new());
                // Where it fails, the ledger did, and has been told of.
                drop(
                    self.begin(id, target, Event::Lease, AUTO, &reason, cost)
                        .await,
                );
            }
            // Recovery was told to look on: it says what it would do, to nobody's alarm.
            Some(_) if is_observed => {
                self.withdraw(id).await;
                self.hold(id, plan, refusals);
            }
            Some(worst @ (Consequence::GiveUp | Consequence::HoldOff)) => {
                let words: Vec<&str> = refusals
                    .iter()
                    .filter(|refusal| refusal.consequence >= Consequence::HoldOff)
                    .map(|refusal| refusal.words.as_str())
                    .collect();
                let words = format!(
                    "{target} would have been restarted, but {}",
                    words.join("; ")
                );
                let storm = refusals.iter().find(|refusal| {
                    refusal.guard == Guard::Storm && refusal.consequence == Consequence::HoldOff
                });
                let storm = storm.cloned();
                self.withdraw(id).await;
                self.hold(id, plan, refusals);
                if let Some(case) = self.cases.get_mut(&id).filter(|_| storm.is_some()) {
                    // Given up or held off, it is as sick as the others.
                    case.held.in_storm = Some(target.clone());
                }
                match worst {
                    Consequence::HoldOff => self.hold_off(id, target, words).await,
                    _ => self.give_up(id, Some(target), words).await,
                }
                if let Some(storm) = storm {
                    self.hold_off_storm(&storm).await;
                }
            }
            Some(Consequence::Wait) => {
                // What waits for a person may go on waiting while a guard says "not yet", but not once
                // another restart was the cure.
                let is_proposed = !is_over && self.proposes(id, &plan.choice);
                if is_proposed {
                    if let Some(case) = self.cases.get_mut(&id) {
                        case.refusals = refusals;
                    }
                } else {
                    self.withdraw(id).await;
                    self.hold(id, plan, refusals);
                }
                self.tell_storm(id, target);
            }
            Some(Consequence::Ask) if is_still_unsure => self.hold(id, plan, refusals),
            Some(Consequence::Ask) => self.propose(id, plan, target, refusals).await,
        }
    }

    /// Whether a person would be asked for certainty, among others, which may yet come by itself.
    fn is_still_unsure(&mut self, id: RecoveryId, refusals: &[Refusal]) -> bool {
        let now = self.now();
        let Some(case) = self.cases.get_mut(&id) else {
            return false;
        };
        let is_doubt = |refusal: &Refusal| {
            matches!(
                refusal.guard,
                Guard::ThinEvidence | Guard::OneSided | Guard::Downstream
            )
        };
        if !refusals.iter().any(is_doubt) {
            case.unsure_since = None;
            return false;
        }
        let since = *case.unsure_since.get_or_insert(now);
        let lasted = now.duration_since(since).unwrap_or_default();
        case.state == State::Watching && lasted < guard::unsure_for(&self.policy)
    }

    /// Says once that a recovery waits for a storm to pass.
    fn tell_storm(&mut self, id: RecoveryId, target: UnitName) {
        let Some(case) = self.cases.get_mut(&id).filter(|case| !case.is_storm_told) else {
            return;
        };
        let mut refusals = case.refusals.iter();
        let storm = refusals.find(|refusal| refusal.guard == Guard::Storm);
        if let Some(storm) = storm {
            let words = format!("{target} is not restarted as long as {}", storm.words);
            case.is_storm_told = true;
            let incident = case.incident;
            self.notify(NoticeKind::Storm, incident, Some(target), words);
        }
    }

    pub(super) fn hold(&mut self, id: RecoveryId, plan: Plan, refusals: Vec<Refusal>) {
        if let Some(case) = self.cases.get_mut(&id) {
            case.plan = Some(plan);
            case.refusals = refusals;
        }
    }

    /// Whether this very thing waits for a person already.
    fn proposes(&self, id: RecoveryId, choice: &Choice) -> bool {
        self.cases.get(&id).is_some_and(|case| {
            case.state == State::Proposed
                && case
                    .plan
                    .as_ref()
                    .is_some_and(|plan| plan.choice == *choice)
        })
    }

    pub(super) async fn propose(
        &mut self,
        id: RecoveryId,
        mut plan: Plan,
        target: UnitName,
        refusals: Vec<Refusal>,
    ) {
        if self.proposes(id, &plan.choice) {
            // The same, on newer evidence: a person may be about to approve its number.
            if let Some(case) = self.cases.get_mut(&id) {
                plan.id = case.plan.as_ref().map(|plan| plan.id).unwrap_or_default();
                case.plan = Some(plan);
                case.refusals = refusals;
            }
            return;
        }
        self.withdraw(id).await;
        let Some(case) = self.cases.get(&id) else {
            return;
        };
        let (mark, incident) = (case.mark(), case.incident);
        if !self.apply(id, Event::Propose) {
            return;
        }
        let Some(entry) = self.cases.get(&id).map(Case::entry) else {
            return;
        };
        let written = plan.clone();
        match self
            .ledger
            .run(move |store| store.propose(&entry, &written))
            .await
        {
            Ok(number) => {
                plan.id = number;
                let text = format!("plan {number} waits for approval: {}", plan.sentence);
                if let Some(case) = self.cases.get_mut(&id) {
                    case.saved();
                }
                self.hold(id, plan, refusals);
                if self.is_news(id, &target) {
                    self.notify(NoticeKind::Proposal, incident, Some(target), text);
                }
            }
            Err(error) => {
                if let Some(case) = self.cases.get_mut(&id) {
                    case.go_back_to(mark);
                }
                self.hold(id, plan, refusals);
                self.ledger_failed(&error);
            }
        }
    }

    /// Whether people are to be told of a plan. During a pause they know that what lapses is made anew.
    fn is_news(&mut self, id: RecoveryId, target: &UnitName) -> bool {
        let now = self.now();
        let pause = self.pause.as_ref().filter(|pause| pause.holds(now));
        let told = pause.map(|pause| (pause.since, target.clone()));
        let Some(case) = self.cases.get_mut(&id) else {
            return true;
        };
        let is_known = told.is_some() && case.told_in_pause == told;
        case.told_in_pause = told;
        !is_known
    }

    /// On to a person: said, written, and not taken up again.
    pub(super) async fn give_up(&mut self, id: RecoveryId, unit: Option<UnitName>, words: String) {
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        case.given_up = Some(words.clone());
        let incident = case.incident;
        self.learn(id);
        self.notify(NoticeKind::GivenUp, incident, unit, words);
        self.end(id, Event::GiveUp).await;
    }

    /// The end, written together with what was learned.
    pub(super) async fn end(&mut self, id: RecoveryId, event: Event) {
        let Some(case) = self.cases.get(&id) else {
            return;
        };
        // A recovery that did nothing, and whose incident went away, is nothing to write down.
        if event == Event::IncidentClosed && !case.is_known {
            self.cases.remove(&id);
            return;
        }
        if self.apply(id, event) {
            self.save(id).await;
        }
    }
}
