//! The restart tree: what contains what, how each unit is, what was done to it.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::parts;
use crate::view::{ActionView, HealthState, UnitState, UnitView, View, WatchStanding};
use crate::words;

/// Deeper units are indented no further: a phone is narrow.
const DEEPEST_INDENT: usize = 6;

/// The page of one unit: what it is, with all below it, what is believed of it, what was done to it.
pub(super) fn unit(
    view: &View,
    unit: &UnitView,
    sentences: &[String],
    saved: &BTreeSet<u64>,
) -> Markup {
    let at = view.tree.iter().position(|it| it.name == unit.name);
    let below = view
        .tree
        .iter()
        .skip(at.map_or(view.tree.len(), |at| at + 1));
    let below = below.take_while(|it| it.depth > unit.depth);
    let actions = view.recovery.actions.iter();
    let is_of = |action: &&ActionView| action.unit == unit.name || action.target == unit.name;
    let actions: Vec<ActionView> = actions.filter(is_of).cloned().collect();
    html! {
        section {
            h1 { (unit.name) }
            @if let Some(parent) = &unit.parent {
                p.quiet { "A part of " a href={ "/units/" (words::path_segment(parent)) } { (parent) } "." }
            }
            @for sentence in sentences { p { (sentence) } }
            (table(view, std::iter::once(unit).chain(below)))
        }
        section {
            h2 { "Restarts" }
            @if actions.is_empty() {
                p.quiet { "None lately; see the " a href="/history" { "history" } "." }
            } @else {
                (super::history::actions(&actions, usize::MAX, saved))
            }
        }
    }
}

/// The tree as a table.
pub(super) fn section(view: &View) -> Markup {
    html! {
        section #tree {
            h2 { "Restart tree" }
            @if view.tree.is_empty() {
                p.quiet { "No restart units are configured, so nothing can be restarted. See " code { "restart.tree" } " in the configuration." }
            } @else {
                (table(view, view.tree.iter()))
                @for growing in &view.status.growing {
                    @let (words, is_well) = words::growing(growing);
                    p.(if is_well { "quiet" } else { "note" }) { "Grows from " b { (growing.template) } ": " (words) }
                }
            }
        }
    }
}

fn table<'a>(view: &View, units: impl Iterator<Item = &'a UnitView>) -> Markup {
    html! {
        table.cards {
            thead { tr {
                th { "Unit" } th { "State" } th.number { "Generation" } th { "Mode" }
                th { "Last restart" } th { "" }
            } }
            tbody { @for unit in units { (row(view, unit)) } }
        }
    }
}

fn row(view: &View, unit: &UnitView) -> Markup {
    let last = unit.last_action.and_then(|id| view.action(id));
    html! {
        tr id={ "unit-" (unit.name) } {
            td.wide data-label="Unit" {
                div class={ "d" (unit.depth.min(DEEPEST_INDENT)) } {
                    @if unit.depth > 0 { span.quiet aria-hidden="true" { "└ " } }
                    a href={ "/units/" (words::path_segment(&unit.name)) } { b { (unit.name) } }
                    @for suspicion in &unit.suspicions {
                        " " a.pill.bad href={ "/incidents/" (suspicion.incident) } {
                            "suspect " (suspicion.rank) ", " (words::confidence(suspicion.confidence))
                        }
                    }
                    @if let Some(parts) = how(unit) { div.quiet { (parts) } }
                    @if let Some(why) = &unit.inferred { div.quiet { "inferred: " (why) } }
                    @for watch in &unit.watches {
                        div.(watch_class(watch.standing)) { (watch.what) ": " (words::watch(watch, view.now)) }
                    }
                    @if !unit.note.is_empty() { div.note { (unit.note) } }
                }
            }
            td data-label="State" {
                span.pill.(state_class(unit.state)) { (unit.state) }
                @if unit.check == HealthState::Sick { " " span.pill.bad { "check fails" } }
            }
            td.number data-label="Generation" { @if unit.generation > 0 { (unit.generation) } @else { "–" } }
            td data-label="Mode" { (parts::mode(unit.mode)) }
            td data-label="Last restart" {
                @match last {
                    Some(action) => {
                        (parts::verdict(action)) " " span.quiet { (words::ago(action.intent_at, view.now)) }
                    }
                    None => span.quiet { "never" },
                }
            }
            td data-label="" {
                details id={ "restart-" (unit.name) } {
                    summary { "Restart…" }
                    form method="post" action={ "/units/" (words::path_segment(&unit.name)) "/restart" } {
                        label { "Why " input name="reason" required maxlength="200"; }
                        button { "Restart " (unit.name) " and all below it" }
                    }
                }
            }
        }
    }
}

/// How it is restarted, as far as there is something to say.
fn how(unit: &UnitView) -> Option<String> {
    let mut words = Vec::new();
    if let Some(kind) = unit.executor {
        words.push(format!("restarted by {kind}"));
    }
    if let Some(process) = &unit.process {
        words.push(match process.pid {
            Some(pid) => format!("pid {pid}, {}", process.phase),
            None => process.phase.to_string(),
        });
    }
    if let Some(ms) = unit.downtime_ms {
        words.push(format!("takes about {}", crate::words::millis(ms)));
    }
    if let Some(probability) = unit.cure_probability {
        words.push(format!("cures with {}", crate::words::percent(probability)));
    }
    (!words.is_empty()).then(|| words.join(" · "))
}

fn watch_class(standing: WatchStanding) -> &'static str {
    match standing {
        WatchStanding::Within => "quiet",
        WatchStanding::Unknown | WatchStanding::Leaning => "note",
        WatchStanding::Beyond => "bad-text",
    }
}

fn state_class(state: UnitState) -> &'static str {
    match state {
        UnitState::Unknown => "",
        UnitState::Up => "ok",
        UnitState::Starting | UnitState::Restarting | UnitState::Judging => "busy",
        UnitState::HeldOff => "warn",
        UnitState::Down | UnitState::GivenUp => "bad",
    }
}
