//! What the engine's thread shares with those who ask how requests fared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rekindle_analysis::Analyzer;
use rekindle_model::RequestType;
use rekindle_recovery::{Cohort, CohortQuery, Fared};

/// The analysis, behind a lock that is held for microseconds at a time: by the engine while it takes
/// a batch, by recovery's judge and the API while they look something up.
#[derive(Debug)]
pub(crate) struct Shared {
    analyzer: Mutex<Analyzer>,
    exporter_lag_nanos: AtomicU64,
}

impl Shared {
    pub(crate) fn new(analyzer: Analyzer) -> Self {
        Self {
            analyzer: Mutex::new(analyzer),
            exporter_lag_nanos: AtomicU64::new(0),
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
            complete_until: SystemTime::now() - self.exporter_lag(),
        }
    }
}
