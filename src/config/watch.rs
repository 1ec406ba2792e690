//! What a unit's figures must keep to, as it is written: see `rekindle_recovery::watch`.

use std::time::Duration;

use rekindle_recovery::rejuvenate::Gauge;
use rekindle_recovery::watch::{Bound, Watch};
use rekindle_recovery::{ExecutorSpec, UnitName};

use super::quantity;
use super::reader::{Read, Reader, Section};
use super::rejuvenate::DEFAULT_TIMEOUT;
use super::{document::Node, document::Value};

/// How long something is out of bounds before it is a fault when nobody says so: longer than a collection
/// of garbage, a burst of requests or a warm-up's spike mostly take.
const DEFAULT_LASTS: Duration = Duration::from_secs(10);

/// A unit's watches. The kernel tells of processes that Rekindle supervises, and of no others.
pub(super) fn watches(
    unit: &Section<'_>,
    name: &UnitName,
    executor: Option<&ExecutorSpec>,
) -> Vec<Watch> {
    let Some(section) = unit.section("watch", "unit.watch") else {
        return Vec::new();
    };
    let is_supervised = matches!(executor, Some(ExecutorSpec::Process(_)));
    for key in ["memory", "cpu", "open_files"] {
        if !is_supervised && let Some(node) = section.node(key) {
            let wrong = "is known of units with `process` only";
            section.complain(key, node.at, wrong);
        }
    }
    let of = || name.clone();
    let watches = [
        above(
            &section,
            "memory",
            |r, n| r.bytes(n),
            |limit| Bound::Above {
                gauge: Gauge::Memory { of: of() },
                limit,
            },
        ),
        above(&section, "cpu", processors, |limit| Bound::Grows {
            gauge: Gauge::ProcessorTime { of: of() },
            limit,
        }),
        above(
            &section,
            "open_files",
            |r, n| r.number(n),
            |limit| Bound::Above {
                gauge: Gauge::OpenFiles { of: of() },
                limit,
            },
        ),
        still(&section, name),
        unfinished(&section, name),
    ];
    section.close();
    watches.into_iter().flatten().collect()
}

fn lasts(section: &Section<'_>) -> Duration {
    section
        .read("for", Reader::duration)
        .unwrap_or(DEFAULT_LASTS)
}

/// `{ above: LIMIT, for: TIME }`.
fn above(
    parent: &Section<'_>,
    key: &'static str,
    level: fn(&Reader<'_>, &Node) -> Read<f64>,
    bound: impl FnOnce(f64) -> Bound,
) -> Option<Watch> {
    let section = parent.section(key, kind(key))?;
    let limit = section.read("above", level);
    let limit = section.required("above", limit, "the most that it may be");
    let lasts = lasts(&section);
    section.close();
    limit.map(|limit| Watch {
        bound: bound(limit),
        lasts,
    })
}

const fn kind(key: &'static str) -> &'static str {
    match key.as_bytes() {
        b"memory" => "unit.watch.memory",
        b"cpu" => "unit.watch.cpu",
        _ => "unit.watch.open_files",
    }
}

/// `{ gauge: NAME, for: TIME }` or `{ http: URL, for: TIME }`.
fn still(parent: &Section<'_>, unit: &UnitName) -> Option<Watch> {
    let section = parent.section("still", "unit.watch.still")?;
    let gauge = section.node("gauge").map(|_| told(&section, "gauge", unit));
    let http = section.node("http").map(|_| {
        let url = section.read("http", Reader::url)?;
        let timeout = DEFAULT_TIMEOUT;
        Some(Gauge::Http { url, timeout })
    });
    let lasts = section.read("for", Reader::some_time);
    let lasts = section.required("for", lasts, "how long it may stand still");
    let mut ways = [gauge, http].into_iter().flatten();
    let gauge = ways.next();
    if gauge.is_none() || ways.next().is_some() {
        section.complain_about_itself("needs exactly one of `gauge` and `http`");
    }
    section.close();
    Some(Watch {
        bound: Bound::Still { gauge: gauge?? },
        lasts: lasts?,
    })
}

/// `{ begun: NAME, finished: NAME, above: LIMIT, for: TIME }`.
fn unfinished(parent: &Section<'_>, unit: &UnitName) -> Option<Watch> {
    let section = parent.section("unfinished", "unit.watch.unfinished")?;
    let begun = told(&section, "begun", unit);
    let begun = section.required("begun", begun, "the gauge that counts what was begun");
    let finished = told(&section, "finished", unit);
    let finished = section.required("finished", finished, "the gauge that counts what ended");
    let limit = section.read("above", Reader::number);
    let limit = section.required("above", limit, "the most that may be under way");
    let lasts = lasts(&section);
    section.close();
    Some(Watch {
        bound: Bound::Unfinished {
            begun: begun?,
            finished: finished?,
            limit: limit?,
        },
        lasts,
    })
}

/// What the unit tells under this name in its heartbeats.
fn told(section: &Section<'_>, key: &'static str, unit: &UnitName) -> Option<Gauge> {
    let name = section.read(key, Reader::filled_text)?;
    let unit = unit.clone();
    Some(Gauge::Heartbeat { unit, name })
}

/// Processors that are kept busy: `0.9`, or `90%` of one; several may be.
fn processors(reader: &Reader<'_>, node: &Node) -> Read<f64> {
    let busy = match &node.value {
        Value::Text(text) => quantity::percent(text)?,
        _ => reader.number(node)?,
    };
    if busy <= 0.0 {
        return Err("expected more than nothing, as in 90%".to_owned());
    }
    Ok(busy)
}
