//! What a story's text says.
//!
//! ```text
//! # A component that only its process's restart cures.
//! tree
//!   site                        # restarted through what is below it, whose requests are its own
//!     shop        4s     30/s   # takes 4 s, 30 requests a second go through it
//!       shop.cart 400ms  10/s
//!     mail        3s     5/s    propose
//! policy restarts per unit 3
//! at 10s shop.cart fails 80% until shop is restarted
//! at 10s every 10m 5 times shop.cart fails 80% for 30s, told as mail 60% shop.cart 20% by one
//! at 20s executor of shop.cart hangs
//! at 30s approve
//! at 20m end
//! ```

use std::str::FromStr;
use std::time::Duration;

use rekindle_recovery::tree::{Group, TreeError};
use rekindle_recovery::{Mode, Policy, RestartTree, UnitName, UnitSpec};

use super::super::manner::Manner;
use super::super::reserve::Reserve;
use super::super::world::unit;
use super::PERSON;
use super::words::{Words, duration};

/// How often one line may happen.
const MOST_TIMES: u32 = 10_000;
/// What may happen, beside that a unit fails.
const HAPPENS: &str =
    "approve, reject, pause, resume, restart, rollout, executor, clock, infer, kill and end";
/// After the last thing that happens, where nothing else is said.
const AFTERMATH: Duration = Duration::from_secs(600);

/// A story.
#[derive(Clone, Debug)]
pub struct Script {
    units: Vec<UnitSpec>,
    pub(super) tree: RestartTree,
    /// Requests per second through each unit, in their order.
    traffic: Vec<f64>,
    pub(super) policy: Policy,
    /// What happens, in order.
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) end: Duration,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Fails(Fault),
    /// From now on an executor behaves so.
    Executor(UnitName, Manner),
    /// Of a plan, or of whatever waits.
    Approve(Option<u64>),
    Reject(Option<u64>),
    Pause(Duration),
    Resume,
    Restart(UnitName),
    /// Somebody else renews the unit.
    Rollout(UnitName),
    /// The wall's clock jumps by so many seconds.
    Clock(i64),
    /// It is inferred that units are only cured together.
    Infer(Group),
    Kill,
}

/// A unit fails.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) unit: UnitName,
    /// Of its requests, 0 to 1.
    pub(super) share: f64,
    pub(super) ends: Ends,
    /// Who is accused of it, how likely it is he, and whether two say so.
    pub(super) told: Vec<(UnitName, f64, bool)>,
    pub(super) reserve: Option<Reserve>,
}

/// What ends a fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ends {
    After(Duration),
    /// The restart of all of these in one go, or of what contains them.
    Restart(Vec<UnitName>),
}

