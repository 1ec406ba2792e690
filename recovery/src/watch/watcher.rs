//! Reads what is watched, for the engine and for the judge alike.
//!
//! Only one looks, at its own steady pace; the judge is told what was seen last. Two who look would take each
//! other's readings for their own last one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::{Bound, Reading, Standing, Watched};
use crate::ports::Clock;
use crate::rejuvenate::task::last_ready;
use crate::rejuvenate::{Gauge, Gauges, Life};
use crate::service::RecoveryStatus;
use crate::{LiveTree, UnitName};

/// What was seen of a unit in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is out of bounds, all of it, in words for people. What is proof comes first.
    pub beyond: Option<String>,
    /// Since when the first of it is.
    pub since: Option<SystemTime>,
    /// Whether that is more than the unit's own word ([`Bound::is_proof`]).
    pub is_proof: bool,
    /// Whether the unit is well: each watch that accused it since it was last wholly well was read and is
    /// within its bounds, and none is out of them. Where none is known to have accused it (this engine may be
    /// younger than the fault), that is all of them.
    pub is_within: bool,
    /// Where it is neither out of bounds nor known to be well: why nobody knows, in words for people.
    pub unclear: Option<String>,
}

/// How a unit stands to one of its watches, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What is looked at.
    pub what: String,
    /// What it must keep to.
    pub limit: String,
    /// How long it may be out of it.
    pub lasts: Duration,
    /// How it stands.
    pub standing: Standing,
    /// What was measured last in the unit's present life, and when.
    pub measured: Option<(String, SystemTime)>,
    /// Since when it is out of bounds.
    pub out_since: Option<SystemTime>,
    /// Why nothing was measured just now.
    pub unread: Option<String>,
}

/// What is remembered of a unit between two looks.
#[derive(Debug, Default)]
struct Remembered {
    watches: BTreeMap<usize, Watched>,
    /// Which of them accused the unit since it was last wholly well.
    accused: BTreeSet<usize>,
    /// What was looked at, in order.
    bounds: Vec<Bound>,
    /// What was seen last, and in which life, unless it was told already.
    last: Option<(Seen, Option<SystemTime>)>,
    looks: Vec<Look>,
}

/// Looks at units' figures.
pub struct Watcher {
    tree: LiveTree,
    gauges: Arc<dyn Gauges>,
    clock: Clock,
    remembered: Mutex<BTreeMap<UnitName, Remembered>>,
    recovery: OnceLock<watch::Receiver<Arc<RecoveryStatus>>>,
}

impl Watcher {
    /// Ready to look.
    pub fn new(tree: impl Into<LiveTree>, gauges: Arc<dyn Gauges>, clock: Clock) -> Self {
        Self {
            tree: tree.into(),
            gauges,
            clock,
            remembered: Mutex::default(),
            recovery: OnceLock::new(),
        }
    }

    /// From whom it knows when lives begin that no supervised process tells of. Only the first counts.
    pub fn follow(&self, recovery: watch::Receiver<Arc<RecoveryStatus>>) {
        // Whoever follows twice follows the same.
        let _ = self.recovery.set(recovery);
    }

