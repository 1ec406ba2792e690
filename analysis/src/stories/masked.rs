//! Stories of failures that no user sees: retried away, or hidden by a fallback.

use super::*;
use crate::ClosingReason;

/// Long enough that what is usual is known: a thousand requests of each type that are settled.
const KNOWN: u64 = 400;

fn masked_of(site: &Site, operation: &str) -> crate::Masked {
    let types = site.analyzer.request_types();
    let mut found = types
        .into_iter()
        .filter(|it| it.request_type.operation.as_str() == operation);
    found.next().expect("a type").masked
}

#[test]
fn a_jump_is_an_incident_of_its_own_that_fails_nobody() {
    let mut site = Site::new();
    site.run(KNOWN, Fault::None);
    let calm = masked_of(&site, "GET /search");
    assert_eq!((calm.masked, calm.usual), (0, Some(0.0)), "{calm:?}");
    site.run(20, Fault::SearchMasked);
    assert!(site.analyzer.incidents().is_empty());
    let incidents = site.analyzer.masked_incidents();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = incidents[0].clone();
    assert!(incident.masked && incident.is_open(), "{incident:?}");
    assert!(incident.bad > 40 && incident.baseline_failure_share < 0.01);
    assert!(site.changes.contains(&Change::Opened(incident.id)));
    // Who it is, and in which words.
    let ranking = site.analyzer.rank(incident.id).expect("its ranking");
    assert_eq!(ranking.verdict, Verdict::Enough);
    let suspect = first(&ranking);
    assert_eq!(
        suspect.components,
        [component(Level::CodeComponent, "catalog", "search")]
    );
    assert!(suspect.explanation.compared.masked);
    let failures = suspect.evidence.originated;
    let begins = format!(
        "component search of catalog raised the failure in {failures} of {failures} masked requests"
    );
    assert!(
        suspect.sentence.starts_with(&begins),
        "{}",
        suspect.sentence
    );
    let facts = crate::rank::facts(suspect);
    assert!(facts.iter().any(|fact| fact.what == "masked"), "{facts:?}");
    assert!(!suspect.examples.failed.is_empty());
    let told = masked_of(&site, "GET /search");
    assert_eq!(told.still_hidden(), Some(1.0));
    assert_eq!(told.incident, Some(incident.id));
    assert_eq!(masked_of(&site, "POST /bid").masked, 0);
    // It goes away.
    site.run(60, Fault::None);
    let closed = site.analyzer.masked_incidents()[0].closed;
    let reason = closed.map(|closing| closing.reason);
    assert_eq!(reason, Some(ClosingReason::Recovered));
}

#[test]
fn what_reaches_users_goes_on_as_theirs() {
    let mut site = Site::new();
    site.run(KNOWN, Fault::None).run(20, Fault::SearchMasked);
    let masked = site.analyzer.masked_incidents()[0].id;
    site.run(10, Fault::SearchRaises);
    let users = site.analyzer.incidents();
    assert_eq!(users.len(), 1);
    let users = users[0].clone();
    assert!(!users.masked && users.id != masked, "{users:?}");
    let closed = site.analyzer.masked_incidents()[0].closed;
    let reason = closed.map(|closing| closing.reason);
    assert_eq!(reason, Some(ClosingReason::Joined(users.id)));
    // The same fault isn't told twice meanwhile, though it is masked again.
    site.run(20, Fault::SearchMasked);
    assert!(site.analyzer.incidents()[0].is_open());
    assert_eq!(site.analyzer.masked_incidents().len(), 1);
}

/// A fault that is masked in its last seconds is over with the incident of its users; one that stays masked is news.
#[test]
fn what_was_masked_while_users_suffered_is_over_with_it() {
    for (after, expected) in [(Fault::None, 0), (Fault::SearchMasked, 1)] {
        let mut site = Site::new();
        site.run(KNOWN, Fault::None).run(10, Fault::SearchRaises);
        site.run(5, Fault::SearchMasked);
        assert!(site.analyzer.incidents()[0].is_open());
        site.run(120, after);
        assert!(!site.analyzer.incidents()[0].is_open());
        let masked = site.analyzer.masked_incidents();
        assert_eq!(masked.len(), expected, "{after:?}: {masked:?}");
    }
}

