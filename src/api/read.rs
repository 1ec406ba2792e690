//! What can be read: parts of the latest snapshot, each under its path.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use rekindle_model::TraceId;
use serde::{Deserialize, Serialize};

use super::problem::Segment;
use super::{ApiCommand, ApiState, Explanation, Problem, ProblemKind, Reply};
use crate::view::{
    ComponentView, IncidentView, LearnedView, PlanView, RankingView, RequestTypeView, StatusView,
    TraceView, UnitView, View,
};

/// Actions that `history` gives when nobody says how many.
const DEFAULT_HISTORY: usize = 50;

/// The most actions that one answer holds: a few hundred kilobytes.
const MAX_HISTORY: usize = 1000;

pub(super) async fn view(State(state): State<ApiState>) -> Json<View> {
    Json((*state.backend.view()).clone())
}

pub(super) async fn status(State(state): State<ApiState>) -> Json<StatusView> {
    Json(state.backend.view().status.clone())
}

pub(super) async fn components(State(state): State<ApiState>) -> Json<Vec<ComponentView>> {
    Json(state.backend.components())
}

pub(super) async fn request_types(State(state): State<ApiState>) -> Json<Vec<RequestTypeView>> {
    Json(state.backend.view().request_types.clone())
}

pub(super) async fn incidents(State(state): State<ApiState>) -> Json<Vec<IncidentView>> {
    Json(state.backend.view().incidents.clone())
}

pub(super) async fn incident(
    State(state): State<ApiState>,
    Segment(id): Segment,
) -> Result<Json<IncidentView>, Problem> {
    let id = number(&id, "incident")?;
    let view = state.backend.view();
    Ok(Json(
        view.incident(id)
            .ok_or_else(|| Problem::not_found(format!("there is no incident {id}")))?
            .clone(),
    ))
}

/// Which incident's suspects are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuspectsQuery {
    incident: Option<u64>,
}

/// The ranking of the incident, or of the current one.
pub(super) async fn suspects(
    State(state): State<ApiState>,
    query: Result<Query<SuspectsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RankingView>, Problem> {
    let Query(query) = query.map_err(|error| Problem::invalid(error.body_text()))?;
    let view = state.backend.view();
    let incident = match query.incident {
        Some(id) => view
            .incident(id)
            .ok_or_else(|| Problem::not_found(format!("there is no incident {id}")))?,
        None => view
            .current_incident()
            .ok_or_else(|| Problem::not_found("there has been no incident"))?,
    };
    let ranking = incident.ranking.as_ref().ok_or_else(|| {
        let why = match incident.closed {
            None => "has not been ranked yet",
            Some(_) => {
                "is over, and no ranking of it was kept: `rekindle analyze` ranks the stored spans of that time anew"
            }
        };
        Problem::not_found(format!("incident {} {why}", incident.id))
    })?;
    Ok(Json(ranking.clone()))
}

pub(super) async fn rejuvenation(
    State(state): State<ApiState>,
) -> Json<Vec<crate::view::RejuvenationView>> {
    Json(state.backend.view().rejuvenation.clone())
}

pub(super) async fn tree(State(state): State<ApiState>) -> Json<Vec<UnitView>> {
    Json(state.backend.view().tree.clone())
}

pub(super) async fn unit(
    State(state): State<ApiState>,
    Segment(name): Segment,
) -> Result<Json<UnitView>, Problem> {
    let view = state.backend.view();
    Ok(Json(known_unit(&view, &name)?.clone()))
}

pub(super) async fn plans(State(state): State<ApiState>) -> Json<Vec<PlanView>> {
    Json(state.backend.view().recovery.plans.clone())
}

pub(super) async fn plan(
    State(state): State<ApiState>,
    Segment(id): Segment,
) -> Result<Json<PlanView>, Problem> {
    let id = number(&id, "plan")?;
    let view = state.backend.view();
    Ok(Json(
        view.plan(id)
            .ok_or_else(|| Problem::not_found(format!("there is no plan {id}")))?
            .clone(),
    ))
}

/// How much of the past is asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// At most this many actions, newest first; 50 when absent, 1000 at most.
    pub limit: Option<usize>,
}

