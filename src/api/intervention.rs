//! What others did to the system, in their words: deployments, scalings, restarts that aren't ours.
//!
//! Requests that overlap it and touch what it was done to count for nobody. So a word here can hide failures, for a while:
//! it needs a token where words do ([`super::speakers`]), says to what it was done, and lapses by itself unless it is said
//! again.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use rekindle_model::InterventionKind;
use serde::{Deserialize, Serialize};

use super::command::{Body, give, parse, words};
use super::read::known_unit;
use super::said::reporter;
use super::{ApiCommand, ApiState, Problem, Reply};
use crate::view::{InterventionView, UtcTime};

/// Pairs that tell a target: more than any attribute set that tells processes apart.
const MAX_PAIRS: usize = 8;

/// What others can have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum DeedWord {
    /// A new version was brought in.
    Deployment,
    /// Instances were added or taken away.
    Scaling,
    /// Something was restarted.
    Restart,
}

impl From<DeedWord> for InterventionKind {
    fn from(word: DeedWord) -> Self {
        match word {
            DeedWord::Deployment => Self::Deployment,
            DeedWord::Scaling => Self::Scaling,
            DeedWord::Restart => Self::Restart,
        }
    }
}

/// Somebody says what was done to the system.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterventionBody {
    /// By which its maker knows it; said again of the same unit or target, it is the same intervention, whoever says so.
    pub id: String,
    /// What was done.
    pub kind: DeedWord,
    /// To which unit. Either this or `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// To what, as telemetry attributes that must all be there: `{"service.name": "catalog"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub target: BTreeMap<String, String>,
    /// Since when; when absent, since it was said first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcTime>,
    /// Until when; when absent, it goes on, for ten minutes unless it is said again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
    /// Whether it is over now, by the clock of who is told. Instead of `until`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// Who says so; may be left out by who has a token, which names it.
    #[serde(default)]
    pub reporter: String,
}

/// To what something was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A unit of the tree.
    Unit(String),
    /// What has all these telemetry attributes; at least one.
    Attributes(BTreeMap<String, String>),
}

/// What was done, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldIntervention {
    /// By which its maker knows it.
    pub id: String,
    /// Who says so.
    pub by: String,
    /// What was done.
    pub kind: DeedWord,
    /// To what.
    pub whom: Whom,
    /// Since when; `None` for since it was told first.
    pub from: Option<UtcTime>,
    /// Until when; `None` while it goes on.
    pub until: Option<UtcTime>,
    /// Whether it is over by the time it is heard.
    pub is_over: bool,
}

pub(super) async fn list(State(state): State<ApiState>) -> Json<Vec<InterventionView>> {
    Json(state.backend.view().status.interventions.clone())
}

pub(super) async fn told(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    let speaker = state.speakers.who(&headers).await?;
    let body: InterventionBody = parse(body)?;
    let by = reporter(speaker.as_ref(), &body.reporter)?;
    let id = words(&body.id);
    if id.is_empty() {
        return Err(Problem::invalid(
            "id is empty: say by what you know it, so that it can be told again when it is over",
        ));
    }
    if crate::view::is_no_id(&id) {
        return Err(Problem::invalid(
            "id has \", told by \" in it, which stands between an id and who told of it: leave that out",
        ));
    }
    let whom = match (body.unit, body.target.is_empty()) {
        (Some(unit), true) => {
            known_unit(&state.backend.view(), &unit)?;
            Whom::Unit(unit)
        }
        (None, false) => Whom::Attributes(checked(body.target)?),
        (Some(_), false) => return Err(Problem::invalid("say unit or target, not both")),
        (None, true) => {
            return Err(Problem::invalid(
                "say to what it was done: a unit, or a target such as {\"service.name\": \"catalog\"}",
            ));
        }
    };
    if let Some(speaker) = &speaker {
        let may_speak = match &whom {
            Whom::Unit(unit) => speaker.may_speak_of(unit),
            Whom::Attributes(_) => speaker.may_speak_of_all(),
        };
        may_speak.inspect_err(|_| state.speakers.unheard().without_token())?;
    }
    if body.over && body.until.is_some() {
        return Err(Problem::invalid("say over or until, not both"));
    }
    let told = ToldIntervention {
        id,
        by,
        kind: body.kind,
        whom,
        from: body.from,
        until: body.until,
        is_over: body.over,
    };
    give(&state, ApiCommand::Intervention(told)).await
}

fn checked(target: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    let is_odd = |(key, value): (&String, &String)| {
        key.is_empty() || *key != words(key) || value.is_empty() || *value != words(value)
    };
    if target.len() > MAX_PAIRS || target.iter().any(is_odd) {
        return Err(Problem::invalid(format!(
            "target has at most {MAX_PAIRS} attributes, of one line each, none of them empty"
        )));
    }
    Ok(target)
}
