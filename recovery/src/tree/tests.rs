//! Trees are written in a small notation: a line per unit, indented below its parent, with
//! `key=value` pairs, `-` for no executor, and a mode.

use std::time::Duration;

use super::*;
use crate::{ExecutorSpec, HttpSpec, ProcessSpec};

pub(crate) fn specs(text: &str) -> Vec<UnitSpec> {
    let mut stack: Vec<(usize, UnitName)> = Vec::new();
    let mut units = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace();
        let name = UnitName::from(words.next().expect("a name"));
        stack.retain(|(above, _)| *above < indent);
        let mut unit = UnitSpec {
            name: name.clone(),
            parent: stack.last().map(|(_, name)| name.clone()),
            selector: BTreeMap::new(),
            executor: Some(ExecutorSpec::Http(HttpSpec {
                url: format!("http://127.0.0.1:1/{name}"),
                timeout: Duration::from_secs(1),
            })),
            start_deadline: Duration::from_secs(10),
            ready: None,
            check: None,
            watches: Vec::new(),
            mode: None,
            expected_downtime: None,
            rules: crate::UnitRules::default(),
            around: crate::Around::default(),
        };
        for word in words {
            match word {
                "-" => unit.executor = None,
                "process" => {
                    unit.executor = Some(ExecutorSpec::Process(ProcessSpec {
                        command: vec!["true".to_owned()],
                        environment: BTreeMap::new(),
                        directory: None,
                        stop: crate::Stop::Term(Duration::from_secs(1)),
                        ports: Vec::new(),
                    }));
                }
                "observe" => unit.mode = Some(Mode::Observe),
                "propose" => unit.mode = Some(Mode::Propose),
                "auto" => unit.mode = Some(Mode::Auto),
                _ => {
                    if let Some(rule) = word.strip_prefix('@') {
                        read_rule(&mut unit.rules, rule);
                    } else if let Some(parent) = word.strip_prefix('^') {
                        unit.parent = Some(parent.into());
                    } else if let Some(millis) = word.strip_prefix('~') {
                        let millis = millis.parse().expect("milliseconds");
                        unit.expected_downtime = Some(Duration::from_millis(millis));
                    } else {
                        let (key, value) = word.split_once('=').expect("key=value");
                        unit.selector.insert(key.to_owned(), value.to_owned());
                    }
                }
            }
        }
        stack.push((indent, name));
        units.push(unit);
    }
    units
}

/// `@min=2`, `@group=web`, `@before=x`, `@after=x`, `@together=x`, `@budget=3`, `@loses=5`.
fn read_rule(rules: &mut crate::UnitRules, rule: &str) {
    let (key, value) = rule.split_once('=').expect("key=value");
    let number = || value.parse().expect("a number");
    let units = || value.split(',').map(UnitName::from).collect();
    match key {
        "min" => rules.minimum_healthy = Some(number()),
        "group" => rules.capacity_group = Some(value.to_owned()),
        "before" => rules.before = units(),
        "after" => rules.after = units(),
        "together" => rules.together = units(),
        "budget" => rules.budget.restarts = Some(number()),
        "costs" => rules.budget.failed_requests = Some(number()),
        "loses" => rules.loses = number(),
        _ => panic!("no rule is called {key}"),
    }
}

pub(crate) fn tree(text: &str) -> RestartTree {
    RestartTree::build(specs(text)).expect("a tree")
}

pub(crate) const SHOP: &str = "
site -
  front process service.name=front auto
  catalog process service.name=catalog propose
    catalog.search code=search auto
    catalog.items code=items
  bidding - service.name=bidding
    bidding.bids code=bids
    bidding.search code=search
";

