//! Against a real control plane: `REKINDLE_TEST_KUBECONFIGS` is a folder with kubeconfig files for
//! `admin`, for `least` (the service account of `recovery/kubernetes/rbac.yaml`), for somebody
//! `lesser` to whom a test gives rights, for a `stranger` without any, for somebody `unknown`, and for a server that is `away`.
//! `tests/e2e/kubernetes/run` makes it. Everything is restarted as `least`.

use std::path::PathBuf;

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::*;
use crate::executor::Effect;
use crate::executors::connection::{Answered, Ask};
use crate::template::{Growth, Source};

const DEADLINE: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

fn folder() -> PathBuf {
    let folder = std::env::var("REKINDLE_TEST_KUBECONFIGS").unwrap_or_else(|_| {
        panic!("REKINDLE_TEST_KUBECONFIGS is not set: run tests/e2e/kubernetes/run, which sets it")
    });
    PathBuf::from(folder)
}

fn spec_as(who: &str, restart: KubernetesRestart) -> KubernetesSpec {
    KubernetesSpec {
        restart,
        namespace: None,
        kubeconfig: Some(folder().join(format!("{who}.kubeconfig"))),
        context: None,
        stop: None,
    }
}

/// The cluster as its administrator sees it.
struct Cluster(Client);

/// Namespaces, two nodes, OpenKruise's definition and the role, once for all tests.
static SET_UP: OnceCell<()> = OnceCell::const_new();

async fn cluster() -> Cluster {
    let spec = spec_as("admin", rollout("none"));
    let cluster = Cluster(Client::new(&spec).expect("a kubeconfig"));
    SET_UP.get_or_init(|| cluster.set_up()).await;
    cluster
}

impl Cluster {
    async fn set_up(&self) {
        for name in ["shop", "rekindle"] {
            let space = json!({"metadata": {"name": name}});
            self.create("/api/v1/namespaces", &space).await;
        }
        for name in ["one", "two"] {
            let node = json!({
                "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}},
                "status": {
                    "capacity": {"cpu": "32", "memory": "64Gi", "pods": "200"},
                    "allocatable": {"cpu": "32", "memory": "64Gi", "pods": "200"},
                },
            });
            self.create("/api/v1/nodes", &node).await;
        }
        let kruise = include_str!("../../../../../tests/e2e/kubernetes/recreate-requests.yaml");
        let kruise: Value = serde_saphyr::from_str(kruise).expect("YAML");
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.create(definitions, &kruise).await;
        for text in include_str!("../../../../kubernetes/rbac.yaml").split("\n---\n") {
            let object: Value = serde_saphyr::from_str(text).expect("YAML");
            let space = object["metadata"]["namespace"]
                .as_str()
                .expect("a namespace");
            let path = match object["kind"].as_str().expect("a kind") {
                "ServiceAccount" => format!("/api/v1/namespaces/{space}/serviceaccounts"),
                kind => format!(
                    "/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/{}s",
                    kind.to_lowercase()
                ),
            };
            self.create(&path, &object).await;
        }
        until("the role is known", || async {
            let access = Client::new(&spec_as("least", rollout("none"))).expect("a kubeconfig");
            access.pods("app=none").await.is_ok()
        })
        .await;
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: &Value,
    ) -> Answered {
        let asked = Ask::new(method, path).with_json(content_type, body);
        self.0
            .ask(asked, DEADLINE)
            .await
            .expect("the server answers")
    }

    async fn create(&self, path: &str, object: &Value) -> Value {
        let answered = self.ask(Method::POST, path, JSON, object).await;
        assert!(answered.is_success(), "{path}: {}", answered.message());
        answered.json().expect("JSON")
    }

    async fn patch(&self, path: &str, change: &Value) {
        let answered = self.ask(Method::PATCH, path, MERGE, change).await;
        assert!(answered.is_success(), "{path}: {}", answered.message());
    }

