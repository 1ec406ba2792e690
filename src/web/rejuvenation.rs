//! What is restarted before it fails, on the first page.

use maud::{Markup, html};
use rekindle_recovery::rejuvenate::RuleState;

use crate::view::{RejuvenationView, View};
use crate::words;

/// The section; nothing where there are no rules.
pub(super) fn section(view: &View) -> Markup {
    html! {
        @if !view.rejuvenation.is_empty() {
            section {
                h2 { "Restarted before it fails" }
                table {
                    thead { tr {
                        th { "Rule" } th { "State" } th { "Reading" } th { "Alarm" } th { "Enough" }
                        th { "Order, and what each gave back" }
                    } }
                    tbody { @for rule in &view.rejuvenation { (row(rule)) } }
                }
            }
        }
    }
}

fn row(rule: &RejuvenationView) -> Markup {
    let class = match rule.state {
        RuleState::Halted => "bad",
        _ => "",
    };
    let turns: Vec<String> = rule
        .order
        .iter()
        .map(|turn| format!("{} ({})", turn.unit, words::gave_back(&turn.gave)))
        .collect();
    html! {
        tr {
            td { (rule.name) }
            td.(class) title=(rule.words) { (words::rule_state(rule.state)) }
            td { (rule.reading) }
            td { (rule.alarm) }
            td { (rule.sufficient) }
            td { (turns.join(", ")) }
        }
        tr { td colspan="6" { (rule.words) } }
    }
}
