//! Two heaps of traces, before and with a fault: what would be ranked?
//!
//! The same reading, counting and ranking as online, without detection: somebody names the window,
//! so nothing need be noticed. Traces are put on a time line of their own, the window's after the
//! baseline's, since recorded heaps may come from any days and in any order; durations and the order
//! within a trace stay.

use std::time::Duration;

use rekindle_model::{Span, Trace, UnixNanos};

use crate::rank::Input;
use crate::{AnalysisConfig, Analyzer};

/// Where the time line begins. Any time will do that leaves room on both sides.
const BEGINNING: UnixNanos = UnixNanos::from_secs(1_000_000_000);
/// The distance of one trace's start from the next one's: a thousand share a slice of a second, so
/// that slices are few.
const SPACING: Duration = Duration::from_millis(1);

/// The input of a ranking of what fails or changed in `window`, compared with `baseline`.
pub fn input_of(config: &AnalysisConfig, baseline: &[Trace], window: &[Trace]) -> Input {
    let mut analyzer = Analyzer::new(unbounded(config));
    let mut now = BEGINNING;
    for trace in baseline {
        tell(&mut analyzer, trace, &mut now);
    }
    // On a slice's boundary, so that no slice holds both.
    let slice = (config.slice.as_nanos() as u64).max(1);
    let since = UnixNanos((now.0 / slice + 1) * slice);
    now = since;
    for trace in window {
        tell(&mut analyzer, trace, &mut now);
    }
    analyzer.input_between(&[], since, now)
}

/// An incident must not open, since none is asked about and the baseline is learned outside of
/// incidents only; and nothing may fall out of the window.
fn unbounded(config: &AnalysisConfig) -> AnalysisConfig {
    AnalysisConfig {
        requests_between_false_alarms: f64::MAX,
        window: Duration::from_secs(365 * 24 * 3_600),
        max_records: usize::MAX,
        ..config.clone()
    }
}

fn tell(analyzer: &mut Analyzer, trace: &Trace, now: &mut UnixNanos) {
    *now = now.plus(SPACING);
    let first = trace.spans()[0].start;
    let spans: Vec<Span> = trace
        .spans()
        .iter()
        .map(|span| Span {
            start: now.plus(span.start.since(first)),
            end: now.plus(span.end.since(first)),
            ..span.clone()
        })
        .collect();
    if let Ok(moved) = Trace::new(spans, trace.reason()) {
        // A root below which clocks differ may begin late; the trace's own first span doesn't.
        analyzer.trace(&moved, *now);
    }
}
