//! How bad is a longer way, where not all ways are known?
//!
//! Traces come in pieces: of some visits the caller's span is missing, and with it the way to them. Those
//! say nothing about the way, but among all visits they look like ones that aren't affected. So a way is
//! judged by the known ones alone: what it adds to the operation's typical work.

use std::collections::BTreeMap;

use rekindle_stats::{Calls, LogHistogram, Probability, Shift, Usual, shift};

use super::Durations;
use crate::rank::input::Part;

/// The known ways to an operation, in one group of requests.
pub(super) struct KnownWays {
    /// The typical own work before, in nanoseconds.
    work: u64,
    /// Known ways now.
    calls: u64,
}

impl KnownWays {
    /// `None` where the ways of all visits are known: then all of it is in the whole.
    pub(super) fn of(
        durations: &BTreeMap<(Part, usize), Durations>,
        to: usize,
        group: usize,
    ) -> Option<Self> {
        let whole = durations.get(&(Part::Whole(to), group))?;
        let own = durations.get(&(Part::Own(to), group))?;
        (own.now.total() < whole.now.total()).then(|| Self {
            work: own.before.quantile(Probability::clamped(0.5)).unwrap_or(0),
            calls: own.now.total(),
        })
    }

    /// How the way of one caller differs on top of the work, and which share of the known ways it is.
    pub(super) fn shift(&self, way: &Durations, usual: &Usual) -> Option<(Shift, f64)> {
        let on_top = |way: &LogHistogram| {
            let mut sum = LogHistogram::default();
            for (nanos, calls) in way.buckets() {
                let bucket = LogHistogram::bucket_of(self.work.saturating_add(nanos as u64));
                sum.add_many(bucket, calls);
            }
            sum
        };
        let (before, now) = (on_top(&way.before), on_top(&way.now));
        let of = |durations, calls: Calls<'_>| Calls { durations, ..calls };
        let found = shift(
            of(&before, way.calls_before()),
            of(&now, way.calls_now()),
            usual,
        )?;
        Some((found, way.now.total() as f64 / self.calls as f64))
    }
}
