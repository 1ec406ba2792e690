//! The site as its users and its surgeon meet it: real threads, real sockets, small data.

mod spans;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fault::{Fault, FaultKind};
use super::world::{Scale, World};
use super::{Peer, Service, ServiceName, ServiceOptions};
use crate::load::{LoadConfig, Users};
use crate::probes::{self, Verdict};

const SCALE: Scale = Scale {
    items: 300,
    bids: 600,
    users: 40,
};

/// Longer than a request's budget in these tests, so that a failure is told, not guessed.
const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    services: Vec<Service>,
    world: World,
    _folder: tempfile::TempDir,
}

impl Site {
    /// All five services in this process.
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl Fn(&mut ServiceOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut services: Vec<Service> = Vec::new();
        let order = [
            ServiceName::Catalog,
            ServiceName::Accounts,
            ServiceName::Sessions,
            ServiceName::Bidding,
            ServiceName::Web,
        ];
        let mut world = None;
        for name in order {
            let mut options = ServiceOptions::new(name, folder.path().to_owned());
            options.items = SCALE.items;
            options.bids = SCALE.bids;
            options.users = SCALE.users;
            options.start_limit_ms = 20_000;
            options.peers = services
                .iter()
                .map(|service| Peer {
                    service: service.name(),
                    address: service.address(),
                })
                .collect();
            change(&mut options);
            world = Some(options.world());
            services.push(Service::start(&options).expect("a service"));
        }
        Self {
            services,
            world: world.expect("there are services"),
            _folder: folder,
        }
    }

    fn service(&self, name: ServiceName) -> &Service {
        let mut services = self.services.iter();
        services
            .find(|service| service.name() == name)
            .expect("all five run")
    }

    fn owner(&self, component: &str) -> &Service {
        self.service(ServiceName::of_component(component).expect(component))
    }

    /// What a known-answer question to the component's own service gets.
    fn verdict(&self, component: &str) -> Verdict {
        let question = probes::of_component(&self.world, component).expect(component);
        probes::ask(self.owner(component).address(), &question, PATIENCE).verdict
    }

    fn inject(&self, fault: &Fault) -> u16 {
        let control = self.owner(&fault.component).control_address();
        let fault = serde_json::to_value(fault).expect("faults serialize");
        request(control, "POST", "/fault", Some(&fault), &[]).0
    }

    fn microreboot(&self, component: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let control = self.owner(component).control_address();
        let path = format!("/microreboot/{component}");
        request(control, "POST", &path, None, headers)
    }

    fn status(&self, component: &str) -> Value {
        let control = self.owner(component).control_address();
        let (_, body) = request(control, "GET", "/status", None, &[]);
        let status: Value = serde_json::from_str(&body).expect("status is JSON");
        let components = status["components"].as_array().expect("a list").iter();
        let mut found = components.filter(|one| one["name"] == component);
        found.next().expect(component).clone()
    }
}

fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .proxy(None)
        .build()
        .into();
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("http://{server}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let text = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            body.to_string()
        }
        None => String::new(),
    };
    let request = request.body(text).expect("a request");
    let mut response = agent.run(request).expect("an answer");
    let text = response.body_mut().read_to_string().expect("text");
    (response.status().as_u16(), text)
}

/// Asks until the answer is as wanted; faults such as a crash need a call or two to show.
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < 3 * PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_question_through_the_front_is_answered_rightly() {
    let site = Site::start();
    let web = site.service(ServiceName::Web).address();
    for question in probes::through_front(&site.world) {
        let asked = probes::ask(web, &question, PATIENCE);
        assert_eq!(asked.verdict, Verdict::Right, "{question:?}");
        assert!(asked.trace_id.is_some());
    }
}

