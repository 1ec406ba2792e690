//! What is asked of stretches of time, kept added up while an incident is open.
//!
//! A window of a quarter of an hour holds millions of counts, of which a second changes thousands. So what was added up
//! for a ranking is kept for the next one, with which slice went into which sum and how far it had been counted; what came
//! since is added, what left a stretch is taken out. Counts are whole numbers and a histogram forgets in which order
//! it was filled, so the result is the same as from scratch, bit for bit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{ByCourse, Profiles, Segment, TOGETHER, UNMEASURED, What, number_of};
use crate::rank::{Brief, Counted};
use crate::tally::Tally;
use crate::troubled::{Asked, Troubled};

/// Which tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Older slices that were put together, by the first one's number over [`TOGETHER`].
    Older(u64),
    /// One slice.
    Recent(u64),
}

impl Place {
    pub(super) const fn slices(self) -> Range<u64> {
        match self {
            Self::Older(at) => at * TOGETHER..(at + 1) * TOGETHER,
            Self::Recent(at) => at..at + 1,
        }
    }

    /// Which stretch all of it lies in.
    fn stretch(self, stretches: &[Range<u64>; 3]) -> Option<usize> {
        let slices = self.slices();
        stretches
            .iter()
            .position(|it| it.start <= slices.start && slices.end <= it.end)
    }
}

/// What of a place is in the sums.
#[derive(Clone, Debug)]
struct Taken {
    into: Into,
    version: Version,
    /// What of the tally wasn't settled then; all that was settled is in.
    counting: HashMap<u64, u32>,
    /// What was counted by course, by key, each once: whoever is measured later changes for how many each stands.
    by_course: Vec<(u64, u64)>,
}

/// Which sums a place goes into.
#[derive(Clone, Debug)]
struct Into {
    stretch: usize,
    /// The request types that are troubled in it, of which nothing does.
    left_out: Vec<u32>,
}

/// As long as it is the same, nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    tally: u64,
    by_course: u64,
}

impl Version {
    fn of(tally: &Tally, by_course: Option<&ByCourse>) -> Self {
        Self {
            tally: tally.changes(),
            by_course: by_course.map_or(0, ByCourse::counted),
        }
    }
}

#[derive(Clone, Copy)]
enum How {
    Add,
    TakeOut,
}

/// What is counted by course, by key, each once: most durations of one kind fall into a few buckets.
fn counts_of(by_course: &ByCourse, profiles: &Profiles) -> Vec<(u64, u64)> {
    // Grown step by step, it would be copied as often.
    let mut counts: Vec<(u64, u64)> = Vec::with_capacity(by_course.measured());
    by_course.each(&profiles.courses, |key, count| counts.push((key, count)));
    counts.sort_unstable_by_key(|(key, _)| *key);
    counts.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same {
            kept.1 += later.1;
        }
        is_same
    });
    counts
}

/// Sums over three stretches, as of when they last caught up.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    /// By number, of what is timed.
    times: Arc<Counted>,
    /// What comparisons ask of each; `None` where nothing was counted.
    briefs: Vec<Option<Brief>>,
    /// By number, of shapes.
    shapes: Vec<[u64; 3]>,
    taken: BTreeMap<Place, Taken>,
    /// What is left out of these sums.
    troubled: Arc<Troubled>,
    /// Numbers of which anything was counted or taken out since the sums last caught up, each once.
    changed: Vec<usize>,
    /// Which those are.
    is_changed: Vec<bool>,
    /// How often the sums caught up, and what changed the last time.
    caught_up: u64,
    news: Vec<usize>,
}

impl Running {
    /// Whether nothing is missing of these stretches, and nothing too much.
    pub(super) fn is_current(&self, profiles: &Profiles, asked: &Asked<3>) -> bool {
        if self.troubled != asked.troubled {
            return false;
        }
        let mut wanted = 0;
        for place in profiles.places_held() {
            let Some(stretch) = place.stretch(&asked.stretches) else {
                continue;
            };
            wanted += 1;
            let held = profiles
                .held(place)
                .map(|(tally, rest)| Version::of(tally, rest));
            let taken = self.taken.get(&place);
            let as_before = |it: &Taken| it.into.stretch == stretch && Some(it.version) == held;
            if !taken.is_some_and(as_before) {
                return false;
            }
        }
        wanted == self.taken.len() && self.changed.is_empty()
    }

