//! Does what was chosen by looking at one system hold on another?
//!
//! Nothing is fitted, but somebody chose the method, and the ideas in it. So both choices are made anew
//! without the system that is judged (all sets of it, since Train Ticket is Train Ticket whoever recorded
//! it): *which method* has the best mean of AC@1 to AC@5 elsewhere, and how does that one do here? *Would
//! the others have kept* an idea of the default, and was that right here? Systems count alike, however many
//! cases they have, and so do the sets and faults of a system.

use std::collections::BTreeMap;

use rekindle_analysis::rank::{Choice, Method};
use serde::{Deserialize, Serialize};

use super::{CaseResult, Estimate, bootstrap};

/// Differences of shares below this are none.
const NO_DIFFERENCE: f64 = 1e-9;

/// The method that other systems choose, on a system that it wasn't chosen by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The set and system that is judged.
    pub held_out: String,
    /// The systems that chose.
    pub chosen_on: Vec<String>,
    /// What they chose.
    pub chosen: Method,
    /// Its mean of AC@1 to AC@5 there.
    pub elsewhere: f64,
    /// The share of cases here with the true culprit first.
    pub ac1: Estimate,
    /// The method that is best here, in hindsight, by AC@1.
    pub best: Method,
    /// The best one's share.
    pub best_ac1: f64,
}

/// An idea of the default, with it and without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idea {
    /// The idea.
    pub choice: Choice,
    /// The set and system that is judged.
    pub held_out: String,
    /// The mean of AC@1 to AC@5 with it.
    pub with: f64,
    /// The same without it.
    pub without: f64,
    /// What it is worth elsewhere: the mean over other systems of with less without.
    pub worth_elsewhere: f64,
    /// Whether the other systems would have kept it: it costs nothing there.
    pub kept_elsewhere: bool,
    /// Whether that was right here: kept and not worse, or dropped and not better.
    pub holds: bool,
}

/// The mean of AC@1 to AC@5 of one case.
fn average(result: &CaseResult) -> f64 {
    (1..=5).filter(|k| result.hit(*k)).count() as f64 / 5.0
}

/// The mean over classes of the mean over cases; `None` without any.
fn mean_over_classes<'a>(results: impl Iterator<Item = &'a CaseResult>) -> Option<f64> {
    let mut classes: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for result in results {
        let sum = classes.entry(result.class()).or_default();
        sum.0 += average(result);
        sum.1 += 1.0;
    }
    let n = classes.len() as f64;
    (n > 0.0).then(|| classes.values().map(|(sum, k)| sum / k).sum::<f64>() / n)
}

/// What other systems say about a way to rank: the mean over these systems.
fn elsewhere(
    results: &[CaseResult],
    system: &str,
    counts: impl Fn(&CaseResult) -> bool,
) -> Option<f64> {
    let mut systems: Vec<&str> = results.iter().map(|of| of.system.as_str()).collect();
    systems.sort_unstable();
    systems.dedup();
    let means: Vec<f64> = systems
        .into_iter()
        .filter(|other| *other != system)
        .filter_map(|other| {
            let of_it = results.iter().filter(|of| of.system == other && counts(of));
            mean_over_classes(of_it)
        })
        .collect();
    let n = means.len() as f64;
    (n > 0.0).then(|| means.iter().sum::<f64>() / n)
}

/// Set and system of each result, each once, in order.
fn places(results: &[CaseResult]) -> BTreeMap<String, String> {
    let place = |of: &CaseResult| (format!("{} {}", of.set, of.system), of.system.clone());
    results.iter().map(place).collect()
}