/// Why a text is no story.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}: `{text}`")]
pub struct ScriptError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
    /// The line.
    pub text: String,
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self {
            units: Vec::new(),
            tree: RestartTree::empty(),
            traffic: Vec::new(),
            policy: Policy::default(),
            events: Vec::new(),
            end: Duration::ZERO,
        };
        let mut end: Option<Duration> = None;
        // Where each unit is said to be, and where what happens last.
        let mut places: Vec<(usize, &str)> = Vec::new();
        let mut latest: Option<(Duration, usize, &str)> = None;
        let mut above: Vec<(usize, UnitName)> = Vec::new();
        let mut in_tree = false;
        for (number, line) in text.lines().enumerate() {
            let said = line.split('#').next().unwrap_or_default().trim_end();
            if said.trim().is_empty() {
                continue;
            }
            let wrong = |reason: String| ScriptError {
                line: number + 1,
                reason,
                text: line.trim().to_owned(),
            };
            let indent = said.len() - said.trim_start().len();
            let mut words = Words(said.split_whitespace());
            if indent > 0 && in_tree {
                above.retain(|(other, _)| *other < indent);
                let parent = above.last().map_or("", |(_, name)| name.as_str());
                let (spec, traffic) = unit_of(&mut words, parent).map_err(wrong)?;
                script.takes(&spec).map_err(wrong)?;
                places.push((number, line));
                above.push((indent, spec.name.clone()));
                script.units.push(spec);
                script.traffic.push(traffic);
                continue;
            }
            in_tree = false;
            let first = words.any("tree, policy or at").map_err(wrong)?;
            match first {
                "tree" => in_tree = true,
                "policy" => limit(&mut words, &mut script.policy).map_err(wrong)?,
                "at" => {
                    let (times, event) = script.happens(&mut words).map_err(wrong)?;
                    match event {
                        None => end = times.last().copied(),
                        Some(event) => {
                            let at = times.last().copied().unwrap_or_default();
                            if latest.is_none_or(|(last, ..)| last <= at) {
                                latest = Some((at, number, line));
                            }
                            let events = times.into_iter().map(|at| (at, event.clone()));
                            script.events.extend(events);
                        }
                    }
                }
                _ => return Err(wrong("a line begins with tree, policy or at".to_owned())),
            }
            words.end().map_err(wrong)?;
        }
        let wrong = |number: usize, line: &str, reason: String| ScriptError {
            line: number + 1,
            reason,
            text: line.trim().to_owned(),
        };
        if let Some((end, (at, number, line))) = end.zip(latest)
            && at > end
        {
            let (at, end) = (at.as_secs_f64(), end.as_secs_f64());
            let reason = format!("it happens at {at} s, and the story ends at {end} s");
            return Err(wrong(number, line, reason));
        }
        script.tree = RestartTree::build(script.units.clone()).map_err(|errors| {
            let of = errors.first().and_then(|error| script.place_of(error));
            let (number, line) = of
                .and_then(|of| places.get(of))
                .copied()
                .unwrap_or_default();
            let reason = match places.is_empty() {
                true => "a story has a tree, with units that are indented below it".to_owned(),
                false => in_words(&errors),
            };
            wrong(number, line, reason)
        })?;
        // Parents come before their parts.
        for place in (0..script.units.len()).rev() {
            if script.traffic[place] == 0.0 {
                let name = Some(&script.units[place].name);
                let units = script.units.iter().zip(&script.traffic);
                let parts = units.filter(|(spec, _)| spec.parent.as_ref() == name);
                script.traffic[place] = parts.map(|(_, traffic)| traffic).sum();
            }
        }
        script.events.sort_by_key(|(at, _)| *at);
        let last = script.events.last().map_or(Duration::ZERO, |it| it.0);
        script.end = end.unwrap_or(last + AFTERMATH);
        Ok(script)
    }
}

fn in_words(errors: &[TreeError]) -> String {
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    words.join("; ")
}

impl Script {
    /// Whether one more unit may be there, where it is said to be.
    fn takes(&self, spec: &UnitSpec) -> Result<(), String> {
        let name = &spec.name;
        if self.units.iter().any(|known| known.name == *name) {
            return Err(format!(
                "{name} is in the tree already; every unit needs a name of its own"
            ));
        }
        match self.units.first() {
            Some(root) if spec.parent.is_none() => Err(format!(
                "{name} stands beside {}, which has to contain all others; indent it",
                root.name
            )),
            _ => Ok(()),
        }
    }

    /// The place of the unit that something is wrong with; of the first, where it is the tree as a whole.
    fn place_of(&self, error: &TreeError) -> Option<usize> {
        match error {
            TreeError::NotRestartable { unit } => {
                self.units.iter().position(|spec| spec.name == *unit)
            }
            _ => Some(0),
        }
    }

    /// The requests per second through each unit.
    pub(super) fn traffic(&self) -> impl Iterator<Item = (UnitName, f64)> {
        let names = self.units.iter().map(|spec| spec.name.clone());
        names.zip(self.traffic.iter().copied())
    }

    /// What follows `at`: when, and what; `None` for the end.
    fn happens(&self, words: &mut Words<'_>) -> Result<(Vec<Duration>, Option<Event>), String> {
        let at = words.duration()?;
        let mut times = vec![at];
        if words.has("every") {
            let every = words.duration()?;
            let count: u32 = words.number("a number of times")?;
            words.expect("times")?;
            if count > MOST_TIMES {
                return Err(format!(
                    "{count} times are too many; {MOST_TIMES} can be told"
                ));
            }
            let time = |n| every.checked_mul(n).and_then(|by| at.checked_add(by));
            let all: Option<Vec<Duration>> = (0..count).map(time).collect();
            times = all.ok_or("that is later than any time")?;
        }
        let what = words.any("what happens")?;
        let event = match what {
            "end" => return Ok((times, None)),
            "approve" => Event::Approve(words.plan()?),
            "reject" => Event::Reject(words.plan()?),
            "pause" => Event::Pause(words.duration()?),
            "resume" => Event::Resume,
            "kill" => Event::Kill,
            "restart" => Event::Restart(self.unit(words)?),
            "rollout" => {
                words.expect("of")?;
                Event::Rollout(self.unit(words)?)
            }
            "clock" => Event::Clock(words.signed()?),
            "infer" => Event::Infer(self.group(words)?),
            "executor" => {
                words.expect("of")?;
                let unit = self.unit(words)?;
                Event::Executor(unit, words.manner()?)
            }
            unit => {
                let known = self.known(unit);
                let unit = known.map_err(|reason| {
                    format!("{reason}, and nothing else happens but {HAPPENS}")
                })?;
                words.expect("fails")?;
                Event::Fails(self.fault(unit, words)?)
            }
        };
        Ok((times, Some(event)))
    }

