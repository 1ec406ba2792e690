//! What was saved before restarts: which there is, and one of them in full.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::problem::Segment;
use super::read::number;
use super::{ApiState, Problem};
use crate::view::{KeptView, PostMortemView};

/// Which are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptQuery {
    incident: Option<u64>,
}

pub(super) async fn post_mortems(
    State(state): State<ApiState>,
    query: Result<Query<KeptQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<KeptView>>, Problem> {
    let Query(query) = query.map_err(|error| Problem::invalid(error.body_text()))?;
    let mut kept = state.backend.post_mortems().await;
    if query.incident.is_some() {
        kept.retain(|kept| kept.incident == query.incident);
    }
    Ok(Json(kept))
}

pub(super) async fn post_mortem(
    State(state): State<ApiState>,
    Segment(action): Segment,
) -> Result<Json<PostMortemView>, Problem> {
    Ok(Json(find_post_mortem(&state, &action).await?))
}

/// What was saved before the action, for the API and for its page.
pub(crate) async fn find_post_mortem(
    state: &ApiState,
    action: &str,
) -> Result<PostMortemView, Problem> {
    let action = number(action, "action")?;
    let found = state.backend.post_mortem(action).await?;
    found.ok_or_else(|| {
        Problem::not_found(format!(
            "nothing is kept of before action {action}: there was no such restart, or it is too \
             long ago (`restart.post_mortems`)"
        ))
    })
}
