//! MicroRank: which operations matter in abnormal traces, and don't in normal ones?
//!
//! Yu, Chen, Chen, Guan, Huang, Jing, Weng, Sun and Li (2021), *MicroRank: end-to-end latency issue
//! localization with extended spectrum analysis in microservice environments*, WWW. Two graphs, of the
//! normal and of the abnormal traces, each with traces (r) and operations (s) as nodes. Personalized PageRank,
//! with d = 0.85 and ω = 0.01, 25 rounds, each vector scaled to a largest entry of 1 in each:
//!
//! > s ← d·(P_sr·r + ω·P_ss·s),  r ← d·P_rs·s + (1 − d)·v
//!
//! P_sr gives each operation of a trace its equal share of the trace, P_rs each trace of an operation its
//! equal share of the operation, P_ss each callee its equal share of the caller. v prefers, of the normal
//! traces, kinds that are rare (1/k, where k traces touch the same operations); of the abnormal ones, short
//! ones, too. An operation's weight times the number of traces that touch it or don't gives the
//! counts ef, nf, ep, np of a spectrum, ranked by DStar (e = 2). Where the paper leaves something open, this
//! follows the code that its authors released.
//!
//! Traces that touch the same operations have the same row and the same entry, so they are one node with a
//! count. What is abnormal is the outcome here; where no request failed, the whole window is, since somebody
//! named it. A service stands where its first operation stands.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::Tally;
use super::input::{Case, Input};
use super::spectrum_formula::by_score;
use crate::{Level, Suspect};

/// The damping factor.
const D: f64 = 0.85;
/// How much calls count beside traces.
const OMEGA: f64 = 0.01;
/// Rounds.
const ROUNDS: usize = 25;
/// How much rare kinds count beside short traces, among abnormal ones.
const PHI: f64 = 0.5;
/// What stands for a count of an operation that one of the graphs lacks.
const ABSENT: f64 = 1e-7;

/// Traces that touch the same operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The operations, sorted, each once.
    pub operations: Vec<usize>,
    /// How many such traces there are.
    pub traces: u64,
}

/// The weight of each operation of one graph. `calls` are (caller, callee), each once.
pub fn weights(
    kinds: &[Kind],
    calls: &BTreeSet<(usize, usize)>,
    abnormal: bool,
) -> BTreeMap<usize, f64> {
    let names: BTreeSet<usize> = kinds
        .iter()
        .flat_map(|kind| kind.operations.iter().copied())
        .collect();
    let place: BTreeMap<usize, usize> =
        names.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let calls: Vec<(usize, usize)> = calls
        .iter()
        .filter_map(|(from, to)| Some((*place.get(from)?, *place.get(to)?)))
        .collect();
    let mut callees = vec![0.0; place.len()];
    for (from, _) in &calls {
        callees[*from] += 1.0;
    }
    let mut traces_of = vec![0.0; place.len()];
    for kind in kinds {
        for operation in &kind.operations {
            traces_of[place[operation]] += kind.traces as f64;
        }
    }
    let preference = preference(kinds, abnormal);
    let nodes = place.len() as f64 + kinds.iter().map(|kind| kind.traces as f64).sum::<f64>();
    let mut s = vec![1.0 / nodes; place.len()];
    let mut r = vec![1.0 / nodes; kinds.len()];
    for _ in 0..ROUNDS {
        let mut next_s = vec![0.0; place.len()];
        let mut next_r: Vec<f64> = preference.iter().map(|v| (1.0 - D) * v).collect();
        for (at, kind) in kinds.iter().enumerate() {
            let share = kind.traces as f64 / kind.operations.len() as f64;
            for operation in &kind.operations {
                let operation = place[operation];
                next_s[operation] += D * share * r[at];
                next_r[at] += D * s[operation] / traces_of[operation];
            }
        }
        for (from, to) in &calls {
            next_s[*to] += D * OMEGA * s[*from] / callees[*from];
        }
        (s, r) = (scaled(next_s), scaled(next_r));
    }
    let mean = s.iter().sum::<f64>() / s.len().max(1) as f64;
    place
        .into_iter()
        .map(|(id, at)| (id, s[at] * mean))
        .collect()
}

/// Which traces the walk returns to; one entry per kind, for each of its traces.
fn preference(kinds: &[Kind], abnormal: bool) -> Vec<f64> {
    let total = |of: &dyn Fn(&Kind) -> f64| -> f64 {
        kinds.iter().map(|kind| kind.traces as f64 * of(kind)).sum()
    };
    let rare = |kind: &Kind| 1.0 / kind.traces as f64;
    let short = |kind: &Kind| 1.0 / kind.operations.len() as f64;
    let (all_rare, all_short) = (total(&rare), total(&short));
    let each = kinds.iter().map(|kind| {
        if abnormal {
            PHI / (PHI * kind.traces as f64 / all_rare + short(kind)) / all_short
        } else {
            rare(kind) / all_rare
        }
    });
    each.collect()
}

