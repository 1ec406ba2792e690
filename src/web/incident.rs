//! One incident in full: what fails, the ranking with all of its evidence, what was left out, and
//! what was done.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{chart, history, parts, plan};
use crate::view::{IncidentState, IncidentView, RankingView, SuspectView, View};
use crate::words;

/// The page's body.
pub(super) fn render(view: &View, incident: &IncidentView, saved: &BTreeSet<u64>) -> Markup {
    let open = incident.state == IncidentState::Open;
    let types = view
        .request_types
        .iter()
        .filter(|t| incident.request_types.contains(&t.name));
    let actions: Vec<_> = view
        .recovery
        .actions
        .iter()
        .filter(|action| action.incident == Some(incident.id))
        .cloned()
        .collect();
    html! {
        section.banner.(if !open { "ok" } else if incident.well_since.is_some() { "busy" } else { "bad" }) {
            h1 {
                "Incident " (incident.id) " is " (incident.state)
                @if let Some(since) = incident.well_since {
                    "; requests have been well again for " (words::millis(view.now.since(since).as_secs().max(1) * 1000))
                }
            }
            p {
                @for (index, name) in incident.request_types.iter().enumerate().filter(|_| !incident.masked) {
                    @if index > 0 { ", " }
                    b { (name) }
                }
                @if incident.request_types.is_empty() || incident.masked { " " b { (words::matter(incident)) } }
            }
            @if !incident.left_alone.is_empty() { p { "Nothing is restarted for it: " (incident.left_alone) "." } }
            p {
                @if incident.concerns_requests() { "Failures" } @else { "It" } " began at " time datetime=(incident.since) { (words::when(incident.since)) } " UTC, noticed after "
                (words::millis(incident.opened.since(incident.since).as_millis() as u64))
                @if let Some(closed) = incident.closed {
                    "; over at " time datetime=(closed) { (words::when(closed)) } " UTC, after "
                    (words::millis(closed.since(incident.since).as_millis() as u64))
                    @if !incident.ended.is_empty() { " (" (incident.ended) ")" }
                }
                "."
                @if incident.concerns_requests() {
                    " " b { (words::failed(incident)) } ", "
                    @if incident.missing > 0 { "some " b { (words::count(incident.missing)) } " did not come that should have, " }
                    (words::count(incident.ok)) " of the same types ended well."
                }
            }
        }
        @for plan in view.recovery.plans.iter().filter(|plan| plan.incident == incident.id) { (plan::card(view, plan)) }
        section {
            h2 { "Who is suspected" }
            @match &incident.ranking {
                Some(ranking) => {
                    (parts::suspects(ranking, usize::MAX))
                    @for suspect in &ranking.suspects { (evidence(suspect, incident.concerns_requests())) }
                    (left_out(view, ranking, incident.concerns_requests()))
                }
                None => p.quiet { "Not ranked yet." },
            }
        }
        @if types.clone().next().is_some() {
            section {
                h2 { "What fails" }
                div.charts {
                    @for request_type in types {
                        figure {
                            figcaption { b { (request_type.name) } }
                            (chart::failure_share(view, request_type))
                        }
                    }
                }
            }
        }
        @if !actions.is_empty() {
            section { h2 { "What was done" } (history::actions(&actions, usize::MAX, saved)) }
        }
    }
}

/// One suspect's evidence in full.
fn evidence(suspect: &SuspectView, of_requests: bool) -> Markup {
    html! {
        details id={ "suspect-" (suspect.rank) } open[suspect.rank == 1] {
            summary { "Evidence for " (suspect.rank) ": " (suspect.name()) }
            dl.facts {
                div { dt { "Shape" } dd { (suspect.shape) } }
                @if let Some(error) = &suspect.error_type { div { dt { "Error" } dd { code { (error) } } } }
                @for fact in &suspect.facts { div { dt { (fact.what) } dd { (fact.found) } } }
                // Of what was seen in a unit itself there are no requests to count or to show.
                @if of_requests && suspect.facts.is_empty() { (counts(suspect)) }
                div { dt { "Score" } dd { (format!("{:.3}", suspect.score)) } }
                div { dt { "Confidence" } dd { (words::confidence(suspect.confidence)) } }
                @if of_requests {
                    div { dt { "Failed examples" } dd { (parts::examples(&suspect.examples_failed)) } }
                    div { dt { "Successful examples" } dd { (parts::examples(&suspect.examples_ok)) } }
                }
                @for (key, value) in &suspect.attributes { div { dt { code { (key) } } dd { code { (value) } } } }
            }
        }
    }
}

/// What is counted where nothing more is known: of an incident that an older engine kept.
fn counts(suspect: &SuspectView) -> Markup {
    html! {
        div { dt { "Failed requests that touched it" } dd { (words::of(&suspect.failed)) ", between " (words::percent(suspect.failed.low)) " and " (words::percent(suspect.failed.high)) } }
        div { dt { "Successful requests that touched it" } dd { (words::of(&suspect.ok)) ", between " (words::percent(suspect.ok.low)) " and " (words::percent(suspect.ok.high)) } }
        div { dt { "Failures that began in it" } dd { (words::count(suspect.originated)) } }
        div { dt { "Who complains" } dd { @if suspect.callers.is_empty() { "nobody but itself" } @else { (suspect.callers.join(", ")) } } }
    }
}

fn left_out(view: &View, ranking: &RankingView, of_requests: bool) -> Markup {
    html! {
        p.quiet {
            @if of_requests {
                "Ranked " (words::ago(ranking.at, view.now)) ", from everything up to journal position " (words::count(ranking.cut)) "."
                @if ranking.left_out.is_empty() { " No request was left out." }
            } @else {
                "Looked at " (words::ago(ranking.at, view.now)) ". No request is known to fail for it."
            }
        }
        @if !ranking.left_out.is_empty() {
            p { "Left out:" }
            ul { @for (reason, number) in &ranking.left_out { li { (words::count(*number)) " requests: " (reason) } } }
        }
    }
}
