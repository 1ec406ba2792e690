//! Can recovery be made to do harm?
//!
//! The service itself (its task, its ledger on disk, its guards) in virtual time, in a world that
//! lies: false evidence, numbers that are none, overload, a shared database that is down, faults that
//! no restart cures, flapping, cold starts, executors that hang, refuse or panic, clocks that jump, a
//! person who pauses, approves and refuses at random, inferred groups that are none, an engine that is
//! killed at work. Whoever carries out a restart checks the rules for
//! himself, from what he has seen; he shares no code with the guards. Beside it, what a liveness
//! probe would do to the same world.

mod harm;
mod liveness;
mod rules;
mod troubles;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_recovery::ledger::audit;
use rekindle_recovery::lifecycle::State;
use rekindle_recovery::service::{ActionView, Command, Recovery, Reply};
use rekindle_recovery::tree::{Group, Inferred};
use rekindle_recovery::{Evidence, FaultSignature, Policy, SuspectUnit, UnitName};
use tokio::time::sleep;

use self::harm::{Harm, Sums};
use self::liveness::Probes;
use self::world::World;
use super::manner::Manner;
use super::parallel::over_seeds;
use super::random::{exponential, stream, weighted};
use super::report::{Mean, Report, Table, number};
use super::reserve::Reserve;
use super::service::{Engine, in_virtual_time};
use super::{Options, SimulateError};

/// Between two things that happen, on average.
const BETWEEN: f64 = 1.0;
/// The longest that a clock jumps, either way.
const LONGEST_JUMP: i64 = 2 * 3600;
/// Who is to kill the engine in the middle of something waits for it so long, in seconds.
const PATIENCE: f64 = 600.0;
/// Incidents that lies are told about.
const INCIDENTS: u64 = 24;

/// What the adversary does, and how often.
const DEEDS: [(Deed, f64); 13] = [
    (Deed::Lie, 30.0),
    (Deed::Truth, 40.0),
    (Deed::Garbage, 5.0),
    (Deed::Close, 5.0),
    (Deed::Executor, 2.0),
    (Deed::Rollout, 0.1),
    (Deed::Approve, 3.0),
    (Deed::Pause, 0.3),
    (Deed::Resume, 1.0),
    (Deed::Clock, 0.2),
    (Deed::Leave, 0.3),
    (Deed::Infer, 0.3),
    (Deed::Kill, 0.1),
];

#[derive(Clone, Copy)]
enum Deed {
    /// Somebody accuses a unit that nothing is wrong with.
    Lie,
    /// What is wrong is told as it is.
    Truth,
    /// Numbers that are none, units that don't exist, times that aren't now.
    Garbage,
    /// An incident is said to be over.
    Close,
    /// An executor becomes unreliable, or reliable again.
    Executor,
    /// Somebody else renews a process.
    Rollout,
    /// A person approves whatever waits.
    Approve,
    Pause,
    Resume,
    Clock,
    /// A person says that nothing is to be done about an incident.
    Leave,
    /// Somebody makes the engine believe that units are only cured together, or in an order.
    Infer,
    /// The engine is killed, if there is something in flight, and starts again.
    Kill,
}

/// What else is to be survived, and shown to have come about.
const CHECKED: [&str; 3] = [
    "the engine was killed and started again",
    "a person said to leave an incident",
    "one of a pair was restarted, while the other was up",
];

/// The place of the probes that are told the truth among [`OTHERS`] …
const HONEST: usize = 0;
/// … and of those that are lied to.
const LIED_TO: usize = 2;

/// Whom Rekindle is held against.
const OTHERS: [(&str, Probes); 4] = [
    ("liveness probes, told the truth", Probes::Honest),
    ("the same, and each restart works", Probes::Sound),
    ("liveness probes, lied to as well", Probes::LiedTo),
    ("nobody", Probes::None),
];

/// What one seed came to.
#[derive(Clone, Debug, Default)]
struct Outcome {
    violations: Vec<String>,
    restarts: u64,
    ours: Harm,
    sums: Sums,
    /// What each of [`OTHERS`] does.
    others: Vec<Harm>,
    /// Incidents told with each reserve, and restarts for them that a person approved.
    reserves: BTreeMap<Reserve, (u64, u64)>,
    /// How often each of [`CHECKED`] came about.
    checked: [u64; CHECKED.len()],
    steps: u64,
    virtual_seconds: f64,
}

/// Tight limits, so that they are reached all the time.
fn policy() -> Policy {
    Policy {
        restarts_per_unit: 3,
        restarts_per_tree: 12,
        failed_requests: 3000.0,
        backoff: Duration::from_secs(5),
        judge_deadline: Duration::from_secs(10),
        // Longer than evidence from before it may be acted on.
        rollout_quiet: Duration::from_secs(300),
        human_response: Duration::from_secs(120),
        ..Policy::default()
    }
}

