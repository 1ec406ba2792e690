//! A line's words, read one by one.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use jiff::SignedDuration;

use super::super::manner::Manner;
use super::super::reserve::Reserve;

/// No time in a story is longer: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// `400ms`, `4s`, `10m`, `2h`.
pub(super) fn duration(word: &str) -> Result<Duration, String> {
    let parsed: Option<SignedDuration> = word.parse().ok();
    parsed
        .and_then(|it| Duration::try_from(it).ok())
        .filter(|it| *it <= LONGEST)
        .ok_or_else(|| format!("{word} is no time; write 400ms, 4s, 10m or 2h"))
}

/// A line's words.
pub(super) struct Words<'a>(pub(super) SplitWhitespace<'a>);

impl<'a> Words<'a> {
    pub(super) fn next(&mut self) -> Option<&'a str> {
        self.0.next().map(|word| word.trim_end_matches(','))
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.0.clone().next()
    }

    /// Whether this is next, which is then behind us.
    pub(super) fn has(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            self.0.next();
        }
        is_next
    }

    pub(super) fn any(&mut self, what: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<(), String> {
        match self.next() {
            Some(next) if next == word => Ok(()),
            Some(next) => Err(format!("{next} stands where {word} should")),
            None => Err(format!("{word} is missing")),
        }
    }

    pub(super) fn end(&mut self) -> Result<(), String> {
        self.next().map_or(Ok(()), |word| {
            Err(format!("nothing may follow from {word} on"))
        })
    }

    pub(super) fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.any(what)?;
        word.parse().map_err(|_| format!("{word} is not {what}"))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, String> {
        duration(self.any("a time")?)
    }

    /// `plan 3`, where one is named.
    pub(super) fn plan(&mut self) -> Result<Option<u64>, String> {
        let is_named = self.has("plan");
        is_named.then(|| self.number("a plan's number")).transpose()
    }

    /// `+2h`, `-90s`, in seconds.
    pub(super) fn signed(&mut self) -> Result<i64, String> {
        let word = self.any("by how much the clock jumps")?;
        let by = duration(word.trim_start_matches(['+', '-']))?;
        if by.subsec_nanos() > 0 {
            return Err(format!("{word} is no whole number of seconds"));
        }
        let by = i64::try_from(by.as_secs()).map_err(|_| format!("{word} is too much"))?;
        Ok(if word.starts_with('-') { -by } else { by })
    }

    /// `80%`, as 0.8.
    pub(super) fn share(&mut self) -> Result<f64, String> {
        let word = self.any("a share")?;
        let number: Option<f64> = word.strip_suffix('%').and_then(|it| it.parse().ok());
        number
            .map(|it| it / 100.0)
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| format!("{word} is no share; write 80%"))
    }

    pub(super) fn manner(&mut self) -> Result<Manner, String> {
        let word = self.any("how it behaves")?;
        Manner::ALL
            .into_iter()
            .find(|manner| manner.to_string() == word)
            .ok_or_else(|| format!("{word} is none of {}", listed(Manner::ALL)))
    }

    pub(super) fn reserve(&mut self) -> Result<Reserve, String> {
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

fn listed<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    all.join(", ")
}
