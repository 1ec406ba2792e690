//! The failure share of a request type over time, as SVG, drawn here.
//!
//! Time goes from left to right and ends now. A slice in which nothing came is a gap, not a zero:
//! what isn't seen isn't healthy. Restarts are marked where they happened.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::view::{ActionView, RatePointView, RequestTypeView, UtcTime, View};
use crate::words;

/// The drawing's size in its own units; about the width of a phone, so that letters keep their size
/// there and grow a little on a desk.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 140.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// Points that fit without two on one pixel of a phone; more are added up.
const MAX_POINTS: usize = 120;

/// The vertical axis ends at one of these: the smallest that holds the highest value. Not below 1 %,
/// where a single failure would look like a catastrophe.
const TOPS: [f64; 8] = [0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 1.0];

/// The chart of one request type.
pub(super) fn failure_share(view: &View, request_type: &RequestTypeView) -> Markup {
    let series = merged(&request_type.series, request_type.slice_ms.max(1));
    let (points, slice_ms) = (series.points, series.slice_ms);
    let Some(first) = points.first() else {
        return html! { p.quiet { "No requests came yet." } };
    };
    let begin = first.at.as_millis();
    let last = points.last().map_or(begin, |point| point.at.as_millis()) + slice_ms;
    let end = view.now.as_millis().clamp(last, last + 10 * slice_ms);
    // As the words beside it have it; what is noticed lies a little higher.
    let usual = request_type.usual.as_ref().map(|usual| usual.share);
    let highest = points
        .iter()
        .filter_map(RatePointView::failure_share)
        .chain(usual)
        .fold(0.0, f64::max);
    let axis = Axis {
        begin,
        end,
        top: TOPS.into_iter().find(|top| highest <= *top).unwrap_or(1.0),
    };
    let bottom = HEIGHT - BOTTOM;
    let label = format!(
        "Failure share of {} from {} to {} UTC, at most {}",
        request_type.name,
        UtcTime::from_millis(begin).clock(),
        UtcTime::from_millis(end).clock(),
        words::percent(highest),
    );
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            @for part in [0.0, 0.5, 1.0] {
                @let y = axis.y(part * axis.top);
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(y)) y2=(px(y)) {}
                text.tick x=(LEFT - 5.0) y=(px(y + 4.0)) text-anchor="end" { (words::percent(part * axis.top)) }
            }
            @for (part, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
                @let at = begin + ((end - begin) as f64 * part) as u64;
                text.tick x=(px(axis.x(at))) y=(px(HEIGHT - 6.0)) text-anchor=(anchor) { (UtcTime::from_millis(at).clock()) }
            }
            @if let Some(usual) = usual {
                line.baseline x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(axis.y(usual))) y2=(px(axis.y(usual))) {
                    title { "usual: " (words::percent(usual)) }
                }
            }
            path.area d=(steps(&points, slice_ms, &axis, Some(bottom))) {}
            path.line d=(steps(&points, slice_ms, &axis, None)) {}
            @for action in view.recovery.actions.iter().filter(|action| axis.shows(restart_time(action))) {
                @let x = px(axis.x(restart_time(action)));
                line.restart x1=(x) x2=(x) y1=(TOP) y2=(bottom) {
                    title { "restart of " (action.unit) " at " (UtcTime::from_millis(restart_time(action)).clock()) }
                }
                text.restart x=(x) y=(px(TOP)) text-anchor="middle" { "↻" }
            }
        }
    }
}

fn restart_time(action: &ActionView) -> u64 {
    action.acting_at.unwrap_or(action.intent_at).as_millis()
}

/// Where values are in the drawing.
struct Axis {
    begin: u64,
    end: u64,
    top: f64,
}

