//! Stories of faults in a small auction site, told through the analyzer's door.
//!
//! web → catalog (two instances behind addresses; components search and item; a database) and
//! web → bidding (component place) → accounts. Ten requests a second, a third of each type. The
//! site is calm for a while, then a fault sets in; each case says who must be named.

mod aftermath;
mod again;
mod claims;
mod confounded;
mod deployed;
mod laid_out;
mod masked;
mod production;
mod same_bytes;
mod sampled;
mod stopped;
mod two_faults;

use std::time::Duration;

use proptest::prelude::*;
use rekindle_model::{
    Intervention, InterventionKind, Life, Name, Outcome, OutcomeReport, RequestType, Selector,
    Status, UnixNanos,
};

use crate::rank::Method;
use crate::testing::{Call, T};
use crate::{
    AnalysisConfig, Analyzer, Caller, Change, Component, LeftOut, Level, Ranking, Shape, Suspect,
    Verdict,
};

/// What is wrong with the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// catalog's search raises errors.
    SearchRaises,
    /// The whole catalog raises errors, whatever is asked.
    CatalogRaises,
    /// bidding's process is gone: connections are refused.
    BiddingKilled,
    /// One of catalog's two processes is gone.
    CatalogTwoKilled,
    /// catalog's search hangs: its dispatcher gives up after a second, and its own span never ends.
    SearchHangs,
    /// accounts hangs, and its callers give up; nothing of it ever comes.
    AccountsHangs,
    /// catalog's item takes 2 s.
    ItemSlow,
    /// catalog-2 raises errors.
    CatalogTwoRaises,
    /// Version 2 of accounts (two of its four instances) raises errors.
    AccountsVersionTwo,
    /// search raises, and accounts too.
    SearchAndAccounts,
    /// search raises, but web shows a cached page.
    SearchMasked,
    /// The database refuses catalog's queries.
    DatabaseDown,
    /// search fails once, and is asked again with success, while accounts raises.
    SearchRetriedAccountsRaise,
    /// search answers nonsense with status OK.
    SearchWrong,
}

const CATALOG: [(&str, u16); 2] = [("10.0.0.2", 7001), ("10.0.0.2", 7002)];
const BIDDING: (&str, u16) = ("10.0.0.3", 7003);

fn web(operation: &str, calls: Vec<Call>) -> Call {
    let failed = calls.iter().any(|call| call.failed());
    let page = Call::server("web", operation).host("front");
    let page = calls.into_iter().fold(page, Call::with);
    page.http(if failed { 502 } else { 200 })
}

fn catalog(n: u64, component: &str, fault: Fault) -> Call {
    let instance = (n / 3 % 2) as usize;
    let address = CATALOG[instance];
    if fault == Fault::CatalogTwoKilled && instance == 1 {
        return Call::client("GET")
            .address(address)
            .error("ConnectException")
            .status(Status::Error);
    }
    let query = Call::client("SELECT items").db("postgresql").takes(2);
    let query = if fault == Fault::DatabaseDown {
        query.error("PSQLException").status(Status::Error)
    } else {
        query
    };
    let broken = match fault {
        Fault::SearchRaises | Fault::SearchAndAccounts | Fault::SearchMasked => {
            component == "search"
        }
        Fault::CatalogRaises | Fault::DatabaseDown => true,
        Fault::CatalogTwoRaises => instance == 1,
        _ => false,
    };
    let work = Call::component(component).takes(5).with(query);
    let work = if broken {
        work.error("IllegalState").status(Status::Error)
    } else {
        work
    };
    let work = if fault == Fault::ItemSlow && component == "item" {
        work.takes(2_000)
    } else {
        work
    };
    let work = if fault == Fault::SearchHangs && component == "search" {
        Call::component("dispatch")
            .with(
                Call::client("call")
                    .peer("search")
                    .takes(1_000)
                    .error("timeout")
                    .status(Status::Error),
            )
            .error("timeout")
            .status(Status::Error)
    } else {
        Call::component("dispatch").with(work)
    };
    let failed = broken || (fault == Fault::SearchHangs && component == "search");
    let answer = Call::server("catalog", "GET /catalog")
        .instance(if instance == 0 {
            "catalog-1"
        } else {
            "catalog-2"
        })
        .host("back")
        .http(if failed { 500 } else { 200 })
        .with(work);
    let call = Call::client("GET")
        .address(address)
        .with(answer)
        .http(if failed { 500 } else { 200 });
    if failed {
        call.status(Status::Error)
    } else {
        call
    }
}

