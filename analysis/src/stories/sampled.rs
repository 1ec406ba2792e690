//! Stories of more requests than are measured: who got slower is found from a sample, and what is counted is counted of
//! all.

use rekindle_model::Sampling;

use super::*;
use crate::rank::{Input, Timed, rank};
use crate::{Doubt, PortableSpectrum, Weights};

/// Milliseconds that catalog takes, of this request and later ones.
type Takes = fn(u64) -> u64;

/// A hundred and fifty requests a second of one type; every fifth also asks bidding. What is counted, and what a ranking of
/// the last ten seconds is drawn from.
fn told(max_measured: usize, backwards: bool) -> (PortableSpectrum, Input) {
    const BEFORE: Takes = |n| 8 + n * 7 % 5;
    const AFTER: Takes = |n| 22 + n * 7 % 5;
    let mut site = Site::with(AnalysisConfig {
        max_measured,
        ..AnalysisConfig::default()
    });
    let start = UnixNanos::from_secs(1_000_000);
    let fault = start.plus(Duration::from_secs(20));
    for second in 0..30u64 {
        let mut numbers: Vec<u64> = (0..150).map(|it| second * 150 + it).collect();
        // The first ways are the same, which are measured whatever comes later.
        if backwards && second > 0 {
            numbers.reverse();
        }
        for n in numbers {
            let takes = if second < 20 { BEFORE } else { AFTER };
            let catalog = Call::server("catalog", "GET /search").takes(takes(n));
            let mut page = Call::server("web", "GET /").with(Call::client("GET").with(catalog));
            if n.is_multiple_of(5) {
                let bidding = Call::server("bidding", "POST /bid").takes(5 + n % 3);
                page = page.with(Call::client("POST").with(bidding));
            }
            let start = start.plus(Duration::from_micros(1_000_000 * second + n % 150 * 6_600));
            let trace = T {
                id: u128::from(n + 1),
                start,
            }
            .build(page);
            // All of a second come at its end.
            let now = UnixNanos::from_secs(1_000_001 + second);
            site.analyzer.trace(&trace, now);
        }
        site.analyzer.tick(UnixNanos::from_secs(1_000_001 + second));
    }
    let until = start.plus(Duration::from_secs(30));
    let input = site.analyzer.input_between(&[], fault, until);
    (site.analyzer.spectrum(), input)
}

#[test]
fn who_got_slower_is_found_from_a_sample() {
    let (counted, measured) = told(usize::MAX, false);
    for most in [4, 32, 512] {
        let (also_counted, sampled) = told(most, false);
        assert_eq!(counted, also_counted);
        assert_eq!(
            measured.shaped, sampled.shaped,
            "whom they ask is counted of all"
        );
        let calls = |input: &Input| {
            let of = |it: &Timed| {
                (
                    it.part,
                    it.request_type,
                    input.timed.lasted(it).window().total(),
                )
            };
            input.timed.iter().map(of).collect::<Vec<_>>()
        };
        let unmeasured: u64 = sampled
            .timed
            .iter()
            .map(|it| sampled.timed.lasted(it).unmeasured()[2])
            .sum();
        assert_eq!(unmeasured > 0, most < 150);
        if most >= 150 {
            assert_eq!(calls(&measured), calls(&sampled), "all are measured");
        }
        let first = |input: &Input| {
            let ranking = rank(Method::Default, input);
            let first = ranking.suspects.first().expect("a suspect");
            (first.components.clone(), first.shape)
        };
        assert_eq!(first(&measured), first(&sampled), "of {most} a second");
    }
}

#[test]
fn it_is_said_how_many_were_measured() {
    let said = |most: usize| {
        let (_, input) = told(most, false);
        let ranking = rank(Method::Default, &input);
        let first = &ranking.suspects[0];
        let times = first.explanation.latency.as_ref().expect("slower").now;
        assert_eq!(times.calls, 1_500);
        (times.measured(), first.sentence.clone())
    };
    let (measured, sentence) = said(512);
    assert_eq!(measured, 1_500);
    assert!(!sentence.contains("measured"), "{sentence}");
    // Ten slices of 32.
    let (measured, sentence) = said(32);
    assert_eq!(measured, 320);
    let words = "of 1500 calls (320 of them measured)";
    assert!(sentence.contains(words), "{sentence}");
}

#[test]
fn the_order_of_arrival_makes_no_difference_to_the_sample() {
    let timed = |back: bool| format!("{:?}", told(16, back).1.timed);
    assert_eq!(timed(false), timed(true));
}

