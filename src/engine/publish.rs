//! From the engine's own types to what is shown: pure, so that it can be tested without an engine.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_analysis::rank::facts;
use rekindle_analysis::{
    Analyzer, Caller, ClosingReason, Component, Incident, Ranking, RequestTypeSummary, Standing,
    Suspect, Verdict,
};
use rekindle_model::{Life, Outcome, Span, SpanKind, Status, Trace, UnixNanos};
use rekindle_recovery::guard::Refusal;
use rekindle_recovery::judge;
use rekindle_recovery::ledger;
use rekindle_recovery::lifecycle::State;
use rekindle_recovery::plan::{Candidate, Choice};
use rekindle_recovery::service::{self, RecoveryStatus};
use rekindle_recovery::{RestartTree, UnitName};

use super::mapping;
use crate::view::{
    ActionResult, ActionView, AlternativeView, BudgetView, ComponentView, ExecutorKind, FactView,
    IncidentState, IncidentView, MaskedView, PlanState, PlanView, RankingVerdict, RankingView,
    RatePointView, RecoveryView, ReliefView, RequestTypeView, SampledView, Shape, ShareView,
    SpanView, StepView, SuspectView, SuspicionView, TraceView, UnitState, UnitView, UtcTime,
    VerdictView,
};

/// How many points of a request type's history are shown: two minutes of one-second slices, which
/// is what a chart of a page's width can hold.
const SERIES_POINTS: usize = 120;

/// How far back "now" reaches at least. Longer mixes what was before a fault with what is since, and
/// is believed less than what users say.
const NOW: Duration = Duration::from_secs(5);

/// "Now" reaches back to so many requests where they come slowly: of fewer, a share says little.
const NOW_REQUESTS: u64 = 20;

/// The largest number of spans that a waterfall shows; a page of more helps nobody.
const WATERFALL_SPANS: usize = 500;

/// Why nothing is restarted for failures that users don't see.
const MASKED_IS_LEFT_ALONE: &str = "no user sees these failures: a retry or a fallback hides them. A restart would fail requests \
     and save none, so none is made or planned unattended; `rekindle restart UNIT` makes one";

/// One request type.
pub(crate) fn request_type(
    summary: &RequestTypeSummary,
    analyzer: &Analyzer,
    now: UnixNanos,
) -> RequestTypeView {
    let recent = analyzer.series(&summary.request_type, SERIES_POINTS);
    let slice_ms = u64::try_from(analyzer.config().slice.as_millis()).unwrap_or(u64::MAX);
    let (mut ok, mut bad) = (0, 0);
    let mut from = now.minus(NOW);
    for point in recent.iter().rev() {
        if point.at < now.minus(NOW) && ok + bad >= NOW_REQUESTS {
            break;
        }
        from = from.min(point.at);
        ok += point.ok;
        bad += point.bad;
    }
    RequestTypeView {
        name: summary.request_type.to_string(),
        failing: fails(summary, analyzer),
        rate_per_s: summary.per_second,
        failure_share: share(bad, ok + bad),
        sampled: sampled(summary.standing),
        now_ms: u64::try_from(now.since(from).as_millis()).unwrap_or(u64::MAX),
        baseline: Some(summary.baseline_failure_share),
        usual: usual(summary, analyzer, from),
        unheard_since: None,
        masked: masked(summary),
        slice_ms,
        series: recent
            .iter()
            .map(|point| RatePointView {
                at: point.at.into(),
                ok: point.ok,
                bad: point.bad,
            })
            .collect(),
    }
}

/// What its users don't see; nothing where nothing was hidden.
fn masked(summary: &RequestTypeSummary) -> Option<MaskedView> {
    let masked = &summary.masked;
    if masked.masked == 0 && masked.calls_again == 0 {
        return None;
    }
    Some(MaskedView {
        share: share(masked.masked, masked.requests)?,
        usual: masked.usual,
        still_hidden: share(masked.masked, masked.masked + masked.failed),
        again_per_request: masked.again_per_request().unwrap_or(0.0),
        rising: masked.incident.is_some(),
    })
}

/// Whether it is part of an incident whose requests aren't well again.
fn fails(summary: &RequestTypeSummary, analyzer: &Analyzer) -> bool {
    let mut incidents = analyzer.incidents().iter();
    summary.incident.is_some_and(|id| {
        let incident = incidents.find(|incident| incident.id == id);
        incident.is_none_or(|incident| incident.well_since.is_none())
    })
}

