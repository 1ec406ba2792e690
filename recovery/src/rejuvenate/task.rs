//! The task that looks at gauges, asks recovery for restarts, and tells how the rolls go.
//!
//! Everything that it decides is in [`super::roll`]; everything that it wishes is asked of recovery,
//! whose guards may refuse. It keeps nothing that correctness needs: a halt is found again in the
//! ledger's last word on the unit, and a roll that an engine's end broke off begins again with the alarm.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::gauge::Gauges;
use super::memory::{self, Memory};
use super::order::{Gifts, learn, order};
use super::roll::{Event, State, Wish, is_ahead, next};
use super::rule::{Gauge, Level, Rule, Trigger};
use crate::guard::{Guard, Refusal};
use crate::judge::Verdict;
use crate::ledger::Outcome;
use crate::ports::{Clock, Notice, NoticeKind, Notifier};
use crate::service::{
    ActionView, Command, CommandError, PREVENTION, Recovery, RecoveryId, RecoveryStatus, Reply,
};
use crate::{LiveTree, RestartTree, UnitName};

/// How often a restart that is under way is looked at.
const FOLLOW: Duration = Duration::from_millis(100);
/// How often it is looked whether a unit is there again that didn't come back: a person brings it back.
const HALTED: Duration = Duration::from_secs(1);
/// How often, and how long apart, it is asked again for a restart of what is kept alive by somebody who is being asked: as
/// long as a platform may take to answer.
const ASKED_AGAIN: u32 = 20;
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The longest pause between two looks at everything; a clock that was set back must not stop it.
const LONGEST_NAP: Duration = Duration::from_secs(10);

/// What the task is made of.
pub struct RejuvenationConfig {
    /// The rules; each was [checked](Rule::check).
    pub rules: Vec<Rule>,
    /// The units.
    pub tree: LiveTree,
    /// Who restarts.
    pub recovery: Recovery,
    /// Who reads.
    pub gauges: Arc<dyn Gauges>,
    /// Who reaches a person.
    pub notifier: Arc<dyn Notifier>,
    /// The wall's time.
    pub clock: Clock,
    /// The file for what is learned.
    pub memory: PathBuf,
}

/// Where a rule is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// Nothing is due.
    Resting,
    /// A roll is under way, and nothing is restarted at this moment.
    Rolling,
    /// A unit is being restarted, or its restart waits for a person.
    Restarting,
    /// A unit came back, and what that gave back is waited for.
    Settling,
    /// A unit didn't come back: nothing more is restarted for this rule until it has.
    Halted,
}

/// A rule at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: RuleState,
    /// The unit that is meant, where one is.
    pub unit: Option<UnitName>,
    /// What is going on, in a sentence for people.
    pub words: String,
    /// What the gauge last said, with its unit; `None` where there is none, or it can't be read.
    pub reading: Option<String>,
    /// The alarm level, with its unit; `None` for ages and chance.
    pub alarm: Option<String>,
    /// The sufficient level.
    pub sufficient: Option<String>,
    /// The units in the order in which they would be restarted now, and what a restart of each gave
    /// back, where one was tried.
    pub order: Vec<(UnitName, Option<String>)>,
}

/// One rule, running.
struct Running {
    rule: Rule,
    state: State,
    gifts: Gifts,
    /// The recovery of the restart that is under way, and whether it was seen in the status.
    recovery: Option<(RecoveryId, bool)>,
    reading: Option<f64>,
    /// Why it can't be read, why guards refuse, or how the last roll ended.
    words: String,
    next_look: SystemTime,
    /// When chance calls next.
    drawn: Option<SystemTime>,
}

struct Task {
    config: RejuvenationConfig,
    rules: Vec<Running>,
    /// When units of which nobody knows their age were first seen.
    first_seen: BTreeMap<UnitName, SystemTime>,
    told: watch::Sender<Arc<Vec<RuleStatus>>>,
}

/// Makes the task; it runs until it is dropped.
pub fn prepare(
    config: RejuvenationConfig,
) -> (
    watch::Receiver<Arc<Vec<RuleStatus>>>,
    impl Future<Output = ()> + Send + 'static,
) {
    let Memory {
        mut learned,
        mut first_seen,
    } = memory::load(&config.memory);
    first_seen.retain(|unit, _| config.rules.iter().any(|rule| rule.units.contains(unit)));
    let now = (config.clock)();
    let rules = config.rules.iter().map(|rule| Running {
        rule: rule.clone(),
        state: State::default(),
        gifts: learned.remove(&rule.name).unwrap_or_default(),
        recovery: None,
        reading: None,
        words: String::new(),
        next_look: now,
        drawn: None,
    });
    let (told, status) = watch::channel(Arc::default());
    let task = Task {
        rules: rules.collect(),
        first_seen,
        told,
        config,
    };
    task.tell();
    (status, task.run())
}

