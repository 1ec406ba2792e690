//! Where to cut? Of methods that name a set of components, how often is everything in it, and how much beside?
//!
//! Pinpoint's diagnosis is a cluster, and where its tree is cut is a free parameter, that trades accuracy (the share of
//! cases all of whose culprits are in the set) for precision (the share of the set that are culprits); Chen and others
//! (2002) sweep it. The spectrum coefficients that are shares can be cut alike, so they stand beside it. All of it at the
//! level of services, and of the first suspects, which are all that the harness looks at: a set is no larger than these.

use rekindle_analysis::rank::Method;
use serde::{Deserialize, Serialize};

use super::CaseResult;

/// Scores at which a set ends: tenths.
const CUTS: u32 = 9;

/// One method's sets at one cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The method.
    pub method: Method,
    /// The least score in a set.
    pub at: f64,
    /// How many cases there are.
    pub cases: usize,
    /// The share of them all of whose culprits are in the set.
    pub accuracy: f64,
    /// The mean share of a set that are culprits, over sets that aren't empty; `None` where all are.
    pub precision: Option<f64>,
    /// The mean size of the sets that aren't empty.
    pub size: Option<f64>,
}

/// Whether the method's scores are shares.
const fn is_share(method: Method) -> bool {
    matches!(
        method,
        Method::Pinpoint | Method::Ochiai | Method::Jaccard | Method::Tarantula | Method::Barinel
    )
}

/// Every method of sets that was asked, cut at every tenth.
pub fn cuts(results: &[CaseResult]) -> Vec<Cut> {
    let methods = Method::ALL.into_iter().filter(|method| is_share(*method));
    let asked = methods.filter_map(|method| {
        let of: Vec<&CaseResult> = results.iter().filter(|of| of.method == method).collect();
        (!of.is_empty()).then_some((method, of))
    });
    let each = asked.flat_map(|(method, of)| {
        (1..=CUTS).map(move |tenths| cut(method, f64::from(tenths) / f64::from(CUTS + 1), &of))
    });
    each.collect()
}

fn cut(method: Method, at: f64, results: &[&CaseResult]) -> Cut {
    let (mut right, mut precisions, mut sizes) = (0, 0.0, 0);
    let mut named = 0;
    for result in results {
        let set: Vec<&String> = result
            .suspects
            .iter()
            .zip(&result.scores)
            .filter(|(_, score)| **score >= at)
            .flat_map(|(group, _)| group)
            .collect();
        let found = result
            .roots
            .iter()
            .filter(|root| set.contains(root))
            .count();
        right += usize::from(found == result.roots.len());
        if !set.is_empty() {
            named += 1;
            sizes += set.len();
            precisions += found as f64 / set.len() as f64;
        }
    }
    let mean = |sum: f64| (named > 0).then(|| sum / f64::from(named));
    Cut {
        method,
        at,
        cases: results.len(),
        accuracy: f64::from(right as u32) / results.len() as f64,
        precision: mean(precisions),
        size: mean(sizes as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localization::tests::result;

    #[test]
    fn a_lower_cut_finds_more_and_is_less_precise() {
        let of = |roots: &[&str], scores: &[f64]| CaseResult {
            method: Method::Pinpoint,
            scores: scores.to_vec(),
            ..result(roots, &[&["a"], &["b", "c"], &["d"]], 0.5)
        };
        let results = [
            of(&["a", "b"], &[0.85, 0.6, 0.1]),
            of(&["d"], &[0.35, 0.3, 0.2]),
        ];
        let found = cuts(&results);
        let told = |tenths: usize| {
            let cut = found[tenths - 1];
            (cut.accuracy, cut.precision, cut.size)
        };
        assert_eq!(found.len(), 9);
        assert_eq!(told(9), (0.0, None, None));
        assert_eq!(told(7), (0.0, Some(1.0), Some(1.0)));
        assert_eq!(told(5), (0.5, Some(2.0 / 3.0), Some(3.0)));
        assert_eq!(told(1), (1.0, Some(0.375), Some(4.0)));
    }
}
