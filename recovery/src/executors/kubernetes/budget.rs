//! May so many pods be disrupted now?
//!
//! Only an eviction is held to disruption budgets by Kubernetes itself. Whoever deletes pods, or restarts their containers,
//! has to read them. Pods that aren't ready count for no budget: they are the ones that need it most to be ended.

use super::object::{Budget, Pod};
use crate::KubernetesRestart;
use crate::executor::Veto;
use crate::executors::lives::Condition;

/// What the budgets have against this restart of these pods.
pub(super) fn vetoes(restart: &KubernetesRestart, pods: &[Pod], budgets: &[Budget]) -> Vec<Veto> {
    budgets
        .iter()
        .filter_map(|budget| veto(restart, pods, budget))
        .collect()
}

fn veto(restart: &KubernetesRestart, pods: &[Pod], budget: &Budget) -> Option<Veto> {
    let (selector, name) = (budget.spec.selector.as_ref()?, &budget.metadata.name);
    let taken = pods
        .iter()
        .filter(|pod| pod.condition() == Condition::Ready)
        .filter(|pod| selector.matches(&pod.metadata.labels))
        .count() as u64;
    if taken == 0 {
        return None;
    }
    let status = &budget.status;
    if status.observed_generation < budget.metadata.generation {
        let words = format!("Kubernetes has not counted for the disruption budget {name} yet");
        return Some(Veto::Budget(words));
    }
    let needed = match restart {
        // One after the other, each as the budget allows.
        KubernetesRestart::Evict { .. } => 1,
        _ => taken,
    };
    if needed <= status.disruptions_allowed {
        return None;
    }
    let words = format!(
        "the disruption budget {name} lets {} pods go, {} healthy of {} that must be, and {needed} would",
        status.disruptions_allowed, status.current_healthy, status.desired_healthy
    );
    // However well all of them are, it won't let so many go.
    let most = status.expected_pods.saturating_sub(status.desired_healthy);
    Some(match needed > most {
        true => Veto::Never(words),
        false => Veto::Budget(words),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, is_ready: bool) -> Pod {
        let ready = if is_ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "app": "web" } },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .expect("a pod")
    }

    /// Each case: how, which of two pods are ready, what the budget is of and allows, and whether it says no.
    #[test]
    fn a_budget_counts_who_is_well() {
        let labels = || [("app".to_owned(), "web".to_owned())].into();
        let delete = KubernetesRestart::Delete { pods: labels() };
        let evict = KubernetesRestart::Evict { pods: labels() };
        let web = json!({ "matchLabels": { "app": "web" } });
        let others = json!({ "matchExpressions": [
            { "key": "app", "operator": "NotIn", "values": ["web"] }] });
        let nobody = serde_json::Value::Null;
        for (restart, ready, selector, allowed, desired, expected) in [
            (&delete, [true, true], &web, 1, 1, true),
            (&delete, [true, true], &web, 2, 1, false),
            (&delete, [true, false], &web, 1, 1, false),
            (&delete, [false, false], &web, 0, 1, false),
            (&delete, [true, true], &json!({}), 0, 1, true),
            (&delete, [true, true], &others, 0, 1, false),
            (&delete, [true, true], &nobody, 0, 1, false),
            (&evict, [true, true], &web, 1, 1, false),
            (&evict, [true, true], &web, 0, 1, true),
            // Two go at a time where one may at most, and where none ever may.
            (&delete, [true, true], &web, 1, 2, true),
            (&evict, [true, true], &web, 0, 3, true),
        ] {
            let pods = [pod("one", ready[0]), pod("two", ready[1])];
            let budget: Budget = serde_json::from_value(json!({
                "metadata": { "name": "web", "generation": 3 },
                "spec": { "selector": selector },
                "status": { "observedGeneration": 3, "disruptionsAllowed": allowed, "expectedPods": 3,
                    "desiredHealthy": desired },
            }))
            .expect("a budget");
            let vetoes = vetoes(restart, &pods, std::slice::from_ref(&budget));
            let says_no = match vetoes.as_slice() {
                [Veto::Budget(_)] => desired == 1,
                [Veto::Never(_)] => desired > 1,
                _ => false,
            };
            assert_eq!(
                says_no, expected,
                "{restart:?} {ready:?} {budget:?}: {vetoes:?}"
            );
            let mut uncounted = budget;
            uncounted.metadata.generation = 4;
            if expected {
                let vetoes = self::vetoes(restart, &pods, &[uncounted]);
                assert!(vetoes[0].words().contains("not counted"), "{vetoes:?}");
            }
        }
    }
}
