//! A decision tree over requests: which components, touched together, make requests fail?
//!
//! Chen, Zheng, Lloyd, Jordan and Brewer (2004), *Failure diagnosis using decision trees*, ICAC. They learn trees by
//! C4.5 ([`super::c45`]) and by MinEntropy, which is here: it splits on one component at a time so that the entropy of
//! "failed?" becomes smallest, and follows the branch with the most failures only, since what is asked for is the way to
//! the failing leaf, not a classifier. Of either tree, the causes are read by the same rules:
//!
//! 1. leaves of successful requests are ignored;
//! 2. so are leaves with few of all failures (less than c %): there are only a few independent causes at a time;
//! 3. of a leaf's way, tests that a later one implies are merged into that (whoever touched a version touched its
//!    service), as far as the requests show such an order of components;
//! 4. causes are ranked by the failures in their leaves.
//!
//! A cause may be several components that fail together. Suspects are named one by one here, so the components of a
//! cause come in the order in which they were asked for; not to have touched something names nobody.

use std::collections::BTreeMap;
use std::ops::Add;

use super::evidence::Tally;
use super::input::{Case, Input};
use super::spectrum_formula::by_score;
use crate::{Level, Suspect};

/// Paths longer than this explain nothing to anybody.
const DEPTH: usize = 5;
/// Splits that gain less than a hundredth of a bit a request are noise.
const LEAST_GAIN: f64 = 0.01;
/// The c of the second rule: leaves with less than a tenth of all failures are noise.
const NOISE: f64 = 0.1;

/// What a tree knows of requests that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What they touched, sorted.
    pub features: Vec<usize>,
    /// Whether they failed.
    pub failed: bool,
    /// How many.
    pub count: u64,
}

impl Request {
    pub(super) fn has(&self, feature: usize) -> bool {
        self.features.binary_search(&feature).is_ok()
    }
}

/// Failed and good requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ends {
    /// Failed ones.
    pub failed: f64,
    /// Good ones.
    pub ok: f64,
}

impl Ends {
    pub(super) fn of(requests: &[&Request]) -> Self {
        let mut ends = Self::default();
        for request in requests {
            ends.count(request);
        }
        ends
    }

    /// Those of the requests that have each feature.
    pub(super) fn per_feature<'a>(
        requests: impl Iterator<Item = &'a Request>,
        features: usize,
    ) -> Vec<Self> {
        let mut with = vec![Self::default(); features];
        for request in requests {
            for feature in &request.features {
                with[*feature].count(request);
            }
        }
        with
    }

    fn count(&mut self, request: &Request) {
        let side = match request.failed {
            true => &mut self.failed,
            false => &mut self.ok,
        };
        *side += request.count as f64;
    }

    pub(super) fn total(self) -> f64 {
        self.failed + self.ok
    }

    /// How many are not of the majority.
    pub(super) fn errors(self) -> f64 {
        self.failed.min(self.ok)
    }

    /// The entropy of "failed?", in bits.
    pub fn entropy(self) -> f64 {
        let bits = |part: f64| {
            let share = part / self.total();
            if part > 0.0 {
                -share * share.log2()
            } else {
                0.0
            }
        };
        bits(self.failed) + bits(self.ok)
    }
}

impl Add for Ends {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            failed: self.failed + other.failed,
            ok: self.ok + other.ok,
        }
    }
}

/// Bits a request that a split gains.
pub fn gain(all: Ends, with: Ends) -> f64 {
    let without = Ends {
        failed: all.failed - with.failed,
        ok: all.ok - with.ok,
    };
    let part = |ends: Ends| {
        if ends.total() > 0.0 {
            ends.total() / all.total() * ends.entropy()
        } else {
            0.0
        }
    };
    all.entropy() - part(with) - part(without)
}

/// The failures of the window, and all good requests: what they touched of what could be at fault in one of many
/// services. Hosts and operations would say the same again, in other words.
pub(super) fn requests(input: &Input) -> Vec<Request> {
    let level = |at: usize| input.subjects[at].component.level;
    let good = input.baseline.iter().filter(|case| case.is_ok());
    let of = |case: &Case| Request {
        features: input.rows[case.row]
            .touches
            .iter()
            .map(|touch| touch.subject)
            .filter(|at| !matches!(level(*at), Level::Host | Level::Operation))
            .collect(),
        failed: case.is_failure(),
        count: case.count,
    };
    let known = |case: &&Case| case.is_failure() || case.is_ok();
    input
        .window
        .iter()
        .chain(good)
        .filter(known)
        .map(of)
        .collect()
}

