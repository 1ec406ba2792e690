//! Kill the engine anywhere; what then?
//!
//! A real site, supervised by the real binary, falls ill again and again; the engine is killed at
//! every named point of a recovery and at random moments, and started again. Afterwards the ledger
//! tells one consistent story, no restart was done that it doesn't know or done twice, every process
//! is the one that it was, and the site works.

mod support;

use std::time::Duration;

use rekindle_datasets::auction::{Fault, FaultKind, ServiceName};
use rekindle_recovery::crash::CrashPoint;
use support::Stage;

/// Components that are made ill in turn. Not the same twice in a row: a fault that comes back again
/// and again in one place is for a person, by a guard.
const COMPONENTS: [&str; 8] = [
    "catalog.items",
    "bidding.history",
    "accounts.users",
    "catalog.search",
    "bidding.place",
    "catalog.categories",
    "accounts.auth",
    "sessions.store",
];

#[test]
fn killed_at_every_named_point_it_tells_one_story() {
    for (point, component) in CrashPoint::ALL.into_iter().zip(COMPONENTS) {
        let mut stage = Stage::new(point.as_str());
        stage.start_engine(Some(point));
        stage.wait_calm();
        let processes = stage.process_ids();
        stage
            .site
            .inject(&Fault::new(component, FaultKind::Error))
            .expect("injected");
        stage.wait_engine_killed(point);
        // The site goes on without the engine: every process answers.
        assert_eq!(stage.process_ids().len(), processes.len(), "{point}");
        stage.start_engine(None);
        stage.wait_cured(component);
        // A process may have been restarted as the next level up, which the ledger then knows;
        // adoption alone restarts none.
        let restarted = stage.restarted_units();
        for (service, pid) in stage.process_ids() {
            if !restarted.contains(&service) {
                assert_eq!(
                    Some(&pid),
                    processes.get(&service),
                    "{point}: {service} is another"
                );
            }
        }
        stage.check_ledger(&format!("after {point}"));
        stage.stop_engine();
    }
}

#[test]
fn killed_at_random_moments_it_tells_one_story() {
    let mut stage = Stage::new("random");
    let mut random = support::Random::new(7);
    for round in 0..20 {
        let component = COMPONENTS[round % COMPONENTS.len()];
        stage.start_engine(None);
        stage
            .site
            .inject(&Fault::new(component, FaultKind::Error))
            .expect("injected");
        std::thread::sleep(Duration::from_millis(random.below(3_000)));
        let processes = stage.process_ids();
        stage.kill_engine();
        assert_eq!(
            stage.process_ids(),
            processes,
            "round {round}: the site goes on"
        );
    }
    stage.start_engine(None);
    for service in ServiceName::ALL {
        let status = stage.site.status(service).expect("every process is up");
        assert_eq!(status.service, service);
    }
    stage.wait_settled();
    stage.check_ledger("after twenty kills");
}
