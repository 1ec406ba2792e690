//! Kill the engine anywhere; what then?
//!
//! A real site, supervised by the real binary, falls ill; the engine is killed at a named point of the
//! recovery, and started again. Afterwards the ledger tells one consistent story, no restart was done
//! that it doesn't know or done twice, every process is the one that it was, and the site works.
//! (`crash_random.rs` kills it at random moments.)

mod support;

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
fn an_incident_keeps_its_number_and_its_page() {
    let mut stage = Stage::new("incident-page");
    stage.start_engine(None);
    // Not calm first: on a busy machine the site's own start may be the incident, which does as well.
    stage.make_fail("catalog.items");
    let number = stage.wait_incident();
    stage.kill_engine();
    stage.start_engine(None);
    for path in ["/incidents", "/api/v1/incidents"] {
        let path = format!("{path}/{number}");
        assert_eq!(stage.status_of(&path), 200, "{path}");
    }
    assert_eq!(stage.status_of("/incidents/999999"), 404);
    let view = stage.try_view().expect("the engine answers");
    // Nobody gave the same incident another number besides.
    let kept = view.incident(number).expect("it is shown");
    let twins = view.incidents.iter().filter(|one| {
        one.id != number
            && one.since == kept.since
            && one
                .request_types
                .iter()
                .any(|name| kept.request_types.contains(name))
    });
    assert_eq!(twins.count(), 0, "{:?}", view.incidents);
    stage.stop_engine();
}

#[test]
fn killed_at_every_named_point_it_tells_one_story() {
    for (point, component) in CrashPoint::ALL
        .into_iter()
        .zip(COMPONENTS.into_iter().cycle())
    {
        let mut stage = Stage::new(point.as_str());
        stage.start_engine(Some(point));
        stage.wait_calm();
        let processes = stage.process_ids();
        stage.make_fail(component);
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
