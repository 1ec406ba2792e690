//! Who has been heard of, and who no longer is?
//!
//! What isn't seen isn't known to be healthy. When telemetry stops, counts and rates stand where they stood, and look as well
//! as ever. So each service has a patience of its own, which is learned from the pauses that it makes: whoever is silent
//! for longer is said to be, and what is shown of it is unknown from there on.
//!
//! This is for people, and opens no incident: requests that stop while their service is heard of are the analysis' to
//! notice, and a service that is silent as a whole may be its exporter, the way from it, or our own deafness.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_ingest::PackedSpans;
use rekindle_model::{Name, UnixNanos};

use crate::view::{HeardView, SilentView};

/// Nobody is silent before this: three of the exporters' usual delays of 5 s.
const LEAST_PATIENCE: Duration = Duration::from_secs(15);

/// Nobody is silent before so many of the longest pauses of late. Of pauses that are a matter of chance (Poisson) the longest of
/// fifty is some four times the mean, and twelve times the mean comes by chance once in 160,000 pauses.
const PAUSES: u32 = 3;

/// The longest pause is forgotten in some fifty, or as many seconds in which pauses are shorter.
const FADES: f64 = 0.98;

/// What comes within this time is one hearing: several exporters of a service send at once, and the pauses between
/// them say nothing about the next time.
const ONE_HEARING: Duration = Duration::from_secs(1);

/// Who has been silent for a day has left; whoever comes in the morning should still read what stopped at night.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How many services are remembered; names come from outside.
const MAX_SERVICES: usize = 1000;

/// Who was heard of fewer times has no habit that could be broken: a job that ran once, or a name that somebody made up.
const REGULAR: u32 = 3;

#[derive(Clone, Debug)]
struct Hearing {
    last: UnixNanos,
    /// The longest pause of late.
    pause: Duration,
    /// How many times it was heard of, as far as [`REGULAR`].
    times: u32,
    /// Whether its silence has been said.
    told: bool,
}

impl Hearing {
    const fn first(now: UnixNanos) -> Self {
        Self {
            last: now,
            pause: Duration::ZERO,
            times: 1,
            told: false,
        }
    }

    /// `since` is when we began to listen: our own absence is no pause of theirs.
    fn again(&mut self, since: UnixNanos, now: UnixNanos) {
        let pause = now.since(self.last.max(since));
        if pause >= ONE_HEARING {
            self.times = REGULAR.min(self.times + 1);
        }
        let hearings = pause.min(ONE_HEARING).as_secs_f64() / ONE_HEARING.as_secs_f64();
        let faded = self.pause.mul_f64(FADES.powf(hearings));
        // An outage isn't a habit, though what lasts longer and longer may become one.
        let learned = match pause >= ONE_HEARING {
            true => pause.min(2 * self.patience()),
            false => Duration::ZERO,
        };
        self.pause = faded.max(learned);
        self.last = self.last.max(now);
    }

    fn patience(&self) -> Duration {
        LEAST_PATIENCE.max(self.pause * PAUSES)
    }

    /// `since` is when we began to listen: whoever wasn't listened to wasn't silent.
    fn is_silent(&self, since: UnixNanos, now: UnixNanos) -> bool {
        now.since(self.last.max(since)) > self.patience()
    }
}

/// When each service was heard of last.
#[derive(Debug, Default)]
pub(super) struct Heard {
    services: BTreeMap<Name, Hearing>,
    anything: Option<Hearing>,
    /// How many found no room, or gave way to others.
    given_way: u64,
    listens_since: UnixNanos,
}

impl Heard {
    /// From here on exporters can reach us.
    pub(super) fn listens(&mut self, now: UnixNanos) {
        self.listens_since = now;
    }

    /// Spans came.
    pub(super) fn note(&mut self, spans: &PackedSpans, now: UnixNanos) {
        let mut before: Option<&Name> = None;
        for service in spans.services() {
            // Shapes of one service stand together mostly.
            if before == Some(service) {
                continue;
            }
            before = Some(service);
            match self.services.get_mut(service) {
                Some(known) => known.again(self.listens_since, now),
                None => self.first(service, now),
            }
        }
        match &mut self.anything {
            Some(anything) => anything.again(self.listens_since, now),
            None => self.anything = Some(Hearing::first(now)),
        }
    }

