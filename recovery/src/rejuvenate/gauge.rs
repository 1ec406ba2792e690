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
use crate::process::{Supervisor, group_memory};
use crate::{Cohort, CohortQuery, UnitName};

/// How long what a heartbeat said is believed: several of the usual periods, and less than a leak
/// takes to matter.
const FRESH: Duration = Duration::from_secs(120);
/// Gauges that heartbeats may fill; more are a program run wild.
const MAX_GAUGES: usize = 10_000;
/// Below so many requests a share of failures is no share.
const LEAST_REQUESTS: u64 = 20;

/// Somebody who can read gauges. The daemon's is [`Readings`]; tests and simulations bring their own.
pub trait Gauges: Send + Sync {
    /// Reads it once.
    ///
    /// # Errors
    /// Why it can't be read, in words for people.
    fn read<'a>(&'a self, gauge: &'a Gauge) -> BoxFuture<'a, Result<f64, String>>;

    /// When the unit's present life began, where that is known.
    fn started(&self, unit: &UnitName) -> Option<SystemTime> {
        let _ = unit;
        None
    }
}

/// What units said about themselves: a gauge's last value and when it was told.
#[derive(Debug, Default)]
pub struct Board {
    told: Mutex<BTreeMap<(UnitName, String), (f64, SystemTime)>>,
}

impl Board {
    /// Remembers a value. What is no number, or one gauge too many, is not remembered: `false`.
    pub fn tell(&self, unit: &UnitName, name: &str, value: f64, now: SystemTime) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (unit.clone(), name.to_owned());
        if !value.is_finite() || (told.len() >= MAX_GAUGES && !told.contains_key(&key)) {
            return false;
        }
        told.insert(key, (value, now));
        true
    }

    /// The last value, if it is fresh.
    ///
    /// # Errors
    /// That nobody has told it, or not lately.
    pub fn read(&self, unit: &UnitName, name: &str, now: SystemTime) -> Result<f64, String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((value, at)) = told.get(&(unit.clone(), name.to_owned())) else {
            return Err(format!("no heartbeat of {unit} has told {name}"));
        };
        match now.duration_since(*at) {
            Ok(age) if age > FRESH => Err(format!(
                "{unit} told {name} last {} s ago, which is too long",
                age.as_secs()
            )),
            _ => Ok(*value),
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
    fn memory(&self, of: &UnitName) -> Result<f64, String> {
        let children = self.supervisor.children();
        let pid = children
            .iter()
            .find(|child| child.unit == *of && child.phase == "running")
            .and_then(|child| child.pid)
            .ok_or_else(|| format!("no process of {of} is running"))?;
        group_memory(pid)
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

    fn failures(&self, within: Duration) -> Result<f64, String> {
        let now = (self.clock)();
        let fared = self.cohort.fared(&CohortQuery {
            request_types: Vec::new(),
            from: now.checked_sub(within).unwrap_or(now),
            until: now,
        });
        if fared.total() < LEAST_REQUESTS {
            return Err(format!(
                "{} requests in {} s are too few for a share",
                fared.total(),
                within.as_secs()
            ));
        }
        Ok(fared.bad as f64 / fared.total() as f64)
    }
}

/// The number that a text is.
fn number(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

impl Gauges for Readings {
    fn read<'a>(&'a self, gauge: &'a Gauge) -> BoxFuture<'a, Result<f64, String>> {
        Box::pin(async move {
            match gauge {
                Gauge::Memory { of } => self.memory(of),
                Gauge::Heartbeat { unit, name } => self.board.read(unit, name, (self.clock)()),
                Gauge::Http { url, timeout } => self.ask(url, *timeout).await,
                Gauge::Failures { within } => self.failures(*within),
            }
        })
    }

    fn started(&self, unit: &UnitName) -> Option<SystemTime> {
        let children = self.supervisor.children();
        let child = children.into_iter().find(|child| child.unit == *unit)?;
        (child.phase == "running").then_some(child.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_heartbeat_told_is_believed_while_it_is_fresh() {
        let board = Board::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let read = |seconds| board.read(&"a".into(), "heap", start + Duration::from_secs(seconds));
        assert_eq!(read(0), Err("no heartbeat of a has told heap".to_owned()));
        assert!(board.tell(&"a".into(), "heap", 7.0, start));
        assert!(!board.tell(&"a".into(), "heap", f64::NAN, start));
        assert_eq!(read(120), Ok(7.0));
        assert!(read(121).is_err());
        // A clock that was set back makes nothing old.
        assert_eq!(
            board.read(&"a".into(), "heap", SystemTime::UNIX_EPOCH),
            Ok(7.0)
        );
        for number in 0..2 * MAX_GAUGES {
            board.tell(&"b".into(), &number.to_string(), 1.0, start);
        }
        let told = board.told.lock().expect("whole");
        assert_eq!(told.len(), MAX_GAUGES);
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
