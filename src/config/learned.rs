//! What was learned elsewhere, read from the file that `restart.learned` names: what `rekindle learned export` wrote, or
//! a person did.
//!
//! Nothing in it stands for a value of the environment: its texts came in telemetry.

use std::collections::BTreeSet;
use std::time::SystemTime;

use rekindle_recovery::belief::{COINCIDENCE, Interval, Key, Learned, Level, MAX_WEIGHT, Seed};
use rekindle_recovery::cost::{CostKey, MAX_WEIGHT as MOST_RESTARTS, Measured};
use rekindle_recovery::{FaultSignature, RestartTree, UnitName};

use super::document::{self, Node, Place, Value};
use super::reader::{Read, Reader, Section};
use super::{Complaint, ConfigError};
use crate::view::UtcTime;
use crate::view::learned::{ABOUT, About, BY_ITSELF, FigureRecord, NO_RESTART, level_called};

/// The ways in which units are restarted, as costs of them are kept.
const WAYS: [(&str, &str); 7] = [
    ("process", "process"),
    ("http", "http"),
    ("command", "command"),
    ("docker", "docker"),
    ("kubernetes", "kubernetes"),
    ("systemd", "systemd"),
    ("parts", "parts"),
];

/// What this text says was learned, of units of this tree.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(source_name: &str, text: &str, tree: &RestartTree) -> Result<Learned, ConfigError> {
    let error = |complaints: Vec<Complaint>| ConfigError {
        source_name: source_name.to_owned(),
        complaints,
    };
    let document = document::parse(text).map_err(|complaint| error(vec![complaint]))?;
    let reader = Reader::new(&|_| None);
    let mut learned = Learned::default();
    if let Some(top) = Section::open(&reader, "", "learned", &document) {
        learned = read(&top, tree);
        top.close();
    }
    match reader.into_complaints() {
        complaints if complaints.is_empty() => Ok(learned),
        complaints => Err(error(complaints)),
    }
}

fn read(top: &Section<'_>, tree: &RestartTree) -> Learned {
    // What an export left out is of no use here.
    let _ = top.node("left_out");
    let mut learned = Learned::default();
    let mut known: BTreeSet<(Key, bool)> = BTreeSet::new();
    for (path, node) in top.items("beliefs") {
        let Some(section) = Section::open(top.reader, &path, "learned.belief", node) else {
            continue;
        };
        // Which other keys there may be follows from that.
        let about = section.read("about", |r, n| r.choice(n, &ABOUT));
        let what = "of which faults it is: `fault`, `shape` …";
        let Some(about) = section.required("about", about, what) else {
            continue;
        };
        if let Some((key, seed)) = belief(&section, about, tree) {
            // What is of no date may be there beside what is.
            if !known.insert((key.clone(), seed.at.is_some())) {
                section.complain_about_itself("is about what another one above is about");
            }
            learned.beliefs.push((key, seed));
        }
        section.close();
    }
    let mut measured: BTreeSet<CostKey> = BTreeSet::new();
    for (path, node) in top.items("costs") {
        let Some(section) = Section::open(top.reader, &path, "learned.cost", node) else {
            continue;
        };
        if let Some((key, cost)) = cost(&section, tree) {
            if !measured.insert(key.clone()) {
                section.complain_about_itself("is about what another one above is about");
            }
            learned.costs.push((key, cost));
        }
        section.close();
    }
    learned
}

fn belief(section: &Section<'_>, about: About, tree: &RestartTree) -> Option<(Key, Seed)> {
    let key = key(section, about);
    let at = section.read("at", time);
    let seen: Vec<(Interval, Place)> = section
        .items("seen")
        .into_iter()
        .filter_map(|(path, node)| {
            let one = Section::open(section.reader, &path, "learned.seen", node)?;
            let read = seen(&one);
            let place = one.at();
            one.close();
            Some((read?, place))
        })
        .collect();
    let key = key?;
    for (seen, place) in &seen {
        if let Err(misfit) = key.fits(tree, seen) {
            section.complain("seen", *place, &misfit.to_string());
        }
    }
    if seen.is_empty() {
        section.complain_about_itself("says of nothing that it was `seen`");
    }
    let seed = Seed {
        seen: seen.into_iter().map(|(seen, _)| seen).collect(),
        at,
    };
    Some((key, seed))
}

