//! The one door of the room: what happened goes in, incidents and rankings come out.
//!
//! Here is what comes in; what time does to it is in `analyzer/time.rs`, and what is asked of it in `analyzer/asked.rs`.

mod asked;
mod time;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rekindle_stats::LogHistogram;

use rekindle_model::{
    Name, Notice, Outcome, OutcomeReport, Outline, OutlineBuffer, Shape, Span, SpanKind, Trace,
    TraceId, UnixNanos,
};

use crate::causes::Causes;
use crate::detect::TypeDetector;
use crate::examples::ExampleStore;
use crate::fence::Fences;
use crate::hidden::Hidden;
use crate::observe::Observer;
use crate::outcome::failure;
use crate::paths::{Path, Paths, Reading};
use crate::profile::{Profiles, Sampling};
use crate::records::{Record, RecordNumber, Records, outcome_of};
use crate::request::{Requests, TraceKind};
use crate::rollouts::Rollouts;
use crate::sampling::{Samplings, StandsFor};
use crate::sources::{Laid, Sources};
use crate::spectrum::{Cell, Spectrum};
use crate::types::{Pause, Types};
use crate::watch::Watch;
use crate::{AnalysisConfig, Counts, LeftOut};

/// How far ahead of us a clock may be: those that are kept by NTP agree to a fraction of this. Further ahead
/// it is wrong, since nothing arrives before it ends, and the time of arrival is taken.
const CLOCK_AHEAD: Duration = Duration::from_secs(1);
/// Rates that are shown are over the last half minute: long enough to be calm, short enough to be
/// now.
const SHOWN_RATE: Duration = Duration::from_secs(30);
/// Tables are tidied up when they are this full.
const TIDY_AT: (usize, usize) = (3, 4);

/// Incidents whose sums are kept: each costs what a ranking's input does. Faults of more causes than this are hardly
/// ever open at a time, and the others' sums are added up anew for each ranking.
const FOLLOWED: usize = 4;

/// Tidying up rests for so long: when all that is remembered is in use, looking through it again at
/// once would find the same.
const TIDY_RESTS: Duration = Duration::from_secs(10);
/// Things that are counted may be so many times the distinct rows: a row has a dozen components, and
/// for most of them four times are measured.
const COUNTED_PER_ROW: usize = 16;

pub use asked::{RatePoint, RequestTypeSummary};

/// The analysis of one system.
#[derive(Debug)]
pub struct Analyzer {
    config: AnalysisConfig,
    counts: Counts,
    requests: Requests,
    types: Types,
    observer: Observer,
    paths: Paths,
    spectrum: Spectrum,
    profiles: Profiles,
    records: Records,
    waiting_reports: BTreeMap<TraceId, OutcomeReport>,
    fences: Fences,
    rollouts: Rollouts,
    /// How many requests of each slice are fenced.
    fenced: BTreeMap<u64, u64>,
    examples: ExampleStore,
    /// Memory for the outlines of traces that come whole.
    buffer: OutlineBuffer,
    watch: Watch,
    hidden: Hidden,
    samplings: Samplings,
    cut: u64,
    now: UnixNanos,
    /// When names and rows were last tidied up.
    tidied: UnixNanos,
    /// The slice of when what open incidents ask was last added up.
    followed: u64,
    /// What was laid out for their next rankings.
    laid: BTreeMap<u64, Laid>,
    /// The start of the newest and of the oldest request.
    newest: UnixNanos,
    oldest: Option<UnixNanos>,
}

impl Analyzer {
    /// An analysis that has seen nothing yet.
    pub fn new(config: AnalysisConfig) -> Self {
        Self {
            counts: Counts::default(),
            requests: Requests::new(&config.health_routes),
            types: Types::watched_by(TypeDetector::new),
            observer: Observer::new(&config),
            paths: Paths::new(),
            spectrum: Spectrum::new(config.max_rows),
            profiles: Profiles::new(
                config.max_rows,
                config.max_rows * COUNTED_PER_ROW,
                Sampling {
                    most: config.max_measured,
                    seed: config.sampling_seed,
                },
            ),
            records: Records::new(config.max_records),
            waiting_reports: BTreeMap::new(),
            fences: Fences::new(config.max_interventions),
            rollouts: Rollouts::default(),
            fenced: BTreeMap::new(),
            examples: ExampleStore::new(config.max_example_spans),
            buffer: OutlineBuffer::default(),
            watch: Watch::default(),
            hidden: Hidden::default(),
            samplings: Samplings::default(),
            cut: 0,
            now: UnixNanos::default(),
            tidied: UnixNanos::default(),
            followed: 0,
            laid: BTreeMap::new(),
            newest: UnixNanos::default(),
            oldest: None,
            config,
        }
    }