impl Task {
    async fn run(mut self) {
        loop {
            for place in 0..self.rules.len() {
                self.step(place).await;
            }
            self.tell();
            tokio::time::sleep(self.nap()).await;
        }
    }

    fn now(&self) -> SystemTime {
        (self.config.clock)()
    }

    fn nap(&self) -> Duration {
        let now = self.now();
        let due = self.rules.iter().map(|running| match &running.state {
            State::Restarting { .. } => FOLLOW,
            State::Halted { .. } => HALTED,
            _ => running.next_look.duration_since(now).unwrap_or_default(),
        });
        let due = due.min().unwrap_or(LONGEST_NAP);
        due.clamp(FOLLOW / 4, LONGEST_NAP)
    }

    async fn step(&mut self, place: usize) {
        let now = self.now();
        let status = self.config.recovery.status().borrow().clone();
        if let Some((unit, words)) = find_halt(&status, &self.rules[place].rule) {
            self.take(place, Event::FoundDown { unit, words }).await;
        }
        let running = &mut self.rules[place];
        match &running.state {
            State::Restarting { .. } => {
                let Some((recovery, seen)) = &mut running.recovery else {
                    return;
                };
                if let Some(event) = outcome(&status, *recovery, seen) {
                    running.recovery = None;
                    running.next_look = now;
                    self.take(place, event).await;
                }
                return;
            }
            State::Halted { unit, .. } => {
                if last_action(&status, unit).is_some_and(is_back) {
                    self.take(place, Event::Mended).await;
                }
                return;
            }
            State::Settling { until, .. } if is_ahead(*until, now, running.rule.settle) => {
                running.next_look = *until;
                return;
            }
            State::Settling { .. } | State::Resting { .. } | State::Rolling(_) => {}
        }
        // A clock that was set back must not put off the next look for longer than usual.
        let wait = running.next_look.duration_since(now).unwrap_or_default();
        if !wait.is_zero() && wait <= running.rule.every {
            return;
        }
        running.next_look = now.checked_add(running.rule.every).unwrap_or(now);
        let event = self.look(place, &status).await;
        self.take(place, event).await;
    }

    async fn look(&mut self, place: usize, status: &RecoveryStatus) -> Event {
        let now = self.now();
        let seen_before = self.first_seen.len();
        let running = &mut self.rules[place];
        let rule = &running.rule;
        let (level, reading, candidates) = match &rule.trigger {
            Trigger::Gauge { gauge, levels } => {
                let tree = self.config.tree.now();
                let candidates = order(rule, &running.gifts, &tree);
                let since = last_ready(status, now, |target| {
                    let mut units = rule.units.iter();
                    units.any(|unit| tree.overlap(target, unit))
                });
                match self.config.gauges.read(gauge, since.into()).await {
                    Ok(reading) => (levels.of(reading), Some(reading), candidates),
                    Err(words) => {
                        running.words = format!("{} can't be read: {words}", gauge.words());
                        (Level::Unknown, None, candidates)
                    }
                }
            }
            Trigger::Age { at_most, jitter } => {
                let mut due: Vec<(Duration, UnitName)> = Vec::new();
                for unit in &rule.units {
                    let ready = last_action(status, unit).and_then(|action| action.ready_at);
                    let began = ready.max(self.config.gauges.started(unit));
                    let began = began
                        .unwrap_or_else(|| *self.first_seen.entry(unit.clone()).or_insert(now));
                    let age = now.duration_since(began).unwrap_or_default();
                    let limit = at_most.mul_f64(1.0 - jitter * share_of(unit, began));
                    if age >= limit {
                        due.push((age.saturating_sub(limit), unit.clone()));
                    }
                }
                due.sort_by_key(|(late, _)| std::cmp::Reverse(*late));
                let due: Vec<UnitName> = due.into_iter().map(|(_, unit)| unit).collect();
                let level = if due.is_empty() {
                    Level::Sufficient
                } else {
                    Level::Alarm
                };
                (level, None, due)
            }
            Trigger::Random { every } => {
                let mut draw = || {
                    let pause = -(1.0 - rand::rng().random::<f64>()).ln();
                    now.checked_add(every.mul_f64(pause)).unwrap_or(now)
                };
                let due = *running.drawn.get_or_insert_with(&mut draw);
                // In a roll, chance has called already; what it calls then is kept for the next.
                let rests = matches!(running.state, State::Resting { .. });
                if due <= now && rests {
                    let chosen = rand::rng().random_range(0..rule.units.len().max(1));
                    running.drawn = Some(draw());
                    let chosen = rule.units.get(chosen).cloned();
                    (Level::Alarm, None, chosen.into_iter().collect())
                } else {
                    (Level::Sufficient, None, Vec::new())
                }
            }
        };
        running.reading = reading;
        if self.first_seen.len() > seen_before {
            self.remember().await;
        }
        Event::Looked {
            level,
            reading,
            candidates,
        }
    }

