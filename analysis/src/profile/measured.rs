//! How long did requests take, when there are too many to measure each?
//!
//! That they came is counted for each. How long each of their visits took is the same question a thousand times a
//! second, and a sample answers it: the share below any value that n requests say is off by √(p(1 − p)/n), for
//! the median of 128 by 4 % in one slice, and by 0.6 % in a minute of slices, where latencies themselves differ more
//! from minute to minute. Whom one request in a hundred asks is still measured more than once a second.
//!
//! Which requests are in the sample follows from their ids alone: each draws a lot, a hash of its id, and those with the
//! highest lots are kept, as many as there is room for (a bottom-k sample; Cohen and Kaplan 2007, *Summarizing data using
//! bottom-k sketches*, PODC:225–234). So the order in which they come makes no difference, and of a type that seldom
//! comes each is measured. Ids are chosen by whoever sends a request: what the hash begins with is the deployment's own,
//! so that nobody can choose ids that are measured instead of others', and a sample is never given up, whatever the
//! lots are. Beside the sample are the first two that go a new way, which isn't known as one yet, and what comes for a
//! slice that was settled, seconds late, is a sample of its own.
//!
//! Those that were measured stand for the others of their type in equal parts: sums stay sums of all requests, and how
//! many were measured is counted beside them, so that nothing looks surer than it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use hashbrown::HashMap;
use rekindle_model::TraceId;
use rekindle_stats::LogHistogram;

use super::{Places, Spent, UNMEASURED, key};
use crate::tally::Tally;

/// The works of requests that go one way: where each is counted.
pub(super) type Course = [Places];

/// Those courses that are told apart.
#[derive(Debug, Default)]
pub(super) struct Courses {
    /// With how many of its counts there is no room for.
    places: Vec<(Box<Course>, u64)>,
    // Only looked up, never iterated.
    numbers: HashMap<Box<Course>, u32>,
}

impl Courses {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, number: u32) -> &Course {
        &self.places[number as usize].0
    }

    /// How many of the course's counts there is no room for.
    pub(super) fn without_room(&self, number: u32) -> u64 {
        self.places[number as usize].1
    }

    /// The number of this course; `None` when there are as many as may be.
    pub(super) fn number(&mut self, places: Vec<Places>, most: usize) -> Option<u32> {
        if let Some(known) = self.numbers.get(places.as_slice()) {
            return Some(*known);
        }
        if self.places.len() >= most {
            return None;
        }
        let number = self.places.len() as u32;
        let without_room = places.iter().map(Places::without_room).sum::<usize>();
        self.numbers.insert(places.clone().into(), number);
        self.places.push((places.into(), without_room as u64));
        Some(number)
    }
}

/// A request's lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lot(u64);

impl Lot {
    /// What this id draws, where the deployment's hash begins with this.
    fn of(id: TraceId, seed: u64) -> Self {
        let id = id.get();
        // Ids may count up, half of them may be the same in all, and one half may repeat the other: so one goes
        // after the other, and what the first became isn't known without the seed.
        let first = mixed(seed ^ (id >> 64) as u64);
        Self(mixed(seed ^ mixed(first ^ id as u64)))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014), which makes each bit of the result depend on each bit.
const fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// How much is measured, and of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    /// How many requests of a type in a slice, at least 1; `usize::MAX` measures all.
    pub(crate) most: usize,
    /// What the lots begin with.
    pub(crate) seed: u64,
}

/// A request that was measured. The one with the lowest lot is the first to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    lot: Lot,
    course: u32,
    /// Where its buckets begin, and where they end.
    buckets: (u32, u32),
}

/// The requests of one type in one slice.
#[derive(Debug, Default)]
struct OfType {
    count: u64,
    /// Requests since the last one that was measured.
    passed_over: u32,
    /// The one with the lowest lot on top.
    samples: BinaryHeap<Reverse<Sample>>,
    /// Of one request after the other, those that were let go included.
    buckets: Vec<u16>,
}

impl OfType {
    /// Counts a request. If it is to be measured, for how many it stands that came since the last one was.
    #[inline]
    fn count(&mut self, lot: Lot, most: usize) -> Option<u32> {
        self.count += 1;
        self.passed_over = self.passed_over.saturating_add(1);
        if self.samples.len() >= most.max(1) {
            let is_higher = |lowest: &Reverse<Sample>| lot > lowest.0.lot;
            if !self.samples.peek().is_some_and(is_higher) {
                return None;
            }
            self.samples.pop();
        }
        Some(std::mem::take(&mut self.passed_over))
    }

