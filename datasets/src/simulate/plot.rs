//! A report's curves as a picture (SVG), for those who see faster than they read.
//!
//! Lines over a logarithmic scale, each with its name at its end.

use std::fmt::Write as _;

use super::report::Plot;
use crate::picture::{begin, escaped};

/// Pixels: the picture, and what is left free around the curves for names and scales.
const SIZE: (f64, f64) = (760.0, 420.0);
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const ABOVE: f64 = 40.0;
const BELOW: f64 = 50.0;
/// Colours that people with any eyes tell apart (Okabe and Ito 2008), and a dash for each second one.
const COLOURS: [&str; 4] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"];

impl Plot {
    /// The picture; without points there are only its scales.
    pub fn svg(&self) -> String {
        let (width, height) = SIZE;
        let all = |of: fn(f64, f64) -> f64, start: f64| {
            self.points.iter().map(|point| point.0).fold(start, of)
        };
        let (least, most) = (all(f64::min, f64::INFINITY), all(f64::max, 0.0));
        let values = self.points.iter().flat_map(|point| &point.1);
        let top = values.fold(1.0, |top: f64, value| top.max(*value)).ceil();
        let span = (most / least).ln().max(f64::MIN_POSITIVE);
        let x = |at: f64| LEFT + (at / least).ln() / span * (width - LEFT - RIGHT);
        let y = |value: f64| height - BELOW - value / top * (height - ABOVE - BELOW);
        let mut out = begin(SIZE, &self.title);
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{}\">{}</text>\n<text x=\"12\" y=\"{}\">{}</text>",
            height - 12.0,
            escaped(&self.across),
            ABOVE - 6.0,
            escaped(&self.upward),
        );
        for step in 0..=top as u32 {
            let at = y(f64::from(step));
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{step}</text>",
                width - RIGHT,
                LEFT - 6.0,
                at + 4.0
            );
        }
        for (at, _) in &self.points {
            let words = match *at {
                at if at < 1.0 => format!("{at:.2}"),
                at => format!("{at:.0}"),
            };
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{words}</text>",
                x(*at),
                height - BELOW + 14.0
            );
        }
        for (place, name) in self.names.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let dash = if place % 2 == 0 {
                ""
            } else {
                " stroke-dasharray=\"6 3\""
            };
            let mut line: Vec<(f64, f64)> = self
                .points
                .iter()
                .filter_map(|(at, values)| Some((x(*at), y(*values.get(place)?))))
                .collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let points: Vec<String> = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash} points=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                points.join(" "),
                width - RIGHT + 8.0,
                // Curves may end on each other: the names don't.
                ABOVE + 16.0 * (place as f64 + 1.0),
                escaped(name)
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_run_from_side_to_side_and_names_are_escaped() {
        let mut plot = Plot::new("a < b", "hours", "times", &["one & all".to_owned()]);
        plot.add(100.0, &[4.0]);
        plot.add(1.0, &[2.0]);
        let svg = plot.svg();
        assert!(
            svg.contains("a &lt; b") && svg.contains("one &amp; all"),
            "{svg}"
        );
        // Hours grow to the right, four is the top.
        assert!(svg.contains("points=\"60.0,205.0 570.0,40.0\""), "{svg}");
        assert!(Plot::default().svg().ends_with("</svg>\n"));
    }
}
