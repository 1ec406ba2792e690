//! Does an answer hold with fewer traces, or with other ones of the same fault?
//!
//! A ranking that is right on a whole recording may hang on a few of its traces. So the same case is asked
//! again with a part of them: every so many'th, which is what a sampler leaves, or one half of the time
//! before or with the fault. Halves go by when traces began, so that each is a stretch as somebody would have
//! recorded it who came earlier or left later.

use std::num::NonZeroU64;
use std::str::FromStr;

use rekindle_model::Trace;

use crate::public::LabelledTraces;

/// Which part of a stretch of time is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stretch {
    /// All of it.
    #[default]
    Whole,
    /// The traces that began first, half of them.
    FirstHalf,
    /// The other half.
    SecondHalf,
}

/// A word that names no stretch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no stretch is called {word:?}; there are whole, first-half and second-half")]
pub struct UnknownStretch {
    word: String,
}

impl FromStr for Stretch {
    type Err = UnknownStretch;

    fn from_str(word: &str) -> Result<Self, UnknownStretch> {
        match word {
            "whole" => Ok(Self::Whole),
            "first-half" => Ok(Self::FirstHalf),
            "second-half" => Ok(Self::SecondHalf),
            _ => Err(UnknownStretch {
                word: word.to_owned(),
            }),
        }
    }
}

/// What of each case is kept; by default everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excerpt {
    /// Of so many traces only one is kept; `None`: all are.
    pub one_in: Option<NonZeroU64>,
    /// Which of them: 0 keeps the last of so many, 1 the one before, and so on.
    pub offset: u64,
    /// Of the time before the fault.
    pub baseline: Stretch,
    /// Of the time with it.
    pub window: Stretch,
}

impl Excerpt {
    /// Keeps what is asked for.
    pub(super) fn cut(&self, traces: &mut LabelledTraces) {
        let parts = [
            (&mut traces.baseline, self.baseline),
            (&mut traces.window, self.window),
        ];
        for (part, stretch) in parts {
            halve(part, stretch, began);
            if let Some(one_in) = self.one_in {
                thin(part, one_in, self.offset);
            }
        }
    }
}

fn began(trace: &Trace) -> u64 {
    let starts = trace.spans().iter().map(|span| span.start.0);
    starts.min().unwrap_or(0)
}

fn halve<T>(traces: &mut Vec<T>, stretch: Stretch, began: impl Fn(&T) -> u64) {
    if stretch == Stretch::Whole {
        return;
    }
    traces.sort_by_key(began);
    let half = traces.len().div_ceil(2);
    if stretch == Stretch::FirstHalf {
        traces.truncate(half);
    } else {
        traces.drain(..half);
    }
}

/// Keeps one of so many traces: as a sampler would, whatever is in it.
fn thin<T>(traces: &mut Vec<T>, one_in: NonZeroU64, offset: u64) {
    let mut at = offset % one_in;
    traces.retain(|_| {
        at += 1;
        at.is_multiple_of(one_in.get())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_every_third() {
        for (offset, kept) in [
            (0, &[3, 6, 9][..]),
            (1, &[2, 5, 8]),
            (2, &[1, 4, 7, 10]),
            (3, &[3, 6, 9]),
        ] {
            let mut traces: Vec<u64> = (1..=10).collect();
            thin(&mut traces, NonZeroU64::new(3).expect("not zero"), offset);
            assert_eq!(traces, kept, "{offset}");
        }
    }

    #[test]
    fn halves_go_by_time_and_lose_nothing() {
        for (word, kept) in [
            ("whole", &[5, 1, 4, 2, 3][..]),
            ("first-half", &[1, 2, 3]),
            ("second-half", &[4, 5]),
        ] {
            let mut traces = vec![5, 1, 4, 2, 3];
            halve(&mut traces, word.parse().expect("a stretch"), |at| *at);
            assert_eq!(traces, kept, "{word}");
        }
        let error = "third-half".parse::<Stretch>().expect_err("none");
        assert!(error.to_string().contains("second-half"), "{error}");
    }
}
