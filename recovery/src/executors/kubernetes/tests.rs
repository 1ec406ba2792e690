//! Against an API of paper for what a real one can't be made to do on demand, and, with the feature
//! `real-platforms`, against a real control plane (`tests/e2e/kubernetes/run`).

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::WorkloadKind;
use crate::executor::{ExecuteError, Executed, Executor as _};
use crate::executors::lives::LivesExecutor;
use crate::executors::note::Notes;
use crate::probe::Probes;
use crate::testing::{Script, Server};

fn permit(action: u64, deadline: Duration) -> Permit {
    Permit::new(ActionId(action), "web".into(), 2, deadline)
}

fn executor(spec: KubernetesSpec, state: &Path) -> LivesExecutor<Kubernetes> {
    let kubernetes = Kubernetes::new(spec, Namespaces::default());
    LivesExecutor::new(kubernetes, Notes::new(state), None, Probes::new())
}

fn said(result: Result<Executed, ExecuteError>) -> String {
    match result {
        Ok(executed) => executed.note,
        Err(error) => error.to_string(),
    }
}

fn rollout(name: &str) -> KubernetesRestart {
    KubernetesRestart::Rollout {
        kind: WorkloadKind::Deployment,
        name: name.to_owned(),
    }
}

fn app(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), name.to_owned())])
}

/// A deployment with one pod, as the API shows it before and after the patch.
fn deployment(is_new: bool, extra: &str) -> String {
    let generation = if is_new { 2 } else { 1 };
    format!(
        r#"{{"metadata": {{"generation": {generation}, "resourceVersion": "{generation}"}},
            "spec": {{"replicas": 1, "selector": {{"matchLabels": {{"app": "web"}}}} {extra}}},
            "status": {{"observedGeneration": {generation}, "replicas": 1, "updatedReplicas": 1,
                        "availableReplicas": 1}}}}"#
    )
}

fn pods(uid: &str) -> String {
    format!(
        r#"{{"metadata": {{}}, "items": [{{"metadata": {{"name": "web-1", "uid": "{uid}"}},
            "status": {{"phase": "Running", "conditions": [{{"type": "Ready", "status": "True"}}]}}}}]}}"#
    )
}

fn spec_of(server: &Server, folder: &Path, restart: KubernetesRestart) -> KubernetesSpec {
    let kubeconfig = folder.join("kubeconfig");
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, namespace: shop}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{}'}}}}]\n",
        server.url("")
    );
    std::fs::write(&kubeconfig, text).expect("written");
    KubernetesSpec {
        restart,
        namespace: None,
        kubeconfig: Some(kubeconfig),
        context: None,
        stop: None,
    }
}