/// What samplers make of the counts.
fn sampled(standing: Standing) -> Option<SampledView> {
    match standing {
        Standing::Themselves => None,
        Standing::Unknown => Some(SampledView::default()),
        Standing::Estimate {
            per_second,
            failure_share,
        } => Some(SampledView {
            rate_per_s: Some(per_second),
            failure_share,
        }),
    }
}

/// What failed of a type up to here, without what failed in incidents and what is set apart.
fn usual(summary: &RequestTypeSummary, analyzer: &Analyzer, until: UnixNanos) -> Option<ShareView> {
    let types = [summary.request_type.clone()];
    let (mut ok, mut bad) = analyzer.fared_as_usual(&types, UnixNanos(0), until);
    let incidents = analyzer.incidents().iter();
    for incident in incidents.filter(|one| one.request_types.contains(&summary.request_type)) {
        let end = incident
            .closed
            .map_or(until, |closing| closing.at.min(until));
        if incident.since < end {
            let within = analyzer.fared_as_usual(&types, incident.since, end);
            ok = ok.saturating_sub(within.0);
            bad = bad.saturating_sub(within.1);
        }
    }
    share(bad, ok + bad)
}

/// A share with its Wilson interval; nothing of nothing.
fn share(count: u64, total: u64) -> Option<ShareView> {
    let share = rekindle_stats::Share::new(count, total).ok()?;
    let interval = share.wilson(rekindle_stats::Probability::P95);
    Some(ShareView {
        count,
        total,
        share: share.value()?,
        low: interval.low,
        high: interval.high,
    })
}

/// One incident with its ranking.
pub(crate) fn incident(
    public_id: u64,
    incident: &Incident,
    ranking: Option<&Ranking>,
    tree: &RestartTree,
    status: &RecoveryStatus,
) -> IncidentView {
    IncidentView {
        id: public_id,
        state: if incident.is_open() {
            IncidentState::Open
        } else {
            IncidentState::Closed
        },
        opened: incident.opened_at.into(),
        since: incident.since.into(),
        closed: incident.closed.map(|closing| closing.at.into()),
        ended: match incident.closed.map(|closing| closing.reason) {
            Some(ClosingReason::Silent) => {
                String::from("no request of these types came any more, so nobody knows")
            }
            // Under which number people know the other, the engine says.
            Some(ClosingReason::Joined(_) | ClosingReason::Recovered) | None => String::new(),
        },
        request_types: incident
            .request_types
            .iter()
            .map(ToString::to_string)
            .collect(),
        masked: incident.masked,
        left_alone: match incident.masked {
            true => MASKED_IS_LEFT_ALONE.to_owned(),
            false => String::new(),
        },
        failed: incident.bad,
        missing: incident.missing as u64,
        ok: incident.ok,
        well_since: incident.well_since.map(Into::into),
        ranking: ranking.map(|ranking| self::ranking(public_id, ranking, tree)),
        plans: plans_of(public_id, status),
        actions: actions_of(public_id, status),
    }
}

pub(crate) fn plans_of(incident: u64, status: &RecoveryStatus) -> Vec<u64> {
    status
        .recoveries
        .iter()
        .rev()
        .chain(status.finished.iter())
        .filter(|recovery| recovery.incident == Some(incident))
        .filter_map(|recovery| recovery.plan.as_ref().map(|plan| plan.id.0))
        // What nobody is asked about has no number.
        .filter(|plan| *plan > 0)
        .collect()
}

pub(crate) fn actions_of(incident: u64, status: &RecoveryStatus) -> Vec<u64> {
    status
        .recent
        .iter()
        .filter(|action| action.incident == Some(incident))
        .map(|action| action.action.0)
        .collect()
}

/// A ranking.
pub(crate) fn ranking(public_id: u64, ranking: &Ranking, tree: &RestartTree) -> RankingView {
    RankingView {
        incident: public_id,
        at: ranking.at.into(),
        cut: ranking.cut,
        verdict: match &ranking.verdict {
            Verdict::Enough => RankingVerdict::Enough,
            Verdict::NotEnough { missing } => RankingVerdict::NotEnough {
                missing: missing.clone(),
            },
        },
        suspects: ranking
            .suspects
            .iter()
            .enumerate()
            .map(|(index, suspect)| self::suspect(index + 1, ranking, suspect, tree))
            .collect(),
        left_out: ranking
            .left_out
            .iter()
            .map(|(reason, count)| (reason_words(&reason), count))
            .collect(),
    }
}

