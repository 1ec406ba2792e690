//! How many requests ended well, and badly, from when to when?
//!
//! A window of a quarter of an hour has nine thousand slices, and while an incident is open that is asked of each of its
//! types, over ever longer stretches, many times a second. So blocks of slices are added up beside them, and a long
//! stretch is mostly blocks.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use rekindle_model::UnixNanos;

/// Ends are counted in slices this fine: a verdict on a restart begins and ends between seconds.
pub(crate) const RATE_SLICE: Duration = Duration::from_millis(100);

/// Slices in a block: about as many as there are blocks in a window, so that a stretch is a few dozen of each.
const BLOCK: u64 = 64;

/// Requests that ended well, and badly.
pub(crate) type Ends = (u64, u64);

/// Ends by the numbers of slices or blocks, in their order. One list, because nearly all are counted near its end, where the
/// number says the place as long as none is missing.
#[derive(Debug, Default)]
struct Series(VecDeque<(u64, Ends)>);

impl Series {
    /// The place of this number, or where it would be.
    fn place(&self, number: u64) -> Result<usize, usize> {
        let Some((last, _)) = self.0.back() else {
            return Err(0);
        };
        let Some(behind) = last.checked_sub(number) else {
            return Err(self.0.len());
        };
        let guess = usize::try_from(behind).ok();
        let guess = guess.and_then(|behind| (self.0.len() - 1).checked_sub(behind));
        match guess.filter(|guess| self.0[*guess].0 == number) {
            Some(guess) => Ok(guess),
            None => self.0.binary_search_by_key(&number, |(known, _)| *known),
        }
    }

    /// The ends of this number, from now on if there were none.
    fn at(&mut self, number: u64) -> &mut Ends {
        let place = self.place(number).unwrap_or_else(|place| {
            self.0.insert(place, (number, (0, 0)));
            place
        });
        &mut self.0[place].1
    }

    /// The ends of this number, if there are any.
    fn get_mut(&mut self, number: u64) -> Option<&mut Ends> {
        let place = self.place(number).ok()?;
        Some(&mut self.0[place].1)
    }

    fn sum(&self, range: Range<u64>) -> Ends {
        let [from, until] =
            [range.start, range.end].map(|it| self.place(it).unwrap_or_else(|it| it));
        let within = self.0.range(from..until).map(|(_, ends)| *ends);
        within.fold((0, 0), plus)
    }
}

/// The requests of one type, by when they began.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Per slice in which any began.
    slices: Series,
    /// The sums of these, per block.
    blocks: Series,
}

impl Rates {
    pub(crate) fn add(&mut self, start: UnixNanos, bad: bool) {
        let slice = rate_slice(start);
        for ends in [self.slices.at(slice), self.blocks.at(slice / BLOCK)] {
            if bad { ends.1 += 1 } else { ends.0 += 1 }
        }
    }

    /// Takes one back, if one was counted then.
    pub(crate) fn remove(&mut self, start: UnixNanos, bad: bool) {
        let slice = rate_slice(start);
        let side = |ends: &mut Ends| if bad { ends.1 } else { ends.0 };
        if self.slices.get_mut(slice).map_or(0, side) == 0 {
            return;
        }
        let block = self.blocks.get_mut(slice / BLOCK);
        for ends in [self.slices.get_mut(slice), block].into_iter().flatten() {
            if bad { ends.1 -= 1 } else { ends.0 -= 1 }
        }
    }

    /// Those of the slices that begin in `[from, until)`.
    pub(crate) fn between(&self, from: UnixNanos, until: UnixNanos) -> Ends {
        let Range { start, end } = slices_between(from, until);
        let (first, last) = (start.div_ceil(BLOCK), end / BLOCK);
        if first >= last {
            return self.slices.sum(start..end);
        }
        let parts = [
            self.slices.sum(start..first * BLOCK),
            self.blocks.sum(first..last),
            self.slices.sum(last * BLOCK..end),
        ];
        parts.into_iter().fold((0, 0), plus)
    }

    /// When the first request failed that began at this time or later, to a slice.
    pub(crate) fn first_failed(&self, from: UnixNanos) -> Option<UnixNanos> {
        let place = self.slices.place(rate_slice(from));
        let mut later = self.slices.0.range(place.unwrap_or_else(|it| it)..);
        let (slice, _) = later.find(|(_, ends)| ends.1 > 0)?;
        Some(start_of(*slice))
    }

    /// The starts of the first and of the last slice in which any began.
    pub(crate) fn reach(&self) -> Option<(UnixNanos, UnixNanos)> {
        let (first, _) = self.slices.0.front()?;
        let (last, _) = self.slices.0.back()?;
        Some((start_of(*first), start_of(*last)))
    }

