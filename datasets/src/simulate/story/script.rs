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

use std::fmt;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use jiff::SignedDuration;
use rekindle_recovery::{Mode, Policy, UnitName, UnitSpec};

use super::super::manner::Manner;
use super::super::reserve::Reserve;
use super::super::world::unit;
use super::PERSON;

/// No time in a story is longer: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// How often one line may happen.
const MOST_TIMES: u32 = 10_000;
/// After the last thing that happens, where nothing else is said.
const AFTERMATH: Duration = Duration::from_secs(600);

/// A story.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) units: Vec<UnitSpec>,
    /// Requests per second through each unit, in their order.
    pub(super) traffic: Vec<f64>,
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
    Approve,
    Reject,
    Pause(Duration),
    Resume,
    Restart(UnitName),
    /// Somebody else renews the unit.
    Rollout(UnitName),
    /// The wall's clock jumps by so many seconds.
    Clock(i64),
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
            traffic: Vec::new(),
            policy: Policy::default(),
            events: Vec::new(),
            end: Duration::ZERO,
        };
        let mut end = None;
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
                            let events = times.into_iter().map(|at| (at, event.clone()));
                            script.events.extend(events);
                        }
                    }
                }
                _ => return Err(wrong("a line begins with tree, policy or at".to_owned())),
            }
            words.end().map_err(wrong)?;
        }
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

impl Script {
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
            "approve" => Event::Approve,
            "reject" => Event::Reject,
            "pause" => Event::Pause(words.duration()?),
            "resume" => Event::Resume,
            "kill" => Event::Kill,
            "restart" => Event::Restart(self.unit(words)?),
            "rollout" => {
                words.expect("of")?;
                Event::Rollout(self.unit(words)?)
            }
            "clock" => Event::Clock(words.signed()?),
            "executor" => {
                words.expect("of")?;
                let unit = self.unit(words)?;
                Event::Executor(unit, words.manner()?)
            }
            unit => {
                let unit = self.known(unit)?;
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
                         `approval expires after TIME`, `storm at N units` or `one of GROUP`";
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

/// `400ms`, `4s`, `10m`, `2h`.
fn duration(word: &str) -> Result<Duration, String> {
    let parsed: Option<SignedDuration> = word.parse().ok();
    parsed
        .and_then(|it| Duration::try_from(it).ok())
        .filter(|it| *it <= LONGEST)
        .ok_or_else(|| format!("{word} is no time; write 400ms, 4s, 10m or 2h"))
}

/// A line's words.
struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.next().map(|word| word.trim_end_matches(','))
    }

    fn peek(&self) -> Option<&'a str> {
        self.0.clone().next()
    }

    /// Whether this is next, which is then behind us.
    fn has(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            self.0.next();
        }
        is_next
    }

    fn any(&mut self, what: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        match self.next() {
            Some(next) if next == word => Ok(()),
            Some(next) => Err(format!("{next} stands where {word} should")),
            None => Err(format!("{word} is missing")),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.next().map_or(Ok(()), |word| {
            Err(format!("nothing may follow from {word} on"))
        })
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.any(what)?;
        word.parse().map_err(|_| format!("{word} is not {what}"))
    }

    fn duration(&mut self) -> Result<Duration, String> {
        duration(self.any("a time")?)
    }

    /// `+2h`, `-90s`, in seconds.
    fn signed(&mut self) -> Result<i64, String> {
        let word = self.any("by how much the clock jumps")?;
        let by = duration(word.trim_start_matches(['+', '-']))?;
        if by.subsec_nanos() > 0 {
            return Err(format!("{word} is no whole number of seconds"));
        }
        let by = i64::try_from(by.as_secs()).map_err(|_| format!("{word} is too much"))?;
        Ok(if word.starts_with('-') { -by } else { by })
    }

    /// `80%`, as 0.8.
    fn share(&mut self) -> Result<f64, String> {
        let word = self.any("a share")?;
        let number: Option<f64> = word.strip_suffix('%').and_then(|it| it.parse().ok());
        number
            .map(|it| it / 100.0)
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| format!("{word} is no share; write 80%"))
    }

    fn manner(&mut self) -> Result<Manner, String> {
        let word = self.any("how it behaves")?;
        Manner::ALL
            .into_iter()
            .find(|manner| manner.to_string() == word)
            .ok_or_else(|| format!("{word} is none of {}", listed(Manner::ALL)))
    }

    fn reserve(&mut self) -> Result<Reserve, String> {
        let word = self.any("what speaks against any restart")?;
        Reserve::ALL
            .into_iter()
            .find(|reserve| reserve.name() == word)
            .ok_or_else(|| {
                format!(
                    "{word} is none of {}",
                    listed(Reserve::ALL.map(Reserve::name))
                )
            })
    }
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
            Self::Approve => format!("{PERSON} approves what waits"),
            Self::Reject => format!("{PERSON} rejects what waits"),
            Self::Pause(duration) => {
                format!("{PERSON} pauses recovery for {} s", duration.as_secs_f64())
            }
            Self::Resume => format!("{PERSON} resumes recovery"),
            Self::Restart(unit) => format!("{PERSON} orders a restart of {unit}"),
            Self::Rollout(unit) => format!("somebody else renews {unit}"),
            Self::Clock(seconds) => format!("the wall's clock jumps by {seconds} s"),
            Self::Kill => "the engine is killed, and starts again".to_owned(),
        }
    }
}

