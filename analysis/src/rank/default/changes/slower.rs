//! Who takes longer for its own work, and by how much?
//!
//! A service's own time is its entry span less the calls it waited for, and the way to it
//! (`default/changes/ways.rs` decides when the way is the caller's). Both together are compared per
//! request type and over all of them: an effect within one type must not drown in the others, and one
//! that few requests of each type show must add up. So must what each operation of a service shows in a call or
//! two: how probable all of it is by chance is asked of each comparison, and of the service as a whole.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use rekindle_stats::{Calls, Shift, Usual, combined, shift, slower_share};

use super::super::{Choice, Choices};
use super::known_ways::KnownWays;
use super::ways::Ways;
use super::{Both, Change, Families, Found, Group};
use crate::Shape;
use crate::rank::cause::{Cause, Takes};
use crate::rank::input::Part;

/// The share of slower calls is counted with so many requests more that are as before: whoever was called
/// by two or three is no suspect beside somebody who was called by a hundred. Ten, as for any rule
/// of thumb about the fewest observations of a share.
const AS_BEFORE: f64 = 10.0;
/// Less load makes everybody faster, so being faster counts half.
const FASTER: f64 = 0.5;

fn score(found: &Shift, affected: f64, now: Calls) -> f64 {
    let requests = now.requests as f64;
    affected * requests / (requests + AS_BEFORE) * found.low
}

/// How probable such a shift is by chance. Where the interval reaches below 0, certain.
fn chance(found: &Shift) -> f64 {
    if found.low > 0.0 { found.chance() } else { 1.0 }
}

/// From the chance of each to how many such changes chance shows among all that was looked at.
fn as_often_as_looked(changes: &mut [Change], comparisons: usize) {
    for change in changes {
        change.by_chance *= comparisons as f64;
    }
}

/// What is usual before the fault for these.
fn usual(those: &[Both<'_>]) -> Usual {
    Usual::of(those.iter().map(|both| both.before.durations))
}

/// How many services chance shows that are as surprising as each, all its operations together, as often as was
/// looked. Where each operation is called once or twice, none of them is beyond doubt, but together they are.
fn together(all: &Group<'_>, families: &Families<'_>) -> BTreeMap<usize, f64> {
    let usual = usual(all.wholes());
    let mut by_family: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for both in all.wholes() {
        let Part::Whole(id) = both.part else { continue };
        if both.before.durations.count() == 0.0 {
            continue;
        }
        if let Some(found) = shift(both.before, both.now, &usual) {
            let chances = by_family.entry(families.get(id)).or_default();
            chances.push(found.chance_of_longer());
        }
    }
    by_family.retain(|_, chances| chances.len() > 1);
    let looked_at = by_family.len() as f64;
    let all = by_family.into_iter();
    all.map(|(family, chances)| (family, combined(&chances) * looked_at))
        .collect()
}

/// Whatever takes longer.
pub(super) fn slower(group: &Group<'_>, families: &Families<'_>, choices: Choices) -> Found {
    let mut changes = Vec::new();
    let (wholes, gaps) = (group.wholes(), group.gaps());
    let usual_whole = usual(wholes);
    let usual_own = LazyCell::new(|| usual(group.own()));
    // Of a new combination nothing is known; over all types it may be no new one.
    let is_known = |both: &Both<'_>| both.group == 0 || both.before.durations.count() > 0.0;
    let shifts = |those: &[Both<'_>], usual: &Usual| -> Vec<Option<Shift>> {
        let shift = |both: &Both<'_>| {
            let is_known = is_known(both);
            is_known.then(|| shift(both.before, both.now, usual))?
        };
        those.iter().map(shift).collect()
    };
    let shifts_of_gaps = shifts(gaps, &usual(gaps));
    let ways = if choices.has(Choice::CallersWays) {
        Ways::of(group, &shifts_of_gaps, families)
    } else {
        Ways::default()
    };
    let shifts = shifts(wholes, &usual_whole)
        .into_iter()
        .chain(shifts_of_gaps);
    let known_ways = KnownWays::of(group);
    let mut comparisons = 0;
    for (whole, found) in wholes.iter().chain(gaps).zip(shifts) {
        let number = whole.group;
        let (whose, both, found) = match whole.part {
            Part::Whole(id) if is_known(whole) && ways.any_callers(id, number) => {
                let Some(own) = group.get(Part::Own(id), number) else {
                    continue;
                };
                (id, own, shift(own.before, own.now, &usual_own))
            }
            Part::Gap(from, to) if ways.is_callers(from, to, number) => (from, whole, found),
            Part::Whole(id) | Part::Gap(_, id) => (id, whole, found),
            Part::Own(_) | Part::There(..) => continue,
        };
        let Some(found) = found else { continue };
        comparisons += 1;
        // Hardly anything changes, and what surely didn't costs nothing more.
        let affected = LazyCell::new(|| {
            let [before, now] = both.durations();
            slower_share(&before, &now)
        });
        let score = match whole.part {
            // How bad it is for callers is in the whole, as far as ways are known; but how sure
            // it is may be plainer here: an operation's own time varies more than the way to it.
            // Where some caller's way was taken out of the whole, the others' count.
            Part::Gap(_, to) if !ways.any_callers(to, number) => {
                let known = known_ways.get(&(to, number));
                let way = known.and_then(|known| known.shift(both, &usual_whole));
                way.map_or(0.0, |(way, affected, known)| {
                    known * score(&way, affected, both.now)
                })
            }
            _ if found.low > 0.0 => score(&found, *affected, both.now),
            _ => 0.0,
        };
        if score <= 0.0 && found.low <= 0.0 {
            continue;
        }
        changes.push(Change {
            family: families.get(whose),
            score,
            by_chance: chance(&found),
            shape: Shape::Slow,
            causes: vec![Cause::Takes(Takes {
                part: both.part,
                request_type: number.checked_sub(1),
                shift: found,
                affected: *affected,
                faster: false,
            })],
        });
    }
    as_often_as_looked(&mut changes, comparisons);
    // Of all others it is certain.
    let dropped = comparisons - changes.len();
    Found {
        changes,
        others: vec![(comparisons as f64, dropped)],
    }
}

