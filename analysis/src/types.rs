//! Every request type: how often it is asked for, how it ends, how long it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;
use rekindle_model::{Name, RequestType, UnixNanos};
use rekindle_stats::{Arrivals, LogHistogram, Probability, Silence};

use crate::detect::TypeDetector;
use crate::missed::{Stops, Stretch, Told};
use crate::rates::{Ends, RATE_SLICE, Rates, rate_slice, slices_between};
use crate::records::Apart;
use crate::{AnalysisConfig, Counts, LeftOut};

/// A limit is learned from so many good requests. The 99th percentile of thirty is the longest of
/// them, which the factor below and the configured floor make safe enough to begin with.
const ENOUGH_DURATIONS: u64 = 30;
/// Slow is more than so many times the 99th percentile: beyond what a busy minute does to the tail.
const TIMES_USUAL: u64 = 3;
/// Durations halve at this count, so that what is usual follows the system.
const FADE_AT: u64 = 50_000;

/// A service that isn't heard for longer than so may be mute as a whole, or we deaf: such a time says
/// nothing about any of its types. Two rounds of the exporters' default delay.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// So long after a restart nothing is missed yet: what comes first takes longer than usual, and is heard of
/// up to two of the exporters' rounds later.
const WARM_UP: Duration = HEARD_WITHIN;

/// One request type.
#[derive(Debug)]
pub(crate) struct TypeState {
    pub(crate) request_type: RequestType,
    rates: Rates,
    /// Per rate slice: how many are no evidence.
    set_apart: BTreeMap<u64, Ends>,
    /// Of these, those that something else than a restart sets apart.
    not_by_restart: BTreeMap<u64, Ends>,
    durations: LogHistogram,
    configured_limit: Option<Duration>,
    slow_floor: Duration,
    pub(crate) detector: TypeDetector,
    /// How often it comes, by its service's clock.
    arrivals: Arrivals,
    /// When one came last.
    came: UnixNanos,
    /// Up to when it needn't have come: by the wall's clock, and its service's.
    excused: (UnixNanos, Duration),
    /// A pause that is no habit unless it turns out to have been nothing.
    held_pause: u64,
    /// The place of its service in [`Types::services`].
    service: usize,
    /// Requests that should have come since its incident began and did not, estimated.
    pub(crate) missing: f64,
    /// Its silences that became incidents.
    stops: Stops,
    /// The open incident that it is part of.
    pub(crate) incident: Option<u64>,
    /// Since when it fails in that incident, which others may have begun; says nothing outside of one.
    pub(crate) failing_since: UnixNanos,
    /// From when to when it was in incidents that it is in no more, oldest first.
    troubles: Vec<Stretch>,
}

/// What came before a request of a type that hadn't come for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Nothing that is known: a pause to get used to.
    Usual,
    /// An incident: it is no habit unless that turns out to have gone away by itself.
    OfIncident,
    /// Something that was done to what it needs, or our blindness: that says nothing of habits.
    Made,
}

impl TypeState {
    /// Requests that take longer are slow.
    pub(crate) fn slow_limit(&self) -> Option<Duration> {
        if self.configured_limit.is_some() {
            return self.configured_limit;
        }
        if self.durations.total() < ENOUGH_DURATIONS {
            return None;
        }
        let usual = self.durations.quantile(Probability::clamped(0.99))?;
        let limit = Duration::from_nanos(usual.saturating_mul(TIMES_USUAL));
        Some(limit.max(self.slow_floor))
    }

    pub(crate) fn learn_duration(&mut self, took: Duration) {
        self.durations
            .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if self.durations.total() > FADE_AT {
            self.durations.fade();
        }
    }

    /// It is in this incident from now on, and fails since then.
    pub(crate) fn begin_trouble(&mut self, incident: u64, since: UnixNanos) {
        self.end_trouble(since);
        self.incident = Some(incident);
        self.failing_since = since;
    }

    /// It is in no incident any more, and was well since then.
    pub(crate) fn end_trouble(&mut self, over: UnixNanos) {
        if self.incident.take().is_some() && self.failing_since < over {
            self.troubles.push((self.failing_since, over));
        }
    }

