//! Kill the engine anywhere; what then?
//!
//! A real site, supervised by the real binary, falls ill; the engine is killed at a named point of the
//! recovery, and started again. Afterwards the ledger tells one consistent story, no restart was done
//! that it doesn't know or done twice, every process is the one that it was, and the site works.
//! (`crash_random.rs` kills it at random moments.)

mod support;

use rekindle_datasets::auction::ServiceName;
use rekindle_datasets::deployment::Granularity;
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
    let view = stage.view();
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

/// Ten requests of now to the catalog's items, by what says that it is of this life.
fn to_a_life(number: u64, process: u64, part: u64) -> serde_json::Value {
    use serde_json::json;
    let nanos = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let nanos = u64::try_from(nanos.as_nanos()).expect("before 2554");
    let text = |key: &str, value: String| json!({ "key": key, "value": { "stringValue": value } });
    let spans: Vec<_> = (0..10)
        .flat_map(|request| {
            let trace = format!("{:032x}", number * 100 + request + 1);
            let span = |id: u64, kind: u64, attributes: serde_json::Value| {
                json!({
                    "traceId": trace, "spanId": format!("{id:016x}"), "kind": kind, "name": "GET /of-an-old-life",
                    "parentSpanId": if id > 1 { format!("{:016x}", id - 1) } else { String::new() },
                    "startTimeUnixNano": (nanos + id).to_string(),
                    "endTimeUnixNano": (nanos + 1_000_000 - id).to_string(),
                    "attributes": attributes,
                })
            };
            let of_part = json!([
                text("code.namespace", "catalog.items".to_owned()),
                { "key": "rekindle.generation", "value": { "intValue": part.to_string() } },
            ]);
            [span(1, 2, json!([])), span(2, 1, of_part)]
        })
        .collect();
    let resource = json!([
        text("service.name", "catalog".to_owned()),
        text("rekindle.generation", process.to_string()),
    ]);
    json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [{ "spans": spans }] }] })
}

#[test]
fn what_goes_to_a_life_that_is_over_is_set_apart_also_after_a_kill() {
    let mut stage = Stage::new("old-life");
    stage.start_engine(None);
    stage.wait_calm();
    let (process, old) = stage.life_of(ServiceName::Catalog);
    assert_eq!(old, 0);
    // The first microreboot of the component leads to its second life.
    stage.restart("catalog.items");
    for (number, (process, part)) in [
        (process, 1),
        (process, 2),
        // Nobody begins a life by claiming one.
        (process, 9000),
        (process, 2),
        // A new process's part counts from the beginning.
        (process + 1, 0),
    ]
    .into_iter()
    .enumerate()
    {
        stage.export(&to_a_life(number as u64, process, part));
    }
    stage.wait_set_apart(10);
    stage.restart("catalog");
    stage.export(&to_a_life(10, process, 2));
    stage.export(&to_a_life(11, process + 1, 0));
    stage.wait_set_apart(20);
    // What others told is kept, too.
    stage.tell_deployment("rollout-7", "catalog");
    let told = stage.told_interventions();
    assert_eq!(told.len(), 1, "{told:?}");
    stage.kill_engine();
    stage.start_engine(None);
    stage.wait_set_apart(20);
    assert_eq!(stage.told_interventions(), told);
    stage.stop_engine();
}

#[test]
fn killed_at_every_named_point_it_tells_one_story() {
    kill_at_every_point(Granularity::Component);
}

/// The same where all that can be restarted are whole processes, which outlive the engine that restarts them.
#[test]
#[cfg(feature = "slow-tests")]
fn killed_while_it_restarts_processes_it_tells_one_story() {
    kill_at_every_point(Granularity::ProcessOnly);
}

fn kill_at_every_point(granularity: Granularity) {
    for (point, component) in CrashPoint::ALL
        .into_iter()
        .zip(COMPONENTS.into_iter().cycle())
    {
        let mut stage = Stage::of(point.as_str(), granularity);
        stage.start_engine(Some(point));
        stage.wait_calm();
        let processes = stage.process_ids();
        stage.make_fail(component);
        stage.wait_engine_killed(point);
        let alone = stage.answering();
        stage.start_engine(None);
        stage.wait_cured(component);
        // A process may have been restarted as the next level up, which the ledger then knows; the
        // site goes on without the engine, and adoption alone restarts none.
        let restarted = stage.restarted_units();
        for (service, pid) in stage.process_ids() {
            assert!(
                alone.contains_key(&service) || restarted.contains(&service),
                "{point}: {service} didn't answer while there was no engine, and nobody restarted it"
            );
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
