//! What can be ordered. Bodies are JSON; what is missing in them is said by name.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use rekindle_model::TraceId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::problem::Segment;
use super::read::{known_unit, number};
use super::said::reporter;
use super::{ApiCommand, ApiState, OutcomeWord, Problem, ProblemKind, Reply, ReportedOutcome};

/// Whom an order is from when it doesn't say.
const SOMEBODY: &str = "api";

/// Longer words are cut off here: they go into ledger and pages for good.
const MAX_WORDS: usize = 500;

/// The longest pause that ends by itself: 30 days. Longer is a configuration, not a pause.
const MAX_PAUSE_SECONDS: f64 = 30.0 * 86_400.0;

/// The most reports in one request: what the body may hold when each says its reason in some words.
const MAX_OUTCOMES: usize = 2000;

/// Who the pages say gives an order.
pub const fn by_page() -> &'static str {
    "web page"
}

/// Approval of a plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApproveBody {
    /// Who approves.
    pub by: Option<String>,
}

/// Rejection of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectBody {
    /// Why.
    pub reason: String,
    /// Who rejects.
    #[serde(default)]
    pub by: Option<String>,
}

/// The order to restart a unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestartBody {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Why.
    pub reason: Option<String>,
    /// Who wants it.
    pub by: Option<String>,
}

/// The order to forget what was said of a unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForgetBody {
    /// Who says so.
    pub by: Option<String>,
}

/// The order to restart nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// Why.
    pub reason: String,
    /// For how many seconds; until someone resumes when absent.
    #[serde(default)]
    pub for_seconds: Option<f64>,
    /// The same with a unit, as in `30m`. Only one of both may be said.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub by: Option<String>,
}

/// The end of a pause.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResumeBody {
    /// Who says so.
    pub by: Option<String>,
}

/// How requests ended in the eyes of somebody outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomesBody {
    /// Who says so; may be left out by who has a token, which names it.
    #[serde(default)]
    pub reporter: String,
    /// One per request; at most 2000.
    pub outcomes: Vec<OutcomeBody>,
}

/// How one request ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeBody {
    /// The request.
    pub trace_id: String,
    /// How it ended.
    pub outcome: OutcomeWord,
    /// What was wrong.
    #[serde(default)]
    pub detail: Option<String>,
}

pub(super) type Body = Result<Bytes, BytesRejection>;

pub(super) async fn approve(
    State(state): State<ApiState>,
    Segment(plan): Segment,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let plan = number(&plan, "plan")?;
    let body: ApproveBody = parse_or_default(body)?;
    give(
        &state,
        ApiCommand::Approve {
            plan,
            by: by(body.by),
        },
    )
    .await
}

pub(super) async fn reject(
    State(state): State<ApiState>,
    Segment(plan): Segment,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let plan = number(&plan, "plan")?;
    let body: RejectBody = parse(body)?;
    let command = ApiCommand::Reject {
        plan,
        by: by(body.by),
        reason: reason(&body.reason)?,
    };
    give(&state, command).await
}

pub(super) async fn restart(
    State(state): State<ApiState>,
    Segment(unit): Segment,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let body: RestartBody = parse_or_default(body)?;
    known_unit(&state.backend.view(), &unit)?;
    let command = ApiCommand::Restart {
        unit,
        dry_run: body.dry_run,
        by: by(body.by),
        reason: words(body.reason.as_deref().unwrap_or("asked for")),
    };
    give(&state, command).await
}

pub(super) async fn forget(
    State(state): State<ApiState>,
    Segment(unit): Segment,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let body: ForgetBody = parse_or_default(body)?;
    known_unit(&state.backend.view(), &unit)?;
    let by = by(body.by);
    give(&state, ApiCommand::Forget { unit, by }).await
}

