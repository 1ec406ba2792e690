//! Which component explains the failures? `rank(method, &Input) -> Ranking`, pure.
//!
//! One file per method, each with its formula and where it comes from. All read the same
//! [`Input`] (failed requests, good ones, and what each touched) and answer in the same form, with
//! the same evidence per suspect, so that they can be compared. The default is [`default`]; the
//! others are there to be measured against.
//!
//! What each was checked against (tables by `notebooks/reference_methods.py`):
//!
//! | method | published in | checked against | test |
//! |---|---|---|---|
//! | [`ochiai`], [`jaccard`] | Ochiai 1957; Jaccard 1901; Abreu and others 2007 | SciPy's cosine and Jaccard distances of Boolean vectors | `formulas_as_scipy_has_them` |
//! | [`tarantula`], [`dstar`], [`op2`], [`barinel`] | Jones 2002; Wong 2014; Naish 2011; Abreu 2009 | NumPy, by definition, request by request | `formulas_as_scipy_has_them` |
//! | [`trace_rca`] | Li and others 2021 | SciPy's Jaccard distance; the closed ones of mlxtend's `fpgrowth` | `formulas_as_scipy_has_them`, `sets_as_mlxtend_has_them` |
//! | [`pinpoint`] | Chen and others 2002 | SciPy's `linkage` by averages and `fcluster`; Sneath and Sokal's worked example | `clusters_as_scipy_has_them`, `upgma_as_in_the_textbook` |
//! | [`decision_tree`] | Chen and others 2004 | SciPy's entropies (mutual information); Quinlan's weather (1986) | `formulas_as_scipy_has_them`, `entropy_and_gain_by_hand` |
//! | [`c45`] | Quinlan 1993 | Weka's J48, whole trees, grown and pruned | `trees_as_weka_has_them` |
//! | [`component_interaction`] | Kıcıman and Fox 2005 | SciPy's `chisquare` and `chi2.ppf` | `as_scipy_has_it` |
//! | [`path_shape`] | Kıcıman and Fox 2005 | the paper's formula, by hand | `by_hand` |
//! | [`micro_rank`] | Yu and others 2021 | the same in dense matrices, a column a trace | `as_dense_matrices_have_it` |
//! | largest z, alert count, three sigmas | Shewhart 1931 | mean and deviation by hand | `mean_and_deviation_by_hand` |
//! | [`default`] | here | its statistics against SciPy and statsmodels; as a whole, `rekindle bench localization` | `analysis/stats/tests/reference.rs`, `default/tests.rs` |

mod alert_count;
pub mod barinel;
pub mod c45;
mod cause;
pub mod component_interaction;
mod confounded;
pub mod decision_tree;
pub mod default;
pub mod dstar;
mod evidence;
mod explain;
mod families;
mod input;
pub mod jaccard;
mod largest_z;
mod lasted;
pub mod micro_rank;
pub mod ochiai;
pub mod op2;
mod pairs;
pub mod path_shape;
pub mod pinpoint;
mod plain;
pub mod spectrum_formula;
pub mod tarantula;
mod three_sigma;
mod times;
pub mod trace_rca;
mod weighed;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Ranking, Suspect, Verdict};
use spectrum_formula::by_formula;

pub use default::Choice;
pub use evidence::Tally;
pub use explain::{Fact, facts};
pub use input::{Case, Input, InputRow, InputTouch, Part, Shaped, ShownTrace, Subject, Touched};
pub(crate) use lasted::Counted;
pub use lasted::{Brief, Lasted};
pub use times::{Timed, Times};

/// A suspected change is an answer from this confidence on: three to one.
const LIKELY: f64 = 0.75;

/// A way to rank.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Origin of failures, coverage where there is none, and the most specific level.
    #[default]
    Default,
    /// The Ochiai coefficient of the spectrum.
    Ochiai,
    /// Tarantula's suspiciousness of the spectrum.
    Tarantula,
    /// The Jaccard coefficient of the spectrum.
    Jaccard,
    /// DStar of the spectrum, with the exponent 2.
    DStar,
    /// Op2 of the spectrum.
    Op2,
    /// Barinel's probability of the spectrum, for single faults.
    Barinel,
    /// Pinpoint's clustering of components with failures.
    Pinpoint,
    /// A decision tree over requests, by MinEntropy.
    DecisionTree,
    /// A decision tree over requests, by C4.5.
    C45,
    /// Pinpoint's component interaction, by χ².
    ComponentInteraction,
    /// Pinpoint's path shape, by a probabilistic grammar.
    PathShape,
    /// MicroRank's weighted spectrum.
    MicroRank,
    /// TraceRCA's sets of services.
    TraceRca,
    /// The largest distance of a mean duration.
    LargestZ,
    /// The count of operations whose mean duration moved.
    AlertCount,
    /// The share of calls beyond three standard deviations.
    ThreeSigma,
}

impl Method {
    /// Every method there is.
    pub const ALL: [Self; 17] = [
        Self::Default,
        Self::Ochiai,
        Self::Tarantula,
        Self::Jaccard,
        Self::DStar,
        Self::Op2,
        Self::Barinel,
        Self::Pinpoint,
        Self::DecisionTree,
        Self::C45,
        Self::ComponentInteraction,
        Self::PathShape,
        Self::MicroRank,
        Self::TraceRca,
        Self::LargestZ,
        Self::AlertCount,
        Self::ThreeSigma,
    ];

