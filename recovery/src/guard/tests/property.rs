//! Whatever is asked in whatever order, what the guards let happen never breaks a rule.

use proptest::prelude::*;

use super::*;

const WORLD: &str = "
site - auto @budget=14
  web - @min=2
    web.a process @group=front
      web.a.cart
      web.a.search
    web.b process @group=front
    web.c process @group=front
  store - @min=1
    store.a process @together=store.log
    store.b process
    store.c process
  store.log process
  bank process @budget=3 @costs=40 @group=front
    bank.pay
  desk - @together=bank
    desk.a process
    desk.b process
";

const PERIOD: u64 = 600;
const PER_UNIT: u32 = 4;
const IN_ALL: u32 = 20;
const REQUESTS: f64 = 150.0;
const FRONT: u32 = 2;
/// Longer than most restarts under way last here, and shorter than some: these hold up nobody any more.
const LEASE: u64 = 300;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A restart is wanted, and is begun where the guards let it.
    Want(usize, Authority, f64),
    /// The oldest restart under way ends.
    Done(bool),
    /// A unit falls sick, or isn't any more.
    Sick(usize),
    Well,
    /// Time passes.
    Pass(u64),
}

fn authority() -> impl Strategy<Value = Authority> {
    prop_oneof![
        Just(Authority::Unattended),
        Just(Authority::Preventive),
        Just(Authority::Approved),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..17usize, authority(), 0.0..20.0f64).prop_map(|(unit, by, cost)| Step::Want(unit, by, cost)),
        4 => any::<bool>().prop_map(Step::Done),
        2 => (0..17usize).prop_map(Step::Sick),
        1 => Just(Step::Well),
        3 => (1..200u64).prop_map(Step::Pass),
    ]
}

fn policy() -> Policy {
    Policy {
        budget_period: secs(PERIOD),
        restarts_per_unit: PER_UNIT,
        restarts_per_tree: IN_ALL,
        failed_requests: REQUESTS,
        capacity: [("front".to_owned(), FRONT)].into(),
        backoff: secs(1),
        storm_units: 100,
        ..Policy::default()
    }
}

/// All that the rules are about, kept apart from what the guards are asked with.
struct Log {
    tree: RestartTree,
    done: Vec<(SystemTime, UnitName, u32, f64)>,
}

impl Log {
    fn lately(&self, now: SystemTime) -> impl Iterator<Item = &(SystemTime, UnitName, u32, f64)> {
        self.done
            .iter()
            .filter(move |(at, ..)| *at + secs(PERIOD) > now)
    }

    /// What the executors of this unit restart, spelled out: its own subtree and its groups'.
    fn covers(&self, unit: &UnitName, other: &UnitName) -> bool {
        self.tree.subtree(unit).contains(&other)
    }

    /// Whether restarting one restarts any part of the other, or what it is part of.
    fn touch(&self, one: &UnitName, other: &UnitName) -> bool {
        let parts = self.tree.own_subtree(other);
        let restarted = self.tree.subtree(one);
        restarted
            .iter()
            .any(|unit| parts.contains(unit) || self.tree.chain(other).contains(unit))
    }

    fn is_part(&self, one: &UnitName, other: &UnitName) -> bool {
        self.tree.own_subtree(one).contains(&other) || self.tree.own_subtree(other).contains(&one)
    }

    /// Before it is begun: whose executors are called for it was restarted less often than may be, by itself or with
    /// something that contains it. (That its parts were restarted by themselves says nothing: that is the climb.)
    fn check_units(&self, now: SystemTime, target: &UnitName) {
        for unit in self.tree.restarts(target) {
            let lately = self.lately(now);
            let count = lately.filter(|done| self.covers(&done.1, unit)).count();
            assert!(count < PER_UNIT as usize, "{unit}, for {target}: {count}");
        }
    }

