//! Has something that used to come stopped coming?
//!
//! Silence is the only sign of work that hangs: it neither ends nor fails. How long a silence is too
//! long follows from how often things came. The likelihood ratio of "nothing comes any more" against "λ a
//! second come" grows by e^λ with each silent second, and the sum over all moments at which it may have
//! begun is an e-detector of Shiryaev and Roberts, as for shares (see [`crate::ShareRise`]): an alarm when
//! it reaches A is a mistake once in A seconds at most, where things come as the model says.
//!
//! They seldom do. Three things are learned so that the promise nearly holds:
//!
//! - *Bursts.* Counts of ten seconds scatter φ times as much as Poisson's, and log-likelihoods are divided
//!   by φ (quasi-likelihood; McCullagh and Nelder, *Generalized Linear Models*, 1989).
//! - *Pauses.* The longest one of each of the last eight days: what was as quiet before, at the end of a
//!   batch or on a Sunday, is no news. Only what goes beyond counts, and a silence must be twice as long.
//! - *Tides.* λ is the least of what the last quarter of an hour and its last two minutes support, so
//!   that a rate that ebbs takes the expectation along.
//!
//! Time is the caller's, in whole seconds, and need not be the wall's: who counts only seconds in which he
//! could have heard something doesn't mistake his own deafness for silence.

use std::collections::VecDeque;

use crate::{Probability, normal_quantile};

/// Exporters send in batches, every five seconds by default: shorter blocks would see nothing else.
const BLOCK_SECONDS: u64 = 10;
/// A quarter of an hour of blocks.
const BLOCKS: usize = 90;
/// The last two minutes of them.
const RECENT_BLOCKS: usize = 12;
/// With fewer blocks (five minutes) nobody knows what is usual.
const ENOUGH_BLOCKS: usize = 30;
/// Days whose longest pauses are remembered: a week, and the day that has begun.
const DAYS: usize = 8;
const DAY_SECONDS: u64 = 24 * 3_600;
/// A silence counts when it is so many times as long as the longest pause.
const TIMES_LONGER: u64 = 2;

/// When something came, and how evenly.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// Full blocks, oldest first.
    blocks: VecDeque<u64>,
    /// The block that is being filled: its number, and how many came.
    filling: Option<(u64, u64)>,
    /// The second in which the last one came.
    last: Option<u64>,
    /// Per day, modulo their number: the day, and its longest pause in seconds.
    pauses: [(u64, u64); DAYS],
}

/// Nothing came for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// The last second in which something came, or needn't have come.
    pub since: u64,
    /// For so many seconds.
    pub seconds: u64,
    /// How many a second should have come, at least.
    pub rate: f64,
    /// How many a second are likeliest: the mean of the last two minutes.
    pub likely: f64,
    /// The variance of how many come in ten seconds over their mean, from 1.
    pub burstiness: f64,
    /// The evidence that nothing comes any more, in seconds: an alarm is due when it reaches the wanted
    /// number of seconds between false alarms.
    pub evidence: f64,
}

impl Silence {
    /// How many should have come, at least.
    pub fn missing(&self) -> f64 {
        self.rate * self.seconds as f64
    }
}

impl Arrivals {
    /// One came in this second. Seconds don't go back: one before the last counts as the last. How long the
    /// pause before was: whoever knows that it was nothing tells [`Self::learn_pause`].
    pub fn add(&mut self, second: u64) -> u64 {
        let second = second.max(self.last.unwrap_or(0));
        let pause = second - self.last.unwrap_or(second);
        self.last = Some(second);
        self.count(second);
        pause
    }

    fn count(&mut self, second: u64) {
        let block = second / BLOCK_SECONDS;
        let (filling, count) = self.filling.get_or_insert((block, 0));
        if *filling == block {
            *count += 1;
            return;
        }
        let full = std::mem::replace(count, 1);
        let between = block - *filling - 1;
        *filling = block;
        self.blocks.push_back(full);
        let empty = usize::try_from(between).unwrap_or(BLOCKS).min(BLOCKS);
        self.blocks.extend(std::iter::repeat_n(0, empty));
        let surplus = self.blocks.len().saturating_sub(BLOCKS);
        self.blocks.drain(..surplus);
    }

