//! The ground station that Mercury's trees are tried on: five or six toy processes, watched by pings, restarted by
//! recovery through the executors' trait.
//!
//! The oracle's choice is an order to recovery; whether it helped is asked by the next ping, and what follows where it
//! didn't is recovery's own to decide. When everything answers again is the world's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_recovery::executor::{ExecuteError, Permit};
use rekindle_recovery::{
    Circumstances, Evidence, FaultSignature, Policy, ProbeSpec, RestartTree, SuspectUnit, UnitName,
};
use tokio::time::{advance, sleep};

use super::super::SimulateError;
use super::super::random::stream;
use super::super::service::{Engine, Scene, Simulated, in_virtual_time, unguarded};
use super::super::world::unit;
use super::shapes::Shape;

/// From one ping to the next, in seconds …
const PING: f64 = 1.0;
/// … and until one counts as lost.
pub(super) const PING_TIMEOUT: f64 = 0.2;
/// After so many seconds more recovery is told that one was lost: its own verdict on a restart comes of the same ping, and
/// whoever is to decide what follows needs both.
const TOLD_AFTER: f64 = 0.05;
/// Seconds that each further process adds when several start at once: from tree I's published 24.75 s.
pub(super) const CONTENTION: f64 = 0.955;
/// A start takes so much more or less than usual.
const JITTER: f64 = 0.02;
/// The wrong oracle guesses too low in so many of ten failures.
pub(super) const WRONG_OF_TEN: u64 = 3;
/// Between two failures: nothing is left of the one before.
const BETWEEN: Duration = Duration::from_secs(600);
/// A recovery that isn't over after so many pings never is.
const MOST_PINGS: usize = 1000;
/// The two estimators: a session binds them, and what begins anew without the other makes it fail.
const PAIR: [&str; 2] = ["ses", "str"];

/// Seconds from start to ready, from the published single restarts less 0.7 s of detection; ses and
/// str from half of theirs, since the restart of either makes the other fail.
pub(super) const START: [(&str, f64); 7] = [
    ("mbus", 5.03),
    ("fedrcom", 20.23),
    ("fedr", 5.06),
    ("pbcom", 20.54),
    ("ses", 4.05),
    ("str", 4.18),
    ("rtu", 4.89),
];

/// A failure: which process doesn't answer (the first), and which processes must be restarted together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) name: &'static str,
    pub(super) needs: &'static [&'static str],
}

/// Who says what is restarted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oracle {
    /// Who knows the smallest unit that cures.
    Perfect,
    /// Who takes the process that doesn't answer for all that fails, in [`WRONG_OF_TEN`] of ten failures.
    Wrong,
    /// Recovery's own planner, told which process doesn't answer.
    Planner,
}

/// What changes.
#[derive(Debug)]
struct State {
    faults: Vec<Failure>,
    /// Processes that are starting.
    starting: BTreeSet<&'static str>,
    /// Whether the two estimators are bound by a session.
    in_session: bool,
    /// When the last of them was ready after which everything answered.
    well_since: f64,
    random: StdRng,
}

impl State {
    fn is_ill(&self, process: &str) -> bool {
        self.faults.iter().any(|fault| fault.needs[0] == process)
    }

    fn answers(&self, process: &str) -> bool {
        !self.is_ill(process) && !self.starting.contains(process)
    }