    /// Reads each request by itself from now on.
    #[cfg(test)]
    pub(crate) fn forget_paths(&mut self) {
        self.paths.off = true;
    }

    /// The configuration in force.
    pub fn config(&self) -> &AnalysisConfig {
        &self.config
    }

    /// Says up to which journal position everything has been handed in; rankings carry it.
    pub fn cut_at(&mut self, position: u64) {
        self.cut = self.cut.max(position);
    }

    /// Takes one span as it arrives, before its trace is complete. An entry span says at once how
    /// its request ended. The same span may come again with its trace.
    pub fn span(&mut self, span: &Span, now: UnixNanos) {
        self.notice(&span.into(), now);
    }

    /// The same of several, of which only that is needed: what is needed for all of them is looked for before the
    /// first is taken.
    pub fn notices(&mut self, notices: &[Notice<'_>], now: UnixNanos) {
        let roots = notices.iter().filter(|notice| notice.is_root);
        let mut count = 0;
        for root in roots {
            self.records.look_ahead(root.trace_id);
            count += 1;
        }
        self.records.look_ahead_to_forget(count);
        for notice in notices {
            self.notice(notice, now);
        }
    }

    fn notice(&mut self, span: &Notice<'_>, now: UnixNanos) {
        let is_sole_entry = Requests::is_sole_entry(span);
        let requests = &mut self.requests;
        let shape = span.shape;
        let is_user = self.paths.with_shape(shape, |known| {
            if !known.learned {
                known.learned = true;
                requests.learn(shape);
            }
            let is_health_check = &mut known.health_check;
            is_sole_entry
                && !*is_health_check.get_or_insert_with(|| requests.is_health_check(shape))
        });
        if is_user && self.records.find(span.trace_id).is_none() {
            self.enter(span, now);
        }
    }

    /// Takes one assembled trace. Its entry is counted if it wasn't before.
    pub fn trace(&mut self, trace: &Trace, now: UnixNanos) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outline = buffer.of(trace);
        self.take(&outline, Some(trace), now);
        self.buffer = buffer;
    }

    /// The same of one in numbers, as the assembler lets it go: a whole trace is made of it only where
    /// none like it came before, or somebody may want to look at it.
    pub fn outline(&mut self, outline: &Outline<'_>, now: UnixNanos) {
        self.take(outline, None, now);
    }

    /// The same of several: what is needed for all of them is looked for before the first is taken.
    pub fn outlines(&mut self, outlines: &[Outline<'_>], now: UnixNanos) {
        for outline in outlines {
            self.records.look_ahead(outline.trace_id());
        }
        self.paths.look_ahead(outlines);
        for outline in outlines {
            self.outline(outline, now);
        }
    }

    fn take(&mut self, outline: &Outline<'_>, trace: Option<&Trace>, now: UnixNanos) {
        let mut whole = Whole {
            outline,
            trace: trace.map(Cow::Borrowed),
        };
        let Some((request_type, bad)) = self.judge(&mut whole, now) else {
            return;
        };
        let start = outline.steps()[0].start;
        if self.examples.wants(start, request_type, bad) {
            let trace = whole.into_trace();
            self.examples
                .add(trace, request_type, bad, &mut self.counts);
        }
    }

    /// Counts the trace, and says of which type its request is and whether its user was let down;
    /// `None` when it isn't counted.
    fn judge(&mut self, whole: &mut Whole<'_>, now: UnixNanos) -> Option<(u32, bool)> {
        let outline = whole.outline;
        let path = self.paths.look(outline);
        let entry = match &path {
            Some(Path::LeftOut(why)) => Err(*why),
            Some(Path::Request { entry, user, .. })
                if user.as_ref().is_none_or(|user| !self.requests.serves(user)) =>
            {
                Ok(*entry)
            }
            _ => self.classify(whole.trace()),
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                self.counts.add(why);
                return None;
            }
        };
        let known = self.records.find(outline.trace_id());
        let Some(number) = known.or_else(|| self.enter(&entry_at(outline, entry), now)) else {
            self.counts.add(LeftOut::OutsideWindow);
            return None;
        };
        let record = self.records.at(number);
        if record.row.is_some() {
            self.counts.add(LeftOut::Repeated);
            return None;
        }
        let asked = Asked {
            request_type: record.request_type,
            seen: record.seen,
            stands_for: record.stands_for,
            start: record.start,
            end: record.end,
        };
        let reading = self.read(whole, entry, asked, path.as_ref(), now);
        Some(self.count(outline, number, &reading))
    }

