//! One plan: what would be restarted in which order, at what price, and why nothing else.

use maud::{Markup, html};

use super::parts;
use crate::view::{PlanState, PlanView, View};
use crate::words;

/// The plan as a card, with the two buttons while it waits.
pub(super) fn card(view: &View, plan: &PlanView) -> Markup {
    let waits = plan.state == PlanState::Proposed;
    let anchor = plan.title().to_lowercase().replace(' ', "-");
    html! {
        section.plan.ask[waits] id=(anchor) {
            h2 {
                (plan.title())
                @if plan.incident > 0 { " for " a href={ "/incidents/" (plan.incident) } { "incident " (plan.incident) } }
                " " span.pill.(parts::plan_class(plan.state)) { (plan.state) }
            }
            @if !plan.reason.is_empty() { p { (plan.reason) } }
            ol.ladder {
                @for (index, step) in plan.steps.iter().enumerate() {
                    li class=[(plan.at_step == Some(index)).then_some("current")] {
                        "Restart " b { (step.unit) }
                        @if let Some(ms) = view.unit(&step.unit).and_then(|unit| unit.downtime_ms) { " (takes about " (words::millis(ms)) ")" }
                        ": cures with " (words::percent(step.probability)) ", expected to cost "
                        (words::about_usually(step.expected_cost, step.usual_cost)) " failed requests"
                        @if index + 1 < plan.steps.len() { span.quiet { "; if that does not cure:" } }
                    }
                }
            }
            @if !plan.guards.is_empty() {
                ul.guards { @for guard in &plan.guards { li { (guard) } } }
            }
            @if waits {
                div.decide {
                    form method="post" action={ "/plans/" (plan.id) "/approve" } {
                        button.primary { "Approve: restart " (plan.steps.first().map_or("", |step| step.unit.as_str())) }
                    }
                    form method="post" action={ "/plans/" (plan.id) "/reject" } {
                        label { "Why not " input name="reason" required maxlength="200"; }
                        button { "Reject" }
                    }
                }
                @if let Some(expires) = plan.expires {
                    p.quiet { "Made " (words::ago(plan.created, view.now)) "; lapses at " (words::when(expires)) " UTC." }
                }
            }
            @if plan.state == PlanState::HeldOff {
                @if plan.id > 0 {
                    div.decide {
                        form method="post" action={ "/plans/" (plan.id) "/reject" } {
                            label { "Why not " input name="reason" required maxlength="200"; }
                            button { "Leave it to people" }
                        }
                    }
                }
                p.quiet { "It goes on by itself once that has passed." }
            }
            @if let Some(decided) = &plan.decided { p.quiet { (decided) } }
            @if let Some(why) = &plan.given_up { p { "Given up to a person: " (why) } }
            @if !plan.alternatives.is_empty() {
                details id={ "alternatives-" (anchor) } {
                    summary { "What else was weighed" }
                    table.cards {
                        thead { tr { th { "Instead" } th.number { "Failed requests" } th { "Why not" } } }
                        tbody {
                            @for alternative in &plan.alternatives {
                                tr {
                                    td data-label="Instead" { (alternative.what) }
                                    td.number data-label="Failed requests" { (words::about(alternative.expected_cost)) }
                                    td.wide data-label="Why not" { (alternative.why_not) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
