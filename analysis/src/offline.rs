//! Two heaps of traces, before and with a fault: what would be ranked?
//!
//! The same reading, counting and ranking as online, without detection: somebody names the window,
//! so nothing need be noticed. Traces are put on a time line of their own, the window's after the
//! baseline's, since recorded heaps may come from any days and in any order; durations and the order
//! within a trace stay.

use std::time::Duration;

use rekindle_model::{Span, Trace, UnixNanos};

use crate::rank::Input;
use crate::{AnalysisConfig, Analyzer};

/// Where the time line begins. Any time will do that leaves room on both sides.
const BEGINNING: UnixNanos = UnixNanos::from_secs(1_000_000_000);
/// The distance of one trace's start from the next one's: a thousand share a slice of a second, so
/// that slices are few.
const SPACING: Duration = Duration::from_millis(1);

/// The input of a ranking of what fails or changed in `window`, compared with `baseline`.
pub fn input_of(config: &AnalysisConfig, baseline: &[Trace], window: &[Trace]) -> Input {
    let mut analyzer = Analyzer::new(unbounded(config));
    let mut now = BEGINNING;
    for trace in baseline {
        tell(&mut analyzer, trace, &mut now);
    }
    // On a slice's boundary, so that no slice holds both.
    let slice = (config.slice.as_nanos() as u64).max(1);
    let since = UnixNanos((now.0 / slice + 1) * slice);
    now = since;
    for trace in window {
        tell(&mut analyzer, trace, &mut now);
    }
    analyzer.input_between(&[], since, now)
}

/// An incident must not open, since none is asked about and the baseline is learned outside of
/// incidents only; and nothing may fall out of the window.
fn unbounded(config: &AnalysisConfig) -> AnalysisConfig {
    AnalysisConfig {
        requests_between_false_alarms: f64::MAX,
        window: Duration::from_secs(365 * 24 * 3_600),
        max_records: usize::MAX,
        ..config.clone()
    }
}

