//! What does one request say about each component it touched?
//!
//! Errors travel up the call tree, so most failed spans only pass on what happened below them. The
//! failure *began* where a span failed and nothing below it explains that: there the component
//! raised it. If that span is a call to which nothing answered, the callee is at fault, and is
//! named by whatever is known of it: a killed process exports nothing itself. A failure that was
//! retried, or replaced by a fallback, explains nothing above it, but stays evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use rekindle_model::{Name, Outcome, Resource, Span, SpanKind, Trace, UnixNanos};
use rekindle_stats::{LogHistogram, Probability};
use serde::{Deserialize, Serialize};

use crate::address::{AddressBook, Asked, Callee, Found, Lesson};
use crate::hops::{Hops, Timing, is_call, nanos, together};
use crate::outcome::{failure, was_answered};
use crate::profile::{Hop, Work};
use crate::registry::Registry;
use crate::request::Requests;
use crate::usual::UsualOperations;
use crate::{AnalysisConfig, Component, Counts, Level};

/// What a component did in one request, least telling first: when it did several things, the most
/// telling one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was there, and fine.
    Touched,
    /// A failure below it went through it.
    PassedOn,
    /// It took most of the time that was too much.
    Slow,
    /// It was asked and did not answer.
    Unanswered,
    /// The failure began in it.
    Raised,
}

impl State {
    /// Whether the failure began here.
    pub const fn is_origin(self) -> bool {
        matches!(self, Self::Slow | Self::Unanswered | Self::Raised)
    }
}

/// One component in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Touch {
    pub(crate) component: u32,
    pub(crate) state: State,
    /// Visits between it and the user.
    pub(crate) depth: u8,
}

/// What one request says about components; equal rows are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    /// By component, each once.
    pub(crate) touches: Vec<Touch>,
    /// The errors that began in components.
    pub(crate) errors: Vec<(u32, Name)>,
    /// Who saw a call to the component fail.
    pub(crate) complaints: Vec<(u32, Name)>,
}

/// One request, observed.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) row: Row,
    /// Own time and callees per visit, and own time per call of a dependency.
    pub(crate) works: Vec<Work>,
    /// Whether something failed inside, seen from outside or not.
    pub(crate) failed_inside: bool,
    /// How many failed calls were made again, to the same callee.
    pub(crate) again: u32,
    /// Which spans say how long each work took, in the same order.
    pub(crate) timings: Vec<Timing>,
    /// What it depended on.
    pub(crate) trail: Trail,
}

/// What reading a request depended on and led to, beside the request itself. One that is made of the
/// same spans, but for their ids and times, says the same again while all of this holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// What was asked of the address book.
    pub(crate) asked: Vec<Asked>,
    /// What the address book was taught; that was before it was asked.
    pub(crate) lessons: Vec<Lesson>,
    /// Pages of the usual operations, and what stood there before anything of this was written.
    pub(crate) usual: Vec<(u32, Option<u32>)>,
    /// What was written there, in order.
    pub(crate) reached: Vec<(u32, u32)>,
    /// Whether it mattered that a component was not known.
    pub(crate) missed: bool,
    /// Whether times decided something, or there was no page for something: then another request
    /// must be read by itself.
    pub(crate) single: bool,
}

/// What has been learned from earlier requests, and is needed to read the next one.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) registry: Registry,
    pub(crate) book: AddressBook,
    /// Usual own times, per operation and dependency.
    own: Vec<LogHistogram>,
    /// The operation that calls of this name from this service reach.
    pub(crate) usual: UsualOperations,
}

/// An excess of own time counts from half the largest one on: two that share the blame equally are
/// both named, and what is merely slowed down by them is not.
const SHARE_OF_LARGEST_EXCESS: f64 = 0.5;
/// A callee explains its caller's time-out when it took at least half of the time waited.
const SHARE_OF_WAIT: f64 = 0.5;
/// Histograms of own time halve at this size, so that what is usual follows the system.
const FADE_AT: u64 = 20_000;
/// A request being read.
pub(crate) struct Reading<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) hops: Hops,
    failed: Vec<Option<Name>>,
    touches: BTreeMap<u32, (State, u8)>,
    errors: Vec<(u32, Name)>,
    complaints: Vec<(u32, Name)>,
    /// Of the visits first, in order; then of dependencies.
    works: Vec<Work>,
    /// The number in `works` of each visit.
    work_of: Vec<Option<usize>>,
    /// The dependency's span of each work that is no visit's, in their order.
    calls: Vec<usize>,
    /// The components of each visit, most general first.
    members: Vec<Vec<u32>>,
    pub(crate) trail: Trail,
}

