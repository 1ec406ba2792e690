//! What can be asked of an analysis: how requests fared, what fails, and why.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use rekindle_model::{
    Intervention, Name, Outcome, RequestType, Selector, Trace, TraceId, UnixNanos,
};
use serde::{Deserialize, Serialize};

use super::{Analyzer, SHOWN_RATE};
use crate::missed::Told;
use crate::rank::{Input, Method, rank};
use crate::records::Record;
use crate::sampling::Standing;
use crate::spectrum::PortableSpectrum;
use crate::{Component, Counts, Incident, Masked, Ranking, Rollout};

/// How one request type fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestTypeSummary {
    /// The type.
    pub request_type: RequestType,
    /// Requests with a known outcome in the window.
    pub requests: u64,
    /// Of these, failed or too slow.
    pub bad: u64,
    /// Requests per second over the last half minute.
    pub per_second: f64,
    /// The share of failed requests over the last half minute, in `[0, 1]`; `None` without any.
    pub failure_share: Option<f64>,
    /// The share that it is compared with, in `[0, 1]`.
    pub baseline_failure_share: f64,
    /// Requests that take longer are slow; `None` while nothing is learned or configured.
    pub slow_limit: Option<Duration>,
    /// The open incident that it is part of.
    pub incident: Option<u64>,
    /// What these counts stand for, should samplers throw requests away.
    #[serde(default)]
    pub standing: Standing,
    /// What its users don't see.
    #[serde(default)]
    pub masked: Masked,
}

/// How many requests of a type began in one time slice, by how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePoint {
    /// The start of the slice.
    pub at: UnixNanos,
    /// Those that ended well.
    pub ok: u64,
    /// Those that failed or were too slow.
    pub bad: u64,
}

impl Analyzer {
    /// Open and recent incidents, oldest first.
    pub fn incidents(&self) -> &[Incident] {
        &self.watch.incidents
    }

    /// Open and recent incidents of failures that no user saw, because a retry or a fallback hid them; oldest first. They
    /// have numbers among those of the others.
    pub fn masked_incidents(&self) -> &[Incident] {
        self.hidden.incidents()
    }

    /// The incident of this number, whether users see it or not.
    pub(crate) fn incident(&self, id: u64) -> Option<&Incident> {
        self.watch.get(id).or_else(|| self.hidden.get(id))
    }

    /// The ranking of one incident with the evidence of now; `None` when there is no such incident.
    pub fn rank(&self, incident: u64) -> Option<Ranking> {
        self.rank_by(Method::Default, incident)
    }

    /// The same by another method.
    pub fn rank_by(&self, method: Method, incident: u64) -> Option<Ranking> {
        Some(rank(method, &self.input(incident)?))
    }

    /// Keeps the traces that a ranking of this incident shows while it is remembered, as far as they are there.
    pub fn keep_examples(&mut self, incident: u64, shown: impl IntoIterator<Item = TraceId>) {
        self.examples.pin(incident, shown.into_iter());
    }

    /// How many requests of these types (all, when there are none) that began in `[from, until)`
    /// ended well, and how many did not. To a tenth of a second: a tenth that begins before `from`
    /// is left out, one that begins before `until` is in. What is fenced for rankings counts here.
    pub fn fared(&self, types: &[RequestType], from: UnixNanos, until: UnixNanos) -> (u64, u64) {
        self.types
            .named(types)
            .into_iter()
            .map(|id| self.types.get(id).ends(from, until))
            .fold((0, 0), |sum, ends| (sum.0 + ends.0, sum.1 + ends.1))
    }

    /// As [`Self::fared`], without those that are set apart: what is usual.
    pub fn fared_as_usual(
        &self,
        types: &[RequestType],
        from: UnixNanos,
        until: UnixNanos,
    ) -> (u64, u64) {
        let named = self.types.named(types).into_iter();
        named
            .map(|id| self.types.get(id).evidence(from, until))
            .fold((0, 0), |sum, ends| (sum.0 + ends.0, sum.1 + ends.1))
    }

    /// As [`Self::fared`], with those requests that should have begun and did not: of types whose silence is an
    /// incident, or was one in the window. Of these, what came is counted for the same time as what didn't, which
    /// ends when telemetry is `complete` and leaves out the shadows of what was done to them.
    pub fn told(
        &self,
        types: &[RequestType],
        from: UnixNanos,
        until: UnixNanos,
        complete: UnixNanos,
    ) -> Told {
        self.types
            .named(types)
            .into_iter()
            .map(|id| {
                // The warm-up after a shadow may reach into the stretch.
                let shadows = self.fences.shadows(id, UnixNanos(0), until);
                self.types.told(id, (from, until), complete, shadows)
            })
            .fold(Told::default(), Told::plus)
    }

    /// Whether a sampler is at work on one of these types (any, when there are none) that doesn't say
    /// how many requests it throws away, by what it shows or the configuration knows: then what share of them fails is unknown.
    pub fn is_sampled_unsaid(&self, types: &[RequestType]) -> bool {
        let mut named = self.types.named(types).into_iter();
        self.config.failures_first || named.any(|id| self.samplings.is_hidden(id))
    }

