//! Labelled traces, of public sets and our own: of each case the traces from before the fault and with it, and the truth.
//!
//! A folder holds sets, each in its own layout with a `manifest.json`, or a `case.json` per case of our own ([`Set`]). Everything that is
//! peculiar to a set is dealt with in its loader, so that what comes out is traces as our own
//! receivers would have put them together, and no method can know from which set they are. What
//! can't be read is counted and skipped; a case of which nothing is left says so.

mod manifest;
mod nezha;
mod recorded;
mod shapleyiq;
pub(crate) mod spans;
mod tracerca;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rekindle_model::{Intervention, Trace};
use serde::{Deserialize, Serialize};

pub use manifest::CaseInfo;
pub use recorded::{CULPRIT_LEVELS, INCIDENT, INTERVENTIONS, MANIFEST, TREE};

/// A public set whose layout is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// Nezha (FSE 2023): Online Boutique and Train Ticket, no status codes.
    Nezha,
    /// TraceRCA (IWQoS 2021): Train Ticket, edges without ids.
    TraceRca,
    /// ShapleyIQ (ASPLOS 2023): Train Ticket, Jaeger JSON.
    ShapleyIq,
    /// Own cases: what people recorded with Rekindle, a folder each (`public/recorded.rs`).
    Recorded,
}

impl Set {
    /// Every set there is.
    pub const ALL: [Self; 4] = [Self::Nezha, Self::TraceRca, Self::ShapleyIq, Self::Recorded];

    /// Its name, which is its folder's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nezha => "nezha",
            Self::TraceRca => "tracerca",
            Self::ShapleyIq => "shapleyiq",
            Self::Recorded => "recorded",
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that no set has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no set is called {name:?}; there are {}", Set::ALL.map(Set::as_str).join(", "))]
pub struct UnknownSet {
    name: String,
}

impl FromStr for Set {
    type Err = UnknownSet;

    fn from_str(name: &str) -> Result<Self, UnknownSet> {
        let named = Self::ALL.into_iter().find(|set| set.as_str() == name);
        named.ok_or_else(|| UnknownSet {
            name: name.to_owned(),
        })
    }
}

/// Why a set or a case can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PublicError {
    /// A file could not be read.
    #[error("failed reading `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A manifest has another form than its set's.
    #[error("`{path}` is no manifest of labelled cases")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The spans of an own case can't be read.
    #[error("failed reading the spans of case `{case}`")]
    Recorded {
        /// The case.
        case: String,
        /// Why.
        source: Box<rekindle_store::StoreError>,
    },
    /// No trace could be read from a case's files.
    #[error("case `{case}` has no readable trace {when} its fault")]
    NoTraces {
        /// The case.
        case: String,
        /// `before` or `with`.
        when: &'static str,
    },
}

/// The traces of one case.
#[derive(Debug, Default)]
pub struct LabelledTraces {
    /// From before the fault, or from elsewhere without it.
    pub baseline: Vec<Trace>,
    /// With the fault.
    pub window: Vec<Trace>,
    /// Lines, rows or traces that could not be read.
    pub unreadable: u64,
    /// What was done to the system meanwhile: what overlaps it is left out.
    pub interventions: Vec<Intervention>,
}

/// The sets that are in this folder.
pub fn sets_in(folder: &Path) -> Vec<Set> {
    let mut sets = Set::ALL.to_vec();
    sets.retain(|set| {
        let folder = folder.join(set.as_str());
        match set {
            Set::Recorded => recorded::is_set(&folder),
            _ => folder.join("manifest.json").is_file(),
        }
    });
    sets
}

/// The cases that a set's manifest names.
///
/// # Errors
/// When the manifest can't be read.
pub fn cases(folder: &Path, set: Set) -> Result<Vec<CaseInfo>, PublicError> {
    let folder = folder.join(set.as_str());
    match set {
        Set::Recorded => recorded::cases(&folder),
        _ => manifest::read(&folder.join("manifest.json")),
    }
}

/// Reads the traces of one case.
///
/// # Errors
/// When one of its files can't be read, or nothing is in them.
pub fn load(folder: &Path, set: Set, case: &CaseInfo) -> Result<LabelledTraces, PublicError> {
    let folder = folder.join(set.as_str());
    let traces = match set {
        Set::Nezha => nezha::load(&folder, case)?,
        Set::TraceRca => tracerca::load(&folder, case)?,
        Set::ShapleyIq => shapleyiq::load(&folder, case)?,
        Set::Recorded => recorded::load(&folder, case)?,
    };
    for (part, when) in [(&traces.baseline, "before"), (&traces.window, "with")] {
        if part.is_empty() {
            return Err(PublicError::NoTraces {
                case: case.id.clone(),
                when,
            });
        }
    }
    Ok(traces)
}

/// The bytes of a file, unpacked when its name ends in `.gz`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PublicError> {
    let failed = |source| PublicError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(failed)?;
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len() * 8);
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut plain)
        .map_err(failed)?;
    Ok(plain)
}
