//! How long does work take, and whom does it ask? Per time slice, beside the spectrum.
//!
//! The spectrum knows states, which see failures and requests that were too slow. A component that
//! got slower without anybody giving up, or that stopped asking somebody it used to ask, is in no
//! state; so the own time of each operation and dependency is counted in histograms, and the set of
//! callees of each visit as a *shape*, both per request type. Histograms and counts add, so slices
//! do, too.
//!
//! Requests that go the same way add to the same counts, so while a slice is counted into they are counted by their
//! way, and only some of them are measured: see [`measured`].

mod measured;
mod running;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rekindle_model::TraceId;
use rekindle_stats::LogHistogram;

use measured::{ByCourse, Courses};
pub(crate) use measured::{Measuring, Sampling};

use crate::rank::{Brief, Counted};
use crate::tally::{COUNTED_INTO, Tally};
use crate::troubled::Asked;
use crate::{Counts, LeftOut};
use running::{Place, Running};

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

/// What was measured in three stretches of time: the earlier and the later half of a baseline, and a window.
pub(crate) struct Profile<'a> {
    sums: Cow<'a, Running>,
    profiles: &'a Profiles,
}

impl Profile<'_> {
    /// All numbers under which anything may have been counted, most of them in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.profiles.ordered()
    }

    /// Those under which something changed since the sums had caught up so often; `None` where that is too long ago.
    pub(crate) fn news_since(&self, caught_up: u64) -> Option<&[usize]> {
        self.sums.news_since(caught_up)
    }

    /// How often the sums caught up.
    pub(crate) fn caught_up(&self) -> u64 {
        self.sums.caught_up()
    }

    /// What is counted under a number: the request type, and what of it.
    pub(crate) fn what(&self, number: usize) -> (u32, What) {
        self.profiles.counted[number]
    }

    /// What comparisons ask of what is timed under this number; `None` where nothing was.
    pub(crate) fn brief(&self, number: usize) -> Option<Brief> {
        self.sums.brief(number)
    }

    /// The durations of everything, by number.
    pub(crate) fn durations(&self) -> &Arc<Counted> {
        self.sums.durations()
    }

    /// How often the shape of this number was seen; `None` where it wasn't.
    pub(crate) fn seen(&self, number: usize) -> Option<[u64; 3]> {
        self.sums.shape(number)
    }

    /// The components of which a visit was timed, some of them more than once.
    pub(crate) fn components(&self) -> impl Iterator<Item = u32> {
        self.sums.components(self.profiles)
    }
}

/// What is counted of the requests of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// How long this took, by buckets.
    Time(Segment),
    /// Visits of this shape.
    Shape(u32),
}

/// Where one visit is counted: the numbers of what it adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Places {
    // Each is `None` when there is too much that is counted.
    whole: Option<u32>,
    hop: Option<HopPlaces>,
    shape: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HopPlaces {
    own: Option<u32>,
    gap: Option<u32>,
    there: Option<u32>,
}

impl Places {
    /// Where its times are counted: its own, then the three of [`Spent::on_the_way`] if it was called from another
    /// process.
    fn timed(&self) -> impl Iterator<Item = Option<u32>> {
        let hop = self.hop.map(|hop| [hop.own, hop.gap, hop.there]);
        [self.whole].into_iter().chain(hop.into_iter().flatten())
    }

    /// How many of its counts there is no room for.
    fn without_room(&self) -> usize {
        let all = self.timed().chain([self.shape]);
        all.filter(Option::is_none).count()
    }
}

/// Nanoseconds of one visit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Of its own, the way included.
    pub(crate) own: u64,
    /// The way there and back.
    pub(crate) gap: u64,
    /// The way there.
    pub(crate) there: u64,
}

impl Spent {
    /// The buckets of its own time alone, the way there and back, and the way there.
    fn on_the_way(&self) -> [u16; 3] {
        let own = self.own.saturating_sub(self.gap);
        [own, self.gap, self.there].map(LogHistogram::bucket_of)
    }
}

/// Of a number in a tally: so many bits are the bucket's.
const BUCKET_BITS: u32 = 16;