/// What it is about: the keys that this takes must be there, and no others.
fn key(section: &Section<'_>, about: About) -> Option<Key> {
    let text = |key, what| section.required(key, section.read(key, plain), what);
    let unit = || text("unit", "the unit's or template's name").map(UnitName);
    let shape = || text("shape", "the evidence's shape, such as `raised`");
    let error = || text("error", "the error's type; \"\" where there is none");
    Some(match about {
        About::Fault => {
            let requests = section.read("requests", plains);
            let requests = section.required("requests", requests, "the request types, as a list");
            let (unit, shape, error) = (unit(), shape(), error());
            let signature = FaultSignature {
                request_types: requests?,
                error_type: error?,
                shape: shape?,
            };
            Key::Exact(signature, unit?)
        }
        About::Shape => {
            let (unit, shape) = (unit(), shape());
            Key::Shape(shape?, unit?)
        }
        About::AnyUnit => Key::Anywhere(shape()?),
        About::AnyUnitError => {
            let (shape, error) = (shape(), error());
            Key::Error(shape?, error?)
        }
        About::Elsewhere => Key::Elsewhere,
        About::ElsewhereError => {
            let (shape, error) = (shape(), error());
            Key::ElsewhereOf(shape?, error?)
        }
        About::Beside => {
            let (shape, error, unit) = (shape(), error(), unit());
            Key::Beside(shape?, error?, unit?)
        }
    })
}

fn seen(section: &Section<'_>) -> Option<Interval> {
    let above = section.read("above", level).unwrap_or(Level::ByItself);
    let until = section.read("until", level);
    let until = section.required("until", until, "the unit that cured");
    let weight = section.read("recoveries", |r, n| amount(r, n, MAX_WEIGHT));
    let weight = section.required("recoveries", weight, "how many recoveries it counts as");
    let waited = section.read("waited", |_, n| match n.value {
        Value::Bool(waited) => Ok(waited),
        ref other => Err(format!(
            "expected `true` or `false`, found {}",
            other.described()
        )),
    });
    let coincidence = section.read("coincidence", |r, n| r.share(n));
    Some(Interval {
        above,
        until: until?,
        or_by_itself: !waited.unwrap_or(false),
        coincidence: coincidence.unwrap_or(COINCIDENCE),
        weight: weight?,
    })
}

fn cost(section: &Section<'_>, tree: &RestartTree) -> Option<(CostKey, Measured)> {
    let at = section.at();
    let unit = section.read("unit", plain).map(UnitName);
    let way = section.read("way", |r, n| r.choice(n, &WAYS));
    let measured = Measured {
        downtime: figure(section, "downtime"),
        failing: figure(section, "failing"),
    };
    let key = match (unit, way) {
        (Some(unit), None) => {
            if tree.chain_of_kind(&unit).is_empty() {
                let wrong = format!("there is no unit {unit}, nor a template of this name");
                section.complain("unit", at, &wrong);
            }
            CostKey::Unit(unit)
        }
        (None, Some(way)) => CostKey::Way(way.to_owned()),
        _ => {
            section.complain_about_itself(
                "needs either `unit`, or `way`: how the units are restarted of which it was measured",
            );
            return None;
        }
    };
    Some((key, measured))
}

fn figure(section: &Section<'_>, key: &'static str) -> Option<rekindle_recovery::cost::Moments> {
    let section = section.section(key, "learned.figure")?;
    // A restart that takes longer than a day, or fails a million times what it should, is a slip of the pen.
    let mean = section.read("mean", |r, n| amount(r, n, 1e6));
    let mean = section.required("mean", mean, "the mean");
    let restarts = section.read("restarts", |r, n| amount(r, n, MOST_RESTARTS));
    let restarts = section.required("restarts", restarts, "how many restarts it counts as");
    let variance = section.read("variance", |r, n| amount(r, n, 1e12));
    let at = section.read("at", time);
    section.close();
    let figure = FigureRecord {
        mean: mean?,
        restarts: restarts?,
        variance,
        at: at.map(UtcTime::from),
    };
    Some(figure.moments())
}

