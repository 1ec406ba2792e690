//! Stories of what no request tells apart, whatever its level.

use super::*;
use crate::Doubt;

/// Where the n-th request's accounts run: instance, version and host.
type Place = fn(u64) -> (&'static str, &'static str, &'static str);

/// Who is named when version 2 of accounts fails, and from what no request tells that.
fn told(place: Place) -> (Component, Vec<String>, String) {
    let mut site = Site::new();
    for n in 0..700 {
        let (instance, version, host) = place(n);
        let status = if n >= 600 && version == "2" { 500 } else { 200 };
        let accounts = Call::server("accounts", "GET /account").instance(instance);
        let accounts = accounts.version(version).host(host).http(status);
        let call = Call::client("GET").http(status).with(accounts);
        let trace = site.build(web("GET /", vec![call]));
        site.take(&trace);
    }
    site.now = site.now.plus(Duration::from_secs(1));
    let ranking = site.ranking();
    let first = first(&ranking);
    let with = first
        .explanation
        .against
        .iter()
        .find_map(|doubt| match doubt {
            Doubt::Confounded { with } => Some(with),
            _ => None,
        });
    let with = with.into_iter().flatten().map(ToString::to_string);
    (
        first.components[0].clone(),
        with.collect(),
        first.sentence.clone(),
    )
}

#[test]
fn what_no_request_tells_apart_is_said_whatever_its_level() {
    let version_two = component(Level::Version, "accounts", "2");
    // A version on a host of its own.
    let (named, with, sentence) = told(|n| match n % 4 {
        0 => ("a", "1", "north"),
        1 => ("b", "1", "north"),
        2 => ("c", "2", "south"),
        _ => ("d", "2", "south"),
    });
    assert_eq!(named, version_two, "{sentence}");
    assert_eq!(with, ["host south"]);
    let words = "no request tells it from host south, which may be to blame instead";
    assert!(sentence.contains(words), "{sentence}");
    // The same on both hosts: some other requests were on that host and did well.
    let (named, with, sentence) = told(|n| match n % 4 {
        0 => ("a", "1", "north"),
        1 => ("b", "1", "south"),
        2 => ("c", "2", "south"),
        _ => ("d", "2", "north"),
    });
    assert_eq!((named, with.len()), (version_two, 0), "{sentence}");
    assert!(!sentence.contains("to blame instead"), "{sentence}");
    // An instance that alone is of its version, on a host with others.
    let (named, with, sentence) = told(|n| match n % 3 {
        0 => ("a", "1", "north"),
        1 => ("b", "1", "south"),
        _ => ("c", "2", "south"),
    });
    assert_eq!(named, component(Level::Instance, "accounts", "c"));
    assert_eq!(with, ["version 2 of accounts"], "{sentence}");
    // And on a host of its own: both.
    let (_, with, sentence) = told(|n| match n % 3 {
        0 => ("a", "1", "north"),
        1 => ("b", "1", "south"),
        _ => ("c", "2", "east"),
    });
    assert_eq!(with, ["host east", "version 2 of accounts"], "{sentence}");
}
