//! One container of a pod is restarted in place, and the others go on: OpenKruise's
//! `ContainerRecreateRequest`, for clusters that have it. The smallest restart that Kubernetes knows.
//!
//! The request is named after action, generation and pod, so the same order twice is one request,
//! and it is kept for a while after it is done, to be asked about.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Client, refusal};
use super::object::{List, Pod, RecreateRequest, labels};
use crate::executor::{ActionId, Permit};
use crate::executors::connection::escaped;
use crate::executors::lives::{Condition, Sight};
use crate::http_call::CallFailure;

/// How long a request that is over is kept, in seconds: longer than an engine takes to start again.
const KEPT: u64 = 1800;

/// Labels may hold these; the values are numbers.
const ACTION: &str = "rekindle/action";
const GENERATION: &str = "rekindle/generation";

pub(super) async fn see(
    client: &Client,
    pods: &BTreeMap<String, String>,
    container: &str,
) -> Result<Sight, CallFailure> {
    let pods = client.pods(&labels(pods)).await?;
    let mut sight = Sight::default();
    for pod in &pods {
        let Some(status) = running(pod, container) else {
            continue;
        };
        let condition = match pod.condition() {
            Condition::Ending => Condition::Ending,
            _ if status.1 => Condition::Ready,
            _ => Condition::NotReady(format!(
                "container {container} of pod {} isn't ready",
                pod.metadata.name
            )),
        };
        sight.lives.insert(status.0, condition);
    }
    if sight.lives.is_empty() {
        sight.missing = Some(format!(
            "container {container} runs in none of {} pods",
            pods.len()
        ));
    }
    Ok(sight)
}

/// The identity of the pod's container, and whether it is ready; `None` when it doesn't run.
fn running(pod: &Pod, container: &str) -> Option<(String, bool)> {
    let status = pod
        .status
        .container_statuses
        .iter()
        .find(|status| status.name == container)?;
    status.state.running.as_ref()?;
    let identity = format!(
        "container {container} of pod {} ({})",
        pod.metadata.name, status.container_id
    );
    Some((identity, status.ready))
}

pub(super) async fn order(
    client: &Client,
    pods: &BTreeMap<String, String>,
    container: &str,
    grace: Option<u64>,
    permit: &Permit,
    until: Instant,
) -> Result<(), CallFailure> {
    let pods = client.pods(&labels(pods)).await?;
    let pods: Vec<&Pod> = pods
        .iter()
        .filter(|pod| pod.condition() != Condition::Ending)
        .collect();
    if pods.is_empty() {
        return Err(CallFailure {
            maybe_sent: false,
            reason: "no pod has these labels".to_owned(),
        });
    }
    let path = collection(client);
    let mut names = Vec::new();
    for pod in &pods {
        let (name, body) = request(pod, container, grace, permit, until);
        let answered = client
            .change(Method::POST, path.clone(), "application/json", &body, until)
            .await?;
        match answered.status {
            // 409: this very request is there already.
            200..300 | 409 => names.push(name),
            404 if names.is_empty() => {
                return Err(CallFailure {
                    maybe_sent: false,
                    reason: "the cluster has no OpenKruise (ContainerRecreateRequest)".to_owned(),
                });
            }
            _ => {
                let mut failure = refusal(&answered, true);
                failure.maybe_sent |= !names.is_empty();
                return Err(failure);
            }
        }
    }
    for name in names {
        until_over(client, &name, until).await?;
    }
    Ok(())
}

/// Waits until OpenKruise says that it is done with a request, or can't be.
async fn until_over(client: &Client, name: &str, until: Instant) -> Result<(), CallFailure> {
    let failed = |reason: String| CallFailure {
        maybe_sent: true,
        reason,
    };
    loop {
        let path = format!("{}/{}", collection(client), escaped(name));
        let request: RecreateRequest = client
            .get(path)
            .await
            .map_err(|failure| failed(failure.reason))?;
        let status = request.status;
        let broken = status
            .container_recreate_states
            .iter()
            .find(|state| state.phase == "Failed");
        match (status.phase.as_str(), broken) {
            ("Failed", _) => return Err(failed(format!("OpenKruise failed: {}", status.message))),
            (_, Some(state)) => {
                let (container, message) = (&state.name, &state.message);
                return Err(failed(format!(
                    "OpenKruise failed with {container}: {message}"
                )));
            }
            ("Completed" | "Succeeded", None) => return Ok(()),
            _ => {}
        }
        if Instant::now() + super::PAUSE >= until {
            let phase = status.phase;
            return Err(failed(format!(
                "OpenKruise's request {name} is still {phase:?}"
            )));
        }
        tokio::time::sleep(super::PAUSE).await;
    }
}

pub(super) async fn remembers(
    client: &Client,
    action: ActionId,
    generation: u64,
) -> Result<bool, CallFailure> {
    let selector = format!("{ACTION}={action},{GENERATION}={generation}");
    let path = format!(
        "{}?limit=1&labelSelector={}",
        collection(client),
        escaped(&selector)
    );
    let found: List<RecreateRequest> = client.get(path).await?;
    Ok(!found.items.is_empty())
}

fn collection(client: &Client) -> String {
    format!(
        "/apis/apps.kruise.io/v1alpha1/namespaces/{}/containerrecreaterequests",
        escaped(client.namespace())
    )
}

fn request(
    pod: &Pod,
    container: &str,
    grace: Option<u64>,
    permit: &Permit,
    until: Instant,
) -> (String, Value) {
    let (action, generation) = (permit.action(), permit.generation());
    // A pod's uid makes the name the pod's own; its first part is as good as unique among a few.
    let uid = pod.metadata.uid.split('-').next().unwrap_or_default();
    let name = format!("rekindle-{action}-{generation}-{uid}");
    let left = until.saturating_duration_since(Instant::now());
    let mut body = json!({
        "apiVersion": "apps.kruise.io/v1alpha1",
        "kind": "ContainerRecreateRequest",
        "metadata": {
            "name": name,
            "labels": { ACTION: action.to_string(), GENERATION: generation.to_string() },
        },
        "spec": {
            "podName": pod.metadata.name,
            "containers": [{ "name": container }],
            "strategy": { "failurePolicy": "Fail" },
            "activeDeadlineSeconds": left.max(Duration::from_secs(1)).as_secs(),
            "ttlSecondsAfterFinished": KEPT,
        },
    });
    if let Some(seconds) = grace {
        body["spec"]["strategy"]["terminationGracePeriodSeconds"] = json!(seconds);
    }
    (name, body)
}
