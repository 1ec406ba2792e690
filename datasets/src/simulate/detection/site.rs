//! A request type in virtual time, watched by the whole analysis as the engine runs it. Beside it another type
//! of the same service comes steadily and never fails, so that its service is heard when it stops.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_analysis::{AnalysisConfig, Analyzer};
use rekindle_model::{Resource, Shape, Span, SpanId, SpanKind, Status, TraceId, UnixNanos};

use super::super::random::poisson;

/// How requests of the type come and fail, from the beginning of the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    /// Requests a second before the change.
    pub(super) rate: f64,
    /// The share that fails before the change.
    pub(super) usual: f64,
    /// In every hundredth second before the change, the share is so much instead: a burst.
    pub(super) burst: f64,
    /// The change.
    pub(super) change: Change,
}

/// What changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The share jumps.
    Jump(f64),
    /// The share rises to this over so many seconds.
    Ramp(f64, f64),
    /// No request comes any more.
    Stops,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Alarms before the change.
    pub(super) false_alarms: u64,
    /// From the change to the alarm: seconds, and requests. `None`: not noticed.
    pub(super) after: Option<(f64, u64)>,
}

/// Plays so many seconds before the change, and at most so many after it.
pub(super) fn play(traffic: &Traffic, before: u64, after: u64, random: &mut StdRng) -> Seen {
    let mut site = Site::new();
    let mut seen = Seen::default();
    let mut requests = 0;
    for second in 0..before + after {
        let since = second.checked_sub(before);
        let (rate, share) = now(traffic, since, random);
        for n in 0..poisson(random, rate) {
            let failed = random.random::<f64>() < share;
            site.request(second, n, failed);
            requests += u64::from(since.is_some());
        }
        let opened = site.tick(second);
        match since {
            None => seen.false_alarms += opened,
            Some(since) if opened > 0 => {
                seen.after = Some((since as f64 + 1.0, requests));
                return seen;
            }
            Some(_) => {}
        }
    }
    seen
}

/// The rate and the failure share of a second.
fn now(traffic: &Traffic, since: Option<u64>, random: &mut StdRng) -> (f64, f64) {
    let Some(since) = since else {
        let is_burst = random.random::<f64>() < 0.01;
        let share = if is_burst {
            traffic.burst
        } else {
            traffic.usual
        };
        return (traffic.rate, share);
    };
    match traffic.change {
        Change::None => (traffic.rate, traffic.usual),
        Change::Jump(share) => (traffic.rate, share),
        Change::Ramp(share, seconds) => {
            let part = (since as f64 / seconds).min(1.0);
            (traffic.rate, traffic.usual + part * (share - traffic.usual))
        }
        Change::Stops => (0.0, traffic.usual),
    }
}

/// Requests a second of the other type.
const OTHERS: u64 = 2;

struct Site {
    analyzer: Analyzer,
    other: Arc<Shape>,
    fine: Arc<Shape>,
    broken: Arc<Shape>,
    requests: u64,
}

impl Site {
    fn new() -> Self {
        let resource = Arc::new(Resource {
            service: "web".into(),
            ..Resource::default()
        });
        let shape = |name: &str, status| {
            Arc::new(Shape {
                kind: SpanKind::Server,
                name: name.into(),
                status,
                resource: Arc::clone(&resource),
                ..Shape::default()
            })
        };
        Self {
            analyzer: Analyzer::new(AnalysisConfig::default()),
            other: shape("GET /other", Status::Unset),
            fine: shape("GET /", Status::Unset),
            broken: shape("GET /", Status::Error),
            requests: 0,
        }
    }

    /// The `n`th request of a second.
    fn request(&mut self, second: u64, n: u64, failed: bool) {
        let shape = if failed { &self.broken } else { &self.fine };
        self.take(second, n, Arc::clone(shape));
    }

    fn take(&mut self, second: u64, n: u64, shape: Arc<Shape>) {
        self.requests += 1;
        let start = at(second).plus(Duration::from_millis(n.min(999)));
        let end = start.plus(Duration::from_millis(1));
        let (Some(trace_id), Some(span_id)) = (
            TraceId::from_bytes(u128::from(self.requests).to_be_bytes()),
            SpanId::from_bytes(self.requests.to_be_bytes()),
        ) else {
            return;
        };
        let span = Span {
            trace_id,
            span_id,
            parent_id: None,
            parent_is_remote: None,
            start,
            end,
            shape,
            links: Box::default(),
        };
        self.analyzer.span(&span, end);
    }

    /// Ends a second. How many incidents opened in it.
    fn tick(&mut self, second: u64) -> u64 {
        for n in 0..OTHERS {
            let shape = Arc::clone(&self.other);
            self.take(second, n, shape);
        }
        let changes = self.analyzer.tick(at(second + 1));
        let opened = changes
            .iter()
            .filter(|change| matches!(change, rekindle_analysis::Change::Opened(_)));
        opened.count() as u64
    }
}

fn at(second: u64) -> UnixNanos {
    UnixNanos::from_secs(1_000_000_000 + second)
}
