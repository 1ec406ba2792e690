//! What was restarted, why, and what it did.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::parts;
use crate::view::{ActionView, View};
use crate::words;

/// The page's body.
pub(super) fn render(view: &View, actions: &[ActionView], saved: &BTreeSet<u64>) -> Markup {
    html! {
        section {
            h1 { "History" }
            @if actions.is_empty() {
                p.quiet { "Nothing was ever restarted." }
            } @else {
                p.quiet { "Newest first, as of " (view.now) "." }
                (self::actions(actions, usize::MAX, saved))
            }
        }
    }
}

/// Actions as a table; `at_most` of them, with the way to what was saved before them.
pub(super) fn actions(actions: &[ActionView], at_most: usize, saved: &BTreeSet<u64>) -> Markup {
    html! {
        table.cards {
            thead { tr {
                th { "When" } th { "Unit" } th { "Verdict" } th { "Failure share" }
                th.number { "Took" } th.number { "Failed meanwhile" } th { "Why" }
            } }
            tbody {
                @for action in actions.iter().take(at_most) {
                    tr {
                        td data-label="When" { time datetime=(action.intent_at) title=(action.intent_at) { (words::when(action.intent_at)) } " " span.quiet { "#" (action.id) } }
                        td data-label="Unit" { b { (action.unit) } " " @if action.generation > 0 { span.quiet { "→ " (action.generation) } } }
                        td data-label="Verdict" { (parts::verdict(action)) @if let Some(target) = action.along_with() { " " span.quiet { "with " (target) } } }
                        td data-label="Failure share" { @match &action.relief { Some(relief) => (words::relief(relief)), None => span.quiet { "not known" } } }
                        td.number data-label="Took" { @match action.downtime_ms { Some(ms) => (words::millis(ms)), None => "–" } }
                        td.number data-label="Failed meanwhile" { @match action.failed_meanwhile { Some(failed) => (words::count(failed)), None => "–" } }
                        td.wide data-label="Why" {
                            (action.why) " " span.quiet { "(" (action.who)
                                @if let Some(incident) = action.incident { ", " a href={ "/incidents/" (incident) } { "incident " (incident) } }
                            ")" }
                            @if !action.note.is_empty() { div.quiet { (action.note) } }
                            @if saved.contains(&action.id) { div { a href={ "/post-mortems/" (action.id) } { "What was saved before it" } } }
                        }
                    }
                }
            }
        }
    }
}