    /// What follows `UNIT fails`.
    fn fault(&self, unit: UnitName, words: &mut Words<'_>) -> Result<Fault, String> {
        let share = words.share()?;
        let ends = match words.any("for or until")? {
            "for" => Ends::After(words.duration()?),
            "until" => {
                let mut units = vec![self.unit(words)?];
                while words.has("and") {
                    units.push(self.unit(words)?);
                }
                if !words.has("is") {
                    words.expect("are")?;
                }
                words.expect("restarted")?;
                Ends::Restart(units)
            }
            _ => return Err("a unit fails for a time, or until something is restarted".to_owned()),
        };
        let mut told = Vec::new();
        let mut two_sided = true;
        let mut reserve = None;
        while let Some(word) = words.next() {
            match word {
                "told" => {
                    words.expect("as")?;
                    while let Some(name) = words.peek().filter(|it| !["by", "with"].contains(it)) {
                        words.next();
                        told.push((self.known(name)?, words.share()?));
                    }
                }
                "by" => {
                    words.expect("one")?;
                    two_sided = false;
                }
                "with" => reserve = Some(words.reserve()?),
                _ => return Err("`told as UNIT SHARE … by one` or `with …` may follow".to_owned()),
            }
        }
        if told.is_empty() {
            told.push((unit.clone(), 0.9));
        }
        let all: f64 = told.iter().map(|(_, share)| share).sum();
        // What is added up is not exact.
        if all > 1.0 + 1e-9 {
            let percent = (100.0 * all).round();
            return Err(format!(
                "one of those accused is it, so their shares add up to 100 % at most, not to {percent} %"
            ));
        }
        let told = told.into_iter();
        let told = told.map(|(unit, share)| (unit, share, two_sided)).collect();
        Ok(Fault {
            unit,
            share,
            ends,
            told,
            reserve,
        })
    }

    /// What follows `infer`: `UNIT and UNIT 90%`, and `by traces` where no recovery showed it.
    fn group(&self, words: &mut Words<'_>) -> Result<Group, String> {
        let mut members = vec![self.unit(words)?];
        while words.has("and") {
            members.push(self.unit(words)?);
        }
        members.sort();
        members.dedup();
        if members.len() < 2 {
            return Err("it takes two units to be cured together: `infer A and B 90%`".to_owned());
        }
        let share = words.share()?;
        let by_traces = words.has("by");
        if by_traces {
            words.expect("traces")?;
        }
        Ok(Group {
            members,
            share,
            is_proven: !by_traces,
            why: "the story says so".to_owned(),
        })
    }

    fn unit(&self, words: &mut Words<'_>) -> Result<UnitName, String> {
        self.known(words.any("a unit's name")?)
    }

    fn known(&self, name: &str) -> Result<UnitName, String> {
        let name = UnitName::from(name.trim_end_matches(','));
        let is_known = self.units.iter().any(|spec| spec.name == name);
        is_known
            .then(|| name.clone())
            .ok_or_else(|| format!("the tree above has no unit {name}"))
    }
}

/// A unit's line: its name, how long its restart takes, the requests that go through it, and its rules.
fn unit_of(words: &mut Words<'_>, parent: &str) -> Result<(UnitSpec, f64), String> {
    let name = words.any("a unit's name")?;
    let mut spec = unit(name, parent, Duration::ZERO);
    spec.mode = Some(Mode::Auto);
    (spec.executor, spec.expected_downtime) = (None, None);
    let mut traffic = 0.0;
    while let Some(word) = words.next() {
        match word {
            "observe" => spec.mode = Some(Mode::Observe),
            "propose" => spec.mode = Some(Mode::Propose),
            "auto" => spec.mode = Some(Mode::Auto),
            "minimum" => spec.rules.minimum_healthy = Some(words.number("a number of units")?),
            "group" => spec.rules.capacity_group = Some(words.any("a group's name")?.to_owned()),
            rate if rate.ends_with("/s") => {
                let number = rate.trim_end_matches("/s").parse().ok();
                let is_rate = |rate: &f64| rate.is_finite() && *rate >= 0.0;
                traffic = number
                    .filter(is_rate)
                    .ok_or("requests are written 30/s or 0.1/s")?;
            }
            word => {
                let takes = duration(word)?;
                let restartable = unit(name, parent, takes);
                spec.executor = restartable.executor;
                spec.expected_downtime = restartable.expected_downtime;
                spec.start_deadline = restartable.start_deadline.max(takes * 3);
            }
        }
    }
    Ok((spec, traffic))
}

