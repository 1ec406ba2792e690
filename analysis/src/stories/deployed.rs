//! Stories of deployments and scalings: told, or seen in traces alone.

use rekindle_model::Trace;

use super::*;
use crate::input_around;
use crate::rank::rank;

/// A request for a page whose catalog is of this version.
fn page(site: &mut Site, version: &str, broken: bool) -> Trace {
    let status = if broken { 500 } else { 200 };
    let replica = site.n / 2 % 2;
    let answer = Call::server("catalog", "GET /catalog")
        .instance(&format!("catalog-{version}-{replica}"))
        .version(version)
        .http(status);
    let call = Call::client("GET").with(answer).http(status);
    site.build(web("GET /", vec![call]))
}

fn ask(site: &mut Site, requests: u64, version: &str, broken: bool) -> Vec<Trace> {
    let asked = (0..requests).map(|_| {
        let trace = page(site, version, broken);
        site.take(&trace);
        trace
    });
    asked.collect()
}

fn told(kind: InterventionKind, from: UnixNanos, until: UnixNanos) -> Intervention {
    Intervention {
        kind,
        target: Selector(vec![("service.name".into(), "catalog".into())]),
        from,
        until: Some(until),
        began: Life::default(),
        ended_by: None,
        reference: "rollout 7, told by ci".into(),
    }
}

#[test]
fn failures_of_what_was_told_of_accuse_nobody_and_those_after_it_do() {
    for kind in [InterventionKind::Deployment, InterventionKind::Scaling] {
        let mut site = Site::new();
        ask(&mut site, 600, "1", false);
        let from = site.now.plus(Duration::from_millis(50));
        // It is told of as going on, and again when it is over.
        let lapses = from.plus(Duration::from_secs(600));
        site.analyzer.intervene(told(kind, from, lapses));
        ask(&mut site, 50, "1", true);
        assert!(site.analyzer.incidents().is_empty(), "{kind:?}");
        let until = site.now.plus(Duration::from_millis(50));
        site.analyzer.intervene(told(kind, from, until));
        assert_eq!(site.analyzer.counts().get(LeftOut::Fenced), 50, "{kind:?}");
        let [known] = site.analyzer.interventions()[..] else {
            panic!("told twice, known once");
        };
        assert_eq!((known.kind, known.until), (kind, Some(until)));
        ask(&mut site, 50, "1", true);
        let ranking = site.ranking();
        assert_eq!(first(&ranking).evidence.failed_total, 50, "{kind:?}");
        assert_eq!(ranking.left_out.get(LeftOut::Fenced), 50, "{kind:?}");
    }
}

/// Entry spans come before anybody knows what their requests touch.
#[test]
fn what_a_deployment_shook_is_neither_usual_nor_of_the_incident_after_it() {
    let mut site = Site::new();
    ask(&mut site, 600, "1", false);
    let from = site.now.plus(Duration::from_millis(50));
    let lapses = from.plus(Duration::from_secs(600));
    let unknown = |until| Intervention {
        target: Selector(vec![("service.version".into(), "2".into())]),
        ..told(InterventionKind::Deployment, from, until)
    };
    site.analyzer.intervene(unknown(lapses));
    let shaken: Vec<Trace> = (0..3).map(|_| page(&mut site, "2", true)).collect();
    for trace in &shaken {
        let entry = &trace.spans()[0];
        site.analyzer.span(entry, entry.end);
    }
    ask(&mut site, 30, "1", false);
    shaken.iter().for_each(|trace| site.take(trace));
    ask(&mut site, 10, "2", true);
    let all = site.now.plus(Duration::from_secs(1));
    let (_, failed) = site.analyzer.fared(&[], UnixNanos(0), all);
    let (_, failed_usually) = site.analyzer.fared_as_usual(&[], UnixNanos(0), all);
    assert_eq!((failed, failed_usually), (13, 0));
    let until = site.now.plus(Duration::from_millis(50));
    site.analyzer.intervene(unknown(until));
    ask(&mut site, 50, "2", true);
    let [incident] = site.analyzer.incidents() else {
        panic!("{:?}", site.analyzer.incidents());
    };
    assert!(incident.since >= until, "{incident:?}");
    assert_eq!(incident.bad, 50, "{incident:?}");
    // Told late, it takes back what was counted for the incident.
    let more = site.now.plus(Duration::from_millis(50));
    site.analyzer.intervene(unknown(more));
    ask(&mut site, 5, "2", true);
    assert_eq!(site.analyzer.incidents()[0].bad, 5);
}