impl Axis {
    fn x(&self, at: u64) -> f64 {
        let span = (self.end - self.begin).max(1) as f64;
        let along = at.saturating_sub(self.begin) as f64 / span;
        LEFT + along.min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, share: f64) -> f64 {
        TOP + (1.0 - (share / self.top).clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
    }

    fn shows(&self, at: u64) -> bool {
        (self.begin..=self.end).contains(&at)
    }
}

/// A coordinate, short.
fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// The outline as steps, with a gap where slices are missing; closed down to `floor` for an area.
fn steps(points: &[RatePointView], slice_ms: u64, axis: &Axis, floor: Option<f64>) -> String {
    let mut path = String::new();
    let mut previous_end = None;
    for point in points {
        let Some(share) = point.failure_share() else {
            continue;
        };
        let (from, to) = (point.at.as_millis(), point.at.as_millis() + slice_ms);
        let (left, right, y) = (axis.x(from), axis.x(to), axis.y(share));
        let joined = previous_end == Some(from);
        // Writing to a String doesn't fail.
        let _ = match floor {
            Some(floor) => write!(path, "M{left:.1} {floor:.1}V{y:.1}H{right:.1}V{floor:.1}Z"),
            None if joined => write!(path, "V{y:.1}H{right:.1}"),
            None => write!(path, "M{left:.1} {y:.1}H{right:.1}"),
        };
        previous_end = Some(to);
    }
    path
}

/// A series of at most [`MAX_POINTS`].
struct Merged {
    points: Vec<RatePointView>,
    slice_ms: u64,
}

/// Adds neighbouring slices up until there are few enough.
fn merged(series: &[RatePointView], slice_ms: u64) -> Merged {
    let (Some(first), Some(last)) = (series.first(), series.last()) else {
        return Merged {
            points: Vec::new(),
            slice_ms,
        };
    };
    let begin = first.at.as_millis();
    let slices = last.at.as_millis().saturating_sub(begin) / slice_ms + 1;
    let width = slice_ms * slices.div_ceil(MAX_POINTS as u64).max(1);
    let mut points: Vec<RatePointView> = Vec::new();
    for point in series {
        let at = begin + point.at.as_millis().saturating_sub(begin) / width * width;
        match points.last_mut() {
            Some(bucket) if bucket.at.as_millis() == at => {
                bucket.ok = bucket.ok.saturating_add(point.ok);
                bucket.bad = bucket.bad.saturating_add(point.bad);
            }
            _ => points.push(RatePointView {
                at: UtcTime::from_millis(at),
                ..*point
            }),
        }
    }
    Merged {
        points,
        slice_ms: width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: u64, ok: u64, bad: u64) -> RatePointView {
        RatePointView {
            at: UtcTime::from_millis(second * 1000),
            ok,
            bad,
        }
    }

    #[test]
    fn nothing_is_lost_when_slices_are_added_up() {
        let series: Vec<_> = (0..1000).map(|second| point(second, 3, 1)).collect();
        let merged = merged(&series, 1000);
        assert!(merged.points.len() <= MAX_POINTS, "{}", merged.points.len());
        assert_eq!(merged.slice_ms, 9000);
        assert_eq!(merged.points.iter().map(|p| p.bad).sum::<u64>(), 1000);
        assert_eq!(merged.points.iter().map(|p| p.ok).sum::<u64>(), 3000);
    }

    #[test]
    fn a_silence_is_a_gap() {
        let points = [point(0, 1, 1), point(1, 1, 0), point(5, 0, 1)];
        let axis = Axis {
            begin: 0,
            end: 6000,
            top: 1.0,
        };
        let path = steps(&points, 1000, &axis, None);
        assert_eq!(path.matches('M').count(), 2, "{path}");
    }

    #[test]
    fn an_empty_or_odd_series_is_no_trouble() {
        let view = View::default();
        let mut request_type = RequestTypeView::default();
        let text = failure_share(&view, &request_type).into_string();
        assert!(text.contains("No requests came yet"), "{text}");
        request_type.series = vec![point(5, 0, 0), point(3, u64::MAX, 1)];
        assert!(
            failure_share(&view, &request_type)
                .into_string()
                .contains("<svg")
        );
    }
}
