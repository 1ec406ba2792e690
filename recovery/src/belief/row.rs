//! What was seen of cures under one key, and what follows from it.
//!
//! A recovery seldom says which level was the smallest that would have cured: a process whose restart
//! cured may only have needed one of its components'. What it says is an interval, above the last
//! level that failed and up to the one that cured. So a row keeps intervals with their weights, and
//! the distribution is found by expectation and maximization (Turnbull 1976), with the mean of the
//! wider key as a Dirichlet prior. Handing each interval out at once, by what is believed at that
//! time, would make a belief that was never tested ever firmer.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Level;

/// No row weighs more than so many recoveries, so that a changed system is learned anew in as many.
pub const MAX_WEIGHT: f64 = 30.0;
/// Intervals kept per row: those of a chain of seven units, each from every level to every other.
const MAX_INTERVALS: usize = 40;
/// Rounds of expectation and maximization. Each halves the distance at least where half of what was
/// seen is clear; a belief needn't be exact to more than a few per cent.
const ROUNDS: usize = 20;

/// How likely a fault that goes by itself goes just while a restart is carried out and judged, where nobody
/// says how long that took: mostly a second or two of the ten that it is given when it is waited for.
pub const COINCIDENCE: f64 = 0.2;

/// The smallest level that cures lies above one level and at or below another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The highest that failed; [`Level::ByItself`] where nothing did.
    pub above: Level,
    /// The one that cured; [`Level::None`] where nothing did.
    pub until: Level,
    /// Whether nobody waited, so that it may also have gone by itself, or might yet.
    pub or_by_itself: bool,
    /// How likely it is that it went by itself just then, if it is one that goes by itself, in `[0, 1]`.
    #[serde(default = "usual_coincidence")]
    pub coincidence: f64,
    /// How many recoveries, faded.
    pub weight: f64,
}

const fn usual_coincidence() -> f64 {
    COINCIDENCE
}

/// What was seen under one key, as it weighed at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    intervals: Vec<Interval>,
    at: SystemTime,
}

impl Row {
    pub(super) const fn new(at: SystemTime) -> Self {
        Self {
            intervals: Vec::new(),
            at,
        }
    }

    pub(super) const fn at(&self) -> SystemTime {
        self.at
    }

    pub(super) fn seen(&self) -> &[Interval] {
        &self.intervals
    }

    /// How many recoveries it rests on, as of its time.
    pub(super) fn weight(&self) -> f64 {
        self.intervals.iter().map(|interval| interval.weight).sum()
    }

    /// Lets what was seen weigh less, or as much at a later time.
    pub(super) fn fade(&mut self, by: f64, at: SystemTime) {
        for interval in &mut self.intervals {
            interval.weight *= by;
        }
        self.at = self.at.max(at);
    }

    /// One more.
    pub(super) fn add(&mut self, seen: Interval) {
        let same = self.intervals.iter_mut().find(|interval| {
            (&interval.above, &interval.until, interval.or_by_itself)
                == (&seen.above, &seen.until, seen.or_by_itself)
        });
        match same {
            Some(interval) => {
                let weight = interval.weight + seen.weight;
                let sum = interval.coincidence * interval.weight + seen.coincidence * seen.weight;
                interval.coincidence = sum / weight.max(f64::MIN_POSITIVE);
                interval.weight = weight;
            }
            None => self.intervals.push(seen),
        }
        if self.intervals.len() > MAX_INTERVALS {
            let lightest = (0..self.intervals.len())
                .min_by(|a, b| {
                    let weight = |at: &usize| self.intervals[*at].weight;
                    weight(a).total_cmp(&weight(b))
                })
                .unwrap_or(0);
            self.intervals.swap_remove(lightest);
        }
        let weight = self.weight();
        if weight > MAX_WEIGHT {
            for interval in &mut self.intervals {
                // Rounded, it may be a little more, and more is none that could have been seen.
                interval.weight = (interval.weight * (MAX_WEIGHT / weight)).min(MAX_WEIGHT);
            }
        }
    }

    /// In how many recoveries, as of its time, what happened told whether this level would have been
    /// enough: it was tried, or time was given.
    pub(super) fn tested(&self, level: &Level) -> f64 {
        self.intervals
            .iter()
            .filter(|interval| match level {
                Level::ByItself => interval.until == Level::ByItself || !interval.or_by_itself,
                level => interval.until == *level || interval.above == *level,
            })
            .map(|interval| interval.weight)
            .sum()
    }

    /// How likely each level is, given that `mean` is believed as firmly as `strength` recoveries
    /// would make it, and all of these rows were seen. `place` says where in `mean` a level of a row is; what it
    /// doesn't know (a unit that the tree lost) is left out. With each row is what a recovery of its time weighs now.
    pub(super) fn refine(
        rows: &[(&Self, f64)],
        mean: &[f64],
        strength: f64,
        place: impl Fn(&Level) -> Option<usize>,
    ) -> Vec<f64> {
        let seen: Vec<(usize, usize, f64, f64)> = rows
            .iter()
            .flat_map(|(row, fading)| row.intervals.iter().map(move |seen| (seen, fading)))
            .filter_map(|(interval, fading)| {
                let (above, until) = (place(&interval.above)?, place(&interval.until)?);
                // Nothing but time is a single level; beside a restart it takes a coincidence.
                let by_itself = match (until, interval.or_by_itself) {
                    (0, _) => 1.0,
                    (_, false) => 0.0,
                    (_, true) if interval.until == Level::None => 1.0 - interval.coincidence,
                    (_, true) => interval.coincidence,
                };
                let weight = interval.weight * fading;
                (until == 0 || above < until).then_some((above, until, by_itself, weight))
            })
            .collect();
        let weight: f64 = seen.iter().map(|seen| seen.3).sum();
        let mut believed = mean.to_vec();
        for _ in 0..ROUNDS {
            let mut next: Vec<f64> = mean.iter().map(|mean| strength * mean).collect();
            for (above, until, by_itself, weight) in &seen {
                let by_itself = by_itself * believed[0];
                let inside = &believed[above + 1..(until + 1).max(above + 1)];
                let all = by_itself + inside.iter().sum::<f64>();
                if all <= 0.0 {
                    continue;
                }
                next[0] += weight * by_itself / all;
                for level in above + 1..=*until {
                    next[level] += weight * believed[level] / all;
                }
            }
            let total = strength + weight;
            next.iter_mut().for_each(|level| *level /= total);
            // What could not be placed anywhere is not lost.
            let sum: f64 = next.iter().sum();
            if sum > 0.0 {
                next.iter_mut().for_each(|level| *level /= sum);
            }
            believed = next;
        }
        believed
    }
}
