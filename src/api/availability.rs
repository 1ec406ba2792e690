//! Should a caller ask a unit now, or when?
//!
//! Callers who know that a part is being restarted can wait instead of failing their users: 503 with
//! `Retry-After`, which is as long as nine of ten of its restarts take (Candea and Fox's crash-only software
//! hides restarts so). A unit is away while it, or any unit that contains it, is being restarted or
//! is down. What nobody knows anything about isn't announced as away.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::read::known_unit;
use super::{ApiState, Problem};
use crate::view::{ProcessPhase, UnitState, UnitView, View};

/// `Retry-After` to the millisecond, since most restarts that can be hidden are shorter than its seconds
/// (the tower layers in `recovery/middleware` read it).
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("rekindle-retry-after-ms");

/// When to come back to a unit whose restarts nobody has measured or configured: what a process takes.
const UNKNOWN_DOWNTIME: Duration = Duration::from_secs(5);

/// Whether a unit can be asked now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// The unit.
    pub unit: String,
    /// Whether there is no reason to wait.
    pub available: bool,
    /// The unit that is away: itself, or one that contains it.
    pub away: Option<String>,
    /// What is going on with that one, or with the unit itself.
    pub state: UnitState,
    /// When to come back. What has passed of it isn't taken off: who comes a little late waits, who
    /// comes too early fails.
    pub retry_after_ms: Option<u64>,
}

pub(super) async fn availability(
    State(state): State<ApiState>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let view = state.backend.view();
    let unit = known_unit(&view, &name)?;
    let availability = of(&view, unit);
    let Some(millis) = availability.retry_after_ms else {
        return Ok(Json(availability).into_response());
    };
    // The header has whole seconds, and none of them means at once.
    let seconds = HeaderValue::from(millis.div_ceil(1000).max(1));
    let headers = [
        (header::RETRY_AFTER, seconds),
        (RETRY_AFTER_MS, HeaderValue::from(millis)),
    ];
    Ok((StatusCode::SERVICE_UNAVAILABLE, headers, Json(availability)).into_response())
}

/// The outermost unit on the way to the root that is away: it comes back last.
fn of(view: &View, unit: &UnitView) -> Availability {
    let mut away = None;
    let mut at = Some(unit);
    // As deep as the tree has units, in case a snapshot names a circle.
    for _ in 0..=view.tree.len() {
        let Some(here) = at else { break };
        if is_away(here) {
            away = Some(here);
        }
        at = here.parent.as_ref().and_then(|parent| view.unit(parent));
    }
    Availability {
        unit: unit.name.clone(),
        available: away.is_none(),
        away: away.map(|unit| unit.name.clone()),
        state: away.unwrap_or(unit).state,
        retry_after_ms: away.map(|unit| {
            let downtime = unit.downtime_mostly_ms.map(Duration::from_millis);
            let downtime = downtime.unwrap_or(UNKNOWN_DOWNTIME);
            u64::try_from(downtime.as_millis()).unwrap_or(u64::MAX)
        }),
    }
}

fn is_away(unit: &UnitView) -> bool {
    match unit.state {
        UnitState::Starting | UnitState::Restarting | UnitState::Down => true,
        // These say how its recovery is, and not whether it runs.
        UnitState::Unknown
        | UnitState::Up
        | UnitState::Judging
        | UnitState::HeldOff
        | UnitState::GivenUp => {
            let process = unit.process.as_ref();
            process.is_some_and(|process| process.phase == ProcessPhase::Exited)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, parent: Option<&str>, state: UnitState, downtime: Option<u64>) -> UnitView {
        UnitView {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            state,
            downtime_mostly_ms: downtime,
            ..UnitView::default()
        }
    }

    /// Whatever is to be done about it.
    #[test]
    fn whose_process_has_ended_is_away() {
        for (phase, available) in [(ProcessPhase::Exited, false), (ProcessPhase::Running, true)] {
            let mut held = unit("web", None, UnitState::HeldOff, Some(2300));
            held.process = Some(crate::view::ProcessView {
                phase,
                pid: None,
                since: None,
            });
            let view = View {
                tree: vec![held],
                ..View::default()
            };
            assert_eq!(of(&view, &view.tree[0]).available, available, "{phase}");
        }
    }

    #[test]
    fn a_unit_is_away_with_itself_and_with_what_contains_it() {
        use UnitState::{Down, Judging, Restarting, Unknown, Up};
        for (root, process, part, expected) in [
            (Up, Up, Up, None),
            (Unknown, Unknown, Unknown, None),
            (Up, Judging, Up, None),
            (Up, Up, Restarting, Some(("part", 40))),
            (Up, Restarting, Up, Some(("process", 2300))),
            (Up, Down, Restarting, Some(("process", 2300))),
            (Restarting, Up, Restarting, Some(("root", 5000))),
        ] {
            let view = View {
                tree: vec![
                    unit("root", None, root, None),
                    unit("process", Some("root"), process, Some(2300)),
                    unit("part", Some("process"), part, Some(40)),
                ],
                ..View::default()
            };
            let found = of(&view, &view.tree[2]);
            let away = found.away.as_deref().zip(found.retry_after_ms);
            assert_eq!(away, expected, "{root} {process} {part}");
            assert_eq!(found.available, expected.is_none());
        }
    }
}
