use super::*;
use crate::tree::tests::tree;

const HOUR: Duration = Duration::from_secs(3600);

fn at(hours: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * HOUR + hours * HOUR
}

fn millis(costs: &Costs, tree: &RestartTree, unit: &str, now: SystemTime) -> u128 {
    costs
        .downtime(tree, &unit.into(), now)
        .duration()
        .as_millis()
}

#[test]
fn measured_beats_expected_and_parts_add_up() {
    let tree = tree("site -\n  shop process\n    cart\n  bank process ~2000");
    let mut costs = Costs::new(HOUR);
    let now = at(0);
    assert_eq!(millis(&costs, &tree, "cart", now), 1000);
    assert_eq!(millis(&costs, &tree, "shop", now), 5000);
    assert_eq!(millis(&costs, &tree, "site", now), 7000);
    for _ in 0..3 {
        costs.learn(&tree, &"shop".into(), Duration::from_secs(1), now);
    }
    // Its prior, of 5 s, counts as one more; its own are no others'.
    assert_eq!(millis(&costs, &tree, "shop", now), 2000);
    assert!(costs.pooled(&tree, &"shop".into(), now) < 1e-9);
    // What the configuration says of a unit is a person's word.
    assert_eq!(millis(&costs, &tree, "bank", now), 2000);
    assert_eq!(millis(&costs, &tree, "site", now), 4000);
    assert_eq!(millis(&costs, &tree, "shop", at(1000)), 5000);
    assert_eq!(millis(&costs, &tree, "nobody", now), 0);
}

#[test]
fn what_was_measured_of_others_is_expected_of_a_new_one_and_its_own_narrows_it() {
    let tree = tree("site -\n  a process\n  b process\n  c");
    let mut costs = Costs::new(HOUR);
    let now = at(0);
    let usual = |costs: &Costs, unit: &str| costs.downtime(&tree, &unit.into(), now).usual();
    let (low, high) = usual(&costs, "b");
    assert!(low < 2.5 && high > 8.0, "{low} {high}");
    for seconds in [9.0, 10.0, 11.0, 10.0] {
        costs.learn(&tree, &"a".into(), Duration::from_secs_f64(seconds), now);
    }
    // (5 + 4 · 10) / 5 seconds, from nothing of its own.
    assert_eq!(millis(&costs, &tree, "b", now), 9000);
    assert_eq!(millis(&costs, &tree, "c", now), 1000);
    assert!(costs.downtime(&tree, &"b".into(), now).weight < 1e-9);
    assert!(costs.pooled(&tree, &"b".into(), now) > 3.9);
    let of = |(low, high): (f64, f64)| high / low;
    assert!(of(usual(&costs, "a")) < of(usual(&costs, "b")));
}

#[test]
fn what_callers_hide_costs_less_and_a_few_requests_say_little() {
    let tree = tree("site -\n  a\n  b");
    let mut costs = Costs::new(HOUR);
    let share = |costs: &Costs, unit: &str| costs.failing(&tree, &unit.into(), at(0)).mean;
    assert!((share(&costs, "a") - 1.0).abs() < 1e-9);
    assert!(
        costs
            .learn_failing(&tree, &"a".into(), 3.0, 0.0, at(0))
            .is_empty()
    );
    let mut few = costs.clone();
    few.learn_failing(&tree, &"a".into(), 0.0, 1.0, at(0));
    let changed = costs.learn_failing(&tree, &"a".into(), 0.0, 1000.0, at(0));
    assert_eq!(changed.len(), 2);
    assert!(share(&costs, "a") < share(&few, "a") && share(&few, "a") < 1.0);
    // Others of its kind learn of it, and one restart isn't the world.
    // Of the other as much is expected: its own measurements don't count once more for the unit itself.
    assert!(share(&costs, "b") < 1.0);
    assert!((share(&costs, "b") - share(&costs, "a")).abs() < 1e-9);
    costs.learn_failing(&tree, &"a".into(), 1e9, 1.0, at(0));
    assert!(share(&costs, "a") < 1.0 + MOST_FAILING);
}