#[test]
fn a_new_version_is_seen_its_first_request_is_set_apart_and_its_fault_is_found() {
    let mut site = Site::new();
    let mut before = ask(&mut site, 700, "1", false);
    before.extend(ask(&mut site, 1, "2", true));
    assert_eq!(site.analyzer.counts().get(LeftOut::Fenced), 1);
    let seen: Vec<Intervention> = site.analyzer.interventions().into_iter().cloned().collect();
    let [deployment] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(deployment.kind, InterventionKind::Deployment);
    assert_eq!(
        deployment.reference.as_str(),
        "version 2 of catalog appeared"
    );
    let mut window = Vec::new();
    for _ in 0..30 {
        window.extend(ask(&mut site, 1, "1", false));
        window.extend(ask(&mut site, 1, "2", true));
    }
    let ranking = site.ranking();
    let version = component(Level::Version, "catalog", "2");
    assert!(
        first(&ranking).components.contains(&version),
        "{ranking:#?}"
    );
    assert_eq!(first(&ranking).evidence.failed_total, 30);
    // Recorded traces say the same, around what was seen.
    let config = AnalysisConfig::default();
    let recorded = input_around(&config, &before, &window, &seen);
    assert_eq!(recorded.left_out.get(LeftOut::Fenced), 1);
    let offline = rank(Method::Default, &recorded);
    assert_eq!(first(&offline).components, first(&ranking).components);
    let with_all = input_around(&config, &before, &window, &[]);
    assert_eq!(with_all.left_out.get(LeftOut::Fenced), 0);
}

/// What failed before a new version came and doesn't since is still the service's.
#[test]
fn a_new_version_that_cured_does_not_change_who_is_named() {
    let mut site = Site::new();
    ask(&mut site, 700, "1", false);
    ask(&mut site, 20, "1", true);
    site.now = site.now.plus(Duration::from_secs(1));
    let before = site.ranking();
    ask(&mut site, 100, "2", false);
    let after = site.ranking();
    let named = |ranking: &Ranking| first(ranking).components[0].service.to_string();
    assert_eq!(
        (named(&before), named(&after)),
        ("catalog".into(), "catalog".into())
    );
}

#[test]
fn versions_that_come_as_a_system_starts_or_in_one_rollout_are_no_deployments() {
    for (old, seconds, deployments) in [(1, 1, 0), (1, 59, 0), (1, 61, 1), (0, 61, 0)] {
        let mut site = Site::new();
        ask(&mut site, old, "1", false);
        site.run(seconds, Fault::None);
        for version in ["2", "3", "4"] {
            ask(&mut site, 1, version, false);
        }
        let known = site.analyzer.interventions().len();
        assert_eq!(known, deployments, "{old} {seconds}");
    }
}

#[test]
fn made_up_versions_displace_nothing_that_was_told() {
    let mut site = Site::new();
    let from = site.now;
    let until = from.plus(Duration::from_secs(700));
    site.analyzer
        .intervene(told(InterventionKind::Restart, from, until));
    for round in 0..2 {
        for service in 0..300 {
            let answer = Call::server(&format!("made-up-{service}"), "GET /")
                .version(&format!("{round}"))
                .http(200);
            let trace = site.build(web("GET /", vec![Call::client("GET").with(answer)]));
            site.take(&trace);
        }
        site.run(60, Fault::None);
    }
    let known = site.analyzer.interventions();
    assert_eq!(known.len(), 33);
    assert!(known.iter().any(|it| it.kind == InterventionKind::Restart));
    let overflow = site.analyzer.counts().get(LeftOut::InterventionOverflow);
    assert_eq!(overflow, 300 - 32);
}
