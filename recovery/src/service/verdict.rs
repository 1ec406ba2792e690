//! From ready to a verdict, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rekindle_stats::{Probability, Share};

use super::RecoveryId;
use super::case::Case;
use super::engine::{Engine, Job, Work};
use crate::belief::Trial;
use crate::crash::CrashPoint;
use crate::evidence::{EXITED, OUT_OF_BOUNDS};
use crate::guard::capacity::stand_ins;
use crate::judge::{Judgement, Probed, Question, Siblings, Verdict, judge};
use crate::ledger::{Also, Judged};
use crate::lifecycle::{Event, State};
use crate::plan::traffic;
use crate::policy::Unclear;
use crate::ports::NoticeKind;
use crate::service::Tried;
use crate::spec::ProbeSpec;
use crate::{CohortQuery, Evidence, Fared, UnitName};

/// What can be asked of a unit, beside users' requests.
enum Ask {
    Probe(ProbeSpec),
    Running(UnitName),
    Bounds(UnitName),
}

/// So many failures since a restart are no straggler any more.
const FAILS_AGAIN: u64 = 3;
/// Over so long before the fault a type of requests shows how many of it fail usually: long enough for a few
/// of a rare type, and within what is remembered of requests.
const USUAL: Duration = Duration::from_secs(5 * 60);
/// A probe that says nothing for so long says no.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

const fn nobody(at: SystemTime) -> Fared {
    Fared::seen(0, 0, at)
}

/// Whether users' requests can tell of the fault's cure: they told of the fault, and all of them are told.
fn do_requests_tell(evidence: Option<&Evidence>) -> bool {
    evidence.is_some_and(|evidence| {
        !evidence.signature.request_types.is_empty() && !evidence.circumstances.sampled
    })
}

/// Faults that users' requests may not show: the operating system, or a question with a known
/// answer, told of them, and so can tell of their cure.
fn is_probes_matter(evidence: Option<&Evidence>) -> bool {
    evidence.is_none_or(|evidence| evidence.signature.is_seen_directly())
}

/// Over this time before a restart it is counted how many requests come.
const USUAL_RATE_OVER: Duration = Duration::from_secs(30);

impl Engine {
    /// Looks at an attempt that warms up or is judged.
    pub(super) async fn look_at_attempt(&mut self, id: RecoveryId) {
        let now = self.now();
        let policy = &self.config.policy;
        let (deadline, interval) = (policy.judge_deadline, policy.judge_interval);
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let Some(attempt) = &mut case.attempt else {
            return;
        };
        if case.state == State::Settling {
            if now < attempt.settle_until {
                return;
            }
            attempt.judge_until = now.checked_add(deadline).unwrap_or(now);
            attempt.next_look = now;
            let shadows: Vec<_> = attempt
                .parts
                .iter()
                .map(|part| {
                    (
                        part.action,
                        part.unit.clone(),
                        part.began(),
                        part.intended_at,
                    )
                })
                .collect();
            let (from, until) = (attempt.span().0, attempt.settle_until);
            for (action, unit, began, intended_at) in shadows {
                self.shadow(
                    action,
                    &unit,
                    began,
                    from.unwrap_or(intended_at),
                    Some(until),
                );
            }
            self.apply(id, Event::Settled);
            self.save(id).await;
        }
        let Some(attempt) = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
        else {
            return;
        };
        if now < attempt.next_look && now < attempt.judge_until {
            return;
        }
        attempt.next_look = now.checked_add(interval).unwrap_or(now);
        self.probe(id, now);
        let Some(question) = self.question(id, now) else {
            return;
        };
        let judgement = match judge(&question) {
            Judgement::Decided {
                verdict: Verdict::Cured,
                relief,
                ..
            } if !question.deadline && !self.outlives(id, now) => Judgement::Undecided(relief),
            judgement => judgement,
        };
        if question.deadline && self.is_given_more_time(id, &judgement, now) {
            return;
        }
        let Some(attempt) = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
        else {
            return;
        };
        attempt.before = Some(question.before);
        attempt.after = Some(question.after);
        match judgement {
            Judgement::Undecided(relief) => attempt.relief = relief,
            Judgement::Decided {
                verdict,
                relief,
                words,
            } => {
                attempt.relief = relief;
                let judged = Judged {
                    attempt: attempt.number,
                    at: now,
                    verdict,
                    relief,
                    failed_requests: self.failed_meanwhile(id),
                    words,
                };
                self.crash(CrashPoint::BeforeVerdict);
                if self.apply(id, Event::Judged(verdict)) {
                    self.conclude(id, judged).await;
                }
            }
        }
    }

