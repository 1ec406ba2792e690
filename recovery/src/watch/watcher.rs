//! Reads what is watched, for the engine and for the judge alike.
//!
//! Only one looks, at its own steady pace; the judge is told what was seen last. Two who look would take each
//! other's readings for their own last one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio::sync::{Mutex, watch};

use super::{Bound, Reading, Standing, Watch, Watched};
use crate::ports::Clock;
use crate::rejuvenate::Gauges;
use crate::rejuvenate::task::last_ready;
use crate::service::RecoveryStatus;
use crate::{RestartTree, UnitName};

/// What was seen of a unit in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is out of bounds, in words for people.
    pub beyond: Option<String>,
    /// Whether that is more than the unit's own word ([`Bound::is_proof`]).
    pub is_proof: bool,
    /// Whether the unit is well: each watch that accused it since it was last wholly well was read and is
    /// within its bounds, and none is out of them. Where none is known to have accused it (this engine may be
    /// younger than the fault), that is all of them.
    pub is_within: bool,
}

/// What is remembered of a unit between two looks.
#[derive(Debug, Default)]
struct Remembered {
    watches: BTreeMap<usize, Watched>,
    /// Which of them accused the unit since it was last wholly well.
    accused: BTreeSet<usize>,
    /// What was seen last, and in which life, unless it was told already.
    last: Option<(Seen, Option<SystemTime>)>,
}

/// Looks at units' figures.
pub struct Watcher {
    watches: BTreeMap<UnitName, Vec<Watch>>,
    tree: Arc<RestartTree>,
    gauges: Arc<dyn Gauges>,
    clock: Clock,
    remembered: Mutex<BTreeMap<UnitName, Remembered>>,
    recovery: OnceLock<watch::Receiver<Arc<RecoveryStatus>>>,
}

impl Watcher {
    /// Ready to look.
    pub fn new(
        watches: BTreeMap<UnitName, Vec<Watch>>,
        tree: Arc<RestartTree>,
        gauges: Arc<dyn Gauges>,
        clock: Clock,
    ) -> Self {
        Self {
            watches,
            tree,
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

    /// The units that have something to keep to.
    pub fn units(&self) -> impl Iterator<Item = &UnitName> {
        self.watches.keys()
    }

    /// Looks at one unit; `None` when it has nothing to keep to. For one caller, who looks every now and then.
    pub async fn look(&self, unit: &UnitName) -> Option<Seen> {
        let watches = self.watches.get(unit)?;
        let restarted = self.restarted(unit);
        let life = self.gauges.started(unit).max(restarted);
        let mut readings = Vec::new();
        for watch in watches {
            let reading = self.read(&watch.bound, restarted).await;
            readings.push((watch, reading, (self.clock)()));
        }
        let mut remembered = self.remembered.lock().await;
        let remembered = remembered.entry(unit.clone()).or_default();
        let mut seen = Seen {
            beyond: None,
            is_proof: false,
            is_within: false,
        };
        let mut within = BTreeSet::new();
        let mut is_out = false;
        for (number, (watch, reading, now)) in readings.into_iter().enumerate() {
            let watched = remembered.watches.entry(number).or_default();
            match watched.look(watch, reading, life, now) {
                Standing::Unknown => {}
                Standing::Within => {
                    within.insert(number);
                }
                Standing::Leaning => is_out = true,
                Standing::Beyond(words) => {
                    is_out = true;
                    remembered.accused.insert(number);
                    // Proof is told rather than words.
                    if seen.beyond.is_none() || (watch.bound.is_proof() && !seen.is_proof) {
                        seen.beyond = Some(words);
                        seen.is_proof = watch.bound.is_proof();
                    }
                }
            }
        }
        let is_wholly_well = within.len() == watches.len();
        let are_accusers_well =
            !remembered.accused.is_empty() && remembered.accused.is_subset(&within);
        seen.is_within = !is_out && (is_wholly_well || are_accusers_well);
        if is_wholly_well {
            remembered.accused.clear();
        }
        remembered.last = Some((seen.clone(), life));
        Some(seen)
    }

    /// What the last look at the unit's present life saw, once: who counts looks must not count one twice.
    pub async fn seen_last(&self, unit: &UnitName) -> Option<Seen> {
        let life = self.gauges.started(unit).max(self.restarted(unit));
        let mut remembered = self.remembered.lock().await;
        let (seen, of) = remembered.get_mut(unit)?.last.take()?;
        (of == life).then_some(seen)
    }

    /// When a restart that touched the unit was last over.
    fn restarted(&self, unit: &UnitName) -> Option<SystemTime> {
        let status = self.recovery.get()?.borrow().clone();
        last_ready(
            &status,
            std::slice::from_ref(unit),
            &self.tree,
            (self.clock)(),
        )
    }

    async fn read(&self, bound: &Bound, since: Option<SystemTime>) -> Option<Reading> {
        let (gauge, other) = match bound {
            Bound::Above { gauge, .. } | Bound::Grows { gauge, .. } | Bound::Still { gauge } => {
                (gauge, None)
            }
            Bound::Unfinished {
                begun, finished, ..
            } => (begun, Some(finished)),
        };
        let value = self.gauges.read(gauge, since).await.ok()?;
        let finished = match other {
            None => 0.0,
            Some(other) => self.gauges.read(other, since).await.ok()?,
        };
        Some(Reading { value, finished })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::executor::BoxFuture;
    use crate::rejuvenate::Gauge;

    /// Says what the test says, gauge by gauge.
    #[derive(Default)]
    struct Told(std::sync::Mutex<BTreeMap<String, f64>>);

    impl Gauges for Told {
        fn read<'a>(
            &'a self,
            gauge: &'a Gauge,
            _since: Option<SystemTime>,
        ) -> BoxFuture<'a, Result<f64, String>> {
            let told = self.0.lock().expect("whole").get(&gauge.words()).copied();
            Box::pin(std::future::ready(
                told.ok_or_else(|| "not told".to_owned()),
            ))
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
            BTreeMap::from([("a".into(), watches)]),
            Arc::new(RestartTree::empty()),
            Arc::clone(&told) as Arc<dyn Gauges>,
            Arc::new(SystemTime::now),
        );
        assert_eq!(watcher.look(&"b".into()).await, None);
        assert_eq!(watcher.units().count(), 1);
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
            assert_eq!(watcher.seen_last(&"a".into()).await, Some(seen));
            assert_eq!(watcher.seen_last(&"a".into()).await, None);
        }
    }
}
