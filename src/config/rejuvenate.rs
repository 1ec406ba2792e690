//! Preventive restarts as they are written: each rule has units, and exactly one thing that calls for
//! them.

use std::time::Duration;

use rekindle_recovery::rejuvenate::rule::{
    DEFAULT_EVERY, DEFAULT_JITTER, DEFAULT_REST, DEFAULT_SETTLE,
};
use rekindle_recovery::rejuvenate::{Gauge, Levels, Order, Rule, Trigger};
use rekindle_recovery::{Kinds, RestartTree, UnitName, UnitSpec};

use super::document::{Node, Value};
use super::reader::{Read, Reader, Section};

/// How long a URL may take to tell a number when nobody says so.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// How far back a share of failures looks when nobody says so: long enough for some hundred requests of
/// a quiet service, short enough to be of now.
const DEFAULT_WITHIN: Duration = Duration::from_secs(60);

/// The words for [`Order`].
const ORDERS: [(&str, Order); 2] = [
    ("learned", Order::Learned),
    ("as_written", Order::AsWritten),
];

/// The rules under the key, checked against the tree.
pub(super) fn rules(
    section: &Section<'_>,
    key: &'static str,
    units: &[UnitSpec],
    kinds: &Kinds,
) -> Vec<Rule> {
    let tree = match units.is_empty() {
        true => Some(RestartTree::empty()),
        false => RestartTree::growing(units.to_vec(), kinds.clone()).ok(),
    };
    let mut rules: Vec<Rule> = Vec::new();
    for (path, node) in section.items(key) {
        let Some(item) = Section::open(section.reader, &path, "rejuvenate", node) else {
            continue;
        };
        if let Some(rule) = rule(&item) {
            if rules.iter().any(|other| other.name == rule.name) {
                let wrong = format!("there is another rule of the name {:?}", rule.name);
                item.complain("name", item.at(), &wrong);
            }
            let checked = match &tree {
                Some(tree) => rule.check(tree),
                // What is wrong with the tree has been complained about.
                None => rule.names_units(|unit| units.iter().any(|spec| spec.name == *unit)),
            };
            if let Err(error) = checked {
                item.complain_about_itself(&error.to_string());
            }
            rules.push(rule);
        }
        item.close();
    }
    rules
}

fn rule(section: &Section<'_>) -> Option<Rule> {
    let name = section.read("name", Reader::filled_text);
    let name = section.required("name", name, "what people call it");
    let units = section.read("units", Reader::texts);
    let units = section.required("units", units, "the units that may be restarted for it");
    let ways = [
        gauge(
            section,
            "memory",
            |r, n| r.bytes(n),
            |s| {
                let of = s.read("of", Reader::filled_text);
                let of = s.required("of", of, "the unit whose process it is")?;
                Some(Gauge::Memory { of: UnitName(of) })
            },
        ),
        gauge(
            section,
            "heartbeat",
            |r, n| r.number(n),
            |s| {
                let unit = s.read("unit", Reader::filled_text);
                let unit = s.required("unit", unit, "the unit that tells it");
                let name = s.read("gauge", Reader::filled_text);
                let name = s.required("gauge", name, "the gauge's name in its heartbeats");
                Some(Gauge::Heartbeat {
                    unit: UnitName(unit?),
                    name: name?,
                })
            },
        ),
        gauge(
            section,
            "number",
            |r, n| r.number(n),
            |s| {
                let url = s.read("http", Reader::url);
                let url = s.required("http", url, "the URL that answers with a number");
                let timeout = s.read("timeout", Reader::some_time);
                Some(Gauge::Http {
                    url: url?,
                    timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
                })
            },
        ),
        gauge(
            section,
            "failures",
            |r, n| r.share(n),
            |s| {
                let within = s.read("within", Reader::some_time);
                Some(Gauge::Failures {
                    within: within.unwrap_or(DEFAULT_WITHIN),
                })
            },
        ),
        section.section("age", "rejuvenate.age").map(|s| {
            let at_most = s.read("at_most", Reader::some_time);
            let at_most = s.required("at_most", at_most, "the oldest that a unit may become");
            let jitter = s.read("jitter", Reader::share).unwrap_or(DEFAULT_JITTER);
            s.close();
            Some(Trigger::Age {
                at_most: at_most?,
                jitter,
            })
        }),
        section.section("random", "rejuvenate.random").map(|s| {
            let every = s.read("every", Reader::some_time);
            let every = s.required("every", every, "the mean pause between two restarts");
            s.close();
            Some(Trigger::Random { every: every? })
        }),
    ];
    let every = section.read("every", Reader::some_time);
    let settle = section.read("settle", Reader::duration);
    let rest = section.read("rest", Reader::duration);
    let order = section.read("order", |r, n| r.choice(n, &ORDERS));
    let mut ways = ways.into_iter().flatten();
    let trigger = ways.next();
    if trigger.is_none() || ways.next().is_some() {
        section.complain_about_itself(
            "needs exactly one of `memory`, `heartbeat`, `number`, `failures`, `age` and `random`",
        );
    }
    Some(Rule {
        name: name?,
        units: units?.into_iter().map(UnitName).collect(),
        trigger: trigger??,
        every: every.unwrap_or(DEFAULT_EVERY),
        settle: settle.unwrap_or(DEFAULT_SETTLE),
        rest: rest.unwrap_or(DEFAULT_REST),
        order: order.unwrap_or_default(),
    })
}

/// A gauge's section: what is read, and its two levels.
fn gauge<'a>(
    parent: &Section<'a>,
    key: &'static str,
    level: fn(&Reader<'_>, &Node) -> Read<f64>,
    what: impl FnOnce(&Section<'a>) -> Option<Gauge>,
) -> Option<Option<Trigger>> {
    let section = parent.section(key, kind(key))?;
    let gauge = what(&section);
    let alarm = section.read("alarm", level);
    let alarm = section.required("alarm", alarm, "from where on units are restarted");
    let sufficient = section.read("sufficient", level);
    let sufficient = section.required("sufficient", sufficient, "until where they are");
    section.close();
    let levels = alarm.zip(sufficient);
    Some(gauge.zip(levels).map(|(gauge, (alarm, sufficient))| {
        let levels = Levels { alarm, sufficient };
        Trigger::Gauge { gauge, levels }
    }))
}

const fn kind(key: &'static str) -> &'static str {
    match key.as_bytes() {
        b"memory" => "rejuvenate.memory",
        b"heartbeat" => "rejuvenate.heartbeat",
        b"number" => "rejuvenate.number",
        _ => "rejuvenate.failures",
    }
}

impl Reader<'_> {
    /// A size, as a number that gauges have.
    pub(super) fn bytes(&self, node: &Node) -> Read<f64> {
        self.size(node).map(|bytes| bytes as f64)
    }

    /// Any number.
    pub(super) fn number(&self, node: &Node) -> Read<f64> {
        let value = match &node.value {
            Value::Integer(value) => *value as f64,
            Value::Float(value) => *value,
            other => return Err(format!("expected a number, found {}", other.described())),
        };
        if !value.is_finite() {
            return Err("expected a number that is finite".to_owned());
        }
        Ok(value)
    }
}