    /// Every request type seen in the window, sorted.
    pub fn request_types(&self) -> Vec<RequestTypeSummary> {
        let until = self.newest.plus(Duration::from_nanos(1));
        let seconds = self.shown_seconds();
        let mut summaries: Vec<RequestTypeSummary> = self
            .types
            .iter()
            .filter(|(_, state)| !state.is_quiet())
            .map(|(id, state)| {
                let (ok, bad) = state.ends(UnixNanos(0), UnixNanos(u64::MAX));
                let recent = state.ends(until.minus(SHOWN_RATE), until);
                let share = rekindle_stats::Share::of(recent.1, recent.0);
                RequestTypeSummary {
                    request_type: state.request_type.clone(),
                    requests: ok + bad,
                    bad,
                    per_second: share.total() as f64 / seconds,
                    failure_share: share.value(),
                    baseline_failure_share: state.detector.baseline(),
                    slow_limit: state.slow_limit(),
                    incident: state.incident,
                    standing: self.samplings.standing(id, self.newest, seconds),
                    masked: self.hidden.masked(id, until.minus(SHOWN_RATE), until),
                }
            })
            .collect();
        summaries.sort_by(|a, b| a.request_type.cmp(&b.request_type));
        summaries
    }

    /// The type's requests, one point per slice that had any, oldest first: of the last so many such slices in the window.
    pub fn series(&self, request_type: &RequestType, most: usize) -> Vec<RatePoint> {
        let Some(id) = self.types.find(request_type) else {
            return Vec::new();
        };
        let series = self.types.get(id).series(self.config.slice, most);
        series
            .into_iter()
            .map(|(at, (ok, bad))| RatePoint { at, ok, bad })
            .collect()
    }

    /// The starts of the first and of the last time slice in which requests of these types began, in the window.
    pub fn reach(&self, types: &[RequestType]) -> Option<(UnixNanos, UnixNanos)> {
        let known = types.iter().filter_map(|it| self.types.find(it));
        let reached = known.filter_map(|id| self.types.get(id).reach());
        let (first, last) = reached.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let slice = self.slice_nanos();
        let start = |at: UnixNanos| UnixNanos(at.0 / slice * slice);
        Some((start(first), start(last)))
    }

    /// An example trace, while it is kept.
    pub fn example(&self, trace_id: TraceId) -> Option<&Trace> {
        self.examples.get(trace_id)
    }

    /// How a remembered request ended, everything considered.
    pub fn outcome(&self, trace_id: TraceId) -> Option<Outcome> {
        self.records.get(trace_id).map(Record::outcome)
    }

    /// The number of a remembered request's type, and how it ended.
    pub(crate) fn ended(&self, trace_id: TraceId) -> Option<(u32, Outcome)> {
        let record = self.records.get(trace_id)?;
        Some((record.request_type, record.outcome()))
    }

    /// The type of this number.
    pub(crate) fn type_numbered(&self, id: u32) -> &RequestType {
        &self.types.get(id).request_type
    }

    /// The type of a remembered request.
    pub fn request_type_of(&self, trace_id: TraceId) -> Option<&RequestType> {
        let record = self.records.get(trace_id)?;
        Some(&self.types.get(record.request_type).request_type)
    }

    /// Requests per second that touch this component, over the last half minute of telemetry.
    /// Requests that are fenced don't count.
    pub fn throughput(&self, component: &Component) -> f64 {
        let Some(id) = self.observer.registry.find(component) else {
            return 0.0;
        };
        let last = self.slice(self.newest) + 1;
        let first = self.slice(self.newest.minus(SHOWN_RATE));
        let touching: u64 = self
            .spectrum
            .between(first, last)
            .filter(|(cell, _)| {
                let touches = &self.spectrum.row(cell.row).touches;
                touches.binary_search_by_key(&id, |t| t.component).is_ok()
            })
            .map(|(_, n)| n)
            .sum();
        touching as f64 / self.shown_seconds()
    }

    /// As [`Self::fared`], of those requests that touched this component, as far as their traces are
    /// complete. To a time slice: one that begins before `from` is left out, one that begins before
    /// `until` is in. Requests that are fenced don't count.
    pub fn fared_through(
        &self,
        component: &Component,
        types: &[RequestType],
        from: UnixNanos,
        until: UnixNanos,
    ) -> (u64, u64) {
        let Some(id) = self.observer.registry.find(component) else {
            return (0, 0);
        };
        let first = self.slice(from.plus(self.config.slice).minus(Duration::from_nanos(1)));
        let last = self.slice(until.plus(self.config.slice).minus(Duration::from_nanos(1)));
        let (mut ok, mut bad) = (0, 0);
        for (cell, count) in self.spectrum.between(first, last) {
            let touches = &self.spectrum.row(cell.row).touches;
            let is_meant =
                types.is_empty() || types.contains(&self.types.get(cell.request_type).request_type);
            if !is_meant || touches.binary_search_by_key(&id, |t| t.component).is_err() {
                continue;
            }
            match cell.outcome {
                Outcome::Ok | Outcome::Masked => ok += count,
                Outcome::Failed | Outcome::Slow => bad += count,
                Outcome::Unknown => {}
            }
        }
        (ok, bad)
    }

