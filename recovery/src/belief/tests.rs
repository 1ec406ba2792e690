use super::*;
use crate::tree::tests::tree;
use crate::{Changed, SuspectUnit};
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const TREE: &str = "site -\n  shop process\n    shop.cart\n    shop.search\n  bank process";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * DAY
}

pub(super) fn evidence(suspects: &[(&str, f64)]) -> Evidence {
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
        joined_into: None,
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
    let units = tree.chain(&evidence.suspects[0].unit);
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
fn what_was_learned_elsewhere_is_believed_and_not_kept() {
    let evidence = evidence(&[("shop.cart", 0.7), ("bank", 0.2)]);
    let learn = |beliefs: &mut Beliefs, relief: f64, at: SystemTime| {
        let trials = [trial("shop.cart", relief), trial("shop", 1.0)];
        beliefs.learn(&evidence, &tree(TREE), &trials, Time::InVain, at);
    };
    let mut there = Beliefs::new(30 * DAY);
    for _ in 0..3 {
        learn(&mut there, 0.0, now());
    }
    let exported = there.exported(now() + 10 * DAY);
    let taken = Learned {
        beliefs: exported,
        ..Learned::default()
    };
    let taken = taken.fitting(&tree(TREE));
    assert_eq!(taken.left_out, 0);
    let mut here = Beliefs::new(30 * DAY).with_seeds(taken.beliefs);
    let later = now() + 20 * DAY;
    for (one, other) in believed(&there, &evidence, later)
        .into_iter()
        .zip(believed(&here, &evidence, later))
    {
        assert!((one - other).abs() < 1e-9, "{one} {other}");
    }
    assert_eq!(here.rows().count(), 0);
    let origin = |beliefs: &Beliefs, at| {
        beliefs.origin(&evidence.signature, &UnitName::from("shop.cart"), at)
    };
    assert!(origin(&here, later).fault.learned < 1e-9);
    assert!(origin(&here, later).fault.seeded > 1.0);
    // What is learned here is added to it, and comes along.
    learn(&mut here, 1.0, later);
    learn(&mut there, 1.0, later);
    assert_eq!(here.signatures(&"shop.cart".into()).count(), 1);
    let (here, there) = (here.exported(later), there.exported(later));
    assert_eq!(here.len(), there.len());
    for ((key, one), (other, two)) in here.iter().zip(&there) {
        let weight = |seed: &Seed| seed.seen.iter().map(|seen| seen.weight).sum::<f64>();
        assert_eq!(key, other);
        assert!((weight(one) - weight(two)).abs() < 1e-9, "{key:?}");
    }
}

#[test]
fn what_a_person_knows_does_not_fade() {
    let evidence = evidence(&[("shop.cart", 1.0)]);
    let key = Key::Exact(evidence.signature.clone(), "shop.cart".into());
    let known = |at| {
        let seen = Interval {
            above: Level::Unit("shop.cart".into()),
            until: Level::Unit("shop".into()),
            or_by_itself: false,
            coincidence: COINCIDENCE,
            weight: 10.0,
        };
        let seed = Seed {
            seen: vec![seen],
            at,
        };
        let beliefs = Beliefs::new(30 * DAY).with_seeds([(key.clone(), seed)]);
        believed(&beliefs, &evidence, now() + 3000 * DAY)[2]
    };
    assert!(known(None) > 0.8, "{}", known(None));
    assert!(known(Some(now())) < 0.5, "{}", known(Some(now())));
}

#[test]
fn what_cannot_have_been_seen_in_a_tree_is_said() {
    let unit = |name: &str| Level::Unit(name.into());
    let shape = |name: &str| Key::Shape("raised".to_owned(), name.into());
    let anywhere = || Key::Anywhere("raised".to_owned());
    for (key, above, until, wrong) in [
        (shape("shop.cart"), Level::ByItself, unit("shop.cart"), ""),
        (shape("shop.cart"), unit("shop.cart"), Level::None, ""),
        (shape("shop.cart"), Level::ByItself, Level::ByItself, ""),
        (anywhere(), Level::Step(0), Level::Step(1), ""),
        (
            shape("shopp"),
            Level::ByItself,
            Level::None,
            "no unit shopp",
        ),
        (
            shape("shop.cart"),
            Level::ByItself,
            unit("bank"),
            "bank doesn't contain shop.cart",
        ),
        (
            shape("shop.cart"),
            unit("shop"),
            unit("shop.cart"),
            "must be larger",
        ),
        (
            shape("shop.cart"),
            unit("shop"),
            unit("shop"),
            "must be larger",
        ),
        (
            shape("shop.cart"),
            Level::ByItself,
            Level::Step(0),
            "by units' names",
        ),
        (anywhere(), Level::ByItself, unit("shop"), "by steps"),
        (anywhere(), Level::Step(1), Level::Step(1), "must be larger"),
    ] {
        let seen = Interval {
            above,
            until,
            or_by_itself: false,
            coincidence: COINCIDENCE,
            weight: 1.0,
        };
        let found = key.fits(&tree(TREE), &seen);
        let found = found.map_or_else(|misfit| misfit.to_string(), |()| String::new());
        assert_eq!(
            found.is_empty(),
            wrong.is_empty(),
            "{key:?} {seen:?}: {found}"
        );
        assert!(found.contains(wrong), "{found}");
        let all = Learned {
            beliefs: vec![(
                key,
                Seed {
                    seen: vec![seen],
                    at: None,
                },
            )],
            ..Learned::default()
        };
        assert_eq!(
            all.fitting(&tree(TREE)).left_out,
            usize::from(!wrong.is_empty())
        );
    }
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

fn version(unit: &str, at: SystemTime) -> NewVersion {
    let change = Changed {
        at,
        what: format!("version 2 of {unit} appeared"),
        is_version: true,
        renewals: 0,
        goes_on: false,
    };
    NewVersion::of(&unit.into(), &change, &tree(TREE))
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
            .new_version(&version("bank", now()), now())
            .is_empty()
    );
    // What the whole process brings anew, its component has anew.
    let changed = beliefs.new_version(&version("shop", now()), now());
    assert_eq!(changed.len(), 2);
    assert!(believed(&beliefs, &evidence, now())[1] > before);
}

#[test]
fn a_new_version_makes_what_was_learned_elsewhere_weigh_less_but_not_what_a_person_knows() {
    let evidence = evidence(&[("shop.cart", 1.0)]);
    let later = now() + DAY;
    for (at, fades) in [(Some(now()), true), (None, false), (Some(later), false)] {
        let key = Key::Exact(evidence.signature.clone(), "shop.cart".into());
        let seen = vec![Interval {
            above: Level::Unit("shop.cart".into()),
            until: Level::Unit("shop".into()),
            or_by_itself: false,
            coincidence: COINCIDENCE,
            weight: 8.0,
        }];
        let seeded = Beliefs::new(30 * DAY).with_seeds([(key, Seed { seen, at })]);
        let before = believed(&seeded, &evidence, now())[1];
        let version = version("shop", now());
        let mut beliefs = seeded.clone();
        beliefs.new_version(&version, now());
        let after = believed(&beliefs, &evidence, now())[1];
        assert_eq!(after > before, fades, "{before} {after}");
        // And so it is for the next engine, which is given the seed as it was.
        assert_eq!(seeded.with_versions(&[version]), beliefs);
    }
}

/// What is exported can be taken: no weight is beyond what could have been seen, and what has no date gets none.
#[test]
fn an_export_stays_within_bounds_and_keeps_what_has_no_date() {
    let evidence = evidence(&[("shop.cart", 1.0)]);
    let key = Key::Exact(evidence.signature.clone(), "shop.cart".into());
    let one = |weight| Interval {
        above: Level::ByItself,
        until: Level::Unit("shop.cart".into()),
        or_by_itself: false,
        coincidence: COINCIDENCE,
        weight,
    };
    for more in 1..2000 {
        let mut row = Row::new(now());
        row.add(one(MAX_WEIGHT));
        row.add(one(f64::from(more) / 7.0));
        assert!(row.seen()[0].weight <= MAX_WEIGHT, "{more}");
    }
    let seeds = [Some(now()), None].map(|at| {
        let seen = vec![one(2.0)];
        (key.clone(), Seed { seen, at })
    });
    let exported = Beliefs::new(30 * DAY)
        .with_seeds(seeds)
        .exported(now() + 30 * DAY);
    let told: Vec<(bool, f64)> = exported
        .iter()
        .map(|(_, seed)| (seed.at.is_some(), seed.seen[0].weight))
        .collect();
    assert_eq!(told, [(true, 1.0), (false, 2.0)]);
}

/// A shop whose parts use what lies in the same process's sessions.
const WITH_SESSIONS: &str =
    "site -\n  shop process\n    shop.cart\n    shop.sessions\n  bank process";

/// Beliefs about what shows in the cart, which fails in eight cases of ten when the sessions do.
fn shows_in_cart<'a>(tree: &'a RestartTree, recoveries: &[&[Trial]]) -> Chain<'a> {
    let mut evidence = evidence(&[("shop.cart", 1.0)]);
    evidence.circumstances.sources.insert(
        "shop.cart".into(),
        vec![
            crate::Source {
                unit: "shop.sessions".into(),
                share: 0.8,
            },
            // What contains the suspect is in its chain already.
            crate::Source {
                unit: "shop".into(),
                share: 0.9,
            },
            crate::Source {
                unit: "nobody".into(),
                share: 0.9,
            },
        ],
    );
    let mut beliefs = Beliefs::new(30 * DAY);
    for trials in recoveries {
        beliefs.learn(&evidence, tree, trials, Time::NotGiven, now());
    }
    beliefs.chains(&evidence, tree, &[], now()).swap_remove(0)
}

