//! Traces to look at: a few of each kind, bounded in all.
//!
//! Kept per request type, good and bad apart, newest first, so that a failed trace always finds a
//! successful one to be compared with. What a ranking has shown to somebody stays while its incident
//! is remembered: a link on a page must not be dead when it is followed.
//!
//! Under load, a kind's traces would be pushed out milliseconds after they came, and making a whole trace of
//! each would cost more than counting it. So a kind that is full, or couldn't take its last one, is offered one of a
//! moment's. Likewise where many kinds share the room: who has its part of it isn't asked for each of its traces.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use hashbrown::HashMap;
use rekindle_model::{Trace, TraceId, UnixNanos};

use crate::{Counts, LeftOut};

/// So many traces of each type and kind: enough to choose three for each of several suspects.
const PER_KIND: usize = 24;

/// So many shown traces stay per incident: those of a ranking of ten suspects.
const PINNED: usize = 60;

/// A kind that is full takes another trace when the last one offered began so long before: then its traces
/// are those of a second at least, and what nobody will look at isn't kept.
const SPACING: Duration = Duration::from_millis(50);

/// Traces of one request type that ended alike.
#[derive(Debug, Default)]
struct Kind {
    /// Oldest first.
    traces: VecDeque<TraceId>,
    /// When the last one that was offered began, and when the last one of another moment did: recordings may hand in
    /// traces of two times in turns.
    offered: [UnixNanos; 2],
    /// Whether that one was left, because all are shown by rankings, say.
    is_closed: bool,
}

/// Whether these are two moments.
fn are_apart(one: UnixNanos, other: UnixNanos) -> bool {
    one.since(other).max(other.since(one)) >= SPACING
}

#[derive(Debug)]
pub(crate) struct ExampleStore {
    /// Each request that is forgotten is looked for here.
    traces: HashMap<TraceId, Trace>,
    /// Per request type and whether bad.
    kinds: BTreeMap<(u32, bool), Kind>,
    /// Per incident: the traces that its rankings showed, the last shown at the end.
    pinned: BTreeMap<u64, VecDeque<TraceId>>,
    spans: usize,
    max_spans: usize,
}

impl ExampleStore {
    pub(crate) fn new(max_spans: usize) -> Self {
        Self {
            traces: HashMap::new(),
            kinds: BTreeMap::new(),
            pinned: BTreeMap::new(),
            spans: 0,
            max_spans,
        }
    }

    /// Whether a trace that began then is worth adding.
    #[inline]
    pub(crate) fn wants(&self, start: UnixNanos, request_type: u32, bad: bool) -> bool {
        self.kinds.get(&(request_type, bad)).is_none_or(|kind| {
            let is_new = kind.offered.iter().all(|it| are_apart(*it, start));
            is_new || !kind.is_closed && kind.traces.len() < self.per_kind()
        })
    }

    /// How many traces of each kind there is room for, as long as they are on average.
    fn per_kind(&self) -> usize {
        let in_all = self.max_spans * self.traces.len() / self.spans.max(1);
        (in_all / self.kinds.len().max(1)).clamp(1, PER_KIND)
    }

    pub(crate) fn add(&mut self, trace: Trace, request_type: u32, bad: bool, counts: &mut Counts) {
        let (kind, start) = ((request_type, bad), trace.spans()[0].start);
        let is_taken = self.take(trace, kind, counts);
        let of_kind = self.kinds.entry(kind).or_default();
        if are_apart(of_kind.offered[0], start) {
            of_kind.offered.swap(0, 1);
        }
        of_kind.offered[0] = start;
        of_kind.is_closed = !is_taken;
    }

    /// Takes a trace if it may; whether it did.
    fn take(&mut self, trace: Trace, kind: (u32, bool), counts: &mut Counts) -> bool {
        let size = trace.spans().len();
        if self.traces.contains_key(&trace.trace_id()) {
            return false;
        }
        if size > self.max_spans {
            counts.add(LeftOut::ExampleOverflow);
            return false;
        }
        let full = self
            .kinds
            .get(&kind)
            .is_some_and(|k| k.traces.len() >= PER_KIND);
        if full && !self.drop_oldest(kind) {
            return false;
        }
        while self.spans + size > self.max_spans {
            counts.add(LeftOut::ExampleOverflow);
            // The kind with most traces has most to give; where many kinds share the room, this is asked for each
            // request, and the first one nearly always gives.
            let kinds = self.kinds.iter();
            let mut kinds: BinaryHeap<_> =
                kinds.map(|(k, v)| (v.traces.len(), Reverse(*k))).collect();
            let mut largest = std::iter::from_fn(|| kinds.pop());
            if !largest.any(|(_, Reverse(kind))| self.drop_oldest(kind)) {
                return false;
            }
        }
        self.spans += size;
        let of_kind = self.kinds.entry(kind).or_default();
        of_kind.traces.push_back(trace.trace_id());
        self.traces.insert(trace.trace_id(), trace);
        true
    }

