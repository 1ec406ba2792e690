use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::UnitName;
use crate::belief::NewVersion;
use crate::clock::{Reading, Shift};
use crate::executor::{Life, Permit};
use crate::guard::Pause;
use crate::judge::Verdict;
use crate::lifecycle::{Event, State};
use crate::service::RecoveryId;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
}

fn entry(recovery: u64, events: &[Event]) -> Entry {
    Entry {
        recovery: RecoveryId(recovery),
        incident: Some(5),
        opened_at: at(0),
        by: "auto".to_owned(),
        reason: String::new(),
        decided: None,
        given_up: None,
        evidence: None,
        held: Held::default(),
        events: events.iter().map(|event| (at(1), *event)).collect(),
        also: Vec::new(),
    }
}

fn with(also: Also, mut entry: Entry) -> Entry {
    entry.also.push(also);
    entry
}

fn intent(units: &[&str]) -> Intent {
    Intent {
        attempt: 1,
        target: units[0].into(),
        restarts: units
            .iter()
            .map(|unit| IntendedRestart {
                unit: (*unit).into(),
                deadline: Duration::from_secs(3),
                raises: vec![(*unit).into(), UnitName(format!("{unit}.part"))],
            })
            .collect(),
        by: "auto".to_owned(),
        reason: "it fails".to_owned(),
        plan: None,
        expected_cost: 12.5,
        hanging: [("web GET /".to_owned(), 3)].into(),
        at: at(1),
    }
}

const TO_COMMIT: [Event; 2] = [Event::Lease, Event::Commit];

fn done() -> Outcome {
    Outcome::Done {
        stopped_at: at(2),
        ready_at: at(3),
        began: Life::default(),
        note: "fine".to_owned(),
    }
}

fn judged() -> Judged {
    Judged {
        attempt: 1,
        at: at(5),
        verdict: Verdict::Cured,
        relief: None,
        failed_requests: Some(4.0),
        words: "gone".to_owned(),
    }
}

/// A ledger in a folder of its own, in which a restart of `a` is intended.
fn with_an_intent() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("ledger.db")).expect("a ledger");
    let commit = entry(1, &TO_COMMIT);
    store
        .commit_intent(&commit, &intent(&["a"]))
        .expect("written");
    (folder, store)
}

fn numbers(permits: &[Permit]) -> Vec<(u64, &str, u64)> {
    permits
        .iter()
        .map(|permit| {
            (
                permit.action().0,
                permit.unit().as_str(),
                permit.generation(),
            )
        })
        .collect()
}

/// Without a plan of a number, too.
#[test]
fn why_a_recovery_was_given_up_is_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).expect("a new ledger");
    let why = "it came back each time".to_owned();
    let given_up = Entry {
        given_up: Some(why.clone()),
        ..entry(1, &[Event::GiveUp])
    };
    store.append(&given_up).expect("written");
    store
        .append(&entry(2, &[Event::IncidentClosed]))
        .expect("written");
    drop(store);
    let mut store = Store::open(&path).expect("the same ledger");
    let finished = store.remember(at(0)).expect("memory").finished;
    let told: Vec<_> = finished
        .iter()
        .map(|it| (it.recovery.0, it.given_up.clone()))
        .collect();
    assert_eq!(told, [(1, Some(why))]);
}

