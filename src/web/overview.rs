//! The first page: is anything wrong, who is suspected, what is being done, and does somebody have
//! to decide.

use maud::{Markup, html};

use super::{chart, parts, plan, rejuvenation, tree};
use crate::view::{IncidentView, PlanState, RequestTypeView, View};
use crate::words;

/// Charts are drawn for all failing request types, and for so many of the others.
const CHARTS_OF_WELL_TYPES: usize = 4;

/// Suspects in the short ranking.
const SUSPECTS_SHOWN: usize = 5;

/// Past actions at the end of the page.
const ACTIONS_SHOWN: usize = 8;

/// Closed incidents that are listed.
const CLOSED_SHOWN: usize = 5;

/// The page's body.
pub(super) fn render(view: &View) -> Markup {
    html! {
        (banner(view))
        @for plan in view.waiting_plans() { (plan::card(view, plan)) }
        @for plan in view.recovery.plans.iter().filter(|plan| plan.state.is_live() && plan.state != PlanState::Proposed) {
            (plan::card(view, plan))
        }
        @for incident in view.open_incidents() { (incident_card(incident)) }
        (request_types(view))
        (tree::section(view))
        (rejuvenation::section(view))
        @if !view.recovery.actions.is_empty() {
            section {
                h2 { "What was done" }
                (super::history::actions(&view.recovery.actions, ACTIONS_SHOWN, &std::collections::BTreeSet::new()))
                p { a href="/history" { "All of the history" } }
            }
        }
        (closed_incidents(view))
        (status(view))
    }
}

/// The state of things in one look: the most pressing thing as the heading, the others below.
fn banner(view: &View) -> Markup {
    let waiting = view.waiting_plans().count();
    let open: Vec<&IncidentView> = view.open_incidents().collect();
    let needed = words::person_needed(view);
    let at_work = view
        .recovery
        .plans
        .iter()
        .filter(|plan| plan.state.is_at_work());
    let mut of_open = at_work.filter_map(|plan| {
        let of_plan = open.iter().find(|incident| incident.id == plan.incident);
        Some((plan, *of_plan?))
    });
    let busy = of_open.next();
    let (class, heading) = if waiting > 0 {
        ("ask", "A restart waits for your approval".to_owned())
    } else if let Some((heading, _)) = &needed {
        ("bad", heading.clone())
    } else if let Some(heading) = words::held_off(view) {
        ("bad", heading)
    } else if let Some((plan, incident)) = busy {
        (
            "busy",
            match incident.concerns_requests() {
                true => format!("Requests fail; Rekindle is at it: {}", plan.state),
                false => format!(
                    "{}; Rekindle is at it: {}",
                    words::matter(incident),
                    plan.state
                ),
            },
        )
    } else if let Some(heading) = words::taken_over(view) {
        ("bad", heading)
    } else if let Some(heading) = words::well_again(view).or_else(|| words::masked_only(view)) {
        ("busy", heading)
    } else if let Some(first) = open.iter().find(|it| !it.masked).or(open.first()) {
        // What is masked fails for no user.
        let fails = |it: &&&IncidentView| !it.masked && it.concerns_requests();
        let heading = match open.iter().find(fails).is_some() {
            true => "Requests fail more than usual".to_owned(),
            false => words::matter(first),
        };
        ("bad", heading)
    } else {
        let (heading, is_well) = words::calm(view);
        let class = match (is_well, view.status.requests) {
            (true, _) => "ok",
            (false, 0) => "idle",
            (false, _) => "unheard",
        };
        (class, heading)
    };
    html! {
        section.banner.(class) role="status" {
            h1 { (heading) }
            @for incident in &open {
                p {
                    a href={ "/incidents/" (incident.id) } { "Incident " (incident.id) }
                    ": " b { (words::matter(incident)) } ", for "
                    (words::millis(view.now.since(incident.since).as_secs().max(1) * 1000))
                    @if incident.concerns_requests() {
                        "; " (words::failed(incident))
                    }
                    @if incident.missing > 0 { ", some " (words::count(incident.missing)) " did not come" }
                    @if incident.well_since.is_some() { "; well again" }
                    @if !incident.left_alone.is_empty() { ". Nothing is restarted for it: " (incident.left_alone) }
                }
            }
            @for line in needed.iter().flat_map(|(_, lines)| lines) { p { (line) } }
            @if open.is_empty() && view.status.requests == 0 {
                p {
                    "Point OpenTelemetry exporters at "
                    @if !view.status.listening.http.is_empty() { code { "http://" (view.status.listening.http) } " (HTTP) or " }
                    code { "http://" (view.status.listening.grpc) } " (gRPC)."
                }
            } @else if open.is_empty() && view.status.heard.nothing_since.is_none() {
                p { (words::count(view.request_types.len() as u64)) " request types, "
                    (words::about(total_rate(view))) " requests per second, none failing more than usual." }
            }
            @for sentence in words::unheard(view) { p { (sentence) } }
            (notices(view))
        }
    }
}

