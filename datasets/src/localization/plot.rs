//! How do the methods compare, at a glance? AC@1 with its interval per class and method, as SVG.
//!
//! A panel per class, in it a line per method from the lower to the upper end of the interval, with a dot at
//! the share itself. Methods keep their line in every panel, and have their names beside it, because sixteen
//! colours can't be told apart: only the default has one of its own. Classes are never pooled.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Summary;
use crate::localization::Method;
use crate::picture::{begin, escaped};

/// Pixels: methods' names on the left, a panel and the space beside it, a line of a method, the name of a
/// class and the scale above and below its panel.
const NAMES: f64 = 190.0;
const PANEL: f64 = 200.0;
const BESIDE: f64 = 60.0;
const LINE: f64 = 14.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 24.0;
const TOP: f64 = 34.0;
/// Panels beside each other: what a page or a screen shows without turning.
const COLUMNS: usize = 4;
/// Colours that people with any eyes tell apart (Okabe and Ito 2008).
const DEFAULT: &str = "#D55E00";
const OTHERS: &str = "#0072B2";

/// The picture.
pub fn svg(summaries: &[Summary]) -> String {
    let mut classes: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    let mut methods: Vec<String> = Vec::new();
    for summary in summaries {
        classes.entry(&summary.class).or_default().push(summary);
        let label = summary.label();
        if !methods.contains(&label) {
            methods.push(label);
        }
    }
    let columns = classes.len().clamp(1, COLUMNS);
    let lines = methods.len() as f64 * LINE;
    let row = ABOVE + lines + BELOW;
    let width = NAMES + columns as f64 * (PANEL + BESIDE);
    let height = TOP + classes.len().div_ceil(columns) as f64 * row;
    let title = "The true culprit first (AC@1), with 95 % intervals over cases";
    let mut out = begin((width, height), title);
    for (place, (class, of)) in classes.into_iter().enumerate() {
        let left = NAMES + (place % columns) as f64 * (PANEL + BESIDE);
        let top = TOP + (place / columns) as f64 * row + ABOVE;
        if place % columns == 0 {
            for (line, method) in methods.iter().enumerate() {
                let _ = writeln!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    NAMES - 14.0,
                    top + (line as f64 + 0.5) * LINE + 4.0,
                    escaped(method)
                );
            }
        }
        panel(&mut out, (left, top, lines), class, &of, &methods);
    }
    out.push_str("</svg>\n");
    out
}

/// A class: its name, its scale, and its methods.
fn panel(
    out: &mut String,
    (left, top, lines): (f64, f64, f64),
    class: &str,
    of: &[&Summary],
    methods: &[String],
) {
    let x = |share: f64| left + share * PANEL;
    let cases = of.first().map_or(0, |summary| summary.cases);
    let _ = writeln!(
        out,
        "<text x=\"{left:.1}\" y=\"{:.1}\">{} ({cases})</text>",
        top - 8.0,
        escaped(class)
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, bottom) = (x(share), top + lines);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{share}</text>",
            bottom + 12.0
        );
    }
    for summary in of {
        let label = summary.label();
        let line = methods.iter().position(|method| *method == label);
        let y = top + (line.unwrap_or(0) as f64 + 0.5) * LINE;
        let colour = if label == Method::Default.as_str() {
            DEFAULT
        } else {
            OTHERS
        };
        let (low, high, value) = (
            x(summary.ac1.low),
            x(summary.ac1.high),
            x(summary.ac1.value),
        );
        let _ = writeln!(
            out,
            "<line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" \
             stroke-width=\"2\" opacity=\"0.55\"/>\
             <circle cx=\"{value:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\">\
             <title>{} {}: {:.2}</title></circle>",
            escaped(class),
            escaped(&label),
            summary.ac1.value
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localization::tests::result;
    use crate::localization::{CaseResult, summarize};

    #[test]
    fn every_class_and_method_has_its_dot_and_names_are_escaped() {
        let mut results = vec![
            result(&["a"], &[&["a"]], 0.9),
            result(&["a"], &[&["b"]], 0.9),
        ];
        results[1].fault_type = "<b>&\"".to_owned();
        let picture = svg(&summarize(&results, CaseResult::class));
        assert_eq!(picture.matches("<title>").count(), 2);
        assert!(picture.contains("&lt;b&gt;&amp;&quot;") && !picture.contains("<b>"));
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    }
}