/// What a question to the ill component gets.
fn is_as_ill_as(kind: FaultKind, verdict: &Verdict) -> bool {
    match kind {
        FaultKind::Error => *verdict == Verdict::Failed { status: 503 },
        FaultKind::Hang | FaultKind::Loop | FaultKind::Deadlock => {
            *verdict == Verdict::Failed { status: 504 }
        }
        FaultKind::Slow => *verdict == Verdict::Right,
        FaultKind::Crash => *verdict == Verdict::Failed { status: 503 },
        FaultKind::WrongAnswer => *verdict == Verdict::Wrong,
    }
}

#[test]
fn each_fault_breaks_what_it_says_and_a_microreboot_cures_it() {
    let site = Site::start_with(|options| {
        options.budget_ms = 1_500;
        options.max_abandoned = 10;
    });
    let component = "catalog.search";
    for kind in FaultKind::ALL {
        let mut fault = Fault::new(component, kind);
        fault.delay_ms = 500;
        assert_eq!(site.verdict(component), Verdict::Right, "before {kind:?}");
        assert_eq!(site.inject(&fault), 204);
        let begun = Instant::now();
        let verdict = site.verdict(component);
        assert!(is_as_ill_as(kind, &verdict), "{kind:?}: {verdict:?}");
        if kind == FaultKind::Slow {
            assert!(begun.elapsed() >= Duration::from_millis(500));
        }
        if kind == FaultKind::Crash {
            // The other worker dies at its first call; then nobody is there.
            assert!(is_as_ill_as(kind, &site.verdict(component)));
            wait_for("both threads to be dead", || {
                site.status(component)["up"] == false
            });
        }
        assert_eq!(
            site.verdict("catalog.items"),
            Verdict::Right,
            "beside {kind:?}"
        );
        let (status, body) = site.microreboot(component, &[]);
        assert_eq!(status, 200, "{kind:?}: {body}");
        assert_eq!(site.verdict(component), Verdict::Right, "after {kind:?}");
    }
    let status = site.status(component);
    let abandoned = status["abandoned_lives"].as_u64().expect("a count");
    // On a busy machine a slow life, or a crashed one, may not have ended in time, either.
    assert!(
        (3..=5).contains(&abandoned),
        "hang, loop and deadlock: {status}"
    );
}

#[test]
fn a_leak_grows_with_calls_and_ends_with_the_life() {
    let site = Site::start();
    let component = "catalog.search";
    let control = site.owner(component).control_address();
    let leak = json!({ "component": component, "bytes_per_call": 1000 });
    assert_eq!(request(control, "POST", "/leak", Some(&leak), &[]).0, 204);
    for _ in 0..3 {
        assert_eq!(site.verdict(component), Verdict::Right);
    }
    let leaked = site.status(component)["leaked_bytes"].as_u64();
    assert!(leaked.is_some_and(|leaked| leaked >= 3000), "{leaked:?}");
    assert_eq!(site.microreboot(component, &[]).0, 200);
    assert_eq!(site.verdict(component), Verdict::Right);
    assert_eq!(site.status(component)["leaked_bytes"], 0);
}

#[test]
fn every_component_can_be_lost_and_found() {
    let site = Site::start();
    for service in ServiceName::ALL {
        for component in service.components() {
            assert_eq!(site.verdict(component), Verdict::Right, "{component}");
            site.inject(&Fault::new(component, FaultKind::WrongAnswer));
            assert_eq!(site.verdict(component), Verdict::Wrong, "{component}");
            site.inject(&Fault::new(component, FaultKind::Error));
            let lost = site.verdict(component);
            assert!(
                matches!(lost, Verdict::Failed { .. }),
                "{component}: {lost:?}"
            );
            assert_eq!(site.microreboot(component, &[]).0, 200);
            assert_eq!(site.verdict(component), Verdict::Right, "{component}");
        }
    }
}

