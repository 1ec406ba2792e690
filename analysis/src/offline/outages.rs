//! Was there another outage before the fault?
//!
//! What a type did in an incident is no example of what is usual, and of recorded traces nobody has said when that was.
//! So how requests before the fault ended is kept by the second, as little as that takes, and told to the same detection
//! as online, in the order of time. What it finds is left out when the traces are counted once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use rekindle_model::{Notice, RequestType, Resource, Shape, SpanKind, Status, TraceId, UnixNanos};

use crate::{AnalysisConfig, Analyzer};

/// A time in which the requests of a type failed more than usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The type.
    pub request_type: RequestType,
    /// When failures began, to the second.
    pub from: UnixNanos,
    /// When it was over; `None` where it went on for as long as there are requests.
    pub until: Option<UnixNanos>,
}

impl Outage {
    /// Whether what began then began in it.
    pub(super) fn holds(&self, start: UnixNanos) -> bool {
        self.from <= start && self.until.is_none_or(|until| start <= until)
    }
}

/// So many seconds of a pause pass: who was silent for longer has no incident any more.
const LONGEST_PAUSE: u64 = 600;

/// How requests ended, per type's number and second: those that ended well, and the others.
#[derive(Debug, Default)]
pub(super) struct Ends(HashMap<(u32, u64), [u64; 2]>);

impl Ends {
    /// A request of this type, which began then.
    pub(super) fn add(&mut self, request_type: u32, start: UnixNanos, bad: bool) {
        let second = start.as_millis() / 1_000;
        let ends = self.0.entry((request_type, second)).or_default();
        ends[usize::from(bad)] += 1;
    }

    /// The outages of these types, sorted.
    pub(super) fn outages(
        &self,
        name: impl Fn(u32) -> RequestType,
        config: &AnalysisConfig,
    ) -> Vec<Outage> {
        let mut by_type: BTreeMap<u32, BTreeMap<u64, [u64; 2]>> = BTreeMap::new();
        for ((request_type, second), ends) in &self.0 {
            let of_type = by_type.entry(*request_type).or_default();
            of_type.insert(*second, *ends);
        }
        let mut outages: Vec<Outage> = Vec::new();
        for (request_type, ends) in by_type {
            let failed: u64 = ends.values().map(|[_, bad]| bad).sum();
            // Most types' failures are too few, wherever they lie.
            if failed >= config.min_failed {
                outages.extend(outages_of(&name(request_type), &ends, config));
            }
        }
        outages.sort_by(|a, b| (a.from, &a.request_type).cmp(&(b.from, &b.request_type)));
        outages
    }
}