    async fn take(&mut self, place: usize, event: Event) {
        let now = self.now();
        let running = &mut self.rules[place];
        if let Event::FellShort { words } = &event {
            running.words.clone_from(words);
        }
        let state = std::mem::take(&mut running.state);
        let (state, wishes) = next(state, event, &running.rule, now);
        running.state = state;
        for wish in wishes {
            match wish {
                Wish::Restart(unit) => self.ask(place, unit).await,
                Wish::Learn { unit, gave } => self.learned(place, &unit, gave, now).await,
                Wish::Begun => {
                    let running = &mut self.rules[place];
                    let words = begun(running);
                    tracing::info!(rule = %running.rule.name, "rejuvenation begins: {words}");
                    running.words = words;
                }
                Wish::Enough => {
                    let running = &mut self.rules[place];
                    running.words = "the last roll was enough".to_owned();
                    tracing::info!(rule = %running.rule.name, "rejuvenation was enough");
                }
                Wish::NotEnough => {
                    let running = &mut self.rules[place];
                    let words = format!(
                        "everything that {} may restart was restarted, and {} is still past its \
                         alarm; the next roll begins in {} min at the earliest",
                        running.rule.name,
                        reading(running).unwrap_or_default(),
                        running.rule.rest.as_secs() / 60
                    );
                    running.words.clone_from(&words);
                    self.notify(None, words);
                }
                Wish::Broken => {
                    if let State::Halted { unit, words } = &self.rules[place].state {
                        let text = format!(
                            "{unit} did not come back from a preventive restart ({words}), so {} \
                             restarts nothing more until it has: `rekindle restart {unit}`",
                            self.rules[place].rule.name
                        );
                        self.notify(Some(unit.clone()), text);
                    }
                }
            }
        }
    }

    /// Asks recovery for a restart.
    async fn ask(&mut self, place: usize, unit: UnitName) {
        let running = &self.rules[place];
        let reason = reason(running, &unit);
        let command = Command::Prevent {
            unit: unit.clone(),
            reason,
        };
        let mut answer = self.config.recovery.command(command.clone()).await;
        // Whoever keeps it alive is asked by the first wish, and hasn't answered yet.
        for _ in 0..ASKED_AGAIN {
            let waits = |it: &Refusal| it.guard == Guard::Unasked;
            match &answer {
                Err(CommandError::Refused { refusals }) if refusals.iter().any(waits) => {
                    tokio::time::sleep(ASKED_AGAIN_AFTER).await;
                    answer = self.config.recovery.command(command.clone()).await;
                }
                _ => break,
            }
        }
        match answer {
            Ok(Reply::Started { recovery, .. } | Reply::Proposed { recovery }) => {
                self.rules[place].recovery = Some((recovery, false));
            }
            Ok(_) => self.refused(place, &unit, "recovery gave another answer".to_owned()),
            Err(error) => self.refused(place, &unit, error.to_string()),
        }
    }

    fn refused(&mut self, place: usize, unit: &UnitName, words: String) {
        let now = self.now();
        let running = &mut self.rules[place];
        let words = format!("{unit} is due, but {words}");
        // The same refusal again is no news.
        if running.words != words {
            tracing::info!(rule = %running.rule.name, "{words}");
        }
        running.words = words;
        let state = std::mem::take(&mut running.state);
        running.state = next(state, Event::Refused, &running.rule, now).0;
    }

    async fn learned(&mut self, place: usize, unit: &UnitName, gave: f64, now: SystemTime) {
        let running = &mut self.rules[place];
        learn(&mut running.gifts, unit, gave, now);
        if let Trigger::Gauge { gauge, .. } = &running.rule.trigger {
            let gave = gauge.show(gave);
            tracing::info!(rule = %running.rule.name, %unit, gave, "a preventive restart gave back");
            running.words = format!("restarting {unit} gave back {gave}");
        }
        self.remember().await;
    }

