//! One request as a waterfall: who called whom, how long it took, where it failed.

use maud::{Markup, html};
use rekindle_model::Outcome;

use crate::view::{SpanView, TraceView};
use crate::words;

/// Deeper spans are indented no further.
const DEEPEST_INDENT: usize = 12;

/// Bars at least this wide, in hundredths of the whole, so that a short span can be seen.
const NARROWEST: f64 = 0.4;

/// The page's body.
pub(super) fn render(trace: &TraceView) -> Markup {
    let failed = trace.outcome.is_bad();
    let other = if failed { "a successful" } else { "a failed" };
    html! {
        section.banner.(if failed { "bad" } else if trace.outcome == Outcome::Ok { "ok" } else { "idle" }) {
            h1 { (trace.request_type) ": " (trace.outcome) }
            p { "Trace " code { (trace.id) } ", began " time datetime=(trace.began) { (trace.began) } ", took " (words::micros(trace.duration_us)) ", " (trace.spans.len()) " spans" }
            @if !trace.note.is_empty() { p { (trace.note) } }
            @match &trace.compare {
                Some(id) => p { a href={ "/traces/" (id) } { "Compare with " (other) " request of the same type" } },
                None => {}
            }
        }
        section {
            table.waterfall {
                thead { tr { th { "Span" } th.number { "Took" } th { "When" } } }
                tbody { @for span in &trace.spans { (row(trace, span)) } }
            }
        }
    }
}

fn row(trace: &TraceView, span: &SpanView) -> Markup {
    let whole = trace.duration_us.max(1) as f64;
    let left = (100.0 * span.offset_us as f64 / whole).clamp(0.0, 100.0 - NARROWEST);
    let width = (100.0 * span.duration_us as f64 / whole).clamp(NARROWEST, 100.0 - left);
    html! {
        tr class=[span.failed.then_some("failed")] {
            td {
                div class={ "w" (span.depth.min(DEEPEST_INDENT)) } {
                    b { (span.service) }
                    @if let Some(component) = &span.component { " " span.quiet { (component) } }
                    div { (span.operation) " " span.quiet { (span.kind)
                        @if let Some(generation) = span.generation { ", generation " (generation) }
                    } }
                    @if span.failed {
                        div.bad-text {
                            @if span.raised { "✗ failed here" } @else { "✗ passed on" }
                            @if let Some(error) = &span.error { ": " (error) }
                        }
                    }
                    @if span.orphan { div.quiet { "its caller's span did not come" } }
                }
            }
            td.number { (words::micros(span.duration_us)) }
            td.when {
                svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                    rect.track x="0" y="0" width="100" height="10" {}
                    rect class=(if span.failed { "fill-bad" } else { "fill-span" }) x=(format!("{left:.2}")) y="0" width=(format!("{width:.2}")) height="10" {}
                }
            }
        }
    }
}