    /// (Start, ended well and badly) of the last so many stretches of this length in which any began, oldest first.
    pub(crate) fn last(&self, length: Duration, most: usize) -> Vec<(UnixNanos, Ends)> {
        let length = (length.as_nanos() as u64).max(1);
        let mut series: Vec<(UnixNanos, Ends)> = Vec::new();
        for (slice, ends) in self.slices.0.iter().rev() {
            let at = UnixNanos(start_of(*slice).0 / length * length);
            let are_enough = series.len() == most;
            match series.last_mut() {
                Some((last, sum)) if *last == at => *sum = plus(*sum, *ends),
                _ if are_enough => break,
                _ => series.push((at, *ends)),
            }
        }
        series.reverse();
        series
    }

    /// Forgets the slices that are over before this time.
    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        let until = rate_slice(time);
        while let Some((slice, ends)) = self.slices.0.pop_front_if(|(oldest, _)| *oldest < until) {
            let block = slice / BLOCK;
            if let Some(sum) = self.blocks.get_mut(block) {
                *sum = (sum.0 - ends.0, sum.1 - ends.1);
            }
            if self.slices.0.front().map(|(next, _)| next / BLOCK) != Some(block) {
                self.blocks.0.pop_front();
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slices.0.is_empty()
    }
}

fn plus(a: Ends, b: Ends) -> Ends {
    (a.0 + b.0, a.1 + b.1)
}

/// The slices that begin in `[from, until)`.
pub(crate) fn slices_between(from: UnixNanos, until: UnixNanos) -> Range<u64> {
    let nanos = RATE_SLICE.as_nanos() as u64;
    let first = from.0.div_ceil(nanos);
    first..until.0.div_ceil(nanos).max(first)
}

pub(crate) fn rate_slice(time: UnixNanos) -> u64 {
    time.0 / RATE_SLICE.as_nanos() as u64
}

fn start_of(slice: u64) -> UnixNanos {
    UnixNanos(slice * RATE_SLICE.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hundredth of a second.
    fn at(hundredths: u64) -> UnixNanos {
        UnixNanos(hundredths * 10_000_000)
    }

    proptest! {
        /// Whatever comes, is taken back and is forgotten: each stretch has what adding it up says.
        #[test]
        fn each_stretch_is_the_sum_of_its_slices(
            deeds in prop::collection::vec((0u64..4_000, any::<bool>(), prop::bool::weighted(0.2)), 0..200),
            forgotten in 0u64..3_000,
            stretches in prop::collection::vec((0u64..4_200, 0u64..4_200), 1..20),
        ) {
            let mut rates = Rates::default();
            let mut expected: Vec<(u64, bool)> = Vec::new();
            for (time, bad, goes) in deeds {
                let known = expected.iter().position(|(other, is_bad)| (other / 10, *is_bad) == (time / 10, bad));
                match (goes, known) {
                    (true, Some(known)) => { expected.swap_remove(known); }
                    (true, None) => {}
                    (false, _) => expected.push((time, bad)),
                }
                match goes {
                    true => rates.remove(at(time), bad),
                    false => rates.add(at(time), bad),
                }
            }
            rates.forget_before(at(forgotten));
            expected.retain(|(time, _)| time / 10 >= forgotten / 10);
            for (from, until) in stretches {
                let within = expected.iter().filter(|(time, _)| (from..until).contains(&(time / 10 * 10)));
                let ends = within.fold((0, 0), |(ok, bad), (_, is_bad)| {
                    (ok + u64::from(!is_bad), bad + u64::from(*is_bad))
                });
                prop_assert_eq!(rates.between(at(from), at(until)), ends);
            }
            let blocks = rates.blocks.0.iter().map(|(block, _)| *block);
            let mut of_slices: Vec<u64> = rates.slices.0.iter().map(|(it, _)| it / BLOCK).collect();
            of_slices.dedup();
            prop_assert_eq!(blocks.collect::<Vec<u64>>(), of_slices);
            let all = rates.last(Duration::from_secs(1), usize::MAX);
            let counted: u64 = all.iter().map(|(_, ends)| ends.0 + ends.1).sum();
            prop_assert_eq!(counted, expected.len() as u64);
            prop_assert!(all.is_sorted_by(|a, b| a.0 < b.0));
            let last = rates.last(Duration::from_secs(1), 3);
            prop_assert_eq!(&last[..], &all[all.len().saturating_sub(3)..]);
        }
    }
}