    /// Takes out what isn't in these stretches, and adds what is missing.
    pub(super) fn catch_up(&mut self, profiles: &Profiles, asked: &Asked<3>) {
        let stretches = &asked.stretches;
        if self.troubled != asked.troubled {
            // An incident ended, or a type turns out to have been in one: that is seldom. No news is complete then.
            *self = Self {
                troubled: Arc::clone(&asked.troubled),
                caught_up: self.caught_up + 1,
                ..Self::default()
            };
        }
        self.let_go(profiles, |place, stretch| {
            place.stretch(stretches) != Some(stretch)
        });
        for place in profiles.places_held() {
            let Some(stretch) = place.stretch(stretches) else {
                continue;
            };
            let (false, Some((tally, by_course))) =
                (self.taken.contains_key(&place), profiles.held(place))
            else {
                continue;
            };
            let into = Into {
                stretch,
                left_out: asked.troubled.types_in(&place.slices()),
            };
            for (key, count) in tally.iter() {
                self.change(profiles, &into, key, count.into(), How::Add);
            }
            let mut known_by_course = Vec::new();
            self.replace(profiles, &into, &mut known_by_course, by_course);
            let taken = Taken {
                into,
                version: Version::of(tally, by_course),
                counting: tally.counting().clone(),
                by_course: known_by_course,
            };
            self.taken.insert(place, taken);
        }
        for number in &self.changed {
            self.is_changed[*number] = false;
            self.briefs[*number] = self.times[*number].work_out();
        }
        self.news.clear();
        std::mem::swap(&mut self.news, &mut self.changed);
        self.caught_up += 1;
    }

    /// How often the sums caught up.
    pub(super) const fn caught_up(&self) -> u64 {
        self.caught_up
    }

    /// The numbers of which anything changed since the sums had caught up so often; `None` where that is too long ago.
    pub(super) fn news_since(&self, caught_up: u64) -> Option<&[usize]> {
        match self.caught_up.checked_sub(caught_up)? {
            0 => Some(&[]),
            1 => Some(&self.news),
            _ => None,
        }
    }

    /// Makes the sums have what is counted by course, where they had this of it.
    fn replace(
        &mut self,
        profiles: &Profiles,
        into: &Into,
        known: &mut Vec<(u64, u64)>,
        by_course: Option<&ByCourse>,
    ) {
        let now = by_course.map_or_else(Vec::new, |it| counts_of(it, profiles));
        let (mut old, mut new) = (known.iter().peekable(), now.iter().peekable());
        loop {
            let key = match (old.peek(), new.peek()) {
                (Some((old, _)), Some((new, _))) => *old.min(new),
                (Some((key, _)), None) | (None, Some((key, _))) => *key,
                (None, None) => break,
            };
            let before = old.next_if(|it| it.0 == key).map_or(0, |it| it.1);
            let after = new.next_if(|it| it.0 == key).map_or(0, |it| it.1);
            match after.checked_sub(before) {
                Some(0) => {}
                Some(more) => self.change(profiles, into, key, more, How::Add),
                None => self.change(profiles, into, key, before - after, How::TakeOut),
            }
        }
        *known = now;
    }