/// Chooses a method on all systems but one, for each. Empty with one system only.
pub fn choose(results: &[CaseResult]) -> Vec<HeldOut> {
    let whole: Vec<CaseResult> = of_methods(results).cloned().collect();
    let mut methods: Vec<Method> = whole.iter().map(|of| of.method).collect();
    methods.sort();
    methods.dedup();
    let mut rows = Vec::new();
    for (held_out, system) in places(&whole) {
        let scored = methods.iter().filter_map(|method| {
            let found = elsewhere(&whole, &system, |of| of.method == *method)?;
            Some((*method, found))
        });
        // Of equals the first one: the order of methods is that of their table.
        let chosen = scored.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((chosen, score)) = chosen else {
            continue;
        };
        let firsts = |method: Method| {
            let here = whole.iter().filter(|of| {
                format!("{} {}", of.set, of.system) == held_out && of.method == method
            });
            let here: Vec<&CaseResult> = here.collect();
            bootstrap(&here, |of| f64::from(u8::from(of.hit(1))))
        };
        let best = methods
            .iter()
            .map(|method| (*method, firsts(*method).value))
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let (best, best_ac1) = best.unwrap_or((chosen, 0.0));
        let mut chosen_on: Vec<String> = whole.iter().map(|of| of.system.clone()).collect();
        chosen_on.retain(|other| *other != system);
        chosen_on.sort();
        chosen_on.dedup();
        let ac1 = firsts(chosen);
        rows.push(HeldOut {
            held_out,
            chosen_on,
            chosen,
            elsewhere: score,
            ac1,
            best,
            best_ac1,
        });
    }
    rows
}

/// Asks of each idea that was left out whether other systems would have kept it.
pub fn ideas(results: &[CaseResult]) -> Vec<Idea> {
    let mut left_out: Vec<Choice> = results.iter().filter_map(|of| of.without).collect();
    left_out.sort();
    left_out.dedup();
    let is_default = |of: &CaseResult| of.method == Method::Default && of.without.is_none();
    let mut rows = Vec::new();
    for choice in left_out {
        let is_without = |of: &CaseResult| of.without == Some(choice);
        for (held_out, system) in places(results) {
            let here = |of: &&CaseResult| format!("{} {}", of.set, of.system) == held_out;
            let all = || results.iter().filter(here);
            let (Some(with), Some(without), Some(with_it), Some(without_it)) = (
                mean_over_classes(all().filter(|of| is_default(of))),
                mean_over_classes(all().filter(|of| is_without(of))),
                elsewhere(results, &system, is_default),
                elsewhere(results, &system, is_without),
            ) else {
                continue;
            };
            let kept_elsewhere = with_it >= without_it - NO_DIFFERENCE;
            rows.push(Idea {
                choice,
                held_out,
                with,
                without,
                worth_elsewhere: with_it - without_it,
                kept_elsewhere,
                holds: if kept_elsewhere {
                    with >= without - NO_DIFFERENCE
                } else {
                    without >= with - NO_DIFFERENCE
                },
            });
        }
    }
    rows
}

/// Results of whole methods, nothing left out.
fn of_methods(results: &[CaseResult]) -> impl Iterator<Item = &CaseResult> {
    results.iter().filter(|of| of.without.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localization::tests::result;

    fn of(system: &str, method: Method, without: Option<Choice>, right: bool) -> CaseResult {
        CaseResult {
            system: system.to_owned(),
            method,
            without,
            ..result(&["a"], if right { &[&["a"]] } else { &[&["b"]] }, 0.9)
        }
    }

    #[test]
    fn a_method_is_chosen_where_it_is_not_judged() {
        use Method::{Default, Ochiai};
        let results = [
            of("shop", Default, None, true),
            of("shop", Ochiai, None, false),
            of("bank", Default, None, false),
            of("bank", Ochiai, None, true),
        ];
        let rows = choose(&results);
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.held_out.as_str(), row.chosen, row.ac1.value, row.best))
            .collect();
        assert_eq!(
            found,
            [
                ("nezha bank", Default, 0.0, Ochiai),
                ("nezha shop", Ochiai, 0.0, Default)
            ]
        );
        assert!(
            choose(&results[..2]).is_empty(),
            "one system chooses nothing"
        );
    }

    #[test]
    fn an_idea_is_kept_where_it_helps_elsewhere() {
        let without = Some(Choice::Stops);
        let results = [
            of("shop", Method::Default, None, true),
            of("shop", Method::Default, without, false),
            of("bank", Method::Default, None, false),
            of("bank", Method::Default, without, true),
        ];
        let rows = ideas(&results);
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.held_out.as_str(), row.kept_elsewhere, row.holds))
            .collect();
        assert_eq!(
            found,
            [("nezha bank", true, false), ("nezha shop", false, false)]
        );
        assert!(
            choose(&results)
                .iter()
                .all(|row| row.chosen == Method::Default)
        );
    }
}
