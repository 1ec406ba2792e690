//! Who failed when whom failed, counted from traces.
//!
//! Of each trace: which places asked which others, directly or not, and which of them failed. Places are
//! numbers of the caller's: restart units in the engine, services and components in `rekindle tree derive`.
//! What follows from the counts is recovery's to say ([`rekindle_recovery::tree::failure_map`]).

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::{Status, Trace};
use rekindle_recovery::tree::failure_map::{FailureMap, Seen, infer_since};

/// Pairs counted; what more there are is counted as left out. Thirty for each of a thousand units.
const MAX_PAIRS: usize = 30_000;

/// The counts of ordered pairs: of one that was asked, and one that asked it.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: BTreeMap<(usize, usize), Counts>,
    /// Pairs in traces that found no room.
    pub(crate) left_out: u64,
}

/// Traces with both.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// In which the asked one failed, and in how many of them the other did, too.
    failed: u64,
    also: u64,
    /// In which it was well, and in how many of them the other failed anyway.
    well: u64,
    anyway: u64,
}

impl Pairs {
    /// Counts a trace that stands for so many; `place_of` says where each of its spans belongs. How many
    /// steps that took: its spans, and of each those above it.
    pub(crate) fn add(
        &mut self,
        trace: &Trace,
        place_of: &[Option<usize>],
        stands_for: u64,
    ) -> u64 {
        let mut steps = place_of.len() as u64;
        let failed: BTreeSet<usize> = trace
            .spans()
            .iter()
            .zip(place_of)
            .filter(|(span, _)| span.status == Status::Error)
            .filter_map(|(_, place)| *place)
            .collect();
        let mut asked: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (at, source) in place_of.iter().enumerate() {
            let Some(source) = source else { continue };
            let mut above = trace.parent(at);
            while let Some(parent) = above {
                steps += 1;
                if let Some(target) = place_of[parent]
                    && target != *source
                {
                    asked.insert((*source, target));
                }
                above = trace.parent(parent);
            }
        }
        for (source, target) in asked {
            if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&(source, target)) {
                self.left_out += 1;
                continue;
            }
            let counts = self.pairs.entry((source, target)).or_default();
            let also = stands_for * u64::from(failed.contains(&target));
            if failed.contains(&source) {
                counts.failed += stands_for;
                counts.also += also;
            } else {
                counts.well += stands_for;
                counts.anyway += also;
            }
        }
        steps
    }

    /// Lets everything weigh half, and forgets what weighs nothing any more: software changes.
    pub(crate) fn fade(&mut self) {
        self.pairs.retain(|_, counts| {
            for count in [
                &mut counts.failed,
                &mut counts.also,
                &mut counts.well,
                &mut counts.anyway,
            ] {
                *count /= 2;
            }
            counts.failed + counts.well > 0
        });
    }

    /// What follows, where this followed before.
    pub(crate) fn map(&self, last: &FailureMap) -> FailureMap {
        let seen: Vec<Seen> = self
            .pairs
            .iter()
            .map(|((source, target), counts)| Seen {
                source: *source,
                target: *target,
                failed: counts.failed,
                also: counts.also,
                well: counts.well,
                anyway: counts.anyway,
            })
            .collect();
        infer_since(last, &seen)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use rekindle_model::{ReleaseReason, Shape, Span, SpanId, Status, Trace, TraceId, UnixNanos};

    /// A trace of two spans, the first of which asks the second.
    pub(crate) fn asks(first_failed: bool, second_failed: bool) -> Trace {
        let spans =
            [first_failed, second_failed]
                .into_iter()
                .zip(1_u8..)
                .map(|(is_failed, number)| Span {
                    trace_id: TraceId::from_bytes([1; 16]).expect("an id"),
                    span_id: SpanId::from_bytes([number; 8]).expect("an id"),
                    parent_id: SpanId::from_bytes([number - 1; 8]),
                    parent_is_remote: None,
                    start: UnixNanos::from_secs(1_000),
                    end: UnixNanos::from_secs(1_001),
                    shape: Arc::new(Shape {
                        status: match is_failed {
                            true => Status::Error,
                            false => Status::Unset,
                        },
                        ..Shape::default()
                    }),
                    links: Box::default(),
                });
        Trace::new(spans.collect(), ReleaseReason::RootQuiet).expect("not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::testing::asks;
    use super::*;

    #[test]
    fn who_was_asked_and_failed_makes_fail_who_asked_but_not_the_other_way_round() {
        let mut pairs = Pairs::default();
        let places = [Some(3), Some(8)];
        for (asking_failed, asked_failed, count) in
            [(true, true, 90), (false, true, 10), (false, false, 1000)]
        {
            for _ in 0..count {
                pairs.add(&asks(asking_failed, asked_failed), &places, 1);
            }
        }
        assert_eq!(pairs.add(&asks(false, false), &places, 1), 3);
        let edges = pairs.map(&FailureMap::default()).edges;
        assert_eq!(edges.len(), 1);
        assert_eq!((edges[0].source, edges[0].target), (8, 3));
        assert!((edges[0].share - 0.9).abs() < 0.05, "{edges:?}");
        // A thousandth of so few is nothing.
        for _ in 0..10 {
            pairs.fade();
        }
        assert!(pairs.map(&FailureMap::default()).edges.is_empty());
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut pairs = Pairs::default();
        let trace = asks(true, true);
        for number in 0..=MAX_PAIRS {
            pairs.add(&trace, &[Some(0), Some(number + 1)], 1);
        }
        assert_eq!((pairs.pairs.len(), pairs.left_out), (MAX_PAIRS, 1));
        // A place that asks itself, or that nobody knows, is no pair.
        pairs.add(&trace, &[Some(0), Some(0)], 1);
        pairs.add(&trace, &[Some(0), None], 1);
        assert_eq!(pairs.left_out, 1);
    }
}
