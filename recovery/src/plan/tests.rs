mod exact;

use std::collections::BTreeMap;

use super::ladder::MAX_ACTIONS;
use super::*;
use crate::belief::Time;
use crate::tree::tests::tree;
use crate::{FaultSignature, SuspectUnit};

const TREE: &str = "
site -
  shop process ~5000
    shop.cart ~500
    shop.search ~500
  bank process ~5000
    bank.pay ~500
  mail process ~30000
";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn evidence(suspects: &[(&str, f64)], failing: f64, traffic: f64) -> Evidence {
    Evidence {
        incident: 7,
        at: now(),
        since: now() - Duration::from_secs(5),
        signature: FaultSignature {
            request_types: vec!["front GET /".to_owned()],
            error_type: String::new(),
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
        failing_per_second: failing,
        traffic: BTreeMap::from([("site".into(), traffic), ("shop".into(), traffic)]),
        closed: false,
        joined_into: None,
        circumstances: crate::Circumstances::default(),
    }
}

struct Given {
    beliefs: Beliefs,
    costs: Costs,
    policy: Policy,
    trials: Vec<Trial>,
    waited: bool,
    excluded: BTreeSet<UnitName>,
}

impl Default for Given {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            beliefs: Beliefs::new(policy.half_life),
            costs: Costs::new(policy.half_life),
            policy,
            trials: Vec::new(),
            waited: false,
            excluded: BTreeSet::new(),
        }
    }
}

