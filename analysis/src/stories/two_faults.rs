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

/// Asks for both pages in turn, ten requests a second: each of them needs `mail`, and the second one `stock`.
fn shop(site: &mut Site, seconds: u64, broken: &str) {
    for _ in 0..seconds * 10 {
        let trace = shopping(site, broken);
        site.take(&trace);
    }
}

fn shopping(site: &mut Site, broken: &str) -> rekindle_model::Trace {
    site.now = site.now.plus(Duration::from_millis(100));
    site.n += 1;
    let (page, needed) = match site.n % 2 {
        0 => (A, &["mail"][..]),
        _ => (B, &["mail", "stock"][..]),
    };
    let asked = needed.iter().map(|name| {
        let status = if *name == broken { 500 } else { 200 };
        let answer = Call::server(name, "POST /").http(status);
        Call::client("POST").with(answer).http(status)
    });
    T {
        id: u128::from(site.n),
        start: site.now,
    }
    .build(web(page, asked.collect()))
}

#[test]
fn a_type_that_leaves_and_comes_back_is_named_and_counted_once() {
    let mut site = Site::new();
    shop(&mut site, 60, "");
    shop(&mut site, 5, "mail");
    shop(&mut site, 9, "");
    shop(&mut site, 8, "stock");
    let expected = [(&[A][..], true, "mail"), (&[B][..], true, "stock")];
    expect(&site, &expected, "one left");
    let bad = |site: &Site| -> Vec<u64> {
        let incidents = site.analyzer.incidents().iter();
        incidents.map(|incident| incident.bad).collect()
    };
    assert_eq!(bad(&site), [50, 40]);
    shop(&mut site, 9, "");
    shop(&mut site, 8, "mail");
    let [first, second] = site.analyzer.incidents() else {
        panic!("{:?}", site.analyzer.incidents());
    };
    assert_eq!(first.request_types.len(), 2, "{first:?}");
    assert!(!second.is_open(), "{second:?}");
    assert_eq!(bad(&site), [130, 40]);
}
