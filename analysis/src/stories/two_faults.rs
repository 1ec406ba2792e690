//! Faults at the same time, or one soon after the other: whose incident is it?

use super::*;

/// Each incident's types, whether it is open, and whom its ranking names first.
fn told(site: &Site) -> Vec<(Vec<String>, bool, String)> {
    let incidents = site.analyzer.incidents().iter();
    let told = incidents.map(|incident| {
        let types = incident.request_types.iter();
        let types = types.map(|name| name.operation.to_string()).collect();
        let ranking = site.analyzer.rank(incident.id).expect("its ranking");
        let first = ranking.suspects.first();
        let named = first.map_or_else(String::new, |it| it.components[0].name.to_string());
        (types, incident.is_open(), named)
    });
    told.collect()
}

fn expect(site: &Site, expected: &[(&[&str], bool, &str)], what: &str) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(types, open, first)| {
            let types = types.iter().map(|name| (*name).to_owned()).collect();
            (types, *open, (*first).to_owned())
        })
        .collect();
    assert_eq!(told(site), expected, "{what}");
}

const ITEM: &str = "GET /item/{id}";
const SEARCH: &str = "GET /search";
const BID: &str = "POST /bid";

#[test]
fn faults_of_different_causes_are_incidents_of_their_own_and_one_cause_is_one() {
    for (fault, expected) in [
        (
            Fault::SearchAndAccounts,
            &[
                (&[SEARCH][..], true, "search"),
                (&[BID][..], true, "accounts"),
            ][..],
        ),
        (
            Fault::DatabaseDown,
            &[(&[ITEM, SEARCH], true, "postgresql")],
        ),
        (Fault::CatalogRaises, &[(&[ITEM, SEARCH], true, "catalog")]),
        (
            Fault::CatalogTwoRaises,
            &[(&[ITEM, SEARCH], true, "catalog-2")],
        ),
        (
            Fault::CatalogTwoKilled,
            &[(&[ITEM, SEARCH], true, "catalog-2")],
        ),
    ] {
        let mut site = Site::new();
        site.run(60, Fault::None).run(15, fault);
        // The first of both types to fail is the first incident.
        let mut expected = expected.to_vec();
        if let [_, (types, ..)] = expected[..]
            && site.analyzer.incidents()[0].request_types[0]
                .operation
                .as_str()
                == types[0]
        {
            expected.reverse();
        }
        expect(&site, &expected, &format!("{fault:?}"));
        for incident in site.analyzer.incidents() {
            assert!(incident.bad > 20, "{fault:?}: {incident:?}");
        }
    }
}

#[test]
fn another_fault_after_a_cure_is_another_incident_and_the_same_one_is_not() {
    for (second, expected) in [
        (
            Fault::DatabaseDown,
            &[
                (&[SEARCH][..], false, "search"),
                (&[ITEM, SEARCH][..], true, "postgresql"),
            ][..],
        ),
        (Fault::SearchRaises, &[(&[SEARCH], true, "search")]),
    ] {
        let mut site = Site::new();
        site.run(60, Fault::None).run(5, Fault::SearchRaises);
        site.run(1, Fault::None);
        assert_eq!(site.analyzer.incidents()[0].well_since, None);
        site.run(8, Fault::None);
        let well = site.analyzer.incidents()[0].well_since.expect("it is calm");
        assert!(site.now.since(well) > Duration::from_secs(2));
        site.run(8, second);
        let last = site.analyzer.incidents().last().expect("an incident");
        assert_eq!(last.well_since, None);
        expect(&site, expected, &format!("{second:?}"));
        let incidents = site.analyzer.incidents();
        let first = &incidents[0];
        if let Some(other) = incidents.get(1) {
            assert!(other.since.since(first.since) > Duration::from_secs(13));
            // What it counts is from its own beginning on, and the first one's count stands.
            assert!(other.bad > 3 * other.ok, "{other:?}");
            assert!((15..20).contains(&first.bad), "{first:?}");
        }
        site.run(40, Fault::None);
        assert!(site.analyzer.incidents().iter().all(|it| !it.is_open()));
    }
}

