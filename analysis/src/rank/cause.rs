//! What works differently than before, small enough to be kept for every comparison: names and
//! histograms are looked up again for the few that are shown.

use rekindle_model::Name;
use rekindle_stats::{LogHistogram, Probability, Shift};

use super::input::{Input, Part};
use crate::{Counted, LatencyShift, Measured, StructureChange, Times};

/// Something that differs between window and baseline.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// Something takes another time.
    Takes(Takes),
    /// Visits stop where they used to go on.
    Stops(Stops),
}

/// Another time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takes {
    pub(crate) part: Part,
    /// The request type's index; `None`: over all types.
    pub(crate) request_type: Option<usize>,
    /// From before to now; where the work takes less, from now to before.
    pub(crate) shift: Shift,
    /// The share of calls that are slower, or faster.
    pub(crate) affected: f64,
    pub(crate) faster: bool,
}

/// Visits that are cut short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stops {
    pub(crate) operation: usize,
    pub(crate) request_type: usize,
    /// Whom they asked last.
    pub(crate) last: Option<usize>,
    /// Visits that got so far in both halves of the baseline and in the window.
    pub(crate) asked: [u64; 3],
    /// Those of them that stopped there.
    pub(crate) stopped: [u64; 3],
    pub(crate) rise: f64,
}

impl Takes {
    /// As it is shown.
    pub(crate) fn shown(&self, input: &Input) -> LatencyShift {
        let (mut before, mut now) = (LogHistogram::default(), LogHistogram::default());
        let (mut unmeasured_before, mut unmeasured_now) = (0, 0);
        for timed in input.timed.iter().filter(|timed| timed.part == self.part) {
            if self.request_type.is_none_or(|of| of == timed.request_type) {
                let lasted = input.timed.lasted(timed);
                before.merge(&lasted.before());
                now.merge(lasted.window());
                let [earlier, later, window] = lasted.unmeasured();
                unmeasured_before += earlier + later;
                unmeasured_now += window;
            }
        }
        let component = |id: usize| input.subjects[id].component.clone();
        LatencyShift {
            what: match self.part {
                Part::Whole(id) => Measured::Visit(component(id)),
                Part::Own(id) => Measured::OwnWork(component(id)),
                Part::Gap(from, to) | Part::There(from, to) => Measured::Way {
                    from: component(from),
                    to: component(to),
                },
            },
            request_type: self.request_type.map(|of| type_name(input, of)),
            before: times(&before, unmeasured_before),
            now: times(&now, unmeasured_now),
            doublings: if self.faster {
                -self.shift.doublings
            } else {
                self.shift.doublings
            },
            affected: self.affected,
            chance: self.shift.chance(),
        }
    }
}

impl Stops {
    /// As it is shown.
    pub(crate) fn shown(&self, input: &Input) -> StructureChange {
        let component = |id: usize| input.subjects[id].component.clone();
        let [asked_earlier, asked_later, asked] = self.asked;
        let [stopped_earlier, stopped_later, stopped] = self.stopped;
        StructureChange {
            operation: component(self.operation),
            request_type: type_name(input, self.request_type),
            after: self.last.map(component),
            before: Counted::of(stopped_earlier + stopped_later, asked_earlier + asked_later),
            now: Counted::of(stopped, asked),
            at_least: self.rise,
        }
    }
}

fn type_name(input: &Input, of: usize) -> Name {
    input.request_types[of].to_string().into()
}

fn times(histogram: &LogHistogram, unmeasured: u64) -> Times {
    let quantile = |share| histogram.quantile(Probability::clamped(share));
    Times {
        calls: histogram.total(),
        unmeasured,
        median_nanos: quantile(0.5),
        p90_nanos: quantile(0.9),
    }
}
