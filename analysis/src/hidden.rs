//! What fails without a user's seeing it?
//!
//! A call that fails and is made again, or whose failure a fallback hides, lets no user down. Still it says that something is
//! sick, and that what hides it is being used up. So how often requests are *masked* is watched beside how often they fail, by
//! the same detector and with the same incidents, which are marked and cost nobody anything: what is done about them is a
//! person's choice. What fails for users comes first. While any of it is open no masked incident opens, since the same fault
//! would be told twice; and one that begins to let users down, or goes with one that does, is handed over to it.
//!
//! Many systems retry now and then from their first request on. So only a jump from what is known to be usual is news.
//!
//! A retry budget bounds retries per request, and traces don't tell where that bound lies. They tell both sides of it: how many
//! calls were made again per request, which is what budgets are measured in (Finagle's and Linkerd's are a fifth by default),
//! and of the requests in which something failed, how many ended well all the same. Where the latter falls, the budget is empty.

use std::collections::BTreeMap;

use rekindle_model::{Outcome, UnixNanos};
use rekindle_stats::Share;
use serde::{Deserialize, Serialize};

use crate::causes::Causes;
use crate::detect::TypeDetector;
use crate::fence::Fences;
use crate::rates::{rate_slice, slices_between};
use crate::records::Record;
use crate::types::Types;
use crate::watch::Watch;
use crate::{AnalysisConfig, Change, Counts, Incident};

/// What of a request type's failures its users don't see. Of requests whose traces are known, and which nothing that was done
/// to the system explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Masked {
    /// Requests over the last half minute.
    pub requests: u64,
    /// Of these, masked: something failed in them, and they ended well.
    pub masked: u64,
    /// Of these, failed for their users, or too slow.
    pub failed: u64,
    /// Failed calls in these that were made again, to the same callee.
    pub calls_again: u64,
    /// The share of masked requests that is usual, in `[0, 1]`; `None` without history.
    pub usual: Option<f64>,
    /// The open incident of masked failures that the type is part of.
    pub incident: Option<u64>,
}

impl Masked {
    /// Of the requests in which something failed, the share that ended well all the same; `None` without any.
    pub fn still_hidden(&self) -> Option<f64> {
        Share::of(self.masked, self.failed).value()
    }

    /// Calls per request beyond the first; `None` without any request.
    pub fn again_per_request(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.calls_again as f64 / self.requests as f64)
    }
}

/// What is counted of a type beside its masked requests.
#[derive(Debug, Default)]
struct Beside {
    /// Per rate slice: requests that failed for their users.
    failed: BTreeMap<u64, u64>,
    /// Per rate slice: failed calls that were made again.
    again: BTreeMap<u64, u64>,
}

/// Requests by whether something failed in them that their users didn't see. Types have the numbers that they have elsewhere;
/// what "ended badly" there is masked here.
#[derive(Debug)]
pub(crate) struct Hidden {
    types: Types,
    beside: Vec<Beside>,
    watch: Watch,
    /// Whether users suffered from something at the last tick.
    was_suffered: bool,
}

impl Default for Hidden {
    fn default() -> Self {
        Self {
            types: Types::watched_by(TypeDetector::of_jumps),
            beside: Vec::new(),
            watch: Watch::of_masked(),
            was_suffered: false,
        }
    }
}

impl Hidden {
    pub(crate) fn types(&self) -> &Types {
        &self.types
    }

