//! Own cases: what people recorded with Rekindle itself, a folder each.
//!
//! `recorded/NAME/` holds spans in any form that `rekindle analyze` reads (what `rekindle export` writes, folders of the span
//! store, what the Collector's file exporter writes), and a `case.json` that says what was wrong:
//!
//! ```json
//! {
//!   "system": "shop",
//!   "fault": "kill",
//!   "culprits": [{ "level": "service", "service": "cart" }],
//!   "since": "2026-11-21T10:30:00Z",
//!   "until": "2026-11-21T10:32:00Z"
//! }
//! ```
//!
//! Requests that began before `since` are the baseline, those from then until `until` (without it: all) have the fault. A
//! culprit that is a host or a dependency needs its `name` instead of a `service`; rankings are scored by services, whatever
//! the level of what was broken in one, and other levels may have a `name` for people.

use std::path::{Path, PathBuf};

use rekindle_analysis::Level;
use rekindle_ingest::KeepAttributes;
use rekindle_model::UnixNanos;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{CaseInfo, LabelledTraces, PublicError};

/// What says what was wrong.
pub(super) const MANIFEST: &str = "case.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    system: String,
    fault: String,
    culprits: Vec<Culprit>,
    #[serde(deserialize_with = "point_in_time")]
    since: UnixNanos,
    #[serde(default, deserialize_with = "some_point_in_time")]
    until: Option<UnixNanos>,
}

