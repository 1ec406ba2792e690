//! C4.5: which tests of components, one after the other, sort failed requests from good ones?
//!
//! Quinlan (1993), *C4.5: programs for machine learning*, Morgan Kaufmann. A tree is grown from the root: of the
//! tests whose gain of information is at least the mean of all, the one with the largest
//!
//! > gain ratio = gain / split information
//!
//! is asked, where the split information is the entropy of the test's own answers; both answers must have two requests.
//! What sorts no better than its majority is one leaf. Then it is pruned from below: a leaf with E errors in N requests
//! is expected to have N·U(E, N), the upper limit of its error rate at a confidence of 25 %, and a subtree gives way to a
//! leaf, or to its larger branch, that is expected to have no more. U and the tenth of an error of slack are
//! those of the code that Quinlan released (release 8).
//!
//! Chen and others (2004) learn which components failures have in common with it; what they make of a tree is in
//! [`super::decision_tree`].

use rekindle_stats::{Probability, normal_quantile};

use super::decision_tree::{Ends, Request, Way, causes, gain, requests};
use super::evidence::Tally;
use super::input::Input;
use super::spectrum_formula::by_score;
use crate::Suspect;

/// The fewest requests that each answer of a test must have.
const LEAST: f64 = 2.0;
/// How sure pruning is that a leaf is no worse than it says.
const CONFIDENCE: f64 = 0.25;
/// Expected errors that a smaller tree may have more.
const SLACK: f64 = 0.1;
/// Differences of gains and errors that are none.
const NO_DIFFERENCE: f64 = 1e-3;
/// Ratios below this are rounding.
const NO_GAIN: f64 = 1e-9;

/// A tree of tests.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// Nothing more is asked of these requests.
    Leaf(Ends),
    /// Was the component touched?
    Split {
        /// The component.
        feature: usize,
        /// Of requests that touched it.
        with: Box<Tree>,
        /// Of the others.
        without: Box<Tree>,
    },
}

impl Tree {
    fn ends(&self) -> Ends {
        match self {
            Self::Leaf(ends) => *ends,
            Self::Split { with, without, .. } => with.ends() + without.ends(),
        }
    }

    /// How many requests go against the majority of their leaf.
    fn errors(&self) -> f64 {
        match self {
            Self::Leaf(ends) => ends.errors(),
            Self::Split { with, without, .. } => with.errors() + without.errors(),
        }
    }

    /// How many more requests like these are expected to.
    fn expected_errors(&self) -> f64 {
        match self {
            Self::Leaf(ends) => expected_errors(*ends),
            Self::Split { with, without, .. } => with.expected_errors() + without.expected_errors(),
        }
    }

    /// The same tests of other requests.
    fn of(&self, requests: &[&Request]) -> Self {
        match self {
            Self::Leaf(_) => Self::Leaf(Ends::of(requests)),
            Self::Split {
                feature,
                with,
                without,
            } => {
                let (touched, others) = parted(requests, *feature);
                Self::split(*feature, with.of(&touched), without.of(&others))
            }
        }
    }

    fn split(feature: usize, with: Self, without: Self) -> Self {
        Self::Split {
            feature,
            with: Box::new(with),
            without: Box::new(without),
        }
    }
}

/// N·U(E, N): the errors that a leaf is expected to have.
pub fn expected_errors(ends: Ends) -> f64 {
    let (n, e) = (ends.total(), ends.errors());
    if n <= 0.0 {
        return 0.0;
    }
    if e < 1.0 {
        // Exactly, of no errors; there is none between none and one.
        return n * (1.0 - CONFIDENCE.powf(1.0 / n));
    }
    // The binomial's upper limit by the normal distribution, corrected for continuity.
    let z = normal_quantile(Probability::clamped(1.0 - CONFIDENCE));
    let f = (e + 0.5) / n;
    let spread = (f / n - f * f / n + z * z / (4.0 * n * n)).sqrt();
    n * (f + z * z / (2.0 * n) + z * spread) / (1.0 + z * z / n)
}

