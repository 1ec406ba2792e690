//! What does it save to know who leaks?
//!
//! The site of `policies` ages as in the microreboot paper's evaluation (OSDI 2004): two of its
//! components leak at each call. Recovery's own state machine and learned order restart parts of the
//! server before its memory is full; beside it the same with the order as written, with dice, with the
//! whole server as the only thing to restart, and with nobody.

use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rekindle_recovery::rejuvenate::order::{Gifts, learn, order};
use rekindle_recovery::rejuvenate::roll::{Event, State, Wish, next};
use rekindle_recovery::rejuvenate::{Gauge, Levels, Order, Rule, Trigger};
use rekindle_recovery::{Policy, UnitName};

use super::parallel::over_seeds;
use super::random::stream;
use super::report::{Mean, Report, Table, number};
use super::world::{REQUESTS_PER_SECOND, Site};
use super::{Options, SimulateError};

/// The heap, what of it is in use while nothing leaks, and the levels of free memory: as published
/// (recalled), but for the share in use.
const HEAP: f64 = 1e9;
const LIVE: f64 = 0.15 * HEAP;
const ALARM: f64 = 0.35 * HEAP;
const SUFFICIENT: f64 = 0.80 * HEAP;
/// What a call leaks in the two ill components, in bytes, as published (recalled); each seed has its own
/// components, and up to twice as much or as little.
const LEAKS: [f64; 2] = [2000.0, 250.0];
/// How long is played.
const HOURS: f64 = 24.0;
/// Between two looks, in seconds; after a restart, memory is looked at after this long.
const LOOK: f64 = 10.0;
const SETTLE: f64 = 5.0;
/// A server that ran out of memory is missed after this long, in seconds.
const MISSED_AFTER: f64 = 2.0;
/// What the paper measured in half an hour: failed requests with whole restarts, and with parts'.
const PUBLISHED: (f64, f64) = (11_915.0, 1_383.0);

/// Who decides what is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Learned,
    AsWritten,
    Dice,
    Whole,
    Nobody,
}

const ALL: [(Who, &str); 5] = [
    (Who::Learned, "parts, in the learned order"),
    (Who::AsWritten, "parts, as written"),
    (Who::Dice, "parts, at random"),
    (Who::Whole, "the whole server"),
    (Who::Nobody, "nobody, until memory is full"),
];

/// What a day came to.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    failed: f64,
    restarts: f64,
    out_of_memory: f64,
    least_free: f64,
}

/// The server's heap: what each component has leaked, and leaks per second.
struct Heap {
    leaked: Vec<(UnitName, f64, f64)>,
}

impl Heap {
    fn free(&self) -> f64 {
        HEAP - LIVE - self.leaked.iter().map(|leak| leak.1).sum::<f64>()
    }

    fn age(&mut self, seconds: f64) {
        for (_, leaked, rate) in &mut self.leaked {
            *leaked += *rate * seconds;
        }
    }

    fn restart(&mut self, site: &Site, unit: &UnitName) {
        for (part, leaked, _) in &mut self.leaked {
            if site.tree.contains(unit, part) {
                *leaked = 0.0;
            }
        }
    }
}

fn rule(site: &Site, who: Who) -> Rule {
    let server = UnitName::from("server");
    let mut units = parts(site);
    if who == Who::Whole {
        units.clear();
    }
    units.push(server.clone());
    Rule {
        name: "memory".to_owned(),
        units,
        trigger: Trigger::Gauge {
            gauge: Gauge::Memory { of: server },
            levels: Levels {
                alarm: ALARM,
                sufficient: SUFFICIENT,
            },
        },
        every: Duration::from_secs_f64(LOOK),
        settle: Duration::from_secs_f64(SETTLE),
        rest: Duration::from_secs(600),
        order: match who {
            Who::Learned => Order::Learned,
            _ => Order::AsWritten,
        },
    }
}

/// What is below the application.
fn parts(site: &Site) -> Vec<UnitName> {
    let application = UnitName::from("application");
    let below = site.tree.subtree(&application).into_iter();
    below
        .filter(|unit| **unit != application)
        .cloned()
        .collect()
}

fn leaks(site: &Site, random: &mut StdRng) -> Heap {
    let mut parts = parts(site);
    parts.shuffle(random);
    let leaked = parts.into_iter().zip(LEAKS).map(|(unit, per_call)| {
        let factor = 2f64.powf(random.random_range(-1.0..1.0));
        let rate = site.traffic(&unit) * per_call * factor;
        (unit, 0.0, rate)
    });
    Heap {
        leaked: leaked.collect(),
    }
}

