//! Two heaps of traces, before and with a fault: what would be ranked?
//!
//! The same reading, counting and ranking as online, without detection: somebody names the window,
//! so nothing need be noticed. A ranking asks of a trace only whether it belongs to the earlier or the later
//! half of the baseline, or to the window; so traces are put on a time line of three slices, since recorded
//! heaps may come from any days, and ten million spans are counted in as little memory as a thousand.
//! Durations and the order within a trace stay.

mod outages;

use serde::Serialize;

use rekindle_model::{
    Intervention, Outline, OutlineParts, ReleaseReason, RequestType, Shape, Span, Trace, TraceId,
    UnixNanos,
};

pub use outages::Outage;

use crate::rank::Input;
use crate::request::Requests;
use crate::{AnalysisConfig, Analyzer, LeftOut, Masked};
use outages::Ends;

/// Where the time line begins. Any time will do that leaves room on both sides.
const BEGINNING: UnixNanos = UnixNanos::from_secs(1_000_000_000);
/// A baseline is halved by so many traces: with fewer, halves would differ by luck.
const TOGETHER: u64 = 1_000;

/// Requests that are remembered one by one: for those whose traces are kept as examples, which are some thousands at
/// most. Nothing that is told later changes what was counted; and whoever hands traces in hands each in once, since of
/// more than so many nobody notices that one comes again.
const REMEMBERED: usize = 1 << 16;

/// What a trace is to the ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heap {
    /// Of the earlier half of the time before the fault.
    Earlier,
    /// Of the later half.
    Later,
    /// With the fault.
    Window,
}

/// Takes traces one by one, the baseline's before the window's.
#[derive(Debug)]
pub struct Offline {
    analyzer: Analyzer,
    /// The length of a slice in nanoseconds.
    slice: u64,
    /// What was done to the system, in the traces' own time.
    interventions: Vec<Intervention>,
    /// Traces that were left out for it.
    fenced: u64,
    /// Whether failures that users didn't see are to be explained.
    masked: bool,
    /// How requests before the fault ended.
    ends: Ends,
    /// Earlier outages, of which nothing is counted.
    besides: Vec<Outage>,
    /// What types are called.
    names: Requests,
    /// Requests that were left out for that.
    in_outages: u64,
    /// As it was given.
    config: AnalysisConfig,
}

/// What of a type's failures its users didn't see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MaskedOf {
    /// The type.
    pub request_type: RequestType,
    /// Before the fault.
    pub before: Masked,
    /// With the fault.
    pub now: Masked,
}

impl Offline {
    /// Has seen nothing yet.
    pub fn new(config: &AnalysisConfig) -> Self {
        Self {
            analyzer: Analyzer::new(unbounded(config)),
            slice: (config.slice.as_nanos() as u64).max(1),
            interventions: Vec::new(),
            fenced: 0,
            masked: false,
            ends: Ends::default(),
            besides: Vec::new(),
            names: Requests::default(),
            in_outages: 0,
            config: config.clone(),
        }
    }

    /// Leaves out what began before the fault in any of these, and is of its type: it isn't what is usual.
    #[must_use]
    pub fn besides(mut self, outages: &[Outage]) -> Self {
        self.besides = outages.to_vec();
        self
    }

    /// Outages among what was taken as the time before the fault, sorted.
    pub fn outages(&self) -> Vec<Outage> {
        let name = |id| self.analyzer.type_numbered(id).clone();
        self.ends.outages(name, &self.config)
    }

