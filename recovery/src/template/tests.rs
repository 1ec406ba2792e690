//! Templates to try things with, and what a whole gardener makes of lists that come and fail.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::*;
use crate::around::Keeping;
use crate::executors::Executors;
use crate::probe::Probes;
use crate::tree::tests::specs;

pub(crate) const GONE_AFTER: Duration = Duration::from_secs(60);
pub(crate) const MOST: usize = 3;

/// Such units, by the containers of an engine that isn't there.
pub(crate) fn template(text: &str, kind: &str, parent: &str) -> Template {
    let mut unit = specs(text)[0].clone();
    unit.executor = None;
    unit.name = kind.into();
    unit.parent = Some(parent.into());
    Template {
        unit,
        source: Source::Containers {
            labels: [("app".to_owned(), kind.to_owned())].into(),
            socket: "/nonexistent/engine.sock".into(),
            stop: crate::Stop::Term(Duration::from_secs(1)),
        },
        apart: [
            ("container.id".to_owned(), Trait::Id),
            ("host.name".to_owned(), Trait::ShortId),
            ("container.name".to_owned(), Trait::Name),
        ]
        .into(),
        most: MOST,
        gone_after: GONE_AFTER,
    }
}

pub(crate) fn listed(names: &[&str]) -> Vec<Listed> {
    let one = |name: &&str| Listed {
        name: (*name).to_owned(),
        id: format!("{name}-0123456789abcdef"),
        is_up: true,
        address: None,
    };
    names.iter().map(one).collect()
}

/// Units that somebody else lists.
#[cfg(feature = "real-platforms")]
pub(crate) fn template_of(source: Source) -> Template {
    Template {
        source,
        most: 50,
        ..template("x service.name=web", "web.pod", "web")
    }
}

/// A gardener over a socket that the test answers at, and what time it is.
async fn gardener(
    written: &str,
    templates: Vec<Template>,
    folder: &std::path::Path,
) -> (
    Gardener,
    Arc<Mutex<SystemTime>>,
    tokio::sync::watch::Receiver<Arc<Vec<Growing>>>,
) {
    let written = specs(written);
    let executors = Executors::build(&written, folder, &Probes::new(), Keeping::default())
        .await
        .expect("built");
    let clock = Arc::new(Mutex::new(
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
    ));
    let told = Arc::clone(&clock);
    let clock_of = move || *told.lock().expect("not poisoned");
    let kinds = kinds(&templates);
    let (gardener, growing) =
        Gardener::new(written, kinds, templates, executors, Arc::new(clock_of));
    (gardener, clock, growing)
}

/// Answers one request after another at a socket, as an engine with these containers; none of `None`.
async fn engine(socket: std::path::PathBuf, containers: Arc<Mutex<Option<Vec<&'static str>>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::UnixListener::bind(socket).expect("bound");
    loop {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        let head = String::from_utf8(head).expect("text");
        assert!(
            head.starts_with("GET /containers/json?all=true&filters=%7B%22label%22%3A%5B%22app%3Dreplica%22%5D%7D "),
            "{head}"
        );
        let containers = containers.lock().expect("not poisoned").clone();
        let (status, body) = match containers {
            None => (
                "500 Internal Server Error",
                r#"{"message": "no storage"}"#.to_owned(),
            ),
            Some(names) => {
                let lines = names.iter().map(|name| {
                    format!(r#"{{"Id": "{name}-0123456789abcdef", "Names": ["/other/{name}", "/{name}"], "State": "exited"}}"#)
                });
                (
                    "200 OK",
                    format!("[{}]", lines.collect::<Vec<_>>().join(",")),
                )
            }
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.expect("answered");
    }
}

#[tokio::test]
async fn the_tree_follows_the_list_and_stays_while_nobody_can_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("engine.sock");
    let containers = Arc::new(Mutex::new(None));
    let engine = tokio::spawn(engine(socket.clone(), Arc::clone(&containers)));
    let mut template = template("x service.name=web", "replica", "web");
    if let Source::Containers { socket: at, .. } = &mut template.source {
        *at = socket;
    }
    let (mut gardener, clock, growing) = gardener(
        "site - auto\n  web -\n  bank process",
        vec![template],
        folder.path(),
    )
    .await;
    let nobody = BTreeSet::new();
    let names = |grown: Option<Grown>| -> Option<Vec<String>> {
        let grown = grown?;
        let units = grown.tree.units().map(|unit| unit.name.to_string());
        let names: Vec<String> = units.collect();
        let restarted: Vec<&str> = grown.executors.keys().map(UnitName::as_str).collect();
        assert!(
            names
                .iter()
                .filter(|name| name.contains('@'))
                .all(|name| restarted.contains(&name.as_str())),
            "{restarted:?}"
        );
        Some(names)
    };
    let told = || growing.borrow()[0].clone();
    let set = |names: Option<&[&'static str]>| {
        *containers.lock().expect("not poisoned") = names.map(<[_]>::to_vec);
    };

    while !folder.path().join("engine.sock").exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(gardener.look(&nobody).await), None);
    let trouble = told().trouble;
    assert_eq!(
        trouble.as_deref(),
        Some("the engine answered 500: no storage")
    );

    set(Some(&["a", "b"]));
    let both = ["site", "web", "replica@a", "replica@b", "bank"];
    assert_eq!(names(gardener.look(&nobody).await).expect("grown"), both);
    assert_eq!((told().units, told().trouble), (2, None));
    // Until the service has taken it, it is offered again; then no more.
    assert_eq!(names(gardener.look(&nobody).await).expect("grown"), both);
    gardener.taken();
    assert_eq!(names(gardener.look(&nobody).await), None);

    // Nobody is gone because nobody can tell.
    set(None);
    *clock.lock().expect("not poisoned") += 2 * GONE_AFTER;
    assert_eq!(names(gardener.look(&nobody).await), None);
    assert!(told().trouble.is_some());
    assert_eq!(told().units, 2);

    set(Some(&["b", "c", "d", "e"]));
    let more = [
        "site",
        "web",
        "replica@a",
        "replica@b",
        "replica@c",
        "replica@d",
        "bank",
    ];
    assert_eq!(names(gardener.look(&nobody).await).expect("grown"), more);
    assert_eq!((told().units, told().left_out), (4, 1));
    gardener.taken();
    *clock.lock().expect("not poisoned") += GONE_AFTER;
    // Somebody is at work on it.
    let held = [UnitName::from("replica@a")].into();
    assert_eq!(names(gardener.look(&held).await), None);
    // A restart of it begins after the list was looked at: it stays as long as it is needed.
    assert!(
        !names(gardener.look(&nobody).await)
            .expect("grown")
            .contains(&"replica@a".to_owned())
    );
    gardener.refused();
    let still = names(gardener.look(&held).await);
    assert!(still.is_none_or(|names| names.contains(&"replica@a".to_owned())));
    let later = ["site", "web", "replica@b", "replica@c", "replica@d", "bank"];
    assert_eq!(names(gardener.look(&nobody).await).expect("grown"), later);
    engine.abort();
}