    /// How long these take to start at once, where each further one makes it slower.
    fn start(&mut self, processes: &[&'static str]) -> f64 {
        self.starting.extend(processes);
        let random = &mut self.random;
        usual(processes, || {
            random.random_range(1.0 - JITTER..1.0 + JITTER)
        })
    }

    fn started(&mut self, processes: &[&'static str], now: f64) {
        self.starting.retain(|process| !processes.contains(process));
        let is_cured = |fault: &Failure| fault.needs.iter().all(|need| processes.contains(need));
        self.faults.retain(|fault| !is_cured(fault));
        if PAIR.iter().all(|one| processes.contains(one)) {
            self.in_session = true;
        }
        for (own, other) in [(PAIR[0], &PAIR[1..]), (PAIR[1], &PAIR[..1])] {
            if processes.contains(&own) && !processes.contains(&other[0]) {
                // It asks for a session that the other believes to have, which the other doesn't survive.
                let was_in_session = self.in_session;
                self.in_session = !was_in_session;
                if was_in_session {
                    self.faults.push(Failure {
                        name: other[0],
                        needs: other,
                    });
                }
            }
        }
        if self.faults.is_empty() && self.starting.is_empty() {
            self.well_since = now;
        }
    }
}

/// Seconds that processes need which start at once, each so many times as long as usual.
fn usual(processes: &[&str], mut luck: impl FnMut() -> f64) -> f64 {
    let starts = START.iter();
    let starts = starts.filter(|(name, _)| processes.contains(name));
    let slowest = starts
        .map(|(_, seconds)| seconds * luck())
        .fold(0.0, f64::max);
    slowest + CONTENTION * (processes.len().max(1) - 1) as f64
}

/// The station in one of the five shapes.
#[derive(Clone)]
pub(super) struct Station {
    pub(super) scene: Scene,
    own: Arc<BTreeMap<UnitName, &'static [&'static str]>>,
    state: Arc<Mutex<State>>,
}

impl Station {
    /// To be made where time is virtual.
    pub(super) fn new(shape: &Shape, random: StdRng) -> Self {
        let own = shape.units.iter();
        let own = own.map(|(name, _, processes)| (UnitName::from(*name), *processes));
        let below = |cell: &str| -> Vec<&'static str> {
            let mut inside: Vec<&str> = vec![cell];
            let mut found = Vec::new();
            // What contains another comes before it.
            for (name, parent, processes) in shape.units {
                if inside.contains(name) || inside.contains(parent) {
                    inside.push(name);
                    found.extend_from_slice(processes);
                }
            }
            found
        };
        let specs = shape.units.iter().map(|(name, parent, _)| {
            let takes = usual(&below(name), || 1.0);
            let mut spec = unit(name, parent, Duration::from_secs_f64(takes));
            spec.check = Some(ping_of(name));
            spec
        });
        Self {
            // The constants are trees; a test says so.
            scene: Scene::begin(
                RestartTree::build(specs.collect()).unwrap_or_default(),
                policy(),
            ),
            own: Arc::new(own.collect()),
            state: Arc::new(Mutex::new(State {
                faults: Vec::new(),
                starting: BTreeSet::new(),
                in_session: true,
                well_since: 0.0,
                random,
            })),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All processes that a unit's restart starts.
    pub(super) fn processes(&self, unit: &UnitName) -> Vec<&'static str> {
        let units = self.scene.tree.subtree(unit).into_iter();
        let own = units.filter_map(|unit| self.own.get(unit));
        own.flat_map(|processes| processes.iter().copied())
            .collect()
    }

    /// Whether the unit's restart restarts all of these.
    pub(super) fn covers(&self, unit: &UnitName, needs: &[&str]) -> bool {
        let processes = self.processes(unit);
        needs.iter().all(|need| processes.contains(need))
    }

    /// The smallest unit that covers these.
    pub(super) fn smallest(&self, needs: &[&str]) -> Option<UnitName> {
        let units = self.scene.tree.units().map(|spec| &spec.name);
        units
            .filter(|unit| self.covers(unit, needs))
            .min_by_key(|unit| self.processes(unit).len())
            .cloned()
    }

    /// What is told of a process that doesn't answer, or does again.
    fn evidence(&self, incident: &Incident, is_over: bool) -> Evidence {
        let shown_in = self.smallest(&incident.of.needs[..1]);
        let cells = self.scene.tree.units().map(|spec| &spec.name);
        Evidence {
            incident: incident.number,
            at: self.scene.clocks.wall(),
            since: incident.since,
            signature: FaultSignature {
                // Pings tell of it, and only they can tell of its end.
                request_types: Vec::new(),
                error_type: String::new(),
                shape: "wrong_answer".to_owned(),
            },
            suspects: Vec::from_iter(shown_in.map(|unit| SuspectUnit {
                unit,
                probability: 0.95,
                two_sided: true,
                reason: String::new(),
            })),
            baseline_failure_share: 0.0,
            failing_per_second: PING,
            // A second of anybody's absence is worth as much as any other's: repair time is what is counted.
            traffic: cells.map(|unit| (unit.clone(), PING)).collect(),
            closed: is_over,
            joined_into: None,
            circumstances: Circumstances::default(),
        }
    }