/// The name that serde gives a reason, which is the one that people configure and search by.
pub(crate) fn reason_words<T: serde::Serialize>(reason: &T) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::from("unnamed"),
    }
}

fn suspect(rank: usize, ranking: &Ranking, suspect: &Suspect, tree: &RestartTree) -> SuspectView {
    let evidence = &suspect.evidence;
    let shown = |count, total, interval: &rekindle_analysis::ShareInterval| ShareView {
        count,
        total,
        share: interval.share,
        low: interval.low,
        high: interval.high,
    };
    SuspectView {
        rank,
        components: suspect.components.iter().map(component).collect(),
        attributes: suspect
            .attributes
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        unit: mapping::unit_of(suspect, tree).map(|unit| unit.to_string()),
        score: suspect.score,
        confidence: ranking.confidence(suspect),
        shape: match suspect.shape {
            rekindle_analysis::Shape::Raised => Shape::Raised,
            rekindle_analysis::Shape::Unanswered => Shape::Unanswered,
            rekindle_analysis::Shape::Slow => Shape::Slow,
            rekindle_analysis::Shape::WrongAnswer => Shape::WrongAnswer,
        },
        error_type: suspect.error_type.as_ref().map(ToString::to_string),
        failed: shown(
            evidence.failed_touching,
            evidence.failed_total,
            &evidence.failed_share,
        ),
        ok: shown(evidence.ok_touching, evidence.ok_total, &evidence.ok_share),
        originated: evidence.originated,
        callers: suspect.callers.iter().map(caller).collect(),
        examples_failed: suspect
            .examples
            .failed
            .iter()
            .map(ToString::to_string)
            .collect(),
        examples_ok: suspect
            .examples
            .ok
            .iter()
            .map(ToString::to_string)
            .collect(),
        sentence: suspect.sentence.clone(),
        facts: facts(suspect)
            .into_iter()
            .map(|fact| FactView {
                what: fact.what,
                found: fact.found,
            })
            .collect(),
        explanation: Some(suspect.explanation.clone()),
    }
}

/// Who complains. What was reported over the API is marked, so that nobody passes for a probe; people
/// need not see that.
fn caller(caller: &Caller) -> String {
    match caller {
        Caller::Component(name) => name.to_string(),
        Caller::Reporter(name) => name.strip_prefix("api ").unwrap_or(name).to_owned(),
    }
}

/// The restart tree. `incidents` are those that are shown, for who is suspected in which.
pub(crate) fn units(
    tree: &RestartTree,
    status: &RecoveryStatus,
    incidents: &[IncidentView],
) -> Vec<UnitView> {
    let mut suspicions: BTreeMap<&str, Vec<SuspicionView>> = BTreeMap::new();
    for incident in incidents
        .iter()
        .filter(|incident| incident.state == IncidentState::Open)
    {
        for suspect in incident
            .ranking
            .iter()
            .flat_map(|ranking| &ranking.suspects)
        {
            if let Some(unit) = &suspect.unit {
                suspicions.entry(unit).or_default().push(SuspicionView {
                    incident: incident.id,
                    rank: suspect.rank,
                    confidence: suspect.confidence,
                });
            }
        }
    }
    status
        .units
        .iter()
        .map(|unit| UnitView {
            name: unit.unit.to_string(),
            parent: unit.parent.as_ref().map(ToString::to_string),
            depth: unit.depth,
            mode: unit.mode,
            executor: ExecutorKind::named(&unit.executor),
            // What stands for others matches nothing itself.
            selector: match unit.group {
                Some(_) => BTreeMap::new(),
                None => tree.selector(&unit.unit).cloned().unwrap_or_default(),
            },
            inferred: unit.group.as_ref().map(|group| group.why.clone()),
            generation: unit.generation,
            state: match unit.state {
                service::UnitState::Quiet
                | service::UnitState::Suspected
                | service::UnitState::Proposed => UnitState::Unknown,
                service::UnitState::Restarting => UnitState::Restarting,
                service::UnitState::Judging => UnitState::Judging,
                service::UnitState::HeldOff => UnitState::HeldOff,
                service::UnitState::GivenUp => UnitState::GivenUp,
            },
            note: match unit.state {
                service::UnitState::Suspected => String::from("suspected"),
                service::UnitState::Proposed => String::from("its restart waits for approval"),
                _ => String::new(),
            },
            downtime_ms: u64::try_from(unit.expected_downtime.as_millis()).ok(),
            downtime_mostly_ms: u64::try_from(unit.downtime_mostly.as_millis()).ok(),
            cure_probability: cure_probability(&unit.unit, status),
            last_action: unit.last_action.as_ref().map(|action| action.action.0),
            suspicions: suspicions.remove(unit.unit.as_str()).unwrap_or_default(),
            ..UnitView::default()
        })
        .collect()
}

