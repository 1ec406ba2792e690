//! Do these request types fail for one cause?
//!
//! Two faults may begin in the same moment, and one fault may show in a rarely asked type a minute later: time
//! alone says neither. Where the failures of two types begin says it. They have one cause when their failures begin in
//! the same part (a code component, a dependency), or when what contains both parts (a process, a host) fails in
//! other parts, too. Where nothing else passes through what contains both, nobody can tell, and they stay together:
//! one incident too few costs a person a second look, one too many costs a restart.
//!
//! Operations don't count: two of one service have a restart in common, whatever is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rekindle_model::{Outcome, UnixNanos};

use crate::registry::Registry;
use crate::spectrum::{Cell, Spectrum};
use crate::{AnalysisConfig, Component, Level};

/// What is behind fewer of a type's failures than this is what usually fails a little. Three faults that fail a type
/// at the same time are all above it.
const SHARE_OF_FAILURES: f64 = 0.25;

/// So many requests show how something fares: at a failure share of one in seven, twenty good ones in a row are a
/// matter of luck in one case of twenty-two.
pub(crate) const ENOUGH_REQUESTS: u64 = 20;

/// Other requests of a process or host are spared by the fault if their share of failures is less than this part of
/// what it is among all of its requests. What fails them all fails them about equally.
const SPARED: f64 = 0.25;

/// More types than this that fail at once are not told apart: so many causes at once are one that isn't seen, and each
/// pair takes a look.
pub(crate) const MAX_TOLD: usize = 20;

/// What requests of a type pass is looked for in the last so much time first: in a busy system that is plenty, and the
/// whole window may have a million counts.
const PASSED_LATELY: Duration = Duration::from_secs(60);

/// Where the failures of something begin, by what is known of components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    /// Code components and dependencies.
    parts: BTreeSet<Component>,
    /// What they are in, and what has no parts that are known.
    wholes: BTreeSet<Component>,
}

impl Origins {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.wholes.is_empty()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.parts.extend(other.parts.iter().cloned());
        self.wholes.extend(other.wholes.iter().cloned());
    }

    /// Whether requests that pass these components may fail for the same cause: certainly by the narrowest that is
    /// known of it; where they began to fail at the same time, whatever contains that, too. A host has room for many
    /// causes.
    pub(crate) fn lie_on(&self, path: &BTreeSet<Component>, is_near: bool) -> bool {
        let narrow = self.narrow();
        let around = self.wholes.iter().filter(|_| is_near);
        let mut may_be = narrow.into_iter().chain(around);
        may_be.any(|it| it.level != Level::Host && path.contains(it))
    }

    /// The narrowest that is known: a host only where nothing in it is.
    fn narrow(&self) -> BTreeSet<&Component> {
        if !self.parts.is_empty() {
            return self.parts.iter().collect();
        }
        let is_host = |whole: &&Component| whole.level == Level::Host;
        match self.wholes.iter().all(|whole| is_host(&whole)) {
            true => self.wholes.iter().collect(),
            false => self.wholes.iter().filter(|it| !is_host(it)).collect(),
        }
    }
}

/// What complete requests say about where failures begin.
#[derive(Clone, Copy)]
pub(crate) struct Causes<'a> {
    pub(crate) spectrum: &'a Spectrum,
    pub(crate) registry: &'a Registry,
    pub(crate) config: &'a AnalysisConfig,
    /// Whether the failures are those that users don't see.
    pub(crate) masked: bool,
}

impl<'a> Causes<'a> {
    fn is_failure(self, outcome: Outcome) -> bool {
        outcome.is_bad() || (self.masked && outcome == Outcome::Masked)
    }

    /// What those requests say that began at this time or later.
    pub(crate) fn since(self, from: UnixNanos) -> Look<'a> {
        let cells = self.spectrum.between(self.slice(from), u64::MAX).collect();
        Look {
            causes: self,
            cells,
        }
    }

    /// Every component that requests of this type pass; empty where too few are known.
    pub(crate) fn path(self, request_type: u32, now: UnixNanos) -> BTreeSet<Component> {
        let lately = self.slice(now.minus(PASSED_LATELY));
        for from in [lately, 0] {
            let mut requests = 0;
            let mut passed = BTreeSet::new();
            for (cell, count) in self.spectrum.between(from, u64::MAX) {
                if cell.request_type == request_type {
                    requests += count;
                    let touches = &self.spectrum.row(cell.row).touches;
                    passed.extend(touches.iter().map(|touch| touch.component));
                }
            }
            if requests >= ENOUGH_REQUESTS {
                let component = |id: u32| self.registry.info(id).component.clone();
                return passed.into_iter().map(component).collect();
            }
        }
        BTreeSet::new()
    }

    fn slice(&self, time: UnixNanos) -> u64 {
        time.0 / (self.config.slice.as_nanos() as u64).max(1)
    }
}

