//! What was saved before a restart: the processes, what they printed, what the command said, and
//! requests that failed beside ones that didn't.

use maud::{Markup, html};

use super::trace;
use crate::view::PostMortemView;
use crate::words;

/// The page's body.
pub(super) fn render(found: &PostMortemView) -> Markup {
    let known = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    html! {
        section.banner.idle {
            h1 { "Before restart " (found.action) " of " (found.unit) }
            p {
                "Saved at " time datetime=(found.at) { (found.at) } " in " (words::millis(found.took_ms))
                ", before generation " (found.next_generation) " began"
                @if let Some(incident) = found.incident { ", because of " a href={ "/incidents/" (incident) } { "incident " (incident) } }
                "."
            }
            @if !found.missing.is_empty() {
                p { "Not to be had:" }
                ul { @for missing in &found.missing { li { (missing) } } }
            }
        }
        @if !found.processes.is_empty() {
            section {
                h2 { "Processes" }
                table.cards {
                    thead { tr {
                        th { "Process" } th { "State" } th.number { "Memory" } th.number { "At most" }
                        th.number { "Processor time" } th.number { "Open files" } th.number { "Threads" }
                    } }
                    tbody {
                        @for process in &found.processes {
                            tr {
                                td data-label="Process" { b { (process.name) } " " span.quiet { (process.pid) } }
                                td data-label="State" { (process.state) @if let Some(place) = &process.waits_in { " " span.quiet { (place) } } }
                                td.number data-label="Memory" { (known(process.memory_bytes.map(words::bytes))) }
                                td.number data-label="At most" { (known(process.peak_memory_bytes.map(words::bytes))) }
                                td.number data-label="Processor time" { (known(process.cpu_ms.map(words::millis))) }
                                td.number data-label="Open files" { (known(process.open_files.map(words::count))) }
                                td.number data-label="Threads" { (known(process.threads.map(words::count))) }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(said) = &found.command {
            section {
                h2 { code { (said.command.join(" ")) } }
                p.quiet { (said.end) @if said.cut_bytes > 0 { "; " (words::bytes(said.cut_bytes)) " more are not kept" } }
                pre { (said.output) }
            }
        }
        @if !found.log.is_empty() {
            section { h2 { "The end of what it printed" } pre { (found.log) } }
        }
        @for shown in &found.traces { (trace::render(shown)) }
    }
}