    /// Where requests are too few until the deadline: whether the configuration has another way to find
    /// out than to ask a person.
    fn is_given_more_time(
        &mut self,
        id: RecoveryId,
        judgement: &Judgement,
        now: SystemTime,
    ) -> bool {
        let is_unclear = matches!(
            judgement,
            Judgement::Decided {
                verdict: Verdict::Unknown,
                ..
            }
        );
        let policy = &self.config.policy;
        let (unclear, deadline, longest) =
            (policy.unclear, policy.judge_deadline, policy.judge_longest);
        // As long as it may take to be right so many times in a row, and once more.
        let asking = policy.probe_interval * (policy.probes_in_a_row + 1) + PROBE_PATIENCE;
        let can_be_asked = self.cases.get(&id).is_some_and(|case| {
            case.attempt
                .as_ref()
                .is_some_and(|attempt| !attempt.by_probe)
                && !self.asks(case, true).is_empty()
        });
        let is_worth_waiting = self
            .cases
            .get(&id)
            .is_some_and(|case| do_requests_tell(case.acted_on.as_ref()));
        let Some(attempt) = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
        else {
            return false;
        };
        if !is_unclear || attempt.parts.is_empty() {
            return false;
        }
        let more = match unclear {
            Unclear::Ask => return false,
            // Requests that can't count never come, and the lease would be held for all of the time.
            Unclear::Wait if !is_worth_waiting => return false,
            Unclear::Wait => {
                let last = attempt.settle_until.checked_add(longest).unwrap_or(now);
                deadline.min(last.duration_since(now).unwrap_or_default())
            }
            Unclear::Probe if can_be_asked => {
                attempt.by_probe = true;
                attempt.probed = None;
                asking
            }
            Unclear::Probe => return false,
        };
        if more.is_zero() {
            return false;
        }
        attempt.judge_until = now.checked_add(more).unwrap_or(now);
        attempt.next_look = now;
        true
    }

