//! How do the methods compare, at a glance? AC@1 with its interval per class and method, as SVG.
//!
//! A row per class, in it a line per method from the lower to the upper end of the interval, with a dot at
//! the share itself. Classes are never pooled. Written by hand: it is a hundred lines, and a plotting crate
//! pulls in fonts and rasterizers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Summary;

/// Pixels: names on the left, the scale beside them, a line of a method, the space between classes.
const NAMES: f64 = 330.0;
const SCALE: f64 = 520.0;
const LINE: f64 = 13.0;
const GAP: f64 = 12.0;
const TOP: f64 = 46.0;
/// Room for a line of the legend.
const LEGEND: f64 = 18.0;
/// Colours that people with any eyes tell apart (Okabe and Ito 2008), the default's first.
const COLOURS: [&str; 8] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000",
];

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
    let colour = |label: &str| {
        let at = methods.iter().position(|method| method == label);
        COLOURS[at.unwrap_or(0) % COLOURS.len()]
    };
    let rows: f64 = classes
        .values()
        .map(|of| of.len() as f64 * LINE + GAP)
        .sum();
    let height = TOP + rows + 30.0 + LEGEND * methods.len() as f64;
    let width = NAMES + SCALE + 90.0;
    let x = |share: f64| NAMES + share * SCALE;
    let mut out = String::new();
    // Writing to a string can't fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\">The true culprit first (AC@1), with 95 % intervals over \
         cases</text>\n"
    );
    for tenth in [0, 2, 4, 6, 8, 10] {
        let at = x(f64::from(tenth) / 10.0);
        let bottom = TOP + rows;
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1}</text>",
            TOP - 6.0,
            f64::from(tenth) / 10.0
        );
    }
    let mut y = TOP + GAP;
    for (class, of) in classes {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} ({})</text>",
            NAMES - 14.0,
            y + LINE * of.len() as f64 / 2.0,
            escaped(class),
            of.first().map_or(0, |summary| summary.cases)
        );
        for summary in of {
            let colour = colour(&summary.label());
            let (low, high, value) = (
                x(summary.ac1.low),
                x(summary.ac1.high),
                x(summary.ac1.value),
            );
            let _ = writeln!(
                out,
                "<line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                 stroke=\"{colour}\" stroke-width=\"2\" opacity=\"0.55\"/>\
                 <circle cx=\"{value:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\">\
                 <title>{} {}: {:.2}</title></circle>",
                escaped(class),
                escaped(&summary.label()),
                summary.ac1.value
            );
            y += LINE;
        }
        y += GAP;
    }
    y += 14.0;
    for method in &methods {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            NAMES + 6.0,
            y - 4.0,
            colour(method),
            NAMES + 18.0,
            y,
            escaped(method)
        );
        y += LEGEND;
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
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
