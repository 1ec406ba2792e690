//! What has the cluster against a restart now?
//!
//! Read right before it is decided: budgets that protect the pods, and whether those who own the pods are replacing or
//! scaling them. Both would be judged as one, and capacity counted twice. That not all pods are ready is no rollout but, often,
//! why we are here.

use super::client::Client;
use super::namespace::Namespaces;
use super::object::{Pod, Workload};
use super::{budget, some_pods};
use crate::executor::Veto;
use crate::http_call::CallFailure;
use crate::{KubernetesRestart, KubernetesSpec, WorkloadKind};

/// All that it has.
pub(super) async fn ask(spec: &KubernetesSpec, namespaces: &Namespaces) -> Vec<Veto> {
    read(spec, namespaces).await.unwrap_or_else(|failure| {
        let words = format!(
            "whether a rollout or a disruption budget speaks against it can't be told: {}",
            failure.reason
        );
        vec![Veto::Unclear(words)]
    })
}

async fn read(spec: &KubernetesSpec, namespaces: &Namespaces) -> Result<Vec<Veto>, CallFailure> {
    let client = Client::new(spec)?;
    let pods = match &spec.restart {
        // It replaces pods by itself, and keeps as many as it has promised.
        KubernetesRestart::Rollout { kind, name } => {
            let workload = client.workload(*kind, name).await?;
            return Ok(under_way(*kind, &workload).into_iter().collect());
        }
        KubernetesRestart::Evict { pods }
        | KubernetesRestart::Delete { pods }
        | KubernetesRestart::Recreate { pods, .. } => some_pods(&client, pods).await?,
        KubernetesRestart::Pod { name, beside, .. } => {
            let mut pods = some_pods(&client, beside).await?;
            pods.retain(|pod| pod.metadata.name == *name);
            pods
        }
    };
    let whole = namespaces.whole(spec, &client).await?;
    let mut vetoes = budget::vetoes(&spec.restart, &pods, &whole.budgets);
    let workloads = whole.workloads.iter();
    let theirs = workloads.filter(|(_, workload)| owns_any(workload, &pods));
    vetoes.extend(theirs.filter_map(|(kind, workload)| under_way(*kind, workload)));
    Ok(vetoes)
}

/// By the labels, which no two workloads of a namespace may share.
fn owns_any(workload: &Workload, pods: &[Pod]) -> bool {
    let selector = &workload.spec.selector;
    pods.iter()
        .any(|pod| selector.matches(&pod.metadata.labels))
}

/// Whether pods are being replaced, or are becoming more or fewer.
pub(super) fn under_way(kind: WorkloadKind, workload: &Workload) -> Option<Veto> {
    let (spec, status) = (&workload.spec, &workload.status);
    let name = &workload.metadata.name;
    if status.observed_generation < workload.metadata.generation {
        let words = format!("{name} was changed, and Kubernetes has not taken that up yet");
        return Some(Veto::Rollout(words));
    }
    let wanted = match kind {
        WorkloadKind::DaemonSet => status.desired_number_scheduled,
        _ => spec.replicas.unwrap_or(1),
    };
    let (updated, there) = match kind {
        WorkloadKind::DaemonSet => (status.updated_number_scheduled, wanted),
        _ => (status.updated_replicas, status.replicas),
    };
    let new = match spec.update_strategy.r#type.as_str() {
        // Those that stay old, stay so for good.
        "OnDelete" => 0,
        _ => wanted.saturating_sub(spec.update_strategy.rolling_update.partition),
    };
    let what = match (updated < new, there == wanted) {
        (true, _) => format!("a rollout of {name} is under way: {updated} of {new} are new"),
        (false, true) => return None,
        (false, false) => format!("{name} has {there} pods, and {wanted} are wanted"),
    };
    match halted(kind, workload) {
        Some(why) => Some(Veto::Halted(format!(
            "{what}, and that has come to a halt: {why}"
        ))),
        None => Some(Veto::Rollout(what)),
    }
}