impl Observer {
    pub(crate) fn new(config: &AnalysisConfig) -> Self {
        Self {
            registry: Registry::new(config.max_components),
            book: AddressBook::new(config.max_addresses),
            own: Vec::new(),
            usual: UsualOperations::default(),
        }
    }

    /// Grows with whatever readings may depend on, but what is usual.
    pub(crate) fn version(&self) -> u64 {
        self.book.version() + self.registry.version()
    }

    /// Whether a request on the same path would be read so again. As long as the version stays the same, only
    /// what is usual may say otherwise.
    #[inline]
    pub(crate) fn still_says(&self, reading: &crate::paths::Reading) -> bool {
        let trail = &reading.trail;
        let mut usual = trail.usual.iter();
        usual.all(|(page, found)| self.usual.read(*page) == *found)
            && (reading.held_at.load(Ordering::Relaxed) == self.version()
                || self.still_knows(reading))
    }

    fn still_knows(&self, reading: &crate::paths::Reading) -> bool {
        let mut asked = reading.trail.asked.iter();
        let registry = reading.registry;
        registry.is_none_or(|version| version == self.registry.version())
            && asked.all(|asked| self.book.still_says(asked))
    }

    /// Reads the request with this entry span and outcome. The address book learns from it, unless
    /// it has already, and what.
    pub(crate) fn observe(
        &mut self,
        trace: &Trace,
        entry: usize,
        outcome: Outcome,
        learned: Option<Vec<Lesson>>,
        requests: &mut Requests,
        counts: &mut Counts,
    ) -> Observed {
        let hops = Hops::of(trace, entry);
        let spans = trace.spans();
        let mut reading = Reading {
            trace,
            failed: spans.iter().map(|span| failure(span)).collect(),
            touches: BTreeMap::new(),
            errors: Vec::new(),
            complaints: Vec::new(),
            works: Vec::new(),
            work_of: Vec::new(),
            calls: Vec::new(),
            members: Vec::new(),
            trail: Trail::default(),
            hops,
        };
        self.visit_all(&mut reading, requests, counts);
        match learned {
            Some(lessons) => reading.trail.lessons = lessons,
            None => self.learn_addresses(&mut reading, counts),
        }
        let failed_inside = self.blame_failures(&mut reading, counts);
        let again = match failed_inside {
            true => self.calls_again(&mut reading),
            false => 0,
        };
        self.touch_dependencies(&mut reading, counts);
        self.note_callees(&mut reading);
        if outcome == Outcome::Slow {
            self.blame_slowness(&mut reading);
        }
        let timings = reading.timings();
        let Reading {
            touches,
            mut errors,
            mut complaints,
            works,
            trail,
            ..
        } = reading;
        errors.sort();
        errors.dedup();
        complaints.sort();
        complaints.dedup();
        Observed {
            row: Row {
                touches: touches
                    .into_iter()
                    .map(|(component, (state, depth))| Touch {
                        component,
                        state,
                        depth,
                    })
                    .collect(),
                errors,
                complaints,
            },
            works,
            failed_inside,
            again,
            timings,
            trail,
        }
    }

    /// Takes the own time of so many requests into what is usual for this component. Only for requests of
    /// calm times.
    pub(crate) fn learn_own_time(&mut self, component: u32, bucket: u16, requests: u32) {
        let place = component as usize;
        if place >= self.own.len() {
            self.own.resize_with(place + 1, LogHistogram::default);
        }
        let histogram = &mut self.own[place];
        histogram.add_many(bucket, requests.into());
        if histogram.total() > FADE_AT {
            histogram.fade();
        }
    }

