//! What does a gauge say now?
//!
//! Memory comes from the kernel, by process group, since what a process started is its memory, too.
//! What units say of themselves in heartbeats is remembered here for as long as it is fresh. A gauge
//! that can't be read says so: that is no number, and nothing is restarted for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::rule::Gauge;
use crate::executor::BoxFuture;
use crate::http_call::Call;
use crate::ports::Clock;
use crate::probe::Probes;
use crate::process::{ProcessFigures, Supervisor, group_figures, group_memory};
use crate::{Cohort, CohortQuery, UnitName};

/// How long what a heartbeat said is believed: several of the usual periods, and less than a leak
/// takes to matter.
const FRESH: Duration = Duration::from_secs(120);
/// Gauges that heartbeats may fill; more are a program run wild.
const MAX_GAUGES: usize = 10_000;
/// When there is no room, how long after a look for what isn't fresh any more the next one is worth it.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Below so many requests a share of failures is no share.
const LEAST_REQUESTS: u64 = 20;
/// How long failures after a restart are the restart's own: more than connections and caches mostly
/// take, and little beside the minute over which a share is taken.
const WARM_UP: Duration = Duration::from_secs(5);

/// The present life of what a gauge tells of. What a former life told doesn't count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When something that the gauge may tell of was last ready after a restart.
    pub since: Option<SystemTime>,
    /// The number of the life, where that is known: who tells it with a number needn't have waited until it was ready.
    pub generation: Option<u64>,
}

impl From<Option<SystemTime>> for Life {
    fn from(since: Option<SystemTime>) -> Self {
        Self {
            since,
            generation: None,
        }
    }
}

/// Somebody who can read gauges. The daemon's is [`Readings`]; tests and simulations bring their own.
pub trait Gauges: Send + Sync {
    /// Reads it once, in this life.
    ///
    /// # Errors
    /// Why it can't be read, in words for people.
    fn read<'a>(&'a self, gauge: &'a Gauge, life: Life) -> BoxFuture<'a, Result<f64, String>>;

    /// When the unit's present life began, where that is known.
    fn started(&self, unit: &UnitName) -> Option<SystemTime> {
        let _ = unit;
        None
    }

    /// The number of the unit's present life, where somebody besides recovery counts them.
    fn generation(&self, unit: &UnitName) -> Option<u64> {
        let _ = unit;
        None
    }
}

/// What units said about themselves: a gauge's last value and when it was told.
#[derive(Debug, Default)]
pub struct Board {
    told: Mutex<Told>,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    value: f64,
    at: SystemTime,
    /// Of which life, if the unit said so.
    generation: Option<u64>,
}

#[derive(Debug, Default)]
struct Told {
    values: BTreeMap<(UnitName, String), Word>,
    swept: Option<SystemTime>,
}

impl Board {
    /// Remembers a value, and of which life it is, if that was said. What is no number, or one gauge too many, is not
    /// remembered: `false`.
    pub fn tell(
        &self,
        unit: &UnitName,
        name: &str,
        value: f64,
        generation: Option<u64>,
        now: SystemTime,
    ) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (unit.clone(), name.to_owned());
        if !value.is_finite() {
            return false;
        }
        if told.values.len() >= MAX_GAUGES && !told.values.contains_key(&key) {
            // A program run wild tells thousands of them in a second, and all are looked through.
            let is_due = told.swept.is_none_or(|last| {
                now.duration_since(last)
                    .map_or(true, |since| since >= SWEEP_EVERY)
            });
            if is_due {
                // Units come and go, and what they told isn't believed any more.
                told.swept = Some(now);
                told.values
                    .retain(|_, word| now.duration_since(word.at).is_ok_and(|age| age <= FRESH));
            }
            if told.values.len() >= MAX_GAUGES {
                return false;
            }
        }
        let word = Word {
            value,
            at: now,
            generation,
        };
        told.values.insert(key, word);
        true
    }

    /// The last value, if it is fresh, and of this life.
    ///
    /// # Errors
    /// That nobody has told it, or not lately, or only a former life did.
    pub fn read(
        &self,
        unit: &UnitName,
        name: &str,
        life: Life,
        now: SystemTime,
    ) -> Result<f64, String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(word) = told.values.get(&(unit.clone(), name.to_owned())) else {
            return Err(format!("no heartbeat of {unit} has told {name}"));
        };
        let is_of_this_life = word.generation.is_some() && word.generation == life.generation;
        if !is_of_this_life && life.since.is_some_and(|since| word.at < since) {
            return Err(format!("{unit} hasn't told {name} since the last restart"));
        }
        match now.duration_since(word.at) {
            Ok(age) if age > FRESH => Err(format!(
                "{unit} told {name} last {} s ago, which is too long",
                age.as_secs()
            )),
            _ => Ok(word.value),
        }
    }
}

