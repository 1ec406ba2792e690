//! Who takes longer for its own work, and by how much?
//!
//! A service's own time is its entry span less the calls it waited for, and the way to it
//! (`default/changes/ways.rs` decides when the way is the caller's). Both together are compared per
//! request type and over all of them: an effect within one type must not drown in the others, and one
//! that few requests of each type show must add up.

use std::collections::BTreeSet;

use rekindle_stats::{Shift, Usual, shift};

use super::super::{Choice, Choices};
use super::ways::Ways;
use super::{Change, Families, MISTAKES, Period, durations};
use crate::Shape;
use crate::rank::cause::{Cause, Takes};
use crate::rank::input::{Input, Part};

/// The share of slower calls is counted with so many more that are as before: whoever was called
/// twice or thrice is no suspect beside somebody who was called a hundred times. Ten, as for any rule
/// of thumb about the fewest observations of a share.
const CALLS_AS_BEFORE: f64 = 10.0;
/// Less load makes everybody faster, so being faster counts half.
const FASTER: f64 = 0.5;

fn score(found: &Shift, calls: u64) -> f64 {
    let calls = calls as f64;
    found.affected * calls / (calls + CALLS_AS_BEFORE) * found.low
}

/// Whatever takes longer.
pub(super) fn slower(
    input: &Input,
    period: Period,
    families: &Families,
    choices: Choices,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for by_type in [false, true] {
        let durations = durations(input, period, by_type);
        let compared = durations.len() as f64;
        let usual = |wanted: fn(&Part) -> bool| {
            let those = durations.iter().filter(|((span, _), _)| wanted(span));
            Usual::of(those.map(|(_, durations)| &durations.before))
        };
        let usual_gap = usual(|span| matches!(span, Part::Gap(..)));
        let usual_whole = usual(|span| matches!(span, Part::Whole(_)));
        let usual_own = usual(|span| matches!(span, Part::Own(_)));
        let ways = if choices.has(Choice::CallersWays) {
            Ways::of(&durations, &usual_gap, families)
        } else {
            Ways::default()
        };
        for ((span, group), both) in &durations {
            // Of a new combination nothing is known; over all types it may be no new one.
            if *group > 0 && both.before.total() == 0 {
                continue;
            }
            let mut counts = true;
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
                // The others' ways, where one of them was taken out of the whole.
                Part::Gap(_, to) if ways.any_callers(to, *group) => (to, both, &usual_gap),
                // How bad it is for callers is in the whole, but how sure it is may be plainer here:
                // an operation's own time varies more than the way to it.
                Part::Gap(_, to) => {
                    counts = false;
                    (to, both, &usual_gap)
                }
                Part::Own(_) | Part::There(..) => continue,
            };
            if let Some(found) = shift(&both.before, &both.now, usual) {
                let score = score(&found, both.now.total());
                changes.push(Change {
                    family: families.get(whose),
                    score: if counts { score } else { score.min(0.0) },
                    clear: found.low > 0.0 && found.chance() * compared <= MISTAKES,
                    chance: (found.chance() * compared).min(1.0),
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
    }
    changes
}

/// Whatever takes less time for itself than before: work that isn't done any more. Operations that
/// stop asking whom they used to ask are faster for that reason, and charged elsewhere.
pub(super) fn faster(
    input: &Input,
    period: Period,
    families: &Families,
    changed: &BTreeSet<usize>,
) -> Vec<Change> {
    let durations = durations(input, period, false);
    let own = durations.iter().filter_map(|((span, _), both)| match span {
        Part::Own(id) if !changed.contains(id) => Some((*id, *span, both)),
        _ => None,
    });
    let usual = Usual::of(own.clone().map(|(_, _, both)| &both.before));
    let compared = durations.len() as f64;
    own.filter(|(_, _, both)| both.before.total() > 0)
        .filter_map(|(id, span, both)| {
            let found = shift(&both.now, &both.before, &usual)?;
            Some(Change {
                family: families.get(id),
                score: FASTER * score(&found, both.now.total()),
                clear: found.low > 0.0 && found.chance() * compared <= MISTAKES,
                chance: (found.chance() * compared).min(1.0),
                shape: Shape::WrongAnswer,
                causes: vec![Cause::Takes(Takes {
                    part: span,
                    request_type: None,
                    shift: found,
                    faster: true,
                })],
            })
        })
        .collect()
}

/// What is compared where this span is looked at: own work alone where a way to it is its caller's.
fn measured(span: Part, ways: &Ways, group: usize) -> Part {
    match span {
        Part::Whole(id) if ways.any_callers(id, group) => Part::Own(id),
        _ => span,
    }
}