#[test]
fn a_part_is_reset_without_its_component() {
    let site = Site::start();
    let (part, component) = ("catalog.categories.cache", "catalog.categories");
    let control = site.owner(part).control_address();
    let ready = format!("/ready/{part}");
    assert_eq!(request(control, "GET", &ready, None, &[]).0, 200);
    for kind in [FaultKind::WrongAnswer, FaultKind::Error] {
        // The second category, too, so that there is something to be mixed up with.
        let web = site.service(ServiceName::Catalog).address();
        assert_eq!(request(web, "GET", "/categories/1", None, &[]).0, 200);
        assert_eq!(site.verdict(part), Verdict::Right);
        assert_eq!(site.inject(&Fault::new(part, kind)), 204);
        match kind {
            FaultKind::Error => assert_eq!(site.verdict(part), Verdict::Failed { status: 503 }),
            _ => assert_eq!(site.verdict(part), Verdict::Wrong),
        }
        assert_eq!(site.microreboot(part, &[]).0, 200);
        assert_eq!(site.verdict(part), Verdict::Right, "{kind:?}");
        assert_eq!(
            site.status(component)["reboots"],
            0,
            "the component lives on"
        );
    }
    // Its component's new life has a new one.
    site.inject(&Fault::new(part, FaultKind::Error));
    assert_eq!(site.microreboot(component, &[]).0, 200);
    assert_eq!(site.verdict(part), Verdict::Right);
    // Orders are told apart as a component's are.
    let order = [("idempotency-key", "a1"), ("rekindle-generation", "9")];
    let (status, answer) = site.microreboot(part, &order);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(site.microreboot(part, &order), (200, answer));
    assert_eq!(
        site.microreboot(part, &[("rekindle-generation", "8")]).0,
        409
    );
    // Nothing that it hasn't can be damaged.
    assert_eq!(site.inject(&Fault::new(part, FaultKind::Hang)), 422);
    assert_eq!(
        site.inject(&Fault::new(part, FaultKind::Error).in_process()),
        422
    );
}

#[test]
fn damage_in_the_process_survives_a_microreboot() {
    let site = Site::start();
    let component = "accounts.users";
    // Not the crash: in the process's scope that is the end of the process, here the tests' own.
    for kind in [FaultKind::Error, FaultKind::Slow] {
        let mut fault = Fault::new(component, kind).in_process();
        fault.delay_ms = 3_000;
        assert_eq!(site.inject(&fault), 204);
        assert!(
            matches!(site.verdict(component), Verdict::Failed { .. }),
            "{kind:?}"
        );
        assert_eq!(site.microreboot(component, &[]).0, 200);
        assert!(
            matches!(site.verdict(component), Verdict::Failed { .. }),
            "{kind:?}"
        );
        let control = site.owner(component).control_address();
        assert_eq!(request(control, "DELETE", "/fault", None, &[]).0, 204);
        assert_eq!(site.verdict(component), Verdict::Right, "{kind:?} lifted");
    }
    let wrong = Fault::new(component, FaultKind::WrongAnswer).in_process();
    assert_eq!(site.inject(&wrong), 422);
}

#[test]
fn a_microreboot_disturbs_nobody_else() {
    let site = Site::start();
    let asking = std::sync::atomic::AtomicBool::new(true);
    let (asked, failed) = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let (mut asked, mut failed) = (0, 0);
            while asking.load(std::sync::atomic::Ordering::SeqCst) {
                for component in ["catalog.items", "bidding.history", "sessions.store"] {
                    asked += 1;
                    failed += u32::from(site.verdict(component) != Verdict::Right);
                }
            }
            (asked, failed)
        });
        for _ in 0..5 {
            assert_eq!(site.microreboot("catalog.search", &[]).0, 200);
        }
        asking.store(false, std::sync::atomic::Ordering::SeqCst);
        others.join().expect("asked on")
    });
    assert!(asked >= 3, "{asked}");
    assert_eq!(failed, 0, "of {asked}");
}

