//! What a liveness probe does to the same world: Kubernetes' defaults, and no idea of why.

use rekindle_recovery::UnitName;

use super::super::manner::Manner;
use super::harm::Harm;
use super::troubles::{PROCESSES, downtime_of, traffic_of};
use super::world::{START_DEADLINE, World};

/// Between two probes, in seconds.
const PERIOD: f64 = 10.0;
/// So many failures in a row are a restart.
const FAILURES: u32 = 3;
/// The first wait after a restart, doubled each time …
const BACKOFF: f64 = 10.0;
/// … up to this; forgotten after ten minutes of health.
const BACKOFF_LIMIT: f64 = 300.0;
const FORGOTTEN: f64 = 600.0;
/// A probe fails when this share of requests does: it is one request, asked anew each time.
const SICK: f64 = 0.5;

/// Who restarts processes, and on whose word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probes {
    /// Nobody.
    None,
    /// Probes that say how it is, and restarts that always work.
    Sound,
    /// The same with the world's own executors.
    Honest,
    /// With these, and with probes that fail once for each lie that recovery would have to believe as well: that two say,
    /// and hold for likelier than not.
    LiedTo,
}

struct Process {
    name: &'static str,
    failures: u32,
    back_at: f64,
    backoff: f64,
    restarted_at: f64,
}

impl Process {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            failures: 0,
            back_at: 0.0,
            backoff: BACKOFF,
            restarted_at: f64::NEG_INFINITY,
        }
    }

    /// How long a restart at this time takes the process away, in seconds; `None` where nothing comes of it.
    fn away(&self, world: &World, probes: Probes, at: f64) -> Option<(f64, Manner)> {
        let usual = downtime_of(self.name);
        let manner = match probes {
            Probes::None | Probes::Sound => Manner::Works,
            Probes::Honest | Probes::LiedTo => world.manner_at(&UnitName::from(self.name), at),
        };
        let lasts = match manner {
            Manner::Works => usual,
            Manner::Cold => 2.0 * usual,
            // Somebody loses patience with it as soon as with Rekindle's.
            Manner::NeverReady | Manner::Hangs => START_DEADLINE.as_secs_f64(),
            Manner::Refuses | Manner::Panics => return None,
        };
        Some((lasts, manner))
    }
}

/// Plays `seconds` of the world.
pub(super) fn play(world: &World, seconds: f64, probes: Probes) -> Harm {
    let mut harm = Harm::default();
    let mut cured: Vec<bool> = vec![false; world.troubles.len()];
    let mut processes = PROCESSES.map(Process::new);
    let mut at = 0.0;
    while at < seconds {
        for process in &mut processes {
            let traffic = traffic_of(process.name);
            let sick = world.share_at(process.name, at, &cured);
            if process.back_at > at {
                // Away: what would have gone well fails too.
                let away = (process.back_at - at).min(PERIOD);
                harm.by_restarts += away * traffic * (1.0 - sick);
                harm.in_all += away * traffic + (PERIOD - away) * traffic * sick;
                continue;
            }
            harm.in_all += PERIOD * traffic * sick;
            if probes == Probes::None {
                continue;
            }
            let is_lie =
                probes == Probes::LiedTo && world.is_lied_about(process.name, at - PERIOD, at);
            process.failures = if sick >= SICK || is_lie {
                process.failures + 1
            } else {
                0
            };
            if at - process.restarted_at > FORGOTTEN {
                process.backoff = BACKOFF;
            }
            if process.failures < FAILURES {
                continue;
            }
            process.failures = 0;
            let Some((away, manner)) = process.away(world, probes, at) else {
                continue;
            };
            harm.restarts += 1.0;
            process.restarted_at = at;
            process.back_at = at + PERIOD + away + process.backoff - BACKOFF;
            process.backoff = (2.0 * process.backoff).min(BACKOFF_LIMIT);
            for (place, trouble) in world.troubles.iter().enumerate() {
                let is_ready = matches!(manner, Manner::Works | Manner::Cold);
                if is_ready && trouble.from <= at && trouble.is_cured_by_process(process.name) {
                    cured[place] = true;
                }
            }
        }
        at += PERIOD;
    }
    harm
}
