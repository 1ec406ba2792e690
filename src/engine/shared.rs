//! What the engine's thread shares with those who ask how requests fared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rekindle_analysis::Analyzer;
use rekindle_model::{RequestType, UnixNanos};
use rekindle_recovery::{Cohort, CohortQuery, Fared, RestartTree, UnitName};

use super::mapping;

/// The analysis, behind a lock that is held for microseconds at a time: by the engine while it takes
/// a batch, by recovery's judge and the API while they look something up.
#[derive(Debug)]
pub(crate) struct Shared {
    analyzer: Mutex<Analyzer>,
    tree: Arc<RestartTree>,
    exporter_lag_nanos: AtomicU64,
    /// Up to when everything that was received has been counted, in nanoseconds since 1970; 0 until
    /// the journal is replayed.
    counted_until: AtomicU64,
}

impl Shared {
    pub(crate) fn new(analyzer: Analyzer, tree: Arc<RestartTree>) -> Self {
        Self {
            tree,
            analyzer: Mutex::new(analyzer),
            exporter_lag_nanos: AtomicU64::new(0),
            counted_until: AtomicU64::new(0),
        }
    }

    /// The analysis. A panic elsewhere while it was held leaves counts at worst one span short.
    pub(crate) fn analyzer(&self) -> MutexGuard<'_, Analyzer> {
        self.analyzer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How late spans usually come, learned by the assembler.
    pub(crate) fn exporter_lag(&self) -> Duration {
        Duration::from_nanos(self.exporter_lag_nanos.load(Ordering::Relaxed))
    }

    /// Everything that was received before this time has been counted.
    pub(crate) fn caught_up(&self, until: SystemTime) {
        let until = UnixNanos::from(until);
        self.counted_until.fetch_max(until.0, Ordering::Relaxed);
    }

    pub(crate) fn set_exporter_lag(&self, lag: Duration) {
        let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        self.exporter_lag_nanos.store(nanos, Ordering::Relaxed);
    }
}

/// The type that [`RequestType`]'s text names: a service has no space in its name, or the first
/// space ends it.
pub(crate) fn parse_request_type(text: &str) -> RequestType {
    let (service, operation) = text.split_once(' ').unwrap_or((text, ""));
    RequestType {
        service: service.into(),
        operation: operation.into(),
    }
}

impl Cohort for Shared {
    fn fared(&self, query: &CohortQuery) -> Fared {
        let counted_until = self.counted_until.load(Ordering::Relaxed);
        if counted_until == 0 {
            // The journal is being replayed: half a story is none.
            return Fared {
                ok: 0,
                bad: 0,
                complete_until: SystemTime::UNIX_EPOCH,
            };
        }
        let types: Vec<RequestType> = query
            .request_types
            .iter()
            .map(|text| parse_request_type(text))
            .collect();
        let (ok, bad) = self
            .analyzer()
            .fared(&types, query.from.into(), query.until.into());
        Fared {
            ok,
            bad,
            complete_until: mapping::wall(UnixNanos(counted_until)) - self.exporter_lag(),
        }
    }

    fn fared_through(&self, query: &CohortQuery, unit: &UnitName) -> Option<Fared> {
        let component = self.tree.selector(unit).and_then(mapping::component_of)?;
        let types: Vec<RequestType> = query
            .request_types
            .iter()
            .map(|text| parse_request_type(text))
            .collect();
        let (from, until) = (query.from.into(), query.until.into());
        let (ok, bad) = self
            .analyzer()
            .fared_through(&component, &types, from, until);
        Some(Fared {
            ok,
            bad,
            complete_until: query.until,
        })
    }

    fn exporter_lag(&self) -> Duration {
        self.exporter_lag()
    }
}