/// One that can't stand in the tree keeps no other out.
#[test]
fn what_is_unfit_is_left_out_alone() {
    let mut same = template("x service.name=web", "replica", "web");
    // All have the same value: who is meant can't be told.
    same.apart = [("container.image".to_owned(), Trait::Id)].into();
    let mut growth = Growth::new(vec![same.clone()]);
    let mut list = listed(&["a", "b"]);
    list[1].id = list[0].id.clone();
    growth.take(0, &list, &BTreeSet::new(), SystemTime::UNIX_EPOCH);
    let written = specs("site - auto\n  web -\n  bank process");
    let (tree, fit, unfit) = gardener::plant(&written, growth.units(), &kinds(&[same]));
    assert_eq!(tree.len(), 4);
    assert_eq!(fit.len(), 1);
    let words = &unfit[&UnitName::from("replica@b")];
    assert!(
        words.contains("replica@a and replica@b both match"),
        "{words}"
    );
}

/// Two kinds below one unit that are told apart by the same attributes.
#[test]
fn examples_of_two_kinds_are_two_instances() {
    let templates =
        ["worker.stable", "worker.canary"].map(|kind| template("x service.name=web", kind, "web"));
    for apart in ["container.id", "host.name", "container.name"] {
        let examples = templates.clone().map(|mut template| {
            template.apart.retain(|attribute, _| attribute == apart);
            template.example()
        });
        let written = specs("site - auto\n  web -\n  bank process");
        let all = written.into_iter().chain(examples).collect();
        let tree = crate::RestartTree::growing(all, kinds(&templates));
        assert!(tree.is_ok(), "{apart}: {:?}", tree.err());
    }
}

/// What the last engine was restarting is there to be asked about, though nobody can list it yet.
#[tokio::test]
async fn what_is_expected_is_a_unit_before_it_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut gardener, _, _) = gardener(
        "site - auto\n  web -\n  bank process",
        vec![template("x service.name=web", "replica", "web")],
        folder.path(),
    )
    .await;
    let units = ["web", "replica@a", "replica@b", "other@c"].map(UnitName::from);
    let in_flight: BTreeSet<UnitName> = units.into();
    gardener.expect(&in_flight);
    let grown = gardener.look(&in_flight).await.expect("grown");
    let names: Vec<&str> = grown.tree.units().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["site", "web", "replica@a", "replica@b", "bank"]);
    let missing = ["replica@a", "replica@b"].map(UnitName::from);
    assert!(
        missing
            .iter()
            .all(|unit| grown.executors.contains_key(unit))
    );
    assert_eq!(grown.missing, missing.into());
}
