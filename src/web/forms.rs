//! What the buttons do. [`crate::api`]'s guard has already made sure that one of our own pages sent
//! the form; the order then takes the same way as one from the API.

use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::Redirect;
use serde::Deserialize;

use super::PageProblem;
use crate::api::{ApiCommand, ApiState, Problem, Segment, by_page, number, reason};

/// A form that only says why.
#[derive(Debug, Deserialize)]
pub(super) struct Why {
    reason: String,
}

/// The pause form; an empty field is no limit.
#[derive(Debug, Deserialize)]
pub(super) struct Pause {
    reason: String,
    #[serde(default)]
    minutes: String,
}

type Answer = Result<Redirect, PageProblem>;
type Sent<T> = Result<Form<T>, FormRejection>;

pub(super) async fn approve(State(state): State<ApiState>, Segment(plan): Segment) -> Answer {
    let plan = number(&plan, "plan")?;
    give(&state, ApiCommand::Approve { plan, by: by() }).await
}

pub(super) async fn reject(
    State(state): State<ApiState>,
    Segment(plan): Segment,
    form: Sent<Why>,
) -> Answer {
    let plan = number(&plan, "plan")?;
    let reason = reason(&filled(form)?.reason)?;
    give(
        &state,
        ApiCommand::Reject {
            plan,
            by: by(),
            reason,
        },
    )
    .await
}

pub(super) async fn restart(
    State(state): State<ApiState>,
    Segment(unit): Segment,
    form: Sent<Why>,
) -> Answer {
    let command = ApiCommand::Restart {
        unit,
        dry_run: false,
        by: by(),
        reason: reason(&filled(form)?.reason)?,
    };
    give(&state, command).await
}

pub(super) async fn pause(State(state): State<ApiState>, form: Sent<Pause>) -> Answer {
    let form = filled(form)?;
    let minutes = form.minutes.trim();
    let duration = if minutes.is_empty() {
        None
    } else {
        let minutes: u32 = minutes
            .parse()
            .ok()
            .filter(|minutes| (1..=43_200).contains(minutes))
            .ok_or_else(|| Problem::invalid("a pause lasts from 1 to 43200 minutes"))?;
        Some(Duration::from_secs(60 * u64::from(minutes)))
    };
    let command = ApiCommand::Pause {
        by: by(),
        reason: reason(&form.reason)?,
        duration,
    };
    give(&state, command).await
}

pub(super) async fn resume(State(state): State<ApiState>) -> Answer {
    give(&state, ApiCommand::Resume { by: by() }).await
}

async fn give(state: &ApiState, command: ApiCommand) -> Answer {
    state.command(command).await?;
    Ok(Redirect::to("/"))
}

fn filled<T>(form: Sent<T>) -> Result<T, Problem> {
    form.map(|Form(form)| form)
        .map_err(|rejection| Problem::invalid(rejection.body_text()))
}

fn by() -> String {
    by_page().to_owned()
}