#[test]
fn what_was_masked_from_the_beginning_is_usual() {
    let mut site = Site::new();
    site.run(KNOWN + 100, Fault::SearchMasked);
    assert_eq!(site.analyzer.masked_incidents(), []);
    assert_eq!(masked_of(&site, "GET /search").usual, Some(1.0));
}

#[test]
fn calls_that_are_made_again_are_counted() {
    let mut site = Site::new();
    site.run(60, Fault::SearchRetriedAccountsRaise);
    // Its first call fails, its second doesn't.
    let search = masked_of(&site, "GET /search");
    assert_eq!(search.again_per_request(), Some(1.0), "{search:?}");
    assert_eq!(search.still_hidden(), Some(1.0));
    // Nobody tries again, and nothing is hidden.
    let bid = masked_of(&site, "POST /bid");
    assert_eq!(
        (bid.calls_again, bid.still_hidden()),
        (0, Some(0.0)),
        "{bid:?}"
    );
    // What of a suspect's failures is masked is said beside what isn't.
    let ranking = site.ranking();
    let suspect = first(&ranking);
    assert_eq!(suspect.explanation.origin.masked, 0, "{suspect:?}");
}

/// What was counted is taken back when somebody outside says otherwise, or when it turns out to lie under a deployment.
#[test]
fn a_report_and_a_shadow_take_back_what_was_masked() {
    for is_report in [true, false] {
        let mut site = Site::new();
        site.run(10, Fault::None);
        let from = site.now;
        let trace = loop {
            let trace = site.make(Fault::SearchMasked);
            site.take(&trace);
            if trace.spans()[0].name.as_str() == "GET /search" {
                break trace;
            }
        };
        let before = masked_of(&site, "GET /search");
        assert_eq!((before.masked, before.failed), (1, 0));
        if is_report {
            let report = found_wrong(&trace, site.now);
            site.analyzer.report(report, site.now);
        } else {
            site.analyzer.intervene(Intervention {
                kind: InterventionKind::Deployment,
                target: Selector(vec![("service.name".into(), "catalog".into())]),
                from,
                until: Some(site.now),
                began: rekindle_model::Life::default(),
                ended_by: None,
                reference: "rollout".into(),
            });
        }
        let after = masked_of(&site, "GET /search");
        let failed = u64::from(is_report);
        assert_eq!((after.masked, after.failed), (0, failed), "{after:?}");
    }
}

#[test]
fn recorded_traces_say_the_same() {
    let mut site = Site::new();
    let mut made = |fault| (0..90).map(|_| site.make(fault)).collect::<Vec<_>>();
    let (before, with) = (made(Fault::None), made(Fault::SearchMasked));
    let offline = crate::Offline::new(&AnalysisConfig::default());
    let offline = offline.of_masked(true).with(&before, &with);
    let [search] = offline.masked().try_into().expect("one type hides");
    assert_eq!(search.request_type.operation.as_str(), "GET /search");
    assert_eq!((search.before.masked, search.before.requests), (0, 30));
    assert_eq!((search.now.masked, search.now.requests), (30, 30));
    let ranking = crate::rank::rank(Method::Default, &offline.input());
    assert_eq!(
        first(&ranking).components,
        [component(Level::CodeComponent, "catalog", "search")]
    );
    assert!(first(&ranking).explanation.compared.masked);
    // To users nothing happened.
    let users = crate::Offline::new(&AnalysisConfig::default()).with(&before, &with);
    assert!(matches!(
        crate::rank::rank(Method::Default, &users.input()).verdict,
        Verdict::NotEnough { .. }
    ));
}