/// The way to a leaf: components, and whether they were touched.
pub(super) type Way = Vec<(usize, bool)>;

/// Ranks the components on the way to the most failures.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let requests = requests(input);
    let mut left: Vec<&Request> = requests.iter().collect();
    let mut leaves = Vec::new();
    let mut way = Way::new();
    while way.len() < DEPTH {
        let Some(best) = best_split(&left, input.subjects.len()) else {
            break;
        };
        left.retain(|request| request.has(best));
        way.push((best, true));
    }
    leaves.push((way, Ends::of(&left).failed));
    by_score(input, tally, causes(&requests, leaves))
}

/// The component whose presence gains most, and goes with failing.
fn best_split(requests: &[&Request], features: usize) -> Option<usize> {
    let all = Ends::of(requests);
    Ends::per_feature(requests.iter().copied(), features)
        .into_iter()
        .enumerate()
        .filter(|(_, ends)| ends.failed * all.total() > all.failed * ends.total())
        .map(|(at, ends)| (at, gain(all, ends)))
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
        .filter(|(_, gained)| *gained >= LEAST_GAIN)
        .map(|(at, _)| at)
}

/// The components that the leaves' ways name, and how many failures each explains. `leaves` are those of failed
/// requests, with how many failed in each.
pub fn causes(requests: &[Request], leaves: Vec<(Way, f64)>) -> BTreeMap<usize, f64> {
    let failed = requests.iter().filter(|request| request.failed);
    let failures = failed.map(|request| request.count as f64).sum::<f64>();
    let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
    for (way, explained) in leaves {
        if explained < NOISE * failures {
            continue;
        }
        let touched = merged(requests, &way);
        let touched = touched.into_iter().filter(|(_, touched)| *touched);
        for (place, (component, _)) in (1u32..).zip(touched) {
            *scores.entry(component).or_default() += explained / f64::from(place);
        }
    }
    scores
}

/// The way without the tests that a later one implies: each request that passes the later one passes them.
fn merged(requests: &[Request], way: &[(usize, bool)]) -> Way {
    let passes = |request: &Request, test: &(usize, bool)| request.has(test.0) == test.1;
    let implies = |later: &(usize, bool), test: &(usize, bool)| {
        let mut passing = requests.iter().filter(|request| passes(request, later));
        passing.all(|request| passes(request, test))
    };
    let kept = way.iter().enumerate().filter(|(place, test)| {
        let mut later = way[place + 1..].iter();
        !later.any(|later| implies(later, test))
    });
    kept.map(|(_, test)| *test).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_and_gain_by_hand() {
        let all = Ends {
            failed: 9.0,
            ok: 5.0,
        };
        // Quinlan's weather (1986): 0.940 bits, and 0.048 gained by "wind is weak" (6 of 8).
        assert!((all.entropy() - 0.940).abs() < 5e-4);
        let weak = Ends {
            failed: 6.0,
            ok: 2.0,
        };
        assert!((gain(all, weak) - 0.048).abs() < 5e-4);
        assert!(gain(all, Ends::default()).abs() < 1e-12);
    }

    fn request(features: &[usize], failed: bool, count: u64) -> Request {
        Request {
            features: features.to_vec(),
            failed,
            count,
        }
    }

    #[test]
    fn of_a_leaf_what_is_implied_is_merged_and_what_is_small_is_noise() {
        // 0 is a service, 1 and 2 its versions, 3 another service.
        let requests = [
            request(&[0, 1, 3], false, 50),
            request(&[0, 2, 3], true, 19),
            request(&[0, 2], false, 40),
            request(&[3], true, 1),
        ];
        let way = |tests: &[(usize, bool)]| tests.to_vec();
        let found = |leaves: &[(&[(usize, bool)], f64)]| {
            let leaves = leaves.iter().map(|(tests, n)| (way(tests), *n)).collect();
            causes(&requests, leaves).into_iter().collect::<Vec<_>>()
        };
        // Who touched version 2 touched the service and not version 1.
        let both: &[_] = &[(0, true), (1, false), (2, true), (3, true)];
        assert_eq!(found(&[(both, 19.0)]), [(2, 19.0), (3, 9.5)]);
        // A twentieth of the failures is noise, and who wasn't there is no suspect.
        assert_eq!(found(&[(&[(0, false)], 1.0)]), []);
        assert_eq!(found(&[(&[(1, false)], 20.0)]), []);
        // Two causes of one component add up.
        let twice: &[(&[_], _)] = &[(&[(2, true)], 10.0), (&[(3, true), (2, true)], 4.0)];
        assert_eq!(found(twice), [(2, 12.0), (3, 4.0)]);
    }
}
