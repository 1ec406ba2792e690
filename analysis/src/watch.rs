//! When does an incident open, who belongs to it, and when is it over?
//!
//! One fault fails several request types within moments, so types whose failures begin close together are one incident,
//! until their traces say that they fail for different causes (`apart`). It closes when the types' failures have been
//! back at the baseline for a while, on enough requests to tell: silence is not health. After a whole window without any
//! request it closes as *silent*, which says that nobody knows.
//!
//! Requests that used to come and don't open an incident, too, as long as their service is heard with
//! other requests: what hangs ends only when it does. Where the whole service is silent, it may be its exporter,
//! the way from it, or we who are deaf; that is no incident.

mod apart;
mod join;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use rekindle_model::UnixNanos;
use rekindle_stats::{Probability, Share, Silence};

use crate::causes::{Causes, ENOUGH_REQUESTS};
use crate::fence::Fences;
use crate::rates::RATE_SLICE;
use crate::types::{TypeState, Types};
use crate::{AnalysisConfig, Change, Closing, ClosingReason, Incident};
use apart::Known;

/// With so many requests expected, none comes in one case of twenty (Poisson).
const UNLIKELY_SILENCE: f64 = 3.0;
/// "Now" is the last so many seconds when a rate is asked for.
pub(crate) const RECENT: Duration = Duration::from_secs(10);

/// Open and recent incidents.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) incidents: Vec<Incident>,
    /// What is known of why the open ones fail.
    known: BTreeMap<u64, Known>,
    changes: Vec<Change>,
    pub(crate) last_id: u64,
    /// Whether its incidents are of failures that no user sees.
    masked: bool,
    /// Open incidents that look like one, and since when.
    alike: BTreeMap<(u64, u64), UnixNanos>,
    /// When it is looked next whether open incidents are one, while they are these.
    next_look: (UnixNanos, Vec<u64>),
}

impl Watch {
    /// Of failures that no user sees. What stops coming is no such failure.
    pub(crate) fn of_masked() -> Self {
        Self {
            masked: true,
            ..Self::default()
        }
    }

    /// Asks the type's detector, and opens or widens an incident.
    pub(crate) fn look(
        &mut self,
        types: &mut Types,
        request_type: u32,
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let state = types.get(request_type);
        if state.incident.is_some() || !state.detector.is_alarmed(causes.config) {
            return;
        }
        if let Some(since) = state.detector.onset() {
            self.open(types, request_type, since, now, causes);
        }
    }

    /// Opens incidents for types that stopped coming.
    fn look_for_silence(
        &mut self,
        types: &mut Types,
        now: UnixNanos,
        fences: &Fences,
        causes: Causes<'_>,
    ) {
        for id in 0..types.len() {
            let came = types.get(id).came();
            if let Some(until) = fences.last_over(id, came, now) {
                types.excuse(id, until);
            }
            let Some(silence) = too_long(types, id, causes.config) else {
                continue;
            };
            let state = types.get_mut(id);
            // Those that failed before they hang are missed as well.
            state.stop(&silence);
            state.missing = state.missing.max(silence.missing());
            if state.incident.is_none() {
                self.open(types, id, came, now, causes);
            }
        }
    }

    /// Opens an incident for this type, or widens one that may have the same cause.
    fn open(
        &mut self,
        types: &mut Types,
        request_type: u32,
        since: UnixNanos,
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let is_any_told = self.known.values().any(Known::is_told);
        let path = is_any_told.then(|| causes.path(request_type, now));
        let path = path.unwrap_or_default();
        let group_within = causes.config.group_within;
        let same = self.incidents.iter().rev().find(|incident| {
            let is_near = distance(incident.since, since) <= group_within
                || distance(incident.opened_at, now) <= group_within;
            let known = self.known.get(&incident.id);
            incident.is_open() && known.is_some_and(|known| known.may_be(&path, is_near))
        });
        let into = same.map(|incident| incident.id);
        self.put(types, request_type, into, since, now);
    }

    /// Makes the type part of this incident, or of a new one. Which it is.
    fn put(
        &mut self,
        types: &mut Types,
        request_type: u32,
        into: Option<u64>,
        since: UnixNanos,
        now: UnixNanos,
    ) -> u64 {
        let state = types.get_mut(request_type);
        let known = self
            .incidents
            .iter_mut()
            .find(|incident| Some(incident.id) == into);
        if let Some(incident) = known {
            state.begin_trouble(incident.id, since);
            incident.request_types.push(state.request_type.clone());
            incident.request_types.sort();
            incident.request_types.dedup();
            incident.since = incident.since.min(since);
            self.changes.push(Change::Updated(incident.id));
            return incident.id;
        }
        self.last_id += 1;
        let id = self.last_id;
        state.begin_trouble(id, since);
        let types = vec![state.request_type.clone()];
        let mut incident = Incident::opened(id, types, since, now);
        incident.masked = self.masked;
        self.incidents.push(incident);
        self.known.insert(id, Known::default());
        self.changes.push(Change::Opened(id));
        id
    }