    /// Writes what the next engine should know.
    async fn remember(&self) {
        let learned = self
            .rules
            .iter()
            .map(|running| (running.rule.name.clone(), running.gifts.clone()))
            .collect();
        let memory = Memory {
            learned,
            first_seen: self.first_seen.clone(),
        };
        let path = self.config.memory.clone();
        let saved = tokio::task::spawn_blocking(move || memory::save(&path, &memory)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "what rejuvenation learned can't be written");
        }
    }

    fn notify(&self, unit: Option<UnitName>, text: String) {
        tracing::error!(unit = unit.as_ref().map(UnitName::as_str), "{text}");
        self.config.notifier.notify(&Notice {
            kind: NoticeKind::Rejuvenation,
            at: self.now(),
            incident: None,
            unit,
            text,
        });
    }

    fn tell(&self) {
        let now = self.now();
        let tree = self.config.tree.now();
        let all: Vec<RuleStatus> = self
            .rules
            .iter()
            .map(|running| rule_status(running, &tree, now))
            .collect();
        self.told.send_if_modified(|old| {
            let is_news = **old != all;
            if is_news {
                *old = Arc::new(all);
            }
            is_news
        });
    }
}

/// The last restart of a unit, its own or as a whole that was decided on.
fn last_action<'a>(status: &'a RecoveryStatus, unit: &UnitName) -> Option<&'a ActionView> {
    let unit = status.units.iter().find(|status| status.unit == *unit)?;
    unit.last_action.as_ref()
}

/// When the last restart of such a unit was over. A moment yet to come is of a clock that was set back since: waiting
/// for it would be waiting for as long.
pub(crate) fn last_ready(
    status: &RecoveryStatus,
    now: SystemTime,
    is_meant: impl Fn(&UnitName) -> bool,
) -> Option<SystemTime> {
    let meant = status.recent.iter();
    let meant = meant.filter(|action| is_meant(&action.target));
    let ready = meant.filter_map(|action| action.ready_at);
    ready.filter(|at| *at <= now).max()
}

/// A unit that didn't come back from a preventive restart that nobody follows here: an engine before
/// this one began it, and what became of it may be told at any time.
fn find_halt(status: &RecoveryStatus, rule: &Rule) -> Option<(UnitName, String)> {
    rule.units.iter().find_map(|unit| {
        let action = last_action(status, unit)?;
        let words = fell_short(action)?;
        is_preventive(action).then(|| (unit.clone(), words))
    })
}

/// Whether a restart was to prevent something. One that a person approved has that person's name, but
/// no other plan is of no incident.
fn is_preventive(action: &ActionView) -> bool {
    action.incident.is_none() && (action.by == PREVENTION || action.plan.is_some())
}

/// Why the unit isn't back from this restart, if it isn't. One that was refused did nothing to it.
fn fell_short(action: &ActionView) -> Option<String> {
    match &action.outcome {
        Some(Outcome::NotReady { reason } | Outcome::Unknown { reason }) => Some(reason.clone()),
        _ if action.verdict == Some(Verdict::NotCured) => {
            Some(action.judged.clone().unwrap_or_default())
        }
        _ => None,
    }
}

/// Whether the unit came back by this restart. One that is under way, was refused, or isn't judged yet
/// doesn't say so.
fn is_back(action: &ActionView) -> bool {
    let is_done = matches!(action.outcome, Some(Outcome::Done { .. }));
    is_done
        && action
            .verdict
            .is_some_and(|verdict| verdict != Verdict::NotCured)
}

/// What became of a restart that was asked for, once it is over.
fn outcome(status: &RecoveryStatus, recovery: RecoveryId, seen: &mut bool) -> Option<Event> {
    let is_there = status
        .recoveries
        .iter()
        .any(|other| other.recovery == recovery);
    let mut actions = status
        .recent
        .iter()
        .filter(|action| action.recovery == recovery)
        .peekable();
    let is_judged = actions.peek().is_some()
        && status
            .recent
            .iter()
            .filter(|action| action.recovery == recovery)
            .all(|action| action.verdict.is_some());
    // Between two looks a person may have answered a plan, or it lapsed.
    let is_over = || {
        let mut finished = status.finished.iter();
        finished.any(|other| other.recovery == recovery)
    };
    *seen |= is_there || is_over();
    // The status may be older than the answer to our order.
    if is_there || !(is_judged || *seen) {
        return None;
    }
    let (mut done, mut declined) = (false, false);
    for action in actions {
        if let Some(words) = fell_short(action) {
            return Some(Event::FellShort { words });
        }
        done |= matches!(action.outcome, Some(Outcome::Done { .. }));
        declined = true;
    }
    // A plan that a person rejected or nobody answered, or an executor that refused: nothing was done.
    Some(if done {
        Event::CameBack
    } else if declined {
        Event::Declined
    } else {
        Event::Refused
    })
}