#[test]
fn callers_in_flight_are_told_at_once_that_the_life_is_over() {
    let site = Site::start_with(|options| options.budget_ms = 120_000);
    // In the process's memory, so that whichever life gets the question is stuck with it.
    site.inject(&Fault::new("catalog.search", FaultKind::Hang).in_process());
    let begun = Instant::now();
    let verdict = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let question = probes::of_component(&site.world, "catalog.search").expect("one");
            let catalog = site.owner("catalog.search").address();
            probes::ask(catalog, &question, Duration::from_secs(150)).verdict
        });
        // When the question has arrived can't be seen from outside: end lives until one had it.
        wait_for("the end of the life that has the question", || {
            site.microreboot("catalog.search", &[]);
            asking.is_finished()
        });
        asking.join().expect("answered")
    });
    assert_eq!(verdict, Verdict::Failed { status: 503 });
    assert!(
        begun.elapsed() < Duration::from_secs(115),
        "told before its deadline"
    );
}

#[test]
fn too_many_abandoned_threads_are_a_matter_for_the_process() {
    let site = Site::start_with(|options| {
        options.budget_ms = 600;
        options.max_abandoned = 2;
    });
    let component = "bidding.history";
    for life in 1..=2_u64 {
        site.inject(&Fault::new(component, FaultKind::Hang));
        assert_eq!(site.verdict(component), Verdict::Failed { status: 504 });
        assert_eq!(site.microreboot(component, &[]).0, 200);
        let status = site.status(component);
        assert_eq!(status["abandoned_lives"], life, "{status}");
        assert_eq!(status["generation"], life, "{status}");
    }
    let (status, reason) = site.microreboot(component, &[]);
    assert_eq!(status, 409);
    assert!(reason.contains("too many abandoned threads"), "{reason}");
    // Refused, not half done.
    assert_eq!(site.verdict(component), Verdict::Right);
}

#[test]
fn an_action_is_done_once_and_a_generation_that_is_over_is_refused() {
    let site = Site::start();
    let component = "sessions.store";
    let control = site.owner(component).control_address();
    let asked = |key: &str| {
        let path = format!("/microreboot/{component}?action={key}");
        request(control, "GET", &path, None, &[]).1
    };
    assert_eq!(asked("a1"), "{\"done\":false}");
    let first = [("idempotency-key", "a1"), ("rekindle-generation", "7")];
    let (status, answer) = site.microreboot(component, &first);
    assert_eq!(status, 200);
    assert_eq!(asked("a1"), "{\"done\":true}");
    assert_eq!(
        site.microreboot(component, &first),
        (200, answer),
        "the same answer"
    );
    assert_eq!(site.status(component)["generation"], 7);
    let late = [("idempotency-key", "a0"), ("rekindle-generation", "6")];
    assert_eq!(site.microreboot(component, &late).0, 409);
    assert_eq!(asked("a0"), "{\"done\":false}");
    assert_eq!(site.microreboot(component, &[]).0, 200);
    assert_eq!(site.status(component)["generation"], 8);
    assert_eq!(
        site.microreboot(component, &[("rekindle-generation", "x")])
            .0,
        400
    );
    let path = "/microreboot/sessions.nothing";
    assert_eq!(request(control, "POST", path, None, &[]).0, 404);
}

