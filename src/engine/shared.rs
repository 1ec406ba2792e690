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
                missing: 0,
                complete_until: SystemTime::UNIX_EPOCH,
            };
        }
        let types: Vec<RequestType> = query
            .request_types
            .iter()
            .map(|text| parse_request_type(text))
            .collect();
        let complete_until = mapping::wall(UnixNanos(counted_until)) - self.exporter_lag();
        let (from, until) = (query.from.into(), query.until.into());
        let analyzer = self.analyzer();
        let (ok, failed) = analyzer.fared(&types, from, until);
        // What isn't told yet is not missing.
        let missing = analyzer.missed(&types, from, until.min(complete_until.into()));
        Fared {
            ok,
            bad: failed + missing,
            missing,
            complete_until,
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
            missing: 0,
            complete_until: query.until,
        })
    }

    fn exporter_lag(&self) -> Duration {
        self.exporter_lag()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_analysis::AnalysisConfig;
    use rekindle_model::{Resource, Shape, Span, SpanId, SpanKind, TraceId};

    fn span(number: u64, operation: &str, at: UnixNanos) -> Span {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Span {
            trace_id: TraceId::from_bytes(id).expect("an id"),
            span_id: SpanId::from_bytes([1; 8]).expect("an id"),
            parent_id: None,
            parent_is_remote: None,
            start: at,
            end: at.plus(Duration::from_millis(5)),
            shape: Arc::new(Shape {
                kind: SpanKind::Server,
                name: operation.into(),
                resource: Arc::new(Resource {
                    service: "web".into(),
                    ..Resource::default()
                }),
                ..Shape::default()
            }),
            links: Box::default(),
        }
    }

    #[test]
    fn requests_that_stopped_coming_are_bad_as_far_as_they_would_be_known_by_now() {
        let mut analyzer = Analyzer::new(AnalysisConfig::default());
        let second = |second: u64| UnixNanos::from_secs(1_000_000 + second);
        // A request of each kind in each tenth of a second; searches stop after ten minutes.
        for tenth in 0..6_600 {
            let at = second(0).plus(Duration::from_millis(100 * tenth));
            let now = at.plus(Duration::from_millis(5));
            analyzer.span(&span(2 * tenth, "home", at), now);
            if tenth < 6_000 {
                analyzer.span(&span(2 * tenth + 1, "search", at), now);
            }
            analyzer.tick(now);
        }
        let tree = Arc::new(mapping::tests::tree());
        let shared = Shared::new(analyzer, tree);
        shared.caught_up(mapping::wall(second(660)));
        shared.set_exporter_lag(Duration::from_secs(10));
        let fared = |operation: &str| {
            shared.fared(&CohortQuery {
                request_types: vec![format!("web {operation}")],
                from: mapping::wall(second(610)),
                until: mapping::wall(second(660)),
            })
        };
        let searches = fared("search");
        assert_eq!((searches.ok, searches.bad), (0, searches.missing));
        // Ten a second, from 610 s to 650 s.
        assert!((300..=400).contains(&searches.missing), "{searches:?}");
        let homes = fared("home");
        assert_eq!((homes.ok, homes.bad, homes.missing), (500, 0, 0));
    }
}