impl Given {
    fn constraints(&self) -> Constraints<'_> {
        Constraints {
            policy: &self.policy,
            costs: &self.costs,
            trials: &self.trials,
            waited: self.waited,
            excluded: &self.excluded,
        }
    }

    fn plan(&self, evidence: &Evidence) -> Plan {
        let constraints = self.constraints();
        plan(evidence, &tree(TREE), &self.beliefs, &constraints, now())
    }

    fn ladder(&self, evidence: &Evidence) -> String {
        let ladder = self.plan(evidence).ladder;
        ladder
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn trial(unit: &str, relief: f64) -> Trial {
    Trial {
        unit: unit.into(),
        relief,
        lasted: Duration::ZERO,
    }
}

#[test]
fn the_smallest_first_then_what_contains_it() {
    let given = Given::default();
    let evidence = evidence(&[("shop.cart", 0.9)], 10.0, 10.0);
    assert_eq!(
        given.ladder(&evidence),
        "restart shop.cart, restart shop, wait, restart site, call a person"
    );
    let plan = given.plan(&evidence);
    assert_eq!(plan.restarts, ["shop.cart".into()]);
    assert!(
        plan.sentence.starts_with("restart shop.cart: cures with "),
        "{}",
        plan.sentence
    );
    assert!(plan.candidates[0].chosen && !plan.candidates[1].chosen);
    // Three units, waiting, and a person.
    assert_eq!(plan.candidates.len(), 5);
    let mut totals = plan
        .candidates
        .iter()
        .map(|candidate| candidate.expected_total);
    assert!(
        totals
            .clone()
            .zip(totals.by_ref().skip(1))
            .all(|(a, b)| a <= b)
    );
}

#[test]
fn what_failed_is_not_repeated_and_its_parent_comes_next() {
    let mut given = Given::default();
    let evidence = evidence(&[("shop.cart", 0.9)], 10.0, 10.0);
    given.trials.push(trial("shop.cart", 0.0));
    assert!(given.ladder(&evidence).starts_with("restart shop, "));
    given.trials.push(trial("shop", 0.0));
    // The site takes forty seconds; ten to see whether it goes are cheaper, once.
    assert_eq!(given.ladder(&evidence), "wait, restart site, call a person");
    given.waited = true;
    assert_eq!(given.ladder(&evidence), "restart site, call a person");
    given.trials.push(trial("site", 0.0));
    assert_eq!(given.ladder(&evidence), "call a person");
}

#[test]
fn after_a_wrong_suspect_the_next_one() {
    let mut given = Given::default();
    let evidence = evidence(&[("shop.cart", 0.5), ("bank.pay", 0.45)], 10.0, 10.0);
    assert!(
        given
            .ladder(&evidence)
            .starts_with("restart shop.cart, restart bank.pay, ")
    );
    given.trials.push(trial("shop.cart", 0.0));
    assert!(given.ladder(&evidence).starts_with("restart bank.pay, "));
}

#[test]
fn what_was_learned_comes_first() {
    let mut given = Given::default();
    let evidence = evidence(&[("shop.cart", 0.9)], 10.0, 10.0);
    for _ in 0..10 {
        let trials = [trial("shop.cart", 0.0), trial("shop", 1.0)];
        given
            .beliefs
            .learn(&evidence, &tree(TREE), &trials, Time::InVain, now());
    }
    assert!(given.ladder(&evidence).starts_with("restart shop, "));
    // A fault that no restart ever cured is a person's from the start.
    let mut given = Given::default();
    for _ in 0..20 {
        let trials = [
            trial("shop.cart", 0.0),
            trial("shop", 0.0),
            trial("site", 0.0),
        ];
        given
            .beliefs
            .learn(&evidence, &tree(TREE), &trials, Time::InVain, now());
    }
    let mut costly = evidence.clone();
    for unit in ["shop.cart", "shop", "site"] {
        costly.traffic.insert(unit.into(), 10_000.0);
    }
    assert_eq!(given.ladder(&costly), "call a person");
}

#[test]
fn a_fault_that_goes_by_itself_is_waited_for_once() {
    let mut given = Given::default();
    let mut evidence = evidence(&[("shop.cart", 0.9)], 1.0, 500.0);
    evidence.traffic.insert("shop.cart".into(), 500.0);
    for _ in 0..10 {
        given
            .beliefs
            .learn(&evidence, &tree(TREE), &[], Time::Healed, now());
    }
    assert!(
        given.ladder(&evidence).starts_with("wait, "),
        "{}",
        given.ladder(&evidence)
    );
    given.waited = true;
    assert!(!given.ladder(&evidence).contains("wait"));
}

#[test]
fn what_cannot_be_restarted_is_left_out() {
    let mut given = Given::default();
    given.excluded.insert("shop.cart".into());
    let evidence = evidence(&[("shop.cart", 0.9)], 10.0, 10.0);
    assert!(given.ladder(&evidence).starts_with("restart shop, "));
}

#[test]
fn what_is_kept_to_is_what_is_done_and_comes_first() {
    let given = Given::default();
    let evidence = evidence(&[("shop.cart", 0.9)], 10.0, 10.0);
    let mut planned = given.plan(&evidence);
    let cheapest = planned.clone();
    let second = planned.candidates[1].choice.clone();
    planned.stay_with(&second, 0.0, &tree(TREE));
    assert_eq!(planned, cheapest, "it costs more");
    planned.stay_with(&second, 1e6, &tree(TREE));
    assert_eq!(planned.choice, second);
    assert_eq!(planned.candidates[0].choice, second);
    assert!(planned.candidates[0].chosen && !planned.candidates[1].chosen);
    assert_eq!(planned.candidates[1].choice, cheapest.choice);
    assert!(planned.candidates[0].reason.starts_with("kept to, "));
    assert!(
        planned.candidates[1]
            .reason
            .ends_with("that a change of mind pays")
    );
    assert_eq!(planned.candidates.len(), cheapest.candidates.len());
}

/// With hardly any traffic every restart costs next to nothing: no reason to take healthy siblings away for
/// what was seen in one process.
#[test]
fn where_traffic_is_thin_the_accused_unit_comes_before_what_contains_it() {
    let tree = tree("shop -\n  a process\n  b process\n  db process");
    let mut given = Given::default();
    let planned = |given: &Given, shape: &str, failing: f64| {
        let mut evidence = evidence(&[("a", 1.0)], failing, failing);
        evidence.signature.shape = shape.to_owned();
        let constraints = given.constraints();
        plan(&evidence, &tree, &given.beliefs, &constraints, now())
    };
    for shape in ["out_of_bounds", "exited", "wrong_answer", "reported"] {
        for failing in [0.0, 0.1, 0.5, 1.0] {
            let plan = planned(&given, shape, failing);
            assert_eq!(plan.restarts, ["a".into()], "{shape} {failing}: {plan:#?}");
            assert!(plan.candidates[0].chosen && !plan.candidates[1].chosen);
        }
    }
    // What requests alone tell of may sit elsewhere: there the price decides, as ever.
    assert_eq!(
        planned(&given, "raised", 0.0).choice,
        Choice::Restart("shop".into())
    );
    // Where it was learned that the unit itself doesn't do, what contains it comes first.
    let mut accused = evidence(&[("a", 1.0)], 0.0, 0.0);
    accused.signature.shape = "exited".to_owned();
    for _ in 0..10 {
        let trials = [trial("a", 0.0), trial("shop", 1.0)];
        given
            .beliefs
            .learn(&accused, &tree, &trials, Time::InVain, now());
    }
    let plan = planned(&given, "exited", 0.0);
    assert_eq!(plan.choice, Choice::Restart("shop".into()));
    // And where it was tried in vain.
    let mut given = Given::default();
    given.trials.push(trial("a", 0.0));
    assert_ne!(
        planned(&given, "exited", 0.0).choice,
        Choice::Restart("a".into())
    );
}

/// A process that can't be started, below a unit that only groups processes: restarting the group
/// would call the same executor again, and take its healthy siblings down for nothing.
#[test]
fn a_group_is_not_restarted_for_a_part_that_cannot_be() {
    let tree = tree("site -\n  shop -\n    ghost process\n    prices process");
    let given = Given::default();
    let excluded = BTreeSet::from(["ghost".into()]);
    let constraints = Constraints {
        excluded: &excluded,
        ..given.constraints()
    };
    let evidence = evidence(&[("ghost", 1.0)], 10.0, 10.0);
    let planned = plan(&evidence, &tree, &given.beliefs, &constraints, evidence.at);
    let restarts = |candidate: &Candidate| matches!(candidate.choice, Choice::Restart(_));
    assert!(!planned.candidates.iter().any(restarts), "{planned:#?}");
}

#[test]
fn nobody_to_suspect_and_nothing_to_restart() {
    let given = Given::default();
    assert!(
        given
            .ladder(&evidence(&[], 10.0, 10.0))
            .ends_with("call a person")
    );
    let constraints = given.constraints();
    let evidence = evidence(&[("shop.cart", f64::NAN)], 0.0, 0.0);
    let plan = plan(
        &evidence,
        &RestartTree::empty(),
        &given.beliefs,
        &constraints,
        now(),
    );
    assert!(plan.restarts.is_empty());
    assert!(plan.expected_total.is_finite());
}

#[test]
fn a_thousand_suspects_are_planned_for() {
    let mut text = String::from("site -\n");
    for process in 0..100 {
        text.push_str(&format!("  p{process} process\n"));
        for part in 0..10 {
            text.push_str(&format!("    p{process}.{part}\n"));
        }
    }
    let tree = tree(&text);
    let given = Given::default();
    let mut evidence = evidence(&[], 10.0, 10.0);
    for process in 0..100 {
        for part in 0..10 {
            evidence.suspects.push(SuspectUnit {
                unit: UnitName(format!("p{process}.{part}")),
                probability: 0.001,
                two_sided: true,
                reason: String::new(),
            });
        }
    }
    let constraints = given.constraints();
    let plan = plan(&evidence, &tree, &given.beliefs, &constraints, now());
    assert!(plan.candidates.len() <= MAX_ACTIONS + 1);
    let planned = plan.candidates.iter();
    let planned = planned
        .filter(|it| it.choice.to_string().contains('.'))
        .count();
    let left = format!(
        "; {} suspects more, {:.0} % in all, find no room in a plan",
        1000 - planned,
        100.0 - planned as f64 / 10.0
    );
    assert!(plan.sentence.ends_with(&left), "{} {left}", plan.sentence);
}

#[test]
fn what_was_never_tried_is_tried_when_it_is_worth_it() {
    // An old belief that the component doesn't do, and many recoveries that never asked again.
    let mut given = Given::default();
    let evidence = evidence(&[("shop.cart", 0.95)], 10.0, 10.0);
    let before = now() - 4 * given.policy.half_life;
    for _ in 0..30 {
        let trials = [trial("shop.cart", 0.0), trial("shop", 1.0)];
        let time = Time::NotGiven;
        given
            .beliefs
            .learn(&evidence, &tree(TREE), &trials, time, before);
    }
    assert!(given.ladder(&evidence).starts_with("restart shop, "));
    let mut tries = 0;
    for _ in 0..20 {
        let plan = given.plan(&evidence);
        if plan.choice == Choice::Restart("shop.cart".into()) {
            tries += 1;
            assert!(
                plan.sentence.starts_with("to find out"),
                "{}",
                plan.sentence
            );
            let trials = [trial("shop.cart", 1.0)];
            let time = Time::NotGiven;
            given
                .beliefs
                .learn(&evidence, &tree(TREE), &trials, time, now());
            break;
        }
        assert!(plan.sentence.starts_with("restart "), "{}", plan.sentence);
        let trials = [trial("shop", 1.0)];
        given
            .beliefs
            .learn(&evidence, &tree(TREE), &trials, Time::InVain, now());
    }
    assert_eq!(tries, 1);
}

#[test]
fn what_is_lost_beside_requests_counts() {
    let plain = tree("shop process ~1000\n  cart ~900");
    let losing = tree("shop process ~1000 @loses=500\n  cart ~900");
    // Confirming is dear and the process hardly dearer than its part: it goes first, unless it takes
    // sessions with it.
    let evidence = evidence(&[("cart", 0.9)], 20.0, 20.0);
    let policy = Policy {
        exporter_delay: std::time::Duration::from_secs(30),
        ..Policy::default()
    };
    let first = |tree: &RestartTree| {
        let costs = Costs::new(policy.half_life);
        let constraints = Constraints {
            policy: &policy,
            costs: &costs,
            trials: &[],
            waited: true,
            excluded: &BTreeSet::new(),
        };
        let beliefs = Beliefs::new(policy.half_life);
        plan(&evidence, tree, &beliefs, &constraints, now()).choice
    };
    assert_eq!(first(&plain), Choice::Restart("shop".into()));
    assert_eq!(first(&losing), Choice::Restart("cart".into()));
}

/// Two that are only cured together: without the group everything is restarted after both were in vain, with it they are.
#[test]
fn units_that_are_only_cured_together_are_one_action_beside_the_others() {
    use crate::tree::{Group, Inferred};

    let group = Group {
        members: vec!["shop.cart".into(), "shop.search".into()],
        share: 0.5,
        is_proven: true,
        why: "3 times both were cured only together".to_owned(),
    };
    let inferred = Inferred {
        groups: vec![group],
        orders: Vec::new(),
    };
    let written = tree(&TREE.replace("shop process ~5000", "shop process ~60000"));
    let grown = written.with_inferred(&inferred);
    let pair = Choice::Restart("shop.cart+shop.search".into());
    let evidence = evidence(&[("shop.cart", 0.9)], 10.0, 10.0);
    let planned = |given: &Given, tree: &RestartTree| {
        plan(&evidence, tree, &given.beliefs, &given.constraints(), now())
    };
    let mut given = Given::default();
    let first = planned(&given, &grown);
    let offered = first.candidates.iter().find(|it| it.choice == pair);
    let offered = offered.expect("the group");
    assert!(
        offered
            .reason
            .ends_with("inferred: 3 times both were cured only together"),
        "{offered:?}"
    );
    // What only traces say comes after one of them was in vain.
    let mut said = inferred;
    said.groups[0].is_proven = false;
    let said = written.with_inferred(&said);
    let candidates = planned(&given, &said).candidates;
    assert!(
        candidates.iter().all(|it| it.choice != pair),
        "{candidates:?}"
    );
    given.trials = vec![trial("shop.cart", 0.0)];
    let second = planned(&given, &grown).ladder;
    assert_eq!(second[0], pair, "{second:?}");
    assert_eq!(planned(&given, &said).ladder, second);
    let without = planned(&given, &written).ladder;
    assert_ne!(without, second);
    assert!(!without.contains(&pair));
    // What it cured again and again comes first; whether waiting would be enough is known.
    for _ in 0..10 {
        let trials = [trial("shop.cart", 0.0), trial("shop.cart+shop.search", 1.0)];
        given
            .beliefs
            .learn(&evidence, &grown, &trials, Time::NotGiven, now());
    }
    given.trials.clear();
    given.waited = true;
    let learned = planned(&given, &grown);
    assert_eq!(learned.choice, pair);
    assert_eq!(
        learned.restarts,
        ["shop.cart".into(), "shop.search".into()],
        "{learned:?}"
    );
    // Whose restart can't be had is no candidate, nor what needs it.
    given.excluded = BTreeSet::from(["shop.search".into()]);
    assert!(
        planned(&given, &grown)
            .candidates
            .iter()
            .all(|it| it.choice != pair)
    );
}