    /// Forgets components that no row speaks of any more; the answer maps old numbers to new ones.
    pub(crate) fn keep(&mut self, used: &[bool]) -> Vec<Option<u32>> {
        let mapping = self.registry.keep(used);
        // New numbers are in the order of the old ones.
        let kept = std::mem::take(&mut self.own).into_iter().zip(&mapping);
        self.own = kept
            .filter_map(|(histogram, new)| new.map(|_| histogram))
            .collect();
        self.usual.keep(&mapping);
        mapping
    }

    /// How many peer addresses are known.
    pub(crate) fn known_addresses(&self) -> usize {
        self.book.len()
    }

    pub(crate) fn process(
        &mut self,
        resource: &Resource,
        instance: bool,
        counts: &mut Counts,
    ) -> Vec<u32> {
        let service = &resource.service;
        let mut components = Vec::with_capacity(6);
        let empty = Name::from("");
        if instance && let Some(host) = &resource.host {
            components.push(Component::new(Level::Host, &empty, host));
        }
        components.push(Component::service(service));
        if instance {
            if let Some(version) = &resource.version {
                components.push(Component::new(Level::Version, service, version));
            }
            if let Some(name) = &resource.instance {
                components.push(Component::new(Level::Instance, service, name));
            }
        }
        components
            .into_iter()
            .filter_map(|component| self.registry.intern(component, Some(resource), counts))
            .collect()
    }

    fn visit_all(
        &mut self,
        reading: &mut Reading<'_>,
        requests: &mut Requests,
        counts: &mut Counts,
    ) {
        for visit in &reading.hops.visits {
            let span = &reading.trace.spans()[visit.entry];
            let resource = span.resource.as_ref();
            let service = &resource.service;
            let mut members = self.process(resource, true, counts);
            if let Some(code) = &visit.code_component {
                let component = Component::new(Level::CodeComponent, service, code);
                members.extend(self.registry.intern(component, Some(resource), counts));
            }
            let operation = requests.operation_of(span);
            let operation = Component::new(Level::Operation, service, &operation);
            if let Some(id) = self.registry.intern(operation, Some(resource), counts) {
                members.push(id);
                reading.work_of.push(Some(reading.works.len()));
                reading.works.push(Work {
                    component: id,
                    own_nanos: visit.own_nanos,
                    hop: None,
                    asked: Vec::new(),
                    last: None,
                });
            } else {
                reading.work_of.push(None);
            }
            for id in &members {
                mark(&mut reading.touches, *id, State::Touched, visit.depth);
            }
            reading.members.push(members);
        }
    }

    fn learn_addresses(&mut self, reading: &mut Reading<'_>, counts: &mut Counts) {
        let spans = reading.trace.spans();
        for index in &reading.hops.order {
            let call = &spans[*index];
            if !is_call(call) || !reading.hops.answered[*index] {
                continue;
            }
            if let Some(answer) = reading.hops.answered_by(reading.trace, *index) {
                let component = reading.hops.visit_of[answer]
                    .and_then(|visit| reading.hops.visits[visit].code_component.as_ref());
                let trail = &mut reading.trail;
                let lessons = &mut trail.lessons;
                let answer = &spans[answer];
                if !self.book.learn(call, answer, component, counts, lessons) {
                    trail.single = true;
                }
            }
        }
    }

    /// Finds where failures began. Whether there were any.
    fn blame_failures(&mut self, reading: &mut Reading<'_>, counts: &mut Counts) -> bool {
        let trace = reading.trace;
        let spans = trace.spans();
        let mut exposed = vec![false; spans.len()];
        let mut explained = vec![false; spans.len()];
        for position in (0..reading.hops.order.len()).rev() {
            let index = reading.hops.order[position];
            explained[index] = trace.children(index).iter().any(|child| {
                let went_well = |other: usize| !exposed[other];
                exposed[*child] && !self.was_made_again(reading, *child, went_well)
            });
            // What a process answers is its word: when it says fine, it dealt with what failed
            // below. Inside a process, many spans say nothing, and a failure passes through them.
            let crossed = trace
                .parent(index)
                .is_none_or(|parent| !together(&spans[parent], &spans[index]));
            exposed[index] = reading.failed[index].is_some() || (!crossed && explained[index]);
        }
        // Spans get lost. A failure that hangs below a span that did not come explains what failed
        // on the way to it, wherever that was: it began further down than anything above.
        let lost = reading.hops.order.iter().any(|index| {
            let orphan = trace.parent(*index).is_none() && spans[*index].parent_id.is_some();
            orphan && exposed[*index]
        });
        let below_root = below_root(trace);
        let mut any = false;
        for position in 0..reading.hops.order.len() {
            let index = reading.hops.order[position];
            let Some(error) = reading.failed[index].clone() else {
                continue;
            };
            any = true;
            self.complain_about_answer(reading, index);
            if explained[index] || (lost && below_root[index]) {
                reading.mark_visit(index, State::PassedOn);
            } else {
                self.blame_origin(reading, index, &error, counts);
            }
        }
        any
    }