    /// Finds the request's entry, or why it isn't one, and remembers that for its path where it is
    /// for good.
    fn classify(&mut self, trace: &Trace) -> Result<usize, LeftOut> {
        for span in trace.spans() {
            self.requests.learn(span);
        }
        let entry = match self.requests.classify(trace) {
            TraceKind::Request(entry) if self.requests.is_health_check(&trace.spans()[entry]) => {
                Err(LeftOut::HealthCheck)
            }
            TraceKind::Request(entry) => Ok(entry),
            TraceKind::Background => Err(LeftOut::Background),
            TraceKind::NoEntry => Err(LeftOut::NoEntry),
        };
        // A user that turns out to serve others was none: then it is asked anew.
        if let Err(why) = entry
            && (why != LeftOut::HealthCheck || user_of(trace).is_none())
            && self.paths.is_worth_it()
        {
            self.paths.remember(Path::LeftOut(why));
        }
        entry
    }

    /// What the request says about components: as another one on its path did, if that holds.
    fn read(
        &mut self,
        whole: &mut Whole<'_>,
        entry: usize,
        asked: Asked,
        path: Option<&Path>,
        now: UnixNanos,
    ) -> Arc<Reading> {
        let Asked {
            request_type,
            seen,
            stands_for,
            ..
        } = asked;
        let fences = self.fences_stamp();
        let mut learned = None;
        if let Some(path @ Path::Request { first, .. }) = path {
            let version = self.observer.version();
            let held = |reading: &Arc<Reading>| reading.held_at.load(Ordering::Relaxed) == version;
            let lessons = &first.trail.lessons;
            // Lessons that were learned then are known, as long as nothing else was learned.
            let mut is_for_good = true;
            if !path.readings().any(held) {
                for lesson in lessons {
                    is_for_good &= self.observer.book.repeat(lesson, &mut self.counts);
                }
            }
            // What took too long is measured by what is usual by now.
            let holds = |reading: &&Arc<Reading>| {
                seen != Outcome::Slow
                    && reading.fences == fences
                    && self.observer.still_says(reading)
            };
            if let Some(reading) = path.readings().find(holds) {
                // Lessons that were news may be so once more.
                if is_for_good && self.observer.version() == version {
                    reading.held_at.store(version, Ordering::Relaxed);
                }
                for (page, operation) in &reading.trail.reached {
                    self.observer.usual.write(*page, *operation);
                }
                return Arc::clone(reading);
            }
            learned = Some(lessons.clone());
        }
        let on_path = learned.is_some();
        let trace = whole.trace();
        let mut counts = Counts::default();
        let requests = &mut self.requests;
        // As of before: what becomes known while it is read may say otherwise.
        let version = self.observer.registry.version();
        let known = self.observer.registry.len();
        let observed = self
            .observer
            .observe(trace, entry, seen, learned, requests, &mut counts);
        let registry = &self.observer.registry;
        for component in registry.met_since(known) {
            if let Some(rollout) = self
                .rollouts
                .appears(component, asked.start, asked.end, now)
            {
                self.fences.see(rollout, &mut self.counts);
            }
        }
        let touched = self
            .fences
            .touched(request_type, &observed.row, trace, registry);
        let version = observed.trail.missed.then_some(version);
        // What the address book can't learn is counted where it is taught, also when a path is known.
        let addresses = LeftOut::AddressOverflow;
        self.counts.add_many(addresses, counts.get(addresses));
        let row = self.spectrum.intern(observed.row, &mut counts);
        let cell = row.map(|row| Cell {
            request_type,
            row,
            outcome: outcome_of(seen, observed.failed_inside),
            judged: false,
            stands_for,
        });
        let left_out = counts.iter().filter(|(why, _)| *why != addresses);
        let mut reading = Reading {
            works: Vec::with_capacity(observed.works.len()),
            course: None,
            ways_out: Vec::new(),
            row,
            failed_inside: observed.failed_inside,
            cell: cell.map(|cell| (cell, self.spectrum.number(cell))),
            trail: observed.trail,
            again: observed.again,
            registry: version,
            touched,
            fences,
            held_at: AtomicU64::new(u64::MAX),
            left_out: left_out.collect(),
        };
        for (work, timing) in observed.works.iter().zip(&observed.timings) {
            let places = self.profiles.places(request_type, work);
            reading.add(work.component, timing, places);
        }
        let may_be_said_again = seen != Outcome::Slow && !reading.trail.single;
        let is_remembered = may_be_said_again && (on_path || self.paths.is_worth_it());
        if is_remembered {
            let places = reading.works.iter().map(|work| work.places);
            reading.course = self.profiles.course(places.collect());
        }
        let reading = Arc::new(reading);
        if is_remembered {
            if on_path {
                self.paths.remember_reading(&reading);
            } else {
                let path = Path::request(entry, &reading, user_of(trace));
                self.paths.remember(path);
            }
        }
        reading
    }

