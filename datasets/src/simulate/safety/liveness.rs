//! What a liveness probe does to the same world: Kubernetes' defaults, and no idea of why.

use super::troubles::{downtime_of, traffic_of};
use super::world::{Harm, World};

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

struct Process {
    name: &'static str,
    failures: u32,
    back_at: f64,
    backoff: f64,
    restarted_at: f64,
}

/// Plays `seconds` of the world, with liveness probes or with nobody who restarts anything.
pub(super) fn play(world: &World, seconds: f64, with_probes: bool) -> Harm {
    let mut harm = Harm::default();
    let mut cured: Vec<bool> = vec![false; world.troubles.len()];
    let mut processes: Vec<Process> = World::processes()
        .map(|name| Process {
            name,
            failures: 0,
            back_at: 0.0,
            backoff: BACKOFF,
            restarted_at: f64::NEG_INFINITY,
        })
        .collect();
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
            if !with_probes {
                continue;
            }
            process.failures = if sick >= SICK {
                process.failures + 1
            } else {
                0
            };
            if at - process.restarted_at > FORGOTTEN {
                process.backoff = BACKOFF;
            }
            if process.failures >= FAILURES {
                process.failures = 0;
                harm.restarts += 1.0;
                process.restarted_at = at;
                process.back_at =
                    at + PERIOD + downtime_of(process.name) + process.backoff - BACKOFF;
                process.backoff = (2.0 * process.backoff).min(BACKOFF_LIMIT);
                for (place, trouble) in world.troubles.iter().enumerate() {
                    if trouble.from <= at && trouble.is_cured_by_process(process.name) {
                        cured[place] = true;
                    }
                }
            }
        }
        at += PERIOD;
    }
    harm
}
