//! What calls for a preventive restart, and of whom: one rule as configured.
//!
//! Microrejuvenation (OSDI 2004) reads free memory, and restarts parts of a process until enough of it
//! is free. Here any number that can be read will do, and so will age, or nothing but chance.

use std::time::Duration;

use crate::{RestartTree, UnitName};

/// How often a gauge is read when nobody says so. A leak that fills the memory takes minutes at least.
pub const DEFAULT_EVERY: Duration = Duration::from_secs(10);

/// How long after a restart its gauge is read when nobody says so: allocators and collectors give
/// back with a delay of their own, mostly below a second.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(5);

/// How long is waited after a roll that wasn't enough, when nobody says so: what is restarted over and
/// over isn't helped by it, and a person has been told.
pub const DEFAULT_REST: Duration = Duration::from_secs(600);

/// The part of an age limit that jitter may take off when nobody says so, so that units that were
/// started together aren't restarted together.
pub const DEFAULT_JITTER: f64 = 0.1;

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, for people.
    pub name: String,
    /// The units that may be restarted for it, in the order in which they are tried at first.
    pub units: Vec<UnitName>,
    /// What calls for restarts.
    pub trigger: Trigger,
    /// How often is looked.
    pub every: Duration,
    /// How long a gauge is given to show what a restart gave back.
    pub settle: Duration,
    /// The wait after a roll that wasn't enough.
    pub rest: Duration,
    /// In which order units are restarted.
    pub order: Order,
}

/// In which order units are restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By what each gave back.
    #[default]
    Learned,
    /// As they are written.
    AsWritten,
}

/// What calls for restarts.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// A number that passed its alarm level, until it is back at the sufficient one.
    Gauge {
        /// What is read.
        gauge: Gauge,
        /// Its levels.
        levels: Levels,
    },
    /// Each unit on its own, when it is so old.
    Age {
        /// The oldest that a unit may become.
        at_most: Duration,
        /// The part of that, in `[0, 1)`, by which a unit's limit may be shorter.
        jitter: f64,
    },
    /// Any of the units, now and then: exponentially distributed pauses.
    Random {
        /// The mean pause.
        every: Duration,
    },
}

/// A number that can be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Gauge {
    /// The resident memory of a supervised process and all that it started, in bytes.
    Memory {
        /// The unit whose process it is.
        of: UnitName,
    },
    /// The open files, sockets included, of a supervised process and all that it started.
    OpenFiles {
        /// The unit whose process it is.
        of: UnitName,
    },
    /// The processor time that a supervised process and all that it started have used, in seconds.
    ProcessorTime {
        /// The unit whose process it is.
        of: UnitName,
    },
    /// What a unit last said in a heartbeat.
    Heartbeat {
        /// The unit.
        unit: UnitName,
        /// The gauge's name in its heartbeats.
        name: String,
    },
    /// The number that a URL answers with.
    Http {
        /// What to get.
        url: String,
        /// How long the answer may take.
        timeout: Duration,
    },
    /// The share of all users' requests that failed lately, in `[0, 1]`.
    Failures {
        /// How far back is looked.
        within: Duration,
    },
}

impl Gauge {
    /// What it is, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Memory { of } => format!("the memory of {of}"),
            Self::OpenFiles { of } => format!("the number of open files of {of}"),
            Self::ProcessorTime { of } => format!("the processor time of {of}"),
            Self::Heartbeat { unit, name } => format!("{name} of {unit}"),
            Self::Http { url, .. } => format!("the number at {url}"),
            Self::Failures { .. } => "the share of failed requests".to_owned(),
        }
    }

    /// A reading with its unit, for people.
    pub fn show(&self, reading: f64) -> String {
        match self {
            Self::Memory { .. } => format!("{:.0} MiB", reading / 1_048_576.0),
            Self::Failures { .. } => format!("{:.1} %", 100.0 * reading),
            Self::ProcessorTime { .. } => format!("{reading:.2} s"),
            _ => format!("{reading}"),
        }
    }
}

/// Where a gauge gives the alarm, and where it is well again. Memory in use rises to its alarm, free
/// memory falls to it: which of the two it is follows from the levels' order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// From here on something is done …
    pub alarm: f64,
    /// … until it is here. Never equal to the alarm.
    pub sufficient: f64,
}

impl Levels {
    /// Where a reading is.
    pub fn of(self, reading: f64) -> Level {
        let rising = self.alarm > self.sufficient;
        let beyond = |limit: f64| {
            if rising {
                reading >= limit
            } else {
                reading <= limit
            }
        };
        if !reading.is_finite() {
            Level::Unknown
        } else if beyond(self.alarm) {
            Level::Alarm
        } else if beyond(self.sufficient) && !is_at(reading, self.sufficient) {
            Level::Between
        } else {
            Level::Sufficient
        }
    }