/// Makes changes no less sure than all operations of their service are together.
pub(super) fn weigh_together(changes: &mut [Change], all: &Group<'_>, families: &Families<'_>) {
    let together = together(all, families);
    for change in changes.iter_mut().filter(|change| change.score > 0.0) {
        if let Some(by_chance) = together.get(&change.family) {
            change.by_chance = change.by_chance.min(*by_chance);
        }
    }
}

/// Whatever takes less time for itself than before: work that isn't done any more. Operations that
/// stop asking whom they used to ask are faster for that reason, and charged elsewhere.
pub(super) fn faster(all: &Group<'_>, families: &Families<'_>, changed: &BTreeSet<usize>) -> Found {
    let own = all.own().iter();
    let own = own.filter_map(|both| match both.part {
        Part::Own(id) if !changed.contains(&id) => Some((id, both)),
        _ => None,
    });
    let usual = Usual::of(own.clone().map(|(_, both)| both.before.durations));
    let mut comparisons = 0;
    let mut changes = Vec::new();
    for (id, both) in own.filter(|(_, both)| both.before.durations.count() > 0.0) {
        let Some(found) = shift(both.now, both.before, &usual) else {
            continue;
        };
        comparisons += 1;
        if found.low <= 0.0 {
            continue;
        }
        let [before, now] = both.durations();
        let affected = slower_share(&now, &before);
        changes.push(Change {
            family: families.get(id),
            score: FASTER * score(&found, affected, both.now),
            by_chance: chance(&found),
            shape: Shape::WrongAnswer,
            causes: vec![Cause::Takes(Takes {
                part: both.part,
                request_type: None,
                shift: found,
                affected,
                faster: true,
            })],
        });
    }
    as_often_as_looked(&mut changes, comparisons);
    let dropped = comparisons - changes.len();
    Found {
        changes,
        others: vec![(comparisons as f64, dropped)],
    }
}
