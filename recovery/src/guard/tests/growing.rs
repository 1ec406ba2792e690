//! Whatever comes and goes in the tree, guards let nothing happen that breaks a rule. The rules are told here by names
//! alone, so that they hold of what has gone, too.

use proptest::prelude::*;

use super::*;
use crate::tree::Kinds;
use crate::tree::tests::specs;

const PERIOD: u64 = 600;
const BUDGET: u32 = 5;
const MINIMUM: usize = 2;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// These replicas are there, and those that somebody is at work on.
    Grow(BTreeSet<u8>),
    /// The restart of a replica is wanted, or of all.
    Want(Option<u8>, Authority),
    /// The oldest restart under way ends.
    Done,
    /// A replica falls sick; all are well again.
    Sick(u8),
    Well,
    /// Time passes.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let authority = || {
        prop_oneof![
            Just(Authority::Unattended),
            Just(Authority::Preventive),
            Just(Authority::Approved),
        ]
    };
    let replicas = proptest::collection::btree_set(0..6u8, 0..6);
    prop_oneof![
        4 => replicas.prop_map(Step::Grow),
        8 => (proptest::option::weighted(0.9, 0..6u8), authority()).prop_map(|(which, by)| Step::Want(which, by)),
        4 => Just(Step::Done),
        1 => (0..6u8).prop_map(Step::Sick),
        1 => Just(Step::Well),
        3 => (1..200u64).prop_map(Step::Pass),
    ]
}

fn grown(replicas: &BTreeSet<u8>) -> RestartTree {
    let mut text =
        format!("site - auto\n  web - @min={MINIMUM} @budget={BUDGET} service.name=web\n");
    for replica in replicas {
        text.push_str(&format!(
            "    replica@{replica} process host.name={replica}\n"
        ));
    }
    text.push_str("  bank process\n");
    let kinds: Kinds = [("replica".into(), "web".into())].into_iter().collect();
    RestartTree::growing(specs(&text), kinds).expect("a tree")
}

fn name(replica: u8) -> UnitName {
    UnitName(format!("replica@{replica}"))
}