fn accounts(n: u64, fault: Fault) -> Call {
    let instance = n / 3 % 4;
    let address = ("10.0.0.4", 7010 + instance as u16);
    if fault == Fault::AccountsHangs {
        return Call::client("GET")
            .address(address)
            .takes(1_000)
            .error("cancelled");
    }
    let broken = match fault {
        Fault::AccountsVersionTwo => instance >= 2,
        Fault::SearchAndAccounts | Fault::SearchRetriedAccountsRaise => true,
        _ => false,
    };
    let answer = Call::server("accounts", "GET /account/17")
        .instance(&format!("accounts-{instance}"))
        .version(if instance >= 2 { "2" } else { "1" })
        .host("back")
        .http(if broken { 500 } else { 200 });
    Call::client("GET")
        .address(address)
        .http(if broken { 500 } else { 200 })
        .with(answer)
}

fn bidding(n: u64, fault: Fault) -> Call {
    if fault == Fault::BiddingKilled {
        return Call::client("POST")
            .address(BIDDING)
            .error("ConnectException")
            .status(Status::Error);
    }
    let asked = accounts(n, fault);
    let failed = asked.failed();
    let place = Call::component("place").takes(4).with(asked);
    let answer = Call::server("bidding", "POST /bids")
        .host("back")
        .http(if failed { 500 } else { 200 })
        .with(place);
    Call::client("POST")
        .address(BIDDING)
        .http(if failed { 500 } else { 200 })
        .with(answer)
}

fn request(n: u64, fault: Fault) -> Call {
    match n % 3 {
        0 => {
            if fault == Fault::SearchMasked {
                return web("GET /search", vec![catalog(n, "search", fault)]).http(200);
            }
            if fault == Fault::SearchRetriedAccountsRaise {
                let first = catalog(n, "search", Fault::SearchRaises);
                let second = catalog(n, "search", Fault::None);
                return web("GET /search", vec![first, second]).http(200);
            }
            web("GET /search", vec![catalog(n, "search", fault)])
        }
        1 => web("GET /item/17", vec![catalog(n, "item", fault)]),
        _ => web("POST /bid", vec![bidding(n, fault)]),
    }
}

/// The site and its watcher.
struct Site {
    analyzer: Analyzer,
    n: u64,
    changes: Vec<Change>,
    now: UnixNanos,
}

impl Site {
    fn new() -> Self {
        Self::with(AnalysisConfig::default())
    }

    fn with(config: AnalysisConfig) -> Self {
        Self {
            analyzer: Analyzer::new(config),
            n: 0,
            changes: Vec::new(),
            now: UnixNanos::from_secs(1_000_000),
        }
    }

    /// Lets it run for so long, ten requests a second.
    fn run(&mut self, seconds: u64, fault: Fault) -> &mut Self {
        for _ in 0..seconds * 10 {
            let trace = self.make(fault);
            self.take(&trace);
        }
        self
    }

    fn make(&mut self, fault: Fault) -> rekindle_model::Trace {
        let request = request(self.n + 1, fault);
        self.build(request)
    }

    /// The next request's trace, a tenth of a second after the one before.
    fn build(&mut self, call: Call) -> rekindle_model::Trace {
        self.now = self.now.plus(Duration::from_millis(100));
        self.n += 1;
        T {
            id: u128::from(self.n),
            start: self.now,
        }
        .build(call)
    }

    fn take(&mut self, trace: &rekindle_model::Trace) {
        let end = trace.spans().iter().map(|s| s.end).max().expect("spans");
        for span in trace.spans() {
            self.analyzer.span(span, end);
        }
        self.analyzer.trace(trace, end);
        let now = self.now;
        self.changes.extend(self.analyzer.tick(now));
    }

