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
//!
//! `rekindle bench record` writes such a folder of an incident. What was done to the system meanwhile may lie beside it, as
//! `GET /api/v1/interventions` lists it (`interventions.json`): what overlaps it is left out. The incident as it was shown and
//! the restart tree (`incident.json`, `tree.json`) are for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rekindle_analysis::Level;
use rekindle_ingest::KeepAttributes;
use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector, UnixNanos};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{CaseInfo, LabelledTraces, PublicError};

/// What says what was wrong.
pub const MANIFEST: &str = "case.json";
/// What was done to the system.
pub const INTERVENTIONS: &str = "interventions.json";
/// The incident as it was shown.
pub const INCIDENT: &str = "incident.json";
/// The restart tree.
pub const TREE: &str = "tree.json";
/// Files of a case that hold no spans.
const BESIDE: [&str; 4] = [MANIFEST, INTERVENTIONS, INCIDENT, TREE];

/// What a culprit can be, as rankings are scored.
pub const CULPRIT_LEVELS: [Level; 3] = [Level::Service, Level::Host, Level::Dependency];

/// Something that was done, as far as it matters here.
#[derive(Deserialize)]
struct Done {
    kind: InterventionKind,
    #[serde(default)]
    target: BTreeMap<Name, Name>,
    #[serde(deserialize_with = "point_in_time")]
    from: UnixNanos,
    #[serde(default, deserialize_with = "maybe_point_in_time")]
    until: Option<UnixNanos>,
    #[serde(default)]
    reference: Name,
}

impl From<Done> for Intervention {
    fn from(done: Done) -> Self {
        Self {
            kind: done.kind,
            target: Selector(done.target.into_iter().collect()),
            from: done.from,
            until: done.until,
            began: Life::default(),
            ended_by: None,
            reference: done.reference,
        }
    }
}

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

/// The same where `null` says that it goes on.
fn maybe_point_in_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<UnixNanos>, D::Error> {
    #[derive(Deserialize)]
    struct Time(#[serde(deserialize_with = "point_in_time")] UnixNanos);
    let time: Option<Time> = Option::deserialize(deserializer)?;
    Ok(time.map(|time| time.0))
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
    let folder = folder.join(&case.id);
    let mut inputs = entries(&folder)?;
    inputs.retain(|path| {
        let mut beside = BESIDE.iter();
        !beside.any(|name| path.file_name().is_some_and(|it| it == *name))
    });
    let recorded = rekindle_store::recorded(&inputs, &KeepAttributes::default(), |_| ());
    let recorded = recorded.map_err(|source| PublicError::Recorded {
        case: case.id.clone(),
        source: Box::new(source),
    })?;
    let mut traces = LabelledTraces {
        unreadable: recorded.unreadable,
        interventions: interventions(&folder.join(INTERVENTIONS))?,
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

/// What was done to the system, where that is known.
fn interventions(path: &Path) -> Result<Vec<Intervention>, PublicError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let listed: Vec<Done> =
        serde_json::from_slice(&super::read(path)?).map_err(|source| PublicError::Manifest {
            path: path.to_owned(),
            source,
        })?;
    Ok(listed.into_iter().map(Into::into).collect())
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

    /// What a deployment shook is left out, and what people keep beside the spans is no trace.
    #[test]
    fn what_was_done_meanwhile_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "one", MANIFEST_OF_CART);
        let case = folder.path().join("recorded/one");
        for name in [INCIDENT, TREE] {
            std::fs::write(case.join(name), "{}").expect("written");
        }
        let of = |folder: &Path| {
            let cases = cases(folder, Set::Recorded).expect("a case");
            let questions = Questions {
                methods: vec![Method::Default],
                ..Questions::default()
            };
            let judged = judge(folder, Set::Recorded, &[&cases[0]], &questions);
            judged.map(|judged| judged.results[0].answered)
        };
        let done = |service: &str, until: &str| {
            let text = format!(
                r#"[{{"kind": "deployment", "target": {{"service.name": "{service}"}}, "from": "2025-11-21T10:31:00.000Z",
                "until": {until}, "reference": "7, told by ci", "id": "7", "by": "ci"}}]"#
            );
            std::fs::write(case.join(INTERVENTIONS), text).expect("written");
        };
        for (service, until, answered) in [
            ("cart", r#""2025-11-21T10:31:30Z""#, false),
            ("cart", "null", false),
            ("pay", "null", true),
        ] {
            done(service, until);
            assert_eq!(
                of(folder.path()).expect("judged"),
                answered,
                "{service} {until}"
            );
        }
        done("cart", "7");
        assert!(matches!(
            of(folder.path()),
            Err(PublicError::Manifest { .. })
        ));
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
