//! A point in time as people and programs are shown it: RFC 3339, UTC, milliseconds.
//!
//! Milliseconds since the epoch inside, because that is what the exporters' clocks are worth, and
//! because two snapshots of one moment must be written alike.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rekindle_model::UnixNanos;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch; written as `2026-08-01T09:30:00.250Z`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(u64);

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time: expected RFC 3339, as in 2026-08-01T09:30:00.250Z")]
pub struct ParseTimeError {
    text: String,
}

impl UtcTime {
    /// From whole milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time of day, `09:30:00`: enough beside a chart or in a table of recent things.
    pub fn clock(self) -> String {
        let seconds = self.0 / 1000 % 86_400;
        format!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

impl From<SystemTime> for UtcTime {
    /// A time before 1970 becomes the epoch.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<UnixNanos> for UtcTime {
    fn from(time: UnixNanos) -> Self {
        Self(time.as_millis())
    }
}

impl From<UtcTime> for SystemTime {
    fn from(time: UtcTime) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = i64::try_from(self.0)
            .ok()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .unwrap_or(jiff::Timestamp::MAX);
        f.pad(&format!("{timestamp:.3}"))
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UtcTime {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(|timestamp| u64::try_from(timestamp.as_millisecond()).ok())
            .map(Self)
            .ok_or_else(|| ParseTimeError {
                text: text.to_owned(),
            })
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_milliseconds_and_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_785_576_600_250, "2026-08-01T09:30:00.250Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(UtcTime::from_millis(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(UtcTime::from_millis(millis)));
        }
        let offset: UtcTime = "2026-08-01T11:30:00.25+02:00".parse().expect("a time");
        assert_eq!(offset.to_string(), "2026-08-01T09:30:00.250Z");
        assert_eq!(offset.clock(), "09:30:00");
    }

    #[test]
    fn says_what_is_no_time() {
        let error = "soon".parse::<UtcTime>().expect_err("no time");
        assert_eq!(
            error.to_string(),
            "\"soon\" is no time: expected RFC 3339, as in 2026-08-01T09:30:00.250Z"
        );
        assert!("1969-12-31T23:59:59Z".parse::<UtcTime>().is_err());
    }

    #[test]
    fn a_far_future_does_not_panic() {
        assert!(
            UtcTime::from_millis(u64::MAX)
                .to_string()
                .starts_with("9999-")
        );
    }
}
