//! Was the wall's clock set?
//!
//! What people and telemetry speak of has times of the wall's clock, and that can be set: forward, and all that is
//! remembered would be long ago; back, and it would be yet to come. A steady clock tells by how much. (A machine that slept
//! has let no time pass.)

use std::time::{Duration, Instant, SystemTime};

/// The wall's clock was set when it is so far from where a steady clock has it. What is less, no guard
/// is about, and clocks are slewed by as much all the time.
const WAS_SET: Duration = Duration::from_secs(1);

/// By how much, and which way, the wall's clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// How far.
    pub by: Duration,
    /// Whether to later times.
    pub forward: bool,
}

impl Shift {
    fn between(expected: SystemTime, found: SystemTime) -> Self {
        match found.duration_since(expected) {
            Ok(by) => Self { by, forward: true },
            Err(error) => Self {
                by: error.duration(),
                forward: false,
            },
        }
    }

    /// Sets what is remembered as the clock was set. What that would put before or after all times stays.
    pub fn apply(self, at: &mut SystemTime) {
        let shifted = match self.forward {
            true => at.checked_add(self.by),
            false => at.checked_sub(self.by),
        };
        *at = shifted.unwrap_or(*at);
    }
}

/// What the wall's clock and a steady one said when they were last looked at.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    /// What they say now.
    pub const fn new(wall: SystemTime, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Whether the wall's clock was set since they were last looked at.
    pub fn look(&mut self, wall: SystemTime, steady: Instant) -> Option<Shift> {
        let passed = steady.saturating_duration_since(self.steady);
        let expected = self.wall.checked_add(passed).unwrap_or(wall);
        *self = Self { wall, steady };
        let shift = Shift::between(expected, wall);
        (shift.by >= WAS_SET).then_some(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let second = Duration::from_secs(1);
        let (wall, steady) = (SystemTime::UNIX_EPOCH + 1_000_000 * second, Instant::now());
        let forward = |by| Some(Shift { by, forward: true });
        let back = |by| Some(Shift { by, forward: false });
        for (passed, shown, expected) in [
            (60 * second, wall + 60 * second, None),
            // It is slewed.
            (60 * second, wall + 60 * second + second / 2, None),
            (60 * second, wall + 60 * second - second / 2, None),
            (second, wall + 7201 * second, forward(7200 * second)),
            (60 * second, wall, back(60 * second)),
            // The machine slept, and the steady clock with it.
            (Duration::ZERO, wall + 3600 * second, forward(3600 * second)),
        ] {
            let mut clocks = Clocks::new(wall, steady);
            assert_eq!(clocks.look(shown, steady + passed), expected, "{shown:?}");
            // It is told of once, and what was remembered is as long ago as it was.
            assert_eq!(clocks.look(shown + second, steady + passed + second), None);
            let mut remembered = wall - second;
            if let Some(shift) = expected {
                shift.apply(&mut remembered);
                let age = shown.duration_since(remembered).ok();
                assert_eq!(age, Some(passed + second));
            }
        }
    }
}