    /// Somebody outside corrected how this one ended.
    pub(crate) fn correct(&mut self, trace_id: TraceId, request_type: u32, bad: bool) {
        let Some(Kind { traces, .. }) = self.kinds.get_mut(&(request_type, !bad)) else {
            return;
        };
        if let Some(at) = traces.iter().position(|id| *id == trace_id) {
            traces.remove(at);
            let other = self.kinds.entry((request_type, bad)).or_default();
            other.traces.push_back(trace_id);
            if other.traces.len() > PER_KIND {
                self.drop_oldest((request_type, bad));
            }
        }
    }

    /// Keeps what a ranking of the incident shows, as far as it is here.
    pub(crate) fn pin(&mut self, incident: u64, shown: impl Iterator<Item = TraceId>) {
        let pinned = self.pinned.entry(incident).or_default();
        for trace_id in shown.filter(|id| self.traces.contains_key(id)) {
            pinned.retain(|known| *known != trace_id);
            pinned.push_back(trace_id);
        }
        let surplus = pinned.len().saturating_sub(PINNED);
        pinned.drain(..surplus);
    }

    /// Lets go of what was kept for incidents that are forgotten.
    pub(crate) fn unpin(&mut self, remembered: &BTreeSet<u64>) {
        self.pinned
            .retain(|incident, _| remembered.contains(incident));
    }

    /// Drops the oldest of a kind that no ranking shows. Whether there was one.
    fn drop_oldest(&mut self, kind: (u32, bool)) -> bool {
        let Some(Kind { traces, .. }) = self.kinds.get_mut(&kind) else {
            return false;
        };
        let is_pinned = |id: &TraceId| self.pinned.values().any(|pinned| pinned.contains(id));
        let Some(at) = traces.iter().position(|id| !is_pinned(id)) else {
            return false;
        };
        if let Some(oldest) = traces.remove(at)
            && let Some(trace) = self.traces.remove(&oldest)
        {
            self.spans -= trace.spans().len();
        }
        if traces.is_empty() {
            self.kinds.remove(&kind);
        }
        true
    }

    pub(crate) fn get(&self, trace_id: TraceId) -> Option<&Trace> {
        self.traces.get(&trace_id)
    }

    /// In order, since rankings show them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TraceId> + use<> {
        let mut ids: Vec<TraceId> = self.traces.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};

    const START: UnixNanos = UnixNanos::from_secs(1_000_000);

    fn trace(number: u128, start: UnixNanos) -> Trace {
        let made = T { id: number, start };
        made.build(Call::server("shop", "GET /"))
    }

    /// What is offered is made whole for it, so a kind that took nothing isn't offered each of its traces.
    #[test]
    fn a_kind_that_cannot_take_is_offered_one_of_a_moment() {
        let in_all = PER_KIND + 1;
        for (reason, max_spans, taken, shown) in [
            ("all are shown", in_all, PER_KIND, PER_KIND),
            ("all are shown, and there is no room", 2, 2, 2),
            ("each is longer than the room", 0, 0, 0),
            ("nothing stands against it", in_all, PER_KIND, 0),
            ("it isn't full", in_all, 2, 0),
        ] {
            let mut store = ExampleStore::new(max_spans);
            let mut counts = Counts::default();
            for number in 1..=taken as u128 {
                assert!(store.wants(START, 0, true), "{reason}");
                store.add(trace(number, START), 0, true, &mut counts);
            }
            let ids: Vec<_> = store.ids().collect();
            store.pin(1, ids.into_iter().take(shown));
            let later = START.plus(SPACING);
            assert!(store.wants(later, 0, true), "{reason}");
            store.add(trace(1000, later), 0, true, &mut counts);
            let wants_each = reason == "it isn't full";
            assert_eq!(store.wants(later, 0, true), wants_each, "{reason}");
            assert!(store.wants(later.plus(SPACING), 0, true), "{reason}");
            assert!(store.wants(later, 0, false), "{reason}: of another kind");
        }
    }

    #[test]
    fn traces_of_two_times_in_turns_are_of_two_moments() {
        let mut store = ExampleStore::new(2);
        let mut counts = Counts::default();
        let times = [START, START.plus(Duration::from_secs(1))];
        let mut offered = 0;
        for number in 0..40usize {
            let start = times[number % 2];
            if store.wants(start, 0, false) {
                offered += 1;
                store.add(trace(number as u128 + 1, start), 0, false, &mut counts);
            }
        }
        assert_eq!(offered, 2);
        // Of a clock that was set back, each moment is a new one.
        for moment in 1..4 {
            let start = START.minus(moment * SPACING);
            assert!(store.wants(start, 0, false));
            let number = 1_000 + u128::from(moment);
            store.add(trace(number, start), 0, false, &mut counts);
        }
    }

    #[test]
    fn a_kind_that_has_its_part_of_the_room_is_not_offered_each() {
        let mut store = ExampleStore::new(8);
        let mut counts = Counts::default();
        let mut offered = 0;
        for number in 1..=40u128 {
            let kind = number as u32 % 4;
            if store.wants(START, kind, false) {
                offered += 1;
                store.add(trace(number, START), kind, false, &mut counts);
            }
        }
        assert_eq!(store.ids().count(), 8);
        assert!(offered < 20, "{offered}");
        assert!(store.wants(START, 5, true), "of a new kind");
    }
}
