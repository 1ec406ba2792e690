use super::*;
use crate::SuspectUnit;
use crate::tree::tests::tree;
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const TREE: &str = "site -\n  shop process\n    shop.cart\n    shop.search\n  bank process";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * DAY
}

fn evidence(suspects: &[(&str, f64)]) -> Evidence {
    Evidence {
        incident: 1,
        at: now(),
        since: now(),
        signature: FaultSignature {
            request_types: vec!["front GET /".to_owned()],
            error_type: "Corrupt".to_owned(),
            shape: "raised".to_owned(),
        },
        suspects: suspects
            .iter()
            .map(|(unit, probability)| SuspectUnit {
                unit: (*unit).into(),
                probability: *probability,
                two_sided: true,
                reason: String::new(),
            })
            .collect(),
        baseline_failure_share: 0.0,
        failing_per_second: 10.0,
        traffic: BTreeMap::new(),
        closed: false,
        circumstances: crate::Circumstances::default(),
    }
}

fn trial(unit: &str, relief: f64) -> Trial {
    Trial {
        unit: unit.into(),
        relief,
        lasted: Duration::ZERO,
    }
}

fn believed(beliefs: &Beliefs, evidence: &Evidence, at: SystemTime) -> Vec<f64> {
    let tree = tree(TREE);
    let units: Vec<UnitName> = tree
        .chain(&evidence.suspects[0].unit)
        .into_iter()
        .cloned()
        .collect();
    beliefs.levels(Some(&evidence.signature), &units, at).0
}

fn learned(recoveries: &[&[Trial]], suspects: &[(&str, f64)]) -> Vec<f64> {
    let mut beliefs = Beliefs::new(30 * DAY);
    let evidence = evidence(suspects);
    for trials in recoveries {
        let time = match trials.is_empty() {
            true => Time::Healed,
            false => Time::NotGiven,
        };
        beliefs.learn(&evidence, &tree(TREE), trials, time, now());
    }
    believed(&beliefs, &evidence, now())
}

#[test]
fn smaller_levels_first_but_not_certain() {
    let levels = learned(&[], &[("shop.cart", 1.0)]);
    assert_eq!(levels.len(), 5);
    assert!(levels[1] > levels[2] && levels[2] > levels[3], "{levels:?}");
    assert!(levels[1] < 0.75, "{levels:?}");
}

/// Each case: the recoveries, and which level is then the likeliest (0 is by itself, 1 the
/// suspect, 2 its process, 3 the site, 4 none).
#[test]
fn what_cured_is_believed_next_time() {
    let failed = trial("shop.cart", 0.0);
    let child: &[Trial] = &[trial("shop.cart", 1.0)];
    let parent: &[Trial] = &[failed.clone(), trial("shop", 1.0)];
    let site: &[Trial] = &[trial("shop", 0.0), trial("site", 1.0)];
    let nothing: &[Trial] = &[failed, trial("shop", 0.0), trial("site", 0.0)];
    for (recoveries, likeliest) in [
        (vec![child], 1),
        (vec![parent], 2),
        (vec![child, parent, parent, parent], 2),
        (vec![site, site], 3),
        (vec![nothing], 4),
        (vec![&[], &[], &[]], 0),
    ] {
        let levels = learned(&recoveries, &[("shop.cart", 0.9)]);
        let best = (0..5).max_by(|a, b| levels[*a].total_cmp(&levels[*b]));
        assert_eq!(best, Some(likeliest), "{recoveries:?}: {levels:?}");
    }
}

#[test]
fn what_was_not_tried_has_not_failed() {
    let untried = learned(&[&[trial("shop", 1.0)]], &[("shop.cart", 1.0)]);
    let fresh = learned(&[], &[("shop.cart", 1.0)]);
    // The process cured, which the component might have done too: their odds stay.
    let odds = |levels: &[f64]| levels[1] / levels[2];
    assert!((odds(&untried) - odds(&fresh)).abs() < 1e-9);
    assert!(untried[3] < fresh[3] && untried[4] < fresh[4]);
}

#[test]
fn partial_relief_counts_partly() {
    let at = |relief| learned(&[&[trial("shop.cart", relief)]], &[("shop.cart", 1.0)])[1];
    assert!(at(0.0) < at(0.5) && at(0.5) < at(0.8) && at(0.8) < at(1.0));
}

#[test]
fn an_unlikely_suspect_teaches_little() {
    let at = |probability| {
        let failed: &[Trial] = &[trial("shop.cart", 0.0)];
        learned(&[failed], &[("shop.cart", probability)])[1]
    };
    assert!(at(1.0) < at(0.5) && at(0.5) < at(0.1));
}

#[test]
fn other_signatures_and_units_borrow() {
    let mut beliefs = Beliefs::new(30 * DAY);
    let first = evidence(&[("shop.cart", 1.0)]);
    for _ in 0..5 {
        let trials = [trial("shop.cart", 0.0), trial("shop", 1.0)];
        beliefs.learn(&first, &tree(TREE), &trials, Time::NotGiven, now());
    }
    let mut same_unit = first.clone();
    same_unit.signature.error_type = "Other".to_owned();
    let sibling = evidence(&[("shop.search", 1.0)]);
    let mut other_shape = first.clone();
    other_shape.signature.shape = "slow".to_owned();
    let p = |evidence: &Evidence| believed(&beliefs, evidence, now())[2];
    for borrower in [&same_unit, &sibling] {
        assert!(p(&first) > p(borrower));
        assert!(p(borrower) > p(&other_shape));
    }
}