/// The daemon's gauges.
pub struct Readings {
    /// Whose processes have memory.
    pub supervisor: Arc<Supervisor>,
    /// Who asks URLs.
    pub probes: Probes,
    /// Who knows how requests fare.
    pub cohort: Arc<dyn Cohort>,
    /// What heartbeats told.
    pub board: Arc<Board>,
    /// The wall's time.
    pub clock: Clock,
}

impl Readings {
    fn process(&self, of: &UnitName) -> Result<i32, String> {
        let children = self.supervisor.children();
        children
            .iter()
            .find(|child| child.unit == *of && child.phase == "running")
            .and_then(|child| child.pid)
            .ok_or_else(|| format!("no process of {of} is running"))
    }

    /// The sum of one figure over the unit's processes. Of one that ended meanwhile there is none.
    async fn figure(
        &self,
        of: &UnitName,
        figure: fn(&ProcessFigures) -> Option<u64>,
    ) -> Result<f64, String> {
        let pid = self.process(of)?;
        let figures = tokio::task::spawn_blocking(move || group_figures(pid)).await;
        let figures = figures.unwrap_or_default();
        let told: Vec<u64> = figures.iter().filter_map(figure).collect();
        if told.is_empty() {
            return Err(format!("the kernel doesn't tell it of {of}"));
        }
        Ok(told.iter().sum::<u64>() as f64)
    }

    async fn memory(&self, of: &UnitName) -> Result<f64, String> {
        let pid = self.process(of)?;
        // All of `/proc` is walked for it.
        let memory = tokio::task::spawn_blocking(move || group_memory(pid)).await;
        memory
            .ok()
            .flatten()
            .map(|bytes| bytes as f64)
            .ok_or_else(|| format!("the kernel doesn't tell the memory of {of}"))
    }

    async fn ask(&self, url: &str, timeout: Duration) -> Result<f64, String> {
        let call = Call {
            url: url.to_owned(),
            ..Call::default()
        };
        let answer = self.probes.caller().call(call, timeout).await;
        let answer = answer.map_err(|failure| format!("{url}: {failure}"))?;
        if !answer.is_success() {
            return Err(format!("{url}: {}", answer.summary()));
        }
        number(&answer.body).ok_or_else(|| format!("{url}: {} is no number", answer.summary()))
    }

    fn failures(&self, within: Duration, since: Option<SystemTime>) -> Result<f64, String> {
        let now = (self.clock)();
        let from = failures_from(within, since, now);
        let fared = self.cohort.fared(&CohortQuery {
            request_types: Vec::new(),
            from,
            until: now,
        });
        if fared.total() < LEAST_REQUESTS {
            return Err(format!(
                "{} requests in {} s are too few for a share",
                fared.total(),
                now.duration_since(from).unwrap_or_default().as_secs()
            ));
        }
        Ok(fared.bad as f64 / fared.total() as f64)
    }
}

/// From when on failures count: what the restart itself failed is not what it left behind.
fn failures_from(within: Duration, since: Option<SystemTime>, now: SystemTime) -> SystemTime {
    let from = now.checked_sub(within).unwrap_or(now);
    let warm = since.and_then(|since| since.checked_add(WARM_UP));
    warm.map_or(from, |warm| from.max(warm)).min(now)
}