    /// From when to when it was in incidents: what came then isn't usual.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = Stretch> {
        let open = (self.failing_since, UnixNanos(u64::MAX));
        let open = self.incident.map(|_| open);
        self.troubles.iter().copied().chain(open)
    }

    /// When one came last.
    pub(crate) const fn came(&self) -> UnixNanos {
        self.came
    }

    /// Begins anew after an incident. If it went away `by_itself`, with nothing done about it, a silence in
    /// it was a pause as any other.
    pub(crate) fn reset(&mut self, by_itself: bool, now: UnixNanos, config: &AnalysisConfig) {
        self.stops.end(now);
        self.detector.reset(by_itself, config);
        let held = std::mem::take(&mut self.held_pause);
        if by_itself {
            self.arrivals.learn_pause(held);
        }
        self.missing = 0.0;
    }

    /// None has come since the last one, where so many a second used to. That is missed until the incident is over.
    pub(crate) fn stop(&mut self, silence: &Silence) {
        if !self.stops.is_open() {
            self.stops
                .begin(self.came, silence.likely, silence.burstiness);
        }
    }

    /// Forgets how often it should come: its time is over, as far as anybody can tell.
    pub(crate) fn let_go(&mut self) {
        self.arrivals.begin_anew();
    }

    pub(crate) fn count(&mut self, start: UnixNanos, bad: bool) {
        self.rates.add(start, bad);
    }

    pub(crate) fn uncount(&mut self, start: UnixNanos, bad: bool) {
        self.rates.remove(start, bad);
    }

    /// A request that began then was set apart as this, or not at all, and is so now.
    pub(crate) fn set_apart(&mut self, start: UnixNanos, was: Option<Apart>, is: Option<Apart>) {
        if was == is {
            return;
        }
        let slice = rate_slice(start);
        for (apart, is_one) in [(was, false), (is, true)] {
            let Some(apart) = apart else { continue };
            change(&mut self.set_apart, slice, apart.bad, is_one);
            if !apart.by_restart {
                change(&mut self.not_by_restart, slice, apart.bad, is_one);
            }
        }
    }

    /// Requests that ended badly and are evidence, of the slices that begin in `[from, until)`.
    pub(crate) fn failed(&self, from: UnixNanos, until: UnixNanos) -> u64 {
        self.evidence(from, until).1
    }

    /// Requests (ended well, badly) that are evidence, of the slices that begin in `[from, until)`.
    pub(crate) fn evidence(&self, from: UnixNanos, until: UnixNanos) -> Ends {
        less(self.ends(from, until), &self.set_apart, (from, until))
    }

    /// Requests (ended well, badly) of the slices that begin in `[from, until)`.
    pub(crate) fn ends(&self, from: UnixNanos, until: UnixNanos) -> (u64, u64) {
        self.rates.between(from, until)
    }

    /// Its requests (ended well, badly) in its incident so far, of those that began before this time. The slice before
    /// its failures began may have the first of them. What a deployment shook isn't the incident's; what failed while something
    /// was restarted is.
    pub(crate) fn ends_in_incident(&self, until: UnixNanos) -> (u64, u64) {
        let from = self.failing_since.minus(RATE_SLICE);
        less(self.ends(from, until), &self.not_by_restart, (from, until))
    }

    /// When the first request failed that began at this time or later; the time itself, where none did.
    pub(crate) fn first_failed(&self, from: UnixNanos) -> UnixNanos {
        self.rates.first_failed(from).unwrap_or(from)
    }

    /// The starts of the oldest and of the newest slice in the window in which any began.
    pub(crate) fn reach(&self) -> Option<(UnixNanos, UnixNanos)> {
        self.rates.reach()
    }

    /// (Start of the slice, ended well and badly), oldest first, of the last so many slices of this length in which any
    /// began.
    pub(crate) fn series(&self, slice: Duration, most: usize) -> Vec<(UnixNanos, Ends)> {
        self.rates.last(slice, most)
    }

    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        self.rates.forget_before(time);
        for apart in [&mut self.set_apart, &mut self.not_by_restart] {
            *apart = apart.split_off(&rate_slice(time));
        }
        self.stops.forget_before(time);
        self.troubles.retain(|(_, over)| *over >= time);
    }

    /// Whether anything of it is left in the window.
    pub(crate) fn is_quiet(&self) -> bool {
        self.rates.is_empty()
    }
}

