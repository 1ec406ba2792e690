//! Mercury's five trees, and how often its processes fail.

use super::station::Failure;

/// Name, and the processes that each unit starts itself (those below it are added).
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) units: &'static [(&'static str, &'static str, &'static [&'static str])],
}

pub(super) const SHAPES: [Shape; 5] = [
    Shape {
        name: "I",
        units: &[("mercury", "", &["mbus", "fedrcom", "ses", "str", "rtu"])],
    },
    Shape {
        name: "II",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("fedrcom", "mercury", &["fedrcom"]),
            ("ses", "mercury", &["ses"]),
            ("str", "mercury", &["str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
    Shape {
        name: "III",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("fedrcom", "mercury", &[]),
            ("fedr", "fedrcom", &["fedr"]),
            ("pbcom", "fedrcom", &["pbcom"]),
            ("ses", "mercury", &["ses"]),
            ("str", "mercury", &["str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
    Shape {
        name: "IV",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("fedrcom", "mercury", &[]),
            ("fedr", "fedrcom", &["fedr"]),
            ("pbcom", "fedrcom", &["pbcom"]),
            ("ses-str", "mercury", &["ses", "str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
    Shape {
        name: "V",
        units: &[
            ("mercury", "", &[]),
            ("mbus", "mercury", &["mbus"]),
            ("pbcom", "mercury", &["pbcom"]),
            ("fedr", "pbcom", &["fedr"]),
            ("ses-str", "mercury", &["ses", "str"]),
            ("rtu", "mercury", &["rtu"]),
        ],
    },
];

pub(super) const fn failure(name: &'static str, needs: &'static [&'static str]) -> Failure {
    Failure { name, needs }
}

/// Mean time to failure in hours; pbcom's after the split isn't published.
pub(super) const MTTF: [(Failure, f64); 5] = [
    (failure("mbus", &["mbus"]), 720.0),
    (failure("fedr", &["fedr"]), 1.0 / 6.0),
    (failure("ses", &["ses"]), 5.0),
    (failure("str", &["str"]), 5.0),
    (failure("rtu", &["rtu"]), 5.0),
];