/// Types that fail for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Sorted.
    pub(crate) types: Vec<u32>,
    /// Where their failures begin.
    pub(crate) origins: Origins,
}

/// The requests of a stretch of time, added up once for all that is asked about them.
pub(crate) struct Look<'a> {
    causes: Causes<'a>,
    cells: Vec<(Cell, u64)>,
}

impl Look<'_> {
    /// Where the failures of each of these types begin. Types whose failures are too few, or in which nothing is
    /// seen to begin, are missing.
    pub(crate) fn origins(&self, types: &[u32]) -> BTreeMap<u32, Origins> {
        let types: BTreeSet<u32> = types.iter().copied().collect();
        let mut failures: BTreeMap<u32, (u64, BTreeMap<u32, u64>)> = BTreeMap::new();
        for (cell, count) in &self.cells {
            if !types.contains(&cell.request_type) || !self.causes.is_failure(cell.outcome) {
                continue;
            }
            let touches = &self.causes.spectrum.row(cell.row).touches;
            let mut began = touches
                .iter()
                .filter(|touch| touch.state.is_origin())
                .peekable();
            if began.peek().is_none() {
                continue;
            }
            let (all, by_component) = failures.entry(cell.request_type).or_default();
            *all += count;
            for touch in began {
                *by_component.entry(touch.component).or_default() += count;
            }
        }
        failures.retain(|_, (all, _)| *all >= self.causes.config.min_failed);
        let origins = failures.into_iter().map(|(id, (all, by_component))| {
            let mut origins = Origins::default();
            for (component, count) in by_component {
                if (count as f64) < SHARE_OF_FAILURES * all as f64 {
                    continue;
                }
                let component = self.causes.registry.info(component).component.clone();
                match component.level {
                    Level::CodeComponent | Level::Dependency => origins.parts.insert(component),
                    Level::Operation => continue,
                    Level::Host | Level::Service | Level::Version | Level::Instance => {
                        origins.wholes.insert(component)
                    }
                };
            }
            (id, origins)
        });
        origins.filter(|(_, origins)| !origins.is_empty()).collect()
    }

    /// Which of these types fail for one cause, of those of which it is known where their failures begin. One that
    /// shares a cause with several others makes them one.
    pub(crate) fn groups(&self, types: &[u32]) -> Vec<Group> {
        let origins = self.origins(types);
        let are_many = types.len() > MAX_TOLD;
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for id in origins.keys() {
            let is_of = |other: &u32| are_many || self.is_one(&origins[other], &origins[id]);
            let (same, others): (Vec<_>, Vec<_>) = groups
                .into_iter()
                .partition(|group| group.iter().any(is_of));
            groups = others;
            groups.push(same.into_iter().flatten().chain([*id]).collect());
        }
        let groups = groups.into_iter().map(|mut types| {
            types.sort_unstable();
            let mut united = Origins::default();
            types.iter().for_each(|id| united.add(&origins[id]));
            Group {
                types,
                origins: united,
            }
        });
        groups.collect()
    }

    /// Whether failures that begin here and there have one cause.
    pub(crate) fn is_one(&self, here: &Origins, there: &Origins) -> bool {
        let (a, b) = (here.narrow(), there.narrow());
        if !a.is_disjoint(&b) {
            return true;
        }
        let mut shared = here.wholes.intersection(&there.wholes);
        shared.any(|whole| !self.spares_others(whole, a.union(&b).copied()))
    }

    /// Whether those requests fare well that pass this process or host, and none of these parts of it.
    fn spares_others<'b>(
        &self,
        whole: &Component,
        parts: impl Iterator<Item = &'b Component>,
    ) -> bool {
        let Some(whole) = self.causes.registry.find(whole) else {
            return false;
        };
        let parts: BTreeSet<u32> = parts
            .filter_map(|part| self.causes.registry.find(part))
            .filter(|part| *part != whole)
            .collect();
        let (mut all, mut others) = ((0, 0), (0, 0));
        for (cell, count) in &self.cells {
            let touches = &self.causes.spectrum.row(cell.row).touches;
            if !cell.outcome.is_known() || !touches.iter().any(|it| it.component == whole) {
                continue;
            }
            let is_bad = self.causes.is_failure(cell.outcome);
            let bad = if is_bad { *count } else { 0 };
            all = (all.0 + bad, all.1 + count);
            if !touches.iter().any(|it| parts.contains(&it.component)) {
                others = (others.0 + bad, others.1 + count);
            }
        }
        let share = |(bad, of): (u64, u64)| bad as f64 / of.max(1) as f64;
        others.1 >= ENOUGH_REQUESTS && share(others) < SPARED * share(all)
    }
}
