//! How does Kubernetes restart something, and when is it known that it did?
//!
//! | way | what is ordered | who lives |
//! |---|---|---|
//! | rollout | a mark in the pod template, on the version that was read | pods, by uid |
//! | evict | an eviction of each pod, by uid; disruption budgets may say no | pods, by uid |
//! | delete | a deletion of each pod, by uid | pods, by uid |
//! | one pod | an eviction or a deletion of that pod, by uid | that pod; once it is gone, those beside it |
//! | recreate | OpenKruise's request to restart a container, named after the action | containers, by id |
//!
//! Every order names those whom it is meant for, so one that arrives late or twice can't hit their
//! successors: Kubernetes fences. That the old life has ended is seen, not believed (see
//! [`super::lives`]); a pod that was told to end and still has its object is not gone.

mod access;
mod budget;
mod client;
mod namespace;
mod object;
mod pods;
mod recreate;
mod rollout;
mod veto;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use self::client::Client;
pub(super) use self::namespace::Namespaces;
use self::object::{Pod, labels};
use super::lives::{Condition, Platform, Sight};
use crate::executor::{ActionId, BoxFuture, Life, Permit, Recall, Veto};
use crate::http_call::CallFailure;
use crate::template::Listed;
use crate::{KubernetesRestart, KubernetesSpec, Stop};

/// Restarts of pods take seconds, and the API server has others to serve.
const PAUSE: Duration = Duration::from_millis(250);

/// A deletion is seen in the pod as soon as it was taken; a rollout and a recreation are remembered.
const UNTOUCHED: Duration = Duration::from_secs(2);

/// What Kubernetes keeps alive of a unit.
#[derive(Clone, Debug)]
pub(crate) struct Kubernetes {
    spec: KubernetesSpec,
    namespaces: Namespaces,
}

impl Kubernetes {
    pub(crate) fn new(spec: KubernetesSpec, namespaces: Namespaces) -> Self {
        Self { spec, namespaces }
    }

    async fn see(&self) -> Result<Sight, CallFailure> {
        let client = Client::new(&self.spec)?;
        match &self.spec.restart {
            KubernetesRestart::Rollout { kind, name } => rollout::see(&client, *kind, name).await,
            KubernetesRestart::Evict { pods } | KubernetesRestart::Delete { pods } => {
                Ok(sight(&some_pods(&client, pods).await?))
            }
            KubernetesRestart::Pod { name, beside, .. } => {
                Ok(sight_of_one(name, some_pods(&client, beside).await?))
            }
            KubernetesRestart::Recreate { pods, container } => {
                recreate::see(&client, pods, container).await
            }
        }
    }

    async fn give(
        &self,
        permit: &Permit,
        before: &Sight,
        until: Instant,
    ) -> Result<(), CallFailure> {
        let client = Client::new(&self.spec)?;
        let grace = self.spec.stop.map(seconds);
        match &self.spec.restart {
            KubernetesRestart::Rollout { kind, name } => {
                rollout::order(&client, *kind, name, permit, until).await
            }
            KubernetesRestart::Evict { pods } => {
                let pods = seen_before(some_pods(&client, pods).await?, before);
                pods::evict(&client, &pods, grace, until).await
            }
            KubernetesRestart::Delete { pods } => {
                let pods = seen_before(some_pods(&client, pods).await?, before);
                pods::delete(&client, &pods, grace, until).await
            }
            KubernetesRestart::Pod {
                name,
                beside,
                is_evicted,
            } => {
                let mut pods = seen_before(some_pods(&client, beside).await?, before);
                pods.retain(|pod| pod.metadata.name == *name);
                match is_evicted {
                    true => pods::evict(&client, &pods, grace, until).await,
                    false => pods::delete(&client, &pods, grace, until).await,
                }
            }
            KubernetesRestart::Recreate { pods, container } => {
                recreate::order(&client, pods, container, grace, permit, until).await
            }
        }
    }

