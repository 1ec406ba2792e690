//! TraceRCA: which services are together in abnormal traces and not in normal ones, and where among them does it begin?
//!
//! Li, Chen, Jiao, Zhao, Wang, Zhang, Wu, Jiang, Yan, Wang, Chen, Zhang, Zhang, Wang, Sui and Pei
//! (2021), *Practical root cause localization for microservice systems via trace analysis*, IWQoS. In three steps:
//!
//! 1. An invocation is abnormal by several metrics of its own, and a trace is that has such an invocation. Here that is what
//!    a request's row says of a component: anything else than that it was fine. Rows know errors and missing answers; for
//!    durations, which are of whole traces, the harness marks invocations beforehand, as the paper has it
//!    (`localization/invocations.rs` in `rekindle-datasets`).
//! 2. Sets of services that occur together in at least a tenth of the abnormal traces are mined. Of a set, *support* is the
//!    share of abnormal traces that contain it, *confidence* the share of traces with it that are abnormal:
//!
//!    > JI = 1 / (1/support + 1/confidence − 1)
//!
//! 3. A service scores JI·|in − out| in the best of the hundred best sets that it is in: of the traces with the set, those
//!    with an abnormal invocation of the service, less those with an abnormal one by it.
//!
//! Sets that occur in the same traces score alike, so only the largest of each such kind (the closed ones) are mined: the
//! same result, without the two to the power of 28 sets of 28 services that are always together. Where the paper leaves
//! something open, this follows the code that its authors released.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::Outcome;

use super::evidence::Tally;
use super::input::Input;
use super::spectrum_formula::by_score;
use crate::observe::State;
use crate::{Level, Suspect};

/// The share of abnormal traces that a set must occur in.
const SUPPORT: f64 = 0.1;
/// So many different scores of sets are looked at, the best first.
const BEST: usize = 100;
/// Sets are mined up to so many, those of the most frequent traces first.
const MOST_SETS: usize = 1_000;

/// Traces of the same services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The services, sorted, each once.
    pub services: Vec<usize>,
    /// Those of them that were invoked abnormally, sorted.
    pub entered: Vec<usize>,
    /// Those of them that invoked others that were abnormal, sorted.
    pub left: Vec<usize>,
    /// How many such traces there are.
    pub count: u64,
}

impl Transaction {
    const fn is_abnormal(&self) -> bool {
        !self.entered.is_empty()
    }

    fn contains(&self, set: &[usize]) -> bool {
        set.iter().all(|it| self.services.binary_search(it).is_ok())
    }
}

/// The Jaccard index from support and confidence.
pub fn jaccard_index(support: f64, confidence: f64) -> f64 {
    if support <= 0.0 || confidence <= 0.0 {
        return 0.0;
    }
    1.0 / (1.0 / support + 1.0 / confidence - 1.0)
}

/// A set of services that are abnormal together often enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// The services, sorted.
    pub services: Vec<usize>,
    /// The share of abnormal traces with it.
    pub support: f64,
    /// The share of traces with it that are abnormal.
    pub confidence: f64,
}

/// The closed frequent sets of services, in order.
pub fn mined(transactions: &[Transaction]) -> Vec<Mined> {
    let mut kinds: BTreeMap<&[usize], u64> = BTreeMap::new();
    for transaction in transactions {
        *kinds.entry(&transaction.services).or_default() += transaction.count;
    }
    let mut kinds: Vec<(&[usize], u64)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(services, count)| (u64::MAX - count, *services));
    let mut closed: BTreeSet<Vec<usize>> = BTreeSet::new();
    for (kind, _) in kinds {
        let with_known = closed.iter().map(|known| common(known, kind));
        let new: Vec<Vec<usize>> = with_known.chain([kind.to_vec()]).collect();
        let room = MOST_SETS.saturating_sub(closed.len());
        let new = new.into_iter().filter(|set| !set.is_empty());
        closed.extend(new.take(room));
    }
    let all = abnormal(transactions.iter());
    let measured = closed.into_iter().map(|services| {
        let with = || transactions.iter().filter(|it| it.contains(&services));
        let (abnormal, total) = (abnormal(with()), with().map(|it| it.count).sum::<u64>());
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        Mined {
            support: share(abnormal, all),
            confidence: share(abnormal, total),
            services,
        }
    });
    measured.filter(|set| set.support >= SUPPORT).collect()
}

