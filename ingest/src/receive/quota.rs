//! How much may one source send?
//!
//! One careless instrumentation, or one stranger, shouldn't use up what all share: the engine's time, and the room for
//! names. So each source has an allowance of spans and one of new names, if the configuration says how much, in token
//! buckets: what isn't used is saved up to a bound, and what is over is refused.
//!
//! A source is whoever can be told apart: the token, else the certificate, else the address. Too many spans are a matter
//! of time, so the exporter is told when to come again, and its spans aren't even decoded meanwhile. Too many new names
//! aren't: names that are made up for each request never end, and whoever is told to send them again only gets stuck on
//! them. Such a request is refused for good, as a whole, so that what was kept is what was taken. What has been decoded is
//! counted whether it was worth it or not, or else refusals would be the cheapest way to keep the engine busy; only what
//! the engine itself couldn't keep is given back.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::DefaultHashBuilder;

use self::accounts::Accounts;
use crate::packed::PackedSpans;

mod accounts;

/// What each source may send; everything, where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Spans a second, in the long run.
    pub spans_per_second: Option<u32>,
    /// Spans that may be saved up for a burst; as many as may come in ten seconds, if it isn't said.
    pub burst: Option<u32>,
    /// Services, and operations of a service, that may be heard of for the first time within an hour. What wasn't heard of
    /// for one to two hours counts as new again.
    pub new_names_per_hour: Option<u32>,
}

/// For how long unused spans are saved up when nobody says: two of the exporters' usual delays of 5 s, after which all
/// that was collected meanwhile comes at once.
const BURST_SECONDS: f64 = 10.0;

/// Bytes that count as a span where nobody can tell how many there are: few spans are shorter, so that nothing malformed
/// costs its sender less than what is well formed.
const MALFORMED_SPAN_BYTES: usize = 128;

/// The longest that anybody is told to wait: exporters give up on what is over a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Whoever has this token; its hash.
    Token(u64),
    /// Whoever has this certificate; its hash.
    Certificate(u64),
    /// Whoever has this address.
    Address(IpAddr),
    /// Whoever has an address of this network, of 48 bits.
    Site(Ipv6Addr),
    /// Those that are too many to be told apart.
    Others,
}

impl Source {
    /// Whoever has this address, or in version 6 any of its network of 64 bits: one machine can have all of those.
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address => address,
        })
    }
}

/// What is left of an allowance that grows with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Below zero when more was taken than there was.
    left: f64,
    as_of: Instant,
}

impl Bucket {
    fn full(capacity: f64, now: Instant) -> Self {
        Self {
            left: capacity,
            as_of: now,
        }
    }

    fn grow(&mut self, per_second: f64, capacity: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.as_of).as_secs_f64();
        self.left = (self.left + passed * per_second).min(capacity);
        self.as_of = now;
    }

    /// Takes so many of the spans that may be sent.
    fn spend(&mut self, limits: &SourceLimits, spans: f64, now: Instant) {
        if let Some((rate, burst)) = limits.rate() {
            self.grow(rate, burst, now);
            self.left = (self.left - spans).min(burst);
        }
    }
}

/// The allowances of all sources.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: SourceLimits,
    hasher: DefaultHashBuilder,
    accounts: Mutex<Accounts>,
}

impl Quotas {
    pub(super) fn new(limits: SourceLimits) -> Self {
        Self {
            limits,
            hasher: DefaultHashBuilder::default(),
            accounts: Mutex::default(),
        }
    }

    /// Whether the source may send now, or how long it should wait.
    pub(super) fn admit(&self, source: Source, now: Instant) -> Result<(), Duration> {
        let Some((rate, burst)) = self.limits.rate() else {
            return Ok(());
        };
        let mut accounts = self.lock();
        let (account, _) = accounts.account(source, &self.limits, now);
        account.spans.grow(rate, burst, now);
        if account.spans.left >= 0.0 {
            return Ok(());
        }
        let wait = (-account.spans.left / rate).ceil().max(1.0);
        Err(Duration::try_from_secs_f64(wait)
            .unwrap_or(LONGEST_WAIT)
            .min(LONGEST_WAIT))
    }