    /// How many failed calls were made again, however that ended. Whom a call asked is looked up once for each: one request
    /// may ask a dead callee thousands of times.
    fn calls_again(&mut self, reading: &mut Reading<'_>) -> u32 {
        let spans = reading.trace.spans();
        let failed = reading.hops.order.iter().copied();
        let failed =
            failed.filter(|index| reading.failed[*index].is_some() && is_call(&spans[*index]));
        let alike: BTreeSet<(usize, Name)> = failed
            .filter_map(|index| Some((reading.trace.parent(index)?, spans[index].name.clone())))
            .collect();
        let mut again = 0;
        for (parent, name) in alike {
            let trace = reading.trace;
            let calls = trace.children(parent).iter().copied();
            let calls: Vec<usize> = calls
                .filter(|index| is_call(&spans[*index]) && spans[*index].name == name)
                .collect();
            if calls.len() < 2 {
                continue;
            }
            let mut by_target: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
            for call in calls {
                if let Some(target) = self.target(reading, call) {
                    by_target.entry(target).or_default().push(call);
                }
            }
            for mut calls in by_target.into_values().filter(|calls| calls.len() > 1) {
                calls.sort_by_key(|call| std::cmp::Reverse(spans[*call].start));
                let mut failed = calls
                    .iter()
                    .filter(|call| reading.failed[**call].is_some())
                    .peekable();
                reading.trail.single |= failed.peek().is_some();
                let made_again = failed.filter(|call| {
                    let last = if calls[0] == **call {
                        calls[1]
                    } else {
                        calls[0]
                    };
                    spans[last].start >= spans[**call].end
                });
                again += u32::try_from(made_again.count()).unwrap_or(u32::MAX);
            }
        }
        again
    }

    /// Whether the failed call was made again later, to the same callee, by a call that counts.
    fn was_made_again(
        &mut self,
        reading: &mut Reading<'_>,
        call: usize,
        counts: impl Fn(usize) -> bool,
    ) -> bool {
        let spans = reading.trace.spans();
        let Some(parent) = reading.trace.parent(call) else {
            return false;
        };
        if !is_call(&spans[call]) {
            return false;
        }
        let children = reading.trace.children(parent);
        let is_like = |other: usize| {
            other != call
                && is_call(&spans[other])
                && spans[other].name == spans[call].name
                && counts(other)
        };
        if !children.iter().any(|other| is_like(*other)) {
            return false;
        }
        let Some(target) = self.target(reading, call) else {
            return false;
        };
        children.iter().any(|other| {
            let alike = is_like(*other) && self.target(reading, *other).as_ref() == Some(&target);
            if alike {
                reading.trail.single = true;
            }
            alike && spans[*other].start >= spans[call].end
        })
    }

    fn target(&mut self, reading: &mut Reading<'_>, call: usize) -> Option<Name> {
        let span = &reading.trace.spans()[call];
        if let Some(answer) = reading.hops.answer_of(reading.trace, call) {
            return Some(reading.trace.spans()[answer].resource.service.clone());
        }
        match self.ask_address(reading, span).one() {
            Some(callee) => Some(callee.resource.service.clone()),
            None => span
                .facts
                .peer_service
                .clone()
                .or_else(|| span.facts.server_address.clone()),
        }
    }

    /// Who should have answered this call, by its address.
    pub(crate) fn ask_address(&mut self, reading: &mut Reading<'_>, call: &Span) -> Found {
        let trail = &mut reading.trail;
        let (found, noted) = self.book.callee(call, &mut trail.asked);
        trail.single |= !noted;
        found
    }