    /// Counts a request that was entered, and what its trace says. Of which type it is, and whether
    /// its user was let down.
    fn count(
        &mut self,
        outline: &Outline<'_>,
        number: RecordNumber,
        reading: &Reading,
    ) -> (u32, bool) {
        for (why, count) in &reading.left_out {
            self.counts.add_many(*why, *count);
        }
        let slice_nanos = self.slice_nanos();
        let record = self.records.at(number);
        record.failed_inside = reading.failed_inside;
        for intervention in &reading.touched {
            record.touch(intervention.clone());
        }
        record.fence(&self.fences);
        record.row = reading.row;
        let slice = record.start.0 / slice_nanos;
        if let Some(why) = record.fenced {
            self.counts.add(why);
            if why == LeftOut::Fenced {
                *self.fenced.entry(slice).or_default() += 1;
            }
        }
        match (record.cell(), reading.cell) {
            (Some(cell), Some((known, number))) if cell == known => {
                self.spectrum.add_numbered(slice, number);
            }
            (Some(cell), _) => self.spectrum.add(slice, cell),
            (None, _) => {}
        }
        let bad = record.outcome().is_bad();
        let state = self.types.get_mut(record.request_type);
        let is_fenced = record.fenced.is_some();
        state.set_apart(record.start, None, record.apart());
        // Its entry was counted before anybody knew what it would touch.
        let taken_back = record.detected.take_if(|_| record.not_by_restart);
        if let Some(bad) = taken_back {
            state.detector.take_back(slice, bad);
        }
        let calm = state.incident.is_none() && !is_fenced && !bad;
        if calm {
            state.learn_duration(record.end.since(record.start));
        }
        let request_type = record.request_type;
        if !is_fenced {
            self.count_hidden(number, reading, slice);
            self.measure(outline, slice, request_type, reading, calm);
        }
        // Without what ended well the share of the others is greater.
        if taken_back == Some(false) {
            self.look(request_type, self.now);
        }
        (request_type, bad)
    }

    /// Counts what users don't see of a request that is evidence.
    fn count_hidden(&mut self, number: RecordNumber, reading: &Reading, slice: u64) {
        self.hidden.keep_up_with(&self.types, &self.config);
        let record = self.records.at(number);
        if self
            .fences
            .may_cover(record.request_type, record.start, record.end)
        {
            return;
        }
        self.hidden.count(record, reading.again, slice);
        if record.outcome() != Outcome::Masked {
            return;
        }
        let causes = Causes {
            spectrum: &self.spectrum,
            registry: &self.observer.registry,
            config: &self.config,
            masked: true,
        };
        let id = record.request_type;
        self.hidden.look(id, &mut self.watch, self.now, causes);
    }

    /// Counts how long the request's visits took.
    fn measure(
        &mut self,
        outline: &Outline<'_>,
        slice: u64,
        request_type: u32,
        reading: &Reading,
        calm: bool,
    ) {
        let (profiles, observer) = (&mut self.profiles, &mut self.observer);
        let spent = reading.spent(outline.steps());
        let course = reading.course.filter(|_| profiles.is_recent(slice));
        if let Some(course) = course {
            let (id, counts) = (outline.trace_id(), &mut self.counts);
            if let Some(measuring) = profiles.count(slice, course, request_type, id, counts) {
                let stands_for = measuring.stands_for;
                let times = spent.map(|(work, spent)| (work.places, spent));
                measuring.take(times, |work, own| {
                    if calm {
                        let component = reading.works[work].component;
                        observer.learn_own_time(component, own, stands_for);
                    }
                });
            }
            return;
        }
        let visits = spent.map(|(work, spent)| {
            if calm {
                let own = LogHistogram::bucket_of(spent.own);
                observer.learn_own_time(work.component, own, 1);
            }
            (work.places, spent)
        });
        profiles.add(slice, visits, &mut self.counts);
    }