    /// Looks at one unit; `None` when it has nothing to keep to, or is none any more. For one caller, who looks every
    /// now and then.
    pub async fn look(&self, unit: &UnitName) -> Option<Seen> {
        let tree = self.tree.now();
        let watches = tree.spec(unit).map_or(&[][..], |spec| &spec.watches);
        if watches.is_empty() {
            self.remembered().remove(unit);
            return None;
        }
        let restarted = self.restarted(unit);
        let life = self.gauges.started(unit).max(restarted);
        let mut readings = Vec::new();
        for watch in watches {
            let reading = self.read(&watch.bound, restarted).await;
            readings.push((watch, reading, (self.clock)()));
        }
        let mut remembered = self.remembered();
        if !remembered.contains_key(unit) {
            // Whoever comes makes room: units of a kind come and go for as long as we run.
            remembered.retain(|known, _| tree.spec(known).is_some());
        }
        let remembered = remembered.entry(unit.clone()).or_default();
        // Histories are by place in the list: in another list they are others'.
        if remembered
            .bounds
            .iter()
            .ne(watches.iter().map(|watch| &watch.bound))
        {
            *remembered = Remembered::default();
            let bounds = watches.iter().map(|watch| watch.bound.clone());
            remembered.bounds = bounds.collect();
        }
        let (mut proofs, mut others): (Vec<String>, Vec<String>) = Default::default();
        let mut since: Option<SystemTime> = None;
        let mut within = BTreeSet::new();
        let mut is_out = false;
        remembered.looks.clear();
        for (number, (watch, reading, now)) in readings.into_iter().enumerate() {
            let watched = remembered.watches.entry(number).or_default();
            let standing = watched.look(watch, reading.as_ref().ok().copied(), life, now);
            match &standing {
                Standing::Unknown => {}
                Standing::Within => {
                    within.insert(number);
                }
                Standing::Leaning => is_out = true,
                Standing::Beyond(words) => {
                    is_out = true;
                    remembered.accused.insert(number);
                    match watch.bound.is_proof() {
                        true => proofs.push(words.clone()),
                        false => others.push(words.clone()),
                    }
                    let out_since = watched.out_since();
                    since = since.map_or(out_since, |first| Some(first.min(out_since?)));
                }
            }
            let measured = watched.measured();
            remembered.looks.push(Look {
                what: watch.bound.what(),
                limit: watch.bound.limit(),
                lasts: watch.lasts,
                standing,
                measured: measured.map(|(value, at)| (value.to_owned(), at)),
                out_since: watched.out_since(),
                unread: reading.err(),
            });
        }
        let is_proof = !proofs.is_empty();
        proofs.append(&mut others);
        let mut seen = Seen {
            beyond: (!proofs.is_empty()).then(|| proofs.join("; ")),
            since,
            is_proof,
            is_within: false,
            unclear: None,
        };
        let is_wholly_well = within.len() == watches.len();
        let are_accusers_well =
            !remembered.accused.is_empty() && remembered.accused.is_subset(&within);
        seen.is_within = !is_out && (is_wholly_well || are_accusers_well);
        if seen.beyond.is_none() && !seen.is_within {
            let judges = |number: &usize| {
                remembered.accused.is_empty() || remembered.accused.contains(number)
            };
            let looks = remembered.looks.iter().enumerate();
            let open = looks.filter(|(number, look)| {
                look.standing != Standing::Within && (is_out || judges(number))
            });
            let words: Vec<String> = open.map(|(_, look)| look.why_unclear()).collect();
            seen.unclear = Some(words.join("; "));
        }
        if is_wholly_well {
            remembered.accused.clear();
        }
        remembered.last = Some((seen.clone(), life));
        Some(seen)
    }

    /// What the last look at the unit's present life saw, once: who counts looks must not count one twice.
    pub fn seen_last(&self, unit: &UnitName) -> Option<Seen> {
        let life = self.gauges.started(unit).max(self.restarted(unit));
        let mut remembered = self.remembered();
        let (seen, of) = remembered.get_mut(unit)?.last.take()?;
        (of == life).then_some(seen)
    }

