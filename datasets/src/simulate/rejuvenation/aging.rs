//! A site whose server's heap fills: who restarts in it gives back what leaked there.
//!
//! Recovery's service and its rejuvenation look at it and restart in it through their ports, as they would anywhere. A
//! server that ran out of memory has ended, and is restarted by recovery as whatever has ended; what doesn't come back is
//! brought back by a person's order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rekindle_recovery::executor::{BoxFuture, ExecuteError, Permit};
use rekindle_recovery::rejuvenate::{Gauge, Gauges, Life};
use rekindle_recovery::{Circumstances, Evidence, FaultSignature, Policy, SuspectUnit, UnitName};
use tokio::time::sleep;

use super::super::random::stream;
use super::super::service::{Scene, Simulated};
use super::super::world::{REQUESTS_PER_SECOND, Site};

/// The heap, and what of it is in use while nothing leaks: the first as published (recalled).
pub(super) const HEAP: f64 = 1e9;
pub(super) const LIVE: f64 = 0.15 * HEAP;
/// What a call leaks in the two ill components, in bytes, as published (recalled); each seed has its own
/// components, and up to twice as much or as little.
pub(super) const LEAKS: [f64; 2] = [2000.0, 250.0];
/// What has its own heap.
pub(super) const SERVER: &str = "server";

/// What a day came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Day {
    pub(super) failed: f64,
    pub(super) restarts: f64,
    pub(super) out_of_memory: f64,
    pub(super) least_free: f64,
    /// Restarts after which the unit didn't come back …
    pub(super) stuck: f64,
    /// … and those that were begun before a person had brought it back.
    pub(super) while_stuck: f64,
}

/// Requests that fail, of so many per second, for as long as something is away.
#[derive(Clone, Copy, Debug)]
struct Outage {
    from: f64,
    until: f64,
    per_second: f64,
}

impl Outage {
    fn failed(&self, from: f64, until: f64) -> f64 {
        let lasted = self.until.min(until) - self.from.max(from);
        lasted.max(0.0) * self.per_second
    }
}

/// What changes.
#[derive(Debug)]
struct State {
    /// What each ill component has leaked, and leaks per second.
    leaks: Vec<(UnitName, f64, f64)>,
    /// Up to when that was added up, in true seconds.
    at: f64,
    /// Where among the outages the server's is that ran out of memory.
    full: Option<usize>,
    /// Who didn't come back, and where among the outages its own is.
    stuck: Option<(UnitName, usize)>,
    is_person_at_work: bool,
    outages: Vec<Outage>,
    day: Day,
    luck: StdRng,
}

impl State {
    fn free(&self) -> f64 {
        HEAP - LIVE - self.leaks.iter().map(|leak| leak.1).sum::<f64>()
    }

    fn per_second(&self) -> f64 {
        self.leaks.iter().map(|leak| leak.2).sum()
    }

    fn break_down(&mut self, from: f64, per_second: f64) -> usize {
        let until = f64::INFINITY;
        self.outages.push(Outage {
            from,
            until,
            per_second,
        });
        self.outages.len() - 1
    }

    /// What leaked by now, or until the server ran out of memory.
    fn catch_up(&mut self, now: f64) {
        if self.full.is_none() {
            let lasts = self.free() / self.per_second();
            let passed = (now - self.at).min(lasts);
            for (_, leaked, rate) in &mut self.leaks {
                *leaked += *rate * passed;
            }
            if self.at + lasts <= now {
                self.day.out_of_memory += 1.0;
                self.full = Some(self.break_down(self.at + lasts, REQUESTS_PER_SECOND));
            }
        }
        self.at = now;
        self.day.least_free = self.day.least_free.min(self.free().max(0.0));
    }
}

/// The site.
#[derive(Clone)]
pub(super) struct Aging {
    pub(super) site: Arc<Site>,
    scene: Scene,
    /// How often a unit doesn't come back from a preventive restart, in `[0, 1]`.
    sticks: f64,
    state: Arc<Mutex<State>>,
}