    fn first(&mut self, service: &Name, now: UnixNanos) {
        if self.services.len() >= MAX_SERVICES {
            // Names that are made up come once, and would push out just those who are silent.
            let least = |(_, hearing): &(&Name, &Hearing)| (hearing.times >= REGULAR, hearing.last);
            let least = self.services.iter().min_by_key(least);
            if let Some(least) = least.map(|(service, _)| service.clone()) {
                self.services.remove(&least);
                self.given_way += 1;
            }
        }
        self.services.insert(service.clone(), Hearing::first(now));
    }

    /// Since when this service isn't heard of any more.
    pub(super) fn silent_since(&self, service: &Name, now: UnixNanos) -> Option<UnixNanos> {
        let hearing = self.services.get(service)?;
        let is_silent = hearing.is_silent(self.listens_since, now) || self.is_all_silent(now);
        is_silent.then_some(hearing.last)
    }

    fn is_all_silent(&self, now: UnixNanos) -> bool {
        let all = self.anything.as_ref();
        all.is_some_and(|all| all.is_silent(self.listens_since, now))
    }

    /// Who is heard of, for people.
    pub(super) fn view(&self, now: UnixNanos) -> HeardView {
        let all_silent = self.is_all_silent(now);
        let last = self.anything.as_ref().map(|all| all.last);
        let mut silent: Vec<SilentView> = self
            .services
            .keys()
            .filter_map(|service| Some((service, self.silent_since(service, now)?)))
            .map(|(service, since)| SilentView {
                service: service.to_string(),
                since: since.into(),
                seldom: self.services[service].times < REGULAR,
            })
            .collect();
        silent.sort_by_key(|one| std::cmp::Reverse(one.since));
        HeardView {
            last: last.map(Into::into),
            nothing_since: last.filter(|_| all_silent).map(Into::into),
            silent,
            given_way: self.given_way,
        }
    }