#[test]
fn what_was_learned_fades() {
    let mut beliefs = Beliefs::new(30 * DAY);
    let evidence = evidence(&[("shop.cart", 1.0)]);
    let fresh = believed(&beliefs, &evidence, now());
    beliefs.learn(
        &evidence,
        &tree(TREE),
        &[trial("shop.cart", 0.0)],
        Time::NotGiven,
        now(),
    );
    let soon = believed(&beliefs, &evidence, now());
    let later = believed(&beliefs, &evidence, now() + 60 * DAY);
    let never = believed(&beliefs, &evidence, now() + 3000 * DAY);
    assert!(soon[1] < later[1] && later[1] < fresh[1]);
    assert!((never[1] - fresh[1]).abs() < 1e-9);
}

#[test]
fn rows_come_back_as_they_were_kept() {
    let mut beliefs = Beliefs::new(30 * DAY);
    let evidence = evidence(&[("shop.cart", 0.7), ("bank", 0.2)]);
    beliefs.learn(
        &evidence,
        &tree(TREE),
        &[trial("shop.cart", 0.5)],
        Time::NotGiven,
        now(),
    );
    let kept: Vec<(Key, Row)> = beliefs
        .rows()
        .map(|row| serde_json::to_string(&row).expect("rows serialize"))
        .map(|json| serde_json::from_str(&json).expect("and back"))
        .collect();
    // Exact and shape of each suspect, shape and error anywhere, and a fault elsewhere, also of this shape.
    assert_eq!(kept.len(), 8);
    assert_eq!(Beliefs::with_rows(30 * DAY, kept), beliefs);
}

#[test]
fn a_wait_in_vain_speaks_against_time() {
    let at = |time| {
        let mut beliefs = Beliefs::new(30 * DAY);
        let evidence = evidence(&[("shop.cart", 1.0)]);
        for _ in 0..5 {
            beliefs.learn(
                &evidence,
                &tree(TREE),
                &[trial("shop.cart", 1.0)],
                time,
                now(),
            );
        }
        believed(&beliefs, &evidence, now())[0]
    };
    assert!(at(Time::InVain) < at(Time::NotGiven));
    // A cure right after a restart is hardly ever a coincidence.
    assert!(at(Time::NotGiven) < 0.05, "{}", at(Time::NotGiven));
}

#[test]
fn a_belief_that_was_never_tested_does_not_get_firmer() {
    let mut beliefs = Beliefs::new(30 * DAY);
    let evidence = evidence(&[("shop.cart", 1.0)]);
    for _ in 0..100 {
        beliefs.learn(
            &evidence,
            &tree(TREE),
            &[trial("shop", 1.0)],
            Time::NotGiven,
            now(),
        );
    }
    let before = believed(&beliefs, &evidence, now());
    let failed = [trial("shop.cart", 0.0), trial("shop", 1.0)];
    for _ in 0..3 {
        beliefs.learn(&evidence, &tree(TREE), &failed, Time::NotGiven, now());
    }
    let after = believed(&beliefs, &evidence, now());
    assert!(
        before[1] > 0.6 && after[1] < after[2],
        "{before:?} {after:?}"
    );
}

#[test]
fn a_new_version_makes_what_was_learned_weigh_less() {
    let mut beliefs = Beliefs::new(30 * DAY);
    let evidence = evidence(&[("shop.cart", 1.0)]);
    beliefs.learn(
        &evidence,
        &tree(TREE),
        &[trial("shop.cart", 0.0)],
        Time::NotGiven,
        now(),
    );
    let before = believed(&beliefs, &evidence, now())[1];
    assert!(
        beliefs
            .new_version(&"bank".into(), &tree(TREE), now())
            .is_empty()
    );
    // What the whole process brings anew, its component has anew.
    let changed = beliefs.new_version(&"shop".into(), &tree(TREE), now());
    assert_eq!(changed.len(), 2);
    assert!(believed(&beliefs, &evidence, now())[1] > before);
}

proptest! {
    #[test]
    fn beliefs_are_a_distribution(
        trials in proptest::collection::vec((0usize..3, 0.0f64..=1.0), 0..8),
        probability in 0.0f64..=1.0,
    ) {
        let names = ["shop.cart", "shop", "site"];
        let mut beliefs = Beliefs::new(30 * DAY);
        let evidence = evidence(&[("shop.cart", probability), ("bank", 0.5)]);
        for (unit, relief) in trials {
            beliefs.learn(&evidence, &tree(TREE), &[trial(names[unit], relief)], Time::NotGiven, now());
            let levels = believed(&beliefs, &evidence, now());
            prop_assert!((levels.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{levels:?}");
            prop_assert!(levels.iter().all(|level| *level >= 0.0));
        }
    }
}
