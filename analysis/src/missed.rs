//! How many requests should have come in a stretch of time, and did not?
//!
//! What hangs neither fails nor ends, so a verdict that counts failures can't tell whether a restart set it
//! free. Once a type's silence is an incident, this says how many requests its former rate leads one to
//! expect of any stretch, how many of them nobody saw, and how far chance may be off: whoever wants to be sure that
//! some are missing believes in the fewest, and whoever wants to be sure that none are, in the most.
//!
//! Nothing is expected while its service wasn't heard at all, nor in the shadow of what was done to it, nor before
//! telemetry should be there. What came then isn't counted either: it would stand for those of whom nobody knows.

use rekindle_model::UnixNanos;

/// A rate is known from so many seconds, as [`rekindle_stats::Silence::likely`] is.
const RATE_OVER: f64 = 120.0;
/// So many standard deviations either way are chance.
const CHANCE: f64 = 2.0;
/// When fewer than this were to be expected, none comes in more than one case of twenty (Poisson), and nothing
/// is known of the type.
const UNLIKELY_SILENCE: f64 = 3.0;
/// So many silences of a type are remembered: each takes minutes to be noticed, to end and to be usual
/// again.
const MOST: usize = 8;

/// A stretch of time: its start, and its end, which isn't in it.
pub(crate) type Stretch = (UnixNanos, UnixNanos);

/// How requests of some types fared, those included that did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// Ended well.
    pub ok: u64,
    /// Failed, or were as slow as failed.
    pub failed: u64,
    /// Did not come, as far as one can guess.
    missing: f64,
    variance: f64,
    /// Types that had stopped, and of which none needed to come yet.
    pub unheard: u64,
}

impl Told {
    /// Those of a type that never stopped.
    pub(crate) fn seen((ok, failed): (u64, u64)) -> Self {
        Self {
            ok,
            failed,
            ..Self::default()
        }
    }

    /// These, and others.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            failed: self.failed + other.failed,
            missing: self.missing + other.missing,
            variance: self.variance + other.variance,
            unheard: self.unheard + other.unheard,
        }
    }

    /// How many are likely to be missing.
    pub fn missing(&self) -> u64 {
        self.missing.round() as u64
    }

    /// By so many chance may have made them more, or less.
    pub fn missing_error(&self) -> u64 {
        (CHANCE * self.variance.sqrt()).ceil() as u64
    }
}

/// One silence of a type that became an incident.
#[derive(Clone, Copy, Debug)]
struct Stopped {
    from: UnixNanos,
    /// When its incident was over; `None` while it is open.
    until: Option<UnixNanos>,
    /// How many a second came before.
    rate: f64,
    /// The variance of how many came over their mean.
    burstiness: f64,
}

/// The silences of one type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stops {
    /// Oldest first.
    stops: Vec<Stopped>,
}

impl Stops {
    /// None has come since then, where so many a second used to.
    pub(crate) fn begin(&mut self, from: UnixNanos, rate: f64, burstiness: f64) {
        self.end(from);
        if self.stops.len() == MOST {
            self.stops.remove(0);
        }
        self.stops.push(Stopped {
            from,
            until: None,
            rate,
            burstiness,
        });
    }

    /// The incident that the last one was is over.
    pub(crate) fn end(&mut self, at: UnixNanos) {
        if let Some(last) = self.stops.last_mut() {
            last.until.get_or_insert(at);
        }
    }

    /// Whether the last one isn't over.
    pub(crate) fn is_open(&self) -> bool {
        self.stops.last().is_some_and(|last| last.until.is_none())
    }

    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        self.stops
            .retain(|stop| stop.until.is_none_or(|until| until >= time));
    }

    /// Those that reach into this stretch, and for which of its parts each tells what to expect: up to the next,
    /// though its incident be over meanwhile, or who waits a little longer would be told something else.
    fn within(&self, (from, until): Stretch) -> impl Iterator<Item = (&Stopped, Stretch)> {
        let next = self.stops.iter().skip(1).map(|next| next.from);
        let ends = next.chain(std::iter::once(UnixNanos(u64::MAX)));
        self.stops
            .iter()
            .zip(ends)
            .filter(move |(stop, _)| stop.until.is_none_or(|over| over > from))
            .map(move |(stop, end)| (stop, (stop.from.max(from), end.min(until))))
            .filter(|(_, (from, until))| from < until)
    }

    /// Whether one of them reaches into this stretch.
    pub(crate) fn reach_into(&self, stretch: Stretch) -> bool {
        self.within(stretch).next().is_some()
    }

    /// How those fared that came in this stretch without its holes, and how many are missing there. `ends` counts
    /// those that came in a stretch, and ended well, and badly.
    pub(crate) fn told(
        &self,
        stretch: Stretch,
        holes: &[Stretch],
        ends: impl Fn(Stretch) -> (u64, u64),
    ) -> Told {
        let asked = without(stretch, holes);
        let came = asked.iter().map(|one| ends(*one));
        let mut told = Told::seen(came.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)));
        let mut all_expected = 0.0;
        for (stop, part) in self.within(stretch) {
            let (mut seconds, mut came) = (0.0, 0);
            for (from, until) in without(part, holes) {
                seconds += until.since(from).as_secs_f64();
                let (ok, failed) = ends((from, until));
                came += ok + failed;
            }
            let expected = stop.rate * seconds;
            all_expected += expected;
            told.missing += (expected - came as f64).max(0.0);
            // What chance there is now, and what there was when the rate was measured.
            told.variance += expected * stop.burstiness * (1.0 + seconds / RATE_OVER);
        }
        told.unheard = u64::from(all_expected < UNLIKELY_SILENCE);
        told
    }
}

