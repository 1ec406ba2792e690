//! An auction site that is ill: what can be restarted, what breaks, and what cures it.
//!
//! The units, their restart times and the kinds of fault are those of the microreboot paper's
//! evaluation (OSDI 2004): an application server whose components restart in 0.4 to 1 s, the
//! application in 8 s, the server's process in 19 s. How often each kind and each component fails
//! is drawn anew for every seed, because nobody publishes that and it must not matter.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::rngs::StdRng;
use rekindle_recovery::{
    Circumstances, CommandSpec, Evidence, ExecutorSpec, FaultSignature, Mode, RestartTree, Source,
    SuspectUnit, UnitName, UnitSpec,
};

use super::random::{exponential, stream, weighted};

/// Users' requests per second: 500 clients in the paper made 72.
pub(super) const REQUESTS_PER_SECOND: f64 = 72.0;
/// The share of requests that fails while all is well.
pub(super) const BASELINE: f64 = 0.002;
/// A restart takes between this much less and this much more than it usually does.
const JITTER: f64 = 0.2;

/// Name, what contains it, restart time in milliseconds, share of the requests that pass through
/// it. Restart times: published (recalled) for the least and the greatest session bean, the entity
/// group, the web tier, the application and the process; in between and the node: assumed. Shares:
/// after the published mix of request kinds.
const UNITS: [(&str, &str, u64, f64); 20] = [
    ("node", "", 60_000, 1.0),
    ("server", "node", 19_083, 1.0),
    ("application", "server", 7_699, 1.0),
    ("web", "application", 1_028, 1.0),
    ("entities", "application", 825, 0.70),
    ("browse-categories", "application", 411, 0.10),
    ("browse-regions", "application", 416, 0.06),
    ("view-item", "application", 446, 0.16),
    ("view-bid-history", "application", 450, 0.06),
    ("view-user", "application", 415, 0.05),
    ("search-category", "application", 442, 0.07),
    ("search-region", "application", 460, 0.05),
    ("authenticate", "application", 491, 0.12),
    ("about-me", "application", 551, 0.06),
    ("make-bid", "application", 514, 0.05),
    ("commit-bid", "application", 533, 0.05),
    ("register-item", "application", 543, 0.04),
    ("register-user", "application", 601, 0.05),
    ("buy-now", "application", 471, 0.03),
    ("leave-feedback", "application", 483, 0.03),
];
/// How often a bean fails when what it uses does: some requests are answered without.
const SPREADS: f64 = 0.8;
/// Where the session beans begin among [`UNITS`].
const FIRST_BEAN: usize = 5;

/// Where a kind of fault sits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seat {
    /// In one of the session beans.
    Bean,
    /// In this unit; users see it in the unit itself.
    Unit(&'static str),
    /// In this unit, but half of the time it shows in one bean first.
    Below(&'static str),
}

/// What is the smallest that ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// The restart of where it sits.
    Seat,
    /// Time.
    ByItself,
    /// A person only.
    Never,
}