    async fn workload(&self, kind: &str, name: &str, replicas: u64) -> String {
        let path = format!("/apis/apps/v1/namespaces/shop/{kind}");
        let mut spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "none"}]},
            },
        });
        if kind != "daemonsets" {
            spec["replicas"] = json!(replicas);
        }
        if kind == "statefulsets" {
            spec["serviceName"] = json!(name);
        }
        self.create(&path, &json!({"metadata": {"name": name}, "spec": spec}))
            .await;
        let labels = format!("app={name}");
        until("its pods are ready", || async {
            let pods = self.0.pods(&labels).await.expect("listed");
            let is_ready = |pod: &Pod| pod.condition() == crate::executors::lives::Condition::Ready;
            u64::try_from(pods.len()).expect("fits") == replicas && pods.iter().all(is_ready)
        })
        .await;
        let path = format!("{path}/{name}");
        until("its status says so", || async {
            let seen: Value = self.0.get(path.clone()).await.expect("read");
            let status = &seen["status"];
            let is = |key: &str| status[key].as_u64().unwrap_or(0) == replicas;
            status["observedGeneration"] == seen["metadata"]["generation"]
                && match kind {
                    "daemonsets" => is("numberAvailable") && is("updatedNumberScheduled"),
                    "statefulsets" => is("readyReplicas") && is("updatedReplicas"),
                    _ => is("availableReplicas") && is("updatedReplicas"),
                }
        })
        .await;
        path
    }

    async fn budget(&self, name: &str, min_available: u64) {
        let path = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";
        let budget = json!({
            "metadata": {"name": name},
            "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}},
        });
        self.create(path, &budget).await;
        let path = format!("{path}/{name}");
        until("the budget has counted", || async {
            let seen: Value = self.0.get(path.clone()).await.expect("read");
            seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
                && seen["status"]["currentHealthy"].as_u64() > Some(0)
        })
        .await;
    }

    async fn identities(&self, name: &str) -> Vec<String> {
        let pods = self.0.pods(&format!("app={name}")).await.expect("listed");
        pods.iter().map(Pod::identity).collect()
    }
}

async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !is().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn restart_as(who: &str, restart: KubernetesRestart, deadline: Duration) -> String {
    let state = tempfile::tempdir().expect("a directory");
    let executor = executor(spec_as(who, restart), state.path());
    said(executor.restart(permit(5, deadline)).await)
}

