//! Stories of what comes after a fault was noticed: late spans, restarts, recovery.

use std::sync::Arc;

use rekindle_model::{GENERATION, ReleaseReason, Trace};

use super::*;

/// A request for a page whose catalog runs as this instance.
fn page(operation: &str, instance: &str, broken: bool) -> Call {
    let answer = Call::server("catalog", "GET /catalog")
        .instance(instance)
        .http(if broken { 500 } else { 200 });
    let call = Call::client("GET")
        .with(answer)
        .http(if broken { 500 } else { 200 });
    web(operation, vec![call])
}

fn ask(site: &mut Site, requests: u64, operation: &str, instance: &str, broken: bool) {
    for _ in 0..requests {
        let trace = site.build(page(operation, instance, broken));
        site.take(&trace);
    }
}

#[test]
fn a_restart_that_cured_does_not_change_who_is_named() {
    let mut site = Site::new();
    ask(&mut site, 600, "GET /", "catalog-before", false);
    ask(&mut site, 20, "GET /", "catalog-before", true);
    // The last ones end.
    site.now = site.now.plus(Duration::from_secs(1));
    let before = site.ranking();
    site.analyzer.keep_examples(before.incident, before.shown());
    let named = first(&before).clone();
    assert_eq!(
        named.components[0],
        component(Level::Service, "catalog", "catalog")
    );
    let from = site.now;
    site.analyzer.intervene(Intervention {
        kind: InterventionKind::Restart,
        target: Selector(vec![("service.name".into(), "catalog".into())]),
        from,
        until: Some(from.plus(Duration::from_millis(20))),
        began: Life::default(),
        ended_by: None,
        reference: "action-1".into(),
    });
    ask(&mut site, 100, "GET /", "catalog-after", false);
    let after = first(&site.ranking()).clone();
    assert_eq!(after.components, named.components);
    assert_eq!(after.evidence, named.evidence);
    assert_eq!(after.examples, named.examples);
}

#[test]
fn a_restart_that_did_not_cure_starts_the_comparison_anew() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(5, Fault::SearchRaises);
    let from = site.now.plus(Duration::from_millis(10));
    site.analyzer.intervene(restart_of_bidding(
        from,
        Some(from.plus(Duration::from_millis(20))),
    ));
    // Nobody touched bidding among the failing requests, so nothing is cut.
    site.run(5, Fault::SearchRaises);
    assert!(first(&site.ranking()).evidence.failed_total > 30);
    let from = site.now.plus(Duration::from_millis(10));
    let mut restart = restart_of_bidding(from, Some(from.plus(Duration::from_millis(20))));
    restart.target = Selector(vec![("service.name".into(), "catalog".into())]);
    restart.reference = "action-2".into();
    site.analyzer.intervene(restart);
    site.run(3, Fault::SearchRaises);
    let ranking = site.ranking();
    let named = first(&ranking);
    assert_eq!(named.evidence.failed_total, 10, "{}", named.sentence);
    assert_eq!(
        named.components,
        [component(Level::CodeComponent, "catalog", "search")]
    );
}

#[test]
fn a_batch_that_comes_newest_first_moves_the_beginning_back() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    let failing: Vec<_> = (0..30).map(|_| site.make(Fault::CatalogRaises)).collect();
    let began = failing[0].spans()[0].start;
    for trace in failing.iter().rev() {
        site.take(trace);
    }
    let incident = &site.analyzer.incidents()[0];
    assert!(
        incident.since <= began.plus(Duration::from_secs(1)),
        "{:?} after the first failure",
        incident.since.since(began)
    );
    assert!(!first(&site.ranking()).examples.failed.is_empty());
}

#[test]
fn a_rare_type_does_not_keep_an_incident_open_but_a_missed_one_does() {
    for (reports_before, stays_open) in [(3, false), (60, true)] {
        let mut site = Site::new();
        for _ in 0..reports_before {
            ask(&mut site, 600 / reports_before, "GET /", "one", false);
            ask(&mut site, 1, "GET /report", "one", false);
        }
        ask(&mut site, 20, "GET /", "one", true);
        ask(&mut site, 20, "GET /report", "one", true);
        assert_eq!(site.analyzer.incidents()[0].request_types.len(), 2);
        ask(&mut site, 500, "GET /", "one", false);
        assert_eq!(
            site.analyzer.incidents()[0].is_open(),
            stays_open,
            "{reports_before} reports in the minute before"
        );
    }
}

#[test]
fn what_a_ranking_has_shown_stays_while_its_incident_is_remembered() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(5, Fault::SearchRaises);
    let ranking = site.ranking();
    site.analyzer
        .keep_examples(ranking.incident, ranking.shown());
    site.run(60, Fault::SearchRaises);
    let shown = &first(&ranking).examples;
    assert!(shown.failed.len() + shown.ok.len() >= 4);
    for id in shown.failed.iter().chain(&shown.ok) {
        assert!(site.analyzer.example(*id).is_some(), "{id} is gone");
    }
}