/// The paper's fault table: kind, shape and error type of what telemetry shows, seat, cure. Kinds
/// that look alike are told apart by nothing but what cured them.
const KINDS: [(&str, &str, &str, Seat, Ends); 16] = [
    ("deadlock", "unanswered", "", Seat::Bean, Ends::Seat),
    ("infinite loop", "unanswered", "", Seat::Bean, Ends::Seat),
    (
        "leak in a component",
        "raised",
        "OutOfMemory",
        Seat::Bean,
        Ends::Seat,
    ),
    (
        "transient exception",
        "raised",
        "Exception",
        Seat::Bean,
        Ends::Seat,
    ),
    (
        "primary keys null or invalid",
        "raised",
        "NullPointer",
        Seat::Unit("entities"),
        Ends::Seat,
    ),
    (
        "primary keys wrong",
        "wrong_answer",
        "",
        Seat::Unit("entities"),
        Ends::Never,
    ),
    (
        "naming entry corrupt",
        "raised",
        "NameNotFound",
        Seat::Bean,
        Ends::Seat,
    ),
    (
        "transaction map corrupt",
        "raised",
        "IllegalState",
        Seat::Bean,
        Ends::Seat,
    ),
    (
        "bean attributes null",
        "raised",
        "NullPointer",
        Seat::Bean,
        Ends::ByItself,
    ),
    (
        "bean attributes wrong",
        "wrong_answer",
        "",
        Seat::Bean,
        Ends::Never,
    ),
    (
        "sessions in memory corrupt",
        "raised",
        "ClassCast",
        Seat::Below("web"),
        Ends::Seat,
    ),
    (
        "session store corrupt",
        "raised",
        "Checksum",
        Seat::Unit("web"),
        Ends::ByItself,
    ),
    (
        "database corrupt",
        "raised",
        "Sql",
        Seat::Unit("entities"),
        Ends::Never,
    ),
    (
        "leak in the server",
        "raised",
        "OutOfMemory",
        Seat::Below("server"),
        Ends::Seat,
    ),
    (
        "bit flips, bad system calls",
        "raised",
        "InternalError",
        Seat::Below("server"),
        Ends::Seat,
    ),
    (
        "leak outside the server",
        "unanswered",
        "",
        Seat::Unit("node"),
        Ends::Seat,
    ),
];

/// What ends a fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cure {
    /// It goes after this many seconds, whatever is done.
    Time(f64),
    /// The restart of this unit, or of any that contains it.
    Restart(UnitName),
    /// A person only.
    Person,
}

/// One fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// The kind's name.
    pub(super) kind: &'static str,
    /// Where users meet it.
    pub(super) shows_in: UnitName,
    /// What ends it.
    pub(super) cure: Cure,
    /// A smaller unit whose restart takes away a part, and which part, in `(0, 1)`.
    pub(super) eased_by: Option<(UnitName, f64)>,
    /// The share of requests through the unit that fail, in `(0, 1]`.
    pub(super) severity: f64,
    /// What recovery is told.
    pub(super) evidence: Evidence,
}

impl Fault {
    /// Whether users meet it in a session bean.
    pub(super) fn is_in_bean(&self, site: &Site) -> bool {
        site.beans().any(|bean| bean == self.shows_in)
    }
}

/// The site.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) tree: RestartTree,
    shares: BTreeMap<UnitName, f64>,
}

impl Site {
    pub(super) fn new() -> Self {
        let specs = UNITS.iter().map(|(name, parent, millis, _)| {
            let downtime = Duration::from_millis(*millis);
            unit(name, parent, downtime)
        });
        Self {
            // The constant above is a tree; a test says so.
            tree: RestartTree::build(specs.collect()).unwrap_or_default(),
            shares: UNITS
                .iter()
                .map(|(name, _, _, share)| (UnitName::from(*name), *share))
                .collect(),
        }
    }

    /// Requests per second that pass through the unit.
    pub(super) fn traffic(&self, unit: &UnitName) -> f64 {
        REQUESTS_PER_SECOND * self.share(unit)
    }

    /// The share of requests that pass through the unit.
    pub(super) fn share(&self, unit: &UnitName) -> f64 {
        self.shares.get(unit).copied().unwrap_or(0.0)
    }

    /// The same site with this share of the requests through each session bean.
    pub(super) fn with_share(&self, share: f64) -> Self {
        let mut site = self.clone();
        site.shares.extend(self.beans().map(|bean| (bean, share)));
        site
    }

    /// The same site, where nothing is restarted but by a person's word.
    pub(super) fn by_order(&self) -> Self {
        let specs = self.tree.units().map(|spec| UnitSpec {
            mode: Some(Mode::Propose),
            ..spec.clone()
        });
        Self {
            tree: RestartTree::build(specs.collect()).unwrap_or_default(),
            shares: self.shares.clone(),
        }
    }

    /// What the failure map of such a site says: every bean uses the web tier's sessions and the entities,
    /// and fails with them. Which of the two a fault of this or that look sits in is for recovery to learn.
    fn sources(&self) -> BTreeMap<UnitName, Vec<Source>> {
        let of = |unit: &str| Source {
            unit: unit.into(),
            share: SPREADS,
        };
        self.beans()
            .map(|bean| (bean, vec![of("web"), of("entities")]))
            .collect()
    }