fn abnormal<'a>(transactions: impl Iterator<Item = &'a Transaction>) -> u64 {
    let abnormal = transactions.filter(|it| it.is_abnormal());
    abnormal.map(|it| it.count).sum()
}

fn common(a: &[usize], b: &[usize]) -> Vec<usize> {
    let both = a.iter().filter(|it| b.binary_search(it).is_ok());
    both.copied().collect()
}

/// The score of each service, from the best of its sets.
pub fn scores(transactions: &[Transaction]) -> BTreeMap<usize, f64> {
    let mut sets: Vec<(f64, Vec<usize>)> = mined(transactions)
        .into_iter()
        .map(|set| (jaccard_index(set.support, set.confidence), set.services))
        .collect();
    sets.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut distinct: Vec<f64> = sets.iter().map(|(index, _)| *index).collect();
    distinct.dedup();
    let least = distinct
        .get(BEST - 1)
        .or(distinct.last())
        .copied()
        .unwrap_or_default();
    let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
    for (index, set) in sets.iter().filter(|(index, _)| *index >= least) {
        let with: Vec<&Transaction> = transactions.iter().filter(|it| it.contains(set)).collect();
        for service in set {
            let count = |of: &dyn Fn(&Transaction) -> &[usize]| -> u64 {
                let abnormal = with
                    .iter()
                    .filter(|it| of(it).binary_search(service).is_ok());
                abnormal.map(|it| it.count).sum()
            };
            let (entered, left) = (count(&|it| &it.entered), count(&|it| &it.left));
            let best = scores.entry(*service).or_default();
            *best = best.max(index * entered.abs_diff(left) as f64);
        }
    }
    scores
}

/// Ranks services and dependencies by it.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    by_score(input, tally, scores(&transactions(input, tally)))
}

/// The window's traces, as far as services and dependencies go.
fn transactions(input: &Input, tally: &Tally) -> Vec<Transaction> {
    let mut callees: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for shaped in input.shaped.iter() {
        let caller = tally.families[shaped.subject];
        let asked = shaped.asked.iter().map(|asked| tally.families[*asked]);
        let others = asked.filter(|callee| *callee != caller);
        callees.entry(caller).or_default().extend(others);
    }
    let level = |at: usize| input.subjects[at].component.level;
    let known = input.window.iter();
    let known = known.filter(|case| case.outcome != Outcome::Unknown);
    let transactions = known.map(|case| {
        let touches = input.rows[case.row].touches.iter();
        let touches = touches
            .filter(|touch| matches!(level(touch.subject), Level::Service | Level::Dependency));
        let services: Vec<usize> = touches.clone().map(|touch| touch.subject).collect();
        let entered: Vec<usize> = touches
            .filter(|touch| touch.state != State::Touched)
            .map(|touch| touch.subject)
            .collect();
        let asked_abnormal = |service: &usize| {
            let asked = callees.get(service);
            asked.is_some_and(|asked| entered.iter().any(|it| asked.contains(it)))
        };
        Transaction {
            left: services.iter().copied().filter(asked_abnormal).collect(),
            services,
            entered,
            count: case.count,
        }
    });
    transactions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert!((jaccard_index(0.8, 0.4) - 0.32 / 0.88).abs() < 1e-12);
        assert!((jaccard_index(1.0, 1.0) - 1.0).abs() < 1e-12);
        assert!(jaccard_index(0.0, 0.0).abs() < 1e-12);
        // The shop (0) asks the cart (1) and the price (2); the price fails, and the cart doesn't.
        let trace = |services: &[usize], bad: bool, count: u64| Transaction {
            services: services.to_vec(),
            entered: if bad { vec![0, 2] } else { vec![] },
            left: if bad { vec![0] } else { vec![] },
            count,
        };
        let traces = [
            trace(&[0, 1, 2], true, 6),
            trace(&[0, 2], true, 2),
            trace(&[0, 2], false, 2),
            trace(&[0, 1], false, 10),
        ];
        // With shop and price: all that is abnormal, of which eight in ten are.
        let found = scores(&traces);
        assert!((found[&2] - 8.0 / 10.0 * 8.0).abs() < 1e-12, "{found:?}");
        assert!(
            found[&0].abs() < 1e-12 && found[&1].abs() < 1e-12,
            "{found:?}"
        );
    }
}