    /// What the judge is asked at this time.
    fn question(&self, id: RecoveryId, now: SystemTime) -> Option<Question> {
        let case = self.cases.get(&id)?;
        let attempt = case.attempt.as_ref()?;
        let evidence = case.acted_on.as_ref();
        let policy = &self.config.policy;
        let mut question = Question {
            before: nobody(now),
            after: nobody(now),
            baseline: evidence.map_or(0.0, |evidence| evidence.baseline_failure_share),
            probed: attempt.probed,
            probes_in_a_row: policy.probes_in_a_row,
            by_probe: attempt.by_probe || is_probes_matter(evidence),
            strictness: policy.strictness,
            siblings: None,
            // What requests are to tell of is added below.
            has_fault: evidence.is_some_and(|evidence| evidence.signature.is_seen_directly()),
            deadline: now >= attempt.judge_until,
        };
        let Some(evidence) = evidence else {
            // A person's order that no incident explains: without anything to ask there is nothing
            // to wait for.
            question.deadline |= self.asks(case, attempt.by_probe).is_empty();
            return Some(question);
        };
        // Of a sample that keeps failures rather than successes, no share means anything.
        if evidence.circumstances.sampled {
            question.by_probe = true;
            question.has_fault = true;
            return Some(question);
        }
        // No request types: nobody's requests told of this fault, so they can't tell of its cure.
        if evidence.signature.request_types.is_empty() {
            return Some(question);
        }
        let stopped = attempt.span().0.unwrap_or(attempt.settle_until);
        // What happened right before the kill may have died with its exporter.
        let until = stopped
            .checked_sub(self.policy.exporter_delay)
            .filter(|until| *until > evidence.since)
            .unwrap_or(stopped);
        let fared = |request_types: &[String], from, until| {
            self.cohort.fared(&CohortQuery {
                request_types: request_types.to_vec(),
                from,
                until,
            })
        };
        // What failed before an earlier restart was another life's.
        let from = self
            .restarted_before(&attempt.target, stopped)
            .filter(|ready| *ready < until)
            .map_or(evidence.since, |ready| ready.max(evidence.since));
        // The incident may have been seen to be wider only after it was acted on. What failed more than it
        // usually does before the kill, too, tells as much of the cure as what was told first.
        let mut request_types = evidence.signature.request_types.clone();
        if let Some(latest) = &case.evidence {
            // What turned out to fail for another cause has an incident of its own.
            let stays = |name: &String| latest.signature.request_types.contains(name);
            if request_types.iter().any(stays) {
                request_types.retain(stays);
            }
        }
        let told = fared(&request_types, from, until);
        let mut requests = (told.ok + told.bad) as f64;
        let mut fail_anyway = question.baseline * requests;
        let usual_from = evidence.since.checked_sub(USUAL).unwrap_or(evidence.since);
        for latest in case.evidence.iter().filter(|latest| !latest.closed) {
            for joined in &latest.signature.request_types {
                let one = std::slice::from_ref(joined);
                if request_types.contains(joined) {
                    continue;
                }
                let seen = fared(one, from, until);
                let usual = fared(one, usual_from, evidence.since);
                let usual = Share::of(usual.bad, usual.ok).value().unwrap_or(0.0);
                if Share::of(seen.bad, seen.ok).lower_bound(Probability::P95) > usual {
                    request_types.push(joined.clone());
                    requests += (seen.ok + seen.bad) as f64;
                    fail_anyway += usual * (seen.ok + seen.bad) as f64;
                }
            }
        }
        if requests > 0.0 {
            question.baseline = fail_anyway / requests;
        }
        let ask = |from, until| fared(&request_types, from, until);
        question.before = ask(from, until);
        let hung = request_types
            .iter()
            .filter_map(|name| attempt.hanging.get(name));
        let hung = hung.sum::<u64>().min(question.before.bad);
        question.before.missing = question.before.missing.max(hung);
        question.has_fault = question.before.bad > 0 || evidence.failing_per_second > 0.0;
        question.after = ask(attempt.settle_until, now);
        // Where failing takes longer than answering, the good ones come first; only what is complete
        // can be compared.
        let is_slow = matches!(evidence.signature.shape.as_str(), "unanswered" | "slow");
        let complete = question.after.complete_until;
        if is_slow && complete < now {
            question.after = if complete > attempt.settle_until {
                ask(attempt.settle_until, complete)
            } else {
                nobody(complete)
            };
        }
        question.siblings = self.siblings(
            &attempt.target,
            &request_types,
            (from, until),
            (attempt.settle_until, now),
        );
        Some(question)
    }

    /// How many requests of each of a recovery's types should have come by now, and have not, since its fault or this life of
    /// the target began.
    pub(super) fn hanging(
        &self,
        id: RecoveryId,
        target: &UnitName,
        now: SystemTime,
    ) -> BTreeMap<String, u64> {
        let case = self.cases.get(&id);
        let Some(evidence) = case.and_then(|case| case.evidence.as_ref()) else {
            return BTreeMap::new();
        };
        let ready = self.restarted_before(target, now).filter(|it| *it < now);
        let from = ready.map_or(evidence.since, |ready| ready.max(evidence.since));
        let types = evidence.signature.request_types.iter().map(|name| {
            let fared = self.cohort.fared(&CohortQuery {
                request_types: vec![name.clone()],
                from,
                until: now,
            });
            (name.clone(), fared.missing)
        });
        types.collect()
    }