    fn each(&self, courses: &Courses, add: &mut impl FnMut(u64, u64)) {
        let mut samples: Vec<Sample> = self.samples.iter().map(|sample| sample.0).collect();
        let measured = samples.len() as u64;
        // The first one is measured, so there are none only where nothing was counted.
        let Some(part) = self.count.checked_div(measured) else {
            return;
        };
        let rest = self.count % measured;
        if rest > 0 {
            // Some stand for one more: always the same.
            samples.sort_unstable();
        }
        // By course: how many of its requests weren't measured.
        let mut unmeasured: BTreeMap<u32, u64> = BTreeMap::new();
        for (sample, number) in samples.into_iter().zip(0..) {
            let stands_for = part + u64::from(number < rest);
            if stands_for > 1 {
                *unmeasured.entry(sample.course).or_default() += stands_for - 1;
            }
            let (from, until) = sample.buckets;
            let buckets = &self.buckets[from as usize..until as usize];
            let timed = courses.get(sample.course).iter().flat_map(Places::timed);
            for (place, bucket) in timed.zip(buckets) {
                let Some(place) = place else { continue };
                add(key(place, *bucket), stands_for);
            }
        }
        for (course, count) in unmeasured {
            let timed = courses.get(course).iter().flat_map(Places::timed);
            timed
                .flatten()
                .for_each(|place| add(key(place, UNMEASURED), count));
        }
    }
}

/// The requests of one slice that go courses which are known.
#[derive(Debug, Default)]
pub(super) struct ByCourse {
    /// How many went each course.
    counts: Vec<u32>,
    /// By the number of their type.
    types: Vec<OfType>,
}

impl ByCourse {
    /// Counts a request; if it is to be measured, what takes its times.
    #[inline]
    pub(super) fn count(
        &mut self,
        course: u32,
        request_type: u32,
        id: TraceId,
        sampling: Sampling,
    ) -> Option<Measuring<'_>> {
        let (of_course, of_type) = (course as usize, request_type as usize);
        if of_course >= self.counts.len() {
            self.counts.resize(of_course + 1, 0);
        }
        self.counts[of_course] = self.counts[of_course].saturating_add(1);
        if of_type >= self.types.len() {
            self.types.resize_with(of_type + 1, OfType::default);
        }
        let of_type = &mut self.types[of_type];
        let lot = Lot::of(id, sampling.seed);
        let stands_for = of_type.count(lot, sampling.most)?;
        Some(Measuring {
            stands_for,
            lot,
            course,
            of_type,
        })
    }

    /// Another number whenever a request was counted.
    pub(super) fn counted(&self) -> u64 {
        self.types.iter().map(|of_type| of_type.count).sum()
    }

    /// How many durations were measured.
    pub(super) fn measured(&self) -> usize {
        let samples = self.types.iter().flat_map(|of_type| &of_type.samples);
        let of_each = samples.map(|Reverse(it)| it.buckets.1 - it.buckets.0);
        of_each.sum::<u32>() as usize
    }

    /// Adds all to a tally, and begins anew.
    pub(super) fn settle(&mut self, courses: &Courses, tally: &mut Tally) {
        self.each(courses, |key, count| tally.add_many(key, count));
        *self = Self::default();
    }

    /// Says what was counted, by key; a key may come several times, and its counts add up.
    pub(super) fn each(&self, courses: &Courses, mut add: impl FnMut(u64, u64)) {
        for (course, count) in (0..).zip(&self.counts) {
            if *count > 0 {
                let shapes = courses.get(course).iter().filter_map(|it| it.shape);
                shapes.for_each(|shape| add(key(shape, 0), u64::from(*count)));
            }
        }
        for of_type in &self.types {
            of_type.each(courses, &mut add);
        }
    }
}

/// Takes the times of one request.
#[derive(Debug)]
pub(crate) struct Measuring<'a> {
    /// For so many requests of its type it stands that came since the last one was measured.
    pub(crate) stands_for: u32,
    lot: Lot,
    course: u32,
    of_type: &'a mut OfType,
}

