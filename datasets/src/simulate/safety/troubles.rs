//! What goes wrong in the world that is lied about, drawn beforehand, so that every policy meets the same.

use std::fmt;

use rand::RngExt;
use rekindle_recovery::Mode;

use super::super::random::{exponential, stream, weighted};
use super::super::reserve::Reserve;

/// Name, parent, restart time in milliseconds (0: by its parts), requests per second, mode.
pub(super) const UNITS: [(&str, &str, u64, f64, Mode); 13] = [
    ("site", "", 0, 60.0, Mode::Auto),
    ("shop", "site", 4000, 30.0, Mode::Auto),
    ("shop.cart", "shop", 400, 10.0, Mode::Auto),
    ("shop.search", "shop", 500, 15.0, Mode::Auto),
    ("bank", "site", 5000, 10.0, Mode::Auto),
    ("bank.pay", "bank", 400, 8.0, Mode::Auto),
    ("mail", "site", 3000, 5.0, Mode::Propose),
    ("desk", "site", 0, 10.0, Mode::Auto),
    ("desk.a", "desk", 1000, 5.0, Mode::Auto),
    ("desk.b", "desk", 1000, 5.0, Mode::Auto),
    ("vault", "site", 2000, 5.0, Mode::Observe),
    ("web", "site", 3000, 20.0, Mode::Auto),
    ("web.pages", "web", 300, 15.0, Mode::Auto),
];
/// What liveness probes look at: the processes.
pub(super) const PROCESSES: [&str; 7] =
    ["shop", "bank", "mail", "desk.a", "desk.b", "vault", "web"];
/// Of each two, one must be up: the units below `desk`, and a capacity group.
pub(super) const PAIRS: [(&str, &str); 2] = [("desk.a", "desk.b"), ("shop", "web")];
/// Seconds between the end of a trouble and the next, on average.
const QUIET: f64 = 240.0;
/// Seconds that a trouble lasts where nobody ends it, on average.
const LASTS: f64 = 120.0;

/// What goes wrong, and how often.
const KINDS: [(Kind, f64); 8] = [
    (Kind::Component, 3.0),
    (Kind::Sampled, 1.0),
    (Kind::Process, 2.0),
    (Kind::Overload, 0.5),
    (Kind::Overloaded, 0.5),
    (Kind::Database, 1.0),
    (Kind::Poison, 1.0),
    (Kind::Flapping, 1.0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A component, until it is restarted.
    Component,
    /// The same, told by those who throw the successes away, and don't say so.
    Sampled,
    /// A process, until it is restarted.
    Process,
    /// More requests than all of them can serve.
    Overload,
    /// The same for one process alone, so that no storm speaks against its restart.
    Overloaded,
    /// A database that several need, or that only one notices as yet.
    Database,
    /// Requests that fail wherever they are served.
    Poison,
    /// There and gone, again and again.
    Flapping,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "a component",
            Self::Sampled => "a component, sampled",
            Self::Process => "a process",
            Self::Overload => "overload of all",
            Self::Overloaded => "overload of one",
            Self::Database => "a database",
            Self::Poison => "poison messages",
            Self::Flapping => "flapping",
        })
    }
}

/// In words, for a report.
pub(super) fn shares() -> String {
    let all: f64 = KINDS.iter().map(|kind| kind.1).sum();
    let of = |wanted: &[Kind]| {
        let some: f64 = KINDS
            .iter()
            .filter(|it| wanted.contains(&it.0))
            .map(|it| it.1)
            .sum();
        format!("{:.0} %", 100.0 * some / all)
    };
    format!(
        "{} are cured by a restart, {} of all by the same but told by a sampler that throws successes away; {} are \
         overload, {} a shared database, {} poison messages, {} flap",
        of(&[Kind::Component, Kind::Process]),
        of(&[Kind::Sampled]),
        of(&[Kind::Overload, Kind::Overloaded]),
        of(&[Kind::Database]),
        of(&[Kind::Poison]),
        of(&[Kind::Flapping]),
    )
}

/// Something that is wrong, from a time to a time.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) from: f64,
    pub(super) until: f64,
    /// The units that fail, and with which share.
    pub(super) hits: Vec<(&'static str, f64)>,
    /// The smallest unit whose restart ends it.
    pub(super) cure: Option<&'static str>,
    pub(super) shape: &'static str,
    pub(super) reserve: Option<Reserve>,
}