pub(super) async fn history(
    State(state): State<ApiState>,
    query: Result<Query<HistoryQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Reply>, Problem> {
    let Query(query) = query.map_err(|error| Problem::invalid(error.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_HISTORY);
    if !(1..=MAX_HISTORY).contains(&limit) {
        return Err(Problem::invalid(format!(
            "limit is {limit}; it must be between 1 and {MAX_HISTORY}"
        )));
    }
    Ok(Json(state.command(ApiCommand::History { limit }).await?))
}

/// All that was learned.
pub(super) async fn learned(State(state): State<ApiState>) -> Result<Json<LearnedView>, Problem> {
    match state.command(ApiCommand::Learned).await? {
        Reply::Learned(learned) => Ok(Json(*learned)),
        other => Err(Problem::new(
            ProblemKind::Internal,
            format!("the engine answered {other:?} to a question about what it learned"),
        )),
    }
}

pub(super) async fn trace(
    State(state): State<ApiState>,
    Segment(id): Segment,
) -> Result<Json<TraceView>, Problem> {
    Ok(Json(find_trace(&state, &id).await?))
}

/// The trace of this id, for the API and for its page.
pub(crate) async fn find_trace(state: &ApiState, id: &str) -> Result<TraceView, Problem> {
    let id: TraceId = id
        .parse()
        .map_err(|error: rekindle_model::ParseIdError| Problem::invalid(error.to_string()))?;
    state.backend.trace(id).await?.ok_or_else(|| {
        Problem::not_found(format!(
            "trace {id} is not kept: only examples of incidents and recent failures are, and what a \
             span store (`store.url`) holds"
        ))
    })
}

/// What is known about a suspect (by rank or name) or a unit.
pub(super) async fn explain(
    State(state): State<ApiState>,
    Segment(what): Segment,
) -> Result<Json<Explanation>, Problem> {
    let view = state.backend.view();
    let suspect = view.suspect(&what);
    let unit = match suspect {
        Some((_, suspect)) => suspect.unit.clone(),
        None => view.unit(&what).map(|unit| unit.name.clone()),
    };
    let mut explanation = Explanation {
        at: view.now,
        what: what.clone(),
        ..Explanation::default()
    };
    if let Some(unit) = &unit {
        match state.command(ApiCommand::ExplainUnit(unit.clone())).await? {
            Reply::Explanation(about_unit) => explanation = *about_unit,
            other => {
                return Err(Problem::new(
                    ProblemKind::Internal,
                    format!("the engine answered {other:?} to a question about a unit"),
                ));
            }
        }
        explanation.what = what;
    } else if suspect.is_none() {
        return Err(Problem::not_found(format!(
            "nothing named {what:?}: neither a suspect (by rank or name) nor a restart unit"
        )));
    }
    if let Some((incident, suspect)) = suspect {
        explanation.sentences.insert(0, suspect.sentence.clone());
        explanation.suspect = Some(suspect.clone());
        explanation.incident = Some(incident.clone());
    }
    if explanation.unit.is_none() {
        explanation.unit = unit.and_then(|name| view.unit(&name).cloned());
    }
    if let Some(unit) = &explanation.unit {
        let inferred = unit.inferred.iter();
        explanation.sentences.extend(
            inferred.map(|why| format!("nobody wrote this unit, which stands for others: {why}")),
        );
        explanation.sentences.extend(unit.why_it_fails());
        let others = view.tree.iter().filter(|other| other.name != unit.name);
        let taken_along = others.flat_map(|other| other.why_it_fails_with(&unit.name));
        explanation.sentences.extend(taken_along);
    }
    Ok(Json(explanation))
}

/// What there is to ask and to order, and what each is about.
const ENDPOINTS: [(&str, &str); 32] = [
    (
        "GET /api/v1/view",
        "everything that the page shows, as of one moment",
    ),
    ("GET /api/v1/status", "how Rekindle itself is"),
    ("GET /api/v1/request-types", "how users fare"),
    (
        "GET /api/v1/components",
        "all that telemetry shows: services, their parts, whom they call",
    ),
    ("GET /api/v1/incidents", "incidents, open ones first"),
    ("GET /api/v1/incidents/{id}", "one incident"),
    (
        "GET /api/v1/suspects",
        "the ranking of the current incident, or of ?incident={id}",
    ),
    (
        "GET /api/v1/explain/{what}",
        "a suspect (by rank or name) or a unit",
    ),
    (
        "GET /api/v1/traces/{id}",
        "an example, or any trace of the span store",
    ),
    ("GET /api/v1/tree", "the restart tree"),
    ("GET /api/v1/units/{unit}", "one unit of it"),
    (
        "GET /api/v1/rejuvenation",
        "what is restarted before it fails, and what that gave back",
    ),
    (
        "GET /api/v1/units/{unit}/availability",
        "200, or 503 with Retry-After while it is restarted",
    ),
    ("GET /api/v1/plans", "plans, live ones first"),
    ("GET /api/v1/plans/{id}", "one plan"),
    (
        "GET /api/v1/history",
        "past restarts, newest first; ?limit={number}",
    ),
    (
        "GET /api/v1/learned",
        "what was learned of cures and costs, as `restart.learned` takes it",
    ),
    (
        "GET /api/v1/post-mortems",
        "what was saved before restarts, newest first; ?incident={id}",
    ),
    (
        "GET /api/v1/post-mortems/{action}",
        "processes, log, traces and the command's output before one restart",
    ),
    ("POST /api/v1/plans/{id}/approve", "carry a plan out; {by}"),
    (
        "POST /api/v1/plans/{id}/reject",
        "drop a plan; {reason, by}",
    ),
    (
        "POST /api/v1/units/{unit}/restart",
        "restart a unit; {dry_run, reason, by}",
    ),
    (
        "POST /api/v1/units/{unit}/forget",
        "forget the unit's heartbeats and reports; {by}",
    ),
    (
        "POST /api/v1/pause",
        "restart nothing unattended; {reason, for (30m, or for_seconds), by}",
    ),
    ("POST /api/v1/resume", "end the pause; {by}"),
    (
        "POST /api/v1/outcomes",
        "how requests ended; {reporter, outcomes: [{trace_id, outcome, detail}]}",
    ),
    ("POST /api/v1/heartbeats", "a unit lives"),
    (
        "POST /api/v1/reports",
        "what somebody says about a unit or a request; {reporter, unit or trace_id, verdict, detail}",
    ),
    (
        "GET /api/v1/interventions",
        "what was done to the system, whose requests count for nobody",
    ),
    (
        "POST /api/v1/interventions",
        "what others did; {id, kind (deployment, scaling, restart), unit or target, from, until or over, reporter}",
    ),
    ("GET /-/healthy", "200 while the process serves"),
    (
        "GET /-/ready",
        "200 while telemetry is taken and something can be done about it",
    ),
];

/// The list of what there is.
pub(super) async fn endpoints() -> Json<BTreeMap<&'static str, &'static str>> {
    Json(BTreeMap::from(ENDPOINTS))
}

/// The answer of the health endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Rekindle's version.
    pub version: String,
}

fn well() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The process serves; nothing more is asked.
pub(super) async fn healthy() -> Json<Health> {
    well()
}

/// It takes telemetry and orders.
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    match state.backend.ready() {
        Ok(()) => well().into_response(),
        Err(reason) => Problem::new(ProblemKind::Busy, reason).into_response(),
    }
}

pub(crate) fn number(text: &str, what: &str) -> Result<u64, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is no {what}: expected its number")))
}

/// The unit of this name. If there is none, there may be one that is spelt like it.
pub(super) fn known_unit<'a>(view: &'a View, name: &str) -> Result<&'a UnitView, Problem> {
    view.unit(name).ok_or_else(|| no_unit(view, name))
}

fn no_unit(view: &View, name: &str) -> Problem {
    let names = view.tree.iter().map(|unit| unit.name.as_str());
    let hint = match crate::nearest::nearest(name, names) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => String::new(),
    };
    Problem::not_found(format!("there is no restart unit {name:?}{hint}"))
}