    /// Takes what a request needs from the source's allowances, of whose spans `rejected` weren't taken. Spans may be
    /// owed, new names may not.
    ///
    /// # Errors
    /// How many names were new when those are too many. The spans are taken nevertheless: they have been decoded.
    pub(super) fn charge(
        &self,
        source: Source,
        spans: &PackedSpans,
        rejected: u64,
        now: Instant,
    ) -> Result<(), usize> {
        if self.limits == SourceLimits::default() {
            return Ok(());
        }
        // Before the lock, because it takes long when there are many.
        let names = self.limits.new_names_per_hour.map(|_| self.names_of(spans));
        let mut accounts = self.lock();
        let (account, _) = accounts.account(source, &self.limits, now);
        account.sent = Some(now);
        account
            .spans
            .spend(&self.limits, spans.len() as f64 + rejected as f64, now);
        match names {
            Some(names) => accounts.take_names(source, names, &self.limits, now),
            None => Ok(()),
        }
    }

    /// Takes what it cost to see that a request of this length is none.
    pub(super) fn charge_malformed(&self, source: Source, bytes: usize, now: Instant) {
        let spans = 1.0 + (bytes / MALFORMED_SPAN_BYTES) as f64;
        self.book(source, spans, now);
    }

    /// Gives back what spans needed that weren't kept, through no fault of their source. Their names stay known, so
    /// that they cost nothing when they come again.
    pub(super) fn give_back(&self, source: Source, spans: usize, now: Instant) {
        self.book(source, -(spans as f64), now);
    }

    fn book(&self, source: Source, spans: f64, now: Instant) {
        if self.limits.spans_per_second.is_none() {
            return;
        }
        let mut accounts = self.lock();
        let (account, _) = accounts.account(source, &self.limits, now);
        account.sent = Some(now);
        account.spans.spend(&self.limits, spans, now);
    }

