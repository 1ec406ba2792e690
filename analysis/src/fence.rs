//! Which requests lie in the shadow of something that was done to the system?
//!
//! A restart makes failures of its own. A request that overlaps an intervention in its own time and
//! touches its target says nothing about anyone: it is fenced, and counted. What a row touches is
//! known by its components' attributes; the trace's own spans are asked too while they are at hand,
//! because they may carry attributes that no component keeps.
//!
//! A life may outlast its restart: a thread that nobody can end, a process that nobody could. What is begun after the
//! restart and touches such a life says nothing of the one that began, and is set apart for its own reason. Only what
//! we did begins a life, so nobody gets others' requests set apart by claiming a number.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector, Trace, UnixNanos};

use crate::observe::Row;
use crate::registry::Registry;
use crate::{Counts, LeftOut};

#[derive(Debug)]
pub(crate) struct Fence {
    pub(crate) intervention: Intervention,
    /// Request types that are known to touch the target.
    pub(crate) types: BTreeSet<u32>,
    /// Whether nobody told of it, and traces alone show it.
    is_seen: bool,
}

impl Fence {
    /// How long it is kept where there are too many: what we did or missed ourselves outlasts what others tell of, and that
    /// what traces show.
    fn weight(&self) -> (bool, bool) {
        let it = &self.intervention;
        // Only what we did begins a life.
        let is_ours = it.kind == InterventionKind::Blind || it.began.process.is_some();
        (is_ours, !self.is_seen)
    }

    /// Whether its shadow lies on every request: nobody was looking, or all was restarted.
    fn is_everywhere(&self) -> bool {
        self.intervention.kind == InterventionKind::Blind || self.intervention.target.0.is_empty()
    }
}

/// An intervention whose target a request touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Its reference.
    pub(crate) intervention: Name,
    /// The oldest life that was touched, as far as known. Which one began with the intervention may be told later.
    pub(crate) oldest: Life,
}

/// All interventions that are remembered, by reference.
#[derive(Debug)]
pub(crate) struct Fences {
    fences: BTreeMap<Name, Fence>,
    /// Grows with every change.
    version: u64,
    max: usize,
}

/// So many interventions that traces alone show are remembered. Who sends spans can make them up, and must not displace what
/// was told.
const MAX_SEEN: usize = 32;

impl Fences {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            fences: BTreeMap::new(),
            version: 0,
            max,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fences.is_empty()
    }

    /// Which answers of [`Self::touched`] still hold.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// All of them, in no order of time.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Intervention> {
        self.fences.values().map(|fence| &fence.intervention)
    }

    /// Those that aren't merely seen.
    pub(crate) fn told(&self) -> impl Iterator<Item = &Intervention> {
        let told = self.fences.values().filter(|fence| !fence.is_seen);
        told.map(|fence| &fence.intervention)
    }

    /// Takes the intervention in; one of the same reference is replaced. The oldest gives way, ours last.
    pub(crate) fn put(
        &mut self,
        intervention: Intervention,
        types: BTreeSet<u32>,
        counts: &mut Counts,
    ) {
        let fence = Fence {
            intervention,
            types,
            is_seen: false,
        };
        self.insert(fence, counts);
    }

    /// Takes one that traces show, to something that none of them touched before.
    pub(crate) fn see(&mut self, intervention: Intervention, counts: &mut Counts) {
        if self.fences.values().filter(|fence| fence.is_seen).count() >= MAX_SEEN {
            counts.add(LeftOut::InterventionOverflow);
            return;
        }
        let fence = Fence {
            intervention,
            types: BTreeSet::new(),
            is_seen: true,
        };
        self.insert(fence, counts);
    }

    fn insert(&mut self, fence: Fence, counts: &mut Counts) {
        self.version += 1;
        let reference = fence.intervention.reference.clone();
        self.fences.insert(reference, fence);
        while self.fences.len() > self.max {
            let oldest = self
                .fences
                .iter()
                .min_by_key(|(reference, fence)| {
                    let from = fence.intervention.from;
                    (fence.weight(), from, (*reference).clone())
                })
                .map(|(reference, _)| reference.clone());
            if let Some(oldest) = oldest {
                self.fences.remove(&oldest);
                counts.add(LeftOut::InterventionOverflow);
            }
        }
    }

    /// Whether a request of this type and time may be in a shadow, its path unknown.
    pub(crate) fn may_cover(&self, request_type: u32, start: UnixNanos, end: UnixNanos) -> bool {
        self.over(request_type, start, end).next().is_some()
    }

    /// The end of the last shadow over requests of this type between these times; at most `end`.
    pub(crate) fn last_over(
        &self,
        request_type: u32,
        start: UnixNanos,
        end: UnixNanos,
    ) -> Option<UnixNanos> {
        let ends = self.over(request_type, start, end);
        ends.map(|it| it.until.map_or(end, |until| until.min(end)))
            .max()
    }

    /// The shadows over requests of this type between these times; those that last still end at `end`.
    pub(crate) fn shadows(
        &self,
        request_type: u32,
        start: UnixNanos,
        end: UnixNanos,
    ) -> impl Iterator<Item = (UnixNanos, UnixNanos)> {
        self.over(request_type, start, end)
            .map(move |it| (it.from, it.until.unwrap_or(end)))
    }

    fn over(
        &self,
        request_type: u32,
        start: UnixNanos,
        end: UnixNanos,
    ) -> impl Iterator<Item = &Intervention> {
        self.fences
            .values()
            .filter(|fence| !fence.is_seen)
            .filter(move |fence| fence.is_everywhere() || fence.types.contains(&request_type))
            .map(|fence| &fence.intervention)
            .filter(move |intervention| intervention.overlaps(start, end))
    }

    /// Those whose target the request touched.
    pub(crate) fn touched(
        &mut self,
        request_type: u32,
        row: &Row,
        trace: &Trace,
        registry: &Registry,
    ) -> Vec<Touched> {
        let mut touched = Vec::new();
        for (reference, fence) in &mut self.fences {
            let target = &fence.intervention.target;
            let mut meant = trace
                .spans()
                .iter()
                .filter(|span| target.matches(|key| span.attribute(key)))
                .peekable();
            let hit = fence.is_everywhere()
                || meant.peek().is_some()
                || row_touches(row, target, registry);
            if hit {
                fence.types.insert(request_type);
                touched.push(Touched {
                    intervention: reference.clone(),
                    oldest: oldest(meant.map(|span| Life::told_by(span))),
                });
            }
        }
        touched
    }

    /// Whether what overlaps a request that touched these targets is more than restarts.
    pub(crate) fn does_more_than_restart(
        &self,
        touched: &[Touched],
        start: UnixNanos,
        end: UnixNanos,
    ) -> bool {
        let known = touched.iter();
        let mut known =
            known.filter_map(|it| Some(&self.fences.get(&it.intervention)?.intervention));
        known.any(|it| it.kind != InterventionKind::Restart && it.overlaps(start, end))
    }

    /// Why a request that touched these targets is set apart, if it is: it overlaps one of their shadows, or came later to
    /// a life that should have been over.
    pub(crate) fn sets_apart(
        &self,
        touched: &[Touched],
        start: UnixNanos,
        end: UnixNanos,
    ) -> Option<LeftOut> {
        let known = touched.iter().filter_map(|it| {
            let fence = self.fences.get(&it.intervention)?;
            Some((&fence.intervention, it.oldest))
        });
        if known.clone().any(|(it, _)| it.overlaps(start, end)) {
            return Some(LeftOut::Fenced);
        }
        let mut later = known.filter(|(it, _)| start >= it.from);
        later
            .any(|(it, oldest)| oldest.is_older_than(it.began))
            .then_some(LeftOut::OldLife)
    }

    /// When something that requests of these types touch was made anew: from when, and until when
    /// as far as that is over. In order of time. What nobody told of doesn't count: who sends spans can make it up.
    pub(crate) fn changes(&self, types: &BTreeSet<u32>) -> Vec<(UnixNanos, Option<UnixNanos>)> {
        let mut changes: Vec<_> = self
            .fences
            .values()
            .filter(|fence| !fence.is_seen)
            .filter(|fence| fence.intervention.kind != InterventionKind::Blind)
            .filter(|fence| fence.is_everywhere() || !fence.types.is_disjoint(types))
            .map(|fence| (fence.intervention.from, fence.intervention.until))
            .collect();
        changes.sort();
        changes
    }

    /// Forgets what ended before this time.
    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        let before = self.fences.len();
        self.fences
            .retain(|_, fence| fence.intervention.until.is_none_or(|until| until >= time));
        self.version += u64::from(self.fences.len() != before);
    }
}

