//! How often is the true culprit first? Methods × labelled cases, scored.
//!
//! Nothing is fitted here or anywhere: a method gets the traces of one case and nothing else, so
//! each system is judged by a method that has never seen any other. Classes are small, so every share
//! has an interval (percentile bootstrap over cases, seeded; of two cases at once, over the cases that pairs
//! share), and results are shown per class before anybody pools them.
//!
//! All rankings are scored at the level of services, which is what the sets label: a suspected part
//! counts for its service, a dependency under its own name. Suspects that no request can tell apart
//! count where the last of them stands (`score`). With several true culprits AC@k asks that the first
//! k hold as many of them as they can.
//!
//! Methods that know failures alone are told of slow requests where nothing failed (`slow`), TraceRCA of invocations that
//! are abnormal by its own rule (`invocations`).
//!
//! A method that answers everything would be right often, so the same is asked where nothing is wrong:
//! every second of a case's good traces against the others ([`CalmResult`]). And since one answer may be luck,
//! with fewer of a case's traces ([`Excerpt`]), and of two cases at once ([`pairs`]).

mod both;
mod cuts;
mod excerpt;
mod invocations;
mod plot;
mod slow;
mod systems;

use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rekindle_analysis::rank::{Choice, Method, rank, rank_without};
use rekindle_analysis::{AnalysisConfig, Level, Ranking, Verdict, input_around};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::public::{CaseInfo, LabelledTraces, PublicError, Set};
use crate::score::rank_of;

pub use both::pairs;
pub use cuts::{Cut, cuts};
pub use excerpt::{Excerpt, Stretch, UnknownStretch};
pub use plot::svg;
pub use systems::{HeldOut, Idea, choose, ideas};

/// Bootstrap samples: the ends of a 95 % interval are then known to about one part in a hundred.
const RESAMPLES: usize = 2_000;
/// So many distinct rows of observations; recorded heaps may hold more than a live window.
const MAX_ROWS: usize = 1_000_000;
/// How many suspects are looked at.
const SUSPECTS: usize = 10;

/// One method's answer to one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// The set.
    pub set: Set,
    /// The case's name within the set.
    pub case: String,
    /// The names of the cases that were put together: one, where it stands alone.
    pub parts: Vec<String>,
    /// The system that was broken.
    pub system: String,
    /// How.
    pub fault_type: String,
    /// The services that were broken.
    pub roots: Vec<String>,
    /// Where each of them stands in the ranking, from 1; `None` where it isn't there.
    pub ranks: Vec<Option<usize>>,
    /// The method.
    pub method: Method,
    /// The idea of the default that was left out, if any.
    pub without: Option<Choice>,
    /// The services in the order of the ranking; several where they can't be told apart.
    pub suspects: Vec<Vec<String>>,
    /// The score of each of these.
    pub scores: Vec<f64>,
    /// The confidence of the first suspect, in `[0, 1]`; 0 without one.
    pub confidence: f64,
    /// Whether the method says that the evidence suffices.
    pub answered: bool,
    /// CPU seconds for reading all traces of the case into what is ranked; all methods share it.
    pub read_seconds: f64,
    /// CPU seconds for ranking.
    pub rank_seconds: f64,
    /// Traces from before the fault, and with it.
    pub traces: (usize, usize),
    /// Rows or traces of the case's files that couldn't be read.
    pub unreadable: u64,
}

impl CaseResult {
    /// Whether the first `k` hold as many of the true culprits as they can.
    pub fn hit(&self, k: usize) -> bool {
        let found = self.ranks.iter().flatten().filter(|rank| **rank <= k);
        !self.roots.is_empty() && found.count() >= self.roots.len().min(k)
    }

    /// The method's name, and what of it was left out.
    pub fn label(&self) -> String {
        label(self.method, self.without)
    }

