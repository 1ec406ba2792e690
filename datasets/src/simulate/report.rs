//! What a simulation has to say: tables, the assumptions behind them, and claims that hold or don't.
//!
//! Plain data, so that the command line can print it for people and for programs, and a test can
//! compare it whole.

use serde::Serialize;

/// The answer of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What was asked, in a sentence.
    pub question: String,
    /// Everything that was assumed, and where a number comes from.
    pub assumptions: Vec<String>,
    /// The figures.
    pub tables: Vec<Table>,
    /// What should hold, and whether it does.
    pub claims: Vec<Claim>,
}

/// A table as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// What it shows, with units.
    pub title: String,
    /// The columns' names.
    pub header: Vec<String>,
    /// The rows; each as long as the header.
    pub rows: Vec<Vec<String>>,
}

/// Something that should hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What.
    pub claim: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Report {
    /// Whether all that should hold does.
    pub fn holds(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }

    pub(super) fn claim(&mut self, claim: impl Into<String>, found: String, holds: bool) {
        self.claims.push(Claim {
            claim: claim.into(),
            found,
            holds,
        });
    }
}

impl Table {
    pub(super) fn new(title: impl Into<String>, header: &[&str]) -> Self {
        Self {
            title: title.into(),
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// A mean over seeds and half its 95 % interval (normal: there are dozens of seeds).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) mean: f64,
    pub(super) half_width: f64,
}

impl Mean {
    pub(super) fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = if values.len() > 1 {
            square / (count - 1.0)
        } else {
            0.0
        };
        Self {
            mean,
            half_width: 1.96 * (variance / count).sqrt(),
        }
    }

    pub(super) fn words(self) -> String {
        format!("{} ± {}", number(self.mean), number(self.half_width))
    }
}

/// A figure with as many digits as it deserves.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.2}")
    } else if value.abs() < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
