//! As much of Kubernetes' objects as matters here. Fields that are absent mean their zero.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::executors::lives::Condition;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub name: String,
    pub uid: String,
    pub generation: u64,
    pub resource_version: String,
    pub deletion_timestamp: Option<String>,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Of a list: there is more.
    #[serde(rename = "continue")]
    pub more: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pod {
    pub metadata: Metadata,
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub phase: String,
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    pub conditions: Vec<StatusCondition>,
    pub container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StatusCondition {
    pub r#type: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerStatus {
    pub name: String,
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ready: bool,
    pub state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerState {
    pub running: Option<serde_json::Value>,
    pub waiting: Option<Waiting>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub reason: String,
}

impl Pod {
    /// A pod that ended is kept as a record; it doesn't live.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    pub(super) fn identity(&self) -> String {
        format!("pod {} ({})", self.metadata.name, self.metadata.uid)
    }

    pub(super) fn condition(&self) -> Condition {
        if self.metadata.deletion_timestamp.is_some() {
            return Condition::Ending;
        }
        let ready = self
            .status
            .conditions
            .iter()
            .find(|condition| condition.r#type == "Ready");
        if ready.is_some_and(|ready| ready.status == "True") {
            return Condition::Ready;
        }
        let waiting = self
            .status
            .container_statuses
            .iter()
            .find_map(|container| container.state.waiting.as_ref());
        let reason = match (waiting, ready) {
            (Some(waiting), _) if !waiting.reason.is_empty() => waiting.reason.as_str(),
            (_, Some(ready)) if !ready.message.is_empty() => ready.message.as_str(),
            (_, Some(ready)) if !ready.reason.is_empty() => ready.reason.as_str(),
            _ => self.status.phase.as_str(),
        };
        Condition::NotReady(format!("pod {} is {reason}", self.metadata.name))
    }
}

/// A Deployment, StatefulSet or DaemonSet: their fields differ little, and not in meaning.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Workload {
    pub metadata: Metadata,
    pub spec: WorkloadSpec,
    pub status: WorkloadStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WorkloadSpec {
    pub paused: bool,
    pub replicas: Option<u64>,
    pub selector: Selector,
    pub update_strategy: UpdateStrategy,
    pub template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Expression {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UpdateStrategy {
    pub r#type: String,
    pub rolling_update: RollingUpdate,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RollingUpdate {
    /// Of a StatefulSet: so many stay as they are.
    pub partition: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Template {
    pub metadata: Metadata,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WorkloadStatus {
    pub observed_generation: u64,
    pub replicas: u64,
    pub updated_replicas: u64,
    pub available_replicas: u64,
    pub ready_replicas: u64,
    pub desired_number_scheduled: u64,
    pub updated_number_scheduled: u64,
    pub number_available: u64,
    pub conditions: Vec<StatusCondition>,
}

impl Selector {
    /// Whether these labels are meant. One that says nothing means all.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(has)
            && self.match_expressions.iter().all(|one| {
                let value = labels.get(&one.key);
                match one.operator.as_str() {
                    "In" => value.is_some_and(|value| one.values.contains(value)),
                    "NotIn" => value.is_none_or(|value| !one.values.contains(value)),
                    "DoesNotExist" => value.is_none(),
                    _ => value.is_some(),
                }
            })
    }

    /// As the API's query writes it.
    pub(super) fn written(&self) -> String {
        let mut parts = vec![labels(&self.match_labels)];
        for expression in &self.match_expressions {
            let (key, values) = (&expression.key, expression.values.join(","));
            parts.push(match expression.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.clone(),
            });
        }
        parts.retain(|part| !part.is_empty());
        parts.join(",")
    }
}

/// Labels as the API's query writes them.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// How many of its pods somebody may disrupt at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Budget {
    pub metadata: Metadata,
    pub spec: BudgetSpec,
    pub status: BudgetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BudgetSpec {
    /// Without one it is of no pod.
    pub selector: Option<Selector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BudgetStatus {
    pub observed_generation: u64,
    pub disruptions_allowed: u64,
    pub current_healthy: u64,
    pub desired_healthy: u64,
    pub expected_pods: u64,
}

/// A request of OpenKruise to restart containers in place.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RecreateRequest {
    pub status: RecreateStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RecreateStatus {
    pub phase: String,
    pub message: String,
    pub container_recreate_states: Vec<RecreateState>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecreateState {
    pub name: String,
    pub phase: String,
    pub message: String,
}

/// Why something was refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    pub message: String,
    pub details: RefusalDetails,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RefusalDetails {
    pub causes: Vec<RefusalCause>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RefusalCause {
    pub reason: String,
    pub message: String,
}