/// The tree of these requests, whose features are below `features`.
pub fn tree(requests: &[Request], features: usize) -> Tree {
    let all: Vec<&Request> = requests.iter().collect();
    pruned(grown(&all, features), &all)
}

fn parted<'a>(requests: &[&'a Request], feature: usize) -> (Vec<&'a Request>, Vec<&'a Request>) {
    requests.iter().partition(|request| request.has(feature))
}

fn grown(requests: &[&Request], features: usize) -> Tree {
    let ends = Ends::of(requests);
    let leaf = Tree::Leaf(ends);
    if ends.errors() <= 0.0 || ends.total() < 2.0 * LEAST {
        return leaf;
    }
    let Some(feature) = best_test(requests, ends, features) else {
        return leaf;
    };
    let (touched, others) = parted(requests, feature);
    let (with, without) = (grown(&touched, features), grown(&others, features));
    let tree = Tree::split(feature, with, without);
    if tree.errors() >= ends.errors() - NO_DIFFERENCE {
        return leaf;
    }
    tree
}

/// The test with the best ratio, of those that gain at least the mean.
fn best_test(requests: &[&Request], all: Ends, features: usize) -> Option<usize> {
    let with = Ends::per_feature(requests.iter().copied(), features);
    let gains: Vec<(usize, f64, Ends)> = with
        .into_iter()
        .enumerate()
        .filter(|(_, with)| with.total() >= LEAST && all.total() - with.total() >= LEAST)
        .map(|(feature, with)| (feature, gain(all, with), with))
        .collect();
    let mean = gains.iter().map(|(_, gain, _)| gain).sum::<f64>() / gains.len() as f64;
    gains
        .into_iter()
        .filter(|(_, gain, _)| *gain >= mean - NO_DIFFERENCE)
        .map(|(feature, gain, with)| (feature, ratio(gain, all, with)))
        .filter(|(_, ratio)| *ratio > NO_GAIN)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(feature, _)| feature)
}

/// The gain, in parts of what the test's answers tell at all.
pub fn ratio(gain: f64, all: Ends, with: Ends) -> f64 {
    let answers = Ends {
        failed: with.total(),
        ok: all.total() - with.total(),
    };
    gain / answers.entropy()
}

fn pruned(tree: Tree, requests: &[&Request]) -> Tree {
    let Tree::Split {
        feature,
        with,
        without,
    } = tree
    else {
        return tree;
    };
    let (touched, others) = parted(requests, feature);
    let (with, without) = (pruned(*with, &touched), pruned(*without, &others));
    let larger = match with.ends().total() >= without.ends().total() {
        true => with.of(requests),
        false => without.of(requests),
    };
    let tree = Tree::split(feature, with, without);
    let leaf = Tree::Leaf(Ends::of(requests));
    let [of_leaf, of_tree, of_larger] = [&leaf, &tree, &larger].map(Tree::expected_errors);
    if of_leaf <= of_tree + SLACK && of_leaf <= of_larger + SLACK {
        leaf
    } else if of_larger <= of_tree + SLACK {
        pruned(larger, requests)
    } else {
        tree
    }
}

/// Ranks the components that the leaves of failed requests name.
pub(crate) fn suspects(input: &Input, tally: &Tally) -> Vec<Suspect> {
    let requests = requests(input);
    let tree = tree(&requests, input.subjects.len());
    let mut leaves = Vec::new();
    failing(&tree, &mut Way::new(), &mut leaves);
    by_score(input, tally, causes(&requests, leaves))
}

/// The way to each leaf most of whose requests failed, and how many did.
fn failing(tree: &Tree, way: &mut Way, found: &mut Vec<(Way, f64)>) {
    match tree {
        Tree::Leaf(ends) if ends.failed > ends.ok => found.push((way.clone(), ends.failed)),
        Tree::Leaf(_) => {}
        Tree::Split {
            feature,
            with,
            without,
        } => {
            for (branch, touched) in [(with, true), (without, false)] {
                way.push((*feature, touched));
                failing(branch, way, found);
                way.pop();
            }
        }
    }
}
