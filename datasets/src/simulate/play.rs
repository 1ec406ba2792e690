//! One recovery, from the alarm to the end, under one policy: what it costs users.
//!
//! The parts that decide are recovery's own: the planner, the beliefs, the judge with its error
//! rates, and the life of a recovery with its one transition function. Only the world is made up.
//! All policies are judged by the same judge and meet the same faults with the same luck.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rekindle_recovery::belief::{Beliefs, Time, Trial};
use rekindle_recovery::cost::Costs;
use rekindle_recovery::guard::is_certain;
use rekindle_recovery::judge::{Judgement, Question, Verdict, judge};
use rekindle_recovery::lifecycle::{Event, IllegalTransition, State, next};
use rekindle_recovery::plan::{Choice, Constraints, plan};
use rekindle_recovery::{Evidence, Fared, Policy, RestartTree, UnitName};

use super::course::{Course, Ill};
use super::informed;
use super::random::{binomial, poisson, stream};
use super::world::{BASELINE, Cure, Fault, Mix, Site};

/// From the first failure to the alarm, in seconds: the demo's detector needs a few failures, and
/// exporters a moment.
pub(super) const DETECTION: f64 = 2.0;
/// A policy that does more than this in one recovery is going in circles.
const MAX_STEPS: usize = 40;

/// Who decides.
#[derive(Clone, Debug)]
pub(super) enum Decider {
    /// Always the whole tree.
    Root,
    /// Always the server's process, then the whole tree: what a supervisor does.
    Process,
    /// The likeliest suspect, then what contains it, and so on up.
    Ladder,
    /// What has the most chance per cost first, as if restarts were independent of each other.
    ChancePerCost(Mind),
    /// Rekindle's planner.
    Ours {
        /// What it knows.
        mind: Mind,
        /// Whether it learns.
        learns: bool,
        /// Whether a person is asked where the evidence is too thin for doing it unattended, as the daemon does.
        asks: bool,
    },
    /// Knows how often what fails and how ranking errs, but not what is the matter: the least that who
    /// has the same evidence can be expected to pay.
    Informed(Mix),
    /// Knows what cures.
    Clairvoyant,
}

/// What was learned.
#[derive(Clone, Debug)]
pub(super) struct Mind {
    pub(super) beliefs: Beliefs,
    pub(super) costs: Costs,
}

impl Mind {
    pub(super) fn empty(policy: &Policy) -> Self {
        Self {
            beliefs: Beliefs::new(policy.half_life),
            costs: Costs::new(policy.half_life),
        }
    }
}

/// What a recovery cost and did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bill {
    /// Users' requests that failed from the first failure to the end.
    pub(super) failed: f64,
    /// How many restarts were done.
    pub(super) restarts: u32,
    /// How often a person was asked to approve a restart.
    pub(super) asked: u32,
    /// Whether it ended with a person.
    pub(super) by_person: bool,
    /// Whether a restart or time could end the fault.
    pub(super) is_curable: bool,
    /// Whether that was because a verdict was `unknown`, instead of by choice.
    pub(super) by_unknown: bool,
    /// How often `cured` was said and wasn't.
    pub(super) wrongly_cured: u32,
    /// The fault's kind.
    pub(super) kind: &'static str,
}

/// What the world is like while a recovery goes on.
struct Seen<'a> {
    on: Ill<'a>,
    course: Course,
    before: Fared,
    now: SystemTime,
}

impl Seen<'_> {
    fn is_gone(&self) -> bool {
        self.course.left <= 0.0
    }

    fn failing_per_second(&self) -> f64 {
        self.on.rate() * self.course.share(self.on)
    }

    fn pass(&mut self, seconds: f64) {
        self.course.pass(self.on, seconds);
    }

    /// A while that counts as "before" for the judge.
    fn observe(&mut self, seconds: f64) {
        let requests = seconds * self.on.rate();
        let bad = (requests * self.course.share(self.on)).round();
        self.before.bad += bad as u64;
        self.before.ok += (requests - bad).round().max(0.0) as u64;
    }

    fn restart(&mut self, unit: &UnitName, random: &mut StdRng) -> f64 {
        let downtime = self.on.site.downtime(unit, random);
        self.course.restarted(self.on, unit, downtime);
        downtime
    }

    /// Waits for the judge's verdict.
    fn judge(&mut self, random: &mut StdRng) -> (Verdict, Option<f64>) {
        let warm_up = self.on.policy.warm_up + self.on.policy.exporter_delay;
        self.pass(warm_up.as_secs_f64());
        let step = self.on.policy.judge_interval.as_secs_f64();
        let steps = (self.on.policy.judge_deadline.as_secs_f64() / step).ceil() as u64;
        let mut after = Fared::seen(0, 0, self.now);
        for round in 1..=steps {
            let share = self.course.share(self.on).max(BASELINE);
            let requests = poisson(random, self.on.rate() * step);
            let bad = binomial(random, requests, share);
            after.bad += bad;
            after.ok += requests - bad;
            self.pass(step);
            let question = Question {
                before: self.before,
                after,
                baseline: BASELINE,
                strictness: self.on.policy.strictness,
                siblings: None,
                probed: None,
                probes_in_a_row: self.on.policy.probes_in_a_row,
                by_probe: false,
                has_fault: true,
                deadline: round == steps,
            };
            if let Judgement::Decided {
                verdict, relief, ..
            } = judge(&question)
            {
                return (verdict, relief.map(|relief| relief.share));
            }
        }
        (Verdict::Unknown, None)
    }
}