    /// A pause of so many seconds, which ended when the last one came, was nothing.
    pub fn learn_pause(&mut self, pause: u64) {
        let second = self.last.unwrap_or(0);
        let day = second / DAY_SECONDS;
        let slot = &mut self.pauses[(day % DAYS as u64) as usize];
        if slot.0 != day {
            *slot = (day, 0);
        }
        slot.1 = slot.1.max(pause);
    }

    /// Forgets how often things came, but not how long pauses may be.
    pub fn begin_anew(&mut self) {
        *self = Self {
            pauses: self.pauses,
            ..Self::default()
        };
    }

    /// The longest pause that is usual, in seconds.
    fn usual_pause(&self, second: u64) -> u64 {
        let today = second / DAY_SECONDS;
        let remembered = self
            .pauses
            .iter()
            .filter(|(day, _)| day + DAYS as u64 > today);
        remembered.map(|(_, pause)| *pause).max().unwrap_or(0)
    }

    /// What the silence in this second says; `None` while something comes, or nobody knows how often it
    /// should.
    pub fn silence(&self, second: u64) -> Option<Silence> {
        self.silence_after(0, second)
    }

    /// The same where nothing needed to come before the second `excused`.
    pub fn silence_after(&self, excused: u64, second: u64) -> Option<Silence> {
        let since = self.last?.max(excused);
        let seconds = second.checked_sub(since)?;
        if self.blocks.len() < ENOUGH_BLOCKS {
            return None;
        }
        let pause = self.usual_pause(second);
        if seconds <= pause.saturating_mul(TIMES_LONGER) {
            return None;
        }
        let recent = self.blocks.len() - RECENT_BLOCKS;
        let burstiness = self.burstiness();
        let rate = [0, recent]
            .map(|from| least_rate(self.blocks.range(from..), burstiness))
            .into_iter()
            .fold(f64::INFINITY, f64::min);
        Some(Silence {
            since,
            seconds,
            rate,
            likely: mean_rate(self.blocks.range(recent..)),
            burstiness,
            evidence: evidence(rate / burstiness, seconds - pause),
        })
    }

    /// The variance of the blocks' counts over their mean, from 1. By the differences of neighbours (von
    /// Neumann 1941), since a tide is no burst.
    fn burstiness(&self) -> f64 {
        let n = self.blocks.len() as f64;
        let mean = self.blocks.iter().sum::<u64>() as f64 / n;
        let neighbours = self.blocks.iter().zip(self.blocks.iter().skip(1));
        let squares = neighbours.map(|(a, b)| (*a as f64 - *b as f64).powi(2));
        let variance = squares.sum::<f64>() / (2.0 * (n - 1.0));
        if mean > 0.0 {
            (variance / mean).max(1.0)
        } else {
            1.0
        }
    }
}

/// How many a second came in these blocks.
fn mean_rate<'a>(blocks: impl ExactSizeIterator<Item = &'a u64>) -> f64 {
    let seconds = (blocks.len() as u64 * BLOCK_SECONDS) as f64;
    blocks.sum::<u64>() as f64 / seconds
}

/// The rate a second that these blocks support: the lower end of its one-sided 95 % interval.
fn least_rate<'a>(blocks: impl ExactSizeIterator<Item = &'a u64>, burstiness: f64) -> f64 {
    let seconds = (blocks.len() as u64 * BLOCK_SECONDS) as f64;
    let bursts = blocks.sum::<u64>() as f64 / burstiness;
    // The square root of a Poisson count has a standard deviation of a half (Anscombe 1948).
    let low = bursts.sqrt() - normal_quantile(Probability::P95) / 2.0;
    low.max(0.0).powi(2) * burstiness / seconds
}

