//! The reports are the same for the same seed, and what should hold holds on a small scale too.

use super::*;

const SMALL: Options = Options {
    seed: 1,
    seeds: 3,
    recoveries: 30,
    steps: 300,
};

#[test]
fn the_same_seed_gives_the_same_report() {
    let report = |options: &Options| run(Scenario::Policies, options).expect("a report");
    assert_eq!(report(&SMALL), report(&SMALL));
    assert_ne!(report(&SMALL), report(&Options { seed: 2, ..SMALL }));
}
