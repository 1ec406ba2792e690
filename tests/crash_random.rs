//! Kill the engine at twenty random moments, with a site that falls ill again and again; what then?
//!
//! Takes minutes, so it has a feature of its own: `tests/e2e/crashes` runs it.

mod support;

use std::time::Duration;

use support::Stage;

/// Components that are made ill in turn. Two, so that what a killed engine left ill and what falls ill
/// next can be told apart and cured within the test's patience.
const COMPONENTS: [&str; 2] = ["catalog.items", "bidding.history"];

#[test]
fn killed_at_random_moments_it_tells_one_story() {
    let mut stage = Stage::new("random");
    let mut random = support::Random::new(7);
    for round in 0..20 {
        let component = COMPONENTS[round % COMPONENTS.len()];
        stage.start_engine(None);
        stage.make_fail(component);
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
    stage.wait_settled();
    stage.check_ledger("after twenty kills");
}
