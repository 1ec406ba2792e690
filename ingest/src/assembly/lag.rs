//! How long after a span ends does it usually arrive?
//!
//! Exporters hold spans back (by default up to five seconds), each service for as long as it was
//! told. Waiting too short tears traces, waiting long delays every ranking, so the wait is learned:
//! per service, the lag that nearly all of its spans keep to, in a histogram that forgets. A
//! histogram and not a maximum, because one batch that was retried after an outage would otherwise
//! slow everything; and forgetting, because a deployment changes the setting.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rekindle_model::{Name, Resource, UnixNanos};

/// The lag is counted in these, and less is none.
const UNIT: Duration = Duration::from_millis(1);

/// Each doubling has four buckets, told apart by the two bits behind the first: a quantile is at
/// most a quarter too high.
const BUCKETS_PER_OCTAVE: u32 = 4;

/// Buckets up to 65 s; more is no exporter's delay but a clock that is wrong, or a replay.
const BUCKETS: usize = 16 * BUCKETS_PER_OCTAVE as usize;

/// The share of a service's spans that keep to its lag. One in a hundred may come late.
const QUANTILE: f64 = 0.99;

/// Counts halve this often, so that a changed exporter is learned within a minute.
const HALF_LIFE: Duration = Duration::from_secs(15);

/// What a span counts for, so that the lag of a service with few spans survives some halvings.
const WEIGHT: u32 = 64;

/// How old the overall figure may get before it is worked out again.
const REFRESH: Duration = Duration::from_millis(250);

/// Services learned apart; beyond, they are learned together.
const MAX_SERVICES: usize = 1024;

/// Lags of one service's spans.
#[derive(Clone)]
struct Histogram {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl Histogram {
    #[inline]
    fn add(&mut self, lag_nanos: u64) {
        // Once full, what is there is telling enough until it is halved.
        if let Some(total) = self.total.checked_add(WEIGHT) {
            self.counts[bucket_of(lag_nanos)] += WEIGHT;
            self.total = total;
        }
    }

    fn halve(&mut self) {
        self.total = 0;
        for count in &mut self.counts {
            *count /= 2;
            self.total += *count;
        }
    }

    /// The upper edge of the bucket that the quantile falls in; zero when nothing was counted.
    fn quantile(&self) -> Duration {
        let wanted = (f64::from(self.total) * QUANTILE).ceil();
        let mut seen = 0.0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += f64::from(*count);
            if seen >= wanted {
                return upper_edge(bucket);
            }
        }
        Duration::ZERO
    }
}

