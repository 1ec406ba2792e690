//! What a set says about its cases: one form for all three public sets.

use std::path::Path;

use serde::Deserialize;

use super::PublicError;
use super::recorded::Fault;

/// What is known of one case beside its traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct CaseInfo {
    /// Its name within the set.
    pub id: String,
    /// The system that was broken.
    pub system: String,
    /// How it was broken.
    pub fault_type: String,
    /// The services that were broken; usually one.
    pub roots: Vec<String>,
    /// When, where the set says so (nanoseconds since the Unix epoch).
    pub(super) inject_unix_ns: Option<u64>,
    /// The same of every case of the set: their files overlap.
    pub(super) all_injections: Vec<u64>,
    pub(super) normal_files: Vec<String>,
    pub(super) faulty_files: Vec<String>,
    /// Of an own case: when its fault was there.
    pub(super) recorded: Option<Fault>,
}

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<CaseInfo>,
}

#[derive(Deserialize)]
struct Raw {
    id: String,
    #[serde(default)]
    system: Option<String>,
    fault_type: String,
    root_cause: RawRoot,
    #[serde(default)]
    inject_unix_ns: Option<u64>,
    normal_files: Vec<String>,
    faulty_files: Vec<String>,
}

#[derive(Deserialize)]
struct RawRoot {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    services: Vec<String>,
}

impl From<Raw> for CaseInfo {
    fn from(raw: Raw) -> Self {
        let mut roots = raw.root_cause.services;
        roots.extend(raw.root_cause.service);
        roots.sort();
        roots.dedup();
        Self {
            id: raw.id,
            system: raw.system.unwrap_or_else(|| "unknown".to_owned()),
            fault_type: raw.fault_type,
            roots,
            inject_unix_ns: raw.inject_unix_ns,
            all_injections: Vec::new(),
            normal_files: raw.normal_files,
            faulty_files: raw.faulty_files,
            recorded: None,
        }
    }
}

pub(super) fn read_manifest(bytes: &[u8]) -> Result<Vec<CaseInfo>, serde_json::Error> {
    let mut manifest: Manifest = serde_json::from_slice(bytes)?;
    let injections: Vec<u64> = manifest
        .cases
        .iter()
        .filter_map(|case| case.inject_unix_ns)
        .collect();
    for case in &mut manifest.cases {
        case.all_injections.clone_from(&injections);
    }
    Ok(manifest.cases)
}

pub(super) fn read(path: &Path) -> Result<Vec<CaseInfo>, PublicError> {
    read_manifest(&super::read(path)?).map_err(|source| PublicError::Manifest {
        path: path.to_owned(),
        source,
    })
}