    /// Until the next ping.
    async fn ping(&self) {
        let now = self.scene.clocks.now();
        let next = ((now / PING).floor() + 1.0) * PING;
        sleep(Duration::from_secs_f64(next - now)).await;
    }

    /// Seconds from a failure until everything answers again.
    async fn repair(
        &self,
        engine: &Engine,
        failure: Failure,
        oracle: Oracle,
        incidents: &mut u64,
    ) -> Result<f64, SimulateError> {
        // At any time between two pings.
        let phase = self.with(|state| state.random.random::<f64>());
        sleep(Duration::from_secs_f64(phase * PING)).await;
        let began = self.scene.clocks.now();
        self.with(|state| state.faults.push(failure));
        let status = engine.recovery.status();
        let mut open: Vec<Incident> = Vec::new();
        for _ in 0..MOST_PINGS {
            self.ping().await;
            // Whoever is being started isn't expected to answer.
            let (silent, is_quiet) = self.with(|state| {
                let silent = state.faults.iter();
                let silent = silent.filter(|fault| !state.starting.contains(fault.needs[0]));
                (
                    silent.copied().collect::<Vec<_>>(),
                    state.starting.is_empty(),
                )
            });
            sleep(Duration::from_secs_f64(PING_TIMEOUT + TOLD_AFTER)).await;
            for fault in &silent {
                let is_known = open.iter().any(|incident| incident.of == *fault);
                if !is_known {
                    *incidents += 1;
                    open.push(Incident {
                        number: *incidents,
                        of: *fault,
                        since: self.scene.clocks.wall(),
                    });
                }
                let told = open.iter().find(|incident| incident.of == *fault);
                let Some(incident) = told else { continue };
                engine.told(self.evidence(incident, false)).await?;
                let wanted = match oracle {
                    _ if is_known => None,
                    Oracle::Planner => None,
                    Oracle::Wrong if fault.needs == failure.needs => {
                        self.smallest(&fault.needs[..1])
                    }
                    Oracle::Perfect | Oracle::Wrong => self.smallest(fault.needs),
                };
                if let Some(unit) = wanted {
                    engine.order(unit).await?;
                }
            }
            let over =
                |incident: &Incident| self.with(|state| !state.faults.contains(&incident.of));
            for incident in open.extract_if(.., |incident| over(incident)) {
                engine.told(self.evidence(&incident, true)).await?;
            }
            if is_quiet && silent.is_empty() && status.borrow().recoveries.is_empty() {
                return Ok(self.with(|state| state.well_since) - began);
            }
        }
        let words = format!(
            "its recovery from the failure of {} has no end",
            failure.name
        );
        Err(SimulateError::Ended(words))
    }
}

/// Something that was told to recovery.
struct Incident {
    number: u64,
    of: Failure,
    since: SystemTime,
}

/// Restarts wait for nothing that the published system doesn't wait for: a verdict is what the next ping says.
fn policy() -> Policy {
    let ping = Duration::from_secs_f64(PING);
    Policy {
        // Long enough for the oracle's word to come first.
        gathering: Duration::from_millis(1),
        exporter_delay: Duration::ZERO,
        warm_up: Duration::ZERO,
        probes_in_a_row: 1,
        probe_interval: ping,
        judge_interval: ping / 50,
        ..unguarded()
    }
}

/// Asks a unit's processes whether they are there. Nothing ever runs the command.
fn ping_of(unit: &str) -> ProbeSpec {
    ProbeSpec::Command {
        command: vec!["ping".to_owned(), unit.to_owned()],
        timeout: Duration::from_secs_f64(PING + PING_TIMEOUT),
    }
}

/// Seconds to repair, of so many failures one after the other.
///
/// # Errors
/// As [`Engine::begin`], or when the service ends by itself.
pub(super) fn repairs(
    shape: &Shape,
    failure: Failure,
    oracle: Oracle,
    runs: u64,
    luck: (u64, u64),
) -> Result<Vec<f64>, SimulateError> {
    in_virtual_time(async |folder| {
        let station = Station::new(shape, stream(luck.0, &[luck.1]));
        let engine = Engine::begin(&station, folder)?;
        let mut incidents = 0;
        let mut times = Vec::new();
        for run in 0..runs {
            // In exactly so many of ten, spread evenly.
            let is_wrong = run * WRONG_OF_TEN % 10 < WRONG_OF_TEN;
            let oracle = match oracle {
                Oracle::Wrong if !is_wrong => Oracle::Perfect,
                oracle => oracle,
            };
            advance(BETWEEN).await;
            let repair = station.repair(&engine, failure, oracle, &mut incidents);
            times.push(repair.await?);
        }
        engine.end().await?;
        Ok(times)
    })
}

impl Simulated for Station {
    fn scene(&self) -> &Scene {
        &self.scene
    }

