//! Does a unit keep within the bounds that its own figures must keep to?
//!
//! Some faults show in no request yet: a process that fills its memory, opens files and closes none,
//! spins, or takes work and finishes none of it. Each [`Watch`] says what is read and what is out of
//! bounds; only what stays out of bounds for a while is a fault, since one reading is a burst. What can't be
//! read is neither well nor sick, and what a former life told says nothing about this one.

pub mod watcher;

use std::time::{Duration, SystemTime};

use crate::rejuvenate::Gauge;

pub use watcher::{Look, Watcher};

/// Two looks closer together than this make no rate: the kernel counts processor time in hundredths of a
/// second, so that over less it is off by a tenth and more.
const LEAST_BETWEEN: Duration = Duration::from_millis(100);

/// One thing that a unit must keep to.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// What is out of bounds.
    pub bound: Bound,
    /// How long it must stay so.
    pub lasts: Duration,
}

/// What is out of bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// A number above its limit: memory, open files.
    Above {
        /// What is read.
        gauge: Gauge,
        /// The most that it may be.
        limit: f64,
    },
    /// A number that grows faster than this per second: processor time, where 1 is one processor.
    Grows {
        /// What is read.
        gauge: Gauge,
        /// The most that it may grow in a second.
        limit: f64,
    },
    /// A number that stops moving, though it is told: work that is done, a place in a queue.
    Still {
        /// What is read.
        gauge: Gauge,
    },
    /// So many more calls begun than finished.
    Unfinished {
        /// Counts what was begun.
        begun: Gauge,
        /// Counts what was finished.
        finished: Gauge,
        /// The most that may be under way.
        limit: f64,
    },
}

impl Bound {
    /// What is read for it.
    pub fn gauges(&self) -> impl Iterator<Item = &Gauge> {
        let (gauge, other) = match self {
            Self::Above { gauge, .. } | Self::Grows { gauge, .. } | Self::Still { gauge } => {
                (gauge, None)
            }
            Self::Unfinished {
                begun, finished, ..
            } => (begun, Some(finished)),
        };
        std::iter::once(gauge).chain(other)
    }

    /// What is looked at, for people.
    pub fn what(&self) -> String {
        match self {
            Self::Above { gauge, .. } | Self::Grows { gauge, .. } | Self::Still { gauge } => {
                gauge.words()
            }
            Self::Unfinished {
                begun, finished, ..
            } => format!("{}, less {}", begun.words(), finished.words()),
        }
    }

    /// What it must keep to, for people.
    pub fn limit(&self) -> String {
        match self {
            Self::Above { gauge, limit } => format!("at most {}", gauge.show(*limit)),
            Self::Grows { gauge, limit } => format!("at most {} a second", gauge.show(*limit)),
            Self::Still { .. } => "must move".to_owned(),
            Self::Unfinished { limit, .. } => format!("at most {limit}"),
        }
    }

    /// Whether somebody other than the unit itself says so: the kernel, or the answer to a question of
    /// ours. What a unit tells in heartbeats, anybody who reaches the API could have told.
    pub fn is_proof(&self) -> bool {
        !self
            .gauges()
            .any(|gauge| matches!(gauge, Gauge::Heartbeat { .. }))
    }
}

/// How a unit stands to one of its watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can't be read, or not often enough yet.
    Unknown,
    /// Within bounds.
    Within,
    /// Out of bounds, but not for long enough.
    Leaning,
    /// Out of bounds for too long, in words for people.
    Beyond(String),
}

/// What was read: one number, or of calls what was begun and what was finished.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The number.
    pub value: f64,
    /// What was finished of it, for [`Bound::Unfinished`].
    pub finished: f64,
}

/// What is remembered between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    last: Option<(f64, SystemTime)>,
    out_since: Option<SystemTime>,
    life: Option<SystemTime>,
    shown: Option<(String, SystemTime)>,
}

impl Watched {
    /// What was measured last in this life, for people, and when; `None` before there is anything.
    pub fn measured(&self) -> Option<(&str, SystemTime)> {
        let (value, at) = self.shown.as_ref()?;
        Some((value, *at))
    }

    /// Since when it is out of bounds.
    pub fn out_since(&self) -> Option<SystemTime> {
        self.out_since
    }

