//! The review pages: what fails, who is suspected, what was done about it, and the two buttons.
//!
//! Rendered here, from the same snapshot as the API; no build step, nothing from the internet, no
//! script needed (one keeps the page fresh without losing what you are typing). Everything that came
//! in telemetry is text that an attacker may have written: maud escapes it, and the content security
//! policy lets nothing run that isn't served from here.

mod chart;
mod forms;
mod history;
mod incident;
mod layout;
mod overview;
mod parts;
mod plan;
mod post_mortem;
mod rejuvenation;
mod trace;
mod tree;

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::{Markup, html};

use crate::api::{
    ApiCommand, ApiState, Problem, ProblemKind, Reply, Segment, find_post_mortem, find_trace,
    number,
};
use crate::view::View;

/// Nothing but our own files may run, load or be posted to.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// Past actions on the history page.
const HISTORY_ROWS: usize = 200;

/// The paths of the pages.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/", get(overview_page))
        .route("/incidents/{id}", get(incident_page))
        .route("/traces/{id}", get(trace_page))
        .route("/history", get(history_page))
        .route("/post-mortems/{action}", get(post_mortem_page))
        .route("/plans/{id}/approve", post(forms::approve))
        .route("/plans/{id}/reject", post(forms::reject))
        .route("/units/{unit}", get(unit_page))
        .route("/units/{unit}/restart", post(forms::restart))
        .route("/pause", post(forms::pause))
        .route("/resume", post(forms::resume))
        .route("/static/style.css", get(style))
        .route("/static/refresh.js", get(script))
}

/// An error for somebody in front of a browser.
struct PageProblem(Problem);

impl From<Problem> for PageProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let body = html! {
            section.banner.bad {
                h1 { (self.0.title) }
                p { (self.0.detail) }
                p { a href="/" { "Back to the overview" } }
            }
        };
        let status = StatusCode::from_u16(self.0.status).unwrap_or_default();
        let page = layout::page(&View::default(), &self.0.title, false, &body);
        (status, secured(page)).into_response()
    }
}

/// A page with the headers that keep foreign code out.
fn secured(page: Markup) -> Response {
    let mut response = Html(page.into_string()).into_response();
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    response
}

async fn overview_page(State(state): State<ApiState>) -> Response {
    let view = state.backend.view();
    secured(layout::page(
        &view,
        "Overview",
        true,
        &overview::render(&view),
    ))
}

async fn incident_page(
    State(state): State<ApiState>,
    Segment(id): Segment,
) -> Result<Response, PageProblem> {
    let id = number(&id, "incident")?;
    let view = state.backend.view();
    let incident = view
        .incident(id)
        .ok_or_else(|| Problem::not_found(format!("there is no incident {id}")))?;
    let title = format!("Incident {id}");
    let kept = saved(&state).await;
    let body = incident::render(&view, incident, &kept);
    Ok(secured(layout::page(&view, &title, true, &body)))
}

async fn unit_page(
    State(state): State<ApiState>,
    Segment(name): Segment,
) -> Result<Response, PageProblem> {
    let view = state.backend.view();
    let unit = view
        .unit(&name)
        .ok_or_else(|| Problem::not_found(format!("there is no unit {name:?}")))?;
    let explained = state.command(ApiCommand::ExplainUnit(name.clone())).await?;
    let Reply::Explanation(explained) = explained else {
        return Err(PageProblem(Problem::new(
            ProblemKind::Internal,
            format!("the engine answered {explained:?} to a question about a unit"),
        )));
    };
    let kept = saved(&state).await;
    let body = tree::unit(&view, unit, &explained.sentences, &kept);
    Ok(secured(layout::page(&view, &name, true, &body)))
}

async fn trace_page(
    State(state): State<ApiState>,
    Segment(id): Segment,
) -> Result<Response, PageProblem> {
    let trace = find_trace(&state, &id).await?;
    let view = state.backend.view();
    let body = trace::render(&trace);
    Ok(secured(layout::page(&view, "Trace", false, &body)))
}

async fn history_page(State(state): State<ApiState>) -> Result<Response, PageProblem> {
    let limit = HISTORY_ROWS;
    let actions = match state.command(ApiCommand::History { limit }).await? {
        Reply::History { actions } => actions,
        _ => Vec::new(),
    };
    let view = state.backend.view();
    let kept = saved(&state).await;
    let body = history::render(&view, &actions, &kept);
    Ok(secured(layout::page(&view, "History", true, &body)))
}

async fn post_mortem_page(
    State(state): State<ApiState>,
    Segment(action): Segment,
) -> Result<Response, PageProblem> {
    let found = find_post_mortem(&state, &action).await?;
    let view = state.backend.view();
    let title = format!("Before restart {}", found.action);
    let body = post_mortem::render(&found);
    Ok(secured(layout::page(&view, &title, false, &body)))
}

/// The actions before which something was saved.
async fn saved(state: &ApiState) -> BTreeSet<u64> {
    let kept = state.backend.post_mortems().await;
    kept.iter().map(|kept| kept.action).collect()
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("web/style.css"))
}

async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("web/refresh.js"),
    )
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