/// Begins the engine, on what the last one left in the folder.
fn begin(world: &World, folder: &Path) -> Result<Engine, SimulateError> {
    let engine = Engine::begin(world, folder)?;
    world.note(|account, now| account.engine_began(now));
    Ok(engine)
}

/// What was done, as far back as the ledger tells at once.
async fn history(recovery: &Recovery) -> Result<Vec<ActionView>, SimulateError> {
    let limit = usize::MAX;
    match recovery.command(Command::History { limit }).await {
        Ok(Reply::History(rows)) => Ok(rows),
        Ok(other) => Err(SimulateError::Ended(format!("no history but {other:?}"))),
        Err(error) => Err(SimulateError::Ended(error.to_string())),
    }
}

fn one_seed(seed: u64, steps: u64) -> Result<Outcome, SimulateError> {
    in_virtual_time(async |folder| {
        let world = World::new(seed, policy(), steps as f64 * BETWEEN * 1.5);
        let mut engine = begin(&world, folder)?;
        let mut random = stream(seed, &[1]);
        let mut kills = 0;
        let mut doomed: Option<f64> = None;
        for _ in 0..steps {
            let seconds = exponential(&mut random, BETWEEN).min(30.0);
            sleep(Duration::from_secs_f64(seconds)).await;
            let is_time = |since: f64| world.seconds() > since + PATIENCE;
            let is_at_work = world.note(|account, _| account.is_any_in_flight());
            if doomed.is_some_and(|since| is_at_work || is_time(since)) {
                doomed = None;
                kills += 1;
                engine.kill().await?;
                engine = begin(&world, folder)?;
            }
            let deed = do_something(&world, &engine.recovery, &mut random).await?;
            if matches!(deed, Deed::Kill) {
                doomed.get_or_insert(world.seconds());
            }
        }
        // What is in flight may end.
        sleep(Duration::from_secs(120)).await;
        let rows = history(&engine.recovery).await?;
        engine.end().await?;
        let mut violations = world.note(|account, _| account.violations(&rows));
        for crime in audit(folder.join("ledger.db"))? {
            violations.push(format!("ledger: {crime}"));
        }
        let (restarts, ours) = world.harm();
        let seconds = world.seconds();
        Ok(Outcome {
            violations,
            restarts,
            ours,
            reserves: world.note(|account, _| account.reserves()),
            checked: world.note(|account, _| [kills, account.times_left(), account.covered()]),
            sums: world.sums(),
            others: OTHERS
                .map(|(_, probes)| liveness::play(&world, seconds, probes))
                .to_vec(),
            steps,
            virtual_seconds: seconds,
        })
    })
}