    /// The services and operations that are named, each once, by hashes under a key that nobody knows.
    fn names_of(&self, spans: &PackedSpans) -> HashSet<u64> {
        let mut names = HashSet::new();
        for shape in spans.shapes() {
            let service = shape.resource.service.as_str();
            names.insert(self.hasher.hash_one(service));
            names.insert(self.hasher.hash_one((service, shape.name.as_str())));
        }
        names
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceLimits {
    /// Spans per second, and the most that are saved up.
    fn rate(&self) -> Option<(f64, f64)> {
        let rate = f64::from(self.spans_per_second?);
        Some((rate, self.burst.map_or(rate * BURST_SECONDS, f64::from)))
    }

    fn names_per_hour(&self) -> f64 {
        f64::from(self.new_names_per_hour.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::accounts::MAX_SOURCES;
    use super::*;
    use crate::assembly::testing::span;
    use rekindle_model::UnixNanos;

    fn address(number: u32) -> Source {
        Source::at(IpAddr::from(number.to_be_bytes()))
    }

    /// Spans of one service, with an operation each.
    fn spans(operations: std::ops::Range<u32>) -> PackedSpans {
        let named = |number| {
            let mut span = span(1, 1, 0, UnixNanos(1));
            span.name = format!("operation {number}").as_str().into();
            span
        };
        operations.map(named).collect()
    }

    #[test]
    fn spans_over_the_rate_are_owed_and_waited_for() {
        let limits = SourceLimits {
            spans_per_second: Some(10),
            burst: Some(30),
            ..Default::default()
        };
        let (quotas, start) = (Quotas::new(limits), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let one = address(1);
        // The burst, and what is owed after it.
        assert_eq!(quotas.admit(one, at(0)), Ok(()));
        assert_eq!(quotas.charge(one, &spans(0..30), 0, at(0)), Ok(()));
        assert_eq!(quotas.admit(one, at(0)), Ok(()));
        assert_eq!(quotas.charge(one, &spans(0..25), 0, at(0)), Ok(()));
        assert_eq!(quotas.admit(one, at(0)), Err(Duration::from_secs(3)));
        assert_eq!(quotas.admit(one, at(2)), Err(Duration::from_secs(1)));
        // Others are none the worse.
        assert_eq!(quotas.admit(address(2), at(2)), Ok(()));
        assert_eq!(quotas.admit(one, at(3)), Ok(()));
        // Nothing is saved up beyond the burst, and nobody is told to wait for ever.
        assert_eq!(quotas.charge(one, &spans(0..1031), 0, at(10_000)), Ok(()));
        assert_eq!(quotas.admit(one, at(10_000)), Err(LONGEST_WAIT));
        assert_eq!(quotas.admit(one, at(10_101)), Ok(()));
    }

    #[test]
    fn new_names_are_limited_and_known_ones_are_not() {
        let limits = SourceLimits {
            new_names_per_hour: Some(6),
            ..Default::default()
        };
        let (quotas, start) = (Quotas::new(limits), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let one = address(1);
        // The service and five operations.
        assert_eq!(quotas.charge(one, &spans(0..5), 0, at(0)), Ok(()));
        assert_eq!(quotas.charge(one, &spans(0..5), 0, at(0)), Ok(()));
        assert_eq!(quotas.charge(one, &spans(4..6), 0, at(0)), Err(1));
        assert_eq!(quotas.charge(address(2), &spans(4..6), 0, at(0)), Ok(()));
        // Ten minutes each.
        assert_eq!(quotas.charge(one, &spans(5..6), 0, at(10)), Ok(()));
        assert_eq!(quotas.charge(one, &spans(6..7), 0, at(11)), Err(1));
        // What is used stays known for as long as it is, and two hours without make it new.
        for hour in 1..10 {
            assert_eq!(
                quotas.charge(one, &spans(0..5), 0, at(60 * hour)),
                Ok(()),
                "{hour}"
            );
        }
        assert_eq!(quotas.lock().names, 6 + 3);
        assert_eq!(quotas.charge(one, &spans(0..7), 0, at(60 * 12)), Err(8));
        assert_eq!(quotas.charge(one, &spans(5..6), 0, at(60 * 14)), Ok(()));
        assert_eq!(quotas.lock().names, 2 + 3);
    }

    #[test]
    fn what_was_decoded_is_charged_whatever_came_of_it() {
        let limits = SourceLimits {
            spans_per_second: Some(10),
            burst: Some(10),
            new_names_per_hour: Some(0),
        };
        let (quotas, now) = (Quotas::new(limits), Instant::now());
        let owed = |seconds| Err(Duration::from_secs(seconds));
        assert_eq!(quotas.charge(address(1), &spans(0..20), 0, now), Err(21));
        assert_eq!(quotas.admit(address(1), now), owed(1));
        assert_eq!(quotas.charge(address(2), &spans(0..0), 30, now), Ok(()));
        assert_eq!(quotas.admit(address(2), now), owed(2));
        quotas.charge_malformed(address(3), 40 * MALFORMED_SPAN_BYTES, now);
        assert_eq!(quotas.admit(address(3), now), owed(4));
        // What wasn't kept is given back, and no more than there may be.
        quotas.give_back(address(1), 20, now);
        assert_eq!(quotas.admit(address(1), now), Ok(()));
        quotas.give_back(address(1), 1000, now);
        quotas.charge_malformed(address(1), 10 * MALFORMED_SPAN_BYTES, now);
        assert_eq!(quotas.admit(address(1), now), owed(1));
    }

    #[test]
    fn strangers_share_an_allowance_once_there_are_too_many() {
        let limits = SourceLimits {
            spans_per_second: Some(1),
            burst: Some(1),
            ..Default::default()
        };
        let (quotas, start) = (Quotas::new(limits), Instant::now());
        for number in 0..2 * MAX_SOURCES as u32 {
            assert_eq!(
                quotas.charge(address(number), &spans(0..2), 0, start),
                Ok(())
            );
        }
        let accounts = quotas.lock().addresses.len();
        assert_eq!(accounts, MAX_SOURCES + 1);
        assert!(quotas.admit(address(1 << 20), start).is_err());
        // Once they have nothing owed, they need no account.
        let later = start + Duration::from_secs(100_000);
        assert_eq!(quotas.admit(address(1 << 20), later), Ok(()));
        assert_eq!(quotas.lock().addresses.len(), 1);
    }

    #[test]
    fn a_network_of_version_6_is_one_source() {
        let at = |text: &str| Source::at(text.parse().expect("an address"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    }
}
