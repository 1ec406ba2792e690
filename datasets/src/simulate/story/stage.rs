//! The world that a story is played in: what fails fails until what cures it was restarted, or its time
//! is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rekindle_recovery::executor::{ExecuteError, Permit};
use rekindle_recovery::ports::Notice;
use rekindle_recovery::{Circumstances, Evidence, FaultSignature, SuspectUnit, UnitName};

use super::script::{Ends, Fault, Script};
use super::{Line, Told};
use crate::simulate::manner::Manner;
use crate::simulate::reserve::Reserve;
use crate::simulate::service::{Scene, Simulated};

/// From a fault's first request to the first word of it, in seconds.
const UNNOTICED: f64 = 1.0;
/// What has to be restarted together was, where not more than this lay between, in seconds.
const TOGETHER: f64 = 10.0;
/// What a request type of a unit is called.
const TYPE: &str = "requests of ";

/// A fault that has begun.
#[derive(Debug)]
struct Trouble {
    fault: Fault,
    from: f64,
    until: Option<f64>,
    is_told_over: bool,
}

impl Trouble {
    fn is_on(&self, at: f64) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

#[derive(Debug, Default)]
struct State {
    manner: BTreeMap<UnitName, Manner>,
    troubles: Vec<Trouble>,
    renewed: BTreeMap<UnitName, f64>,
    restarted: BTreeMap<UnitName, f64>,
    lines: Vec<Line>,
    restarts: u64,
    failed_by_restarts: f64,
}

/// The world.
#[derive(Clone)]
pub(super) struct Stage {
    state: Arc<Mutex<State>>,
    scene: Scene,
    traffic: Arc<BTreeMap<UnitName, f64>>,
}

impl Stage {
    pub(super) fn new(script: &Script) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::default())),
            scene: Scene::begin(script.tree.clone(), script.policy.clone()),
            traffic: Arc::new(script.traffic().collect()),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seconds since the beginning.
    fn now(&self) -> f64 {
        self.scene.clocks.now()
    }

    pub(super) fn say(&self, what: String) {
        let at = self.now();
        self.with(|state| state.lines.push(Line { at, what }));
    }

    pub(super) fn begin(&self, fault: &Fault) {
        let from = self.now();
        let until = match &fault.ends {
            Ends::After(duration) => Some(from + duration.as_secs_f64()),
            Ends::Restart(_) => None,
        };
        let fault = fault.clone();
        self.with(|state| {
            state.troubles.push(Trouble {
                fault,
                from,
                until,
                is_told_over: false,
            });
        });
    }

    pub(super) fn behave(&self, unit: &UnitName, manner: Manner) {
        self.with(|state| state.manner.insert(unit.clone(), manner));
    }

    pub(super) fn renew(&self, unit: &UnitName) {
        let now = self.now();
        self.with(|state| state.renewed.insert(unit.clone(), now));
    }

    pub(super) fn jump(&self, seconds: i64) {
        self.scene.clocks.jump(seconds);
    }

    fn rate(&self, unit: &UnitName) -> f64 {
        self.traffic.get(unit).copied().unwrap_or(0.0)
    }

    /// The share of a unit's requests that fails.
    fn share(&self, state: &State, unit: &UnitName, at: f64) -> f64 {
        let on = state.troubles.iter().filter(|trouble| trouble.is_on(at));
        let shares = on.map(|trouble| {
            let hit = &trouble.fault.unit;
            let share = trouble.fault.share;
            if self.scene.tree.contains(hit, unit) {
                share
            } else if self.scene.tree.contains(unit, hit) && self.rate(unit) > 0.0 {
                share * (self.rate(hit) / self.rate(unit)).min(1.0)
            } else {
                0.0
            }
        });
        shares.fold(0.0, f64::max)
    }

    /// What recovery is told now: of what is wrong, and once of each thing that isn't any more.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let now = self.now();
        self.with(|state| {
            let changes = self.scene.clocks.changes(&state.renewed);
            let mut told = Vec::new();
            let mut new = Vec::new();
            for (place, trouble) in state.troubles.iter_mut().enumerate() {
                let is_over = trouble.until.is_some_and(|until| until <= now);
                if trouble.is_told_over || now < trouble.from + UNNOTICED {
                    continue;
                }
                trouble.is_told_over = is_over;
                let incident = place as u64 + 1;
                let mut evidence = self.of(incident, trouble);
                evidence.circumstances.changes.clone_from(&changes);
                if is_over {
                    evidence.closed = true;
                    new.push(format!("incident {incident} is over"));
                } else if now < trouble.from + UNNOTICED + super::TICK.as_secs_f64() {
                    new.push(format!("incident {incident}: {}", suspected(&evidence)));
                }
                told.push(evidence);
            }
            let new = new.into_iter().map(|what| Line { at: now, what });
            state.lines.extend(new);
            told
        })
    }

    fn of(&self, incident: u64, trouble: &Trouble) -> Evidence {
        let fault = &trouble.fault;
        let mut circumstances = Circumstances::default();
        if let Some(reserve) = fault.reserve {
            reserve.tell(&mut circumstances);
        }
        let is_slow = fault.reserve == Some(Reserve::Overload);
        let wall = self.scene.clocks.wall();
        let suspects = fault.told.iter();
        Evidence {
            incident,
            at: wall,
            since: self.scene.clocks.wall_of(trouble.from).unwrap_or(wall),
            signature: FaultSignature {
                request_types: vec![format!("{TYPE}{}", fault.unit)],
                error_type: "Broken".to_owned(),
                shape: if is_slow { "slow" } else { "raised" }.to_owned(),
            },
            suspects: suspects
                .map(|(unit, probability, two_sided)| SuspectUnit {
                    unit: unit.clone(),
                    probability: *probability,
                    two_sided: *two_sided,
                    reason: String::new(),
                })
                .collect(),
            baseline_failure_share: 0.0,
            failing_per_second: fault.share * self.rate(&fault.unit),
            traffic: (*self.traffic).clone(),
            closed: false,
            joined_into: None,
            circumstances,
        }
    }

    pub(super) fn told(&self, crimes: Vec<String>) -> Told {
        let now = self.now();
        self.with(|state| {
            let by_faults: f64 = state
                .troubles
                .iter()
                .map(|trouble| {
                    let until = trouble.until.unwrap_or(now).min(now);
                    (until - trouble.from) * trouble.fault.share * self.rate(&trouble.fault.unit)
                })
                .sum();
            Told {
                lines: std::mem::take(&mut state.lines),
                restarts: state.restarts,
                failed_requests: by_faults + state.failed_by_restarts,
                failed_by_restarts: state.failed_by_restarts,
                crimes,
            }
        })
    }

    /// Whether a unit, or all that it consists of, was just restarted.
    fn is_renewed(&self, state: &State, unit: &UnitName, now: f64) -> bool {
        let was = |unit: &UnitName| {
            let mut restarted = state.restarted.iter();
            restarted.any(|(of, at)| *at > now - TOGETHER && self.scene.tree.contains(of, unit))
        };
        let mut parts = self.scene.tree.restarts(unit).into_iter();
        was(unit) || (parts.len() > 0 && parts.all(was))
    }

    /// Ends what this restart was the last for that was missing.
    fn cure(&self, unit: &UnitName) {
        let now = self.now();
        self.with(|state| {
            state.restarted.insert(unit.clone(), now);
            let cured: Vec<usize> = (0..state.troubles.len())
                .filter(|place| {
                    let trouble = &state.troubles[*place];
                    let Ends::Restart(units) = &trouble.fault.ends else {
                        return false;
                    };
                    trouble.is_on(now) && units.iter().all(|unit| self.is_renewed(state, unit, now))
                })
                .collect();
            for place in cured {
                state.troubles[place].until = Some(now);
            }
        });
    }
}

