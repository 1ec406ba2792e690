//! Do restart trees I to V of Mercury (DSN 2002) come out as published?
//!
//! Five toy processes of a ground station, started and watched as in the paper, restarted through
//! [`RestartTree`]s of the five shapes. The published single restarts (trees II and III) say how
//! long each process takes to start; what the trees make of it is then computed, not assumed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_recovery::{RestartTree, UnitName};

use super::random::stream;
use super::report::{Mean, Plot, Report, Table};
use super::world::unit;
use super::{Options, SimulateError};

/// Runs per cell of the table, as published.
const RUNS: u64 = 100;
/// From a failure to its detection: the next ping of one per second, and this until it counts as lost.
const PING_TIMEOUT: f64 = 0.2;
/// Seconds that each further process adds when several start at once: from tree I's published 24.75 s.
const CONTENTION: f64 = 0.955;
/// A start takes so much more or less than usual.
const JITTER: f64 = 0.02;
/// How often the wrong oracle guesses too low.
const WRONG: f64 = 0.3;

/// Seconds from start to ready, from the published single restarts less 0.7 s of detection; ses and
/// str from half of theirs, since the restart of either makes the other fail.
const START: [(&str, f64); 7] = [
    ("mbus", 5.03),
    ("fedrcom", 20.23),
    ("fedr", 5.06),
    ("pbcom", 20.54),
    ("ses", 4.05),
    ("str", 4.18),
    ("rtu", 4.89),
];