    /// The class: set, system, fault, and how many faults at once.
    pub fn class(&self) -> String {
        let several = match self.roots.len() {
            1 => String::new(),
            n => format!(" ×{n}"),
        };
        format!("{} {} {}{several}", self.set, self.system, self.fault_type)
    }
}

/// What a method says where nothing is wrong: good traces compared with other good ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalmResult {
    /// The set.
    pub set: Set,
    /// The case whose good traces these are.
    pub case: String,
    /// The system.
    pub system: String,
    /// The method.
    pub method: Method,
    /// The confidence of the first suspect, in `[0, 1]`; 0 without one.
    pub confidence: f64,
    /// Whether the method says that the evidence suffices: here, a false alarm.
    pub answered: bool,
}

/// What is asked of each case.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    /// The methods.
    pub methods: Vec<Method>,
    /// Ideas of the default to be left out, one at a time.
    pub without: Vec<Choice>,
    /// Whether to ask where nothing is wrong, too.
    pub calm: bool,
    /// What of each case is kept, to see what holds with less.
    pub excerpt: Excerpt,
}

/// The answers to one case.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// With the fault.
    pub results: Vec<CaseResult>,
    /// Without.
    pub calm: Vec<CalmResult>,
}

/// The way that a result was found: the method's name, and what of it was left out.
fn label(method: Method, without: Option<Choice>) -> String {
    match without {
        None => method.to_string(),
        Some(choice) => format!("{method} without {choice}"),
    }
}

/// Ranks one case by each method; or several, of one system, as if they had happened at once.
///
/// # Errors
/// When the traces of one of them can't be read.
pub fn judge(
    folder: &Path,
    set: Set,
    cases: &[&CaseInfo],
    questions: &Questions,
) -> Result<Judged, PublicError> {
    let (case, traces) = both::load_together(folder, set, cases, &questions.excerpt)?;
    let config = AnalysisConfig {
        max_rows: MAX_ROWS,
        max_suspects: SUSPECTS,
        ..AnalysisConfig::default()
    };
    let before = cpu_seconds();
    let asked = |traces: &LabelledTraces| {
        let LabelledTraces {
            baseline,
            window,
            interventions,
            ..
        } = traces;
        input_around(&config, baseline, window, interventions)
    };
    let input = asked(&traces);
    let read_seconds = cpu_seconds() - before;
    let only_failures = questions
        .methods
        .iter()
        .any(|of| slow::knows_failures_alone(*of));
    let slow_failed = (only_failures && !slow::more_failed(&input)).then(|| {
        let marked = slow::slow_ones_failed(&traces);
        asked(&marked)
    });
    let abnormal_failed = questions.methods.contains(&Method::TraceRca).then(|| {
        let marked = invocations::abnormal_ones_failed(&traces);
        asked(&marked)
    });
    let ways = questions.methods.iter().map(|method| (*method, None));
    let left_out = questions.without.iter();
    let ways = ways.chain(left_out.map(|choice| (Method::Default, Some(*choice))));
    let results = ways.map(|(method, without)| {
        let before = cpu_seconds();
        let ranking = match without {
            None => match (&slow_failed, &abnormal_failed) {
                (_, Some(marked)) if method == Method::TraceRca => rank(method, marked),
                (Some(marked), _) if slow::knows_failures_alone(method) => rank(method, marked),
                _ => rank(method, &input),
            },
            Some(choice) => rank_without(choice, &input),
        };
        let rank_seconds = cpu_seconds() - before;
        let (suspects, scores) = services(&ranking);
        CaseResult {
            set,
            case: case.id.clone(),
            parts: cases.iter().map(|case| case.id.clone()).collect(),
            system: case.system.clone(),
            fault_type: case.fault_type.clone(),
            ranks: case
                .roots
                .iter()
                .map(|root| rank_of(root, &suspects))
                .collect(),
            roots: case.roots.clone(),
            method,
            without,
            confidence: ranking
                .suspects
                .first()
                .map_or(0.0, |first| first.confidence),
            answered: ranking.verdict == Verdict::Enough,
            suspects,
            scores,
            read_seconds,
            rank_seconds,
            traces: (traces.baseline.len(), traces.window.len()),
            unreadable: traces.unreadable,
        }
    });
    let results = results.collect();
    let mut calm = Vec::new();
    if questions.calm {
        // Every second one: sets pool days that differ, and a difference between days is no mistake.
        let (mut some, mut others) = (Vec::new(), Vec::new());
        for (at, trace) in traces.baseline.into_iter().enumerate() {
            let half = if at.is_multiple_of(2) {
                &mut some
            } else {
                &mut others
            };
            half.push(trace);
        }
        let input = input_around(&config, &some, &others, &traces.interventions);
        for method in &questions.methods {
            let ranking = rank(*method, &input);
            let first = ranking.suspects.first();
            calm.push(CalmResult {
                set,
                case: case.id.clone(),
                system: case.system.clone(),
                method: *method,
                confidence: first.map_or(0.0, |first| first.confidence),
                answered: ranking.verdict == Verdict::Enough,
            });
        }
    }
    Ok(Judged { results, calm })
}