#[test]
fn a_type_that_fails_later_joins_what_lies_on_its_path() {
    // The item page is asked for so seldom that its failures are seen long after the search's.
    let mut site = Site::new();
    site.run(60, Fault::None);
    for second in 0..25 {
        for _ in 0..10 {
            let trace = site.make(Fault::DatabaseDown);
            let is_item = trace.spans()[0].name.as_str() == "GET /item/17";
            if !is_item || second >= 20 {
                site.take(&trace);
            }
        }
    }
    expect(&site, &[(&[ITEM, SEARCH], true, "postgresql")], "rare");
}

const A: &str = "GET /a";
const B: &str = "GET /b";

const C: &str = "GET /c";
const D: &str = "GET /d";

/// Pages, and the services that each of them needs.
type Pages = [(&'static str, &'static [&'static str])];

const PAGES: &Pages = &[(A, &["mail"]), (B, &["mail", "stock"])];

/// Asks for these pages in turn, ten requests a second, where a page and a service that it needs may be broken.
fn shop(site: &mut Site, seconds: u64, pages: &Pages, is_broken: impl Fn(&str, &str) -> bool) {
    for _ in 0..seconds * 10 {
        let trace = shopping(site, pages, &is_broken);
        site.take(&trace);
    }
}

fn shopping(
    site: &mut Site,
    pages: &Pages,
    is_broken: impl Fn(&str, &str) -> bool,
) -> rekindle_model::Trace {
    let (page, needed) = pages[(site.n % pages.len() as u64) as usize];
    let asked = needed.iter().map(|name| {
        let status = if is_broken(page, name) { 500 } else { 200 };
        let answer = Call::server(name, "POST /").http(status);
        Call::client("POST").with(answer).http(status)
    });
    site.build(web(page, asked.collect()))
}

const NOTHING: fn(&str, &str) -> bool = |_, _| false;
const MAIL: fn(&str, &str) -> bool = |_, name| name == "mail";
const STOCK: fn(&str, &str) -> bool = |_, name| name == "stock";

#[test]
fn a_type_that_leaves_and_comes_back_is_named_and_counted_once() {
    let mut site = Site::new();
    shop(&mut site, 60, PAGES, NOTHING);
    shop(&mut site, 5, PAGES, MAIL);
    shop(&mut site, 9, PAGES, NOTHING);
    shop(&mut site, 8, PAGES, STOCK);
    let expected = [(&[A][..], true, "mail"), (&[B][..], true, "stock")];
    expect(&site, &expected, "one left");
    let bad = |site: &Site| -> Vec<u64> {
        let incidents = site.analyzer.incidents().iter();
        incidents.map(|incident| incident.bad).collect()
    };
    assert_eq!(bad(&site), [50, 40]);
    shop(&mut site, 9, PAGES, NOTHING);
    shop(&mut site, 8, PAGES, MAIL);
    let [first, second] = site.analyzer.incidents() else {
        panic!("{:?}", site.analyzer.incidents());
    };
    assert_eq!(first.request_types.len(), 2, "{first:?}");
    assert!(!second.is_open(), "{second:?}");
    assert_eq!(bad(&site), [130, 40]);
}

#[test]
fn what_fared_well_before_it_joined_says_nothing_of_the_incident() {
    let mut site = Site::new();
    shop(&mut site, 60, PAGES, NOTHING);
    shop(&mut site, 25, PAGES, |page, name| {
        page == A && MAIL(page, name)
    });
    shop(&mut site, 5, PAGES, MAIL);
    let [incident] = site.analyzer.incidents() else {
        panic!("{:?}", site.analyzer.incidents());
    };
    assert_eq!(incident.request_types.len(), 2, "{incident:?}");
    assert_eq!((incident.ok, incident.bad), (0, 175), "{incident:?}");
}

/// The first failed traces of a page, or of both, lack what the called service has to say.
#[test]
fn traces_that_are_incomplete_at_first_make_no_incident() {
    for is_anew in [false, true] {
        let mut site = Site::new();
        shop(&mut site, 60, PAGES, NOTHING);
        if is_anew {
            shop(&mut site, 5, PAGES, MAIL);
            shop(&mut site, 9, PAGES, NOTHING);
        }
        for _ in 0..10 {
            let trace = match is_anew || site.n.is_multiple_of(2) {
                true => {
                    let page = PAGES[(site.n % 2) as usize].0;
                    site.build(web(page, vec![Call::client("POST").http(500)]))
                }
                false => shopping(&mut site, PAGES, MAIL),
            };
            site.take(&trace);
        }
        shop(&mut site, 7, PAGES, MAIL);
        expect(&site, &[(&[A, B], true, "mail")], &format!("{is_anew}"));
    }
}

#[test]
fn what_is_one_by_way_of_a_third_type_leaves_together() {
    let pages: &Pages = &[
        (D, &["bank"]),
        (A, &["mail"]),
        (C, &["stock"]),
        (B, &["mail", "stock"]),
    ];
    let mut site = Site::new();
    shop(&mut site, 60, pages, NOTHING);
    shop(&mut site, 1, pages, |_, name| name == "bank");
    shop(&mut site, 15, pages, |_, _| true);
    let incidents = site.analyzer.incidents();
    let types: Vec<usize> = incidents.iter().map(|it| it.request_types.len()).collect();
    assert_eq!(types, [1, 3], "{incidents:#?}");
}

#[test]
fn what_seldom_fails_a_type_is_no_cause_it_shares() {
    let pages: &Pages = &[(A, &["mail", "stock"]), (B, &["stock"])];
    let mut site = Site::new();
    shop(&mut site, 60, pages, NOTHING);
    for turn in 0..15 {
        let is_broken = |page: &str, name: &str| match (page, turn % 10) {
            (A, 0) | (B, _) => STOCK(page, name),
            _ => MAIL(page, name),
        };
        shop(&mut site, 1, pages, is_broken);
    }
    let told = told(&site);
    assert_eq!(told.len(), 2, "{told:?}");
}

/// Two components of one process fail, and others of it, which are asked so many times in a second.
#[test]
fn parts_of_one_process_fail_for_two_causes_if_it_works_without_them() {
    for (others, others_fail, incidents) in [(8, false, 2), (8, true, 1), (0, false, 1)] {
        let mut site = Site::new();
        let mut run = |seconds: u64, is_broken: bool| {
            for _ in 0..seconds {
                for nth in 0..4 + others {
                    let (page, part) = [(A, "one"), (B, "two"), (C, "three")][nth.min(4) / 2];
                    let is_broken = is_broken && (nth < 4 || others_fail);
                    let status = if is_broken { 500 } else { 200 };
                    let work = match is_broken {
                        true => Call::component(part).error("Bug").status(Status::Error),
                        false => Call::component(part),
                    };
                    let answer = Call::server("shop", "POST /").http(status).with(work);
                    let call = Call::client("POST").with(answer).http(status);
                    let trace = site.build(web(page, vec![call]));
                    site.take(&trace);
                }
            }
        };
        run(60, false);
        run(20, true);
        let told = told(&site);
        assert_eq!(told.len(), incidents, "{others} {others_fail}: {told:?}");
    }
}

#[test]
fn many_types_that_fail_together_are_one_cause_and_what_comes_after_it_another() {
    let mut site = Site::new();
    let mut run = |seconds: u64, broken: &str| {
        for _ in 0..seconds * 10 {
            // All pages at the same time.
            for page in 'a'..='x' {
                let asked = ["mail", "stock"].map(|name| {
                    let status = if name == broken { 500 } else { 200 };
                    let answer = Call::server(name, "POST /").http(status);
                    Call::client("POST").with(answer).http(status)
                });
                site.n += 1;
                let trace = T {
                    id: u128::from(site.n),
                    start: site.now,
                };
                site.take(&trace.build(web(&format!("GET /{page}"), asked.into())));
            }
            site.now = site.now.plus(Duration::from_millis(200));
        }
    };
    run(10, "");
    run(3, "mail");
    run(4, "");
    run(4, "stock");
    let told = told(&site);
    let named: Vec<&String> = told.iter().map(|(.., named)| named).collect();
    assert_eq!(named, ["mail", "stock"], "{told:?}");
    assert!(told.iter().all(|(types, ..)| types.len() == 24), "{told:?}");
}

#[test]
fn what_seldom_fails_is_not_well_again_between_two_failures() {
    let mut site = Site::new();
    shop(&mut site, 60, PAGES, NOTHING);
    for n in 0u32..1_200 {
        // One in fourteen, at random.
        let fails = (n.wrapping_mul(2_654_435_761) >> 16).is_multiple_of(14);
        let trace = shopping(&mut site, PAGES, |_, name| fails && name == "mail");
        site.take(&trace);
        for incident in site.analyzer.incidents() {
            assert_eq!(incident.well_since, None, "after {n}");
        }
    }
    assert_eq!(site.analyzer.incidents().len(), 1);
    shop(&mut site, 18, PAGES, NOTHING);
    let [incident] = site.analyzer.incidents() else {
        panic!("{:?}", site.analyzer.incidents());
    };
    assert!(incident.well_since.is_some(), "{incident:?}");
}

/// A page that asks the mail service only since something is wrong: nobody knows of that way when it begins to fail.
const DETOURS: &Pages = &[(A, &["mail"]), (B, &["mail", "stock"])];
const STRAIGHT: &Pages = &[(A, &["mail"]), (B, &["stock"])];

#[test]
fn two_incidents_that_turn_out_to_have_one_cause_become_one() {
    let mut site = Site::new();
    shop(&mut site, 60, STRAIGHT, NOTHING);
    shop(&mut site, 18, STRAIGHT, MAIL);
    // Entry spans come at once, and open an incident; the rest of their traces comes later.
    let mut traces = Vec::new();
    for _ in 0..10 {
        let trace = shopping(&mut site, DETOURS, MAIL);
        site.analyzer.span(&trace.spans()[0], site.now);
        site.analyzer.tick(site.now);
        traces.push(trace);
    }
    traces.iter().for_each(|trace| site.take(trace));
    let expected = [(&[A][..], true, "mail"), (&[B][..], true, "mail")];
    expect(&site, &expected, "they are two at first");
    shop(&mut site, 6, DETOURS, MAIL);
    let [older, younger] = site.analyzer.incidents() else {
        panic!("{:?}", site.analyzer.incidents());
    };
    assert_eq!(older.request_types.len(), 2, "{older:?}");
    let why = younger.closed.map(|closing| closing.reason);
    assert_eq!(
        why,
        Some(crate::ClosingReason::Joined(older.id)),
        "{younger:?}"
    );
    // Its ranking, and so its plan, rest on the failures of both.
    let ranking = site.analyzer.rank(older.id).expect("its ranking");
    let failed = first(&ranking).evidence.failed_total;
    assert_eq!((failed, older.bad), (90 + 35 + 35, 90 + 35 + 35));
    let closed = |site: &Site| {
        let closed = site.changes.iter();
        closed.filter(|it| matches!(it, Change::Closed(_))).count()
    };
    assert_eq!(closed(&site), 1);
    // They stay one, and end together.
    shop(&mut site, 30, DETOURS, MAIL);
    assert_eq!((site.analyzer.incidents().len(), closed(&site)), (2, 1));
    shop(&mut site, 60, STRAIGHT, NOTHING);
    let over = site.analyzer.incidents()[0].closed.expect("it is over");
    assert_eq!(over.reason, crate::ClosingReason::Recovered);
}

#[test]
fn two_incidents_of_two_causes_stay_two() {
    let mut site = Site::new();
    shop(&mut site, 60, PAGES, NOTHING);
    let both = |page: &str, name: &str| match page {
        A => MAIL(page, name),
        _ => STOCK(page, name),
    };
    shop(&mut site, 60, PAGES, both);
    let open = site.analyzer.incidents().iter();
    assert_eq!(open.filter(|it| it.is_open()).count(), 2);
}

/// A third page asks both services, and fails for either.
#[test]
fn a_page_with_both_faults_does_not_make_one_of_two_incidents() {
    const C: &str = "GET /both";
    const ALL: &Pages = &[(A, &["mail"]), (B, &["stock"]), (C, &["mail", "stock"])];
    let mut site = Site::new();
    shop(&mut site, 60, ALL, NOTHING);
    let mail = |page: &str, name: &str| page == A && name == "mail";
    shop(&mut site, 18, ALL, mail);
    let apart = |page: &str, name: &str| mail(page, name) || (page == B && name == "stock");
    shop(&mut site, 18, ALL, apart);
    let open = |site: &Site| {
        let incidents = site.analyzer.incidents().iter();
        incidents.filter(|it| it.is_open()).count()
    };
    assert_eq!(open(&site), 2);
    shop(&mut site, 60, ALL, |_, name| {
        name == "mail" || name == "stock"
    });
    assert_eq!(open(&site), 2, "{:?}", site.analyzer.incidents());
}