    /// Writes each silence and its end into the log, once, and forgets who has left.
    pub(super) fn tell(&mut self, now: UnixNanos) {
        let since = self.listens_since;
        let is_all = self.is_all_silent(now);
        if let Some(all) = &mut self.anything
            && is_all != all.told
        {
            all.told = is_all;
            if is_all {
                let last = crate::view::UtcTime::from(all.last);
                tracing::warn!(%last, "nothing comes any more, from nobody: whether all is well is unknown");
            } else {
                tracing::info!("telemetry comes again");
            }
        }
        if is_all {
            // Said once for all of them, and remembered for as long as it lasts.
            return;
        }
        self.services
            .retain(|_, hearing| now.since(hearing.last) < FORGOTTEN_AFTER);
        for (service, hearing) in &mut self.services {
            let is_silent = hearing.is_silent(since, now);
            if is_silent == hearing.told {
                continue;
            }
            hearing.told = is_silent;
            if is_silent {
                let last = crate::view::UtcTime::from(hearing.last);
                tracing::warn!(%service, %last, "nothing comes from this service any more");
            } else {
                tracing::info!(%service, "this service is heard of again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rekindle_model::{Resource, Shape, Span, SpanId, TraceId};

    use super::*;

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos(0).plus(Duration::from_secs(1_000_000 + seconds))
    }

    fn from(service: &str) -> PackedSpans {
        let resource = Resource {
            service: Name::from(service),
            ..Resource::default()
        };
        let span = Span {
            trace_id: TraceId::from_bytes([1; 16]).expect("an id"),
            span_id: SpanId::from_bytes([1; 8]).expect("an id"),
            parent_id: None,
            parent_is_remote: None,
            start: at(0),
            end: at(0),
            shape: Arc::new(Shape {
                resource: Arc::new(resource),
                ..Shape::default()
            }),
            links: Box::default(),
        };
        [span].into_iter().collect()
    }

    fn silent(heard: &Heard, now: u64) -> (bool, Vec<String>) {
        let view = heard.view(at(now));
        let silent = view.silent.into_iter().map(|one| one.service).collect();
        (view.nothing_since.is_some(), silent)
    }

    #[test]
    fn silence_is_said_of_who_is_silent_and_of_all_when_all_are() {
        let mut heard = Heard::default();
        assert_eq!(heard.view(at(0)), HeardView::default());
        for second in 0..60 {
            heard.note(&from("web"), at(second));
            if second < 20 {
                heard.note(&from("catalog"), at(second));
            }
        }
        assert_eq!(silent(&heard, 30), (false, vec![]));
        assert_eq!(silent(&heard, 60), (false, vec!["catalog".to_owned()]));
        let both = vec!["web".to_owned(), "catalog".to_owned()];
        assert_eq!(silent(&heard, 90), (true, both));
        assert_eq!(heard.view(at(90)).nothing_since, Some(at(59).into()));
        assert_eq!(heard.silent_since(&Name::from("web"), at(90)), Some(at(59)));
        heard.note(&from("web"), at(91));
        assert_eq!(silent(&heard, 92), (false, vec!["catalog".to_owned()]));
        // Who has left is forgotten after a day; what has stopped altogether isn't.
        heard.note(&from("web"), at(100_000));
        heard.tell(at(100_001));
        assert_eq!(silent(&heard, 100_001), (false, vec![]));
        heard.tell(at(300_000));
        assert_eq!(silent(&heard, 300_000), (true, vec!["web".to_owned()]));
    }

    #[test]
    fn patience_is_learned_from_pauses_and_not_from_outages() {
        let mut heard = Heard::default();
        // Ten instances send at once, once a minute.
        for minute in 0..20 {
            for instance in 0..10 {
                let now = at(60 * minute).plus(Duration::from_millis(20 * instance));
                heard.note(&from("job"), now);
            }
        }
        assert_eq!(silent(&heard, 60 * 19 + 150), (false, vec![]));
        assert!(silent(&heard, 60 * 19 + 200).0);
        let mut heard = Heard::default();
        for second in (0..60).chain(3600..3660) {
            heard.note(&from("web"), at(second));
        }
        // An hour's outage makes it patient for a minute and a half at most.
        assert!(silent(&heard, 3660 + 100).0);
    }

    #[test]
    fn who_is_always_busy_forgets_outages_too() {
        let mut heard = Heard::default();
        // Five batches a second for ten minutes, and an hour of nothing, four times.
        for outage in 0..4 {
            for batch in 0..3_000 {
                let now = at(4_200 * outage).plus(Duration::from_millis(200 * batch));
                heard.note(&from("web"), now);
            }
        }
        let last = 4_200 * 3 + 600;
        assert_eq!(silent(&heard, last + 10), (false, vec![]));
        assert!(silent(&heard, last + 20).0);
    }

    #[test]
    fn our_own_absence_teaches_no_patience() {
        let mut heard = Heard::default();
        for second in 0..60 {
            heard.note(&from("web"), at(second));
        }
        heard.listens(at(3600));
        heard.note(&from("web"), at(3601));
        assert!(silent(&heard, 3601 + 20).0);
    }

    #[test]
    fn while_nobody_listened_nobody_was_silent() {
        let mut heard = Heard::default();
        for second in 0..60 {
            heard.note(&from("web"), at(second));
        }
        heard.listens(at(600));
        assert_eq!(silent(&heard, 610), (false, vec![]));
        assert!(silent(&heard, 620).0);
    }

    #[test]
    fn names_from_outside_don_t_fill_it() {
        let mut heard = Heard::default();
        for number in 0..2 * MAX_SERVICES as u64 {
            heard.note(&from(&format!("s{number}")), at(number));
        }
        assert_eq!(heard.services.len(), MAX_SERVICES);
        assert!(!heard.services.contains_key(&Name::from("s0")));
    }

    #[test]
    fn names_that_come_once_push_out_nobody_who_is_silent_and_are_no_news() {
        let mut heard = Heard::default();
        for second in 0..10 {
            heard.note(&from("web"), at(second));
        }
        for number in 0..2 * MAX_SERVICES as u64 {
            heard.note(&from(&format!("s{number}")), at(100 + number));
        }
        let view = heard.view(at(100 + 2 * MAX_SERVICES as u64));
        let regular = view.silent.iter().filter(|one| !one.seldom);
        let regular: Vec<&str> = regular.map(|one| one.service.as_str()).collect();
        assert_eq!(regular, ["web"]);
        assert_eq!(view.given_way, MAX_SERVICES as u64 + 1);
    }
}