/// Where a bucket would be: counts what wasn't measured. No histogram has so many buckets.
const UNMEASURED: u16 = u16::MAX;

fn key(number: u32, bucket: u16) -> u64 {
    u64::from(number) << BUCKET_BITS | u64::from(bucket)
}

fn number_of(key: u64) -> usize {
    (key >> BUCKET_BITS) as usize
}

/// So many recent slices are kept one by one: as long as an incident's beginning is still being
/// found, and longer than any ranking is waited for.
const RECENT: u64 = 60;
/// So many older slices are put together: a ranking then adds up a hundred profiles, not a thousand.
/// An incident that began in the middle of them does without them.
const TOGETHER: u64 = 30;

/// One of so many may be out of order: the few are put between the others each time.
const OUT_OF_ORDER: usize = 16;

/// The profiles of all slices of the window.
#[derive(Debug)]
pub(crate) struct Profiles {
    shapes: Vec<VisitShape>,
    // Only looked up, never iterated.
    ids: HashMap<VisitShape, u32>,
    /// What is counted, by number: the request type, and what of it.
    counted: Vec<(u32, What)>,
    /// The numbers of what is counted, in the order in which rankings want it, as far as they were put in order.
    order: Vec<u32>,
    // Only looked up, never iterated.
    numbers: HashMap<(u32, What), u32>,
    courses: Courses,
    /// Recent slices, by number.
    slices: BTreeMap<u64, Slice>,
    /// Older ones put together, by the first slice's number over [`TOGETHER`].
    older: BTreeMap<u64, Tally>,
    /// Slices below this one are put together; a multiple of [`TOGETHER`].
    recent_from: u64,
    /// Slices below this one are settled.
    counted_from: u64,
    /// What was added up for open incidents.
    running: Vec<(u64, Running)>,
    max_shapes: usize,
    max_counted: usize,
    sampling: Sampling,
}

/// A slice that is recent.
#[derive(Debug, Default)]
struct Slice {
    tally: Tally,
    /// What isn't in the tally yet.
    by_course: ByCourse,
}

impl Profiles {
    /// Tells so many shapes (and courses) apart, counts so many things, and measures so many requests of each type in a
    /// slice as the sampling says.
    pub(crate) fn new(max_shapes: usize, max_counted: usize, sampling: Sampling) -> Self {
        Self {
            shapes: Vec::new(),
            ids: HashMap::new(),
            counted: Vec::new(),
            order: Vec::new(),
            numbers: HashMap::new(),
            courses: Courses::default(),
            slices: BTreeMap::new(),
            older: BTreeMap::new(),
            recent_from: 0,
            counted_from: 0,
            running: Vec::new(),
            max_shapes,
            max_counted,
            sampling,
        }
    }

    /// Where the work of a visit is counted in requests of this type. What there is no room for is
    /// counted as left out, each time that the visit is.
    pub(crate) fn places(&mut self, request_type: u32, work: &Work) -> Places {
        let mut number = |segment| self.number(request_type, What::Time(segment));
        let whole = number(Segment::Whole(work.component));
        let hop = work.hop.map(|hop| HopPlaces {
            own: number(Segment::Own(work.component)),
            gap: number(Segment::Gap(hop.caller, work.component)),
            there: number(Segment::There(hop.caller, work.component)),
        });
        let shape = self.shape_number(work);
        let shape = shape.and_then(|shape| self.number(request_type, What::Shape(shape)));
        Places { whole, hop, shape }
    }

    fn shape_number(&mut self, work: &Work) -> Option<u32> {
        let shape = VisitShape {
            component: work.component,
            asked: work.asked.clone(),
            last: work.last,
        };
        if let Some(id) = self.ids.get(&shape) {
            return Some(*id);
        }
        if self.shapes.len() >= self.max_shapes {
            return None;
        }
        let id = self.shapes.len() as u32;
        self.ids.insert(shape.clone(), id);
        self.shapes.push(shape);
        Some(id)
    }