/// What a policy looks at.
pub(super) struct Situation<'a> {
    pub(super) site: &'a Site,
    pub(super) evidence: &'a Evidence,
    pub(super) trials: &'a [Trial],
    pub(super) waited: bool,
    pub(super) fault: &'a Fault,
    pub(super) policy: &'a Policy,
    pub(super) now: SystemTime,
    /// Seconds since the first failure.
    pub(super) at: f64,
}

impl Decider {
    fn choose(&self, on: &Situation<'_>) -> Choice {
        let tried = |unit: &UnitName| on.trials.iter().any(|trial| trial.unit == *unit);
        let first_of = |units: &[&UnitName]| {
            let untried = units.iter().find(|unit| !tried(unit));
            untried.map_or(Choice::Human, |unit| Choice::Restart((*unit).clone()))
        };
        match self {
            Self::Root => first_of(on.site.tree.root().as_slice()),
            Self::Process => first_of(&[&"server".into(), &"node".into()]),
            Self::Ladder => {
                let suspect = on.evidence.suspects.first();
                let chain = suspect.map_or(Vec::new(), |suspect| on.site.tree.chain(&suspect.unit));
                first_of(&chain)
            }
            Self::ChancePerCost(mind) => chance_per_cost(mind, on, &tried),
            Self::Ours { mind, .. } => {
                let constraints = Constraints {
                    policy: on.policy,
                    costs: &mind.costs,
                    trials: on.trials,
                    waited: on.waited,
                    excluded: &BTreeSet::new(),
                };
                plan(
                    on.evidence,
                    &on.site.tree,
                    &mind.beliefs,
                    &constraints,
                    on.now,
                )
                .choice
            }
            Self::Informed(mix) => informed::choose(mix, on),
            Self::Clairvoyant => match &on.fault.cure {
                Cure::Person => Choice::Human,
                Cure::Time(_) => Choice::Wait,
                Cure::Restart(unit) => Choice::Restart(unit.clone()),
            },
        }
    }

    /// Whether it asks a person before it restarts this.
    fn asks(&self, unit: &UnitName, on: &Situation<'_>) -> bool {
        let does = matches!(self, Self::Ours { asks: true, .. });
        does && !is_certain(on.evidence, unit, &on.site.tree, on.policy)
    }

    fn learn(
        &mut self,
        evidence: &Evidence,
        tree: &RestartTree,
        trials: &[Trial],
        time: Time,
        now: SystemTime,
    ) {
        if let Self::Ours {
            mind, learns: true, ..
        } = self
        {
            mind.beliefs.learn(evidence, tree, trials, time, now);
        }
    }

    fn measure(&mut self, tree: &RestartTree, unit: &UnitName, downtime: f64, now: SystemTime) {
        if let Self::Ours {
            mind, learns: true, ..
        } = self
            && let Ok(downtime) = Duration::try_from_secs_f64(downtime)
        {
            mind.costs.learn(tree, unit, downtime, now);
        }
    }
}

/// The textbook's order for independent actions (Kadane and Simon 1977): most chance per cost first,
/// each chance as it was before anything was tried.
fn chance_per_cost(mind: &Mind, on: &Situation<'_>, tried: &dyn Fn(&UnitName) -> bool) -> Choice {
    let chains = mind.beliefs.chains(on.evidence, &on.site.tree, &[], on.now);
    let mut best: Option<(f64, UnitName)> = None;
    for chain in &chains {
        let beside = chain.beside.iter().map(|one| &one.unit);
        let units = chain.units.iter().copied().chain(beside);
        for unit in units.filter(|unit| !tried(unit)) {
            let chance: f64 = chains
                .iter()
                .flat_map(|other| {
                    let beside = other.beside.iter().map(|one| (&one.unit, &one.weight));
                    let levels = other.levels.iter().skip(1);
                    other.units.iter().copied().zip(levels).chain(beside)
                })
                .filter(|(smallest, _)| on.site.tree.contains(unit, smallest))
                .map(|(_, chance)| chance)
                .sum();
            let downtime = mind.costs.downtime(&on.site.tree, unit, on.now);
            let traffic = on.evidence.traffic.get(unit).copied().unwrap_or(1.0);
            let value = chance / (downtime.mean * traffic).max(1e-9);
            if best.as_ref().is_none_or(|(most, _)| value > *most) {
                best = Some((value, unit.clone()));
            }
        }
    }
    best.map_or(Choice::Human, |(_, unit)| Choice::Restart(unit))
}