    /// Who usually answers calls of this name.
    pub(crate) fn ask_name(&mut self, reading: &mut Reading<'_>, call: &Span) -> Option<Callee> {
        let trail = &mut reading.trail;
        let (found, noted) = self.book.usual_callee(call, &mut trail.asked);
        trail.single |= !noted;
        found.one()
    }

    /// The component's number, if it is known.
    pub(crate) fn look_for(
        &mut self,
        reading: &mut Reading<'_>,
        component: Component,
    ) -> Option<u32> {
        let found = self.registry.look_for(component);
        reading.trail.missed |= found.is_none();
        found
    }

    /// The operation that such calls reached before, in other requests or in this one.
    fn usual_operation(&mut self, reading: &mut Reading<'_>, call: &Span) -> Option<u32> {
        let trail = &mut reading.trail;
        let Some(page) = self.usual.page(&call.resource.service, &call.name) else {
            trail.single = true;
            return None;
        };
        let found = self.usual.read(page);
        if !trail.reached.iter().any(|(reached, _)| *reached == page) {
            trail.usual.push((page, found));
        }
        found
    }

    /// The caller's word against a callee that did answer, but failed.
    fn complain_about_answer(&self, reading: &mut Reading<'_>, index: usize) {
        let trace = reading.trace;
        let asked = reading.hops.is_visit_entry(index)
            && trace.parent(index).is_some_and(|parent| {
                let span = &trace.spans()[parent];
                !is_call(span) || reading.failed[parent].is_some()
            });
        if !asked {
            return;
        }
        let (Some(parent), Some(visit)) = (trace.parent(index), reading.hops.visit_of[index])
        else {
            return;
        };
        let members = reading.members[visit].clone();
        self.complain(reading, parent, &members, reading.in_process(parent, index));
    }

    /// Whoever called a slow visit waited for it, and says so by the length of its own span: the
    /// caller in the same process, and the nearest one from outside.
    fn complain_about_wait(&self, reading: &mut Reading<'_>, visit: usize, entry: usize) {
        let members = reading.members[visit].clone();
        let mut callee = entry;
        while let Some(call) = reading.trace.parent(callee) {
            if is_call(&reading.trace.spans()[call]) {
                let in_process = reading.in_process(call, callee);
                self.complain(reading, call, &members, in_process);
                if !in_process {
                    return;
                }
            }
            callee = call;
        }
    }

    /// The caller says that its call to these components failed. A caller in the same process says
    /// so of the part that it called, not of the process that both are.
    fn complain(&self, reading: &mut Reading<'_>, call: usize, about: &[u32], in_process: bool) {
        if reading.hops.visit_of[call].is_none() {
            return;
        }
        let caller = reading.caller(call, in_process);
        for id in about {
            let level = self.registry.info(*id).component.level;
            if !in_process || matches!(level, Level::CodeComponent | Level::Operation) {
                reading.complaints.push((*id, caller.clone()));
            }
        }
    }

    fn blame_origin(
        &mut self,
        reading: &mut Reading<'_>,
        index: usize,
        error: &Name,
        counts: &mut Counts,
    ) {
        let spans = reading.trace.spans();
        let mut index = index;
        if is_call(&spans[index])
            && let Some(answer) = reading.hops.answer_of(reading.trace, index)
            && let Some(slow) = reading.slowest_below(index, answer)
        {
            reading.mark_visit(index, State::PassedOn);
            let waits_further = is_call(&spans[slow]) && !reading.hops.answered[slow];
            if !waits_further {
                reading.blame_visit(slow, State::Slow, error);
                if let Some(visit) = reading.hops.visit_of[slow] {
                    let members = reading.members[visit].clone();
                    self.complain(reading, index, &members, reading.in_process(index, slow));
                }
                return;
            }
            index = slow;
        }
        let span = &spans[index];
        if is_call(span)
            && !reading.hops.answered[index]
            && let Some(callee) = self.callee(reading, index, counts)
        {
            let state = if was_answered(span) {
                State::Raised
            } else {
                State::Unanswered
            };
            let depth = reading.depth(index).saturating_add(1);
            reading.mark_visit(index, State::PassedOn);
            self.complain(reading, index, &callee.components, callee.in_process);
            for id in callee.components {
                mark(&mut reading.touches, id, state, depth);
                reading.errors.push((id, error.clone()));
            }
            return;
        }
        reading.blame_visit(index, State::Raised, error);
    }