impl Aging {
    /// To be made where time is virtual.
    pub(super) fn new(seed: u64, sticks: f64) -> Self {
        let site = Site::new();
        let mut random = stream(seed, &[0]);
        let mut ill = parts(&site);
        ill.shuffle(&mut random);
        let leaks = ill.into_iter().zip(LEAKS).map(|(unit, per_call)| {
            let factor = 2f64.powf(random.random_range(-1.0..1.0));
            let rate = site.traffic(&unit) * per_call * factor;
            (unit, 0.0, rate)
        });
        let state = State {
            leaks: leaks.collect(),
            at: 0.0,
            full: None,
            stuck: None,
            is_person_at_work: false,
            outages: Vec::new(),
            day: Day {
                least_free: HEAP,
                ..Day::default()
            },
            luck: stream(seed, &[2]),
        };
        Self {
            scene: Scene::begin(site.tree.clone(), Policy::default()),
            site: Arc::new(site),
            sticks,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Does something to what is so by now.
    fn with<T>(&self, f: impl FnOnce(&mut State, f64) -> T) -> T {
        let now = self.scene.clocks.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catch_up(now);
        f(&mut state, now)
    }

    /// True seconds since the beginning.
    pub(super) fn now(&self) -> f64 {
        self.scene.clocks.now()
    }

    /// Seconds until so much is free and no more, if nobody restarts anything.
    pub(super) fn until_free(&self, level: f64) -> f64 {
        self.with(|state, _| (state.free() - level) / state.per_second())
    }

    /// Since when the server is out of memory, in true seconds.
    pub(super) fn full_since(&self) -> Option<f64> {
        self.with(|state, _| state.full.map(|place| state.outages[place].from))
    }

    /// A person is about to order a restart.
    pub(super) fn person_comes(&self) {
        self.with(|state, _| state.is_person_at_work = true);
    }

    /// What recovery is told of the server that ran out of memory at this true time.
    pub(super) fn evidence(&self, incident: u64, since: f64, is_over: bool) -> Evidence {
        let at = self.scene.clocks.wall();
        let units = self.scene.tree.units().map(|spec| &spec.name);
        Evidence {
            incident,
            at,
            since: self.scene.clocks.wall_of(since).unwrap_or(at),
            signature: FaultSignature {
                request_types: Vec::new(),
                error_type: String::new(),
                shape: "exited".to_owned(),
            },
            suspects: vec![SuspectUnit {
                unit: SERVER.into(),
                probability: 0.95,
                two_sided: true,
                reason: String::new(),
            }],
            baseline_failure_share: 0.0,
            failing_per_second: REQUESTS_PER_SECOND,
            traffic: units
                .map(|unit| (unit.clone(), self.site.traffic(unit)))
                .collect(),
            closed: is_over,
            joined_into: None,
            circumstances: Circumstances::default(),
        }
    }

    /// What it came to by now.
    pub(super) fn day(&self) -> Day {
        self.with(|state, now| {
            let outages = state.outages.iter().map(|outage| outage.failed(0.0, now));
            Day {
                failed: state.day.failed + outages.sum::<f64>(),
                ..state.day
            }
        })
    }
}

/// What is below the application.
pub(super) fn parts(site: &Site) -> Vec<UnitName> {
    let application = UnitName::from("application");
    let below = site.tree.subtree(&application).into_iter();
    below
        .filter(|unit| **unit != application)
        .cloned()
        .collect()
}

impl Gauges for Aging {
    fn read<'a>(&'a self, _gauge: &'a Gauge, _life: Life) -> BoxFuture<'a, Result<f64, String>> {
        let free = self.with(|state, _| match state.full {
            Some(_) => Err(format!("{SERVER} has ended")),
            None => Ok(state.free()),
        });
        Box::pin(std::future::ready(free))
    }
}

impl Simulated for Aging {
    fn scene(&self) -> &Scene {
        &self.scene
    }

    async fn carry_out(&self, permit: Permit) -> Result<(), ExecuteError> {
        let unit = permit.unit().clone();
        let traffic = self.site.traffic(&unit);
        let (outage, sticks) = self.with(|state, now| {
            let by_person = std::mem::take(&mut state.is_person_at_work);
            let is_preventive = permit.incident().is_none() && !by_person;
            state.day.restarts += 1.0;
            state.day.failed += traffic * self.scene.policy.in_flight.as_secs_f64();
            state.day.while_stuck += f64::from(u8::from(is_preventive && state.stuck.is_some()));
            let outage = match (&state.full, &state.stuck) {
                // They fail already.
                (Some(_), _) => None,
                (_, Some((stuck, _))) if *stuck == unit => None,
                _ => Some(state.break_down(now, traffic)),
            };
            let draws = is_preventive && state.stuck.is_none();
            (outage, draws && state.luck.random::<f64>() < self.sticks)
        });
        if let Some(place) = outage.filter(|_| sticks) {
            self.with(|state, _| {
                state.day.stuck += 1.0;
                state.stuck = Some((unit.clone(), place));
            });
            let deadline = permit.deadline();
            sleep(deadline).await;
            let reason = "it doesn't answer".to_owned();
            return Err(ExecuteError::NotReady {
                unit,
                deadline,
                reason,
            });
        }
        sleep(Duration::from_secs_f64(self.site.usual(&unit))).await;
        self.with(|state, now| {
            for (part, leaked, _) in &mut state.leaks {
                if self.scene.tree.contains(&unit, part) {
                    *leaked = 0.0;
                }
            }
            let is_back = |stuck: &(UnitName, usize)| self.scene.tree.contains(&unit, &stuck.0);
            let back = state.stuck.take_if(|stuck| is_back(stuck));
            let renewed = self.scene.tree.contains(&unit, &SERVER.into());
            let server = state.full.take_if(|_| renewed);
            let ended = [outage, back.map(|(_, place)| place), server];
            for place in ended.into_iter().flatten() {
                state.outages[place].until = now;
            }
        });
        Ok(())
    }

    fn fared(&self, _request_types: &[String], from: f64, until: f64) -> (u64, u64) {
        let all = REQUESTS_PER_SECOND * (until - from).max(0.0);
        let failed = self.with(|state, _| {
            let failed = state
                .outages
                .iter()
                .map(|outage| outage.failed(from, until));
            failed.sum::<f64>().min(all)
        });
        ((all - failed) as u64, failed as u64)
    }

    fn is_running(&self, unit: &UnitName) -> Option<bool> {
        (unit.as_str() == SERVER).then(|| self.full_since().is_none())
    }
}