    /// Takes out what goes, and adds what the rest counted since it was looked at.
    pub(super) fn let_go(&mut self, profiles: &Profiles, goes: impl Fn(Place, usize) -> bool) {
        let nothing = Arc::default();
        Arc::make_mut(&mut self.times).resize(profiles.counted.len(), nothing);
        self.briefs.resize(profiles.counted.len(), None);
        self.is_changed.resize(profiles.counted.len(), false);
        self.shapes.resize(profiles.counted.len(), [0; 3]);
        let mut taken = std::mem::take(&mut self.taken);
        taken.retain(|place, known| {
            let Some((tally, by_course)) = profiles.held(*place) else {
                return false;
            };
            let version = Version::of(tally, by_course);
            let is_gone = goes(*place, known.into.stretch);
            if is_gone || version.by_course != known.version.by_course {
                let by_course = by_course.filter(|_| !is_gone);
                self.replace(profiles, &known.into, &mut known.by_course, by_course);
            }
            if is_gone {
                let counting = known.counting.iter().map(|(key, count)| (*key, *count));
                for (key, count) in tally.settled().iter().copied().chain(counting) {
                    self.change(profiles, &known.into, key, count.into(), How::TakeOut);
                }
                return false;
            }
            if version.tally != known.version.tally {
                self.add_newer(profiles, known, tally);
                known.counting.clone_from(tally.counting());
            }
            known.version = version;
            true
        });
        self.taken = taken;
    }

    /// Adds what was counted in the tally since it was looked at. Nothing was settled meanwhile.
    fn add_newer(&mut self, profiles: &Profiles, known: &Taken, tally: &Tally) {
        for (key, count) in tally.counting() {
            let before = known.counting.get(key).copied().unwrap_or(0);
            if *count > before {
                let more = u64::from(count - before);
                self.change(profiles, &known.into, *key, more, How::Add);
            }
        }
    }

    /// What was being counted is settled now, all of which is in the sums.
    pub(super) fn settled(&mut self, profiles: &Profiles) {
        for (place, known) in &mut self.taken {
            let Some((tally, by_course)) = profiles.held(*place) else {
                continue;
            };
            let version = Version::of(tally, by_course);
            if tally.counting().is_empty() && version.by_course == 0 {
                known.counting = HashMap::new();
                known.by_course = Vec::new();
                known.version = version;
            }
        }
    }

    fn change(&mut self, profiles: &Profiles, into: &Into, key: u64, count: u64, how: How) {
        let number = number_of(key);
        let Into { stretch, left_out } = into;
        let stretch = *stretch;
        if !left_out.is_empty() && left_out.contains(&profiles.counted[number].0) {
            return;
        }
        if !self.is_changed[number] {
            self.is_changed[number] = true;
            self.changed.push(number);
        }
        match (profiles.counted[number].1, how) {
            (What::Time(_), how) => {
                let times = Arc::make_mut(&mut self.times);
                let lasted = Arc::make_mut(&mut times[number]);
                match (key as u16, how) {
                    (UNMEASURED, How::Add) => lasted.add_unmeasured(stretch, count),
                    (UNMEASURED, How::TakeOut) => lasted.take_out_unmeasured(stretch, count),
                    (bucket, How::Add) => lasted.add(stretch, bucket, count),
                    (bucket, How::TakeOut) => lasted.take_out(stretch, bucket, count),
                }
            }
            (What::Shape(_), How::Add) => self.shapes[number][stretch] += count,
            (What::Shape(_), How::TakeOut) => self.shapes[number][stretch] -= count,
        }
    }

    /// What comparisons ask of what has this number and is timed; `None` where nothing of it was counted.
    pub(super) fn brief(&self, number: usize) -> Option<Brief> {
        *self.briefs.get(number)?
    }

    /// The durations of everything that is timed, by number.
    pub(super) const fn durations(&self) -> &Arc<Counted> {
        &self.times
    }

    /// How often the shape that has this number was seen.
    pub(super) fn shape(&self, number: usize) -> Option<[u64; 3]> {
        let seen = *self.shapes.get(number)?;
        (seen != [0; 3]).then_some(seen)
    }

    /// The components of which a visit was timed.
    pub(super) fn components(&self, profiles: &Profiles) -> impl Iterator<Item = u32> {
        let counted = profiles.counted.iter().zip(&self.briefs);
        counted.filter_map(|((_, what), brief)| match what {
            What::Time(Segment::Whole(id)) if brief.is_some() => Some(*id),
            _ => None,
        })
    }
}