async fn do_something(
    world: &World,
    recovery: &Recovery,
    random: &mut StdRng,
) -> Result<Deed, SimulateError> {
    let weights: Vec<f64> = DEEDS.iter().map(|deed| deed.1).collect();
    let units: Vec<UnitName> = world
        .scene
        .tree
        .units()
        .map(|spec| spec.name.clone())
        .collect();
    let any = |random: &mut StdRng| units[random.random_range(0..units.len())].clone();
    let deed = DEEDS[weighted(random, &weights)].0;
    match deed {
        Deed::Lie => {
            let incident = 1 + random.random_range(0..INCIDENTS);
            let suspects = (0..random.random_range(1..4usize))
                .map(|_| (any(random), random.random::<f64>(), random.random::<bool>()))
                .collect::<Vec<_>>();
            let mut evidence = world.evidence(incident, &suspects);
            evidence.failing_per_second = exponential(random, 20.0);
            let believed = suspects.into_iter().filter(|(_, likely, by_two)| {
                *by_two && *likely >= world.scene.policy.auto_probability
            });
            world.lied(believed.map(|(unit, ..)| unit));
            say(world, recovery, evidence).await?;
        }
        Deed::Truth => {
            for evidence in world.truth() {
                say(world, recovery, evidence).await?;
            }
        }
        Deed::Garbage => {
            let incident = 1 + random.random_range(0..INCIDENTS);
            let mut evidence = world.evidence(incident, &[(any(random), 0.9, true)]);
            match random.random_range(0..6) {
                0 => evidence.suspects[0].probability = f64::NAN,
                1 => evidence.suspects[0].probability = 1e9,
                2 => evidence.suspects[0].unit = "nobody".into(),
                3 => evidence.failing_per_second = f64::INFINITY,
                4 => evidence.at -= Duration::from_secs(random.random_range(61..100_000)),
                _ => {
                    let rates = evidence.traffic.values_mut();
                    rates.for_each(|rate| *rate = -1.0);
                }
            }
            say(world, recovery, evidence).await?;
        }
        Deed::Close => {
            let incident = 1 + random.random_range(0..INCIDENTS);
            let mut evidence = world.evidence(incident, &[]);
            evidence.closed = true;
            say(world, recovery, evidence).await?;
        }
        Deed::Executor => {
            let manners = [
                Manner::Works,
                Manner::Works,
                Manner::Refuses,
                Manner::NeverReady,
                Manner::Hangs,
                Manner::Panics,
                Manner::Cold,
            ];
            let manner = manners[random.random_range(0..manners.len())];
            world.behave(any(random), manner);
        }
        Deed::Rollout => {
            let unit = any(random);
            world.note(|account, now| account.roll_out(&unit, now));
        }
        Deed::Approve => {
            let proposal = recovery.status().borrow().proposals.first().cloned();
            if let Some(proposal) = proposal {
                world.note(|account, now| account.approve(&proposal.unit, now));
                let approve = Command::Approve {
                    plan: proposal.plan,
                    by: "ann".to_owned(),
                };
                // A proposal that is gone by now is refused, as it should be.
                drop(recovery.command(approve).await);
            }
        }
        Deed::Pause => {
            let seconds = random.random_range(10..600);
            let pause = Command::Pause {
                by: "ann".to_owned(),
                reason: "to look".to_owned(),
                duration: Some(Duration::from_secs(seconds)),
            };
            drop(recovery.command(pause).await);
            let seconds = Some(Duration::from_secs(seconds));
            world.note(|account, now| account.pause(now, seconds));
        }
        Deed::Resume => {
            // Noted first: what waited may begin in the very moment in which it is told.
            world.note(|account, now| account.pause(now, None));
            drop(recovery.command(Command::Resume).await);
        }
        Deed::Clock => {
            let seconds = random.random_range(1..LONGEST_JUMP);
            world.jump(if random.random() { seconds } else { -seconds });
        }
        Deed::Leave => {
            let status = recovery.status().borrow().clone();
            let waiting = status.recoveries.iter().filter(|it| {
                let is_undecided = matches!(it.state, State::Proposed | State::HeldOff);
                is_undecided && it.plan.is_some()
            });
            let waiting: Vec<_> = waiting.collect();
            if waiting.is_empty() {
                return Ok(deed);
            }
            let one = waiting[random.random_range(0..waiting.len())];
            let Some((plan, incident)) = one.plan.as_ref().map(|it| it.id).zip(one.incident) else {
                return Ok(deed);
            };
            let reject = Command::Reject {
                plan,
                by: "ann".to_owned(),
                reason: "leave it".to_owned(),
            };
            if recovery.command(reject).await.is_ok() {
                world.note(|account, _| account.leave(incident));
            }
        }
        Deed::Infer => {
            let mut inferred = Inferred::default();
            for _ in 0..random.random_range(0..3) {
                let mut members = vec![any(random), any(random)];
                members.sort();
                inferred.groups.push(Group {
                    members,
                    share: random.random(),
                    is_proven: random.random(),
                    why: "somebody said so".to_owned(),
                });
            }
            for _ in 0..random.random_range(0..3) {
                inferred.orders.push((any(random), any(random)));
            }
            let inferred = recovery.infer(inferred).await;
            inferred.map_err(|error| SimulateError::Ended(error.to_string()))?;
        }
        // By who holds it, as soon as there is something that it breaks off.
        Deed::Kill => {}
    }
    Ok(deed)
}

async fn say(world: &World, recovery: &Recovery, evidence: Evidence) -> Result<(), SimulateError> {
    world.told(&evidence);
    recovery
        .evidence(evidence)
        .await
        .map_err(|error| SimulateError::Ended(error.to_string()))
}