/// The services of a ranking, each once, where it is named first, and with which score.
fn services(ranking: &Ranking) -> (Vec<Vec<String>>, Vec<f64>) {
    let mut seen: Vec<Vec<String>> = Vec::new();
    let mut scores = Vec::new();
    for suspect in &ranking.suspects {
        let mut group: Vec<String> = Vec::new();
        for component in &suspect.components {
            let name = match component.level {
                Level::Dependency | Level::Host => component.name.to_string(),
                _ => component.service.to_string(),
            };
            if !group.contains(&name) && !seen.iter().any(|known| known.contains(&name)) {
                group.push(name);
            }
        }
        if !group.is_empty() {
            seen.push(group);
            scores.push(suspect.score);
        }
    }
    (seen, scores)
}

/// A share with the 95 % interval of its bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The share of cases.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How one method did on a class of cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The class.
    pub class: String,
    /// The method.
    pub method: Method,
    /// The idea of the default that was left out, if any.
    pub without: Option<Choice>,
    /// How many cases.
    pub cases: usize,
    /// The true culprit first.
    pub ac1: Estimate,
    /// Among the first three.
    pub ac3: Estimate,
    /// Among the first five.
    pub ac5: Estimate,
    /// The mean of AC@1 to AC@5.
    pub avg5: Estimate,
    /// How many were answered: the method says that its evidence suffices.
    pub answered: usize,
    /// How many of these were right.
    pub answered_right: usize,
    /// Mean CPU seconds a case, reading and ranking.
    pub cpu_seconds: f64,
}

impl Summary {
    /// The method's name, and what of it was left out.
    pub fn label(&self) -> String {
        label(self.method, self.without)
    }
}

/// Summarizes results per class and method, in order of names. `class` says which class a result
/// belongs to.
pub fn summarize(results: &[CaseResult], class: impl Fn(&CaseResult) -> String) -> Vec<Summary> {
    let mut groups: BTreeMap<(String, Method, Option<Choice>), Vec<&CaseResult>> = BTreeMap::new();
    for result in results {
        let key = (class(result), result.method, result.without);
        groups.entry(key).or_default().push(result);
    }
    groups
        .into_iter()
        .map(|((class, method, without), of)| {
            let hits = |k: usize| bootstrap(&of, |r| f64::from(u8::from(r.hit(k))));
            let average = |r: &CaseResult| (1..=5).filter(|k| r.hit(*k)).count() as f64 / 5.0;
            let seconds = of.iter().map(|r| r.read_seconds + r.rank_seconds);
            let answered = of.iter().filter(|r| r.answered);
            Summary {
                class,
                method,
                without,
                cases: of.len(),
                ac1: hits(1),
                ac3: hits(3),
                ac5: hits(5),
                avg5: bootstrap(&of, average),
                answered: answered.clone().count(),
                answered_right: answered.filter(|r| r.hit(1)).count(),
                cpu_seconds: seconds.sum::<f64>() / of.len() as f64,
            }
        })
        .collect()
}

