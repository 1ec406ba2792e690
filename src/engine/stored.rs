//! Where is a trace that the engine doesn't remember?
//!
//! In the span store, and what isn't there yet, in the journal. It is put together as if it came now, and shown like
//! any other; how it ended isn't judged, because what was usual then isn't known any more.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_ingest::{DecodeContext, KeepAttributes};
use rekindle_model::{Outcome, ReleaseReason, Trace, TraceId};
use rekindle_store::{Store, StoredSpan, spans_of, trace_in_journal};

use super::publish;
use crate::api::{Problem, ProblemKind};
use crate::view::TraceView;

/// Finds traces in the store and the journal.
#[derive(Clone, Debug)]
pub(crate) struct StoredTraces {
    store: Arc<Store>,
    journal_dir: PathBuf,
}

impl StoredTraces {
    pub(crate) fn new(store: Arc<Store>, journal_dir: PathBuf) -> Self {
        Self { store, journal_dir }
    }

    /// The trace of this id, if any of its spans is kept.
    ///
    /// # Errors
    ///
    /// If store or journal can't be read: then nobody knows whether it is kept.
    pub(crate) async fn find(&self, id: TraceId) -> Result<Option<TraceView>, Problem> {
        let own = self.clone();
        let found = tokio::task::spawn_blocking(move || own.read(id)).await;
        let error = match found {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        };
        tracing::warn!(trace = %id, error, "a stored trace could not be read");
        Err(Problem::new(
            ProblemKind::Internal,
            format!(
                "trace {id} could not be looked for in the span store and the journal: {error}"
            ),
        ))
    }

    fn read(&self, id: TraceId) -> anyhow::Result<Option<TraceView>> {
        // The journal first: what goes to the store meanwhile is then found twice, and not missed.
        let mut spans = trace_in_journal(&self.journal_dir, id)?;
        spans.extend(self.store.trace(id)?);
        let Some(trace) = trace_of(&spans)? else {
            return Ok(None);
        };
        let entry = &trace.spans()[trace.root().unwrap_or(0)];
        let request_type = format!("{} {}", entry.resource.service, entry.name);
        let mut view = publish::trace(&trace, request_type, Outcome::Unknown);
        view.note = "from the span store; how it ended is not judged".to_owned();
        Ok(Some(view))
    }
}

fn trace_of(stored: &[StoredSpan]) -> anyhow::Result<Option<Trace>> {
    if stored.is_empty() {
        return Ok(None);
    }
    let mut context = DecodeContext::new(&KeepAttributes::default());
    let mut spans = spans_of(stored, &mut context)?;
    spans.sort_by_key(|span| (span.span_id, span.start));
    spans.dedup_by(|a, b| a == b);
    Ok(Trace::new(spans, ReleaseReason::Flush).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_is_not_said_to_be_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("store");
        let store = Arc::new(Store::at(place.to_str().expect("UTF-8")).expect("a store"));
        let id = TraceId::from_bytes([7; 16]).expect("an id");
        let journal = folder.path().join("journal");
        std::fs::write(&journal, "no folder").expect("written");
        let traces = StoredTraces::new(store, journal);
        let problem = traces.find(id).await.expect_err("unreadable");
        assert_eq!(problem.status, 500);
    }
}