    /// Calls that went well and that nobody answered in spans: peers without instrumentation.
    fn touch_dependencies(&mut self, reading: &mut Reading<'_>, counts: &mut Counts) {
        for position in 0..reading.hops.order.len() {
            let index = reading.hops.order[position];
            let span = &reading.trace.spans()[index];
            let bare = span.kind == SpanKind::Client
                && !reading.hops.answered[index]
                && !reading.hops.wraps_call[index];
            if !bare || reading.failed[index].is_some() {
                continue;
            }
            let Some(meant) = self.callee(reading, index, counts) else {
                continue;
            };
            let [id] = meant.components[..] else { continue };
            let mut timed = id;
            // An instrumented callee whose spans are missing was not seen: that isn't fine. But how
            // long it took is known.
            if self.registry.info(id).component.level == Level::Dependency {
                let depth = reading.depth(index).saturating_add(1);
                mark(&mut reading.touches, id, State::Touched, depth);
            } else {
                timed = self.usual_operation(reading, span).unwrap_or(id);
            }
            reading.calls.push(index);
            reading.works.push(Work {
                component: timed,
                own_nanos: nanos(span),
                hop: None,
                asked: Vec::new(),
                last: None,
            });
        }
    }

    /// Whom each visit asked, in which order. Calls that nobody answered are known by whom the same
    /// call usually reaches.
    fn note_callees(&mut self, reading: &mut Reading<'_>) {
        let trace = reading.trace;
        let spans = trace.spans();
        let operation = |reading: &Reading<'_>, visit: usize| {
            reading.work_of[visit].map(|work| reading.works[work].component)
        };
        for visit in 0..reading.hops.visits.len() {
            if let Some((from, gap_nanos, there_nanos)) = reading.hops.visits[visit].way
                && let (Some(work), Some(caller)) =
                    (reading.work_of[visit], operation(reading, from))
            {
                reading.works[work].hop = Some(Hop {
                    caller,
                    gap_nanos,
                    there_nanos,
                });
            }
        }
        let mut calls: Vec<(UnixNanos, usize, u32)> = Vec::new();
        for position in 0..reading.hops.order.len() {
            let index = reading.hops.order[position];
            let span = &spans[index];
            let Some(visit) = reading.hops.visit_of[index] else {
                continue;
            };
            let above = trace.parent(index).and_then(|parent| {
                let caller = reading.hops.visit_of[parent]?;
                (caller != visit).then_some((parent, caller))
            });
            if let (Some((parent, caller)), Some(id)) = (above, operation(reading, visit)) {
                calls.push((span.start, caller, id));
                let (service, name) = (&spans[parent].resource.service, &spans[parent].name);
                match self.usual.page(service, name) {
                    Some(page) => {
                        self.usual.write(page, id);
                        reading.trail.reached.push((page, id));
                    }
                    None => reading.trail.single = true,
                }
            }
            let unanswered =
                is_call(span) && !reading.hops.answered[index] && !reading.hops.wraps_call[index];
            if unanswered && let Some(id) = self.usual_operation(reading, span) {
                calls.push((span.start, visit, id));
            }
        }
        calls.sort_unstable();
        for (_, caller, id) in calls {
            if let Some(work) = reading.work_of[caller] {
                let work = &mut reading.works[work];
                work.last = Some(id);
                if let Err(at) = work.asked.binary_search(&id) {
                    work.asked.insert(at, id);
                }
            }
        }
    }

    /// Of a request that took too long: who took more than usual.
    fn blame_slowness(&self, reading: &mut Reading<'_>) {
        let excess: Vec<(usize, f64)> = reading
            .works
            .iter()
            .enumerate()
            .map(|(at, work)| {
                let usual = self
                    .own
                    .get(work.component as usize)
                    .and_then(|own| own.quantile(Probability::clamped(0.5)))
                    .unwrap_or(0);
                (at, work.own_nanos.saturating_sub(usual) as f64)
            })
            .collect();
        let largest = excess.iter().map(|(_, x)| *x).fold(0.0, f64::max);
        if largest <= 0.0 {
            return;
        }
        for (at, excess) in excess {
            if excess < largest * SHARE_OF_LARGEST_EXCESS {
                continue;
            }
            let id = reading.works[at].component;
            let visit = reading.members.iter().position(|m| m.contains(&id));
            match visit {
                Some(visit) => {
                    let entry = reading.hops.visits[visit].entry;
                    reading.mark_visit(entry, State::Slow);
                    self.complain_about_wait(reading, visit, entry);
                }
                None => mark(&mut reading.touches, id, State::Slow, 0),
            }
        }
    }
}