/// Counts one more that began in this slice, or one less.
fn change(counts: &mut BTreeMap<u64, Ends>, slice: u64, bad: bool, is_one: bool) {
    let ends = counts.entry(slice).or_default();
    let side = if bad { &mut ends.1 } else { &mut ends.0 };
    *side = match is_one {
        true => *side + 1,
        false => side.saturating_sub(1),
    };
}

/// All of a stretch less those that are counted for themselves.
fn less(all: Ends, apart: &BTreeMap<u64, Ends>, (from, until): Stretch) -> Ends {
    let apart = apart.range(slices_between(from, until));
    apart.fold(all, |sum, (_, apart)| {
        (sum.0.saturating_sub(apart.0), sum.1.saturating_sub(apart.1))
    })
}

/// All request types by number.
#[derive(Debug)]
pub(crate) struct Types {
    // Only looked up, never iterated.
    ids: HashMap<RequestType, u32>,
    states: Vec<TypeState>,
    /// The services that requests enter by.
    services: Vec<Heard>,
    // Only looked up, never iterated.
    service_ids: HashMap<Name, usize>,
    /// What watches each of them.
    detector: fn(&AnalysisConfig) -> TypeDetector,
}

/// A service by which requests enter. Its clock stands still while it isn't heard at all.
#[derive(Debug, Default)]
struct Heard {
    at: UnixNanos,
    clock: Duration,
    /// The stretches in the window in which its clock stood still. Each is longer than [`HEARD_WITHIN`].
    still: Vec<Stretch>,
}

impl Types {
    /// None yet. Each will be watched by such a detector.
    pub(crate) fn watched_by(detector: fn(&AnalysisConfig) -> TypeDetector) -> Self {
        Self {
            ids: HashMap::new(),
            states: Vec::new(),
            services: Vec::new(),
            service_ids: HashMap::new(),
            detector,
        }
    }

    /// A request of this type came now, after such a pause.
    pub(crate) fn come(&mut self, id: u32, now: UnixNanos, before: Pause) {
        let state = &mut self.states[id as usize];
        let heard = &mut self.services[state.service];
        let silent = now.since(heard.at);
        if silent <= HEARD_WITHIN {
            heard.clock += silent;
        } else if heard.at > UnixNanos::default() {
            heard.still.push((heard.at, now));
        }
        heard.at = heard.at.max(now);
        state.came = state.came.max(now);
        let pause = state.arrivals.add(heard.clock.as_secs());
        match before {
            Pause::Usual => state.arrivals.learn_pause(pause),
            Pause::OfIncident => state.held_pause = state.held_pause.max(pause),
            Pause::Made => {}
        }
    }