    fn check(&self, now: SystemTime, leases: &[Lease], sick: &BTreeSet<UnitName>) {
        for (place, one) in leases.iter().enumerate() {
            for other in &leases[..place] {
                assert!(
                    !self.touch(&one.target, &other.target),
                    "{one:?} during {other:?}"
                );
            }
        }
        assert!(self.lately(now).map(|done| done.2).sum::<u32>() <= IN_ALL);
        assert!(self.lately(now).map(|done| done.3).sum::<f64>() <= REQUESTS);
        for spec in self.tree.units() {
            let unit = &spec.name;
            let inside = || self.lately(now).filter(|done| self.touch(&done.1, unit));
            if let Some(limit) = spec.rules.budget.restarts {
                assert!(inside().map(|done| done.2).sum::<u32>() <= limit, "{unit}");
            }
            if let Some(limit) = spec.rules.budget.failed_requests {
                assert!(
                    inside().map(|done| done.3).sum::<f64>() <= f64::from(limit),
                    "{unit}"
                );
            }
        }
        // What falls sick while something is restarted is nobody's fault, so only what was just begun counts.
        let Some(target) = leases.last().map(|lease| &lease.target) else {
            return;
        };
        for group in capacity::groups(&self.tree, &policy().capacity) {
            let is_sick = |unit: &UnitName| sick.iter().any(|sick| self.is_part(sick, unit));
            let is_held =
                |unit: &UnitName| leases.iter().any(|lease| self.touch(&lease.target, unit));
            let mut members = group.members.iter();
            let takes_one_that_is_up =
                members.any(|unit| self.touch(target, unit) && !is_sick(unit));
            let up = group
                .members
                .iter()
                .filter(|unit| !is_sick(unit) && !is_held(unit))
                .count();
            assert!(
                !takes_one_that_is_up || up >= group.minimum as usize,
                "{group:?}: {up} are up; sick: {sick:?}, leased: {leases:?}"
            );
        }
    }
}

/// Plays the steps; how many restarts the guards let happen.
fn play(steps: Vec<Step>) -> usize {
    let tree = tree(WORLD);
    let units: Vec<UnitName> = tree.units().map(|unit| unit.name.clone()).collect();
    let executors: BTreeSet<UnitName> = tree
        .units()
        .filter(|unit| unit.executor.is_some())
        .map(|unit| unit.name.clone())
        .collect();
    let mut log = Log {
        tree: tree.clone(),
        done: Vec::new(),
    };
    let (mut leases, mut past): (Vec<Lease>, Vec<Past>) = (Vec::new(), Vec::new());
    let mut sick = BTreeSet::new();
    let policy = policy();
    let mut clock = now();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Want(unit, authority, cost) => {
                let target = units[unit % units.len()].clone();
                let evidence = Evidence {
                    at: clock,
                    ..evidence(target.as_str())
                };
                let prevents = authority == Authority::Preventive;
                let deed = Deed {
                    // What prevents has no number before it is let happen, and no evidence ever.
                    recovery: (!prevents).then_some(RecoveryId(number as u64 + 1)),
                    target: &target,
                    authority,
                    evidence: (!prevents).then_some(&evidence),
                    told_at: None,
                    expected_cost: cost,
                };
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
                let is_at_work = leases.iter().any(|lease| lease.until > clock);
                assert!(!prevents || (!is_at_work && sick.is_empty()));
                log.check_units(clock, &target);
                let restarts = tree.restarts(&target).len() as u32;
                log.done.push((clock, target.clone(), restarts, cost));
                past.push(Past {
                    recovery: RecoveryId(number as u64 + 1),
                    target: target.clone(),
                    restarts,
                    by_person: false,
                    at: clock,
                    ready_at: None,
                    failed_requests: cost,
                    signature: (!prevents).then(|| evidence.signature.clone()),
                    verdict: None,
                });
                leases.push(Lease {
                    recovery: RecoveryId(number as u64 + 1),
                    target,
                    until: clock + secs(LEASE),
                });
                let held = leases.iter().filter(|lease| lease.until > clock);
                let held: Vec<Lease> = held.cloned().collect();
                log.check(clock, &held, &sick);
            }
            Step::Done(cured) => {
                if !leases.is_empty() {
                    let lease = leases.remove(0);
                    let done = past.iter_mut().find(|past| past.recovery == lease.recovery);
                    let done = done.expect("it was begun");
                    done.ready_at = Some(clock);
                    done.verdict = Some(if cured {
                        Verdict::Cured
                    } else {
                        Verdict::NotCured
                    });
                }
            }
            Step::Sick(unit) => {
                sick.insert(units[unit % units.len()].clone());
            }
            Step::Well => sick.clear(),
            Step::Pass(seconds) => clock += secs(seconds),
        }
    }
    log.done.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn nothing_that_is_let_happen_breaks_a_rule(steps in proptest::collection::vec(step(), 1..150)) {
        play(steps);
    }
}

/// The property above would hold of guards that let nothing happen.
#[test]
fn and_much_is_let_happen() {
    let wants = (0..17).map(|unit| Step::Want(unit, Authority::Approved, 1.0));
    let steps: Vec<Step> = wants
        .flat_map(|want| [want, Step::Done(true), Step::Pass(60)])
        .collect();
    assert_eq!(tree(WORLD).units().count(), 17);
    assert!(play(steps) >= 9);
}