    /// The number of something that is counted; `None` when there is no room for more.
    fn number(&mut self, request_type: u32, what: What) -> Option<u32> {
        match self.numbers.entry((request_type, what)) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(_) if self.counted.len() >= self.max_counted => None,
            Entry::Vacant(new) => {
                self.counted.push((request_type, what));
                Some(*new.insert((self.counted.len() - 1) as u32))
            }
        }
    }

    /// The number of the course of requests with these works, good until [`Self::forget_courses`]; `None` when
    /// there are too many, or each request is to be measured.
    pub(crate) fn course(&mut self, places: Vec<Places>) -> Option<u32> {
        if self.sampling.most == usize::MAX {
            return None;
        }
        self.courses.number(places, self.max_shapes)
    }

    /// Whether slices of this time are still kept one by one. What comes later is too little to be sampled.
    pub(crate) fn is_recent(&self, slice: u64) -> bool {
        slice >= self.recent_from
    }

    /// Counts a request on this course in a recent slice; if it is to be measured, what takes its times.
    #[inline]
    pub(crate) fn count(
        &mut self,
        slice: u64,
        course: u32,
        request_type: u32,
        id: TraceId,
        counts: &mut Counts,
    ) -> Option<Measuring<'_>> {
        let without_room = self.courses.without_room(course);
        if without_room > 0 {
            counts.add_many(LeftOut::RowOverflow, without_room);
        }
        let slice = self.slices.entry(slice).or_default();
        let by_course = &mut slice.by_course;
        by_course.count(course, request_type, id, self.sampling)
    }

    /// Counts the visits of one request: where, and how long each took.
    pub(crate) fn add(
        &mut self,
        slice: u64,
        visits: impl Iterator<Item = (Places, Spent)>,
        counts: &mut Counts,
    ) {
        let tally = match self.is_recent(slice) {
            true => &mut self.slices.entry(slice).or_default().tally,
            false => self.older.entry(slice / TOGETHER).or_default(),
        };
        let mut add = |place: Option<u32>, bucket: u16| match place {
            Some(number) => tally.add(key(number, bucket)),
            None => counts.add(LeftOut::RowOverflow),
        };
        for (places, spent) in visits {
            let own = LogHistogram::bucket_of(spent.own);
            let hop = places.hop.map(|_| spent.on_the_way());
            let times = [own].into_iter().chain(hop.into_iter().flatten());
            for (place, bucket) in places.timed().zip(times) {
                add(place, bucket);
            }
            add(places.shape, 0);
        }
    }

    pub(crate) fn shape(&self, id: u32) -> &VisitShape {
        &self.shapes[id as usize]
    }

    /// Everything in the slices of each of these stretches, added up; older ones only where all that were put
    /// together lie within. Of an incident that is followed only what changed since is added.
    pub(crate) fn around(&self, incident: u64, asked: &Asked<3>) -> Profile<'_> {
        let known = self.running.iter().find(|(id, _)| *id == incident);
        let sums = match known {
            Some((_, running)) if running.is_current(self, asked) => Cow::Borrowed(running),
            known => {
                let mut running = known.map_or_else(Running::default, |(_, known)| known.clone());
                running.catch_up(self, asked);
                Cow::Owned(running)
            }
        };
        Profile {
            sums,
            profiles: self,
        }
    }

    /// Keeps what is asked of these incidents added up, and of no others.
    pub(crate) fn follow<'a>(&mut self, incidents: impl Iterator<Item = (u64, &'a Asked<3>)>) {
        let mut running = std::mem::take(&mut self.running);
        for (id, asked) in incidents {
            let known = running.iter().position(|(known, _)| *known == id);
            let mut sums = known.map_or_else(Running::default, |at| running.swap_remove(at).1);
            sums.catch_up(self, asked);
            self.running.push((id, sums));
        }
    }

    /// Puts what is new among what is counted in order, if anything is: who ranks needn't do it each time. Components
    /// and request types stand at these places.
    pub(crate) fn put_in_order(&mut self, places: impl FnOnce() -> [Vec<u32>; 2]) {
        let known = self.order.len();
        if self.counted.len() - known <= known / OUT_OF_ORDER {
            return;
        }
        self.order.extend(known as u32..self.counted.len() as u32);
        let [components, types] = places();
        let place = |id: u32| components[id as usize];
        let mut order = std::mem::take(&mut self.order);
        order.sort_by_cached_key(|number| {
            let (of, what) = self.counted[*number as usize];
            let (kind, first, second) = match what {
                What::Time(Segment::Whole(id)) => (0, place(id), 0),
                What::Time(Segment::Own(id)) => (1, place(id), 0),
                What::Time(Segment::Gap(from, to)) => (2, place(from), place(to)),
                What::Time(Segment::There(from, to)) => (3, place(from), place(to)),
                What::Shape(shape) => (4, place(self.shape(shape).component), 0),
            };
            (kind, first, second, types[of as usize])
        });
        self.order = order;
    }

    /// The numbers of all that is counted, most of them in order.
    fn ordered(&self) -> impl Iterator<Item = usize> {
        let known = self.order.iter().map(|number| *number as usize);
        known.chain(self.order.len()..self.counted.len())
    }

    /// Where anything is counted.
    fn places_held(&self) -> impl Iterator<Item = Place> {
        let older = self.older.keys().map(|at| Place::Older(*at));
        older.chain(self.slices.keys().map(|at| Place::Recent(*at)))
    }

    /// What is counted there.
    fn held(&self, place: Place) -> Option<(&Tally, Option<&ByCourse>)> {
        match place {
            Place::Older(at) => self.older.get(&at).map(|tally| (tally, None)),
            Place::Recent(at) => {
                let slice = self.slices.get(&at)?;
                Some((&slice.tally, Some(&slice.by_course)))
            }
        }
    }

    /// The slice in the middle of those before `until` that hold anything and are wanted.
    pub(crate) fn middle(&self, until: u64, is_wanted: impl Fn(&Range<u64>) -> bool) -> u64 {
        let held = self.places_held().map(Place::slices);
        let held = held.take_while(|slices| slices.start < until);
        let held: Vec<Range<u64>> = held.filter(is_wanted).collect();
        let length = |slices: &Range<u64>| slices.end - slices.start;
        let half = held.iter().map(length).sum::<u64>() / 2;
        let mut before = 0;
        for slices in held {
            if before >= half {
                return slices.start;
            }
            before += length(&slices);
        }
        until
    }

    /// Puts together what isn't recent any more, now that it is the time of slice `now`.
    pub(crate) fn settle(&mut self, now: u64) {
        let counted_from = now.saturating_sub(COUNTED_INTO);
        if counted_from > self.counted_from {
            self.counted_from = counted_from;
            self.let_go(|_| false);
            for (_, slice) in self.slices.range_mut(..counted_from) {
                slice.by_course.settle(&self.courses, &mut slice.tally);
                slice.tally.settle();
            }
            self.running_settled();
        }
        let recent_from = now.saturating_sub(RECENT) / TOGETHER * TOGETHER;
        if recent_from <= self.recent_from {
            return;
        }
        self.let_go(|place| matches!(place, Place::Recent(slice) if slice < recent_from));
        self.recent_from = recent_from;
        let recent = self.slices.split_off(&recent_from);
        let mut together: BTreeMap<u64, Vec<Tally>> = BTreeMap::new();
        for (at, mut slice) in std::mem::replace(&mut self.slices, recent) {
            slice.by_course.settle(&self.courses, &mut slice.tally);
            together.entry(at / TOGETHER).or_default().push(slice.tally);
        }
        for (at, tallies) in together {
            self.let_go(|place| place == Place::Older(at));
            self.older.entry(at).or_default().take_in(tallies);
        }
        // What came late since the last time.
        self.older.values_mut().for_each(Tally::settle);
        self.running_settled();
    }

    /// Brings the sums that are kept up to date, so that nothing is missed that is settled now, and takes out of them
    /// what is about to go.
    fn let_go(&mut self, goes: impl Fn(Place) -> bool) {
        let mut running = std::mem::take(&mut self.running);
        for (_, sums) in &mut running {
            sums.let_go(self, |place, _| goes(place));
        }
        self.running = running;
    }

    fn running_settled(&mut self) {
        let mut running = std::mem::take(&mut self.running);
        for (_, sums) in &mut running {
            sums.settled(self);
        }
        self.running = running;
    }

    pub(crate) fn forget_before(&mut self, slice: u64) {
        let first = self.slices.keys().next();
        let first_older = self.older.keys().next();
        let is_any = first.is_some_and(|at| *at < slice)
            || first_older.is_some_and(|at| *at < slice / TOGETHER);
        if !is_any {
            return;
        }
        self.let_go(|place| match place {
            Place::Older(at) => at < slice / TOGETHER,
            Place::Recent(at) => at < slice,
        });
        self.slices = self.slices.split_off(&slice);
        self.older = self.older.split_off(&(slice / TOGETHER));
    }

    /// How many shapes there are, or courses, if those are more.
    pub(crate) fn shapes(&self) -> usize {
        self.shapes.len().max(self.courses.len())
    }

    /// Forgets the courses' numbers, and nothing that was counted by them.
    pub(crate) fn forget_courses(&mut self) {
        self.running.clear();
        for slice in self.slices.values_mut() {
            slice.by_course.settle(&self.courses, &mut slice.tally);
        }
        self.courses = Courses::default();
    }

    /// How many things are counted.
    pub(crate) fn counted(&self) -> usize {
        self.counted.len()
    }

    /// Which of what is counted any slice holds.
    fn in_use(&self) -> Vec<bool> {
        let mut in_use = vec![false; self.counted.len()];
        let recent = self.slices.values().map(|slice| &slice.tally);
        let all = recent.chain(self.older.values());
        for (key, _) in all.flat_map(Tally::iter) {
            in_use[number_of(key)] = true;
        }
        in_use
    }

    /// Marks the components that any slice speaks of. Courses must be forgotten before.
    pub(crate) fn mark_used(&self, used: &mut [bool]) {
        for ((_, what), in_use) in self.counted.iter().zip(self.in_use()) {
            match what {
                _ if !in_use => {}
                What::Time(Segment::Whole(id) | Segment::Own(id)) => used[*id as usize] = true,
                // Both ends of a hop have times of their own.
                What::Time(Segment::Gap(..) | Segment::There(..)) => {}
                What::Shape(shape) => {
                    let shape = self.shape(*shape);
                    for component in shape.asked.iter().chain(&shape.last) {
                        used[*component as usize] = true;
                    }
                }
            }
        }
    }

    /// Renumbers components, and drops what no slice speaks of. Courses must be forgotten before.
    pub(crate) fn keep(&mut self, components: &[Option<u32>]) {
        // Numbers are given anew.
        self.running.clear();
        self.order.clear();
        let in_use = self.in_use();
        let mut shape_in_use = vec![false; self.shapes.len()];
        for ((_, what), in_use) in self.counted.iter().zip(&in_use) {
            if let (What::Shape(shape), true) = (what, in_use) {
                shape_in_use[*shape as usize] = true;
            }
        }
        let mut mapping = vec![None; self.shapes.len()];
        self.ids.clear();
        for (old, shape) in std::mem::take(&mut self.shapes).into_iter().enumerate() {
            let renumber = |id: u32| components[id as usize];
            let asked: Option<Vec<u32>> = shape.asked.iter().map(|id| renumber(*id)).collect();
            let (true, Some(component), Some(mut asked)) =
                (shape_in_use[old], renumber(shape.component), asked)
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
        self.numbers.clear();
        let old = std::mem::take(&mut self.counted);
        let mut renumbered = Vec::with_capacity(old.len());
        for ((of, what), in_use) in old.into_iter().zip(in_use) {
            let kept = match what {
                _ if !in_use => None,
                What::Time(segment) => segment.map(|id| components[id as usize]).map(What::Time),
                What::Shape(shape) => mapping[shape as usize].map(What::Shape),
            };
            renumbered.push(kept.and_then(|what| self.number(of, what)));
        }
        let recent = self.slices.values_mut().map(|slice| &mut slice.tally);
        for tally in recent.chain(self.older.values_mut()) {
            tally.renumber(|old| {
                let new = renumbered[number_of(old)]?;
                Some(key(new, old as u16))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rank::Lasted;

    fn profiles_of(max_shapes: usize, max_counted: usize, most: usize) -> Profiles {
        Profiles::new(max_shapes, max_counted, Sampling { most, seed: 7 })
    }

    fn work(component: u32, asked: &[u32]) -> Work {
        Work {
            component,
            own_nanos: 1_000,
            hop: None,
            asked: asked.to_vec(),
            last: asked.last().copied(),
        }
    }

    fn count(profiles: &mut Profiles, slice: u64, works: Vec<Work>, counts: &mut Counts) {
        let visits: Vec<_> = works
            .iter()
            .map(|work| {
                let spent = Spent {
                    own: work.own_nanos,
                    gap: 0,
                    there: 0,
                };
                (profiles.places(0, work), spent)
            })
            .collect();
        profiles.add(slice, visits.into_iter(), counts);
    }

    /// The same by their course, of which some are measured.
    fn count_by_course(profiles: &mut Profiles, slice: u64, component: u32, id: u128) {
        let own = work(component, &[(component + 1) % 4]);
        let places = profiles.places(0, &own);
        let (Some(course), true) = (profiles.course(vec![places]), profiles.is_recent(slice))
        else {
            return;
        };
        let id = TraceId::from_bytes(id.to_be_bytes()).expect("not zero");
        let mut counts = Counts::default();
        if let Some(measuring) = profiles.count(slice, course, 0, id, &mut counts) {
            let spent = Spent {
                own: 1_000 << component,
                gap: 0,
                there: 0,
            };
            measuring.take([(places, spent)].into_iter(), |_, _| {});
        }
    }

    fn between(profiles: &Profiles, slices: Range<u64>) -> Profile<'_> {
        let asked = Asked {
            stretches: [0..0, 0..0, slices],
            ..Asked::default()
        };
        profiles.around(0, &asked)
    }

    /// All that was timed.
    fn times(of: &Profile<'_>) -> Vec<((u32, What), Brief, Lasted)> {
        let timed = of.numbers().filter_map(|number| {
            let lasted = Lasted::clone(of.durations().get(number)?);
            Some((of.what(number), of.brief(number)?, lasted))
        });
        timed.collect()
    }

    fn shapes(of: &Profile<'_>) -> Vec<((u32, What), [u64; 3])> {
        let seen = of
            .numbers()
            .filter_map(|number| Some((of.what(number), of.seen(number)?)));
        seen.collect()
    }

    /// How often the component was timed in these slices.
    fn seen(profiles: &Profiles, component: u32, slices: Range<u64>) -> u64 {
        let times = times(&between(profiles, slices));
        let what = (0, What::Time(Segment::Whole(component)));
        let found = times.iter().find(|(it, ..)| *it == what);
        found.map_or(0, |(_, _, lasted)| lasted.window().total())
    }

    #[test]
    fn slices_add_up_and_survive_renumbering() {
        let mut counts = Counts::default();
        let mut profiles = profiles_of(10, 100, 64);
        count(
            &mut profiles,
            1,
            vec![work(3, &[5]), work(5, &[])],
            &mut counts,
        );
        count(&mut profiles, 2, vec![work(3, &[5])], &mut counts);
        assert_eq!(seen(&profiles, 3, 0..9), 2);
        assert_eq!(seen(&profiles, 3, 2..9), 1);
        let mut used = vec![false; 6];
        profiles.mark_used(&mut used);
        assert_eq!(used, [false, false, false, true, false, true]);
        profiles.keep(&[None, None, None, Some(0), None, Some(1)]);
        assert_eq!(seen(&profiles, 0, 0..9), 2);
        let shapes = shapes(&between(&profiles, 0..9));
        let asked = shapes.iter().filter_map(|((_, what), _)| match what {
            What::Shape(id) => Some(profiles.shape(*id).asked.clone()),
            What::Time(_) => None,
        });
        assert_eq!(asked.collect::<Vec<_>>(), [vec![1], vec![]]);
        profiles.forget_before(2);
        assert_eq!(seen(&profiles, 0, 0..9), 1);
    }

    #[test]
    fn older_slices_are_put_together_and_late_ones_join_them() {
        let mut counts = Counts::default();
        let mut profiles = profiles_of(10, 100, 64);
        let mut add = |profiles: &mut Profiles, slice| {
            count(profiles, slice, vec![work(3, &[])], &mut counts);
        };
        for slice in 0..200 {
            add(&mut profiles, slice);
            profiles.settle(slice);
        }
        add(&mut profiles, 7);
        assert_eq!(seen(&profiles, 3, 0..200), 201);
        // What lies across either end is left out.
        assert_eq!(seen(&profiles, 3, 10..75), 30);
        assert_eq!(seen(&profiles, 3, 130..140), 10);
        profiles.forget_before(60);
        assert_eq!(seen(&profiles, 3, 0..200), 140);
    }

    proptest! {
        /// Whatever comes, settles, is forgotten and renumbered, in whatever stretches: what was kept added up is what
        /// is added up from scratch.
        #[test]
        fn what_is_kept_is_what_is_added_up_anew(
            steps in prop::collection::vec((0u8..13, 0u64..100, 0u32..4), 1..120),
        ) {
            let (mut profiles, mut counts) = (profiles_of(100, 100, 3), Counts::default());
            let mut now = 200;
            let mut asked = Asked {
                stretches: [0..90, 90..180, 180..1_000],
                ..Asked::default()
            };
            for (step, back, component) in steps {
                match step {
                    0 => now += back,
                    1 => profiles.settle(now),
                    2 => profiles.forget_before((now - 150).max(back)),
                    3 => {
                        let middle = now - 100..now - back;
                        asked.stretches = [0..now - 100, middle, now - back..now];
                    }
                    4 => {
                        let used = |id: u32| (id != 3 || back > 50).then_some(id);
                        profiles.forget_courses();
                        profiles.keep(&[used(0), used(1), used(2), used(3)]);
                    }
                    5 | 6 => profiles.follow([(1, &asked)].into_iter()),
                    12 => {
                        let mut troubled = (*asked.troubled).clone();
                        troubled.add(0, now - 2 * back..now - back);
                        asked.troubled = Arc::new(troubled);
                    }
                    7 | 8 => {
                        for id in 1..=8 {
                            let slice = now.saturating_sub(back / 8 * u64::from(component));
                            count_by_course(&mut profiles, slice, component, id << back);
                        }
                    }
                    _ => count(
                        &mut profiles,
                        now.saturating_sub(back * u64::from(component) / 3),
                        vec![work(component, &[(component + 1) % 4]), work(2, &[])],
                        &mut counts,
                    ),
                }
                // Nobody follows incident 0.
                let both = [1, 0].map(|incident| profiles.around(incident, &asked));
                let [kept, anew] = both.each_ref().map(times);
                prop_assert_eq!(kept, anew);
                let [kept, anew] = both.each_ref().map(shapes);
                prop_assert_eq!(kept, anew);
            }
        }
    }

    #[test]
    fn too_many_shapes_are_counted() {
        let mut counts = Counts::default();
        let mut profiles = profiles_of(1, 100, 64);
        count(
            &mut profiles,
            1,
            vec![work(3, &[5]), work(5, &[])],
            &mut counts,
        );
        assert_eq!(profiles.shapes(), 1);
        assert_eq!(counts.get(LeftOut::RowOverflow), 1);
    }

    #[test]
    fn no_more_is_counted_than_there_is_room_for() {
        let mut counts = Counts::default();
        let mut profiles = profiles_of(10, 3, 64);
        // A time and a shape of each.
        let works = vec![work(3, &[]), work(5, &[])];
        for _ in 0..2 {
            count(&mut profiles, 1, works.clone(), &mut counts);
        }
        assert_eq!(profiles.counted(), 3);
        assert_eq!(counts.get(LeftOut::RowOverflow), 2);
        assert_eq!(times(&between(&profiles, 0..9)).len(), 2);
    }
}