/// What is left of a stretch without the holes.
fn without(stretch: Stretch, holes: &[Stretch]) -> Vec<Stretch> {
    let mut left = vec![stretch];
    left.retain(|(start, end)| start < end);
    for (from, until) in holes.iter().filter(|(from, until)| from < until) {
        left = left
            .into_iter()
            .flat_map(|(start, end)| [(start, end.min(*from)), (start.max(*until), end)])
            .filter(|(start, end)| start < end)
            .collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(stretch: (u64, u64)) -> Stretch {
        let at = UnixNanos::from_secs;
        (at(stretch.0), at(stretch.1))
    }

    /// Ten a second, with such bursts, stopped at 100 s and were back to stay at 200 s; of what comes after 150 s so
    /// many a second. How many came, how many are missing, and the error of that.
    fn told(stretch: (u64, u64), holes: &[(u64, u64)], after: u64, bursts: f64) -> Told {
        let mut stops = Stops::default();
        stops.begin(UnixNanos::from_secs(100), 10.0, bursts);
        stops.end(UnixNanos::from_secs(200));
        let holes: Vec<Stretch> = holes.iter().map(|hole| seconds(*hole)).collect();
        stops.told(seconds(stretch), &holes, |(from, until)| {
            let back = UnixNanos::from_secs(150);
            (until.since(from.max(back)).as_secs() * after, 0)
        })
    }

    #[test]
    fn what_should_have_come_less_what_came() {
        for (name, stretch, holes, after, expected) in [
            ("before it stopped", (0, 100), &[][..], 10, (0, 0)),
            ("while none comes", (110, 140), &[], 0, (0, 300)),
            ("when all come again", (150, 190), &[], 10, (400, 0)),
            ("a few less than usual", (150, 190), &[], 9, (360, 40)),
            ("when half of them come", (150, 190), &[], 5, (200, 200)),
            ("from before it to its midst", (0, 140), &[], 0, (0, 400)),
            ("when it is over", (200, 300), &[], 10, (1000, 0)),
            ("when it is over, at half", (200, 300), &[], 5, (500, 0)),
            ("when it is over meanwhile", (190, 300), &[], 5, (550, 550)),
            ("all of it excused", (110, 140), &[(90, 150)], 0, (0, 0)),
            (
                "its midst excused, twice",
                (110, 140),
                &[(115, 125), (120, 130)],
                0,
                (0, 150),
            ),
            // Those that came meanwhile make up for none outside, nor stand for those of whom nobody knows.
            (
                "excused where they come",
                (120, 170),
                &[(150, 170)],
                10,
                (0, 300),
            ),
        ] {
            let found = told(stretch, holes, after, 1.0);
            assert_eq!((found.ok, found.missing()), expected, "{name}");
        }
    }

    #[test]
    fn how_sure_that_is() {
        // Two standard deviations of 300, which were known from two minutes only.
        let error = |bursts| told((110, 140), &[], 0, bursts).missing_error();
        assert_eq!((error(1.0), error(5.0)), (39, 87));
        // Of a moment in which next to none was to come nothing is known.
        for (stretch, holes, unheard) in [
            ((110, 140), &[][..], 0),
            ((110, 140), &[(100, 140)], 1),
            ((110, 110), &[], 1),
        ] {
            assert_eq!(told(stretch, holes, 0, 1.0).unheard, unheard, "{stretch:?}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut stops = Stops::default();
        for second in 0..20 {
            stops.begin(UnixNanos::from_secs(second), 1.0, 1.0);
        }
        assert_eq!(stops.stops.len(), MOST);
        stops.forget_before(UnixNanos::from_secs(17));
        let left: Vec<u64> = stops.stops.iter().map(|stop| stop.from.0).collect();
        assert_eq!(left, [16, 17, 18, 19].map(|s| UnixNanos::from_secs(s).0));
        stops.end(UnixNanos::from_secs(30));
        stops.forget_before(UnixNanos::from_secs(31));
        assert!(stops.stops.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_left_in_a_hole_and_everything_outside(
            stretch in (0u64..50, 0u64..50),
            holes in prop::collection::vec((0u64..50, 0u64..50), 0..5),
        ) {
            let cut: Vec<Stretch> = holes.iter().map(|hole| seconds(*hole)).collect();
            let left = without(seconds(stretch), &cut);
            for second in 0..50 {
                let at = UnixNanos::from_secs(second);
                let within = |(from, until): &(u64, u64)| (*from..*until).contains(&second);
                let expected = within(&stretch) && !holes.iter().any(within);
                let covering = left.iter().filter(|(from, until)| (*from..*until).contains(&at));
                prop_assert_eq!(covering.count(), usize::from(expected), "{}", second);
            }
        }
    }
}