    pub(crate) fn incidents(&self) -> &[Incident] {
        &self.watch.incidents
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Incident> {
        self.watch.get(id)
    }

    /// Knows the types that are known elsewhere, by the same numbers.
    pub(crate) fn keep_up_with(&mut self, users: &Types, config: &AnalysisConfig) {
        while self.types.len() < users.len() {
            let named = users.get(self.types.len()).request_type.clone();
            // Whoever shares a number is counted where it is given.
            self.types.intern(named, config, &mut Counts::default());
            self.beside.push(Beside::default());
        }
    }

    /// Counts a request whose trace is known.
    pub(crate) fn count(&mut self, record: &mut Record, again: u32, slice: u64) {
        if again > 0 {
            let beside = &mut self.beside[record.request_type as usize];
            let count = beside.again.entry(rate_slice(record.start)).or_default();
            *count += u64::from(again);
        }
        let outcome = record.outcome();
        self.add(record, outcome);
        if outcome.is_known() {
            let state = self.types.get_mut(record.request_type);
            let is_masked = outcome == Outcome::Masked;
            state.detector.add(slice, record.start, is_masked);
        }
    }

    /// Something else is known of a request: how it ended, or that it is no evidence.
    pub(crate) fn recount(&mut self, record: &mut Record, slice: u64) {
        let Some(was) = record.counted_inside.take() else {
            return;
        };
        let was_masked = was == Outcome::Masked;
        self.types
            .get_mut(record.request_type)
            .uncount(record.start, was_masked);
        if was.is_bad() {
            self.beside[record.request_type as usize].fail(record.start, false);
        }
        let now = match record.fenced {
            None => record.outcome(),
            Some(_) => Outcome::Unknown,
        };
        self.add(record, now);
        if was_masked != (now == Outcome::Masked) {
            let detector = &mut self.types.get_mut(record.request_type).detector;
            detector.correct(slice, record.start, !was_masked);
        }
    }

    fn add(&mut self, record: &mut Record, outcome: Outcome) {
        if !outcome.is_known() {
            return;
        }
        record.counted_inside = Some(outcome);
        let is_masked = outcome == Outcome::Masked;
        self.types
            .get_mut(record.request_type)
            .count(record.start, is_masked);
        if outcome.is_bad() {
            self.beside[record.request_type as usize].fail(record.start, true);
        }
    }

    /// Opens an incident where a type's masked requests became more, unless users suffer from something.
    pub(crate) fn look(&mut self, id: u32, users: &mut Watch, now: UnixNanos, causes: Causes<'_>) {
        if is_suffered(users) {
            return;
        }
        self.watch.last_id = users.last_id;
        self.watch.look(&mut self.types, id, now, causes);
        users.last_id = self.watch.last_id;
    }

    /// Takes what is older than `settled` into what is usual, but for what fails, for users or not, and what was done.
    pub(crate) fn settle(
        &mut self,
        users: &Types,
        fences: &Fences,
        (settled, before): (UnixNanos, u64),
        config: &AnalysisConfig,
    ) {
        for (id, state) in self.types.iter_mut() {
            let is_calm = state.incident.is_none() && users.get(id).incident.is_none();
            let exemplary = is_calm && !fences.may_cover(id, settled, settled);
            state.detector.settle(before, exemplary, config);
        }
    }

    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        self.types.forget_before(time);
        for beside in &mut self.beside {
            for counts in [&mut beside.failed, &mut beside.again] {
                *counts = counts.split_off(&rate_slice(time));
            }
        }
    }

    /// Hands over what users suffer from by now, and brings the others up to date.
    pub(crate) fn tick(
        &mut self,
        (users, watch): (&Types, &mut Watch),
        (now, newest): (UnixNanos, UnixNanos),
        fences: &Fences,
        causes: Causes<'_>,
    ) -> Vec<Change> {
        self.hand_over(users, watch, now, causes.config);
        let is_suffered = is_suffered(watch);
        if std::mem::replace(&mut self.was_suffered, is_suffered) && !is_suffered {
            self.bet_anew(now, causes.config);
        }
        self.watch.last_id = watch.last_id;
        let changes = self
            .watch
            .tick(&mut self.types, now, newest, fences, causes);
        watch.last_id = self.watch.last_id;
        changes
    }

    /// What was masked while users suffered was of the same fault, and is over with it. What goes on is seen again at once.
    fn bet_anew(&mut self, now: UnixNanos, config: &AnalysisConfig) {
        for (_, state) in self.types.iter_mut() {
            if state.incident.is_none() {
                state.reset(false, now, config);
            }
        }
    }

    /// A masked incident goes on in that of users which has one of its types, or began with it.
    fn hand_over(&mut self, users: &Types, watch: &Watch, now: UnixNanos, config: &AnalysisConfig) {
        let open = self.watch.incidents.iter().filter(|it| it.is_open());
        let open: Vec<(u64, UnixNanos)> = open.map(|it| (it.id, it.opened_at)).collect();
        for (id, opened_at) in open {
            let members = self.types.of_incident(id);
            let mut seen = members.iter().filter_map(|id| users.get(*id).incident);
            let into = seen.next().or_else(|| {
                let mut open = watch.incidents.iter().filter(|it| it.is_open());
                let with_it = open.find(|it| it.opened_at.since(opened_at) <= config.group_within);
                with_it.map(|it| it.id)
            });
            if let Some(into) = into {
                self.watch
                    .hand_over(&mut self.types, (id, into), now, config);
            }
        }
    }

    /// How it stands with this type's requests that began in `[from, until)`.
    pub(crate) fn masked(&self, id: u32, from: UnixNanos, until: UnixNanos) -> Masked {
        if id >= self.types.len() {
            return Masked::default();
        }
        let (state, beside) = (self.types.get(id), &self.beside[id as usize]);
        let (others, masked) = state.ends(from, until);
        let sum = |counts: &BTreeMap<u64, u64>| {
            let slices = slices_between(from, until);
            counts.range(slices).map(|(_, count)| count).sum()
        };
        Masked {
            requests: others + masked,
            masked,
            failed: sum(&beside.failed),
            calls_again: sum(&beside.again),
            usual: state.detector.usual(),
            incident: state.incident,
        }
    }
}

fn is_suffered(users: &Watch) -> bool {
    users.incidents.iter().any(Incident::is_open)
}

impl Beside {
    /// One that began then failed for its user, or did not after all.
    fn fail(&mut self, start: UnixNanos, is_one: bool) {
        let count = self.failed.entry(rate_slice(start)).or_default();
        *count = match is_one {
            true => *count + 1,
            false => count.saturating_sub(1),
        };
    }
}