    /// Looks once. `life` is when the unit's present life began, where that is known.
    pub fn look(
        &mut self,
        watch: &Watch,
        reading: Option<Reading>,
        life: Option<SystemTime>,
        now: SystemTime,
    ) -> Standing {
        if self.life != life {
            *self = Self {
                life,
                ..Self::default()
            };
        }
        let Some(reading) = reading else {
            // What wasn't seen in between may have been within bounds.
            self.last = None;
            self.out_since = None;
            return Standing::Unknown;
        };
        let between = |at| now.duration_since(at).unwrap_or_default();
        if matches!(watch.bound, Bound::Grows { .. })
            && let Some((_, at)) = self.last
            && now >= at
            && between(at) < LEAST_BETWEEN
        {
            return Standing::Unknown;
        }
        let last = self.last.replace((reading.value, now));
        let (out_from, value, words) = match &watch.bound {
            Bound::Above { gauge, limit } => {
                let value = gauge.show(reading.value);
                let words = format!("{} is {value}, above {}", gauge.words(), gauge.show(*limit));
                ((reading.value > *limit).then_some(now), value, words)
            }
            Bound::Grows { gauge, limit } => {
                let Some((before, at)) = last else {
                    return Standing::Unknown;
                };
                let seconds = between(at).as_secs_f64();
                // A process of the group that ended takes its time with it.
                if seconds <= 0.0 || reading.value < before {
                    self.out_since = None;
                    return Standing::Unknown;
                }
                let rate = (reading.value - before) / seconds;
                let value = format!("{} a second", gauge.show(rate));
                let words = format!(
                    "{} grows by {value}, more than {}",
                    gauge.words(),
                    gauge.show(*limit)
                );
                ((rate > *limit).then_some(at), value, words)
            }
            Bound::Still { gauge } => {
                let Some((before, at)) = last else {
                    return Standing::Unknown;
                };
                let is_still = before.to_bits() == reading.value.to_bits();
                let value = gauge.show(reading.value);
                let words = format!("{} stands still at {value}", gauge.words());
                (is_still.then_some(at), value, words)
            }
            Bound::Unfinished { begun, limit, .. } => {
                let under_way = reading.value - reading.finished;
                let words = format!(
                    "of {}, {under_way} are unfinished, more than {limit}",
                    begun.words()
                );
                (
                    (under_way > *limit).then_some(now),
                    under_way.to_string(),
                    words,
                )
            }
        };
        self.shown = Some((value, now));
        let Some(out_from) = out_from else {
            self.out_since = None;
            return Standing::Within;
        };
        let since = *self.out_since.get_or_insert(out_from);
        // A clock that was set back makes nothing last.
        let lasted = between(since);
        if lasted >= watch.lasts {
            Standing::Beyond(format!("{words}, for {} s", lasted.as_secs()))
        } else {
            Standing::Leaning
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: &str = "unknown";
    const WITHIN: &str = "within";
    const LEANING: &str = "leaning";

    fn heartbeat(name: &str) -> Gauge {
        Gauge::Heartbeat {
            unit: "a".into(),
            name: name.to_owned(),
        }
    }

    /// A reading a second; each is followed by what is to be said. `None` can't be read.
    fn check(bound: &Bound, looks: &[(Option<(f64, f64)>, &str)]) {
        let watch = Watch {
            bound: bound.clone(),
            lasts: Duration::from_secs(2),
        };
        let mut watched = Watched::default();
        for (second, (reading, expected)) in looks.iter().enumerate() {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + second as u64);
            let reading = reading.map(|(value, finished)| Reading { value, finished });
            let said = match watched.look(&watch, reading, None, now) {
                Standing::Unknown => UNKNOWN.to_owned(),
                Standing::Within => WITHIN.to_owned(),
                Standing::Leaning => LEANING.to_owned(),
                Standing::Beyond(words) => words,
            };
            assert_eq!(said, *expected, "{bound:?} at {second}: {looks:?}");
        }
    }

    #[test]
    fn only_what_stays_out_of_bounds_is_beyond() {
        let mebibytes = |count: f64| Some((count * 1_048_576.0, 0.0));
        let memory = Bound::Above {
            gauge: Gauge::Memory { of: "a".into() },
            limit: 1_048_576.0 * 100.0,
        };
        let words = "the memory of a is 150 MiB, above 100 MiB, for 2 s";
        check(
            &memory,
            &[
                (mebibytes(100.0), WITHIN),
                (mebibytes(150.0), LEANING),
                (mebibytes(50.0), WITHIN),
                (mebibytes(150.0), LEANING),
                (mebibytes(120.0), LEANING),
                (mebibytes(150.0), words),
                (mebibytes(99.0), WITHIN),
            ],
        );
        // A gap is no evidence of what was in it.
        check(
            &memory,
            &[
                (mebibytes(150.0), LEANING),
                (None, UNKNOWN),
                (mebibytes(150.0), LEANING),
                (mebibytes(150.0), LEANING),
                (mebibytes(150.0), words),
            ],
        );
        let spins = Bound::Grows {
            gauge: Gauge::ProcessorTime { of: "a".into() },
            limit: 0.9,
        };
        let used = |seconds: f64| Some((seconds, 0.0));
        check(
            &spins,
            &[
                (used(50.0), UNKNOWN),
                (used(50.5), WITHIN),
                (used(51.5), LEANING),
                (
                    used(52.5),
                    "the processor time of a grows by 1.00 s a second, more than 0.90 s, for 2 s",
                ),
                // A child that ended took its time with it.
                (used(10.0), UNKNOWN),
                (used(11.0), LEANING),
            ],
        );
    }

    #[test]
    fn a_look_right_after_another_makes_no_rate_and_forgets_nothing() {
        let watch = Watch {
            bound: Bound::Grows {
                gauge: Gauge::ProcessorTime { of: "a".into() },
                limit: 0.9,
            },
            lasts: Duration::from_secs(2),
        };
        let mut watched = Watched::default();
        let mut look = |millis, value| {
            let reading = Some(Reading {
                value,
                finished: 0.0,
            });
            let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            watched.look(&watch, reading, None, now)
        };
        assert_eq!(look(10_000, 1.0), Standing::Unknown);
        assert_eq!(look(11_000, 2.0), Standing::Leaning);
        // The count hasn't moved yet.
        assert_eq!(look(11_003, 2.0), Standing::Unknown);
        assert!(matches!(look(12_000, 3.0), Standing::Beyond(_)));
    }

    #[test]
    fn work_that_stops_is_seen_and_no_news_is_not_standing_still() {
        let told = |value: f64| Some((value, 0.0));
        let still = Bound::Still {
            gauge: heartbeat("done"),
        };
        check(
            &still,
            &[
                (told(7.0), UNKNOWN),
                (told(8.0), WITHIN),
                (told(8.0), LEANING),
                (told(8.0), "done of a stands still at 8, for 2 s"),
                (told(9.0), WITHIN),
                (None, UNKNOWN),
                (told(9.0), UNKNOWN),
            ],
        );
        let unfinished = Bound::Unfinished {
            begun: heartbeat("begun"),
            finished: heartbeat("finished"),
            limit: 5.0,
        };
        check(
            &unfinished,
            &[
                (Some((10.0, 5.0)), WITHIN),
                (Some((12.0, 5.0)), LEANING),
                (Some((14.0, 5.0)), LEANING),
                (
                    Some((16.0, 6.0)),
                    "of begun of a, 10 are unfinished, more than 5, for 2 s",
                ),
                (Some((16.0, 16.0)), WITHIN),
            ],
        );
        assert!(!unfinished.is_proof() && !still.is_proof());
    }

    #[test]
    fn a_new_life_begins_anew_and_a_clock_set_back_makes_nothing_last() {
        let watch = Watch {
            bound: Bound::Above {
                gauge: heartbeat("x"),
                limit: 1.0,
            },
            lasts: Duration::from_secs(1),
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let high = Some(Reading {
            value: 2.0,
            finished: 0.0,
        });
        let mut watched = Watched::default();
        let mut look = |life, now| watched.look(&watch, high, Some(at(life)), at(now));
        assert_eq!(look(1, 10), Standing::Leaning);
        assert!(matches!(look(1, 11), Standing::Beyond(_)));
        assert_eq!(look(12, 12), Standing::Leaning);
        assert_eq!(look(12, 3), Standing::Leaning);
    }
}
