//! How long does work take, and whom does it ask? Per time slice, beside the spectrum.
//!
//! The spectrum knows states, which see failures and requests that were too slow. A component that
//! got slower without anybody giving up, or that stopped asking somebody it used to ask, is in no
//! state; so the own time of each operation and dependency is counted in histograms, and the set of
//! callees of each visit as a *shape*, both per request type. Histograms and counts add, so slices
//! do, too.

use std::collections::{BTreeMap, HashMap};

use rekindle_stats::LogHistogram;

use crate::{Counts, LeftOut};

/// What one visit (or one call of a dependency) did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// The operation or dependency.
    pub(crate) component: u32,
    /// Nanoseconds of its own, the way there and back included.
    pub(crate) own_nanos: u64,
    /// Who called it from another process, and how long the way was.
    pub(crate) hop: Option<Hop>,
    /// The operations and dependencies that it asked, sorted, each once.
    pub(crate) asked: Vec<u32>,
    /// The one that it asked last.
    pub(crate) last: Option<u32>,
}

/// The way from a caller to a visit in another process and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The caller's operation.
    pub(crate) caller: u32,
    /// How much longer the call took than the visit, in nanoseconds.
    pub(crate) gap_nanos: u64,
    /// How much of the gap lies before the visit began, as far as the clocks agree.
    pub(crate) there_nanos: u64,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Segment {
    /// A component's own time and the way to it.
    Whole(u32),
    /// A component's own time alone.
    Own(u32),
    /// The way from an operation (first) to another (second) and back.
    Gap(u32, u32),
    /// The way there.
    There(u32, u32),
}

impl Segment {
    fn map(self, renumber: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        Some(match self {
            Self::Whole(id) => Self::Whole(renumber(id)?),
            Self::Own(id) => Self::Own(renumber(id)?),
            Self::Gap(from, to) => Self::Gap(renumber(from)?, renumber(to)?),
            Self::There(from, to) => Self::There(renumber(from)?, renumber(to)?),
        })
    }
}

/// Whom a visit asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VisitShape {
    pub(crate) component: u32,
    pub(crate) asked: Vec<u32>,
    pub(crate) last: Option<u32>,
}

/// What was measured in some slices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// Nanoseconds, per (request type, segment).
    pub(crate) times: BTreeMap<(u32, Segment), LogHistogram>,
    /// How often each shape was seen, per (request type, number of the shape).
    pub(crate) shapes: BTreeMap<(u32, u32), u64>,
}

impl Profile {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, times) in &other.times {
            self.times.entry(*key).or_default().merge(times);
        }
        for (key, count) in &other.shapes {
            *self.shapes.entry(*key).or_default() += count;
        }
    }
}

/// So many recent slices are kept one by one: as long as an incident's beginning is still being
/// found, and longer than any ranking is waited for.
const RECENT: u64 = 60;
/// So many older slices are put together: a ranking then adds up a hundred profiles, not a thousand.
/// An incident that began in the middle of them does without them.
const TOGETHER: u64 = 30;

/// The profiles of all slices of the window.
#[derive(Debug)]
pub(crate) struct Profiles {
    shapes: Vec<VisitShape>,
    // Only looked up, never iterated.
    ids: HashMap<VisitShape, u32>,
    /// Recent slices, by number.
    slices: BTreeMap<u64, Profile>,
    /// Older ones put together, by the first slice's number over [`TOGETHER`].
    older: BTreeMap<u64, Profile>,
    /// Slices below this one are put together; a multiple of [`TOGETHER`].
    recent_from: u64,
    max_shapes: usize,
}

impl Profiles {
    pub(crate) fn new(max_shapes: usize) -> Self {
        Self {
            shapes: Vec::new(),
            ids: HashMap::new(),
            slices: BTreeMap::new(),
            older: BTreeMap::new(),
            recent_from: 0,
            max_shapes,
        }
    }