/// A number in `[0, 1)` of a unit's life, always the same.
fn share_of(unit: &UnitName, began: SystemTime) -> f64 {
    let since = began.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs().to_le_bytes();
    crate::steady::share_of(unit.as_str().bytes().chain(seconds))
}

fn gauge(rule: &Rule) -> Option<&Gauge> {
    match &rule.trigger {
        Trigger::Gauge { gauge, .. } => Some(gauge),
        Trigger::Age { .. } | Trigger::Random { .. } => None,
    }
}

/// What the gauge last said, in words.
fn reading(running: &Running) -> Option<String> {
    let gauge = gauge(&running.rule)?;
    let reading = gauge.show(running.reading?);
    Some(format!("{} ({reading})", gauge.words()))
}

fn begun(running: &Running) -> String {
    match &running.rule.trigger {
        Trigger::Gauge { gauge, levels } => format!(
            "{} passed its alarm of {}; units are restarted until it is {}",
            reading(running).unwrap_or_else(|| gauge.words()),
            gauge.show(levels.alarm),
            gauge.show(levels.sufficient)
        ),
        Trigger::Age { .. } => "a unit has reached its age".to_owned(),
        Trigger::Random { .. } => "chance called".to_owned(),
    }
}

/// Why this unit is restarted, for the ledger and for people.
fn reason(running: &Running, unit: &UnitName) -> String {
    let rule = &running.rule;
    match &rule.trigger {
        Trigger::Gauge { gauge, levels } => {
            let gave = match running.gifts.get(unit) {
                Some(given) => format!(
                    "its restarts gave back {} on average",
                    gauge.show(given.mean)
                ),
                None => "what its restart gives back isn't known yet".to_owned(),
            };
            format!(
                "{}: {}, alarm at {}, enough at {}; {gave}",
                rule.name,
                reading(running).unwrap_or_default(),
                gauge.show(levels.alarm),
                gauge.show(levels.sufficient)
            )
        }
        Trigger::Age { at_most, .. } => format!(
            "{}: it has reached its age of {} s, less its jitter",
            rule.name,
            at_most.as_secs()
        ),
        Trigger::Random { .. } => format!("{}: chance called", rule.name),
    }
}

fn rule_status(running: &Running, tree: &RestartTree, now: SystemTime) -> RuleStatus {
    let rule = &running.rule;
    let gauge = gauge(rule);
    let (state, unit, words) = match &running.state {
        State::Resting { not_before } => {
            let rests = not_before.is_some_and(|until| now < until);
            let words = match (running.words.as_str(), rests) {
                ("", _) => "nothing is due".to_owned(),
                (words, _) => words.to_owned(),
            };
            (RuleState::Resting, None, words)
        }
        State::Rolling(_) => (RuleState::Rolling, None, running.words.clone()),
        State::Restarting { unit, .. } => {
            let words = reason(running, unit);
            (RuleState::Restarting, Some(unit.clone()), words)
        }
        State::Settling { unit, .. } => {
            let words = format!("{unit} is back; what that gave back is read in a moment");
            (RuleState::Settling, Some(unit.clone()), words)
        }
        State::Halted { unit, words } => {
            let words = format!(
                "{unit} did not come back ({words}); nothing more is restarted until it has: \
                 `rekindle restart {unit}`"
            );
            (RuleState::Halted, Some(unit.clone()), words)
        }
    };
    let gave = |unit: &UnitName| {
        let given = running.gifts.get(unit)?;
        Some(gauge?.show(given.mean))
    };
    RuleStatus {
        name: rule.name.clone(),
        state,
        unit,
        words,
        reading: gauge
            .zip(running.reading)
            .map(|(gauge, reading)| gauge.show(reading)),
        alarm: gauge
            .zip(rule.levels())
            .map(|(gauge, levels)| gauge.show(levels.alarm)),
        sufficient: gauge
            .zip(rule.levels())
            .map(|(gauge, levels)| gauge.show(levels.sufficient)),
        order: order(rule, &running.gifts, tree)
            .into_iter()
            .map(|unit| {
                let gave = gave(&unit);
                (unit, gave)
            })
            .collect(),
    }
}
