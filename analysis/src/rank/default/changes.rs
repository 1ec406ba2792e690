//! Who works differently than before, whether or not a request failed?
//!
//! Not every fault makes failures: a component gets slower, or stops asking whom it used to ask. Both
//! are found by comparing the window with the baseline, per operation and request type, and both are
//! measured in one unit: *the share of calls that are affected, times how badly*. How badly is
//! counted in doublings of the duration; a call that isn't made any more counts as one
//! ([`stops`]), a call that failed as ten (`default.rs`).
//!
//! How much calm times change by themselves is measured the same way, between the two halves of the
//! baseline: what is not above that is no evidence.

mod compared;
mod known_ways;
mod slower;
mod stops;
mod ways;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use super::{Choice, Choices};
use crate::Shape;
use crate::rank::cause::Cause;
use crate::rank::evidence::Tally;
use crate::rank::input::Input;
use compared::{Both, Drawn, Group};

/// Of all the comparisons in calm times, so many may be taken for a change in all: one in twenty.
pub(super) const MISTAKES: f64 = 0.05;

/// So many durations are compared in about the time in which a thread begins.
const WORTH_A_THREAD: usize = 1_000;

/// A service or dependency that works differently.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Its index among the subjects.
    pub(super) family: usize,
    /// The share of calls affected, times how badly, times how probable it is that it's no chance.
    pub(super) score: f64,
    /// How many such changes chance alone shows where nothing changed, as often as was looked.
    pub(super) by_chance: f64,
    pub(super) shape: Shape,
    /// What changed: the largest of each kind, the largest first.
    pub(super) causes: Vec<Cause>,
}

impl Change {
    /// Whether chance is no explanation, as often as was looked (Bonferroni's correction).
    pub(super) fn is_clear(&self) -> bool {
        self.by_chance <= MISTAKES
    }
}

/// What comparisons found.
#[derive(Debug, Default)]
struct Found {
    changes: Vec<Change>,
    /// Of the comparisons that aren't changes: how many chance shows that are as surprising, and how many of them.
    others: Vec<(f64, usize)>,
}

impl Found {
    fn extend(&mut self, more: Self) {
        self.changes.extend(more.changes);
        self.others.extend(more.others);
    }
}

/// Weighs each change by how probable it is that it's no chance. Of those that are at least as surprising,
/// chance makes `by_chance`; that over their number is the false discovery rate q (Benjamini and Hochberg
/// 1995, JRSS B 57:289–300), and a change counts 1/(1 + q). A rare operation's jitter is large, but there are
/// hundreds of them; a true change shows in many comparisons at once.
///
/// `others` are those of the comparisons that aren't changes, which were looked at as well: what is no more surprising
/// than they are is one of many, and q is never much more than 1.
fn weigh(found: &mut [Change], others: &[(f64, usize)]) {
    let of_changes = found.iter().map(|change| (change.by_chance, 1));
    let mut surprises: Vec<(f64, usize)> = of_changes.chain(others.iter().copied()).collect();
    surprises.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut so_far = 0;
    for (_, how_many) in &mut surprises {
        so_far += *how_many;
        *how_many = so_far;
    }
    for change in found {
        let as_surprising = surprises.partition_point(|(other, _)| *other <= change.by_chance);
        let how_many = surprises[as_surprising - 1].1;
        change.score /= 1.0 + change.by_chance / how_many as f64;
    }
}

/// Which two times are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// The window with the baseline.
    Fault,
    /// The later half of the baseline with the earlier one.
    Calm,
}

/// On how many threads is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    One,
    Two,
}

/// What changed, the most first; each family once, with its largest change.
pub(super) fn changes(
    input: &Input,
    tally: &Tally,
    period: Period,
    choices: Choices,
) -> Vec<Change> {
    let threads = match input.timed.len() < WORTH_A_THREAD {
        true => Threads::One,
        false => Threads::Two,
    };
    changes_on(threads, input, tally, period, choices)
}

/// The same, whatever it is compared on.
fn changes_on(
    threads: Threads,
    input: &Input,
    tally: &Tally,
    period: Period,
    choices: Choices,
) -> Vec<Change> {
    let families = Families(&tally.families);
    let drawn = Drawn::of(input, period);
    let by_type = || {
        let group = Group::by_type(&drawn);
        let slower = slower::slower(&group, &families, choices);
        (slower, stops::stops(input, period, &families, &drawn))
    };
    let over_all = || {
        let group = Group::all(&drawn);
        let slower = slower::slower(&group, &families, choices);
        (group, slower)
    };
    let ((all, mut found), (by_type, stops)) = match threads {
        Threads::One => (over_all(), by_type()),
        Threads::Two => at_once(over_all, by_type),
    };
    found.extend(by_type);
    slower::weigh_together(&mut found.changes, &all, &families);
    if choices.has(Choice::LessWork) {
        found.extend(slower::faster(&all, &families, &stops.changed));
    }
    if choices.has(Choice::Stops) {
        found.extend(stops.found);
    }
    weigh(&mut found.changes, &found.others);
    let mut best: BTreeMap<usize, Change> = BTreeMap::new();
    for change in found.changes {
        if change.score < 0.0 {
            continue;
        }
        let Some(known) = best.get_mut(&change.family) else {
            best.insert(change.family, change);
            continue;
        };
        known.by_chance = known.by_chance.min(change.by_chance);
        if change.score > known.score {
            let before = std::mem::replace(&mut known.causes, change.causes);
            known.causes.extend(before);
            (known.score, known.shape) = (change.score, change.shape);
        } else {
            known.causes.extend(change.causes);
        }
        one_of_each_kind(&mut known.causes);
    }
    let mut changes: Vec<Change> = best.into_values().collect();
    changes.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.family.cmp(&b.family))
    });
    changes
}

