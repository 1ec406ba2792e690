//! What is told live and what is read from a recording afterwards: is the ranking the same, to the byte?
//!
//! Live, spans come one by one, an incident is noticed and says when failures began; afterwards, somebody who knows
//! that moment and the failing types has the traces before and after in two heaps. Of a ranking its number, its
//! moment and its cut say which of both it is, and the traces that it shows are those that were still
//! remembered when it was made. All else is the same: who is suspected, how much, and every count and sentence.

use rekindle_model::{Trace, UnixNanos};

use super::{Fault, Site};
use crate::rank::{Method, rank};
use crate::{AnalysisConfig, Examples, Heap, Offline, Ranking};

/// Without what says where it was made, and the traces that are shown.
fn bytes(mut ranking: Ranking) -> String {
    for suspect in &mut ranking.suspects {
        suspect.examples = Examples::default();
        suspect.explanation.pairs.clear();
    }
    ranking.incident = 0;
    ranking.at = UnixNanos(0);
    ranking.cut = 0;
    serde_json::to_string_pretty(&ranking).expect("serializes")
}

/// When the slice begins that a request is counted in.
fn slice(trace: &Trace, config: &AnalysisConfig) -> u64 {
    let began = trace.spans().iter().map(|span| span.start.0).min();
    began.expect("spans") / config.slice.as_nanos() as u64
}

#[test]
fn a_recording_is_ranked_as_the_live_system_was() {
    for fault in [
        Fault::SearchRaises,
        Fault::CatalogTwoRaises,
        Fault::BiddingKilled,
        Fault::DatabaseDown,
        Fault::SearchAndAccounts,
    ] {
        let mut site = Site::new();
        let mut traces: Vec<Trace> = Vec::new();
        for at in 0..700 {
            let trace = site.make(if at < 600 { Fault::None } else { fault });
            site.take(&trace);
            traces.push(trace);
        }
        let config = AnalysisConfig::default();
        let incident = site.analyzer.incidents().last().expect("an incident");
        let live = site.ranking();
        assert!(!live.suspects.is_empty(), "{fault:?}");

        let since = incident.since.0 / config.slice.as_nanos() as u64;
        let (before, with): (Vec<&Trace>, Vec<&Trace>) = traces
            .iter()
            .partition(|trace| slice(trace, &config) < since);
        // The baseline's halves are those that the live system compares: by slices in which anything came.
        let mut slices: Vec<u64> = before.iter().map(|trace| slice(trace, &config)).collect();
        slices.dedup();
        let middle = slices[slices.len() / 2];
        let mut offline = Offline::new(&config);
        for trace in before {
            let heap = match slice(trace, &config) < middle {
                true => Heap::Earlier,
                false => Heap::Later,
            };
            offline.take(heap, trace.spans().to_vec());
        }
        for trace in with {
            offline.take(Heap::Window, trace.spans().to_vec());
        }
        let read = rank(
            Method::Default,
            &offline.input_about(&incident.request_types),
        );
        assert_eq!(bytes(live), bytes(read), "{fault:?}");
    }
}
