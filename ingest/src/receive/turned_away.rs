//! Whose requests were not taken, and why?
//!
//! The counters say how many were refused. They don't say whose, and somebody whose every request is refused looks just
//! like somebody who has nothing to send. So the last few that were refused are remembered by where they came from and by
//! the reason: few enough to be read by a person, and bounded, since anybody can be refused. Whoever was refused
//! again and again is an exporter that somebody misses; strangers who knock once don't push it out.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::quota::Source;
use super::refusal::Class;

/// So many are remembered: more than anybody reads at once. Who isn't refused any more goes first, then who was refused
/// least often.
const REMEMBERED: usize = 16;

/// One source whose requests were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// The address that it connects from, or what else is known of it.
    pub who: String,
    /// Why.
    pub why: Class,
    /// How many requests since the first of them.
    pub requests: u64,
    /// When it was refused for the first time.
    pub since: SystemTime,
    /// When it was refused last.
    pub last: SystemTime,
}

/// Those that were refused of late.
#[derive(Debug, Default)]
pub(super) struct Remembered(Vec<(Source, TurnedAway)>);

impl Remembered {
    /// Remembers a refusal. One that comes after so long a pause that nobody waits any more begins a new count.
    pub(super) fn refused(&mut self, source: Source, why: Class, now: SystemTime) {
        let known = self.0.iter_mut().find(|(of, known)| {
            *of == source && known.why == why && known.is_recent(now, STILL_TURNED_AWAY)
        });
        if let Some((_, known)) = known {
            known.requests += 1;
            known.last = now;
            return;
        }
        self.0
            .retain(|(of, known)| *of != source || known.why != why);
        if self.0.len() >= REMEMBERED
            && let Some(least) = (0..self.0.len()).min_by_key(|index| {
                let known = &self.0[*index].1;
                let is_recent = known.is_recent(now, STILL_TURNED_AWAY);
                (is_recent, known.requests, known.last)
            })
        {
            self.0.remove(least);
        }
        let one = TurnedAway {
            who: source.to_string(),
            why,
            requests: 1,
            since: now,
            last: now,
        };
        self.0.push((source, one));
    }

    /// Those that still are refused, the latest first.
    pub(super) fn now(&self, now: SystemTime) -> Vec<TurnedAway> {
        let all = self.0.iter().map(|(_, one)| one);
        let mut recent: Vec<TurnedAway> = all
            .filter(|one| one.is_recent(now, STILL_TURNED_AWAY))
            .cloned()
            .collect();
        recent.sort_by_key(|one| std::cmp::Reverse(one.last));
        recent
    }
}

/// Whoever was refused within this time still is: exporters that are told to wait come again within 30 s, others with
/// their next spans, after 5 s mostly and a minute at most.
const STILL_TURNED_AWAY: Duration = Duration::from_secs(60);

impl TurnedAway {
    fn is_recent(&self, now: SystemTime, within: Duration) -> bool {
        now.duration_since(self.last)
            .is_ok_and(|since| since < within)
            // A clock that was set back makes nothing old.
            || now <= self.last
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Site(network) => write!(f, "the network {network}/48"),
            Self::Certificate(_) => f.write_str("someone with a client certificate"),
            Self::Token(_) => f.write_str("someone with a token"),
            Self::Others => f.write_str("one of many addresses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn from(number: u8) -> Source {
        Source::at(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn who_is_refused_is_known_for_as_long_as_it_is() {
        let mut remembered = Remembered::default();
        assert_eq!(remembered.now(at(0)), []);
        for second in [0, 20, 40] {
            remembered.refused(from(1), Class::OverRate, at(second));
        }
        remembered.refused(from(2), Class::Unauthorized, at(30));
        let told: Vec<(String, Class, u64)> = remembered
            .now(at(50))
            .into_iter()
            .map(|one| (one.who, one.why, one.requests))
            .collect();
        assert_eq!(
            told,
            [
                ("10.0.0.1".to_owned(), Class::OverRate, 3),
                ("10.0.0.2".to_owned(), Class::Unauthorized, 1)
            ]
        );
        // The second comes no more; the first begins anew after a long pause.
        assert_eq!(remembered.now(at(95)).len(), 1);
        assert_eq!(remembered.now(at(200)), []);
        remembered.refused(from(1), Class::OverRate, at(300));
        let told = remembered.now(at(300));
        assert_eq!(
            (told.len(), told[0].requests, told[0].since),
            (1, 1, at(300))
        );
    }

    #[test]
    fn strangers_don_t_fill_it() {
        let mut remembered = Remembered::default();
        // An exporter that comes every five seconds, among strangers who come once.
        for number in 0..200u8 {
            remembered.refused(from(number), Class::Malformed, at(number.into()));
            if number % 5 == 0 {
                remembered.refused(from(250), Class::Unauthorized, at(number.into()));
            }
        }
        assert_eq!(remembered.0.len(), REMEMBERED);
        let told = remembered.now(at(200));
        assert_eq!(told[0].who, "10.0.0.199");
        let exporter = told.iter().find(|one| one.who == "10.0.0.250");
        assert_eq!(exporter.map(|one| one.requests), Some(40));
        // Once it is gone for good, its place is somebody else's.
        for number in 0..100u8 {
            remembered.refused(from(number), Class::Malformed, at(300 + u64::from(number)));
        }
        let told = remembered.now(at(399));
        assert!(told.iter().all(|one| one.who != "10.0.0.250"));
    }
}