/// Does both at the same time; one after the other where no thread can be had.
fn at_once<A, B: Send>(here: impl FnOnce() -> A, beside: impl Fn() -> B + Sync) -> (A, B) {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().spawn_scoped(scope, &beside);
        let here = here();
        let beside = match spawned {
            Ok(thread) => thread.join().unwrap_or_else(|cause| resume_unwind(cause)),
            Err(_) => beside(),
        };
        (here, beside)
    })
}

/// Keeps the first of each kind.
fn one_of_each_kind(causes: &mut Vec<Cause>) {
    if let [first, rest @ ..] = causes.as_slice() {
        let takes = matches!(first, Cause::Takes(_));
        let other = rest
            .iter()
            .find(|cause| matches!(cause, Cause::Takes(_)) != takes);
        *causes = [Some(*first), other.copied()]
            .into_iter()
            .flatten()
            .collect();
    }
}

/// The service of each operation, as a subject where it is one.
pub(super) struct Families<'a>(&'a [usize]);

impl Families<'_> {
    pub(super) const fn get(&self, subject: usize) -> usize {
        self.0[subject]
    }

    /// For each subject whether its family is among these.
    pub(super) fn marked(&self, families: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut marked = vec![false; self.0.len()];
        families.for_each(|family| marked[family] = true);
        marked
    }
}

#[cfg(test)]
mod tests {
    use rekindle_model::Trace;

    use super::*;
    use crate::testing::{Call, T};
    use crate::{AnalysisConfig, input_of};

    /// A shop of many pages, each of which asks for its own goods; with the fault some take longer, and some aren't asked
    /// any more.
    fn traces(first: u128, with_fault: bool) -> Vec<Trace> {
        let request = |n: u64| {
            let page = n % 40;
            let slow = if with_fault && page.is_multiple_of(3) {
                90
            } else {
                0
            };
            let goods = Call::server(&format!("goods {page}"), "GET /goods");
            let goods = Call::client("ask").with(goods.takes(4 + n * 7 % 5 + slow));
            let shop = Call::server("shop", &format!("GET /{page}")).takes(3 + n % 4);
            let shop = match with_fault && page % 7 == 1 {
                true => shop,
                false => shop.with(goods),
            };
            T {
                id: first + u128::from(n),
                ..T::default()
            }
            .build(shop)
        };
        (0..2_400).map(request).collect()
    }

    #[test]
    fn two_threads_find_what_one_finds() {
        let config = AnalysisConfig::default();
        let input = input_of(&config, &traces(1, false), &traces(1_000_000, true));
        let tally = Tally::of(&input);
        for period in [Period::Fault, Period::Calm] {
            let [alone, together] = [Threads::One, Threads::Two]
                .map(|threads| changes_on(threads, &input, &tally, period, Choices::default()));
            assert_eq!(format!("{alone:?}"), format!("{together:?}"), "{period:?}");
            assert!(
                period == Period::Calm || alone.len() > 10,
                "{}",
                alone.len()
            );
        }
    }

    fn change(by_chance: f64) -> Change {
        Change {
            family: 0,
            score: 1.0,
            by_chance,
            shape: Shape::Slow,
            causes: Vec::new(),
        }
    }

    #[test]
    fn what_is_dropped_makes_others_no_less_sure() {
        // Of 300 comparisons, so probable by chance where nothing changed:
        let comparisons: Vec<f64> = (0..300u32)
            .map(|n| match n {
                0 => 1e-6,
                1..=4 => 0.001 * f64::from(n),
                _ => 1.0,
            })
            .collect();
        let by_chance = |p: &f64| p * comparisons.len() as f64;
        let all: Vec<f64> = comparisons.iter().map(by_chance).collect();
        let weighed = |kept: usize| {
            let mut found: Vec<Change> = all[..kept].iter().map(|it| change(*it)).collect();
            let others: Vec<(f64, usize)> = all[kept..].iter().map(|it| (*it, 1)).collect();
            weigh(&mut found, &others);
            let scores = found.iter().take(10).map(|change| change.score);
            scores.collect::<Vec<f64>>()
        };
        assert_eq!(weighed(10), weighed(300));
        // All are at least as surprising as what chance shows each time: q is 1.
        assert!((weighed(10)[9] - 0.5).abs() < 1e-9, "{:?}", weighed(10));
    }
}
