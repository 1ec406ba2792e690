//! What do recoveries cost that the whole service carries out: its task, its ledger, its guards, through the executors'
//! trait, be it as it sees fit or as it is ordered?
//!
//! A site falls ill with one fault after the other, and time jumps from each end to the next beginning. Users, faults,
//! ranking's errors and what restarts take are those of [`super::play`], where recovery's deciding parts are called
//! directly; here nothing is decided but by the service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rekindle_recovery::executor::{ExecuteError, Permit};
use rekindle_recovery::judge::Verdict;
use rekindle_recovery::ports::{Notice, NoticeKind};
use rekindle_recovery::service::RecoveryStatus;
use rekindle_recovery::{Evidence, Policy, UnitName};
use tokio::time::{advance, sleep, timeout};

use super::SimulateError;
use super::course::{Course, Ill};
use super::play::{Bill, DETECTION};
use super::random::{binomial, poisson, stream};
use super::service::{Engine, Scene, Simulated, in_virtual_time, unguarded};
use super::world::{BASELINE, Cure, Fault, Mix, Site};

/// How often recovery is told what is wrong.
const TICK: Duration = Duration::from_secs(1);
/// A recovery that isn't over after so many of them never is.
const MOST_TICKS: usize = 10_000;
/// Requests are counted in slots of so many seconds …
const SLOT: f64 = 0.1;
/// … from so long before the first failure on.
const BEFORE: f64 = 60.0;

/// Between two faults: far enough for no budget to matter, near enough for nothing to be forgotten.
pub(super) const BETWEEN: Duration = Duration::from_secs(2 * 3600);

/// A fault under way.
struct Patient {
    fault: Fault,
    luck: (u64, u64),
    /// When it began, in true seconds.
    began: f64,
    course: Course,
    /// From when on which share of the failing types' requests fails, in seconds since it began.
    shares: Vec<(f64, f64)>,
    random: StdRng,
    /// How many requests ended well and badly before the end of each slot.
    counts: Vec<(u64, u64)>,
    is_away: bool,
    restarts: u32,
    is_given_up: bool,
}

impl Patient {
    /// What happened by now, where nobody is at work.
    fn catch_up(&mut self, site: &Site, policy: &Policy, now: f64) {
        if !self.is_away {
            let fault = &self.fault;
            let on = Ill {
                site,
                fault,
                policy,
            };
            self.course
                .pass(on, (now - self.began - self.course.at).max(0.0));
        }
    }

    fn note_share(&mut self, share: f64) {
        self.shares.push((self.course.at, share));
    }

    fn share_at(&self, at: f64) -> f64 {
        let healed = match self.fault.cure {
            Cure::Time(heals_after) => at >= heals_after,
            Cure::Restart(_) | Cure::Person => false,
        };
        let last = self.shares.iter().rev().find(|(from, _)| *from <= at);
        last.filter(|_| !healed).map_or(0.0, |(_, share)| *share)
    }

    /// How many requests had ended well and badly by a time, in seconds since the fault began.
    fn ended_by(&mut self, site: &Site, at: f64) -> (u64, u64) {
        let slots = ((at + BEFORE) / SLOT).floor().max(0.0) as usize;
        let expected = site.traffic(&self.fault.shows_in) * SLOT;
        while self.counts.len() < slots {
            let at = self.counts.len() as f64 * SLOT - BEFORE;
            let share = self.share_at(at).max(BASELINE);
            let requests = poisson(&mut self.random, expected);
            let failed = binomial(&mut self.random, requests, share);
            let (ok, bad) = self.counts.last().copied().unwrap_or_default();
            self.counts.push((ok + requests - failed, bad + failed));
        }
        match slots {
            0 => (0, 0),
            _ => self.counts[slots - 1],
        }
    }
}

/// A site, with at most one fault at a time.
#[derive(Clone)]
struct Ward {
    patient: Arc<Mutex<Option<Patient>>>,
    site: Arc<Site>,
    scene: Scene,
}