/// A unit that is being restarted, until that ends or is broken off.
struct Away<'a> {
    stage: &'a Stage,
    unit: UnitName,
    from: f64,
    is_restart: bool,
}

impl<'a> Away<'a> {
    fn begin(stage: &'a Stage, unit: &UnitName) -> Self {
        Self {
            stage,
            unit: unit.clone(),
            from: stage.now(),
            is_restart: true,
        }
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if !self.is_restart {
            return;
        }
        let lasted = self.stage.now() - self.from;
        let rate = self.stage.rate(&self.unit);
        self.stage.with(|state| {
            let failing = self.stage.share(state, &self.unit, self.from);
            state.restarts += 1;
            state.failed_by_restarts += lasted * rate * (1.0 - failing);
        });
    }
}

fn suspected(evidence: &Evidence) -> String {
    let suspects = evidence.suspects.iter().map(|suspect| {
        let by = if suspect.two_sided {
            ""
        } else {
            ", by one source"
        };
        format!(
            "{} ({:.0} %{by})",
            suspect.unit,
            100.0 * suspect.probability
        )
    });
    let suspects: Vec<String> = suspects.collect();
    format!("{} suspected", suspects.join(", "))
}

impl Simulated for Stage {
    fn scene(&self) -> &Scene {
        &self.scene
    }

    async fn carry_out(&self, permit: Permit) -> Result<(), ExecuteError> {
        let unit = permit.unit().clone();
        let mut away = Away::begin(self, &unit);
        let manner = self.with(|state| state.manner.get(&unit).copied());
        let spec = self.scene.tree.spec(&unit);
        let usual = spec.and_then(|spec| spec.expected_downtime);
        let generation = permit.generation();
        self.say(format!(
            "{unit} is restarted, its generation is {generation}"
        ));
        let acted = manner
            .unwrap_or(Manner::Works)
            .act(&unit, usual.unwrap_or_default(), permit.deadline())
            .await;
        match &acted {
            Ok(()) => {
                let took = self.now() - away.from;
                self.say(format!("{unit} is ready after {took:.1} s"));
                self.cure(&unit);
            }
            Err(error) => self.say(format!("{error}")),
        }
        // Who refuses leaves it as it was.
        away.is_restart = !matches!(acted, Err(ExecuteError::Refused { .. }));
        acted
    }

    fn fared(&self, request_types: &[String], from: f64, until: f64) -> (u64, u64) {
        /// Shares are looked at so often, in seconds.
        const STEP: f64 = 0.25;
        let names = request_types.iter().filter_map(|it| it.strip_prefix(TYPE));
        let units: Vec<UnitName> = match request_types.is_empty() {
            true => self.scene.tree.root().cloned().into_iter().collect(),
            false => names.map(UnitName::from).collect(),
        };
        let (mut ok, mut bad) = (0.0, 0.0);
        self.with(|state| {
            for unit in &units {
                let mut at = from;
                while at < until {
                    let requests = self.rate(unit) * STEP.min(until - at);
                    let share = self.share(state, unit, at);
                    bad += requests * share;
                    ok += requests * (1.0 - share);
                    at += STEP;
                }
            }
        });
        (ok as u64, bad as u64)
    }

    fn tell(&self, notice: &Notice) {
        self.say(format!("people are told: {}", notice.text));
    }
}
