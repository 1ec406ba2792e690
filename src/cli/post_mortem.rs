//! What was saved before restarts, on a terminal.

use std::io;

use super::terminal::plain;
use super::{Failure, Terminal};
use crate::client::Client;
use crate::exit::Exit;
use crate::view::{KeptView, PostMortemView, TraceView};
use crate::words;

pub(super) fn post_mortem(
    terminal: &mut Terminal,
    client: &Client,
    action: Option<u64>,
    incident: Option<u64>,
) -> Result<Exit, Failure> {
    match action {
        Some(action) => {
            let found: PostMortemView = client.get(&format!("/post-mortems/{action}"))?;
            terminal.answer(&found, show)?;
        }
        None => {
            let of = incident.map_or_else(String::new, |incident| format!("?incident={incident}"));
            let kept: Vec<KeptView> = client.get(&format!("/post-mortems{of}"))?;
            terminal.answer(&kept, |terminal, kept| list(terminal, kept))?;
        }
    }
    Ok(Exit::Ok)
}

fn list(terminal: &mut Terminal, kept: &[KeptView]) -> io::Result<()> {
    if kept.is_empty() {
        return terminal.line("Nothing is kept of before any restart.");
    }
    let rows = kept.iter().map(|kept| {
        vec![
            plain(kept.action.to_string()),
            plain(words::when(kept.at)),
            plain(known(kept.incident.map(|incident| incident.to_string()))),
        ]
    });
    terminal.table(&["#", "When (UTC)", "Incident"], rows.collect())?;
    terminal.line("(all that was saved before one: rekindle post-mortem NUMBER)")
}

fn show(terminal: &mut Terminal, found: &PostMortemView) -> io::Result<()> {
    let heading = format!("Before restart {} of {}", found.action, found.unit);
    terminal.heading(&heading, super::terminal::Tone::Plain)?;
    terminal.line(format!(
        "saved at {} in {}, before generation {}{}",
        found.at,
        words::millis(found.took_ms),
        found.next_generation,
        found.incident.map_or_else(String::new, |incident| format!(
            ", because of incident {incident}"
        )),
    ))?;
    for missing in &found.missing {
        terminal.line(format!("not to be had: {missing}"))?;
    }
    if !found.processes.is_empty() {
        let header = ["Process", "State", "Memory", "CPU time", "Files", "Threads"];
        let rows = found.processes.iter().map(|process| {
            let place = process.waits_in.as_deref().unwrap_or_default();
            vec![
                plain(format!("{} {}", process.pid, process.name)),
                plain(format!("{} {place}", process.state).trim_end()),
                plain(known(process.memory_bytes.map(words::bytes))),
                plain(known(process.cpu_ms.map(words::millis))),
                plain(known(process.open_files.map(words::count))),
                plain(known(process.threads.map(words::count))),
            ]
        });
        terminal.table(&header, rows.collect())?;
    }
    if let Some(said) = &found.command {
        terminal.line(format!("$ {}    ({})", said.command.join(" "), said.end))?;
        terminal.line(said.output.trim_end())?;
        if said.cut_bytes > 0 {
            let cut = words::bytes(said.cut_bytes);
            terminal.line(format!("({cut} more are not kept)"))?;
        }
        terminal.line("")?;
    }
    if !found.log.is_empty() {
        terminal.line("The end of what it printed:")?;
        terminal.line(&found.log)?;
    }
    for trace in &found.traces {
        show_trace(terminal, trace)?;
    }
    Ok(())
}

/// A line for the request, and one for each span that failed.
fn show_trace(terminal: &mut Terminal, trace: &TraceView) -> io::Result<()> {
    terminal.line(format!(
        "{} {}: {}, {}, {}",
        trace.id,
        trace.request_type,
        trace.outcome,
        words::micros(trace.duration_us),
        words::number_of(trace.spans.len(), "span"),
    ))?;
    for span in trace.spans.iter().filter(|span| span.failed) {
        let component = span.component.as_deref().unwrap_or(&span.service);
        let error = span.error.as_deref().unwrap_or("failed");
        terminal.line(format!("  {component} {}: {error}", span.operation))?;
    }
    Ok(())
}

fn known(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}
