//! The demonstration as somebody reads it who has never heard of restart trees.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use rekindle_datasets::load::Tally;

use super::case::{Case, CaseReport};
use super::report;
use crate::view::{ActionView, IncidentView, PlanView, VerdictView};

/// Where the story is told.
#[derive(Debug)]
pub(super) struct Story {
    voice: Voice,
    colours: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// In sentences, to standard output.
    Aloud,
    /// Results only, as JSON.
    Json,
    /// Only where the page is: of cases that end up as a row of a table.
    Address,
    /// Not at all.
    Silent,
}

impl Story {
    pub(super) fn new(json: bool) -> Self {
        let voice = if json { Voice::Json } else { Voice::Aloud };
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { voice, colours }
    }

    pub(super) fn silent() -> Self {
        Self {
            voice: Voice::Silent,
            colours: false,
        }
    }

    /// Says no more than where to look.
    pub(super) fn address_only(json: bool) -> Self {
        Self {
            voice: if json { Voice::Silent } else { Voice::Address },
            ..Self::new(json)
        }
    }

    /// Whether this is the one story that people follow.
    pub(super) fn is_aloud(&self) -> bool {
        self.voice != Voice::Silent
    }

    fn line(&self, text: &str) {
        if self.voice == Voice::Aloud {
            // A reader that went away is no reason to stop half-way with processes running.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn opening(&self) {
        self.line(
            "An auction site of five processes runs on this machine, each made of several components\n\
             (the catalogue has items, search and categories). 100 users browse and bid. Rekindle sees\n\
             only the traces that the processes export. One component is made ill; watch.",
        );
    }

    pub(super) fn chapter(&self, number: usize, case: &Case) {
        let delay = case.export_delay.map_or_else(
            || String::from("the SDK's default, 5 s"),
            |delay| format!("{} ms", delay.as_millis()),
        );
        let smallest = match case.granularity {
            rekindle_datasets::deployment::Granularity::Component => "a single component",
            rekindle_datasets::deployment::Granularity::ProcessOnly => "a whole process",
            rekindle_datasets::deployment::Granularity::ProcessAndParts => "a cache",
        };
        self.line(&format!(
            "\n{}\nThe smallest thing that can be restarted is {smallest}; traces arrive with a delay of {delay}.\n",
            self.bold(&format!("{number}. {}", case.name))
        ));
    }

    pub(super) fn says(&self, text: &str) {
        self.line(&format!("           {text}"));
    }

    pub(super) fn at(&self, since: Duration, text: &str) {
        self.line(&format!("{:>7.2} s  {text}", since.as_secs_f64()));
    }

    pub(super) fn address(&self, api: &str) {
        if self.voice == Voice::Address {
            let _ = writeln!(std::io::stderr().lock(), "  look at it live: {api}");
        }
        self.says(&format!("look at it live: {}", self.bold(api)));
    }

    pub(super) fn calm(&self, tally: &Tally) {
        let (ok, failed) = (tally.total.ok_requests, tally.total.failed_requests);
        self.says(&match failed {
            0 => format!("all is well: {ok} requests answered, none failed"),
            _ => format!("before anything is made ill: {ok} requests answered, {failed} failed"),
        });
    }

    pub(super) fn injected(&self, case: &Case) {
        let what = match case.fault.kind {
            rekindle_datasets::auction::FaultKind::Error => {
                "its data in memory are damaged, so its calls fail"
            }
            _ => case.fault.kind.as_str(),
        };
        self.at(
            Duration::ZERO,
            &format!("{} falls ill: {what}", self.bold(case.culprit())),
        );
    }

    pub(super) fn incident(&self, since: Duration, incident: &IncidentView) {
        let types = match incident.request_types.as_slice() {
            [] => crate::words::matter(incident),
            types => types.join(", "),
        };
        self.at(since, &format!("{}: {types}", self.bold("incident opened")));
    }

    pub(super) fn suspects(&self, incident: &IncidentView) {
        let Some(ranking) = &incident.ranking else {
            return;
        };
        self.says("suspects (failed = failed requests that touched it, ok = good ones):");
        for suspect in ranking.suspects.iter().take(3) {
            self.says(&format!(
                "  {}. {:<24} {:>7}   failed {} of {}, ok {} of {}; began there: {}",
                suspect.rank,
                suspect.name(),
                crate::words::confidence(suspect.confidence),
                suspect.failed.count,
                suspect.failed.total,
                suspect.ok.count,
                suspect.ok.total,
                suspect.originated,
            ));
        }
    }

    pub(super) fn action(&self, since: Duration, action: &ActionView, plan: Option<&PlanView>) {
        self.at(
            since,
            &format!("{} {}", self.bold("restarting"), action.unit),
        );
        let reason = plan.map_or(action.why.as_str(), |plan| plan.reason.as_str());
        if !reason.is_empty() {
            self.says(&format!("because: {reason}"));
        }
    }

    pub(super) fn judged(&self, since: Duration, action: &ActionView, verdict: VerdictView) {
        let relief = action.relief.map_or_else(String::new, |relief| {
            format!(
                ": failure rate down by {:.0} points (95 % sure of {:.0} to {:.0})",
                relief.drop * 100.0,
                relief.low * 100.0,
                relief.high * 100.0
            )
        });
        let down = action
            .downtime_ms
            .map_or_else(String::new, |down| format!("; it was down for {down} ms"));
        self.at(
            since,
            &format!(
                "{} is judged {}{relief}{down}",
                action.unit,
                self.bold(&verdict.to_string())
            ),
        );
    }

    pub(super) fn verdict(&self, report: &CaseReport) {
        self.line(&report::sentence(report));
    }

    pub(super) fn progress(&self, number: usize, of: usize, case: &Case) {
        if self.voice == Voice::Aloud {
            let _ = writeln!(
                std::io::stderr().lock(),
                "{number} of {of}: {} in {}",
                case.fault.kind.as_str(),
                case.culprit()
            );
        }
    }

    pub(super) fn skipped(&self, what: &str, why: &str) {
        if self.voice != Voice::Silent {
            let _ = writeln!(std::io::stderr().lock(), "skipped: {what}: {why}");
        }
    }

    pub(super) fn row(&self, report: &CaseReport) {
        self.line(&format!("  {}", report::sentence(report).trim_start()));
    }

    pub(super) fn table(&self, reports: &[CaseReport]) {
        self.finish(&report::fault_table(reports), reports);
    }

    pub(super) fn side_by_side(&self, reports: &[CaseReport]) {
        self.finish(&report::side_by_side(reports), reports);
    }

    /// The results, for programs.
    pub(super) fn json<T: serde::Serialize>(&self, report: &T) -> anyhow::Result<()> {
        if self.voice == Voice::Json {
            let text = serde_json::to_string_pretty(report)?;
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
        Ok(())
    }

    fn finish(&self, table: &str, reports: &[CaseReport]) {
        match self.voice {
            Voice::Aloud => self.line(&format!("\n{table}")),
            Voice::Json => {
                let text = serde_json::to_string_pretty(reports).unwrap_or_default();
                let _ = writeln!(std::io::stdout().lock(), "{text}");
            }
            Voice::Address | Voice::Silent => {}
        }
    }
}
