//! Traces from files, for people who wait.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rekindle_ingest::KeepAttributes;
use rekindle_model::{Intervention, InterventionKind};
use rekindle_store::Recorded;

use super::Failure;
use super::store::Progress;
use crate::view::InterventionView;

/// The traces of all these, together, with these attributes besides the usual ones.
pub(super) fn recorded(inputs: &[PathBuf], keep: &KeepAttributes) -> Result<Recorded, Failure> {
    let mut progress = Progress::new("read");
    Ok(rekindle_store::recorded(inputs, keep, |spans| {
        progress.add(spans)
    })?)
}

/// What was done to the system, as the API lists it; nothing without a file.
pub(super) fn interventions(file: Option<&Path>) -> Result<Vec<Intervention>, Failure> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("reading the interventions in {}", file.display()))?;
    let listed: Vec<InterventionView> = serde_json::from_str(&text).map_err(|error| {
        Failure::Usage(format!(
            "{} is no list of interventions as GET /api/v1/interventions gives it: {error}",
            file.display()
        ))
    })?;
    let is_of_nothing =
        |it: &&InterventionView| it.target.is_empty() && it.kind != InterventionKind::Blind;
    if let Some(it) = listed.iter().find(is_of_nothing) {
        return Err(Failure::Usage(format!(
            "{}: the intervention {:?} has no target, and would set everything apart; only kind blind has none",
            file.display(),
            it.reference
        )));
    }
    let mut all: Vec<Intervention> = listed.iter().map(Into::into).collect();
    all.sort_by(|a, b| (a.from, &a.reference).cmp(&(b.from, &b.reference)));
    Ok(all)
}

/// Whether this is a folder of the store's, or one of its files.
pub(super) fn is_stored(path: &Path) -> bool {
    let begins = |path: &Path| -> io::Result<bool> {
        let mut magic = [0; 4];
        io::Read::read_exact(&mut std::fs::File::open(path)?, &mut magic)?;
        Ok(&magic == b"PAR1")
    };
    path.is_dir() || begins(path).unwrap_or(false)
}