    /// Every component that is remembered.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        (0..self.observer.registry.len())
            .filter_map(|id| u32::try_from(id).ok())
            .map(|id| &self.observer.registry.info(id).component)
    }

    /// Whether any service is known that has, or whose parts have, what this selects by.
    pub fn knows(&self, target: &Selector) -> bool {
        let registry = &self.observer.registry;
        let all = || (0..registry.len() as u32).map(|id| registry.info(id));
        let services: BTreeSet<&Name> = all().map(|it| &it.component.service).collect();
        services.iter().any(|service| {
            target.0.iter().all(|(key, value)| {
                let mut own = all().filter(|it| it.component.service == **service);
                own.any(|it| it.attributes.get(key) == Some(value))
            })
        })
    }

    /// The counts of the window in the form that can be stored, sent and merged.
    pub fn spectrum(&self) -> PortableSpectrum {
        let types: Vec<RequestType> = self
            .types
            .iter()
            .map(|(_, state)| state.request_type.clone())
            .collect();
        self.spectrum
            .export(self.slice_nanos(), &self.observer.registry, &types)
    }

    /// How many peer addresses are known.
    pub fn known_addresses(&self) -> usize {
        self.observer.known_addresses()
    }

    /// What was not used, per reason.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was done to the system, as far as it is remembered, the latest first: what was told, and what traces show.
    pub fn interventions(&self) -> Vec<&Intervention> {
        let mut all: Vec<_> = self.fences.all().collect();
        all.sort_by(|a, b| (b.from, &b.reference).cmp(&(a.from, &a.reference)));
        all
    }

    /// What was told, and our own restarts, as far as they are remembered: what traces alone show isn't among these.
    pub fn told_interventions(&self) -> impl Iterator<Item = &Intervention> {
        self.fences.told()
    }

    /// The last version of each service that traces show to be rolled out.
    pub fn rollouts(&self) -> impl Iterator<Item = Rollout> {
        self.rollouts.last()
    }

    /// What is known of each component that has all these attributes.
    pub fn having<'a>(
        &'a self,
        target: &'a Selector,
    ) -> impl Iterator<Item = &'a BTreeMap<Name, Name>> {
        let registry = &self.observer.registry;
        let all = (0..registry.len() as u32).map(|id| &registry.info(id).attributes);
        all.filter(|attributes| target.matches(|key| attributes.get(key).map(Name::as_str)))
    }

    /// What an incident's ranking is drawn from.
    pub fn input(&self, incident: u64) -> Option<Input> {
        let incident = self.incident(incident)?;
        let until = incident.closed.map_or(self.now, |closing| closing.at);
        let laid = self.laid.get(&incident.id);
        Some(self.sources().input(incident, until, self.cut, laid))
    }

    /// The same with nothing that was kept for it.
    #[cfg(test)]
    pub(crate) fn input_anew(&self, incident: u64) -> Option<Input> {
        let known = self.watch.get(incident)?;
        let until = known.closed.as_ref().map_or(self.now, |closing| closing.at);
        // Nobody follows an incident of this number.
        let stranger = Incident {
            id: u64::MAX,
            ..known.clone()
        };
        let input = self.sources().input(&stranger, until, self.cut, None);
        Some(Input { incident, ..input })
    }

    /// The same for a time that somebody names, whatever was detected: requests that began in
    /// `[since, until)`, compared with those before. Failures of these types (all, when there are
    /// none) are to be explained. Its incident is number 0, which no detected one has.
    pub fn input_between(
        &self,
        types: &[RequestType],
        since: UnixNanos,
        until: UnixNanos,
    ) -> Input {
        let named = self.named(types, since);
        self.sources().input(&named, until, self.cut, None)
    }

    /// The same with those as failed whose failures their users didn't see.
    pub fn masked_between(
        &self,
        types: &[RequestType],
        since: UnixNanos,
        until: UnixNanos,
    ) -> Input {
        let named = Incident {
            masked: true,
            ..self.named(types, since)
        };
        self.sources().input(&named, until, self.cut, None)
    }

    fn named(&self, types: &[RequestType], since: UnixNanos) -> Incident {
        let asked = self.types.named(types).into_iter();
        let asked = asked.map(|id| self.types.get(id).request_type.clone());
        Incident::opened(0, asked.collect(), since, since)
    }

    /// What users didn't see of each type, of requests that began in `[from, until)`; sorted.
    pub(crate) fn masked_types(
        &self,
        from: UnixNanos,
        until: UnixNanos,
    ) -> Vec<(RequestType, Masked)> {
        let of = |(id, state): (u32, &crate::types::TypeState)| {
            let masked = self.hidden.masked(id, from, until);
            (state.request_type.clone(), masked)
        };
        let mut all: Vec<_> = self.types.iter().map(of).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}
