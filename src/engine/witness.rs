//! What was seen of a unit in an incident, written down before its restart: the ranking's sentences,
//! and some requests as they went. Traces are in memory for minutes, and a post-mortem comes later.

use std::fmt::Write as _;
use std::sync::Arc;

use rekindle_analysis::Analyzer;
use rekindle_model::{Outcome, TraceId};
use rekindle_recovery::prepare::Witness;
use tokio::sync::watch;

use super::publish;
use super::shared::Shared;
use crate::view::{IncidentView, SpanView, View};

/// Suspects that are told of.
const SUSPECTS: usize = 5;

/// Example traces of the first suspect, of each kind, that are written down.
const TRACES: usize = 3;

/// Spans of each that are written down.
const SPANS: usize = 200;

/// Tells what the engine's last snapshot and the analysis know.
pub(crate) fn witness(shared: &Arc<Shared>, view: &watch::Receiver<Arc<View>>) -> Witness {
    let (shared, view) = (Arc::clone(shared), view.clone());
    Arc::new(move |_unit, incident| {
        let view = view.borrow().clone();
        let incident = view
            .incidents
            .iter()
            .find(|known| Some(known.id) == incident);
        incident.map_or(String::new(), |incident| tell(incident, &shared.analyzer()))
    })
}

fn tell(incident: &IncidentView, analyzer: &Analyzer) -> String {
    let mut text = format!(
        "incident {} since {}: {}\n",
        incident.id,
        incident.since,
        incident.request_types.join(", ")
    );
    let suspects = incident
        .ranking
        .iter()
        .flat_map(|ranking| &ranking.suspects);
    for suspect in suspects.clone().take(SUSPECTS) {
        let _ = writeln!(text, "suspect {}: {}", suspect.rank, suspect.sentence);
    }
    let first = suspects.take(1);
    for (kind, ids) in first.flat_map(|suspect| {
        [
            ("failed", &suspect.examples_failed),
            ("went well", &suspect.examples_ok),
        ]
    }) {
        for id in ids.iter().take(TRACES) {
            let known = id.parse::<TraceId>().ok();
            let Some(trace) = known.and_then(|id| analyzer.example(id)) else {
                continue;
            };
            let shown = publish::trace(trace, String::new(), Outcome::Unknown);
            let _ = writeln!(text, "\ntrace {id}, which {kind}, from {}", shown.began);
            for span in shown.spans.iter().take(SPANS) {
                text.push_str(&line(span));
            }
        }
    }
    text
}

fn line(span: &SpanView) -> String {
    let failed = match (&span.error, span.failed) {
        (Some(error), _) => format!(" FAILED: {error}"),
        (None, true) => " FAILED".to_owned(),
        (None, false) => String::new(),
    };
    format!(
        "{:>10.1} ms {:>10.1} ms  {}{} {}{failed}\n",
        span.offset_us as f64 / 1000.0,
        span.duration_us as f64 / 1000.0,
        "  ".repeat(span.depth),
        span.service,
        span.operation,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{RankingView, SuspectView};

    #[test]
    fn it_says_who_was_suspected_and_how_requests_went() {
        let incident = IncidentView {
            id: 7,
            request_types: vec!["web GET /".to_owned()],
            ranking: Some(RankingView {
                suspects: vec![SuspectView {
                    rank: 1,
                    sentence: "catalog raises it".to_owned(),
                    examples_failed: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
                    ..SuspectView::default()
                }],
                ..RankingView::default()
            }),
            ..IncidentView::default()
        };
        let analyzer = Analyzer::new(rekindle_analysis::AnalysisConfig::default());
        let text = tell(&incident, &analyzer);
        assert!(text.starts_with("incident 7 since "), "{text}");
        assert!(
            text.ends_with(": web GET /\nsuspect 1: catalog raises it\n"),
            "{text}"
        );
        let span = SpanView {
            depth: 1,
            service: "catalog".to_owned(),
            operation: "search".to_owned(),
            offset_us: 1500,
            duration_us: 20_250,
            failed: true,
            error: Some("Corrupt".to_owned()),
            ..SpanView::default()
        };
        assert_eq!(
            line(&span),
            "       1.5 ms       20.2 ms    catalog search FAILED: Corrupt\n"
        );
    }
}
