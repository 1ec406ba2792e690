//! Whatever the stream of evidence: no two overlapping subtrees at once, no budget broken, nothing
//! done without an intent, no minimum of those that stand in for one another broken, and nobody restarted without whom
//! he goes together with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::sleep;

use super::world::{Manner, World};
use crate::ledger::{Outcome, Store, audit};
use crate::service::{ActionView, Command, Reply};
use crate::tree::tests::tree;
use crate::{Policy, RestartTree, SuspectUnit, UnitName};

const TREE: &str = "
site - auto
  shop process service.name=shop ~2000 @group=doors
    shop.cart code=cart ~200
    shop.search code=search ~200
  web process service.name=web ~1000 @group=doors
  bank process service.name=bank ~2000
    bank.pay code=pay ~200
  mail process service.name=mail propose ~5000
  vault process service.name=vault ~1000 @together=desk.c
  desk - service.name=desk @min=2
    desk.a code=a ~200
    desk.b code=b ~200
    desk.c code=c ~200
";
/// Of these, so many must be up.
const STAND_IN: [(&[&str], usize); 2] =
    [(&["shop", "web"], 1), (&["desk.a", "desk.b", "desk.c"], 2)];
/// Each of these is restarted with the other.
const TOGETHER: [&str; 2] = ["vault", "desk.c"];

const UNITS: [&str; 14] = [
    "site",
    "shop",
    "shop.cart",
    "shop.search",
    "bank",
    "bank.pay",
    "mail",
    "desk",
    "desk.a",
    "desk.b",
    "desk.c",
    "vault",
    "web",
    "nobody",
];