fn tell(analyzer: &mut Analyzer, trace: &Trace, now: &mut UnixNanos) {
    *now = now.plus(SPACING);
    let first = trace.spans()[0].start;
    let spans: Vec<Span> = trace
        .spans()
        .iter()
        .map(|span| Span {
            start: now.plus(span.start.since(first)),
            end: now.plus(span.end.since(first)),
            ..span.clone()
        })
        .collect();
    // It arrives once all of it has ended: what ends later than it came has a wrong clock, online.
    let arrived = spans.iter().map(|span| span.end).max().unwrap_or(*now);
    if let Ok(moved) = Trace::new(spans, trace.reason()) {
        analyzer.trace(&moved, arrived.max(*now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{Method, rank};
    use crate::testing::{Call, T};
    use crate::{Level, Ranking, Verdict};

    /// What is different in the window.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        Nothing,
        /// The cart works longer, in one call of so many.
        SlowCart(u64),
        /// The cart works for seconds: longer than clocks may differ by.
        CartTakesSeconds,
        /// The network of the cart delays what it sends: answers.
        CartSendsLate,
        /// The network of the shop delays what it sends: requests to all it calls.
        ShopSendsLate,
        /// Who calls the price service stops right after.
        StopsAfterPrice,
        /// The shop stops after the cart, which is as ever.
        ShopStops,
        /// The stock service does no work any more.
        StockIsQuick,
    }

    /// The `n`th request: a shop asks cart, price and stock; another asks price alone, by a checkout.
    fn request(n: u64, fault: Fault) -> Trace {
        let jitter = n * 7 % 5;
        let way = |callee: Call, there: u64, back: u64| {
            Call::client("call")
                .takes(2 * back)
                .late(there)
                .with(callee)
        };
        let affected = match fault {
            Fault::SlowCart(one_in) => n.is_multiple_of(one_in),
            _ => true,
        };
        let on = |wanted: bool, millis: u64| if wanted && affected { millis } else { 0 };
        let there = on(fault == Fault::ShopSendsLate, 200);
        let cart = Call::server("cart", "GET /cart").takes(
            4 + jitter
                + on(matches!(fault, Fault::SlowCart(_)), 80)
                + on(fault == Fault::CartTakesSeconds, 5_000),
        );
        let price = Call::server("price", "GET /price").takes(6 + jitter);
        let stock = Call::server("stock", "GET /stock").takes(if fault == Fault::StockIsQuick {
            0
        } else {
            20 + jitter
        });
        let root = if n.is_multiple_of(3) {
            let checkout = Call::server("checkout", "POST /checkout").takes(3 + jitter);
            let checkout = checkout.with(way(price, 0, 0));
            if fault == Fault::StopsAfterPrice {
                checkout
            } else {
                checkout.with(way(stock, 0, 0))
            }
        } else {
            let back = on(fault == Fault::CartSendsLate, 100);
            let shop = Call::server("shop", "GET /").takes(5 + jitter);
            let shop = shop.with(way(cart, there, back));
            let shop = match fault {
                Fault::ShopStops => return trace(n, shop),
                _ => shop.with(way(price, there, 0)),
            };
            if fault == Fault::StopsAfterPrice {
                shop
            } else {
                shop.with(way(stock, there, 0))
            }
        };
        trace(n, root)
    }

    fn trace(n: u64, root: Call) -> Trace {
        let t = T {
            id: u128::from(n) + 1,
            ..T::default()
        };
        t.build(root)
    }

    fn ranking(fault: Fault, requests: u64) -> Ranking {
        let baseline: Vec<Trace> = (0..300).map(|n| request(n, Fault::Nothing)).collect();
        let window: Vec<Trace> = (1_000..1_000 + requests)
            .map(|n| request(n, fault))
            .collect();
        let config = AnalysisConfig::default();
        rank(Method::Default, &input_of(&config, &baseline, &window))
    }

    #[test]
    fn faults_that_fail_nobody_have_a_culprit() {
        for (fault, requests, culprit) in [
            (Fault::SlowCart(1), 60, "cart"),
            (Fault::SlowCart(1), 8, "cart"),
            (Fault::SlowCart(2), 200, "cart"),
            (Fault::CartTakesSeconds, 60, "cart"),
            (Fault::CartSendsLate, 60, "cart"),
            (Fault::ShopSendsLate, 60, "shop"),
            (Fault::StopsAfterPrice, 60, "price"),
            (Fault::ShopStops, 60, "shop"),
            (Fault::StockIsQuick, 60, "stock"),
        ] {
            let ranking = ranking(fault, requests);
            let first = ranking.suspects.first().map(|first| &first.components[0]);
            let named = first.is_some_and(|first| {
                first.level == Level::Service && first.name.as_str() == culprit
            });
            assert!(named, "{fault:?} in {requests}: {ranking:#?}");
            assert_eq!(
                ranking.verdict,
                Verdict::Enough,
                "{fault:?} in {requests}: {ranking:#?}"
            );
        }
    }

    #[test]
    fn a_failure_below_a_lost_span_explains_what_failed_above() {
        let with_lost_middle = |n: u64, fails: bool| {
            let mark = |call: Call| {
                if fails {
                    call.http(500)
                } else {
                    call.http(200)
                }
            };
            let price = mark(Call::server("price", "GET /price"));
            let cart = mark(Call::server("cart", "GET /cart"));
            let cart = cart.with(mark(Call::client("GET price")).with(price));
            let shop = mark(Call::server("shop", "GET /"));
            let whole = trace(n, shop.with(mark(Call::client("GET cart")).with(cart)));
            let spans = whole.spans().iter().cloned();
            // In one of two failed requests the cart's server span is lost.
            let kept = spans
                .filter(|span| !fails || n.is_multiple_of(2) || span.name.as_str() != "GET /cart");
            Trace::new(kept.collect(), whole.reason()).expect("spans")
        };
        let baseline: Vec<Trace> = (0..100).map(|n| with_lost_middle(n, false)).collect();
        let window: Vec<Trace> = (200..240).map(|n| with_lost_middle(n, true)).collect();
        let config = AnalysisConfig::default();
        let input = input_of(&config, &baseline, &window);
        let ranking = rank(Method::Default, &input);
        let first = &ranking.suspects[0];
        assert_eq!(
            first.components[0].service.as_str(),
            "price",
            "{ranking:#?}"
        );
        assert_eq!(first.evidence.originated, 40, "{ranking:#?}");
        for row in &input.rows {
            for touch in row.touches.iter().filter(|touch| touch.state.is_origin()) {
                let service = &input.subjects[touch.subject].component.service;
                assert_eq!(service.as_str(), "price", "{row:?}");
            }
        }
    }

    #[test]
    fn calm_times_have_none() {
        let ranking = ranking(Fault::Nothing, 60);
        assert!(
            matches!(ranking.verdict, Verdict::NotEnough { .. }),
            "{ranking:#?}"
        );
    }

    #[test]
    fn the_order_of_arrival_within_a_part_makes_no_difference() {
        let config = AnalysisConfig::default();
        // Few enough for one slice, so that the baseline has no halves to differ.
        let mut baseline: Vec<Trace> = (0..300).map(|n| request(n, Fault::Nothing)).collect();
        let mut window: Vec<Trace> = (0..60).map(|n| request(n, Fault::SlowCart(2))).collect();
        let first = rank(Method::Default, &input_of(&config, &baseline, &window));
        baseline.reverse();
        window.reverse();
        let second = rank(Method::Default, &input_of(&config, &baseline, &window));
        assert_eq!(first.suspects.len(), second.suspects.len());
        for (a, b) in first.suspects.iter().zip(&second.suspects) {
            assert_eq!((&a.components, &a.sentence), (&b.components, &b.sentence));
            assert!((a.confidence - b.confidence).abs() < 1e-12);
        }
    }
}
