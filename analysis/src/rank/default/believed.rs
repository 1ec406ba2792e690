//! How much is each believed, where some fail and others are slow?
//!
//! Where the strongest component is also the one that failed requests accuse most, the part of them that it
//! explains is how much it is believed, as failures would have it alone: they are what the users feel.
//! Otherwise beliefs go by the square of the strength, so that one twice as strong as another is four times
//! as likely.
//!
//! Two things may be wrong at once. So whoever comes after the first is told by the strength of all that speaks
//! against it, failures and changes alike, and whoever clearly changed, or explains most failures, is named, even
//! if it is nothing beside the first: what is slow explains no failures, and what is seldom called is weak.

use std::collections::BTreeMap;

use super::WORTH_NAMING;
use super::changes::Change;

/// Where calm times are perfectly calm, there is still as much doubt as if they changed by a tenth
/// of the calls being twice as slow: two short halves may agree by luck.
pub(super) const LEAST_DOUBT: f64 = 0.1;
/// A change without failures is believed from this strength on (a third of the calls nearly twice as
/// slow) when it is also more than what calm times change.
pub(super) const BELIEVED: f64 = 0.3;
/// So many are named whatever the first is like: what is read of a ranking is its first three. They get the least
/// confidence that is shown, which says that they are there, and no more: how probable they are besides the first isn't
/// known, and nobody acts on so little.
const BESIDE: usize = 2;

/// What speaks against each service or dependency.
pub(super) struct Weighed<'a> {
    /// The part of the failed requests that each explains; at most 1 in all.
    pub(super) accused: &'a BTreeMap<usize, f64>,
    /// Failures and changes together, of all of them.
    pub(super) strengths: &'a BTreeMap<usize, f64>,
    /// The most first.
    pub(super) changes: &'a [Change],
    /// Who explains most requests that failed, and most that took too long, where chance doesn't.
    pub(super) fail_most: &'a [usize],
}

/// The strongest.
pub(super) struct Lead {
    pub(super) family: usize,
    /// How much of its strength is failures.
    pub(super) failing: f64,
    /// The largest change of calm times.
    pub(super) calm: f64,
}

impl Weighed<'_> {
    /// Failed requests decide about the first.
    pub(super) fn by_failures(&self, lead: &Lead) -> BTreeMap<usize, f64> {
        let is_accused = |family: usize| self.accused.contains_key(&family);
        let beside = self.clearly_changed(|family| !is_accused(family));
        let room = 1.0 - WORTH_NAMING * beside.len() as f64;
        let all: f64 = self.accused.values().sum();
        let of_lead = self.accused[&lead.family];
        // What failures leave to nobody goes to those who merely changed, by strength.
        let left = (1.0 - all).max(0.0) * room;
        let mut believed = self.by_squares(left, |_| true);
        for (family, part) in &mut believed {
            if is_accused(*family) {
                *part = 0.0;
            }
        }
        let named = |family: usize| {
            family != lead.family && (is_accused(family) || beside.contains(&family))
        };
        let others = self.strengths.keys().filter(|family| named(**family));
        let at_least = WORTH_NAMING * others.count() as f64;
        let for_others = (all - of_lead) * room + WORTH_NAMING * beside.len() as f64;
        // The first stays the first, and those that come after it are named even where nobody is believed much.
        let of_lead = (of_lead * room).max(WORTH_NAMING);
        let below_lead = (of_lead - WORTH_NAMING).max(WORTH_NAMING);
        for (family, part) in self.by_squares((for_others - at_least).max(0.0), named) {
            if named(family) {
                let sum = believed.entry(family).or_default();
                *sum = (*sum + WORTH_NAMING + part).min(below_lead);
            }
        }
        believed.insert(lead.family, of_lead);
        believed
    }

    /// Changes decide, too.
    pub(super) fn by_strength(&self, lead: &Lead) -> BTreeMap<usize, f64> {
        let strength = self.strengths[&lead.family];
        let mut certainty = strength / (strength + lead.calm.max(LEAST_DOUBT));
        // Whom only a change speaks for may be there by chance.
        let change = self
            .changes
            .iter()
            .find(|change| change.family == lead.family);
        if let Some(change) = change.filter(|change| change.score > lead.failing) {
            certainty /= 1.0 + change.by_chance;
        }
        let by_squares = self.by_squares(certainty, |_| true);
        let unnamed = |family: usize| by_squares[&family] < WORTH_NAMING;
        let mut beside = self.clearly_changed(unnamed);
        let fail = self.fail_most.iter().copied();
        let fail: Vec<usize> = fail
            .filter(|family| unnamed(*family) && !beside.contains(family))
            .collect();
        beside.splice(0..0, fail);
        beside.truncate(BESIDE);
        let room = 1.0 - WORTH_NAMING * beside.len() as f64;
        let mut believed = self.by_squares(certainty * room, |_| true);
        for family in beside {
            believed.insert(family, WORTH_NAMING);
        }
        believed
    }

    /// So much, shared among these by the squares of their strengths; the others have nothing.
    fn by_squares(&self, mass: f64, among: impl Fn(usize) -> bool) -> BTreeMap<usize, f64> {
        let square = |family: usize, strength: f64| match among(family) {
            true => strength.powi(2),
            false => 0.0,
        };
        let each = self
            .strengths
            .iter()
            .map(|(family, strength)| (*family, square(*family, *strength)));
        let sum: f64 = each.clone().map(|(_, square)| square).sum();
        let part = |square: f64| if sum > 0.0 { mass * square / sum } else { 0.0 };
        each.map(|(family, square)| (family, part(square)))
            .collect()
    }

    /// Those of these that changed beyond doubt and much.
    fn clearly_changed(&self, among: impl Fn(usize) -> bool) -> Vec<usize> {
        let changes = self.changes.iter();
        let clear = changes.filter(|change| change.is_clear() && change.score >= BELIEVED);
        let families = clear
            .map(|change| change.family)
            .filter(|family| among(*family));
        families.take(BESIDE).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_is_believed_much_all_are_named() {
        // So many explain an equal part each, the first a little more.
        for many in [3, 40, 60, 90] {
            let part = |family: usize| 1.0 / many as f64 + if family == 0 { 1e-6 } else { 0.0 };
            let parts: BTreeMap<usize, f64> = (0..many).map(|it| (it, part(it))).collect();
            let weighed = Weighed {
                accused: &parts,
                strengths: &parts,
                changes: &[],
                fail_most: &[],
            };
            let lead = Lead {
                family: 0,
                failing: 1.0,
                calm: 0.0,
            };
            let believed = weighed.by_failures(&lead);
            let named = believed.values().filter(|it| **it >= WORTH_NAMING);
            assert_eq!(named.count(), many);
            assert!(
                believed.values().all(|it| *it <= believed[&0]),
                "{believed:?}"
            );
            let sum: f64 = believed.values().sum();
            assert!(sum <= 1.01, "{sum}");
        }
    }
}
