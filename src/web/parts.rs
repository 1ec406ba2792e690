//! Small pieces that several pages use: shares with their bars, verdicts, links to examples.

use maud::{Markup, html};
use rekindle_recovery::Mode;

use crate::view::{
    ActionResult, ActionView, PlanState, RankingVerdict, RankingView, ShareView, SuspectView,
    VerdictView,
};
use crate::words;

/// Digits of a trace id that people need to tell two apart in a table.
const SHORT_ID: usize = 8;

/// Example traces that a table shows of each kind.
const EXAMPLES_SHOWN: usize = 3;

/// A share in numbers and as a small bar with its interval.
pub(super) fn share(share: &ShareView, class: &str) -> Markup {
    let percent = |x: f64| format!("{:.2}", 100.0 * x.clamp(0.0, 1.0));
    html! {
        div.share {
            @if share.total == 0 {
                span.quiet { "none came" }
            } @else {
                span { b { (words::percent(share.share)) } " " span.quiet { (words::count(share.count)) " of " (words::count(share.total)) } }
                svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" role="img"
                    aria-label={ (words::percent(share.share)) ", between " (words::percent(share.low)) " and " (words::percent(share.high)) } {
                    rect.track x="0" y="0" width="100" height="8" {}
                    rect class=(class) x="0" y="0" width=(percent(share.share)) height="8" {}
                    rect.interval x=(percent(share.low)) y="3" width=(percent(share.high - share.low)) height="2" {}
                }
            }
        }
    }
}

/// The components of a suspect: one, or several that can't be told apart.
pub(super) fn components(suspect: &SuspectView) -> Markup {
    html! {
        @for (index, component) in suspect.components.iter().enumerate() {
            @if index > 0 { " " span.quiet { "or" } " " }
            span.component {
                b { (component.name) }
                " " span.quiet {
                    (component.level)
                    @if component.service != component.name && !component.service.is_empty() { " of " (component.service) }
                }
            }
        }
    }
}

/// Links to example traces.
pub(super) fn examples(ids: &[String]) -> Markup {
    html! {
        @if ids.is_empty() { span.quiet { "none kept" } }
        @for id in ids.iter().take(EXAMPLES_SHOWN) {
            a.mono href={ "/traces/" (id) } title=(id) { (id.get(..SHORT_ID).unwrap_or(id)) }
            " "
        }
    }
}

/// The suspects of a ranking as a table; `at_most` of them.
pub(super) fn suspects(ranking: &RankingView, at_most: usize) -> Markup {
    // What was seen in a unit itself was compared in no request.
    let of_requests = ranking.suspects.iter().any(|suspect| {
        suspect.failed.total + suspect.ok.total > 0 || !suspect.examples_failed.is_empty()
    });
    html! {
        @if let RankingVerdict::NotEnough { missing } = &ranking.verdict {
            p.note { b { "Not enough evidence to suspect anyone: " } (missing) }
        }
        @if !ranking.suspects.is_empty() {
            table.cards {
                thead { tr {
                    th { "#" } th { "Suspect" } th { "Confidence" }
                    @if of_requests { th { "Of failed requests" } th { "Of successful ones" } th { "Examples" } }
                } }
                tbody {
                    @for suspect in ranking.suspects.iter().take(at_most) {
                        tr {
                            td data-label="Rank" { (suspect.rank) }
                            td.wide data-label="Suspect" {
                                div { (components(suspect)) }
                                div.sentence { (suspect.sentence) }
                                @match &suspect.unit {
                                    Some(unit) => div.quiet { "Restart unit: " a href={ "/#unit-" (unit) } { (unit) } },
                                    None => div.quiet { "No restart unit matches it" },
                                }
                            }
                            td data-label="Confidence" { (words::confidence(suspect.confidence)) }
                            @if of_requests {
                                td data-label="Of failed requests" { (share(&suspect.failed, "fill-bad")) }
                                td data-label="Of successful ones" { (share(&suspect.ok, "fill-ok")) }
                                td data-label="Examples" {
                                    div { span.bad-text { "failed " } (examples(&suspect.examples_failed)) }
                                    div { span.ok-text { "ok " } (examples(&suspect.examples_ok)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The word for a verdict, coloured; never by colour alone.
pub(super) fn verdict(action: &ActionView) -> Markup {
    html! {
        @match (action.verdict, action.result) {
            _ if action.is_refused() => span.pill.warn { "refused" },
            (Some(verdict), _) => span.pill.(verdict_class(verdict)) { (verdict) },
            (None, Some(ActionResult::Done)) => span.pill.busy { "being judged" },
            (None, Some(result)) => span.pill.warn { (result) },
            (None, None) => span.pill.busy { "under way" },
        }
    }
}

fn verdict_class(verdict: VerdictView) -> &'static str {
    match verdict {
        VerdictView::Cured => "ok",
        VerdictView::Helped | VerdictView::Unknown => "warn",
        VerdictView::NotCured => "bad",
    }
}

/// The colour of a plan's state.
pub(super) fn plan_class(state: PlanState) -> &'static str {
    match state {
        PlanState::Cured => "ok",
        PlanState::NotCured | PlanState::GivenUp => "bad",
        PlanState::Proposed | PlanState::Unknown | PlanState::Vetoed | PlanState::HeldOff => "warn",
        PlanState::Rejected | PlanState::Expired => "",
        _ => "busy",
    }
}

/// The mode's name.
pub(super) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Propose => "propose",
        Mode::Auto => "auto",
    }
}
