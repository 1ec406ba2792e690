//! A workload's pods are replaced, a few at a time, as its own strategy says: by a mark in its pod
//! template, which is what `kubectl rollout restart` does, too.
//!
//! The mark names action and generation, so that it can be asked later whether the order was taken,
//! and the new pods can read which life they are. It is set on the version that was read: when
//! somebody else changes the workload in between, both are looked at anew. A rollout that is under
//! way is left alone: two at once can't be told apart, and the other one may be the cure.

use std::time::SystemTime;

use hyper::Method;
use serde_json::json;
use tokio::time::Instant;

use super::client::{Client, refusal};
use super::object::Workload;
use crate::WorkloadKind;
use crate::executor::{ActionId, Permit};
use crate::executors::lives::Sight;
use crate::http_call::CallFailure;

/// The mark's keys in the pod template's annotations.
const ACTION: &str = "rekindle/action";
const GENERATION: &str = "rekindle/generation";
/// Makes the mark differ from one that an engine with another ledger left.
const RESTARTED_AT: &str = "rekindle/restarted-at";

/// How often somebody else may change the workload between our reading and our writing.
const ATTEMPTS: usize = 5;

pub(super) async fn see(
    client: &Client,
    kind: WorkloadKind,
    name: &str,
) -> Result<Sight, CallFailure> {
    let workload = client.workload(kind, name).await?;
    let pods = client.pods(&workload.spec.selector.written()).await?;
    Ok(Sight {
        missing: missing(kind, &workload),
        // The workload itself says how many are wanted, and may be scaled while it is watched.
        wanted: Some(0),
        ..super::sight(&pods)
    })
}

pub(super) async fn order(
    client: &Client,
    kind: WorkloadKind,
    name: &str,
    permit: &Permit,
    until: Instant,
) -> Result<(), CallFailure> {
    let refused = |reason: String| CallFailure {
        maybe_sent: false,
        reason,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let marks = json!({
        ACTION: permit.action().to_string(),
        GENERATION: permit.generation().to_string(),
        RESTARTED_AT: now.unwrap_or_default().as_millis().to_string(),
    });
    for _ in 0..ATTEMPTS {
        let workload = client.workload(kind, name).await?;
        if let Some(reason) = veto(kind, &workload) {
            return Err(refused(reason));
        }
        let body = json!({
            "metadata": { "resourceVersion": workload.metadata.resource_version },
            "spec": { "template": { "metadata": { "annotations": marks } } },
        });
        let answered = client
            .change(
                Method::PATCH,
                client.workload_path(kind, name),
                "application/merge-patch+json",
                &body,
                until,
            )
            .await?;
        match answered.status {
            200..300 => return Ok(()),
            409 => {}
            _ => return Err(refusal(&answered, true)),
        }
    }
    Err(refused(format!(
        "somebody else changed {name} {ATTEMPTS} times in a row"
    )))
}

pub(super) async fn remembers(
    client: &Client,
    kind: WorkloadKind,
    name: &str,
    action: ActionId,
    generation: u64,
) -> Result<bool, CallFailure> {
    let workload = client.workload(kind, name).await?;
    let marks = &workload.spec.template.metadata.annotations;
    let is = |key: &str, value: String| marks.get(key).is_some_and(|mark| *mark == value);
    Ok(is(ACTION, action.to_string()) && is(GENERATION, generation.to_string()))
}

fn veto(kind: WorkloadKind, workload: &Workload) -> Option<String> {
    let spec = &workload.spec;
    if spec.paused {
        return Some("somebody has paused its rollouts".to_owned());
    }
    if spec.update_strategy.r#type == "OnDelete" {
        return Some(
            "its update strategy is OnDelete, so a rollout replaces nothing; evict its pods"
                .to_owned(),
        );
    }
    super::veto::under_way(kind, workload).map(|veto| veto.words().to_owned())
}

/// What a rollout still waits for.
fn missing(kind: WorkloadKind, workload: &Workload) -> Option<String> {
    let (spec, status) = (&workload.spec, &workload.status);
    if status.observed_generation < workload.metadata.generation {
        return Some("Kubernetes has not taken up the change yet".to_owned());
    }
    let (updated, available, wanted) = match kind {
        WorkloadKind::DaemonSet => (
            status.updated_number_scheduled,
            status.number_available,
            status.desired_number_scheduled,
        ),
        WorkloadKind::StatefulSet => (
            status.updated_replicas,
            status.ready_replicas,
            spec.replicas.unwrap_or(1),
        ),
        WorkloadKind::Deployment => (
            status.updated_replicas,
            status.available_replicas,
            spec.replicas.unwrap_or(1),
        ),
    };
    let stuck = status
        .conditions
        .iter()
        .find(|condition| condition.reason == "ProgressDeadlineExceeded")
        .map(|condition| format!(": {}", condition.message))
        .unwrap_or_default();
    if updated < wanted || available < wanted || status.replicas > updated.max(wanted) {
        return Some(format!(
            "{updated} of {wanted} are new and {available} available{stuck}"
        ));
    }
    None
}