impl Ward {
    fn new(site: Site, policy: Policy) -> Self {
        Self {
            patient: Arc::default(),
            scene: Scene::begin(site.tree.clone(), policy),
            site: Arc::new(site),
        }
    }

    /// Does something to the fault under way, as it is by now.
    fn with<T>(&self, f: impl FnOnce(&mut Patient) -> T) -> Option<T> {
        let mut patient = self.patient.lock().unwrap_or_else(PoisonError::into_inner);
        let patient = patient.as_mut()?;
        patient.catch_up(&self.site, &self.scene.policy, self.scene.clocks.now());
        Some(f(patient))
    }

    fn admit(&self, fault: Fault, luck: (u64, u64)) {
        let patient = Patient {
            luck,
            began: self.scene.clocks.now(),
            course: Course::begin(),
            shares: vec![(0.0, fault.severity)],
            fault,
            random: stream(luck.0, &[6, luck.1]),
            counts: Vec::new(),
            is_away: false,
            restarts: 0,
            is_given_up: false,
        };
        *self.patient.lock().unwrap_or_else(PoisonError::into_inner) = Some(patient);
    }

    /// What recovery is told of the fault now.
    fn evidence(&self) -> Option<Evidence> {
        self.with(|patient| {
            let mut evidence = patient.fault.evidence.clone();
            evidence.at = self.scene.clocks.wall();
            evidence.since = self
                .scene
                .clocks
                .wall_of(patient.began)
                .unwrap_or(evidence.at);
            let through = self.site.traffic(&patient.fault.shows_in);
            evidence.failing_per_second = through * patient.fault.severity * patient.course.left;
            evidence.closed = patient.course.left <= 0.0;
            evidence
        })
    }

    /// Recovery is told how it is, and given some time; whether the fault was gone when it was told.
    async fn tick(&self, engine: &Engine) -> Result<bool, SimulateError> {
        let Some(evidence) = self.evidence() else {
            return Ok(true);
        };
        let is_gone = evidence.closed;
        engine.told(evidence).await?;
        sleep(TICK).await;
        Ok(is_gone)
    }

    /// A person comes, after as long as that takes, and mends it.
    async fn is_mended(&self) {
        advance(self.scene.policy.human_response).await;
        self.with(|patient| {
            patient.course.left = 0.0;
            patient.note_share(0.0);
        });
    }

    /// Plays one recovery to its end.
    ///
    /// # Errors
    /// When the service ends by itself, or never comes to an end.
    async fn play(
        &self,
        engine: &Engine,
        fault: Fault,
        luck: (u64, u64),
    ) -> Result<Bill, SimulateError> {
        let incident = fault.evidence.incident;
        let mut bill = Bill {
            is_curable: fault.cure != Cure::Person,
            kind: fault.kind,
            ..Bill::default()
        };
        self.admit(fault, luck);
        sleep(Duration::from_secs_f64(DETECTION)).await;
        let status = engine.recovery.status();
        let mut is_taken_up = false;
        for _ in 0..MOST_TICKS {
            let is_gone = self.tick(engine).await?;
            let now = status.borrow().clone();
            let mut recoveries = now.recoveries.iter();
            let ours = recoveries.find(|it| it.incident == Some(incident));
            let is_given_up = self.with(|patient| patient.is_given_up) == Some(true);
            match ours {
                Some(_) => is_taken_up = true,
                None if is_gone => {
                    let end = self.with(|patient| (patient.course.failed, patient.restarts));
                    (bill.failed, bill.restarts) = end.unwrap_or_default();
                    return Ok(bill);
                }
                None if is_given_up => {
                    bill.by_person = true;
                    bill.by_unknown = is_unknown(&now, incident);
                    self.is_mended().await;
                }
                // Over, and not gone: found again before long.
                None => {
                    let is_there = self.with(|patient| patient.course.left > 0.0) == Some(true);
                    bill.wrongly_cured += u32::from(is_taken_up && is_there);
                    is_taken_up = false;
                }
            }
        }
        let words = format!("its recovery of incident {incident} has no end");
        Err(SimulateError::Ended(words))
    }