/// Tells the detection of requests that ended so in these seconds.
fn outages_of(
    request_type: &RequestType,
    ends: &BTreeMap<u64, [u64; 2]>,
    config: &AnalysisConfig,
) -> Vec<Outage> {
    let entry = |status| {
        Arc::new(Shape {
            kind: SpanKind::Server,
            name: request_type.operation.clone(),
            resource: Arc::new(Resource {
                service: request_type.service.clone(),
                ..Resource::default()
            }),
            status,
            ..Shape::default()
        })
    };
    let shapes = [entry(Status::Unset), entry(Status::Error)];
    let mut analyzer = Analyzer::new(config.clone());
    let mut known: BTreeMap<u64, Outage> = BTreeMap::new();
    let mut pass = |analyzer: &mut Analyzer, second: u64| {
        analyzer.tick(UnixNanos::from_secs(second));
        for incident in analyzer.incidents() {
            let outage = Outage {
                request_type: request_type.clone(),
                // Where in its second a request failed isn't known any more.
                from: UnixNanos::from_secs(incident.since.as_millis() / 1_000),
                until: incident.closed.map(|closing| closing.at),
            };
            known.insert(incident.id, outage);
        }
    };
    let mut passed = None;
    let mut number = 0u128;
    for (second, [ok, bad]) in ends {
        let first = passed.map_or(*second, |passed: u64| passed + 1);
        for second in first.max(second.saturating_sub(LONGEST_PAUSE))..=*second {
            pass(&mut analyzer, second);
        }
        passed = Some(*second);
        let all = ok + bad;
        let mut failed = 0;
        for place in 0..all {
            number += 1;
            let Some(trace_id) = TraceId::from_bytes(number.to_be_bytes()) else {
                continue;
            };
            // Evenly among the others.
            let fails = (place + 1) * bad / all > failed;
            failed += u64::from(fails);
            let start = UnixNanos(second * 1_000_000_000 + place * 1_000_000_000 / all);
            let notice = Notice {
                trace_id,
                is_root: true,
                start,
                end: start,
                shape: &shapes[usize::from(fails)],
            };
            analyzer.notices(&[notice], start);
        }
    }
    if let Some(last) = passed {
        pass(&mut analyzer, last + 1);
    }
    known.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{Method, rank};
    use crate::testing::{Call, T};
    use crate::{LeftOut, Offline, Ranking, Verdict};
    use rekindle_model::Trace;

    const BEGIN: u64 = 1_700_000_000;

    /// Ten of each of two pages a second; in some seconds the cart fails one in so many of the first.
    fn site(seconds: std::ops::Range<u64>, fails: impl Fn(u64) -> Option<u64>) -> Vec<Trace> {
        let request = |second: u64, n: u64| {
            let number = second * 20 + n;
            let page = ["GET /a", "GET /b"][n as usize % 2];
            let fails = fails(second).is_some_and(|one_in| n.is_multiple_of(2 * one_in));
            let code = if fails { 500 } else { 200 };
            let cart = Call::server("cart", "GET /cart").takes(4 + number % 3);
            let shop = Call::server("shop", page).takes(5 + number % 4).http(code);
            let t = T {
                id: u128::from(number) + 1,
                start: UnixNanos::from_millis((BEGIN + second) * 1_000 + n * 50),
            };
            t.build(shop.with(Call::client("call").http(code).with(cart.http(code))))
        };
        let all = seconds.flat_map(|second| (0..20).map(move |n| (second, n)));
        all.map(|(second, n)| request(second, n)).collect()
    }

    fn second(at: UnixNanos) -> u64 {
        at.as_millis() / 1_000 - BEGIN
    }

    #[test]
    fn an_earlier_outage_is_found_and_is_not_what_is_usual() {
        // For a minute of ten it failed as it does with the fault.
        let fault = |second: u64| ((200..260).contains(&second) || second >= 600).then_some(2);
        let (before, window) = (site(0..600, fault), site(600..630, fault));
        let config = AnalysisConfig::default();
        let unaware = Offline::new(&config).with(&before, &window);
        let outages = unaware.outages();
        let [found] = &outages[..] else {
            panic!("{outages:?}");
        };
        assert_eq!(found.request_type.operation.as_str(), "GET /a");
        assert_eq!(second(found.from), 200);
        let until = second(found.until.expect("it was over"));
        assert!((260..330).contains(&until), "{until}");

        let aware = Offline::new(&config)
            .besides(&outages)
            .with(&before, &window);
        // Ten a second, of that type alone.
        let left_out = aware.input().left_out.get(LeftOut::InIncident);
        assert!(
            left_out.abs_diff(10 * (until - 200)) <= 10,
            "{left_out} until {until}"
        );
        assert_eq!(aware.outages(), [], "what is left is calm");
        let told = |ranking: Ranking| {
            let first = ranking.suspects.first().expect("a suspect");
            assert_eq!(first.components[0].service.as_str(), "cart");
            assert_eq!(ranking.verdict, Verdict::Enough);
            (first.confidence, first.evidence.baseline_origin_share)
        };
        let unaware = told(rank(Method::Default, &unaware.input()));
        let aware = told(rank(Method::Default, &aware.input()));
        // Before, none of what the cart did failed but in the outage.
        assert!(unaware.1 > 0.02 && aware.1 <= 0.0, "{unaware:?}, {aware:?}");
        assert!(aware.0 > unaware.0, "{unaware:?}, {aware:?}");
    }

    #[test]
    fn what_fails_as_ever_is_no_outage() {
        let config = AnalysisConfig::default();
        let before = site(0..600, |second| second.is_multiple_of(10).then_some(10));
        let offline = Offline::new(&config).with(&before, &[]);
        assert_eq!(offline.outages(), []);
        // And recordings of two days are no pause of one.
        let later = site(100_000..100_100, |_| None);
        let both: Vec<Trace> = before.into_iter().chain(later).collect();
        assert_eq!(Offline::new(&config).with(&both, &[]).outages(), []);
    }
}
