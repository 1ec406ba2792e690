//! Requests of one type, second by second, and which of them fail.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::simulate::random;

/// Which requests fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failures {
    /// Each by itself, with this probability.
    Single(f64),
    /// So many of all, in bursts of this many consecutive requests; or with many short and a few
    /// long bursts (geometric) of this many on average.
    Bursts {
        share: f64,
        length: u64,
        is_geometric: bool,
    },
    /// Each by itself, with a share that is drawn anew (exponential with this mean) so often.
    Wandering { share: f64, seconds: u64 },
    /// Each by itself, with a share that rises from `low` at second `from` to `high`, over so many
    /// seconds, and stays there.
    Ramp {
        from: u64,
        over: f64,
        low: f64,
        high: f64,
    },
}

/// A source of requests.
#[derive(Debug)]
pub(super) struct Traffic {
    rate: f64,
    failures: Failures,
    chance: StdRng,
    /// Requests that are due, in parts.
    due: f64,
    burst_left: u64,
    wandered: Option<(u64, f64)>,
}

impl Traffic {
    /// So many requests a second.
    pub(super) fn new(rate: f64, failures: Failures, chance: StdRng) -> Self {
        Self {
            rate,
            failures,
            chance,
            due: 0.0,
            burst_left: 0,
            wandered: None,
        }
    }

    /// Whether each request of this second fails. Seconds are asked for in order.
    pub(super) fn second(&mut self, second: u64) -> Vec<bool> {
        self.due += self.rate;
        let count = self.due.floor();
        self.due -= count;
        (0..count as u64).map(|_| self.fails(second)).collect()
    }

    fn fails(&mut self, second: u64) -> bool {
        match self.failures {
            Failures::Single(share) => self.chance.random::<f64>() < share,
            Failures::Bursts {
                share,
                length,
                is_geometric,
            } => {
                let length_on_average = length as f64;
                let begins = share / length_on_average;
                if self.burst_left == 0 && self.chance.random::<f64>() < begins {
                    self.burst_left = if is_geometric { 1 } else { length };
                    while is_geometric && self.chance.random::<f64>() >= 1.0 / length_on_average {
                        self.burst_left += 1;
                    }
                }
                let fails = self.burst_left > 0;
                self.burst_left = self.burst_left.saturating_sub(1);
                fails
            }
            Failures::Wandering { share, seconds } => {
                let period = second / seconds;
                let now = match self.wandered {
                    Some((at, now)) if at == period => now,
                    _ => random::exponential(&mut self.chance, share).min(1.0),
                };
                self.wandered = Some((period, now));
                self.chance.random::<f64>() < now
            }
            Failures::Ramp {
                from,
                over,
                low,
                high,
            } => {
                let way = (second.saturating_sub(from) as f64 / over).min(1.0);
                self.chance.random::<f64>() < low + (high - low) * way
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_as_asked_for() {
        for failures in [
            Failures::Single(0.02),
            Failures::Bursts {
                share: 0.02,
                length: 3,
                is_geometric: false,
            },
            Failures::Bursts {
                share: 0.02,
                length: 3,
                is_geometric: true,
            },
            Failures::Wandering {
                share: 0.02,
                seconds: 60,
            },
            Failures::Ramp {
                from: 0,
                over: 1.0,
                low: 0.0,
                high: 0.02,
            },
        ] {
            let mut traffic = Traffic::new(2.5, failures, random::stream(1, &[]));
            let ends: Vec<bool> = (0..80_000).flat_map(|at| traffic.second(at)).collect();
            assert_eq!(ends.len(), 200_000);
            let share = ends.iter().filter(|bad| **bad).count() as f64 / ends.len() as f64;
            assert!((share - 0.02).abs() < 0.003, "{failures:?}: {share}");
        }
    }
}
