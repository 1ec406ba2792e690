//! What is the least that anybody can pay who doesn't know what is the matter?
//!
//! The clairvoyant knows it; no policy can. This one knows all that could ever be learned of a site: how
//! often each kind of fault and each component fails, how often ranking errs, and what restarts take. Its
//! posterior over what may be the matter is exact (Bayes), and so is the course that it takes from there:
//! the least expected cost over all orders of what could help, by dynamic programming over what has been
//! tried. Its distance from the clairvoyant is the price of not knowing, and a learner's distance from it
//! is the price of learning.

use rekindle_recovery::UnitName;
use rekindle_recovery::plan::Choice;

use super::play::Situation;
use super::world::{Cause, Cure, LONGEST, Mix, SHORTEST};

/// Failures until it is clear that a restart didn't help: what the judge needs, see its own words.
const FAILURES_TO_CONFIRM: f64 = 7.0;
/// What is eased keeps this part of its failures on average …
const LEFT_WHEN_EASED: f64 = 0.3;
/// … and relief from here on says that it was eased.
const IS_RELIEF: f64 = 0.3;
/// What all components share: a fault in it may show in any.
const SHARED: [&str; 2] = ["web", "entities"];

/// What can be done, and what it takes.
struct Action {
    choice: Choice,
    /// Failed requests by itself.
    cost: f64,
    /// Failed requests until it is clear that it didn't help.
    confirming: f64,
    /// Seconds in all, if it doesn't help.
    takes: f64,
}

struct Problem<'a> {
    actions: Vec<Action>,
    causes: Vec<(Cause, f64)>,
    /// By cause: the actions that end it, and those that ease it.
    masks: Vec<(usize, usize)>,
    on: &'a Situation<'a>,
    failing: f64,
    giving_up: f64,
    /// What the restart of the application comes to, which ends what was eased.
    whole: f64,
    known: Vec<Option<(f64, usize)>>,
}

/// The part of what goes by itself that is still there after so many seconds.
fn still_there(at: f64) -> f64 {
    ((LONGEST - at) / (LONGEST - SHORTEST)).clamp(0.0, 1.0)
}

impl Problem<'_> {
    fn at(&self, tried: usize) -> f64 {
        let actions = self.actions.iter().enumerate();
        let done = actions.filter(|(at, _)| tried & (1 << at) != 0);
        self.on.at + done.map(|(_, action)| action.takes).sum::<f64>()
    }

    /// How likely it is that this cause is still there after these were tried.
    fn left(&self, cause: usize, tried: usize) -> f64 {
        let (ends, eases) = self.masks[cause];
        let (Cause { cure, .. }, weight) = &self.causes[cause];
        match cure {
            Cure::Time(_) => weight * still_there(self.at(tried)),
            _ if tried & (ends | eases) != 0 => 0.0,
            _ => *weight,
        }
    }

    /// The least expected cost after these were tried, times the probability of getting there, and
    /// what comes next; the number of actions stands for a person.
    fn value(&mut self, tried: usize) -> (f64, usize) {
        if let Some(known) = self.known[tried] {
            return known;
        }
        let count = self.causes.len();
        let left: f64 = (0..count).map(|cause| self.left(cause, tried)).sum();
        let mut best = (left * self.giving_up, self.actions.len());
        if left <= 0.0 {
            best.0 = 0.0;
        }
        for at in 0..self.actions.len() {
            let with = tried | (1 << at);
            if with == tried || left <= 0.0 {
                continue;
            }
            let (mut price, mut after) = (0.0, 0.0);
            for cause in 0..count {
                let (before, then) = (self.left(cause, tried), self.left(cause, with));
                let is_time = matches!(self.causes[cause].0.cure, Cure::Time(_));
                // What goes meanwhile fails nobody from then on.
                let part = match self.actions[at].choice {
                    Choice::Wait if is_time => {
                        let rest = (LONGEST - self.at(tried)).max(0.0) / 2.0;
                        rest * self.failing
                    }
                    _ => self.actions[at].cost,
                };
                price += before * part;
                after += then;
                if self.masks[cause].1 & (1 << at) != 0 {
                    let until = self.on.policy.judge_deadline.as_secs_f64();
                    let unclear = until * self.failing * LEFT_WHEN_EASED;
                    price += before * (unclear + self.whole);
                }
            }
            if after >= left * (1.0 - 1e-12) {
                continue;
            }
            price += after * self.actions[at].confirming + self.value(with).0;
            if price < best.0 {
                best = (price, at);
            }
        }
        self.known[tried] = Some(best);
        best
    }
}

