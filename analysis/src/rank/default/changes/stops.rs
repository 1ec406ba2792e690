//! Who stops in the middle of its work, and why?
//!
//! A visit that asks only some of those that such visits used to ask was cut short: right after its
//! last call, or before any. Either that callee answered something that ended it, or the visit itself
//! went wrong after the call. Without a status to tell, this decides:
//!
//! - a callee whose own visits are cut short explains its caller's; the caller is not charged;
//! - a callee after which *several* services stop is the common cause;
//! - a callee whose own time changed in the same window did something else than before;
//! - otherwise the visit itself is at fault.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_stats::{Probability, Share, difference_interval, fisher_greater};

use super::{Both, Change, Drawn, Families, Found, Period};
use crate::Shape;
use crate::rank::cause::{self, Cause};
use crate::rank::input::{Input, Part, Shaped};

/// Intervals of the shares: with a hundred operations, one in twenty wrong would be five.
const CONFIDENCE: Probability = Probability::P99;
/// An own time is another one when its ranks differ by so many standard deviations: one in 370 by
/// chance.
const OTHER_OWN_TIME: f64 = 3.0;

/// What was found.
pub(super) struct Stops {
    pub(super) found: Found,
    /// The operations that are cut short.
    pub(super) changed: BTreeSet<usize>,
}

/// Visits of an operation in one request type that asked this callee; `None`: all visits.
type Place = (usize, usize, Option<usize>);

/// Of the visits that got so far, how many stopped there: in both halves of the baseline, and now.
#[derive(Clone, Copy, Default)]
struct Counts {
    asked: [u64; 3],
    stopped: [u64; 3],
    /// All visits of the operation.
    visits: [u64; 3],
}

/// Who is cut short, and whom that is charged to.
pub(super) fn stops(
    input: &Input,
    period: Period,
    families: &Families<'_>,
    drawn: &Drawn<'_>,
) -> Stops {
    let (counted, quiet) = count(input, period);
    let comparisons = (counted.len() + quiet) as f64;
    let mut places: Vec<(Place, (f64, f64, Counts))> = Vec::new();
    let mut others = vec![(comparisons, quiet)];
    for (place, counts) in counted {
        let (operation, request_type, _) = place;
        let together = drawn.touching(operation, request_type);
        let (rise, chance) = rise(&counts, together, period);
        if rise > 0.0 {
            places.push((place, (rise, chance * comparisons, counts)));
        } else {
            others.push((chance * comparisons, 1));
        }
    }
    let changed: BTreeSet<usize> = places
        .iter()
        .map(|((operation, _, _), _)| *operation)
        .collect();
    let mut callers: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for ((operation, _, last), _) in &places {
        if let Some(last) = last {
            let caller = families.get(*operation);
            callers.entry(*last).or_default().insert(caller);
        }
    }
    let other_own_time = |id: usize| {
        let both = drawn.in_all(Part::Own(id));
        both.is_some_and(|both| rank_distance(&both).abs() >= OTHER_OWN_TIME)
    };
    let mut changes = Vec::new();
    for ((operation, request_type, last), (rise, by_chance, counts)) in places {
        let whose = match last {
            None => operation,
            // It is a change, only not this one's.
            Some(last) if changed.contains(&last) => {
                others.push((by_chance, 1));
                continue;
            }
            Some(last) if callers[&last].len() > 1 || other_own_time(last) => last,
            Some(_) => operation,
        };
        changes.push(Change {
            family: families.get(whose),
            score: rise,
            by_chance,
            shape: Shape::WrongAnswer,
            causes: vec![Cause::Stops(cause::Stops {
                operation,
                request_type,
                last,
                asked: counts.asked,
                stopped: counts.stopped,
                rise,
            })],
        });
    }
    Stops {
        found: Found { changes, others },
        changed,
    }
}

/// Every place of operations of which some visits may have stopped now, sorted; and how many places there are besides,
/// at which nobody did.
fn count(input: &Input, period: Period) -> (Vec<(Place, Counts)>, usize) {
    let mut places: Vec<(Place, Counts)> = Vec::new();
    let mut quiet = 0;
    let of = |shaped: &Shaped| (shaped.subject, shaped.request_type);
    for shapes in input.shaped.chunk_by(|a, b| of(a) == of(b)) {
        if !may_stop(shapes, period) {
            quiet += places_of(shapes);
            continue;
        }
        let (operation, request_type) = of(&shapes[0]);
        let first = places.len();
        let mut visits = [0; 3];
        for shaped in shapes {
            let [earlier, later] = shaped.baseline;
            for (sum, n) in visits.iter_mut().zip([earlier, later, shaped.window]) {
                *sum += n;
            }
        }
        let usual = Usual::of(shapes);
        for shaped in shapes {
            let [earlier, later] = shaped.baseline;
            let seen = [earlier, later, shaped.window];
            let cut_short = usual.asks_more_than(&shaped.asked);
            let reached = shaped.asked.iter().map(|id| Some(*id)).chain([None]);
            for place in reached {
                let stopped = match cut_short && place == shaped.last {
                    true => seen,
                    false => [0; 3],
                };
                let counts = Counts {
                    asked: seen,
                    stopped,
                    visits,
                };
                places.push(((operation, request_type, place), counts));
            }
        }
        places[first..].sort_unstable_by_key(|(place, _)| *place);
    }
    places.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            for part in 0..3 {
                kept.1.asked[part] += next.1.asked[part];
                kept.1.stopped[part] += next.1.stopped[part];
            }
        }
        same
    });
    (places, quiet)
}