/// The oldest of these lives: if any of them is older than another one, this one is.
fn oldest(lives: impl Iterator<Item = Life>) -> Life {
    let known = lives.filter(|life| life.process.is_some());
    // Who doesn't say of which part it is, is older than none of the same process.
    let oldest = known.min_by_key(|life| (life.process, life.part.unwrap_or(u64::MAX)));
    oldest.unwrap_or_default()
}

/// Whether the row touches the target: all pairs are found among the components of one service.
pub(crate) fn row_touches(row: &Row, selector: &Selector, registry: &Registry) -> bool {
    if selector.0.is_empty() {
        return true;
    }
    let mut by_service: BTreeMap<&Name, Vec<u32>> = BTreeMap::new();
    for touch in &row.touches {
        let component = &registry.info(touch.component).component;
        by_service
            .entry(&component.service)
            .or_default()
            .push(touch.component);
    }
    by_service.values().any(|components| {
        selector.0.iter().all(|(key, value)| {
            components
                .iter()
                .any(|id| registry.info(*id).attributes.get(key) == Some(value))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_gives_way_to_what_we_did_and_never_displaces_it() {
        let intervention = |n: u64, kind, process| Intervention {
            kind,
            target: Selector::default(),
            from: UnixNanos::from_secs(n),
            until: None,
            began: Life {
                process,
                part: None,
            },
            ended_by: None,
            reference: n.to_string().into(),
        };
        let mut fences = Fences::new(4);
        let mut counts = Counts::default();
        for n in 0..20 {
            let it = match n < 3 {
                true => intervention(n, InterventionKind::Restart, Some(n)),
                false => intervention(n, InterventionKind::Restart, None),
            };
            fences.put(it, BTreeSet::new(), &mut counts);
        }
        let known: BTreeSet<&str> = fences.fences.keys().map(Name::as_str).collect();
        assert_eq!(known, BTreeSet::from(["0", "1", "2", "19"]));
        let ours = intervention(20, InterventionKind::Restart, Some(20));
        fences.put(ours, BTreeSet::new(), &mut counts);
        let known: BTreeSet<&str> = fences.fences.keys().map(Name::as_str).collect();
        assert_eq!(known, BTreeSet::from(["0", "1", "2", "20"]));
        assert_eq!(counts.get(LeftOut::InterventionOverflow), 17);
    }
}