    /// Counts the work of one request of this type.
    pub(crate) fn add(
        &mut self,
        slice: u64,
        request_type: u32,
        works: Vec<Work>,
        counts: &mut Counts,
    ) {
        let profile = if slice < self.recent_from {
            self.older.entry(slice / TOGETHER).or_default()
        } else {
            self.slices.entry(slice).or_default()
        };
        for work in works {
            let mut time = |segment, nanos| {
                let times = profile.times.entry((request_type, segment));
                times.or_default().add(nanos);
            };
            time(Segment::Whole(work.component), work.own_nanos);
            if let Some(hop) = work.hop {
                let own = work.own_nanos.saturating_sub(hop.gap_nanos);
                time(Segment::Own(work.component), own);
                time(Segment::Gap(hop.caller, work.component), hop.gap_nanos);
                time(Segment::There(hop.caller, work.component), hop.there_nanos);
            }
            let shape = VisitShape {
                component: work.component,
                asked: work.asked,
                last: work.last,
            };
            let id = match self.ids.get(&shape) {
                Some(id) => *id,
                None if self.shapes.len() >= self.max_shapes => {
                    counts.add(LeftOut::RowOverflow);
                    continue;
                }
                None => {
                    let id = self.shapes.len() as u32;
                    self.ids.insert(shape.clone(), id);
                    self.shapes.push(shape);
                    id
                }
            };
            *profile.shapes.entry((request_type, id)).or_default() += 1;
        }
    }

    pub(crate) fn shape(&self, id: u32) -> &VisitShape {
        &self.shapes[id as usize]
    }

    /// Everything in the slices in `[from, until)`, added up; older ones only where all that were
    /// put together lie within.
    pub(crate) fn between(&self, from: u64, until: u64) -> Profile {
        let mut sum = Profile::default();
        if from >= until {
            return sum;
        }
        let whole = from.div_ceil(TOGETHER)..until / TOGETHER;
        if whole.start < whole.end {
            let older = self.older.range(whole);
            older.for_each(|(_, profile)| sum.merge(profile));
        }
        let recent = self.slices.range(from..until);
        recent.for_each(|(_, profile)| sum.merge(profile));
        sum
    }

    /// The slice in the middle of those before `until` that hold anything.
    pub(crate) fn middle(&self, until: u64) -> u64 {
        let older = self.older.keys().map(|at| at * TOGETHER);
        let held: Vec<u64> = older
            .chain(self.slices.keys().copied())
            .take_while(|slice| *slice < until)
            .collect();
        held.get(held.len() / 2).copied().unwrap_or(until)
    }

    /// Puts together what isn't recent any more, now that it is the time of slice `now`.
    pub(crate) fn settle(&mut self, now: u64) {
        let recent_from = now.saturating_sub(RECENT) / TOGETHER * TOGETHER;
        if recent_from <= self.recent_from {
            return;
        }
        self.recent_from = recent_from;
        let recent = self.slices.split_off(&recent_from);
        for (slice, profile) in std::mem::replace(&mut self.slices, recent) {
            let older = self.older.entry(slice / TOGETHER).or_default();
            older.merge(&profile);
        }
    }

    pub(crate) fn forget_before(&mut self, slice: u64) {
        self.slices = self.slices.split_off(&slice);
        self.older = self.older.split_off(&(slice / TOGETHER));
    }

    pub(crate) fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// Marks the components that any slice speaks of.
    pub(crate) fn mark_used(&self, used: &mut [bool]) {
        for profile in self.slices.values().chain(self.older.values()) {
            for (_, segment) in profile.times.keys() {
                let (Segment::Whole(a) | Segment::Own(a)) = *segment else {
                    continue; // Both ends of a hop have times of their own.
                };
                used[a as usize] = true;
            }
            for (_, shape) in profile.shapes.keys() {
                let shape = self.shape(*shape);
                for component in shape.asked.iter().chain(&shape.last) {
                    used[*component as usize] = true;
                }
            }
        }
    }

