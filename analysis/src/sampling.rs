//! How many requests do those that came stand for?
//!
//! A sampler throws requests away, often more of those that went well. Where it says how many (see
//! [`rekindle_model::Sampling`]), rates and shares can be estimated: each request counts for as many as
//! it stands for (Horvitz and Thompson, 1952). Where one was at work that doesn't say, they are unknown,
//! whatever was counted; and counts stay counts. Detection goes on either way: it compares a type with
//! its own past, which came through the same sampler.
//!
//! What outside judges correct afterwards isn't corrected in the estimate, which is for people to read.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_model::{Sampling, UnixNanos};
use serde::{Deserialize, Serialize};

/// Estimates are kept in slices of a second.
const SLICE: Duration = Duration::from_secs(1);

/// What the counts of a request type stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Themselves: no sampler spoke up.
    #[default]
    Themselves,
    /// For more, as far as their samplers say.
    Estimate {
        /// Requests per second over the last half minute.
        per_second: f64,
        /// The share of them that failed, in `[0, 1]`; `None` without any.
        failure_share: Option<f64>,
    },
    /// Nobody knows: a sampler was at work that doesn't say how many it threw away.
    Unknown,
}

/// What the shares of a ranking rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Each request counts once: no sampler threw any away that says so.
    #[default]
    Alike,
    /// Each request counts for as many as its sampler says that it stands for.
    Declared,
    /// A sampler doesn't say how many it threw away: shares and confidences are unknown. What is counted is counted
    /// of those that were kept.
    Hidden,
}

/// For how many requests one stands: at least 1, to within 4.4 %. Samplers that keep to a rate change their thresholds
/// all the time, and requests must not be told apart by each of them; where there are too many kinds of them all the same, to
/// within 42 %.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StandsFor(u16);

impl StandsFor {
    /// So many parts of an octave are told apart; whole octaves, which most samplers keep to, are exact.
    const PARTS: f64 = 8.0;

    /// As this sampling says; for itself, where it says nothing.
    pub fn of(sampling: Option<Sampling>) -> Self {
        let count = sampling.and_then(Sampling::adjusted_count).unwrap_or(1.0);
        Self((count.max(1.0).log2() * Self::PARTS).round() as u16)
    }

    /// The nearest whole octave, where there is no room for more kinds.
    pub(crate) fn coarse(self) -> Self {
        let parts = Self::PARTS as u16;
        Self((self.0 + parts / 2) / parts * parts)
    }

    /// How many requests.
    pub fn requests(self) -> f64 {
        (f64::from(self.0) / Self::PARTS).exp2()
    }
}

/// How many requests of one type there were in one slice, as far as was said.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    ok: f64,
    bad: f64,
}

/// One request type's.
#[derive(Debug, Default)]
struct Sampled {
    slices: BTreeMap<u64, Slice>,
    /// When the last one began that stands for an unknown number.
    unknown: Option<UnixNanos>,
    /// When the last one began that says for how many it stands.
    said: Option<UnixNanos>,
}

/// Of all types that a sampler was seen at.
#[derive(Debug, Default)]
pub(crate) struct Samplings {
    by_type: BTreeMap<u32, Sampled>,
}

impl Samplings {
    /// Takes a request of this type that began then.
    #[inline]
    pub(crate) fn add(
        &mut self,
        request_type: u32,
        start: UnixNanos,
        bad: bool,
        sampling: Option<Sampling>,
    ) {
        if sampling.is_none() && self.by_type.is_empty() {
            return;
        }
        self.add_sampled(request_type, start, bad, sampling);
    }

    fn add_sampled(
        &mut self,
        request_type: u32,
        start: UnixNanos,
        bad: bool,
        sampling: Option<Sampling>,
    ) {
        let sampled = match (self.by_type.get_mut(&request_type), sampling) {
            (Some(known), _) => known,
            (None, Some(_)) => self.by_type.entry(request_type).or_default(),
            (None, None) => return,
        };
        let weight = match sampling.map(Sampling::adjusted_count) {
            None => 1.0,
            Some(Some(weight)) => {
                sampled.said = sampled.said.max(Some(start));
                weight
            }
            Some(None) => {
                sampled.unknown = sampled.unknown.max(Some(start));
                return;
            }
        };
        let slice = sampled.slices.entry(slice_of(start)).or_default();
        let side = if bad { &mut slice.bad } else { &mut slice.ok };
        *side += weight;
    }

    /// Whether one was at work on this type that doesn't say.
    pub(crate) fn is_hidden(&self, request_type: u32) -> bool {
        let sampled = self.by_type.get(&request_type);
        sampled.is_some_and(|sampled| sampled.unknown.is_some())
    }