pub(super) async fn pause(
    State(state): State<ApiState>,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let body: PauseBody = parse(body)?;
    let invalid = |words| Problem::invalid(format!("for is wrong: {words}"));
    let seconds = match (body.for_seconds, &body.lasts) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("say for or for_seconds, not both"));
        }
        (seconds, None) => seconds,
        (None, Some(text)) => {
            let lasts = crate::config::parse_duration(text).map_err(invalid)?;
            Some(lasts.as_secs_f64())
        }
    };
    let duration = match seconds {
        None => None,
        Some(seconds) if seconds > 0.0 && seconds <= MAX_PAUSE_SECONDS => {
            Some(Duration::from_secs_f64(seconds))
        }
        Some(seconds) => {
            return Err(Problem::invalid(format!(
                "the pause would last {seconds} s; it must be more than 0 s and at most 30 days"
            )));
        }
    };
    let command = ApiCommand::Pause {
        by: by(body.by),
        reason: reason(&body.reason)?,
        duration,
    };
    give(&state, command).await
}

pub(super) async fn resume(
    State(state): State<ApiState>,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let body: ResumeBody = parse_or_default(body)?;
    give(&state, ApiCommand::Resume { by: by(body.by) }).await
}

pub(super) async fn outcomes(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let speaker = state.speakers.who(&headers).await?;
    let body: OutcomesBody = parse(body)?;
    let reporter = reporter(speaker.as_ref(), &body.reporter)?;
    if body.outcomes.len() > MAX_OUTCOMES {
        return Err(Problem::new(
            ProblemKind::TooLarge,
            format!(
                "{} reports are too many for one request; send at most {MAX_OUTCOMES} at a time",
                body.outcomes.len()
            ),
        ));
    }
    let reports = body
        .outcomes
        .into_iter()
        .map(|report| reported(report, &reporter))
        .collect::<Result<Vec<_>, Problem>>()?;
    give(&state, ApiCommand::Outcomes(reports)).await
}

/// What somebody said of one request, in the words that it is taken in.
pub(super) fn reported(report: OutcomeBody, reporter: &str) -> Result<ReportedOutcome, Problem> {
    let trace_id = report.trace_id.parse::<TraceId>();
    Ok(ReportedOutcome {
        trace_id: trace_id.map_err(|error| Problem::invalid(error.to_string()))?,
        outcome: report.outcome,
        // A name of one's own choosing must not pass for one of our probes.
        reporter: format!("api {reporter}"),
        detail: report.detail.as_deref().map(words),
    })
}

pub(super) async fn give(state: &ApiState, command: ApiCommand) -> Result<Json<Reply>, Problem> {
    state.command(command).await.map(Json)
}

pub(super) fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = body.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            let limit = super::MAX_BODY_BYTES / 1024;
            return Problem::new(
                ProblemKind::TooLarge,
                format!("the body is longer than {limit} KiB; send less at a time"),
            );
        }
        Problem::invalid(rejection.body_text())
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::invalid(match error.classify() {
            Category::Syntax => {
                format!("the body is no JSON: look at line {line}, column {column}")
            }
            Category::Eof => "the body is no JSON: it ends before it is complete".to_owned(),
            Category::Data | Category::Io => format!("the body can't be read: {error}"),
        })
    })
}

/// Where nothing in the body is needed, the body isn't either.
fn parse_or_default<T: DeserializeOwned + Default>(body: Body) -> Result<T, Problem> {
    match &body {
        Ok(bytes) if bytes.is_empty() => Ok(T::default()),
        _ => parse(body),
    }
}

fn by(named: Option<String>) -> String {
    let named = words(named.as_deref().unwrap_or_default());
    if named.is_empty() {
        SOMEBODY.to_owned()
    } else {
        named
    }
}

/// A reason that somebody can read later.
pub(crate) fn reason(text: &str) -> Result<String, Problem> {
    let text = words(text);
    if text.is_empty() {
        return Err(Problem::invalid(
            "reason is empty: whoever reads the ledger later will ask",
        ));
    }
    Ok(text)
}

/// One line of bounded length: control characters would garble terminals and logs.
pub(super) fn words(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_WORDS)
        .collect();
    line.trim().to_owned()
}
