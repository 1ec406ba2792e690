//! How is a container restarted by a Docker-compatible engine, over its socket?
//!
//! The engine stops and starts in one order, so that a crash of ours in between can't leave the
//! container down. A life is a container's id and start time. The engine takes no action id with a
//! restart, and labels and environment of a container can't change, so a crash is answered by
//! comparing start times (see [`super::lives`]). The order names the container by its id: one that
//! was made anew under the same name meanwhile isn't hit.
//!
//! Paths carry no API version: an engine then speaks its newest, and what is read here has been the
//! same in all of them, while every fixed version is some day too old for an engine.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::connection::{Answered, Ask, Endpoint, ask, escaped};
use super::lives::{Condition, LOOK, Platform, Sight};
use crate::executor::{BoxFuture, Life, Permit, Recall};
use crate::http_call::CallFailure;
use crate::template::Listed;
use crate::{DockerSpec, Stop};

/// A socket on the same machine answers in a millisecond, and downtime counts.
const PAUSE: Duration = Duration::from_millis(50);

/// As much of an id as people are shown, by the habit of engines.
pub(crate) const SHORT_ID: usize = 12;

/// The stop takes as long as its grace; this is for the engine itself.
const ENGINE_SLACK: Duration = Duration::from_secs(2);

/// A container of an engine.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    endpoint: Endpoint,
    container: String,
    stop: Stop,
}

/// As much of an inspected container as matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    running: bool,
    paused: bool,
    pid: i64,
    exit_code: i64,
    error: String,
    started_at: String,
    health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    status: String,
}

/// As much of a listed container as matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    network_settings: NetworkSettings,
}

/// The networks that a listed container is in.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Network>>,
}

#[derive(Debug, Default, Deserialize)]
struct Network {
    /// Empty while it doesn't run.
    #[serde(rename = "IPAddress", default)]
    address: String,
}

impl Line {
    /// Whether it doesn't run because it shouldn't: it was never started, or it ended by itself or by a stop that it
    /// followed, with all in order. Nobody wants that started again.
    fn is_at_rest(&self) -> bool {
        match self.state.as_str() {
            "created" => true,
            "exited" => self.status.starts_with("Exited (0)"),
            _ => false,
        }
    }

    fn listed(self) -> Option<Listed> {
        if self.is_at_rest() {
            return None;
        }
        // Engines write a slash before names; one with a second is how a link of another container calls it.
        let mut names = self.names.iter().map(|name| name.trim_start_matches('/'));
        Some(Listed {
            name: names.find(|name| !name.contains('/'))?.to_owned(),
            is_up: self.state == "running",
            id: self.id,
            // Of several networks the first by name, so that it is the same each time.
            address: self
                .network_settings
                .networks
                .unwrap_or_default()
                .values()
                .find_map(|network| network.address.parse().ok()),
        })
    }
}

