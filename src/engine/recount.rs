//! What did an incident's ranking rest on? The journal up to its cut, counted once more as the engine did.
//!
//! An engine is what it began with, what came, and the beats of time between ([`super::course`]). The journal has all of it
//! as long as it reaches back to what that engine read first; where it doesn't, something that counted is gone, and
//! nothing is said instead of something else.

use std::path::Path;

use rekindle_analysis::rank::Input;
use rekindle_analysis::{AnalysisConfig, Analyzer, Incident};
use rekindle_ingest::assembly::{Assembler, AssemblerConfig};
use rekindle_ingest::journal::replay;
use rekindle_ingest::{DecodeContext, JournalError, KeepAttributes, Record};
use rekindle_model::UnixNanos;

use super::course::Course;
use super::told::{Beginning, Note, Told, read};
use crate::view::{IncidentView, RankingView, UtcTime};

/// Why a ranking can't be made again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecountError {
    /// A file can't be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Too old, or not kept.
    #[error(
        "the journal no longer holds all that this ranking rests on: it reaches back to position {reaches}, and {needs}. \
         `ingest.journal.keep` says how long it is kept: as long as an engine lives, for this"
    )]
    Forgotten {
        /// The first position that is there.
        reaches: u64,
        /// What is needed beside that, for people.
        needs: String,
    },
    /// The engine counted something that the journal lacks: it couldn't be written, or its clock was set.
    #[error(
        "what the journal holds up to position {cut} leads to another ranking than the one that was shown, so something \
         else counted as well: what could not be journaled, or a clock that was set"
    )]
    AnotherRanking {
        /// The ranking's cut.
        cut: u64,
    },
    /// Not the engine's configuration, or not its version.
    #[error(
        "the engine that made this ranking counted otherwise: it was another version, or its configuration has other \
         words under `analysis` or `assembly`, or units that match other attributes. Name its configuration with --config"
    )]
    OtherSettings,
    /// It is damaged, say.
    #[error(
        "what the journal holds up to position {cut} doesn't lead to this incident: a part of it may be damaged"
    )]
    NoSuchIncident {
        /// The ranking's cut.
        cut: u64,
    },
}

/// How is counted.
pub(crate) struct Counting {
    pub(crate) assembly: AssemblerConfig,
    pub(crate) analysis: AnalysisConfig,
    pub(crate) keep: KeepAttributes,
    /// All of it in words, as [`Beginning`] has it.
    pub(crate) settings: String,
}

/// What the ranking that is shown of an incident was drawn from.
///
/// # Errors
/// When the journal lacks something of it.
pub(crate) fn recount(
    journal: &Path,
    counting: Counting,
    incident: &IncidentView,
    shown: &RankingView,
) -> Result<Input, RecountError> {
    let (first, began) = beginning(journal, shown.cut)?;
    let Some((begins_at, began)) = began else {
        return Err(RecountError::Forgotten {
            reaches: first,
            needs: "the engine that made it began before".to_owned(),
        });
    };
    if began.settings != counting.settings {
        return Err(RecountError::OtherSettings);
    }
    if let Some(needs) = began.first.filter(|needs| *needs < first) {
        return Err(RecountError::Forgotten {
            reaches: first,
            needs: format!("the engine that made it read from position {needs} on"),
        });
    }
    let mut course = Course::new(Assembler::new(counting.assembly));
    let mut analyzer = Analyzer::new(counting.analysis);
    for restarted in &began.restarted {
        analyzer.intervene(restarted.clone());
    }
    let mut context = DecodeContext::new(&counting.keep);
    replay(journal, began.since, |record| {
        let (position, received_at) = (record.position, record.entry.received_at);
        if position > shown.cut {
            return;
        }
        // As the engine did where it read what was there at its beginning.
        let is_former = position < begins_at;
        let told = read(&record, &mut context);
        let Some(told) = told.filter(Told::concerns_requests) else {
            return;
        };
        if told.brings_time() {
            for beat in course.due(received_at) {
                course.pass(&mut analyzer, beat, |_| ());
            }
        }
        match told {
            Told::Spans(spans) => course.take(&mut analyzer, position, received_at, &spans),
            Told::Note(note) if is_former && note.is_of_one_life() => {}
            Told::Note(note) => course.take_note(&mut analyzer, position, received_at, *note),
        }
    })?;
    for beat in course.due(UnixNanos::from_millis(shown.at.as_millis())) {
        course.pass(&mut analyzer, beat, |_| ());
    }
    let all = analyzer
        .incidents()
        .iter()
        .chain(analyzer.masked_incidents());
    let mut newest = all.filter(|it| is_it(it, incident)).rev();
    let found = newest.next().map(|it| it.id);
    let input = found.and_then(|id| analyzer.input(id));
    input.ok_or(RecountError::NoSuchIncident { cut: shown.cut })
}

/// Types may have joined it since, and when it was noticed stays.
fn is_it(known: &Incident, shown: &IncidentView) -> bool {
    let of_it = |name: &String| known.request_types.iter().any(|it| it.to_string() == *name);
    known.masked == shown.masked
        && UtcTime::from(known.opened_at) == shown.opened
        && shown.request_types.iter().any(of_it)
}

/// The first position that the journal has, and the last beginning of an engine up to this cut with its position.
fn beginning(journal: &Path, cut: u64) -> Result<(u64, Option<(u64, Beginning)>), RecountError> {
    let mut first = None;
    let mut last = None;
    replay(journal, UnixNanos::default(), |record: Record| {
        first.get_or_insert(record.position);
        if record.position <= cut
            && let Some(note) = record.entry.as_note()
            && let Ok(Note::Began { began }) = serde_json::from_slice(note)
        {
            last = Some((record.position, began));
        }
    })?;
    Ok((first.unwrap_or_default(), last))
}
