//! The results of cases, as tables and sentences.

use comfy_table::{Table, presets};

use super::case::CaseReport;

fn seconds(millis: Option<u64>) -> String {
    millis.map_or_else(
        || String::from("–"),
        |millis| format!("{:.2} s", millis as f64 / 1000.0),
    )
}

/// What became of a case, in a sentence.
pub(super) fn sentence(report: &CaseReport) -> String {
    let mut wrong = Vec::new();
    match &report.top_suspect {
        Some(top) if *top == report.culprit => {}
        Some(top) => wrong.push(format!(
            "{top} was ranked first instead of {}",
            report.culprit
        )),
        None => wrong.push(String::from("nobody was suspected")),
    }
    if report.restarted != [report.expected_unit.clone()] {
        wrong.push(match report.restarted.as_slice() {
            [] => String::from("nothing was restarted"),
            restarted => {
                format!(
                    "restarted were {} instead of {}",
                    restarted.join(", "),
                    report.expected_unit
                )
            }
        });
    }
    match report.verdict.as_deref() {
        Some("cured") => {}
        Some(verdict) => wrong.push(format!("the verdict was {verdict}")),
        None => wrong.push(String::from("there was no verdict")),
    }
    if report.verdict.is_some() && !report.users_are_content() {
        let after = report.users_after;
        wrong.push(match after.requests {
            0 => String::from("no user asked for anything afterwards"),
            requests => format!(
                "users still saw {} of {requests} requests fail afterwards",
                after.failed
            ),
        });
    }
    if report.answers_rightly == Some(false) {
        wrong.push(format!("{} still doesn't answer rightly", report.culprit));
    }
    if wrong.is_empty() {
        format!(
            "           {}: found, only {} restarted, cured; users saw {} failed requests, and {} of {} \
             afterwards",
            report.fault,
            report.expected_unit,
            report.failed_requests,
            report.users_after.failed,
            report.users_after.requests
        )
    } else {
        format!("           {}: FAILED: {}", report.fault, wrong.join("; "))
    }
}

/// Cases as columns: the same fault with different means.
pub(super) fn side_by_side(reports: &[CaseReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header = vec![String::from("since the first failed request")];
    header.extend(reports.iter().map(|report| report.name.clone()));
    table.set_header(header);
    type Cell = fn(&CaseReport) -> String;
    let rows: [(&str, Cell); 8] = [
        ("incident opened", |report| seconds(report.detected_ms)),
        ("restart begun", |report| seconds(report.restart_ms)),
        ("ready again", |report| seconds(report.ready_ms)),
        ("judged cured", |report| seconds(report.cured_ms)),
        ("first suspect", |report| {
            report.top_suspect.clone().unwrap_or_else(|| "–".to_owned())
        }),
        ("restarted", |report| report.restarted.join(", ")),
        ("failed requests", |report| {
            format!(
                "{} of {}",
                report.failed_requests,
                report.failed_requests + report.ok_requests
            )
        }),
        ("failed actions", |report| {
            format!(
                "{} of {}",
                report.failed_actions,
                report.failed_actions + report.ok_actions
            )
        }),
    ];
    for (name, cell) in rows {
        let mut row = vec![name.to_owned()];
        row.extend(reports.iter().map(cell));
        table.add_row(row);
    }
    format!(
        "{table}\nAn action is what a user came for; it fails with the first of its requests that does."
    )
}

/// Cases as rows: every fault.
pub(super) fn fault_table(reports: &[CaseReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "fault",
        "incident",
        "first suspect",
        "restarted",
        "verdict",
        "cured after",
        "failed requests",
        "failed actions",
    ]);
    for report in reports {
        table.add_row([
            report.fault.clone(),
            seconds(report.detected_ms),
            report.top_suspect.clone().unwrap_or_else(|| "–".to_owned()),
            if report.restarted.is_empty() {
                "–".to_owned()
            } else {
                report.restarted.join(", ")
            },
            report.verdict.clone().unwrap_or_else(|| "–".to_owned()),
            seconds(report.cured_ms),
            report.failed_requests.to_string(),
            report.failed_actions.to_string(),
        ]);
    }
    let right = reports.iter().filter(|report| report.is_success()).count();
    format!(
        "{table}\nTimes count from the first failed request. An action is what a user came for; it fails with \
         the first of its requests that does.\nEach row had a site and an engine of its own, whose pages are gone \
         with it; `rekindle demo --keep` leaves one up.\n{right} of {} as they should be.",
        reports.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::case::Answered;

    fn report() -> CaseReport {
        CaseReport {
            name: "microreboot".into(),
            fault: "error in catalog.search".into(),
            culprit: "catalog.search".into(),
            expected_unit: "catalog.search".into(),
            top_suspect: Some("catalog.search".into()),
            restarted: vec!["catalog.search".into()],
            verdict: Some("cured".into()),
            detected_ms: Some(640),
            failed_requests: 12,
            users_before: Answered {
                failed: 0,
                requests: 300,
            },
            users_after: Answered {
                failed: 0,
                requests: 200,
            },
            answers_rightly: Some(true),
            ..CaseReport::default()
        }
    }

    #[test]
    fn what_went_wrong_is_said_and_fails_the_case() {
        assert!(report().is_success());
        assert!(sentence(&report()).contains("users saw 12 failed requests"));
        let cases = [
            (
                CaseReport {
                    top_suspect: Some("web".into()),
                    ..report()
                },
                "web was ranked first",
            ),
            (
                CaseReport {
                    top_suspect: None,
                    ..report()
                },
                "nobody was suspected",
            ),
            (
                CaseReport {
                    restarted: Vec::new(),
                    ..report()
                },
                "nothing was restarted",
            ),
            (
                CaseReport {
                    restarted: vec!["catalog.search".into(), "catalog".into()],
                    ..report()
                },
                "restarted were catalog.search, catalog",
            ),
            (
                CaseReport {
                    verdict: Some("unknown".into()),
                    ..report()
                },
                "the verdict was unknown",
            ),
            (
                CaseReport {
                    verdict: None,
                    ..report()
                },
                "there was no verdict",
            ),
            (
                CaseReport {
                    users_after: Answered {
                        failed: 30,
                        requests: 200,
                    },
                    ..report()
                },
                "users still saw 30 of 200 requests fail",
            ),
            (
                CaseReport {
                    users_after: Answered::default(),
                    ..report()
                },
                "no user asked for anything afterwards",
            ),
            (
                CaseReport {
                    answers_rightly: Some(false),
                    ..report()
                },
                "catalog.search still doesn't answer rightly",
            ),
        ];
        for (case, words) in cases {
            assert!(!case.is_success(), "{words}");
            assert!(sentence(&case).contains(words), "{}", sentence(&case));
        }
    }

    #[test]
    fn one_failure_that_is_not_above_what_is_usual_is_no_failure_of_the_cure() {
        let content = CaseReport {
            users_before: Answered {
                failed: 2,
                requests: 300,
            },
            users_after: Answered {
                failed: 1,
                requests: 200,
            },
            ..report()
        };
        assert!(content.is_success());
    }

    #[test]
    fn tables_show_what_is_not_known_as_a_dash() {
        let table = side_by_side(&[report()]);
        assert!(table.contains("0.64 s") && table.contains('–'), "{table}");
        assert!(fault_table(&[report()]).contains("1 of 1 as they should be"));
    }
}
