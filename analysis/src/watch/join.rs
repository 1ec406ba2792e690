//! Did two incidents turn out to be one?
//!
//! A type that begins to fail joins an incident whose cause lies on the ways that it usually takes. Where it takes a way that
//! it never took before, or that nobody knows yet, it gets an incident of its own, and only its traces say that its failures
//! begin where the other's do. Two incidents of one cause are two pages, two plans for one restart, and each plan knows half of
//! the evidence. So they become one: the older goes on with the types of both.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::UnixNanos;

use super::Watch;
use super::apart::{LOOK_EVERY, PATIENCE, TOLD_FOR};
use crate::causes::{Causes, Look, MAX_TOLD, Origins};
use crate::fence::Fences;
use crate::types::Types;
use crate::{Change, Closing, ClosingReason};

impl Watch {
    /// Makes one of open incidents whose failures have had one cause for a while.
    pub(super) fn join(
        &mut self,
        types: &mut Types,
        now: UnixNanos,
        fences: &Fences,
        causes: Causes<'_>,
    ) {
        let open = self.incidents.iter().filter(|it| it.is_open());
        // What is being restarted is judged by an incident's types as they are.
        let is_shaken = |id| {
            let members = types.of_incident(id);
            members.iter().any(|id| fences.may_cover(*id, now, now))
        };
        let failing = open.filter(|it| {
            let known = self.known.get(&it.id);
            known.is_some_and(|known| known.fails_at().is_some()) && !is_shaken(it.id)
        });
        let failing: Vec<(u64, UnixNanos, UnixNanos)> =
            failing.map(|it| (it.id, it.since, it.opened_at)).collect();
        let (Some(since), Some(youngest)) = (
            failing.iter().map(|(_, since, _)| *since).min(),
            failing.iter().map(|(.., opened)| *opened).max(),
        ) else {
            self.alike.clear();
            return;
        };
        if failing.len() < 2 {
            self.alike.clear();
            return;
        }
        let ids: Vec<u64> = failing.iter().map(|(id, ..)| *id).collect();
        if now < self.next_look.0 && ids == self.next_look.1 {
            return;
        }
        let rest = LOOK_EVERY.max(now.since(youngest) / PATIENCE);
        self.next_look = (now.plus(rest), ids);
        let look = causes.since(since);
        let mut alike = std::mem::take(&mut self.alike);
        let mut gone = BTreeSet::new();
        for (at, (older, ..)) in failing.iter().enumerate() {
            for (younger, ..) in &failing[at + 1..] {
                if gone.contains(older) || gone.contains(younger) {
                    continue;
                }
                if !self.are_one(types, (*older, *younger), &look) {
                    continue;
                }
                let pair = (*older, *younger);
                let first = alike.remove(&pair).unwrap_or(now);
                if now.since(first) < TOLD_FOR {
                    self.alike.insert(pair, first);
                } else {
                    self.unite(types, pair, now);
                    gone.insert(*younger);
                }
            }
        }
    }

    /// Whether their types would not be told apart, were they one incident.
    fn are_one(&self, types: &Types, (a, b): (u64, u64), look: &Look<'_>) -> bool {
        let members = [a, b].map(|id| types.of_incident(id));
        let all = members.concat();
        if all.len() > MAX_TOLD {
            // So many are never told apart, which doesn't make them one.
            let origins = [a, b].map(|id| self.known.get(&id).and_then(|it| it.fails_at()));
            return matches!(origins, [Some(a), Some(b)] if look.is_one(a, b));
        }
        // One page that has both faults would make one of all that have either. So each type must fail for a cause that
        // the other incident has, too.
        let origins = members.map(|of| look.origins(&of));
        let [a, b] = origins.each_ref().map(|of| {
            let mut united = Origins::default();
            of.values().for_each(|it| united.add(it));
            united
        });
        let are_all = |of: &BTreeMap<u32, Origins>, other: &Origins| {
            !of.is_empty() && of.values().all(|it| look.is_one(it, other))
        };
        are_all(&origins[0], &b) && are_all(&origins[1], &a)
    }

    /// The older one goes on with the types of both.
    fn unite(&mut self, types: &mut Types, (older, younger): (u64, u64), now: UnixNanos) {
        for id in types.of_incident(younger) {
            let since = types.get(id).failing_since;
            self.put(types, id, Some(older), since, now);
        }
        if let Some(other) = self.known.remove(&younger)
            && let Some(known) = self.known.get_mut(&older)
        {
            known.take_over(&other);
        }
        if let Some(incident) = self.incidents.iter_mut().find(|it| it.id == younger) {
            incident.well_since = None;
            incident.closed = Some(Closing {
                at: now,
                reason: ClosingReason::Joined(older),
            });
            self.changes.push(Change::Closed(younger));
        }
    }
}