    /// How requests through the untouched units that stand in for this one fared, before and after.
    fn siblings(
        &self,
        target: &UnitName,
        request_types: &[String],
        before: (SystemTime, SystemTime),
        after: (SystemTime, SystemTime),
    ) -> Option<Siblings> {
        let is_touched = |unit: &UnitName| {
            self.past
                .iter()
                .any(|past| past.at >= before.0 && self.tree.touches(&past.target, unit))
        };
        let mut siblings = stand_ins(&self.tree, &self.config.policy.capacity, target);
        siblings.retain(|unit| !is_touched(unit));
        let sum = |(from, until)| {
            let query = CohortQuery {
                request_types: request_types.to_vec(),
                from,
                until,
            };
            let fared = siblings
                .iter()
                .filter_map(|unit| self.cohort.fared_through(&query, unit));
            fared.reduce(|sum, one| Fared {
                ok: sum.ok + one.ok,
                bad: sum.bad + one.bad,
                missing: sum.missing + one.missing,
                missing_error: sum.missing_error + one.missing_error,
                unheard: sum.unheard + one.unheard,
                complete_until: sum.complete_until.min(one.complete_until),
            })
        };
        let lasted = |(from, until): (SystemTime, SystemTime)| {
            until.duration_since(from).unwrap_or_default()
        };
        // What exporters and assembly hold back has come, but isn't counted yet: each waits about as long.
        let told = after.1.checked_sub(2 * self.policy.exporter_delay);
        let told = (after.0, told.unwrap_or(after.0).max(after.0));
        let carried = sum(told).map_or(0, |fared| fared.total());
        Some(Siblings {
            before: sum(before)?,
            before_for: lasted(before),
            after: sum(after)?,
            carry: (carried, lasted(told)),
            count: siblings.len(),
        })
    }

    /// When the last restart before this time of something that overlaps the unit had settled.
    pub(super) fn restarted_before(
        &self,
        unit: &UnitName,
        before: SystemTime,
    ) -> Option<SystemTime> {
        self.past
            .iter()
            .filter(|past| past.at < before && self.tree.overlap(&past.target, unit))
            .filter_map(|past| past.ready_at)
            .filter(|ready| *ready < before)
            .max()
            .and_then(|ready| ready.checked_add(self.config.policy.warm_up))
    }

    /// Whether it can be told that what ended by itself does so no more. Whose last life was short ran well at first, as it
    /// does now: it is no cure before it has lived for twice as long, or as long as judging may take. Whose last life was
    /// longer than that tells nothing in this time, and isn't waited for.
    fn outlives(&self, id: RecoveryId, now: SystemTime) -> bool {
        let case = self.cases.get(&id);
        let attempt = case.and_then(|case| case.attempt.as_ref());
        let evidence = case.and_then(|case| case.acted_on.as_ref());
        let lived = evidence.and_then(|evidence| evidence.circumstances.lived);
        let Some((attempt, lived)) = attempt.zip(lived) else {
            return true;
        };
        // Its start is a part of how long it lived.
        let began = attempt.span().0.unwrap_or(attempt.settle_until);
        let after = |times: u32| began.checked_add(lived.saturating_mul(times));
        after(1).is_none_or(|as_long| as_long >= attempt.judge_until)
            || after(2).is_none_or(|enough| now >= enough)
    }

    /// Whether requests that began since then show that the fault is there: failures above the
    /// baseline, and more than a stray one.
    pub(super) fn fails_since(&self, evidence: &Evidence, from: SystemTime) -> bool {
        let signature = &evidence.signature;
        if signature.request_types.is_empty() {
            // Seen directly: what ended again ended since; what is asked is asked again all the time.
            return signature.shape != EXITED || evidence.since >= from;
        }
        let fared = self.cohort.fared(&CohortQuery {
            request_types: signature.request_types.clone(),
            from,
            until: self.now(),
        });
        let failing = Share::of(fared.bad, fared.ok);
        fared.bad >= FAILS_AGAIN
            && failing.lower_bound(Probability::P95) > evidence.baseline_failure_share
    }

