//! How does recovery learn what the engine knows, without the engine ever waiting for it?
//!
//! Recovery writes to its ledger before it goes on, and a disk can take seconds. The engine must not
//! wait for that: telemetry would pile up behind it. So the engine leaves evidence here, and a task of
//! its own brings it. Only the latest of each incident matters, since it replaces what was said
//! before; what is new while the task waits takes the place of what is old.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rekindle_recovery::Evidence;
use rekindle_recovery::service::Recovery;
use rekindle_recovery::tree::Inferred;
use tokio::sync::Notify;

/// Incidents whose evidence may wait. Recovery works on fewer at once; with more, everything fails at
/// once, and who comes later is told later: evidence is given again as long as an incident is open.
const WAITING: usize = 500;

/// Where evidence is left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Courier {
    bag: Arc<Bag>,
}

#[derive(Debug, Default)]
struct Bag {
    waiting: Mutex<BTreeMap<u64, Evidence>>,
    inferred: Mutex<Option<Inferred>>,
    filled: Notify,
}

impl Bag {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Evidence>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Courier {
    /// Leaves evidence in place of what waits of the same incident. Never waits. Whether there was
    /// room: an incident's end always has some.
    pub(crate) fn leave(&self, evidence: Evidence) -> bool {
        let mut waiting = self.bag.waiting();
        let has_room =
            evidence.closed || waiting.len() < WAITING || waiting.contains_key(&evidence.incident);
        if has_room {
            waiting.insert(evidence.incident, evidence);
            self.bag.filled.notify_one();
        }
        has_room
    }

    /// Leaves what was inferred of the tree, in place of what waits of it. Never waits.
    pub(crate) fn leave_inferred(&self, inferred: Inferred) {
        let waiting = self.bag.inferred.lock();
        *waiting.unwrap_or_else(PoisonError::into_inner) = Some(inferred);
        self.bag.filled.notify_one();
    }

    fn take_inferred(&self) -> Option<Inferred> {
        let waiting = self.bag.inferred.lock();
        waiting.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What waits, and nothing waits any more.
    fn take(&self) -> BTreeMap<u64, Evidence> {
        std::mem::take(&mut *self.bag.waiting())
    }

    /// Brings what is left here to recovery, until recovery has ended.
    pub(crate) async fn run(self, recovery: Recovery) {
        loop {
            self.bag.filled.notified().await;
            // First, as plans for the evidence go by it.
            if let Some(inferred) = self.take_inferred()
                && let Err(error) = recovery.infer(inferred).await
            {
                tracing::error!(%error, "recovery takes nothing that is inferred any more");
                return;
            }
            for evidence in self.take().into_values() {
                if let Err(error) = recovery.evidence(evidence).await {
                    tracing::error!(%error, "recovery takes no evidence any more");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rekindle_recovery::FaultSignature;

    use super::*;

    fn evidence(incident: u64, failing_per_second: f64, closed: bool) -> Evidence {
        Evidence {
            incident,
            at: SystemTime::UNIX_EPOCH,
            since: SystemTime::UNIX_EPOCH,
            signature: FaultSignature {
                request_types: Vec::new(),
                error_type: String::new(),
                shape: String::new(),
            },
            suspects: Vec::new(),
            baseline_failure_share: 0.0,
            failing_per_second,
            traffic: BTreeMap::new(),
            closed,
            joined_into: None,
            circumstances: rekindle_recovery::Circumstances::default(),
        }
    }

    #[test]
    fn the_latest_of_each_incident_waits() {
        let courier = Courier::default();
        for rate in 1..=1000 {
            assert!(courier.leave(evidence(7, f64::from(rate), false)));
        }
        assert!(courier.leave(evidence(8, 1.0, true)));
        let waiting: Vec<(u64, f64, bool)> = courier
            .take()
            .into_values()
            .map(|e| (e.incident, e.failing_per_second, e.closed))
            .collect();
        assert_eq!(waiting, [(7, 1000.0, false), (8, 1.0, true)]);
        assert!(courier.take().is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_an_end_is_not_lost() {
        let courier = Courier::default();
        for incident in 0..WAITING as u64 {
            assert!(courier.leave(evidence(incident, 1.0, false)));
        }
        assert!(!courier.leave(evidence(9999, 1.0, false)));
        assert!(courier.leave(evidence(0, 2.0, false)), "it is known");
        assert!(courier.leave(evidence(9999, 1.0, true)), "it is over");
        assert_eq!(courier.take().len(), WAITING + 1);
    }

    #[test]
    fn what_was_inferred_last_waits_beside_evidence() {
        let courier = Courier::default();
        let inferred = |unit: &str| Inferred {
            groups: Vec::new(),
            orders: vec![(unit.into(), "b".into())],
        };
        courier.leave_inferred(inferred("a"));
        courier.leave_inferred(inferred("c"));
        assert_eq!(courier.take_inferred(), Some(inferred("c")));
        assert_eq!(courier.take_inferred(), None);
    }
}