/// What a person must know besides.
fn notices(view: &View) -> Markup {
    let status = &view.status;
    html! {
        @if let Some(paused) = &status.paused {
            div.note {
                p {
                    b { "Paused" }
                    @if !paused.by.is_empty() { " by " (paused.by) }
                    " since " (words::when(paused.since)) " UTC"
                    @if let Some(until) = paused.until { ", until " (words::when(until)) " UTC" }
                    ": " (paused.reason) " — nothing is restarted unattended."
                }
                form method="post" action="/resume" { button { "Resume" } }
            }
        }
        @if !status.journal.ok && !status.journal.note.is_empty() {
            p.note { b { "The journal is not well: " } (status.journal.note) }
        }
        @if !status.ledger.ok && !status.ledger.note.is_empty() {
            p.note { b { "The ledger is not well, so nothing is restarted: " } (status.ledger.note) }
        }
    }
}

fn total_rate(view: &View) -> f64 {
    let heard = view
        .request_types
        .iter()
        .filter(|t| t.unheard_since.is_none());
    heard.map(|t| t.rate_per_s).sum()
}

fn incident_card(incident: &IncidentView) -> Markup {
    html! {
        section {
            h2 { a href={ "/incidents/" (incident.id) } { "Who is suspected" } }
            @match &incident.ranking {
                Some(ranking) => {
                    (parts::suspects(ranking, SUSPECTS_SHOWN))
                    p { a href={ "/incidents/" (incident.id) } { "All evidence of incident " (incident.id) } }
                }
                None => p.quiet { "The suspects of incident " (incident.id) " are being ranked." },
            }
        }
    }
}