/// Whether any visit asks fewer now than some used to ask: else none was cut short.
fn may_stop(shapes: &[Shaped], period: Period) -> bool {
    let before = shapes.iter().filter(|shaped| shaped.baseline != [0, 0]);
    let most = before.map(|shaped| shaped.asked.len()).max();
    let is_now = |shaped: &&Shaped| match period {
        Period::Fault => shaped.window > 0,
        Period::Calm => shaped.baseline[1] > 0,
    };
    let mut now = shapes.iter().filter(is_now);
    now.any(|shaped| Some(shaped.asked.len()) < most)
}

/// After how many callees, or before any, these visits could have stopped.
fn places_of(shapes: &[Shaped]) -> usize {
    let callees = match shapes {
        [only] => only.asked.len(),
        _ => {
            let asked = shapes.iter().flat_map(|shaped| &shaped.asked);
            asked.collect::<BTreeSet<_>>().len()
        }
    };
    callees + 1
}

/// Whom visits of one operation used to ask, as sets of bits: there may be thousands of such sets, and each is looked
/// for in all others. For each callee, which of the sets it is in, the smallest sets first.
struct Usual {
    by_callee: BTreeMap<usize, Vec<u64>>,
    /// How many callees each set has.
    sizes: Vec<usize>,
}

impl Usual {
    fn of(shapes: &[Shaped]) -> Self {
        let before = shapes.iter().filter(|shaped| shaped.baseline != [0, 0]);
        let mut sets: Vec<&[usize]> = before.map(|shaped| shaped.asked.as_slice()).collect();
        sets.sort_unstable_by_key(|asked| asked.len());
        let words = sets.len().div_ceil(64);
        let mut by_callee: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (number, asked) in sets.iter().enumerate() {
            for callee in *asked {
                let bits = by_callee.entry(*callee).or_insert_with(|| vec![0; words]);
                bits[number / 64] |= 1 << (number % 64);
            }
        }
        Self {
            by_callee,
            sizes: sets.into_iter().map(<[usize]>::len).collect(),
        }
    }

    /// Whether there is a larger set with all of these in it.
    fn asks_more_than(&self, asked: &[usize]) -> bool {
        let larger = self.sizes.partition_point(|size| *size <= asked.len());
        let of_callees: Option<Vec<&Vec<u64>>> = asked
            .iter()
            .map(|callee| self.by_callee.get(callee))
            .collect();
        let Some(of_callees) = of_callees else {
            return false;
        };
        let words = self.sizes.len().div_ceil(64);
        (larger / 64..words).any(|word| {
            let those = match word == larger / 64 {
                true => u64::MAX << (larger % 64),
                false => u64::MAX,
            };
            let known = match self.sizes.len() - word * 64 {
                left @ ..64 => !(u64::MAX << left),
                _ => u64::MAX,
            };
            of_callees
                .iter()
                .fold(those & known, |all, bits| all & bits[word])
                != 0
        })
    }
}

/// By how much the share of visits that stop there rose at least, against both halves of the
/// baseline, and how probable such a rise is where nothing changed. `requests` are those that touched the
/// operation before and now.
fn rise(counts: &Counts, requests: (u64, u64), period: Period) -> (f64, f64) {
    let share = |part: usize| {
        let (visits, requests) = match part {
            2 => (counts.visits[2], requests.1),
            _ => (counts.visits[0] + counts.visits[1], requests.0),
        };
        independent(counts.stopped[part], counts.asked[part], visits, requests)
    };
    let (now, before): (usize, &[usize]) = match period {
        Period::Fault => (2, &[0, 1]),
        Period::Calm => (1, &[0]),
    };
    if counts.stopped[now] == 0 {
        return (0.0, 1.0);
    }
    let (now, before) = (
        share(now),
        before.iter().filter(|part| counts.asked[**part] > 0),
    );
    let before: Vec<Share> = before.map(|part| share(*part)).collect();
    // Where the share itself didn't rise, its interval can't have risen.
    let rose = |before: &Share| {
        let cross = |a: Share, b: Share| u128::from(a.hits()) * u128::from(b.total());
        cross(now, *before) > cross(*before, now)
    };
    if !before.iter().all(rose) {
        return (0.0, 1.0);
    }
    let least = before
        .iter()
        .map(|before| difference_interval(now, *before, CONFIDENCE).low)
        .reduce(f64::min);
    let chance = before
        .iter()
        .map(|before| fisher_greater(now, *before))
        .fold(0.0, f64::max);
    least.map_or((0.0, 1.0), |least| (least, chance))
}