/// Σ e^(rate · s) over s = 1 … `seconds`: what the detector has after so many silent seconds.
fn evidence(rate: f64, seconds: u64) -> f64 {
    if rate <= 0.0 {
        return seconds as f64;
    }
    // Beyond this nothing is decided, and sums overflow.
    let grown = (rate * seconds as f64).min(600.0).exp_m1();
    grown * rate.exp() / rate.exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals of so many seconds, as many in each as `of` says.
    fn came(seconds: u64, of: impl Fn(u64) -> u64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for second in 0..seconds {
            add(&mut arrivals, second, of(second));
        }
        arrivals
    }

    fn add(arrivals: &mut Arrivals, second: u64, count: u64) {
        for _ in 0..count {
            let pause = arrivals.add(second);
            arrivals.learn_pause(pause);
        }
    }

    /// How many silent seconds suffice for an alarm once in a hundred weeks.
    fn noticed_after(arrivals: &Arrivals) -> Option<u64> {
        let last = arrivals.last.expect("something came");
        (1..7_200).find(|silent| {
            let silence = arrivals.silence(last + silent);
            silence.is_some_and(|silence| silence.evidence >= 6e7)
        })
    }

    #[test]
    fn the_rarer_and_the_less_even_the_longer_it_takes() {
        for (name, arrivals, between) in [
            ("ten a second", came(900, |_| 10), 2..=4),
            ("one a second", came(900, |_| 1), 15..=25),
            (
                "in batches",
                came(900, |s| if s % 5 == 0 { 50 } else { 0 }),
                10..=12,
            ),
            (
                "one in ten seconds",
                came(900, |s| u64::from(s % 10 == 0)),
                180..=300,
            ),
            (
                "a job every minute",
                came(900, |s| if s % 60 == 0 { 60 } else { 0 }),
                600..=4_000,
            ),
            (
                "ebbing",
                came(900, |s| if s < 700 { 20 } else { u64::from(s % 2 == 0) }),
                // One in two seconds, by then.
                40..=90,
            ),
        ] {
            let after = noticed_after(&arrivals);
            assert!(
                after.is_some_and(|after| between.contains(&after)),
                "{name}: {after:?}"
            );
        }
    }

    #[test]
    fn a_pause_that_was_there_before_is_no_news() {
        let with_pause = came(1_800, |s| if (600..680).contains(&s) { 0 } else { 10 });
        let after = noticed_after(&with_pause).expect("noticed");
        assert!((160..170).contains(&after), "{after}");
        // Eight days later it is forgotten.
        let mut later = with_pause;
        for second in 8 * DAY_SECONDS..8 * DAY_SECONDS + 1_000 {
            add(&mut later, second, 10);
        }
        let of_that_day = (8, 1);
        later.pauses[0] = of_that_day;
        assert_eq!(noticed_after(&later), Some(3));
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(Arrivals::default().silence(1_000), None);
        assert_eq!(came(200, |_| 10).silence(10_000), None);
        let mut anew = came(900, |_| 10);
        anew.begin_anew();
        assert_eq!(anew.silence(10_000), None);
    }

    #[test]
    fn what_is_missing_is_what_would_have_come() {
        let silence = came(900, |_| 10).silence(899 + 60).expect("silent");
        assert!((540.0..=600.0).contains(&silence.missing()), "{silence:?}");
        assert_eq!((silence.since, silence.seconds), (899, 60));
    }

    #[test]
    fn what_is_excused_is_not_missing() {
        let arrivals = came(900, |_| 10);
        let silence = arrivals.silence_after(949, 899 + 60).expect("silent");
        assert_eq!((silence.since, silence.seconds), (949, 10));
        let as_often = arrivals.silence(959).expect("silent").rate;
        assert!((silence.rate - as_often).abs() < 1e-12, "{silence:?}");
        assert_eq!(arrivals.silence_after(949, 940), None);
        assert_eq!(arrivals.silence_after(10, 959), arrivals.silence(959));
    }

    #[test]
    fn the_sum_is_the_sum() {
        for (rate, seconds) in [(0.01, 50), (1.0, 7), (20.0, 3)] {
            let sum: f64 = (1..=seconds).map(|s| (rate * s as f64).exp()).sum();
            assert!((evidence(rate, seconds) / sum - 1.0).abs() < 1e-9);
        }
    }
}