    /// Brings open incidents up to date, closes those that are over, forgets the oldest. `newest`
    /// is the start of the newest request: how far telemetry reaches.
    pub(crate) fn tick(
        &mut self,
        types: &mut Types,
        now: UnixNanos,
        newest: UnixNanos,
        fences: &Fences,
        causes: Causes<'_>,
    ) -> Vec<Change> {
        let config = causes.config;
        if !self.masked {
            self.look_for_silence(types, now, fences, causes);
        }
        self.tell_apart(types, now, newest, causes);
        self.join(types, now, fences, causes);
        for incident in self.incidents.iter_mut().filter(|i| i.is_open()) {
            let members = types.of_incident(incident.id);
            // Exporters may send their newest batch first: failures that came later can be older.
            for id in &members {
                let state = types.get_mut(*id);
                let onset = state.detector.onset().unwrap_or(state.failing_since);
                state.failing_since = state.failing_since.min(onset);
                incident.since = incident.since.min(onset);
            }
            let states: Vec<&TypeState> = members.iter().map(|id| types.get(*id)).collect();
            let before = (incident.ok, incident.bad);
            let silences = members.iter().filter(|id| types.get(**id).missing > 0.0);
            let missed: f64 = silences
                .filter_map(|id| Some(types.silence(*id)?.rate))
                .sum();
            bring_up_to_date(incident, &states, newest);
            if let Some(known) = self.known.get(&incident.id) {
                known.add_left(incident);
            }
            incident.missing = states.iter().map(|state| state.missing).sum();
            incident.failing_per_second += missed;
            let quiet_for = now.since(newest.max(incident.since));
            let is_gone = states.iter().all(|state| state.is_quiet());
            let is_over = is_gone && now.since(incident.opened_at) >= config.window;
            let is_missed = members.iter().any(|id| is_missing(types, *id, config));
            let (at_least, at_most) = (config.close_after, config.window);
            let reason = if members.is_empty() {
                // They were well before they left.
                Some(ClosingReason::Recovered)
            } else if quiet_for >= config.window || is_over {
                Some(ClosingReason::Silent)
            } else if !is_missed
                && have_recovered(&states, incident, newest, at_least..=at_most, false)
            {
                Some(ClosingReason::Recovered)
            } else {
                None
            };
            if let Some(reason) = reason {
                incident.closed = Some(Closing { at: now, reason });
                let over = incident.well_since.take().unwrap_or(now);
                self.known.remove(&incident.id);
                for id in members {
                    let state = types.get_mut(id);
                    state.end_trouble(over);
                    let by_itself = reason == ClosingReason::Recovered
                        && !fences.may_cover(id, incident.since, now);
                    state.reset(by_itself, now, config);
                    if reason == ClosingReason::Silent || state.is_quiet() {
                        state.let_go();
                    }
                }
                self.changes.push(Change::Closed(incident.id));
            } else if before != (incident.ok, incident.bad)
                && !self.changes.contains(&Change::Opened(incident.id))
                && !self.changes.contains(&Change::Updated(incident.id))
            {
                self.changes.push(Change::Updated(incident.id));
            }
        }
        while self.incidents.len() > config.max_incidents {
            let Some(oldest) = self.incidents.iter().position(|i| !i.is_open()) else {
                break;
            };
            self.incidents.remove(oldest);
        }
        std::mem::take(&mut self.changes)
    }

    /// Ends an open incident whose failures go on in another watch's.
    pub(crate) fn hand_over(
        &mut self,
        types: &mut Types,
        (id, into): (u64, u64),
        now: UnixNanos,
        config: &AnalysisConfig,
    ) {
        for member in types.of_incident(id) {
            let state = types.get_mut(member);
            state.end_trouble(now);
            state.reset(false, now, config);
        }
        self.known.remove(&id);
        if let Some(incident) = self.incidents.iter_mut().find(|it| it.id == id) {
            incident.well_since = None;
            incident.closed = Some(Closing {
                at: now,
                reason: ClosingReason::Joined(into),
            });
            self.changes.push(Change::Closed(id));
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.id == id)
    }
}

/// The silence of this type, where it is news.
fn too_long(types: &Types, id: u32, config: &AnalysisConfig) -> Option<Silence> {
    let bar = config.time_between_false_alarms.as_secs_f64();
    types.silence(id).filter(|it| it.evidence >= bar)
}