    /// Does what is ordered about a fault, each restart when what came of the last is known, and nothing else; which requests
    /// that cost, from the first failure to the end.
    ///
    /// # Errors
    /// When the service ends by itself, or never comes to an end.
    async fn obey(
        &self,
        engine: &Engine,
        ordered: &Ordered,
        luck: (u64, u64),
    ) -> Result<f64, SimulateError> {
        self.admit(ordered.fault.clone(), luck);
        let began = self.scene.clocks.wall();
        sleep(Duration::from_secs_f64(ordered.after)).await;
        let mut status = engine.recovery.status();
        let (mut units, mut orders) = (ordered.units.iter(), 0);
        for _ in 0..MOST_TICKS {
            let Some(evidence) = self.evidence() else {
                break;
            };
            let is_gone = evidence.closed;
            engine.told(evidence).await?;
            let now = status.borrow_and_update().clone();
            let done = now.recent.iter().filter(|it| it.intended_at >= began);
            let is_judged = done.filter(|it| it.verdict.is_some()).count() == orders;
            if is_gone && now.recoveries.is_empty() {
                return Ok(self.with(|patient| patient.course.failed).unwrap_or(0.0));
            }
            if is_judged && !is_gone {
                let Some(unit) = units.next() else { break };
                engine.order(unit.clone()).await?;
                orders += 1;
            }
            // Told anew of what changes, and once a second.
            let changed = timeout(TICK, status.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                break;
            }
        }
        let incident = ordered.fault.evidence.incident;
        let words = format!("what was ordered about incident {incident} didn't end it");
        Err(SimulateError::Ended(words))
    }

    /// Time jumps to so long after the beginning.
    async fn until(&self, at: Duration) {
        let passed = Duration::from_secs_f64(self.scene.clocks.now());
        advance(at.saturating_sub(passed)).await;
    }
}

/// What each of a site's recoveries costs a service that knows nothing at first, with [`BETWEEN`] between two faults.
///
/// # Errors
/// As [`Ward::play`], or when there is no room for its ledger.
pub(super) fn learner(seed: u64, recoveries: u64) -> Result<Vec<Bill>, SimulateError> {
    let mix = Mix::of(seed);
    in_virtual_time(async |folder| {
        let ward = Ward::new(Site::new(), unguarded());
        let engine = Engine::begin(&ward, folder)?;
        let mut bills = Vec::new();
        let mut at = Duration::ZERO;
        for number in 0..recoveries {
            at += BETWEEN;
            ward.until(at).await;
            // What is told when is the ward's to say.
            let fault = mix.fault(&ward.site, number, SystemTime::UNIX_EPOCH);
            bills.push(ward.play(&engine, fault, (seed, number)).await?);
        }
        engine.end().await?;
        Ok(bills)
    })
}

/// A fault, and what a person orders about it.
pub(super) struct Ordered {
    pub(super) fault: Fault,
    /// Its number among the site's faults: the same has the same luck.
    pub(super) number: u64,
    /// So many seconds after the first failure the first restart is ordered …
    pub(super) after: f64,
    /// … and each of these when the one before was judged; the last of them cures.
    pub(super) units: Vec<UnitName>,
}

