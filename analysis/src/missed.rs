//! How many requests should have come in a stretch of time, and did not?
//!
//! What hangs neither fails nor ends, so a verdict that counts failures can't tell whether a restart set it
//! free. Once a type's silence is an incident, this says how many requests its former rate leads one to
//! expect of any stretch, and how many of them nobody saw. Only what chance doesn't explain counts: of a stretch in which
//! everything comes again, nothing is missing but in one case of forty.
//!
//! Nothing is expected while its service wasn't heard at all, nor in the shadow of what was done to it.

use rekindle_model::UnixNanos;

/// So many standard deviations below the expectation are chance.
const CHANCE: f64 = 2.0;
/// So many silences of a type are remembered: each takes minutes to be noticed, to end and to be usual
/// again.
const MOST: usize = 8;

/// A stretch of time: its start, and its end, which isn't in it.
pub(crate) type Stretch = (UnixNanos, UnixNanos);

/// One silence of a type that became an incident.
#[derive(Clone, Copy, Debug)]
struct Stopped {
    from: UnixNanos,
    /// When its incident was over; `None` while it is open.
    until: Option<UnixNanos>,
    /// How many a second came before, at least.
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

    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        self.stops
            .retain(|stop| stop.until.is_none_or(|until| until >= time));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.stops.is_empty()
    }

    /// How many are missing of this stretch. Nothing is expected in the `holes`; `came` counts those that came in a
    /// stretch.
    pub(crate) fn missing(
        &self,
        stretch: Stretch,
        holes: &[Stretch],
        came: impl Fn(Stretch) -> u64,
    ) -> u64 {
        let missing = self.stops.iter().map(|stop| {
            let from = stretch.0.max(stop.from);
            let until = stretch.1.min(stop.until.unwrap_or(stretch.1));
            let asked = without((from, until), holes);
            let seconds: f64 = asked
                .iter()
                .map(|(from, until)| until.since(*from).as_secs_f64())
                .sum();
            let expected = stop.rate * seconds;
            let chance = CHANCE * (expected * stop.burstiness).sqrt();
            let came: u64 = asked.iter().map(|one| came(*one)).sum();
            (expected - chance - came as f64).max(0.0) as u64
        });
        missing.sum()
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

    /// Ten a second stopped at 100 s and were back to stay at 200 s; of what comes after 150 s so many a second.
    fn missing(stretch: (u64, u64), holes: &[(u64, u64)], after: u64) -> u64 {
        let mut stops = Stops::default();
        stops.begin(UnixNanos::from_secs(100), 10.0, 1.0);
        stops.end(UnixNanos::from_secs(200));
        let holes: Vec<Stretch> = holes.iter().map(|hole| seconds(*hole)).collect();
        stops.missing(seconds(stretch), &holes, |(from, until)| {
            let back = UnixNanos::from_secs(150);
            until.since(from.max(back)).as_secs() * after
        })
    }

    #[test]
    fn what_should_have_come_less_what_came_and_chance() {
        for (name, stretch, holes, after, expected) in [
            ("before it stopped", (0, 100), &[][..], 10, 0),
            ("while none comes", (110, 140), &[], 0, 300 - 34),
            ("too short to tell", (110, 110), &[], 0, 0),
            ("when all come again", (150, 190), &[], 10, 0),
            ("a few less than usual", (150, 190), &[], 9, 1),
            ("when half of them come", (150, 190), &[], 5, 200 - 40),
            ("from before it to its midst", (0, 140), &[], 0, 400 - 40),
            ("when it is over", (200, 300), &[], 0, 0),
            ("all of it excused", (110, 140), &[(90, 150)], 0, 0),
            (
                "its midst excused, twice",
                (110, 140),
                &[(115, 125), (120, 130)],
                0,
                150 - 24,
            ),
            // Those that came meanwhile make up for none outside.
            (
                "excused where they come",
                (120, 170),
                &[(150, 170)],
                10,
                300 - 34,
            ),
        ] {
            let found = missing(stretch, holes, after);
            assert!(found.abs_diff(expected) <= 1, "{name}: {found}");
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
        assert!(stops.is_empty());
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