/// What it does next.
pub(super) fn choose(mix: &Mix, on: &Situation<'_>) -> Choice {
    let tree = &on.site.tree;
    let tried = |unit: &UnitName| {
        let mut trials = on.trials.iter();
        trials.any(|trial| tree.contains(&trial.unit, unit))
    };
    let application = UnitName::from("application");
    let is_eased = on.trials.iter().any(|trial| trial.relief >= IS_RELIEF);
    if is_eased && !tried(&application) {
        return Choice::Restart(application);
    }
    let policy = on.policy;
    let failing = on.evidence.failing_per_second;
    let until_judged = (policy.warm_up + policy.exporter_delay).as_secs_f64();
    let confirming = failing * until_judged + FAILURES_TO_CONFIRM;
    let cost = |unit: &UnitName| {
        let away = on.site.usual(unit) + policy.in_flight.as_secs_f64();
        away * on.site.traffic(unit).max(failing)
    };
    let mut units: Vec<UnitName> = SHARED.iter().map(|unit| UnitName::from(*unit)).collect();
    for suspect in &on.evidence.suspects {
        for unit in tree.chain(&suspect.unit) {
            if !units.contains(unit) {
                units.push(unit.clone());
            }
        }
    }
    units.retain(|unit| !tried(unit));
    let mut actions: Vec<Action> = units
        .iter()
        .map(|unit| Action {
            choice: Choice::Restart(unit.clone()),
            cost: cost(unit),
            confirming,
            takes: on.site.usual(unit) + until_judged + FAILURES_TO_CONFIRM / failing.max(0.1),
        })
        .collect();
    if !on.waited {
        let wait = policy.wait.as_secs_f64();
        actions.push(Action {
            choice: Choice::Wait,
            cost: failing * wait,
            confirming: 0.0,
            takes: wait,
        });
    }
    let mut causes = mix.posterior(on.evidence);
    // What was tried in vain wasn't it.
    causes.retain(|(cause, _)| match &cause.cure {
        Cure::Restart(unit) => !tried(unit) && !cause.eased_by.as_ref().is_some_and(&tried),
        Cure::Time(_) => !on.waited,
        Cure::Person => true,
    });
    let mask = |unit: &UnitName| {
        let places = units.iter().enumerate();
        let over = places.filter(|(_, other)| tree.contains(other, unit));
        over.fold(0, |mask, (at, _)| mask | (1usize << at))
    };
    let masks = causes
        .iter()
        .map(|(cause, _)| {
            let ends = match &cause.cure {
                Cure::Restart(unit) => mask(unit),
                Cure::Time(_) | Cure::Person => 0,
            };
            let eases = cause.eased_by.as_ref().map_or(0, &mask) & !ends;
            (ends, eases)
        })
        .collect();
    let mut problem = Problem {
        known: vec![None; 1 << actions.len()],
        giving_up: failing * policy.human_response.as_secs_f64(),
        whole: cost(&application),
        failing,
        actions,
        causes,
        masks,
        on,
    };
    let (_, next) = problem.value(0);
    let choice = problem
        .actions
        .get(next)
        .map(|action| action.choice.clone());
    choice.unwrap_or(Choice::Human)
}