    /// As of when it is known which interventions touch what.
    fn fences_stamp(&self) -> (u64, u64) {
        match self.fences.is_empty() {
            true => (0, 0),
            false => (
                self.fences.version(),
                self.observer.registry.attributes_version(),
            ),
        }
    }

    /// Counts a request that isn't remembered by its entry span, if it lies in the window.
    fn enter(&mut self, entry: &Notice<'_>, now: UnixNanos) -> Option<RecordNumber> {
        let trace_id = entry.trace_id;
        let (mut start, mut end) = (entry.start, entry.end);
        let took = end.since(start);
        if end > now.plus(CLOCK_AHEAD) {
            // Its host's clock is wrong, and how long it took isn't: left out, it would be a host whose
            // requests nobody watches.
            (start, end) = (now.minus(took), now);
        }
        if start < now.minus(self.config.window) {
            return None;
        }
        let (id, failed) = self.type_of(entry.shape);
        let slow = self
            .types
            .get(id)
            .slow_limit()
            .is_some_and(|limit| took > limit);
        let seen = match failed {
            true => Outcome::Failed,
            false if slow => Outcome::Slow,
            false => Outcome::Ok,
        };
        let sampling = entry.shape.facts.sampling;
        let mut record = Record::new(id, start, end, seen);
        record.stands_for = match StandsFor::of(sampling) {
            said if self.spectrum.cells() < self.config.max_rows * COUNTED_PER_ROW => said,
            said => said.coarse(),
        };
        if let Some(report) = self.waiting_reports.remove(&trace_id) {
            record.report(report.outcome, report.reporter);
        }
        // A clock that is a little ahead must not make the others' requests old.
        self.newest = self.newest.max(start.min(now));
        self.oldest = Some(self.oldest.map_or(start, |oldest| oldest.min(start)));
        let outcome = record.outcome();
        let is_bad = outcome.is_bad();
        let may_be_fenced = self.fences.may_cover(id, start, end);
        self.types.come(id, now, self.pause_before(id, start, end));
        if outcome.is_known() {
            let slice = self.slice(start);
            self.samplings.add(id, start, is_bad, sampling);
            let state = self.types.get_mut(id);
            state.count(start, is_bad);
            if !may_be_fenced {
                state.detector.add(slice, start, is_bad);
                record.detected = Some(is_bad);
            }
        }
        // An example whose record is gone can't be shown.
        let stays = |id| self.examples.get(id).is_some();
        let number = self.records.add(trace_id, record, stays, &mut self.counts);
        // A request that ended well is no reason for an alarm.
        if is_bad {
            self.look(id, now);
        }
        Some(number)
    }

    /// What explains that the request comes only now, if it comes late.
    fn pause_before(&self, id: u32, start: UnixNanos, end: UnixNanos) -> Pause {
        let state = self.types.get(id);
        let since = match state.came() {
            UnixNanos(0) => start,
            came => came.min(start),
        };
        if self.fences.may_cover(id, since, end) {
            Pause::Made
        } else if state.incident.is_some() {
            Pause::OfIncident
        } else {
            Pause::Usual
        }
    }

    /// The number of the request's type, and whether its entry span failed.
    fn type_of(&mut self, entry: &Arc<Shape>) -> (u32, bool) {
        let (requests, types) = (&mut self.requests, &mut self.types);
        let (config, counts) = (&self.config, &mut self.counts);
        self.paths.with_shape(entry, |known| {
            let failed = &mut known.failed;
            let failed = *failed.get_or_insert_with(|| failure(entry).is_some());
            if let Some(id) = known.request_type {
                return (id, failed);
            }
            let request_type = requests.request_type(entry);
            let left_out = counts.get(LeftOut::OtherRequestType);
            let id = types.intern(request_type, config, counts);
            // One for which there is no room is counted as such each time.
            if counts.get(LeftOut::OtherRequestType) == left_out {
                known.request_type = Some(id);
            }
            (id, failed)
        })
    }