    /// Renumbers components, and drops shapes that no slice speaks of.
    pub(crate) fn keep(&mut self, components: &[Option<u32>]) {
        let mut in_use = vec![false; self.shapes.len()];
        let all = self.slices.values().chain(self.older.values());
        for (_, shape) in all.flat_map(|profile| profile.shapes.keys()) {
            in_use[*shape as usize] = true;
        }
        let mut mapping = vec![None; self.shapes.len()];
        self.ids.clear();
        for (old, shape) in std::mem::take(&mut self.shapes).into_iter().enumerate() {
            let renumber = |id: u32| components[id as usize];
            let asked: Option<Vec<u32>> = shape.asked.iter().map(|id| renumber(*id)).collect();
            let (true, Some(component), Some(mut asked)) =
                (in_use[old], renumber(shape.component), asked)
            else {
                continue;
            };
            asked.sort_unstable();
            let shape = VisitShape {
                component,
                asked,
                last: shape.last.and_then(renumber),
            };
            let new = self.shapes.len() as u32;
            mapping[old] = Some(new);
            self.ids.insert(shape.clone(), new);
            self.shapes.push(shape);
        }
        for profile in self.slices.values_mut().chain(self.older.values_mut()) {
            profile.times = std::mem::take(&mut profile.times)
                .into_iter()
                .filter_map(|((of, segment), times)| {
                    let segment = segment.map(|id| components[id as usize])?;
                    Some(((of, segment), times))
                })
                .collect();
            profile.shapes = std::mem::take(&mut profile.shapes)
                .into_iter()
                .filter_map(|((of, id), count)| Some(((of, mapping[id as usize]?), count)))
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(component: u32, asked: &[u32]) -> Work {
        Work {
            component,
            own_nanos: 1_000,
            hop: None,
            asked: asked.to_vec(),
            last: asked.last().copied(),
        }
    }

    #[test]
    fn slices_add_up_and_survive_renumbering() {
        let mut counts = Counts::default();
        let mut profiles = Profiles::new(10);
        profiles.add(1, 0, vec![work(3, &[5]), work(5, &[])], &mut counts);
        profiles.add(2, 0, vec![work(3, &[5])], &mut counts);
        assert_eq!(
            profiles.between(0, 9).times[&(0, Segment::Whole(3))].total(),
            2
        );
        assert_eq!(
            profiles.between(2, 9).times[&(0, Segment::Whole(3))].total(),
            1
        );
        let mut used = vec![false; 6];
        profiles.mark_used(&mut used);
        assert_eq!(used, [false, false, false, true, false, true]);
        profiles.keep(&[None, None, None, Some(0), None, Some(1)]);
        let all = profiles.between(0, 9);
        assert_eq!(all.times[&(0, Segment::Whole(0))].total(), 2);
        let shape = all.shapes.keys().map(|(_, id)| profiles.shape(*id)).next();
        assert_eq!(shape.map(|shape| shape.asked.clone()), Some(vec![1]));
        profiles.forget_before(2);
        assert_eq!(
            profiles.between(0, 9).times[&(0, Segment::Whole(0))].total(),
            1
        );
    }

    #[test]
    fn older_slices_are_put_together_and_late_ones_join_them() {
        let mut counts = Counts::default();
        let mut profiles = Profiles::new(10);
        let mut add = |profiles: &mut Profiles, slice| {
            profiles.add(slice, 0, vec![work(3, &[])], &mut counts);
        };
        for slice in 0..200 {
            add(&mut profiles, slice);
            profiles.settle(slice);
        }
        add(&mut profiles, 7);
        let seen = |profiles: &Profiles, from, until| {
            let times = profiles.between(from, until).times;
            times
                .get(&(0, Segment::Whole(3)))
                .map_or(0, LogHistogram::total)
        };
        assert_eq!(seen(&profiles, 0, 200), 201);
        // What lies across either end is left out.
        assert_eq!(seen(&profiles, 10, 75), 30);
        assert_eq!(seen(&profiles, 130, 140), 10);
        profiles.forget_before(60);
        assert_eq!(seen(&profiles, 0, 200), 140);
    }

    #[test]
    fn too_many_shapes_are_counted() {
        let mut counts = Counts::default();
        let mut profiles = Profiles::new(1);
        profiles.add(1, 0, vec![work(3, &[5]), work(5, &[])], &mut counts);
        assert_eq!(profiles.shapes(), 1);
        assert_eq!(counts.get(LeftOut::RowOverflow), 1);
    }
}
