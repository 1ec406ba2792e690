//! Who takes longer for its own work, and by how much?
//!
//! A service's own time is its entry span less the calls it waited for, and the way to it
//! (`default/changes/ways.rs` decides when the way is the caller's). Both together are compared per
//! request type and over all of them: an effect within one type must not drown in the others, and one
//! that few requests of each type show must add up. So must what each operation of a service shows in a call or
//! two: how probable all of it is by chance is asked of each comparison, and of the service as a whole.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_stats::{Calls, Shift, Usual, combined, shift};

use super::super::{Choice, Choices};
use super::known_ways::KnownWays;
use super::ways::Ways;
use super::{Change, Compared, Families};
use crate::Shape;
use crate::rank::cause::{Cause, Takes};
use crate::rank::input::Part;

/// The share of slower calls is counted with so many requests more that are as before: whoever was called
/// by two or three is no suspect beside somebody who was called by a hundred. Ten, as for any rule
/// of thumb about the fewest observations of a share.
const AS_BEFORE: f64 = 10.0;
/// Less load makes everybody faster, so being faster counts half.
const FASTER: f64 = 0.5;

fn score(found: &Shift, now: Calls<'_>) -> f64 {
    let requests = now.requests as f64;
    found.affected * requests / (requests + AS_BEFORE) * found.low
}

/// How probable such a shift is by chance. Where the interval reaches below 0, certain.
fn chance(found: &Shift) -> f64 {
    if found.low > 0.0 { found.chance() } else { 1.0 }
}

/// From the chance of each to how many such changes chance shows among all of them.
fn as_often_as_looked(changes: &mut [Change]) {
    let comparisons = changes.len() as f64;
    for change in changes {
        change.by_chance *= comparisons;
    }
}

/// How many services chance shows that are as surprising as each, all its operations together, as often as was
/// looked. Where each operation is called once or twice, none of them is beyond doubt, but together they are.
fn together(compared: &Compared, families: &Families, usual: &Usual) -> BTreeMap<usize, f64> {
    let mut by_family: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for ((span, _), both) in &compared.all {
        let Part::Whole(id) = *span else { continue };
        if both.before.total() == 0 {
            continue;
        }
        if let Some(found) = shift(both.calls_before(), both.calls_now(), usual) {
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
pub(super) fn slower(compared: &Compared, families: &Families, choices: Choices) -> Vec<Change> {
    let mut changes = Vec::new();
    for durations in [&compared.all, &compared.by_type] {
        let first = changes.len();
        let usual = |wanted: fn(&Part) -> bool| {
            let those = durations.iter().filter(|((span, _), _)| wanted(span));
            Usual::of(those.map(|(_, durations)| &durations.before))
        };
        let usual_gap = usual(|span| matches!(span, Part::Gap(..)));
        let usual_whole = usual(|span| matches!(span, Part::Whole(_)));
        let usual_own = usual(|span| matches!(span, Part::Own(_)));
        let ways = if choices.has(Choice::CallersWays) {
            Ways::of(durations, &usual_gap, families)
        } else {
            Ways::default()
        };
        for ((span, group), both) in durations {
            // Of a new combination nothing is known; over all types it may be no new one.
            if *group > 0 && both.before.total() == 0 {
                continue;
            }
            let (whose, both, usual) = match *span {
                Part::Whole(id) if ways.any_callers(id, *group) => {
                    match durations.get(&(Part::Own(id), *group)) {
                        Some(own) => (id, own, &usual_own),
                        None => continue,
                    }
                }
                Part::Whole(id) => (id, both, &usual_whole),
                Part::Gap(from, to) if ways.is_callers(from, to, *group) => {
                    (from, both, &usual_gap)
                }
                Part::Gap(_, to) => (to, both, &usual_gap),
                Part::Own(_) | Part::There(..) => continue,
            };
            if let Some(found) = shift(both.calls_before(), both.calls_now(), usual) {
                let score = match *span {
                    // How bad it is for callers is in the whole, as far as ways are known; but how sure
                    // it is may be plainer here: an operation's own time varies more than the way to it.
                    // Where some caller's way was taken out of the whole, the others' count.
                    Part::Gap(_, to) if !ways.any_callers(to, *group) => {
                        let known = KnownWays::of(durations, to, *group);
                        let way = known.and_then(|known| known.shift(both, &usual_whole));
                        way.map_or(found.low.min(0.0), |(way, share)| {
                            share * score(&way, both.calls_now())
                        })
                    }
                    _ => score(&found, both.calls_now()),
                };
                changes.push(Change {
                    family: families.get(whose),
                    score,
                    by_chance: chance(&found),
                    shape: Shape::Slow,
                    causes: vec![Cause::Takes(Takes {
                        part: measured(*span, &ways, *group),
                        request_type: group.checked_sub(1),
                        shift: found,
                        faster: false,
                    })],
                });
            }
        }
        as_often_as_looked(&mut changes[first..]);
    }
    let whole = compared
        .all
        .iter()
        .filter(|((span, _), _)| matches!(span, Part::Whole(_)));
    let usual = Usual::of(whole.map(|(_, both)| &both.before));
    let together = together(compared, families, &usual);
    for change in changes.iter_mut().filter(|change| change.score > 0.0) {
        if let Some(by_chance) = together.get(&change.family) {
            change.by_chance = change.by_chance.min(*by_chance);
        }
    }
    changes
}

/// Whatever takes less time for itself than before: work that isn't done any more. Operations that
/// stop asking whom they used to ask are faster for that reason, and charged elsewhere.
pub(super) fn faster(
    compared: &Compared,
    families: &Families,
    changed: &BTreeSet<usize>,
) -> Vec<Change> {
    let durations = &compared.all;
    let own = durations.iter().filter_map(|((span, _), both)| match span {
        Part::Own(id) if !changed.contains(id) => Some((*id, *span, both)),
        _ => None,
    });
    let usual = Usual::of(own.clone().map(|(_, _, both)| &both.before));
    let mut changes: Vec<Change> = own
        .filter(|(_, _, both)| both.before.total() > 0)
        .filter_map(|(id, span, both)| {
            let found = shift(both.calls_now(), both.calls_before(), &usual)?;
            Some(Change {
                family: families.get(id),
                score: FASTER * score(&found, both.calls_now()),
                by_chance: chance(&found),
                shape: Shape::WrongAnswer,
                causes: vec![Cause::Takes(Takes {
                    part: span,
                    request_type: None,
                    shift: found,
                    faster: true,
                })],
            })
        })
        .collect();
    as_often_as_looked(&mut changes);
    changes
}

/// What is compared where this span is looked at: own work alone where a way to it is its caller's.
fn measured(span: Part, ways: &Ways, group: usize) -> Part {
    match span {
        Part::Whole(id) if ways.any_callers(id, group) => Part::Own(id),
        _ => span,
    }
}