    /// Takes what somebody outside says about one request; it may come before or after the trace.
    /// The last word counts.
    pub fn report(&mut self, report: OutcomeReport, now: UnixNanos) {
        let trace_id = report.trace_id;
        let slice_nanos = self.slice_nanos();
        let Some(record) = self.records.get_mut(trace_id) else {
            if self.waiting_reports.len() >= self.config.max_waiting_reports {
                // Whose trace hasn't come within the window isn't waited for any more.
                let oldest = now.minus(self.config.window);
                self.waiting_reports.retain(|_, it| it.at >= oldest);
            }
            if self.waiting_reports.len() >= self.config.max_waiting_reports {
                self.counts.add(LeftOut::ReportOverflow);
            } else {
                self.waiting_reports.insert(trace_id, report);
            }
            return;
        };
        let (before, cell_before) = (record.outcome(), record.cell());
        let was_set_apart = record.apart();
        record.report(report.outcome, report.reporter);
        let (after, cell_after) = (record.outcome(), record.cell());
        let id = record.request_type;
        let start = record.start;
        let is_set_apart = record.apart();
        self.hidden.recount(record, start.0 / slice_nanos);
        let detected = record.detected;
        if detected.is_some() && after.is_known() {
            record.detected = Some(after.is_bad());
        }
        self.records.note_report(trace_id);
        let slice = self.slice(start);
        if let Some(cell) = cell_before {
            self.spectrum.remove(slice, cell);
        }
        if let Some(cell) = cell_after {
            self.spectrum.add(slice, cell);
        }
        let state = self.types.get_mut(id);
        state.set_apart(start, was_set_apart, is_set_apart);
        if before.is_known() {
            state.uncount(start, before.is_bad());
        }
        if after.is_known() {
            state.count(start, after.is_bad());
            if detected.is_some_and(|bad| bad != after.is_bad()) {
                state.detector.correct(slice, start, after.is_bad());
            }
            self.examples.correct(trace_id, id, after.is_bad());
        }
        self.look(id, now);
    }

    fn look(&mut self, request_type: u32, now: UnixNanos) {
        let causes = Causes {
            spectrum: &self.spectrum,
            registry: &self.observer.registry,
            config: &self.config,
            masked: false,
        };
        self.watch.look(&mut self.types, request_type, now, causes);
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            spectrum: &self.spectrum,
            profiles: &self.profiles,
            registry: &self.observer.registry,
            types: &self.types,
            hidden: self.hidden.types(),
            records: &self.records,
            samplings: &self.samplings,
            fences: &self.fences,
            fenced: self.fenced.values().sum(),
            examples: &self.examples,
            counts: &self.counts,
            config: &self.config,
        }
    }

    fn shown_seconds(&self) -> f64 {
        let known = self
            .oldest
            .map_or(Duration::ZERO, |oldest| self.newest.since(oldest));
        known.min(SHOWN_RATE).as_secs_f64().max(1.0)
    }

    fn slice_nanos(&self) -> u64 {
        u64::try_from(self.config.slice.as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    fn slice(&self, time: UnixNanos) -> u64 {
        time.0 / self.slice_nanos()
    }
}

/// What the span at this place of an outline says.
fn entry_at<'a>(outline: &Outline<'a>, place: usize) -> Notice<'a> {
    let step = &outline.steps()[place];
    Notice {
        trace_id: outline.trace_id(),
        is_root: step.parent_id.is_none(),
        start: step.start,
        end: step.end,
        shape: outline.shape(step),
    }
}

/// What was counted of a request by its entry span: its times are put right where its host's clock is wrong.
#[derive(Clone, Copy)]
struct Asked {
    request_type: u32,
    seen: Outcome,
    stands_for: StandsFor,
    start: UnixNanos,
    end: UnixNanos,
}

/// A trace in numbers, and the whole one as soon as somebody needs it.
struct Whole<'a> {
    outline: &'a Outline<'a>,
    trace: Option<Cow<'a, Trace>>,
}

impl Whole<'_> {
    fn trace(&mut self) -> &Trace {
        let outline = self.outline;
        self.trace
            .get_or_insert_with(|| Cow::Owned(outline.trace()))
    }

    fn into_trace(self) -> Trace {
        let outline = self.outline;
        self.trace.map_or_else(|| outline.trace(), Cow::into_owned)
    }
}

/// The service that the trace begins in with a call: a user's, unless it serves others.
fn user_of(trace: &Trace) -> Option<Name> {
    let root = &trace.spans()[trace.root()?];
    (root.kind == SpanKind::Client).then(|| root.resource.service.clone())
}