    /// Whether a request of this heap isn't counted.
    fn is_left_out<'a>(
        &mut self,
        heap: Heap,
        request: (UnixNanos, UnixNanos),
        spans: impl Iterator<Item = &'a Shape> + Clone,
    ) -> bool {
        self.is_fenced(request, spans.clone())
            || heap != Heap::Window && self.is_in_outage(request.0, spans)
    }

    /// Whether a request before the fault, which began then and whose spans say this, is of an earlier outage; counted.
    fn is_in_outage<'a>(
        &mut self,
        start: UnixNanos,
        mut spans: impl Iterator<Item = &'a Shape>,
    ) -> bool {
        let over = self.besides.iter().filter(|it| it.holds(start));
        let over: Vec<&RequestType> = over.map(|it| &it.request_type).collect();
        if over.is_empty() {
            return false;
        }
        let names = &mut self.names;
        let is_in = spans.any(|span| over.contains(&&names.request_type(span)));
        self.in_outages += u64::from(is_in);
        is_in
    }

    /// Keeps how a request ended that began then, before the fault.
    fn note(&mut self, heap: Heap, trace_id: TraceId, start: UnixNanos) {
        if heap != Heap::Window
            && let Some((request_type, outcome)) = self.analyzer.ended(trace_id)
            && outcome.is_known()
        {
            self.ends.add(request_type, start, outcome.is_bad());
        }
    }

    /// Failures that users didn't see are to be explained as well: those of requests that ended well.
    #[must_use]
    pub const fn of_masked(mut self, masked: bool) -> Self {
        self.masked = masked;
        self
    }

    /// Leaves out what overlaps any of these in its own time and touches its target, as online; what is taken from here
    /// on.
    #[must_use]
    pub fn around(mut self, interventions: &[Intervention]) -> Self {
        self.interventions = interventions.to_vec();
        self
    }

    /// Whether a request of this time, whose spans say this, lies in the shadow of an intervention; counted.
    fn is_fenced<'a>(
        &mut self,
        (start, end): (UnixNanos, UnixNanos),
        spans: impl Iterator<Item = &'a Shape> + Clone,
    ) -> bool {
        let touches = |it: &Intervention| {
            let mut spans = spans.clone();
            it.target.0.is_empty() || spans.any(|span| it.target.matches(|key| span.attribute(key)))
        };
        let mut over = self.interventions.iter();
        let is_fenced = over.any(|it| it.overlaps(start, end) && touches(it));
        self.fenced += u64::from(is_fenced);
        is_fenced
    }

    /// How many traces of a baseline of so many, the oldest first, are its earlier half: none of one that is too
    /// small for halves.
    pub const fn earlier_of(baseline: u64) -> u64 {
        let slices = baseline / TOGETHER + 1;
        (slices / 2 * TOGETHER).saturating_sub(1)
    }

    /// The beginning of a heap on the time line: of a slice, so that none holds two.
    const fn begin(&self, heap: Heap) -> UnixNanos {
        UnixNanos((BEGINNING.0 / self.slice + heap as u64) * self.slice)
    }

    /// Takes the spans of a trace. None is nothing.
    pub fn take(&mut self, heap: Heap, mut spans: Vec<Span>) {
        let begin = self.begin(heap);
        let request = spans.iter().min_by_key(|span| span.start);
        let request = request.map_or_else(Default::default, |span| (span.start, span.end));
        let said = spans.iter().map(|span| &*span.shape);
        if self.is_left_out(heap, request, said) {
            return;
        }
        let first = request.0;
        // It arrives once all of it has ended: what ends later than it came has a wrong clock, online.
        let mut arrived = begin;
        for span in &mut spans {
            span.start = begin.plus(span.start.since(first));
            span.end = begin.plus(span.end.since(first));
            arrived = arrived.max(span.end);
        }
        if let Ok(trace) = Trace::new(spans, ReleaseReason::Flush) {
            self.analyzer.trace(&trace, arrived);
            self.note(heap, trace.trace_id(), first);
        }
    }

    /// The same of one in parts, no span of which is there twice: nothing is put together that a ranking doesn't ask
    /// for.
    pub fn take_parts(&mut self, heap: Heap, parts: OutlineParts<'_>) {
        let begin = self.begin(heap);
        let request = parts.steps.iter().min_by_key(|step| step.start);
        let request = request.map_or_else(Default::default, |step| (step.start, step.end));
        let shapes = parts.shapes;
        let said = parts.steps.iter().map(|step| &*shapes[step.shape as usize]);
        if self.is_left_out(heap, request, said) {
            return;
        }
        let first = request.0;
        let mut arrived = begin;
        for step in parts.steps.iter_mut() {
            step.start = begin.plus(step.start.since(first));
            step.end = begin.plus(step.end.since(first));
            arrived = arrived.max(step.end);
        }
        if let Ok(outline) = Outline::new(parts) {
            self.analyzer.outline(&outline, arrived);
            self.note(heap, outline.trace_id(), first);
        }
    }

    /// What a ranking of it all is drawn from.
    pub fn input(&self) -> Input {
        self.input_about(&[])
    }

    /// The same of the failures of these types (all, when there are none): as an incident has it.
    pub fn input_about(&self, types: &[RequestType]) -> Input {
        let since = self.begin(Heap::Window);
        let until = since.plus(std::time::Duration::from_nanos(self.slice));
        let mut input = match self.masked {
            true => self.analyzer.masked_between(types, since, until),
            false => self.analyzer.input_between(types, since, until),
        };
        // Nobody corrects what was counted.
        input.left_out.ignore(LeftOut::RecordOverflow);
        input.left_out.add_many(LeftOut::Fenced, self.fenced);
        input
            .left_out
            .add_many(LeftOut::InIncident, self.in_outages);
        input
    }
}