    async fn has(&self, action: ActionId, generation: u64) -> Result<Option<bool>, CallFailure> {
        let client = Client::new(&self.spec)?;
        match &self.spec.restart {
            KubernetesRestart::Rollout { kind, name } => {
                rollout::remembers(&client, *kind, name, action, generation)
                    .await
                    .map(Some)
            }
            KubernetesRestart::Recreate { .. } => recreate::remembers(&client, action, generation)
                .await
                .map(Some),
            KubernetesRestart::Evict { .. }
            | KubernetesRestart::Delete { .. }
            | KubernetesRestart::Pod { .. } => Ok(None),
        }
    }
}

/// As Kubernetes takes it. A part of a second is rounded up, so that a short time is not none.
fn seconds(stop: Stop) -> u64 {
    let grace = stop.grace();
    grace.as_secs() + u64::from(grace.subsec_nanos() > 0)
}

/// The pods with these labels. None at all is no unit that could be restarted.
async fn some_pods(
    client: &Client,
    wanted: &BTreeMap<String, String>,
) -> Result<Vec<Pod>, CallFailure> {
    client.pods(&labels(wanted)).await
}

fn seen_before(pods: Vec<Pod>, before: &Sight) -> Vec<Pod> {
    let mut pods = pods;
    pods.retain(|pod| before.lives.contains_key(&pod.identity()));
    pods
}

/// The pod of this name while it is there; then those beside it, one of whom is its successor, and nobody says which.
fn sight_of_one(name: &str, pods: Vec<Pod>) -> Sight {
    let (own, beside): (Vec<Pod>, Vec<Pod>) =
        pods.into_iter().partition(|pod| pod.metadata.name == name);
    let beside = sight(&beside);
    match own.is_empty() {
        true => beside,
        false => Sight {
            beside: Some(beside.lives),
            ..sight(&own)
        },
    }
}

/// The names and uids of the pods that this evicts or deletes.
pub(crate) async fn list(spec: &KubernetesSpec) -> Result<Vec<Listed>, CallFailure> {
    let (KubernetesRestart::Evict { pods } | KubernetesRestart::Delete { pods }) = &spec.restart
    else {
        return Ok(Vec::new());
    };
    let client = Client::new(spec)?;
    let pods = some_pods(&client, pods).await?;
    let listed = pods.into_iter().map(|pod| Listed {
        is_up: pod.condition() == Condition::Ready,
        address: pod.status.pod_ip.parse().ok(),
        name: pod.metadata.name,
        id: pod.metadata.uid,
    });
    Ok(listed.collect())
}

fn sight(pods: &[Pod]) -> Sight {
    Sight {
        lives: pods
            .iter()
            .map(|pod| (pod.identity(), pod.condition()))
            .collect(),
        missing: pods.is_empty().then(|| "there is no such pod".to_owned()),
        wanted: None,
        beside: None,
    }
}

impl Platform for Kubernetes {
    fn look(&self) -> BoxFuture<'_, Result<Sight, CallFailure>> {
        Box::pin(self.see())
    }

    fn order<'a>(
        &'a self,
        permit: &'a Permit,
        before: &'a Sight,
        until: Instant,
    ) -> BoxFuture<'a, Result<Life, CallFailure>> {
        Box::pin(async move {
            self.give(permit, before, until).await?;
            // The mark in the template is what new pods can read.
            let is_marked = matches!(self.spec.restart, KubernetesRestart::Rollout { .. });
            Ok(Life {
                process: is_marked.then_some(permit.generation()),
                part: None,
            })
        })
    }

    fn remembers<'a>(
        &'a self,
        action: ActionId,
        generation: u64,
    ) -> BoxFuture<'a, Result<Option<bool>, CallFailure>> {
        Box::pin(self.has(action, generation))
    }

    fn untouched(&self) -> Duration {
        UNTOUCHED
    }

    fn pause(&self) -> Duration {
        PAUSE
    }

    fn recall(&self) -> Recall {
        Recall::Fenced
    }

    fn vetoes(&self) -> Option<BoxFuture<'_, Vec<Veto>>> {
        Some(Box::pin(veto::ask(&self.spec, &self.namespaces)))
    }
}

#[cfg(test)]
mod tests;