/// Plays the steps; how many restarts the guards let happen.
fn play(steps: Vec<Step>) -> usize {
    let policy = Policy {
        budget_period: secs(PERIOD),
        restarts_per_unit: 100,
        restarts_per_tree: 100,
        failed_requests: 1e6,
        backoff: secs(1),
        storm_units: 100,
        ..Policy::default()
    };
    let mut there: BTreeSet<u8> = (0..4).collect();
    let mut tree = grown(&there);
    let (mut leases, mut past): (Vec<Lease>, Vec<Past>) = (Vec::new(), Vec::new());
    let mut sick: BTreeSet<UnitName> = BTreeSet::new();
    let mut clock = now();
    for (number, step) in steps.into_iter().enumerate() {
        let recovery = RecoveryId(number as u64 + 1);
        match step {
            Step::Grow(replicas) => {
                // As the service has it: what is being restarted stays.
                let is_held = |it: &&u8| {
                    leases
                        .iter()
                        .any(|lease| lease.target == name(**it) || lease.target == "web".into())
                };
                let held: BTreeSet<u8> = there.iter().filter(is_held).copied().collect();
                there = replicas.union(&held).copied().collect();
                tree = grown(&there);
            }
            Step::Want(which, authority) => {
                let target = which.map_or("web".into(), name);
                let evidence = Evidence {
                    at: clock,
                    ..evidence(target.as_str())
                };
                let prevents = authority == Authority::Preventive;
                let deed = Deed {
                    recovery: (!prevents).then_some(recovery),
                    target: &target,
                    authority,
                    evidence: (!prevents).then_some(&evidence),
                    told_at: None,
                    expected_cost: 1.0,
                };
                let with_executor = tree.units().filter(|unit| unit.executor.is_some());
                let executors = with_executor.map(|unit| unit.name.clone()).collect();
                let world = World {
                    tree: &tree,
                    policy: &policy,
                    pause: None,
                    leases: &leases,
                    past: &past,
                    sick: &sick,
                    storm_since: None,
                    down: &surely(&sick),
                    comings: &Comings::default(),
                    standing: &BTreeMap::new(),
                    ledger_failure: None,
                    executors: &executors,
                };
                if !check(&deed, &world, clock).is_empty() {
                    continue;
                }
                let is_up = |replica: &u8| !sick.contains(&name(*replica));
                let is_free = |it: &u8| {
                    leases
                        .iter()
                        .all(|lease| lease.target != name(*it) && lease.target != "web".into())
                };
                // Nothing is restarted that isn't there, and nothing twice at a time.
                let restarts = match which {
                    Some(replica) => {
                        assert!(there.contains(&replica), "{target} is gone");
                        assert!(is_free(&replica), "{leases:?}");
                        1
                    }
                    None => {
                        assert!(leases.is_empty(), "{leases:?}");
                        there.len() as u32
                    }
                };
                let stay_up = there.iter().filter(|it| {
                    which.is_some_and(|which| which != **it) && is_up(it) && is_free(it)
                });
                let takes_one_that_is_up = match which {
                    Some(replica) => is_up(&replica),
                    None => there.iter().any(is_up),
                };
                assert!(
                    !takes_one_that_is_up || stay_up.count() >= MINIMUM,
                    "{target} of {there:?}"
                );
                past.push(Past {
                    by_person: false,
                    recovery,
                    target: target.clone(),
                    restarts,
                    at: clock,
                    ready_at: None,
                    due_at: None,
                    failed_requests: 1.0,
                    signature: (!prevents).then(|| evidence.signature.clone()),
                    verdict: None,
                });
                // All of them are the web's, whatever has become of them since.
                let spent = past.iter().filter(|past| past.at + secs(PERIOD) > clock);
                assert!(spent.map(|past| past.restarts).sum::<u32>() <= BUDGET);
                leases.push(Lease {
                    recovery,
                    target,
                    until: clock + secs(100_000),
                });
            }
            Step::Done => {
                if !leases.is_empty() {
                    let lease = leases.remove(0);
                    let mut begun = past.iter_mut();
                    let done = begun.find(|past| past.recovery == lease.recovery);
                    done.expect("it was begun").ready_at = Some(clock);
                }
            }
            Step::Sick(replica) => {
                sick.insert(name(replica));
            }
            Step::Well => sick.clear(),
            Step::Pass(seconds) => clock += secs(seconds),
        }
    }
    past.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_and_goes_no_rule_is_broken(steps in proptest::collection::vec(step(), 1..150)) {
        play(steps);
    }
}

/// A recovery that ended a replica so long ago, and what came of it.
fn past_of(target: &str, ago: u64, verdict: Verdict) -> Past {
    Past {
        recovery: RecoveryId(ago),
        ..past(target, ago, Some(verdict))
    }
}

/// What guards say of the restart of `replica@3`, where this was done to replicas 1 and 2, of which the first has gone
/// and the second is missing, before it came.
fn said_of_a_successor(past: Vec<Past>, came_ago: Option<u64>) -> Vec<Guard> {
    let mut there: BTreeSet<u8> = (2..6).collect();
    there.insert(9);
    let came = came_ago.map(|ago| (name(3), now() - secs(ago)));
    let given = Given {
        tree: grown(&there),
        past,
        comings: Comings {
            came: came.into_iter().collect(),
            missing: [name(2)].into(),
            down: BTreeSet::new(),
        },
        policy: Policy {
            restarts_per_unit: 3,
            recurring_cures: 3,
            immune_after: 3,
            warm_up: secs(10),
            restarts_per_tree: 100,
            failed_requests: 1e6,
            ..Policy::default()
        },
        ..Given::new("replica@3")
    };
    let with_executor = given.tree.units().filter(|unit| unit.executor.is_some());
    let executors = with_executor.map(|unit| unit.name.clone()).collect();
    Given { executors, ..given }.said()
}