/// A minute in which catalog is asked twice as often as bidding, and ten seconds in which bidding fails; which samplers
/// tell of good pages that asked catalog.
fn told_by(sampling: Option<Sampling>) -> Ranking {
    let mut site = Site::new();
    for n in 0..700 {
        let broken = n >= 600;
        let asks_bidding = n % 3 == 0;
        let callee = match asks_bidding {
            true => Call::server("bidding", "POST /bid").http(if broken { 500 } else { 200 }),
            false => Call::server("catalog", "GET /search"),
        };
        let failed = broken && asks_bidding;
        let call = Call::client("GET").http(if failed { 500 } else { 200 });
        let mut page = web("GET /", vec![call.with(callee)]);
        if let Some(sampling) = sampling.filter(|_| !asks_bidding) {
            page = page.sampled(sampling);
        }
        let trace = site.build(page);
        site.take(&trace);
    }
    site.now = site.now.plus(Duration::from_secs(1));
    site.ranking()
}

#[test]
fn shares_are_of_what_requests_stand_for() {
    let of_eight = Sampling::Threshold(Sampling::THRESHOLDS / 8 * 7);
    let (counted, weighed) = (told_by(None), told_by(Some(of_eight)));
    assert_eq!(counted.weights, Weights::Alike);
    assert_eq!(weighed.weights, Weights::Declared);
    let (one, other) = (&first(&counted).evidence, &first(&weighed).evidence);
    let counts = |it: &crate::Evidence| {
        [
            it.failed_touching,
            it.failed_total,
            it.ok_touching,
            it.ok_total,
        ]
    };
    assert_eq!(counts(one), counts(other), "counts stay counts");
    let (touching, total) = (one.ok_touching as f64, one.ok_total as f64);
    assert!((one.ok_share.share - touching / total).abs() < 1e-9);
    // Each of the others stands for eight.
    let of_all = touching / (touching + 8.0 * (total - touching));
    let share = other.ok_share;
    assert!((share.share - of_all).abs() < 1e-9, "{share:?}");
    assert!(share.low < of_all && of_all < share.high, "{share:?}");
    let first = first(&weighed);
    let sure = weighed.confidence(first).expect("it is known");
    assert!(sure > 0.9, "{sure}");
}

#[test]
fn one_trace_that_stands_for_a_million_does_not_decide_who_is_at_fault() {
    for octaves in [0, 20, 50] {
        let mut site = Site::new();
        for n in 0..700 {
            let asks_bidding = n % 3 == 0;
            // A third of the requests fail in bidding, and one in catalog.
            let failed = (n >= 600 && asks_bidding) || n == 650;
            let callee = match asks_bidding {
                true => Call::server("bidding", "POST /bid"),
                false => Call::server("catalog", "GET /search"),
            };
            let status = if failed { 500 } else { 200 };
            let call = Call::client("GET").http(status).with(callee.http(status));
            let mut page = web("GET /", vec![call]);
            if n == 650 {
                let kept = Sampling::THRESHOLDS >> octaves;
                page = page.sampled(Sampling::Threshold(Sampling::THRESHOLDS - kept));
            }
            let trace = site.build(page);
            site.take(&trace);
        }
        site.now = site.now.plus(Duration::from_secs(1));
        let ranking = site.ranking();
        let first = first(&ranking);
        assert_eq!(first.components[0].service.as_str(), "bidding", "{octaves}");
        let sure = ranking.confidence(first).expect("it is known");
        assert!(sure > 0.6, "{octaves}: {sure}");
    }
}

#[test]
fn where_a_sampler_does_not_say_shares_and_confidence_are_unknown() {
    let ranking = told_by(Some(Sampling::Undeclared));
    assert_eq!(ranking.weights, Weights::Hidden);
    let first = first(&ranking);
    assert_eq!(first.components[0].service.as_str(), "bidding");
    assert_eq!(ranking.confidence(first), None);
    assert!(first.explanation.against.contains(&Doubt::SharesUnknown));
    let share = first.evidence.ok_share;
    assert_eq!((share.low, share.high), (0.0, 1.0), "it may be any");
    let words = "so shares and confidence are unknown";
    assert!(first.sentence.contains(words), "{}", first.sentence);
    assert!(!first.sentence.contains('%'), "{}", first.sentence);
    let facts = crate::rank::facts(first);
    assert!(facts.iter().any(|fact| fact.found.contains(words)));
}

#[test]
fn what_the_configuration_says_of_samplers_makes_shares_unknown() {
    let mut site = Site::with(AnalysisConfig {
        failures_first: true,
        ..AnalysisConfig::default()
    });
    site.run(60, Fault::None).run(10, Fault::SearchRaises);
    assert_eq!(site.ranking().weights, Weights::Hidden);
    assert!(site.analyzer.is_sampled_unsaid(&[]));
}
