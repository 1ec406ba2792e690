//! What is said about units without being asked: a unit's own heartbeats, and reports of monitors,
//! clients and people.
//!
//! (Who says something about many *requests* says it to `/outcomes`.) Nobody's word is proof: it opens an
//! incident, and unattended restarts need a second source. A heartbeat of a life that is over is
//! refused, so that a late one doesn't speak for the life after it, and so is a report. Where tokens are
//! configured, only who has one is heard ([`super::speakers`]).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::command::{Body, OutcomeBody, give, parse, reported, words};
use super::read::known_unit;
use super::speakers::Speaker;
use super::{ApiCommand, ApiState, OutcomeWord, Problem, ProblemKind, Reply};

/// The longest time until the next heartbeat that can be promised, a day: silence is meant to be
/// noticed.
const MAX_NEXT_WITHIN_MS: u64 = 86_400_000;

/// Gauges in one heartbeat: more is a metrics system's business.
const MAX_GAUGES: usize = 32;

/// Letters in a gauge's name.
const MAX_GAUGE_NAME: usize = 100;

/// How somebody says that a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// As it should be.
    Well,
    /// Not as it should be.
    Sick,
}

/// A unit says that it lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatBody {
    /// The unit.
    pub unit: String,
    /// The number of its life, as `REKINDLE_GENERATION` told it; not compared when absent.
    #[serde(default)]
    pub generation: Option<u64>,
    /// How it finds itself.
    pub status: Condition,
    /// What is wrong.
    #[serde(default)]
    pub detail: Option<String>,
    /// In which time the next heartbeat comes; its absence then counts as a fault. Nothing is expected
    /// when absent.
    #[serde(default)]
    pub next_within_ms: Option<u64>,
    /// Numbers about itself, which `restart.rejuvenate` may watch.
    #[serde(default)]
    pub gauges: BTreeMap<String, f64>,
}

/// Somebody says how a unit is, or how a request ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    /// Who says so; may be left out by who has a token, which names it.
    #[serde(default)]
    pub reporter: String,
    /// The unit …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// … or the request. One of both is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The number of the unit's life that was seen; not compared when absent.
    #[serde(default)]
    pub generation: Option<u64>,
    /// How it is.
    pub verdict: Condition,
    /// What is wrong.
    #[serde(default)]
    pub detail: Option<String>,
}

pub(super) async fn heartbeats(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let speaker = state.speakers.who(&headers).await?;
    let body: HeartbeatBody = parse(body)?;
    check(&state, speaker.as_ref(), &body.unit, body.generation)?;
    let next_within = match body.next_within_ms {
        Some(millis) if millis == 0 || millis > MAX_NEXT_WITHIN_MS => {
            return Err(Problem::invalid(format!(
                "next_within_ms is {millis}; it must be between 1 and {MAX_NEXT_WITHIN_MS}"
            )));
        }
        millis => millis.map(Duration::from_millis),
    };
    let is_odd = |(name, value): (&String, &f64)| name.len() > MAX_GAUGE_NAME || !value.is_finite();
    if body.gauges.len() > MAX_GAUGES || body.gauges.iter().any(is_odd) {
        return Err(Problem::invalid(format!(
            "gauges are at most {MAX_GAUGES} numbers with names of at most {MAX_GAUGE_NAME} bytes"
        )));
    }
    if !body.gauges.is_empty() {
        let told = ApiCommand::Gauges {
            unit: body.unit.clone(),
            generation: body.generation,
            gauges: body.gauges.into_iter().collect(),
        };
        let _: Json<Reply> = give(&state, told).await?;
    }
    let command = ApiCommand::Said {
        unit: body.unit,
        reporter: None,
        wrong: wrong(body.status, body.detail.as_deref()),
        next_within,
    };
    give(&state, command).await
}

pub(super) async fn reports(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let speaker = state.speakers.who(&headers).await?;
    let body: ReportBody = parse(body)?;
    let command = match (body.unit, body.trace_id) {
        (Some(unit), None) => {
            check(&state, speaker.as_ref(), &unit, body.generation)?;
            ApiCommand::Said {
                unit,
                reporter: Some(reporter(speaker.as_ref(), &body.reporter)?),
                wrong: wrong(body.verdict, body.detail.as_deref()),
                next_within: None,
            }
        }
        (None, Some(trace_id)) if body.generation.is_none() => {
            let outcome = OutcomeBody {
                trace_id,
                outcome: match body.verdict {
                    Condition::Well => OutcomeWord::Ok,
                    Condition::Sick => OutcomeWord::Failed,
                },
                detail: body.detail,
            };
            let reporter = reporter(speaker.as_ref(), &body.reporter)?;
            ApiCommand::Outcomes(vec![reported(outcome, &reporter)?])
        }
        (None, Some(_)) => {
            return Err(Problem::invalid(
                "a request has no generation: say it of a unit, or leave it out",
            ));
        }
        (None, None) | (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "a report is about a unit or a trace_id: say one of both",
            ));
        }
    };
    give(&state, command).await
}

/// Whether this may be said of the unit: by one whose token is good for it, about the life that it lives.
fn check(
    state: &ApiState,
    speaker: Option<&Speaker>,
    unit: &str,
    generation: Option<u64>,
) -> Result<(), Problem> {
    if let Some(speaker) = speaker {
        speaker
            .may_speak_of(unit)
            .inspect_err(|_| state.speakers.unheard().without_token())?;
    }
    let view = state.backend.view();
    let known = known_unit(&view, unit)?;
    match generation {
        Some(generation) if generation < known.generation => {
            state.speakers.unheard().of_an_old_generation();
            let problem = format!(
                "generation {generation} of {unit} is over; it is in generation {}",
                known.generation
            );
            Err(Problem::new(ProblemKind::Refused, problem))
        }
        Some(generation) if generation > known.generation => {
            state.speakers.unheard().of_an_unbegun_generation();
            let problem = format!(
                "generation {generation} of {unit} has not begun: Rekindle numbers its lives, and the last one is {}. Say the \
                 number in REKINDLE_GENERATION or in the microreboot's header, or none where it was started otherwise",
                known.generation
            );
            Err(Problem::new(ProblemKind::Refused, problem))
        }
        _ => Ok(()),
    }
}

/// In whose name something is said: the token's, where there is one, and nobody else's.
pub(super) fn reporter(speaker: Option<&Speaker>, named: &str) -> Result<String, Problem> {
    let named = words(named);
    match speaker {
        Some(speaker) if named.is_empty() || named == speaker.name => Ok(speaker.name.clone()),
        Some(speaker) => {
            let problem = format!("the token is that of {}, not of {named}", speaker.name);
            Err(Problem::new(ProblemKind::Forbidden, problem))
        }
        None if named.is_empty() => {
            Err(Problem::invalid("reporter is empty: say whose word it is"))
        }
        None => Ok(named),
    }
}

fn wrong(condition: Condition, detail: Option<&str>) -> Option<String> {
    let detail = words(detail.unwrap_or_default());
    match condition {
        Condition::Well => None,
        Condition::Sick if detail.is_empty() => Some("it is sick".to_owned()),
        Condition::Sick => Some(detail),
    }
}
