//! The counts that every method starts from, and the suspect that every method ends with.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::{Name, Outcome, TraceId};
use rekindle_stats::{Probability, Share};

use super::explain;
use super::input::{Case, Input};
use crate::observe::State;
use crate::{Evidence, Examples, Level, Shape, ShareInterval, Suspect};

/// How many examples of each kind a suspect shows.
const EXAMPLES: usize = 3;

/// Requests per subject. "Failed" are the incident's failures in the window; "ok" are good requests
/// of any type, in the window and before.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Failed requests.
    pub failed: u64,
    /// Good requests.
    pub ok: u64,
    /// Per subject: failed requests that touched it.
    pub failed_touching: Vec<u64>,
    /// Per subject: good requests that touched it, and in which nothing began in it.
    pub ok_touching: Vec<u64>,
    /// Per subject: failed requests whose failure began in it.
    pub originated: Vec<u64>,
    /// Per subject, of all requests in the window: touched, and origin of a failure.
    pub window: Vec<(u64, u64)>,
    /// The same before the window.
    pub baseline: Vec<(u64, u64)>,
}

impl Tally {
    /// Counts the input.
    pub fn of(input: &Input) -> Self {
        let n = input.subjects.len();
        let mut tally = Self {
            failed_touching: vec![0; n],
            ok_touching: vec![0; n],
            originated: vec![0; n],
            window: vec![(0, 0); n],
            baseline: vec![(0, 0); n],
            ..Self::default()
        };
        for (case, in_window) in both(input) {
            if case.outcome == Outcome::Unknown {
                continue;
            }
            let failure = in_window && case.is_failure();
            tally.failed += if failure { case.count } else { 0 };
            tally.ok += if case.is_ok() { case.count } else { 0 };
            for touch in &input.rows[case.row].touches {
                let subject = touch.subject;
                let origin = touch.state.is_origin();
                let side = if in_window {
                    &mut tally.window[subject]
                } else {
                    &mut tally.baseline[subject]
                };
                side.0 += case.count;
                side.1 += if origin { case.count } else { 0 };
                if failure {
                    tally.failed_touching[subject] += case.count;
                    tally.originated[subject] += if origin { case.count } else { 0 };
                } else if case.is_ok() && !origin {
                    tally.ok_touching[subject] += case.count;
                }
            }
        }
        tally
    }

    /// Of the requests that touched the subject before the window, the share whose failure began in
    /// it.
    pub fn baseline_origin_share(&self, subject: usize) -> f64 {
        let (touched, origin) = self.baseline[subject];
        Share::of(origin, touched - origin).value().unwrap_or(0.0)
    }
}

fn both(input: &Input) -> impl Iterator<Item = (&Case, bool)> {
    let window = input.window.iter().map(|case| (case, true));
    window.chain(input.baseline.iter().map(|case| (case, false)))
}

/// The share with its interval, as it is shown.
pub(crate) fn interval(hits: u64, total: u64) -> ShareInterval {
    let share = Share::of(hits, total.saturating_sub(hits));
    let interval = share.wilson(Probability::P95);
    ShareInterval {
        share: share.value().unwrap_or(0.0),
        low: interval.low,
        high: interval.high,
    }
}

/// A suspect before it is dressed for people.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    /// Subjects of one level that no request can tell apart; the first one stands for all.
    pub(crate) subjects: Vec<usize>,
    pub(crate) score: f64,
    pub(crate) confidence: f64,
    /// Overrules the shape that the counts suggest.
    pub(crate) shape: Option<Shape>,
    /// What to add to the sentence.
    pub(crate) remark: Option<String>,
}

/// Puts the evidence beside each charge, most suspicious first.
pub(crate) fn dress(input: &Input, tally: &Tally, mut charges: Vec<Charge>) -> Vec<Suspect> {
    charges.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| a.subjects.cmp(&b.subjects))
    });
    charges.truncate(input.max_suspects);
    charges
        .into_iter()
        .map(|charge| dress_one(input, tally, charge))
        .collect()
}

