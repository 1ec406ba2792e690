//! What is in a namespace that many units ask for before they are restarted?
//!
//! Budgets and workloads are listed whole, since nobody can ask an API server for those that are of a pod. In a group of fifty
//! units each would list them by itself, again and again while a restart is wanted. So one list serves all that ask within
//! a second, and who asks while it is being read waits for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, plural};
use super::object::{Budget, Workload};
use crate::http_call::CallFailure;
use crate::{KubernetesSpec, WorkloadKind};

/// A list is of the time at which its reading began, and serves those that asked so long after that: well within what guards
/// take for fresh.
const SERVES: Duration = Duration::from_secs(1);

const KINDS: [WorkloadKind; 3] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
];

/// Budgets and workloads of a namespace.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) budgets: Vec<Budget>,
    pub(super) workloads: Vec<(WorkloadKind, Workload)>,
}

/// A failure is an answer, too: or fifty units would wait for a server that is away, one after the other.
type Answer = Result<Arc<Whole>, CallFailure>;

/// By whom it was asked for, and where: kubeconfig, context, namespace.
type Place = (Option<PathBuf>, Option<String>, Option<String>);

/// What was read when, if anything was.
type Known = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// The namespaces that units are in; as many as the configuration names. Clones share what was read.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    known: Arc<Mutex<BTreeMap<Place, Known>>>,
    serves: Duration,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::serving(SERVES)
    }
}

impl Namespaces {
    /// Where a list serves for so long.
    pub(super) fn serving(serves: Duration) -> Self {
        let known = Arc::default();
        Self { known, serves }
    }

    /// What is in the unit's namespace, as of a moment ago at most.
    pub(super) async fn whole(&self, spec: &KubernetesSpec, client: &Client) -> Answer {
        let asked_at = Instant::now();
        let place = (
            spec.kubeconfig.clone(),
            spec.context.clone(),
            spec.namespace.clone(),
        );
        let known = {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(place).or_default())
        };
        let mut known = known.lock().await;
        if let Some((began, answer)) = &*known
            && asked_at.saturating_duration_since(*began) < self.serves
        {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = read(client).await.map(Arc::new);
        *known = Some((began, answer.clone()));
        answer
    }
}

async fn read(client: &Client) -> Result<Whole, CallFailure> {
    let budgets = client.all("policy/v1", "poddisruptionbudgets").await?;
    let mut workloads = Vec::new();
    for kind in KINDS {
        let of_kind: Vec<Workload> = client.all("apps/v1", plural(kind)).await?;
        workloads.extend(of_kind.into_iter().map(|workload| (kind, workload)));
    }
    Ok(Whole { budgets, workloads })
}