/// What an API of paper answers to the patches, in turn, and what it shows of the deployment.
async fn paper(
    patches: &'static [(u16, &'static str)],
    extra: &'static str,
    restart: KubernetesRestart,
) -> (String, usize) {
    let patched = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&patched);
    let done = std::sync::Arc::new(AtomicUsize::new(0));
    let server = Server::start(vec![Script::decide(move |line, body| {
        let is_new = done.load(Ordering::SeqCst) > 0;
        if line.starts_with("PATCH ") || line.starts_with("POST ") {
            let turn = count.fetch_add(1, Ordering::SeqCst);
            let (status, answer) = patches[turn.min(patches.len() - 1)];
            if line.starts_with("PATCH ") {
                assert!(body.contains(r#""resourceVersion":"1""#), "{body}");
            }
            done.fetch_add(usize::from(status == 200), Ordering::SeqCst);
            return (status, answer.to_owned());
        }
        if line.contains("/pods?") {
            assert!(line.contains("labelSelector=app%3Dweb"), "{line}");
            return (200, pods(if is_new { "second" } else { "first" }));
        }
        (200, deployment(is_new, extra))
    })])
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let spec = spec_of(&server, directory.path(), restart);
    let executor = executor(spec, directory.path());
    let said = said(executor.restart(permit(5, Duration::from_secs(2))).await);
    (said, patched.load(Ordering::SeqCst))
}

#[tokio::test]
async fn what_the_api_answers_has_its_meaning() {
    const CONFLICT: (u16, &str) = (409, r#"{"message": "the object has been modified"}"#);
    const OK: (u16, &str) = (200, "{}");
    for (patches, extra, expected, asked) in [
        (&[OK][..], "", "pod web-1 (first) replaced", 1),
        // Somebody else was faster: read again, then it is taken.
        (
            &[CONFLICT, CONFLICT, OK],
            "",
            "pod web-1 (first) replaced",
            3,
        ),
        (
            &[CONFLICT],
            "",
            "restart of web was refused: somebody else changed web 5 times in a row",
            5,
        ),
        (
            &[(403, r#"{"message": "no patches for you"}"#)],
            "",
            "restart of web was refused: Kubernetes forbids it: no patches for you",
            1,
        ),
        (
            &[(500, r#"{"message": "etcd is away"}"#)],
            "",
            "whether web was restarted is unknown: pod web-1 (first) had not ended after 2 s; \
             Kubernetes answered 500: etcd is away",
            1,
        ),
        (
            &[OK],
            r#", "paused": true"#,
            "restart of web was refused: somebody has paused its rollouts",
            0,
        ),
        (
            &[OK],
            r#", "updateStrategy": {"type": "OnDelete"}"#,
            "restart of web was refused: its update strategy is OnDelete",
            0,
        ),
    ] {
        let (said, count) = paper(patches, extra, rollout("web")).await;
        assert!(said.starts_with(expected), "{patches:?} {extra}: {said}");
        assert_eq!(count, asked, "{patches:?}: {said}");
    }
}

#[tokio::test]
async fn an_eviction_waits_for_throttling_but_not_for_a_budget() {
    const THROTTLED: (u16, &str) = (429, r#"{"message": "too many requests"}"#);
    const BUDGET: (u16, &str) = (
        429,
        r#"{"message": "Cannot evict pod.",
            "details": {"causes": [{"reason": "DisruptionBudget", "message": "needs 1 healthy"}]}}"#,
    );
    let evict = || KubernetesRestart::Evict { pods: app("web") };
    let (said, asked) = paper(&[THROTTLED, (200, "{}")], "", evict()).await;
    assert!(said.starts_with("pod web-1 (first) replaced"), "{said}");
    assert_eq!(asked, 2);
    let (said, asked) = paper(&[BUDGET], "", evict()).await;
    assert_eq!(
        said,
        "restart of web was refused: Kubernetes says not now: Cannot evict pod. needs 1 healthy"
    );
    assert_eq!(asked, 1);
    let recreate = KubernetesRestart::Recreate {
        pods: app("web"),
        container: "app".to_owned(),
    };
    let (said, _) = paper(&[(404, "404 page not found")], "", recreate).await;
    assert!(said.contains("the cluster has no OpenKruise"), "{said}");
}

/// Twenty units of one namespace that are wanted at once, and later again: each asks for its pods, and all together once for
/// the rest.
#[tokio::test]
async fn what_is_in_a_namespace_is_asked_once_for_all_of_its_units() {
    let lists = std::sync::Arc::new(AtomicUsize::new(0));
    let of_pods = std::sync::Arc::new(AtomicUsize::new(0));
    let (all, pods_asked) = (lists.clone(), of_pods.clone());
    let server = Server::start(vec![Script::decide(move |line, _| {
        if line.contains("/pods?") {
            pods_asked.fetch_add(1, Ordering::SeqCst);
            return (200, pods("first"));
        }
        all.fetch_add(1, Ordering::SeqCst);
        (200, r#"{"metadata": {}, "items": []}"#.to_owned())
    })])
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let ask = async |namespaces: &Namespaces, name: Option<&str>, units: usize| {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..units {
            let restart = KubernetesRestart::Evict { pods: app("web") };
            let mut spec = spec_of(&server, directory.path(), restart);
            spec.namespace = name.map(str::to_owned);
            let unit = Kubernetes::new(spec, namespaces.clone());
            all.spawn(async move { unit.vetoes().expect("it can be asked").await });
        }
        for vetoes in all.join_all().await {
            assert_eq!(vetoes, []);
        }
        let count = |of: &AtomicUsize| of.swap(0, Ordering::SeqCst);
        (count(&of_pods), count(&lists))
    };
    let hour = Namespaces::serving(Duration::from_secs(3600));
    // One list of budgets, and one of each of three kinds of workloads.
    assert_eq!(ask(&hour, None, 20).await, (20, 4));
    assert_eq!(ask(&hour, None, 20).await, (20, 0));
    // Another namespace has other lists, and what was read serves for a while only.
    assert_eq!(ask(&hour, Some("bank"), 2).await, (2, 4));
    let never = Namespaces::serving(Duration::ZERO);
    assert_eq!(ask(&never, None, 3).await, (3, 12));
}

#[cfg(feature = "real-platforms")]
mod real;
