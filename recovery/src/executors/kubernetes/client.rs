//! What is asked of Kubernetes' API, and what do its refusals mean?
//!
//! A client of our own: eight paths and a few fields are needed, and the generated types of the whole
//! API take longer to compile than the rest of this crate.

use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::access::Access;
use super::object::{List, Pod, Refusal, Workload};
use crate::executors::connection::{Answered, Ask, ask, escaped};
use crate::executors::lives::LOOK;
use crate::http_call::CallFailure;
use crate::{KubernetesSpec, WorkloadKind};

/// The most pods of one unit. A unit is what is restarted together: more pods than this at once is a
/// mistake in a selector.
const MAX_PODS: usize = 500;

/// The most objects of one kind that are looked through for those that a unit belongs to.
const MAX_OBJECTS: usize = 1000;

/// How long a change may take to be answered; within a deadline that may be shorter.
const CHANGE: Duration = Duration::from_secs(10);

/// A connection's worth of questions to one API server.
pub(super) struct Client {
    access: Access,
}

impl Client {
    /// With the credentials of this moment.
    pub(super) fn new(spec: &KubernetesSpec) -> Result<Self, CallFailure> {
        let access = Access::load(spec).map_err(|error| CallFailure {
            maybe_sent: false,
            reason: error.to_string(),
        })?;
        Ok(Self { access })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.access.namespace
    }

    pub(super) async fn ask(
        &self,
        mut asked: Ask,
        limit: Duration,
    ) -> Result<Answered, CallFailure> {
        asked.authorization = self
            .access
            .token
            .as_ref()
            .map(|token| format!("Bearer {token}"));
        ask(&self.access.endpoint, asked, limit).await
    }

    /// Reads an object.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, CallFailure> {
        let answered = self.ask(Ask::new(Method::GET, path), LOOK).await?;
        if !answered.is_success() {
            return Err(refusal(&answered, false));
        }
        answered.json()
    }

    /// Changes something; what was answered is the caller's to judge.
    pub(super) async fn change(
        &self,
        method: Method,
        path: String,
        content_type: &'static str,
        body: &Value,
        until: Instant,
    ) -> Result<Answered, CallFailure> {
        let limit = CHANGE.min(until.saturating_duration_since(Instant::now()));
        self.ask(Ask::new(method, path).with_json(content_type, body), limit)
            .await
    }

    /// The pods that live and that the selector matches.
    pub(super) async fn pods(&self, selector: &str) -> Result<Vec<Pod>, CallFailure> {
        let list: List<Pod> = self
            .get(format!(
                "/api/v1/namespaces/{}/pods?limit={MAX_PODS}&labelSelector={}",
                escaped(self.namespace()),
                escaped(selector)
            ))
            .await?;
        if !list.metadata.more.is_empty() {
            return Err(CallFailure {
                maybe_sent: false,
                reason: format!("more than {MAX_PODS} pods match {selector}"),
            });
        }
        let lives = list.items.into_iter().filter(Pod::lives);
        Ok(lives.collect())
    }

    /// All objects of a kind in the namespace, such as `policy/v1` and `poddisruptionbudgets`.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        group: &str,
        kind: &str,
    ) -> Result<Vec<T>, CallFailure> {
        let namespace = escaped(self.namespace());
        let path = format!("/apis/{group}/namespaces/{namespace}/{kind}?limit={MAX_OBJECTS}");
        let list: List<T> = self.get(path).await?;
        match list.metadata.more.is_empty() {
            true => Ok(list.items),
            false => Err(CallFailure {
                maybe_sent: false,
                reason: format!("there are more than {MAX_OBJECTS} {kind}"),
            }),
        }
    }

    pub(super) fn pod_path(&self, pod: &str) -> String {
        let namespace = escaped(self.namespace());
        format!("/api/v1/namespaces/{namespace}/pods/{}", escaped(pod))
    }

    pub(super) fn workload_path(&self, kind: WorkloadKind, name: &str) -> String {
        let kind = plural(kind);
        let namespace = escaped(self.namespace());
        format!(
            "/apis/apps/v1/namespaces/{namespace}/{kind}/{}",
            escaped(name)
        )
    }

    pub(super) async fn workload(
        &self,
        kind: WorkloadKind,
        name: &str,
    ) -> Result<Workload, CallFailure> {
        self.get(self.workload_path(kind, name)).await
    }
}

/// What the API calls many of them.
pub(super) const fn plural(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::DaemonSet => "daemonsets",
    }
}

/// A refusal in words. `maybe_sent` says whether a failure of the server itself may have come after
/// the change; all other refusals say that nothing was done.
pub(super) fn refusal(answered: &Answered, maybe_sent: bool) -> CallFailure {
    let message = answered.message();
    let (maybe_sent, reason) = match answered.status {
        401 => (
            false,
            format!("Kubernetes doesn't accept the credentials: {message}"),
        ),
        403 => (false, format!("Kubernetes forbids it: {message}")),
        404 => (false, format!("Kubernetes has no such thing: {message}")),
        429 => (
            false,
            format!("Kubernetes says not now: {}", with_causes(answered)),
        ),
        status @ 500.. => (
            maybe_sent,
            format!("Kubernetes answered {status}: {message}"),
        ),
        status => (false, format!("Kubernetes answered {status}: {message}")),
    };
    CallFailure { maybe_sent, reason }
}

/// What a refusal says, down to its causes: a disruption budget speaks there.
fn with_causes(answered: &Answered) -> String {
    let refusal = parsed(answered);
    let mut text = refusal.message;
    for cause in refusal.details.causes {
        if !cause.message.is_empty() {
            text.push(' ');
            text.push_str(&cause.message);
        }
    }
    text
}

/// Whether it is a disruption budget that says no.
pub(super) fn is_by_budget(answered: &Answered) -> bool {
    let causes = parsed(answered).details.causes;
    answered.status == 429
        && causes
            .iter()
            .any(|cause| cause.reason == "DisruptionBudget")
}

fn parsed(answered: &Answered) -> Refusal {
    serde_json::from_slice(&answered.body).unwrap_or_default()
}
