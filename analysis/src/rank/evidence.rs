//! The counts that every method starts from, and the suspect that every method ends with.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::{Name, Outcome};
use rekindle_stats::Share;

use super::cause::Cause;
use super::explain::{self, Told};
use super::families::families;
use super::input::{Case, Input, InputTouch};
use super::pairs;
use super::weighed::Weighed;
use crate::observe::State;
use crate::{Caller, Counted, Doubt, Evidence, Level, Shape, Support, Suspect, Weights};

/// Requests per subject. "Failed" are the incident's failures in the window; "ok" are good requests
/// of any type, in the window and before.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Failed requests.
    pub failed: u64,
    /// Good requests.
    pub ok: u64,
    /// Good ones among them that came in the window.
    pub ok_in_window: u64,
    /// Requests of the incident's types that ended badly before the window.
    pub failed_before: u64,
    /// Per subject: failed requests that touched it.
    pub failed_touching: Vec<u64>,
    /// Per subject: good requests that touched it, and in which nothing began in it.
    pub ok_touching: Vec<u64>,
    /// Per subject: failed requests whose failure began in it.
    pub originated: Vec<u64>,
    /// Per subject: requests of the window that ended well, though a failure began in it.
    pub masked: Vec<u64>,
    /// Per subject, of all requests in the window: touched, and origin of a failure.
    pub window: Vec<(u64, u64)>,
    /// The same before the window.
    pub baseline: Vec<(u64, u64)>,
    /// Per subject: the service that it is a part of, as a subject; itself where there is none.
    pub families: Vec<usize>,
    /// The same by what requests stand for; `None` where each stands for itself.
    weighed: Option<Weighed>,
    /// What all of them rest on.
    weights: Weights,
}

