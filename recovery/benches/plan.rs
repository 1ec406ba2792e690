//! How long does a decision take when a thousand units are suspected in a tree of ten thousand?
//!
//! Suspects of all probabilities, beliefs about some of them, half of them in two levels below a
//! process. A plan is made anew whenever evidence changes, several times a second, beside the judging
//! of other recoveries: 5 ms leave room.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use rekindle_recovery::belief::{Beliefs, Time, Trial};
use rekindle_recovery::cost::Costs;
use rekindle_recovery::plan::{Constraints, plan};
use rekindle_recovery::tree::{Group, Inferred};
use rekindle_recovery::{
    Circumstances, CommandSpec, Evidence, ExecutorSpec, FaultSignature, Mode, Policy, RestartTree,
    SuspectUnit, UnitName, UnitRules, UnitSpec,
};

const HOSTS: usize = 10;
const PROCESSES: usize = 99;
const COMPONENTS: usize = 9;
const SUSPECTS: usize = 1000;

fn unit(name: String, parent: Option<String>) -> UnitSpec {
    UnitSpec {
        name: UnitName(name),
        parent: parent.map(UnitName),
        selector: BTreeMap::new(),
        executor: Some(ExecutorSpec::Command(CommandSpec {
            command: vec!["true".to_owned()],
            timeout: Duration::from_secs(1),
        })),
        start_deadline: Duration::from_secs(10),
        ready: None,
        check: None,
        watches: Vec::new(),
        mode: Some(Mode::Auto),
        expected_downtime: None,
        around: rekindle_recovery::Around::default(),
        rules: UnitRules::default(),
    }
}

fn tree() -> RestartTree {
    let mut units = vec![unit("site".to_owned(), None)];
    for host in 0..HOSTS {
        let host = format!("host{host}");
        units.push(unit(host.clone(), Some("site".to_owned())));
        for process in 0..PROCESSES {
            let process = format!("{host}.process{process}");
            units.push(unit(process.clone(), Some(host.clone())));
            for component in 0..COMPONENTS {
                let component = format!("{process}.component{component}");
                units.push(unit(component, Some(process.clone())));
            }
        }
    }
    RestartTree::build(units).unwrap_or_else(|errors| unreachable!("{errors:?}"))
}

fn evidence(tree: &RestartTree, now: SystemTime) -> Evidence {
    let step = tree.len() / SUSPECTS;
    let suspects = tree
        .units()
        .step_by(step)
        .take(SUSPECTS)
        .enumerate()
        .map(|(place, spec)| SuspectUnit {
            unit: spec.name.clone(),
            // As rankings have them: a few likely ones and a long tail.
            probability: 0.3 / (1.0 + place as f64).powf(1.2),
            two_sided: true,
            reason: String::new(),
        })
        .collect();
    Evidence {
        incident: 1,
        at: now,
        since: now,
        signature: FaultSignature {
            request_types: vec!["web GET /".to_owned()],
            error_type: "Corrupt".to_owned(),
            shape: "raised".to_owned(),
        },
        suspects,
        baseline_failure_share: 0.0,
        failing_per_second: 20.0,
        traffic: tree.units().map(|spec| (spec.name.clone(), 10.0)).collect(),
        closed: false,
        joined_into: None,
        circumstances: Circumstances::default(),
    }
}

/// Fifty pairs of components of different processes: as many as there may be.
fn inferred(tree: &RestartTree) -> Inferred {
    let pair = |at: usize| {
        let component = |process: usize| format!("host{}.process{process}.component0", at % HOSTS);
        let mut members = vec![UnitName(component(at)), UnitName(component(at + 1))];
        members.sort();
        Group {
            members,
            share: 0.8,
            is_proven: true,
            why: "3 times both were cured only together".to_owned(),
        }
    };
    let groups: Vec<Group> = (0..50).map(pair).collect();
    let orders = groups
        .iter()
        .map(|it| (it.members[0].clone(), it.members[1].clone()));
    let inferred = Inferred {
        orders: orders.collect(),
        groups,
    };
    assert_eq!(tree.with_inferred(&inferred).len(), tree.len() + 50);
    inferred
}

fn laying_out(criterion: &mut Criterion) {
    let tree = tree();
    let inferred = inferred(&tree);
    let name = format!(
        "{} units laid out with 50 inferred groups and 50 orders",
        tree.len()
    );
    criterion.bench_function(&name, |bencher| {
        bencher.iter(|| tree.with_inferred(black_box(&inferred)));
    });
}

fn planning(criterion: &mut Criterion) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let tree = tree();
    let evidence = evidence(&tree, now);
    let policy = Policy::default();
    let costs = Costs::new(policy.half_life);
    let mut beliefs = Beliefs::new(policy.half_life);
    for suspect in evidence.suspects.iter().step_by(10) {
        let single = Evidence {
            suspects: vec![SuspectUnit {
                probability: 0.9,
                ..suspect.clone()
            }],
            ..evidence.clone()
        };
        let trial = Trial {
            unit: suspect.unit.clone(),
            relief: 1.0,
            lasted: Duration::ZERO,
        };
        beliefs.learn(&single, &tree, &[trial], Time::NotGiven, now);
    }
    let grouped = tree.with_inferred(&inferred(&tree));
    for (tree, groups, tried) in [(&tree, 0, 0), (&tree, 0, 2), (&grouped, 50, 2)] {
        let trials: Vec<Trial> = evidence.suspects[1..=tried]
            .iter()
            .map(|suspect| Trial {
                unit: suspect.unit.clone(),
                relief: 0.0,
                lasted: Duration::ZERO,
            })
            .collect();
        let constraints = Constraints {
            policy: &policy,
            costs: &costs,
            trials: &trials,
            waited: false,
            excluded: &BTreeSet::new(),
        };
        let name = format!(
            "{SUSPECTS} suspects over {} units, {tried} tried, {groups} inferred groups",
            tree.len() - groups
        );
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| plan(black_box(&evidence), tree, &beliefs, &constraints, now));
        });
    }
}

criterion_group!(benches, planning, laying_out);
criterion_main!(benches);
