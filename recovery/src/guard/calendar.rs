//! Is this an hour at which something may be restarted with nobody watching?
//!
//! Windows are of the week, in one fixed offset from UTC: no table of time zones decides, with last
//! year's rules, whether a shop is restarted on the morning the clocks change. A window that ends
//! before it begins goes on past midnight, and belongs to the day that it began on.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// The days' names, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const MINUTES_OF_DAY: u32 = 24 * 60;
const MINUTES_OF_WEEK: u32 = 7 * MINUTES_OF_DAY;
/// 1970-01-01 was a Thursday.
const FIRST_DAY: i64 = 3;

/// A part of some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The days that it begins on, Monday first.
    pub days: [bool; 7],
    /// When it begins, in minutes since midnight, below 1440.
    pub from: u32,
    /// When it ends; the next day's where it isn't after `from`.
    pub until: u32,
}

impl Window {
    /// Whether it holds at this minute of the week.
    fn holds(&self, minute: u32) -> bool {
        let length = match self.until > self.from {
            true => self.until - self.from,
            false => self.until + MINUTES_OF_DAY - self.from,
        };
        (0..7).zip(self.days).any(|(day, begins)| {
            let from = day * MINUTES_OF_DAY + self.from;
            let since = (minute + MINUTES_OF_WEEK - from % MINUTES_OF_WEEK) % MINUTES_OF_WEEK;
            begins && since < length
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = DAYS
            .into_iter()
            .zip(self.days)
            .filter_map(|(name, begins)| begins.then_some(name))
            .collect();
        let days = match days.len() {
            7 => "every day".to_owned(),
            _ => days.join(", "),
        };
        let (from, until) = (self.from, self.until);
        write!(
            f,
            "{days} {:02}:{:02} to {:02}:{:02}",
            from / 60,
            from % 60,
            until / 60,
            until % 60
        )
    }
}

/// When unattended restarts may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calendar {
    /// Ahead of UTC, in minutes.
    pub offset: i32,
    /// In these windows only; at any time where there is none.
    pub only: Vec<Window>,
    /// Not in these, whatever the others say.
    pub never: Vec<Window>,
}

impl Calendar {
    /// The minute of the week at this time, from Monday's midnight.
    fn minute(&self, at: SystemTime) -> u32 {
        let seconds = match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX / 2),
        };
        let minutes = seconds.div_euclid(60) + i64::from(self.offset);
        let of_week = minutes + FIRST_DAY * i64::from(MINUTES_OF_DAY);
        u32::try_from(of_week.rem_euclid(i64::from(MINUTES_OF_WEEK))).unwrap_or(0)
    }

    fn allows(&self, minute: u32) -> bool {
        let holds = |windows: &[Window]| windows.iter().any(|window| window.holds(minute));
        !holds(&self.never) && (self.only.is_empty() || holds(&self.only))
    }

    /// Why nothing may be restarted unattended now, and from when on it may; the time is `None` where
    /// no window ever opens.
    pub fn refuses(&self, now: SystemTime) -> Option<(String, Option<SystemTime>)> {
        let minute = self.minute(now);
        if self.allows(minute) {
            return None;
        }
        let (hours, minutes) = (self.offset.abs() / 60, self.offset.abs() % 60);
        let sign = if self.offset < 0 { '-' } else { '+' };
        let zone = format!("UTC{sign}{hours:02}:{minutes:02}");
        let words = match self.never.iter().find(|window| window.holds(minute)) {
            Some(window) => {
                format!("nothing is to be restarted unattended on {window} ({zone}), which is now")
            }
            None => {
                let windows: Vec<String> = self.only.iter().map(ToString::to_string).collect();
                format!(
                    "unattended restarts are for {} ({zone}), which is not now",
                    windows.join(" and ")
                )
            }
        };
        let opens =
            (1..=MINUTES_OF_WEEK).find(|ahead| self.allows((minute + ahead) % MINUTES_OF_WEEK));
        let until = opens.and_then(|ahead| {
            let into_minute = now
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() % 60);
            now.checked_add(Duration::from_secs(u64::from(ahead) * 60 - into_minute))
        });
        Some((words, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-21 was a Saturday.
    const SATURDAY: u64 = 1_795_219_200;

    fn at(day: u64, hour: u64, minute: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH
            + Duration::from_secs(SATURDAY + day * 86_400 + hour * 3600 + minute * 60)
    }

    fn window(days: &str, from: u32, until: u32) -> Window {
        Window {
            days: DAYS.map(|day| days.contains(day)),
            from: from * 60,
            until: until * 60,
        }
    }

    #[test]
    fn hours_of_the_week() {
        let office = window("mon tue wed thu fri", 9, 17);
        let night = window("fri sat", 22, 6);
        let whole = window("sun", 0, 0);
        let calendar = |offset, only: &[&Window], never: &[&Window]| Calendar {
            offset,
            only: only.iter().map(|window| (*window).clone()).collect(),
            never: never.iter().map(|window| (*window).clone()).collect(),
        };
        for (calendar, time, expected) in [
            (calendar(0, &[], &[]), at(0, 12, 0), None),
            (calendar(0, &[&office], &[]), at(2, 9, 0), None),
            (calendar(0, &[&office], &[]), at(2, 16, 59), None),
            // Monday 17:00: until Tuesday 9:00.
            (
                calendar(0, &[&office], &[]),
                at(2, 17, 0),
                Some(at(3, 9, 0)),
            ),
            // Saturday: until Monday.
            (
                calendar(0, &[&office], &[]),
                at(0, 12, 30),
                Some(at(2, 9, 0)),
            ),
            // An hour east of Greenwich the office opens at 8 UTC.
            (calendar(60, &[&office], &[]), at(2, 8, 0), None),
            (
                calendar(-60, &[&office], &[]),
                at(2, 9, 30),
                Some(at(2, 10, 0)),
            ),
            (calendar(0, &[], &[&night]), at(0, 23, 0), Some(at(1, 6, 0))),
            // Friday's night reaches into Saturday morning, Sunday's doesn't exist.
            (calendar(0, &[], &[&night]), at(0, 5, 59), Some(at(0, 6, 0))),
            (calendar(0, &[], &[&night]), at(2, 5, 0), None),
            (calendar(0, &[&office], &[&office]), at(2, 9, 0), None),
            (calendar(0, &[], &[&whole]), at(1, 0, 0), Some(at(2, 0, 0))),
        ] {
            let found = calendar.refuses(time);
            if calendar.only == calendar.never && !calendar.only.is_empty() {
                let (_, until) = found.expect("it never opens");
                assert_eq!(until, None);
                continue;
            }
            let until = found.map(|(_, until)| until.expect("it opens"));
            assert_eq!(until, expected, "{calendar:?} {time:?}");
        }
        let (words, _) = calendar(60, &[&office], &[])
            .refuses(at(0, 3, 0))
            .expect("refused");
        assert_eq!(
            words,
            "unattended restarts are for mon, tue, wed, thu, fri 09:00 to 17:00 (UTC+01:00), which is not now"
        );
    }

    proptest! {
        #[test]
        fn what_it_says_about_opening_is_true(
            offset in -720i32..=840, from in 0u32..1440, until in 0u32..1440, days in any::<[bool; 7]>(),
            never: bool, seconds in 0u64..604_800,
        ) {
            let window = Window { days, from, until };
            let calendar = match never {
                true => Calendar { offset, only: Vec::new(), never: vec![window] },
                false => Calendar { offset, only: vec![window], never: Vec::new() },
            };
            let now = at(0, 0, 0) + Duration::from_secs(seconds);
            if let Some((_, Some(opens))) = calendar.refuses(now) {
                prop_assert!(opens > now);
                prop_assert!(calendar.refuses(opens).is_none());
                prop_assert!(calendar.refuses(opens - Duration::from_secs(1)).is_some());
            }
        }
    }
}