fn dress_one(input: &Input, tally: &Tally, charge: Charge) -> Suspect {
    let lead = charge.subjects[0];
    let subject = &input.subjects[lead];
    let details = Details::of(input, lead);
    let shape = charge.shape.unwrap_or_else(|| details.shape());
    let evidence = Evidence {
        failed_touching: tally.failed_touching[lead],
        failed_total: tally.failed,
        ok_touching: tally.ok_touching[lead],
        ok_total: tally.ok,
        originated: tally.originated[lead],
        failed_share: interval(tally.failed_touching[lead], tally.failed),
        ok_share: interval(tally.ok_touching[lead], tally.ok),
        baseline_origin_share: tally.baseline_origin_share(lead),
    };
    let mut callers = details.callers;
    for (row, reporter) in &input.reports {
        let about = input.rows[*row]
            .state_of(lead)
            .is_some_and(|state| state.is_origin() || shape == Shape::WrongAnswer);
        if about {
            callers.insert(reporter.clone());
        }
    }
    let mut suspect = Suspect {
        components: charge
            .subjects
            .iter()
            .map(|index| input.subjects[*index].component.clone())
            .collect(),
        attributes: subject.attributes.clone(),
        score: charge.score,
        confidence: charge.confidence,
        shape,
        error_type: most_frequent(details.errors),
        evidence,
        callers: callers.into_iter().collect(),
        examples: examples(input, lead, shape),
        sentence: String::new(),
    };
    suspect.sentence =
        explain::sentence(&suspect, most_frequent(details.operations), charge.remark);
    suspect
}

/// What the failed requests say about one subject beyond counts.
#[derive(Default)]
struct Details {
    states: BTreeMap<State, u64>,
    errors: BTreeMap<Name, u64>,
    callers: BTreeSet<Name>,
    /// Operations of the same service in which the failures began.
    operations: BTreeMap<Name, u64>,
}

impl Details {
    fn of(input: &Input, subject: usize) -> Self {
        let mut details = Self::default();
        let component = &input.subjects[subject].component;
        let service = &component.service;
        for case in input
            .window
            .iter()
            .filter(|case| case.outcome != Outcome::Unknown)
        {
            let row = &input.rows[case.row];
            let Some(state) = row.state_of(subject) else {
                continue;
            };
            for (about, caller) in &row.complaints {
                // Who called the service from outside and failed confirms what began in a part.
                let whole = &input.subjects[*about].component;
                let of_part = state.is_origin()
                    && component.level == Level::CodeComponent
                    && whole.level == Level::Service
                    && whole.service == *service;
                if *about == subject || of_part {
                    details.callers.insert(caller.clone());
                }
            }
            if !state.is_origin() {
                continue;
            }
            // Failures that users didn't see tell the same story, but must not drown it.
            let weight = if case.is_failure() {
                case.count * 1_000
            } else {
                case.count
            };
            *details.states.entry(state).or_default() += weight;
            for (about, error) in &row.errors {
                if *about == subject {
                    *details.errors.entry(error.clone()).or_default() += weight;
                }
            }
            for touch in &row.touches {
                let other = &input.subjects[touch.subject].component;
                if touch.state.is_origin()
                    && other.level == Level::Operation
                    && other.service == *service
                {
                    *details.operations.entry(other.name.clone()).or_default() += weight;
                }
            }
        }
        details
    }

    fn shape(&self) -> Shape {
        let most = self
            .states
            .iter()
            .max_by_key(|(state, n)| (**n, **state))
            .map(|(state, _)| *state);
        match most {
            Some(State::Unanswered) => Shape::Unanswered,
            Some(State::Slow) => Shape::Slow,
            Some(_) => Shape::Raised,
            None => Shape::WrongAnswer,
        }
    }
}

fn most_frequent(counts: BTreeMap<Name, u64>) -> Option<Name> {
    counts
        .into_iter()
        .max_by(|(a, n), (b, m)| n.cmp(m).then_with(|| b.cmp(a)))
        .map(|(name, _)| name)
}

/// The traces with the smallest hashes: the same ones wherever and whenever they are chosen.
fn examples(input: &Input, subject: usize, shape: Shape) -> Examples {
    let mut failed = Vec::new();
    let mut ok = Vec::new();
    for shown in &input.shown {
        let Some(state) = input.rows[shown.row].state_of(subject) else {
            continue;
        };
        let origin = state.is_origin();
        if shown.bad && (origin || shape == Shape::WrongAnswer) {
            failed.push(shown.trace_id);
        } else if !shown.bad && !origin {
            ok.push(shown.trace_id);
        }
    }
    for traces in [&mut failed, &mut ok] {
        traces.sort_by_key(|id| (mixed(*id), *id));
        traces.truncate(EXAMPLES);
    }
    Examples { failed, ok }
}

/// Trace ids are random by specification, but not everyone keeps to it; mixed, a counter is too.
fn mixed(id: TraceId) -> u64 {
    let id = id.get();
    let mut z = (id as u64) ^ ((id >> 64) as u64).rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
