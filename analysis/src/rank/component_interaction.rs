//! Component interaction: does a component talk to the others in other proportions than before?
//!
//! Kıcıman and Fox (2005), *Detecting application-level failures in component-based Internet services*,
//! IEEE Transactions on Neural Networks 16:1027–1041. A component's links, in and out, are its
//! interactions with each other component, per request type. With N_l uses of link l of N in all before,
//! and n in all now, e_l = n·N_l/N are expected; o_l were seen:
//!
//! > χ² = Σ (o_l − e_l)² / e_l over the union of links; score = χ² / χ²₀.₉₉₅ with k − 1 degrees,
//!
//! anomalous above 1. A component that was never seen before scores 100. As they have it, for a link that
//! is new e_l is 0 and χ² infinite; here each link was seen half a time more before (Krichevsky and
//! Trofimov's prior), so that one new link is weighed against many calls.

use std::collections::BTreeMap;

use rekindle_stats::{Probability, chi_squared_quantile};

use super::evidence::Tally;
use super::input::Input;
use super::spectrum_formula::by_score;
use crate::Suspect;

/// The significance that they use: one in two hundred.
const CONFIDENCE: f64 = 0.995;
/// The score of what was never seen before.
const NEVER_SEEN: f64 = 100.0;
/// Uses that each link is given beforehand.
const PRIOR: f64 = 0.5;

/// The score of one component, from how often each of its links was used before and now.
pub fn score(links: &[(u64, u64)]) -> f64 {
    let before: u64 = links.iter().map(|(before, _)| before).sum();
    let now: u64 = links.iter().map(|(_, now)| now).sum();
    if now == 0 {
        return 0.0;
    }
    if before == 0 {
        return NEVER_SEEN;
    }
    let degrees = links.len().saturating_sub(1) as u32;
    let Some(limit) = chi_squared_quantile(degrees, Probability::clamped(CONFIDENCE)) else {
        return 0.0;
    };
    let all = before as f64 + PRIOR * links.len() as f64;
    let squares = links.iter().map(|(before, seen)| {
        let expected = now as f64 * (*before as f64 + PRIOR) / all;
        (*seen as f64 - expected).powi(2) / expected
    });
    squares.sum::<f64>() / limit
}

/// Whether the component asks the other one, or is asked by it.
type Link = (bool, usize);

/// Ranks services and dependencies by their most anomalous request type.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let families = &tally.families;
    let mut links: BTreeMap<(usize, usize), BTreeMap<Link, (u64, u64)>> = BTreeMap::new();
    for shaped in input.shaped.iter() {
        let caller = families[shaped.subject];
        for asked in &shaped.asked {
            let callee = families[*asked];
            if callee == caller {
                continue;
            }
            for (of, link) in [(caller, (true, callee)), (callee, (false, caller))] {
                let component = links.entry((of, shaped.request_type)).or_default();
                let counted = component.entry(link).or_default();
                counted.0 += shaped.baseline.iter().sum::<u64>();
                counted.1 += shaped.window;
            }
        }
    }
    let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
    for ((component, _), links) in links {
        let links: Vec<(u64, u64)> = links.into_values().collect();
        let most = scores.entry(component).or_default();
        *most = most.max(score(&links));
    }
    by_score(input, tally, scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_scipy_has_it() {
        // scipy.stats.chisquare of (30, 50, 20) against a hundred shared as (500.5, 300.5, 200.5), over
        // scipy.stats.chi2.ppf(0.995, 2).
        let found = score(&[(500, 30), (300, 50), (200, 20)]);
        assert!((found - 2.010_875_053_740_146_5).abs() < 1e-9, "{found}");
    }

    #[test]
    fn what_is_not_compared() {
        assert!((score(&[(0, 4), (0, 2)]) - NEVER_SEEN).abs() < 1e-12);
        assert!(
            score(&[(10, 4)]).abs() < 1e-12,
            "one link has no proportions"
        );
        assert!(score(&[(10, 0), (20, 0)]).abs() < 1e-12, "nothing now");
        assert!(score(&[(1_000, 10), (1_000, 10)]) < 1e-9);
    }
}
