//! What does a fault cost users from its first failure to its end, whoever decides what is done about it?

use rekindle_recovery::{Policy, UnitName};

use super::world::{Cure, Fault, REQUESTS_PER_SECOND, Site};

/// Who has which fault.
#[derive(Clone, Copy)]
pub(super) struct Ill<'a> {
    pub(super) site: &'a Site,
    pub(super) fault: &'a Fault,
    pub(super) policy: &'a Policy,
}

impl Ill<'_> {
    /// Requests per second of the failing types.
    pub(super) fn rate(&self) -> f64 {
        self.site.traffic(&self.fault.shows_in)
    }

    /// Whether what users meet the fault in is away while this unit is.
    pub(super) fn takes_along(&self, unit: &UnitName) -> bool {
        self.site.tree.contains(unit, &self.fault.shows_in)
    }
}

/// How far it has come.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// Seconds since the first failure.
    pub(super) at: f64,
    /// The part of the fault that is still there, in `[0, 1]`.
    pub(super) left: f64,
    /// Users' requests that failed.
    pub(super) failed: f64,
}

impl Course {
    pub(super) const fn begin() -> Self {
        Self {
            at: 0.0,
            left: 1.0,
            failed: 0.0,
        }
    }

    /// The share of the failing types' requests that fails at this time.
    pub(super) fn share(&self, on: Ill<'_>) -> f64 {
        on.fault.severity * self.left
    }

    /// So many seconds pass in which nobody restarts anything.
    pub(super) fn pass(&mut self, on: Ill<'_>, seconds: f64) {
        let sick = match on.fault.cure {
            // It may go meanwhile.
            Cure::Time(heals_after) => (heals_after - self.at).clamp(0.0, seconds),
            _ => seconds,
        };
        self.failed += sick * on.rate() * self.share(on);
        self.at += seconds;
        if let Cure::Time(heals_after) = on.fault.cure
            && self.at >= heals_after
        {
            self.left = 0.0;
        }
    }

    /// A unit was away for so many seconds: what passes through it failed meanwhile, and what fails anyway went on.
    pub(super) fn restarted(&mut self, on: Ill<'_>, unit: &UnitName, downtime: f64) {
        let away = downtime + on.policy.in_flight.as_secs_f64();
        let through = on.site.traffic(unit);
        // Those that fail anyway are among those that pass through what contains it.
        let others = match on.takes_along(unit) {
            true => 0.0,
            false => on.rate() * self.share(on),
        };
        self.failed += away * (through + others).min(REQUESTS_PER_SECOND);
        self.at += downtime;
        let cures = |cure: &UnitName| on.site.tree.contains(unit, cure);
        match &on.fault.cure {
            Cure::Restart(cure) if cures(cure) => self.left = 0.0,
            Cure::Time(heals_after) if self.at >= *heals_after => self.left = 0.0,
            _ => {
                if let Some((part, relief)) = &on.fault.eased_by
                    && cures(part)
                {
                    self.left = self.left.min(1.0 - relief);
                }
            }
        }
    }
}
