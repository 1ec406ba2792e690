//! Commands that make the daemon do something.

use std::time::Duration;

use super::args::By;
use super::terminal::{Tone, plain};
use super::{Failure, Terminal};
use crate::api::{ApproveBody, DryRun, PauseBody, RejectBody, Reply, RestartBody, ResumeBody};
use crate::client::Client;
use crate::exit::Exit;
use crate::words;

pub(super) fn approve(
    terminal: &mut Terminal,
    client: &Client,
    plan: u64,
    by: By,
) -> Result<Exit, Failure> {
    let body = ApproveBody { by: by.by };
    let reply = client.post(&format!("/plans/{plan}/approve"), &body)?;
    show(terminal, &reply)
}

pub(super) fn reject(
    terminal: &mut Terminal,
    client: &Client,
    plan: u64,
    reason: String,
    by: By,
) -> Result<Exit, Failure> {
    let body = RejectBody { reason, by: by.by };
    let reply = client.post(&format!("/plans/{plan}/reject"), &body)?;
    show(terminal, &reply)
}

pub(super) fn restart(
    terminal: &mut Terminal,
    client: &Client,
    unit: &str,
    dry_run: bool,
    reason: Option<String>,
    by: By,
) -> Result<Exit, Failure> {
    let body = RestartBody {
        dry_run,
        reason,
        by: by.by,
    };
    let path = format!("/units/{}/restart", words::path_segment(unit));
    let reply = client.post(&path, &body)?;
    show(terminal, &reply)
}

pub(super) fn pause(
    terminal: &mut Terminal,
    client: &Client,
    reason: String,
    duration: Option<Duration>,
    by: By,
) -> Result<Exit, Failure> {
    let body = PauseBody {
        reason,
        for_seconds: duration.map(|duration| duration.as_secs_f64()),
        by: by.by,
    };
    let reply = client.post("/pause", &body)?;
    show(terminal, &reply)
}

pub(super) fn resume(terminal: &mut Terminal, client: &Client, by: By) -> Result<Exit, Failure> {
    let reply = client.post("/resume", &ResumeBody { by: by.by })?;
    show(terminal, &reply)
}

fn show(terminal: &mut Terminal, reply: &Reply) -> Result<Exit, Failure> {
    terminal.answer(reply, |terminal, reply| match reply {
        Reply::Done { message } => terminal.line(message),
        Reply::DryRun(dry_run) => show_dry_run(terminal, dry_run),
        Reply::History { .. } | Reply::Explanation(_) => terminal.line("done"),
    })?;
    // A dry run that would be refused is an answer, but scripts want to branch on it.
    match reply {
        Reply::DryRun(dry_run) if !dry_run.refusals.is_empty() => Ok(Exit::Refused),
        _ => Ok(Exit::Ok),
    }
}

fn show_dry_run(terminal: &mut Terminal, dry_run: &DryRun) -> std::io::Result<()> {
    terminal.heading(
        &format!("Restarting {} would (nothing was done):", dry_run.unit),
        Tone::Plain,
    )?;
    let rows = vec![
        vec![
            plain("restart, in this order"),
            plain(dry_run.restarts.join(", ")),
        ],
        vec![plain("take down"), plain(dry_run.affected.join(", "))],
        vec![
            plain("take about"),
            plain(words::millis(dry_run.expected_downtime_ms)),
        ],
        vec![
            plain("cost about"),
            plain(format!(
                "{} failed requests",
                words::about(dry_run.expected_cost)
            )),
        ],
        vec![plain("be refused"), objections(&dry_run.refusals)],
        vec![
            plain("be refused unattended"),
            objections(&dry_run.unattended_refusals),
        ],
    ];
    terminal.table(&[], rows)
}

fn objections(refusals: &[String]) -> super::terminal::Words {
    if refusals.is_empty() {
        ("no".to_owned(), Tone::Good)
    } else {
        (refusals.join("\n"), Tone::Attention)
    }
}