    /// Forgets what was before this time.
    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        for state in &mut self.states {
            state.forget_before(time);
        }
        for heard in &mut self.services {
            heard.still.retain(|(_, until)| *until >= time);
        }
    }

    /// How those requests of this type fared that began in `[from, until)`, or should have. Where it had stopped, one
    /// and the same time is asked for those that came and those that did not: up to when telemetry is `complete`, and not
    /// while its service isn't heard, nor in these shadows and a warm-up after them.
    pub(crate) fn told(
        &self,
        id: u32,
        (from, until): Stretch,
        complete: UnixNanos,
        shadows: impl Iterator<Item = Stretch>,
    ) -> Told {
        let state = self.get(id);
        if !state.stops.reach_into((from, until)) {
            return Told::seen(state.ends(from, until));
        }
        let until = until.min(complete);
        let heard = &self.services[state.service];
        let mut holes = heard.still.clone();
        if until.since(heard.at) > HEARD_WITHIN {
            holes.push((heard.at, until));
        }
        holes.extend(shadows.map(|(from, until)| (from, until.plus(WARM_UP))));
        state.stops.told((from, until), &holes, |(from, until)| {
            state.ends(from, until)
        })
    }

    /// None of this type needed to come up to this time, which isn't after now: something was done to what it
    /// needs, or we were blind. Whoever learns of that late says so late.
    pub(crate) fn excuse(&mut self, id: u32, until: UnixNanos) {
        let state = &mut self.states[id as usize];
        if until > state.excused.0 {
            let clock = self.services[state.service].clock;
            state.excused = (until, clock.saturating_add(WARM_UP));
        }
    }

    /// What it says that none of this type came lately, as long as its service was heard; `None` where it
    /// says nothing.
    pub(crate) fn silence(&self, id: u32) -> Option<Silence> {
        let state = self.get(id);
        let clock = self.services[state.service].clock.as_secs();
        let (_, excused) = state.excused;
        state.arrivals.silence_after(excused.as_secs(), clock)
    }

    /// The type's number. Types beyond the bound share one (counted): an operation `other` of all
    /// services.
    pub(crate) fn intern(
        &mut self,
        request_type: RequestType,
        config: &AnalysisConfig,
        counts: &mut Counts,
    ) -> u32 {
        if let Some(id) = self.ids.get(&request_type) {
            return *id;
        }
        let mut request_type = request_type;
        if self.states.len() + 1 >= config.max_request_types {
            counts.add(LeftOut::OtherRequestType);
            request_type = RequestType {
                service: "other".into(),
                operation: "other".into(),
            };
            if let Some(id) = self.ids.get(&request_type) {
                return *id;
            }
        }
        let id = self.states.len() as u32;
        let configured_limit = config
            .slow_limits
            .iter()
            .filter(|limit| limit.service == request_type.service.as_str())
            .filter(|limit| {
                let operation = limit.operation.as_deref();
                operation.is_none_or(|operation| operation == request_type.operation.as_str())
            })
            // The one that names the operation goes before the one for the whole service.
            .max_by_key(|limit| limit.operation.is_some())
            .map(|limit| limit.limit);
        let services = &mut self.services;
        let service = self.service_ids.entry(request_type.service.clone());
        let service = *service.or_insert_with(|| {
            services.push(Heard::default());
            services.len() - 1
        });
        self.ids.insert(request_type.clone(), id);
        self.states.push(TypeState {
            request_type,
            rates: Rates::default(),
            set_apart: BTreeMap::new(),
            not_by_restart: BTreeMap::new(),
            durations: LogHistogram::default(),
            configured_limit,
            slow_floor: config.slow_floor,
            detector: (self.detector)(config),
            arrivals: Arrivals::default(),
            came: UnixNanos::default(),
            excused: (UnixNanos::default(), Duration::ZERO),
            held_pause: 0,
            service,
            missing: 0.0,
            stops: Stops::default(),
            incident: None,
            failing_since: UnixNanos::default(),
            troubles: Vec::new(),
        });
        id
    }

    pub(crate) fn find(&self, request_type: &RequestType) -> Option<u32> {
        self.ids.get(request_type).copied()
    }

    /// The numbers of these types that are known, ascending, each once; of all, where none is named.
    pub(crate) fn named(&self, types: &[RequestType]) -> Vec<u32> {
        if types.is_empty() {
            return (0..self.len()).collect();
        }
        let mut named: Vec<u32> = types.iter().filter_map(|it| self.find(it)).collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// How many types there are.
    pub(crate) fn len(&self) -> u32 {
        self.states.len() as u32
    }

    pub(crate) fn get(&self, id: u32) -> &TypeState {
        &self.states[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut TypeState {
        &mut self.states[id as usize]
    }

    /// The types that are part of this open incident.
    pub(crate) fn of_incident(&self, incident: u64) -> Vec<u32> {
        let of = self.iter();
        of.filter(|(_, state)| state.incident == Some(incident))
            .map(|(id, _)| id)
            .collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &TypeState)> {
        (0u32..).zip(&self.states)
    }

    /// Where each type stands among all, by number.
    pub(crate) fn places(&self) -> Vec<u32> {
        let mut order: Vec<usize> = (0..self.states.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (&self.states[*a], &self.states[*b]);
            a.request_type.cmp(&b.request_type)
        });
        let mut places = vec![0; order.len()];
        for (place, id) in (0..).zip(order) {
            places[id] = place;
        }
        places
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut TypeState)> {
        (0u32..).zip(&mut self.states)
    }
}
