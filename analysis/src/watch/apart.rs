//! Are these one incident?
//!
//! When a type begins to fail, only its entry spans are known, and it joins what began at about the same time or what
//! lies on its path. A moment later its traces are complete, and say where its failures begin (`Causes`). Types
//! whose failures begin elsewhere leave, for an incident of their own.
//!
//! An incident stays open for a while after its failures have ended. What begins to fail in that time leaves as well,
//! unless its failures begin where the incident's did: a second fault would be judged by the first one's failures,
//! and the first by the second's. The same fault that comes back is the same incident.

use std::collections::BTreeSet;
use std::time::Duration;

use rekindle_model::UnixNanos;

use super::{Watch, have_recovered, is_missing};
use crate::causes::{Causes, Group, MAX_TOLD, Origins};
use crate::rates::RATE_SLICE;
use crate::types::{TypeState, Types};
use crate::{Component, Incident};

/// An incident whose requests are well for so long, on enough of them, is calm: what fails then fails anew. Failures
/// that come several times a second pause for less.
const CALM: Duration = Duration::from_secs(2);

/// Traces are looked through so often at most: as often as a ranking is drawn from them.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The longer it can't be told, the more seldom it is asked: after so many parts of the time that it couldn't.
pub(super) const PATIENCE: u32 = 8;

/// The first failed traces may lack the spans of slower exporters, and so seem to fail where they only pass failures on.
/// What is told apart must be told so for as long as it takes to restart a part: whoever is wrong once makes two
/// incidents of one cause, and two restarts. What is told to be one must be, too.
pub(super) const TOLD_FOR: Duration = CALM;

/// What is known of why an open incident fails.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Where its failures begin; empty while that can't be told.
    origins: Origins,
    /// Up to when it was calm, since it last failed.
    calm: Option<UnixNanos>,
    /// The types that it had when all of their origins were known, for long enough; sorted.
    told: Vec<u32>,
    /// Since when its types look as if these failed for a cause of their own each.
    split: Option<(UnixNanos, Vec<Vec<u32>>)>,
    next_look: UnixNanos,
    /// Requests of types that failed for its cause and left for another's: (ended well, badly).
    left: (u64, u64),
}

impl Known {
    /// Whether a type that begins to fail may do so for the same cause: by its path, or by the time where that says
    /// nothing.
    pub(super) fn may_be(&self, path: &BTreeSet<Component>, is_near: bool) -> bool {
        match !self.is_told() || path.is_empty() {
            true => is_near,
            // What fails after it was calm did not begin with it.
            false => self.origins.lie_on(path, is_near && self.calm.is_none()),
        }
    }

    /// Whether it is known where its failures begin, and that they are one incident.
    pub(super) fn is_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// Whether its types have been told apart like this for long enough.
    fn has_lasted(&mut self, groups: &[Group], now: UnixNanos) -> bool {
        // Which of them began first may look different each time.
        let mut told: Vec<Vec<u32>> = groups.iter().map(|group| group.types.clone()).collect();
        told.sort_unstable();
        let since = match self.split.take() {
            Some((since, same)) if same == told => since,
            _ => now,
        };
        let has_lasted = now.since(since) >= TOLD_FOR;
        if !has_lasted {
            self.split = Some((since, told));
        }
        has_lasted
    }

    /// Where its failures begin, while it fails for causes that can be told.
    pub(super) fn fails_at(&self) -> Option<&Origins> {
        (self.calm.is_none() && !self.origins.is_empty()).then_some(&self.origins)
    }