    /// How the unit stood to each of its watches when it was last looked at, for people.
    pub fn looks(&self, unit: &UnitName) -> Vec<Look> {
        let remembered = self.remembered();
        remembered
            .get(unit)
            .map(|remembered| remembered.looks.clone())
            .unwrap_or_default()
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<UnitName, Remembered>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// When a restart of the unit, or of what contains it, was last over. That of a part begins no life of the whole.
    fn restarted(&self, unit: &UnitName) -> Option<SystemTime> {
        let status = self.recovery.get()?.borrow().clone();
        let tree = self.tree.now();
        last_ready(&status, (self.clock)(), |target| {
            tree.contains(target, unit)
        })
    }

    /// The life that a gauge must be of.
    fn life_of(&self, gauge: &Gauge, since: Option<SystemTime>) -> Life {
        let Gauge::Heartbeat { unit, .. } = gauge else {
            return since.into();
        };
        let counted = self.recovery.get().and_then(|recovery| {
            let status = recovery.borrow();
            let known = status.units.iter().find(|known| known.unit == *unit)?;
            Some(known.generation)
        });
        Life {
            since,
            generation: counted.max(self.gauges.generation(unit)),
        }
    }

    async fn number(&self, gauge: &Gauge, since: Option<SystemTime>) -> Result<f64, String> {
        self.gauges.read(gauge, self.life_of(gauge, since)).await
    }

    async fn read(&self, bound: &Bound, since: Option<SystemTime>) -> Result<Reading, String> {
        let mut reading = Reading {
            value: 0.0,
            finished: 0.0,
        };
        let places = [&mut reading.value, &mut reading.finished];
        for (place, gauge) in places.into_iter().zip(bound.gauges()) {
            *place = self.number(gauge, since).await?;
        }
        Ok(reading)
    }
}

impl Look {
    /// Why this watch doesn't say that its unit is well, though it isn't known to be sick.
    fn why_unclear(&self) -> String {
        match (&self.unread, &self.measured) {
            (Some(why), _) => why.clone(),
            (None, Some((value, _))) if self.standing == Standing::Leaning => {
                format!("{} is {value} ({})", self.what, self.limit)
            }
            _ => format!("{} was not measured often enough yet", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RestartTree;
    use crate::executor::BoxFuture;
    use crate::tree::tests::specs;
    use crate::watch::Watch;

    /// A tree of one unit that must keep to these.
    fn watched(unit: &str, watches: Vec<Watch>) -> RestartTree {
        let mut units = specs(unit);
        units[0].watches = watches;
        RestartTree::build(units).expect("a tree")
    }

    /// Says what the test says, gauge by gauge.
    #[derive(Default)]
    struct Told(std::sync::Mutex<BTreeMap<String, f64>>);

    impl Gauges for Told {
        fn read<'a>(&'a self, gauge: &'a Gauge, _life: Life) -> BoxFuture<'a, Result<f64, String>> {
            let told = self.0.lock().expect("whole").get(&gauge.words()).copied();
            Box::pin(std::future::ready(
                told.ok_or_else(|| "not told".to_owned()),
            ))
        }
    }

    impl Look {
        fn beyond(&self) -> &str {
            match &self.standing {
                Standing::Beyond(words) => words,
                _ => "",
            }
        }
    }

    #[tokio::test]
    async fn all_watches_of_a_unit_are_one_answer_and_proof_comes_first() {
        let heartbeat = Gauge::Heartbeat {
            unit: "a".into(),
            name: "queue".to_owned(),
        };
        let memory = Gauge::Memory { of: "a".into() };
        let above = |gauge: &Gauge| Watch {
            bound: Bound::Above {
                gauge: gauge.clone(),
                limit: 10.0,
            },
            lasts: Duration::ZERO,
        };
        let watches = vec![above(&heartbeat), above(&memory)];
        let told = Arc::new(Told::default());
        let watcher = Watcher::new(
            watched("a", watches),
            Arc::clone(&told) as Arc<dyn Gauges>,
            Arc::new(SystemTime::now),
        );
        assert_eq!(watcher.look(&"b".into()).await, None);
        for (queue, bytes, is_beyond, is_proof, is_within) in [
            (None, None, false, false, false),
            // Nobody knows whether what can't be read accused it before this engine began.
            (Some(1.0), None, false, false, false),
            (Some(1.0), Some(1.0), false, false, true),
            (Some(11.0), Some(1.0), true, false, false),
            // What accused it can't be read any more; that is no cure.
            (None, Some(1.0), false, false, false),
            (Some(1.0), None, false, false, true),
            (Some(11.0), Some(11.0), true, true, false),
            (None, Some(11.0), true, true, false),
            (None, Some(1.0), false, false, false),
            (Some(1.0), Some(1.0), false, false, true),
            // What can't be read and never accused it keeps nobody from being well.
            (None, Some(11.0), true, true, false),
            (None, Some(1.0), false, false, true),
        ] {
            *told.0.lock().expect("whole") = [(&heartbeat, queue), (&memory, bytes)]
                .into_iter()
                .filter_map(|(gauge, value)| Some((gauge.words(), value?)))
                .collect();
            let seen = watcher.look(&"a".into()).await.expect("it is watched");
            let found = (seen.beyond.is_some(), seen.is_proof, seen.is_within);
            assert_eq!(
                found,
                (is_beyond, is_proof, is_within),
                "{queue:?} {bytes:?}: {seen:?}"
            );
            // Whoever waits for it to be well is told what for.
            assert_eq!(seen.unclear.is_some(), !is_beyond && !is_within, "{seen:?}");
            assert_eq!(seen.since.is_some(), is_beyond);
            let looks = watcher.looks(&"a".into());
            let measured = looks
                .iter()
                .map(|look| look.measured.is_some() && look.unread.is_none());
            let told: Vec<bool> = measured.collect();
            assert_eq!(told, [queue.is_some(), bytes.is_some()], "{looks:?}");
            if let (Some(queue @ 11.0..), Some(11.0..)) = (queue, bytes) {
                let both = format!("{}; {}", looks[1].beyond(), looks[0].beyond());
                assert_eq!(seen.beyond.as_ref(), Some(&both), "{queue}");
            }
            assert_eq!(watcher.seen_last(&"a".into()), Some(seen));
            assert_eq!(watcher.seen_last(&"a".into()), None);
        }
    }

    #[tokio::test]
    async fn who_is_no_unit_any_more_is_not_looked_at_and_forgotten() {
        let memory = |of: &str| Watch {
            bound: Bound::Above {
                gauge: Gauge::Memory { of: of.into() },
                limit: 10.0,
            },
            lasts: Duration::ZERO,
        };
        let tree = LiveTree::from(watched("a", vec![memory("a")]));
        let told = Arc::new(Told::default());
        let watcher = Watcher::new(tree.clone(), told, Arc::new(SystemTime::now));
        assert!(watcher.look(&"a".into()).await.is_some());
        tree.replace(Arc::new(watched("b", vec![memory("b")])));
        assert_eq!(watcher.look(&"a".into()).await, None);
        assert!(watcher.look(&"b".into()).await.is_some());
        assert!(watcher.looks(&"a".into()).is_empty());
        assert_eq!(watcher.looks(&"b".into()).len(), 1);
    }

    /// A restart of this unit that was over then.
    fn restarted(target: &str, ready_at: SystemTime) -> RecoveryStatus {
        let action = crate::service::ActionView {
            action: crate::executor::ActionId(1),
            recovery: crate::service::RecoveryId(1),
            incident: None,
            unit: target.into(),
            target: target.into(),
            signature: None,
            by: String::new(),
            reason: String::new(),
            generation: 2,
            began: None,
            intended_at: ready_at,
            stopped_at: None,
            ready_at: Some(ready_at),
            outcome: None,
            verdict: None,
            relief: None,
            failed_requests: None,
            judged: None,
            judged_at: None,
            plan: None,
        };
        RecoveryStatus {
            recent: Arc::new(vec![action]),
            ..RecoveryStatus::nothing(ready_at)
        }
    }

    #[tokio::test]
    async fn a_restart_begins_a_life_of_what_it_restarts_and_not_of_what_that_is_part_of() {
        for (target, is_new) in [("shop.cart", false), ("shop", true)] {
            let memory = Gauge::Memory { of: "shop".into() };
            let told = Arc::new(Told::default());
            let reading = (memory.words(), 11.0);
            told.0.lock().expect("whole").extend([reading]);
            let watch = Watch {
                bound: Bound::Above {
                    gauge: memory,
                    limit: 10.0,
                },
                lasts: Duration::from_secs(3600),
            };
            let mut units = specs("site - auto\n  shop process\n    shop.cart code=cart");
            units[1].watches = vec![watch];
            let watcher = Watcher::new(
                RestartTree::build(units).expect("a tree"),
                told as Arc<dyn Gauges>,
                Arc::new(SystemTime::now),
            );
            let long_ago = SystemTime::now() - Duration::from_secs(60);
            let (status, followed) = watch::channel(Arc::new(restarted("shop", long_ago)));
            watcher.follow(followed);
            assert!(watcher.look(&"shop".into()).await.is_some());
            let out_since = || watcher.looks(&"shop".into())[0].out_since;
            let before = out_since();
            let mut both = restarted(target, SystemTime::now());
            let older = restarted("shop", long_ago).recent;
            Arc::make_mut(&mut both.recent).extend(older.iter().cloned());
            status.send_replace(Arc::new(both));
            assert!(watcher.look(&"shop".into()).await.is_some());
            assert!(
                before.is_some() && (out_since() != before) == is_new,
                "{target}"
            );
        }
    }
}