    async fn carry_out(&self, permit: Permit) -> Result<(), ExecuteError> {
        let processes = self.processes(permit.unit());
        let takes = self.with(|state| state.start(&processes));
        sleep(Duration::from_secs_f64(takes)).await;
        let now = self.scene.clocks.now();
        self.with(|state| state.started(&processes, now));
        Ok(())
    }

    fn fared(&self, _request_types: &[String], _from: f64, _until: f64) -> (u64, u64) {
        // Nobody but the pings asks for anything.
        (0, 0)
    }

    async fn probe(&self, spec: &ProbeSpec) -> Result<(), String> {
        let asked = match spec {
            ProbeSpec::Command { command, .. } => command.last(),
            _ => None,
        };
        let unit = asked.map(|unit| UnitName::from(unit.as_str()));
        let processes = unit.map(|unit| self.processes(&unit)).unwrap_or_default();
        self.ping().await;
        let silent = self.with(|state| {
            let mut processes = processes.iter();
            processes.find(|process| !state.answers(process)).copied()
        });
        let Some(process) = silent else {
            return Ok(());
        };
        sleep(Duration::from_secs_f64(PING_TIMEOUT)).await;
        Err(format!("{process} didn't answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{MTTF, SHAPES, failure};
    use super::*;

    fn station(shape: usize) -> Station {
        let stations = in_virtual_time(async |_| Ok(Station::new(&SHAPES[shape], stream(1, &[]))));
        stations.expect("a station")
    }

    #[test]
    fn the_shapes_are_trees() {
        for (number, shape) in SHAPES.iter().enumerate() {
            let station = station(number);
            assert_eq!(
                station.scene.tree.len(),
                shape.units.len(),
                "{}",
                shape.name
            );
            let root = station.scene.tree.root().expect("a root").clone();
            assert!(station.processes(&root).len() >= 5, "{}", shape.name);
        }
    }

    #[test]
    fn promotion_leaves_no_button_for_the_wrong_guess() {
        let covers = |shape: usize| {
            let station = station(shape);
            let unit = station.smallest(&["pbcom"]).expect("a unit");
            station.covers(&unit, &["fedr"])
        };
        assert!(!covers(3) && covers(4));
    }

    #[test]
    fn recovery_climbs_where_the_oracle_guessed_too_low_and_only_there() {
        let both = failure("pbcom, with fedr", &["pbcom", "fedr"]);
        let times = repairs(&SHAPES[3], both, Oracle::Wrong, 10, (1, 1)).expect("repairs");
        // One start of pbcom, or two, the second with fedr beside it or all others.
        let is_long = |seconds: &&f64| **seconds > 40.0;
        assert!(
            times.iter().all(|seconds| (20.0..50.0).contains(seconds)),
            "{times:?}"
        );
        assert_eq!(times.iter().filter(is_long).count(), 3, "{times:?}");
        let promoted = repairs(&SHAPES[4], both, Oracle::Wrong, 10, (1, 1)).expect("repairs");
        assert_eq!(promoted.iter().filter(is_long).count(), 0, "{promoted:?}");
    }

    #[test]
    fn estimators_take_each_other_along_where_they_have_buttons_of_their_own() {
        let (ses, ..) = MTTF[2];
        let of = |shape: usize| {
            let times = repairs(&SHAPES[shape], ses, Oracle::Perfect, 3, (1, 2));
            times.expect("repairs")
        };
        assert!(
            of(2).iter().all(|seconds| (8.4..11.0).contains(seconds)),
            "{:?}",
            of(2)
        );
        assert!(
            of(3).iter().all(|seconds| (5.0..6.7).contains(seconds)),
            "{:?}",
            of(3)
        );
    }
}