impl Tally {
    /// Counts the input.
    pub fn of(input: &Input) -> Self {
        let n = input.subjects.len();
        let mut tally = Self {
            failed_touching: vec![0; n],
            ok_touching: vec![0; n],
            originated: vec![0; n],
            masked: vec![0; n],
            window: vec![(0, 0); n],
            baseline: vec![(0, 0); n],
            families: families(input),
            weighed: Weighed::of(input),
            weights: input.weights,
            ..Self::default()
        };
        for (case, in_window) in both(input) {
            if case.outcome == Outcome::Unknown {
                continue;
            }
            let failure = in_window && case.is_failure();
            tally.failed += if failure { case.count } else { 0 };
            if case.is_ok() {
                tally.ok += case.count;
                tally.ok_in_window += if in_window { case.count } else { 0 };
            } else if !in_window && case.is_failure() {
                tally.failed_before += case.count;
            }
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
                if in_window && origin && case.outcome == Outcome::Masked {
                    tally.masked[subject] += case.count;
                }
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
        self.began_before(subject).interval.share
    }

    /// The same before the window, counted.
    pub(crate) fn began_before(&self, subject: usize) -> Counted {
        let (touched, origin) = self.baseline[subject];
        self.counted(origin, touched, |it| it.began_before(subject, touched))
    }

    /// Of the requests of the window that touched the subject, those in which a failure began in it.
    pub(crate) fn began_now(&self, subject: usize) -> Counted {
        let (touched, origin) = self.window[subject];
        self.counted(origin, touched, |it| it.began_now(subject, touched))
    }

    /// Of the failed requests, those whose failure began in it.
    pub(crate) fn of_failed(&self, subject: usize) -> Counted {
        let (hits, total) = (self.originated[subject], self.failed);
        self.counted(hits, total, |it| it.originated(subject, total))
    }

    /// Of the failed requests, those that touched it.
    fn failed_share(&self, subject: usize) -> Counted {
        let (hits, total) = (self.failed_touching[subject], self.failed);
        self.counted(hits, total, |it| it.failed_touching(subject, total))
    }

    /// Of the good ones, those that touched it.
    fn ok_share(&self, subject: usize) -> Counted {
        let (hits, total) = (self.ok_touching[subject], self.ok);
        self.counted(hits, total, |it| it.ok_touching(subject, total))
    }

    /// As [`Self::failed_share`] and [`Self::ok_share`]: as if so many had been seen as count.
    pub(crate) fn compared(&self, subject: usize) -> [Share; 2] {
        let of = |hits: u64, total: u64| Share::of(hits, total - hits);
        match &self.weighed {
            None => [
                of(self.failed_touching[subject], self.failed),
                of(self.ok_touching[subject], self.ok),
            ],
            Some(weighed) => [
                weighed.failed_touching(subject, self.failed).1,
                weighed.ok_touching(subject, self.ok).1,
            ],
        }
    }

    /// Of the requests that touched the subject, those in which a failure began in it, in the window and before: as if so
    /// many had been seen as count.
    pub(crate) fn began(&self, subject: usize) -> [Share; 2] {
        let of = |(touched, origin): (u64, u64)| Share::of(origin, touched - origin);
        let (window, baseline) = (self.window[subject], self.baseline[subject]);
        match &self.weighed {
            None => [of(window), of(baseline)],
            Some(weighed) => [
                weighed.began_now(subject, window.0).1,
                weighed.began_before(subject, baseline.0).1,
            ],
        }
    }

    /// How much one request of this case weighs: of the window, or of the time before.
    pub(crate) fn weight(&self, case: &Case, in_window: bool) -> f64 {
        let weighed = self.weighed.as_ref();
        weighed.map_or(1.0, |weighed| weighed.weight(case, usize::from(!in_window)))
    }

    /// How many failed requests one of this case counts for, of as many as were seen.
    pub(crate) fn weight_of(&self, case: &Case) -> f64 {
        let weighed = self.weighed.as_ref();
        weighed.map_or(1.0, |weighed| weighed.weight_of(case))
    }

    fn counted(
        &self,
        hits: u64,
        total: u64,
        weighed: impl Fn(&Weighed) -> (f64, Share),
    ) -> Counted {
        let mut counted = match &self.weighed {
            None => Counted::of(hits, total),
            Some(known) => {
                let (share, as_seen) = weighed(known);
                Counted::weighed(hits, total, share, as_seen)
            }
        };
        if self.weights == Weights::Hidden {
            // It may be any.
            (counted.interval.low, counted.interval.high) = (0.0, 1.0);
        }
        counted
    }
}

fn both(input: &Input) -> impl Iterator<Item = (&Case, bool)> {
    let window = input.window.iter().map(|case| (case, true));
    window.chain(input.baseline.iter().map(|case| (case, false)))
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
    /// What else is known about it.
    pub(crate) notes: Notes,
}

/// What a method knows about a suspect beyond counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// What works differently than before, the most first.
    pub(crate) causes: Vec<Cause>,
    pub(crate) support: Vec<Support>,
    pub(crate) doubts: Vec<Doubt>,
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
    let leads = charges.iter().map(|charge| charge.subjects[0]);
    let details = Details::of_each(input, leads);
    let dressed = charges.iter().enumerate();
    dressed
        .map(|(at, charge)| {
            let details = &details[&charge.subjects[0]];
            dress_one(input, tally, (charge, details), &charges[at + 1..])
        })
        .collect()
}