fn scaled(mut values: Vec<f64>) -> Vec<f64> {
    let most = values.iter().copied().fold(0.0, f64::max);
    if most > 0.0 {
        values.iter_mut().for_each(|value| *value /= most);
    }
    values
}

/// DStar of the weighted counts; 0 for what no abnormal trace touches.
fn score(abnormal: Option<(f64, f64, f64)>, normal: Option<(f64, f64, f64)>) -> f64 {
    let Some((weight, touching, all)) = abnormal else {
        return 0.0;
    };
    let (ef, nf) = (weight * touching, weight * (all - touching));
    let ep = normal.map_or(ABSENT, |(weight, touching, _)| weight * touching);
    ef * ef / (ep + nf).max(ABSENT)
}

/// Ranks services and dependencies by it.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let nothing_failed = tally.failed == 0;
    let is_abnormal = |case: &&Case| nothing_failed || case.is_failure();
    let kinds_now = kinds(input, input.window.iter().filter(is_abnormal));
    let good_now = input
        .window
        .iter()
        .filter(|case| !nothing_failed && case.is_ok());
    let good = input
        .baseline
        .iter()
        .filter(|case| case.is_ok())
        .chain(good_now);
    let kinds_before = kinds(input, good);
    let calls = |seen: fn(&super::Shaped) -> u64| -> BTreeSet<(usize, usize)> {
        let used = input.shaped.iter().filter(|shaped| seen(shaped) > 0);
        used.flat_map(|shaped| shaped.asked.iter().map(|to| (shaped.subject, *to)))
            .collect()
    };
    let graphs = [
        (kinds_now, calls(|shaped| shaped.window), true),
        (
            kinds_before,
            calls(|shaped| shaped.baseline.iter().sum()),
            false,
        ),
    ];
    let [abnormal, normal] = graphs.map(|(kinds, calls, abnormal)| {
        let all: f64 = kinds.iter().map(|kind| kind.traces as f64).sum();
        let mut touching: BTreeMap<usize, f64> = BTreeMap::new();
        for kind in &kinds {
            for operation in &kind.operations {
                *touching.entry(*operation).or_default() += kind.traces as f64;
            }
        }
        let weighted = weights(&kinds, &calls, abnormal).into_iter();
        weighted
            .map(|(id, weight)| (id, (weight, touching[&id], all)))
            .collect::<BTreeMap<_, _>>()
    });
    let families = &tally.families;
    let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
    for (operation, of) in &abnormal {
        let found = score(Some(*of), normal.get(operation).copied());
        let best = scores.entry(families[*operation]).or_default();
        *best = best.max(found);
    }
    by_score(input, tally, scores)
}

fn kinds<'a>(input: &Input, cases: impl Iterator<Item = &'a Case>) -> Vec<Kind> {
    let mut kinds: BTreeMap<Vec<usize>, u64> = BTreeMap::new();
    for case in cases {
        let touched = input.rows[case.row]
            .touches
            .iter()
            .map(|touch| touch.subject);
        let operations: Vec<usize> = touched
            .filter(|at| {
                let level = input.subjects[*at].component.level;
                matches!(level, Level::Operation | Level::Dependency)
            })
            .collect();
        if !operations.is_empty() {
            *kinds.entry(operations).or_default() += case.count;
        }
    }
    kinds
        .into_iter()
        .map(|(operations, traces)| Kind { operations, traces })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(operations: &[usize], traces: u64) -> Kind {
        Kind {
            operations: operations.to_vec(),
            traces,
        }
    }

    /// An independent computation with dense matrices, one column per trace.
    #[test]
    fn as_dense_matrices_have_it() {
        let kinds = [kind(&[0, 1], 3), kind(&[0, 1, 2], 1), kind(&[0, 2, 3], 2)];
        let calls = BTreeSet::from([(0, 1), (0, 2), (2, 3), (1, 2)]);
        let normal = [
            0.629_297_114_617_318_7,
            0.422_760_315_422_590_35,
            0.322_123_925_460_661_2,
            0.209_878_078_362_161_02,
        ];
        let faulty = [
            0.628_782_975_288_066_1,
            0.421_372_693_128_087_23,
            0.320_639_208_135_894_7,
            0.210_677_243_496_403_02,
        ];
        for (abnormal, expected) in [(false, normal), (true, faulty)] {
            let found = weights(&kinds, &calls, abnormal);
            for (operation, expected) in expected.into_iter().enumerate() {
                let found = found[&operation];
                assert!((found - expected).abs() < 1e-9, "{operation}: {found}");
            }
        }
    }

    #[test]
    fn what_only_abnormal_traces_touch_scores_high_and_what_none_touches_nothing() {
        let both = score(Some((0.5, 10.0, 10.0)), Some((0.5, 90.0, 90.0)));
        let one = score(Some((0.5, 10.0, 10.0)), None);
        assert!(one > both && both > 0.0, "{one} {both}");
        assert!(score(None, Some((0.5, 1.0, 1.0))).abs() < 1e-12);
    }
}