/// Why it may never end by itself.
fn halted(kind: WorkloadKind, workload: &Workload) -> Option<String> {
    let (spec, status) = (&workload.spec, &workload.status);
    if spec.paused {
        return Some("somebody has paused it".to_owned());
    }
    let failed = status.conditions.iter().find(|condition| {
        condition.reason == "ProgressDeadlineExceeded"
            || (condition.r#type == "ReplicaFailure" && condition.status == "True")
    });
    if let Some(failed) = failed {
        return Some(failed.message.clone());
    }
    // It goes on to the next pod only when the last one is ready.
    (kind == WorkloadKind::StatefulSet && status.ready_replicas < status.replicas)
        .then(|| "it waits for a pod that isn't ready".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Each case: a kind, what differs from three pods that are all as they should be, and what is found.
    #[test]
    fn a_rollout_or_a_scaling_is_told_from_a_sick_pod() {
        use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
        let waits = json!({ "readyReplicas": 2, "updatedReplicas": 1 });
        let late = json!({ "updatedReplicas": 1, "conditions": [
            { "type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "no progress" }] });
        for (kind, generation, spec, status, expected) in [
            (Deployment, 2, json!({}), json!({}), ""),
            (Deployment, 2, json!({}), json!({ "readyReplicas": 1 }), ""),
            (Deployment, 3, json!({}), json!({}), "was changed"),
            (
                Deployment,
                2,
                json!({}),
                json!({ "updatedReplicas": 1 }),
                "1 of 3 are new",
            ),
            (
                Deployment,
                2,
                json!({}),
                json!({ "replicas": 4 }),
                "4 pods, and 3",
            ),
            (
                Deployment,
                2,
                json!({ "replicas": 5 }),
                json!({ "updatedReplicas": 5 }),
                "3 pods, and 5",
            ),
            (Deployment, 2, json!({}), late, "halt: no progress"),
            (Deployment, 2, json!({ "paused": true }), json!({}), ""),
            (
                Deployment,
                2,
                json!({ "paused": true }),
                json!({ "updatedReplicas": 1 }),
                "halt: somebody has paused",
            ),
            (StatefulSet, 2, json!({}), waits, "halt: it waits for a pod"),
            (
                StatefulSet,
                2,
                json!({ "updateStrategy": { "rollingUpdate": { "partition": 2 } } }),
                json!({ "updatedReplicas": 1 }),
                "",
            ),
            (
                StatefulSet,
                2,
                json!({ "updateStrategy": { "type": "OnDelete" } }),
                json!({ "updatedReplicas": 0 }),
                "",
            ),
            (DaemonSet, 2, json!({}), json!({}), ""),
            (
                DaemonSet,
                2,
                json!({}),
                json!({ "updatedNumberScheduled": 2 }),
                "2 of 3 are new",
            ),
        ] {
            let whole = |mut all: Value, part: &Value| -> Value {
                let (Some(all_of_it), Some(part)) = (all.as_object_mut(), part.as_object()) else {
                    panic!("objects");
                };
                all_of_it.extend(part.clone());
                all
            };
            let workload: Workload = serde_json::from_value(json!({
                "metadata": { "name": "web", "generation": generation },
                "spec": whole(json!({ "replicas": 3 }), &spec),
                "status": whole(
                    json!({
                        "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3,
                        "readyReplicas": 3, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3,
                    }),
                    &status,
                ),
            }))
            .expect("a workload");
            let said = match under_way(kind, &workload) {
                None => String::new(),
                Some(Veto::Rollout(words) | Veto::Halted(words)) => words,
                Some(other) => panic!("{other:?}"),
            };
            assert_eq!(
                said.is_empty(),
                expected.is_empty(),
                "{spec} {status}: {said}"
            );
            assert!(said.contains(expected), "{spec} {status}: {said}");
        }
    }
}