#[test]
fn what_was_kept_is_read_again_and_so_is_what_older_ones_kept() {
    let old =
        r#"{"weight":3.0,"mean":2.0,"at":{"secs_since_epoch":3600000,"nanos_since_epoch":0}}"#;
    let old: Measured = serde_json::from_str(old).expect("an old row");
    let moments = old.downtime.expect("a downtime");
    assert_eq!(
        (moments.weight, moments.mean, moments.variance),
        (3.0, 2.0, None)
    );
    let tree = tree("site -\n  a process");
    let mut costs = Costs::with_rows(HOUR, [(CostKey::from("a"), old)]);
    costs.learn(&tree, &"a".into(), Duration::from_secs(4), at(0));
    costs.learn_failing(&tree, &"site".into(), 5.0, 10.0, at(0));
    let kept = costs.rows().map(|(key, row)| {
        let text = serde_json::to_string(row).expect("JSON");
        let row = serde_json::from_str(&text).expect(&text);
        (CostKey::from(key.to_string().as_str()), row)
    });
    assert_eq!(Costs::with_rows(HOUR, kept.collect::<Vec<_>>()), costs);
}

#[test]
fn what_was_measured_elsewhere_counts_and_comes_along() {
    let tree = tree("site -\n  a process\n  b process");
    let mut there = Costs::new(HOUR);
    for seconds in [2.0, 3.0] {
        there.learn(&tree, &"a".into(), Duration::from_secs_f64(seconds), at(0));
    }
    there.learn_failing(&tree, &"a".into(), 10.0, 100.0, at(0));
    // A day later, and after a restart of its own, it is as if all had been measured in one place.
    let here = Costs::new(HOUR).with_seeds(there.exported(at(0)));
    let [mut there, mut here] = [there, here].map(|costs| Costs {
        half_life: 24 * HOUR,
        ..costs
    });
    for costs in [&mut there, &mut here] {
        costs.learn(&tree, &"a".into(), Duration::from_secs(4), at(24));
    }
    for unit in ["a", "b"].map(UnitName::from) {
        let of = |costs: &Costs| {
            let takes = costs.downtime(&tree, &unit, at(30));
            [
                takes.mean,
                takes.variance,
                costs.failing(&tree, &unit, at(30)).mean,
            ]
        };
        for (one, other) in of(&there).into_iter().zip(of(&here)) {
            assert!(
                (one - other).abs() < 1e-9,
                "{:?} {:?}",
                of(&there),
                of(&here)
            );
        }
    }
    assert_eq!(
        here.rows().count(),
        2,
        "what was measured elsewhere isn't kept"
    );
    // What a person knows doesn't fade.
    let known = Measured {
        downtime: Some(Moments::seeded(7.0, 3.0, None, None)),
        failing: None,
    };
    let known = Costs::new(HOUR).with_seeds([(CostKey::from("a"), known)]);
    assert_eq!(millis(&known, &tree, "a", at(100_000)), 6500);
}

#[test]
fn what_was_lost_with_the_last_life_is_not_lost_again() {
    let tree =
        tree("site -\n  shop process @loses=500\n    cart @loses=20\n  bank process @loses=7");
    let mut costs = Costs::new(HOUR);
    let lost = |costs: &Costs, unit: &str, now| {
        // Nothing is in flight, and what comes while it is away is told apart.
        let price = |costs: &Costs| costs.price(&tree, &unit.into(), 2.0, Duration::ZERO, now);
        let without = Costs {
            since: tree.units().map(|unit| (unit.name.clone(), now)).collect(),
            ..costs.clone()
        };
        (price(costs).requests.mean - price(&without).requests.mean).round()
    };
    let same =
        |found: f64, expected: f64| assert!((found - expected).abs() < 0.5, "{found} {expected}");
    let began = at(0);
    let later = |seconds| began + Duration::from_secs(seconds);
    // Of lives that nobody saw begin, all is believed.
    same(lost(&costs, "shop", later(3)), 520.0);
    costs.began(&tree, &"cart".into(), began);
    same(lost(&costs, "shop", later(3)), 506.0);
    costs.began(&tree, &"shop".into(), later(1));
    for (unit, seconds, expected) in [
        ("shop", 1, 0.0),
        ("shop", 4, 12.0),
        ("cart", 4, 6.0),
        ("shop", 101, 220.0),
        ("shop", 1000, 520.0),
        ("site", 4, 19.0),
        ("bank", 4, 7.0),
    ] {
        same(lost(&costs, unit, later(seconds)), expected);
    }
    let silent = costs.price(&tree, &"shop".into(), 0.0, Duration::ZERO, later(2));
    same(silent.requests.mean, 520.0);
    // A clock that was set back makes no life young.
    same(lost(&costs, "shop", began - HOUR), 520.0);
}