fn request_types(view: &View) -> Markup {
    let (failing, well): (Vec<&RequestTypeView>, Vec<&RequestTypeView>) =
        view.request_types.iter().partition(|t| t.failing);
    let drawn = if failing.is_empty() {
        CHARTS_OF_WELL_TYPES
    } else {
        0
    };
    html! {
        @if !view.request_types.is_empty() {
            section {
                h2 { "What users ask for" }
                div.charts {
                    @for request_type in failing.iter().chain(well.iter().take(drawn)) {
                        (chart_card(view, request_type))
                    }
                }
                @if well.len() > drawn {
                    table.cards {
                        thead { tr { th { "Request type" } th.number { "Per second" } th.number { "Fails now" } th.number { "Usually" } th { "Masked" } } }
                        tbody {
                            @for request_type in well.iter().skip(drawn) {
                                tr {
                                    td.wide data-label="Request type" { (request_type.name) }
                                    td.number data-label="Per second" { (words::per_second(request_type)) }
                                    td.number data-label="Fails now" { (words::fails_now(request_type)) }
                                    td.number data-label="Usually" { (words::usually(request_type)) }
                                    td data-label="Masked" { (words::masked(request_type).unwrap_or_default()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn chart_card(view: &View, request_type: &RequestTypeView) -> Markup {
    html! {
        figure class=[request_type.failing.then_some("failing")] {
            figcaption {
                b { (request_type.name) }
                @if request_type.failing { " " span.pill.bad { "failing" } }
                div.quiet {
                    @if let Some(since) = request_type.unheard_since {
                        "nothing came since " (words::when(since)) " UTC; usually: " (words::usually(request_type))
                    } @else {
                        "fails now: " (words::fails_now(request_type)) "; usually: " (words::usually(request_type))
                        "; " (words::per_second(request_type)) " per second"
                        @if let Some(masked) = words::masked(request_type) { "; masked: " (masked) }
                    }
                }
            }
            (chart::failure_share(view, request_type))
        }
    }
}

fn closed_incidents(view: &View) -> Markup {
    let closed = view
        .incidents
        .iter()
        .filter(|incident| incident.closed.is_some());
    html! {
        @if closed.clone().next().is_some() {
            section {
                h2 { "Past incidents" }
                ul {
                    @for incident in closed.take(CLOSED_SHOWN) {
                        li {
                            a href={ "/incidents/" (incident.id) } { "Incident " (incident.id) }
                            ": " b { (words::matter(incident)) } "; "
                            @if incident.concerns_requests() { (words::failed(incident)) "; " }
                            "over "
                            @if let Some(closed) = incident.closed { (words::ago(closed, view.now)) }
                            @if !incident.ended.is_empty() { " (" (incident.ended) ")" }
                        }
                    }
                }
            }
        }
    }
}

/// How Rekindle itself is: last, because on most days nobody needs it.
fn status(view: &View) -> Markup {
    let status = &view.status;
    html! {
        section {
            h2 { "Rekindle itself" }
            dl.facts {
                div { dt { "Version" } dd { (status.version) } }
                div { dt { "Up for" } dd { (words::millis(status.uptime_ms / 1000 * 1000)) } }
                div { dt { "OTLP gRPC" } dd { (status.listening.grpc) } }
                div { dt { "OTLP HTTP" } dd { (status.listening.http) } }
                div { dt { "Spans" } dd { (words::count(status.spans)) " (" (words::about(status.spans_per_s)) "/s)" } }
                div { dt { "Traces" } dd { (words::count(status.traces)) } }
                div { dt { "Requests" } dd { (words::count(status.requests)) } }
                @if let Some(memory) = status.memory_bytes { div { dt { "Memory" } dd { (words::bytes(memory)) } } }
                div { dt { "Journal" } dd { (health(status.journal.ok, &status.journal.note)) } }
                div { dt { "Ledger" } dd { (health(status.ledger.ok, &status.ledger.note)) } }
                @for words in words::interventions(&status.interventions) {
                    div { dt { "Set apart" } dd { (words) } }
                }
                @for (reason, number) in &status.dropped {
                    div { dt { "Not used: " (reason) } dd { (words::count(*number)) } }
                }
                @if let Some(budget) = &view.recovery.budget {
                    div { dt { "Restart budget, per " (words::millis(budget.per_ms)) } dd {
                        (budget.restarts_used) " of " (budget.restarts) " restarts, "
                        (words::count(budget.failed_requests_used)) " of " (words::count(budget.failed_requests)) " failed requests"
                    } }
                }
            }
            @if status.paused.is_none() {
                details #pause {
                    summary { "Pause all restarts" }
                    form method="post" action="/pause" {
                        label { "Why " input name="reason" required maxlength="200"; }
                        label { "For minutes " input name="minutes" type="number" min="1" max="43200" placeholder="until resumed"; }
                        button { "Pause" }
                    }
                }
            }
        }
    }
}

fn health(ok: bool, note: &str) -> Markup {
    html! {
        @if ok { "well" } @else if note.is_empty() { "unknown" } @else { b.bad-text { "not well" } }
        @if !note.is_empty() { ": " (note) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{PlanState, PlanView, UtcTime};

    #[test]
    fn what_rekindle_is_at_is_the_incident_of_its_plan() {
        let mut view = View::default();
        let with_requests = IncidentView {
            id: 1,
            request_types: vec!["web GET /".to_owned()],
            ..IncidentView::default()
        };
        let without = IncidentView {
            id: 2,
            ..IncidentView::default()
        };
        view.incidents.extend([with_requests, without]);
        view.recovery.plans.push(PlanView {
            state: PlanState::Judging,
            ..PlanView::default()
        });
        for (incident, expected) in [
            (1, "Requests fail; Rekindle is at it"),
            (2, "not known yet; Rekindle is at it"),
            (3, "Requests fail more than usual"),
        ] {
            view.recovery.plans[0].incident = incident;
            let page = banner(&view).into_string();
            assert!(page.contains(expected), "{incident}: {page}");
        }
    }

    #[test]
    fn what_is_well_again_needs_nobody() {
        let at = |seconds: u64| UtcTime::from_millis(1000 * (1_000_000 + seconds));
        let mut view = View {
            now: at(20),
            ..View::default()
        };
        let incident = |id| IncidentView {
            id,
            request_types: vec!["web GET /".to_owned()],
            ..IncidentView::default()
        };
        view.incidents.extend([incident(1), incident(2)]);
        view.recovery.plans.push(PlanView {
            state: PlanState::GivenUp,
            incident: 1,
            ..PlanView::default()
        });
        for (well, expected) in [
            ([None, None], "A person is needed"),
            ([None, Some(at(8))], "A person is needed"),
            ([Some(at(8)), None], "Requests fail more than usual"),
            (
                [Some(at(8)), Some(at(5))],
                "Requests have been well again for 12s; the incident is over if that lasts",
            ),
        ] {
            for (incident, since) in view.incidents.iter_mut().zip(well) {
                incident.well_since = since;
            }
            let page = banner(&view).into_string();
            assert!(page.contains(expected), "{well:?}: {page}");
        }
    }
}