/// The names and ids of the containers that have all these labels and run, or should: one that failed is still to be
/// restarted.
pub(crate) async fn list(
    endpoint: &Endpoint,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Listed>, CallFailure> {
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let filters = serde_json::json!({ "label": labels }).to_string();
    let path = format!("/containers/json?all=true&filters={}", escaped(&filters));
    let answered = ask(endpoint, Ask::new(Method::GET, path), LOOK).await?;
    if !answered.is_success() {
        return Err(CallFailure {
            maybe_sent: false,
            reason: format!(
                "the engine answered {}: {}",
                answered.status,
                answered.message()
            ),
        });
    }
    let lines: Vec<Line> = answered.json()?;
    Ok(lines.into_iter().filter_map(Line::listed).collect())
}

impl Docker {
    pub(crate) fn new(spec: &DockerSpec) -> Self {
        Self::at(Endpoint::Unix(spec.socket.clone()), spec)
    }

    fn at(endpoint: Endpoint, spec: &DockerSpec) -> Self {
        Self {
            endpoint,
            container: spec.container.clone(),
            stop: spec.stop,
        }
    }

    async fn inspect(&self) -> Result<Inspected, CallFailure> {
        let path = format!("/containers/{}/json", escaped(&self.container));
        let answered = ask(&self.endpoint, Ask::new(Method::GET, path), LOOK).await?;
        if !answered.is_success() {
            return Err(self.refusal(&answered, false));
        }
        answered.json()
    }

    fn refusal(&self, answered: &Answered, maybe_sent: bool) -> CallFailure {
        let reason = match answered.status {
            404 => format!("the engine has no container {:?}", self.container),
            status => format!("the engine answered {status}: {}", answered.message()),
        };
        CallFailure { maybe_sent, reason }
    }
}

impl Inspected {
    fn identity(&self) -> String {
        let short: String = self.id.chars().take(SHORT_ID).collect();
        format!("container {short} of {}", self.state.started_at)
    }

    fn sight(&self) -> Sight {
        let state = &self.state;
        let mut sight = Sight::default();
        // podman says that a container isn't running as soon as it was told to stop, and shows by its
        // process that it still is.
        if !state.running && state.pid != 0 {
            sight.missing = Some("it is stopping".to_owned());
            sight.lives = BTreeMap::from([(self.identity(), Condition::Ending)]);
            return sight;
        }
        if !state.running {
            let error = match state.error.as_str() {
                "" => String::new(),
                error => format!(": {error}"),
            };
            let code = state.exit_code;
            sight.missing = Some(format!("it is not running, its exit code is {code}{error}"));
            return sight;
        }
        let condition = match state.health.as_ref().map(|health| health.status.as_str()) {
            // Without a health check, or one that says nothing yet known to us, running is all.
            None | Some("" | "none" | "healthy") => Condition::Ready,
            Some(status) => Condition::NotReady(format!("its health check says {status}")),
        };
        if let Condition::NotReady(reason) = &condition {
            sight.missing = Some(reason.clone());
        }
        sight.lives = BTreeMap::from([(self.identity(), condition)]);
        sight
    }
}

impl Platform for Docker {
    fn look(&self) -> BoxFuture<'_, Result<Sight, CallFailure>> {
        Box::pin(async { Ok(self.inspect().await?.sight()) })
    }

    fn order<'a>(
        &'a self,
        _permit: &'a Permit,
        before: &'a Sight,
        until: Instant,
    ) -> BoxFuture<'a, Result<Life, CallFailure>> {
        Box::pin(async move {
            let seen = self.inspect().await?;
            let refuse = |reason: &str| CallFailure {
                maybe_sent: false,
                reason: reason.to_owned(),
            };
            if seen.state.paused {
                return Err(refuse("somebody has paused the container"));
            }
            if seen.sight().lives.keys().ne(before.lives.keys()) {
                return Err(refuse("somebody else is restarting the container"));
            }
            // Whole seconds are all that the API takes; a part of one is rounded up, so that a short
            // grace is not none.
            let how = match self.stop {
                Stop::Term(grace) => format!("t={}", grace.as_millis().div_ceil(1000)),
                // No time alone would still be its stop signal first, to some engines.
                Stop::Kill => "t=0&signal=SIGKILL".to_owned(),
            };
            let path = format!("/containers/{}/restart?{how}", escaped(&seen.id));
            let limit = until.saturating_duration_since(Instant::now());
            let answered = ask(&self.endpoint, Ask::new(Method::POST, path), limit).await?;
            match answered.status {
                // A container's environment stays what it was.
                200..300 => Ok(Life::default()),
                // The engine's own failure may have come after the stop.
                500.. => Err(self.refusal(&answered, true)),
                _ => Err(self.refusal(&answered, false)),
            }
        })
    }

    fn untouched(&self) -> Duration {
        self.stop.grace() + ENGINE_SLACK
    }

    fn pause(&self) -> Duration {
        PAUSE
    }

    fn recall(&self) -> Recall {
        Recall::Effect
    }
}

#[cfg(test)]
mod tests;