    /// Takes over what was known of an incident that turned out to be this one.
    pub(super) fn take_over(&mut self, other: &Self) {
        self.origins.add(&other.origins);
        self.left = (self.left.0 + other.left.0, self.left.1 + other.left.1);
        self.split = None;
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
            let stretch = CALM..=causes.config.close_after;
            let is_missed = members
                .iter()
                .any(|id| is_missing(types, *id, causes.config));
            if !is_missed && have_recovered(&states, incident, newest, stretch, true) {
                let began = newest.minus(CALM).max(incident.opened_at);
                incident.well_since.get_or_insert(began);
                if let Some(known) = self.known.get_mut(&incident.id) {
                    known.split = None;
                    if !known.origins.is_empty() {
                        known.calm = Some(newest);
                    }
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
            let are_told = |known: &Known| {
                let mut members = members.iter();
                members.all(|id| known.told.binary_search(id).is_ok())
            };
            let is_told = known.calm.is_none() && is_old && are_told(known);
            if is_told || now < known.next_look {
                continue;
            }
            let began = known.calm.unwrap_or(incident.opened_at);
            known.next_look = now.plus(LOOK_EVERY.max(now.since(began) / PATIENCE));
            match known.calm {
                Some(calm) => {
                    let from = calm.minus(CALM);
                    self.tell_anew(types, (&incident, &members), from, now, causes);
                }
                None => self.tell_first(types, (&incident, &members), now, causes),
            }
        }
    }

    /// Those that began to fail together.
    fn tell_first(
        &mut self,
        types: &mut Types,
        (incident, members): (&Incident, &[u32]),
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let began = |id: u32| {
            let state = types.get(id);
            state.detector.onset().unwrap_or(state.failing_since)
        };
        let mut groups = causes.since(incident.since).groups(members);
        groups.sort_by_cached_key(|group| {
            let began = group
                .types
                .iter()
                .map(|id| (began(*id), &types.get(*id).request_type));
            began.min()
        });
        let Some(known) = self.known.get_mut(&incident.id) else {
            return;
        };
        if groups.len() < 2 {
            known.split = None;
        } else if !known.has_lasted(&groups, now) {
            return;
        }
        let seen: usize = groups.iter().map(|group| group.types.len()).sum();
        let mut groups = groups.into_iter();
        let Some(stay) = groups.next() else {
            return;
        };
        known.origins = stay.origins;
        let are_all_seen = seen == members.len() || members.len() > MAX_TOLD;
        if are_all_seen && now.since(incident.opened_at) >= TOLD_FOR {
            let leave: BTreeSet<u32> = groups.clone().flat_map(|group| group.types).collect();
            let stay = members.iter().filter(|id| !leave.contains(id));
            known.told = stay.copied().collect();
        }
        let groups: Vec<_> = groups
            .map(|group| {
                let since = group.types.iter().map(|id| (*id, began(*id))).collect();
                (since, group.origins)
            })
            .collect();
        for (group, origins) in groups {
            self.leave(types, group, &origins, now, causes);
        }
        self.rename(types, incident.id, &types.of_incident(incident.id));
    }

    /// Those that fail anew, after all were well.
    fn tell_anew(
        &mut self,
        types: &mut Types,
        (incident, members): (&Incident, &[u32]),
        from: UnixNanos,
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let look = causes.since(from);
        let groups = look.groups(members);
        let Some(known) = self.known.get_mut(&incident.id) else {
            return;
        };
        if groups.is_empty() || !known.has_lasted(&groups, now) {
            return;
        }
        let (mut others, mut belonged) = (Vec::new(), Vec::new());
        for group in groups {
            if look.is_one(&known.origins, &group.origins) {
                // It is back.
                known.calm = None;
                continue;
            }
            known.told.retain(|id| !group.types.contains(id));
            let mut leave = Vec::new();
            for id in group.types {
                let state = types.get_mut(id);
                let since = state.first_failed(from);
                // Others joined since, by mistake.
                if state.failing_since < from {
                    let before = state.ends_in_incident(since.minus(RATE_SLICE));
                    known.left = (known.left.0 + before.0, known.left.1 + before.1);
                    belonged.push(id);
                }
                // What it bet on was the other fault.
                state.reset(false, now, causes.config);
                leave.push((id, since));
            }
            others.push((leave, group.origins));
        }
        for (group, origins) in others {
            self.leave(types, group, &origins, now, causes);
        }
        let stay = types.of_incident(incident.id);
        let named = if stay.is_empty() { belonged } else { stay };
        self.rename(types, incident.id, &named);
    }

    /// Makes these types, which fail for one cause since then, part of the incident that fails for it, or of a new one.
    fn leave(
        &mut self,
        types: &mut Types,
        group: Vec<(u32, UnixNanos)>,
        origins: &Origins,
        now: UnixNanos,
        causes: Causes<'_>,
    ) {
        let Some((first, since)) = group.iter().min_by_key(|(_, since)| *since).copied() else {
            return;
        };
        let from = types.get(first).incident;
        let look = causes.since(since);
        let same = self.incidents.iter().rev().find(|other| {
            let known = self.known.get(&other.id);
            let is_near = super::distance(other.since, since) <= causes.config.group_within;
            other.is_open()
                && Some(other.id) != from
                && known.is_some_and(|known| match known.origins.is_empty() {
                    true => is_near,
                    false => look.is_one(&known.origins, origins),
                })
        });
        let mut into = same.map(|incident| incident.id);
        for (id, since) in group {
            into = Some(self.put(types, id, into, since, now));
        }
        if let Some(known) = into.and_then(|into| self.known.get_mut(&into)) {
            known.origins.add(origins);
        }
    }

    /// Lists these of its types only, if there are any.
    fn rename(&mut self, types: &Types, incident: u64, named: &[u32]) {
        if named.is_empty() {
            return;
        }
        let Some(incident) = self.incidents.iter_mut().find(|it| it.id == incident) else {
            return;
        };
        let before = incident.request_types.len();
        let stay: BTreeSet<_> = named
            .iter()
            .map(|id| &types.get(*id).request_type)
            .collect();
        incident.request_types.retain(|name| stay.contains(name));
        if incident.request_types.len() < before {
            self.changes.push(crate::Change::Updated(incident.id));
        }
    }
}
