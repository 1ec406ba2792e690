//! Pods are ended one by one, each by its uid; whoever owns them makes new ones.
//!
//! All are ended as fast as they may be, because a unit is what is restarted together. A disruption
//! budget that says no to the first one is obeyed at once: nothing was done, and recovery decides
//! what else to do. Once one has gone, a later no means *not yet*, and is asked again until the
//! deadline: so a budget turns an eviction into a rolling one.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Client, is_by_budget, refusal};
use super::object::Pod;
use crate::executors::connection::Answered;
use crate::http_call::CallFailure;

/// The pause before a no that means *not yet* is asked again, unless the server names one: a new pod
/// takes a few seconds to be ready.
const NOT_YET: Duration = Duration::from_millis(500);

/// The longest pause that a server can impose between two questions.
const MAX_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn evict(
    client: &Client,
    pods: &[Pod],
    grace: Option<u64>,
    until: Instant,
) -> Result<(), CallFailure> {
    let mut ended = 0;
    for pod in required(pods)? {
        let meta = &pod.metadata;
        let body = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": meta.name, "namespace": client.namespace() },
            "deleteOptions": options(pod, grace),
        });
        let path = format!("{}/eviction", client.pod_path(&meta.name));
        loop {
            let answered = client
                .change(Method::POST, path.clone(), "application/json", &body, until)
                .await
                .map_err(|failure| after(ended, pods, failure))?;
            // A budget's no to the first is a veto; every other 429 is a pause.
            let is_pause = answered.status == 429 && (ended > 0 || !is_by_budget(&answered));
            let pause = answered.retry_after.unwrap_or(NOT_YET).min(MAX_PAUSE);
            if is_pause && until.saturating_duration_since(Instant::now()) > pause {
                tokio::time::sleep(pause).await;
                continue;
            }
            judge(&answered).map_err(|failure| after(ended, pods, failure))?;
            break;
        }
        ended += 1;
    }
    Ok(())
}

pub(super) async fn delete(
    client: &Client,
    pods: &[Pod],
    grace: Option<u64>,
    until: Instant,
) -> Result<(), CallFailure> {
    for (ended, pod) in required(pods)?.iter().enumerate() {
        let mut body = options(pod, grace);
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("DeleteOptions");
        let path = client.pod_path(&pod.metadata.name);
        let answered = client
            .change(Method::DELETE, path, "application/json", &body, until)
            .await
            .and_then(|answered| judge(&answered));
        answered.map_err(|failure| after(ended, pods, failure))?;
    }
    Ok(())
}

/// Of the ending of this very pod.
fn options(pod: &Pod, grace: Option<u64>) -> Value {
    let mut options = json!({ "preconditions": { "uid": pod.metadata.uid } });
    if let Some(seconds) = grace {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    options
}

fn required(pods: &[Pod]) -> Result<&[Pod], CallFailure> {
    if pods.is_empty() {
        return Err(CallFailure {
            maybe_sent: false,
            reason: "no pod has these labels".to_owned(),
        });
    }
    Ok(pods)
}

/// A pod that is gone, or whose name is now another pod's (409), has ended as it was meant to.
fn judge(answered: &Answered) -> Result<(), CallFailure> {
    match answered.status {
        200..300 | 404 | 409 => Ok(()),
        _ => Err(refusal(answered, true)),
    }
}

/// Once one has ended, nothing is refused any more: a part was done.
fn after(ended: usize, pods: &[Pod], failure: CallFailure) -> CallFailure {
    if ended == 0 {
        return failure;
    }
    CallFailure {
        maybe_sent: true,
        reason: format!(
            "{ended} of {} pods were ended; {}",
            pods.len(),
            failure.reason
        ),
    }
}
