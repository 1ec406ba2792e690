//! How bad is a longer way, where not all ways are known?
//!
//! Traces come in pieces: of some visits the caller's span is missing, and with it the way to them. Those
//! say nothing about the way, but among all visits they look like ones that aren't affected. So a way is
//! judged by the known ones alone: what it adds to the operation's typical work.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use rekindle_stats::{
    Calls, LogHistogram, Moments, Probability, Shift, Usual, shift, slower_share,
};

use super::{Both, Group};
use crate::rank::input::Part;

/// The known ways to an operation, in one group of requests.
pub(super) struct KnownWays<'a> {
    own: &'a Both<'a>,
    /// The typical own work before, in nanoseconds; asked for only where a way to it took any call now.
    work: OnceCell<u64>,
    /// Known ways now.
    calls: f64,
}

impl<'a> KnownWays<'a> {
    /// Per operation and group, where not the ways of all visits are known: else all of it is in the whole.
    pub(super) fn of(group: &'a Group<'a>) -> BTreeMap<(usize, usize), Self> {
        let mut own = group.own().iter().peekable();
        let mut found = BTreeMap::new();
        for whole in group.wholes() {
            let Part::Whole(id) = whole.part else { break };
            let part = (Part::Own(id), whole.group);
            while own.next_if(|own| (own.part, own.group) < part).is_some() {}
            let of_it = own.peek().filter(|own| (own.part, own.group) == part);
            let Some(own) = of_it else { continue };
            let calls = own.now.durations.count();
            if calls < whole.now.durations.count() {
                let work = OnceCell::new();
                found.insert((id, whole.group), Self { own, work, calls });
            }
        }
        found
    }

    /// How the way of one caller differs on top of the work, the share of its calls that are slower, and which share
    /// of the known ways it is.
    pub(super) fn shift(&self, way: &Both<'_>, usual: &Usual) -> Option<(Shift, f64, f64)> {
        if way.now.durations.count() == 0.0 {
            return None;
        }
        let work = *self.work.get_or_init(|| {
            let middle = Probability::clamped(0.5);
            self.own.durations_before().quantile(middle).unwrap_or(0)
        });
        let [before, now] = way.durations().map(|way| {
            let mut sum = LogHistogram::default();
            for (nanos, calls) in way.buckets() {
                let bucket = LogHistogram::bucket_of(work.saturating_add(nanos as u64));
                sum.add_many(bucket, calls);
            }
            sum
        });
        let of = |durations, calls: Calls| Calls {
            durations: Moments::of(durations),
            ..calls
        };
        let found = shift(of(&before, way.before), of(&now, way.now), usual)?;
        let known = way.now.durations.count() / self.calls;
        Some((found, slower_share(&before, &now), known))
    }
}