/// A text as it stands there.
fn plain(_: &Reader<'_>, node: &Node) -> Read<String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!(
            "expected a text in quotes, found {}",
            other.described()
        )),
    }
}

fn plains(reader: &Reader<'_>, node: &Node) -> Read<Vec<String>> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| plain(reader, item)).collect(),
        other => Err(format!("expected a list, found {}", other.described())),
    }
}

fn level(reader: &Reader<'_>, node: &Node) -> Read<Level> {
    let text = plain(reader, node)?;
    level_called(&text).ok_or_else(|| {
        format!(
            "{text:?} is no level; write `{BY_ITSELF}`, a unit's name, `step 2` or `{NO_RESTART}`"
        )
    })
}

fn time(reader: &Reader<'_>, node: &Node) -> Read<SystemTime> {
    let time = plain(reader, node)?.parse::<UtcTime>();
    time.map(SystemTime::from)
        .map_err(|error| error.to_string())
}

/// A number from 0 to the most.
fn amount(_: &Reader<'_>, node: &Node, most: f64) -> Read<f64> {
    let number = match node.value {
        Value::Integer(number) => number as f64,
        Value::Float(number) => number,
        ref other => return Err(format!("expected a number, found {}", other.described())),
    };
    match (0.0..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("{number} must be from 0 to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rekindle_recovery::belief::Beliefs;
    use rekindle_recovery::cost::{Costs, Moments};

    use super::*;
    use crate::config::{Config, Overrides};
    use crate::view::LearnedView;

    const TREE: &str = "restart:\n  tree:\n    - unit: shop\n      units:\n        \
        - { unit: shop.cart, command: { run: [x] } }\n        \
        - { template: replica, containers: { labels: { a: b } } }\n";

    fn tree() -> RestartTree {
        let config = Config::parse("r", TREE, &Overrides::default(), &|_| None);
        crate::daemon::tree_of(&config.expect("a configuration")).expect("a tree")
    }

    fn wrong(text: &str) -> String {
        match parse("learned.yaml", text, &tree()) {
            Ok(learned) => panic!("nothing is wrong: {learned:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_person_writes_is_read() {
        let text = "beliefs:\n  - { about: shape, unit: replica, shape: raised, seen: [ { until: shop, above: replica, recoveries: 3 } ] }\n\
                    costs:\n  - { unit: shop.cart, downtime: { mean: 2.5, restarts: 4 } }\n";
        let learned = parse("learned.yaml", text, &tree()).expect("read");
        let (key, seed) = &learned.beliefs[0];
        assert_eq!(*key, Key::Shape("raised".to_owned(), "replica".into()));
        assert_eq!((seed.at, seed.seen[0].or_by_itself), (None, true));
        assert_eq!(learned.costs.len(), 1);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        for (text, words) in [
            ("beliefs:\n  - { about: fualt, unit: shop }\n", "line 2"),
            (
                "beliefs:\n  - { about: shape, unit: shop }\n",
                "lacks `shape`",
            ),
            (
                "beliefs:\n  - { about: shape, unit: shp, shape: raised, seen: [ { until: shop, recoveries: 1 } ] }\n",
                "there is no unit shp",
            ),
            (
                "beliefs:\n  - { about: shape, unit: shop, shape: raised, seen: [ { until: shop.cart, recoveries: 1 } ] }\n",
                "shop.cart doesn't contain shop",
            ),
            (
                "beliefs:\n  - { about: any_unit, shape: raised, seen: [ { until: step x, recoveries: 1 } ] }\n",
                "is no level",
            ),
            (
                "beliefs:\n  - { about: any_unit, shape: raised, seen: [ { until: step 0, recoveries: 3000 } ] }\n",
                "must be from 0 to 30",
            ),
            (
                "beliefs:\n  - { about: any_unit, shape: raised }\n",
                "of nothing",
            ),
            (
                "beliefs:\n  - { about: any_unit, unit: shop, shape: raised, seen: [ { until: step 0, recoveries: 1 } ] }\n",
                "unknown key `unit`",
            ),
            (
                "costs:\n  - { downtime: { mean: 1, restarts: 1 } }\n",
                "needs either `unit`, or `way`",
            ),
            (
                "costs:\n  - { unit: shop, downtime: { mean: -1, restarts: 1 } }\n",
                "must be from 0",
            ),
            ("belief: []\n", "did you mean `beliefs`"),
        ] {
            let told = wrong(text);
            assert!(
                told.contains(words) && told.starts_with("learned.yaml: "),
                "{text}: {told}"
            );
        }
        let two = wrong("beliefs:\n  - { about: x, unit: shop }\n  - { about: y }\n");
        assert_eq!(two.lines().count(), 2, "{two}");
    }

    #[test]
    fn what_was_exported_is_read_as_it_was() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signature = FaultSignature {
            request_types: vec!["GET /a ${env:HOME}".to_owned(), "'\"{: #".to_owned()],
            error_type: String::new(),
            shape: "raised".to_owned(),
        };
        let seed = |above: Level, until: Level| Seed {
            seen: vec![Interval {
                above,
                until,
                or_by_itself: true,
                coincidence: 0.125,
                weight: 2.0 / 3.0,
            }],
            at: Some(now),
        };
        let unit = |name: &str| Level::Unit(UnitName::from(name));
        let (shape, error) = ("raised".to_owned(), "no".to_owned());
        let cart = || UnitName::from("shop.cart");
        let beliefs = vec![
            (
                Key::Exact(signature, cart()),
                seed(unit("shop.cart"), unit("shop")),
            ),
            (
                Key::Shape(shape.clone(), "replica".into()),
                seed(Level::ByItself, Level::None),
            ),
            (
                Key::Anywhere(shape.clone()),
                seed(Level::Step(0), Level::Step(2)),
            ),
            (
                Key::Error(shape.clone(), error.clone()),
                seed(Level::ByItself, Level::ByItself),
            ),
            (Key::Elsewhere, seed(Level::ByItself, Level::Step(0))),
            (
                Key::ElsewhereOf(shape.clone(), error.clone()),
                seed(Level::Step(0), Level::None),
            ),
            (
                Key::Beside(shape, error, cart()),
                seed(unit("shop.cart"), Level::None),
            ),
        ];
        let moments = Moments::seeded(1.0 / 3.0, 2.0, Some(0.1), Some(now));
        let known = Moments::seeded(1.0, 2.0, None, None);
        let costs = [
            ("shop.cart", Some(moments), Some(known)),
            ("any http", None, Some(moments)),
        ];
        let costs = costs.map(|(of, downtime, failing)| {
            let measured = Measured { downtime, failing };
            (CostKey::from(of), measured)
        });
        let learned = Learned {
            beliefs,
            costs: costs.to_vec(),
            left_out: 0,
        };
        let view = LearnedView::from(&learned);
        let yaml = serde_saphyr::to_string(&view).expect("YAML");
        let json = serde_json::to_string_pretty(&view).expect("JSON");
        for text in [yaml, json] {
            match parse("learned.yaml", &text, &tree()) {
                Ok(read) => assert_eq!(read, learned, "{text}"),
                Err(error) => panic!("{error}\n{text}"),
            }
        }
        // And it is what a fresh engine goes by.
        let beliefs =
            Beliefs::new(Duration::from_secs(1 << 30)).with_seeds(learned.beliefs.clone());
        assert_eq!(beliefs.exported(now), {
            let mut sorted = learned.beliefs;
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            sorted
        });
        let costs = Costs::new(Duration::from_secs(1 << 30)).with_seeds(learned.costs);
        assert_eq!(costs.exported(now).len(), 2);
    }
}
