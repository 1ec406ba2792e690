//! The way between two processes got longer: whose fault is that?
//!
//! Usually the callee's: it is slow to accept, or its network is slow to answer, so the gap between
//! the caller's span and the callee's is charged to the callee. Two things speak for the caller:
//!
//! - *The ways to most of its callees got longer* (of three or more; those that were called too seldom
//!   to tell have no say), and not those from the callees' other callers: what they have in common is
//!   the caller.
//! - *Only the way there got longer, not the way back.* A slow network delays what its own end
//!   sends: on the caller's side requests, on the callee's side answers (and the handshake). Starts
//!   of spans are compared for this, so clocks must not drift between baseline and window; a constant
//!   difference cancels out. A callee that is slow to accept looks the same from one caller, so the
//!   other callees and callers have a say here, too.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_stats::{LogHistogram, Shift};

use super::{Both, Families, Group};
use crate::rank::input::Part;

/// A way is longer when it surely takes 40 % more (half a doubling).
const LONGER: f64 = 0.5;
/// The part of the excess that lies on the way there. A callee's slow network delays its answers at
/// least as much as its handshake, so up to a half; a caller's delays requests only, so all. This is
/// the middle.
const ONE_WAY: f64 = 0.75;
/// From so many callees on, a majority of them is no coincidence.
const SEVERAL: usize = 3;
/// Two faults of two callees in one moment are rarer than one of their caller; one is as likely here as
/// there, and charged to the callee.
const TOGETHER: usize = 2;

/// One way in one group of requests.
#[derive(Clone, Copy)]
struct Way {
    longer: bool,
    /// Surely no longer than before. What is neither is not known.
    as_before: bool,
    only_there: bool,
}

/// How many groups of requests on the ways between two services there are, and in how many the way
/// got longer, stayed as before, and got longer only there.
#[derive(Clone, Copy, Default)]
struct Seen {
    groups: u32,
    longer: u32,
    as_before: u32,
    only_there: u32,
}

impl Seen {
    fn add(&mut self, way: Way) {
        self.groups += 1;
        self.longer += u32::from(way.longer);
        self.as_before += u32::from(way.as_before);
        self.only_there += u32::from(way.only_there);
    }

    /// Whether the way is longer; `None` where too few calls can tell.
    fn is_longer(&self) -> Option<bool> {
        match (self.longer, self.as_before) {
            (0, 0) => None,
            (longer, as_before) => Some(longer >= as_before),
        }
    }
}

/// Whom longer ways are charged to; by default, to callees.
#[derive(Default)]
pub(super) struct Ways {
    callers_fault: BTreeSet<(usize, usize, usize)>,
    charged: BTreeSet<(usize, usize)>,
}

/// A way that can be told to be longer, as before, or neither.
struct Looked<'a> {
    from: usize,
    to: usize,
    both: &'a Both<'a>,
    shift: Shift,
}

impl Looked<'_> {
    fn is_longer(&self) -> bool {
        self.shift.low > LONGER
    }

    fn way(&self, group: &Group<'_>) -> Way {
        let longer = self.is_longer();
        // Most aren't, and of those nobody asks where.
        let only_there = || {
            let there = group.there(self.from, self.to, self.both.group);
            let excess = |both: &Both<'_>| {
                let [before, now] = both.durations();
                mean(&now) - mean(&before)
            };
            there.as_ref().map_or(0.0, excess) >= ONE_WAY * excess(self.both)
        };
        Way {
            longer,
            as_before: self.shift.high() < LONGER,
            only_there: longer && only_there(),
        }
    }
}

impl Ways {
    /// `shifts` has what was found of each way.
    pub(super) fn of(group: &Group<'_>, shifts: &[Option<Shift>], families: &Families<'_>) -> Self {
        let is_longer = |shift: &Option<Shift>| shift.is_some_and(|it| it.low > LONGER);
        if !shifts.iter().any(is_longer) {
            return Self::default();
        }
        let looked: Vec<Looked<'_>> = group
            .gaps()
            .iter()
            .zip(shifts)
            .filter_map(|(both, shift)| match both.part {
                Part::Gap(from, to) => Some(Looked {
                    from,
                    to,
                    both,
                    shift: (*shift)?,
                }),
                _ => None,
            })
            .collect();
        // Only the ends of longer ways have anything to answer for.
        let ends = |it: &Looked<'_>| (families.get(it.from), families.get(it.to));
        let longer = looked.iter().filter(|it| it.is_longer());
        let (callers, callees): (Vec<usize>, Vec<usize>) = longer.map(ends).unzip();
        let callers = families.marked(callers.into_iter());
        let callees = families.marked(callees.into_iter());
        let mut ways: Vec<((usize, usize, usize), Way)> = Vec::new();
        let mut by_caller: BTreeMap<usize, BTreeMap<usize, Seen>> = BTreeMap::new();
        let mut by_callee: BTreeMap<usize, BTreeMap<usize, Seen>> = BTreeMap::new();
        for one in &looked {
            let (caller, callee) = ends(one);
            let (of_caller, of_callee) = (callers[caller], callees[callee]);
            if !of_caller && !of_callee {
                continue;
            }
            let way = one.way(group);
            ways.push(((one.from, one.to, one.both.group), way));
            if of_caller {
                let seen = by_caller.entry(caller).or_default();
                seen.entry(callee).or_default().add(way);
            }
            if of_callee {
                let seen = by_callee.entry(callee).or_default();
                seen.entry(caller).or_default().add(way);
            }
        }
        let mut found = Self::default();
        for ((from, to, group), way) in ways.into_iter().filter(|(_, way)| way.longer) {
            let (caller, callee) = (families.get(from), families.get(to));
            if is_callers_fault(way, &by_caller[&caller], &by_callee[&callee]) {
                found.callers_fault.insert((from, to, group));
                found.charged.insert((to, group));
            }
        }
        found
    }

    /// Whether the way between these operations is the caller's to answer for.
    pub(super) fn is_callers(&self, from: usize, to: usize, group: usize) -> bool {
        self.callers_fault.contains(&(from, to, group))
    }

    /// Whether any way to this operation is its caller's to answer for.
    pub(super) fn any_callers(&self, to: usize, group: usize) -> bool {
        self.charged.contains(&(to, group))
    }
}

/// Whether a way that is longer is.
fn is_callers_fault(
    way: Way,
    to_callees: &BTreeMap<usize, Seen>,
    from_callers: &BTreeMap<usize, Seen>,
) -> bool {
    let longer = |seen: &BTreeMap<usize, Seen>| {
        let known: Vec<bool> = seen.values().filter_map(Seen::is_longer).collect();
        let longer = known.iter().filter(|longer| **longer).count();
        (longer, longer as f64 / known.len().max(1) as f64)
    };
    let there = to_callees
        .values()
        .filter(|seen| seen.only_there * 2 >= seen.groups);
    let callees_there = there.count() as f64 / to_callees.len() as f64;
    let (how_many, callees_longer) = longer(to_callees);
    // A sole caller can't be told from the rest.
    let callers_longer = if from_callers.len() > 1 {
        longer(from_callers).1
    } else {
        0.0
    };
    let one_way = way.only_there && callees_there > 0.5 && callers_longer <= callees_there;
    let most_ways = to_callees.len() >= SEVERAL
        && how_many >= TOGETHER
        && callees_longer > 0.5
        && callers_longer < callees_longer;
    one_way || most_ways
}

fn mean(histogram: &LogHistogram) -> f64 {
    let sum: f64 = histogram.buckets().map(|(v, k)| v * k as f64).sum();
    sum / histogram.total().max(1) as f64
}
