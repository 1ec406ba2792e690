//! The demonstration as a test: real processes, real exporters, real restarts. It fails when the true
//! component is not ranked first, when anything but its unit is restarted, or when it isn't cured.
//!
//! `tests/e2e/faults` plays every fault kind and kills every process, and a leak; that takes minutes.

use std::process::Command;

fn demo(arguments: &[&str]) -> (bool, Vec<serde_json::Value>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .arg("demo")
        .args(["--output", "json"])
        .args(arguments)
        .output()
        .expect("the demo runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let reports = serde_json::from_str(&said).unwrap_or_default();
    (
        output.status.success(),
        reports,
        format!("{said}\n{errors}"),
    )
}

/// Takes a minute: a leak needs its time.
#[cfg(feature = "slow-tests")]
#[test]
fn memory_comes_back_before_anything_fails_and_the_culprit_is_remembered() {
    let (success, report, said) = demo(&["--aging", "--small"]);
    assert!(success, "{said}");
    assert_eq!(
        report[0]["rolls"][1],
        serde_json::json!(["catalog.search"]),
        "{said}"
    );
}

#[test]
fn the_same_fault_is_cured_by_a_microreboot_and_by_a_process_restart() {
    let (success, reports, said) = demo(&["--fast", "--small"]);
    assert!(success, "{said}");
    let restarted: Vec<String> = reports
        .iter()
        .map(|report| report["restarted"].to_string())
        .collect();
    assert_eq!(
        restarted,
        [r#"["catalog.search"]"#, r#"["catalog"]"#],
        "{said}"
    );
}
