//! Who is restarted first? Whoever gave back most.
//!
//! As microrejuvenation does it (OSDI 2004): units whose restart gave something back come first, by
//! how much; those that were never tried keep the place that they were given; useless ones go last.
//! A unit that contains another of the list comes after it whatever it gave back, since restarting
//! everything always gives back everything.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::rule::{Order, Rule};
use crate::{RestartTree, UnitName};

/// How much of the last word on a unit is what its last restart gave back: a leak's rate changes
/// with the software and with what users do, so half of it is what was there just now.
const NEWEST: f64 = 0.5;

/// What a unit's restarts gave back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// On average, the newest counting most, in the gauge's unit.
    pub mean: f64,
    /// How many restarts that rests on.
    pub restarts: u64,
    /// When the last of them was.
    pub at: SystemTime,
}

/// What the units of one rule gave back.
pub type Gifts = BTreeMap<UnitName, Given>;

/// Adds what a restart gave back. What is no number teaches nothing.
pub fn learn(gifts: &mut Gifts, unit: &UnitName, gave: f64, at: SystemTime) {
    if !gave.is_finite() {
        return;
    }
    gifts
        .entry(unit.clone())
        .and_modify(|given| {
            given.mean += NEWEST * (gave - given.mean);
            given.restarts = given.restarts.saturating_add(1);
            given.at = at;
        })
        .or_insert(Given {
            mean: gave,
            restarts: 1,
            at,
        });
}

/// The rule's units in the order in which they are to be restarted.
pub fn order(rule: &Rule, gifts: &Gifts, tree: &RestartTree) -> Vec<UnitName> {
    let mut units = rule.units.clone();
    if let (Order::Learned, Some(levels)) = (rule.order, rule.levels()) {
        let worth = levels.worth();
        // Stable: what is equal stays as written.
        units.sort_by(|a, b| {
            let of = |unit: &UnitName| gifts.get(unit).map(|given| given.mean);
            let class = |mean: Option<f64>| match mean {
                Some(mean) if mean >= worth => 0,
                None => 1,
                Some(_) => 2,
            };
            let (a, b) = (of(a), of(b));
            class(a)
                .cmp(&class(b))
                .then_with(|| b.unwrap_or_default().total_cmp(&a.unwrap_or_default()))
        });
    }
    let listed = units.clone();
    // How much of the list a unit takes with it: itself alone comes before what contains more.
    units.sort_by_key(|unit| {
        listed
            .iter()
            .filter(|other| tree.contains(unit, other))
            .count()
    });
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejuvenate::testing::{memory_rule, tree};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    #[test]
    fn what_gave_most_comes_first_and_what_gave_nothing_last() {
        let tree = tree();
        // (what was given, the order); worth is 30.
        for (given, expected) in [
            (vec![], "a b c site"),
            (vec![("b", 100.0)], "b a c site"),
            (vec![("a", 1.0)], "b c a site"),
            (vec![("c", 40.0), ("b", 100.0)], "b c a site"),
            (vec![("a", 0.0), ("b", -5.0), ("c", 200.0)], "c a b site"),
            // All of it gives back most, and is still the last resort.
            (vec![("site", 900.0), ("b", 31.0)], "b a c site"),
            // What once gave much and now gives nothing sinks.
            (
                vec![("a", 100.0), ("a", 0.0), ("a", 0.0), ("b", 31.0)],
                "b c a site",
            ),
            (vec![("a", f64::NAN)], "a b c site"),
        ] {
            let mut gifts = Gifts::new();
            for (time, (unit, gave)) in given.iter().enumerate() {
                learn(&mut gifts, &UnitName::from(*unit), *gave, at(time as u64));
            }
            let found = order(&memory_rule(), &gifts, &tree);
            let found: Vec<&str> = found.iter().map(UnitName::as_str).collect();
            assert_eq!(found.join(" "), expected, "{given:?}");
        }
    }

    #[test]
    fn as_written_stays_as_written() {
        let rule = Rule {
            order: Order::AsWritten,
            ..memory_rule()
        };
        let mut gifts = Gifts::new();
        learn(&mut gifts, &"c".into(), 500.0, at(0));
        let found = order(&rule, &gifts, &tree());
        assert_eq!(found, rule.units);
    }
}