/// A limit of the policy.
fn limit(words: &mut Words<'_>, policy: &mut Policy) -> Result<(), String> {
    const KNOWN: &str = "`restarts per unit N`, `restarts per tree N`, `failed requests N`, `budget period TIME`, \
                         `approval expires after TIME`, `person comes after TIME`, `wait TIME`, `in flight TIME`, \
                         `storm at N units` or `one of GROUP`";
    let wrong = |_| format!("of the policy there is {KNOWN}");
    let is_limit = words.any(KNOWN)?;
    match is_limit {
        "restarts" => {
            words.expect("per").map_err(wrong)?;
            let of = words.any("unit or tree")?;
            let limit = words.number("a number of restarts")?;
            match of {
                "unit" => policy.restarts_per_unit = limit,
                "tree" => policy.restarts_per_tree = limit,
                _ => return Err(wrong(String::new())),
            }
        }
        "failed" => {
            words.expect("requests").map_err(wrong)?;
            policy.failed_requests = f64::from(words.number::<u32>("a number of requests")?);
        }
        "budget" => {
            words.expect("period").map_err(wrong)?;
            policy.budget_period = words.duration()?;
        }
        "approval" => {
            words.expect("expires").map_err(wrong)?;
            words.expect("after").map_err(wrong)?;
            policy.approval_expiry = words.duration()?;
        }
        "person" => {
            words.expect("comes").map_err(wrong)?;
            words.expect("after").map_err(wrong)?;
            policy.human_response = words.duration()?;
        }
        "wait" => policy.wait = words.duration()?,
        "in" => {
            words.expect("flight").map_err(wrong)?;
            policy.in_flight = words.duration()?;
        }
        "storm" => {
            words.expect("at").map_err(wrong)?;
            policy.storm_units = words.number("a number of units")?;
            words.expect("units").map_err(wrong)?;
        }
        "one" => {
            words.expect("of").map_err(wrong)?;
            let group = words.any("a group's name")?.to_owned();
            policy.capacity.insert(group, 1);
        }
        _ => return Err(wrong(String::new())),
    }
    Ok(())
}

impl Event {
    /// It, as it is told.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Fails(fault) => {
                let share = 100.0 * fault.share;
                let ends = match &fault.ends {
                    Ends::After(duration) => format!("for {} s", duration.as_secs_f64()),
                    Ends::Restart(units) => {
                        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
                        let are = if names.len() > 1 { "are" } else { "is" };
                        format!("until {} {are} restarted", names.join(" and "))
                    }
                };
                format!("{} fails {share:.0} % of its requests, {ends}", fault.unit)
            }
            Self::Executor(unit, manner) => format!("from now on the executor of {unit}: {manner}"),
            Self::Approve(plan) => format!("{PERSON} approves {}", which(*plan)),
            Self::Reject(plan) => format!("{PERSON} rejects {}", which(*plan)),
            Self::Pause(duration) => {
                format!("{PERSON} pauses recovery for {} s", duration.as_secs_f64())
            }
            Self::Resume => format!("{PERSON} resumes recovery"),
            Self::Restart(unit) => format!("{PERSON} orders a restart of {unit}"),
            Self::Rollout(unit) => format!("somebody else renews {unit}"),
            Self::Clock(seconds) => format!("the wall's clock jumps by {seconds} s"),
            Self::Infer(group) => {
                let names: Vec<&str> = group.members.iter().map(UnitName::as_str).collect();
                let by = if group.is_proven {
                    "recoveries"
                } else {
                    "traces"
                };
                let share = 100.0 * group.share;
                format!(
                    "{by} say that {} are only cured together ({share:.0} %)",
                    names.join(" and ")
                )
            }
            Self::Kill => "the engine is killed, and starts again".to_owned(),
        }
    }
}

fn which(plan: Option<u64>) -> String {
    plan.map_or_else(|| "what waits".to_owned(), |plan| format!("plan {plan}"))
}

#[cfg(test)]
mod tests;
