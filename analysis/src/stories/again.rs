//! Stories of what came before: an outage that is over is no example of calm times.

use super::*;

/// How sure the first suspect is after these seconds of each, and who it is.
fn named(story: &[(u64, Fault)]) -> (Component, f64) {
    let mut site = Site::new();
    for (seconds, fault) in story {
        site.run(*seconds, *fault);
    }
    let incident = site.analyzer.incidents().last().expect("an incident");
    assert!(incident.is_open(), "{story:?}");
    let ranking = site.ranking();
    let first = first(&ranking);
    (first.components[0].clone(), first.confidence)
}

#[test]
fn the_same_fault_again_is_as_sure_as_the_first_time() {
    for fault in [
        Fault::SearchRaises,
        Fault::CatalogTwoRaises,
        Fault::ItemSlow,
        Fault::BiddingKilled,
    ] {
        let (first, sure) = named(&[(60, Fault::None), (10, fault)]);
        let again = [
            (60, Fault::None),
            (300, fault),
            (60, Fault::None),
            (10, fault),
        ];
        let (second, sure_again) = named(&again);
        assert_eq!(first, second, "{fault:?}");
        assert!(
            sure_again >= sure - 0.05,
            "{fault:?}: {sure}, and {sure_again} the second time"
        );
    }
}

#[test]
fn what_was_broken_from_the_start_is_compared_with_the_calm_since_its_cure() {
    let fault = Fault::SearchRaises;
    let story = [(300, fault), (60, Fault::None), (10, fault)];
    let (named, sure) = named(&story);
    assert_eq!(named, component(Level::CodeComponent, "catalog", "search"));
    assert!(sure >= 0.8, "{sure}");
}

#[test]
fn others_requests_during_an_outage_are_still_compared_with() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(60, Fault::BiddingKilled);
    let of_others = |site: &Site| {
        let first = site.analyzer.incidents().first().expect("an incident");
        let types = first.request_types.clone();
        let all = site.analyzer.request_types();
        let others = all
            .into_iter()
            .filter(|it| !types.contains(&it.request_type));
        others.map(|it| it.requests).sum::<u64>()
    };
    site.run(60, Fault::None);
    let (others, all) = (of_others(&site), site.n);
    site.run(10, Fault::SearchRaises);
    let ranking = site.ranking();
    let compared = &first(&ranking).explanation.compared;
    // What isn't compared with is said: bidding's of the outage, 20 s of which it took to be over.
    let left_out = ranking.left_out.get(LeftOut::InIncident);
    assert!((200..=300).contains(&left_out), "{left_out}");
    // All of theirs, and the third of bidding's that came before it failed.
    let calm = others + (all - others) / 3;
    assert!(
        compared.baseline.ok >= calm,
        "{compared:?}, {calm} of {all}"
    );
}