    fn ranking(&self) -> Ranking {
        let incident = self.analyzer.incidents().last().expect("an incident");
        self.analyzer.rank(incident.id).expect("its ranking")
    }
}

fn component(level: Level, service: &str, name: &str) -> Component {
    Component {
        level,
        service: service.into(),
        name: name.into(),
    }
}

fn first(ranking: &Ranking) -> &Suspect {
    ranking.suspects.first().expect("a suspect")
}

/// Who must be named first, how sure at least, and in which shape.
#[test]
fn the_culprit_is_named_first() {
    use Level::{CodeComponent, Dependency, Instance, Service, Version};
    for (fault, level, service, name, shape, least) in [
        (
            Fault::SearchRaises,
            CodeComponent,
            "catalog",
            "search",
            Shape::Raised,
            0.8,
        ),
        (
            Fault::CatalogRaises,
            Service,
            "catalog",
            "catalog",
            Shape::Raised,
            0.8,
        ),
        (
            Fault::BiddingKilled,
            Service,
            "bidding",
            "bidding",
            Shape::Unanswered,
            0.8,
        ),
        (
            Fault::CatalogTwoKilled,
            Instance,
            "catalog",
            "catalog-2",
            Shape::Unanswered,
            0.8,
        ),
        (
            Fault::SearchHangs,
            CodeComponent,
            "catalog",
            "search",
            Shape::Unanswered,
            0.8,
        ),
        (
            Fault::AccountsHangs,
            Service,
            "accounts",
            "accounts",
            Shape::Unanswered,
            0.8,
        ),
        (
            Fault::ItemSlow,
            CodeComponent,
            "catalog",
            "item",
            Shape::Slow,
            0.8,
        ),
        (
            Fault::CatalogTwoRaises,
            Instance,
            "catalog",
            "catalog-2",
            Shape::Raised,
            0.7,
        ),
        (
            Fault::AccountsVersionTwo,
            Version,
            "accounts",
            "2",
            Shape::Raised,
            0.7,
        ),
        (
            Fault::DatabaseDown,
            Dependency,
            "",
            "postgresql",
            Shape::Raised,
            0.8,
        ),
        (
            Fault::SearchRetriedAccountsRaise,
            Service,
            "accounts",
            "accounts",
            Shape::Raised,
            0.8,
        ),
    ] {
        let mut site = Site::new();
        site.run(60, Fault::None);
        assert!(
            site.analyzer.incidents().is_empty(),
            "{fault:?}: {:?}",
            site.analyzer.incidents()
        );
        site.run(10, fault);
        let incidents = site.analyzer.incidents();
        assert_eq!(incidents.len(), 1, "{fault:?}: {incidents:?}");
        let ranking = site.ranking();
        let named = first(&ranking);
        assert_eq!(
            named.components,
            [component(level, service, name)],
            "{fault:?}: {ranking:#?}"
        );
        assert_eq!(named.shape, shape, "{fault:?}: {}", named.sentence);
        assert!(
            named.confidence >= least,
            "{fault:?}: {} {}",
            named.confidence,
            named.sentence
        );
        assert_eq!(ranking.verdict, Verdict::Enough, "{fault:?}");
        let sum: f64 = ranking.suspects.iter().map(|s| s.confidence).sum();
        assert!(sum <= 1.0 + 1e-9, "{fault:?}: {sum}");
        assert!(!named.examples.failed.is_empty(), "{fault:?}");
        for id in named.examples.failed.iter().chain(&named.examples.ok) {
            assert!(site.analyzer.example(*id).is_some(), "{fault:?}: {id}");
        }
    }
}

#[test]
fn a_dead_service_is_complained_about_by_its_callers_and_can_be_matched() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(5, Fault::BiddingKilled);
    let ranking = site.ranking();
    let named = first(&ranking);
    assert_eq!(named.callers, [Caller::Component("web".into())]);
    assert_eq!(
        named.attributes.get("service.name").map(Name::as_str),
        Some("bidding")
    );
    assert_eq!(named.error_type.as_deref(), Some("ConnectException"));
    assert_eq!(named.evidence.originated, named.evidence.failed_total);
    insta::assert_snapshot!(named.sentence, @"service bidding did not answer in 17 of 17 failed requests (ConnectException); 100 % of failed and 32 % of good requests touched it; reported by web.");
}