/// What time did, where it didn't heal.
const fn given(waited: bool) -> Time {
    if waited { Time::InVain } else { Time::NotGiven }
}

/// Plays one recovery to its end.
///
/// # Errors
/// When the policy did something that the life of a recovery doesn't know.
pub(super) fn play(
    site: &Site,
    fault: &Fault,
    decider: &mut Decider,
    policy: &Policy,
    luck: (u64, u64),
) -> Result<Bill, IllegalTransition> {
    let now = fault.evidence.at;
    let mut seen = Seen {
        on: Ill {
            site,
            fault,
            policy,
        },
        course: Course::begin(),
        before: Fared::seen(0, 0, now),
        now,
    };
    let mut bill = Bill {
        is_curable: fault.cure != Cure::Person,
        kind: fault.kind,
        ..Bill::default()
    };
    let mut trials: Vec<Trial> = Vec::new();
    let mut waited = false;
    let mut state = State::Watching;
    seen.observe(DETECTION);
    seen.pass(DETECTION);
    for step in 0..MAX_STEPS {
        let mut evidence = fault.evidence.clone();
        evidence.failing_per_second = seen.failing_per_second();
        let situation = Situation {
            site,
            at: seen.course.at,
            evidence: &evidence,
            trials: &trials,
            waited,
            fault,
            policy,
            now,
        };
        let choice = decider.choose(&situation);
        let is_asked = match &choice {
            Choice::Restart(unit) => decider.asks(unit, &situation),
            Choice::Wait | Choice::Human => false,
        };
        // Healed before anybody could act: the incident closes.
        if seen.is_gone() && trials.is_empty() && choice == Choice::Wait {
            decider.learn(&evidence, &site.tree, &[], Time::Healed, now);
            break;
        }
        match choice {
            Choice::Wait => {
                seen.observe(policy.wait.as_secs_f64());
                let mut left = policy.wait.as_secs_f64();
                while left > 0.0 && !seen.is_gone() {
                    seen.pass(0.1f64.min(left));
                    left -= 0.1;
                }
                waited = true;
                if seen.is_gone() {
                    decider.learn(&evidence, &site.tree, &trials, Time::Healed, now);
                    next(state, Event::IncidentClosed)?;
                    break;
                }
            }
            Choice::Human => {
                seen.pass(policy.human_response.as_secs_f64());
                bill.by_person = true;
                if !trials.is_empty() {
                    decider.learn(&evidence, &site.tree, &trials, given(waited), now);
                }
                next(state, Event::GiveUp)?;
                break;
            }
            Choice::Restart(unit) => {
                if is_asked {
                    seen.pass(policy.human_response.as_secs_f64());
                    bill.asked += 1;
                    if seen.is_gone() {
                        decider.learn(&evidence, &site.tree, &trials, Time::Healed, now);
                        next(state, Event::IncidentClosed)?;
                        break;
                    }
                }
                let mut random = stream(luck.0, &[2, luck.1, step as u64]);
                for event in [Event::Lease, Event::Commit, Event::Act] {
                    state = next(state, event)?;
                }
                let ordered = seen.course.at;
                let downtime = seen.restart(&unit, &mut random);
                decider.measure(&site.tree, &unit, downtime, now);
                bill.restarts += 1;
                for event in [Event::Done, Event::Settled] {
                    state = next(state, event)?;
                }
                let (verdict, relief) = seen.judge(&mut random);
                state = next(state, Event::Judged(verdict))?;
                let relief = match verdict {
                    Verdict::Cured => relief.unwrap_or(1.0),
                    Verdict::Helped => relief.unwrap_or(0.5),
                    Verdict::NotCured => relief.unwrap_or(0.0),
                    // Not repeated unattended: a person decides, as the service has it.
                    Verdict::Unknown => {
                        seen.pass(policy.human_response.as_secs_f64());
                        bill.by_person = true;
                        bill.by_unknown = true;
                        next(state, Event::GiveUp)?;
                        break;
                    }
                };
                trials.push(Trial {
                    unit: unit.clone(),
                    relief,
                    lasted: Duration::try_from_secs_f64(seen.course.at - ordered)
                        .unwrap_or_default(),
                });
                if verdict == Verdict::Cured {
                    decider.learn(&evidence, &site.tree, &trials, given(waited), now);
                    if seen.is_gone() {
                        break;
                    }
                    // It wasn't: found again, and begun anew.
                    bill.wrongly_cured += 1;
                    trials.clear();
                    waited = false;
                    state = State::Watching;
                    seen.observe(DETECTION);
                    seen.pass(DETECTION);
                } else {
                    state = next(state, Event::Climb)?;
                }
            }
        }
    }
    bill.failed = seen.course.failed;
    Ok(bill)
}
