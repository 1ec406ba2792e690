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

#[test]
fn mercury_comes_out_as_published() {
    // Of ten failures, the wrong oracle is wrong about three.
    let options = Options { seeds: 10, ..SMALL };
    let report = run(Scenario::Mercury, &options).expect("a report");
    assert!(report.holds(), "{:#?}", report.claims);
}

#[test]
fn small_mistakes_are_cheap() {
    for scenario in [Scenario::FalsePositives, Scenario::DetectionDelay] {
        let options = Options {
            recoveries: 1,
            ..SMALL
        };
        let report = run(scenario, &options).expect("a report");
        assert!(report.holds(), "{:#?}", report.claims);
    }
}

#[test]
fn who_knows_the_leak_restarts_least() {
    let report = run(Scenario::Rejuvenation, &SMALL).expect("a report");
    assert!(report.holds(), "{report:#?}");
    assert_eq!(
        run(Scenario::Rejuvenation, &SMALL).expect("a report"),
        report
    );
}

#[test]
fn lies_break_no_rule() {
    let report = run(Scenario::Safety, &SMALL).expect("a report");
    assert!(report.claims[0].holds, "{report:#?}");
}

#[test]
fn a_learner_is_never_much_worse_than_the_ladder() {
    let report = run(Scenario::Policies, &SMALL).expect("a report");
    for claim in report
        .claims
        .iter()
        .filter(|claim| claim.claim.contains("ladder"))
    {
        assert!(claim.holds, "{claim:?}");
    }
}