/// Something that telemetry shows.
pub(crate) fn component(component: &Component) -> ComponentView {
    ComponentView {
        level: mapping::level_view(component.level),
        service: component.service.to_string(),
        name: component.name.to_string(),
    }
}

/// How likely the unit's restart cures what is being worked on, as the newest plan weighs it; `None`
/// where no plan does. What is believed of other faults is told by `explain`.
fn cure_probability(unit: &UnitName, status: &RecoveryStatus) -> Option<f64> {
    let restart = Choice::Restart(unit.clone());
    let mut plans = status
        .recoveries
        .iter()
        .rev()
        .filter_map(|recovery| recovery.plan.as_ref());
    plans.find_map(|plan| {
        let mut candidates = plan.candidates.iter();
        let weighed = candidates.find(|candidate| candidate.choice == restart)?;
        Some(weighed.probability)
    })
}

/// Plans, actions and budgets.
pub(crate) fn recovery(status: &RecoveryStatus) -> RecoveryView {
    RecoveryView {
        plans: status
            .recoveries
            .iter()
            .rev()
            .chain(status.finished.iter())
            .filter_map(|recovery| plan(recovery, status))
            .collect(),
        actions: status.recent.iter().map(action).collect(),
        budget: budget(status),
    }
}

fn budget(status: &RecoveryStatus) -> Option<BudgetView> {
    let of = |name: &str| status.budgets.iter().find(|budget| budget.name == name);
    let restarts = of("all restarts")?;
    let failed = of("failed requests")?;
    Some(BudgetView {
        restarts_used: restarts.spent as u64,
        restarts: restarts.limit as u64,
        failed_requests_used: failed.spent.ceil() as u64,
        failed_requests: failed.limit as u64,
        per_ms: u64::try_from(restarts.period.as_millis()).unwrap_or(u64::MAX),
    })
}

fn plan(recovery: &service::RecoveryView, status: &RecoveryStatus) -> Option<PlanView> {
    let acted = || {
        let actions = status.recent.iter().rev();
        let own = actions.filter(|action| action.recovery == recovery.recovery);
        own.map(|action| action.action.0).collect()
    };
    let Some(plan) = recovery.plan.as_ref() else {
        // What it would have done wasn't written down; that it was left to people, and why, was.
        let given_up = recovery.given_up.clone()?;
        return Some(PlanView {
            recovery: recovery.recovery.0,
            incident: recovery.incident.unwrap_or(0),
            state: PlanState::GivenUp,
            created: recovery.since.into(),
            actions: acted(),
            decided: recovery.decided.clone(),
            given_up: Some(given_up),
            ..PlanView::default()
        });
    };
    let expires = status
        .proposals
        .iter()
        .find(|proposal| proposal.plan == plan.id)
        .map(|proposal| proposal.expires_at);
    let of = |choice: &Choice| plan.candidates.iter().find(|other| other.choice == *choice);
    // Every ladder ends with a person; that is no step of it.
    let step = |choice: &Choice| match choice {
        Choice::Restart(unit) => Some(StepView {
            unit: unit.to_string(),
            probability: of(choice).map_or(0.0, |candidate| candidate.probability),
            expected_cost: tenths(of(choice).map_or(0.0, |candidate| candidate.cost)),
            usual_cost: of(choice)
                .and_then(|candidate| candidate.cost_usually)
                .map(|(low, high)| (tenths(low), tenths(high))),
        }),
        _ => None,
    };
    Some(PlanView {
        id: plan.id.0,
        recovery: recovery.recovery.0,
        incident: plan.incident.unwrap_or(0),
        state: plan_state(recovery.state, !recovery.refusals.is_empty(), &plan.choice),
        created: plan.at.into(),
        expires: expires.map(Into::into),
        reason: plan.sentence.clone(),
        steps: plan.ladder.iter().filter_map(step).collect(),
        at_step: plan
            .ladder
            .iter()
            .position(|choice| matches!((choice, &recovery.target), (Choice::Restart(unit), Some(target)) if unit == target)),
        alternatives: plan
            .candidates
            .iter()
            .filter(|candidate| !candidate.chosen)
            .map(alternative)
            .collect(),
        guards: gravest_first(&recovery.refusals),
        actions: acted(),
        decided: recovery.decided.clone(),
        given_up: recovery.given_up.clone(),
    })
}