#[test]
fn a_code_component_can_be_matched_and_its_service_is_the_alternative() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(5, Fault::SearchRaises);
    let ranking = site.ranking();
    let named = first(&ranking);
    assert_eq!(
        named.attributes.get("code.namespace").map(Name::as_str),
        Some("search")
    );
    assert_eq!(
        named.attributes.get("service.name").map(Name::as_str),
        Some("catalog")
    );
    assert!(
        !named.attributes.contains_key("service.instance.id"),
        "it has two: {named:?}"
    );
    assert_eq!(
        ranking.suspects[1].components,
        [component(Level::Service, "catalog", "catalog")]
    );
}

/// Independent sources: the process that the hung component is in, and whoever called that process.
#[test]
fn a_hung_component_is_complained_about_from_inside_and_outside() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(8, Fault::SearchHangs);
    let ranking = site.ranking();
    let ranked = first(&ranking);
    let callers: Vec<&str> = ranked.callers.iter().map(|by| by.name().as_str()).collect();
    assert_eq!(callers, ["dispatch of catalog", "web"]);
}

#[test]
fn total_failure_of_a_type_is_noticed_within_a_second_and_a_half() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    let began = site.now;
    while site.analyzer.incidents().is_empty() {
        site.run(1, Fault::SearchRaises);
        assert!(
            site.now.since(began) < Duration::from_secs(5),
            "still nothing"
        );
    }
    let incident = &site.analyzer.incidents()[0];
    // A third of ten requests a second: the fifth failure comes after 1.5 s.
    let late = incident.opened_at.since(began);
    assert!(late <= Duration::from_millis(1_600), "{late:?}");
    let off = incident.since.since(began);
    assert!(
        off <= Duration::from_secs(1),
        "onset {off:?} after it began"
    );
}

#[test]
fn what_a_fallback_masks_is_no_incident_but_counted_as_masked() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(10, Fault::SearchMasked);
    assert!(site.analyzer.incidents().is_empty());
    let masked = site
        .analyzer
        .spectrum()
        .slices
        .values()
        .flatten()
        .filter(|(cell, _)| cell.outcome == Outcome::Masked)
        .map(|(_, n)| n)
        .sum::<u64>();
    assert_eq!(masked, 33);
}

/// A probe's word that a request was answered wrongly.
fn found_wrong(trace: &rekindle_model::Trace, at: UnixNanos) -> OutcomeReport {
    OutcomeReport {
        trace_id: trace.trace_id(),
        outcome: Outcome::Failed,
        reporter: "probe".into(),
        at,
        detail: None,
    }
}

#[test]
fn wrong_answers_are_found_by_what_good_requests_do_not_touch() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    for n in 0..300 {
        let trace = site.make(Fault::SearchWrong);
        let wrong = trace.spans()[0].name.as_str() == "GET /search";
        let report = found_wrong(&trace, site.now);
        // Some reports come before the trace, some after.
        if wrong && n % 2 == 0 {
            site.analyzer.report(report.clone(), site.now);
        }
        site.take(&trace);
        if wrong && n % 2 == 1 {
            site.analyzer.report(report, site.now);
        }
    }
    let ranking = site.ranking();
    let named = first(&ranking);
    assert_eq!(
        named.components,
        [component(Level::CodeComponent, "catalog", "search")],
        "{ranking:#?}"
    );
    assert_eq!(named.shape, Shape::WrongAnswer);
    assert!(named.confidence > 0.8, "{}", named.confidence);
    assert_eq!(named.callers, [Caller::Reporter("probe".into())]);
}

#[test]
fn a_site_that_is_broken_from_the_start_is_noticed_too() {
    let mut site = Site::new();
    site.run(5, Fault::BiddingKilled);
    assert_eq!(site.analyzer.incidents().len(), 1);
    let ranking = site.ranking();
    // Nobody ever answered there: its address is all that is known.
    assert_eq!(
        first(&ranking).components,
        [component(Level::Dependency, "", "10.0.0.3:7003")]
    );
}