/// Of the first suspects that were given a confidence in `[from, to)`, how many were right?
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The method.
    pub method: Method,
    /// The lowest confidence of the bin.
    pub from: f64,
    /// The next bin's.
    pub to: f64,
    /// How many first suspects are in it.
    pub cases: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that was right.
    pub right: f64,
}

/// The bins of [`Calibration`]: unlikely, undecided, likely, sure.
const BINS: [(f64, f64); 4] = [(0.0, 0.5), (0.5, 0.75), (0.75, 0.9), (0.9, 1.01)];

/// How much the confidences are worth, per method; bins without cases are left out.
pub fn calibrate(results: &[CaseResult]) -> Vec<Calibration> {
    let mut methods: Vec<Method> = results.iter().map(|result| result.method).collect();
    methods.sort();
    methods.dedup();
    let mut bins = Vec::new();
    for method in methods {
        for (from, to) in BINS {
            let inside: Vec<&CaseResult> = results
                .iter()
                .filter(|r| r.method == method && r.without.is_none())
                .filter(|r| !r.suspects.is_empty())
                .filter(|r| r.confidence >= from && r.confidence < to)
                .collect();
            if inside.is_empty() {
                continue;
            }
            let n = inside.len() as f64;
            bins.push(Calibration {
                method,
                from,
                to: to.min(1.0),
                cases: inside.len(),
                confidence: inside.iter().map(|r| r.confidence).sum::<f64>() / n,
                right: inside.iter().filter(|r| r.hit(1)).count() as f64 / n,
            });
        }
    }
    bins
}