#[inline]
fn bucket_of(lag_nanos: u64) -> usize {
    // Quarters of the unit, so that the two bits are there from one unit on.
    const QUARTER: u64 = UNIT.as_nanos() as u64 / BUCKETS_PER_OCTAVE as u64;
    let quarters = lag_nanos / QUARTER;
    let Some(octave) = quarters.checked_ilog2().and_then(|it| it.checked_sub(2)) else {
        return 0;
    };
    let of_octave = (quarters >> octave) as u32 - BUCKETS_PER_OCTAVE;
    ((octave * BUCKETS_PER_OCTAVE + of_octave) as usize + 1).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> Duration {
    let Some(bucket) = bucket.checked_sub(1) else {
        return Duration::ZERO;
    };
    let (octave, of_octave) = (
        bucket as u32 / BUCKETS_PER_OCTAVE,
        bucket as u32 % BUCKETS_PER_OCTAVE,
    );
    UNIT * ((BUCKETS_PER_OCTAVE + of_octave + 1) << octave) / BUCKETS_PER_OCTAVE
}

/// What was learned of all services' exporters.
pub(super) struct ExporterLag {
    services: HashMap<Name, usize>,
    histograms: Vec<Histogram>,
    /// Where the last span's process is counted: spans of one process come together.
    last: Option<(Arc<Resource>, usize)>,
    /// `None` before the first time.
    halved_at: Option<UnixNanos>,
    worked_out_at: UnixNanos,
    longest: Duration,
}

impl ExporterLag {
    pub(super) fn new() -> Self {
        Self {
            services: HashMap::new(),
            histograms: vec![Histogram::default()],
            last: None,
            halved_at: None,
            worked_out_at: UnixNanos(0),
            longest: Duration::ZERO,
        }
    }

    /// Where the spans of this process are counted, until the next [`Self::refresh`].
    pub(super) fn place_of(&mut self, resource: &Arc<Resource>) -> usize {
        match &self.last {
            Some((last, place)) if Arc::ptr_eq(last, resource) => *place,
            _ => self.look_up(resource),
        }
    }

    /// Learns from a span that ended then and arrives now. One from the future (its host's clock is
    /// ahead) has a lag of zero; one of absurd age counts in the highest bucket.
    #[inline]
    pub(super) fn learn(&mut self, place: usize, end: UnixNanos, now: UnixNanos) {
        self.histograms[place].add(now.0.saturating_sub(end.0));
    }

    fn look_up(&mut self, resource: &Arc<Resource>) -> usize {
        let index = match self.services.get(&resource.service) {
            Some(index) => *index,
            None if self.histograms.len() <= MAX_SERVICES => {
                self.histograms.push(Histogram::default());
                let index = self.histograms.len() - 1;
                self.services.insert(resource.service.clone(), index);
                index
            }
            // The first histogram is everybody's who has none.
            None => 0,
        };
        self.last = Some((resource.clone(), index));
        index
    }

    /// The longest lag that a service's spans usually keep to.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// Forgets what is due to be forgotten, and works the longest lag out anew when it is old.
    pub(super) fn refresh(&mut self, now: UnixNanos) {
        if now.since(*self.halved_at.get_or_insert(now)) >= HALF_LIFE {
            self.halved_at = Some(now);
            self.forget();
        }
        if now.since(self.worked_out_at) >= REFRESH {
            self.worked_out_at = now;
            let quantiles = self.histograms.iter().map(Histogram::quantile);
            self.longest = quantiles.max().unwrap_or_default();
        }
    }

    fn forget(&mut self) {
        for histogram in &mut self.histograms {
            histogram.halve();
        }
        let gone = self.histograms.iter().skip(1).any(|it| it.total == 0);
        if !gone {
            return;
        }
        // Services that fell silent make room: their places are closed up.
        self.last = None;
        let mut kept = vec![std::mem::take(&mut self.histograms[0])];
        let histograms = &mut self.histograms;
        self.services.retain(|_, index| {
            let silent = histograms[*index].total == 0;
            if !silent {
                kept.push(std::mem::take(&mut histograms[*index]));
                *index = kept.len() - 1;
            }
            !silent
        });
        self.histograms = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::testing::span_of;
    use proptest::prelude::*;

    const START: UnixNanos = UnixNanos::from_secs(1_000_000);

    fn learn(lag: &mut ExporterLag, service: &str, end: UnixNanos, now: UnixNanos) {
        let place = lag.place_of(&span_of(service, end).resource);
        lag.learn(place, end, now);
    }

    fn learned(lags_in_millis: impl IntoIterator<Item = (&'static str, i64)>) -> Duration {
        let mut lag = ExporterLag::new();
        for (service, millis) in lags_in_millis {
            let end = START.0.saturating_add_signed(-millis * 1_000_000);
            learn(&mut lag, service, UnixNanos(end), START);
        }
        lag.refresh(START);
        lag.longest()
    }

    #[test]
    fn the_slowest_service_counts_but_not_the_slowest_span() {
        let calm = (0..500).map(|it| ("fast", it % 200));
        let slow = (0..500).map(|it| ("slow", it * 10));
        let lag = learned(calm.clone().chain(slow));
        assert!((4900..6000).contains(&lag.as_millis()), "{lag:?}");

        let with_one_retry = calm.clone().chain([("fast", 40_000)]);
        let lag = learned(with_one_retry);
        assert!((190..240).contains(&lag.as_millis()), "{lag:?}");

        let with_a_future_clock = calm.chain((0..400).map(|_| ("ahead", -3_600_000)));
        let lag = learned(with_a_future_clock);
        assert!((190..240).contains(&lag.as_millis()), "{lag:?}");
    }

    #[test]
    fn an_absurd_age_is_bounded_and_nothing_is_zero() {
        assert_eq!(learned([]), Duration::ZERO);
        let lag = learned([("behind", 3_600_000)]);
        assert!((57..70).contains(&lag.as_secs()), "{lag:?}");
    }

    #[test]
    fn a_changed_exporter_is_learned_and_a_silent_service_forgotten() {
        let mut lag = ExporterLag::new();
        let mut now = START;
        for _ in 0..1000 {
            learn(&mut lag, "slow", now.minus(Duration::from_secs(5)), now);
        }
        lag.refresh(now);
        assert!(lag.longest() >= Duration::from_secs(5));
        for _ in 0..20 {
            now = now.plus(HALF_LIFE);
            learn(&mut lag, "other", now, now);
            lag.refresh(now);
        }
        assert_eq!(lag.longest(), Duration::ZERO);
        assert!(!lag.services.contains_key("slow"));
        for number in 0..3 * MAX_SERVICES {
            learn(&mut lag, &number.to_string(), now, now);
        }
        assert!(lag.histograms.len() <= MAX_SERVICES + 1);
    }

    proptest! {
        /// The bucket's edge is never below the lag, and at most a bucket's width above.
        #[test]
        fn buckets_bound_what_is_in_them(nanos in 0u64..56_000_000_000) {
            let lag = Duration::from_nanos(nanos);
            let edge = upper_edge(bucket_of(nanos));
            if lag >= UNIT {
                prop_assert!(edge >= lag && edge <= lag.mul_f64(1.26), "{lag:?} {edge:?}");
            } else {
                prop_assert_eq!(edge, Duration::ZERO);
            }
        }
    }
}
