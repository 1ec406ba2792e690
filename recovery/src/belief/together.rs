//! Do several parts of one whole that are sick at once have one cause?
//!
//! Ten parts of a process that fall sick in one minute are ten faults of parts, or one of the process. A chain of
//! units knows nothing of the other nine, and each of ten recoveries would restart its own part in vain. So each
//! other branch below a unit that is sick too makes it likelier that the fault is that unit's, or of what contains it:
//! how likely a restart is to cure at all isn't touched. The root's parts have nothing in common that a restart of the
//! root is the answer to, be it a process itself: that is what the storm brake asks people about.

use std::collections::BTreeSet;

use crate::{Evidence, RestartTree};

/// A part that is sick makes another part of the same whole sick, by calls that nobody knows of, in one case of three; and
/// where the whole is sick, each of its parts shows it. So each further one makes the whole three times likelier.
const LIKELIER: f64 = 3.0;
/// From so many on it is certain, and numbers stay numbers.
const ENOUGH: usize = 20;

/// Makes levels of a chain, given by its units' places, likelier by who else is sick.
pub(super) fn weigh(levels: &mut [f64], places: &[usize], evidence: &Evidence, tree: &RestartTree) {
    let sick = &evidence.circumstances.sick_too;
    let sick: Vec<usize> = sick.iter().filter_map(|unit| tree.at(unit)).collect();
    let units = levels.len().saturating_sub(2);
    if sick.is_empty() || units < 2 {
        return;
    }
    let curable = &mut levels[1..=units];
    let before: f64 = curable.iter().sum();
    let mut factor = 1.0;
    for (at, level) in curable.iter_mut().enumerate() {
        let is_root = at + 1 == units;
        if let (Some(below), false) = (at.checked_sub(1), is_root) {
            let others = branches(tree, places[at], places[below], &sick);
            factor *= LIKELIER.powi(i32::try_from(others.min(ENOUGH)).unwrap_or(0));
        }
        *level *= factor;
    }
    let after: f64 = curable.iter().sum();
    if after > 0.0 {
        curable
            .iter_mut()
            .for_each(|level| *level *= before / after);
    }
}

/// How many branches directly below a unit have one of these in them, beside the branch of this child of it; the unit
/// itself is one. All by their places.
fn branches(tree: &RestartTree, unit: usize, beside: usize, of: &[usize]) -> usize {
    let own = tree.range(beside);
    let others = of.iter().filter(|at| !own.contains(at));
    let inside = others.filter(|at| tree.range(unit).contains(at));
    let branch = |at: &usize| {
        let below = tree.chain_at(*at).take_while(|above| *above != unit);
        below.last().unwrap_or(unit)
    };
    inside.map(branch).collect::<BTreeSet<usize>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;
    use std::time::SystemTime;

    const TREE: &str = "site -\n  shop process\n    shop.cart\n    shop.list\n    shop.mail\n      shop.mail.pool\n    \
                        shop.pay\n    shop.sign\n  bank process\n    bank.one";

    /// What is believed of the cart, its process and the site, before and with these sick at the same time.
    fn believed(sick: &[&str]) -> ([f64; 5], [f64; 5]) {
        let tree = tree(TREE);
        let mut evidence = crate::belief::tests::evidence(&[("shop.cart", 1.0)]);
        let places = tree.chain_places(&"shop.cart".into());
        let before = [0.05, 0.68, 0.14, 0.03, 0.10];
        let mut levels = before;
        evidence.circumstances.sick_too = sick.iter().map(|unit| (*unit).into()).collect();
        weigh(&mut levels, &places, &evidence, &tree);
        (before, levels)
    }

    #[test]
    fn parts_of_one_whole_that_are_sick_at_once_speak_against_the_whole() {
        let others = ["shop.list", "shop.mail", "shop.pay", "shop.sign"];
        let mut last = 0.0;
        for many in 1..=others.len() {
            let (before, levels) = believed(&others[..many]);
            let odds = (levels[2] / levels[1]) / (before[2] / before[1]);
            assert!(
                (odds - LIKELIER.powi(many as i32)).abs() < 1e-6,
                "{levels:?}"
            );
            assert!(levels[2] > last);
            last = levels[2];
            // What contains the whole covers its fault as before, and how likely anything cures is no question here.
            assert!((levels[3] / levels[2] - before[3] / before[2]).abs() < 1e-9);
            assert_eq!((levels[0], levels[4]), (before[0], before[4]));
            assert!((levels.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        let (_, levels) = believed(&others);
        assert!(levels[2] > 10.0 * levels[1], "{levels:?}");
    }

    /// Each case: who is sick too, and as how many others that counts.
    #[test]
    fn branches_count_once_and_the_roots_not_at_all() {
        let cases: &[(&[&str], i32)] = &[
            (&[], 0),
            (&["shop.cart"], 0),
            (&["bank", "bank.one"], 0),
            (&["gone"], 0),
            (&["shop.mail", "shop.mail.pool"], 1),
            (&["shop.mail.pool", "shop.pay", "bank"], 2),
            (&["shop"], 1),
        ];
        for (sick, many) in cases {
            let (before, levels) = believed(sick);
            let odds = (levels[2] / levels[1]) / (before[2] / before[1]);
            assert!(
                (odds - LIKELIER.powi(*many)).abs() < 1e-6,
                "{sick:?}: {odds}"
            );
        }
    }

    #[test]
    fn who_is_sick_at_once_is_who_others_surely_accuse_about_then() {
        let second = |at| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
        let told = |incident, unit: &str, since| {
            let mut evidence = crate::belief::tests::evidence(&[(unit, 0.9)]);
            (evidence.incident, evidence.since) = (incident, second(since));
            evidence
        };
        // One that this other unit is known to make fail.
        let fed = |incident, unit: &str, by: &str| {
            let mut evidence = told(incident, unit, 1000);
            let source = crate::Source {
                unit: by.into(),
                share: 0.8,
            };
            let sources = &mut evidence.circumstances.sources;
            sources.insert(unit.into(), vec![source]);
            evidence
        };
        let mut own = fed(1, "shop.cart", "vault");
        own.suspects.push(crate::SuspectUnit {
            unit: "shop.look".into(),
            probability: 0.1,
            ..own.suspects[0].clone()
        });
        let mut one_sided = told(4, "shop.sign", 1000);
        one_sided.suspects[0].two_sided = false;
        let mut closed = told(5, "bank", 1000);
        closed.closed = true;
        let others = [
            told(2, "shop.list", 1000),
            told(3, "shop.mail", 1060),
            one_sided,
            closed,
            fed(6, "bank.one", "shop.cart"),
            told(7, "shop.mail.pool", 1061),
            // Sick for the list's sake, which is counted.
            fed(8, "shop.pay", "shop.list"),
            fed(9, "shop.sell", "vault"),
            told(10, "vault", 1000),
            told(11, "shop.look", 1000),
        ];
        let sick = crate::sick_together(&own, others.iter().chain([&own]));
        assert_eq!(sick, ["shop.list", "shop.mail"].map(Into::into).into());
        let mut unsure = own;
        unsure.suspects[0].probability = 0.4;
        assert!(crate::sick_together(&unsure, &others).is_empty());
    }
}