    /// The session beans.
    pub(super) fn beans(&self) -> impl Iterator<Item = UnitName> + Clone {
        UNITS[FIRST_BEAN..]
            .iter()
            .map(|unit| UnitName::from(unit.0))
    }

    /// How long the unit's restart usually takes, in seconds.
    pub(super) fn usual(&self, unit: &UnitName) -> f64 {
        self.tree
            .spec(unit)
            .and_then(|spec| spec.expected_downtime)
            .unwrap_or_default()
            .as_secs_f64()
    }

    /// How long the restart takes this time.
    pub(super) fn downtime(&self, unit: &UnitName, random: &mut StdRng) -> f64 {
        self.usual(unit) * random.random_range(1.0 - JITTER..1.0 + JITTER)
    }
}

/// A unit that a simulation restarts. Nothing ever runs the command.
pub(super) fn unit(name: &str, parent: &str, downtime: Duration) -> UnitSpec {
    UnitSpec {
        name: name.into(),
        parent: (!parent.is_empty()).then(|| parent.into()),
        selector: BTreeMap::new(),
        executor: Some(ExecutorSpec::Command(CommandSpec {
            command: vec!["simulated".to_owned()],
            timeout: downtime,
        })),
        start_deadline: downtime * 3,
        ready: None,
        check: None,
        watches: Vec::new(),
        mode: Some(Mode::Auto),
        expected_downtime: Some(downtime),
        rules: rekindle_recovery::UnitRules::default(),
        around: rekindle_recovery::Around::default(),
    }
}

/// Where the first suspect is wrong, the second is right so often.
const SECOND: f64 = 0.8;

/// How often each kind and each bean fails on one site, and what ranking makes of it.
#[derive(Clone, Debug)]
pub(super) struct Mix {
    seed: u64,
    kinds: Vec<f64>,
    beans: Vec<f64>,
    /// Cures are one step higher up than the table says: what was learned elsewhere is wrong here.
    is_inverted: bool,
}

/// What goes by itself goes after at least so many seconds …
pub(super) const SHORTEST: f64 = 2.0;
/// … and at most so many.
pub(super) const LONGEST: f64 = 8.0;
/// Of faults that a component's restart cures, so many are cured by it in part only: what remains
/// sits in the application.
const EASED: f64 = 0.1;