#[test]
fn a_whole_recovery_is_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state/ledger.db");
    let mut store = Store::open(&path).expect("a new ledger");
    let permits = store
        .commit_intent(&entry(1, &TO_COMMIT), &intent(&["a", "b"]))
        .expect("written");
    assert_eq!(numbers(&permits), [(1, "a", 2), (2, "b", 2)]);
    let action = permits[0].action();
    drop(store);

    // A crash: what was intended is known, and unfinished.
    let mut store = Store::open(&path).expect("the same ledger");
    let memory = store.remember(at(0)).expect("memory");
    assert_eq!(memory.unfinished.len(), 1);
    assert_eq!(memory.unfinished[0].state, State::Committed);
    assert_eq!(memory.unfinished[0].actions.len(), 2);
    assert_eq!(memory.actions.len(), 2);
    assert_eq!(memory.generations.get(&"b.part".into()), Some(&2));
    assert_eq!(memory.last_recovery, 1);

    // What an intent numbered and nobody began isn't counted, and a first life stays the first.
    let refused: Vec<(UnitName, u64)> =
        vec![("b".into(), 1), ("b.part".into(), 1), ("c".into(), 1)];
    let entries = [
        with(Also::Result(action, done()), entry(1, &[Event::Act])),
        with(Also::NotBegun(refused.clone()), entry(1, &[])),
        with(Also::NotBegun(refused), entry(1, &[])),
        entry(1, &[Event::Done, Event::Settled]),
        with(
            Also::Verdict(judged()),
            entry(1, &[Event::Judged(Verdict::Cured)]),
        ),
    ];
    for entry in entries {
        store.append(&entry).expect("written");
    }
    let memory = store.remember(at(0)).expect("memory");
    let generations: Vec<_> = memory.generations.values().copied().collect();
    assert_eq!(generations, [2, 2, 1, 1], "{:?}", memory.generations);
    assert!(memory.unfinished.is_empty());
    assert_eq!(memory.actions[0].outcome, Some(done()));
    assert_eq!(memory.actions[0].failed_requests, Some(4.0));
    assert_eq!(memory.actions[1].verdict, Some(Verdict::Cured));
    assert_eq!(store.remember(at(5)).expect("memory").actions, []);
    let history = store.history(Some(&"b".into()), 10).expect("history");
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].1, Some(5));
    // The second part never said what became of it.
    let problems = store.audit().expect("read");
    assert_eq!(problems, ["action 2 has no result, and is over"]);
}

#[test]
fn what_cannot_have_happened_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("ledger.db")).expect("a new ledger");
    // No intent without a lease, and no permit without an intent.
    let error = store
        .commit_intent(&entry(1, &[Event::Commit]), &intent(&["a"]))
        .expect_err("no");
    assert!(
        error.in_full().contains("watching can't take Commit"),
        "{}",
        error.in_full()
    );
    let error = store
        .commit_intent(&entry(1, &[Event::Lease]), &intent(&["a"]))
        .expect_err("no");
    assert!(matches!(error, LedgerError::NotCommitted { .. }));
    store
        .commit_intent(&entry(1, &TO_COMMIT), &intent(&["a"]))
        .expect("written");
    assert!(
        store
            .commit_intent(&entry(1, &TO_COMMIT), &intent(&["a"]))
            .is_err()
    );
    let memory = store.remember(at(0)).expect("memory");
    assert_eq!((memory.actions.len(), memory.unfinished.len()), (1, 1));
    assert_eq!(store.audit().expect("read"), Vec::<String>::new());
}

#[test]
fn a_full_disk_refuses_intents_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).expect("a new ledger");
    store
        .commit_intent(&entry(1, &TO_COMMIT), &intent(&["a"]))
        .expect("written");
    store.set_full(true);
    let mut reason = intent(&["b"]);
    reason.reason = "x".repeat(100_000);
    let error = store
        .commit_intent(&entry(2, &TO_COMMIT), &reason)
        .expect_err("full");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    // The reserve was tried, in vain.
    assert!(!path.with_extension("reserve").exists());
    store.set_full(false);
    store
        .commit_intent(&entry(2, &TO_COMMIT), &reason)
        .expect("written");
    assert!(path.with_extension("reserve").exists());
    assert_eq!(store.remember(at(0)).expect("memory").actions.len(), 2);
    store.probe().expect("room");
}

#[test]
fn two_engines_and_newer_formats_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let mut first = Store::open(&path).expect("a new ledger");
    first.probe().expect("written");
    let error = Store::open(&path).expect_err("it is in use");
    assert!(
        error.to_string().contains("is another engine using"),
        "{error}"
    );
    drop(first);
    let database = rusqlite::Connection::open(&path).expect("free again");
    database
        .pragma_update(None, "user_version", 99)
        .expect("written");
    drop(database);
    let error = Store::open(&path).expect_err("too new");
    assert!(
        matches!(error, LedgerError::TooNew { found: 99, .. }),
        "{error}"
    );
    std::fs::write(&path, "this is no database, however long it is").expect("written");
    assert!(matches!(Store::open(&path), Err(LedgerError::Open { .. })));
}

#[test]
fn a_changed_story_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let mut store = Store::open(&path).expect("a new ledger");
    store
        .commit_intent(&entry(1, &TO_COMMIT), &intent(&["a"]))
        .expect("written");
    drop(store);
    let database = rusqlite::Connection::open(&path).expect("free");
    database
        .execute("UPDATE recoveries SET state = '\"judging\"'", [])
        .expect("written");
    drop(database);
    let mut store = Store::open(&path).expect("the ledger");
    assert!(matches!(
        store.remember(at(0)),
        Err(LedgerError::Damaged { .. })
    ));
    assert_eq!(store.audit().expect("read").len(), 1);
}