/// The mean with its percentile-bootstrap interval (Efron 1979), seeded, so that a report is the same
/// twice. Cases are drawn, not results: a result of two cases at once counts as often as both were drawn (the product, as
/// the pigeonhole bootstrap has it; Owen 2007), since it shares each of them with other results.
fn bootstrap(results: &[&CaseResult], value: impl Fn(&CaseResult) -> f64) -> Estimate {
    let mut cases: Vec<&String> = results.iter().flat_map(|of| &of.parts).collect();
    cases.sort_unstable();
    cases.dedup();
    let place = |case: &String| cases.binary_search(&case).unwrap_or_default();
    let values: Vec<(f64, Vec<usize>)> = results
        .iter()
        .map(|of| (value(of), of.parts.iter().map(place).collect()))
        .collect();
    let mean = |drawn: &[u32]| {
        let (sum, n) = values.iter().fold((0.0, 0.0), |(sum, n), (value, parts)| {
            let often: f64 = parts.iter().map(|part| f64::from(drawn[*part])).product();
            (sum + often * value, n + often)
        });
        (n > 0.0).then(|| sum / n)
    };
    let value = mean(&vec![1; cases.len()]).unwrap_or_default();
    let mut generator = StdRng::seed_from_u64(cases.len() as u64);
    let mut draw = |_| {
        let mut drawn = vec![0; cases.len()];
        for _ in 0..cases.len() {
            drawn[generator.random_range(0..cases.len())] += 1;
        }
        mean(&drawn)
    };
    // A draw that holds no pair whole says nothing.
    let mut means: Vec<f64> = (0..RESAMPLES).filter_map(&mut draw).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (means.len() as f64 * share) as usize;
        let last = means.len().saturating_sub(1);
        means.get(place.min(last)).copied().unwrap_or(value)
    };
    Estimate {
        value,
        low: at(0.025),
        high: at(0.975),
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn result(roots: &[&str], suspects: &[&[&str]], confidence: f64) -> CaseResult {
        let suspects: Vec<Vec<String>> = suspects
            .iter()
            .map(|group| group.iter().map(ToString::to_string).collect())
            .collect();
        let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
        CaseResult {
            set: Set::Nezha,
            case: "case".to_owned(),
            parts: vec!["case".to_owned()],
            system: "shop".to_owned(),
            fault_type: "delay".to_owned(),
            ranks: roots.iter().map(|root| rank_of(root, &suspects)).collect(),
            roots,
            method: Method::Default,
            without: None,
            scores: vec![0.0; suspects.len()],
            suspects,
            confidence,
            answered: confidence > 0.5,
            read_seconds: 0.5,
            rank_seconds: 0.5,
            traces: (1, 1),
            unreadable: 0,
        }
    }

    #[test]
    fn hits_with_one_and_several_roots() {
        let one = result(&["b"], &[&["a"], &["b"]], 0.9);
        assert_eq!([one.hit(1), one.hit(2)], [false, true]);
        let two = result(&["b", "c"], &[&["b"], &["x"], &["c"]], 0.9);
        assert_eq!([two.hit(1), two.hit(2), two.hit(3)], [true, false, true]);
        let lumped = result(&["b"], &[&["a", "b"]], 0.9);
        assert_eq!([lumped.hit(1), lumped.hit(2)], [false, true]);
        assert!(!result(&[], &[&["a"]], 0.9).hit(1));
    }

    #[test]
    fn summaries_count_and_calibrate() {
        let mut results = [
            result(&["a"], &[&["a"]], 0.95),
            result(&["a"], &[&["b"], &["a"]], 0.92),
            result(&["a"], &[], 0.0),
            result(&["a"], &[&["a"]], 0.4),
        ];
        for (name, result) in ["1", "2", "3", "4"].iter().zip(&mut results) {
            result.parts = vec![(*name).to_owned()];
        }
        let summaries = summarize(&results, CaseResult::class);
        let [all] = &summaries[..] else {
            panic!("one class: {summaries:?}")
        };
        assert_eq!((all.cases, all.answered, all.answered_right), (4, 2, 1));
        assert!((all.ac1.value - 0.5).abs() < 1e-12);
        assert!((all.ac3.value - 0.75).abs() < 1e-12);
        assert!((all.avg5.value - 0.7).abs() < 1e-12);
        assert!(all.ac1.low < 0.5 && all.ac1.high > 0.5);
        assert!((all.cpu_seconds - 1.0).abs() < 1e-12);
        let bins = calibrate(&results);
        let sure = bins.last().expect("a bin");
        assert_eq!(sure.cases, 2);
        assert!((sure.right - 0.5).abs() < 1e-12);
        assert_eq!(bins.len(), 2, "{bins:?}");
        assert_eq!(summarize(&results, CaseResult::class), summaries);
    }

    #[test]
    fn pairs_that_share_a_case_are_not_independent() {
        // Case 0 is in every pair, and decides it or doesn't.
        let with = |shared: bool| -> Vec<CaseResult> {
            let each = (0..40).map(|n| {
                let first = if shared { n / 20 } else { 100 + n };
                CaseResult {
                    parts: vec![first.to_string(), (200 + n).to_string()],
                    ..result(&["a"], if n < 20 { &[&["a"]] } else { &[&["b"]] }, 0.9)
                }
            });
            each.collect()
        };
        let width = |of: &[CaseResult]| {
            let results: Vec<&CaseResult> = of.iter().collect();
            let found = bootstrap(&results, |of| f64::from(u8::from(of.hit(1))));
            assert!((found.value - 0.5).abs() < 1e-12, "{found:?}");
            found.high - found.low
        };
        let (shared, apart) = (width(&with(true)), width(&with(false)));
        // All or nothing hangs on which of the two shared cases were drawn. Forty that share none have 0.31 by the
        // binomial; the product of draws has up to the square root of three times that.
        assert!(shared > 0.99, "{shared}");
        assert!(
            (0.31..0.31 * 3_f64.sqrt() + 0.03).contains(&apart),
            "{apart}"
        );
    }
}