impl Mix {
    /// A site's own mix: frequencies of kinds and beans are drawn uniformly from all that add up to 1.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = stream(seed, &[0]);
        let kinds = KINDS.iter().map(|_| exponential(&mut random, 1.0));
        let kinds = kinds.collect();
        let beans = UNITS[FIRST_BEAN..]
            .iter()
            .map(|_| exponential(&mut random, 1.0))
            .collect();
        Self {
            seed,
            kinds,
            beans,
            is_inverted: false,
        }
    }

    /// Another site with the same frequencies, where what a component's restart cures here takes the
    /// whole server, and what takes the server here a component's restart cures.
    pub(super) fn inverted(&self) -> Self {
        Self {
            is_inverted: true,
            ..self.clone()
        }
    }

    /// The n-th fault of this site.
    pub(super) fn fault(&self, site: &Site, number: u64, now: SystemTime) -> Fault {
        let mut random = stream(self.seed, &[1, number, u64::from(self.is_inverted)]);
        let (kind, shape, error_type, seat, ends) = KINDS[weighted(&mut random, &self.kinds)];
        let bean = UNITS[FIRST_BEAN + weighted(&mut random, &self.beans)].0;
        let (sits_in, shows_in) = match seat {
            Seat::Bean => (bean, bean),
            Seat::Unit(unit) => (unit, unit),
            Seat::Below(unit) if random.random::<bool>() => (unit, bean),
            Seat::Below(unit) => (unit, unit),
        };
        let mut sits_in = UnitName::from(sits_in);
        let mut shows_in = UnitName::from(shows_in);
        if self.is_inverted && ends == Ends::Seat {
            if sits_in.as_str() == "server" {
                sits_in = bean.into();
                shows_in = bean.into();
            } else if seat == Seat::Bean {
                sits_in = "server".into();
            }
        }
        let heals_after = SHORTEST + (LONGEST - SHORTEST) * random.random::<f64>();
        let is_eased = random.random::<f64>() < EASED;
        let relief = 0.5 + 0.4 * random.random::<f64>();
        let (cure, eased_by) = match ends {
            Ends::ByItself => (Cure::Time(heals_after), None),
            Ends::Never => (Cure::Person, None),
            Ends::Seat if seat == Seat::Bean && is_eased => {
                let whole = UnitName::from("application");
                (Cure::Restart(whole), Some((sits_in, relief)))
            }
            Ends::Seat => (Cure::Restart(sits_in), None),
        };
        let severity = 0.3 + 0.7 * random.random::<f64>();
        let failing_per_second = severity * site.traffic(&shows_in);
        let suspects = self.suspects(site, &shows_in, &mut random);
        let evidence = Evidence {
            incident: number + 1,
            at: now,
            since: now,
            signature: FaultSignature {
                // Naming where users meet it would tell the culprit to whoever learns names.
                request_types: vec!["requests of the site".to_owned()],
                error_type: error_type.to_owned(),
                shape: shape.to_owned(),
            },
            suspects,
            baseline_failure_share: BASELINE,
            failing_per_second,
            traffic: site
                .tree
                .units()
                .map(|spec| (spec.name.clone(), site.traffic(&spec.name)))
                .collect(),
            closed: false,
            joined_into: None,
            circumstances: Circumstances {
                sources: site.sources(),
                ..Circumstances::default()
            },
        };
        Fault {
            kind,
            shows_in,
            cure,
            eased_by,
            severity,
            evidence,
        }
    }

    /// What could have led to this evidence, with weights that needn't add up to 1: what those know who
    /// know how often each kind and each bean fails and how ranking errs, but not what is the matter.
    /// How many and which requests fail is taken to say nothing, as ranking has looked at that already.
    pub(super) fn posterior(&self, evidence: &Evidence) -> Vec<(Cause, f64)> {
        let FaultSignature {
            shape, error_type, ..
        } = &evidence.signature;
        let mut causes: Vec<(Cause, f64)> = Vec::new();
        let mut add = |cure: Cure, eased_by: Option<UnitName>, shows_in: &str, weight: f64| {
            let weight = weight * said_of(&shows_in.into(), &evidence.suspects);
            let cause = Cause { cure, eased_by };
            match causes.iter_mut().find(|(known, _)| *known == cause) {
                _ if weight <= 0.0 => {}
                Some((_, known)) => *known += weight,
                None => causes.push((cause, weight)),
            }
        };
        let beans = UNITS[FIRST_BEAN..].iter().map(|unit| unit.0);
        let all: f64 = self.beans.iter().sum();
        for (bean, often) in beans.zip(&self.beans) {
            let often = often / all;
            for ((_, looks, says, seat, ends), kind) in KINDS.iter().zip(&self.kinds) {
                if (looks, says) != (&shape.as_str(), &error_type.as_str()) {
                    continue;
                }
                let weight = often * kind;
                // Where it shows, where it sits, and how much of the kind that is.
                let places: &[(&str, &str, f64)] = match seat {
                    Seat::Bean => &[(bean, bean, 1.0)],
                    Seat::Unit(unit) => &[(unit, unit, 1.0)],
                    Seat::Below(unit) => &[(bean, unit, 0.5), (unit, unit, 0.5)],
                };
                for (shows, sits, part) in places {
                    let weight = weight * part;
                    match ends {
                        Ends::ByItself => add(Cure::Time(LONGEST), None, shows, weight),
                        Ends::Never => add(Cure::Person, None, shows, weight),
                        Ends::Seat if *seat == Seat::Bean => {
                            let whole = Cure::Restart("application".into());
                            let sits = UnitName::from(*sits);
                            add(whole, Some(sits.clone()), shows, weight * EASED);
                            add(Cure::Restart(sits), None, shows, weight * (1.0 - EASED));
                        }
                        Ends::Seat => add(Cure::Restart((*sits).into()), None, shows, weight),
                    }
                }
            }
        }
        causes
    }

    /// What ranking says: mostly sure and right, sometimes unsure, sometimes wrong. It means what it
    /// says: of suspects called likely with 70 %, 70 % are right.
    fn suspects(&self, site: &Site, truth: &UnitName, random: &mut StdRng) -> Vec<SuspectUnit> {
        let first = [0.95, 0.8, 0.6, 0.45][weighted(random, &[0.5, 0.25, 0.15, 0.1])];
        let second = SECOND * (1.0 - first);
        let mut other = || {
            let beans: Vec<&str> = UNITS[FIRST_BEAN..].iter().map(|unit| unit.0).collect();
            let others: Vec<&str> = beans
                .into_iter()
                .filter(|name| *name != truth.as_str())
                .collect();
            UnitName::from(others[random.random_range(0..others.len())])
        };
        let (decoy, third) = (other(), other());
        let luck = random.random::<f64>();
        let (one, two) = if luck < first {
            (truth.clone(), decoy)
        } else if luck < first + second {
            (decoy, truth.clone())
        } else {
            (decoy, third)
        };
        let mut suspects = vec![(one, first)];
        if suspects[0].0 != two && site.tree.spec(&two).is_some() {
            suspects.push((two, second));
        }
        suspects
            .into_iter()
            .map(|(unit, probability)| SuspectUnit {
                unit,
                probability,
                two_sided: true,
                reason: String::new(),
            })
            .collect()
    }
}