    /// By how much the second reading is better than the first.
    pub fn gained(self, before: f64, after: f64) -> f64 {
        if self.alarm > self.sufficient {
            before - after
        } else {
            after - before
        }
    }

    /// What a restart must give back to be worth doing first: with a tenth of the way between the
    /// levels, ten of its kind make one roll.
    pub fn worth(self) -> f64 {
        0.1 * (self.alarm - self.sufficient).abs()
    }
}

/// Exactly there: levels are written by people, and readings are compared with what they wrote.
fn is_at(reading: f64, level: f64) -> bool {
    reading.total_cmp(&level).is_eq()
}

/// Where a gauge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It can't be read. That is no reason to restart anything.
    Unknown,
    /// Well.
    Sufficient,
    /// Neither: a roll goes on, and none begins.
    Between,
    /// Something must be done.
    Alarm,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It could restart nothing.
    #[error("names no unit that could be restarted")]
    NoUnits,
    /// There is no such unit.
    #[error("there is no unit {unit}")]
    NoSuchUnit {
        /// The name.
        unit: UnitName,
    },
    /// A unit is there twice.
    #[error("names {unit} twice")]
    Twice {
        /// The unit.
        unit: UnitName,
    },
    /// Memory of what Rekindle doesn't supervise.
    #[error(
        "{unit} is no `process` that Rekindle starts, so its memory can't be read; use `number` \
         or `heartbeat`"
    )]
    NoProcess {
        /// The unit.
        unit: UnitName,
    },
    /// The levels are one.
    #[error("alarm and sufficient are the same, so a roll would have no end or no beginning")]
    SameLevels,
}

impl Rule {
    /// Whether it makes sense for this tree.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, tree: &RestartTree) -> Result<(), RuleError> {
        if self.units.is_empty() {
            return Err(RuleError::NoUnits);
        }
        self.names_units(|unit| tree.spec(unit).is_some())?;
        for (place, unit) in self.units.iter().enumerate() {
            if self.units[..place].contains(unit) {
                let unit = unit.clone();
                return Err(RuleError::Twice { unit });
            }
        }
        if let Trigger::Gauge { gauge, levels } = &self.trigger {
            if let Gauge::Memory { of } = gauge
                && !tree.spec(of).is_some_and(|spec| {
                    matches!(spec.executor, Some(crate::ExecutorSpec::Process(_)))
                })
            {
                return Err(RuleError::NoProcess { unit: of.clone() });
            }
            if is_at(levels.alarm, levels.sufficient) {
                return Err(RuleError::SameLevels);
            }
        }
        Ok(())
    }

    /// Whether there are all units that it names: all that can be asked of a list that is no tree.
    ///
    /// # Errors
    /// The first that there isn't.
    pub fn names_units(&self, is_unit: impl Fn(&UnitName) -> bool) -> Result<(), RuleError> {
        let named = match &self.trigger {
            Trigger::Gauge {
                gauge: Gauge::Memory { of: unit } | Gauge::Heartbeat { unit, .. },
                ..
            } => Some(unit),
            _ => None,
        };
        match self.units.iter().chain(named).find(|unit| !is_unit(unit)) {
            Some(unit) => Err(RuleError::NoSuchUnit { unit: unit.clone() }),
            None => Ok(()),
        }
    }

    /// The levels, where there are any.
    pub fn levels(&self) -> Option<Levels> {
        match &self.trigger {
            Trigger::Gauge { levels, .. } => Some(*levels),
            Trigger::Age { .. } | Trigger::Random { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_work_for_what_rises_and_for_what_falls() {
        let used = Levels {
            alarm: 800.0,
            sufficient: 500.0,
        };
        let free = Levels {
            alarm: 200.0,
            sufficient: 500.0,
        };
        for (levels, reading, expected) in [
            (used, 800.0, Level::Alarm),
            (used, 799.0, Level::Between),
            (used, 501.0, Level::Between),
            (used, 500.0, Level::Sufficient),
            (used, 0.0, Level::Sufficient),
            (used, f64::NAN, Level::Unknown),
            (used, f64::INFINITY, Level::Unknown),
            (free, 200.0, Level::Alarm),
            (free, 0.0, Level::Alarm),
            (free, 201.0, Level::Between),
            (free, 500.0, Level::Sufficient),
            (free, 900.0, Level::Sufficient),
        ] {
            assert_eq!(levels.of(reading), expected, "{levels:?} at {reading}");
        }
        assert!((used.gained(800.0, 600.0) - 200.0).abs() < 1e-9);
        assert!((free.gained(200.0, 400.0) - 200.0).abs() < 1e-9);
    }
}
