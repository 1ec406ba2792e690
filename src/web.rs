//! The pages.

use axum::Router;

use crate::api::ApiState;

/// The paths of the pages.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
}
