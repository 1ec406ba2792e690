//! Was the wall's clock set?
//!
//! What people and telemetry speak of has times of the wall's clock, and that can be set: forward, and all that is
//! remembered would be long ago; back, and it would be yet to come. A steady clock tells by how much. (A machine that slept
//! has let no time pass.)

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::process::procfs;

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

    /// In nanoseconds, negative where the clock was set back.
    pub(crate) fn nanos(self) -> i64 {
        let by = i64::try_from(self.by.as_nanos()).unwrap_or(i64::MAX);
        if self.forward { by } else { -by }
    }

    /// Of so many nanoseconds.
    pub(crate) const fn of_nanos(nanos: i64) -> Self {
        Self {
            by: Duration::from_nanos(nanos.unsigned_abs()),
            forward: nanos >= 0,
        }
    }

    /// Both, one after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::of_nanos(self.nanos().saturating_add(other.nanos()))
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

/// Tells which boot of the machine this is, and for how long it has lasted, sleep left out.
pub type BootClock = Arc<dyn Fn() -> (String, Duration) + Send + Sync>;

/// The machine's own.
pub fn boot_clock() -> BootClock {
    let boot = procfs::boot_id();
    Arc::new(move || (boot.clone(), lasted(ClockId::Monotonic)))
}

/// For how long a clock has run that began with the machine.
pub(crate) fn lasted(clock: ClockId) -> Duration {
    let since = clock_gettime(clock);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(since.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// What the wall's clock said at a moment that another engine can find again: one of a boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which boot; empty where nobody can tell.
    pub boot: String,
    /// For how long it had lasted.
    pub lasted: Duration,
    /// What the wall's clock said.
    pub wall: SystemTime,
}

impl Reading {
    /// Now.
    pub fn now(boot: &BootClock, wall: SystemTime) -> Self {
        let (boot, lasted) = boot();
        Self { boot, lasted, wall }
    }

    /// Whether the wall's clock was set since an earlier one; `None` where it wasn't, or that can't be told: the machine
    /// was started again since.
    pub fn shift_since(&self, earlier: &Self) -> Option<Shift> {
        if self.boot.is_empty() || self.boot != earlier.boot {
            return None;
        }
        let passed = self.lasted.checked_sub(earlier.lasted)?;
        let expected = earlier.wall.checked_add(passed)?;
        let shift = Shift::between(expected, self.wall);
        (shift.by >= WAS_SET).then_some(shift)
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

    #[test]
    fn an_engine_sees_what_was_set_before_it_began() {
        let reading = |boot: &str, lasted: u64, wall: u64| Reading {
            boot: boot.to_owned(),
            lasted: Duration::from_secs(lasted),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall),
        };
        let set = |by: u64, forward| {
            let by = Duration::from_secs(by);
            Some(Shift { by, forward })
        };
        let before = reading("a", 100, 1_000_000);
        for (now, expected) in [
            (reading("a", 160, 1_000_060), None),
            (reading("a", 160, 1_007_260), set(7200, true)),
            (reading("a", 160, 992_860), set(7200, false)),
            // Another boot, or one that can't be told, has another beginning.
            (reading("b", 160, 1_007_260), None),
            (reading("a", 50, 1_007_260), None),
        ] {
            assert_eq!(now.shift_since(&before), expected, "{now:?}");
            let same = now
                .shift_since(&before)
                .map(|it| Shift::of_nanos(it.nanos()));
            assert_eq!(same, expected);
        }
        let unknown = reading("", 100, 1_000_000);
        assert_eq!(reading("", 100, 2_000_000).shift_since(&unknown), None);
    }
}