impl Offline {
    /// What users didn't see, of types in which anything was hidden.
    pub fn masked(&self) -> Vec<MaskedOf> {
        let (first, since) = (self.begin(Heap::Earlier), self.begin(Heap::Window));
        let until = since.plus(std::time::Duration::from_nanos(self.slice));
        let before = self.analyzer.masked_types(first, since);
        let now = self.analyzer.masked_types(since, until);
        let both = before.into_iter().zip(now);
        let both = both.map(|((request_type, before), (_, now))| MaskedOf {
            request_type,
            before,
            now,
        });
        let is_any = |it: &Masked| it.masked > 0 || it.calls_again > 0;
        both.filter(|it| is_any(&it.before) || is_any(&it.now))
            .collect()
    }

    /// Takes what came before the fault, and with it.
    #[must_use]
    pub fn with(mut self, baseline: &[Trace], window: &[Trace]) -> Self {
        let earlier = Self::earlier_of(baseline.len() as u64);
        for (place, trace) in (0..).zip(baseline) {
            let heap = match place < earlier {
                true => Heap::Earlier,
                false => Heap::Later,
            };
            self.take(heap, trace.spans().to_vec());
        }
        for trace in window {
            self.take(Heap::Window, trace.spans().to_vec());
        }
        self
    }
}

/// The input of a ranking of what fails or changed in `window`, compared with `baseline`.
pub fn input_of(config: &AnalysisConfig, baseline: &[Trace], window: &[Trace]) -> Input {
    input_around(config, baseline, window, &[])
}

/// The same without what these interventions lie on.
pub fn input_around(
    config: &AnalysisConfig,
    baseline: &[Trace],
    window: &[Trace],
    interventions: &[Intervention],
) -> Input {
    let offline = Offline::new(config).around(interventions);
    offline.with(baseline, window).input()
}

/// An incident must not open, since none is asked about and the baseline is learned outside of
/// incidents only; and nothing may fall out of the window.
fn unbounded(config: &AnalysisConfig) -> AnalysisConfig {
    AnalysisConfig {
        requests_between_false_alarms: f64::MAX,
        window: std::time::Duration::from_secs(365 * 24 * 3_600),
        max_records: REMEMBERED,
        // A slice is all that there is.
        max_measured: usize::MAX,
        ..config.clone()
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
        for row in input.rows.iter() {
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