/// Name, and the processes that each unit starts itself (those below it are added).
struct Shape {
    name: &'static str,
    units: &'static [(&'static str, &'static str, &'static [&'static str])],
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "I",
        units: &[("mercury", "", &["mbus", "fedrcom", "ses", "str", "rtu"])],
    },
    Shape {
        name: "II",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("fedrcom", "mercury", &["fedrcom"]),
            ("ses", "mercury", &["ses"]),
            ("str", "mercury", &["str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
    Shape {
        name: "III",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("fedrcom", "mercury", &[]),
            ("fedr", "fedrcom", &["fedr"]),
            ("pbcom", "fedrcom", &["pbcom"]),
            ("ses", "mercury", &["ses"]),
            ("str", "mercury", &["str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
    Shape {
        name: "IV",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("fedrcom", "mercury", &[]),
            ("fedr", "fedrcom", &["fedr"]),
            ("pbcom", "fedrcom", &["pbcom"]),
            ("ses-str", "mercury", &["ses", "str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
    Shape {
        name: "V",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("pbcom", "mercury", &["pbcom"]),
            ("fedr", "pbcom", &["fedr"]),
            ("ses-str", "mercury", &["ses", "str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
];

/// A failure: which process, and which processes must be restarted together.
#[derive(Clone, Copy)]
struct Failure {
    name: &'static str,
    needs: &'static [&'static str],
}

const fn failure(name: &'static str, needs: &'static [&'static str]) -> Failure {
    Failure { name, needs }
}

/// Tree, failure, oracle wrong, published seconds.
const CELLS: [(usize, Failure, bool, f64); 14] = [
    (0, failure("any", &["fedrcom"]), false, 24.75),
    (1, failure("mbus", &["mbus"]), false, 5.73),
    (1, failure("ses", &["ses"]), false, 9.50),
    (1, failure("str", &["str"]), false, 9.76),
    (1, failure("rtu", &["rtu"]), false, 5.59),
    (1, failure("fedrcom", &["fedrcom"]), false, 20.93),
    (2, failure("fedr", &["fedr"]), false, 5.76),
    (2, failure("pbcom", &["pbcom"]), false, 21.24),
    (3, failure("ses", &["ses"]), false, 6.25),
    (3, failure("str", &["str"]), false, 6.11),
    (
        3,
        failure("pbcom, with fedr", &["pbcom", "fedr"]),
        false,
        f64::NAN,
    ),
    (
        3,
        failure("pbcom, with fedr", &["pbcom", "fedr"]),
        true,
        29.19,
    ),
    (
        4,
        failure("pbcom, with fedr", &["pbcom", "fedr"]),
        false,
        f64::NAN,
    ),
    (
        4,
        failure("pbcom, with fedr", &["pbcom", "fedr"]),
        true,
        21.63,
    ),
];
/// The rows that the start times were read off; the rest is computed.
const READ_OFF: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

struct Station {
    tree: RestartTree,
    own: BTreeMap<UnitName, &'static [&'static str]>,
}

impl Station {
    fn of(shape: &Shape) -> Self {
        let specs = shape.units.iter().map(|(name, parent, processes)| {
            let mut spec = unit(name, parent, Duration::from_secs(1));
            // What starts no process of its own is restarted through its parts.
            if processes.is_empty() {
                spec.executor = None;
            }
            spec
        });
        Self {
            // The constants above are trees; a test says so.
            tree: RestartTree::build(specs.collect()).unwrap_or_default(),
            own: shape
                .units
                .iter()
                .map(|(name, _, processes)| (UnitName::from(*name), *processes))
                .collect(),
        }
    }

    /// All processes that a unit's restart starts.
    fn processes(&self, unit: &UnitName) -> Vec<&'static str> {
        self.tree
            .subtree(unit)
            .into_iter()
            .filter_map(|unit| self.own.get(unit))
            .flat_map(|processes| processes.iter().copied())
            .collect()
    }

    /// Whether the unit's restart restarts all of these.
    fn covers(&self, unit: &UnitName, needs: &[&str]) -> bool {
        let processes = self.processes(unit);
        needs.iter().all(|need| processes.contains(need))
    }

    /// The smallest unit that covers these.
    fn smallest(&self, needs: &[&str]) -> Option<UnitName> {
        self.tree
            .units()
            .map(|spec| &spec.name)
            .filter(|unit| self.covers(unit, needs))
            .min_by_key(|unit| self.processes(unit).len())
            .cloned()
    }

    /// Seconds from the failure to the end of the last restart.
    fn repair(&self, failure: Failure, is_wrong: bool, random: &mut StdRng) -> f64 {
        // Too low: the smallest that contains the process which shows it.
        let right = self.smallest(failure.needs);
        let low = self.smallest(&failure.needs[..1]);
        let first = if is_wrong { low } else { right };
        let mut at = 0.0;
        let mut unit = first;
        while let Some(target) = unit {
            at += detect(random);
            let processes = self.processes(&target);
            at += start(&processes, random);
            if self.covers(&target, failure.needs) {
                // The two estimators resynchronise: whichever restarts alone takes the other along.
                let other = match (processes.contains(&"ses"), processes.contains(&"str")) {
                    (true, false) => Some("str"),
                    (false, true) => Some("ses"),
                    _ => None,
                };
                if let Some(other) = other {
                    at += detect(random) + start(&[other], random);
                }
                return at;
            }
            unit = self.tree.parent(&target).cloned();
        }
        at
    }
}

fn detect(random: &mut StdRng) -> f64 {
    random.random::<f64>() + PING_TIMEOUT
}

/// All start at once, and each further one makes it slower.
fn start(processes: &[&str], random: &mut StdRng) -> f64 {
    let slowest = START
        .iter()
        .filter(|(name, _)| processes.contains(name))
        .map(|(_, seconds)| seconds * random.random_range(1.0 - JITTER..1.0 + JITTER))
        .fold(0.0, f64::max);
    slowest + CONTENTION * (processes.len().max(1) - 1) as f64
}

fn cell(
    seed: u64,
    station: &Station,
    place: usize,
    failure: Failure,
    may_be_wrong: bool,
) -> Vec<f64> {
    (0..RUNS)
        .map(|run| {
            let mut random = stream(seed, &[place as u64, run]);
            let is_wrong = may_be_wrong && random.random::<f64>() < WRONG;
            station.repair(failure, is_wrong, &mut random)
        })
        .collect()
}

/// Mean time to failure in hours; pbcom's after the split isn't published.
const MTTF: [(Failure, f64); 5] = [
    (failure("mbus", &["mbus"]), 720.0),
    (failure("fedr", &["fedr"]), 1.0 / 6.0),
    (failure("ses", &["ses"]), 5.0),
    (failure("str", &["str"]), 5.0),
    (failure("rtu", &["rtu"]), 5.0),
];

/// Mean repair time over failures by how often they happen, in seconds. Where the oracle may be wrong, a
/// failure of pbcom needs fedr's restart, too: that is what it is wrong about.
fn weighted_repair(seed: u64, shape: usize, pbcom_hours: f64, may_be_wrong: bool) -> f64 {
    let station = Station::of(&SHAPES[shape]);
    let needs: &[&str] = if may_be_wrong {
        &["pbcom", "fedr"]
    } else {
        &["pbcom"]
    };
    let pbcom = (failure("pbcom", needs), pbcom_hours);
    let (mut repairs, mut failures) = (0.0, 0.0);
    for (place, (failure, hours)) in MTTF.iter().chain([&pbcom]).enumerate() {
        if hours.is_finite() {
            let may_be_wrong = may_be_wrong && failure.name == "pbcom";
            let times = cell(seed, &station, 100 + place, *failure, may_be_wrong);
            repairs += Mean::of(&times).mean / hours;
            failures += 1.0 / hours;
        }
    }
    repairs / failures
}

/// How often the one component fails decides what the trees gain; where figures of the literature exist
/// they stand beside ours.
const PBCOM_HOURS: [(&str, f64, &str); 9] = [
    ("never", f64::INFINITY, "4.3×"),
    ("30 d", 720.0, "-"),
    ("100 h", 100.0, "-"),
    ("30 h", 30.0, "-"),
    ("10 h", 10.0, "-"),
    ("3 h", 3.0, "-"),
    ("1 h", 1.0, "3.2×"),
    ("30 min", 0.5, "-"),
    ("10 min", 1.0 / 6.0, "1.9×"),
];

/// Everything that was assumed of each process.
fn assumed() -> Table {
    let mut table = Table::new(
        "Assumed of each process",
        &["process", "mean time to failure", "start, s", "from"],
    );
    for (name, seconds) in START {
        let hours = MTTF.iter().find(|(failure, _)| failure.name == name);
        let words = match (name, hours) {
            ("fedrcom", _) => "10 min (published; trees I and II)".to_owned(),
            ("pbcom", _) => "not published: swept below".to_owned(),
            (_, Some((_, hours))) if *hours < 1.0 => format!("{:.0} min (published)", 60.0 * hours),
            (_, Some((_, hours))) => format!("{hours:.0} h (published)"),
            (_, None) => "-".to_owned(),
        };
        let from = match name {
            "ses" | "str" => "half of tree II's repair less detection: each takes the other along",
            "fedr" | "pbcom" => "tree III's repair less detection",
            _ => "tree II's repair less detection",
        };
        table.row([
            name.to_owned(),
            words,
            format!("{seconds:.2}"),
            from.to_owned(),
        ]);
    }
    table
}

/// Runs it.
///
/// # Errors
/// Never; as the others.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let mut report = Report {
        scenario: "mercury".to_owned(),
        question: "Do Mercury's restart trees I to V come out as published?".to_owned(),
        assumptions: vec![
            "published figures are recalled (DSN 2002); the weighted 4x is their only check"
                .to_owned(),
            "start times: published single restarts of trees II and III less 0.7 s of detection; \
             ses and str: half of theirs, since restarting one makes the other fail"
                .to_owned(),
            format!(
                "detection: pings 1/s and {PING_TIMEOUT} s until lost; {CONTENTION} s more for each \
                 further process that starts at the same time (read off tree I)"
            ),
            "MTTF of fedr: that of fedrcom, since the split left its faults in fedr; failures of \
             different processes are independent of each other"
                .to_owned(),
            format!(
                "the wrong oracle takes pbcom alone for {:.0} % of the failures that need fedr too, \
                 and climbs when that doesn't help; {RUNS} runs per cell",
                100.0 * WRONG
            ),
        ],
        ..Report::default()
    };
    let mut table = Table::new(
        "Time to repair, in seconds",
        &[
            "tree",
            "failure",
            "oracle",
            "published",
            "ours",
            "difference",
            "",
        ],
    );
    let mut worst: f64 = 0.0;
    for (place, (shape, failure, may_be_wrong, published)) in CELLS.iter().enumerate() {
        let station = Station::of(&SHAPES[*shape]);
        let times = cell(options.seed, &station, place, *failure, *may_be_wrong);
        let ours = Mean::of(&times);
        let computed = !READ_OFF.contains(&place);
        let difference = 100.0 * (ours.mean / published - 1.0);
        if computed && difference.is_finite() {
            worst = worst.max(difference.abs());
        }
        let shown = |value: f64, text: String| {
            if value.is_finite() {
                text
            } else {
                "-".to_owned()
            }
        };
        table.row([
            SHAPES[*shape].name.to_owned(),
            failure.name.to_owned(),
            if *may_be_wrong {
                "30 % wrong"
            } else {
                "perfect"
            }
            .to_owned(),
            shown(*published, format!("{published:.2}")),
            ours.words(),
            shown(difference, format!("{difference:+.1} %")),
            if computed { "computed" } else { "read off" }.to_owned(),
        ]);
    }
    report.tables.push(table);
    report.tables.push(assumed());

    let mut curve = Table::new(
        "How many times faster trees IV and V repair than tree I, by how often pbcom fails",
        &[
            "pbcom's MTTF",
            "published figures give",
            "IV",
            "V",
            "IV, oracle 30 % wrong",
            "V, oracle 30 % wrong",
        ],
    );
    // Tree I has one button, whatever failed.
    let (shape, any, ..) = CELLS[0];
    let whole = Mean::of(&cell(
        options.seed,
        &Station::of(&SHAPES[shape]),
        0,
        any,
        false,
    ))
    .mean;
    let mut at_least_four = 0.0;
    let mut plot = Plot::new(
        "Mercury: repairs beside tree I, by how often pbcom fails",
        "hours between two failures of pbcom",
        "times faster than tree I",
        &curve.header[2..],
    );
    for (name, hours, published) in PBCOM_HOURS {
        let cells = [(3, false), (4, false), (3, true), (4, true)];
        let gains = cells.map(|(shape, may_be_wrong)| {
            whole / weighted_repair(options.seed, shape, hours, may_be_wrong)
        });
        if hours.is_infinite() {
            at_least_four = gains[0];
        } else {
            plot.add(hours, &gains);
        }
        let said = [name.to_owned(), published.to_owned()];
        curve.row(
            said.into_iter()
                .chain(gains.map(|gain| format!("{gain:.2}×"))),
        );
    }
    report.plot = Some(plot);
    report.tables.push(curve);
    report.claim(
        "what the trees make of the start times is within 10 % of the published",
        format!("{worst:.1} % off at most"),
        worst <= 10.0,
    );
    report.claim(
        "four times faster than tree I, as published (pbcom never failing)",
        format!("{at_least_four:.2}×"),
        (3.9..=4.7).contains(&at_least_four),
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_trees() {
        for shape in &SHAPES {
            let station = Station::of(shape);
            assert_eq!(station.tree.len(), shape.units.len(), "{}", shape.name);
            let root = station.tree.root().expect("a root").clone();
            assert!(station.processes(&root).len() >= 5, "{}", shape.name);
        }
    }

    #[test]
    fn promotion_leaves_no_button_for_the_wrong_guess() {
        let unit = |shape: usize| {
            Station::of(&SHAPES[shape])
                .smallest(&["pbcom"])
                .expect("a unit")
        };
        let covers = |shape: usize| Station::of(&SHAPES[shape]).covers(&unit(shape), &["fedr"]);
        assert!(!covers(3) && covers(4));
    }
}