/// Whether requests of this type, which is known yet, stay away against their habit.
fn is_missing(types: &Types, id: u32, config: &AnalysisConfig) -> bool {
    !types.get(id).is_quiet() && too_long(types, id, config).is_some()
}

fn distance(a: UnixNanos, b: UnixNanos) -> Duration {
    a.since(b).max(b.since(a))
}

/// Just after the newest request, so that its slice counts.
fn reach(newest: UnixNanos) -> UnixNanos {
    newest.plus(Duration::from_nanos(1))
}

fn bring_up_to_date(incident: &mut Incident, states: &[&TypeState], newest: UnixNanos) {
    let recently = newest.minus(RECENT).max(incident.since.minus(RATE_SLICE));
    let (mut ok, mut bad, mut recent_bad) = (0, 0, 0);
    let mut usual = (0.0, 0.0);
    for state in states {
        // What joined late fared well before: that says nothing of the incident.
        let ends = state.ends_in_incident(reach(newest));
        ok += ends.0;
        bad += ends.1;
        recent_bad += state.ends(recently, reach(newest)).1;
        let weight = (ends.0 + ends.1) as f64;
        let share = state.detector.usual().unwrap_or(state.detector.baseline());
        usual = (usual.0 + weight * share, usual.1 + weight);
    }
    incident.ok = ok;
    incident.bad = bad;
    if usual.1 > 0.0 {
        incident.baseline_failure_share = usual.0 / usual.1;
    }
    // Over less than a second any rate is noise.
    let span = newest.since(recently).as_secs_f64().max(1.0);
    incident.failing_per_second = recent_bad as f64 / span;
}

/// Whether the types have been back at their baseline for so long at least, and at most, on enough requests: where
/// `beyond_luck`, on so many that the incident's share of failures would have shown. They are counted together, because
/// one that is asked for once a minute would keep the incident open for most of an hour; but none of them may go on
/// failing, or have fallen silent against its habit.
fn have_recovered(
    states: &[&TypeState],
    incident: &Incident,
    newest: UnixNanos,
    stretch: RangeInclusive<Duration>,
    beyond_luck: bool,
) -> bool {
    let at_most = *stretch.end();
    let mut back = *stretch.start();
    loop {
        let from = newest.minus(back);
        if from < incident.opened_at {
            return false;
        }
        let mut recent = Share::default();
        let mut usual = 0.0;
        for state in states {
            let share = since(state, from, newest);
            usual += state.detector.baseline() * share.total() as f64;
            recent = recent.plus(share);
        }
        if recent.total() >= ENOUGH_REQUESTS {
            let then = Share::of(incident.bad, incident.ok);
            // Where requests only stopped coming, no more failed than usual, and no fewer will.
            let failed_more = then.lower_bound(Probability::P95) > usual / recent.total() as f64;
            let now = recent.value().unwrap_or(1.0);
            let are_back = recent.lower_bound(Probability::P95) <= usual / recent.total() as f64
                && (now <= then.value().unwrap_or(1.0) / 2.0 || !failed_more)
                && !states.iter().any(|state| {
                    still_fails(state, from, newest) || is_missed(state, from, newest)
                });
            // At a failure share of one in twenty, twenty good ones in a row are no news. It is asked often.
            let may_be_luck = then.value() <= Some(recent.upper_bound(Probability::P99));
            if !are_back || !beyond_luck || !failed_more || !may_be_luck {
                return are_back;
            }
        }
        if back >= at_most {
            return false;
        }
        back = back.saturating_mul(2).min(at_most);
    }
}

fn since(state: &TypeState, from: UnixNanos, newest: UnixNanos) -> Share {
    let (ok, bad) = state.ends(from, reach(newest));
    Share::of(bad, ok)
}

/// Whether its own recent requests, however few, show failures above its baseline.
fn still_fails(state: &TypeState, from: UnixNanos, newest: UnixNanos) -> bool {
    since(state, from, newest).lower_bound(Probability::P95) > state.detector.baseline()
}

/// Whether nothing came where its habit before it began to fail says that something should have.
fn is_missed(state: &TypeState, from: UnixNanos, newest: UnixNanos) -> bool {
    let Some((first, _)) = state.reach() else {
        return false;
    };
    let (ok, bad) = state.ends(first, state.failing_since);
    let seconds = state.failing_since.since(first).as_secs_f64().max(1.0);
    let expected = (ok + bad) as f64 / seconds * newest.since(from).as_secs_f64();
    expected >= UNLIKELY_SILENCE && since(state, from, newest).total() == 0
}