/// A share of visits, of so many independent ones: the visits of one request go the same way together, so nine
/// of one request that stop are one that stops (Kish's design effect, as for durations).
fn independent(stopped: u64, asked: u64, visits: u64, requests: u64) -> Share {
    let each = visits as f64 / requests.clamp(1, visits.max(1)) as f64;
    let scaled = |count: u64| (count as f64 / each).round() as u64;
    let (all, stopped) = (scaled(asked).max(u64::from(asked > 0)), scaled(stopped));
    Share::of(stopped.min(all), all.saturating_sub(stopped))
}

/// The rank-sum statistic's distance from its mean in standard deviations, ties corrected (Mann and
/// Whitney 1947). Positive when `now` is larger.
/// Calls that weren't measured don't count.
fn rank_distance(both: &Both<'_>) -> f64 {
    let [measured_before, measured_now] = both.measured();
    let [before, now] = both.durations();
    let mut counts: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (value, k) in before.buckets() {
        counts.entry(value.to_bits()).or_default().0 += k as f64 * measured_before;
    }
    for (value, k) in now.buckets() {
        counts.entry(value.to_bits()).or_default().1 += k as f64 * measured_now;
    }
    let n = before.total() as f64 * measured_before;
    let m = now.total() as f64 * measured_now;
    let (mut below, mut u, mut ties) = (0.0, 0.0, 0.0);
    // Positive numbers are in the order of their bits.
    for (in_before, in_now) in counts.into_values() {
        u += in_now * (below + in_before / 2.0);
        below += in_before;
        let tied: f64 = in_before + in_now;
        ties += tied * tied * tied - tied;
    }
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)).max(1.0));
    if variance > 0.0 {
        (u - n * m / 2.0) / variance.sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shaped() -> impl Strategy<Value = Shaped> {
        let asked = prop::collection::btree_set(0usize..9, 0..7);
        (asked, any::<bool>()).prop_map(|(asked, came_before)| Shaped {
            subject: 0,
            request_type: 0,
            asked: asked.into_iter().collect(),
            last: None,
            baseline: [0, u64::from(came_before)],
            window: 1,
        })
    }

    proptest! {
        #[test]
        fn sets_of_bits_say_what_each_set_says(
            shapes in prop::collection::vec(shaped(), 0..200),
            asked in shaped(),
        ) {
            let usual = Usual::of(&shapes);
            for one in shapes.iter().chain([&asked]) {
                let cut_short = shapes.iter().any(|longer| {
                    longer.asked.len() > one.asked.len()
                        && longer.baseline != [0, 0]
                        && one.asked.iter().all(|id| longer.asked.contains(id))
                });
                prop_assert_eq!(usual.asks_more_than(&one.asked), cut_short);
            }
        }

        /// What isn't looked at closely has nobody cut short in it, and as many places as if it were.
        #[test]
        fn quiet_places_are_only_counted(shapes in prop::collection::vec(shaped(), 1..4)) {
            let usual = Usual::of(&shapes);
            let cut_short = shapes.iter().any(|it| usual.asks_more_than(&it.asked));
            prop_assert!(may_stop(&shapes, Period::Fault) || !cut_short);
            let asked = shapes.iter().flat_map(|it| it.asked.iter().map(|id| Some(*id)));
            let places: BTreeSet<Option<usize>> = asked.chain([None]).collect();
            prop_assert_eq!(places_of(&shapes), places.len());
        }
    }

    #[test]
    fn visits_of_one_request_are_one() {
        // (stopped, asked, visits, requests; of so many, so many stopped)
        for (counts, expected) in [
            ([9, 10, 10, 1], (1, 1)),
            ([9, 10, 10, 10], (9, 10)),
            ([4, 8, 16, 4], (1, 2)),
            // Where rows overflowed, each visit is a request's only one.
            ([4, 8, 16, u64::MAX], (4, 8)),
            ([0, 1, 90, 3], (0, 1)),
            ([0, 0, 0, 0], (0, 0)),
        ] {
            let [stopped, asked, visits, requests] = counts;
            let share = independent(stopped, asked, visits, requests);
            assert_eq!((share.hits(), share.total()), expected, "{counts:?}");
        }
    }
}
