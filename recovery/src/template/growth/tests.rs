//! Lists that come and fail, and what they make of a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::template::kinds;
use crate::template::tests::{GONE_AFTER, MOST, listed, template};
use crate::tree::tests::specs;
use crate::{ExecutorSpec, Mode, RestartTree};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

#[test]
fn a_life_goes_by_its_table() {
    let (now, long_ago, just) = (at(100), at(40), at(41));
    let on = Event::Listed;
    let off = Event::Unlisted { is_held: false };
    let held = Event::Unlisted { is_held: true };
    for (stage, event, expected) in [
        (None, on, Some(Stage::There)),
        (None, off, None),
        (None, held, None),
        (Some(Stage::There), on, Some(Stage::There)),
        (Some(Stage::There), off, Some(Stage::Missing(now))),
        (Some(Stage::There), held, Some(Stage::Missing(now))),
        (Some(Stage::Missing(just)), on, Some(Stage::There)),
        (Some(Stage::Missing(just)), off, Some(Stage::Missing(just))),
        (Some(Stage::Missing(long_ago)), off, None),
        (
            Some(Stage::Missing(long_ago)),
            held,
            Some(Stage::Missing(long_ago)),
        ),
        // A clock that was set back makes nobody gone.
        (
            Some(Stage::Missing(at(200))),
            off,
            Some(Stage::Missing(at(200))),
        ),
    ] {
        assert_eq!(
            next(stage, event, now, GONE_AFTER),
            expected,
            "{stage:?} {event:?}"
        );
    }
}

#[test]
fn what_is_listed_is_a_unit_with_what_the_list_says() {
    let mut growth = Growth::new(vec![template("x service.name=web auto", "replica", "web")]);
    let nobody = BTreeSet::new();
    assert!(growth.take(0, &listed(&["b", "a"]), &nobody, at(0)));
    assert!(!growth.take(0, &listed(&["a", "b"]), &nobody, at(5)));
    let units = growth.units();
    let names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["replica@a", "replica@b"]);
    let first = &units[0];
    assert_eq!(first.parent, Some("web".into()));
    assert_eq!(first.mode, Some(Mode::Auto));
    let selector: Vec<(&str, &str)> = first
        .selector
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        selector,
        [
            ("container.id", "a-0123456789abcdef"),
            ("container.name", "a"),
            ("host.name", "a-0123456789"),
            ("service.name", "web"),
        ]
    );
    let Some(ExecutorSpec::Docker(docker)) = &first.executor else {
        panic!("{first:?}");
    };
    assert_eq!(docker.container, "a");
    // Made anew under its name it is the same unit, and another life.
    let mut anew = listed(&["a", "b"]);
    anew[0].id = "fedcba9876543210".to_owned();
    assert!(growth.take(0, &anew, &nobody, at(10)));
    assert_eq!(
        growth.units()[0].selector["container.id"],
        "fedcba9876543210"
    );
    // The one before its time is over, and after.
    assert!(growth.take(0, &anew[..1], &nobody, at(15)));
    assert_eq!(growth.missing(), ["replica@b".into()].into());
    assert!(!growth.take(0, &anew[..1], &nobody, at(70)));
    assert_eq!(growth.units().len(), 2);
    assert!(growth.take(0, &anew[..1], &nobody, at(75)));
    assert_eq!(growth.units().len(), 1);
}

#[test]
fn what_is_too_much_or_has_no_name_is_left_out_and_counted() {
    let mut growth = Growth::new(vec![
        template("x service.name=web", "replica", "web"),
        template("x service.name=bank", "till", "bank"),
    ]);
    let nobody = BTreeSet::new();
    let many = listed(&["a", "b b", "c", "d", "e", "../f"]);
    assert!(growth.take(0, &many, &nobody, at(0)));
    let names = |growth: &Growth| -> Vec<String> {
        growth
            .units()
            .iter()
            .map(|unit| unit.name.to_string())
            .collect()
    };
    assert_eq!(names(&growth), ["replica@a", "replica@c", "replica@d"]);
    assert_eq!((growth.left_out(0), growth.left_out(1)), (3, 0));
    // One template's bound and list are not another's.
    assert!(growth.take(1, &listed(&["a"]), &nobody, at(5)));
    assert_eq!(
        names(&growth),
        ["replica@a", "replica@c", "replica@d", "till@a"]
    );
    // Whoever was there first stays; who is missing leaves its room to others at once.
    growth.take(0, &listed(&["c", "d", "e"]), &nobody, at(10));
    assert_eq!(
        names(&growth),
        ["replica@a", "replica@c", "replica@d", "replica@e", "till@a"]
    );
    assert_eq!(growth.missing(), ["replica@a".into()].into());
    growth.take(0, &listed(&["c", "d", "e"]), &nobody, at(71));
    assert_eq!(
        names(&growth),
        ["replica@c", "replica@d", "replica@e", "till@a"]
    );
    assert_eq!(growth.left_out(0), 0);
    // A list that is another one each time fills nothing.
    growth.take(0, &listed(&["f", "g", "h", "i"]), &nobody, at(80));
    growth.take(0, &listed(&["j", "k", "l", "m"]), &nobody, at(81));
    assert_eq!(names(&growth).len(), 2 * MOST + 1);
}

#[test]
fn who_is_on_the_list_and_not_up_is_down() {
    let mut growth = Growth::new(vec![template("x service.name=web", "replica", "web")]);
    let nobody = BTreeSet::new();
    let mut list = listed(&["a", "b"]);
    assert!(growth.take(0, &list, &nobody, at(0)));
    assert_eq!(growth.down(), BTreeSet::new());
    list[1].is_up = false;
    assert!(growth.take(0, &list, &nobody, at(5)));
    assert_eq!(growth.down(), ["replica@b".into()].into());
    assert!(growth.take(0, &list[..1], &nobody, at(10)));
    assert_eq!(growth.missing(), ["replica@b".into()].into());
    assert_eq!(growth.down(), BTreeSet::new());
}

