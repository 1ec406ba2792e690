//! In which folder does a span lie?
//!
//! In that of the hour in which its request was received (`date=2026-11-21/hour=10`, UTC), as Hive and whoever learned
//! from it name folders, so that DuckDB, polars and Spark skip the hours that nobody asks for. Not in that of its own
//! time: that comes from outside, and one host with a wrong clock would make a folder for every span.

use rekindle_model::UnixNanos;

const HOUR_SECONDS: u64 = 3600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

/// An hour, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hour(u64);

impl Hour {
    pub(crate) fn of(at: UnixNanos) -> Self {
        Self(at.0 / 1_000_000_000 / HOUR_SECONDS)
    }

    /// When it is over.
    pub(crate) fn end(self) -> UnixNanos {
        UnixNanos::from_secs((self.0 + 1).saturating_mul(HOUR_SECONDS))
    }

    /// Its folder.
    pub(crate) fn folder(self) -> String {
        let (year, month, day) = date(self.0 * HOUR_SECONDS / DAY_SECONDS);
        let hour = self.0 % 24;
        format!("date={year:04}-{month:02}-{day:02}/hour={hour:02}")
    }

    /// The hour whose folder a file lies in.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let date = parts.next()?.strip_prefix("date=")?;
        let hour: u64 = parts.next()?.strip_prefix("hour=")?.parse().ok()?;
        let mut numbers = date.splitn(3, '-').map(str::parse::<u64>);
        let (year, month, day) = (
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
        );
        let sound = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24;
        sound.then(|| Self(days(year, month, day) * 24 + hour))
    }
}

/// Year, month and day of a day counted from 1970, after Howard Hinnant's `civil_from_days` for days that aren't
/// negative: years begin in March, so that the leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`date`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let era = year / 400;
    let year_of_era = year % 400;
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hours_have_folders() {
        for (seconds, folder) in [
            (0, "date=1970-01-01/hour=00"),
            (951_827_696, "date=2000-02-29/hour=12"),
            (1_795_255_800, "date=2026-11-21/hour=10"),
            (4_102_444_799, "date=2099-12-31/hour=23"),
        ] {
            assert_eq!(Hour::of(UnixNanos::from_secs(seconds)).folder(), folder);
        }
        for path in [
            "x",
            "date=2026-11-21/x",
            "date=2026-13-21/hour=10/a",
            "date=2026-11-21/hour=24/a",
        ] {
            assert_eq!(Hour::of_path(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn folders_are_read_back(nanos: u64) {
            let hour = Hour::of(UnixNanos(nanos));
            prop_assert_eq!(Hour::of_path(&format!("{}/a.parquet", hour.folder())), Some(hour));
            prop_assert!(hour.end().0 > nanos || hour.end().0 == u64::MAX);
        }
    }
}
