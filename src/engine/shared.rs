//! What the engine's thread shares with those who ask how requests fared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rekindle_analysis::Analyzer;
use rekindle_model::{RequestType, UnixNanos};
use rekindle_recovery::{Cohort, CohortQuery, Fared, LiveTree, UnitName};

use super::mapping;

/// The analysis, behind a lock that is held for microseconds at a time: by the engine while it takes
/// a batch, by recovery's judge and the API while they look something up.
#[derive(Debug)]
pub(crate) struct Shared {
    analyzer: Mutex<Analyzer>,
    tree: LiveTree,
    exporter_lag_nanos: AtomicU64,
    /// Up to when everything that was received has been counted, in nanoseconds since 1970; 0 until
    /// the journal is replayed.
    counted_until: AtomicU64,
}

impl Shared {
    pub(crate) fn new(analyzer: Analyzer, tree: impl Into<LiveTree>) -> Self {
        Self {
            tree: tree.into(),
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

fn types_of(query: &CohortQuery) -> Vec<RequestType> {
    let types = query.request_types.iter();
    types.map(|text| parse_request_type(text)).collect()
}

impl Cohort for Shared {
    fn fared(&self, query: &CohortQuery) -> Fared {
        let counted_until = self.counted_until.load(Ordering::Relaxed);
        if counted_until == 0 {
            // The journal is being replayed: half a story is none.
            return Fared::seen(0, 0, SystemTime::UNIX_EPOCH);
        }
        let types = types_of(query);
        let complete_until = mapping::wall(UnixNanos(counted_until)) - self.exporter_lag();
        let (from, until) = (query.from.into(), query.until.into());
        // What isn't told yet is not missing.
        let told = self
            .analyzer()
            .told(&types, from, until, complete_until.into());
        Fared {
            ok: told.ok,
            bad: told.failed + told.missing(),
            missing: told.missing(),
            missing_error: told.missing_error(),
            unheard: told.unheard,
            complete_until,
        }
    }

    fn failed(&self, query: &CohortQuery) -> u64 {
        let types = types_of(query);
        let (_, failed) = self
            .analyzer()
            .fared(&types, query.from.into(), query.until.into());
        failed
    }

    fn fared_through(&self, query: &CohortQuery, unit: &UnitName) -> Option<Fared> {
        let tree = self.tree.now();
        let component = tree.selector(unit).and_then(mapping::component_of)?;
        let types = types_of(query);
        let (from, until) = (query.from.into(), query.until.into());
        let (ok, bad) = self
            .analyzer()
            .fared_through(&component, &types, from, until);
        Some(Fared::seen(ok, bad, query.until))
    }

    fn exporter_lag(&self) -> Duration {
        self.exporter_lag()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use rekindle_analysis::AnalysisConfig;
    use rekindle_model::{
        Intervention, InterventionKind, Resource, Selector, Shape, Span, SpanId, SpanKind, TraceId,
    };
    use rekindle_recovery::judge::{Judgement, Question, Strictness, Verdict, judge};

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

    fn second(second: u64) -> UnixNanos {
        UnixNanos::from_secs(1_000_000 + second)
    }

    /// How late telemetry comes.
    const LAG: Duration = Duration::from_secs(5);

    /// Homes and searches come ten a second each, searches not from 600 s to 640 s; a restart then ends at 641 s,
    /// after which so many of each ten searches come.
    struct Site {
        analyzer: Option<Analyzer>,
        tenth: u64,
        freed: u64,
    }

    impl Site {
        fn new(freed: u64) -> Self {
            Self {
                analyzer: Some(Analyzer::new(AnalysisConfig::default())),
                tenth: 0,
                freed,
            }
        }

        fn passes(&mut self, until: u64) {
            let analyzer = self.analyzer.as_mut().expect("an analyzer");
            while self.tenth < 10 * until {
                let at = second(0).plus(Duration::from_millis(100 * self.tenth));
                let now = at.plus(Duration::from_millis(5));
                analyzer.span(&span(2 * self.tenth, "home", at), now);
                let comes = match self.tenth {
                    ..6_000 => true,
                    6_000..6_410 => false,
                    _ => self.tenth % 10 < self.freed,
                };
                if comes {
                    analyzer.span(&span(2 * self.tenth + 1, "search", at), now);
                }
                analyzer.tick(now);
                self.tenth += 1;
            }
        }

        fn restart(&mut self) {
            let analyzer = self.analyzer.as_mut().expect("an analyzer");
            analyzer.intervene(Intervention {
                kind: InterventionKind::Restart,
                target: Selector(vec![("service.name".into(), "web".into())]),
                from: second(640),
                until: Some(second(641)),
                began: rekindle_model::Life::default(),
                ended_by: None,
                reference: "action-1".into(),
            });
        }

        /// What recovery is told when it is so late.
        fn fared(&mut self, operation: &str, from: u64, now: u64) -> Fared {
            let analyzer = self.analyzer.take().expect("an analyzer");
            let shared = Shared::new(analyzer, Arc::new(mapping::tests::tree()));
            shared.caught_up(mapping::wall(second(now)));
            shared.set_exporter_lag(LAG);
            let fared = shared.fared(&CohortQuery {
                request_types: vec![format!("web {operation}")],
                from: mapping::wall(second(from)),
                until: mapping::wall(second(now)),
            });
            let analyzer = shared.analyzer.into_inner();
            self.analyzer = Some(analyzer.unwrap_or_else(PoisonError::into_inner));
            fared
        }
    }

    #[test]
    fn requests_that_stopped_coming_are_bad_as_far_as_they_would_be_known_by_now() {
        let mut site = Site::new(10);
        site.passes(635);
        let searches = site.fared("search", 610, 635);
        assert_eq!((searches.ok, searches.bad), (0, searches.missing));
        // Ten a second, from 610 s to 630 s.
        assert!((190..=210).contains(&searches.missing), "{searches:?}");
        let homes = site.fared("home", 610, 635);
        assert_eq!((homes.ok, homes.bad, homes.missing), (250, 0, 0));
    }

    /// Each case: how many of ten are free after a restart, and what a judge says who asks every second for a minute.
    #[test]
    fn a_restart_that_leaves_some_hanging_is_no_cure() {
        use Verdict::{Cured, Helped, NotCured};
        const LAST: u64 = 700;
        for (freed, expected) in [
            (10, Cured),
            (7, Helped),
            (5, Helped),
            (1, NotCured),
            (0, NotCured),
        ] {
            let mut site = Site::new(freed);
            site.passes(640);
            let before = site.fared("search", 600, 640);
            site.restart();
            let said = (642..=LAST).find_map(|now| {
                site.passes(now);
                let judgement = judge(&Question {
                    before,
                    after: site.fared("search", 641, now),
                    baseline: 0.0,
                    strictness: Strictness::default(),
                    siblings: None,
                    probed: None,
                    probes_in_a_row: 5,
                    by_probe: false,
                    has_fault: true,
                    deadline: now == LAST,
                });
                match judgement {
                    Judgement::Decided { verdict, .. } => Some(verdict),
                    Judgement::Undecided(_) => None,
                }
            });
            assert_eq!(said, Some(expected), "{freed} of ten");
        }
    }
}
