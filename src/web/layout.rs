//! What all pages share: head, navigation, and the word on how fresh the page is.

use maud::{DOCTYPE, Markup, html};

use crate::view::View;
use crate::words;

/// How often a browser without scripts loads the page again.
const PLAIN_REFRESH_SECONDS: &str = "5";

/// A page around this body. `live` pages keep themselves fresh.
pub(super) fn page(view: &View, title: &str, live: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title_mark(view)) (title) " · Rekindle" }
                link rel="stylesheet" href="/static/style.css";
                link rel="icon" href="data:,";
                @if live {
                    script src="/static/refresh.js" defer {}
                    noscript { meta http-equiv="refresh" content=(PLAIN_REFRESH_SECONDS); }
                }
            }
            body {
                header {
                    a.brand href="/" { "Rekindle" }
                    nav {
                        a href="/" { "Overview" }
                        a href="/history" { "History" }
                    }
                    p #fresh role="status" { (state_words(view)) }
                }
                main #main data-live[live] { (body) }
            }
        }
    }
}

/// What a tab shows at a glance.
fn title_mark(view: &View) -> &'static str {
    if view.waiting_plans().next().is_some() {
        "(?) "
    } else if view.open_incidents().any(|incident| !incident.masked) {
        "(!) "
    } else {
        ""
    }
}

fn state_words(view: &View) -> Markup {
    html! {
        @if view.now.as_millis() > 0 {
            span.pill { (words::modes(&view.tree)) }
            @if view.status.paused.is_some() { " " span.pill.warn { "paused" } }
            " " span.quiet { "as of " time datetime=(view.now) { (view.now.clock()) } " UTC" }
        }
    }
}
