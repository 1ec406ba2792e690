//! Are these one incident?
//!
//! When a type begins to fail, only its entry spans are known, and it joins what began at about the same time or what
//! lies on its path. A moment later its traces are complete, and say where its failures begin (`Causes`). Types
//! whose failures begin elsewhere leave, for an incident of their own.
//!
//! An incident stays open for a while after its failures have ended. What begins to fail in that time leaves as well,
//! unless its failures begin where the incident's did: a second fault would be judged by the first one's failures,
//! and the first by the second's. The same fault that comes back is the same incident.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rekindle_model::UnixNanos;

use super::{Watch, have_recovered, is_missing};
use crate::causes::{Causes, Origins};
use crate::types::{RATE_SLICE, TypeState, Types};
use crate::{Component, Incident};

/// An incident whose requests are well for so long, on enough of them, is calm: what fails then fails anew. Longer
/// than failures pause that come several times a second.
const CALM: Duration = Duration::from_secs(2);

/// Traces are looked through so often at most: as often as a ranking is drawn from them.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The longer it can't be told, the more seldom it is asked: after so many parts of the time that it couldn't.
const PATIENCE: u32 = 8;

/// The first failed traces may lack the spans of slower exporters, and so seem to fail where they only pass failures on.
/// What is told apart must be told so for as long as it takes to restart a part: whoever is wrong once makes two
/// incidents of one cause, and two restarts.
const TOLD_FOR: Duration = CALM;

/// More types than this that fail at once are not told apart: so many causes at once are one that isn't seen, and each
/// pair takes a look.
const MAX_TOLD: usize = 20;

/// What is known of why an open incident fails.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Where its failures begin; empty while that can't be told.
    origins: Origins,
    /// Up to when it was calm, since it last failed.
    calm: Option<UnixNanos>,
    /// How many types it had when all of their origins were known, for long enough.
    told: usize,
    /// Since when its types are told apart like this.
    apart: Option<(UnixNanos, Vec<Vec<u32>>)>,
    next_look: UnixNanos,
    /// Requests of types that failed for its cause and left for another's: (ended well, badly).
    left: (u64, u64),
}

impl Known {
    /// Whether a type that begins to fail may do so for the same cause: by its path, or by the time where that says
    /// nothing.
    pub(super) fn may_be(&self, path: &BTreeSet<Component>, is_near: bool) -> bool {
        match self.told == 0 || path.is_empty() {
            true => is_near,
            false => self.origins.lie_on(path, is_near),
        }
    }

    /// Counts those that left, too.
    pub(super) fn add_left(&self, incident: &mut Incident) {
        incident.ok += self.left.0;
        incident.bad += self.left.1;
    }
}

impl Watch {
    /// Gives types whose failures begin elsewhere an incident of their own.
    pub(super) fn tell_apart(
        &mut self,
        types: &mut Types,
        now: UnixNanos,
        newest: UnixNanos,
        causes: Causes<'_>,
    ) {
        let open = self.incidents.iter_mut().filter(|it| it.is_open());
        let mut failing = Vec::new();
        for incident in open {
            let members = types.of_incident(incident.id);
            let states: Vec<&TypeState> = members.iter().map(|id| types.get(*id)).collect();
            let longest = causes.config.close_after;
            let is_missed = members
                .iter()
                .any(|id| is_missing(types, *id, causes.config));
            if !is_missed && have_recovered(&states, incident, newest, CALM, longest) {
                let began = newest.minus(CALM).max(incident.opened_at);
                incident.well_since.get_or_insert(began);
                if let Some(known) = self.known.get_mut(&incident.id)
                    && !known.origins.is_empty()
                {
                    known.calm = Some(newest);
                }
                continue;
            }
            incident.well_since = None;
            failing.push((incident.clone(), members));
        }
        for (incident, members) in failing {
            let Some(known) = self.known.get_mut(&incident.id) else {
                continue;
            };
            // Whether what contains two parts spares others takes a while to tell.
            let is_old = now.since(incident.opened_at) >= causes.config.close_after;
            let is_told = known.calm.is_none() && known.told >= members.len() && is_old;
            if is_told || now < known.next_look {
                continue;
            }
            let began = known.calm.unwrap_or(incident.opened_at);
            known.next_look = now.plus(LOOK_EVERY.max(now.since(began) / PATIENCE));
            match known.calm {
                Some(calm) => self.tell_anew(types, &incident, calm.minus(CALM), now, causes),
                None => self.tell_first(types, &incident, &members, now, causes),
            }
        }
    }