impl Measuring<'_> {
    /// Takes how long each of its works took; `own` hears the number of each and the bucket of its own time.
    pub(crate) fn take(
        self,
        works: impl Iterator<Item = (Places, Spent)>,
        mut own: impl FnMut(usize, u16),
    ) {
        let buckets = &mut self.of_type.buckets;
        // A slice's samples are far fewer than four billion.
        let from = buckets.len() as u32;
        for (number, (places, spent)) in works.enumerate() {
            let bucket = LogHistogram::bucket_of(spent.own);
            buckets.push(bucket);
            if places.hop.is_some() {
                buckets.extend(spent.on_the_way());
            }
            own(number, bucket);
        }
        self.of_type.samples.push(Reverse(Sample {
            lot: self.lot,
            course: self.course,
            buckets: (from, buckets.len() as u32),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u128) -> TraceId {
        TraceId::from_bytes((number + 1).to_be_bytes()).expect("not zero")
    }

    fn course() -> Vec<Places> {
        vec![Places {
            whole: Some(3),
            hop: None,
            shape: Some(4),
        }]
    }

    /// What a slice counts, and how many were looked at for it.
    fn counted(ids: impl Iterator<Item = u128>, most: usize) -> (Vec<(u64, u64)>, usize) {
        let sampling = Sampling { most, seed: 7 };
        let (mut slice, mut courses) = (ByCourse::default(), Courses::default());
        let number = courses.number(course(), 9).expect("room");
        let mut looked_at = 0;
        for it in ids {
            if let Some(measuring) = slice.count(number, 2, id(it), sampling) {
                let spent = Spent {
                    own: 1_000 + it as u64 % 100_000,
                    gap: 0,
                    there: 0,
                };
                let works = course().into_iter().map(|places| (places, spent));
                measuring.take(works, |_, _| looked_at += 1);
            }
        }
        let mut tally = Tally::default();
        slice.settle(&courses, &mut tally);
        tally.settle();
        let all = tally.iter().map(|(key, n)| (key, u64::from(n))).collect();
        (all, looked_at)
    }

    fn sum(counted: &[(u64, u64)], wanted: impl Fn(u64) -> bool) -> u64 {
        let those = counted.iter().filter(|(key, _)| wanted(*key));
        those.map(|(_, n)| n).sum()
    }

    #[test]
    fn all_are_counted_and_enough_are_measured() {
        for all in [1u64, 64, 65, 100, 1_000, 100_000] {
            let (counts, looked_at) = counted((0..u128::from(all)).map(|it| it * 7), 64);
            let unmeasured = sum(&counts, |it| it == key(3, UNMEASURED));
            assert_eq!(sum(&counts, |it| it == key(4, 0)), all);
            let times = sum(&counts, |it| it >> 16 == 3) - unmeasured;
            assert_eq!(times, all);
            let measured = all - unmeasured;
            assert_eq!(measured, all.min(64));
            // Of a random order, about 64·(1 + ln(n/64)) were among the highest when they came.
            assert!(looked_at <= 64 * 16, "{looked_at} of {all}");
        }
    }

    #[test]
    fn what_is_measured_says_how_long_all_took() {
        let (counts, _) = counted(0..100_000, 64);
        let mut histogram = LogHistogram::default();
        for (counted, n) in counts {
            if counted >> 16 == 3 && counted as u16 != UNMEASURED {
                histogram.add_many(counted as u16, n);
            }
        }
        let middle = histogram.quantile(rekindle_stats::Probability::clamped(0.5));
        let middle = middle.expect("some") as f64;
        // Evenly spread up to 101,000: three standard errors of the share are a quarter.
        assert!((25_000.0..76_000.0).contains(&middle), "{middle}");
    }

    #[test]
    fn whatever_ids_are_like_enough_are_measured() {
        let halves_repeat = |n: u128| n * (1 + (1 << 32) + (1 << 64) + (1 << 96));
        let others: [fn(u128) -> u128; 4] = [
            |n| n << 64,
            |n| n << 100,
            |n| n | n << 64,
            // All requests have one id.
            |_| 5,
        ];
        let kinds = others
            .into_iter()
            .chain([halves_repeat as fn(u128) -> u128]);
        for (kind, of) in kinds.enumerate() {
            for most in [1, 4, 512] {
                let (counts, _) = counted((1..=600).map(of), most);
                let unmeasured = sum(&counts, |it| it == key(3, UNMEASURED));
                assert_eq!(unmeasured, 600 - most as u64, "{kind} {most}");
                assert_eq!(sum(&counts, |it| it >> 16 == 3) - unmeasured, 600);
            }
        }
    }

    #[test]
    fn who_is_measured_cannot_be_known_from_outside() {
        let highest = |seed: u64| -> Vec<u128> {
            let mut ids: Vec<u128> = (0..10_000).collect();
            ids.sort_unstable_by_key(|it| Reverse(Lot::of(id(*it), seed)));
            ids.truncate(100);
            ids
        };
        let (mine, theirs) = (highest(1), highest(2));
        let same = mine.iter().filter(|it| theirs.contains(it)).count();
        // One in a hundred by chance.
        assert!(same < 10, "{same}");
    }

    proptest! {
        /// In whatever order requests come, the same are measured, and stand for the same.
        #[test]
        fn order_makes_no_difference(mut ids in prop::collection::vec(0u128..100_000, 1..300), most in 1usize..40) {
            ids.sort_unstable();
            ids.dedup();
            let forth = counted(ids.iter().copied(), most).0;
            let back = counted(ids.iter().rev().copied(), most).0;
            prop_assert_eq!(forth, back);
        }
    }
}