    /// Users' requests that failed from the kill to the end of the warm-up.
    fn failed_meanwhile(&self, id: RecoveryId) -> Option<f64> {
        let case = self.cases.get(&id)?;
        let attempt = case.attempt.as_ref()?;
        let evidence = case.acted_on.as_ref();
        let request_types = evidence.map(|evidence| evidence.signature.request_types.clone());
        let failed = self.cohort.failed(&CohortQuery {
            request_types: request_types.unwrap_or_default(),
            from: attempt.span().0?,
            until: attempt.settle_until,
        });
        Some(failed as f64)
    }

    /// What can be asked about the fault of this recovery.
    fn asks(&self, case: &Case, by_probe: bool) -> Vec<Ask> {
        let Some(attempt) = &case.attempt else {
            return Vec::new();
        };
        let mut units = vec![attempt.target.clone()];
        if let Some(evidence) = &case.acted_on {
            for suspect in &evidence.suspects {
                let is_accused = evidence.accuses(suspect, &attempt.target, &self.tree);
                if is_accused && !units.contains(&suspect.unit) {
                    units.push(suspect.unit.clone());
                }
            }
        }
        let is_suspect = |unit: &UnitName| {
            case.acted_on
                .iter()
                .flat_map(|evidence| &evidence.suspects)
                .any(|suspect| suspect.unit == *unit)
        };
        let matter = by_probe || is_probes_matter(case.acted_on.as_ref());
        let has_shape = |shape| {
            case.acted_on
                .as_ref()
                .is_some_and(|evidence| evidence.signature.shape == shape)
        };
        let (exited, out_of_bounds) = (has_shape(EXITED), has_shape(OUT_OF_BOUNDS));
        let mut asks = Vec::new();
        for unit in units {
            let Some(spec) = self.tree.spec(&unit) else {
                continue;
            };
            if out_of_bounds {
                // Being ready says nothing of figures, nor do the figures of a unit that isn't accused.
                if is_suspect(&unit) {
                    asks.push(Ask::Bounds(unit));
                }
                continue;
            }
            // Being ready is not being well; it only counts where nothing better can be asked.
            let probe = match (&spec.check, &spec.ready) {
                (Some(check), _) => Some(check),
                (None, ready) if matter => ready.as_ref(),
                _ => None,
            };
            asks.extend(probe.cloned().map(Ask::Probe));
            if exited {
                asks.push(Ask::Running(unit));
            }
        }
        asks
    }