    /// Those that began to fail together.
    fn tell_first(
        &mut self,
        types: &mut Types,
        incident: &Incident,
        members: &[u32],
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        if members.len() > MAX_TOLD {
            return;
        }
        let origins = causes.origins(members, incident.since);
        let began = |id: &u32| {
            let state = types.get(*id);
            let onset = state.detector.onset().unwrap_or(incident.since);
            (onset, state.request_type.clone())
        };
        let mut order: Vec<u32> = origins.keys().copied().collect();
        order.sort_by_key(began);
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for id in order {
            let is_of = |other: &u32| causes.is_one(&origins[other], &origins[&id], incident.since);
            // One that shares a cause with several groups makes them one.
            let (same, mut others): (Vec<_>, Vec<_>) = std::mem::take(&mut groups)
                .into_iter()
                .partition(|group| group.iter().any(is_of));
            let mut joined: Vec<u32> = same.into_iter().flatten().chain([id]).collect();
            joined.sort_unstable();
            others.push(joined);
            others.sort_by_key(|group: &Vec<u32>| group.iter().map(began).min());
            groups = others;
        }
        let Some(known) = self.known.get_mut(&incident.id) else {
            return;
        };
        if groups.len() > 1 {
            // Which of them began first may look different each time.
            let mut told = groups.clone();
            told.sort_unstable();
            let since = match known.apart.take() {
                Some((since, same)) if same == told => since,
                _ => now,
            };
            if now.since(since) < TOLD_FOR {
                known.apart = Some((since, told));
                return;
            }
        }
        known.apart = None;
        let mut groups = groups.into_iter();
        let Some(stay) = groups.next() else {
            return;
        };
        known.origins = Origins::default();
        for id in &stay {
            known.origins.add(&origins[id]);
        }
        if origins.len() == members.len() && now.since(incident.opened_at) >= TOLD_FOR {
            known.told = stay.len();
        }
        for group in groups {
            for id in &group {
                let since = types.get(*id).detector.onset();
                let since = since.unwrap_or(incident.since);
                self.leave(types, *id, incident.id, &origins, since, now, causes);
            }
        }
        self.rename(types, incident.id);
    }

    /// Those that fail anew, after all were well.
    fn tell_anew(
        &mut self,
        types: &mut Types,
        incident: &Incident,
        from: UnixNanos,
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let members = types.of_incident(incident.id);
        let origins = causes.origins(&members, from);
        for id in origins.keys() {
            let Some(known) = self.known.get_mut(&incident.id) else {
                return;
            };
            if causes.is_one(&known.origins, &origins[id], from) {
                // It is back.
                known.calm = None;
                continue;
            }
            let state = types.get_mut(*id);
            let since = state.first_failed(from);
            let before = state.ends_in_incident(since.minus(RATE_SLICE));
            known.left = (known.left.0 + before.0, known.left.1 + before.1);
            // What it bet on was the other fault.
            state.reset(false, now, causes.config);
            self.leave(types, *id, incident.id, &origins, since, now, causes);
        }
        self.rename(types, incident.id);
    }

    /// Makes a type part of the incident that fails for its cause, or of a new one.
    #[expect(
        clippy::too_many_arguments,
        reason = "who, from where, and all that decides where to"
    )]
    fn leave(
        &mut self,
        types: &mut Types,
        id: u32,
        from: u64,
        origins: &BTreeMap<u32, Origins>,
        since: UnixNanos,
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let mine = &origins[&id];
        let same = self.incidents.iter().rev().find(|other| {
            let known = self.known.get(&other.id);
            let is_near = super::apart(other.since, since) <= causes.config.group_within;
            other.is_open()
                && other.id != from
                && known.is_some_and(|known| match known.origins.is_empty() {
                    true => is_near,
                    false => causes.is_one(&known.origins, mine, since),
                })
        });
        let into = same.map(|incident| incident.id);
        let into = self.put(types, id, into, since, now);
        if let Some(known) = self.known.get_mut(&into) {
            known.origins.add(mine);
        }
    }

    /// Lists the types that are left, where some are: a type is part of one open incident at most.
    fn rename(&mut self, types: &Types, incident: u64) {
        let members = types.of_incident(incident);
        if members.is_empty() {
            return;
        }
        let Some(incident) = self.incidents.iter_mut().find(|it| it.id == incident) else {
            return;
        };
        let before = incident.request_types.len();
        let stay: BTreeSet<_> = members
            .iter()
            .map(|id| &types.get(*id).request_type)
            .collect();
        incident.request_types.retain(|name| stay.contains(name));
        if incident.request_types.len() < before {
            self.changes.push(crate::Change::Updated(incident.id));
        }
    }
}