fn attributes(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn words(units: Vec<&UnitName>) -> String {
    units
        .iter()
        .map(|unit| unit.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn places() {
    let tree = tree(SHOP);
    let unit = UnitName::from;
    assert_eq!(tree.root(), Some(&unit("site")));
    assert_eq!(words(tree.ancestors(&unit("bidding.bids"))), "bidding site");
    assert_eq!(
        words(tree.subtree(&unit("catalog"))),
        "catalog catalog.search catalog.items"
    );
    assert_eq!(tree.depth(&unit("catalog.items")), Some(2));
    assert_eq!(tree.parent(&unit("site")), None);
    assert_eq!(
        words(tree.restarts(&unit("site"))),
        "front catalog bidding.bids bidding.search"
    );
    assert_eq!(
        words(tree.restarts(&unit("bidding"))),
        "bidding.bids bidding.search"
    );
    assert_eq!(words(tree.restarts(&unit("catalog"))), "catalog");
    assert!(tree.overlap(&unit("site"), &unit("bidding.bids")));
    assert!(!tree.overlap(&unit("catalog.search"), &unit("catalog.items")));
    assert_eq!(tree.spec(&unit("nobody")), None);
    assert!(tree.chain(&unit("nobody")).is_empty());
}

/// A watchdog that started two processes, one of which started another; each was given to Rekindle.
#[test]
fn what_a_restart_leaves_running_is_restarted_too() {
    let tree = tree(
        "site -\n  watchdog process\n    watchdog.rules\n    shop process\n      shop.cart\n        \
         indexer process\n    bank process @before=shop\n  mail process",
    );
    for (unit, expected) in [
        ("site", "bank watchdog shop indexer mail"),
        ("watchdog", "bank watchdog shop indexer"),
        ("shop", "shop indexer"),
        // An endpoint's restart is what whoever wrote it says that it is.
        ("shop.cart", "shop.cart"),
        ("watchdog.rules", "watchdog.rules"),
    ] {
        assert_eq!(words(tree.restarts(&unit.into())), expected, "{unit}");
    }
}

#[test]
fn modes_are_inherited() {
    let tree = tree(SHOP);
    for (unit, mode) in [
        ("site", Mode::Observe),
        ("front", Mode::Auto),
        ("catalog", Mode::Propose),
        ("catalog.search", Mode::Auto),
        ("catalog.items", Mode::Propose),
        ("bidding.bids", Mode::Observe),
        ("nobody", Mode::Observe),
    ] {
        assert_eq!(tree.mode(&unit.into()), mode, "{unit}");
    }
}

#[test]
fn components_find_their_unit() {
    let tree = tree(SHOP);
    for (given, unit) in [
        ("service.name=catalog code=search", Some("catalog.search")),
        ("service.name=bidding code=search", Some("bidding.search")),
        ("service.name=catalog code=other", Some("catalog")),
        ("service.name=catalog host.name=h", Some("catalog")),
        ("service.name=bidding", Some("bidding")),
        // Two services have it: only the site contains both.
        ("code=search", Some("site")),
        ("code=items", Some("catalog.items")),
        ("service.name=mail", None),
        ("host.name=h", None),
        ("", None),
    ] {
        let found = tree.resolve(&attributes(given)).map(|found| found.unit);
        assert_eq!(found, unit.map(UnitName::from), "{given}");
    }
}

#[test]
fn what_matches_in_two_branches_belongs_to_what_contains_both() {
    let tree = tree("site -\n  a -\n    a.x k=1\n  b j=2");
    let found = tree.resolve(&attributes("k=1 j=2")).map(|found| found.unit);
    assert_eq!(found, Some("site".into()));
}

#[test]
fn a_part_of_a_component_is_named_below_it() {
    let tree = tree("site -\n  cart s=1 code.namespace=cart\n    cache code.namespace=cart.cache");
    for (given, unit) in [
        ("s=1 code.namespace=cart", "cart"),
        ("s=1 code.namespace=cart.cache", "cache"),
    ] {
        let found = tree.resolve(&attributes(given)).map(|found| found.unit);
        assert_eq!(found, Some(unit.into()), "{given}");
    }
    let selector = tree.selector(&"cache".into());
    assert_eq!(selector, Some(&attributes("s=1 code.namespace=cart.cache")));
}

/// Each case: a list, and what is said about it, in order.
#[test]
fn every_mistake_is_named() {
    for (text, expected) in [
        ("", vec!["no unit is the root"]),
        ("a\nb\nc", vec!["a, b and c name no parent"]),
        ("a\n  b\n  b", vec!["2 units are called b"]),
        (
            "catalog\nx ^catalgo",
            vec!["is catalgo, which is no unit; did you mean catalog?"],
        ),
        ("r\na ^b\nb ^a", vec!["a and b contain each other"]),
        ("r\na ^a", vec!["a is its own parent"]),
        ("a ^b\nb ^a", vec!["no unit is the root", "a and b contain"]),
        ("r -\n  a -\n  b", vec!["a can't be restarted"]),
        (
            "r\n  a k=1\n  b k=1",
            vec!["a and b both match a component with k=1"],
        ),
        (
            "r\n  a k=1\n  b k=1 j=2",
            vec!["a and b both match a component with j=2, k=1"],
        ),
        (
            "r\n  a k=1 j=2\n  b k=1",
            vec!["b and a both match a component with j=2, k=1"],
        ),
        ("r\n  a k=1\n    x j=1\n  b k=2\n    y j=1", vec![]),
        ("r\n  a k=1\n    x k=1 j=1", vec![]),
        (
            "r\n  a k=1\n    x k=2",
            vec!["x wants k=2, but a above it wants k=1"],
        ),
        (
            "r\n  a code.namespace=shop.cart\n    x code.namespace=shop.cart.cache",
            vec![],
        ),
        (
            "r\n  a code.namespace=shop.cart\n    x code.namespace=shop.cartoon",
            vec!["x wants code.namespace=shop.cartoon, but a above it wants"],
        ),
        (
            "r\n  a k=shop.cart\n    x k=shop.cart.cache",
            vec!["x wants k=shop.cart.cache, but a above it wants"],
        ),
        (
            "r -\n  a k=1\n  b k=1\n  c -",
            vec!["c can't be restarted", "a and b both match"],
        ),
    ] {
        let mut specs = specs(text);
        if let Some(first) = specs.first_mut() {
            first.mode = Some(Mode::Propose);
        }
        let said: Vec<String> = match RestartTree::build(specs) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(said.len(), expected.len(), "{text}: {said:#?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
    // What is only observed needs no way to be restarted.
    let observed = RestartTree::build(specs("r -\n  a -\n  b")).expect("a tree");
    assert_eq!(observed.restarts(&"r".into()).len(), 1);
}

#[test]
fn groups_go_together_and_in_order() {
    let tree = tree(
        "
site -
  db process @before=web
    db.pool
  web process @together=cache
    web.cart
  cache process
  mail - @after=web,db
    mail.out process @after=mail.in
    mail.in process
  log process @together=mail
",
    );
    let restarts = |unit: &str| words(tree.restarts(&unit.into()));
    assert_eq!(restarts("site"), "db web cache mail.in mail.out log");
    assert_eq!(restarts("web"), "web cache");
    assert_eq!(restarts("cache"), "cache web");
    // A part is none of the group's.
    assert_eq!(restarts("web.cart"), "web.cart");
    assert_eq!(restarts("mail"), "mail.in mail.out log");
    assert_eq!(restarts("mail.in"), "mail.in");
    assert_eq!(restarts("log"), "log mail.in mail.out");
    assert_eq!(words(tree.subtree(&"cache".into())), "cache web web.cart");
    assert_eq!(words(tree.own_subtree(&"cache".into())), "cache");
    let contains = |one: &str, other: &str| tree.contains(&one.into(), &other.into());
    assert!(contains("cache", "web.cart") && !contains("web.cart", "cache"));
    assert!(tree.overlap(&"cache".into(), &"web.cart".into()));
    assert!(!tree.overlap(&"cache".into(), &"db".into()));
}

#[test]
fn groups_grow_until_nothing_is_added() {
    let tree = tree(
        "r -\n  a @together=b.x\n  b\n    b.x @together=c\n  c @together=d\n    c.x\n  d\n  e",
    );
    let covered = |unit: &str| words(tree.subtree(&unit.into()));
    assert_eq!(covered("a"), "a b.x c c.x d");
    assert_eq!(covered("d"), "d c c.x b.x a");
    // What contains a member brings the group, too.
    assert_eq!(covered("b"), "b b.x a c c.x d");
    assert_eq!(covered("e"), "e");
}

#[test]
fn rules_that_cannot_be_kept_are_named() {
    for (text, expected) in [
        (
            "r\n  a @before=x",
            "a is to be restarted before x, which is no unit",
        ),
        (
            "r\n  a @together=r",
            "a is to be restarted together r, but one of them contains",
        ),
        (
            "r\n  y\n    a @together=z\n  z @together=y",
            "a is to be restarted together y, but one of them contains",
        ),
        (
            "r\n  a @before=b\n  b @before=a",
            "each of a and b is to be",
        ),
        (
            "r\n  a @before=b\n  b @before=c\n  c @before=a",
            "each of a, b and c is to be",
        ),
        (
            "r\n  a @before=b\n    a.x @after=b.x\n  b\n    b.x",
            "each of a, a.x, b and b.x is to be",
        ),
    ] {
        let errors = RestartTree::build(specs(text)).expect_err(text);
        assert!(
            errors[0].to_string().contains(expected),
            "{text}: {}",
            errors[0]
        );
    }
}

/// Who is named by a rule and isn't there is told with what keeps the list from being a tree.
#[test]
fn a_list_that_is_no_tree_has_its_rules_checked_too() {
    let mut units = specs("r\n  a @before=x\n  b @together=y");
    units[2].parent = Some("nobody".into());
    let errors = RestartTree::build(units).expect_err("no tree");
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let told = |part: &str| words.iter().any(|words| words.contains(part));
    assert!(told("nobody"), "{words:?}");
    assert!(
        told("a is to be restarted before x, which is no unit"),
        "{words:?}"
    );
    assert!(
        told("b is to be restarted together y, which is no unit"),
        "{words:?}"
    );
}