impl Manifest {
    /// What is missing would be scored as never found, and what lasts no time has no trace.
    fn checked(self) -> Result<Self, serde_json::Error> {
        if self.culprits.is_empty() {
            return Err(serde_json::Error::custom(
                "`culprits` is empty; name at least one",
            ));
        }
        if self.until.is_some_and(|until| until <= self.since) {
            return Err(serde_json::Error::custom("`until` must be after `since`"));
        }
        Ok(self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCulprit {
    level: Level,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// What was broken, by the name that rankings are scored by.
#[derive(Deserialize)]
#[serde(try_from = "RawCulprit")]
struct Culprit(String);

impl TryFrom<RawCulprit> for Culprit {
    type Error = String;

    fn try_from(raw: RawCulprit) -> Result<Self, String> {
        let (level, wanted, found) = match raw.level {
            Level::Host | Level::Dependency => (raw.level, "name", raw.name),
            _ => (raw.level, "service", raw.service),
        };
        let missing = || format!("a culprit that is a {level} needs its `{wanted}`");
        found.map(Self).ok_or_else(missing)
    }
}

/// When the fault was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    since: UnixNanos,
    until: Option<UnixNanos>,
}

fn point_in_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixNanos, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: Option<jiff::Timestamp> = text.parse().ok();
    let nanos = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
    nanos.map(UnixNanos).ok_or_else(|| {
        let wrong = format!("{text:?} is no time: write it as in 2026-11-21T10:30:00Z");
        serde::de::Error::custom(wrong)
    })
}

fn some_point_in_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<UnixNanos>, D::Error> {
    point_in_time(deserializer).map(Some)
}

/// The folders of cases, in order of their names.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, PublicError> {
    let mut found = entries(folder)?;
    found.retain(|path| path.join(MANIFEST).is_file());
    Ok(found)
}

/// What is in a folder, in order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, PublicError> {
    let failed = |source| PublicError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths = paths.collect::<Result<Vec<PathBuf>, PublicError>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether there is a case in it.
pub(super) fn is_set(folder: &Path) -> bool {
    folders(folder).is_ok_and(|found| !found.is_empty())
}

pub(super) fn cases(folder: &Path) -> Result<Vec<CaseInfo>, PublicError> {
    let found = folders(folder)?
        .into_iter()
        .map(|folder| -> Result<CaseInfo, PublicError> {
            let path = folder.join(MANIFEST);
            let manifest: Manifest = serde_json::from_slice(&super::read(&path)?)
                .and_then(Manifest::checked)
                .map_err(|source| PublicError::Manifest { path, source })?;
            let mut roots: Vec<String> = manifest
                .culprits
                .into_iter()
                .map(|culprit| culprit.0)
                .collect();
            roots.sort();
            roots.dedup();
            let name = folder.file_name().unwrap_or_default();
            Ok(CaseInfo {
                id: name.to_string_lossy().into_owned(),
                system: manifest.system,
                fault_type: manifest.fault,
                roots,
                recorded: Some(Fault {
                    since: manifest.since,
                    until: manifest.until,
                }),
                ..CaseInfo::default()
            })
        });
    found.collect()
}

pub(super) fn load(folder: &Path, case: &CaseInfo) -> Result<LabelledTraces, PublicError> {
    let mut inputs = entries(&folder.join(&case.id))?;
    inputs.retain(|path| path.file_name().is_none_or(|name| name != MANIFEST));
    let recorded = rekindle_store::recorded(&inputs, &KeepAttributes::default(), |_| ());
    let recorded = recorded.map_err(|source| PublicError::Recorded {
        case: case.id.clone(),
        source: Box::new(source),
    })?;
    let mut traces = LabelledTraces {
        unreadable: recorded.unreadable,
        ..LabelledTraces::default()
    };
    for trace in recorded.traces {
        let start = trace.spans()[0].start;
        match case.recorded {
            Some(fault) if start < fault.since => traces.baseline.push(trace),
            Some(fault) if fault.until.is_some_and(|until| start >= until) => {}
            _ => traces.window.push(trace),
        }
    }
    Ok(traces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localization::{Questions, judge};
    use crate::public::{Set, cases, sets_in};
    use rekindle_analysis::rank::Method;

    /// A shop asks its cart, and both say so to the Collector; a status code of 2 is an error.
    fn request(n: u64, second: u64, fails: bool) -> String {
        let status = if fails { r#","status":{"code":2}"# } else { "" };
        let start = 1_763_721_000 + second;
        let span = |service: &str, id: u64, parent: &str, kind: u8| {
            format!(
                r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{trace:032x}","spanId":"{span:016x}"{parent},"name":"GET /","kind":{kind},"startTimeUnixNano":"{start}000000000","endTimeUnixNano":"{start}050000000"{status}}}]}}]}}"#,
                trace = n + 1,
                span = id
            )
        };
        let shop = span("shop", 1, "", 2);
        let call = span("shop", 2, r#","parentSpanId":"0000000000000001""#, 3);
        let cart = span("cart", 3, r#","parentSpanId":"0000000000000002""#, 2);
        format!(r#"{{"resourceSpans":[{shop},{call},{cart}]}}"#)
    }

    fn write(folder: &Path, name: &str, manifest: &str) {
        let case = folder.join("recorded").join(name);
        std::fs::create_dir_all(&case).expect("a folder");
        std::fs::write(case.join(MANIFEST), manifest).expect("written");
        // One request a second, which fail from the second minute on for half a minute.
        let lines: Vec<String> = (0..100)
            .map(|n| request(n, n, (60..90).contains(&n)))
            .collect();
        let (before, with) = lines.split_at(50);
        std::fs::write(case.join("before.jsonl"), before.join("\n")).expect("written");
        std::fs::write(case.join("with.jsonl"), with.join("\n")).expect("written");
    }

    // The requests begin at 10:30:00.
    const MANIFEST_OF_CART: &str = r#"{"system": "shop", "fault": "kill", "culprits": [{"level": "service", "service": "cart"}],
        "since": "2025-11-21T10:31:00Z", "until": "2025-11-21T10:31:30Z"}"#;

    #[test]
    fn what_was_recorded_is_read_and_scored() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "cart-killed", MANIFEST_OF_CART);
        assert_eq!(sets_in(folder.path()), [Set::Recorded]);
        let cases = cases(folder.path(), Set::Recorded).expect("a case");
        assert_eq!((cases.len(), &*cases[0].id), (1, "cart-killed"));
        let questions = Questions {
            methods: vec![Method::Default],
            ..Questions::default()
        };
        let judged = judge(folder.path(), Set::Recorded, &[&cases[0]], &questions);
        let result = &judged.expect("judged").results[0];
        assert_eq!((result.traces, result.unreadable), ((60, 30), 0));
        assert!(result.hit(1) && result.answered, "{result:?}");
        assert_eq!(result.class(), "recorded shop kill");
    }

    #[test]
    fn a_manifest_says_what_it_should() {
        let folder = tempfile::tempdir().expect("a folder");
        let with = |from: &str, to: &str| {
            write(folder.path(), "one", &MANIFEST_OF_CART.replace(from, to));
            cases(folder.path(), Set::Recorded)
        };
        let dependency = r#""level": "dependency", "name": "postgres""#;
        let found = with(r#""level": "service", "service": "cart""#, dependency).expect("a case");
        assert_eq!(found[0].roots, ["postgres"]);
        for (from, to, told) in [
            ("2025-11-21T10:31:00Z", "at noon", "2026-11-21T10:30:00Z"),
            ("fault", "falt", "falt"),
            (r#""service": "cart""#, r#""name": "cart""#, "`service`"),
            (
                r#"[{"level": "service", "service": "cart"}]"#,
                "[]",
                "`culprits` is empty",
            ),
            ("10:31:30Z", "10:31:00Z", "must be after `since`"),
        ] {
            let error = with(from, to).expect_err(to);
            let source = std::error::Error::source(&error)
                .expect("a reason")
                .to_string();
            assert!(source.contains(told), "{to}: {source}");
        }
    }
}