/// Runs it.
///
/// # Errors
/// When the service can't be started, or ends by itself.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let seeds = u64::from(options.seeds.max(1));
    let steps = options.steps.div_ceil(seeds);
    let outcomes = over_seeds(options, |seed| one_seed(seed, steps))?;
    let policy = policy();
    let mut report = Report {
        scenario: "safety".to_owned(),
        question: "Can recovery be made to do harm?".to_owned(),
        assumptions: vec![
            "the service itself, with its ledger, in virtual time; two in three messages are lies, \
             garbage, or about incidents that aren't there"
                .to_owned(),
            format!(
                "the world: one trouble in about five minutes: {}; executors that hang, refuse, panic or start cold, \
                 clocks that jump by up to two hours, rollouts of others, pauses, approvals and refusals at random, groups \
                 and orders inferred from lies, an engine that is killed",
                troubles::shares()
            ),
            format!(
                "limits: {} restarts of a unit and {} in all per {} min, {} failed requests",
                policy.restarts_per_unit,
                policy.restarts_per_tree,
                policy.budget_period.as_secs() / 60,
                policy.failed_requests
            ),
            "the liveness probe asks each process every 10 s, restarts it after three failures in a \
             row, waits 10 s and twice as long each time up to 5 min (Kubernetes' defaults); its \
             question goes through the database, as many do, and the same executors carry out its \
             restarts: where one hangs or is never ready, the process is away for 15 s"
                .to_owned(),
            "lied to as well: a process's next probe fails for each lie about it that recovery has to \
             believe (told by two callers, and held for likelier than not)"
                .to_owned(),
            format!(
                "{seeds} seeds of {steps} steps, {:.1} days in all",
                outcomes.iter().map(|seed| seed.virtual_seconds).sum::<f64>() / 86_400.0
            ),
        ],
        ..Report::default()
    };
    let total: u64 = outcomes.iter().map(|seed| seed.steps).sum();
    let violations: Vec<&String> = outcomes.iter().flat_map(|seed| &seed.violations).collect();
    let mut table = Table::new(
        "Per virtual hour",
        &[
            "policy",
            "restarts",
            "requests failed by restarts",
            "requests failed in all",
        ],
    );
    let per_hour = |of: &dyn Fn(&Outcome) -> f64| {
        let values: Vec<f64> = outcomes
            .iter()
            .map(|seed| of(seed) / (seed.virtual_seconds / 3600.0))
            .collect();
        Mean::of(&values)
    };
    let mut row = |name: &str, harm: &dyn Fn(&Outcome) -> Harm| {
        table.row([
            name.to_owned(),
            per_hour(&|seed| harm(seed).restarts).words(),
            per_hour(&|seed| harm(seed).by_restarts).words(),
            per_hour(&|seed| harm(seed).in_all).words(),
        ]);
    };
    row("rekindle, lied to", &|seed| seed.ours.clone());
    for (place, (name, _)) in OTHERS.iter().enumerate() {
        row(name, &|seed| seed.others[place].clone());
    }
    report.tables.push(table);
    let seconds: f64 = outcomes.iter().map(|seed| seed.virtual_seconds).sum();
    let sums = outcomes.iter().map(|seed| &seed.sums);
    report.tables.push(harm::table(sums, seconds / 3600.0));
    report.tables.push(reserves(&outcomes));
    let mut table = Table::new("What came about", &["what", "how often"]);
    for (place, what) in CHECKED.iter().enumerate() {
        let times: u64 = outcomes.iter().map(|seed| seed.checked[place]).sum();
        table.row([(*what).to_owned(), times.to_string()]);
    }
    report.tables.push(table);
    if !violations.is_empty() {
        let mut table = Table::new("Rules broken (the first 20)", &["what"]);
        for violation in violations.iter().take(20) {
            table.row([(*violation).clone()]);
        }
        report.tables.push(table);
    }
    report.claim(
        format!("no rule broken in {total} steps"),
        format!(
            "{} broken, {} restarts carried out",
            violations.len(),
            outcomes.iter().map(|seed| seed.restarts).sum::<u64>()
        ),
        violations.is_empty(),
    );
    let ours = per_hour(&|seed| seed.ours.by_restarts).mean;
    let probes = per_hour(&|seed| seed.others[HONEST].by_restarts).mean;
    report.claim(
        "restarts do less harm than a liveness probe's with the same executors, though lied to",
        format!(
            "{} and {} failed requests an hour; {} where the probe is lied to as well",
            number(ours),
            number(probes),
            number(per_hour(&|seed| seed.others[LIED_TO].by_restarts).mean)
        ),
        ours <= probes,
    );
    Ok(report)
}

/// What only a person may have restarted all the same. That nobody else did is among the rules.
fn reserves(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(
        "Told with what speaks against any restart",
        &["what", "incidents", "restarts that a person approved"],
    );
    for reserve in Reserve::ALL {
        let counts = outcomes
            .iter()
            .filter_map(|seed| seed.reserves.get(&reserve));
        let (told, approved) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        table.row([
            reserve.as_str().to_owned(),
            told.to_string(),
            approved.to_string(),
        ]);
    }
    table
}

/// Evidence of the usual form.
fn evidence_of(
    incident: u64,
    suspects: &[(UnitName, f64, bool)],
    failing_per_second: f64,
    at: std::time::SystemTime,
    shape: &str,
) -> Evidence {
    Evidence {
        incident,
        at,
        since: at - Duration::from_secs(5),
        signature: FaultSignature {
            request_types: vec!["front GET /".to_owned()],
            error_type: "Broken".to_owned(),
            shape: shape.to_owned(),
        },
        suspects: suspects
            .iter()
            .map(|(unit, probability, two_sided)| SuspectUnit {
                unit: unit.clone(),
                probability: *probability,
                two_sided: *two_sided,
                reason: String::new(),
            })
            .collect(),
        baseline_failure_share: 0.002,
        failing_per_second,
        traffic: std::collections::BTreeMap::new(),
        closed: false,
        joined_into: None,
        circumstances: rekindle_recovery::Circumstances::default(),
    }
}