#[test]
fn sessions_bids_and_accounts_survive_their_components() {
    let site = Site::start();
    let web = site.service(ServiceName::Web).address();
    let (status, page) = request(web, "POST", "/register?nick=new&password=x", None, &[]);
    assert_eq!(status, 200, "{page}");
    let (_, rest) = page.split_once("data-session=\"").expect("a session");
    let session = rest.split('"').next().expect("a token");
    let bid = format!("/items/5/bids?session={session}&cents=9900000");
    assert_eq!(request(web, "POST", &bid, None, &[]).0, 200);
    assert_eq!(
        request(web, "POST", &bid, None, &[]).0,
        409,
        "the same again is too low"
    );
    for component in [
        "sessions.store",
        "bidding.place",
        "bidding.history",
        "accounts.users",
    ] {
        assert_eq!(site.microreboot(component, &[]).0, 200);
    }
    let (_, page) = request(web, "GET", "/items/5/bids", None, &[]);
    assert!(page.contains("99000.00 by new"), "{page}");
    let path = format!("/account?session={session}");
    let (_, page) = request(web, "GET", &path, None, &[]);
    assert!(page.contains("Account of new"), "{page}");
    assert_eq!(
        request(web, "POST", "/login?nick=new&password=y", None, &[]).0,
        409
    );
    let path = format!("/logout?session={session}");
    assert_eq!(request(web, "POST", &path, None, &[]).0, 200);
    assert_eq!(request(web, "POST", &path, None, &[]).0, 404);
}

#[test]
fn a_service_that_is_gone_is_a_503_at_its_callers() {
    let mut site = Site::start();
    let web = site.service(ServiceName::Web).address();
    site.services
        .retain(|service| service.name() != ServiceName::Catalog);
    assert_eq!(request(web, "GET", "/items/1", None, &[]).0, 503);
    assert_eq!(request(web, "GET", "/items/1/bids", None, &[]).0, 200);
}

#[test]
fn users_of_a_healthy_site_see_no_failure_and_of_an_ill_one_some() {
    let site = Site::start();
    let mut config = LoadConfig::new(site.world);
    config.users = 6;
    config.think = Duration::from_millis(10);
    // Whether a debug build on a busy machine is quick is not the question here.
    config.patience = Duration::from_secs(20);
    let web = site.service(ServiceName::Web).address();
    let users = Users::start(3, web, config).expect("users");
    wait_for("every operation", || {
        users.snapshot().operations.len() == crate::load::Operation::ALL.len()
    });
    let well = users.snapshot();
    assert_eq!(well.total.failed_requests, 0, "{:?}", well.failures);
    site.inject(&Fault::new("catalog.items", FaultKind::WrongAnswer));
    wait_for("a wrong answer", || {
        users.snapshot().total.wrong_requests > 0
    });
    assert_eq!(site.microreboot("catalog.items", &[]).0, 200);
    site.inject(&Fault::new("catalog.search", FaultKind::Error));
    wait_for("a failed search", || {
        let failures = users.snapshot().failures;
        let status = crate::load::Failure::Status(503);
        failures
            .iter()
            .any(|failed| failed.failure == status && failed.trace_id.is_some())
    });
    assert!(users.stop().total.failed_actions > 0);
}

#[test]
fn nonsense_is_answered_as_such() {
    let site = Site::start();
    let web = site.service(ServiceName::Web).address();
    for (path, status) in [
        ("/items/0", 404),
        ("/items/x", 400),
        ("/items/99999999", 404),
        ("/browse/99", 404),
        ("/search", 400),
        ("/search?q=", 200),
        ("/account", 400),
        ("/account?session=x", 404),
        ("/nothing", 404),
        ("/login/check?nick=nobody&password=x", 409),
        ("/?lang=x", 400),
        ("/?lang=4000000000", 200),
    ] {
        assert_eq!(request(web, "GET", path, None, &[]).0, status, "{path}");
    }
    let control = site.service(ServiceName::Web).control_address();
    let unknown = json!({ "component": "web.nothing", "kind": "error" });
    assert_eq!(
        request(control, "POST", "/fault", Some(&unknown), &[]).0,
        422
    );
    let malformed = json!({ "component": "web.bid", "kind": "plague" });
    assert_eq!(
        request(control, "POST", "/fault", Some(&malformed), &[]).0,
        422
    );
    assert_eq!(
        request(control, "GET", "/ready/web.nothing", None, &[]).0,
        404
    );
    assert_eq!(request(control, "GET", "/ready", None, &[]).0, 200);
}