    /// Its name: `default`, `ochiai`, `d_star` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Ochiai => "ochiai",
            Self::Tarantula => "tarantula",
            Self::Jaccard => "jaccard",
            Self::DStar => "d_star",
            Self::Op2 => "op2",
            Self::Barinel => "barinel",
            Self::Pinpoint => "pinpoint",
            Self::DecisionTree => "decision_tree",
            Self::C45 => "c45",
            Self::ComponentInteraction => "component_interaction",
            Self::PathShape => "path_shape",
            Self::MicroRank => "micro_rank",
            Self::TraceRca => "trace_rca",
            Self::LargestZ => "largest_z",
            Self::AlertCount => "alert_count",
            Self::ThreeSigma => "three_sigma",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that no method has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no method is called {name:?}; there are {}", Method::ALL.map(Method::as_str).join(", "))]
pub struct UnknownMethod {
    name: String,
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        let named = Self::ALL.into_iter().find(|method| method.as_str() == name);
        named.ok_or_else(|| UnknownMethod {
            name: name.to_owned(),
        })
    }
}

/// What the first suspect of a ranking stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Failed requests, when there are enough of them.
    Failures,
    /// A change, whether or not any request failed.
    Change,
    /// Nothing that chance doesn't show, too.
    Chance,
}

impl Ground {
    /// Of a method that knows no tests: failures, if any began in the first suspect, and else a change
    /// that it is confident of.
    fn by_confidence(suspects: &[Suspect]) -> Self {
        let likely_change = suspects
            .first()
            .is_some_and(|first| first.evidence.originated == 0 && first.confidence >= LIKELY);
        if likely_change {
            Self::Change
        } else {
            Self::Failures
        }
    }
}

/// Ranks by the default without one of its ideas: to see what the idea is worth.
pub fn rank_without(choice: default::Choice, input: &Input) -> Ranking {
    let tally = Tally::of(input);
    let choices = default::Choices {
        without: Some(choice),
    };
    let (suspects, ground) = default::suspects(input, &tally, choices);
    ranking(Method::Default, input, &tally, suspects, ground)
}

/// Ranks the suspects of the input's incident.
pub fn rank(method: Method, input: &Input) -> Ranking {
    let tally = Tally::of(input);
    let suspects = match method {
        Method::Default => {
            let (suspects, ground) = default::suspects(input, &tally, default::Choices::default());
            return ranking(method, input, &tally, suspects, ground);
        }
        Method::Ochiai => by_formula(input, &tally, ochiai::ochiai),
        Method::Tarantula => by_formula(input, &tally, tarantula::tarantula),
        Method::Jaccard => by_formula(input, &tally, jaccard::jaccard),
        Method::DStar => by_formula(input, &tally, dstar::dstar),
        Method::Op2 => by_formula(input, &tally, op2::op2),
        Method::Barinel => by_formula(input, &tally, barinel::barinel),
        Method::Pinpoint => pinpoint::suspects(input, &tally),
        Method::DecisionTree => decision_tree::suspects(input, &tally),
        Method::C45 => c45::suspects(input, &tally),
        Method::ComponentInteraction => component_interaction::suspects(input, &tally),
        Method::PathShape => path_shape::suspects(input, &tally),
        Method::MicroRank => micro_rank::suspects(input, &tally),
        Method::TraceRca => trace_rca::suspects(input, &tally),
        Method::LargestZ => largest_z::suspects(input, &tally),
        Method::AlertCount => alert_count::suspects(input, &tally),
        Method::ThreeSigma => three_sigma::suspects(input, &tally),
    };
    let ground = Ground::by_confidence(&suspects);
    ranking(method, input, &tally, suspects, ground)
}

/// The suspects, with what they add up to, and whether that suffices.
fn ranking(
    method: Method,
    input: &Input,
    tally: &Tally,
    mut suspects: Vec<Suspect>,
    ground: Ground,
) -> Ranking {
    suspects.truncate(input.max_suspects);
    let believed: f64 = suspects.iter().map(|suspect| suspect.confidence).sum();
    let verdict = match missing(input, tally, &suspects, ground) {
        Some(missing) => Verdict::NotEnough { missing },
        None => Verdict::Enough,
    };
    Ranking {
        incident: input.incident,
        method: method.as_str().into(),
        at: input.at,
        cut: input.cut,
        suspects,
        none_of_these: (1.0 - believed).clamp(0.0, 1.0),
        verdict,
        weights: input.weights,
        left_out: input.left_out.clone(),
    }
}

/// What would be needed to believe the ranking.
fn missing(input: &Input, tally: &Tally, suspects: &[Suspect], ground: Ground) -> Option<String> {
    if ground == Ground::Change {
        return None;
    }
    let missing: u64 = input.missing.iter().map(|case| case.count).sum();
    let first = suspects.first();
    let makes_stop = first.is_some_and(|first| first.explanation.stopped().is_some());
    if missing >= input.min_failed && makes_stop {
        return None;
    }
    if tally.failed < input.min_failed {
        return Some(format!(
            "{} of at least {} failed requests with their traces",
            tally.failed, input.min_failed
        ));
    }
    if tally.ok == 0 {
        return Some("good requests to compare the failed ones with".to_owned());
    }
    if suspects.is_empty() {
        return Some("a component that failed requests touch more often than good ones".to_owned());
    }
    (ground == Ground::Chance)
        .then(|| "a difference from before that chance does not explain".to_owned())
}
