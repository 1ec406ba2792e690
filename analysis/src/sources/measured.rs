//! Own times, ways and callee sets, from slices to the input of a ranking.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rekindle_model::UnixNanos;

use super::{Sources, Stretch};
use crate::Incident;
use crate::profile::{Profile, Segment, What};
use crate::rank::{Part, Shaped, Timed};
use crate::spectrum::without;
use crate::tally::COUNTED_INTO;
use crate::troubled::{Asked, Troubled};

/// What is timed, as subjects; `None` where no row speaks of a component.
fn part_of(segment: Segment, place: &[usize]) -> Option<Part> {
    Some(match segment {
        Segment::Whole(id) => Part::Whole(placed(id, place)?),
        Segment::Own(id) => Part::Own(placed(id, place)?),
        Segment::Gap(from, to) => Part::Gap(placed(from, place)?, placed(to, place)?),
        Segment::There(from, to) => Part::There(placed(from, place)?, placed(to, place)?),
    })
}

fn placed(id: u32, place: &[usize]) -> Option<usize> {
    let at = place.get(id as usize).copied();
    at.filter(|at| *at != usize::MAX)
}

/// The order of own times and ways.
pub(super) fn order_of_timed(a: &Timed, b: &Timed) -> Ordering {
    (a.part, a.request_type).cmp(&(b.part, b.request_type))
}

/// The order of callee sets. Those of which nothing else differs are the same.
pub(super) fn order_of_shaped(a: &Shaped, b: &Shaped) -> Ordering {
    let of = |it: &Shaped| (it.subject, it.request_type);
    let asked = || a.asked.cmp(&b.asked).then(a.last.cmp(&b.last));
    of(a).cmp(&of(b)).then_with(asked)
}

impl Sources<'_> {
    /// The earlier and the later half of the baseline, and the window, in slices. A slice that a restart cuts
    /// is left out: what of it was counted before and what after isn't known.
    pub(super) fn measured_stretches(
        &self,
        incident: &Incident,
        stretch: Stretch,
        failing: &BTreeSet<u32>,
        troubled: &Arc<Troubled>,
    ) -> Asked<3> {
        let begin = self.slice(incident.since);
        let is_calm = |slices: &Range<u64>| {
            let mut failing = failing.iter();
            failing.len() == 0 || failing.any(|id| !troubled.holds(*id, slices))
        };
        let middle = self.profiles.middle(begin, is_calm);
        let first = self.slice(stretch.from) + u64::from(stretch.cut_before);
        let last = self.slice(UnixNanos(stretch.until.0.saturating_sub(1)));
        let end = last + u64::from(!stretch.cut_after);
        // What is still counted into is taken out of the sums and put in again whenever they are asked for. Of a long
        // window it is an eighth at most, which can wait while the incident goes on. Number 0 is a time that somebody
        // named, which nobody asks for each second.
        let goes_on = incident.is_open() && incident.id > 0 && !stretch.cut_after;
        let quiet = last.saturating_sub(COUNTED_INTO);
        let is_long = quiet >= first + 8 * COUNTED_INTO;
        let end = if goes_on && is_long { quiet } else { end };
        Asked {
            stretches: [0..middle, middle..begin, first..end],
            troubled: Arc::clone(troubled),
        }
    }

    /// The requests of those slices that are measured, of what is counted in all: as many as the durations are of.
    pub(super) fn of_measured(
        &self,
        counts: &[u64],
        counted: Range<u64>,
        measured: &Range<u64>,
    ) -> Vec<u64> {
        let mut counts = counts.to_vec();
        for unmeasured in without(&counted, measured) {
            self.spectrum.take_out(&unmeasured, &mut counts);
        }
        counts
    }

    /// What is timed under this number; `None` where it isn't timed, nothing was counted or no row speaks of it.
    pub(super) fn timed(
        profile: &Profile<'_>,
        number: usize,
        place: &[usize],
        type_at: &[usize],
    ) -> Option<Timed> {
        let (of, What::Time(segment)) = profile.what(number) else {
            return None;
        };
        Some(Timed {
            brief: profile.brief(number)?,
            part: part_of(segment, place)?,
            request_type: type_at[of as usize],
            number: number as u32,
        })
    }

    /// The shape of this number, likewise.
    pub(super) fn shaped(
        &self,
        profile: &Profile<'_>,
        number: usize,
        place: &[usize],
        type_at: &[usize],
    ) -> Option<Shaped> {
        let (of, What::Shape(shape)) = profile.what(number) else {
            return None;
        };
        let [earlier, later, window] = profile.seen(number)?;
        let shape = self.profiles.shape(shape);
        let asked = shape.asked.iter().map(|id| placed(*id, place));
        let mut asked = asked.collect::<Option<Vec<usize>>>()?;
        asked.sort_unstable();
        Some(Shaped {
            subject: placed(shape.component, place)?,
            request_type: type_at[of as usize],
            asked,
            last: shape.last.and_then(|id| placed(id, place)),
            baseline: [earlier, later],
            window,
        })
    }
}