impl Reading<'_> {
    fn mark_visit(&mut self, index: usize, state: State) {
        if let Some(visit) = self.hops.visit_of[index] {
            let depth = self.hops.visits[visit].depth;
            for id in &self.members[visit] {
                mark(&mut self.touches, *id, state, depth);
            }
        }
    }

    fn blame_visit(&mut self, index: usize, state: State, error: &Name) {
        self.mark_visit(index, state);
        if let Some(visit) = self.hops.visit_of[index] {
            for id in &self.members[visit] {
                self.errors.push((*id, error.clone()));
            }
        }
    }

    /// Below a call that was given up though its callee lives: the visit in which most of the time
    /// was spent. `None` when the callee was quick, so that something else was wrong.
    fn slowest_below(&mut self, call: usize, answer: usize) -> Option<usize> {
        self.trail.single = true;
        let spans = self.trace.spans();
        if (nanos(&spans[answer]) as f64) < nanos(&spans[call]) as f64 * SHARE_OF_WAIT {
            return None;
        }
        let mut at = answer;
        loop {
            let children = self.trace.children(at).iter().copied();
            let most = children
                .max_by_key(|child| nanos(&spans[*child]))
                .filter(|child| {
                    nanos(&spans[*child]) as f64 >= nanos(&spans[at]) as f64 * SHARE_OF_WAIT
                });
            match most {
                Some(child) => at = child,
                None => return Some(at),
            }
        }
    }

    /// Which spans say how long each work took.
    fn timings(&self) -> Vec<Timing> {
        let visits = self.hops.visits.iter().zip(&self.work_of);
        let visits = visits.filter(|(_, work)| work.is_some());
        let calls = self.calls.iter().map(|call| Timing {
            entry: *call as u32,
            ..Timing::default()
        });
        visits
            .map(|(visit, _)| visit.timing.clone())
            .chain(calls)
            .collect()
    }

    fn depth(&self, index: usize) -> u8 {
        self.hops.visit_of[index].map_or(0, |visit| self.hops.visits[visit].depth)
    }

    fn in_process(&self, call: usize, callee: usize) -> bool {
        let spans = self.trace.spans();
        together(&spans[call], &spans[callee])
    }

    /// The caller, as others know it: its service, and for a callee in the same process
    /// `COMPONENT of SERVICE`, where spans say the component.
    fn caller(&self, call: usize, in_process: bool) -> Name {
        let service = &self.trace.spans()[call].resource.service;
        let component = self.hops.visit_of[call]
            .and_then(|visit| self.hops.visits[visit].code_component.as_ref())
            .filter(|_| in_process);
        match component {
            Some(component) => format!("{component} of {service}").into(),
            None => service.clone(),
        }
    }
}

/// Whether each span hangs below one that names no parent, and not below a lost one.
fn below_root(trace: &Trace) -> Vec<bool> {
    let spans = trace.spans();
    let mut below = vec![false; spans.len()];
    let mut waiting: Vec<usize> = (0..spans.len())
        .filter(|index| spans[*index].parent_id.is_none())
        .collect();
    while let Some(index) = waiting.pop() {
        below[index] = true;
        waiting.extend(trace.children(index));
    }
    below
}

fn mark(touches: &mut BTreeMap<u32, (State, u8)>, id: u32, state: State, depth: u8) {
    let touch = touches.entry(id).or_insert((state, depth));
    touch.0 = touch.0.max(state);
    touch.1 = touch.1.min(depth);
}