/// A request whose catalog says that it is of this life.
fn page_of(site: &mut Site, life: Life, broken: bool) -> Trace {
    let trace = site.build(page("GET /", "catalog-1", broken));
    let mut spans = trace.spans().to_vec();
    for span in spans
        .iter_mut()
        .filter(|it| it.resource.service.as_str() == "catalog")
    {
        let shape = Arc::make_mut(&mut span.shape);
        let resource = Arc::make_mut(&mut shape.resource);
        let process = life
            .process
            .map(|it| (GENERATION.into(), it.to_string().into()));
        // It sorts before `service.name`.
        resource.attributes.splice(0..0, process);
        shape.facts.generation = life.part;
    }
    Trace::new(spans, ReleaseReason::RootQuiet).expect("at least the root")
}

#[test]
fn what_comes_of_a_life_that_is_over_is_set_apart() {
    let life = |process, part| Life {
        process: Some(process),
        part,
    };
    for (old, began, new, set_apart) in [
        (life(2, None), life(3, None), life(3, None), true),
        (life(2, Some(8)), life(2, Some(9)), life(2, Some(9)), true),
        // The part of a new process counts from the beginning.
        (life(3, Some(0)), life(2, Some(9)), life(3, Some(0)), false),
        // Who says nothing of its life may be any.
        (Life::default(), life(3, None), life(3, None), false),
        // Nobody begins a life by claiming one.
        (life(2, None), life(2, None), life(99, None), false),
    ] {
        let mut site = Site::new();
        for _ in 0..300 {
            let trace = page_of(&mut site, old, false);
            site.take(&trace);
        }
        // When all that came before has ended.
        let from = site.now.plus(Duration::from_millis(50));
        let mut restart = restart_of_bidding(from, Some(from.plus(Duration::from_millis(20))));
        restart.target = Selector(vec![("service.name".into(), "catalog".into())]);
        restart.began = began;
        site.analyzer.intervene(restart);
        for _ in 0..60 {
            for (life, broken) in [(new, false), (old, true)] {
                let trace = page_of(&mut site, life, broken);
                site.take(&trace);
            }
        }
        site.now = site.now.plus(Duration::from_secs(1));
        let old_life = site.analyzer.counts().get(LeftOut::OldLife);
        assert_eq!(
            old_life,
            if set_apart { 60 } else { 0 },
            "{old:?} {began:?}"
        );
        let accused = !site.ranking().suspects.is_empty();
        assert_eq!(accused, !set_apart, "{old:?} {began:?}");
        assert_eq!(site.analyzer.counts().get(LeftOut::Fenced), 0);
    }
}

/// An incident whose cause is a catalog of the second life; the restart of which comes.
fn with_a_broken_catalog() -> (Site, Life, Intervention) {
    let old = Life {
        process: Some(2),
        part: None,
    };
    let mut site = Site::new();
    for at in 0..500 {
        let trace = page_of(&mut site, old, at >= 300);
        site.take(&trace);
    }
    // When all that came before has ended.
    let from = site.now.plus(Duration::from_millis(50));
    let mut restart = restart_of_bidding(from, Some(from.plus(Duration::from_millis(20))));
    restart.target = Selector(vec![("service.name".into(), "catalog".into())]);
    restart.began.process = Some(3);
    (site, old, restart)
}

#[test]
fn failures_of_an_old_life_do_not_hide_the_evidence_before_the_restart() {
    let (mut site, old, restart) = with_a_broken_catalog();
    site.analyzer.intervene(restart);
    for _ in 0..60 {
        let trace = page_of(&mut site, old, true);
        site.take(&trace);
    }
    assert_eq!(site.analyzer.counts().get(LeftOut::OldLife), 60);
    let ranking = site.ranking();
    let named = first(&ranking);
    assert_eq!(
        named.components[0],
        component(Level::Service, "catalog", "catalog")
    );
    assert_eq!(named.evidence.failed_total, 200, "{}", named.sentence);
}

#[test]
fn which_life_began_may_be_told_before_or_after_an_old_one_fails() {
    let inputs = [true, false].map(|is_known| {
        let (mut site, old, restart) = with_a_broken_catalog();
        site.analyzer.intervene(match is_known {
            true => restart.clone(),
            false => Intervention {
                until: None,
                began: Life::default(),
                ended_by: None,
                ..restart.clone()
            },
        });
        for _ in 0..20 {
            let trace = page_of(&mut site, old, true);
            site.take(&trace);
        }
        site.analyzer.intervene(restart);
        for _ in 0..20 {
            let trace = page_of(&mut site, old, true);
            site.take(&trace);
        }
        assert_eq!(site.analyzer.counts().get(LeftOut::OldLife), 40);
        let incident = site.analyzer.incidents().last().expect("an incident");
        format!("{:?}", site.analyzer.input(incident.id))
    });
    assert_eq!(inputs[0], inputs[1]);
}