/// Pods come back under other names.
#[test]
fn what_was_done_to_those_that_went_is_their_successors_past() {
    use Verdict::{Cured, NotCured};
    let twice = |verdict| {
        let first = past_of("replica@1", 500, verdict);
        vec![first, past_of("replica@2", 400, verdict)]
    };
    let thrice = |verdict| {
        let mut past = twice(verdict);
        past.push(past_of("replica@1", 350, verdict));
        past
    };
    let at_once = || vec![past_of("replica@2", 3, Cured)];
    for (past, came_ago, expected) in [
        (
            thrice(Cured),
            Some(30),
            &[Guard::UnitBudget, Guard::Recurring][..],
        ),
        // Whoever was there at the start may be anybody's successor.
        (thrice(Cured), None, &[Guard::UnitBudget, Guard::Recurring]),
        (
            thrice(NotCured),
            Some(30),
            &[Guard::UnitBudget, Guard::Immune],
        ),
        // It was there beside them.
        (thrice(Cured), Some(600), &[]),
        (thrice(NotCured), Some(600), &[]),
        (twice(Cured), Some(30), &[]),
        (at_once(), Some(1), &[Guard::Backoff, Guard::StaleEvidence]),
        (at_once(), Some(600), &[]),
    ] {
        let said = said_of_a_successor(past.clone(), came_ago);
        assert_eq!(said, expected, "{past:?} {came_ago:?}");
    }
}

/// A sibling's cure long ago pardons nobody whom restarts don't cure.
#[test]
fn what_went_speaks_only_for_what_came_after_it() {
    let mut past: Vec<Past> = [900, 800, 700, 600]
        .map(|ago| past_of("replica@3", ago, Verdict::NotCured))
        .into();
    past.push(past_of("replica@1", 1000, Verdict::Cured));
    let said = |came_ago| said_of_a_successor(past.clone(), Some(came_ago));
    assert!(said(2000).contains(&Guard::Immune), "{:?}", said(2000));
    assert!(!said(950).contains(&Guard::Immune), "{:?}", said(950));
}

/// What the list shows as gone or down is not counted on.
#[test]
fn who_is_not_up_is_not_left_up() {
    let said = |missing: &[u8], down: &[u8]| {
        let names = |of: &[u8]| of.iter().map(|it| name(*it)).collect();
        let tree = grown(&(1..5).collect());
        let with_executor = tree.units().filter(|unit| unit.executor.is_some());
        let executors = with_executor.map(|unit| unit.name.clone()).collect();
        let given = Given {
            executors,
            tree: grown(&(1..5).collect()),
            comings: Comings {
                missing: names(missing),
                down: names(down),
                ..Comings::default()
            },
            ..Given::new("replica@3")
        };
        // It isn't down: a suspect only.
        let given = Given {
            sick: BTreeSet::new(),
            ..given
        };
        given.check()
    };
    assert_eq!(said(&[], &[]), []);
    assert_eq!(said(&[1], &[]), []);
    for (missing, down) in [(&[1, 2][..], &[][..]), (&[1], &[2]), (&[], &[1, 4])] {
        let refusals = said(missing, down);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(refusals[0].guard, Guard::Capacity);
        let words = &refusals[0].words;
        assert!(words.contains("1 of 4 would be left up"), "{words}");
        assert!(words.contains("are not up"), "{words}");
    }
    // What is down itself is restarted: nothing is taken.
    assert_eq!(said(&[], &[1, 2, 3]), []);
}

/// The property above would hold of guards that let nothing happen.
#[test]
fn and_what_came_is_restarted() {
    let replace = |number: u8| {
        let there = [number, 4, 5].into();
        let want = Step::Want(Some(number), Authority::Approved);
        [Step::Grow(there), want, Step::Done, Step::Pass(60)]
    };
    assert_eq!(play((0..4).flat_map(replace).collect()), 4);
}