/// What happens to one template's list.
#[derive(Clone, Debug)]
enum Step {
    /// These are on it.
    List(BTreeSet<u8>),
    /// Somebody works on these.
    Hold(BTreeSet<u8>),
    /// So many seconds pass, in which it can't be had.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::collection::btree_set(0..6u8, 0..6);
    prop_oneof![
        5 => some().prop_map(Step::List),
        1 => some().prop_map(Step::Hold),
        3 => (0..90u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever lists say: no unit but what was once listed, never more than the bound and as many that may come back, nobody lost who is held or was
    /// listed a moment ago, and always a tree.
    #[test]
    fn whatever_comes_and_goes_makes_a_tree(steps in proptest::collection::vec(step(), 1..40)) {
        let templates = vec![template("x service.name=web", "replica", "web")];
        let written = specs("site - auto\n  web - service.name=web\n  bank process");
        let mut growth = Growth::new(templates.clone());
        let name = |number: &u8| UnitName(format!("replica@{number}"));
        let mut now = at(0);
        let mut held: BTreeSet<UnitName> = BTreeSet::new();
        let mut last: BTreeMap<UnitName, SystemTime> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
                Step::Hold(numbers) => held = numbers.iter().map(name).collect(),
                Step::List(numbers) => {
                    let before: BTreeSet<UnitName> =
                        growth.units().into_iter().map(|unit| unit.name).collect();
                    let names: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    last.extend(numbers.iter().map(|number| (name(number), now)));
                    let missing = growth.missing();
                    let is_changed = growth.take(0, &listed(&names), &held, now);
                    let units = growth.units();
                    let after: BTreeSet<UnitName> = units.iter().map(|unit| unit.name.clone()).collect();
                    prop_assert!(after.len() <= 2 * MOST);
                    prop_assert_eq!(is_changed, before != after || missing != growth.missing());
                    for unit in &before {
                        let is_recent = now < last[unit] + GONE_AFTER;
                        prop_assert!(after.contains(unit) || !(is_recent || held.contains(unit)), "{}", unit);
                    }
                    for unit in &after {
                        prop_assert!(last.contains_key(unit));
                        prop_assert!(before.contains(unit) || numbers.iter().any(|number| name(number) == *unit));
                    }
                    let all = written.iter().chain(&units).cloned().collect();
                    let tree = RestartTree::growing(all, kinds(&templates));
                    prop_assert!(tree.is_ok(), "{:?}", tree.err());
                }
            }
        }
    }
}

/// A list that doesn't say where a fallen one was must not keep it from being asked; another life is somewhere else.
#[test]
fn who_fell_is_asked_where_it_was() {
    let mut kind = template("x service.name=web", "replica", "web");
    kind.unit.check = Some(crate::ProbeSpec::Tcp {
        address: "${its:address}:1".to_owned(),
        timeout: Duration::from_secs(1),
    });
    let mut growth = Growth::new(vec![kind]);
    let look = |id: &str, address: Option<&str>| {
        let mut listed = listed(&["a"]);
        listed[0].id = id.to_owned();
        listed[0].is_up = address.is_some();
        listed[0].address = address.map(|it| it.parse().expect("an address"));
        listed
    };
    for (list, is_new, asked_at) in [
        (look("1", Some("10.0.0.1")), true, Some("10.0.0.1:1")),
        (look("1", None), true, Some("10.0.0.1:1")),
        (look("1", None), false, Some("10.0.0.1:1")),
        (look("1", Some("10.0.0.2")), true, Some("10.0.0.2:1")),
        (look("2", None), true, None),
    ] {
        assert_eq!(growth.take(0, &list, &BTreeSet::new(), at(0)), is_new);
        let check = growth.units()[0].check.clone();
        let address = check.map(|check| match check {
            crate::ProbeSpec::Tcp { address, .. } => address,
            other => panic!("{other:?}"),
        });
        assert_eq!(address.as_deref(), asked_at);
    }
}

/// Who starts, or isn't where it was, isn't asked how it is; who was up and fell is.
#[test]
fn only_who_was_up_and_is_on_the_list_is_asked() {
    let mut kind = template("x service.name=web", "replica", "web");
    kind.unit.check = Some(crate::ProbeSpec::Tcp {
        address: "${its:name}:1".to_owned(),
        timeout: Duration::from_secs(1),
    });
    let mut growth = Growth::new(vec![kind]);
    let nobody = BTreeSet::new();
    let look = |id: &str, is_up: bool| {
        let mut listed = listed(&["a"]);
        listed[0].id = id.to_owned();
        listed[0].is_up = is_up;
        listed
    };
    for (at_second, list, is_new, is_asked) in [
        (0, look("1", false), true, false),
        (5, look("1", true), true, true),
        (10, look("1", false), true, true),
        // Another life of the name starts as others do.
        (15, look("2", false), true, false),
        (20, look("2", true), true, true),
        (25, Vec::new(), true, false),
        (30, look("2", true), true, true),
        (35, look("2", true), false, true),
    ] {
        let is_changed = growth.take(0, &list, &nobody, at(at_second));
        assert_eq!(is_changed, is_new, "{at_second}");
        let asked = growth.units()[0].check.is_some();
        assert_eq!(asked, is_asked, "{at_second}");
    }
}