/// Why a fault may look as it does: what ends it, and what would ease it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cause {
    pub(super) cure: Cure,
    pub(super) eased_by: Option<UnitName>,
}

/// How likely ranking says this of a fault that shows in `truth`: see [`Mix::suspects`], but for what is
/// the same for all faults.
fn said_of(truth: &UnitName, suspects: &[SuspectUnit]) -> f64 {
    let is_bean = UNITS[FIRST_BEAN..]
        .iter()
        .any(|unit| unit.0 == truth.as_str());
    let others = (UNITS.len() - FIRST_BEAN - usize::from(is_bean)) as f64;
    let Some(first) = suspects.first() else {
        return 1.0;
    };
    let second = SECOND * (1.0 - first.probability);
    if first.unit == *truth {
        first.probability / others
    } else if suspects.get(1).is_some_and(|two| two.unit == *truth) {
        second / others
    } else {
        (1.0 - first.probability - second) / (others * others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_is_a_tree() {
        let site = Site::new();
        assert_eq!(site.tree.len(), UNITS.len());
        for (name, ..) in UNITS {
            assert!(site.traffic(&name.into()) > 0.0, "{name}");
        }
    }

    #[test]
    fn ranking_means_what_it_says() {
        let (site, mix) = (Site::new(), Mix::of(3));
        let (mut said, mut right) = (0.0, 0.0);
        for number in 0..2000 {
            let fault = mix.fault(&site, number, SystemTime::UNIX_EPOCH);
            let first = &fault.evidence.suspects[0];
            said += first.probability;
            right += f64::from(u8::from(first.unit == fault.shows_in));
        }
        assert!((said - right).abs() < 60.0, "{said} said, {right} right");
    }

    #[test]
    fn every_kind_of_cure_is_in_the_mix() {
        let (site, mix) = (Site::new(), Mix::of(4));
        let faults: Vec<Fault> = (0..500)
            .map(|number| mix.fault(&site, number, SystemTime::UNIX_EPOCH))
            .collect();
        let any = |wanted: fn(&Fault) -> bool| faults.iter().any(wanted);
        assert!(any(|fault| matches!(fault.cure, Cure::Time(_))));
        assert!(any(|fault| matches!(fault.cure, Cure::Person)));
        assert!(any(|fault| matches!(fault.cure, Cure::Restart(_))));
        assert!(any(|fault| fault.eased_by.is_some()));
    }
}