    /// Asks, unless it was asked a moment ago or the answer is still out.
    fn probe(&mut self, id: RecoveryId, now: SystemTime) {
        let Some(case) = self.cases.get(&id) else {
            return;
        };
        let is_due = case
            .attempt
            .as_ref()
            .is_some_and(|attempt| !attempt.is_probing && now >= attempt.next_probe);
        if !is_due {
            return;
        }
        let by_probe = case
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.by_probe);
        let asks = self.asks(case, by_probe);
        if asks.is_empty() {
            return;
        }
        let interval = self.config.policy.probe_interval;
        if let Some(attempt) = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
        {
            attempt.is_probing = true;
            attempt.next_probe = now.checked_add(interval).unwrap_or(now);
        }
        let prober = self.config.prober.clone();
        self.spawn(Job::Probe(id), async move {
            let mut answer = None;
            for ask in &asks {
                let right = match ask {
                    Ask::Probe(spec) => {
                        let asked = tokio::time::timeout(PROBE_PATIENCE, prober.probe(spec)).await;
                        Some(matches!(asked, Ok(Ok(()))))
                    }
                    Ask::Running(unit) => {
                        let asked =
                            tokio::time::timeout(PROBE_PATIENCE, prober.running(unit)).await;
                        asked.unwrap_or(None)
                    }
                    Ask::Bounds(unit) => {
                        let asked =
                            tokio::time::timeout(PROBE_PATIENCE, prober.within_bounds(unit)).await;
                        asked.unwrap_or(None)
                    }
                };
                // One wrong answer is enough; what nobody can tell says nothing.
                answer = match (answer, right) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (None, None) => None,
                };
            }
            Work::Probed(id, answer)
        });
    }

    pub(super) fn probed(&mut self, id: RecoveryId, answer: Option<bool>) {
        let Some(attempt) = self
            .cases
            .get_mut(&id)
            .and_then(|case| case.attempt.as_mut())
        else {
            return;
        };
        attempt.is_probing = false;
        if let Some(right) = answer {
            attempt
                .probed
                .get_or_insert_with(Probed::default)
                .add(right);
        }
    }

    /// Writes a verdict, and does what follows from it. The recovery is in the verdict's state.
    pub(super) async fn conclude(&mut self, id: RecoveryId, judged: Judged) {
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let Some(attempt) = &case.attempt else {
            return;
        };
        let target = attempt.target.clone();
        let number = attempt.number;
        let began = attempt.parts.iter().map(|part| part.intended_at).min();
        let lasted = began.and_then(|began| judged.at.duration_since(began).ok());
        for part in &attempt.parts {
            let mut actions = Arc::make_mut(&mut self.actions).iter_mut();
            if let Some(view) = actions.find(|view| view.action == part.action) {
                view.verdict = Some(judged.verdict);
                view.relief = judged.relief;
                view.judged = Some(judged.words.clone());
                view.judged_at = Some(judged.at);
                view.failed_requests = judged.failed_requests;
            }
        }
        let past = self.past.iter_mut().rev().find(|past| past.recovery == id);
        if let Some(past) = past {
            past.verdict = Some(judged.verdict);
            past.failed_requests = judged.failed_requests.unwrap_or(past.failed_requests);
        }
        tracing::info!(
            recovery = %id, unit = %target, attempt = number, verdict = %judged.verdict,
            "{}", judged.words
        );
        case.tried.push(Tried {
            unit: target.clone(),
            verdict: judged.verdict,
            relief: judged.relief,
        });
        case.trials.extend(trial(
            &target,
            judged.verdict,
            judged.relief.map(|relief| relief.share),
            lasted.unwrap_or_default(),
        ));
        let is_over = case.state == State::Cured;
        case.write_also(Also::Verdict(judged));
        if is_over {
            self.learn(id);
            self.learn_price(id);
            self.tell_of_recurrence(id, &target);
        }
        self.save(id).await;
        self.crash(CrashPoint::AfterVerdict);
        self.follow(id).await;
    }

    /// Learns which share of a unit's requests its restart failed. Only from a cure: otherwise the fault went on
    /// failing them; and not from samples, which hide how many came.
    fn learn_price(&mut self, id: RecoveryId) {
        let now = self.now();
        let in_flight = self.config.policy.in_flight;
        let seen = self.cases.get(&id).and_then(|case| {
            let (attempt, evidence) = (case.attempt.as_ref()?, case.acted_on.as_ref()?);
            let (Some(stopped), Some(ready)) = attempt.span() else {
                return None;
            };
            let away = ready.duration_since(stopped).ok()? + in_flight;
            let is_told = do_requests_tell(Some(evidence));
            // Failures are counted of the incident's types alone, and only those can fail that pass through the unit.
            let before = self.cohort.fared(&CohortQuery {
                request_types: evidence.signature.request_types.clone(),
                from: stopped.checked_sub(USUAL_RATE_OVER)?,
                until: stopped,
            });
            let of_types = (before.ok + before.bad) as f64 / USUAL_RATE_OVER.as_secs_f64();
            let rate = traffic(evidence, &self.tree, &attempt.target).min(of_types);
            let would_have_come = rate * away.as_secs_f64();
            is_told.then(|| (attempt.target.clone(), would_have_come))
        });
        let Some(((target, would_have_come), failed)) = seen.zip(self.failed_meanwhile(id)) else {
            return;
        };
        let rows = self
            .costs
            .learn_failing(&self.tree, &target, failed, would_have_come, now);
        if let Some(case) = self.cases.get_mut(&id).filter(|_| !rows.is_empty()) {
            case.write_also(Also::Measured(rows));
        }
    }

    /// A cure that didn't last has to be known before recovery gives up on it: what is cured every ten
    /// minutes is broken every ten minutes.
    fn tell_of_recurrence(&mut self, id: RecoveryId, target: &UnitName) {
        let Some(case) = self.cases.get(&id) else {
            return;
        };
        let Some(evidence) = &case.acted_on else {
            return;
        };
        let around = self.surroundings();
        let cures = self
            .world(&around)
            .cures(target, &evidence.signature, self.now());
        if cures < 2 {
            return;
        }
        let policy = &self.config.policy;
        let minutes = policy.recurring_period.as_secs() / 60;
        let limit = policy.recurring_cures as usize;
        let then = match limit.checked_sub(cures) {
            None | Some(0) => "the next time it is left to a person".to_owned(),
            Some(1) => "after one more cure it is left to a person".to_owned(),
            Some(more) => format!("after {more} more cures it is left to a person"),
        };
        let text = format!(
            "restarting {target} cured this for the {} time in {minutes} min: its cause is elsewhere; {then}",
            nth(cures)
        );
        let incident = case.incident;
        self.notify(NoticeKind::Recurring, incident, Some(target.clone()), text);
    }

    /// What follows from a verdict: the end, the next level, or a person.
    pub(super) async fn follow(&mut self, id: RecoveryId) {
        let Some(case) = self.cases.get_mut(&id) else {
            return;
        };
        let target = case.attempt.as_ref().map(|attempt| attempt.target.clone());
        let is_closed = case
            .evidence
            .as_ref()
            .is_some_and(|evidence| evidence.closed);
        match case.state {
            State::NotDone | State::Helped | State::NotCured | State::Unknown => {}
            _ => return,
        }
        if case.incident.is_none() {
            self.end(id, Event::Close).await;
        } else if is_closed {
            self.learn(id);
            self.end(id, Event::IncidentClosed).await;
        } else if case.state == State::Unknown {
            let words = format!(
                "whether restarting {} helped can't be told, and it is not repeated unattended",
                target.as_ref().map_or("it", UnitName::as_str)
            );
            self.give_up(id, target, words).await;
        } else {
            // What an engine's end kept from being done can be done by the next.
            let is_resumed = case
                .attempt
                .as_ref()
                .is_some_and(|attempt| attempt.is_resumed);
            if case.state == State::NotDone && !is_resumed {
                Self::exclude_refused(case);
            }
            if self.apply(id, Event::Climb) {
                // What a person said was about the plan that was carried out.
                if let Some(case) = self.cases.get_mut(&id) {
                    case.decided = None;
                }
                self.save(id).await;
            }
        }
        if let Some(case) = self.cases.get_mut(&id) {
            case.attempt = None;
        }
    }
}

fn nth(number: usize) -> String {
    match number {
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        _ => format!("{number}th"),
    }
}

/// What a verdict says about the level that was tried; `None` when it says nothing.
pub(super) fn trial(
    unit: &UnitName,
    verdict: Verdict,
    relief: Option<f64>,
    lasted: Duration,
) -> Option<Trial> {
    let relief = match verdict {
        Verdict::Unknown => return None,
        Verdict::Cured => relief.unwrap_or(1.0),
        Verdict::Helped => relief.unwrap_or(0.5),
        Verdict::NotCured => relief.unwrap_or(0.0),
    };
    Some(Trial {
        unit: unit.clone(),
        relief,
        lasted,
    })
}