#[test]
fn few_failures_are_not_enough() {
    let mut site = Site::with(AnalysisConfig {
        requests_between_false_alarms: 10.0,
        ..AnalysisConfig::default()
    });
    site.run(30, Fault::None);
    while site.analyzer.incidents().is_empty() {
        let trace = site.make(Fault::SearchRaises);
        site.take(&trace);
    }
    let ranking = site.ranking();
    let Verdict::NotEnough { missing } = &ranking.verdict else {
        panic!("{ranking:#?}")
    };
    assert!(
        missing.contains("of at least 3 failed requests"),
        "{missing}"
    );
}

#[test]
fn an_incident_closes_when_failures_are_over_and_another_opens_later() {
    let mut site = Site::new();
    site.run(60, Fault::None)
        .run(10, Fault::SearchRaises)
        .run(60, Fault::None);
    let incident = &site.analyzer.incidents()[0];
    let closed = incident.closed.expect("closed");
    assert_eq!(closed.reason, crate::ClosingReason::Recovered);
    assert!(site.changes.contains(&Change::Opened(1)) && site.changes.contains(&Change::Closed(1)));
    site.run(10, Fault::BiddingKilled);
    assert_eq!(site.analyzer.incidents().len(), 2);
    assert_eq!(
        first(&site.ranking()).components,
        [component(Level::Service, "bidding", "bidding")]
    );
}

fn restart_of_bidding(from: UnixNanos, until: Option<UnixNanos>) -> Intervention {
    Intervention {
        kind: InterventionKind::Restart,
        target: Selector(vec![("service.name".into(), "bidding".into())]),
        from,
        until,
        began: Life::default(),
        ended_by: None,
        reference: "action-1".into(),
    }
}

#[test]
fn a_restart_makes_no_incident_and_its_requests_are_fenced() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    let from = site.now;
    site.analyzer.intervene(restart_of_bidding(from, None));
    site.run(5, Fault::BiddingKilled);
    let until = site.now;
    site.analyzer
        .intervene(restart_of_bidding(from, Some(until)));
    site.run(20, Fault::None);
    assert!(site.analyzer.incidents().is_empty());
    // A third of fifty requests; the last one may touch the fence's edge.
    let fenced = site.analyzer.counts().get(LeftOut::Fenced);
    assert!((16..=18).contains(&fenced), "{fenced}");
    // What users met counts all the same.
    let bid = RequestType {
        service: "web".into(),
        operation: "POST /bid".into(),
    };
    let (_, bad) = site
        .analyzer
        .fared(&[bid], from, until.plus(Duration::from_secs(1)));
    assert!(bad >= 16, "{bad}");
}

#[test]
fn while_we_were_blind_nothing_counts_for_or_against_anyone() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    let from = site.now.plus(Duration::from_millis(50));
    let until = from.plus(Duration::from_secs(6));
    site.analyzer.intervene(Intervention {
        kind: InterventionKind::Blind,
        target: Selector::default(),
        from,
        until: Some(until),
        began: Life::default(),
        ended_by: None,
        reference: "outage".into(),
    });
    site.run(5, Fault::CatalogRaises);
    assert!(site.analyzer.incidents().is_empty());
    assert_eq!(site.analyzer.counts().get(LeftOut::Fenced), 50);
    // A fault that outlives it is noticed.
    site.run(5, Fault::CatalogRaises);
    assert_eq!(site.analyzer.incidents().len(), 1);
}

