//! Who is told apart, and what is remembered of whom?
//!
//! There is room for so many sources and so many names, and none of it may be taken from others by taking much of it. So
//! those that have shown who they are have a table of their own, which addresses can't fill. An address that sent within
//! the last minutes keeps its place, whoever else comes; and once half of the places are taken, newcomers of version 6 are
//! told apart by their networks of 48 bits, of which a site has one, rather than by those of 64, of which it has 65,536.
//!
//! Some names are each source's own, many are shared by all, and none may have more than its part of those. When they are
//! short, those of sources that are idle go first: what changes its address by the hour must not use them up for good. A
//! name is remembered once per source, so that what is known never needs room again.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use hashbrown::DefaultHashBuilder;

use super::{Bucket, Source, SourceLimits};

/// Addresses that are told apart, and as many tokens and certificates; as many as there may be connections, several times
/// over. All others share one allowance.
pub(super) const MAX_SOURCES: usize = 4096;

/// From so many on, newcomers are told apart less finely.
const COARSE_FROM: usize = MAX_SOURCES / 2;

/// Names that are remembered of all sources together: 16 MB.
pub(super) const MAX_NAMES: usize = 1 << 20;

/// Names that one source may have of those: whoever has this many makes them up, and it takes sixteen to use up all.
pub(super) const MAX_NAMES_EACH: usize = MAX_NAMES / 16;

/// Names that each source may have even if there are too many in all: together as many again.
pub(super) const OWN_NAMES: usize = MAX_NAMES / (2 * MAX_SOURCES);

/// How long names are remembered at least, if there is room.
pub(super) const NAMES_FOR: Duration = Duration::from_secs(3600);

/// Who sent nothing for so long is idle: exporters wait a minute at most between what they send again.
pub(super) const IDLE_AFTER: Duration = Duration::from_secs(5 * 60);

/// How often it is looked for what needn't be remembered, at most: it takes a look at all of it.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What one source has left, and what it was heard to name.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) spans: Bucket,
    names: Bucket,
    /// Names that were heard since the last turn.
    current: HashSet<u64>,
    /// Those of the time before that weren't heard since.
    before: HashSet<u64>,
    turned: Instant,
    /// When it last sent anything.
    pub(super) sent: Option<Instant>,
}

impl Account {
    fn new(limits: &SourceLimits, now: Instant) -> Self {
        Self {
            spans: Bucket::full(limits.rate().map_or(0.0, |(_, burst)| burst), now),
            names: Bucket::full(limits.names_per_hour(), now),
            current: HashSet::new(),
            before: HashSet::new(),
            turned: now,
            sent: None,
        }
    }

    /// How many names it has.
    fn len(&self) -> usize {
        self.current.len() + self.before.len()
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.sent
            .is_none_or(|sent| now.saturating_duration_since(sent) >= IDLE_AFTER)
    }

    /// Forgets what wasn't heard for long enough; how many names that were.
    fn turn(&mut self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.turned);
        if passed < NAMES_FOR {
            return 0;
        }
        self.turned = now;
        let current = std::mem::take(&mut self.current);
        let mut forgotten = std::mem::replace(&mut self.before, current).len();
        // Nothing was named since the turn that would have been due.
        if passed >= 2 * NAMES_FOR {
            forgotten += std::mem::take(&mut self.before).len();
        }
        forgotten
    }

    /// Forgets all names before their time; how many that were. So that they may come again, they cost nothing.
    fn forget(&mut self) -> usize {
        let forgotten = self.len();
        self.current = HashSet::new();
        self.before = HashSet::new();
        self.names.left += forgotten as f64;
        forgotten
    }

    fn is_new(&self, name: u64) -> bool {
        !self.current.contains(&name) && !self.before.contains(&name)
    }

    fn remember(&mut self, named: HashSet<u64>) {
        for name in named {
            self.before.remove(&name);
            self.current.insert(name);
        }
    }

    /// Whether nobody could tell if it were forgotten.
    fn is_as_new(&mut self, limits: &SourceLimits, now: Instant) -> bool {
        if let Some((rate, burst)) = limits.rate() {
            self.spans.grow(rate, burst, now);
            if self.spans.left < burst {
                return false;
            }
        }
        self.len() == 0
    }
}

type Table = HashMap<Source, Account, DefaultHashBuilder>;

/// What is remembered of all sources.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) addresses: Table,
    /// Of those that have shown who they are.
    pub(super) shown: Table,
    /// Names in all accounts.
    pub(super) names: usize,
    swept: Option<Instant>,
}