/// What the guards said. Headlines have room for the first.
fn gravest_first(refusals: &[Refusal]) -> Vec<String> {
    let mut sorted: Vec<&Refusal> = refusals.iter().collect();
    sorted.sort_by_key(|refusal| Reverse(refusal.consequence));
    sorted.iter().map(ToString::to_string).collect()
}

/// An expected number of requests, to tenths: more digits would claim to know it better.
pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn alternative(candidate: &Candidate) -> AlternativeView {
    AlternativeView {
        what: candidate.choice.to_string(),
        expected_cost: tenths(candidate.expected_total),
        why_not: candidate.reason.clone(),
    }
}

fn plan_state(state: State, refused: bool, choice: &Choice) -> PlanState {
    match state {
        State::Proposed => PlanState::Proposed,
        State::Watching if refused => PlanState::Vetoed,
        State::Watching if *choice == Choice::Wait => PlanState::Waiting,
        State::Watching if *choice == Choice::Human => PlanState::Hopeless,
        State::Watching | State::Leased => PlanState::Leased,
        State::Committed => PlanState::Committed,
        State::Acting => PlanState::Acting,
        State::Settling => PlanState::Settling,
        State::Judging => PlanState::Judging,
        State::Cured => PlanState::Cured,
        State::NotDone | State::Helped | State::NotCured => PlanState::NotCured,
        State::Unknown => PlanState::Unknown,
        State::Rejected => PlanState::Rejected,
        State::Lapsed | State::Closed => PlanState::Expired,
        State::HeldOff => PlanState::HeldOff,
        State::GivenUp => PlanState::GivenUp,
    }
}