/// One thing that happens to the service.
#[derive(Clone, Debug)]
enum Step {
    Evidence {
        incident: u64,
        unit: usize,
        probability: f64,
        two_sided: bool,
        closed: bool,
        old: bool,
    },
    Break(usize, f64),
    Heal,
    Manner(usize, usize),
    Restart(usize),
    Approve,
    Pause(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let unit = 0..UNITS.len();
    let evidence = (
        1..20u64,
        unit.clone(),
        0.0..1.2f64,
        any::<bool>(),
        0..10u8,
        0..10u8,
    );
    prop_oneof![
        8 => evidence.prop_map(|(incident, unit, probability, two_sided, closed, old)| Step::Evidence {
            incident, unit, probability, two_sided, closed: closed == 0, old: old == 0,
        }),
        2 => (unit.clone(), 0.0..1.0f64).prop_map(|(unit, share)| Step::Break(unit, share)),
        1 => Just(Step::Heal),
        1 => (unit.clone(), 0..5usize).prop_map(|(unit, manner)| Step::Manner(unit, manner)),
        1 => unit.prop_map(Step::Restart),
        1 => Just(Step::Approve),
        1 => (1..20u64).prop_map(Step::Pause),
        6 => (1..8000u64).prop_map(Step::Pass),
    ]
}

async fn play(steps: Vec<Step>) {
    let policy = Policy {
        restarts_per_unit: 2,
        restarts_per_tree: 10,
        failed_requests: 500.0,
        backoff: Duration::from_secs(1),
        judge_deadline: Duration::from_secs(3),
        capacity: [("doors".to_owned(), 1)].into(),
        ..Policy::default()
    };
    let mut world = World::new();
    world.tree = Arc::new(tree(TREE));
    let (recovery, _shadows, task) = world.service(policy.clone(), None);
    for step in steps {
        match step {
            Step::Evidence {
                incident,
                unit,
                probability,
                two_sided,
                closed,
                old,
            } => {
                let mut evidence = world.evidence(incident, &[]);
                evidence.suspects = vec![SuspectUnit {
                    unit: UNITS[unit].into(),
                    probability,
                    two_sided,
                    reason: String::new(),
                }];
                evidence.closed = closed;
                world.with(|state| match closed {
                    true => state.accused.remove(&incident),
                    false => state.accused.insert(incident, UNITS[unit].into()),
                });
                evidence.at -= Duration::from_secs(if old { 100 } else { 0 });
                recovery
                    .evidence(evidence)
                    .await
                    .expect("the service lives");
            }
            Step::Break(unit, share) => world.break_down(UNITS[unit], share),
            Step::Heal => world.heal(),
            Step::Manner(unit, manner) => {
                let all = [
                    Manner::Works,
                    Manner::Refuses,
                    Manner::NeverReady,
                    Manner::Hangs,
                    Manner::Panics,
                ];
                world.with(|state| state.manner.insert(UNITS[unit].into(), all[manner]));
            }
            Step::Restart(unit) => {
                drop(
                    recovery
                        .command(Command::Restart {
                            unit: UNITS[unit].into(),
                            dry_run: false,
                            by: "ann".to_owned(),
                            reason: String::new(),
                        })
                        .await,
                );
            }
            Step::Approve => {
                let plan = recovery
                    .status()
                    .borrow()
                    .proposals
                    .first()
                    .map(|proposal| proposal.plan);
                if let Some(plan) = plan {
                    drop(
                        recovery
                            .command(Command::Approve {
                                plan,
                                by: "bob".to_owned(),
                            })
                            .await,
                    );
                }
            }
            Step::Pause(seconds) => {
                let duration = Some(Duration::from_secs(seconds));
                let pause = Command::Pause {
                    by: "ada".to_owned(),
                    reason: "because".to_owned(),
                    duration,
                };
                recovery.command(pause).await.expect("paused");
            }
            Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
        }
    }
    // Before the history is asked for: what is done while it answers isn't in it.
    let calls = world.with(|state| state.calls.clone());
    let Ok(Reply::History(history)) = recovery.command(Command::History { limit: 1000 }).await
    else {
        panic!("there is a history");
    };
    task.abort();
    drop(task.await);

    assert_eq!(
        world.with(|state| state.crimes.clone()),
        Vec::<String>::new()
    );
    for (action, unit, generation) in &calls {
        let known = history
            .iter()
            .find(|known| known.action == *action)
            .expect("an intent");
        assert_eq!((&known.unit, known.generation), (unit, *generation));
    }
    // All happens within one period. A person's orders are charged, but not refused.
    let mut attempts: Vec<(&ActionView, u32)> = Vec::new();
    // What was refused was no restart.
    let is_done = |action: &&ActionView| !matches!(action.outcome, Some(Outcome::Refused { .. }));
    for action in history.iter().rev().filter(is_done) {
        match attempts.last_mut() {
            Some((first, parts))
                if first.recovery == action.recovery && first.intended_at == action.intended_at =>
            {
                *parts += 1;
            }
            _ => attempts.push((action, 1)),
        }
    }
    for (place, (attempt, _)) in attempts.iter().enumerate() {
        if attempt.by == "ann" {
            continue;
        }
        let before = &attempts[..=place];
        assert!(
            before.iter().map(|(_, parts)| parts).sum::<u32>() <= 10,
            "{attempt:?}"
        );
        let contains = |other: &ActionView| world.tree.contains(&other.target, &attempt.target);
        assert!(
            before.iter().filter(|(other, _)| contains(other)).count() <= 2,
            "{attempt:?}"
        );
    }
    for (attempt, _) in &attempts {
        let is_of = |action: &&ActionView| {
            action.recovery == attempt.recovery && action.intended_at == attempt.intended_at
        };
        let parts: Vec<&ActionView> = history.iter().filter(is_of).collect();
        let restarted = parts.iter().filter(|part| {
            let mut units = TOGETHER.iter();
            units.any(|unit| part.unit.as_str() == *unit)
        });
        let restarted: BTreeSet<&UnitName> = restarted.map(|part| &part.unit).collect();
        assert!([0, TOGETHER.len()].contains(&restarted.len()), "{parts:?}");
        // A person's order overrules what follows.
        let first = parts.iter().map(|part| part.action).min();
        let beside = world.with(|state| state.beside.get(&first?).cloned());
        if let Some((in_flight, accused)) = beside.filter(|_| attempt.by != "ann") {
            leaves_enough(&world.tree, &attempt.target, &in_flight, &accused);
        }
    }
    assert_eq!(
        audit(world.path().join("ledger.db")).expect("a ledger"),
        Vec::<String>::new()
    );
    replay_every_prefix(&world);
}

/// Of those that stand in for one another, a restart takes none that nobody accuses where others, under restart
/// themselves, leave too few.
fn leaves_enough(
    tree: &RestartTree,
    target: &UnitName,
    in_flight: &[UnitName],
    accused: &[UnitName],
) {
    let is_part = |one: &UnitName, other: &UnitName| {
        tree.chain(one).contains(&other) || tree.chain(other).contains(&one)
    };
    for (members, minimum) in STAND_IN {
        let members: Vec<UnitName> = members.iter().map(|unit| UnitName::from(*unit)).collect();
        let takes = |unit: &&UnitName| {
            let mut restarted = tree.restarts(target).into_iter();
            restarted.any(|it| is_part(it, unit))
        };
        let is_well = |unit: &&UnitName| !accused.iter().any(|it| is_part(it, unit));
        let is_away = |unit: &&UnitName| in_flight.iter().any(|it| is_part(it, unit));
        if !members.iter().filter(takes).any(|unit| is_well(&unit)) {
            continue;
        }
        let up = members.iter().filter(|unit| !takes(unit) && !is_away(unit));
        assert!(
            up.count() >= minimum,
            "{target} was restarted, with {in_flight:?} away and {accused:?} accused"
        );
    }
}

/// Every prefix of what the ledger tells of each recovery is a story that can have happened.
fn replay_every_prefix(world: &World) {
    use crate::lifecycle::{State, next};
    let mut store = Store::open(&world.path().join("ledger.db")).expect("a ledger");
    let last = store
        .remember(std::time::UNIX_EPOCH)
        .expect("memory")
        .last_recovery;
    for recovery in 1..=last {
        let events = store
            .events(crate::service::RecoveryId(recovery))
            .expect("events");
        for length in 0..=events.len() {
            let mut state = State::Watching;
            for (_, event, written) in &events[..length] {
                state = next(state, *event).expect("it happened");
                assert_eq!(state, *written);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn no_stream_of_evidence_breaks_a_rule(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(play(steps));
    }
}

/// `desk.a` was left to a person, and accused no more when `desk` was restarted for the other two.
#[tokio::test(start_paused = true)]
async fn whom_an_incident_accuses_no_more_is_well_though_a_person_has_it() {
    let accuse = |incident, unit, probability, two_sided| Step::Evidence {
        incident,
        unit,
        probability,
        two_sided,
        closed: false,
        old: false,
    };
    play(vec![
        accuse(2, 10, 0.8, false),
        Step::Pass(26),
        Step::Break(0, 0.75),
        accuse(5, 8, 1.0, true),
        Step::Pass(2151),
        accuse(5, 1, 0.0, false),
        accuse(1, 9, 0.97, true),
        Step::Pass(101),
    ])
    .await;
}