/// `others` are those that this one was preferred to.
fn dress_one(
    input: &Input,
    tally: &Tally,
    (charge, details): (&Charge, &Details),
    others: &[Charge],
) -> Suspect {
    let lead = charge.subjects[0];
    let subject = &input.subjects[lead];
    let shape = charge.shape.unwrap_or_else(|| details.shape());
    let (failed, ok) = (tally.failed_share(lead), tally.ok_share(lead));
    let evidence = Evidence {
        failed_touching: failed.hits,
        failed_total: failed.total,
        ok_touching: ok.hits,
        ok_total: ok.total,
        originated: tally.originated[lead],
        failed_share: failed.interval,
        ok_share: ok.interval,
        baseline_origin_share: tally.baseline_origin_share(lead),
    };
    let mut callers = details.callers.clone();
    for (row, reporter) in &input.reports {
        let about = input.rows[*row]
            .state_of(lead)
            .is_some_and(|state| state.is_origin() || shape == Shape::WrongAnswer);
        if about {
            callers.insert(Caller::Reporter(reporter.clone()));
        }
    }
    let chosen = pairs::chosen(input, lead, shape);
    let components: Vec<_> = charge
        .subjects
        .iter()
        .map(|index| input.subjects[*index].component.clone())
        .collect();
    let told = Told {
        charge,
        details,
        callers: callers.len(),
        others,
    };
    let explanation = explain::explanation(input, tally, &told, chosen.pairs);
    let mut suspect = Suspect {
        components,
        attributes: subject.attributes.clone(),
        score: charge.score,
        confidence: charge.confidence,
        shape,
        error_type: explanation
            .origin
            .errors
            .first()
            .map(|(error, _)| error.clone()),
        evidence,
        callers: callers.into_iter().collect(),
        examples: chosen.examples,
        explanation,
        sentence: String::new(),
    };
    suspect.sentence = explain::sentence(&suspect);
    suspect
}

/// What the failed requests say about one subject beyond counts.
#[derive(Default)]
pub(crate) struct Details {
    states: BTreeMap<State, Weight>,
    pub(crate) errors: BTreeMap<Name, Weight>,
    callers: BTreeSet<Caller>,
    /// Operations of the same service in which the failures began.
    pub(crate) operations: BTreeMap<Name, Weight>,
}

/// Requests that users saw fail, and those that were masked: they tell the same story, but must not
/// drown it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Weight {
    pub(crate) failed: u64,
    pub(crate) masked: u64,
}

impl Weight {
    fn add(&mut self, case: &Case) {
        if case.is_failure() {
            self.failed += case.count;
        } else {
            self.masked += case.count;
        }
    }
}

impl Details {
    /// Those of each of these subjects. Rows are many and lie apart, so all subjects are looked for in one after the
    /// other.
    fn of_each(input: &Input, subjects: impl Iterator<Item = usize>) -> BTreeMap<usize, Self> {
        let mut of_each: BTreeMap<usize, Self> = subjects.map(|it| (it, Self::default())).collect();
        let mut is_asked = vec![false; input.subjects.len()];
        of_each.keys().for_each(|it| is_asked[*it] = true);
        let cases = input.window.iter();
        for case in cases.filter(|case| case.outcome != Outcome::Unknown) {
            let touches = input.rows[case.row].touches.iter();
            for touch in touches.filter(|touch| is_asked[touch.subject]) {
                if let Some(details) = of_each.get_mut(&touch.subject) {
                    details.add(input, case, touch);
                }
            }
        }
        of_each
    }

    /// Takes what these requests say about a subject that they touched.
    fn add(&mut self, input: &Input, case: &Case, touched: &InputTouch) {
        let InputTouch { subject, state, .. } = *touched;
        let row = &input.rows[case.row];
        let component = &input.subjects[subject].component;
        let service = &component.service;
        for (about, caller) in &row.complaints {
            // Who called the service from outside and failed confirms what began in a part.
            let whole = &input.subjects[*about].component;
            let of_part = state.is_origin()
                && component.level == Level::CodeComponent
                && whole.level == Level::Service
                && whole.service == *service;
            if *about == subject || of_part {
                self.callers.insert(Caller::Component(caller.clone()));
            }
        }
        if !state.is_origin() {
            return;
        }
        self.states.entry(state).or_default().add(case);
        for (about, error) in &row.errors {
            if *about == subject {
                self.errors.entry(error.clone()).or_default().add(case);
            }
        }
        for touch in &row.touches {
            let other = &input.subjects[touch.subject].component;
            if touch.state.is_origin()
                && other.level == Level::Operation
                && other.service == *service
            {
                let weight = self.operations.entry(other.name.clone());
                weight.or_default().add(case);
            }
        }
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