impl Trouble {
    /// The share of a process's or component's requests that it fails.
    pub(super) fn share(&self, unit: &str) -> f64 {
        self.hits
            .iter()
            .map(|(name, share)| match *name == unit {
                true => *share,
                // A component's failures are a part of its process's, and the process's are its.
                false if name.starts_with(&format!("{unit}.")) => {
                    share * traffic_of(name) / traffic_of(unit)
                }
                false if unit.starts_with(&format!("{name}.")) => *share,
                false => 0.0,
            })
            .fold(0.0, f64::max)
    }

    pub(super) fn is_on(&self, at: f64) -> bool {
        (self.from..self.until).contains(&at)
    }

    /// Whether the restart of this process ends it.
    pub(super) fn is_cured_by_process(&self, process: &str) -> bool {
        self.cure
            .is_some_and(|cure| cure == process || cure.starts_with(&format!("{process}.")))
    }
}

/// Requests per second through a unit, and what is in it.
pub(super) fn traffic_of(unit: &str) -> f64 {
    let found = UNITS.iter().find(|(name, ..)| *name == unit);
    found.map_or(0.0, |unit| unit.3)
}

/// Seconds that a restart of the unit takes.
pub(super) fn downtime_of(unit: &str) -> f64 {
    let found = UNITS.iter().find(|(name, ..)| *name == unit);
    found.map_or(0.0, |unit| unit.2 as f64 / 1000.0)
}

/// All troubles of so many seconds, one after the other.
pub(super) fn draw(seed: u64, seconds: f64) -> Vec<Trouble> {
    let mut random = stream(seed, &[0]);
    let parts: Vec<&str> = UNITS
        .iter()
        .map(|unit| unit.0)
        .filter(|name| name.contains('.'))
        .collect();
    let weights = KINDS.map(|kind| kind.1);
    let mut troubles = Vec::new();
    let mut at = 0.0;
    while at < seconds {
        at += exponential(&mut random, QUIET);
        let lasts = exponential(&mut random, LASTS).max(5.0);
        let part = parts[random.random_range(0..parts.len())];
        let process = PROCESSES[random.random_range(0..PROCESSES.len())];
        let share = 0.6 + 0.4 * random.random::<f64>();
        let is_early = random.random::<bool>();
        let kind = KINDS[weighted(&mut random, &weights)].0;
        let mut trouble = Trouble {
            kind,
            from: at,
            until: at + lasts,
            hits: vec![(part, share)],
            cure: None,
            shape: "raised",
            reserve: None,
        };
        match kind {
            Kind::Component | Kind::Sampled => {
                trouble.cure = Some(part);
                trouble.until += 10.0 * LASTS;
                trouble.reserve = (kind == Kind::Sampled).then_some(Reserve::Sampler);
            }
            Kind::Process => {
                trouble.hits = vec![(process, share)];
                trouble.cure = Some(process);
                trouble.until += 10.0 * LASTS;
            }
            Kind::Overload => {
                trouble.hits = PROCESSES.iter().map(|name| (*name, share)).collect();
                trouble.shape = "slow";
                trouble.reserve = Some(Reserve::Overload);
            }
            Kind::Overloaded => {
                trouble.hits = vec![(process, share)];
                trouble.shape = "slow";
                trouble.reserve = Some(Reserve::Overload);
            }
            Kind::Database => {
                trouble.hits = match is_early {
                    true => vec![("bank", 0.9)],
                    false => vec![("shop", 0.9), ("bank", 0.9), ("mail", 0.9)],
                };
                trouble.reserve = Some(Reserve::Database);
            }
            Kind::Poison => trouble.hits = vec![(part, 0.5)],
            Kind::Flapping => {
                for _ in 0..5 {
                    trouble.from = at;
                    trouble.until = at + 10.0;
                    troubles.push(trouble.clone());
                    at += 30.0;
                }
                continue;
            }
        }
        at = trouble.until;
        troubles.push(trouble);
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_troubles_of_every_kind() {
        let troubles = draw(1, 100_000.0);
        let any = |wanted: fn(&Trouble) -> bool| troubles.iter().any(wanted);
        assert!(any(|it| it.cure.is_none() && it.hits.len() > 3));
        assert!(any(|it| it.is_cured_by_process("shop")));
        for reserve in Reserve::ALL {
            let told = || troubles.iter().filter(|it| it.reserve == Some(reserve));
            // A storm of its own must not be all that speaks against a restart.
            assert!(told().any(|it| it.hits.len() == 1), "{reserve:?}");
        }
        assert!(troubles.windows(2).all(|pair| pair[0].from <= pair[1].from));
    }
}