/// One action.
pub(crate) fn action(action: &service::ActionView) -> ActionView {
    let took = |from: std::time::SystemTime, to: std::time::SystemTime| {
        u64::try_from(to.duration_since(from).unwrap_or_default().as_millis()).ok()
    };
    let result = action.outcome.as_ref().map(|outcome| match outcome {
        ledger::Outcome::Done { .. } => ActionResult::Done,
        ledger::Outcome::Refused { .. } => ActionResult::Refused,
        ledger::Outcome::NotReady { .. } => ActionResult::NotReady,
        ledger::Outcome::Unknown { .. } => ActionResult::Unknown,
    });
    let said = action.outcome.as_ref().map(ledger::Outcome::words);
    ActionView {
        id: action.action.0,
        unit: action.unit.to_string(),
        target: action.target.to_string(),
        // What was refused began no life.
        generation: match result {
            Some(ActionResult::Refused) => 0,
            _ => action.generation,
        },
        incident: action.incident,
        who: action.by.clone(),
        why: action.reason.clone(),
        began: action.began.map(Into::into),
        intent_at: action.intended_at.into(),
        acting_at: action.stopped_at.map(Into::into),
        result_at: action.ready_at.map(Into::into),
        result,
        downtime_ms: action
            .stopped_at
            .zip(action.ready_at)
            .and_then(|(from, to)| took(from, to)),
        failed_meanwhile: action.failed_requests.map(|failed| failed.round() as u64),
        relief: action.relief.map(|relief| ReliefView {
            drop: relief.drop,
            low: relief.drop_low,
            high: relief.drop_high,
        }),
        verdict: action.verdict.map(|verdict| match verdict {
            judge::Verdict::Cured => VerdictView::Cured,
            judge::Verdict::Helped => VerdictView::Helped,
            judge::Verdict::NotCured => VerdictView::NotCured,
            judge::Verdict::Unknown => VerdictView::Unknown,
        }),
        judged_at: action.judged_at.map(Into::into),
        recovery: action.recovery.0,
        plan: action.plan.map(|plan| plan.0).filter(|plan| *plan > 0),
        result_words: match result {
            Some(ActionResult::Done) | None => None,
            Some(_) => said.clone(),
        },
        note: [said.as_deref(), action.judged.as_deref()]
            .into_iter()
            .flatten()
            .filter(|words| !words.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// A trace as a waterfall, depth first, each span below the one that caused it.
pub(crate) fn trace(trace: &Trace, request_type: String, outcome: Outcome) -> TraceView {
    let spans = trace.spans();
    let began = spans[0].start;
    let end = spans.iter().map(|span| span.end).max().unwrap_or(began);
    let mut shown = Vec::new();
    let tops = (0..spans.len()).filter(|index| trace.parent(*index).is_none());
    let mut stack: Vec<(usize, usize)> = tops.map(|index| (index, 0)).collect();
    stack.reverse();
    while let Some((index, depth)) = stack.pop() {
        if shown.len() == WATERFALL_SPANS {
            break;
        }
        shown.push(span_view(trace, index, depth, began));
        stack.extend(
            trace
                .children(index)
                .iter()
                .rev()
                .map(|child| (*child, depth + 1)),
        );
    }
    let note = if shown.len() < spans.len() {
        format!("{} of {} spans are shown", shown.len(), spans.len())
    } else {
        String::new()
    };
    TraceView {
        id: trace.trace_id().to_string(),
        request_type,
        outcome,
        began: began.into(),
        duration_us: end.since(began).as_micros() as u64,
        spans: shown,
        note,
        compare: None,
    }
}

/// Whether the span itself says that it failed.
fn says_failed(span: &Span) -> bool {
    span.status == Status::Error
        || span.facts.error_type.is_some()
        || span.facts.http_status.is_some_and(|status| status >= 500)
}

fn span_view(
    trace: &Trace,
    index: usize,
    depth: usize,
    began: rekindle_model::UnixNanos,
) -> SpanView {
    let span = &trace.spans()[index];
    let failed = says_failed(span);
    let life = Life::told_by(span);
    let error = span
        .facts
        .error_type
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| {
            span.status_message
                .as_ref()
                .filter(|_| failed)
                .map(ToString::to_string)
        });
    SpanView {
        id: span.span_id.to_string(),
        depth,
        service: span.resource.service.to_string(),
        component: span.facts.code_component.as_ref().map(ToString::to_string),
        instance: span.resource.instance.as_ref().map(ToString::to_string),
        generation: life.part.or(life.process),
        operation: span.name.to_string(),
        kind: match span.kind {
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        }
        .to_owned(),
        offset_us: span.start.since(began).as_micros() as u64,
        duration_us: span.duration().as_micros() as u64,
        failed,
        error,
        raised: failed
            && !trace
                .children(index)
                .iter()
                .any(|child| says_failed(&trace.spans()[*child])),
        orphan: span.parent_id.is_some() && trace.parent(index).is_none(),
    }
}

/// A time for the view, from the standard library's.
pub(crate) fn utc(time: std::time::SystemTime) -> UtcTime {
    time.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_restart_is_said_before_what_only_asks() {
        let refusals: Vec<Refusal> = serde_json::from_value(serde_json::json!([
            { "guard": "mode", "consequence": "ask", "words": "mode", "until": null },
            { "guard": "backoff", "consequence": "wait", "words": "backoff", "until": null },
            { "guard": "storm", "consequence": "hold_off", "words": "storm", "until": null },
            { "guard": "untold", "consequence": "wait", "words": "untold", "until": null },
        ]))
        .expect("refusals");
        let said = gravest_first(&refusals);
        assert_eq!(said, ["storm", "backoff", "untold", "mode"]);
    }

    #[test]
    fn every_kind_of_executor_keeps_its_name() {
        for kind in ExecutorKind::ALL {
            assert_eq!(ExecutorKind::named(kind.as_str()), Some(*kind));
        }
        for word in [
            "process",
            "http",
            "command",
            "docker",
            "kubernetes",
            "parts",
        ] {
            assert!(ExecutorKind::named(word).is_some(), "{word}");
        }
        assert_eq!(ExecutorKind::named("telepathy"), None);
    }
}