impl Accounts {
    /// The source's account, made if it has none, and how many names there are in all.
    pub(super) fn account(
        &mut self,
        source: Source,
        limits: &SourceLimits,
        now: Instant,
    ) -> (&mut Account, &mut usize) {
        let shown = matches!(source, Source::Token(_) | Source::Certificate(_));
        let table = if shown { &self.shown } else { &self.addresses };
        if table.len() >= COARSE_FROM && !table.contains_key(&source) {
            self.sweep(limits, now);
        }
        let table = match shown {
            true => &mut self.shown,
            false => &mut self.addresses,
        };
        let account = table
            .entry(told_apart(table, source))
            .or_insert_with(|| Account::new(limits, now));
        (account, &mut self.names)
    }

    /// Takes what the source names from its allowance of new names.
    ///
    /// # Errors
    /// How many were new when those are too many. Nothing is taken then.
    pub(super) fn take_names(
        &mut self,
        source: Source,
        named: HashSet<u64>,
        limits: &SourceLimits,
        now: Instant,
    ) -> Result<(), usize> {
        let count = |account: &Account| named.iter().filter(|it| account.is_new(**it)).count();
        let fits = |account: &Account, names: usize, new: usize| {
            new == 0 || account.len() + new <= OWN_NAMES || names + new <= MAX_NAMES
        };
        let (account, names) = self.account(source, limits, now);
        *names -= account.turn(now);
        if !fits(account, *names, count(account)) {
            self.sweep(limits, now);
        }
        let (account, names) = self.account(source, limits, now);
        let per_hour = limits.names_per_hour();
        account
            .names
            .grow(per_hour / NAMES_FOR.as_secs_f64(), per_hour, now);
        let new = count(account);
        let may = new as f64 <= account.names.left
            && account.len() + new <= MAX_NAMES_EACH
            && fits(account, *names, new);
        if !may {
            return Err(new);
        }
        account.names.left -= new as f64;
        *names += new;
        account.remember(named);
        Ok(())
    }

    /// Forgets what is old, and names of the idle before their time if names are short.
    fn sweep(&mut self, limits: &SourceLimits, now: Instant) {
        let recent = |swept| now.saturating_duration_since(swept) < SWEEP_EVERY;
        if self.swept.is_some_and(recent) {
            return;
        }
        self.swept = Some(now);
        for table in [&mut self.addresses, &mut self.shown] {
            for account in table.values_mut() {
                self.names -= account.turn(now);
            }
        }
        // One request may need as many as one source may have.
        let short = self.names > MAX_NAMES - MAX_NAMES_EACH;
        for table in [&mut self.addresses, &mut self.shown] {
            table.retain(|_, account| {
                if !account.is_idle(now) {
                    return true;
                }
                if short {
                    self.names -= account.forget();
                }
                !account.is_as_new(limits, now)
            });
        }
    }
}

