//! `rekindle bench record`: an incident as a labelled case, which `rekindle bench localization` judges as a set of its own.
//!
//! What is known of it beside its spans is asked of the daemon, which remembers incidents; the spans come from the store,
//! since the analysis forgets them within minutes. The label is a person's word: no ranking may be its own truth.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rekindle_analysis::Level;
use rekindle_datasets::public::{CULPRIT_LEVELS, INCIDENT, INTERVENTIONS, MANIFEST, Set, TREE};
use rekindle_datasets::public::{PublicError, cases, load};
use rekindle_model::UnixNanos;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::RecordArgs;
use super::output::Output;
use super::store::{Progress, open, write_lines};
use super::{Failure, Terminal};
use crate::client::Client;
use crate::exit::Exit;
use crate::view::{IncidentView, UtcTime};

/// Spans come so late at most as long as anybody waits for them: an exporter's retries, and a hung request's end.
const LATE: Duration = Duration::from_secs(60);

/// What was written.
#[derive(Debug, Serialize)]
struct Recorded {
    folder: PathBuf,
    spans: usize,
    baseline_traces: usize,
    window_traces: usize,
}

/// Writes the case, and reads it again as the harness does.
pub(super) fn record(
    terminal: &mut Terminal,
    client: &Client,
    args: &RecordArgs,
) -> Result<Exit, Failure> {
    let culprits = culprits(&args.culprits)?;
    let is_name =
        |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
    if !is_name(&args.name) {
        return Err(Failure::Usage(format!(
            "{:?} is no name of a folder: leave out slashes, and dots at the beginning",
            args.name
        )));
    }
    let path = format!("/incidents/{}", args.incident);
    let incident: IncidentView = client.get(&path)?;
    if incident.masked || !incident.concerns_requests() {
        return Err(Failure::Usage(format!(
            "no user's request failed in incident {}, and the harness ranks by failed requests: there is nothing to judge",
            args.incident
        )));
    }
    let store = open(&args.store)?;
    let folder = args.into.join(Set::Recorded.as_str()).join(&args.name);
    std::fs::create_dir_all(folder.parent().unwrap_or(&folder))
        .and_then(|()| std::fs::create_dir(&folder))
        .with_context(|| format!("failed creating the case's folder `{}`", folder.display()))?;
    let written = Written {
        folder: &folder,
        keep: false,
    };
    let file = |name: &str, value: &Value| -> Result<(), Failure> {
        let text = format!("{value:#}\n");
        std::fs::write(folder.join(name), text)
            .with_context(|| format!("failed writing `{name}` in `{}`", folder.display()))?;
        Ok(())
    };
    let nanos = |time: UtcTime| UnixNanos::from(std::time::SystemTime::from(time));
    let mut manifest = json!({
        "system": args.system,
        "fault": args.fault,
        "culprits": culprits,
        "since": incident.since,
    });
    if let Some(closed) = incident.closed {
        manifest["until"] = json!(closed);
    }
    file(MANIFEST, &manifest)?;
    file(INCIDENT, &client.get::<Value>(&path)?)?;
    file(INTERVENTIONS, &client.get::<Value>("/interventions")?)?;
    file(TREE, &client.get::<Value>("/tree")?)?;
    let since = nanos(incident.since).minus(args.before);
    let until = incident
        .closed
        .map_or(UnixNanos(u64::MAX), |closed| nanos(closed).plus(LATE));
    let mut out = Output::to(Some(&folder.join("spans.jsonl")))?;
    let mut progress = Progress::new("recorded");
    let mut spans = 0;
    store.scan(since, until, |found| -> Result<(), Failure> {
        spans += found.len();
        progress.add(found.len());
        write_lines(&mut out, found)
    })?;
    out.finish()?;
    if spans == 0 {
        return Err(incomplete("the store has no spans of the incident's time"));
    }
    // As the harness will read it, so that what is wrong with it is said now.
    let known = cases(&args.into, Set::Recorded).map_err(anyhow::Error::from)?;
    let case = known.iter().find(|case| case.id == args.name);
    let case =
        case.ok_or_else(|| anyhow::anyhow!("the case that was written isn't found again"))?;
    let traces = load(&args.into, Set::Recorded, case).map_err(|error| match error {
        PublicError::NoTraces { .. } => incomplete(&error.to_string()),
        _ => anyhow::Error::from(error).into(),
    })?;
    written.keep();
    let recorded = Recorded {
        folder: folder.clone(),
        spans,
        baseline_traces: traces.baseline.len(),
        window_traces: traces.window.len(),
    };
    terminal.answer(&recorded, |terminal, recorded| {
        terminal.line(format!(
            "Written to {}: {} spans; {} traces from before, {} with the fault.",
            recorded.folder.display(),
            recorded.spans,
            recorded.baseline_traces,
            recorded.window_traces
        ))?;
        terminal.line(format!(
            "It is judged by `rekindle bench localization --data {} --set recorded`.",
            args.into.display()
        ))
    })?;
    Ok(Exit::Ok)
}

fn incomplete(why: &str) -> Failure {
    Failure::Usage(format!(
        "{why}, so nothing was written. What a running daemon received in the last minutes may still be in its journal: the \
         store gets it from there. Traces that are older than what the store keeps are gone"
    ))
}

/// The culprits as a case's file says them.
fn culprits(named: &[(String, String)]) -> Result<Vec<Value>, Failure> {
    let culprit = |(level, name): &(String, String)| {
        let known = CULPRIT_LEVELS.iter().find(|known| known.as_str() == level);
        let known = known.filter(|_| !name.is_empty()).ok_or_else(|| {
            Failure::Usage(format!(
                "{level}={name} is no culprit: write service=NAME, host=NAME or dependency=NAME"
            ))
        })?;
        let key = match known {
            Level::Service => "service",
            _ => "name",
        };
        Ok(json!({ "level": known, key: name }))
    };
    named.iter().map(culprit).collect()
}

/// A folder that goes again unless all of it is there.
struct Written<'a> {
    folder: &'a Path,
    keep: bool,
}

impl Written<'_> {
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(self.folder)
        {
            tracing::warn!(%error, folder = %self.folder.display(), "an unfinished case could not be removed");
        }
    }
}
