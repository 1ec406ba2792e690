//! `check-config` and the configuration of `run`, as typed.

use std::fs;

use crate::cli::{Outcome, rekindle};

#[test]
fn the_printed_default_is_a_configuration() {
    let printed = rekindle(None, &["check-config", "--print-default"]);
    assert_eq!(printed.code, 0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rekindle.yaml");
    fs::write(&file, &printed.out).expect("written");
    let checked = rekindle(None, &["check-config", &file.display().to_string()]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked.out.contains("rekindle.yaml is fine."),
        "{checked:?}"
    );
    assert!(checked.out.contains("observes only"), "{checked:?}");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rekindle.yaml");
    let yaml = "restart:\n  mode: propose\n  tree:\n    - unit: shop\n      units:\n        \
                - { unit: a, mode: auto, match: { service.name: a }, command: { run: [/no/such/program] } }\n        \
                - { unit: b, http: { post: \"http://127.0.0.1:1/b\" } }\n";
    fs::write(&file, yaml).expect("written");
    let checked = rekindle(None, &["check-config", &file.display().to_string()]);
    assert_eq!(checked.code, 0, "{checked:?}");
    for told in [
        "is fine, but for 2 warnings.",
        "a: there is no program /no/such/program",
        "b can be restarted, but has no `match`",
        "auto for a, propose elsewhere",
    ] {
        assert!(checked.out.contains(told), "{told}: {checked:?}");
    }
    let twice = "listen: { grpc: \"127.0.0.1:4317\", http: \"127.0.0.1:4317\" }\n";
    fs::write(&file, twice).expect("written");
    let checked = rekindle(None, &["check-config", &file.display().to_string()]);
    assert_eq!(checked.code, 64, "{checked:?}");
    let told = "127.0.0.1:4317 is what `listen.grpc` listens on already";
    assert!(checked.err.contains(told), "{checked:?}");
    let on_all = "listen: { grpc: \"0.0.0.0:4317\", http: \"127.0.0.1:4317\" }\n";
    fs::write(&file, on_all).expect("written");
    let checked = rekindle(None, &["check-config", &file.display().to_string()]);
    let told = "127.0.0.1:4317 is among what `listen.grpc` listens on already, 0.0.0.0:4317";
    assert!(checked.err.contains(told), "{checked:?}");
}

#[test]
fn what_was_learned_elsewhere_is_checked_with_the_tree() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (config, learned) = (file("rekindle.yaml"), file("learned.yaml"));
    let yaml = format!(
        "restart:\n  learned: {learned}\n  tree:\n    - {{ unit: shop, match: {{ service.name: shop }}, \
         command: {{ run: [sh] }} }}\n"
    );
    fs::write(&config, yaml).expect("written");
    let check = || rekindle(None, &["check-config", &config]);
    let missing = check();
    assert_eq!(missing.code, 64, "{missing:?}");
    assert!(
        missing.err.contains("which `restart.learned` names"),
        "{missing:?}"
    );
    for (unit, code, told) in [
        ("shop", 0, "is fine"),
        (
            "shpo",
            64,
            "learned.yaml: `costs[0].unit` at line 2, column 5: there is no unit shpo",
        ),
    ] {
        let costs =
            format!("costs:\n  - {{ unit: {unit}, downtime: {{ mean: 2, restarts: 3 }} }}\n");
        fs::write(&learned, costs).expect("written");
        let checked = check();
        assert_eq!(checked.code, code, "{checked:?}");
        assert!(
            checked.out.contains(told) || checked.err.contains(told),
            "{checked:?}"
        );
    }
}

#[test]
fn mistakes_are_told_all_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r.yaml");
    fs::write(&file, "restrat: 1\nanalysis:\n  slice: 5\n").expect("written");
    let name = file.display().to_string();
    let told = format!(
        "{name}: unknown key `restrat` at line 1, column 1; did you mean `restart`?\n\
         {name}: `analysis.slice` at line 3, column 10: `5` has no unit; write a duration as in \
         200ms, 5s or 10m\n"
    );
    let checked = rekindle(None, &["check-config", &name]);
    assert_eq!((checked.code, checked.err.as_str()), (64, told.as_str()));
    // The daemon says the same, and doesn't start.
    let run = rekindle(None, &["run", "--config", &name]);
    assert_eq!((run.code, run.err), (64, told));
    let json = rekindle(None, &["-o", "json", "check-config", &name]);
    let value: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(value["complaints"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_cannot_be_read_is_said() {
    let Outcome { code, err, .. } = rekindle(None, &["check-config", "/nowhere/r.yaml"]);
    assert_eq!(code, 64);
    assert!(
        err.starts_with("rekindle: failed reading configuration /nowhere/r.yaml: "),
        "{err}"
    );
}

#[test]
fn a_file_of_speakers_that_cannot_be_read_is_said_before_the_daemon_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, speakers) = (folder.path().join("r.yaml"), folder.path().join("speakers"));
    fs::write(
        &file,
        "listen: { speakers: SPEAKERS }\n".replace("SPEAKERS", &speakers.display().to_string()),
    )
    .expect("written");
    let name = file.display().to_string();
    let missing = rekindle(None, &["check-config", &name]);
    assert_eq!(missing.code, 64, "{missing:?}");
    let wanted = format!("`speakers`, the file {}", speakers.display());
    assert!(missing.err.contains(&wanted), "{}", missing.err);
    fs::write(&speakers, "nonsense\n").expect("written");
    let malformed = rekindle(None, &["check-config", &name]);
    assert!(
        malformed.code == 64 && malformed.err.contains(&wanted),
        "{malformed:?}"
    );
}

#[test]
fn run_does_not_listen_beyond_loopback_unasked() {
    let run = rekindle(None, &["run", "--listen-api", "0.0.0.0:0"]);
    assert_eq!(run.code, 64, "{run:?}");
    assert!(
        run.err
            .contains("`listen.api`: 0.0.0.0:0 can be reached from other machines"),
        "{run:?}"
    );
}