#[test]
fn a_ranking_tells_of_fenced_requests_while_they_would_be_in_it() {
    let mut site = Site::with(AnalysisConfig {
        window: Duration::from_secs(60),
        ..AnalysisConfig::default()
    });
    site.run(30, Fault::None);
    let from = site.now.plus(Duration::from_millis(50));
    site.analyzer.intervene(Intervention {
        kind: InterventionKind::Blind,
        target: Selector::default(),
        from,
        until: Some(from.plus(Duration::from_secs(5))),
        began: Life::default(),
        ended_by: None,
        reference: "outage".into(),
    });
    site.run(20, Fault::None).run(10, Fault::CatalogRaises);
    let all = site.analyzer.counts().get(LeftOut::Fenced);
    assert!(all >= 50, "{all}");
    assert_eq!(site.ranking().left_out.get(LeftOut::Fenced), all);
    site.run(50, Fault::CatalogRaises);
    assert_eq!(site.ranking().left_out.get(LeftOut::Fenced), 0);
    assert_eq!(site.analyzer.counts().get(LeftOut::Fenced), all);
}

#[test]
fn an_intervention_told_late_takes_requests_back() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    let from = site.now;
    site.run(10, Fault::BiddingKilled);
    let before = site.ranking();
    assert!(first(&before).evidence.failed_total > 20);
    site.analyzer
        .intervene(restart_of_bidding(from, Some(site.now)));
    let after = site.ranking();
    assert!(
        matches!(after.verdict, Verdict::NotEnough { .. }),
        "{after:#?}"
    );
    // And gives them back, when it turns out to have been shorter.
    site.analyzer
        .intervene(restart_of_bidding(from, Some(from)));
    let again = site.ranking();
    assert_eq!(again.suspects[0].evidence, before.suspects[0].evidence);
}

#[test]
fn health_checks_and_background_traces_are_no_requests() {
    let mut site = Site::new();
    site.run(1, Fault::None);
    for (id, call) in [
        (9_001, Call::server("web", "GET /health").http(500)),
        (
            9_002,
            Call::server("web", "heartbeat").kind(rekindle_model::SpanKind::Client),
        ),
    ] {
        let trace = T {
            id,
            start: site.now,
        }
        .build(call);
        site.take(&trace);
    }
    assert_eq!(site.analyzer.counts().get(LeftOut::HealthCheck), 1);
    assert_eq!(site.analyzer.counts().get(LeftOut::Background), 1);
    let types: Vec<String> = site
        .analyzer
        .request_types()
        .iter()
        .map(|t| t.request_type.to_string())
        .collect();
    assert_eq!(
        types,
        ["web GET /item/{id}", "web GET /search", "web POST /bid"]
    );
}

#[test]
fn rates_and_throughput() {
    let mut site = Site::new();
    site.run(60, Fault::None);
    let bid = RequestType {
        service: "web".into(),
        operation: "POST /bid".into(),
    };
    let (ok, bad) = site.analyzer.fared(
        std::slice::from_ref(&bid),
        UnixNanos(0),
        site.now.plus(Duration::from_secs(1)),
    );
    assert_eq!((ok, bad), (200, 0));
    let series = site.analyzer.series(&bid, usize::MAX);
    assert_eq!(series.iter().map(|p| p.ok).sum::<u64>(), 200);
    assert!(series.is_sorted_by_key(|p| p.at));
    let types = std::slice::from_ref(&bid);
    let (first, last) = (series[0].at, series[series.len() - 1].at);
    assert_eq!(site.analyzer.reach(types), Some((first, last)));
    assert_eq!(site.analyzer.series(&bid, 1)[0].at, last);
    let rate = site
        .analyzer
        .throughput(&component(Level::Service, "catalog", "catalog"));
    assert!((rate - 6.7).abs() < 0.5, "{rate}");
    assert!(
        site.analyzer
            .throughput(&component(Level::Service, "web", "web"))
            > 9.5
    );
}

#[test]
fn memory_is_bounded_and_what_is_dropped_is_counted() {
    let config = AnalysisConfig {
        max_records: 50,
        max_example_spans: 40,
        max_request_types: 2,
        max_components: 15,
        max_rows: 3,
        ..AnalysisConfig::default()
    };
    let mut site = Site::with(config);
    site.run(30, Fault::None).run(10, Fault::CatalogTwoRaises);
    let counts = site.analyzer.counts();
    for reason in [
        LeftOut::RecordOverflow,
        LeftOut::ExampleOverflow,
        LeftOut::OtherRequestType,
        LeftOut::ComponentOverflow,
        LeftOut::RowOverflow,
    ] {
        assert!(counts.get(reason) > 0, "{reason:?} in {counts:?}");
    }
    assert!(site.analyzer.request_types().len() <= 2);
}