fn day(site: &Site, seed: u64, who: Who) -> Day {
    let mut random = stream(seed, &[0]);
    let mut heap = leaks(site, &mut random);
    // Dice of their own, so that everybody meets the same leaks.
    let mut dice = stream(seed, &[1]);
    let rule = rule(site, who);
    let in_flight = Policy::default().in_flight.as_secs_f64();
    let start = SystemTime::UNIX_EPOCH;
    let (mut state, mut gifts, mut at) = (State::default(), Gifts::new(), 0.0);
    let mut day = Day {
        least_free: HEAP,
        ..Day::default()
    };
    while at < HOURS * 3600.0 {
        let pause = match state {
            State::Settling { .. } => SETTLE,
            _ => LOOK,
        };
        at += pause;
        heap.age(pause);
        let free = heap.free();
        day.least_free = day.least_free.min(free.max(0.0));
        if free <= 0.0 {
            // It ends, is missed, and is started anew.
            let server = UnitName::from("server");
            day.out_of_memory += 1.0;
            day.failed += REQUESTS_PER_SECOND * (MISSED_AFTER + site.usual(&server));
            at += MISSED_AFTER + site.usual(&server);
            heap.restart(site, &server);
            state = State::default();
            continue;
        }
        if who == Who::Nobody {
            continue;
        }
        let now = start + Duration::from_secs_f64(at);
        let mut candidates = order(&rule, &gifts, &site.tree);
        if who == Who::Dice {
            let last = candidates.len() - 1;
            candidates[..last].shuffle(&mut dice);
        }
        let levels = Levels {
            alarm: ALARM,
            sufficient: SUFFICIENT,
        };
        let looked = Event::Looked {
            level: levels.of(free),
            reading: Some(free),
            candidates,
        };
        let (after, wishes) = next(state, looked, &rule, now);
        state = after;
        for wish in wishes {
            match wish {
                Wish::Learn { unit, gave } => learn(&mut gifts, &unit, gave, now),
                Wish::Restart(unit) => {
                    let away = site.usual(&unit);
                    day.restarts += 1.0;
                    day.failed += site.traffic(&unit) * (away + in_flight);
                    heap.restart(site, &unit);
                    heap.age(away);
                    at += away;
                    let now = start + Duration::from_secs_f64(at);
                    state = next(state, Event::CameBack, &rule, now).0;
                }
                Wish::Begun | Wish::Enough | Wish::NotEnough | Wish::Broken => {}
            }
        }
    }
    day
}

/// Runs it.
///
/// # Errors
/// Never; as the others.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let site = Site::new();
    let mut report = Report {
        scenario: "rejuvenation".to_owned(),
        question: "What does it save to know who leaks?".to_owned(),
        assumptions: vec![
            format!(
                "the site of `policies` for {HOURS:.0} h, {} seeds; a heap of {:.0} MB of which {:.0} % \
                 live; two components, drawn per seed, leak {} and {} B per call (published, recalled), \
                 times a factor of 0.5 to 2",
                options.seeds,
                HEAP / 1e6,
                100.0 * LIVE / HEAP,
                LEAKS[0],
                LEAKS[1]
            ),
            format!(
                "restarts from {:.0} % free on, until {:.0} % are (published, recalled); a look every \
                 {LOOK} s, and {SETTLE} s after a restart; the whole server is the last resort of all",
                100.0 * ALARM / HEAP,
                100.0 * SUFFICIENT / HEAP
            ),
            format!(
                "a restart fails what passes through the unit while it is away and {} ms of what is in \
                 flight; a server without memory ends, is missed after {MISSED_AFTER} s and takes {:.1} s",
                Policy::default().in_flight.as_millis(),
                site.usual(&"server".into())
            ),
            "the state machine and the learned order are recovery's own; its guards aren't asked"
                .to_owned(),
        ],
        ..Report::default()
    };
    let mut table = Table::new(
        "Per day",
        &[
            "restarted",
            "failed requests",
            "restarts",
            "out of memory",
            "least free, MB",
        ],
    );
    let mut failed = Vec::new();
    for (who, name) in ALL {
        let days = over_seeds(options, |seed| Ok(day(&site, seed, who)))?;
        let of = |what: fn(&Day) -> f64| Mean::of(&days.iter().map(what).collect::<Vec<_>>());
        failed.push((who, of(|day| day.failed).mean));
        table.row([
            name.to_owned(),
            of(|day| day.failed).words(),
            of(|day| day.restarts).words(),
            of(|day| day.out_of_memory).words(),
            of(|day| day.least_free / 1e6).words(),
        ]);
    }
    report.tables.push(table);
    let of = |wanted: Who| {
        let found = failed.iter().find(|(who, _)| *who == wanted);
        found.map_or(f64::NAN, |(_, failed)| *failed)
    };
    let ours = of(Who::Learned);
    for (who, name) in &ALL[1..4] {
        let other = of(*who);
        report.claim(
            format!("the learned order fails fewer requests than {name}"),
            format!("{} and {}", number(ours), number(other)),
            ours < other,
        );
    }
    let (whole, parts) = PUBLISHED;
    report.claim(
        format!(
            "at least the published {:.1} times fewer than whole restarts ({whole} and {parts} in half \
             an hour, recalled)",
            whole / parts
        ),
        format!("{:.1} times", of(Who::Whole) / ours),
        of(Who::Whole) / ours >= whole / parts,
    );
    Ok(report)
}