#[tokio::test]
async fn each_kind_of_workload_is_rolled_and_marked() {
    let cluster = cluster().await;
    for (kind, kind_name, replicas) in [
        (WorkloadKind::Deployment, "deployments", 3),
        (WorkloadKind::StatefulSet, "statefulsets", 2),
        (WorkloadKind::DaemonSet, "daemonsets", 2),
    ] {
        let name = format!("rolled-{kind_name}");
        let path = cluster.workload(kind_name, &name, replicas).await;
        let old = cluster.identities(&name).await;
        let restart = KubernetesRestart::Rollout {
            kind,
            name: name.clone(),
        };
        let state = tempfile::tempdir().expect("a directory");
        let executor = executor(spec_as("least", restart), state.path());
        // A stateful set's pods are rolled one after the other, which beside other work takes long.
        let executed = executor
            .restart(permit(5, 3 * DEADLINE))
            .await
            .expect(&name);
        println!("{name}: {}", executed.note);
        assert_eq!(executed.began.process, Some(2), "what its pods can read");
        let new = cluster.identities(&name).await;
        assert!(old.iter().all(|pod| !new.contains(pod)), "{old:?} {new:?}");
        let seen: Value = cluster.0.get(path).await.expect("read");
        let marks = &seen["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(marks["rekindle/generation"], "2");
        let unit = "web".into();
        assert_eq!(executor.inquire(ActionId(5), &unit, 2).await, Effect::Done);
        assert_eq!(
            executor.inquire(ActionId(6), &unit, 3).await,
            Effect::NotDone
        );
    }
}

#[tokio::test]
async fn a_rollout_that_is_paused_under_way_or_of_nothing_is_refused() {
    let cluster = cluster().await;
    let path = cluster.workload("deployments", "vetoed", 2).await;
    cluster
        .patch(&path, &json!({"spec": {"paused": true}}))
        .await;
    let said = restart_as("least", rollout("vetoed"), DEADLINE).await;
    assert!(said.contains("somebody has paused its rollouts"), "{said}");
    // Its new pods fit on no node, so this rollout stays under way.
    let nowhere =
        json!({"spec": {"paused": false, "template": {"spec": {"nodeSelector": {"no": "where"}}}}});
    cluster.patch(&path, &nowhere).await;
    let said = restart_as("least", rollout("vetoed"), DEADLINE).await;
    assert!(said.contains("a rollout of vetoed is under way"), "{said}");
    let said = restart_as("least", rollout("nothing"), DEADLINE).await;
    assert!(said.contains("Kubernetes has no such thing"), "{said}");
}

#[tokio::test]
async fn a_budget_makes_an_eviction_rolling_or_forbids_it() {
    let cluster = cluster().await;
    for (name, replicas, min_available) in [("rolling", 3, 2), ("full", 2, 2), ("free", 2, 0)] {
        cluster.workload("deployments", name, replicas).await;
        if min_available > 0 {
            cluster.budget(name, min_available).await;
        }
        let old = cluster.identities(name).await;
        let evict = KubernetesRestart::Evict { pods: app(name) };
        let said = restart_as("least", evict, DEADLINE).await;
        println!("{name}: {said}");
        let new = cluster.identities(name).await;
        if min_available < replicas {
            assert!(said.contains("replaced after"), "{said}");
            assert!(old.iter().all(|pod| !new.contains(pod)), "{old:?} {new:?}");
        } else {
            assert!(
                said.starts_with("restart of web was refused: Kubernetes says not now"),
                "{said}"
            );
            assert!(said.contains("disruption budget"), "{said}");
            assert_eq!(old, new, "nothing was done");
        }
    }
    // A deletion asks no budget.
    let old = cluster.identities("full").await;
    let delete = KubernetesRestart::Delete { pods: app("full") };
    let said = restart_as("least", delete, DEADLINE).await;
    assert!(said.contains("replaced after"), "{said}");
    let new = cluster.identities("full").await;
    assert!(old.iter().all(|pod| !new.contains(pod)), "{old:?} {new:?}");
    let nobody = KubernetesRestart::Evict {
        pods: app("nobody"),
    };
    let said = restart_as("least", nobody, DEADLINE).await;
    assert!(said.contains("no pod has these labels"), "{said}");
}

#[tokio::test]
async fn who_may_not_is_refused_and_a_server_that_is_away_too() {
    let cluster = cluster().await;
    cluster.workload("deployments", "guarded", 1).await;
    let old = cluster.identities("guarded").await;
    for (who, expected) in [
        (
            "stranger",
            "Kubernetes forbids it: deployments.apps \"guarded\" is forbidden",
        ),
        ("unknown", "Kubernetes doesn't accept the credentials"),
        ("away", "no connection to 127.0.0.1:1"),
    ] {
        let said = restart_as(who, rollout("guarded"), DEADLINE).await;
        assert!(said.starts_with("restart of web was refused: "), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(cluster.identities("guarded").await, old);
}

/// Each rule of the shipped role is needed: who has all but one can't restart in the way that it is
/// for. That all together suffice is what the other tests show.
#[tokio::test]
async fn the_role_is_the_least_that_suffices() {
    let cluster = cluster().await;
    let group = "rbac.authorization.k8s.io";
    let path = format!("/apis/{group}/v1/namespaces/shop");
    let file = include_str!("../../../../kubernetes/rbac.yaml");
    let role = file.split("\n---\n").nth(1).expect("the role");
    let role: Value = serde_saphyr::from_str(role).expect("YAML");
    let rules = role["rules"].as_array().expect("rules").clone();
    let lesser = json!({"metadata": {"name": "lesser"}, "rules": []});
    cluster.create(&format!("{path}/roles"), &lesser).await;
    let binding = json!({
        "metadata": {"name": "lesser"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "lesser"},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "lesser"}],
    });
    cluster
        .create(&format!("{path}/rolebindings"), &binding)
        .await;
    cluster.workload("deployments", "needed", 1).await;
    let recreate = KubernetesRestart::Recreate {
        pods: app("needed"),
        container: "app".to_owned(),
    };
    let delete = KubernetesRestart::Delete {
        pods: app("needed"),
    };
    // What needs the rule is the restart, or the question that comes before it.
    let ways = [
        (rollout("needed"), false),
        (delete.clone(), true),
        (delete.clone(), true),
        (rollout("needed"), false),
        (
            KubernetesRestart::Evict {
                pods: app("needed"),
            },
            false,
        ),
        (delete, false),
        (recreate, false),
    ];
    assert_eq!(
        rules.len(),
        ways.len(),
        "a rule that no way of restarting needs"
    );
    for (left_out, (way, is_asked)) in ways.into_iter().enumerate() {
        let mut fewer = rules.clone();
        fewer.remove(left_out);
        cluster
            .patch(&format!("{path}/roles/lesser"), &json!({"rules": fewer}))
            .await;
        until(&format!("rule {left_out} is missed"), || async {
            let said = match is_asked {
                true => format!(
                    "{:?}",
                    veto::ask(&spec_as("lesser", way.clone()), &Namespaces::default()).await
                ),
                false => restart_as("lesser", way.clone(), Duration::from_secs(1)).await,
            };
            said.contains("Kubernetes forbids it")
        })
        .await;
    }
}

/// What the guards hear of budgets, rollouts and scalings, whichever way the pods would be restarted.
#[tokio::test]
async fn what_speaks_against_a_restart_is_read_before_it() {
    let cluster = cluster().await;
    let path = cluster.workload("deployments", "promised", 2).await;
    let delete = || KubernetesRestart::Delete {
        pods: app("promised"),
    };
    let ask = async || veto::ask(&spec_as("least", delete()), &Namespaces::default()).await;
    assert_eq!(ask().await, []);
    cluster.budget("promised", 1).await;
    let said = ask().await;
    // However well its pods are, one of the two must stay.
    let [Veto::Never(words)] = said.as_slice() else {
        panic!("{said:?}");
    };
    let expected = "lets 1 pods go, 2 healthy of 1 that must be, and 2 would";
    assert!(words.contains(expected), "{words}");
    // One at a time, as an eviction goes, the budget allows.
    let evict = KubernetesRestart::Evict {
        pods: app("promised"),
    };
    assert_eq!(
        veto::ask(&spec_as("least", evict), &Namespaces::default()).await,
        []
    );
    // Its new pods fit on no node.
    let nowhere = json!({"spec": {"template": {"spec": {"nodeSelector": {"no": "where"}}}}});
    cluster.patch(&path, &nowhere).await;
    until("the rollout is seen", || async {
        let rolls = |veto: &Veto| matches!(veto, Veto::Rollout(_)) && veto.words().contains("new");
        ask().await.iter().any(rolls)
    })
    .await;
    let said = veto::ask(&spec_as("stranger", delete()), &Namespaces::default()).await;
    let is_unclear = matches!(said.as_slice(), [Veto::Unclear(_)]);
    assert!(
        is_unclear && said[0].words().contains("forbids"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_pod_that_will_not_go_is_unknown_until_it_has_gone() {
    let cluster = cluster().await;
    cluster.workload("deployments", "held", 1).await;
    let held = cluster.0.pods("app=held").await.expect("listed").remove(0);
    let path = cluster.0.pod_path(&held.metadata.name);
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    cluster
        .patch(&path, &finalizers(json!(["rekindle/test"])))
        .await;
    let state = tempfile::tempdir().expect("a directory");
    let evict = KubernetesRestart::Evict { pods: app("held") };
    let executor = executor(spec_as("least", evict), state.path());
    let said = said(executor.restart(permit(5, Duration::from_secs(3))).await);
    let expected = format!(
        "whether web was restarted is unknown: {} had not ended",
        held.identity()
    );
    assert!(said.starts_with(&expected), "{said}");
    let unit = "web".into();
    assert_eq!(
        executor.inquire(ActionId(5), &unit, 2).await,
        Effect::Unknown
    );
    cluster.patch(&path, &finalizers(Value::Null)).await;
    // kwok takes its time to let it go.
    until("it is found done", || async {
        executor.inquire(ActionId(5), &unit, 2).await == Effect::Done
    })
    .await;
}

/// The API server holds a pod's end to what it is given, whatever the pod says itself.
#[tokio::test]
async fn a_pod_is_given_less_time_than_it_says() {
    let cluster = cluster().await;
    for name in ["brief-evicted", "brief-deleted"] {
        let pods = app(name);
        let restart = match name {
            "brief-evicted" => KubernetesRestart::Evict { pods },
            _ => KubernetesRestart::Delete { pods },
        };
        cluster.workload("deployments", name, 1).await;
        let brief = cluster
            .0
            .pods(&labels(&app(name)))
            .await
            .expect("listed")
            .remove(0);
        let path = cluster.0.pod_path(&brief.metadata.name);
        let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
        let held = finalizers(json!(["rekindle/test"]));
        cluster.patch(&path, &held).await;
        let spec = KubernetesSpec {
            stop: Some(Stop::Term(Duration::from_millis(2500))),
            ..spec_as("least", restart)
        };
        let state = tempfile::tempdir().expect("a directory");
        let executor = executor(spec, state.path());
        let said = said(executor.restart(permit(5, Duration::from_secs(2))).await);
        assert!(said.contains("had not ended"), "{said}");
        let ending: Value = cluster.0.get(path.clone()).await.expect("it is held");
        assert_eq!(ending["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(
            ending["metadata"]["deletionGracePeriodSeconds"], 3,
            "{name}"
        );
        cluster.patch(&path, &finalizers(Value::Null)).await;
        until("it has gone", || async {
            cluster.0.get::<Value>(path.clone()).await.is_err()
        })
        .await;
    }
}

/// The test plays OpenKruise's part on the node: it gives the container a new id and says so.
#[tokio::test]
async fn a_container_is_recreated_in_place() {
    let cluster = cluster().await;
    cluster.workload("deployments", "recreated", 1).await;
    let pod = cluster
        .0
        .pods("app=recreated")
        .await
        .expect("listed")
        .remove(0);
    let path = format!("{}/status", cluster.0.pod_path(&pod.metadata.name));
    let status = |id: &str| {
        json!({"status": {"containerStatuses": [{
            "name": "app", "containerID": id, "image": "none", "imageID": "none", "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }]}})
    };
    cluster.patch(&path, &status("kwok://first")).await;
    let state = tempfile::tempdir().expect("a directory");
    let recreate = KubernetesRestart::Recreate {
        pods: app("recreated"),
        container: "app".to_owned(),
    };
    let spec = KubernetesSpec {
        stop: Some(Stop::Kill),
        ..spec_as("least", recreate)
    };
    let executor = executor(spec, state.path());
    let uid = pod.metadata.uid.split('-').next().expect("a part");
    let request = format!(
        "/apis/apps.kruise.io/v1alpha1/namespaces/shop/containerrecreaterequests/rekindle-5-2-{uid}"
    );
    let kruise = async {
        until("the request is there", || async {
            cluster.0.get::<Value>(request.clone()).await.is_ok()
        })
        .await;
        let asked: Value = cluster.0.get(request.clone()).await.expect("it is there");
        let strategy = &asked["spec"]["strategy"];
        assert_eq!(strategy["terminationGracePeriodSeconds"], 0, "{asked}");
        cluster.patch(&path, &status("kwok://second")).await;
        let done = json!({"status": {"phase": "Completed", "containerRecreateStates": [
            {"name": "app", "phase": "Succeeded"}]}});
        cluster.patch(&format!("{request}/status"), &done).await;
    };
    let (executed, ()) = tokio::join!(executor.restart(permit(5, DEADLINE)), kruise);
    println!("recreated: {}", executed.expect("recreated").note);
    let seen = cluster.0.pods("app=recreated").await.expect("listed");
    assert_eq!(seen[0].metadata.uid, pod.metadata.uid, "the pod stays");
    assert_eq!(
        executor.inquire(ActionId(5), &"web".into(), 2).await,
        Effect::Done
    );
    // The same order again is the same request, and what it says still holds.
    let again = executor.restart(permit(5, Duration::from_secs(2))).await;
    assert!(again.is_err(), "no second life for one action: {again:?}");
}

/// Of a Deployment's pods one is ended alone; its successor is another unit, and the lists tell so.
#[tokio::test]
async fn one_pod_is_replaced_and_the_lists_follow() {
    let cluster = cluster().await;
    for (name, is_evicted) in [("one-evicted", true), ("one-deleted", false)] {
        cluster.workload("deployments", name, 3).await;
        let pods = app(name);
        let all = match is_evicted {
            true => KubernetesRestart::Evict { pods },
            false => KubernetesRestart::Delete { pods },
        };
        let spec = spec_as("least", all);
        let template = crate::template::tests::template_of(Source::Pods(spec.clone()));
        let mut growth = Growth::new(vec![template]);
        let nobody = std::collections::BTreeSet::new();
        let names = |growth: &Growth| -> Vec<String> {
            let units = growth.units().into_iter();
            units.map(|unit| unit.name.to_string()).collect()
        };
        let before = list(&spec).await.expect("listed");
        assert_eq!(before.len(), 3, "{before:?}");
        let now = std::time::SystemTime::now();
        growth.take(0, &before, &nobody, now);
        let old = names(&growth);
        let first = growth.units().remove(0);
        let Some(crate::ExecutorSpec::Kubernetes(one)) = first.executor else {
            panic!("{first:?}");
        };
        let state = tempfile::tempdir().expect("a directory");
        let executor = executor(one, state.path());
        let said = said(executor.restart(permit(5, DEADLINE)).await);
        println!("{name}: {said}");
        assert!(said.contains("replaced after"), "{said}");
        assert_eq!(
            executor.inquire(ActionId(5), &"web".into(), 2).await,
            Effect::Done
        );
        let after = list(&spec).await.expect("listed");
        let stayed = after.iter().filter(|pod| before.contains(pod)).count();
        assert_eq!((after.len(), stayed), (3, 2), "{before:?} {after:?}");
        // It is gone from the list, but not yet from the tree.
        growth.take(0, &after, &nobody, now);
        assert_eq!(names(&growth).len(), 4);
        growth.take(0, &after, &nobody, now + Duration::from_secs(600));
        let new = names(&growth);
        assert_eq!(
            new.iter().filter(|unit| !old.contains(unit)).count(),
            1,
            "{old:?} {new:?}"
        );
        assert_eq!(new.len(), 3);
        // Who isn't there any more can't be restarted again.
        let again = self::said(executor.restart(permit(6, DEADLINE)).await);
        assert!(again.contains("no pod has these labels"), "{again}");
    }
}