#[test]
fn what_shows_in_a_unit_may_sit_in_whose_failures_make_it_fail() {
    let tree = tree(WITH_SESSIONS);
    let fresh = shows_in_cart(&tree, &[]);
    let alone = learned(&[], &[("shop.cart", 1.0)]);
    assert_eq!(fresh.beside.len(), 1, "{fresh:?}");
    let beside = &fresh.beside[0];
    assert_eq!(beside.unit, "shop.sessions".into());
    // It takes its part from the process that contains both, and from nothing else.
    let left = beside.weight + fresh.levels[2];
    assert!((left - alone[2]).abs() < 1e-9, "{fresh:?} {alone:?}");
    assert!((fresh.levels[1] - alone[1]).abs() < 1e-9);
    assert!(beside.weight > 0.0 && fresh.levels[2] > 0.0);
}

#[test]
fn how_often_it_sits_beside_is_learned_from_restarts_of_that_unit() {
    let tree = tree(WITH_SESSIONS);
    let beside = |recoveries: &[&[Trial]]| {
        let chain = shows_in_cart(&tree, recoveries);
        chain.beside[0].weight / (chain.beside[0].weight + chain.levels[2])
    };
    let fresh = beside(&[]);
    let cured = [trial("shop.cart", 0.0), trial("shop.sessions", 1.0)];
    let in_vain = [
        trial("shop.cart", 0.0),
        trial("shop.sessions", 0.0),
        trial("shop", 1.0),
    ];
    assert!(beside(&[&cured, &cured, &cured]) > fresh);
    assert!(beside(&[&in_vain, &in_vain, &in_vain]) < fresh);
    // A process whose restart cured says nothing of which of its parts would have done.
    let whole = [trial("shop.cart", 0.0), trial("shop", 1.0)];
    assert!((beside(&[&whole, &whole]) - fresh).abs() < 1e-9);
}

#[test]
fn what_took_long_is_likelier_to_have_gone_by_itself() {
    let by_itself = |lasted: u64| {
        let mut cured = trial("shop.cart", 1.0);
        cured.lasted = Duration::from_secs(lasted);
        learned(&[&[cured.clone()], &[cured]], &[("shop.cart", 1.0)])[0]
    };
    assert!(by_itself(8) > by_itself(1), "{}", by_itself(8));
    // However long it took, the restart is the likelier reason.
    assert!(by_itself(3600) < 0.5);
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