    /// What this type's counts stand for, over so many seconds before `until`.
    pub(crate) fn standing(&self, request_type: u32, until: UnixNanos, seconds: f64) -> Standing {
        let Some(sampled) = self.by_type.get(&request_type) else {
            return Standing::Themselves;
        };
        if self.is_hidden(request_type) {
            return Standing::Unknown;
        }
        let from = slice_of(until.minus(Duration::from_secs_f64(seconds)));
        let recent = sampled.slices.range(from..=slice_of(until));
        let (ok, bad) = recent.fold((0.0, 0.0), |(ok, bad), (_, it)| (ok + it.ok, bad + it.bad));
        let all: f64 = ok + bad;
        Standing::Estimate {
            per_second: all / seconds,
            failure_share: (all > 0.0).then(|| bad / all),
        }
    }

    /// Forgets slices before `shown`, and samplers that weren't seen since `begin`.
    pub(crate) fn forget_before(&mut self, shown: UnixNanos, begin: UnixNanos) {
        self.by_type.retain(|_, sampled| {
            sampled.slices = sampled.slices.split_off(&slice_of(shown));
            sampled.unknown = sampled.unknown.filter(|at| *at >= begin);
            sampled.said = sampled.said.filter(|at| *at >= begin);
            sampled.unknown.is_some() || sampled.said.is_some()
        });
    }
}

fn slice_of(time: UnixNanos) -> u64 {
    time.0 / SLICE.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: Option<Sampling> = Some(Sampling::Threshold(Sampling::THRESHOLDS / 8 * 7));

    fn at(second: u64) -> UnixNanos {
        UnixNanos::from_secs(second)
    }

    #[test]
    fn each_counts_for_as_many_as_it_stands_for() {
        let mut samplings = Samplings::default();
        for second in 100..110 {
            // All failures are kept, and one success of eight.
            samplings.add(1, at(second), true, Some(Sampling::Threshold(0)));
            samplings.add(1, at(second), false, EIGHT);
            samplings.add(2, at(second), false, None);
        }
        assert_eq!(samplings.standing(2, at(109), 10.0), Standing::Themselves);
        let Standing::Estimate {
            per_second,
            failure_share,
        } = samplings.standing(1, at(109), 10.0)
        else {
            panic!("they say how many");
        };
        assert!((per_second - 9.0).abs() < 1e-9, "{per_second}");
        let share = failure_share.expect("some came");
        assert!((share - 1.0 / 9.0).abs() < 1e-9, "{share}");
    }

    #[test]
    fn what_one_stands_for_is_known_to_within_a_twentieth() {
        for count in 0..56 {
            let threshold = Sampling::THRESHOLDS - (Sampling::THRESHOLDS >> count);
            let whole = StandsFor::of(Some(Sampling::Threshold(threshold)));
            assert!((whole.requests() / f64::from(count).exp2() - 1.0).abs() < 1e-12);
        }
        for kept in (1..100).map(|it| it * (Sampling::THRESHOLDS / 100)) {
            let sampling = Sampling::Threshold(Sampling::THRESHOLDS - kept);
            let said = sampling.adjusted_count().expect("it is said");
            let known = StandsFor::of(Some(sampling)).requests();
            assert!((known / said - 1.0).abs() < 0.045, "{said}: {known}");
            let coarse = StandsFor::of(Some(sampling)).coarse().requests();
            assert!((0.7..1.42).contains(&(coarse / known)), "{known}: {coarse}");
            assert!(
                (coarse.log2() - coarse.log2().round()).abs() < 1e-12,
                "{coarse}"
            );
        }
        assert_eq!(
            StandsFor::of(Some(Sampling::Undeclared)),
            StandsFor::default()
        );
    }

    #[test]
    fn one_that_does_not_say_makes_all_unknown_until_it_is_gone() {
        let mut samplings = Samplings::default();
        samplings.add(1, at(100), false, EIGHT);
        samplings.add(1, at(101), true, Some(Sampling::Undeclared));
        samplings.add(1, at(200), false, EIGHT);
        assert_eq!(samplings.standing(1, at(200), 30.0), Standing::Unknown);
        samplings.forget_before(at(170), at(102));
        let after = samplings.standing(1, at(200), 8.0);
        assert_eq!(
            after,
            Standing::Estimate {
                per_second: 1.0,
                failure_share: Some(0.0)
            }
        );
        samplings.forget_before(at(300), at(300));
        assert_eq!(samplings.standing(1, at(300), 30.0), Standing::Themselves);
        assert!(samplings.by_type.is_empty());
    }
}