/// As whom the source is told apart from those that are there.
fn told_apart(table: &Table, source: Source) -> Source {
    if table.contains_key(&source) {
        return source;
    }
    let source = match source {
        Source::Address(IpAddr::V6(address)) if table.len() >= COARSE_FROM => {
            Source::Site(Ipv6Addr::from(u128::from(address) >> 80 << 80))
        }
        source => source,
    };
    match table.len() >= MAX_SOURCES && !table.contains_key(&source) {
        true => Source::Others,
        false => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: SourceLimits = SourceLimits {
        spans_per_second: Some(1),
        burst: Some(1),
        new_names_per_hour: Some(MAX_NAMES_EACH as u32),
    };

    fn address(text: &str) -> Source {
        Source::at(text.parse().expect("an address"))
    }

    fn host(number: u32) -> Source {
        Source::at(IpAddr::from(number.to_be_bytes()))
    }

    fn names(numbers: std::ops::Range<usize>) -> HashSet<u64> {
        numbers.map(|it| it as u64).collect()
    }

    /// Sends spans and names.
    fn send(
        accounts: &mut Accounts,
        source: Source,
        numbers: std::ops::Range<usize>,
        now: Instant,
    ) -> Result<(), usize> {
        let (account, _) = accounts.account(source, &BOTH, now);
        account.sent = Some(now);
        account.spans.spend(&BOTH, 1.0, now);
        accounts.take_names(source, names(numbers), &BOTH, now)
    }

    #[test]
    fn names_of_those_that_are_gone_are_given_back() {
        const EACH: usize = MAX_NAMES_EACH / 2;
        let (mut accounts, start) = (Accounts::default(), Instant::now());
        for gone in 0..32 {
            assert_eq!(send(&mut accounts, host(gone), 0..EACH, start), Ok(()));
        }
        assert_eq!(accounts.names, MAX_NAMES);
        // Who is known needs no room, and some is each newcomer's own.
        assert_eq!(send(&mut accounts, host(1), 0..EACH, start), Ok(()));
        let new = OWN_NAMES + 1;
        assert_eq!(send(&mut accounts, host(50), 0..new, start), Err(new));
        assert_eq!(send(&mut accounts, host(50), 0..OWN_NAMES, start), Ok(()));
        // Those that go on sending keep theirs, an hour's turn or not.
        let mut now = start;
        for _ in 0..16 {
            now += IDLE_AFTER;
            let known = send(&mut accounts, host(2), 0..EACH, now);
            assert_eq!(known, Ok(()), "{:?}", now - start);
        }
        let (kept, _) = accounts.account(host(2), &BOTH, now);
        assert_eq!(kept.len(), EACH);
        // There is room for as many again, and for those that come back.
        for came in 100..130 {
            assert_eq!(send(&mut accounts, host(came), 0..EACH, now), Ok(()));
        }
        now += IDLE_AFTER;
        assert_eq!(send(&mut accounts, host(2), 0..EACH, now), Ok(()));
        for back in 0..16 {
            assert_eq!(send(&mut accounts, host(back), 0..EACH, now), Ok(()));
        }
        let counted = |table: &Table| table.values().map(Account::len).sum::<usize>();
        assert_eq!(counted(&accounts.addresses), accounts.names);
    }

    #[test]
    fn no_source_may_have_the_names_of_many() {
        let (mut accounts, start) = (Accounts::default(), Instant::now());
        let (mut now, mut had) = (start, 0..MAX_NAMES_EACH - 10);
        assert_eq!(send(&mut accounts, host(1), had.clone(), now), Ok(()));
        now += NAMES_FOR;
        had.end += 11;
        assert_eq!(send(&mut accounts, host(1), had.clone(), now), Err(11));
        had.end -= 1;
        assert_eq!(send(&mut accounts, host(1), had, now), Ok(()));
        assert_eq!(accounts.names, MAX_NAMES_EACH);
    }

    #[test]
    fn one_site_takes_nobodys_place() {
        let (mut accounts, start) = (Accounts::default(), Instant::now());
        let honest = address("2001:db8:1::1");
        assert_eq!(send(&mut accounts, honest, 0..1, start), Ok(()));
        let later = start + Duration::from_secs(60);
        for network in 0..2 * MAX_SOURCES {
            let one = address(&format!("2001:db8:666:{network:x}::1"));
            assert_eq!(send(&mut accounts, one, 0..1, later), Ok(()));
        }
        assert_eq!(accounts.addresses.len(), COARSE_FROM + 1);
        assert!(accounts.addresses.contains_key(&honest));
        assert!(!accounts.addresses.contains_key(&Source::Others));
        // A newcomer of another site has an allowance of its own, and nothing owed.
        let newcomer = address("2001:db8:2::1");
        let (account, _) = accounts.account(newcomer, &BOTH, later);
        assert!(account.spans.left > 0.0);
    }

    #[test]
    fn addresses_leave_those_their_place_that_have_shown_who_they_are_or_sent_lately() {
        let (mut accounts, start) = (Accounts::default(), Instant::now());
        let token = Source::Token(7);
        for number in 0..2 * MAX_SOURCES as u32 {
            assert_eq!(send(&mut accounts, host(number), 0..0, start), Ok(()));
        }
        assert_eq!(accounts.addresses.len(), MAX_SOURCES + 1);
        let (account, _) = accounts.account(token, &BOTH, start);
        assert!(account.spans.left > 0.0);
        // Nothing is owed any more, but a minute isn't long.
        let later = start + Duration::from_secs(60);
        assert_eq!(send(&mut accounts, host(1 << 20), 0..0, later), Ok(()));
        assert!(accounts.addresses.contains_key(&host(1)));
        assert!(!accounts.addresses.contains_key(&host(1 << 20)));
        let idle = start + IDLE_AFTER;
        assert_eq!(send(&mut accounts, host(1 << 20), 0..0, idle), Ok(()));
        assert!(!accounts.addresses.contains_key(&host(1)));
        assert!(accounts.addresses.contains_key(&host(1 << 20)));
    }
}