/// The number that a text is.
fn number(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

impl Gauges for Readings {
    fn read<'a>(&'a self, gauge: &'a Gauge, life: Life) -> BoxFuture<'a, Result<f64, String>> {
        Box::pin(async move {
            match gauge {
                Gauge::Memory { of } => self.memory(of).await,
                Gauge::OpenFiles { of } => self.figure(of, |figures| figures.open_files).await,
                Gauge::ProcessorTime { of } => {
                    let used = self.figure(of, |figures| figures.cpu_ms).await;
                    used.map(|milliseconds| milliseconds / 1000.0)
                }
                Gauge::Heartbeat { unit, name } => {
                    self.board.read(unit, name, life, (self.clock)())
                }
                Gauge::Http { url, timeout } => self.ask(url, *timeout).await,
                Gauge::Failures { within } => self.failures(*within, life.since),
            }
        })
    }

    fn started(&self, unit: &UnitName) -> Option<SystemTime> {
        let children = self.supervisor.children();
        let child = children.into_iter().find(|child| child.unit == *unit)?;
        (child.phase == "running").then_some(child.since)
    }

    fn generation(&self, unit: &UnitName) -> Option<u64> {
        let children = self.supervisor.children();
        let child = children.into_iter().find(|child| child.unit == *unit)?;
        Some(child.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_heartbeat_told_is_believed_while_it_is_fresh() {
        let board = Board::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let read = |seconds| {
            board.read(
                &"a".into(),
                "heap",
                Life::default(),
                start + Duration::from_secs(seconds),
            )
        };
        assert_eq!(read(0), Err("no heartbeat of a has told heap".to_owned()));
        assert!(board.tell(&"a".into(), "heap", 7.0, None, start));
        assert!(!board.tell(&"a".into(), "heap", f64::NAN, None, start));
        assert_eq!(read(120), Ok(7.0));
        assert!(read(121).is_err());
        // A clock that was set back makes nothing old.
        assert_eq!(
            board.read(&"a".into(), "heap", Life::default(), SystemTime::UNIX_EPOCH),
            Ok(7.0)
        );
        for number in 0..2 * MAX_GAUGES {
            board.tell(&"b".into(), &number.to_string(), 1.0, None, start);
        }
        assert_eq!(board.told.lock().expect("whole").values.len(), MAX_GAUGES);
        assert!(!board.tell(&"c".into(), "heap", 1.0, None, start + FRESH));
        let later = start + FRESH + Duration::from_secs(1);
        assert!(board.tell(&"c".into(), "heap", 1.0, None, later));
        assert_eq!(board.told.lock().expect("whole").values.len(), 1);
    }

    #[test]
    fn what_was_told_or_failed_before_a_restart_is_not_of_this_life() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let board = Board::default();
        assert!(board.tell(&"a".into(), "heap", 900.0, None, at(100)));
        let life = Life {
            since: Some(at(110)),
            generation: Some(2),
        };
        let read = |now| board.read(&"a".into(), "heap", life, at(now));
        assert!(read(115).is_err());
        assert!(board.tell(&"a".into(), "heap", 100.0, None, at(130)));
        assert_eq!(read(131), Ok(100.0));
        // What the new life told while it came up counts, if it says that it is the new one.
        for (generation, counts) in [(None, false), (Some(1), false), (Some(2), true)] {
            assert!(board.tell(&"a".into(), "heap", 50.0, generation, at(105)));
            assert_eq!(read(131).is_ok(), counts, "{generation:?}");
        }

        let minute = Duration::from_secs(60);
        let warm = 110 + WARM_UP.as_secs();
        for (since, now, from) in [
            (None, 120, 60),
            (Some(110), 120, warm),
            (Some(110), 111, 111),
            (Some(110), 600, 540),
        ] {
            let from_then = failures_from(minute, since.map(at), at(now));
            assert_eq!(from_then, at(from), "{since:?} {now}");
        }
    }

    #[test]
    fn only_a_number_is_a_number() {
        for (text, expected) in [
            ("12", Some(12.0)),
            (" 1.5e3\n", Some(1500.0)),
            ("", None),
            ("12 MiB", None),
            ("NaN", None),
            ("inf", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