fn listed<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tree\n  site\n    shop 4s 30/s\n      shop.cart 400ms 10/s\n";

    #[test]
    fn a_text_is_a_story() {
        let text = format!(
            "{TREE}policy restarts per unit 2\n\
             at 10s every 1m 3 times shop.cart fails 80% until shop is restarted, told as shop 50% shop.cart 40% by one\n\
             at 20s executor of shop.cart hangs # for good\nat 1h end\n"
        );
        let script: Script = text.parse().expect("a story");
        assert_eq!(script.units.len(), 3);
        assert_eq!(script.traffic, [30.0, 30.0, 10.0]);
        assert_eq!(script.units[2].parent, Some("shop".into()));
        assert_eq!(script.policy.restarts_per_unit, 2);
        assert_eq!(script.end, Duration::from_secs(3600));
        let at: Vec<u64> = script.events.iter().map(|it| it.0.as_secs()).collect();
        assert_eq!(at, [10, 20, 70, 130]);
        let fault = Fault {
            unit: "shop.cart".into(),
            share: 0.8,
            ends: Ends::Restart(vec!["shop".into()]),
            told: vec![
                ("shop".into(), 0.5, false),
                ("shop.cart".into(), 0.4, false),
            ],
            reserve: None,
        };
        assert_eq!(script.events[0].1, Event::Fails(fault));
        assert_eq!(
            script.events[1].1,
            Event::Executor("shop.cart".into(), Manner::Hangs)
        );
    }

    #[test]
    fn who_is_suspected_is_so_by_one_where_nobody_is_named() {
        let text = format!("{TREE}at 10s shop fails 80% for 1m by one\n");
        let script: Script = text.parse().expect("a story");
        let Event::Fails(fault) = &script.events[0].1 else {
            panic!("{:?}", script.events);
        };
        assert_eq!(fault.told, [("shop".into(), 0.9, false)]);
    }

    #[test]
    fn what_is_no_story_says_why() {
        for (line, reason) in [
            ("nonsense", "a line begins with"),
            ("at noon approve", "noon is no time"),
            ("at 10s bank fails 80% for 1m", "has no unit bank"),
            ("at 10s shop fails much for 1m", "much is no share"),
            ("at 10s shop fails 80% forever", "for a time, or until"),
            ("at 10s approve twice", "nothing may follow"),
            ("at 10s executor of shop sings", "sings is none of works"),
            ("at 10s shop fails 80% for 1m with luck", "luck is none of"),
            ("at 1s every 1h 4000000000 times approve", "too many"),
            ("at 10s clock -500ms", "no whole number of seconds"),
            ("at 9000000h approve", "is no time"),
            ("policy be kind", "of the policy there is"),
        ] {
            let error = format!("{TREE}{line}\n").parse::<Script>().expect_err(line);
            assert_eq!(error.line, 5, "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