#[test]
fn the_comparators_rank_too_but_cannot_tell_the_culprit_from_its_callers() {
    let mut site = Site::new();
    site.run(60, Fault::None).run(10, Fault::SearchRaises);
    for method in [Method::Ochiai, Method::Tarantula] {
        let ranking = site.analyzer.rank_by(method, 1).expect("a ranking");
        let search = component(Level::CodeComponent, "catalog", "search");
        let at = ranking
            .suspects
            .iter()
            .position(|s| s.components == [search.clone()]);
        assert!(at.is_some_and(|at| at < 3), "{method}: {at:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The same calls give the same bytes; and traces of one slice may come in any order, and
    /// twice, without changing what is counted or who is named.
    #[test]
    fn rankings_are_pure(
        seed in 0u64..1_000,
        fault_index in 0usize..4,
        // Of three or four requests a second of each type.
        max_measured in prop::sample::select(vec![2usize, 512]),
    ) {
        let fault = [Fault::SearchRaises, Fault::BiddingKilled, Fault::CatalogTwoRaises, Fault::SearchAndAccounts][fault_index];
        let mut maker = Site::new();
        let calm: Vec<_> = (0..300).map(|_| maker.make(Fault::None)).collect();
        let faulty: Vec<_> = (0..100).map(|_| maker.make(fault)).collect();
        let tell = |shuffled: bool| {
            let mut site = Site::with(AnalysisConfig { max_measured, ..AnalysisConfig::default() });
            site.now = maker.now;
            for trace in &calm { site.take(trace); }
            let mut order: Vec<usize> = (0..faulty.len()).collect();
            if shuffled {
                // Within a second of ten requests.
                for chunk in order.chunks_mut(10) {
                    chunk.rotate_left((seed % 10) as usize);
                    if seed % 2 == 0 { chunk.reverse(); }
                }
            }
            for at in order {
                site.take(&faulty[at]);
                if shuffled && at % 7 == 0 { site.take(&faulty[at]); }
            }
            site
        };
        let (one, same, other) = (tell(false), tell(false), tell(true));
        // Of two faults, whose is noticed first depends on what came first.
        let ranking = |site: &Site| {
            let incidents = site.analyzer.incidents();
            let is_bid = |incident: &&crate::Incident| incident.request_types[0].operation.contains("bid");
            let asked = incidents.iter().find(is_bid).or(incidents.last()).expect("an incident");
            Ranking { incident: 0, ..site.analyzer.rank(asked.id).expect("its ranking") }
        };
        let bytes = |site: &Site| serde_json::to_string(&ranking(site)).expect("serializes");
        prop_assert_eq!(bytes(&one), bytes(&same));
        prop_assert_eq!(one.analyzer.spectrum(), other.analyzer.spectrum());
        let (mut a, mut b) = (ranking(&one), ranking(&other));
        // Which repeats were left out is the only thing that may differ.
        a.left_out = crate::Counts::default();
        b.left_out = crate::Counts::default();
        prop_assert_eq!(serde_json::to_string(&a).expect("serializes"), serde_json::to_string(&b).expect("serializes"));
    }

    #[test]
    fn spectra_add_up(split in 1usize..200) {
        let mut maker = Site::new();
        let traces: Vec<_> = (0..200).map(|n| maker.make(if n % 5 == 0 { Fault::SearchRaises } else { Fault::None })).collect();
        let spectrum = |traces: &[rekindle_model::Trace]| {
            let mut site = Site::new();
            site.now = maker.now;
            traces.iter().for_each(|trace| site.take(trace));
            site.analyzer.spectrum()
        };
        let mut sum = spectrum(&traces[..split]);
        sum.merge(&spectrum(&traces[split..])).expect("same version");
        prop_assert_eq!(&sum, &spectrum(&traces));
        let json = serde_json::to_string(&sum).expect("serializes");
        prop_assert_eq!(serde_json::from_str::<crate::PortableSpectrum>(&json).expect("and back"), sum);
    }
}