#[tokio::test]
async fn its_own_thread_answers_and_closes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    for round in 0..3u64 {
        let ledger = Ledger::open(&path, Threading::Own).expect("free again each time");
        let pause = Pause {
            reason: format!("round {round}"),
            by: "ada".to_owned(),
            since: at(round),
            until: None,
        };
        let wanted = pause.clone();
        ledger
            .run(move |store| store.pause(Some(&pause)))
            .await
            .expect("written");
        let memory = ledger
            .run(|store| store.remember(at(0)))
            .await
            .expect("memory");
        assert_eq!(memory.pause, Some(wanted));
    }
}

#[test]
fn of_many_versions_of_a_unit_the_last_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("ledger.db")).expect("a ledger");
    let version = |unit: &str, second| NewVersion {
        unit: unit.into(),
        what: format!("version {second} of {unit} appeared"),
        at: at(second),
        kinds: [unit.into(), UnitName(format!("{unit}.part"))].into(),
    };
    for second in 0..20 {
        // Written twice it is the same.
        for _ in 0..2 {
            let entry = with(Also::Version(version("shop", second)), entry(1, &[]));
            store.append(&entry).expect("written");
        }
    }
    let entry = with(Also::Version(version("bank", 3)), entry(1, &[]));
    store.append(&entry).expect("written");
    let found = store.remember(at(0)).expect("a memory").versions;
    let shop = (12..20).map(|second| version("shop", second));
    let expected: Vec<NewVersion> = [version("bank", 3)].into_iter().chain(shop).collect();
    assert_eq!(found, expected);
}

/// What an engine wrote before clocks and what hung were kept is read as ever.
#[test]
fn an_older_ledger_is_converted() {
    let (folder, store) = with_an_intent();
    let path = folder.path().join("ledger.db");
    drop(store);
    let database = rusqlite::Connection::open(&path).expect("a database");
    database
        .execute_batch(
            "ALTER TABLE actions DROP COLUMN shifted;
             ALTER TABLE actions DROP COLUMN hanging;
             ALTER TABLE recoveries DROP COLUMN given_up;
             DROP TABLE clocks;
             PRAGMA user_version = 3",
        )
        .expect("as it was");
    drop(database);
    let mut store = Store::open(&path).expect("it is converted");
    let memory = store.remember(at(0)).expect("memory");
    assert_eq!(memory.actions.len(), 1);
    assert_eq!(memory.actions[0].by_now(at(1)), at(1));
    assert!(memory.actions[0].hanging.is_empty());
    assert_eq!(store.clocks().expect("read"), None);
    assert_eq!(store.history(None, 10).expect("read")[0].1, Some(5));
}

/// Whichever way and however often, all that counts for something is moved, and what is too old for that isn't touched.
#[test]
fn a_clock_that_was_set_moves_what_is_remembered() {
    let (_folder, mut store) = with_an_intent();
    let pause = Pause {
        reason: "to look".to_owned(),
        by: "ann".to_owned(),
        since: at(10),
        until: Some(at(70)),
    };
    store.pause(Some(&pause)).expect("written");
    let hour = Duration::from_secs(3600);
    let reading = |wall: SystemTime| Reading {
        boot: "this".to_owned(),
        lasted: Duration::from_secs(5),
        wall,
    };
    for (forward, by) in [(true, 2 * hour), (false, hour)] {
        let shift = Some(Shift { by, forward });
        let now = reading(at(20) + by);
        store
            .set_clocks(&now, shift, at(0) - 10 * hour)
            .expect("written");
        assert_eq!(store.clocks().expect("read"), Some(now));
    }
    let memory = store.remember(at(0)).expect("memory");
    let action = &memory.actions[0];
    assert_eq!(action.intended_at, at(1), "spans have that time, too");
    assert_eq!(action.by_now(action.intended_at), at(1) + hour);
    assert_eq!(memory.unfinished[0].since, at(1) + hour);
    let moved = memory.pause.expect("a pause");
    assert_eq!(
        (moved.since, moved.until),
        (at(10) + hour, Some(at(70) + hour))
    );
    // What nobody looks at any more stays.
    let shift = Some(Shift {
        by: hour,
        forward: false,
    });
    store
        .set_clocks(&reading(at(20)), shift, at(2) + hour)
        .expect("written");
    let memory = store.remember(at(0)).expect("memory");
    assert_eq!(memory.actions[0].by_now(at(1)), at(1) + hour);
}
