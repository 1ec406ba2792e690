//! Which of a type's requests say nothing of what is usual?
//!
//! Those that came while it was in an incident, from its onset to its cure. An outage of ten minutes would otherwise be most
//! of what the next one is compared with, and the same fault again would look like more of the same.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The slices in which request types were in an incident, by the types' numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Troubled {
    by_type: BTreeMap<u32, Vec<Range<u64>>>,
}

impl Troubled {
    /// The type was in an incident in these slices.
    pub(crate) fn add(&mut self, request_type: u32, slices: Range<u64>) {
        if !slices.is_empty() {
            self.by_type.entry(request_type).or_default().push(slices);
        }
    }

    /// The types, each with slices in which it was in incidents, none of which is there twice.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (u32, Range<u64>)> + '_ {
        self.by_type.iter().flat_map(|(id, known)| {
            let mut known = known.clone();
            known.sort_by_key(|it| it.start);
            let mut apart: Vec<Range<u64>> = Vec::new();
            for next in known {
                match apart.last_mut() {
                    Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                    _ => apart.push(next),
                }
            }
            apart.into_iter().map(|slices| (*id, slices))
        })
    }

    /// Whether it was in any of these.
    pub(crate) fn holds(&self, request_type: u32, slices: &Range<u64>) -> bool {
        let known = self.by_type.get(&request_type);
        known.is_some_and(|known| known.iter().any(|it| overlap(it, slices)))
    }

    /// The types that were in any of these, sorted: mostly none.
    pub(crate) fn types_in(&self, slices: &Range<u64>) -> Vec<u32> {
        let known = self.by_type.iter();
        known
            .filter(|(_, known)| known.iter().any(|it| overlap(it, slices)))
            .map(|(id, _)| *id)
            .collect()
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The slices that a ranking compares, less what is troubled of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked<const N: usize> {
    pub(crate) stretches: [Range<u64>; N],
    pub(crate) troubled: Arc<Troubled>,
}

impl<const N: usize> Default for Asked<N> {
    fn default() -> Self {
        Self {
            stretches: std::array::from_fn(|_| 0..0),
            troubled: Arc::default(),
        }
    }
}