/// Which requests fail of each of these faults on a site where nothing is restarted but what is ordered.
///
/// # Errors
/// As [`Ward::obey`], or when there is no room for the service's ledger.
pub(super) fn by_order(
    seed: u64,
    site: &Site,
    faults: Vec<Ordered>,
) -> Result<Vec<f64>, SimulateError> {
    in_virtual_time(async |folder| {
        let ward = Ward::new(site.by_order(), unguarded());
        let engine = Engine::begin(&ward, folder)?;
        let mut failed = Vec::new();
        for (place, mut ordered) in faults.into_iter().enumerate() {
            // So that each is another incident's, whatever number the fault has.
            ordered.fault.evidence.incident = place as u64 + 1;
            advance(BETWEEN).await;
            let luck = (seed, ordered.number);
            failed.push(ward.obey(&engine, &ordered, luck).await?);
        }
        engine.end().await?;
        Ok(failed)
    })
}

/// Whether the last thing that was done about an incident has an unknown verdict.
fn is_unknown(status: &RecoveryStatus, incident: u64) -> bool {
    let mut finished = status.finished.iter();
    let last = finished.find(|it| it.incident == Some(incident));
    let last = last.and_then(|it| it.tried.last());
    last.is_some_and(|tried| tried.verdict == Verdict::Unknown)
}

impl Simulated for Ward {
    fn scene(&self) -> &Scene {
        &self.scene
    }

    async fn carry_out(&self, permit: Permit) -> Result<(), ExecuteError> {
        let unit = permit.unit().clone();
        let begun = self.with(|patient| {
            let (seed, number) = patient.luck;
            let mut random = stream(seed, &[2, number, u64::from(patient.restarts)]);
            patient.restarts += 1;
            patient.is_away = true;
            if self.site.tree.contains(&unit, &patient.fault.shows_in) {
                patient.note_share(1.0);
            }
            self.site.downtime(&unit, &mut random)
        });
        let Some(downtime) = begun else {
            let reason = "nothing is wrong with the site".to_owned();
            return Err(ExecuteError::Refused { unit, reason });
        };
        sleep(Duration::from_secs_f64(downtime)).await;
        self.with(|patient| {
            let on = Ill {
                site: &self.site,
                fault: &patient.fault,
                policy: &self.scene.policy,
            };
            patient.course.restarted(on, &unit, downtime);
            let share = patient.course.share(on);
            patient.is_away = false;
            patient.note_share(share);
        });
        Ok(())
    }

    fn fared(&self, _request_types: &[String], from: f64, until: f64) -> (u64, u64) {
        let counted = self.with(|patient| {
            let before = patient.ended_by(&self.site, from - patient.began);
            let by = patient.ended_by(&self.site, until.max(from) - patient.began);
            (by.0 - before.0, by.1 - before.1)
        });
        counted.unwrap_or_default()
    }

    fn tell(&self, notice: &Notice) {
        // Nothing is held off here for long; if it were, only a person could end it, too.
        if matches!(notice.kind, NoticeKind::GivenUp | NoticeKind::HeldOff) {
            self.with(|patient| patient.is_given_up = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_person_ends_is_ended_by_one_and_the_rest_by_its_cure() {
        let (seed, site, policy) = (1, Site::new(), Policy::default());
        let bills = learner(seed, 15).expect("they are played");
        let mix = Mix::of(seed);
        let mut people = 0;
        for (number, bill) in bills.iter().enumerate() {
            let fault = mix.fault(&site, number as u64, SystemTime::UNIX_EPOCH);
            assert_eq!(bill.kind, fault.kind);
            let failing = fault.severity * site.traffic(&fault.shows_in);
            let by_a_person = failing * policy.human_response.as_secs_f64();
            match fault.cure {
                Cure::Person => {
                    people += 1;
                    assert!(
                        bill.by_person && bill.failed > by_a_person,
                        "{number}: {bill:?}"
                    );
                }
                Cure::Restart(_) if !bill.by_person => {
                    assert!(bill.restarts > 0, "{number}: {bill:?}");
                    assert!(bill.failed >= failing * DETECTION, "{number}: {bill:?}");
                }
                Cure::Restart(_) | Cure::Time(_) => {}
            }
        }
        assert!(people > 0 && bills.iter().any(|bill| !bill.by_person));
    }
}
